//! Parser of command lines: the UEFI Shell's, and those in boot entries.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
};

use crate::{Choice, Domain, Exit, Overrides, Param, ParamValue, Spec, TABLE};

/// Result of parsing a command line.
#[derive(Debug, PartialEq)]
pub enum CommandLine {
    /// Run with these values.
    Run(Box<Overrides>),
    /// Show the help text.
    Help,
}

/// Text of `--help`.
pub fn help() -> String {
    let mut text = String::from("llama2.efi [checkpoint]");
    let mut column = text.len();
    for spec in TABLE.iter().filter(|spec| !spec.flags.is_empty()) {
        let blank = if spec.value_name.is_empty() { "" } else { " " };
        let flag = match spec.letter {
            ' ' => format!("[--{}{blank}{}]", spec.flags[0], spec.value_name),
            letter => format!("[-{letter}{blank}{}]", spec.value_name),
        };
        if column + 1 + flag.len() > 79 {
            text.push_str("\n          ");
            column = 10;
        }
        column += 1 + flag.len();
        text.extend([" ", &flag]);
    }
    text + "\nPut text with spaces in quotes: -i \"Once upon a time\"\n\
            With --exit it tells one story and ends; otherwise /help lists the commands.\n\
            Without a checkpoint it uses the one named in LLAMA2.CFG, one found on a\n\
            volume, or the model inside this file. See the README."
}

/// Parses the words after the program's name.
///
/// # Errors
/// A sentence about the first invalid word.
pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<CommandLine, String> {
    let mut values = Overrides::default();
    let mut words = words.iter().map(AsRef::as_ref);
    while let Some(word) = words.next() {
        if matches!(word, "-h" | "--help" | "-?") {
            return Ok(CommandLine::Help);
        }
        if let Some((name, spec, attached)) = flag(word) {
            if spec.domain == Domain::Truth && attached.is_none() {
                values.set(spec.param, ParamValue::Truth(true));
                continue;
            }
            let Some(value) = attached.or_else(|| words.next()) else {
                return Err(format!("{name} needs a value after it"));
            };
            let parsed = spec
                .parse_flag(value)
                .map_err(|allowed| format!("{name} {value} is not {allowed}"))?;
            if let Err(most) = values.add(spec.param, parsed) {
                return Err(format!(
                    "{name} {value} is one more than the {most} allowed"
                ));
            }
        } else if word.len() > 1 && word.starts_with('-') {
            return Err(format!("unknown option {word}; --help lists all"));
        } else if values.get(Param::Model).is_none() {
            values.set(Param::Model, ParamValue::Text(word.to_string()));
        } else {
            return Err(format!(
                "{word} is one checkpoint too many; put text with spaces in quotes"
            ));
        }
    }
    if values.get(Param::Prompt).is_some() && values.get(Param::PromptFile).is_some() {
        return Err("-i and -f both give a prompt; use one of them".into());
    }
    Ok(CommandLine::Run(Box::new(values)))
}

/// Value of `exit` in the words, even if [`parse`] rejects others.
pub fn exit<S: AsRef<str>>(words: &[S]) -> Option<Exit> {
    let mut words = words.iter().map(AsRef::as_ref);
    let mut wanted = None;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--exit") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        let known = value.and_then(|value| Exit::named(&value.to_lowercase()));
        wanted = known.or(wanted);
    }
    wanted
}

/// Splits a word into a flag as typed, its row, and its value if that is in the same word.
fn flag(word: &str) -> Option<(&str, &'static Spec, Option<&str>)> {
    if let Some(long) = word.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let spec = TABLE.iter().find(|spec| spec.flags.contains(&name))?;
        return Some((&word[..name.len() + 2], spec, value));
    }
    let letter = word.strip_prefix('-')?.chars().next()?;
    let mut known = TABLE.iter().filter(|spec| spec.letter != ' ');
    let spec = known.find(|spec| spec.letter == letter)?;
    let (name, value) = word.split_at(1 + letter.len_utf8());
    Some((name, spec, Some(value).filter(|value| !value.is_empty())))
}
