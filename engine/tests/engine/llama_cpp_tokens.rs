//! Tokens against llama.cpp's own, for vocabularies of odd layouts made on the spot and for the
//! real ones that are there: against those that it gave once (`llama_cpp/tokens.txt`), and against
//! itself where `LLAMA2_ORACLE_TOKENS` says how to ask it, such as `python
//! engine/tests/llama_cpp/tokens.py`.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use llama2_engine::tokenizer::{Fragment, Tokenizer};
use llama2_testing::{
    family::letter,
    shown, vocabularies,
    vocabulary::{Made, PRE, Random, text},
};

/// Texts for each vocabulary.
const TEXTS: usize = 600;

fn oracle() -> Option<String> {
    let found = std::env::var("LLAMA2_ORACLE_TOKENS").ok();
    if found.is_none() {
        eprintln!(
            "SKIPPED: LLAMA2_ORACLE_TOKENS does not say how to ask llama.cpp (python engine/tests/llama_cpp/tokens.py)"
        );
    }
    found
}

/// What llama.cpp says of a text.
struct Answer {
    plain: Vec<u32>,
    parsed: Vec<u32>,
    whole: Vec<u32>,
    shown: Vec<u8>,
}

fn numbers(words: &str) -> Vec<u32> {
    let words = words.split_whitespace();
    words.map(|number| number.parse().unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// llama.cpp's ends of a generation, and its answers to `texts`.
fn ask(oracle: &str, file: &[u8], texts: &[String]) -> (Vec<u32>, Vec<Answer>) {
    static ASKED: AtomicUsize = AtomicUsize::new(0);
    let number = ASKED.fetch_add(1, Ordering::Relaxed);
    let name = format!("llama2-tokens-{}-{number}.gguf", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, file).unwrap();
    let mut words = oracle.split_whitespace();
    let mut child = Command::new(words.next().unwrap())
        .args(words)
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<u8> = texts
        .iter()
        .flat_map(|text| (hex(text.as_bytes()) + "\n").into_bytes())
        .collect();
    let writer = std::thread::spawn(move || stdin.write_all(&lines));
    let output = child.wait_with_output().unwrap();
    std::fs::remove_file(&path).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    writer.join().unwrap().unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let mut lines = output.lines();
    let ends = numbers(lines.next().unwrap());
    let answers = lines.map(|line| {
        let mut lists = line.split('|');
        let mut next = || lists.next().unwrap();
        Answer {
            plain: numbers(next()),
            parsed: numbers(next()),
            whole: numbers(next()),
            shown: unhex(next()),
        }
    });
    (ends, answers.collect())
}

/// A vocabulary with texts.
struct Case {
    name: String,
    file: Vec<u8>,
    texts: Vec<String>,
    /// Tokens' types, where it was made here: 2 and 3 are signs to the model, which llama.cpp's
    /// merges can lead to where nobody asked for them.
    types: Vec<i32>,
    /// True if llama.cpp leaves spaces out where it shows a text.
    cleans: bool,
}

impl Case {
    fn tokenizer(&self) -> Tokenizer {
        Tokenizer::from_gguf(&mut &self.file[..]).unwrap()
    }

    fn is_sign(&self, token: u32) -> bool {
        matches!(self.types.get(token as usize), Some(2 | 3))
    }

    /// Compares all texts; returns how many, and how many of them llama.cpp made a sign of that
    /// nobody asked for.
    fn compare(&self, oracle: &str) -> (usize, usize) {
        let (name, tokenizer) = (&self.name, self.tokenizer());
        let (ends, answers) = ask(oracle, &self.file, &self.texts);
        assert_eq!(answers.len(), self.texts.len(), "{name}");
        let found: Vec<u32> = (0..tokenizer.vocab_size() as u32)
            .filter(|&token| tokenizer.is_end(token))
            .collect();
        assert_eq!(found, ends, "{name}: what ends a generation");
        let mut made = 0;
        for (text, want) in self.texts.iter().zip(&answers) {
            let bytes = text.as_bytes();
            let parsed = tokenizer.encode_parsed(bytes, false, false);
            assert_eq!(parsed, want.parsed, "{name}, parsed: {text:?}");
            let whole = tokenizer.encode_parsed(bytes, true, true);
            assert_eq!(whole, want.whole, "{name}, whole: {text:?}");
            let marked = |fragment| {
                let mut tokens = Vec::new();
                tokenizer.encode_marked(&[fragment], &mut tokens);
                tokens
            };
            assert_eq!(marked(Fragment::Mark(text)), parsed, "{name}: {text:?}");
            let plain = tokenizer.encode(bytes, false, false);
            assert_eq!(marked(Fragment::Said(text)), plain, "{name}: {text:?}");
            assert!(!plain.iter().any(|&t| self.is_sign(t)), "{name}: {text:?}");
            if want.plain.iter().any(|&t| self.is_sign(t)) {
                made += 1;
                continue;
            }
            assert_eq!(plain, want.plain, "{name}: {text:?}");
            if !self.cleans {
                let shown = shown(&tokenizer, &plain);
                assert_eq!(shown, want.shown, "{name}, shown: {text:?}");
            }
        }
        (self.texts.len(), made)
    }
}

/// What would upset a terminal is not shown, and so not compared.
fn harmless(text: String) -> String {
    text.chars()
        .filter(|c| !c.is_ascii_control() || matches!(c, '\t'..='\r'))
        .collect()
}

fn texts(random: &mut Random, words: &[String]) -> Vec<String> {
    (0..TEXTS).map(|_| harmless(text(random, words))).collect()
}

const LETTERS: [char; 16] = [
    'a',
    'b',
    'c',
    'e',
    's',
    't',
    'h',
    '<',
    '>',
    '/',
    '|',
    '1',
    '\u{e9}',
    '\u{65e5}',
    '\u{1f642}',
    '\n',
];

/// SentencePiece in layouts that are not Llama 2's.
fn by_scores() -> Vec<Case> {
    let made = (0..12u64).map(|layout| {
        let mut random = Random(layout + 77);
        let mut made = Made::default();
        // 16 special tokens at most: of more, std::sort says in which order llama.cpp takes equally
        // long ones.
        let own = [
            "<own>",
            "ab ab",
            "ab",
            "  ",
            "\u{2581}\u{2581}c",
            "<|user|>",
            "\u{65e5}",
        ];
        let signs = [
            "<s>",
            "</s>",
            "<|end|>",
            "[INST]",
            "<|x",
            "<|x|>",
            "th",
            "<|endoftext|>",
        ];
        let begins = |made: &mut Made| {
            made.add("<unk>", 2, 0.0);
            for sign in signs {
                made.add(sign, 3, 0.0);
            }
        };
        if layout % 2 == 0 {
            begins(&mut made);
        } else {
            made.bytes();
        }
        for word in own.iter().filter(|_| layout % 3 != 0) {
            made.add(word, 4, 0.0);
        }
        made.grow(&LETTERS, 300, &mut random, false);
        made.add("unused", 5, 1.0);
        made.add("", 1, 0.0);
        if layout % 2 == 0 {
            made.bytes();
        } else {
            begins(&mut made);
        }
        let mut file = made.file(false);
        file.u32("tokenizer.ggml.bos_token_id", made.id("<s>"));
        file.u32("tokenizer.ggml.eos_token_id", made.id("</s>"));
        file.u32("tokenizer.ggml.unknown_token_id", made.id("<unk>"));
        if layout % 4 < 2 {
            file.bool("tokenizer.ggml.add_space_prefix", layout % 4 == 0);
        }
        if layout % 5 == 0 {
            file.bool("tokenizer.ggml.add_bos_token", false);
        }
        if layout % 3 == 1 {
            file.bool("tokenizer.ggml.add_eos_token", true);
        }
        if layout % 6 == 5 {
            file.u32("tokenizer.ggml.eot_token_id", made.id("[INST]"));
        }
        if layout >= 8 {
            file.text("general.name", "My PHI-3 of old");
        }
        let mut words: Vec<String> = own.iter().chain(&signs).map(|w| w.to_string()).collect();
        words.extend(
            made.words
                .iter()
                .filter(|w| w.len() < 9)
                .step_by(7)
                .cloned(),
        );
        Case {
            name: format!("scores, layout {layout}"),
            file: file.bytes(),
            texts: texts(&mut random, &words),
            types: made.types,
            cleans: false,
        }
    });
    made.collect()
}

/// Byte-level BPE in every way of cutting, with merges of words that are no tokens and words that
/// no merge makes.
fn by_ranks() -> Vec<Case> {
    let made = PRE.iter().enumerate().map(|(number, pre)| {
        let mut random = Random(number as u64 + 5);
        let mut made = Made::default();
        let own = ["<own>", "ab ab", "  ", "\u{e9}\u{e9}", "<|user|>", "1<"];
        let signs = ["<s>", "</s>", "<|end|>", "<|x|>"];
        if number % 2 == 0 {
            for (word, kind) in own
                .iter()
                .map(|w| (w, 4))
                .chain(signs.iter().map(|w| (w, 3)))
            {
                made.add(word, kind, 0.0);
            }
        }
        for byte in (0..=255).filter(|byte| number % 3 > 0 || *byte != b'h') {
            made.add(&letter(byte).to_string(), 1, 0.0);
        }
        let letters: Vec<char> = LETTERS.iter().copied().filter(|&c| c != 'h').collect();
        made.grow(&letters, 300, &mut random, true);
        // Words that nothing makes, and merges to words that are not there.
        made.add("the", 1, 0.0);
        made.merges
            .extend(["t h", "th e", "H e", "He l", "\u{120} H", "a"].map(String::from));
        for (word, kind) in own
            .iter()
            .map(|w| (w, 4))
            .chain(signs.iter().map(|w| (w, 3)))
        {
            made.add(word, kind, 0.0);
        }
        made.add("unused", 5, 0.0);
        let mut file = made.file(true);
        file.text("tokenizer.ggml.pre", pre);
        file.u32("tokenizer.ggml.bos_token_id", made.id("<s>"));
        file.u32("tokenizer.ggml.eos_token_id", made.id("</s>"));
        if number % 3 == 1 {
            file.bool("tokenizer.ggml.add_bos_token", true);
            file.bool("tokenizer.ggml.add_eos_token", true);
        }
        let words: Vec<String> = own.iter().chain(&signs).map(|w| w.to_string()).collect();
        Case {
            name: format!("ranks, {pre}"),
            file: file.bytes(),
            texts: texts(&mut random, &words),
            types: made.types,
            cleans: true,
        }
    });
    made.collect()
}

/// The vocabularies of real models.
fn real() -> Vec<Case> {
    let known = vocabularies().into_iter().filter_map(|(name, path)| {
        let file = std::fs::read(path).unwrap();
        let tokenizer = Tokenizer::from_gguf(&mut &file[..]).ok()?;
        let count = tokenizer.vocab_size();
        let some = (0..count as u32).step_by(count / 200);
        let some = some.map(|token| tokenizer.decode(u32::MAX, token));
        let mut words: Vec<String> = some.map(|w| String::from_utf8_lossy(w).into()).collect();
        let signs = [
            "<s>",
            "</s>",
            "<|im_start|>",
            "<|end|>",
            "<|user|>",
            "<|eot_id|>",
            "<unk>",
            "<|endoftext|>",
        ];
        words.extend(signs.map(String::from));
        Some(Case {
            name,
            file,
            texts: texts(&mut Random(3), &words),
            types: Vec::new(),
            cleans: true,
        })
    });
    known.collect()
}

/// Asks about all of them.
fn all(cases: &[Case]) {
    let Some(oracle) = oracle() else { return };
    let (mut texts, mut made) = (0, 0);
    for case in cases {
        let count = case.compare(&oracle);
        texts += count.0;
        made += count.1;
    }
    println!("{texts} texts; in {made} of them llama.cpp made signs that nobody asked for");
}

#[test]
fn scores_of_any_layout() {
    all(&by_scores());
}

#[test]
fn ranks_of_any_layout() {
    all(&by_ranks());
}

#[test]
fn real_vocabularies() {
    all(&real());
}

/// The first texts of each vocabulary that is made here, with what llama.cpp said of them once.
/// `LLAMA2_ORACLE_TOKENS_WRITE` names a file to write that into.
#[test]
fn tokens_that_llama_cpp_gave() {
    const KEPT: usize = 12;
    let list = |tokens: &[u32]| -> String {
        let words: Vec<String> = tokens.iter().map(u32::to_string).collect();
        words.join(" ")
    };
    let mut lines = include_str!("../llama_cpp/tokens.txt").lines();
    let write = std::env::var_os("LLAMA2_ORACLE_TOKENS_WRITE");
    let mut written = String::new();
    for case in by_scores().into_iter().chain(by_ranks()) {
        let (name, tokenizer) = (&case.name, case.tokenizer());
        let kept = case.texts.iter().filter(|text| text.len() > 9).take(KEPT);
        let kept: Vec<String> = kept.cloned().collect();
        if write.is_some() {
            let (_, answers) = ask(&oracle().unwrap(), &case.file, &kept);
            for (text, answer) in kept.iter().zip(answers) {
                let (plain, whole) = (list(&answer.plain), list(&answer.whole));
                written += &format!("{}|{plain}|{whole}\n", hex(text.as_bytes()));
            }
            continue;
        }
        for text in kept {
            let mut line = lines.next().unwrap().split('|');
            // The texts of that day.
            assert_eq!(
                line.next(),
                Some(&hex(text.as_bytes())[..]),
                "{name}: {text:?}"
            );
            let (plain, whole) = (line.next().unwrap(), line.next().unwrap());
            let found = tokenizer.encode_parsed(text.as_bytes(), true, true);
            assert_eq!(list(&found), whole, "{name}, whole: {text:?}");
            let found = tokenizer.encode(text.as_bytes(), false, false);
            if !numbers(plain).iter().any(|&t| case.is_sign(t)) {
                assert_eq!(list(&found), plain, "{name}: {text:?}");
            }
        }
    }
    if let Some(path) = write {
        std::fs::write(path, written).unwrap();
    } else {
        assert_eq!(lines.next(), None);
    }
}
