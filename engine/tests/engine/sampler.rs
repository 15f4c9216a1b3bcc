//! The sampler against run.c's, written plainly.

use llama2_engine::sampler::{Sampler, argmax};

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
