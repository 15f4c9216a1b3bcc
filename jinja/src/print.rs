//! Values as Python writes them: `str` and `repr`.

use alloc::{format, string::String, sync::Arc};
use core::fmt::Write;

use crate::{
    error::Error,
    limits::Budget,
    text::{Source, Text},
    value::{Internal, ListKind, Object, Value},
};

/// Python's `str(value)`.
pub(crate) fn text_of(value: &Value, budget: &mut Budget) -> Result<Arc<Text>, Error> {
    if let Value::Text(text) = value {
        return Ok(text.clone());
    }
    let mut out = Text::default();
    write_str(value, &mut out, budget)?;
    Ok(Arc::new(out))
}

/// Writes `str(value)`.
pub(crate) fn write_str(value: &Value, out: &mut Text, budget: &mut Budget) -> Result<(), Error> {
    match value {
        Value::Text(text) => out.push(text, budget),
        value if value.is_undefined() => Ok(()),
        value => write_repr(value, out, budget),
    }
}

/// Writes `repr(value)`.
pub(crate) fn write_repr(value: &Value, out: &mut Text, budget: &mut Budget) -> Result<(), Error> {
    budget.work(1)?;
    let mut plain = |text: &str| out.push_str(text, Source::TEMPLATE, budget);
    match value {
        Value::None => plain("None"),
        Value::Bool(true) => plain("True"),
        Value::Bool(false) => plain("False"),
        Value::Int(number) => plain(&format!("{number}")),
        Value::Float(number) => plain(&float(*number)),
        Value::Text(text) => write_quoted(text, out, budget),
        Value::List(list) => {
            let (name, open, close) = match list.kind {
                ListKind::List => ("", "[", "]"),
                ListKind::Tuple if list.items.len() == 1 => ("", "(", ",)"),
                ListKind::Tuple => ("", "(", ")"),
                ListKind::View(name) => (name, "([", "])"),
                ListKind::Range | ListKind::Generator => return cannot_be_printed(value),
            };
            plain(name)?;
            plain(open)?;
            for (i, item) in list.items.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ", Source::TEMPLATE, budget)?;
                }
                write_repr(item, out, budget)?;
            }
            out.push_str(close, Source::TEMPLATE, budget)
        }
        Value::Map(map) => {
            plain("{")?;
            for (i, (key, value)) in map.entries.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ", Source::TEMPLATE, budget)?;
                }
                write_repr(key, out, budget)?;
                out.push_str(": ", Source::TEMPLATE, budget)?;
                write_repr(value, out, budget)?;
            }
            out.push_str("}", Source::TEMPLATE, budget)
        }
        Value::Undefined | Value::Internal(Internal(Object::Absent(_))) => plain("Undefined"),
        Value::Internal(_) => cannot_be_printed(value),
    }
}

fn cannot_be_printed(value: &Value) -> Result<(), Error> {
    let message = format!("a {} cannot be printed", value.type_name());
    Err(Error::evaluation(message))
}

/// Writes a string between quotation marks.
fn write_quoted(text: &Text, out: &mut Text, budget: &mut Budget) -> Result<(), Error> {
    budget.work(text.as_str().len())?;
    let quote = match text.as_str().contains('\'') && !text.as_str().contains('"') {
        true => '"',
        false => '\'',
    };
    let mut buffer = [0; 4];
    let quote_mark = &*quote.encode_utf8(&mut buffer);
    out.push_str(quote_mark, Source::TEMPLATE, budget)?;
    let mut escaped = String::new();
    for (source, c) in text.chars() {
        escaped.clear();
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if c == quote => escaped.extend(['\\', c]),
            c if is_printable(c) => escaped.push(c),
            c => {
                let code = u32::from(c);
                // Writing to a string cannot fail.
                let _ = match code {
                    0..=0xff => write!(escaped, "\\x{code:02x}"),
                    0x100..=0xffff => write!(escaped, "\\u{code:04x}"),
                    _ => write!(escaped, "\\U{code:08x}"),
                };
            }
        }
        out.push_str(&escaped, source, budget)?;
    }
    out.push_str(quote_mark, Source::TEMPLATE, budget)
}

/// Python's `str.isprintable` of a character. Rust, too, escapes the others, and combining
/// characters only at the beginning of a string.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let mut buffer = [b'x'; 5];
    let length = 1 + c.encode_utf8(&mut buffer[1..]).len();
    core::str::from_utf8(&buffer[..length]).is_ok_and(|text| text.escape_debug().count() == 2)
}

/// Python's `repr` of a float: the shortest digits that are this number.
pub(crate) fn float(number: f64) -> String {
    if !number.is_finite() {
        let name = if number.is_nan() { "nan" } else { "inf" };
        return format!("{}{name}", if number < 0.0 { "-" } else { "" });
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match exponent {
        -4..16 => format!("{number:?}"),
        _ => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
    }
}
