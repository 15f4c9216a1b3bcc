//! GGUF's Q4_0: blocks of 32 values of 4 bits with one f16 scale, in panels of 16 rows.
//!
//! Packed form: as [`q8_0`] packs its blocks, with half the bytes: the lower four bits of the bytes
//! of columns c to c + 3 (c a multiple of 4 below 16) are those columns' values, the upper ones
//! those of columns c + 16 to c + 19. Values are offset by eight.

use crate::half::F16;

use super::{BLOCK, PANEL, QUAD, q8_0};
use crate::buffer::Buffer;

/// Bytes of a block in the file: scale and values.
pub const FILE_BLOCK: usize = 2 + BLOCK / 2;

/// Arrangement of blocks in a panel.
pub const LAYOUT: q8_0::BlockLayout = q8_0::BlockLayout {
    values: PANEL * BLOCK / 2,
};

/// Offset to subtract from values.
pub const OFFSET: i32 = 8;

/// Packed blocks of a matrix.
pub(crate) struct PackedRows {
    data: Buffer<u8>,
}

impl PackedRows {
    pub(crate) fn new(data: Buffer<u8>) -> Self {
        PackedRows { data }
    }

    pub(crate) fn pack(&mut self, cols: usize, offset: usize, bytes: &[u8]) {
        q8_0::pack(
            &LAYOUT,
            &mut self.data,
            cols,
            offset / FILE_BLOCK,
            bytes.chunks_exact(FILE_BLOCK),
        );
    }

    /// Packed panels from `panel` on.
    pub(crate) fn from(&self, panel: usize, cols: usize) -> &[u8] {
        &self.data[LAYOUT.places(cols, panel * PANEL, 0).0..]
    }

    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let cols = out.len();
        for (block, out) in out.chunks_exact_mut(BLOCK).enumerate() {
            let (scale, values) = LAYOUT.places(cols, row, block);
            let scale = F16::from_le_bytes([self.data[scale], self.data[scale + 1]]).to_f32();
            for (col, out) in out.iter_mut().enumerate() {
                let (half, col) = (col / 16, col % 16);
                let place =
                    values + (col / QUAD) * PANEL * QUAD + (row % PANEL) * QUAD + col % QUAD;
                let bits = (self.data[place] >> (4 * half)) & 15;
                *out = (i32::from(bits) - OFFSET) as f32 * scale;
            }
        }
    }
}
