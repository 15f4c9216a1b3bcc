//! Supported architectures, a row each.

use crate::{checkpoint::Role, config::RopeLayout};

/// Properties of a model family, as data: the forward pass is the same for all.
pub(super) struct Architecture {
    /// Name of the architecture, which prefixes its keys.
    pub name: &'static str,
    /// Pairing of a head's elements for RoPE in its files.
    pub layout: RopeLayout,
    /// Tensors beyond Llama 2's that each layer must have.
    pub needs: &'static [Role],
    /// Tensors beyond Llama 2's that layers may have.
    pub may: &'static [Role],
    /// True if it has scale factors of its own (Granite).
    pub scaled: bool,
}

const BIASES: &[Role] = &[Role::Bq, Role::Bk, Role::Bv, Role::Bo];

/// Supported architectures.
pub(super) static ARCHITECTURES: [Architecture; 4] = [
    // Llama 1 to 3.2, TinyLlama, SmolLM2, Mistral 7B and all that call themselves so.
    Architecture {
        name: "llama",
        layout: RopeLayout::Neighbours,
        needs: &[],
        may: &[Role::RopeFactors, Role::Bq, Role::Bk, Role::Bv, Role::Bo],
        scaled: false,
    },
    Architecture {
        name: "qwen2",
        layout: RopeLayout::Halves,
        needs: &[],
        may: BIASES,
        scaled: false,
    },
    Architecture {
        name: "qwen3",
        layout: RopeLayout::Halves,
        needs: &[Role::QNorm, Role::KNorm],
        may: BIASES,
        scaled: false,
    },
    Architecture {
        name: "granite",
        layout: RopeLayout::Neighbours,
        needs: &[],
        may: &[Role::RopeFactors, Role::Bq, Role::Bk, Role::Bv, Role::Bo],
        scaled: true,
    },
];
