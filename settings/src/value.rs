//! Values of parameters: parsed, checked and formatted in one way for all sources.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::{Addressing, Domain, Spec, mac};

/// Largest number of stop strings; more is a mistake.
const MOST_TEXTS: usize = 64;
/// Largest number of biases.
pub const MOST_BIASES: usize = 1024;

/// Value of a parameter, of the type given by its [`Domain`].
#[derive(Debug, Clone, PartialEq)]
pub enum ParamValue {
    /// Value of [`Domain::Truth`].
    Truth(bool),
    /// Value of [`Domain::Whole`], or the bits of [`Domain::Seed`].
    Whole(i64),
    /// Value of [`Domain::Number`].
    Number(f32),
    /// Value of [`Domain::Word`].
    Word(&'static str),
    /// Value of [`Domain::Text`], [`Domain::Date`], [`Domain::Address`], [`Domain::Mac`] or
    /// [`Domain::Sha256`].
    Text(String),
    /// Value of [`Domain::Texts`].
    Texts(Vec<String>),
    /// Value of [`Domain::Biases`]: token and bias.
    Biases(Vec<(u32, f32)>),
}

/// Value in a data format: TOML, JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Written {
    /// A boolean.
    Truth(bool),
    /// An integer. (Not an i128: converting one to a float gives garbage on UEFI targets, where the
    /// compiler and its library pass it in different ways.)
    Whole(i64),
    /// A larger integer.
    Large(u64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// Anything else.
    Other,
}

/// Year, month and day of a [`Domain::Date`], if there is such a day.
pub fn date(text: &str) -> Option<(u16, u8, u8)> {
    let mut parts = text.split('-');
    let mut part = |length: usize| {
        let digits = parts.next().filter(|part| part.len() == length)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|_| is_number)
    };
    let (year, month, day) = (part(4)?, part(2)? as u8, part(2)? as u8);
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u8::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let is_day = (1..=12).contains(&month) && (1..=days).contains(&day);
    (is_day && year > 0 && parts.next().is_none()).then_some((year, month, day))
}

/// Parses the 64 hexadecimal digits of a SHA-256.
pub fn sha256(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.chars().map(|digit| digit.to_digit(16));
    let mut bytes = [0; 32];
    for byte in &mut bytes {
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    digits.next().is_none().then_some(bytes)
}

impl Spec {
    /// Converts a value from a file.
    ///
    /// # Errors
    /// A description of the allowed values.
    pub fn read(&self, written: Written) -> Result<ParamValue, String> {
        let is_text = matches!(written, Written::Text(_));
        let found = match (self.domain, written) {
            (Domain::Text, Written::Text(text)) => Some(ParamValue::Text(text)),
            (Domain::Date, Written::Text(text)) => {
                date(&text).is_some().then_some(ParamValue::Text(text))
            }
            (Domain::Address, Written::Text(text)) => Addressing::parse(&text)
                .is_some()
                .then_some(ParamValue::Text(text)),
            (Domain::Mac, Written::Text(text)) => {
                mac(&text).is_some().then_some(ParamValue::Text(text))
            }
            (Domain::Sha256, Written::Text(text)) => {
                sha256(&text).is_some().then_some(ParamValue::Text(text))
            }
            (Domain::Truth, Written::Truth(truth)) => Some(ParamValue::Truth(truth)),
            (Domain::Word(words), Written::Truth(truth)) => {
                let wanted = if truth { "on" } else { "off" };
                let word = words.iter().find(|word| **word == wanted);
                word.map(|word| ParamValue::Word(word))
            }
            (Domain::Word(words), Written::Text(text)) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(&text))
                .map(|word| ParamValue::Word(word)),
            (Domain::Number { .. }, Written::Number(number)) => self.number(number as f32),
            (Domain::Number { .. }, Written::Whole(number)) => self.number(number as f32),
            (Domain::Number { .. }, Written::Large(number)) => self.number(number as f32),
            (Domain::Whole { least, .. }, Written::Whole(number)) => {
                (number >= least).then_some(ParamValue::Whole(number))
            }
            (Domain::Seed, Written::Whole(number)) => Some(ParamValue::Whole(number)),
            (Domain::Seed, Written::Large(number)) => Some(ParamValue::Whole(number as i64)),
            (Domain::Texts, Written::Text(text)) => texts(Vec::from([text])),
            (Domain::Texts, Written::Texts(list)) => texts(list),
            (Domain::Biases, Written::Text(text)) => biases(&[text])?,
            (Domain::Biases, Written::Texts(list)) => biases(&list)?,
            _ => None,
        };
        found.ok_or_else(|| match self.domain {
            Domain::Text | Domain::Word(_) if !is_text => "a text in quotes".into(),
            _ => self.allowed(),
        })
    }

    /// Parses a value from a command line. Values that run.c corrects may be out of range.
    ///
    /// # Errors
    /// A description of the allowed values.
    pub fn parse_flag(&self, word: &str) -> Result<ParamValue, String> {
        match self.domain {
            Domain::Number { adjusted: true, .. } => word
                .parse()
                .map(ParamValue::Number)
                .map_err(|_| "a number".into()),
            Domain::Whole { adjusted: true, .. } => word
                .parse()
                .map(ParamValue::Whole)
                .map_err(|_| "a whole number".into()),
            _ => self.parse(word),
        }
    }

    /// Parses a value that was typed.
    ///
    /// # Errors
    /// A description of the allowed values.
    pub fn parse(&self, word: &str) -> Result<ParamValue, String> {
        let written = match self.domain {
            Domain::Number { .. } => word.parse().map(Written::Number).ok(),
            Domain::Whole { .. } => word.parse().map(Written::Whole).ok(),
            Domain::Seed => {
                let whole = word.parse().map(Written::Whole);
                whole.or(word.parse().map(Written::Large)).ok()
            }
            Domain::Texts if word.is_empty() => return Err("a text".into()),
            Domain::Truth => word.parse().map(Written::Truth).ok(),
            _ => Some(Written::Text(word.into())),
        };
        self.read(written.unwrap_or(Written::Other))
            .map_err(|allowed| match self.domain {
                Domain::Biases => BIAS.into(),
                Domain::Date => "a day that there is, such as 2024-07-26".into(),
                _ => allowed,
            })
    }

    fn number(&self, number: f32) -> Option<ParamValue> {
        let Domain::Number {
            least, most, whole, ..
        } = self.domain
        else {
            return None;
        };
        // Up to 2²⁴ every integer is a float; counts must not be larger.
        let is_right = !whole || number as u32 as f32 == number;
        (is_right && (least..=most).contains(&number)).then_some(ParamValue::Number(number))
    }

    /// Checks a number of a sampler.
    ///
    /// # Errors
    /// A description of the allowed values.
    pub fn check(&self, number: f32) -> Result<(), &'static str> {
        match (self.number(number), self.domain) {
            (None, Domain::Number { allowed, .. }) => Err(allowed),
            _ => Ok(()),
        }
    }

    /// Description of the allowed values.
    pub fn allowed(&self) -> String {
        match self.domain {
            Domain::Text => "a text".into(),
            Domain::Texts => format!("a text in quotes, or up to {MOST_TEXTS} of them in [ ]"),
            Domain::Biases => format!("a text in quotes, or up to {MOST_BIASES} of them in [ ]"),
            Domain::Truth => "true or false".into(),
            Domain::Date => "a day in quotes, such as \"2024-07-26\"".into(),
            Domain::Address => {
                "\"dhcp\", or the machine's address with the length of its network's \
                prefix, such as \"192.168.1.5/24\" or \"192.168.1.5/24 via 192.168.1.1\""
                    .into()
            }
            Domain::Sha256 => "64 hexadecimal digits in quotes, as sha256sum prints them".into(),
            Domain::Mac => "a card's address in quotes, such as \"52:54:00:12:34:56\"".into(),
            Domain::Word(words) => {
                let all: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
                all.join(" or ")
            }
            Domain::Number { allowed, .. } => allowed.into(),
            Domain::Whole { least, .. } => format!("a whole number, {least} or more"),
            Domain::Seed => format!("a whole number from 0 to {}", u64::MAX),
        }
    }

    /// Converts a value for a file: [`Spec::read`] accepts it, and returns the same value.
    pub fn write(&self, value: &ParamValue) -> Written {
        match value {
            ParamValue::Truth(truth) => Written::Truth(*truth),
            // In 64 bits with a sign, as TOML has them, a seed wraps around, as run.c's does.
            ParamValue::Whole(number) => Written::Whole(*number),
            ParamValue::Number(number)
                if matches!(self.domain, Domain::Number { whole: true, .. }) =>
            {
                Written::Whole(*number as i64)
            }
            // Through the shortest decimal: 0.9 shall not become 0.8999999761581421.
            ParamValue::Number(number) => {
                let number = number.to_string().parse().unwrap_or(f64::from(*number));
                Written::Number(number)
            }
            ParamValue::Word(word) => Written::Text((*word).into()),
            ParamValue::Text(text) => Written::Text(text.clone()),
            ParamValue::Texts(texts) => Written::Texts(texts.clone()),
            ParamValue::Biases(biases) => {
                let biases = biases.iter();
                Written::Texts(
                    biases
                        .map(|(token, bias)| format!("{token}={bias}"))
                        .collect(),
                )
            }
        }
    }
}

impl ParamValue {
    /// Adds the texts or biases of another value of the same parameter, or removes all if its list
    /// is empty; a value that is not a list is replaced.
    ///
    /// # Errors
    /// The largest length of the list.
    pub fn add(&mut self, other: ParamValue) -> Result<(), usize> {
        match (&mut *self, other) {
            (ParamValue::Texts(texts), ParamValue::Texts(more)) if !more.is_empty() => {
                let new: Vec<String> = more.into_iter().filter(|t| !texts.contains(t)).collect();
                if texts.len() + new.len() > MOST_TEXTS {
                    return Err(MOST_TEXTS);
                }
                texts.extend(new);
            }
            (ParamValue::Biases(biases), ParamValue::Biases(more)) if !more.is_empty() => {
                if biases.len() + more.len() > MOST_BIASES {
                    return Err(MOST_BIASES);
                }
                // A token has one bias: the last one.
                biases.retain(|(token, _)| more.iter().all(|(newer, _)| newer != token));
                biases.extend(more);
            }
            (value, other) => *value = other,
        }
        Ok(())
    }
}

/// Texts without empty ones, unless there are too many.
fn texts(mut list: Vec<String>) -> Option<ParamValue> {
    list.retain(|text| !text.is_empty());
    (list.len() <= MOST_TEXTS).then_some(ParamValue::Texts(list))
}

const BIAS: &str = "a token's number, =, and a number, such as 42=-1.5";

fn biases(list: &[String]) -> Result<Option<ParamValue>, String> {
    let pair = |text: &String| {
        let (token, bias) = text.split_once('=')?;
        let bias: f32 = bias.trim().parse().ok()?;
        Some((token.trim().parse().ok()?, bias)).filter(|_| !bias.is_nan())
    };
    let biases: Option<Vec<(u32, f32)>> = list.iter().map(pair).collect();
    let biases = biases.ok_or_else(|| format!("{BIAS}, in quotes; several of them in [ ]"))?;
    Ok((biases.len() <= MOST_BIASES).then_some(ParamValue::Biases(biases)))
}
