//! Shape of a Llama: the numbers that determine the size of everything else.

/// Hyper-parameters of a model. A value is proof that they passed the checks of the format that
/// they were read from: all are at least 1 and small enough to multiply in `u64`, heads are even,
/// `n_heads` divides `dim` unless the head size is given, and `n_kv_heads` divides `n_heads`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// Width of the residual stream.
    pub dim: usize,
    /// Width of the feed-forward layer.
    pub hidden_dim: usize,
    /// Number of transformer layers.
    pub n_layers: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads (grouped-query attention; equal to `n_heads` in plain
    /// multi-head attention).
    pub n_kv_heads: usize,
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Longest context, in positions.
    pub seq_len: usize,
    /// True if the classifier is the embedding table (tied) or a matrix of its own.
    pub shared_classifier: bool,
    /// Properties that differ between architectures.
    pub variant: Variant,
}

/// Differences between Llama and related models, as numbers. Norms of queries and keys and biases
/// of products are not listed here: a model has them if it has their tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// Elements per head, if not `dim / n_heads` (Qwen3).
    pub head_dim: Option<usize>,
    /// Epsilon of RMSNorm, added to the mean of the squares.
    pub norm_epsilon: f32,
    /// Rotary position embeddings.
    pub rope: Rope,
    /// Scale factors (Granite).
    pub scales: Scales,
    /// Sliding window: number of positions that attention sees, the current one included; `None` if
    /// all (Mistral 7B v0.1: 4096).
    pub window: Option<usize>,
}

impl Variant {
    /// Properties of llama2.c's models.
    pub const LLAMA2C: Variant = Variant {
        head_dim: None,
        norm_epsilon: 1e-5,
        rope: Rope {
            theta: 10_000.0,
            layout: RopeLayout::Neighbours,
            scaling: RopeScaling::None,
            magnitude: 1.0,
        },
        scales: Scales {
            embedding: 1.0,
            residual: 1.0,
            attention: None,
            logits: 1.0,
        },
        window: None,
    };
}

/// Rotary position embeddings (Su et al. 2021). Pair i of a head's elements is rotated by position
/// · theta^(-2i / head_dim).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// Pairing of elements in the file. In memory pairs are always adjacent.
    pub layout: RopeLayout,
    /// Scaling for longer contexts.
    pub scaling: RopeScaling,
    /// Factor of cosines and sines.
    pub magnitude: f32,
}

/// Pairing of a head's elements for RoPE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// 2i and 2i + 1 (Llama's own; ggml's "norm").
    Neighbours,
    /// i and i + head_dim / 2 (GPT-NeoX's, Qwen's).
    Halves,
}

/// Scaling of RoPE's frequencies for contexts longer than those of the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// No scaling. (Llama 3.1's scaling is a tensor of divisors, which is applied in addition.)
    None,
    /// All frequencies are divided by a factor (Chen et al. 2023).
    Linear(f32),
    /// Low frequencies are divided, high ones kept, with a ramp in between (YaRN, Peng et al.
    /// 2023).
    Yarn {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Context length of the training, in positions.
        original: usize,
    },
    /// Positions rotate nothing (Granite without RoPE).
    NoRope,
}

/// Scale factors of an architecture; 1 if it has none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// Factor of token embeddings.
    pub embedding: f32,
    /// Factor of the outputs of attention and the feed-forward layer, before they are added to the
    /// residual stream.
    pub residual: f32,
    /// Factor of query-key products; `None` means 1 / √head_dim.
    pub attention: Option<f32>,
    /// Factor of the logits.
    pub logits: f32,
}

impl Config {
    /// Elements per attention head.
    pub fn head_dim(&self) -> usize {
        self.variant.head_dim.unwrap_or(self.dim / self.n_heads)
    }

    /// Elements of all query heads at one position.
    pub fn q_dim(&self) -> usize {
        self.head_dim() * self.n_heads
    }

    /// Elements of all key (or value) heads at one position.
    pub fn kv_dim(&self) -> usize {
        self.head_dim() * self.n_kv_heads
    }

    /// Query heads that share one key/value head.
    pub fn kv_group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }
}
