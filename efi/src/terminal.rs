//! Everything that people see and type, on screen and serial line alike, and the application's ending.

use alloc::string::String;
use core::{fmt, time::Duration};

use llama2_efi::{
    keys::{Key, Keys},
    options::Exit,
};
use uefi::{
    Status, boot,
    proto::console::text::Color,
    runtime::{self, ResetType},
};

use crate::{clock, console, files::Volume, global::Global, log::Log, serial::Serial};

/// The serial line and what was typed.
struct Line {
    port: Option<Serial>,
    keys: Keys,
    /// The rest of a character from the keyboard.
    rest: ([u8; 4], usize),
}

static LINE: Global<Line> = Global::new(Line {
    port: None,
    keys: Keys::new(),
    rest: ([0; 4], 0),
});

/// The log, or what it will begin with.
enum Record {
    /// Not decided yet: kept for the case that there will be one.
    Kept(String),
    Open(Log),
    None,
}

static RECORD: Global<Record> = Global::new(Record::Kept(String::new()));

/// Opens the serial line and empties the screen.
pub fn open() {
    LINE.with(|line| line.port = Serial::open());
    console::clear();
}

/// Sends text to the serial line as it is, but for line ends.
pub fn to_serial(text: &str) {
    LINE.with(|line| {
        let Some(port) = &mut line.port else { return };
        for piece in text.split_inclusive('\n') {
            match piece.strip_suffix('\n') {
                Some(content) => {
                    port.write(content.as_bytes());
                    port.write(b"\r\n");
                }
                None => port.write(piece.as_bytes()),
            }
        }
    });
}

/// Shows text of the model or the user: not for the log.
pub fn text(text: &str) {
    to_serial(text);
    console::write(text);
}

/// Says a line about what is going on.
pub fn say(line: &str) {
    say_in(Color::LightGray, line);
}

/// Says a line in a colour.
pub fn say_in(colour: Color, line: &str) {
    to_serial(line);
    to_serial("\n");
    console::write_in(colour, line);
    console::write("\n");
    record(line);
}

/// Says a `warning` or an `error`.
pub fn complain(kind: &str, sentence: &str) {
    let colour = if kind == "error" {
        Color::LightRed
    } else {
        Color::Yellow
    };
    say_in(colour, &alloc::format!("{kind}: {sentence}"));
}

/// Puts a line into the log.
pub fn record(line: &str) {
    RECORD.with(|record| match record {
        Record::Kept(text) => {
            text.push_str(line);
            text.push('\n');
        }
        Record::Open(log) => {
            log.write(line);
            log.write("\n");
        }
        Record::None => (),
    });
}

/// Decides about the log: on a volume, with what was said so far, or none.
///
/// # Errors
/// A sentence, if it cannot be opened.
pub fn keep_log(volume: Option<&mut Volume>) -> Result<(), String> {
    let opened = volume.map(Log::open).transpose();
    let (opened, failed) = match opened {
        Ok(opened) => (opened, Ok(())),
        Err(sentence) => (None, Err(sentence)),
    };
    RECORD.with(|record| {
        let kept = core::mem::replace(record, Record::None);
        if let (Some(mut log), Record::Kept(text)) = (opened, kept) {
            log.write(&alloc::format!("---- {}\n{text}", crate::NAME));
            *record = Record::Open(log);
        }
    });
    failed
}

/// The next key of keyboard or serial line, if there is one.
pub fn key() -> Option<Key> {
    LINE.with(|line| {
        let now = clock::milliseconds();
        let Line {
            port,
            keys,
            rest: (rest, len),
        } = line;
        if *len > 0 {
            let first = rest[0];
            rest.copy_within(1.., 0);
            *len -= 1;
            return Some(Key::Byte(first));
        }
        // More bytes of the same key wait behind the ones that came in.
        while let Some(byte) = port.as_mut().and_then(Serial::read) {
            if let Some(key) = keys.byte(byte, now) {
                return Some(key);
            }
        }
        keys.idle(now).or_else(|| {
            console::key(&mut |byte| {
                rest[*len] = byte;
                *len += 1;
            })
        })
    })
    .flatten()
}

/// Whether the user wants what is going on to stop. Other keys that were typed meanwhile are forgotten.
pub fn stopped() -> bool {
    while let Some(key) = key() {
        if matches!(key, Key::Escape | Key::Interrupt) {
            return true;
        }
    }
    false
}

/// Waits for a key.
pub fn wait_for_key() -> Key {
    loop {
        if let Some(key) = key() {
            return key;
        }
        boot::stall(Duration::from_millis(5));
    }
}

/// Waits for any key; those typed before do not count.
fn wait_for_any_key() {
    while key().is_some() {}
    wait_for_key();
}

/// The end of every run: the key prompt where one is wanted, the last line, and the way out.
pub fn end(told: bool, exit: Exit) -> Status {
    if exit == Exit::Key {
        say(if told {
            "Done! Press any key to exit."
        } else {
            "Press any key to exit."
        });
        wait_for_any_key();
    }
    say(if told {
        "llama2: exit 0"
    } else {
        "llama2: exit 1"
    });
    close();
    if exit == Exit::Shutdown {
        runtime::reset(ResetType::SHUTDOWN, Status::SUCCESS, None);
    }
    if told {
        Status::SUCCESS
    } else {
        Status::ABORTED
    }
}

/// Gives everything back to the firmware.
fn close() {
    RECORD.with(|record| *record = Record::None);
    if let Some(port) = LINE.with(|line| line.port.take()).flatten() {
        port.close();
    }
}

/// Shows a message without the heap, waits for a key and gives everything back.
pub fn last_words(message: fmt::Arguments<'_>) {
    struct Direct;
    impl fmt::Write for Direct {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            text(piece);
            Ok(())
        }
    }
    let _ = fmt::write(
        &mut Direct,
        format_args!("\n{message}\nPress any key to exit.\n"),
    );
    wait_for_any_key();
    let _ = fmt::write(&mut Direct, format_args!("llama2: exit 1\n"));
    close();
}
