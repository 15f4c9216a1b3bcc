//! Keyboard layouts: firmware reports the characters of a US keyboard, whatever is printed on the
//! keys.
//!
//! The tables contain what Windows' layouts of these names print on each key. One key differs:
//! firmware reports the key between left Shift and Z (`<>` on the continent, `\|` in Britain) as
//! the one next to Return (`\|` in the US; EDK2's USB driver reports both so). Hence AltGr with the
//! keys of a US `,` and `.` gives `<` and `>` on the continent, and with that of `\` the other
//! characters of the missing key. Characters of the numeric keypad cannot be distinguished from
//! those of the main keys: `/` there is taken for the other one.

use crate::keys::{Given, Key, Modifiers, given};

/// Keys of a US keyboard, row by row, without and with Shift.
const US: [&str; 2] = [
    "`1234567890-=qwertyuiop[]\\asdfghjkl;'zxcvbnm,./",
    "~!@#$%^&*()_+QWERTYUIOP{}|ASDFGHJKL:\"ZXCVBNM<>?",
];

/// Characters on the keys of a country's keyboard.
#[derive(Debug, PartialEq, Eq)]
pub struct KeyboardLayout {
    /// Name for `keyboard = "…"`.
    pub name: &'static str,
    /// Keys in the order of [`US`], without and with Shift.
    rows: [&'static str; 2],
    /// Characters with AltGr: pairs of a US character (with Shift, if it is one of those) and the
    /// result.
    alt_gr: &'static [(char, char)],
    /// Dead keys among `rows`.
    dead: &'static str,
    /// Dead keys among `alt_gr`.
    dead_alt_gr: &'static str,
}

/// All layouts; the first is the firmware's own.
pub static LAYOUTS: [KeyboardLayout; 6] = [
    KeyboardLayout {
        name: "us",
        rows: US,
        alt_gr: &[],
        dead: "",
        dead_alt_gr: "",
    },
    KeyboardLayout {
        name: "uk",
        rows: [
            "`1234567890-=qwertyuiop[]#asdfghjkl;'zxcvbnm,./",
            "¬!\"£$%^&*()_+QWERTYUIOP{}~ASDFGHJKL:@ZXCVBNM<>?",
        ],
        alt_gr: &[
            ('`', '¦'),
            ('4', '€'),
            ('\\', '\\'),
            ('|', '|'),
            ('a', 'á'),
            ('e', 'é'),
            ('i', 'í'),
            ('o', 'ó'),
            ('u', 'ú'),
            ('A', 'Á'),
            ('E', 'É'),
            ('I', 'Í'),
            ('O', 'Ó'),
            ('U', 'Ú'),
        ],
        dead: "",
        dead_alt_gr: "",
    },
    KeyboardLayout {
        name: "de",
        rows: [
            "^1234567890ß´qwertzuiopü+#asdfghjklöäyxcvbnm,.-",
            "°!\"§$%&/()=?`QWERTZUIOPÜ*'ASDFGHJKLÖÄYXCVBNM;:_",
        ],
        alt_gr: &[
            ('2', '²'),
            ('3', '³'),
            ('7', '{'),
            ('8', '['),
            ('9', ']'),
            ('0', '}'),
            ('-', '\\'),
            (']', '~'),
            ('\\', '|'),
            ('q', '@'),
            ('e', '€'),
            ('m', 'µ'),
            (',', '<'),
            ('.', '>'),
        ],
        dead: "^´`",
        dead_alt_gr: "",
    },
    KeyboardLayout {
        name: "fr",
        rows: [
            "²&é\"'(-è_çà)=azertyuiop^$*qsdfghjklmùwxcvbn,;:!",
            "²1234567890°+AZERTYUIOP¨£µQSDFGHJKLM%WXCVBN?./§",
        ],
        alt_gr: &[
            ('2', '~'),
            ('3', '#'),
            ('4', '{'),
            ('5', '['),
            ('6', '|'),
            ('7', '`'),
            ('8', '\\'),
            ('9', '^'),
            ('0', '@'),
            ('-', ']'),
            ('=', '}'),
            ('e', '€'),
            (']', '¤'),
            (',', '<'),
            ('.', '>'),
        ],
        dead: "^¨",
        dead_alt_gr: "~`",
    },
    KeyboardLayout {
        name: "es",
        rows: [
            "º1234567890'¡qwertyuiop`+çasdfghjklñ´zxcvbnm,.-",
            "ª!\"·$%&/()=?¿QWERTYUIOP^*ÇASDFGHJKLÑ¨ZXCVBNM;:_",
        ],
        alt_gr: &[
            ('`', '\\'),
            ('1', '|'),
            ('2', '@'),
            ('3', '#'),
            ('4', '~'),
            ('5', '€'),
            ('6', '¬'),
            ('e', '€'),
            ('[', '['),
            (']', ']'),
            ('\'', '{'),
            ('\\', '}'),
            (',', '<'),
            ('.', '>'),
        ],
        dead: "`´^¨",
        dead_alt_gr: "~",
    },
    KeyboardLayout {
        name: "it",
        rows: [
            "\\1234567890'ìqwertyuiopè+ùasdfghjklòàzxcvbnm,.-",
            "|!\"£$%&/()=?^QWERTYUIOPé*§ASDFGHJKLç°ZXCVBNM;:_",
        ],
        alt_gr: &[
            ('5', '€'),
            ('e', '€'),
            (';', '@'),
            ('\'', '#'),
            ('[', '['),
            (']', ']'),
            ('{', '{'),
            ('}', '}'),
            // Not on the keys: Linux has them there.
            ('-', '`'),
            ('=', '~'),
            (',', '<'),
            ('.', '>'),
        ],
        dead: "",
        dead_alt_gr: "",
    },
];

/// Compositions of each dead key: letters, and the results.
const COMPOSED: [(char, &str, &str); 5] = [
    ('´', "aeiouycnszlrAEIOUYCNSZLR", "áéíóúýćńśźĺŕÁÉÍÓÚÝĆŃŚŹĹŔ"),
    ('`', "aeiounAEIOUN", "àèìòùǹÀÈÌÒÙǸ"),
    ('^', "aeioucghjswyAEIOUCGHJSWY", "âêîôûĉĝĥĵŝŵŷÂÊÎÔÛĈĜĤĴŜŴŶ"),
    ('¨', "aeiouyAEIOUY", "äëïöüÿÄËÏÖÜŸ"),
    ('~', "anoiuANOIU", "ãñõĩũÃÑÕĨŨ"),
];

impl KeyboardLayout {
    /// Finds the layout of this name, ignoring case.
    pub fn by_name(name: &str) -> Option<&'static KeyboardLayout> {
        LAYOUTS
            .iter()
            .find(|layout| layout.name.eq_ignore_ascii_case(name))
    }

    /// Character printed on the key that has `letter` on a US keyboard, and whether it is a dead
    /// key.
    fn printed(&self, letter: char, alt_gr: bool) -> (char, bool) {
        if alt_gr {
            let entry = self.alt_gr.iter().find(|(us, _)| *us == letter);
            if let Some(&(_, printed)) = entry {
                return (printed, self.dead_alt_gr.contains(printed));
            }
        }
        for (us, own) in US.iter().zip(self.rows) {
            if let Some(at) = us.chars().position(|us| us == letter) {
                let printed = own.chars().nth(at).unwrap_or(letter);
                return (printed, self.dead.contains(printed));
            }
        }
        (letter, false)
    }
}

/// State of a keyboard: its layout, and a dead key waiting for its letter.
#[derive(Debug)]
pub struct TypingState {
    layout: &'static KeyboardLayout,
    accent: Option<char>,
}

impl TypingState {
    /// A keyboard of this layout.
    pub const fn new(layout: &'static KeyboardLayout) -> TypingState {
        TypingState {
            layout,
            accent: None,
        }
    }

    /// Translates a key of the firmware with `modifiers` held down. Not for keys from a serial
    /// line.
    pub fn press(&mut self, key: Key, mut modifiers: Modifiers) -> Given {
        // Windows' other way to say AltGr, and some firmware's.
        if modifiers.ctrl && modifiers.alt {
            modifiers = Modifiers {
                ctrl: false,
                alt: false,
                alt_gr: true,
                ..modifiers
            };
        }
        match key {
            Key::Char(letter) => {
                let (printed, dead) = self.layout.printed(letter, modifiers.alt_gr);
                if modifiers.ctrl || modifiers.alt {
                    self.accent = None;
                    return given(Some(Key::Char(printed).with(modifiers)), None);
                }
                self.compose(printed, dead)
            }
            // Firmware made it of the US letter.
            Key::Ctrl(letter) => {
                self.accent = None;
                let (printed, _) = self.layout.printed(letter, false);
                let control = Modifiers {
                    ctrl: true,
                    ..Modifiers::default()
                };
                given(Some(Key::Char(printed).with(control)), None)
            }
            // Removes the accent, which is not visible yet.
            Key::Backspace if self.accent.take().is_some() => given(None, None),
            _ => {
                self.accent = None;
                given(Some(key.with(modifiers)), None)
            }
        }
    }

    fn compose(&mut self, letter: char, dead: bool) -> Given {
        let Some(accent) = self.accent.take() else {
            if dead {
                self.accent = Some(letter);
                return given(None, None);
            }
            return given(Some(Key::Char(letter)), None);
        };
        // The accent itself: with a space, or twice.
        if letter == ' ' || dead && letter == accent {
            return given(Some(Key::Char(accent)), None);
        }
        let composed =
            COMPOSED
                .iter()
                .filter(|(own, ..)| *own == accent)
                .find_map(|(_, plain, composed)| {
                    let at = plain.chars().position(|plain| plain == letter)?;
                    composed.chars().nth(at)
                });
        match composed {
            Some(letter) => given(Some(Key::Char(letter)), None),
            // Another accent waits in its turn.
            None if dead => {
                self.accent = Some(letter);
                given(Some(Key::Char(accent)), None)
            }
            None => given(Some(Key::Char(accent)), Some(Key::Char(letter))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALT_GR: Modifiers = Modifiers {
        shift: false,
        ctrl: false,
        alt: false,
        alt_gr: true,
    };

    /// Text that results from US characters with modifiers.
    fn typed(name: &str, keys: &[(&str, Modifiers)]) -> String {
        let mut keyboard = TypingState::new(KeyboardLayout::by_name(name).unwrap());
        let mut out = String::new();
        for (text, modifiers) in keys {
            for letter in text.chars() {
                for key in keyboard.press(Key::Char(letter), *modifiers) {
                    match key {
                        Key::Char(letter) => out.push(letter),
                        other => out.push_str(&format!("{other:?}")),
                    }
                }
            }
        }
        out
    }

    fn plain(name: &str, text: &str) -> String {
        typed(name, &[(text, Modifiers::default())])
    }

    fn alt_gr(name: &str, text: &str) -> String {
        typed(name, &[(text, ALT_GR)])
    }

    #[test]
    fn tables_are_whole() {
        for layout in &LAYOUTS {
            for (us, own) in US.iter().zip(layout.rows) {
                assert_eq!(us.chars().count(), 47);
                assert_eq!(own.chars().count(), 47, "{}", layout.name);
            }
            // Each dead key composes, and is on a key.
            for dead in layout.dead.chars() {
                assert!(COMPOSED.iter().any(|(own, ..)| *own == dead), "{dead}");
                assert!(layout.rows.iter().any(|row| row.contains(dead)));
            }
            for dead in layout.dead_alt_gr.chars() {
                assert!(layout.alt_gr.iter().any(|(_, own)| *own == dead));
            }
            // Every printable character of ASCII can be typed somehow.
            for letter in ' '..='~' {
                let found = US.iter().any(|row| {
                    row.chars().any(|key| {
                        [false, true].iter().any(|&alt_gr| {
                            let (printed, _) = layout.printed(key, alt_gr);
                            printed == letter
                        })
                    })
                });
                assert!(found || letter == ' ', "{} {letter}", layout.name);
            }
        }
        for (_, plain, composed) in COMPOSED {
            assert_eq!(plain.chars().count(), composed.chars().count());
        }
        assert_eq!(
            KeyboardLayout::by_name("DE").map(|layout| layout.name),
            Some("de")
        );
        assert_eq!(KeyboardLayout::by_name("dvorak"), None);
    }

    #[test]
    fn us() {
        let all = US.concat();
        assert_eq!(plain("us", &all), all);
        assert_eq!(alt_gr("us", "q\\"), "q\\");
        assert_eq!(plain("us", "é日"), "é日");
    }

    #[test]
    fn uk() {
        assert_eq!(plain("uk", "@#'\"~\\|"), "\"£'@¬#~");
        assert_eq!(alt_gr("uk", "4\\|eA`"), "€\\|éÁ¦");
    }

    #[test]
    fn de() {
        assert_eq!(plain("de", "Yo;'[ &*( -_?/"), "Zoöäü /() ß?_-");
        assert_eq!(plain("de", "Grune Gr[-e"), "Grune Grüße");
        assert_eq!(alt_gr("de", "qe7890-]\\m,."), "@€{[]}\\~|µ<>");
        // ´ and ` are on one key, ^ on another.
        assert_eq!(plain("de", "=a=E+u`o"), "áÉùô");
        assert_eq!(plain("de", "= == ` ++"), "´´ ^`");
        assert_eq!(plain("de", "=x=1`+a"), "´x´1^à");
    }

    #[test]
    fn fr() {
        assert_eq!(plain("fr", "q;wz"), "amzw");
        assert_eq!(plain("fr", "1234567890"), "&é\"'(-è_çà");
        assert_eq!(plain("fr", "!@#$%^&*()"), "1234567890");
        assert_eq!(plain("fr", "mM<>/?,"), ",?./!§;");
        assert_eq!(plain("fr", "[e{i[ "), "êï^");
        assert_eq!(alt_gr("fr", "3456890-=e"), "#{[|\\^@]}€");
        // ^ with AltGr is not dead, ~ and ` are.
        let keys = [
            ("2", ALT_GR),
            ("n7", Modifiers::default()),
            ("7", ALT_GR),
            (" ", ALT_GR),
        ];
        assert_eq!(typed("fr", &keys), "ñè`");
    }

    #[test]
    fn es() {
        assert_eq!(plain("es", ";:\\|-=+_"), "ñÑçÇ'¡¿?");
        assert_eq!(plain("es", "'a'E\"u[o{e'n"), "áÉüòêń");
        assert_eq!(alt_gr("es", "`123[]'\\"), "\\|@#[]{}");
        assert_eq!(
            typed("es", &[("4", ALT_GR), ("n", Modifiers::default())]),
            "ñ"
        );
    }

    #[test]
    fn it() {
        assert_eq!(plain("it", ";'[{\\=-:\"|`~"), "òàèéùì'ç°§\\|");
        assert_eq!(alt_gr("it", ";'[]{}e-=,."), "@#[]{}€`~<>");
        assert_eq!(plain("it", "+a"), "^a", "no dead keys");
    }

    #[test]
    fn other_keys() {
        let mut keyboard = TypingState::new(KeyboardLayout::by_name("de").unwrap());
        let none = Modifiers::default();
        let ctrl = Modifiers { ctrl: true, ..none };
        let alt = Modifiers { alt: true, ..none };
        let mut press = |key, modifiers| keyboard.press(key, modifiers).collect::<Vec<_>>();
        // A waiting accent goes with Backspace, and with any other key.
        assert_eq!(press(Key::Char('='), none), []);
        assert_eq!(press(Key::Backspace, none), []);
        assert_eq!(press(Key::Backspace, none), [Key::Backspace]);
        assert_eq!(press(Key::Char('='), none), []);
        assert_eq!(press(Key::Left, ctrl), [Key::WordLeft]);
        assert_eq!(press(Key::Char('a'), none), [Key::Char('a')]);
        // Ctrl-Z by the printed letter.
        assert_eq!(press(Key::Ctrl('y'), none), [Key::Ctrl('z')]);
        assert_eq!(press(Key::Char('y'), ctrl), [Key::Ctrl('z')]);
        assert_eq!(press(Key::Char('f'), alt), [Key::WordRight]);
        let both = Modifiers { alt: true, ..ctrl };
        assert_eq!(press(Key::Char('q'), both), [Key::Char('@')]);
        let mut keyboard = TypingState::new(KeyboardLayout::by_name("fr").unwrap());
        assert!(keyboard.press(Key::Ctrl('q'), none).eq([Key::Ctrl('a')]));
    }
}
