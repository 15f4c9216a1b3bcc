//! Every kernel set against the scalar one, on random and on adversarial vectors.

use llama2_testing::random::Random;

use super::*;
use crate::{
    buffer::Arena,
    layout::{
        BLOCK, Encoding, PANEL, Rounding,
        coded::{Coded, file_blocks},
        padded, q8_0,
    },
    matrix::Matrix,
};

const LENGTHS: [usize; 16] = [
    0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 64, 100, 172, 256, 288,
];

/// Sets that this machine supports; prints those that it does not.
fn sets() -> Vec<&'static Kernels> {
    let features = Features::of_this_core();
    let (usable, missing): (Vec<_>, Vec<_>) =
        super::sets().partition(|(_, needs)| needs(features).is_none());
    for (set, _) in missing {
        eprintln!("SKIPPED: this machine cannot run the {} kernels", set.title);
    }
    usable.into_iter().map(|(set, _)| set).collect()
}

#[test]
fn every_set_reads_every_byte() {
    let mut bytes = vec![0u8; 3 * READ_STEP];
    for set in sets() {
        assert_eq!((set.read)(&bytes), 0);
        for place in 0..bytes.len() {
            bytes[place] = 1;
            assert_ne!((set.read)(&bytes), 0, "{}: {place}", set.name);
            bytes[place] = 0;
        }
    }
}

fn same_bits(a: &[f32], b: &[f32], what: &str) {
    // The bits of a NaN depend on the processor.
    let bits = |x: &[f32]| -> Vec<u32> {
        x.iter()
            .map(|x| {
                if x.is_nan() {
                    f32::NAN.to_bits()
                } else {
                    x.to_bits()
                }
            })
            .collect()
    };
    assert_eq!(bits(a), bits(b), "{what}");
}

/// Vectors that find mistakes: random, zeros, huge, denormal, one outlier, infinite.
fn vectors(random: &mut Random, n: usize) -> Vec<Vec<f32>> {
    let mut outlier = random.floats(n);
    if let Some(x) = outlier.last_mut() {
        *x = -1e30;
    }
    let mut infinite = random.floats(n);
    if let Some(x) = infinite.first_mut() {
        *x = f32::INFINITY;
    }
    vec![
        random.floats(n),
        vec![0.0; n],
        random.floats(n).iter().map(|x| x * 3e37).collect(),
        random.floats(n).iter().map(|x| x * 1e-41).collect(),
        outlier,
        infinite,
    ]
}

#[test]
fn elementwise_and_sums_equal_the_scalar_set_bit_for_bit() {
    let random = &mut Random(1);
    for set in sets() {
        for n in LENGTHS {
            for x in vectors(random, n) {
                let y = random.floats(n);
                let same = |what: &str, run: &dyn Fn(&Kernels) -> Vec<f32>| {
                    same_bits(
                        &run(set),
                        &run(&scalar::KERNELS),
                        &format!("{} {what} of {n}: {x:?}", set.title),
                    );
                };
                same("add", &|k| {
                    let mut out = y.clone();
                    (k.add)(&mut out, &x);
                    out
                });
                same("rmsnorm", &|k| {
                    let mut out = vec![0.0; n];
                    (k.rmsnorm)(&mut out, &x, &y, 1e-5);
                    out
                });
                same("swiglu", &|k| {
                    let mut out = x.clone();
                    (k.swiglu)(&mut out, &y);
                    out
                });
                for divisor in [0.7, 8.0, 0.25, f32::MIN_POSITIVE, f32::INFINITY, 0.0] {
                    same(&format!("softmax, divided by {divisor:e}"), &|k| {
                        let mut out = x.clone();
                        (k.softmax)(&mut out, divisor);
                        out
                    });
                }
                same("argmax", &|k| vec![(k.argmax)(&x) as f32]);
                same("to_f16", &|k| {
                    let mut out = vec![0; n];
                    (k.to_f16)(&x, &mut out);
                    out.iter().map(|&bits| f32::from(bits)).collect()
                });
                if n % 2 == 0 {
                    same("rope", &|k| {
                        let mut out = x.clone();
                        let twice = |y: f32| [y, y];
                        let cos: Vec<f32> = y[..n / 2].iter().copied().flat_map(twice).collect();
                        let sin: Vec<f32> = y[n / 2..].iter().flat_map(|&y| [-y, y]).collect();
                        (k.rope)(&mut out, &cos, &sin);
                        out
                    });
                }
                let few = [0, 1, 5].map(|rows| (rows, 1));
                let tiles = [1, 2, 3, 4, 5, 6, 7, 11, 12, 13].map(|tokens| (40, tokens));
                for (rows, tokens) in few.into_iter().chain(tiles) {
                    // Some columns of longer rows, or all; nothing behind the last one.
                    let row = n + BLOCK * (random.next() as usize % 2);
                    let len = (rows * row).saturating_sub(row - n);
                    let rows_of = random.floats(len);
                    let values = random.floats(tokens * (rows + 3));
                    let weights = AttentionWeights {
                        values: &values,
                        stride: rows + 3,
                        tokens,
                        rows,
                        row_stride: row,
                        width: n,
                    };
                    same("weighted_sum_f32", &|k| {
                        let mut out = vec![1.0; tokens * (n + 2)];
                        if n > 0 {
                            (k.weighted_sum_f32)(&rows_of, &weights, &mut out, n + 2);
                        }
                        out
                    });
                    let mut halves = vec![0; len];
                    (scalar::KERNELS.to_f16)(&rows_of, &mut halves);
                    same("weighted_sum_f16", &|k| {
                        let mut out = vec![1.0; tokens * (n + 2)];
                        if n > 0 {
                            (k.weighted_sum_f16)(&halves, &weights, &mut out, n + 2);
                        }
                        out
                    });
                    if n > 0 && n.is_multiple_of(BLOCK) {
                        let len = len / BLOCK * q8_0::FILE_BLOCK;
                        let mut blocks: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
                        for block in blocks.chunks_exact_mut(q8_0::FILE_BLOCK) {
                            // A scale that is a number.
                            block[1] &= 0xbb;
                        }
                        same("weighted_sum_q8_0", &|k| {
                            let mut out = vec![1.0; tokens * (n + 2)];
                            (k.weighted_sum_q8_0)(&blocks, &weights, &mut out, n + 2);
                            out
                        });
                    }
                }
                let groups = [1, 2, 3, 4, 6, 32, 64].map(|group| Rounding::Runq { group });
                let all = groups.into_iter().chain([Rounding::Q8_0, Rounding::Q8K]);
                for rounding in all.filter(|r| n % r.shared() == 0) {
                    same("quantize", &|k| {
                        let quantized = quantized(k, &x, rounding);
                        let mut all = quantized.1;
                        all.extend(quantized.0.iter().map(|&q| f32::from(q)));
                        all.extend(quantized.2.iter().map(|&sum| sum as f32));
                        all
                    });
                }
            }
        }
    }
}

/// `x` in int8: values, scales and sums, then the sums of each group's first 16 values.
fn quantized(set: &Kernels, x: &[f32], rounding: Rounding) -> (Vec<i8>, Vec<f32>, Vec<i32>) {
    let group = rounding.group();
    let groups = x.len() / group;
    let mut quants = vec![1i8; groups * padded(group)];
    let (mut scales, mut all_sums) = (vec![0.0; groups], vec![7; 2 * groups]);
    let (sums, lower) = all_sums.split_at_mut(groups);
    let out = Quantized {
        quants: &mut quants,
        scales: &mut scales,
        sums,
        lower,
    };
    (set.quantize)(x, rounding, out);
    (quants, scales, all_sums)
}

#[test]
fn quantisation_rounds_halves_away_from_zero_and_keeps_zero() {
    for set in sets() {
        let x = [127.0, 0.5, -0.5, 1.5, 0.499_999_97, -2.5, 0.0, -127.0];
        let want = (vec![127, 1, -1, 2, 0, -3, 0, -127], vec![1.0], vec![-1, -1]);
        assert_eq!(
            quantized(set, &x, Rounding::Runq { group: 8 }),
            want,
            "{}",
            set.title
        );
        let want = (vec![0; 8], vec![0.0], vec![0, 0]);
        assert_eq!(
            quantized(set, &[0.0; 8], Rounding::Runq { group: 8 }),
            want,
            "{}",
            set.title
        );
    }
}

#[test]
fn the_first_of_the_largest_is_taken() {
    for set in sets() {
        let mut x = vec![-1.0; 300];
        (x[77], x[78], x[290]) = (2.0, 2.0, 2.0);
        assert_eq!((set.argmax)(&x), 77, "{}", set.title);
        assert_eq!((set.argmax)(&[f32::NAN, 1.0]), 0);
        assert_eq!((set.argmax)(&[0.0, f32::NAN, 1.0]), 2);
        assert_eq!((set.argmax)(&[]), 0);
    }
}

#[test]
fn softmax_sums_to_one_and_survives_large_logits() {
    for set in sets() {
        let mut x = [1e30, 1e30, -1e30, 0.0];
        (set.softmax)(&mut x, 1.0);
        assert_eq!(x, [0.5, 0.5, 0.0, 0.0]);
    }
}

#[test]
fn every_half_has_the_value_of_its_bits() {
    // As rows of one column, in an order that mixes kinds within a panel, then without.
    let mixed = (0..=u16::MAX).map(|i| i.rotate_left(6));
    let halves: Vec<u16> = mixed.chain(0..=u16::MAX).collect();
    let want: Vec<f32> = halves
        .iter()
        .map(|&bits| 0.0 + F16::from_bits(bits).to_f32() * 0.5)
        .collect();
    let x = Activations {
        values: &[0.5],
        stride: 1,
        tokens: 1,
        cols: 1,
        quants: &[],
        quant_stride: 0,
        scales: &[],
        sums: &[],
        lower: &[],
    };
    for set in sets() {
        let mut out = vec![0.0; halves.len()];
        (set.f16)(&halves, &x, &mut out);
        same_bits(&out, &want, set.title);
    }
}

/// A tensor's bytes in the file, and the values that it must decode to, by definition.
fn tensor(
    random: &mut Random,
    rows: usize,
    cols: usize,
    encoding: Encoding,
) -> (Vec<u8>, Vec<Vec<f32>>) {
    let mut bytes = Vec::new();
    let mut values: Vec<f32> = Vec::new();
    let half = |random: &mut Random| crate::half::F16::from_f32(random.float());
    match encoding {
        Encoding::F32 => {
            values = random.floats(rows * cols);
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
        }
        Encoding::F16 => {
            for _ in 0..rows * cols {
                let x = half(random);
                bytes.extend(x.to_le_bytes());
                values.push(x.to_f32());
            }
        }
        Encoding::BF16 => {
            for _ in 0..rows * cols {
                let x = crate::half::Bf16::from_f32(random.float());
                bytes.extend(x.to_le_bytes());
                values.push(x.to_f32());
            }
        }
        Encoding::Q8 { group } => {
            let quants: Vec<i8> = (0..rows * cols).map(|_| random.next() as i8).collect();
            let scales = random.floats(rows * cols / group);
            bytes.extend(quants.iter().map(|&q| q as u8));
            bytes.extend(scales.iter().flat_map(|x| x.to_le_bytes()));
            let value = |(i, &q): (usize, &i8)| f32::from(q) * scales[i / group];
            values = quants.iter().enumerate().map(value).collect();
        }
        Encoding::Q8_0 => {
            for _ in 0..rows * cols / 32 {
                let scale = half(random);
                bytes.extend(scale.to_le_bytes());
                for _ in 0..32 {
                    let q = random.next() as i8;
                    bytes.push(q as u8);
                    values.push(f32::from(q) * scale.to_f32());
                }
            }
        }
        Encoding::Q4_0 => {
            for _ in 0..rows * cols / 32 {
                let scale = half(random);
                bytes.extend(scale.to_le_bytes());
                let packed: Vec<u8> = (0..16).map(|_| random.next() as u8).collect();
                bytes.extend(&packed);
                let lower = packed.iter().map(|byte| byte & 15);
                for q in lower.chain(packed.iter().map(|byte| byte >> 4)) {
                    values.push((f32::from(q) - 8.0) * scale.to_f32());
                }
            }
        }
        Encoding::Coded(coded) => {
            let shape = coded.shape();
            for _ in 0..rows * cols / shape.block {
                let block = coded_block(random, coded);
                let mut weights = vec![0.0; shape.block];
                file_blocks::read(coded, &block).write(&shape, &mut weights);
                bytes.extend(block);
                values.extend(weights);
            }
        }
    }
    (bytes, values.chunks(cols).map(<[f32]>::to_vec).collect())
}

/// Random bytes of a block; its scale, and its minimum if it has one, are of a common size.
pub(crate) fn coded_block(random: &mut Random, coded: Coded) -> Vec<u8> {
    let shape = coded.shape();
    let mut bytes: Vec<u8> = (0..shape.file_block).map(|_| random.next() as u8).collect();
    let at = match coded {
        Coded::Q2K => 80,
        Coded::Q3K => 108,
        Coded::Q6K => 208,
        _ => 0,
    };
    for i in 0..1 + usize::from(shape.minima) {
        let x = crate::half::F16::from_f32(random.float());
        bytes[at + 2 * i..][..2].copy_from_slice(&x.to_le_bytes());
    }
    bytes
}

#[test]
fn packed_matrices_give_back_their_rows_and_multiply() {
    let random = &mut Random(2);
    let mut encodings = [1, 2, 3, 4, 6, 32]
        .map(|group| Encoding::Q8 { group })
        .to_vec();
    encodings.extend([Encoding::F32, Encoding::F16, Encoding::BF16]);
    encodings.extend([Encoding::Q8_0, Encoding::Q4_0]);
    encodings.extend(Coded::ALL.map(Encoding::Coded));
    for (rows, cols) in [
        (1, 2),
        (3, 4),
        (16, 6),
        (17, 12),
        (33, 64),
        (48, 96),
        (50, 288),
        (512, 172),
        (33, 256),
        (20, 1280),
    ] {
        for &encoding in &encodings {
            let group = encoding.group().unwrap_or(cols);
            if cols % group != 0 || cols % encoding.block() != 0 {
                continue;
            }
            let (bytes, want) = tensor(random, rows, cols, encoding);
            assert_eq!(encoding.file_bytes(rows, cols), Some(bytes.len() as u64));
            let mut matrix = Matrix::zeroed(rows, cols, encoding, &mut Arena::none()).unwrap();
            if rows > 1 {
                assert_eq!(encoding.packed_bytes(rows, cols), Some(matrix.bytes()));
            }
            // Pieces of an awkward size, as a medium may deliver them.
            let mut offset = 0;
            let unit = encoding.unit();
            for part in encoding.parts(rows, cols) {
                let part = &bytes[offset..offset + part as usize];
                for piece in part.chunks(13 * unit) {
                    matrix.pack(offset, piece);
                    offset += piece.len();
                }
            }
            assert_eq!(offset, bytes.len());
            let mut row = vec![0.0; cols];
            for (r, want) in want.iter().enumerate() {
                matrix.row(r, &mut row);
                same_bits(
                    &row,
                    want,
                    &format!("row {r} of {rows}x{cols} {encoding:?}"),
                );
            }

            let most = 19;
            let x = random.floats(most * cols);
            let rounding = encoding.rounding().unwrap_or(Rounding::Runq { group });
            let (quants, scales, sums) = quantized(&scalar::KERNELS, &x, rounding);
            let multiply = |set: &Kernels, first: usize, tokens: usize| {
                let input = Activations {
                    tokens,
                    cols,
                    values: &x[..tokens * cols],
                    stride: cols,
                    quants: &quants,
                    quant_stride: cols / group * padded(group),
                    scales: &scales,
                    sums: &sums[..sums.len() / 2],
                    lower: &sums[sums.len() / 2..],
                };
                let mut out = vec![7.0; (matrix.panels() - first) * PANEL * tokens];
                matrix.multiply(set, first, &input, &mut out);
                out
            };
            for tokens in [1, 2, 3, 4, 5, 6, 7, 8, 9, most] {
                for first in [0, matrix.panels() - 1] {
                    let reference = multiply(&scalar::KERNELS, first, tokens);
                    for set in sets() {
                        let out = multiply(set, first, tokens);
                        let what =
                            format!("{} {rows}x{cols} {encoding:?}, {tokens} tokens", set.title);
                        same_bits(&out, &reference, &what);
                    }
                }
            }
            // Compared with the definition in double precision, with the quantised vector if it is
            // used.
            let reference = multiply(&scalar::KERNELS, 0, most);
            for t in 0..most {
                let x = |c: usize| match encoding.group() {
                    None => f64::from(x[t * cols + c]),
                    Some(group) => {
                        let g = (t * cols + c) / group;
                        f64::from(quants[g * padded(group) + c % group]) * f64::from(scales[g])
                    }
                };
                for (r, want) in want.iter().enumerate() {
                    let products = want.iter().enumerate().map(|(c, &w)| f64::from(w) * x(c));
                    let size: f64 = products.clone().map(f64::abs).sum();
                    let want: f64 = products.sum();
                    let got = f64::from(reference[t * matrix.panels() * PANEL + r]);
                    assert!(
                        (got - want).abs() <= size * cols as f64 * 6e-8 + 1e-30,
                        "row {r} {encoding:?}: {got}, not {want}"
                    );
                }
            }
        }
    }
}

/// Products of the largest numbers, which would overflow or saturate on the way if anything could.
#[test]
fn integer_kernels_hold_the_extremes() {
    let (rows, cols) = (16, 64);
    for encoding in [Encoding::Q8 { group: 64 }, Encoding::Q8_0, Encoding::Q4_0] {
        for byte in [0x80, 0x7f, 0xff, 0x00, 0x88] {
            let mut bytes = vec![byte; encoding.file_bytes(rows, cols).unwrap() as usize];
            match encoding {
                Encoding::Q8 { .. } => {
                    for scale in bytes[rows * cols..].chunks_mut(4) {
                        scale.copy_from_slice(&1f32.to_le_bytes());
                    }
                }
                _ => {
                    for block in bytes.chunks_mut(encoding.unit()) {
                        block[..2].copy_from_slice(&crate::half::F16::from_f32(1.0).to_le_bytes());
                    }
                }
            }
            let mut matrix = Matrix::zeroed(rows, cols, encoding, &mut Arena::none()).unwrap();
            let mut offset = 0;
            for part in encoding.parts(rows, cols) {
                matrix.pack(offset, &bytes[offset..offset + part as usize]);
                offset += part as usize;
            }
            for sign in [127i8, -127] {
                let group = encoding.group().unwrap();
                // As many as a tile may have, and one that is left.
                let most = 13;
                let (all, groups) = (most * cols, most * cols / group);
                let (values, quants) = (vec![f32::from(sign); all], vec![sign; all]);
                let (scales, lower) = (vec![1.0; groups], vec![i32::from(sign) * 16; groups]);
                let sums = vec![i32::from(sign) * group as i32; groups];
                let input = |tokens| Activations {
                    tokens,
                    cols,
                    values: &values,
                    stride: cols,
                    quants: &quants,
                    quant_stride: cols,
                    scales: &scales,
                    sums: &sums,
                    lower: &lower,
                };
                let mut row = vec![0.0; cols];
                matrix.row(3, &mut row);
                let want: f32 = row.iter().map(|w| w * f32::from(sign)).sum();
                for set in sets() {
                    for tokens in [1, 2, 5, most] {
                        let mut out = vec![0.0; tokens * PANEL];
                        matrix.multiply(set, 0, &input(tokens), &mut out);
                        let what = format!("{} {encoding:?} {byte:x} {sign}", set.title);
                        assert_eq!(out, vec![want; tokens * PANEL], "{what}");
                    }
                }
            }
        }
    }
}

/// Blocks that no quantiser writes: arbitrary scales and bytes, infinities and NaN included.
#[test]
fn coded_kernels_agree_on_garbage() {
    let random = &mut Random(11);
    let (rows, cols) = (19, 512);
    for coded in Coded::ALL {
        let encoding = Encoding::Coded(coded);
        let bytes: Vec<u8> = (0..encoding.file_bytes(rows, cols).unwrap())
            .map(|_| random.next() as u8)
            .collect();
        let mut matrix = Matrix::zeroed(rows, cols, encoding, &mut Arena::none()).unwrap();
        matrix.pack(0, &bytes);
        let tokens = 40;
        let x = random.floats(tokens * cols);
        let (quants, scales, sums) = quantized(&scalar::KERNELS, &x, Rounding::Q8K);
        for tokens in (1..=tokens).step_by(3) {
            let input = Activations {
                tokens,
                cols,
                values: &x,
                stride: cols,
                quants: &quants,
                quant_stride: cols,
                scales: &scales,
                sums: &sums[..sums.len() / 2],
                lower: &sums[sums.len() / 2..],
            };
            let multiply = |set: &Kernels| {
                let mut out = vec![7.0; matrix.panels() * PANEL * tokens];
                matrix.multiply(set, 0, &input, &mut out);
                out
            };
            let want = multiply(&scalar::KERNELS);
            for set in sets() {
                let what = format!("{} {}, {tokens} tokens", set.title, coded.name());
                same_bits(&multiply(set), &want, &what);
            }
        }
    }
}

/// Decoded weights of random blocks equal those of the `gguf` package, bit for bit: the CRC-32 of
/// their bytes is the one that `tensor/tests/gguf_package/dequantize.py` prints.
#[test]
fn weights_are_those_of_the_gguf_package() {
    let expected = include_str!("../../tests/gguf_package/expected.txt");
    for coded in Coded::ALL {
        let (random, shape) = (&mut Random(17), coded.shape());
        let mut sum = crc32fast::Hasher::new();
        for _ in 0..200 {
            let block = coded_block(random, coded);
            let mut weights = [0.0; 256];
            let weights = &mut weights[..shape.block];
            file_blocks::read(coded, &block).write(&shape, weights);
            for weight in weights {
                sum.update(&weight.to_le_bytes());
            }
        }
        let found = format!("{} {:08x}", coded.name(), sum.finalize());
        assert!(expected.lines().any(|line| line == found), "{found}");
    }
}

/// Errors stay within the limits of llama.cpp's own test of its types
/// (`tests/test-quantize-fns.cpp`), on its data, for every type that can be written.
#[test]
fn quantisation_errors_are_within_llama_cpp_s_thresholds() {
    const COUNT: usize = 32 * 128;
    let data = |offset: f32| -> Vec<f32> {
        let wave = |i| 0.1 + 2.0 * (f64::from(i as f32 + offset)).cos();
        (0..COUNT).map(|i| wave(i) as f32).collect()
    };
    let (w, x) = (data(0.0), data(1.0));
    let want: f64 = w.iter().zip(&x).map(|(w, x)| f64::from(w * x)).sum();
    let coded = [
        Coded::Q4_1,
        Coded::Q5_0,
        Coded::Q5_1,
        Coded::Q4K,
        Coded::Q5K,
        Coded::Q6K,
    ];
    let mut encodings = vec![Encoding::F32, Encoding::F16, Encoding::BF16];
    encodings.extend([Encoding::Q8_0, Encoding::Q4_0]);
    encodings.extend(coded.map(Encoding::Coded));
    for encoding in encodings {
        let mut bytes = Vec::new();
        crate::quantize::encode(encoding, &w, &mut bytes, &mut Vec::new());
        let mut matrix = Matrix::zeroed(1, COUNT, encoding, &mut Arena::none()).unwrap();
        matrix.pack(0, &bytes);
        let mut row = vec![0.0; COUNT];
        matrix.row(0, &mut row);
        let squares = w.iter().zip(&row).map(|(w, r)| f64::from(w - r).powi(2));
        let total = squares.sum::<f64>().sqrt() / COUNT as f64;
        let rounding = encoding.rounding();
        let (quants, scales, sums) = match rounding {
            Some(rounding) => quantized(&scalar::KERNELS, &x, rounding),
            None => Default::default(),
        };
        let input = Activations {
            tokens: 1,
            cols: COUNT,
            values: &x,
            stride: COUNT,
            quants: &quants,
            quant_stride: COUNT,
            scales: &scales,
            sums: &sums[..sums.len() / 2],
            lower: &sums[sums.len() / 2..],
        };
        let mut out = [0.0; PANEL];
        matrix.multiply(&scalar::KERNELS, 0, &input, &mut out);
        let product = (f64::from(out[0]) - want).abs() / COUNT as f64;
        println!("worst errors of {encoding}: {total:.6} in all, {product:.6} of a product");
        assert!(total < 0.002, "{encoding}: total error {total}");
        assert!(product < 0.02, "{encoding}: dot product error {product}");
    }
}

/// In a release build, products of such numbers once wrapped around and passed for small ones.
#[test]
fn numbers_whose_product_is_no_number_are_refused() {
    let tokens = (1 << 60) + 1;
    let ones = [1.0; 16];
    for set in sets() {
        let multiplied = std::panic::catch_unwind(|| {
            let x = Activations {
                tokens,
                cols: 1,
                values: &ones,
                stride: 16,
                quants: &[],
                quant_stride: 0,
                scales: &[],
                sums: &[],
                lower: &[],
            };
            (set.f32)(&ones, &x, &mut [0.0; 16]);
        });
        let weighed = std::panic::catch_unwind(|| {
            let weights = AttentionWeights {
                values: &ones,
                stride: 16,
                tokens,
                rows: 1,
                row_stride: 16,
                width: 16,
            };
            (set.weighted_sum_f32)(&ones, &weights, &mut [0.0; 16], 16);
        });
        assert!(multiplied.is_err() && weighed.is_err(), "{}", set.name);
    }
}
