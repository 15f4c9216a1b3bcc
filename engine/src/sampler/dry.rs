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
    /// Sequences of tokens that a repetition never goes across: the first token, and which of the
    /// tails stands behind it; in this order. There are many of these, and few tails.
    breakers: Vec<(u32, u32)>,
    /// The first of them is empty.
    tails: Vec<Vec<u32>>,
}

impl Default for Dry {
    fn default() -> Dry {
        Dry {
            multiplier: 0.0,
            base: 1.75,
            allowed: 2,
            last: 64,
            breakers: Vec::new(),
            tails: Vec::new(),
        }
    }
}

impl Dry {
    /// Says if it does something.
    pub fn is_active(&self) -> bool {
        self.multiplier != 0.0 && self.base >= 1.0 && self.last > 0
    }

    /// Sets the texts that a repetition never goes across, of each of which 40 bytes count: tokens
    /// that have one, or that end with its beginning, before the rest of it. At most `most` of such
    /// tokens are kept, the first. `texts` are the texts of all tokens; `encode` gives the tokens
    /// of a text.
    pub fn set_breakers<'t, T: Iterator<Item = &'t [u8]>>(
        &mut self,
        breakers: &[impl AsRef<[u8]>],
        most: usize,
        texts: impl Fn() -> T,
        encode: impl Fn(&[u8]) -> Vec<u32>,
    ) {
        self.breakers.clear();
        self.tails = alloc::vec![Vec::new()];
        for breaker in breakers {
            let breaker = breaker.as_ref();
            let breaker = &breaker[..breaker.len().min(LONGEST_BREAKER)];
            let Some(first) = breaker.first() else {
                continue;
            };
            // Each rest is encoded once, not once for each token.
            let before = self.tails.len() - 1;
            for said in 1..breaker.len() {
                let mut tail = encode(&breaker[said..]);
                tail.truncate(LONGEST_TAIL);
                self.tails.push(tail);
            }
            let may_begin = |(_, text): &(u32, &[u8])| text.contains(first);
            for (token, text) in (0..).zip(texts()).filter(may_begin) {
                if text.windows(breaker.len()).any(|part| part == breaker) {
                    self.breakers.push((token, 0));
                    continue;
                }
                let overlaps = 1..breaker.len().min(text.len() + 1);
                let overlaps = overlaps.filter(|&said| text.ends_with(&breaker[..said]));
                let tails = overlaps.map(|said| (token, (before + said) as u32));
                self.breakers.extend(tails);
            }
            if self.breakers.len() > most {
                break;
            }
        }
        self.breakers.truncate(most);
        self.breakers.sort_unstable();
    }

    /// Tails of the breakers that begin with a token.
    fn tails(&self, token: u32) -> impl Iterator<Item = &[u32]> {
        let from = self.breakers.partition_point(|(head, _)| *head < token);
        let those = self.breakers[from..].iter();
        those
            .take_while(move |(head, _)| *head == token)
            .filter_map(|(_, tail)| Some(&self.tails.get(*tail as usize)?[..]))
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
        const TEXTS: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h"];
        let texts = || TEXTS.into_iter();
        let encode = |text: &[u8]| {
            text.iter()
                .map(|&letter| u32::from(letter - b'a'))
                .collect()
        };
        dry.last = 64;
        let mut broken = dry.clone();
        broken.set_breakers(&[b"c"], 99, texts, encode);
        // Behind 2 there are only 3 and 4.
        assert_eq!(weighed(&broken, &said)[5], -1.0);
        let mut broken = dry.clone();
        broken.set_breakers(&[b"bcde"], 99, texts, encode);
        assert_eq!(weighed(&broken, &said), [0.0; 8]);
        // A token that is a breaker is never less likely.
        let mut broken = dry;
        broken.set_breakers(&[b"f"], 99, texts, encode);
        assert_eq!(weighed(&broken, &said), [0.0; 8]);
    }

    #[test]
    fn tokens_that_overlap_a_breaker_begin_it() {
        const TEXTS: [&[u8]; 5] = [b"x\nU", b"ser:", b"a\nUser:b", b"\n\n", b"User"];
        let rest = |text: &[u8]| text.iter().copied().map(u32::from).collect::<Vec<_>>();
        let mut dry = Dry::default();
        let texts = || TEXTS.into_iter();
        dry.set_breakers(&[&b"\nUser:"[..], b""], 99, texts, rest);
        let found = |dry: &Dry, token| dry.tails(token).map(<[u32]>::to_vec).collect::<Vec<_>>();
        assert_eq!(found(&dry, 0), [rest(b"ser:")]);
        assert_eq!(found(&dry, 1), [[]; 0]);
        assert_eq!(found(&dry, 2), [[]]);
        assert_eq!(found(&dry, 3), [rest(b"User:")]);
        // No more than may be.
        dry.set_breakers(&[&b"\nUser:"[..], b"s"], 2, texts, rest);
        assert_eq!(dry.breakers.len(), 2);
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
