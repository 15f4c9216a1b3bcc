//! The fuzzers' inputs, replayed: good ones, and every one that once broke a promise
//! (`fuzz/regressions/`).

use llama2_testing::{gauge::peak, kept, mutate, seeds, untrusted};

fn replay(target: &str, run: fn(&[u8])) {
    kept::replay(target, seeds::of(target), run);
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

/// The fuzzer hands its mutator whatever it has come to: that must neither break nor grow without
/// end.
#[test]
fn the_mutator_takes_any_bytes() {
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let good = seeds::gguf();
    let part = |inside: &[u8]| [b"PART", &(inside.len() as u32).to_le_bytes()[..], inside].concat();
    let nested = (0..3000).fold(good[0].bytes.clone(), |inside, _| part(&inside));
    let mut odd: Vec<Vec<u8>> = [
        &b""[..],
        b"PART",
        b"PART\x01\x02\x03",
        b"PART\0\0\0\0",
        b"PART\xff\xff\xff\xff",
        b"PARTPARTPART",
        b"GGUF",
        b"GGUF\x03\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ]
    .map(Vec::from)
    .into();
    odd.extend([part(b""), part(b"PART"), part(&good[0].bytes), nested]);
    odd.extend((0..20).map(|length| (0..length).map(|_| random(256) as u8).collect()));
    odd.extend(good.into_iter().map(|seed| seed.bytes));
    // Files of one entry, so that it is met several times at once: a count that is a lie is halved,
    // a text grows and grows.
    let entry = |kind: u32, value: &[u8]| {
        let counts = [0u64, 1, 1].map(u64::to_le_bytes).concat();
        [
            b"GGUF\x03\0\0\0",
            &counts[..],
            b"k",
            &kind.to_le_bytes(),
            value,
        ]
        .concat()
    };
    let numbers = [&10u32.to_le_bytes()[..], &1u64.to_le_bytes(), &[7; 8]].concat();
    let text = [&4096u64.to_le_bytes()[..], &[b'x'; 4096]].concat();
    let narrow = [entry(9, &numbers), entry(8, &text)];
    for (round, file) in (0..20_000).flat_map(|round| narrow.iter().map(move |file| (round, file)))
    {
        if let Some(changed) = mutate::gguf(file, round) {
            assert!(changed.len() < 1 << 20, "{round}");
        }
    }
    for round in 0..20_000 {
        let mut bytes = odd[random(odd.len())].clone();
        // Cut, and with bytes of chance: no file any more, but like one.
        if round % 3 == 0 {
            bytes.truncate(random(bytes.len() + 1));
        }
        for _ in 0..random(4) {
            if let Some(at) = bytes.len().checked_sub(1).map(|last| random(last + 1)) {
                bytes[at] = random(256) as u8;
            }
        }
        if let Some(changed) = mutate::gguf(&bytes, round) {
            assert!(changed.len() <= 2 * bytes.len() + (1 << 20), "{round}");
        }
    }
}
