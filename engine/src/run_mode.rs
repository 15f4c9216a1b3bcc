//! Story, run.c's chat or a dialogue: decided once for a model, from what its user wants and what
//! the file is.

use llama2_settings::Mode;

use crate::{checkpoint::Format, tokenizer::Tokenizer};

/// Mode that a model is run in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RunMode {
    /// run.c's `generate`: the prompt and its continuation.
    #[default]
    Story,
    /// run.c's `chat` in Llama 2's template: a llama2.c checkpoint cannot say how its model was
    /// taught to chat.
    Llama2Chat,
    /// A conversation in the model's own template; without one, a text that user and model continue
    /// in turns.
    Dialog,
}

impl RunMode {
    /// The mode that is wanted, for a model of a file of this format; without a wish a model with a
    /// chat template chats, and another tells stories.
    pub fn decide(wanted: Option<Mode>, format: Format, tokenizer: &Tokenizer) -> RunMode {
        let has_template = tokenizer.chat_template().is_some();
        match wanted {
            Some(Mode::Generate) => RunMode::Story,
            None if !has_template => RunMode::Story,
            _ if has_template || matches!(format, Format::Gguf { .. }) => RunMode::Dialog,
            _ => RunMode::Llama2Chat,
        }
    }
}
