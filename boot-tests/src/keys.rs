//! The boots about keys: those that stop a reply, those that come at the wrong time, many at once,
//! and a keyboard of another country.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use llama2_engine::config::Config;
use xtask::{
    image::{self, From},
    qemu::{Guest, Machine},
};

use crate::{
    boot::{Boot, Suite},
    dialog::{Dialog, printable},
    fixtures,
    hands::Hands,
};

/// Stories of random words by a model of this shape, which lies at a place of its own.
fn random_model(suite: &Suite, boot: &Boot, shape: &Config) -> Result<[(&'static str, From); 2]> {
    let model = suite.folder.join(format!("random{}.bin", boot.number));
    fixtures::random_checkpoint(&model, shape)?;
    let tokenizer = fixtures::tokenizer(shape.vocab_size);
    Ok([
        ("STORIES.BIN", From::File(model)),
        ("TOKENIZER.BIN", From::Bytes(tokenizer)),
    ])
}

/// The contents of a saved conversation: what was said, and what was told.
fn messages(suite: &Suite, boot: &Boot, name: &str) -> Result<Vec<String>> {
    let image = suite.folder.join(format!("{}.img", boot.number));
    let file = String::from_utf8(image::read_back(&image, name)?)?;
    let content = |line: &str| -> Result<String> {
        let line: serde_json::Value = serde_json::from_str(line)?;
        Ok(line["content"].as_str().context("a content")?.to_owned())
    };
    file.lines().skip(1).map(content).collect()
}

/// A model so slow that a reply takes minutes, stopped by every key that does; and what is typed
/// meanwhile.
pub fn stops(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    const SHAPE: Config = Config {
        vocab_size: 4096,
        seq_len: 2048,
        ..fixtures::STORIES15M
    };
    const ENOUGH: usize = 60;
    let files = random_model(suite, boot, &SHAPE)?;
    let config = "display = \"text\"\r\ntemperature = 0\r\nsteps = 0\r\n";
    let image = boot.image(suite, config, &files)?;
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;

    // The first story has begun by itself.
    dialog.begun_at("Context: ")?;
    let (_, first) = dialog.stop(ENOUGH, &|guest| guest.send(b"\x1b"))?;
    dialog.keys("Kalo mi\r")?;
    let (kalo, second) = dialog.stop(ENOUGH, &|guest| guest.send(b"\x03"))?;
    dialog.keys("Neru\r")?;
    let (_, third) = dialog.stop(ENOUGH, &|guest| guest.press("esc"))?;

    // A second question while the first is answered, by hands on both keyboards.
    dialog.keys("Sati\r")?;
    dialog.comes(ENOUGH)?;
    dialog.keys("Vowe ")?;
    std::thread::sleep(Duration::from_millis(300));
    dialog.guest.type_text("yabi\n")?;
    dialog.keys("\x1b")?;
    dialog.begun_at("> Vowe yabi")?;
    let (vowe, _) = dialog.stop(ENOUGH, &|guest| guest.send(b"\x1b"))?;

    // A key that is held down: a keyboard repeats it thirty times a second.
    const HELD: usize = 60;
    dialog.keys("Hu\r")?;
    dialog.comes(ENOUGH)?;
    for _ in 0..HELD {
        dialog.guest.hold("h")?;
        std::thread::sleep(Duration::from_millis(33));
    }
    dialog.guest.release("h")?;
    dialog.keys("\x1b")?;
    dialog.typed(&"h".repeat(HELD))?;
    dialog.keys("\x15")?;
    dialog.typed("")?;
    dialog.expect("/save", "Saved 12 messages as CHAT0001.JSL")?;
    dialog.leave("/exit")?;
    drop(dialog);

    // What was said stays.
    let said = messages(suite, boot, "CHAT0001.JSL")?;
    let asked: Vec<&str> = said.iter().step_by(2).map(String::as_str).collect();
    ensure!(
        asked == ["", "Kalo mi", "Neru", "Sati", "Vowe yabi", "Hu"],
        "it was asked {asked:?}"
    );
    for (reply, place) in [(&kalo, 3), (&vowe, 9)] {
        let (told, kept) = (printable(&reply.text), printable(&said[place]));
        ensure!(told == kept, "told:\n{told}\nand kept:\n{kept}");
    }
    let mut took = [first, second, third].map(|took| took.as_secs_f64());
    took.sort_by(f64::total_cmp);
    // The other boot beside this one may have both of the host's cores.
    ensure!(
        took[1] < 1.0 && took[2] < 3.0,
        "it took {took:.2?} s to stop"
    );
    let rate = vowe.summary.split(", ").nth(1).unwrap_or_default();
    Ok(Some(format!("stopped after {took:.2?} s, at {rate}")))
}

/// Hands type a line and Esc while a model makes a token or two: keys that are looked at all at
/// once are still single keys, and Return sends its line.
pub fn slow(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    const HANDS: Duration = Duration::from_millis(110);
    let files = random_model(suite, boot, &fixtures::STORIES15M)?;
    let config = "display = \"text\"\r\ntemperature = 0\r\nsteps = 0\r\n\
        kernels = \"scalar\"\r\nthreads = 1\r\n";
    let image = boot.image(suite, config, &files)?;
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;
    dialog.begun_at("Context: ")?;
    dialog.comes(20)?;
    for key in "Kalo mi\r\x1bx\x7f".chars() {
        dialog.keys(&key.to_string())?;
        std::thread::sleep(HANDS);
    }
    dialog.begun_at("> Kalo mi")?;
    let (kalo, took) = dialog.stop(20, &|guest| guest.send(b"\x1b"))?;
    dialog.leave("/exit")?;
    let rate = kalo.summary.split(", ").nth(1).unwrap_or_default();
    Ok(Some(format!(
        "stopped after {:.2} s, at {rate}",
        took.as_secs_f64()
    )))
}

/// Four thousand characters at once with and without a terminal's marks, and two thousand of a key
/// that is held down.
pub fn pastes(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    const SHAPE: Config = Config {
        dim: 32,
        hidden_dim: 64,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 4,
        vocab_size: 512,
        seq_len: 8192,
        ..fixtures::STORIES15M
    };
    const LONG: usize = 4000;
    let files = random_model(suite, boot, &SHAPE)?;
    let config = "display = \"text\"\r\ntemperature = 0\r\nsteps = 16\r\n";
    let image = boot.image(suite, config, &files)?;
    // No two rows of it are alike.
    let mut text = String::new();
    for row in 0.. {
        let rest = LONG - text.chars().count();
        let line =
            format!("{row}: Ünïcode – 日本, and the quick brown fox jumps over it;\t{row}\n");
        text.extend(line.chars().take(rest));
        if rest <= line.chars().count() {
            break;
        }
    }
    let text = text.trim_end_matches('\n').to_owned() + "!";
    let held = "x".repeat(2000);
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;
    dialog.prompt()?;
    let mut took = Vec::new();
    let typed = text.replace('\n', "\r");
    for paste in [
        format!("\x1b[200~{typed}\x1b[201~\r"),
        format!("{typed}\r"),
        format!("{held}\r"),
    ] {
        let start = Instant::now();
        dialog.keys(&paste)?;
        dialog.prompt()?;
        took.push(start.elapsed().as_secs_f64());
    }
    // A whole one while a reply comes.
    dialog.expect("/max 0", "a reply is as long as the context holds\n")?;
    dialog.keys("Once\r")?;
    dialog.comes(10)?;
    dialog.keys(&format!("\x1b[200~{typed}\x1b[201~"))?;
    std::thread::sleep(Duration::from_secs(1));
    dialog.keys("\x1b")?;
    dialog.shows(", stopped, ")?;
    let last = text.rsplit('\n').next().unwrap_or_default().to_owned();
    dialog.shows(last.rsplit('\t').next().unwrap_or_default())?;
    dialog.keys("\x15")?;
    dialog.keys("\x03")?;
    dialog.shows("Ctrl-Y brings the line back")?;
    dialog.prompt()?;
    dialog.expect("/save", "Saved 10 messages as CHAT0001.JSL")?;
    dialog.leave("/exit")?;
    drop(dialog);
    let said = messages(suite, boot, "CHAT0001.JSL")?;
    for (place, want) in [(2, &text), (4, &text), (6, &held)] {
        let kept = &said[place];
        let same = kept.chars().zip(want.chars()).take_while(|(a, b)| a == b);
        ensure!(
            kept == want,
            "of {} characters {} came, the first {} as they were",
            want.chars().count(),
            kept.chars().count(),
            same.count()
        );
    }
    Ok(Some(format!("taken in {took:.1?} s")))
}

/// Characters that are elsewhere on a German keyboard, or nowhere on a US one.
pub fn german(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = "display = \"text\"\r\nkeyboard = \"de\"\r\ntemperature = 0\r\nsteps = 16\r\n";
    let image = boot.image(suite, config, &[])?;
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;
    dialog.prompt()?;
    // By the keys' names on a US keyboard.
    dialog.guest.type_text("Yzz [;'-")?;
    dialog.typed("Zyy üöäß")?;
    let alt_gr = |guest: &Guest, key: &str| guest.press_together(&["alt_r".into(), key.into()]);
    alt_gr(&dialog.guest, "q")?;
    alt_gr(&dialog.guest, "e")?;
    // The accent waits for its letter.
    dialog.guest.type_text("@=e")?;
    dialog.typed("Zyy üöäß@€\"é")?;
    for key in ["home", "delete", "end", "left", "backspace"] {
        dialog.guest.press_together(&[key.into()])?;
    }
    dialog.typed("yy üöäß@€é")?;
    dialog.guest.press("ret")?;
    let said = dialog.prompt()?;
    ensure!(said.contains("\nyy üöäß@€é"), "it told {said:?}");
    // And Esc stops.
    dialog.expect("/max 0", "a reply is as long as the context holds\n")?;
    dialog.guest.type_text("Tim found a kez\n")?;
    let (told, took) = dialog.stop(20, &|guest| guest.press("esc"))?;
    let whole = suite.host(&["-t", "0", "-n", "0", "-i", "Tim found a key"])?;
    ensure!(
        whole.starts_with(told.text.trim_end()),
        "not the beginning of the story: {}",
        told.text
    );
    dialog.leave("/exit")?;
    Ok(Some(format!("stopped after {:.2} s", took.as_secs_f64())))
}
