//! History of typed lines: a bounded list that can be saved as lines of a file.

use alloc::{
    collections::VecDeque,
    string::{String, ToString},
};

/// Latest lines, oldest first; no empty ones and no repetitions in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    entries: VecDeque<String>,
    /// Total length of all entries in bytes.
    len: usize,
    most_entries: usize,
    most_bytes: usize,
}

impl Default for History {
    fn default() -> Self {
        History::new(200, 256 << 10)
    }
}

impl History {
    /// Creates an empty history with limits for the number of lines and of bytes; the oldest lines
    /// are dropped first.
    pub const fn new(most_entries: usize, most_bytes: usize) -> History {
        History {
            entries: VecDeque::new(),
            len: 0,
            most_entries,
            most_bytes,
        }
    }

    /// Adds a line, unless it is blank, equal to the last one, or longer than the whole history may
    /// be.
    pub fn push(&mut self, line: &str) {
        let same = self.entries.back().is_some_and(|last| last == line);
        if line.trim().is_empty() || same || line.len() > self.most_bytes {
            return;
        }
        self.entries.push_back(line.to_string());
        self.len += line.len();
        while self.entries.len() > self.most_entries || self.len > self.most_bytes {
            match self.entries.pop_front() {
                Some(oldest) => self.len -= oldest.len(),
                None => break,
            }
        }
    }

    /// Number of lines.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no lines.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Line by index, the oldest being 0.
    pub fn get(&self, index: usize) -> Option<&str> {
        self.entries.get(index).map(String::as_str)
    }

    /// Formats the history as text, one line per entry: a line break within an entry is written
    /// `\n`, a backslash `\\`.
    pub fn to_lines(&self) -> String {
        let mut out = String::new();
        for entry in &self.entries {
            for letter in entry.chars() {
                match letter {
                    '\n' => out.push_str("\\n"),
                    '\\' => out.push_str("\\\\"),
                    _ => out.push(letter),
                }
            }
            out.push('\n');
        }
        out
    }

    /// Adds the entries of a text made by [`History::to_lines`]; any text is accepted.
    pub fn add_lines(&mut self, text: &str) {
        for line in text.trim_start_matches('\u{feff}').lines() {
            let mut entry = String::new();
            let mut letters = line.chars();
            while let Some(letter) = letters.next() {
                match letter {
                    '\\' => match letters.next() {
                        Some('n') => entry.push('\n'),
                        Some('\\') | None => entry.push('\\'),
                        Some(other) => entry.extend(['\\', other]),
                    },
                    _ if letter.is_control() && letter != '\t' => (),
                    _ => entry.push(letter),
                }
            }
            self.push(&entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(history: &History) -> Vec<&str> {
        (0..history.len())
            .filter_map(|i| history.get(i))
            .collect::<Vec<_>>()
    }

    #[test]
    fn bounded_and_without_repetitions() {
        let mut history = History::new(3, 10);
        for line in ["a", "a", "", "  ", "b", "a"] {
            history.push(line);
        }
        assert_eq!(all(&history), ["a", "b", "a"]);
        history.push("c");
        assert_eq!(all(&history), ["b", "a", "c"]);
        history.push("123456789");
        assert_eq!(all(&history), ["c", "123456789"]);
        history.push("12345678901");
        assert_eq!(all(&history), ["c", "123456789"], "too long for us");
        assert_eq!(history.get(2), None);
        assert!(!history.is_empty() && History::new(0, 0).is_empty());
        let mut none = History::new(0, 0);
        none.push("x");
        assert!(none.is_empty());
    }

    #[test]
    fn to_lines_and_back() {
        let mut history = History::default();
        for line in ["two\nlines", "C:\\new", "\\", "日本 \t e\u{301}", "\\\n\\n"] {
            history.push(line);
        }
        let text = history.to_lines();
        assert_eq!(text.lines().count(), 5);
        let mut back = History::default();
        back.add_lines(&text);
        assert_eq!(back, history);
        back.add_lines("\u{feff}a\\x\r\n\r\nb\\");
        assert_eq!(back.get(5), Some("a\\x"));
        assert_eq!(back.get(6), Some("b\\"));
    }
}
