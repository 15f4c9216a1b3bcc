//! GGUF, llama.cpp's file format (version 2 and 3, little-endian): metadata, and what tensors there are and where.
//!
//! The file: `GGUF`, u32 version, u64 number of tensors, u64 number of metadata entries; the entries (key, u32 type, value);
//! for each tensor its name, u32 number of dimensions, a u64 for each (the columns first), u32 type, u64 offset; from the next
//! multiple of `general.alignment` on, the tensors. A string is a u64 length and that many bytes of UTF-8, an array a u32
//! type, a u64 length and its values. Source: ggml's `docs/gguf.md`.
//!
//! Every count, length and offset is proven against the file's size before it is believed: time and memory are bounded by
//! what is really there.

use alloc::{format, string::String, vec::Vec};
use core::{
    fmt,
    ops::{ControlFlow, Range},
};

use crate::{
    checkpoint::{self, Checkpoint, Format, Role, Tensor},
    config::{Config, ROPE_THETA},
    matrix::Encoding,
    source::{ByteSource, ReadError},
    tokenizer::{self, Tokenizer},
    units::Grouped,
};

/// `GGUF`.
pub(crate) const MAGIC: [u8; 4] = *b"GGUF";
/// Bytes before the first metadata entry.
const HEADER: u64 = 24;
/// Bytes that the smallest metadata entry takes (an empty key, a type, a byte), and the smallest tensor's description.
const LEAST_ENTRY: u64 = 13;
const LEAST_TENSOR: u64 = 8 + 4 + 4 + 8;
/// Longest key or name; the specification allows 65 535 bytes for keys, ggml 63 for names.
const LONGEST_NAME: u64 = 65_535;
/// Longest string that is kept; longer ones are passed over.
const LONGEST_STRING: u64 = 1 << 20;
/// Bytes that are read at once.
const WINDOW: usize = 64 << 10;
/// Alignment where the metadata names none, and the largest one that is believed.
const ALIGNMENT: u64 = 32;
const LARGEST_ALIGNMENT: u64 = 1 << 20;
/// The architectures that are known.
const ARCHITECTURES: &str = "llama";

/// Why a GGUF file cannot be used. Shown, it is a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// Another version, or the other byte order.
    Version {
        /// The number found.
        found: u32,
    },
    /// More entries or tensors than a file of this size has room for.
    Count {
        /// What is counted.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The file's size.
        size: u64,
    },
    /// A string or an array leads out of the file.
    Length {
        /// What is so long.
        what: &'static str,
        /// Where its length stands.
        offset: u64,
        /// The number found.
        found: u64,
        /// Bytes, or elements' bytes, that are left.
        left: u64,
    },
    /// The file ends inside of its description.
    CutShort {
        /// Where it ends.
        size: u64,
    },
    /// A string that is not UTF-8.
    Utf8 {
        /// Where it begins.
        offset: u64,
    },
    /// A type that no metadata has.
    ValueType {
        /// The key it belongs to.
        key: String,
        /// The number found.
        found: u32,
    },
    /// A key is not there.
    Missing {
        /// The key.
        key: String,
    },
    /// A key stands twice.
    Twice {
        /// The key or name.
        name: String,
    },
    /// A value of another kind than its key says, or out of range.
    Value {
        /// The key.
        key: String,
        /// What must be there.
        wanted: &'static str,
    },
    /// An architecture that is not known.
    Architecture {
        /// Its name.
        found: String,
    },
    /// Something of the architecture that is not supported.
    Unsupported {
        /// What it is, with the key or tensor that says so.
        what: String,
    },
    /// A tensor of a type that is not known.
    TensorType {
        /// The tensor.
        name: String,
        /// The type's name, or number.
        found: String,
    },
    /// A tensor of another shape than the metadata ask for.
    Shape {
        /// The tensor.
        name: String,
        /// Columns and rows found.
        found: (u64, u64),
        /// Columns and rows that it must have.
        wanted: (u64, u64),
    },
    /// A tensor that leads out of the file, or is not aligned.
    Place {
        /// The tensor.
        name: String,
        /// Its offset in the file.
        offset: u64,
        /// Its bytes.
        bytes: u64,
        /// The file's size.
        size: u64,
    },
    /// Two tensors in the same place.
    Overlap {
        /// The one.
        a: String,
        /// The other.
        b: String,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "it is damaged or cut short; fetch it again";
        match self {
            Error::Version { found } if found.swap_bytes() <= 0xffff && *found > 0xffff => write!(
                f,
                "is a big-endian GGUF file; take the little-endian one, which nearly all are"
            ),
            Error::Version { found } => write!(
                f,
                "has GGUF version {found}, but only 2 and 3 are known; convert it again with a current llama.cpp"
            ),
            Error::Count { what, found, size } => write!(
                f,
                "says that it has {} {what}, but a file of {} bytes has no room for them: {AGAIN}",
                Grouped(*found),
                Grouped(*size)
            ),
            Error::Length {
                what,
                offset,
                found,
                left,
            } => write!(
                f,
                "{what} at byte {} says that it is {} long, but {} bytes are left: {AGAIN}",
                Grouped(*offset),
                Grouped(*found),
                Grouped(*left)
            ),
            Error::CutShort { size } => write!(
                f,
                "ends at byte {}, in the middle of its description: it is cut short; fetch it again",
                Grouped(*size)
            ),
            Error::Utf8 { offset } => write!(
                f,
                "the text at byte {} is not UTF-8: it is damaged; fetch it again",
                Grouped(*offset)
            ),
            Error::ValueType { key, found } => write!(
                f,
                "its value of {key:?} has type {found}, which GGUF does not know: it is damaged; fetch it again"
            ),
            Error::Missing { key } => write!(
                f,
                "{key:?} is not in it; it is not a whole model: convert it again with a current llama.cpp"
            ),
            Error::Twice { name } => {
                write!(f, "{name:?} is in it twice: it is damaged; fetch it again")
            }
            Error::Value { key, wanted } => write!(
                f,
                "its value of {key:?} must be {wanted}, and is not; convert it again with a current llama.cpp"
            ),
            Error::Architecture { found } => write!(
                f,
                "is a model of architecture {found:?}; known: {ARCHITECTURES}"
            ),
            Error::Unsupported { what } => write!(f, "{what}, which is not supported yet"),
            Error::TensorType { name, found } => write!(
                f,
                "its tensor {name:?} is of type {found}; known: F32, F16, BF16, Q8_0, Q4_0. Take a file of one of these"
            ),
            Error::Shape {
                name,
                found,
                wanted,
            } => write!(
                f,
                "its tensor {name:?} has {} columns and {} rows, but the model's numbers ask for {} and {}: it is damaged; fetch it again",
                found.0, found.1, wanted.0, wanted.1
            ),
            Error::Place {
                name,
                offset,
                bytes,
                size,
            } => write!(
                f,
                "its tensor {name:?} has {} bytes from byte {} on, but the file has {}, or they are not aligned: {AGAIN}",
                Grouped(*bytes),
                Grouped(*offset),
                Grouped(*size)
            ),
            Error::Overlap { a, b } => write!(
                f,
                "its tensors {a:?} and {b:?} are in the same place: it is damaged; fetch it again"
            ),
        }
    }
}

impl core::error::Error for Error {}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number of any width, without sign.
    Unsigned(u64),
    /// One with a sign.
    Signed(i64),
    /// A number of either precision.
    Float(f64),
    /// Yes or no.
    Bool(bool),
    /// A text; `None` if it is too long to be kept.
    Text(Option<String>),
    /// An array, which is left in the file.
    Array(Array),
}

/// An array in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array {
    /// Its elements' type.
    pub kind: u32,
    /// How many they are.
    pub count: u64,
    /// Where the first one is.
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

const STRING: u32 = 8;
const ARRAY: u32 = 9;
const FLOAT: u32 = 6;

/// Bytes of a value of a type; `None` for texts, arrays and unknown ones.
fn value_size(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Either a medium's failure or the file's.
enum Failure {
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

/// A source read from front to back through a window.
struct Reader<'s> {
    source: &'s mut dyn ByteSource,
    /// Where it is.
    at: u64,
    window: Vec<u8>,
    /// Where the window begins.
    begin: u64,
}

impl<'s> Reader<'s> {
    fn new(source: &'s mut dyn ByteSource, at: u64) -> Self {
        Reader {
            source,
            at,
            window: Vec::new(),
            begin: 0,
        }
    }

    fn left(&self) -> u64 {
        self.source.size().saturating_sub(self.at)
    }

    /// The next `len` bytes, at most [`WINDOW`].
    fn bytes(&mut self, len: usize) -> Result<&[u8], Failure> {
        let size = self.source.size();
        if self.left() < len as u64 {
            return Err(Error::CutShort { size }.into());
        }
        let inside = self
            .at
            .checked_sub(self.begin)
            .and_then(|start| usize::try_from(start).ok())
            .filter(|start| start.saturating_add(len) <= self.window.len());
        let start = match inside {
            Some(start) => start,
            None => {
                let fresh = (size - self.at).min(WINDOW as u64) as usize;
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

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let mut out = [0; N];
        out.copy_from_slice(self.bytes(N)?);
        Ok(out)
    }

    fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Failure> {
        self.array().map(u64::from_le_bytes)
    }

    /// A length that fits what is left.
    fn length(&mut self, what: &'static str, most: u64) -> Result<u64, Failure> {
        let offset = self.at;
        let found = self.u64()?;
        let left = self.left();
        if found > left || found > most {
            return Err(Error::Length {
                what,
                offset,
                found,
                left: left.min(most),
            }
            .into());
        }
        Ok(found)
    }

    /// `len` bytes, which are there.
    fn long(&mut self, len: u64) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        let mut left = len as usize;
        while left > 0 {
            let piece = self.bytes(left.min(WINDOW))?;
            out.extend_from_slice(piece);
            left -= piece.len();
        }
        Ok(out)
    }

    fn text(&mut self, what: &'static str, most: u64) -> Result<String, Failure> {
        let len = self.length(what, most)?;
        let offset = self.at;
        String::from_utf8(self.long(len)?).map_err(|_| Error::Utf8 { offset }.into())
    }

    /// The value of `key`, of type `kind`.
    fn value(&mut self, key: &str, kind: u32) -> Result<Value, Failure> {
        Ok(match kind {
            0 => Value::Unsigned(self.array::<1>()?[0].into()),
            1 => Value::Signed((self.array::<1>()?[0] as i8).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            FLOAT => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => match self.array::<1>()?[0] {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => {
                    let key = key.into();
                    return Err(Error::Value {
                        key,
                        wanted: "0 or 1",
                    }
                    .into());
                }
            },
            STRING => {
                let left = self.left();
                let len = self.length("a text", left)?;
                if len > LONGEST_STRING {
                    self.at += len;
                    Value::Text(None)
                } else {
                    let offset = self.at;
                    let text = String::from_utf8(self.long(len)?);
                    Value::Text(Some(text.map_err(|_| Error::Utf8 { offset })?))
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
                        for _ in 0..count {
                            let left = self.left();
                            self.at += self.length("a text", left)?;
                        }
                    }
                    // Nobody writes arrays of arrays.
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

/// Goes through the metadata: calls `entry` with each key, value and place. Returns the reader behind them, the version and the
/// number of tensors.
fn walk<'s>(
    source: &'s mut dyn ByteSource,
    entry: &mut dyn FnMut(String, Value, Range<u64>) -> Result<(), Error>,
) -> Result<(Reader<'s>, u32, u64), Failure> {
    let size = source.size();
    let mut reader = Reader::new(source, 4);
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
    for _ in 0..entries {
        let start = reader.at;
        let key = reader.text("a key", LONGEST_NAME)?;
        let kind = reader.u32()?;
        let value = reader.value(&key, kind)?;
        entry(key, value, start..reader.at)?;
    }
    Ok((reader, version, tensors))
}

/// Calls `take` with each key and the bytes of its whole entry.
pub(crate) fn raw_entries(
    source: &mut dyn ByteSource,
    take: &mut dyn FnMut(&str, &[u8]),
) -> Result<(), checkpoint::Error> {
    let mut places = Vec::new();
    walk(source, &mut |key, _, range| {
        places.push((key, range));
        Ok(())
    })?;
    for (key, range) in places {
        let mut reader = Reader::new(source, range.start);
        take(&key, &reader.long(range.end - range.start)?);
    }
    Ok(())
}

/// Calls `show` with each key and value of a GGUF file, until it breaks.
///
/// # Errors
/// [`checkpoint::Error`], the first thing that is wrong.
pub fn metadata(
    source: &mut dyn ByteSource,
    show: &mut dyn FnMut(&str, &Value) -> ControlFlow<()>,
) -> Result<(), checkpoint::Error> {
    let mut over = false;
    walk(source, &mut |key, value, _| {
        over = over || show(&key, &value).is_break();
        Ok(())
    })?;
    Ok(())
}

/// The metadata that the engine reads.
#[derive(Debug, Default)]
struct Entries {
    values: Vec<(String, Value)>,
}

impl Entries {
    /// Keeps what is of use; arrays are only their places.
    fn keep(&mut self, key: String, value: Value) -> Result<(), Error> {
        let known = ["general.architecture", "general.alignment"].contains(&&key[..])
            || key.starts_with("llama.")
            || key.starts_with("tokenizer.ggml.");
        if !known {
            return Ok(());
        }
        if self.get(&key).is_some() {
            return Err(Error::Twice { name: key });
        }
        self.values.push((key, value));
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.values.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }

    fn unsigned(&self, key: &str) -> Result<Option<u64>, Error> {
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

    fn float(&self, key: &str) -> Result<Option<f32>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Float(x)) if x.is_finite() && *x > 0.0 => Ok(Some(*x as f32)),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "a positive number",
            }),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Text(Some(text))) => Ok(Some(text)),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "a text",
            }),
        }
    }

    /// A dimension that must be there.
    fn dimension(&self, key: &str) -> Result<usize, Error> {
        let found = self
            .unsigned(key)?
            .ok_or(Error::Missing { key: key.into() })?;
        usize::try_from(found)
            .ok()
            .filter(|n| (1..=checkpoint::LARGEST_DIMENSION as usize).contains(n))
            .ok_or(Error::Value {
                key: key.into(),
                wanted: "1 to 16 777 216",
            })
    }

    fn array(&self, key: &str) -> Result<Array, Error> {
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

/// Opens a file that begins with [`MAGIC`].
pub(crate) fn open(source: &mut dyn ByteSource) -> Result<Checkpoint, checkpoint::Error> {
    let size = source.size();
    let mut entries = Entries::default();
    let (mut reader, version, count) = walk(source, &mut |key, value, _| entries.keep(key, value))?;
    let gguf = checkpoint::Error::Gguf;

    let architecture = "general.architecture";
    match entries.text(architecture).map_err(gguf)? {
        Some("llama") => (),
        Some(found) => {
            let found = found.into();
            return Err(gguf(Error::Architecture { found }));
        }
        None => {
            let key = architecture.into();
            return Err(gguf(Error::Missing { key }));
        }
    }

    // What the tensors are called, and where they are; the vocabulary's size is the embedding's.
    let mut named = Vec::new();
    for _ in 0..count {
        let name = reader.text("a tensor's name", LONGEST_NAME)?;
        let dimensions = reader.u32()?;
        let mut shape = [1u64; 2];
        if !(1..=4).contains(&dimensions) {
            return Err(gguf(Error::Unsupported {
                what: format!("its tensor {name:?} has {dimensions} dimensions"),
            }));
        }
        for d in 0..dimensions as usize {
            let length = reader.u64()?;
            match shape.get_mut(d) {
                Some(place) => *place = length,
                None if length == 1 => (),
                None => {
                    return Err(gguf(Error::Unsupported {
                        what: format!("its tensor {name:?} has {dimensions} dimensions"),
                    }));
                }
            }
        }
        let (kind, offset) = (reader.u32()?, reader.u64()?);
        named.push(Named {
            name,
            shape,
            kind,
            offset,
        });
    }
    let described = reader.at;
    let config = config(&entries, &named)?;

    let key = "general.alignment";
    let alignment = entries.unsigned(key).map_err(gguf)?.unwrap_or(ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
        return Err(gguf(Error::Value {
            key: key.into(),
            wanted: "a power of two",
        }));
    }
    let data = described.next_multiple_of(alignment);
    let mut tensors = Vec::new();
    for tensor in &named {
        tensors.push(tensor.place(&config, data, alignment, size).map_err(gguf)?);
    }
    whole(&config, &mut tensors).map_err(gguf)?;
    Ok(Checkpoint {
        format: Format::Gguf { version },
        config,
        tensors,
    })
}

/// A tensor as the file describes it.
struct Named {
    name: String,
    /// Columns and rows.
    shape: [u64; 2],
    kind: u32,
    offset: u64,
}

/// What a llama's tensors are for, by their names.
const ROLES: [(&str, Role); 9] = [
    ("attn_norm", Role::AttentionNorm),
    ("attn_q", Role::Wq),
    ("attn_k", Role::Wk),
    ("attn_v", Role::Wv),
    ("attn_output", Role::Wo),
    ("ffn_norm", Role::FfnNorm),
    ("ffn_gate", Role::W1),
    ("ffn_down", Role::W2),
    ("ffn_up", Role::W3),
];

/// The name of a tensor.
pub(crate) fn name(role: Role, layer: usize) -> String {
    match role {
        Role::Embedding => "token_embd.weight".into(),
        Role::FinalNorm => "output_norm.weight".into(),
        Role::Classifier => "output.weight".into(),
        _ => {
            let found = ROLES.iter().find(|(_, known)| *known == role);
            format!("blk.{layer}.{}.weight", found.map_or("", |(name, _)| name))
        }
    }
}

impl Named {
    /// What it is for, and in which layer.
    fn role(&self) -> Option<(Role, usize)> {
        match &self.name[..] {
            "token_embd.weight" => return Some((Role::Embedding, 0)),
            "output_norm.weight" => return Some((Role::FinalNorm, 0)),
            "output.weight" => return Some((Role::Classifier, 0)),
            _ => (),
        }
        let (layer, name) = self.name.strip_prefix("blk.")?.split_once('.')?;
        let name = name.strip_suffix(".weight")?;
        let (_, role) = ROLES.iter().find(|(known, _)| *known == name)?;
        // As it is written: "007" is another name.
        let number: usize = layer.parse().ok()?;
        (format!("{number}") == layer).then_some((*role, number))
    }

    /// The tensor that it is in a model of `config`.
    fn place(
        &self,
        config: &Config,
        data: u64,
        alignment: u64,
        size: u64,
    ) -> Result<Tensor, Error> {
        let name = &self.name;
        let (role, layer) = self.role().ok_or_else(|| Error::Unsupported {
            what: format!("it has a tensor {name:?}"),
        })?;
        let (rows, cols) = role.shape(config);
        let wanted = (cols as u64, rows as u64);
        let found = (self.shape[0], self.shape[1]);
        if found != wanted || layer >= config.n_layers.max(1) {
            return Err(Error::Shape {
                name: name.clone(),
                found,
                wanted,
            });
        }
        let encoding = match self.kind {
            0 => Encoding::F32,
            1 => Encoding::F16,
            2 => Encoding::Q4_0,
            8 => Encoding::Q8_0,
            30 => Encoding::BF16,
            _ => {
                return Err(Error::TensorType {
                    name: name.clone(),
                    found: type_name(self.kind),
                });
            }
        };
        if role.is_vector() && encoding != Encoding::F32 {
            return Err(Error::Unsupported {
                what: format!("its tensor {name:?} is not of type F32"),
            });
        }
        let bytes = encoding.file_bytes(rows, cols).ok_or(Error::Shape {
            name: name.clone(),
            found,
            wanted,
        })?;
        let offset = data.saturating_add(self.offset);
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= size);
        if !inside || !self.offset.is_multiple_of(alignment) {
            return Err(Error::Place {
                name: name.clone(),
                offset,
                bytes,
                size,
            });
        }
        Ok(Tensor {
            role,
            layer,
            rows,
            cols,
            encoding,
            offset,
        })
    }
}

/// Sorts the tensors by their places, once it is known that each is there once and none lies in another.
fn whole(config: &Config, tensors: &mut [Tensor]) -> Result<(), Error> {
    let name = |tensor: &Tensor| name(tensor.role, tensor.layer);
    tensors.sort_unstable_by_key(|t| (t.role, t.layer));
    if let Some(pair) = tensors
        .windows(2)
        .find(|pair| (pair[0].role, pair[0].layer) == (pair[1].role, pair[1].layer))
    {
        return Err(Error::Twice {
            name: name(&pair[0]),
        });
    }
    // Each at most once, so that counting tells whether all are there.
    let missing = |key: &str| Err(Error::Missing { key: key.into() });
    for (role, key) in [
        (Role::Embedding, "token_embd.weight"),
        (Role::FinalNorm, "output_norm.weight"),
    ] {
        if !tensors.iter().any(|t| t.role == role) {
            return missing(key);
        }
    }
    for (key, role) in ROLES {
        let there = tensors.iter().filter(|t| t.role == role);
        if let Some((layer, _)) = (0..config.n_layers)
            .zip(there.map(|t| Some(t.layer)).chain(core::iter::repeat(None)))
            .find(|(layer, there)| *there != Some(*layer))
        {
            return missing(&format!("blk.{layer}.{key}.weight"));
        }
    }
    tensors.sort_unstable_by_key(|t| t.offset);
    if let Some(pair) = tensors
        .windows(2)
        .find(|pair| pair[0].offset + pair[0].file_bytes() > pair[1].offset)
    {
        return Err(Error::Overlap {
            a: name(&pair[0]),
            b: name(&pair[1]),
        });
    }
    Ok(())
}

/// The model's shape.
fn config(entries: &Entries, named: &[Named]) -> Result<Config, checkpoint::Error> {
    let gguf = checkpoint::Error::Gguf;
    let dimension = |key: &str| entries.dimension(key).map_err(gguf);
    let embedding = named.iter().find(|n| n.name == "token_embd.weight");
    let vocab_size = match embedding.map(|n| n.shape[1]) {
        Some(rows @ 1..=0x100_0000) => rows as usize,
        Some(rows) => {
            return Err(gguf(Error::Unsupported {
                what: format!("its tensor \"token_embd.weight\" has {rows} rows"),
            }));
        }
        None => {
            return Err(gguf(Error::Missing {
                key: "token_embd.weight".into(),
            }));
        }
    };
    let n_heads = dimension("llama.attention.head_count")?;
    let config = Config {
        dim: dimension("llama.embedding_length")?,
        hidden_dim: dimension("llama.feed_forward_length")?,
        n_layers: dimension("llama.block_count")?,
        n_heads,
        n_kv_heads: match entries.get("llama.attention.head_count_kv") {
            None => n_heads,
            Some(_) => dimension("llama.attention.head_count_kv")?,
        },
        vocab_size,
        seq_len: dimension("llama.context_length")?,
        shared_classifier: !named.iter().any(|n| n.name == "output.weight"),
        rope_theta: entries
            .float("llama.rope.freq_base")
            .map_err(gguf)?
            .unwrap_or(ROPE_THETA),
        norm_epsilon: {
            let key = "llama.attention.layer_norm_rms_epsilon";
            let missing = Error::Missing { key: key.into() };
            entries.float(key).map_err(gguf)?.ok_or(gguf(missing))?
        },
    };
    if config.n_layers > checkpoint::MOST_LAYERS as usize {
        return Err(gguf(Error::Value {
            key: "llama.block_count".into(),
            wanted: "1 to 4 096",
        }));
    }
    checkpoint::check_heads(&config)?;
    // What would change the numbers and is not built yet.
    for key in [
        "llama.rope.dimension_count",
        "llama.attention.key_length",
        "llama.attention.value_length",
    ] {
        let found = entries.unsigned(key).map_err(gguf)?;
        if found.is_some_and(|found| found != config.head_dim() as u64) {
            return Err(gguf(Error::Unsupported {
                what: format!(
                    "its {key:?} is not the width of a head, {}",
                    config.head_dim()
                ),
            }));
        }
    }
    if entries
        .unsigned("llama.expert_count")
        .map_err(gguf)?
        .is_some_and(|n| n > 0)
    {
        return Err(gguf(Error::Unsupported {
            what: "it is a mixture of experts".into(),
        }));
    }
    let scaling = entries.text("llama.rope.scaling.type").map_err(gguf)?;
    if let Some(kind) = scaling.filter(|kind| *kind != "none") {
        return Err(gguf(Error::Unsupported {
            what: format!("its RoPE is scaled ({kind})"),
        }));
    }
    Ok(config)
}

/// ggml's name of a tensor type.
fn type_name(kind: u32) -> String {
    let name = match kind {
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("{kind}"),
    };
    name.into()
}

/// The tokenizer in a GGUF file's metadata, if it is of SentencePiece's kind and laid out as Llama 2's.
///
/// # Errors
/// A sentence without the file's name.
pub fn tokenizer(source: &mut dyn ByteSource) -> Result<Tokenizer, String> {
    let file = tokenizer_file(source).map_err(|failure| match failure {
        Failure::Read(error) => format!("{error}"),
        Failure::File(error) => format!("{error}"),
    })?;
    Tokenizer::load(&mut &file[..]).map_err(|error| format!("its tokenizer {error}"))
}

/// The metadata's tokenizer as a tokenizer.bin.
fn tokenizer_file(source: &mut dyn ByteSource) -> Result<Vec<u8>, Failure> {
    let mut entries = Entries::default();
    walk(source, &mut |key, value, _| entries.keep(key, value))?;
    let key = "tokenizer.ggml.model";
    let model = entries
        .text(key)?
        .ok_or(Error::Missing { key: key.into() })?;
    if model != "llama" {
        return Err(Error::Unsupported {
            what: format!("its tokenizer is of kind {model:?}"),
        }
        .into());
    }
    let bos = entries
        .unsigned("tokenizer.ggml.bos_token_id")?
        .unwrap_or(1);
    let eos = entries
        .unsigned("tokenizer.ggml.eos_token_id")?
        .unwrap_or(2);
    let (tokens, scores) = (
        entries.array("tokenizer.ggml.tokens")?,
        entries.array("tokenizer.ggml.scores")?,
    );
    if tokens.kind != STRING || scores.kind != FLOAT || tokens.count != scores.count {
        return Err(Error::Value {
            key: "tokenizer.ggml.scores".into(),
            wanted: "a number for each token",
        }
        .into());
    }
    let mut file = alloc::vec![0; 4];
    // Scores first: all of them are few bytes.
    let mut reader = Reader::new(source, scores.offset);
    let scores = reader.long(scores.count * 4)?;
    let mut reader = Reader::new(source, tokens.offset);
    for (token, score) in (0u64..).zip(scores.chunks_exact(4)) {
        let left = reader.left();
        let length = reader.length("a token", left)?;
        let text = reader.long(length)?;
        let text = match token {
            // llama2.c's own words for what starts and ends a text, which no text contains.
            _ if token == bos && bos == u64::from(tokenizer::BOS) => b"\n<s>\n".to_vec(),
            _ if token == eos && eos == u64::from(tokenizer::EOS) => b"\n</s>\n".to_vec(),
            // The byte tokens, where byte fallback looks for them.
            3..=258 if text != format!("<0x{:02X}>", token - 3).as_bytes() => {
                return Err(Error::Unsupported {
                    what: "its tokens 3 to 258 are not the bytes, as Llama 2's are".into(),
                }
                .into());
            }
            _ => spaces(&text),
        };
        file.extend_from_slice(score);
        file.extend_from_slice(&(text.len() as u32).to_le_bytes());
        file.extend_from_slice(&text);
    }
    if (bos, eos) != (u64::from(tokenizer::BOS), u64::from(tokenizer::EOS)) {
        return Err(Error::Unsupported {
            what: format!("its texts begin with token {bos} and end with {eos}, not with 1 and 2"),
        }
        .into());
    }
    Ok(file)
}

/// SentencePiece's mark of a word's beginning, U+2581, as the space that it stands for.
fn spaces(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix("\u{2581}".as_bytes()) {
            out.push(b' ');
            rest = tail;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}
