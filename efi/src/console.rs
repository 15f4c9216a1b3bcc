//! The firmware's text console: screen and keyboard.

use core::ptr::NonNull;

use llama2_efi::{keys::Key, screen};
use uefi::{
    CStr16,
    proto::console::text::{Color, Input, Key as ConsoleKey, Output, ScanCode},
    table,
};

/// The screen, if the firmware has one.
fn output() -> Option<NonNull<Output>> {
    // Safety: the firmware's own table, valid until ExitBootServices, which is never called.
    let table = unsafe { table::system_table_raw()?.as_ref() };
    NonNull::new(table.stdout.cast())
}

/// The keyboard, if the firmware has one.
fn input() -> Option<NonNull<Input>> {
    // Safety: as in `output`.
    let table = unsafe { table::system_table_raw()?.as_ref() };
    NonNull::new(table.stdin.cast())
}

/// Shows text. What the font or UCS-2 has not is replaced; a screen that fails is not worth stopping for.
pub fn write(text: &str) {
    let Some(mut output) = output() else { return };
    // Safety: the firmware's console; this is the only reference, since nothing below comes back here.
    let output = unsafe { output.as_mut() };
    screen::ucs2(text, &mut |piece| {
        if let Ok(piece) = CStr16::from_u16_with_nul(piece) {
            let _ = output.output_string(piece);
        }
    });
}

/// Shows text in a colour, then goes on in grey.
pub fn write_in(colour: Color, text: &str) {
    set(colour);
    write(text);
    set(Color::LightGray);
}

fn set(colour: Color) {
    if let Some(mut output) = output() {
        // Safety: as in `write`.
        let _ = unsafe { output.as_mut() }.set_color(colour, Color::Black);
    }
}

/// Empties the screen.
pub fn clear() {
    set(Color::LightGray);
    if let Some(mut output) = output() {
        // Safety: as in `write`.
        let output = unsafe { output.as_mut() };
        let _ = output.clear();
        let _ = output.enable_cursor(true);
    }
}

/// The next key of the keyboard, if one was pressed. A character outside of ASCII gives its UTF-8 bytes one by one in
/// `more`.
pub fn key(more: &mut dyn FnMut(u8)) -> Option<Key> {
    let mut input = input()?;
    // Safety: as in `write`.
    let key = unsafe { input.as_mut() }.read_key().ok()??;
    Some(match key {
        ConsoleKey::Special(ScanCode::ESCAPE) => Key::Escape,
        ConsoleKey::Special(ScanCode::DELETE) => Key::Backspace,
        ConsoleKey::Special(_) => Key::Other,
        ConsoleKey::Printable(letter) => match char::from(letter) {
            '\u{3}' => Key::Interrupt,
            '\u{4}' => Key::End,
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
