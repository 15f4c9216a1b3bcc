//! Width of text on a console, in columns: Unicode's widths of characters and clusters.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Width of a character: two for East Asian wide ones and emoji, none for combining marks and
/// control characters (Unicode Annex 11).
pub fn letter(letter: char) -> usize {
    letter.width().unwrap_or(0)
}

/// Width of a grapheme cluster: 0 to 2. A tab is shown as one space.
pub fn cluster(cluster: &str) -> usize {
    match cluster.as_bytes() {
        [b'\t' | b' '..=b'~'] => 1,
        // Terminals give no cluster more than two columns; long ones of Indic scripts would have
        // more as a sum.
        _ => cluster.width().min(2),
    }
}

/// Clusters of a text, and the width of each.
pub fn clusters(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let length = match rest.as_bytes() {
            // The usual case: no cluster has two of these.
            [b' '..=b'~'] | [b' '..=b'~', b' '..=b'~', ..] => 1,
            _ => rest.graphemes(true).next()?.len(),
        };
        let (part, behind) = rest.split_at(length);
        rest = behind;
        Some((part, cluster(part)))
    })
}

/// Width of a text in one row.
pub fn text(text: &str) -> usize {
    clusters(text).map(|(_, columns)| columns).sum()
}

/// Last cluster of a text that grows by characters, each of which may begin a cluster or change the
/// width of the last one: `❤` is one column wide, and two with U+FE0F, the sign for emoji.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LastCluster {
    start: usize,
    columns: usize,
}

/// Length in bytes from which on a cluster's further characters are counted one by one, so that a
/// letter with a million accents takes no longer than a million letters.
const LONGEST: usize = 64;

impl LastCluster {
    /// That of an empty text.
    pub const NONE: LastCluster = LastCluster {
        start: 0,
        columns: 0,
    };

    /// That of a text.
    pub fn of(text: &str) -> LastCluster {
        let last = text.grapheme_indices(true).next_back();
        last.map_or(LastCluster::NONE, |(start, last)| LastCluster {
            start,
            columns: cluster(last),
        })
    }

    /// Offset at which it begins.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Its width.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// This cluster, of a text that begins with it.
    pub fn alone(self) -> LastCluster {
        LastCluster { start: 0, ..self }
    }

    /// Takes a character into account that was appended to `text`. Returns how many columns wider
    /// the text is now; it may be narrower.
    pub fn push(&mut self, text: &str) -> isize {
        let (start, before) = (self.start, self.columns);
        let begin = |start| {
            let columns = cluster(&text[start..]);
            (LastCluster { start, columns }, columns as isize)
        };
        let last = || text.char_indices().next_back().map_or(0, |(at, _)| at);
        let grown;
        (*self, grown) = match text.as_bytes() {
            [.., b' '..=b'~', b' '..=b'~'] => begin(text.len() - 1),
            _ if text.len() - start > LONGEST => begin(last()),
            _ => match text[start..].grapheme_indices(true).nth(1) {
                Some((at, _)) => begin(start + at),
                None => {
                    let columns = cluster(&text[start..]);
                    (
                        LastCluster { start, columns },
                        columns as isize - before as isize,
                    )
                }
            },
        };
        grown
    }
}

/// Longest prefix of `text` that fits into `columns`, cut between clusters.
pub fn cut(text: &str, columns: usize) -> &str {
    let mut taken = 0;
    for (at, part) in text.grapheme_indices(true) {
        taken += cluster(part);
        if taken > columns {
            return &text[..at];
        }
    }
    text
}

/// Returns true if consoles may disagree about the width of this cluster: it joins several
/// characters, or is an emoji or a lone mark.
pub fn is_doubtful(cluster: &str) -> bool {
    let mut letters = cluster.chars();
    letters.next().is_some_and(|first| {
        letters.next().is_some() || u32::from(first) > 0xffff || letter(first) == 0
    })
}

/// Returns true for characters that only show themselves. Control characters except line ends and
/// tabs do more, and so do the embeddings, overrides and isolates that reorder text for display
/// (Unicode Annex 9, 2.1 to 2.4; "Trojan Source"). The marks U+200E, U+200F and U+061C are allowed:
/// Hebrew and Arabic need them, and they affect their neighbours only.
pub fn is_plain(letter: char) -> bool {
    match letter {
        '\n' | '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => !letter.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_clusters() {
        for (cluster, columns) in [
            ("a", 1),
            ("é", 1),
            ("e\u{301}", 1),
            ("日", 2),
            ("ｶ", 1),
            ("🙂", 2),
            ("👨\u{200d}👩\u{200d}👧", 2),
            ("👍🏽", 2),
            ("🇩🇪", 2),
            ("\t", 1),
            ("\n", 0),
            ("\u{301}", 0),
        ] {
            // unicode-width counts a line break as one column, but none is ever laid out.
            if cluster != "\n" {
                assert_eq!(super::cluster(cluster), columns, "{cluster:?}");
            }
        }
        assert_eq!(text("❤❤\u{fe0f}1\u{fe0f}\u{20e3}"), 5);
        assert_eq!(text("日本 e\u{301}"), 6);
        assert_eq!(cut("日本語", 5), "日本");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
        assert!(is_doubtful("🙂") && is_doubtful("e\u{301}") && is_doubtful("\u{301}"));
        assert!(!is_doubtful("日") && !is_doubtful("é"));
    }

    #[test]
    fn a_text_that_grows_is_as_wide_as_the_whole() {
        let all = "a日é e\u{301}❤❤\u{fe0f}🇩🇪🇫👨\u{200d}👩\u{200d}👧👍🏽1\u{fe0f}\u{20e3}नमस्ते한\u{1112}\u{1161}\u{600}12";
        let (mut grown, mut last, mut columns) =
            (alloc::string::String::new(), LastCluster::NONE, 0);
        for letter in all.chars() {
            grown.push(letter);
            columns += last.push(&grown);
            assert_eq!(columns, text(&grown) as isize, "{grown}");
            let (at, part) = grown.grapheme_indices(true).next_back().unwrap();
            assert_eq!(
                (last.start(), last.columns()),
                (at, cluster(part)),
                "{grown}"
            );
        }
        // However long a cluster is, a character takes no longer than the one before.
        for _ in 0..10_000 {
            grown.push('\u{301}');
            columns += last.push(&grown);
        }
        assert_eq!(columns, text(&grown) as isize);
    }
}
