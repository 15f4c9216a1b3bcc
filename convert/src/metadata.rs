//! Metadata of new GGUF files: what llama.cpp needs to know about a llama2.c model and its
//! vocabulary.

use alloc::{format, vec::Vec};

use llama2_engine::{checkpoint::Checkpoint, tokenizer::Tokenizer};

/// Metadata entries, as in the file.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) count: u64,
    pub(crate) bytes: Vec<u8>,
}

/// Appends a length and that many bytes.
pub(crate) fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

impl Entries {
    /// Appends a complete entry.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.count += 1;
        self.bytes.extend(bytes);
    }

    fn entry(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.count += 1;
        text(&mut self.bytes, key.as_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(value);
    }

    /// Appends all of `other`.
    pub(crate) fn append(&mut self, other: &Entries) {
        self.count += other.count;
        self.bytes.extend(&other.bytes);
    }

    pub(crate) fn u16(&mut self, key: &str, value: u16) {
        self.entry(key, 2, &value.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, key: &str, value: i32) {
        self.entry(key, 5, &value.to_le_bytes());
    }

    pub(crate) fn u32(&mut self, key: &str, value: u32) {
        self.entry(key, 4, &value.to_le_bytes());
    }

    fn f32(&mut self, key: &str, value: f32) {
        self.entry(key, 6, &value.to_le_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        text(&mut bytes, value.as_bytes());
        self.entry(key, 8, &bytes);
    }

    fn array(&mut self, key: &str, kind: u32, count: usize, values: &[u8]) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((count as u64).to_le_bytes());
        bytes.extend(values);
        self.entry(key, 9, &bytes);
    }
}

/// Adds what llama.cpp needs to know about the model.
pub(crate) fn describe(checkpoint: &Checkpoint, name: &str, entries: &mut Entries) {
    let c = &checkpoint.config;
    entries.text("general.architecture", "llama");
    entries.text("general.name", name);
    for (key, value) in [
        ("context_length", c.seq_len),
        ("embedding_length", c.dim),
        ("block_count", c.n_layers),
        ("feed_forward_length", c.hidden_dim),
        ("attention.head_count", c.n_heads),
        ("attention.head_count_kv", c.n_kv_heads),
        ("rope.dimension_count", c.head_dim()),
        ("vocab_size", c.vocab_size),
    ] {
        entries.u32(&format!("llama.{key}"), value as u32);
    }
    entries.f32("llama.rope.freq_base", c.variant.rope.theta);
    entries.f32(
        "llama.attention.layer_norm_rms_epsilon",
        c.variant.norm_epsilon,
    );
}

/// Adds llama2.c's vocabulary as that of a SentencePiece model.
pub(crate) fn vocabulary(tokenizer: &Tokenizer, entries: &mut Entries) {
    const MARK: &str = "\u{2581}";
    let has_bytes = tokenizer.has_bytes();
    // Vocabularies of characters may have a letter in the place of BOS and EOS. run.c begins and
    // ends by the place.
    let is = |token: usize, name: &[u8]| {
        let piece = tokenizer.pieces().nth(token);
        has_bytes || piece.is_some_and(|(piece, _)| piece.trim_ascii() == name)
    };
    let (is_bos, is_eos) = (is(1, b"<s>"), is(2, b"</s>"));
    let (mut tokens, mut scores, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    for (token, (piece, score)) in tokenizer.pieces().enumerate() {
        // Unknown 2, control 3, byte 6, normal 1.
        let (word, kind): (Vec<u8>, i32) = match token {
            0 if has_bytes || piece == b"<unk>" => (b"<unk>".to_vec(), 2),
            1 if is_bos => (b"<s>".to_vec(), 3),
            2 if is_eos => (b"</s>".to_vec(), 3),
            3..=258 if has_bytes => (format!("<0x{:02X}>", token - 3).into_bytes(), 6),
            _ => {
                let marked: Vec<&[u8]> = piece.split(|&byte| byte == b' ').collect();
                (marked.join(MARK.as_bytes()), 1)
            }
        };
        text(&mut tokens, &word);
        scores.extend(score.to_le_bytes());
        kinds.extend(kind.to_le_bytes());
    }
    let count = tokenizer.vocab_size();
    entries.text("tokenizer.ggml.model", "llama");
    entries.text("tokenizer.ggml.pre", "default");
    entries.array("tokenizer.ggml.tokens", 8, count, &tokens);
    entries.array("tokenizer.ggml.scores", 6, count, &scores);
    entries.array("tokenizer.ggml.token_type", 5, count, &kinds);
    entries.u32("tokenizer.ggml.bos_token_id", 1);
    entries.u32("tokenizer.ggml.eos_token_id", 2);
    entries.u32("tokenizer.ggml.unknown_token_id", 0);
}
