//! Unusual vocabularies as GGUF files, and texts to try them with.

use crate::family::{Gguf, letter};

/// Random integers (Knuth's MMIX generator).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Pre-tokenizers, one of each kind.
pub const PRE: [&str; 18] = [
    "default",
    "gpt-2",
    "smollm",
    "llama-bpe",
    "dbrx",
    "glm4",
    "qwen2",
    "qwen35",
    "seed-coder",
    "minicpm5",
    "tekken",
    "gpt-4o",
    "falcon",
    "deepseek-llm",
    "deepseek-coder",
    "deepseek-v3",
    "poro-chat",
    "viking",
];

/// Words with their types (1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte) and
/// scores.
#[derive(Default, Clone)]
pub struct Made {
    pub words: Vec<String>,
    pub types: Vec<i32>,
    pub scores: Vec<f32>,
    pub merges: Vec<String>,
}

impl Made {
    /// Adds a word if it is new.
    pub fn add(&mut self, word: &str, kind: i32, score: f32) {
        if !self.words.iter().any(|known| known == word) {
            self.words.push(word.into());
            self.types.push(kind);
            self.scores.push(score);
        }
    }

    pub fn bytes(&mut self) {
        for byte in 0..=255 {
            self.add(&format!("<0x{byte:02X}>"), 6, 0.0);
        }
    }

    /// Adds words built from letters and from each other, each with a merge for byte-level
    /// vocabularies.
    pub fn grow(&mut self, letters: &[char], count: usize, random: &mut Random, byte_level: bool) {
        let space = if byte_level { "\u{120}" } else { "\u{2581}" };
        let mut parts: Vec<String> = vec![space.into()];
        parts.extend(letters.iter().map(|c| match byte_level {
            true => c.to_string().bytes().map(letter).collect(),
            false => c.to_string(),
        }));
        for part in &parts {
            self.add(part, 1, -(random.below(1000) as f32));
        }
        for _ in 0..count {
            let (left, right) = (random.below(parts.len()), random.below(parts.len()));
            let word = format!("{}{}", parts[left], parts[right]);
            if word.chars().count() > 12 {
                continue;
            }
            self.merges
                .push(format!("{} {}", parts[left], parts[right]));
            // Scores that are equal now and then.
            self.add(&word, 1, -(random.below(60) as f32) / 2.0);
            parts.push(word);
        }
    }

    /// Makes the file with the lists and the keys that they need.
    pub fn file(&self, byte_level: bool) -> Gguf {
        let mut file = Gguf::default();
        file.text("general.architecture", "llama");
        let model = if byte_level { "gpt2" } else { "llama" };
        file.text("tokenizer.ggml.model", model);
        file.texts("tokenizer.ggml.tokens", &self.words);
        file.numbers("tokenizer.ggml.token_type", 5, &self.types);
        if byte_level {
            file.texts("tokenizer.ggml.merges", &self.merges);
        } else {
            let bits: Vec<i32> = self.scores.iter().map(|s| s.to_bits() as i32).collect();
            file.numbers("tokenizer.ggml.scores", 6, &bits);
        }
        file
    }

    pub fn id(&self, word: &str) -> u32 {
        let at = self.words.iter().position(|known| known == word);
        at.unwrap_or_else(|| panic!("{word:?} is not there")) as u32
    }
}

/// Parts of random texts, in addition to a vocabulary's own words.
const PARTS: [&str; 54] = [
    "a",
    "b",
    "ab",
    "abc",
    "e",
    "s",
    "t",
    "the",
    " the",
    "Hello",
    "World",
    "HTTPServer",
    "don't",
    "I'LL",
    "'s",
    "'",
    "\u{2019}re",
    " ",
    "  ",
    "    ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "\u{a0}",
    "\u{2003}",
    "\u{85}",
    "1",
    "12",
    "1234567",
    "3.14",
    "\u{bd}",
    "\u{0664}",
    "!",
    "...",
    "?!",
    "$",
    "+=",
    "<|",
    "|>",
    "[",
    "</",
    "\u{e9}",
    "\u{c0}B",
    "\u{df}\u{17f}",
    "\u{65e5}\u{672c}\u{8a9e}",
    "\u{d55c}\u{ae00}",
    "\u{395}\u{3bb}",
    "\u{0939}\u{093f}",
    "e\u{301}",
    "\u{1f642}",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{202f}",
    "\u{10ffff}",
];

/// Text of a few parts and of some of `words`.
pub fn text(random: &mut Random, words: &[String]) -> String {
    let mut out = String::new();
    for _ in 0..random.below(12) {
        match random.below(8) {
            0 => {
                let code = match random.below(3) {
                    0 => random.below(0x3000),
                    1 => random.below(0x1_0000),
                    _ => random.below(0x11_0000),
                };
                out.extend(char::from_u32(code as u32));
            }
            1..3 if !words.is_empty() => out += &words[random.below(words.len())],
            _ => out += random.of(&PARTS),
        }
    }
    out
}
