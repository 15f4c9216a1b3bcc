//! The order of a conversation, the same in both shells: what is asked and said, and when it ends.

use alloc::string::String;

use super::Chat;
use crate::{generate::PromptError, settings::Settings, tokenizer::Tokenizer};

/// What a conversation needs of the shell that it is held in.
pub trait ConverseHost {
    /// Why it cannot go on.
    type Error: From<PromptError>;

    /// Asks for a line; `None` if nobody is there any more.
    ///
    /// # Errors
    /// If it cannot be read.
    fn ask(&mut self, question: &str) -> Result<Option<String>, Self::Error>;

    /// Says something that is no part of the conversation.
    fn say(&mut self, sentence: &str);

    /// Makes the answer and shows it. The turn is over then, or interrupted.
    ///
    /// # Errors
    /// If it cannot be shown.
    fn answer(&mut self, chat: &mut Chat) -> Result<(), Self::Error>;

    /// Tells whether somebody is there who can say it in fewer words.
    fn is_patient(&self) -> bool;
}

/// Holds a conversation, to its end or until nobody is there to be asked.
///
/// # Errors
/// The host's; [`PromptError`] if a turn does not fit and nobody can be asked for a shorter one.
pub fn converse<H: ConverseHost>(
    mut chat: Chat,
    tokenizer: &Tokenizer,
    settings: &Settings,
    host: &mut H,
) -> Result<Chat, H::Error> {
    let system = match &settings.system {
        Some(system) => system.clone(),
        // run.c asks; a template has one of its own, or needs none.
        None if chat.is_run_c() => match host.ask("Enter system prompt (optional): ")? {
            Some(system) => system,
            None if settings.prompt.is_none() => return Ok(chat),
            None => String::new(),
        },
        None => String::new(),
    };
    let question = if chat.is_completion() {
        "Text: "
    } else {
        "User: "
    };
    let mut given = settings.prompt_text();
    while !chat.is_over() {
        let Some(user) = given
            .take()
            .map_or_else(|| host.ask(question), |user| Ok(Some(user)))?
        else {
            break;
        };
        // A turn of nothing is for run.c's chat, and lets a text go on.
        if user.is_empty() && chat.template().is_some() {
            continue;
        }
        if let Err(error) = chat.begin_turn(tokenizer, &system, &user) {
            if !host.is_patient() {
                return Err(error.into());
            }
            host.say(&alloc::format!("{error}"));
            // Unless there is no room for any words.
            if chat.fits(tokenizer, &system, "").is_err() {
                break;
            }
            continue;
        }
        if let Some(notice) = chat.notice() {
            host.say(notice);
        }
        host.answer(&mut chat)?;
        if chat.is_cut() {
            host.say("the context is full: the answer is cut here; the next question drops what is oldest");
        }
    }
    Ok(chat)
}
