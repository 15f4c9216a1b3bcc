//! Decoder of keys from the raw bytes of a serial line or a terminal.
//!
//! Supported are the sequences of xterm and compatible terminals (VTE, konsole, Windows Terminal,
//! PuTTY), VT100 and VT220, the Linux console and rxvt, with modifiers; bracketed paste; and
//! xterm's and kitty's encoding of modified characters (`modifyOtherKeys`, `CSI u`). UTF-8 may
//! arrive in pieces; invalid bytes become U+FFFD.
//!
//! Terminals also send reports: modes, colours, sizes, names, the mouse, as `CSI` … or as strings
//! (OSC, DCS, APC, PM, SOS) that end with BEL or `Esc \`. Programs that ran before may have
//! requested them. A report is never a key, whenever it arrives.

use crate::{
    keys::{Given, Key, Modifiers, given},
    paste_detect::Pace,
    utf8::{Piece, Utf8},
};

/// Milliseconds after which an Esc that nothing follows is the key. The bytes of a sequence arrive
/// within 4 ms at 9600 baud; a slow network link needs longer, and a delay below 100 ms is not
/// noticed.
pub const ESCAPE_TIMEOUT: u64 = 50;
/// Milliseconds for which Return and Tab wait for more of a paste.
pub const ENTER_TIMEOUT: u64 = 30;
/// Milliseconds after which a bracketed paste whose end was lost is over.
pub const PASTE_TIMEOUT: u64 = 2_000;

/// Milliseconds of silence after which an incomplete sequence or report is over, because its end
/// was lost.
const CUT_TIMEOUT: u64 = 300;
/// Milliseconds after which the string of a report ends at its next pause (of [`ENTER_TIMEOUT`],
/// which terminals do not make), so that a user who keeps typing is heard again.
const STRING_TIMEOUT: u64 = 1_000;

/// Largest number of parameters in a sequence; further ones are ignored.
const NUMBERS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Plain,
    /// Esc; true if another Esc came before it.
    Escape(bool),
    /// Sequence `Esc [` … or `Esc O` …
    Sequence(Sequence),
    /// Sequence `Esc [ [`: one more byte gives a function key of the Linux console.
    Function,
    /// Report in the form of a string.
    Report(Report),
    /// Mouse report `Esc [ M`: number of bytes still to come.
    Mouse(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Report {
    begun: u64,
    /// True if the last byte was Esc, which may begin the end of the string.
    escape: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sequence {
    numbers: [u32; NUMBERS],
    count: usize,
    /// True for `Esc O` instead of `Esc [`.
    short: bool,
    /// True if an Esc came before it, which some terminals send for Alt.
    alt: bool,
    /// True if it has bytes that no key has, such as `?`: an answer of the terminal.
    private: bool,
}

impl Sequence {
    /// Returns true if it is a report rather than a key (xterm's "Control Sequences"; ECMA-48,
    /// 8.3): modes, attributes, state and size of the terminal, focus, rxvt's mouse reports.
    fn is_report(&self, last: u8) -> bool {
        self.private
            || !self.short
                && match last {
                    b'n' | b't' | b'x' | b'y' | b'I' | b'O' => true,
                    // Without a number it is rxvt's Shift-Right.
                    b'c' => self.count > 0,
                    b'M' => self.count >= NUMBERS,
                    _ => false,
                }
    }
}

/// Decoder from bytes to keys. Times are in milliseconds of any clock.
///
/// Shells pass all available bytes to [`Keys::byte`], and call [`Keys::idle`] whenever there are
/// none: this order distinguishes a lone Esc from a sequence even if a shell polls rarely.
#[derive(Debug, Default)]
pub struct Keys {
    state: State,
    /// Arrival time of the last byte.
    last: u64,
    /// True if the last byte was a carriage return: a line feed directly after it is not another
    /// key.
    returned: bool,
    utf8: Utf8,
    /// Return or Tab that may belong to a paste: its key, and its meaning as text.
    held: Option<(Key, Key)>,
    /// True inside of a bracketed paste.
    pasting: bool,
    pace: Pace,
    /// Cursor position: a terminal's answer to [`crate::ansi::ASK_WIDTH`].
    place: Option<(usize, usize)>,
}

impl Keys {
    /// A decoder without pending bytes.
    pub const fn new() -> Keys {
        Keys {
            state: State::Plain,
            last: 0,
            returned: false,
            utf8: Utf8::new(),
            held: None,
            pasting: false,
            pace: Pace::new(),
            place: None,
        }
    }

    /// Takes the column and the row last reported by the terminal, counted from 1.
    pub fn place(&mut self) -> Option<(usize, usize)> {
        self.place.take()
    }

    /// Handles a byte that arrived at `now`.
    pub fn byte(&mut self, byte: u8, now: u64) -> Given {
        let waited = now.saturating_sub(self.last);
        self.last = now;
        if let State::Report(Report { begun, .. }) = self.state
            && waited >= ENTER_TIMEOUT
            && now.saturating_sub(begun) >= STRING_TIMEOUT
        {
            self.state = State::Plain;
        }
        let returned = core::mem::replace(&mut self.returned, byte == b'\r');
        if byte == b'\n' && returned && self.state == State::Plain {
            return given(None, None);
        }
        // Alone in its state, a byte is a key's beginning.
        if self.state == State::Plain && self.utf8.left == 0 {
            self.pace.count(now);
        }
        // A key waited, and the next byte has arrived: fast enough for a paste?
        let fast = self.pace.is_fast();
        let held = self
            .held
            .take()
            .map(|(key, text)| if fast { text } else { key });
        // With a key held no other byte is half done, so that a single key follows.
        let mut keys = self.decode(byte);
        match held {
            Some(_) => given(held, keys.next()),
            None => keys,
        }
    }

    fn decode(&mut self, byte: u8) -> Given {
        match self.state {
            State::Plain => self.plain(byte),
            // Pasted input is text: an Esc in it is dropped, and only the mark of its end is
            // recognised.
            State::Escape(_) if self.pasting && byte != b'[' => {
                self.state = State::Plain;
                self.plain(byte)
            }
            State::Escape(twice) => match byte {
                b'[' | b'O' => {
                    self.state = State::Sequence(Sequence {
                        short: byte == b'O',
                        alt: twice,
                        ..Sequence::default()
                    });
                    given(None, None)
                }
                b']' | b'P' | b'_' | b'^' | b'X' => {
                    self.state = State::Report(Report {
                        begun: self.last,
                        escape: false,
                    });
                    given(twice.then_some(Key::Escape), None)
                }
                // Two of them may begin a sequence with Alt; of three the first was a key.
                0x1b => {
                    self.state = State::Escape(true);
                    given(twice.then_some(Key::Escape), None)
                }
                _ => {
                    self.state = State::Plain;
                    let first = twice.then_some(Key::Escape);
                    // Alt with a letter outside of ASCII: its bytes follow, and the letter counts.
                    if byte >= 0x80 {
                        let mut keys = self.plain(byte);
                        return given(first, keys.next());
                    }
                    let key = Key::from_char(char::from(byte)).with(Modifiers {
                        alt: true,
                        ..Modifiers::default()
                    });
                    given(first, Some(key))
                }
            },
            State::Function => {
                self.state = State::Plain;
                given(Some(Key::Other), None)
            }
            State::Sequence(sequence) => self.sequence(sequence, byte),
            State::Report(report) => self.report(report, byte),
            State::Mouse(left) => {
                self.state = match left {
                    ..=1 => State::Plain,
                    _ => State::Mouse(left - 1),
                };
                given(None, None)
            }
        }
    }

    /// Handles a byte of a report's string, which is ignored.
    fn report(&mut self, mut report: Report, byte: u8) -> Given {
        self.state = State::Plain;
        match byte {
            b'\\' if report.escape => return given(None, None),
            // Another sequence begins: the string was cut short.
            _ if report.escape => {
                self.state = State::Escape(false);
                return self.decode(byte);
            }
            0x07 => return given(None, None),
            0x1b => report.escape = true,
            // No report has these, and hands that type on do.
            0x00..0x20 | 0x7f => return self.plain(byte),
            _ => (),
        }
        self.state = State::Report(report);
        given(None, None)
    }

    fn sequence(&mut self, mut sequence: Sequence, byte: u8) -> Given {
        self.state = State::Plain;
        match byte {
            b'0'..=b'9' => {
                sequence.count = sequence.count.max(1);
                if let Some(number) = sequence.numbers.get_mut(sequence.count - 1) {
                    *number = number
                        .saturating_mul(10)
                        .saturating_add(u32::from(byte - b'0'));
                }
                self.state = State::Sequence(sequence);
            }
            b';' => {
                sequence.count = sequence.count.max(1).saturating_add(1);
                self.state = State::Sequence(sequence);
            }
            b'[' if !sequence.short && sequence.count == 0 && !sequence.private => {
                self.state = State::Function;
            }
            // rxvt ends a sequence with $, which is not a final byte in ECMA-48.
            b'$' if !sequence.private && sequence.count == 1 => {
                return self.finish(sequence, byte);
            }
            0x20..=0x3f => {
                sequence.private = true;
                self.state = State::Sequence(sequence);
            }
            b'M' if sequence == Sequence::default() => self.state = State::Mouse(3),
            0x40..=0x7e => return self.finish(sequence, byte),
            // No sequence has these: it was cut short.
            _ => {
                let mut keys = self.plain(byte);
                return given(Some(Key::Other), keys.next());
            }
        }
        given(None, None)
    }

    fn finish(&mut self, sequence: Sequence, last: u8) -> Given {
        // A cursor position report, not a key; for the first row it would be F3 with modifiers.
        let Sequence {
            numbers: [row, column, _],
            count: 2,
            short: false,
            private: false,
            ..
        } = sequence
        else {
            return self.key(&sequence, last);
        };
        if last == b'R' && row > 1 {
            self.place = Some((column as usize, row as usize));
            return given(None, None);
        }
        self.key(&sequence, last)
    }

    fn key(&mut self, sequence: &Sequence, last: u8) -> Given {
        if sequence.is_report(last) {
            // The Esc before it was a separate key.
            return given(sequence.alt.then_some(Key::Escape), None);
        }
        let key = meaning(sequence, last);
        match key {
            Key::PasteEnd => (),
            _ if self.pasting => return given(None, None),
            _ => (),
        }
        match key {
            Key::PasteBegin => self.pasting = true,
            Key::PasteEnd if !self.pasting => return given(None, None),
            Key::PasteEnd => self.pasting = false,
            _ => (),
        }
        given(Some(key), None)
    }

    fn plain(&mut self, byte: u8) -> Given {
        if self.utf8.left > 0 || byte >= 0x80 {
            return match self.utf8.push(byte) {
                Piece::Part => given(None, None),
                Piece::Whole(letter) => given(Some(typed(letter)), None),
                Piece::Broken => given(Some(Key::Char(char::REPLACEMENT_CHARACTER)), None),
                // The character that was begun is broken, and this byte begins another.
                Piece::BrokenBefore => {
                    let mut keys = self.plain(byte);
                    given(Some(Key::Char(char::REPLACEMENT_CHARACTER)), keys.next())
                }
            };
        }
        let key = match byte {
            0x1b => {
                self.state = State::Escape(false);
                return given(None, None);
            }
            b'\r' | b'\n' | b'\t' => {
                let (key, text) = match byte {
                    b'\t' => (Key::Tab, Key::Char('\t')),
                    _ => (Key::Enter, Key::Newline),
                };
                if self.pasting {
                    return given(Some(text), None);
                }
                self.held = Some((key, text));
                return given(None, None);
            }
            0x00..0x20 | 0x7f if self.pasting => return given(None, None),
            _ => Key::from_char(char::from(byte)),
        };
        given(Some(key), None)
    }

    /// Handles a pause: no more bytes have arrived until `now`.
    pub fn idle(&mut self, now: u64) -> Given {
        self.pace.rest(now);
        let waited = now.saturating_sub(self.last);
        if waited >= ENTER_TIMEOUT
            && let Some((key, _)) = self.held.take()
        {
            return given(Some(key), None);
        }
        let (over, keys) = match self.state {
            State::Plain => (false, given(None, None)),
            State::Escape(_) if self.pasting => (waited >= ESCAPE_TIMEOUT, given(None, None)),
            State::Escape(twice) => (
                waited >= ESCAPE_TIMEOUT,
                given(Some(Key::Escape), twice.then_some(Key::Escape)),
            ),
            // Alt-[ and Alt-O.
            State::Sequence(Sequence {
                count: 0,
                private: false,
                ..
            })
            | State::Function
            | State::Mouse(3) => (waited >= ESCAPE_TIMEOUT, given(Some(Key::Other), None)),
            // The rest got lost.
            State::Sequence(_) | State::Mouse(_) => (waited >= CUT_TIMEOUT, given(None, None)),
            State::Report(Report { begun, escape }) => {
                let is_long = now.saturating_sub(begun) >= STRING_TIMEOUT;
                (
                    waited >= CUT_TIMEOUT || is_long && waited >= ENTER_TIMEOUT,
                    given(escape.then_some(Key::Escape), None),
                )
            }
        };
        if over {
            self.state = State::Plain;
            return keys;
        }
        if self.pasting && waited >= PASTE_TIMEOUT {
            self.pasting = false;
            return given(Some(Key::PasteEnd), None);
        }
        given(None, None)
    }

    /// Returns true if something is held back until [`Keys::idle`] reports that nothing follows.
    pub fn is_waiting(&self) -> bool {
        self.held.is_some() || self.pasting || self.state != State::Plain
    }
}

/// Key of a character of several bytes.
fn typed(letter: char) -> Key {
    // C1 control characters.
    if letter.is_control() {
        Key::Other
    } else {
        Key::Char(letter)
    }
}

/// Key of a complete sequence.
fn meaning(sequence: &Sequence, last: u8) -> Key {
    let [first, second, third] = sequence.numbers;
    let mut modifiers = Modifiers::from_number(if sequence.count > 1 { second } else { 1 });
    // An old spelling: `Esc O 5 C`.
    if sequence.short && sequence.count == 1 {
        modifiers = Modifiers::from_number(first);
    }
    modifiers.alt |= sequence.alt;
    let coded = |code: u32, modifiers: Modifiers| match char::from_u32(code) {
        Some(letter) => Key::from_char(letter).with(modifiers),
        None => Key::Other,
    };
    // rxvt: lower case is Shift with `Esc [` and Ctrl with `Esc O`; ^, $ and @ instead of ~ are
    // Ctrl, Shift and both.
    let last = match last {
        b'a'..=b'd' => {
            modifiers.ctrl |= sequence.short;
            last.to_ascii_uppercase()
        }
        b'^' | b'@' => {
            modifiers.ctrl = true;
            b'~'
        }
        b'$' => b'~',
        _ => last,
    };
    let key = match last {
        b'A' => Key::Up,
        b'B' => Key::Down,
        b'C' => Key::Right,
        b'D' => Key::Left,
        b'H' => Key::Home,
        b'F' => Key::End,
        b'Z' if !sequence.short => Key::BackTab,
        // The numeric keypad in its application mode.
        b'M' if sequence.short => Key::Enter,
        b'X' if sequence.short => Key::Char('='),
        b'j'..=b'y' if sequence.short => Key::Char(char::from(last - b'j' + b'*')),
        b'u' if !sequence.short => return coded(first, modifiers),
        b'~' => match first {
            1 | 7 => Key::Home,
            3 => Key::Delete,
            4 | 8 => Key::End,
            5 => Key::PageUp,
            6 => Key::PageDown,
            27 if sequence.count == 3 => return coded(third, modifiers),
            200 => Key::PasteBegin,
            201 => Key::PasteEnd,
            _ => Key::Other,
        },
        _ => Key::Other,
    };
    key.with(modifiers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key::*;

    /// Keys decoded from bytes that arrive every `gap` milliseconds, followed by silence.
    fn every(gap: u64, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::new();
        let mut out = Vec::new();
        let mut now = 1000;
        out.extend(keys.idle(now));
        for &byte in bytes {
            now += gap;
            out.extend(keys.byte(byte, now));
            // A shell that looks often.
            for _ in 1..gap {
                out.extend(keys.idle(now));
            }
        }
        out.extend(keys.idle(now + ENTER_TIMEOUT - 1));
        out.extend(keys.idle(now + ENTER_TIMEOUT));
        out.extend(keys.idle(now + ESCAPE_TIMEOUT));
        out.extend(keys.idle(now + PASTE_TIMEOUT));
        assert_eq!(keys.idle(now + 100_000).next(), None, "only once");
        assert!(!keys.is_waiting());
        out
    }

    fn typed(bytes: &[u8]) -> Vec<Key> {
        every(3, bytes)
    }

    #[test]
    fn a_terminal_s_place_is_no_key() {
        let mut keys = Keys::new();
        let given: Vec<Key> = b"\x1b[24;132Rx\x1b[1;2R"
            .iter()
            .flat_map(|&byte| keys.byte(byte, 0))
            .collect();
        assert_eq!(given, [Key::Char('x'), Key::Other]);
        assert_eq!((keys.place(), keys.place()), (Some((132, 24)), None));
    }

    #[test]
    fn a_lone_escape_is_told_by_time() {
        let mut keys = Keys::new();
        assert_eq!(keys.byte(0x1b, 5).next(), None);
        assert_eq!(keys.idle(5 + ESCAPE_TIMEOUT - 1).next(), None);
        assert!(keys.idle(5 + ESCAPE_TIMEOUT).eq([Escape]));
        // A sequence whose rest arrives later than that, but before the shell polls again.
        assert_eq!(keys.byte(0x1b, 100).next(), None);
        assert_eq!(keys.byte(b'[', 400).next(), None);
        assert!(keys.byte(b'A', 800).eq([Up]));
        // Half a sequence is an unknown key, and the next one is complete again.
        assert_eq!(keys.byte(0x1b, 900).next(), None);
        assert_eq!(keys.byte(b'[', 900).next(), None);
        assert!(keys.idle(1000).eq([Other]));
        assert!(keys.byte(b'A', 1000).eq([Char('A')]));
        assert_eq!(typed(b"\x1b"), [Escape]);
        assert_eq!(typed(b"\x1b\x1b"), [Escape, Escape]);
        assert_eq!(typed(b"\x1b\x1b\x1b"), [Escape, Escape, Escape]);
        assert_eq!(typed(b"\x1b\x1bx"), [Escape, Other]);
    }

    #[test]
    fn sequences_of_terminals() {
        for (bytes, key) in [
            // xterm, VTE, Windows Terminal; VT100's application mode; PuTTY and the Linux console;
            // rxvt.
            ("[A", Up),
            ("OA", Up),
            ("[B", Down),
            ("OB", Down),
            ("[C", Right),
            ("OC", Right),
            ("[D", Left),
            ("OD", Left),
            ("[H", Home),
            ("OH", Home),
            ("[1~", Home),
            ("[7~", Home),
            ("[F", End),
            ("OF", End),
            ("[4~", End),
            ("[8~", End),
            ("[2~", Other),
            ("[3~", Delete),
            ("[5~", PageUp),
            ("[6~", PageDown),
            ("[Z", BackTab),
            ("[1;5C", WordRight),
            ("[1;5D", WordLeft),
            ("[1;3D", WordLeft),
            ("[1;9C", WordRight),
            ("Oc", WordRight),
            ("Od", WordLeft),
            ("O5C", WordRight),
            ("O1;5D", WordLeft),
            ("\x1b[D", WordLeft),
            ("\x1bOC", WordRight),
            ("[d", Left),
            ("[1;2C", Right),
            ("[3;5~", DeleteWordRight),
            ("[3^", DeleteWordRight),
            ("[3$", Delete),
            ("[7$", Home),
            ("[7^", Home),
            ("[8@", End),
            ("\x7f", DeleteWordLeft),
            ("\x08", DeleteWordLeft),
            ("b", WordLeft),
            ("f", WordRight),
            ("d", DeleteWordRight),
            ("B", WordLeft),
            ("\r", Newline),
            ("q", Other),
            ("\x03", Ctrl('c')),
            ("OP", Other),
            ("OQ", Other),
            ("[11~", Other),
            ("[[A", Other),
            ("[15~", Other),
            ("[24~", Other),
            ("[1;2P", Other),
            ("OM", Enter),
            ("Op", Char('0')),
            ("Oy", Char('9')),
            ("Ok", Char('+')),
            ("On", Char('.')),
            ("OX", Char('=')),
            ("[27;5;99~", Ctrl('c')),
            ("[99;5u", Ctrl('c')),
            ("[27u", Escape),
            ("[13;2u", Newline),
            ("[9;2u", BackTab),
            ("[127;5u", DeleteWordLeft),
            ("[228u", Char('ä')),
            ("[55555555u", Other),
            ("[99999999999;5A", Up),
            ("[1;2;3;4;5;6_", Other),
        ] {
            for gap in [1, 3, 12] {
                assert_eq!(
                    every(gap, format!("\x1b{bytes}").as_bytes()),
                    [key],
                    "{bytes:?}"
                );
            }
            // And a key behind it stays itself.
            assert_eq!(
                typed(format!("\x1b{bytes}x").as_bytes()),
                [key, Char('x')],
                "{bytes:?}"
            );
        }
        assert_eq!(typed(b"\x1b[\x03"), [Other, Ctrl('c')], "cut short");
        assert_eq!(typed("\x1bé".as_bytes()), [Char('é')]);
    }

    #[test]
    fn reports_are_no_keys() {
        for report in [
            "[?1;2c",
            "[>0;276;0c",
            "[?2026;2$y",
            "[12;2$y",
            "[?1u",
            "[?997;1n",
            "[0n",
            "[8;24;80t",
            "[2;1;1;128;128;1;0x",
            "[I",
            "[O",
            "[<35;10;5M",
            "[<0;10;5m",
            "[32;10;5M",
            "[M !!",
            "[24;80R",
            "]11;rgb:0000/0000/0000\x07",
            "]11;rgb:0000/0000/0000\x1b\\",
            "]l\u{e9}\u{65e5}\x1b\\",
            "P>|xterm(379)\x1b\\",
            "P1+r544e=78\x1b\\",
            "_Gi=31;OK\x1b\\",
            "^private\x1b\\",
            "Xstring\x07",
        ] {
            // In pieces at any time, between keys, and after a separate Esc.
            for gap in [0, 3, 40] {
                let bytes = format!("\x1b{report}");
                assert_eq!(every(gap, bytes.as_bytes()), [], "{report:?}");
                let between = format!("a\x1b{report}b\x1b{report}\x1b[A");
                let want = [Char('a'), Char('b'), Up];
                assert_eq!(every(gap, between.as_bytes()), want, "{report:?}");
            }
            let mut keys = Keys::new();
            let split = (report.len() / 2).max(3).min(report.len());
            let first = format!("\x1b{}", &report[..report.floor_char_boundary(split)]);
            let rest = format!("{}x", &report[first.len() - 1..]);
            let mut out: Vec<Key> = Vec::new();
            for (bytes, now) in [(first, 100), (rest, 100 + CUT_TIMEOUT - 1)] {
                out.extend(keys.idle(now));
                out.extend(bytes.bytes().flat_map(|byte| keys.byte(byte, now)));
            }
            assert_eq!(out, [Char('x')], "{report:?}");
        }
        assert_eq!(typed(b"\x1b\x1b[?1;2c"), [Escape]);
        assert_eq!(typed(b"\x1b\x1b]0;\x07"), [Escape]);
    }

    #[test]
    fn a_report_without_an_end_is_over_soon() {
        for cut in ["]11;rgb:00", "Pdata", "_G", "^x", "X", "]", "[?20", "[M!"] {
            let mut keys = Keys::new();
            let mut out: Vec<Key> = Vec::new();
            out.extend(
                format!("\x1b{cut}")
                    .bytes()
                    .flat_map(|byte| keys.byte(byte, 5)),
            );
            out.extend(keys.idle(5 + CUT_TIMEOUT));
            out.extend(b"hi".iter().flat_map(|&byte| keys.byte(byte, 400)));
            assert_eq!(out, [Char('h'), Char('i')], "{cut}");
            // Return, Ctrl-C and Esc are never part of one.
            for (key, want) in [(b'\r', Enter), (3, Ctrl('c')), (0x1b, Escape)] {
                if !cut.starts_with('[') {
                    let bytes = [&format!("\x1b{cut}").into_bytes()[..], &[key]].concat();
                    assert_eq!(every(3, &bytes), [want], "{cut}");
                }
            }
        }
        // Continuous typing is recognised after a second; a terminal's long report never is.
        let hands = every(100, format!("\x1b]0;{}", "x".repeat(30)).as_bytes());
        assert!((20..24).contains(&hands.len()), "{}", hands.len());
        let flood = every(0, format!("\x1b]0;{}", "x".repeat(5000)).as_bytes());
        assert_eq!(flood, []);
        // Its end may arrive late, in two pieces.
        let mut keys = Keys::new();
        let mut out: Vec<Key> = Vec::new();
        for (bytes, now) in [(&b"\x1b]11;rgb:0\x1b"[..], 5), (b"\\a", 70)] {
            out.extend(keys.idle(now));
            out.extend(bytes.iter().flat_map(|&byte| keys.byte(byte, now)));
        }
        assert_eq!(out, [Char('a')]);
        // Pasted input is text, whatever it contains.
        assert_eq!(
            typed(b"\x1b[200~a\x03b\x1bc\x1b[Ad\x1b]e\x7f\x1b[201~f"),
            [
                PasteBegin,
                Char('a'),
                Char('b'),
                Char('c'),
                Char('d'),
                Char(']'),
                Char('e'),
                PasteEnd,
                Char('f')
            ]
        );
        assert_eq!(typed(b"\x1b]0;a\x1b[Ab"), [Up, Char('b')], "cut by a key");
    }

    #[test]
    fn control_characters() {
        assert_eq!(
            typed(b"a\x03\x7f\x08\x04\x01\x00\x1c"),
            [
                Char('a'),
                Ctrl('c'),
                Backspace,
                Backspace,
                Ctrl('d'),
                Ctrl('a'),
                Other,
                Other
            ]
        );
        assert_eq!(every(40, b"\t\t"), [Tab, Tab]);
        assert_eq!(every(40, b"\r\n\n\r\r\n"), [Enter, Enter, Enter, Enter]);
    }

    #[test]
    fn utf8_in_pieces_and_broken() {
        assert_eq!(typed("é日🙂".as_bytes()), ['é', '日', '🙂'].map(Char));
        assert_eq!(every(500, "日".as_bytes()), [Char('日')], "however late");
        const BAD: Key = Char('\u{fffd}');
        assert_eq!(typed(b"\xff\xc0\x80a"), [BAD, BAD, BAD, Char('a')]);
        assert_eq!(typed(b"\xe6\x97a"), [BAD, Char('a')]);
        assert_eq!(typed(b"\xe6\xe6\x97\xa5"), [BAD, Char('日')]);
        assert_eq!(typed(b"\xc3\x03"), [BAD, Ctrl('c')]);
        assert_eq!(typed(b"\xc3\x1b[A"), [BAD, Up]);
        assert_eq!(typed(b"\xe0\x80\x80"), [BAD], "written too long");
        assert_eq!(typed(b"\xed\xa0\x80"), [BAD], "half a surrogate pair");
        assert_eq!(typed(b"\xf4\x90\x80\x80"), [BAD], "beyond Unicode");
        assert_eq!(typed(b"\xc2\x9b"), [Other], "C1");
    }

    #[test]
    fn bracketed_paste() {
        let pasted = typed(b"\x1b[200~a\rb\r\n\tc\x1b[201~\r");
        let want = [
            PasteBegin,
            Char('a'),
            Newline,
            Char('b'),
            Newline,
            Char('\t'),
            Char('c'),
            PasteEnd,
            Enter,
        ];
        assert_eq!(pasted, want);
        // The end got lost: after a while it is over.
        assert_eq!(typed(b"\x1b[200~a"), [PasteBegin, Char('a'), PasteEnd]);
        assert_eq!(typed(b"\x1b[201~a"), [Char('a')]);
    }

    #[test]
    fn a_burst_is_a_paste() {
        // 115 200 and 9 600 baud: lines stay together, the last Return sends them.
        let text = b"first line\rsecond\r\n\tthird\r";
        let want = "first line\nsecond\n\tthird";
        for gap in [0, 1] {
            let keys = every(gap, text);
            let (last, rest) = keys.split_last().unwrap();
            assert_eq!(*last, Enter, "{gap}");
            let seen: String = rest
                .iter()
                .map(|key| match key {
                    Char(letter) => *letter,
                    Newline => '\n',
                    _ => '?',
                })
                .collect();
            assert_eq!(seen, want, "{gap}");
        }
        // Hands: each Return is one, and a tab asks.
        let keys = every(60, b"yes\rno\t\r\r\rmore\r");
        assert_eq!(keys.iter().filter(|&&key| key == Enter).count(), 5);
        assert!(keys.contains(&Tab) && !keys.contains(&Newline));
        // Input from a script: the last key counts as a key, however fast.
        assert_eq!(every(0, b"/temp\t").last(), Some(&Tab));
        assert_eq!(every(0, b"/temp 1\r").last(), Some(&Enter));
        // A key held down, and arrows too.
        assert_eq!(every(33, &b"\r".repeat(100)), [Enter; 100]);
        assert_eq!(every(10, &b"\x1b[A".repeat(50)), [Up; 50]);
    }

    #[test]
    fn what_was_typed_while_nobody_looked_is_no_paste() {
        let mut keys = Keys::new();
        let mut out: Vec<Key> = Vec::new();
        out.extend(keys.idle(1000));
        for &byte in b"yes\rno\r" {
            out.extend(keys.byte(byte, 2000));
        }
        out.extend(keys.idle(2000 + ENTER_TIMEOUT));
        let want = [
            Char('y'),
            Char('e'),
            Char('s'),
            Enter,
            Char('n'),
            Char('o'),
            Enter,
        ];
        assert_eq!(out, want);
    }

    #[test]
    fn four_thousand_characters_arrive() {
        let text: String = (0..4000).map(|i| ['a', 'é', '日', ' '][i % 4]).collect();
        for gap in [0, 1] {
            let keys = every(gap, text.as_bytes());
            let seen: String = keys
                .iter()
                .filter_map(|key| match key {
                    Char(letter) => Some(*letter),
                    _ => None,
                })
                .collect();
            assert_eq!((seen, keys.len()), (text.clone(), 4000));
        }
    }

    #[test]
    fn any_bytes_at_any_time() {
        let mut random = crate::random(3);
        let mut keys = Keys::new();
        let mut now = 0;
        for _ in 0..200_000 {
            now += [0, 0, 1, 30, 60][random(5)];
            let byte = match random(3) {
                0 => b"\x1b[O;$0129~A\r\n\t"[random(14)],
                _ => random(256) as u8,
            };
            for key in keys.byte(byte, now) {
                if let Char(letter) = key {
                    assert!(!letter.is_control() || letter == '\t');
                }
            }
            if random(4) == 0 {
                let _ = keys.idle(now);
            }
        }
    }
}
