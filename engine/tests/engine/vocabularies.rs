//! Tokenizers from GGUF files against llama.cpp's own test vectors.

use llama2_engine::tokenizer::{Error, Fragment, Ids, Merging, Tokenizer, Vocabulary};
use llama2_testing::{
    family::{Gguf, letter},
    shown, vocabularies,
    vocabulary::{Made, Random},
};

/// llama.cpp's vocabularies with the strings and the tokens that stand beside them. Those of other
/// kinds are refused in a sentence.
#[test]
fn llama_cpps_own_vectors() {
    let (mut strings, mut refused) = (0, 0);
    for (name, path) in vocabularies() {
        let beside = |end: &str| std::fs::read_to_string(format!("{}{end}", path.display()));
        let file = std::fs::read(&path).unwrap();
        let tokenizer = match Tokenizer::from_gguf(&mut &file[..]) {
            Ok(tokenizer) => tokenizer,
            Err(error) => {
                assert!(
                    error.contains("its tokenizer is of kind"),
                    "{name}: {error}"
                );
                refused += 1;
                continue;
            }
        };
        let (Ok(texts), Ok(tokens)) = (beside(".inp"), beside(".out")) else {
            continue;
        };
        let texts = texts.split("\n__ggml_vocab_test__\n");
        assert!(tokens.lines().count() > 40, "{name}");
        for (text, line) in texts.zip(tokens.lines()) {
            let numbers = line.split_whitespace();
            let want: Vec<u32> = numbers.map(|number| number.parse().unwrap()).collect();
            let found = tokenizer.encode(text.as_bytes(), false, false);
            assert_eq!(found, want, "{name}: {text:?}");
            let back = shown(&tokenizer, &found);
            assert_eq!(String::from_utf8(back).unwrap(), text, "{name}");
            strings += 1;
        }
    }
    println!("{strings} strings; {refused} vocabularies of other kinds");
}

/// A vocabulary of all bytes, of what `merges` make, of one word that stands for itself (4) and one
/// control token (3).
struct Tiny {
    words: Vec<Vec<u8>>,
    types: Vec<i32>,
    merges: Vec<Vec<u8>>,
}

impl Tiny {
    fn new(merges: &[&str]) -> Tiny {
        let letters = (0..=255).map(|byte| letter(byte).to_string().into());
        let mut words: Vec<Vec<u8>> = letters.collect();
        words.extend(merges.iter().map(|merge| merge.replace(' ', "").into()));
        words.extend(["<own>".into(), "<|im_end|>".into()]);
        let mut types = vec![1; words.len()];
        let count = types.len();
        types[count - 2..].copy_from_slice(&[4, 3]);
        Tiny {
            words,
            types,
            merges: merges.iter().map(|&merge| merge.into()).collect(),
        }
    }

    fn described<'a>(&'a self, pre: &'a str) -> Vocabulary<'a> {
        Vocabulary {
            words: &self.words,
            types: &self.types,
            merging: Merging::Ranks(&self.merges),
            ids: Ids::default(),
            add_bos: None,
            add_eos: None,
            add_space_prefix: None,
            pre: Some(pre),
            name: "",
            chats: false,
        }
    }

    /// The words that `text` is cut into.
    fn cut(&self, pre: &str, text: &str) -> Vec<&str> {
        let tokenizer = Tokenizer::new(&self.described(pre)).unwrap();
        let tokens = tokenizer.encode(text.as_bytes(), true, false);
        let words = tokens.iter();
        words
            .map(|&t| std::str::from_utf8(&self.words[t as usize]).unwrap())
            .collect()
    }
}

#[test]
fn merges_go_by_rank_and_stay_within_words() {
    let tiny = Tiny::new(&["b c", "a b", "a bc", "\u{120} a", "c d"]);
    assert_eq!(tiny.cut("gpt-2", "abcd"), ["abc", "d"]);
    assert_eq!(tiny.cut("gpt-2", "ab"), ["ab"]);
    assert_eq!(
        tiny.cut("gpt-2", " ab abc"),
        ["\u{120}", "ab", "\u{120}", "abc"]
    );
    assert_eq!(tiny.cut("gpt-2", "a a"), ["a", "\u{120}a"]);
    // Leftmost of equals.
    let tiny = Tiny::new(&["a a"]);
    assert_eq!(tiny.cut("gpt-2", "aaaaa"), ["aa", "aa", "a"]);
    // Over the border of a word there is no merge, of however low a rank.
    let tiny = Tiny::new(&["a 1", "1 2", "12 3", "2 3"]);
    assert_eq!(tiny.cut("gpt-2", "a123"), ["a", "123"]);
    assert_eq!(tiny.cut("qwen2", "a123"), ["a", "1", "2", "3"]);
    assert_eq!(tiny.cut("llama-bpe", "1231"), ["123", "1"]);
    assert_eq!(tiny.cut("smollm", "123"), ["1", "2", "3"]);
}

#[test]
fn a_word_that_is_a_token_needs_no_merges_where_the_model_says_so() {
    let mut tiny = Tiny::new(&["a b"]);
    tiny.words[255] = "xyz".into();
    assert_eq!(tiny.cut("llama-bpe", "xyz"), ["xyz"]);
    assert_eq!(tiny.cut("gpt-2", "xyz"), ["x", "y", "z"]);
}

#[test]
fn control_tokens_in_a_text_are_text() {
    let tiny = Tiny::new(&["a b"]);
    let cut = tiny.cut("gpt-2", "ab<own>ab<|im_end|>");
    assert_eq!(cut[..3], ["ab", "<own>", "ab"]);
    assert_eq!(cut[3..].concat(), "<|im_end|>");
    assert_eq!(cut.len(), 3 + "<|im_end|>".len());
    let tokenizer = Tokenizer::new(&tiny.described("gpt-2")).unwrap();
    let end = tiny.words.len() as u32 - 1;
    assert!(tokenizer.is_end(end) && !tokenizer.is_end(end - 1));
    assert_eq!(tokenizer.decode(0, end), b"");
    assert_eq!(tokenizer.decode(0, end - 1), b"<own>");
}

#[test]
fn what_comes_out_is_what_went_in() {
    let tiny = Tiny::new(&["a b", "\u{120} a", "\u{e2} \u{122}"]);
    let texts = [
        "",
        " ",
        "a b  c   \n\n d\r\n\t",
        "don't WE'LL I'M you're '",
        "\u{65e5}\u{672c}\u{8a9e} \u{1f642}\u{200d}\u{1f468} \u{301}e",
        "\u{80}\u{ff}\u{10ffff}",
        "1234567 3.14 \u{bd} \u{0664}\u{0665}",
        "ABCdef \u{c0}B\u{e9}C HTTPServer",
    ];
    for pre in [
        "gpt-2",
        "default",
        "smollm",
        "refact",
        "llama-bpe",
        "qwen2",
        "tekken",
    ] {
        let tokenizer = Tokenizer::new(&tiny.described(pre)).unwrap();
        for text in texts {
            let tokens = tokenizer.encode(text.as_bytes(), false, false);
            let back: Vec<u8> = tokens
                .iter()
                .flat_map(|&token| tokenizer.decode(0, token).to_vec())
                .collect();
            assert_eq!(String::from_utf8(back).unwrap(), text, "{pre}");
        }
        // What is not UTF-8 does not come through, and does no harm.
        assert!(!tokenizer.encode(b"a\xff\xc3", false, false).is_empty());
    }
}

#[test]
fn long_texts_take_no_time() {
    let tiny = Tiny::new(&["a a", "aa aa", "\u{120} \u{120}", "A B"]);
    for pre in ["gpt-2", "default", "smollm", "llama-bpe", "tekken"] {
        let tokenizer = Tokenizer::new(&tiny.described(pre)).unwrap();
        for unit in ["a", " ", "\n", "1", "\u{c0}B", "!", "' "] {
            let text = unit.repeat((1 << 18) / unit.len());
            let tokens = tokenizer.encode(text.as_bytes(), false, false);
            assert!(tokens.len() > 1 << 15, "{pre}, {unit:?}");
        }
    }
}

/// A quarter of a megabyte, with thousands of words of the vocabulary's own, one inside of the
/// other, and with scores.
#[test]
fn many_own_words_take_no_time() {
    let mut random = Random(1);
    let mut made = Made::default();
    made.add("<unk>", 2, 0.0);
    made.add("<s>", 3, 0.0);
    made.add("</s>", 3, 0.0);
    made.bytes();
    for length in 2..32 {
        made.add(&" ".repeat(length), 4, 0.0);
        made.add(&"ab".repeat(length), 4, 0.0);
    }
    for number in 0..3000 {
        made.add(&format!("<|{number}|>"), 3 + number % 2, 0.0);
        made.add(&format!("a{number}"), 4, 0.0);
    }
    made.grow(&['a', 'b', 'c', '<', '|'], 300, &mut random, false);
    let file = made.file(false).bytes();
    let tokenizer = Tokenizer::from_gguf(&mut &file[..]).unwrap();
    for unit in ["a", "ab", " ", "<|", "a1<|77|> ", "abababac", "\u{65e5}"] {
        let text = unit.repeat((1 << 18) / unit.len());
        let plain = tokenizer.encode(text.as_bytes(), true, true);
        let (mut marked, middle) = (Vec::new(), text.len() / unit.len() / 2 * unit.len());
        let (mark, said) = text.split_at(middle);
        tokenizer.encode_marked(&[Fragment::Mark(mark), Fragment::Said(said)], &mut marked);
        assert!(plain.len() > 1 << 12 && marked.len() > 1 << 12, "{unit:?}");
    }
}

/// What is said stays text, whatever it looks like, also where scores lead to a sign; words of the
/// vocabulary's own are words everywhere, and a space goes before what follows a sign.
#[test]
fn a_conversation_in_scores() {
    let mut made = Made::default();
    made.bytes();
    for (word, kind) in [
        ("<unk>", 2),
        ("<s>", 3),
        ("</s>", 3),
        ("<own>", 4),
        ("ab", 3),
    ] {
        made.add(word, kind, 0.0);
    }
    for word in [
        "\u{2581}",
        "a",
        "b",
        "<",
        ">",
        "s",
        "s>",
        "/",
        "</",
        "\u{2581}a",
    ] {
        made.add(word, 1, -1.0);
    }
    let mut file = made.file(false);
    file.u32("tokenizer.ggml.bos_token_id", made.id("<s>"));
    file.u32("tokenizer.ggml.eos_token_id", made.id("</s>"));
    file.bool("tokenizer.ggml.add_eos_token", true);
    let cut = |file: &Gguf, fragments: &[Fragment<'_>]| -> Vec<String> {
        let tokenizer = Tokenizer::from_gguf(&mut &file.bytes()[..]).unwrap();
        let mut tokens = Vec::new();
        tokenizer.encode_marked(fragments, &mut tokens);
        let words = tokens.iter().map(|&t| made.words[t as usize].clone());
        words.collect()
    };
    use Fragment::{Mark, Said, Tokens};
    let end = [made.id("</s>")];
    let fragments = [
        Mark("<s>a"),
        Said("b<s>ab<own>"),
        Tokens(&end),
        Mark(" \n "),
        Said("a"),
    ];
    let (mark, a) = ("\u{2581}", "\u{2581}a");
    let want = [
        "<s>", a, "b", "<", "s>", "a", "b", "<own>", "</s>", mark, mark, "<0x0A>", a,
    ];
    assert_eq!(cut(&file, &fragments), want);
    // A sign that begins in one's words and ends in another's is none.
    let want = [mark, "</", "s>"];
    assert_eq!(cut(&file, &[Mark("</"), Said("s>")]), want);
    file.bool("tokenizer.ggml.add_space_prefix", false);
    assert_eq!(cut(&file, &[Mark("<s>a")]), ["<s>", "a"]);
    let tokenizer = Tokenizer::from_gguf(&mut &file.bytes()[..]).unwrap();
    let tokens = tokenizer.encode(b" a", true, true);
    assert_eq!(tokens, ["<s>", a, "</s>"].map(|word| made.id(word)));
    assert_eq!(tokenizer.decode(tokens[0], tokens[1]), b" a");
    assert_eq!(tokenizer.decode(tokens[1], tokens[2]), b"");
    // White space after signs belongs to them where the model's name says so; the one before `<s>`
    // to nothing.
    file.text("general.name", "Phi-3 mini");
    let found = cut(&file, &[Mark("ab \n a<own> b<s> a")]);
    assert_eq!(found, ["ab", "a", "<own>", "b", "<s>", a]);
}

/// What ends a text or a turn: by the name, by the number, and what looks like it but is none.
#[test]
fn ends_are_llama_cpps() {
    let ends = |words: &[&str], set: &dyn Fn(&mut Gguf)| -> Vec<String> {
        let mut made = Made::default();
        for word in ["<unk>", "a", "b", "c"].iter().chain(words) {
            made.add(word, 1, 0.0);
        }
        let mut file = made.file(false);
        file.u32("tokenizer.ggml.eos_token_id", 1);
        set(&mut file);
        let tokenizer = Tokenizer::from_gguf(&mut &file.bytes()[..]).unwrap();
        let found = (0..made.words.len()).filter(|&t| tokenizer.is_end(t as u32));
        found.map(|token| made.words[token].clone()).collect()
    };
    let none = |_: &mut Gguf| ();
    assert_eq!(ends(&[], &none), ["a"]);
    assert_eq!(
        ends(&["</s>", "<end_of_turn>"], &none),
        ["a", "</s>", "<end_of_turn>"]
    );
    let turns = |file: &mut Gguf| {
        file.u32("tokenizer.ggml.eot_token_id", 2);
        file.u32("tokenizer.ggml.eom_token_id", 3);
    };
    assert_eq!(ends(&[], &turns), ["a", "b", "c"]);
    // Of the names for one thing the first that is there; where a number is given, no name.
    assert_eq!(ends(&["[PAD]", "<PAD>"], &none), ["a", "<PAD>"]);
    let pad = |file: &mut Gguf| file.u32("tokenizer.ggml.fim_pad_token_id", 2);
    assert_eq!(ends(&["<PAD>"], &pad), ["a", "b"]);
    // gpt-oss goes on after `<|end|>`.
    let calls = ["<|end|>", "<|call|>", "<|return|>"];
    assert_eq!(ends(&calls, &none), ["a", "<|call|>", "<|return|>"]);
    assert_eq!(ends(&calls[..2], &none), ["a", "<|end|>", "<|call|>"]);
}

/// Every lie in a file's metadata is a sentence.
#[test]
fn bad_metadata_are_refused_in_a_sentence() {
    let mut made = Made::default();
    made.bytes();
    made.add("<unk>", 2, 0.0);
    let good = made.file(false);
    assert!(Tokenizer::from_gguf(&mut &good.bytes()[..]).is_ok());
    let refused = |set: &dyn Fn(&mut Gguf), wanted: &str| {
        let mut file = good.clone();
        set(&mut file);
        let error = Tokenizer::from_gguf(&mut &file.bytes()[..]).err().unwrap();
        assert!(error.contains(wanted), "{error}");
        assert!(error.lines().count() == 1, "{error}");
    };
    refused(
        &|f| f.text("tokenizer.ggml.model", "bert"),
        "of kind \"bert\"",
    );
    refused(
        &|f| f.u32("tokenizer.ggml.model", 1),
        "tokenizer.ggml.model",
    );
    refused(
        &|f| f.u32("tokenizer.ggml.tokens", 1),
        "tokenizer.ggml.tokens",
    );
    refused(
        &|f| f.numbers("tokenizer.ggml.tokens", 5, &[1]),
        "tokenizer.ggml.tokens",
    );
    refused(
        &|f| f.texts("tokenizer.ggml.tokens", &[]),
        "tokenizer.ggml.token_type",
    );
    refused(
        &|f| f.numbers("tokenizer.ggml.token_type", 5, &[1]),
        "tokenizer.ggml.token_type",
    );
    refused(
        &|f| f.numbers("tokenizer.ggml.scores", 6, &[0; 3]),
        "tokenizer.ggml.scores",
    );
    refused(
        &|f| f.numbers("tokenizer.ggml.scores", 4, &[0; 257]),
        "tokenizer.ggml.scores",
    );
    let nan = f32::NAN.to_bits() as i32;
    refused(
        &|f| f.numbers("tokenizer.ggml.scores", 6, &[nan; 257]),
        "gives token 0 a score",
    );
    for name in ["bos", "eos", "eot", "eom", "unknown", "fim_pad"] {
        let key = format!("tokenizer.ggml.{name}_token_id");
        refused(&|f| f.text(&key, "1"), &key);
    }
    for name in ["add_bos_token", "add_eos_token", "add_space_prefix"] {
        let key = format!("tokenizer.ggml.{name}");
        refused(&|f| f.u32(&key, 1), &key);
    }
    refused(
        &|f| f.text("tokenizer.ggml.model", "gpt2"),
        "tokenizer.ggml.merges",
    );
    let twice = |f: &mut Gguf| {
        let mut words = made.words.clone();
        words[9] = "<unk>".into();
        f.texts("tokenizer.ggml.tokens", &words);
    };
    refused(&twice, "\"<unk>\" twice, as token 9 and as token 256");
    // A count that lies.
    let mut bytes = 8u32.to_le_bytes().to_vec();
    bytes.extend((1u64 << 40).to_le_bytes());
    refused(
        &|f| f.set("tokenizer.ggml.tokens", 9, &bytes),
        "1099511627776",
    );
}

#[test]
fn lies_are_refused_in_a_sentence() {
    let tiny = Tiny::new(&["a b"]);
    let refused = |described: &Vocabulary<'_>| Tokenizer::new(described).err().unwrap();
    let error = refused(&tiny.described("klingon"));
    assert_eq!(
        error,
        Error::Splitter {
            name: "klingon".into()
        }
    );
    assert!(error.to_string().contains("\"klingon\"") && error.to_string().contains("qwen2"));
    // Merges that name nothing, words that are no bytes or nothing at all: of no use, and no harm.
    let mut odd = Tiny::new(&["a b"]);
    odd.merges = ["", " ", "a", "a  b", "q r", "a b", "a b", "\u{4e2d} a"]
        .map(Vec::from)
        .to_vec();
    odd.words[8] = Vec::new();
    odd.words[9] = "\u{4e2d}".into();
    odd.types.truncate(3);
    let cut = odd.cut("gpt-2", "abab");
    assert_eq!(cut, ["ab", "ab"]);
    odd.words[7] = "ab".into();
    let error = refused(&odd.described("gpt-2")).to_string();
    assert!(
        error.contains("\"ab\" twice, as token 7 and as token 256"),
        "{error}"
    );
    odd.words.clear();
    let error = refused(&odd.described("gpt-2")).to_string();
    assert!(error.contains("no tokens"), "{error}");
}

/// Tokens that are named and not there: a sentence about each, and what texts of this kind have by
/// themselves.
#[test]
fn named_tokens_outside_of_the_vocabulary_are_passed_over() {
    let mut made = Made::default();
    made.add("<unk>", 2, 0.0);
    made.add("<s>", 3, 0.0);
    made.add("</s>", 3, 0.0);
    made.bytes();
    let count = made.words.len() as u32;
    let (scored, ranked) = (made.file(false), Tiny::new(&[]));
    let key = |name: &str| format!("tokenizer.ggml.{name}_token_id");
    let plain = Tokenizer::from_gguf(&mut &scored.bytes()[..]).unwrap();
    assert_eq!((plain.begin(), plain.is_end(2)), (Some(1), true));
    assert!(plain.warnings().is_empty());
    let names = [
        "bos", "eos", "eot", "eom", "unknown", "padding", "mask", "fim_pre", "fim_sep", "suffix",
    ];
    for name in names {
        for (kind, value, shown) in [
            (4, count as u64, count),
            (10, u64::MAX, u32::MAX),
            // -1, of four bytes and of eight.
            (5, u64::MAX, u32::MAX),
            (11, u64::MAX, u32::MAX),
        ] {
            let mut file = scored.clone();
            let bytes = value.to_le_bytes();
            let width = if matches!(kind, 4 | 5) { 4 } else { 8 };
            file.set(&key(name), kind, &bytes[..width]);
            let found = Tokenizer::from_gguf(&mut &file.bytes()[..]).unwrap();
            let [said] = found.warnings() else {
                panic!("{name}: {:?}", found.warnings());
            };
            let words = format!("names token {shown} as ");
            assert!(
                said.contains(&words) && said.contains(&format!("{count} tokens")),
                "{said}"
            );
            let takes = matches!(name, "bos" | "eos" | "unknown");
            assert_eq!(said.contains(": takes token "), takes, "{said}");
            assert_eq!((found.begin(), found.is_end(2)), (Some(1), true));
            let text = "a \u{e9} b".as_bytes();
            assert_eq!(
                found.encode(text, true, true),
                plain.encode(text, true, true)
            );
        }
    }
    // Where the default is not there either, there is none; byte-level BPE's is 11, whatever that
    // is.
    for (length, wanted) in [(12, Some(11)), (11, None)] {
        let described = ranked.described("gpt-2");
        let made = Tokenizer::new(&Vocabulary {
            words: &described.words[..length],
            types: &[],
            ids: Ids {
                bos: Some(9999),
                eos: Some(9999),
                ..Ids::default()
            },
            ..described
        });
        let made = made.unwrap();
        assert_eq!((made.begin(), made.is_end(11)), (wanted, wanted.is_some()));
        assert_eq!(made.warnings().len(), 2);
    }
}

/// Words, merges, keys and texts that are not UTF-8 are bytes like others.
#[test]
fn words_that_are_not_utf_8_are_bytes() {
    let mut made = Made::default();
    made.add("<unk>", 2, 0.0);
    made.add("<s>", 3, 0.0);
    made.add("</s>", 3, 0.0);
    made.bytes();
    made.add("caf?", 1, 1.0);
    made.add("caf!", 1, 1.0);
    let latin = |bytes: &[u8], from: &[u8; 4], to: &[u8; 4]| {
        let at = bytes.windows(4).position(|found| found == from).unwrap();
        let mut bytes = bytes.to_vec();
        bytes[at..at + 4].copy_from_slice(to);
        bytes
    };
    // Two that are one where U+FFFD stands for what is not UTF-8.
    let bytes = latin(&made.file(false).bytes(), b"caf?", b"caf\xe9");
    let bytes = latin(&bytes, b"caf!", b"caf\xe8");
    let scored = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
    let last = made.words.len() as u32 - 1;
    assert_eq!(scored.decode_first(last - 1), b"caf\xe9");
    assert_eq!(scored.decode_first(last), b"caf\xe8");

    let mut tiny = Tiny::new(&["a b"]);
    tiny.words.push(b"\xff\xfe".to_vec());
    tiny.merges.push(b"\xff a".to_vec());
    let ranked = Tokenizer::new(&tiny.described("gpt-2")).unwrap();
    assert_eq!(ranked.encode(b"ab", false, false), [256]);
    assert_eq!(ranked.decode(0, 259), b"\xff\xfe");
}
