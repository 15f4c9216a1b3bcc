//! What can be wrong with a GGUF file, each as a sentence.

use alloc::{boxed::Box, string::String};
use core::fmt;

use super::shape::ARCHITECTURES;
use crate::units::{Grouped, Quoted};

/// Why a GGUF file cannot be used. Shown, it is a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// A part of a split model that does not begin as GGUF files do.
    Magic,
    /// Another number of parts than the model is split into.
    Parts {
        /// The number it says.
        wanted: usize,
        /// Files that are there.
        found: usize,
    },
    /// A part that is not the one that its place asks for.
    Order {
        /// Its number, counted from 1.
        wanted: u64,
        /// Of how many.
        count: usize,
    },
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
    /// More of something than any model has, though the file may have room for it.
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The number found.
        found: u64,
        /// The largest one that is believed.
        most: u64,
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
    /// A string that is there, and longer than any model's.
    TooLong {
        /// What is so long.
        what: &'static str,
        /// Where its length stands.
        offset: u64,
        /// The number found.
        found: u64,
        /// The largest one that is believed.
        most: u64,
    },
    /// The file ends inside of its description.
    CutShort {
        /// Where it ends.
        size: u64,
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
        /// Which file of the model comes nearest.
        nearest: &'static str,
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
    /// A tensor whose rows are not whole blocks.
    Blocks {
        /// The tensor.
        name: String,
        /// Its type.
        kind: String,
        /// Numbers of a block.
        block: usize,
        /// Numbers of a row.
        cols: usize,
    },
    /// A tensor of a layer that the model does not have.
    Layer {
        /// The tensor.
        name: String,
        /// Layers that it has.
        layers: usize,
    },
    /// What is wrong in a part of a split model that is not its first.
    Part {
        /// Which, counted from 1.
        number: usize,
        /// Of how many.
        count: usize,
        /// What is wrong there.
        error: Box<Error>,
    },
    /// A tensor that begins where none may.
    Alignment {
        /// The tensor.
        name: String,
        /// Where it begins, behind the file's description.
        offset: u64,
        /// What that must be a multiple of.
        alignment: u64,
    },
    /// A tensor that leads out of the file.
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

impl Error {
    /// The same of part `number` (1 is the first) of a model of `count` files; of one file it is
    /// the file's.
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
                write!(f, "is a model of architecture {}; known:", Quoted(found))?;
                for (i, known) in ARCHITECTURES.iter().enumerate() {
                    write!(f, "{} {}", if i == 0 { "" } else { "," }, known.name)?;
                }
                write!(f, "; take a model of one of these")
            }
            Error::Unsupported { what } => write!(f, "{what}, which is not supported yet"),
            Error::TensorType {
                name,
                found,
                nearest,
            } => write!(
                f,
                "its tensor {} is of type {found}, which is not supported (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K, IQ4_NL and IQ4_XS are); take the model's {nearest} file instead",
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
                "its tensor {} has {} columns and {} rows, but the model's numbers ask for {} and {}: it is damaged; fetch it again",
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
