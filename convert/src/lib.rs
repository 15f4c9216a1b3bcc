//! Converts checkpoints of any format to GGUF, in one file or several, or to llama2.c's int8 (v2).
#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod gguf;
mod metadata;
mod mixture;
mod rows;
mod v2;

use alloc::string::String;
use core::fmt;

pub use gguf::{Content, MOST_FILES, Plan};
pub use mixture::Mixture;
pub use v2::v2;

use llama2_engine::{
    buffer::OutOfMemory,
    layout::Encoding,
    source::ReadError,
    units::{Bytes, Grouped},
};

/// Reason why a file cannot be written. Displays as a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error<W> {
    /// The old file could not be read.
    Read(ReadError),
    /// The old file's metadata could not be read.
    Gguf(llama2_engine::gguf::Error),
    /// The new file could not be written.
    Write(W),
    /// A tensor contains NaN or infinity.
    NotFinite {
        /// Name of the tensor.
        name: String,
    },
    /// A tensor contains numbers that overflow in the new type.
    Overflow {
        /// Name of the tensor.
        name: String,
        /// New type.
        encoding: Encoding,
    },
    /// The format cannot represent something in the model.
    Lacks {
        /// Description of it.
        what: &'static str,
    },
    /// A tensor is larger than a file may be.
    Tensor {
        /// Name of the tensor.
        name: String,
        /// Size of a file with nothing else in it, in bytes.
        bytes: u64,
        /// Largest size of a file, in bytes.
        most: u64,
    },
    /// The model would be split into too many files.
    Files {
        /// Number of files.
        files: usize,
    },
    /// There is not enough memory for a few rows.
    OutOfMemory(OutOfMemory),
}

impl<W: fmt::Display> fmt::Display for Error<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => error.fmt(f),
            Error::Gguf(error) => error.fmt(f),
            Error::Write(error) => error.fmt(f),
            Error::NotFinite { name } => write!(
                f,
                "its tensor {name:?} holds numbers that are not numbers (NaN or infinite): it is damaged, or was made from such a one; fetch it again"
            ),
            Error::Overflow { name, encoding } => write!(
                f,
                "its tensor {name:?} holds numbers that are too large for {encoding}; choose another type"
            ),
            Error::Lacks { what } => {
                write!(
                    f,
                    "llama2.c's format cannot hold {what}; write a .gguf file instead"
                )
            }
            Error::Tensor { name, bytes, most } => write!(
                f,
                "its tensor {name:?} alone makes a file of {} bytes, but a file may have {}; allow larger ones",
                Grouped(*bytes),
                Grouped(*most)
            ),
            Error::Files { files } => write!(
                f,
                "would be {} files, but a model is split into {} at most; allow larger ones",
                Grouped(*files as u64),
                Grouped(MOST_FILES as u64)
            ),
            Error::OutOfMemory(OutOfMemory { bytes }) => {
                write!(f, "no memory for a few rows of it, {}", Bytes(*bytes))
            }
        }
    }
}

/// Destination of the new file's bytes.
pub type Sink<'a, W> = &'a mut dyn FnMut(&[u8]) -> Result<(), W>;
