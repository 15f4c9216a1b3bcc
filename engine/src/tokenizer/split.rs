//! Pre-tokenizers: they split text into words before byte-level BPE, so that no merge crosses from
//! one word into the next.
//!
//! Each model family has its own regular expression for this. They are implemented by hand here,
//! because they look ahead, which regular expressions without backtracking cannot. Text that no
//! expression matches also becomes a word.

use alloc::vec::Vec;

use super::classes::Class;

/// Pre-tokenizer: a sequence of stages, each of which splits the words of the one before.
pub(super) type Splitter = &'static [Stage];

/// Splitting rule of one regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// GPT-2's words.
    Gpt2,
    /// Llama 3's words.
    Llama3(Llama3),
    /// Words that are split before a capital: Tekken's (Mistral) with single digits, GPT-4o's with
    /// up to three digits and with contractions at the ends of words.
    Capitals { digits: usize, contractions: bool },
    /// DeepSeek V3's words.
    DeepSeek3,
    /// Runs of one kind of character, with a largest length, and the text between them.
    Runs(Of, usize),
    /// Like `Runs`, but a preceding space belongs to the run: any white space, or U+0020 only.
    Spaced(Of, Before),
    /// Groups of three ASCII digits.
    Threes,
    /// Trailing white space.
    End,
}

/// Characters that may precede a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    White,
    Space,
}

/// Parameters of Llama 3's words and similar ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Llama3 {
    /// Largest number of digits in a word.
    digits: usize,
    /// True if combining marks are letters.
    marks: bool,
    /// True if line ends stay with the punctuation before them.
    lines: bool,
}

const LLAMA3: Llama3 = Llama3 {
    digits: 3,
    marks: false,
    lines: true,
};

/// Kinds of characters in runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Number,
    Letter,
    Punctuation,
    /// Punctuation and some ASCII symbols; Falcon's set has one more.
    Signs,
    FalconSigns,
    LineEnd,
    /// Chinese, Japanese, Korean and other characters, as in DeepSeek and as in DeepSeek V3.
    East,
    Chinese,
    /// Latin, Greek, Cyrillic and other letters that have case.
    Cased,
    /// ASCII and Chinese punctuation.
    ManySigns,
    /// Characters that do not end a phrase.
    Phrase,
}

impl Of {
    fn has(self, (c, class): (char, Class)) -> bool {
        match self {
            Of::Number => class == Class::Number,
            Of::Letter => class == Class::Letter,
            Of::Punctuation => class == Class::Punctuation,
            Of::Signs => class == Class::Punctuation || "$+<=>^~|".contains(c),
            Of::FalconSigns => class == Class::Punctuation || "$+<=>^~|`".contains(c),
            Of::LineEnd => matches!(c, '\r' | '\n'),
            Of::East => {
                let east = matches!(c, '\u{800}'..='\u{9fa5}' | '\u{ac00}'..='\u{d7ff}');
                east && class != Class::Space
            }
            Of::Chinese => matches!(c, '\u{4e00}'..='\u{9fa5}' | '\u{3040}'..='\u{30ff}'),
            Of::Cased => {
                let at = CASED.partition_point(|&(_, last)| last < u32::from(c));
                CASED
                    .get(at)
                    .is_some_and(|&(first, _)| first <= u32::from(c))
            }
            Of::ManySigns => matches!(c, '!'..='/' | ':'..='~' | '\u{ff01}'..='\u{ff0f}'
                | '\u{ff1a}'..='\u{ff5e}' | '\u{2018}'..='\u{201f}' | '\u{3001}' | '\u{3002}'),
            Of::Phrase => {
                let ends = "(|.,!?)\u{2026}\u{3002}\u{ff0c}\u{3001}\u{964}\u{6d4}\u{60c}";
                class != Class::Space && !ends.contains(c)
            }
        }
    }
}

/// Letters as in DeepSeek LLM, as ranges.
const CASED: [(u32, u32); 87] = [
    (0x41, 0x5a),
    (0x61, 0x7a),
    (0xb5, 0xb5),
    (0xc0, 0xd6),
    (0xd8, 0xf6),
    (0xf8, 0x1ba),
    (0x1bc, 0x1bf),
    (0x1c4, 0x293),
    (0x295, 0x2af),
    (0x370, 0x373),
    (0x376, 0x376),
    (0x377, 0x377),
    (0x37b, 0x37d),
    (0x37f, 0x37f),
    (0x386, 0x386),
    (0x388, 0x38a),
    (0x38c, 0x38c),
    (0x38e, 0x3a1),
    (0x3a3, 0x3f5),
    (0x3f7, 0x481),
    (0x48a, 0x52f),
    (0x531, 0x556),
    (0x10a0, 0x10c5),
    (0x13a0, 0x13f5),
    (0x13f8, 0x13fd),
    (0x1c90, 0x1cba),
    (0x1cbd, 0x1cbf),
    (0x1d00, 0x1d2b),
    (0x1d6b, 0x1d77),
    (0x1d79, 0x1d9a),
    (0x1e00, 0x1f15),
    (0x1f18, 0x1f1d),
    (0x1f20, 0x1f45),
    (0x1f48, 0x1f4d),
    (0x1f50, 0x1f57),
    (0x1f59, 0x1f59),
    (0x1f5b, 0x1f5b),
    (0x1f5d, 0x1f5d),
    (0x1f5f, 0x1f7d),
    (0x1f80, 0x1fb4),
    (0x1fb6, 0x1fbc),
    (0x1fbe, 0x1fbe),
    (0x1fc2, 0x1fc4),
    (0x1fc6, 0x1fcc),
    (0x1fd0, 0x1fd3),
    (0x1fd6, 0x1fdb),
    (0x1fe0, 0x1fec),
    (0x1ff2, 0x1ff4),
    (0x1ff6, 0x1ffc),
    (0x2102, 0x2102),
    (0x2107, 0x2107),
    (0x210a, 0x2113),
    (0x2115, 0x2115),
    (0x2119, 0x211d),
    (0x2124, 0x2124),
    (0x2126, 0x2126),
    (0x2128, 0x2128),
    (0x212a, 0x212d),
    (0x212f, 0x2134),
    (0x2139, 0x2139),
    (0x213c, 0x213f),
    (0x2145, 0x2149),
    (0x214e, 0x214e),
    (0x2183, 0x2183),
    (0x2184, 0x2184),
    (0x2c00, 0x2c7b),
    (0x2c7e, 0x2ce4),
    (0x2ceb, 0x2cee),
    (0x2cf2, 0x2cf2),
    (0x2cf3, 0x2cf3),
    (0xa640, 0xa66d),
    (0xa680, 0xa69b),
    (0xa722, 0xa76f),
    (0xa771, 0xa787),
    (0xa78b, 0xa78e),
    (0xab70, 0xabbf),
    (0xfb00, 0xfb06),
    (0xfb13, 0xfb17),
    (0xff21, 0xff3a),
    (0xff41, 0xff5a),
    (0x10400, 0x1044f),
    (0x104b0, 0x104d3),
    (0x104d8, 0x104fb),
    (0x10c80, 0x10cb2),
    (0x10cc0, 0x10cf2),
    (0x118a0, 0x118df),
    (0x1e900, 0x1e943),
];

const GPT2: Splitter = &[Stage::Gpt2];
const DIGITS: Splitter = &[Stage::Runs(Of::Number, 1), Stage::Gpt2];
const LLAMA3_WORDS: Splitter = &[Stage::Llama3(LLAMA3)];
const QWEN2: Splitter = &[Stage::Llama3(Llama3 {
    digits: 1,
    ..LLAMA3
})];
const DEEPSEEK3: Splitter = &[
    Stage::Runs(Of::Number, 3),
    Stage::Runs(Of::Chinese, usize::MAX),
    Stage::DeepSeek3,
];

/// Pre-tokenizer for a name in `tokenizer.ggml.pre`, whether a word that is a token is used as it
/// is, and whether texts begin with BOS by default.
pub(super) fn named(name: &str) -> Option<(Splitter, bool, bool)> {
    Some(match name {
        "default" => (
            &[
                Stage::Runs(Of::Signs, usize::MAX),
                Stage::Gpt2,
                Stage::Runs(Of::Number, usize::MAX),
                Stage::Threes,
            ],
            false,
            false,
        ),
        "gpt-2" | "phi-2" | "mellum" | "modern-bert" | "gigachat" | "a.x-4.0" | "jais" | "olmo"
        | "mpt" | "trillion" | "granite-docling" | "exaone4" => (GPT2, false, false),
        "smollm" | "refact" | "starcoder" | "command-r" | "codeshell" | "exaone" | "minerva-7b"
        | "mellum2" => (DIGITS, false, false),
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "falcon-h1" | "pixtral" | "lfm2"
        | "midm-2.0" => (LLAMA3_WORDS, true, true),
        "dbrx" | "smaug-bpe" | "chatglm-bpe" => (LLAMA3_WORDS, false, false),
        "glm4" | "glm5" => (LLAMA3_WORDS, true, false),
        "qwen2" | "deepseek-r1-qwen" | "kormo" | "stablelm2" | "megrez" | "hunyuan" | "grok-2"
        | "solar-open" => (QWEN2, false, false),
        "qwen35" => (
            &[Stage::Llama3(Llama3 {
                digits: 1,
                marks: true,
                lines: true,
            })],
            false,
            false,
        ),
        "seed-coder" => (
            &[Stage::Llama3(Llama3 {
                digits: 1,
                marks: false,
                lines: false,
            })],
            false,
            false,
        ),
        "minicpm5" => (
            &[
                Stage::Runs(Of::Number, 3),
                Stage::Llama3(Llama3 {
                    digits: usize::MAX,
                    ..LLAMA3
                }),
            ],
            true,
            false,
        ),
        "tekken" => (
            &[Stage::Capitals {
                digits: 1,
                contractions: false,
            }],
            true,
            true,
        ),
        "gpt-4o" | "llama4" | "kanana2" | "talkie" | "minimax-m2" => (
            &[Stage::Capitals {
                digits: 3,
                contractions: true,
            }],
            false,
            false,
        ),
        "falcon" => (
            &[
                Stage::Runs(Of::FalconSigns, usize::MAX),
                Stage::Gpt2,
                Stage::Threes,
            ],
            false,
            false,
        ),
        "deepseek-llm" => (
            &[
                Stage::Runs(Of::LineEnd, 1),
                Stage::Spaced(Of::Cased, Before::White),
                Stage::Spaced(Of::ManySigns, Before::White),
                Stage::End,
                Stage::Runs(Of::East, usize::MAX),
                Stage::Runs(Of::Number, usize::MAX),
            ],
            false,
            false,
        ),
        "deepseek-coder" => (
            &[
                Stage::Runs(Of::LineEnd, 1),
                Stage::Spaced(Of::Letter, Before::White),
                Stage::Spaced(Of::Punctuation, Before::White),
                Stage::Runs(Of::East, usize::MAX),
                Stage::Runs(Of::Number, 1),
            ],
            false,
            false,
        ),
        "deepseek-v3" | "hunyuan-dense" | "joyai-llm" | "hy_v4" => (DEEPSEEK3, false, false),
        "poro-chat" | "bloom" | "gpt3-finnish" => {
            (&[Stage::Spaced(Of::Phrase, Before::Space)], false, false)
        }
        "viking" => (
            &[
                Stage::Spaced(Of::Phrase, Before::Space),
                Stage::Runs(Of::Number, 1),
            ],
            false,
            false,
        ),
        _ => return None,
    })
}

/// Most common names, for error messages.
pub(super) const KNOWN: &str = "default, gpt-2, smollm, refact, starcoder, llama-bpe, qwen2, tekken, gpt-4o, deepseek-llm, \
     deepseek-coder, deepseek-v3, falcon and their like";

/// Characters of a text with their classes.
struct Characters {
    all: Vec<(char, Class)>,
}

impl Characters {
    fn class(&self, i: usize, end: usize) -> Option<Class> {
        (i < end).then(|| self.all[i].1)
    }

    fn is(&self, i: usize, end: usize, class: Class) -> bool {
        self.class(i, end) == Some(class)
    }

    /// First index from `i` on where `test` fails.
    fn run(&self, i: usize, end: usize, test: impl Fn(char, Class) -> bool) -> usize {
        let run = self.all[i..end].iter();
        i + run.take_while(|(c, class)| test(*c, *class)).count()
    }
}

/// Calls `each` with consecutive words of `text`.
pub(super) fn words<'t>(splitter: Splitter, text: &'t str, each: &mut dyn FnMut(&'t str)) {
    let all: Vec<(char, Class)> = text.chars().map(|c| (c, Class::of(c))).collect();
    let characters = Characters { all };
    let mut ends = alloc::vec![characters.all.len()];
    let mut stage = |next: &dyn Fn(&Characters, usize, usize) -> usize| {
        let mut cut = Vec::new();
        let mut at = 0;
        for &end in &ends {
            while at < end {
                at = next(&characters, at, end);
                cut.push(at);
            }
        }
        ends = cut;
    };
    for cut in splitter {
        match *cut {
            Stage::Gpt2 => stage(&gpt2),
            Stage::Llama3(numbers) => stage(&|t, at, end| llama3(t, at, end, numbers)),
            Stage::Capitals {
                digits,
                contractions,
            } => {
                let table = Capitals::of(&characters);
                stage(&|t, at, end| capitals(t, at, end, &table, digits, contractions));
            }
            Stage::DeepSeek3 => stage(&deepseek3),
            Stage::Runs(of, most) => stage(&|t, at, end| runs(t, at, end, most, of)),
            Stage::Spaced(of, before) => stage(&|t, at, end| spaced(t, at, end, of, before)),
            Stage::Threes => stage(&threes),
            Stage::End => stage(&|t, at, end| last_spaces(t, at, end)),
        }
    }
    let (mut rest, mut at) = (text, 0);
    for end in ends {
        let bytes: usize = characters.all[at..end]
            .iter()
            .map(|(c, _)| c.len_utf8())
            .sum();
        let (word, behind) = rest.split_at(bytes);
        each(word);
        (rest, at) = (behind, end);
    }
}

/// End of a run of one kind, of at most `most` characters, or of the text before the next run.
fn runs(t: &Characters, at: usize, end: usize, most: usize, of: Of) -> usize {
    let run = t.run(at, end.min(at.saturating_add(most)), |c, class| {
        of.has((c, class))
    });
    if run > at {
        run
    } else {
        t.run(at, end, |c, class| !of.has((c, class)))
    }
}

/// End of a run with a preceding space, or of the text before the next run.
fn spaced(t: &Characters, at: usize, end: usize, of: Of, before: Before) -> usize {
    let space = |i: usize| match before {
        Before::White => t.is(i, end, Class::Space),
        Before::Space => i < end && t.all[i].0 == ' ',
    };
    let has = |i: usize| i < end && of.has(t.all[i]);
    let begins = |i: usize| has(i) || space(i) && has(i + 1);
    if begins(at) {
        let start = at + usize::from(!has(at) || space(at) && has(at + 1));
        return t.run(start, end, |c, class| of.has((c, class)));
    }
    (at + 1..end).find(|&i| begins(i)).unwrap_or(end)
}

/// End of the trailing white space, or of the text before it.
fn last_spaces(t: &Characters, at: usize, end: usize) -> usize {
    let space = |c: &(char, Class)| c.1 == Class::Space;
    let last = t.all[at..end].iter().rposition(|c| !space(c));
    match last {
        Some(last) => at + last + 1,
        None => end,
    }
}

/// End of a group of three ASCII digits, or of the text before the next one.
fn threes(t: &Characters, at: usize, end: usize) -> usize {
    let three =
        |at: usize| at + 3 <= end && t.all[at..at + 3].iter().all(|(c, _)| c.is_ascii_digit());
    if three(at) {
        return at + 3;
    }
    (at + 1..end).find(|&i| three(i)).unwrap_or(end)
}

/// Length of `'s`, `'t`, `'m`, `'d`, `'re`, `'ve` or `'ll` at `at`.
fn contraction(t: &Characters, at: usize, end: usize, any_case: bool) -> Option<usize> {
    let letter = |i: usize| {
        let c = t.all.get(at + i).filter(|_| at + i < end)?.0;
        Some(if any_case { c.to_ascii_lowercase() } else { c })
    };
    if letter(0) != Some('\'') {
        return None;
    }
    match (letter(1)?, letter(2)) {
        ('s' | 't' | 'm' | 'd', _) => Some(2),
        ('r' | 'v', Some('e')) | ('l', Some('l')) => Some(3),
        _ => None,
    }
}

/// End of white space from `at` on that no other rule takes: all of it at the end of the text, else
/// all but the last character, which belongs to the next word.
fn spaces(t: &Characters, at: usize, end: usize) -> usize {
    let run = t.run(at, end, |_, class| class == Class::Space);
    if run - at > 1 && run < end {
        run - 1
    } else {
        run
    }
}

/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
fn gpt2(t: &Characters, at: usize, end: usize) -> usize {
    if let Some(length) = contraction(t, at, end, false) {
        return at + length;
    }
    let start = at + usize::from(t.all[at].0 == ' ' && at + 1 < end);
    match kind(t.all[start].1) {
        Some(wanted) => t.run(start, end, |_, class| kind(class) == Some(wanted)),
        None => spaces(t, at, end),
    }
}

/// Class that words are made of: letters, numbers, or all others; `None` for white space.
fn kind(class: Class) -> Option<Class> {
    match class {
        Class::Space => None,
        Class::Punctuation | Class::Mark | Class::Symbol => Some(Class::Other),
        class => Some(class),
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
/// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn llama3(t: &Characters, at: usize, end: usize, numbers: Llama3) -> usize {
    if let Some(length) = contraction(t, at, end, true) {
        return at + length;
    }
    let letter = |class| class == Class::Letter || numbers.marks && class == Class::Mark;
    let (c, class) = t.all[at];
    let before = !matches!(c, '\r' | '\n') && class != Class::Number;
    if before && (letter(class) || t.class(at + 1, end).is_some_and(letter)) {
        return t.run(at + 1, end, |_, class| letter(class));
    }
    let tail = if numbers.lines { "\r\n" } else { "" };
    numbers_signs_spaces(t, at, end, numbers.digits, tail, letter)
}

/// Rules that Llama 3's and Tekken's words share after the letters; punctuation includes following
/// characters of `tail`.
fn numbers_signs_spaces(
    t: &Characters,
    at: usize,
    end: usize,
    digits: usize,
    tail: &str,
    letter: impl Fn(Class) -> bool,
) -> usize {
    let (c, class) = t.all[at];
    if class == Class::Number {
        let most = end.min(at.saturating_add(digits));
        return t.run(at, most, |_, class| class == Class::Number);
    }
    let sign = |class| kind(class) == Some(Class::Other) && !letter(class);
    let start = at + usize::from(c == ' ');
    if t.class(start, end).is_some_and(sign) {
        let signs = t.run(start, end, |_, class| sign(class));
        return t.run(signs, end, |c, _| tail.contains(c));
    }
    lines_and_spaces(t, at, end).max(at + 1)
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+`; `at` where there is no white space.
fn lines_and_spaces(t: &Characters, at: usize, end: usize) -> usize {
    let run = t.run(at, end, |_, class| class == Class::Space);
    let line = t.all[at..run]
        .iter()
        .rposition(|(c, _)| matches!(c, '\r' | '\n'));
    match line {
        Some(last) => at + last + 1,
        None => spaces(t, at, end),
    }
}

/// ``[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|
/// ?[\p{P}\p{S}]+[\r\n]*|`` followed by Llama 3's rules; text that no rule matches, up to the next
/// match.
fn deepseek3(t: &Characters, at: usize, end: usize) -> usize {
    let found = |at: usize| {
        let (c, class) = t.all[at];
        let next = t.all[..end].get(at + 1).copied();
        let letter = |class| matches!(class, Class::Letter | Class::Mark);
        let sign = |class| matches!(class, Class::Punctuation | Class::Symbol);
        if c.is_ascii_punctuation() && next.is_some_and(|(c, _)| c.is_ascii_alphabetic()) {
            return Some(t.run(at + 1, end, |c, _| c.is_ascii_alphabetic()));
        }
        let before = !matches!(c, '\r' | '\n') && class != Class::Letter && !sign(class);
        if letter(class) || before && next.is_some_and(|(_, class)| letter(class)) {
            return Some(t.run(at + 1, end, |_, class| letter(class)));
        }
        let start = at + usize::from(c == ' ');
        if t.class(start, end).is_some_and(sign) {
            let signs = t.run(start, end, |_, class| sign(class));
            return Some(t.run(signs, end, |c, _| matches!(c, '\r' | '\n')));
        }
        Some(lines_and_spaces(t, at, end)).filter(|&word| word > at)
    };
    let none = |&i: &usize| found(i).is_some();
    found(at).unwrap_or_else(|| (at + 1..end).find(none).unwrap_or(end))
}

/// Tables of where runs of capitals end and where the previous letter that is not an ASCII capital
/// is. They make lookups constant-time, so that no text takes long.
struct Capitals {
    /// For each index, the end of the run of letters from there that are not lower-case ASCII.
    ends: Vec<usize>,
    /// For each index, one more than the last index before it with a letter that is not an ASCII
    /// capital; 0 if there is none.
    last: Vec<usize>,
}

impl Capitals {
    fn of(t: &Characters) -> Capitals {
        let len = t.all.len();
        let mut ends: Vec<usize> = (0..=len).collect();
        let mut last = alloc::vec![0; len + 1];
        for i in (0..len).rev() {
            if upper(t.all[i]) {
                ends[i] = ends[i + 1].max(i + 1);
            }
        }
        for i in 0..len {
            last[i + 1] = if lower(t.all[i]) { i + 1 } else { last[i] };
        }
        Capitals { ends, last }
    }
}

/// Returns true for letters that are not lower-case ASCII.
fn upper((c, class): (char, Class)) -> bool {
    class == Class::Letter && !c.is_ascii_lowercase()
}

/// Returns true for letters that are not ASCII capitals.
fn lower((c, class): (char, Class)) -> bool {
    class == Class::Letter && !c.is_ascii_uppercase()
}

/// `[^\r\n\p{L}\p{N}]?U*L+C?|[^\r\n\p{L}\p{N}]?U+L*C?|\p{N}{1,3}|
/// ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`, where U are letters except a to z, L
/// letters except A to Z, and C contractions: as in llama.cpp, which knows no case beyond ASCII.
fn capitals(
    t: &Characters,
    at: usize,
    end: usize,
    table: &Capitals,
    digits: usize,
    contractions: bool,
) -> usize {
    let (c, class) = t.all[at];
    let before = !matches!(c, '\r' | '\n') && !matches!(class, Class::Letter | Class::Number);
    let start = at + usize::from(before);
    if !t.is(start, end, Class::Letter) {
        return numbers_signs_spaces(t, at, end, digits, "\r\n/", |class| class == Class::Letter);
    }
    let capitals = table.ends[start].min(end).max(start);
    let word = if capitals < end && lower(t.all[capitals]) {
        t.run(capitals, end, |c, class| lower((c, class)))
    } else {
        // The run of capitals gives back a letter that may also count as lower case; without one it
        // is a word of its own.
        let last = table.last[capitals];
        if last > start { last } else { capitals }
    };
    let length = contraction(t, word, end, true).filter(|_| contractions);
    word + length.unwrap_or(0)
}
