//! Writes a checkpoint anew: as GGUF, in one file or several, or as llama2.c's int8 (v2), whatever
//! it was.
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

/// Why a file cannot be written. Shown, it is a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error<W> {
    /// The old file could not be read.
    Read(ReadError),
    /// The old file's metadata could not be.
    Gguf(llama2_engine::gguf::Error),
    /// The new file could not be written.
    Write(W),
    /// A tensor with numbers that are none, or are infinite.
    NotFinite {
        /// Its name.
        name: String,
    },
    /// A tensor with numbers that another type has no room for.
    Overflow {
        /// Its name.
        name: String,
        /// The type.
        encoding: Encoding,
    },
    /// The format has no room for something in the model.
    Lacks {
        /// What it is.
        what: &'static str,
    },
    /// A tensor that is larger than a file may be.
    Tensor {
        /// Its name.
        name: String,
        /// Bytes of a file with nothing else in it.
        bytes: u64,
        /// Bytes that a file may have.
        most: u64,
    },
    /// More files than a model may be split into.
    Files {
        /// How many there would be.
        files: usize,
    },
    /// Not enough memory for a few rows.
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

/// What takes the new file's bytes.
pub type Sink<'a, W> = &'a mut dyn FnMut(&[u8]) -> Result<(), W>;
