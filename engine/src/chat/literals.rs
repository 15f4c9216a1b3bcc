//! The literal texts inside of a Jinja program: as much of the language as default system prompts
//! are written in.

use alloc::string::String;

/// The longest text that is read.
const LONGEST: usize = 1 << 15;

/// Where a search is repeated, how often: a template made to cost time must not.
const OFTEN: usize = 32;

/// What stands behind each `sign`.
pub(super) fn behind<'a>(jinja: &'a str, sign: &'a str) -> impl Iterator<Item = &'a str> {
    let found = jinja.match_indices(sign).take(OFTEN);
    found.map(move |(at, _)| &jinja[at + sign.len()..])
}

/// A string in quotation marks at the beginning, and what follows it.
pub(super) fn string(text: &str) -> Option<(String, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut out = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if at > LONGEST {
            return None;
        }
        match c {
            _ if c == quote => return Some((out, &text[at + 1..])),
            '\\' => out.push(escaped(characters.next()?.1)?),
            _ => out.push(c),
        }
    }
    None
}

/// What a character behind a backslash stands for.
fn escaped(c: char) -> Option<char> {
    match c {
        'n' => Some('\n'),
        't' => Some('\t'),
        '\\' | '\'' | '"' => Some(c),
        _ => None,
    }
}

/// Texts that are added up, to the end of their tag: `"..." + strftime_now("...") + name`. The
/// names are looked up in `jinja`.
pub(super) fn sum(jinja: &str, expression: &str) -> Option<String> {
    let mut rest = expression;
    let mut out = String::new();
    loop {
        rest = rest.trim_start();
        let part;
        if let Some(inner) = rest.strip_prefix("strftime_now(") {
            let (format, tail) = string(inner.trim_start())?;
            part = date(&format)?;
            rest = tail.trim_start().strip_prefix(')')?;
        } else if rest.starts_with(['"', '\'']) {
            (part, rest) = string(rest)?;
        } else {
            let letters = rest.bytes().take(LONGEST);
            let end = letters.take_while(|b| b.is_ascii_alphanumeric() || *b == b'_');
            let (name, tail) = rest.split_at(end.count());
            part = day(jinja, name)?;
            rest = tail;
        }
        out.push_str(&part);
        rest = rest.trim_start();
        if rest.starts_with("%}") || rest.starts_with("-%}") || rest.starts_with("}}") {
            return Some(out);
        }
        rest = rest.strip_prefix(['+', '~'])?;
    }
}

/// What `set name = strftime_now("...")` gives.
fn day(jinja: &str, name: &str) -> Option<String> {
    let sets = behind(jinja, "set ");
    let mut texts = sets.filter_map(|rest| {
        let value = rest.strip_prefix(name)?.trim_start().strip_prefix('=')?;
        let format = value.trim_start().strip_prefix("strftime_now(")?;
        date(&string(format)?.0)
    });
    texts.next().filter(|_| !name.is_empty())
}

/// The date that templates are told: a Friday, on which Llama 3's put themselves where there is no
/// clock. The same question must have the same answer on every day, and firmware's clocks are often
/// wrong.
fn date(format: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = format.chars();
    while let Some(c) = characters.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        out.push_str(match characters.next()? {
            'd' => "26",
            'm' => "07",
            'b' => "Jul",
            'B' => "July",
            'Y' => "2024",
            'A' => "Friday",
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_as_jinja_reads_them() {
        let jinja = "{%- set today = strftime_now(\"%Y-%m-%d\") %}{% set system_message = 'It\\'s \"A\",\\n' + today ~ \".\" %}";
        let found = behind(jinja, "set system_message = ").next().unwrap();
        assert_eq!(
            sum(jinja, found).as_deref(),
            Some("It's \"A\",\n2024-07-26.")
        );
        assert_eq!(
            sum("", "strftime_now( '%B %d, %Y' ) %}").as_deref(),
            Some("July 26, 2024")
        );
        for no in [
            "messages[0]['content'] %}",
            "'a' | trim %}",
            "'a' + b %}",
            "'a",
            "'\\x41' %}",
            "strftime_now('%H') %}",
            "",
            "'a' +",
        ] {
            assert_eq!(sum(no, no), None, "{no}");
        }
    }
}
