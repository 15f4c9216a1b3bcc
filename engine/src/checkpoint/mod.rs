//! Contents and layout of a model file of any format, checked against the file's size before
//! anything is allocated.

mod error;
pub mod gguf;
mod llama2c;
mod tensor;

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{config::Config, layout::Encoding, source::ByteSource};

pub use error::Error;
pub use tensor::{Role, Tensor};

/// Bytes sufficient to recognise every format.
const HEADER: u64 = 256;
/// Largest dimension accepted; the largest Llamas stay below 2^18.
pub(crate) const LARGEST_DIMENSION: i32 = 1 << 24;
/// Largest number of layers accepted (Llama 3.1 405B has 126).
pub(crate) const MOST_LAYERS: i32 = 1 << 12;

/// File format and layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// llama2.c's legacy layout: seven numbers, then float32.
    V0,
    /// llama2.c's 256-byte header, then float32.
    V1,
    /// llama2.c's 256-byte header, then int8 in groups with one float32 scale each ("Q8_0").
    V2 {
        /// Values that share one scale.
        group_size: usize,
    },
    /// llama.cpp's GGUF.
    Gguf {
        /// Version of the format.
        version: u32,
    },
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Format::V0 => write!(f, "llama2.c v0 (legacy), float32"),
            Format::V1 => write!(f, "llama2.c v1, float32"),
            Format::V2 { group_size } => {
                write!(f, "llama2.c v2, int8 in groups of {group_size} (Q8_0)")
            }
            Format::Gguf { version } => write!(f, "GGUF version {version}"),
        }
    }
}

/// Checkpoint whose header has been read. A value is proof that its shape makes a Llama and that
/// all its tensors are in the file, each exactly once and without overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// File format and layout.
    pub format: Format,
    /// Shape of the model.
    pub config: Config,
    /// All tensors, in the order of the file.
    pub tensors: Vec<Tensor>,
}

impl Checkpoint {
    /// Reads and checks the header: 256 bytes of llama2.c's formats, all metadata of GGUF.
    ///
    /// # Errors
    /// [`Error`], for the first problem found.
    pub fn open(source: &mut dyn ByteSource) -> Result<Checkpoint, Error> {
        let size = source.size();
        let mut header = [0u8; HEADER as usize];
        let head = &mut header[..size.min(HEADER) as usize];
        if head.is_empty() {
            return Err(Error::Empty);
        }
        source.read_at(0, head)?;
        if head.starts_with(&gguf::MAGIC) {
            return gguf::open(source);
        }
        let mut checkpoint = Self::parse(head)?;
        let expected = checkpoint.file_size()?;
        if size != expected {
            return Err(Error::Size {
                expected,
                found: size,
                dim: checkpoint.config.dim,
                n_layers: checkpoint.config.n_layers,
                vocab_size: checkpoint.config.vocab_size,
            });
        }
        checkpoint.lay_out();
        Ok(checkpoint)
    }

    /// Tensors that are used in a forward pass.
    pub fn used(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter().filter(|t| t.role != Role::RopeTables)
    }

    /// Number of parameters: the elements of all tensors that are used in a forward pass.
    pub fn parameters(&self) -> u64 {
        let elements = |t: &Tensor| t.rows as u64 * t.cols as u64;
        self.used().map(elements).fold(0, u64::saturating_add)
    }

    /// Types of the matrices, each with its number of tensors, the most frequent first.
    pub fn encodings(&self) -> Vec<(Encoding, usize)> {
        let mut found: Vec<(Encoding, usize)> = Vec::new();
        for tensor in self.used().filter(|t| !t.role.is_vector()) {
            match found
                .iter_mut()
                .find(|(encoding, _)| *encoding == tensor.encoding)
            {
                Some((_, count)) => *count += 1,
                None => found.push((tensor.encoding, 1)),
            }
        }
        found.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
        found
    }

    /// Size of the packed weights, in bytes.
    pub fn weight_bytes(&self) -> u64 {
        let packed = self.used().map(Tensor::packed_bytes);
        packed.fold(0, |sum, bytes| {
            bytes.unwrap_or(u64::MAX).saturating_add(sum)
        })
    }
}

/// Checks that the numbers of heads fit the dimensions.
pub(crate) fn check_heads(config: &Config) -> Result<(), Error> {
    if config.variant.head_dim.is_none() {
        divides(("n_heads", config.n_heads), ("dim", config.dim))?;
    }
    divides(
        ("n_kv_heads", config.n_kv_heads),
        ("n_heads", config.n_heads),
    )?;
    if config.head_dim().is_multiple_of(2) {
        Ok(())
    } else {
        Err(Error::OddHead {
            head_dim: config.head_dim(),
        })
    }
}

fn divides(divisor: (&'static str, usize), dividend: (&'static str, usize)) -> Result<(), Error> {
    if dividend.1.is_multiple_of(divisor.1) {
        Ok(())
    } else {
        Err(Error::Indivisible { divisor, dividend })
    }
}

/// Formats a shape with the usual names: `dim=288, n_layers=6, n_heads=6, vocab=32000`.
pub fn describe(config: &Config) -> String {
    alloc::format!(
        "dim={}, n_layers={}, n_heads={}, vocab={}",
        config.dim,
        config.n_layers,
        config.n_heads,
        config.vocab_size
    )
}
