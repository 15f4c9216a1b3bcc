//! Layout of the input line: rows of text and a cursor for a given width, and the differences
//! between two layouts.
//!
//! No row reaches the last column: terminals and firmware disagree about the cursor behind a full
//! row, and some scroll. [`crate::ansi`] and [`crate::grid`] draw the rows.

use alloc::vec::Vec;

use unicode_segmentation::UnicodeSegmentation;

use crate::{
    row::Row,
    style::Style,
    width::{self, is_plain},
};

/// Prompts of the input line.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    /// Prompt of the first line.
    pub first: &'a str,
    /// Prompt of each further line; continuation rows of a long line have none.
    pub more: &'a str,
}

/// Rows, and the cursor's position in them, counted from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// Rows, at least one.
    pub rows: Vec<Row>,
    /// Row of the cursor.
    pub row: usize,
    /// Column of the cursor.
    pub column: usize,
}

/// A cluster in a form that can be shown, and its columns. A cluster without width is shown too,
/// because the cursor stops at it.
fn shown(cluster: &str) -> (&str, usize) {
    match (cluster, width::cluster(cluster)) {
        ("\t", _) => (" ", 1),
        (_, 0) => ("\u{fffd}", 1),
        _ if !cluster.chars().all(is_plain) => ("\u{fffd}", 1),
        (_, columns) => (cluster, columns),
    }
}

/// Lays out a text for a console of `width` columns (at least 3). `cursor` is in bytes of the text.
pub fn lay_out(prompt: Prompt<'_>, text: &str, cursor: usize, width: usize) -> View {
    let room = width.max(3) - 1;
    let begin = |prompt: &str| {
        let mut row = Row::default();
        // A prompt must leave room for text.
        for cluster in prompt.graphemes(true) {
            let (cluster, columns) = shown(cluster);
            if row.columns() + columns > room / 2 {
                break;
            }
            row.push(Style::Prompt, cluster, columns);
        }
        row
    };
    let mut view = View::default();
    let mut row = begin(prompt.first);
    let mut place = None;
    for (at, cluster) in text.grapheme_indices(true) {
        if cluster == "\n" {
            if at >= cursor {
                place.get_or_insert((view.rows.len(), row.columns()));
            }
            view.rows
                .push(core::mem::replace(&mut row, begin(prompt.more)));
            continue;
        }
        let (cluster, columns) = shown(cluster);
        if row.columns() + columns > room {
            view.rows.push(core::mem::take(&mut row));
        }
        if at >= cursor {
            place.get_or_insert((view.rows.len(), row.columns()));
        }
        row.push(Style::Typed, cluster, columns);
    }
    (view.row, view.column) = place.unwrap_or((view.rows.len(), row.columns()));
    view.rows.push(row);
    view
}

impl View {
    /// Cuts the layout to `height` rows that contain the cursor. `top`, the first of them, moves no
    /// farther than necessary.
    pub fn cut(&mut self, top: &mut usize, height: usize) {
        let height = height.max(1);
        let least = (self.row + 1).saturating_sub(height);
        let most = self.rows.len().saturating_sub(height).min(self.row);
        *top = (*top).clamp(least, most.max(least));
        self.rows.drain(..*top);
        self.rows.truncate(height);
        self.row -= *top;
    }
}

/// Part of a row that has to be rewritten.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Column of its beginning.
    pub column: usize,
    /// Cells of the new row to write: index of the first, and their number.
    pub first: usize,
    pub count: usize,
    /// Columns behind them that are now empty.
    pub empty: usize,
}

/// Finds the change that turns `old` into `new`; `None` if they are equal.
pub(crate) fn change(old: &Row, new: &Row) -> Option<Change> {
    if old == new {
        return None;
    }
    let (before, after) = (old.cell_columns(), new.cell_columns());
    let same = || {
        old.cells()
            .zip(new.cells())
            .take_while(|(old, new)| old == new)
    };
    let first = same().count();
    let column = same().map(|(cell, _)| cell.columns).sum();
    let count = new.cells().count() - first;
    let mut change = Change {
        column,
        first,
        count,
        empty: before.saturating_sub(after),
    };
    if before == after {
        let shorter = count.min(old.cells().count() - first);
        let pairs = old.cells().rev().zip(new.cells().rev());
        change.count -= pairs
            .take_while(|(old, new)| old == new)
            .count()
            .min(shorter);
    }
    Some(change)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub const PROMPT: Prompt<'static> = Prompt {
        first: "> ",
        more: ". ",
    };

    fn rows(text: &str, cursor: usize, width: usize) -> (Vec<String>, (usize, usize)) {
        let view = lay_out(PROMPT, text, cursor, width);
        let rows = view.rows.iter().map(|row| row.text().to_string()).collect();
        (rows, (view.row, view.column))
    }

    #[test]
    fn rows_and_cursor() {
        for (text, cursor, width, want, place) in [
            ("", 0, 80, &["> "][..], (0, 2)),
            ("abc", 1, 80, &["> abc"], (0, 3)),
            ("abcd", 4, 6, &["> abc", "d"], (1, 1)),
            ("abcd", 3, 6, &["> abc", "d"], (1, 0)),
            ("abc", 3, 6, &["> abc"], (0, 5)),
            ("a\nb", 1, 80, &["> a", ". b"], (0, 3)),
            ("a\nb", 2, 80, &["> a", ". b"], (1, 2)),
            ("a\n", 2, 80, &["> a", ". "], (1, 2)),
            ("日本語", 6, 6, &["> 日", "本語"], (1, 2)),
            ("e\u{301}x", 3, 80, &["> e\u{301}x"], (0, 3)),
            ("a\tb\u{200b}", 3, 80, &["> a b\u{fffd}"], (0, 5)),
            ("日", 3, 1, &[">日"], (0, 3)),
        ] {
            // In the narrowest console a prompt leaves one column: the wide character goes below.
            let want: Vec<&str> = if width == 1 {
                vec![">", "日"]
            } else {
                want.to_vec()
            };
            let place = if width == 1 { (1, 2) } else { place };
            assert_eq!(
                rows(text, cursor, width),
                (want.iter().map(|row| row.to_string()).collect(), place),
                "{text:?}"
            );
        }
    }

    #[test]
    fn long_texts_are_cut_around_the_cursor() {
        let text = "a\nb\nc\nd\ne";
        let mut top = 0;
        for (cursor, first, row) in [
            (9, "> a", 4),
            (9, ". c", 2),
            (7, ". c", 1),
            (2, ". b", 0),
            (4, ". b", 1),
            (0, "> a", 0),
        ] {
            let mut view = lay_out(PROMPT, text, cursor, 80);
            let height = if first == "> a" && row == 4 { 9 } else { 3 };
            view.cut(&mut top, height);
            assert_eq!((view.rows[0].text(), view.row), (first, row), "{cursor}");
            assert!(view.rows.len() <= height);
        }
    }

    #[test]
    fn only_what_changed() {
        let row = |text: &str| lay_out(PROMPT, text, 0, 80).rows.remove(0);
        let changed = |old: &str, new: &str| {
            change(&row(old), &row(new))
                .map(|change| (change.column, change.first, change.count, change.empty))
        };
        assert_eq!(changed("abc", "abc"), None);
        assert_eq!(changed("abc", "abcd"), Some((5, 5, 1, 0)));
        assert_eq!(changed("abcd", "abc"), Some((5, 5, 0, 1)));
        assert_eq!(changed("abcd", "axcd"), Some((3, 3, 1, 0)));
        assert_eq!(changed("aaa", "aa"), Some((4, 4, 0, 1)));
        assert_eq!(changed("日b", "xyb"), Some((2, 2, 2, 0)));
        assert_eq!(changed("日", "本"), Some((2, 2, 1, 0)));
    }
}
