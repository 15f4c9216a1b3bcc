//! Decoder from bytes to whole characters, between a byte tokenizer and a screen.

use alloc::string::String;

/// Collects bytes and emits whole UTF-8 characters only. Invalid sequences become U+FFFD, by the
/// same rule as in [`String::from_utf8_lossy`] (Unicode's "substitution of maximal subparts").
#[derive(Debug, Default, Clone)]
pub struct Utf8Stream {
    /// Beginning of an incomplete character.
    pending: [u8; 4],
    len: usize,
}

impl Utf8Stream {
    /// Tells whether no character is begun.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends to `out` every character that `bytes` complete.
    pub fn push(&mut self, bytes: &[u8], out: &mut String) {
        for &byte in bytes {
            self.pending[self.len] = byte;
            self.len += 1;
            self.settle(out);
        }
    }

    /// Emits the part of `pending` that is decided. A character has at most four bytes, so
    /// `pending` never overflows.
    fn settle(&mut self, out: &mut String) {
        while self.len > 0 {
            let error = match core::str::from_utf8(&self.pending[..self.len]) {
                Ok(text) => {
                    out.push_str(text);
                    self.len = 0;
                    return;
                }
                Err(error) => error,
            };
            // Bytes arrive one at a time, so nothing valid precedes the error.
            let Some(wrong) = error.error_len() else {
                return;
            };
            out.push(char::REPLACEMENT_CHARACTER);
            self.pending.copy_within(wrong.., 0);
            self.len -= wrong;
        }
    }

    /// Ends the stream: an incomplete character becomes U+FFFD.
    pub fn finish(&mut self, out: &mut String) {
        if self.len > 0 {
            out.push(char::REPLACEMENT_CHARACTER);
            self.len = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_cut_gives_the_lossy_text_and_never_half_a_character() {
        let cases: [&[u8]; 9] = [
            "Ünïcode 日本 🙂 plain".as_bytes(),
            b"\xff\xfe\x80",
            b"\xe6\x97",
            b"\xe6\x97A\xf0\x9f\x99",
            b"\xf0\x9f\x99\xf0\x9f\x99\x82",
            b"\xc0\xaf\xed\xa0\x80\xf5\x80\x80\x80",
            b"\xe2\x82\xe2\x82\xac",
            b"\xf4\x90\x80\x80",
            b"",
        ];
        for bytes in cases {
            for cut in 1..=5 {
                let (mut stream, mut out) = (Utf8Stream::default(), String::new());
                for piece in bytes.chunks(cut) {
                    stream.push(piece, &mut out);
                }
                stream.finish(&mut out);
                assert_eq!(
                    out,
                    String::from_utf8_lossy(bytes),
                    "{bytes:x?} in pieces of {cut}"
                );
            }
        }
    }

    /// Random bytes, most of which are at the beginning, inside or at the limits of a character.
    #[test]
    fn random_bytes_give_the_lossy_text() {
        const ODD: [u8; 16] = [
            0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc1, 0xc2, 0xe0, 0xed, 0xf0,
            0xf4, 0xf5,
        ];
        let mut seed = 0x9e37_79b9_7f4a_7c15u64;
        let mut random = |below: u64| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) % below
        };
        for _ in 0..50_000 {
            let bytes: alloc::vec::Vec<u8> = (0..random(12))
                .map(|_| match random(3) {
                    0 => random(256) as u8,
                    _ => ODD[random(16) as usize],
                })
                .collect();
            let (mut stream, mut out) = (Utf8Stream::default(), String::new());
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at(random(rest.len() as u64 + 1) as usize);
                stream.push(piece, &mut out);
                rest = tail;
            }
            stream.finish(&mut out);
            assert_eq!(out, String::from_utf8_lossy(&bytes), "{bytes:x?}");
        }
    }
}
