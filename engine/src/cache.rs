//! The KV cache: keys and values of all positions, laid out so that attention streams.
//!
//! For each layer and KV head the keys are a packed matrix with a row for each position (16 of them interleaved, as in
//! [`crate::matrix::float32`]), and the values stand row after row.

use crate::{
    buffer::{Buffer, OutOfMemory},
    config::Config,
    kernels::{Kernels, Weights},
    matrix::{Activations, PANEL},
    team::Shared,
};

/// What keys and values are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    /// Single precision: llama2.c's.
    #[default]
    F32,
    /// Half precision: half the memory, and half the time to read it.
    F16,
}

impl KvType {
    /// Bytes of a number.
    pub fn size(self) -> usize {
        match self {
            KvType::F32 => 4,
            KvType::F16 => 2,
        }
    }

    /// Its name, as options have it.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
        }
    }
}

impl core::str::FromStr for KvType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "f32" => Ok(KvType::F32),
            "f16" => Ok(KvType::F16),
            _ => Err("must be f32 or f16"),
        }
    }
}

/// Bytes of keys and values for the whole context.
pub(crate) fn kv_cache_bytes(c: &Config, kv: KvType) -> u64 {
    let rows = c.seq_len.next_multiple_of(PANEL) + c.seq_len;
    let factors = [c.n_layers, rows, c.kv_dim(), kv.size()];
    factors
        .iter()
        .fold(1u64, |bytes, &factor| bytes.saturating_mul(factor as u64))
}

/// Numbers of one of the types.
enum Numbers {
    F32(Buffer<f32>),
    F16(Buffer<u16>),
}

impl Numbers {
    fn zeroed(kv: KvType, len: usize) -> Result<Self, OutOfMemory> {
        Ok(match kv {
            KvType::F32 => Numbers::F32(Buffer::zeroed(len)?),
            KvType::F16 => Numbers::F16(Buffer::zeroed(len)?),
        })
    }

    fn share(&mut self) -> SharedNumbers<'_> {
        match self {
            Numbers::F32(numbers) => SharedNumbers::F32(Shared::new(numbers)),
            Numbers::F16(numbers) => SharedNumbers::F16(Shared::new(numbers)),
        }
    }
}

enum SharedNumbers<'a> {
    F32(Shared<'a, f32>),
    F16(Shared<'a, u16>),
}

/// Where things are.
#[derive(Clone, Copy)]
struct Places {
    /// Positions, filled up to whole panels.
    rows: usize,
    seq_len: usize,
    head_dim: usize,
    kv_heads: usize,
    layers: usize,
    kv: KvType,
}

/// Keys and values.
pub(crate) struct Cache {
    keys: Numbers,
    values: Numbers,
    places: Places,
}

impl Cache {
    pub(crate) fn zeroed(c: &Config, kv: KvType) -> Result<Self, OutOfMemory> {
        let rows = c.seq_len.next_multiple_of(PANEL);
        let numbers = |rows: usize| {
            let len = [c.n_layers, c.kv_dim()]
                .iter()
                .try_fold(rows, |n, &factor| n.checked_mul(factor));
            Numbers::zeroed(kv, len.ok_or(OutOfMemory { bytes: u64::MAX })?)
        };
        Ok(Cache {
            keys: numbers(rows)?,
            values: numbers(c.seq_len)?,
            places: Places {
                rows,
                seq_len: c.seq_len,
                head_dim: c.head_dim(),
                kv_heads: c.n_kv_heads,
                layers: c.n_layers,
                kv,
            },
        })
    }

    /// Bytes that attention reads at position `pos`.
    pub(crate) fn bytes_at(&self, pos: usize) -> u64 {
        let p = &self.places;
        let rows = (pos + 1).next_multiple_of(PANEL) + pos + 1;
        (p.layers * p.kv_heads * p.head_dim * p.kv.size()) as u64 * rows as u64
    }

    pub(crate) fn share(&mut self) -> SharedCache<'_> {
        SharedCache {
            keys: self.keys.share(),
            values: self.values.share(),
            places: self.places,
        }
    }
}

/// A [`Cache`] in a pass.
///
/// # Safety
/// What its functions ask for is what [`Shared`]'s do: a position's numbers of a row are written by one worker, and read by
/// others after the next meeting only.
pub(crate) struct SharedCache<'a> {
    keys: SharedNumbers<'a>,
    values: SharedNumbers<'a>,
    places: Places,
}

impl SharedCache<'_> {
    /// Puts position `pos`'s keys in, from row `row` of all heads on.
    ///
    /// # Safety
    /// As at the type.
    pub(crate) unsafe fn put_keys(
        &self,
        kernels: &Kernels,
        layer: usize,
        pos: usize,
        row: usize,
        keys: &[f32],
    ) {
        let p = &self.places;
        let mut bits = [0; PANEL];
        if let SharedNumbers::F16(_) = self.keys {
            (kernels.to_f16)(keys, &mut bits[..keys.len()]);
        }
        let (mut head, mut inside) = (row / p.head_dim, row % p.head_dim);
        for i in 0..keys.len() {
            let start = (layer * p.kv_heads + head) * p.rows * p.head_dim;
            let place = start + (pos / PANEL * p.head_dim + inside) * PANEL + pos % PANEL;
            // Safety: as the caller says.
            unsafe {
                match &self.keys {
                    SharedNumbers::F32(shared) => shared.put(place, keys[i]),
                    SharedNumbers::F16(shared) => shared.put(place, bits[i]),
                }
            }
            inside += 1;
            if inside == p.head_dim {
                (head, inside) = (head + 1, 0);
            }
        }
    }

    /// Puts position `pos`'s values in, from row `row` of all heads on.
    ///
    /// # Safety
    /// As at the type.
    pub(crate) unsafe fn put_values(
        &self,
        kernels: &Kernels,
        layer: usize,
        pos: usize,
        row: usize,
        values: &[f32],
    ) {
        let p = &self.places;
        let (mut row, mut rest) = (row, values);
        while !rest.is_empty() {
            let (head, inside) = (row / p.head_dim, row % p.head_dim);
            let (part, behind) = rest.split_at(rest.len().min(p.head_dim - inside));
            let at = ((layer * p.kv_heads + head) * p.seq_len + pos) * p.head_dim + inside;
            // Safety: as the caller says.
            unsafe {
                match &self.values {
                    SharedNumbers::F32(shared) => {
                        shared.write(at..at + part.len()).copy_from_slice(part);
                    }
                    SharedNumbers::F16(shared) => {
                        (kernels.to_f16)(part, shared.write(at..at + part.len()));
                    }
                }
            }
            (row, rest) = (row + part.len(), behind);
        }
    }

    /// Each of the vectors `q` (their numbers, how far apart they are, how many) times the keys of the first positions of a
    /// head, as many as there is room for in `scores`: whole panels for each vector.
    ///
    /// # Safety
    /// As at the type.
    pub(crate) unsafe fn scores(
        &self,
        kernels: &Kernels,
        layer: usize,
        head: usize,
        (q, stride, tokens): (&[f32], usize, usize),
        scores: &mut [f32],
    ) {
        let p = &self.places;
        let q = Activations {
            tokens,
            cols: p.head_dim,
            values: q,
            stride,
            quants: &[],
            quant_stride: 0,
            scales: &[],
            sums: &[],
        };
        let start = (layer * p.kv_heads + head) * p.rows * p.head_dim;
        let range = start..start + scores.len() / tokens * p.head_dim;
        // Safety: as the caller says.
        unsafe {
            match &self.keys {
                SharedNumbers::F32(keys) => (kernels.f32)(keys.read(range), &q, scores),
                SharedNumbers::F16(keys) => (kernels.f16)(keys.read(range), &q, scores),
            }
        }
    }

    /// The values of the first positions of a head, weighed and added up, for each token of the weights.
    ///
    /// # Safety
    /// As at the type.
    pub(crate) unsafe fn weigh(
        &self,
        kernels: &Kernels,
        layer: usize,
        head: usize,
        weights: &Weights<'_>,
        out: &mut [f32],
    ) {
        let p = &self.places;
        let start = (layer * p.kv_heads + head) * p.seq_len * p.head_dim;
        let range = start..start + weights.rows * p.head_dim;
        // Safety: as the caller says.
        unsafe {
            match &self.values {
                SharedNumbers::F32(rows) => {
                    (kernels.weigh_f32)(rows.read(range), weights, out, p.head_dim);
                }
                SharedNumbers::F16(rows) => {
                    (kernels.weigh_f16)(rows.read(range), weights, out, p.head_dim);
                }
            }
        }
    }
}
