//! Fronts, which show the session: text that grows at its end, and below it the input line, a menu
//! or the progress.
//!
//! A [`Front`] is one output: [`crate::terminal`] (a serial line, a terminal), a firmware's text
//! console, a full screen of cells. Several may show the same at once; each wraps lines at its own
//! width. None of them reads keys or waits.

use alloc::{string::String, vec::Vec};

use crate::{keys::Key, status::Status, view::Prompt, width};

pub use crate::style::Style;

/// Content below the text.
#[derive(Debug, Clone, Copy)]
pub enum Bottom<'a> {
    /// Nothing.
    Nothing,
    /// Input line; `cursor` is in bytes of `text`.
    Line {
        /// Prompt before the text.
        prompt: Prompt<'a>,
        /// Text typed so far.
        text: &'a str,
        /// Position of the next character.
        cursor: usize,
    },
    /// Progress of a reply.
    Status(&'a Status),
    /// Progress of something else, in one line.
    Note(&'a str),
    /// Menu.
    Menu(&'a Menu),
}

/// Owned version of [`Bottom`], for showing it again later.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Below {
    /// See [`Bottom::Nothing`].
    #[default]
    Nothing,
    /// See [`Bottom::Line`].
    Line {
        /// Prompt before the first line.
        first: String,
        /// Prompt before the other lines.
        more: String,
        /// Text typed so far.
        text: String,
        /// Position of the next character, in bytes.
        cursor: usize,
    },
    /// See [`Bottom::Status`].
    Status(Status),
    /// See [`Bottom::Note`].
    Note(String),
    /// See [`Bottom::Menu`].
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
    /// Borrows the content, to be shown.
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

/// Menu.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Menu {
    /// Title.
    pub title: String,
    /// Rows, at least one.
    pub rows: Vec<MenuRow>,
    /// Index of the row that Return chooses.
    pub selected: usize,
    /// Explanation of the keys, and the time that is left.
    pub note: String,
}

impl Menu {
    /// Width of each column of the rows.
    pub fn widths(&self) -> Vec<usize> {
        let cells = self.rows.iter().map(|row| row.cells.len()).max();
        let widest = |i: usize| {
            let cells = self.rows.iter().filter_map(|row| row.cells.get(i));
            cells.map(|cell| width::text(cell)).max().unwrap_or(0)
        };
        (0..cells.unwrap_or(0)).map(widest).collect()
    }
}

/// Row of a menu.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MenuRow {
    /// Columns: the name, then its description.
    pub cells: Vec<String>,
    /// True if it cannot be chosen; the last cell says why.
    pub grey: bool,
}

/// Content of the status bar, which is always shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Gauge<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Positions of the context in use, and all.
    pub context: (usize, usize),
    /// Tokens per second since the last update; `None` while nothing is generated.
    pub rate: Option<f32>,
}

/// Gives out the parts of laid-out text with their styles: what a line has before a tab is a name.
pub fn styled<'t>(style: Style, text: &'t str, show: &mut dyn FnMut(Style, &'t str)) {
    for line in text.split_inclusive('\n') {
        let (name, rest) = line.split_once('\t').unwrap_or(("", line));
        if !name.is_empty() {
            show(Style::Name, name);
        }
        show(style, rest);
    }
}

/// Output of a session.
pub trait Front {
    /// Appends text. It may end within a word, which may be held back until it is complete: until a
    /// space or a line end follows, or [`Front::bottom`] is called.
    fn show(&mut self, style: Style, text: &str);

    /// Appends text that is laid out for a number of columns, such as a table; it ends with a line
    /// end. A name stands before a tab, which takes no column: see [`styled`].
    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String);

    /// Replaces the content below the text. For a line or a menu, an unfinished line of the text is
    /// ended; a status may wait.
    fn bottom(&mut self, bottom: Bottom<'_>);

    /// Keeps the input line as part of the text.
    fn keep_line(&mut self);

    /// Shows text typed ahead during a reply, if there is a place for it.
    fn waiting(&mut self, _text: &str) {}

    /// Updates the status bar, if there is one.
    fn gauge(&mut self, _gauge: &Gauge<'_>) {}

    /// Shows in the status bar what is served to others; nothing if that is empty.
    fn serving(&mut self, _note: &str) {}

    /// Scrolls through earlier text (page up, page down). Returns true if it could.
    fn scroll(&mut self, _key: Key) -> bool {
        false
    }

    /// Signals that a key could not be handled.
    fn bell(&mut self) {}

    /// Empties the screen, except for what is below the text.
    fn clear(&mut self);
}
