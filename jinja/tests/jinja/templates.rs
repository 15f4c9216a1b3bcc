//! Whole chat templates against Jinja2: our own by what it made of them once
//! (`tests/templates/expected.txt`), models' where it can be asked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use llama2_jinja::{Source, Template};

use crate::{
    conversations::{Variables, all},
    data::Data,
    jinja2::{NOW, Outcome, Question, agree, ask, ours},
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/templates")
}

/// Templates in a folder, with their names.
fn templates(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "jinja"));
    let read = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    let mut templates: Vec<_> = files.map(read).collect();
    templates.sort();
    templates
}

/// Templates of models: llama.cpp's collection, and another one beside the repository.
fn models() -> Vec<(String, String)> {
    let mut found = Vec::new();
    match std::env::var_os("LLAMA2_TEMPLATES") {
        Some(folder) => found.extend(templates(Path::new(&folder))),
        None => {
            eprintln!("SKIPPED: LLAMA2_TEMPLATES does not say where llama.cpp's templates are");
        }
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/cases/templates.jsonl");
    match fs::read_to_string(&file) {
        Ok(lines) => found.extend(lines.lines().zip(1..).map(|(line, number)| {
            // One pair of strings: a family's name, and a template.
            let template = line
                .split_once("\": \"")
                .unwrap()
                .1
                .strip_suffix("\"}")
                .unwrap();
            (format!("templates.jsonl:{number}"), from_json(template))
        })),
        Err(error) => eprintln!("SKIPPED: {}: {error}", file.display()),
    }
    found
}

/// A string of JSON without its quotation marks.
fn from_json(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next().unwrap() {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'u' => {
                    let code: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&code, 16).unwrap();
                    out.push(char::from_u32(code).expect("no surrogates in these files"));
                }
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
    out
}

/// The conversations for our templates, which are too simple for all of them to differ.
fn some() -> Vec<(String, Variables)> {
    let mut some = all();
    some.retain(|(name, _)| name.ends_with(", true, None") || name.ends_with("Some(false)"));
    some
}

/// One line for each outcome, with its template's name and its conversation's.
fn lines(name: &str, outcomes: &[Outcome]) -> String {
    let mut lines = String::new();
    for ((talk, _), outcome) in some().iter().zip(outcomes) {
        let (kind, text) = match outcome {
            Outcome::Text(text) => ("=", text),
            Outcome::Raised(text) => ("!", text),
            // In words of Python's, or ours.
            Outcome::Failed(_) => ("!!", &String::new()),
        };
        lines += &format!("{name}\t{talk}\t{kind} {text:?}\n");
    }
    lines
}

#[test]
fn our_templates_are_rendered_as_jinja2_did_it() {
    let path = folder().join("expected.txt");
    let is_asked = std::env::var_os("LLAMA2_JINJA_WRITE").is_some();
    let mut written = String::new();
    for (name, source) in templates(&folder()) {
        let variables: Vec<Variables> =
            some().into_iter().map(|(_, variables)| variables).collect();
        let outcomes = match is_asked {
            true => {
                let source = &source[..];
                ask(&[Question { source, variables }]).expect("LLAMA2_JINJA")
            }
            false => {
                let template = Template::parse(&source);
                variables
                    .iter()
                    .map(|variables| ours(&template, variables))
                    .collect()
            }
        };
        written += &lines(&name, &outcomes);
    }
    if is_asked {
        fs::write(&path, &written).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    for (ours, theirs) in written.lines().zip(expected.lines()) {
        assert_eq!(ours, theirs);
    }
    assert_eq!(written.lines().count(), expected.lines().count());
    assert!(written.lines().count() > 500);
}

#[test]
fn models_templates_are_rendered_as_by_jinja2() {
    let templates = models();
    let conversations = all();
    let question = |(_, source): &'_ (String, String)| Question {
        source: Box::leak(source.clone().into_boxed_str()),
        variables: conversations
            .iter()
            .map(|(_, variables)| variables.clone())
            .collect(),
    };
    let questions: Vec<Question<'_>> = templates.iter().map(question).collect();
    let Some(theirs) = ask(&questions) else {
        return;
    };
    let mut theirs = theirs.into_iter();
    let (mut texts, mut raised, mut failed, mut wrong) = (0, 0, 0, Vec::new());
    for (name, source) in &templates {
        let template = Template::parse(source);
        if let Err(error) = &template {
            wrong.push(format!("{name}: {error}"));
        }
        for (talk, variables) in &conversations {
            let theirs = theirs.next().unwrap();
            match theirs {
                Outcome::Text(_) => texts += 1,
                Outcome::Raised(_) => raised += 1,
                Outcome::Failed(_) => failed += 1,
            }
            let ours = ours(&template, variables);
            if !agree(&ours, &theirs) {
                wrong.push(format!(
                    "{name}, {talk}\n  ours   {ours:?}\n  theirs {theirs:?}"
                ));
            }
        }
    }
    println!(
        "worst: {} templates: {texts} texts, {raised} of Jinja2's sentences and {failed} other \
         failures, of which {} differ",
        templates.len(),
        wrong.len()
    );
    let first: Vec<_> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(wrong.is_empty(), "{}", first.join("\n"));
}

/// Replaces what was said by characters that nothing else has: each message's own.
fn marked(data: &Data) -> Data {
    match data {
        Data::Said(source, said) => {
            let own = char::from_u32(0xe000 + source).unwrap();
            let mark = |c: char| if c.is_alphanumeric() { own } else { c };
            Data::Said(*source, said.chars().map(mark).collect())
        }
        Data::List(items) => Data::List(items.iter().map(marked).collect()),
        Data::Map(entries) => {
            let entries = entries.iter();
            Data::Map(
                entries
                    .map(|(key, value)| (key.clone(), marked(value)))
                    .collect(),
            )
        }
        data => data.clone(),
    }
}

#[test]
fn what_was_said_is_marked_everywhere() {
    let mut templates = templates(&folder());
    templates.extend(models());
    let mut count = 0;
    for (name, source) in &templates {
        let template = Template::parse(source).unwrap();
        for (talk, variables) in all() {
            let values: Vec<_> = variables
                .iter()
                .map(|(name, data)| (*name, marked(data).value()))
                .collect();
            let Ok(text) = template.render(&values, NOW) else {
                continue;
            };
            let runs: String = text.runs().map(|(_, run)| run).collect();
            assert_eq!(runs, text.as_str());
            for (Source(source), run) in text.runs() {
                for c in run.chars() {
                    let own = u32::from(c).wrapping_sub(0xe000);
                    let is_said = own < 0x100;
                    count += usize::from(is_said);
                    // Letters of the template are nobody's but those of escapes.
                    let is_right = match is_said {
                        true => own == source,
                        false => {
                            source == 0
                                || !c.is_alphanumeric()
                                || "nrtu".contains(c)
                                || c.is_ascii_hexdigit()
                        }
                    };
                    assert!(is_right, "{name}, {talk}: {c:?} from {source} in {run:?}");
                }
            }
        }
    }
    println!("worst: {count} characters with their sources");
    assert!(count > 5000, "{count}");
}
