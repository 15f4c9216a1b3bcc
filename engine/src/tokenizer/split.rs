//! Pre-tokenizers: where a text is cut before byte-level BPE, so that no merge reaches from one word into the next.
//!
//! Each family of models has a regular expression of its own for it; what they match is written out here, since they look
//! ahead, which regular expressions without backtracking cannot. A text that no expression matches is a word, too.

use alloc::vec::Vec;

use super::classes::Class;

/// A way of cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Splitter {
    /// GPT-2's words.
    Gpt2,
    /// Each digit alone, then GPT-2's words.
    Digits,
    /// Llama 3's words, with this many digits together; Qwen2's with one.
    Llama3 {
        /// See there.
        digits: usize,
    },
    /// Mistral's Tekken: words are cut where a capital follows.
    Tekken,
    /// llama.cpp's own: punctuation, GPT-2's words, numbers, three digits.
    Default,
}

/// How a model of a name in `tokenizer.ggml.pre` cuts, whether a word that is a token is taken as it is, and whether texts
/// begin with BOS if nothing else is said.
pub(super) fn named(name: &str) -> Option<(Splitter, bool, bool)> {
    Some(match name {
        "default" => (Splitter::Default, false, false),
        "gpt-2" | "phi-2" | "mellum" | "modern-bert" | "gigachat" | "a.x-4.0" | "jais" | "olmo"
        | "mpt" | "trillion" | "granite-docling" => (Splitter::Gpt2, false, false),
        "smollm" | "refact" | "starcoder" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            (Splitter::Digits, false, false)
        }
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" | "pixtral" | "lfm2" | "midm-2.0" => {
            (Splitter::Llama3 { digits: 3 }, true, true)
        }
        "dbrx" | "smaug-bpe" | "glm4" | "chatglm-bpe" => {
            (Splitter::Llama3 { digits: 3 }, false, false)
        }
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" | "megrez" | "hunyuan" => {
            (Splitter::Llama3 { digits: 1 }, false, false)
        }
        "tekken" => (Splitter::Tekken, true, true),
        _ => return None,
    })
}

/// The names that people meet most often, for messages.
pub(super) const KNOWN: &str =
    "default, gpt-2, smollm, refact, starcoder, llama-bpe, qwen2, tekken and their like";

/// A text's characters with their classes.
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

    /// The first place from `i` on where `test` does not hold.
    fn run(&self, i: usize, end: usize, test: impl Fn(char, Class) -> bool) -> usize {
        let run = self.all[i..end].iter();
        i + run.take_while(|(c, class)| test(*c, *class)).count()
    }
}

/// Calls `each` with the words of `text`, which come one behind the other.
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
    match splitter {
        Splitter::Gpt2 => stage(&gpt2),
        Splitter::Digits => {
            stage(&|t, at, end| runs(t, at, end, 1, |_, class| class == Class::Number));
            stage(&gpt2);
        }
        Splitter::Llama3 { digits } => stage(&|t, at, end| llama3(t, at, end, digits)),
        Splitter::Tekken => {
            let table = Capitals::of(&characters);
            stage(&|t, at, end| tekken(t, at, end, &table));
        }
        Splitter::Default => {
            stage(&|t, at, end| {
                runs(t, at, end, usize::MAX, |c, class| {
                    class == Class::Punctuation || "$+<=>^~|".contains(c)
                })
            });
            stage(&gpt2);
            stage(&|t, at, end| runs(t, at, end, usize::MAX, |_, class| class == Class::Number));
            stage(&threes);
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

/// Runs of what passes `test`, `most` characters at most, and what lies between them.
fn runs(
    t: &Characters,
    at: usize,
    end: usize,
    most: usize,
    test: impl Fn(char, Class) -> bool + Copy,
) -> usize {
    let run = t.run(at, end.min(at.saturating_add(most)), test);
    if run > at {
        run
    } else {
        t.run(at, end, |c, class| !test(c, class))
    }
}

/// Three ASCII digits each, and what lies between them.
fn threes(t: &Characters, at: usize, end: usize) -> usize {
    let three =
        |at: usize| at + 3 <= end && t.all[at..at + 3].iter().all(|(c, _)| c.is_ascii_digit());
    if three(at) {
        return at + 3;
    }
    (at + 1..end).find(|&i| three(i)).unwrap_or(end)
}

/// `'s`, `'t`, `'m`, `'d`, `'re`, `'ve` or `'ll` at `at`: its length.
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

/// White space from `at` on, which another rule has not taken: all of it at the text's end, else all but the last, which
/// belongs to the next word.
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

/// Letters, numbers, or all others; nothing for white space.
fn kind(class: Class) -> Option<Class> {
    match class {
        Class::Space => None,
        Class::Punctuation => Some(Class::Other),
        class => Some(class),
    }
}

/// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
fn llama3(t: &Characters, at: usize, end: usize, digits: usize) -> usize {
    if let Some(length) = contraction(t, at, end, true) {
        return at + length;
    }
    let (c, class) = t.all[at];
    let before = !matches!(c, '\r' | '\n') && class != Class::Number;
    if before && (class == Class::Letter || t.is(at + 1, end, Class::Letter)) {
        return t.run(at + 1, end, |_, class| class == Class::Letter);
    }
    numbers_signs_spaces(t, at, end, digits, "\r\n")
}

/// What Llama 3's and Tekken's words have in common behind the letters; signs take the characters of `tail` with them.
fn numbers_signs_spaces(t: &Characters, at: usize, end: usize, digits: usize, tail: &str) -> usize {
    let (c, class) = t.all[at];
    if class == Class::Number {
        return t.run(at, end.min(at + digits), |_, class| class == Class::Number);
    }
    let sign = |class| kind(class) == Some(Class::Other);
    let start = at + usize::from(c == ' ');
    if t.class(start, end).is_some_and(sign) {
        let signs = t.run(start, end, |_, class| sign(class));
        return t.run(signs, end, |c, _| tail.contains(c));
    }
    let run = t.run(at, end, |_, class| class == Class::Space);
    let line = t.all[at..run]
        .iter()
        .rposition(|(c, _)| matches!(c, '\r' | '\n'));
    match line {
        Some(last) => at + last + 1,
        None => spaces(t, at, end),
    }
}

/// Where runs of capitals end, and where the last letter that is no ASCII capital stands, for each place: looked up, not
/// searched, so that no text takes long.
struct Capitals {
    /// For each place the end of the run of letters from there that are no small ASCII ones.
    ends: Vec<usize>,
    /// For each place the last one before it with a letter that is no ASCII capital, plus one; 0 if none.
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

/// A letter that is no small ASCII one.
fn upper((c, class): (char, Class)) -> bool {
    class == Class::Letter && !c.is_ascii_lowercase()
}

/// A letter that is no ASCII capital.
fn lower((c, class): (char, Class)) -> bool {
    class == Class::Letter && !c.is_ascii_uppercase()
}

/// `[^\r\n\p{L}\p{N}]?U*L+|[^\r\n\p{L}\p{N}]?U+L*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`, where U are letters
/// but a to z, and L letters but A to Z: as llama.cpp has it, which knows no case beyond ASCII.
fn tekken(t: &Characters, at: usize, end: usize, table: &Capitals) -> usize {
    let (c, class) = t.all[at];
    let before = !matches!(c, '\r' | '\n') && !matches!(class, Class::Letter | Class::Number);
    let start = at + usize::from(before);
    if t.is(start, end, Class::Letter) {
        let capitals = table.ends[start].min(end).max(start);
        if capitals < end && lower(t.all[capitals]) {
            return t.run(capitals, end, |c, class| lower((c, class)));
        }
        // The capitals give back what may be a small letter as well; without one they are a word themselves.
        let last = table.last[capitals];
        return if last > start { last } else { capitals };
    }
    numbers_signs_spaces(t, at, end, 1, "\r\n/")
}
