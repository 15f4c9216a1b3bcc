//! Operations over plain vectors, in Rust shaped so that the compiler vectorises it: sixteen
//! numbers stand side by side in an array and stay in vector registers. (A single sum cannot be
//! vectorised, because its order must not change.) Every set recompiles them for its vector unit.

use super::Quantized;
use crate::{
    layout::{BLOCK, Rounding, padded},
    math,
};

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
