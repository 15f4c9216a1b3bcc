//! Writer of GGUF version 3: one file, or several of a limited size as written by llama-gguf-split.

use alloc::{string::String, vec::Vec};

use super::{
    Error, Sink,
    metadata::{Entries, describe, text, vocabulary},
    mixture::Mixture,
    rows::Converter,
};
use llama2_engine::{
    checkpoint::{self, Checkpoint, Format, Tensor},
    gguf,
    layout::Encoding,
    source::ByteSource,
    tokenizer::Tokenizer,
    workers::Workers,
};

/// Alignment of tensors in bytes.
const ALIGNMENT: u64 = 32;

/// Largest number of files that a model may be split into.
pub const MOST_FILES: usize = 1024;

/// Model to be written, and how.
pub struct Content<'a> {
    /// Model to read.
    pub checkpoint: &'a Checkpoint,
    /// Tokenizer, for a model whose own file has none. A GGUF file's metadata are kept.
    pub tokenizer: Option<&'a Tokenizer>,
    /// Value of `general.name`, for a model that is not a GGUF file.
    pub name: &'a str,
    /// Types of the matrices.
    pub mixture: Mixture,
}

/// Distribution of the tensors over files.
pub struct Plan {
    metadata: Entries,
    files: Vec<Vec<(Tensor, Encoding)>>,
}

impl Plan {
    /// Plans files of at most `most` bytes for `content`, in the order of its tensors: as few as
    /// this order allows.
    ///
    /// # Errors
    /// [`Error`]; never [`Error::Write`].
    pub fn new<W>(
        content: &Content<'_>,
        source: &mut dyn ByteSource,
        most: u64,
    ) -> Result<Plan, Error<W>> {
        let metadata = metadata(content, source)?;
        let head = HEADER + metadata.bytes.len() as u64 + SPLIT_ENTRIES;
        let (mut files, mut file) = (Vec::new(), Vec::new());
        let (mut described, mut data) = (head, 0u64);
        for tensor in content.checkpoint.used() {
            let encoding = content.mixture.of(tensor, &content.checkpoint.config);
            let description = described_bytes(tensor);
            let bytes = padded(tensor, encoding);
            let total = |described: u64, data: u64| {
                (described + description + ALIGNMENT).saturating_add(data.saturating_add(bytes))
            };
            if total(described, data) > most && !file.is_empty() {
                files.push(core::mem::take(&mut file));
                (described, data) = (HEADER + SPLIT_ENTRIES, 0);
            }
            let alone = total(described, data);
            if alone > most {
                return Err(Error::Tensor {
                    name: tensor.name(),
                    bytes: alone,
                    most,
                });
            }
            described += description;
            data += bytes;
            file.push((*tensor, encoding));
        }
        files.push(file);
        if files.len() > MOST_FILES {
            return Err(Error::Files { files: files.len() });
        }
        Ok(Plan { metadata, files })
    }

    /// Number of files.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all files' tensors, which is nearly everything to be written.
    pub fn bytes(&self) -> u64 {
        let all = self.files.iter().flatten();
        all.map(|(tensor, encoding)| padded(tensor, *encoding))
            .sum()
    }

    /// Writes file `index`, counted from 0.
    ///
    /// # Errors
    /// [`Error`].
    pub fn write<W>(
        &self,
        index: usize,
        source: &mut dyn ByteSource,
        workers: &dyn Workers,
        sink: Sink<'_, W>,
    ) -> Result<(), Error<W>> {
        let tensors = &self.files[index];
        sink(&self.head(index)).map_err(Error::Write)?;
        let mut converter = Converter::new(source, workers);
        for (tensor, encoding) in tensors {
            converter.write(tensor, *encoding, sink)?;
            let bytes = encoding.file_bytes(tensor.rows, tensor.cols).unwrap_or(0);
            let padding = padded(tensor, *encoding) - bytes;
            sink(&[0; ALIGNMENT as usize][..padding as usize]).map_err(Error::Write)?;
        }
        Ok(())
    }

    /// Everything before the tensors. The first file has all metadata; the others only have their
    /// number.
    fn head(&self, index: usize) -> Vec<u8> {
        let tensors = &self.files[index];
        let mut entries = Entries::default();
        if index == 0 {
            entries.append(&self.metadata);
        }
        if self.files.len() > 1 {
            let all: usize = self.files.iter().map(Vec::len).sum();
            entries.u16("split.no", index as u16);
            entries.u16("split.count", self.files.len() as u16);
            entries.i32("split.tensors.count", all as i32);
        }
        let mut head = gguf::MAGIC.to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((tensors.len() as u64).to_le_bytes());
        head.extend(entries.count.to_le_bytes());
        head.append(&mut entries.bytes);
        let mut offset = 0u64;
        for (tensor, encoding) in tensors {
            text(&mut head, tensor.name().as_bytes());
            let dimensions: &[usize] = if tensor.role.is_vector() {
                &[tensor.cols]
            } else {
                &[tensor.cols, tensor.rows]
            };
            head.extend((dimensions.len() as u32).to_le_bytes());
            head.extend(dimensions.iter().flat_map(|&n| (n as u64).to_le_bytes()));
            head.extend(gguf::number(*encoding).unwrap_or(0).to_le_bytes());
            head.extend(offset.to_le_bytes());
            offset += padded(tensor, *encoding);
        }
        head.resize(head.len().next_multiple_of(ALIGNMENT as usize), 0);
        head
    }
}

/// Size of magic, version and two counts.
const HEADER: u64 = 24;
/// Size of `split.no`, `split.count` and `split.tensors.count`: lengths, keys, types and values.
const SPLIT_ENTRIES: u64 = (8 + 8 + 4 + 2) + (8 + 11 + 4 + 2) + (8 + 19 + 4 + 4);

/// Size of a tensor's description, with at most two dimensions.
fn described_bytes(tensor: &Tensor) -> u64 {
    let name: String = tensor.name();
    8 + name.len() as u64 + 4 + 2 * 8 + 4 + 8
}

/// Size of a tensor with the padding behind it.
fn padded(tensor: &Tensor, encoding: Encoding) -> u64 {
    let bytes = encoding.file_bytes(tensor.rows, tensor.cols);
    bytes.unwrap_or(0).next_multiple_of(ALIGNMENT)
}

/// Metadata of the new model.
fn metadata<W>(content: &Content<'_>, source: &mut dyn ByteSource) -> Result<Entries, Error<W>> {
    let mut entries = Entries::default();
    let file_type = content.mixture.number();
    if let Format::Gguf { .. } = content.checkpoint.format {
        let changed = ["general.file_type", "general.quantization_version"];
        let left_out = [
            "general.alignment",
            "split.no",
            "split.count",
            "split.tensors.count",
        ];
        let copied = gguf::raw_entries(source, &mut |key, bytes| {
            let stays = file_type.is_none() || !changed.contains(&key);
            if stays && !left_out.contains(&key) {
                entries.raw(bytes);
            }
        });
        copied.map_err(|error| match error {
            checkpoint::Error::Read(error) => Error::Read(error),
            checkpoint::Error::Gguf(error) => Error::Gguf(error),
            // Nothing else can go wrong there.
            _ => Error::Lacks {
                what: "its metadata",
            },
        })?;
    } else {
        describe(content.checkpoint, content.name, &mut entries);
        if let Some(tokenizer) = content.tokenizer {
            vocabulary(tokenizer, &mut entries);
        }
    }
    if let Some(file_type) = file_type {
        entries.u32("general.file_type", file_type);
        entries.u32("general.quantization_version", 2);
    }
    Ok(entries)
}
