//! The matrix kernel of GGUF's coded weights over sixteen lanes, one a row of a panel, one for all ten types.

// Tiles are small arrays whose indices say which token.
#![allow(clippy::needless_range_loop)]

use super::{check, lanes::Lanes, tiles::Ahead};
use crate::matrix::{
    Activations, BLOCK, PANEL, QUAD,
    coded::{self, Coded, Kind, LINE, Shape, TABLE},
};

/// Products of panels of coded weights.
///
/// # Safety
/// The unit is there.
#[inline(always)]
pub(super) unsafe fn coded<L: Lanes>(coded: Coded, w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    // Safety: as the caller says.
    unsafe { coded::with_kind!(coded, K => all_panels::<L, K>(w, x, out)) }
}

/// Those of one type.
///
/// # Safety
/// The unit is there.
#[inline(always)]
unsafe fn all_panels<L: Lanes, K: Kind>(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    let size = coded::panel_bytes(&K::CODED.shape(), x.cols).unwrap_or(usize::MAX);
    let panels = check(w, size, Some(BLOCK), x, out);
    for panel in 0..panels {
        // Safety: `check` has looked at the lengths.
        unsafe {
            let w = w.as_ptr().add(panel * size);
            let out = out.as_mut_ptr().add(panel * PANEL);
            let mut token = 0;
            // Few sizes of tiles: there are ten types, and each is compiled for each unit.
            while token < x.tokens {
                let left = x.tokens - token;
                let place = (out.add(token * panels * PANEL), panels * PANEL);
                let count = [12, 6, 3, 1]
                    .into_iter()
                    .find(|&n| n <= left && n <= L::TILE);
                let ahead = Ahead::of(w, size, token, count.unwrap_or(1), x.tokens);
                match count {
                    Some(12) => tile::<L, K, 12>(w, x, token, place, ahead),
                    Some(6) => tile::<L, K, 6>(w, x, token, place, ahead),
                    Some(3) => tile::<L, K, 3>(w, x, token, place, ahead),
                    _ => tile::<L, K, 1>(w, x, token, place, ahead),
                }
                token += count.unwrap_or(1);
            }
        }
    }
}

/// One panel times `T` tokens from `token` on.
///
/// # Safety
/// As in [`coded()`]; `w` is at the panel's beginning, `out` at the place of the first token's sums.
#[inline(always)]
unsafe fn tile<L: Lanes, K: Kind, const T: usize>(
    w: *const u8,
    x: &Activations<'_>,
    token: usize,
    (out, out_stride): (*mut f32, usize),
    ahead: Ahead,
) {
    let shape = const { K::CODED.shape() };
    let each = ahead.bytes / (x.cols / BLOCK);
    // Safety: inside of what `check` has looked at.
    unsafe {
        let mut sums = [L::zero(); T];
        for b in 0..x.cols / shape.block {
            let block = w.add(b * shape.packed_block());
            let scale = L::load_f16(block.cast());
            let minimum = L::load_f16(block.add(2 * PANEL).cast());
            for p in 0..shape.parts() {
                let g = b * shape.parts() + p;
                if T > 1 {
                    ahead.fetch::<L>(g, each);
                }
                let part = block.add(shape.head() + p * shape.part());
                let of = (block, part, scale, minimum);
                share::<L, K, T, 0>(&mut sums, of, p, x, token, g);
                if shape.factors == 2 {
                    share::<L, K, T, 1>(&mut sums, of, p, x, token, g);
                }
            }
        }
        for t in 0..T {
            L::store(out.add(t * out_stride), sums[t]);
        }
    }
}

/// Adds to the tokens' sums what the weights of part `p` that share a factor give, which are group `g`'s: all of the part, or
/// half of it.
///
/// # Safety
/// The block, its part, the tokens and the group are there.
#[inline(always)]
unsafe fn share<L: Lanes, K: Kind, const T: usize, const HALF: usize>(
    sums: &mut [L::Floats; T],
    (block, part, mut scale, mut minimum): (*const u8, *const u8, L::Floats, L::Floats),
    p: usize,
    x: &Activations<'_>,
    token: usize,
    g: usize,
) {
    let shape = const { K::CODED.shape() };
    // Safety: as the caller says.
    unsafe {
        if shape.factors > 0 {
            let i = (p * shape.factors + HALF) * PANEL;
            scale = L::mul(scale, L::load_i8(block.add(LINE + i).cast()));
            if shape.minima {
                let factor = L::load_i8(block.add(shape.minima_at() + i).cast());
                minimum = L::mul(minimum, factor);
            }
        }
        let whole = products::<L, K, T, HALF>(part, x, token, g);
        for t in 0..T {
            let g_of = (token + t) * (x.cols / BLOCK) + g;
            let mut product = L::mul(L::to_floats(whole[t]), scale);
            if shape.minima {
                let sum = L::to_floats(L::start(sum::<HALF>(&shape, x, g_of)));
                product = L::add(product, L::mul(sum, minimum));
            }
            let product = L::mul(product, L::splat(*x.scales.as_ptr().add(g_of)));
            sums[t] = L::add(sums[t], product);
        }
    }
}

/// The sum of the activations' values in group `g` (counted over all tokens), or in half of it.
///
/// # Safety
/// The group is there.
#[inline(always)]
unsafe fn sum<const HALF: usize>(shape: &Shape, x: &Activations<'_>, g: usize) -> i32 {
    // Safety: as the caller says.
    unsafe {
        match (shape.factors, HALF) {
            (2, 0) => *x.lower.as_ptr().add(g),
            (2, _) => *x.sums.as_ptr().add(g) - *x.lower.as_ptr().add(g),
            _ => *x.sums.as_ptr().add(g),
        }
    }
}

/// The whole-number products of group `g`, or of half of it, with each of `T` tokens.
///
/// # Safety
/// The part, the tokens and the group are there.
#[inline(always)]
unsafe fn products<L: Lanes, K: Kind, const T: usize, const HALF: usize>(
    part: *const u8,
    x: &Activations<'_>,
    token: usize,
    g: usize,
) -> [L::Integers; T] {
    let shape = const { K::CODED.shape() };
    let excess = if shape.table {
        L::SIGNED_EXCESS
    } else {
        shape.offset
    };
    // Safety: as the caller says.
    unsafe {
        let mut whole = [L::start(0); T];
        if excess != 0 {
            for t in 0..T {
                let g = (token + t) * (x.cols / BLOCK) + g;
                let sum = sum::<HALF>(&shape, x, g);
                whole[t] = L::start(sum.wrapping_mul(-excess));
            }
        }
        let x_group = x.quants.as_ptr().add(token * x.quant_stride + g * BLOCK);
        let of = (part, x_group, x.quant_stride);
        // One by one: each has shifts of its own.
        quad::<L, K, T, HALF, 0>(&mut whole, of);
        quad::<L, K, T, HALF, 1>(&mut whole, of);
        quad::<L, K, T, HALF, 2>(&mut whole, of);
        quad::<L, K, T, HALF, 3>(&mut whole, of);
        whole
    }
}

/// Quad `Q` of a half of a part, or of both where they share a factor.
///
/// # Safety
/// The part and the activations (of a token every `stride`) are there.
#[inline(always)]
unsafe fn quad<L: Lanes, K: Kind, const T: usize, const HALF: usize, const Q: usize>(
    whole: &mut [L::Integers; T],
    (part, x, stride): (*const u8, *const i8, usize),
) {
    let shape = const { K::CODED.shape() };
    // Safety: as the caller says.
    unsafe {
        if shape.factors == 2 {
            let codes = codes::<L, HALF, Q>(&shape, part);
            let x = x.add((4 * HALF + Q) * QUAD);
            for t in 0..T {
                whole[t] = one::<L>(&shape, whole[t], codes, x.add(t * stride));
            }
        } else {
            let lower = codes::<L, 0, Q>(&shape, part);
            let upper = codes::<L, 1, Q>(&shape, part);
            for t in 0..T {
                let x = x.add(t * stride + Q * QUAD);
                let sum = one::<L>(&shape, whole[t], lower, x);
                whole[t] = one::<L>(&shape, sum, upper, x.add(BLOCK / 2));
            }
        }
    }
}

/// Adds a quad's products to a token's sum.
///
/// # Safety
/// The activations are there.
#[inline(always)]
unsafe fn one<L: Lanes>(
    shape: &Shape,
    sum: L::Integers,
    codes: L::Quads,
    x: *const i8,
) -> L::Integers {
    // Safety: as the caller says.
    unsafe {
        if shape.table {
            L::signed(sum, codes, x)
        } else {
            L::unsigned(sum, codes, x)
        }
    }
}

/// Quad `Q` of a half of a part: its codes, or what they stand for in the table.
///
/// # Safety
/// The part is there.
#[inline(always)]
unsafe fn codes<L: Lanes, const HALF: usize, const Q: usize>(
    shape: &Shape,
    part: *const u8,
) -> L::Quads {
    let (mut start, mut to) = (0, 0);
    // Safety: as the caller says.
    unsafe {
        let mut codes = None;
        if shape.four {
            codes = Some(L::field(L::quads(part.add(Q * LINE)), 4 * HALF, 0, 15));
            (start, to) = (4 * LINE, 4);
        }
        if shape.two {
            let plane = L::quads(part.add(start + HALF * LINE));
            let bits = L::field(plane, 2 * Q, to, 3 << to);
            codes = Some(match codes {
                Some(codes) => L::or(codes, bits),
                None => bits,
            });
            (start, to) = (start + 2 * LINE, to + 2);
        }
        if shape.one {
            let bits = L::field(L::quads(part.add(start)), 4 * HALF + Q, to, 1 << to);
            codes = Some(match codes {
                Some(codes) => L::or(codes, bits),
                None => bits,
            });
        }
        // Every type has a plane of four bits or two.
        let codes = match codes {
            Some(codes) => codes,
            None => L::quads(part),
        };
        if shape.table {
            L::lookup(codes, &TABLE)
        } else {
            codes
        }
    }
}
