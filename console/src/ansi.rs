//! Input line on a terminal behind a byte stream: it sends few bytes, queries nothing, and uses no
//! absolute positions.
//!
//! It requires CR, LF, backspace, `CSI A B C D` (cursor), `CSI J K` (erase to the end), and `CSI m`
//! for colours. All successors of the VT100 support these.

use alloc::{format, string::String, vec::Vec};

use crate::{
    row::Row,
    style::Style,
    view::{View, change},
    width,
};

/// Ends every style.
pub(crate) const PLAIN: &str = "\x1b[0m";

/// Escape code before a text of this style (ECMA-48, SGR); empty if it looks like any other.
/// Without colours, Markdown is bold, italic or faint, and nothing else is.
pub(crate) fn sgr(style: Style, colours: bool) -> &'static str {
    match style {
        Style::Strong | Style::Title => "\x1b[1m",
        Style::Emphasis => "\x1b[3m",
        Style::Faint => "\x1b[2m",
        Style::Code if !colours => "\x1b[1m",
        _ if !colours => "",
        Style::User | Style::Prompt => "\x1b[1m",
        Style::Name | Style::Code | Style::Listing => "\x1b[36m",
        Style::Warning => "\x1b[33m",
        Style::Error => "\x1b[31m",
        Style::Thought | Style::Info => "\x1b[2m",
        Style::Summary => "\x1b[32m",
        Style::Answer | Style::Markdown | Style::Typed => "",
    }
}

/// Asks a terminal to mark pasted text ([`crate::keys`] handles the marks), sent when the session
/// begins; ignored by terminals that cannot.
pub const PASTE_ON: &str = "\x1b[?2004h";
/// Undoes [`PASTE_ON`], sent when the session ends.
pub const PASTE_OFF: &str = "\x1b[?2004l";
/// Asks a terminal whose cursor is in the first column for the number of its last column, which it
/// reports as a cursor position ([`crate::decoder::Keys::place`]). Anything but a terminal does not
/// answer.
pub const ASK_WIDTH: &str = "\x1b[999C\x1b[6n\r";
/// Empties the screen, for [`crate::editor::EditorEvent::ClearScreen`].
pub const CLEAR: &str = "\x1b[H\x1b[2J";
/// Rings the bell, for [`crate::editor::EditorEvent::Refused`].
pub const BELL: &str = "\x07";

/// Rows that change, as shown on the terminal: the input line, or the end of an answer.
#[derive(Debug)]
pub struct Ansi {
    shown: View,
    /// First row of the text that is shown, if not all of them fit; of an answer, the first one
    /// that has not left the screen.
    top: usize,
    height: usize,
    styled: bool,
}

impl Ansi {
    /// No rows, on a terminal of `height` rows; with colours if `styled`.
    pub const fn new(height: usize, styled: bool) -> Ansi {
        Ansi {
            shown: View {
                rows: alloc::vec::Vec::new(),
                row: 0,
                column: 0,
            },
            top: 0,
            height,
            styled,
        }
    }

    /// Sets the number of rows of the terminal.
    pub fn set_height(&mut self, height: usize) {
        self.height = height;
    }

    /// Number of rows of the terminal.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Returns true if something is shown.
    pub fn is_shown(&self) -> bool {
        !self.shown.rows.is_empty()
    }

    /// Updates the terminal to show `view`; appends what has to be sent to `out`. If nothing is
    /// shown yet, the cursor must be at the beginning of an empty row.
    pub fn draw(&mut self, mut view: View, out: &mut String) {
        view.cut(&mut self.top, self.height);
        self.update(&view.rows, 0, out);
        self.go(view.row, view.column, out);
        self.shown = view;
    }

    /// Updates the terminal to show the end of a text that grows: `rows`, at least one, with the
    /// cursor behind the last. The first `done` of them are final: the next call begins behind
    /// them. Rows that have left the screen stay as they are. If nothing is shown yet, the cursor
    /// must be at the beginning of an empty row.
    pub fn grow(&mut self, mut rows: Vec<Row>, done: usize, out: &mut String) {
        // What has left the screen cannot be taken back, even if there is less text now.
        let least = rows.len().max(self.top + 1);
        rows.resize(least, Row::default());
        self.update(&rows, self.top, out);
        let last = rows.len() - 1;
        self.go(last, rows[last].cell_columns(), out);
        self.top = self.top.max(rows.len().saturating_sub(self.height));
        let done = done.min(last);
        rows.drain(..done);
        self.top = self.top.saturating_sub(done);
        self.shown.row -= done;
        self.shown.rows = rows;
    }

    /// Writes the rows from `from` on, where they differ from those shown.
    fn update(&mut self, rows: &[Row], from: usize, out: &mut String) {
        for (i, row) in rows.iter().enumerate().skip(from) {
            match self.shown.rows.get(i) {
                Some(old) => {
                    if let Some(change) = change(old, row) {
                        self.go(i, change.column, out);
                        self.write(row, change.first, change.count, out);
                        if change.empty > 0 {
                            out.push_str("\x1b[K");
                        }
                    }
                }
                None => {
                    if i > 0 {
                        self.go(i - 1, self.shown.column, out);
                        out.push_str("\r\n");
                        (self.shown.row, self.shown.column) = (i, 0);
                    }
                    self.write(row, 0, usize::MAX, out);
                    // Tells `go` that the row exists.
                    self.shown.rows.push(Row::default());
                }
            }
        }
        if self.shown.rows.len() > rows.len() {
            self.go(rows.len(), 0, out);
            out.push_str("\x1b[J");
        }
    }

    /// Removes the line from the terminal and leaves the cursor at its beginning, to print
    /// something there.
    pub fn hide(&mut self, out: &mut String) {
        if self.is_shown() {
            self.go(0, 0, out);
            out.push_str("\x1b[J");
        }
        self.forget();
    }

    /// Like [`hide`](Self::hide), for a terminal that is now `columns` wide and has wrapped wider
    /// rows, as most do. If it has cut them off instead, rows above are lost.
    pub fn hide_in(&mut self, columns: usize, out: &mut String) {
        let columns = columns.max(1);
        let above = self.shown.rows.iter().take(self.shown.row);
        let rows = above.map(|row| row.columns().max(1).div_ceil(columns));
        let up = rows.sum::<usize>() + self.shown.column / columns;
        if self.is_shown() {
            if up > 0 {
                moved(up, 'A', out);
            }
            out.push_str("\r\x1b[J");
        }
        self.forget();
    }

    /// Leaves the line on the terminal and moves the cursor to the row below.
    pub fn leave(&mut self, out: &mut String) {
        if let Some(last) = self.shown.rows.len().checked_sub(1) {
            self.go(last, self.shown.column, out);
            out.push_str("\r\n");
        }
        self.forget();
    }

    /// Forgets what was shown, because the screen was cleared.
    pub fn forget(&mut self) {
        self.shown = View::default();
        self.top = 0;
    }

    /// Writes `count` cells of a row at the cursor.
    fn write(&mut self, row: &Row, first: usize, count: usize, out: &mut String) {
        let mut on = "";
        for cell in row.cells().skip(first).take(count) {
            let wanted = sgr(cell.style, self.styled);
            if wanted != on {
                out.push_str(if on.is_empty() { "" } else { PLAIN });
                out.push_str(wanted);
                on = wanted;
            }
            out.push_str(cell.text);
            self.shown.column += cell.columns;
            // Wherever the terminal thinks that it is.
            if width::is_doubtful(cell.text) {
                out.push('\r');
                forward(self.shown.column, out);
            }
        }
        out.push_str(if on.is_empty() { "" } else { PLAIN });
    }

    /// Moves the cursor to an existing row.
    fn go(&mut self, row: usize, column: usize, out: &mut String) {
        if row < self.shown.row {
            moved(self.shown.row - row, 'A', out);
        } else if row > self.shown.row && column == 0 {
            (self.shown.row..row).for_each(|_| out.push_str("\r\n"));
            self.shown.column = 0;
        } else if row > self.shown.row {
            moved(row - self.shown.row, 'B', out);
        }
        let now = self.shown.column;
        if column > now {
            forward(column - now, out);
        } else if column == 0 && now > 0 {
            out.push('\r');
        } else if now - column <= 3 {
            (column..now).for_each(|_| out.push('\x08'));
        } else {
            moved(now - column, 'D', out);
        }
        (self.shown.row, self.shown.column) = (row, column);
    }
}

/// Appends `CSI n X`, without the number if it is 1, which is the default.
fn moved(count: usize, letter: char, out: &mut String) {
    match count {
        1 => out.push_str(&format!("\x1b[{letter}")),
        _ => out.push_str(&format!("\x1b[{count}{letter}")),
    }
}

fn forward(columns: usize, out: &mut String) {
    if columns > 0 {
        moved(columns, 'C', out);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{
        editor::Editor,
        keys::Key,
        view::{lay_out, tests::PROMPT},
    };
    use unicode_segmentation::UnicodeSegmentation;

    /// Simulated terminal for tests: cells and cursor.
    pub struct Terminal {
        pub cells: Vec<Vec<String>>,
        pub row: usize,
        pub column: usize,
    }

    impl Terminal {
        pub fn new(columns: usize, rows: usize) -> Terminal {
            Terminal {
                cells: vec![vec![String::from(" "); columns]; rows],
                row: 0,
                column: 0,
            }
        }

        fn columns(&self) -> usize {
            self.cells[0].len()
        }

        pub fn scroll(&mut self) {
            let columns = self.columns();
            self.cells.remove(0);
            self.cells.push(vec![" ".into(); columns]);
        }

        pub fn put(&mut self, cluster: &str) {
            let columns = width::cluster(cluster);
            assert!(
                self.column + columns < self.columns(),
                "the last column is never written"
            );
            let row = &mut self.cells[self.row];
            // The halves of a wide one that is written over are gone.
            if row[self.column].is_empty() {
                row[self.column - 1] = " ".into();
            }
            if row[self.column + columns].is_empty() {
                row[self.column + columns] = " ".into();
            }
            row[self.column] = cluster.into();
            if columns == 2 {
                row[self.column + 1].clear();
            }
            self.column += columns;
        }

        pub fn feed(&mut self, text: &str) {
            let mut clusters = text.graphemes(true).peekable();
            while let Some(cluster) = clusters.next() {
                match cluster {
                    "\r\n" => {
                        self.column = 0;
                        self.row += 1;
                        if self.row == self.cells.len() {
                            self.row -= 1;
                            self.scroll();
                        }
                    }
                    "\r" => self.column = 0,
                    "\x08" => self.column -= 1,
                    "\x1b" => {
                        assert_eq!(clusters.next(), Some("["));
                        let mut number = String::new();
                        let last = loop {
                            match clusters.next().unwrap() {
                                digit if digit.as_bytes()[0].is_ascii_digit() => {
                                    number.push_str(digit)
                                }
                                last => break last,
                            }
                        };
                        let count = number.parse().unwrap_or(1);
                        match last {
                            "A" => {
                                self.row = self.row.checked_sub(count).expect("above the screen")
                            }
                            "B" => self.row += count,
                            "C" => self.column += count,
                            "D" => self.column -= count,
                            "K" | "J" => {
                                let column = self.column;
                                self.cells[self.row][column..].fill(" ".into());
                                if last == "J" {
                                    let row = self.row;
                                    self.cells[row + 1..]
                                        .iter_mut()
                                        .for_each(|row| row.fill(" ".into()));
                                }
                            }
                            "m" => (),
                            other => panic!("CSI {other}"),
                        }
                        assert!(self.row < self.cells.len() && self.column < self.columns());
                    }
                    _ => self.put(cluster),
                }
            }
        }

        pub fn seen(&self) -> Vec<String> {
            let lines = self
                .cells
                .iter()
                .map(|row| row.concat().trim_end().to_string());
            lines.collect()
        }
    }

    /// Rows that the terminal must show at the bottom, down to the last one of `view`.
    pub fn wanted(view: &View) -> Vec<String> {
        view.rows
            .iter()
            .map(|row| row.text().trim_end().to_string())
            .collect()
    }

    pub const KEYS: [Key; 22] = [
        Key::Char('a'),
        Key::Char('b'),
        Key::Char(' '),
        Key::Char('日'),
        Key::Char('🙂'),
        Key::Char('\u{301}'),
        Key::Newline,
        Key::Left,
        Key::Right,
        Key::Up,
        Key::Down,
        Key::Home,
        Key::End,
        Key::Backspace,
        Key::Delete,
        Key::WordLeft,
        Key::WordRight,
        Key::Ctrl('k'),
        Key::Ctrl('u'),
        Key::Ctrl('w'),
        Key::Ctrl('y'),
        Key::Char('\t'),
    ];

    #[test]
    fn the_terminal_shows_the_view_after_every_key() {
        let mut random = crate::random(11);
        for round in 0..200 {
            let (columns, rows) = (3 + random(30), 1 + random(8));
            let mut terminal = Terminal::new(columns, rows);
            let mut ansi = Ansi::new(rows, round % 2 == 0);
            let mut editor = Editor::default();
            let mut top = 0;
            for _ in 0..200 {
                let key = if random(2) == 0 {
                    KEYS[random(7)]
                } else {
                    KEYS[random(KEYS.len())]
                };
                editor.press(key);
                let mut out = String::new();
                if random(50) == 0 {
                    ansi.hide(&mut out);
                    out.push_str("x\r\n");
                    top = 0;
                }
                let view = lay_out(PROMPT, editor.text(), editor.cursor(), columns);
                ansi.draw(view.clone(), &mut out);
                terminal.feed(&out);
                let mut view = view;
                view.cut(&mut top, rows);
                let first = terminal.row - view.row;
                let seen = &terminal.seen()[first..first + view.rows.len()];
                assert_eq!(seen, wanted(&view), "{:?}", editor.text());
                assert_eq!(terminal.column, view.column);
                let below = &terminal.seen()[first + view.rows.len()..];
                assert!(below.iter().all(String::is_empty), "nothing is left over");
            }
        }
    }

    #[test]
    fn few_bytes() {
        let mut ansi = Ansi::new(24, false);
        let mut drawn = |text: &str, cursor: usize| {
            let mut out = String::new();
            ansi.draw(lay_out(PROMPT, text, cursor, 80), &mut out);
            out
        };
        assert_eq!(drawn("", 0), "> ");
        assert_eq!(drawn("a", 1), "a");
        assert_eq!(drawn("ab", 2), "b");
        assert_eq!(drawn("ab", 1), "\x08");
        assert_eq!(drawn("axb", 2), "xb\x08");
        assert_eq!(drawn("axb", 3), "\x1b[C");
        assert_eq!(drawn("ax", 2), "\x08\x1b[K");
        assert_eq!(drawn("ax\nc", 4), "\r\n. c");
        assert_eq!(drawn("ax", 2), "\r\x1b[J\x1b[A\x1b[4C");
    }

    #[test]
    fn leaving_and_styles() {
        let mut ansi = Ansi::new(24, true);
        let mut out = String::new();
        ansi.hide(&mut out);
        ansi.leave(&mut out);
        assert_eq!(out, "");
        ansi.draw(lay_out(PROMPT, "a\nb", 1, 80), &mut out);
        assert_eq!(out, "\x1b[1m> \x1b[0ma\r\n\x1b[1m. \x1b[0mb\x1b[A");
        out.clear();
        ansi.leave(&mut out);
        assert_eq!(out, "\x1b[B\r\n");
        assert!(!ansi.is_shown());
    }
}
