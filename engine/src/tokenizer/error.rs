//! Errors in tokenizers; each displays as a sentence.

use alloc::string::String;
use core::fmt;

use super::{
    llama2c::{LARGEST_FILE, LEAST_TOKENS, LONGEST_PIECE, MOST_TOKENS},
    split,
};
use crate::{
    source::ReadError,
    units::{Grouped, Quoted},
};

/// Reason why a tokenizer cannot be used. Displays as a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The medium could not be read.
    Read(ReadError),
    /// The file is empty.
    Empty,
    /// The file is larger than any real tokenizer.
    TooLarge {
        /// Size of the file in bytes.
        found: u64,
    },
    /// The file ends within a token.
    CutShort {
        /// Number of the token.
        token: usize,
        /// Size of the file in bytes.
        size: u64,
    },
    /// A token's length is negative or extends past the end of the file.
    Length {
        /// Number of the token.
        token: usize,
        /// Offset of its length in the file.
        offset: u64,
        /// Length in the file.
        found: i32,
        /// Bytes that are left.
        left: u64,
    },
    /// A token's text is longer than in any real vocabulary.
    Piece {
        /// Number of the token.
        token: usize,
        /// Length of its text in bytes.
        found: usize,
    },
    /// The file has too few tokens to include BOS and EOS.
    TooFew {
        /// Number of tokens in the file.
        found: usize,
    },
    /// The file has more tokens than any real vocabulary.
    TooMany,
    /// The vocabulary's size differs from the model's.
    Vocabulary {
        /// Number of tokens in the file.
        found: usize,
        /// Number of tokens in the model.
        wanted: usize,
    },
    /// The pre-tokenizer is not known.
    Splitter {
        /// Name of the pre-tokenizer.
        name: String,
    },
    /// The vocabulary is empty.
    NoTokens,
    /// Two tokens have the same text.
    Twice {
        /// Numbers of the two tokens.
        tokens: (u32, u32),
        /// Beginning of their text.
        word: String,
    },
    /// A score is NaN.
    Score {
        /// Number of the token.
        token: usize,
    },
    /// There is not enough memory for the file.
    OutOfMemory {
        /// Size of the file in bytes.
        bytes: u64,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => error.fmt(f),
            Error::Empty => write!(f, "the tokenizer file is empty; fetch it again"),
            Error::TooLarge { found } => write!(
                f,
                "has {} bytes, but a tokenizer has at most {}; is this the model and not its tokenizer?",
                Grouped(*found),
                Grouped(LARGEST_FILE)
            ),
            Error::CutShort { token, size } => write!(
                f,
                "ends inside of token {token}, at byte {}: it is cut short or not a tokenizer.bin; fetch it again",
                Grouped(*size)
            ),
            Error::Length {
                token,
                offset,
                found,
                left,
            } => write!(
                f,
                "token {token} says at byte {} that it is {found} bytes long, but {} are left: it is damaged or not a tokenizer.bin; fetch it again",
                Grouped(*offset),
                Grouped(*left)
            ),
            Error::Piece { token, found } => write!(
                f,
                "token {token} has {} bytes, and no vocabulary has longer ones than {}: it is damaged or not a tokenizer.bin; fetch it again",
                Grouped(*found as u64),
                Grouped(LONGEST_PIECE as u64)
            ),
            Error::TooFew { found } => write!(
                f,
                "has {found} tokens, but a vocabulary has {LEAST_TOKENS} or more; it is cut short or not a tokenizer.bin: fetch it again"
            ),
            Error::TooMany => write!(
                f,
                "has more than {MOST_TOKENS} tokens, and no vocabulary has so many; it is not a tokenizer.bin: fetch it again"
            ),
            Error::Vocabulary { found, wanted } => write!(
                f,
                "has {} tokens, but the model has {}; use the tokenizer that came with the model",
                Grouped(*found as u64),
                Grouped(*wanted as u64)
            ),
            Error::Splitter { name } => write!(
                f,
                "uses the pre-tokenizer {}, which is not supported; supported: {}",
                Quoted(name),
                split::KNOWN
            ),
            Error::NoTokens => write!(
                f,
                "has no tokens at all; convert the model again with a current llama.cpp"
            ),
            Error::Twice { tokens, word } => write!(
                f,
                "has the word {} twice, as token {} and as token {}; convert the model again with a current llama.cpp",
                Quoted(word),
                tokens.0,
                tokens.1
            ),
            Error::Score { token } => write!(
                f,
                "gives token {token} a score that is not a number; convert the model again with a current llama.cpp"
            ),
            Error::OutOfMemory { bytes } => {
                write!(f, "no memory for its {} bytes", Grouped(*bytes))
            }
        }
    }
}

impl core::error::Error for Error {}
