//! Tokenizer from a GGUF file's metadata.

use alloc::{format, string::String, vec::Vec};
use core::ops::Range;

use super::{Ids, LARGEST_FILE, LONGEST_PIECE, Merging, Tokenizer, Vocabulary};
use crate::{
    checkpoint::gguf::{
        Error,
        metadata::{
            Array, Entries, FLOAT, Failure, Reader, STRING, Value, believable, first, walk,
        },
    },
    source::ByteSource,
    units::Quoted,
};

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const TEMPLATE: &str = "tokenizer.chat_template";

/// Types of integer arrays.
const U32: u32 = 4;
const I32: u32 = 5;

/// Reads and checks the tokenizer of a GGUF file.
pub(super) fn load(source: &mut dyn ByteSource) -> Result<Tokenizer, String> {
    let sentence = |failure| match failure {
        Failure::Read(error) => format!("{error}"),
        Failure::File(error) => format!("{error}"),
    };
    let mut entries = Entries::default();
    let file = first(source);
    let kept = walk(source, file.clone(), &mut |key, value, _| {
        entries.keep(key, value)
    });
    kept.map_err(sentence)?;
    let lists = Lists::read(source, file, &entries).map_err(sentence)?;
    let described = describe(&entries, &lists).map_err(|error| format!("{error}"))?;
    let made = Tokenizer::new(&described);
    let mut made = made.map_err(|error| format!("its tokenizer {error}"))?;
    // A template that is longer than a megabyte, or not a string, is ignored.
    if let Ok(Some(jinja)) = entries.text(TEMPLATE) {
        made.set_chat_template(Some(jinja.into()));
    }
    Ok(made)
}

/// Arrays of a vocabulary.
struct Lists {
    words: Vec<Vec<u8>>,
    types: Vec<i32>,
    scores: Vec<f32>,
    /// Merges; `None` if tokens are merged by their scores.
    merges: Option<Vec<Vec<u8>>>,
}

impl Lists {
    fn read(
        source: &mut dyn ByteSource,
        file: Range<u64>,
        entries: &Entries,
    ) -> Result<Lists, Failure> {
        let ranks = match entries.text(MODEL)? {
            Some("gpt2") => true,
            Some("llama") => false,
            Some(model) => {
                let what = format!("its tokenizer is of kind {}", Quoted(model));
                return Err(Error::Unsupported { what }.into());
            }
            None => return Err(Error::Missing { key: MODEL.into() }.into()),
        };
        let mut texts = |key: &str, most: u64| -> Result<Vec<Vec<u8>>, Failure> {
            let array = list(entries, key, &[STRING], "texts")?;
            believable("tokens or merges", array.count, most)?;
            let mut reader = Reader::new(source, array.offset..file.end);
            let mut room = LARGEST_FILE;
            (0..array.count)
                .map(|_| word(&mut reader, &mut room))
                .collect()
        };
        let words = texts(TOKENS, MOST_TOKENS)?;
        let merges = if ranks {
            Some(texts(MERGES, MOST_MERGES)?)
        } else {
            None
        };
        let mut numbers = |key: &str, kinds: &[u32], wanted| -> Result<_, Failure> {
            if entries.get(key).is_none() {
                return Ok((kinds[0], Vec::new()));
            }
            let array = list(entries, key, kinds, wanted)?;
            if array.count != words.len() as u64 {
                let key = key.into();
                return Err(Error::Value { key, wanted }.into());
            }
            let bytes = Reader::new(source, array.offset..file.end).long(array.count * 4)?;
            Ok((array.kind, bytes))
        };
        let four = |b: &[u8]| [b[0], b[1], b[2], b[3]];
        let (_, bytes) = numbers(TYPES, &[I32, U32], "a whole number for each token")?;
        let types = bytes.chunks_exact(4);
        let types = types.map(|b| i32::from_le_bytes(four(b))).collect();
        let mut scores = Vec::new();
        if !ranks {
            let (kind, bytes) = numbers(SCORES, &[FLOAT, I32], "a number for each token")?;
            let number = |b: &[u8]| match kind {
                FLOAT => f32::from_le_bytes(four(b)),
                _ => i32::from_le_bytes(four(b)) as f32,
            };
            scores.extend(bytes.chunks_exact(4).map(number));
        }
        Ok(Lists {
            words,
            types,
            scores,
            merges,
        })
    }
}

/// Largest number of tokens or merges accepted; the largest vocabularies have 262144.
const MOST_TOKENS: u64 = 1 << 20;
const MOST_MERGES: u64 = 1 << 21;

/// Reads the next token's or merge's text, and subtracts its length from `room`, the bytes left for
/// all of them.
fn word(reader: &mut Reader<'_>, room: &mut u64) -> Result<Vec<u8>, Failure> {
    // Two pieces and the space between them; a byte of a piece may take two here.
    let text = reader.text("a token", 2 * LONGEST_PIECE as u64 + 1)?;
    let length = text.len() as u64;
    let all = LARGEST_FILE - *room + length;
    believable("bytes of tokens", all, LARGEST_FILE)?;
    *room -= length;
    Ok(text)
}

/// Finds the array of `key`, which must be of one of `kinds`.
fn list(entries: &Entries, key: &str, kinds: &[u32], wanted: &'static str) -> Result<Array, Error> {
    let array = entries.array(key)?;
    if !kinds.contains(&array.kind) {
        let key = key.into();
        return Err(Error::Value { key, wanted });
    }
    Ok(array)
}

/// Describes the vocabulary, from the metadata and `lists`.
fn describe<'a>(entries: &'a Entries, lists: &'a Lists) -> Result<Vocabulary<'a>, Error> {
    let id = |name: &str| -> Result<Option<u32>, Error> {
        let key = format!("tokenizer.ggml.{name}_token_id");
        // -1 means none, which becomes a token that no vocabulary has.
        if let Some(Value::Signed(..0)) = entries.get(&key) {
            return Ok(Some(u32::MAX));
        }
        let id = entries.unsigned(&key)?;
        Ok(id.map(|id| u32::try_from(id).unwrap_or(u32::MAX)))
    };
    let mut middle = [None; 6];
    let names = [
        "fim_pre", "fim_suf", "fim_mid", "fim_pad", "fim_rep", "fim_sep",
    ];
    for (found, name) in middle.iter_mut().zip(names) {
        *found = id(name)?;
    }
    // The first three had other names once, which take precedence if both exist.
    for (found, name) in middle.iter_mut().zip(["prefix", "suffix", "middle"]) {
        *found = id(name)?.or(*found);
    }
    Ok(Vocabulary {
        words: &lists.words,
        types: &lists.types,
        merging: match &lists.merges {
            Some(merges) => Merging::Ranks(merges),
            None => Merging::Scores(&lists.scores),
        },
        ids: Ids {
            bos: id("bos")?,
            eos: id("eos")?,
            eot: id("eot")?,
            eom: id("eom")?,
            unknown: id("unknown")?,
            middle,
            // As llama.cpp spells them.
            others: [id("seperator")?, id("padding")?, id("mask")?],
        },
        add_bos: entries.bool("tokenizer.ggml.add_bos_token")?,
        add_eos: entries.bool("tokenizer.ggml.add_eos_token")?,
        add_space_prefix: entries.bool("tokenizer.ggml.add_space_prefix")?,
        pre: entries.text("tokenizer.ggml.pre")?,
        name: entries.text("general.name")?.unwrap_or_default(),
        chats: entries.get(TEMPLATE).is_some(),
    })
}
