//! From text to tokens and back: a vocabulary, and the way in which its words are put together.
//!
//! There are three: run.c's with llama2.c's `tokenizer.bin` (`llama2c`), SentencePiece's BPE by
//! scores (`spm`) and byte-level BPE by ranks (`bpe`), the last two as llama.cpp has them for GGUF
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

/// A vocabulary with its way of merging. Having one proves that every token has its piece, that
/// BOS, EOS and all others that are spoken of are in the vocabulary, and that a `tokenizer.bin`
/// holds the 256 byte tokens.
pub struct Tokenizer {
    /// What each token is made of where it is merged, which is what normal ones show.
    words: Words,
    kinds: Vec<Kind>,
    /// Of each token; none where merges have ranks.
    scores: Vec<f32>,
    /// The tokens that texts can be made of, in the order of their words.
    sorted: Vec<u32>,
    way: Way,
    specials: Specials,
    /// BOS, whether texts begin with it or not.
    begin: Option<u32>,
    /// What a text begins with.
    bos: Option<u32>,
    /// What the file says ends it.
    eos: u32,
    /// True if texts end with that where they are to be whole.
    adds_eos: bool,
    /// What ends a text or a turn.
    ends: Vec<u32>,
    /// How its model was taught to chat: a Jinja program.
    chat_template: Option<String>,
    /// What its user should know: sentences.
    warnings: Vec<String>,
}

/// A piece of a conversation before it is made of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment<'a> {
    /// A template's own words, control tokens among them.
    Mark(&'a str),
    /// Words that somebody said: text and nothing else.
    Said(&'a str),
    /// The token that ends a text.
    End,
}

/// How texts become tokens.
enum Way {
    /// As run.c does it.
    Llama2c,
    ByScore(spm::ByScore),
    ByRank(bpe::ByRank),
}

/// What a token shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its word.
    Normal,
    /// Its name among the special tokens.
    Own,
    Byte(u8),
    /// Nothing: a sign to the model.
    Hidden,
}

impl Tokenizer {
    /// Reads and checks a whole `tokenizer.bin`.
    ///
    /// # Errors
    /// [`Error`], the first thing that is wrong.
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

    /// The tokenizer of a vocabulary, such as a GGUF file has it.
    ///
    /// # Errors
    /// [`Error`], the first thing that is wrong.
    pub fn new(vocabulary: &Vocabulary<'_>) -> Result<Tokenizer, Error> {
        vocabulary::tokenizer(vocabulary)
    }

    /// The token that texts begin with, if they begin with one.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// What a text of nothing begins with: BOS, else what ends texts.
    pub fn start(&self) -> u32 {
        let end = self.ends.first().copied();
        self.bos.or(end).unwrap_or_default()
    }

    /// Tells whether the model has finished when it gives `token`.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The Jinja program that lays out conversations, if its file has one
    /// (`tokenizer.chat_template`).
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// What its user should know of it: sentences.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Sets the chat template.
    pub fn set_chat_template(&mut self, jinja: Option<String>) {
        self.chat_template = jinja;
    }

    /// Tells whether it is llama2.c's kind: its model was made by llama2.c, and its texts are
    /// run.c's.
    pub fn is_llama2c(&self) -> bool {
        matches!(self.way, Way::Llama2c)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.words.len()
    }

    /// All pieces in the order of their tokens, with their scores, 0 where there are none.
    pub fn pieces(&self) -> impl Iterator<Item = (&[u8], f32)> {
        (0..self.words.len() as u32).map(|token| {
            let score = self.scores.get(token as usize);
            (self.words.get(token), score.copied().unwrap_or(0.0))
        })
    }

    /// Bytes of the longest piece.
    pub fn longest_piece(&self) -> usize {
        self.words.longest().max(self.specials.longest())
    }

    /// Tells whether this is the vocabulary of a model with `vocab_size` tokens.
    ///
    /// # Errors
    /// [`Error::Vocabulary`] with both numbers if not.
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

    /// The token of which `word` is made; of several equal ones the lowest.
    fn find(&self, word: &[u8]) -> Option<u32> {
        self.words.find(&self.sorted, word)
    }

    /// The first character of `text` that there is no token for, not even one for what is unknown:
    /// encoding leaves it out.
    pub fn lacks(&self, text: &[u8]) -> Option<String> {
        let found = match &self.way {
            Way::Llama2c => llama2c::lacking(self, text)?,
            Way::ByScore(_) | Way::ByRank(_) => return None,
        };
        Some(String::from_utf8_lossy(found).into_owned())
    }

    /// Tells whether every byte has a token.
    pub fn has_bytes(&self) -> bool {
        self.vocab_size() >= llama2c::ALL_BYTES
    }

    /// BOS, whether texts begin with it or not.
    pub fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// The tokens of `text`, and BOS and EOS around them where they are wanted and the model's
    /// texts have them.
    ///
    /// llama2.c's kind is as run.c's `encode`: a space is put before a text that is not empty
    /// (SentencePiece's dummy prefix), characters without a token become byte tokens, then
    /// neighbours are merged, best score first, leftmost of equals. Any bytes will do. A NUL, where
    /// run.c's text would end, is its byte token.
    ///
    /// Other kinds are as llama.cpp's `llama_tokenize` without `parse_special`: words of the
    /// model's own are cut out, the rest is merged. The names of control tokens in a text are text
    /// and never become those tokens (llama.cpp's can, where scores lead there). What is not UTF-8
    /// becomes U+FFFD in byte-level BPE.
    pub fn encode(&self, text: &[u8], bos: bool, eos: bool) -> Vec<u32> {
        self.encode_around(text, &[], bos, eos)
    }

    /// The same with the names of control tokens becoming those tokens: `llama_tokenize` with
    /// `parse_special`.
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
            // In run.c BOS is merged with what follows like any token.
            llama2c::encode(self, text, &mut tokens);
        } else {
            self.append(text, marks, &mut tokens);
        }
        if eos && self.adds_eos {
            tokens.push(self.eos);
        }
        tokens
    }

    /// Appends a conversation's tokens. Control tokens are made of the template's own words only.
    pub fn encode_marked(&self, fragments: &[Fragment<'_>], tokens: &mut Vec<u32>) {
        // Text goes on from one fragment to the next as long as no token of its own comes between.
        let (mut text, mut marks) = (Vec::new(), Vec::new());
        for fragment in fragments {
            match *fragment {
                Fragment::Said(said) => text.extend_from_slice(said.as_bytes()),
                Fragment::Mark(words) => {
                    let start = text.len();
                    text.extend_from_slice(words.as_bytes());
                    marks.push(start..text.len());
                }
                Fragment::End => {
                    self.append(&text, &marks, tokens);
                    tokens.push(self.eos);
                    text.clear();
                    marks.clear();
                }
            }
        }
        self.append(&text, &marks, tokens);
    }

    /// Appends the tokens of `text`, in whose `marks` control tokens' names are those tokens.
    fn append(&self, text: &[u8], marks: &[core::ops::Range<usize>], tokens: &mut Vec<u32>) {
        // Whether a text that comes now is the first of all, or the first behind a special token.
        let mut first = true;
        for part in self.specials.cut(text, marks) {
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

    /// The bytes to show for `token` when it follows `before` (run.c's `decode` and `safe_printf`):
    /// after BOS the space that was put before the text is left out, a byte token is that byte, a
    /// control token is nothing, and so is a lone byte that is neither printable nor white space.
    ///
    /// One difference to run.c: a lone byte above 0x7f is kept, since the next ones may complete a
    /// character; run.c drops it.
    pub fn decode(&self, before: u32, token: u32) -> &[u8] {
        self.shown(token, self.begin == Some(before))
    }

    /// The same for the first token of all, with no BOS before it.
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

/// `byte`, borrowed.
fn one_byte(byte: u8) -> &'static [u8] {
    &BYTES[usize::from(byte)..=usize::from(byte)]
}

/// All bytes in order, to borrow one from.
static BYTES: [u8; 256] = {
    let mut bytes = [0; 256];
    let mut i = 0;
    while i < 256 {
        bytes[i] = i as u8;
        i += 1;
    }
    bytes
};
