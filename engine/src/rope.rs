//! The angles by which RoPE turns queries and keys (Su et al. 2021), worked out once for each position.

use crate::{
    buffer::{Buffer, OutOfMemory},
    config::Config,
    kernels::Kernels,
    math,
};

/// Cosines and sines of all positions that were reached so far, as [`Kernels::rope`] reads them: `head_dim` numbers of either
/// for each position.
pub(crate) struct Angles {
    cos: Buffer<f32>,
    sin: Buffer<f32>,
    /// Turns of pair i from one position to the next, in radians: theta^(-2i / head_dim).
    frequencies: Buffer<f32>,
    known: usize,
    head_dim: usize,
}

impl Angles {
    pub(crate) fn new(c: &Config) -> Result<Self, OutOfMemory> {
        let head_dim = c.head_dim();
        let mut frequencies = Buffer::zeroed(head_dim / 2)?;
        for (i, frequency) in frequencies.iter_mut().enumerate() {
            *frequency = 1.0 / math::pow(c.rope_theta, (2 * i) as f32 / head_dim as f32);
        }
        Ok(Angles {
            cos: Buffer::zeroed(c.seq_len * head_dim)?,
            sin: Buffer::zeroed(c.seq_len * head_dim)?,
            frequencies,
            known: 0,
            head_dim,
        })
    }

    /// Works out what is not known yet of the first `positions`.
    pub(crate) fn reach(&mut self, positions: usize) {
        for pos in self.known..positions {
            let range = pos * self.head_dim..(pos + 1) * self.head_dim;
            let cos = self.cos[range.clone()].as_chunks_mut::<2>().0;
            let sin = self.sin[range].as_chunks_mut::<2>().0;
            for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(self.frequencies.iter()) {
                let (s, c) = math::sin_cos(pos as f32 * frequency);
                (*cos, *sin) = ([c, c], [-s, s]);
            }
        }
        self.known = self.known.max(positions);
    }

    pub(crate) fn share(&self) -> SharedAngles<'_> {
        SharedAngles {
            cos: &self.cos,
            sin: &self.sin,
            head_dim: self.head_dim,
        }
    }
}

/// [`Angles`] in a pass.
pub(crate) struct SharedAngles<'a> {
    cos: &'a [f32],
    sin: &'a [f32],
    head_dim: usize,
}

impl SharedAngles<'_> {
    /// Turns the numbers of all heads from row `row` (even) on, which are as many as `values`, to position `pos`.
    pub(crate) fn turn(&self, kernels: &Kernels, pos: usize, row: usize, values: &mut [f32]) {
        let mut row = row;
        let mut rest = values;
        while !rest.is_empty() {
            let inside = row % self.head_dim;
            let len = rest.len().min(self.head_dim - inside);
            let (part, behind) = rest.split_at_mut(len);
            let at = pos * self.head_dim + inside;
            (kernels.rope)(part, &self.cos[at..at + len], &self.sin[at..at + len]);
            rest = behind;
            row += len;
        }
    }
}
