//! Model shape from a GGUF file's metadata: names of the hyper-parameters in each architecture, and
//! differences between architectures.

use alloc::{format, string::String};

use super::{
    Error,
    architectures::{ARCHITECTURES, Architecture},
    metadata::{Entries, Reader, Value},
};
use crate::{
    checkpoint,
    config::{Config, Rope, RopeScaling, Scales, Variant},
    source::ByteSource,
    units::Quoted,
};

impl Architecture {
    /// Returns the architecture named in the file.
    pub(super) fn of(entries: &Entries) -> Result<&'static Architecture, Error> {
        let key = "general.architecture";
        let found = entries
            .text(key)?
            .ok_or(Error::Missing { key: key.into() })?;
        let known = ARCHITECTURES.iter().find(|known| known.name == found);
        known.ok_or_else(|| Error::Architecture {
            found: found.into(),
        })
    }

    fn key(&self, key: &str) -> String {
        format!("{}.{key}", self.name)
    }
}

/// Returns the model's shape, except `vocab_size` and `shared_classifier`, which follow from the
/// tensors.
pub(super) fn config(
    entries: &Entries,
    architecture: &Architecture,
    vocab_size: usize,
    shared_classifier: bool,
) -> Result<Config, checkpoint::Error> {
    let gguf = checkpoint::Error::Gguf;
    let dimension = |key: &str| entries.dimension(&architecture.key(key)).map_err(gguf);
    let n_heads = dimension("attention.head_count")?;
    let kv_heads = "attention.head_count_kv";
    let mut config = Config {
        dim: dimension("embedding_length")?,
        hidden_dim: dimension("feed_forward_length")?,
        n_layers: dimension("block_count")?,
        n_heads,
        n_kv_heads: match entries.get(&architecture.key(kv_heads)) {
            None => n_heads,
            Some(_) => dimension(kv_heads)?,
        },
        vocab_size,
        seq_len: dimension("context_length")?,
        shared_classifier,
        variant: Variant::LLAMA2C,
    };
    if config.n_layers > checkpoint::MOST_LAYERS as usize {
        return Err(gguf(Error::Value {
            key: architecture.key("block_count"),
            wanted: "1 to 4096",
        }));
    }
    config.variant = variant(entries, architecture, &config).map_err(gguf)?;
    checkpoint::check_heads(&config)?;
    heads(entries, architecture, &config).map_err(gguf)?;
    Ok(config)
}

/// Replaces arrays that have the same number for every layer by that number.
pub(super) fn of_all_layers(
    source: &mut dyn ByteSource,
    end: u64,
    entries: &mut Entries,
    architecture: &Architecture,
) -> Result<(), checkpoint::Error> {
    let layers = entries.dimension(&architecture.key("block_count"));
    let layers = layers.map_err(checkpoint::Error::Gguf)?;
    for key in [
        "attention.head_count",
        "attention.head_count_kv",
        "feed_forward_length",
    ] {
        let key = architecture.key(key);
        if let Some(Value::Array(array)) = entries.get(&key) {
            let mut reader = Reader::new(source, array.offset..end);
            entries.one_for_all(&mut reader, &key, layers)?;
        }
    }
    Ok(())
}

/// Reads the properties that differ from Llama 2's.
fn variant(
    entries: &Entries,
    architecture: &Architecture,
    config: &Config,
) -> Result<Variant, Error> {
    let float = |key: &str| entries.float(&architecture.key(key));
    let or_zero = |key: &str| entries.float_or_zero(&architecture.key(key));
    let plain = Variant::LLAMA2C;
    let (rope, norm, width, window) = (
        "rope.freq_base",
        "attention.layer_norm_rms_epsilon",
        "attention.key_length",
        "attention.sliding_window",
    );
    let missing = |key: &str| Error::Missing {
        key: architecture.key(key),
    };
    Ok(Variant {
        head_dim: match entries.get(&architecture.key(width)) {
            Some(_) => Some(entries.dimension(&architecture.key(width))?),
            None => None,
        },
        norm_epsilon: float(norm)?.ok_or_else(|| missing(norm))?,
        rope: Rope {
            theta: float(rope)?.unwrap_or(plain.rope.theta),
            layout: architecture.layout,
            ..scaling(entries, architecture, config)?
        },
        scales: if architecture.scaled {
            let logits = "logit_scale";
            Scales {
                // 0 means that there is none; the logits would be divided by it.
                embedding: or_zero("embedding_scale")?.unwrap_or(1.0),
                residual: or_zero("residual_scale")?.unwrap_or(1.0),
                attention: or_zero("attention.scale")?,
                logits: 1.0 / float(logits)?.ok_or_else(|| missing(logits))?,
            }
        } else {
            plain.scales
        },
        // 0 means that there is none.
        window: entries
            .unsigned(&architecture.key(window))?
            .filter(|&window| window > 0)
            .map(|window| usize::try_from(window).unwrap_or(usize::MAX)),
    })
}

/// Reads the RoPE scaling; the caller fills in the rest.
fn scaling(entries: &Entries, architecture: &Architecture, config: &Config) -> Result<Rope, Error> {
    let float = |key: &str| entries.float(&architecture.key(key));
    let plain = Variant::LLAMA2C.rope;
    // llama.cpp's Granite has no RoPE if this key says so; elsewhere it has no meaning.
    let finetuned = "rope.scaling.finetuned";
    if architecture.scaled && entries.bool(&architecture.key(finetuned))? == Some(false) {
        return Ok(Rope {
            scaling: RopeScaling::NoRope,
            ..plain
        });
    }
    // A factor of 0 means none, whatever the other key says (llama.cpp's `load_hparams`).
    let or_zero = |key: &str| entries.float_or_zero(&architecture.key(key));
    let (factor, old) = ("rope.scaling.factor", "rope.scale_linear");
    let given = entries.get(&architecture.key(factor)).is_some();
    let factor = or_zero(if given { factor } else { old })?.unwrap_or(1.0);
    let magnitude = float("rope.scaling.attn_factor")?.unwrap_or(1.0);
    let kind = architecture.key("rope.scaling.type");
    match entries.text(&kind)? {
        Some("none") => Ok(plain),
        None | Some("linear") => Ok(Rope {
            scaling: if factor == 1.0 {
                RopeScaling::None
            } else {
                RopeScaling::Linear(factor)
            },
            magnitude,
            ..plain
        }),
        Some("yarn") => {
            let original = architecture.key("rope.scaling.original_context_length");
            Ok(Rope {
                scaling: RopeScaling::Yarn {
                    factor,
                    original: match entries.unsigned(&original)? {
                        Some(1..) => entries.dimension(&original)?,
                        None | Some(0) => config.seq_len,
                    },
                },
                // "Attention is scaled by the factor's logarithm" (Peng et al. 2023, equation 22).
                magnitude: magnitude * (1.0 + 0.1 * libm::logf(factor)),
                ..plain
            })
        }
        Some(kind) => Err(Error::Unsupported {
            what: format!("its RoPE is scaled in the way {}", Quoted(kind)),
        }),
    }
}

/// Checks that the file requires nothing that would change results and is not implemented.
fn heads(entries: &Entries, architecture: &Architecture, config: &Config) -> Result<(), Error> {
    for key in ["rope.dimension_count", "attention.value_length"] {
        let key = architecture.key(key);
        if entries
            .unsigned(&key)?
            .is_some_and(|found| found != config.head_dim() as u64)
        {
            return Err(Error::Unsupported {
                what: format!(
                    "its {key:?} is not the width of a head, {}",
                    config.head_dim()
                ),
            });
        }
    }
    let experts = architecture.key("expert_count");
    if entries.unsigned(&experts)?.is_some_and(|n| n > 0) {
        return Err(Error::Unsupported {
            what: "it is a mixture of experts".into(),
        });
    }
    Ok(())
}
