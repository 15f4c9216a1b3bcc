//! Types of the matrices of a new file.

use llama2_engine::{
    checkpoint::{Role, Tensor},
    config::Config,
    layout::{Coded, Encoding},
};

/// Types of the matrices of a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixture {
    /// The same type for all.
    Pure(Encoding),
    /// llama.cpp's Q4_K_M: Q4_K, with Q6_K for the most sensitive tensors: the classifier, and in
    /// half of the layers the value and down projections.
    Q4KM,
    /// The type that each has already.
    Same,
}

impl Mixture {
    /// Type of a tensor: the mixture's, or, if rows are not a multiple of its block, the nearest
    /// one that fits, as chosen by llama.cpp.
    pub(crate) fn of(self, tensor: &Tensor, config: &Config) -> Encoding {
        let wanted = match self {
            _ if tensor.role.is_vector() => return Encoding::F32,
            Mixture::Same => match tensor.encoding {
                // llama2.c's own, which does not exist in GGUF.
                Encoding::Q8 { .. } => Encoding::Q8_0,
                encoding => encoding,
            },
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

    /// Value of `general.file_type` (`enum llama_ftype`); `None` to keep that of the file.
    pub(crate) fn number(self) -> Option<u32> {
        Some(match self {
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
            Mixture::Same => return None,
        })
    }
}
