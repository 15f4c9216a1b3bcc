//! What may stand behind a command: read, range-checked, and refused in one sentence.

use alloc::{
    format,
    string::{String, ToString},
};
use core::{fmt::Display, ops::RangeInclusive, str::FromStr};

use crate::commands::{Change, Command, Entry, MOST_REPEAT_LAST, Repeat, Think};

/// A text that may be missing.
pub fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

/// A command that nothing may follow.
pub fn alone(entry: &Entry, rest: &str, command: Command) -> Result<Command, String> {
    if rest.is_empty() {
        return Ok(command);
    }
    Err(format!(
        "/{} takes nothing behind it, but \"{}\" was given: type /{0} alone",
        entry.name,
        short(rest)
    ))
}

/// What was typed, shortly: it goes into a sentence.
pub fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let cut = crate::width::cut(line, 40);
    match cut.len() < text.len() {
        true => format!("{cut}…"),
        false => cut.to_string(),
    }
}

/// A number in its range.
pub fn number<T: FromStr + PartialOrd + Display>(
    entry: &Entry,
    value: &str,
    range: RangeInclusive<T>,
    example: &str,
) -> Result<Option<T>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let found = value.parse().ok().filter(|number| range.contains(number));
    found.map(Some).ok_or_else(|| {
        let kind = if example.contains('.') {
            "a number"
        } else {
            "a whole number"
        };
        format!(
            "/{} {} will not do: it takes {kind} from {} to {}, such as /{0} {example}",
            entry.name,
            short(value),
            range.start(),
            range.end(),
        )
    })
}

/// A penalty, and how far it looks.
pub fn repeat(entry: &Entry, value: &str) -> Result<Command, String> {
    let (penalty, last) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let penalty = number(entry, penalty, 0.1..=10.0, "1.1")?;
    let last = last.trim();
    let tokens =
        (!last.is_empty()).then(|| last.parse().ok().filter(|&last| last <= MOST_REPEAT_LAST));
    match tokens {
        Some(None) => Err(format!(
            "/repeat {} will not do: the penalty looks back over a whole number of tokens from 0 to {MOST_REPEAT_LAST}, such as /repeat 1.1 64",
            short(value)
        )),
        last => Ok(Command::Repeat(penalty.map(|penalty| Repeat {
            penalty,
            last: last.flatten(),
        }))),
    }
}

/// A word of three.
pub fn think(_: &Entry, value: &str) -> Result<Command, String> {
    if value.is_empty() {
        return Ok(Command::Think(None));
    }
    let found = Think::NAMES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(value));
    match found {
        Some((_, think)) => Ok(Command::Think(Some(*think))),
        None => Err(format!(
            "/think {} will not do: it takes show, hide or off",
            short(value)
        )),
    }
}

/// A text to set: as it stands, or in quotes, where `\n`, `\t`, `\"` and `\\` are what they are in C; `off` is none.
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
