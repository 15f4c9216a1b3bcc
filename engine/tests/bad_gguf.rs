//! GGUF files that lie, key by key: each is refused in one sentence with the key or number that is wrong, in bounded time and
//! memory.

mod common;

use std::time::Instant;

use common::{
    family::Gguf,
    gauge::{Gauge, bounded},
    seeds::{byte_level, small},
};
use llama2_engine::{
    chat::Template,
    checkpoint::Checkpoint,
    gguf,
    source::Joined,
    tokenizer::{Ids, Merging, Tokenizer, Vocabulary},
};

#[global_allocator]
static ALLOCATOR: Gauge = Gauge;

/// The sentence that refuses a model.
fn refusal(bytes: &[u8]) -> String {
    let bound = 24 * bytes.len() as u64 + (256 << 10);
    let opened = bounded("opening", bound, || Checkpoint::open(&mut &bytes[..]));
    let said = opened.expect_err("it was opened").to_string();
    assert!(
        said.chars().count() < 300 && !said.contains(char::is_control),
        "{said}"
    );
    said
}

/// The sentence that refuses a file's tokenizer.
fn wordless(file: &Gguf) -> String {
    let said = gguf::tokenizer(&mut &file.bytes()[..])
        .err()
        .expect("it was taken");
    assert!(
        said.chars().count() < 300 && !said.contains(char::is_control),
        "{said}"
    );
    said
}

fn with(change: impl FnOnce(&mut Gguf)) -> Vec<u8> {
    let mut file = small("llama");
    change(&mut file);
    file.bytes()
}

#[test]
fn numbers_that_no_model_has() {
    let double = |x: f64| x.to_le_bytes();
    let base = "llama.rope.freq_base";
    let positive = "must be a positive number in the range of single precision";
    for x in [
        0.0,
        -0.0,
        -1.0,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e-45,
    ] {
        for key in [
            base,
            "llama.attention.layer_norm_rms_epsilon",
            "llama.rope.scaling.factor",
        ] {
            let said = refusal(&with(|file| file.f32(key, x)));
            assert!(
                said.contains(key) && said.contains(positive),
                "{key} = {x}: {said}"
            );
        }
    }
    // Doubles that single precision has no room for: infinity or zero, once they are converted.
    for x in [1e39, 1e300, 1e-50, f64::MIN_POSITIVE] {
        let said = refusal(&with(|file| file.set(base, 12, &double(x))));
        assert!(said.contains(positive), "{x}: {said}");
    }
    for x in [1e38, 1.0, 1e-30] {
        let bytes = with(|file| file.set(base, 12, &double(x)));
        Checkpoint::open(&mut &bytes[..]).unwrap_or_else(|error| panic!("{x}: {error}"));
    }
    for (key, value, words) in [
        ("attention.key_length", 15, "heads are 15 wide"),
        ("attention.key_length", 0, "must be 1 to"),
        ("attention.key_length", u32::MAX, "must be 1 to"),
        (
            "attention.head_count",
            3,
            "n_kv_heads 2 does not divide n_heads 3",
        ),
        ("attention.head_count_kv", 0, "must be 1 to"),
        (
            "attention.head_count_kv",
            3,
            "n_kv_heads 3 does not divide n_heads 2",
        ),
        ("block_count", 0, "must be 1 to"),
        ("block_count", 4097, "must be 1 to 4096"),
        ("block_count", 2, "\"blk.1.attn_norm.weight\" is not in it"),
        ("context_length", 0, "must be 1 to"),
        ("context_length", 1 << 25, "must be 1 to 16777216"),
        ("embedding_length", 64, "columns"),
        ("expert_count", 8, "mixture of experts"),
        ("rope.dimension_count", 8, "is not the width of a head, 16"),
        (
            "attention.value_length",
            8,
            "is not the width of a head, 16",
        ),
    ] {
        let said = refusal(&with(|file| {
            if value == 3 && key == "attention.head_count" {
                file.u32("llama.attention.head_count_kv", 2);
            }
            file.u32(&format!("llama.{key}"), value);
        }));
        assert!(said.contains(words), "{key} = {value}: {said}");
    }
}

#[test]
fn every_key_missing_or_of_another_type() {
    for architecture in ["llama", "qwen2", "qwen3", "granite"] {
        let good = small(architecture);
        assert!(Checkpoint::open(&mut &good.bytes()[..]).is_ok());
        let keys: Vec<String> = good.keys().map(Into::into).collect();
        let (mut opened, mut refused) = (0, 0);
        let mut check = |file: &Gguf, key: &str| match Checkpoint::open(&mut &file.bytes()[..]) {
            Ok(_) => opened += 1,
            Err(error) => {
                refused += 1;
                let said = error.to_string();
                let named = ["heads", "columns", "architecture", "RoPE", key]
                    .iter()
                    .any(|word| said.contains(word));
                assert!(named && said.len() < 300, "{key}: {said}");
            }
        };
        for key in &keys {
            let mut file = good.clone();
            file.remove(key);
            check(&file, key);
            let text = [2u64.to_le_bytes().as_slice(), b"hi"].concat();
            let numbers = [4u32.to_le_bytes().as_slice(), &1u64.to_le_bytes(), &[7; 4]].concat();
            for (kind, value) in [
                (1, &[0xff][..]),
                (4, &[0xff; 4]),
                (5, &[0xff; 4]),
                (6, &[0, 0, 0xc0, 0x7f]),
                (7, &[1]),
                (8, &text),
                (9, &numbers),
                (10, &[0xff; 8]),
                (12, &[0xff; 8]),
            ] {
                let mut file = good.clone();
                file.set(key, kind, value);
                check(&file, key);
            }
        }
        assert!(
            refused > 60 && opened < refused / 4,
            "{architecture}: {opened}, {refused}"
        );
    }
}

#[test]
fn alignments_and_dimensions() {
    for alignment in [0, 3, 33, 1 << 21, u32::MAX] {
        let said = refusal(&with(|file| file.u32("general.alignment", alignment)));
        assert!(
            said.contains("\"general.alignment\" must be a power of two"),
            "{said}"
        );
    }
    let said = refusal(&with(|file| {
        file.set("general.alignment", 10, &(1u64 << 63).to_le_bytes())
    }));
    assert!(said.contains("a power of two"), "{said}");
    for (shape, words) in [
        (vec![], "has 0 dimensions"),
        (vec![32, 3, 1, 1, 1], "has 5 dimensions"),
        (vec![32, 3, 2], "has 3 dimensions"),
        (vec![32, 0], "has 0 rows"),
        (vec![0, 3], "has 0 columns"),
        (vec![32, 1 << 30], "has 1073741824 rows"),
        (vec![32, usize::MAX], "rows"),
    ] {
        let said = refusal(&with(|file| file.tensors[0].shape = shape));
        assert!(said.contains(words), "{said}");
    }
    // Dimensions of one number change nothing.
    let bytes = with(|file| file.tensors[0].shape = vec![32, 3, 1, 1]);
    assert!(Checkpoint::open(&mut &bytes[..]).is_ok());
}

#[test]
fn names_of_any_length_make_no_long_sentence() {
    let long = "\u{1b}[2J\u{e4}'\"".repeat(8_000);
    for change in [
        |file: &mut Gguf, long: &str| file.tensors[1].name = long[..900].into(),
        |file: &mut Gguf, long: &str| file.text("general.architecture", long),
        |file: &mut Gguf, long: &str| file.set(&format!("general.{long}"), 99, &[]),
        |file: &mut Gguf, long: &str| file.text("llama.rope.scaling.type", long),
    ] {
        let said = refusal(&with(|file| change(file, &long)));
        assert!(
            said.contains("\\u{1b}[2Jä'\\\"\\u{1b}[2J") && said.contains('…'),
            "{said}"
        );
    }
    for key in ["tokenizer.ggml.model", "tokenizer.ggml.pre"] {
        let mut file = byte_level("qwen2");
        file.text(key, &long);
        assert!(wordless(&file).contains("\\u{1b}[2J"));
    }
    let said = refusal(&with(|file| file.tensors[1].name = "x".repeat(1025)));
    let words = "says that it is 1025 long, and no model has a longer one than 1024";
    assert!(said.contains(words), "{said}");
    // Nor does a list of tensors move the cursor.
    let bytes = with(|file| file.tensors[0].name = "\u{1b}[2J\n".into());
    let listed = gguf::tensors(&mut &bytes[..]).unwrap();
    assert!(!listed[0].to_string().contains(char::is_control));
}

/// A file of `count` entries or tensors of the least size.
fn many(tensors: u64, entries: u64) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    out.extend(tensors.to_le_bytes());
    out.extend(entries.to_le_bytes());
    for i in 0..entries {
        let key = format!("split.{i}");
        out.extend((key.len() as u64).to_le_bytes());
        out.extend(key.as_bytes());
        out.extend([0, 0, 0, 0, 7]);
    }
    out.resize(out.len() + 32 * tensors as usize, 0);
    out
}

#[test]
fn more_than_any_model_has_is_not_kept() {
    assert!(refusal(&many(0, 1 << 16)).contains("general.architecture"));
    let said = refusal(&many(0, (1 << 16) + 1));
    assert!(
        said.contains("65537 metadata entries, and no model has more than 65536"),
        "{said}"
    );
    let said = refusal(&many((1 << 16) + 1, 0));
    assert!(said.contains("65537 tensors"), "{said}");
    let said = refusal(&with(|file| {
        for i in 0..17 {
            file.text(&format!("general.text{i}"), &"x".repeat(1 << 20));
        }
    }));
    assert!(said.contains("bytes of texts in its metadata"), "{said}");
}

/// An array of `count` elements.
fn array(kind: u32, count: u64, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), bytes].concat()
}

#[test]
fn arrays_that_lie() {
    for (kind, count, words) in [
        (10, 1 << 61, "an array at byte"),
        (10, u64::MAX, "an array at byte"),
        (0, 1 << 40, "an array at byte"),
        (8, 1 << 60, "an array at byte"),
        (9, 1, "has type 9"),
        (77, 0, "has type 77"),
    ] {
        let said = refusal(&with(|file| {
            file.set("general.tags", 9, &array(kind, count, &[0; 8]))
        }));
        assert!(said.contains(words), "{kind}: {said}");
    }
}

#[test]
fn vocabularies_that_lie() {
    let (tokens, types) = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type");
    type Change<'a> = (&'a dyn Fn(&mut Gguf), &'a str);
    let empty = |count: u64| array(8, count, &vec![0; 8 * count as usize]);
    let cases: [Change; 14] = [
        (
            &|f| f.u32("tokenizer.ggml.bos_token_id", 320),
            "BOS is token 320, but has 320 tokens",
        ),
        (
            &|f| f.u32("tokenizer.ggml.eos_token_id", u32::MAX),
            "EOS is token 4294967295",
        ),
        (
            &|f| f.set("tokenizer.ggml.eos_token_id", 11, &[0xff; 8]),
            "eos_token_id",
        ),
        (
            &|f| f.set(types, 9, &array(5, 319, &[0; 4 * 319])),
            "a whole number for each token",
        ),
        (
            &|f| f.set(types, 9, &array(6, 320, &[0; 4 * 320])),
            "a whole number for each token",
        ),
        (&|f| f.u32(types, 1), "must be an array"),
        (
            &|f| f.set(tokens, 9, &array(4, 320, &[0; 4 * 320])),
            "must be texts",
        ),
        (&|f| f.text(tokens, "a"), "must be an array"),
        (
            &|f| f.remove(tokens),
            "\"tokenizer.ggml.tokens\" is not in it",
        ),
        (
            &|f| f.remove("tokenizer.ggml.merges"),
            "\"tokenizer.ggml.merges\" is not in it",
        ),
        (
            &|f| f.texts(tokens, &["x".repeat(9_000)]),
            "says that it is 9000 long, and no model has a longer one than 8193",
        ),
        (
            &|f| f.set(tokens, 9, &array(8, 1, b"\x01\0\0\0\0\0\0\0\xff")),
            "is not UTF-8",
        ),
        (
            &|f| f.set(tokens, 9, &empty((1 << 20) + 1)),
            "1048577 tokens",
        ),
        (
            &|f| f.text("tokenizer.ggml.add_bos_token", "yes"),
            "must be true or false",
        ),
    ];
    for (change, words) in cases {
        let mut file = byte_level("qwen2");
        change(&mut file);
        let said = wordless(&file);
        assert!(said.contains(words), "{words}: {said}");
    }
}

#[test]
fn parts_that_are_not_what_they_say() {
    let open = |parts: &[&Vec<u8>]| {
        let parts = parts.iter().map(|part| &part[..]).collect();
        Checkpoint::open(&mut Joined::new(parts))
    };
    let parts = small("llama").split(2);
    assert!(open(&[&parts[0], &parts[1]]).is_ok());
    for (order, words) in [
        (&[1, 0][..], "in the place of part 1 of 2"),
        (&[0, 0], "in the place of part 2 of 2"),
        (&[1, 1], "in the place of part 1 of 2"),
        (&[0], "split into 2 files, but 1 are here"),
        (&[0, 1, 1], "split into 2 files, but 3 are here"),
    ] {
        let chosen: Vec<_> = order.iter().map(|&i| &parts[i]).collect();
        let said = open(&chosen).unwrap_err().to_string();
        assert!(said.contains(words), "{order:?}: {said}");
    }
    let none = Vec::new();
    for chosen in [[&parts[0], &none], [&none, &parts[1]], [&none, &none]] {
        assert!(!open(&chosen).unwrap_err().to_string().is_empty());
    }
    for count in [1025u16, 65_535] {
        let said = refusal(&with(|file| {
            file.set("split.count", 2, &count.to_le_bytes())
        }));
        assert!(said.contains("\"split.count\" must be 1 to 1024"), "{said}");
    }
}

/// How long `work` takes, in seconds.
fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64()
}

/// Templates of nothing but beginnings: searched once, not once for each.
#[test]
fn a_template_of_marks_is_soon_read() {
    for mark in [
        "<|im_start|>system\\n",
        "<|im_start|>system\\n<|im_",
        "<|im_start|>",
        "[INST]",
    ] {
        let jinja = mark.repeat((1 << 20) / mark.len());
        let took = seconds(|| Template::of(&jinja));
        assert!(took < 2.0, "{mark}: {took:.1} s");
    }
}

/// Thousands of words that stand for themselves: found in the time of the text, and as searching for one after another, the
/// longest first, finds them.
#[test]
fn own_words_are_found_in_the_time_of_the_text() {
    let mut words: Vec<String> = (0..=255)
        .map(|byte| common::family::letter(byte).into())
        .collect();
    let letters = || "abc".chars();
    for a in letters() {
        words.push(format!("{a}{a}"));
        for b in letters() {
            words.push(format!("{b}{a}{a}"));
            letters().for_each(|c| words.push(format!("{a}{c}{b}{a}")));
        }
    }
    let few = words.len();
    words.extend((0..20_000).map(|i| format!("word{i}")));
    let mut types = vec![4; words.len()];
    types[..256].fill(1);
    let vocabulary = |count: usize| {
        let made = Tokenizer::new(&Vocabulary {
            words: &words[..count],
            types: &types[..count],
            merging: Merging::Ranks(&[]),
            ids: Ids::default(),
            add_bos: None,
            add_eos: None,
            add_space_prefix: None,
            pre: Some("gpt-2"),
            name: "",
            chats: false,
        });
        made.unwrap()
    };
    let mut seed = 3u32;
    let text: String = (0..64 << 10)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b"abcd"[(seed >> 28) as usize % 4])
        })
        .collect();
    let many = vocabulary(words.len());
    let mut found = Vec::new();
    let took = seconds(|| found = many.encode(text.as_bytes(), false, false));
    assert!(took < 2.0, "{took:.1} s");
    assert_eq!(found, vocabulary(few).encode(text.as_bytes(), false, false));

    // The definition, word by word.
    let mut order: Vec<u32> = (256..few as u32).collect();
    let word = |token: u32| &words[token as usize][..];
    order.sort_by_key(|&token| (core::cmp::Reverse(word(token).len()), token));
    let short = &text[..2000];
    let mut parts: Vec<Result<&str, u32>> = vec![Ok(short)];
    for token in order {
        let cut = |part| match part {
            Ok(text) => {
                let text: &str = text;
                let mut out: Vec<Result<&str, u32>> = Vec::new();
                for piece in text.split(word(token)) {
                    out.extend([Ok(piece), Err(token)]);
                }
                out.pop();
                out
            }
            Err(token) => vec![Err(token)],
        };
        parts = parts.into_iter().flat_map(cut).collect();
    }
    let want: Vec<u32> = parts
        .into_iter()
        .flat_map(|part| match part {
            Ok(text) => text.bytes().map(u32::from).collect(),
            Err(token) => vec![token],
        })
        .collect();
    assert_eq!(many.encode(short.as_bytes(), false, false), want);
}
