//! Formatting of numbers and names for users: bytes in binary units, quoted names from files.

use alloc::{borrow::Cow, format};
use core::fmt::{self, Write};

/// Longest sentence, in characters.
pub const SENTENCE: usize = 300;
/// Longest path in a sentence, in characters.
pub const PATH: usize = 100;

/// Shortens `text` to at most `most` characters: the middle becomes `…`, and a path keeps its last
/// component whole if there is room.
pub fn short(text: &str, most: usize) -> Cow<'_, str> {
    let count = text.chars().count();
    if count <= most {
        return text.into();
    }
    let name = text.rfind(['/', '\\']).map_or(text, |at| &text[at..]);
    let half = most / 2;
    let name = Some(name.chars().count()).filter(|name| (half..most).contains(name));
    let tail = name.unwrap_or(half);
    let at = |index| {
        text.char_indices()
            .nth(index)
            .map_or(text.len(), |(at, _)| at)
    };
    let head = most.saturating_sub(tail + 1);
    format!("{}…{}", &text[..at(head)], &text[at(count - tail)..]).into()
}

/// Number of bytes, shown in the largest binary unit that keeps it at 1 or more: `490 MiB`, `1.3
/// MiB`, `512 bytes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        if self.0 < 1024 {
            return write!(f, "{} bytes", self.0);
        }
        let power = (self.0.ilog2() / 10).min(6);
        let unit = 1u128 << (10 * power);
        let tenths = (u128::from(self.0) * 10 + unit / 2) / unit;
        let name = UNITS[power as usize - 1];
        if tenths < 100 {
            write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
        } else {
            write!(f, "{} {name}", (tenths + 5) / 10)
        }
    }
}

/// Name from a file, shown in quotes: control characters are escaped, and names longer than
/// [`Quoted::MOST`] characters are cut with `…`, so that a sentence stays readable whatever the
/// file contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted<'a>(pub &'a str);

impl Quoted<'_> {
    /// Largest number of characters shown.
    pub const MOST: usize = 60;
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        let mut room = Quoted::MOST;
        for c in self.0.chars() {
            // A character is not cut into.
            let shown = c.escape_debug();
            match room.checked_sub(if c == '\'' { 1 } else { shown.len() }) {
                Some(left) => room = left,
                None => {
                    f.write_char('…')?;
                    break;
                }
            }
            if c == '\'' {
                f.write_char(c)?;
            } else {
                write!(f, "{shown}")?;
            }
        }
        f.write_char('"')
    }
}

/// Whole number, shown with digits only: a space or comma between them would make two numbers of it
/// for scripts, and for some readers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouped(pub u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_to_two_or_more_digits() {
        let shown = |n| format!("{}", Bytes(n));
        assert_eq!(shown(0), "0 bytes");
        assert_eq!(shown(1023), "1023 bytes");
        assert_eq!(shown(1024), "1.0 KiB");
        assert_eq!(shown(1_399_552), "1.3 MiB");
        assert_eq!(shown(513_879_068), "490 MiB");
        assert_eq!(shown(u64::MAX), "16 EiB");
    }

    #[test]
    fn long_texts_lose_their_middle_and_paths_keep_their_names() {
        assert_eq!(short("/a/b.gguf", 9), "/a/b.gguf");
        assert_eq!(short("0123456789", 5), "01…89");
        assert_eq!(short("ééééééé", 4), "é…éé");
        assert_eq!(
            short("/home/me/models/more/name.gguf", 17),
            "/home/…/name.gguf"
        );
        assert_eq!(short("C:\\models\\more\\name.gguf", 12), "C…\\name.gguf");
        let path = format!("/{}/{}.gguf", "d".repeat(400), "n".repeat(60));
        let cut = short(&path, PATH);
        assert_eq!(cut.chars().count(), PATH);
        assert!(
            cut.ends_with(&format!("…/{}.gguf", "n".repeat(60))),
            "{cut}"
        );
        // A name that has no room is cut as well.
        assert_eq!(short(&path, 20).chars().count(), 20);
        assert_eq!(short("abc", 1), "…");
    }

    #[test]
    fn digits_stand_together() {
        let shown = |n| format!("{}", Grouped(n));
        assert_eq!(shown(0), "0");
        assert_eq!(shown(999), "999");
        assert_eq!(shown(1000), "1000");
        assert_eq!(shown(60_816_028), "60816028");
        assert_eq!(shown(1_000_007), "1000007");
        assert_eq!(shown(u64::MAX), "18446744073709551615");
    }
}
