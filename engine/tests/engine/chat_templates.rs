//! Conversations as our templates lay them out against Jinja2's rendering of the same templates: of
//! those in `chat_templates/`, by what it made of them once (`chat_templates/expected.txt`), and of
//! the models' own where `LLAMA2_JINJA` says how to ask it, such as `python
//! engine/tests/chat_templates/render.py`, and `LLAMA2_TEMPLATES` where llama.cpp's
//! `models/templates` are.

use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use llama2_engine::{chat::Template, tokenizer::Fragment};

/// What differs from Jinja2's rendering, and why it stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Templates trim answers of earlier turns, and drop what was thought in them. We, as
    /// llama.cpp, keep them as the model said them, because the cache has their keys and values:
    /// anything else would have to be passed again.
    AnswersAreKept,
    /// Llama 2's puts a space before the end of an answer, which the model does not say.
    NoSpaceBeforeEnd,
    /// Mistral's v3 puts the system prompt into the last question; it would move with every turn.
    /// We, as llama.cpp without Jinja, keep it in the first one, where the cache has it.
    SystemStaysFirst,
}

use Difference::{AnswersAreKept, NoSpaceBeforeEnd, SystemStaysFirst};

/// A template and what must be known of its model.
struct Subject {
    file: &'static str,
    family: &'static str,
    bos: &'static str,
    eos: &'static str,
    /// What the model says before an answer's words, where the template puts it there for others.
    says: &'static str,
    /// How the template begins an answer, where the model may think and where it may not.
    opening: [&'static str; 2],
    /// True if the model may think: both, or one.
    modes: &'static [bool],
    differences: &'static [Difference],
}

const PLAIN: Subject = Subject {
    file: "",
    family: "",
    bos: "<s>",
    eos: "</s>",
    says: "",
    opening: ["", ""],
    modes: &[false],
    differences: &[],
};

const fn of(file: &'static str, family: &'static str) -> Subject {
    Subject {
        file,
        family,
        ..PLAIN
    }
}

const BOTH: &[bool] = &[true, false];

/// Ours, in `chat_templates/`.
const OURS: [Subject; 16] = [
    of("chatml", "chatml"),
    of("smollm2", "chatml"),
    of("system_variable", "chatml"),
    Subject {
        opening: ["", "<think>\n\n</think>\n\n"],
        modes: BOTH,
        differences: &[AnswersAreKept],
        ..of("thinker", "chatml")
    },
    Subject {
        says: " ",
        differences: &[AnswersAreKept, NoSpaceBeforeEnd],
        ..of("llama2", "llama2")
    },
    Subject {
        differences: &[AnswersAreKept],
        ..of("llama3", "llama3")
    },
    of("mistral_first", "llama2"),
    Subject {
        says: " ",
        ..of("mistral_v1", "mistral v1")
    },
    Subject {
        says: " ",
        differences: &[AnswersAreKept, SystemStaysFirst],
        ..of("mistral_v3", "mistral v3")
    },
    Subject {
        says: " ",
        ..of("mistral_v7", "mistral v7")
    },
    of("zephyr", "zephyr"),
    of("falcon3", "falcon3"),
    of("phi3", "phi3"),
    of("phi4", "phi4"),
    of("granite", "granite"),
    of("unknown", "chatml"),
];

/// The models' own, in llama.cpp's folder.
const THEIRS: [Subject; 19] = [
    of("Qwen-Qwen2.5-7B-Instruct", "chatml"),
    Subject {
        opening: ["", "<think>\n\n</think>\n\n"],
        modes: BOTH,
        differences: &[AnswersAreKept],
        ..of("Qwen-Qwen3-0.6B", "chatml")
    },
    Subject {
        opening: ["<think>\n", "<think>\n</think>"],
        modes: BOTH,
        differences: &[AnswersAreKept],
        ..of("Qwen-QwQ-32B", "chatml")
    },
    Subject {
        opening: ["", "<think>\n\n</think>\n"],
        modes: BOTH,
        differences: &[AnswersAreKept],
        ..of("HuggingFaceTB-SmolLM3-3B", "smollm3")
    },
    Subject {
        opening: ["<think>\n", "<think>\n\n</think>\n\n"],
        modes: BOTH,
        differences: &[AnswersAreKept],
        ..of("openbmb-MiniCPM5-1B", "chatml")
    },
    // Told to think, it has Polish words more in its system prompt.
    Subject {
        differences: &[AnswersAreKept],
        ..of("Bielik-11B-v3.0-Instruct", "chatml")
    },
    of("MiMo-VL", "chatml"),
    Subject {
        differences: &[AnswersAreKept],
        ..of("meta-llama-Llama-3.1-8B-Instruct", "llama3")
    },
    Subject {
        differences: &[AnswersAreKept],
        ..of("meta-llama-Llama-3.2-3B-Instruct", "llama3")
    },
    Subject {
        differences: &[AnswersAreKept],
        ..of("meta-llama-Llama-3.3-70B-Instruct", "llama3")
    },
    Subject {
        opening: ["<think>\n", "<think>\n"],
        modes: &[true],
        differences: &[AnswersAreKept],
        ..of("deepseek-ai-DeepSeek-R1-Distill-Llama-8B", "deepseek3")
    },
    Subject {
        opening: ["<think>\n", "<think>\n</think>"],
        modes: BOTH,
        differences: &[AnswersAreKept],
        ..of("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek3")
    },
    Subject {
        differences: &[SystemStaysFirst],
        ..of("mistralai-Mistral-Nemo-Instruct-2407", "mistral v3 tekken")
    },
    of("Mistral-Small-3.2-24B-Instruct-2506", "mistral v7 tekken"),
    of("unsloth-mistral-Devstral-Small-2507", "mistral v7 tekken"),
    of("microsoft-Phi-3.5-mini-instruct", "phi3"),
    of("ibm-granite-granite-3.3-2B-Instruct", "granite"),
    of("ibm-granite-granite-4.0", "granite"),
    of("ibm-granite-granite-4.1", "granite"),
];

/// A conversation: what the user says, and what the model answers to all but the last of it.
struct Talk {
    name: &'static str,
    system: Option<&'static str>,
    users: &'static [&'static str],
    answers: &'static [&'static str],
}

const TALKS: [Talk; 9] = [
    Talk {
        name: "a question",
        system: None,
        users: &["Who are you?"],
        answers: &[],
    },
    Talk {
        name: "a system prompt",
        system: Some("Be brief."),
        users: &["Who are you?"],
        answers: &[],
    },
    Talk {
        name: "a second question",
        system: Some("Be brief."),
        users: &["Hi", "Who are you?"],
        answers: &["Hello."],
    },
    Talk {
        name: "a second question without a system prompt",
        system: None,
        users: &["Hi", "Who are you?"],
        answers: &["Hello."],
    },
    Talk {
        name: "a third question",
        system: Some("Be brief."),
        users: &["Hi", "Who are you?", "Why?\nOr not?"],
        answers: &["Hello.", "A model.\nNobody."],
    },
    Talk {
        name: "an empty system prompt",
        system: Some(""),
        users: &["Hi", "Who?"],
        answers: &["Hello."],
    },
    Talk {
        name: "spaces around what is said",
        system: Some(" \n Be brief.\n\n"),
        users: &["\n  Hi \n", " Who?\t\n"],
        answers: &["Hello."],
    },
    Talk {
        name: "spaces around answers",
        system: None,
        users: &["Hi", "Who?"],
        answers: &["\n\nHello. \n"],
    },
    Talk {
        name: "words that look like control tokens",
        system: Some("<|im_end|></s>[/INST]<|eot_id|>{{ 1 + 1 }}"),
        users: &[
            "<|im_start|>system\nHi[INST]",
            "<</SYS>> <|end|> 'a' \\n \"b\"",
        ],
        answers: &["</s> is <|assistant|>"],
    },
];

impl Talk {
    /// An answer as it stands in the context: its beginning may be the template's.
    fn whole(&self, answer: usize, think: bool, subject: &Subject) -> String {
        let words = self.answers[answer];
        if think {
            return format!("<think>\nHm, {answer}.\n</think>\n\n{words}");
        }
        format!("{}{}{words}", subject.opening[1], subject.says)
    }

    /// For Jinja: what clients send, or marks in the answers' places.
    fn json(&self, think: bool, marks: bool) -> String {
        let quoted = |text: &str| {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            format!("\"{}\"", text.replace('\n', "\\n").replace('\t', "\\t"))
        };
        let message = |role, text: &str| {
            let text = quoted(text);
            format!("{{\"role\": \"{role}\", \"content\": {text}}}")
        };
        let mut messages = Vec::new();
        messages.extend(self.system.map(|text| message("system", text)));
        for (i, user) in self.users.iter().enumerate() {
            messages.push(message("user", user));
            if i < self.answers.len() {
                let answer = match (marks, think) {
                    (true, _) => mark(i),
                    (_, true) => self.whole(i, true, &PLAIN),
                    _ => self.answers[i].into(),
                };
                messages.push(message("assistant", &answer));
            }
        }
        format!(
            "{{\"messages\": [{}], \"think\": {think}}}\n",
            messages.join(", ")
        )
    }
}

/// What stands for an answer.
fn mark(answer: usize) -> String {
    format!("ANSWER{answer}.")
}

/// What we make of a conversation.
fn ours(template: &Template, subject: &Subject, talk: &Talk, think: bool) -> String {
    let mut out = String::new();
    let mut add = |fragments: &[Fragment<'_>]| {
        for fragment in fragments {
            out.push_str(match fragment {
                Fragment::Mark(text) | Fragment::Said(text) => text,
                Fragment::End => subject.eos,
            });
        }
    };
    add(&template.first(talk.system, talk.users[0], think));
    for (i, user) in talk.users.iter().enumerate().skip(1) {
        let whole = talk.whole(i - 1, think, subject);
        let opening = subject.opening[usize::from(!think)];
        // The model goes on from the beginning that it was given.
        add(&[Fragment::Said(
            whole.strip_prefix(opening).unwrap_or(&whole),
        )]);
        add(&template.next(false, user, think));
    }
    out
}

/// What Jinja2 makes of conversations: text, or none where the template refuses.
fn ask(jinja: &str, file: &Path, subject: &Subject, asked: &[String]) -> Vec<Option<String>> {
    let mut words = jinja.split_whitespace();
    let mut python = Command::new(words.next().unwrap())
        .args(words)
        .arg(file)
        .args([subject.bos, subject.eos])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(asked.concat().as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", subject.file);
    let mut rest = &output.stdout[..];
    let mut texts = Vec::new();
    while !rest.is_empty() {
        let line = rest.iter().position(|b| *b == b'\n').unwrap();
        let head = str::from_utf8(&rest[..line]).unwrap();
        let (word, length) = head.split_once(' ').unwrap();
        let (text, tail) = rest[line + 1..].split_at(length.parse().unwrap());
        let text = String::from_utf8(text.to_vec()).unwrap();
        texts.push((word == "ok").then_some(text));
        rest = tail;
    }
    assert_eq!(texts.len(), asked.len(), "{}", subject.file);
    texts
}

/// How many texts are equal as they are, and which differences the others needed.
#[derive(Default)]
struct Tally {
    equal: usize,
    refused: usize,
    mended: BTreeMap<Difference, usize>,
}

/// Compares one conversation, of which Jinja2 made `real`, and `marked` with marks for answers.
fn compare(
    template: &Template,
    subject: &Subject,
    (talk, think): (&Talk, bool),
    (real, marked): (Option<&str>, Option<&str>),
    tally: &mut Tally,
) {
    let what = format!("{}, think {think}: {}", subject.file, talk.name);
    let (Some(real), Some(marked)) = (real, marked) else {
        tally.refused += 1;
        return;
    };
    let found = ours(template, subject, talk, think);
    assert_eq!(
        template.writes_bos(),
        real.starts_with(subject.bos),
        "{what}"
    );
    let bare = |text: &str| String::from(text.strip_prefix(subject.bos).unwrap_or(text));
    if found == bare(real) {
        tally.equal += 1;
        return;
    }
    let allows = |difference| subject.differences.contains(&difference);
    let (mut want, mut needed) = (bare(real), Vec::new());
    if allows(AnswersAreKept) {
        let opening = subject.opening[usize::from(!think)];
        let space = format!(" {}", subject.eos);
        let (mut kept, mut spaces) = (bare(marked), false);
        for i in 0..talk.answers.len() {
            // A template may say itself what the model says first, or what it began the answer
            // with.
            for before in [opening, subject.says] {
                kept = kept.replace(&format!("{before}{}", mark(i)), &mark(i));
            }
            if allows(NoSpaceBeforeEnd) && kept.contains(&format!("{}{space}", mark(i))) {
                let bare = format!("{}{}", mark(i), subject.eos);
                kept = kept.replace(&format!("{}{space}", mark(i)), &bare);
                spaces = true;
            }
            kept = kept.replace(&mark(i), &talk.whole(i, think, subject));
        }
        if spaces {
            needed.push(NoSpaceBeforeEnd);
            want = want.replace(&space, subject.eos);
        }
        if kept != want {
            needed.push(AnswersAreKept);
        }
        want = kept;
    }
    if let (true, true, Some(system)) = (found != want, allows(SystemStaysFirst), talk.system) {
        let moved = format!("{system}\n\n");
        let before = ["[INST] ", "[INST]"]
            .into_iter()
            .find(|b| want.starts_with(b));
        let at = want.rfind(&moved).unwrap();
        want.replace_range(at..at + moved.len(), "");
        want.insert_str(before.unwrap().len(), &moved);
        needed.push(SystemStaysFirst);
    }
    assert_eq!(found, want, "{what}: found, wanted with {needed:?}");
    for difference in needed {
        *tally.mended.entry(difference).or_default() += 1;
    }
}

/// Each conversation as it is, and with marks.
fn questions(subject: &Subject) -> Vec<(&'static Talk, bool, bool)> {
    let mut all = Vec::new();
    for talk in &TALKS {
        for &think in subject.modes {
            all.push((talk, think, false));
            all.push((talk, think, true));
        }
    }
    all
}

/// Compares all conversations of one template.
fn check(jinja: &str, subject: &Subject, texts: &[Option<String>], total: &mut Tally) {
    let template = Template::of(jinja);
    assert_eq!(template.name(), subject.family, "{}", subject.file);
    assert_eq!(template.is_known(), subject.file != "unknown");
    assert_eq!(
        template.thinks(),
        subject.modes.len() == 2,
        "{}",
        subject.file
    );
    let mut tally = Tally::default();
    for (question, texts) in questions(subject)
        .chunks_exact(2)
        .zip(texts.chunks_exact(2))
    {
        let (talk, think, _) = question[0];
        let opens = subject.opening[usize::from(!think)] == "<think>\n";
        assert_eq!(template.opens_thought(think), opens, "{}", subject.file);
        let texts = (texts[0].as_deref(), texts[1].as_deref());
        compare(&template, subject, (talk, think), texts, &mut tally);
    }
    let counts = tally
        .mended
        .iter()
        .map(|(d, n)| format!(", {n} but for {d:?}"));
    println!(
        "{}: {} equal{}, {} refused",
        subject.file,
        tally.equal,
        counts.collect::<String>(),
        tally.refused
    );
    for difference in subject.differences {
        let needed = tally.mended.contains_key(difference);
        assert!(needed, "{}: {difference:?} is no more", subject.file);
    }
    total.equal += tally.equal;
    total.refused += tally.refused;
    for (difference, count) in tally.mended {
        *total.mended.entry(difference).or_default() += count;
    }
}

fn report(total: &Tally) {
    println!(
        "worst: {} renderings equal, {} refused by their templates, {:?}",
        total.equal, total.refused, total.mended
    );
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/chat_templates")
}

fn jinja() -> Option<String> {
    let jinja = std::env::var("LLAMA2_JINJA").ok();
    if jinja.is_none() {
        eprintln!("SKIPPED: LLAMA2_JINJA does not say how to ask Jinja2");
    }
    jinja
}

/// What Jinja2 made once of our templates, and makes now where it can be asked.
#[test]
fn our_own_templates_are_laid_out_as_jinja_did_it() {
    let path = folder().join("expected.txt");
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let jinja = std::env::var("LLAMA2_JINJA").ok();
    let mut known = BTreeMap::new();
    for line in expected.lines() {
        let (key, text) = line.rsplit_once('\t').unwrap();
        let text = text
            .replace("\\n", "\n")
            .replace("\\t", "\t")
            .replace("\\\n", "\\n");
        known.insert(key, (text != "REFUSED").then_some(text));
    }
    let (mut total, mut written) = (Tally::default(), String::new());
    for subject in &OURS {
        let file = folder().join(format!("{}.jinja", subject.file));
        let source = std::fs::read_to_string(&file).unwrap();
        let questions = questions(subject);
        let keys = questions.iter().map(|(talk, think, marks)| {
            let marks = if *marks { ", marked" } else { "" };
            format!("{}\t{think}\t{}{marks}", subject.file, talk.name)
        });
        let keys: Vec<String> = keys.collect();
        let write = std::env::var_os("LLAMA2_JINJA_WRITE").is_some();
        let texts: Vec<Option<String>> = match &jinja {
            Some(jinja) => {
                let asked = questions
                    .iter()
                    .map(|(talk, think, marks)| talk.json(*think, *marks));
                ask(jinja, &file, subject, &asked.collect::<Vec<_>>())
            }
            None => keys.iter().map(|key| known[&key[..]].clone()).collect(),
        };
        for (key, text) in keys.iter().zip(&texts) {
            let known = known.get(&key[..]);
            assert!(
                write || known == Some(text),
                "{key}: {known:?} once, now {text:?}"
            );
            let text = text.as_deref().unwrap_or("REFUSED");
            let text = text
                .replace("\\n", "\\\\n")
                .replace('\n', "\\n")
                .replace('\t', "\\t");
            written += &format!("{key}\t{text}\n");
        }
        if write {
            std::fs::write(&path, &written).unwrap();
        }
        check(&source, subject, &texts, &mut total);
    }
    report(&total);
}

#[test]
fn models_own_templates_are_laid_out_as_jinja_does_it() {
    let Some(jinja) = jinja() else { return };
    let Some(folder) = std::env::var_os("LLAMA2_TEMPLATES") else {
        eprintln!("SKIPPED: LLAMA2_TEMPLATES does not say where llama.cpp's templates are");
        return;
    };
    let mut total = Tally::default();
    for subject in &THEIRS {
        let file = Path::new(&folder).join(format!("{}.jinja", subject.file));
        let source = std::fs::read_to_string(&file).unwrap();
        let questions = questions(subject).into_iter();
        let asked = questions.map(|(talk, think, marks)| talk.json(think, marks));
        let texts = ask(&jinja, &file, subject, &asked.collect::<Vec<_>>());
        check(&source, subject, &texts, &mut total);
    }
    report(&total);
}
