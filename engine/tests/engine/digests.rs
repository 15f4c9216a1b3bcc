//! Digests of logits that every architecture must give, with each of its kernel sets: those that
//! x86-64 gave once (`digests.txt`; `LLAMA2_DIGESTS=write` writes them again).

use llama2_engine::{
    config::{Config, Variant},
    kernels::{self, Features, Kernels},
    layout::{Coded, Encoding},
    session::{KvType, Options, Session},
};
use llama2_testing::{
    Maker,
    family::{self, FAMILIES},
    load,
};

const EXPECTED: &str = include_str!("digests.txt");

/// Tokens of the prompt, which fill tiles and leave one, and all tokens.
const TOKENS: [usize; 2] = [13, 15];

/// Digest of all logits of a model: of a prompt in one pass, and of tokens one by one.
fn digest(file: &[u8], kernels: &'static Kernels, kv: KvType) -> String {
    let (model, _) = load(file).unwrap();
    let vocabulary = model.config.vocab_size;
    let tokens: Vec<u32> = (0..TOKENS[1])
        .map(|i| ((i * 73 + 11) % vocabulary) as u32)
        .collect();
    let (prompt, rest) = tokens.split_at(TOKENS[0]);
    let options = Options {
        kernels,
        kv,
        ..Options::default()
    };
    let mut session = Session::new(&model, options).unwrap();
    let mut logits = vec![0.0; prompt.len() * vocabulary];
    session.score(prompt, 0, &mut logits);
    for (pos, &token) in (prompt.len()..).zip(rest) {
        logits.extend_from_slice(session.forward(token, pos));
    }
    assert!(logits.iter().all(|x| x.is_finite()));
    let bytes: Vec<u8> = logits.into_iter().flat_map(f32::to_le_bytes).collect();
    format!("{:08x}", crc32fast::hash(&bytes))
}

/// A model that digests are kept of: its name, its file, and the type of its keys and values.
type Case = (String, Vec<u8>, KvType);

/// Every type in one architecture; every architecture in one type, with keys and values of each
/// type in turn; llama2.c's int8.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let encodings = [Encoding::F32, Encoding::F16, Encoding::BF16];
    let blocks = [Encoding::Q8_0, Encoding::Q4_0];
    let coded = Coded::ALL.map(Encoding::Coded);
    for encoding in encodings.into_iter().chain(blocks).chain(coded) {
        let file = FAMILIES[0].make(7, &|_| encoding).bytes();
        cases.push((encoding.to_string(), file, KvType::F32));
    }
    for (family, kv) in FAMILIES[1..].iter().zip(KvType::ALL.into_iter().cycle()) {
        let file = family.make(7, &|_| Encoding::Q8_0).bytes();
        cases.push((format!("{}, {kv:?}", family.name), file, kv));
    }
    let config = Config {
        dim: 96,
        hidden_dim: 160,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        vocab_size: family::VOCABULARY,
        seq_len: TOKENS[1],
        shared_classifier: true,
        variant: Variant::LLAMA2C,
    };
    let file = Maker::random(config, 7).v2(32);
    cases.push(("int8".into(), file, KvType::F32));
    cases
}

/// Digests of all cases, a line each.
fn digests(cases: &[Case], kernels: &'static Kernels) -> String {
    let digests = cases
        .iter()
        .map(|(name, file, kv)| format!("{name}: {}\n", digest(file, kernels, *kv)));
    digests.collect()
}

#[test]
fn logits_are_the_same_on_every_architecture() {
    let cases = cases();
    if std::env::var_os("LLAMA2_DIGESTS").is_some_and(|value| value == "write") {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engine/digests.txt");
        return std::fs::write(file, digests(&cases, &kernels::scalar::KERNELS)).unwrap();
    }
    // The reference is compared with every set elsewhere, and slow.
    for name in kernels::names().skip(1) {
        match kernels::named(name, Features::of_this_core()) {
            Ok(kernels) => assert_eq!(digests(&cases, kernels), EXPECTED, "{}", kernels.title),
            Err(error) => eprintln!("SKIPPED: {error}"),
        }
    }
}
