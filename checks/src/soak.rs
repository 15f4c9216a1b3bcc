//! A server under load for a long time, on this system and in a machine with no operating system:
//! every answer is the right one, nothing grows, and the console works afterwards.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use xtask::{
    arch::X86_64,
    build,
    qemu::{End, Guest},
    setup,
    shell::target,
};

use crate::{
    client::{self, complete},
    clients::Hosted,
    count::Count,
    machine::ServingMachine,
    server_suite,
};

/// Name of the stage.
pub const NAME: &str = "soak";

#[derive(clap::Args)]
pub struct SoakArgs {
    /// soak: minutes of load, half of them in a machine [default: 60]
    #[arg(long, value_name = "NUMBER")]
    pub minutes: Option<u64>,
}

/// Tokens of an answer.
const TOKENS: usize = 16;

/// Text to continue.
const PROMPT: &str = "Once upon a time";

/// Share of the time after which memory is looked at first: until then caches fill.
const WARM: u32 = 10;

/// Most MiB by which a server may grow after that: an allocator has some play.
const GROWTH: u64 = 16;

/// Most MiB that a machine may lose after that.
const LOSS: u64 = 2;

/// Clients of the server on this system, which takes 256 connections, and of that in a machine,
/// which takes 48.
const CLIENTS: (usize, usize) = (200, 44);

/// Connections at once that are more than either takes.
const TOO_MANY: usize = 400;

/// Configuration of the machine.
const MACHINE: &str = "serve = true\nmodel = \"STORIES.GGUF\"\nkv = \"f16\"\nseed = 5\n\
    context = 256\nsteps = 8\nslots = 4\ndisplay = \"text\"\n";

/// Runs the stage.
pub fn stage(args: &SoakArgs, count: &mut Count) {
    println!("\n== {NAME}");
    let start = Instant::now();
    let half = Duration::from_secs(args.minutes.unwrap_or(60).max(1) * 30);
    count.add("soak: llama2 serve", start, hosted(half));
    let start = Instant::now();
    count.add("soak: a machine", start, in_a_machine(half));
    count.took(NAME, start);
}

fn hosted(time: Duration) -> Result<Option<String>> {
    let program = build::command()?;
    let model = server_suite::small_model(&program, &target().join(NAME))?;
    let flags = "--port 0 --parallel 8 --ctx-size 2048 --model";
    let mut words: Vec<_> = flags.split(' ').map(Into::into).collect();
    words.push(model.into_os_string());
    let hosted = Hosted::start(&program, &words)?;
    let port = hosted.url.rsplit(':').next().context("no port")?.parse()?;
    let text = complete(port, PROMPT, TOKENS)?.0;
    let load = Load::new(port, &text, CLIENTS.0);
    load.run(time / WARM)?;
    let before = resident(hosted.id());
    let answered = load.run(time - time / WARM)?;
    too_many(port)?;
    is_idle(port)?;
    let memory = match (before, resident(hosted.id())) {
        (Some(before), Some(after)) => {
            ensure!(
                after <= before + GROWTH,
                "it grew from {before} to {after} MiB"
            );
            format!("{before} MiB before, {after} MiB after")
        }
        _ => "memory is not known here".into(),
    };
    Ok(Some(format!("{answered}; {memory}")))
}

fn in_a_machine(time: Duration) -> Result<Option<String>> {
    setup::for_boots(&X86_64)?;
    let program = build::command()?;
    let model = server_suite::small_model(&program, &target().join(NAME))?;
    let efi = build::build(&X86_64)?.efi;
    let machine = ServingMachine::start(&efi, NAME, MACHINE, &model)?;
    let port = machine.port;
    let text = complete(port, PROMPT, TOKENS)?.0;
    let load = Load::new(port, &text, CLIENTS.1);
    load.run(time / WARM)?;
    let mut guest = machine.guest()?;
    let before = free(&mut guest)?;
    let machine = ServingMachine::of(guest, port);
    let answered = load.run(time - time / WARM)?;
    too_many(port)?;
    is_idle(port)?;
    let mut guest = machine.guest()?;
    let after = free(&mut guest)?;
    ensure!(
        after + LOSS >= before,
        "{before} MiB were free, and {after} are"
    );
    guest.send(b"/exit\r")?;
    let end = guest.end(Duration::from_secs(60));
    ensure!(end == End::Exit(0), "the machine ended by {end:?}");
    Ok(Some(format!(
        "{answered}; {before} MiB free before, {after} MiB after"
    )))
}

/// Clients of a server, who ask one question again and again in several ways.
struct Load<'a> {
    port: u16,
    text: &'a str,
    clients: usize,
}

impl Load<'_> {
    fn new(port: u16, text: &str, clients: usize) -> Load<'_> {
        Load {
            port,
            text,
            clients,
        }
    }

    /// Has them ask for so long. Says how many answers there were.
    ///
    /// # Errors
    /// If one was wrong.
    fn run(&self, time: Duration) -> Result<String> {
        let start = Instant::now();
        let (answered, is_wrong) = (AtomicUsize::new(0), AtomicBool::new(false));
        let faults = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for client in 0..self.clients {
                let (answered, is_wrong, faults) = (&answered, &is_wrong, &faults);
                scope.spawn(move || {
                    let mut turn = client;
                    while start.elapsed() < time && !is_wrong.load(Relaxed) {
                        match self.once(turn) {
                            Ok(()) => answered.fetch_add(1, Relaxed),
                            Err(error) => {
                                is_wrong.store(true, Relaxed);
                                let Ok(mut faults) = faults.lock() else {
                                    return;
                                };
                                faults.push(format!("{error:#}"));
                                0
                            }
                        };
                        turn += 1;
                    }
                });
            }
        });
        let faults = faults.into_inner().unwrap_or_default();
        let after = start.elapsed().as_secs();
        if let Some(first) = faults.first() {
            bail!(
                "after {after} s {} requests failed, one so: {first}",
                faults.len()
            );
        }
        let answered = answered.into_inner();
        ensure!(answered > 0, "nothing was answered");
        Ok(format!(
            "{answered} answers, {:.1} a second",
            answered as f64 / start.elapsed().as_secs_f64()
        ))
    }

    /// Asks: mostly for a whole text, sometimes for a stream or a page, and sometimes leaves.
    fn once(&self, turn: usize) -> Result<()> {
        match turn % 10 {
            0 => {
                let page = client::ask(self.port, "/page.js", None)?;
                ensure!(
                    page.status == 200 && page.body.len() > 10_000,
                    "the page broke off"
                );
            }
            1 => self.is(&client::stream(self.port, PROMPT, TOKENS)?.0)?,
            2 => client::leave(self.port, PROMPT)?,
            _ => self.is(&complete(self.port, PROMPT, TOKENS)?.0)?,
        }
        Ok(())
    }

    fn is(&self, told: &str) -> Result<()> {
        let text = self.text;
        ensure!(told == text, "it told {told:?} instead of {text:?}");
        Ok(())
    }
}

/// Opens more connections than the server takes: each works, is told so, or is refused; and a
/// moment after they are gone it answers as before.
fn too_many(port: u16) -> Result<()> {
    let streams: Vec<TcpStream> = (0..TOO_MANY)
        .filter_map(|_| {
            let address = ([127, 0, 0, 1], port).into();
            TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok()
        })
        .collect();
    for mut stream in &streams {
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: llama2\r\n\r\n");
    }
    thread::sleep(Duration::from_secs(1));
    drop(streams);
    let start = Instant::now();
    while !client::ask(port, "/health", None).is_ok_and(|answer| answer.status == 200) {
        ensure!(
            start.elapsed() < Duration::from_secs(30),
            "it does not answer after too many connections"
        );
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Looks if nothing is left of the requests.
fn is_idle(port: u16) -> Result<()> {
    let slots = client::ask(port, "/slots", None)?;
    ensure!(slots.status == 200, "{}", slots.body);
    ensure!(
        !slots.body.contains("\"is_processing\":true"),
        "a slot is still at work: {}",
        slots.body
    );
    Ok(())
}

/// MiB of a process that are in memory, where the system tells.
fn resident(id: u32) -> Option<u64> {
    let status = fs::read_to_string(Path::new("/proc").join(id.to_string()).join("status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes >> 10)
}

/// MiB that are free, as the console says: it answers.
fn free(guest: &mut Guest) -> Result<u64> {
    let from = guest.text.len();
    guest.send(b"/info\r")?;
    let told = guest.until(Duration::from_secs(60), |guest| {
        let (_, rest) = guest.text.get(from..)?.split_once(" MiB, ")?;
        let (free, _) = rest.split_once(" MiB free")?;
        let free = free.parse().ok()?;
        guest.prompt().map(|_| free)
    });
    told.map_err(|end| anyhow::anyhow!("the console does not answer: {end:?}"))
}
