//! Filters: `value | name(arguments)`.

use alloc::{format, sync::Arc, vec::Vec};

use crate::{
    access::{self, iterate},
    arguments::Arguments,
    compare,
    context::Context,
    error::Error,
    format::percent,
    json::Layout,
    limits::{Budget, OVERHEAD},
    methods, operators, predicates,
    print::text_of,
    program::Binary,
    text::{Source, Text, is_space},
    value::{List, ListKind, Value},
};

/// A filter: what it does with a value.
type Filter = fn(Value, &mut Arguments, &mut Context) -> Result<Value, Error>;

/// All filters. Those that Jinja2 has beside them are for HTML, or depend on chance.
static FILTERS: [(&str, Filter); 38] = [
    ("abs", abs),
    ("capitalize", |value, _, context| {
        cased(&value, "capitalize", context)
    }),
    ("count", length),
    ("d", default),
    ("default", default),
    ("dictsort", dictsort),
    ("e", escape),
    ("escape", escape),
    ("first", first),
    ("float", float),
    ("format", format_),
    ("indent", indent),
    ("int", int),
    ("items", items),
    ("join", join),
    ("last", last),
    ("length", length),
    ("list", list),
    ("lower", |value, _, context| cased(&value, "lower", context)),
    ("map", map),
    ("max", extreme::<true>),
    ("min", extreme::<false>),
    ("reject", chosen::<false, false>),
    ("rejectattr", chosen::<false, true>),
    ("replace", replace),
    ("reverse", reverse),
    ("round", round),
    ("safe", safe),
    ("select", chosen::<true, false>),
    ("selectattr", chosen::<true, true>),
    ("sort", sort),
    ("string", string),
    ("sum", sum),
    ("title", title),
    ("tojson", tojson),
    ("trim", trim),
    ("unique", unique),
    ("upper", |value, _, context| cased(&value, "upper", context)),
];

/// Finds a filter's place by its name.
pub(crate) fn find(name: &str) -> Option<usize> {
    FILTERS.iter().position(|(known, _)| *known == name)
}

/// Calls the filter at a place.
pub(crate) fn call(
    filter: usize,
    value: Value,
    mut arguments: Arguments,
    context: &mut Context,
) -> Result<Value, Error> {
    let (_, function) = FILTERS[filter];
    let result = function(value, &mut arguments, context)?;
    arguments.end()?;
    Ok(result)
}

// Strings:

fn string(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    Ok(Value::Text(text_of(&value, &mut context.budget)?))
}

fn cased(value: &Value, name: &str, context: &mut Context) -> Result<Value, Error> {
    let text = text_of(value, &mut context.budget)?;
    Ok(methods::cased(&text, name, &mut context.budget)?.into())
}

/// Capitals after spaces, hyphens and opening brackets: not what the method does.
fn title(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let budget = &mut context.budget;
    let text = text_of(&value, budget)?;
    let mut out = Text::default();
    let mut start = 0;
    let whole = text.as_str();
    while start < whole.len() {
        let rest = &whole[start..];
        let is_between = |c: char| is_space(c) || "-({[<".contains(c);
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let word = rest.find(is_between).unwrap_or(rest.len()).max(first);
        let part = text.part(start..start + word, budget)?;
        out.push(&methods::cased(&part, "capitalize", budget)?, budget)?;
        start += word;
    }
    Ok(out.into())
}

fn trim(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let text = text_of(&value, &mut context.budget)?;
    let characters = arguments.text("chars")?;
    let budget = &mut context.budget;
    let range = methods::stripped(&text, characters.as_deref(), "strip", budget)?;
    Ok(text.part(range, budget)?.into())
}

fn replace(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let budget = &mut context.budget;
    let text = text_of(&value, budget)?;
    let old = text_of(&arguments.required("old")?, budget)?;
    let new = text_of(&arguments.required("new")?, budget)?;
    let count = match arguments.take("count") {
        None | Some(Value::None) => -1,
        Some(count) => count.as_int().unwrap_or(-1),
    };
    Ok(methods::replaced(&text, &old, &new, count, budget)?.into())
}

fn indent(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    value.refuse_undefined()?;
    let Value::Text(text) = &value else {
        let message = format!("a {} cannot be indented", value.type_name());
        return Err(Error::evaluation(message));
    };
    let budget = &mut context.budget;
    let space = match arguments.take("width") {
        Some(Value::Text(width)) => width,
        width => {
            let width = width.map_or(Some(4), |width| width.as_int()).unwrap_or(0);
            spaces(width, budget)?
        }
    };
    let (is_first_too, is_blank_too) = (arguments.flag("first"), arguments.flag("blank"));
    let mut out = Text::default();
    let whole = text.as_str();
    let mut lines = methods::lines(whole, false, budget)?;
    // A line feed is added before it is taken apart.
    if lines.is_empty() || whole.ends_with(['\n', '\r']) {
        lines.push(whole.len()..whole.len());
    }
    for (i, line) in lines.into_iter().enumerate() {
        if i > 0 {
            out.push_str("\n", Source::TEMPLATE, budget)?;
        }
        let is_indented = match i {
            0 => is_first_too,
            _ => is_blank_too || !line.is_empty(),
        };
        if is_indented {
            out.push(&space, budget)?;
        }
        out.push_part(text, line, budget)?;
    }
    Ok(out.into())
}

/// So many spaces, or none if that is less.
fn spaces(width: i64, budget: &mut Budget) -> Result<Arc<Text>, Error> {
    let mut spaces = Text::default();
    let width = usize::try_from(width).unwrap_or(0);
    spaces.push_char(' ', Source::TEMPLATE, width, budget)?;
    Ok(Arc::new(spaces))
}

fn format_(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let budget = &mut context.budget;
    let layout = text_of(&value, budget)?;
    let items: Vec<Value> = core::mem::take(&mut arguments.positional).collect();
    let named = core::mem::take(&mut arguments.keywords);
    let values = match named.is_empty() {
        true => Value::sequence(items, ListKind::Tuple, budget)?,
        false => {
            let named = named
                .into_iter()
                .map(|(name, value)| (Value::Text(name), value));
            Value::dictionary(named, budget)?
        }
    };
    Ok(percent(&layout, &values, budget)?.into())
}

fn escape(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let text = text_of(&value, &mut context.budget)?;
    match text.is_markup {
        true => Ok(value),
        false => Ok(operators::escape(&text, &mut context.budget)?.into()),
    }
}

fn safe(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let text = text_of(&value, &mut context.budget)?;
    let mut text = text.part(0..text.as_str().len(), &mut context.budget)?;
    text.is_markup = true;
    Ok(text.into())
}

fn tojson(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let budget = &mut context.budget;
    let is_ascii = arguments.flag("ensure_ascii");
    let indent = match arguments.take("indent") {
        None | Some(Value::None) => None,
        Some(Value::Text(indent)) => Some(indent),
        Some(width) => Some(spaces(width.as_int().unwrap_or(0), budget)?),
    };
    let own = |text| Arc::new(Text::new(text, Source::TEMPLATE));
    let mut comma = own(if indent.is_some() { "," } else { ", " });
    let mut colon = own(": ");
    match arguments.take("separators") {
        None | Some(Value::None) => (),
        Some(Value::List(list)) if list.items.len() == 2 => {
            comma = text_of(&list.items[0], budget)?;
            colon = text_of(&list.items[1], budget)?;
        }
        Some(_) => return Err(Error::evaluation("separators must be two strings")),
    }
    let layout = Layout {
        is_ascii,
        indent,
        comma,
        colon,
        is_sorted: arguments.flag("sort_keys"),
    };
    let mut out = Text::default();
    budget.bytes(OVERHEAD)?;
    layout.write(&value, 0, &mut out, budget)?;
    Ok(out.into())
}

// Numbers:

fn abs(value: Value, _: &mut Arguments, _: &mut Context) -> Result<Value, Error> {
    let is_negative = value.as_float().is_some_and(|number| number < 0.0);
    operators::signed(&value, is_negative)
}

fn int(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    value.refuse_undefined()?;
    let default = arguments.take("default").unwrap_or(Value::Int(0));
    let base = u32::try_from(arguments.int("base", 10)?).unwrap_or(10);
    let whole = |number: f64| (number.abs() < 9.2e18).then_some(number as i64);
    let number = match &value {
        Value::Text(text) => {
            context.budget.scan(text.as_str().len())?;
            let text = text.as_str().trim_matches(is_space).replace('_', "");
            let digits = match base {
                16 => text.trim_start_matches("0x").trim_start_matches("0X"),
                8 => text.trim_start_matches("0o"),
                2 => text.trim_start_matches("0b"),
                _ => &text,
            };
            let number = (2..=36)
                .contains(&base)
                .then(|| i64::from_str_radix(digits, base));
            let number = number.and_then(Result::ok);
            number.or_else(|| text.parse::<f64>().ok().and_then(whole))
        }
        Value::Float(number) => whole(*number),
        value => value.as_int(),
    };
    Ok(number.map_or(default, Value::Int))
}

fn float(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    value.refuse_undefined()?;
    let default = arguments.take("default").unwrap_or(Value::Float(0.0));
    let number = match &value {
        Value::Text(text) => {
            context.budget.scan(text.as_str().len())?;
            text.as_str()
                .trim_matches(is_space)
                .replace('_', "")
                .parse()
                .ok()
        }
        value => value.as_float(),
    };
    Ok(number.map_or(default, Value::Float))
}

fn round(value: Value, arguments: &mut Arguments, _: &mut Context) -> Result<Value, Error> {
    value.refuse_undefined()?;
    let precision = arguments.int("precision", 0)?;
    let method = arguments.text("method")?;
    let Ok(precision @ 0..=15) = usize::try_from(precision) else {
        return Err(Error::evaluation("numbers are rounded to 0 to 15 digits"));
    };
    let Some(number) = value.as_float() else {
        let message = format!("a {} cannot be rounded", value.type_name());
        return Err(Error::evaluation(message));
    };
    let scale = (0..precision).fold(1.0, |scale, _| scale * 10.0);
    Ok(
        match method.as_ref().map_or("common", |method| method.as_str()) {
            "common" if value.as_int().is_some() => value,
            "common" => {
                let text = format!("{number:.precision$}");
                Value::Float(text.parse().unwrap_or(number))
            }
            "floor" => Value::Float(operators::floor(number * scale) / scale),
            "ceil" => Value::Float(-operators::floor(-number * scale) / scale),
            _ => return Err(Error::evaluation("method must be common, ceil or floor")),
        },
    )
}

// Lists:

/// A value of a key that may be a path: `"function.name"`.
fn by_path(value: &Value, path: &Value, context: &mut Context) -> Result<Value, Error> {
    let Value::Text(text) = path else {
        return access::item(value, path, context);
    };
    let mut value = value.clone();
    for part in text.as_str().split('.') {
        context.budget.work(1)?;
        let key = match part.parse::<i64>() {
            Ok(number) if part.starts_with(|c: char| c.is_ascii_digit()) => Value::Int(number),
            _ => part.into(),
        };
        value = access::item(&value, &key, context)?;
    }
    Ok(value)
}

/// Key that values are sorted by: themselves or an attribute; without regard to case, if asked for.
fn sort_key(
    value: &Value,
    attribute: &Option<Value>,
    is_exact: bool,
    context: &mut Context,
) -> Result<Value, Error> {
    let key = match attribute {
        None | Some(Value::None) => value.clone(),
        Some(attribute) => by_path(value, attribute, context)?,
    };
    match &key {
        Value::Text(_) if !is_exact => cased(&key, "lower", context),
        _ => Ok(key),
    }
}

/// Each of the items with what it is sorted by.
fn keyed(
    value: &Value,
    attribute: &Option<Value>,
    is_exact: bool,
    context: &mut Context,
) -> Result<Vec<(Value, Value)>, Error> {
    let list = iterate(value, &mut context.budget)?;
    context.budget.values(2 * list.items.len())?;
    let mut pairs = Vec::new();
    for item in &list.items {
        context.budget.work(1)?;
        pairs.push((sort_key(item, attribute, is_exact, context)?, item.clone()));
    }
    Ok(pairs)
}

fn sequence(items: Vec<Value>, context: &mut Context) -> Result<Value, Error> {
    Value::sequence(items, ListKind::List, &mut context.budget)
}

fn generator(items: Vec<Value>, context: &mut Context) -> Result<Value, Error> {
    Value::sequence(items, ListKind::Generator, &mut context.budget)
}

fn default(value: Value, arguments: &mut Arguments, _: &mut Context) -> Result<Value, Error> {
    let default = arguments.take("default_value").unwrap_or("".into());
    let is_false_too = arguments.flag("boolean");
    let is_kept = !value.is_undefined() && (!is_false_too || value.is_true());
    Ok(if is_kept { value } else { default })
}

fn length(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    Ok(Value::Int(
        access::length(&value, &mut context.budget)? as i64
    ))
}

fn list(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let list = iterate(&value, &mut context.budget)?;
    context.budget.work(list.items.len())?;
    sequence(list.items.clone(), context)
}

fn first(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let list = iterate(&value, &mut context.budget)?;
    let nothing = || Value::absent("No first item, sequence was empty.");
    Ok(list.items.first().cloned().unwrap_or_else(nothing))
}

fn last(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    if let Value::List(list) = &value
        && list.kind == ListKind::Generator
    {
        return Err(Error::evaluation("'generator' object is not reversible"));
    }
    let list = iterate(&value, &mut context.budget)?;
    let nothing = || Value::absent("No last item, sequence was empty.");
    Ok(list.items.last().cloned().unwrap_or_else(nothing))
}

fn reverse(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    if let Value::Text(_) = &value {
        let step = Value::Int(-1);
        let parts = [&Value::None, &Value::None, &step];
        return access::slice(&value, parts, &mut context.budget);
    }
    let list = iterate(&value, &mut context.budget)?;
    context.budget.work(list.items.len())?;
    generator(list.items.iter().rev().cloned().collect(), context)
}

fn join(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let separator = arguments.take("d").unwrap_or("".into());
    let separator = text_of(&separator, &mut context.budget)?;
    let list = match arguments.take("attribute") {
        None | Some(Value::None) => iterate(&value, &mut context.budget)?,
        Some(path) => mapped(&value, &path, None, context)?,
    };
    Ok(methods::joined(&separator, &list.items, &mut context.budget)?.into())
}

/// Attributes of items.
fn mapped(
    value: &Value,
    path: &Value,
    default: Option<Value>,
    context: &mut Context,
) -> Result<Arc<List>, Error> {
    let list = iterate(value, &mut context.budget)?;
    let mut items = Vec::new();
    for item in &list.items {
        let found = by_path(item, path, context)?;
        items.push(match &default {
            Some(default) if found.is_undefined() => default.clone(),
            _ => found,
        });
    }
    let items = generator(items, context)?;
    iterate(&items, &mut context.budget)
}

fn map(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let value = if value.is_true() {
        value
    } else {
        Value::Undefined
    };
    let list = iterate(&value, &mut context.budget)?;
    if arguments.positional.as_slice().is_empty()
        && let Some(path) = arguments.take_keyword("attribute")
    {
        let default = arguments.take_keyword("default");
        return Ok(Value::List(mapped(&value, &path, default, context)?));
    }
    let filter = match arguments.positional.next() {
        Some(Value::Text(name)) => find(name.as_str())
            .ok_or_else(|| Error::evaluation(format!("No filter named '{}'.", name.as_str())))?,
        _ => return Err(Error::evaluation("map requires a filter argument")),
    };
    context.filter_depth += 1;
    if context.filter_depth > 8 {
        return Err(Error::limit("filters call filters more than 8 deep"));
    }
    let mut items = Vec::new();
    let rest = take_all(arguments);
    for item in &list.items {
        context.budget.work(1 + rest.0.len())?;
        context.budget.values(rest.0.len())?;
        items.push(call(filter, item.clone(), copied(&rest), context)?);
    }
    context.filter_depth -= 1;
    generator(items, context)
}

/// Arguments for several calls.
type Repeated = (Vec<Value>, Vec<(Arc<Text>, Value)>);

fn take_all(arguments: &mut Arguments) -> Repeated {
    let positional = core::mem::take(&mut arguments.positional);
    (
        positional.collect(),
        core::mem::take(&mut arguments.keywords),
    )
}

fn copied((positional, keywords): &Repeated) -> Arguments {
    Arguments {
        positional: positional.clone().into_iter(),
        keywords: keywords.clone(),
    }
}

/// The items that pass a test or fail it: they themselves, or an attribute of theirs.
fn chosen<const IS_WANTED: bool, const HAS_ATTRIBUTE: bool>(
    value: Value,
    arguments: &mut Arguments,
    context: &mut Context,
) -> Result<Value, Error> {
    // Of what is false, such as none, there are no items.
    let value = if value.is_true() {
        value
    } else {
        Value::Undefined
    };
    let list = iterate(&value, &mut context.budget)?;
    let path = match HAS_ATTRIBUTE {
        true => Some(arguments.required("attribute")?),
        false => None,
    };
    let test = match arguments.positional.next() {
        None => None,
        Some(Value::Text(name)) => Some(
            predicates::find(name.as_str())
                .ok_or_else(|| Error::evaluation(format!("No test named '{}'.", name.as_str())))?,
        ),
        Some(_) => return Err(Error::evaluation("a test's name must be a string")),
    };
    let rest = take_all(arguments);
    let mut items = Vec::new();
    for item in &list.items {
        context.budget.work(1 + rest.0.len())?;
        context.budget.values(rest.0.len())?;
        let subject = match &path {
            Some(path) => by_path(item, path, context)?,
            None => item.clone(),
        };
        let is_true = match test {
            Some(test) => predicates::call(test, &subject, copied(&rest), context)?,
            None => subject.is_true(),
        };
        if is_true == IS_WANTED {
            items.push(item.clone());
        }
    }
    generator(items, context)
}

fn sort(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let is_descending = arguments.flag("reverse");
    let is_exact = arguments.flag("case_sensitive");
    let attribute = arguments.take("attribute");
    let pairs = keyed(&value, &attribute, is_exact, context)?;
    let pairs = compare::sort(pairs, is_descending, &mut context.budget)?;
    sequence(pairs.into_iter().map(|(_, item)| item).collect(), context)
}

fn dictsort(
    value: Value,
    arguments: &mut Arguments,
    context: &mut Context,
) -> Result<Value, Error> {
    let is_exact = arguments.flag("case_sensitive");
    let by = arguments.text("by")?;
    let is_descending = arguments.flag("reverse");
    let index = match by.as_ref().map_or("key", |by| by.as_str()) {
        "key" => 0,
        "value" => 1,
        _ => {
            let message = "You can only sort by either \"key\" or \"value\"";
            return Err(Error::evaluation(message));
        }
    };
    value.refuse_undefined()?;
    let Value::Map(map) = &value else {
        let message = format!("a {} has no keys to sort by", value.type_name());
        return Err(Error::evaluation(message));
    };
    let items = methods::pairs(map, &mut context.budget)?;
    let items = sequence(items, context)?;
    let pairs = keyed(&items, &Some(Value::Int(index)), is_exact, context)?;
    let pairs = compare::sort(pairs, is_descending, &mut context.budget)?;
    sequence(pairs.into_iter().map(|(_, item)| item).collect(), context)
}

fn unique(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let is_exact = arguments.flag("case_sensitive");
    let attribute = arguments.take("attribute");
    let mut kept: Vec<(Value, Value)> = Vec::new();
    for (key, item) in keyed(&value, &attribute, is_exact, context)? {
        let mut is_known = false;
        for (known, _) in &kept {
            is_known |= compare::equal(known, &key, &mut context.budget)?;
        }
        if !is_known {
            kept.push((key, item));
        }
    }
    generator(kept.into_iter().map(|(_, item)| item).collect(), context)
}

/// The greatest item or the least.
fn extreme<const IS_GREATEST: bool>(
    value: Value,
    arguments: &mut Arguments,
    context: &mut Context,
) -> Result<Value, Error> {
    let is_exact = arguments.flag("case_sensitive");
    let attribute = arguments.take("attribute");
    let pairs = keyed(&value, &attribute, is_exact, context)?;
    let pairs = compare::sort(pairs, IS_GREATEST, &mut context.budget)?;
    let first = pairs.into_iter().next().map(|(_, item)| item);
    Ok(first.unwrap_or_else(|| Value::absent("No aggregated item, sequence was empty.")))
}

fn sum(value: Value, arguments: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let list = match arguments.take("attribute") {
        None | Some(Value::None) => iterate(&value, &mut context.budget)?,
        Some(path) => mapped(&value, &path, None, context)?,
    };
    let mut total = arguments.take("start").unwrap_or(Value::Int(0));
    for item in &list.items {
        context.budget.work(1)?;
        if matches!(total, Value::Text(_)) {
            return Err(Error::evaluation("strings are not summed, but joined"));
        }
        total = operators::binary(Binary::Add, &total, item, &mut context.budget)?;
    }
    Ok(total)
}

fn items(value: Value, _: &mut Arguments, context: &mut Context) -> Result<Value, Error> {
    let items = match &value {
        Value::Map(map) => methods::pairs(map, &mut context.budget)?,
        _ if value.is_undefined() => Vec::new(),
        _ => return Err(Error::evaluation("Can only get item pairs from a mapping.")),
    };
    generator(items, context)
}
