//! Merges neighbours, the best pair first, leftmost of equals, until none can be merged: a heap of
//! candidates over a doubly linked list, in O(n log n).

use alloc::{collections::BinaryHeap, vec::Vec};
use core::cmp::Ordering;

const NONE: u32 = u32::MAX;

/// Pair of neighbours that can be merged.
struct Candidate<S, R> {
    rank: R,
    left: u32,
    right: u32,
    /// Both symbols at the time when the pair was found.
    pair: (S, S),
    whole: S,
}

impl<S, R: Ord> Ord for Candidate<S, R> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.rank.cmp(&other.rank)).then(other.left.cmp(&self.left))
    }
}

impl<S, R: Ord> PartialOrd for Candidate<S, R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S, R: Ord> PartialEq for Candidate<S, R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<S, R: Ord> Eq for Candidate<S, R> {}

/// Neighbours of a symbol in the list.
#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

/// Merges `symbols`: `join` returns the result of merging two neighbours, and its rank.
pub(super) fn merge<S: Copy + PartialEq, R: Ord>(
    symbols: impl Iterator<Item = S>,
    join: impl Fn(S, S) -> Option<(R, S)>,
) -> impl Iterator<Item = S> {
    let mut symbols: Vec<Option<S>> = symbols.map(Some).collect();
    let count = symbols.len() as u32;
    let mut links: Vec<Link> = (0..count)
        .map(|i| Link {
            before: i.wrapping_sub(1),
            after: if i + 1 < count { i + 1 } else { NONE },
        })
        .collect();
    let candidate = |symbols: &[Option<S>], left: u32, right: u32| {
        let pair = (symbols[left as usize]?, symbols[right as usize]?);
        let (rank, whole) = join(pair.0, pair.1)?;
        Some(Candidate {
            rank,
            left,
            right,
            pair,
            whole,
        })
    };
    let pairs = (1..count).filter_map(|right| candidate(&symbols, right - 1, right));
    let mut heap: BinaryHeap<_> = pairs.collect();
    while let Some(found) = heap.pop() {
        let (left, right) = (found.left as usize, found.right as usize);
        // Stale if either has been merged since: then its place is gone or holds another symbol.
        let pair = (Some(found.pair.0), Some(found.pair.1));
        if (symbols[left], symbols[right]) != pair || links[left].after != found.right {
            continue;
        }
        symbols[left] = Some(found.whole);
        symbols[right] = None;
        let Link { before, .. } = links[left];
        let Link { after, .. } = links[right];
        links[left].after = after;
        if after != NONE {
            links[after as usize].before = found.left;
            heap.extend(candidate(&symbols, found.left, after));
        }
        if before != NONE {
            heap.extend(candidate(&symbols, before, found.left));
        }
    }
    symbols.into_iter().flatten()
}

/// Score as a rank: positive and negative zero are equal, as in C.
#[derive(Clone, Copy)]
pub(super) struct Score(pub f32);

impl Ord for Score {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

impl PartialOrd for Score {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Score {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Score {}
