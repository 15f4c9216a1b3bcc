//! Everything that people see and type, on screen and serial line alike, and the application's
//! ending.
//!
//! [`FirmwareTerminal`] is a front (`llama2_console::front`) that passes everything on: to the
//! serial line, which is a terminal of 80 columns without colours, and to the screen, which is the
//! firmware's text console, or a picture that somebody draws ([`show_on`]). What the functions here
//! say goes the same ways.

use alloc::{boxed::Box, collections::VecDeque, format, string::String, vec::Vec};
use core::{
    ffi::c_void,
    fmt,
    ptr::NonNull,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use llama2_console::{
    ansi,
    cell_terminal::{CellTerminal, Places},
    decoder::Keys,
    front::{Bottom, Front, Gauge, Style},
    keys::Key,
    terminal as wire,
    typeahead::{Typeahead, Typed},
    width::is_plain,
};
use llama2_engine::units::{SENTENCE, short};
use llama2_settings::{Choice, Exit};
use uefi::{
    Event,
    boot::{self, EventType, TimerTrigger, Tpl},
    proto::console::text::Color,
};

use super::{
    NAME, clock, console, global::Global, keyboard, log::Log, network, serial::Serial, shell,
    timer::Timer,
};

/// Where a pair's second half begins.
const PAIR: usize = 13;
/// Columns and rows of the terminal behind the serial line, as far as anybody knows.
const WIRE: (usize, usize) = (80, 24);
/// Keys that are decoded ahead. The rest waits in the serial line's buffer, and in the firmware's.
const DECODED: usize = 256;
/// Milliseconds after its last byte during which the serial line is watched without sleep: a paste
/// follows something typed, and the firmware's queue is full within 3 ms.
const WATCHED: u64 = 60_000;
/// Milliseconds within which a terminal says how wide it is; one behind a network may be later.
const ANSWERED: u64 = 150;
/// Seconds that last words are shown on a machine that ends by itself.
const PATIENCE: u64 = 30;
/// Time between two looks of the timer at the line; firmware's timers are no finer.
const LISTENED: Duration = Duration::from_millis(10);

/// The serial line and what was typed.
struct Line {
    port: Option<Serial>,
    terminal: wire::Terminal,
    /// True if pastes are to be marked.
    marked: bool,
    decoder: Keys,
    /// When the last byte came.
    heard: Option<u64>,
    /// True if the terminal has told its width.
    measured: bool,

    /// Keys of line and keyboard that nobody has taken yet. It never grows: see [`last_words`].
    pressed: VecDeque<Key>,
}

static LINE: Global<Line> = Global::new(Line {
    port: None,
    terminal: wire::Terminal::new(WIRE.0, WIRE.1, false),
    marked: false,
    decoder: Keys::new(),
    heard: None,
    measured: false,
    pressed: VecDeque::new(),
});

/// Has the line listened to while something goes on; whether it does.
static TIMER: Global<Option<Timer>> = Global::new(None);
static TIMED: AtomicBool = AtomicBool::new(false);

/// Keys that came while something else was going on.
static AHEAD: Global<Typeahead> = Global::new(Typeahead::new());

/// The screen as the firmware's console.
static SCREEN: Global<Places<console::Text>> = Global::new(Places::new(console::Text::new(listen)));

/// A front that keeps a picture, which comes onto the screen now and then.
pub trait Picture: Front {
    /// Brings what has changed onto the screen. It is called whenever keys are looked for, and may
    /// find that it is too early.
    fn draw(&mut self);
}

/// The screen as a picture, where there is one.
static PICTURE: Global<Option<Box<dyn Picture>>> = Global::new(None);

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
    LINE.with(|line| {
        line.port = Serial::open();
        line.pressed.reserve_exact(DECODED);
    });
    console::open(!shell::is_parent());
    SCREEN.with(Places::measure);
}

/// What has been said so far, for a picture that comes later; `None` once it is known that none
/// does.
static EARLY: Global<Option<Vec<(Style, String)>>> = Global::new(Some(Vec::new()));

/// From now on the screen shows this picture; without one it is the firmware's console again, which
/// is emptied.
pub fn show_on(picture: Option<Box<dyn Picture>>) {
    let was = PICTURE
        .with(|place| core::mem::replace(place, picture))
        .flatten();
    if was.is_some() {
        SCREEN.with(Front::clear);
    }
    for (style, text) in EARLY.with(Option::take).flatten().unwrap_or_default() {
        on_picture(&mut |picture| picture.show(style, &text));
    }
}

/// Tells whether there is a conversation: terminals are asked to mark what is pasted, and how wide
/// they are. The serial line's cursor is at a line's beginning. The line is listened to all the
/// time: a token of a large model may take seconds, and what is typed meanwhile would be lost, or
/// be taken for keys that came all at once.
pub fn interactive(wanted: bool) {
    TIMER.with(|timer| {
        *timer = None;
        if wanted {
            // Safety: `on_time` uses globals alone, through checked borrows.
            *timer = unsafe { Timer::every(LISTENED, on_time, None) };
        }
        TIMED.store(timer.is_some(), Relaxed);
    });
    let asked = LINE.with(|line| {
        if core::mem::replace(&mut line.marked, wanted) != wanted
            && let Some(port) = &mut line.port
        {
            let mark = if wanted {
                ansi::PASTE_ON
            } else {
                ansi::PASTE_OFF
            };
            port.write(mark.as_bytes());
            if wanted {
                port.write(ansi::ASK_WIDTH.as_bytes());
            }
            line.measured = false;
            return wanted;
        }
        false
    });
    // What comes first may be a menu, which is to be as wide as it may. Keys that come meanwhile
    // are for it.
    let start = clock::milliseconds();
    while asked == Some(true)
        && LINE.with(|line| !line.measured) == Some(true)
        && clock::milliseconds() - start < ANSWERED
    {
        match pressed() {
            Some(key) => {
                keep(key);
            }
            None => boot::stall(Duration::from_micros(500)),
        }
    }
}

/// Listens, in the middle of whatever goes on; while somebody else uses the line, who listens then
/// himself, it does nothing. It asks for no memory.
unsafe extern "efiapi" fn on_time(_: Event, _: Option<NonNull<c_void>>) {
    listen();
}

/// All that people see, as one front, and what they type.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirmwareTerminal;

/// Has the serial line's terminal do something, and sends what comes of it.
fn on_wire(f: impl FnOnce(&mut wire::Terminal)) {
    LINE.with(|line| {
        f(&mut line.terminal);
        let bytes = line.terminal.take();
        if let Some(port) = &mut line.port {
            port.write(bytes.as_bytes());
        }
    });
}

/// Nanoseconds that the screen has taken since the start.
static DRAWING: AtomicU64 = AtomicU64::new(0);

/// Nanoseconds that the screen has taken since the start.
pub fn drawing() -> u64 {
    DRAWING.load(Relaxed)
}

/// Counts what `f` takes as drawing.
fn counted<R>(f: impl FnOnce() -> R) -> R {
    let start = clock::nanoseconds();
    let result = f();
    DRAWING.fetch_add(clock::nanoseconds() - start, Relaxed);
    result
}

/// Has the picture do something; whether there is one.
fn on_picture(f: &mut dyn FnMut(&mut dyn Picture)) -> bool {
    let there =
        counted(|| PICTURE.with(|picture| picture.as_mut().map(|picture| f(&mut **picture))));
    there.flatten().is_some()
}

/// Brings onto the screen what has changed.
pub fn draw() {
    on_picture(&mut |picture| picture.draw());
}

/// Has all fronts do something.
fn on_all(f: &mut dyn FnMut(&mut dyn Front)) {
    on_wire(|wire| f(wire));
    on_screen(f);
}

/// Has the screen do something.
fn on_screen(f: &mut dyn FnMut(&mut dyn Front)) {
    if !on_picture(&mut |picture| f(picture)) {
        counted(|| SCREEN.with(|screen| f(screen)));
    }
}

impl Front for FirmwareTerminal {
    fn show(&mut self, style: Style, text: &str) {
        on_all(&mut |front| front.show(style, text));
    }

    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String) {
        on_all(&mut |front| front.lay_out(style, make));
    }

    fn bottom(&mut self, bottom: Bottom<'_>) {
        let is_talk = LINE.with(|line| line.marked) == Some(true);
        match bottom {
            // Scripts read the serial line where nobody talks.
            Bottom::Note(_) if !is_talk => on_screen(&mut |front| front.bottom(bottom)),
            _ => on_all(&mut |front| front.bottom(bottom)),
        }
    }

    fn keep_line(&mut self) {
        on_all(&mut |front| front.keep_line());
    }

    fn waiting(&mut self, text: &str) {
        on_all(&mut |front| front.waiting(text));
    }

    fn gauge(&mut self, gauge: &Gauge<'_>) {
        on_all(&mut |front| front.gauge(gauge));
    }

    fn serving(&mut self, note: &str) {
        on_all(&mut |front| front.serving(note));
    }

    fn scroll(&mut self, key: Key) -> bool {
        let mut moved = false;
        on_all(&mut |front| moved |= front.scroll(key));
        moved
    }

    fn bell(&mut self) {
        on_all(&mut |front| front.bell());
    }

    fn clear(&mut self) {
        on_all(&mut |front| front.clear());
    }
}

/// Sends text to the serial line, without breaking its lines.
pub fn to_serial(text: &str) {
    on_wire(|wire| wire.unbroken(text));
}

/// Keeps what is said for a picture that may come.
fn remember(style: Style, text: &str) {
    EARLY.with(|early| {
        if let Some(early) = early {
            early.push((style, text.into()));
        }
    });
}

/// Shows text on the screen; `whole` if nothing that belongs to its last word follows.
fn to_screen(style: Style, text: &str, whole: bool) {
    let text = &wire::plain(text);
    remember(style, text);
    if !on_picture(&mut |picture| picture.show(style, text)) {
        SCREEN.with(|screen| screen.raw(style, text, whole));
    }
}

/// Redraws the current line of the screen; the serial line has none to redraw.
pub fn redraw(line: &str) {
    if !on_picture(&mut |picture| picture.bottom(Bottom::Note(line))) {
        SCREEN.with(|screen| screen.redraw(Style::Info, line));
    }
}

/// Ends the line that was redrawn.
pub fn end_redrawn() {
    to_serial("\n");
    if !on_picture(&mut |picture| picture.bottom(Bottom::Nothing)) {
        SCREEN.with(|screen| screen.raw(Style::Info, "\n", true));
    }
}

/// Says a line about what is going on.
pub fn say(line: &str) {
    say_in(Style::Info, line);
}

/// Says what only the log and scripts want to know: in a conversation it is recorded alone.
pub fn detail(line: &str) {
    match LINE.with(|line| line.marked) {
        Some(true) => record(line),
        _ => say(line),
    }
}

/// Shows lines on the full screen alone, where there is one: what only a picture can show.
pub fn show_on_picture(lines: &str) {
    on_picture(&mut |picture| picture.show(Style::Info, lines));
}

/// Says a line in a style.
pub fn say_in(style: Style, line: &str) {
    to_serial(line);
    to_serial("\n");
    to_screen(style, line, true);
    to_screen(style, "\n", true);
    record(line);
}

/// Says a `warning` or an `error`, of bounded length whatever files and people put into it.
pub fn complain(kind: &str, sentence: &str) {
    let style = if kind == "error" {
        Style::Error
    } else {
        Style::Warning
    };
    let line = wire::one_line(&format!("{kind}: {sentence}"));
    say_in(style, &short(&line, SENTENCE));
}

/// Says a name and what it stands for, in columns.
pub fn say_pair(name: &str, what: &str) {
    let name = format!("  {name:<0$}", PAIR - 2);
    to_serial(&format!("{name}{what}\n"));
    to_screen(Style::Name, &name, true);
    to_screen(Style::Info, what, true);
    to_screen(Style::Info, "\n", true);
    record(&format!("{name}{what}"));
}

/// Says a table, on the screen where it is wide enough.
pub fn table(table: &str) {
    let wide = table.lines().map(|line| line.chars().count()).max();
    let has_serial = LINE.with(|line| line.port.is_some());
    let has_log = RECORD.with(|record| matches!(record, Record::Open(_)));
    let elsewhere = match (has_serial == Some(true), has_log == Some(true)) {
        (true, true) => Some("on the serial line, and in the log"),
        (true, false) => Some("on the serial line"),
        (false, true) => Some("in the log"),
        (false, false) => None,
    };
    let make = |columns: usize| match (wide, elsewhere) {
        (Some(wide), Some(place)) if wide >= columns => {
            format!("The whole table is {place}.\n")
        }
        _ => format!("{}\n", table.trim_end_matches('\n')),
    };
    for line in table.lines() {
        to_serial(&format!("{line}\n"));
        record(line);
    }
    if !on_picture(&mut |picture| picture.lay_out(Style::Info, &make)) {
        to_screen(Style::Info, &make(console::columns()), true);
    }
}

/// Says the first line, on the screen as a bar of the screen's width.
pub fn title(line: &str) {
    to_serial(line);
    to_serial("\n");
    record(line);
    if on_picture(&mut |picture| picture.show(Style::Title, &format!("{line}\n"))) {
        return;
    }
    remember(Style::Title, line);
    console::set_colour(Color::White, Color::Blue);
    let width = console::columns() - 2;
    console::write(&format!(" {line:<width$}"));
    to_screen(Style::Info, "\n\n", true);
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

/// Decides about the log: this one, with what was said so far, or none.
pub fn keep_log(log: Option<Log>) {
    RECORD.with(|record| {
        let kept = core::mem::replace(record, Record::None);
        if let (Some(mut log), Record::Kept(text)) = (log, kept) {
            log.write(&format!("---- {NAME}\n{text}"));
            *record = Record::Open(log);
        }
    });
}

/// Takes in what came over the serial line, before the firmware's small queue is full.
pub fn listen() {
    LINE.with(|line| line.port.as_mut().map(Serial::listen));
}

/// The next key that was not looked at yet: the serial line's, then the keyboard's.
pub fn pressed() -> Option<Key> {
    LINE.with(|line| {
        let now = clock::milliseconds();
        // A byte gives two keys at the most.
        while line.pressed.len() + 4 <= DECODED {
            let Some((byte, seen)) = line.port.as_mut().and_then(Serial::read) else {
                line.pressed.extend(line.decoder.idle(now));
                break;
            };
            line.heard = Some(now);
            // However late it is looked at, what came after a while is no part of what came before.
            if TIMED.load(Relaxed) {
                line.pressed.extend(line.decoder.idle(seen));
            }
            line.pressed.extend(line.decoder.byte(byte, seen));
            // From now on its lines are broken between words.
            if let Some((columns, row)) = line.decoder.place()
                && (20..=1000).contains(&columns)
            {
                line.measured = true;
                line.terminal.set_size(columns, row.clamp(WIRE.1, 1000));
            }
        }
        while line.pressed.len() + 2 <= DECODED
            && let Some(given) = keyboard::read()
        {
            line.pressed.extend(given);
        }
        line.pressed.pop_front()
    })
    .flatten()
}

/// The next key of keyboard or serial line, if there is one; keys that came while something else
/// was going on are the first.
pub fn key() -> Option<Key> {
    AHEAD.with(Typeahead::take).flatten().or_else(pressed)
}

/// Keeps a key that came while something else is going on, for [`key`].
pub fn keep(key: Key) -> Typed {
    let kept = AHEAD.with(|ahead| ahead.press(key));
    kept.unwrap_or(Typed::Refused)
}

/// The keys that are kept, as text.
pub fn kept() -> String {
    AHEAD.with(|ahead| ahead.preview()).unwrap_or_default()
}

/// Waits so long, or until a key is there. The processor rests meanwhile, where the firmware has a
/// timer, and nothing has come over the serial line for a while.
pub fn rest(milliseconds: u64) {
    const NAP: u64 = 10;
    on_picture(&mut |picture| picture.draw());
    network::mend();
    // Safety: a timer without a function to be called.
    let timer = unsafe { boot::create_event(EventType::TIMER, Tpl::APPLICATION, None, None) }.ok();
    let start = clock::milliseconds();
    loop {
        let busy = network::poll();
        if AHEAD.with(|ahead| !ahead.is_empty()) == Some(true) {
            break;
        }
        if let Some(key) = pressed() {
            // Back to the front: it was only looked at.
            LINE.with(|line| line.pressed.push_front(key));
            break;
        }
        let now = clock::milliseconds();
        let left = (start + milliseconds).saturating_sub(now);
        if left == 0 {
            break;
        }
        if busy {
            continue;
        }
        let heard = LINE.with(|line| line.heard).flatten();
        if heard.is_some_and(|heard| now.saturating_sub(heard) < WATCHED) {
            boot::stall(Duration::from_micros(500));
            continue;
        }
        let nap = Duration::from_millis(left.min(NAP));
        let napped = timer.as_ref().is_some_and(|timer| {
            boot::set_timer(timer, TimerTrigger::Relative(nap)).is_ok()
                && boot::wait_for_event(core::slice::from_ref(timer)).is_ok()
        });
        if !napped {
            boot::stall(nap);
        }
    }
    if let Some(timer) = timer {
        let _ = boot::close_event(timer);
    }
}

/// Waits for a key.
pub fn wait_for_key() -> Key {
    loop {
        if let Some(key) = key() {
            return key;
        }
        rest(1000);
    }
}

/// How the run ends.
static END: AtomicU8 = AtomicU8::new(Exit::Key as u8);

/// Has the run end so, whatever comes.
pub fn end_with(exit: Exit) {
    END.store(exit as u8, Relaxed);
}

/// How the run ends.
pub fn exit() -> Exit {
    let end = END.load(Relaxed);
    let named = Exit::NAMES.iter().map(|(_, exit)| *exit);
    named
        .into_iter()
        .find(|&exit| exit as u8 == end)
        .unwrap_or_default()
}

/// Says the last line, by which `xtask` knows the exit status, and gives everything back to the
/// firmware.
pub fn leave(told: bool) {
    show_on(None);
    say(if told {
        "llama2: exit 0"
    } else {
        "llama2: exit 1"
    });
    close();
}

/// Gives everything back to the firmware.
fn close() {
    interactive(false);
    RECORD.with(|record| *record = Record::None);
    if let Some(port) = LINE.with(|line| line.port.take()).flatten() {
        port.close();
    }
    console::close();
}

/// Shows a message without the heap, waits for a key (where nobody may be there, for a while) and
/// gives everything back.
pub fn last_words(message: fmt::Arguments<'_>) {
    struct Direct;
    impl fmt::Write for Direct {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            LINE.with(|line| {
                let Some(port) = &mut line.port else { return };
                let plain = text.split(|letter: char| !is_plain(letter));
                for piece in plain.flat_map(|text| text.split_inclusive('\n')) {
                    match piece.strip_suffix('\n') {
                        Some(content) => {
                            port.write(content.as_bytes());
                            port.write(b"\r\n");
                        }
                        None => port.write(piece.as_bytes()),
                    }
                }
            });
            console::write(text);
            RECORD.with(|record| {
                if let Record::Open(log) = record {
                    log.write_piece(text);
                }
            });
            Ok(())
        }
    }
    // Nothing of the picture is called any more, not even to free it.
    if let Some(picture) = PICTURE.with(Option::take).flatten() {
        core::mem::forget(picture);
        console::Text::new(listen).clear();
    }
    console::set_colour(Color::LightRed, Color::Black);
    while key().is_some() {}
    let patience = match exit() {
        Exit::Key => None,
        Exit::Shutdown | Exit::Return => Some(PATIENCE),
    };
    let _ = fmt::write(
        &mut Direct,
        format_args!("\n{message}\nPress any key to exit."),
    );
    if let Some(seconds) = patience {
        let _ = fmt::write(
            &mut Direct,
            format_args!(" Without one, it ends in {seconds} s."),
        );
    }
    let _ = fmt::write(&mut Direct, format_args!("\n"));
    let start = clock::milliseconds();
    let over = |seconds| clock::milliseconds().saturating_sub(start) >= seconds * 1000;
    while !patience.is_some_and(over) && key().is_none() {
        rest(1000);
    }
    let _ = fmt::write(&mut Direct, format_args!("llama2: exit 1\n"));
    close();
}
