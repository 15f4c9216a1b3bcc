//! Keys of the firmware, before any layout: the codes of UEFI's simple text input (specification
//! 2.10, table 12.2).

use llama2_console::keys::{Key, Modifiers};

/// Key of a scan code and a UCS-2 character, either of which may be 0; `None` for a modifier alone.
pub fn key(scan: u16, character: u16) -> Option<Key> {
    Some(match (scan, character) {
        (0, 0) => return None,
        // Half a surrogate pair is no character.
        (0, unit) => char::from_u32(unit.into()).map_or(Key::Other, Key::from_char),
        (0x01, _) => Key::Up,
        (0x02, _) => Key::Down,
        (0x03, _) => Key::Right,
        (0x04, _) => Key::Left,
        (0x05, _) => Key::Home,
        (0x06, _) => Key::End,
        (0x08, _) => Key::Delete,
        (0x09, _) => Key::PageUp,
        (0x0a, _) => Key::PageDown,
        (0x17, _) => Key::Escape,
        _ => Key::Other,
    })
}

/// Modifiers in the extended protocol's shift state.
pub fn modifiers(state: u32) -> Modifiers {
    const VALID: u32 = 1 << 31;
    let held = |bits: u32| state & VALID != 0 && state & bits != 0;
    Modifiers {
        shift: held(0b11),
        ctrl: held(0b1100),
        alt_gr: held(0b1_0000),
        alt: held(0b10_0000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        for (scan, character, want) in [
            (0, 0, None),
            (0, 'a' as u16, Some(Key::Char('a'))),
            (0, 'é' as u16, Some(Key::Char('é'))),
            (0, 0xd800, Some(Key::Other)),
            (0, 13, Some(Key::Enter)),
            (0, 8, Some(Key::Backspace)),
            (0, 9, Some(Key::Tab)),
            (0, 3, Some(Key::Ctrl('c'))),
            (0, 0x1b, Some(Key::Escape)),
            (0x17, 0, Some(Key::Escape)),
            (0x01, 0, Some(Key::Up)),
            (0x0a, 0, Some(Key::PageDown)),
            (0x0b, 0, Some(Key::Other)),
            (0x8000, 0, Some(Key::Other)),
        ] {
            assert_eq!(key(scan, character), want, "{scan:#x} {character:#x}");
        }
    }

    #[test]
    fn held() {
        let none = Modifiers::default();
        assert_eq!(modifiers(0xff), none, "not valid");
        assert_eq!(modifiers(0x8000_0000), none);
        let alt_gr = Modifiers {
            alt_gr: true,
            ..none
        };
        assert_eq!(modifiers(0x8000_0010), alt_gr);
        let ctrl_shift = Modifiers {
            ctrl: true,
            shift: true,
            ..none
        };
        assert_eq!(modifiers(0x8000_0005), ctrl_shift);
        assert_eq!(modifiers(0x8000_000a), ctrl_shift);
        assert!(modifiers(0x8000_0020).alt);
    }
}
