//! Small templates, one for each thing of the language, with what Jinja2 made of them once: lines
//! of `tests/expressions.txt`. `LLAMA2_JINJA_WRITE` asks it again, as for a line that has been
//! added.

use std::{fs, path::Path};

use llama2_jinja::{Source, Template, Value};

use crate::{
    data::{Data, list, map, text},
    jinja2::{NOW, Outcome, Question, agree, ask, ours},
};

/// The variables that they have.
fn variables() -> Vec<(&'static str, Data)> {
    let person = |name: &str, age, city: &str| {
        map([
            ("name", text(name)),
            ("age", Data::Int(age)),
            ("at", map([("city", text(city))])),
        ])
    };
    vec![
        ("word", text("Hello, wörld!")),
        ("blank", text("  a b\tc \n")),
        ("empty", text("")),
        ("html", text("<a href='x'>\"&\"</a>")),
        ("lines", text("one\n\n  two\r\nthree\n")),
        ("five", Data::Int(5)),
        ("half", Data::Float(0.5)),
        ("yes", Data::Bool(true)),
        ("nothing", Data::None),
        ("numbers", list([3, 1, 2, 3].map(Data::Int))),
        ("words", list(["b", "A", "c", "a"].map(text))),
        (
            "mixed",
            list([Data::Int(1), text("it's"), Data::None, Data::Float(2.0)]),
        ),
        (
            "ages",
            map([
                ("Zoe", Data::Int(30)),
                ("adam", Data::Int(40)),
                ("Bea", Data::Int(20)),
            ]),
        ),
        (
            "keys",
            map([
                ("items", Data::Int(1)),
                ("get", text("x")),
                ("a b", Data::None),
            ]),
        ),
        (
            "people",
            list([
                person("Zoe", 30, "Rome"),
                person("Adam", 40, "Bern"),
                person("Bea", 20, "Rome"),
            ]),
        ),
    ]
}

/// An outcome as a line: `=` and a text, `!` and a sentence of Jinja2's, or `!!` and Python's.
fn line(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Text(text) => format!("= {text:?}"),
        Outcome::Raised(text) => format!("! {text:?}"),
        Outcome::Failed(text) => format!("!! {text:?}"),
    }
}

#[test]
fn small_templates_are_rendered_as_jinja2_did_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expressions.txt");
    let file = fs::read_to_string(&path).unwrap();
    let (head, cases) = file.split_once("\n\n").unwrap();
    // A template, and a line with its outcome, if there is one yet.
    let is_outcome = |line: &str| {
        ["= ", "! ", "!! "]
            .iter()
            .any(|kind| line.starts_with(kind))
    };
    let lines: Vec<&str> = cases.lines().collect();
    let cases = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !is_outcome(line));
    let cases: Vec<(&str, String)> = cases
        .map(|(i, line)| {
            (
                lines.get(i + 1).copied().unwrap_or(""),
                line.replace('⏎', "\n"),
            )
        })
        .collect();
    assert!(cases.len() > 300, "{}", cases.len());
    if std::env::var_os("LLAMA2_JINJA_WRITE").is_some() {
        let question = |(_, source): &'_ (&str, String)| Question {
            source: Box::leak(source.clone().into_boxed_str()),
            variables: vec![variables()],
        };
        let questions: Vec<Question<'_>> = cases.iter().map(question).collect();
        let outcomes = ask(&questions).expect("LLAMA2_JINJA");
        let cases = cases.iter().zip(outcomes);
        let cases = cases.map(|((_, source), outcome)| {
            format!("{}\n{}\n", source.replace('\n', "⏎"), line(&outcome))
        });
        fs::write(&path, format!("{head}\n\n{}", cases.collect::<String>())).unwrap();
        return;
    }
    let mut wrong = Vec::new();
    for (expected, source) in &cases {
        let ours = ours(&Template::parse(source), &variables());
        // Python's own sentences are not ours.
        let theirs = Outcome::Failed(String::new());
        let is_right = match expected.starts_with("!! ") {
            true => agree(&ours, &theirs),
            false => line(&ours) == *expected || *expected == "! ",
        };
        if !is_right {
            wrong.push(format!(
                "{source:?}\n  ours     {}\n  expected {expected}",
                line(&ours)
            ));
        }
    }
    println!(
        "worst: {} small templates, of which {} differ",
        cases.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Results of operations on a string that somebody said keep its source.
#[test]
fn sources_go_through_every_operation() {
    let said = "щЮ 'x'\n\"é\" <|ю|>";
    let cases = [
        "{{ s }}",
        "{{ s + s }}",
        "{{ 'a' ~ s ~ 1 }}",
        "{{ s * 3 }}",
        "{{ s[1:] }}{{ s[::-1] }}{{ s[0] }}",
        "{{ s.strip() }}{{ s|trim }}{{ s.lstrip('a') }}",
        "{{ s.upper() }}{{ s|lower }}{{ s|title }}{{ s|capitalize }}",
        "{{ s.split('x')|join('-') }}{{ s.split()|last }}",
        "{{ s.replace('x', 'y') }}{{ 'x'.replace('x', s) }}",
        "{{ [s, 1]|tojson }}{{ {'k': s}|tojson(indent=2) }}",
        "{{ [s] }}{{ {'k': (s,)} }}",
        "{{ '%s and %10s' % (s, s) }}{{ '{} {a:>20}'.format(s, a=s) }}",
        "{{ ('{:' ~ s[0] ~ '<3}{:' ~ s[1] ~ '=5}').format('', 5) }}",
        "{{ [1, [2]]|tojson(indent=s) }}{{ {'k': [1, 2]}|tojson(separators=(s, s)) }}",
        "{{ s|indent(2, true) }}{{ 'a\\nb'|indent(s) }}{{ s|e }}",
        "{% for c in s %}{{ c }}{% endfor %}{{ s|list|join }}{{ s|reverse }}",
        "{% set t %}<{{ s }}>{% endset %}{{ t }}",
        "{% macro m(x) %}[{{ x }}]{% endmacro %}{{ m(s) }}{{ m(s)[1:] }}",
        "{% filter upper %}{{ s }}{% endfilter %}",
        "{{ s.partition(' ')[0] }}{{ s.splitlines()[0] }}{{ [s, s]|unique|join }}",
        "{% set ns = namespace(s=s) %}{% set ns.s = ns.s + s %}{{ ns.s|safe }}",
        "{{ strftime_now(s) }}{{ s|string|default('') }}{{ s.removeprefix('a') }}",
    ];
    for source in cases {
        let template = Template::parse(source).unwrap();
        let text = template
            .render(&[("s", Value::text(said, Source(7)))], NOW)
            .unwrap();
        let mut count = 0;
        for (Source(source), run) in text.runs() {
            for c in run.chars() {
                let is_said = "щЩюЮ".contains(c);
                let is_plain = c.is_ascii_alphanumeric() && !"xXn".contains(c);
                assert!(!is_said || source == 7, "{c} in {run:?} is from {source}");
                assert!(
                    !is_plain || source == 0 || text.as_str().contains("&#"),
                    "{c} in {run:?}"
                );
                count += usize::from(is_said);
            }
        }
        assert!(count > 0, "{source}: {text:?}");
    }
}
