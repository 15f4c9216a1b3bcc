//! Quantisation to GGUF's coded types: the steps of ggml's `quantize_row_*_ref`, without an
//! importance matrix.

use crate::half::F16;

use crate::layout::{
    BLOCK,
    coded::{Block, Coded},
};

/// Numbers below this count as zero (ggml's `GROUP_MAX_EPS`).
const NOTHING: f32 = 1e-15;

/// Integer nearest to `x`, half to even.
fn nearest(x: f32) -> i32 {
    // Where numbers lie one apart.
    const APART: f32 = 12_582_912.0;
    (x.clamp(-4e6, 4e6) + APART - APART) as i32
}

/// 1/x, and 0 for 0.
fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

/// Quantises the numbers of a block.
///
/// # Panics
/// If the type cannot be written: Q2_K, Q3_K, IQ4_NL, IQ4_XS.
pub(super) fn block(coded: Coded, x: &[f32]) -> Block {
    let mut block = Block::new(&coded.shape());
    match coded {
        Coded::Q4_1 => between(x, 15, &mut block),
        Coded::Q5_1 => between(x, 31, &mut block),
        Coded::Q5_0 => symmetric(x, &mut block),
        // Size and start of the search (ggml's `nstep` and `rmin`).
        Coded::Q4K => scaled_with_minima(x, 15, (21, -1.0), &mut block),
        Coded::Q5K => scaled_with_minima(x, 31, (16, -0.5), &mut block),
        Coded::Q6K => scaled(x, &mut block),
        Coded::Q2K | Coded::Q3K | Coded::Iq4Nl | Coded::Iq4Xs => {
            panic!("nothing quantises to {}", coded.name())
        }
    }
    block
}

/// Quantises in `most` steps from the smallest number to the largest.
fn between(x: &[f32], most: u8, block: &mut Block) {
    let smallest = x.iter().fold(f32::MAX, |a, &b| if b < a { b } else { a });
    let largest = x.iter().fold(-f32::MAX, |a, &b| if b > a { b } else { a });
    let scale = (largest - smallest) / f32::from(most);
    let inverse = inverse(scale);
    (block.scale, block.minimum) = (F16::from_f32(scale), F16::from_f32(smallest));
    for (code, x) in block.codes.iter_mut().zip(x) {
        *code = (((x - smallest) * inverse + 0.5) as u8).min(most);
    }
}

/// Quantises so that the number with the largest magnitude becomes -16, with its sign in the scale.
fn symmetric(x: &[f32], block: &mut Block) {
    let mut farthest = 0.0f32;
    for x in x {
        if x.abs() > farthest.abs() {
            farthest = *x;
        }
    }
    let scale = farthest / -16.0;
    let inverse = inverse(scale);
    block.scale = F16::from_f32(scale);
    for (code, x) in block.codes.iter_mut().zip(x) {
        *code = ((x * inverse + 16.5) as i8).clamp(0, 31) as u8;
    }
}

/// Q4_K and Q5_K: finds the best scale and minimum for every 32 numbers, quantises these in 63
/// steps of the largest ones, and computes the codes again.
fn scaled_with_minima(x: &[f32], most: u8, search: (usize, f32), block: &mut Block) {
    let (mut scales, mut minima) = ([0.0f32; 8], [0.0f32; 8]);
    let parts = x.as_chunks::<BLOCK>().0.iter();
    let codes = block.codes.chunks_exact_mut(BLOCK);
    for (((x, codes), scale), minimum) in parts.zip(codes).zip(&mut scales).zip(&mut minima) {
        (*scale, *minimum) = scale_and_minimum(x, most, search, codes);
    }
    let largest = |of: &[f32]| of.iter().fold(0.0f32, |a, &b| if b > a { b } else { a });
    let (largest_scale, largest_minimum) = (largest(&scales), largest(&minima));
    let steps = |largest: f32| if largest > 0.0 { 63.0 / largest } else { 0.0 };
    for i in 0..8 {
        let step = |largest, x| nearest(steps(largest) * x).min(63) as i8;
        block.factors[2 * i..][..2].fill(step(largest_scale, scales[i]));
        block.minima[2 * i..][..2].fill(step(largest_minimum, minima[i]));
    }
    block.scale = F16::from_f32(largest_scale / 63.0);
    block.minimum = -F16::from_f32(largest_minimum / 63.0);
    for (i, (code, x)) in block.codes.iter_mut().zip(x).enumerate() {
        let scale = block.scale.to_f32() * f32::from(block.factors[i / 16]);
        let minimum = block.minimum.to_f32() * f32::from(block.minima[i / 16]);
        if scale != 0.0 {
            *code = nearest((x - minimum) / scale).clamp(0, i32::from(most)) as u8;
        }
    }
}

/// Finds the scale and the negated minimum (at least 0) with the smallest weighted squared error,
/// by searching over the number of steps; returns them with the codes. Weights grow with the
/// magnitude of the numbers, relative to their mean (ggml's `make_qkx2_quants`).
fn scale_and_minimum(
    x: &[f32; BLOCK],
    most: u8,
    (tries, first): (usize, f32),
    codes: &mut [u8],
) -> (f32, f32) {
    let squares: f32 = x.iter().fold(0.0, |sum, x| sum + x * x);
    let mean = crate::math::sqrt(squares / BLOCK as f32);
    let weights = x.map(|x| mean + x.abs());
    let (mut minimum, mut largest) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (0.0, 0.0);
    for (x, w) in x.iter().zip(weights) {
        minimum = if *x < minimum { *x } else { minimum };
        largest = if *x > largest { *x } else { largest };
        sum_w += w;
        sum_x += w * x;
    }
    minimum = minimum.min(0.0);
    if largest == minimum {
        codes.fill(0);
        return (0.0, -minimum);
    }
    let steps = f32::from(most);
    let code = |steps: f32, minimum: f32, x: f32| {
        nearest(steps / (largest - minimum) * (x - minimum)).clamp(0, i32::from(most)) as u8
    };
    let error = |codes: &[u8], scale: f32, minimum: f32| {
        let each = x.iter().zip(weights).zip(codes);
        each.fold(0.0, |sum, ((x, w), code)| {
            let off = scale * f32::from(*code) + minimum - x;
            sum + w * (off * off)
        })
    };
    for (to, x) in codes.iter_mut().zip(x) {
        *to = code(steps, minimum, *x);
    }
    let mut scale = 1.0 / (steps / (largest - minimum));
    let mut best = error(codes, scale, minimum);
    let mut tried = [0; BLOCK];
    for i in 0..tries {
        let (mut sum_l, mut sum_l2, mut sum_xl) = (0.0, 0.0, 0.0);
        for ((to, x), w) in tried.iter_mut().zip(x).zip(weights) {
            *to = code(first + 0.1 * i as f32 + steps, minimum, *x);
            let l = f32::from(*to);
            sum_l += w * l;
            sum_l2 += w * l * l;
            sum_xl += w * l * x;
        }
        let determinant = sum_w * sum_l2 - sum_l * sum_l;
        if determinant > 0.0 {
            let mut this_scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
            let mut this_minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
            if this_minimum > 0.0 {
                (this_minimum, this_scale) = (0.0, sum_xl / sum_l2);
            }
            let this = error(&tried, this_scale, this_minimum);
            if this < best {
                codes.copy_from_slice(&tried);
                (best, scale, minimum) = (this, this_scale, this_minimum);
            }
        }
    }
    (scale, -minimum)
}

/// Q6_K: finds the best scale for every 16 numbers, quantises these in 128 steps of the largest
/// one, and computes the codes again.
fn scaled(x: &[f32], block: &mut Block) {
    const HALF: i32 = 32;
    let mut scales = [0.0f32; 16];
    let parts = x.as_chunks::<16>().0.iter();
    let codes = block.codes.chunks_exact_mut(16);
    for ((x, codes), scale) in parts.zip(codes).zip(&mut scales) {
        *scale = best_scale(x, HALF, codes);
    }
    let farthest = scales
        .iter()
        .fold(0.0f32, |a: f32, &b| if b.abs() > a.abs() { b } else { a });
    if farthest.abs() < NOTHING {
        (block.codes, block.factors) = ([0; 256], [0; 16]);
        return;
    }
    let steps = -128.0 / farthest;
    block.scale = F16::from_f32(1.0 / steps);
    block.factors = scales.map(|scale| nearest(steps * scale).min(127) as i8);
    for (i, (code, x)) in block.codes.iter_mut().zip(x).enumerate() {
        let scale = block.scale.to_f32() * f32::from(block.factors[i / 16]);
        if scale != 0.0 {
            *code = (nearest(x / scale).clamp(-HALF, HALF - 1) + HALF) as u8;
        }
    }
}

/// Finds the scale with the smallest squared error, weighted by the numbers' squares, by searching
/// over the number of steps; fills in the codes (ggml's `make_qx_quants`).
fn best_scale(x: &[f32; 16], half: i32, codes: &mut [u8]) -> f32 {
    let farthest = x
        .iter()
        .fold(0.0f32, |a: f32, &b| if b.abs() > a.abs() { b } else { a });
    if farthest.abs() < NOTHING {
        codes.fill(0);
        return 0.0;
    }
    let (mut scale, mut best) = (0.0, f32::NEG_INFINITY);
    let tries = core::iter::once(0).chain((-9..=9).filter(|i| *i != 0));
    for i in tries {
        let steps = -(half as f32 + 0.1 * i as f32) / farthest;
        let level = |x: f32| nearest(steps * x).clamp(-half, half - 1);
        let (mut sum_lx, mut sum_l2) = (0.0f32, 0.0f32);
        for x in x {
            let (w, l) = (x * x, level(*x) as f32);
            sum_lx += w * x * l;
            sum_l2 += w * l * l;
        }
        let first = best == f32::NEG_INFINITY;
        if first || sum_l2 > 0.0 && sum_lx * sum_lx > best * sum_l2 {
            for (code, x) in codes.iter_mut().zip(x) {
                *code = (level(*x) + half) as u8;
            }
            scale = if sum_l2 == 0.0 { 0.0 } else { sum_lx / sum_l2 };
            best = scale * sum_lx;
        }
    }
    scale
}
