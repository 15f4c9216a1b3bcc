//! Word wrap of styled text, with an indentation of its own for the rows after a line's first.

use alloc::vec::Vec;

use crate::{row::Row, style::Style};

/// Bytes for each column, and beside them, from which on a row is broken though it has room: of
/// marks without width there may be any number.
const CROWDED: usize = 16;
const MARKS: usize = 256;

/// Rows of a text that grows at its end.
#[derive(Debug, Clone)]
pub(super) struct Flow {
    width: usize,
    /// Beginning of the rows that continue a line.
    hang: Row,
    /// The last row.
    row: Row,
    /// Offset in it of the word that may have to move to the next row.
    word: usize,
    /// Offset in it behind what it began with.
    begin: usize,
    /// Rows before it.
    pub rows: Vec<Row>,
}

impl Flow {
    pub(super) fn new(width: usize) -> Flow {
        Flow {
            width: width.max(1),
            hang: Row::default(),
            row: Row::default(),
            word: 0,
            begin: 0,
            rows: Vec::new(),
        }
    }

    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn set_width(&mut self, width: usize) {
        self.width = width.max(1);
    }

    /// A copy of the last row, to be continued on trial.
    pub(super) fn fork(&self) -> Flow {
        Flow {
            hang: self.hang.clone(),
            row: self.row.clone(),
            rows: Vec::new(),
            ..*self
        }
    }

    /// Begins a line: what its first row begins with, and what all others do.
    pub(super) fn begin(&mut self, first: Row, hang: Row) {
        self.row = first;
        self.hang = hang;
        (self.begin, self.word) = (self.row.text().len(), self.row.text().len());
    }

    /// Appends text, broken between words.
    pub(super) fn push(&mut self, style: Style, text: &str) {
        for letter in text.chars() {
            match letter {
                ' ' | '\t' => {
                    // The row is broken at a space that does not fit.
                    if self.row.columns() < self.width {
                        self.row.push_letter(style, ' ');
                    }
                    self.word = self.row.text().len();
                }
                _ => self.letter(style, letter),
            }
        }
    }

    /// Appends text that is broken where it is too long.
    pub(super) fn push_code(&mut self, style: Style, text: &str) {
        for letter in text.chars() {
            let blanks = match letter {
                '\t' => 4 - self.row.columns() % 4,
                _ => 0,
            };
            for letter in core::iter::repeat_n(' ', blanks).chain((blanks == 0).then_some(letter)) {
                self.word = self.begin;
                self.letter(style, letter);
            }
        }
        self.word = self.row.text().len();
    }

    fn letter(&mut self, style: Style, letter: char) {
        self.row.push_letter(style, letter);
        let cluster = self.row.last_cluster();
        let is_crowded = self.row.text().len() > CROWDED * self.width + MARKS;
        let has_room = self.row.columns() <= self.width && !is_crowded;
        if has_room || cluster.max(self.word) <= self.begin {
            return;
        }
        let mut next = self.hang.clone();
        let begin = next.text().len();
        let mut moved = self.row.split(match self.word > self.begin {
            true => self.word,
            false => cluster,
        });
        if next.columns() + moved.columns() > self.width {
            // A word that is longer than a row is broken at the end of the row.
            self.row.append(&moved);
            moved = self.row.split(cluster);
        }
        next.append(&moved);
        self.rows.push(core::mem::replace(&mut self.row, next));
        (self.begin, self.word) = (begin, begin);
    }

    /// Ends the line.
    pub(super) fn end(&mut self) {
        self.rows.push(core::mem::take(&mut self.row));
        self.begin(Row::default(), Row::default());
    }

    /// All rows; `holds`: without a word at the end that may go on.
    pub(super) fn into_rows(mut self, holds: bool) -> Vec<Row> {
        if holds {
            self.row.split(self.word);
        }
        self.rows.push(self.row);
        self.rows
    }
}
