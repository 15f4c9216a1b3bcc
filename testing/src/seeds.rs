//! Small valid inputs of each kind, as seeds for mutations.

use llama2_engine::{
    config::{Config, Variant},
    layout::{Coded, Encoding},
    quantize,
    tokenizer::Tokenizer,
};

use crate::{
    Maker, bundled,
    family::{Gguf, Tensor},
    kept::{Seed, kept, seed},
};

/// Values of `tokenizer.ggml.pre`, one for each pre-tokenizer.
pub const SPLITTERS: [&str; 6] = ["qwen2", "llama-bpe", "tekken", "gpt-2", "smollm", "default"];

/// Seeds of a target, including those found by fuzzers.
pub fn of(target: &str) -> Vec<Seed> {
    let mut seeds = match target {
        "gguf" => gguf(),
        "llama2c" => llama2c(),
        "tokenizer" => tokenizer(),
        _ => tokenisation(),
    };
    seeds.extend(kept(target));
    seeds
}

/// Shape of a model; all files have one layer.
struct Shape {
    dim: usize,
    hidden: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocabulary: usize,
    encoding: Encoding,
}

const SHAPE: Shape = Shape {
    dim: 32,
    hidden: 32,
    heads: 2,
    kv_heads: 1,
    head_dim: 16,
    vocabulary: 3,
    encoding: Encoding::Q8_0,
};

/// Makes a small model of `architecture`.
pub fn small(architecture: &str) -> Gguf {
    model(architecture, &SHAPE)
}

/// Makes a model of `architecture` and a shape, without a vocabulary.
fn model(architecture: &str, shape: &Shape) -> Gguf {
    let mut file = Gguf::default();
    file.text("general.architecture", architecture);
    let key = |key: &str| format!("{architecture}.{key}");
    for (name, value) in [
        ("context_length", 48),
        ("embedding_length", shape.dim),
        ("block_count", 1),
        ("feed_forward_length", shape.hidden),
        ("attention.head_count", shape.heads),
        ("attention.head_count_kv", shape.kv_heads),
        ("attention.key_length", shape.head_dim),
    ] {
        file.u32(&key(name), value as u32);
    }
    file.f32(&key("attention.layer_norm_rms_epsilon"), 1e-5);
    file.f32(&key("rope.freq_base"), 10_000.0);
    let (q, kv) = (
        shape.heads * shape.head_dim,
        shape.kv_heads * shape.head_dim,
    );
    let mut seed = 1u32;
    let mut tensor = |name: &str, cols: usize, rows: usize, encoding: Encoding| {
        // As in files whose rows are not a multiple of the block.
        let encoding = if cols.is_multiple_of(encoding.block()) {
            encoding
        } else {
            Encoding::F16
        };
        let (mut bytes, mut scales) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let row: Vec<f32> = (0..cols)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (seed >> 8) as f32 / 16_777_216.0 - 0.5
                })
                .collect();
            quantize::encode(encoding, &row, &mut bytes, &mut scales);
        }
        let shape = if rows == 1 {
            vec![cols]
        } else {
            vec![cols, rows]
        };
        file.tensors.push(Tensor {
            name: name.into(),
            shape,
            encoding,
            bytes,
        });
    };
    tensor(
        "token_embd.weight",
        shape.dim,
        shape.vocabulary,
        shape.encoding,
    );
    tensor("output_norm.weight", shape.dim, 1, Encoding::F32);
    tensor("blk.0.attn_norm.weight", shape.dim, 1, Encoding::F32);
    tensor("blk.0.attn_q.weight", shape.dim, q, shape.encoding);
    tensor("blk.0.attn_k.weight", shape.dim, kv, shape.encoding);
    tensor("blk.0.attn_v.weight", shape.dim, kv, shape.encoding);
    tensor("blk.0.attn_output.weight", q, shape.dim, shape.encoding);
    tensor("blk.0.ffn_norm.weight", shape.dim, 1, Encoding::F32);
    tensor(
        "blk.0.ffn_gate.weight",
        shape.dim,
        shape.hidden,
        shape.encoding,
    );
    tensor(
        "blk.0.ffn_up.weight",
        shape.dim,
        shape.hidden,
        shape.encoding,
    );
    tensor(
        "blk.0.ffn_down.weight",
        shape.hidden,
        shape.dim,
        shape.encoding,
    );
    match architecture {
        "llama" => tensor("rope_freqs.weight", shape.head_dim / 2, 1, Encoding::F32),
        "qwen2" => {
            tensor("blk.0.attn_q.bias", q, 1, Encoding::F32);
            tensor("blk.0.attn_k.bias", kv, 1, Encoding::F32);
            tensor("blk.0.attn_v.bias", kv, 1, Encoding::F32);
            file.text("qwen2.rope.scaling.type", "yarn");
            file.f32("qwen2.rope.scaling.factor", 4.0);
            file.u32("qwen2.rope.scaling.original_context_length", 16);
        }
        "qwen3" => {
            tensor("blk.0.attn_q_norm.weight", shape.head_dim, 1, Encoding::F32);
            tensor("blk.0.attn_k_norm.weight", shape.head_dim, 1, Encoding::F32);
            file.u32("qwen3.attention.sliding_window", 2);
        }
        _ => {
            tensor("output.weight", shape.dim, shape.vocabulary, shape.encoding);
            for key in [
                "embedding_scale",
                "residual_scale",
                "attention.scale",
                "logit_scale",
            ] {
                file.f32(&format!("granite.{key}"), 0.5);
            }
        }
    }
    file
}

/// Small files of every architecture; some have a vocabulary, some are split.
pub fn gguf() -> Vec<Seed> {
    let mut all: Vec<Seed> = ["llama", "qwen2", "qwen3", "granite"]
        .map(|name| seed(name, small(name).bytes()))
        .into();
    // K types need rows of 256.
    for encoding in [
        Encoding::Coded(Coded::Q4K),
        Encoding::Coded(Coded::Q6K),
        Encoding::Q4_0,
        Encoding::BF16,
    ] {
        let shape = Shape {
            dim: 256,
            hidden: 16,
            heads: 1,
            encoding,
            ..SHAPE
        };
        all.push(seed(
            format!("llama-{encoding}"),
            model("llama", &shape).bytes(),
        ));
    }
    let speaker = Shape {
        vocabulary: crate::family::VOCABULARY,
        encoding: Encoding::Q4_0,
        ..SHAPE
    };
    let mut speaks = model("qwen2", &speaker);
    speaks.speak();
    speaks.text("tokenizer.chat_template", crate::family::THINKER);
    all.push(seed("speaks", speaks.bytes()));
    let own = bundled_tokenizer();
    let mut scored = scored(&own);
    let words = model(
        "llama",
        &Shape {
            vocabulary: own.vocab_size(),
            ..SHAPE
        },
    );
    scored.tensors = words.tensors.clone();
    scored.take(&words);
    all.push(seed("speaks-scored", scored.bytes()));
    let mut parts = Vec::new();
    for part in small("llama").split(2) {
        parts.extend(b"PART");
        parts.extend((part.len() as u32).to_le_bytes());
        parts.extend(part);
    }
    all.push(seed("split", parts));
    all
}

fn bundled_tokenizer() -> Tokenizer {
    let file = std::fs::read(bundled("tokenizer.bin")).expect("it is bundled");
    Tokenizer::load(&mut &file[..]).expect("a good one")
}

/// Converts a tokenizer of llama2.c to GGUF.
pub fn scored(tokenizer: &Tokenizer) -> Gguf {
    let mut file = Gguf::default();
    let words: Vec<String> = (0..)
        .zip(tokenizer.pieces())
        .map(|(token, (piece, _))| match token {
            1 => "<s>".into(),
            2 => "</s>".into(),
            _ => String::from_utf8_lossy(piece).replace(' ', "\u{2581}"),
        })
        .collect();
    let mut scores = 6u32.to_le_bytes().to_vec();
    scores.extend((words.len() as u64).to_le_bytes());
    scores.extend(
        tokenizer
            .pieces()
            .flat_map(|(_, score)| score.to_le_bytes()),
    );
    file.text("tokenizer.ggml.model", "llama");
    file.texts("tokenizer.ggml.tokens", &words);
    file.set("tokenizer.ggml.scores", 9, &scores);
    // Unknown, control, byte, normal.
    let kind = |token| match token {
        0 => 2,
        1 | 2 => 3,
        3..=258 => 6,
        _ => 1,
    };
    let kinds: Vec<i32> = (0..words.len()).map(kind).collect();
    file.numbers("tokenizer.ggml.token_type", 5, &kinds);
    file
}

/// Makes a byte-level BPE vocabulary with the pre-tokenizer `pre`.
pub fn byte_level(pre: &str) -> Gguf {
    let mut file = Gguf::default();
    file.speak();
    file.text("tokenizer.ggml.pre", pre);
    file
}

/// Files in llama2.c's three layouts.
fn llama2c() -> Vec<Seed> {
    let mut all = Vec::new();
    for shared_classifier in [true, false] {
        let config = Config {
            dim: 8,
            hidden_dim: 12,
            n_layers: 2,
            n_heads: 2,
            n_kv_heads: 1,
            vocab_size: 5,
            seq_len: 4,
            shared_classifier,
            variant: Variant::LLAMA2C,
        };
        let maker = Maker::random(config, 3);
        let name = if shared_classifier {
            "tied"
        } else {
            "separate"
        };
        all.push(seed(format!("v0-{name}"), maker.v0()));
        all.push(seed(format!("v1-{name}"), maker.v1()));
        all.push(seed(format!("v2-{name}"), maker.v2(4)));
    }
    all
}

/// Smallest vocabulary, and one with pieces that merge.
fn tokenizer() -> Vec<Seed> {
    let mut file = 8u32.to_le_bytes().to_vec();
    let mut put = |piece: &[u8], score: f32| {
        file.extend(score.to_le_bytes());
        file.extend((piece.len() as i32).to_le_bytes());
        file.extend(piece);
    };
    for piece in ["<unk>", "\n<s>\n", "\n</s>\n"] {
        put(piece.as_bytes(), 0.0);
    }
    (0..=255u8).for_each(|byte| put(format!("<0x{byte:02X}>").as_bytes(), 0.0));
    let least = file.clone();
    let mut file = least.clone();
    let mut put = |piece: &[u8], score: f32| {
        file.extend(score.to_le_bytes());
        file.extend((piece.len() as i32).to_le_bytes());
        file.extend(piece);
    };
    for (piece, score) in [
        (" ", -4.0),
        ("a", -5.0),
        ("o", -6.0),
        ("\u{e4}", -7.0),
        (" a", -1.0),
        ("aa", -1.5),
        ("aaaa", -2.0),
        ("oa", -0.0),
    ] {
        put(piece.as_bytes(), score);
    }
    vec![seed("bytes", least), seed("merges", file)]
}

/// Texts that are difficult for tokenizers and templates.
fn tokenisation() -> Vec<Seed> {
    let template = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>'}}{% endfor %}";
    [
        ("plain", "Once upon a time, there was a tree."),
        ("spaces", "  two   spaces \t\r\n\n  1234567 don't I'LL"),
        (
            "characters",
            "Ünïcode 日本語 🙂 e\u{301} \u{a0}\u{2003} ١٢٣ ǅ \u{fffd}",
        ),
        (
            "marks",
            "<s> </s> <0x41> <|im_start|>user<|im_end|> [INST] <<SYS>>",
        ),
        ("thoughts", "<think>\nHm.</think>\n\nYes <think no"),
        ("template", template),
        (
            "system",
            "{{- '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}",
        ),
        (
            "llama3",
            "<|start_header_id|><|end_header_id|><|eot_id|> Cutting Knowledge Date: December 2023",
        ),
        ("part", "model-00002-of-00003.gguf"),
        (
            "code",
            "fn main() { println!(\"{}\", 0x1F); } // ---- ====\n\tif(x>=10){}",
        ),
    ]
    .iter()
    .enumerate()
    .map(|(how, (name, text))| {
        let mut bytes = vec![how as u8];
        bytes.extend(text.as_bytes());
        seed(*name, bytes)
    })
    .chain([seed("bytes", (0..=255).collect::<Vec<u8>>())])
    .collect()
}
