//! llama2.c's checkpoint files: what they hold and where, proven against the file's size before anything is allocated.
//! (stub: being written)
use crate::{config::Config, source::ByteSource};
use core::fmt;

/// Which of llama2.c's layouts a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format { V0, V1, V2 { group_size: usize } }
impl fmt::Display for Format { fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }

/// What is wrong with a checkpoint. Its Display is a sentence without the file's name; the shell puts "name: " before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Error { #[allow(missing_docs)] Todo }
impl fmt::Display for Error { fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result { todo!() } }
impl core::error::Error for Error {}

/// Bytes of memory a model needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights.
    pub weights: u64,
    /// KV cache for the whole context.
    pub kv_cache: u64,
    /// Everything else that a session holds.
    pub activations: u64,
}
impl Memory {
    /// The sum.
    pub fn total(&self) -> u64 { self.weights + self.kv_cache + self.activations }
}

/// A checked checkpoint header: sizes agree with the source's size.
#[derive(Debug, Clone)]
pub struct Checkpoint { #[allow(missing_docs)] pub format: Format, #[allow(missing_docs)] pub config: Config }
impl Checkpoint {
    /// Reads and checks the header (at most 256 bytes); nothing else is read and nothing big is allocated.
    pub fn open(_source: &mut dyn ByteSource) -> Result<Checkpoint, Error> { todo!() }
    /// Number of parameters.
    pub fn parameters(&self) -> u64 { todo!() }
    /// Memory needed.
    pub fn memory(&self) -> Memory { todo!() }
}
