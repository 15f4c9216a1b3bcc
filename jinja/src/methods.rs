//! Methods of strings, maps and lists. Those that would change a value are refused, as in Jinja2's
//! immutable sandbox.

use alloc::{format, sync::Arc, vec::Vec};
use core::ops::Range;

use crate::{
    access::iterate,
    arguments::Arguments,
    compare,
    context::Context,
    error::Error,
    format::braces,
    limits::Budget,
    text::{Text, is_space},
    value::{ListKind, Map, Value},
};

/// Calls a method that exists.
pub(crate) fn call(
    value: &Value,
    name: &str,
    mut arguments: Arguments,
    context: &mut Context,
) -> Result<Value, Error> {
    let result = match value {
        Value::Text(text) if name == "format" => {
            return Ok(braces(text, arguments, context)?.into());
        }
        Value::Text(text) => text_method(text, name, &mut arguments, &mut context.budget)?,
        Value::Map(map) => map_method(map, name, &mut arguments, &mut context.budget)?,
        Value::List(list) => {
            if name == "copy" {
                value.clone()
            } else {
                let wanted = arguments.required("value")?;
                let mut places = Vec::new();
                for (place, item) in list.items.iter().enumerate() {
                    if compare::equal(item, &wanted, &mut context.budget)? {
                        places.push(place as i64);
                    }
                }
                match (name, places.first()) {
                    ("count", _) => Value::Int(places.len() as i64),
                    (_, Some(place)) => Value::Int(*place),
                    _ => return Err(Error::evaluation("the value is not in the list")),
                }
            }
        }
        _ => Value::Undefined,
    };
    arguments.end()?;
    Ok(result)
}

fn map_method(
    map: &Arc<Map>,
    name: &str,
    arguments: &mut Arguments,
    budget: &mut Budget,
) -> Result<Value, Error> {
    let entries = map.entries.iter();
    budget.work(map.entries.len())?;
    let view = |items, name, budget| Value::sequence(items, ListKind::View(name), budget);
    match name {
        "get" => {
            let key = arguments.required("key")?;
            let default = arguments.take("default").unwrap_or(Value::None);
            key.charge_search(map.entries.len(), budget)?;
            Ok(map.find(&key).cloned().unwrap_or(default))
        }
        "keys" => view(
            entries.map(|(key, _)| key.clone()).collect(),
            "dict_keys",
            budget,
        ),
        "values" => view(
            entries.map(|(_, value)| value.clone()).collect(),
            "dict_values",
            budget,
        ),
        "items" => view(pairs(map, budget)?, "dict_items", budget),
        _ => Ok(Value::Map(map.clone())),
    }
}

/// Keys and values as tuples.
pub(crate) fn pairs(map: &Map, budget: &mut Budget) -> Result<Vec<Value>, Error> {
    let pair = |(key, value): &(Value, Value)| {
        let items = [key.clone(), value.clone()].into();
        Value::sequence(items, ListKind::Tuple, budget)
    };
    map.entries.iter().map(pair).collect()
}

fn text_method(
    text: &Arc<Text>,
    name: &str,
    arguments: &mut Arguments,
    budget: &mut Budget,
) -> Result<Value, Error> {
    let whole = text.as_str();
    budget.scan(whole.len())?;
    Ok(match name {
        "strip" | "lstrip" | "rstrip" => {
            let characters = arguments.text("chars")?;
            let range = stripped(text, characters.as_deref(), name, budget)?;
            text.part(range, budget)?.into()
        }
        "upper" | "lower" | "title" | "capitalize" => cased(text, name, budget)?.into(),
        "startswith" | "endswith" => {
            let wanted = arguments.required("prefix")?;
            let wanted = match &wanted {
                Value::List(list) if list.kind == ListKind::Tuple => &list.items[..],
                _ => core::slice::from_ref(&wanted),
            };
            let mut is_any = false;
            for part in wanted {
                let Value::Text(part) = part else {
                    part.refuse_undefined()?;
                    let kind = part.type_name();
                    return Err(Error::evaluation(format!(
                        "{name} needs a str, not a {kind}"
                    )));
                };
                budget.scan(part.as_str().len())?;
                is_any = match name {
                    "startswith" => whole.starts_with(part.as_str()),
                    _ => whole.ends_with(part.as_str()),
                };
                if is_any {
                    break;
                }
            }
            is_any.into()
        }
        "removeprefix" | "removesuffix" => {
            let part = text_argument(arguments, "prefix")?;
            let range = match name {
                "removeprefix" if whole.starts_with(part.as_str()) => {
                    part.as_str().len()..whole.len()
                }
                "removesuffix" if whole.ends_with(part.as_str()) => {
                    0..whole.len() - part.as_str().len()
                }
                _ => 0..whole.len(),
            };
            text.part(range, budget)?.into()
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let part = text_argument(arguments, "sub")?;
            let part = part.as_str();
            let (mut from, mut to) = (0, whole.len());
            if let Some(start) = arguments.take("start") {
                let end = arguments.take("end").unwrap_or(Value::None);
                let range = bounds(text, &start, &end, budget)?;
                (from, to) = (range.start, range.end);
            }
            let inside = &whole[from..to];
            let at = match name {
                "count" if part.is_empty() => {
                    return Ok(Value::Int(inside.chars().count() as i64 + 1));
                }
                "count" => return Ok(Value::Int(inside.matches(part).count() as i64)),
                "find" | "index" => inside.find(part),
                _ => inside.rfind(part),
            };
            match at {
                Some(at) => Value::Int(whole[..from + at].chars().count() as i64),
                None if name.ends_with("find") => Value::Int(-1),
                None => return Err(Error::evaluation("substring not found")),
            }
        }
        "replace" => {
            let (old, new) = (
                text_argument(arguments, "old")?,
                text_argument(arguments, "new")?,
            );
            let count = arguments.int("count", -1)?;
            replaced(text, &old, &new, count, budget)?.into()
        }
        "split" | "rsplit" => {
            let separator = arguments.text("sep")?;
            let most = usize::try_from(arguments.int("maxsplit", -1)?).unwrap_or(usize::MAX);
            let ranges = match &separator {
                Some(separator) if separator.as_str().is_empty() => {
                    return Err(Error::evaluation("empty separator"));
                }
                Some(separator) => split(whole, separator.as_str(), most, name == "rsplit", budget),
                None => split_spaces(whole, most, name == "rsplit", budget),
            };
            parts(text, ranges?, ListKind::List, budget)?
        }
        "splitlines" => {
            let keeps_ends = arguments.flag("keepends");
            let lines = lines(whole, keeps_ends, budget)?;
            parts(text, lines, ListKind::List, budget)?
        }
        "partition" | "rpartition" => {
            let part = text_argument(arguments, "sep")?;
            let is_last = name == "rpartition";
            let part = part.as_str();
            let at = if is_last {
                whole.rfind(part)
            } else {
                whole.find(part)
            };
            let (first, second) = match at {
                Some(at) => (at, at + part.len()),
                None if is_last => (0, 0),
                None => (whole.len(), whole.len()),
            };
            let ranges = [0..first, first..second, second..whole.len()];
            parts(text, ranges.into(), ListKind::Tuple, budget)?
        }
        "join" => {
            let values = arguments.required("iterable")?;
            let list = iterate(&values, budget)?;
            if let Some(item) = list
                .items
                .iter()
                .find(|item| !matches!(item, Value::Text(_)))
            {
                let kind = item.type_name();
                return Err(Error::evaluation(format!(
                    "join needs items of str, not a {kind}"
                )));
            }
            joined(text, &list.items, budget)?.into()
        }
        _ => is_kind(whole, name).into(),
    })
}

/// Python's `isdigit` and its like.
fn is_kind(text: &str, name: &str) -> bool {
    let all = |is_it: fn(char) -> bool| !text.is_empty() && text.chars().all(is_it);
    let any = |is_it: fn(char) -> bool| text.chars().any(is_it);
    match name {
        "isascii" => text.is_ascii(),
        "isdigit" | "isdecimal" | "isnumeric" => all(char::is_numeric),
        "isalpha" => all(char::is_alphabetic),
        "isalnum" => all(char::is_alphanumeric),
        "isspace" => all(is_space),
        "isupper" => any(char::is_uppercase) && !any(char::is_lowercase),
        _ => any(char::is_lowercase) && !any(char::is_uppercase),
    }
}

fn text_argument(arguments: &mut Arguments, name: &str) -> Result<Arc<Text>, Error> {
    let missing = || Error::evaluation(format!("the argument '{name}' must be a string"));
    arguments.text(name)?.ok_or_else(missing)
}

/// Bytes of the characters from `start` to `end`.
fn bounds(
    text: &Text,
    start: &Value,
    end: &Value,
    budget: &mut Budget,
) -> Result<Range<usize>, Error> {
    let length = text.length(budget)? as i64;
    let place = |bound: &Value, default: i64| {
        let bound = bound.as_int().unwrap_or(default);
        let bound = if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        };
        bound.clamp(0, length) as usize
    };
    let (start, end) = (place(start, 0), place(end, length));
    text.range_of_chars(start, end.max(start), budget)
}

/// Strips certain characters, or spaces, from the ends of a string.
pub(crate) fn stripped(
    text: &Text,
    characters: Option<&Text>,
    name: &str,
    budget: &mut Budget,
) -> Result<Range<usize>, Error> {
    let whole = text.as_str();
    let is_stripped = |c: char| match characters {
        Some(characters) => characters.as_str().contains(c),
        None => is_space(c),
    };
    let characters = characters.map_or(0, |characters| characters.as_str().len());
    budget.work((1 + whole.len() / 16).saturating_mul(1 + characters))?;
    let rest = match name {
        "rstrip" => whole,
        _ => whole.trim_start_matches(is_stripped),
    };
    let start = whole.len() - rest.len();
    let rest = match name {
        "lstrip" => rest,
        _ => rest.trim_end_matches(is_stripped),
    };
    Ok(start..start + rest.len())
}

/// A string in capital letters, small ones, or both.
pub(crate) fn cased(text: &Text, name: &str, budget: &mut Budget) -> Result<Text, Error> {
    let whole = text.as_str();
    let mut out = Text::default();
    budget.work(whole.len())?;
    budget.bytes(crate::limits::OVERHEAD)?;
    let mut is_first = true;
    let mut at = 0;
    for (source, c) in text.chars() {
        let is_upper = match name {
            "upper" => true,
            "title" | "capitalize" => is_first,
            _ => false,
        };
        is_first = name == "title" && !c.is_alphabetic();
        let mut buffer = [0; 4];
        let mut push = |c: char| out.push_str(c.encode_utf8(&mut buffer), source, budget);
        if is_upper {
            // A letter that becomes several, such as ß, is a capital only in front.
            let is_whole = name == "upper";
            for (i, c) in c.to_uppercase().enumerate() {
                match i == 0 || is_whole {
                    true => push(c)?,
                    false => c.to_lowercase().try_for_each(&mut push)?,
                }
            }
        } else if c == 'Σ' && is_final(whole, at) {
            push('ς')?;
        } else {
            c.to_lowercase().try_for_each(push)?;
        }
        at += c.len_utf8();
    }
    out.is_markup = text.is_markup;
    Ok(out)
}

/// Returns true for a sigma at a word's end.
fn is_final(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    let after = text[at..].chars().nth(1);
    before.is_some_and(char::is_alphabetic) && !after.is_some_and(char::is_alphabetic)
}

/// A string with another one instead of a part, `count` times if that is not negative.
pub(crate) fn replaced(
    text: &Text,
    old: &Text,
    new: &Text,
    count: i64,
    budget: &mut Budget,
) -> Result<Text, Error> {
    let whole = text.as_str();
    budget.bytes(crate::limits::OVERHEAD)?;
    budget.scan(whole.len())?;
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let mut out = Text::default();
    let mut done = 0;
    for (at, _) in whole.match_indices(old.as_str()).take(count) {
        budget.work(1)?;
        out.push_part(text, done..at, budget)?;
        out.push(new, budget)?;
        done = at + old.as_str().len();
    }
    out.push_part(text, done..whole.len(), budget)?;
    Ok(out)
}

/// Strings with another between them.
pub(crate) fn joined(
    separator: &Text,
    items: &[Value],
    budget: &mut Budget,
) -> Result<Text, Error> {
    let mut out = Text::default();
    budget.bytes(crate::limits::OVERHEAD)?;
    for (i, item) in items.iter().enumerate() {
        budget.work(1)?;
        if i > 0 {
            out.push(separator, budget)?;
        }
        crate::print::write_str(item, &mut out, budget)?;
    }
    Ok(out)
}

/// Parts of a string.
fn parts(
    text: &Text,
    ranges: Vec<Range<usize>>,
    kind: ListKind,
    budget: &mut Budget,
) -> Result<Value, Error> {
    budget.work(ranges.len())?;
    let part = |range| Ok(text.part(range, budget)?.into());
    let items = ranges.into_iter().map(part).collect::<Result<_, Error>>()?;
    Value::sequence(items, kind, budget)
}

/// Parts of a string: where each begins and ends.
type Ranges = Vec<Range<usize>>;

/// Ranges of the parts between separators; `most` cuts at most, from the right if `is_last`.
fn split(
    text: &str,
    separator: &str,
    most: usize,
    is_last: bool,
    budget: &mut Budget,
) -> Result<Ranges, Error> {
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, text.len());
    let mut push = |range| {
        budget.bytes(size_of::<Range<usize>>())?;
        ranges.push(range);
        Ok(())
    };
    if is_last {
        for (at, _) in text.rmatch_indices(separator).take(most) {
            push(at + separator.len()..end)?;
            end = at;
        }
    } else {
        for (at, _) in text.match_indices(separator).take(most) {
            push(start..at)?;
            start = at + separator.len();
        }
    }
    push(start..end)?;
    if is_last {
        ranges.reverse();
    }
    Ok(ranges)
}

/// Ranges of the words between spaces; `most` cuts at most, from the right if `is_last`.
fn split_spaces(
    text: &str,
    most: usize,
    is_last: bool,
    budget: &mut Budget,
) -> Result<Ranges, Error> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        match (is_space(c), start) {
            (false, None) => start = Some(at),
            (true, Some(from)) => {
                budget.bytes(size_of::<Range<usize>>())?;
                words.push(from..at);
                start = None;
            }
            _ => (),
        }
    }
    let Some(rest) = words.len().checked_sub(most.saturating_add(1)) else {
        return Ok(words);
    };
    // The rest stays together, with the spaces at its far end.
    if is_last {
        let end = words[rest].end;
        words.splice(..=rest, core::iter::once(0..end));
    } else {
        let start = words[most].start;
        words.splice(most.., core::iter::once(start..text.len()));
    }
    Ok(words)
}

/// Ranges of the lines.
pub(crate) fn lines(text: &str, keeps_ends: bool, budget: &mut Budget) -> Result<Ranges, Error> {
    let mut lines = Vec::new();
    let mut start = 0;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let is_end = matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        );
        if !is_end {
            continue;
        }
        let mut next = at + c.len_utf8();
        if c == '\r' && chars.next_if(|(_, c)| *c == '\n').is_some() {
            next += 1;
        }
        budget.bytes(size_of::<Range<usize>>())?;
        lines.push(start..if keeps_ends { next } else { at });
        start = next;
    }
    if start < text.len() {
        lines.push(start..text.len());
    }
    Ok(lines)
}
