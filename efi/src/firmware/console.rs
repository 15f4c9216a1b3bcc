//! The firmware's text console: screen and keyboard.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicI32, Ordering::Relaxed},
};

use llama2_efi::{keys::Key, screen};
use uefi::{
    CStr16, Status,
    proto::console::text::{Color, Input, Key as ConsoleKey, Output, ScanCode},
    table,
};
use uefi_raw::protocol::console::SimpleTextOutputProtocol;

/// Columns where the firmware does not say; every console has them.
const LEAST_COLUMNS: usize = 80;

/// The screen's colours when we came; negative: not known.
static FOUND_COLOURS: AtomicI32 = AtomicI32::new(-1);

/// The screen, if the firmware has one.
fn output() -> Option<NonNull<SimpleTextOutputProtocol>> {
    // Safety: the firmware's own table, valid until ExitBootServices, which is never called.
    let table = unsafe { table::system_table_raw()?.as_ref() };
    NonNull::new(table.stdout)
}

/// The screen through uefi's wrapper.
fn with_output<R>(f: impl FnOnce(&mut Output) -> R) -> Option<R> {
    let output = output()?.cast::<Output>();
    // Safety: `Output` is the protocol itself (transparent). This is the only reference: no `f` below comes back here.
    Some(f(unsafe { &mut *output.as_ptr() }))
}

/// The keyboard, if the firmware has one.
fn input() -> Option<NonNull<Input>> {
    // Safety: as in `output`.
    let table = unsafe { table::system_table_raw()?.as_ref() };
    NonNull::new(table.stdin.cast())
}

/// Takes the screen over; `clear` empties it.
pub fn open(clear: bool) {
    if let Some(output) = output() {
        // Safety: the firmware's console and, where it is not null, its description; both are only read.
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

/// Gives the screen back in the colours that it had.
pub fn close() {
    let (found, Some(output)) = (FOUND_COLOURS.load(Relaxed), output()) else {
        return;
    };
    if let Ok(found) = usize::try_from(found) {
        let output = output.as_ptr();
        // Safety: the firmware's console; the attribute is one that it told us.
        let _ = unsafe { ((*output).set_attribute)(output, found) };
    }
}

/// Columns of a line.
pub fn columns() -> usize {
    let ask = || {
        let output = output()?.as_ptr();
        let (mut columns, mut rows) = (0, 0);
        // Safety: the firmware's console and, where it is not null, its description; the call only writes the two numbers.
        let status = unsafe {
            let mode = usize::try_from((*output).mode.as_ref()?.mode).ok()?;
            ((*output).query_mode)(output, mode, &mut columns, &mut rows)
        };
        (status == Status::SUCCESS).then_some(columns)
    };
    ask()
        .unwrap_or(LEAST_COLUMNS)
        .clamp(LEAST_COLUMNS / 2, 1000)
}

/// Shows text. What the font or UCS-2 has not is replaced; a screen that fails is not worth stopping for.
pub fn write(text: &str) {
    with_output(|output| {
        screen::ucs2(text, &mut |piece| {
            if let Ok(piece) = CStr16::from_u16_with_nul(piece) {
                let _ = output.output_string(piece);
            }
        });
    });
}

/// Sets the colour of what follows.
pub fn set_colour(colour: Color, background: Color) {
    with_output(|output| {
        let _ = output.set_color(colour, background);
    });
}

/// The next key of the keyboard, if one was pressed. A character outside of ASCII gives its first byte of UTF-8, and the
/// others one by one to `more`.
pub fn key(more: &mut dyn FnMut(u8)) -> Option<Key> {
    let mut input = input()?;
    // Safety: the firmware's keyboard; the only reference, since nothing below comes back here.
    let key = unsafe { input.as_mut() }.read_key().ok()??;
    Some(match key {
        ConsoleKey::Special(ScanCode::ESCAPE) => Key::Escape,
        ConsoleKey::Special(ScanCode::DELETE) => Key::Backspace,
        ConsoleKey::Special(_) => Key::Other,
        ConsoleKey::Printable(letter) => match char::from(letter) {
            '\u{3}' => Key::Interrupt,
            '\u{4}' => Key::End,
            '\u{1b}' => Key::Escape,
            '\r' | '\n' => Key::Enter,
            '\u{8}' => Key::Backspace,
            letter if letter.is_control() => Key::Other,
            letter => {
                let mut bytes = [0; 4];
                let (first, rest) = letter.encode_utf8(&mut bytes).as_bytes().split_first()?;
                rest.iter().for_each(|&byte| more(byte));
                Key::Byte(*first)
            }
        },
    })
}
