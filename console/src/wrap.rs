//! Word wrap for text that arrives in pieces.

use alloc::string::String;

use crate::width::LastCluster;

/// Breaks a stream of text into lines of at most `width` columns. An incomplete word is held back.
#[derive(Debug)]
pub struct Wrap {
    width: usize,
    column: usize,
    word: String,
    word_width: usize,
    last: LastCluster,
}

impl Wrap {
    /// A stream that starts at the left edge.
    pub const fn new(width: usize) -> Wrap {
        Wrap {
            width,
            column: 0,
            word: String::new(),
            word_width: 0,
            last: LastCluster::NONE,
        }
    }

    /// Sets the number of columns.
    pub fn set_width(&mut self, width: usize) {
        self.width = width.max(1);
    }

    /// Adds `text`, and appends to `out` what is decided so far.
    pub fn push(&mut self, text: &str, out: &mut String) {
        for letter in text.chars() {
            match letter {
                '\n' => {
                    self.flush(out);
                    out.push('\n');
                    self.column = 0;
                }
                '\r' => {
                    self.flush(out);
                    out.push('\r');
                    self.column = 0;
                }
                '\u{8}' => {
                    self.flush(out);
                    // Behind a line's first column there is nothing to go back to.
                    if self.column > 0 {
                        out.push('\u{8}');
                        self.column -= 1;
                    }
                }
                ' ' | '\t' => {
                    self.flush(out);
                    // The line is broken at a space that does not fit.
                    if self.column < self.width {
                        out.push(' ');
                        self.column += 1;
                    }
                }
                _ => {
                    self.word.push(letter);
                    let grown = self.last.push(&self.word);
                    self.word_width = self.word_width.saturating_add_signed(grown);
                    // Longer than a line: broken at the end of the line, but not in a cluster.
                    if self.word_width > self.width && self.last.start() > 0 {
                        let (rest, last) = (self.word.split_off(self.last.start()), self.last);
                        self.word_width -= last.columns();
                        self.flush(out);
                        (self.word, self.word_width) = (rest, last.columns());
                        self.last = last.alone();
                    }
                }
            }
        }
    }

    /// Appends the word that was held back: nothing more follows for now.
    pub fn flush(&mut self, out: &mut String) {
        if self.word.is_empty() {
            return;
        }
        if self.column + self.word_width > self.width && self.column > 0 {
            out.push('\n');
            self.column = 0;
        }
        out.push_str(&self.word);
        self.column += self.word_width;
        self.word.clear();
        self.word_width = 0;
        self.last = LastCluster::NONE;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::width;

    /// Wraps a text that is pushed in pieces of `cut` characters.
    fn wrapped(width: usize, cut: usize, text: &str) -> String {
        let letters: Vec<char> = text.chars().collect();
        let (mut wrap, mut out) = (Wrap::new(width), String::new());
        for piece in letters.chunks(cut) {
            wrap.push(&piece.iter().collect::<String>(), &mut out);
        }
        wrap.flush(&mut out);
        out
    }

    #[test]
    fn lines_break_between_words_however_the_text_is_cut() {
        for (width, text, want) in [
            (10, "Once upon a time", "Once upon \na time"),
            (9, "Once upon a time", "Once upon\na time"),
            (10, "0123456789 12", "0123456789\n12"),
            (10, "0123456789\n12", "0123456789\n12"),
            (4, "0123456789", "0123\n4567\n89"),
            (4, "a 0123456789", "a \n0123\n4567\n89"),
            (10, "\n\n  a\n", "\n\n  a\n"),
            (5, "日本語 日本語", "日本\n語 \n日本\n語"),
            // A combining accent stays with its letter.
            (4, "abce\u{301}fg", "abce\u{301}\nfg"),
            // What is one character to a reader is not torn apart, and the sign that makes a
            // symbol an emoji may leave no room for it.
            (4, "abc👍🏽d", "abc\n👍🏽d"),
            (4, "🇩🇪🇫🇷🇮🇹", "🇩🇪🇫🇷\n🇮🇹"),
            (4, "abc❤d", "abc❤\nd"),
            (4, "abc❤\u{fe0f}d", "abc\n❤\u{fe0f}d"),
            (10, "", ""),
        ] {
            for cut in [1, 2, 3, 100] {
                assert_eq!(wrapped(width, cut, text), want, "{width} {cut}");
            }
        }
    }

    #[test]
    fn no_line_is_too_wide_and_no_letter_is_lost() {
        const PIECES: [&str; 9] = [
            "a",
            "b",
            " ",
            "\n",
            "日",
            "❤",
            "❤\u{fe0f}",
            "🇩🇪",
            "👩\u{200d}👧",
        ];
        let mut seed = 1u64;
        for _ in 0..2000 {
            let text: String = (0..60)
                .map(|_| {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(99);
                    PIECES[(seed >> 40) as usize % PIECES.len()]
                })
                .collect();
            let out = wrapped(7, 1 + (seed >> 50) as usize % 9, &text);
            for line in out.lines() {
                assert!(width::text(line) <= 7, "{line:?}");
            }
            let letters =
                |text: &str| -> String { text.chars().filter(|c| !c.is_whitespace()).collect() };
            assert_eq!(letters(&out), letters(&text));
        }
    }

    #[test]
    fn going_back() {
        let (mut wrap, mut out) = (Wrap::new(10), String::new());
        wrap.push("a\u{8} \u{8}\u{8}\u{8}b", &mut out);
        wrap.flush(&mut out);
        assert_eq!(out, "a\u{8} \u{8}b");
    }
}
