//! The boots: what the application does on a machine, told from its serial line, screen and disk.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use llama2_engine::layout::Encoding;
use llama2_testing::family;
use xtask::{
    image::{self, Content, From},
    qemu::{Accel, Guest, Machine},
    shell::{check, root},
};

use crate::{
    Check,
    boot::{Boot, PATIENCE, Suite},
    chat, fixtures,
    hands::Hands,
};

/// All of them, by name.
pub const BOOTS: [(&str, Check); 30] = [
    (
        "boot: a conversation with SmolLM2, text as on the host",
        chat::real_model,
    ),
    (
        "boot: random stories15M, text as on the host",
        random_stories15m,
    ),
    ("boot: stories260K, golden text", stories260k),
    (
        "boot: a Q4_0 GGUF file with its own tokenizer, text as on the host",
        gguf,
    ),
    (
        "boot: Qwen2's shape in two GGUF files, text as on the host",
        split,
    ),
    (
        "boot: no AVX (-cpu qemu64), text as on the host",
        without_avx,
    ),
    ("boot: one processor", one_processor),
    ("boot: 128 MiB", little_memory),
    ("boot: 440 MB of weights in 256 MiB", too_little_memory),
    ("boot: from the UEFI Shell with flags", shell),
    (
        "boot: three times from the UEFI Shell, which gets its memory back",
        shell_again,
    ),
    (
        "boot: files that cannot be opened are passed over",
        passed_over,
    ),
    ("boot: Esc on the serial line stops it", escape),
    ("boot: Esc on the keyboard stops it", keyboard),
    (
        "boot: the model on another volume, log written",
        other_volume,
    ),
    ("boot: chat", chat::chat),
    (
        "boot: chat in the model's own template, Q4_K and Q6_K",
        chat::own_template,
    ),
    (
        "boot: chat with thoughts, biases and a stop string",
        chat::thoughts,
    ),
    (
        "boot: chat without a template goes on from what is typed",
        chat::completion,
    ),
    ("boot: UTF-16 configuration with a typo", utf16_typo),
    ("boot: bad value in the configuration", bad_value),
    ("boot: a model cut short", cut_short),
    ("boot: not a model", not_a_model),
    ("boot: another model's tokenizer", other_tokenizer),
    ("boot: a model without its tokenizer", no_tokenizer),
    ("boot: a prompt longer than the context", long_prompt),
    ("boot: a folder in place of the model", folder),
    ("boot: a model that is not there", missing),
    (
        "boot: a disk that fails in the middle of the weights",
        failing_disk,
    ),
    (
        "boot: a SATA disk that fails without a word of the firmware",
        failing_sata,
    ),
];

fn random_stories15m(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let (model, tokenizer) = (
        suite.folder.join("random15M.bin"),
        suite.folder.join("words.bin"),
    );
    fixtures::random_checkpoint(&model, &fixtures::STORIES15M)?;
    fs::write(&tokenizer, fixtures::tokenizer(32_000))?;
    let names = [model.display().to_string(), tokenizer.display().to_string()];
    let want = suite.host(&[
        &names[0],
        "-z",
        &names[1],
        "-s",
        "5",
        "-n",
        "24",
        "-i",
        "Ünï mika",
    ])?;
    let files = [
        ("STORIES.BIN", From::File(model)),
        ("TOKENIZER.BIN", From::File(tokenizer)),
    ];
    let image = boot.image(
        suite,
        "exit = \"shutdown\"\nseed = 5\nsteps = 24\nprompt = \"Ünï mika\"",
        &files,
    )?;
    let told = boot.tells(&Machine::new(&image), &want)?;
    boot.says("Model config: dim=288, n_layers=6, n_heads=6, vocab=32000")?;
    boot.says("Read 60816028 bytes")?;
    Ok(told)
}

fn gguf(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let model = suite.folder.join("q4_0.gguf");
    let bundled = root().join("models/stories330K.bin");
    check(
        Command::new(&suite.llama2)
            .arg("quantize")
            .args([&bundled, &model])
            .args(["--type", "q4_0"]),
    )?;
    let name = model.display().to_string();
    let want = suite.host(&[&name, "-t", "0", "-n", "64", "-i", "Ben saw"])?;
    // A tokenizer that lies beside a GGUF file is another model's.
    let files = [
        ("MODELS/Ben.gguf", From::File(model)),
        (
            "MODELS/TOKENIZER.BIN",
            From::Bytes(fixtures::tokenizer(512)),
        ),
    ];
    let config = "exit = \"shutdown\"\ntemperature = 0\nsteps = 64\nprompt = \"Ben saw\"";
    let image = boot.image(suite, config, &files)?;
    let told = boot.tells(&Machine::new(&image), &want)?;
    boot.says("the model's own")?;
    Ok(told)
}

/// Qwen2's shape in miniature, in two files, with keys and values in blocks.
fn split(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let family = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let family = family.context("there is a Qwen2 among the families")?;
    let mut file = family.make(7, &|_| Encoding::Q8_0);
    file.speak();
    let folder = suite.folder.join("split");
    fs::create_dir_all(&folder)?;
    let names = ["made-00001-of-00002.gguf", "made-00002-of-00002.gguf"];
    for (name, part) in names.iter().zip(file.split(2)) {
        fs::write(folder.join(name), part)?;
    }
    let first = folder.join(names[0]).display().to_string();
    let args = [
        &first,
        "--kv",
        "q8_0",
        "-s",
        "5",
        "-n",
        "32",
        "-i",
        "Three tins",
    ];
    let want = suite.host(&args)?;
    ensure!(
        want.starts_with("Three tins") && want.len() > 40,
        "the model says too little: {want:?}"
    );
    let files = [
        (
            "MODELS/made-00001-of-00002.gguf",
            From::File(folder.join(names[0])),
        ),
        (
            "MODELS/made-00002-of-00002.gguf",
            From::File(folder.join(names[1])),
        ),
    ];
    let config =
        "exit = \"shutdown\"\nseed = 5\nsteps = 32\nprompt = \"Three tins\"\nkv = \"q8_0\"";
    let image = boot.image(suite, config, &files)?;
    boot.tells(&Machine::new(&image), &want)
}

fn stories260k(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let (model, tokenizer) = (
        suite.reference.join("stories260K.bin"),
        suite.reference.join("tok512.bin"),
    );
    let Ok(want) = fs::read_to_string(suite.reference.join("greedy_once.txt")) else {
        boot.skip = Some(format!(
            "{} is not there (set LLAMA2_REFERENCE)",
            suite.reference.display()
        ));
        return Ok(None);
    };
    let files = [
        ("MODELS/stories260K.bin", From::File(model)),
        ("models/tokenizer.bin", From::File(tokenizer)),
    ];
    let config = "exit = \"shutdown\"\ntemperature = 0\nprompt = \"Once upon a time\"";
    let image = boot.image(suite, config, &files)?;
    let told = boot.tells(&Machine::new(&image), &want)?;
    boot.says("Top token: 403 (logit=17.0235)")?;
    Ok(told)
}

const GREEDY: &str =
    "exit = \"shutdown\"\ntemperature = 0\nsteps = 120\nprompt = \"Tim found a key\"";

fn greedy(suite: &Suite) -> Result<String> {
    suite.host(&["-t", "0", "-n", "120", "-i", "Tim found a key"])
}

fn without_avx(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, GREEDY, &[])?;
    let machine = Machine {
        cpu: "qemu64".into(),
        ..Machine::new(&image)
    };
    let told = boot.tells(&machine, &greedy(suite)?)?;
    ensure!(!boot.serial.contains("AVX"), "there is no AVX");
    Ok(told)
}

fn one_processor(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    // float32 this time.
    let files = [
        ("STORIES.BIN", From::File(suite.models("stories330K.bin"))),
        ("TOKENIZER.BIN", From::File(suite.models("tokenizer.bin"))),
    ];
    let image = boot.image(suite, GREEDY, &files)?;
    let want = suite.host_f32(&["-t", "0", "-n", "120", "-i", "Tim found a key"])?;
    let told = boot.tells(
        &Machine {
            cpus: 1,
            ..Machine::new(&image)
        },
        &want,
    )?;
    boot.says("1 of 1 used (there are no others)")?;
    Ok(told)
}

fn little_memory(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, GREEDY, &[])?;
    boot.tells(
        &Machine {
            memory: 128,
            ..Machine::new(&image)
        },
        &greedy(suite)?,
    )
}

fn too_little_memory(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let (model, tokenizer) = (
        suite.folder.join("hollow110M.bin"),
        suite.folder.join("words2.bin"),
    );
    fixtures::hollow_checkpoint(&model, &fixtures::STORIES110M)?;
    fs::write(&tokenizer, fixtures::tokenizer(32_000))?;
    let files = [
        ("STORIES.BIN", From::File(model)),
        ("TOKENIZER.BIN", From::File(tokenizer)),
    ];
    let image = boot.image(suite, "exit = \"shutdown\"", &files)?;
    let error = boot.refused(
        &Machine {
            memory: 256,
            ..Machine::new(&image)
        },
        // With a context of 256, the shortest that it would be run with.
        "needs 444 MiB, ",
    )?;
    ensure!(
        !boot.serial.contains("Loading"),
        "it began to read the weights"
    );
    Ok(error)
}

fn shell(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let mut content = Content::default();
    content.file("LLAMA2.EFI", &suite.efi);
    // The command line wins over this.
    content.bytes(
        "LLAMA2.CFG",
        "temperature = 1.0\nsteps = 5\nexit = \"key\"\n",
    );
    content.bytes(
        "startup.nsh",
        "fs0:\r\nllama2.efi -t 0 -n 120 -i \"Tim found a key\" --exit shutdown\r\n",
    );
    let image = boot.image_of(suite, &content, "")?;
    boot.tells(&Machine::new(&image), &greedy(suite)?)
}

fn shell_again(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let mut content = Content::default();
    content.file("LLAMA2.EFI", &suite.efi);
    let run = "llama2.efi -t 0 -n 20 --threads 2 --exit";
    content.bytes(
        "startup.nsh",
        format!("fs0:\r\n{run} return\r\nmemmap\r\n{run} return\r\nmemmap\r\n{run} shutdown\r\n"),
    );
    let image = boot.image_of(suite, &content, "")?;
    let mut guest = Machine::new(&image).start(Accel::Tcg)?;
    let ended = |text: &str| (text.matches("\nllama2: exit 0\n").count() == 3).then_some(());
    if let Err(end) = guest.wait(PATIENCE, ended) {
        return boot.ended(&guest, end).map(|_| None);
    }
    boot.serial.clone_from(&guest.text);
    let summaries = boot.serial.lines().filter(|line| {
        line.trim_start().starts_with("LoaderData") || line.trim_start().starts_with("BS_Data")
    });
    let pages: Vec<u64> = summaries
        .filter_map(|line| {
            let (number, _) = line.split_once(':')?.1.split_once("Pages")?;
            number.trim().replace(',', "").parse().ok()
        })
        .collect();
    let [one, two, three, four] = pages[..] else {
        anyhow::bail!("what memmap says of two kinds of memory, twice: {pages:?}")
    };
    // A stack has 16 pages.
    ensure!(
        one.abs_diff(three) < 8 && two.abs_diff(four) < 8,
        "pages: {pages:?}"
    );
    Ok(Some(format!("pages of two kinds, twice: {pages:?}")))
}

/// A name that the firmware's driver refuses, a model in pieces of which one is missing, and one
/// that is none: with `exit` set a story is told all the same.
fn passed_over(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let files = [
        ("A-00001-of-00002.gguf", From::Bytes(b"GGUF".to_vec())),
        ("Bzzzz.gguf", From::Bytes(b"GGUF".to_vec())),
        ("C.gguf", From::Bytes(b"no model".to_vec())),
        (
            "MODELS/MODEL.BIN",
            From::File(suite.models("stories330K.bin")),
        ),
        (
            "MODELS/TOKENIZER.BIN",
            From::File(suite.models("tokenizer.bin")),
        ),
    ];
    let image = boot.image(suite, GREEDY, &files)?;
    // The long name's first letters as its folder has them, of which the second becomes a control
    // character.
    let mut disk = fs::read(&image)?;
    let name: Vec<u8> = "Bzzzz".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let at = disk.windows(name.len()).position(|window| window == name);
    disk[at.context("the name is in the image")? + 2] = 1;
    fs::write(&image, disk)?;
    let want = suite.host_f32(&["-t", "0", "-n", "120", "-i", "Tim found a key"])?;
    let told = boot.tells(&Machine::new(&image), &want)?;
    for words in [
        "warning: passing over \\A-00002-of-00002.gguf on the boot volume: no such file",
        "warning: passing over \\C.gguf on the boot volume: ",
        "Model: \\MODELS\\MODEL.BIN on the boot volume",
    ] {
        boot.says(words)?;
    }
    let passed = boot.serial.matches("warning: passing over ").count();
    ensure!(passed == 3, "{passed} warnings");
    Ok(told)
}

/// Boots to the middle of a story, presses Esc there, and sees it end at once.
pub fn stop(
    suite: &Suite,
    boot: &mut Boot,
    config: &str,
    press: fn(&mut Guest) -> Result<()>,
) -> Result<Option<String>> {
    let image = boot.image(
        suite,
        &format!("exit = \"key\"\nsteps = 0\ntemperature = 0\n{config}\n"),
        &[],
    )?;
    let mut guest = Machine::new(&image).start(Accel::Tcg)?;
    let begun = guest.wait(PATIENCE, |text| {
        Some(text.split_once(" tokens:\n")?.1.len()).filter(|&len| len > 5)
    });
    if let Err(end) = begun {
        return boot.ended(&guest, end).map(|_| None);
    }
    press(&mut guest)?;
    let start = Instant::now();
    let done = guest.wait(PATIENCE, |text| {
        text.contains("\nStopped by a key.\nDone! Press any key")
            .then_some(())
    });
    let took = start.elapsed();
    // Esc is known from the beginning of a longer key after 50 ms.
    ensure!(took < Duration::from_secs(3), "it took {took:?} to stop");
    guest.send(b"\r")?;
    let end = if let Err(end) = done {
        end
    } else {
        guest.end(PATIENCE)
    };
    let status = boot.ended(&guest, end)?;
    ensure!(status == 0, "status {status}");
    let whole = suite.host(&["-t", "0", "-n", "0"])?;
    let told = boot.story()?.trim_end();
    ensure!(
        whole.starts_with(told) && told.len() + 10 < whole.len(),
        "not the beginning of the story: {told}"
    );
    Ok(Some(format!("stopped after {:.2} s", took.as_secs_f64())))
}

fn escape(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    stop(suite, boot, "", |guest| guest.send(b"\x1b"))
}

fn keyboard(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    stop(suite, boot, "", |guest| guest.press("esc"))
}

fn other_volume(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let mut models = Content::default();
    models.file("MODELS/MODEL.BIN", &suite.models("stories330K.bin"));
    models.file("MODELS/TOKEN.BIN", &suite.models("tokenizer.bin"));
    let second = boot.image_of(suite, &models, "-models")?;
    let image = boot.image(suite, &format!("{GREEDY}\nlog = true\n"), &[])?;
    let mut machine = Machine::new(&image);
    machine.disks.push(second);
    let want = suite.host_f32(&["-t", "0", "-n", "120", "-i", "Tim found a key"])?;
    let told = boot.tells(&machine, &want)?;
    boot.says("Model: \\MODELS\\MODEL.BIN on volume 2 (LLAMA2)")?;
    let log = String::from_utf8(image::read_back(&image, "LLAMA2.LOG").context("LLAMA2.LOG")?)?;
    for words in [
        "---- llama2.efi 0.",
        "  memory ",
        "Model config: dim=64",
        "Generating 120 tokens:\r\n",
        "achieved tok/s",
        "llama2: exit 0\r\n",
    ] {
        ensure!(log.contains(words), "{words:?} is not in the log:\n{log}");
    }
    Ok(told)
}

fn utf16_typo(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let text = format!("temprature = 1\r\n{}\r\n", GREEDY.replace('\n', "\r\n"));
    let bytes: Vec<u8> = [0xfeff]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let image = boot.image(suite, "", &[("LLAMA2.CFG", From::Bytes(bytes))])?;
    boot.tells(&Machine::new(&image), &greedy(suite)?)?;
    boot.says(
        "warning: LLAMA2.CFG on the boot volume: the key \"temprature\" is unknown and was \
         ignored; did you mean \"temperature\"?",
    )?;
    Ok(None)
}

fn bad_value(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    // What can be understood of it still says how to end.
    let image = boot.image(suite, "exit = \"shutdown\"\nsteps = \"many\"\n", &[])?;
    boot.refused(
        &Machine::new(&image),
        "LLAMA2.CFG on the boot volume: steps = \"many\" is not valid: it must be a whole number, \
         0 or more; correct that line",
    )
}

/// The configuration of a boot with one model, which ends in any case.
pub const SHUTDOWN: &str = "exit = \"shutdown\"\nmodel = \"MODEL.BIN\"\n";

fn cut_short(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let bytes = suite.read("stories330K.bin")?[..1_000_000].to_vec();
    let image = boot.image(suite, SHUTDOWN, &[("MODEL.BIN", From::Bytes(bytes))])?;
    boot.refused(
        &Machine::new(&image),
        "MODEL.BIN on the boot volume: needs 1330460 bytes for dim 64, 6 layers, vocab 512, but \
         the file has 1000000: it is cut short",
    )
}

fn not_a_model(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(
        suite,
        SHUTDOWN,
        &[("MODEL.BIN", From::Bytes(vec![0xff; 5000]))],
    )?;
    boot.refused(
        &Machine::new(&image),
        "is neither a GGUF file nor a llama2.c checkpoint, or its header is damaged: dim is -1",
    )
}

fn other_tokenizer(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let files = [
        ("MODEL.BIN", From::File(suite.models("stories330K.bin"))),
        ("TOKEN.BIN", From::Bytes(fixtures::tokenizer(500))),
    ];
    let image = boot.image(suite, SHUTDOWN, &files)?;
    boot.refused(
        &Machine::new(&image),
        "has 500 tokens, but the model has 512",
    )
}

/// What the program carries has its own tokenizer inside, which is nobody else's.
fn no_tokenizer(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let files = [("MODEL.BIN", From::File(suite.models("stories330K.bin")))];
    let image = boot.image(suite, SHUTDOWN, &files)?;
    boot.refused(
        &Machine::new(&image),
        "MODEL.BIN on the boot volume: no tokenizer goes with it: neither TOKENIZER.BIN nor \
         TOKEN.BIN is in its folder, \\ or \\MODELS; copy the model's own to the volume, or name \
         it in LLAMA2.CFG",
    )
}

fn long_prompt(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = format!(
        "exit = \"shutdown\"\nprompt = \"{}\"",
        "the cat and the dog ".repeat(200)
    );
    let image = boot.image(suite, &config, &[])?;
    boot.refused(
        &Machine::new(&image),
        "but the model's context has room for 512",
    )
}

fn folder(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, SHUTDOWN, &[("MODEL.BIN", From::Folder)])?;
    boot.refused(&Machine::new(&image), "is a folder, not a file")
}

fn missing(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, SHUTDOWN, &[])?;
    boot.refused(
        &Machine::new(&image),
        "MODEL.BIN: no such file (looked on the boot volume)",
    )
}

/// Boots from a disk of which QEMU's blkdebug fails every read of one sector in the middle of the
/// weights.
fn fails_to_read(suite: &Suite, boot: &mut Boot, sata: bool) -> Result<Option<String>> {
    let model = suite.read("stories330K.bin")?;
    let files = [
        ("MODEL.BIN", From::Bytes(model.clone())),
        ("TOKEN.BIN", From::File(suite.models("tokenizer.bin"))),
    ];
    let image = boot.image(suite, SHUTDOWN, &files)?;
    let middle = &model[1_200_128..1_200_128 + 512];
    let disk = fs::read(&image)?;
    let at = disk.windows(512).position(|window| window == middle);
    let at = at.context("the weights are in the image")?;
    let rules = image.with_extension("blkdebug");
    let rule = "[inject-error]\nevent = \"read_aio\"\nerrno = \"5\"\n";
    fs::write(&rules, format!("{rule}sector = \"{}\"\n", at / 512))?;
    let machine = Machine {
        blkdebug: Some(rules),
        sata,
        ..Machine::new(&image)
    };
    let error = boot.refused(
        &machine,
        "MODEL.BIN on the boot volume: reading failed at byte ",
    )?;
    boot.says("Loading [#")?;
    Ok(error)
}

fn failing_disk(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    fails_to_read(suite, boot, false)
}

/// EDK2's AHCI driver calls a failed read a success.
fn failing_sata(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    fails_to_read(suite, boot, true)
}
