//! GGUF's coded weights: codes of 2 to 6 bits with scales, some of them scaled themselves, in
//! panels of 16 rows.
//!
//! A weight is `scale·(code - offset) + minimum`, or `scale·table[code]`. A block has one
//! half-precision scale and perhaps one minimum; a K-quant's block of 256 also has a small integer
//! factor for each of these in every 16 or 32 weights. All ten types are described by data
//! ([`Coded::shape`]) and share one packed form and one kernel.
//!
//! Packed form, block after block of 16 rows, everything aligned to cache lines: first the 16
//! scales and the 16 minima (f16, 64 bytes together, minima as they are added), then the factors of
//! the scales and those of the minima (16 bytes per part), then the bit planes of the codes, for
//! each 32 columns. A plane holds four, two or one bits of every code, upper planes the upper bits.
//! As everywhere, bytes are in quads: four columns of 16 rows in 64 bytes. The four-bit plane has
//! columns 0 to 15 in the lower halves of its bytes and columns 16 to 31 in the upper ones; each of
//! the two planes of two bits has quad i of those columns in bits 2i and 2i + 1; the one-bit plane
//! has quad i in bit i.

use crate::half::F16;

pub mod file_blocks;

use super::{BLOCK, PANEL, QUAD};
use crate::buffer::Buffer;

/// A type of coded weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Coded {
    /// 4 bits, scale and minimum every 32.
    Q4_1,
    /// 5 bits, scale every 32.
    Q5_0,
    /// 5 bits, scale and minimum every 32.
    Q5_1,
    /// 2 bits, 4-bit factors every 16.
    Q2K,
    /// 3 bits, 6-bit factors every 16.
    Q3K,
    /// 4 bits, 6-bit factors every 32.
    Q4K,
    /// 5 bits, 6-bit factors every 32.
    Q5K,
    /// 6 bits, 8-bit factors every 16.
    Q6K,
    /// 4 bits that choose from a table, scale every 32.
    Iq4Nl,
    /// 4 bits that choose from a table, 6-bit factors every 32.
    Iq4Xs,
}

/// Values of the codes of IQ4_NL and IQ4_XS.
pub const TABLE: [i8; 16] = [
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113,
];

/// Layout of a type.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Bytes of a block in the file.
    pub file_block: usize,
    /// Weights of a block: 32 or 256.
    pub block: usize,
    /// Has a plane of four bits.
    pub four: bool,
    /// Has planes of two bits.
    pub two: bool,
    /// Has a plane of one bit.
    pub one: bool,
    /// Codes are indices into [`TABLE`].
    pub table: bool,
    /// Offset to subtract from codes.
    pub offset: i32,
    /// Factors of the scale per 32 weights: 0 (none), 1 or 2.
    pub factors: usize,
    /// Has minima, with as many factors.
    pub minima: bool,
}

impl Coded {
    /// All coded types.
    pub const ALL: [Coded; 10] = [
        Coded::Q4_1,
        Coded::Q5_0,
        Coded::Q5_1,
        Coded::Q2K,
        Coded::Q3K,
        Coded::Q4K,
        Coded::Q5K,
        Coded::Q6K,
        Coded::Iq4Nl,
        Coded::Iq4Xs,
    ];

    /// Layout of the type.
    pub const fn shape(self) -> Shape {
        let plain = Shape {
            file_block: 0,
            block: BLOCK,
            four: true,
            two: false,
            one: false,
            table: false,
            offset: 0,
            factors: 0,
            minima: false,
        };
        let k = Shape {
            block: 256,
            factors: 1,
            ..plain
        };
        match self {
            Coded::Q4_1 => Shape {
                file_block: 20,
                minima: true,
                ..plain
            },
            Coded::Q5_0 => Shape {
                file_block: 22,
                one: true,
                offset: 16,
                ..plain
            },
            Coded::Q5_1 => Shape {
                file_block: 24,
                one: true,
                minima: true,
                ..plain
            },
            Coded::Q2K => Shape {
                file_block: 84,
                four: false,
                two: true,
                factors: 2,
                minima: true,
                ..k
            },
            Coded::Q3K => Shape {
                file_block: 110,
                four: false,
                two: true,
                one: true,
                offset: 4,
                factors: 2,
                ..k
            },
            Coded::Q4K => Shape {
                file_block: 144,
                minima: true,
                ..k
            },
            Coded::Q5K => Shape {
                file_block: 176,
                one: true,
                minima: true,
                ..k
            },
            Coded::Q6K => Shape {
                file_block: 210,
                two: true,
                offset: 32,
                factors: 2,
                ..k
            },
            Coded::Iq4Nl => Shape {
                file_block: 18,
                table: true,
                ..plain
            },
            Coded::Iq4Xs => Shape {
                file_block: 136,
                table: true,
                ..k
            },
        }
    }

    /// Name of the type in ggml.
    pub const fn name(self) -> &'static str {
        match self {
            Coded::Q4_1 => "Q4_1",
            Coded::Q5_0 => "Q5_0",
            Coded::Q5_1 => "Q5_1",
            Coded::Q2K => "Q2_K",
            Coded::Q3K => "Q3_K",
            Coded::Q4K => "Q4_K",
            Coded::Q5K => "Q5_K",
            Coded::Q6K => "Q6_K",
            Coded::Iq4Nl => "IQ4_NL",
            Coded::Iq4Xs => "IQ4_XS",
        }
    }
}

/// Type known at compile time.
pub(crate) trait Kind {
    /// The type.
    const CODED: Coded;
}

/// Compiles `$body` for each type, and runs it for `$coded`.
macro_rules! with_kind {
    ($coded:expr, $kind:ident => $body:expr) => {{
        macro_rules! with {
            ($coded_type:ident) => {{
                struct $kind;
                impl crate::layout::coded::Kind for $kind {
                    const CODED: crate::layout::coded::Coded =
                        crate::layout::coded::Coded::$coded_type;
                }
                $body
            }};
        }
        match $coded {
            crate::layout::coded::Coded::Q4_1 => with!(Q4_1),
            crate::layout::coded::Coded::Q5_0 => with!(Q5_0),
            crate::layout::coded::Coded::Q5_1 => with!(Q5_1),
            crate::layout::coded::Coded::Q2K => with!(Q2K),
            crate::layout::coded::Coded::Q3K => with!(Q3K),
            crate::layout::coded::Coded::Q4K => with!(Q4K),
            crate::layout::coded::Coded::Q5K => with!(Q5K),
            crate::layout::coded::Coded::Q6K => with!(Q6K),
            crate::layout::coded::Coded::Iq4Nl => with!(Iq4Nl),
            crate::layout::coded::Coded::Iq4Xs => with!(Iq4Xs),
        }
    }};
}
pub(crate) use with_kind;

/// Bytes of a one-bit plane, which is a cache line; those of two bits have two lines, that of four
/// bits has four.
pub const LINE: usize = PANEL * QUAD;

impl Shape {
    /// Number of parts of 32 weights in a block.
    pub const fn parts(&self) -> usize {
        self.block / BLOCK
    }

    /// Offset of the minima's factors in a packed block.
    pub const fn minima_at(&self) -> usize {
        LINE + self.parts() * self.factors * PANEL
    }

    /// Bytes before the codes of a packed block.
    pub const fn head(&self) -> usize {
        let factors = self.parts() * self.factors * PANEL;
        (LINE + factors * (1 + self.minima as usize)).next_multiple_of(LINE)
    }

    /// Bytes of the codes of 32 columns.
    pub const fn part(&self) -> usize {
        LINE * (4 * self.four as usize + 2 * self.two as usize + self.one as usize)
    }

    /// Bytes of a packed block of 16 rows.
    pub const fn packed_block(&self) -> usize {
        self.head() + self.parts() * self.part()
    }

    /// Value of a code, before scaling.
    pub fn value(&self, code: u8) -> i32 {
        if self.table {
            i32::from(TABLE[usize::from(code & 15)])
        } else {
            i32::from(code) - self.offset
        }
    }
}

/// Decoded block of one row, of any type.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Number of weights in use: 32 or 256.
    pub weights: usize,
    /// The scale.
    pub scale: F16,
    /// The minimum, as it is added.
    pub minimum: F16,
    /// Factors of the scale, one per 16 weights.
    pub factors: [i8; 16],
    /// Factors of the minimum, one per 16 weights.
    pub minima: [i8; 16],
    /// The codes.
    pub codes: [u8; 256],
}

impl Block {
    /// Returns a block of zeros.
    pub fn new(shape: &Shape) -> Block {
        Block {
            weights: shape.block,
            scale: F16::ZERO,
            minimum: F16::ZERO,
            factors: [1; 16],
            minima: [1; 16],
            codes: [0; 256],
        }
    }

    /// Writes the weights, computed as by ggml's `dequantize_row_*`.
    pub fn write(&self, shape: &Shape, out: &mut [f32]) {
        for (i, (out, code)) in out.iter_mut().zip(self.codes).enumerate() {
            let mut scale = self.scale.to_f32();
            if shape.factors > 0 {
                scale *= f32::from(self.factors[i / 16]);
            }
            *out = scale * shape.value(code) as f32;
            if shape.minima {
                let mut minimum = self.minimum.to_f32();
                if shape.factors > 0 {
                    minimum *= f32::from(self.minima[i / 16]);
                }
                *out += minimum;
            }
        }
    }
}

/// Packed blocks of a matrix.
pub(crate) struct PackedRows {
    coded: Coded,
    data: Buffer<u8>,
}

/// Bytes of a panel; `None` on overflow.
pub fn panel_bytes(shape: &Shape, cols: usize) -> Option<usize> {
    (cols / shape.block).checked_mul(shape.packed_block())
}

/// Byte index and shift of the `bits` bits of a code in its plane.
fn place(row: usize, column: usize, bits: usize) -> (usize, usize) {
    let byte = row % PANEL * QUAD + column % QUAD;
    let quad = column / QUAD;
    match bits {
        4 => (quad % 4 * LINE + byte, quad / 4 * 4),
        2 => (quad / 4 * LINE + byte, quad % 4 * 2),
        _ => (byte, quad),
    }
}

impl PackedRows {
    pub(crate) fn new(coded: Coded, data: Buffer<u8>) -> Self {
        PackedRows { coded, data }
    }

    pub(crate) fn coded(&self) -> Coded {
        self.coded
    }

    pub(crate) fn pack(&mut self, cols: usize, offset: usize, bytes: &[u8]) {
        with_kind!(self.coded, K => self.pack_one::<K>(cols, offset, bytes));
    }

    /// [`pack`](Self::pack) for one type: compiled for it, which is twice as fast.
    fn pack_one<K: Kind>(&mut self, cols: usize, offset: usize, bytes: &[u8]) {
        let shape = const { K::CODED.shape() };
        let per_row = (cols / shape.block).max(1);
        let first = offset / shape.file_block;
        let panel = per_row * shape.packed_block();
        let (mut row, mut block) = (first / per_row, first % per_row);
        for bytes in bytes.chunks_exact(shape.file_block) {
            let at = row / PANEL * panel + block * shape.packed_block();
            let packed = &mut self.data[at..][..shape.packed_block()];
            let decoded = file_blocks::read(K::CODED, bytes);
            put(&shape, &decoded, row % PANEL, packed);
            block += 1;
            if block == per_row {
                (row, block) = (row + 1, 0);
            }
        }
    }

    /// Offset of a panel, in bytes.
    fn at(&self, cols: usize, panel: usize) -> usize {
        panel * panel_bytes(&self.coded.shape(), cols).unwrap_or(0)
    }

    /// Packed panels from `panel` on.
    pub(crate) fn from(&self, panel: usize, cols: usize) -> &[u8] {
        &self.data[self.at(cols, panel)..]
    }

    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let shape = self.coded.shape();
        let panel = self.from(row / PANEL, out.len());
        let blocks = panel.chunks_exact(shape.packed_block());
        for (out, packed) in out.chunks_exact_mut(shape.block).zip(blocks) {
            get(&shape, packed, row % PANEL).write(&shape, out);
        }
    }
}

/// Packs a block of row `row`.
#[inline(always)]
fn put(shape: &Shape, block: &Block, row: usize, packed: &mut [u8]) {
    packed[row * 2..][..2].copy_from_slice(&block.scale.to_le_bytes());
    packed[2 * PANEL + row * 2..][..2].copy_from_slice(&block.minimum.to_le_bytes());
    let count = shape.parts() * shape.factors;
    for i in 0..count {
        let of = i * 2 / shape.factors;
        packed[LINE + i * PANEL + row] = block.factors[of] as u8;
        if shape.minima {
            packed[shape.minima_at() + i * PANEL + row] = block.minima[of] as u8;
        }
    }
    let parts = packed[shape.head()..].chunks_exact_mut(shape.part());
    for (part, codes) in parts.zip(block.codes[..block.weights].chunks_exact(BLOCK)) {
        // The codes of four columns at a time.
        let mut quads = [0u32; BLOCK / QUAD];
        for (quad, codes) in quads.iter_mut().zip(codes.as_chunks::<QUAD>().0) {
            *quad = u32::from_le_bytes(*codes);
        }
        each_plane(shape, |start, from, bits| {
            let mask = 0x0101_0101 * ((1 << bits) - 1);
            let mut lines = [0u32; 4];
            for (i, quad) in quads.iter().enumerate() {
                let (place, shift) = place(0, i * QUAD, bits);
                lines[place / LINE] |= (quad >> from & mask) << shift;
            }
            for (i, line) in lines.iter().enumerate().take(bits) {
                let at = start + i * LINE + row * QUAD;
                part[at..at + QUAD].copy_from_slice(&line.to_le_bytes());
            }
        });
    }
}

/// Unpacks the block of row `row`.
pub fn get(shape: &Shape, packed: &[u8], row: usize) -> Block {
    let mut block = Block::new(shape);
    let half = |at: usize| F16::from_le_bytes([packed[at], packed[at + 1]]);
    block.scale = half(row * 2);
    block.minimum = half(2 * PANEL + row * 2);
    if shape.factors > 0 {
        for i in 0..shape.parts() * 2 {
            let of = i * shape.factors / 2;
            block.factors[i] = packed[LINE + of * PANEL + row] as i8;
            if shape.minima {
                block.minima[i] = packed[shape.minima_at() + of * PANEL + row] as i8;
            }
        }
    }
    let parts = packed[shape.head()..].chunks_exact(shape.part());
    for (part, codes) in parts.zip(block.codes[..block.weights].chunks_exact_mut(BLOCK)) {
        for (column, code) in codes.iter_mut().enumerate() {
            each_plane(shape, |start, from, bits| {
                let (place, shift) = place(row, column, bits);
                *code |= (part[start + place] >> shift & ((1 << bits) - 1)) << from;
            });
        }
    }
    block
}

/// Calls `f` with each plane's offset, its lowest bit in the code, and its number of bits.
#[inline(always)]
fn each_plane(shape: &Shape, mut f: impl FnMut(usize, usize, usize)) {
    let (mut start, mut from) = (0, 0);
    for (there, bits) in [(shape.four, 4), (shape.two, 2), (shape.one, 1)] {
        if there {
            f(start, from, bits);
            start += bits * LINE;
            from += bits;
        }
    }
}
