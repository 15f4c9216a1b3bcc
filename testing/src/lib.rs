//! Fixtures for the tests of several crates: paths of models and references, generated checkpoints,
//! inputs of fuzzers and the properties that must hold for them.
#![allow(missing_docs)]

pub mod family;
pub mod gauge;
pub mod kept;
pub mod mutate;
pub mod random;
pub mod scoped;
pub mod seeds;
pub mod untrusted;
pub mod vocabulary;

use std::{
    convert::Infallible,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use llama2_convert::{Content, Mixture, Plan};
use llama2_engine::{
    checkpoint::{Checkpoint, Error},
    config::Config,
    event::Event,
    generate::{Sequence, step},
    model::{Digest, Model},
    session::Session,
    tokenizer::Tokenizer,
    workers::Single,
};

/// The text of a sequence up to its end.
pub fn text_of(
    sequence: &mut Sequence,
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
) -> String {
    let mut said = String::new();
    let mut out = |_, event: Event<'_>| {
        if let Event::Reasoning { text, .. } | Event::Text { text, .. } = event {
            said += text;
        }
    };
    while step(session, tokenizer, &mut [sequence], &mut out) > 0 {}
    said
}

/// A file of the project's own `models/`.
pub fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models")
        .join(name)
}

/// The float32 model of `models/` in llama2.c's int8.
pub fn bundled_int8() -> Vec<u8> {
    let file = std::fs::read(bundled("stories330K.bin")).expect("it is in the repository");
    Maker::of_v0(&file).v2(64)
}

/// Path of a file in the reference folder (`LLAMA2_REFERENCE`, or else beside the checkout); prints
/// that the test is skipped if there is none.
pub fn reference(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LLAMA2_REFERENCE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference"),
        PathBuf::from,
    );
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there (set LLAMA2_REFERENCE)",
        path.display()
    );
    None
}

/// GGUF files that contain only a vocabulary, by name: those in the reference folder, and those in
/// the folder named by `LLAMA2_VOCABULARIES`, such as llama.cpp's `models`.
pub fn vocabularies() -> Vec<(String, PathBuf)> {
    let more = std::env::var_os("LLAMA2_VOCABULARIES").map(PathBuf::from);
    if more.is_none() {
        eprintln!("SKIPPED: LLAMA2_VOCABULARIES does not say where llama.cpp's models/ are");
    }
    let mut found = Vec::new();
    for folder in reference("gguf").into_iter().chain(more) {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let name = name.strip_prefix("ggml-vocab-");
            if let Some(name) = name.and_then(|name| name.strip_suffix(".gguf")) {
                found.push((name.to_string(), path));
            }
        }
    }
    found.sort();
    found
}

/// Text of tokens at the beginning of a text.
pub fn shown(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<u8> {
    let Some((&first, rest)) = tokens.split_first() else {
        return Vec::new();
    };
    let mut out = tokenizer.decode_first(first).to_vec();
    // No BOS is of this number.
    let rest = rest.iter().flat_map(|&t| tokenizer.decode(u32::MAX, t));
    out.extend(rest);
    out
}

pub fn load(bytes: &[u8]) -> Result<(Model, Digest), Error> {
    let mut source = bytes;
    let checkpoint = Checkpoint::open(&mut source)?;
    Model::load(&checkpoint, &mut source, &mut |_| ControlFlow::Continue(()))
}

pub fn load_file(path: &Path) -> Model {
    let bytes = std::fs::read(path).unwrap();
    load(&bytes)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .0
}

/// Converts `bytes` (any checkpoint) to GGUF.
pub fn as_gguf(bytes: &[u8], mixture: Mixture, tokenizer: Option<&Tokenizer>) -> Vec<u8> {
    let mut source = bytes;
    let checkpoint = Checkpoint::open(&mut source).unwrap();
    let content = Content {
        checkpoint: &checkpoint,
        tokenizer,
        name: "made",
        mixture,
    };
    let plan = Plan::new::<Infallible>(&content, &mut source, u64::MAX).unwrap();
    assert_eq!(plan.files(), 1);
    let mut out = Vec::new();
    let mut sink = |bytes: &[u8]| -> Result<(), Infallible> {
        out.extend_from_slice(bytes);
        Ok(())
    };
    plan.write(0, &mut source, &Single, &mut sink).unwrap();
    out
}

/// Makes checkpoints of random weights from shapes and seeds, in each of llama2.c's layouts.
pub struct Maker {
    pub config: Config,
    /// All tensors in v0's order: role, rows, columns, values.
    pub tensors: Vec<(&'static str, usize, usize, Vec<f32>)>,
}

impl Maker {
    pub fn random(config: Config, mut seed: u64) -> Maker {
        let c = &config;
        let mut tensors = Vec::new();
        let mut put = |role: &'static str, count: usize, rows: usize, cols: usize, norm: bool| {
            for _ in 0..count {
                let values = (0..rows * cols)
                    .map(|_| {
                        seed = seed
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let uniform = (seed >> 40) as f32 / 16_777_216.0 - 0.5;
                        if norm {
                            1.0 + uniform / 5.0
                        } else {
                            uniform / 2.0
                        }
                    })
                    .collect();
                tensors.push((role, rows, cols, values));
            }
        };
        put("embed", 1, c.vocab_size, c.dim, false);
        put("att", c.n_layers, 1, c.dim, true);
        put("wq", c.n_layers, c.dim, c.dim, false);
        put("wk", c.n_layers, c.kv_dim(), c.dim, false);
        put("wv", c.n_layers, c.kv_dim(), c.dim, false);
        put("wo", c.n_layers, c.dim, c.dim, false);
        put("ffn", c.n_layers, 1, c.dim, true);
        put("w1", c.n_layers, c.hidden_dim, c.dim, false);
        put("w2", c.n_layers, c.dim, c.hidden_dim, false);
        put("w3", c.n_layers, c.hidden_dim, c.dim, false);
        put("final", 1, 1, c.dim, true);
        if !c.shared_classifier {
            put("classifier", 1, c.vocab_size, c.dim, false);
        }
        Maker { config, tensors }
    }

    /// Takes the weights of a v0 file.
    pub fn of_v0(bytes: &[u8]) -> Maker {
        let mut source = bytes;
        let config = Checkpoint::open(&mut source).unwrap().config;
        let mut maker = Maker::random(config, 1);
        let mut at = 28;
        for (role, _, _, values) in &mut maker.tensors {
            if *role == "classifier" {
                at += config.seq_len * config.head_dim() * 4;
            }
            for value in values {
                *value = f32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
                at += 4;
            }
        }
        maker
    }

    fn numbers(&self, vocab_size: i32) -> Vec<u8> {
        let c = &self.config;
        let numbers = [c.dim, c.hidden_dim, c.n_layers, c.n_heads, c.n_kv_heads].map(|n| n as i32);
        numbers
            .into_iter()
            .chain([vocab_size, c.seq_len as i32])
            .flat_map(i32::to_le_bytes)
            .collect()
    }

    pub fn v0(&self) -> Vec<u8> {
        let vocab = self.config.vocab_size as i32;
        let mut out = self.numbers(if self.config.shared_classifier {
            vocab
        } else {
            -vocab
        });
        for (role, _, _, values) in &self.tensors {
            if *role == "classifier" {
                self.rope_tables(&mut out);
            }
            out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        }
        if self.config.shared_classifier {
            self.rope_tables(&mut out);
        }
        out
    }

    fn rope_tables(&self, out: &mut Vec<u8>) {
        out.extend(
            (0..self.config.seq_len * self.config.head_dim())
                .flat_map(|i| (i as f32).to_le_bytes()),
        );
    }

    fn header(&self, version: i32, group: Option<i32>) -> Vec<u8> {
        let mut out = b"24ka".to_vec();
        out.extend(version.to_le_bytes());
        out.extend(self.numbers(self.config.vocab_size as i32));
        out.push(self.config.shared_classifier.into());
        out.extend(group.unwrap_or(0).to_le_bytes());
        out.resize(256, 0);
        out
    }

    /// Tensors in v1's and v2's order: norms first.
    fn norms_first(&self) -> impl Iterator<Item = &(&'static str, usize, usize, Vec<f32>)> {
        let norm = |role: &str| matches!(role, "att" | "ffn" | "final");
        let part = move |want: bool| self.tensors.iter().filter(move |t| norm(t.0) == want);
        part(true).chain(part(false))
    }

    pub fn v1(&self) -> Vec<u8> {
        let mut out = self.header(1, None);
        out.extend(
            self.norms_first()
                .flat_map(|t| &t.3)
                .flat_map(|x| x.to_le_bytes()),
        );
        out
    }

    /// Makes a v2 file: int8, rounding half to even, as numpy's rint in the reference's converter.
    pub fn v2(&self, group: usize) -> Vec<u8> {
        let mut out = self.header(2, Some(group as i32));
        for (role, _, _, values) in self.norms_first() {
            if matches!(*role, "att" | "ffn" | "final") {
                out.extend(values.iter().flat_map(|x| x.to_le_bytes()));
                continue;
            }
            let mut scales = Vec::new();
            for group in values.chunks(group) {
                let scale = group.iter().fold(0f32, |m, x| m.max(x.abs())) / 127.0;
                let divisor = if scale == 0.0 { 1.0 } else { scale };
                out.extend(
                    group
                        .iter()
                        .map(|x| (x / divisor).round_ties_even() as i8 as u8),
                );
                scales.extend(scale.to_le_bytes());
            }
            out.extend(scales);
        }
        out
    }
}
