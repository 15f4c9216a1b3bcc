//! The tokenizer against run.c's algorithm, written plainly, and against what run.c itself gave.

use std::collections::HashMap;

use llama2_engine::{
    source::{ByteSource, ReadError},
    tokenizer::{BOS, Error, Tokenizer},
};
use llama2_testing::{bundled, bundled_int8, reference};

/// run.c's `encode` as it stands: all pairs looked at after each merge.
struct Plain {
    pieces: Vec<Vec<u8>>,
    scores: Vec<f32>,
    ids: HashMap<Vec<u8>, u32>,
}

impl Plain {
    fn new(file: &[u8]) -> Plain {
        let mut plain = Plain {
            pieces: Vec::new(),
            scores: Vec::new(),
            ids: HashMap::new(),
        };
        let mut at = 4;
        while at < file.len() {
            let word = |at: usize| file[at..at + 4].try_into().unwrap();
            let len = u32::from_le_bytes(word(at + 4)) as usize;
            // A C string ends at its first NUL.
            let piece = file[at + 8..at + 8 + len]
                .iter()
                .copied()
                .take_while(|&byte| byte != 0)
                .collect::<Vec<u8>>();
            plain
                .ids
                .entry(piece.clone())
                .or_insert(plain.pieces.len() as u32);
            plain.pieces.push(piece);
            plain.scores.push(f32::from_le_bytes(word(at)));
            at += 8 + len;
        }
        plain
    }

    fn encode(&self, text: &[u8]) -> Vec<u32> {
        let mut tokens = vec![1];
        if !text.is_empty() {
            // run.c needs a " "; we take its byte token where there is none.
            tokens.push(self.ids.get(&b" "[..]).copied().unwrap_or(3 + 32));
        }
        let mut character = Vec::new();
        for (i, &byte) in text.iter().enumerate() {
            if byte & 0xc0 != 0x80 {
                character.clear();
            }
            character.push(byte);
            let continues = text.get(i + 1).is_some_and(|next| next & 0xc0 == 0x80);
            if continues && character.len() < 4 {
                continue;
            }
            match self.ids.get(&character) {
                Some(&id) => tokens.push(id),
                None => tokens.extend(character.iter().map(|&byte| u32::from(byte) + 3)),
            }
            character.clear();
        }
        loop {
            let mut best: Option<(f32, u32, usize)> = None;
            for i in 0..tokens.len() - 1 {
                let pair = [
                    &self.pieces[tokens[i] as usize][..],
                    &self.pieces[tokens[i + 1] as usize],
                ]
                .concat();
                if let Some(&id) = self.ids.get(&pair) {
                    let score = self.scores[id as usize];
                    if score > best.map_or(-1e10, |best| best.0) {
                        best = Some((score, id, i));
                    }
                }
            }
            let Some((_, id, i)) = best else {
                return tokens;
            };
            tokens[i] = id;
            tokens.remove(i + 1);
        }
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    /// Words and characters of many scripts, repetitions, white space, control characters.
    fn text(&mut self) -> String {
        const WORDS: [&str; 12] = [
            "Once upon a time",
            " the",
            "and ",
            "Lily",
            "ing",
            "  ",
            "\n",
            "<0x41>",
            "<s>",
            "</s>",
            "...",
            "\t",
        ];
        let mut text = String::new();
        for _ in 0..self.below(14) {
            match self.below(8) {
                0..3 => text.push_str(WORDS[self.below(12) as usize]),
                3 => {
                    let letter = char::from(b'a' + self.below(26) as u8);
                    text.extend(std::iter::repeat_n(letter, self.below(20) as usize));
                }
                4 => text.push(char::from(self.below(128) as u8)),
                5 => text.extend(char::from_u32(0xa0 + self.below(0x500) as u32)),
                6 => text.extend(char::from_u32(0x3040 + self.below(0x6000) as u32)),
                _ => text.extend(char::from_u32(0x1_f300 + self.below(0x400) as u32)),
            }
        }
        text
    }
}

fn files() -> Vec<std::path::PathBuf> {
    [
        Some(bundled("tokenizer.bin")),
        reference("tok512.bin"),
        reference("tokenizer.bin"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[test]
fn ids_equal_run_c_s_on_10_000_random_strings() {
    for path in files() {
        let file = std::fs::read(&path).unwrap();
        let (tokenizer, plain) = (Tokenizer::load(&mut &file[..]).unwrap(), Plain::new(&file));
        assert_eq!(tokenizer.vocab_size(), plain.pieces.len());
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..10_000 {
            let text = random.text();
            let ids = tokenizer.encode(text.as_bytes(), true, false);
            assert_eq!(
                ids,
                plain.encode(text.as_bytes()),
                "{}: {text:?}",
                path.display()
            );
            // And back: what was dropped on the way is control characters only.
            let mut before = BOS;
            let mut back = Vec::new();
            for &id in &ids[1..] {
                back.extend_from_slice(tokenizer.decode(before, id));
                before = id;
            }
            if !text.chars().any(|c| c.is_ascii_control()) && !text.contains("<0x") {
                assert_eq!(String::from_utf8_lossy(&back), text, "{}", path.display());
            }
        }
        // Stray continuation bytes, cut characters, any bytes.
        for _ in 0..2_000 {
            let bytes: Vec<u8> = (0..random.below(30))
                .map(|_| 1 + random.below(255) as u8)
                .collect();
            assert_eq!(
                tokenizer.encode(&bytes, true, false),
                plain.encode(&bytes),
                "{}: {bytes:x?}",
                path.display()
            );
        }
    }
}

#[test]
fn ids_that_run_c_gave() {
    let Some(table) = reference("encodings.txt") else {
        return;
    };
    let table = std::fs::read_to_string(table).unwrap();
    let mut tokenizer = None;
    let mut seen = 0;
    for line in table.lines() {
        if let Some(size) = line.strip_prefix("# vocabulary of ") {
            let name = if size.starts_with("512 ") {
                "tok512.bin"
            } else {
                "tokenizer.bin"
            };
            let file = std::fs::read(reference(name).unwrap()).unwrap();
            tokenizer = Some(Tokenizer::load(&mut &file[..]).unwrap());
            continue;
        }
        let (prompt, ids) = line.split_once('\t').unwrap();
        let prompt = prompt[1..prompt.len() - 1]
            .replace("\\t", "\t")
            .replace("\\n", "\n");
        let ids: Vec<u32> = ids.split(' ').map(|id| id.parse().unwrap()).collect();
        assert_eq!(
            tokenizer
                .as_ref()
                .unwrap()
                .encode(prompt.as_bytes(), true, false),
            ids,
            "{prompt:?}"
        );
        seen += 1;
    }
    assert_eq!(seen, 28);
}

/// With run.c's own loop the time grows with the square of a text's length, here with the length:
/// ten times as long a text takes far less than a hundred times as long. The best of three, for
/// machines with other work.
#[test]
fn a_hundred_thousand_letters() {
    for path in files() {
        let file = std::fs::read(&path).unwrap();
        let tokenizer = Tokenizer::load(&mut &file[..]).unwrap();
        let encode = |letters: usize| {
            let text = vec![b'a'; letters];
            let took = (0..3).map(|_| {
                let start = std::time::Instant::now();
                let ids = tokenizer.encode(&text, true, true);
                (start.elapsed().as_secs_f64(), ids)
            });
            took.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
        };
        let (short, _) = encode(10_000);
        let (long, ids) = encode(100_000);
        assert_eq!((ids[0], ids[ids.len() - 1]), (1, 2));
        let length: usize = ids[1..ids.len() - 1]
            .windows(1)
            .map(|id| tokenizer.decode(0, id[0]).len())
            .sum();
        assert_eq!(length, 100_001, "every letter and the space before them");
        let path = path.display();
        assert!(long < 40.0 * short, "{path}: {short} s, {long} s");
    }
}

/// Small vocabularies of two letters, where everything merges with everything, and scores that C
/// compares in its own way: equal ones, zeros of both signs, infinities, NaN, and those at which
/// run.c's search begins. Equal pieces, empty ones and ones with a NUL inside occur as well, and a
/// vocabulary without " ".
#[test]
fn ids_equal_run_c_s_on_odd_vocabularies() {
    const SCORES: [f32; 12] = [
        0.0,
        -0.0,
        -1.0,
        -1.0,
        -2.0,
        3.5,
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        -1e10,
        -9.999_999e9,
        -1.1e10,
    ];
    let mut random = Random(0x0dd);
    let mut merged = 0;
    for _ in 0..1_500 {
        let mut file = vocabulary(&[]);
        for _ in 0..random.below(40) {
            let piece: Vec<u8> = (0..random.below(6))
                .map(|_| b"aabb \0"[random.below(6) as usize])
                .collect();
            file.extend(SCORES[random.below(12) as usize].to_le_bytes());
            file.extend((piece.len() as i32).to_le_bytes());
            file.extend(piece);
        }
        let (tokenizer, plain) = (Tokenizer::load(&mut &file[..]).unwrap(), Plain::new(&file));
        for _ in 0..8 {
            let text: Vec<u8> = (0..random.below(24))
                .map(|_| b"aaabbb c"[random.below(8) as usize])
                .collect();
            let ids = tokenizer.encode(&text, true, false);
            assert_eq!(ids, plain.encode(&text), "{text:?} with {file:x?}");
            merged += usize::from(ids.len() < text.len());
        }
    }
    assert!(merged > 2_000, "{merged} texts became shorter");
}

/// A character ends after four bytes, however many continuation bytes follow; those begin one of
/// their own.
#[test]
fn a_character_has_four_bytes_at_most() {
    let mut file = vocabulary(&[" ", "🙂"]);
    let stray = [0x80u8; 4];
    file.extend((-1f32).to_le_bytes());
    file.extend(4i32.to_le_bytes());
    file.extend(stray);
    let (tokenizer, plain) = (Tokenizer::load(&mut &file[..]).unwrap(), Plain::new(&file));
    let byte = 3 + 0x80;
    for (text, ids) in [
        (
            ["🙂".as_bytes(), &stray[..1]].concat(),
            &[1, 259, 260, byte][..],
        ),
        (["🙂".as_bytes(), &stray].concat(), &[1, 259, 260, 261]),
        (
            [&stray[..], &stray[..3]].concat(),
            &[1, 259, 261, byte, byte, byte],
        ),
    ] {
        assert_eq!(tokenizer.encode(&text, true, false), ids, "{text:x?}");
        assert_eq!(plain.encode(&text), ids, "{text:x?}");
    }
}

/// The `<s>` that begins a text takes part in merges, as in run.c.
#[test]
fn bos_merges_with_what_follows() {
    let file = vocabulary(&[" ", "a", "\n<s>\n ", "\n<s>\n a"]);
    let (tokenizer, plain) = (Tokenizer::load(&mut &file[..]).unwrap(), Plain::new(&file));
    assert_eq!(tokenizer.encode(b"a", true, false), [262]);
    assert_eq!(plain.encode(b"a"), [262]);
    assert_eq!(tokenizer.encode(b"a", true, true), [262, 2], "EOS does not");
    assert_eq!(tokenizer.encode(b"", true, true), [1, 2]);
    assert_eq!(tokenizer.encode(b"", false, false), []);
}

/// A file of `pieces` with the scores 0, -1, -2, …
fn file_of<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut file = 27u32.to_le_bytes().to_vec();
    for (i, piece) in pieces.into_iter().enumerate() {
        file.extend((-(i as f32)).to_le_bytes());
        file.extend((piece.len() as i32).to_le_bytes());
        file.extend(piece);
    }
    file
}

/// The specials, the byte tokens, and these.
fn vocabulary(more: &[&str]) -> Vec<u8> {
    let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
    let specials = ["<unk>", "\n<s>\n", "\n</s>\n"];
    let all = specials
        .into_iter()
        .chain(bytes.iter().map(String::as_str))
        .chain(more.iter().copied());
    file_of(all.map(str::as_bytes))
}

#[test]
fn decoding_shows_what_run_c_shows() {
    let file = vocabulary(&[
        " a",
        "b",
        "\u{7}",
        "\n",
        "<0x4",
        "<0xZZ>",
        "é",
        " ",
        " <0x41>",
        "<0x42 and more",
        "\u{1b}[2J",
        "ab\0c",
    ]);
    let tokenizer = Tokenizer::load(&mut &file[..]).unwrap();
    let shown = |before, token| tokenizer.decode(before, token).to_vec();
    assert_eq!(shown(1, 259), b"a", "the space after BOS is left out");
    assert_eq!(shown(5, 259), b" a");
    assert_eq!(shown(5, 3 + 0x41), b"A", "a byte token is its byte");
    assert_eq!(shown(5, 3 + 0xc3), b"\xc3", "half a character is passed on");
    for silent in [3, 3 + 7, 3 + 0x1b, 3 + 0x7f, 261] {
        assert_eq!(shown(5, silent), b"", "control character of token {silent}");
    }
    for space in *b"\t\n\x0b\x0c\r " {
        assert_eq!(shown(5, 3 + u32::from(space)), [space]);
    }
    assert_eq!(shown(5, 263), b"", "one digit is enough for sscanf: byte 4");
    assert_eq!(shown(5, 264), b"<0xZZ>");
    assert_eq!(shown(5, 265), "é".as_bytes());
    assert_eq!(shown(1, 266), b"", "a space alone after BOS");
    assert_eq!(shown(1, 267), b"A", "the space goes first");
    assert_eq!(shown(5, 267), b" <0x41>");
    assert_eq!(
        shown(5, 268),
        b"B",
        "sscanf does not look behind the digits"
    );
    assert_eq!(shown(5, 269), b"\x1b[2J", "only lone bytes are looked at");
    assert_eq!(shown(5, 270), b"ab", "a piece ends at its NUL");
    assert_eq!(shown(5, 4_000_000), b"", "no such token");
}

fn refusal(file: &[u8]) -> String {
    let error = Tokenizer::load(&mut &*file)
        .err()
        .expect("this must be refused")
        .to_string();
    assert!(!error.contains('\n') && error.len() > 20, "{error:?}");
    error
}

#[test]
fn bad_files_are_refused_with_a_sentence() {
    let good = vocabulary(&[" ", "a"]);
    assert!(refusal(b"").contains("empty"));
    for len in [1, 3, 4 + 5, good.len() - 3] {
        let sentence = refusal(&good[..len]);
        assert!(sentence.contains("cut short"), "{len}: {sentence}");
    }
    for (found, word) in [
        (-1i32, "token 0 says at byte 8 that it is -1 bytes"),
        (
            i32::MAX,
            "token 0 says at byte 8 that it is 2147483647 bytes",
        ),
    ] {
        let mut bad = good.clone();
        bad[8..12].copy_from_slice(&found.to_le_bytes());
        assert!(refusal(&bad).contains(word), "{}", refusal(&bad));
    }
    assert!(
        refusal(&good[..4 + 8 + 2])
            .contains("token 0 says at byte 8 that it is 5 bytes long, but 2 are left")
    );
    assert!(refusal(&good[..4 + 8 + 5]).contains("has 1 tokens"));
    let many = [&[0; 4][..], &vec![0; 8 << 20]].concat();
    assert!(Tokenizer::load(&mut &many[..]).is_ok());
    assert!(refusal(&[&many[..], &[0; 8]].concat()).contains("more than 1048576 tokens"));
    // What a batch of tokens says is kept in memory that is sized by the longest piece.
    let longest = "x".repeat(4096);
    assert!(Tokenizer::load(&mut &vocabulary(&[&longest])[..]).is_ok());
    let sentence = refusal(&vocabulary(&[&format!("{longest}x")]));
    assert!(
        sentence.contains("token 259 has 4097 bytes, and no vocabulary has longer ones than 4096"),
        "{sentence}"
    );
    let tokenizer = Tokenizer::load(&mut &good[..]).unwrap();
    assert!(tokenizer.check_model(261).is_ok());
    let error = tokenizer.check_model(32_000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "has 261 tokens, but the model has 32000; use the tokenizer that came with the model"
    );
    // A model in place of a tokenizer.
    let model = bundled_int8();
    assert!(matches!(
        Tokenizer::load(&mut &model[..]),
        Err(Error::Length { .. } | Error::CutShort { .. })
    ));
    let model = std::fs::read(bundled("stories330K.bin")).unwrap();
    assert!(matches!(
        Tokenizer::load(&mut &model[..]),
        Err(Error::Length { .. } | Error::CutShort { .. })
    ));
}

/// Bytes that cannot be read from `fails_at` on.
struct Faulty<'a> {
    bytes: &'a [u8],
    fails_at: u64,
}

impl ByteSource for Faulty<'_> {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        assert!(buf.len() <= 1 << 20, "firmware reads at most 1 MiB at once");
        if offset + buf.len() as u64 > self.fails_at {
            return Err(ReadError::new(self.fails_at, "DEVICE_ERROR".into()));
        }
        (&mut self.bytes).read_at(offset, buf)
    }
}

#[test]
fn a_medium_that_fails_is_said() {
    // Three megabytes in a thousand tokens.
    let long = "x".repeat(4096);
    let bytes = vocabulary(&[&long[..]; 768]);
    for fails_at in [0, 1 << 20, bytes.len() as u64 - 1] {
        let mut source = Faulty {
            bytes: &bytes,
            fails_at,
        };
        let error = Tokenizer::load(&mut source).err().unwrap();
        let sentence = error.to_string();
        assert!(
            sentence.contains(&format!("byte {fails_at} (DEVICE_ERROR)")),
            "{sentence}"
        );
    }
    let mut whole = Faulty {
        bytes: &bytes,
        fails_at: u64::MAX,
    };
    assert_eq!(Tokenizer::load(&mut whole).unwrap().vocab_size(), 259 + 768);
}

/// A source that is too large is refused by its size: nothing is read, nothing allocated.
#[test]
fn an_absurd_size_is_refused_unread() {
    struct Endless(u64);
    impl ByteSource for Endless {
        fn size(&self) -> u64 {
            self.0
        }
        fn read_at(&mut self, _: u64, _: &mut [u8]) -> Result<(), ReadError> {
            panic!("nothing is to be read");
        }
    }
    for size in [(64 << 20) + 1, u64::MAX] {
        let error = Tokenizer::load(&mut Endless(size)).err().unwrap();
        assert_eq!(error, Error::TooLarge { found: size });
        assert!(error.to_string().contains("at most 67108864"), "{error}");
    }
}

#[test]
fn mutated_files_never_panic() {
    let good = vocabulary(&[" ", "a", "b", "ab", " ab", "aa", "aaaa"]);
    let mut random = Random(77);
    let (mut loaded, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut file = good.clone();
        for _ in 0..=random.below(4) {
            let at = random.below(file.len() as u64) as usize;
            match random.below(4) {
                0 => file.truncate(at.max(1)),
                // Scores of every kind, infinities and NaN among them.
                1 => file[at] = [0, 0x7f, 0x80, 0xff][random.below(4) as usize],
                _ => file[at] = random.below(256) as u8,
            }
        }
        match Tokenizer::load(&mut &file[..]) {
            Ok(tokenizer) => {
                loaded += 1;
                let ids = tokenizer.encode("aab ab\u{e9} aaaa".as_bytes(), true, true);
                assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
                assert!(
                    ids.windows(2)
                        .all(|pair| tokenizer.decode(pair[0], pair[1]).len()
                            <= tokenizer.longest_piece())
                );
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(
        loaded > 1000 && refused > 1000,
        "{loaded} loaded, {refused} refused"
    );
}

/// A `tokenizer.bin` of these pieces and scores.
fn pieces(all: &[(&str, f32)]) -> Vec<u8> {
    let mut file = 8u32.to_le_bytes().to_vec();
    for (piece, score) in all {
        file.extend(score.to_le_bytes());
        file.extend((piece.len() as i32).to_le_bytes());
        file.extend(piece.as_bytes());
    }
    file
}

/// Vocabularies of characters, which have no tokens for bytes: what they lack is unknown, or is
/// said.
#[test]
fn small_vocabularies() {
    let own = [("\n<s>\n", 0.0), ("\n</s>\n", 0.0)];
    let letters = [" ", "a", "b", "\u{e9}", "ab"].map(|piece| (piece, -1.0));
    let with = |first: &str| {
        let all: Vec<_> = [(first, 0.0)]
            .into_iter()
            .chain(own)
            .chain(letters)
            .collect();
        Tokenizer::load(&mut &pieces(&all)[..]).unwrap()
    };
    let (known, none) = (with("<unk>"), with("q"));
    for tokenizer in [&known, &none] {
        let text = "ab b\u{e9}".as_bytes();
        assert_eq!(tokenizer.encode(text, true, true), [1, 3, 7, 3, 5, 6, 2]);
        assert_eq!(tokenizer.lacks(text), None);
        assert!(!tokenizer.has_bytes());
    }
    // What run.c reads behind its table for: a byte, and the three bytes of one character.
    assert_eq!(
        known.encode("ax\u{20ac}".as_bytes(), false, false),
        [3, 4, 0, 0, 0, 0]
    );
    assert_eq!(known.lacks("ax\u{20ac}".as_bytes()), None);
    for (text, lacking) in [
        ("abx", "x"),
        ("a\u{20ac}x", "\u{20ac}"),
        ("\n", "\n"),
        ("\0", "\0"),
    ] {
        assert_eq!(none.lacks(text.as_bytes()).as_deref(), Some(lacking));
        // Where it is encoded all the same, it is left out: nothing outside of the vocabulary.
        assert!(
            none.encode(text.as_bytes(), false, false)
                .iter()
                .all(|&token| token < 8)
        );
    }
    // The space before a text is nobody's: without a token for it there is none.
    let few = [("q", 0.0), own[0], own[1], ("a", 0.0)];
    let few = Tokenizer::load(&mut &pieces(&few)[..]).unwrap();
    assert_eq!(few.encode(b"aa", true, false), [1, 3, 3]);
    assert_eq!(few.lacks(b"a a").as_deref(), Some(" "));
    assert!(refusal(&pieces(&own)).contains("has 2 tokens"));
    // A few bytes have tokens: those are known, at their place only.
    let mut all = vec![
        ("q", 0.0),
        own[0],
        own[1],
        ("<0x00>", 0.0),
        ("<0x01>", 0.0),
        ("<0x07>", 0.0),
    ];
    let some = Tokenizer::load(&mut &pieces(&all)[..]).unwrap();
    assert_eq!(some.encode(b"\x01\x07", false, false), [4]);
    assert_eq!(some.lacks(b"\x01\x07").as_deref(), Some("\u{7}"));
    // With all bytes nothing is lacking, as before.
    all.resize(259, ("x", 0.0));
    assert_eq!(
        Tokenizer::load(&mut &pieces(&all)[..])
            .unwrap()
            .lacks(b"\x07"),
        None
    );
}
