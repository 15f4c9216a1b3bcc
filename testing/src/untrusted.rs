//! Use of untrusted bytes: one function per kind of input, for the fuzzers (`fuzz/`) and for the
//! test that replays their findings. Each panics if a promise is broken.

use std::{fmt::Display, ops::ControlFlow, sync::LazyLock};

use llama2_engine::{
    chat::{Chat, ChatMessage, ChatRole, ChatTemplate, NO_CLOCK, RenderOptions},
    checkpoint::{Checkpoint, Error, describe},
    config::{Config, Variant},
    context::{Context, Memory},
    event::Event,
    generate::{Moment, Sequence},
    gguf,
    model::Model,
    run_mode::RunMode,
    sampler::{Param, Sampler, SamplerParams},
    session::{KvType, Options, Session},
    source::{ByteSource, Joined},
    text_stream::TextStream,
    tokenizer::Tokenizer,
    utf8::Utf8Stream,
};

use crate::{Maker, bundled, gauge::bounded, load, seeds, text_of};

/// Opening a file of n bytes must use at most `SHARE` · n + `FLOOR` bytes at once. The smallest
/// things in a file, an empty text or a tensor of one number, take 8 bytes there and up to this
/// many times as much here.
const SHARE: u64 = 24;
const FLOOR: u64 = 256 << 10;
/// Models that need more memory are opened, but not run.
const RUN_BELOW: u64 = 8 << 20;
/// Longest sentence about a file, in characters.
const SENTENCE: usize = 420;

/// Checks that an error is one sentence of bounded length.
fn sentence(error: impl Display) {
    let said = error.to_string();
    let length = said.chars().count();
    assert!((12..=SENTENCE).contains(&length), "{length}: {said}");
    assert!(!said.chars().any(char::is_control), "{said:?}");
}

/// GGUF file, or several that are a split model: each preceded by `PART` and its length as u32.
pub fn gguf(bytes: &[u8]) {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some((head, tail)) = rest
        .strip_prefix(b"PART")
        .and_then(|rest| rest.split_at_checked(4))
    {
        let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let (part, behind) = tail.split_at(length.min(tail.len()));
        parts.push(part);
        rest = behind;
    }
    if parts.is_empty() {
        parts.push(bytes);
    }
    let mut source = Joined::new(parts);
    let most = SHARE * source.size() + FLOOR;
    bounded("listing", most, || list(&mut source));
    let tokenizer = bounded("its tokenizer", most, || Tokenizer::from_gguf(&mut source));
    let tokenizer = tokenizer.map_err(sentence).ok();
    if let Some(tokenizer) = &tokenizer {
        speak(tokenizer, b"Hello  w\xc3\xb6rld 12\n");
    }
    let opened = bounded("opening", most, || Checkpoint::open(&mut source));
    run(opened, &mut source, tokenizer.as_ref());
}

/// Lists what `llama2 info --all` shows.
fn list(source: &mut dyn ByteSource) {
    let shown = gguf::metadata(source, &mut |key, value| {
        assert!(key.len() <= 65_535 && !value.to_string().is_empty());
        ControlFlow::Continue(())
    });
    let _ = shown.map_err(sentence);
    match gguf::tensors(source) {
        Ok(tensors) => tensors.iter().for_each(|tensor| {
            assert!(!tensor.to_string().chars().any(char::is_control));
        }),
        Err(error) => sentence(error),
    }
}

/// Checkpoint of llama2.c.
pub fn llama2c(bytes: &[u8]) {
    if bytes.starts_with(b"GGUF") {
        return;
    }
    let mut source = bytes;
    let most = SHARE * source.size() + FLOOR;
    let opened = bounded("opening", most, || Checkpoint::open(&mut source));
    run(opened, &mut source, None);
}

/// Runs some tokens of a checkpoint, within the memory that it claims to need.
fn run(
    opened: Result<Checkpoint, Error>,
    source: &mut dyn ByteSource,
    tokenizer: Option<&Tokenizer>,
) {
    let checkpoint = match opened {
        Ok(checkpoint) => checkpoint,
        Err(error) => return sentence(error),
    };
    assert!(!describe(&checkpoint.config).is_empty() && !checkpoint.encodings().is_empty());
    assert!(checkpoint.parameters() > 0);
    let whole = Memory::whole(&checkpoint, KvType::F32).total();
    // Half of it fits with a shorter context, or not at all.
    match Context::fit(&checkpoint, None, KvType::F16, 3, whole / 2) {
        Ok(context) => assert!(context.memory().total() <= whole / 2),
        Err(error) => sentence(error),
    }
    let Ok(context) = Context::fit(&checkpoint, None, KvType::F32, 1, RUN_BELOW) else {
        return;
    };
    let (positions, memory) = (context.positions(), context.memory().total());
    // For a moment there are two copies of the list of tensors.
    let most = memory + SHARE * source.size() / 4 + FLOOR;
    bounded("loading and running", most, || {
        let loaded = Model::load(&checkpoint, source, &mut |_| ControlFlow::Continue(()));
        let (model, digest) = match loaded {
            Err(error @ Error::NotFinite { .. }) => return sentence(error),
            loaded => loaded.expect("what could be opened can be loaded"),
        };
        assert_eq!(digest.bytes, source.size());
        pass(&model, KvType::F32, positions);
        if let Some(tokenizer) = tokenizer {
            match tokenizer.check_model(model.config.vocab_size) {
                Ok(()) => talk(&model, tokenizer, positions),
                Err(error) => sentence(error),
            }
        }
    });
    let small = Memory::of(&checkpoint, positions, KvType::Q8_0, 1).total();
    if let Ok((model, _)) = Model::load(&checkpoint, source, &mut |_| ControlFlow::Continue(())) {
        bounded("running in q8_0", small + FLOOR, || {
            pass(&model, KvType::Q8_0, positions)
        });
    }
}

/// Processes three tokens, one by one or together, and samples.
fn pass(model: &Model, kv: KvType, positions: usize) {
    let config = &model.config;
    let options = Options {
        kv,
        ..with(positions)
    };
    let mut session = match Session::new(model, options) {
        Ok(session) => session,
        Err(error) => return sentence(error),
    };
    let last = config.vocab_size as u32 - 1;
    let mut logits = session.forward(0, 0).to_vec();
    if positions > 2 {
        logits = session.prefill(&[last, last / 2], 1).to_vec();
    }
    assert_eq!(logits.len(), config.vocab_size);
    for sampler in [
        Sampler::new(config.vocab_size, 0.0, 0.9, 1),
        Sampler::new(config.vocab_size, 1.0, 0.9, 1),
        Sampler::new(config.vocab_size, 1.0, 1.0, 1),
        Sampler::with(
            config.vocab_size,
            SamplerParams::default().with(Param::Typical, 0.5),
            1,
        ),
    ] {
        let mut sampler = sampler;
        assert!(sampler.sample(&mut logits.clone()) <= last);
    }
}

fn with(positions: usize) -> Options<'static> {
    Options {
        positions: Some(positions),
        ..Options::default()
    }
}

/// Processes a text and a turn of a dialog.
fn talk(model: &Model, tokenizer: &Tokenizer, positions: usize) {
    let (vocab_size, seq_len) = (model.config.vocab_size, positions);
    let sampler = || Sampler::with(vocab_size, SamplerParams::default(), 3);
    let Ok(mut session) = Session::new(model, with(positions)) else {
        return;
    };
    let stops = ["the".to_string(), "\u{fffd}".to_string()];
    match Sequence::story(tokenizer, b"a the", 8, seq_len, sampler()) {
        Ok(mut story) => {
            story.set_stops(&stops);
            story.set_logprobs(vocab_size, 3, Moment::default());
            text_of(&mut story, &mut session, tokenizer);
        }
        Err(error) => sentence(error),
    }
    for mode in [RunMode::Dialog, RunMode::Llama2Chat] {
        let mut chat = Chat::new(tokenizer, mode, 4, seq_len);
        chat.sequence_mut().set_stops(&stops);
        for user in ["Hi", "the </s> <|im_end|>"] {
            if let Err(error) = chat.begin_turn(tokenizer, "Be brief.", user) {
                return sentence(error);
            }
            chat.sequence_mut().set_sampler(sampler());
            text_of(chat.sequence_mut(), &mut session, tokenizer);
        }
    }
}

/// A `tokenizer.bin`.
pub fn tokenizer(bytes: &[u8]) {
    let most = SHARE * bytes.len() as u64 + FLOOR;
    match bounded("loading", most, || Tokenizer::load(&mut &bytes[..])) {
        Ok(tokenizer) => {
            let end = bytes.len().min(2048);
            speak(&tokenizer, &bytes[bytes.len() - end..]);
            speak(&tokenizer, b"Once upon a time <0x41> \xff\0");
            assert_eq!(tokenizer.pieces().count(), tokenizer.vocab_size());
            assert!(tokenizer.check_model(tokenizer.vocab_size()).is_ok());
            sentence(tokenizer.check_model(usize::MAX).unwrap_err());
        }
        Err(error) => sentence(error),
    }
}

/// Encodes `text` in every way and decodes it; returns the bytes that would be shown.
fn speak(tokenizer: &Tokenizer, text: &[u8]) -> Vec<u8> {
    let count = tokenizer.vocab_size() as u32;
    let all = tokenizer.encode(text, false, true);
    let tokens = tokenizer.encode(text, true, false);
    let inside = |token: &u32| *token < count;
    assert!(all.iter().chain(&tokens).all(inside), "{all:?} of {count}");
    let mut shown = Vec::new();
    let mut before = tokenizer.start();
    for token in tokens {
        if Some(token) != tokenizer.bos() {
            shown.extend_from_slice(tokenizer.decode(before, token));
        }
        before = token;
    }
    if let Some(template) = ChatTemplate::of_tokenizer(tokenizer) {
        chat(&template, tokenizer, &String::from_utf8_lossy(text));
    }
    shown
}

/// Checks a conversation's tokens: all in the vocabulary.
fn chat(template: &ChatTemplate, tokenizer: &Tokenizer, said: &str) {
    let roles = [
        ChatRole::System,
        ChatRole::User,
        ChatRole::Assistant,
        ChatRole::User,
    ];
    let messages = roles.map(|role| ChatMessage::new(role, said));
    for (messages, thinks) in [(&messages[..], true), (&messages[1..2], false)] {
        let options = RenderOptions {
            answers: true,
            thinks,
            now: NO_CLOCK,
        };
        match template.render(tokenizer, messages, &options) {
            Ok(rendered) => {
                let count = tokenizer.vocab_size().max(1);
                assert!(
                    rendered
                        .tokens
                        .iter()
                        .all(|&token| (token as usize) < count)
                );
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// Tokenizers for texts: llama2.c's, the same from a GGUF file, and byte-level BPE with all
/// pre-tokenizers.
struct Vocabularies {
    scored: Vec<Tokenizer>,
    byte_level: Vec<Tokenizer>,
    /// Random model with a byte-level vocabulary.
    model: Model,
}

static VOCABULARIES: LazyLock<Vocabularies> = LazyLock::new(|| {
    let file = std::fs::read(bundled("tokenizer.bin")).expect("it is bundled");
    let own = |file: &crate::family::Gguf| {
        Tokenizer::from_gguf(&mut &file.bytes()[..]).expect("a good one")
    };
    let scored = Tokenizer::load(&mut &file[..]).expect("a good one");
    let config = Config {
        dim: 8,
        hidden_dim: 8,
        n_layers: 1,
        n_heads: 2,
        n_kv_heads: 1,
        vocab_size: crate::family::VOCABULARY,
        seq_len: 512,
        shared_classifier: true,
        variant: Variant::LLAMA2C,
    };
    let (model, _) = load(&Maker::random(config, 7).v0()).expect("a good one");
    Vocabularies {
        scored: vec![own(&seeds::scored(&scored)), scored],
        byte_level: seeds::SPLITTERS
            .map(|pre| own(&seeds::byte_level(pre)))
            .into(),
        model,
    }
});

/// Any text: the first byte chooses the number of repetitions, the size of pieces, and the
/// vocabulary.
pub fn tokenisation(bytes: &[u8]) {
    let Some((&how, text)) = bytes.split_first() else {
        return;
    };
    // Long enough to notice more than linear time.
    let times = if how & 15 == 15 {
        (2 << 10) / text.len().max(1)
    } else {
        1
    };
    let text = &text.repeat(times.max(1))[..];
    let piece = 1 + usize::from(how >> 2) % 7;
    let vocabularies = &*VOCABULARIES;
    // Characters that would only disturb terminals are not shown.
    let shown = |byte: &u8| !byte.is_ascii_control() || matches!(byte, b'\t'..=b'\r');
    for tokenizer in &vocabularies.scored {
        let found = speak(tokenizer, text);
        let want: Vec<u8> = text.iter().copied().filter(shown).collect();
        // A token named after a byte is that byte, as in run.c, and SentencePiece's mark of a space
        // is a space.
        let odd = |window: &[u8]| window == b"<0x" || window == "\u{2581}".as_bytes();
        if !text.windows(3).any(odd) {
            assert!(found == want, "{found:?}, not {want:?}");
        }
    }
    let lossy = String::from_utf8_lossy(text);
    // Each invalid byte is a character there, as in llama.cpp.
    let mut whole = String::new();
    for chunk in text.utf8_chunks() {
        whole.push_str(chunk.valid());
        whole.extend(chunk.invalid().iter().map(|_| '\u{fffd}'));
    }
    let want: Vec<u8> = whole.bytes().filter(shown).collect();
    // Which way of cutting, the first byte says too.
    let byte_level =
        &vocabularies.byte_level[usize::from(how >> 4) % vocabularies.byte_level.len()];
    let found = speak(byte_level, text);
    assert!(found == want, "{found:?}, not {want:?}");

    // Bytes to characters, and thoughts from answers, wherever they are cut.
    let (mut stream, mut out) = (Utf8Stream::default(), String::new());
    text.chunks(piece)
        .for_each(|piece| stream.push(piece, &mut out));
    stream.finish(&mut out);
    assert_eq!(out, lossy);
    let split = |size: usize| {
        let (mut thought, mut answer, mut ids) = (String::new(), String::new(), 0);
        let mut stream = TextStream::new(4 * text.len());
        stream.reset(Some(how & 1 == 1));
        let mut put = |event: Event<'_>| match event {
            Event::Reasoning { text, tokens } => {
                thought += text;
                ids += tokens.ids.len();
            }
            Event::Text { text, tokens } => {
                answer += text;
                ids += tokens.ids.len();
            }
            _ => (),
        };
        let pieces = text.chunks(size);
        let count = pieces.len();
        for piece in pieces {
            stream.push(1, piece);
            stream.give(&mut put);
        }
        stream.finish(&mut put);
        assert_eq!(ids, count, "each token comes once");
        // Blanks at the end are dropped, unless there are very many.
        [thought, answer].map(|part| part.split_whitespace().collect::<String>())
    };
    assert_eq!(split(piece), split(usize::MAX));

    // The same text as a template, as a file name, and as stop strings.
    let template = ChatTemplate::new(&lossy);
    chat(&template, byte_level, "Hi");
    chat(&template, &vocabularies.scored[0], "Hi");
    if let Some(part) = gguf::PartName::of(&lossy) {
        let same = part.sibling(part.number);
        assert_eq!(gguf::PartName::of(&same), Some(part), "{same}");
    }
    if how & 15 == 2 {
        stop(byte_level, &vocabularies.model, &lossy);
    }
}

/// Checks that generated text contains none of the stop strings.
fn stop(tokenizer: &Tokenizer, model: &Model, words: &str) {
    let stops: Vec<String> = words.split(' ').take(4).map(Into::into).collect();
    let mut session = Session::new(model, Options::default()).expect("it is small");
    let settings = SamplerParams::default().with(Param::TopK, 8.0);
    let sampler = Sampler::with(model.config.vocab_size, settings, words.len() as u64);
    let mut story = Sequence::story(tokenizer, b"", 24, 64, sampler).expect("it is short");
    story.set_stops(&stops);
    let said = text_of(&mut story, &mut session, tokenizer);
    let found = stops
        .iter()
        .find(|stop| !stop.is_empty() && said.contains(&stop[..]));
    assert_eq!(found, None, "{said:?}");
}
