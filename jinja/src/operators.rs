//! Arithmetic, as Python has it: on numbers, and on strings and lists where it joins or repeats
//! them.

use alloc::format;

use crate::{
    error::Error,
    format::percent,
    limits::Budget,
    print::write_str,
    program::Binary,
    text::Text,
    value::{ListKind, Value},
};

/// `-value`, or `+value`.
pub(crate) fn signed(value: &Value, is_negative: bool) -> Result<Value, Error> {
    value.refuse_undefined()?;
    if let Some(number) = value.as_int() {
        let signed = if is_negative {
            number.checked_neg()
        } else {
            Some(number)
        };
        return signed.map(Value::Int).ok_or_else(overflow);
    }
    match value {
        Value::Float(number) => Ok(Value::Float(if is_negative { -number } else { *number })),
        _ => Err(Error::evaluation(format!(
            "a {} has no sign",
            value.type_name()
        ))),
    }
}

fn overflow() -> Error {
    Error::evaluation("a number is too large: integers have 64 bits here")
}

fn division_by_zero() -> Error {
    Error::evaluation("division by zero")
}

/// An operator between two values.
pub(crate) fn binary(
    operator: Binary,
    left: &Value,
    right: &Value,
    budget: &mut Budget,
) -> Result<Value, Error> {
    match (operator, left, right) {
        (Binary::Add, Value::Text(a), Value::Text(b)) => return join(a, b, budget),
        (Binary::Add, Value::List(a), Value::List(b))
            if a.kind == b.kind && matches!(a.kind, ListKind::List | ListKind::Tuple) =>
        {
            budget.work(a.items.len() + b.items.len())?;
            let items = a.items.iter().chain(&b.items).cloned();
            return Value::sequence(items.collect(), a.kind, budget);
        }
        (Binary::Modulo, Value::Text(layout), _) => {
            return Ok(percent(layout, right, budget)?.into());
        }
        (Binary::Multiply, value, count) | (Binary::Multiply, count, value)
            if matches!(value, Value::Text(_) | Value::List(_))
                && let Some(count) = count.as_int() =>
        {
            return repeat(value, usize::try_from(count).unwrap_or(0), budget);
        }
        _ => (),
    }
    if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
        return integers(operator, a, b);
    }
    if let (Some(a), Some(b)) = (left.as_float(), right.as_float()) {
        return floats(operator, a, b).map(Value::Float);
    }
    left.refuse_undefined()?;
    right.refuse_undefined()?;
    let symbol = match operator {
        Binary::Add => "+",
        Binary::Subtract => "-",
        Binary::Multiply => "*",
        Binary::Divide => "/",
        Binary::FloorDivide => "//",
        Binary::Modulo => "%",
        Binary::Power => "**",
    };
    let (left, right) = (left.type_name(), right.type_name());
    let message = format!("unsupported operand types for {symbol}: '{left}' and '{right}'");
    Err(Error::evaluation(message))
}

/// Two strings, one behind the other. If one is markup, the other is escaped.
fn join(left: &Text, right: &Text, budget: &mut Budget) -> Result<Value, Error> {
    let mut out = Text::default();
    let is_markup = left.is_markup || right.is_markup;
    budget.bytes(crate::limits::OVERHEAD)?;
    for text in [left, right] {
        match is_markup && !text.is_markup {
            true => out.push(&escape(text, budget)?, budget)?,
            false => out.push(text, budget)?,
        }
    }
    out.is_markup = is_markup;
    Ok(out.into())
}

/// Escapes what is special in HTML.
pub(crate) fn escape(text: &Text, budget: &mut Budget) -> Result<Text, Error> {
    let mut out = Text::default();
    budget.work(text.as_str().len())?;
    for (source, c) in text.chars() {
        let mut buffer = [0; 4];
        let escaped = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            '\'' => "&#39;",
            '"' => "&#34;",
            c => c.encode_utf8(&mut buffer),
        };
        out.push_str(escaped, source, budget)?;
    }
    out.is_markup = true;
    Ok(out)
}

fn repeat(value: &Value, count: usize, budget: &mut Budget) -> Result<Value, Error> {
    match value {
        Value::Text(text) => {
            let mut out = Text::default();
            out.push_times(text, count, budget)?;
            Ok(out.into())
        }
        Value::List(list) => {
            let total = list.items.len().saturating_mul(count);
            budget.work(total)?;
            budget.values(total)?;
            let items = core::iter::repeat_n(&list.items, count).flatten().cloned();
            Value::sequence(items.collect(), list.kind, budget)
        }
        _ => Ok(Value::None),
    }
}

fn integers(operator: Binary, a: i64, b: i64) -> Result<Value, Error> {
    let number = match operator {
        Binary::Add => a.checked_add(b),
        Binary::Subtract => a.checked_sub(b),
        Binary::Multiply => a.checked_mul(b),
        Binary::Divide if b != 0 => return Ok(Value::Float(a as f64 / b as f64)),
        Binary::Divide | Binary::FloorDivide | Binary::Modulo if b == 0 => {
            return Err(division_by_zero());
        }
        // Rounded down, not towards zero.
        Binary::FloorDivide => a.checked_div(b).map(|quotient| {
            let is_lower = a % b != 0 && (a < 0) != (b < 0);
            quotient - i64::from(is_lower)
        }),
        // The remainder has the divisor's sign.
        Binary::Modulo => a.checked_rem(b).map(|rest| {
            let is_other_sign = rest != 0 && (rest < 0) != (b < 0);
            if is_other_sign { rest + b } else { rest }
        }),
        Binary::Power if b < 0 => return floats(operator, a as f64, b as f64).map(Value::Float),
        Binary::Divide => None,
        Binary::Power => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
    };
    number.map(Value::Int).ok_or_else(overflow)
}

fn floats(operator: Binary, a: f64, b: f64) -> Result<f64, Error> {
    Ok(match operator {
        Binary::Add => a + b,
        Binary::Subtract => a - b,
        Binary::Multiply => a * b,
        Binary::Divide | Binary::FloorDivide | Binary::Modulo if b == 0.0 => {
            return Err(division_by_zero());
        }
        Binary::Divide => a / b,
        Binary::FloorDivide => floor((a - modulo(a, b)) / b + 0.5),
        Binary::Modulo => modulo(a, b),
        Binary::Power => power(a, b)?,
    })
}

/// The remainder that has the divisor's sign.
fn modulo(a: f64, b: f64) -> f64 {
    let rest = a % b;
    if rest != 0.0 && (rest < 0.0) != (b < 0.0) {
        rest + b
    } else {
        rest
    }
}

/// The largest whole number that is not greater.
pub(crate) fn floor(number: f64) -> f64 {
    // Numbers as large as this have no fractions.
    if !(-4e15..4e15).contains(&number) {
        return number;
    }
    let whole = number as i64 as f64;
    if whole > number { whole - 1.0 } else { whole }
}

/// A power with a whole exponent: others have not been needed.
fn power(base: f64, exponent: f64) -> Result<f64, Error> {
    if floor(exponent) != exponent || !(-1100.0..1100.0).contains(&exponent) {
        let message = "the exponent of a power must be a whole number, at most 1100";
        return Err(Error::evaluation(message));
    }
    if base == 0.0 && exponent < 0.0 {
        return Err(division_by_zero());
    }
    let count = exponent as i64;
    let product = (0..count.unsigned_abs()).fold(1.0, |product, _| product * base);
    Ok(if count < 0 { 1.0 / product } else { product })
}

/// Strings of values, one behind the other.
pub(crate) fn concatenate(values: &[Value], budget: &mut Budget) -> Result<Value, Error> {
    let mut out = Text::default();
    budget.bytes(crate::limits::OVERHEAD)?;
    for value in values {
        write_str(value, &mut out, budget)?;
    }
    Ok(out.into())
}
