//! Variables for renderings: as JSON for Jinja2, and as values for us.

use llama2_jinja::{Source, Value};

/// A variable's value.
#[derive(Clone, Debug)]
pub enum Data {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// Words that somebody said, with the number of its source.
    Said(u32, String),
    List(Vec<Data>),
    Map(Vec<(String, Data)>),
}

pub fn text(text: &str) -> Data {
    Data::Text(text.into())
}

pub fn list(items: impl IntoIterator<Item = Data>) -> Data {
    Data::List(items.into_iter().collect())
}

pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Data)>) -> Data {
    let entries = entries.into_iter();
    Data::Map(entries.map(|(key, value)| (key.into(), value)).collect())
}

impl Data {
    pub fn value(&self) -> Value {
        match self {
            Data::None => Value::None,
            Data::Bool(value) => (*value).into(),
            Data::Int(value) => (*value).into(),
            Data::Float(value) => (*value).into(),
            Data::Text(text) => text[..].into(),
            Data::Said(source, text) => Value::text(text, Source(*source)),
            Data::List(items) => Value::list(items.iter().map(Data::value).collect()),
            Data::Map(entries) => {
                let entries = entries.iter();
                Value::map(
                    entries
                        .map(|(key, value)| (key.clone(), value.value()))
                        .collect(),
                )
            }
        }
    }

    pub fn json(&self) -> String {
        match self {
            Data::None => "null".into(),
            Data::Bool(value) => format!("{value}"),
            Data::Int(value) => format!("{value}"),
            Data::Float(value) => format!("{value:?}"),
            Data::Text(text) | Data::Said(_, text) => quoted(text),
            Data::List(items) => {
                let items: Vec<String> = items.iter().map(Data::json).collect();
                format!("[{}]", items.join(", "))
            }
            Data::Map(entries) => {
                let entries = entries.iter();
                let entries =
                    entries.map(|(key, value)| format!("{}: {}", quoted(key), value.json()));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A string as JSON.
pub fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\0'..='\x1f' => out += &format!("\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}
