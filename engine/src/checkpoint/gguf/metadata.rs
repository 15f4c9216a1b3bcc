//! Reader of a GGUF file's metadata, from front to back; every length is checked against the file
//! before it is used.

use alloc::{
    collections::btree_map::{BTreeMap, Entry},
    format,
    string::String,
    vec::Vec,
};
use core::{
    fmt,
    ops::{ControlFlow, Range},
};

use super::{Error, MAGIC, architectures::ARCHITECTURES};
use crate::{
    checkpoint,
    source::{ByteSource, ReadError},
    units::Grouped,
};

/// Bytes before the first metadata entry.
const HEADER: u64 = 24;
/// Size of the smallest metadata entry (an empty key, a type, a byte), and of the smallest tensor
/// description.
const LEAST_ENTRY: u64 = 13;
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;
/// Longest key that the specification allows, and longest tensor name that is kept; ggml allows 63
/// bytes for names.
const LONGEST_KEY: u64 = 65_535;
pub(super) const LONGEST_NAME: u64 = 1024;
/// Longest string that is kept; longer ones are skipped.
pub(super) const LONGEST_STRING: u64 = 1 << 20;
/// Largest number of metadata entries accepted; llama.cpp's files have some dozens.
const MOST_ENTRIES: u64 = 1 << 16;
/// Largest total size of keys and strings that are kept, in bytes.
const MOST_KEPT: u64 = 16 << 20;
/// Largest number of strings in all arrays of a file together: vocabularies and merges have fewer,
/// and skipping more would let a sparse file take unbounded time.
const MOST_TEXTS: u64 = 1 << 22;
/// Bytes that are read at a time.
const WINDOW: usize = 64 << 10;

/// Metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Unsigned integer of any width.
    Unsigned(u64),
    /// Signed integer of any width.
    Signed(i64),
    /// Float of either precision.
    Float(f64),
    /// Boolean.
    Bool(bool),
    /// String; `None` if it is too long to be kept.
    Text(Option<String>),
    /// Array, whose elements stay in the file.
    Array(Array),
}

/// An array in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array {
    /// Type of the elements, as GGUF numbers types.
    pub kind: u32,
    /// Number of elements.
    pub count: u64,
    /// Offset of the first element in the file.
    pub offset: u64,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Unsigned(x) => x.fmt(f),
            Value::Signed(x) => x.fmt(f),
            Value::Float(x) => write!(f, "{}", *x as f32),
            Value::Bool(x) => x.fmt(f),
            Value::Text(Some(text)) => write!(f, "{text:?}"),
            Value::Text(None) => write!(f, "a long text"),
            Value::Array(array) => {
                let kind = match array.kind {
                    STRING => "texts",
                    6 | 12 => "numbers",
                    7 => "bools",
                    ARRAY => "arrays",
                    _ => "whole numbers",
                };
                write!(f, "{} {kind}", Grouped(array.count))
            }
        }
    }
}

pub(crate) const STRING: u32 = 8;
const ARRAY: u32 = 9;
pub(crate) const FLOAT: u32 = 6;

/// Size of a value of this type in bytes; `None` for strings, arrays and unknown types.
fn value_size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Error of the medium, or of the file's contents.
pub(crate) enum Failure {
    Read(ReadError),
    File(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::File(error)
    }
}

impl From<Failure> for checkpoint::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Read(error) => checkpoint::Error::Read(error),
            Failure::File(error) => checkpoint::Error::Gguf(error),
        }
    }
}

/// Reader of a source from front to back through a window.
pub(crate) struct Reader<'s> {
    source: &'s mut dyn ByteSource,
    /// Current offset.
    pub(crate) at: u64,
    /// Offset of the end.
    end: u64,
    window: Vec<u8>,
    /// Offset of the window's first byte.
    begin: u64,
    /// Number of strings skipped in arrays.
    texts: u64,
}

impl<'s> Reader<'s> {
    pub(crate) fn new(source: &'s mut dyn ByteSource, range: Range<u64>) -> Self {
        Reader {
            source,
            at: range.start,
            end: range.end,
            window: Vec::new(),
            begin: 0,
            texts: 0,
        }
    }

    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// Returns the next `len` bytes, at most [`WINDOW`].
    pub(super) fn bytes(&mut self, len: usize) -> Result<&[u8], Failure> {
        if self.left() < len as u64 {
            return Err(Error::CutShort { size: self.end }.into());
        }
        let inside = self
            .at
            .checked_sub(self.begin)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| start.saturating_add(len) <= self.window.len());
        let start = match inside {
            Some(start) => start,
            None => {
                let fresh = self.left().min(WINDOW as u64) as usize;
                self.window.resize(fresh, 0);
                self.source
                    .read_at(self.at, &mut self.window)
                    .map_err(Failure::Read)?;
                self.begin = self.at;
                0
            }
        };
        self.at += len as u64;
        Ok(&self.window[start..start + len])
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Failure> {
        self.array().map(u64::from_le_bytes)
    }

    /// Reads a length and checks it against what is left of the file.
    pub(super) fn length(&mut self, what: &'static str, most: u64) -> Result<u64, Failure> {
        let offset = self.at;
        let found = self.u64()?;
        let left = self.left();
        if found > left {
            return Err(Error::Length {
                what,
                offset,
                found,
                left,
            }
            .into());
        }
        if found > most {
            return Err(Error::TooLong {
                what,
                offset,
                found,
                most,
            }
            .into());
        }
        Ok(found)
    }

    /// Reads `len` bytes; the caller has checked that the file has them.
    pub(crate) fn long(&mut self, len: u64) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        let mut left = len as usize;
        while left > 0 {
            let piece = self.bytes(left.min(WINDOW))?;
            out.extend_from_slice(piece);
            left -= piece.len();
        }
        Ok(out)
    }

    /// Reads a string as bytes: only its use decides whether it must be UTF-8.
    pub(crate) fn text(&mut self, what: &'static str, most: u64) -> Result<Vec<u8>, Failure> {
        let len = self.length(what, most)?;
        self.long(len)
    }

    /// Reads the value of `key`, of type `kind`.
    pub(super) fn value(&mut self, key: &str, kind: u32) -> Result<Value, Failure> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>()?[0].into()),
            1 => Value::Signed((self.array::<1>()?[0] as i8).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            FLOAT => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.array::<1>()?[0] != 0),
            STRING => {
                let left = self.left();
                let len = self.length("a text", left)?;
                if len > LONGEST_STRING {
                    self.at += len;
                    Value::Text(None)
                } else {
                    Value::Text(Some(lossy(self.long(len)?)))
                }
            }
            ARRAY => {
                let element = self.u32()?;
                let offset = self.at;
                let count = self.u64()?;
                let array = Array {
                    kind: element,
                    count,
                    offset: self.at,
                };
                let left = self.left();
                let too_long = Error::Length {
                    what: "an array",
                    offset,
                    found: count,
                    left,
                };
                match (value_size(element), element) {
                    (Some(size), _) => {
                        let bytes = count.checked_mul(size).filter(|&bytes| bytes <= left);
                        self.at += bytes.ok_or(too_long)?;
                    }
                    (None, STRING) => {
                        if count > left / 8 {
                            return Err(too_long.into());
                        }
                        self.texts = self.texts.saturating_add(count);
                        believable("texts in its metadata's arrays", self.texts, MOST_TEXTS)?;
                        for _ in 0..count {
                            let left = self.left();
                            self.at += self.length("a text", left)?;
                        }
                    }
                    // Arrays of arrays do not occur.
                    _ => {
                        let key = key.into();
                        return Err(Error::ValueType {
                            key,
                            found: element,
                        }
                        .into());
                    }
                }
                Value::Array(array)
            }
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => {
                let key = key.into();
                return Err(Error::ValueType { key, found: kind }.into());
            }
        })
    }
}

/// Converts a string for display or for comparison with known names: invalid UTF-8 becomes U+FFFD.
pub(super) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Range of the first file in the source: all of it, or the first part of a split model.
pub(crate) fn first(source: &dyn ByteSource) -> Range<u64> {
    0..source.borders().first().copied().unwrap_or(source.size())
}

/// Reads the metadata of the file at `range`: calls `entry` with each key, value and offset.
/// Returns the reader positioned behind them, the version and the number of tensors.
pub(crate) fn walk<'s>(
    source: &'s mut dyn ByteSource,
    range: Range<u64>,
    entry: &mut dyn FnMut(String, Value, Range<u64>) -> Result<(), Error>,
) -> Result<(Reader<'s>, u32, u64), Failure> {
    let size = range.end - range.start;
    let mut reader = Reader::new(source, range);
    if reader.array()? != MAGIC {
        return Err(Error::Magic.into());
    }
    let version = reader.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Error::Version { found: version }.into());
    }
    let (tensors, entries) = (reader.u64()?, reader.u64()?);
    let room = size.saturating_sub(HEADER);
    for (what, found, least) in [
        ("tensors", tensors, LEAST_TENSOR),
        ("metadata entries", entries, LEAST_ENTRY),
    ] {
        if found > room / least {
            return Err(Error::Count { what, found, size }.into());
        }
    }
    believable("metadata entries", entries, MOST_ENTRIES)?;
    for _ in 0..entries {
        let start = reader.at;
        let key = lossy(reader.text("a key", LONGEST_KEY)?);
        let kind = reader.u32()?;
        let value = reader.value(&key, kind)?;
        entry(key, value, start..reader.at)?;
    }
    Ok((reader, version, tensors))
}

/// Calls `take` with each key and the bytes of its whole entry.
///
/// # Errors
/// [`checkpoint::Error`], for the first problem found.
pub fn raw_entries(
    source: &mut dyn ByteSource,
    take: &mut dyn FnMut(&str, &[u8]),
) -> Result<(), checkpoint::Error> {
    let mut places = Vec::new();
    let file = first(source);
    walk(source, file, &mut |key, _, range| {
        places.push((key, range));
        Ok(())
    })?;
    for (key, range) in places {
        let len = range.end - range.start;
        take(&key, &Reader::new(source, range).long(len)?);
    }
    Ok(())
}

/// Calls `show` with each key and value of a GGUF file, until it returns `Break`.
///
/// # Errors
/// [`checkpoint::Error`], for the first problem found.
pub fn metadata(
    source: &mut dyn ByteSource,
    show: &mut dyn FnMut(&str, &Value) -> ControlFlow<()>,
) -> Result<(), checkpoint::Error> {
    let mut over = false;
    let file = first(source);
    walk(source, file, &mut |key, value, _| {
        over = over || show(&key, &value).is_break();
        Ok(())
    })?;
    Ok(())
}

/// Checks that a count is at most `most`, the largest in any real model: this bounds memory
/// independently of the file's size.
pub(crate) fn believable(what: &'static str, found: u64, most: u64) -> Result<(), Error> {
    if found > most {
        return Err(Error::TooMany { what, found, most });
    }
    Ok(())
}

/// Metadata that the engine uses.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    values: BTreeMap<String, Value>,
    /// Total size of the keys and strings, in bytes.
    bytes: u64,
}

impl Entries {
    /// Keeps an entry if it is used; of arrays only the offset.
    pub(crate) fn keep(&mut self, key: String, value: Value) -> Result<(), Error> {
        let group = key.split('.').next().unwrap_or_default();
        let known = ["general", "tokenizer", "split"].contains(&group)
            || ARCHITECTURES.iter().any(|known| known.name == group);
        // Invalid UTF-8 in a key was replaced: such keys are not used, and two of them may have
        // become equal.
        if !known || key.contains(char::REPLACEMENT_CHARACTER) {
            return Ok(());
        }
        let text = match &value {
            Value::Text(Some(text)) => text.len(),
            _ => 0,
        };
        self.bytes += (key.len() + text) as u64;
        believable("bytes of texts in its metadata", self.bytes, MOST_KEPT)?;
        match self.values.entry(key) {
            Entry::Occupied(entry) => Err(Error::Twice {
                name: entry.key().clone(),
            }),
            Entry::Vacant(entry) => {
                entry.insert(value);
                Ok(())
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Replaces an array of `key` that has the same number for each of `layers` by that number.
    pub(super) fn one_for_all(
        &mut self,
        reader: &mut Reader<'_>,
        key: &str,
        layers: usize,
    ) -> Result<(), Failure> {
        let Some(Value::Array(array)) = self.get(key) else {
            return Ok(());
        };
        let Array { kind, count, .. } = *array;
        if count != layers as u64 || value_size(kind).is_none() {
            let wanted = "a whole number, or one for each layer";
            let key = key.into();
            return Err(Error::Value { key, wanted }.into());
        }
        let one = reader.value(key, kind)?;
        for _ in 1..count {
            if reader.value(key, kind)? != one {
                let what = format!("its value of {key:?} differs from layer to layer");
                return Err(Error::Unsupported { what }.into());
            }
        }
        self.values.insert(key.into(), one);
        Ok(())
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Bool(x)) => Ok(Some(*x)),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "true or false",
            }),
        }
    }

    pub(crate) fn unsigned(&self, key: &str) -> Result<Option<u64>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Unsigned(x)) => Ok(Some(*x)),
            Some(Value::Signed(x)) if *x >= 0 => Ok(Some(*x as u64)),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "a whole number",
            }),
        }
    }

    /// Returns a number, or `None` if it is missing or 0, which llama.cpp writes for "not set".
    pub(super) fn float_or_zero(&self, key: &str) -> Result<Option<f32>, Error> {
        match self.get(key) {
            Some(Value::Float(0.0)) => Ok(None),
            _ => self.float(key),
        }
    }

    pub(super) fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        match self.get(key) {
            None => Ok(None),
            // Checked in single precision, which is used for computing: a double may overflow or
            // underflow there.
            Some(Value::Float(x)) if (*x as f32).is_normal() && *x > 0.0 => Ok(Some(*x as f32)),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "a positive number in the range of single precision",
            }),
        }
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(Some(text))) => Ok(Some(text)),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "a text",
            }),
        }
    }

    /// Returns a dimension that is required.
    pub(super) fn dimension(&self, key: &str) -> Result<usize, Error> {
        let found = self
            .unsigned(key)?
            .ok_or(Error::Missing { key: key.into() })?;
        usize::try_from(found)
            .ok()
            .filter(|n| (1..=checkpoint::LARGEST_DIMENSION as usize).contains(n))
            .ok_or(Error::Value {
                key: key.into(),
                wanted: "1 to 16777216",
            })
    }

    pub(crate) fn array(&self, key: &str) -> Result<Array, Error> {
        match self.get(key) {
            None => Err(Error::Missing { key: key.into() }),
            Some(Value::Array(array)) => Ok(*array),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "an array",
            }),
        }
    }
}
