//! Single-precision matrices: panels of 16 rows, column by column.
//!
//! Packed: for each panel, for each column, the 16 rows' values side by side (64 bytes).

use super::PANEL;
use crate::buffer::{Buffer, OutOfMemory};

/// A packed matrix of `rows` × `cols` f32.
pub struct Matrix {
    pub(super) rows: usize,
    cols: usize,
    data: Buffer<f32>,
}

impl Matrix {
    pub(super) fn zeroed(rows: usize, cols: usize) -> Result<Self, OutOfMemory> {
        let len = rows
            .next_multiple_of(PANEL)
            .checked_mul(cols)
            .ok_or(OutOfMemory { bytes: u64::MAX })?;
        Ok(Matrix {
            rows,
            cols,
            data: Buffer::zeroed(len)?,
        })
    }

    pub(super) fn pack(&mut self, offset: usize, bytes: &[u8]) {
        let first = offset / 4;
        let (mut row, mut col) = (first / self.cols, first % self.cols);
        let mut values = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        loop {
            let start = (row / PANEL) * PANEL * self.cols + row % PANEL;
            // The rest of this row: every 16th place of its panel.
            let places = self.data[start..]
                .chunks_mut(PANEL)
                .take(self.cols)
                .skip(col);
            for place in places {
                let Some(value) = values.next() else { return };
                place[0] = value;
            }
            (row, col) = (row + 1, 0);
            if row == self.rows {
                return;
            }
        }
    }

    /// The packed panels from `panel` on.
    pub(super) fn panels(&self, panel: usize) -> &[f32] {
        &self.data[panel * PANEL * self.cols..]
    }

    pub(super) fn row(&self, row: usize, out: &mut [f32]) {
        let panel = &self.panels(row / PANEL)[..PANEL * self.cols];
        for (value, column) in out.iter_mut().zip(panel.chunks_exact(PANEL)) {
            *value = column[row % PANEL];
        }
    }
}
