//! Matrices as the kernels read them: each type packed into one linear stream while its bytes come in.
//!
//! All types share one idea: [`PANEL`] rows are interleaved, so that a kernel walks memory in one straight line and keeps
//! one accumulator a row, sixteen side by side. Every row is then summed in the order of its columns, whatever the width
//! of the vectors, which is the order of run.c's and runq.c's own loops.

pub mod float32;
pub mod q8_0;

use crate::{buffer::OutOfMemory, kernels::Kernels, workers::Workers};

/// Rows that are interleaved. The last panel of a matrix is filled up with zero rows.
pub const PANEL: usize = 16;

/// How a tensor's numbers are stored in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// IEEE 754 single precision, little-endian.
    F32,
    /// int8 values, then one f32 scale for each `group` of them (llama2.c v2).
    Q8 {
        /// Values that share a scale; divides the number of columns.
        group: usize,
    },
}

impl Encoding {
    /// Bytes of a `rows` × `cols` tensor in the file; `None` on overflow.
    pub fn file_bytes(self, rows: usize, cols: usize) -> Option<u64> {
        let elements = (rows as u64).checked_mul(cols as u64)?;
        match self {
            Encoding::F32 => elements.checked_mul(4),
            Encoding::Q8 { group } => {
                elements.checked_add((elements / group as u64).checked_mul(4)?)
            }
        }
    }

    /// The tensor's parts in the file, in bytes: pieces handed to [`Matrix::pack`] may not reach over their border.
    pub fn parts(self, rows: usize, cols: usize) -> [u64; 2] {
        let elements = rows as u64 * cols as u64;
        match self {
            Encoding::F32 => [elements * 4, 0],
            Encoding::Q8 { group } => [elements, elements / group as u64 * 4],
        }
    }

    /// Bytes of the same tensor packed; `None` on overflow.
    pub fn packed_bytes(self, rows: usize, cols: usize) -> Option<u64> {
        let rows = if rows == 1 {
            1
        } else {
            (rows as u64).checked_next_multiple_of(PANEL as u64)?
        };
        let row = match self {
            Encoding::F32 => (cols as u64).checked_mul(4)?,
            Encoding::Q8 { group } => {
                (cols as u64 / group as u64).checked_mul(q8_0::padded(group) as u64 + 4)?
            }
        };
        rows.checked_mul(row)
    }
}

/// A packed matrix of `rows` × `cols`, of any type.
pub enum Matrix {
    /// Single precision.
    F32(float32::Matrix),
    /// int8 in groups.
    Q8(q8_0::Matrix),
}

impl Matrix {
    /// A zero matrix to be filled by [`Matrix::pack`].
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn zeroed(rows: usize, cols: usize, encoding: Encoding) -> Result<Matrix, OutOfMemory> {
        Ok(match encoding {
            Encoding::F32 => Matrix::F32(float32::Matrix::zeroed(rows, cols)?),
            Encoding::Q8 { group } => Matrix::Q8(q8_0::Matrix::zeroed(rows, cols, group)?),
        })
    }

    /// Takes the file's bytes of this tensor from byte `offset` on: a piece of one of its [`Encoding::parts`], of whole
    /// elements.
    pub fn pack(&mut self, offset: usize, bytes: &[u8]) {
        match self {
            Matrix::F32(m) => m.pack(offset, bytes),
            Matrix::Q8(m) => m.pack(offset, bytes),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Matrix::F32(m) => m.rows,
            Matrix::Q8(m) => m.rows,
        }
    }

    /// Writes row `row` as single precision to `out` (`cols` long).
    pub fn row(&self, row: usize, out: &mut [f32]) {
        match self {
            Matrix::F32(m) => m.row(row, out),
            Matrix::Q8(m) => m.row(row, out),
        }
    }

    /// `out` (`rows` long) = this matrix × the vector in `x`, its rows dealt to the workers by panels.
    pub fn multiply(
        &self,
        x: &Activations<'_>,
        out: &mut [f32],
        kernels: &Kernels,
        workers: &dyn Workers,
    ) {
        crate::workers::deal(workers, out, PANEL, |panel, out| match self {
            Matrix::F32(m) => (kernels.matvec_f32)(m.panels(panel), x.values, out),
            Matrix::Q8(m) => (kernels.matvec_q8)(m.panels(panel), m.group, x.quants, x.scales, out),
        });
    }
}

/// A vector ready to be multiplied: the numbers themselves and, where a matrix is quantised, their int8 form, made once
/// for all the matrices that read it.
pub struct Activations<'a> {
    /// The numbers.
    pub values: &'a [f32],
    /// Their int8 form, each group padded with zeros to a multiple of 4; empty when no matrix of the model is quantised.
    pub quants: &'a [i8],
    /// One scale a group; empty likewise.
    pub scales: &'a [f32],
}
