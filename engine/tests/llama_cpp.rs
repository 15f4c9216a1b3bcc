//! The logits of every architecture and type against llama.cpp's for the same files: against those that it gave once
//! (`llama_cpp/expected.txt`), and against itself where `LLAMA2_ORACLE` says how to ask it, such as
//! `python engine/tests/llama_cpp/logits.py`.

mod common;

use std::{fmt::Write, path::PathBuf, process::Command};

use common::{
    family::{self, FAMILIES, Family},
    load,
};
use llama2_engine::{
    matrix::Encoding,
    session::{Options, Session},
};

const POSITIONS: usize = 32;
/// Positions whose logits were written down.
const KEPT: [usize; 3] = [0, 7, 31];
/// How many of them.
const TOP: usize = 10;

/// A type of all matrices, or a mixture, with the error that is allowed, relative to the largest logit.
struct Mixture {
    name: &'static str,
    of: fn(&str) -> Encoding,
    bound: f32,
}

const fn pure(name: &'static str, of: fn(&str) -> Encoding, bound: f32) -> Mixture {
    Mixture { name, of, bound }
}

const MIXTURES: [Mixture; 5] = [
    pure("F32", |_| Encoding::F32, 1e-3),
    pure("F16", |_| Encoding::F16, 5e-3),
    // llama.cpp rounds the activations to BF16 as well.
    pure("BF16", |_| Encoding::BF16, 2e-2),
    pure("Q8_0", |_| Encoding::Q8_0, 2e-2),
    pure("Q4_0", |_| Encoding::Q4_0, 2e-2),
];

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

/// The largest error relative to the largest logit, once it is known that the likeliest token is the same, except where the two
/// best are nearer to each other than the error that is allowed.
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
    let expected = include_str!("llama_cpp/expected.txt");
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
    println!("{checked} positions; worst: {} ({})", worst.0, worst.1);
}

#[test]
fn the_logits_are_llama_cpps() {
    let Ok(oracle) = std::env::var("LLAMA2_ORACLE") else {
        eprintln!("SKIPPED: LLAMA2_ORACLE does not say how to ask llama.cpp");
        return;
    };
    let mut words = oracle.split_whitespace();
    let program = words.next().unwrap();
    let words: Vec<&str> = words.collect();
    let path = std::env::temp_dir().join(format!("llama2-oracle-{}.gguf", std::process::id()));
    let mut worst = (0.0, String::new());
    let mut written = String::new();
    for (name, family, mixture) in cases() {
        let file = family.make(7, &mixture.of).bytes();
        std::fs::write(&path, &file).unwrap();
        let mut command = Command::new(program);
        command.args(&words).arg(&path);
        command.args(tokens().iter().map(u32::to_string));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
        let theirs: Vec<f32> = output
            .stdout
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let theirs: Vec<&[f32]> = theirs.chunks_exact(family::VOCABULARY).collect();
        assert_eq!(theirs.len(), POSITIONS, "{name}: {said}");
        for (position, (found, want)) in ours(&file).iter().zip(&theirs).enumerate() {
            let both: Vec<(f32, f32)> = found.iter().copied().zip(want.iter().copied()).collect();
            let order = top(want);
            let best = (top(found)[0], order[0]);
            let gap = want[order[0]] - want[order[1]];
            let what = format!("{name} at {position}");
            let error = compare(&what, &both, best, gap, mixture.bound);
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
    std::fs::remove_file(&path).unwrap();
    println!("worst: {} ({})", worst.0, worst.1);
    if let Ok(path) = std::env::var("LLAMA2_ORACLE_WRITE") {
        std::fs::write(PathBuf::from(path), written).unwrap();
    }
}
