//! Whole texts against llama2.c's own standard output, byte for byte.

mod common;

use common::{Maker, bundled, load, load_file, reference};
use llama2_engine::{
    chat::Chat,
    generate::{Generation, PromptError, Step},
    model::Model,
    sampler::Sampler,
    session::Session,
    tokenizer::Tokenizer,
};

fn tokenizer(path: &std::path::Path) -> Tokenizer {
    let bytes = std::fs::read(path).unwrap();
    Tokenizer::load(&mut &bytes[..]).unwrap()
}

/// What run.c prints: the text and one newline.
fn generate(
    model: &Model,
    tokenizer: &Tokenizer,
    (temperature, top_p, seed): (f32, f32, u64),
    steps: usize,
    prompt: &str,
) -> String {
    let mut session = Session::new(model).unwrap();
    let mut sampler = Sampler::new(model.config.vocab_size, temperature, top_p, seed);
    let mut generation =
        Generation::new(tokenizer, prompt.as_bytes(), steps, model.config.seq_len).unwrap();
    let mut text = String::new();
    while let Step::Text(piece) = generation.step(&mut session, tokenizer, &mut sampler) {
        text.push_str(piece);
    }
    assert_eq!(generation.top_token().is_some(), steps > 0);
    text + "\n"
}

const GREEDY: (f32, f32, u64) = (0.0, 0.9, 1);
const LONG: &str = "Lily had a cat. The cat was black. Tom had a dog. The dog was big. One day, the cat and the dog met at the park. They looked at each other and";

#[test]
fn bundled_model() {
    let tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let (f32, int8) = (
        load_file(&bundled("stories1M.bin")),
        load_file(&bundled("stories1M.q80.bin")),
    );
    for (model, golden, sampling, steps, prompt) in [
        (&f32, "f32_greedy_empty", GREEDY, 400, ""),
        (&f32, "f32_greedy_key", GREEDY, 400, "Tim found a key"),
        (
            &f32,
            "f32_t1_p09_s42",
            (1.0, 0.9, 42),
            400,
            "Once upon a time",
        ),
        (&f32, "f32_t08_p09_s7", (0.8, 0.9, 7), 400, "The big dog"),
        (&f32, "f32_t1_p1_s3", (1.0, 1.0, 3), 400, ""),
        (&f32, "f32_greedy_long", GREEDY, 512, LONG),
        // In full, though builds of runq.c with fast-math leave the second one at byte 297.
        (&int8, "q80_greedy_empty", GREEDY, 400, ""),
        (&int8, "q80_greedy_key", GREEDY, 400, "Tim found a key"),
    ] {
        let want =
            std::fs::read_to_string(bundled("golden").join(format!("{golden}.txt"))).unwrap();
        assert_eq!(
            generate(model, &tokenizer, sampling, steps, prompt),
            want,
            "{golden}"
        );
    }
}

#[test]
fn stories260k() {
    let (Some(file), Some(vocabulary)) = (reference("stories260K.bin"), reference("tok512.bin"))
    else {
        return;
    };
    let file = std::fs::read(file).unwrap();
    let tokenizer = tokenizer(&vocabulary);
    let (f32, int8) = (
        load(&file).unwrap().0,
        load(&Maker::of_v0(&file).v2(4)).unwrap().0,
    );
    for (model, golden, sampling, steps, prompt) in [
        (&f32, "greedy_empty", GREEDY, 256, ""),
        (&f32, "greedy_once", GREEDY, 256, "Once upon a time"),
        (&f32, "t1.0_p0.9_s42_empty", (1.0, 0.9, 42), 256, ""),
        (
            &f32,
            "t1.0_p0.9_s42_once",
            (1.0, 0.9, 42),
            256,
            "Once upon a time",
        ),
        (
            &f32,
            "t1.0_p0.9_s42_lily",
            (1.0, 0.9, 42),
            256,
            "Lily and Tom",
        ),
        (&f32, "t1.0_p1.0_s42_empty", (1.0, 1.0, 42), 256, ""),
        (&int8, "v2_greedy_empty", GREEDY, 256, ""),
        (&int8, "v2_greedy_once", GREEDY, 256, "Once upon a time"),
    ] {
        let want = std::fs::read_to_string(reference(&format!("{golden}.txt")).unwrap()).unwrap();
        assert_eq!(
            generate(model, &tokenizer, sampling, steps, prompt),
            want,
            "{golden}"
        );
    }
    // run.c drops lone bytes above 0x7f; we give them out as the characters that they make.
    let text = generate(&f32, &tokenizer, GREEDY, 64, "Ünïcode 日本 🙂");
    assert!(text.starts_with("Ünïcode 日本 🙂"), "{text}");
    let ascii = |bytes: &[u8]| {
        bytes
            .iter()
            .copied()
            .filter(u8::is_ascii)
            .collect::<Vec<_>>()
    };
    let want = std::fs::read(reference("greedy_unicode.txt").unwrap()).unwrap();
    assert_eq!(
        String::from_utf8(ascii(text.as_bytes())),
        String::from_utf8(ascii(&want)),
        "greedy_unicode"
    );
}

#[test]
fn prompts_at_the_limits() {
    let model = load_file(&bundled("stories1M.q80.bin"));
    let tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let words = "the cat and the dog ".repeat(200);
    let tokens = tokenizer.encode(words.as_bytes(), true, false).len();
    let error = Generation::new(&tokenizer, words.as_bytes(), 10, 512).err();
    assert_eq!(error, Some(PromptError::TooLong { tokens, left: 512 }));
    assert!(Generation::new(&tokenizer, words.as_bytes(), 10, tokens).is_ok());
    // Longer than the steps: echoed as far as they go.
    let text = generate(&model, &tokenizer, GREEDY, 3, "Tim found a key");
    assert_eq!(text, "Tim found a\n");
    assert_eq!(generate(&model, &tokenizer, GREEDY, 0, "Tim"), "\n");
}

/// The chat loop against a plain transcription of run.c's, over a model that answers nonsense but answers.
#[test]
fn chat_passes_the_tokens_that_run_c_passes() {
    use llama2_engine::tokenizer::EOS;
    let model = load_file(&bundled("stories1M.q80.bin"));
    let tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let steps = 160;
    let mut sampler = Sampler::new(model.config.vocab_size, 1.0, 0.9, 7);
    let mut session = Session::new(&model).unwrap();
    let turn = "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWho has a red ball? [/INST]";
    let prompt = tokenizer.encode(turn.as_bytes(), true, false);
    let (mut want, mut next) = (Vec::new(), 0);
    for pos in 0..steps {
        let token = prompt.get(pos).copied().unwrap_or(next);
        next = sampler.sample(session.forward(token, pos));
        if pos + 1 >= prompt.len() && next != EOS {
            want.extend_from_slice(tokenizer.decode(token, next));
        }
        assert_ne!(
            next, EOS,
            "this model never ends a turn: choose another seed"
        );
    }

    let mut sampler = Sampler::new(model.config.vocab_size, 1.0, 0.9, 7);
    let mut session = Session::new(&model).unwrap();
    let mut chat = Chat::new(&tokenizer, steps, model.config.seq_len);
    chat.begin_turn(&tokenizer, "Be brief.", "Who has a red ball?")
        .unwrap();
    let mut text = String::new();
    loop {
        match chat.step(&mut session, &tokenizer, &mut sampler) {
            Step::Text(piece) => text.push_str(piece),
            Step::TurnOver => panic!("no EOS came above"),
            Step::Done => break,
        }
    }
    assert_eq!(text, String::from_utf8_lossy(&want));
    assert!(chat.is_over() && chat.position() == steps);
    let long = "word ".repeat(600);
    assert!(matches!(
        chat.begin_turn(&tokenizer, "", &long),
        Err(PromptError::TooLong { left: 352, .. })
    ));
}
