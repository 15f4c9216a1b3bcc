//! Keys as both shells see them, whatever their source: [`crate::decoder`] decodes them from bytes,
//! [`crate::layout`] from a firmware's keys.

/// Key, or piece of pasted text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A character; the only control character is the tab, from a paste.
    Char(char),
    /// Return.
    Enter,
    /// A line break within the text: pasted, or Alt-Enter.
    Newline,
    /// Deletes to the left.
    Backspace,
    /// Deletes to the right.
    Delete,
    /// Cursor left.
    Left,
    /// Cursor right.
    Right,
    /// Cursor up.
    Up,
    /// Cursor down.
    Down,
    /// Ctrl-Left, Alt-B.
    WordLeft,
    /// Ctrl-Right, Alt-F.
    WordRight,
    /// Alt-Backspace, Ctrl-Backspace if it can be distinguished.
    DeleteWordLeft,
    /// Alt-D, Ctrl-Delete.
    DeleteWordRight,
    /// Moves to the beginning of the line.
    Home,
    /// Moves to the end of the line.
    End,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// Tab.
    Tab,
    /// Shift-Tab.
    BackTab,
    /// Ctrl with a letter, which is lower case.
    Ctrl(char),
    /// Esc.
    Escape,
    /// The terminal reports that what follows was pasted.
    PasteBegin,
    /// The terminal reports the end of the paste.
    PasteEnd,
    /// Any other key: F1, Insert, unknown sequences.
    Other,
}

/// Modifier keys held down. Firmware's `SimpleTextInputEx` reports them; a terminal reports them by
/// numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modifiers {
    /// Shift. It is already applied to characters.
    pub shift: bool,
    /// Ctrl.
    pub ctrl: bool,
    /// The left Alt key, or Meta.
    pub alt: bool,
    /// The right Alt key, which produces further characters on most layouts.
    pub alt_gr: bool,
}

impl Modifiers {
    /// Decodes the number in a terminal's sequence: 1 and a bit for each (xterm, "PC-Style Function
    /// Keys").
    pub(crate) fn from_number(number: u32) -> Modifiers {
        let bits = number.saturating_sub(1);
        Modifiers {
            shift: bits & 1 != 0,
            alt: bits & 0b1010 != 0,
            ctrl: bits & 4 != 0,
            alt_gr: false,
        }
    }
}

impl Key {
    /// Key of a character from firmware or a terminal: control characters are keys too.
    pub fn from_char(letter: char) -> Key {
        match letter {
            '\r' | '\n' => Key::Enter,
            '\u{8}' | '\u{7f}' => Key::Backspace,
            '\t' => Key::Tab,
            '\u{1b}' => Key::Escape,
            // Ctrl takes the upper bits of a letter away: Ctrl-A is 1.
            '\u{1}'..='\u{1a}' => Key::Ctrl(char::from(letter as u8 | 0x60)),
            _ if letter.is_control() => Key::Other,
            _ => Key::Char(letter),
        }
    }

    /// This key with `modifiers` held down.
    pub fn with(self, modifiers: Modifiers) -> Key {
        let Modifiers {
            shift, ctrl, alt, ..
        } = modifiers;
        match self {
            Key::Char(letter) if ctrl && letter.is_ascii_alphabetic() => {
                Key::from_char(char::from(letter as u8 & 0x1f))
            }
            Key::Char(_) if ctrl => Key::Other,
            Key::Char('b' | 'B') if alt => Key::WordLeft,
            Key::Char('f' | 'F') if alt => Key::WordRight,
            Key::Char('d' | 'D') if alt => Key::DeleteWordRight,
            Key::Char(_) if alt => Key::Other,
            Key::Left if ctrl || alt => Key::WordLeft,
            Key::Right if ctrl || alt => Key::WordRight,
            Key::Backspace if ctrl || alt => Key::DeleteWordLeft,
            Key::Delete if ctrl || alt => Key::DeleteWordRight,
            Key::Enter if alt || shift || ctrl => Key::Newline,
            Key::Tab if shift => Key::BackTab,
            _ => self,
        }
    }
}

/// Keys completed by a byte: none, one or two.
pub type Given = core::iter::Flatten<core::array::IntoIter<Option<Key>, 2>>;

pub(crate) fn given(first: Option<Key>, second: Option<Key>) -> Given {
    [first, second].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Key::*;

    #[test]
    fn held_keys() {
        let none = Modifiers::default();
        let ctrl = Modifiers { ctrl: true, ..none };
        let alt = Modifiers { alt: true, ..none };
        let shift = Modifiers {
            shift: true,
            ..none
        };
        for (key, modifiers, want) in [
            (Char('H'), none, Char('H')),
            (Char('H'), ctrl, Backspace),
            (Char('H'), alt, Other),
            (Char('W'), ctrl, Ctrl('w')),
            (Char('5'), ctrl, Other),
            (Char('é'), shift, Char('é')),
            (Char('b'), alt, WordLeft),
            (Left, ctrl, WordLeft),
            (Right, alt, WordRight),
            (Right, shift, Right),
            (Enter, shift, Newline),
            (Tab, shift, BackTab),
            (Delete, ctrl, DeleteWordRight),
            (Escape, alt, Escape),
        ] {
            assert_eq!(key.with(modifiers), want, "{key:?} {modifiers:?}");
        }
        for (letter, key) in [
            ('\r', Enter),
            ('\t', Tab),
            ('\u{8}', Backspace),
            ('\u{1}', Ctrl('a')),
            ('\u{0}', Other),
            ('\u{1c}', Other),
            ('\u{9b}', Other),
            ('日', Char('日')),
        ] {
            assert_eq!(Key::from_char(letter), key);
        }
    }
}
