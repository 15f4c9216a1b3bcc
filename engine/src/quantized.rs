//! Activations as int8: made once for all matrices that read them, with one row per token or
//! worker.

use crate::{
    buffer::{Buffer, OutOfMemory},
    kernels::{Kernels, Quantized},
    layout::{Activations, Rounding, padded, stride},
    parallel::Shared,
};

/// int8 forms of one kind of vector, with one row per token or worker; empty if no matrix reads
/// them as int8.
pub(crate) struct QuantizedActivations {
    group: Option<usize>,
    cols: usize,
    quants: Buffer<i8>,
    scales: Buffer<f32>,
    sums: Buffer<i32>,
    lower: Buffer<i32>,
}

impl QuantizedActivations {
    /// Allocates rows for vectors of `cols` numbers, in groups of `group` if that divides them.
    pub(crate) fn new(rows: usize, cols: usize, group: Option<usize>) -> Result<Self, OutOfMemory> {
        let group = group.filter(|&group| cols.is_multiple_of(group));
        let groups = group.map_or(0, |group| cols / group);
        Ok(QuantizedActivations {
            group,
            cols,
            quants: Buffer::zeroed(if groups > 0 {
                rows * stride(groups * padded(group.unwrap_or(1)), 1)
            } else {
                0
            })?,
            scales: Buffer::zeroed(rows * groups)?,
            sums: Buffer::zeroed(rows * groups)?,
            lower: Buffer::zeroed(rows * groups)?,
        })
    }

    pub(crate) fn share(&mut self) -> SharedActivations<'_> {
        SharedActivations {
            group: self.group,
            groups: self.group.map_or(0, |group| self.cols / group),
            quants: Shared::new(&mut self.quants),
            scales: Shared::new(&mut self.scales),
            sums: Shared::new(&mut self.sums),
            lower: Shared::new(&mut self.lower),
        }
    }
}

/// [`QuantizedActivations`] during a pass.
pub(crate) struct SharedActivations<'a> {
    pub(crate) group: Option<usize>,
    groups: usize,
    quants: Shared<'a, i8>,
    scales: Shared<'a, f32>,
    sums: Shared<'a, i32>,
    lower: Shared<'a, i32>,
}

impl SharedActivations<'_> {
    /// Quantises `values` into row `row`, if they are needed as int8 and there is room.
    ///
    /// # Safety
    /// Until the next barrier no other worker touches this row.
    pub(crate) unsafe fn fill(
        &self,
        kernels: &Kernels,
        rounding: Option<Rounding>,
        row: usize,
        values: &[f32],
    ) {
        let (Some(group), Some(rounding)) = (self.group, rounding) else {
            return;
        };
        let (length, groups) = (self.groups * padded(group), self.groups);
        let start = row * stride(length, 1);
        // Safety: as the caller says.
        let out = unsafe {
            Quantized {
                quants: self.quants.write(start..start + length),
                scales: self.scales.write(row * groups..(row + 1) * groups),
                sums: self.sums.write(row * groups..(row + 1) * groups),
                lower: self.lower.write(row * groups..(row + 1) * groups),
            }
        };
        (kernels.quantize)(values, rounding, out);
    }

    /// Combines `values` (`tokens` vectors of `cols`) with their int8 forms, stored from row `row`
    /// on.
    ///
    /// # Safety
    /// Until the next barrier no worker writes to these rows.
    pub(crate) unsafe fn beside<'b>(
        &'b self,
        row: usize,
        tokens: usize,
        cols: usize,
        values: &'b [f32],
    ) -> Activations<'b> {
        let quant_stride = stride(self.groups * padded(self.group.unwrap_or(1)), 1);
        let quants = row * quant_stride..(row + tokens) * quant_stride;
        let groups = row * self.groups..(row + tokens) * self.groups;
        // Safety: as the caller says.
        unsafe {
            Activations {
                tokens,
                cols,
                values,
                stride: stride(cols, 4),
                quants: self
                    .quants
                    .read(if self.group.is_some() { quants } else { 0..0 }),
                quant_stride,
                scales: self.scales.read(groups.clone()),
                sums: self.sums.read(groups.clone()),
                lower: self.lower.read(groups),
            }
        }
    }
}
