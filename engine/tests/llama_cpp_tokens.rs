//! Tokens against llama.cpp's own where `LLAMA2_ORACLE_TOKENS` says how to ask it, such as
//! `python engine/tests/llama_cpp/tokens.py`: vocabularies of odd layouts made on the spot, and the real ones that are there.

mod common;

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

use common::{
    family::letter,
    vocabularies,
    vocabulary::{Made, Random, text},
};
use llama2_engine::{gguf, tokenizer::Tokenizer};

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

/// What there is to know of a vocabulary besides the tokenizer.
struct Odd<'a> {
    name: &'a str,
    /// Whether a token is a sign to the model, which llama.cpp's scores can lead to where nobody asked for it.
    sign: &'a dyn Fn(u32) -> bool,
    /// Whether llama.cpp leaves spaces out where it shows a text.
    cleans: bool,
}

/// Compares `texts`; returns how many, and how many of them llama.cpp made a sign of that nobody asked for.
fn compare(oracle: &str, file: &[u8], texts: &[String], odd: &Odd<'_>) -> (usize, usize) {
    let tokenizer = gguf::tokenizer(&mut &file[..]).unwrap();
    let (ends, answers) = ask(oracle, file, texts);
    assert_eq!(answers.len(), texts.len(), "{}", odd.name);
    let found: Vec<u32> = (0..tokenizer.vocab_size() as u32)
        .filter(|&token| tokenizer.is_end(token))
        .collect();
    assert_eq!(found, ends, "{}: what ends a generation", odd.name);
    let mut made = 0;
    for (text, want) in texts.iter().zip(&answers) {
        let name = odd.name;
        let parsed = tokenizer.encode_parsed(text.as_bytes(), false, false);
        assert_eq!(parsed, want.parsed, "{name}, parsed: {text:?}");
        let whole = tokenizer.encode_parsed(text.as_bytes(), true, true);
        assert_eq!(whole, want.whole, "{name}, whole: {text:?}");
        let plain = tokenizer.encode(text.as_bytes(), false, false);
        assert!(
            !plain.iter().any(|&token| (odd.sign)(token)),
            "{name}: {text:?}"
        );
        if want.plain.iter().any(|&token| (odd.sign)(token)) {
            made += 1;
            continue;
        }
        assert_eq!(plain, want.plain, "{name}: {text:?}");
        if !odd.cleans {
            assert_eq!(
                shown(&tokenizer, &plain),
                want.shown,
                "{name}, shown: {text:?}"
            );
        }
    }
    (texts.len(), made)
}

/// A text of tokens, without what would upset a terminal.
fn shown(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<u8> {
    let Some((&first, rest)) = tokens.split_first() else {
        return Vec::new();
    };
    let mut out = tokenizer.decode_first(first).to_vec();
    // A token that is no BOS anywhere.
    rest.iter()
        .for_each(|&t| out.extend(tokenizer.decode(u32::MAX, t)));
    out
}

/// The same of llama.cpp's bytes would need the tokens; so texts to be shown have no such characters.
fn harmless(text: String) -> String {
    text.chars()
        .filter(|c| !c.is_ascii_control() || matches!(c, '\t'..='\r'))
        .collect()
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

/// SentencePiece in five layouts that are not Llama 2's.
#[test]
fn scores_of_any_layout() {
    let Some(oracle) = oracle() else { return };
    let mut total = (0, 0);
    for layout in 0..12u64 {
        let mut random = Random(layout + 77);
        let mut made = Made::default();
        let own = [
            "<own>",
            "ab ab",
            "ab",
            "  ",
            "\u{2581}\u{2581}c",
            "<|user|>",
            "abc<",
            "\u{65e5}",
        ];
        let signs = ["<s>", "</s>", "<|end|>", "[INST]", "<|x", "<|x|>", "th"];
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
        let texts: Vec<String> = (0..TEXTS)
            .map(|_| harmless(text(&mut random, &words)))
            .collect();
        let types = made.types.clone();
        let count = compare(
            &oracle,
            &file.bytes(),
            &texts,
            &Odd {
                name: &format!("scores, layout {layout}"),
                sign: &|token| matches!(types[token as usize], 2 | 3),
                cleans: false,
            },
        );
        total = (total.0 + count.0, total.1 + count.1);
    }
    println!(
        "{} texts; of {} llama.cpp made signs unasked",
        total.0, total.1
    );
}

/// Byte-level BPE in every way of cutting, with merges of words that are no tokens and words that no merge makes.
#[test]
fn ranks_of_any_layout() {
    let Some(oracle) = oracle() else { return };
    let mut total = 0;
    for (number, pre) in common::vocabulary::PRE.iter().enumerate() {
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
        let texts: Vec<String> = (0..TEXTS)
            .map(|_| harmless(text(&mut random, &words)))
            .collect();
        let types = made.types.clone();
        total += compare(
            &oracle,
            &file.bytes(),
            &texts,
            &Odd {
                name: &format!("ranks, {pre}"),
                sign: &|token| types[token as usize] == 3,
                cleans: true,
            },
        )
        .0;
    }
    println!("{total} texts");
}

/// The vocabularies of real models.
#[test]
fn real_vocabularies() {
    let Some(oracle) = oracle() else { return };
    let mut total = 0;
    for (name, path) in vocabularies() {
        let file = std::fs::read(path).unwrap();
        let Ok(tokenizer) = gguf::tokenizer(&mut &file[..]) else {
            continue;
        };
        let mut random = Random(3);
        let words: Vec<String> = (0..tokenizer.vocab_size() as u32)
            .step_by(tokenizer.vocab_size() / 200)
            .map(|token| String::from_utf8_lossy(tokenizer.decode(u32::MAX, token)).into_owned())
            .chain(
                [
                    "<s>",
                    "</s>",
                    "<|im_start|>",
                    "<|end|>",
                    "<|user|>",
                    "<|eot_id|>",
                ]
                .map(String::from),
            )
            .collect();
        let texts: Vec<String> = (0..TEXTS)
            .map(|_| harmless(text(&mut random, &words)))
            .collect();
        total += compare(
            &oracle,
            &file,
            &texts,
            &Odd {
                name: &name,
                sign: &|_| false,
                cleans: true,
            },
        )
        .0;
    }
    println!("{total} texts");
}
