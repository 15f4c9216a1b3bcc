//! The fuzzers' inputs, replayed: good ones, and every one that once broke a promise (`fuzz/regressions/`).

mod common;
/// The fuzzer's own mutations: a few in every test run, and they stay in use.
#[path = "../../fuzz/src/mutate.rs"]
mod mutate;

use std::{path::Path, time::Instant};

use common::{
    gauge::{Gauge, peak},
    seeds, untrusted,
};

#[global_allocator]
static ALLOCATOR: Gauge = Gauge;

/// Seconds that an input may take, on a slow machine too.
const MOST_SECONDS: f64 = 10.0;

fn replay(target: &str, run: fn(&[u8])) {
    let mut inputs: Vec<(String, Vec<u8>)> = seeds::of(target)
        .into_iter()
        .map(|seed| (seed.name, seed.bytes))
        .collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/regressions")
        .join(target);
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        inputs.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    for (name, bytes) in inputs {
        let start = Instant::now();
        // The test's output then has the name beside the panic.
        eprintln!("{target}: {name}, {} bytes", bytes.len());
        run(&bytes);
        let took = start.elapsed().as_secs_f64();
        assert!(took < MOST_SECONDS, "{name}: {took:.1} s");
    }
}

#[test]
fn the_gauge_measures() {
    let (_, bytes) = peak(|| {
        drop(std::hint::black_box(vec![1u8; 3000]));
        drop(std::hint::black_box(vec![1u8; 1000]));
    });
    assert_eq!(bytes, 3000);
}

#[test]
fn gguf() {
    replay("gguf", untrusted::gguf);
}

#[test]
fn llama2c() {
    replay("llama2c", untrusted::llama2c);
}

#[test]
fn tokenizer() {
    replay("tokenizer", untrusted::tokenizer);
}

#[test]
fn tokenisation() {
    replay("tokenisation", untrusted::tokenisation);
}

/// Up to four mutations of each good file, one upon the other.
#[test]
fn mutated_gguf_files() {
    let good = seeds::gguf();
    let mut changed = 0;
    for seed in 0..3000 {
        let mut bytes = good[seed as usize % good.len()].bytes.clone();
        for step in 0..4 {
            let Some(next) = mutate::gguf(&bytes, seed * 4 + step) else {
                break;
            };
            bytes = next;
            changed += 1;
            untrusted::gguf(&bytes);
        }
    }
    assert!(changed > 5000, "{changed}");
}
