//! Weights, packed as they stream in. (stub: being written)
use crate::{checkpoint::{Checkpoint, Error}, config::Config, source::ByteSource};
use core::ops::ControlFlow;

/// How far loading is.
#[derive(Debug, Clone, Copy)]
pub struct Progress { /// Bytes read so far.
    pub done: u64, /// Bytes to read.
    pub total: u64 }

/// What was read: for the user to compare with `crc32 FILE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest { /// Bytes read: the whole file.
    pub bytes: u64, /// CRC-32 (IEEE) of the whole file.
    pub crc32: u32 }

/// A loaded model.
pub struct Model { #[allow(missing_docs)] pub config: Config }
impl Model {
    /// Streams the weights in, each byte read once, in pieces of at most 1 MiB. `progress` is called after each piece and may stop it (`Error::Stopped`).
    pub fn load(_c: &Checkpoint, _s: &mut dyn ByteSource, _progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(Model, Digest), Error> { todo!() }
}
