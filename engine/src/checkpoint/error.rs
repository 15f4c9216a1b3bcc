//! Errors in model files; each displays as a sentence.

use alloc::string::String;
use core::fmt;

use super::llama2c::LARGEST_GROUP;
use crate::{
    buffer::OutOfMemory,
    gguf,
    source::ReadError,
    units::{Bytes, Grouped, Quoted},
};

/// Reason why a checkpoint cannot be loaded. Displays as a sentence without the file's name: shells
/// put "name: " before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The medium could not be read.
    Read(ReadError),
    /// The file is empty.
    Empty,
    /// The file is shorter than a header.
    NoHeader {
        /// Size of the file in bytes.
        found: u64,
    },
    /// The first bytes are those of another format.
    OtherFormat {
        /// Name of the other format, with its article.
        what: &'static str,
        /// Suggestion what to do.
        advice: &'static str,
    },
    /// `ak42` with a version that llama2.c does not define.
    Version {
        /// Version in the file.
        found: i32,
    },
    /// A number of the header is out of range.
    Dimension {
        /// Its name in llama2.c.
        name: &'static str,
        /// Value in the file.
        found: i32,
        /// Largest value allowed.
        most: i32,
    },
    /// A number is not divisible by another.
    Indivisible {
        /// Name and value of the divisor.
        divisor: (&'static str, usize),
        /// Name and value of the dividend.
        dividend: (&'static str, usize),
    },
    /// The heads have an odd width, so that RoPE cannot rotate pairs.
    OddHead {
        /// dim / n_heads.
        head_dim: usize,
    },
    /// The group size is not positive, or too large.
    GroupSize {
        /// Value in the file.
        found: i32,
    },
    /// The file's size does not match its header.
    Size {
        /// Size in bytes that the header implies.
        expected: u64,
        /// Size of the file in bytes.
        found: u64,
        /// `dim` in the header.
        dim: usize,
        /// `n_layers` in the header.
        n_layers: usize,
        /// `vocab_size` in the header.
        vocab_size: usize,
    },
    /// The sizes in the header overflow 64-bit arithmetic.
    TooLarge,
    /// The model needs more memory than is free.
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// The requested context is longer than the model's.
    Context {
        /// Number of positions requested.
        wanted: usize,
        /// Number of positions of the model.
        own: usize,
    },
    /// Keys and values in blocks of 32 were requested, but the head size is not a multiple of that.
    KvType {
        /// Elements per head.
        head_dim: usize,
    },
    /// A GGUF file is invalid or not supported.
    Gguf(gguf::Error),
    /// A tensor contains NaN or infinity.
    NotFinite {
        /// Name of the tensor.
        tensor: String,
    },
    /// An allocation failed.
    OutOfMemory(OutOfMemory),
    /// The user stopped the loading.
    Stopped,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => error.fmt(f),
            Error::Empty => write!(f, "the file is empty; fetch it again"),
            Error::NoHeader { found } => {
                write!(
                    f,
                    "has {found} bytes, fewer than a model's header; it is neither a GGUF file nor a llama2.c checkpoint, or cut short: fetch it again"
                )
            }
            Error::OtherFormat { what, advice } => {
                write!(
                    f,
                    "is {what}, neither a GGUF file nor a llama2.c checkpoint; {advice}"
                )
            }
            Error::Version { found } => {
                write!(
                    f,
                    "has checkpoint version {found}, but only 0, 1 and 2 are known; export it again with llama2.c's export.py"
                )
            }
            Error::Dimension { name, found, most } => write!(
                f,
                "is neither a GGUF file nor a llama2.c checkpoint, or its header is damaged: {name} is {found}, but must be 1 to {}; fetch it again",
                Grouped(*most as u64)
            ),
            Error::Indivisible {
                divisor: (divisor, d),
                dividend: (dividend, n),
            } => {
                write!(
                    f,
                    "{divisor} {d} does not divide {dividend} {n}; the header is damaged or the export is wrong: export it again"
                )
            }
            Error::OddHead { head_dim } => write!(
                f,
                "its heads are {head_dim} wide, but RoPE turns pairs and needs an even width; the header is damaged or the export is wrong"
            ),
            Error::GroupSize { found } => {
                write!(
                    f,
                    "its int8 group size is {found}, but must be 1 to {}; the header is damaged or the export is wrong",
                    Grouped(LARGEST_GROUP as u64)
                )
            }
            Error::Size {
                expected,
                found,
                dim,
                n_layers,
                vocab_size,
            } => {
                write!(
                    f,
                    "needs {} bytes for dim {dim}, {n_layers} layers, vocab {}, but the file has {}: ",
                    Grouped(*expected),
                    Grouped(*vocab_size as u64),
                    Grouped(*found)
                )?;
                if found < expected {
                    write!(f, "it is cut short; fetch it again")
                } else {
                    write!(
                        f,
                        "{} too many; it is damaged or not what its header says: fetch it again",
                        Grouped(found - expected)
                    )
                }
            }
            Error::TooLarge => write!(
                f,
                "its header implies more bytes than 64 bits can count; it is damaged: fetch it again"
            ),
            Error::Memory { needed, free } => {
                write!(
                    f,
                    "needs {}, {} free; use a smaller model, or add memory to the machine",
                    Bytes(*needed),
                    Bytes(*free)
                )
            }
            Error::OutOfMemory(OutOfMemory { bytes }) => {
                write!(
                    f,
                    "{} of memory could not be allocated in one piece; use a smaller model, or add memory to the machine",
                    Bytes(*bytes)
                )
            }
            Error::Context { wanted, own } => write!(
                f,
                "a context of {} positions is not possible: the model has 1 to {}",
                Grouped(*wanted as u64),
                Grouped(*own as u64)
            ),
            Error::KvType { head_dim } => write!(
                f,
                "its heads are {head_dim} wide, and keys and values in q8_0 need a multiple of 32; use f16"
            ),
            Error::Gguf(error) => error.fmt(f),
            Error::NotFinite { tensor } => write!(
                f,
                "its tensor {} holds numbers that are not numbers (NaN or infinite): it is damaged, or was made from such a one; fetch it again",
                Quoted(tensor)
            ),
            Error::Stopped => write!(f, "loading was stopped"),
        }
    }
}

impl core::error::Error for Error {}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Error::Read(error)
    }
}

impl From<OutOfMemory> for Error {
    fn from(error: OutOfMemory) -> Self {
        Error::OutOfMemory(error)
    }
}
