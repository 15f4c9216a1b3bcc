//! Logits against llama2.c's own, for every reference that is there.

mod common;

use common::{Maker, bundled, load, load_file, reference};
use llama2_engine::{
    checkpoint::{Checkpoint, Format},
    config::Config,
    kernels,
    model::Model,
    session::Session,
    workers::Workers,
};

/// One reference pass: sum, sum of squares and the largest logits with their tokens.
struct Pass {
    sum: f64,
    squares: f64,
    top: Vec<(usize, f64)>,
}

/// Reads a `logits_*.txt`: two passes.
fn parse(text: &str) -> Vec<Pass> {
    let mut passes = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["sum", sum, "sumsq", squares] => {
                passes.push(Pass {
                    sum: sum.parse().unwrap(),
                    squares: squares.parse().unwrap(),
                    top: Vec::new(),
                });
            }
            [token, logit] => {
                if let (Ok(token), Ok(logit), Some(pass)) =
                    (token.parse(), logit.parse(), passes.last_mut())
                {
                    pass.top.push((token, logit));
                }
            }
            _ => (),
        }
    }
    assert!(
        passes.len() == 2 && passes.iter().all(|p| p.top.len() == 10),
        "not a logits file"
    );
    passes
}

const TOKENS: [u32; 8] = [1, 403, 407, 261, 378, 300, 42, 17];

fn check(model: &Model, golden: &str, bound: f64) {
    let passes = parse(golden);
    let mut session = Session::new(model).unwrap();
    let mut worst = 0.0f64;
    for (pos, token) in TOKENS.into_iter().enumerate() {
        let logits = session.forward(token, pos);
        let want = match pos {
            0 => &passes[0],
            7 => &passes[1],
            _ => continue,
        };
        let largest = want.top.iter().map(|t| t.1.abs()).fold(0.0, f64::max);
        for &(token, logit) in &want.top {
            let off = (f64::from(logits[token]) - logit).abs() / largest;
            worst = worst.max(off);
            assert!(
                off <= bound,
                "pos {pos}: logit of token {token} is {}, not {logit}",
                logits[token]
            );
        }
        let best = (0..logits.len())
            .max_by(|&a, &b| logits[a].total_cmp(&logits[b]))
            .unwrap();
        assert_eq!(best, want.top[0].0, "pos {pos}: top token");
        let (sum, squares) = logits.iter().fold((0.0, 0.0), |(s, q), &x| {
            (s + f64::from(x), q + f64::from(x) * f64::from(x))
        });
        let n = logits.len() as f64;
        assert!(
            (sum - want.sum).abs() <= bound * largest * n,
            "pos {pos}: sum {sum}, not {}",
            want.sum
        );
        assert!(
            (squares - want.squares).abs() <= 2.0 * bound * largest * largest * n,
            "pos {pos}: sum of squares {squares}"
        );
    }
    println!("worst |Δ| / max|logit|: {worst:.2e} (bound {bound:.0e})");
}

const F32: f64 = 1e-4;
const INT8: f64 = 1e-2;

#[test]
fn bundled_model() {
    for (model, golden, bound) in [
        ("stories1M.bin", "logits_f32.txt", F32),
        ("stories1M.q80.bin", "logits_q80.txt", INT8),
    ] {
        let golden = std::fs::read_to_string(bundled("golden").join(golden)).unwrap();
        check(&load_file(&bundled(model)), &golden, bound);
    }
}

#[test]
fn stories260k_in_all_three_layouts() {
    let (Some(v0), Some(v1)) = (
        reference("stories260K.bin"),
        reference("stories260K.v1.bin"),
    ) else {
        return;
    };
    let (v0, v1) = (std::fs::read(v0).unwrap(), std::fs::read(v1).unwrap());
    let golden = std::fs::read_to_string(reference("logits_stories260K.txt").unwrap()).unwrap();
    let golden_v2 =
        std::fs::read_to_string(reference("logits_stories260K_v2.txt").unwrap()).unwrap();
    let maker = Maker::of_v0(&v0);
    assert_eq!(
        maker.v1(),
        v1,
        "the tests' own writer makes the reference's v1 file"
    );
    check(&load(&v0).unwrap().0, &golden, F32);
    check(&load(&v1).unwrap().0, &golden, F32);
    check(&load(&maker.v2(4)).unwrap().0, &golden_v2, INT8);
}

/// Made by the reference folder's `make_checkpoint.py` and put beside it under these names; not there by default.
#[test]
fn random_checkpoints() {
    for (name, bound) in [
        ("random_stories260K_seed1", F32),
        ("random_stories15M_seed1", F32),
        ("random_stories15M_seed1_v2", INT8),
    ] {
        let Some(golden) = reference(&format!("logits_{name}.txt")) else {
            continue;
        };
        let model = golden.with_file_name(format!("{name}.bin"));
        if !model.exists() {
            println!("not made, not tried: {}", model.display());
            continue;
        }
        check(
            &load_file(&model),
            &std::fs::read_to_string(golden).unwrap(),
            bound,
        );
    }
}

const SMALL: Config = Config {
    dim: 24,
    hidden_dim: 36,
    n_layers: 2,
    n_heads: 4,
    n_kv_heads: 2,
    vocab_size: 37,
    seq_len: 9,
    shared_classifier: true,
};

fn all_logits(bytes: &[u8], kernels: &'static kernels::Kernels, workers: &dyn Workers) -> Vec<u32> {
    let (model, digest) = load(bytes).unwrap();
    assert_eq!(digest.bytes, bytes.len() as u64);
    assert_eq!(digest.crc32, crc32fast::hash(bytes));
    let mut session = Session::with(&model, kernels, workers).unwrap();
    (0..model.config.seq_len)
        .flat_map(|pos| session.forward((pos * 5 % 37) as u32, pos).to_vec())
        .map(f32::to_bits)
        .collect()
}

struct Threads(usize);

impl Workers for Threads {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, f: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| (0..self.0).for_each(|part| drop(scope.spawn(move || f(part)))));
    }
}

#[test]
fn layouts_kernels_and_workers_agree_bit_for_bit() {
    use llama2_engine::workers::Single;
    for shared_classifier in [true, false] {
        let maker = Maker::random(
            Config {
                shared_classifier,
                ..SMALL
            },
            5,
        );
        let portable = kernels::best();
        let v0 = all_logits(&maker.v0(), portable, &Single);
        assert_eq!(v0, all_logits(&maker.v1(), portable, &Single), "v1");
        assert_eq!(
            v0,
            all_logits(&maker.v0(), &kernels::scalar::KERNELS, &Single),
            "scalar"
        );
        for group in [1, 2, 3, 4, 6, 12] {
            let v2 = all_logits(&maker.v2(group), portable, &Single);
            assert_eq!(
                v2,
                all_logits(&maker.v2(group), &kernels::scalar::KERNELS, &Single),
                "v2 scalar, groups of {group}"
            );
            assert_eq!(
                v2,
                all_logits(&maker.v2(group), portable, &Threads(3)),
                "v2, three workers, groups of {group}"
            );
        }
        for count in [2, 3, 8] {
            assert_eq!(
                v0,
                all_logits(&maker.v0(), portable, &Threads(count)),
                "{count} workers"
            );
        }
    }
}

#[test]
fn memory_is_what_is_allocated() {
    let bytes = Maker::random(SMALL, 1).v2(4);
    let checkpoint = Checkpoint::open(&mut &bytes[..]).unwrap();
    assert_eq!(checkpoint.format, Format::V2 { group_size: 4 });
    // Rows in panels of 16 with a scale each four values: embedding 48, wq and wo 32, wk and wv 16, w1 and w3 48 by 24; w2 32 by 36.
    let rows_24 = 48 + 2 * (2 * 32 + 2 * 16 + 2 * 48);
    let norms = (2 * 2 + 1) * 24 * 4;
    assert_eq!(
        checkpoint.memory().weights,
        rows_24 * 24 * 2 + 2 * 32 * 36 * 2 + norms
    );
    assert_eq!(checkpoint.memory().kv_cache, 2 * 12 * (16 + 9) * 4);
    assert_eq!(
        checkpoint.parameters(),
        37 * 24 + 2 * (24 * 24 * 2 + 12 * 24 * 2 + 36 * 24 * 3) + 5 * 24
    );
}
