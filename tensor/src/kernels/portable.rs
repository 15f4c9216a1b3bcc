//! Kernels in plain Rust, shaped so that the compiler vectorises them for the target's baseline
//! (SSE2, NEON).
//!
//! Sixteen sums stand side by side in an array, which LLVM keeps in vector registers; a single sum
//! could not be reordered and hence not be vectorised. The functions over plain vectors are also
//! inlined into the sets for wider vectors, which recompile them.

use crate::half::{Bf16, F16};

use super::{AttentionWeights, Kernels, Quantized, panels, read, scalar};
use crate::{
    layout::{
        Activations, BLOCK, PANEL, QUAD, Rounding,
        coded::{self, Coded, Kind, LINE, Shape},
        padded, q4_0, q8, q8_0,
    },
    math,
};

/// The portable set.
pub static KERNELS: Kernels = Kernels {
    name: "portable",
    title: "portable",
    f32: |w, x, out| floats(w, x, out, |w| w),
    f16: |w, x, out| floats(w, x, out, |w| F16::from_bits(w).to_f32()),
    bf16: |w, x, out| floats(w, x, out, |w| Bf16::from_bits(w).to_f32()),
    q8,
    q8_0: blocks_q8_0,
    q4_0: blocks_q4_0,
    coded,
    quantize: |x, rounding, out| quantize(x, rounding, out),
    weighted_sum_f32: scalar::KERNELS.weighted_sum_f32,
    weighted_sum_f16: scalar::KERNELS.weighted_sum_f16,
    weighted_sum_q8_0: |rows, weights, out, stride| weighted_sum_q8_0(rows, weights, out, stride),
    to_f16: scalar::KERNELS.to_f16,
    add: |out, x| add(out, x),
    rmsnorm: |out, x, weight, epsilon| rmsnorm(out, x, weight, epsilon),
    softmax: |x, divisor| softmax(x, divisor),
    swiglu: |gate, up| swiglu(gate, up),
    rope: |values, cos, sin| rope(values, cos, sin),
    argmax: |x| argmax(x),
    read,
};

fn floats<T: Copy>(w: &[T], x: &Activations<'_>, out: &mut [f32], value: impl Fn(T) -> f32) {
    panels(w, PANEL * x.cols, x.tokens, out, |panel, t, out| {
        let mut sums = [0.0f32; PANEL];
        for (column, &x) in panel.chunks_exact(PANEL).zip(x.vector(t)) {
            for (sum, w) in sums.iter_mut().zip(column) {
                *sum += value(*w) * x;
            }
        }
        out.copy_from_slice(&sums);
    });
}

/// Adds the products of four columns to the sums of 16 rows.
#[inline(always)]
fn quad(sums: &mut [i32; PANEL], x: &[i8], value: impl Fn(usize) -> i8) {
    for (r, sum) in sums.iter_mut().enumerate() {
        for (i, x) in x.iter().enumerate().take(QUAD) {
            *sum += i32::from(value(r * QUAD + i)) * i32::from(*x);
        }
    }
}

fn q8(w: &[u8], group: usize, x: &Activations<'_>, out: &mut [f32]) {
    let (groups, block) = (x.cols / group, q8::block_bytes(group));
    panels(w, groups * block, x.tokens, out, |panel, t, out| {
        let mut sums = [0.0f32; PANEL];
        for (g, block) in panel.chunks_exact(block).enumerate() {
            let (values, scales) = block.split_at(PANEL * padded(group));
            let x_group = x.group(t, g, padded(group));
            let g = t * groups + g;
            let mut whole = [0i32; PANEL];
            for (w, x) in values
                .chunks_exact(PANEL * QUAD)
                .zip(x_group.chunks_exact(QUAD))
            {
                quad(&mut whole, x, |i| w[i] as i8);
            }
            for ((sum, whole), w) in sums.iter_mut().zip(whole).zip(scales.chunks_exact(4)) {
                let w_scale = f32::from_le_bytes([w[0], w[1], w[2], w[3]]);
                *sum += whole as f32 * w_scale * x.scales[g];
            }
        }
        out.copy_from_slice(&sums);
    });
}

fn blocks_q8_0(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    blocks(&q8_0::LAYOUT, w, x, out, |values, x, whole| {
        for (w, x) in values.chunks_exact(PANEL * QUAD).zip(x.chunks_exact(QUAD)) {
            quad(whole, x, |i| w[i] as i8);
        }
    });
}

fn blocks_q4_0(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    blocks(&q4_0::LAYOUT, w, x, out, |values, x, whole| {
        let (lower, upper) = x.split_at(BLOCK / 2);
        let quads = lower.chunks_exact(QUAD).zip(upper.chunks_exact(QUAD));
        for (w, (lower, upper)) in values.chunks_exact(PANEL * QUAD).zip(quads) {
            quad(whole, lower, |i| (w[i] & 15) as i8 - q4_0::OFFSET as i8);
            quad(whole, upper, |i| (w[i] >> 4) as i8 - q4_0::OFFSET as i8);
        }
    });
}

#[inline(always)]
fn blocks(
    layout: &q8_0::BlockLayout,
    w: &[u8],
    x: &Activations<'_>,
    out: &mut [f32],
    products: impl Fn(&[u8], &[i8], &mut [i32; PANEL]),
) {
    let groups = x.cols / BLOCK;
    let size = layout.panel_bytes(x.cols).unwrap_or(0);
    panels(w, size, x.tokens, out, |panel, t, out| {
        let mut sums = [0.0f32; PANEL];
        for g in 0..groups {
            let (scales, values) = layout.places(x.cols, 0, g);
            let x_group = x.group(t, g, BLOCK);
            let g = t * groups + g;
            let mut whole = [0i32; PANEL];
            products(&panel[values..][..layout.values], x_group, &mut whole);
            let scales = panel[scales..][..2 * PANEL].chunks_exact(2);
            for ((sum, whole), w) in sums.iter_mut().zip(whole).zip(scales) {
                *sum += whole as f32 * F16::from_le_bytes([w[0], w[1]]).to_f32() * x.scales[g];
            }
        }
        out.copy_from_slice(&sums);
    });
}

fn coded(coded: Coded, w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    coded::with_kind!(coded, K => coded_panels::<K>(w, x, out));
}

fn coded_panels<K: Kind>(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    let shape = const { K::CODED.shape() };
    let size = coded::panel_bytes(&shape, x.cols).unwrap_or(0);
    // Quads that share a factor: all eight of a part, or four.
    let quads = if shape.factors == 2 { 4 } else { 8 };
    panels(w, size, x.tokens, out, |panel, t, out| {
        let mut sums = [0.0f32; PANEL];
        for (b, block) in panel.chunks_exact(shape.packed_block()).enumerate() {
            let halves = |at: usize| {
                let bytes = block[at..].as_chunks::<2>().0;
                core::array::from_fn(|r| F16::from_le_bytes(bytes[r]).to_f32())
            };
            let (scales, minima): ([f32; PANEL], [f32; PANEL]) = (halves(0), halves(2 * PANEL));
            for (p, part) in block[shape.head()..].chunks_exact(shape.part()).enumerate() {
                let g = b * shape.parts() + p;
                let x_group = x.group(t, g, BLOCK);
                let g = t * (x.cols / BLOCK) + g;
                for first in (0..BLOCK / QUAD).step_by(quads) {
                    let mut whole = [0i32; PANEL];
                    let x_quads = x_group.chunks_exact(QUAD).enumerate();
                    for (q, x) in x_quads.skip(first).take(quads) {
                        let values = values(&shape, part, q);
                        quad(&mut whole, x, |i| values[i]);
                    }
                    let sum = match (quads, first) {
                        (8, _) => x.sums[g],
                        (_, 0) => x.lower[g],
                        _ => x.sums[g] - x.lower[g],
                    } as f32;
                    let i = p * shape.factors + first / quads;
                    for (r, (out, whole)) in sums.iter_mut().zip(whole).enumerate() {
                        let (mut scale, mut minimum) = (scales[r], minima[r]);
                        if shape.factors > 0 {
                            let factor = |at: usize| f32::from(block[at + i * PANEL + r] as i8);
                            scale *= factor(LINE);
                            if shape.minima {
                                minimum *= factor(shape.minima_at());
                            }
                        }
                        let mut product = whole as f32 * scale;
                        if shape.minima {
                            product += sum * minimum;
                        }
                        *out += product * x.scales[g];
                    }
                }
            }
        }
        out.copy_from_slice(&sums);
    });
}

/// Values of quad `q` of a part's codes, for each of 16 rows.
#[inline(always)]
fn values(shape: &Shape, part: &[u8], q: usize) -> [i8; LINE] {
    let (mut codes, mut at, mut to) = ([0u8; LINE], 0, 0);
    let mut plane = |start: usize, shift: usize, bits: usize| {
        for (code, byte) in codes.iter_mut().zip(&part[start..start + LINE]) {
            *code |= (byte >> shift & ((1 << bits) - 1)) << to;
        }
        at += bits * LINE;
        to += bits;
        at
    };
    let mut start = 0;
    if shape.four {
        start = plane(q % 4 * LINE, q / 4 * 4, 4);
    }
    if shape.two {
        start = plane(start + q / 4 * LINE, q % 4 * 2, 2);
    }
    if shape.one {
        plane(start, q, 1);
    }
    codes.map(|code| {
        if shape.table {
            coded::TABLE[usize::from(code)]
        } else {
            code as i8 - shape.offset as i8
        }
    })
}

#[inline(always)]
pub(super) fn quantize(x: &[f32], rounding: Rounding, out: Quantized<'_>) {
    let group = match rounding {
        Rounding::Runq { group } => group,
        Rounding::Q8_0 => return quantize_as_llama_cpp::<BLOCK>(x, rounding, out),
        Rounding::Q8K => return quantize_as_llama_cpp::<256>(x, rounding, out),
    };
    let quants = out.quants.chunks_exact_mut(padded(group));
    for ((((x, quants), scale), sum), lower) in x
        .chunks_exact(group)
        .zip(quants)
        .zip(out.scales)
        .zip(out.sums)
        .zip(out.lower)
    {
        let mut largest = [0.0f32; 16];
        let (whole, rest) = x.as_chunks::<16>();
        for chunk in whole {
            for (largest, x) in largest.iter_mut().zip(chunk) {
                *largest = if x.abs() > *largest {
                    x.abs()
                } else {
                    *largest
                };
            }
        }
        let largest = largest.iter().chain(rest).fold(0.0f32, |largest, x| {
            if x.abs() > largest { x.abs() } else { largest }
        });
        *scale = largest / 127.0;
        let (values, padding) = quants.split_at_mut(group);
        for (quant, x) in values.iter_mut().zip(x) {
            // Halves away from zero: cut off, then one step outwards if at least a half was lost
            // (the difference is exact).
            let value = x / *scale;
            let cut = value as i32;
            let lost = value - cut as f32;
            let rounded = cut.saturating_add(i32::from(lost >= 0.5) - i32::from(lost <= -0.5));
            *quant = rounded.clamp(-127, 127) as i8;
        }
        padding.fill(0);
        let total = |values: &[i8]| values.iter().map(|&quant| i32::from(quant)).sum();
        (*sum, *lower) = (total(values), total(&values[..group.min(16)]));
    }
}

#[inline(always)]
fn quantize_as_llama_cpp<const SHARED: usize>(x: &[f32], rounding: Rounding, out: Quantized<'_>) {
    /// 1.5·2²³, where consecutive floats are one apart: adding and subtracting it rounds half to
    /// even.
    const APART: f32 = 12_582_912.0;
    let all = x.as_chunks::<SHARED>().0.iter();
    let quants = out.quants.as_chunks_mut::<SHARED>().0;
    let groups = SHARED / BLOCK;
    let scales = out.scales.chunks_exact_mut(groups);
    let sums = out.sums.chunks_exact_mut(groups);
    let places = scales.zip(sums).zip(out.lower.chunks_exact_mut(groups));
    for ((x, quants), ((scales, sums), lower)) in all.zip(quants).zip(places) {
        let mut largest = [0.0f32; 16];
        for chunk in x.as_chunks::<16>().0 {
            for (largest, x) in largest.iter_mut().zip(chunk) {
                *largest = if x.abs() > *largest {
                    x.abs()
                } else {
                    *largest
                };
            }
        }
        let largest = largest
            .iter()
            .fold(0.0f32, |a, &b| if b > a { b } else { a });
        // The first of equals, with its sign.
        let farthest = match rounding {
            Rounding::Q8K => x.iter().find(|x| x.abs() == largest).copied(),
            _ => Some(largest),
        };
        let (factor, scale) = super::factor_and_scale(rounding, farthest.unwrap_or(0.0));
        for (quant, x) in quants.iter_mut().zip(x) {
            let value = factor * x;
            let value = if value > 127.0 { 127.0 } else { value };
            let value = if value < -127.0 { -127.0 } else { value };
            // NaN becomes 0.
            let value = if value.is_nan() { 0.0 } else { value };
            // Safety: it is between -127 and 127.
            *quant = unsafe { (value + APART - APART).to_int_unchecked::<i32>() } as i8;
        }
        scales.fill(scale);
        let total = |values: &[i8]| values.iter().map(|&quant| i32::from(quant)).sum();
        let groups = quants.as_chunks::<BLOCK>().0.iter().zip(sums).zip(lower);
        for ((quants, sum), lower) in groups {
            (*sum, *lower) = (total(quants), total(&quants[..BLOCK / 2]));
        }
    }
}

#[inline(always)]
pub(super) fn add(out: &mut [f32], x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}

#[inline(always)]
fn weighted_sum_q8_0(rows: &[u8], weights: &AttentionWeights<'_>, out: &mut [f32], stride: usize) {
    let row_bytes = weights.row_stride / BLOCK * q8_0::FILE_BLOCK;
    for t in 0..weights.tokens {
        let out = &mut out[t * stride..][..weights.width];
        let weights = &weights.values[t * weights.stride..][..weights.rows];
        for (row, weight) in rows.chunks(row_bytes).zip(weights) {
            let blocks = row.as_chunks::<{ q8_0::FILE_BLOCK }>().0;
            let out = out.as_chunks_mut::<BLOCK>().0;
            for (block, out) in blocks.iter().zip(out) {
                let scale = weight * F16::from_le_bytes([block[0], block[1]]).to_f32();
                for (out, value) in out.iter_mut().zip(&block[2..]) {
                    *out += scale * f32::from(*value as i8);
                }
            }
        }
    }
}

#[inline(always)]
pub(super) fn rmsnorm(out: &mut [f32], x: &[f32], weight: &[f32], epsilon: f32) {
    let mut sum = 0.0;
    for x in x {
        sum += x * x;
    }
    let scale = 1.0 / math::sqrt(sum / x.len() as f32 + epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = weight * (scale * x);
    }
}

/// Larger of two numbers; `a` if `b` is NaN.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// The largest number; minus infinity if there is none.
#[inline(always)]
fn largest(x: &[f32]) -> f32 {
    let mut largest = [f32::NEG_INFINITY; 64];
    let (whole, rest) = x.as_chunks::<64>();
    for chunk in whole {
        for (largest, x) in largest.iter_mut().zip(chunk) {
            *largest = larger(*largest, *x);
        }
    }
    let all = largest.iter().chain(rest).copied();
    all.fold(f32::NEG_INFINITY, larger)
}

#[inline(always)]
pub(super) fn softmax(x: &mut [f32], divisor: f32) {
    x.iter_mut().for_each(|x| *x /= divisor);
    let largest = largest(x);
    let (whole, rest) = x.as_chunks_mut::<16>();
    // The sum waits for each addition; the next sixteen powers are worked out meanwhile.
    let mut sum = 0.0;
    for chunk in whole.iter_mut() {
        for x in chunk.iter_mut() {
            *x = math::exp(*x - largest);
        }
        for x in chunk {
            sum += *x;
        }
    }
    for x in rest {
        *x = math::exp(*x - largest);
        sum += *x;
    }
    for x in x {
        *x /= sum;
    }
}

#[inline(always)]
pub(super) fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate * (1.0 / (1.0 + math::exp(-*gate))) * up;
    }
}

#[inline(always)]
pub(super) fn rope(values: &mut [f32], cos: &[f32], sin: &[f32]) {
    let angles = cos.as_chunks::<2>().0.iter().zip(sin.as_chunks::<2>().0);
    for ([a, b], (cos, sin)) in values.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
        (*a, *b) = (*a * cos[0] + *b * sin[0], *b * cos[1] + *a * sin[1]);
    }
}

#[inline(always)]
pub(super) fn argmax(x: &[f32]) -> usize {
    let largest = largest(x);
    // A first number that is not one stays the best: nothing is larger.
    match x.first() {
        Some(first) if !first.is_nan() => x.iter().position(|x| *x == largest).unwrap_or(0),
        _ => 0,
    }
}
