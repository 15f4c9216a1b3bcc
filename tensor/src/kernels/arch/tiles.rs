//! Matrix kernels over sixteen lanes, one per row of a panel, for any vector unit that can hold
//! them.
//!
//! Several tokens at once (a tile) share every load of the weights. Activations are broadcast
//! straight from memory: twelve tokens of one panel reach a Zen 4 core's peak of multiplications
//! and additions, while two panels side by side with the activation in a register reach two thirds
//! of it.

// Tiles are small arrays whose indices say which token and which panel.
#![allow(clippy::needless_range_loop)]

use super::lanes::{Lanes, Number};
use crate::{
    kernels::AttentionWeights,
    layout::{Activations, BLOCK, PANEL, QUAD, padded, q4_0, q8, q8_0},
};

/// Prefetch of the next panel while a tile computes: each panel arrives during the one before it,
/// spread evenly over that one's tiles. The hardware prefetcher starts anew at every page, and
/// several tokens leave it no time to catch up: without this, f32 panels from memory run at two
/// thirds of the arithmetic peak, with it at nine tenths. A single token keeps memory busy anyway,
/// and so do a few with floats ([`FEW`]), which it slows down.
#[derive(Clone, Copy)]
struct Ahead {
    next: *const u8,
    bytes: usize,
}

/// Number of tokens for which no floats are prefetched, nor attention's values.
const FEW: usize = 4;

/// Bytes of a cache line.
const LINE: usize = 64;

impl Ahead {
    /// Share of the tile of `count` tokens from `token` on, out of `tokens`, in the `bytes` bytes
    /// of the panel behind the one at `panel`.
    #[inline(always)]
    fn of<T>(panel: *const T, bytes: usize, token: usize, count: usize, tokens: usize) -> Ahead {
        let first = bytes / tokens * token;
        Ahead {
            next: panel.cast::<u8>().wrapping_add(bytes + first),
            bytes: bytes / tokens * count,
        }
    }

    /// Prefetches the share of step `step`, `each` bytes.
    ///
    /// # Safety
    /// The CPU has the vector unit.
    #[inline(always)]
    unsafe fn fetch<L: Lanes>(&self, step: usize, each: usize) {
        let mut at = 0;
        while at < each {
            // Safety: as the caller says.
            unsafe { L::fetch(self.next.wrapping_add(step * each + at)) };
            at += LINE;
        }
    }
}

/// End of the last of `count` steps of `stride`, plus `rest`; saturates at `usize::MAX`, which no
/// slice reaches.
fn end(count: usize, stride: usize, rest: usize) -> usize {
    let steps = count.checked_mul(stride);
    steps
        .and_then(|steps| steps.checked_add(rest))
        .unwrap_or(usize::MAX)
}

/// Checks that the slices are as long as the sizes require. Kernels that read through pointers rely
/// on it.
///
/// # Panics
/// If a slice is too short.
pub(super) fn check<T>(
    w: &[T],
    panel: usize,
    group: Option<usize>,
    x: &Activations<'_>,
    out: &[f32],
) -> usize {
    let panels = out.len() / x.tokens / PANEL;
    assert!(w.len() >= end(panels, panel, 0), "panels");
    match group {
        None => assert!(
            x.cols <= x.stride && x.values.len() >= end(x.tokens - 1, x.stride, x.cols),
            "activations"
        ),
        Some(group) => {
            let groups = x.cols / group;
            let length = end(groups, padded(group), 0);
            assert!(length <= x.quant_stride, "quantised activations' stride");
            assert!(
                x.quants.len() >= end(x.tokens - 1, x.quant_stride, length)
                    && x.scales.len() >= end(x.tokens, groups, 0)
                    && x.sums.len() >= end(x.tokens, groups, 0)
                    && x.lower.len() >= end(x.tokens, groups, 0),
                "quantised activations"
            );
        }
    }
    panels
}

/// Calls a tile function for all tokens: first in tiles as large as the unit's registers allow,
/// then the rest in one or two more. There are few sizes, because each is compiled for every type
/// and unit.
macro_rules! tiles {
    ($lanes:ty, $tokens:expr, |$token:ident, $t:ident| $tile:expr) => {{
        let mut $token = 0;
        while $token < $tokens {
            macro_rules! tile {
                ($n:literal) => {{
                    const $t: usize = $n;
                    $tile;
                    $token += $n;
                }};
            }
            let left = $tokens - $token;
            let size = match left.min(<$lanes>::TILE) {
                most @ (..=6 | 12..) => most,
                half => half.div_ceil(2),
            };
            match size {
                1 => tile!(1),
                2 => tile!(2),
                // Constants, so that what is not reached is not compiled.
                3 if const { <$lanes>::TILE >= 3 } => tile!(3),
                4 if const { <$lanes>::TILE >= 4 } => tile!(4),
                5 if const { <$lanes>::TILE >= 5 } => tile!(5),
                6 if const { <$lanes>::TILE >= 6 } => tile!(6),
                _ if const { <$lanes>::TILE >= 12 } => tile!(12),
                _ => break,
            }
        }
    }};
}
pub(super) use tiles;

/// Multiplies float panels with all vectors.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn floats<L: Lanes, N: Number>(w: &[N], x: &Activations<'_>, out: &mut [f32]) {
    let panels = check(w, PANEL * x.cols, None, x, out);
    for panel in 0..panels {
        // Safety: `check` has looked at the lengths.
        unsafe {
            let w = w.as_ptr().add(panel * PANEL * x.cols);
            let out = out.as_mut_ptr().add(panel * PANEL);
            tiles!(L, x.tokens, |token, T| {
                let x_tile = x.values.as_ptr().add(token * x.stride);
                let out = out.add(token * panels * PANEL);
                let bytes = if x.tokens > FEW {
                    PANEL * x.cols * size_of::<N>()
                } else {
                    0
                };
                let ahead = Ahead::of(w, bytes, token, T, x.tokens);
                let (columns, x_tile) = ((w, x.cols), (x_tile, x.stride));
                let out = (out, panels * PANEL);
                float_tile::<L, N, T>(columns, x_tile, out, ahead);
            });
        }
    }
}

/// Sums of `count` columns of 16 numbers, each times its element of a vector, for `T` vectors.
///
/// # Safety
/// The CPU has the vector unit; the columns, the vectors (`stride` apart) and the places for the
/// sums (`out_stride` apart) are valid.
#[inline(always)]
unsafe fn float_tile<L: Lanes, N: Number, const T: usize>(
    (w, count): (*const N, usize),
    (x, stride): (*const f32, usize),
    (out, out_stride): (*mut f32, usize),
    ahead: Ahead,
) {
    // Columns at a time: as many as are worth their code.
    let step = if T <= 4 { 8 } else { 4 };
    let each = ahead.bytes * step / count.max(1);
    // Safety: as the caller says.
    unsafe {
        let mut sums = [L::zero(); T];
        let whole = count / step;
        for s in 0..whole {
            if T > 1 {
                ahead.fetch::<L>(s, each);
            }
            for c in 0..step {
                let c = s * step + c;
                add_column::<L, N, T>(&mut sums, w.add(c * PANEL), x.add(c), stride);
            }
        }
        for c in whole * step..count {
            add_column::<L, N, T>(&mut sums, w.add(c * PANEL), x.add(c), stride);
        }
        for t in 0..T {
            L::store(out.add(t * out_stride), sums[t]);
        }
    }
}

/// Adds the products of a column with the numbers at `x` and every `stride`.
///
/// # Safety
/// The CPU has the vector unit; column and numbers are valid.
#[inline(always)]
unsafe fn add_column<L: Lanes, N: Number, const T: usize>(
    sums: &mut [L::Floats; T],
    column: *const N,
    x: *const f32,
    stride: usize,
) {
    // Safety: as the caller says.
    unsafe {
        let column = N::load::<L>(column);
        for t in 0..T {
            let value = L::splat(*x.add(t * stride));
            sums[t] = L::add(sums[t], L::mul(column, value));
        }
    }
}

/// Multiplies llama2.c's int8 panels.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn q8<L: Lanes>(w: &[u8], group: usize, x: &Activations<'_>, out: &mut [f32]) {
    let size = x.cols / group * q8::block_bytes(group);
    let panels = check(w, size, Some(group), x, out);
    for panel in 0..panels {
        // Safety: `check` has looked at the lengths.
        unsafe {
            let w = w.as_ptr().add(panel * size);
            let out = out.as_mut_ptr().add(panel * PANEL);
            tiles!(L, x.tokens, |token, T| {
                let ahead = Ahead::of(w, size, token, T, x.tokens);
                let out = out.add(token * panels * PANEL);
                q8_tile::<L, T>(w, group, x, token, (out, panels * PANEL), ahead);
            });
        }
    }
}

/// Multiplies one panel with `T` tokens, from `token` on.
///
/// # Safety
/// As for [`q8()`]; `w` points to the start of the panel, `out` to the place of the first token's
/// sums.
#[inline(always)]
unsafe fn q8_tile<L: Lanes, const T: usize>(
    w: *const u8,
    group: usize,
    x: &Activations<'_>,
    token: usize,
    (out, out_stride): (*mut f32, usize),
    ahead: Ahead,
) {
    let length = padded(group);
    let (groups, block) = (x.cols / group, q8::block_bytes(group));
    // Safety: within the lengths that `check` has checked.
    unsafe {
        let mut sums = [L::zero(); T];
        let each = ahead.bytes / groups;
        for g in 0..groups {
            if T > 1 {
                ahead.fetch::<L>(g, each);
            }
            let values = w.add(g * block);
            let whole = starts::<L, T>(x, token, groups, g, -L::SIGNED_EXCESS);
            let quants = x.quants.as_ptr().add(token * x.quant_stride + g * length);
            let whole = signed::<L, T>(whole, values, length / QUAD, quants, x.quant_stride);
            let scales = L::load(values.add(length * PANEL).cast());
            scaled::<L, T>(&mut sums, whole, scales, x, token, groups, g);
        }
        for t in 0..T {
            L::store(out.add(t * out_stride), sums[t]);
        }
    }
}

/// Multiplies GGUF's Q8_0 panels.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn q8_0<L: Lanes>(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    // Safety: as the caller says.
    unsafe { blocks::<L, false>(&q8_0::LAYOUT, w, x, out) }
}

/// Multiplies GGUF's Q4_0 panels.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn q4_0<L: Lanes>(w: &[u8], x: &Activations<'_>, out: &mut [f32]) {
    // Safety: as the caller says.
    unsafe { blocks::<L, true>(&q4_0::LAYOUT, w, x, out) }
}

/// Multiplies panels of blocks with 4-bit values (`FOUR`) or 8-bit ones.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
unsafe fn blocks<L: Lanes, const FOUR: bool>(
    layout: &q8_0::BlockLayout,
    w: &[u8],
    x: &Activations<'_>,
    out: &mut [f32],
) {
    let size = layout.panel_bytes(x.cols).unwrap_or(usize::MAX);
    let panels = check(w, size, Some(BLOCK), x, out);
    for panel in 0..panels {
        // Safety: `check` has looked at the lengths.
        unsafe {
            let w = w.as_ptr().add(panel * size);
            let out = out.as_mut_ptr().add(panel * PANEL);
            tiles!(L, x.tokens, |token, T| {
                let ahead = Ahead::of(w, size, token, T, x.tokens);
                let out = out.add(token * panels * PANEL);
                block_tile::<L, FOUR, T>(layout, w, x, token, (out, panels * PANEL), ahead);
            });
        }
    }
}

/// Multiplies one panel with `T` tokens, from `token` on.
///
/// # Safety
/// As for [`blocks`]; `w` points to the start of the panel, `out` to the place of the first token's
/// sums.
#[inline(always)]
unsafe fn block_tile<L: Lanes, const FOUR: bool, const T: usize>(
    layout: &q8_0::BlockLayout,
    w: *const u8,
    x: &Activations<'_>,
    token: usize,
    (out, out_stride): (*mut f32, usize),
    ahead: Ahead,
) {
    let groups = x.cols / BLOCK;
    // Safety: within the lengths that `check` has checked.
    unsafe {
        let mut sums = [L::zero(); T];
        let each = 2 * (ahead.bytes / groups);
        let mut pair = w;
        // In pairs, as they are stored: the fewer instructions per cache line, the further the
        // processor sees ahead.
        for p in 0..groups / 2 {
            if T > 1 {
                ahead.fetch::<L>(p, each);
            }
            block::<L, FOUR, T>(&mut sums, layout, (pair, 0), x, token, 2 * p);
            block::<L, FOUR, T>(&mut sums, layout, (pair, 1), x, token, 2 * p + 1);
            pair = pair.add(layout.pair());
        }
        if !groups.is_multiple_of(2) {
            block::<L, FOUR, T>(&mut sums, layout, (pair, 0), x, token, groups - 1);
        }
        for t in 0..T {
            L::store(out.add(t * out_stride), sums[t]);
        }
    }
}

/// Adds the products of the first or second block of a pair, block `g` of its rows, to the tokens'
/// sums.
///
/// # Safety
/// As for [`block_tile`].
#[inline(always)]
unsafe fn block<L: Lanes, const FOUR: bool, const T: usize>(
    sums: &mut [L::Floats; T],
    layout: &q8_0::BlockLayout,
    (pair, which): (*const u8, usize),
    x: &Activations<'_>,
    token: usize,
    g: usize,
) {
    let groups = x.cols / BLOCK;
    // Safety: as the caller says.
    unsafe {
        let values = pair.add(q8_0::SCALES + which * layout.values);
        let quants = x.quants.as_ptr().add(token * x.quant_stride + g * BLOCK);
        let whole = if FOUR {
            let whole = starts::<L, T>(x, token, groups, g, -q4_0::OFFSET);
            nibbles::<L, T>(whole, values, quants, x.quant_stride)
        } else {
            let whole = starts::<L, T>(x, token, groups, g, -L::SIGNED_EXCESS);
            signed::<L, T>(whole, values, BLOCK / QUAD, quants, x.quant_stride)
        };
        let scales = L::load_f16(pair.add(which * PANEL * 2).cast());
        scaled::<L, T>(sums, whole, scales, x, token, groups, g);
    }
}

/// Initial value of each token's sum of group `g`: `factor` times the activations' sum, which
/// cancels what the products will be too large by.
///
/// # Safety
/// The tokens and the group exist.
#[inline(always)]
unsafe fn starts<L: Lanes, const T: usize>(
    x: &Activations<'_>,
    token: usize,
    groups: usize,
    g: usize,
    factor: i32,
) -> [L::Integers; T] {
    // Safety: as the caller says.
    unsafe {
        let mut whole = [L::start(0); T];
        if factor != 0 {
            for (t, whole) in whole.iter_mut().enumerate() {
                let sum = *x.sums.as_ptr().add((token + t) * groups + g);
                *whole = L::start(sum.wrapping_mul(factor));
            }
        }
        whole
    }
}

/// Adds the products of `count` quads of signed weights at `w` with each token's activations,
/// `stride` bytes apart.
///
/// # Safety
/// Weights and activations are valid for that many quads.
#[inline(always)]
unsafe fn signed<L: Lanes, const T: usize>(
    mut whole: [L::Integers; T],
    w: *const u8,
    count: usize,
    x: *const i8,
    stride: usize,
) -> [L::Integers; T] {
    // Safety: as the caller says.
    unsafe {
        let mut q = 0;
        while q + 4 <= count {
            for q in q..q + 4 {
                signed_quad::<L, T>(&mut whole, w, x, stride, q);
            }
            q += 4;
        }
        for q in q..count {
            signed_quad::<L, T>(&mut whole, w, x, stride, q);
        }
    }
    whole
}

/// Adds the products of quad `q`.
///
/// # Safety
/// The quad exists.
#[inline(always)]
unsafe fn signed_quad<L: Lanes, const T: usize>(
    whole: &mut [L::Integers; T],
    w: *const u8,
    x: *const i8,
    stride: usize,
    q: usize,
) {
    // Safety: as the caller says.
    unsafe {
        let weights = L::quads(w.add(q * PANEL * QUAD));
        for (t, whole) in whole.iter_mut().enumerate() {
            *whole = L::signed(*whole, weights, x.add(t * stride + q * QUAD));
        }
    }
}

/// Adds the products of a block of 4-bit weights at `w` with each token's activations, `stride`
/// bytes apart.
///
/// # Safety
/// The block and the activations are valid.
#[inline(always)]
unsafe fn nibbles<L: Lanes, const T: usize>(
    mut whole: [L::Integers; T],
    w: *const u8,
    x: *const i8,
    stride: usize,
) -> [L::Integers; T] {
    // Safety: as the caller says.
    unsafe {
        let mut sums = whole.map(|start| L::block_sums(start));
        for q in 0..BLOCK / 2 / QUAD {
            let (lower, upper) = L::nibbles(L::quads(w.add(q * PANEL * QUAD)));
            for (t, sums) in sums.iter_mut().enumerate() {
                let x = x.add(t * stride + q * QUAD);
                *sums = L::four_bits(*sums, lower, x);
                *sums = L::four_bits(*sums, upper, x.add(BLOCK / 2));
            }
        }
        for t in 0..T {
            whole[t] = L::block_sum(whole[t], sums[t]);
        }
    }
    whole
}

/// Adds group `g`'s sums to the tokens', each times its weights' scales and its activations' scale.
///
/// # Safety
/// The tokens and the group exist.
#[inline(always)]
unsafe fn scaled<L: Lanes, const T: usize>(
    sums: &mut [L::Floats; T],
    whole: [L::Integers; T],
    scales: L::Floats,
    x: &Activations<'_>,
    token: usize,
    groups: usize,
    g: usize,
) {
    for t in 0..T {
        // Safety: as the caller says.
        unsafe {
            let scale = L::splat(*x.scales.as_ptr().add((token + t) * groups + g));
            let product = L::mul(L::mul(L::to_floats(whole[t]), scales), scale);
            sums[t] = L::add(sums[t], product);
        }
    }
}

/// Number of attention's values, or a block of them.
pub(super) trait Value: Copy {
    /// Numbers in it.
    const COUNT: usize;

    /// Loads numbers `col` to `col + 16` of a row.
    ///
    /// # Safety
    /// They are readable, and the CPU has the vector unit.
    unsafe fn numbers<L: Lanes>(row: *const Self, col: usize) -> L::Floats;

    /// What these numbers are multiplied with, in each lane, for a weight.
    ///
    /// # Safety
    /// As for [`numbers`](Self::numbers).
    unsafe fn factor<L: Lanes>(row: *const Self, col: usize, weight: f32) -> L::Floats;
}

impl<N: Number> Value for N {
    const COUNT: usize = 1;

    #[inline(always)]
    unsafe fn numbers<L: Lanes>(row: *const Self, col: usize) -> L::Floats {
        // Safety: as the caller says.
        unsafe { N::load::<L>(row.add(col)) }
    }

    #[inline(always)]
    unsafe fn factor<L: Lanes>(_: *const Self, _: usize, weight: f32) -> L::Floats {
        // Safety: as the caller says.
        unsafe { L::splat(weight) }
    }
}

/// A block of GGUF's Q8_0.
type Block = [u8; q8_0::FILE_BLOCK];

impl Value for Block {
    const COUNT: usize = BLOCK;

    #[inline(always)]
    unsafe fn numbers<L: Lanes>(row: *const Self, col: usize) -> L::Floats {
        // Safety: as the caller says; behind the block's scale.
        unsafe { L::load_i8(row.add(col / BLOCK).cast::<i8>().add(2 + col % BLOCK)) }
    }

    #[inline(always)]
    unsafe fn factor<L: Lanes>(row: *const Self, col: usize, weight: f32) -> L::Floats {
        // Safety: as the caller says; a block begins with its scale.
        unsafe { L::mul(L::splat(weight), L::splat_f16(row.add(col / BLOCK).cast())) }
    }
}

/// [`weigh`] for Q8_0.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn weigh_blocks<L: Lanes>(
    rows: &[u8],
    weights: &AttentionWeights<'_>,
    out: &mut [f32],
    stride: usize,
) {
    assert!((weights.width | weights.row_stride).is_multiple_of(BLOCK));
    let rows = rows.as_chunks::<{ q8_0::FILE_BLOCK }>().0;
    // Safety: as the caller says; nothing is left of whole blocks.
    unsafe { weigh::<L, Block>(rows, weights, out, stride, |_| 0.0) }
}

/// `out[t] += Σ weights[t][i]·rows[i]`, term by term.
///
/// # Safety
/// The CPU has the vector unit.
#[inline(always)]
pub(super) unsafe fn weigh<L: Lanes, V: Value>(
    rows: &[V],
    weights: &AttentionWeights<'_>,
    out: &mut [f32],
    stride: usize,
    value: impl Fn(V) -> f32,
) {
    let AttentionWeights {
        tokens,
        rows: count,
        width,
        ..
    } = *weights;
    if count == 0 {
        return;
    }
    let row = weights.row_stride / V::COUNT;
    assert!(tokens > 0 && count <= weights.stride && width <= stride);
    assert!(width <= weights.row_stride && rows.len() >= end(count - 1, row, width / V::COUNT));
    assert!(weights.values.len() >= end(tokens - 1, weights.stride, count));
    assert!(out.len() >= end(tokens - 1, stride, width));
    let (w, x, to) = (rows.as_ptr(), weights.values.as_ptr(), out.as_mut_ptr());
    // Sums that fit into registers beside a row's numbers. (With SSE some do not, which is as fast
    // as fewer columns at a time.)
    let most = if L::TILE >= 12 { 16 } else { 4 };
    tiles!(L, tokens, |token, T| {
        // Whole rows, as far as registers suffice: one stream, and each weight is loaded once.
        let mut col = 0;
        while width - col >= PANEL {
            let inside = col % V::COUNT;
            let columns = match (width - col) / PANEL {
                4.. if inside == 0 && (T == 1 || 4 * T <= most) => 4,
                2.. if inside == 0 && (T == 1 || 2 * T <= most) => 2,
                _ => 1,
            };
            // What follows whole rows is fetched by the first tile.
            let bytes = if tokens > FEW && token == 0 && width == weights.row_stride {
                size_of_val(rows)
            } else {
                0
            };
            let ahead = Ahead::of(w, bytes, col, columns * PANEL, width);
            // Safety: all that is pointed to has been looked at.
            unsafe {
                let rows = (w.add(col / V::COUNT), row, count);
                let x = (x.add(token * weights.stride), weights.stride);
                let to = (to.add(token * stride + col), stride);
                match columns {
                    4 => weigh_tile::<L, V, T, 4>(rows, 0, x, to, ahead),
                    2 => weigh_tile::<L, V, T, 2>(rows, 0, x, to, ahead),
                    _ => weigh_tile::<L, V, T, 1>(rows, inside, x, to, ahead),
                }
            }
            col += columns * PANEL;
        }
    });
    for t in 0..tokens {
        let weights = &weights.values[t * weights.stride..][..count];
        for col in width / PANEL * PANEL..width {
            let column = rows.iter().skip(col).step_by(row);
            let sum = &mut out[t * stride + col];
            for (x, weight) in column.zip(weights) {
                *sum += weight * value(*x);
            }
        }
    }
}

/// Adds `C` times 16 columns of `count` rows, `row` elements apart, to the sums of `T` tokens. The
/// columns begin `inside` numbers behind the start of an element.
///
/// # Safety
/// The CPU has the vector unit; the columns are valid in every row, and so are the tokens' weights
/// and sums, each their stride apart; there is a row.
#[inline(always)]
unsafe fn weigh_tile<L: Lanes, V: Value, const T: usize, const C: usize>(
    (rows, row, count): (*const V, usize, usize),
    inside: usize,
    (weights, weights_stride): (*const f32, usize),
    (out, out_stride): (*mut f32, usize),
    ahead: Ahead,
) {
    let each = ahead.bytes / count;
    // Safety: as the caller says.
    unsafe {
        let mut sums = [[L::zero(); C]; T];
        for t in 0..T {
            for c in 0..C {
                sums[t][c] = L::load(out.add(t * out_stride + c * PANEL));
            }
        }
        let mut at = rows;
        for i in 0..count {
            if T > 1 {
                ahead.fetch::<L>(i, each);
            }
            let mut numbers = [L::zero(); C];
            for c in 0..C {
                numbers[c] = V::numbers::<L>(at, inside + c * PANEL);
            }
            for t in 0..T {
                let weight = *weights.add(t * weights_stride + i);
                for c in 0..C {
                    let factor = V::factor::<L>(at, inside + c * PANEL, weight);
                    sums[t][c] = L::add(sums[t][c], L::mul(factor, numbers[c]));
                }
            }
            at = at.wrapping_add(row);
        }
        for t in 0..T {
            for c in 0..C {
                L::store(out.add(t * out_stride + c * PANEL), sums[t][c]);
            }
        }
    }
}
