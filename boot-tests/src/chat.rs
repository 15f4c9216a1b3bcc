//! The boots about conversations: what is answered, thought and forgotten in firmware, beside the
//! host's command.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use llama2_engine::layout::{Coded, Encoding};
use llama2_testing::family;
use xtask::{fetch, image::From, qemu::Machine};

use crate::{
    boot::{Boot, Suite},
    dialog::{Dialog, Reply, printable},
};

/// run.c's chat: Llama 2's template with a checkpoint of llama2.c, and a line that has to be
/// mended.
pub fn chat(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = format!("{CHAT}temperature = 0\nsteps = 60\n");
    let files = [
        ("STORIES.BIN", From::File(suite.models("stories330K.bin"))),
        ("TOKENIZER.BIN", From::File(suite.models("tokenizer.bin"))),
    ];
    let image = boot.image(suite, &config, &files)?;
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;
    let begun = dialog.prompt()?;
    let greeting = "STORIES.BIN is listening. Esc stops an answer, /help lists the commands.\n";
    ensure!(begun.contains(greeting), "it does not greet");
    dialog.keys("Who has a bx\x7fall?")?;
    dialog.typed("Who has a ball?")?;
    let told = Reply::of(&dialog.enter()?)?;
    dialog.leave("/exit")?;
    drop(dialog);
    let flags = ["-m", "chat", "-t", "0", "-n", "60", "-y", ""];
    let host = suite.host_f32(&[&flags[..], &["-i", "Who has a ball?"]].concat())?;
    let (_, want) = host.split_once("Assistant: ").context("no answer")?;
    // Behind it the host asks again.
    let want = want.strip_suffix("\nUser: \n").unwrap_or(want);
    let (told, want) = (printable(&told.text), printable(want));
    ensure!(
        want.starts_with(&told) && told.len() > 20,
        "it answered:\n{told}\nand not:\n{want}"
    );
    Ok(None)
}

/// A conversation that switches the machine off at its end.
const CHAT: &str = "exit = \"shutdown\"\ndisplay = \"text\"\nmode = \"chat\"\n";

/// Two turns with a model of K types that has a template of its own, with llama.cpp's samplers and
/// defaults.
pub fn own_template(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let file = speaker(Some(family::CHATML))?;
    two_turns(
        suite,
        boot,
        &file,
        "seed = 5\nsteps = 24\n",
        &["-s", "5", "-n", "24"],
    )?;
    boot.says("  temperature 0.8, top-k 40, top-p 0.95, min-p 0.05\n")?;
    boot.says("  5 (given)\n")?;
    boot.says("Context: 512 tokens")?;
    Ok(None)
}

/// Flags of the thinker.
fn thinks<'a>(seed: &'a str, [one, other]: &'a [String; 2]) -> [&'a str; 8] {
    [
        "-s",
        seed,
        "-n",
        "60",
        "--logit-bias",
        one,
        "--logit-bias",
        other,
    ]
}

/// A model whose biases let it think aloud now and then, and a string that stops it across tokens.
pub fn thoughts(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    // It begins to think, and draws the mark of the thought's end sooner or later.
    let template = format!("{}<think>", family::THINKER);
    let file = speaker(Some(&template))?;
    let biases = [format!("{THINK}=-100"), format!("{}=3", THINK + 1)];
    let (one, other) = (&biases[0][..], &biases[1][..]);
    let name = model(suite, boot, &file)?;
    let plain = |c: &char| c.is_ascii_alphanumeric() || "!#$%&()*+,-.:;=?@_~".contains(*c);
    // The first seed of an answer with two letters for a string that stops it.
    let mut found = None;
    for seed in (1..40).map(|seed| seed.to_string()) {
        let (whole, _) = host(suite, &name, &thinks(&seed, &biases), "Who are you?\n")?;
        let letters: Vec<char> = whole.replace("</think>", "\n").trim().chars().collect();
        let part = letters.windows(2).rev().find(|part| part.iter().all(plain));
        if let Some(part) = part {
            found = Some((seed, part.iter().collect::<String>()));
            break;
        }
    }
    let (seed, stop) = found.context("no answer has two plain characters in a row")?;
    let config = format!(
        "seed = {seed}\nsteps = 60\nlogit_bias = [\"{one}\", \"{other}\"]\nstop = \"{stop}\"\n\
         think = \"show\"\n"
    );
    let flags = [&thinks(&seed, &biases)[..], &["--stop", &stop]].concat();
    let said = two_turns(suite, boot, &file, &config, &flags)?;
    let thought = |text: &str| {
        let rest = text.split_once("Thinking: ")?.1;
        Some(printable(rest.lines().next().unwrap_or_default()))
    };
    let (told, want) = (thought(&boot.serial), thought(&said));
    ensure!(
        told.is_some() && told == want,
        "it thought {told:?}, and the host {want:?}"
    );
    Ok(Some(format!("seed {seed}, stopped by {stop:?}")))
}

/// A model that was not made to chat.
pub fn completion(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let file = speaker(None)?;
    two_turns(
        suite,
        boot,
        &file,
        "temperature = 0\nsteps = 20\n",
        // A system prompt asks for a chat, and has no place in it.
        &["-t", "0", "-n", "20", "-y", "Be brief."],
    )?;
    boot.says("warning: the model's file has no chat template: it continues what you type")?;
    Ok(None)
}

/// A conversation with a real model: a fact, a question that needs the memory of it, a system
/// prompt, and a conversation that was saved and goes on after it was loaded.
pub fn real_model(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let path = match fetch::chat_model() {
        Ok(path) => path,
        Err(error) if matches!(error.downcast_ref(), Some(fetch::Error::Failed(_))) => {
            return Err(error);
        }
        Err(error) => {
            boot.skip = Some(format!("{error:#}"));
            return Ok(None);
        }
    };
    let name = path.display().to_string();
    let config = format!("{CHAT}temperature = 0\nsteps = 16\ncontext = 512\n");
    let image = boot.image(suite, &config, &[("SMOLLM2.GGUF", From::File(path))])?;
    let is_told = |told: &str, questions: [&str; 2], system: &[&str]| {
        let flags = [&["-t", "0", "-n", "16", "-c", "512"], system].concat();
        let (want, _) = host(
            suite,
            &name,
            &flags,
            &questions.map(|q| q.to_owned() + "\n").concat(),
        )?;
        let is_equal = told == printable(&want);
        ensure!(is_equal, "it answered {told:?}, and the host {want:?}");
        Ok(())
    };
    let machine = Machine {
        memory: 512,
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.prompt()?;

    let questions = [
        "My name is Anna. What is water made of?",
        "What is my name?",
    ];
    let [fact, memory] = [dialog.ask(questions[0])?, dialog.ask(questions[1])?];
    is_told(&(answer(&fact) + &answer(&memory)), questions, &[])?;
    let remembers = memory.text.contains("Anna");
    ensure!(remembers, "it has forgotten: {}", memory.text);

    let system = "You are Tom the cat. Be brief.";
    let questions = ["Who are you?", "What is your name?"];
    dialog.say(&format!("/system {system}"))?;
    let first = dialog.ask(questions[0])?;
    dialog.expect("/save", " messages as CHAT0001.JSL on the boot volume.\n")?;
    dialog.say("/clear")?;
    dialog.expect("/load chat0001", "CHAT0001.JSL: ")?;
    let last = dialog.ask(questions[1])?;
    is_told(
        &(answer(&first) + &answer(&last)),
        questions,
        &["-y", system],
    )?;
    dialog.leave("/exit")?;
    Ok(Some(last.summary))
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
fn model(suite: &Suite, boot: &Boot, file: &[u8]) -> Result<String> {
    let path = suite.folder.join(format!("talk{}.gguf", boot.number));
    fs::write(&path, file)?;
    Ok(path.display().to_string())
}

/// Two questions to the model in firmware and on the host: the answers must be the same. Gives what
/// the host said beside.
fn two_turns(
    suite: &Suite,
    boot: &mut Boot,
    file: &[u8],
    config: &str,
    flags: &[&str],
) -> Result<String> {
    let name = model(suite, boot, file)?;
    let (host, said) = host(suite, &name, flags, "Who are you?\nWhy?\n")?;
    let files = [("MODELS/made.gguf", From::Bytes(file.to_vec()))];
    let config = format!("{CHAT}prompt = \"Who are you?\"\n{config}");
    let image = boot.image(suite, &config, &files)?;
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;
    let begun = dialog.prompt()?;
    let (_, first) = begun
        .split_once("\n> Who are you?\n")
        .context("the question is not shown")?;
    let mut told = answer(&Reply::of(first)?);
    told += &answer(&dialog.ask("Why?")?);
    dialog.say("/info")?;
    dialog.leave("\x04")?;
    drop(dialog);
    let want = printable(&host);
    ensure!(
        told == want && want.len() > 5,
        "it answered {told:?}, and the host {want:?}"
    );
    Ok(said)
}

/// The answer in a reply: thoughts stand before it, in a row of their own.
fn answer(reply: &Reply) -> String {
    let rows = reply.text.lines();
    let answer: String = rows.filter(|row| !row.starts_with("Thinking: ")).collect();
    printable(&answer)
}

/// `llama2 chat` on the host with this on standard input: what it answers, and what it says beside.
pub fn host(suite: &Suite, model: &str, flags: &[&str], input: &str) -> Result<(String, String)> {
    let mut child = Command::new(&suite.llama2)
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
