//! The tokenizer in a GGUF file's metadata.

use alloc::{format, string::String, vec::Vec};

use super::{
    Error,
    metadata::{Entries, FLOAT, Failure, Reader, STRING, first, walk},
};
use crate::{
    source::ByteSource,
    tokenizer::{self, Tokenizer},
};

/// The tokenizer in a GGUF file's metadata, if it is of SentencePiece's kind and laid out as Llama 2's.
///
/// # Errors
/// A sentence without the file's name.
pub fn tokenizer(source: &mut dyn ByteSource) -> Result<Tokenizer, String> {
    let file = tokenizer_file(source).map_err(|failure| match failure {
        Failure::Read(error) => format!("{error}"),
        Failure::File(error) => format!("{error}"),
    })?;
    Tokenizer::load(&mut &file[..]).map_err(|error| format!("its tokenizer {error}"))
}

/// The metadata's tokenizer as a tokenizer.bin.
fn tokenizer_file(source: &mut dyn ByteSource) -> Result<Vec<u8>, Failure> {
    let mut entries = Entries::default();
    let file = first(source);
    walk(source, file.clone(), &mut |key, value, _| {
        entries.keep(key, value)
    })?;
    let key = "tokenizer.ggml.model";
    let model = entries
        .text(key)?
        .ok_or(Error::Missing { key: key.into() })?;
    if model != "llama" {
        return Err(Error::Unsupported {
            what: format!("its tokenizer is of kind {model:?}"),
        }
        .into());
    }
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
    let mut out = alloc::vec![0; 4];
    // Scores first: all of them are few bytes.
    let mut reader = Reader::new(source, scores.offset..file.end);
    let scores = reader.long(scores.count * 4)?;
    let mut reader = Reader::new(source, tokens.offset..file.end);
    for (token, score) in (0u64..).zip(scores.chunks_exact(4)) {
        let left = reader.left();
        let length = reader.length("a token", left)?;
        let text = reader.long(length)?;
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
