//! Input line, and the end of an answer, on a console with absolute positions: UEFI's text output,
//! or cells drawn by a program.

use alloc::{string::String, vec::Vec};

use crate::{
    row::Row,
    style::Style,
    view::{View, change},
    width,
};

/// A console of rows and columns, both counted from 0.
pub trait CellScreen {
    /// Number of columns and rows.
    fn size(&self) -> (usize, usize);

    /// Moves the cursor.
    fn move_to(&mut self, column: usize, row: usize);

    /// Writes text at the cursor; it contains no control characters and ends before the last
    /// column.
    fn write(&mut self, text: &str, style: Style);

    /// Scrolls up by one row; the last row is then empty. (UEFI: a line feed in the last row.)
    fn scroll(&mut self);
}

/// Rows that change, as shown on the console: the input line, or the end of an answer.
#[derive(Debug)]
pub struct Grid {
    shown: View,
    /// Row of the console in which they begin.
    start: usize,
    /// First row that is shown, if not all of them fit; of an answer, the first one that has not
    /// left the console.
    top: usize,
}

impl Grid {
    /// No rows, to begin in row `start` of the console, which must be empty.
    pub const fn new(start: usize) -> Grid {
        Grid {
            shown: View {
                rows: Vec::new(),
                row: 0,
                column: 0,
            },
            start,
            top: 0,
        }
    }

    /// Row of the console in which they begin; it decreases when the console scrolls.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Updates the console to show `view`.
    pub fn draw(&mut self, mut view: View, screen: &mut dyn CellScreen) {
        let (_, height) = screen.size();
        view.cut(&mut self.top, height);
        self.start = self.start.min(height.saturating_sub(1));
        while self.start > 0 && self.start + view.rows.len() > height {
            screen.scroll();
            self.start -= 1;
        }
        self.update(&view.rows, screen);
        screen.move_to(view.column, self.start + view.row);
        self.shown = view;
    }

    /// Updates the console to show the end of a text that grows: `rows`, at least one, with the
    /// cursor behind the last. The first `done` of them are final: the next call begins behind
    /// them. Rows that have left the console stay as they are.
    pub fn grow(&mut self, mut rows: Vec<Row>, done: usize, screen: &mut dyn CellScreen) {
        let (_, height) = screen.size();
        let least = rows.len().max(self.top + 1);
        rows.resize(least, Row::default());
        let done = done.min(least - 1);
        rows.drain(..self.top);
        let mut left = done.saturating_sub(self.top);
        self.top = self.top.saturating_sub(done);
        while self.start + rows.len() > height.max(1) {
            screen.scroll();
            match self.start {
                0 => {
                    rows.remove(0);
                    self.shown.rows.drain(..1.min(self.shown.rows.len()));
                    match left {
                        0 => self.top += 1,
                        _ => left -= 1,
                    }
                }
                _ => self.start -= 1,
            }
        }
        self.update(&rows, screen);
        let last = rows.len() - 1;
        let column = rows[last].cell_columns();
        screen.move_to(column, self.start + last);
        rows.drain(..left);
        self.start += left;
        (self.shown.row, self.shown.column) = (last - left, column);
        self.shown.rows = rows;
    }

    /// Writes the rows where they differ from those shown.
    fn update(&mut self, rows: &[Row], screen: &mut dyn CellScreen) {
        let nothing = Row::default();
        for i in 0..rows.len().max(self.shown.rows.len()) {
            let old = self.shown.rows.get(i).unwrap_or(&nothing);
            let new = rows.get(i).unwrap_or(&nothing);
            let Some(change) = change(old, new) else {
                continue;
            };
            let mut column = change.column;
            screen.move_to(column, self.start + i);
            let mut run = (String::new(), Style::Answer);
            let flush = |run: &mut (String, Style), screen: &mut dyn CellScreen| {
                if !run.0.is_empty() {
                    screen.write(&run.0, run.1);
                    run.0.clear();
                }
            };
            for cell in new.cells().skip(change.first).take(change.count) {
                // A console that shows only one of two columns leaves the old contents in the
                // other.
                if cell.columns == 2 || width::is_doubtful(cell.text) {
                    flush(&mut run, screen);
                    screen.write(&"  "[..cell.columns], cell.style);
                    screen.move_to(column, self.start + i);
                    screen.write(cell.text, cell.style);
                    screen.move_to(column + cell.columns, self.start + i);
                } else {
                    if run.1 != cell.style {
                        flush(&mut run, screen);
                    }
                    run.0.push_str(cell.text);
                    run.1 = cell.style;
                }
                column += cell.columns;
            }
            run.0.extend(core::iter::repeat_n(' ', change.empty));
            flush(&mut run, screen);
        }
    }

    /// Removes the line from the console, and moves the cursor to its beginning.
    pub fn hide(&mut self, screen: &mut dyn CellScreen) {
        let start = self.start;
        self.draw(View::default_row(), screen);
        *self = Grid::new(start);
    }

    /// Leaves the line on the console, and moves the cursor to the beginning of the row below.
    pub fn leave(&mut self, screen: &mut dyn CellScreen) {
        let (_, height) = screen.size();
        let mut below = self.start + self.shown.rows.len();
        while below >= height.max(1) {
            screen.scroll();
            below -= 1;
        }
        screen.move_to(0, below);
        *self = Grid::new(below);
    }
}

impl View {
    /// One empty row.
    fn default_row() -> View {
        View {
            rows: alloc::vec![Row::default()],
            row: 0,
            column: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ansi::tests::{KEYS, Terminal, wanted},
        editor::Editor,
        view::{lay_out, tests::PROMPT},
    };
    use unicode_segmentation::UnicodeSegmentation;

    impl CellScreen for Terminal {
        fn size(&self) -> (usize, usize) {
            (self.cells[0].len(), self.cells.len())
        }

        fn move_to(&mut self, column: usize, row: usize) {
            assert!(column < self.cells[0].len() && row < self.cells.len());
            (self.column, self.row) = (column, row);
        }

        fn write(&mut self, text: &str, _: Style) {
            text.graphemes(true).for_each(|cluster| self.put(cluster));
        }

        fn scroll(&mut self) {
            Terminal::scroll(self);
        }
    }

    #[test]
    fn the_console_shows_the_view_after_every_key() {
        let mut random = crate::random(13);
        for _ in 0..200 {
            let (columns, rows) = (3 + random(30), 1 + random(8));
            let mut console = Terminal::new(columns, rows);
            let mut grid = Grid::new(random(rows));
            let mut editor = Editor::default();
            let mut top = 0;
            for _ in 0..200 {
                let key = if random(2) == 0 {
                    KEYS[random(7)]
                } else {
                    KEYS[random(KEYS.len())]
                };
                editor.press(key);
                if random(50) == 0 {
                    grid.hide(&mut console);
                    assert_eq!((console.column, console.row), (0, grid.start()));
                    top = 0;
                }
                let mut view = lay_out(PROMPT, editor.text(), editor.cursor(), columns);
                grid.draw(view.clone(), &mut console);
                view.cut(&mut top, rows);
                let seen = console.seen();
                let end = grid.start() + view.rows.len();
                assert_eq!(
                    seen[grid.start()..end],
                    wanted(&view),
                    "{:?}",
                    editor.text()
                );
                assert!(
                    seen[end..].iter().all(String::is_empty),
                    "nothing is left over"
                );
                assert_eq!(
                    (console.column, console.row),
                    (view.column, grid.start() + view.row)
                );
            }
            grid.leave(&mut console);
            assert_eq!(console.seen()[console.row], "", "below the line");
        }
    }

    #[test]
    fn few_calls() {
        struct Counter(Vec<String>);
        impl CellScreen for Counter {
            fn size(&self) -> (usize, usize) {
                (80, 25)
            }
            fn move_to(&mut self, column: usize, row: usize) {
                self.0.push(format!("{column},{row}"));
            }
            fn write(&mut self, text: &str, _: Style) {
                self.0.push(text.into());
            }
            fn scroll(&mut self) {
                self.0.push("scroll".into());
            }
        }
        let mut grid = Grid::new(24);
        let mut calls = Counter(Vec::new());
        grid.draw(lay_out(PROMPT, "ab", 2, 80), &mut calls);
        grid.draw(lay_out(PROMPT, "ab", 1, 80), &mut calls);
        calls.0.clear();
        grid.draw(lay_out(PROMPT, "axb", 2, 80), &mut calls);
        assert_eq!(calls.0, ["3,24", "xb", "4,24"]);
        calls.0.clear();
        grid.draw(lay_out(PROMPT, "axb\n", 4, 80), &mut calls);
        assert_eq!(calls.0, ["scroll", "0,24", ". ", "2,24"]);
    }
}
