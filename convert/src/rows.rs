//! Conversion of a tensor's rows from one type to another, some at a time, on every core.

use alloc::vec::Vec;

use super::{Error, Sink};
use llama2_engine::{
    buffer::Buffer,
    checkpoint::Tensor,
    layout::Encoding,
    parallel::{Pool, Shared},
    quantize,
    source::{ByteSource, ReadError},
    workers::Workers,
};

/// Bytes in single precision that each worker converts at a time: enough to make the barrier's cost
/// negligible.
const PIECE: usize = 1 << 20;
/// Bytes that are copied at a time.
const COPIED: usize = 1 << 20;

/// Converter of tensors.
pub(crate) struct Converter<'a> {
    source: &'a mut dyn ByteSource,
    workers: &'a dyn Workers,
    pool: Pool,
    /// Rows as in the old file, and the scales of llama2.c's int8.
    bytes: Vec<u8>,
    scales: Vec<u8>,
}

impl<'a> Converter<'a> {
    pub(crate) fn new(source: &'a mut dyn ByteSource, workers: &'a dyn Workers) -> Self {
        Converter {
            source,
            pool: Pool::new(workers.count()),
            workers,
            bytes: Vec::new(),
            scales: Vec::new(),
        }
    }

    /// Writes one tensor in `encoding`. All of its numbers must be finite, before and after. If it
    /// has this type already, its bytes are copied.
    pub(crate) fn write<W>(
        &mut self,
        tensor: &Tensor,
        encoding: Encoding,
        sink: Sink<'_, W>,
    ) -> Result<(), Error<W>> {
        if tensor.encoding == encoding {
            return self.copy(tensor, sink);
        }
        let Tensor { rows, cols, .. } = *tensor;
        let overflow = || Error::Overflow {
            name: tensor.name(),
            encoding,
        };
        let [row_bytes, row_scales] = encoding.parts(1, cols).map(|bytes| bytes as usize);
        let at_once = PIECE * self.workers.count() / (4 * cols).max(1);
        let at_once = at_once.clamp(1, rows.max(1));
        let mut made = Buffer::<u8>::zeroed(at_once * row_bytes).map_err(Error::OutOfMemory)?;
        // The scales of llama2.c's int8 are behind all rows.
        let mut scales = Buffer::<u8>::zeroed(rows * row_scales).map_err(Error::OutOfMemory)?;
        for first in (0..rows).step_by(at_once) {
            let count = at_once.min(rows - first);
            self.read(tensor, first, count).map_err(Error::Read)?;
            check(tensor, 0, &self.bytes)?;
            check(tensor, 1, &self.scales)?;
            self.convert(
                tensor,
                encoding,
                first..first + count,
                &mut made,
                &mut scales,
            );
            let made = &made[..count * row_bytes];
            if !encoding.is_finite(0, made) {
                return Err(overflow());
            }
            sink(made).map_err(Error::Write)?;
        }
        if !encoding.is_finite(1, &scales) {
            return Err(overflow());
        }
        sink(&scales).map_err(Error::Write)
    }

    fn copy<W>(&mut self, tensor: &Tensor, sink: Sink<'_, W>) -> Result<(), Error<W>> {
        let unit = tensor.encoding.unit();
        let most = (COPIED / unit * unit) as u64;
        let mut at = tensor.offset;
        let parts = tensor.encoding.parts(tensor.rows, tensor.cols);
        for (part, mut left) in parts.into_iter().enumerate() {
            while left > 0 {
                let piece = left.min(most);
                self.bytes.resize(piece as usize, 0);
                self.source
                    .read_at(at, &mut self.bytes)
                    .map_err(Error::Read)?;
                check(tensor, part, &self.bytes)?;
                sink(&self.bytes).map_err(Error::Write)?;
                (at, left) = (at + piece, left - piece);
            }
        }
        Ok(())
    }

    /// Reads `count` rows from row `first` on.
    fn read(&mut self, tensor: &Tensor, first: usize, count: usize) -> Result<(), ReadError> {
        let [values, scales] = tensor.encoding.parts(1, tensor.cols);
        let all_values = tensor.encoding.parts(tensor.rows, tensor.cols)[0];
        self.bytes.resize(count * values as usize, 0);
        self.scales.resize(count * scales as usize, 0);
        let at = tensor.offset + first as u64 * values;
        self.source.read_at(at, &mut self.bytes)?;
        if scales > 0 {
            let at = tensor.offset + all_values + first as u64 * scales;
            self.source.read_at(at, &mut self.scales)?;
        }
        Ok(())
    }

    /// Converts the rows that were read; each worker takes one after another.
    fn convert(
        &mut self,
        tensor: &Tensor,
        encoding: Encoding,
        rows: core::ops::Range<usize>,
        made: &mut Buffer<u8>,
        made_scales: &mut Buffer<u8>,
    ) {
        let cols = tensor.cols;
        let size = |encoding: Encoding| encoding.parts(1, cols).map(|bytes| bytes as usize);
        let ([old, old_scales], [new, new_scales]) = (size(tensor.encoding), size(encoding));
        let (bytes, scales) = (&self.bytes, &self.scales);
        let (made, made_scales) = (Shared::new(made), Shared::new(made_scales));
        let parts = self.workers.count();
        self.pool.run(self.workers, parts, |member| {
            let mut numbers = alloc::vec![0.0; cols];
            let (mut values, mut factors) = (Vec::new(), Vec::new());
            member.parallel_for(rows.len(), 1, |range| {
                for index in range {
                    let part = |size: usize| index * size..(index + 1) * size;
                    quantize::decode(
                        tensor.encoding,
                        &bytes[part(old)],
                        &scales[part(old_scales)],
                        &mut numbers,
                    );
                    values.clear();
                    factors.clear();
                    quantize::encode(encoding, &numbers, &mut values, &mut factors);
                    let row = rows.start + index;
                    // Safety: every row belongs to one worker, and nothing reads before all have
                    // met.
                    let (to, to_scales) = unsafe {
                        (
                            made.write(part(new)),
                            made_scales.write(row * new_scales..(row + 1) * new_scales),
                        )
                    };
                    to.copy_from_slice(&values);
                    to_scales.copy_from_slice(&factors);
                }
            });
        });
    }
}

/// Checks that all numbers in a piece of a part of `tensor` are finite.
fn check<W>(tensor: &Tensor, part: usize, piece: &[u8]) -> Result<(), Error<W>> {
    if tensor.encoding.is_finite(part, piece) {
        return Ok(());
    }
    Err(Error::NotFinite {
        name: tensor.name(),
    })
}

#[cfg(test)]
mod tests {
    use llama2_testing::{random::Random, scoped::Scoped};

    use super::*;
    use llama2_engine::{checkpoint::Role, layout::Coded, workers::Single};

    #[test]
    fn any_number_of_workers_writes_the_same_bytes() {
        let (rows, cols) = (700, 512);
        let random = &mut Random(11);
        let file: Vec<u8> = (0..rows * cols)
            .flat_map(|_| random.float().to_le_bytes())
            .collect();
        let tensor = Tensor {
            role: Role::Embedding,
            layer: 0,
            rows,
            cols,
            encoding: Encoding::F32,
            offset: 0,
        };
        for encoding in [
            Encoding::F32,
            Encoding::F16,
            Encoding::Q8 { group: 64 },
            Encoding::Q4_0,
            Encoding::Coded(Coded::Q4K),
        ] {
            let written = |workers: &dyn Workers| {
                let (mut source, mut out) = (&file[..], Vec::new());
                let mut sink = |bytes: &[u8]| -> Result<(), ()> {
                    out.extend_from_slice(bytes);
                    Ok(())
                };
                Converter::new(&mut source, workers)
                    .write(&tensor, encoding, &mut sink)
                    .unwrap();
                out
            };
            let alone = written(&Single);
            assert_eq!(Some(alone.len() as u64), encoding.file_bytes(rows, cols));
            // Each row equals the reference's result.
            let (mut values, mut scales) = (Vec::new(), Vec::new());
            for row in file.chunks_exact(4 * cols) {
                let mut numbers = alloc::vec![0.0; cols];
                quantize::decode(Encoding::F32, row, &[], &mut numbers);
                quantize::encode(encoding, &numbers, &mut values, &mut scales);
            }
            values.append(&mut scales);
            assert!(alone == values, "{encoding}");
            assert!(alone == written(&Scoped(3)), "{encoding}");
        }
    }
}
