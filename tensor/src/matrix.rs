//! Matrices in memory: packed while their bytes are read, multiplied by any set of kernels.

use crate::half::{Bf16, F16};

use crate::{
    buffer::{Arena, OutOfMemory},
    kernels::Kernels,
    layout::{Activations, Encoding, PANEL, Rounding, coded, float16, float32, q4_0, q8, q8_0},
};

/// Rounding of an input that all of `matrices` read; if their types differ, that of the K-quants.
pub fn rounding(matrices: &[&Matrix]) -> Option<Rounding> {
    let each = matrices.iter().filter_map(|m| m.encoding().rounding());
    each.max()
}

/// Packed numbers of a matrix, by type.
enum PackedRows {
    F32(float32::PackedRows),
    F16(float16::PackedRows<F16>),
    BF16(float16::PackedRows<Bf16>),
    Q8(q8::PackedRows),
    Q8_0(q8_0::PackedRows),
    Q4_0(q4_0::PackedRows),
    Coded(coded::PackedRows),
}

/// A packed matrix of `rows` × `cols`, of any type.
pub struct Matrix {
    encoding: Encoding,
    rows: usize,
    cols: usize,
    panels: PackedRows,
}

impl Matrix {
    /// Allocates a zero matrix in `arena`, to be filled by [`Matrix::pack`].
    ///
    /// # Errors
    /// [`OutOfMemory`].
    pub fn zeroed(
        rows: usize,
        cols: usize,
        encoding: Encoding,
        arena: &mut Arena,
    ) -> Result<Matrix, OutOfMemory> {
        let bytes = encoding
            .panel_bytes(cols)
            .and_then(|bytes| rows.div_ceil(PANEL).checked_mul(bytes))
            .ok_or(OutOfMemory { bytes: u64::MAX })?;
        let panels = match encoding {
            Encoding::F32 => PackedRows::F32(float32::PackedRows::new(arena.zeroed(bytes / 4)?)),
            Encoding::F16 => PackedRows::F16(float16::PackedRows::new(arena.zeroed(bytes / 2)?)),
            Encoding::BF16 => PackedRows::BF16(float16::PackedRows::new(arena.zeroed(bytes / 2)?)),
            Encoding::Q8 { group } => {
                PackedRows::Q8(q8::PackedRows::new(group, arena.zeroed(bytes)?))
            }
            Encoding::Q8_0 => PackedRows::Q8_0(q8_0::PackedRows::new(arena.zeroed(bytes)?)),
            Encoding::Q4_0 => PackedRows::Q4_0(q4_0::PackedRows::new(arena.zeroed(bytes)?)),
            Encoding::Coded(coded) => {
                PackedRows::Coded(coded::PackedRows::new(coded, arena.zeroed(bytes)?))
            }
        };
        Ok(Matrix {
            encoding,
            rows,
            cols,
            panels,
        })
    }

    /// Packs bytes of the tensor in the file, from byte `offset` on. The piece must lie within one
    /// of its [`Encoding::parts`] and consist of whole [`Encoding::unit`]s.
    pub fn pack(&mut self, offset: usize, bytes: &[u8]) {
        let cols = self.cols;
        match &mut self.panels {
            PackedRows::F32(panels) => panels.pack(self.rows, cols, offset, bytes),
            PackedRows::F16(panels) => panels.pack(self.rows, cols, offset, bytes),
            PackedRows::BF16(panels) => panels.pack(self.rows, cols, offset, bytes),
            PackedRows::Q8(panels) => panels.pack(self.rows, cols, offset, bytes),
            PackedRows::Q8_0(panels) => panels.pack(cols, offset, bytes),
            PackedRows::Q4_0(panels) => panels.pack(cols, offset, bytes),
            PackedRows::Coded(panels) => panels.pack(cols, offset, bytes),
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Storage format in the file.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Bytes in memory, which is what one multiplication reads.
    pub fn bytes(&self) -> u64 {
        self.encoding.panel_bytes(self.cols).unwrap_or(0) as u64 * self.panels() as u64
    }

    /// Writes row `row` as single precision to `out` (`cols` long).
    pub fn row(&self, row: usize, out: &mut [f32]) {
        match &self.panels {
            PackedRows::F32(panels) => panels.row(row, out),
            PackedRows::F16(panels) => panels.row(row, out),
            PackedRows::BF16(panels) => panels.row(row, out),
            PackedRows::Q8(panels) => panels.row(row, out),
            PackedRows::Q8_0(panels) => panels.row(row, out),
            PackedRows::Q4_0(panels) => panels.row(row, out),
            PackedRows::Coded(panels) => panels.row(row, out),
        }
    }

    /// Multiplies the panels from `first` on with each of the vectors in `x`. The length of `out`
    /// determines the number of panels: 16 rows' results for each token, panel after panel; padding
    /// rows give zeros.
    pub fn multiply(&self, kernels: &Kernels, first: usize, x: &Activations<'_>, out: &mut [f32]) {
        assert_eq!(x.cols, self.cols);
        match &self.panels {
            PackedRows::F32(panels) => (kernels.f32)(panels.from(first, self.cols), x, out),
            PackedRows::F16(panels) => (kernels.f16)(panels.from(first, self.cols), x, out),
            PackedRows::BF16(panels) => (kernels.bf16)(panels.from(first, self.cols), x, out),
            PackedRows::Q8(panels) => {
                (kernels.q8)(panels.from(first, self.cols), panels.group, x, out);
            }
            PackedRows::Q8_0(panels) => (kernels.q8_0)(panels.from(first, self.cols), x, out),
            PackedRows::Q4_0(panels) => (kernels.q4_0)(panels.from(first, self.cols), x, out),
            PackedRows::Coded(panels) => {
                (kernels.coded)(panels.coded(), panels.from(first, self.cols), x, out);
            }
        }
    }
}
