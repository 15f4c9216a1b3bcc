//! From what a user wishes to what is to be done: a text to go on from, or a conversation. Both
//! shells begin here.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    chat::Chat,
    checkpoint::Format,
    generate::{Generation, PromptError},
    sampler::SamplerConfig,
    settings::{Mode, Settings, Think},
    tokenizer::Tokenizer,
};

/// Work to be done, with the prompt already encoded: one that does not fit is refused before the
/// weights are read.
pub enum Task {
    /// Going on from a text, for so many steps.
    Story(Generation, usize),
    /// A conversation.
    Dialog(Box<Chat>),
}

impl Task {
    /// The task for a model of a file of this format, with a context of `seq_len`.
    ///
    /// # Errors
    /// [`PromptError`] if the prompt does not fit into the context.
    pub fn new(
        settings: &Settings,
        tokenizer: &Tokenizer,
        format: Format,
        seq_len: usize,
    ) -> Result<Task, PromptError> {
        if settings.mode == Mode::Generate {
            let steps = settings.steps_for(seq_len, false);
            let prompt = settings.prompt.as_deref().unwrap_or_default();
            let mut generation = Generation::new(tokenizer, prompt, steps, seq_len)?;
            generation.set_stops(&settings.stops);
            return Ok(Task::Story(generation, steps));
        }
        // A checkpoint of llama2.c cannot say how its model was taught to chat: it is taken for
        // Llama 2's, as by run.c.
        let run_c = !matches!(format, Format::Gguf { .. }) && tokenizer.chat_template().is_none();
        let steps = settings.steps_for(seq_len, !run_c);
        let mut chat = if run_c {
            Chat::new(tokenizer, steps, seq_len)
        } else {
            Chat::dialog(tokenizer, steps, seq_len)
        };
        chat.set_stops(&settings.stops);
        chat.set_thinking(settings.think != Think::Off);
        // Only tried: the system prompt may still be asked for.
        let system = settings.system.as_deref().unwrap_or_default();
        let user = settings.prompt_text().unwrap_or_default();
        chat.fits(tokenizer, system, &user)?;
        Ok(Task::Dialog(Box::new(chat)))
    }

    /// What the user should know before it begins: sentences.
    pub fn remarks(&self, settings: &Settings, seq_len: usize) -> Vec<String> {
        let mut said: Vec<String> = settings.steps_said(seq_len).into_iter().collect();
        let mut say = |sentence: &str| said.push(sentence.into());
        let Task::Dialog(chat) = self else {
            return said;
        };
        if let Some(template) = chat.template() {
            if !template.is_known() {
                say("the model's chat template is of no family that is known: taking chatml's");
            }
            if settings.think == Think::Off && !template.thinks() {
                say("the model's chat template cannot say not to think");
            }
        } else if chat.is_completion() {
            say(
                "the model's file has no chat template: it was not made to chat, and goes on from what you type instead",
            );
            if settings.system.as_ref().is_some_and(|s| !s.is_empty()) {
                say(
                    "without a chat template there is no place for a system prompt: it is left out",
                );
            }
        }
        said
    }

    /// Who draws: see [`crate::sampler::SamplerOverrides::drawing`].
    pub fn drawing(&self, settings: &Settings) -> SamplerConfig {
        let dialog = matches!(self, Task::Dialog(chat) if !chat.is_run_c());
        settings.sampling.drawing(dialog)
    }
}
