//! Tests: `value is name(argument)`.

use alloc::sync::Arc;

use crate::{
    arguments::Arguments,
    compare::compare,
    context::Context,
    error::Error,
    operators,
    program::{Binary, Comparison},
    value::{Internal, ListKind, Object, Value},
};

/// A test of a value.
type Test = fn(&Value, &mut Arguments, &mut Context) -> Result<bool, Error>;

static TESTS: [(&str, Test); 21] = [
    ("boolean", |value, _, _| Ok(matches!(value, Value::Bool(_)))),
    ("callable", |value, _, _| Ok(is_callable(value))),
    ("defined", |value, _, _| Ok(!value.is_undefined())),
    ("divisibleby", divisible),
    ("escaped", |value, _, _| {
        Ok(matches!(value, Value::Text(text) if text.is_markup))
    }),
    ("even", |value, _, context| {
        Ok(remainder(value, &Value::Int(2), context)? == Some(0.0))
    }),
    ("false", |value, _, _| {
        Ok(matches!(value, Value::Bool(false)))
    }),
    ("float", |value, _, _| Ok(matches!(value, Value::Float(_)))),
    ("integer", |value, _, _| Ok(matches!(value, Value::Int(_)))),
    ("iterable", |value, _, _| {
        Ok(is_sequence(value) || matches!(value, Value::List(_)))
    }),
    ("lower", |value, _, _| {
        Ok(has_case(value, char::is_lowercase, char::is_uppercase))
    }),
    ("mapping", |value, _, _| Ok(matches!(value, Value::Map(_)))),
    ("none", |value, _, _| Ok(matches!(value, Value::None))),
    ("number", |value, _, _| Ok(value.as_float().is_some())),
    ("odd", |value, _, context| {
        Ok(remainder(value, &Value::Int(2), context)? == Some(1.0))
    }),
    ("sameas", same),
    ("sequence", |value, _, _| Ok(is_sequence(value))),
    ("string", |value, _, _| Ok(matches!(value, Value::Text(_)))),
    ("true", |value, _, _| Ok(matches!(value, Value::Bool(true)))),
    ("undefined", |value, _, _| Ok(value.is_undefined())),
    ("upper", |value, _, _| {
        Ok(has_case(value, char::is_uppercase, char::is_lowercase))
    }),
];

/// Tests that compare with their argument.
static COMPARISONS: [(&str, Comparison); 16] = [
    ("in", Comparison::In),
    ("eq", Comparison::Equal),
    ("==", Comparison::Equal),
    ("equalto", Comparison::Equal),
    ("ne", Comparison::NotEqual),
    ("!=", Comparison::NotEqual),
    ("lt", Comparison::Less),
    ("<", Comparison::Less),
    ("lessthan", Comparison::Less),
    ("le", Comparison::LessOrEqual),
    ("<=", Comparison::LessOrEqual),
    ("gt", Comparison::Greater),
    (">", Comparison::Greater),
    ("greaterthan", Comparison::Greater),
    ("ge", Comparison::GreaterOrEqual),
    (">=", Comparison::GreaterOrEqual),
];

/// Finds a test's number by its name.
pub(crate) fn find(name: &str) -> Option<usize> {
    let test = TESTS.iter().position(|(known, _)| *known == name);
    test.or_else(|| {
        let comparison = COMPARISONS.iter().position(|(known, _)| *known == name);
        Some(TESTS.len() + comparison?)
    })
}

/// Calls the test with a number.
pub(crate) fn call(
    test: usize,
    value: &Value,
    mut arguments: Arguments,
    context: &mut Context,
) -> Result<bool, Error> {
    let result = match TESTS.get(test) {
        Some((_, test)) => test(value, &mut arguments, context)?,
        None => {
            let (_, comparison) = COMPARISONS[test - TESTS.len()];
            let other = arguments.required("other")?;
            compare(comparison, value, &other, &mut context.budget)?
        }
    };
    arguments.end()?;
    Ok(result)
}

fn remainder(value: &Value, divisor: &Value, context: &mut Context) -> Result<Option<f64>, Error> {
    let rest = operators::binary(Binary::Modulo, value, divisor, &mut context.budget)?;
    Ok(rest.as_float())
}

fn divisible(
    value: &Value,
    arguments: &mut Arguments,
    context: &mut Context,
) -> Result<bool, Error> {
    let divisor = arguments.required("num")?;
    Ok(remainder(value, &divisor, context)? == Some(0.0))
}

/// Python's `is`.
fn same(value: &Value, arguments: &mut Arguments, _: &mut Context) -> Result<bool, Error> {
    let other = arguments.required("other")?;
    Ok(match (value, &other) {
        (Value::List(a), Value::List(b)) => Arc::ptr_eq(a, b),
        (Value::Map(a), Value::Map(b)) => Arc::ptr_eq(a, b),
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Bool(_), _) | (_, Value::Bool(_)) => false,
        (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => false,
        (a, b) => a.is_key(b),
    })
}

/// Something with a length and items.
fn is_sequence(value: &Value) -> bool {
    match value {
        Value::Text(_) | Value::Map(_) => true,
        Value::List(list) => !matches!(list.kind, ListKind::View(_) | ListKind::Generator),
        value => value.is_undefined(),
    }
}

fn is_callable(value: &Value) -> bool {
    match value {
        Value::Internal(Internal(object)) => matches!(
            object,
            Object::Function(_) | Object::Macro(_) | Object::Method(_)
        ),
        _ => false,
    }
}

fn has_case(value: &Value, wanted: fn(char) -> bool, other: fn(char) -> bool) -> bool {
    match value {
        Value::Text(text) => text.as_str().contains(wanted) && !text.as_str().contains(other),
        _ => false,
    }
}
