//! Tokens whose names stand in texts for themselves, whatever is around them: the longest first,
//! leftmost of equals, as llama.cpp takes them. Words of the model's own (user-defined tokens)
//! count everywhere, signs (control and unknown tokens) only where they are asked for.

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::{cmp::Reverse, ops::Range};

use super::words::Words;

/// Their names, and what there is to know of each.
pub(super) struct Specials {
    /// In the order of their bytes.
    names: Words,
    all: Vec<Special>,
    /// Numbers of `all` by rank: the longest first, equally long ones in the order of their tokens.
    by_rank: Vec<u32>,
    /// The same in the order of their tokens.
    by_token: Vec<u32>,
    /// True if any name, and any word of the model's own, begins with a byte.
    first: [(bool, bool); 256],
    longest: usize,
}

struct Special {
    token: u32,
    rank: u32,
    /// A sign, no word.
    sign: bool,
    /// White space after it belongs to it.
    strips: bool,
    /// The longest other name that its own begins with.
    inside: Option<u32>,
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Where text stands, never empty.
    Text(Range<usize>),
    /// A token that stands for itself.
    Token(u32),
}

impl Specials {
    /// Tokens with their names, whether each is a sign and whether white space after it belongs to
    /// it. Empty names are left out.
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

    /// Bytes of the longest name.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The name of `token`, if it is one of these.
    pub(super) fn name_of(&self, token: u32) -> Option<&[u8]> {
        let of = |&n: &u32| self.all[n as usize].token;
        let at = self.by_token.binary_search_by_key(&token, of).ok()?;
        Some(self.names.get(self.by_token[at]))
    }

    /// Takes `text` apart. Signs count where they lie inside of one of `marks`, which are in order.
    pub(super) fn cut(&self, text: &[u8], marks: &[Range<usize>]) -> Vec<Part> {
        let taken = self.taken(text, marks);
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

    /// Where special tokens are, from where to where, with the white space that belongs to them.
    fn taken(&self, text: &[u8], marks: &[Range<usize>]) -> BTreeMap<usize, (usize, u32)> {
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
                let found = self.best(text, at, text.len(), signs);
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
                let found = self.best(text, at, limit, signs);
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

    /// The rank of the longest name at `at` that ends at `limit` at the latest, or where it is a
    /// sign at `signs`.
    fn best(&self, text: &[u8], at: usize, limit: usize, signs: usize) -> Option<u32> {
        let mut here = &text[at..limit.min(at + self.longest)];
        let count = self.all.len() as u32;
        // Where a name is in order before the text, and none comes between, all names that the text
        // begins with are beginnings of that one; and no longer than what the two have in common.
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
            !self.all[*n as usize].sign || end <= signs
        };
        chain.find(fits).map(|n| self.all[n as usize].rank)
    }
}

/// White space as C's `isspace` has it.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec};

    use super::*;

    /// Each token in its turn, over the whole text: what the above must equal.
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
                let found = specials.cut(text.as_bytes(), &marks);
                let want = plainly(&list, text.as_bytes(), &marks);
                assert_eq!(found, want, "{list:?} {text:?} {marks:?}");
            }
        }
    }
}
