//! "Did you mean": the name that was probably meant by a mistyped one.

use alloc::vec::Vec;

/// Finds the nearest of `names` to `typed`, if it is near enough to be worth suggesting.
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (name, distance) = names
        .map(|name| (name, distance(typed, name)))
        .min_by_key(|&(_, distance)| distance)?;
    let len = name.chars().count();
    (distance <= len.max(3) / 2 && distance < len).then_some(name)
}

/// Edit distance: number of letters to insert, delete, replace or swap with their neighbours to
/// turn `a` into `b`, ignoring case (Damerau 1964, in the simple form in which no letter is edited
/// twice).
pub fn distance(a: &str, b: &str) -> usize {
    // A name of a hundred letters resembles none of ours.
    let letters = |text: &str| -> Vec<char> { text.chars().take(100).collect() };
    let (a, b) = (letters(a), letters(b));
    let same = |a: char, b: char| a.eq_ignore_ascii_case(&b);
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i);
        for j in 1..=b.len() {
            let change = row[j - 1] + usize::from(!same(a[i - 1], b[j - 1]));
            let mut least = change.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]) {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        before = core::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_and_far() {
        let names = ["temp", "top_p", "save"];
        let near = |typed: &str| nearest(typed, names.into_iter());
        assert_eq!(near("tmep"), Some("temp"));
        assert_eq!(near("TOP-P"), Some("top_p"));
        assert_eq!(near("colour"), None);
        assert_eq!(nearest("x", [].into_iter()), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("saev", "SAVE"), 1);
        assert_eq!(nearest("x", ["?"].into_iter()), None);
    }
}
