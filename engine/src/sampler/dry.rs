//! DRY ("don't repeat yourself", p-e-w 2024), as in llama.cpp: a token that would extend a
//! repetition of what was said last is the less likely, the longer that repetition is.

use alloc::{collections::VecDeque, vec::Vec};

/// Bytes of a breaker that count.
const LONGEST_BREAKER: usize = 40;

/// Tokens behind a breaker's first one that count.
const LONGEST_TAIL: usize = 20;

/// Natural logarithm of the largest number.
const LARGEST_LOG: f32 = 88.722_84;

/// Parameters of DRY. The defaults are llama.cpp's, and do nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Dry {
    /// Subtracted from the logit of a token that extends a repetition of `allowed` tokens; 0 is
    /// off.
    pub multiplier: f32,
    /// Factor of that for each further token of the repetition; 1 or more.
    pub base: f32,
    /// Tokens that may be repeated.
    pub allowed: usize,
    /// How many recent tokens are considered.
    pub last: usize,
    /// Sequences of tokens that a repetition never goes across: the first token, and those behind
    /// it; in the order of the first.
    breakers: Vec<(u32, Vec<u32>)>,
}

impl Default for Dry {
    fn default() -> Dry {
        Dry {
            multiplier: 0.0,
            base: 1.75,
            allowed: 2,
            last: 64,
            breakers: Vec::new(),
        }
    }
}

impl Dry {
    /// Says if it does something.
    pub fn is_active(&self) -> bool {
        self.multiplier != 0.0 && self.base >= 1.0 && self.last > 0
    }

    /// Adds a text that a repetition never goes across, of which 40 bytes count: tokens that have
    /// it, or that end with its beginning, before the rest of it. `texts` are the texts of all
    /// tokens; `encode` gives the tokens of a text.
    pub fn add_breaker<'t>(
        &mut self,
        breaker: &[u8],
        texts: impl Iterator<Item = &'t [u8]>,
        encode: impl Fn(&[u8]) -> Vec<u32>,
    ) {
        let breaker = &breaker[..breaker.len().min(LONGEST_BREAKER)];
        if breaker.is_empty() {
            return;
        }
        // Each rest is encoded once, not once for each token.
        let tail = |said: usize| {
            let mut tail = encode(&breaker[said..]);
            tail.truncate(LONGEST_TAIL);
            tail
        };
        let tails: Vec<Vec<u32>> = (1..breaker.len()).map(tail).collect();
        for (token, text) in (0..).zip(texts) {
            if text.windows(breaker.len()).any(|part| part == breaker) {
                self.breakers.push((token, Vec::new()));
                continue;
            }
            for said in 1..breaker.len().min(text.len() + 1) {
                if text.ends_with(&breaker[..said]) {
                    self.breakers.push((token, tails[said - 1].clone()));
                }
            }
        }
        self.breakers.sort_unstable();
        self.breakers.dedup();
    }

    /// Tails of the breakers that begin with a token.
    fn tails(&self, token: u32) -> impl Iterator<Item = &[u32]> {
        let from = self.breakers.partition_point(|(head, _)| *head < token);
        let those = self.breakers[from..].iter();
        those
            .take_while(move |(head, _)| *head == token)
            .map(|(_, tail)| &tail[..])
    }
}

/// Recent tokens, and what was found among them.
#[derive(Default)]
pub(super) struct Recent {
    /// The last one first.
    tokens: VecDeque<u32>,
    /// How many of the last tokens are the same as from here on, towards the beginning.
    same: Vec<usize>,
    /// Tokens that would extend a repetition, and its length.
    extending: Vec<(u32, usize)>,
}

impl Recent {
    pub(super) fn new(dry: &Dry) -> Recent {
        let last = if dry.is_active() { dry.last } else { 0 };
        Recent {
            tokens: VecDeque::with_capacity(last),
            same: Vec::with_capacity(last),
            extending: Vec::with_capacity(last),
        }
    }

    /// Records a token.
    pub(super) fn accept(&mut self, dry: &Dry, token: u32) {
        if dry.is_active() {
            self.tokens.truncate(dry.last - 1);
            self.tokens.push_front(token);
        }
    }

    /// Forgets all tokens.
    pub(super) fn forget(&mut self) {
        self.tokens.clear();
    }

    /// Subtracts from the logits of tokens that would extend a repetition.
    pub(super) fn weigh(&mut self, dry: &Dry, logits: &mut [f32]) {
        if !dry.is_active() || self.tokens.len() <= dry.allowed {
            return;
        }
        let longest = self.before_breaker(dry);
        if longest < dry.allowed {
            return;
        }
        self.compare();
        self.extending.clear();
        for (at, same) in self.same.iter().enumerate().skip(1) {
            let repeated = *same.min(&longest);
            if repeated >= dry.allowed {
                self.extending.push((self.tokens[at - 1], repeated));
            }
        }
        self.extending.sort_unstable_by(|a, b| b.cmp(a));
        self.extending.dedup_by_key(|(token, _)| *token);
        let most = match dry.base > 1.000_001 {
            true => (LARGEST_LOG / libm::logf(dry.base)) as usize,
            false => usize::MAX,
        };
        for &(token, repeated) in &self.extending {
            let Some(logit) = logits.get_mut(token as usize) else {
                continue;
            };
            if dry.tails(token).all(|tail| !tail.is_empty()) {
                let further = (repeated - dry.allowed).min(most.max(1));
                let factor = libm::pow(f64::from(dry.base), further as f64);
                *logit -= (f64::from(dry.multiplier) * factor) as f32;
            }
        }
    }

    /// Number of tokens behind the last breaker.
    fn before_breaker(&self, dry: &Dry) -> usize {
        for (at, &token) in self.tokens.iter().enumerate() {
            let is_here = |tail: &&[u32]| {
                let mut behind = self.tokens.range(..at).rev();
                tail.len() <= at && tail.iter().all(|token| behind.next() == Some(token))
            };
            let longest = dry.tails(token).filter(is_here).map(<[u32]>::len).max();
            if let Some(longest) = longest {
                return at - longest;
            }
        }
        self.tokens.len()
    }

    /// Fills in `same`: Z-values (Gusfield 1997, 1.4), with the last token first.
    fn compare(&mut self) {
        let (tokens, same) = (&self.tokens, &mut self.same);
        same.clear();
        same.push(tokens.len());
        let (mut from, mut to) = (0, 0);
        for at in 1..tokens.len() {
            let mut found = match at < to {
                true => same[at - from].min(to - at),
                false => 0,
            };
            if at + found >= to {
                while at + found < tokens.len() && tokens[found] == tokens[at + found] {
                    found += 1;
                }
                (from, to) = (at, at + found);
            }
            same.push(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_testing::random::Random;

    /// Logits that were 0, after these tokens; breakers are single tokens.
    fn weighed(dry: &Dry, tokens: &[u32]) -> [f32; 8] {
        let mut recent = Recent::new(dry);
        tokens.iter().for_each(|&token| recent.accept(dry, token));
        let mut logits = [0.0; 8];
        recent.weigh(dry, &mut logits);
        logits
    }

    #[test]
    fn what_would_go_on_repeating_is_less_likely() {
        let mut dry = Dry {
            multiplier: 1.0,
            base: 2.0,
            ..Dry::default()
        };
        // 1 2 3 4 is about to come again: four tokens are repeated, two more than allowed.
        let said = [1, 2, 3, 4, 5, 1, 2, 3, 4];
        assert_eq!(
            weighed(&dry, &said),
            [0.0, 0.0, 0.0, 0.0, 0.0, -4.0, 0.0, 0.0]
        );
        assert_eq!(weighed(&dry, &said[..7])[3], -1.0);
        assert_eq!(weighed(&dry, &said[..6]), [0.0; 8]);
        dry.last = 8;
        // The oldest is forgotten.
        assert_eq!(weighed(&dry, &said)[5], -2.0);
        let texts = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"];
        let encode = |text: &[u8]| {
            text.iter()
                .map(|&letter| u32::from(letter - b'a'))
                .collect()
        };
        dry.last = 64;
        let mut broken = dry.clone();
        broken.add_breaker(b"c", texts.iter().map(|text| &text[..]), encode);
        // Behind 2 there are only 3 and 4.
        assert_eq!(weighed(&broken, &said)[5], -1.0);
        let mut broken = dry.clone();
        broken.add_breaker(b"bcde", texts.iter().map(|text| &text[..]), encode);
        assert_eq!(weighed(&broken, &said), [0.0; 8]);
        // A token that is a breaker is never less likely.
        let mut broken = dry;
        broken.add_breaker(b"f", texts.iter().map(|text| &text[..]), encode);
        assert_eq!(weighed(&broken, &said), [0.0; 8]);
    }

    #[test]
    fn tokens_that_overlap_a_breaker_begin_it() {
        let texts = [&b"x\nU"[..], b"ser:", b"a\nUser:b", b"\n\n", b"User"];
        let mut dry = Dry::default();
        dry.add_breaker(b"\nUser:", texts.into_iter(), |rest| {
            rest.iter().copied().map(u32::from).collect()
        });
        let rest = |text: &[u8]| text.iter().copied().map(u32::from).collect::<Vec<_>>();
        let want = [(0, rest(b"ser:")), (2, Vec::new()), (3, rest(b"User:"))];
        assert_eq!(dry.breakers, want);
        dry.add_breaker(b"", texts.into_iter(), |_| Vec::new());
        assert_eq!(dry.breakers.len(), 3);
    }

    #[test]
    fn repetitions_are_those_of_a_plain_comparison() {
        let random = &mut Random(3);
        for round in 0..200 {
            let mut recent = Recent::default();
            let count = random.next() as usize % 40;
            let kinds = 1 + u64::from(random.next() as u32) % (1 + round / 20);
            let tokens = (0..count).map(|_| (u64::from(random.next() as u32) % kinds) as u32);
            recent.tokens.extend(tokens);
            recent.compare();
            for at in 1..count {
                let tokens = &recent.tokens;
                let plain = (0..count - at).take_while(|&n| tokens[n] == tokens[at + n]);
                assert_eq!(recent.same[at], plain.count(), "{at} of {tokens:?}");
            }
        }
    }
}
