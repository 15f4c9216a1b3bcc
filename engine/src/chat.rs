//! The chat loop of run.c with Llama-2's template, driven token by token. (stub: being written)
use crate::{generate::{PromptError, Step}, sampler::Sampler, session::Session, tokenizer::Tokenizer};
/// Llama-2's template as run.c renders it; `system` only counts in the first turn.
pub fn render_llama2(_system: &str, _user: &str) -> alloc::string::String { todo!() }
/// A dialog: begin_turn, then step until TurnOver or Done.
pub struct Chat { _p: () }
impl Chat {
    /// A dialog of at most `steps` positions (<= seq_len).
    pub fn new(_steps: usize, _seq_len: usize) -> Chat { todo!() }
    /// Starts a turn. Error if prompt does not fit into what is left of the context.
    pub fn begin_turn(&mut self, _tokenizer: &Tokenizer, _system: &str, _user: &str) -> Result<(), PromptError> { todo!() }
    /// As Generation::step.
    pub fn step(&mut self, _session: &mut Session<'_>, _tokenizer: &Tokenizer, _sampler: &mut Sampler) -> Step<'_> { todo!() }
    /// Positions used so far.
    pub fn position(&self) -> usize { todo!() }
}
