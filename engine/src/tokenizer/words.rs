//! Compact storage of many short byte strings, numbered, with sorted lookup.

use alloc::{collections::TryReserveError, vec::Vec};

/// Byte strings, numbered from 0 on.
#[derive(Default)]
pub(super) struct Words {
    /// All strings, concatenated.
    bytes: Vec<u8>,
    /// End of each string in `bytes`.
    ends: Vec<u32>,
}

impl Words {
    /// Reserves room for `count` strings of `bytes` bytes in all, or fails.
    pub(super) fn with_room(count: usize, bytes: usize) -> Result<Words, TryReserveError> {
        let mut words = Words::default();
        words.ends.try_reserve_exact(count)?;
        words.bytes.try_reserve_exact(bytes)?;
        Ok(words)
    }

    pub(super) fn push(&mut self, word: &[u8]) {
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len() as u32);
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, number: u32) -> &[u8] {
        let number = number as usize;
        let start = match number {
            0 => 0,
            _ => self.ends[number - 1],
        };
        &self.bytes[start as usize..self.ends[number] as usize]
    }

    /// Length of the longest string, in bytes.
    pub(super) fn longest(&self) -> usize {
        (0..self.len() as u32)
            .map(|number| self.get(number).len())
            .max()
            .unwrap_or(0)
    }

    /// Sorts `numbers` by their strings' bytes, equal ones by number.
    pub(super) fn sort(&self, numbers: &mut [u32]) {
        numbers.sort_unstable_by_key(|&number| (self.get(number), number));
    }

    /// Finds `wanted` among `sorted`; the lowest number if several are equal.
    pub(super) fn find(&self, sorted: &[u32], wanted: &[u8]) -> Option<u32> {
        let at = sorted.partition_point(|&number| self.get(number) < wanted);
        let number = *sorted.get(at)?;
        (self.get(number) == wanted).then_some(number)
    }

    /// Finds the concatenation of `a` and `b` among `sorted`.
    pub(super) fn find_joined(&self, sorted: &[u32], a: &[u8], b: &[u8]) -> Option<u32> {
        let before = |word: &[u8]| match word.split_at_checked(a.len()) {
            Some((head, tail)) => (head, tail) < (a, b),
            None => word <= a,
        };
        let at = sorted.partition_point(|&number| before(self.get(number)));
        let number = *sorted.get(at)?;
        let tail = self.get(number).strip_prefix(a)?;
        (tail == b).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_in_two_parts_is_found_where_it_is_found_whole() {
        let mut words = Words::default();
        let all: [&[u8]; 9] = [b"b", b"", b"ab", b"abc", b"b", b"a", b"\xff", b"ba", b"aab"];
        all.iter().for_each(|word| words.push(word));
        let mut sorted: Vec<u32> = (0..all.len() as u32).collect();
        words.sort(&mut sorted);
        for wanted in [
            &b"abc"[..],
            b"aab",
            b"ab",
            b"b",
            b"",
            b"\xff",
            b"\xffa",
            b"ac",
        ] {
            for cut in 0..=wanted.len() {
                let (a, b) = wanted.split_at(cut);
                let whole = words.find(&sorted, wanted);
                assert_eq!(words.find_joined(&sorted, a, b), whole, "{a:?} {b:?}");
            }
        }
        assert_eq!(words.find(&sorted, b"b"), Some(0));
        assert_eq!((words.len(), words.longest()), (9, 3));
    }
}
