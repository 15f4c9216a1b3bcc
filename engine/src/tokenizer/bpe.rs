//! Byte-level BPE (GPT-2's; Sennrich et al. 2016): every byte is a token, and neighbours are merged in the order of the merges'
//! ranks, within words that a pre-tokenizer cut.

use alloc::{collections::BinaryHeap, string::String, vec::Vec};
use core::cmp::{Ordering, Reverse};

use super::{NONE, Tokenizer, split};

/// The merges of a vocabulary.
pub(super) struct Merges {
    /// Left and right token, rank and result, in the order of the pairs.
    pairs: Vec<(u32, u32, u32, u32)>,
    /// The token of each byte; [`NONE`] if there is none, and the byte is left out.
    bytes: [u32; 256],
    splitter: split::Splitter,
    /// Whether a word that is a token is taken as it is, whatever the merges would make of it.
    whole_words: bool,
}

/// Two neighbours that can be merged.
#[derive(PartialEq, Eq)]
struct Candidate {
    rank: u32,
    left: u32,
    right: u32,
    pair: (u32, u32),
    token: u32,
}

impl Ord for Candidate {
    /// The lowest rank first, leftmost of equals: a heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |c: &Self| Reverse((c.rank, c.left));
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Merges {
    /// Merges `pairs` of words of `tokenizer`, in the order of their ranks. Those whose sides or whose result are no tokens can
    /// never come about, and are left out.
    pub(super) fn new<'w>(
        tokenizer: &Tokenizer,
        pairs: impl Iterator<Item = (&'w [u8], &'w [u8])>,
        splitter: split::Splitter,
        whole_words: bool,
    ) -> Merges {
        let mut known = Vec::new();
        for (rank, (left, right)) in (0u32..).zip(pairs) {
            let tokens = (
                tokenizer.find(left, b""),
                tokenizer.find(right, b""),
                tokenizer.find(left, right),
            );
            if let (Some(left), Some(right), Some(whole)) = tokens {
                known.push((left, right, rank, whole));
            }
        }
        known.sort_unstable();
        let mut bytes = [NONE; 256];
        for (byte, token) in (0..=u8::MAX).zip(&mut bytes) {
            *token = tokenizer.find(&[byte], b"").unwrap_or(NONE);
        }
        Merges {
            pairs: known,
            bytes,
            splitter,
            whole_words,
        }
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, tokenizer: &Tokenizer, text: &[u8], tokens: &mut Vec<u32>) {
        let text = String::from_utf8_lossy(text);
        split::words(self.splitter, &text, &mut |word| {
            let whole = if self.whole_words {
                tokenizer.find(word.as_bytes(), b"")
            } else {
                None
            };
            match whole {
                Some(token) => tokens.push(token),
                None => self.word(word.as_bytes(), tokens),
            }
        });
    }

    /// What two neighbours become, and at which rank: of a pair that stands twice the first.
    fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let at = self.pairs.partition_point(|p| (p.0, p.1) < (left, right));
        let found = self.pairs.get(at)?;
        ((found.0, found.1) == (left, right)).then_some((found.2, found.3))
    }

    fn word(&self, word: &[u8], tokens: &mut Vec<u32>) {
        let mut all: Vec<u32> = word
            .iter()
            .map(|&byte| self.bytes[usize::from(byte)])
            .collect();
        let count = all.len() as u32;
        // Where the neighbours are.
        let mut before: Vec<u32> = (0..count).map(|i| i.wrapping_sub(1)).collect();
        let mut after: Vec<u32> = (1..=count)
            .map(|i| if i < count { i } else { NONE })
            .collect();
        let mut heap = BinaryHeap::new();
        let candidate = |all: &[u32], left: u32, right: u32| {
            let pair = (all[left as usize], all[right as usize]);
            let (rank, token) = self.find(pair.0, pair.1)?;
            Some(Candidate {
                rank,
                left,
                right,
                pair,
                token,
            })
        };
        heap.extend((1..count).filter_map(|right| candidate(&all, right - 1, right)));
        while let Some(found) = heap.pop() {
            let (left, right) = (found.left as usize, found.right as usize);
            // Stale if either has been merged since.
            if (all[left], all[right]) != found.pair || after[left] != found.right {
                continue;
            }
            all[left] = found.token;
            all[right] = NONE;
            after[left] = after[right];
            if after[left] != NONE {
                before[after[left] as usize] = found.left;
                heap.extend(candidate(&all, found.left, after[left]));
            }
            if before[left] != NONE {
                heap.extend(candidate(&all, before[left], found.left));
            }
        }
        tokens.extend(all.into_iter().filter(|&token| token != NONE));
    }
}

/// The byte that a character of a byte-level word stands for: those that can be seen stand for themselves, the other 68 for
/// U+0100 and following.
pub(super) fn byte(c: char) -> Option<u8> {
    let seen = |b: u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(c) {
        code @ 0..=0xff => Some(code as u8).filter(|&b| seen(b)),
        code @ 0x100..=0x143 => (0..=u8::MAX)
            .filter(|&b| !seen(b))
            .nth(code as usize - 0x100),
        _ => None,
    }
}

/// The bytes of a byte-level word; `None` where it has a character that stands for none.
pub(super) fn bytes(word: &str) -> Option<Vec<u8>> {
    word.chars().map(byte).collect()
}
