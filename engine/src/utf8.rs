//! Bytes to whole characters. (stub: being written)
use alloc::string::String;
/// Gathers bytes and gives out whole UTF-8 characters only; what can never become one is U+FFFD.
#[derive(Default)]
pub struct Utf8Stream { _pending: [u8; 4] }
impl Utf8Stream {
    /// Appends to `out` every whole character that `bytes` completes (allocates only if `out` must grow).
    pub fn push(&mut self, _bytes: &[u8], _out: &mut String) { todo!() }
    /// Ends the stream: an unfinished character is U+FFFD.
    pub fn finish(&mut self, _out: &mut String) { todo!() }
}
