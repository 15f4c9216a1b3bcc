//! Rows of text in styles, as laid out for a display.

use alloc::{string::String, vec::Vec};

use unicode_segmentation::UnicodeSegmentation;

use crate::{
    style::Style,
    width::{self, LastCluster},
};

/// Row: text, and the styles with the byte offsets at which they begin.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Row {
    text: String,
    runs: Vec<(usize, Style)>,
    columns: usize,
    last: LastCluster,
}

/// Grapheme cluster of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell<'a> {
    /// Its characters.
    pub text: &'a str,
    /// Style.
    pub style: Style,
    /// Width in columns, 0 to 2.
    pub columns: usize,
}

impl Row {
    /// Text without styles.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Width in columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Offset of the last cluster.
    pub fn last_cluster(&self) -> usize {
        self.last.start()
    }

    /// Parts of one style each.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (Style, &str)> {
        (0..self.runs.len()).map(|i| {
            let (from, style) = self.runs[i];
            let to = self.runs.get(i + 1).map_or(self.text.len(), |next| next.0);
            (style, &self.text[from..to])
        })
    }

    /// Style of the beginning.
    pub fn style(&self) -> Option<Style> {
        self.runs.first().map(|run| run.1)
    }

    /// Clusters, each within a run.
    pub fn cells(&self) -> impl DoubleEndedIterator<Item = Cell<'_>> {
        self.runs().flat_map(|(style, text)| {
            text.graphemes(true).map(move |text| Cell {
                text,
                style,
                columns: width::cluster(text),
            })
        })
    }

    /// Width of the cells in columns.
    pub(crate) fn cell_columns(&self) -> usize {
        self.cells().map(|cell| cell.columns).sum()
    }

    /// Appends text of this width.
    pub fn push(&mut self, style: Style, text: &str, columns: usize) {
        if text.is_empty() {
            return;
        }
        self.begin_run(style);
        self.text.push_str(text);
        self.columns += columns;
        self.last = LastCluster::of(&self.text);
    }

    /// Appends a letter, which may join the last cluster.
    pub fn push_letter(&mut self, style: Style, letter: char) {
        self.begin_run(style);
        self.text.push(letter);
        let grown = self.last.push(&self.text);
        self.columns = self.columns.saturating_add_signed(grown);
    }

    fn begin_run(&mut self, style: Style) {
        if self.runs.last().is_none_or(|run| run.1 != style) {
            self.runs.push((self.text.len(), style));
        }
    }

    /// Appends another row.
    pub(crate) fn append(&mut self, other: &Row) {
        for (style, text) in other.runs() {
            self.push(style, text, 0);
        }
        self.columns += other.columns;
    }

    /// Splits off what is behind the byte `from`.
    pub fn split(&mut self, from: usize) -> Row {
        let mut tail = Row::default();
        for (i, &(at, style)) in self.runs.iter().enumerate() {
            let to = self.runs.get(i + 1).map_or(self.text.len(), |next| next.0);
            for letter in self.text[from.clamp(at, to)..to].chars() {
                tail.push_letter(style, letter);
            }
        }
        self.text.truncate(from);
        self.runs.retain(|run| run.0 < from);
        self.columns = width::text(&self.text);
        self.last = LastCluster::of(&self.text);
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_stay_with_their_letters() {
        let mut row = Row::default();
        for (style, text) in [
            (Style::Answer, "a日"),
            (Style::Strong, "b"),
            (Style::Code, "cd"),
        ] {
            text.chars()
                .for_each(|letter| row.push_letter(style, letter));
        }
        assert_eq!((row.columns(), row.cells().count()), (6, 5));
        let tail = row.split(4);
        assert_eq!((row.text(), row.columns(), tail.text()), ("a日", 3, "bcd"));
        let runs: Vec<_> = tail.runs().collect();
        assert_eq!(runs, [(Style::Strong, "b"), (Style::Code, "cd")]);
        row.append(&tail);
        assert_eq!((row.columns(), row.runs().count()), (6, 3));
        assert_eq!(row.split(0).text(), "a日bcd");
        assert_eq!((row.columns(), row.style()), (0, None));
    }
}
