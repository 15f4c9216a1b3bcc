//! A GGUF file's model: its shape by the metadata, and its tensors, each proven to be there, once, in no other's place.

use alloc::{format, string::String, vec::Vec};

use super::{
    Error,
    metadata::{Entries, LONGEST_NAME, walk},
};
use crate::{
    checkpoint::{self, Checkpoint, Format, Role, Tensor},
    config::{Config, ROPE_THETA},
    matrix::Encoding,
    source::ByteSource,
};

/// Alignment where the metadata names none, and the largest one that is believed.
const ALIGNMENT: u64 = 32;
const LARGEST_ALIGNMENT: u64 = 1 << 20;

/// Opens a file that begins with [`MAGIC`](super::MAGIC).
pub(crate) fn open(source: &mut dyn ByteSource) -> Result<Checkpoint, checkpoint::Error> {
    let size = source.size();
    let mut entries = Entries::default();
    let (mut reader, version, count) = walk(source, &mut |key, value, _| entries.keep(key, value))?;
    let gguf = checkpoint::Error::Gguf;

    let architecture = "general.architecture";
    match entries.text(architecture).map_err(gguf)? {
        Some("llama") => (),
        Some(found) => {
            let found = found.into();
            return Err(gguf(Error::Architecture { found }));
        }
        None => {
            let key = architecture.into();
            return Err(gguf(Error::Missing { key }));
        }
    }

    // What the tensors are called, and where they are; the vocabulary's size is the embedding's.
    let mut named = Vec::new();
    for _ in 0..count {
        let name = reader.text("a tensor's name", LONGEST_NAME)?;
        let dimensions = reader.u32()?;
        let mut shape = [1u64; 2];
        if !(1..=4).contains(&dimensions) {
            return Err(gguf(Error::Unsupported {
                what: format!("its tensor {name:?} has {dimensions} dimensions"),
            }));
        }
        for d in 0..dimensions as usize {
            let length = reader.u64()?;
            match shape.get_mut(d) {
                Some(place) => *place = length,
                None if length == 1 => (),
                None => {
                    return Err(gguf(Error::Unsupported {
                        what: format!("its tensor {name:?} has {dimensions} dimensions"),
                    }));
                }
            }
        }
        let (kind, offset) = (reader.u32()?, reader.u64()?);
        named.push(Named {
            name,
            shape,
            kind,
            offset,
        });
    }
    let described = reader.at;
    let config = config(&entries, &named)?;

    let key = "general.alignment";
    let alignment = entries.unsigned(key).map_err(gguf)?.unwrap_or(ALIGNMENT);
    if !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
        return Err(gguf(Error::Value {
            key: key.into(),
            wanted: "a power of two",
        }));
    }
    let data = described.next_multiple_of(alignment);
    let mut tensors = Vec::new();
    for tensor in &named {
        tensors.push(tensor.place(&config, data, alignment, size).map_err(gguf)?);
    }
    whole(&config, &mut tensors).map_err(gguf)?;
    Ok(Checkpoint {
        format: Format::Gguf { version },
        config,
        tensors,
    })
}

/// A tensor as the file describes it.
struct Named {
    name: String,
    /// Columns and rows.
    shape: [u64; 2],
    kind: u32,
    offset: u64,
}

/// What a llama's tensors are for, by their names.
const ROLES: [(&str, Role); 9] = [
    ("attn_norm", Role::AttentionNorm),
    ("attn_q", Role::Wq),
    ("attn_k", Role::Wk),
    ("attn_v", Role::Wv),
    ("attn_output", Role::Wo),
    ("ffn_norm", Role::FfnNorm),
    ("ffn_gate", Role::W1),
    ("ffn_down", Role::W2),
    ("ffn_up", Role::W3),
];

/// The name of a tensor.
pub(crate) fn name(role: Role, layer: usize) -> String {
    match role {
        Role::Embedding => "token_embd.weight".into(),
        Role::FinalNorm => "output_norm.weight".into(),
        Role::Classifier => "output.weight".into(),
        _ => {
            let found = ROLES.iter().find(|(_, known)| *known == role);
            format!("blk.{layer}.{}.weight", found.map_or("", |(name, _)| name))
        }
    }
}

impl Named {
    /// What it is for, and in which layer.
    fn role(&self) -> Option<(Role, usize)> {
        match &self.name[..] {
            "token_embd.weight" => return Some((Role::Embedding, 0)),
            "output_norm.weight" => return Some((Role::FinalNorm, 0)),
            "output.weight" => return Some((Role::Classifier, 0)),
            _ => (),
        }
        let (layer, name) = self.name.strip_prefix("blk.")?.split_once('.')?;
        let name = name.strip_suffix(".weight")?;
        let (_, role) = ROLES.iter().find(|(known, _)| *known == name)?;
        // As it is written: "007" is another name.
        let number: usize = layer.parse().ok()?;
        (format!("{number}") == layer).then_some((*role, number))
    }

    /// The tensor that it is in a model of `config`.
    fn place(
        &self,
        config: &Config,
        data: u64,
        alignment: u64,
        size: u64,
    ) -> Result<Tensor, Error> {
        let name = &self.name;
        let (role, layer) = self.role().ok_or_else(|| Error::Unsupported {
            what: format!("it has a tensor {name:?}"),
        })?;
        let (rows, cols) = role.shape(config);
        let wanted = (cols as u64, rows as u64);
        let found = (self.shape[0], self.shape[1]);
        if found != wanted || layer >= config.n_layers.max(1) {
            return Err(Error::Shape {
                name: name.clone(),
                found,
                wanted,
            });
        }
        let encoding = match self.kind {
            0 => Encoding::F32,
            1 => Encoding::F16,
            2 => Encoding::Q4_0,
            8 => Encoding::Q8_0,
            30 => Encoding::BF16,
            _ => {
                return Err(Error::TensorType {
                    name: name.clone(),
                    found: type_name(self.kind),
                });
            }
        };
        if role.is_vector() && encoding != Encoding::F32 {
            return Err(Error::Unsupported {
                what: format!("its tensor {name:?} is not of type F32"),
            });
        }
        let bytes = encoding.file_bytes(rows, cols).ok_or(Error::Shape {
            name: name.clone(),
            found,
            wanted,
        })?;
        let offset = data.saturating_add(self.offset);
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= size);
        if !inside || !self.offset.is_multiple_of(alignment) {
            return Err(Error::Place {
                name: name.clone(),
                offset,
                bytes,
                size,
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

/// Sorts the tensors by their places, once it is known that each is there once and none lies in another.
fn whole(config: &Config, tensors: &mut [Tensor]) -> Result<(), Error> {
    let name = |tensor: &Tensor| name(tensor.role, tensor.layer);
    tensors.sort_unstable_by_key(|t| (t.role, t.layer));
    if let Some(pair) = tensors
        .windows(2)
        .find(|pair| (pair[0].role, pair[0].layer) == (pair[1].role, pair[1].layer))
    {
        return Err(Error::Twice {
            name: name(&pair[0]),
        });
    }
    // Each at most once, so that counting tells whether all are there.
    let missing = |key: &str| Err(Error::Missing { key: key.into() });
    for (role, key) in [
        (Role::Embedding, "token_embd.weight"),
        (Role::FinalNorm, "output_norm.weight"),
    ] {
        if !tensors.iter().any(|t| t.role == role) {
            return missing(key);
        }
    }
    for (key, role) in ROLES {
        let there = tensors.iter().filter(|t| t.role == role);
        if let Some((layer, _)) = (0..config.n_layers)
            .zip(there.map(|t| Some(t.layer)).chain(core::iter::repeat(None)))
            .find(|(layer, there)| *there != Some(*layer))
        {
            return missing(&format!("blk.{layer}.{key}.weight"));
        }
    }
    tensors.sort_unstable_by_key(|t| t.offset);
    if let Some(pair) = tensors
        .windows(2)
        .find(|pair| pair[0].offset + pair[0].file_bytes() > pair[1].offset)
    {
        return Err(Error::Overlap {
            a: name(&pair[0]),
            b: name(&pair[1]),
        });
    }
    Ok(())
}

/// The model's shape.
fn config(entries: &Entries, named: &[Named]) -> Result<Config, checkpoint::Error> {
    let gguf = checkpoint::Error::Gguf;
    let dimension = |key: &str| entries.dimension(key).map_err(gguf);
    let embedding = named.iter().find(|n| n.name == "token_embd.weight");
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
    let n_heads = dimension("llama.attention.head_count")?;
    let config = Config {
        dim: dimension("llama.embedding_length")?,
        hidden_dim: dimension("llama.feed_forward_length")?,
        n_layers: dimension("llama.block_count")?,
        n_heads,
        n_kv_heads: match entries.get("llama.attention.head_count_kv") {
            None => n_heads,
            Some(_) => dimension("llama.attention.head_count_kv")?,
        },
        vocab_size,
        seq_len: dimension("llama.context_length")?,
        shared_classifier: !named.iter().any(|n| n.name == "output.weight"),
        rope_theta: entries
            .float("llama.rope.freq_base")
            .map_err(gguf)?
            .unwrap_or(ROPE_THETA),
        norm_epsilon: {
            let key = "llama.attention.layer_norm_rms_epsilon";
            let missing = Error::Missing { key: key.into() };
            entries.float(key).map_err(gguf)?.ok_or(gguf(missing))?
        },
    };
    if config.n_layers > checkpoint::MOST_LAYERS as usize {
        return Err(gguf(Error::Value {
            key: "llama.block_count".into(),
            wanted: "1 to 4 096",
        }));
    }
    checkpoint::check_heads(&config)?;
    // What would change the numbers and is not built yet.
    for key in [
        "llama.rope.dimension_count",
        "llama.attention.key_length",
        "llama.attention.value_length",
    ] {
        let found = entries.unsigned(key).map_err(gguf)?;
        if found.is_some_and(|found| found != config.head_dim() as u64) {
            return Err(gguf(Error::Unsupported {
                what: format!(
                    "its {key:?} is not the width of a head, {}",
                    config.head_dim()
                ),
            }));
        }
    }
    if entries
        .unsigned("llama.expert_count")
        .map_err(gguf)?
        .is_some_and(|n| n > 0)
    {
        return Err(gguf(Error::Unsupported {
            what: "it is a mixture of experts".into(),
        }));
    }
    let scaling = entries.text("llama.rope.scaling.type").map_err(gguf)?;
    if let Some(kind) = scaling.filter(|kind| *kind != "none") {
        return Err(gguf(Error::Unsupported {
            what: format!("its RoPE is scaled ({kind})"),
        }));
    }
    Ok(config)
}

/// ggml's name of a tensor type.
fn type_name(kind: u32) -> String {
    let name = match kind {
        3 => "Q4_1",
        6 => "Q5_0",
        7 => "Q5_1",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return format!("{kind}"),
    };
    name.into()
}
