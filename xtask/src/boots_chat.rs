//! The boots about conversations: what is answered, thought and forgotten in firmware, beside the host's command.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use llama2_engine::matrix::{Coded, Encoding};

use crate::{
    family,
    image::From,
    qemu::{Accel, Machine},
    trial::{Bench, PATIENCE, Trial},
};

/// run.c's chat: a system prompt is asked for, and Llama 2's template taken.
pub fn chat(bench: &Bench, trial: &mut Trial) -> Result<Option<String>> {
    let config = "mode = \"chat\"\ntemperature = 0\nsteps = 60";
    let keys = [
        ("optional): ", "\r"),
        ("\nUser: ", "Who has a bx\x7fall?\r"),
    ];
    talk(bench, trial, config, &[], &keys)?;
    let host = bench.host(&[
        "-m",
        "chat",
        "-t",
        "0",
        "-n",
        "60",
        "-y",
        "",
        "-i",
        "Who has a ball?",
    ])?;
    let answer = |text: &str| {
        text.split_once("Assistant: ")
            .map(|(_, rest)| rest.to_owned())
            .context("no answer")
    };
    let (told, want) = (answer(&trial.serial)?, answer(&host)?);
    ensure!(
        told.starts_with(want.trim_end()),
        "it answered:\n{told}\nand not:\n{want}"
    );
    Ok(None)
}

/// Two turns with a model of K types that has a template of its own, with llama.cpp's samplers and defaults.
pub fn own_template(bench: &Bench, trial: &mut Trial) -> Result<Option<String>> {
    let file = speaker(Some("<|im_start|>"))?;
    two_turns(
        bench,
        trial,
        &file,
        "seed = 5\nsteps = 24\n",
        &["-s", "5", "-n", "24"],
    )?;
    trial.says("Sampling: temperature 0.8, top-k 40, top-p 0.95, min-p 0.05, seed 5 (given)")?;
    trial.says("Context: 512 positions, the model's own")?;
    Ok(None)
}

/// A model whose biases let it think aloud now and then, and a string that stops it across tokens.
pub fn thoughts(bench: &Bench, trial: &mut Trial) -> Result<Option<String>> {
    let file = speaker(Some("<|im_start|>"))?;
    let biases = [THINK, THINK + 1].map(|token| format!("{token}=3"));
    let (one, other) = (&biases[0][..], &biases[1][..]);
    let flags = [
        "-s",
        "4",
        "-n",
        "60",
        "--logit-bias",
        one,
        "--logit-bias",
        other,
    ];
    // What it says without one, to find a string to stop it.
    let name = model(bench, trial, &file)?;
    let (whole, _) = host(bench, &name, &flags, "Who are you?\n")?;
    let letters: Vec<char> = whole.trim().chars().collect();
    let plain = |c: &char| c.is_ascii_alphanumeric() || "!#$%&()*+,-.:;=?@_~".contains(*c);
    let stop = letters
        .windows(2)
        .rev()
        .find(|part| {
            part.iter().all(plain) && !"</think>".contains(&part.iter().collect::<String>())
        })
        .context("the answer has two plain characters in a row")?;
    let stop: String = stop.iter().collect();
    let config = format!(
        "seed = 4\nsteps = 60\nlogit_bias = [\"{one}\", \"{other}\"]\nstop = \"{stop}\"\nthink = \"show\"\n"
    );
    let flags = [&flags[..], &["--stop", &stop]].concat();
    let said = two_turns(bench, trial, &file, &config, &flags)?;
    let thought = |text: &str| {
        let rest = text.split_once("Thinking: ")?.1;
        Some(printable(rest.lines().next().unwrap_or_default()))
    };
    let (told, want) = (thought(&trial.serial), thought(&said));
    ensure!(
        told.is_some() && told == want,
        "it thought {told:?}, and the host {want:?}"
    );
    Ok(Some(format!("stopped by {stop:?}")))
}

/// A model that was not made to chat.
pub fn completion(bench: &Bench, trial: &mut Trial) -> Result<Option<String>> {
    let file = speaker(None)?;
    two_turns(
        bench,
        trial,
        &file,
        "temperature = 0\nsteps = 20\n",
        &["-t", "0", "-n", "20"],
    )?;
    trial.says("warning: the model's file has no chat template: it was not made to chat")?;
    Ok(None)
}

/// The token of `<think>` in the model below; `</think>` comes after it.
const THINK: usize = family::VOCABULARY - 4;

/// A model of random weights of K types with this template.
fn speaker(template: Option<&str>) -> Result<Vec<u8>> {
    let family = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let family = family.context("there is a Qwen2 among the families")?;
    let mut file = family.make(7, &|name| {
        Encoding::Coded(match name {
            "output.weight" | "blk.1.attn_v.weight" => Coded::Q6K,
            _ => Coded::Q4K,
        })
    });
    file.speak_with(&["<think>", "</think>"]);
    if let Some(template) = template {
        file.text("tokenizer.chat_template", template);
    }
    Ok(file.bytes())
}

/// That model as a file of the host's.
fn model(bench: &Bench, trial: &Trial, file: &[u8]) -> Result<String> {
    let path = bench.folder.join(format!("talk{}.gguf", trial.number));
    fs::write(&path, file)?;
    Ok(path.display().to_string())
}

/// Two questions to the model in firmware and on the host: the answers must be the same. Gives what the host said beside.
fn two_turns(
    bench: &Bench,
    trial: &mut Trial,
    file: &[u8],
    config: &str,
    flags: &[&str],
) -> Result<String> {
    let name = model(bench, trial, file)?;
    let (host, said) = host(bench, &name, flags, "Who are you?\nWhy?\n")?;
    let question = if said.contains("no chat template") {
        "\nText: "
    } else {
        "\nUser: "
    };
    let files = [("MODELS/made.gguf", From::Bytes(file.to_vec()))];
    let config = format!("mode = \"chat\"\nprompt = \"Who are you?\"\n{config}");
    let keys = [(question, "Why?\r"), (question, "\x04")];
    talk(bench, trial, &config, &files, &keys)?;
    let told: String = parts(&trial.serial);
    let want = printable(&host);
    ensure!(
        told == want && want.len() > 5,
        "it answered {told:?}, and the host {want:?}"
    );
    Ok(said)
}

/// All that is answered: between who speaks, or where a text goes on what was typed, and how fast it was.
fn parts(serial: &str) -> String {
    let mut answers = String::new();
    let mut rest = serial;
    while let Some((turn, tail)) = rest.split_once("\nachieved tok/s") {
        rest = tail;
        let typed = ["Text: Why?\n", ")\n"];
        if turn.contains("Assistant: ") {
            for said in turn.split("Assistant: ").skip(1) {
                answers += said.split("\nThinking: ").next().unwrap_or_default();
            }
        } else if let Some((_, said)) = typed.iter().find_map(|mark| turn.rsplit_once(mark)) {
            answers += said;
        }
    }
    printable(&answers)
}

/// What of a text every terminal shows in one way.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// `llama2 chat` on the host with this on standard input: what it answers, and what it says beside.
fn host(bench: &Bench, model: &str, flags: &[&str], input: &str) -> Result<(String, String)> {
    let mut child = Command::new(&bench.llama2)
        .args(["chat", model])
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut keys = child.stdin.take().context("standard input")?;
    keys.write_all(input.as_bytes())?;
    drop(keys);
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "llama2 chat: {said}");
    Ok((String::from_utf8(output.stdout)?, said))
}

/// Boots a conversation and types these keys, each when the text ends with what stands before it.
fn talk(
    bench: &Bench,
    trial: &mut Trial,
    config: &str,
    files: &[(&str, From)],
    keys: &[(&str, &str)],
) -> Result<()> {
    let image = trial.image(bench, &format!("exit = \"shutdown\"\n{config}"), files)?;
    let mut guest = Machine::new(&image).start(Accel::Tcg)?;
    for (number, (question, answer)) in keys.iter().enumerate() {
        // The same question stands before several answers.
        let asked = 1 + keys[..number]
            .iter()
            .filter(|key| key.0 == *question)
            .count();
        let ready = |text: &str| {
            let ready = text.ends_with(question) && text.matches(question).count() == asked;
            ready.then_some(())
        };
        if let Err(end) = guest.wait(PATIENCE, ready) {
            return trial.ended(&guest, end).map(drop);
        }
        guest.send(answer.as_bytes())?;
    }
    let end = guest.end(PATIENCE);
    let status = trial.ended(&guest, end)?;
    ensure!(status == 0, "status {status}");
    Ok(())
}
