//! GGUF, llama.cpp's file format (versions 2 and 3, little-endian): metadata and the list of
//! tensors.
//!
//! The file: `GGUF`, u32 version, u64 number of tensors, u64 number of metadata entries; the
//! entries (key, u32 type, value); for each tensor its name, u32 number of dimensions, a u64 for
//! each (the columns first), u32 type, u64 offset; from the next multiple of `general.alignment`
//! on, the tensors. A string is a u64 length and that many bytes of UTF-8, an array a u32 type, a
//! u64 length and its values. Source: ggml's `docs/gguf.md`.
//!
//! Every count, length and offset is checked against the file's size before it is used, so that
//! time and memory are bounded by the file's actual size.

mod architectures;
mod error;
pub(crate) mod metadata;
mod shape;
mod split;
mod tensors;
mod types;

pub use error::Error;
pub use metadata::{Array, Value, metadata};
pub use split::PartName;
pub use tensors::{Listed, tensors};
pub use types::number;

pub use metadata::raw_entries;

pub(crate) use tensors::open;

/// Magic bytes at the beginning of a file.
pub const MAGIC: [u8; 4] = *b"GGUF";
