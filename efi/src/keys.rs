//! Keys from raw serial bytes: characters, Esc, Ctrl-C, and escape sequences told apart from a lone Esc by time.

/// What a user typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Esc.
    Escape,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-D: the end of input.
    End,
    /// Return.
    Enter,
    /// Backspace or delete.
    Backspace,
    /// A byte of UTF-8 text.
    Byte(u8),
    /// Any other key.
    Other,
}

/// Milliseconds after which an Esc that nothing follows is the key. A sequence's bytes come within 2 ms at 9 600 baud.
const ESCAPE_TIMEOUT: u64 = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Plain,
    /// An Esc came at this time.
    Escape(u64),
    /// Inside of a control sequence (`Esc [` …), or one byte after `Esc O`.
    Sequence,
    Last,
}

/// Turns bytes into keys.
#[derive(Debug, Default)]
pub struct Keys {
    state: State,
    /// Whether the last byte was a carriage return: a line feed right behind it is no second key.
    returned: bool,
}

impl Keys {
    /// No key begun.
    pub const fn new() -> Keys {
        Keys {
            state: State::Plain,
            returned: false,
        }
    }

    /// Takes a byte that came at `now` (milliseconds on any clock).
    pub fn byte(&mut self, byte: u8, now: u64) -> Option<Key> {
        let returned = core::mem::replace(&mut self.returned, byte == b'\r');
        match self.state {
            State::Escape(_) => match byte {
                b'[' => self.state = State::Sequence,
                b'O' => self.state = State::Last,
                // Two of them: the first was the key.
                0x1b => {
                    self.state = State::Escape(now);
                    return Some(Key::Escape);
                }
                _ => {
                    self.state = State::Plain;
                    return Some(Key::Other);
                }
            },
            // A sequence ends with its first byte from @ to ~ (ECMA-48).
            State::Sequence if !(0x40..=0x7e).contains(&byte) => (),
            State::Sequence | State::Last => {
                self.state = State::Plain;
                return Some(Key::Other);
            }
            State::Plain => match byte {
                0x1b => self.state = State::Escape(now),
                0x03 => return Some(Key::Interrupt),
                0x04 => return Some(Key::End),
                b'\n' if returned => (),
                b'\r' | b'\n' => return Some(Key::Enter),
                0x08 | 0x7f => return Some(Key::Backspace),
                b'\t' | 0x20.. => return Some(Key::Byte(byte)),
                _ => return Some(Key::Other),
            },
        }
        None
    }

    /// Says that nothing more has come until `now`.
    pub fn idle(&mut self, now: u64) -> Option<Key> {
        match self.state {
            State::Escape(since) if now.saturating_sub(since) >= ESCAPE_TIMEOUT => {
                self.state = State::Plain;
                Some(Key::Escape)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8]) -> Vec<Key> {
        let mut keys = Keys::default();
        let mut out: Vec<Key> = bytes
            .iter()
            .filter_map(|&byte| keys.byte(byte, 0))
            .collect();
        assert_eq!(keys.idle(ESCAPE_TIMEOUT - 1), None, "too early");
        out.extend(keys.idle(ESCAPE_TIMEOUT));
        assert_eq!(keys.idle(1000), None, "only once");
        out
    }

    #[test]
    fn sequences_and_single_keys() {
        use Key::*;
        assert_eq!(typed(b"\x1b"), [Escape]);
        assert_eq!(typed(b"\x1b\x1b"), [Escape, Escape]);
        assert_eq!(typed(b"\x1b[A"), [Other]);
        assert_eq!(typed(b"\x1b[1;5C\x1b[3~x"), [Other, Other, Byte(b'x')]);
        assert_eq!(typed(b"\x1bOP"), [Other]);
        assert_eq!(typed(b"\x1bq"), [Other]);
        assert_eq!(
            typed(b"a\x03\r\x7f\x08\x04\x01"),
            [
                Byte(b'a'),
                Interrupt,
                Enter,
                Backspace,
                Backspace,
                End,
                Other
            ]
        );
        assert_eq!(typed(b"\r\n\n\r\r\n"), [Enter, Enter, Enter, Enter]);
        assert_eq!(typed("é".as_bytes()), [Byte(0xc3), Byte(0xa9)]);
    }
}
