//! A step of generation or chat allocates nothing: it may run where no allocator does.

use llama2_engine::{
    chat::Chat,
    generate::{Generation, Step},
    sampler::Sampler,
    session::{Options, Session},
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
            let mut sampler = Sampler::new(config.vocab_size, temperature, top_p, 3);
            let mut session = Session::new(&model, Options::default()).unwrap();
            let prompt = "Tim found a 🔑 \u{1}key".as_bytes();
            let mut generation = Generation::new(&tokenizer, prompt, 120, config.seq_len).unwrap();
            let count = allocations(|| {
                while let Step::Text(_) = generation.step(&mut session, &tokenizer, &mut sampler) {}
            });
            assert!(generation.position() > 20);
            assert_eq!(count, 0, "{name}, -t {temperature} -p {top_p}");

            let mut chat = Chat::new(&tokenizer, 120, config.seq_len);
            chat.begin_turn(&tokenizer, "Be brief.", "Who?").unwrap();
            let count = allocations(|| {
                while let Step::Text(_) = chat.step(&mut session, &tokenizer, &mut sampler) {}
            });
            assert!(chat.position() > 20);
            assert_eq!(count, 0, "{name}, chat, -t {temperature} -p {top_p}");
        }
    }
}
