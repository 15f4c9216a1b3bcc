//! Tables in `docs/` that are generated from the table of parameters. `LLAMA2_DOCS=write` updates
//! them.

use std::{fs, path::PathBuf};

use llama2_settings::{Defaults, Domain, Spec, TABLE};

const CONFIG: &str = "\
# Parameters

`LLAMA2.CFG` is a TOML file in the root folder of the volume from which `llama2.efi` is started, or
in the folder where `llama2 chat` is started on a terminal. Flags take precedence over it. `/config`
writes a session's settings into it; disk images contain one that explains every key. Parameters
with a command are also saved with conversations.

This page is generated from the table in `settings/src/table.rs`.

";

/// Escapes a text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

fn code(text: &str) -> String {
    match text {
        "" => String::new(),
        text => format!("`{}`", cell(text)),
    }
}

fn flags(spec: &Spec) -> String {
    let letter = (spec.letter != ' ').then(|| format!("`-{}`", spec.letter));
    let long = spec.flags.iter().take(2).map(|flag| format!("`--{flag}`"));
    letter
        .into_iter()
        .chain(long)
        .collect::<Vec<_>>()
        .join(", ")
}

fn values(spec: &Spec) -> String {
    match spec.domain {
        Domain::Word(words) => {
            let words: Vec<String> = words
                .iter()
                .map(|word| code(&format!("\"{word}\"")))
                .collect();
            words.join(", ")
        }
        Domain::Text => "a text in quotes".into(),
        _ => spec.allowed(),
    }
}

fn default(spec: &Spec) -> String {
    match spec.defaults {
        Defaults::Sampler(defaults) if defaults.run_c == defaults.llama_cpp => {
            format!(" Default: {}.", defaults.run_c)
        }
        Defaults::Sampler(defaults) => format!(
            " Default: {}; in a GGUF model's chat {}.",
            defaults.run_c, defaults.llama_cpp
        ),
        Defaults::Elsewhere if spec.note.is_empty() => String::new(),
        Defaults::Elsewhere => format!(" {}", spec.note),
    }
}

fn config() -> String {
    let mut text =
        format!("{CONFIG}| key | flag | command | values | meaning |\n|---|---|---|---|---|\n");
    for spec in TABLE.iter().filter(|spec| !spec.example.is_empty()) {
        let command = spec.commands.first().map(|command| format!("/{command}"));
        text += &format!(
            "| {} | {} | {} | {} | {} |\n",
            code(spec.key),
            flags(spec),
            code(&command.unwrap_or_default()),
            values(spec),
            cell(&format!("{}{}", spec.help, default(spec)))
        );
    }
    text
}

/// Samplers of `run` and `chat`.
fn samplers() -> String {
    let mut text = String::from(SAMPLERS);
    for spec in &TABLE {
        let said = |value: f32| match spec.is_special(value) {
            true => "off".to_string(),
            false => value.to_string(),
        };
        let (run_c, llama_cpp) = match (spec.defaults, spec.key) {
            (Defaults::Sampler(defaults), _) => (said(defaults.run_c), said(defaults.llama_cpp)),
            (_, "seed") => ("the time".into(), "the time".into()),
            (_, "logit_bias") => (String::new(), String::new()),
            _ => continue,
        };
        let meaning = cell(spec.help.trim_end_matches('.'));
        text += &format!("| {} | {meaning} | {run_c} | {llama_cpp} |\n", flags(spec));
    }
    text
}

const SAMPLERS: &str =
    "| flag | meaning | default in `run` | in a GGUF model's chat |\n|---|---|---|---|\n";

#[test]
fn the_tables_in_docs_are_the_table_s() {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let (page, command) = (docs.join("CONFIG.md"), docs.join("COMMAND.md"));
    let old = fs::read_to_string(&command).unwrap().replace("\r\n", "\n");
    let begin = old.find(SAMPLERS).expect("COMMAND.md has the samplers");
    let end = begin + old[begin..].find("\n\n").unwrap() + 1;
    let new = format!("{}{}{}", &old[..begin], samplers(), &old[end..]);
    if std::env::var_os("LLAMA2_DOCS").is_some() {
        fs::write(&page, config()).unwrap();
        fs::write(&command, &new).unwrap();
    }
    let hint = "LLAMA2_DOCS=write cargo test -p llama2-settings --test docs writes it";
    let known = fs::read_to_string(&page)
        .unwrap_or_default()
        .replace("\r\n", "\n");
    assert!(known == config(), "CONFIG.md is out of date: {hint}");
    assert!(
        old == new || std::env::var_os("LLAMA2_DOCS").is_some(),
        "COMMAND.md is: {hint}"
    );
}
