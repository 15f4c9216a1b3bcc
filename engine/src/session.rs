//! One conversation's state: KV cache and activations, allocated once. (stub: being written)
use crate::{checkpoint::Error, model::Model};
/// State of one run through a model.
pub struct Session<'m> { _m: &'m Model }
impl<'m> Session<'m> {
    /// Allocates KV cache and activations. Error::OutOfMemory if they do not fit.
    pub fn new(_model: &'m Model) -> Result<Session<'m>, Error> { todo!() }
    /// The model.
    pub fn model(&self) -> &'m Model { todo!() }
    /// One forward pass: logits for what follows `token` at position `pos` (< seq_len). Allocates nothing.
    pub fn forward(&mut self, _token: u32, _pos: usize) -> &mut [f32] { todo!() }
}
