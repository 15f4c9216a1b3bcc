//! The generate loop of run.c as a state machine that a shell drives token by token. (stub: being written)
use crate::{sampler::Sampler, session::Session, tokenizer::Tokenizer};
use core::fmt;
/// Why a prompt cannot be run; a sentence.
#[derive(Debug, Clone, PartialEq)]
pub enum PromptError { /// More tokens than positions.
    TooLong { /// tokens in the prompt, BOS included
        tokens: usize, /// the model's context
        seq_len: usize } }
impl fmt::Display for PromptError { fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
impl core::error::Error for PromptError {}
/// What one step did.
#[derive(Debug, PartialEq)]
pub enum Step<'a> {
    /// A forward pass was run; here is the text that became whole (may be empty).
    Text(&'a str),
    /// Chat only: the assistant's turn is over; call `begin_turn` for the next.
    TurnOver,
    /// Nothing more comes. Last text first went out through Text.
    Done,
}
/// The first pass's winner, for "Top token:".
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)]
pub struct TopToken { pub token: u32, pub logit: f32 }
/// One story in the making.
pub struct Generation { _p: () }
impl Generation {
    /// Encodes the prompt. `steps` is at most seq_len.
    pub fn new(_tokenizer: &Tokenizer, _prompt: &[u8], _steps: usize, _seq_len: usize) -> Result<Generation, PromptError> { todo!() }
    /// One forward pass and what follows from it.
    pub fn step(&mut self, _session: &mut Session<'_>, _tokenizer: &Tokenizer, _sampler: &mut Sampler) -> Step<'_> { todo!() }
    /// Passes run so far (run.c's pos).
    pub fn position(&self) -> usize { todo!() }
    /// Tokens of the prompt, BOS included.
    pub fn prompt_tokens(&self) -> usize { todo!() }
    /// The top token of the pass at position 0, once it has run.
    pub fn top_token(&self) -> Option<TopToken> { todo!() }
}
