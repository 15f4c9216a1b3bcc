//! Parsers of arguments of commands; each error is one sentence.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_settings::{Defaults, Domain, Param, ParamValue};

use super::{Change, Command, CommandEntry};

/// Optional text.
pub fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

/// Accepts a command without arguments.
pub fn alone(entry: &CommandEntry, rest: &str, command: Command) -> Result<Command, String> {
    if rest.is_empty() {
        return Ok(command);
    }
    Err(format!(
        "/{} takes no argument, but \"{}\" was given: type /{0} alone",
        entry.name,
        short(rest)
    ))
}

/// Shortens what was typed, for use in a sentence.
pub fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut = crate::width::cut(line, 40);
    match cut.len() < text.len() {
        true => format!("{cut}…"),
        false => cut.to_string(),
    }
}

/// Parses the value of a setting, typed after the command of this name.
pub fn setting(name: &str, param: Param, value: &str) -> Result<Command, String> {
    let is = |word: &str| value.eq_ignore_ascii_case(word);
    let mut to = Vec::new();
    match param.spec().domain {
        _ if value.is_empty() => (),
        Domain::Seed if is("random") => to.push((param, ParamValue::Whole(0))),
        Domain::Biases if is("off") => to.push((param, ParamValue::Biases(Vec::new()))),
        Domain::Texts => {
            let text = change(value)?.map(|change| match change {
                Change::To(text) => Vec::from([text]),
                Change::Off => Vec::new(),
            });
            to.extend(text.map(|texts| (param, ParamValue::Texts(texts))));
        }
        _ if param == Param::RepeatPenalty => {
            let (penalty, last) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
            to.push((param, checked(name, param, penalty, value)?));
            let last = last.trim();
            if !last.is_empty() {
                let param = Param::RepeatLastN;
                to.push((param, checked(name, param, last, value)?));
            }
        }
        _ => to.push((param, checked(name, param, value, value)?)),
    }
    Ok(Command::Setting { param, to })
}

/// Parses a part of what was typed, and checks its range.
fn checked(name: &str, param: Param, part: &str, typed: &str) -> Result<ParamValue, String> {
    let spec = param.spec();
    spec.parse(part).map_err(|allowed| {
        let begins = format!("/{name} {} is not valid: ", short(typed));
        match (spec.domain, param) {
            (Domain::Word([words @ .., last]), _) => {
                begins + &format!("it must be {} or {last}", words.join(", "))
            }
            (_, Param::RepeatLastN) if !param.spec().commands.contains(&name) => {
                begins + &format!("the number of tokens must be {allowed}, such as /{name} 1.1 64")
            }
            _ => begins + &format!("it must be {allowed}{}", example(param, name)),
        }
    })
}

/// Example of a valid value.
fn example(param: Param, command: &str) -> String {
    let value = match (param, param.spec().defaults) {
        (Param::Seed, _) => "42".to_string(),
        (Param::RepeatPenalty, _) => "1.1".to_string(),
        (_, Defaults::Sampler(defaults)) => defaults.llama_cpp.to_string(),
        // It has one.
        (Param::LogitBias, _) => return String::new(),
        _ => param.spec().example.to_string(),
    };
    format!(", such as /{command} {value}")
}

/// Parses a text to set: literal, or in quotes with the escapes `\n`, `\t`, `\"` and `\\` as in C;
/// `off` removes it.
pub fn change(text: &str) -> Result<Option<Change>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.eq_ignore_ascii_case("off") {
        return Ok(Some(Change::Off));
    }
    let quoted = text.len() > 1 && text.starts_with('"') && text.ends_with('"');
    let inside = if quoted {
        &text[1..text.len() - 1]
    } else {
        text
    };
    let mut out = String::new();
    let mut letters = inside.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some(same @ ('\\' | '"')) => out.push(same),
            // Only quotes make it certain that an escape was meant.
            other if !quoted => {
                out.push('\\');
                out.extend(other);
            }
            other => {
                return Err(format!(
                    "\\{} in quotes means nothing: there are \\n, \\t, \\\" and \\\\",
                    other.map(String::from).unwrap_or_default()
                ));
            }
        }
    }
    if out.is_empty() {
        return Err("an empty text cannot be set: off switches it off".to_string());
    }
    Ok(Some(Change::To(out)))
}
