//! Chat templates, for a fixed conversation.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::plant;
use llama2_jinja::{DateTime, Source, Template, Value};
use llama2_testing::kept::{Seed, seed};

const NOW: DateTime = DateTime {
    year: 2024,
    month: 7,
    day: 26,
    hour: 13,
    minute: 5,
    second: 9,
};

/// Our templates, and the small ones of the tests.
fn seeds(_: &str) -> Vec<Seed> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../jinja/tests/templates");
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = files.filter_map(|file| {
        let name = file.file_name().to_string_lossy().into_owned();
        name.ends_with(".jinja")
            .then(|| Some(seed(name, std::fs::read(file.path()).ok()?)))?
    });
    let small = include_str!("../../jinja/tests/expressions.txt").lines();
    let small = small.filter(|line| line.contains("{{") || line.contains("{%"));
    let small = small
        .zip(0..)
        .map(|(line, i)| seed(format!("small-{i}"), line.replace('⏎', "\n")));
    files.chain(small).collect()
}

fn conversation() -> Vec<(&'static str, Value)> {
    let message = |(role, said): (&str, &str), i| {
        let said = Value::text(said, Source(i));
        Value::map(vec![("role".into(), role.into()), ("content".into(), said)])
    };
    let said = [
        ("system", "Be brief."),
        ("user", " 'Hi' <|im_end|>\n\"é\" "),
        ("assistant", "<think>\nHm.\n</think>\n\nHello."),
        ("user", "Who are you?"),
    ];
    let messages = said.into_iter().zip(1..).map(|(said, i)| message(said, i));
    let numbers = Value::list([3, 1, 2].map(Value::Int).into());
    vec![
        ("messages", Value::list(messages.collect())),
        ("add_generation_prompt", true.into()),
        ("bos_token", "<s>".into()),
        ("eos_token", "</s>".into()),
        ("word", "Hello, wörld!".into()),
        ("numbers", numbers.clone()),
        ("words", Value::list(vec!["b".into(), "A".into()])),
        (
            "ages",
            Value::map(vec![("a".into(), 0.5.into()), ("b".into(), numbers)]),
        ),
        ("five", 5.into()),
    ]
}

fuzz_target!(
    init: plant("jinja", seeds),
    |bytes: &[u8]| {
        let source = String::from_utf8_lossy(bytes);
        let said = match Template::parse(&source) {
            Ok(template) => match template.render(&conversation(), NOW) {
                Ok(text) => {
                    let runs: String = text.runs().map(|(_, run)| run).collect();
                    assert_eq!(runs, text.as_str());
                    return;
                }
                Err(error) => error,
            },
            Err(error) => error,
        };
        assert!(!said.to_string().is_empty());
    }
);
