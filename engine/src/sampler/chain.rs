//! llama.cpp's samplers in its order and with its defaults: biases, penalties, DRY, top-n-sigma,
//! top-k, typical, top-p, min-p, XTC, temperature (fixed or dynamic), and the random choice
//! (`dist`); or biases, temperature and Mirostat, which replaces the others.
//!
//! Candidates stand in llama.cpp's order, and the choice is made with its generator: the same
//! logits and the same seed give its token, up to the rounding of exponentials.

use alloc::{collections::VecDeque, format, string::String, vec::Vec};
use core::{
    cmp::Ordering,
    ops::{Index, IndexMut},
};

use llama2_settings::{
    Param::{self, *},
    SamplerDefaults, TABLE,
};

use super::{
    argmax,
    dry::{Dry, Recent},
    mersenne::Mt19937,
};
use crate::math;

/// Samplers that only remove candidates, in the chain's order: they never remove the most likely
/// token.
pub(super) const FILTERS: [Param; 5] = [TopNSigma, TopK, Typical, TopP, MinP];

/// Most likely tokens from which Mirostat's first version estimates how probabilities decrease.
const ESTIMATED: usize = 100;

/// Parameters of the samplers. The defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerParams {
    numbers: [f32; TABLE.len()],
    /// Values added to the logits of these tokens.
    pub bias: Vec<(u32, f32)>,
    /// Parameters of DRY.
    pub dry: Dry,
}

impl Default for SamplerParams {
    fn default() -> Self {
        SamplerParams::from_defaults(|defaults| defaults.llama_cpp)
    }
}

impl Index<Param> for SamplerParams {
    type Output = f32;

    fn index(&self, param: Param) -> &f32 {
        &self.numbers[param as usize]
    }
}

impl IndexMut<Param> for SamplerParams {
    fn index_mut(&mut self, param: Param) -> &mut f32 {
        &mut self.numbers[param as usize]
    }
}

impl SamplerParams {
    /// Takes each parameter's default from the table, as selected by `choose`.
    pub(super) fn from_defaults(choose: impl Fn(SamplerDefaults) -> f32) -> SamplerParams {
        let mut sampling = SamplerParams {
            numbers: [0.0; TABLE.len()],
            bias: Vec::new(),
            dry: Dry::default(),
        };
        for (param, defaults) in Param::samplers() {
            sampling[param] = choose(defaults);
        }
        sampling
    }

    /// Sets a parameter.
    pub fn with(mut self, param: Param, value: f32) -> SamplerParams {
        self[param] = value;
        self
    }

    /// Says if the most likely token is always picked.
    pub(super) fn is_greedy(&self) -> bool {
        let is_fixed = self[Mirostat] != 0.0 || self[DynatempRange] <= 0.0;
        self[Temperature] <= 0.0 && is_fixed && !self.removes_likely()
    }

    /// Says if XTC may remove the most likely token.
    pub(super) fn removes_likely(&self) -> bool {
        self[XtcProbability] > 0.0 && self[XtcThreshold] <= 0.5 && self[Mirostat] == 0.0
    }

    /// Checks that every number is in its range, for a vocabulary of `vocab_size`.
    ///
    /// # Errors
    /// A sentence that names the parameter and its range.
    pub fn check(&self, vocab_size: usize) -> Result<(), String> {
        for (param, _) in Param::samplers() {
            let (spec, value) = (param.spec(), self[param]);
            if let Err(range) = spec.check(value) {
                return Err(format!("{} is {value}, but must be {range}", spec.key));
            }
        }
        match self
            .bias
            .iter()
            .find(|(token, bias)| *token as usize >= vocab_size || bias.is_nan())
        {
            Some((token, bias)) => Err(format!(
                "bias for token {token} is {bias}, but there are tokens 0 to {} and a bias is a number",
                vocab_size.saturating_sub(1)
            )),
            None => Ok(()),
        }
    }
}

/// Sampler chain and its state. Sampling allocates nothing.
pub(super) struct Chain {
    pub(super) settings: SamplerParams,
    /// Recent tokens, the oldest first, and how often each token is among them; empty if no penalty
    /// is active.
    recent: VecDeque<u32>,
    counts: Vec<u32>,
    /// Recent tokens, for DRY.
    repeated: Recent,
    /// Candidates: logit (later probability) and token.
    candidates: Vec<(f32, u32)>,
    /// The sum of their probabilities.
    total: f64,
    /// The candidates stand in the order of their logits.
    is_sorted: bool,
    /// Surprise of candidates and their indices, for typical sampling.
    surprises: Vec<(f32, u32)>,
    /// Generator of the choice.
    random: Mt19937,
    /// XTC's own, of the same seed.
    xtc: Mt19937,
    /// Largest surprise, in bits, that Mirostat allows at present.
    mu: f32,
}

impl Chain {
    pub(super) fn new(vocab_size: usize, settings: SamplerParams, seed: u32) -> Chain {
        let typical = settings[Typical] < 1.0;
        let penalties = [RepeatPenalty, FrequencyPenalty, PresencePenalty];
        let repeat_last = settings[RepeatLastN] as usize;
        let looks = penalties.map(|param| settings[param]) != [1.0, 0.0, 0.0]
            && repeat_last > 0
            && settings[Mirostat] == 0.0;
        Chain {
            recent: VecDeque::with_capacity(if looks { repeat_last + 1 } else { 0 }),
            counts: alloc::vec![0; if looks { vocab_size } else { 0 }],
            repeated: Recent::new(&settings.dry),
            candidates: Vec::with_capacity(vocab_size),
            total: 1.0,
            is_sorted: false,
            surprises: Vec::with_capacity(if typical { vocab_size } else { 0 }),
            random: Mt19937::new(seed),
            xtc: Mt19937::new(seed),
            mu: 2.0 * settings[MirostatTau],
            settings,
        }
    }

    /// Forgets the tokens that penalties look at.
    pub(super) fn forget(&mut self) {
        self.recent.clear();
        self.counts.fill(0);
        self.repeated.forget();
    }

    /// Records a token for the penalties.
    pub(super) fn accept(&mut self, token: u32) {
        self.repeated.accept(&self.settings.dry, token);
        let Some(count) = self.counts.get_mut(token as usize) else {
            return;
        };
        *count += 1;
        self.recent.push_back(token);
        if self.recent.len() > self.settings[RepeatLastN] as usize
            && let Some(oldest) = self.recent.pop_front()
            && let Some(count) = self.counts.get_mut(oldest as usize)
        {
            *count -= 1;
        }
    }

    /// Picks a token.
    pub(super) fn sample(&mut self, logits: &mut [f32]) -> u32 {
        self.weigh(logits);
        if self.settings.is_greedy() {
            return argmax(logits);
        }
        self.fill(logits);
        let drawn = match self.settings[Mirostat] {
            0.0 => {
                self.filter();
                self.heat();
                self.total = softmax(&mut self.candidates);
                let coin = self.random.uniform();
                self.choose(coin)
            }
            version => {
                cool(&mut self.candidates, self.settings[Temperature]);
                self.mirostat(version == 1.0, logits.len())
            }
        };
        let last = drawn.and_then(|at| self.candidates.get(at));
        last.map_or_else(|| argmax(logits), |(_, token)| *token)
    }

    /// Picks a candidate by its share of their total. `coin` is from 0 (inclusive) to 1
    /// (exclusive).
    fn choose(&self, coin: f64) -> Option<usize> {
        let mark = coin * self.total;
        let mut reached = 0.0;
        let drawn = self.candidates.iter().position(|(p, _)| {
            reached += f64::from(*p);
            reached >= mark
        });
        drawn.or(self.candidates.len().checked_sub(1))
    }

    /// Divides the logits by the temperature. A dynamic one is the higher, the nearer their entropy
    /// is to the largest that so many candidates can have.
    fn heat(&mut self) {
        let [temperature, range] = [Temperature, DynatempRange].map(|param| self.settings[param]);
        if range <= 0.0 {
            return cool(&mut self.candidates, temperature);
        }
        if self.candidates.len() < 2 {
            return;
        }
        self.sort();
        let (first, total) = (self.candidates[0].0, self.weight());
        let entropy: f32 = self
            .candidates
            .iter()
            .map(|c| likelihood(c.0, first) / total)
            .filter(|p| *p > 0.0)
            .map(|p| -p * libm::logf(p))
            .sum();
        let share = entropy / -libm::logf(1.0 / self.candidates.len() as f32);
        let (least, most) = ((temperature - range).max(0.0), temperature + range);
        let power = libm::powf(share, self.settings[DynatempExponent]);
        cool(&mut self.candidates, least + (most - least) * power);
    }

    /// Sum of the candidates' probabilities relative to the most likely one.
    fn weight(&self) -> f32 {
        let largest = largest(&self.candidates);
        let all = self.candidates.iter();
        all.map(|c| likelihood(c.0, largest)).sum()
    }

    /// Draws by Mirostat (Basu et al. 2021), which keeps the surprise of a text near a target: so
    /// many of the most likely candidates are kept (the `first` version estimates their number, the
    /// second compares surprises) that it is expected.
    fn mirostat(&mut self, first: bool, vocab_size: usize) -> Option<usize> {
        self.sort();
        let (top, total) = (self.candidates.first()?.0, self.weight());
        let p = |c: &(f32, u32)| likelihood(c.0, top) / total;
        let kept = if first {
            let [mut products, mut squares] = [0.0f32; 2];
            for (i, pair) in self.candidates.windows(2).take(ESTIMATED - 1).enumerate() {
                let t = libm::logf((i + 2) as f32 / (i + 1) as f32);
                products += t * libm::logf(p(&pair[0]) / p(&pair[1]));
                squares += t * t;
            }
            let s = products / squares;
            let epsilon = s - 1.0;
            let size = vocab_size as f32;
            let k = libm::powf(
                epsilon * libm::powf(2.0, self.mu) / (1.0 - libm::powf(size, -epsilon)),
                1.0 / s,
            );
            // llama.cpp's conversion of what is no number, or too large for its integers.
            if k < 2_147_483_648.0 { k as usize } else { 1 }
        } else {
            let surprising = |c: &(f32, u32)| -libm::log2f(p(c)) > self.mu;
            let at = self.candidates.iter().position(surprising);
            at.unwrap_or(self.candidates.len())
        };
        self.candidates.truncate(kept.max(1));
        let weight = self.weight();
        self.total = softmax(&mut self.candidates);
        let drawn = match self.candidates.len() {
            1 => 0,
            _ => {
                let coin = self.random.uniform();
                self.choose(coin)?
            }
        };
        let surprise = -libm::log2f(self.candidates[drawn].0 / weight);
        self.mu -= self.settings[MirostatEta] * (surprise - self.settings[MirostatTau]);
        Some(drawn)
    }

    /// Tells the candidates of the last draw with their probabilities.
    pub(super) fn probabilities(&self, out: &mut dyn FnMut(u32, f32)) {
        for &(weight, token) in &self.candidates {
            out(token, (f64::from(weight) / self.total) as f32);
        }
    }

    /// Applies biases, penalties and DRY to the logits.
    fn weigh(&mut self, logits: &mut [f32]) {
        let settings = &self.settings;
        for (token, bias) in &settings.bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        let there = self
            .counts
            .iter()
            .zip(&mut *logits)
            .filter(|(count, _)| **count > 0);
        for (count, logit) in there {
            if *logit <= 0.0 {
                *logit *= settings[RepeatPenalty];
            } else {
                *logit /= settings[RepeatPenalty];
            }
            *logit -= *count as f32 * settings[FrequencyPenalty] + settings[PresencePenalty];
        }
        if settings[Mirostat] == 0.0 {
            self.repeated.weigh(&settings.dry, logits);
        }
    }

    /// Puts the most likely candidates first.
    fn sort(&mut self) {
        if !self.is_sorted {
            self.candidates.sort_unstable_by(order);
            self.is_sorted = true;
        }
    }

    /// Fills in the candidates, in the order of their tokens.
    fn fill(&mut self, logits: &[f32]) {
        self.is_sorted = false;
        self.candidates.clear();
        // NaN is not a candidate.
        let all = (0..).zip(logits).filter(|(_, logit)| !logit.is_nan());
        self.candidates
            .extend(all.map(|(token, &logit)| (logit, token)));
    }

    /// Removes the candidates that the samplers reject. They stay in the order of their tokens,
    /// unless a sampler sorts them.
    fn filter(&mut self) {
        let [top_p, min_p] = [TopP, MinP].map(|param| self.settings[param]);
        if self.settings[TopNSigma] > 0.0 && self.candidates.len() > 1 {
            top_n_sigma(&mut self.candidates, self.settings[TopNSigma]);
        }
        let candidates = &mut self.candidates;
        let top_k = self.settings[TopK] as usize;
        if top_k > 0 {
            if top_k < candidates.len() {
                candidates.select_nth_unstable_by(top_k - 1, order);
                candidates.truncate(top_k);
            }
            self.sort();
        }
        if self.settings[Typical] < 1.0 {
            let share = self.settings[Typical];
            typical(&mut self.candidates, &mut self.surprises, share);
            self.is_sorted = false;
        }
        if top_p < 1.0 {
            self.sort();
            let candidates = &mut self.candidates;
            let total: f32 = candidates
                .iter()
                .map(|c| likelihood(c.0, candidates[0].0))
                .sum();
            let (first, mut sum) = (candidates.first().map_or(0.0, |c| c.0), 0.0);
            let enough = candidates.iter().position(|c| {
                sum += likelihood(c.0, first) / total;
                sum >= top_p
            });
            candidates.truncate(enough.map_or(candidates.len(), |at| at + 1));
        }
        if min_p > 0.0 {
            let largest = largest(&self.candidates);
            let least = largest + libm::logf(min_p);
            self.candidates.retain(|c| c.0 >= least || c.0 == largest);
        }
        if self.settings.removes_likely()
            && self.candidates.len() > 1
            && self.xtc.uniform_f32() <= self.settings[XtcProbability]
        {
            self.sort();
            let (first, total) = (self.candidates[0].0, self.weight());
            let threshold = self.settings[XtcThreshold];
            let is_likely = |c: &&(f32, u32)| likelihood(c.0, first) / total >= threshold;
            let likely = self.candidates.iter().take_while(is_likely).count();
            self.candidates.drain(..likely.saturating_sub(1));
        }
    }
}

/// Divides logits by a temperature; 0 leaves the first of the largest alone.
fn cool(candidates: &mut [(f32, u32)], temperature: f32) {
    if temperature > 0.0 {
        for (logit, _) in candidates {
            *logit /= temperature;
        }
        return;
    }
    let largest = largest(candidates);
    let mut is_left = true;
    for (logit, _) in candidates {
        let is_it = *logit == largest && core::mem::take(&mut is_left);
        *logit = if is_it { largest } else { f32::NEG_INFINITY };
    }
}

/// Makes tokens impossible whose logits are farther from the largest than `n` standard deviations
/// of all that are possible.
fn top_n_sigma(candidates: &mut [(f32, u32)], n: f32) {
    let possible = || {
        let logits = candidates.iter().map(|c| c.0);
        logits.filter(|logit| *logit != f32::NEG_INFINITY)
    };
    let count = possible().count() as f32;
    let mean = possible().sum::<f32>() / count;
    let squares = possible().fold(0.0f32, |sum, logit| {
        (f64::from(sum) + f64::from(logit - mean) * f64::from(logit - mean)) as f32
    });
    let least = largest(candidates) - n * libm::sqrtf(squares / count);
    for (logit, _) in candidates {
        if *logit < least {
            *logit = f32::NEG_INFINITY;
        }
    }
}

/// Probability of a logit relative to the largest one.
fn likelihood(logit: f32, largest: f32) -> f32 {
    if logit == largest {
        1.0
    } else {
        math::exp(logit - largest)
    }
}

/// Order of candidates: the most likely first.
fn order(a: &(f32, u32), b: &(f32, u32)) -> Ordering {
    b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1))
}

/// Largest logit.
fn largest(candidates: &[(f32, u32)]) -> f32 {
    let logits = candidates.iter().map(|c| c.0);
    logits.fold(f32::NEG_INFINITY, f32::max)
}

/// Replaces logits by numbers proportional to their probabilities. Returns the sum.
fn softmax(candidates: &mut [(f32, u32)]) -> f64 {
    let largest = largest(candidates);
    let mut sum = 0.0;
    for (logit, _) in candidates {
        *logit = likelihood(*logit, largest);
        sum += f64::from(*logit);
    }
    sum
}

/// Keeps the tokens whose surprise is nearest to the expected one, up to a total probability of
/// `share`, the nearest first; at least one.
fn typical(candidates: &mut Vec<(f32, u32)>, surprises: &mut Vec<(f32, u32)>, share: f32) {
    let largest = largest(candidates);
    let total: f32 = candidates.iter().map(|c| likelihood(c.0, largest)).sum();
    let p = |logit: f32| likelihood(logit, largest) / total;
    let expected: f32 = candidates
        .iter()
        .map(|c| p(c.0))
        .filter(|p| *p > 0.0)
        .map(|p| -p * libm::logf(p))
        .sum();
    surprises.clear();
    surprises.extend((0..).zip(candidates.iter()).map(|(place, c)| {
        let off = -libm::logf(p(c.0)) - expected;
        (
            if off.is_nan() {
                f32::INFINITY
            } else {
                off.abs()
            },
            place,
        )
    }));
    surprises.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
    let mut sum = 0.0;
    let enough = surprises.iter().position(|&(_, place)| {
        sum += p(candidates[place as usize].0);
        sum > share
    });
    surprises.truncate(enough.map_or(surprises.len(), |at| at + 1));
    for kept in surprises.iter_mut() {
        *kept = candidates[kept.1 as usize];
    }
    candidates.clear();
    candidates.extend_from_slice(surprises);
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_testing::random::Random;

    /// Candidates left from the probabilities 0.1, 0.2, 0.3, 0.4 (of llama.cpp's
    /// test-sampling.cpp), the most likely first.
    fn left(change: impl Fn(&mut SamplerParams)) -> Vec<u32> {
        let mut settings = SamplerParams::default()
            .with(TopK, 0.0)
            .with(TopP, 1.0)
            .with(MinP, 0.0);
        change(&mut settings);
        let mut chain = Chain::new(4, settings, 1);
        let logits = [0.1f32, 0.2, 0.3, 0.4].map(libm::logf);
        chain.fill(&logits);
        chain.filter();
        chain.sort();
        chain.candidates.iter().map(|c| c.1).collect()
    }

    #[test]
    fn filters_leave_what_llama_cpp_s_own_tests_expect() {
        assert_eq!(left(|_| ()), [3, 2, 1, 0]);
        for (k, want) in [
            (1, &[3][..]),
            (3, &[3, 2, 1]),
            (4, &[3, 2, 1, 0]),
            (0, &[3, 2, 1, 0]),
        ] {
            assert_eq!(left(|s| s[TopK] = k as f32), want, "top-k {k}");
        }
        for (p, want) in [
            (0.0, &[3][..]),
            (0.7, &[3, 2]),
            (0.8, &[3, 2, 1]),
            (1.0, &[3, 2, 1, 0]),
        ] {
            assert_eq!(left(|s| s[TopP] = p), want, "top-p {p}");
        }
        for (p, want) in [
            (0.0, &[3, 2, 1, 0][..]),
            (0.24, &[3, 2, 1, 0]),
            (0.26, &[3, 2, 1]),
            (0.49, &[3, 2, 1]),
            (0.51, &[3, 2]),
            (0.74, &[3, 2]),
            (0.76, &[3]),
            (1.0, &[3]),
        ] {
            assert_eq!(left(|s| s[MinP] = p), want, "min-p {p}");
        }
        for (probabilities, want) in [
            ([0.97f32, 0.01, 0.01, 0.01], &[0][..]),
            ([0.4, 0.2, 0.2, 0.2], &[1, 2, 3]),
        ] {
            let settings = SamplerParams::default()
                .with(TopK, 0.0)
                .with(TopP, 1.0)
                .with(MinP, 0.0)
                .with(Typical, 0.5);
            let mut chain = Chain::new(4, settings, 1);
            chain.fill(&probabilities.map(libm::logf));
            chain.filter();
            chain.sort();
            let found: Vec<u32> = chain.candidates.iter().map(|c| c.1).collect();
            assert_eq!(found, want, "typical");
        }
    }

    #[test]
    fn penalties_are_those_of_llama_cpp_s_tests() {
        // Five equal logits; some tokens were there.
        let weighed = |recent: &[u32], repeat, frequency, presence| {
            let mut chain = Chain::new(
                5,
                SamplerParams::default()
                    .with(RepeatLastN, recent.len() as f32)
                    .with(RepeatPenalty, repeat)
                    .with(FrequencyPenalty, frequency)
                    .with(PresencePenalty, presence),
                1,
            );
            recent.iter().for_each(|&token| chain.accept(token));
            let mut logits = [1.0f32, -1.0, 1.0, 1.0, 1.0];
            chain.weigh(&mut logits);
            logits
        };
        assert_eq!(
            weighed(&[0, 1], 50.0, 0.0, 0.0),
            [0.02, -50.0, 1.0, 1.0, 1.0]
        );
        assert_eq!(
            weighed(&[0, 0, 2], 1.0, 5.0, 5.0),
            [-14.0, -1.0, -9.0, 1.0, 1.0]
        );
        // Tokens before the last two are forgotten.
        let mut chain = Chain::new(
            5,
            SamplerParams::default()
                .with(RepeatLastN, 2.0)
                .with(PresencePenalty, 1.0),
            1,
        );
        [0, 3, 4].into_iter().for_each(|token| chain.accept(token));
        let mut logits = [1.0f32; 5];
        chain.weigh(&mut logits);
        assert_eq!(logits, [1.0, 1.0, 1.0, 0.0, 0.0]);
    }

    /// Compares every filter with a plain one in double precision, on logits with ties.
    #[test]
    fn filters_are_what_their_definitions_say() {
        let random = &mut Random(5);
        for round in 0..300 {
            let n = 2 + random.next() as usize % 400;
            let logits: Vec<f32> = (0..n)
                .map(|_| libm::roundf(random.float() * 20.0) / 4.0)
                .collect();
            let k = random.next() as usize % (n + 3);
            let (p, min) = ((round % 10) as f32 / 10.0 + 0.05, (round % 7) as f32 / 8.0);
            let mut chain = Chain::new(
                n,
                SamplerParams::default()
                    .with(TopK, k as f32)
                    .with(TopP, p)
                    .with(MinP, min),
                1,
            );
            chain.fill(&logits);
            chain.filter();
            let mut want: Vec<u32> = (0..n as u32).collect();
            let logit = |t: u32| f64::from(logits[t as usize]);
            want.sort_by(|&a, &b| logit(b).total_cmp(&logit(a)));
            want.truncate(if k == 0 { n } else { k });
            let e: Vec<f64> = want
                .iter()
                .map(|&t| (logit(t) - logit(want[0])).exp())
                .collect();
            let (total, mut sum) = (e.iter().sum::<f64>(), 0.0);
            let mut count = 0;
            for x in &e {
                count += 1;
                sum += x / total;
                // If it is that close, either is right.
                if sum >= f64::from(p) {
                    break;
                }
            }
            let close = (sum - f64::from(p)).abs() < 1e-5;
            want.truncate(count);
            if min > 0.0 {
                want.retain(|&t| logit(t) >= logit(want_first(&logits)) + f64::from(min).ln());
            }
            let found: Vec<u32> = chain.candidates.iter().map(|c| c.1).collect();
            assert!(close || found == want, "{found:?}, not {want:?}");
        }
    }

    fn want_first(logits: &[f32]) -> u32 {
        argmax(logits)
    }

    #[test]
    fn draws_follow_the_probabilities_and_odd_logits_do_no_harm() {
        let mut chain = Chain::new(
            4,
            SamplerParams::default()
                .with(Temperature, 1.0)
                .with(TopK, 0.0)
                .with(TopP, 1.0)
                .with(MinP, 0.0),
            1,
        );
        let logits = [0.1f32, 0.2, 0.3, 0.4].map(libm::logf);
        let mut counts = [0; 4];
        chain.fill(&logits);
        chain.filter();
        chain.heat();
        chain.total = softmax(&mut chain.candidates);
        for i in 0..1000 {
            let at = chain.choose((f64::from(i) + 0.5) / 1000.0).unwrap();
            counts[chain.candidates[at].1 as usize] += 1;
        }
        assert_eq!(counts, [100, 200, 300, 400]);
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for odd in [
            [nan; 4],
            [-inf; 4],
            [inf; 4],
            [nan, inf, -inf, 0.0],
            [0.0; 4],
        ] {
            for settings in [
                SamplerParams::default(),
                SamplerParams::default()
                    .with(Typical, 0.5)
                    .with(Temperature, 1e-30),
                SamplerParams::default().with(Temperature, 0.0),
                SamplerParams::default().with(TopNSigma, 1.0),
                SamplerParams::default()
                    .with(DynatempRange, 2.0)
                    .with(XtcProbability, 1.0),
                SamplerParams::default().with(Mirostat, 1.0),
                SamplerParams::default().with(Mirostat, 2.0),
            ] {
                let mut chain = Chain::new(4, settings, 1);
                for _ in 0..3 {
                    assert!(chain.sample(&mut odd.clone()) < 4);
                }
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_said_in_a_sentence() {
        assert_eq!(SamplerParams::default().check(10), Ok(()));
        let said = |change: &dyn Fn(&mut SamplerParams)| {
            let mut settings = SamplerParams::default();
            change(&mut settings);
            settings.check(10).unwrap_err()
        };
        assert_eq!(
            said(&|s| s[TopP] = 1.5),
            "top_p is 1.5, but must be a number from 0 to 1"
        );
        assert!(said(&|s| s[Temperature] = f32::NAN).contains("0 or more"));
        assert!(said(&|s| s[RepeatPenalty] = 0.0).contains("more than 0"));
        assert!(said(&|s| s.bias.push((10, 1.0))).contains("token 10"));
        assert!(said(&|s| s[RepeatLastN] = 1e6).contains("65536"));
    }
}
