//! Parameters that only the firmware shell uses.

use llama2_console::layout::KeyboardLayout;
use llama2_settings::{Choice, Overrides, Param};

/// Simulated misbehaviour of firmware, set by the key `test`: for tests, since OVMF does not behave
/// so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Non-blocking calls of other cores are refused.
    Blocking,
    /// The other cores are disabled first.
    Disabled,
    /// A core other than the boot processor panics in the middle of the text.
    Panic,
    /// `Panic` and `Blocking` together.
    BlockingPanic,
    /// Files cannot be renamed.
    NoRename,
    /// No network card can be had for oneself.
    Mnp,
}

impl Choice for Hook {
    const NAMES: &'static [(&'static str, Hook)] = &[
        ("blocking", Hook::Blocking),
        ("disabled", Hook::Disabled),
        ("panic", Hook::Panic),
        ("blocking-panic", Hook::BlockingPanic),
        ("no-rename", Hook::NoRename),
        ("mnp", Hook::Mnp),
    ];
}

/// Simulated misbehaviour, if any; always `None` in released files, which are built without the
/// feature `test-hooks`.
pub fn hook(options: &Overrides) -> Option<Hook> {
    let wanted = options.choice(Param::Test);
    wanted.filter(|_| cfg!(feature = "test-hooks"))
}

/// Keyboard layout, if one is configured; the default is a US keyboard.
pub fn keyboard(options: &Overrides) -> Option<&'static KeyboardLayout> {
    KeyboardLayout::by_name(options.text(Param::Keyboard)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_console::layout::LAYOUTS;
    use llama2_engine::session::KvType;
    use llama2_settings::Domain;

    #[test]
    fn the_table_s_words_are_those_of_their_types() {
        let words = |param: Param| match param.spec().domain {
            Domain::Word(words) => words.to_vec(),
            other => panic!("{other:?}"),
        };
        let hooks: Vec<&str> = Hook::NAMES.iter().map(|(name, _)| *name).collect();
        assert_eq!(words(Param::Test), hooks);
        assert_eq!(
            words(Param::Keyboard),
            LAYOUTS.each_ref().map(|layout| layout.name)
        );
        assert_eq!(words(Param::Kv), KvType::ALL.map(KvType::name));
    }
}
