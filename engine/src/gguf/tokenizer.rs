//! The tokenizer in a GGUF file's metadata.

use alloc::{format, string::String, vec::Vec};
use core::ops::Range;

use super::{
    Error,
    metadata::{Entries, FLOAT, Failure, Reader, STRING, believable, first, walk},
};
use crate::{
    chat::Template,
    source::ByteSource,
    tokenizer::{self, ByteLevel, LARGEST_FILE, LONGEST_PIECE, Tokenizer},
    units::Quoted,
};

/// The tokenizer in a GGUF file's metadata: byte-level BPE, or SentencePiece's kind where it is laid out as Llama 2's.
///
/// # Errors
/// A sentence without the file's name.
pub fn tokenizer(source: &mut dyn ByteSource) -> Result<Tokenizer, String> {
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
    let made = match entries.text(MODEL) {
        Ok(Some("gpt2")) => byte_level(source, file, &entries).map_err(sentence)?,
        Ok(Some("llama")) => {
            let file = tokenizer_file(source, file, &entries).map_err(sentence)?;
            Tokenizer::load(&mut &file[..])
        }
        Ok(Some(model)) => {
            let what = format!("its tokenizer is of kind {}", Quoted(model));
            return Err(format!("{}", Error::Unsupported { what }));
        }
        Ok(None) => return Err(format!("{}", Error::Missing { key: MODEL.into() })),
        Err(error) => return Err(format!("{error}")),
    };
    let mut made = made.map_err(|error| format!("its tokenizer {error}"))?;
    // A template of a megabyte, or one that is no text, is none.
    if let Ok(Some(jinja)) = entries.text("tokenizer.chat_template") {
        made.set_template(Some(Template::of(jinja)));
    }
    Ok(made)
}

const MODEL: &str = "tokenizer.ggml.model";

/// Tokens above this are damage, not a vocabulary (the largest have 262 144), and merges likewise.
const MOST_TOKENS: u64 = 1 << 20;
const MOST_MERGES: u64 = 1 << 21;

/// The next token's or merge's text, for which there is `room` in what a vocabulary may take together.
fn word(reader: &mut Reader<'_>, most: usize, room: &mut u64) -> Result<String, Failure> {
    let text = reader.text("a token", most as u64)?;
    let length = text.len() as u64;
    believable(
        "bytes of tokens",
        LARGEST_FILE - *room + length,
        LARGEST_FILE,
    )?;
    *room -= length;
    Ok(text)
}

/// A byte-level BPE vocabulary.
fn byte_level(
    source: &mut dyn ByteSource,
    file: Range<u64>,
    entries: &Entries,
) -> Result<Result<Tokenizer, tokenizer::Error>, Failure> {
    let mut texts = |key: &str, most: u64| -> Result<Vec<String>, Failure> {
        let array = entries.array(key)?;
        if array.kind != STRING {
            return Err(Error::Value {
                key: key.into(),
                wanted: "texts",
            }
            .into());
        }
        believable("tokens or merges", array.count, most)?;
        let mut reader = Reader::new(source, array.offset..file.end);
        let mut room = LARGEST_FILE;
        // Two pieces and the space between them.
        (0..array.count)
            .map(|_| word(&mut reader, 2 * LONGEST_PIECE + 1, &mut room))
            .collect()
    };
    let words = texts("tokenizer.ggml.tokens", MOST_TOKENS)?;
    let merges = texts("tokenizer.ggml.merges", MOST_MERGES)?;
    let key = "tokenizer.ggml.token_type";
    let mut types = Vec::new();
    if entries.get(key).is_some() {
        let array = entries.array(key)?;
        // i32 or u32.
        if !matches!(array.kind, 4 | 5) || array.count != words.len() as u64 {
            return Err(Error::Value {
                key: key.into(),
                wanted: "a whole number for each token",
            }
            .into());
        }
        let bytes = Reader::new(source, array.offset..file.end).long(array.count * 4)?;
        let numbers = bytes.chunks_exact(4);
        types.extend(numbers.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]])));
    }
    let id = |key: &str| -> Result<Option<u32>, Error> {
        Ok(entries
            .unsigned(key)?
            .map(|id| u32::try_from(id).unwrap_or(u32::MAX)))
    };
    Ok(Tokenizer::byte_level(&ByteLevel {
        pre: entries.text("tokenizer.ggml.pre")?.unwrap_or("default"),
        words: &words,
        types: &types,
        merges: &merges,
        bos: id("tokenizer.ggml.bos_token_id")?,
        eos: id("tokenizer.ggml.eos_token_id")?,
        add_bos: entries.bool("tokenizer.ggml.add_bos_token")?,
    }))
}

/// The metadata's SentencePiece vocabulary as a tokenizer.bin.
fn tokenizer_file(
    source: &mut dyn ByteSource,
    file: Range<u64>,
    entries: &Entries,
) -> Result<Vec<u8>, Failure> {
    let bos = entries
        .unsigned("tokenizer.ggml.bos_token_id")?
        .unwrap_or(1);
    let eos = entries
        .unsigned("tokenizer.ggml.eos_token_id")?
        .unwrap_or(2);
    let (tokens, scores) = (
        entries.array("tokenizer.ggml.tokens")?,
        entries.array("tokenizer.ggml.scores")?,
    );
    if tokens.kind != STRING || scores.kind != FLOAT || tokens.count != scores.count {
        return Err(Error::Value {
            key: "tokenizer.ggml.scores".into(),
            wanted: "a number for each token",
        }
        .into());
    }
    believable("tokens", tokens.count, MOST_TOKENS)?;
    let mut room = LARGEST_FILE;
    let mut out = alloc::vec![0; 4];
    // Scores first: all of them are few bytes.
    let mut reader = Reader::new(source, scores.offset..file.end);
    let scores = reader.long(scores.count * 4)?;
    let mut reader = Reader::new(source, tokens.offset..file.end);
    for (token, score) in (0u64..).zip(scores.chunks_exact(4)) {
        let text = word(&mut reader, LONGEST_PIECE, &mut room)?.into_bytes();
        let text = match token {
            // llama2.c's own words for what starts and ends a text, which no text contains.
            _ if token == bos && bos == u64::from(tokenizer::BOS) => b"\n<s>\n".to_vec(),
            _ if token == eos && eos == u64::from(tokenizer::EOS) => b"\n</s>\n".to_vec(),
            // The byte tokens, where byte fallback looks for them.
            3..=258 if text != format!("<0x{:02X}>", token - 3).as_bytes() => {
                return Err(Error::Unsupported {
                    what: "its tokens 3 to 258 are not the bytes, as Llama 2's are".into(),
                }
                .into());
            }
            _ => spaces(&text),
        };
        out.extend_from_slice(score);
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(&text);
    }
    if (bos, eos) != (u64::from(tokenizer::BOS), u64::from(tokenizer::EOS)) {
        return Err(Error::Unsupported {
            what: format!("its texts begin with token {bos} and end with {eos}, not with 1 and 2"),
        }
        .into());
    }
    Ok(out)
}

/// SentencePiece's mark of a word's beginning, U+2581, as the space that it stands for.
fn spaces(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix("\u{2581}".as_bytes()) {
            out.push(b' ');
            rest = tail;
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    out
}
