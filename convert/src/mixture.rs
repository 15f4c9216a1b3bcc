//! Types of the matrices of a new file.

use core::fmt;

use llama2_engine::{
    checkpoint::{Role, Tensor},
    config::Config,
    layout::{Coded, Encoding},
};

/// Types of the matrices of a new file, by llama-quantize's rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixture {
    /// One type for all (llama-quantize's `--pure`).
    Pure(Encoding),
    /// llama.cpp's Q4_K_M: Q4_K, with Q6_K for the most sensitive tensors: the classifier, and in
    /// half of the layers the value and down projections.
    Q4KM,
    /// The type that each has already.
    Same,
}

impl fmt::Display for Mixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mixture::Pure(encoding) => encoding.fmt(f),
            Mixture::Q4KM => f.write_str("Q4_K_M"),
            Mixture::Same => f.write_str("as it is"),
        }
    }
}

impl Mixture {
    /// Everything that a model can be converted to.
    pub const WRITTEN: [Mixture; 11] = [
        Mixture::Pure(Encoding::F32),
        Mixture::Pure(Encoding::F16),
        Mixture::Pure(Encoding::Q8_0),
        Mixture::Pure(Encoding::Q4_0),
        Mixture::Pure(Encoding::Coded(Coded::Q4_1)),
        Mixture::Pure(Encoding::Coded(Coded::Q5_0)),
        Mixture::Pure(Encoding::Coded(Coded::Q5_1)),
        Mixture::Pure(Encoding::Coded(Coded::Q4K)),
        Mixture::Q4KM,
        Mixture::Pure(Encoding::Coded(Coded::Q5K)),
        Mixture::Pure(Encoding::Coded(Coded::Q6K)),
    ];

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
                // Eight heads of a 70B model share their values, which so cost little.
                let is_70b = layers == 80 && config.n_heads != config.n_kv_heads;
                match tensor.role {
                    Role::Wv | Role::W2 if more => Encoding::Coded(Coded::Q6K),
                    Role::Wv if is_70b => Encoding::Coded(Coded::Q5K),
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
    pub fn number(self) -> Option<u32> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_engine::config::Variant;

    /// Rows that are not multiples of 256: the types that llama-quantize falls back to.
    #[test]
    fn rows_that_no_block_fits_get_the_type_that_llama_cpp_gives_them() {
        let config = Config {
            dim: 576,
            hidden_dim: 1536,
            n_layers: 30,
            n_heads: 9,
            n_kv_heads: 3,
            vocab_size: 49_152,
            seq_len: 8192,
            shared_classifier: true,
            variant: Variant::LLAMA2C,
        };
        let of = |mixture: &str, role: Role, layer: usize, config: &Config| {
            let (rows, cols) = role.shape(config);
            let tensor = Tensor {
                role,
                layer,
                rows,
                cols,
                encoding: Encoding::F32,
                offset: 0,
            };
            let mut written = Mixture::WRITTEN.into_iter();
            let mixture = written.find(|known| known.to_string() == mixture).unwrap();
            mixture.of(&tensor, config).to_string()
        };
        for (mixture, role, layer, want) in [
            ("Q4_K", Role::Wq, 0, "Q5_0"),
            ("Q4_K", Role::W2, 0, "Q4_K"),
            ("Q4_K", Role::FfnNorm, 0, "F32"),
            ("Q5_K", Role::Wq, 0, "Q5_1"),
            ("Q6_K", Role::Wq, 0, "Q8_0"),
            ("Q5_1", Role::Wq, 0, "Q5_1"),
            ("Q4_K_M", Role::Embedding, 0, "Q8_0"),
            ("Q4_K_M", Role::W2, 0, "Q6_K"),
            ("Q4_K_M", Role::W2, 3, "Q4_K"),
            ("Q4_K_M", Role::Wv, 3, "Q5_0"),
            ("Q4_K_M", Role::Wv, 5, "Q8_0"),
        ] {
            let found = of(mixture, role, layer, &config);
            assert_eq!(found, want, "{mixture}: {role:?} of layer {layer}");
        }
        let narrow = Config { dim: 40, ..config };
        assert_eq!(of("Q4_0", Role::Wq, 0, &narrow), "F16");
        // Llama 2 and 3, 70B, whose values get more bits; Llama 1, 65B, had no such heads.
        let large = Config {
            dim: 8192,
            hidden_dim: 28_672,
            n_layers: 80,
            n_heads: 64,
            n_kv_heads: 8,
            ..config
        };
        assert_eq!(of("Q4_K_M", Role::Wv, 10, &large), "Q5_K");
        assert_eq!(of("Q4_K_M", Role::Wk, 10, &large), "Q4_K");
        let large = Config {
            n_kv_heads: 64,
            ..large
        };
        assert_eq!(of("Q4_K_M", Role::Wv, 10, &large), "Q4_K");
    }
}
