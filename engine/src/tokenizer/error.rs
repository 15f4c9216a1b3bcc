//! What can be wrong with a tokenizer, each as a sentence.

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

/// Why a tokenizer cannot be used. Shown, it is a sentence without the file's name.
#[derive(Debug, Clone, PartialEq)]
pub enum Error {
    /// The medium failed.
    Read(ReadError),
    /// No bytes at all.
    Empty,
    /// More bytes than any tokenizer has.
    TooLarge {
        /// The file's size.
        found: u64,
    },
    /// The file ends inside of a token.
    CutShort {
        /// The token.
        token: usize,
        /// Where the file ends.
        size: u64,
    },
    /// A token's length is negative or leads out of the file.
    Length {
        /// The token.
        token: usize,
        /// Where in the file its length stands.
        offset: u64,
        /// The length found.
        found: i32,
        /// Bytes that are left.
        left: u64,
    },
    /// A piece that is longer than any vocabulary's.
    Piece {
        /// The token.
        token: usize,
        /// Bytes of its piece.
        found: usize,
    },
    /// Too few tokens for BOS and EOS to be among them.
    TooFew {
        /// Tokens in the file.
        found: usize,
    },
    /// More tokens than any vocabulary has.
    TooMany,
    /// Not the model's vocabulary.
    Vocabulary {
        /// Tokens in the file.
        found: usize,
        /// Tokens in the model.
        wanted: usize,
    },
    /// A pre-tokenizer that is not known.
    Splitter {
        /// Its name.
        name: String,
    },
    /// A vocabulary of nothing.
    NoTokens,
    /// Two tokens of one name.
    Twice {
        /// The two.
        tokens: (u32, u32),
        /// How their name begins.
        word: String,
    },
    /// A score that is no number.
    Score {
        /// The token.
        token: usize,
    },
    /// Not enough memory to hold the file.
    OutOfMemory {
        /// The file's size.
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
                "has {} tokens, but the model has {}; take the tokenizer that came with the model",
                Grouped(*found as u64),
                Grouped(*wanted as u64)
            ),
            Error::Splitter { name } => write!(
                f,
                "cuts texts in the way {}, which is not known; known: {}",
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
