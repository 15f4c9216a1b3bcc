//! File names of split models: `NAME-00001-of-00003.gguf`.

use alloc::{format, string::String};

use super::tensors::MOST_PARTS;

/// Parsed name of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartName<'a> {
    /// Common beginning of all parts' names.
    pub base: &'a str,
    /// Number of the part, from 1.
    pub number: usize,
    /// Number of parts.
    pub count: usize,
    /// `.gguf`, in any case.
    extension: &'a str,
}

impl<'a> PartName<'a> {
    /// Parses a file name; `None` if it is not that of a part. A leading folder belongs to the
    /// base.
    pub fn of(name: &'a str) -> Option<PartName<'a>> {
        let (stem, extension) = name.split_at_checked(name.len().checked_sub(5)?)?;
        if !extension.eq_ignore_ascii_case(".gguf") {
            return None;
        }
        // -00001-of-00003
        let (base, tail) = stem.split_at_checked(stem.len().checked_sub(15)?)?;
        let tail = tail.to_ascii_lowercase();
        let (number, count) = tail.strip_prefix('-')?.split_once("-of-")?;
        let digits = |text: &str| {
            let all = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| all)
        };
        let (number, count) = (digits(number)?, digits(count)?);
        // No model has more parts, and opening that many files is not reasonable.
        let believed = (1..=count).contains(&number) && count as u64 <= MOST_PARTS;
        believed.then_some(PartName {
            base,
            number,
            count,
            extension,
        })
    }

    /// Name of part `number` of the same model.
    pub fn sibling(&self, number: usize) -> String {
        format!(
            "{}-{number:05}-of-{:05}{}",
            self.base, self.count, self.extension
        )
    }

    /// Returns true if `name` is the name of part `number`, in any case: file systems and users
    /// change it.
    pub fn is_sibling(&self, name: &str, number: usize) -> bool {
        name.to_lowercase() == self.sibling(number).to_lowercase()
    }

    /// Part of the name after the base, for part `number` of `count`.
    pub fn suffix(number: usize, count: usize) -> String {
        format!("-{number:05}-of-{count:05}.gguf")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_knows_its_siblings() {
        let part = PartName::of("models/Big-00002-of-00003.gguf").unwrap();
        assert_eq!((part.base, part.number, part.count), ("models/Big", 2, 3));
        assert_eq!(part.sibling(3), "models/Big-00003-of-00003.gguf");
        let upper = PartName::of("BIG-00001-OF-00002.GGUF").unwrap();
        assert_eq!(upper.sibling(2), "BIG-00002-of-00002.GGUF");
        for name in ["big-00002-of-00002.gguf", "Big-00002-OF-00002.Gguf"] {
            assert!(upper.is_sibling(name, 2) && !upper.is_sibling(name, 1));
        }
        let umlaut = PartName::of("Größe-00001-of-00002.gguf").unwrap();
        assert!(umlaut.is_sibling("GRÖßE-00002-OF-00002.GGUF", 2));
        assert!(!umlaut.is_sibling("Große-00002-of-00002.gguf", 2));
    }

    #[test]
    fn other_names_are_not_parts() {
        for name in [
            "",
            ".gguf",
            "model.gguf",
            "a-00000-of-00002.gguf",
            "a-00003-of-00002.gguf",
            "a-0001-of-0002.gguf",
            "a-00001-of-01025.gguf",
            "a-00001-of-65535.gguf",
            "a-+0001-of-00002.gguf",
            "a-00001-of-00002.bin",
            "\u{e4}\u{f6}-of-.gguf",
            "-\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}.gguf",
        ] {
            assert_eq!(PartName::of(name), None, "{name}");
        }
    }
}
