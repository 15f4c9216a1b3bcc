//! Matrices of 16-bit floats, IEEE's half precision and bfloat16: panels of 16 rows, column by
//! column.
//!
//! Packed form: for each panel, for each column, the 16 rows' values side by side (32 bytes).
//! Kernels convert them to single precision, which is exact, and multiply them with the activations
//! as they are.

use core::marker::PhantomData;

use crate::half::{Bf16, F16};

use super::{PANEL, float32::interleave};
use crate::buffer::Buffer;

/// Kind of 16-bit float.
pub(crate) trait Half {
    /// Converts these bits to single precision.
    fn value(bits: u16) -> f32;
}

impl Half for F16 {
    fn value(bits: u16) -> f32 {
        F16::from_bits(bits).to_f32()
    }
}

impl Half for Bf16 {
    fn value(bits: u16) -> f32 {
        Bf16::from_bits(bits).to_f32()
    }
}

/// Bits of the packed values.
pub(crate) struct PackedRows<H> {
    data: Buffer<u16>,
    _half: PhantomData<H>,
}

impl<H: Half> PackedRows<H> {
    pub(crate) fn new(data: Buffer<u16>) -> Self {
        PackedRows {
            data,
            _half: PhantomData,
        }
    }

    pub(crate) fn pack(&mut self, rows: usize, cols: usize, offset: usize, bytes: &[u8]) {
        let values = bytes
            .chunks_exact(2)
            .map(|b| u16::from_le_bytes([b[0], b[1]]));
        interleave(&mut self.data, (rows, cols), offset / 2, values);
    }

    /// Packed panels from `panel` on.
    pub(crate) fn from(&self, panel: usize, cols: usize) -> &[u16] {
        &self.data[panel * PANEL * cols..]
    }

    pub(crate) fn row(&self, row: usize, out: &mut [f32]) {
        let panel = &self.from(row / PANEL, out.len())[..PANEL * out.len()];
        for (value, column) in out.iter_mut().zip(panel.chunks_exact(PANEL)) {
            *value = H::value(column[row % PANEL]);
        }
    }
}
