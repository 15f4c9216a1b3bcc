//! Columns of the table of parameters.

use alloc::string::String;

use crate::Param;

/// Row of the table: everything about a parameter.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The parameter.
    pub param: Param,
    /// Key in `LLAMA2.CFG`; empty if a file cannot set it.
    pub key: &'static str,
    /// Key in the settings of a saved conversation; empty if it is not saved.
    pub saved: &'static str,
    /// Letter of the short flag; a space if there is none.
    pub letter: char,
    /// Long flags without dashes; help shows the first one.
    pub flags: &'static [&'static str],
    /// Placeholder of the value in the flags' help.
    pub value_name: &'static str,
    /// Commands without slash; help shows the first one.
    pub commands: &'static [&'static str],
    /// Arguments of the command, for display.
    pub arguments: &'static str,
    /// Sentence about the command, if [`Spec::help`] does not fit.
    pub about: &'static str,
    /// Names in requests to servers.
    pub api: Api,
    /// Allowed values.
    pub domain: Domain,
    /// Default value.
    pub defaults: Defaults,
    /// True if it must never be shown or written to a file.
    pub secret: bool,
    /// Sentence about the parameter.
    pub help: &'static str,
    /// Further sentences for `LLAMA2.CFG` and the command's help, such as the default.
    pub note: &'static str,
    /// Example for `LLAMA2.CFG`, in its syntax.
    pub example: &'static str,
}

impl Spec {
    /// Returns true if this value switches a sampler off; for the temperature, if it always picks
    /// the most likely token.
    pub fn is_special(&self, value: f32) -> bool {
        matches!(self.defaults, Defaults::Sampler(defaults) if defaults.special.0 == value)
    }

    /// Name in a sentence: `repeat penalty`, `top-k`.
    pub fn said_as(&self) -> String {
        let blank = if self.key.ends_with("penalty") {
            " "
        } else {
            "-"
        };
        self.key.replace('_', blank)
    }
}

/// Names in requests to servers; empty if a server's interface lacks the parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Api {
    /// Name in llama-server's `/completion`.
    pub llama_server: &'static str,
    /// Name in OpenAI's chat completions.
    pub openai: &'static str,
    /// Name in Ollama's `options`.
    pub ollama: &'static str,
}

impl Api {
    /// No names.
    pub const NONE: Api = Api::all("");

    /// The same name in all interfaces.
    pub(crate) const fn all(name: &'static str) -> Api {
        Api {
            llama_server: name,
            openai: name,
            ollama: name,
        }
    }

    /// A name in llama-server's interface alone.
    pub(crate) const fn server(name: &'static str) -> Api {
        Api {
            llama_server: name,
            ..Api::NONE
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

/// Default of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Defaults {
    /// Determined elsewhere, as explained in [`Spec::note`].
    Elsewhere,
    /// Default of a sampler's parameter.
    Sampler(SamplerDefaults),
}

/// Defaults of a sampler's parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerDefaults {
    /// run.c's, used except in chats with GGUF models.
    pub run_c: f32,
    /// llama.cpp's, used in chats with GGUF models.
    pub llama_cpp: f32,
    /// Value with a special meaning, and the meaning.
    pub special: (f32, &'static str),
}

/// Allowed values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Domain {
    /// A text.
    Text,
    /// Several texts, none of them empty.
    Texts,
    /// Biases: numbers that are added to the logits of tokens.
    Biases,
    /// True or false.
    Truth,
    /// A day: year, month and day as in ISO 8601, `2024-07-26`.
    Date,
    /// Address of the machine, as [`crate::Addressing::parse`] reads it.
    Address,
    /// Address of a network card, as [`crate::mac`] reads it.
    Mac,
    /// SHA-256 of a file, as [`crate::sha256`] reads it.
    Sha256,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A number.
    Number {
        /// Smallest value.
        least: f32,
        /// Largest value.
        most: f32,
        /// Description of the range.
        allowed: &'static str,
        /// True if only whole numbers are allowed.
        whole: bool,
        /// True if a command line may exceed the range: users of [`crate::Overrides`] then correct
        /// the value as run.c does.
        adjusted: bool,
    },
    /// A whole number of at least `least`.
    Whole {
        /// Smallest value.
        least: i64,
        /// True if a command line may exceed the range, as for [`Domain::Number`].
        adjusted: bool,
    },
    /// 64-bit seed; negative numbers wrap around as in run.c, and 0 picks one at random.
    Seed,
}

/// Type whose values are named by words.
pub trait Choice: Copy + PartialEq + 'static {
    /// Words with their meanings.
    const NAMES: &'static [(&'static str, Self)];

    /// Word for this value.
    fn name(self) -> &'static str {
        let entry = Self::NAMES.iter().find(|(_, known)| *known == self);
        entry.map_or("", |(name, _)| name)
    }

    /// Meaning of a word.
    fn named(name: &str) -> Option<Self> {
        let entry = Self::NAMES.iter().find(|(known, _)| *known == name);
        entry.map(|(_, choice)| *choice)
    }
}

/// Words without their meanings.
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

/// Treatment of the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Continue it.
    #[default]
    Generate,
    /// Answer it, turn by turn: in the model's own template; in Llama 2's for checkpoints of
    /// llama2.c; a GGUF model without one continues it.
    Chat,
}

impl Choice for Mode {
    const NAMES: &'static [(&'static str, Mode)] =
        &[("generate", Mode::Generate), ("chat", Mode::Chat)];
}

/// Treatment of reasoning, which some models write before they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Think {
    /// Show it, separate from the answer.
    #[default]
    Show,
    /// Hide it.
    Hide,
    /// Tell the model not to reason, if its template supports that.
    Off,
}

impl Choice for Think {
    const NAMES: &'static [(&'static str, Think)] = &[
        ("show", Think::Show),
        ("hide", Think::Hide),
        ("off", Think::Off),
    ];
}

/// Something that is on unless it is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Switch {
    /// On.
    #[default]
    On,
    /// Off.
    Off,
}

impl Choice for Switch {
    const NAMES: &'static [(&'static str, Switch)] = &[("on", Switch::On), ("off", Switch::Off)];
}

/// Action after a story or an error.
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

/// Display to use in addition to the serial line, which always shows plain text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Display {
    /// The full screen if there is a frame buffer, else text.
    #[default]
    Auto,
    /// The full screen: conversation, input and status.
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
