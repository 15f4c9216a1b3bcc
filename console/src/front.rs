//! What is shown, whatever it is shown on: a text that grows at its end, and below it what is being
//! typed, chosen or waited for.
//!
//! A [`Front`] is one place that shows it: [`crate::terminal`] (a serial line, a terminal), a
//! firmware's text console, a full screen of cells. Several may show the same at once; each breaks
//! lines by its own width. None of them reads keys or waits.

use alloc::{string::String, vec::Vec};

use crate::{keys::Key, status::Status, view::Prompt, width};

/// What a piece of the growing text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// The program's name, once.
    Title,
    /// What the program says.
    Info,
    /// The name of a value that follows.
    Name,
    /// What did not go as wished.
    Warning,
    /// What went wrong.
    Error,
    /// What the person said.
    User,
    /// What the model thought.
    Thought,
    /// What the model said.
    Answer,
    /// How long it took.
    Summary,
}

/// What stands below the text.
#[derive(Debug, Clone, Copy)]
pub enum Bottom<'a> {
    /// Nothing.
    Nothing,
    /// A line being typed; `cursor` is in bytes of `text`.
    Line {
        /// Before it.
        prompt: Prompt<'a>,
        /// What was typed.
        text: &'a str,
        /// Where the next character goes.
        cursor: usize,
    },
    /// How far a reply is.
    Status(&'a Status),
    /// How far something else is: one line.
    Note(&'a str),
    /// Something to choose from.
    Menu(&'a Menu),
}

/// What stands below the text, kept by who shows it again later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Below {
    /// [`Bottom::Nothing`].
    #[default]
    Nothing,
    /// [`Bottom::Line`].
    Line {
        /// The prompt before the first line.
        first: String,
        /// The prompt before the others.
        more: String,
        /// What was typed.
        text: String,
        /// Where the next character goes, in bytes.
        cursor: usize,
    },
    /// [`Bottom::Status`].
    Status(Status),
    /// [`Bottom::Note`].
    Note(String),
    /// [`Bottom::Menu`].
    Menu(Menu),
}

impl From<Bottom<'_>> for Below {
    fn from(bottom: Bottom<'_>) -> Below {
        match bottom {
            Bottom::Nothing => Below::Nothing,
            Bottom::Line {
                prompt,
                text,
                cursor,
            } => Below::Line {
                first: prompt.first.into(),
                more: prompt.more.into(),
                text: text.into(),
                cursor,
            },
            Bottom::Status(status) => Below::Status(*status),
            Bottom::Note(note) => Below::Note(note.into()),
            Bottom::Menu(menu) => Below::Menu(menu.clone()),
        }
    }
}

impl Below {
    /// The same, to be shown.
    pub fn bottom(&self) -> Bottom<'_> {
        match self {
            Below::Nothing => Bottom::Nothing,
            Below::Line {
                first,
                more,
                text,
                cursor,
            } => Bottom::Line {
                prompt: Prompt { first, more },
                text,
                cursor: *cursor,
            },
            Below::Status(status) => Bottom::Status(status),
            Below::Note(note) => Bottom::Note(note),
            Below::Menu(menu) => Bottom::Menu(menu),
        }
    }
}

/// A list to choose from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Menu {
    /// What it is about.
    pub title: String,
    /// What there is: one at least.
    pub rows: Vec<MenuRow>,
    /// The row that Return takes.
    pub selected: usize,
    /// What the keys do, and how long there is.
    pub note: String,
}

impl Menu {
    /// How wide each column of its rows is.
    pub fn widths(&self) -> Vec<usize> {
        let cells = self.rows.iter().map(|row| row.cells.len()).max();
        let widest = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(i));
            cells.map(|cell| width::text(cell)).max().unwrap_or(0)
        };
        (0..cells.unwrap_or(0)).map(widest).collect()
    }
}

/// A row of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MenuRow {
    /// Name first, then what is told of it: columns.
    pub cells: Vec<String>,
    /// True if it cannot be taken; the last cell says why.
    pub grey: bool,
}

/// What a status bar tells all the time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gauge<'a> {
    /// The model's name.
    pub model: &'a str,
    /// Positions of the context in use, and all.
    pub context: (usize, usize),
    /// Tokens a second since the last time; `None` while nothing is being said.
    pub rate: Option<f32>,
}

/// A place that shows it.
pub trait Front {
    /// Puts text at the end. It may end in the middle of a word, which may be held back until it is
    /// whole: until a blank or a line's end follows, or [`Front::bottom`] is called.
    fn show(&mut self, style: Style, text: &str);

    /// Puts a text at the end that is laid out for a number of columns, such as a table; it ends
    /// with a line's end.
    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String);

    /// Shows this below the text, in place of what stood there. A line of the text that is not
    /// ended is ended for a line or a menu; a status may wait.
    fn bottom(&mut self, bottom: Bottom<'_>);

    /// The line being typed stays where it is, as part of the text.
    fn keep_line(&mut self);

    /// What was typed for later, while a reply comes: shown where there is a place for it beside
    /// the text.
    fn waiting(&mut self, _text: &str) {}

    /// What the status bar tells, where there is one.
    fn gauge(&mut self, _gauge: &Gauge<'_>) {}

    /// Moves through what was shown before (page up, page down). Whether it could.
    fn scroll(&mut self, _key: Key) -> bool {
        false
    }

    /// A key could not be taken.
    fn bell(&mut self) {}

    /// Empties the screen; what stands below the text stays.
    fn clear(&mut self);
}
