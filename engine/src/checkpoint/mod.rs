//! What a model file holds and where, whatever its format, proven against the file's size before anything is allocated.

mod error;
mod llama2c;

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    cache::{self, KvType},
    config::Config,
    gguf,
    matrix::Encoding,
    session,
    source::ByteSource,
    units::{Bytes, Grouped},
};

pub use error::Error;

/// Bytes from which every format can be told.
const HEADER: u64 = 256;
/// Dimensions above this are a damaged header, not a model: the largest Llamas stay below 2^18.
pub(crate) const LARGEST_DIMENSION: i32 = 1 << 24;
/// Layers above this likewise (Llama 3.1 405B has 126).
pub(crate) const MOST_LAYERS: i32 = 1 << 12;
/// Positions below which a model is not run for want of memory, unless it has fewer; contexts that were shortened are multiples.
const SHORT_CONTEXT: usize = 256;

/// Which of llama2.c's layouts a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The legacy layout: float32 behind seven numbers.
    V0,
    /// float32 behind the 256-byte header.
    V1,
    /// int8 in groups with one float32 scale each ("Q8_0").
    V2 {
        /// Values that share one scale.
        group_size: usize,
    },
    /// llama.cpp's.
    Gguf {
        /// Its version.
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

/// Bytes of memory a model needs, by what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights.
    pub weights: u64,
    /// Keys and values of the whole context.
    pub kv_cache: u64,
    /// Everything else that a session and its loading hold: activations, logits, the sampler's list, the read buffer.
    pub activations: u64,
}

impl Memory {
    /// The sum.
    pub fn total(&self) -> u64 {
        self.weights
            .saturating_add(self.kv_cache)
            .saturating_add(self.activations)
    }

    /// Whether it fits into `free` bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers if not.
    pub fn check(&self, free: u64) -> Result<(), Error> {
        let needed = self.total();
        if needed > free {
            Err(Error::Memory { needed, free })
        } else {
            Ok(())
        }
    }
}

/// What a tensor is for, by its name in llama2.c.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Embedding,
    AttentionNorm,
    Wq,
    Wk,
    Wv,
    Wo,
    FfnNorm,
    W1,
    W2,
    W3,
    FinalNorm,
    /// v0's RoPE tables, which the engine computes itself.
    RopeTables,
    Classifier,
    /// What is added to queries, keys, values and attention's output.
    Bq,
    Bk,
    Bv,
    Bo,
    /// RMSNorms of each head's queries and keys.
    QNorm,
    KNorm,
    /// What RoPE's frequencies are divided by (Llama 3.1).
    RopeFactors,
}

impl Role {
    /// Rows and columns of such a tensor; a norm is one row.
    pub(crate) fn shape(self, c: &Config) -> (usize, usize) {
        match self {
            Role::Embedding | Role::Classifier => (c.vocab_size, c.dim),
            Role::AttentionNorm | Role::FfnNorm | Role::FinalNorm => (1, c.dim),
            Role::Wq => (c.q_dim(), c.dim),
            Role::Wo => (c.dim, c.q_dim()),
            Role::Wk | Role::Wv => (c.kv_dim(), c.dim),
            Role::W1 | Role::W3 => (c.hidden_dim, c.dim),
            Role::W2 => (c.dim, c.hidden_dim),
            // Cosines and sines of seq_len positions and head_dim / 2 frequencies each.
            Role::RopeTables => (c.seq_len, c.head_dim()),
            Role::Bq => (1, c.q_dim()),
            Role::Bk | Role::Bv => (1, c.kv_dim()),
            Role::Bo => (1, c.dim),
            Role::QNorm | Role::KNorm => (1, c.head_dim()),
            Role::RopeFactors => (1, c.head_dim() / 2),
        }
    }

    /// Whether it is a vector, or numbers that are not read, and no matrix.
    pub(crate) fn is_vector(self) -> bool {
        !matches!(
            self,
            Role::Embedding
                | Role::Classifier
                | Role::Wq
                | Role::Wk
                | Role::Wv
                | Role::Wo
                | Role::W1
                | Role::W2
                | Role::W3
        )
    }

    /// Whether a model may be without it.
    pub(crate) fn is_extra(self) -> bool {
        use Role::*;
        matches!(self, Bq | Bk | Bv | Bo | QNorm | KNorm | RopeFactors)
    }

    /// Whether its rows are turned by RoPE, or scale what is.
    pub(crate) fn is_turned(self) -> bool {
        use Role::*;
        matches!(self, Wq | Wk | Bq | Bk | QNorm | KNorm)
    }

    /// Whether there is one in each layer.
    fn in_layers(self) -> bool {
        !matches!(
            self,
            Role::Embedding
                | Role::Classifier
                | Role::FinalNorm
                | Role::RopeTables
                | Role::RopeFactors
        )
    }
}

/// A tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tensor {
    pub role: Role,
    /// The layer it belongs to; 0 if to none.
    pub layer: usize,
    /// Rows and columns; a norm is one row.
    pub rows: usize,
    pub cols: usize,
    pub encoding: Encoding,
    /// Its first byte in the file.
    pub offset: u64,
}

impl Tensor {
    /// Its name, as GGUF files have it.
    pub(crate) fn name(&self) -> String {
        gguf::name(self.role, self.layer)
    }

    /// Its bytes in the file, which are known to be there.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.encoding.file_bytes(self.rows, self.cols).unwrap_or(0)
    }

    /// Its bytes in memory; `None` on overflow.
    pub(crate) fn packed_bytes(&self) -> Option<u64> {
        if self.role.is_vector() {
            return self.encoding.file_bytes(self.rows, self.cols);
        }
        self.encoding.packed_bytes(self.rows, self.cols)
    }
}

/// A checkpoint whose header has been read. Having one proves that its shape makes a Llama and that all its tensors are in the
/// file, each once and none in another.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The file's layout.
    pub format: Format,
    /// The model's shape.
    pub config: Config,
    /// All tensors in the order in which they stand in the file.
    pub(crate) tensors: Vec<Tensor>,
}

impl Checkpoint {
    /// Reads and checks the header: 256 bytes of llama2.c's formats, all metadata of GGUF.
    ///
    /// # Errors
    /// [`Error`], the first thing that is wrong.
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

    /// The tensors that take part in a forward pass.
    pub(crate) fn used(&self) -> impl Iterator<Item = &Tensor> {
        self.tensors.iter().filter(|t| t.role != Role::RopeTables)
    }

    /// Number of parameters: the elements of all tensors that take part in a forward pass.
    pub fn parameters(&self) -> u64 {
        let elements = |t: &Tensor| t.rows as u64 * t.cols as u64;
        self.used().map(elements).fold(0, u64::saturating_add)
    }

    /// The types of the matrices, each with its number of tensors, the most frequent first.
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

    /// Sets the context that it will be run with, and tells it: `wanted` positions, or as many as `free` bytes have room for, the model's own at
    /// most.
    ///
    /// # Errors
    /// [`Error::Context`] for a number that the model does not have, [`Error::Memory`] where even a short context, or the
    /// one that is wanted, does not fit.
    pub fn fit(
        &mut self,
        wanted: Option<usize>,
        kv: KvType,
        workers: usize,
        free: u64,
    ) -> Result<Context, Error> {
        let own = self.config.seq_len;
        if let Some(wanted) = wanted {
            if !(1..=own).contains(&wanted) {
                return Err(Error::Context { wanted, own });
            }
            self.config.seq_len = wanted;
        } else {
            self.shorten(kv, workers, free)?;
        }
        let memory = self.memory(kv, workers);
        memory.check(free)?;
        Ok(Context {
            positions: self.config.seq_len,
            own,
            wanted: wanted.is_some(),
            kv,
            bytes: memory.kv_cache,
        })
    }

    /// Leaves as many positions as `free` bytes have room for.
    fn shorten(&mut self, kv: KvType, workers: usize, free: u64) -> Result<(), Error> {
        let own = self.config.seq_len;
        let mut with = |positions: usize| {
            self.config.seq_len = positions;
            self.memory(kv, workers)
        };
        if with(own).total() <= free {
            return Ok(());
        }
        let least = own.min(SHORT_CONTEXT);
        with(least).check(free)?;
        // It fits with `fits` positions, and not with `not`.
        let (mut fits, mut not) = (least, own);
        while not - fits > 1 {
            let middle = fits + (not - fits) / 2;
            if with(middle).total() <= free {
                fits = middle;
            } else {
                not = middle;
            }
        }
        self.config.seq_len = (fits / SHORT_CONTEXT * SHORT_CONTEXT).max(least);
        Ok(())
    }

    /// Memory needed to load and run it with `workers` workers, its whole context included.
    pub fn memory(&self, kv: KvType, workers: usize) -> Memory {
        let packed = self.used().map(Tensor::packed_bytes);
        Memory {
            weights: packed.fold(0, |sum, bytes| {
                bytes.unwrap_or(u64::MAX).saturating_add(sum)
            }),
            kv_cache: cache::kv_cache_bytes(&self.config, kv),
            activations: session::activation_bytes(&self.config, workers)
                .saturating_add(crate::model::PIECE as u64),
        }
    }
}

/// The context that a model is run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Positions.
    pub positions: usize,
    /// The model's own.
    pub own: usize,
    /// Whether somebody asked for so many.
    pub wanted: bool,
    /// What keys and values are kept in.
    pub kv: KvType,
    /// Bytes that they take.
    pub bytes: u64,
}

impl Context {
    /// Whether it is less than the model's because there is no memory for more.
    pub fn is_short(&self) -> bool {
        self.positions < self.own && !self.wanted
    }
}

/// How long it is, why it is not longer, and what it takes.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} positions", Grouped(self.positions as u64))?;
        if self.positions == self.own {
            write!(f, ", the model's own")?;
        } else {
            write!(f, " of the model's {}", Grouped(self.own as u64))?;
            let why = if self.wanted {
                ", as asked for"
            } else {
                ": there is no memory for more"
            };
            f.write_str(why)?;
        }
        write!(
            f,
            " (keys and values in {}: {}",
            self.kv.name(),
            Bytes(self.bytes)
        )?;
        if self.is_short() && self.kv != KvType::Q8_0 {
            let less = if self.kv == KvType::F32 {
                "f16 or q8_0"
            } else {
                "q8_0"
            };
            write!(f, "; {less} would take less")?;
        }
        f.write_str(")")
    }
}

/// Whether the numbers of heads make heads.
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

/// A shape in the words that people of this field know: `dim=288, n_layers=6, n_heads=6, vocab=32000`.
pub fn describe(config: &Config) -> String {
    alloc::format!(
        "dim={}, n_layers={}, n_heads={}, vocab={}",
        config.dim,
        config.n_layers,
        config.n_heads,
        config.vocab_size
    )
}
