//! Several sequences in one session: each says what it says alone, whatever the others do.

use llama2_engine::{
    event::Event,
    generate::{Sequence, step},
    layout::Encoding,
    model::Model,
    sampler::{Param, Sampler, SamplerParams},
    session::{BATCH, KvType, Options, Session, Span},
    tokenizer::Tokenizer,
};
use llama2_testing::{family, load, random::Random};

fn model(name: &str, encoding: Encoding) -> (Model, Tokenizer) {
    let found = family::FAMILIES.iter().find(|f| f.name == name).unwrap();
    let mut file = found.make(7, &|_| encoding);
    file.speak();
    let bytes = file.bytes();
    let tokenizer = Tokenizer::from_gguf(&mut &bytes[..]).unwrap();
    (load(&bytes).unwrap().0, tokenizer)
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// Logits after every token, alone.
fn alone(model: &Model, kv: KvType, tokens: &[u32]) -> Vec<Vec<u32>> {
    let options = Options {
        kv,
        ..Options::default()
    };
    let mut session = Session::new(model, options).unwrap();
    let each = tokens.iter().enumerate();
    each.map(|(pos, &token)| bits(session.forward(token, pos)))
        .collect()
}

/// Random mixtures of prompts in pieces and single tokens.
#[test]
fn any_mixture_gives_the_bits_of_each_alone() {
    const COUNT: usize = 5;
    let cases = [
        ("llama", Encoding::F32, KvType::F32),
        ("qwen2, yarn", Encoding::Q8_0, KvType::F16),
        ("qwen3 (wide heads)", Encoding::Q8_0, KvType::Q8_0),
    ];
    for (name, encoding, kv) in cases {
        let (model, _) = model(name, encoding);
        let mut random = Random(3);
        let texts: Vec<Vec<u32>> = (0..COUNT)
            .map(|_| {
                let length = 20 + random.next() as usize % 280;
                (0..length)
                    .map(|_| random.next() as u32 % family::VOCABULARY as u32)
                    .collect()
            })
            .collect();
        let want: Vec<_> = texts.iter().map(|text| alone(&model, kv, text)).collect();
        let options = Options {
            kv,
            sequences: COUNT,
            ..Options::default()
        };
        let mut session = Session::new(&model, options).unwrap();
        let mut done = [0; COUNT];
        while done
            .iter()
            .zip(&texts)
            .any(|(done, text)| *done < text.len())
        {
            let mut left = BATCH;
            let mut spans = Vec::new();
            for (sequence, text) in texts.iter().enumerate() {
                let rest = &text[done[sequence]..];
                let most = [1, 1, 3, 17, 60][random.next() as usize % 5].min(left);
                let len = rest.len().min(most);
                if len > 0 && !random.next().is_multiple_of(4) {
                    spans.push(Span {
                        sequence,
                        pos: done[sequence],
                        tokens: &rest[..len],
                        logits: random.next() as usize % 2,
                    });
                    left -= len;
                }
            }
            if spans.is_empty() {
                continue;
            }
            session.batch(&spans);
            let mut number = 0;
            for span in spans {
                done[span.sequence] += span.tokens.len();
                if span.logits > 0 {
                    let found = bits(session.logits(number));
                    let at = done[span.sequence] - 1;
                    assert!(found == want[span.sequence][at], "{name} {kv:?} at {at}");
                    number += 1;
                }
            }
        }
    }
}

/// A beginning that two sequences share is not passed again, and neither changes the other's.
#[test]
fn a_shared_beginning_is_each_one_s_own() {
    let (model, _) = model("qwen2, yarn", Encoding::Q8_0);
    for shared in [1, 15, 16, 100, 128, 130, 256, 290] {
        let mut random = Random(11);
        let mut token = || random.next() as u32 % family::VOCABULARY as u32;
        let first: Vec<u32> = (0..300).map(|_| token()).collect();
        let mut second = first[..shared].to_vec();
        second.extend((0..30).map(|_| token()));
        let want = [&first, &second].map(|text| alone(&model, KvType::F32, text));
        let options = Options {
            sequences: 2,
            ..Options::default()
        };
        let mut session = Session::new(&model, options).unwrap();
        session.prefill(&first, 0);
        session.share_beginning(0, 1, shared);
        // In turns, from the place where they part: the first one is written over.
        let rest = |text: &[u32], at: usize| text.get(at).copied();
        let mut at = shared;
        while at < 300 {
            let next = [rest(&first, at), rest(&second, at)];
            let spans: Vec<Span<'_>> = (0..2)
                .filter_map(|sequence| {
                    Some(Span {
                        sequence,
                        pos: at,
                        tokens: next[sequence].as_ref().map(core::slice::from_ref)?,
                        logits: 1,
                    })
                })
                .collect();
            session.batch(&spans);
            for (number, span) in spans.iter().enumerate() {
                let found = bits(session.logits(number));
                assert!(found == want[span.sequence][at], "{shared}: {at}");
            }
            at += 1;
        }
        session.clear(1);
        session.clear(0);
        assert_eq!(bits(session.prefill(&second, 0)), want[1][second.len() - 1]);
    }
}

/// Stories told together are those told one after another.
#[test]
fn stories_told_together_are_told_as_alone() {
    let (model, tokenizer) = model("qwen2, yarn", Encoding::Q8_0);
    let settings = SamplerParams::default().with(Param::Temperature, 1.0);
    let begin = |number: usize| {
        let prompt = "zx".repeat(1 + number * 9);
        let sampler = Sampler::with(family::VOCABULARY, settings.clone(), number as u64 + 1);
        let mut story = Sequence::story(
            &tokenizer,
            prompt.as_bytes(),
            40 + number * 20,
            512,
            sampler,
        )
        .unwrap();
        story.set_slot(number);
        story
    };
    let tell = |numbers: &[usize]| {
        let options = Options {
            sequences: 6,
            ..Options::default()
        };
        let mut session = Session::new(&model, options).unwrap();
        let mut stories: Vec<Sequence> = numbers.iter().map(|&number| begin(number)).collect();
        let mut texts = vec![String::new(); numbers.len()];
        loop {
            let mut all: Vec<&mut Sequence> = stories.iter_mut().collect();
            let mut out = |place: usize, event: Event<'_>| {
                if let Event::Text { text, .. } = event {
                    texts[place].push_str(text);
                }
            };
            if step(&mut session, &tokenizer, &mut all, &mut out) == 0 {
                break texts;
            }
        }
    };
    let together = tell(&[0, 1, 2, 3, 4, 5]);
    for (number, text) in together.iter().enumerate() {
        assert_eq!(tell(&[number]), std::slice::from_ref(text), "{number}");
    }
    assert!(together.iter().all(|text| text.len() > 10), "{together:?}");
}
