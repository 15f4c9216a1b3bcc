//! Character classes as in llama.cpp's tables.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Character class, as far as pre-tokenizers distinguish them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `\p{L}`.
    Letter,
    /// `\p{N}`.
    Number,
    /// `\s`, Unicode's White_Space.
    Space,
    /// `\p{P}`.
    Punctuation,
    /// `\p{M}`.
    Mark,
    /// `\p{S}`.
    Symbol,
    /// All others.
    Other,
}

impl Class {
    pub(super) fn of(c: char) -> Class {
        match c {
            'a'..='z' | 'A'..='Z' => return Class::Letter,
            '0'..='9' => return Class::Number,
            _ if c.is_whitespace() => return Class::Space,
            _ => (),
        }
        match c.general_category_group() {
            GeneralCategoryGroup::Letter => Class::Letter,
            GeneralCategoryGroup::Number => Class::Number,
            GeneralCategoryGroup::Punctuation => Class::Punctuation,
            GeneralCategoryGroup::Mark => Class::Mark,
            GeneralCategoryGroup::Symbol => Class::Symbol,
            _ => Class::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Number of characters per class in all of Unicode 15.1, as in llama.cpp's tables, which were
    /// compared character by character.
    #[test]
    fn the_tables_are_those_of_unicode_15_1() {
        assert_eq!(unicode_properties::UNICODE_VERSION, (15, 1, 0));
        let mut counts = [0; 7];
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            counts[Class::of(c) as usize] += 1;
        }
        assert_eq!(counts[..4], COUNTS);
    }

    const COUNTS: [u32; 4] = [136_726, 1_831, 25, 842];
}
