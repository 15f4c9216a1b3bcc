//! RoPE: angles by which queries and keys are rotated (Su et al. 2021).

use crate::{
    buffer::{Buffer, OutOfMemory},
    config::{Config, Rope, RopeScaling},
    kernels::Kernels,
    math,
};

/// Cosines and sines of a pass's positions, as [`Kernels::rope`] reads them: `head_dim` numbers of
/// each per position.
pub(crate) struct RopeTable {
    cos: Buffer<f32>,
    sin: Buffer<f32>,
    /// Rotation of pair i per position, in radians: theta^(-2i / head_dim).
    frequencies: Buffer<f32>,
    /// Factor of cosines and sines.
    magnitude: f32,
    head_dim: usize,
}

impl RopeTable {
    /// Creates a table for heads of shape `c` and passes of up to `positions`; `factors` (head_dim
    /// / 2 of them, or none) divide the frequencies.
    pub(crate) fn new(c: &Config, positions: usize, factors: &[f32]) -> Result<Self, OutOfMemory> {
        let (head_dim, rope) = (c.head_dim(), &c.variant.rope);
        let mut frequencies = Buffer::zeroed(head_dim / 2)?;
        for (i, frequency) in frequencies.iter_mut().enumerate() {
            let plain = 1.0 / math::pow(rope.theta, (2 * i) as f32 / head_dim as f32);
            let plain = plain / factors.get(i).copied().unwrap_or(1.0);
            *frequency = plain * kept(rope, head_dim, i);
        }
        Ok(RopeTable {
            cos: Buffer::zeroed(positions * head_dim)?,
            sin: Buffer::zeroed(positions * head_dim)?,
            frequencies,
            magnitude: rope.magnitude,
            head_dim,
        })
    }

    /// Computes a row for each of `positions`.
    pub(crate) fn of(&mut self, positions: impl Iterator<Item = usize>) -> RopeRows<'_> {
        for (row, pos) in positions.enumerate() {
            let at = row * self.head_dim;
            let range = at..at + self.head_dim;
            let cos = self.cos[range.clone()].as_chunks_mut::<2>().0;
            let sin = self.sin[range].as_chunks_mut::<2>().0;
            for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(self.frequencies.iter()) {
                let (s, c) = math::sin_cos(pos as f32 * frequency);
                let (s, c) = (s * self.magnitude, c * self.magnitude);
                (*cos, *sin) = ([c, c], [-s, s]);
            }
        }
        RopeRows {
            cos: &self.cos,
            sin: &self.sin,
            head_dim: self.head_dim,
        }
    }
}

/// YaRN's limits for Llama as given by its authors, in rotations over the training context.
const FAST: f32 = 32.0;
const SLOW: f32 = 1.0;

/// Factor by which scaling changes the frequency of pair `i`. For YaRN it is 1 for pairs that turn
/// more than [`FAST`] times in the training context, and `1 / factor` for those that turn less than
/// [`SLOW`] times.
fn kept(rope: &Rope, head_dim: usize, i: usize) -> f32 {
    match rope.scaling {
        RopeScaling::None => 1.0,
        RopeScaling::NoRope => 0.0,
        RopeScaling::Linear(factor) => 1.0 / factor,
        RopeScaling::Yarn { factor, original } => {
            // The pair that turns this often (ggml's rule, Peng et al. 2023, equations 17 to 20
            // with whole pairs as limits).
            let pair = |turns: f32| {
                let (log, full) = (libm::log, core::f64::consts::TAU);
                let length = original as f64 / (f64::from(turns) * full);
                head_dim as f64 * log(length) / (2.0 * log(f64::from(rope.theta)))
            };
            let low = libm::floor(pair(FAST)).max(0.0) as f32;
            let high = libm::ceil(pair(SLOW)).min(head_dim as f64 - 1.0) as f32;
            let ramp = ((i as f32 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
            ramp / factor + (1.0 - ramp)
        }
    }
}

/// [`RopeTable`] during a pass.
pub(crate) struct RopeRows<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    head_dim: usize,
}

impl RopeRows<'_> {
    /// Rotates `values`, which are rows of all heads from row `row` (even) on, to the position of
    /// the pass's token `token`.
    pub(crate) fn turn(&self, kernels: &Kernels, token: usize, row: usize, values: &mut [f32]) {
        let mut row = row;
        let mut rest = values;
        while !rest.is_empty() {
            let inside = row % self.head_dim;
            let len = rest.len().min(self.head_dim - inside);
            let (part, behind) = rest.split_at_mut(len);
            let at = token * self.head_dim + inside;
            (kernels.rope)(part, &self.cos[at..at + len], &self.sin[at..at + len]);
            rest = behind;
            row += len;
        }
    }
}
