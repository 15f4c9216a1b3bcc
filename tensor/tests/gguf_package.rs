//! Weights of every type, compared with those that the `gguf` Python package decodes from the same
//! bytes, if `LLAMA2_GGUF` is a command for that, such as `python
//! tensor/tests/gguf_package/dequantize.py`. (A recorded result is in a unit test of `kernels`.)

use std::{
    io::Write,
    process::{Command, Stdio},
};

use llama2_tensor::{
    layout::{Coded, Encoding},
    quantize,
};

/// Bytes of `blocks` random blocks, with scales that are finite.
fn random_bytes(encoding: Encoding, blocks: usize) -> Vec<u8> {
    let mut state = 29u64;
    let mut random = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 40
    };
    let unit = encoding.unit();
    let mut bytes: Vec<u8> = (0..blocks * unit).map(|_| random() as u8).collect();
    // Offset of the half-precision scales, and their number.
    let (at, numbers) = match encoding {
        Encoding::F32 | Encoding::BF16 => (unit - 2, 1),
        Encoding::Coded(Coded::Q2K) => (80, 2),
        Encoding::Coded(Coded::Q3K) => (108, 1),
        Encoding::Coded(Coded::Q6K) => (208, 1),
        Encoding::Coded(Coded::Q4_1 | Coded::Q5_1 | Coded::Q4K | Coded::Q5K) => (0, 2),
        _ => (0, 1),
    };
    for block in bytes.chunks_exact_mut(unit) {
        for number in block[at..].chunks_exact_mut(2).take(numbers) {
            // Neither infinite nor no number, in any of the three formats: an exponent whose
            // highest bit is 0.
            number[1] &= 0xbf;
        }
    }
    bytes
}

#[test]
fn every_type_has_the_weights_that_the_gguf_package_reads() {
    let Ok(oracle) = std::env::var("LLAMA2_GGUF") else {
        eprintln!("SKIPPED: LLAMA2_GGUF does not say how to ask the gguf package");
        return;
    };
    let mut encodings = vec![Encoding::F32, Encoding::F16, Encoding::BF16];
    encodings.extend([Encoding::Q8_0, Encoding::Q4_0]);
    encodings.extend(Coded::ALL.map(Encoding::Coded));
    let mut count = 0;
    for encoding in &encodings {
        let blocks = 4096 / encoding.block() * 4;
        let bytes = random_bytes(*encoding, blocks);
        let mut words = oracle.split_whitespace();
        let mut python = Command::new(words.next().unwrap())
            .args(words)
            .arg(encoding.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = python.stdin.take().unwrap();
        stdin.write_all(&bytes).unwrap();
        drop(stdin);
        let output = python.wait_with_output().unwrap();
        assert!(output.status.success(), "{encoding}");
        let mut row = vec![0.0; blocks * encoding.block()];
        quantize::decode(*encoding, &bytes, &[], &mut row);
        assert_eq!(output.stdout.len(), 4 * row.len(), "{encoding}");
        for (i, (want, found)) in output.stdout.chunks_exact(4).zip(&row).enumerate() {
            let want = f32::from_le_bytes([want[0], want[1], want[2], want[3]]);
            assert_eq!(
                found.to_bits(),
                want.to_bits(),
                "{encoding}, weight {i}: {found} instead of {want}"
            );
        }
        count += row.len();
    }
    println!(
        "worst: none; {count} weights of {} types are the gguf package's bit for bit",
        encodings.len()
    );
}
