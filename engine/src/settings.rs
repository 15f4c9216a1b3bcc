//! What a user can set, with run.c's defaults and run.c's adjustments. (stub: being written)
use alloc::{string::String, vec::Vec};
/// generate or chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)]
pub enum Mode { #[default] Generate, Chat }
/// run.c's options.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct Settings { pub temperature: f32, pub top_p: f32, /// None: the shell draws one.
    pub seed: Option<u64>, pub steps: i64, pub prompt: Option<Vec<u8>>, pub mode: Mode, pub system: Option<String> }
impl Default for Settings { fn default() -> Self { todo!() } }
impl Settings {
    /// run.c's adjustments of out-of-range values; a sentence for each one made.
    pub fn adjust(&mut self) -> Vec<String> { todo!() }
    /// Steps after run.c's rule: 0 or more than seq_len is seq_len.
    pub fn steps_for(&self, _seq_len: usize) -> usize { todo!() }
}
