//! The columns of the table of parameters.

use alloc::string::String;

use crate::Param;

/// A row of the table: everything that is known of a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The parameter.
    pub param: Param,
    /// Key of `LLAMA2.CFG`; empty for what a file cannot set.
    pub key: &'static str,
    /// Key in the settings of a saved conversation; empty for what is not saved with one.
    pub saved: &'static str,
    /// Letter of the flag; a blank for none.
    pub letter: char,
    /// Long flags without their dashes, the first of which is the one that help shows.
    pub flags: &'static [&'static str],
    /// Name of the value in the flags' help.
    pub value_name: &'static str,
    /// Commands without their slash, the first of which is the one that help shows.
    pub commands: &'static [&'static str],
    /// Values behind the command, for people.
    pub arguments: &'static str,
    /// Sentence about the command, where [`Spec::help`] will not do.
    pub about: &'static str,
    /// Fields of requests to servers.
    pub api: Api,
    /// Values that are allowed.
    pub domain: Domain,
    /// Value where nobody gives one.
    pub defaults: Defaults,
    /// Secrecy: never shown, and never written to a file.
    pub secret: bool,
    /// One sentence.
    pub help: &'static str,
    /// Further sentences, for `LLAMA2.CFG` and the command's help: the value without the key.
    pub note: &'static str,
    /// Example in `LLAMA2.CFG`, as it stands there.
    pub example: &'static str,
}

impl Spec {
    /// Tells whether a sampler does nothing with this value; for the temperature, nothing but take
    /// the likeliest token.
    pub fn is_special(&self, value: f32) -> bool {
        matches!(self.defaults, Defaults::Sampler(defaults) if defaults.special.0 == value)
    }

    /// Its name in a sentence: `repeat penalty`, `top-k`.
    pub fn said_as(&self) -> String {
        let blank = if self.key.ends_with("penalty") {
            " "
        } else {
            "-"
        };
        self.key.replace('_', blank)
    }
}

/// Fields of requests to servers; empty where a server's interface has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// llama-server's `/completion`.
    pub llama_server: &'static str,
    /// OpenAI's chat completions.
    pub openai: &'static str,
    /// Ollama's `options`.
    pub ollama: &'static str,
}

impl Api {
    /// No field.
    pub const NONE: Api = Api::all("");

    /// Names that are the same everywhere.
    pub(crate) const fn all(name: &'static str) -> Api {
        Api {
            llama_server: name,
            openai: name,
            ollama: name,
        }
    }

    /// A name in llama-server's and Ollama's interfaces, none in OpenAI's.
    pub(crate) const fn local(name: &'static str) -> Api {
        Api {
            openai: "",
            ..Api::all(name)
        }
    }
}

/// Value where nobody gives one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Defaults {
    /// Chosen elsewhere: [`Spec::note`] says how.
    Elsewhere,
    /// A sampler's.
    Sampler(SamplerDefaults),
}

/// A sampler's value where nobody gives one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerDefaults {
    /// Outside of chats with GGUF models: run.c's.
    pub run_c: f32,
    /// In a GGUF model's chat: llama.cpp's.
    pub llama_cpp: f32,
    /// The value of special meaning, and the meaning.
    pub special: (f32, &'static str),
}

/// Values that are allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// A text.
    Text,
    /// Texts, of which none is empty.
    Texts,
    /// Numbers that are added to the logits of tokens.
    Biases,
    /// Yes or no.
    Truth,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A number.
    Number {
        /// The least.
        least: f32,
        /// The largest.
        most: f32,
        /// Both in words.
        allowed: &'static str,
        /// Counts something.
        whole: bool,
        /// Taken out of range on a command line: whoever uses the [`crate::Overrides`] puts it
        /// right as run.c does.
        adjusted: bool,
    },
    /// A whole number, this or more.
    Whole {
        /// The least.
        least: i64,
        /// Taken out of range on a command line, as of [`Domain::Number`].
        adjusted: bool,
    },
    /// 64 bits, where negative numbers wrap around as in run.c, and 0 draws one.
    Seed,
}

/// A word's meaning.
pub trait Choice: Copy + PartialEq + 'static {
    /// The words, each with its meaning.
    const NAMES: &'static [(&'static str, Self)];

    /// The word for it.
    fn name(self) -> &'static str {
        let entry = Self::NAMES.iter().find(|(_, known)| *known == self);
        entry.map_or("", |(name, _)| name)
    }

    /// The meaning of a word.
    fn named(name: &str) -> Option<Self> {
        let entry = Self::NAMES.iter().find(|(known, _)| *known == name);
        entry.map(|(_, choice)| *choice)
    }
}

/// The words alone.
pub(crate) const fn words<T: Copy, const N: usize>(
    names: &[(&'static str, T)],
) -> [&'static str; N] {
    assert!(names.len() == N);
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = names[at].0;
        at += 1;
    }
    words
}

/// Use of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Go on from it.
    #[default]
    Generate,
    /// Answer it, turn by turn: in the model's own template; in Llama 2's for checkpoints of
    /// llama2.c; where a GGUF file has none, by going on from it.
    Chat,
}

impl Choice for Mode {
    const NAMES: &'static [(&'static str, Mode)] =
        &[("generate", Mode::Generate), ("chat", Mode::Chat)];
}

/// Treatment of the text that some models think before they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Think {
    /// Shown, apart from the answer.
    #[default]
    Show,
    /// Not shown.
    Hide,
    /// The model is told not to think, where its template can say so.
    Off,
}

impl Choice for Think {
    const NAMES: &'static [(&'static str, Think)] = &[
        ("show", Think::Show),
        ("hide", Think::Hide),
        ("off", Think::Off),
    ];
}

/// The step after the story, or after an error.
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

impl Choice for Exit {
    const NAMES: &'static [(&'static str, Exit)] = &[
        ("key", Exit::Key),
        ("shutdown", Exit::Shutdown),
        ("return", Exit::Return),
    ];
}

/// The display that people look at; the serial line always shows plain text besides.
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

impl Choice for Display {
    const NAMES: &'static [(&'static str, Display)] = &[
        ("auto", Display::Auto),
        ("screen", Display::Screen),
        ("text", Display::Text),
    ];
}
