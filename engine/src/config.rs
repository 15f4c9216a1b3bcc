//! The shape of a Llama: the numbers every other part is sized by.

/// A model's hyper-parameters. Having one proves that they passed the checks of the format that they were read from:
/// all are at least 1 and small enough to multiply in `u64`, `n_heads` divides `dim` into even heads and `n_kv_heads` divides `n_heads`.
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
    /// Number of key and value heads (grouped-query attention; equal to `n_heads` in plain multi-head attention).
    pub n_kv_heads: usize,
    /// Number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// Longest context in positions.
    pub seq_len: usize,
    /// Whether the classifier is the embedding table (tied) or a matrix of its own.
    pub shared_classifier: bool,
    /// Base of RoPE's frequencies; llama2.c's is 10 000.
    pub rope_theta: f32,
    /// What RMSNorm adds to the mean of the squares; llama2.c's is 1e-5.
    pub norm_epsilon: f32,
}

/// llama2.c's [`Config::rope_theta`].
pub const ROPE_THETA: f32 = 10_000.0;
/// llama2.c's [`Config::norm_epsilon`].
pub const NORM_EPSILON: f32 = 1e-5;

impl Config {
    /// Elements of one attention head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.n_heads
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
