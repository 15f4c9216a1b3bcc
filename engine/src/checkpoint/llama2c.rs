//! llama2.c's checkpoint files: contents and layout, checked against the file's size before
//! anything is allocated.
//!
//! Three layouts, distinguished by their first bytes (llama2.c's `export.py` writes all of them;
//! `run.c` reads v0, `runq.c` v2):
//!
//! | layout | header | tensors |
//! |---|---|---|
//! | v0, legacy | 7 × i32: dim, hidden_dim, n_layers, n_heads, n_kv_heads, ±vocab_size, seq_len | f32; vocab_size < 0: separate classifier, last |
//! | v1 | `ak42`, version 1, the 7 numbers, one byte "classifier shared"; 256 bytes | f32, norms first |
//! | v2 | as v1 with version 2 and, at byte 37, the group size as i32 | f32 norms, then int8 groups: a tensor's values, then its scales |
//!
//! All numbers are little-endian.

use alloc::vec::Vec;

use super::{
    Checkpoint, Error, Format, HEADER, LARGEST_DIMENSION, MOST_LAYERS, Role, Tensor, check_heads,
    divides,
};
use crate::{
    config::{Config, Variant},
    layout::Encoding,
};

/// Magic number `ak42`, read as a little-endian u32.
const MAGIC: u32 = 0x616b_3432;
const V0_HEADER: u64 = 28;
/// Largest number of values that share a scale: products of more could overflow the 32-bit sum.
pub(super) const LARGEST_GROUP: usize = 1 << 16;

impl Checkpoint {
    /// Parses a header from the file's first bytes (256, or all if there are fewer).
    pub(super) fn parse(head: &[u8]) -> Result<Checkpoint, Error> {
        let short = Error::NoHeader {
            found: head.len() as u64,
        };
        recognise(head)?;
        let int = |at: usize| -> Option<i32> {
            Some(i32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?))
        };
        let versioned = int(0).ok_or(short.clone())? as u32 == MAGIC;
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
            variant: Variant::LLAMA2C,
        };
        check_heads(&config)?;
        let format = match version {
            0 => Format::V0,
            1 => Format::V1,
            _ => {
                let found = int(37).ok_or(short.clone())?;
                let group_size = usize::try_from(found)
                    .ok()
                    .filter(|n| (1..=LARGEST_GROUP).contains(n))
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

    /// Size of the header of a llama2.c file, in bytes.
    fn header_size(&self) -> u64 {
        if self.format == Format::V0 {
            V0_HEADER
        } else {
            HEADER
        }
    }

    /// Order of the tensors in a llama2.c file: all layers' tensors of one kind, then the next
    /// kind.
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

    /// Storage of the tensors of one kind in a llama2.c file, and their number.
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

    /// Expected size of the llama2.c file, in bytes.
    pub(super) fn file_size(&self) -> Result<u64, Error> {
        let sum = self.order().try_fold(self.header_size(), |sum, role| {
            let (tensor, count) = self.kind(role);
            let bytes = tensor.encoding.file_bytes(tensor.rows, tensor.cols)?;
            sum.checked_add(bytes.checked_mul(count as u64)?)
        });
        sum.ok_or(Error::TooLarge)
    }

    /// Computes the tensors' offsets in a llama2.c file whose size has been checked.
    pub(super) fn lay_out(&mut self) {
        self.tensors = self.laid_out_as(self.format);
    }

    /// Tensors of the same model in a file of one of llama2.c's formats.
    pub fn laid_out_as(&self, format: Format) -> Vec<Tensor> {
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
}

/// Converts `found` to a dimension, if it is in range.
fn dimension(name: &'static str, found: i32, most: i32) -> Result<usize, Error> {
    if (1..=most).contains(&found) {
        Ok(found as usize)
    } else {
        Err(Error::Dimension { name, found, most })
    }
}

/// Recognises the files that are most often mistaken for a model.
pub(super) fn recognise(head: &[u8]) -> Result<(), Error> {
    const CONVERT: &str =
        "convert it with llama.cpp's convert_hf_to_gguf.py, or export it with llama2.c's export.py";
    const AGAIN: &str = "fetch the model as a GGUF file: llama.cpp has given up this format";
    const UNPACK: &str = "unpack it first";
    const PICKLE: &str = "a Python pickle (PyTorch saves its .pt and .bin files so)";
    const KNOWN: [(&[u8], &str, &str); 12] = [
        (b"lmgg", "a file of the old GGML format", AGAIN),
        (b"fmgg", "a file of the old GGMF format", AGAIN),
        (b"tjgg", "a file of the old GGJT format", AGAIN),
        (b"algg", "an adapter (LoRA) of the old GGLA format", AGAIN),
        (
            b"PK\x03\x04",
            "a zip file (PyTorch saves its .pt and .bin files so)",
            CONVERT,
        ),
        (
            b"\x89HDF\r\n",
            "an HDF5 file (Keras saves its models so)",
            CONVERT,
        ),
        (b"\x1f\x8b", "a gzip file", UNPACK),
        (b"BZh", "a bzip2 file", UNPACK),
        (b"\xfd7zXZ", "an xz file", UNPACK),
        (b"7z\xbc\xaf", "a 7z file", UNPACK),
        (b"\x28\xb5\x2f\xfd", "a zstd file", UNPACK),
        (
            b"version https://git-lfs",
            "a Git LFS pointer",
            "fetch the file itself with `git lfs pull`",
        ),
    ];
    let known = KNOWN.iter().find(|(magic, ..)| head.starts_with(magic));
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    let web = |c: &u8| c.is_ascii_alphabetic() || matches!(c, b'!' | b'?');
    let (what, advice) = if let Some((_, what, advice)) = known {
        (*what, *advice)
    } else if matches!(head, [0x80, 2..=5, 1..=255, ..]) {
        // A protocol and an operation; a checkpoint with that many dimensions has a 0 there.
        (PICKLE, CONVERT)
    } else if matches!(head, [_, _, _, _, _, _, 0, 0, b'{', 1..=255, ..]) {
        // The length of a JSON header as u64, then the JSON; no checkpoint has that many layers.
        ("a safetensors file", CONVERT)
    } else if is_text(head) && text.first() == Some(&b'<') && text.get(1).is_some_and(web) {
        ("a web page", "fetch the file again, from its download link")
    } else if is_text(head) {
        ("a text file", "name the model's own file")
    } else {
        return Ok(());
    };
    Err(Error::OtherFormat { what, advice })
}

/// Returns true if a file with this beginning is text: UTF-8, perhaps cut within a character, or
/// UTF-16 with a byte order mark.
fn is_text(head: &[u8]) -> bool {
    let control = |c: &u8| c.is_ascii_control() && !matches!(c, b'\t'..=b'\r' | 0x1a | 0x1b);
    let utf8 = match core::str::from_utf8(head) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    let utf16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    // Fewer bytes may be the beginning of anything.
    let whole = head.len() >= 8 || head.ends_with(b"\n");
    whole && (utf8 && !head.iter().any(control) || utf16)
}
