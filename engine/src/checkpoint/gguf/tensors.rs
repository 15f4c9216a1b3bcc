//! Tensors of a GGUF file, checked to be present exactly once, within the file, and not to overlap.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use super::{
    Error,
    architectures::Architecture,
    metadata::{Entries, Failure, LONGEST_NAME, Reader, believable, lossy, walk},
    shape::{config, of_all_layers},
    types,
};
use crate::{
    checkpoint::{self, Checkpoint, Format, Role, Tensor},
    config::Config,
    layout::Encoding,
    source::ByteSource,
    units::{Grouped, Quoted},
};

/// Alignment if the metadata specify none, and the largest one accepted.
const ALIGNMENT: u64 = 32;
const LARGEST_ALIGNMENT: u64 = 1 << 20;
/// Largest number of parts accepted.
pub(super) const MOST_PARTS: u64 = 1024;
/// Largest number of tensors of all parts together: those of more than 4096 layers.
const MOST_TENSORS: u64 = 1 << 16;

/// Opens a file that begins with [`MAGIC`](super::MAGIC), or all parts of a split model,
/// concatenated.
pub(crate) fn open(source: &mut dyn ByteSource) -> Result<Checkpoint, checkpoint::Error> {
    let gguf = checkpoint::Error::Gguf;
    let first = Part::read(source, 0)?;
    let count = first.count().map_err(gguf)?;
    if count > 1 {
        first.is_number(0, count).map_err(gguf)?;
    }
    let (architecture, version) = (
        Architecture::of(&first.entries).map_err(gguf)?,
        first.version,
    );
    let mut parts = alloc::vec![first];
    let mut tensors = parts[0].named.len();
    let borders = source.borders();
    if borders.len() + 1 != count {
        return Err(gguf(Error::Parts {
            wanted: count,
            found: borders.len() + 1,
        }));
    }
    for (index, start) in (1..).zip(borders) {
        let number = index as usize + 1;
        let mut part = Part::read(source, start).map_err(|error| match error {
            checkpoint::Error::Gguf(error) => gguf(error.in_part(number, count)),
            error => error,
        })?;
        part.is_number(index, count).map_err(gguf)?;
        // The first part's are the model's.
        part.entries = Entries::default();
        tensors += part.named.len();
        believable("tensors", tensors as u64, MOST_TENSORS).map_err(gguf)?;
        parts.push(part);
    }

    // The vocabulary's size is the embedding's.
    let named = || parts.iter().flat_map(|part| &part.named);
    let embedding = named().find(|n| n.name == "token_embd.weight");
    let vocab_size = match embedding.map(|n| n.shape[1]) {
        Some(rows @ 1..=0x100_0000) => rows as usize,
        Some(rows) => {
            return Err(gguf(Error::Unsupported {
                what: format!("its tensor \"token_embd.weight\" has {rows} rows"),
            }));
        }
        None => {
            return Err(gguf(Error::Missing {
                key: "token_embd.weight".into(),
            }));
        }
    };
    let shared = !named().any(|n| n.name == "output.weight");
    let end = parts[0].end;
    of_all_layers(source, end, &mut parts[0].entries, architecture)?;
    let config = config(&parts[0].entries, architecture, vocab_size, shared)?;

    let mut tensors = Vec::new();
    for (number, part) in (1..).zip(&parts) {
        part.place(architecture, &config, &mut tensors)
            .map_err(|error| gguf(error.in_part(number, count)))?;
    }
    whole(architecture, &config, &mut tensors).map_err(gguf)?;
    Ok(Checkpoint {
        format: Format::Gguf { version },
        config,
        tensors,
    })
}

/// Tensor as listed in the file, of any type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Name of the tensor.
    pub name: String,
    /// Name of the type, or its number if ggml has no name for it.
    pub kind: String,
    /// Columns and rows.
    pub shape: (u64, u64),
    /// Offset of the first byte in the source.
    pub offset: u64,
}

impl fmt::Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = format!("{} x {}", self.shape.0, self.shape.1);
        write!(
            f,
            "{:<32} {:<8} {shape:>16}  at {}",
            // Names come from the file: they must not move a terminal's cursor.
            format!("{}", self.name.escape_debug()),
            self.kind,
            Grouped(self.offset)
        )
    }
}

/// Lists all tensors of a GGUF file, or of all parts of a split model, in the file's order.
///
/// # Errors
/// [`checkpoint::Error`], for the first problem found in a description.
pub fn tensors(source: &mut dyn ByteSource) -> Result<Vec<Listed>, checkpoint::Error> {
    let mut all = Vec::new();
    let starts: Vec<u64> = core::iter::once(0).chain(source.borders()).collect();
    for start in starts {
        let part = Part::read(source, start)?;
        all.extend(part.named.iter().map(|tensor| Listed {
            name: tensor.name.clone(),
            kind: types::name(tensor.kind),
            shape: (tensor.shape[0], tensor.shape[1]),
            offset: part.data.saturating_add(tensor.offset),
        }));
    }
    Ok(all)
}

/// One file, which may be a part of a model.
struct Part {
    version: u32,
    entries: Entries,
    named: Vec<Named>,
    /// Offsets of the file's first byte, of its tensor data, and of its end.
    start: u64,
    data: u64,
    end: u64,
    alignment: u64,
}

impl Part {
    /// Reads everything before the tensor data of the file that begins at `start`.
    fn read(source: &mut dyn ByteSource, start: u64) -> Result<Part, checkpoint::Error> {
        let gguf = checkpoint::Error::Gguf;
        let borders = source.borders();
        let next = borders.iter().find(|&&border| border > start);
        let end = next.copied().unwrap_or(source.size());
        let mut entries = Entries::default();
        let (mut reader, version, count) = walk(source, start..end, &mut |key, value, _| {
            entries.keep(key, value)
        })?;
        believable("tensors", count, MOST_TENSORS).map_err(gguf)?;
        // Names and places of the tensors.
        let mut named = Vec::new();
        for _ in 0..count {
            named.push(Named::read(&mut reader)?);
        }
        let key = "general.alignment";
        let alignment = entries.unsigned(key).map_err(gguf)?.unwrap_or(ALIGNMENT);
        if !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
            return Err(gguf(Error::Value {
                key: key.into(),
                wanted: "a power of two that is not too large",
            }));
        }
        let data = start + (reader.at - start).next_multiple_of(alignment);
        Ok(Part {
            version,
            entries,
            named,
            start,
            data,
            end,
            alignment,
        })
    }

    /// Number of parts that the model is split into.
    fn count(&self) -> Result<usize, Error> {
        let key = "split.count";
        match self.entries.unsigned(key)? {
            None | Some(0) => Ok(1),
            Some(count @ 1..=MOST_PARTS) => Ok(count as usize),
            Some(_) => Err(Error::Value {
                key: key.into(),
                wanted: "1 to 1024",
            }),
        }
    }

    /// Checks that this is part `index` (counted from 0) of `count`.
    fn is_number(&self, index: u64, count: usize) -> Result<(), Error> {
        let key = "split.no";
        if self.count()? == count && self.entries.unsigned(key)? == Some(index) {
            Ok(())
        } else {
            Err(Error::Order {
                wanted: index + 1,
                count,
            })
        }
    }

    /// Adds its tensors to the others.
    fn place(
        &self,
        architecture: &Architecture,
        config: &Config,
        tensors: &mut Vec<Tensor>,
    ) -> Result<(), Error> {
        for tensor in &self.named {
            let found = tensor.place(config, self)?;
            let extra = found.role.is_extra();
            if extra
                && !architecture.may.contains(&found.role)
                && !architecture.needs.contains(&found.role)
            {
                return Err(Error::Unsupported {
                    what: format!("it has a tensor {}", Quoted(&tensor.name)),
                });
            }
            tensors.push(found);
        }
        Ok(())
    }
}

/// Tensor description in the file.
struct Named {
    name: String,
    /// Columns and rows.
    shape: [u64; 2],
    kind: u32,
    offset: u64,
}

impl Named {
    fn read(reader: &mut Reader<'_>) -> Result<Named, Failure> {
        let name = lossy(reader.text("a tensor's name", LONGEST_NAME)?);
        let dimensions = reader.u32()?;
        let mut shape = [1u64; 2];
        let unsupported = Error::Unsupported {
            what: format!("its tensor {} has {dimensions} dimensions", Quoted(&name)),
        };
        if !(1..=4).contains(&dimensions) {
            return Err(unsupported.into());
        }
        for d in 0..dimensions as usize {
            let length = reader.u64()?;
            match shape.get_mut(d) {
                Some(place) => *place = length,
                None if length == 1 => (),
                None => return Err(unsupported.into()),
            }
        }
        let (kind, offset) = (reader.u32()?, reader.u64()?);
        Ok(Named {
            name,
            shape,
            kind,
            offset,
        })
    }

    /// Converts to a tensor of a model of shape `config`, in the file `part`.
    fn place(&self, config: &Config, part: &Part) -> Result<Tensor, Error> {
        let name = &self.name;
        let (role, layer) = Role::named(name).ok_or_else(|| Error::Unsupported {
            what: format!("it has a tensor {}", Quoted(name)),
        })?;
        let (rows, cols) = role.shape(config);
        let wanted = (cols as u64, rows as u64);
        let found = (self.shape[0], self.shape[1]);
        if layer >= config.n_layers {
            return Err(Error::Layer {
                name: name.clone(),
                layers: config.n_layers,
            });
        }
        if found != wanted {
            return Err(Error::Shape {
                name: name.clone(),
                found,
                wanted,
            });
        }
        let encoding = types::encoding(self.kind).ok_or_else(|| Error::TensorType {
            name: name.clone(),
            found: types::name(self.kind),
            nearest: types::nearest(self.kind),
        })?;
        if role.is_vector() && encoding != Encoding::F32 {
            return Err(Error::Unsupported {
                what: format!("its tensor {} is not of type F32", Quoted(name)),
            });
        }
        let bytes = encoding.file_bytes(rows, cols).ok_or(Error::Blocks {
            name: name.clone(),
            kind: types::name(self.kind),
            block: encoding.block(),
            cols,
        })?;
        if !self.offset.is_multiple_of(part.alignment) {
            return Err(Error::Alignment {
                name: name.clone(),
                offset: self.offset,
                alignment: part.alignment,
            });
        }
        let offset = part.data.saturating_add(self.offset);
        if offset.checked_add(bytes).is_none_or(|end| end > part.end) {
            return Err(Error::Place {
                name: name.clone(),
                offset: offset - part.start,
                bytes,
                size: part.end - part.start,
            });
        }
        Ok(Tensor {
            role,
            layer,
            rows,
            cols,
            encoding,
            offset,
        })
    }
}

/// Sorts the tensors by offset, and checks that each is present exactly once and none overlap.
fn whole(
    architecture: &Architecture,
    config: &Config,
    tensors: &mut [Tensor],
) -> Result<(), Error> {
    tensors.sort_unstable_by_key(|t| (t.role, t.layer));
    if let Some(pair) = tensors
        .windows(2)
        .find(|pair| (pair[0].role, pair[0].layer) == (pair[1].role, pair[1].layer))
    {
        return Err(Error::Twice {
            name: pair[0].name(),
        });
    }
    // Each occurs at most once, so counting them shows whether all are present.
    let is_needed = |role: &Role| match role {
        // Without a classifier it is the embedding.
        Role::RopeTables | Role::Classifier => false,
        role => !role.is_extra() || architecture.needs.contains(role),
    };
    for role in Role::ALL.into_iter().filter(is_needed) {
        let count = if role.in_layers() { config.n_layers } else { 1 };
        let there = tensors.iter().filter(|t| t.role == role);
        if let Some((layer, _)) = (0..count)
            .zip(there.map(|t| Some(t.layer)).chain(core::iter::repeat(None)))
            .find(|(layer, there)| *there != Some(*layer))
        {
            return Err(Error::Missing {
                key: role.name(layer),
            });
        }
    }
    tensors.sort_unstable_by_key(|t| t.offset);
    if let Some(pair) = tensors
        .windows(2)
        .find(|pair| pair[0].offset + pair[0].file_bytes() > pair[1].offset)
    {
        return Err(Error::Overlap {
            a: pair[0].name(),
            b: pair[1].name(),
        });
    }
    Ok(())
}
