//! Byte-level BPE (GPT-2's; Sennrich et al. 2016): every byte is a token, and neighbours are merged
//! in the order of the merges' ranks, within words found by a pre-tokenizer.

use alloc::{string::String, vec::Vec};
use core::cmp::Reverse;

use super::{Tokenizer, merge::merge, split, words::Words};

/// Merges of a vocabulary.
pub(super) struct ByRank {
    /// Left and right string, rank and result, sorted by the pairs. Strings are numbered as tokens,
    /// followed by those of `others`.
    pairs: Vec<(u32, u32, u32, u32)>,
    /// Strings that occur in merges but are not tokens.
    others: Words,
    /// String number of each of the 256 bytes.
    bytes: Vec<u32>,
    splitter: split::Splitter,
    /// True if a word that is a token is used as it is, whatever the merges would give.
    whole_words: bool,
}

impl ByRank {
    /// Creates the merges from `pairs` of strings, in the order of their ranks, over the words of
    /// `t`.
    pub(super) fn new(
        t: &Tokenizer,
        pairs: &[(Vec<u8>, Vec<u8>)],
        splitter: split::Splitter,
        whole_words: bool,
    ) -> ByRank {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        // Each merge's three strings; every byte is a string, too.
        let parts = pairs.iter().flat_map(|(left, right)| {
            let (left, right) = (&left[..], &right[..]);
            [(left, &[][..]), (right, &[]), (left, right)]
        });
        let parts = parts.chain(all.chunks(1).map(|byte| (byte, &[][..])));
        let missing = parts.filter(|(a, b)| t.words.find_joined(&t.sorted, a, b).is_none());
        let mut missing: Vec<Vec<u8>> = missing.map(|(a, b)| [a, b].concat()).collect();
        missing.sort_unstable();
        missing.dedup();
        let mut others = Words::default();
        missing.iter().for_each(|other| others.push(other));
        let count = t.words.len() as u32;
        let sorted: Vec<u32> = (0..others.len() as u32).collect();
        let string = |a: &[u8], b: &[u8]| {
            let token = t.words.find_joined(&t.sorted, a, b);
            let other = || Some(count + others.find_joined(&sorted, a, b)?);
            token.or_else(other)
        };
        let mut known = Vec::with_capacity(pairs.len());
        for (rank, (left, right)) in (0u32..).zip(pairs) {
            let strings = (string(left, b""), string(right, b""), string(left, right));
            if let (Some(left), Some(right), Some(whole)) = strings {
                known.push((left, right, rank, whole));
            }
        }
        known.sort_unstable();
        let bytes = all.chunks(1).map(|byte| string(byte, b""));
        let bytes = bytes.map(Option::unwrap_or_default).collect();
        ByRank {
            pairs: known,
            others,
            bytes,
            splitter,
            whole_words,
        }
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, t: &Tokenizer, text: &[u8], tokens: &mut Vec<u32>) {
        let text = lossy(text);
        split::words(self.splitter, &text, &mut |word| {
            let whole = Some(word).filter(|_| self.whole_words);
            match whole.and_then(|word| t.find(word.as_bytes())) {
                Some(token) => tokens.push(token),
                None => self.word(t, word.as_bytes(), tokens),
            }
        });
    }

    /// Result of merging two neighbours, and its rank; the first if the pair occurs twice.
    fn find(&self, left: u32, right: u32) -> Option<(Reverse<u32>, u32)> {
        let at = self.pairs.partition_point(|p| (p.0, p.1) < (left, right));
        let found = self.pairs.get(at)?;
        ((found.0, found.1) == (left, right)).then_some((Reverse(found.2), found.3))
    }

    fn word(&self, t: &Tokenizer, word: &[u8], tokens: &mut Vec<u32>) {
        let count = t.words.len() as u32;
        let bytes = word.iter().map(|&byte| self.bytes[usize::from(byte)]);
        for string in merge(bytes, |left, right| self.find(left, right)) {
            let Some(other) = string.checked_sub(count) else {
                tokens.push(string);
                continue;
            };
            // Text without a token is split into its bytes: as in llama.cpp, those that are
            // printable, and of these those that are tokens.
            let seen = self
                .others
                .get(other)
                .iter()
                .filter(|b| b.is_ascii_graphic());
            tokens.extend(seen.filter_map(|&byte| t.find(&[byte])));
        }
    }
}

/// Replaces each byte of `text` that is not valid UTF-8 by U+FFFD.
fn lossy(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out
}

/// Byte that a character of a byte-level word represents: printable ones represent themselves, the
/// other 68 are U+0100 and following.
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

/// Decodes a byte-level word to bytes; `None` if it has a character that represents no byte, or is
/// not UTF-8.
pub(super) fn bytes(word: &[u8]) -> Option<Vec<u8>> {
    let word = core::str::from_utf8(word).ok()?;
    word.chars().map(byte).collect()
}
