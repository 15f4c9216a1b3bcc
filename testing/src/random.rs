//! Reproducible random numbers.

/// Random number generator (xorshift64*); its seed must not be 0.
pub struct Random(pub u64);

impl Random {
    /// Returns 64 random bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Returns an approximately normal number: the sum of four uniform ones.
    pub fn float(&mut self) -> f32 {
        (0..4)
            .map(|_| (self.next() >> 40) as f32 / 16_777_216.0 - 0.5)
            .sum()
    }

    /// Returns `n` approximately normal numbers.
    pub fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}
