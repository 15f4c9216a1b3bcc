//! Guessed tokens change no bit of a text, and no event of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use llama2_engine::{
    chat::Chat,
    event::{EndReason, Event},
    generate::{Moment, Sequence, step},
    layout::Encoding,
    model::Model,
    run_mode::RunMode,
    sampler::{Param, Sampler, SamplerParams},
    session::{KvType, Options, Session},
    speculation::{MOST_GUESSES, Speculation},
    tokenizer::Tokenizer,
};
use llama2_testing::{bundled, bundled_int8, family, load, load_file, random::Random};

/// A text to be made.
enum Text {
    Story(Box<Sequence>),
    Chat(Box<Chat>),
}

/// Everything that comes of a sequence: its events, how it ended and what it leaves behind.
fn outcome(
    model: &Model,
    tokenizer: &Tokenizer,
    options: Options<'_>,
    mut text: Text,
) -> (Vec<String>, (usize, usize)) {
    let sequence = match &mut text {
        Text::Story(story) => story,
        Text::Chat(chat) => chat.sequence_mut(),
    };
    let mut session = Session::new(model, options).unwrap();
    let mut said = Vec::new();
    let mut out = |_, event: Event<'_>| said.push(format!("{event:?}"));
    while step(&mut session, tokenizer, &mut [&mut *sequence], &mut out) > 0 {}
    said.push(format!("{:?} {}", sequence.end(), sequence.passes()));
    said.push(format!("{:?} {:?}", sequence.context(), sequence.cached()));
    (said, sequence.guesses())
}

static CLOCK: AtomicU64 = AtomicU64::new(0);

/// Every way of guessing.
fn ways() -> [Speculation; 4] {
    [
        Speculation::Fixed(1),
        Speculation::Fixed(4),
        Speculation::Fixed(MOST_GUESSES),
        // A pass takes as long, whatever is in it.
        Speculation::Measured(|| CLOCK.fetch_add(1000, Relaxed)),
    ]
}

/// Compares what `make` begins without guesses and with them. Returns how many were right at most.
fn same(
    model: &Model,
    tokenizer: &Tokenizer,
    options: Options<'_>,
    what: &str,
    make: &dyn Fn() -> Text,
) -> usize {
    let (want, guesses) = outcome(model, tokenizer, options, make());
    assert_eq!(guesses, (0, 0), "{what}");
    let mut most = 0;
    for speculation in ways() {
        let options = Options {
            speculation,
            ..options
        };
        let (found, (guessed, right)) = outcome(model, tokenizer, options, make());
        assert!(right <= guessed);
        assert!(found == want, "{what}, {speculation:?}");
        most = most.max(right);
    }
    most
}

#[test]
fn stories_are_the_same_in_every_type_and_shape() {
    let cases = [
        ("llama", Encoding::F32, KvType::F32),
        ("qwen2, yarn", Encoding::Q8_0, KvType::F16),
        ("qwen3 (wide heads)", Encoding::Q8_0, KvType::Q8_0),
    ];
    let mut right = 0;
    for (name, encoding, kv) in cases {
        let found = family::FAMILIES.iter().find(|f| f.name == name).unwrap();
        let mut file = found.make(7, &|_| encoding);
        file.speak();
        let bytes = file.bytes();
        let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
        let model = load(&bytes).unwrap().0;
        let options = Options {
            kv,
            ..Options::default()
        };
        for (temperature, penalty) in [(0.0, 1.0), (0.0, 1.3), (0.3, 1.0), (1.0, 1.1)] {
            let make = || {
                let params = SamplerParams::default()
                    .with(Param::Temperature, temperature)
                    .with(Param::RepeatPenalty, penalty);
                let sampler = Sampler::with(family::VOCABULARY, params, 5);
                let prompt = "the old man and the old man and ".repeat(3);
                let prompt = prompt.as_bytes();
                let story = Sequence::story(&tokenizer, prompt, 300, 512, sampler).unwrap();
                Text::Story(Box::new(story))
            };
            let what = format!("{name}, {kv:?}, {temperature}, {penalty}");
            right += same(&model, &tokenizer, options, &what, &make);
        }
    }
    assert!(right > 100, "{right}");
}

#[test]
fn run_c_s_texts_are_the_same_to_their_limits() {
    let file = std::fs::read(bundled("tokenizer.bin")).unwrap();
    let tokenizer = Tokenizer::load(&mut &file[..]).unwrap();
    let f32 = load_file(&bundled("stories330K.bin"));
    let int8 = load(&bundled_int8()).unwrap().0;
    let mut right = 0;
    for (name, model) in [("f32", &f32), ("int8", &int8)] {
        let vocab_size = model.config.vocab_size;
        for (temperature, steps) in [(0.0, 1), (0.0, 40), (0.0, 512), (0.5, 512), (1.0, 300)] {
            let sampler = || Sampler::new(vocab_size, temperature, 0.9, 3);
            let story = || {
                let prompt = "Tom saw a big dog. The big dog was sad. Tom saw a big".as_bytes();
                let mut story = Sequence::story(&tokenizer, prompt, steps, 512, sampler()).unwrap();
                story.set_stops(&["lived happily".into()]);
                story.set_logprobs(vocab_size, 3, Moment::default());
                Text::Story(Box::new(story))
            };
            let what = format!("{name}, story, {temperature}, {steps}");
            right += same(model, &tokenizer, Options::default(), &what, &story);
            for mode in [RunMode::Llama2Chat, RunMode::Dialog] {
                let chat = || {
                    let mut chat = Chat::new(&tokenizer, mode, steps, 512);
                    let question = "Tom has a red ball. Who has the red ball? Tom has";
                    chat.begin_turn(&tokenizer, "Be brief.", question).unwrap();
                    chat.sequence_mut().set_sampler(sampler());
                    chat.sequence_mut().set_repeat_guard(true);
                    Text::Chat(Box::new(chat))
                };
                let what = format!("{name}, {mode:?}, {temperature}, {steps}");
                right += same(model, &tokenizer, Options::default(), &what, &chat);
            }
        }
    }
    assert!(right > 100, "{right}");
}

/// With two that draw, each token that is guessed would take the place of another one's.
#[test]
fn only_one_alone_guesses() {
    let file = std::fs::read(bundled("tokenizer.bin")).unwrap();
    let tokenizer = Tokenizer::load(&mut &file[..]).unwrap();
    let model = load_file(&bundled("stories330K.bin"));
    let options = Options {
        sequences: 2,
        speculation: Speculation::Fixed(4),
        ..Options::default()
    };
    let mut session = Session::new(&model, options).unwrap();
    let story = |slot, steps| {
        let sampler = Sampler::new(model.config.vocab_size, 0.0, 0.9, 1);
        let mut story = Sequence::story(&tokenizer, b"The dog", steps, 512, sampler).unwrap();
        story.set_slot(slot);
        story
    };
    let (mut short, mut long) = (story(0, 100), story(1, 400));
    while short.is_running() {
        let mut both = [&mut short, &mut long];
        step(&mut session, &tokenizer, &mut both, &mut |_, _| ());
    }
    assert_eq!((short.guesses().0, long.guesses().0), (0, 0));
    while step(
        &mut session,
        &tokenizer,
        &mut [&mut short, &mut long],
        &mut |_, _| (),
    ) > 0
    {}
    assert!(long.guesses().1 > 0);
}

/// What comes of the lives of two slots: prompts that share beginnings, pages shared with the other
/// slot, limits, stops, contexts that are shifted, slots saved and restored.
fn lives(
    model: &Model,
    tokenizer: &Tokenizer,
    options: Options<'_>,
    seed: u64,
) -> (Vec<String>, usize) {
    const WORDS: [&str; 6] = ["the ", "old ", "man ", "and ", "sea ", "dog "];
    let mut session = Session::new(model, options).unwrap();
    let (context, vocab_size) = (session.positions(), model.config.vocab_size);
    let mut random = Random(seed);
    let mut pick = move |count: usize| (random.next() >> 8) as usize % count;
    let mut slots = [0, 1].map(|slot| {
        let mut sequence = Sequence::completion(tokenizer, context);
        sequence.set_slot(slot);
        sequence.limit_batch(40);
        sequence
    });
    let (mut said, mut text, mut right) = (Vec::new(), Vec::<u32>::new(), 0);
    for _ in 0..6 {
        if pick(3) == 0 {
            text.truncate(pick(text.len() + 1));
        }
        let new: String = (0..1 + pick(12)).map(|_| WORDS[pick(6)]).collect();
        text.extend(tokenizer.encode(new.as_bytes(), text.is_empty(), false));
        text.truncate(context - 2);
        let slot = pick(2);
        let cached = slots[1 - slot].cached().iter().zip(&text);
        let same = cached.take_while(|(a, b)| a == b).count();
        if pick(3) == 0 && same > 0 {
            session.share_beginning(1 - slot, slot, same);
            slots[slot].hold(&text[..same]);
        }
        let most = [0, 1, 2, 3, 17, 60, 400][pick(7)];
        let params = SamplerParams::default()
            .with(Param::Temperature, [0.0, 0.2, 0.8][pick(3)])
            .with(Param::RepeatPenalty, [1.0, 1.1][pick(2)]);
        let sampler = Sampler::with(vocab_size, params, pick(1000) as u64);
        let stops = [vec![], vec!["th".into()], vec!["e ol".into(), "a".into()]];
        slots[slot].set_stops(&stops[pick(3)]);
        let reasoning = [None, Some(false), Some(true)][pick(3)];
        slots[slot].begin_completion(&text, most, reasoning, sampler);
        if pick(2) == 0 {
            let moment = [Moment::BeforeSampling, Moment::AfterSampling][pick(2)];
            slots[slot].set_logprobs(vocab_size, pick(4), moment);
        }
        let mut shifts = pick(3);
        loop {
            let mut all: Vec<&mut Sequence> = slots.iter_mut().collect();
            let mut out = |place, event: Event<'_>| said.push(format!("{place} {event:?}"));
            if step(&mut session, tokenizer, &mut all, &mut out) == 0 {
                break;
            }
            let own = &mut slots[slot];
            if own.end() == Some(EndReason::ContextFull) && shifts > 0 && own.drawn() < most {
                shifts -= 1;
                let all = own.context().len() + 1;
                let keeps = 5.min(all / 2);
                own.discard(keeps, ((all - keeps) / 2).clamp(1, all - keeps - 1));
            }
        }
        let own = &slots[slot];
        right += own.guesses().1;
        let end = (own.end(), own.stop_string(), own.passes(), own.drawn());
        said.push(format!("{end:?} {:?} {:?}", own.context(), own.cached()));
        if pick(2) == 0 {
            text = own.context().to_vec();
        }
        if pick(5) == 0 {
            let (mut bytes, cached) = (Vec::new(), own.cached().len());
            session.export(slot, cached, &mut |piece| bytes.extend(piece));
            assert!(session.import(slot, cached, &bytes));
        }
    }
    (said, right)
}

#[test]
fn slots_live_the_same_lives() {
    let found = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut file = found.unwrap().make(7, &|_| Encoding::Q8_0);
    file.speak();
    let bytes = file.bytes();
    let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
    let model = load(&bytes).unwrap().0;
    let mut all = 0;
    for seed in 0..20 {
        let options = Options {
            kv: KvType::ALL[seed % 3],
            positions: Some([40, 127, 129, 200, 300][seed % 5]),
            sequences: 2,
            ..Options::default()
        };
        let seed = 31 * seed as u64 + 7;
        let (want, _) = lives(&model, &tokenizer, options, seed);
        let options = Options {
            speculation: Speculation::Fixed([1, 4, MOST_GUESSES][seed as usize % 3]),
            ..options
        };
        let (found, right) = lives(&model, &tokenizer, options, seed);
        let differs = want.iter().zip(&found).find(|(a, b)| a != b);
        assert!(want == found, "seed {seed}: {differs:?}");
        all += right;
    }
    assert!(all > 300, "{all}");
}
