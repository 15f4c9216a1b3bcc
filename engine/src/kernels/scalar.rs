//! The reference for every operation: plain loops that say what each kernel must compute, and in which order.

use super::{EPSILON, Kernels, panels};
use crate::{
    math,
    matrix::{
        PANEL,
        q8_0::{QUAD, block_bytes, padded},
    },
};

/// The reference set.
pub static KERNELS: Kernels = Kernels {
    name: "scalar",
    matvec_f32,
    matvec_q8,
    quantize,
    add_scaled,
    add,
    rmsnorm,
    softmax,
    swiglu,
    rope,
};

fn matvec_f32(w: &[f32], x: &[f32], out: &mut [f32]) {
    for (panel, out) in panels(w, PANEL * x.len(), out) {
        for (r, out) in out.iter_mut().enumerate() {
            *out = 0.0;
            for (c, x) in x.iter().enumerate() {
                *out += panel[c * PANEL + r] * x;
            }
        }
    }
}

fn matvec_q8(w: &[u8], group: usize, x: &[i8], xs: &[f32], out: &mut [f32]) {
    let block = block_bytes(group);
    for (panel, out) in panels(w, block * xs.len(), out) {
        for (r, out) in out.iter_mut().enumerate() {
            *out = 0.0;
            for (g, scale) in xs.iter().enumerate() {
                let block = &panel[g * block..(g + 1) * block];
                let x = &x[g * padded(group)..(g + 1) * padded(group)];
                let mut sum = 0i32;
                for c in 0..group {
                    let w = block[(c / QUAD * PANEL + r) * QUAD + c % QUAD] as i8;
                    sum += i32::from(w) * i32::from(x[c]);
                }
                let at = PANEL * padded(group) + 4 * r;
                let w_scale =
                    f32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
                *out += sum as f32 * w_scale * scale;
            }
        }
    }
}

fn quantize(x: &[f32], group: usize, quants: &mut [i8], scales: &mut [f32]) {
    quants.fill(0);
    for ((x, quants), scale) in x
        .chunks_exact(group)
        .zip(quants.chunks_exact_mut(padded(group)))
        .zip(scales)
    {
        let largest = x.iter().fold(
            0.0f32,
            |largest, x| if x.abs() > largest { x.abs() } else { largest },
        );
        *scale = largest / 127.0;
        for (quant, x) in quants.iter_mut().zip(x) {
            // A group of zeros has scale 0, and 0/0 turns to 0 in the conversion. A denormal scale is so coarse that the
            // quotient may leave the range.
            *quant = (libm::roundf(x / *scale) as i32).clamp(-127, 127) as i8;
        }
    }
}

fn add_scaled(out: &mut [f32], a: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += a * x;
    }
}

fn add(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

fn rmsnorm(out: &mut [f32], x: &[f32], weight: &[f32]) {
    let squares: f32 = x.iter().fold(0.0, |sum, x| sum + x * x);
    let scale = 1.0 / math::sqrt(squares / x.len() as f32 + EPSILON);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = weight * (scale * x);
    }
}

fn softmax(x: &mut [f32]) {
    let largest = x.iter().fold(
        f32::NEG_INFINITY,
        |largest, &x| if x > largest { x } else { largest },
    );
    let mut sum = 0.0;
    for x in x.iter_mut() {
        *x = math::exp(*x - largest);
        sum += *x;
    }
    for x in x {
        *x /= sum;
    }
}

fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate * (1.0 / (1.0 + math::exp(-*gate))) * up;
    }
}

fn rope(heads: &mut [f32], cos: &[f32], sin: &[f32]) {
    for head in heads.chunks_exact_mut(2 * cos.len()) {
        for i in 0..cos.len() {
            let (a, b) = (head[2 * i], head[2 * i + 1]);
            head[2 * i] = a * cos[i] - b * sin[i];
            head[2 * i + 1] = a * sin[i] + b * cos[i];
        }
    }
}
