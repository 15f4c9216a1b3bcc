//! Reference for every operation: plain loops that define what each kernel must compute, and in
//! which order.

use crate::half::{Bf16, F16};

use super::{AttentionWeights, Kernels, Quantized, read};
use crate::{
    layout::{
        Activations, BLOCK, PANEL, QUAD, Rounding,
        coded::{self, Coded},
        padded, q4_0, q8, q8_0,
    },
    math,
};

/// The reference set.
pub static KERNELS: Kernels = Kernels {
    name: "scalar",
    title: "scalar (reference)",
    f32: |w, x, out| floats(w, x, out, |w| w),
    f16: |w, x, out| floats(w, x, out, |w| F16::from_bits(w).to_f32()),
    bf16: |w, x, out| floats(w, x, out, |w| Bf16::from_bits(w).to_f32()),
    q8,
    q8_0: |w, x, out| blocks(&q8_0::LAYOUT, w, x, out, q8_0_value),
    q4_0: |w, x, out| blocks(&q4_0::LAYOUT, w, x, out, q4_0_value),
    coded,
    quantize,
    weighted_sum_f32: |rows, weights, out, stride| weigh(rows, weights, out, stride, |x| x),
    weighted_sum_f16: |rows, weights, out, stride| {
        weigh(rows, weights, out, stride, |x| F16::from_bits(x).to_f32());
    },
    weighted_sum_q8_0,
    to_f16,
    add,
    rmsnorm,
    softmax,
    swiglu,
    rope,
    argmax,
    read,
};

/// Calls `f(panel, token, results)` for each panel of `w` (`size` elements) and each token.
fn panels<T>(
    w: &[T],
    size: usize,
    tokens: usize,
    out: &mut [f32],
    f: impl Fn(&[T], usize, &mut [f32]),
) {
    let stride = out.len() / tokens;
    for (t, out) in out.chunks_exact_mut(stride).enumerate() {
        for (panel, out) in w.chunks_exact(size).zip(out.chunks_exact_mut(PANEL)) {
            f(panel, t, out);
        }
    }
}

fn floats<T: Copy>(w: &[T], x: &Activations<'_>, out: &mut [f32], value: impl Fn(T) -> f32) {
    panels(w, PANEL * x.cols, x.tokens, out, |panel, t, out| {
        for (r, out) in out.iter_mut().enumerate() {
            *out = 0.0;
            for (c, x) in x.vector(t).iter().enumerate() {
                *out += value(panel[c * PANEL + r]) * x;
            }
        }
    });
}

fn q8(w: &[u8], group: usize, x: &Activations<'_>, out: &mut [f32]) {
    let (groups, block) = (x.cols / group, q8::block_bytes(group));
    panels(w, groups * block, x.tokens, out, |panel, t, out| {
        for (r, out) in out.iter_mut().enumerate() {
            *out = 0.0;
            for g in 0..groups {
                let block = &panel[g * block..(g + 1) * block];
                let x_group = &x.group(t, g, padded(group))[..group];
                let mut sum = 0i32;
                for (c, x) in x_group.iter().enumerate() {
                    let w = block[(c / QUAD * PANEL + r) * QUAD + c % QUAD] as i8;
                    sum += i32::from(w) * i32::from(*x);
                }
                let at = PANEL * padded(group) + 4 * r;
                let w_scale =
                    f32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
                *out += sum as f32 * w_scale * x.scales[t * groups + g];
            }
        }
    });
}

fn q8_0_value(values: &[u8], r: usize, c: usize) -> i32 {
    i32::from(values[(c / QUAD * PANEL + r) * QUAD + c % QUAD] as i8)
}

fn q4_0_value(values: &[u8], r: usize, c: usize) -> i32 {
    let (half, c) = (c / 16, c % 16);
    let byte = values[(c / QUAD * PANEL + r) * QUAD + c % QUAD];
    i32::from((byte >> (4 * half)) & 15) - q4_0::OFFSET
}

fn blocks(
    layout: &q8_0::BlockLayout,
    w: &[u8],
    x: &Activations<'_>,
    out: &mut [f32],
    value: impl Fn(&[u8], usize, usize) -> i32,
) {
    let groups = x.cols / BLOCK;
    let size = layout.panel_bytes(x.cols).unwrap_or(0);
    panels(w, size, x.tokens, out, |panel, t, out| {
        for (r, out) in out.iter_mut().enumerate() {
            *out = 0.0;
            for g in 0..groups {
                let (scale, values) = layout.places(x.cols, r, g);
                let x_group = x.group(t, g, BLOCK);
                let mut sum = 0i32;
                for (c, x) in x_group.iter().enumerate() {
                    sum += value(&panel[values..], r, c) * i32::from(*x);
                }
                let w_scale = F16::from_le_bytes([panel[scale], panel[scale + 1]]).to_f32();
                *out += sum as f32 * w_scale * x.scales[t * groups + g];
            }
        }
    });
}

fn coded(coded: Coded, w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    let shape = coded.shape();
    let size = coded::panel_bytes(&shape, x.cols).unwrap_or(0);
    let width = BLOCK / shape.factors.max(1);
    panels(w, size, x.tokens, out, |panel, t, out| {
        for (r, out) in out.iter_mut().enumerate() {
            *out = 0.0;
            for (b, packed) in panel.chunks_exact(shape.packed_block()).enumerate() {
                let block = coded::get(&shape, packed, r);
                for first in (0..shape.block).step_by(width) {
                    let column = b * shape.block + first;
                    let g = t * (x.cols / BLOCK) + column / BLOCK;
                    let (mut scale, mut minimum) = (block.scale.to_f32(), block.minimum.to_f32());
                    if shape.factors > 0 {
                        scale *= f32::from(block.factors[first / 16]);
                        minimum *= f32::from(block.minima[first / 16]);
                    }
                    let (mut whole, mut sum) = (0, 0);
                    for i in 0..width {
                        let x = i32::from(x.quants[t * x.quant_stride + column + i]);
                        whole += shape.value(block.codes[first + i]) * x;
                        sum += x;
                    }
                    let mut product = whole as f32 * scale;
                    if shape.minima {
                        product += sum as f32 * minimum;
                    }
                    *out += product * x.scales[g];
                }
            }
        }
    });
}

fn quantize(x: &[f32], rounding: Rounding, out: Quantized<'_>) {
    let group = match rounding {
        Rounding::Runq { group } => group,
        Rounding::Q8_0 | Rounding::Q8K => return quantize_as_llama_cpp(x, rounding, out),
    };
    out.quants.fill(0);
    let quants = out.quants.chunks_exact_mut(padded(group));
    for ((((x, quants), scale), sum), lower) in x
        .chunks_exact(group)
        .zip(quants)
        .zip(out.scales)
        .zip(out.sums)
        .zip(out.lower)
    {
        let largest = x.iter().fold(
            0.0f32,
            |largest, x| if x.abs() > largest { x.abs() } else { largest },
        );
        *scale = largest / 127.0;
        (*sum, *lower) = (0, 0);
        for (i, (quant, x)) in quants.iter_mut().zip(x).enumerate() {
            // A group of zeros has scale 0, and 0/0 turns to 0 in the conversion. A denormal scale
            // is so coarse that the quotient may leave the range.
            *quant = (libm::roundf(x / *scale) as i32).clamp(-127, 127) as i8;
            *sum += i32::from(*quant);
            if i < 16 {
                *lower += i32::from(*quant);
            }
        }
    }
}

fn quantize_as_llama_cpp(x: &[f32], rounding: Rounding, out: Quantized<'_>) {
    let shared = rounding.shared();
    for (i, x) in x.chunks_exact(shared).enumerate() {
        let mut farthest = 0.0f32;
        for x in x {
            if x.abs() > farthest.abs() {
                farthest = *x;
            }
        }
        let (factor, scale) = super::factor_and_scale(rounding, farthest);
        for (j, x) in x.iter().enumerate() {
            let value = libm::rintf(factor * x) as i32;
            out.quants[i * shared + j] = value.clamp(-127, 127) as i8;
        }
        for g in i * shared / BLOCK..(i + 1) * shared / BLOCK {
            let sum = |quants: &[i8]| quants.iter().map(|&quant| i32::from(quant)).sum();
            out.scales[g] = scale;
            out.sums[g] = sum(&out.quants[g * BLOCK..][..BLOCK]);
            out.lower[g] = sum(&out.quants[g * BLOCK..][..BLOCK / 2]);
        }
    }
}

fn weigh<T: Copy>(
    rows: &[T],
    weights: &AttentionWeights<'_>,
    out: &mut [f32],
    stride: usize,
    value: impl Fn(T) -> f32,
) {
    for t in 0..weights.tokens {
        let out = &mut out[t * stride..][..weights.width];
        let weights_of = &weights.values[t * weights.stride..][..weights.rows];
        for (row, weight) in rows.chunks(weights.row_stride).zip(weights_of) {
            for (out, x) in out.iter_mut().zip(row) {
                *out += weight * value(*x);
            }
        }
    }
}

fn weighted_sum_q8_0(rows: &[u8], weights: &AttentionWeights<'_>, out: &mut [f32], stride: usize) {
    let row_bytes = weights.row_stride / BLOCK * q8_0::FILE_BLOCK;
    for t in 0..weights.tokens {
        for c in 0..weights.width {
            let (block, place) = (c / BLOCK * q8_0::FILE_BLOCK, 2 + c % BLOCK);
            let mut sum = out[t * stride + c];
            for i in 0..weights.rows {
                let block = &rows[i * row_bytes + block..];
                let scale = F16::from_le_bytes([block[0], block[1]]).to_f32();
                let scale = weights.values[t * weights.stride + i] * scale;
                sum += scale * f32::from(block[place] as i8);
            }
            out[t * stride + c] = sum;
        }
    }
}

fn to_f16(x: &[f32], out: &mut [u16]) {
    for (x, out) in x.iter().zip(out) {
        *out = F16::from_f32(*x).to_bits();
    }
}

fn add(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

fn rmsnorm(out: &mut [f32], x: &[f32], weight: &[f32], epsilon: f32) {
    let squares: f32 = x.iter().fold(0.0, |sum, x| sum + x * x);
    let scale = 1.0 / math::sqrt(squares / x.len() as f32 + epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = weight * (scale * x);
    }
}

fn softmax(x: &mut [f32], divisor: f32) {
    let mut largest = f32::NEG_INFINITY;
    for x in x.iter_mut() {
        *x /= divisor;
        if *x > largest {
            largest = *x;
        }
    }
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

fn rope(values: &mut [f32], cos: &[f32], sin: &[f32]) {
    for i in (0..values.len()).step_by(2) {
        let (a, b) = (values[i], values[i + 1]);
        values[i] = a * cos[i] + b * sin[i];
        values[i + 1] = b * cos[i + 1] + a * sin[i + 1];
    }
}

fn argmax(x: &[f32]) -> usize {
    let mut best = 0;
    for (i, value) in x.iter().enumerate() {
        if *value > x[best] {
            best = i;
        }
    }
    best
}
