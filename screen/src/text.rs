//! Text of the conversation in rows of the pane's width: it grows at the end, the oldest rows are
//! dropped, and only the last row is ever wrapped again.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use llama2_console::{
    front::{Style, styled},
    width::{self, is_plain},
};

/// Number of rows that can be scrolled back to.
pub(crate) const ROWS: usize = 10_000;

/// Row: text, and the styles with the byte offsets at which they begin.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    text: String,
    runs: Vec<(usize, Style)>,
    columns: usize,
}

impl Row {
    /// Parts of one style each.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (Style, &str)> {
        let ends = self.runs.iter().skip(1).map(|run| run.0);
        let ends = ends.chain([self.text.len()]);
        let runs = self.runs.iter().zip(ends);
        runs.map(|(&(from, style), to)| (style, &self.text[from..to]))
    }

    /// Style of the beginning.
    pub(crate) fn style(&self) -> Option<Style> {
        self.runs.first().map(|run| run.1)
    }

    fn push(&mut self, style: Style, letter: char, columns: usize) {
        if self.runs.last().is_none_or(|run| run.1 != style) {
            self.runs.push((self.text.len(), style));
        }
        self.text.push(letter);
        self.columns += columns;
    }

    /// Splits off what is behind `from`.
    fn split(&mut self, from: usize) -> Row {
        let mut tail = Row::default();
        for (style, text) in self.runs() {
            // Offset of this run in the row's text.
            let at = text.as_ptr() as usize - self.text.as_ptr() as usize;
            let skipped = from.saturating_sub(at).min(text.len());
            for letter in text[skipped..].chars() {
                tail.push(style, letter, width::letter(letter));
            }
        }
        self.text.truncate(from);
        self.runs.retain(|run| run.0 < from);
        self.columns -= tail.columns;
        tail
    }
}

/// All rows that can be scrolled back to. Rows are numbered from the first one ever.
#[derive(Debug)]
pub(crate) struct Text {
    width: usize,
    rows: VecDeque<Row>,
    /// Number of rows dropped.
    gone: usize,
    /// True if the last row still grows.
    open: bool,
    /// Offset in the last row of the word that may have to move to the next row.
    word: usize,
    /// First row that has changed since the last call of [`Text::changed`].
    changed: usize,
}

impl Text {
    /// An empty text, `width` columns wide.
    pub(crate) fn new(width: usize) -> Text {
        Text {
            width: width.max(1),
            rows: VecDeque::new(),
            gone: 0,
            open: false,
            word: 0,
            changed: 0,
        }
    }

    /// Number of the first row that is kept.
    pub(crate) fn first(&self) -> usize {
        self.gone
    }

    /// Number behind that of the last row.
    pub(crate) fn end(&self) -> usize {
        self.gone + self.rows.len()
    }

    /// Row with this number.
    pub(crate) fn row(&self, number: usize) -> Option<&Row> {
        self.rows.get(number.checked_sub(self.gone)?)
    }

    /// First row that has changed since the last call.
    pub(crate) fn changed(&mut self) -> usize {
        core::mem::replace(&mut self.changed, usize::MAX)
    }

    fn begin(&mut self, row: Row) {
        self.word = row.text.len();
        self.rows.push_back(row);
        self.open = true;
        self.changed = self.changed.min(self.end() - 1);
        if self.rows.len() > ROWS {
            self.rows.pop_front();
            self.gone += 1;
        }
    }

    /// The last row, to which text is added.
    fn last(&mut self) -> &mut Row {
        if !self.open || self.rows.is_empty() {
            self.begin(Row::default());
        }
        self.changed = self.changed.min(self.end() - 1);
        let last = self.rows.len() - 1;
        &mut self.rows[last]
    }

    /// Appends text, wrapped between words.
    pub(crate) fn push(&mut self, style: Style, text: &str) {
        for letter in text.chars() {
            match letter {
                '\n' => {
                    self.last();
                    self.open = false;
                }
                ' ' | '\t' => {
                    let width = self.width;
                    let row = self.last();
                    // The row is broken at a space that does not fit.
                    if row.columns < width {
                        row.push(style, ' ', 1);
                    }
                    self.word = row.text.len();
                }
                _ if !is_plain(letter) => {}
                _ => self.letter(style, letter),
            }
        }
    }

    fn letter(&mut self, style: Style, letter: char) {
        let (width, columns) = (self.width, width::letter(letter));
        let word = match self.open {
            true => self.word,
            false => 0,
        };
        let row = self.last();
        if row.columns + columns <= width {
            return row.push(style, letter, columns);
        }
        // A word that is longer than a row is broken at the end of the row.
        let mut next = match word {
            0 => Row::default(),
            word => row.split(word),
        };
        next.push(style, letter, columns);
        self.begin(next);
        self.word = 0;
    }

    /// Ends the last row.
    pub(crate) fn end_row(&mut self) {
        self.open = false;
    }

    /// Appends lines that are already laid out, without wrapping them between words.
    pub(crate) fn lay_out(&mut self, style: Style, text: &str) {
        self.end_row();
        for line in text.lines() {
            self.last();
            styled(style, line, &mut |style, part| {
                for letter in part.chars().filter(|letter| is_plain(*letter)) {
                    // All before it is one word that is not moved.
                    self.word = 0;
                    self.letter(style, letter);
                }
            });
            self.end_row();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use llama2_console::wrap::Wrap;

    fn rows(text: &Text) -> Vec<String> {
        text.rows.iter().map(|row| row.text.clone()).collect()
    }

    #[test]
    fn words_move_to_the_next_row_as_they_grow() {
        let mut text = Text::new(10);
        text.push(Style::Answer, "Once upon");
        assert_eq!(text.changed(), 0);
        text.push(Style::Answer, " at");
        assert_eq!(rows(&text), ["Once upon ", "at"]);
        assert_eq!(text.changed(), 0);
        text.push(Style::Answer, "e it\n");
        assert_eq!((text.changed(), text.changed()), (1, usize::MAX));
        text.push(Style::Answer, "\n");
        text.push(Style::Info, "x");
        assert_eq!(rows(&text), ["Once upon ", "ate it", "", "x"]);
        text.end_row();
        text.push(Style::Info, "y");
        assert_eq!(text.row(4).map(|row| row.text.as_str()), Some("y"));
        text.lay_out(Style::Info, "a  b   c    d\n\nz\n");
        assert_eq!(rows(&text)[5..], ["a  b   c  ", "  d", "", "z"]);
    }

    #[test]
    fn styles_move_with_their_words() {
        let mut text = Text::new(6);
        text.push(Style::User, "ab c");
        text.push(Style::Answer, "de");
        text.push(Style::Info, "f");
        let row = text.row(1).unwrap();
        let runs: Vec<_> = row.runs().map(|(s, t)| (s, t.to_string())).collect();
        assert_eq!(
            runs,
            [
                (Style::User, "c".to_string()),
                (Style::Answer, "de".to_string()),
                (Style::Info, "f".to_string())
            ]
        );
        assert_eq!(text.row(0).unwrap().runs().count(), 1);
        assert_eq!((text.rows[0].columns, text.rows[1].columns), (3, 4));
    }

    #[test]
    fn rows_are_those_of_a_terminal() {
        let mut seed = 7u64;
        for _ in 0..2000 {
            let content: String = (0..60)
                .map(|_| {
                    seed = seed
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(99);
                    ['a', 'b', ' ', '日', '\n', '\u{301}'][(seed >> 40) as usize % 6]
                })
                .collect();
            // A word that is longer than a row begins on a new row here, and in place there.
            if content.split_whitespace().any(|word| width::text(word) > 7) {
                continue;
            }
            let (mut wrap, mut out) = (Wrap::new(7), String::new());
            wrap.push(&content, &mut out);
            wrap.flush(&mut out);
            let mut text = Text::new(7);
            text.push(Style::Answer, &content);
            let want: Vec<&str> = out.split_terminator('\n').collect();
            assert_eq!(rows(&text), want, "{content:?}");
        }
    }

    #[test]
    fn the_oldest_rows_go() {
        let mut text = Text::new(10);
        for _ in 0..ROWS + 5 {
            text.push(Style::Answer, "a\n");
        }
        assert_eq!((text.first(), text.end()), (5, ROWS + 5));
        assert!(text.row(4).is_none() && text.row(5).is_some());
    }
}
