//! int8 matrices in groups with one f32 scale each (llama2.c's "Q8_0"): panels of 16 rows, four columns at a time.
//!
//! Packed: for each panel, for each group of columns: for each four columns (the last ones padded with zeros) the 16 rows'
//! four bytes side by side (64 bytes), then the group's 16 scales (64 bytes). Four int8 products fit one 32-bit lane,
//! which is what `pmaddwd` and `vpdpbusd` add up.

use super::PANEL;
use crate::buffer::{Buffer, OutOfMemory};

/// Columns whose bytes stand side by side.
pub const QUAD: usize = 4;

/// A group's length with its padding.
pub const fn padded(group: usize) -> usize {
    group.next_multiple_of(QUAD)
}

/// Bytes of one packed group of 16 rows: values and scales.
pub const fn block_bytes(group: usize) -> usize {
    PANEL * padded(group) + PANEL * 4
}

/// A packed matrix of `rows` × `cols` int8 with a scale for each `group` columns of a row.
pub struct Matrix {
    pub(super) rows: usize,
    cols: usize,
    pub(super) group: usize,
    data: Buffer<u8>,
}

impl Matrix {
    pub(super) fn zeroed(rows: usize, cols: usize, group: usize) -> Result<Self, OutOfMemory> {
        let blocks = rows.div_ceil(PANEL).checked_mul(cols / group);
        let len = blocks
            .and_then(|n| n.checked_mul(block_bytes(group)))
            .ok_or(OutOfMemory { bytes: u64::MAX })?;
        Ok(Matrix {
            rows,
            cols,
            group,
            data: Buffer::zeroed(len)?,
        })
    }

    /// Where the block of `row`'s `group`th group starts.
    fn block(&self, row: usize, group: usize) -> usize {
        ((row / PANEL) * (self.cols / self.group) + group) * block_bytes(self.group)
    }

    /// Where the byte of `row`, `col` stands.
    fn place(&self, row: usize, col: usize) -> usize {
        let inside = col % self.group;
        self.block(row, col / self.group)
            + (inside / QUAD) * PANEL * QUAD
            + (row % PANEL) * QUAD
            + inside % QUAD
    }

    /// Where the scale of `row`'s `group`th group starts.
    fn scale(&self, row: usize, group: usize) -> usize {
        self.block(row, group) + PANEL * padded(self.group) + (row % PANEL) * 4
    }

    pub(super) fn pack(&mut self, offset: usize, bytes: &[u8]) {
        let values = self.rows * self.cols;
        let (quants, scales) = bytes.split_at(values.saturating_sub(offset).min(bytes.len()));
        let (mut row, mut col) = (offset / self.cols, offset % self.cols);
        let mut quants = quants;
        while !quants.is_empty() {
            // Up to the end of four columns at once: they stand side by side.
            let inside = col % self.group;
            let len = (QUAD - inside % QUAD)
                .min(self.group - inside)
                .min(quants.len());
            let place = self.place(row, col);
            self.data[place..place + len].copy_from_slice(&quants[..len]);
            quants = &quants[len..];
            col += len;
            if col == self.cols {
                (row, col) = (row + 1, 0);
            }
        }
        let groups = self.cols / self.group;
        let first = (offset.max(values) - values) / 4;
        for (i, scale) in scales.chunks_exact(4).enumerate() {
            let place = self.scale((first + i) / groups, (first + i) % groups);
            self.data[place..place + 4].copy_from_slice(scale);
        }
    }

    /// The packed panels from `panel` on.
    pub(super) fn panels(&self, panel: usize) -> &[u8] {
        &self.data[self.block(panel * PANEL, 0)..]
    }

    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        for (col, value) in out.iter_mut().enumerate() {
            let scale = self.scale(row, col / self.group);
            let scale = f32::from_le_bytes([
                self.data[scale],
                self.data[scale + 1],
                self.data[scale + 2],
                self.data[scale + 3],
            ]);
            *value = f32::from(self.data[self.place(row, col)] as i8) * scale;
        }
    }
}
