//! Logits against llama2.c's own, for every reference that is there.

use llama2_engine::{
    checkpoint::{Checkpoint, Format},
    config::{Config, Variant},
    context::Memory,
    kernels::{self, Features, Kernels},
    model::Model,
    session::{BATCH, KvType, Options, Session},
    thread_tuner::Threads,
};

use llama2_testing::{Maker, bundled, bundled_int8, load, load_file, reference, scoped::Scoped};

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
    let mut session = Session::new(model, Options::default()).unwrap();
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
    let f32 = load_file(&bundled("stories330K.bin"));
    let int8 = load(&bundled_int8()).unwrap().0;
    for (model, golden, bound) in [(f32, "logits_f32.txt", F32), (int8, "logits_q80.txt", INT8)] {
        let golden = std::fs::read_to_string(bundled("golden").join(golden)).unwrap();
        check(&model, &golden, bound);
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

/// Made by the reference folder's `make_checkpoint.py` and put beside it under these names; not
/// there by default.
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
    variant: Variant::LLAMA2C,
};

/// As many tokens as the context holds.
fn whole_context(model: &Model) -> Vec<u32> {
    let positions = 0..model.config.seq_len as u32;
    positions.map(|pos| pos * 5 % 37).collect()
}

/// [`all_logits`] of all tokens at once.
fn scored(bytes: &[u8], options: Options<'_>) -> Vec<u32> {
    let (model, _) = load(bytes).unwrap();
    let tokens = whole_context(&model);
    let mut logits = vec![0.0; tokens.len() * 37];
    let mut session = Session::new(&model, options).unwrap();
    session.score(&tokens, 0, &mut logits);
    logits.into_iter().map(f32::to_bits).collect()
}

/// All logits of a session over the whole context, its first `prefilled` tokens in one go.
fn all_logits(bytes: &[u8], options: Options<'_>, prefilled: usize) -> Vec<u32> {
    let (model, digest) = load(bytes).unwrap();
    assert_eq!(digest.bytes, bytes.len() as u64);
    assert_eq!(digest.crc32, crc32fast::hash(bytes));
    let mut session = Session::new(&model, options).unwrap();
    let tokens = whole_context(&model);
    let mut logits = Vec::new();
    if prefilled > 0 {
        logits.extend_from_slice(session.prefill(&tokens[..prefilled], 0));
    }
    for (pos, token) in tokens.iter().enumerate().skip(prefilled) {
        logits.extend_from_slice(session.forward(*token, pos));
    }
    logits.into_iter().map(f32::to_bits).collect()
}

/// The kernel sets that this machine has.
fn sets() -> Vec<&'static Kernels> {
    let features = Features::of_this_core();
    let named = |name| kernels::named(name, features).ok();
    kernels::names().filter_map(named).collect()
}

#[test]
fn layouts_kernels_and_workers_agree_bit_for_bit() {
    for shared_classifier in [true, false] {
        let maker = Maker::random(
            Config {
                shared_classifier,
                ..SMALL
            },
            5,
        );
        let default = Options::default();
        let v0 = all_logits(&maker.v0(), default, 0);
        assert_eq!(v0, all_logits(&maker.v1(), default, 0), "v1");
        for kv in [KvType::F32, KvType::F16] {
            for group in [1, 2, 3, 4, 6, 12] {
                let v2 = maker.v2(group);
                let want = all_logits(&v2, Options { kv, ..default }, 0);
                for kernels in sets() {
                    let options = Options {
                        kernels,
                        kv,
                        ..default
                    };
                    assert_eq!(
                        want,
                        all_logits(&v2, options, 0),
                        "v2 {} {group}",
                        kernels.name
                    );
                }
                let workers = &Scoped(3);
                let threads = Threads::Fixed(3);
                let options = Options {
                    workers,
                    threads,
                    kv,
                    ..default
                };
                assert_eq!(
                    want,
                    all_logits(&v2, options, 0),
                    "v2, three workers, {group}"
                );
            }
        }
        for kernels in sets() {
            let options = Options { kernels, ..default };
            assert_eq!(v0, all_logits(&maker.v0(), options, 0), "{}", kernels.name);
        }
        for count in [2, 3, 8] {
            let workers = &Scoped(count);
            let threads = Threads::Fixed(count);
            let options = Options {
                workers,
                threads,
                ..default
            };
            assert_eq!(v0, all_logits(&maker.v0(), options, 0), "{count} workers");
        }
    }
}

/// A prompt in batches gives the numbers of the same prompt token by token, whatever its length, in
/// every way to compute.
#[test]
fn batches_give_the_numbers_of_single_tokens() {
    let long = Config {
        seq_len: 3 * BATCH + 7,
        ..SMALL
    };
    let maker = Maker::random(long, 6);
    for bytes in [maker.v0(), maker.v2(4)] {
        for kernels in sets() {
            let options = Options {
                kernels,
                ..Options::default()
            };
            let single = all_logits(&bytes, options, 0);
            for prefilled in [
                1,
                2,
                7,
                8,
                9,
                BATCH - 1,
                BATCH,
                BATCH + 1,
                2 * BATCH,
                3 * BATCH + 7,
            ] {
                let batched = all_logits(&bytes, options, prefilled);
                assert!(
                    single[(prefilled - 1) * 37..] == batched,
                    "{} prefill of {prefilled}",
                    kernels.name
                );
            }
            assert!(single == scored(&bytes, options), "{}", kernels.name);
        }
        let single = all_logits(&bytes, Options::default(), 0);
        for count in [2, 3, 5] {
            let workers = &Scoped(count);
            let threads = Threads::Fixed(count);
            let options = Options {
                workers,
                threads,
                ..Options::default()
            };
            let batched = all_logits(&bytes, options, BATCH + 1);
            assert!(single[BATCH * 37..] == batched, "{count} workers");
            assert!(single == scored(&bytes, options), "{count} workers");
        }
    }
}

/// A second turn goes on where the first one ended.
#[test]
fn a_second_turn_is_prefilled_behind_the_first() {
    let long = Config {
        seq_len: 2 * BATCH + 20,
        ..SMALL
    };
    let (model, _) = load(&Maker::random(long, 7).v2(4)).unwrap();
    let tokens: Vec<u32> = (0..2 * BATCH as u32 + 15).map(|i| i * 7 % 37).collect();
    let mut single = Session::new(&model, Options::default()).unwrap();
    let mut last = Vec::new();
    for (pos, token) in tokens.iter().enumerate() {
        last = single.forward(*token, pos).to_vec();
    }
    let mut turns = Session::new(&model, Options::default()).unwrap();
    turns.prefill(&tokens[..11], 0);
    turns.forward(tokens[11], 11);
    turns.forward(tokens[12], 12);
    assert_eq!(turns.prefill(&tokens[13..], 13), last);
}

#[test]
fn memory_is_what_is_allocated() {
    let bytes = Maker::random(SMALL, 1).v2(4);
    let checkpoint = Checkpoint::open(&mut &bytes[..]).unwrap();
    assert_eq!(checkpoint.format, Format::V2 { group_size: 4 });
    // Rows in panels of 16 with a scale each four values: embedding 48, wq and wo 32, wk and wv 16,
    // w1 and w3 48 by 24; w2 32 by 36.
    let rows_24 = 48 + 2 * (2 * 32 + 2 * 16 + 2 * 48);
    let norms = (2 * 2 + 1) * 24 * 4;
    assert_eq!(
        Memory::whole(&checkpoint, KvType::F32).weights,
        rows_24 * 24 * 2 + 2 * 32 * 36 * 2 + norms
    );
    assert_eq!(
        Memory::whole(&checkpoint, KvType::F32).kv_cache,
        2 * 12 * (16 + 16) * 4 + 20
    );
    assert_eq!(
        checkpoint.parameters(),
        37 * 24 + 2 * (24 * 24 * 2 + 12 * 24 * 2 + 36 * 24 * 3) + 5 * 24
    );
}
