//! Tensors of Llama and related models: a table of their roles.

use alloc::{format, string::String};

use crate::{config::Config, layout::Encoding};

macro_rules! roles {
    ($($(#[doc = $doc:literal])+ $role:ident,)+) => {
        /// Role of a tensor in the model, named as in llama2.c.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Role {
            $($(#[doc = $doc])+ $role,)+
        }

        impl Role {
            /// All roles.
            pub const ALL: [Role; [$(Role::$role),+].len()] = [$(Role::$role),+];
        }
    };
}

roles! {
    /// Embedding of each token.
    Embedding,
    /// RMSNorm before attention.
    AttentionNorm,
    /// Query projection.
    Wq,
    /// Key projection.
    Wk,
    /// Value projection.
    Wv,
    /// Attention output projection.
    Wo,
    /// RMSNorm before the feed-forward layer.
    FfnNorm,
    /// Gate projection of the feed-forward layer.
    W1,
    /// Down projection of the feed-forward layer.
    W2,
    /// Up projection of the feed-forward layer.
    W3,
    /// RMSNorm before the classifier.
    FinalNorm,
    /// v0's RoPE tables, which the engine computes instead.
    RopeTables,
    /// Output projection to logits, if it is not the embedding.
    Classifier,
    /// Bias of queries.
    Bq,
    /// Bias of keys.
    Bk,
    /// Bias of values.
    Bv,
    /// Bias of attention's output.
    Bo,
    /// RMSNorm of each head's queries.
    QNorm,
    /// RMSNorm of each head's keys.
    KNorm,
    /// Divisors of RoPE's frequencies (Llama 3.1).
    RopeFactors,
}

/// Row of a role in the table.
#[derive(Clone, Copy)]
struct Row {
    /// Name in GGUF files; in layers, prefixed with `blk.LAYER.`.
    name: &'static str,
    /// Rows and columns; a vector is one row.
    shape: fn(&Config) -> (usize, usize),
    is_vector: bool,
    in_layers: bool,
    is_extra: bool,
    is_turned: bool,
}

impl Row {
    const fn matrix(name: &'static str, shape: fn(&Config) -> (usize, usize)) -> Row {
        Row {
            name,
            shape,
            is_vector: false,
            in_layers: true,
            is_extra: false,
            is_turned: false,
        }
    }

    const fn vector(name: &'static str, shape: fn(&Config) -> (usize, usize)) -> Row {
        Row {
            is_vector: true,
            ..Row::matrix(name, shape)
        }
    }

    const fn once(mut self) -> Row {
        self.in_layers = false;
        self
    }

    const fn extra(mut self) -> Row {
        self.is_extra = true;
        self
    }

    const fn turned(mut self) -> Row {
        self.is_turned = true;
        self
    }
}

impl Role {
    /// Looks up the role in the table.
    fn row(self) -> Row {
        use Role::*;
        match self {
            Embedding => Row::matrix("token_embd.weight", |c| (c.vocab_size, c.dim)).once(),
            AttentionNorm => Row::vector("attn_norm.weight", |c| (1, c.dim)),
            Wq => Row::matrix("attn_q.weight", |c| (c.q_dim(), c.dim)).turned(),
            Wk => Row::matrix("attn_k.weight", |c| (c.kv_dim(), c.dim)).turned(),
            Wv => Row::matrix("attn_v.weight", |c| (c.kv_dim(), c.dim)),
            Wo => Row::matrix("attn_output.weight", |c| (c.dim, c.q_dim())),
            FfnNorm => Row::vector("ffn_norm.weight", |c| (1, c.dim)),
            W1 => Row::matrix("ffn_gate.weight", |c| (c.hidden_dim, c.dim)),
            W2 => Row::matrix("ffn_down.weight", |c| (c.dim, c.hidden_dim)),
            W3 => Row::matrix("ffn_up.weight", |c| (c.hidden_dim, c.dim)),
            FinalNorm => Row::vector("output_norm.weight", |c| (1, c.dim)).once(),
            // Cosines and sines of seq_len positions and head_dim / 2 frequencies each; GGUF files
            // have none.
            RopeTables => Row::vector("", |c| (c.seq_len, c.head_dim())).once(),
            Classifier => Row::matrix("output.weight", |c| (c.vocab_size, c.dim)).once(),
            Bq => Row::vector("attn_q.bias", |c| (1, c.q_dim()))
                .extra()
                .turned(),
            Bk => Row::vector("attn_k.bias", |c| (1, c.kv_dim()))
                .extra()
                .turned(),
            Bv => Row::vector("attn_v.bias", |c| (1, c.kv_dim())).extra(),
            Bo => Row::vector("attn_output.bias", |c| (1, c.dim)).extra(),
            QNorm => Row::vector("attn_q_norm.weight", |c| (1, c.head_dim()))
                .extra()
                .turned(),
            KNorm => Row::vector("attn_k_norm.weight", |c| (1, c.head_dim()))
                .extra()
                .turned(),
            RopeFactors => Row::vector("rope_freqs.weight", |c| (1, c.head_dim() / 2))
                .extra()
                .once(),
        }
    }

    /// Rows and columns of this tensor in a model of shape `c`; a vector has one row.
    pub fn shape(self, c: &Config) -> (usize, usize) {
        (self.row().shape)(c)
    }

    /// Returns true if it is a vector, or numbers that are not read, rather than a matrix.
    pub fn is_vector(self) -> bool {
        self.row().is_vector
    }

    /// Returns true if a model may lack it.
    pub fn is_extra(self) -> bool {
        self.row().is_extra
    }

    /// Returns true if its rows are rotated by RoPE, or scale rows that are.
    pub fn is_turned(self) -> bool {
        self.row().is_turned
    }

    /// Returns true if each layer has one.
    pub fn in_layers(self) -> bool {
        self.row().in_layers
    }

    /// Name in GGUF files, for layer `layer` if each layer has one.
    pub fn name(self, layer: usize) -> String {
        let row = self.row();
        match row.in_layers {
            true => format!("blk.{layer}.{}", row.name),
            false => row.name.into(),
        }
    }

    /// Role and layer of the tensor with this name in a GGUF file.
    pub fn named(name: &str) -> Option<(Role, usize)> {
        let (layer, inside) = match name.strip_prefix("blk.") {
            Some(rest) => rest.split_once('.')?,
            None => ("0", name),
        };
        let layer: usize = layer.parse().ok()?;
        let mut named = Role::ALL
            .into_iter()
            .filter(|role| role.row().name == inside);
        // As it is written: "blk.007" is another name.
        let role = named.next().filter(|role| role.name(layer) == name)?;
        (role != Role::RopeTables).then_some((role, layer))
    }
}

/// Tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// Role in the model.
    pub role: Role,
    /// Layer that it belongs to; 0 if none.
    pub layer: usize,
    /// Number of rows; a vector has one.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
    /// Storage format in the file.
    pub encoding: Encoding,
    /// Offset of its first byte in the file.
    pub offset: u64,
}

impl Tensor {
    /// Name in GGUF files.
    pub fn name(&self) -> String {
        self.role.name(self.layer)
    }

    /// Size in the file, in bytes; checked not to overflow.
    pub fn file_bytes(&self) -> u64 {
        self.encoding.file_bytes(self.rows, self.cols).unwrap_or(0)
    }

    /// Size in memory, in bytes; `None` on overflow.
    pub fn packed_bytes(&self) -> Option<u64> {
        if self.role.is_vector() {
            return self.encoding.file_bytes(self.rows, self.cols);
        }
        self.encoding.packed_bytes(self.rows, self.cols)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_has_a_name_that_finds_it() {
        for role in Role::ALL
            .into_iter()
            .filter(|role| *role != Role::RopeTables)
        {
            let layer = if role.in_layers() { 7 } else { 0 };
            assert_eq!(Role::named(&role.name(layer)), Some((role, layer)));
        }
        for name in [
            "",
            "blk.0.",
            "blk.007.attn_q.weight",
            "blk.0.output.weight",
            "attn_q.weight",
        ] {
            assert_eq!(Role::named(name), None, "{name}");
        }
    }
}
