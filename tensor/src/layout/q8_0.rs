//! GGUF's Q8_0: blocks of 32 int8 values with one f16 scale, in panels of 16 rows.
//!
//! Packed form: pairs of blocks of columns ([`BlockLayout`]); in each block, for every four
//! columns, the 16 rows' four bytes side by side (64 bytes).

use crate::half::F16;

use super::{BLOCK, PANEL, QUAD};
use crate::buffer::Buffer;

/// Bytes of a block in the file: scale and values.
pub const FILE_BLOCK: usize = 2 + BLOCK;

/// Arrangement of blocks with f16 scales in a panel, in pairs: first the 16 rows' scales of the
/// first block, then those of the second (64 bytes together), then the first block's values, then
/// the second's. Everything is thus aligned to cache lines. An odd last block has room for the
/// scales of a second one, but not for its values.
pub struct BlockLayout {
    /// Bytes of the values of 16 rows' blocks.
    pub values: usize,
}

/// Bytes of the scales of two blocks.
pub const SCALES: usize = 2 * PANEL * 2;

impl BlockLayout {
    /// Bytes of two blocks.
    pub const fn pair(&self) -> usize {
        SCALES + 2 * self.values
    }

    /// Bytes of a panel; `None` on overflow.
    pub fn panel_bytes(&self, cols: usize) -> Option<usize> {
        let blocks = cols / BLOCK;
        let pairs = (blocks / 2).checked_mul(self.pair())?;
        pairs.checked_add((blocks % 2) * (SCALES + self.values))
    }

    /// Offset of the scale of a row's block, and offset of the 16 rows' values of that block.
    pub fn places(&self, cols: usize, row: usize, block: usize) -> (usize, usize) {
        let panel = (row / PANEL) * self.panel_bytes(cols).unwrap_or(0);
        let pair = panel + (block / 2) * self.pair();
        (
            pair + (block % 2) * PANEL * 2 + (row % PANEL) * 2,
            pair + SCALES + (block % 2) * self.values,
        )
    }
}

/// Arrangement of Q8_0.
pub const LAYOUT: BlockLayout = BlockLayout {
    values: PANEL * BLOCK,
};

/// Packed blocks of a matrix.
pub(crate) struct PackedRows {
    data: Buffer<u8>,
}

impl PackedRows {
    pub(crate) fn new(data: Buffer<u8>) -> Self {
        PackedRows { data }
    }

    pub(crate) fn pack(&mut self, cols: usize, offset: usize, bytes: &[u8]) {
        pack(
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
                let place =
                    values + (col / QUAD) * PANEL * QUAD + (row % PANEL) * QUAD + col % QUAD;
                *out = f32::from(self.data[place] as i8) * scale;
            }
        }
    }
}

/// Packs consecutive blocks of a file, beginning with block `first`: the scale, then the values'
/// bytes in fours.
pub(crate) fn pack<'a>(
    layout: &BlockLayout,
    data: &mut [u8],
    cols: usize,
    first: usize,
    blocks: impl Iterator<Item = &'a [u8]>,
) {
    let per_row = cols / BLOCK;
    for (index, block) in (first..).zip(blocks) {
        let row = index / per_row;
        let (scale, values) = layout.places(cols, row, index % per_row);
        data[scale..scale + 2].copy_from_slice(&block[..2]);
        let places = data[values..].chunks_mut(PANEL * QUAD);
        for (place, bytes) in places.zip(block[2..].chunks_exact(QUAD)) {
            place[(row % PANEL) * QUAD..][..QUAD].copy_from_slice(bytes);
        }
    }
}
