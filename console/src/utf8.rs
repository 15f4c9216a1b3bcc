//! Characters from bytes of UTF-8 that come one by one; a broken one is told at once.

/// A character of several bytes, half come.
#[derive(Debug, Default)]
pub struct Utf8 {
    bits: u32,
    /// Bytes that are missing.
    pub left: u8,
    /// The smallest that may be written in so many bytes.
    least: u32,
}

/// What a byte did.
pub enum Piece {
    /// More of the character is to come.
    Part,
    /// It is whole.
    Whole(char),
    /// No character has this byte.
    Broken,
    /// The one before is broken, and this byte begins another: it is to be pushed again.
    BrokenBefore,
}

impl Utf8 {
    /// Nothing has come.
    pub const fn new() -> Utf8 {
        Utf8 {
            bits: 0,
            left: 0,
            least: 0,
        }
    }

    /// Takes a byte.
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
