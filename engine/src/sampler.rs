//! run.c's sampler. (stub: being written)
use alloc::vec::Vec;
/// Picks the next token from logits.
pub struct Sampler { _scratch: Vec<(f32, u32)> }
impl Sampler {
    /// temperature 0 = argmax; top_p <= 0 or >= 1 = off; `seed` as run.c's rng_seed.
    pub fn new(_vocab_size: usize, _temperature: f32, _top_p: f32, _seed: u64) -> Sampler { todo!() }
    /// Picks a token; `logits` is used as scratch. Allocates nothing.
    pub fn sample(&mut self, _logits: &mut [f32]) -> u32 { todo!() }
    /// Advances the generator as `sample` would, without logits (run.c's chat samples at prompt positions too).
    pub fn skip(&mut self) { todo!() }
}
/// Index of the largest logit, the first of equals.
pub fn argmax(_logits: &[f32]) -> u32 { todo!() }
