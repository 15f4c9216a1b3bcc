//! Reader and writer of the blocks of GGUF's coded types, as they are in files.
//!
//! The layouts are ggml's (`ggml-common.h`).

use alloc::vec::Vec;

use crate::half::F16;

use super::{Block, Coded};
use crate::layout::BLOCK;

/// Weights per block of a K-quant.
const SUPER: usize = 256;

fn half(bytes: &[u8], at: usize) -> F16 {
    F16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Byte offsets of a block's scale and minimum, both in half precision.
pub fn scales(coded: Coded) -> &'static [usize] {
    match coded {
        Coded::Q4_1 | Coded::Q5_1 | Coded::Q4K | Coded::Q5K => &[0, 2],
        Coded::Q5_0 | Coded::Iq4Nl | Coded::Iq4Xs => &[0],
        Coded::Q2K => &[80, 82],
        Coded::Q3K => &[108],
        Coded::Q6K => &[208],
    }
}

/// Unpacks the nibbles of 16 bytes: first the lower ones, then the upper ones.
fn nibbles(bytes: &[u8], codes: &mut [u8]) {
    let (lower, upper) = codes.split_at_mut(bytes.len());
    for ((lower, upper), byte) in lower.iter_mut().zip(upper).zip(bytes) {
        (*lower, *upper) = (byte & 15, byte >> 4);
    }
}

/// Decodes a block. `bytes` must have the length [`file_block`](super::Shape::file_block).
#[inline(always)]
pub fn read(coded: Coded, bytes: &[u8]) -> Block {
    let mut block = Block::new(&coded.shape());
    match coded {
        Coded::Q4_1 => {
            (block.scale, block.minimum) = (half(bytes, 0), half(bytes, 2));
            nibbles(&bytes[4..], &mut block.codes[..BLOCK]);
        }
        Coded::Iq4Nl => {
            block.scale = half(bytes, 0);
            nibbles(&bytes[2..], &mut block.codes[..BLOCK]);
        }
        Coded::Q5_0 | Coded::Q5_1 => {
            block.scale = half(bytes, 0);
            let mut at = 2;
            if coded == Coded::Q5_1 {
                block.minimum = half(bytes, 2);
                at = 4;
            }
            nibbles(&bytes[at + 4..], &mut block.codes[..BLOCK]);
            let upper = &bytes[at..at + 4];
            for (codes, byte) in block.codes.as_chunks_mut::<8>().0.iter_mut().zip(upper) {
                // In byte i the bit i alone; then the carry tells whether it is set.
                let spread = u64::from(*byte) * 0x0101_0101_0101_0101;
                let bits = spread & 0x8040_2010_0804_0201;
                let is_set = ((bits + 0x7f7f_7f7f_7f7f_7f7f) >> 7) & 0x0101_0101_0101_0101;
                *codes = (u64::from_le_bytes(*codes) | is_set << 4).to_le_bytes();
            }
        }
        Coded::Q2K => {
            (block.scale, block.minimum) = (half(bytes, 80), -half(bytes, 82));
            for (i, byte) in bytes[..16].iter().enumerate() {
                (block.factors[i], block.minima[i]) = ((byte & 15) as i8, (byte >> 4) as i8);
            }
            two_bits(&bytes[16..80], &mut block.codes);
        }
        Coded::Q3K => {
            block.scale = half(bytes, 108);
            let scales = &bytes[96..108];
            for (i, factor) in block.factors.iter_mut().enumerate() {
                let lower = scales[i % 8] >> (i / 8 * 4) & 15;
                let upper = scales[8 + i % 4] >> (i / 4 * 2) & 3;
                *factor = (lower | upper << 4) as i8 - 32;
            }
            two_bits(&bytes[32..96], &mut block.codes);
            add_plane(&bytes[..32], 1, 2, &mut block.codes);
        }
        Coded::Q4K | Coded::Q5K => {
            (block.scale, block.minimum) = (half(bytes, 0), -half(bytes, 2));
            for i in 0..8 {
                let (factor, minimum) = six_bits(&bytes[4..16], i);
                block.factors[2 * i..][..2].fill(factor);
                block.minima[2 * i..][..2].fill(minimum);
            }
            let (upper, codes) = match coded {
                Coded::Q5K => (&bytes[16..48], &bytes[48..]),
                _ => (&[][..], &bytes[16..]),
            };
            for (codes, bytes) in block.codes.chunks_exact_mut(64).zip(codes.chunks_exact(32)) {
                nibbles(bytes, codes);
            }
            add_plane(upper, 1, 4, &mut block.codes);
        }
        Coded::Q6K => {
            block.scale = half(bytes, 208);
            for (factor, byte) in block.factors.iter_mut().zip(&bytes[192..208]) {
                *factor = *byte as i8;
            }
            for (h, codes) in block.codes.chunks_exact_mut(SUPER / 2).enumerate() {
                nibbles(&bytes[64 * h..][..64], codes);
                add_plane(&bytes[128 + 32 * h..][..32], 2, 4, codes);
            }
        }
        Coded::Iq4Xs => {
            block.scale = half(bytes, 0);
            let upper = u16::from_le_bytes([bytes[2], bytes[3]]);
            for i in 0..8 {
                let lower = bytes[4 + i / 2] >> (i % 2 * 4) & 15;
                let factor = (lower | ((upper >> (2 * i) & 3) as u8) << 4) as i8 - 32;
                block.factors[2 * i..][..2].fill(factor);
            }
            let codes = block.codes.chunks_exact_mut(BLOCK);
            for (codes, bytes) in codes.zip(bytes[8..].chunks_exact(16)) {
                nibbles(bytes, codes);
            }
        }
    }
    block
}

/// Unpacks two-bit codes: the lowest two bits of each 32 bytes are the first 32 codes, and so on.
fn two_bits(bytes: &[u8], codes: &mut [u8; SUPER]) {
    for (bytes, codes) in bytes.chunks_exact(32).zip(codes.chunks_exact_mut(128)) {
        add_plane(bytes, 2, 0, codes);
    }
}

/// Puts bits into codes, from bit `to` on: of each of 32 bytes, the lowest `bits` bits belong to
/// the first 32 codes, the next ones to the next 32, and so on.
fn add_plane(bytes: &[u8], bits: usize, to: usize, codes: &mut [u8]) {
    for (i, codes) in codes.chunks_exact_mut(32).enumerate() {
        for (code, byte) in codes.iter_mut().zip(bytes) {
            *code |= (byte >> (i * bits) & ((1 << bits) - 1)) << to;
        }
    }
}

/// Unpacks the factors of scale and minimum `i` of 8 from 12 bytes: the first four of each are the
/// lower six bits of their own bytes, the others are four bits of the last four bytes and the two
/// upper bits of the first eight.
fn six_bits(bytes: &[u8], i: usize) -> (i8, i8) {
    let (factor, minimum) = if i < 4 {
        (bytes[i] & 63, bytes[i + 4] & 63)
    } else {
        (
            bytes[i + 4] & 15 | bytes[i - 4] >> 6 << 4,
            bytes[i + 4] >> 4 | bytes[i] >> 6 << 4,
        )
    };
    (factor as i8, minimum as i8)
}

/// Appends a block in the file's layout.
///
/// # Panics
/// If the type cannot be written: Q2_K, Q3_K, IQ4_NL, IQ4_XS.
pub fn write(coded: Coded, block: &Block, out: &mut Vec<u8>) {
    let codes = &block.codes[..block.weights];
    let pack = |codes: &[u8], out: &mut Vec<u8>| {
        let (lower, upper) = codes.split_at(codes.len() / 2);
        out.extend(lower.iter().zip(upper).map(|(a, b)| a & 15 | b << 4));
    };
    // Bit `from` and those above it (`bits`) of the codes `i`, `i + 32`, … side by side in byte
    // `i`.
    let plane = |codes: &[u8], from: usize, bits: usize, out: &mut Vec<u8>| {
        out.extend((0..32).map(|i| {
            let upper = codes.iter().skip(i).step_by(32).enumerate();
            upper.fold(0, |byte, (k, code)| byte | code >> from << (k * bits))
        }));
    };
    match coded {
        Coded::Q4_1 | Coded::Q5_0 | Coded::Q5_1 => {
            out.extend(block.scale.to_le_bytes());
            if coded != Coded::Q5_0 {
                out.extend(block.minimum.to_le_bytes());
            }
            if coded != Coded::Q4_1 {
                out.extend(codes.chunks_exact(8).map(|codes| {
                    let bits = codes.iter().enumerate();
                    bits.fold(0, |byte, (k, code)| byte | code >> 4 << k)
                }));
            }
            pack(codes, out);
        }
        Coded::Q4K | Coded::Q5K => {
            out.extend(block.scale.to_le_bytes());
            out.extend((-block.minimum).to_le_bytes());
            let mut bytes = [0u8; 12];
            for i in 0..8 {
                let (factor, minimum) = (block.factors[2 * i] as u8, block.minima[2 * i] as u8);
                if i < 4 {
                    (bytes[i], bytes[i + 4]) = (factor, minimum);
                } else {
                    bytes[i + 4] = factor & 15 | minimum << 4;
                    bytes[i - 4] |= factor >> 4 << 6;
                    bytes[i] |= minimum >> 4 << 6;
                }
            }
            out.extend(bytes);
            if coded == Coded::Q5K {
                plane(codes, 4, 1, out);
            }
            codes.chunks_exact(64).for_each(|codes| pack(codes, out));
        }
        Coded::Q6K => {
            codes.chunks_exact(128).for_each(|codes| pack(codes, out));
            for codes in codes.chunks_exact(128) {
                plane(codes, 4, 2, out);
            }
            out.extend(block.factors.map(|factor| factor as u8));
            out.extend(block.scale.to_le_bytes());
        }
        Coded::Q2K | Coded::Q3K | Coded::Iq4Nl | Coded::Iq4Xs => {
            panic!("nothing quantises to {}", coded.name())
        }
    }
}
