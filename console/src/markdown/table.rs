//! Tables: rows of cells, laid out for a width as they come.

use alloc::{string::String, vec, vec::Vec};

use super::{flow::Flow, inline};
use crate::{row::Row, style::Style, width};

/// Rows by which the widths of the columns are decided; from then on rows are final.
const ROWS: usize = 12;
/// Narrowest that a column is made: as wide as the widest letter.
const NARROW: usize = 2;
/// Longest row, in bytes, that is a row of a table.
pub(super) const LONGEST: usize = 1000;
/// Between two columns.
const BETWEEN: &str = " │ ";

/// Side on which the cells of a column stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Align {
    #[default]
    Left,
    Middle,
    Right,
}

/// Text of a cell.
type Cell = Vec<(Style, String)>;

/// Table that grows.
#[derive(Debug)]
pub(super) struct Table {
    /// Header as it is written, until the row below it shows that it is one.
    header: String,
    aligns: Vec<Align>,
    /// Header and rows that the widths hang on.
    rows: Vec<Vec<Cell>>,
    /// Width of each column, once it is decided.
    widths: Option<Vec<usize>>,
    pub indent: usize,
}

/// Splits a row at its bars.
fn cells(line: &str) -> Vec<String> {
    let line = line.trim();
    let line = line.strip_prefix('|').unwrap_or(line);
    let mut cells = vec![String::new()];
    let mut escaped = false;
    for letter in line.chars() {
        match (letter, cells.last_mut()) {
            ('|', Some(cell)) if escaped => {
                cell.pop();
                cell.push('|');
            }
            ('|', _) => cells.push(String::new()),
            (letter, Some(cell)) => cell.push(letter),
            _ => (),
        }
        escaped = letter == '\\' && !escaped;
    }
    // Behind the last bar.
    cells.pop_if(|cell| cell.trim().is_empty());
    cells
}

/// Reads the row below a header; `None` if it is none.
fn aligns(line: &str) -> Option<Vec<Align>> {
    let align = |cell: &String| {
        let cell = cell.trim();
        let dashes = cell.trim_start_matches(':').trim_end_matches(':');
        if dashes.is_empty() || dashes.bytes().any(|byte| byte != b'-') {
            return None;
        }
        Some(match (cell.starts_with(':'), cell.ends_with(':')) {
            (true, true) => Align::Middle,
            (false, true) => Align::Right,
            _ => Align::Left,
        })
    };
    cells(line).iter().map(align).collect()
}

impl Table {
    /// A table, if a row of dashes follows this line.
    pub(super) fn new(header: &str, indent: usize) -> Table {
        Table {
            header: header.into(),
            aligns: Vec::new(),
            rows: Vec::new(),
            widths: None,
            indent,
        }
    }

    /// The first line, if it has not been found to be a header.
    pub(super) fn header(&self) -> Option<&str> {
        self.aligns.is_empty().then_some(&self.header)
    }

    /// Takes the line below the header. Returns false if the header is none, or if there is no room
    /// for so many columns.
    pub(super) fn take_aligns(&mut self, line: &str, room: usize) -> bool {
        let columns = cells(&self.header).len();
        let between = width::text(BETWEEN) * columns.saturating_sub(1);
        let least = self.indent + NARROW * columns + between;
        match aligns(line) {
            Some(aligns) if aligns.len() == columns && columns > 0 && least <= room => {
                self.aligns = aligns;
                let header = self.row(&self.header, Style::Strong);
                self.rows.push(header);
                true
            }
            _ => false,
        }
    }

    /// Cells of a row, as many as the table has columns.
    fn row(&self, line: &str, base: Style) -> Vec<Cell> {
        let mut cells = cells(line);
        let columns = self.aligns.len();
        if cells.len() > columns {
            // What is too much stays in the last one, as it is written.
            let rest = cells.split_off(columns - 1).join("|");
            cells.push(rest);
        }
        cells.resize(columns, String::new());
        let parsed = cells.iter().map(|cell| {
            let pieces = inline::parse(cell.trim(), None, true).pieces;
            let shown = pieces.iter().filter_map(|piece| piece.shown(base));
            shown.map(|(style, text)| (style, text.into())).collect()
        });
        parsed.collect()
    }

    /// Appends a row; what is final goes to `out`.
    pub(super) fn push(&mut self, line: &str, room: usize, out: &mut Vec<Row>) {
        let row = self.row(line, Style::Answer);
        match &self.widths {
            Some(widths) => self.draw_row(&row, widths, true, out),
            None => {
                self.rows.push(row);
                if self.rows.len() > ROWS {
                    self.end(room, out);
                }
            }
        }
    }

    /// Decides the widths, if they are not decided: all rows are final.
    pub(super) fn end(&mut self, room: usize, out: &mut Vec<Row>) {
        if self.widths.is_none() {
            let widths = self.fit(&self.rows, room);
            self.draw(&self.rows, &widths, out);
            self.widths = Some(widths);
            self.rows.clear();
        }
    }

    /// Rows that may change, with a line that is still coming.
    pub(super) fn tail(&self, line: Option<&str>, room: usize, out: &mut Vec<Row>) {
        let line = line.filter(|line| !line.trim_matches(['|', ' ']).is_empty());
        let last = line.map(|line| self.row(line, Style::Answer));
        match &self.widths {
            Some(widths) => {
                if let Some(last) = last {
                    self.draw_row(&last, widths, true, out);
                }
            }
            None => {
                let mut rows = self.rows.clone();
                rows.extend(last);
                let widths = self.fit(&rows, room);
                self.draw(&rows, &widths, out);
            }
        }
    }

    /// Widths of the columns in `room` columns: the widest ones are made narrower.
    fn fit(&self, rows: &[Vec<Cell>], room: usize) -> Vec<usize> {
        let columns = self.aligns.len();
        let wide = |cell: &Cell| {
            cell.iter()
                .map(|(_, text)| width::text(text))
                .sum::<usize>()
        };
        let mut widths = vec![1; columns];
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = wide(cell).max(*width);
            }
        }
        let room = room.saturating_sub(self.indent + width::text(BETWEEN) * (columns - 1));
        if widths.iter().sum::<usize>() > room {
            let sum = |most: usize| widths.iter().map(|width| *width.min(&most)).sum::<usize>();
            let most = (NARROW..=room)
                .rev()
                .find(|&most| sum(most) <= room)
                .unwrap_or(NARROW);
            let mut spare = room.saturating_sub(sum(most));
            for width in &mut widths {
                let more = usize::from(*width > most && spare > 0);
                spare -= more;
                *width = (*width).min(most + more);
            }
        }
        widths
    }

    fn draw(&self, rows: &[Vec<Cell>], widths: &[usize], out: &mut Vec<Row>) {
        for (i, row) in rows.iter().enumerate() {
            self.draw_row(row, widths, i > 1, out);
            if i == 0 {
                out.push(self.rule(widths));
            }
        }
    }

    /// Line between rows.
    fn rule(&self, widths: &[usize]) -> Row {
        let mut rule = self.begin();
        for (i, width) in widths.iter().enumerate() {
            let joint = if i == 0 { "" } else { "─┼─" };
            rule.push(Style::Faint, joint, width::text(joint));
            rule.push(Style::Faint, &"─".repeat(*width), *width);
        }
        rule
    }

    fn begin(&self) -> Row {
        let mut row = Row::default();
        row.push(Style::Answer, &" ".repeat(self.indent), self.indent);
        row
    }

    /// Draws a row. If it needs several rows and is to be `apart`, there is a line above it.
    fn draw_row(&self, row: &[Cell], widths: &[usize], apart: bool, out: &mut Vec<Row>) {
        let wrapped = |(cell, width): (&Cell, &usize)| {
            let mut flow = Flow::new(*width);
            cell.iter()
                .for_each(|(style, text)| flow.push(*style, text));
            flow.into_rows(false)
        };
        let cells: Vec<Vec<Row>> = row.iter().zip(widths).map(wrapped).collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        if apart && height > 1 {
            out.push(self.rule(widths));
        }
        for y in 0..height {
            let mut line = self.begin();
            for (x, (cell, width)) in cells.iter().zip(widths).enumerate() {
                if x > 0 {
                    line.push(Style::Faint, BETWEEN, width::text(BETWEEN));
                }
                let nothing = Row::default();
                let text = cell.get(y).unwrap_or(&nothing);
                let blanks = width.saturating_sub(text.cell_columns());
                let before = match self.aligns[x] {
                    Align::Left => 0,
                    Align::Middle => blanks / 2,
                    Align::Right => blanks,
                };
                line.push(Style::Answer, &" ".repeat(before), before);
                line.append(text);
                let behind = if x + 1 < cells.len() {
                    blanks - before
                } else {
                    0
                };
                line.push(Style::Answer, &" ".repeat(behind), behind);
            }
            out.push(line);
        }
    }
}
