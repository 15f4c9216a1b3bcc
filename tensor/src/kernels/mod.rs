//! Arithmetic of the transformer: one set of functions per vector unit, chosen once at start.
//!
//! Kernels work on slices and know nothing of layers. Every set adds each sum's terms in their
//! order and without contraction to FMA: the sixteen lanes of a vector are sixteen sums, never
//! terms of one. So results are the same on every machine and for any number of tokens at once, and
//! they equal those of run.c and runq.c: with int8 activations a difference in the last bit changes
//! a rounding, and the text diverges.

pub mod arch;
mod portable;
pub mod scalar;

use core::fmt;

use crate::half::F16;
pub use arch::Features;

use crate::layout::{Activations, Rounding, coded::Coded};

/// One implementation of every operation.
///
/// The first seven functions multiply packed panels (from the first one's start; more may follow
/// behind the last) with each of the vectors in `x`. The length of `out` determines the number of
/// panels: token after token, 16 results per panel.
pub struct Kernels {
    /// Name of the set, as accepted by [`named`].
    pub name: &'static str,
    /// Description of the instructions used, for display.
    pub title: &'static str,
    /// `Σ_c w[r][c]·x[c]` for f32 panels.
    pub f32: fn(w: &[f32], x: &Activations<'_>, out: &mut [f32]),
    /// [`f32`](Self::f32) for panels of half-precision bits.
    pub f16: fn(w: &[u16], x: &Activations<'_>, out: &mut [f32]),
    /// [`f32`](Self::f32) for panels of bfloat16 bits.
    pub bf16: fn(w: &[u16], x: &Activations<'_>, out: &mut [f32]),
    /// `Σ_g (Σ_c w[r][g][c]·x[g][c])·ws[r][g]·xs[g]` for int8 in groups; the inner sum is of
    /// integers, the outer one in the order of the groups (runq.c's `matmul`). `x` is quantised in
    /// the same groups.
    pub q8: fn(w: &[u8], group: usize, x: &Activations<'_>, out: &mut [f32]),
    /// [`q8`](Self::q8) for GGUF's Q8_0; `x` is quantised in groups of 32.
    pub q8_0: fn(w: &[u8], x: &Activations<'_>, out: &mut [f32]),
    /// [`q8`](Self::q8) for GGUF's Q4_0; `x` is quantised in groups of 32.
    pub q4_0: fn(w: &[u8], x: &Activations<'_>, out: &mut [f32]),
    /// [`q8`](Self::q8) for GGUF's coded weights, which have a factor and perhaps a minimum for
    /// every 16 or 32 columns.
    pub coded: fn(coded: Coded, w: &[u8], x: &Activations<'_>, out: &mut [f32]),
    /// Quantises symmetrically to -127..=127. `x` must consist of whole groups that share a scale.
    pub quantize: fn(x: &[f32], rounding: Rounding, out: Quantized<'_>),
    /// `out[t] += weights[t][i]·rows[i]`, one `i` after another, for vectors `stride` apart in
    /// `out`. Calls for consecutive pieces of rows give the same sums as one call for all.
    pub weighted_sum_f32:
        fn(rows: &[f32], weights: &AttentionWeights<'_>, out: &mut [f32], stride: usize),
    /// [`weighted_sum_f32`](Self::weighted_sum_f32) for rows of half-precision bits.
    pub weighted_sum_f16:
        fn(rows: &[u16], weights: &AttentionWeights<'_>, out: &mut [f32], stride: usize),
    /// [`weighted_sum_f32`](Self::weighted_sum_f32) for rows of Q8_0 blocks in the file's layout:
    /// weight times the block's scale, times the block's values.
    pub weighted_sum_q8_0:
        fn(rows: &[u8], weights: &AttentionWeights<'_>, out: &mut [f32], stride: usize),
    /// Converts to half-precision bits, rounding half to even.
    pub to_f16: fn(x: &[f32], out: &mut [u16]),
    /// `out[i] += x[i]`.
    pub add: fn(out: &mut [f32], x: &[f32]),
    /// RMSNorm: `out[i] = weight[i]·x[i]/√(mean(x²) + epsilon)` (Zhang and Sennrich 2019; run.c's
    /// `rmsnorm`).
    pub rmsnorm: fn(out: &mut [f32], x: &[f32], weight: &[f32], epsilon: f32),
    /// Softmax of `x[i]/divisor`, in place.
    pub softmax: fn(x: &mut [f32], divisor: f32),
    /// SwiGLU in place: `gate[i] = gate[i]·σ(gate[i])·up[i]` (Shazeer 2020).
    pub swiglu: fn(gate: &mut [f32], up: &[f32]),
    /// RoPE in place: rotates each pair (2i, 2i+1). `cos` holds each pair's cosine twice, `sin` its
    /// sine, first negated and then as it is: `out[i] = x[i]·cos[i] + x[i^1]·sin[i]`.
    pub rope: fn(values: &mut [f32], cos: &[f32], sin: &[f32]),
    /// Index of the largest number, the first if several are equal; 0 if there is none.
    pub argmax: fn(x: &[f32]) -> usize,
    /// Reads all whole steps of [`READ_STEP`] bytes once, by the widest plain loads that there are.
    /// The result depends on every bit of them.
    pub read: fn(bytes: &[u8]) -> u64,
}

/// Bytes that [`Kernels::read`] reads at a time.
pub const READ_STEP: usize = 1024;

/// Attention weights of rows, for each of several tokens.
#[derive(Clone, Copy)]
pub struct AttentionWeights<'a> {
    /// Weights; those of token `t` begin at `t·stride`.
    pub values: &'a [f32],
    /// Distance between the weights of two tokens; at least `rows`.
    pub stride: usize,
    /// Number of tokens.
    pub tokens: usize,
    /// Number of rows, which is the number of weights per token.
    pub rows: usize,
    /// Numbers from the start of one row to the next; nothing need follow the last one's `width`.
    pub row_stride: usize,
    /// Numbers of a row that are summed.
    pub width: usize,
}

/// Destination of a vector's int8 form.
pub struct Quantized<'a> {
    /// The values; each group is padded with zeros to whole quads.
    pub quants: &'a mut [i8],
    /// Scales, one per group.
    pub scales: &'a mut [f32],
    /// Sum of each group's values.
    pub sums: &'a mut [i32],
    /// Sum of each group's first 16 values.
    pub lower: &'a mut [i32],
}

/// Reason why a kernel set cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unavailable {
    /// No set has this name.
    Unknown,
    /// The machine lacks an extension that the set needs.
    Lacking {
        /// Name of the set.
        set: &'static str,
        /// The missing extension.
        what: &'static str,
    },
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::Unknown => {
                write!(f, "there are no kernels of that name; known are")?;
                for name in names().skip(1) {
                    write!(f, " {name},")?;
                }
                write!(f, " scalar")
            }
            Unavailable::Lacking { set, what } => write!(
                f,
                "the {set} kernels need {what}, which this machine does not have or its system has not switched on"
            ),
        }
    }
}

impl core::error::Error for Unavailable {}

/// All sets with what they need, the plainest first; the last one that a machine has is its best.
fn sets() -> impl DoubleEndedIterator<Item = &'static (&'static Kernels, arch::Needs)> {
    static REFERENCE: (&Kernels, arch::Needs) = (&scalar::KERNELS, |_| None);
    core::iter::once(&REFERENCE).chain(arch::SETS)
}

/// Names of all sets that there are for this architecture, `scalar` first.
pub fn names() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    let names = sets().map(|(set, _)| set.name);
    names.filter(move |name| core::mem::replace(&mut last, name) != *name)
}

/// Best set for these features.
pub fn best(features: Features) -> &'static Kernels {
    let usable = sets().rfind(|(_, needs)| needs(features).is_none());
    usable.map_or(&scalar::KERNELS, |(set, _)| set)
}

/// Best set of this name (`scalar`, or one of the processor's: `sse2`, `ssse3`, `avx2`, `avx512`,
/// or `neon`, `dotprod`, `i8mm`) for these features.
///
/// # Errors
/// [`Unavailable`], which displays as a sentence.
pub fn named(name: &str, features: Features) -> Result<&'static Kernels, Unavailable> {
    let mut error = Unavailable::Unknown;
    for (set, needs) in sets().rev().filter(|(set, _)| set.name == name) {
        match needs(features) {
            None => return Ok(set),
            Some(what) => {
                error = Unavailable::Lacking {
                    set: set.name,
                    what,
                }
            }
        }
    }
    Err(error)
}

/// Reads all whole steps of `bytes`.
fn read(bytes: &[u8]) -> u64 {
    let mut sums = [0u64; 16];
    for part in bytes
        .chunks_exact(READ_STEP)
        .flat_map(|step| step.chunks_exact(128))
    {
        for (sum, word) in sums.iter_mut().zip(part.chunks_exact(8)) {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            *sum ^= u64::from_le_bytes(bytes);
        }
    }
    sums.into_iter().fold(0, |all, sum| all ^ sum)
}

/// Factor that values are multiplied with, and the resulting scale, by llama.cpp's rules.
/// `farthest` is the value with the largest magnitude.
fn factor_and_scale(rounding: Rounding, farthest: f32) -> (f32, f32) {
    if farthest == 0.0 {
        return (0.0, 0.0);
    }
    if rounding == Rounding::Q8K {
        let factor = -127.0 / farthest;
        return (factor, 1.0 / factor);
    }
    let largest = farthest.abs();
    (127.0 / largest, F16::from_f32(largest / 127.0).to_f32())
}

#[cfg(test)]
pub(crate) mod tests;
