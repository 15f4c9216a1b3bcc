//! Tokenizers: from text to tokens and back, by a vocabulary and a merging algorithm.
//!
//! There are three algorithms: run.c's with llama2.c's `tokenizer.bin` (`llama2c`), SentencePiece's
//! BPE by scores (`spm`) and byte-level BPE by ranks (`bpe`), the last two as in llama.cpp for GGUF
//! files.

mod bpe;
mod classes;
mod error;
mod gguf;
mod llama2c;
mod merge;
mod special;
mod split;
mod spm;
mod vocabulary;
mod words;

use alloc::{string::String, vec::Vec};

pub use error::Error;
use special::{Part, Specials};
pub use vocabulary::{Ids, Merging, Vocabulary};
use words::Words;

pub(crate) use llama2c::{LARGEST_FILE, LONGEST_PIECE};

use crate::source::ByteSource;

/// Beginning of sequence, in llama2.c's vocabulary.
pub const BOS: u32 = 1;
/// End of sequence, in llama2.c's vocabulary.
pub const EOS: u32 = 2;

/// Vocabulary with its merging algorithm. A value is proof that every token has its text, and that
/// BOS, EOS and all other tokens referred to are in the vocabulary.
pub struct Tokenizer {
    /// Bytes of each token, as merging sees them; normal tokens are also shown as these.
    words: Words,
    kinds: Vec<Kind>,
    /// Score of each token; empty if merges have ranks.
    scores: Vec<f32>,
    /// Tokens that text can be encoded to, sorted by their bytes.
    sorted: Vec<u32>,
    way: Way,
    specials: Specials,
    /// BOS, whether or not texts begin with it.
    begin: Option<u32>,
    /// Token that texts begin with, if any.
    bos: Option<u32>,
    /// EOS, as given by the file.
    eos: u32,
    /// True if complete texts end with EOS.
    adds_eos: bool,
    /// Tokens that end a text or a turn.
    ends: Vec<u32>,
    /// Tokens for fill-in-the-middle, as in [`Ids::middle`].
    middle: [Option<u32>; 6],
    /// Chat template of the model: a Jinja program.
    chat_template: Option<String>,
    /// Warnings for the user, as sentences.
    warnings: Vec<String>,
}

/// Piece of a conversation before it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment<'a> {
    /// Text of the template, in which names of control tokens are encoded as those tokens.
    Mark(&'a str),
    /// Text of a message, in which they are not, nor are those of other special tokens in brackets
    /// that the template writes, such as `<think>`.
    Said(&'a str),
    /// Text that the model is taken to have said, behind all other text: only names of control
    /// tokens are text in it.
    Begun(&'a str),
    /// Tokens that are known.
    Tokens(&'a [u32]),
}

/// Encoding algorithm.
enum Way {
    /// As in run.c.
    Llama2c,
    ByScore(spm::ByScore),
    ByRank(bpe::ByRank),
}

/// Way in which a token is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// As its bytes.
    Normal,
    /// As its name among the special tokens.
    Own,
    Byte(u8),
    /// Not at all: it is a control token.
    Hidden,
}

impl Tokenizer {
    /// Reads and checks a whole `tokenizer.bin`.
    ///
    /// # Errors
    /// [`Error`], for the first problem found.
    pub fn load(source: &mut dyn ByteSource) -> Result<Tokenizer, Error> {
        llama2c::load(source)
    }

    /// Reads and checks the tokenizer in a GGUF file's metadata: byte-level BPE, or
    /// SentencePiece's.
    ///
    /// # Errors
    /// A sentence without the file's name.
    pub fn from_gguf(source: &mut dyn ByteSource) -> Result<Tokenizer, String> {
        gguf::load(source)
    }

    /// Creates the tokenizer of a vocabulary, such as a GGUF file's.
    ///
    /// # Errors
    /// [`Error`], for the first problem found.
    pub fn new(vocabulary: &Vocabulary<'_>) -> Result<Tokenizer, Error> {
        vocabulary::tokenizer(vocabulary)
    }

    /// Token that texts begin with, if any.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// Token that an empty text begins with: BOS, or else the first token that ends a text.
    pub fn start(&self) -> u32 {
        let end = self.ends.first().copied();
        self.bos.or(end).unwrap_or_default()
    }

    /// Returns true if `token` ends the model's output.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// Jinja program that formats conversations, if the file has one (`tokenizer.chat_template`).
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// Warnings for the user, as sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Tokens for fill-in-the-middle: prefix, suffix, middle, padding, repository, file separator.
    pub fn infill(&self) -> [Option<u32>; 6] {
        self.middle
    }

    /// Sets the chat template.
    pub fn set_chat_template(&mut self, jinja: Option<String>) {
        self.specials.guard(jinja.as_deref().unwrap_or_default());
        self.chat_template = jinja;
    }

    /// Returns true if it is of llama2.c's kind: the model was made by llama2.c, and texts equal
    /// run.c's.
    pub fn is_llama2c(&self) -> bool {
        matches!(self.way, Way::Llama2c)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.words.len()
    }

    /// Text of all tokens in order, with their scores, or 0 if there are none.
    pub fn pieces(&self) -> impl Iterator<Item = (&[u8], f32)> {
        (0..self.words.len() as u32).map(|token| {
            let score = self.scores.get(token as usize);
            (self.words.get(token), score.copied().unwrap_or(0.0))
        })
    }

    /// Length of the longest token's text, in bytes.
    pub fn longest_piece(&self) -> usize {
        self.words.longest().max(self.specials.longest())
    }

    /// Checks that the vocabulary fits a model with `vocab_size` tokens.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] with both numbers if it does not.
    pub fn check_model(&self, vocab_size: usize) -> Result<(), Error> {
        let found = self.vocab_size();
        if found == vocab_size {
            Ok(())
        } else {
            Err(Error::Vocabulary {
                found,
                wanted: vocab_size,
            })
        }
    }

    /// Token with the bytes `word`; the lowest if several are equal.
    fn find(&self, word: &[u8]) -> Option<u32> {
        self.words.find(&self.sorted, word)
    }

    /// First character of `text` that has no token, not even an unknown token: encoding leaves it
    /// out.
    pub fn lacks(&self, text: &[u8]) -> Option<String> {
        let found = match &self.way {
            Way::Llama2c => llama2c::lacking(self, text)?,
            Way::ByScore(_) | Way::ByRank(_) => return None,
        };
        Some(String::from_utf8_lossy(found).into_owned())
    }

    /// Returns true if every byte has a token.
    pub fn has_bytes(&self) -> bool {
        self.vocab_size() >= llama2c::ALL_BYTES
    }

    /// BOS, whether or not texts begin with it.
    pub fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// Token that ends texts.
    pub fn end(&self) -> u32 {
        self.eos
    }

    /// Name of a token, as templates write it.
    pub fn name(&self, token: u32) -> &[u8] {
        let own = self.specials.name_of(token);
        own.unwrap_or_else(|| self.words.get(token))
    }

    /// Tells whether a token's name is found in texts before they are merged.
    pub fn is_special(&self, token: u32) -> bool {
        self.specials.name_of(token).is_some()
    }

    /// Encodes `text`, with BOS and EOS around it if they are requested and the model's texts have
    /// them.
    ///
    /// llama2.c's kind encodes as run.c's `encode`: a space is put before a text that is not empty
    /// (SentencePiece's dummy prefix), characters without a token become byte tokens, then
    /// neighbours are merged, best score first, leftmost of equals. Any bytes are accepted. A NUL,
    /// which would end run.c's text, becomes its byte token.
    ///
    /// Other kinds encode as llama.cpp's `llama_tokenize` without `parse_special`: user-defined
    /// tokens are found first, the rest is merged. Names of control tokens in a text are text and
    /// never become those tokens (in llama.cpp they can, if scores lead there). In byte-level BPE,
    /// invalid UTF-8 becomes U+FFFD.
    pub fn encode(&self, text: &[u8], bos: bool, eos: bool) -> Vec<u32> {
        self.encode_around(text, &[], bos, eos)
    }

    /// Encodes like [`encode`](Self::encode), except that names of control tokens become those
    /// tokens: `llama_tokenize` with `parse_special`.
    pub fn encode_parsed(&self, text: &[u8], bos: bool, eos: bool) -> Vec<u32> {
        let all = 0..text.len();
        self.encode_around(text, &[all], bos, eos)
    }

    fn encode_around(
        &self,
        text: &[u8],
        marks: &[core::ops::Range<usize>],
        bos: bool,
        eos: bool,
    ) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 4 + 3);
        if bos {
            tokens.extend(self.bos);
        }
        if self.is_llama2c() && marks.is_empty() {
            // In run.c BOS is merged with what follows, like any token.
            llama2c::encode(self, text, &mut tokens);
        } else {
            self.append(text, marks, 0, true, &mut tokens);
        }
        if eos && self.adds_eos {
            tokens.push(self.eos);
        }
        tokens
    }

    /// Appends a conversation's tokens. Only the template's own text can give control tokens.
    pub fn encode_marked(&self, fragments: &[Fragment<'_>], tokens: &mut Vec<u32>) {
        // Text continues from one fragment to the next, as long as no token comes between.
        let (mut text, mut marks) = (Vec::new(), Vec::new());
        let (mut first, mut free) = (true, usize::MAX);
        for fragment in fragments {
            match *fragment {
                Fragment::Said(said) => text.extend_from_slice(said.as_bytes()),
                Fragment::Begun(begun) => {
                    free = text.len();
                    text.extend_from_slice(begun.as_bytes());
                }
                Fragment::Mark(words) => {
                    let start = text.len();
                    text.extend_from_slice(words.as_bytes());
                    marks.push(start..text.len());
                }
                Fragment::Tokens(known) => {
                    self.append(&text, &marks, free, first, tokens);
                    tokens.extend_from_slice(known);
                    let last = tokens.last();
                    first = last.is_none_or(|&last| self.ends_text(last));
                    text.clear();
                    marks.clear();
                }
            }
        }
        self.append(&text, &marks, free, first, tokens);
    }

    /// Tells whether another text begins behind a token.
    fn ends_text(&self, token: u32) -> bool {
        self.is_special(token) || self.begin == Some(token) || self.is_end(token)
    }

    /// Appends the tokens of `text`. Within the ranges `marks`, names of control tokens become
    /// those tokens, and there and from `free` on those of the template's marks. `first`: the text
    /// is the first one, or directly follows a special token.
    fn append(
        &self,
        text: &[u8],
        marks: &[core::ops::Range<usize>],
        free: usize,
        mut first: bool,
        tokens: &mut Vec<u32>,
    ) {
        for part in self.specials.cut(text, marks, free) {
            let range = match part {
                Part::Token(token) => {
                    tokens.push(token);
                    first = true;
                    continue;
                }
                Part::Text(range) => range,
            };
            match &self.way {
                Way::Llama2c => {
                    let mut fresh = Vec::new();
                    llama2c::encode(self, &text[range], &mut fresh);
                    tokens.append(&mut fresh);
                }
                Way::ByScore(way) => way.encode(self, &text[range], first, tokens),
                Way::ByRank(way) => way.encode(self, &text[range], tokens),
            }
            first = false;
        }
    }

    /// Bytes to show for `token` after `before` (run.c's `decode` and `safe_printf`): after BOS the
    /// space that was put before the text is dropped, a byte token is that byte, and a control
    /// token is empty, as is a lone byte that is neither printable nor white space.
    ///
    /// Unlike run.c, a lone byte above 0x7f is kept, because the next ones may complete a
    /// character.
    pub fn decode(&self, before: u32, token: u32) -> &[u8] {
        self.shown(token, self.begin == Some(before))
    }

    /// Bytes to show for the first token of a text without BOS.
    pub fn decode_first(&self, token: u32) -> &[u8] {
        self.shown(token, true)
    }

    fn shown(&self, token: u32, first: bool) -> &[u8] {
        let Some(kind) = self.kinds.get(token as usize) else {
            return &[];
        };
        let word = match kind {
            Kind::Normal => self.words.get(token),
            Kind::Own => self.specials.name_of(token).unwrap_or_default(),
            Kind::Byte(byte) => one_byte(*byte),
            Kind::Hidden => &[],
        };
        let prefix = match &self.way {
            Way::Llama2c => true,
            Way::ByScore(way) => way.prefix,
            Way::ByRank(_) => false,
        };
        let word = match word {
            [b' ', rest @ ..] if prefix && first => rest,
            word => word,
        };
        let shown = match &self.way {
            Way::Llama2c => llama2c::decode(word),
            _ => word,
        };
        match shown {
            // It would only upset a terminal.
            [byte] if byte.is_ascii_control() && !matches!(byte, b'\t'..=b'\r') => &[],
            shown => shown,
        }
    }
}

/// Returns `byte` as a static slice.
fn one_byte(byte: u8) -> &'static [u8] {
    &BYTES[usize::from(byte)..=usize::from(byte)]
}

/// All bytes in order, for [`one_byte`] to borrow from.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};
