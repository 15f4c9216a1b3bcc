//! Keys that are typed while something goes on: kept for later, but for those that stop it.

use alloc::{collections::VecDeque, string::String, vec::Vec};

use crate::keys::Key;

/// Effect of a key that came at the wrong time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// It waits.
    Kept,
    /// Esc or Ctrl-C: stop what goes on.
    Stop,
    /// A page key: scroll the text meanwhile.
    Scroll,
    /// There is no more room: worth a bell.
    Refused,
}

/// Keys that wait for the prompt.
#[derive(Debug, Default)]
pub struct Typeahead {
    keys: VecDeque<Key>,
    pasting: bool,
}

impl Typeahead {
    /// Keys that may wait: a long paste.
    pub const MOST: usize = 64 << 10;

    /// None yet.
    pub const fn new() -> Typeahead {
        Typeahead {
            keys: VecDeque::new(),
            pasting: false,
        }
    }

    /// Takes a key while something goes on.
    pub fn press(&mut self, key: Key) -> Typed {
        match key {
            Key::Escape | Key::Ctrl('c') if !self.pasting => return Typed::Stop,
            Key::PageUp | Key::PageDown if !self.pasting => return Typed::Scroll,
            Key::PasteBegin => self.pasting = true,
            Key::PasteEnd => self.pasting = false,
            _ => (),
        }
        // The end of a paste always has room: without it the editor would wait for more.
        if self.keys.len() >= Self::MOST && key != Key::PasteEnd {
            return Typed::Refused;
        }
        self.keys.push_back(key);
        Typed::Kept
    }

    /// What waits, as people may want to see it: the end of the text, with a mark for each Return.
    pub fn preview(&self) -> String {
        const MOST: usize = 500;
        let mut text: Vec<char> = Vec::new();
        for key in self.keys.iter().skip(self.keys.len().saturating_sub(MOST)) {
            match key {
                Key::Char(letter) => text.push(*letter),
                Key::Enter => text.push('⏎'),
                Key::Newline => text.push('\n'),
                Key::Backspace => {
                    text.pop();
                }
                _ => (),
            }
        }
        text.into_iter().collect()
    }

    /// The next key for the editor: to be asked before any new key is.
    pub fn take(&mut self) -> Option<Key> {
        self.keys.pop_front()
    }

    /// Tells whether none waits.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.keys.clear();
        self.pasting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_can_be_seen() {
        let mut ahead = Typeahead::new();
        for key in [
            Key::Char('a'),
            Key::Char('x'),
            Key::Backspace,
            Key::Left,
            Key::Char('é'),
            Key::Enter,
            Key::Char('b'),
        ] {
            ahead.press(key);
        }
        assert_eq!(ahead.preview(), "aé⏎b");
        for _ in 0..9000 {
            ahead.press(Key::Char('z'));
        }
        assert_eq!(ahead.preview(), "z".repeat(500));
    }

    #[test]
    fn keys_wait_and_two_stop() {
        let mut ahead = Typeahead::new();
        assert_eq!(ahead.press(Key::Char('a')), Typed::Kept);
        assert_eq!(ahead.press(Key::Escape), Typed::Stop);
        assert_eq!(ahead.press(Key::Ctrl('c')), Typed::Stop);
        assert_eq!(ahead.press(Key::PageUp), Typed::Scroll);
        assert_eq!(ahead.press(Key::PasteBegin), Typed::Kept);
        assert_eq!(
            ahead.press(Key::Ctrl('c')),
            Typed::Kept,
            "a paste stops nothing"
        );
        for _ in 0..Typeahead::MOST {
            ahead.press(Key::Char('b'));
        }
        assert_eq!(ahead.press(Key::Char('c')), Typed::Refused);
        assert_eq!(ahead.press(Key::PasteEnd), Typed::Kept);
        assert_eq!(ahead.take(), Some(Key::Char('a')), "nothing is lost");
        assert_eq!(ahead.take(), Some(Key::PasteBegin));
        ahead.clear();
        assert!(ahead.is_empty());
        assert_eq!(ahead.take(), None);
        assert_eq!(ahead.press(Key::Escape), Typed::Stop);
    }
}
