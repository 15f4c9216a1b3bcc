//! Text console of the firmware on the screen.
//!
//! # Quirks
//! - The cursor's position is read from the console's mode, which EDK2's splitter keeps correct for
//!   all screens together.
//! - A line feed in the last row scrolls; the last column of a row is never written, since consoles
//!   disagree about the cursor behind it.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

use llama2_console::{cell_terminal::CellTerminal, front::Style, grid::CellScreen};
use llama2_efi::ucs2;
use uefi::{
    CStr16, Status,
    proto::console::text::{Color, Output},
    table,
};
use uefi_raw::protocol::console::SimpleTextOutputProtocol;

/// Size if the firmware does not report it: columns and rows that every console has.
const LEAST: (usize, usize) = (80, 25);

/// Colours of the screen when the application started; negative if unknown.
static FOUND_COLOURS: AtomicI32 = AtomicI32::new(-1);

/// Console output, if the firmware has one.
fn output() -> Option<NonNull<SimpleTextOutputProtocol>> {
    // Safety: the firmware's own table, valid until ExitBootServices, which is never called.
    let table = unsafe { table::system_table_raw()?.as_ref() };
    NonNull::new(table.stdout)
}

/// Calls `f` with the console output as wrapped by `uefi`.
fn with_output<R>(f: impl FnOnce(&mut Output) -> R) -> Option<R> {
    let output = output()?.cast::<Output>();
    // Safety: `Output` is the protocol itself (transparent). This is the only reference: no `f`
    // below calls this function again.
    Some(f(unsafe { &mut *output.as_ptr() }))
}

/// Takes over the screen; `clear` empties it.
pub fn open(clear: bool) {
    if let Some(output) = output() {
        // Safety: the firmware's console and, if it is not null, its mode; both are only read.
        let mode = unsafe { (*output.as_ptr()).mode.as_ref() };
        FOUND_COLOURS.store(mode.map_or(-1, |mode| mode.attribute), Relaxed);
    }
    with_output(|output| {
        let _ = output.set_color(Color::LightGray, Color::Black);
        if clear {
            let _ = output.clear();
        }
        let _ = output.enable_cursor(true);
    });
}

/// Restores the colours that the screen had.
pub fn close() {
    let (found, Some(output)) = (FOUND_COLOURS.load(Relaxed), output()) else {
        return;
    };
    if let Ok(found) = usize::try_from(found) {
        let output = output.as_ptr();
        // Safety: the firmware's console; the attribute is one that it has reported.
        let _ = unsafe { ((*output).set_attribute)(output, found) };
    }
}

/// Columns and rows.
fn size() -> (usize, usize) {
    let ask = || {
        let output = output()?.as_ptr();
        let (mut columns, mut rows) = (0, 0);
        // Safety: the firmware's console and, if it is not null, its mode; the call only writes the
        // two numbers.
        let status = unsafe {
            let mode = usize::try_from((*output).mode.as_ref()?.mode).ok()?;
            ((*output).query_mode)(output, mode, &mut columns, &mut rows)
        };
        (status == Status::SUCCESS).then_some((columns, rows))
    };
    let (columns, rows) = ask().unwrap_or(LEAST);
    (
        columns.clamp(LEAST.0 / 2, 1000),
        rows.clamp(LEAST.1 / 2, 1000),
    )
}

/// Width of a line in columns.
pub fn columns() -> usize {
    size().0
}

/// Shows text. Characters missing in the font or in UCS-2 are replaced; errors of the screen are
/// ignored.
pub fn write(text: &str) {
    with_output(|output| {
        ucs2::ucs2(text, &mut |piece| {
            if let Ok(piece) = CStr16::from_u16_with_nul(piece) {
                let _ = output.output_string(piece);
            }
        });
    });
}

/// Sets the colour of the following text.
pub fn set_colour(colour: Color, background: Color) {
    with_output(|output| {
        let _ = output.set_color(colour, background);
    });
}

/// Colour of a text of this style.
fn colour(style: Style) -> Color {
    match style {
        Style::Info => Color::LightGray,
        Style::Name | Style::Code | Style::Listing | Style::Prompt => Color::LightCyan,
        // There is no bold.
        Style::Title | Style::Strong | Style::Emphasis | Style::Warning => Color::Yellow,
        Style::Error => Color::LightRed,
        Style::Thought => Color::Cyan,
        Style::Summary => Color::LightGreen,
        Style::Faint => Color::DarkGray,
        Style::User | Style::Typed | Style::Answer | Style::Markdown => Color::White,
    }
}

/// Text console of the firmware, as a console of cells. Showing a long text takes a while, during
/// which other work must go on.
#[derive(Debug)]
pub struct Text {
    style: Style,
    between: fn(),
}

impl Text {
    /// The console, of which there is one. `between` is called between any two rows of a text.
    pub const fn new(between: fn()) -> Text {
        Text {
            style: Style::Info,
            between,
        }
    }
}

impl CellScreen for Text {
    fn size(&self) -> (usize, usize) {
        size()
    }

    fn move_to(&mut self, column: usize, row: usize) {
        with_output(|output| {
            let _ = output.set_cursor_position(column, row);
        });
    }

    fn write(&mut self, text: &str, style: Style) {
        if self.style != style {
            self.style(style);
        }
        self.print(text);
    }

    fn scroll(&mut self) {
        let (_, rows) = size();
        self.move_to(0, rows - 1);
        self.print("\n");
    }
}

impl CellTerminal for Text {
    fn place(&self) -> (usize, usize) {
        let ask = || {
            // Safety: the firmware's console and, if it is not null, its mode; both are only read.
            let mode = unsafe { (*output()?.as_ptr()).mode.as_ref()? };
            let number = |place: i32| usize::try_from(place).unwrap_or(0);
            Some((number(mode.cursor_column), number(mode.cursor_row)))
        };
        ask().unwrap_or((0, 0))
    }

    fn style(&mut self, style: Style) {
        self.style = style;
        set_colour(colour(style), Color::Black);
    }

    fn print(&mut self, text: &str) {
        for row in text.split_inclusive('\n') {
            write(row);
            (self.between)();
        }
    }

    fn clear(&mut self) {
        self.style(Style::Info);
        with_output(|output| {
            let _ = output.clear();
        });
    }
}
