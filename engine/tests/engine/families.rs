//! Every architecture in miniature: the numbers that llama.cpp gives for the same files, and the
//! same bits for any number of tokens at once, any number of workers and every kernel set.

use std::ops::ControlFlow;

use llama2_engine::{
    checkpoint::{Checkpoint, Error},
    context::{Context, Memory},
    gguf,
    kernels::{self, Features},
    layout::Encoding,
    model::Model,
    session::{KvType, Options, Session},
    source::Joined,
    thread_tuner::Threads,
    tokenizer::Tokenizer,
    units::Grouped,
};
use llama2_testing::{
    family::{self, FAMILIES, Family},
    load,
    scoped::Scoped,
};

/// Tokens that are passed, at positions 0 and following.
fn tokens(count: usize) -> Vec<u32> {
    let token = |i: usize| (i * 73 + 11) % family::VOCABULARY;
    (0..count).map(|i| token(i) as u32).collect()
}

fn model(family: &Family, encoding: Encoding) -> Model {
    let file = family.make(7, &|_| encoding).bytes();
    let loaded = load(&file);
    loaded
        .unwrap_or_else(|error| panic!("{}: {error}", family.name))
        .0
}

/// The logits after each token.
fn logits(model: &Model, options: Options<'_>, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut session = Session::new(model, options).unwrap();
    let each = tokens.iter().enumerate();
    each.map(|(pos, &token)| session.forward(token, pos).to_vec())
        .collect()
}

/// The largest difference, relative to the largest number.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    let largest = b.iter().fold(0.0f32, |m, x| m.max(x.abs()));
    let off = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    off.fold(0.0f32, f32::max) / largest
}

#[test]
fn batches_and_kernels_give_the_same_bits() {
    let tokens = tokens(70);
    for family in &FAMILIES {
        for encoding in [Encoding::F32, Encoding::Q8_0] {
            let model = model(family, encoding);
            for kv in KvType::ALL {
                let options = Options {
                    kernels: kernels::named("scalar", Features::of_this_core()).unwrap(),
                    kv,
                    ..Options::default()
                };
                let want = logits(&model, options, &tokens);
                assert!(want.iter().flatten().all(|x| x.is_finite()));
                for name in kernels::names().skip(1) {
                    let Ok(kernels) = kernels::named(name, Features::of_this_core()) else {
                        eprintln!("SKIPPED: this machine cannot run the {name} kernels");
                        continue;
                    };
                    let options = Options { kernels, ..options };
                    let mut session = Session::new(&model, options).unwrap();
                    session.prefill(&tokens[..9], 0);
                    let found = session.prefill(&tokens[9..], 9);
                    assert_eq!(found, &want[69], "{}, {encoding}, {name}", family.name);
                }
            }
        }
    }
}

/// Far from the beginning KV heads are divided among workers that they do not go round for.
#[test]
fn heads_divided_among_workers_give_the_same_bits() {
    const END: usize = 640;
    let tokens = tokens(END);
    for (index, family) in FAMILIES.iter().enumerate() {
        let mut file = family.make(5, &|_| Encoding::F32);
        file.u32(
            &format!("{}.context_length", family.architecture),
            END as u32,
        );
        if index % 2 == 1 {
            let window = format!("{}.attention.sliding_window", family.architecture);
            file.u32(&window, 570);
        }
        let model = load(&file.bytes()).unwrap().0;
        for kv in KvType::ALL {
            let run = |count: usize| {
                let workers = &Scoped(count);
                let options = Options {
                    kv,
                    workers,
                    threads: Threads::Fixed(count),
                    ..Options::default()
                };
                let mut session = Session::new(&model, options).unwrap();
                session.prefill(&tokens[..END - 6], 0);
                let mut all = session.forward(tokens[END - 6], END - 6).to_vec();
                // A few tokens, as guesses are passed.
                all.extend_from_slice(session.prefill(&tokens[END - 5..END - 1], END - 5));
                all.extend_from_slice(session.forward(tokens[END - 1], END - 1));
                all
            };
            let count = if kv == KvType::F16 { 5 } else { 3 };
            assert!(run(count) == run(1), "{}, {kv:?}, {count}", family.name);
        }
    }
}

#[test]
fn smaller_caches_are_close() {
    let tokens = tokens(40);
    for family in &FAMILIES {
        let model = model(family, Encoding::F32);
        let with = |kv| {
            let options = Options {
                kv,
                ..Options::default()
            };
            logits(&model, options, &tokens).pop().unwrap()
        };
        let want = with(KvType::F32);
        let (half, blocks) = (with(KvType::F16), with(KvType::Q8_0));
        assert!(distance(&half, &want) < 2e-3, "{}", family.name);
        assert!(distance(&blocks, &want) < 2e-2, "{}", family.name);
        assert!(half != want && blocks != want);
    }
}

#[test]
fn a_window_hides_what_is_behind_it() {
    // Two layers see twice as far as one: what is further away than that cannot matter.
    let mut file = FAMILIES[0].make(7, &|_| Encoding::F32);
    let last = |file: &family::Gguf, tokens: &[u32], batch: usize| {
        let (model, _) = load(&file.bytes()).unwrap();
        let mut session = Session::new(&model, Options::default()).unwrap();
        let mut pos = 0;
        let mut found = Vec::new();
        for batch in tokens.chunks(batch) {
            found = session.prefill(batch, pos).to_vec();
            pos += batch.len();
        }
        found
    };
    let near = tokens(60);
    let mut far = near.clone();
    far[3] += 1;
    let whole = last(&file, &near, 1);
    assert_ne!(last(&file, &far, 1), whole);
    file.u32("llama.attention.sliding_window", 20);
    let windowed = last(&file, &near, 1);
    assert_ne!(windowed, whole);
    assert_eq!(last(&file, &far, 1), windowed);
    for batch in [7, 16, 60] {
        assert_eq!(last(&file, &near, batch), windowed, "{batch}");
    }
    file.u32("llama.attention.sliding_window", 60);
    assert_eq!(last(&file, &near, 1), whole);
}

#[test]
fn a_split_model_is_one_model() {
    let family = FAMILIES.iter().find(|f| f.architecture == "qwen3").unwrap();
    let file = family.make(7, &|_| Encoding::Q8_0);
    let (whole, _) = load(&file.bytes()).unwrap();
    let tokens = tokens(5);
    let want = logits(&whole, Options::default(), &tokens);
    let open = |parts: &[Vec<u8>]| {
        let mut source = Joined::new(parts.iter().map(|part| &part[..]).collect());
        let checkpoint = Checkpoint::open(&mut source)?;
        Model::load(&checkpoint, &mut source, &mut |_| ControlFlow::Continue(()))
    };
    for count in [1, 2, 3, 7] {
        let parts = file.split(count);
        let (model, digest) = open(&parts).unwrap();
        assert_eq!(logits(&model, Options::default(), &tokens), want, "{count}");
        assert_eq!(digest.crc32, crc32fast::hash(&parts.concat()));
    }
    let parts = file.split(3);
    for (wrong, words) in [
        (vec![0], "is split into 3 files, but 1 are here"),
        (vec![0, 1], "is split into 3 files, but 2 are here"),
        (vec![0, 2, 1], "in the place of part 2 of 3"),
        (vec![0, 1, 1], "in the place of part 3 of 3"),
        (vec![1, 0, 2], "in the place of part 1 of 3"),
    ] {
        let parts: Vec<Vec<u8>> = wrong.iter().map(|&i| parts[i].clone()).collect();
        let error = open(&parts).err().unwrap().to_string();
        assert!(error.contains(words), "{wrong:?}: {error}");
    }
    let mut cut = file.split(3);
    cut[1].truncate(40);
    let error = open(&cut).err().unwrap().to_string();
    assert!(error.contains("cut short"), "{error}");
    let mut other = file.split(3);
    other[2] = b"not a GGUF file at all, but long enough".to_vec();
    let error = open(&other).err().unwrap().to_string();
    assert!(
        error.contains("one of its parts is not a GGUF file"),
        "{error}"
    );
    // A tensor may not reach from one part into the next.
    let mut short = file.split(3);
    let len = short[0].len();
    short[0].truncate(len - 64);
    let error = open(&short).err().unwrap().to_string();
    assert!(error.contains("its tensor"), "{error}");
}

#[test]
fn a_context_is_what_memory_allows() {
    let mut file = FAMILIES[0].make(7, &|_| Encoding::F32);
    file.u32("llama.context_length", 100_000);
    let checkpoint = Checkpoint::open(&mut &file.bytes()[..]).unwrap();
    let need = |positions: usize, kv| {
        let context = Context::fit(&checkpoint, Some(positions), kv, 2, u64::MAX);
        context.map(|context| context.memory().total())
    };
    for kv in KvType::ALL {
        let fitted = |free| {
            let context = Context::fit(&checkpoint, None, kv, 2, free);
            context.map(|context| context.positions())
        };
        assert_eq!(fitted(u64::MAX), Ok(100_000));
        assert_eq!(fitted(need(100_000, kv).unwrap()), Ok(100_000));
        // A byte less, and it is the next multiple of 256.
        assert_eq!(fitted(need(100_000, kv).unwrap() - 1), Ok(99_840));
        assert_eq!(fitted(need(5_120, kv).unwrap()), Ok(5_120));
        assert_eq!(fitted(need(256, kv).unwrap()), Ok(256));
        let least = need(256, kv).unwrap();
        let free = least - 1;
        let needed = least;
        assert_eq!(fitted(free), Err(Error::Memory { needed, free }));
    }
    for wanted in [0, 100_001, usize::MAX] {
        let own = 100_000;
        assert_eq!(
            need(wanted, KvType::F32),
            Err(Error::Context { wanted, own })
        );
    }
}

#[test]
fn mutated_files_never_panic() {
    let mut seed = 1u64;
    let mut random = move |below: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(99);
        (seed >> 33) as usize % below
    };
    let mut opened = 0;
    for (index, family) in FAMILIES.iter().enumerate() {
        let mut file = family.make(7, &|_| Encoding::Q8_0);
        file.speak();
        let mut parts = file.split(1 + index % 3);
        // All of what describes the tensors, and a little of them.
        let described = parts[0].windows(4).rposition(|w| w == b"blk.").unwrap_or(0) + 200;
        let whole = parts[0].clone();
        for _ in 0..400 {
            parts[0].clone_from(&whole);
            for _ in 0..1 + random(3) {
                let at = random(described);
                let value = [0, 1, 0x7f, 0x80, 0xff, random(256) as u8][random(6)];
                // A byte, a number, or the file's end.
                match random(8) {
                    0 if at + 8 < parts[0].len() => parts[0][at..at + 8].fill(value),
                    1 => parts[0].truncate(at + 1),
                    _ => {
                        if let Some(byte) = parts[0].get_mut(at) {
                            *byte = value;
                        }
                    }
                }
            }
            let mut source = Joined::new(parts.iter().map(|part| &part[..]).collect());
            match Checkpoint::open(&mut source) {
                Ok(checkpoint) => {
                    let needed = Memory::whole(&checkpoint, KvType::F16).total();
                    if needed < 1 << 26 {
                        let loaded = Model::load(&checkpoint, &mut source, &mut |_| {
                            ControlFlow::Continue(())
                        });
                        assert!(loaded.is_ok());
                        opened += 1;
                    }
                }
                Err(error) => assert!(error.to_string().len() > 10),
            }
            match Tokenizer::from_gguf(&mut source) {
                Ok(tokenizer) => assert!(!tokenizer.encode(b"a <b> 12 tin", true, true).is_empty()),
                Err(error) => assert!(error.len() > 10),
            }
            let _ = gguf::tensors(&mut source);
        }
    }
    assert!(opened > 500, "{opened}");
}

#[test]
fn what_an_architecture_lacks_is_named() {
    let error = |file: &family::Gguf| match load(&file.bytes()) {
        Ok(_) => panic!("a lie was believed"),
        Err(error) => error.to_string(),
    };
    let family = |name: &str| *FAMILIES.iter().find(|f| f.architecture == name).unwrap();
    let plain = family("llama").make(7, &|_| Encoding::F32);

    let mut file = plain.clone();
    file.text("general.architecture", "mamba");
    let message = error(&file);
    assert!(message.contains("\"mamba\""), "{message}");
    for known in ["llama", "qwen2", "qwen3", "granite"] {
        assert!(message.contains(known), "{message}");
    }

    let mut file = family("qwen3").make(7, &|_| Encoding::F32);
    file.tensors
        .retain(|t| t.name != "blk.1.attn_k_norm.weight");
    assert!(error(&file).contains("\"blk.1.attn_k_norm.weight\""));

    let norms = family("qwen3").make(7, &|_| Encoding::F32);
    let mut file = plain.clone();
    let norm = norms.tensors.iter().find(|t| t.name.contains("q_norm"));
    let mut norm = norm.unwrap().clone();
    (norm.shape, norm.bytes) = (vec![64], vec![0; 256]);
    file.tensors.push(norm);
    assert!(error(&file).contains("attn_q_norm"), "{}", error(&file));

    let mut file = plain.clone();
    file.text("llama.rope.scaling.type", "longrope");
    assert!(error(&file).contains("longrope"));

    let mut file = plain.clone();
    file.u32("llama.rope.dimension_count", 32);
    assert!(error(&file).contains("rope.dimension_count"));

    let mut file = plain.clone();
    file.u32("llama.expert_count", 8);
    assert!(error(&file).contains("mixture of experts"));

    let mut file = plain;
    file.u32("llama.attention.key_length", 33);
    assert!(error(&file).contains("33"), "{}", error(&file));
}

/// What is wrong in one of several files is said of that file, in its own numbers.
#[test]
fn damage_in_a_part_is_said_of_the_part() {
    let parts = FAMILIES[0].make(5, &|_| Encoding::F32).split(3);
    let size = parts[1].len() - 100;
    let cut = [&parts[0][..], &parts[1][..size], &parts[2][..]];
    let said = Checkpoint::open(&mut Joined::new(cut.to_vec()));
    let said = said.err().unwrap().to_string();
    assert!(said.starts_with("in part 2 of 3: its tensor"), "{said}");
    let has = format!("but the file has {}", Grouped(size as u64));
    assert!(said.contains(&has), "{said}");
    let empty = [&parts[0][..], &[], &parts[2][..]];
    let said = Checkpoint::open(&mut Joined::new(empty.to_vec()));
    assert!(said.err().unwrap().to_string().contains("part 2 of 3"));
}
