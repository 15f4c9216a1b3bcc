//! Commands, which begin with `/`: one table for parsing, `/help` and Tab completion.

mod values;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_settings::{Domain, Param, ParamValue, TABLE};

use crate::suggest::nearest;

use values::{alone, change, given, setting, short};

/// Kind of a submitted line.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Empty, or white space only.
    Empty,
    /// A message for the model.
    Text(String),
    /// A command.
    Command(Command),
}

/// Command with its arguments, which are in range. `None` queries the current value, unless stated
/// otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Explains commands and keys.
    Help(HelpTopic),
    /// Switches to the model of this name; `None` opens the menu.
    Model(Option<String>),
    /// Shows or sets the system prompt.
    System(Option<Change>),
    /// Forgets the conversation.
    Clear,
    /// Removes the last question and its answer.
    Undo,
    /// Answers the last question again.
    Retry,
    /// Shows a setting, or sets it and those that go with it. A text or a bias is added to the
    /// existing ones; an empty list removes them all.
    Setting {
        /// Setting that is shown afterwards.
        param: Param,
        /// Values to set.
        to: Vec<(Param, ParamValue)>,
    },
    /// Continues this text, without a template; `None` begins with an empty one.
    Story(Option<String>),
    /// Shows information on the model and the machine.
    Info,
    /// Measures the speed of the machine.
    Bench,
    /// Saves the conversation under this name; `None` chooses one.
    Save(Option<String>),
    /// Loads the conversation of this name; `None` lists them.
    Load(Option<String>),
    /// Writes the settings to the configuration file.
    Config,
    /// Leaves the session.
    Exit,
    /// Restarts the machine.
    Reboot,
    /// Switches the machine off.
    Shutdown,
    /// Restarts the machine into its firmware setup.
    Firmware,
}

/// Topic of `/help`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HelpTopic {
    /// The few commands that everybody needs.
    Short,
    /// All commands and keys.
    All,
    /// The command of this name, without the slash.
    Command(&'static str),
}

/// Change of a text that can be set or switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets this text.
    To(String),
    /// Switches it off.
    Off,
}

/// Environment of the program: some commands exist only in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Booted on the machine itself.
    Boot,
    /// Running on an operating system.
    Hosted,
}

/// Kind of values that Tab completes after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// No values.
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

/// Entry of a command in the table.
#[derive(Debug, Clone, Copy)]
pub struct CommandEntry {
    /// Name without the slash.
    pub name: &'static str,
    /// Aliases.
    pub also: &'static [&'static str],
    /// Arguments, for display.
    pub arguments: &'static str,
    /// Description, in one sentence.
    pub help: &'static str,
    /// Heading that it stands below in `/help all`.
    pub group: &'static str,
    /// True if plain `/help` lists it, too.
    pub is_common: bool,
    /// Kind of values for completion.
    pub values: Values,
    /// True if it exists only when the program was booted.
    pub only_boot: bool,
    reading: Reading,
}

/// Parser of a command's arguments.
#[derive(Debug, Clone, Copy)]
enum Reading {
    By(fn(&CommandEntry, &str) -> Result<Command, String>),
    /// By the setting's row in the table.
    Setting(Param),
}

impl CommandEntry {
    fn read(&self, rest: &str) -> Result<Command, String> {
        match self.reading {
            Reading::By(read) => read(self, rest),
            Reading::Setting(param) => setting(self.name, param, rest),
        }
    }
}

const fn entry(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    read: fn(&CommandEntry, &str) -> Result<Command, String>,
) -> CommandEntry {
    CommandEntry {
        name,
        also: &[],
        arguments,
        help,
        group: "",
        is_common: false,
        values: Values::None,
        only_boot: false,
        reading: Reading::By(read),
    }
}

/// All commands, in the order of `/help all`.
pub fn all() -> impl Iterator<Item = CommandEntry> {
    let settings = TABLE.iter().filter(|spec| !spec.commands.is_empty());
    let settings = settings.map(|spec| CommandEntry {
        also: &spec.commands[1..],
        group: "Replies",
        is_common: false,
        values: match spec.domain {
            Domain::Word(words) => Values::Words(words),
            Domain::Texts | Domain::Biases => Values::Words(&["off"]),
            Domain::Seed => Values::Words(&["random"]),
            _ => Values::None,
        },
        name: spec.commands[0],
        arguments: spec.arguments,
        help: spec.about,
        only_boot: false,
        reading: Reading::Setting(spec.param),
    });
    TALK.into_iter().chain(MODEL).chain(settings).chain(MACHINE)
}

/// Commands about the conversation.
const TALK: [CommandEntry; 7] = [
    CommandEntry {
        group: "Conversation",
        is_common: true,
        also: &["new"],
        ..entry(
            "clear",
            "",
            "Forget the conversation and begin a new one.",
            |entry, rest| alone(entry, rest, Command::Clear),
        )
    },
    CommandEntry {
        group: "Conversation",
        ..entry(
            "undo",
            "",
            "Take back the last question and its answer.",
            |entry, rest| alone(entry, rest, Command::Undo),
        )
    },
    CommandEntry {
        group: "Conversation",
        is_common: true,
        ..entry(
            "retry",
            "",
            "Answer the last question again.",
            |entry, rest| alone(entry, rest, Command::Retry),
        )
    },
    CommandEntry {
        group: "Conversation",
        ..entry(
            "story",
            "[opening]",
            "Continue this text, without a chat template.",
            |_, text| Ok(Command::Story(given(text))),
        )
    },
    CommandEntry {
        group: "Conversation",
        values: Values::Words(&["off"]),
        ..entry(
            "system",
            "[text | off]",
            "Show, set or remove the system prompt; starts a new conversation.",
            |_, text| Ok(Command::System(change(text)?)),
        )
    },
    CommandEntry {
        group: "Conversation",
        is_common: true,
        values: Values::Conversations,
        ..entry(
            "save",
            "[name]",
            "Save the conversation, under a new name if none is given.",
            |_, name| Ok(Command::Save(given(name))),
        )
    },
    CommandEntry {
        group: "Conversation",
        values: Values::Conversations,
        ..entry(
            "load",
            "[name]",
            "Continue a saved conversation, or list them.",
            |_, name| Ok(Command::Load(given(name))),
        )
    },
];

/// Commands about the model.
const MODEL: [CommandEntry; 3] = [
    CommandEntry {
        group: "Model",
        is_common: true,
        values: Values::Models,
        ..entry(
            "model",
            "[name]",
            "Choose a model from a menu, or switch to one.",
            |_, name| Ok(Command::Model(given(name))),
        )
    },
    CommandEntry {
        group: "Model",
        ..entry(
            "info",
            "",
            "Show the model, the settings and the machine.",
            |entry, rest| alone(entry, rest, Command::Info),
        )
    },
    CommandEntry {
        group: "Model",
        ..entry(
            "bench",
            "",
            "Measure how fast this machine is.",
            |entry, rest| alone(entry, rest, Command::Bench),
        )
    },
];

/// Commands about the program and the machine.
const MACHINE: [CommandEntry; 6] = [
    CommandEntry {
        group: "Machine",
        ..entry(
            "config",
            "",
            "Write these settings to the configuration file.",
            |entry, rest| alone(entry, rest, Command::Config),
        )
    },
    CommandEntry {
        group: "Machine",
        is_common: true,
        also: &["quit", "bye"],
        ..entry("exit", "", "Leave.", |entry, rest| {
            alone(entry, rest, Command::Exit)
        })
    },
    CommandEntry {
        group: "Machine",
        only_boot: true,
        ..entry("reboot", "", "Restart the machine.", |entry, rest| {
            alone(entry, rest, Command::Reboot)
        })
    },
    CommandEntry {
        group: "Machine",
        only_boot: true,
        ..entry("shutdown", "", "Switch the machine off.", |entry, rest| {
            alone(entry, rest, Command::Shutdown)
        })
    },
    CommandEntry {
        group: "Machine",
        only_boot: true,
        ..entry(
            "firmware",
            "",
            "Restart the machine into its firmware setup.",
            |entry, rest| alone(entry, rest, Command::Firmware),
        )
    },
    CommandEntry {
        group: "Machine",
        also: &["?"],
        values: Values::Commands,
        ..entry(
            "help",
            "[all | command]",
            "List the usual commands, or all, or explain one.",
            |_, name| {
                Ok(Command::Help(match name.trim_start_matches('/') {
                    "" => HelpTopic::Short,
                    name if name.eq_ignore_ascii_case("all") => HelpTopic::All,
                    name => HelpTopic::Command(find(name).ok_or_else(|| unknown(name))?.name),
                }))
            },
        )
    },
];

/// Parses a submitted line. A line that begins with `//` is a message that begins with `/`.
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
    entry.read(rest.trim()).map(Input::Command)
}

/// Finds a command by its name, without the slash, ignoring case; `-` may be written for `_`.
pub fn find(name: &str) -> Option<CommandEntry> {
    all().find(|entry| {
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
    let known =
        all().flat_map(|entry| core::iter::once(entry.name).chain(entry.also.iter().copied()));
    match nearest(name, known) {
        Some(near) => format!("/{name} is not a command: did you mean /{near}?"),
        None => format!(
            "/{name} is not a command: /help all lists them; to send a message that begins with /, type //{name}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Command::*;
    use Param::*;

    fn show(param: Param) -> Command {
        Setting {
            param,
            to: Vec::new(),
        }
    }

    fn set(param: Param, value: ParamValue) -> Command {
        Setting {
            param,
            to: [(param, value)].into(),
        }
    }

    fn number(param: Param, value: f32) -> Command {
        set(param, ParamValue::Number(value))
    }

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
        let stop = |text: &str| set(Stop, ParamValue::Texts([text.into()].into()));
        for (line, want) in [
            ("/help", Help(HelpTopic::Short)),
            ("/?", Help(HelpTopic::Short)),
            ("/help all", Help(HelpTopic::All)),
            ("/help /ALL", Help(HelpTopic::All)),
            ("/help temp", Help(HelpTopic::Command("temp"))),
            ("/help /Top-P", Help(HelpTopic::Command("top_p"))),
            ("/model", Command::Model(None)),
            (
                "/model  Qwen3 0.6B.gguf ",
                Command::Model(text("Qwen3 0.6B.gguf")),
            ),
            ("/system", Command::System(None)),
            (
                "/system Be brief.\nBe kind.",
                Command::System(Some(Change::To("Be brief.\nBe kind.".into()))),
            ),
            ("/system off", Command::System(Some(Change::Off))),
            (
                "/system \"off\"",
                Command::System(Some(Change::To("off".into()))),
            ),
            ("/clear", Clear),
            ("/CLEAR ", Clear),
            ("/undo", Undo),
            ("/retry", Retry),
            ("/temp", show(Temperature)),
            ("/temp 0.8", number(Temperature, 0.8)),
            ("/temperature 0", number(Temperature, 0.0)),
            ("/top_p 1", number(TopP, 1.0)),
            ("/top-p .5", number(TopP, 0.5)),
            ("/top_k 40", number(TopK, 40.0)),
            ("/min_p 0.05", number(MinP, 0.05)),
            ("/typical 0.9", number(Typical, 0.9)),
            ("/frequency -1", number(FrequencyPenalty, -1.0)),
            ("/presence 1", number(PresencePenalty, 1.0)),
            (
                "/logit_bias 7=2",
                set(LogitBias, ParamValue::Biases([(7, 2.0)].into())),
            ),
            (
                "/logit_bias off",
                set(LogitBias, ParamValue::Biases([].into())),
            ),
            ("/repeat", show(RepeatPenalty)),
            ("/repeat 1.1", number(RepeatPenalty, 1.1)),
            (
                "/repeat 1.1  64",
                Setting {
                    param: RepeatPenalty,
                    to: Vec::from([
                        (RepeatPenalty, ParamValue::Number(1.1)),
                        (RepeatLastN, ParamValue::Number(64.0)),
                    ]),
                },
            ),
            ("/seed", show(Seed)),
            ("/seed random", set(Seed, ParamValue::Whole(0))),
            ("/seed 0", set(Seed, ParamValue::Whole(0))),
            (
                "/seed 18446744073709551615",
                set(Seed, ParamValue::Whole(-1)),
            ),
            ("/max 256", set(Steps, ParamValue::Whole(256))),
            ("/story", Story(None)),
            ("/story Once upon", Story(text("Once upon"))),
            ("/info", Info),
            ("/bench", Command::Bench),
            ("/save", Save(None)),
            ("/save holidays", Save(text("holidays"))),
            ("/load", Load(None)),
            ("/load CHAT0001.JSL", Load(text("CHAT0001.JSL"))),
            ("/config", Config),
            ("/think", show(Think)),
            ("/think Hide", set(Think, ParamValue::Word("hide"))),
            ("/stop", show(Stop)),
            ("/stop \\nUser:", stop("\nUser:")),
            ("/stop \" a\\\"\\\\\"", stop(" a\"\\")),
            ("/stop C:\\dir", stop("C:\\dir")),
            ("/stop off", set(Stop, ParamValue::Texts([].into()))),
            ("/exit", Command::Exit),
            ("/quit", Command::Exit),
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
            ("/tmep 1", "/tmep is not a command: did you mean /temp?"),
            ("/saev", "did you mean /save?"),
            (
                "/usr/bin/env",
                "to send a message that begins with /, type //usr/bin/env",
            ),
            ("/", "/help all lists them"),
            ("/x", "/help all lists them"),
            ("/help tmep", "did you mean /temp?"),
            (
                "/clear all",
                "/clear takes no argument, but \"all\" was given",
            ),
            ("/reboot now\nplease", "\"now…\""),
            (
                "/temp warm",
                "/temp warm is not valid: it must be a number of 0 or more, such as /temp 0.8",
            ),
            ("/temp -1", "/temp -1"),
            ("/temp nan", "/temp nan"),
            ("/temp 0,8", "such as /temp 0.8"),
            ("/temp 1 2", "/temp 1 2 is not valid"),
            ("/top_p 1.01", "from 0 to 1"),
            ("/min_p inf", "from 0 to 1"),
            ("/top_k 1.5", "a whole number from 0"),
            ("/top_k -1", "a whole number from 0"),
            ("/repeat 0", "a number of more than 0"),
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
        for (i, entry) in all().enumerate() {
            for name in core::iter::once(&entry.name).chain(entry.also) {
                let found: Vec<&str> = all()
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
            // Commands without arguments reject some; the others also accept none.
            let made = entry.read("");
            assert!(made.is_ok(), "{}", entry.name);
            if entry.arguments.is_empty() {
                assert!(entry.read("x").is_err(), "{}", entry.name);
            }
            if let Values::Words(words) = entry.values {
                for word in words {
                    assert!(entry.read(word).is_ok(), "{} {word}", entry.name);
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
