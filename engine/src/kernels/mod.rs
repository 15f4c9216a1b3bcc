//! The arithmetic under the transformer: one set of functions a vector unit, chosen once at start.
//!
//! A kernel knows slices, not layers. Every set adds up each sum in the order of its terms, without contraction to FMA:
//! what runs side by side in a vector are sixteen sums, never the terms of one. So the numbers are the same on every
//! machine, and they are run.c's and runq.c's own: with int8 activations a difference in the last bit flips a rounding,
//! and the text departs.

mod portable;
pub mod scalar;

use crate::matrix::PANEL;

/// One implementation of every operation.
pub struct Kernels {
    /// The set's name, as shown to the user.
    pub name: &'static str,
    /// `out[r] = Σ_c w[r][c]·x[c]` for f32 panels; `w` starts at the panel of `out[0]` and may go on behind the last.
    pub matvec_f32: fn(w: &[f32], x: &[f32], out: &mut [f32]),
    /// The same for int8 panels: `out[r] = Σ_g (Σ_c w[r][g][c]·x[g][c])·ws[r][g]·xs[g]`, the inner sum in whole numbers
    /// and the outer one in the order of the groups (runq.c's `matmul`).
    pub matvec_q8: MatvecQ8,
    /// Quantises groups of `group` values symmetrically to -127..=127, halves away from zero (runq.c's `quantize`);
    /// each group of `quants` is padded to a multiple of 4 with zeros. Arguments: values, group size, quants, scales.
    pub quantize: fn(x: &[f32], group: usize, quants: &mut [i8], scales: &mut [f32]),
    /// `out[i] += a·x[i]`.
    pub add_scaled: fn(out: &mut [f32], a: f32, x: &[f32]),
    /// `out[i] += x[i]`.
    pub add: fn(out: &mut [f32], x: &[f32]),
    /// RMSNorm: `out[i] = weight[i]·x[i]/√(mean(x²) + 1e-5)` (Zhang and Sennrich 2019; run.c's `rmsnorm`).
    pub rmsnorm: fn(out: &mut [f32], x: &[f32], weight: &[f32]),
    /// Softmax in place.
    pub softmax: fn(x: &mut [f32]),
    /// SwiGLU in place: `gate[i] = gate[i]·σ(gate[i])·up[i]` (Shazeer 2020).
    pub swiglu: fn(gate: &mut [f32], up: &[f32]),
    /// RoPE in place: turns each pair (2i, 2i+1) of every head by the angle whose cosine and sine are at i.
    pub rope: fn(heads: &mut [f32], cos: &[f32], sin: &[f32]),
}

/// `matvec_q8`'s type: packed panels, group size, int8 values and their scales, results.
pub type MatvecQ8 = fn(w: &[u8], group: usize, x: &[i8], xs: &[f32], out: &mut [f32]);

/// The best set that this machine allows.
pub fn best() -> &'static Kernels {
    &portable::KERNELS
}

/// RMSNorm's epsilon in llama2.c.
const EPSILON: f32 = 1e-5;

/// Panels of `w` beside the up to 16 results each gives.
fn panels<'a, T>(
    w: &'a [T],
    size: usize,
    out: &'a mut [f32],
) -> impl Iterator<Item = (&'a [T], &'a mut [f32])> {
    w.chunks_exact(size).zip(out.chunks_mut(PANEL))
}

#[cfg(test)]
mod tests;
