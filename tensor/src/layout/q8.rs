//! int8 matrices in groups with one f32 scale each (llama2.c v2's "Q8_0"): panels of 16 rows, four
//! columns at a time.
//!
//! Packed form: for each panel, for each group of columns: for every four columns (the last padded
//! with zeros) the 16 rows' four bytes side by side (64 bytes), then the group's 16 scales (64
//! bytes).

use super::{PANEL, QUAD, padded};
use crate::buffer::Buffer;

/// Bytes of one packed group of 16 rows: values and scales.
pub const fn block_bytes(group: usize) -> usize {
    PANEL * padded(group) + PANEL * 4
}

/// Packed groups, with one scale per `group` columns of a row.
pub(crate) struct PackedRows {
    pub(crate) group: usize,
    data: Buffer<u8>,
}

impl PackedRows {
    pub(crate) fn new(group: usize, data: Buffer<u8>) -> Self {
        PackedRows { group, data }
    }

    /// Offset of the block of `row`'s `group`th group.
    fn block(&self, cols: usize, row: usize, group: usize) -> usize {
        ((row / PANEL) * (cols / self.group) + group) * block_bytes(self.group)
    }

    /// Offset of the byte of `row`, `col`.
    fn place(&self, cols: usize, row: usize, col: usize) -> usize {
        let inside = col % self.group;
        self.block(cols, row, col / self.group)
            + (inside / QUAD) * PANEL * QUAD
            + (row % PANEL) * QUAD
            + inside % QUAD
    }

    /// Offset of the scale of `row`'s `group`th group.
    fn scale(&self, cols: usize, row: usize, group: usize) -> usize {
        self.block(cols, row, group) + PANEL * padded(self.group) + (row % PANEL) * 4
    }

    pub(crate) fn pack(&mut self, rows: usize, cols: usize, offset: usize, bytes: &[u8]) {
        let values = rows * cols;
        let (quants, scales) = bytes.split_at(values.saturating_sub(offset).min(bytes.len()));
        let (mut row, mut col) = (offset / cols, offset % cols);
        let mut quants = quants;
        while !quants.is_empty() {
            // Up to the end of four columns, which are stored side by side.
            let inside = col % self.group;
            let len = (QUAD - inside % QUAD)
                .min(self.group - inside)
                .min(quants.len());
            let place = self.place(cols, row, col);
            self.data[place..place + len].copy_from_slice(&quants[..len]);
            quants = &quants[len..];
            col += len;
            if col == cols {
                (row, col) = (row + 1, 0);
            }
        }
        let groups = cols / self.group;
        let first = (offset.max(values) - values) / 4;
        for (i, scale) in scales.chunks_exact(4).enumerate() {
            let place = self.scale(cols, (first + i) / groups, (first + i) % groups);
            self.data[place..place + 4].copy_from_slice(scale);
        }
    }

    /// Packed panels from `panel` on.
    pub(crate) fn from(&self, panel: usize, cols: usize) -> &[u8] {
        &self.data[self.block(cols, panel * PANEL, 0)..]
    }

    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let cols = out.len();
        for (col, value) in out.iter_mut().enumerate() {
            let scale = self.scale(cols, row, col / self.group);
            let scale = f32::from_le_bytes([
                self.data[scale],
                self.data[scale + 1],
                self.data[scale + 2],
                self.data[scale + 3],
            ]);
            *value = f32::from(self.data[self.place(cols, row, col)] as i8) * scale;
        }
    }
}
