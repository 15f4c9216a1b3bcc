//! Every kernel set against the scalar one, on random and on adversarial vectors.

use super::*;
use crate::matrix::{Encoding, Matrix, q8_0::padded};

/// xorshift64*, for numbers without a crate.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// About normal: the sum of four uniforms.
    pub(crate) fn float(&mut self) -> f32 {
        (0..4)
            .map(|_| (self.next() >> 40) as f32 / 16_777_216.0 - 0.5)
            .sum()
    }

    fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }
}

const LENGTHS: [usize; 14] = [0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 64, 172, 288];

fn sets() -> [&'static Kernels; 1] {
    [&portable::KERNELS]
}

fn same_bits(a: &[f32], b: &[f32], what: &str) {
    // Which NaN comes out is the processor's business.
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
                        &format!("{} {what} of {n}: {x:?}", set.name),
                    );
                };
                same("add_scaled", &|k| {
                    let mut out = y.clone();
                    (k.add_scaled)(&mut out, 0.3, &x);
                    out
                });
                same("rmsnorm", &|k| {
                    let mut out = vec![0.0; n];
                    (k.rmsnorm)(&mut out, &x, &y);
                    out
                });
                same("swiglu", &|k| {
                    let mut out = x.clone();
                    (k.swiglu)(&mut out, &y);
                    out
                });
                if n > 0 {
                    same("softmax", &|k| {
                        let mut out = x.clone();
                        (k.softmax)(&mut out);
                        out
                    });
                }
                if n > 0 && n % 2 == 0 {
                    same("rope", &|k| {
                        let mut out = x.clone();
                        (k.rope)(&mut out, &y[..n / 2], &y[n / 2..]);
                        out
                    });
                }
                for group in [1, 2, 3, 4, 6, 32, 64].into_iter().filter(|g| n % g == 0) {
                    same("quantize", &|k| {
                        let mut quants = vec![1i8; n / group * padded(group)];
                        let mut scales = vec![0.0; n / group];
                        (k.quantize)(&x, group, &mut quants, &mut scales);
                        scales.extend(quants.iter().map(|&q| f32::from(q)));
                        scales
                    });
                }
            }
        }
    }
}

#[test]
fn quantisation_rounds_halves_away_from_zero_and_keeps_zero() {
    for set in sets().into_iter().chain([&scalar::KERNELS]) {
        let x = [127.0, 0.5, -0.5, 1.5, 0.499_999_97, -2.5, 0.0, -127.0];
        let (mut quants, mut scales) = ([9i8; 8], [0.0; 1]);
        (set.quantize)(&x, 8, &mut quants, &mut scales);
        assert_eq!(
            (quants, scales),
            ([127, 1, -1, 2, 0, -3, 0, -127], [1.0]),
            "{}",
            set.name
        );
        (set.quantize)(&[0.0; 8], 8, &mut quants, &mut scales);
        assert_eq!((quants, scales), ([0; 8], [0.0]), "{}", set.name);
    }
}

#[test]
fn softmax_sums_to_one_and_survives_large_logits() {
    for set in sets() {
        let mut x = [1e30, 1e30, -1e30, 0.0];
        (set.softmax)(&mut x);
        assert_eq!(x, [0.5, 0.5, 0.0, 0.0]);
    }
}

/// The file's bytes of a tensor, and what it must give when multiplied, from its definition.
fn tensor(
    random: &mut Random,
    rows: usize,
    cols: usize,
    encoding: Encoding,
) -> (Vec<u8>, Vec<Vec<f32>>) {
    let mut bytes = Vec::new();
    match encoding {
        Encoding::F32 => {
            let values = random.floats(rows * cols);
            bytes.extend(values.iter().flat_map(|x| x.to_le_bytes()));
            (bytes, values.chunks(cols).map(<[f32]>::to_vec).collect())
        }
        Encoding::Q8 { group } => {
            let quants: Vec<i8> = (0..rows * cols).map(|_| random.next() as i8).collect();
            let scales = random.floats(rows * cols / group);
            bytes.extend(quants.iter().map(|&q| q as u8));
            bytes.extend(scales.iter().flat_map(|x| x.to_le_bytes()));
            let values: Vec<f32> = quants
                .iter()
                .enumerate()
                .map(|(i, &q)| f32::from(q) * scales[i / group])
                .collect();
            (bytes, values.chunks(cols).map(<[f32]>::to_vec).collect())
        }
    }
}

#[test]
fn packed_matrices_give_back_their_rows_and_multiply() {
    use crate::workers::{Single, tests::Scoped};
    let random = &mut Random(2);
    for (rows, cols) in [
        (1, 2),
        (3, 4),
        (16, 6),
        (17, 12),
        (33, 64),
        (48, 96),
        (512, 172),
    ] {
        for encoding in [1, 2, 3, 4, 6, 32]
            .map(|group| Encoding::Q8 { group })
            .into_iter()
            .chain([Encoding::F32])
        {
            if matches!(encoding, Encoding::Q8 { group } if cols % group != 0) {
                continue;
            }
            let (bytes, want) = tensor(random, rows, cols, encoding);
            let mut matrix = Matrix::zeroed(rows, cols, encoding).unwrap();
            // Pieces of an awkward size, as a medium may give them.
            let mut offset = 0;
            for part in encoding.parts(rows, cols) {
                let part = &bytes[offset..offset + part as usize];
                for piece in part.chunks(52) {
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

            let x = random.floats(cols);
            let group = if let Encoding::Q8 { group } = encoding {
                group
            } else {
                cols
            };
            let (mut quants, mut scales) = (
                vec![0i8; cols / group * padded(group)],
                vec![0.0; cols / group],
            );
            (scalar::KERNELS.quantize)(&x, group, &mut quants, &mut scales);
            let input = crate::matrix::Activations {
                values: &x,
                quants: &quants,
                scales: &scales,
            };
            let mut reference = vec![0.0; rows];
            matrix.multiply(&input, &mut reference, &scalar::KERNELS, &Single);
            for set in sets() {
                let mut out = vec![7.0; rows];
                matrix.multiply(&input, &mut out, set, &Single);
                same_bits(
                    &out,
                    &reference,
                    &format!("{} {rows}x{cols} {encoding:?}", set.name),
                );
                let mut out = vec![7.0; rows];
                matrix.multiply(&input, &mut out, set, &Scoped(3));
                same_bits(
                    &out,
                    &reference,
                    &format!("{} {rows}x{cols} {encoding:?} by three", set.name),
                );
            }
            // Against the definition in double precision, with the quantised vector where it is used.
            let x: Vec<f64> = match encoding {
                Encoding::F32 => x.iter().map(|&x| x.into()).collect(),
                Encoding::Q8 { .. } => (0..cols)
                    .map(|c| {
                        f64::from(quants[c / group * padded(group) + c % group])
                            * f64::from(scales[c / group])
                    })
                    .collect(),
            };
            for (r, want) in want.iter().enumerate() {
                let products = want.iter().zip(&x).map(|(&w, &x)| f64::from(w) * x);
                let size: f64 = products.clone().map(f64::abs).sum();
                let want: f64 = products.sum();
                assert!(
                    (f64::from(reference[r]) - want).abs() <= size * cols as f64 * 6e-8 + 1e-30,
                    "row {r} {encoding:?}"
                );
            }
        }
    }
}
