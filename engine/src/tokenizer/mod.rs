//! From text to tokens and back: llama2.c's `tokenizer.bin`, and what GGUF files have inside.
//!
//! llama2.c's `tokenizer.bin`: pieces with scores, byte-pair merges by score, and the way back from tokens to bytes.
//!
//! The file: u32 `max_token_length`, then for each token an f32 score, an i32 length and that many bytes, little-endian.
//! There is no count; the file's end is the vocabulary's. Encoding and decoding follow run.c's `encode`, `decode` and
//! `safe_printf`, in O(n log n) instead of O(n²).

mod bpe;
mod classes;
mod split;

use alloc::{
    collections::BinaryHeap,
    string::{String, ToString},
    vec::Vec,
};
use core::{cmp::Ordering, fmt};

use crate::{
    chat::template::{Fragment, Template},
    source::{ByteSource, ReadError},
    units::{Grouped, Quoted},
};

/// Beginning of sequence.
pub const BOS: u32 = 1;
/// End of sequence.
pub const EOS: u32 = 2;
/// The first of the 256 byte tokens: behind `<unk>`, `<s>` and `</s>`.
const FIRST_BYTE: u32 = 3;
/// Tokens that byte fallback needs.
const LEAST_TOKENS: usize = FIRST_BYTE as usize + 256;
/// Largest file that is read: Llama's 32 000 pieces take 434 kB, a million take less than this.
pub(crate) const LARGEST_FILE: u64 = 64 << 20;
/// Longest piece that is believed; the vocabularies that people use stay below 512 bytes. What a batch of tokens says is kept
/// in memory that is sized by it.
pub(crate) const LONGEST_PIECE: usize = 1 << 12;
/// Largest piece that is read at once.
const PIECE: usize = 1 << 20;
/// Scores at or below this never merge (run.c starts its search there).
const LOWEST_SCORE: f32 = -1e10;
const NONE: u32 = u32::MAX;

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
    /// Too few tokens for byte fallback.
    TooFew {
        /// Tokens in the file.
        found: usize,
    },
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
    /// A token that begins or ends texts and is not in the vocabulary.
    Special {
        /// Which.
        what: &'static str,
        /// Its number.
        token: u32,
        /// Tokens in the vocabulary.
        count: usize,
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
                "has {found} tokens, but byte fallback needs at least {LEAST_TOKENS}; it is cut short or not a tokenizer.bin: fetch it again"
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
            Error::Special { what, token, count } => write!(
                f,
                "says that {what} is token {token}, but has {count} tokens; convert the model again with a current llama.cpp"
            ),
            Error::OutOfMemory { bytes } => {
                write!(f, "no memory for its {} bytes", Grouped(*bytes))
            }
        }
    }
}

impl core::error::Error for Error {}

/// A vocabulary with its merges. Having one proves that it holds the 256 byte tokens and that every piece lies inside of it.
pub struct Tokenizer {
    /// All pieces, one after another.
    bytes: Vec<u8>,
    /// Where each piece starts in `bytes`, and where the last one ends.
    starts: Vec<u32>,
    scores: Vec<f32>,
    /// All tokens that texts consist of, in the order of their pieces' bytes, equal pieces in the order of their ids.
    sorted: Vec<u32>,
    /// How byte-level BPE merges; `None`: by score.
    merges: Option<bpe::Merges>,
    /// What stands in texts for itself, whatever is around it: the longest first, equally long ones in the order of their bytes.
    own_words: Vec<u32>,
    /// Tokens that are signs to the model and no text.
    control: Vec<bool>,
    /// What a text begins with.
    bos: Option<u32>,
    /// What the file says ends it.
    eos: u32,
    /// What ends a text or a turn.
    ends: Vec<u32>,
    /// How its model was taught to chat.
    template: Option<Template>,
}

/// What a GGUF file says of its byte-level BPE vocabulary.
pub struct ByteLevel<'a> {
    /// `tokenizer.ggml.pre`.
    pub pre: &'a str,
    /// Words in the order of their tokens.
    pub words: &'a [String],
    /// Their types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
    pub types: &'a [i32],
    /// `LEFT RIGHT`, the first of the lowest rank.
    pub merges: &'a [String],
    /// Beginning of sequence.
    pub bos: Option<u32>,
    /// End of sequence.
    pub eos: Option<u32>,
    /// Whether texts begin with BOS; `None`: as the pre-tokenizer's models do.
    pub add_bos: Option<bool>,
}

/// Control tokens that end a text or a turn, by the names that model families gave them (llama.cpp's list).
const ENDS: [&str; 8] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<|end_of_text|>",
    "<EOT>",
];

impl Tokenizer {
    /// Reads and checks a whole file.
    ///
    /// # Errors
    /// [`Error`], the first thing that is wrong.
    pub fn load(source: &mut dyn ByteSource) -> Result<Tokenizer, Error> {
        let size = source.size();
        match size {
            0 => return Err(Error::Empty),
            1..=LARGEST_FILE => (),
            _ => return Err(Error::TooLarge { found: size }),
        }
        let mut file = Vec::new();
        file.try_reserve_exact(size as usize)
            .map_err(|_| Error::OutOfMemory { bytes: size })?;
        file.resize(size as usize, 0);
        for (index, piece) in file.chunks_mut(PIECE).enumerate() {
            source
                .read_at((index * PIECE) as u64, piece)
                .map_err(Error::Read)?;
        }
        Self::parse(&file)
    }

    /// Takes a whole file apart: once to prove it and to count, once to keep it. Only what was counted is allocated.
    fn parse(file: &[u8]) -> Result<Tokenizer, Error> {
        let (mut count, mut length) = (0, 0);
        for entry in Entries::of(file)? {
            length += entry?.1.len();
            count += 1;
        }
        if count < LEAST_TOKENS {
            return Err(Error::TooFew { found: count });
        }
        let bytes = file.len() as u64;
        let refused = |_| Error::OutOfMemory { bytes };
        let mut tokenizer = Tokenizer {
            bytes: Vec::new(),
            starts: Vec::new(),
            scores: Vec::new(),
            sorted: Vec::new(),
            merges: None,
            own_words: Vec::new(),
            control: Vec::new(),
            bos: Some(BOS),
            // BOS stands between texts: the model has finished one.
            eos: EOS,
            ends: alloc::vec![BOS],
            template: None,
        };
        tokenizer.bytes.try_reserve_exact(length).map_err(refused)?;
        tokenizer
            .starts
            .try_reserve_exact(count + 1)
            .map_err(refused)?;
        tokenizer.scores.try_reserve_exact(count).map_err(refused)?;
        tokenizer.sorted.try_reserve_exact(count).map_err(refused)?;

        tokenizer.starts.push(0);
        for entry in Entries::of(file)? {
            let (score, piece) = entry?;
            tokenizer.bytes.extend_from_slice(piece);
            tokenizer.starts.push(tokenizer.bytes.len() as u32);
            tokenizer.scores.push(score);
        }
        let mut sorted = core::mem::take(&mut tokenizer.sorted);
        sorted.extend(0..count as u32);
        sorted.sort_unstable_by_key(|&token| (tokenizer.piece(token), token));
        tokenizer.sorted = sorted;
        Ok(tokenizer)
    }

    /// A byte-level BPE vocabulary.
    ///
    /// # Errors
    /// [`Error::Splitter`], [`Error::Special`].
    pub fn byte_level(vocabulary: &ByteLevel<'_>) -> Result<Tokenizer, Error> {
        const CONTROL: i32 = 3;
        const USER_DEFINED: i32 = 4;
        let count = vocabulary.words.len();
        let (splitter, whole_words, begins) =
            split::named(vocabulary.pre).ok_or_else(|| Error::Splitter {
                name: vocabulary.pre.to_string(),
            })?;
        for (what, token) in [("BOS", vocabulary.bos), ("EOS", vocabulary.eos)] {
            if let Some(token) = token.filter(|&token| token as usize >= count) {
                return Err(Error::Special { what, token, count });
            }
        }
        let mut words = vocabulary.words.iter().map(String::len).enumerate();
        if let Some((token, found)) = words.find(|(_, found)| *found > 2 * LONGEST_PIECE) {
            return Err(Error::Piece { token, found });
        }
        let kind = |token: usize| vocabulary.types.get(token).copied().unwrap_or(1);
        let mut tokenizer = Tokenizer {
            bytes: Vec::new(),
            starts: alloc::vec![0],
            scores: alloc::vec![0.0; count],
            sorted: Vec::new(),
            merges: None,
            own_words: Vec::new(),
            control: (0..count)
                .map(|token| matches!(kind(token), 2 | CONTROL))
                .collect(),
            bos: vocabulary
                .bos
                .filter(|_| vocabulary.add_bos.unwrap_or(begins)),
            eos: vocabulary.eos.unwrap_or_default(),
            ends: vocabulary.eos.into_iter().collect(),
            template: None,
        };
        for (token, word) in vocabulary.words.iter().enumerate() {
            // Words of other types are written as they are.
            let bytes = Some(word).filter(|_| kind(token) == 1);
            match bytes.and_then(|word| bpe::bytes(word)) {
                Some(bytes) => {
                    tokenizer.bytes.extend_from_slice(&bytes);
                    tokenizer.sorted.push(token as u32);
                }
                None => {
                    tokenizer.bytes.extend_from_slice(word.as_bytes());
                    if kind(token) == USER_DEFINED && !word.is_empty() {
                        tokenizer.own_words.push(token as u32);
                    }
                    if kind(token) == CONTROL && ENDS.contains(&&word[..]) {
                        tokenizer.ends.push(token as u32);
                    }
                }
            }
            tokenizer.starts.push(tokenizer.bytes.len() as u32);
        }
        let mut sorted = core::mem::take(&mut tokenizer.sorted);
        sorted.sort_unstable_by_key(|&token| (tokenizer.piece(token), token));
        tokenizer.sorted = sorted;
        let mut own_words = core::mem::take(&mut tokenizer.own_words);
        own_words.sort_unstable_by_key(|&token| {
            let piece = tokenizer.piece(token);
            (core::cmp::Reverse(piece.len()), piece, token)
        });
        tokenizer.own_words = own_words;
        tokenizer.ends.sort_unstable();
        tokenizer.ends.dedup();

        let pairs: Vec<(Vec<u8>, Vec<u8>)> = vocabulary
            .merges
            .iter()
            .map(|merge| {
                // The first character may be a space only in damaged files; llama.cpp looks behind it, too.
                let middle = merge.char_indices().skip(1).find(|(_, c)| *c == ' ');
                let (left, right) =
                    middle.map_or(("", ""), |(at, _)| (&merge[..at], &merge[at + 1..]));
                let bytes = |word| bpe::bytes(word).unwrap_or_default();
                (bytes(left), bytes(right))
            })
            .collect();
        let pairs = pairs.iter().map(|(left, right)| (&left[..], &right[..]));
        tokenizer.merges = Some(bpe::Merges::new(&tokenizer, pairs, splitter, whole_words));
        Ok(tokenizer)
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

    /// Whether the model has finished when it gives `token`.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// How its model was taught to chat, if its file says so.
    pub fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// Sets that.
    pub fn set_template(&mut self, template: Option<Template>) {
        self.template = template;
    }

    /// Appends a conversation's tokens. Control tokens are made of the template's own words only.
    pub fn encode_marked(&self, fragments: &[Fragment<'_>], tokens: &mut Vec<u32>) {
        let control = self.control.iter().enumerate();
        let control = control
            .filter(|(_, is)| **is)
            .map(|(token, _)| token as u32);
        let signs: Vec<u32> = control.chain(self.own_words.iter().copied()).collect();
        // Text goes on from one fragment to the next as long as no token of its own comes between.
        let mut text = Vec::new();
        let flush = |text: &mut Vec<u8>, tokens: &mut Vec<u32>| {
            tokens.append(&mut self.encode(text, false, false));
            text.clear();
        };
        for fragment in fragments {
            let mut rest = match *fragment {
                Fragment::Said(said) => {
                    text.extend_from_slice(said.as_bytes());
                    continue;
                }
                Fragment::End => {
                    flush(&mut text, tokens);
                    tokens.push(self.eos);
                    continue;
                }
                Fragment::Mark(words) => words.as_bytes(),
            };
            while !rest.is_empty() {
                if let (Some(tail), true) = (rest.strip_prefix(b"<s>"), self.is_llama2c()) {
                    flush(&mut text, tokens);
                    tokens.push(BOS);
                    rest = tail;
                    continue;
                }
                let here = signs.iter().filter(|&&token| {
                    let name = self.piece(token);
                    !name.is_empty() && rest.starts_with(name)
                });
                if let Some(&token) = here.max_by_key(|&&token| self.piece(token).len()) {
                    flush(&mut text, tokens);
                    tokens.push(token);
                    rest = &rest[self.piece(token).len()..];
                } else {
                    text.push(rest[0]);
                    rest = &rest[1..];
                }
            }
        }
        flush(&mut text, tokens);
    }

    /// Whether it is llama2.c's kind: merged by score, with llama2.c's tokens for beginning and end.
    pub fn is_llama2c(&self) -> bool {
        self.merges.is_none()
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.scores.len()
    }

    /// All pieces in the order of their tokens, as the file has them, with their scores.
    pub fn pieces(&self) -> impl Iterator<Item = (&[u8], f32)> {
        (0..)
            .zip(&self.scores)
            .map(|(token, score)| (self.piece(token), *score))
    }

    /// Bytes of the longest piece.
    pub fn longest_piece(&self) -> usize {
        self.starts
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as usize)
            .max()
            .unwrap_or(0)
    }

    /// Whether this is the vocabulary of a model with `vocab_size` tokens.
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

    /// The bytes of a token's piece as the file has them.
    fn piece(&self, token: u32) -> &[u8] {
        let token = token as usize;
        &self.bytes[self.starts[token] as usize..self.starts[token + 1] as usize]
    }

    /// The token whose piece is `a` followed by `b`; of several equal ones the lowest.
    fn find(&self, a: &[u8], b: &[u8]) -> Option<u32> {
        let wanted = || a.iter().chain(b);
        let at = self
            .sorted
            .partition_point(|&token| self.piece(token).iter().lt(wanted()));
        let token = *self.sorted.get(at)?;
        self.piece(token).iter().eq(wanted()).then_some(token)
    }

    /// The token of a single byte that no piece covers.
    fn byte_token(byte: u8) -> u32 {
        u32::from(byte) + FIRST_BYTE
    }

    /// Encodes `text` as run.c's `encode` does: a space is put before a text that is not empty (SentencePiece's dummy
    /// prefix), characters without a token become byte tokens, then neighbours are merged, best score first, leftmost of equals.
    ///
    /// Any bytes will do. A NUL, where run.c's text would end, is its byte token.
    ///
    /// Byte-level BPE has no dummy prefix; BOS is put before the text where the model's texts begin with it, and what is not
    /// UTF-8 becomes U+FFFD. The names of control tokens in a text are text.
    pub fn encode(&self, text: &[u8], bos: bool, eos: bool) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() + 3);
        if bos {
            tokens.extend(self.bos);
        }
        if let Some(merges) = &self.merges {
            for part in self.around_own_words(text) {
                match part {
                    Part::Text(text) => merges.encode(self, text, &mut tokens),
                    Part::Word(token) => tokens.push(token),
                }
            }
            return tokens;
        }
        if !text.is_empty() {
            tokens.push(self.find(b" ", b"").unwrap_or(Self::byte_token(b' ')));
        }
        let mut rest = text;
        while !rest.is_empty() {
            // A character: any byte and the continuation bytes after it, four bytes at most.
            let more = rest[1..]
                .iter()
                .take(3)
                .take_while(|&&byte| byte & 0xc0 == 0x80)
                .count();
            let (character, tail) = rest.split_at(1 + more);
            rest = tail;
            match self.find(character, b"") {
                Some(token) => tokens.push(token),
                None => tokens.extend(character.iter().map(|&byte| Self::byte_token(byte))),
            }
        }
        self.merge(&mut tokens);
        if eos {
            tokens.push(EOS);
        }
        tokens
    }

    /// Cuts the words that stand for themselves out of `text`, the longest first, of equally long ones those of the lower tokens.
    fn around_own_words<'t>(&self, text: &'t [u8]) -> Vec<Part<'t>> {
        // Words of one length at a time, and each place looked up among them: searching for each word would take the time of all
        // the words times all the text.
        let mut taken = alloc::vec![false; if self.own_words.is_empty() { 0 } else { text.len() }];
        let mut places: Vec<(usize, u32)> = Vec::new();
        let len = |token: &u32| self.piece(*token).len();
        for same in self.own_words.chunk_by(|a, b| len(a) == len(b)) {
            let len = len(&same[0]);
            let mut here: Vec<(u32, usize)> = Vec::new();
            for (at, part) in text.windows(len).enumerate() {
                let first = same.partition_point(|&token| self.piece(token) < part);
                let word = same.get(first).filter(|&&token| self.piece(token) == part);
                here.extend(word.map(|&token| (token, at)));
            }
            here.sort_unstable();
            for (token, at) in here {
                // What is taken is at least as long: it does not lie inside.
                if !taken[at] && !taken[at + len - 1] {
                    taken[at..at + len].fill(true);
                    places.push((at, token));
                }
            }
        }
        places.sort_unstable();
        let (mut parts, mut end) = (Vec::new(), 0);
        for (at, token) in places {
            parts.extend([Part::Text(&text[end..at]), Part::Word(token)]);
            end = at + len(&token);
        }
        parts.push(Part::Text(&text[end..]));
        parts
    }

    /// Merges neighbours while any two make a piece: a heap of candidate pairs over a doubly linked list of tokens.
    fn merge(&self, tokens: &mut Vec<u32>) {
        let count = tokens.len() as u32;
        let mut links: Vec<Link> = (0..count)
            .map(|i| Link {
                before: i.checked_sub(1).unwrap_or(NONE),
                after: if i + 1 < count { i + 1 } else { NONE },
            })
            .collect();
        let mut heap = BinaryHeap::new();
        let candidate = |tokens: &[u32], left: u32, right: u32| {
            let pair = (tokens[left as usize], tokens[right as usize]);
            let token = self.find(self.piece(pair.0), self.piece(pair.1))?;
            let score = self.scores[token as usize];
            // Written so that NaN loses too.
            if score > LOWEST_SCORE {
                Some(Merge {
                    score,
                    left,
                    right,
                    pair,
                    token,
                })
            } else {
                None
            }
        };
        heap.extend((1..count).filter_map(|right| candidate(tokens, right - 1, right)));

        while let Some(Merge {
            left,
            right,
            pair,
            token,
            ..
        }) = heap.pop()
        {
            // Stale if either token has been merged since: then its place is gone or holds another token.
            let now = (tokens[left as usize], tokens[right as usize]);
            if now != pair || links[left as usize].after != right {
                continue;
            }
            tokens[left as usize] = token;
            tokens[right as usize] = NONE;
            let after = links[right as usize].after;
            links[left as usize].after = after;
            if after != NONE {
                links[after as usize].before = left;
                heap.extend(candidate(tokens, left, after));
            }
            let before = links[left as usize].before;
            if before != NONE {
                heap.extend(candidate(tokens, before, left));
            }
        }
        tokens.retain(|&token| token != NONE);
    }

    /// The bytes to show for `token` when it follows `before` (run.c's `decode` and `safe_printf`): after BOS a leading
    /// space is left out, `<0xNN>` is that byte, and a lone byte that is neither printable nor white space is nothing.
    ///
    /// One difference: a lone byte above 0x7f is kept, since the next ones may complete a character; run.c drops it.
    pub fn decode(&self, before: u32, token: u32) -> &[u8] {
        if token as usize >= self.vocab_size() {
            return &[];
        }
        if self.merges.is_some() {
            return match self.piece(token) {
                _ if self.control[token as usize] => &[],
                // As below: what would only upset a terminal.
                [byte] if byte.is_ascii_control() && !matches!(byte, b'\t'..=b'\r') => &[],
                piece => piece,
            };
        }
        let piece = match self.piece(token) {
            [b' ', rest @ ..] if before == BOS => rest,
            piece => piece,
        };
        let shown =
            byte_piece(piece).map_or(piece, |byte| &BYTES[usize::from(byte)..=usize::from(byte)]);
        match shown {
            [byte] if byte.is_ascii_control() && !matches!(byte, b'\t'..=b'\r') => &[],
            shown => shown,
        }
    }
}

/// A part of a text.
enum Part<'t> {
    Text(&'t [u8]),
    /// A token that stands for itself.
    Word(u32),
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

/// The tokens of a file, each checked: its score, and its piece up to the first NUL, where a C string ends.
struct Entries<'a> {
    rest: &'a [u8],
    token: usize,
    size: u64,
}

impl<'a> Entries<'a> {
    fn of(file: &'a [u8]) -> Result<Entries<'a>, Error> {
        let size = file.len() as u64;
        // The first number is the longest piece's length; run.c sizes a buffer by it, we need none.
        let rest = file.get(4..).ok_or(Error::CutShort { token: 0, size })?;
        Ok(Entries {
            rest,
            token: 0,
            size,
        })
    }

    fn entry(&mut self) -> Result<(f32, &'a [u8]), Error> {
        let (token, size) = (self.token, self.size);
        let (head, tail) = self
            .rest
            .split_at_checked(8)
            .ok_or(Error::CutShort { token, size })?;
        let score = f32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let found = i32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let piece = usize::try_from(found).ok().and_then(|len| tail.get(..len));
        let piece = piece.ok_or(Error::Length {
            token,
            offset: size - self.rest.len() as u64 + 4,
            found,
            left: tail.len() as u64,
        })?;
        if piece.len() > LONGEST_PIECE {
            let found = piece.len();
            return Err(Error::Piece { token, found });
        }
        self.rest = &tail[piece.len()..];
        self.token += 1;
        let end = piece.iter().position(|&byte| byte == 0);
        Ok((score, &piece[..end.unwrap_or(piece.len())]))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(f32, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

/// The byte that a piece `<0xNN>` stands for. What run.c's `sscanf(piece, "<0x%02hhX>", …) == 1` takes, this takes: one
/// digit is enough, and what follows the digits does not matter.
fn byte_piece(piece: &[u8]) -> Option<u8> {
    let digit = |c: &u8| char::from(*c).to_digit(16).map(|d| d as u8);
    let digits = piece.strip_prefix(b"<0x")?;
    let first = digit(digits.first()?)?;
    let second = digits.get(1).and_then(digit);
    Some(second.map_or(first, |second| first << 4 | second))
}

/// A token's neighbours in the list.
#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
}

/// Two neighbours that make a piece.
struct Merge {
    score: f32,
    left: u32,
    right: u32,
    /// The two tokens when this was found.
    pair: (u32, u32),
    token: u32,
}

impl Ord for Merge {
    /// Best score first, then leftmost. No score is NaN; `+ 0.0` makes the two zeros one, as they are in C.
    fn cmp(&self, other: &Self) -> Ordering {
        (self.score + 0.0)
            .total_cmp(&(other.score + 0.0))
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Merge {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Merge {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Merge {}
