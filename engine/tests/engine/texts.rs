//! Whole texts against llama2.c's own standard output, byte for byte.

use llama2_engine::{
    chat::Chat,
    config::{Config, Variant},
    event::{EndReason, Event},
    generate::{Moment, PromptError, Sequence, step},
    model::Model,
    run_mode::RunMode,
    sampler::Sampler,
    session::{Options, Session},
    tokenizer::{EOS, Tokenizer},
};
use llama2_testing::{Maker, bundled, bundled_int8, load, load_file, reference, text_of};

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
    let mut session = Session::new(model, Options::default()).unwrap();
    let sampler = Sampler::new(model.config.vocab_size, temperature, top_p, seed);
    let (prompt, seq_len) = (prompt.as_bytes(), model.config.seq_len);
    let mut story = Sequence::story(tokenizer, prompt, steps, seq_len, sampler).unwrap();
    let text = text_of(&mut story, &mut session, tokenizer);
    assert_eq!(story.top_token().is_some(), steps > 0);
    assert!(story.end().is_some());
    text + "\n"
}

const GREEDY: (f32, f32, u64) = (0.0, 0.9, 1);
const LONG: &str = "Lily had a cat. The cat was black. Tom had a dog. The dog was big. One day, the cat and the dog met at the park. They looked at each other and";

#[test]
fn bundled_model() {
    let tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let (f32, int8) = (
        load_file(&bundled("stories330K.bin")),
        load(&bundled_int8()).unwrap().0,
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
        (&int8, "q80_greedy_empty", GREEDY, 400, ""),
        (&int8, "q80_greedy_ball", GREEDY, 400, "Sara had a red ball"),
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
    let model = load(&bundled_int8()).unwrap().0;
    let tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let words = "the cat and the dog ".repeat(200);
    let tokens = tokenizer.encode(words.as_bytes(), true, false).len();
    let story = |seq_len| {
        let sampler = Sampler::new(0, 0.0, 0.9, 1);
        Sequence::story(&tokenizer, words.as_bytes(), 10, seq_len, sampler)
    };
    let error = story(512).err();
    assert_eq!(error, Some(PromptError::TooLong { tokens, left: 512 }));
    assert!(story(tokens).is_ok());
    // Longer than the steps: echoed as far as they go.
    let text = generate(&model, &tokenizer, GREEDY, 4, "Tim found a key");
    assert_eq!(text, "Tim found a\n");
    assert_eq!(generate(&model, &tokenizer, GREEDY, 0, "Tim"), "\n");
}

/// run.c's `chat`, its loop written as it stands: what is printed of the assistant, and the tokens
/// that are passed.
///
/// One difference is meant: run.c also prints what the model makes of its own EOS, which is
/// nobody's word.
fn run_c_chat(
    model: &Model,
    tokenizer: &Tokenizer,
    (temperature, top_p, seed): (f32, f32, u64),
    steps: usize,
    system: &str,
    turns: &[&str],
) -> (Vec<Vec<u8>>, usize) {
    let mut sampler = Sampler::new(model.config.vocab_size, temperature, top_p, seed);
    let mut session = Session::new(model, Options::default()).unwrap();
    let mut turns = turns.iter();
    let (mut user_turn, mut user_idx, mut next) = (true, 0, 0);
    let (mut prompt, mut said) = (Vec::new(), Vec::new());
    for pos in 0..steps {
        if user_turn {
            let Some(user) = turns.next() else {
                return (said, pos);
            };
            let text = if pos == 0 && !system.is_empty() {
                format!("[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{user} [/INST]")
            } else {
                format!("[INST] {user} [/INST]")
            };
            prompt = tokenizer.encode(text.as_bytes(), true, false);
            user_idx = 0;
            said.push(Vec::new());
        }
        let token = match prompt.get(user_idx) {
            Some(&token) => {
                user_idx += 1;
                token
            }
            None => next,
        };
        user_turn = token == EOS;
        next = sampler.sample(session.forward(token, pos));
        if user_idx >= prompt.len() && !user_turn {
            let said = said.last_mut().unwrap();
            if next == EOS {
                said.push(b'\n');
            } else {
                said.extend_from_slice(tokenizer.decode(token, next));
            }
        }
    }
    (said, steps)
}

/// The same by the engine's state machine.
fn our_chat(
    model: &Model,
    tokenizer: &Tokenizer,
    (temperature, top_p, seed): (f32, f32, u64),
    steps: usize,
    system: &str,
    turns: &[&str],
) -> (Vec<String>, usize) {
    let sampler = Sampler::new(model.config.vocab_size, temperature, top_p, seed);
    let mut session = Session::new(model, Options::default()).unwrap();
    let mut chat = Chat::new(tokenizer, RunMode::Llama2Chat, steps, model.config.seq_len);
    chat.sequence_mut().set_sampler(sampler);
    let mut said = Vec::new();
    for user in turns {
        if chat.is_over() {
            break;
        }
        chat.begin_turn(tokenizer, system, user).unwrap();
        let mut text = text_of(chat.sequence_mut(), &mut session, tokenizer);
        if chat.sequence().end() == Some(EndReason::EndToken) {
            text.push('\n');
        }
        said.push(text);
    }
    // run.c passes its EOS at once, we before the next turn.
    let ended = chat.sequence().end() == Some(EndReason::EndToken);
    let passes = chat.sequence().passes() + usize::from(ended);
    (said, passes.min(steps))
}

#[test]
fn chat_speaks_as_run_c_s() {
    // The bundled model has never seen an EOS; one with random weights ends many a turn.
    let bundled_tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let bundled_model = load(&bundled_int8()).unwrap().0;
    let random = Maker::random(
        Config {
            dim: 16,
            hidden_dim: 24,
            n_layers: 1,
            n_heads: 2,
            n_kv_heads: 1,
            vocab_size: 512,
            seq_len: 512,
            shared_classifier: true,
            variant: Variant::LLAMA2C,
        },
        9,
    );
    let random = load(&random.v0()).unwrap().0;
    let turns = ["Who has a red ball?", "", "Why?", "Then what?", "And you?"];
    let (mut ended, mut cut) = (0, 0);
    for (model, steps, seeds) in [(&bundled_model, 160, 1..4), (&random, 400, 1..50)] {
        for seed in seeds {
            let system = if seed % 2 == 0 { "Be brief." } else { "" };
            let sampling = (1.0, 0.999, seed);
            let (want, passes) =
                run_c_chat(model, &bundled_tokenizer, sampling, steps, system, &turns);
            let (said, position) =
                our_chat(model, &bundled_tokenizer, sampling, steps, system, &turns);
            // Half a character at a turn's end is U+FFFD, so the texts are compared as such.
            let want: Vec<_> = want.iter().map(|text| lossy(text)).collect();
            assert_eq!((said.clone(), position), (want, passes), "seed {seed}");
            ended += said.iter().filter(|text| text.ends_with('\n')).count();
            cut += usize::from(position == steps);
        }
    }
    assert!(ended > 20 && cut > 20, "{ended} turns ended, {cut} cut");
}

/// A turn's bytes as text. Its last newline stands behind the end of the stream of characters.
fn lossy(turn: &[u8]) -> String {
    match turn.strip_suffix(b"\n") {
        Some(turn) => String::from_utf8_lossy(turn).into_owned() + "\n",
        None => String::from_utf8_lossy(turn).into_owned(),
    }
}

#[test]
fn chat_refuses_a_turn_that_does_not_fit_and_goes_on() {
    let model = load(&bundled_int8()).unwrap().0;
    let tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let mut session = Session::new(&model, Options::default()).unwrap();
    let mut chat = Chat::new(&tokenizer, RunMode::Llama2Chat, 400, model.config.seq_len);
    let long = "word ".repeat(600);
    assert!(matches!(
        chat.begin_turn(&tokenizer, "", &long),
        Err(PromptError::TooLong { left: 512, .. })
    ));
    chat.begin_turn(&tokenizer, "", "Who has a ball?").unwrap();
    let mut one = |chat: &mut Chat| {
        let mut sequences = [chat.sequence_mut()];
        step(&mut session, &tokenizer, &mut sequences, &mut |_, _| ())
    };
    while chat.sequence().passes() < 160 {
        assert!(one(&mut chat) > 0);
    }
    assert!(chat.sequence().top_token().is_some());
    // The user presses a key: the assistant's turn ends here, and another begins.
    assert!(chat.stop(&tokenizer));
    assert!(matches!(
        chat.begin_turn(&tokenizer, "", &long),
        Err(PromptError::TooLong { left: 352, .. })
    ));
    chat.begin_turn(&tokenizer, "", "And then?").unwrap();
    while one(&mut chat) > 0 {}
    assert!(chat.is_over() && chat.sequence().passes() == 400);
    assert_eq!(chat.sequence().end(), Some(EndReason::Limit));
    assert_eq!(one(&mut chat), 0);
}

/// Each token's log-probability is that of its logits, and the most likely ones stand first.
#[test]
fn log_probabilities() {
    let model = load_file(&bundled("stories330K.bin"));
    let tokenizer = tokenizer(&bundled("tokenizer.bin"));
    let (vocab_size, seq_len) = (model.config.vocab_size, model.config.seq_len);
    let mut session = Session::new(&model, Options::default()).unwrap();
    let sampler = Sampler::new(vocab_size, 1.0, 0.9, 5);
    let mut story = Sequence::story(&tokenizer, b"Tim", 40, seq_len, sampler).unwrap();
    story.set_logprobs(vocab_size, 3, Moment::default());
    let (mut ids, mut own, mut top, mut text) = (Vec::new(), Vec::new(), Vec::new(), String::new());
    let mut out = |_, event: Event<'_>| {
        if let Event::Text { text: said, tokens } = event {
            text += said;
            ids.extend(tokens.ids);
            own.extend(tokens.logprobs);
            top.extend(tokens.top);
        }
    };
    while step(&mut session, &tokenizer, &mut [&mut story], &mut out) > 0 {}
    let prompt = tokenizer.encode(b"Tim", true, false);
    let all = [&prompt[..], &ids].concat();
    assert_eq!(
        (all.len(), own.len(), top.len()),
        (41, ids.len(), 3 * ids.len())
    );
    let mut said = Vec::from("Tim");
    for (place, &id) in ids.iter().enumerate() {
        let position = prompt.len() + place;
        said.extend(tokenizer.decode(all[position - 1], id));
        let logits = session.prefill(&all[..position], 0);
        let sum: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
        let want = |token: u32| f64::from(logits[token as usize]) - sum.ln();
        let near = |found: f32, token: u32| (f64::from(found) - want(token)).abs() < 1e-4;
        assert!(near(own[place], id), "{} {}", own[place], want(id));
        let top: &[(u32, f32)] = &top[3 * place..][..3];
        assert!(top.iter().all(|&(token, found)| near(found, token)));
        assert!(top.is_sorted_by(|a, b| a.1 >= b.1), "{top:?}");
        let more = (0..vocab_size as u32).filter(|&token| want(token) > want(top[2].0));
        assert_eq!(more.count(), 2);
    }
    assert_eq!(String::from_utf8(said).unwrap(), text);
}
