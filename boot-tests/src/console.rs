//! The boots about the console: whole sessions over the serial line, the menu of models, and files
//! on volumes that will not take them.

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use llama2_engine::config::Config;
use xtask::{
    image::{self, Content, From},
    qemu::{Accel, End, Machine},
};

use crate::{
    Check,
    boot::{Boot, PATIENCE, Suite},
    dialog::{Dialog, Reply, printable},
    fixtures,
    hands::Hands,
    keys,
};

/// All of them, by name: the longest first.
pub const BOOTS: [(&str, Check); 11] = [
    ("console: a session over serial, with a reboot", session),
    ("console: the menu of models at boot", menu),
    ("console: Esc and Ctrl-C stop a slow model", keys::stops),
    ("console: long pastes and a held key", keys::pastes),
    ("console: hands type while a token is made", keys::slow),
    ("console: a German keyboard", keys::german),
    ("console: a read-only volume", read_only),
    ("console: a volume that is full, then gone", full_then_gone),
    ("console: firmware that renames no file", no_rename),
    ("console: nothing but the application", bare),
    ("console: one story where exit is set", one_story),
];

/// Firmware looks at its USB ports once a second.
const USB: Duration = Duration::from_secs(3);

/// Words that mean a story's end.
const INVITATION: &str = "Type how the next story begins, or press Return for any story.";

/// The random seed that a story at boot was told from is not shown: `/info` tells it.
fn seed(info: &str) -> Result<&str> {
    let row = info
        .lines()
        .find_map(|row| row.trim().strip_prefix("seed "))
        .context("/info tells no seed")?;
    row.split_whitespace().next().context("a number")
}

/// The story that a model tells by itself once it is loaded.
fn first_story(said: &str) -> Result<Reply> {
    let (_, rest) = said.rsplit_once("\nContext: ").context("a context")?;
    let (_, story) = rest.split_once('\n').context("a line about the context")?;
    Reply::of(story)
}

/// One file is enough: no configuration and no model. A story, a prompt, and the way out.
fn bare(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, "", &[])?;
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;
    let begun = dialog.prompt()?;
    let info = dialog.say("/info")?;
    let seed = seed(&info)?.to_owned();
    dialog.leave("/exit")?;
    for words in ["llama2.efi 0.", "Model: stories7M", INVITATION] {
        ensure!(begun.contains(words), "it does not say {words:?}");
    }
    // The seed that it drew gives the same story on the host.
    first_story(&begun)?.is(&suite.host(&["-s", &seed, "-n", "512"])?)?;
    Ok(Some(format!("seed {seed}")))
}

/// With `exit` set, one story as ever.
fn one_story(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, "exit = \"key\"\nseed = 4\nsteps = 60\n", &[])?;
    let mut guest = Machine::new(&image).start(Accel::Tcg)?;
    let asked = guest.wait(PATIENCE, |text| {
        let asked = "\nDone! Press any key to exit.\n";
        text.contains(asked).then_some(())
    });
    if let Err(end) = asked {
        return boot.ended(&guest, end).map(|_| None);
    }
    // It waits.
    let early = guest.end(Duration::from_secs(2));
    guest.send(b"x")?;
    let end = guest.end(PATIENCE);
    let status = boot.ended(&guest, end)?;
    ensure!(early == End::Timeout, "it did not wait for a key");
    ensure!(status == 0, "status {status}");
    for words in [
        "Running forward pass (token=1, pos=0)...",
        "Top token: 420 (logit=12.8170)",
        "Generating 60 tokens:",
    ] {
        boot.says(words)?;
    }
    let want = suite.host(&["-s", "4", "-n", "60"])?;
    ensure!(boot.story()? == want, "it told another story than\n{want}");
    Ok(None)
}

/// A second model beside the usual one: llama2.c's smallest where it is at hand, else one of its
/// shape with random weights.
fn second_model(suite: &Suite) -> Result<(PathBuf, PathBuf, Option<String>)> {
    let (model, tokenizer) = (
        suite.reference.join("stories260K.bin"),
        suite.reference.join("tok512.bin"),
    );
    if model.exists() && tokenizer.exists() {
        return Ok((model, tokenizer, None));
    }
    const SHAPE: Config = Config {
        dim: 64,
        hidden_dim: 172,
        n_layers: 5,
        n_heads: 8,
        n_kv_heads: 4,
        vocab_size: 512,
        seq_len: 512,
        ..fixtures::STORIES15M
    };
    let (model, tokenizer) = (
        suite.folder.join("second.bin"),
        suite.folder.join("second-words.bin"),
    );
    fixtures::random_checkpoint(&model, &SHAPE)?;
    fs::write(&tokenizer, fixtures::tokenizer(512))?;
    let why = format!(
        "SKIPPED with stories260K, which is not in {} (set LLAMA2_REFERENCE): a model of its \
         shape instead",
        suite.reference.display()
    );
    Ok((model, tokenizer, Some(why)))
}

const HOME: &str = "\x1b[H";
const END: &str = "\x1b[F";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";
const LEFT: &str = "\x1b[D";
const DELETE: &str = "\x1b[3~";

/// Types, edits, recalls, sets, switches, saves, starts the machine anew, and finds its
/// conversation.
fn session(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let (other, words, note) = second_model(suite)?;
    let files = [
        ("stories260K.bin", From::File(other.clone())),
        ("TOKEN.BIN", From::File(words.clone())),
        (
            "MODELS/STORIES.BIN",
            From::File(suite.models("stories330K.bin")),
        ),
        (
            "MODELS/TOKENIZER.BIN",
            From::File(suite.models("tokenizer.bin")),
        ),
    ];
    let config = "# ours\r\ndisplay = \"text\"\r\nseed = 3\r\nsteps = 24\r\n";
    let image = boot.image(suite, config, &files)?;
    let host = |seed: &str, temperature: &str, opening: &str| {
        let flags = ["-s", seed, "-t", temperature, "-n", "32", "-i", opening];
        suite.host_f32(&flags)
    };
    let other = [
        other.display().to_string(),
        "-z".into(),
        words.display().to_string(),
    ];
    let host_other = |flags: &[&str]| {
        let other = other.iter().map(String::as_str);
        suite.host(&other.chain(flags.iter().copied()).collect::<Vec<_>>())
    };
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;

    // A menu, because there are three; the second is taken.
    dialog.shows("loading this one in")?;
    dialog.keys(DOWN)?;
    dialog.shows("> MODELS\\STORIES.BIN")?;
    dialog.keys("\r")?;
    let begun = dialog.prompt()?;
    let told = begun.split("\nContext: ").last().unwrap_or_default();
    let told = told
        .split_once('\n')
        .context("the line about the context")?;
    Reply::of(told.1)?.is(&suite.host_f32(&["-s", "3", "-n", "24"])?)?;
    ensure!(begun.contains(INVITATION), "no invitation");

    dialog.expect("/temp 0.7", "temperature 0.7\n")?;
    dialog.expect("/seed 7", "seed 7\n")?;
    dialog.expect("/max 32", "a reply has at most 32 tokens\n")?;

    // A line that has to be mended, at both its ends and in its middle.
    dialog.keys("im fond ax keyz")?;
    dialog.typed("im fond ax keyz")?;
    dialog.keys("\x7f")?;
    dialog.keys(HOME)?;
    dialog.keys("T")?;
    dialog.keys(END)?;
    dialog.keys(&LEFT.repeat(5))?;
    dialog.keys(DELETE)?;
    dialog.keys("\x1bb\x1bb")?;
    dialog.keys("\x1b[C\x1b[Cu")?;
    dialog.typed("Tim found a key")?;
    let told = dialog.enter()?;
    let seventh = host("7", "0.7", "Tim found a key")?;
    Reply::of(&told)?.is(&seventh)?;
    // The same again, out of the history.
    dialog.keys(UP)?;
    dialog.typed("Tim found a key")?;
    let again = dialog.enter()?;
    Reply::of(&again)?.is(&seventh)?;

    // Tab: a word, and a choice.
    dialog.keys("/te\t")?;
    dialog.typed("/temp ")?;
    let said = dialog.enter()?;
    ensure!(said.contains("temperature 0.7\n"), "/temp said {said:?}");
    dialog.keys("/to\t")?;
    dialog.shows("/top_p")?;
    dialog.typed("/top_")?;
    dialog.keys("\x15")?;
    dialog.typed("")?;

    dialog.expect(
        "/temp -1",
        "error: /temp -1 is not valid: it must be a number of 0 or more, such as /temp 0.8\n",
    )?;
    dialog.expect(
        "/sed 1",
        "error: /sed is not a command: did you mean /seed?\n",
    )?;
    dialog.expect("/seed 8", "seed 8\n")?;
    let eighth = host("8", "0.7", "Tim found a key")?;
    ensure!(eighth != seventh, "two seeds tell one story");
    dialog.ask("/retry")?.is(&eighth)?;
    dialog.expect("/undo", "Taken back: Tim found a key\n")?;

    // Another model by its name, and back by the menu.
    let said = dialog.say("/model 260")?;
    first_story(&said)?.is(&host_other(&["-s", "8", "-t", "0.7", "-n", "32"])?)?;
    dialog.keys("/model\r")?;
    dialog.shows("Esc cancels")?;
    dialog.keys(DOWN)?;
    dialog.shows("> MODELS\\STORIES.BIN")?;
    dialog.keys("\r")?;
    dialog.prompt()?;

    // A line of two rows.
    dialog.keys("Ben saw\\\r")?;
    dialog.until("second row", |terminal| {
        (terminal.row(terminal.cursor().0) == ". ").then_some(())
    })?;
    dialog.keys("a dog")?;
    let told = dialog.enter()?;
    let told = told.split_once('\n').context("a second row")?.1;
    let ben = host("8", "0.7", "Ben saw\na dog")?;
    Reply::of(told)?.is(&ben)?;

    dialog.expect(
        "/save",
        "Saved 4 messages as CHAT0001.JSL on the boot volume.\n",
    )?;
    let info = dialog.say("/info")?;
    for words in [
        "STORIES.BIN",
        "1330460 bytes",
        "temperature 0.7, top-p 0.9",
        "8 (given)",
        "firmware",
    ] {
        ensure!(
            info.contains(words),
            "/info does not tell {words:?}: {info}"
        );
    }
    ensure!(
        !info.contains(" to the first word"),
        "somebody was waited for: {info}"
    );
    dialog.expect("/help seed", "/seed [number | random]\n")?;
    dialog.expect(
        "/config",
        "Settings saved to LLAMA2.CFG on the boot volume.\n",
    )?;

    // The machine starts anew: the model without a menu, and its settings.
    let start = Instant::now();
    dialog.keys("/reboot\r")?;
    let begun = dialog.prompt()?;
    let rebooted = start.elapsed();
    ensure!(begun.contains("\nllama2: exit 0\n"), "it did not end well");
    ensure!(begun.contains("llama2.efi 0."), "there is no second banner");
    ensure!(!begun.contains("loading this one"), "there is a menu");
    first_story(&begun)?.is(&host("8", "0.7", "")?)?;
    for (command, said) in [
        ("/info", " to the first word\n"),
        ("/seed", "seed 8\n"),
        ("/temp", "temperature 0.7\n"),
        ("/max", "a reply has at most 32 tokens\n"),
        ("/load", "CHAT0001.JSL\n"),
        ("/load nothing", "error: there is no conversation "),
    ] {
        dialog.expect(command, said)?;
    }
    let said = dialog.say("/load chat0001")?;
    let shown = printable(&said);
    ensure!(
        shown.contains(&printable(ben.trim_end())),
        "the story is not there: {said}"
    );
    ensure!(
        said.contains("> Ben saw\n. a dog\n")
            && said
                .contains("CHAT0001.JSL: 4 messages. The conversation goes on, with its settings"),
        "/load said {said:?}"
    );
    // It goes on.
    dialog.ask("/retry")?.is(&ben)?;
    dialog.leave("/exit")?;
    drop(dialog);

    let config = String::from_utf8(image::read_back(&image, "LLAMA2.CFG")?)?;
    for line in ["# ours\r\n", "display = \"text\"\r\n", "seed = 8"] {
        ensure!(config.contains(line), "{line:?} is not in:\n{config}");
    }
    let saved = String::from_utf8(image::read_back(&image, "CHAT0001.JSL")?)?;
    ensure!(
        saved.lines().count() == 5
            && saved.contains(r#"{"role":"user","content":"Ben saw\na dog"}"#),
        "the conversation's file:\n{saved}"
    );
    let took = format!("up again after {:.0} s", rebooted.as_secs_f64());
    Ok(Some(match note {
        Some(note) => format!("{took}; {note}"),
        None => took,
    }))
}

/// Two that fit and one that does not: the first that fits is taken after ten seconds; keys choose
/// another.
fn menu(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let big = suite.folder.join("menu110M.bin");
    fixtures::hollow_checkpoint(&big, &fixtures::STORIES110M)?;
    let files = [
        ("STORIES0.BIN", From::File(big)),
        ("STORIES1.BIN", From::File(suite.models("stories330K.bin"))),
        ("TOKENIZER.BIN", From::File(suite.models("tokenizer.bin"))),
    ];
    let config = "display = \"text\"\r\nseed = 5\r\nsteps = 24\r\n";
    let image = boot.image(suite, config, &files)?;
    let machine = Machine {
        memory: 256,
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.shows("loading this one in 10 s")?;
    let start = Instant::now();
    dialog.shows("> STORIES1.BIN")?;
    dialog.shows(" (STORIES0.BIN")?;
    dialog.shows("needs 444 MiB, ")?;
    dialog.shows("loading this one in 3 s")?;
    // The menu is taken away before the model is named.
    dialog.shows("Model: \\STORIES1.BIN")?;
    let took = start.elapsed().as_secs_f64();
    ensure!(
        (9.0..14.0).contains(&took),
        "it was taken after {took:.1} s"
    );
    let begun = dialog.prompt()?;
    ensure!(
        begun.contains("Model: \\STORIES1.BIN on the boot volume"),
        "another model was taken"
    );
    let want = suite.host_f32(&["-s", "5", "-n", "24"])?;
    ensure!(begun.contains(want.trim_end()), "it told another story");

    // Again, with keys: what does not fit stands last, and no key comes to it.
    dialog.keys("/reboot\r")?;
    dialog.shows("loading this one in")?;
    dialog.keys(DOWN)?;
    dialog.shows("> stories7M (inside llama2.efi)")?;
    dialog.keys(UP)?;
    dialog.shows("> STORIES1.BIN")?;
    dialog.keys(DOWN)?;
    dialog.keys(DOWN)?;
    dialog.shows("> stories7M (inside llama2.efi)")?;
    dialog.keys("\r")?;
    let begun = dialog.prompt()?;
    ensure!(
        begun.contains("\nModel: stories7M (inside llama2.efi)\n") && !begun.contains("error: "),
        "the one inside was not taken:\n{begun}"
    );
    // One that is running does not stand in its own way, and the big one is refused by name too.
    dialog.expect("/model stories0", "error: STORIES0.BIN: needs 444 MiB, ")?;
    dialog.expect("/model bundled", "is already running.")?;
    dialog.leave("/exit")?;
    Ok(Some(format!("taken after {took:.1} s")))
}

/// A boot volume that cannot be written: another one is taken while there is one, and else it is
/// said.
fn read_only(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = "display = \"text\"\r\nseed = 5\r\nsteps = 24\r\n";
    let mut notes = Content::default();
    notes.bytes("NOTES.TXT", "nothing yet");
    let other = boot.image_of(suite, &notes, "-other")?;
    let image = boot.image(suite, config, &[])?;
    let machine = Machine {
        disks: vec![image, other.clone()],
        read_only: true,
        usb: true,
        ..Machine::new(&other)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.prompt()?;
    dialog.expect("/save", "Saved 2 messages as CHAT0001.JSL on volume 2")?;
    dialog.guest.unplug("drive1")?;
    std::thread::sleep(USB);
    let locked = "on the boot volume: it is write-protected; unlock it, or plug in another drive\n";
    dialog.expect(
        "/save",
        &format!("error: CHAT0001.JSL cannot be written {locked}"),
    )?;
    dialog.expect(
        "/config",
        &format!("error: LLAMA2.CFG cannot be written {locked}"),
    )?;
    let told = dialog.ask("Tim found a key")?;
    told.is(&suite.host(&["-s", "5", "-n", "24", "-i", "Tim found a key"])?)?;
    dialog.leave("\x04")?;
    drop(dialog);
    let saved = String::from_utf8(image::read_back(&other, "CHAT0001.JSL")?)?;
    ensure!(saved.lines().count() == 3, "the file:\n{saved}");
    Ok(None)
}

/// New files and old ones are written all the same, and nothing is left beside them.
fn no_rename(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = "display = \"text\"\nseed = 5\nsteps = 24\ntest = \"no-rename\"\n";
    let image = boot.image(suite, config, &[])?;
    let mut dialog = Dialog::start(boot, &Machine::new(&image))?;
    dialog.prompt()?;
    dialog.expect("/save", "Saved 2 messages as CHAT0001.JSL")?;
    dialog.ask("Tim found a key")?;
    dialog.expect("/save", "Saved 4 messages as CHAT0001.JSL")?;
    dialog.say("/temp 0.5")?;
    dialog.expect("/config", "LLAMA2.CFG")?;
    dialog.leave("/exit")?;
    drop(dialog);
    let saved = String::from_utf8(image::read_back(&image, "CHAT0001.JSL")?)?;
    ensure!(saved.lines().count() == 5, "the file:\n{saved}");
    let config = String::from_utf8(image::read_back(&image, "LLAMA2.CFG")?)?;
    ensure!(config.contains("temperature = 0.5"), "the file:\n{config}");
    for name in ["CHAT0001.TMP", "LLAMA2.TMP"] {
        ensure!(
            image::read_back(&image, name).is_err(),
            "{name} is on the volume"
        );
    }
    Ok(None)
}

/// A USB drive without a free byte, which is pulled out then.
fn full_then_gone(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = "display = \"text\"\r\nseed = 5\r\nsteps = 24\r\n";
    let image = boot.image(suite, config, &[])?;
    image::fill(&image)?;
    let machine = Machine {
        usb: true,
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.prompt()?;
    let story = suite.host(&["-s", "5", "-n", "24", "-i", "Tim found a key"])?;
    let full = "on the boot volume: it is full: ";
    dialog.expect(
        "/save",
        &format!("error: CHAT0001.JSL cannot be written {full}"),
    )?;
    dialog.expect(
        "/config",
        &format!("error: LLAMA2.CFG cannot be written {full}"),
    )?;
    dialog.expect("/load", "No conversation has been saved yet")?;
    dialog.ask("Tim found a key")?.is(&story)?;

    dialog.guest.unplug("drive0")?;
    std::thread::sleep(USB);
    let said = dialog.say("/save")?;
    ensure!(
        said.starts_with("error: ") && said.lines().count() == 1,
        "/save said {said:?}"
    );
    dialog.expect("/config", "error: LLAMA2.CFG ")?;
    dialog.ask("/retry")?.is(&story)?;
    dialog.leave("/exit")?;
    drop(dialog);
    let kept = String::from_utf8(image::read_back(&image, "LLAMA2.CFG")?)?;
    ensure!(kept == config, "the configuration is another one:\n{kept}");
    for name in ["CHAT0001.JSL", "CHAT0001.TMP", "LLAMA2.TMP"] {
        ensure!(
            image::read_back(&image, name).is_err(),
            "{name} is on the volume"
        );
    }
    Ok(Some(said.trim().to_owned()))
}
