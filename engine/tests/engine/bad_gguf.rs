//! GGUF files that lie, key by key: each is refused in one sentence with the key or number that is
//! wrong, in bounded time and memory.

use std::time::Instant;

use llama2_engine::{
    checkpoint::Checkpoint,
    gguf,
    source::Joined,
    tokenizer::{Ids, Merging, Tokenizer, Vocabulary},
};
use llama2_testing::{
    family::Gguf,
    gauge::bounded,
    seeds::{byte_level, small},
};

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
    let said = Tokenizer::from_gguf(&mut &file.bytes()[..])
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
            if x == 0.0 && key == "llama.rope.scaling.factor" {
                continue; // 0 says that there is none.
            }
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
    let cases: [Change; 10] = [
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

/// Numbers that are not set where they are 0, as llama.cpp reads them.
#[test]
fn zero_is_not_set() {
    let config = |architecture: &str, change: &dyn Fn(&mut Gguf)| {
        let mut file = small(architecture);
        change(&mut file);
        Checkpoint::open(&mut &file.bytes()[..]).unwrap().config
    };
    let (factor, original) = (
        "rope.scaling.factor",
        "rope.scaling.original_context_length",
    );
    for architecture in ["llama", "qwen2", "qwen3"] {
        let key = |key: &str| format!("{architecture}.{key}");
        for kind in ["linear", "yarn"] {
            let with = |factor_key: &str, x: f32| {
                config(architecture, &|file| {
                    file.text(&key("rope.scaling.type"), kind);
                    file.remove(&key(factor));
                    file.f32(&key(factor_key), x);
                })
            };
            assert_eq!(
                with(factor, 0.0),
                with(factor, 1.0),
                "{architecture} {kind}"
            );
            assert_eq!(with("rope.scale_linear", 0.0), with(factor, 1.0));
            assert_ne!(with(factor, 2.0), with(factor, 1.0));
        }
    }
    // A factor of 0 is one that was given: the older key is not asked.
    let both = config("llama", &|file| {
        file.f32("llama.rope.scaling.factor", 0.0);
        file.f32("llama.rope.scale_linear", 4.0);
    });
    assert_eq!(both, config("llama", &|_| ()));
    let without = config("qwen2", &|file| file.remove(&format!("qwen2.{original}")));
    let zero = config("qwen2", &|file| file.u32(&format!("qwen2.{original}"), 0));
    assert_eq!(zero, without);
    assert_ne!(zero, config("qwen2", &|_| ()));
    for scale in ["embedding_scale", "residual_scale", "attention.scale"] {
        let key = format!("granite.{scale}");
        let without = config("granite", &|file| file.remove(&key));
        assert_eq!(config("granite", &|file| file.f32(&key, 0.0)), without);
        assert_ne!(config("granite", &|_| ()), without, "{scale}");
    }
    let mut file = small("granite");
    file.f32("granite.logit_scale", 0.0);
    assert!(refusal(&file.bytes()).contains("\"granite.logit_scale\" must be a positive number"));
}

/// Numbers that may be given for each layer: equal ones are one, different ones are said to be so.
#[test]
fn a_number_for_each_layer() {
    for (key, value) in [
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("feed_forward_length", 32),
    ] {
        for architecture in ["llama", "qwen3"] {
            let key = format!("{architecture}.{key}");
            let with = |kind: u32, numbers: &[i32]| {
                let mut file = small(architecture);
                file.numbers(&key, kind, numbers);
                file
            };
            let plain = Checkpoint::open(&mut &small(architecture).bytes()[..]).unwrap();
            for kind in [4, 5] {
                let file = with(kind, &[value]).bytes();
                assert_eq!(Checkpoint::open(&mut &file[..]), Ok(plain.clone()), "{key}");
            }
            for numbers in [&[][..], &[value, value]] {
                let said = refusal(&with(4, numbers).bytes());
                assert!(
                    said.contains(&key) && said.contains("or one for each layer"),
                    "{said}"
                );
            }
            let mut file = with(4, &[value, value + 1]);
            file.u32(&format!("{architecture}.block_count"), 2);
            let said = refusal(&file.bytes());
            let words = "differs from layer to layer, which is not supported yet";
            assert!(said.contains(&key) && said.contains(words), "{said}");
            let said = refusal(&with(4, &[-1]).bytes());
            assert!(said.contains("must be 1 to"), "{said}");
        }
    }
}

/// Texts that are not UTF-8 harm nobody who does not need them, and are shown as well as can be.
#[test]
fn texts_that_are_not_utf_8() {
    let latin = |bytes: Vec<u8>| {
        let at = bytes.windows(4).position(|found| found == b"caf?").unwrap();
        let mut bytes = bytes;
        bytes[at + 3] = 0xe9;
        bytes
    };
    for change in [
        (&|f: &mut Gguf| f.text("general.description", "caf?")) as &dyn Fn(&mut Gguf),
        &|f| f.text("tokenizer.chat_template", "caf? <|im_start|>"),
        &|f| f.text("general.caf?", "a key"),
        &|f| f.text("caf?.description", "of nobody"),
        &|f| f.texts("general.tags", &["caf?".into()]),
    ] {
        let bytes = latin(with(change));
        let opened = Checkpoint::open(&mut &bytes[..]);
        assert_eq!(
            opened.unwrap().config,
            Checkpoint::open(&mut &with(|_| ())[..]).unwrap().config
        );
        let mut shown = String::new();
        let listed = gguf::metadata(&mut &bytes[..], &mut |key, value| {
            shown += &format!("{key} = {value}\n");
            std::ops::ControlFlow::Continue(())
        });
        assert!(
            listed.is_ok() && (shown.contains("caf\u{fffd}") || shown.contains("1 texts")),
            "{shown}"
        );
    }
    // What is needed and lost is named as well as can be.
    let said = refusal(&latin(with(|f| f.text("general.architecture", "caf?"))));
    assert!(said.contains("architecture \"caf\u{fffd}\""), "{said}");
    let said = refusal(&latin(with(|f| f.tensors[0].name = "caf?".into())));
    assert!(
        said.contains("\"token_embd.weight\" is not in it"),
        "{said}"
    );
    // Two keys that nobody can tell apart are two all the same.
    let bytes = with(|f| {
        f.text("general.caf?", "");
        f.text("general.caf!", "");
    });
    let mut bytes = latin(bytes);
    let at = bytes.windows(4).position(|found| found == b"caf!").unwrap();
    bytes[at + 3] = 0xe8;
    assert!(Checkpoint::open(&mut &bytes[..]).is_ok());
    // Any number but 0 is a yes.
    let bytes = with(|f| f.set("general.flag", 7, &[2]));
    assert!(Checkpoint::open(&mut &bytes[..]).is_ok());
}

/// Files that are mostly holes: a number in a few bytes must not ask for all of them to be read.
#[test]
fn holes_cost_no_time() {
    /// Some bytes, and then zeros.
    struct Hole(Vec<u8>, u64, u64);
    impl llama2_engine::source::ByteSource for Hole {
        fn size(&self) -> u64 {
            self.1
        }
        fn read_at(
            &mut self,
            offset: u64,
            buf: &mut [u8],
        ) -> Result<(), llama2_engine::source::ReadError> {
            self.2 += buf.len() as u64;
            buf.fill(0);
            let from = (offset as usize).min(self.0.len());
            let there = (self.0.len() - from).min(buf.len());
            buf[..there].copy_from_slice(&self.0[from..from + there]);
            Ok(())
        }
    }
    let count = 1u64 << 38;
    let start = with(|_| ());
    let texts = array(8, count, &[]);
    let numbers = array(10, count, &[]);
    let nested = array(9, count, &[]);
    for (key, kind, value) in [
        ("general.tags", 9, &texts),
        ("x.y", 9, &texts),
        ("tokenizer.ggml.tokens", 9, &texts),
        ("general.tags", 9, &array(8, 1 << 22, &[])),
        ("general.tags", 9, &numbers),
        ("general.tags", 9, &nested),
        ("general.description", 8, &count.to_le_bytes().to_vec()),
    ] {
        let mut file = small("llama");
        file.set(key, kind, value);
        let mut entry = file.bytes();
        // Up to the end of that entry, which is the last one.
        let place = entry
            .windows(value.len())
            .rposition(|found| found == &value[..])
            .unwrap();
        entry.truncate(place + value.len());
        let mut hole = Hole(entry, 1 << 42, 0);
        let took = seconds(|| assert!(Checkpoint::open(&mut hole).is_err()));
        assert!(
            hole.2 < 40 << 20 && took < 5.0,
            "{key}: {} bytes, {took:.1} s",
            hole.2
        );
    }
    // As many entries as are believed, and as many tensors: none costs more than itself.
    for (at, most) in [(8, 1u64 << 16), (16, 1 << 16)] {
        let mut head = start[..24].to_vec();
        head[8..24].fill(0);
        head[at..at + 8].copy_from_slice(&most.to_le_bytes());
        let mut hole = Hole(head, 1 << 42, 0);
        assert!(Checkpoint::open(&mut hole).is_err());
        assert!(hole.2 < 4 << 20, "{}", hole.2);
    }
}

/// How long `work` takes, in seconds.
fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    std::hint::black_box(work());
    start.elapsed().as_secs_f64()
}

/// Thousands of words that stand for themselves: found in the time of the text, and as searching
/// for one after another, the longest first, finds them.
#[test]
fn own_words_are_found_in_the_time_of_the_text() {
    let mut words: Vec<String> = (0..=255)
        .map(|byte| llama2_testing::family::letter(byte).into())
        .collect();
    let bytes_of = |words: &[String]| -> Vec<Vec<u8>> {
        words.iter().map(|word| word.as_bytes().to_vec()).collect()
    };
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
    let all = bytes_of(&words);
    let vocabulary = |count: usize| {
        let made = Tokenizer::new(&Vocabulary {
            words: &all[..count],
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
