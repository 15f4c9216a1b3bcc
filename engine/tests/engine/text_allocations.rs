//! A step of generation or chat allocates nothing: it may run where no allocator does.

use llama2_engine::{
    chat::Chat,
    event::{EndReason, Event},
    generate::{Moment, Sequence, step},
    run_mode::RunMode,
    sampler::Sampler,
    session::{Options, Session},
    speculation::Speculation,
    tokenizer::Tokenizer,
};
use llama2_testing::{bundled, bundled_int8, gauge::allocations, load, load_file};

#[test]
fn the_counter_counts() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0);
}

#[test]
fn no_step_allocates() {
    let file = std::fs::read(bundled("tokenizer.bin")).unwrap();
    let tokenizer = Tokenizer::load(&mut &file[..]).unwrap();
    let f32 = load_file(&bundled("stories330K.bin"));
    let int8 = load(&bundled_int8()).unwrap().0;
    for (name, model) in [("f32", f32), ("int8", int8)] {
        let config = model.config;
        for (temperature, top_p) in [(0.0, 0.9), (1.0, 0.9), (1000.0, 0.99), (1.0, 1.0)] {
            let sampler = || Sampler::new(config.vocab_size, temperature, top_p, 3);
            let options = Options {
                speculation: Speculation::Fixed(5),
                ..Options::default()
            };
            let mut session = Session::new(&model, options).unwrap();
            let mut count = |sequence: &mut Sequence| {
                let mut out =
                    |_, event: Event<'_>| assert_ne!(event, Event::End(EndReason::NotNumbers));
                let count = allocations(|| {
                    let mut run = || step(&mut session, &tokenizer, &mut [sequence], &mut out);
                    while run() > 0 {}
                });
                assert!(sequence.passes() > 20);
                count
            };
            let prompt = "Tim found a \u{1f511} \u{1}key".as_bytes();
            let mut story =
                Sequence::story(&tokenizer, prompt, 120, config.seq_len, sampler()).unwrap();
            story.set_stops(&["never ever".into()]);
            story.set_logprobs(config.vocab_size, 5, Moment::default());
            assert_eq!(count(&mut story), 0, "{name}, -t {temperature} -p {top_p}");

            let question = "Who has the red ball, and why does Tom want it so much today?";
            for mode in [RunMode::Llama2Chat, RunMode::Dialog] {
                let mut chat = Chat::new(&tokenizer, mode, 120, config.seq_len);
                chat.begin_turn(&tokenizer, "Be brief.", question).unwrap();
                chat.sequence_mut().set_sampler(sampler());
                chat.sequence_mut().set_repeat_guard(true);
                let count = count(chat.sequence_mut());
                assert_eq!(count, 0, "{name}, {mode:?}, -t {temperature} -p {top_p}");
            }
        }
    }
}
