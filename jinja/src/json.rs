//! Values as JSON, as Python's `json.dumps` writes it.

use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::fmt::Write;

use crate::{
    error::Error,
    limits::Budget,
    print,
    text::{Source, Text},
    value::{ListKind, Value},
};

/// How to write JSON.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Characters other than ASCII's are escaped.
    pub is_ascii: bool,
    /// Indentation of a level, if each item has a line.
    pub indent: Option<Arc<Text>>,
    /// Separator between items.
    pub comma: Arc<Text>,
    /// Separator between a key and its value.
    pub colon: Arc<Text>,
    /// Keys are sorted.
    pub is_sorted: bool,
}

impl Layout {
    /// Writes a value at a level.
    pub fn write(
        &self,
        value: &Value,
        level: usize,
        out: &mut Text,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        budget.work(1)?;
        match value {
            Value::Text(text) => self.write_string(text, out, budget),
            Value::List(list) if matches!(list.kind, ListKind::List | ListKind::Tuple) => {
                if list.items.is_empty() {
                    return out.push_str("[]", Source::TEMPLATE, budget);
                }
                out.push_str("[", Source::TEMPLATE, budget)?;
                for (i, item) in list.items.iter().enumerate() {
                    self.begin_item(i, level, out, budget)?;
                    self.write(item, level + 1, out, budget)?;
                }
                self.begin_line(level, out, budget)?;
                out.push_str("]", Source::TEMPLATE, budget)
            }
            Value::Map(map) => {
                if map.entries.is_empty() {
                    return out.push_str("{}", Source::TEMPLATE, budget);
                }
                let mut entries: Vec<_> = map.entries.iter().collect();
                if self.is_sorted {
                    budget.work(entries.len().saturating_mul(16))?;
                    let is_text = |(key, _): &&(Value, Value)| matches!(key, Value::Text(_));
                    if !entries.iter().all(is_text) {
                        return Err(Error::evaluation(
                            "only keys that are strings can be sorted",
                        ));
                    }
                    entries.sort_by(|(a, _), (b, _)| match (a, b) {
                        (Value::Text(a), Value::Text(b)) => a.as_str().cmp(b.as_str()),
                        _ => core::cmp::Ordering::Equal,
                    });
                }
                out.push_str("{", Source::TEMPLATE, budget)?;
                for (i, (key, value)) in entries.into_iter().enumerate() {
                    self.begin_item(i, level, out, budget)?;
                    self.write_key(key, out, budget)?;
                    out.push(&self.colon, budget)?;
                    self.write(value, level + 1, out, budget)?;
                }
                self.begin_line(level, out, budget)?;
                out.push_str("}", Source::TEMPLATE, budget)
            }
            _ => match scalar(value) {
                Some(word) => out.push_str(&word, Source::TEMPLATE, budget),
                None => {
                    let name = value.type_name();
                    let message = format!("Object of type {name} is not JSON serializable");
                    Err(Error::evaluation(message))
                }
            },
        }
    }

    fn write_key(&self, key: &Value, out: &mut Text, budget: &mut Budget) -> Result<(), Error> {
        match (key, scalar(key)) {
            (Value::Text(key), _) => self.write_string(key, out, budget),
            (_, Some(word)) => out.push_str(&format!("\"{word}\""), Source::TEMPLATE, budget),
            _ => Err(Error::evaluation(format!(
                "a {} is no key of JSON",
                key.type_name()
            ))),
        }
    }

    /// Begins the item with a number.
    fn begin_item(
        &self,
        number: usize,
        level: usize,
        out: &mut Text,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        if number > 0 {
            out.push(&self.comma, budget)?;
        }
        self.begin_line(level + 1, out, budget)
    }

    fn begin_line(&self, level: usize, out: &mut Text, budget: &mut Budget) -> Result<(), Error> {
        if let Some(indent) = &self.indent {
            out.push_str("\n", Source::TEMPLATE, budget)?;
            out.push_times(indent, level, budget)?;
        }
        Ok(())
    }

    fn write_string(&self, text: &Text, out: &mut Text, budget: &mut Budget) -> Result<(), Error> {
        budget.work(text.as_str().len())?;
        out.push_str("\"", Source::TEMPLATE, budget)?;
        for (source, run) in text.runs() {
            let mut plain = 0;
            for (at, c) in run.char_indices() {
                let is_escaped = matches!(c, '"' | '\\' | '\0'..='\x1f');
                if !is_escaped && (!self.is_ascii || (' '..='~').contains(&c)) {
                    continue;
                }
                out.push_str(&run[plain..at], source, budget)?;
                out.push_str(&escape(c), source, budget)?;
                plain = at + c.len_utf8();
            }
            out.push_str(&run[plain..], source, budget)?;
        }
        out.push_str("\"", Source::TEMPLATE, budget)
    }
}

/// A character as an escape.
fn escape(c: char) -> String {
    let name = match c {
        '"' | '\\' => c,
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\x08' => 'b',
        '\x0c' => 'f',
        _ => {
            let mut escape = String::new();
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(escape, "\\u{unit:04x}");
            }
            return escape;
        }
    };
    String::from_iter(['\\', name])
}

/// JSON of a value that has no quotation marks, if it is one.
fn scalar(value: &Value) -> Option<String> {
    Some(match value {
        Value::None => "null".into(),
        Value::Bool(value) => format!("{value}"),
        Value::Int(number) => format!("{number}"),
        Value::Float(number) if number.is_nan() => "NaN".into(),
        Value::Float(number) if *number == f64::INFINITY => "Infinity".into(),
        Value::Float(number) if *number == f64::NEG_INFINITY => "-Infinity".into(),
        Value::Float(number) => print::float(*number),
        _ => return None,
    })
}
