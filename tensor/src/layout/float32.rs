//! Single-precision matrices: panels of 16 rows, column by column.
//!
//! Packed form: for each panel, for each column, the 16 rows' values side by side (64 bytes).

use super::PANEL;
use crate::buffer::Buffer;

/// Packed values of a matrix.
pub(crate) struct PackedRows {
    data: Buffer<f32>,
}

impl PackedRows {
    pub(crate) fn new(data: Buffer<f32>) -> Self {
        PackedRows { data }
    }

    pub(crate) fn pack(&mut self, rows: usize, cols: usize, offset: usize, bytes: &[u8]) {
        let values = bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        interleave(&mut self.data, (rows, cols), offset / 4, values);
    }

    /// Packed panels from `panel` on.
    pub(crate) fn from(&self, panel: usize, cols: usize) -> &[f32] {
        &self.data[panel * PANEL * cols..]
    }

    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let panel = &self.from(row / PANEL, out.len())[..PANEL * out.len()];
        for (value, column) in out.iter_mut().zip(panel.chunks_exact(PANEL)) {
            *value = column[row % PANEL];
        }
    }
}

/// Stores consecutive elements of a `rows` × `cols` matrix, beginning with element `first`, in
/// their places.
pub(crate) fn interleave<T: Copy>(
    data: &mut [T],
    (rows, cols): (usize, usize),
    first: usize,
    mut values: impl Iterator<Item = T>,
) {
    let (mut row, mut col) = (first / cols, first % cols);
    while row < rows {
        let start = (row / PANEL) * PANEL * cols + row % PANEL;
        // The rest of this row: every 16th place of its panel.
        let places = data[start..].chunks_mut(PANEL).take(cols).skip(col);
        for place in places {
            let Some(value) = values.next() else { return };
            place[0] = value;
        }
        (row, col) = (row + 1, 0);
    }
}
