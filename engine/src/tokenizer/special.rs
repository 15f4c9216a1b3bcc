//! Special tokens, whose names are found in a text before it is merged: the longest first, leftmost
//! of equals, as in llama.cpp. User-defined tokens are found everywhere, control and unknown tokens
//! only if requested; those user-defined ones that are marks of the chat template's are as control
//! tokens in what is said in a conversation.

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::{cmp::Reverse, ops::Range};

use super::words::Words;

/// Names and properties of the special tokens.
pub(super) struct Specials {
    /// Names, sorted by their bytes.
    names: Words,
    all: Vec<Special>,
    /// Indices into `all` by rank: the longest names first, equally long ones in the order of their
    /// tokens.
    by_rank: Vec<u32>,
    /// Indices into `all`, in the order of their tokens.
    by_token: Vec<u32>,
    /// For each byte: true if any name, and true if the name of a user-defined token, begins with
    /// it.
    first: [(bool, bool); 256],
    longest: usize,
}

struct Special {
    token: u32,
    rank: u32,
    /// True for control and unknown tokens, false for user-defined ones.
    sign: bool,
    /// True for a mark of the chat template's.
    guarded: bool,
    /// True if white space after the token is removed with it.
    strips: bool,
    /// Longest other name that is a prefix of this one.
    inside: Option<u32>,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Range of text, never empty.
    Text(Range<usize>),
    /// A special token.
    Token(u32),
}

impl Specials {
    /// Creates the table from tokens with their names, whether each is a control token, and whether
    /// white space after it is removed with it. Empty names are ignored.
    pub(super) fn new<'n>(specials: impl Iterator<Item = (u32, &'n [u8], bool, bool)>) -> Specials {
        let mut list: Vec<_> = specials.filter(|(_, name, ..)| !name.is_empty()).collect();
        list.sort_unstable_by_key(|&(token, name, ..)| (name, token));
        // Of two of the same name the first.
        list.dedup_by_key(|(_, name, ..)| *name);
        let mut names = Words::default();
        let mut first = [(false, false); 256];
        let mut all: Vec<Special> = Vec::with_capacity(list.len());
        // The names that the one before begins with, itself included.
        let mut open: Vec<u32> = Vec::new();
        for (number, &(token, name, sign, strips)) in (0u32..).zip(&list) {
            while open
                .last()
                .is_some_and(|&n| !name.starts_with(names.get(n)))
            {
                open.pop();
            }
            all.push(Special {
                token,
                rank: 0,
                sign,
                guarded: false,
                strips,
                inside: open.last().copied(),
            });
            open.push(number);
            names.push(name);
            let begins = &mut first[usize::from(name[0])];
            *begins = (true, begins.1 || !sign);
        }
        let mut by_rank: Vec<u32> = (0..all.len() as u32).collect();
        by_rank.sort_by_key(|&n| (Reverse(names.get(n).len()), all[n as usize].token));
        for (rank, &number) in (0..).zip(&by_rank) {
            all[number as usize].rank = rank;
        }
        let mut by_token = by_rank.clone();
        by_token.sort_unstable_by_key(|&n| all[n as usize].token);
        Specials {
            longest: names.longest(),
            names,
            all,
            by_rank,
            by_token,
            first,
        }
    }

    /// Knows the chat template: names in angle or square brackets that it writes are its marks.
    pub(super) fn guard(&mut self, template: &str) {
        for (number, special) in (0..).zip(&mut self.all) {
            let name = core::str::from_utf8(self.names.get(number)).unwrap_or_default();
            let is_mark = name.starts_with(['<', '[']) && name.ends_with(['>', ']']);
            special.guarded = is_mark && template.contains(name);
        }
    }

    /// Length of the longest name, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Name of `token`, if it is a special token.
    pub(super) fn name_of(&self, token: u32) -> Option<&[u8]> {
        let of = |&n: &u32| self.all[n as usize].token;
        let at = self.by_token.binary_search_by_key(&token, of).ok()?;
        Some(self.names.get(self.by_token[at]))
    }

    /// Splits `text` at special tokens. Control tokens are found only inside of `marks`, which must
    /// be in order, the chat template's marks there and from `free` on.
    pub(super) fn cut(&self, text: &[u8], marks: &[Range<usize>], free: usize) -> Vec<Part> {
        let taken = self.taken(text, marks, free);
        let mut parts = Vec::with_capacity(2 * taken.len() + 1);
        let mut at = 0;
        for (start, (end, token)) in taken {
            if at < start {
                parts.push(Part::Text(at..start));
            }
            parts.push(Part::Token(token));
            at = end;
        }
        if at < text.len() {
            parts.push(Part::Text(at..text.len()));
        }
        parts
    }

    /// Special tokens found in the text, as start, end and token, with the white space that is
    /// removed with them.
    fn taken(
        &self,
        text: &[u8],
        marks: &[Range<usize>],
        free: usize,
    ) -> BTreeMap<usize, (usize, u32)> {
        let mut taken = BTreeMap::new();
        if self.all.is_empty() {
            return taken;
        }
        // The best one at each place, the best of all first.
        let mut heap = Vec::new();
        let mut ahead = marks;
        for (at, &byte) in text.iter().enumerate() {
            while ahead.first().is_some_and(|mark| mark.end <= at) {
                ahead = &ahead[1..];
            }
            let mark = ahead.first().filter(|mark| mark.start <= at);
            let (any, own) = self.first[usize::from(byte)];
            if if mark.is_some() { any } else { own } {
                let signs = mark.map_or(at, |mark| mark.end);
                let found = self.best(text, at, text.len(), (signs, free));
                heap.extend(found.map(|rank| Reverse((rank, at, signs))));
            }
        }
        let mut heap = BinaryHeap::from(heap);
        while let Some(Reverse((rank, at, signs))) = heap.pop() {
            let before = taken.range(..=at).next_back();
            if before.is_some_and(|(_, &(end, _))| end > at) {
                continue;
            }
            let next: Option<(&usize, _)> = taken.range(at..).next();
            let limit = next.map_or(text.len(), |(&start, _)| start);
            let number = self.by_rank[rank as usize];
            let mut end = at + self.names.get(number).len();
            if end > limit {
                // A better one has taken a part of it: perhaps there is a shorter one.
                let found = self.best(text, at, limit, (signs, free));
                heap.extend(found.map(|rank| Reverse((rank, at, signs))));
                continue;
            }
            let special = &self.all[number as usize];
            if special.strips {
                let rest = text[end..limit].iter();
                end += rest.take_while(|&&byte| is_space(byte)).count();
            }
            taken.insert(at, (end, special.token));
        }
        taken
    }

    /// Rank of the longest name at `at` that ends at or before `limit`, or, for control tokens and
    /// for the template's marks before `free`, at or before `signs`.
    fn best(
        &self,
        text: &[u8],
        at: usize,
        limit: usize,
        (signs, free): (usize, usize),
    ) -> Option<u32> {
        let mut here = &text[at..limit.min(at + self.longest)];
        let count = self.all.len() as u32;
        // If a name is sorted before the text, with none in between, all names that are prefixes of
        // the text are prefixes of that name, and no longer than its common prefix with the text.
        let number = loop {
            let (mut low, mut high) = (0, count);
            while low < high {
                let middle = low.midpoint(high);
                if self.names.get(middle) <= here {
                    low = middle + 1;
                } else {
                    high = middle;
                }
            }
            let number = low.checked_sub(1)?;
            let name = self.names.get(number);
            let common = name.iter().zip(here).take_while(|(a, b)| a == b).count();
            if common == name.len() {
                break number;
            }
            if common == 0 {
                return None;
            }
            here = &here[..common];
        };
        let mut chain = core::iter::successors(Some(number), |&n| self.all[n as usize].inside);
        let fits = |n: &u32| {
            let end = at + self.names.get(*n).len();
            let special = &self.all[*n as usize];
            !(special.sign || special.guarded && at < free) || end <= signs
        };
        chain.find(fits).map(|n| self.all[n as usize].rank)
    }
}

/// Returns true for white space as in C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec};

    use super::*;

    /// Reference implementation: searches the whole text for one token after another.
    fn plainly(list: &[(u32, &str, bool, bool)], text: &[u8], marks: &[Range<usize>]) -> Vec<Part> {
        let mut order: Vec<_> = list.iter().collect();
        order.sort_by_key(|(token, name, ..)| (Reverse(name.len()), *token));
        let mut parts = vec![Part::Text(0..text.len())];
        for (token, name, sign, strips) in order {
            let mut next = Vec::new();
            for part in parts {
                let Part::Text(Range { mut start, end }) = part else {
                    next.push(part);
                    continue;
                };
                let mut at = start;
                while at + name.len() <= end {
                    let stop = at + name.len();
                    let allowed = !sign
                        || marks
                            .iter()
                            .any(|mark| mark.start <= at && stop <= mark.end);
                    if text[at..stop] != *name.as_bytes() || !allowed {
                        at += 1;
                        continue;
                    }
                    next.extend([Part::Text(start..at), Part::Token(*token)]);
                    at = stop;
                    while *strips && at < end && is_space(text[at]) {
                        at += 1;
                    }
                    start = at;
                }
                next.push(Part::Text(start..end));
            }
            parts = next;
        }
        parts.retain(|part| !matches!(part, Part::Text(range) if range.is_empty()));
        parts
    }

    #[test]
    fn it_is_what_one_token_after_the_other_takes() {
        let mut state = 1u32;
        let mut random = |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        for _ in 0..3000 {
            let mut letters = |longest: usize| -> String {
                let length = random(longest);
                (0..=length)
                    .map(|_| ['a', 'b', ' ', '<'][random(4)])
                    .collect()
            };
            let mut names: Vec<String> = (0..7).map(|_| letters(5)).collect();
            let text = letters(40);
            names.sort();
            names.dedup();
            let list: Vec<(u32, &str, bool, bool)> = (0..)
                .zip(&names)
                .map(|(token, name)| (token, &name[..], random(2) == 0, random(3) == 0))
                .collect();
            let (whole, middle) = (0..text.len(), random(text.len()));
            let marks = [vec![], vec![whole], vec![0..middle, middle..text.len()]];
            let specials =
                Specials::new(list.iter().map(|(t, n, s, w)| (*t, n.as_bytes(), *s, *w)));
            for marks in marks {
                let found = specials.cut(text.as_bytes(), &marks, 0);
                let want = plainly(&list, text.as_bytes(), &marks);
                assert_eq!(found, want, "{list:?} {text:?} {marks:?}");
            }
        }
    }
}
