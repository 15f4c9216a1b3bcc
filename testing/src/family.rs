//! Random miniature models of every architecture, as GGUF files that llama.cpp also reads.

use llama2_engine::{
    gguf,
    layout::{Coded, Encoding},
    quantize,
};

/// Metadata and tensors of a file.
#[derive(Clone, Default)]
pub struct Gguf {
    entries: Vec<(String, Vec<u8>)>,
    pub tensors: Vec<Tensor>,
}

#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    /// Shape, columns first.
    pub shape: Vec<usize>,
    pub encoding: Encoding,
    pub bytes: Vec<u8>,
}

fn text(text: &str) -> Vec<u8> {
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text.as_bytes());
    out
}

impl Gguf {
    /// Sets `key` to a value of GGUF's type `kind`.
    pub fn set(&mut self, key: &str, kind: u32, value: &[u8]) {
        self.entries.retain(|(known, _)| known != key);
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(value);
        self.entries.push((key.into(), bytes));
    }

    /// Removes `key`.
    pub fn remove(&mut self, key: &str) {
        self.entries.retain(|(known, _)| known != key);
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(key, _)| &key[..])
    }

    pub fn u32(&mut self, key: &str, value: u32) {
        self.set(key, 4, &value.to_le_bytes());
    }

    pub fn f32(&mut self, key: &str, value: f32) {
        self.set(key, 6, &value.to_le_bytes());
    }

    pub fn bool(&mut self, key: &str, value: bool) {
        self.set(key, 7, &[value.into()]);
    }

    pub fn text(&mut self, key: &str, value: &str) {
        self.set(key, 8, &text(value));
    }

    pub fn texts(&mut self, key: &str, texts: &[String]) {
        let mut bytes = 8u32.to_le_bytes().to_vec();
        bytes.extend((texts.len() as u64).to_le_bytes());
        bytes.extend(texts.iter().flat_map(|word| text(word)));
        self.set(key, 9, &bytes);
    }

    /// Adds an array of numbers of `kind`, four bytes each.
    pub fn numbers(&mut self, key: &str, kind: u32, numbers: &[i32]) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((numbers.len() as u64).to_le_bytes());
        bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.set(key, 9, &bytes);
    }

    /// Adds the entries of `other`.
    pub fn take(&mut self, other: &Gguf) {
        for (key, value) in &other.entries {
            self.entries.retain(|(known, _)| known != key);
            self.entries.push((key.clone(), value.clone()));
        }
    }

    /// Adds a byte-level BPE vocabulary of [`VOCABULARY`] tokens: bytes, pairs of lower-case
    /// letters, and finally the tokens for the beginning and the end of a turn.
    pub fn speak(&mut self) {
        self.speak_with(&[]);
    }

    /// Like [`speak`](Self::speak), with additional words before these two tokens, such as the
    /// marks of reasoning.
    pub fn speak_with(&mut self, own: &[&str]) {
        let most = VOCABULARY - 2 - own.len();
        let mut words: Vec<String> = (0..=255).map(|byte| letter(byte).into()).collect();
        let mut merges = Vec::new();
        for (a, b) in "etaoinshrdlu"
            .chars()
            .flat_map(|a| "aeiour".chars().map(move |b| (a, b)))
        {
            if words.len() < most {
                merges.push(format!("{a} {b}"));
                words.push(format!("{a}{b}"));
            }
        }
        words.extend(own.iter().map(|&word| word.into()));
        words.extend(["<|im_start|>".into(), "<|im_end|>".into()]);
        assert_eq!(words.len(), VOCABULARY);
        let mut types = vec![1i32; VOCABULARY];
        types[VOCABULARY - 2..].fill(3);
        types[most..VOCABULARY - 2].fill(4);
        self.text("tokenizer.ggml.model", "gpt2");
        self.text("tokenizer.ggml.pre", "qwen2");
        self.texts("tokenizer.ggml.tokens", &words);
        self.texts("tokenizer.ggml.merges", &merges);
        self.numbers("tokenizer.ggml.token_type", 5, &types);
        self.u32("tokenizer.ggml.eos_token_id", VOCABULARY as u32 - 1);
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> Vec<u8> {
        const ALIGNMENT: usize = 32;
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.entries.len() as u64).to_le_bytes());
        for (key, value) in &self.entries {
            out.extend(text(key));
            out.extend(value);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            out.extend(text(&tensor.name));
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            out.extend(tensor.shape.iter().flat_map(|&n| (n as u64).to_le_bytes()));
            out.extend(gguf::number(tensor.encoding).unwrap().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += tensor.bytes.len().next_multiple_of(ALIGNMENT) as u64;
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(&tensor.bytes);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out
    }

    /// Splits the file into `count` parts, with the tensors in turn: the first part has all
    /// metadata, as written by llama.cpp's gguf-split.
    pub fn split(&self, count: usize) -> Vec<Vec<u8>> {
        let part = |index: usize| {
            let mut part = Gguf::default();
            if index == 0 {
                part.entries.clone_from(&self.entries);
            }
            part.set("split.no", 2, &(index as u16).to_le_bytes());
            part.set("split.count", 2, &(count as u16).to_le_bytes());
            let all = self.tensors.len() as i32;
            part.set("split.tensors.count", 5, &all.to_le_bytes());
            let own = self.tensors.iter().skip(index).step_by(count);
            part.tensors = own.cloned().collect();
            part.bytes()
        };
        (0..count).map(part).collect()
    }
}

/// Character that represents a byte in a byte-level word.
pub fn letter(byte: u8) -> char {
    let seen = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if seen(byte) {
        return byte.into();
    }
    let hidden = (0..byte).filter(|&b| !seen(b)).count() as u32;
    char::from_u32(256 + hidden).unwrap_or(' ')
}

/// Appends a row of blocks of a type that cannot be written otherwise, with most numbers from
/// -`width` to `width`. Returns false for other types.
fn random_row(
    coded: Coded,
    cols: usize,
    width: f32,
    random: &mut Random,
    out: &mut Vec<u8>,
) -> bool {
    // Offset of the scale, and the typical magnitude of numbers for a scale of 1.
    let (at, far) = match coded {
        Coded::Q2K => (80, 12.0),
        Coded::Q3K => (108, 42.0),
        Coded::Iq4Nl => (0, 70.0),
        Coded::Iq4Xs => (0, 1300.0),
        _ => return false,
    };
    let shape = coded.shape();
    for _ in 0..cols / shape.block {
        let mut block: Vec<u8> = (0..shape.file_block)
            .map(|_| ((random.next() + 0.5) * 256.0) as u8)
            .collect();
        let scale = width * 0.2 / far * (1.0 + random.next());
        let mut half = |at: usize, x: f32| {
            let mut bytes = Vec::new();
            quantize::encode(Encoding::F16, &[x], &mut bytes, &mut Vec::new());
            block[at..at + 2].copy_from_slice(&bytes);
        };
        half(at, scale);
        if shape.minima {
            // Makes their mean zero.
            half(at + 2, 1.5 * scale);
        }
        out.extend(block);
    }
    true
}

/// Shape of a model, and features of its architecture.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name for messages.
    pub name: &'static str,
    pub architecture: &'static str,
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    pub tied: bool,
    pub biases: bool,
    pub norms: bool,
    /// True if it has Llama 3.1's divisors of frequencies.
    pub factors: bool,
    /// Values of `rope.scaling.type` and factor.
    pub scaling: Option<(&'static str, f32)>,
    pub theta: f32,
    /// Granite's embedding, residual, attention and logit scales.
    pub scales: Option<[f32; 4]>,
}

/// Chatml, as most models' files have it.
pub const CHATML: &str = "{% for message in messages %}\
    {{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/// Chatml for a model that thinks before it answers, as Qwen3's: thoughts of earlier turns are left
/// out, and `enable_thinking` switches them off.
pub const THINKER: &str = "{% for message in messages %}\
    {{ '<|im_start|>' + message.role + '\n' }}\
    {% if message.role == 'assistant' and '</think>' in message.content %}\
    {{ message.content.split('</think>')[-1].lstrip('\n') }}\
    {% else %}{{ message.content }}{% endif %}{{ '<|im_end|>\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}\
    {% if enable_thinking is defined and enable_thinking is false %}\
    {{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}";

pub const DIM: usize = 256;
pub const HIDDEN: usize = 512;
pub const LAYERS: usize = 2;
pub const VOCABULARY: usize = 320;
pub const CONTEXT: usize = 512;

const LLAMA: Family = Family {
    name: "llama",
    architecture: "llama",
    heads: 4,
    kv_heads: 4,
    head_dim: 64,
    tied: false,
    biases: false,
    norms: false,
    factors: false,
    scaling: None,
    theta: 10_000.0,
    scales: None,
};

/// Families that together have every difference between architectures.
pub const FAMILIES: [Family; 9] = [
    LLAMA,
    Family {
        name: "llama 3.2 (tied, grouped queries, divided frequencies)",
        kv_heads: 2,
        tied: true,
        factors: true,
        theta: 500_000.0,
        ..LLAMA
    },
    Family {
        name: "mistral nemo (narrow heads)",
        heads: 2,
        kv_heads: 1,
        ..LLAMA
    },
    Family {
        name: "llama, linear scaling, biases",
        scaling: Some(("linear", 4.0)),
        biases: true,
        ..LLAMA
    },
    Family {
        name: "qwen2",
        architecture: "qwen2",
        kv_heads: 2,
        tied: true,
        biases: true,
        theta: 1_000_000.0,
        ..LLAMA
    },
    Family {
        name: "qwen2, yarn",
        architecture: "qwen2",
        kv_heads: 2,
        biases: true,
        scaling: Some(("yarn", 4.0)),
        theta: 1_000_000.0,
        ..LLAMA
    },
    Family {
        name: "qwen3 (wide heads)",
        architecture: "qwen3",
        kv_heads: 2,
        head_dim: 128,
        tied: true,
        norms: true,
        theta: 1_000_000.0,
        ..LLAMA
    },
    Family {
        name: "granite",
        architecture: "granite",
        kv_heads: 2,
        scales: Some([12.0, 0.22, 0.0078125, 8.0]),
        ..LLAMA
    },
    Family {
        name: "granite, tied",
        architecture: "granite",
        tied: true,
        scales: Some([6.0, 1.0, 0.015625, 4.0]),
        ..LLAMA
    },
];

impl Family {
    /// Makes a file of random weights: `matrices` chooses the type of a matrix by its name.
    pub fn make(&self, seed: u64, matrices: &dyn Fn(&str) -> Encoding) -> Gguf {
        let mut file = self.metadata();
        let mut random = Random(seed);
        let (q_dim, kv_dim) = (self.heads * self.head_dim, self.kv_heads * self.head_dim);
        let mut matrix = |file: &mut Gguf, name: &str, rows: usize, cols: usize| {
            // As llama.cpp's own tools do if rows are not a multiple of the block.
            let encoding = match matrices(name) {
                encoding if cols.is_multiple_of(encoding.block()) => encoding,
                _ => Encoding::Q8_0,
            };
            let (mut bytes, mut scales) = (Vec::new(), Vec::new());
            // So wide that each layer adds less to a token's vector than it had, as in trained
            // models.
            let width = if name == "token_embd.weight" {
                1.0
            } else {
                2.0 / (cols as f32).sqrt()
            };
            for _ in 0..rows {
                if let Encoding::Coded(coded) = encoding
                    && random_row(coded, cols, width, &mut random, &mut bytes)
                {
                    continue;
                }
                let row: Vec<f32> = (0..cols).map(|_| random.next() * width).collect();
                quantize::encode(encoding, &row, &mut bytes, &mut scales);
            }
            file.tensors.push(Tensor {
                name: name.into(),
                shape: vec![cols, rows],
                encoding,
                bytes,
            });
        };
        let mut random = Random(seed ^ 0x5555);
        let mut vector = |file: &mut Gguf, name: &str, len: usize, middle: f32, width: f32| {
            file.tensors.push(Tensor {
                name: name.into(),
                shape: vec![len],
                encoding: Encoding::F32,
                bytes: (0..len)
                    .flat_map(|_| (middle + width * random.next()).to_le_bytes())
                    .collect(),
            });
        };
        matrix(&mut file, "token_embd.weight", VOCABULARY, DIM);
        vector(&mut file, "output_norm.weight", DIM, 1.0, 0.2);
        if !self.tied {
            matrix(&mut file, "output.weight", VOCABULARY, DIM);
        }
        if self.factors {
            vector(&mut file, "rope_freqs.weight", self.head_dim / 2, 4.0, 3.0);
        }
        for layer in 0..LAYERS {
            let name = |name: &str| format!("blk.{layer}.{name}");
            vector(&mut file, &name("attn_norm.weight"), DIM, 1.0, 0.2);
            matrix(&mut file, &name("attn_q.weight"), q_dim, DIM);
            matrix(&mut file, &name("attn_k.weight"), kv_dim, DIM);
            matrix(&mut file, &name("attn_v.weight"), kv_dim, DIM);
            matrix(&mut file, &name("attn_output.weight"), DIM, q_dim);
            if self.biases {
                vector(&mut file, &name("attn_q.bias"), q_dim, 0.0, 0.5);
                vector(&mut file, &name("attn_k.bias"), kv_dim, 0.0, 0.5);
                vector(&mut file, &name("attn_v.bias"), kv_dim, 0.0, 0.5);
                if self.architecture == "llama" {
                    vector(&mut file, &name("attn_output.bias"), DIM, 0.0, 0.5);
                }
            }
            if self.norms {
                vector(
                    &mut file,
                    &name("attn_q_norm.weight"),
                    self.head_dim,
                    1.0,
                    0.5,
                );
                vector(
                    &mut file,
                    &name("attn_k_norm.weight"),
                    self.head_dim,
                    1.0,
                    0.5,
                );
            }
            vector(&mut file, &name("ffn_norm.weight"), DIM, 1.0, 0.2);
            matrix(&mut file, &name("ffn_gate.weight"), HIDDEN, DIM);
            matrix(&mut file, &name("ffn_up.weight"), HIDDEN, DIM);
            matrix(&mut file, &name("ffn_down.weight"), DIM, HIDDEN);
        }
        file
    }

    fn metadata(&self) -> Gguf {
        let mut file = Gguf::default();
        file.text("general.architecture", self.architecture);
        let key = |key: &str| format!("{}.{key}", self.architecture);
        for (name, value) in [
            ("context_length", CONTEXT),
            ("embedding_length", DIM),
            ("block_count", LAYERS),
            ("feed_forward_length", HIDDEN),
            ("attention.head_count", self.heads),
            ("attention.head_count_kv", self.kv_heads),
            ("attention.key_length", self.head_dim),
            ("attention.value_length", self.head_dim),
            ("rope.dimension_count", self.head_dim),
            ("vocab_size", VOCABULARY),
        ] {
            file.u32(&key(name), value as u32);
        }
        file.f32(&key("attention.layer_norm_rms_epsilon"), 1e-5);
        file.f32(&key("rope.freq_base"), self.theta);
        if let Some((kind, factor)) = self.scaling {
            file.text(&key("rope.scaling.type"), kind);
            file.f32(&key("rope.scaling.factor"), factor);
            file.u32(&key("rope.scaling.original_context_length"), 128);
        }
        if let Some([embedding, residual, attention, logits]) = self.scales {
            file.f32(&key("embedding_scale"), embedding);
            file.f32(&key("residual_scale"), residual);
            file.f32(&key("attention.scale"), attention);
            file.f32(&key("logit_scale"), logits);
        }
        // llama.cpp's name for a model without a vocabulary.
        file.text("tokenizer.ggml.model", "no_vocab");
        file
    }
}

/// Random numbers from -0.5 to 0.5 (Knuth's MMIX generator).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / 16_777_216.0 - 0.5
    }
}
