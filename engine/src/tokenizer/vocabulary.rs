//! Tokenizers from GGUF vocabularies: which tokens are words, control tokens and bytes, and which
//! end a text, by llama.cpp's rules.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

use super::{
    BOS, EOS, Error, Kind, LONGEST_PIECE, Tokenizer, Way, bpe, llama2c, special::Specials, split,
    spm, words::Words,
};

/// Vocabulary as described by a GGUF file.
#[derive(Debug, Clone, Copy)]
pub struct Vocabulary<'a> {
    /// Words in the order of their tokens, all different. Mostly UTF-8.
    pub words: &'a [Vec<u8>],
    /// Types of the tokens: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty
    /// if all are normal.
    pub types: &'a [i32],
    /// Scores or merges.
    pub merging: Merging<'a>,
    /// Tokens that the file names.
    pub ids: Ids,
    /// True if texts begin with BOS; `None` for the default of this kind.
    pub add_bos: Option<bool>,
    /// True if texts end with EOS.
    pub add_eos: Option<bool>,
    /// True if a space is put before texts; `None` for the default, which is to do so for
    /// SentencePiece only.
    pub add_space_prefix: Option<bool>,
    /// Name of the pre-tokenizer, `tokenizer.ggml.pre`.
    pub pre: Option<&'a str>,
    /// Name of the model, `general.name`, which llama.cpp uses to recognise some models.
    pub name: &'a str,
    /// True if the file has a chat template.
    pub chats: bool,
}

/// Rules for merging words.
#[derive(Debug, Clone, Copy)]
pub enum Merging<'a> {
    /// SentencePiece: the score of each token; empty if all are 0.
    Scores(&'a [f32]),
    /// Byte-level BPE: `LEFT RIGHT`, lowest rank first.
    Ranks(&'a [Vec<u8>]),
}

/// Tokens that a file names (`tokenizer.ggml.…_token_id`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ids {
    /// Beginning of sequence.
    pub bos: Option<u32>,
    /// End of sequence.
    pub eos: Option<u32>,
    /// End of turn.
    pub eot: Option<u32>,
    /// End of message.
    pub eom: Option<u32>,
    /// Token for text that is not in the vocabulary.
    pub unknown: Option<u32>,
    /// Tokens for fill-in-the-middle: prefix, suffix, middle, padding, repository, file separator.
    pub middle: [Option<u32>; 6],
    /// Tokens that are named but not used: separator, padding, mask.
    pub others: [Option<u32>; 3],
}

impl Ids {
    /// Replaces tokens outside of a vocabulary of `count` by the defaults of this kind, if the
    /// vocabulary has those, and returns a sentence about each (llama.cpp's
    /// `llama_vocab::impl::load`).
    fn keep_inside(&mut self, count: usize, by_score: bool) -> Vec<String> {
        let inside = |token: u32| (token as usize) < count;
        let default = |scores, ranks| if by_score { scores } else { ranks };
        let named = [
            ("bos", &mut self.bos, default(Some(BOS), Some(11))),
            ("eos", &mut self.eos, default(Some(EOS), Some(11))),
            ("eot", &mut self.eot, None),
            ("eom", &mut self.eom, None),
            ("unknown", &mut self.unknown, default(Some(0), None)),
        ];
        let middle = self.middle.iter_mut().map(|id| ("fim", id, None));
        let others = self
            .others
            .iter_mut()
            .map(|id| ("padding, separator or mask", id, None));
        let mut said = Vec::new();
        for (name, id, default) in named.into_iter().chain(middle).chain(others) {
            let Some(token) = id.filter(|&token| !inside(token)) else {
                continue;
            };
            *id = default.filter(|&token| inside(token));
            let instead = match id {
                Some(token) => format!("takes token {token}"),
                None => "does without".into(),
            };
            said.push(format!(
                "the model's file names token {token} as {name}, but has {count} tokens: {instead}"
            ));
        }
        said
    }
}

/// Final type of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Byte,
    /// Unused or unknown.
    Other,
}

/// Names of tokens that end a text or a turn in various model families (llama.cpp's list).
const ENDS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Names of the tokens for fill-in-the-middle, in the order of [`Ids::middle`]; the first one found
/// is used if the file names none. The last three end a text.
const MIDDLE: [&[&str]; 6] = [
    &[
        "<|fim_prefix|>",
        "<fim-prefix>",
        "<fim_prefix>",
        "<｜fim▁begin｜>",
        "<PRE>",
        "▁<PRE>",
        "<|code_prefix|>",
        "<|prefix|>",
    ],
    &[
        "<|fim_suffix|>",
        "<fim-suffix>",
        "<fim_suffix>",
        "<｜fim▁hole｜>",
        "<SUF>",
        "▁<SUF>",
        "<|code_suffix|>",
        "<|suffix|>",
    ],
    &[
        "<|fim_middle|>",
        "<fim-middle>",
        "<fim_middle>",
        "<｜fim▁end｜>",
        "<MID>",
        "▁<MID>",
        "<|code_middle|>",
        "<|middle|>",
    ],
    &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    &[
        "<|fim_repo|>",
        "<|repo_name|>",
        "<fim-repo>",
        "<REPO>",
        "<reponame>",
    ],
    &["<|file_sep|>"],
];

/// Control tokens of gpt-oss that are shown.
const SHOWN: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// Words, to be found by their text.
struct Names<'a> {
    words: &'a [Cow<'a, [u8]>],
    sorted: Vec<u32>,
}

impl Names<'_> {
    fn find(&self, name: &str) -> Option<usize> {
        let word = |&token: &u32| &*self.words[token as usize];
        let name = name.as_bytes();
        let at = self.sorted.partition_point(|token| word(token) < name);
        let token = self.sorted.get(at).filter(|&token| word(token) == name)?;
        Some(*token as usize)
    }
}

/// See [`Tokenizer::new`].
pub(super) fn tokenizer(v: &Vocabulary<'_>) -> Result<Tokenizer, Error> {
    let (count, by_score) = (v.words.len(), matches!(v.merging, Merging::Scores(_)));
    check(v)?;
    let mut ids = v.ids;
    let warnings = ids.keep_inside(count, by_score);
    let v = &Vocabulary { ids, ..*v };
    let mut lengths = v.words.iter().map(Vec::len).enumerate();
    if let Some((token, found)) = lengths.find(|(_, found)| *found > 2 * LONGEST_PIECE) {
        return Err(Error::Piece { token, found });
    }
    if let Merging::Scores(scores) = v.merging
        && is_llama2c(v)
    {
        let mut made = made_by_llama2c(v.words, scores)?;
        made.warnings = warnings;
        return Ok(made);
    }
    let words: Vec<Cow<'_, [u8]>> = (0..)
        .zip(v.words)
        .map(|(token, word)| match &word[..] {
            // A name that no text contains, as in llama.cpp.
            b"" => Cow::Owned(format!("[EMPTY_{token}]").into_bytes()),
            word => Cow::Borrowed(word),
        })
        .collect();
    let mut sorted: Vec<u32> = (0..count as u32).collect();
    sorted.sort_unstable_by_key(|&token| &*words[token as usize]);
    let same = |pair: &&[u32]| words[pair[0] as usize] == words[pair[1] as usize];
    if let Some(pair) = sorted.windows(2).find(same) {
        return Err(Error::Twice {
            tokens: (pair[0].min(pair[1]), pair[0].max(pair[1])),
            word: String::from_utf8_lossy(&words[pair[0] as usize])
                .chars()
                .take(40)
                .collect(),
        });
    }
    let names = Names {
        words: &words,
        sorted,
    };
    if by_score {
        // llama.cpp's defaults.
        let there = |id: u32| Some(id).filter(|&id| (id as usize) < count);
        ids.bos = ids.bos.or(there(BOS));
        ids.eos = ids.eos.or(there(EOS));
        ids.unknown = ids.unknown.or(there(0));
    }
    let (types, ends) = types_and_ends(v.types, &names, &mut ids);

    let mut kept = Words::default();
    let mut kinds = Vec::with_capacity(count);
    let mut found = Vec::with_capacity(count);
    let mut bytes = Vec::new();
    for (token, (word, kind)) in (0u32..).zip(words.iter().zip(&types)) {
        // Bytes as merging sees them; `None` if the token cannot result from merging.
        bytes.clear();
        let whole = if by_score {
            spm::spaces(word, &mut bytes);
            !word.contains(&b' ')
        } else {
            let made = bpe::bytes(word);
            bytes.extend_from_slice(made.as_deref().unwrap_or(word));
            made.is_some()
        };
        if whole && !matches!(kind, Type::Control | Type::Unknown) {
            found.push(token);
        }
        kept.push(&bytes);
        kinds.push(match kind {
            Type::Normal => Kind::Normal,
            Type::UserDefined => Kind::Own,
            Type::Byte => spm::kind(word),
            Type::Unknown | Type::Control | Type::Other => Kind::Hidden,
        });
    }
    kept.sort(&mut found);

    let strips = strips(v.name);
    let specials = (0u32..).zip(words.iter().zip(&types));
    let specials = specials.filter_map(|(token, (word, kind))| {
        let sign = match kind {
            Type::UserDefined => false,
            Type::Control | Type::Unknown => true,
            _ => return None,
        };
        let kept = [&b"<unk>"[..], b"<s>", b"<|endoftext|>"];
        let strips = strips && !kept.contains(&&**word);
        Some((token, &**word, sign, strips))
    });
    let specials = Specials::new(specials);

    let mut made = Tokenizer {
        words: kept,
        kinds,
        scores: Vec::new(),
        sorted: found,
        way: Way::Llama2c,
        specials,
        begin: ids.bos,
        bos: None,
        eos: ids.eos.or(ends.first().copied()).unwrap_or_default(),
        adds_eos: v.add_eos.unwrap_or(false) && ids.eos.is_some(),
        ends,
        middle: ids.middle,
        chat_template: None,
        warnings,
    };
    let begins = match v.merging {
        Merging::Scores(scores) => {
            made.scores.extend_from_slice(scores);
            made.scores.resize(count, 0.0);
            let bytes = (0..=u8::MAX).map(|byte| {
                let found = names.find(&format!("<0x{byte:02X}>"));
                let found = found.or_else(|| names.find(core::str::from_utf8(&[byte]).ok()?));
                found.map(|token| token as u32)
            });
            let bytes = bytes.collect();
            made.way = Way::ByScore(spm::ByScore {
                bytes,
                unknown: ids.unknown,
                prefix: v.add_space_prefix.unwrap_or(true),
                longest: made.words.longest(),
            });
            true
        }
        Merging::Ranks(merges) => {
            let pre = v.pre.unwrap_or("default");
            let (splitter, whole_words, begins) =
                split::named(pre).ok_or_else(|| Error::Splitter { name: pre.into() })?;
            let pairs: Vec<(Vec<u8>, Vec<u8>)> = merges.iter().filter_map(|m| pair(m)).collect();
            let way = bpe::ByRank::new(&made, &pairs, splitter, whole_words);
            made.way = Way::ByRank(way);
            begins
        }
    };
    made.bos = ids.bos.filter(|_| v.add_bos.unwrap_or(begins));
    Ok(made)
}

/// Decodes the two sides of a merge to bytes; `None` if one has characters that represent no byte:
/// such a merge never applies.
fn pair(merge: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let merge = core::str::from_utf8(merge).ok()?;
    // The first character may be a space only in damaged files; llama.cpp looks behind it, too.
    let from = merge.chars().next()?.len_utf8();
    let at = from + merge[from..].find(' ')?;
    let (left, right) = merge.split_at(at);
    let (left, right) = (
        bpe::bytes(left.as_bytes())?,
        bpe::bytes(&right.as_bytes()[1..])?,
    );
    Some((left, right))
}

/// Checks that every number is in range.
fn check(v: &Vocabulary<'_>) -> Result<(), Error> {
    let count = v.words.len();
    if count == 0 {
        return Err(Error::NoTokens);
    }
    if let Merging::Scores(scores) = v.merging
        && let Some(token) = scores.iter().position(|score| score.is_nan())
    {
        return Err(Error::Score { token });
    }
    Ok(())
}

/// Type of each token, and the tokens that end a text or a turn, in ascending order.
fn types_and_ends(types: &[i32], names: &Names<'_>, ids: &mut Ids) -> (Vec<Type>, Vec<u32>) {
    let mut types: Vec<Type> = (0..names.words.len())
        .map(|token| match types.get(token).copied().unwrap_or(1) {
            1 => Type::Normal,
            2 => Type::Unknown,
            3 => Type::Control,
            4 => Type::UserDefined,
            6 => Type::Byte,
            _ => Type::Other,
        })
        .collect();
    let mut ends = Vec::new();
    for (number, known) in MIDDLE.iter().enumerate() {
        let mut token = ids.middle[number];
        if token.is_none() {
            let found = known.iter().find_map(|name| names.find(name));
            if let Some(found) = found {
                types[found] = Type::Control;
            }
            token = found.map(|token| token as u32);
            ids.middle[number] = token;
        }
        // Padding, repository and file: there nothing is filled in any more.
        if number >= 3 {
            ends.extend(token);
        }
    }
    for token in ENDS.iter().filter_map(|name| names.find(name)) {
        ends.push(token as u32);
        types[token] = Type::Control;
    }
    for token in SHOWN.iter().filter_map(|name| names.find(name)) {
        types[token] = Type::UserDefined;
    }
    ends.extend([ids.eos, ids.eot, ids.eom].into_iter().flatten());

    let ends_with = |name: &str| {
        let token = names.find(name).filter(|&t| ends.contains(&(t as u32)));
        token.is_some()
    };
    // gpt-oss and Solar continue after `<|end|>`, Gemma 4 and PLaMo after `</s>`.
    let calls = ends_with("<|call|>") || ends_with("<|calls|>");
    let turns = calls && (ends_with("<|return|>") || ends_with("<|flush|>"));
    let texts = ends_with("<|tool_response>") || ends_with("<|plamo:eos|>");
    for (goes_on, name, kind) in [
        (turns, "<|end|>", Type::UserDefined),
        (texts, "</s>", Type::Normal),
    ] {
        if let Some(token) = names.find(name).filter(|_| goes_on) {
            types[token] = kind;
            ends.retain(|&end| end != token as u32);
        }
    }
    ends.sort_unstable();
    ends.dedup();
    (types, ends)
}

/// Returns true if white space after special tokens is removed with them, which files do not
/// specify.
fn strips(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("phi-3") || name.contains("phi3")
}

/// Returns true if a vocabulary came from llama2.c's tokenizer.bin: laid out as Llama 2's, without
/// anything that its converters never write. Files of Llama 2 by other converters contain more, or
/// are older than `tokenizer.ggml.pre`.
fn is_llama2c(v: &Vocabulary<'_>) -> bool {
    let silent = v.add_bos.is_none() && v.add_eos.is_none() && v.add_space_prefix.is_none();
    let kind = |token: usize| v.types.get(token).copied().unwrap_or(1);
    // The bytes come first, or there are none.
    let words = v
        .words
        .get(llama2c::FIRST_BYTE as usize..)
        .unwrap_or_default();
    let bytes = words.iter().map(|word| spm::byte(word));
    let bytes: Vec<Option<u8>> = bytes.take(256).collect();
    let all = bytes.iter().copied().eq((0..=u8::MAX).map(Some));
    let none = v.words.len() < llama2c::ALL_BYTES && bytes.iter().all(Option::is_none);
    let first = if all {
        llama2c::ALL_BYTES
    } else {
        llama2c::FIRST_BYTE as usize
    };
    silent
        && !v.chats
        && v.pre == Some("default")
        && (v.ids.bos, v.ids.eos) == (Some(BOS), Some(EOS))
        && (v.ids.eot, v.ids.eom) == (None, None)
        && (all || none)
        && (first..v.words.len()).all(|token| kind(token) == 1)
}

fn made_by_llama2c(words: &[Vec<u8>], scores: &[f32]) -> Result<Tokenizer, Error> {
    let mut pieces = Words::default();
    let mut piece = Vec::new();
    for (token, word) in (0u32..).zip(words) {
        piece.clear();
        match (token, &word[..]) {
            // llama2.c's own names of BOS and EOS, which no text contains.
            (BOS, b"<s>") => piece.extend_from_slice(b"\n<s>\n"),
            (EOS, b"</s>") => piece.extend_from_slice(b"\n</s>\n"),
            _ => spm::spaces(word, &mut piece),
        }
        pieces.push(&piece);
    }
    let mut scores = scores.to_vec();
    scores.resize(words.len(), 0.0);
    let bytes = words.iter().map(|word| word.len() as u64).sum();
    llama2c::of(pieces, scores).map_err(|_| Error::OutOfMemory { bytes })
}
