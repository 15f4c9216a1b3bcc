//! The KV cache: keys and values of all positions, laid out so that attention streams.
//!
//! For each layer and KV head the keys are a packed matrix with a row for each position (16 of them interleaved, as in
//! [`crate::matrix::float32`]), and the values stand row after row.

use half::f16;

use crate::{
    buffer::{Buffer, OutOfMemory},
    config::Config,
    kernels::{Kernels, Quantized, Weights},
    matrix::{Activations, BLOCK, PANEL, QUAD, Rounding, q8_0},
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
    /// Blocks of 32 int8 values with an f16 scale (GGUF's Q8_0): half of that again. A head must be whole blocks.
    Q8_0,
}

impl KvType {
    /// All of them.
    pub const ALL: [KvType; 3] = [KvType::F32, KvType::F16, KvType::Q8_0];

    /// Bytes of `count` numbers, which are whole blocks.
    pub fn bytes(self, count: u64) -> u64 {
        match self {
            KvType::F32 => count.saturating_mul(4),
            KvType::F16 => count.saturating_mul(2),
            KvType::Q8_0 => (count / BLOCK as u64).saturating_mul(q8_0::FILE_BLOCK as u64),
        }
    }

    /// Its name, as options have it.
    pub fn name(self) -> &'static str {
        match self {
            KvType::F32 => "f32",
            KvType::F16 => "f16",
            KvType::Q8_0 => "q8_0",
        }
    }
}

impl core::str::FromStr for KvType {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = KvType::ALL.into_iter().find(|kv| kv.name() == text);
        found.ok_or("must be f32, f16 or q8_0")
    }
}

/// Bytes of keys and values for the whole context.
pub(crate) fn kv_cache_bytes(c: &Config, kv: KvType) -> u64 {
    let rows = c.seq_len.next_multiple_of(PANEL) + c.seq_len;
    let numbers = [c.n_layers, rows, c.kv_dim()]
        .iter()
        .fold(1u64, |n, &factor| n.saturating_mul(factor as u64));
    // Blocks by twos have room for two scales where there is one.
    let odd = kv == KvType::Q8_0 && !(c.head_dim() / BLOCK).is_multiple_of(2);
    let spare = if odd { numbers / BLOCK as u64 } else { 0 };
    kv.bytes(numbers).saturating_add(spare)
}

/// Numbers of one of the types.
enum Numbers {
    F32(Buffer<f32>),
    F16(Buffer<u16>),
    Q8_0(Buffer<u8>),
}

impl Numbers {
    fn zeroed(kv: KvType, len: usize) -> Result<Self, OutOfMemory> {
        Ok(match kv {
            KvType::F32 => Numbers::F32(Buffer::zeroed(len)?),
            KvType::F16 => Numbers::F16(Buffer::zeroed(len)?),
            KvType::Q8_0 => Numbers::Q8_0(Buffer::zeroed(len)?),
        })
    }

    fn share(&mut self) -> SharedNumbers<'_> {
        match self {
            Numbers::F32(numbers) => SharedNumbers::F32(Shared::new(numbers)),
            Numbers::F16(numbers) => SharedNumbers::F16(Shared::new(numbers)),
            Numbers::Q8_0(numbers) => SharedNumbers::Q8_0(Shared::new(numbers)),
        }
    }
}

enum SharedNumbers<'a> {
    F32(Shared<'a, f32>),
    F16(Shared<'a, u16>),
    Q8_0(Shared<'a, u8>),
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

impl Places {
    /// Elements (bytes of blocks) of a panel of keys: 16 positions of a head.
    fn panel(&self) -> usize {
        match self.kv {
            KvType::Q8_0 => q8_0::LAYOUT.panel_bytes(self.head_dim).unwrap_or(0),
            _ => PANEL * self.head_dim,
        }
    }

    /// Elements of a head's values at one position.
    fn row(&self) -> usize {
        match self.kv {
            KvType::Q8_0 => self.head_dim / BLOCK * q8_0::FILE_BLOCK,
            _ => self.head_dim,
        }
    }

    /// Where the panel of position `pos` begins.
    fn keys(&self, layer: usize, head: usize, pos: usize) -> usize {
        ((layer * self.kv_heads + head) * (self.rows / PANEL) + pos / PANEL) * self.panel()
    }

    /// Where the values of position `pos` begin.
    fn values(&self, layer: usize, head: usize, pos: usize) -> usize {
        ((layer * self.kv_heads + head) * self.seq_len + pos) * self.row()
    }
}

/// Keys and values.
pub(crate) struct Cache {
    keys: Numbers,
    values: Numbers,
    places: Places,
}

impl Cache {
    pub(crate) fn zeroed(c: &Config, kv: KvType) -> Result<Self, OutOfMemory> {
        let places = Places {
            rows: c.seq_len.next_multiple_of(PANEL),
            seq_len: c.seq_len,
            head_dim: c.head_dim(),
            kv_heads: c.n_kv_heads,
            layers: c.n_layers,
            kv,
        };
        let numbers = |each: usize, count: usize| {
            let len = [c.n_layers, c.n_kv_heads, count]
                .iter()
                .try_fold(each, |n, &factor| n.checked_mul(factor));
            Numbers::zeroed(kv, len.ok_or(OutOfMemory { bytes: u64::MAX })?)
        };
        Ok(Cache {
            keys: numbers(places.panel(), places.rows / PANEL)?,
            values: numbers(places.row(), c.seq_len)?,
            places,
        })
    }

    /// Bytes that attention reads at position `pos`.
    pub(crate) fn bytes_at(&self, pos: usize) -> u64 {
        let p = &self.places;
        let rows = (pos + 1).next_multiple_of(PANEL) + pos + 1;
        p.kv.bytes((p.layers * p.kv_heads * p.head_dim) as u64 * rows as u64)
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
    /// Puts position `pos`'s keys in, from row `row` of all heads on; of blocks whole ones.
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
        for (keys, row) in keys.chunks(BLOCK).zip((row..).step_by(BLOCK)) {
            let (mut head, mut inside) = (row / p.head_dim, row % p.head_dim);
            // Safety: as the caller says.
            unsafe {
                if let SharedNumbers::Q8_0(shared) = &self.keys {
                    let block = Block::of(kernels, keys);
                    let (scale, values) =
                        q8_0::LAYOUT.places(p.head_dim, pos % PANEL, inside / BLOCK);
                    let panel = p.keys(layer, head, pos);
                    let scale = panel + scale;
                    shared.write(scale..scale + 2).copy_from_slice(&block.scale);
                    for (q, quad) in block.quants.chunks_exact(QUAD).enumerate() {
                        let place = panel + values + (q * PANEL + pos % PANEL) * QUAD;
                        shared.write(place..place + QUAD).copy_from_slice(quad);
                    }
                    continue;
                }
                let mut bits = [0; BLOCK];
                if let SharedNumbers::F16(_) = self.keys {
                    (kernels.to_f16)(keys, &mut bits[..keys.len()]);
                }
                let mut place = p.keys(layer, head, pos) + inside * PANEL + pos % PANEL;
                for i in 0..keys.len() {
                    match &self.keys {
                        SharedNumbers::F32(shared) => shared.put(place, keys[i]),
                        SharedNumbers::F16(shared) => shared.put(place, bits[i]),
                        SharedNumbers::Q8_0(_) => (),
                    }
                    (inside, place) = (inside + 1, place + PANEL);
                    if inside == p.head_dim {
                        (head, inside) = (head + 1, 0);
                        place = p.keys(layer, head, pos) + pos % PANEL;
                    }
                }
            }
        }
    }

    /// Puts position `pos`'s values in, from row `row` of all heads on; of blocks whole ones.
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
            let start = p.values(layer, head, pos);
            let at = start + inside;
            // Safety: as the caller says.
            unsafe {
                match &self.values {
                    SharedNumbers::F32(shared) => {
                        shared.write(at..at + part.len()).copy_from_slice(part);
                    }
                    SharedNumbers::F16(shared) => {
                        (kernels.to_f16)(part, shared.write(at..at + part.len()));
                    }
                    SharedNumbers::Q8_0(shared) => {
                        let first = start + inside / BLOCK * q8_0::FILE_BLOCK;
                        let places = (first..).step_by(q8_0::FILE_BLOCK);
                        for (part, at) in part.chunks_exact(BLOCK).zip(places) {
                            let block = Block::of(kernels, part);
                            let place = shared.write(at..at + q8_0::FILE_BLOCK);
                            place[..2].copy_from_slice(&block.scale);
                            place[2..].copy_from_slice(&block.quants);
                        }
                    }
                }
            }
            (row, rest) = (row + part.len(), behind);
        }
    }

    /// Each of the vectors `q` times the keys of a head from position `begin` (of a panel's beginning) on, as many as there is
    /// room for in `scores`: whole panels for each vector.
    ///
    /// # Safety
    /// As at the type.
    pub(crate) unsafe fn scores(
        &self,
        kernels: &Kernels,
        layer: usize,
        head: usize,
        begin: usize,
        q: &Activations<'_>,
        scores: &mut [f32],
    ) {
        let p = &self.places;
        let start = p.keys(layer, head, begin);
        let range = start..start + scores.len() / q.tokens / PANEL * p.panel();
        // Safety: as the caller says.
        unsafe {
            match &self.keys {
                SharedNumbers::F32(keys) => (kernels.f32)(keys.read(range), q, scores),
                SharedNumbers::F16(keys) => (kernels.f16)(keys.read(range), q, scores),
                SharedNumbers::Q8_0(keys) => (kernels.q8_0)(keys.read(range), q, scores),
            }
        }
    }

    /// The values of a head from position `begin` on, weighed and added up, for each token of the weights.
    ///
    /// # Safety
    /// As at the type.
    pub(crate) unsafe fn weigh(
        &self,
        kernels: &Kernels,
        layer: usize,
        head: usize,
        begin: usize,
        weights: &Weights<'_>,
        out: &mut [f32],
    ) {
        let p = &self.places;
        let start = p.values(layer, head, begin);
        let range = start..start + weights.rows * p.row();
        // Safety: as the caller says.
        unsafe {
            match &self.values {
                SharedNumbers::F32(rows) => {
                    (kernels.weigh_f32)(rows.read(range), weights, out, p.head_dim);
                }
                SharedNumbers::F16(rows) => {
                    (kernels.weigh_f16)(rows.read(range), weights, out, p.head_dim);
                }
                SharedNumbers::Q8_0(rows) => {
                    (kernels.weigh_q8_0)(rows.read(range), weights, out, p.head_dim);
                }
            }
        }
    }
}

/// A block of GGUF's Q8_0.
struct Block {
    /// The f16, little-endian.
    scale: [u8; 2],
    quants: [u8; BLOCK],
}

impl Block {
    /// Quantises 32 numbers.
    fn of(kernels: &Kernels, values: &[f32]) -> Block {
        let (mut quants, mut scale) = ([0; BLOCK], [0.0]);
        let out = Quantized {
            quants: &mut quants,
            scales: &mut scale,
            sums: &mut [0],
            lower: &mut [0],
        };
        (kernels.quantize)(values, Rounding::Q8_0, out);
        Block {
            scale: f16::from_f32(scale[0]).to_le_bytes(),
            quants: quants.map(|quant| quant as u8),
        }
    }
}
