//! SentencePiece's BPE for GGUF files (Kudo and Richardson 2018): neighbours are merged by the
//! score of the result; text without a token falls back to bytes. As in llama.cpp.

use alloc::vec::Vec;

use super::{
    Kind, Tokenizer,
    merge::{Score, merge},
};

/// U+2581, which represents a space in the vocabulary's words.
pub(super) const MARK: &str = "\u{2581}";

/// Data besides the words.
pub(super) struct ByScore {
    /// Token of each of the 256 bytes; `None` if there is none.
    pub(super) bytes: Vec<Option<u32>>,
    /// Token for bytes that have none, if any.
    pub(super) unknown: Option<u32>,
    /// True if a space is put before a text, and before text after a special token.
    pub(super) prefix: bool,
    pub(super) longest: usize,
}

impl ByScore {
    /// Appends the tokens of `text`. `first` is true at the beginning and after a special token.
    pub(super) fn encode(&self, t: &Tokenizer, text: &[u8], first: bool, tokens: &mut Vec<u32>) {
        let mut bytes = Vec::with_capacity(text.len() + 1);
        if first && self.prefix {
            bytes.push(b' ');
        }
        spaces(text, &mut bytes);
        let mut rest = (0, bytes.len());
        let characters = core::iter::from_fn(|| {
            let (start, end) = rest;
            let first = *bytes[start..end].first()?;
            // Invalid UTF-8 is split in this way, too.
            let length = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            rest.0 = end.min(start + length);
            Some((start as u32, rest.0 as u32))
        });
        let text = |(start, end): (u32, u32)| &bytes[start as usize..end as usize];
        let merged = merge(characters, |left: (u32, u32), right: (u32, u32)| {
            let whole = (left.0, right.1);
            if (whole.1 - whole.0) as usize > self.longest {
                return None;
            }
            let token = t.find(text(whole))?;
            Some((Score(t.scores[token as usize]), whole))
        });
        for symbol in merged {
            let symbol = text(symbol);
            match t.find(symbol) {
                Some(token) => tokens.push(token),
                // A vocabulary without a word for the space has its mark in three bytes.
                None if symbol == b" " => self.fall_back(MARK.as_bytes(), tokens),
                None => self.fall_back(symbol, tokens),
            }
        }
    }

    fn fall_back(&self, bytes: &[u8], tokens: &mut Vec<u32>) {
        let token = |&byte: &u8| self.bytes[usize::from(byte)].or(self.unknown);
        tokens.extend(bytes.iter().filter_map(token));
    }
}

/// Appends `text` with each [`MARK`] replaced by a space.
pub(super) fn spaces(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(&first) = rest.first() {
        let (byte, length) = match rest.strip_prefix(MARK.as_bytes()) {
            Some(_) => (b' ', MARK.len()),
            None => (first, 1),
        };
        out.push(byte);
        rest = &rest[length..];
    }
}

/// Byte of a token named `<0xNN>`.
pub(super) fn byte(word: &[u8]) -> Option<u8> {
    let digits = word.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match digits {
        &[a, b] => Some((digit(a)? << 4 | digit(b)?) as u8),
        _ => None,
    }
}

/// Way in which a token of type "byte" is shown, parsed as in llama.cpp.
pub(super) fn kind(word: &[u8]) -> Kind {
    byte(word).map_or(Kind::Hidden, Kind::Byte)
}
