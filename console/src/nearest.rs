//! "Did you mean": the name that a mistyped one was probably meant to be.

use alloc::vec::Vec;

/// The nearest of `names` to what was `typed`, if it is near enough to be worth a question.
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (name, distance) = names
        .map(|name| (name, distance(typed, name)))
        .min_by_key(|&(_, distance)| distance)?;
    (distance <= name.chars().count().max(3) / 2).then_some(name)
}

/// Letters to insert, take away or change to make `b` of `a`, case aside (Levenshtein 1966).
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A name of a hundred letters is near to none of ours.
    for (i, a) in a.chars().take(100).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.iter().enumerate() {
            let change = diagonal + usize::from(!a.eq_ignore_ascii_case(b));
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
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
    }
}
