//! Everything that people see and type, on screen and serial line alike, and the application's ending.

use alloc::{format, string::String};
use core::{fmt, time::Duration};

use llama2_efi::{
    keys::{Key, Keys},
    options::Exit,
    wrap::Wrap,
};
use uefi::{
    Status,
    boot::{self, EventType, TimerTrigger, Tpl},
    proto::console::text::Color,
    runtime::ResetType,
    table,
};

use super::{NAME, clock, console, files::Volume, global::Global, log::Log, serial::Serial, shell};

/// Where a pair's second half begins.
const PAIR: usize = 13;

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

/// The screen's lines, broken between words.
static SCREEN: Global<Wrap> = Global::new(Wrap::new(79));

/// The log, or what it will begin with.
enum Record {
    /// Not decided yet: kept for the case that there will be one.
    Kept(String),
    Open(Log),
    None,
}

static RECORD: Global<Record> = Global::new(Record::Kept(String::new()));

/// Opens serial line and screen. The Shell's screen is not emptied: it is its user's.
pub fn open() {
    LINE.with(|line| line.port = Serial::open());
    console::open(!shell::is_parent());
    // A character in the last column makes some consoles break the line by themselves.
    SCREEN.with(|screen| screen.set_width(console::columns() - 1));
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

/// Shows text on the screen; `whole` if nothing that belongs to its last word follows.
fn to_screen(colour: Color, text: &str, whole: bool) {
    let wrapped = SCREEN.with(|screen| {
        let mut out = String::new();
        screen.push(text, &mut out);
        if whole {
            screen.flush(&mut out);
        }
        out
    });
    console::set_colour(colour, Color::Black);
    console::write(wrapped.as_deref().unwrap_or(text));
}

/// Redraws the current line of the screen; the serial line has none to redraw.
pub fn redraw(line: &str) {
    console::set_colour(Color::LightGray, Color::Black);
    console::write("\r");
    console::write(line);
}

/// Shows text of the model or the user: not for the log.
pub fn text(text: &str) {
    to_serial(text);
    to_screen(Color::White, text, true);
}

/// Shows part of a longer text. On the screen its last word waits until it is whole.
pub fn stream(text: &str) {
    stream_in(Color::White, text);
}

/// The same in a colour; it should change where lines begin.
pub fn stream_in(colour: Color, text: &str) {
    to_serial(text);
    to_screen(colour, text, false);
}

/// Says a line about what is going on.
pub fn say(line: &str) {
    say_in(Color::LightGray, line);
}

/// Says a line in a colour.
pub fn say_in(colour: Color, line: &str) {
    to_serial(line);
    to_serial("\n");
    to_screen(colour, line, true);
    to_screen(colour, "\n", true);
    record(line);
}

/// Says a `warning` or an `error`.
pub fn complain(kind: &str, sentence: &str) {
    let colour = if kind == "error" {
        Color::LightRed
    } else {
        Color::Yellow
    };
    say_in(colour, &format!("{kind}: {sentence}"));
}

/// Says a name and what it stands for, in columns.
pub fn say_pair(name: &str, what: &str) {
    let name = format!("  {name:<0$}", PAIR - 2);
    to_serial(&format!("{name}{what}\n"));
    to_screen(Color::LightCyan, &name, true);
    to_screen(Color::LightGray, what, true);
    to_screen(Color::LightGray, "\n", true);
    record(&format!("{name}{what}"));
}

/// Says a table, or on a screen that is too narrow for it `short`.
pub fn table(table: &str, short: &[String]) {
    let width = table.lines().map(|line| line.chars().count()).max();
    let fits = width.is_some_and(|width| width < console::columns());
    for line in table.lines() {
        to_serial(line);
        to_serial("\n");
        record(line);
        if fits {
            to_screen(Color::LightGray, line, true);
            to_screen(Color::LightGray, "\n", true);
        }
    }
    for line in short.iter().filter(|_| !fits) {
        to_screen(Color::LightGray, line, true);
        to_screen(Color::LightGray, "\n", true);
    }
}

/// Says the first line, on the screen as a bar of the screen's width.
pub fn title(line: &str) {
    to_serial(line);
    to_serial("\n");
    record(line);
    console::set_colour(Color::White, Color::Blue);
    let width = console::columns() - 2;
    console::write(&format!(" {line:<width$}"));
    to_screen(Color::LightGray, "\n\n", true);
}

/// Puts a line into the log, with the seconds since the application's start.
pub fn record(line: &str) {
    let now = clock::milliseconds();
    let line = format!("[{:>5}.{:03}] {line}\n", now / 1000, now % 1000);
    RECORD.with(|record| match record {
        Record::Kept(text) => text.push_str(&line),
        Record::Open(log) => log.write(&line),
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
            log.write(&format!("---- {NAME}\n{text}"));
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

/// Waits for a key; the processor rests meanwhile, where the firmware has a timer.
pub fn wait_for_key() -> Key {
    const NAP: Duration = Duration::from_millis(10);
    // Safety: a timer without a function to be called.
    let timer = unsafe { boot::create_event(EventType::TIMER, Tpl::APPLICATION, None, None) }.ok();
    let key = loop {
        if let Some(key) = key() {
            break key;
        }
        let napped = timer.as_ref().is_some_and(|timer| {
            boot::set_timer(timer, TimerTrigger::Relative(NAP)).is_ok()
                && boot::wait_for_event(core::slice::from_ref(timer)).is_ok()
        });
        if !napped {
            boot::stall(NAP);
        }
    };
    if let Some(timer) = timer {
        let _ = boot::close_event(timer);
    }
    key
}

/// The end of every run: the key prompt where one is wanted, the last line, and the way out.
pub fn end(told: bool, exit: Exit) -> Status {
    if exit == Exit::Key {
        // Before the prompt is shown, not after it: whoever reads it may answer at once.
        while key().is_some() {}
        say(if told {
            "Done! Press any key to exit."
        } else {
            "Press any key to exit."
        });
        wait_for_key();
    }
    say(if told {
        "llama2: exit 0"
    } else {
        "llama2: exit 1"
    });
    close();
    if exit == Exit::Shutdown {
        switch_off();
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
    console::close();
}

/// Switches the machine off.
///
/// # Quirks
/// The specification says that ResetSystem never returns, and so says uefi's type for it; firmware without a way to
/// switch off does return.
fn switch_off() -> ! {
    type Reset = unsafe extern "efiapi" fn(ResetType, Status, usize, *const u8);
    if let Some(table) = table::system_table_raw() {
        // Safety: the firmware's own tables, valid for good. The two function types differ in the result only, and a
        // function that may return is what the firmware's is.
        unsafe {
            let reset = (*table.as_ref().runtime_services).reset_system;
            let reset = core::mem::transmute::<*const (), Reset>(reset as *const ());
            reset(ResetType::SHUTDOWN, Status::SUCCESS, 0, core::ptr::null());
        }
    }
    console::write("The machine can be switched off now.\n");
    loop {
        boot::stall(Duration::from_secs(1));
    }
}

/// Shows a message without the heap, waits for a key and gives everything back.
pub fn last_words(message: fmt::Arguments<'_>) {
    struct Direct;
    impl fmt::Write for Direct {
        fn write_str(&mut self, piece: &str) -> fmt::Result {
            to_serial(piece);
            console::write(piece);
            RECORD.with(|record| {
                if let Record::Open(log) = record {
                    log.write_piece(piece);
                }
            });
            Ok(())
        }
    }
    console::set_colour(Color::LightRed, Color::Black);
    while key().is_some() {}
    let _ = fmt::write(
        &mut Direct,
        format_args!("\n{message}\nPress any key to exit.\n"),
    );
    wait_for_key();
    let _ = fmt::write(&mut Direct, format_args!("llama2: exit 1\n"));
    close();
}
