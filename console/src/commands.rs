//! The commands that begin with `/`: one table, from which the reading of a line, `/help` and Tab completion are made.

use alloc::{
    format,
    string::{String, ToString},
};

use crate::{
    nearest::nearest,
    values::{alone, change, given, number, repeat, short, think},
};

/// What a submitted line is.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Nothing but blanks.
    Empty,
    /// Something said to the model.
    Text(String),
    /// Something to do.
    Command(Command),
}

/// A command, its values in range. `None` asks for what is set now, unless it says otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// List the commands, or tell of one: its name without the slash.
    Help(Option<&'static str>),
    /// Switch to the model of this name; `None` opens the menu.
    Model(Option<String>),
    /// The system prompt.
    System(Option<Change>),
    /// Forget the conversation.
    Clear,
    /// Take the last question and its answer back.
    Undo,
    /// Answer the last question again.
    Retry,
    /// Temperature.
    Temperature(Option<f32>),
    /// Top-p; 1 keeps all.
    TopP(Option<f32>),
    /// Top-k; 0 keeps all.
    TopK(Option<usize>),
    /// Min-p; 0 keeps all.
    MinP(Option<f32>),
    /// Repetition penalty.
    Repeat(Option<Repeat>),
    /// Seed of the sampler.
    Seed(Option<Seed>),
    /// Most tokens of a reply; 0: as many as the context holds.
    Max(Option<usize>),
    /// Go on from this text, without any template; `None` begins from nothing.
    Story(Option<String>),
    /// Tell of model and machine.
    Info,
    /// Measure the machine.
    Bench,
    /// Save the conversation under this name; `None` chooses one.
    Save(Option<String>),
    /// Load the conversation of this name; `None` lists them.
    Load(Option<String>),
    /// Write the settings to the configuration file.
    Config,
    /// What becomes of a model's thoughts.
    Think(Option<Think>),
    /// The texts at which a reply ends.
    Stop(Option<Change>),
    /// Leave.
    Exit,
    /// Start the machine again.
    Reboot,
    /// Switch the machine off.
    Shutdown,
    /// Start the machine into its setup.
    Firmware,
}

/// A text that can be set or switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// To this one (stop strings: this one too).
    To(String),
    /// To none.
    Off,
}

/// A repetition penalty.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Repeat {
    /// Divides the logits of tokens that were there; 1 does nothing.
    pub penalty: f32,
    /// How many tokens back it looks, where that was said too.
    pub last: Option<usize>,
}

/// Where random numbers begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// Somewhere else each time.
    Random,
    /// There.
    Fixed(u64),
}

/// What becomes of the text that some models think before they answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Think {
    /// Shown apart from the answer.
    Show,
    /// Thought, and not shown.
    Hide,
    /// The model is told not to.
    Off,
}

impl Think {
    /// The names.
    pub const NAMES: [(&str, Think); 3] = [
        ("show", Think::Show),
        ("hide", Think::Hide),
        ("off", Think::Off),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        let entry = Think::NAMES.iter().find(|(_, think)| *think == self);
        entry.map_or("", |(name, _)| name)
    }
}

/// Where the program runs: some commands are for one place only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It booted the machine.
    Boot,
    /// On an operating system.
    Hosted,
}

/// What Tab completes behind a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Nothing.
    None,
    /// These words.
    Words(&'static [&'static str]),
    /// Names of models.
    Models,
    /// Names of saved conversations.
    Conversations,
    /// Names of commands.
    Commands,
}

/// A command in the table.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Its name without the slash.
    pub name: &'static str,
    /// Other names for it.
    pub also: &'static [&'static str],
    /// What may follow, for people.
    pub arguments: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// What can be completed behind it.
    pub values: Values,
    /// Whether it is there only where the machine was booted.
    pub only_boot: bool,
    make: fn(&Entry, &str) -> Result<Command, String>,
}

/// Most of a temperature: beyond, every token is as likely as any other.
pub const MOST_TEMPERATURE: f32 = 10.0;
/// Most tokens back that the repetition penalty looks (the engine's own limit).
pub const MOST_REPEAT_LAST: usize = 1 << 16;

const fn entry(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    make: fn(&Entry, &str) -> Result<Command, String>,
) -> Entry {
    Entry {
        name,
        also: &[],
        arguments,
        help,
        values: Values::None,
        only_boot: false,
        make,
    }
}

/// All commands, in the order of `/help`.
pub static TABLE: [Entry; 25] = [
    Entry {
        also: &["?"],
        values: Values::Commands,
        ..entry(
            "help",
            "[command]",
            "List the commands, or tell of one.",
            |_, name| {
                Ok(Command::Help(if name.is_empty() {
                    None
                } else {
                    Some(
                        find(name.trim_start_matches('/'))
                            .ok_or_else(|| unknown(name))?
                            .name,
                    )
                }))
            },
        )
    },
    Entry {
        values: Values::Models,
        ..entry(
            "model",
            "[name]",
            "Choose among the models, or switch to one.",
            |_, name| Ok(Command::Model(given(name))),
        )
    },
    Entry {
        values: Values::Words(&["off"]),
        ..entry(
            "system",
            "[text | off]",
            "Show, set or remove the system prompt; the conversation begins anew.",
            |_, text| Ok(Command::System(change(text)?)),
        )
    },
    Entry {
        also: &["new"],
        ..entry(
            "clear",
            "",
            "Forget the conversation and begin a new one.",
            |entry, rest| alone(entry, rest, Command::Clear),
        )
    },
    entry(
        "undo",
        "",
        "Take back the last question and its answer.",
        |entry, rest| alone(entry, rest, Command::Undo),
    ),
    entry(
        "retry",
        "",
        "Answer the last question again.",
        |entry, rest| alone(entry, rest, Command::Retry),
    ),
    Entry {
        also: &["temperature"],
        ..entry(
            "temp",
            "[number]",
            "Show or set the temperature: 0 takes the likeliest token each time, 10 is the most.",
            |entry, value| {
                Ok(Command::Temperature(number(
                    entry,
                    value,
                    0.0..=MOST_TEMPERATURE,
                    "0.8",
                )?))
            },
        )
    },
    entry(
        "top_p",
        "[number]",
        "Show or set top-p: keep the likeliest tokens that make up this probability; 1 keeps all.",
        |entry, value| Ok(Command::TopP(number(entry, value, 0.0..=1.0, "0.95")?)),
    ),
    entry(
        "top_k",
        "[number]",
        "Show or set top-k: keep so many of the likeliest tokens; 0 keeps all.",
        |entry, value| Ok(Command::TopK(number(entry, value, 0..=10_000_000, "40")?)),
    ),
    entry(
        "min_p",
        "[number]",
        "Show or set min-p: keep tokens at least this likely, measured by the likeliest; 0 keeps all.",
        |entry, value| Ok(Command::MinP(number(entry, value, 0.0..=1.0, "0.05")?)),
    ),
    entry(
        "repeat",
        "[penalty [tokens]]",
        "Show or set the repetition penalty, from 0.1 to 10 (1 is none), and how many tokens back it looks.",
        repeat,
    ),
    Entry {
        values: Values::Words(&["random"]),
        ..entry(
            "seed",
            "[number | random]",
            "Show or set the seed: the same one gives the same text; random draws one.",
            |entry, value| {
                Ok(Command::Seed(if value.eq_ignore_ascii_case("random") {
                    Some(Seed::Random)
                } else {
                    // As in the configuration, 0 draws one.
                    number(entry, value, 0..=u64::MAX, "42")?.map(|seed| match seed {
                        0 => Seed::Random,
                        _ => Seed::Fixed(seed),
                    })
                }))
            },
        )
    },
    entry(
        "max",
        "[tokens]",
        "Show or set how long a reply may be; 0 is as long as the context holds.",
        |entry, value| Ok(Command::Max(number(entry, value, 0..=1 << 24, "256")?)),
    ),
    entry(
        "story",
        "[opening]",
        "Let the model go on from this text, without any chat template.",
        |_, text| Ok(Command::Story(given(text))),
    ),
    entry(
        "info",
        "",
        "Tell of the model, the settings and the machine.",
        |entry, rest| alone(entry, rest, Command::Info),
    ),
    entry(
        "bench",
        "",
        "Measure how fast this machine is.",
        |entry, rest| alone(entry, rest, Command::Bench),
    ),
    Entry {
        values: Values::Conversations,
        ..entry(
            "save",
            "[name]",
            "Save the conversation, under a new name if none is given.",
            |_, name| Ok(Command::Save(given(name))),
        )
    },
    Entry {
        values: Values::Conversations,
        ..entry(
            "load",
            "[name]",
            "Go on with a saved conversation, or list them.",
            |_, name| Ok(Command::Load(given(name))),
        )
    },
    entry(
        "config",
        "",
        "Write these settings to the configuration file.",
        |entry, rest| alone(entry, rest, Command::Config),
    ),
    Entry {
        values: Values::Words(&["show", "hide", "off"]),
        ..entry(
            "think",
            "[show | hide | off]",
            "Show or set what becomes of a model's thoughts.",
            think,
        )
    },
    Entry {
        values: Values::Words(&["off"]),
        ..entry(
            "stop",
            "[text | off]",
            "Show the texts that end a reply, add one (\\n is a line break), or remove all.",
            |_, text| Ok(Command::Stop(change(text)?)),
        )
    },
    Entry {
        also: &["quit", "bye"],
        ..entry("exit", "", "Leave.", |entry, rest| {
            alone(entry, rest, Command::Exit)
        })
    },
    Entry {
        only_boot: true,
        ..entry("reboot", "", "Start the machine again.", |entry, rest| {
            alone(entry, rest, Command::Reboot)
        })
    },
    Entry {
        only_boot: true,
        ..entry("shutdown", "", "Switch the machine off.", |entry, rest| {
            alone(entry, rest, Command::Shutdown)
        })
    },
    Entry {
        only_boot: true,
        ..entry(
            "firmware",
            "",
            "Start the machine into its firmware setup.",
            |entry, rest| alone(entry, rest, Command::Firmware),
        )
    },
];

/// Reads a submitted line. A line that begins with `//` says a text that begins with `/`.
///
/// # Errors
/// One sentence: what was found, what is allowed, what to type instead.
pub fn parse(line: &str, place: Place) -> Result<Input, String> {
    if line.trim().is_empty() {
        return Ok(Input::Empty);
    }
    let Some(rest) = line.strip_prefix('/') else {
        return Ok(Input::Text(line.to_string()));
    };
    if rest.starts_with('/') {
        return Ok(Input::Text(rest.to_string()));
    }
    let (name, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let entry = find(name).ok_or_else(|| unknown(name))?;
    if entry.only_boot && place != Place::Boot {
        return Err(format!(
            "/{} is there only where llama2.efi has booted the machine; /exit leaves this program",
            entry.name
        ));
    }
    (entry.make)(entry, rest.trim()).map(Input::Command)
}

/// The command of a name, without the slash: in any case, with `-` for `_` as well.
pub fn find(name: &str) -> Option<&'static Entry> {
    TABLE.iter().find(|entry| {
        let names = core::iter::once(&entry.name).chain(entry.also);
        names.into_iter().any(|known| is_same(known, name))
    })
}

fn is_same(known: &str, name: &str) -> bool {
    let plain = |byte: u8| {
        if byte == b'-' {
            b'_'
        } else {
            byte.to_ascii_lowercase()
        }
    };
    known.bytes().eq(name.bytes().map(plain))
}

fn unknown(name: &str) -> String {
    let name = &short(name.trim_start_matches('/'));
    let known = TABLE
        .iter()
        .flat_map(|entry| core::iter::once(&entry.name).chain(entry.also));
    match nearest(name, known.copied()) {
        Some(near) => format!("/{name} is no command: did you mean /{near}?"),
        None => format!(
            "/{name} is no command: /help lists them all, and a text that begins with / is typed as //{name}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Command::*;

    fn command(line: &str) -> Command {
        match parse(line, Place::Boot) {
            Ok(Input::Command(command)) => command,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn refused(line: &str) -> String {
        let error = parse(line, Place::Boot).unwrap_err();
        assert!(!error.contains('\n') && error.len() < 200, "{error}");
        error
    }

    #[test]
    fn every_command() {
        let text = |text: &str| Some(text.to_string());
        for (line, want) in [
            ("/help", Help(None)),
            ("/?", Help(None)),
            ("/help temp", Help(Some("temp"))),
            ("/help /Top-P", Help(Some("top_p"))),
            ("/model", Model(None)),
            ("/model  Qwen3 0.6B.gguf ", Model(text("Qwen3 0.6B.gguf"))),
            ("/system", System(None)),
            (
                "/system Be brief.\nBe kind.",
                System(Some(Change::To("Be brief.\nBe kind.".into()))),
            ),
            ("/system off", System(Some(Change::Off))),
            ("/system \"off\"", System(Some(Change::To("off".into())))),
            ("/clear", Clear),
            ("/CLEAR ", Clear),
            ("/undo", Undo),
            ("/retry", Retry),
            ("/temp", Temperature(None)),
            ("/temp 0.8", Temperature(Some(0.8))),
            ("/temperature 0", Temperature(Some(0.0))),
            ("/top_p 1", TopP(Some(1.0))),
            ("/top-p .5", TopP(Some(0.5))),
            ("/top_k 40", TopK(Some(40))),
            ("/min_p 0.05", MinP(Some(0.05))),
            ("/repeat", Repeat(None)),
            (
                "/repeat 1.1",
                Repeat(Some(super::Repeat {
                    penalty: 1.1,
                    last: None,
                })),
            ),
            (
                "/repeat 1.1  64",
                Repeat(Some(super::Repeat {
                    penalty: 1.1,
                    last: Some(64),
                })),
            ),
            ("/seed", Seed(None)),
            ("/seed random", Seed(Some(super::Seed::Random))),
            ("/seed 0", Seed(Some(super::Seed::Random))),
            (
                "/seed 18446744073709551615",
                Seed(Some(super::Seed::Fixed(u64::MAX))),
            ),
            ("/max 256", Max(Some(256))),
            ("/story", Story(None)),
            ("/story Once upon", Story(text("Once upon"))),
            ("/info", Info),
            ("/bench", Bench),
            ("/save", Save(None)),
            ("/save holidays", Save(text("holidays"))),
            ("/load", Load(None)),
            ("/load CHAT0001.JSL", Load(text("CHAT0001.JSL"))),
            ("/config", Config),
            ("/think", Think(None)),
            ("/think Hide", Think(Some(super::Think::Hide))),
            ("/stop", Stop(None)),
            ("/stop \\nUser:", Stop(Some(Change::To("\nUser:".into())))),
            (
                "/stop \" a\\\"\\\\\"",
                Stop(Some(Change::To(" a\"\\".into()))),
            ),
            ("/stop C:\\dir", Stop(Some(Change::To("C:\\dir".into())))),
            ("/stop off", Stop(Some(Change::Off))),
            ("/exit", Exit),
            ("/quit", Exit),
            ("/reboot", Reboot),
            ("/shutdown", Shutdown),
            ("/firmware", Firmware),
        ] {
            assert_eq!(command(line), want, "{line}");
        }
    }

    #[test]
    fn texts() {
        let said = |line: &str| parse(line, Place::Boot).unwrap();
        assert_eq!(said(""), Input::Empty);
        assert_eq!(said(" \n "), Input::Empty);
        assert_eq!(said("Hello"), Input::Text("Hello".into()));
        assert_eq!(said(" /help"), Input::Text(" /help".into()));
        assert_eq!(said("//usr/bin"), Input::Text("/usr/bin".into()));
        assert_eq!(said("///"), Input::Text("//".into()));
    }

    #[test]
    fn mistakes_are_told_in_one_sentence() {
        for (line, words) in [
            ("/tmep 1", "/tmep is no command: did you mean /temp?"),
            ("/saev", "did you mean /save?"),
            (
                "/usr/bin/env",
                "a text that begins with / is typed as //usr/bin/env",
            ),
            ("/", "/help lists them"),
            ("/x", "/help lists them"),
            ("/help tmep", "did you mean /temp?"),
            (
                "/clear all",
                "/clear takes nothing behind it, but \"all\" was given",
            ),
            ("/reboot now\nplease", "\"now…\""),
            (
                "/temp warm",
                "/temp warm will not do: it takes a number from 0 to 10, such as /temp 0.8",
            ),
            ("/temp -1", "/temp -1"),
            ("/temp nan", "/temp nan"),
            ("/temp 0,8", "such as /temp 0.8"),
            ("/temp 1 2", "/temp 1 2 will"),
            ("/top_p 1.01", "from 0 to 1"),
            ("/min_p inf", "from 0 to 1"),
            ("/top_k 1.5", "a whole number from 0"),
            ("/top_k -1", "a whole number from 0"),
            ("/repeat 0", "from 0.1 to 10"),
            ("/repeat 1.1 x", "from 0 to 65536"),
            ("/repeat 1.1 70000", "from 0 to 65536"),
            ("/seed x", "such as /seed 42"),
            (
                "/seed 18446744073709551616",
                "from 0 to 18446744073709551615",
            ),
            ("/max -5", "such as /max 256"),
            ("/think maybe", "show, hide or off"),
            ("/stop \"\"", "off switches it off"),
            ("/stop \"\\q\"", "\\q in quotes means nothing"),
            ("/stop \"a\\\"", "\\ in quotes means nothing"),
        ] {
            let error = refused(line);
            assert!(error.contains(words), "{line}: {error}");
        }
        let error = parse("/reboot", Place::Hosted).unwrap_err();
        assert!(error.contains("only where llama2.efi has booted the machine"));
        let long = refused(&("/temp ".to_string() + &"日".repeat(5000)));
        assert!(long.contains('…'));
    }

    #[test]
    fn the_table_is_sound() {
        for (i, entry) in TABLE.iter().enumerate() {
            for name in core::iter::once(&entry.name).chain(entry.also) {
                let found: Vec<&str> = TABLE
                    .iter()
                    .filter(|other| {
                        core::iter::once(&other.name)
                            .chain(other.also)
                            .any(|other| other == name)
                    })
                    .map(|entry| entry.name)
                    .collect();
                assert_eq!(found, [entry.name], "no name twice");
            }
            assert!(
                entry.help.ends_with('.') && !entry.help.contains('\n'),
                "{i}"
            );
            // What takes nothing refuses something, the others take nothing too.
            let made = (entry.make)(entry, "");
            assert!(made.is_ok(), "{}", entry.name);
            if entry.arguments.is_empty() {
                assert!((entry.make)(entry, "x").is_err(), "{}", entry.name);
            }
            if let Values::Words(words) = entry.values {
                for word in words {
                    assert!((entry.make)(entry, word).is_ok(), "{} {word}", entry.name);
                    assert!(entry.arguments.contains(word));
                }
            }
        }
    }

    #[test]
    fn any_line() {
        let mut random = crate::random(5);
        let pieces = [
            "/", "temp", " ", "\"", "\\", "日", "-1", "help", "\n", "9", ".", "stop", "repeat",
            "e400", "off",
        ];
        for _ in 0..20_000 {
            let line: String = (0..random(8))
                .map(|_| pieces[random(pieces.len())])
                .collect();
            let _ = parse(&line, Place::Hosted);
        }
    }
}
