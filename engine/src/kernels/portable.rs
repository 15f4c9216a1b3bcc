//! Kernels in plain Rust, shaped so that the compiler vectorises them for whatever the target has at least (SSE2, NEON).
//!
//! Sixteen sums stand side by side in an array, which LLVM keeps in vector registers; one sum alone it would never
//! reorder, hence never vectorise.

use super::{Kernels, panels, scalar};
use crate::{
    math,
    matrix::{
        PANEL,
        q8_0::{QUAD, block_bytes, padded},
    },
};

/// The portable set.
pub static KERNELS: Kernels = Kernels {
    name: NAME,
    matvec_f32,
    matvec_q8,
    quantize,
    add_scaled: scalar::KERNELS.add_scaled,
    add: scalar::KERNELS.add,
    rmsnorm: scalar::KERNELS.rmsnorm,
    softmax,
    swiglu: scalar::KERNELS.swiglu,
    rope: scalar::KERNELS.rope,
};

const NAME: &str = if cfg!(target_arch = "x86_64") {
    "SSE2 (portable)"
} else if cfg!(target_arch = "aarch64") {
    "NEON (portable)"
} else {
    "portable"
};

fn matvec_f32(w: &[f32], x: &[f32], out: &mut [f32]) {
    for (panel, out) in panels(w, PANEL * x.len(), out) {
        let mut sums = [0.0f32; PANEL];
        for (column, &x) in panel.chunks_exact(PANEL).zip(x) {
            for (sum, w) in sums.iter_mut().zip(column) {
                *sum += w * x;
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
}

fn matvec_q8(w: &[u8], group: usize, x: &[i8], xs: &[f32], out: &mut [f32]) {
    let block = block_bytes(group);
    for (panel, out) in panels(w, block * xs.len(), out) {
        let mut sums = [0.0f32; PANEL];
        for ((block, x), &scale) in panel
            .chunks_exact(block)
            .zip(x.chunks_exact(padded(group)))
            .zip(xs)
        {
            let (values, scales) = block.split_at(PANEL * padded(group));
            let mut whole = [0i32; PANEL];
            for (quad, x) in values.chunks_exact(PANEL * QUAD).zip(x.chunks_exact(QUAD)) {
                for (sum, w) in whole.iter_mut().zip(quad.chunks_exact(QUAD)) {
                    for i in 0..QUAD {
                        *sum += i32::from(w[i] as i8) * i32::from(x[i]);
                    }
                }
            }
            for ((sum, whole), w) in sums.iter_mut().zip(whole).zip(scales.chunks_exact(4)) {
                *sum += whole as f32 * f32::from_le_bytes([w[0], w[1], w[2], w[3]]) * scale;
            }
        }
        out.copy_from_slice(&sums[..out.len()]);
    }
}

fn quantize(x: &[f32], group: usize, quants: &mut [i8], scales: &mut [f32]) {
    for ((x, quants), scale) in x
        .chunks_exact(group)
        .zip(quants.chunks_exact_mut(padded(group)))
        .zip(scales)
    {
        let mut largest = 0.0f32;
        for x in x {
            largest = if x.abs() > largest { x.abs() } else { largest };
        }
        *scale = largest / 127.0;
        let (values, padding) = quants.split_at_mut(group);
        for (quant, x) in values.iter_mut().zip(x) {
            // Halves away from zero: cut off, then one step outwards if at least a half was lost (the difference is exact).
            let value = x / *scale;
            let cut = value as i32;
            let lost = value - cut as f32;
            let rounded = cut.saturating_add(i32::from(lost >= 0.5) - i32::from(lost <= -0.5));
            *quant = rounded.clamp(-127, 127) as i8;
        }
        padding.fill(0);
    }
}

fn softmax(x: &mut [f32]) {
    let mut largest = [f32::NEG_INFINITY; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for chunk in whole {
        for i in 0..16 {
            largest[i] = if chunk[i] > largest[i] {
                chunk[i]
            } else {
                largest[i]
            };
        }
    }
    let largest =
        largest.iter().chain(rest).fold(
            f32::NEG_INFINITY,
            |largest, &x| if x > largest { x } else { largest },
        );
    for x in x.iter_mut() {
        *x = math::exp(*x - largest);
    }
    let sum: f32 = x.iter().fold(0.0, |sum, x| sum + x);
    for x in x {
        *x /= sum;
    }
}
