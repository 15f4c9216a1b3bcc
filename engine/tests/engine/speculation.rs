//! Guessed tokens change no bit of a text, and no event of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use llama2_engine::{
    chat::Chat,
    event::Event,
    generate::{Moment, Sequence, step},
    layout::Encoding,
    model::Model,
    run_mode::RunMode,
    sampler::{Param, Sampler, SamplerParams},
    session::{KvType, Options, Session},
    speculation::{MOST_GUESSES, Speculation},
    tokenizer::Tokenizer,
};
use llama2_testing::{bundled, bundled_int8, family, load, load_file};

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
