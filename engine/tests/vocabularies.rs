//! Tokenizers from GGUF files against llama.cpp's own test vectors.

mod common;

use common::{family::letter, reference};
use llama2_engine::{
    gguf,
    tokenizer::{Error, Ids, Merging, Tokenizer, Vocabulary},
};

/// A string and its tokens.
type Vector = (String, Vec<u32>);

/// The vocabulary of a file, with its strings and the tokens that llama.cpp gives them.
fn vectors(name: &str) -> Option<(Tokenizer, Vec<Vector>)> {
    let path = |end: &str| reference(&format!("gguf/ggml-vocab-{name}.gguf{end}"));
    let read = |end| Some(std::fs::read(path(end)?).unwrap());
    let (file, texts, tokens) = (read("")?, read(".inp")?, read(".out")?);
    let texts = String::from_utf8(texts).unwrap();
    let tokens = String::from_utf8(tokens).unwrap();
    let texts = texts.split("\n__ggml_vocab_test__\n").map(String::from);
    let tokens = tokens.lines().map(|line| {
        let numbers = line.split_whitespace();
        numbers.map(|number| number.parse().unwrap()).collect()
    });
    let tokenizer = gguf::tokenizer(&mut &file[..]).unwrap();
    Some((tokenizer, texts.zip(tokens).collect()))
}

fn check(name: &str) {
    let Some((tokenizer, vectors)) = vectors(name) else {
        return;
    };
    assert!(vectors.len() > 40, "{} strings", vectors.len());
    for (text, want) in &vectors {
        let found = tokenizer.encode(text.as_bytes(), false, false);
        assert_eq!(&found, want, "{name}: {text:?}");
        let back: Vec<u8> = found
            .iter()
            .flat_map(|&token| tokenizer.decode(u32::MAX, token))
            .copied()
            .collect();
        if !tokenizer.is_llama2c() {
            assert_eq!(String::from_utf8(back).unwrap(), *text);
        }
    }
}

#[test]
fn gpt_2() {
    check("gpt-2");
}

#[test]
fn llama_spm() {
    check("llama-spm");
}

/// A vocabulary of all bytes, of what `merges` make, of one word that stands for itself (4) and one control token (3).
struct Tiny {
    words: Vec<String>,
    types: Vec<i32>,
    merges: Vec<String>,
}

impl Tiny {
    fn new(merges: &[&str]) -> Tiny {
        let mut words: Vec<String> = (0..=255).map(|byte| letter(byte).into()).collect();
        words.extend(merges.iter().map(|merge| merge.replace(' ', "")));
        words.extend(["<own>".into(), "<|im_end|>".into()]);
        let mut types = vec![1; words.len()];
        let count = types.len();
        types[count - 2..].copy_from_slice(&[4, 3]);
        Tiny {
            words,
            types,
            merges: merges.iter().map(|merge| merge.to_string()).collect(),
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
        words.map(|&t| &self.words[t as usize][..]).collect()
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
            let text = unit.repeat((1 << 20) / unit.len());
            let tokens = tokenizer.encode(text.as_bytes(), false, false);
            assert!(tokens.len() > 1 << 17, "{pre}, {unit:?}");
        }
    }
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
    let error = refused(&Vocabulary {
        ids: Ids {
            eos: Some(9999),
            ..Ids::default()
        },
        ..tiny.described("gpt-2")
    });
    assert!(error.to_string().contains("EOS is token 9999"), "{error}");
    // Merges that name nothing, words that are no bytes, twice the same word: of no use, and no harm.
    let mut odd = Tiny::new(&["a b"]);
    odd.merges = ["", " ", "a", "a  b", "q r", "a b", "a b", "\u{4e2d} a"]
        .map(String::from)
        .to_vec();
    odd.words[7] = "ab".into();
    odd.words[8] = String::new();
    odd.words[9] = "\u{4e2d}".into();
    odd.types.truncate(3);
    let cut = odd.cut("gpt-2", "abab");
    assert_eq!(cut, ["ab", "ab"]);
}
