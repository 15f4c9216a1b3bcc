//! Errors in GGUF files; each displays as a sentence.

use alloc::{boxed::Box, string::String};
use core::fmt;

use super::architectures::ARCHITECTURES;
use crate::units::{Grouped, Quoted};

/// Reason why a GGUF file cannot be used. Displays as a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// A part of a split model is not a GGUF file.
    Magic,
    /// The number of files differs from the number of parts that the model is split into.
    Parts {
        /// Number of parts according to the metadata.
        wanted: usize,
        /// Number of files given.
        found: usize,
    },
    /// A part is not the one expected in its place.
    Order {
        /// Number of the expected part, counted from 1.
        wanted: u64,
        /// Number of parts.
        count: usize,
    },
    /// The version or the byte order is not supported.
    Version {
        /// Version in the file.
        found: u32,
    },
    /// The file is too small for its numbers of entries or tensors.
    Count {
        /// Name of the things counted.
        what: &'static str,
        /// Number in the file.
        found: u64,
        /// Size of the file in bytes.
        size: u64,
    },
    /// A count is larger than in any real model, even though the file may have room for it.
    TooMany {
        /// Name of the things counted.
        what: &'static str,
        /// Number in the file.
        found: u64,
        /// Largest number accepted.
        most: u64,
    },
    /// A string or an array extends past the end of the file.
    Length {
        /// Name of the string or array.
        what: &'static str,
        /// Offset of its length in the file.
        offset: u64,
        /// Length in the file.
        found: u64,
        /// Bytes that are left, or elements that fit into them.
        left: u64,
    },
    /// A string lies within the file, but is longer than in any real model.
    TooLong {
        /// Name of the string.
        what: &'static str,
        /// Offset of its length in the file.
        offset: u64,
        /// Length in the file.
        found: u64,
        /// Largest length accepted.
        most: u64,
    },
    /// The file ends before the end of its metadata or tensor list.
    CutShort {
        /// Size of the file in bytes.
        size: u64,
    },
    /// A metadata value has an unknown type.
    ValueType {
        /// Key of the value.
        key: String,
        /// Number of the type in the file.
        found: u32,
    },
    /// A required key is missing.
    Missing {
        /// Name of the key.
        key: String,
    },
    /// A key or a tensor occurs twice.
    Twice {
        /// Name of the key or tensor.
        name: String,
    },
    /// A value has the wrong type or is out of range.
    Value {
        /// Key of the value.
        key: String,
        /// Description of the expected value.
        wanted: &'static str,
    },
    /// The architecture is not supported.
    Architecture {
        /// Name of the architecture.
        found: String,
    },
    /// A feature of the architecture is not supported.
    Unsupported {
        /// Description of the feature, with the key or tensor that requires it.
        what: String,
    },
    /// A tensor has a type that is not supported.
    TensorType {
        /// Name of the tensor.
        name: String,
        /// Name of the type, or its number.
        found: String,
        /// Closest file of the same model that is supported.
        nearest: &'static str,
    },
    /// A tensor's shape does not match the metadata.
    Shape {
        /// Name of the tensor.
        name: String,
        /// Columns and rows in the file.
        found: (u64, u64),
        /// Columns and rows that the metadata require.
        wanted: (u64, u64),
    },
    /// A tensor's rows are not a multiple of its type's block.
    Blocks {
        /// Name of the tensor.
        name: String,
        /// Name of its type.
        kind: String,
        /// Elements per block.
        block: usize,
        /// Elements per row.
        cols: usize,
    },
    /// A tensor belongs to a layer that the model does not have.
    Layer {
        /// Name of the tensor.
        name: String,
        /// Number of layers of the model.
        layers: usize,
    },
    /// Error in a later part of a split model.
    Part {
        /// Number of the part, counted from 1.
        number: usize,
        /// Number of parts.
        count: usize,
        /// The error in that part.
        error: Box<Error>,
    },
    /// A tensor's offset is not aligned.
    Alignment {
        /// Name of the tensor.
        name: String,
        /// Offset behind the file's description, in bytes.
        offset: u64,
        /// Required alignment in bytes.
        alignment: u64,
    },
    /// A tensor extends past the end of the file.
    Place {
        /// Name of the tensor.
        name: String,
        /// Offset in the file.
        offset: u64,
        /// Size of the tensor in bytes.
        bytes: u64,
        /// Size of the file in bytes.
        size: u64,
    },
    /// Two tensors overlap.
    Overlap {
        /// Name of one.
        a: String,
        /// Name of the other.
        b: String,
    },
}

impl Error {
    /// Wraps an error of part `number` (counted from 1) of `count` files; an error of a single file
    /// stays as it is.
    pub(super) fn in_part(self, number: usize, count: usize) -> Error {
        if count == 1 {
            return self;
        }
        Error::Part {
            number,
            count,
            error: Box::new(self),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "it is damaged or cut short; fetch it again";
        match self {
            Error::Version { found } if found.swap_bytes() <= 0xffff && *found > 0xffff => write!(
                f,
                "is a big-endian GGUF file; use a little-endian one, as nearly all are"
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
            Error::TooLong {
                what,
                offset,
                found,
                most,
            } => write!(
                f,
                "{what} at byte {} says that it is {} long, and no model has a longer one than {}: {AGAIN}",
                Grouped(*offset),
                Grouped(*found),
                Grouped(*most)
            ),
            Error::CutShort { size } => write!(
                f,
                "ends at byte {}, in the middle of its description: it is cut short; fetch it again",
                Grouped(*size)
            ),
            Error::TooMany { what, found, most } => write!(
                f,
                "has {} {what}, and no model has more than {}: {AGAIN}",
                Grouped(*found),
                Grouped(*most)
            ),
            Error::ValueType { key, found } => write!(
                f,
                "its value of {} has type {found}, which GGUF does not know: it is damaged; fetch it again",
                Quoted(key)
            ),
            Error::Missing { key } => write!(
                f,
                "{} is not in it; it is not a whole model: convert it again with a current llama.cpp",
                Quoted(key)
            ),
            Error::Twice { name } => {
                write!(
                    f,
                    "{} is in it twice: it is damaged; fetch it again",
                    Quoted(name)
                )
            }
            Error::Value { key, wanted } => write!(
                f,
                "its value of {} must be {wanted}, and is not; convert it again with a current llama.cpp",
                Quoted(key)
            ),
            Error::Magic => write!(f, "one of its parts is not a GGUF file; fetch it again"),
            Error::Parts { wanted, found } => write!(
                f,
                "is split into {wanted} files, but {found} are here; put all of them (-00001-of-{wanted:05}.gguf and so on) into one folder, and name the first"
            ),
            Error::Order { wanted, count } => write!(
                f,
                "the file in the place of part {wanted} of {count} is not that part; fetch it again"
            ),
            Error::Architecture { found } => {
                write!(
                    f,
                    "its architecture {} is not supported (supported:",
                    Quoted(found)
                )?;
                for (i, known) in ARCHITECTURES.iter().enumerate() {
                    write!(f, "{} {}", if i == 0 { "" } else { "," }, known.name)?;
                }
                write!(f, ")")
            }
            Error::Unsupported { what } => write!(f, "{what}, which is not supported yet"),
            Error::TensorType {
                name,
                found,
                nearest,
            } => write!(
                f,
                "its tensor {} is of type {found}, which is not supported (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL and IQ4_XS are); use the model's {nearest} file instead",
                Quoted(name)
            ),
            Error::Blocks {
                name,
                kind,
                block,
                cols,
            } => write!(
                f,
                "its tensor {} has rows of {cols} numbers, which are not whole blocks of its type {kind} ({block}): it is damaged; fetch it again",
                Quoted(name)
            ),
            Error::Shape {
                name,
                found,
                wanted,
            } => write!(
                f,
                "its tensor {} has {} columns and {} rows, but the metadata require {} and {}: it is damaged; fetch it again",
                Quoted(name),
                found.0,
                found.1,
                wanted.0,
                wanted.1
            ),
            Error::Layer { name, layers } => write!(
                f,
                "its tensor {} is of a layer that it does not have, since it says that it has {layers}: it is damaged; fetch it again",
                Quoted(name)
            ),
            Error::Part {
                number,
                count,
                error,
            } => write!(f, "in part {number} of {count}: {error}"),
            Error::Alignment {
                name,
                offset,
                alignment,
            } => write!(
                f,
                "its tensor {} begins at byte {} of the data, which is no multiple of {alignment}: it is damaged; fetch it again",
                Quoted(name),
                Grouped(*offset)
            ),
            Error::Place {
                name,
                offset,
                bytes,
                size,
            } => write!(
                f,
                "its tensor {} has {} bytes from byte {} on, but the file has {}: {AGAIN}",
                Quoted(name),
                Grouped(*bytes),
                Grouped(*offset),
                Grouped(*size)
            ),
            Error::Overlap { a, b } => write!(
                f,
                "its tensors {} and {} are in the same place: it is damaged; fetch it again",
                Quoted(a),
                Quoted(b)
            ),
        }
    }
}

impl core::error::Error for Error {}
