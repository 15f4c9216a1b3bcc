//! Checkpoints that are not what they should be: one sentence each, with the number that is wrong;
//! never a panic, and never an allocation from an unchecked number.

use std::ops::ControlFlow;

use llama2_engine::{
    checkpoint::{Checkpoint, Error, Format},
    config::{Config, Variant},
    context::Memory,
    model::Model,
    session::KvType,
    source::{ByteSource, ReadError},
};
use llama2_testing::{Maker, load};

const SMALL: Config = Config {
    dim: 8,
    hidden_dim: 12,
    n_layers: 2,
    n_heads: 4,
    n_kv_heads: 2,
    vocab_size: 11,
    seq_len: 5,
    shared_classifier: true,
    variant: Variant::LLAMA2C,
};

fn small() -> Maker {
    Maker::random(SMALL, 3)
}

fn open(bytes: &[u8]) -> Result<Checkpoint, Error> {
    Checkpoint::open(&mut &bytes[..])
}

/// The sentence that `bytes` are refused with.
fn refusal(bytes: &[u8]) -> String {
    let error = open(bytes).expect_err("this must be refused").to_string();
    assert!(
        !error.contains('\n') && error.len() > 20,
        "not a sentence: {error:?}"
    );
    error
}

/// `bytes` with the header's `index`th number changed.
fn with_number(mut bytes: Vec<u8>, index: usize, value: i32) -> Vec<u8> {
    let at = if bytes.starts_with(b"24ka") { 8 } else { 0 } + 4 * index;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[test]
fn good_files_are_recognised_by_their_bytes() {
    let maker = small();
    for (bytes, format) in [
        (maker.v0(), Format::V0),
        (maker.v1(), Format::V1),
        (maker.v2(4), Format::V2 { group_size: 4 }),
    ] {
        let checkpoint = open(&bytes).unwrap();
        assert_eq!((checkpoint.format, checkpoint.config), (format, SMALL));
        load(&bytes).unwrap();
    }
    let separate = Maker::random(
        Config {
            shared_classifier: false,
            ..SMALL
        },
        3,
    );
    for bytes in [separate.v0(), separate.v1(), separate.v2(2)] {
        assert!(!open(&bytes).unwrap().config.shared_classifier);
        load(&bytes).unwrap();
    }
}

#[test]
fn sizes() {
    assert!(refusal(b"").contains("empty"));
    for bytes in [small().v0(), small().v1(), small().v2(4)] {
        for len in [1, 3, 4, 27] {
            assert!(
                refusal(&bytes[..len]).contains(&format!("has {len} bytes")),
                "{}",
                refusal(&bytes[..len])
            );
        }
        let full = bytes.len();
        let short = refusal(&bytes[..full - 1]);
        assert!(
            short.contains("cut short") && short.contains("dim 8, 2 layers, vocab 11"),
            "{short}"
        );
        let mut long = bytes.clone();
        long.extend([0; 7]);
        assert!(refusal(&long).contains("7 too many"), "{}", refusal(&long));
    }
    // The sentence of the style guide, with stories15M's header.
    let header: Vec<u8> = [288, 768, 6, 6, 6, 32000, 256]
        .into_iter()
        .flat_map(i32::to_le_bytes)
        .chain([0; 996])
        .collect();
    assert_eq!(
        refusal(&header),
        "needs 60816028 bytes for dim 288, 6 layers, vocab 32000, but the file has 1024: it is cut short; fetch it again"
    );
}

#[test]
fn numbers() {
    const NAMES: [&str; 7] = [
        "dim",
        "hidden_dim",
        "n_layers",
        "n_heads",
        "n_kv_heads",
        "vocab_size",
        "seq_len",
    ];
    for bytes in [small().v0(), small().v1(), small().v2(4)] {
        let v0 = !bytes.starts_with(b"24ka");
        for (index, name) in NAMES.into_iter().enumerate() {
            for value in [0, -1, i32::MIN, i32::MAX, 1 << 25] {
                if v0 && index == 5 && value == -1 {
                    continue; // A negative vocabulary means a separate classifier.
                }
                let found = refusal(&with_number(bytes.clone(), index, value));
                assert!(found.contains(name), "{name} = {value}: {found}");
            }
        }
        assert!(
            refusal(&with_number(bytes.clone(), 3, 3)).contains("n_heads 3 does not divide dim 8")
        );
        assert!(
            refusal(&with_number(bytes.clone(), 4, 3))
                .contains("n_kv_heads 3 does not divide n_heads 4")
        );
        assert!(refusal(&with_number(bytes.clone(), 3, 8)).contains("heads are 1 wide"));
    }
    for version in [0, 3, -1] {
        let mut bytes = small().v1();
        bytes[4..8].copy_from_slice(&i32::to_le_bytes(version));
        assert!(refusal(&bytes).contains(&format!("version {version}")));
    }
    for (group, word) in [
        (0, "group size is 0"),
        (-4, "group size is -4"),
        (3, "group size 3 does not divide dim 8"),
        (8, "hidden_dim 12"),
    ] {
        let mut bytes = small().v2(4);
        bytes[37..41].copy_from_slice(&i32::to_le_bytes(group));
        assert!(refusal(&bytes).contains(word), "{}", refusal(&bytes));
    }
    // A group whose products would leave the 32 bits that they are added in.
    let mut wide = small().v2(4);
    for index in [0, 1] {
        wide = with_number(wide, index, 1 << 18);
    }
    wide[37..41].copy_from_slice(&i32::to_le_bytes(1 << 18));
    assert!(refusal(&wide).contains("group size is 262144, but must be 1 to 65536"));
    // All numbers allowed, their product not.
    let mut huge = small().v1();
    for (index, value) in [1 << 24, 1 << 24, 1 << 12, 1, 1, 1 << 24, 1 << 24]
        .into_iter()
        .enumerate()
    {
        huge = with_number(huge, index, value);
    }
    let sentence = refusal(&huge);
    assert!(
        sentence.contains("64 bits") || sentence.contains("cut short"),
        "{sentence}"
    );
}

#[test]
fn other_formats_are_named() {
    for (start, word) in [
        (&b"PK\x03\x04\x14\0"[..], "zip"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (b"<!DOCTYPE html>", "web page"),
        (b"\x10\x27\0\0\0\0\0\0{\"__metadata__\"", "safetensors"),
        (b"\x10\x27\0\0\0\0\0\0{ \"lm_head\"", "safetensors"),
        (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P", "pickle"),
        (b"\x80\x04\x95\x1a\0\0\0\0\0\0\0}", "pickle"),
        (b"lmgg\0\x01\0\0", "GGML"),
        (b"fmgg\x01\0\0\0", "GGMF"),
        (b"tjgg\x03\0\0\0", "GGJT"),
        (b"algg\x01\0\0\0", "GGLA"),
        (b"\xfd7zXZ\0\0\x04", "unpack it"),
        (b"\n <?xml version=\"1.0\"?>", "web page"),
        (b"\xef\xbb\xbf<html lang=\"en\">", "web page"),
        (b"root:x:0:0:root:/root:/bin/bash\n", "a text file"),
        (
            b"{\"architectures\": [\"LlamaForCausalLM\"]}",
            "a text file",
        ),
        (
            "\u{e4}\u{20ac} \u{65e5}\u{672c}\r\n".as_bytes(),
            "a text file",
        ),
        (b"\xff\xfeA\0b\0c\0d\0", "a text file"),
    ] {
        let mut bytes = start.to_vec();
        bytes.resize(1000, b' ');
        let said = refusal(&bytes);
        let both = "neither a GGUF file nor a llama2.c checkpoint";
        assert!(said.contains(word) && said.contains(both), "{said}");
    }
    // A text that is cut within a character is one.
    assert!(refusal("\u{20ac}".repeat(400).as_bytes()).contains("a text file"));
    // Numbers that look like another format's beginning are numbers.
    let pickles = [640, 896, 1152].map(|dim| Config { dim, ..SMALL });
    let layers = [123, 8315].map(|n_layers| Config { n_layers, ..SMALL });
    for config in pickles.into_iter().chain(layers.into_iter().take(1)) {
        assert_eq!(open(&Maker::random(config, 3).v0()).unwrap().config, config);
    }
}

/// A number that is none, or infinite, in any tensor: named, before anything is said with it.
#[test]
fn numbers_that_are_none() {
    let loaded = |bytes: &[u8]| load(bytes).map(drop).map_err(|error| error.to_string());
    let (v0, v1, v2) = (small().v0(), small().v1(), small().v2(4));
    // Behind the header: the embedding, or the norms; of int8 the first group's scale.
    let scales = 256 + 4 * (2 * 2 * 8 + 8) + 11 * 8;
    for (bytes, at, name) in [
        (&v0, 28, "token_embd.weight"),
        (&v1, 256, "blk.0.attn_norm.weight"),
        (&v2, 256, "blk.0.attn_norm.weight"),
        (&v2, scales, "token_embd.weight"),
    ] {
        assert_eq!(loaded(bytes), Ok(()));
        for number in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN] {
            let mut bad = bytes.clone();
            bad[at..at + 4].copy_from_slice(&number.to_le_bytes());
            let said = loaded(&bad).unwrap_err();
            assert!(
                said.contains(name) && said.contains("not numbers"),
                "{said}"
            );
        }
    }
    // v0's tables are read by nobody.
    let mut tables = v0.clone();
    let end = tables.len();
    tables[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_eq!(loaded(&tables), Ok(()));
}

#[test]
fn too_little_memory_is_said_before_anything_is_read() {
    let memory = Memory::whole(&open(&small().v0()).unwrap(), KvType::F32);
    assert!(memory.check(memory.total()).is_ok());
    assert!(matches!(
        memory.check(memory.total() - 1),
        Err(Error::Memory { .. })
    ));
    let error = Error::Memory {
        needed: 513_879_068,
        free: 190_000_000,
    };
    assert!(
        error.to_string().starts_with("needs 490 MiB, 181 MiB free"),
        "{error}"
    );
}

/// A medium that fails from one byte on.
struct Faulty {
    bytes: Vec<u8>,
    broken_from: u64,
}

impl ByteSource for Faulty {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        if offset + buf.len() as u64 > self.broken_from {
            return Err(ReadError::new(self.broken_from, "DEVICE_ERROR".into()));
        }
        (&self.bytes[..]).read_at(offset, buf)
    }
}

#[test]
fn a_medium_that_fails_and_a_user_who_stops() {
    let bytes = small().v0();
    for broken_from in [0, 10, 100, bytes.len() as u64 - 1] {
        let mut source = Faulty {
            bytes: bytes.clone(),
            broken_from,
        };
        let loaded = Checkpoint::open(&mut source).and_then(|checkpoint| {
            Model::load(&checkpoint, &mut source, &mut |_| ControlFlow::Continue(()))
        });
        let error = loaded.err().expect("the medium is broken").to_string();
        assert!(
            error.contains(&format!("byte {broken_from}")) && error.contains("DEVICE_ERROR"),
            "{error}"
        );
    }
    let checkpoint = open(&bytes).unwrap();
    let mut pieces = 0;
    let stopped = Model::load(&checkpoint, &mut &bytes[..], &mut |progress| {
        assert_eq!(progress.total, bytes.len() as u64);
        pieces += 1;
        if pieces == 4 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((stopped.err(), pieces), (Some(Error::Stopped), 4));
}

/// Any header at all: opened or refused, and what is opened loads.
#[test]
fn mutated_headers_never_panic() {
    let mut seed = 88_172_645_463_325_252u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let originals = [small().v0(), small().v1(), small().v2(4)];
    let interesting = [
        0,
        1,
        -1,
        2,
        3,
        7,
        8,
        255,
        256,
        65_536,
        1 << 24,
        (1 << 24) + 1,
        i32::MAX,
        i32::MIN,
    ];
    let (mut opened, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut bytes = originals[(random() % 3) as usize].clone();
        let header = if bytes.starts_with(b"24ka") { 41 } else { 28 };
        for _ in 0..=random() % 3 {
            match random() % 3 {
                0 => bytes[(random() % header) as usize] = random() as u8,
                1 => {
                    let at = (random() % (header - 4)) as usize;
                    let value = interesting[(random() % interesting.len() as u64) as usize];
                    bytes[at..at + 4].copy_from_slice(&i32::to_le_bytes(value));
                }
                _ => bytes.truncate((random() % (bytes.len() as u64 + 1)) as usize),
            }
            if bytes.len() < header as usize {
                break;
            }
        }
        match open(&bytes) {
            Ok(checkpoint) => {
                opened += 1;
                assert!(
                    Memory::whole(&checkpoint, KvType::F32).total() > 0
                        && checkpoint.parameters() > 0
                );
                if Memory::whole(&checkpoint, KvType::F32).total() < 1 << 24 {
                    load(&bytes).unwrap();
                }
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(
        opened > 1000 && refused > 100_000,
        "{opened} opened, {refused} refused: the mutations are too tame or too wild"
    );
}
