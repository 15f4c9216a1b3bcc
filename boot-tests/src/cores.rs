//! The boots about cores and kernels: the same text and logits on any number of them, by both ways
//! of reaching them, and what happens when one of them fails. Those with more processors than the
//! host may have run one at a time: they are slow enough alone.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use xtask::{
    image::From,
    qemu::{Accel, Guest, Machine},
};

use crate::{
    Check,
    application::stop,
    boot::{Boot, PATIENCE, Suite},
    dialog::Dialog,
};

/// Those on one or two processors, by name, which others may run beside.
pub const BOOTS: [(&str, Check); 6] = [
    ("cores: 1, SSE2, float32", |suite, boot| {
        same(suite, boot, (1, Way::Usual, None), "sse2", false)
    }),
    ("cores: 2, AVX2, float32", |suite, boot| {
        same(suite, boot, (2, Way::Usual, Some(2)), "avx2", false)
    }),
    ("cores: 2, scalar, int8", |suite, boot| {
        same(suite, boot, (2, Way::Usual, Some(2)), "scalar", true)
    }),
    (
        "cores: 1 of 2 by blocking calls, AVX2, int8",
        |suite, boot| same(suite, boot, (2, Way::Blocking, None), "avx2", true),
    ),
    ("cores: kernels that the machine has not", refused_kernels),
    ("cores: a benchmark on 1 and 2", benchmark),
];

/// Those that want the host's cores for themselves, by name.
pub const ALONE: [(&str, Check); 13] = [
    ("cores: 3, AVX2, int8", |suite, boot| {
        same(suite, boot, (3, Way::Usual, Some(3)), "avx2", true)
    }),
    ("cores: 4, SSE2, float32", |suite, boot| {
        same(suite, boot, (4, Way::Usual, Some(4)), "sse2", false)
    }),
    (
        "cores: the fastest number of 4, AVX2, int8",
        |suite, boot| same(suite, boot, (4, Way::Usual, None), "avx2", true),
    ),
    (
        "cores: 4, the others disabled, AVX2, float32",
        |suite, boot| same(suite, boot, (4, Way::Disabled, None), "avx2", false),
    ),
    (
        "cores: 2 of 3 by blocking calls, SSE2, int8",
        |suite, boot| same(suite, boot, (3, Way::Blocking, Some(2)), "sse2", true),
    ),
    (
        "cores: 3 of 4 by blocking calls, scalar, float32",
        |suite, boot| same(suite, boot, (4, Way::Blocking, Some(3)), "scalar", false),
    ),
    ("cores: a panic on another one", |suite, boot| {
        panics(suite, boot, "panic", "")
    }),
    (
        "cores: a panic where nobody is there, switched off",
        |suite, boot| panics(suite, boot, "panic", "shutdown"),
    ),
    (
        "cores: a panic where nobody is there, returned",
        |suite, boot| panics(suite, boot, "panic", "return"),
    ),
    (
        "cores: a panic on another one by blocking calls",
        |suite, boot| panics(suite, boot, "blocking-panic", ""),
    ),
    ("cores: chat, called anew for each answer", chat),
    ("cores: Esc stops 2", |suite, boot| {
        stop(suite, boot, "threads = 2", escape)
    }),
    ("cores: Esc stops blocking calls", |suite, boot| {
        stop(suite, boot, "test = \"blocking\"", escape)
    }),
];

/// How the other cores are reached.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Usual,
    /// As where firmware refuses calls that return at once.
    Blocking,
    Disabled,
}

/// The text and the first logit must be the host's, whoever computes: `cores` are the machine's,
/// how they are reached, and the wished number.
fn same(
    suite: &Suite,
    boot: &mut Boot,
    cores: (u32, Way, Option<u32>),
    kernels: &str,
    int8: bool,
) -> Result<Option<String>> {
    let (cpus, way, threads) = cores;
    let genuine = suite.reference.join("stories260K.bin");
    let (model, tokenizer, top) = if int8 {
        let model = suite.folder.join(format!("int8-{}.bin", boot.number));
        fs::write(&model, llama2_testing::bundled_int8())?;
        (model, suite.models("tokenizer.bin"), "420 (logit=12.0199)")
    } else if genuine.exists() {
        let tokenizer = suite.reference.join("tok512.bin");
        (genuine, tokenizer, "403 (logit=17.0235)")
    } else {
        let model = suite.models("stories330K.bin");
        (model, suite.models("tokenizer.bin"), "420 (logit=12.0103)")
    };
    // Drawn from the model's own distribution, which shows more of the logits than the likeliest
    // token does; the prompt is longer than a word, so that a batch goes through too.
    let prompt = "Once upon a time there was a little dog. He liked to play with the ball";
    let want = suite.host(&[
        &model.display().to_string(),
        "-z",
        &tokenizer.display().to_string(),
        "-t",
        "1.0",
        "-p",
        "1.0",
        "-s",
        "7",
        "-n",
        "48",
        "-i",
        prompt,
    ])?;
    let mut config = format!(
        "exit = \"shutdown\"\ntop_p = 1\nseed = 7\nsteps = 48\nprompt = \"{prompt}\"\nkernels = \
         \"{kernels}\"\n"
    );
    if let Some(threads) = threads {
        config += &format!("threads = {threads}\n");
    }
    match way {
        Way::Usual => (),
        Way::Blocking => config += "test = \"blocking\"\n",
        Way::Disabled => config += "test = \"disabled\"\n",
    }
    let files = [
        ("STORIES.BIN", From::File(model)),
        ("TOKEN.BIN", From::File(tokenizer)),
    ];
    let image = boot.image(suite, &config, &files)?;
    let machine = Machine {
        cpus,
        ..Machine::new(&image)
    };
    let told = boot.tells(&machine, &want)?;
    boot.says(&format!("Top token: {top}"))?;
    let used = threads.unwrap_or(match way {
        Way::Usual => cpus,
        Way::Blocking => cpus - 1,
        Way::Disabled => 1,
    });
    boot.says(&format!("{used} of {cpus} used"))?;
    match way {
        Way::Blocking => boot.says("and the first one to show the results")?,
        Way::Disabled => boot.says("(no other is enabled)")?,
        Way::Usual => (),
    }
    if let Some(threads) = threads {
        boot.says(&format!("tokens, {threads} cores)"))?;
    }
    Ok(told)
}

fn refused_kernels(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let image = boot.image(suite, "exit = \"shutdown\"\nkernels = \"avx2\"\n", &[])?;
    let machine = Machine {
        cpu: "qemu64".into(),
        ..Machine::new(&image)
    };
    boot.refused(
        &machine,
        "the avx2 kernels need AVX2, FMA and F16C, which this machine does not have",
    )
}

/// Two turns of a chat, each stopped by Esc: the same beginning on one core and by both ways on
/// two. By itself the model would go on to the end of its context.
fn chat(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    const ENOUGH: usize = 60;
    let mut told = Vec::new();
    for (cpus, words) in [
        (1, "threads = 1"),
        (2, "threads = 2"),
        (3, "threads = 2\ntest = \"blocking\""),
    ] {
        let config = format!(
            "display = \"text\"\nmode = \"chat\"\nseed = 3\nsteps = 0\nsystem = \"\"\n{words}\n"
        );
        let files = [
            ("STORIES.BIN", From::File(suite.models("stories330K.bin"))),
            ("TOKENIZER.BIN", From::File(suite.models("tokenizer.bin"))),
        ];
        let image = boot.image(suite, &config, &files)?;
        let machine = Machine {
            cpus,
            ..Machine::new(&image)
        };
        let mut dialog = Dialog::start(boot, &machine)?;
        dialog.prompt()?;
        dialog.keys("Who has a ball?\r")?;
        let (answer, _) = dialog.stop(ENOUGH, &|guest| guest.send(b"\x1b"))?;
        dialog.keys("And who sings?\r")?;
        dialog.stop(ENOUGH, &|guest| guest.send(b"\x1b"))?;
        dialog.leave("/exit")?;
        ensure!(
            !dialog.guest.text.contains("0 / 0 tokens"),
            "it tells how far it is before it knows"
        );
        told.push(answer.text.chars().take(ENOUGH).collect::<String>());
    }
    ensure!(
        told[0] == told[1] && told[0] == told[2],
        "one core, two, two by blocking calls:\n{}",
        told.join("\n")
    );
    Ok(None)
}

/// The benchmark's table, for each number of cores.
fn benchmark(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let config = "exit = \"shutdown\"\nbench = true\nsteps = 8\n";
    let image = boot.image(suite, config, &[])?;
    let status = boot.run(&Machine::new(&image))?;
    ensure!(status == 0, "status {status}, not 0");
    let results: Vec<&str> = boot
        .serial
        .lines()
        .filter(|line| line.contains(" pp8 ") || line.contains(" tg8 "))
        .filter(|line| line.contains(" llama 6.8M ") && line.contains(" ± "))
        .collect();
    ensure!(results.len() == 4, "four results: {results:?}");
    Ok(None)
}

/// A core other than the boot processor panics in the middle of a story: a message, a key, and the
/// end; where the machine ends by itself, in a while without a key.
fn panics(suite: &Suite, boot: &mut Boot, test: &str, exit: &str) -> Result<Option<String>> {
    let mut config = format!("temperature = 0\nthreads = 2\ntest = \"{test}\"\n");
    if !exit.is_empty() {
        config.push_str(&format!("exit = \"{exit}\"\n"));
    }
    let image = boot.image(suite, &config, &[])?;
    let machine = Machine {
        cpus: if test == "panic" { 2 } else { 3 },
        ..Machine::new(&image)
    };
    let mut guest = machine.start(Accel::Tcg)?;
    let start = Instant::now();
    let asked = guest.wait(PATIENCE, |text| {
        text.contains("\nPress any key to exit.").then_some(())
    });
    if let Err(end) = asked {
        return boot.ended(&guest, end).map(|_| None);
    }
    let took = start.elapsed();
    if exit.is_empty() {
        guest.send(b"x")?;
    }
    let end = guest.end(PATIENCE);
    let status = boot.ended(&guest, end)?;
    ensure!(status == 1, "status {status}, not 1");
    boot.says("error: internal error on core ")?;
    boot.says("this is what the test asks for; please report it, with the model's name")?;
    Ok(Some(format!("said after {:.0} s", took.as_secs_f64())))
}

fn escape(guest: &mut Guest) -> Result<()> {
    // In the middle of a batch of text, not at its end.
    std::thread::sleep(Duration::from_millis(15));
    guest.send(b"\x1b")
}
