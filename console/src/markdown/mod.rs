//! Markdown as it comes: an answer in pieces becomes rows of styled text.
//!
//! A [`Markdown`] takes the text of an answer, and gives rows of a width: those that are final, and
//! behind them those that may still change. A mark without its counterpart is taken as if that
//! followed: `**bo` is already bold, and when its line ends without the other `**`, both stars are
//! there again. Work and what may change are bounded by the current line (in it, by the first mark
//! that is open, at most some hundred bytes ago) and by a table's first dozen rows, however long
//! the answer is.
//!
//! Its syntax is what models write: emphasis, code, links, headings, lists, quotes, rules, fenced
//! code, tables. Every line break is one, as models mean it and as chats show it. Other syntax, and
//! what is doubtful, stays as it is written; no letter of a word is ever lost. A parser of
//! CommonMark would be of no use here, because it needs the whole text: its last line may change
//! the first.
//!
//! ```text
//!  text ─► line::start: the kind of line ─┬─► inline::parse ─► flow::Flow ─► rows
//!                                         └─► table::Table ──────────────────► rows
//! ```

mod flow;
mod inline;
mod line;
mod table;

use alloc::{string::String, vec::Vec};

use crate::{
    row::Row,
    style::Style,
    width::{self, is_plain},
};
use flow::Flow;
use line::{CodeLine, Fence, Kind};
use table::Table;

/// Most columns of a rule.
const RULE: usize = 72;

/// Part of a line that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// Its beginning: it is not known what it is.
    Begins,
    /// Text in this style, behind this letter.
    Text(Style, Option<char>),
    Code,
    Table,
}

/// Lines that belong together.
#[derive(Debug)]
enum Block {
    None,
    Fence(Fence),
    Table(Table),
}

/// Answer that grows.
#[derive(Debug)]
pub struct Markdown {
    /// Text of the current line that is not in `flow`.
    pending: String,
    line: Line,
    block: Block,
    flow: Flow,
}

impl Markdown {
    /// An empty answer, for rows of `width` columns.
    pub fn new(width: usize) -> Markdown {
        Markdown {
            pending: String::new(),
            line: Line::Begins,
            block: Block::None,
            flow: Flow::new(width),
        }
    }

    /// Sets the width of the rows to come.
    pub fn set_width(&mut self, width: usize) {
        self.flow.set_width(width);
    }

    /// Appends text, which may end anywhere.
    pub fn push(&mut self, text: &str) {
        for piece in text.split_inclusive('\n') {
            let is_plain = |letter: &char| *letter != '\n' && is_plain(*letter);
            self.pending.extend(piece.chars().filter(is_plain));
            self.read(false);
            if piece.ends_with('\n') {
                self.end_line();
            }
        }
    }

    /// Ends the answer: nothing follows.
    pub fn finish(&mut self) {
        let rows = self.flow.fork().into_rows(false);
        let is_open = rows.iter().any(|row| !row.text().is_empty());
        if is_open || self.line != Line::Begins || !self.pending.is_empty() {
            self.end_line();
        }
        self.end_table();
        self.block = Block::None;
    }

    /// Takes the rows that follow those that were final at the last call, and how many of them are
    /// final now. There is always one more, with what has come of the next row; if `holds`, without
    /// a word at its end that may go on.
    pub fn rows(&mut self, holds: bool) -> (Vec<Row>, usize) {
        let mut rows = core::mem::take(&mut self.flow.rows);
        let done = rows.len();
        let mut flow = self.flow.fork();
        let coming = (self.line == Line::Table).then_some(&self.pending[..]);
        match (&self.block, self.line) {
            (Block::Table(table), _) => match table.header() {
                Some(header) => {
                    put(&mut flow, header);
                    flow.end();
                    // A row of dashes below it is not shown.
                    if let Some(line) = coming.filter(|line| !is_dashes(line)) {
                        put(&mut flow, line);
                    }
                }
                None => table.tail(coming, flow.width(), &mut flow.rows),
            },
            (_, Line::Table) => put(&mut flow, &self.pending),
            (_, Line::Text(base, before)) => {
                let parsed = inline::parse(&self.pending, before, false);
                let shown = parsed.pieces.iter().filter_map(|piece| piece.shown(base));
                shown.for_each(|(style, text)| flow.push(style, text));
            }
            _ => (),
        }
        rows.extend(flow.into_rows(holds));
        (rows, done)
    }

    /// Reads what has come of the line; `whole` if it is all.
    fn read(&mut self, whole: bool) {
        while self.line == Line::Begins {
            if !self.begin(whole) {
                return;
            }
        }
        match self.line {
            Line::Begins => (),
            Line::Text(base, before) => {
                let parsed = inline::parse(&self.pending, before, whole);
                let decided = parsed.decided;
                let pieces = parsed
                    .pieces
                    .iter()
                    .take_while(|piece| piece.end <= decided);
                for (style, text) in pieces.filter_map(|piece| piece.shown(base)) {
                    self.flow.push(style, text);
                }
                let before = self.pending[..decided].chars().next_back().or(before);
                self.pending.drain(..decided);
                self.line = Line::Text(base, before);
            }
            Line::Code => {
                self.flow.push_code(Style::Listing, &self.pending);
                self.pending.clear();
            }
            Line::Table if self.pending.len() > table::LONGEST => {
                self.end_table();
                self.block = Block::None;
                self.line = Line::Text(Style::Answer, None);
                self.read(whole);
            }
            Line::Table => (),
        }
    }

    /// Recognises the line and reads its beginning. Returns false if more must come, or if nothing
    /// of it is left.
    fn begin(&mut self, whole: bool) -> bool {
        if let Block::Fence(fence) = &self.block {
            match fence.line(&self.pending, whole) {
                None => return false,
                Some(CodeLine::Code(taken)) => {
                    self.pending.drain(..taken);
                    self.flow.begin(Row::default(), Row::default());
                    self.line = Line::Code;
                    return true;
                }
                Some(CodeLine::End) => {
                    self.rule("");
                    self.block = Block::None;
                    return false;
                }
                Some(CodeLine::Leaves) => self.block = Block::None,
            }
        }
        let Some(start) = line::start(&self.pending, whole) else {
            return false;
        };
        // A letter has room, even a wide one.
        let most = self.flow.width().saturating_sub(2) / 2;
        let indent = start.indent.min(most);
        let (quotes, taken) = (start.quotes, start.taken);
        let is_table = start.kind == Kind::Table && quotes == 0;
        let mut base = Style::Answer;
        let (mut mark, mut fence, mut label) = ("", None, None);
        match start.kind {
            Kind::Text | Kind::Blank | Kind::Table => (),
            Kind::Heading => base = Style::Title,
            Kind::Item(item) => mark = item,
            Kind::Rule => label = Some(""),
            Kind::Fence(mark, count, language) => {
                label = Some(language);
                fence = Some(Fence {
                    mark,
                    count,
                    quotes,
                    indent: start.indent,
                });
            }
        }
        let (mark, label) = (String::from(mark), label.map(String::from));
        if !is_table {
            self.end_table();
            self.block = fence.map_or(Block::None, Block::Fence);
        }
        self.pending.drain(..taken);
        if let Some(label) = label {
            self.rule(&label);
            return false;
        }
        if is_table {
            self.pending.insert_str(0, &" ".repeat(indent));
            self.line = Line::Table;
            return true;
        }
        let mut first = Row::default();
        (0..quotes).for_each(|_| first.push(Style::Faint, "│ ", 2));
        first.push(Style::Answer, &" ".repeat(indent), indent);
        let mut hang = first.clone();
        let wide = width::text(&mark) + usize::from(!mark.is_empty());
        hang.push(Style::Answer, &" ".repeat(wide), wide);
        // Most of a row is text.
        for row in [&mut first, &mut hang] {
            if row.columns() > most {
                *row = Row::default();
            }
        }
        self.flow.begin(first, hang);
        if !mark.is_empty() {
            self.flow.push(Style::Faint, &mark);
            self.flow.push(Style::Answer, " ");
        }
        self.line = Line::Text(base, None);
        true
    }

    /// A line across, with a word in it; the rest of the line is none of it.
    fn rule(&mut self, label: &str) {
        self.pending.clear();
        let wide = self.flow.width().min(RULE);
        let mut row = Row::default();
        if !label.is_empty() {
            row.push(Style::Faint, "── ", 3);
            row.push(Style::Faint, label, width::text(label));
            row.push(Style::Faint, " ", 1);
        }
        let left = wide.saturating_sub(row.columns());
        row.push(Style::Faint, &"─".repeat(left), left);
        self.flow.begin(Row::default(), Row::default());
        for (style, text) in row.runs() {
            self.flow.push_code(style, text);
        }
    }

    fn end_line(&mut self) {
        self.read(true);
        match self.line {
            Line::Table => self.end_table_row(),
            _ => self.flow.end(),
        }
        self.pending.clear();
        self.line = Line::Begins;
    }

    fn end_table_row(&mut self) {
        let line = core::mem::take(&mut self.pending);
        let room = self.flow.width();
        if let Block::Table(table) = &mut self.block {
            if table.header().is_none() {
                return table.push(&line, room, &mut self.flow.rows);
            }
            if table.take_aligns(&line, room) {
                return;
            }
        }
        self.end_table();
        self.block = Block::Table(Table::new(&line, line::blanks(&line).1));
    }

    /// Ends the table, if there is one.
    fn end_table(&mut self) {
        let Block::Table(table) = &mut self.block else {
            return;
        };
        match table.header() {
            Some(header) => {
                put(&mut self.flow, header);
                self.flow.end();
            }
            None => table.end(self.flow.width(), &mut self.flow.rows),
        }
        self.block = Block::None;
    }
}

/// Tells whether a line may be the one below a table's header.
fn is_dashes(line: &str) -> bool {
    line.bytes().all(|byte| b"|:- \t".contains(&byte))
}

/// Appends a line that is whole.
fn put(flow: &mut Flow, line: &str) {
    let pieces = inline::parse(line, None, true).pieces;
    let shown = pieces.iter().filter_map(|piece| piece.shown(Style::Answer));
    shown.for_each(|(style, text)| flow.push(style, text));
}

#[cfg(test)]
mod tests;
