//! Inputs of a fuzzer's target: valid ones, those that fuzzers found useful, and every one that has
//! failed.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Longest time that an input may take, in seconds, even on a slow machine.
const MOST_SECONDS: f64 = 10.0;

/// A valid input.
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
}

pub fn seed(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Seed {
    Seed {
        name: name.into(),
        bytes: bytes.into(),
    }
}

fn folder(name: &str) -> PathBuf {
    // Beside the crate that includes this file, whichever it is.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz")
        .join(name)
}

/// Inputs that fuzzers found useful (`fuzz/inputs`, as packed by `cargo xtask fuzz --keep`).
pub fn kept(target: &str) -> Vec<Seed> {
    let packed = std::fs::read(folder("inputs").join(target)).unwrap_or_default();
    let mut seeds = Vec::new();
    let mut rest = &packed[..];
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (input, behind) = tail.split_at(length.min(tail.len()));
        seeds.push(seed(format!("kept-{}", seeds.len()), input));
        rest = behind;
    }
    seeds
}

/// Runs the seeds and all inputs that have failed (`fuzz/regressions`).
pub fn replay(target: &str, seeds: Vec<Seed>, run: fn(&[u8])) {
    let mut inputs = seeds;
    let folder = folder("regressions").join(target);
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        inputs.push(seed(
            path.display().to_string(),
            std::fs::read(&path).unwrap(),
        ));
    }
    for Seed { name, bytes } in inputs {
        let start = Instant::now();
        // The test's output then has the name beside the panic.
        eprintln!("{target}: {name}, {} bytes", bytes.len());
        run(&bytes);
        let took = start.elapsed().as_secs_f64();
        assert!(took < MOST_SECONDS, "{name}: {took:.1} s");
    }
}
