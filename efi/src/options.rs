//! Values of parameters that mean something to firmware only.

use llama2_console::layout::KeyboardLayout;
use llama2_settings::{Choice, Overrides, Param};

/// A test's wish, by the key `test`: firmware that behaves as OVMF does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Calls to other cores that return at once are taken to be refused.
    Blocking,
    /// The other cores are disabled first.
    Disabled,
    /// A core other than the boot processor panics in the middle of the text.
    Panic,
    /// The same, and `Blocking`.
    BlockingPanic,
    /// No file can be renamed.
    NoRename,
}

impl Choice for Hook {
    const NAMES: &'static [(&'static str, Hook)] = &[
        ("blocking", Hook::Blocking),
        ("disabled", Hook::Disabled),
        ("panic", Hook::Panic),
        ("blocking-panic", Hook::BlockingPanic),
        ("no-rename", Hook::NoRename),
    ];
}

/// The test's wish; nothing in the file that people get, which is built without the feature
/// `test-hooks`.
pub fn hook(options: &Overrides) -> Option<Hook> {
    let wished = options.choice(Param::Test);
    wished.filter(|_| cfg!(feature = "test-hooks"))
}

/// The keyboard's layout; without it a US keyboard's.
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
