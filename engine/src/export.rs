//! Writes a checkpoint anew: as GGUF, or as llama2.c's int8 (v2), whatever it was, a row at a time.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use crate::{
    checkpoint::{Checkpoint, Format, Role, Tensor},
    config::{Config, Variant},
    gguf,
    matrix::{Coded, Encoding},
    quantize,
    source::{ByteSource, ReadError},
    tokenizer::Tokenizer,
};

/// Why a file cannot be written. Shown, it is a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error<W> {
    /// The old file could not be read.
    Read(ReadError),
    /// The old file's metadata could not be.
    Gguf(gguf::Error),
    /// The new file could not be written.
    Write(W),
    /// The format has no room for something in the model.
    Lacks {
        /// What it is.
        what: &'static str,
    },
}

impl<W: fmt::Display> fmt::Display for Error<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => error.fmt(f),
            Error::Gguf(error) => error.fmt(f),
            Error::Write(error) => error.fmt(f),
            Error::Lacks { what } => {
                write!(
                    f,
                    "llama2.c's format cannot hold {what}; write a .gguf file instead"
                )
            }
        }
    }
}

/// What takes the new file's bytes.
pub type Sink<'a, W> = &'a mut dyn FnMut(&[u8]) -> Result<(), W>;

/// Of which types the matrices of a new file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixture {
    /// All of one.
    Pure(Encoding),
    /// llama.cpp's Q4_K_M: Q4_K, and Q6_K where errors cost most: the classifier, and in half of the layers the values and the
    /// feed-forward's way back.
    Q4KM,
}

impl Mixture {
    /// The type of a tensor: the mixture's, or where a block of it does not divide the rows the nearest one that fits, as
    /// llama.cpp chooses it.
    fn of(self, tensor: &Tensor, config: &Config) -> Encoding {
        let wanted = match self {
            _ if tensor.role.is_vector() => return Encoding::F32,
            Mixture::Pure(encoding) => encoding,
            Mixture::Q4KM => {
                let (layer, layers) = (tensor.layer, config.n_layers);
                let more =
                    layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
                let classifier = if config.shared_classifier {
                    Role::Embedding
                } else {
                    Role::Classifier
                };
                match tensor.role {
                    Role::Wv | Role::W2 if more => Encoding::Coded(Coded::Q6K),
                    role if role == classifier => Encoding::Coded(Coded::Q6K),
                    _ => Encoding::Coded(Coded::Q4K),
                }
            }
        };
        let fits = |encoding: &Encoding| tensor.cols.is_multiple_of(encoding.block());
        let instead = match wanted {
            Encoding::Coded(Coded::Q4K) => Encoding::Coded(Coded::Q5_0),
            Encoding::Coded(Coded::Q5K) => Encoding::Coded(Coded::Q5_1),
            Encoding::Coded(Coded::Q6K) => Encoding::Q8_0,
            _ => Encoding::F16,
        };
        [wanted, instead]
            .into_iter()
            .find(fits)
            .unwrap_or(Encoding::F16)
    }

    /// `general.file_type` (`enum llama_ftype`).
    fn number(self) -> u32 {
        match self {
            Mixture::Pure(Encoding::F32) => 0,
            Mixture::Pure(Encoding::F16) => 1,
            Mixture::Pure(Encoding::Q4_0) => 2,
            Mixture::Pure(Encoding::Q8_0 | Encoding::Q8 { .. }) => 7,
            Mixture::Pure(Encoding::BF16) => 32,
            Mixture::Pure(Encoding::Coded(coded)) => match coded {
                Coded::Q4_1 => 3,
                Coded::Q5_0 => 8,
                Coded::Q5_1 => 9,
                Coded::Q2K => 10,
                Coded::Q3K => 11,
                Coded::Q4K => 14,
                Coded::Q5K => 16,
                Coded::Q6K => 18,
                Coded::Iq4Nl => 25,
                Coded::Iq4Xs => 30,
            },
            Mixture::Q4KM => 15,
        }
    }
}

/// A row of a tensor at a time.
struct Rows<'a> {
    source: &'a mut dyn ByteSource,
    tensor: Tensor,
    bytes: Vec<u8>,
    scales: Vec<u8>,
}

impl<'a> Rows<'a> {
    fn new(source: &'a mut dyn ByteSource, tensor: Tensor) -> Self {
        Rows {
            source,
            tensor,
            bytes: Vec::new(),
            scales: Vec::new(),
        }
    }

    fn read(&mut self, row: usize, out: &mut [f32]) -> Result<(), ReadError> {
        let t = &self.tensor;
        let parts = t.encoding.parts(1, t.cols).map(|bytes| bytes as usize);
        let values = t.encoding.parts(t.rows, t.cols)[0];
        self.bytes.resize(parts[0], 0);
        self.scales.resize(parts[1], 0);
        let at = t.offset + (row * parts[0]) as u64;
        self.source.read_at(at, &mut self.bytes)?;
        if parts[1] > 0 {
            let at = t.offset + values + (row * parts[1]) as u64;
            self.source.read_at(at, &mut self.scales)?;
        }
        quantize::decode(t.encoding, &self.bytes, &self.scales, out);
        Ok(())
    }
}

/// Rows are gathered to as many bytes before they are written.
const PIECE: usize = 1 << 20;

/// Writes one tensor in `encoding`.
fn tensor<W>(
    source: &mut dyn ByteSource,
    tensor: Tensor,
    encoding: Encoding,
    sink: Sink<'_, W>,
) -> Result<(), Error<W>> {
    let mut rows = Rows::new(source, tensor);
    let mut row = alloc::vec![0.0; tensor.cols];
    let (mut out, mut scales) = (Vec::new(), Vec::new());
    for index in 0..tensor.rows {
        rows.read(index, &mut row).map_err(Error::Read)?;
        quantize::encode(encoding, &row, &mut out, &mut scales);
        if out.len() >= PIECE {
            sink(&out).map_err(Error::Write)?;
            out.clear();
        }
    }
    sink(&out).map_err(Error::Write)?;
    sink(&scales).map_err(Error::Write)
}

/// Writes `checkpoint` as llama2.c's int8 (v2), which runq.c reads. The groups are as long as those of its `export.py`, or
/// shorter where 64 does not divide the feed-forward layer's width.
///
/// # Errors
/// [`Error`].
pub fn v2<W>(
    checkpoint: &Checkpoint,
    source: &mut dyn ByteSource,
    sink: Sink<'_, W>,
) -> Result<(), Error<W>> {
    let c = &checkpoint.config;
    let (own, plain) = (&c.variant, Variant::LLAMA2C);
    let extra = checkpoint.tensors.iter().any(|t| t.role.is_extra());
    for (lacks, what) in [
        (
            own.rope.theta != plain.rope.theta,
            "a RoPE base other than 10 000",
        ),
        (
            own.norm_epsilon != plain.norm_epsilon,
            "an RMSNorm epsilon other than 1e-5",
        ),
        (own.rope.layout != plain.rope.layout, "RoPE in halves"),
        (
            own.rope.scaling != plain.rope.scaling || extra,
            "scaled RoPE, biases or norms of queries and keys",
        ),
        (own.scales != plain.scales, "scaled sums"),
        (
            own.head_dim.is_some_and(|width| width * c.n_heads != c.dim),
            "heads of a width of their own",
        ),
        (own.window.is_some(), "a sliding window"),
    ] {
        if lacks {
            return Err(Error::Lacks { what });
        }
    }
    let divides =
        |group: &usize| c.dim.is_multiple_of(*group) && c.hidden_dim.is_multiple_of(*group);
    let group_size = [64, 32, 16, 8, 4, 2].into_iter().find(divides).unwrap_or(1);
    let mut header = b"24ka".to_vec();
    let numbers = [
        2,
        c.dim,
        c.hidden_dim,
        c.n_layers,
        c.n_heads,
        c.n_kv_heads,
        c.vocab_size,
        c.seq_len,
    ];
    header.extend(numbers.iter().flat_map(|&n| (n as u32).to_le_bytes()));
    header.push(c.shared_classifier.into());
    header.extend((group_size as u32).to_le_bytes());
    header.resize(256, 0);
    sink(&header).map_err(Error::Write)?;
    let format = Format::V2 { group_size };
    for wanted in checkpoint.laid_out_as(format) {
        let same = |t: &&Tensor| (t.role, t.layer) == (wanted.role, wanted.layer);
        if let Some(found) = checkpoint.tensors.iter().find(same) {
            tensor(source, *found, wanted.encoding, sink)?;
        }
    }
    Ok(())
}

/// Bytes that tensors begin at multiples of.
const ALIGNMENT: u64 = 32;

/// Writes `checkpoint` as GGUF version 3, its matrices of the types of `mixture`. A
/// GGUF file's own metadata are kept; other files get those of llama2.c and of `tokenizer`, and `name`.
///
/// # Errors
/// [`Error`].
pub fn gguf<W>(
    checkpoint: &Checkpoint,
    source: &mut dyn ByteSource,
    tokenizer: Option<&Tokenizer>,
    name: &str,
    mixture: Mixture,
    sink: Sink<'_, W>,
) -> Result<(), Error<W>> {
    let mut tensors: Vec<(Tensor, Encoding)> = Vec::new();
    for t in checkpoint.used() {
        tensors.push((*t, mixture.of(t, &checkpoint.config)));
    }
    let mut entries = Entries::default();
    if let Format::Gguf { .. } = checkpoint.format {
        let replaced = [
            "general.file_type",
            "general.quantization_version",
            "general.alignment",
            "split.no",
            "split.count",
            "split.tensors.count",
        ];
        let copied = gguf::raw_entries(source, &mut |key, bytes| {
            if !replaced.contains(&key) {
                entries.raw(bytes);
            }
        });
        copied.map_err(|error| match error {
            crate::checkpoint::Error::Read(error) => Error::Read(error),
            crate::checkpoint::Error::Gguf(error) => Error::Gguf(error),
            // Nothing else can go wrong there.
            _ => Error::Lacks {
                what: "its metadata",
            },
        })?;
    } else {
        describe(checkpoint, name, &mut entries);
        if let Some(tokenizer) = tokenizer {
            vocabulary(tokenizer, &mut entries);
        }
    }
    entries.u32("general.file_type", mixture.number());
    entries.u32("general.quantization_version", 2);

    let mut head = gguf::MAGIC.to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend(entries.count.to_le_bytes());
    head.append(&mut entries.bytes);
    let mut offset = 0u64;
    for (t, encoding) in &tensors {
        text(&mut head, gguf::name(t.role, t.layer).as_bytes());
        let dimensions: &[usize] = if t.role.is_vector() {
            &[t.cols]
        } else {
            &[t.cols, t.rows]
        };
        head.extend((dimensions.len() as u32).to_le_bytes());
        head.extend(dimensions.iter().flat_map(|&n| (n as u64).to_le_bytes()));
        head.extend(gguf::number(*encoding).unwrap_or(0).to_le_bytes());
        head.extend(offset.to_le_bytes());
        let bytes = encoding.file_bytes(t.rows, t.cols).unwrap_or(0);
        offset += bytes.next_multiple_of(ALIGNMENT);
    }
    head.resize(head.len().next_multiple_of(ALIGNMENT as usize), 0);
    sink(&head).map_err(Error::Write)?;
    for (t, encoding) in &tensors {
        tensor(source, *t, *encoding, sink)?;
        let bytes = encoding.file_bytes(t.rows, t.cols).unwrap_or(0);
        let padding = bytes.next_multiple_of(ALIGNMENT) - bytes;
        sink(&[0; ALIGNMENT as usize][..padding as usize]).map_err(Error::Write)?;
    }
    Ok(())
}

/// Metadata as the file has them.
#[derive(Default)]
struct Entries {
    count: u64,
    bytes: Vec<u8>,
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

impl Entries {
    /// An entry that is whole.
    fn raw(&mut self, bytes: &[u8]) {
        self.count += 1;
        self.bytes.extend(bytes);
    }

    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.count += 1;
        text(&mut self.bytes, key.as_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(value);
    }

    fn u32(&mut self, key: &str, value: u32) {
        self.entry(key, 4, &value.to_le_bytes());
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.entry(key, 6, &value.to_le_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        text(&mut bytes, value.as_bytes());
        self.entry(key, 8, &bytes);
    }

    fn array(&mut self, key: &str, kind: u32, count: usize, values: &[u8]) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((count as u64).to_le_bytes());
        bytes.extend(values);
        self.entry(key, 9, &bytes);
    }
}

/// What llama.cpp must know of the model.
fn describe(checkpoint: &Checkpoint, name: &str, entries: &mut Entries) {
    let c = &checkpoint.config;
    entries.text("general.architecture", "llama");
    entries.text("general.name", name);
    for (key, value) in [
        ("context_length", c.seq_len),
        ("embedding_length", c.dim),
        ("block_count", c.n_layers),
        ("feed_forward_length", c.hidden_dim),
        ("attention.head_count", c.n_heads),
        ("attention.head_count_kv", c.n_kv_heads),
        ("rope.dimension_count", c.head_dim()),
        ("vocab_size", c.vocab_size),
    ] {
        entries.u32(&format!("llama.{key}"), value as u32);
    }
    entries.f32("llama.rope.freq_base", c.variant.rope.theta);
    entries.f32(
        "llama.attention.layer_norm_rms_epsilon",
        c.variant.norm_epsilon,
    );
}

/// llama2.c's vocabulary in SentencePiece's words.
fn vocabulary(tokenizer: &Tokenizer, entries: &mut Entries) {
    const MARK: &str = "\u{2581}";
    let (mut tokens, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for (token, (piece, score)) in tokenizer.pieces().enumerate() {
        // Unknown 2, control 3, byte 6, normal 1.
        let (word, kind): (Vec<u8>, i32) = match token {
            0 => (b"<unk>".to_vec(), 2),
            1 => (b"<s>".to_vec(), 3),
            2 => (b"</s>".to_vec(), 3),
            3..=258 => (format!("<0x{:02X}>", token - 3).into_bytes(), 6),
            _ => {
                let marked = String::from_utf8_lossy(piece).replace(' ', MARK);
                (marked.into_bytes(), 1)
            }
        };
        text(&mut tokens, &word);
        scores.extend(score.to_le_bytes());
        kinds.extend(kind.to_le_bytes());
    }
    let count = tokenizer.vocab_size();
    entries.text("tokenizer.ggml.model", "llama");
    entries.text("tokenizer.ggml.pre", "default");
    entries.array("tokenizer.ggml.tokens", 8, count, &tokens);
    entries.array("tokenizer.ggml.scores", 6, count, &scores);
    entries.array("tokenizer.ggml.token_type", 5, count, &kinds);
    entries.u32("tokenizer.ggml.bos_token_id", 1);
    entries.u32("tokenizer.ggml.eos_token_id", 2);
    entries.u32("tokenizer.ggml.unknown_token_id", 0);
}
