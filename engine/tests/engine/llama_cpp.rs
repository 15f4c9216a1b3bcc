//! The logits of every architecture and type against llama.cpp's for the same files: against those
//! that it gave once (`llama_cpp/expected.txt`), and against itself where `LLAMA2_ORACLE` says how
//! to ask it, such as `python engine/tests/llama_cpp/logits.py`.

use std::{
    fmt::Write,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

use llama2_convert as convert;
use llama2_engine::{
    layout::{Coded, Encoding},
    session::{Options, Session},
    tokenizer::Tokenizer,
};
use llama2_testing::{
    as_gguf, bundled,
    family::{self, FAMILIES, Family},
    load, reference,
};

const POSITIONS: usize = 32;
/// Positions whose logits were written down.
const KEPT: [usize; 3] = [0, 7, 31];
/// How many of them.
const TOP: usize = 10;

/// A type of all matrices, or a mixture, with the error that is allowed, relative to the largest
/// logit.
struct Mixture {
    name: &'static str,
    of: fn(&str) -> Encoding,
    bound: f32,
}

const fn pure(name: &'static str, of: fn(&str) -> Encoding, bound: f32) -> Mixture {
    Mixture { name, of, bound }
}

const MIXTURES: [Mixture; 17] = [
    pure("F32", |_| Encoding::F32, 1e-3),
    pure("F16", |_| Encoding::F16, 5e-3),
    // llama.cpp rounds the activations to BF16 as well.
    pure("BF16", |_| Encoding::BF16, 2e-2),
    pure("Q8_0", |_| Encoding::Q8_0, 2e-2),
    pure("Q4_0", |_| Encoding::Q4_0, 2e-2),
    pure("Q4_1", |_| Encoding::Coded(Coded::Q4_1), 2e-2),
    pure("Q5_0", |_| Encoding::Coded(Coded::Q5_0), 2e-2),
    pure("Q5_1", |_| Encoding::Coded(Coded::Q5_1), 2e-2),
    pure("Q2_K", |_| Encoding::Coded(Coded::Q2K), 2e-2),
    pure("Q3_K", |_| Encoding::Coded(Coded::Q3K), 2e-2),
    pure("Q4_K", |_| Encoding::Coded(Coded::Q4K), 2e-2),
    pure("Q5_K", |_| Encoding::Coded(Coded::Q5K), 2e-2),
    pure("Q6_K", |_| Encoding::Coded(Coded::Q6K), 2e-2),
    pure("IQ4_NL", |_| Encoding::Coded(Coded::Iq4Nl), 2e-2),
    pure("IQ4_XS", |_| Encoding::Coded(Coded::Iq4Xs), 2e-2),
    pure("Q4_K_M", q4_k_m, 2e-2),
    pure("Q4_0 with a Q6_K classifier", q4_0_q6_k, 2e-2),
];

fn q4_k_m(name: &str) -> Encoding {
    let more = [
        "output.weight",
        "blk.1.attn_v.weight",
        "blk.1.ffn_down.weight",
    ];
    Encoding::Coded(if more.contains(&name) {
        Coded::Q6K
    } else {
        Coded::Q4K
    })
}

fn q4_0_q6_k(name: &str) -> Encoding {
    match name {
        "output.weight" => Encoding::Coded(Coded::Q6K),
        _ => Encoding::Q4_0,
    }
}

fn tokens() -> Vec<u32> {
    let token = |i: usize| (i * 73 + 11) % family::VOCABULARY;
    (0..POSITIONS).map(|i| token(i) as u32).collect()
}

fn ours(file: &[u8]) -> Vec<Vec<f32>> {
    let (model, _) = load(file).unwrap();
    let mut session = Session::new(&model, Options::default()).unwrap();
    let each = tokens().into_iter().enumerate();
    each.map(|(pos, token)| session.forward(token, pos).to_vec())
        .collect()
}

/// The tokens of the largest logits, the largest first.
fn top(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]));
    order.truncate(TOP);
    order
}

/// The largest error relative to the largest logit, once it is known that the likeliest token is
/// the same, except where the two best are nearer to each other than the error that is allowed.
fn compare(what: &str, found: &[(f32, f32)], best: (usize, usize), gap: f32, bound: f32) -> f32 {
    let largest = found.iter().fold(0.0f32, |m, (_, want)| m.max(want.abs()));
    let off = found.iter().map(|(found, want)| (found - want).abs());
    let error = off.fold(0.0f32, f32::max) / largest;
    assert!(error <= bound, "{what}: error {error} of {bound}");
    assert!(
        best.0 == best.1 || gap <= bound * largest,
        "{what}: token {} instead of {}",
        best.0,
        best.1
    );
    error
}

fn cases() -> impl Iterator<Item = (String, &'static Family, Mixture)> {
    FAMILIES.iter().flat_map(|family| {
        MIXTURES.into_iter().map(move |mixture| {
            (
                format!("{}, {}", family.name, mixture.name),
                family,
                mixture,
            )
        })
    })
}

#[test]
fn the_logits_are_those_that_llama_cpp_gave() {
    let expected = include_str!("../llama_cpp/expected.txt");
    let mut worst = (0.0, String::new());
    let mut checked = 0;
    for (name, family, mixture) in cases() {
        let found = ours(&family.make(7, &mixture.of).bytes());
        let lines = expected.lines().filter_map(|line| {
            let (case, rest) = line.split_once('\t')?;
            (case == name).then_some(rest)
        });
        let mut positions = Vec::new();
        for line in lines {
            let mut fields = line.split('\t');
            let position: usize = fields.next().unwrap().parse().unwrap();
            let pairs = fields.map(|field| {
                let (token, logit) = field.split_once(':').unwrap();
                (token.parse().unwrap(), logit.parse().unwrap())
            });
            let pairs: Vec<(usize, f32)> = pairs.collect();
            let logits = &found[position];
            let both: Vec<(f32, f32)> = pairs.iter().map(|&(t, want)| (logits[t], want)).collect();
            let best = (top(logits)[0], pairs[0].0);
            let gap = pairs[0].1 - pairs[1].1;
            let what = format!("{name} at {position}");
            let error = compare(&what, &both, best, gap, mixture.bound);
            if error > worst.0 {
                worst = (error, what);
            }
            positions.push(position);
            checked += 1;
        }
        assert_eq!(positions, KEPT, "{name}: nothing is known of it");
    }
    println!("worst of {checked} positions: {} ({})", worst.0, worst.1);
}

/// How to ask llama.cpp, or a loud word that the test is skipped.
fn oracle() -> Option<String> {
    let oracle = std::env::var("LLAMA2_ORACLE").ok();
    if oracle.is_none() {
        eprintln!("SKIPPED: LLAMA2_ORACLE does not say how to ask llama.cpp");
    }
    oracle
}

/// The logits that llama.cpp has for `tokens`, one behind the other.
fn ask(oracle: &str, file: &[u8], tokens: &[u32]) -> Vec<f32> {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let name = format!("llama2-oracle-{}-{number}.gguf", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, file).unwrap();
    let mut words = oracle.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .arg(&path)
        .args(tokens.iter().map(u32::to_string))
        .output();
    std::fs::remove_file(&path).unwrap();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let numbers = output.stdout.chunks_exact(4);
    numbers
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

/// Real models, converted by us: the likeliest text in single precision is llama.cpp's, and in
/// smaller numbers the logits are.
#[test]
fn real_models_say_what_llama_cpp_says() {
    const TEXT: usize = 200;
    let Some(oracle) = oracle() else { return };
    let mut models = vec![(bundled("stories330K.bin"), bundled("tokenizer.bin"))];
    if let (Some(model), Some(words)) = (reference("stories260K.bin"), reference("tok512.bin")) {
        models.push((model, words));
    }
    for (model, words) in models {
        let name = model.file_stem().unwrap().to_string_lossy().into_owned();
        let bytes = std::fs::read(model).unwrap();
        let words = std::fs::read(words).unwrap();
        let words = Tokenizer::load(&mut &words[..]).unwrap();
        let made = |mixture| as_gguf(&bytes, mixture, Some(&words));

        let file = made(convert::Mixture::Pure(Encoding::F32));
        let (loaded, _) = load(&file).unwrap();
        let mut session = Session::new(&loaded, Options::default()).unwrap();
        let mut text = vec![1];
        for position in 0..TEXT {
            text.push(top(session.forward(text[position], position))[0] as u32);
        }
        let theirs = ask(&oracle, &file, &text[..TEXT]);
        let theirs = theirs.chunks_exact(loaded.config.vocab_size);
        let likeliest: Vec<u32> = theirs.map(|logits| top(logits)[0] as u32).collect();
        assert_eq!(text[1..], likeliest, "{name}");
        println!("worst of {name} in F32: none, {TEXT} likeliest tokens are llama.cpp's");

        for (mixture, bound) in [
            (convert::Mixture::Pure(Encoding::F16), 5e-3),
            (convert::Mixture::Pure(Encoding::Q8_0), 2e-2),
            (convert::Mixture::Pure(Encoding::Q4_0), 2e-2),
            (convert::Mixture::Q4KM, 2e-2),
        ] {
            let file = made(mixture);
            let (loaded, _) = load(&file).unwrap();
            let mut session = Session::new(&loaded, Options::default()).unwrap();
            let theirs = ask(&oracle, &file, &text[..POSITIONS]);
            let mut worst = 0.0f32;
            for (position, want) in theirs.chunks_exact(loaded.config.vocab_size).enumerate() {
                let found = session.forward(text[position], position);
                let order = top(want);
                let best = (top(found)[0], order[0]);
                let gap = want[order[0]] - want[order[1]];
                let what = format!("{name}, {mixture:?} at {position}");
                let both: Vec<_> = found.iter().copied().zip(want.iter().copied()).collect();
                worst = worst.max(compare(&what, &both, best, gap, bound));
            }
            println!("worst of {name}, {mixture:?}: {worst}");
        }
    }
}

#[test]
fn the_logits_are_llama_cpps() {
    let Some(oracle) = oracle() else { return };
    let mut worst = (0.0, String::new());
    let mut count = 0;
    let mut written = String::new();
    for (name, family, mixture) in cases() {
        let file = family.make(7, &mixture.of).bytes();
        let theirs = ask(&oracle, &file, &tokens());
        let theirs: Vec<&[f32]> = theirs.chunks_exact(family::VOCABULARY).collect();
        assert_eq!(theirs.len(), POSITIONS, "{name}");
        for (position, (found, want)) in ours(&file).iter().zip(&theirs).enumerate() {
            let both: Vec<(f32, f32)> = found.iter().copied().zip(want.iter().copied()).collect();
            let order = top(want);
            let best = (top(found)[0], order[0]);
            let gap = want[order[0]] - want[order[1]];
            let what = format!("{name} at {position}");
            let error = compare(&what, &both, best, gap, mixture.bound);
            count += both.len();
            if error > worst.0 {
                worst = (error, what);
            }
            if KEPT.contains(&position) {
                write!(written, "{name}\t{position}").unwrap();
                for token in order {
                    write!(written, "\t{token}:{}", want[token]).unwrap();
                }
                writeln!(written).unwrap();
            }
        }
    }
    println!("worst of {count} logits: {} ({})", worst.0, worst.1);
    if let Ok(path) = std::env::var("LLAMA2_ORACLE_WRITE") {
        std::fs::write(PathBuf::from(path), written).unwrap();
    }
}
