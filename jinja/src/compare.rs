//! Equality, order and containment, as Python has them.

use alloc::{format, vec::Vec};
use core::cmp::Ordering;

use crate::{
    error::Error,
    limits::Budget,
    program::Comparison,
    value::{Internal, Object, Value},
};

/// The result of a comparison.
pub(crate) fn compare(
    comparison: Comparison,
    left: &Value,
    right: &Value,
    budget: &mut Budget,
) -> Result<bool, Error> {
    let mut ordered = |symbol, wanted: fn(Ordering) -> bool| {
        let order = order(left, right, symbol, budget)?;
        Ok(order.is_some_and(wanted))
    };
    match comparison {
        Comparison::Equal => equal(left, right, budget),
        Comparison::NotEqual => Ok(!equal(left, right, budget)?),
        Comparison::Less => ordered("<", Ordering::is_lt),
        Comparison::LessOrEqual => ordered("<=", Ordering::is_le),
        Comparison::Greater => ordered(">", Ordering::is_gt),
        Comparison::GreaterOrEqual => ordered(">=", Ordering::is_ge),
        Comparison::In => contains(right, left, budget),
        Comparison::NotIn => Ok(!contains(right, left, budget)?),
    }
}

/// `left == right`
pub(crate) fn equal(left: &Value, right: &Value, budget: &mut Budget) -> Result<bool, Error> {
    budget.work(1)?;
    match (left, right) {
        (Value::Text(a), Value::Text(b)) => {
            let (a, b) = (a.as_str(), b.as_str());
            budget.scan(if a.len() == b.len() { a.len() } else { 0 })?;
            Ok(a == b)
        }
        (Value::List(a), Value::List(b)) => {
            if a.kind != b.kind || a.items.len() != b.items.len() {
                return Ok(false);
            }
            for (a, b) in a.items.iter().zip(&b.items) {
                if !equal(a, b, budget)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Map(a), Value::Map(b)) => {
            if a.entries.len() != b.entries.len() {
                return Ok(false);
            }
            for (key, value) in &a.entries {
                key.charge_search(b.entries.len(), budget)?;
                match b.find(key) {
                    Some(other) if equal(value, other, budget)? => (),
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Value::Internal(Internal(a)), Value::Internal(Internal(b))) => Ok(match (a, b) {
            (Object::Absent(_), Object::Absent(_)) => true,
            (Object::Namespace(a), Object::Namespace(b)) => a == b,
            (Object::Function(a), Object::Function(b)) => a == b,
            _ => false,
        }),
        _ => Ok(left.is_undefined() && right.is_undefined() || left.is_key(right)),
    }
}

/// Which of two values is less; `None` for what is not a number. `symbol` is for the sentence that
/// says that they have no order.
fn order(
    left: &Value,
    right: &Value,
    symbol: &str,
    budget: &mut Budget,
) -> Result<Option<Ordering>, Error> {
    budget.work(1)?;
    if let (Value::Text(a), Value::Text(b)) = (left, right) {
        budget.scan(a.as_str().len().min(b.as_str().len()))?;
        return Ok(Some(a.as_str().cmp(b.as_str())));
    }
    if let (Value::List(a), Value::List(b)) = (left, right)
        && a.kind == b.kind
    {
        for (a, b) in a.items.iter().zip(&b.items) {
            if !equal(a, b, budget)? {
                return order(a, b, symbol, budget);
            }
        }
        return Ok(Some(a.items.len().cmp(&b.items.len())));
    }
    if let (Some(a), Some(b)) = (left.as_int(), right.as_int()) {
        return Ok(Some(a.cmp(&b)));
    }
    if let (Some(a), Some(b)) = (left.as_float(), right.as_float()) {
        return Ok(a.partial_cmp(&b));
    }
    left.refuse_undefined()?;
    right.refuse_undefined()?;
    let (left, right) = (left.type_name(), right.type_name());
    let message = format!("'{symbol}' not supported between '{left}' and '{right}'");
    Err(Error::evaluation(message))
}

/// `item in container`
pub(crate) fn contains(
    container: &Value,
    item: &Value,
    budget: &mut Budget,
) -> Result<bool, Error> {
    match (container, item) {
        (Value::Text(text), Value::Text(part)) => {
            budget.scan(text.as_str().len())?;
            Ok(text.as_str().contains(part.as_str()))
        }
        (Value::Text(_), _) => {
            let name = item.type_name();
            Err(Error::evaluation(format!("a {name} cannot be in a str")))
        }
        (Value::List(list), _) => {
            for known in &list.items {
                if equal(known, item, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        (Value::Map(map), _) => {
            item.charge_search(map.entries.len(), budget)?;
            Ok(map.find(item).is_some())
        }
        _ if container.is_undefined() => Ok(false),
        _ => Err(Error::evaluation(format!(
            "nothing is in a {}",
            container.type_name()
        ))),
    }
}

/// Sorts pairs of a key and a value by their keys; equal ones keep their order. A merge sort of our
/// own, because Python's order of values is not always one, and comparing may fail.
pub(crate) fn sort(
    mut pairs: Vec<(Value, Value)>,
    is_descending: bool,
    budget: &mut Budget,
) -> Result<Vec<(Value, Value)>, Error> {
    let mut width = 1;
    while width < pairs.len() {
        budget.values(2 * pairs.len())?;
        let mut merged = Vec::with_capacity(pairs.len());
        for run in pairs.chunks(2 * width) {
            let (mut left, mut right) = run.split_at(width.min(run.len()));
            while let (Some((a, _)), Some((b, _))) = (left.first(), right.first()) {
                let (a, b) = if is_descending { (a, b) } else { (b, a) };
                let is_right = order(a, b, "<", budget)?.is_some_and(Ordering::is_lt);
                let from = if is_right { &mut right } else { &mut left };
                merged.push(from[0].clone());
                *from = &from[1..];
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        pairs = merged;
        width *= 2;
    }
    Ok(pairs)
}
