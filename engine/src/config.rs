//! The shape of a Llama: the numbers every other part is sized by.

/// A model's hyper-parameters. Having one proves that they passed the checks of the format that
/// they were read from: all are at least 1 and small enough to multiply in `u64`, heads are even,
/// `n_heads` divides `dim` where that says how wide they are, and `n_kv_heads` divides `n_heads`.
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
    /// Longest context in positions.
    pub seq_len: usize,
    /// True if the classifier is the embedding table (tied) or a matrix of its own.
    pub shared_classifier: bool,
    /// What its architecture does in its own way.
    pub variant: Variant,
}

/// What tells Llama's relatives apart, as numbers. That queries and keys have norms, or products
/// have biases, a model says by having these tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variant {
    /// Elements of a head, where they are not `dim / n_heads` (Qwen3).
    pub head_dim: Option<usize>,
    /// What RMSNorm adds to the mean of the squares.
    pub norm_epsilon: f32,
    /// How positions turn queries and keys.
    pub rope: Rope,
    /// What sums are multiplied by (Granite).
    pub scales: Scales,
    /// Positions that attention sees, the token's own included; `None` if all (Mistral 7B v0.1:
    /// 4096).
    pub window: Option<usize>,
}

impl Variant {
    /// llama2.c's.
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

/// Rotary position embeddings (Su et al. 2021). Pair i of a head's elements is turned by position ·
/// theta^(-2i / head_dim).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rope {
    /// Base of the frequencies.
    pub theta: f32,
    /// Which elements are a pair in the file. In memory they always stand side by side.
    pub layout: RopeLayout,
    /// How they are stretched over longer contexts.
    pub scaling: RopeScaling,
    /// What cosines and sines are multiplied by.
    pub magnitude: f32,
}

/// Which elements of a head RoPE turns together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopeLayout {
    /// 2i and 2i + 1 (Llama's own; ggml's "norm").
    Neighbours,
    /// i and i + head_dim / 2 (GPT-NeoX's, Qwen's).
    Halves,
}

/// How RoPE's frequencies are changed for contexts longer than those of the training.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Not at all. (Llama 3.1's way is a tensor of divisors, which comes on top of any.)
    None,
    /// All frequencies divided by a factor (Chen et al. 2023).
    Linear(f32),
    /// The low ones divided, the high ones kept, a ramp in between (YaRN, Peng et al. 2023).
    Yarn {
        /// By what the low ones are divided.
        factor: f32,
        /// The context of the training.
        original: usize,
    },
    /// Positions do not turn anything (Granite without RoPE).
    NoRope,
}

/// What an architecture multiplies its sums by; 1 where it does not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// Each token's vector.
    pub embedding: f32,
    /// What attention and the feed-forward layer add to the residual stream.
    pub residual: f32,
    /// Queries times keys; `None`: 1 / √head_dim.
    pub attention: Option<f32>,
    /// The logits.
    pub logits: f32,
}

impl Config {
    /// Elements of one attention head.
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
