//! Matrix kernel for GGUF's coded weights over sixteen lanes, one per row of a panel. It serves all
//! ten types.
//!
//! For few tokens, codes are decoded and multiplied at once. For many, some columns are first
//! unpacked to integers that stay in the L1 cache, and tiles multiply those: unpacking is then done
//! once for all tokens, and tiles are compiled once for what the types share instead of once per
//! type.

// Tiles are small arrays whose indices say which token.
#![allow(clippy::needless_range_loop)]

use super::{
    lanes::Lanes,
    tiles::{check, tiles},
};
use crate::layout::{
    Activations, BLOCK, PANEL, QUAD,
    coded::{self, Kind, LINE, Shape, TABLE},
    q4_0, q8_0,
};

/// [`multiply`] for one vector unit, with signed or unsigned integers.
pub(super) type Multiply = unsafe fn(&Numbers, &Activations<'_>, (*mut f32, usize));

/// Multiplies panels of coded weights of one type.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn panels<L: Lanes, K: Kind>(
    w: &[u8],
    x: &Activations<'_>,
    out: &mut [f32],
    multiply: Multiply,
) {
    let size = coded::panel_bytes(&K::CODED.shape(), x.cols).unwrap_or(usize::MAX);
    let count = check(w, size, Some(BLOCK), x, out);
    for panel in 0..count {
        // Safety: `check` has looked at the lengths.
        unsafe {
            let w = w.as_ptr().add(panel * size);
            let out = out.as_mut_ptr().add(panel * PANEL);
            let to = (out, count * PANEL);
            if x.tokens > 4 * most::<L>() {
                let shape = const { K::CODED.shape() };
                let of = (shape, shape.excess::<L>());
                let unpack = |g, to| unpack::<L, K>(w, g, to);
                several::<L>((w, size), x, to, of, unpack, multiply);
            } else {
                few::<L, K>(w, x, to);
            }
        }
    }
}

/// Most tokens of a tile that decodes as it multiplies: as many as there are registers for beside
/// what decoding takes.
const fn most<L: Lanes>() -> usize {
    match L::TILE {
        12.. => 4,
        4.. => 2,
        _ => 1,
    }
}

/// Bytes from what is multiplied to what is prefetched; there may be no memory any more.
const AHEAD: usize = 4096;

/// Returns true if weights are prefetched for few tokens: where codes lie in several planes, which
/// are not read in order, units that read half a cache line at a time otherwise wait for memory
/// (Zen 4 with AVX2: Q5_1 takes three times as long). Units that read whole lines are slowed down
/// by it.
const fn ahead<L: Lanes>(shape: &Shape) -> bool {
    L::PREFETCHES && shape.four as u8 + shape.two as u8 + shape.one as u8 > 1
}

/// Multiplies one panel with few tokens, whose sums are `stride` apart.
///
/// # Safety
/// As for [`panels`]; `w` points to the start of the panel, `out` to the place of the sums.
#[inline(always)]
unsafe fn few<L: Lanes, K: Kind>(
    w: *const u8,
    x: &Activations<'_>,
    (out, stride): (*mut f32, usize),
) {
    let mut token = 0;
    while token < x.tokens {
        macro_rules! tile {
            ($n:literal) => {{
                // Safety: as the caller says.
                unsafe { direct::<L, K, $n>(w, x, token, (out.add(token * stride), stride)) };
                token += $n;
            }};
        }
        // Few sizes, because each is compiled for every type and unit.
        match x.tokens - token {
            4.. if const { most::<L>() >= 4 } => tile!(4),
            2.. if const { most::<L>() >= 2 } => tile!(2),
            _ => tile!(1),
        }
    }
}

/// Multiplies one panel with `T` tokens from `token` on, whose sums are `stride` apart.
///
/// # Safety
/// As for [`few`]; `out` points to the place of the first one's sums.
#[inline(always)]
unsafe fn direct<L: Lanes, K: Kind, const T: usize>(
    w: *const u8,
    x: &Activations<'_>,
    token: usize,
    (out, stride): (*mut f32, usize),
) {
    let shape = const { K::CODED.shape() };
    // Safety: within the lengths that `check` has checked.
    unsafe {
        let mut sums = [L::zero(); T];
        for b in 0..x.cols / shape.block {
            let block = w.add(b * shape.packed_block());
            let halves = block_factors::<L>(&shape, block);
            // All of them, which the compiler does not know: unrolled, they would be slow to
            // compile and no faster.
            let parts = shape.parts().min(x.cols / BLOCK - b * shape.parts());
            for p in 0..parts {
                let g = b * shape.parts() + p;
                let part = block.add(shape.head() + p * shape.part());
                if const { ahead::<L>(&K::CODED.shape()) } && token == 0 {
                    let each = shape.packed_block() / shape.parts();
                    for line in (0..each).step_by(LINE) {
                        L::fetch(block.wrapping_add(AHEAD + p * each + line));
                    }
                }
                half::<L, K, 0, T>(&mut sums, (block, halves, part), p, x, token, g);
                if shape.factors == 2 {
                    half::<L, K, 1, T>(&mut sums, (block, halves, part), p, x, token, g);
                }
            }
        }
        for t in 0..T {
            L::store(out.add(t * stride), sums[t]);
        }
    }
}

/// Adds group `g`'s products to the tokens' sums: those weights of part `p` that share a factor,
/// which is the whole part or half of it.
///
/// # Safety
/// The block, its part, the tokens and the group exist.
#[inline(always)]
unsafe fn half<L: Lanes, K: Kind, const HALF: usize, const T: usize>(
    sums: &mut [L::Floats; T],
    (block, halves, part): (*const u8, (L::Floats, L::Floats), *const u8),
    p: usize,
    x: &Activations<'_>,
    token: usize,
    g: usize,
) {
    let shape = const { K::CODED.shape() };
    // Safety: as the caller says.
    unsafe {
        let x_group = x.quants.as_ptr().add(token * x.quant_stride + g * BLOCK);
        let mut whole = starts::<L, T>(shape.excess::<L>(), shape.factors == 2, HALF, x, token, g);
        // One by one, because each has its own shifts.
        macro_rules! quad {
            ($half:literal, $q:literal) => {
                let codes = codes::<L, $half, $q>(&shape, part);
                for t in 0..T {
                    let x = x_group.add(t * x.quant_stride + (4 * $half + $q) * QUAD);
                    whole[t] = one::<L>(shape.table, whole[t], codes, x);
                }
            };
        }
        if HALF == 0 {
            quad!(0, 0);
            quad!(0, 1);
            quad!(0, 2);
            quad!(0, 3);
        }
        if HALF == 1 || shape.factors < 2 {
            quad!(1, 0);
            quad!(1, 1);
            quad!(1, 2);
            quad!(1, 3);
        }
        let (scale, minimum) = factors::<L>(&shape, (block, halves), p, HALF);
        let minimum = if shape.minima { Some(minimum) } else { None };
        scaled::<L, T>(
            sums,
            whole,
            (scale, minimum),
            shape.factors == 2,
            HALF,
            x,
            token,
            g,
        );
    }
}

/// Number of groups unpacked at a time.
const GROUPS: usize = 8;

/// 32 columns of a panel, unpacked.
#[repr(C, align(64))]
struct Group {
    /// 8-bit integers, in quads of columns: signed, or too large by the type's offset.
    quads: [[u8; LINE]; BLOCK / QUAD],
    /// Scales of all columns, or of the first half and of the second.
    scales: [[f32; PANEL]; 2],
    minima: [[f32; PANEL]; 2],
}

/// Multiplies one panel of `size` bytes at `w` with several tokens, whose sums are `stride` apart.
/// `unpack` unpacks a group of it; its numbers are those of `shape`, too large by `excess`.
///
/// # Safety
/// As for [`few`].
#[inline(always)]
unsafe fn several<L: Lanes>(
    (w, size): (*const u8, usize),
    x: &Activations<'_>,
    (out, stride): (*mut f32, usize),
    (shape, excess): (Shape, i32),
    unpack: impl Fn(usize, *mut Group),
    multiply: Multiply,
) {
    let groups = x.cols / BLOCK;
    let each = size / groups;
    let mut room = core::mem::MaybeUninit::<[Group; GROUPS]>::uninit();
    let unpacked = room.as_mut_ptr().cast::<Group>();
    // Safety: within the lengths that `check` has checked; of the buffer only what has been written
    // is read.
    unsafe {
        for first in (0..groups).step_by(GROUPS) {
            let count = GROUPS.min(groups - first);
            for i in 0..count {
                // The next panel is prefetched while this one is multiplied.
                for line in (0..each).step_by(LINE) {
                    L::fetch(w.wrapping_add(size + (first + i) * each + line));
                }
                unpack(first + i, unpacked.add(i));
                L::interleave((&raw mut (*unpacked.add(i)).quads).cast());
            }
            let of = Numbers {
                groups: unpacked,
                count,
                first,
                excess,
                shape,
            };
            multiply(&of, x, (out, stride));
        }
    }
}

/// Multiplies panels of blocks with 4-bit values (`FOUR`) or 8-bit ones with several tokens, for
/// units that multiply interleaved quads.
///
/// # Safety
/// As for [`panels`].
#[inline(always)]
pub(super) unsafe fn blocks<L: Lanes, const FOUR: bool>(
    layout: &q8_0::BlockLayout,
    w: &[u8],
    x: &Activations<'_>,
    out: &mut [f32],
    multiply: Multiply,
) {
    // Signed integers with one scale, as that type's are.
    let shape = const { coded::Coded::Iq4Nl.shape() };
    let excess = if FOUR { q4_0::OFFSET } else { L::SIGNED_EXCESS };
    let size = layout.panel_bytes(x.cols).unwrap_or(usize::MAX);
    let count = check(w, size, Some(BLOCK), x, out);
    for panel in 0..count {
        let w = w.as_ptr().wrapping_add(panel * size);
        // Safety: `check` has looked at the lengths; so below.
        let unpack = |g: usize, to: *mut Group| unsafe {
            let pair = w.add(g / 2 * layout.pair());
            let values = pair.add(q8_0::SCALES + g % 2 * layout.values);
            let quads = (&raw mut (*to).quads).cast::<u8>();
            for q in (0..layout.values).step_by(LINE) {
                let values = L::quads(values.add(q));
                if FOUR {
                    let (lower, upper) = L::nibbles(values);
                    L::store_quads(quads.add(q), lower);
                    L::store_quads(quads.add(layout.values + q), upper);
                } else {
                    L::store_quads(quads.add(q), values);
                }
            }
            let scales = L::load_f16(pair.add(g % 2 * PANEL * 2).cast());
            L::store((&raw mut (*to).scales).cast(), scales);
        };
        // Safety: as above.
        unsafe {
            let out = (out.as_mut_ptr().add(panel * PANEL), count * PANEL);
            several::<L>((w, size), x, out, (shape, excess), unpack, multiply);
        }
    }
}

/// Unpacks group `g` of a panel.
///
/// # Safety
/// The group exists, and `to` is valid for writes.
#[inline(always)]
unsafe fn unpack<L: Lanes, K: Kind>(w: *const u8, g: usize, to: *mut Group) {
    let shape = const { K::CODED.shape() };
    let (b, p) = (g / shape.parts(), g % shape.parts());
    // Safety: as the caller says.
    unsafe {
        let block = w.add(b * shape.packed_block());
        let part = block.add(shape.head() + p * shape.part());
        let quads = (&raw mut (*to).quads).cast::<u8>();
        macro_rules! quad {
            ($half:literal, $q:literal) => {
                let codes = codes::<L, $half, $q>(&shape, part);
                L::store_quads(quads.add((4 * $half + $q) * LINE), codes);
            };
        }
        quad!(0, 0);
        quad!(0, 1);
        quad!(0, 2);
        quad!(0, 3);
        quad!(1, 0);
        quad!(1, 1);
        quad!(1, 2);
        quad!(1, 3);
        let halves = block_factors::<L>(&shape, block);
        for half in 0..shape.factors.max(1) {
            let (scale, minimum) = factors::<L>(&shape, (block, halves), p, half);
            L::store((&raw mut (*to).scales[half]).cast(), scale);
            if shape.minima {
                L::store((&raw mut (*to).minima[half]).cast(), minimum);
            }
        }
    }
}

/// Unpacked groups of a panel.
pub(super) struct Numbers {
    groups: *const Group,
    count: usize,
    /// Number of the first group.
    first: usize,
    /// Amount that the integers and the unit's products are too large by.
    excess: i32,
    pub(super) shape: Shape,
}

/// Adds the groups' products with all tokens to the sums, which are `stride` apart; the panel's
/// first groups initialise the sums.
///
/// # Safety
/// The CPU has the vector unit; the groups exist, and the places for the sums are valid.
#[inline(always)]
pub(super) unsafe fn multiply<
    L: Lanes,
    const HALVED: bool,
    const MINIMA: bool,
    const SIGNED: bool,
>(
    of: &Numbers,
    x: &Activations<'_>,
    (out, stride): (*mut f32, usize),
) {
    // Safety: as the caller says.
    unsafe {
        tiles!(L, x.tokens, |token, T| {
            let out = out.add(token * stride);
            tile::<L, T, HALVED, MINIMA, SIGNED>(of, x, token, (out, stride));
        });
    }
}

/// Multiplies with `T` tokens, from `token` on.
///
/// # Safety
/// As for [`multiply`]; `out` points to the first token's sums.
#[inline(always)]
unsafe fn tile<
    L: Lanes,
    const T: usize,
    const HALVED: bool,
    const MINIMA: bool,
    const SIGNED: bool,
>(
    of: &Numbers,
    x: &Activations<'_>,
    token: usize,
    (out, stride): (*mut f32, usize),
) {
    // Safety: as the caller says.
    unsafe {
        let mut sums = [L::zero(); T];
        if of.first > 0 {
            for t in 0..T {
                sums[t] = L::load(out.add(t * stride));
            }
        }
        for i in 0..of.count {
            let (group, g) = (of.groups.add(i), of.first + i);
            let quads = (&raw const (*group).quads).cast::<u8>();
            let x_group = x.quants.as_ptr().add(token * x.quant_stride + g * BLOCK);
            for half in 0..1 + usize::from(HALVED) {
                let mut whole = starts::<L, T>(of.excess, HALVED, half, x, token, g);
                let count = if HALVED { 4 } else { BLOCK / QUAD };
                let range = half * count..(half + 1) * count;
                if L::INTERLEAVED {
                    let w = (quads.add(range.start * LINE), count);
                    let x = (x_group.add(range.start * QUAD), x.quant_stride);
                    L::at_once::<T>(&mut whole, w, x);
                } else {
                    for q in range {
                        let codes = L::quads(quads.add(q * LINE));
                        for t in 0..T {
                            let x = x_group.add(t * x.quant_stride + q * QUAD);
                            whole[t] = one::<L>(SIGNED, whole[t], codes, x);
                        }
                    }
                }
                let scale = L::load((&raw const (*group).scales[half]).cast());
                let minimum = if MINIMA {
                    Some(L::load((&raw const (*group).minima[half]).cast()))
                } else {
                    None
                };
                scaled::<L, T>(
                    &mut sums,
                    whole,
                    (scale, minimum),
                    HALVED,
                    half,
                    x,
                    token,
                    g,
                );
            }
        }
        for t in 0..T {
            L::store(out.add(t * stride), sums[t]);
        }
    }
}

impl Shape {
    /// Amount that products are too large by, per unit of the activations' sum.
    const fn excess<L: Lanes>(&self) -> i32 {
        if self.table {
            L::SIGNED_EXCESS
        } else {
            self.offset
        }
    }
}

/// Returns the scales and minima of a block.
///
/// # Safety
/// The block exists.
#[inline(always)]
unsafe fn block_factors<L: Lanes>(shape: &Shape, block: *const u8) -> (L::Floats, L::Floats) {
    // Safety: as the caller says.
    unsafe {
        let scales = L::load_f16(block.cast());
        let minima = if shape.minima {
            L::load_f16(block.add(2 * PANEL).cast())
        } else {
            scales
        };
        (scales, minima)
    }
}

/// Returns the scales and minima of part `p` of a block, or of half of it. `scale` and `minimum`
/// are the block's own.
///
/// # Safety
/// The block and the part exist.
#[inline(always)]
unsafe fn factors<L: Lanes>(
    shape: &Shape,
    (block, (mut scale, mut minimum)): (*const u8, (L::Floats, L::Floats)),
    p: usize,
    half: usize,
) -> (L::Floats, L::Floats) {
    // Safety: as the caller says.
    unsafe {
        if shape.factors > 0 {
            let i = (p * shape.factors + half) * PANEL;
            scale = L::mul(scale, L::load_i8(block.add(LINE + i).cast()));
            if shape.minima {
                let factor = L::load_i8(block.add(shape.minima_at() + i).cast());
                minimum = L::mul(minimum, factor);
            }
        }
        (scale, minimum)
    }
}

/// Initial value of each token's integer sum, which cancels what the products will be too large by.
///
/// # Safety
/// The tokens and the group exist.
#[inline(always)]
unsafe fn starts<L: Lanes, const T: usize>(
    excess: i32,
    is_halved: bool,
    half: usize,
    x: &Activations<'_>,
    token: usize,
    g: usize,
) -> [L::Integers; T] {
    // Safety: as the caller says.
    unsafe {
        let mut whole = [L::start(0); T];
        if excess != 0 {
            for t in 0..T {
                let sum = sum(is_halved, half, x, (token + t) * (x.cols / BLOCK) + g);
                whole[t] = L::start(sum.wrapping_mul(-excess));
            }
        }
        whole
    }
}

/// Adds the scaled products of a group, or of half of it, to the tokens' sums.
///
/// # Safety
/// The tokens and the group exist.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn scaled<L: Lanes, const T: usize>(
    sums: &mut [L::Floats; T],
    whole: [L::Integers; T],
    (scale, minimum): (L::Floats, Option<L::Floats>),
    is_halved: bool,
    half: usize,
    x: &Activations<'_>,
    token: usize,
    g: usize,
) {
    for t in 0..T {
        // Safety: as the caller says.
        unsafe {
            let g = (token + t) * (x.cols / BLOCK) + g;
            let mut product = L::mul(L::to_floats(whole[t]), scale);
            if let Some(minimum) = minimum {
                let sum = L::to_floats(L::start(sum(is_halved, half, x, g)));
                product = L::add(product, L::mul(sum, minimum));
            }
            let product = L::mul(product, L::splat(*x.scales.as_ptr().add(g)));
            sums[t] = L::add(sums[t], product);
        }
    }
}

/// Sum of the activations in group `g` (counted over all tokens), or in half of it.
///
/// # Safety
/// The group exists.
#[inline(always)]
unsafe fn sum(is_halved: bool, half: usize, x: &Activations<'_>, g: usize) -> i32 {
    // Safety: as the caller says.
    unsafe {
        match (is_halved, half) {
            (true, 0) => *x.lower.as_ptr().add(g),
            (true, _) => *x.sums.as_ptr().add(g) - *x.lower.as_ptr().add(g),
            _ => *x.sums.as_ptr().add(g),
        }
    }
}

/// Adds a quad's products to a token's sum.
///
/// # Safety
/// Four activations are readable at `x`.
#[inline(always)]
unsafe fn one<L: Lanes>(
    is_signed: bool,
    sum: L::Integers,
    codes: L::Quads,
    x: *const i8,
) -> L::Integers {
    // Safety: as the caller says.
    unsafe {
        if is_signed {
            L::signed(sum, codes, x)
        } else {
            L::unsigned(sum, codes, x)
        }
    }
}

/// Returns quad `Q` of half a part: its codes, or the values they select from the table.
///
/// # Safety
/// The part exists.
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
