//! Terminal on the serial line that keeps the rows that leave it.

use std::{num::NonZeroU16, ops::Range};

use llama2_engine::utf8::Utf8Stream;
use vt100::{Callbacks, Parser, capture::RowContents};

/// Size: taller than any line that is edited and wider than most replies, which are not wrapped,
/// so that rows stay where they are.
const ROWS: NonZeroU16 = NonZeroU16::new(200).unwrap();
const COLUMNS: NonZeroU16 = NonZeroU16::new(2048).unwrap();
/// Replacement character for invalid bytes, which vt100 ignores, and a private-use one in its
/// place.
const BROKEN: [&str; 2] = ["\u{fffd}", "\u{f8ff}"];
/// Sequence that empties a screen (ECMA-48, ED).
const CLEAR: &[u8] = b"\x1b[2J";

/// All rows shown so far, in their current state, including those that left the screen. An emptied
/// screen continues below them.
pub struct Terminal {
    parser: Parser<Above>,
    /// Decoder for characters that arrive in pieces.
    characters: Utf8Stream,
    /// The last bytes received.
    tail: [u8; CLEAR.len()],
    /// Lowest row of the screen that the cursor has been in.
    lowest: u16,
}

/// Rows above the screen.
#[derive(Default)]
struct Above(Vec<String>);

impl Callbacks for Above {
    fn on_scroll(&mut self, row: RowContents<'_>, _: bool) {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = row.write_formatted_basic(&mut text, &mut Default::default());
        self.0
            .push(vt100::capture::basic_formatted_to_plain(&text).collect());
    }
}

impl Default for Terminal {
    fn default() -> Terminal {
        Terminal {
            parser: Parser::new_with_callbacks(ROWS, COLUMNS, 0, Above::default()),
            characters: Utf8Stream::default(),
            tail: Default::default(),
            lowest: 0,
        }
    }
}

impl Terminal {
    /// Handles bytes of the line.
    pub fn take(&mut self, bytes: &[u8]) {
        let mut text = String::new();
        self.characters.push(bytes, &mut text);
        for byte in text.replace(BROKEN[0], BROKEN[1]).bytes() {
            self.tail.rotate_left(1);
            self.tail[CLEAR.len() - 1] = byte;
            if self.tail == CLEAR {
                let rows = (0..self.count() - self.above()).map(|row| self.on_screen(row));
                let rows: Vec<String> = rows.collect();
                self.parser.callbacks_mut().0.extend(rows);
                self.lowest = 0;
            }
            self.parser.process(&[byte]);
            self.lowest = self.lowest.max(self.parser.screen().cursor_position().0);
        }
    }

    fn above(&self) -> usize {
        self.parser.callbacks().0.len()
    }

    fn on_screen(&self, row: usize) -> String {
        let row = row as u16;
        let mut text = self.parser.screen().contents_between(row, 0, row + 1, 0);
        text.truncate(text.trim_end_matches('\n').len());
        text
    }

    /// Row and column of the cursor.
    pub fn cursor(&self) -> (usize, usize) {
        let (row, column) = self.parser.screen().cursor_position();
        (self.above() + usize::from(row), usize::from(column))
    }

    /// Number of rows: the last one is the cursor's, or the last one with text if that is below it.
    pub fn count(&self) -> usize {
        let first = usize::from(self.parser.screen().cursor_position().0);
        let mut below = (first + 1..=usize::from(self.lowest)).rev();
        let last = below.find(|&row| !self.on_screen(row).is_empty());
        self.above() + last.unwrap_or(first) + 1
    }

    /// Text of a row; empty if it does not exist.
    pub fn row(&self, row: usize) -> String {
        let text = match self.parser.callbacks().0.get(row) {
            Some(text) => text.clone(),
            None => self.on_screen(row - self.above()),
        };
        text.replace(BROKEN[1], BROKEN[0])
    }

    /// Text of these rows, each with a line end.
    pub fn text(&self, rows: Range<usize>) -> String {
        rows.map(|row| self.row(row) + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_edited_and_rows_stay() {
        for piece in [1, 3, 100] {
            let mut terminal = Terminal::default();
            let bytes = "firmware\x1b[2J\x1b[01;01HBdsDxe\r\n\x1b[?2004h> ab\x08\x1b[Kü日x\
                \x1b[3D-\x1b[C\x08\x08!\r\n\x1b[1mend\x1b[0m\x1b[A\r\x1b[2C?\x1b[J"
                .as_bytes();
            for piece in bytes.chunks(piece) {
                terminal.take(piece);
            }
            assert_eq!(terminal.row(0), "firmware");
            assert_eq!(terminal.row(1), "BdsDxe");
            assert_eq!(terminal.text(2..3), "> ?\n");
            assert_eq!((terminal.cursor(), terminal.count()), ((2, 3), 3));
            assert_eq!(terminal.row(9), "");
        }
        let mut terminal = Terminal::default();
        terminal.take("日e\u{301}\r\n".as_bytes());
        assert_eq!(terminal.row(0), "日e\u{301}");
        terminal.take(b"\xffa");
        assert_eq!(
            (terminal.row(1), terminal.cursor()),
            ("\u{fffd}a".into(), (1, 2))
        );
        terminal.take(b"\r\x1b[K");
        terminal.take("> 日本\x1b[2D\x1b[2D語".as_bytes());
        assert_eq!(terminal.row(1), "> 語本");
    }

    #[test]
    fn rows_that_leave_the_screen_are_kept() {
        let mut terminal = Terminal::default();
        for number in 0..500 {
            terminal.take(format!("row {number} \r\n").as_bytes());
        }
        terminal.take(b"> ");
        assert_eq!((terminal.cursor(), terminal.count()), ((500, 2), 501));
        for number in [0, 250, 499] {
            assert_eq!(terminal.row(number).trim_end(), format!("row {number}"));
        }
        assert_eq!(terminal.row(500), "> ");
    }
}
