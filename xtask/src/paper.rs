//! What a terminal behind the serial line shows, on paper without end: rows are never broken, nothing leaves at the top.

use llama2_console::width;
use llama2_engine::utf8::Utf8Stream;

/// All rows that have been shown, as they are now.
#[derive(Debug)]
pub struct Paper {
    /// Of each row its places; the second of a wide character is empty.
    rows: Vec<Vec<String>>,
    row: usize,
    column: usize,
    /// The row that is the screen's first one, for those who place the cursor.
    top: usize,
    /// A control sequence that has begun.
    sequence: Option<String>,
    characters: Utf8Stream,
}

impl Default for Paper {
    fn default() -> Paper {
        Paper {
            rows: vec![Vec::new()],
            row: 0,
            column: 0,
            top: 0,
            sequence: None,
            characters: Utf8Stream::default(),
        }
    }
}

impl Paper {
    /// Takes bytes of the line.
    pub fn take(&mut self, bytes: &[u8]) {
        let mut text = String::new();
        self.characters.push(bytes, &mut text);
        text.chars().for_each(|letter| self.letter(letter));
    }

    fn letter(&mut self, letter: char) {
        if let Some(mut sequence) = self.sequence.take() {
            sequence.push(letter);
            let is_control = sequence.starts_with('[');
            let is_whole = match sequence.len() {
                1 => !is_control,
                _ => matches!(letter, '@'..='~'),
            };
            match (is_whole, is_control) {
                (false, _) => self.sequence = Some(sequence),
                (true, true) => self.control(&sequence[1..]),
                (true, false) => (),
            }
            return;
        }
        match letter {
            '\x1b' => self.sequence = Some(String::new()),
            '\r' => self.column = 0,
            '\n' => self.go(self.row + 1, self.column),
            '\x08' => self.column = self.column.saturating_sub(1),
            '\t' => self.put(letter, 1),
            _ if letter.is_control() => (),
            _ => self.put(letter, width::letter(letter)),
        }
    }

    fn put(&mut self, letter: char, columns: usize) {
        let row = &mut self.rows[self.row];
        row.resize(row.len().max(self.column), " ".into());
        if columns == 0 {
            // A mark belongs to the character before it.
            let before = row[..self.column].iter_mut().rev();
            if let Some(before) = before.into_iter().find(|place| !place.is_empty()) {
                before.push(letter);
            }
            return;
        }
        row.resize(row.len().max(self.column + columns), String::new());
        row[self.column] = letter.into();
        row[self.column + 1..self.column + columns].fill(String::new());
        self.column += columns;
    }

    fn go(&mut self, row: usize, column: usize) {
        (self.row, self.column) = (row, column);
        self.rows.resize(self.rows.len().max(row + 1), Vec::new());
    }

    /// A control sequence without its beginning (ECMA-48): those that firmware and our console send.
    fn control(&mut self, sequence: &str) {
        let (numbers, kind) = sequence.split_at(sequence.len() - 1);
        let mut numbers = numbers.split(';').map(|number| number.parse().ok());
        let first: Option<usize> = numbers.next().flatten();
        let count = first.unwrap_or(1);
        match kind {
            "A" => self.row = self.row.saturating_sub(count).max(self.top),
            "B" => self.go(self.row + count, self.column),
            "C" => self.column += count,
            "D" => self.column = self.column.saturating_sub(count),
            "H" => {
                let column = numbers.next().flatten().unwrap_or(1);
                self.go(self.top + count.max(1) - 1, column.max(1) - 1);
            }
            "J" if first == Some(2) => {
                // An empty screen is a new sheet.
                self.top = self.rows.len();
                self.go(self.top, 0);
            }
            "J" => {
                self.rows.truncate(self.row + 1);
                self.rows[self.row].truncate(self.column);
            }
            "K" => self.rows[self.row].truncate(self.column),
            _ => (),
        }
    }

    /// The row that the cursor is in, and the column.
    pub fn cursor(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    /// Rows that there are.
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// A row's text; of one that is not there, nothing.
    pub fn row(&self, row: usize) -> String {
        self.rows.get(row).map_or(String::new(), |row| row.concat())
    }

    /// The text of these rows, each with a line's end.
    pub fn text(&self, rows: std::ops::Range<usize>) -> String {
        rows.map(|row| self.row(row) + "\n").collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_edited_and_rows_stay() {
        for piece in [1, 3, 100] {
            let mut paper = Paper::default();
            let bytes = "firmware\x1b[2J\x1b[01;01HBdsDxe\r\n\x1b[?2004h> ab\x08\x1b[Kü日x\x1b[3D-\x1b[C\x08\x08!\r\n\x1b[1mend\x1b[0m\x1b[A\r\x1b[2C?\x1b[J".as_bytes();
            for piece in bytes.chunks(piece) {
                paper.take(piece);
            }
            assert_eq!(paper.row(0), "firmware");
            assert_eq!(paper.row(1), "BdsDxe");
            assert_eq!(paper.text(2..3), "> ?\n");
            assert_eq!((paper.cursor(), paper.count()), ((2, 3), 3));
            assert_eq!(paper.row(9), "");
        }
        let mut paper = Paper::default();
        paper.take("日e\u{301}\r\n".as_bytes());
        assert_eq!(paper.row(0), "日e\u{301}");
        paper.take("> 日本\x1b[2D\x1b[2D語".as_bytes());
        assert_eq!(paper.row(1), "> 語本");
    }
}
