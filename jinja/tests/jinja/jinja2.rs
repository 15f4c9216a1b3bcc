//! Jinja2 itself, where `LLAMA2_JINJA` says how to ask it: `python tests/render.py`.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use llama2_jinja::{DateTime, Error, Template};

use crate::data::{Data, quoted};

/// Outcome of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A text.
    Text(String),
    /// A sentence of the template's or of Jinja2's.
    Raised(String),
    /// Another exception of Python's: ours may have another sentence.
    Failed(String),
}

/// A template's source, and the variables of renderings.
pub struct Question<'a> {
    pub source: &'a str,
    pub variables: Vec<Vec<(&'static str, Data)>>,
}

/// The moment at which everything is rendered.
pub const NOW: DateTime = DateTime {
    year: 2024,
    month: 7,
    day: 26,
    hour: 13,
    minute: 5,
    second: 9,
};

/// Asks Jinja2, if that can be done. The outcomes are in the order of the questions.
pub fn ask(questions: &[Question<'_>]) -> Option<Vec<Outcome>> {
    let Ok(command) = std::env::var("LLAMA2_JINJA") else {
        eprintln!("SKIPPED: LLAMA2_JINJA does not say how to ask Jinja2");
        return None;
    };
    let mut asked = String::new();
    let mut count = 0;
    for question in questions {
        asked += &format!("{}\n", quoted(question.source));
        for variables in &question.variables {
            let entries = variables.iter();
            let entries = entries.map(|(name, value)| (name.to_string(), value.clone()));
            asked += &format!("{}\n", Data::Map(entries.collect()).json());
            count += 1;
        }
    }
    let mut words = command.split_whitespace();
    let mut child = Command::new(words.next().expect("LLAMA2_JINJA is a command"))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("LLAMA2_JINJA");
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(asked.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer
        .join()
        .unwrap()
        .expect("LLAMA2_JINJA read everything");
    assert!(output.status.success(), "{}", output.status);
    let mut rest = &output.stdout[..];
    let mut outcomes = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&rest[..end]);
        let (kind, length) = line
            .split_once(' ')
            .expect("LLAMA2_JINJA's answers are known");
        let text = &rest[end + 1..][..length.parse().unwrap()];
        rest = &rest[end + 1 + text.len()..];
        let text = String::from_utf8(text.into()).unwrap();
        outcomes.push(match kind {
            "ok" => Outcome::Text(text),
            "raised" => Outcome::Raised(text),
            _ => Outcome::Failed(text),
        });
    }
    assert_eq!(outcomes.len(), count);
    Some(outcomes)
}

/// Our outcome of a template.
pub fn ours(template: &Result<Template, Error>, variables: &[(&'static str, Data)]) -> Outcome {
    let template = match template {
        Ok(template) => template,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let values: Vec<_> = variables
        .iter()
        .map(|(name, data)| (*name, data.value()))
        .collect();
    match template.render(&values, NOW) {
        Ok(text) => Outcome::Text(text.as_str().into()),
        Err(Error::Raised(message) | Error::Evaluation { message, .. }) => Outcome::Raised(message),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Returns true if ours is as it should be: where Python failed in its own words, any failure is.
pub fn agree(ours: &Outcome, theirs: &Outcome) -> bool {
    match (ours, theirs) {
        (Outcome::Text(_), Outcome::Failed(_)) => false,
        (_, Outcome::Failed(_)) => true,
        (ours, theirs) => ours == theirs,
    }
}
