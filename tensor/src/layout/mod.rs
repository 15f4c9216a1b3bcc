//! Layouts of matrices in memory: each type is packed into one linear stream while its bytes are
//! read.
//!
//! All types interleave [`PANEL`] rows, so that a kernel reads memory in one straight line and
//! keeps one accumulator per row, sixteen side by side. Every row is then summed in the order of
//! its columns, whatever the width of the vectors, as in run.c's and runq.c's own loops.

pub mod coded;
pub mod float16;
pub mod float32;
pub mod q4_0;
pub mod q8;
pub mod q8_0;

use core::fmt;

pub use coded::Coded;

use crate::buffer::ALIGN;

/// Rows that are interleaved. The last panel of a matrix is padded with zero rows.
pub const PANEL: usize = 16;

/// Columns of int8 values whose bytes are adjacent: four products fit one 32-bit lane, which
/// `pmaddwd` and `vpdpbusd` add up.
pub const QUAD: usize = 4;

/// Values per block of GGUF's Q8_0 and Q4_0.
pub const BLOCK: usize = 32;

/// Length of a group, rounded up to whole quads.
pub const fn padded(group: usize) -> usize {
    group.next_multiple_of(QUAD)
}

/// Storage format of a tensor's numbers in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// IEEE 754 single precision, little-endian.
    F32,
    /// IEEE 754 half precision, little-endian.
    F16,
    /// The upper half of an IEEE 754 single-precision number, little-endian.
    BF16,
    /// int8 values, then one f32 scale per `group` of them (llama2.c v2).
    Q8 {
        /// Values that share a scale; divides the number of columns.
        group: usize,
    },
    /// Blocks of an f16 scale and 32 int8 values (GGUF).
    Q8_0,
    /// Blocks of an f16 scale and 32 values of 4 bits, offset by 8; byte j holds the values j and j
    /// + 16 (GGUF).
    Q4_0,
    /// Codes with scales that may be scaled themselves (GGUF's other types).
    Coded(Coded),
}

impl Encoding {
    /// Weights per block; a row must be a multiple of it.
    pub const fn block(self) -> usize {
        match self {
            Encoding::F32 | Encoding::F16 | Encoding::BF16 => 1,
            Encoding::Q8 { group } => group,
            Encoding::Q8_0 | Encoding::Q4_0 => BLOCK,
            Encoding::Coded(coded) => coded.shape().block,
        }
    }

    /// Bytes of a `rows` × `cols` tensor in the file; `None` on overflow, or if the number of
    /// columns is not a multiple of the block.
    pub fn file_bytes(self, rows: usize, cols: usize) -> Option<u64> {
        let elements = (rows as u64).checked_mul(cols as u64)?;
        let blocks = |bytes| {
            let block = self.block();
            let whole = cols.is_multiple_of(block);
            (elements / block as u64)
                .checked_mul(bytes)
                .filter(|_| whole)
        };
        match self {
            Encoding::F32 => elements.checked_mul(4),
            Encoding::F16 | Encoding::BF16 => elements.checked_mul(2),
            Encoding::Q8 { group } => {
                elements.checked_add((elements / group as u64).checked_mul(4)?)
            }
            Encoding::Q8_0 => blocks(q8_0::FILE_BLOCK as u64),
            Encoding::Q4_0 => blocks(q4_0::FILE_BLOCK as u64),
            Encoding::Coded(coded) => blocks(coded.shape().file_block as u64),
        }
    }

    /// Sizes of the tensor's parts in the file, in bytes. Pieces passed to
    /// [`Matrix::pack`](crate::matrix::Matrix::pack) must not cross their border.
    pub fn parts(self, rows: usize, cols: usize) -> [u64; 2] {
        let elements = rows as u64 * cols as u64;
        match self {
            Encoding::Q8 { group } => [elements, elements / group as u64 * 4],
            _ => [self.file_bytes(rows, cols).unwrap_or(0), 0],
        }
    }

    /// Bytes of an element, or of an indivisible block: pieces passed to
    /// [`Matrix::pack`](crate::matrix::Matrix::pack) consist of whole ones.
    pub fn unit(self) -> usize {
        match self {
            Encoding::F32 | Encoding::Q8 { .. } => 4,
            Encoding::F16 | Encoding::BF16 => 2,
            Encoding::Q8_0 => q8_0::FILE_BLOCK,
            Encoding::Q4_0 => q4_0::FILE_BLOCK,
            Encoding::Coded(coded) => coded.shape().file_block,
        }
    }

    /// Returns true if all numbers in a piece of whole units are finite: the values themselves, or
    /// the scales of blocks. `part` is the index of the piece's part in [`Encoding::parts`].
    pub fn is_finite(self, part: usize, piece: &[u8]) -> bool {
        // Without a way out of the loop, so that it is one of vectors.
        let single = |b: &[u8; 4]| f32::from_le_bytes(*b).is_finite();
        let singles = || {
            piece
                .as_chunks()
                .0
                .iter()
                .fold(true, |all, b| all & single(b))
        };
        let halves = |exponent: u16| {
            let finite = |b: &[u8; 2]| u16::from_le_bytes(*b) & exponent != exponent;
            piece
                .as_chunks()
                .0
                .iter()
                .fold(true, |all, b| all & finite(b))
        };
        let scales = |places: &[usize]| {
            let mut blocks = piece.chunks_exact(self.unit());
            blocks.all(|b| places.iter().all(|&at| b[at + 1] & 0x7c != 0x7c))
        };
        match self {
            Encoding::F32 => singles(),
            Encoding::F16 => halves(0x7c00),
            Encoding::BF16 => halves(0x7f80),
            Encoding::Q8 { .. } => part == 0 || singles(),
            Encoding::Q8_0 | Encoding::Q4_0 => scales(&[0]),
            Encoding::Coded(coded) => scales(coded::file_blocks::scales(coded)),
        }
    }

    /// Bytes of one packed panel of 16 rows; `None` on overflow.
    pub fn panel_bytes(self, cols: usize) -> Option<usize> {
        let elements = cols.checked_mul(PANEL)?;
        match self {
            Encoding::F32 => elements.checked_mul(4),
            Encoding::F16 | Encoding::BF16 => elements.checked_mul(2),
            Encoding::Q8 { group } => (cols / group).checked_mul(q8::block_bytes(group)),
            Encoding::Q8_0 => q8_0::LAYOUT.panel_bytes(cols),
            Encoding::Q4_0 => q4_0::LAYOUT.panel_bytes(cols),
            Encoding::Coded(coded) => coded::panel_bytes(&coded.shape(), cols),
        }
    }

    /// Bytes of a packed tensor; `None` on overflow.
    pub fn packed_bytes(self, rows: usize, cols: usize) -> Option<u64> {
        (rows.div_ceil(PANEL) as u64).checked_mul(self.panel_bytes(cols)? as u64)
    }

    /// Rounding of the activations that a matrix of this type is multiplied with; `None` if they
    /// are used as they are.
    pub fn rounding(self) -> Option<Rounding> {
        match self {
            Encoding::F32 | Encoding::F16 | Encoding::BF16 => None,
            Encoding::Q8 { group } => Some(Rounding::Runq { group }),
            Encoding::Coded(coded) if coded.shape().block > BLOCK => Some(Rounding::Q8K),
            Encoding::Q8_0 | Encoding::Q4_0 | Encoding::Coded(_) => Some(Rounding::Q8_0),
        }
    }

    /// Activations per group for a matrix of this type; `None` if they are used as they are.
    pub fn group(self) -> Option<usize> {
        self.rounding().map(Rounding::group)
    }
}

/// Method of quantising activations to int8. Each gives the numbers of the program that a type of
/// weights comes from, and so the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rounding {
    /// One scale per `group`, rounding half away from zero (runq.c's `quantize`).
    Runq {
        /// Values that share a scale.
        group: usize,
    },
    /// One scale per 32 values, converted to half precision afterwards; rounding half to even
    /// (llama.cpp's `quantize_row_q8_0` for x86).
    Q8_0,
    /// One scale per 256 values, rounding half to even (llama.cpp's `quantize_row_q8_K`); stored as
    /// groups of 32 with equal scales.
    Q8K,
}

impl Rounding {
    /// Number of values per stored scale and sum.
    pub const fn group(self) -> usize {
        match self {
            Rounding::Runq { group } => group,
            Rounding::Q8_0 | Rounding::Q8K => BLOCK,
        }
    }

    /// Number of values that share a scale.
    pub const fn shared(self) -> usize {
        match self {
            Rounding::Runq { group } => group,
            Rounding::Q8_0 => BLOCK,
            Rounding::Q8K => 256,
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Encoding::F32 => write!(f, "F32"),
            Encoding::F16 => write!(f, "F16"),
            Encoding::BF16 => write!(f, "BF16"),
            Encoding::Q8 { group } => write!(f, "int8 in groups of {group}"),
            Encoding::Q8_0 => write!(f, "Q8_0"),
            Encoding::Q4_0 => write!(f, "Q4_0"),
            Encoding::Coded(coded) => write!(f, "{}", coded.name()),
        }
    }
}

/// Distance between vectors that are read side by side, in elements of `size` bytes: an odd number
/// of whole cache lines. With a power of two they would compete for the same few cache sets.
pub fn stride(len: usize, size: usize) -> usize {
    let line = ALIGN / size;
    (len.div_ceil(line) | 1) * line
}

/// Vectors to be multiplied, one per token: the numbers themselves and, if a matrix is quantised,
/// their int8 form, made once for all the matrices that read it.
#[derive(Clone, Copy)]
pub struct Activations<'a> {
    /// Number of vectors.
    pub tokens: usize,
    /// Length of a vector.
    pub cols: usize,
    /// The numbers; vector `t` begins at `t·stride`.
    pub values: &'a [f32],
    /// Distance between two vectors in `values`.
    pub stride: usize,
    /// Their int8 form, each group padded with zeros to whole quads; vector `t` begins at
    /// `t·quant_stride`. Empty if no matrix that reads them is quantised.
    pub quants: &'a [i8],
    /// Distance between two vectors in `quants`.
    pub quant_stride: usize,
    /// Scales, one per group; may be empty like `quants`.
    pub scales: &'a [f32],
    /// Sum of each group's int8 values; may be empty like `quants`.
    pub sums: &'a [i32],
    /// Sum of each group's first 16 int8 values; may be empty like `quants`.
    pub lower: &'a [i32],
}

impl Activations<'_> {
    /// Numbers of vector `t`.
    pub fn vector(&self, t: usize) -> &[f32] {
        &self.values[t * self.stride..][..self.cols]
    }

    /// int8 values of vector `t`'s group `g`; `len` includes the padding.
    pub fn group(&self, t: usize, g: usize, len: usize) -> &[i8] {
        &self.quants[t * self.quant_stride + g * len..][..len]
    }
}
