//! Models made on the spot for the boot tests: random weights, a vocabulary of 32 000 words,
//! headers over holes.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::Result;
use llama2_engine::config::{Config, Variant};

/// stories15M's shape.
pub const STORIES15M: Config = Config {
    dim: 288,
    hidden_dim: 768,
    n_layers: 6,
    n_heads: 6,
    n_kv_heads: 6,
    vocab_size: 32_000,
    seq_len: 256,
    shared_classifier: true,
    variant: Variant::LLAMA2C,
};

/// stories110M's shape.
pub const STORIES110M: Config = Config {
    dim: 768,
    hidden_dim: 2048,
    n_layers: 12,
    n_heads: 12,
    n_kv_heads: 12,
    seq_len: 1024,
    ..STORIES15M
};

/// llama2.c's v0 header.
pub fn header(c: &Config) -> Vec<u8> {
    let numbers = [
        c.dim,
        c.hidden_dim,
        c.n_layers,
        c.n_heads,
        c.n_kv_heads,
        c.vocab_size,
        c.seq_len,
    ];
    numbers
        .into_iter()
        .flat_map(|n| (n as i32).to_le_bytes())
        .collect()
}

/// Bytes of a v0 file with a tied classifier.
pub fn size(c: &Config) -> u64 {
    let layer = 2 * c.dim + 2 * c.dim * c.dim + 2 * c.dim * c.kv_dim() + 3 * c.dim * c.hidden_dim;
    let floats = c.vocab_size * c.dim + c.n_layers * layer + c.dim + c.seq_len * c.head_dim();
    28 + 4 * floats as u64
}

/// A v0 file of random weights.
pub fn random_checkpoint(path: &Path, c: &Config) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(&header(c))?;
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    for _ in 0..(size(c) - 28) / 4 {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let weight = ((seed >> 40) as f32 / 16_777_216.0 - 0.5) * 0.2;
        file.write_all(&weight.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

/// A right header over a file of zeros, which takes no room.
pub fn hollow_checkpoint(path: &Path, c: &Config) -> Result<()> {
    let mut file = File::create(path)?;
    file.write_all(&header(c))?;
    Ok(file.set_len(size(c))?)
}

/// A tokenizer of `count` pieces: the specials, all bytes, letters, and words made of syllables.
pub fn tokenizer(count: usize) -> Vec<u8> {
    const SYLLABLES: [&str; 34] = [
        "ka", "lo", "mi", "ne", "ru", "sa", "ti", "vo", "we", "ya", "bi", "du", "fe", "go", "hu",
        "ji", "pa", "qui", "xo", "zé", "ér", "an", "in", "on", "un", "est", "ost", "ast", "ing",
        "and", "ü", "日", "本", "ß",
    ];
    let mut pieces: Vec<String> = ["<unk>", "\n<s>\n", "\n</s>\n"].map(String::from).to_vec();
    pieces.extend((0..256).map(|byte| format!("<0x{byte:02X}>")));
    pieces.push(" ".into());
    pieces.extend(('a'..='z').map(String::from));
    let mut number = 0;
    while pieces.len() < count {
        let (a, b, c) = (number % 34, number / 34 % 34, number / 34 / 34);
        let third = if c == 0 { "" } else { SYLLABLES[(c - 1) % 34] };
        pieces.push(format!(" {}{}{third}", SYLLABLES[a], SYLLABLES[b]));
        number += 1;
    }
    let mut file = 32u32.to_le_bytes().to_vec();
    for (index, piece) in pieces[..count].iter().enumerate() {
        file.extend((-(index as f32)).to_le_bytes());
        file.extend((piece.len() as i32).to_le_bytes());
        file.extend(piece.as_bytes());
    }
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_the_real_ones() {
        assert_eq!(size(&STORIES15M), 60_816_028);
        assert_eq!(size(&STORIES110M), 438_381_596);
        let file = tokenizer(32_000);
        assert_eq!(
            llama2_engine::tokenizer::Tokenizer::load(&mut &file[..])
                .unwrap()
                .vocab_size(),
            32_000
        );
    }
}
