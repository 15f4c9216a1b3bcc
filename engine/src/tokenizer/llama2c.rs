//! llama2.c's `tokenizer.bin`, with run.c's encoding and decoding.
//!
//! The file: u32 `max_token_length`, then for each token an f32 score, an i32 length and that many
//! bytes, little-endian. There is no count; the file's end is the vocabulary's. Encoding and
//! decoding follow run.c's `encode`, `decode` and `safe_printf`, in O(n log n) instead of O(n²).

use alloc::vec::Vec;

use super::{
    BOS, EOS, Error, Kind, Tokenizer, Way,
    merge::{Score, merge},
    special::Specials,
    words::Words,
};
use crate::source::ByteSource;

/// First of the 256 byte tokens, after `<unk>`, `<s>` and `</s>`.
pub(super) const FIRST_BYTE: u32 = 3;
/// Smallest vocabulary in which every byte has a token. Smaller ones have tokens for characters
/// only.
pub(super) const ALL_BYTES: usize = FIRST_BYTE as usize + 256;
/// Smallest vocabulary accepted: it includes BOS and EOS.
pub(super) const LEAST_TOKENS: usize = EOS as usize + 1;
/// Largest number of tokens accepted; the largest vocabularies have 262144.
pub(crate) const MOST_TOKENS: u64 = 1 << 20;
/// Largest file accepted: Llama's 32000 tokens take 434 kB, a million take less than this.
pub(crate) const LARGEST_FILE: u64 = 64 << 20;
/// Longest token text accepted; vocabularies in use stay below 512 bytes. The buffer for a batch's
/// text is sized by it.
pub(crate) const LONGEST_PIECE: usize = 1 << 12;
/// Largest piece that is read at once.
const PIECE: usize = 1 << 20;
/// Scores at or below this never merge (run.c initialises its search with it).
const LOWEST_SCORE: f32 = -1e10;

/// Reads and checks a whole file.
pub(super) fn load(source: &mut dyn ByteSource) -> Result<Tokenizer, Error> {
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
    parse(&file)
}

/// Parses a whole file: first to check and count, then to store. Only what was counted is
/// allocated.
fn parse(file: &[u8]) -> Result<Tokenizer, Error> {
    let (mut count, mut length) = (0, 0);
    for entry in Entries::of(file)? {
        length += entry?.1.len();
        count += 1;
        if count as u64 > MOST_TOKENS {
            return Err(Error::TooMany);
        }
    }
    if count < LEAST_TOKENS {
        return Err(Error::TooFew { found: count });
    }
    let bytes = file.len() as u64;
    let refused = |_| Error::OutOfMemory { bytes };
    let mut pieces = Words::with_room(count, length).map_err(refused)?;
    let mut scores = Vec::new();
    scores.try_reserve_exact(count).map_err(refused)?;
    for entry in Entries::of(file)? {
        let (score, piece) = entry?;
        pieces.push(piece);
        scores.push(score);
    }
    of(pieces, scores).map_err(refused)
}

/// Creates the tokenizer of these pieces, of which there are at least [`LEAST_TOKENS`].
pub(super) fn of(
    pieces: Words,
    scores: Vec<f32>,
) -> Result<Tokenizer, alloc::collections::TryReserveError> {
    let count = pieces.len();
    let (mut sorted, mut kinds) = (Vec::new(), Vec::new());
    sorted.try_reserve_exact(count)?;
    sorted.extend(0..count as u32);
    pieces.sort(&mut sorted);
    kinds.try_reserve_exact(count)?;
    kinds.resize(count, Kind::Normal);
    Ok(Tokenizer {
        words: pieces,
        kinds,
        scores,
        sorted,
        way: Way::Llama2c,
        // Templates call BOS by this name; in the vocabulary it has a name that no text contains.
        specials: Specials::new([(BOS, &b"<s>"[..], true, false)].into_iter()),
        begin: Some(BOS),
        bos: Some(BOS),
        eos: EOS,
        adds_eos: true,
        // BOS separates texts: the model has finished one.
        ends: alloc::vec![BOS],
        middle: [None; 6],
        chat_template: None,
        warnings: Vec::new(),
    })
}

/// Appends the tokens of `text` as run.c's `encode` does, and merges them with those before.
pub(super) fn encode(t: &Tokenizer, text: &[u8], tokens: &mut Vec<u32>) {
    let mut symbols = core::mem::take(tokens);
    symbols.reserve(text.len() + 1);
    if !text.is_empty() {
        symbols.extend(t.find(b" ").or_else(|| own_token(t, b' ')));
    }
    for character in characters(text) {
        match t.find(character) {
            Some(token) => symbols.push(token),
            None => symbols.extend(character.iter().filter_map(|&byte| byte_token(t, byte))),
        }
    }
    tokens.extend(merge(symbols.into_iter(), |left, right| {
        let (a, b) = (t.words.get(left), t.words.get(right));
        let token = t.words.find_joined(&t.sorted, a, b)?;
        let score = t.scores[token as usize];
        // Written so that NaN loses too.
        (score > LOWEST_SCORE).then_some((Score(score), token))
    }));
}

/// Splits a text into characters: any byte and the continuation bytes after it, at most four bytes.
fn characters(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (_, tail) = rest.split_first()?;
        let more = tail.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80);
        let (character, tail) = rest.split_at(1 + more.count());
        rest = tail;
        Some(character)
    })
}

/// First character of `text` for which a small vocabulary has neither a token nor `<unk>`.
pub(super) fn lacking<'t>(t: &Tokenizer, text: &'t [u8]) -> Option<&'t [u8]> {
    if t.words.len() >= ALL_BYTES {
        return None;
    }
    let known = |byte: &u8| byte_token(t, *byte).is_some();
    characters(text).find(|c| t.find(c).is_none() && !c.iter().all(known))
}

/// Token of a single byte that no piece covers: its own, or `<unk>`. If a vocabulary lacks some
/// bytes, run.c reads past its table.
fn byte_token(t: &Tokenizer, byte: u8) -> Option<u32> {
    own_token(t, byte).or_else(|| t.find(b"<unk>"))
}

fn own_token(t: &Tokenizer, byte: u8) -> Option<u32> {
    let token = u32::from(byte) + FIRST_BYTE;
    let count = t.words.len();
    let is_own = || (token as usize) < count && byte_piece(t.words.get(token)) == Some(byte);
    (count >= ALL_BYTES || is_own()).then_some(token)
}

/// Decodes a piece as run.c's `decode` does.
pub(super) fn decode(piece: &[u8]) -> &[u8] {
    match byte_piece(piece) {
        Some(byte) => super::one_byte(byte),
        None => piece,
    }
}

/// Tokens of a file, checked one by one: score, and text up to the first NUL, where a C string
/// ends.
struct Entries<'a> {
    rest: &'a [u8],
    token: usize,
    size: u64,
}

impl<'a> Entries<'a> {
    fn of(file: &'a [u8]) -> Result<Entries<'a>, Error> {
        let size = file.len() as u64;
        // The first number is the longest piece's length; run.c sizes a buffer by it, which is not
        // needed here.
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

/// Byte of a piece `<0xNN>`. Accepts what run.c's `sscanf(piece, "<0x%02hhX>", …) == 1` accepts:
/// one digit is enough, and the characters after the digits do not matter.
fn byte_piece(piece: &[u8]) -> Option<u8> {
    let digit = |c: &u8| char::from(*c).to_digit(16).map(|d| d as u8);
    let digits = piece.strip_prefix(b"<0x")?;
    let first = digit(digits.first()?)?;
    let second = digits.get(1).and_then(digit);
    Some(second.map_or(first, |second| first << 4 | second))
}
