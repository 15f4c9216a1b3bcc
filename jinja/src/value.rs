//! Values of variables.

use alloc::{string::String, sync::Arc, vec::Vec};

use crate::{
    error::Error,
    limits::{Budget, VALUE, VALUE_DEPTH},
    text::{Source, Text},
};

/// A value of a template: one of Python's, never changed once made, cheap to clone.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing: as a variable, it is as if it were not given.
    Undefined,
    /// Python's `None`.
    None,
    /// Truth value.
    Bool(bool),
    /// Integer; larger ones than these are refused, not wrapped.
    Int(i64),
    /// Floating-point number.
    Float(f64),
    /// String.
    Text(Arc<Text>),
    /// List, or whatever else has items in an order.
    List(Arc<List>),
    /// Dictionary.
    Map(Arc<Map>),
    /// Value that only templates make: namespaces, macros, methods and the like.
    Internal(Internal),
}

/// Values in an order: a list, a tuple, or something that is iterated over.
#[derive(Debug)]
pub struct List {
    pub(crate) items: Vec<Value>,
    pub(crate) kind: ListKind,
    depth: usize,
}

/// Python's type of a [`List`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ListKind {
    List,
    Tuple,
    Range,
    /// Keys, values or items of a map.
    View(&'static str),
    /// Result of a filter such as `map`: it has items, but no length.
    Generator,
}

/// Keys and values, in the order in which they were added.
#[derive(Debug)]
pub struct Map {
    pub(crate) entries: Vec<(Value, Value)>,
    depth: usize,
}

/// A value that only templates make.
#[derive(Clone, Debug)]
pub struct Internal(pub(crate) Object);

/// The kinds of [`Internal`]. Those that change are numbers of things that the machine has, so that
/// no circle of references can arise.
#[derive(Clone, Debug)]
pub(crate) enum Object {
    /// Something undefined, with the sentence for whoever uses it.
    Absent(Arc<str>),
    Namespace(u32),
    /// A loop, by its place among those that run, and its number.
    Loop(u32, u32),
    Macro(Arc<Closure>),
    Function(Function),
    /// A method of a value that was not called at once.
    Method(Arc<(Value, Arc<Text>)>),
}

/// A macro and the scope in which it was defined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closure {
    /// Its number in the program.
    pub number: usize,
    /// First step of its code.
    pub start: usize,
    /// Place of the scope among those that are open, and its number.
    pub scope: usize,
    pub scope_number: u32,
}

/// The functions that every template has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    RaiseException,
    StrftimeNow,
    Range,
    Dict,
    Namespace,
}

const _: () = assert!(size_of::<Value>() == VALUE);

impl Value {
    /// A string, every byte of which comes from `source`.
    pub fn text(text: &str, source: Source) -> Value {
        Text::new(text, source).into()
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Value {
        let kind = ListKind::List;
        let depth = depth_over(items.iter());
        Value::List(Arc::new(List { items, kind, depth }))
    }

    /// A map of keys that are the template's own words. Entries that are undefined are left out.
    pub fn map(entries: Vec<(String, Value)>) -> Value {
        let entries = entries.into_iter();
        Value::marked_map(entries.map(|(key, value)| (Value::from(&key[..]), value)))
    }

    /// A map whose keys are strings from any source. Entries that are undefined are left out.
    pub fn marked_map(entries: impl IntoIterator<Item = (Value, Value)>) -> Value {
        let entries = entries
            .into_iter()
            .filter(|(_, value)| !value.is_undefined());
        let entries: Vec<_> = entries.collect();
        let depth = depth_over(entries.iter().map(|(_, value)| value));
        Value::Map(Arc::new(Map { entries, depth }))
    }

    /// A list of some kind, within the limits.
    pub(crate) fn sequence(
        items: Vec<Value>,
        kind: ListKind,
        budget: &mut Budget,
    ) -> Result<Value, Error> {
        budget.values(items.len())?;
        let depth = checked(depth_over(items.iter()))?;
        Ok(Value::List(Arc::new(List { items, kind, depth })))
    }

    /// A map within the limits. Of equal keys, the last one's value counts.
    pub(crate) fn dictionary(
        pairs: impl IntoIterator<Item = (Value, Value)>,
        budget: &mut Budget,
    ) -> Result<Value, Error> {
        let mut entries: Vec<(Value, Value)> = Vec::new();
        for (key, value) in pairs {
            if matches!(key, Value::List(_) | Value::Map(_)) {
                let message = alloc::format!("a {} cannot be a key", key.type_name());
                return Err(Error::evaluation(message));
            }
            key.charge_search(entries.len(), budget)?;
            match entries.iter_mut().find(|(known, _)| known.is_key(&key)) {
                Some((_, old)) => *old = value,
                None => entries.push((key, value)),
            }
        }
        budget.values(2 * entries.len())?;
        let depth = checked(depth_over(entries.iter().map(|(_, value)| value)))?;
        Ok(Value::Map(Arc::new(Map { entries, depth })))
    }

    /// Something undefined, and the sentence for whoever uses it.
    pub(crate) fn absent(why: impl Into<Arc<str>>) -> Value {
        Object::Absent(why.into()).into()
    }

    /// Returns true for something that is not there.
    pub(crate) fn is_undefined(&self) -> bool {
        let is_absent = |object: &Object| matches!(object, Object::Absent(_));
        match self {
            Value::Internal(Internal(object)) => is_absent(object),
            _ => matches!(self, Value::Undefined),
        }
    }

    /// Fails with its sentence if it is undefined.
    pub(crate) fn refuse_undefined(&self) -> Result<(), Error> {
        match self {
            Value::Undefined => Err(Error::evaluation("a value is undefined")),
            Value::Internal(Internal(Object::Absent(why))) => Err(Error::evaluation(&**why)),
            _ => Ok(()),
        }
    }

    /// Levels of lists and maps in it; a method has its value in it.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Value::List(list) => list.depth,
            Value::Map(map) => map.depth,
            Value::Internal(Internal(Object::Method(method))) => 1 + method.0.depth(),
            _ => 0,
        }
    }

    /// Takes the work of comparing it with so many keys.
    pub(crate) fn charge_search(&self, keys: usize, budget: &mut Budget) -> Result<(), Error> {
        let bytes = match self {
            Value::Text(text) => text.as_str().len(),
            _ => 0,
        };
        budget.work(keys.saturating_mul(1 + bytes / 16))
    }

    /// Python's `bool(value)`.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Value::None | Value::Undefined => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.as_str().is_empty(),
            Value::List(list) => !list.items.is_empty() || list.kind == ListKind::Generator,
            Value::Map(map) => !map.entries.is_empty(),
            Value::Internal(_) => !self.is_undefined(),
        }
    }

    /// Python's name of its type.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::Map(_) => "dict",
            Value::List(list) => match list.kind {
                ListKind::List => "list",
                ListKind::Tuple => "tuple",
                ListKind::Range => "range",
                ListKind::View(name) => name,
                ListKind::Generator => "generator",
            },
            Value::Undefined => "Undefined",
            Value::Internal(Internal(object)) => match object {
                Object::Absent(_) => "Undefined",
                Object::Namespace(_) => "Namespace",
                Object::Loop(..) => "LoopContext",
                Object::Macro(_) => "Macro",
                Object::Function(_) => "function",
                Object::Method(_) => "method",
            },
        }
    }

    /// The number that it is, if it is one: truth values are 0 and 1.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Value::Bool(value) => Some(i64::from(*value)),
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number that it is, if it is one.
    pub(crate) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => self.as_int().map(|value| value as f64),
        }
    }

    /// Returns true if two keys are the same. Lists, maps, and tuples as well, cannot be keys.
    pub(crate) fn is_key(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Text(a), Value::Text(b)) => a.as_str() == b.as_str(),
            (Value::None, Value::None) => true,
            _ => match (self.as_int(), other.as_int()) {
                (Some(a), Some(b)) => a == b,
                _ => {
                    let numbers = self.as_float().zip(other.as_float());
                    numbers.is_some_and(|(a, b)| a == b)
                }
            },
        }
    }
}

impl Map {
    /// Finds the value of a key that is a string.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        let is_it = |known: &Value| matches!(known, Value::Text(known) if known.as_str() == key);
        let found = self.entries.iter().find(|(known, _)| is_it(known));
        found.map(|(_, value)| value)
    }

    /// Finds the value of a key.
    pub(crate) fn find(&self, key: &Value) -> Option<&Value> {
        let found = self.entries.iter().find(|(known, _)| known.is_key(key));
        found.map(|(_, value)| value)
    }
}

/// Levels of a list or map with these values in it.
fn depth_over<'a>(values: impl Iterator<Item = &'a Value>) -> usize {
    1 + values.map(Value::depth).max().unwrap_or(0)
}

fn checked(depth: usize) -> Result<usize, Error> {
    if depth > VALUE_DEPTH {
        let message = alloc::format!("lists and maps are nested more than {VALUE_DEPTH} deep");
        return Err(Error::limit(message));
    }
    Ok(depth)
}

impl From<bool> for Value {
    fn from(value: bool) -> Value {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Value {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Value {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::text(text, Source::TEMPLATE)
    }
}

impl From<Text> for Value {
    fn from(text: Text) -> Value {
        Value::Text(Arc::new(text))
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Value {
        Value::Internal(Internal(object))
    }
}

impl From<&Text> for Value {
    fn from(text: &Text) -> Value {
        text.clone().into()
    }
}
