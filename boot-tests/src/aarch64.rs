//! The boots of the other architecture: what is the same there, under EDK2's firmware and under
//! U-Boot's.

use std::{fs, process::Command, sync::OnceLock};

use anyhow::{Context, Result, ensure};
use xtask::{
    arch::AARCH64,
    build,
    image::From,
    qemu::{Accel, Firmware, Machine, Nic, NicNetwork, PROMPT, free_port},
    setup,
    shell::check,
};

use crate::{
    Check,
    application::SHUTDOWN,
    boot::{Boot, PATIENCE, Suite},
    dialog::Dialog,
    hands::Hands,
    network::{self, SERVING},
    pictures,
};

/// All of them, by name. The first is short, for everybody; all others are for continuous
/// integration and those who name them.
pub const BOOTS: [(&str, Check); 8] = [
    ("aarch64: a story, text as on the host", |suite, boot| {
        on(Firmware::Edk2, suite, boot, story)
    }),
    ("aarch64: AAVMF, stories260K, golden text", |suite, boot| {
        on(Firmware::Edk2, suite, boot, stories260k)
    }),
    (
        "aarch64: AAVMF, a Q4_K GGUF file, text as on the host",
        |suite, boot| on(Firmware::Edk2, suite, boot, gguf),
    ),
    ("aarch64: AAVMF, a session over serial", |suite, boot| {
        on(Firmware::Edk2, suite, boot, session)
    }),
    (
        "aarch64: AAVMF, full screen and a USB keyboard",
        |suite, boot| on(Firmware::Edk2, suite, boot, screen),
    ),
    ("aarch64: AAVMF, a model cut short", |suite, boot| {
        on(Firmware::Edk2, suite, boot, cut_short)
    }),
    (
        "aarch64: U-Boot, a story, text as on the host",
        |suite, boot| on(Firmware::UBoot, suite, boot, story),
    ),
    ("aarch64: U-Boot, a session over serial", |suite, boot| {
        on(Firmware::UBoot, suite, boot, u_boot_session)
    }),
];

/// The boots about several cores, which must have the host's for themselves.
pub const CORES: [(&str, Check); 7] = [
    ("aarch64: AAVMF, 1 processor", |suite, boot| {
        on(Firmware::Edk2, suite, boot, |suite, boot, machine| {
            cores(suite, boot, Machine { cpus: 1, ..machine })
        })
    }),
    ("aarch64: AAVMF, 2 processors", |suite, boot| {
        on(Firmware::Edk2, suite, boot, cores)
    }),
    ("aarch64: AAVMF, 2 processors at EL2", |suite, boot| {
        on(Firmware::Edk2, suite, boot, |suite, boot, machine| {
            cores(
                suite,
                boot,
                Machine {
                    el2: true,
                    ..machine
                },
            )
        })
    }),
    ("aarch64: AAVMF, 4 processors", |suite, boot| {
        on(Firmware::Edk2, suite, boot, |suite, boot, machine| {
            cores(suite, boot, Machine { cpus: 4, ..machine })
        })
    }),
    (
        "aarch64: AAVMF, a processor that does not come",
        |suite, boot| on(Firmware::Edk2, suite, boot, lost),
    ),
    ("aarch64: AAVMF, a panic on another core", |suite, boot| {
        on(Firmware::Edk2, suite, boot, panics)
    }),
    ("aarch64: U-Boot, 2 processors", |suite, boot| {
        on(Firmware::UBoot, suite, boot, cores)
    }),
];

/// A check on a machine that has no disk yet.
type OnMachine = fn(&Suite, &mut Boot, Machine) -> Result<Option<String>>;

/// Makes a check on a machine with this firmware, or skips it where there is none.
fn on(
    firmware: Firmware,
    suite: &Suite,
    boot: &mut Boot,
    check: OnMachine,
) -> Result<Option<String>> {
    static EDK2: OnceLock<Result<(), String>> = OnceLock::new();
    static U_BOOT: OnceLock<Result<(), String>> = OnceLock::new();
    let edk2 = EDK2.get_or_init(|| {
        let found = build::can_build(&AARCH64).and_then(|()| setup::for_boots(&AARCH64));
        found.map_err(|error| format!("{error:#}"))
    });
    let found = match (edk2, firmware) {
        (Ok(()), Firmware::UBoot) => {
            U_BOOT.get_or_init(|| setup::for_u_boot(&AARCH64).map_err(|error| format!("{error:#}")))
        }
        _ => edk2,
    };
    if let Err(why) = found {
        boot.skip = Some(why.clone());
        return Ok(None);
    }
    let machine = Machine {
        arch: &AARCH64,
        firmware,
        disks: Vec::new(),
        ..Machine::new("".as_ref())
    };
    check(suite, boot, machine)
}

/// Gives a machine its disk: the application, this configuration, and these files.
fn with_disk(
    machine: Machine,
    suite: &Suite,
    boot: &Boot,
    config: &str,
    files: &[(&str, From)],
) -> Result<Machine> {
    let image = boot.image_for(&AARCH64, suite, config, files)?;
    Ok(Machine {
        disks: vec![image],
        ..machine
    })
}

fn story(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let config = "exit = \"shutdown\"\nseed = 5\nsteps = 60\n";
    let machine = with_disk(machine, suite, boot, config, &[])?;
    let want = suite.host(&["-s", "5", "-n", "60"])?;
    if machine.firmware == Firmware::Edk2 {
        return boot.tells(&machine, &want);
    }
    let status = boot.run(&machine)?;
    ensure!(status == 0, "status {status}, not 0");
    same_words(boot.story()?, &want)?;
    Ok(None)
}

/// Compares texts, of which one was told on U-Boot's console: lines are broken there, as on any
/// screen.
fn same_words(told: &str, want: &str) -> Result<()> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(
        words(told) == words(want),
        "it told:\n{told}\nand not:\n{want}"
    );
    Ok(())
}

/// The host's text, by all cores together.
fn cores(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let cpus = machine.cpus;
    let config = format!("exit = \"shutdown\"\nseed = 5\nsteps = 16\nthreads = {cpus}\n");
    let machine = with_disk(machine, suite, boot, &config, &[])?;
    let want = suite.host(&["-s", "5", "-n", "16"])?;
    let status = boot.run(&machine)?;
    ensure!(status == 0, "status {status}, not 0");
    same_words(boot.story()?, &want)?;
    boot.says(&format!("{cpus} of {cpus} used"))?;
    boot.says(match cpus {
        1 => "tokens, 1 core)",
        2 => "tokens, 2 cores)",
        _ => "tokens, 4 cores)",
    })?;
    Ok(None)
}

/// The story is told without a core that was switched on and did not come.
fn lost(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let config = "exit = \"shutdown\"\nseed = 5\nsteps = 16\ntest = \"disabled\"\n";
    let machine = with_disk(machine, suite, boot, config, &[])?;
    let told = boot.tells(&machine, &suite.host(&["-s", "5", "-n", "16"])?)?;
    boot.says("1 of 2 used (the others did not come)")?;
    Ok(told)
}

/// A core other than the boot processor panics: its message, and the end.
fn panics(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let config = "exit = \"shutdown\"\nthreads = 2\ntest = \"panic\"\n";
    let machine = with_disk(machine, suite, boot, config, &[])?;
    let mut guest = machine.start(Accel::Tcg)?;
    let asked = guest.wait(PATIENCE, |text| {
        text.contains("\nPress any key to exit.").then_some(())
    });
    if let Err(end) = asked {
        return boot.ended(&guest, end).map(|_| None);
    }
    guest.send(b"x")?;
    let end = guest.end(PATIENCE);
    let status = boot.ended(&guest, end)?;
    ensure!(status == 1, "status {status}, not 1");
    boot.says("error: internal error on core 1: ")?;
    boot.says("this is what the test asks for; please report it, with the model's name")?;
    Ok(None)
}

fn stories260k(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let Ok(want) = fs::read_to_string(suite.reference.join("greedy_once.txt")) else {
        boot.skip = Some(format!(
            "{} is not there (set LLAMA2_REFERENCE)",
            suite.reference.display()
        ));
        return Ok(None);
    };
    let files = [
        (
            "MODELS/stories260K.bin",
            From::File(suite.reference.join("stories260K.bin")),
        ),
        (
            "MODELS/TOKENIZER.BIN",
            From::File(suite.reference.join("tok512.bin")),
        ),
    ];
    let config = "exit = \"shutdown\"\ntemperature = 0\nprompt = \"Once upon a time\"";
    let machine = with_disk(machine, suite, boot, config, &files)?;
    let told = boot.tells(&machine, &want)?;
    boot.says("Top token: 403 (logit=17.0235)")?;
    Ok(told)
}

fn gguf(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let model = suite.folder.join("aarch64-q4_k.gguf");
    let bundled = suite.models("stories7M-Q4_0.gguf");
    let mut quantize = Command::new(&suite.llama2);
    quantize.arg("quantize").args([&bundled, &model]);
    check(quantize.args(["--type", "q4_k"]))?;
    let name = model.display().to_string();
    let want = suite.host(&[&name, "-t", "0", "-n", "48", "-i", "Ben saw"])?;
    let config = "exit = \"shutdown\"\ntemperature = 0\nsteps = 48\nprompt = \"Ben saw\"";
    let files = [("MODELS/Ben.gguf", From::File(model))];
    let machine = with_disk(machine, suite, boot, config, &files)?;
    boot.tells(&machine, &want)
}

/// Gives a machine a network card, and a port of the host that leads to its server.
fn with_card(machine: Machine) -> Result<(Machine, u16)> {
    let port = free_port()?;
    let nics = vec![Nic {
        device: "virtio-net-pci,romfile=".into(),
        network: NicNetwork::Qemu(vec![(port, 8080)]),
    }];
    Ok((Machine { nics, ..machine }, port))
}

/// A short session over a PL011, with a story that is stopped, on a machine that serves.
fn session(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let config = "temperature = 0\nsteps = 40\nthreads = 2\nserve = true\n";
    let machine = with_disk(machine, suite, boot, config, &[])?;
    let (machine, port) = with_card(machine)?;
    let mut dialog = Dialog::start(boot, &machine)?;
    let begun = dialog.prompt()?;
    ensure!(begun.contains(SERVING), "it has no address: {begun}");
    network::asks(port)?;
    dialog.expect("/info", "QEMU virtual processor")?;
    let prompt = "Tim found a key";
    let told = dialog.ask(prompt)?;
    told.is(&suite.host(&["-t", "0", "-n", "40", "-i", prompt])?)?;
    dialog.say("/max 0")?;
    dialog.keys("Once upon a time\r")?;
    dialog.stop(60, &|guest| guest.send(b"\x1b"))?;
    dialog.leave("/exit")?;
    Ok(Some(told.summary))
}

/// A short session on U-Boot's console, on a machine that serves. The console moves the cursor as
/// on a screen, so only what is written is looked at, in its order.
fn u_boot_session(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let config = "temperature = 0\nsteps = 40\nserve = true\n";
    let machine = with_disk(machine, suite, boot, config, &[])?;
    let (machine, port) = with_card(machine)?;
    let prompt = "Tim found a key";
    let want = suite.host(&["-t", "0", "-n", "40", "-i", prompt])?;
    let mut guest = machine.start(Accel::Tcg)?;
    let mut seen = 0;
    let mut said = Vec::new();
    for (keys, last) in [
        ("", "else there is."),
        ("/info\r", "seeds "),
        ("Tim found a key\r", " tok/s"),
    ] {
        guest.send(keys.as_bytes())?;
        let answered = guest.wait(PATIENCE, |text| {
            let answer = &text[seen..];
            let (_, behind) = answer.split_once(last)?;
            behind.ends_with(PROMPT).then(|| answer.to_owned())
        });
        match answered {
            Ok(answer) => said.push(answer),
            Err(end) => return boot.ended(&guest, end).map(|_| None),
        }
        seen = guest.text.len();
    }
    let served = network::asks(port);
    guest.send(b"/exit\r")?;
    let end = guest.end(PATIENCE);
    let status = boot.ended(&guest, end)?;
    ensure!(status == 0, "status {status}, not 0");
    boot.says(SERVING)?;
    served?;
    ensure!(said[1].contains("QEMU virtual processor"), "{}", said[1]);
    // The line that was typed, the answer, and a line about it.
    let told = said[2].split_once('\n').context("an answer")?.1;
    let told = told.split_once(" tokens, ").context("a summary")?.0;
    let told = told.rsplit_once('\n').context("a line")?.0;
    same_words(told, &want)?;
    Ok(None)
}

/// The picture is the one of the other architecture, pixel for pixel.
fn screen(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let config = "display = \"screen\"\r\ntemperature = 0\r\nsteps = 24\r\n";
    let machine = with_disk(machine, suite, boot, config, &[])?;
    let machine = Machine {
        resolution: Some((800, 600)),
        keyboard: true,
        ..machine
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.prompt()?;
    let looked = pictures::help_on_screen(&mut dialog)?;
    dialog.guest.type_text("/temp 0.5")?;
    dialog.typed("/temp 0.5")?;
    let said = dialog.enter()?;
    ensure!(said.contains("0.5"), "/temp 0.5 said {said:?}");
    dialog.leave("/exit")?;
    Ok(Some(looked))
}

fn cut_short(suite: &Suite, boot: &mut Boot, machine: Machine) -> Result<Option<String>> {
    let bytes = suite.read("stories330K.bin")?;
    let bytes = bytes.get(..1_000_000).context("a model to cut")?.to_vec();
    let files = [("MODEL.BIN", From::Bytes(bytes))];
    let machine = with_disk(machine, suite, boot, SHUTDOWN, &files)?;
    boot.refused(
        &machine,
        "MODEL.BIN on the boot volume: needs 1330460 bytes for dim 64, 6 layers, vocab 512, but \
         the file has 1000000: it is cut short",
    )
}
