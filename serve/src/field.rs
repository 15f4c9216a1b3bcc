//! Fields of requests: of the right type, or a sentence. As in llama-server, `null` stands for a
//! field that is not there.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde_json::Value;

use crate::error::ApiError;

/// Most bytes of memory that a body may take besides those of its texts. In firmware a lack of
/// memory ends everything.
const MOST_MEMORY: usize = 32 << 20;

/// Bytes of memory that JSON takes at most when it is parsed, besides those of its texts: of values
/// in arrays that grow by doubling, of tables of objects, of allocations.
fn memory(json: &[u8]) -> usize {
    let (mut bytes, mut is_text, mut is_escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => {
                is_text = !is_text;
                bytes += 16;
            }
            _ if is_text => (),
            b'{' => bytes += 640,
            b'[' => bytes += 320,
            b':' => bytes += 240,
            b',' => bytes += 144,
            _ => (),
        }
    }
    bytes
}

/// Parses a request's body, which must be an object; an empty one is an empty object.
pub(crate) fn object(body: &[u8]) -> Result<Value, ApiError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if memory(body) > MOST_MEMORY {
        let sentence = format!(
            "the body has too many values: as JSON it would take more than {} MiB of memory",
            MOST_MEMORY >> 20
        );
        return Err(ApiError::invalid(sentence));
    }
    match serde_json::from_slice(body) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(ApiError::invalid("the body must be a JSON object")),
        Err(error) => Err(ApiError::invalid(format!("the body is no JSON: {error}"))),
    }
}

/// The field, if it is there.
pub(crate) fn get<'a>(body: &'a Value, name: &str) -> Option<&'a Value> {
    body.get(name).filter(|value| !value.is_null())
}

/// Takes a field out of a body: null if it is not there.
pub(crate) fn take(body: &mut Value, name: &str) -> Value {
    body.get_mut(name).map_or(Value::Null, Value::take)
}

/// An object of these fields, which `json!` would copy.
pub(crate) fn object_of<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let fields = fields.into_iter();
    Value::Object(
        fields
            .map(|(name, value)| (name.to_string(), value))
            .collect(),
    )
}

fn wrong<T>(name: &str, what: &str, value: &Value) -> Result<T, ApiError> {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "another number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    Err(ApiError::invalid(format!(
        "\"{name}\" must be {what}, not {found}"
    )))
}

/// A truth value.
pub(crate) fn truth(body: &Value, name: &str) -> Result<Option<bool>, ApiError> {
    match get(body, name) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(value) => wrong(name, "true or false", value),
    }
}

/// A number.
pub(crate) fn number(body: &Value, name: &str) -> Result<Option<f64>, ApiError> {
    match get(body, name) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => wrong(name, "a number", value),
        },
    }
}

/// A whole number; one written with a point counts.
pub(crate) fn whole(body: &Value, name: &str) -> Result<Option<i64>, ApiError> {
    let Some(value) = get(body, name) else {
        return Ok(None);
    };
    let float = value
        .as_f64()
        .filter(|float| *float as i64 as f64 == *float);
    match value.as_i64().or(float.map(|float| float as i64)) {
        Some(whole) => Ok(Some(whole)),
        None => wrong(name, "a whole number", value),
    }
}

/// A string.
pub(crate) fn text<'a>(body: &'a Value, name: &str) -> Result<Option<&'a str>, ApiError> {
    match get(body, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(value) => wrong(name, "a string", value),
    }
}

/// A string, or an array of strings.
pub(crate) fn texts(body: &Value, name: &str) -> Result<Vec<String>, ApiError> {
    match get(body, name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(alloc::vec![text.clone()]),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Ok(text.clone()),
                other => wrong(name, "a string or an array of strings", other),
            })
            .collect(),
        Some(value) => wrong(name, "a string or an array of strings", value),
    }
}

/// An array; nothing where it is not there.
pub(crate) fn array<'a>(body: &'a Value, name: &str) -> Result<Option<&'a Vec<Value>>, ApiError> {
    match get(body, name) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(value) => wrong(name, "an array", value),
    }
}

/// Tokens of a vocabulary of `vocab_size`.
pub(crate) fn token(value: &Value, vocab_size: usize) -> Result<u32, ApiError> {
    let token = value.as_u64().filter(|&token| token < vocab_size as u64);
    token.map(|token| token as u32).ok_or_else(|| {
        ApiError::invalid(format!(
            "{} is no token: there are tokens 0 to {}",
            short(&value.to_string()),
            vocab_size.saturating_sub(1)
        ))
    })
}

/// The beginning of a long text.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_of_many_values_are_refused_before_they_are_parsed() {
        let body = |one: &str, count: usize| {
            let items = alloc::vec![one; count].join(",");
            object(format!("{{\"x\":[{items}]}}").as_bytes())
        };
        for (one, count) in [(r#"{"":0}"#, 149_000), ("[0]", 100_000), ("1", 300_000)] {
            let error = body(one, count).unwrap_err();
            assert!(error.message.contains("32 MiB"), "{one}: {error:?}");
        }
        for (one, count) in [("1", 200_000), (r#"{"role":"user","content":"a"}"#, 15_000)] {
            assert!(body(one, count).is_ok(), "{one}");
        }
        // Texts are not looked into, and end where they end.
        let text = format!(r#""{}\\\"""#, "{[,:".repeat(100_000));
        assert!(body(&text, 1).is_ok());
        assert_eq!(memory(br#""\"{""#), 32);
        assert_eq!(memory(br#"["\\",{}]"#), 320 + 32 + 144 + 640);
    }
}
