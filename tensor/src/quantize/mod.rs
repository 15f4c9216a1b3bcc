//! Quantisation of rows from single precision to the types of files, byte for byte as each format's
//! own tools do it.

use alloc::vec::Vec;

use crate::half::{Bf16, F16};

use crate::layout::{BLOCK, Coded, Encoding, coded::file_blocks};

mod coded;

/// Appends a row in `encoding` to `out`; for llama2.c's int8, the values go to `out` and the scales
/// to `scales`.
///
/// The rules are those of llama.cpp's reference functions (`quantize_row_q8_0_ref`,
/// `quantize_row_q4_0_ref`) and of llama2.c's `export.py` (`quantize_q80`).
///
/// # Panics
/// If the row is not a multiple of the block, or the type cannot be written: Q2_K, Q3_K, IQ4_NL,
/// IQ4_XS.
pub fn encode(encoding: Encoding, row: &[f32], out: &mut Vec<u8>, scales: &mut Vec<u8>) {
    match encoding {
        Encoding::F32 => out.extend(row.iter().flat_map(|x| x.to_le_bytes())),
        Encoding::F16 => out.extend(row.iter().flat_map(|x| F16::from_f32(*x).to_le_bytes())),
        Encoding::BF16 => out.extend(row.iter().flat_map(|x| Bf16::from_f32(*x).to_le_bytes())),
        Encoding::Q8 { group } => groups(row, group, out, scales),
        Encoding::Q8_0 => blocks(row, q8_0, out),
        Encoding::Q4_0 => blocks(row, q4_0, out),
        Encoding::Coded(coded) => {
            let blocks = row.chunks_exact(coded.shape().block);
            assert!(
                blocks.remainder().is_empty(),
                "a row of {} numbers",
                row.len()
            );
            for x in blocks {
                file_blocks::write(coded, &coded::block(coded, x), out);
            }
        }
    }
}

fn blocks(row: &[f32], block: fn(&[f32; BLOCK], &mut Vec<u8>), out: &mut Vec<u8>) {
    let (whole, rest) = row.as_chunks::<BLOCK>();
    assert!(rest.is_empty(), "a row of {} numbers", row.len());
    whole.iter().for_each(|x| block(x, out));
}

/// 1/x, and 0 for 0.
fn inverse(x: f32) -> f32 {
    if x == 0.0 { 0.0 } else { 1.0 / x }
}

fn q8_0(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    let largest = block.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let scale = largest / 127.0;
    let inverse = inverse(scale);
    out.extend(F16::from_f32(scale).to_le_bytes());
    out.extend(block.iter().map(|x| libm::roundf(x * inverse) as i8 as u8));
}

fn q4_0(block: &[f32; BLOCK], out: &mut Vec<u8>) {
    // The number farthest from zero, with its sign, becomes -8.
    let mut farthest = 0.0f32;
    for x in block {
        if x.abs() > farthest.abs() {
            farthest = *x;
        }
    }
    let scale = farthest / -8.0;
    let inverse = inverse(scale);
    out.extend(F16::from_f32(scale).to_le_bytes());
    let quant = |x: f32| ((x * inverse + 8.5) as i8).clamp(0, 15) as u8;
    let (lower, upper) = block.split_at(BLOCK / 2);
    out.extend(
        lower
            .iter()
            .zip(upper)
            .map(|(a, b)| quant(*a) | quant(*b) << 4),
    );
}

fn groups(row: &[f32], group: usize, out: &mut Vec<u8>, scales: &mut Vec<u8>) {
    assert!(row.len().is_multiple_of(group));
    for group in row.chunks_exact(group) {
        let largest = group.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        let scale = largest / 127.0;
        scales.extend(scale.to_le_bytes());
        out.extend(group.iter().map(|x| {
            // PyTorch rounds halves to even; 0/0 becomes 0.
            libm::rintf(x / scale) as i8 as u8
        }));
    }
}

/// Decodes a row from a file's bytes, as [`encode`] writes them.
///
/// # Panics
/// If there are fewer bytes than the row needs.
pub fn decode(encoding: Encoding, bytes: &[u8], scales: &[u8], row: &mut [f32]) {
    let float = |b: &[u8]| f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let half = |b: &[u8]| F16::from_le_bytes([b[0], b[1]]).to_f32();
    match encoding {
        Encoding::F32 => {
            for (x, b) in row.iter_mut().zip(bytes.chunks_exact(4)) {
                *x = float(b);
            }
        }
        Encoding::F16 => {
            for (x, b) in row.iter_mut().zip(bytes.chunks_exact(2)) {
                *x = half(b);
            }
        }
        Encoding::BF16 => {
            for (x, b) in row.iter_mut().zip(bytes.chunks_exact(2)) {
                *x = Bf16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        Encoding::Q8 { group } => {
            let groups = row.chunks_exact_mut(group).zip(bytes.chunks_exact(group));
            for ((row, quants), scale) in groups.zip(scales.chunks_exact(4)) {
                for (x, quant) in row.iter_mut().zip(quants) {
                    *x = f32::from(*quant as i8) * float(scale);
                }
            }
        }
        Encoding::Coded(coded) => decode_blocks(coded, bytes, row),
        Encoding::Q8_0 => {
            let blocks = bytes.chunks_exact(encoding.unit());
            for (row, block) in row.chunks_exact_mut(BLOCK).zip(blocks) {
                for (x, quant) in row.iter_mut().zip(&block[2..]) {
                    *x = f32::from(*quant as i8) * half(block);
                }
            }
        }
        Encoding::Q4_0 => {
            let blocks = bytes.chunks_exact(encoding.unit());
            for (row, block) in row.chunks_exact_mut(BLOCK).zip(blocks) {
                let (lower, upper) = row.split_at_mut(BLOCK / 2);
                for ((a, b), byte) in lower.iter_mut().zip(upper).zip(&block[2..]) {
                    *a = (f32::from(byte & 15) - 8.0) * half(block);
                    *b = (f32::from(byte >> 4) - 8.0) * half(block);
                }
            }
        }
    }
}

/// Decodes a row of blocks.
fn decode_blocks(coded: Coded, bytes: &[u8], row: &mut [f32]) {
    let shape = coded.shape();
    let blocks = bytes.chunks_exact(shape.file_block);
    for (row, bytes) in row.chunks_exact_mut(shape.block).zip(blocks) {
        file_blocks::read(coded, bytes).write(&shape, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_testing::random::Random;

    #[test]
    fn what_is_encoded_is_decoded_within_half_a_step() {
        let random = &mut Random(3);
        let row: Vec<f32> = (0..192).map(|_| random.float()).collect();
        for (encoding, bound) in [
            (Encoding::F32, 0.0),
            (Encoding::F16, 1.0 / 2048.0),
            (Encoding::BF16, 1.0 / 256.0),
            (Encoding::Q8 { group: 64 }, 0.5 / 127.0 * 1.001),
            (Encoding::Q8_0, 0.5 / 127.0 * 1.1),
            // The positive end is cut at 7 steps.
            (Encoding::Q4_0, 1.01 / 8.0),
        ] {
            let (mut bytes, mut scales) = (Vec::new(), Vec::new());
            encode(encoding, &row, &mut bytes, &mut scales);
            assert_eq!(
                encoding.file_bytes(1, row.len()),
                Some((bytes.len() + scales.len()) as u64)
            );
            let mut back = alloc::vec![0.0; row.len()];
            decode(encoding, &bytes, &scales, &mut back);
            for (a, b) in row.iter().zip(&back) {
                assert!((a - b).abs() <= 2.0 * bound, "{encoding}: {a} became {b}");
            }
            // A second time nothing changes.
            let (mut again, mut scales_again) = (Vec::new(), Vec::new());
            encode(encoding, &back, &mut again, &mut scales_again);
            if encoding.group().is_none() {
                assert_eq!((again, scales_again), (bytes, scales));
            }
        }
    }

    #[test]
    fn known_blocks() {
        let mut block = [0.0f32; BLOCK];
        (block[0], block[1], block[16], block[31]) = (-8.0, 7.0, 1.0, 4.0);
        let mut bytes = Vec::new();
        q4_0(&block, &mut bytes);
        // Scale 1; -8 is 0, 7 is 15, 0 is 8, 1 is 9, 4 is 12.
        let mut want = alloc::vec![0x00, 0x3c, 0x90, 0x8f];
        want.resize(17, 0x88);
        want.push(0xc8);
        assert_eq!(bytes, want);
        let mut bytes = Vec::new();
        block[0] = -127.0;
        q8_0(&block, &mut bytes);
        assert_eq!(bytes[..5], [0x00, 0x3c, 0x81, 7, 0]);
        let mut zero = Vec::new();
        q4_0(&[0.0; BLOCK], &mut zero);
        assert_eq!(zero[2..], [0x88; 16]);
    }
}
