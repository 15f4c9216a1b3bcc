//! Text of the conversation in rows of the pane's width: it grows at the end, the oldest rows are
//! dropped, and only the last row, or the end of an answer in Markdown, is ever laid out again.

use alloc::collections::VecDeque;

use llama2_console::{
    front::{Style, styled},
    markdown::Markdown,
    row::Row,
    width::is_plain,
};

/// Number of rows that can be scrolled back to.
pub(crate) const ROWS: usize = 10_000;

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
    /// Answer that grows, and how many of the last rows may still change.
    answer: Option<(Markdown, usize)>,
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
            answer: None,
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
        self.word = row.text().len();
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
        if style == Style::Markdown {
            return self.push_answer(text);
        }
        self.end_answer();
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
                    if row.columns() < width {
                        row.push(style, " ", 1);
                    }
                    self.word = row.text().len();
                }
                _ if !is_plain(letter) => {}
                _ => self.letter(style, letter),
            }
        }
    }

    fn letter(&mut self, style: Style, letter: char) {
        let width = self.width;
        self.last();
        let word = self.word;
        let row = self.last();
        row.push_letter(style, letter);
        // A word that is longer than a row is broken at the end of the row, but not in a cluster.
        let from = if word > 0 { word } else { row.last_cluster() };
        if row.columns() > width && from > 0 {
            let next = row.split(from);
            self.begin(next);
            self.word = 0;
        }
    }

    /// Appends to the answer that grows, or begins one.
    fn push_answer(&mut self, text: &str) {
        if self.answer.is_none() {
            self.open = false;
        }
        let width = self.width;
        let (answer, _) = self.answer.get_or_insert_with(|| (Markdown::new(width), 0));
        answer.push(text);
        self.show_answer();
    }

    /// Replaces the rows of the answer that may have changed.
    fn show_answer(&mut self) {
        let Some((answer, live)) = &mut self.answer else {
            return;
        };
        let (mut rows, done) = answer.rows(false);
        // Nothing stands in a row yet that has just begun.
        rows.pop_if(|row| row.text().is_empty());
        let from = self.rows.len() - (*live).min(self.rows.len());
        let shown = self.rows.range(from..);
        let same = shown.zip(&rows).take_while(|(old, new)| old == new).count();
        *live = rows.len() - done.min(rows.len());
        if from + same < self.rows.len() {
            self.changed = self.changed.min(self.gone + from + same);
        }
        self.rows.truncate(from + same);
        rows.into_iter().skip(same).for_each(|row| self.begin(row));
        self.open = false;
    }

    /// Ends the answer.
    fn end_answer(&mut self) {
        if let Some((answer, _)) = &mut self.answer {
            answer.finish();
            self.show_answer();
            self.answer = None;
        }
    }

    /// Ends the last row.
    pub(crate) fn end_row(&mut self) {
        self.end_answer();
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
    use alloc::{
        string::{String, ToString},
        vec::Vec,
    };
    use llama2_console::{width, wrap::Wrap};

    fn rows(text: &Text) -> Vec<String> {
        text.rows.iter().map(|row| row.text().to_string()).collect()
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
        assert_eq!(text.row(4).map(Row::text), Some("y"));
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
        assert_eq!((text.rows[0].columns(), text.rows[1].columns()), (3, 4));
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
