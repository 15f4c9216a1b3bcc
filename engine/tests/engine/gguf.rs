//! GGUF: written and read back, the numbers of the checkpoint it came from, and every lie in a
//! header refused in a sentence.

use llama2_convert::Mixture;
use llama2_engine::{
    checkpoint::{Checkpoint, Error, Format},
    config::{Config, Variant},
    context::Memory,
    layout::Encoding,
    session::{KvType, Options, Session},
    tokenizer::Tokenizer,
};
use llama2_testing::{Maker, as_gguf, bundled, load};

const SMALL: Config = Config {
    dim: 64,
    hidden_dim: 96,
    n_layers: 2,
    n_heads: 4,
    n_kv_heads: 2,
    vocab_size: 40,
    seq_len: 20,
    shared_classifier: false,
    variant: Variant::LLAMA2C,
};

fn logits(bytes: &[u8]) -> Vec<f32> {
    let (model, digest) = load(bytes).unwrap();
    assert_eq!(digest.crc32, crc32fast::hash(bytes), "every byte is read");
    let mut session = Session::new(&model, Options::default()).unwrap();
    (0..12)
        .flat_map(|pos| session.forward(pos * 3 % 40, pos as usize).to_vec())
        .collect()
}

#[test]
fn a_checkpoint_gives_the_same_numbers_from_gguf() {
    for shared_classifier in [true, false] {
        let maker = Maker::random(
            Config {
                shared_classifier,
                ..SMALL
            },
            3,
        );
        let want = logits(&maker.v0());
        let file = as_gguf(&maker.v0(), Mixture::Pure(Encoding::F32), None);
        assert_eq!(logits(&file), want);
        let checkpoint = Checkpoint::open(&mut &file[..]).unwrap();
        assert_eq!(checkpoint.config, maker.config);
        assert_eq!(checkpoint.format, Format::Gguf { version: 3 });
        let bound = |encoding| match encoding {
            Encoding::F16 => 2e-3,
            Encoding::BF16 | Encoding::Q8_0 => 5e-2,
            _ => 0.4,
        };
        let largest = want.iter().fold(0.0f32, |a, x| a.max(x.abs()));
        for encoding in [
            Encoding::F16,
            Encoding::BF16,
            Encoding::Q8_0,
            Encoding::Q4_0,
        ] {
            let file = as_gguf(&maker.v0(), Mixture::Pure(encoding), None);
            let found = logits(&file);
            let error = want
                .iter()
                .zip(&found)
                .fold(0.0f32, |a, (x, y)| a.max((x - y).abs()));
            assert!(
                error <= bound(encoding) * largest,
                "{encoding}: {error} of {largest}"
            );
            // The same matrices, from llama2.c's own int8, written as Q8_0 blocks.
            let encodings = Checkpoint::open(&mut &file[..]).unwrap().encodings();
            assert_eq!(encodings[0].0, encoding);
        }
    }
}

#[test]
fn rows_that_a_block_does_not_divide_stay_in_half_precision() {
    let config = Config {
        dim: 48,
        hidden_dim: 96,
        n_kv_heads: 4,
        ..SMALL
    };
    let file = as_gguf(
        &Maker::random(config, 5).v0(),
        Mixture::Pure(Encoding::Q4_0),
        None,
    );
    let encodings = Checkpoint::open(&mut &file[..]).unwrap().encodings();
    // w2 reads 96 columns; all others read 48.
    assert_eq!(encodings, [(Encoding::F16, 2 + 6 * 2), (Encoding::Q4_0, 2)]);
    assert!(logits(&file).iter().all(|x| x.is_finite()));
}

#[test]
fn the_tokenizer_comes_back() {
    let model = std::fs::read(bundled("stories330K.bin")).unwrap();
    let tokenizer = std::fs::read(bundled("tokenizer.bin")).unwrap();
    let tokenizer = Tokenizer::load(&mut &tokenizer[..]).unwrap();
    let file = as_gguf(&model, Mixture::Pure(Encoding::Q8_0), Some(&tokenizer));
    let found = Tokenizer::from_gguf(&mut &file[..]).unwrap();
    assert_eq!(found.vocab_size(), tokenizer.vocab_size());
    // Its texts are run.c's, and end where run.c's end.
    assert!(found.is_llama2c() && found.is_end(1) && !found.is_end(2));
    for text in [
        "",
        "Once upon a time",
        "  two  spaces ",
        "Ünïcode – 日本 🙂\n",
        "<s> </s> <0x41>",
    ] {
        let text = text.as_bytes();
        assert_eq!(
            found.encode(text, true, false),
            tokenizer.encode(text, true, false)
        );
    }
    let scores = |t: &Tokenizer| t.pieces().map(|(_, score)| score).collect::<Vec<_>>();
    assert_eq!(scores(&found), scores(&tokenizer));
}

/// The sentence that refuses `bytes`.
fn refusal(bytes: &[u8]) -> String {
    match Checkpoint::open(&mut &bytes[..]) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error.to_string(),
    }
}

/// A file's bytes with the first `old` replaced by `new`, which may be as long only.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at = bytes.windows(old.len()).position(|window| window == old);
    let at = at.unwrap_or_else(|| panic!("{old:?} is not in it"));
    let mut out = bytes.to_vec();
    out[at..at + new.len()].copy_from_slice(new);
    out
}

/// A file with eight bytes written behind a key's type, or anywhere else behind `mark`.
fn after(bytes: &[u8], mark: &str, skip: usize, new: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(mark.len())
        .position(|w| w == mark.as_bytes())
        .unwrap();
    let mut out = bytes.to_vec();
    out[at + mark.len() + skip..][..new.len()].copy_from_slice(new);
    out
}

#[test]
fn lies_are_refused_in_a_sentence() {
    let good = as_gguf(
        &Maker::random(SMALL, 3).v0(),
        Mixture::Pure(Encoding::Q8_0),
        None,
    );
    let huge = (1u64 << 63).to_le_bytes();
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "version",
            replaced(&good, b"GGUF\x03", b"GGUF\x07"),
            "has GGUF version 7, but only 2 and 3",
        ),
        (
            "big-endian",
            replaced(&good, b"GGUF\x03\0\0\0", b"GGUF\0\0\0\x03"),
            "big-endian",
        ),
        (
            "tensors",
            after(&good, "GGUF", 4, &huge),
            "9223372036854775808 tensors",
        ),
        (
            "entries",
            after(&good, "GGUF", 12, &huge),
            "metadata entries",
        ),
        (
            "a key's length",
            after(&good, "GGUF", 20, &huge),
            "a key at byte 24",
        ),
        (
            "a text's length",
            after(&good, "general.name", 4, &huge),
            "a text at byte",
        ),
        (
            "a value's type",
            after(&good, "general.name", 0, &[99]),
            "has type 99",
        ),
        (
            "architecture",
            replaced(
                &good,
                b"\x05\0\0\0\0\0\0\0llama",
                b"\x05\0\0\0\0\0\0\0mamba",
            ),
            "architecture \"mamba\" is not supported (supported: llama",
        ),
        (
            "a missing key",
            replaced(&good, b"llama.block_count", b"llama.block_COUNT"),
            "\"llama.block_count\" is not in it",
        ),
        (
            "a wrong kind",
            after(&good, "llama.block_count", 0, &[6]),
            "must be a whole number",
        ),
        (
            "zero",
            after(&good, "llama.embedding_length", 4, &[0; 4]),
            "must be 1 to",
        ),
        (
            "heads",
            after(&good, "llama.attention.head_count", 4, &[7]),
            "n_heads 7 does not divide dim 64",
        ),
        (
            "RoPE",
            after(&good, "llama.rope.dimension_count", 4, &[8]),
            "is not the width of a head, 16",
        ),
        (
            "epsilon",
            after(
                &good,
                "llama.attention.layer_norm_rms_epsilon",
                4,
                &f32::NAN.to_le_bytes(),
            ),
            "must be a positive number",
        ),
        (
            "a tensor's name",
            replaced(&good, b"blk.1.attn_q.weight", b"blk.1.attn_Q.weight"),
            "attn_Q",
        ),
        (
            "a missing layer",
            replaced(&good, b"blk.1.attn_q.weight", b"blk.0.attn_q.weight"),
            "is in it twice",
        ),
        (
            "a layer too many",
            replaced(&good, b"blk.1.attn_q.weight", b"blk.7.attn_q.weight"),
            "is of a layer that it does not have",
        ),
        (
            "dimensions",
            after(&good, "\0output.weight", 0, &[9]),
            "has 9 dimensions",
        ),
        (
            "columns",
            after(&good, "\0output.weight", 4, &[65]),
            "has 65 columns and 40 rows",
        ),
        (
            "a tensor's type",
            after(&good, "\0output.weight", 20, &[21]),
            "is of type IQ3_S, which is not supported",
        ),
        (
            "which other file to take",
            after(&good, "\0output.weight", 20, &[39]),
            "use the model's Q4_K_M file instead",
        ),
        (
            "a type whose blocks are longer than the rows",
            after(&good, "\0output.weight", 20, &[12]),
            "rows of 64 numbers, which are not whole blocks of its type Q4_K (256)",
        ),
        (
            "no type at all",
            after(&good, "\0output.weight", 20, &[77]),
            "is of type 77",
        ),
        (
            "an offset",
            after(&good, "\0output.weight", 24, &huge),
            "but the file has",
        ),
        (
            "an odd offset",
            after(&good, "\0output.weight", 24, &[1]),
            "is no multiple of 32",
        ),
        (
            "an overlap",
            after(&good, "output_norm.weight", 16, &[0; 8]),
            "are in the same place",
        ),
        (
            "cut short",
            good[..good.len() - 64].to_vec(),
            "but the file has",
        ),
        ("cut in the metadata", good[..300].to_vec(), ""),
    ];
    for (what, bytes, words) in cases {
        let said = refusal(&bytes);
        assert!(said.contains(words), "{what}: {said}");
        assert!(!said.contains('\n') && said.len() < 300, "{what}: {said}");
    }
}

/// Every byte of the description changed in several ways, and the file cut at every place: a
/// sentence or a model, never a panic, and never more memory than the file is worth.
#[test]
fn mutations_never_panic() {
    let good = as_gguf(
        &Maker::random(SMALL, 3).v0(),
        Mixture::Pure(Encoding::Q4_0),
        None,
    );
    let described = good
        .windows(14)
        .rposition(|w| w.starts_with(b"ffn_up.weight"))
        .unwrap()
        + 64;
    let (mut opened, mut refused) = (0, 0);
    let mut check = |bytes: &[u8]| match Checkpoint::open(&mut &bytes[..]) {
        Ok(checkpoint) => {
            opened += 1;
            if Memory::whole(&checkpoint, KvType::F32).total() < 1 << 24 {
                // Other bytes may be taken for the numbers than those that were written as such.
                let loaded = load(bytes).map(drop);
                let is_fine = matches!(loaded, Ok(()) | Err(Error::NotFinite { .. }));
                assert!(is_fine, "{loaded:?}");
            }
        }
        Err(Error::Gguf(error)) => {
            refused += 1;
            assert!(!error.to_string().is_empty());
        }
        Err(error) => {
            refused += 1;
            assert!(!error.to_string().is_empty());
        }
    };
    for at in 4..described {
        for change in [
            0,
            1,
            0x7f,
            0x80,
            0xff,
            good[at] ^ 1,
            good[at].wrapping_add(1),
        ] {
            let mut bytes = good.clone();
            bytes[at] = change;
            check(&bytes);
        }
        check(&good[..at]);
        if at + 8 <= good.len() {
            for value in [u64::MAX, 1 << 63, u64::MAX / 4, 1 << 32] {
                let mut bytes = good.clone();
                bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
                check(&bytes);
            }
        }
    }
    assert!(
        opened > 1000 && refused > 10_000,
        "{opened} opened, {refused} refused"
    );
}
