//! The sampler against run.c's, written plainly.

use llama2_engine::{
    sampler::{Dry, Param, Sampler, SamplerParams, argmax},
    tokenizer::Tokenizer,
};
use llama2_testing::bundled;

/// run.c's `sample`, with libc's parts replaced by std's: a stable sort, and exp in f64 rounded to
/// f32.
fn plain(logits: &[f32], temperature: f32, top_p: f32, state: &mut u64) -> usize {
    if temperature == 0.0 {
        return (0..logits.len()).rev().fold(logits.len() - 1, |best, i| {
            if logits[i] >= logits[best] { i } else { best }
        });
    }
    let scaled: Vec<f32> = logits.iter().map(|x| x / temperature).collect();
    let largest = scaled.iter().copied().fold(f32::MIN, f32::max);
    let mut p: Vec<f32> = scaled
        .iter()
        .map(|x| f64::from(x - largest).exp() as f32)
        .collect();
    let total = p.iter().fold(0.0f32, |sum, x| sum + x);
    p.iter_mut().for_each(|x| *x /= total);
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    let coin = (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / 16_777_216.0;
    if top_p <= 0.0 || top_p >= 1.0 {
        let mut sum = 0.0;
        return p
            .iter()
            .position(|x| {
                sum += x;
                coin < sum
            })
            .unwrap_or(p.len() - 1);
    }
    let cutoff = (1.0 - top_p) / (p.len() - 1) as f32;
    let mut list: Vec<(usize, f32)> = p
        .iter()
        .copied()
        .enumerate()
        .filter(|c| c.1 >= cutoff)
        .collect();
    if list.is_empty() {
        // run.c would read before its list here.
        return plain(logits, 0.0, top_p, state);
    }
    list.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap());
    let mut sum = 0.0;
    let cut = list
        .iter()
        .position(|c| {
            sum += c.1;
            sum > top_p
        })
        .map_or(list.len(), |i| i + 1);
    let mark = coin * sum;
    let mut reached = 0.0;
    let drawn = list[..cut].iter().find(|c| {
        reached += c.1;
        mark < reached
    });
    drawn.unwrap_or(&list[cut - 1]).0
}

#[test]
fn tokens_equal_run_c_s_algorithm() {
    let mut seed = 1u64;
    let mut uniform = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as f32 / 16_777_216.0
    };
    for n in [2usize, 3, 17, 512] {
        for (temperature, top_p) in [
            (0.0, 0.9),
            (1.0, 0.9),
            (0.7, 0.5),
            (1.3, 1.0),
            (1.0, 0.0),
            (0.1, 0.99),
            (100.0, 0.01),
        ] {
            let rng = 0x1234_5678_9abc + n as u64;
            let (mut sampler, mut state) = (Sampler::new(n, temperature, top_p, rng), rng);
            for round in 0..400 {
                // Every third time with many ties.
                let logits: Vec<f32> = (0..n)
                    .map(|_| {
                        if round % 3 == 0 {
                            (uniform() * 3.0).floor()
                        } else {
                            (uniform() - 0.5) * 20.0
                        }
                    })
                    .collect();
                let want = plain(&logits, temperature, top_p, &mut state);
                assert_eq!(
                    sampler.sample(&mut logits.clone()) as usize,
                    want,
                    "n {n}, t {temperature}, p {top_p}, round {round}"
                );
            }
        }
    }
}

#[test]
fn skipping_moves_the_generator_as_sampling_does() {
    let logits = [0.3f32, 0.1, 0.2, 0.25, 0.0];
    let (mut a, mut b) = (Sampler::new(5, 1.0, 1.0, 9), Sampler::new(5, 1.0, 1.0, 9));
    for _ in 0..50 {
        a.sample(&mut logits.clone());
        b.skip();
        assert_eq!(a.sample(&mut logits.clone()), b.sample(&mut logits.clone()));
    }
}

#[test]
fn odd_logits_still_give_a_token() {
    let nan = f32::NAN;
    for logits in [
        vec![nan; 4],
        vec![0.0, nan, 1.0],
        vec![f32::INFINITY; 3],
        vec![f32::NEG_INFINITY; 3],
        vec![1.0],
    ] {
        for (temperature, top_p) in [
            (0.0, 0.9),
            (1.0, 0.9),
            (1.0, 1.0),
            (f32::INFINITY, 0.5),
            (1e-40, 0.5),
        ] {
            let token =
                Sampler::new(logits.len(), temperature, top_p, 5).sample(&mut logits.clone());
            assert!(
                (token as usize) < logits.len(),
                "{logits:?} at {temperature}"
            );
        }
    }
    assert_eq!(argmax(&[1.0, 3.0, 3.0, 2.0]), 1, "the first of equals");
}

/// Logits of a linear congruential generator.
fn made_logits(seed: u32) -> Vec<f32> {
    let mut state = seed;
    let each = (0..200).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (f64::from(state >> 8) / 16_777_216.0 * 12.0) as f32
    });
    each.collect()
}

/// Draws of llama.cpp's chain of top-k, typical, top-p, min-p, temperature and `dist` (0.3.36 of
/// llama-cpp-python) from the logits of seeds 1 to 24.
#[test]
fn draws_equal_llama_cpp_s() {
    type Case = (u64, [f32; 5], [u32; 24]);
    const CASES: [Case; 6] = [
        (
            42,
            [40.0, 1.0, 0.95, 0.05, 0.8],
            [
                122, 143, 15, 83, 148, 126, 128, 103, 156, 132, 61, 82, 164, 127, 5, 51, 193, 163,
                96, 64, 49, 149, 187, 158,
            ],
        ),
        (
            42,
            [0.0, 1.0, 1.0, 0.0, 1.0],
            [
                140, 47, 162, 123, 86, 19, 104, 71, 33, 144, 29, 143, 177, 4, 199, 75, 146, 1, 13,
                99, 92, 11, 186, 51,
            ],
        ),
        (
            7,
            [0.0, 1.0, 1.0, 0.02, 1.5],
            [
                40, 74, 189, 100, 67, 47, 9, 90, 2, 115, 171, 82, 76, 151, 130, 107, 98, 184, 48,
                147, 56, 152, 44, 160,
            ],
        ),
        (
            4_294_967_294,
            [0.0, 0.9, 1.0, 0.0, 1.0],
            [
                91, 150, 88, 107, 148, 150, 49, 57, 48, 68, 171, 78, 102, 127, 153, 63, 135, 175,
                96, 38, 104, 169, 44, 172,
            ],
        ),
        (
            1,
            [5.0, 1.0, 0.5, 0.0, 2.0],
            [
                116, 143, 180, 121, 86, 126, 117, 57, 77, 144, 61, 174, 78, 127, 42, 15, 79, 167,
                199, 50, 52, 94, 66, 172,
            ],
        ),
        (
            123,
            [0.0, 0.5, 0.9, 0.1, 1.2],
            [
                86, 152, 15, 78, 123, 174, 124, 176, 125, 34, 128, 11, 120, 161, 54, 107, 193, 10,
                193, 43, 170, 99, 156, 135,
            ],
        ),
    ];
    for (seed, [top_k, typical, top_p, min_p, temperature], want) in CASES {
        let settings = SamplerParams::default()
            .with(Param::TopK, top_k)
            .with(Param::Typical, typical)
            .with(Param::TopP, top_p)
            .with(Param::MinP, min_p)
            .with(Param::Temperature, temperature);
        let mut sampler = Sampler::with(200, settings, seed);
        let drawn = (1..=24).map(|seed| sampler.sample(&mut made_logits(seed)));
        assert_eq!(
            drawn.collect::<Vec<_>>(),
            want,
            "seed {seed}, top-k {top_k}"
        );
    }
}

/// Draws of llama.cpp's other samplers, as above: top-n-sigma, XTC, a dynamic temperature, XTC with
/// temperature 0, and both versions of Mirostat.
#[test]
fn draws_by_other_samplers_equal_llama_cpp_s() {
    use Param::*;
    type Case = (u64, &'static [(Param, f32)], [u32; 24]);
    const CASES: [Case; 6] = [
        (
            42,
            &[(TopNSigma, 0.3)],
            [
                134, 61, 162, 124, 86, 19, 117, 71, 35, 144, 32, 143, 173, 56, 185, 73, 153, 1, 13,
                100, 99, 18, 185, 59,
            ],
        ),
        (
            7,
            &[(XtcProbability, 0.5), (XtcThreshold, 0.03)],
            [
                65, 78, 186, 14, 197, 47, 9, 90, 2, 188, 171, 103, 76, 85, 120, 19, 109, 146, 132,
                157, 70, 152, 51, 51,
            ],
        ),
        (
            9,
            &[
                (TopK, 40.0),
                (Temperature, 0.8),
                (DynatempRange, 0.5),
                (DynatempExponent, 1.3),
            ],
            [
                41, 152, 180, 169, 86, 173, 143, 71, 78, 34, 166, 136, 74, 166, 70, 15, 98, 60, 68,
                118, 92, 35, 156, 165,
            ],
        ),
        (
            11,
            &[
                (TopK, 20.0),
                (XtcProbability, 0.6),
                (XtcThreshold, 0.02),
                (Temperature, 0.0),
            ],
            [
                90, 71, 131, 187, 81, 144, 49, 93, 61, 101, 41, 107, 102, 127, 56, 75, 196, 15, 96,
                100, 104, 149, 9, 98,
            ],
        ),
        (
            3,
            &[(Temperature, 1.2), (Mirostat, 1.0)],
            [
                37, 113, 172, 105, 67, 122, 49, 103, 156, 111, 171, 152, 28, 87, 134, 1, 46, 145,
                148, 34, 95, 57, 79, 91,
            ],
        ),
        (
            4,
            &[(Mirostat, 2.0), (MirostatTau, 3.0), (MirostatEta, 0.3)],
            [
                65, 180, 130, 124, 34, 122, 143, 80, 78, 144, 61, 101, 78, 115, 21, 73, 194, 167,
                31, 177, 104, 149, 129, 158,
            ],
        ),
    ];
    for (seed, params, want) in CASES {
        let plain = [(TopK, 0.0), (TopP, 1.0), (MinP, 0.0), (Temperature, 1.0)];
        let all = plain.iter().chain(params);
        let settings = all.fold(SamplerParams::default(), |all, &(param, value)| {
            all.with(param, value)
        });
        let mut sampler = Sampler::with(200, settings, seed);
        let drawn = (1..=24).map(|seed| sampler.sample(&mut made_logits(seed)));
        assert_eq!(drawn.collect::<Vec<_>>(), want, "{params:?}");
    }
}

/// Penalties of llama.cpp's DRY behind a text (0.3.36 of llama-cpp-python), with the
/// bundled model's tokens.
#[test]
fn dry_subtracts_what_llama_cpp_s_does() {
    type Case = (
        &'static str,
        Dry,
        &'static [&'static str],
        &'static [(usize, f32)],
    );
    let dry = |multiplier, base, allowed, last| {
        let mut dry = Dry::default();
        (dry.multiplier, dry.base) = (multiplier, base);
        (dry.allowed, dry.last) = (allowed, last);
        dry
    };
    let story = "Tom and Mia saw a big red ball. \"Look,\" said Tom.\n\
                 Tom and Mia saw a big red ball. \"Look,\" said Mia.\nTom and Mia saw a big red";
    let hi = "\"Hi,\" he said. \"Hi,\" he said. \"Hi,\" he";
    let five: &[(usize, f32)] = &[
        (285, -0.5),
        (308, -0.5),
        (329, -512.0),
        (612, -0.5),
        (1260, -0.5),
        (4028, -0.5),
    ];
    let cases: [Case; 5] = [
        (
            story,
            dry(0.8, 1.75, 2, 64),
            &["\n", ":", "\"", "*"],
            &[(531, -13.130_469)],
        ),
        (
            story,
            dry(1.5, 1.2, 1, 200),
            &["saw a"],
            &[(531, -6.449_727_5)],
        ),
        (hi, dry(0.5, 2.0, 0, 30), &["\n"], five),
        (hi, dry(0.5, 2.0, 0, 30), &[",\" h"], five),
        (
            "go go go go go go go",
            dry(2.0, 1.75, 2, 64),
            &["\n"],
            &[(468, -18.757_812)],
        ),
    ];
    let file = std::fs::read(bundled("stories7M-Q4_0.gguf")).unwrap();
    let tokenizer = Tokenizer::from_gguf(&mut &file[..]).unwrap();
    let count = tokenizer.vocab_size();
    for (text, mut dry, breakers, want) in cases {
        let texts = || (0..count as u32).map(|token| tokenizer.decode_first(token));
        let encode = |rest: &[u8]| tokenizer.encode(rest, false, false);
        dry.set_breakers(breakers, 9999, texts, encode);
        let mut settings = SamplerParams::default();
        settings.dry = dry;
        let mut sampler = Sampler::with(count, settings, 1);
        sampler.accept(&tokenizer.encode(text.as_bytes(), false, false));
        let mut logits = vec![0.0; count];
        sampler.sample(&mut logits);
        let changed = (0..count).map(|token| (token, logits[token]));
        let changed: Vec<_> = changed.filter(|(_, logit)| *logit != 0.0).collect();
        assert_eq!(changed, want, "{text}, {breakers:?}");
    }
}
