//! llama2.c's checkpoint files: what they hold and where, proven against the file's size before anything is allocated.
//!
//! Three layouts, told apart by their first bytes (llama2.c's `export.py` writes all of them; `run.c` reads v0, `runq.c` v2):
//!
//! | layout | header | tensors |
//! |---|---|---|
//! | v0, legacy | 7 × i32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, ±vocab_size, seq_len | f32; vocab_size < 0: separate classifier, last |
//! | v1 | `ak42`, version 1, the 7 numbers, one byte "classifier shared"; 256 bytes | f32, norms first |
//! | v2 | as v1 with version 2 and, at byte 37, the group size as i32 | f32 norms, then int8 groups: a tensor's values, then its scales |
//!
//! All numbers are little-endian.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    buffer::OutOfMemory,
    cache::{self, KvType},
    config::{Config, NORM_EPSILON, ROPE_THETA},
    gguf,
    matrix::Encoding,
    session,
    source::{ByteSource, ReadError},
    units::{Bytes, Grouped},
};

/// `ak42` read as a little-endian u32.
const MAGIC: u32 = 0x616b_3432;
const V0_HEADER: u64 = 28;
const HEADER: u64 = 256;
/// Dimensions above this are a damaged header, not a model: the largest Llamas stay below 2^18.
pub(crate) const LARGEST_DIMENSION: i32 = 1 << 24;
/// Layers above this likewise (Llama 3.1 405B has 126).
pub(crate) const MOST_LAYERS: i32 = 1 << 12;

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

/// Why a checkpoint cannot be loaded. Shown, it is a sentence without the file's name: a shell puts "name: " before it.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The medium failed.
    Read(ReadError),
    /// No bytes at all.
    Empty,
    /// Fewer bytes than a header.
    NoHeader {
        /// The file's size.
        found: u64,
    },
    /// The first bytes are those of something else.
    OtherFormat {
        /// What it is, with its article.
        what: &'static str,
        /// What to do.
        advice: &'static str,
    },
    /// `ak42` with a version that llama2.c never wrote.
    Version {
        /// The version in the file.
        found: i32,
    },
    /// A number of the header that no model has.
    Dimension {
        /// Its name in llama2.c.
        name: &'static str,
        /// The number found.
        found: i32,
        /// The largest one allowed.
        most: i32,
    },
    /// A number that must divide another and does not.
    Indivisible {
        /// Name and value of the divisor.
        divisor: (&'static str, usize),
        /// Name and value of the number to be divided.
        dividend: (&'static str, usize),
    },
    /// Heads of an odd width, which RoPE cannot turn in pairs.
    OddHead {
        /// dim / n_heads.
        head_dim: usize,
    },
    /// A group size that is not positive.
    GroupSize {
        /// The number found.
        found: i32,
    },
    /// The file is not as long as its header says.
    Size {
        /// Bytes that the header asks for.
        expected: u64,
        /// Bytes in the file.
        found: u64,
        /// The header's shape.
        config: Config,
    },
    /// The header's sizes leave 64-bit arithmetic.
    TooLarge,
    /// More than the memory that is free.
    Memory {
        /// Bytes needed.
        needed: u64,
        /// Bytes free.
        free: u64,
    },
    /// Something in a GGUF file.
    Gguf(gguf::Error),
    /// The allocator gave up.
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
                    "has {found} bytes, fewer than a checkpoint's header; it is not a model, or cut short: fetch it again"
                )
            }
            Error::OtherFormat { what, advice } => {
                write!(f, "is {what}, not a llama2.c checkpoint; {advice}")
            }
            Error::Version { found } => {
                write!(
                    f,
                    "has checkpoint version {found}, but only 0, 1 and 2 are known; export it again with llama2.c's export.py"
                )
            }
            Error::Dimension { name, found, most } => write!(
                f,
                "is not a llama2.c checkpoint, or its header is damaged: {name} is {found}, but must be 1 to {}; fetch it again",
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
                    "its int8 group size is {found}, but must be at least 1; the header is damaged or the export is wrong"
                )
            }
            Error::Size {
                expected,
                found,
                config: c,
            } => {
                write!(
                    f,
                    "needs {} bytes for dim {}, {} layers, vocab {}, but the file has {}: ",
                    Grouped(*expected),
                    c.dim,
                    c.n_layers,
                    Grouped(c.vocab_size as u64),
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
                "its header asks for more bytes than 64 bits can count; it is damaged: fetch it again"
            ),
            Error::Memory { needed, free } => {
                write!(
                    f,
                    "needs {}, {} free; take a smaller model, or give the machine more memory",
                    Bytes(*needed),
                    Bytes(*free)
                )
            }
            Error::OutOfMemory(OutOfMemory { bytes }) => {
                write!(
                    f,
                    "no {} of memory in one piece could be had; take a smaller model, or give the machine more memory",
                    Bytes(*bytes)
                )
            }
            Error::Gguf(error) => error.fmt(f),
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
}

impl Role {
    /// Rows and columns of such a tensor; a norm is one row.
    pub(crate) fn shape(self, c: &Config) -> (usize, usize) {
        match self {
            Role::Embedding | Role::Classifier => (c.vocab_size, c.dim),
            Role::AttentionNorm | Role::FfnNorm | Role::FinalNorm => (1, c.dim),
            Role::Wq | Role::Wo => (c.dim, c.dim),
            Role::Wk | Role::Wv => (c.kv_dim(), c.dim),
            Role::W1 | Role::W3 => (c.hidden_dim, c.dim),
            Role::W2 => (c.dim, c.hidden_dim),
            // Cosines and sines of seq_len positions and head_dim / 2 frequencies each.
            Role::RopeTables => (c.seq_len, c.head_dim()),
        }
    }

    /// Whether it is a vector, or numbers that are not read, and no matrix.
    pub(crate) fn is_vector(self) -> bool {
        matches!(
            self,
            Role::AttentionNorm | Role::FfnNorm | Role::FinalNorm | Role::RopeTables
        )
    }

    /// Whether there is one in each layer.
    fn in_layers(self) -> bool {
        !matches!(
            self,
            Role::Embedding | Role::Classifier | Role::FinalNorm | Role::RopeTables
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
                config: checkpoint.config,
            });
        }
        checkpoint.lay_out();
        Ok(checkpoint)
    }

    /// Reads a header from a file's first bytes (256, or all that there are).
    fn parse(head: &[u8]) -> Result<Checkpoint, Error> {
        let short = Error::NoHeader {
            found: head.len() as u64,
        };
        let int = |at: usize| -> Option<i32> {
            Some(i32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?))
        };
        let versioned = int(0).ok_or(short.clone())? as u32 == MAGIC;
        if !versioned {
            recognise(head)?;
        }
        let at = if versioned { 8 } else { 0 };
        let complete = if versioned { HEADER } else { V0_HEADER };
        if (head.len() as u64) < complete {
            return Err(short);
        }
        let field = |index: usize| int(at + 4 * index).ok_or(short.clone());
        let version = if versioned {
            int(4).ok_or(short.clone())?
        } else {
            0
        };
        if versioned && !(1..=2).contains(&version) {
            return Err(Error::Version { found: version });
        }

        let vocab_size = field(5)?;
        let shared_classifier = if versioned {
            head[36] != 0
        } else {
            vocab_size > 0
        };
        let vocab_size = if versioned {
            vocab_size
        } else {
            vocab_size.saturating_abs()
        };
        let config = Config {
            dim: dimension("dim", field(0)?, LARGEST_DIMENSION)?,
            hidden_dim: dimension("hidden_dim", field(1)?, LARGEST_DIMENSION)?,
            n_layers: dimension("n_layers", field(2)?, MOST_LAYERS)?,
            n_heads: dimension("n_heads", field(3)?, LARGEST_DIMENSION)?,
            n_kv_heads: dimension("n_kv_heads", field(4)?, LARGEST_DIMENSION)?,
            vocab_size: dimension("vocab_size", vocab_size, LARGEST_DIMENSION)?,
            seq_len: dimension("seq_len", field(6)?, LARGEST_DIMENSION)?,
            shared_classifier,
            rope_theta: ROPE_THETA,
            norm_epsilon: NORM_EPSILON,
        };
        check_heads(&config)?;
        let format = match version {
            0 => Format::V0,
            1 => Format::V1,
            _ => {
                let found = int(37).ok_or(short.clone())?;
                let group_size = usize::try_from(found)
                    .ok()
                    .filter(|&n| n > 0)
                    .ok_or(Error::GroupSize { found })?;
                // runq.c divides without looking and leaves the rest of each row out.
                divides(("group size", group_size), ("dim", config.dim))?;
                divides(
                    ("group size", group_size),
                    ("hidden_dim", config.hidden_dim),
                )?;
                Format::V2 { group_size }
            }
        };
        Ok(Checkpoint {
            format,
            config,
            tensors: Vec::new(),
        })
    }

    /// Bytes before the first tensor of a llama2.c file.
    fn header_size(&self) -> u64 {
        if self.format == Format::V0 {
            V0_HEADER
        } else {
            HEADER
        }
    }

    /// The order of the tensors in a llama2.c file: of each kind all layers', one after another.
    fn order(&self) -> impl Iterator<Item = Role> + use<> {
        use Role::*;
        let order: &[Role] = match self.format {
            Format::V0 => &[
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
                RopeTables,
                Classifier,
            ],
            _ => &[
                AttentionNorm,
                FfnNorm,
                FinalNorm,
                Embedding,
                Wq,
                Wk,
                Wv,
                Wo,
                W1,
                W2,
                W3,
                Classifier,
            ],
        };
        let shared = self.config.shared_classifier;
        order
            .iter()
            .copied()
            .filter(move |&role| role != Classifier || !shared)
    }

    /// How a llama2.c file holds the tensors of a kind, and how many they are.
    fn kind(&self, role: Role) -> (Tensor, usize) {
        let (rows, cols) = role.shape(&self.config);
        let encoding = match self.format {
            Format::V2 { group_size } if !role.is_vector() => Encoding::Q8 { group: group_size },
            _ => Encoding::F32,
        };
        let tensor = Tensor {
            role,
            layer: 0,
            rows,
            cols,
            encoding,
            offset: 0,
        };
        let count = if role.in_layers() {
            self.config.n_layers
        } else {
            1
        };
        (tensor, count)
    }

    /// The size that a llama2.c file must have.
    fn file_size(&self) -> Result<u64, Error> {
        let sum = self.order().try_fold(self.header_size(), |sum, role| {
            let (tensor, count) = self.kind(role);
            let bytes = tensor.encoding.file_bytes(tensor.rows, tensor.cols)?;
            sum.checked_add(bytes.checked_mul(count as u64)?)
        });
        sum.ok_or(Error::TooLarge)
    }

    /// Finds the tensors of a llama2.c file that is as long as it must be.
    fn lay_out(&mut self) {
        self.tensors = self.laid_out_as(self.format);
    }

    /// The tensors of the same model in a file of one of llama2.c's formats.
    pub(crate) fn laid_out_as(&self, format: Format) -> Vec<Tensor> {
        let other = Checkpoint {
            format,
            config: self.config,
            tensors: Vec::new(),
        };
        let mut offset = other.header_size();
        let mut tensors = Vec::new();
        for role in other.order() {
            let (tensor, count) = other.kind(role);
            for layer in 0..count {
                tensors.push(Tensor {
                    layer,
                    offset,
                    ..tensor
                });
                offset += tensor.file_bytes();
            }
        }
        tensors
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

/// Whether the numbers of heads make heads.
pub(crate) fn check_heads(config: &Config) -> Result<(), Error> {
    divides(("n_heads", config.n_heads), ("dim", config.dim))?;
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

/// `found` as a dimension.
fn dimension(name: &'static str, found: i32, most: i32) -> Result<usize, Error> {
    if (1..=most).contains(&found) {
        Ok(found as usize)
    } else {
        Err(Error::Dimension { name, found, most })
    }
}

fn divides(divisor: (&'static str, usize), dividend: (&'static str, usize)) -> Result<(), Error> {
    if dividend.1.is_multiple_of(divisor.1) {
        Ok(())
    } else {
        Err(Error::Indivisible { divisor, dividend })
    }
}

/// Names the files that people take for a checkpoint most often.
fn recognise(head: &[u8]) -> Result<(), Error> {
    const EXPORT: &str = "export it with llama2.c's export.py";
    const KNOWN: [(&[u8], &str, &str); 6] = [
        (b"lmgg", "a file of the old GGML format", EXPORT),
        (b"tjgg", "a file of the old GGJT format", EXPORT),
        (
            b"PK\x03\x04",
            "a zip file (PyTorch saves its .pt files so)",
            EXPORT,
        ),
        (b"\x1f\x8b", "a gzip file", "unpack it first"),
        (
            b"version https://git-lfs",
            "a Git LFS pointer",
            "fetch the file itself with `git lfs pull`",
        ),
        (
            b"<",
            "a web page",
            "fetch the file again, from its download link",
        ),
    ];
    let web = |c: u8| c.is_ascii_alphabetic() || c == b'!' || c == b'?';
    for (magic, what, advice) in KNOWN {
        if head.starts_with(magic) && (magic != b"<" || head.get(1).copied().is_some_and(web)) {
            return Err(Error::OtherFormat { what, advice });
        }
    }
    // safetensors: the length of a JSON header as u64, then the JSON.
    if head.get(8) == Some(&b'{') && head.get(9) == Some(&b'"') {
        return Err(Error::OtherFormat {
            what: "a safetensors file",
            advice: EXPORT,
        });
    }
    Ok(())
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
