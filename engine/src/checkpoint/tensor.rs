//! The tensors of a Llama and its relatives: a table of their roles.

use alloc::{format, string::String};

use crate::{config::Config, layout::Encoding};

macro_rules! roles {
    ($($(#[doc = $doc:literal])+ $role:ident,)+) => {
        /// A tensor's role in the model, by its name in llama2.c.
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
    /// The vector of each token.
    Embedding,
    /// RMSNorm before attention.
    AttentionNorm,
    /// Queries.
    Wq,
    /// Keys.
    Wk,
    /// Values.
    Wv,
    /// Attention's output.
    Wo,
    /// RMSNorm before the feed-forward layer.
    FfnNorm,
    /// The feed-forward layer's gate.
    W1,
    /// Down: from its middle.
    W2,
    /// Up: to its middle.
    W3,
    /// RMSNorm before the classifier.
    FinalNorm,
    /// v0's RoPE tables, which the engine computes itself.
    RopeTables,
    /// From the last state to logits, where it is not the embedding.
    Classifier,
    /// Added to queries.
    Bq,
    /// Added to keys.
    Bk,
    /// Added to values.
    Bv,
    /// Added to attention's output.
    Bo,
    /// RMSNorm of each head's queries.
    QNorm,
    /// RMSNorm of each head's keys.
    KNorm,
    /// Divisors of RoPE's frequencies (Llama 3.1).
    RopeFactors,
}

/// A role's row in the table.
#[derive(Clone, Copy)]
struct Row {
    /// Its name in GGUF files; in layers behind `blk.LAYER.`.
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
    /// The table.
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
            // Cosines and sines of seq_len positions and head_dim / 2 frequencies each; GGUF has
            // none.
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

    /// Rows and columns of such a tensor in a model of shape `c`; a vector is one row.
    pub fn shape(self, c: &Config) -> (usize, usize) {
        (self.row().shape)(c)
    }

    /// Tells whether it is a vector, or numbers that are not read, and no matrix.
    pub fn is_vector(self) -> bool {
        self.row().is_vector
    }

    /// Tells whether a model may be without it.
    pub fn is_extra(self) -> bool {
        self.row().is_extra
    }

    /// Tells whether its rows are turned by RoPE, or scale what is.
    pub fn is_turned(self) -> bool {
        self.row().is_turned
    }

    /// Tells whether there is one in each layer.
    pub fn in_layers(self) -> bool {
        self.row().in_layers
    }

    /// Its name in GGUF files, of layer `layer` where there is one in each.
    pub fn name(self, layer: usize) -> String {
        let row = self.row();
        match row.in_layers {
            true => format!("blk.{layer}.{}", row.name),
            false => row.name.into(),
        }
    }

    /// The role, and the layer, of a tensor of this name in a GGUF file.
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

/// A tensor in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor {
    /// Its role in the model.
    pub role: Role,
    /// The layer it belongs to; 0 if to none.
    pub layer: usize,
    /// Rows; a vector is one.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// How its numbers are stored.
    pub encoding: Encoding,
    /// Its first byte in the file.
    pub offset: u64,
}

impl Tensor {
    /// Its name, as GGUF files have it.
    pub fn name(&self) -> String {
        self.role.name(self.layer)
    }

    /// Its bytes in the file, which are known to be there.
    pub fn file_bytes(&self) -> u64 {
        self.encoding.file_bytes(self.rows, self.cols).unwrap_or(0)
    }

    /// Its bytes in memory; `None` on overflow.
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
