//! The Mersenne twister MT19937 (Matsumoto and Nishimura 1998), as C++'s `std::mt19937`: llama.cpp
//! draws with it.

/// Words of the state.
const WORDS: usize = 624;

/// Generator of 32-bit numbers.
pub(super) struct Mt19937 {
    state: [u32; WORDS],
    /// Words of the state that have been given out.
    used: usize,
}

impl Mt19937 {
    pub(super) fn new(seed: u32) -> Mt19937 {
        let mut state = [seed; WORDS];
        for i in 1..WORDS {
            let before = state[i - 1];
            state[i] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(i as u32);
        }
        Mt19937 { state, used: WORDS }
    }

    fn next(&mut self) -> u32 {
        if self.used == WORDS {
            self.renew();
        }
        let mut word = self.state[self.used];
        self.used += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn renew(&mut self) {
        for i in 0..WORDS {
            let joined =
                (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + 397) % WORDS] ^ (joined >> 1) ^ odd;
        }
        self.used = 0;
    }

    /// Number from 0 (inclusive) to 1 (exclusive), from two words, the low one first: libstdc++'s
    /// `std::uniform_real_distribution<double>`.
    pub(super) fn uniform(&mut self) -> f64 {
        const WORD: f64 = 4_294_967_296.0;
        let (low, high) = (f64::from(self.next()), f64::from(self.next()));
        let number = (low + high * WORD) / (WORD * WORD);
        number.min(1.0 - f64::EPSILON / 2.0)
    }

    /// Number from 0 (inclusive) to 1 (exclusive), from one word: libstdc++'s
    /// `std::uniform_real_distribution<float>`.
    pub(super) fn uniform_f32(&mut self) -> f32 {
        let number = self.next() as f32 / 4_294_967_296.0;
        number.min(1.0 - f32::EPSILON / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_standard_s() {
        // C++23, [rand.predef].
        let mut random = Mt19937::new(5489);
        let last = (0..10_000).map(|_| random.next()).last();
        assert_eq!(last, Some(4_123_659_995));
        let mut random = Mt19937::new(42);
        assert_eq!(
            [random.next(), random.next()],
            [1_608_637_542, 3_421_126_067]
        );
        let mut random = Mt19937::new(42);
        let want = (1_608_637_542.0 + 3_421_126_067.0 * 4_294_967_296.0) / 2f64.powi(64);
        assert_eq!(random.uniform(), want);
    }
}
