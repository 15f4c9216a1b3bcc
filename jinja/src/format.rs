//! Strings with places for values: `'%s' % value`, and `'{}'.format(value)`.

use alloc::{format, string::String, sync::Arc};

use crate::{
    access,
    arguments::Arguments,
    context::Context,
    error::Error,
    limits::Budget,
    print::{self, text_of},
    text::{Source, Text},
    value::{ListKind, Value},
};

/// How a value is laid out.
#[derive(Debug, Default)]
struct Spec {
    /// `<`, `>`, `^` or `=`.
    align: Option<char>,
    fill: Option<char>,
    /// Who said `fill`.
    source: Source,
    /// `+` or a space for numbers that are not negative.
    sign: Option<char>,
    /// Prefix such as `0x`.
    has_prefix: bool,
    /// Separator of thousands.
    separator: Option<char>,
    width: usize,
    precision: Option<usize>,
    conversion: Option<char>,
}

/// A string of which characters are read from the front, with their places.
struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Reads the character if it is one of these.
    fn accept(&mut self, characters: &str) -> Option<char> {
        self.peek().filter(|c| characters.contains(*c))?;
        self.next()
    }

    fn number(&mut self) -> Option<usize> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += length;
        rest[..length].parse().ok()
    }
}

fn refuse<T>(what: &str) -> Result<T, Error> {
    Err(Error::evaluation(format!("a format string {what}")))
}

/// `layout % values`
pub(crate) fn percent(layout: &Text, values: &Value, budget: &mut Budget) -> Result<Text, Error> {
    let mut out = Text::default();
    let mut reader = Reader {
        text: layout.as_str(),
        at: 0,
    };
    budget.scan(layout.as_str().len())?;
    let positional = match values {
        Value::List(list) if list.kind == ListKind::Tuple => &list.items[..],
        _ => core::slice::from_ref(values),
    };
    let mut used = 0;
    loop {
        let start = reader.at;
        let rest = &reader.text[start..];
        let plain = rest.find('%').unwrap_or(rest.len());
        out.push_part(layout, start..start + plain, budget)?;
        reader.at += plain;
        if reader.next().is_none() {
            break;
        }
        let mut named = None;
        if reader.accept("(").is_some() {
            let rest = &reader.text[reader.at..];
            let Some(end) = rest.find(')') else {
                return refuse("has a name without its end");
            };
            reader.at += end + 1;
            let Value::Map(map) = values else {
                return refuse("has names, but its values are not in a map");
            };
            budget.work(map.entries.len())?;
            let Some(value) = map.get(&rest[..end]) else {
                return refuse(&format!(
                    "has the name '{}', for which there is no value",
                    &rest[..end]
                ));
            };
            named = Some(value);
        }
        let mut spec = Spec::default();
        while let Some(flag) = reader.accept("-+ 0#") {
            match flag {
                '-' => spec.align = Some('<'),
                '0' => spec.fill = Some('0'),
                '#' => spec.has_prefix = true,
                sign => spec.sign = Some(sign),
            }
        }
        spec.width = reader.number().unwrap_or(0);
        if reader.accept(".").is_some() {
            spec.precision = Some(reader.number().unwrap_or(0));
        }
        let Some(conversion) = reader.next() else {
            return refuse("ends within a conversion");
        };
        if conversion == '%' {
            out.push_part(layout, reader.at - 1..reader.at, budget)?;
            continue;
        }
        let value = match named {
            Some(value) => value,
            None => {
                used += 1;
                match positional.get(used - 1) {
                    Some(value) => value,
                    None => return refuse("has more places than there are values"),
                }
            }
        };
        if "sra".contains(conversion) {
            spec.fill = None;
            spec.align = spec.align.or(Some('>'));
            let text = converted(value, conversion, budget)?;
            spec.write_text(&text, &mut out, budget)?;
        } else {
            spec.conversion = Some(if "iu".contains(conversion) {
                'd'
            } else {
                conversion
            });
            if spec.fill == Some('0') && spec.align.is_none() {
                spec.align = Some('=');
            } else {
                spec.fill = None;
            }
            let truncated = match value {
                Value::Float(number) if spec.conversion == Some('d') => Value::Int(*number as i64),
                _ => value.clone(),
            };
            spec.write_number(&truncated, &mut out, budget)?;
        }
    }
    if used < positional.len() && !matches!(values, Value::Map(_)) {
        return refuse("has fewer places than there are values");
    }
    Ok(out)
}

/// `layout.format(arguments)`
pub(crate) fn braces(
    layout: &Text,
    arguments: Arguments,
    context: &mut Context,
) -> Result<Text, Error> {
    let mut out = Text::default();
    let mut reader = Reader {
        text: layout.as_str(),
        at: 0,
    };
    context.budget.scan(layout.as_str().len())?;
    let mut automatic = 0;
    loop {
        let start = reader.at;
        let rest = &reader.text[start..];
        let plain = rest.find(['{', '}']).unwrap_or(rest.len());
        out.push_part(layout, start..start + plain, &mut context.budget)?;
        reader.at += plain;
        let Some(brace) = reader.next() else {
            return Ok(out);
        };
        if reader.peek() == Some(brace) {
            out.push_part(layout, reader.at..reader.at + 1, &mut context.budget)?;
            reader.next();
            continue;
        }
        let rest = &reader.text[reader.at..];
        let (true, Some(end)) = (brace == '{', rest.find('}')) else {
            return refuse("has a single brace");
        };
        reader.at += end + 1;
        let field = &rest[..end];
        let (field, spec) = field.split_once(':').unwrap_or((field, ""));
        let spec_at = reader.at - 1 - spec.len();
        let (name, conversion) = field.split_once('!').unwrap_or((field, ""));
        let value = field_value(name, &mut automatic, &arguments, context)?;
        let mut spec = Spec::parse(spec)?;
        // What fills it may be what somebody said, as the rest of the layout.
        let fill = layout.pieces(spec_at..layout.as_str().len()).next();
        spec.source = fill.map_or(Source::TEMPLATE, |(source, _)| source);
        let budget = &mut context.budget;
        if !conversion.is_empty() {
            let text = converted(&value, conversion.chars().next().unwrap_or('s'), budget)?;
            spec.write_text(&text, &mut out, budget)?;
        } else if matches!(value, Value::Int(_) | Value::Float(_)) {
            spec.write_number(&value, &mut out, budget)?;
        } else {
            let text = text_of(&value, budget)?;
            spec.write_text(&text, &mut out, budget)?;
        }
    }
}

/// The value that a field names: a number, a name or nothing, then attributes and items.
fn field_value(
    field: &str,
    automatic: &mut usize,
    arguments: &Arguments,
    context: &mut Context,
) -> Result<Value, Error> {
    let end = field.find(['.', '[']).unwrap_or(field.len());
    let (name, mut rest) = field.split_at(end);
    let found = match name.parse::<usize>() {
        Ok(number) => arguments.positional.as_slice().get(number),
        Err(_) if name.is_empty() => {
            *automatic += 1;
            arguments.positional.as_slice().get(*automatic - 1)
        }
        Err(_) => arguments.keyword(name),
    };
    let Some(found) = found else {
        return refuse(&format!(
            "has the place '{{{name}}}', for which there is no value"
        ));
    };
    let mut value = found.clone();
    while !rest.is_empty() {
        let key;
        value = if let Some(item) = rest.strip_prefix('[') {
            (key, rest) = item.split_once(']').unwrap_or((item, ""));
            let key = key.parse::<i64>().map_or(key.into(), Value::Int);
            access::item(&value, &key, context)?
        } else if let Some(attribute) = rest.strip_prefix('.') {
            let end = attribute.find(['.', '[']).unwrap_or(attribute.len());
            (key, rest) = attribute.split_at(end);
            let key = Arc::new(Text::new(key, Source::TEMPLATE));
            access::attribute(&value, &key, context)?
        } else {
            return refuse("has something other than '.' or '[' behind a ']'");
        };
    }
    Ok(value)
}

/// A value as a string: `str` or `repr`.
fn converted(value: &Value, conversion: char, budget: &mut Budget) -> Result<Arc<Text>, Error> {
    if conversion == 's' {
        return text_of(value, budget);
    }
    let mut out = Text::default();
    print::write_repr(value, &mut out, budget)?;
    Ok(Arc::new(out))
}

impl Spec {
    /// Parses what stands behind the colon.
    fn parse(text: &str) -> Result<Spec, Error> {
        let mut reader = Reader { text, at: 0 };
        let mut spec = Spec::default();
        if text.chars().nth(1).is_some_and(|c| "<>^=".contains(c)) {
            spec.fill = reader.next();
        }
        spec.align = reader.accept("<>^=");
        spec.sign = reader.accept("+- ").filter(|sign| *sign != '-');
        spec.has_prefix = reader.accept("#").is_some();
        if reader.accept("0").is_some() && spec.align.is_none() {
            spec.fill = Some('0');
            spec.align = Some('=');
        }
        spec.width = reader.number().unwrap_or(0);
        spec.separator = reader.accept(",_");
        if reader.accept(".").is_some() {
            spec.precision = reader.number();
        }
        spec.conversion = reader.next();
        if reader.peek().is_some() {
            return refuse(&format!("has a specification that is not known: '{text}'"));
        }
        Ok(spec)
    }

    /// Writes a string, cut to the precision and filled to the width.
    fn write_text(&self, text: &Text, out: &mut Text, budget: &mut Budget) -> Result<(), Error> {
        if self.conversion.is_some_and(|conversion| conversion != 's') {
            return refuse("asks for a number, but the value is none");
        }
        let length = text.length(budget)?;
        let kept = self.precision.map_or(length, |most| length.min(most));
        let range = text.range_of_chars(0, kept, budget)?;
        let part = text.part(range, budget)?;
        self.pad("", &part, kept, '<', out, budget)
    }

    /// Writes a number.
    fn write_number(
        &self,
        value: &Value,
        out: &mut Text,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let precision = self.precision.unwrap_or(6);
        // No number of 64 bits has more digits than that.
        if precision > 1100 {
            return refuse("asks for more than 1100 digits");
        }
        let (is_negative, mut digits) = match (value.as_int(), value.as_float(), self.conversion) {
            (Some(number), _, None | Some('d' | 'x' | 'X' | 'o' | 'b')) => {
                let size = number.unsigned_abs();
                let (prefix, digits) = match self.conversion {
                    Some('x') => ("0x", format!("{size:x}")),
                    Some('X') => ("0X", format!("{size:X}")),
                    Some('o') => ("0o", format!("{size:o}")),
                    Some('b') => ("0b", format!("{size:b}")),
                    _ => ("", format!("{size}")),
                };
                let prefix = if self.has_prefix { prefix } else { "" };
                (number < 0, format!("{prefix}{digits}"))
            }
            (_, Some(number), Some('f' | 'F')) => (
                number.is_sign_negative(),
                format!("{:.precision$}", number.abs()),
            ),
            (_, Some(number), Some('%')) => {
                let number = number * 100.0;
                (
                    number.is_sign_negative(),
                    format!("{:.precision$}%", number.abs()),
                )
            }
            (None, Some(number), None) if self.precision.is_none() => {
                (number.is_sign_negative(), print::float(number.abs()))
            }
            _ => {
                let name = value.type_name();
                let conversion = self.conversion.unwrap_or('g');
                return refuse(&format!("asks to write a {name} as '{conversion}'"));
            }
        };
        if let Some(separator) = self.separator {
            digits = grouped(&digits, separator);
        }
        let sign = if is_negative { Some('-') } else { self.sign };
        let sign = sign.map(String::from).unwrap_or_default();
        let length = digits.len();
        let digits = Text::new(&digits, Source::TEMPLATE);
        self.pad(&sign, &digits, length, '>', out, budget)
    }

    /// Writes a sign and a text of so many characters, filled to the width.
    fn pad(
        &self,
        sign: &str,
        text: &Text,
        length: usize,
        default: char,
        out: &mut Text,
        budget: &mut Budget,
    ) -> Result<(), Error> {
        let missing = self.width.saturating_sub(length + sign.len());
        let fill = self.fill.unwrap_or(' ');
        let (before, inside, after) = match self.align.unwrap_or(default) {
            '<' => (0, 0, missing),
            '^' => (missing / 2, 0, missing - missing / 2),
            '=' => (0, missing, 0),
            _ => (missing, 0, 0),
        };
        out.push_char(fill, self.source, before, budget)?;
        out.push_str(sign, Source::TEMPLATE, budget)?;
        out.push_char(fill, self.source, inside, budget)?;
        out.push(text, budget)?;
        out.push_char(fill, self.source, after, budget)
    }
}

/// Digits with a separator between thousands.
fn grouped(digits: &str, separator: char) -> String {
    let whole = digits.find(['.', '%']).unwrap_or(digits.len());
    let mut out = String::new();
    for (at, c) in digits.char_indices() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(c);
    }
    out
}
