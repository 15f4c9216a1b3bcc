//! Samplers: llama.cpp's chain ([`SamplerParams`]), or run.c's argmax, temperature, top-p and
//! xorshift* generator, which gives the same tokens for the same seed.

mod chain;
mod dry;
mod mersenne;
mod overrides;

use alloc::vec::Vec;

pub use chain::SamplerParams;
pub use dry::Dry;
pub use llama2_settings::Param;
pub use overrides::{SamplerConfig, SamplerOverrides};

use crate::kernels::{self, Features, Kernels};

/// Picks the next token from logits.
pub struct Sampler {
    temperature: f32,
    top_p: f32,
    state: u64,
    kernels: &'static Kernels,
    /// Candidates of top-p: probability and token. The capacity is the vocabulary size.
    candidates: Vec<(f32, u32)>,
    /// llama.cpp's sampler chain, if it is used instead.
    chain: Option<chain::Chain>,
}

impl Sampler {
    /// Creates run.c's sampler for `vocab_size` logits. A `temperature` of 0 picks the largest
    /// logit; a `top_p` outside of the open interval from 0 to 1 samples from the whole
    /// distribution; `seed` is run.c's `rng_seed` (0 makes all random numbers 0, as there).
    pub fn new(vocab_size: usize, temperature: f32, top_p: f32, seed: u64) -> Sampler {
        Sampler {
            temperature,
            top_p,
            state: seed,
            kernels: kernels::best(Features::of_this_core()),
            candidates: Vec::with_capacity(vocab_size),
            chain: None,
        }
    }

    /// Creates llama.cpp's sampler for `vocab_size` logits. As there, the seed's lower 32 bits
    /// count.
    pub fn with(vocab_size: usize, settings: SamplerParams, seed: u64) -> Sampler {
        Sampler {
            temperature: settings[Param::Temperature],
            top_p: settings[Param::TopP],
            state: seed,
            kernels: kernels::best(Features::of_this_core()),
            candidates: Vec::new(),
            chain: Some(chain::Chain::new(vocab_size, settings, seed as u32)),
        }
    }

    /// Records tokens that were not sampled, such as the prompt's: penalties consider them, too.
    pub fn accept(&mut self, tokens: &[u32]) {
        if let Some(chain) = &mut self.chain {
            tokens.iter().for_each(|&token| chain.accept(token));
        }
    }

    /// Remembers these tokens alone for penalties; draws go on.
    pub fn restart(&mut self, tokens: &[u32]) {
        if let Some(chain) = &mut self.chain {
            chain.forget();
            tokens.iter().for_each(|&token| chain.accept(token));
        }
    }

    /// Picks a token. Overwrites the logits with probabilities. Allocates nothing.
    pub fn sample(&mut self, logits: &mut [f32]) -> u32 {
        if let Some(chain) = &mut self.chain {
            let token = chain.sample(logits);
            chain.accept(token);
            return token;
        }
        if self.temperature == 0.0 {
            return (self.kernels.argmax)(logits) as u32;
        }
        (self.kernels.softmax)(logits, self.temperature);
        let coin = self.coin();
        if self.top_p <= 0.0 || self.top_p >= 1.0 {
            draw(logits, coin)
        } else {
            self.draw_top_p(logits, coin)
        }
    }

    /// Tells the tokens among which llama.cpp's samplers drew `drawn`, the last one, each with the
    /// probability that it had. run.c's sampler knows only what it drew.
    pub fn probabilities(&self, drawn: u32, out: &mut dyn FnMut(u32, f32)) {
        match &self.chain {
            Some(chain) if !chain.settings.is_greedy() => chain.probabilities(out),
            _ => out(drawn, 1.0),
        }
    }

    /// Advances the generator as `sample` does, without logits: run.c's chat also samples at the
    /// prompt's positions.
    pub fn skip(&mut self) {
        if self.temperature != 0.0 {
            self.coin();
        }
    }

    /// Random number from 0 (inclusive) to 1 (exclusive), by xorshift64* (Vigna 2016; the upper 24
    /// of its 32 bits).
    fn coin(&mut self) -> f32 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (bits >> 8) as f32 / 16_777_216.0
    }

    /// Samples from the smallest set of most likely tokens whose probabilities sum to more than
    /// top-p (Holtzman et al. 2020).
    fn draw_top_p(&mut self, probabilities: &[f32], coin: f32) -> u32 {
        // Tokens below this cannot be in the set, whatever the distribution of the rest; skipping
        // them saves sorting most of the vocabulary.
        let cutoff = (1.0 - self.top_p) / (probabilities.len() as f32 - 1.0);
        let likely = (0..)
            .zip(probabilities)
            .filter(|&(_, &p)| p >= cutoff)
            .map(|(token, &p)| (p, token));
        self.candidates.clear();
        self.candidates.extend(likely);
        // glibc's qsort is a merge sort: equal probabilities keep the order of their tokens.
        self.candidates
            .sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut sum = 0.0;
        let mut last = self.candidates.len().saturating_sub(1);
        for (i, (p, _)) in self.candidates.iter().enumerate() {
            sum += p;
            if sum > self.top_p {
                last = i;
                break;
            }
        }
        let mark = coin * sum;
        let mut reached = 0.0;
        for (p, token) in self.candidates.iter().take(last + 1) {
            reached += p;
            if mark < reached {
                return *token;
            }
        }
        // Rounding may leave the sum below the mark. No candidate at all is possible with a tiny
        // top-p over a tiny vocabulary, and with NaN; run.c then reads before its list.
        self.candidates
            .get(last)
            .map_or_else(|| argmax(probabilities), |c| c.1)
    }
}

/// Samples from the whole distribution.
fn draw(probabilities: &[f32], coin: f32) -> u32 {
    let mut reached = 0.0;
    for (token, p) in (0..).zip(probabilities) {
        reached += p;
        if coin < reached {
            return token;
        }
    }
    probabilities.len().saturating_sub(1) as u32
}

/// Index of the largest logit, the first if several are equal.
pub fn argmax(logits: &[f32]) -> u32 {
    (kernels::scalar::KERNELS.argmax)(logits) as u32
}
