//! Chat, turn by turn: in a model's own template, as a text that both go on from, or as run.c's
//! chat does it.

mod converse;
mod detect;
mod dialog;
mod families;
mod literals;
mod llama2c;
mod reasoning;
mod reply;
pub mod template;

use alloc::{boxed::Box, string::String};

pub use converse::{ConverseHost, converse};
pub use llama2c::render_llama2;
pub use reasoning::Thoughts;
pub use reply::{Part, Reply};
pub use template::Template;

use crate::{
    generate::{PromptError, Step, TopToken},
    sampler::Sampler,
    session::Session,
    tokenizer::Tokenizer,
};

/// A dialog, as a state machine like [`crate::generate`]'s. [`Chat::begin_turn`], then
/// [`Chat::step`] until it gives [`Step::TurnOver`] or [`Step::Done`].
pub struct Chat(Kind);

enum Kind {
    Llama2c(Box<llama2c::Llama2Chat>),
    Dialog(Box<dialog::Dialog>),
}

impl Chat {
    /// A dialog in a context of `seq_len`, in the tokenizer's template. `steps` are the most tokens
    /// of an answer there; where there is no template, it is run.c's chat in Llama 2's, and `steps`
    /// are all its positions.
    pub fn new(tokenizer: &Tokenizer, steps: usize, seq_len: usize) -> Chat {
        if tokenizer.chat_template().is_none() && tokenizer.is_llama2c() {
            let chat = llama2c::Llama2Chat::new(tokenizer, steps, seq_len);
            return Chat(Kind::Llama2c(Box::new(chat)));
        }
        Chat::dialog(tokenizer, steps, seq_len)
    }

    /// The same for a model that is not llama2.c's: without a template, what the user says is a
    /// text that the model goes on from.
    pub fn dialog(tokenizer: &Tokenizer, steps: usize, seq_len: usize) -> Chat {
        let template = Template::of_tokenizer(tokenizer);
        let dialog = dialog::Dialog::new(tokenizer, template, steps, seq_len);
        Chat(Kind::Dialog(Box::new(dialog)))
    }

    /// The template, where the model has one.
    pub fn template(&self) -> Option<&Template> {
        match &self.0 {
            Kind::Llama2c(_) => None,
            Kind::Dialog(dialog) => dialog.template(),
        }
    }

    /// Tells whether it is run.c's chat.
    pub fn is_run_c(&self) -> bool {
        matches!(self.0, Kind::Llama2c(_))
    }

    /// Tells whether the model only goes on from what is said.
    pub fn is_completion(&self) -> bool {
        !self.is_run_c() && self.template().is_none()
    }

    /// Tells whether a model that can think before it answers is to.
    pub fn set_thinking(&mut self, think: bool) {
        if let Kind::Dialog(dialog) = &mut self.0 {
            dialog.set_thinking(think);
        }
    }

    /// Strings that end an answer where the model says them; they are not part of it.
    pub fn set_stops(&mut self, stops: &[String]) {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.set_stops(stops),
            Kind::Dialog(dialog) => dialog.set_stops(stops),
        }
    }

    /// Tells whether a turn could begin: tried without beginning it.
    ///
    /// # Errors
    /// As [`Chat::begin_turn`].
    pub fn fits(&self, tokenizer: &Tokenizer, system: &str, user: &str) -> Result<(), PromptError> {
        match &self.0 {
            Kind::Llama2c(chat) => chat.fits(tokenizer, system, user),
            Kind::Dialog(dialog) => dialog.fits(tokenizer, system, user),
        }
    }

    /// Begins the user's turn. The system prompt counts in the first turn only, and nowhere without
    /// a template. A full context loses its oldest turns, but for the system prompt, and
    /// [`Chat::notice`] says so; in run.c's chat it is the end. A turn that is not over is
    /// interrupted.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] if the turn does not fit; the dialog is as before.
    pub fn begin_turn(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.begin_turn(tokenizer, system, user),
            Kind::Dialog(dialog) => dialog.begin_turn(tokenizer, system, user),
        }
    }

    /// What the user should know of the turn that has begun: a sentence.
    pub fn notice(&self) -> Option<&str> {
        match &self.0 {
            Kind::Llama2c(_) => None,
            Kind::Dialog(dialog) => dialog.notice(),
        }
    }

    /// Tells whether the answer ended because the model gives no numbers:
    /// [`crate::generate::NOT_NUMBERS`].
    pub fn is_broken(&self) -> bool {
        match &self.0 {
            Kind::Llama2c(chat) => chat.is_broken(),
            Kind::Dialog(dialog) => dialog.is_broken(),
        }
    }

    /// Tells whether the answer was cut, because the context is full; the next turn drops what is
    /// oldest.
    pub fn is_cut(&self) -> bool {
        matches!(&self.0, Kind::Dialog(dialog) if dialog.is_cut())
    }

    /// Lets a pass over a prompt take at most `tokens` tokens, where a whole batch would keep the
    /// user waiting too long.
    pub fn limit_batch(&mut self, tokens: usize) {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.limit_batch(tokens),
            Kind::Dialog(dialog) => dialog.limit_batch(tokens),
        }
    }

    /// One pass, over a token or a batch of the prompt's, and the text that follows from it. A
    /// newline follows the assistant's last word.
    pub fn step(
        &mut self,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
    ) -> Step<'_> {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.step(session, tokenizer, sampler),
            Kind::Dialog(dialog) => dialog.step(session, tokenizer, sampler),
        }
    }

    /// Ends the assistant's turn where it is: the next turn follows what was said so far. A turn
    /// whose prompt was not passed whole is taken back.
    pub fn interrupt(&mut self) {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.interrupt(),
            Kind::Dialog(dialog) => dialog.interrupt(),
        }
    }

    /// Takes the last turn back, its question and its answer. Whether there was one that could be:
    /// what was said before a full context was cut cannot.
    pub fn undo(&mut self) -> bool {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.undo(),
            Kind::Dialog(dialog) => dialog.undo(),
        }
    }

    /// Goes on from a conversation that was held elsewhere: its system prompt, its questions and
    /// answers. They are passed before the next turn's prompt. Gives the number of its oldest turns
    /// for which there is no room.
    pub fn recall(&mut self, tokenizer: &Tokenizer, system: &str, said: &[(&str, &str)]) -> usize {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.recall(tokenizer, system, said),
            Kind::Dialog(dialog) => dialog.recall(tokenizer, system, said),
        }
    }

    /// To be called when the session has been used for something else, or is another one: all is
    /// passed again before the next turn.
    pub fn forget_cache(&mut self) {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.forget_cache(),
            Kind::Dialog(dialog) => dialog.forget_cache(),
        }
    }

    /// Tokens that have been read since the turn began, and all that are to be read before the
    /// answer.
    pub fn progress(&self) -> (usize, usize) {
        match &self.0 {
            Kind::Llama2c(chat) => chat.progress(),
            Kind::Dialog(dialog) => dialog.progress(),
        }
    }

    /// Sets the most tokens of an answer; in run.c's chat, whose limit is the whole dialog's, all
    /// its positions.
    pub fn set_most(&mut self, most: usize) {
        match &mut self.0 {
            Kind::Llama2c(chat) => chat.set_steps(most),
            Kind::Dialog(dialog) => dialog.set_most(most),
        }
    }

    /// Tells whether the last answer ended because it had as many tokens as one may have.
    pub fn is_limited(&self) -> bool {
        matches!(&self.0, Kind::Dialog(dialog) if dialog.is_limited())
    }

    /// Tokens passed so far.
    pub fn position(&self) -> usize {
        match &self.0 {
            Kind::Llama2c(chat) => chat.position(),
            Kind::Dialog(dialog) => dialog.position(),
        }
    }

    /// The tokens whose keys and values are kept, or will be again when the next turn begins.
    pub fn context(&self) -> &[u32] {
        match &self.0 {
            Kind::Llama2c(chat) => chat.context(),
            Kind::Dialog(dialog) => dialog.context(),
        }
    }

    /// Tells whether nothing more can be said.
    pub fn is_over(&self) -> bool {
        match &self.0 {
            Kind::Llama2c(chat) => chat.is_over(),
            Kind::Dialog(_) => false,
        }
    }

    /// The top token of the pass at position 0, once it has been run.
    pub fn top_token(&self) -> Option<TopToken> {
        match &self.0 {
            Kind::Llama2c(chat) => chat.top_token(),
            Kind::Dialog(dialog) => dialog.top_token(),
        }
    }
}
