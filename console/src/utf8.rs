//! Decoder of UTF-8 byte by byte; invalid bytes are reported at once.

/// State of a character of several bytes.
#[derive(Debug, Default)]
pub struct Utf8 {
    bits: u32,
    /// Number of bytes still missing.
    pub left: u8,
    /// Smallest code point that may be encoded in this many bytes.
    least: u32,
}

/// Result of a byte.
pub enum Piece {
    /// The character is not complete yet.
    Part,
    /// The character is complete.
    Whole(char),
    /// The byte is invalid.
    Broken,
    /// The previous character is invalid, and this byte begins another: it must be pushed again.
    BrokenBefore,
}

impl Utf8 {
    /// A decoder without pending bytes.
    pub const fn new() -> Utf8 {
        Utf8 {
            bits: 0,
            left: 0,
            least: 0,
        }
    }

    /// Handles a byte.
    pub fn push(&mut self, byte: u8) -> Piece {
        if self.left > 0 {
            if byte & 0xc0 != 0x80 {
                self.left = 0;
                return Piece::BrokenBefore;
            }
            self.bits = self.bits << 6 | u32::from(byte & 0x3f);
            self.left -= 1;
            if self.left > 0 {
                return Piece::Part;
            }
            return match char::from_u32(self.bits) {
                Some(letter) if self.bits >= self.least => Piece::Whole(letter),
                _ => Piece::Broken,
            };
        }
        let (bits, left, least) = match byte {
            0xc2..=0xdf => (byte & 0x1f, 1, 0x80),
            0xe0..=0xef => (byte & 0x0f, 2, 0x800),
            0xf0..=0xf4 => (byte & 0x07, 3, 0x1_0000),
            _ => return Piece::Broken,
        };
        *self = Utf8 {
            bits: u32::from(bits),
            left,
            least,
        };
        Piece::Part
    }
}
