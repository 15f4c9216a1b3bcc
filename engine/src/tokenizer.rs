//! llama2.c's tokenizer.bin. (stub: being written)
use crate::source::ByteSource;
use alloc::vec::Vec;
use core::fmt;
/// What is wrong with a tokenizer file; a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error { #[allow(missing_docs)] Todo }
impl fmt::Display for Error { fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
impl core::error::Error for Error {}
/// A vocabulary with its merges.
pub struct Tokenizer {}
/// Beginning of sequence.
pub const BOS: u32 = 1;
/// End of sequence.
pub const EOS: u32 = 2;
impl Tokenizer {
    /// Reads the whole file (checked).
    pub fn load(_source: &mut dyn ByteSource) -> Result<Tokenizer, Error> { todo!() }
    /// Number of pieces.
    pub fn vocab_size(&self) -> usize { todo!() }
    /// Errors unless the vocabulary has exactly `vocab_size` pieces.
    pub fn check_model(&self, _vocab_size: usize) -> Result<(), Error> { todo!() }
    /// run.c's encode.
    pub fn encode(&self, _text: &[u8], _bos: bool, _eos: bool) -> Vec<u32> { todo!() }
    /// run.c's decode followed by safe_printf's rule: the bytes to show for `token` after `prev`.
    pub fn decode(&self, _prev: u32, _token: u32) -> &[u8] { todo!() }
}
