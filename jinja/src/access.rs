//! Parts of values: attributes, items, slices, and what can be iterated over.

use alloc::{format, sync::Arc, vec::Vec};

use crate::{
    context::Context,
    error::Error,
    limits::{Budget, OVERHEAD},
    print,
    text::{Source, Text},
    value::{Internal, List, ListKind, Object, Value},
};

/// Methods of strings, maps and lists; those that change a value are refused.
const TEXT: [&str; 33] = [
    "capitalize",
    "count",
    "endswith",
    "find",
    "format",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "isupper",
    "join",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "title",
    "upper",
];
const MAP: [&str; 5] = ["copy", "get", "items", "keys", "values"];
const LIST: [&str; 3] = ["copy", "count", "index"];
const UNSAFE_MAP: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];
const UNSAFE_LIST: [&str; 8] = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
];

/// Returns true if a value has a method with this name.
pub(crate) fn has_method(value: &Value, name: &str) -> bool {
    match value {
        Value::Text(_) => TEXT.contains(&name),
        Value::Map(_) => MAP.contains(&name),
        Value::List(list) => match list.kind {
            ListKind::List => LIST.contains(&name),
            ListKind::Tuple | ListKind::Range => LIST[1..].contains(&name),
            _ => false,
        },
        _ => false,
    }
}

/// Returns true if a value has a method with this name that changes it.
fn is_unsafe_method(value: &Value, name: &str) -> bool {
    match value {
        Value::Map(_) => UNSAFE_MAP.contains(&name),
        Value::List(list) => list.kind == ListKind::List && UNSAFE_LIST.contains(&name),
        _ => false,
    }
}

/// Jinja2's name of a value in sentences about what it lacks.
fn description(value: &Value) -> &'static str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "bool object",
        Value::Int(_) => "int object",
        Value::Float(_) => "float object",
        Value::Text(_) => "str object",
        Value::Map(_) => "dict object",
        Value::List(list) => match list.kind {
            ListKind::List => "list object",
            ListKind::Tuple => "tuple object",
            ListKind::Range => "range object",
            ListKind::View(_) => "dict view object",
            ListKind::Generator => "generator object",
        },
        Value::Undefined => "undefined object",
        Value::Internal(Internal(object)) => match object {
            Object::Namespace(_) => "jinja2.utils.Namespace object",
            Object::Loop(..) => "jinja2.runtime.LoopContext object",
            Object::Macro(_) => "jinja2.runtime.Macro object",
            _ => "function object",
        },
    }
}

/// Undefined value in the place of a missing item.
fn missing(value: &Value, key: &Value, budget: &mut Budget) -> Result<Value, Error> {
    budget.bytes(2 * OVERHEAD)?;
    let mut name = Text::default();
    print::write_repr(key, &mut name, budget)?;
    let (owner, name) = (description(value), name.as_str());
    Ok(Value::absent(match key {
        Value::Text(_) => format!("'{owner}' has no attribute {name}"),
        _ => format!("{owner} has no element {name}"),
    }))
}

/// The method of a value with a name, or what is there instead of one that would change it.
fn method(value: &Value, name: &Arc<Text>) -> Option<Value> {
    if has_method(value, name.as_str()) {
        return Some(Object::Method(Arc::new((value.clone(), name.clone()))).into());
    }
    is_unsafe_method(value, name.as_str()).then(|| {
        let (name, owner) = (name.as_str(), value.type_name());
        Value::absent(format!(
            "access to attribute '{name}' of '{owner}' object is unsafe."
        ))
    })
}

/// `value.name`: an attribute, or else an item. Loops are the machine's.
pub(crate) fn attribute(
    value: &Value,
    name: &Arc<Text>,
    context: &mut Context,
) -> Result<Value, Error> {
    value.refuse_undefined()?;
    if let Some(method) = method(value, name) {
        context.budget.bytes(2 * OVERHEAD)?;
        return Ok(method);
    }
    let found = match value {
        Value::Map(map) => {
            context.budget.work(map.entries.len())?;
            map.get(name.as_str())
        }
        Value::Internal(Internal(Object::Namespace(namespace))) => {
            let attributes = &context.namespaces[*namespace as usize];
            context.budget.work(attributes.len())?;
            let is_it = |known: &Text| known.as_str() == name.as_str();
            let found = attributes.iter().find(|(known, _)| is_it(known));
            found.map(|(_, value)| value)
        }
        _ => None,
    };
    match found {
        Some(value) => Ok(value.clone()),
        None => missing(value, &Value::Text(name.clone()), &mut context.budget),
    }
}

/// `value[key]`: an item, or else an attribute.
pub(crate) fn item(value: &Value, key: &Value, context: &mut Context) -> Result<Value, Error> {
    value.refuse_undefined()?;
    let budget = &mut context.budget;
    match (value, key.as_int()) {
        (Value::Map(map), _) => {
            key.charge_search(map.entries.len(), budget)?;
            if let Some(found) = map.find(key) {
                return Ok(found.clone());
            }
        }
        (Value::List(list), Some(index)) => {
            let is_indexed = !matches!(list.kind, ListKind::Generator | ListKind::View(_));
            if is_indexed && let Some(index) = place(index, list.items.len()) {
                return Ok(list.items[index].clone());
            }
        }
        (Value::Text(text), Some(index)) => {
            let length = text.length(budget)?;
            if let Some(index) = place(index, length) {
                let range = text.range_of_chars(index, index + 1, budget)?;
                return Ok(text.part(range, budget)?.into());
            }
        }
        (Value::Internal(_), _) => {
            if let Value::Text(name) = key {
                return attribute(value, name, context);
            }
        }
        _ => (),
    }
    if let Value::Text(name) = key
        && let Some(method) = method(value, name)
    {
        budget.bytes(2 * OVERHEAD)?;
        return Ok(method);
    }
    missing(value, key, budget)
}

/// The place that an index means, which counts from the end if it is negative.
fn place(index: i64, length: usize) -> Option<usize> {
    let length = length as i64;
    let index = if index < 0 { index + length } else { index };
    (0..length).contains(&index).then_some(index as usize)
}

/// `value[from:to:step]`
pub(crate) fn slice(
    value: &Value,
    [from, to, step]: [&Value; 3],
    budget: &mut Budget,
) -> Result<Value, Error> {
    value.refuse_undefined()?;
    let length = match value {
        Value::Text(text) => text.length(budget)?,
        Value::List(list) if matches!(list.kind, ListKind::List | ListKind::Tuple) => {
            list.items.len()
        }
        _ => {
            let message = format!("a {} cannot be sliced", value.type_name());
            return Err(Error::evaluation(message));
        }
    };
    let bound = |bound: &Value| match (bound, bound.as_int()) {
        (Value::None, _) => Ok(None),
        (_, Some(number)) => Ok(Some(number)),
        _ => Err(Error::evaluation("the bounds of a slice must be integers")),
    };
    let (from, to, step) = (bound(from)?, bound(to)?, bound(step)?.unwrap_or(1));
    if step == 0 {
        return Err(Error::evaluation("the step of a slice must not be zero"));
    }
    let (first, count) = extent(from, to, step, length as i64);
    let places = (0..count as i64).map(|i| (first + i * step) as usize);
    budget.work(count)?;
    match value {
        Value::Text(text) if step == 1 => {
            let first = first as usize;
            let range = text.range_of_chars(first, first + count, budget)?;
            Ok(text.part(range, budget)?.into())
        }
        Value::Text(text) => {
            budget.work(length)?;
            budget.bytes(8 * length)?;
            let mut starts: Vec<usize> = text.as_str().char_indices().map(|(at, _)| at).collect();
            starts.push(text.as_str().len());
            let mut out = Text::default();
            for at in places {
                out.push_part(text, starts[at]..starts[at + 1], budget)?;
            }
            Ok(out.into())
        }
        Value::List(list) => {
            let items = places.map(|at| list.items[at].clone());
            Value::sequence(items.collect(), list.kind, budget)
        }
        _ => Ok(Value::None),
    }
}

/// The first place that a slice means, and how many there are.
fn extent(from: Option<i64>, to: Option<i64>, step: i64, length: i64) -> (i64, usize) {
    let (least, most) = if step > 0 {
        (0, length)
    } else {
        (-1, length - 1)
    };
    let clamp = |bound: i64| {
        let bound = if bound < 0 {
            bound.saturating_add(length)
        } else {
            bound
        };
        bound.clamp(least, most)
    };
    let (first, last) = if step > 0 {
        (least, most)
    } else {
        (most, least)
    };
    let first = from.map_or(first, clamp);
    let last = to.map_or(last, clamp);
    let distance = if step > 0 { last - first } else { first - last };
    let count = distance.max(0).unsigned_abs().div_ceil(step.unsigned_abs());
    (first, count as usize)
}

/// Python's `len(value)`.
pub(crate) fn length(value: &Value, budget: &mut Budget) -> Result<usize, Error> {
    match value {
        Value::Text(text) => text.length(budget),
        Value::List(list) if list.kind != ListKind::Generator => Ok(list.items.len()),
        Value::Map(map) => Ok(map.entries.len()),
        _ if value.is_undefined() => Ok(0),
        _ => Err(Error::evaluation(format!(
            "a {} has no length",
            value.type_name()
        ))),
    }
}

/// Elements of a value for a loop: items, characters, or keys.
pub(crate) fn iterate(value: &Value, budget: &mut Budget) -> Result<Arc<List>, Error> {
    let items: Vec<Value> = match value {
        Value::List(list) => return Ok(list.clone()),
        Value::Text(text) => {
            let length = text.length(budget)?;
            budget.work(length)?;
            budget.bytes(length.saturating_mul(OVERHEAD + 4))?;
            let one = |(source, c): (Source, char)| Value::text(c.encode_utf8(&mut [0; 4]), source);
            text.chars().map(one).collect()
        }
        Value::Map(map) => {
            budget.work(map.entries.len())?;
            map.entries.iter().map(|(key, _)| key.clone()).collect()
        }
        _ if value.is_undefined() => Vec::new(),
        _ => {
            let message = format!("'{}' object is not iterable", value.type_name());
            return Err(Error::evaluation(message));
        }
    };
    match Value::sequence(items, ListKind::Generator, budget)? {
        Value::List(list) => Ok(list),
        _ => Err(Error::evaluation("there is nothing to iterate over")),
    }
}
