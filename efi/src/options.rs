//! What the user asked for, from whichever place: the configuration file, the command line, or nowhere.

use alloc::{string::String, vec::Vec};

use llama2_console::layout::{LAYOUTS, Layout};
use llama2_engine::{
    sampler::Wishes,
    session::KvType,
    settings::{Mode, Settings, Think},
};

/// What is said before the last line where the machine starts again: for whoever runs it and may think that this was the end.
pub const AGAIN: &str = "Starting the machine again.";

/// What happens after the story, or after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Exit {
    /// Wait for a key, then return to the firmware.
    #[default]
    Key,
    /// Switch the machine off.
    Shutdown,
    /// Return to the firmware at once.
    Return,
}

impl Exit {
    /// The names and what they stand for.
    pub const NAMES: [(&str, Exit); 3] = [
        ("key", Exit::Key),
        ("shutdown", Exit::Shutdown),
        ("return", Exit::Return),
    ];
}

/// The names of the modes.
pub const MODES: [(&str, Mode); 2] = [("generate", Mode::Generate), ("chat", Mode::Chat)];

/// The names of the kernel sets, as the engine takes them.
pub const KERNELS: [(&str, &str); 4] = [
    ("scalar", "scalar"),
    ("sse2", "sse2"),
    ("avx2", "avx2"),
    ("avx512", "avx512"),
];

/// The names of what keys and values are kept in.
pub const KV_TYPES: [(&str, KvType); 3] = [
    ("f32", KvType::F32),
    ("f16", KvType::F16),
    ("q8_0", KvType::Q8_0),
];

/// What people look at; the serial line always shows plain text besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Display {
    /// The whole screen where there is a frame buffer, else text.
    #[default]
    Auto,
    /// The whole screen: conversation, input and status.
    Screen,
    /// The firmware's text console.
    Text,
}

impl Display {
    /// The names and what they stand for.
    pub const NAMES: [(&str, Display); 3] = [
        ("auto", Display::Auto),
        ("screen", Display::Screen),
        ("text", Display::Text),
    ];
}

/// The keyboard's layout of this name, or the allowed names in a row for an error.
pub fn keyboard(name: &str) -> Result<&'static Layout, String> {
    Layout::by_name(name).ok_or_else(|| names(LAYOUTS.iter().map(|layout| layout.name)))
}

/// What only tests ask for, by the key `test`: firmware that behaves as OVMF does not.
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

impl Hook {
    /// The names and what they stand for.
    pub const NAMES: [(&str, Hook); 5] = [
        ("blocking", Hook::Blocking),
        ("disabled", Hook::Disabled),
        ("panic", Hook::Panic),
        ("blocking-panic", Hook::BlockingPanic),
        ("no-rename", Hook::NoRename),
    ];
}

/// The wishes of one place; `None` where it is silent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Options {
    /// Checkpoint file.
    pub model: Option<String>,
    /// Tokenizer file.
    pub tokenizer: Option<String>,
    /// Prompt.
    pub prompt: Option<String>,
    /// File that holds the prompt.
    pub prompt_file: Option<String>,
    /// Positions to run for, or most tokens of an answer; 0: as many as the context holds.
    pub steps: Option<i64>,
    /// How tokens are drawn.
    pub sampling: Wishes,
    /// Strings that end a text where the model says them.
    pub stop: Option<Vec<String>>,
    /// What becomes of thoughts.
    pub think: Option<Think>,
    /// Seed; 0: a random one.
    pub seed: Option<u64>,
    /// Generate or chat.
    pub mode: Option<Mode>,
    /// Chat's system prompt.
    pub system: Option<String>,
    /// Whether to write LLAMA2.LOG.
    pub log: Option<bool>,
    /// What happens at the end.
    pub exit: Option<Exit>,
    /// What is printed on the keyboard's keys; without it a US keyboard's.
    pub keyboard: Option<&'static Layout>,
    /// What people look at.
    pub display: Option<Display>,
    /// Cores to use, 1 or more; without it as many as are fastest.
    pub threads: Option<usize>,
    /// Positions of the context.
    pub context: Option<usize>,
    /// Kernels to use, by name; without it the machine's best.
    pub kernels: Option<&'static str>,
    /// What keys and values are kept in.
    pub kv: Option<KvType>,
    /// Whether to measure the machine instead of telling a story.
    pub bench: Option<bool>,
    /// What a test wants.
    pub test: Option<Hook>,
}

impl Options {
    /// What a test wants; nothing in the file that people get, which is built without the feature `test-hooks`.
    pub fn hook(&self) -> Option<Hook> {
        self.test.filter(|_| cfg!(feature = "test-hooks"))
    }

    /// These wishes, and where they are silent, `other`'s.
    pub fn over(self, other: Options) -> Options {
        // A prompt is one wish, however it is given.
        let own_prompt = self.prompt.is_some() || self.prompt_file.is_some();
        let (prompt, prompt_file) = if own_prompt {
            (self.prompt, self.prompt_file)
        } else {
            (other.prompt, other.prompt_file)
        };
        Options {
            model: self.model.or(other.model),
            tokenizer: self.tokenizer.or(other.tokenizer),
            prompt,
            prompt_file,
            steps: self.steps.or(other.steps),
            sampling: self.sampling.over(other.sampling),
            stop: self.stop.or(other.stop),
            think: self.think.or(other.think),
            seed: self.seed.or(other.seed),
            mode: self.mode.or(other.mode),
            system: self.system.or(other.system),
            log: self.log.or(other.log),
            exit: self.exit.or(other.exit),
            keyboard: self.keyboard.or(other.keyboard),
            display: self.display.or(other.display),
            threads: self.threads.or(other.threads),
            context: self.context.or(other.context),
            kernels: self.kernels.or(other.kernels),
            kv: self.kv.or(other.kv),
            bench: self.bench.or(other.bench),
            test: self.test.or(other.test),
        }
    }

    /// The engine's settings.
    pub fn settings(&self) -> Settings {
        let prompt = self.prompt.as_ref();
        Settings {
            sampling: self.sampling.clone(),
            seed: self.seed,
            steps: self.steps,
            prompt: prompt.map(|prompt| Vec::from(prompt.as_bytes())),
            mode: self.mode.unwrap_or_default(),
            system: self.system.clone(),
            stops: self.stop.clone().unwrap_or_default(),
            think: self.think.unwrap_or_default(),
        }
    }
}

/// The value that `name` stands for, or the allowed names in a row for an error.
pub fn by_name<T: Copy>(names: &[(&str, T)], name: &str) -> Result<T, String> {
    let found = names
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name));
    found
        .map(|(_, value)| *value)
        .ok_or_else(|| self::names(names.iter().map(|(name, _)| *name)))
}

/// Names in quotes, in a row.
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<String> = names.map(|name| alloc::format!("\"{name}\"")).collect();
    all.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_engine::sampler::Knob;

    #[test]
    fn the_command_line_wins_over_the_file() {
        let file = Options {
            steps: Some(10),
            sampling: Wishes::default().with(Knob::Temperature, 0.5),
            stop: Some(["a".into()].into()),
            prompt: Some("a".into()),
            ..Options::default()
        };
        let line = Options {
            steps: Some(20),
            stop: Some(["b".into()].into()),
            think: Some(Think::Hide),
            prompt_file: Some("b.txt".into()),
            ..Options::default()
        };
        let both = line.over(file);
        let temperature = both.sampling.get(Knob::Temperature);
        assert_eq!((both.steps, temperature), (Some(20), Some(0.5)));
        assert_eq!(both.settings().stops, ["b"]);
        assert_eq!(both.settings().think, Think::Hide);
        assert_eq!(
            (both.prompt, both.prompt_file.as_deref()),
            (None, Some("b.txt"))
        );
    }
}
