//! Several servers of one model behind HAProxy, with the configuration that `docs/SERVING.md`
//! shows: two on this system, and a machine with no operating system. One is killed under load.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use xtask::{
    arch::X86_64,
    build,
    qemu::free_port,
    setup,
    shell::{check, has, root, target},
};

use crate::{
    client::{self, complete},
    clients::Hosted,
    count::Count,
    machine::ServingMachine,
    server_suite,
};

/// Name of the stage.
pub const NAME: &str = "fleet";

/// The configuration, below the root.
const CONFIG: &str = "docs/haproxy.cfg";

/// Configuration of a DHCP server that boots machines from the network, below the root.
const DNSMASQ: &str = "docs/dnsmasq.conf";

/// Names of the servers in it, with their addresses: two hosted ones, and the machine.
const SERVERS: [(&str, &str); 3] = [
    ("one", "192.168.1.11:8080"),
    ("two", "192.168.1.12:8080"),
    ("three", "192.168.1.13:8080"),
];

/// Requests of one server at a time, in the configuration.
const MOST: usize = 6;

/// Clients at a time: more than there are places, so that some wait in the proxy.
const CLIENTS: usize = 24;

/// Tokens of an answer.
const TOKENS: usize = 16;

/// Texts to continue.
const PROMPTS: [&str; 4] = ["Once upon a time", "Tim found a key", "Lily", "The dog ran"];

/// Configuration of the machine.
const MACHINE: &str = "serve = true\nmodel = \"STORIES.GGUF\"\nkv = \"f16\"\nseed = 5\n\
    context = 256\nsteps = 8\nslots = 4\ndisplay = \"text\"\n";

/// Time before and after the server is killed.
const LOAD: Duration = Duration::from_secs(5);

/// Time within which a server that is back is used again.
const BACK: Duration = Duration::from_secs(15);

/// Runs the stage, which needs HAProxy and QEMU.
pub fn stage(asked: bool, count: &mut Count) {
    println!("\n== {NAME}");
    let start = Instant::now();
    let missing: &[&str] = if has("haproxy") { &[] } else { &["haproxy"] };
    let can_be = setup::install(missing, "a fleet").and_then(|()| setup::for_boots(&X86_64));
    if let Err(error) = can_be {
        return match asked {
            true => count.add(NAME, start, Err(error)),
            false => count.skip(NAME, &format!("{error:#}")),
        };
    }
    count.add("fleet: a server is killed under load", start, run());
    let start = Instant::now();
    match has("dnsmasq") {
        true => {
            let mut dnsmasq = Command::new("dnsmasq");
            dnsmasq.arg("--test").arg("-C").arg(root().join(DNSMASQ));
            let fine = check(dnsmasq.stderr(Stdio::null())).map(|()| None);
            count.add("fleet: dnsmasq takes its configuration", start, fine);
        }
        false => count.skip("fleet: dnsmasq", "dnsmasq is not installed (dnsmasq-base)"),
    }
    count.took(NAME, start);
}

/// HAProxy, which ends with the value.
struct Proxy(Child);

impl Proxy {
    /// Starts it with the documented configuration, with these ports in place of the addresses.
    fn start(folder: &Path, front: u16, ports: [u16; 3]) -> Result<Proxy> {
        let mut config = fs::read_to_string(root().join(CONFIG)).context(CONFIG)?;
        let mut put = |from: &str, to: &str| {
            ensure!(config.matches(from).count() == 1, "{CONFIG}: no {from:?}");
            config = config.replace(from, to);
            Ok(())
        };
        put("bind :8080", &format!("bind 127.0.0.1:{front}"))?;
        for ((_, address), port) in SERVERS.into_iter().zip(ports) {
            put(address, &format!("127.0.0.1:{port}"))?;
        }
        ensure!(
            config.contains(&format!("maxconn {MOST}\n")),
            "{CONFIG}: not {MOST} requests of a server"
        );
        let file = folder.join("haproxy.cfg");
        fs::write(&file, config)?;
        check(Command::new("haproxy").args(["-q", "-c", "-f"]).arg(&file))?;
        let log = fs::File::create(folder.join("haproxy.log"))?;
        let mut haproxy = Command::new("haproxy");
        haproxy.arg("-db").arg("-f").arg(&file);
        haproxy.stdin(Stdio::null()).stdout(Stdio::null());
        let mut proxy = Proxy(haproxy.stderr(log).spawn()?);
        while client::ask(front, "/health", None).is_err() {
            let ended = proxy.0.try_wait()?;
            ensure!(ended.is_none(), "HAProxy ended: {}", folder.display());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(proxy)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Result of a request under load.
struct Outcome {
    begun: Instant,
    ended: Instant,
    /// The machine that answered, or that the proxy says failed.
    machine: Option<String>,
    /// Fault of the answer, if it has one.
    fault: Option<String>,
}

fn run() -> Result<Option<String>> {
    let folder = target().join(NAME);
    fs::create_dir_all(&folder)?;
    let program = build::command()?;
    let model = server_suite::small_model(&program, &folder)?;
    let machine = ServingMachine::start(&build::with_hooks(&X86_64)?, NAME, MACHINE, &model)?;
    let ports = [free_port()?, free_port()?, machine.port];
    let hosted = |port: u16| {
        let flags = format!("--port {port} --parallel 4 --ctx-size 1024 --threads 1 --model");
        let mut words: Vec<_> = flags.split(' ').map(Into::into).collect();
        words.push(model.clone().into_os_string());
        Hosted::start(&program, &words)
    };
    let first = hosted(ports[0])?;
    let _second = hosted(ports[1])?;
    let front = free_port()?;
    let _proxy = Proxy::start(&folder, front, ports)?;
    let mut texts = BTreeMap::new();
    for prompt in PROMPTS {
        texts.insert(prompt, complete(ports[1], prompt, TOKENS)?.0);
    }

    // Everyone takes part, and gives the same text.
    let streams = streams(front, &texts)?;

    // The first is killed under load.
    let over = AtomicBool::new(false);
    let outcomes = Mutex::new(Vec::new());
    let killed = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (over, outcomes, texts) = (&over, &outcomes, &texts);
                scope.spawn(move || {
                    let prompts = PROMPTS.iter().cycle().skip(number);
                    for prompt in prompts.take_while(|_| !over.load(Relaxed)) {
                        let outcome = once(front, prompt, &texts[prompt]);
                        outcomes.lock().expect("a client panicked").push(outcome);
                    }
                })
            })
            .collect();
        thread::sleep(LOAD);
        drop(first);
        let killed = Instant::now();
        thread::sleep(LOAD);
        over.store(true, Relaxed);
        for client in clients {
            client.join().expect("a client panicked");
        }
        killed
    });
    let outcomes = outcomes.into_inner().expect("a client panicked");
    let said = judge(&outcomes, killed)?;

    // It comes back, and is used again.
    let _first = hosted(ports[0])?;
    let back = Instant::now();
    while complete(front, PROMPTS[0], 1)?.1.machine.as_deref() != Some(SERVERS[0].0) {
        ensure!(back.elapsed() < BACK, "a server that is back is not used");
        thread::sleep(Duration::from_millis(50));
    }
    let took = back.elapsed().as_secs_f64();
    let mut guest = machine.guest()?;
    guest.send(b"/exit\r")?;
    let end = guest.end(Duration::from_secs(30));
    ensure!(
        end == xtask::qemu::End::Exit(0),
        "the machine ended by {end:?}"
    );
    Ok(Some(format!("{said}; back after {took:.1} s; {streams}")))
}

/// A request under load.
fn once(front: u16, prompt: &str, text: &str) -> Outcome {
    let begun = Instant::now();
    let answer = client::ask_to_complete(front, prompt, TOKENS);
    let ended = Instant::now();
    let (machine, fault) = match answer {
        Err(error) => (None, Some(format!("{error:#}"))),
        Ok(answer) => {
            let fault = match client::text_of(&answer, TOKENS) {
                Ok(told) if told == text => None,
                Ok(told) => Some(format!("it told {told:?} instead of {text:?}")),
                Err(error) => Some(format!("{error:#}")),
            };
            (answer.machine, fault)
        }
    };
    Outcome {
        begun,
        ended,
        machine,
        fault,
    }
}

/// Has each server stream a text through the proxy, which must not keep the pieces back.
fn streams(front: u16, texts: &BTreeMap<&str, String>) -> Result<String> {
    let mut shares = BTreeMap::new();
    let prompt = PROMPTS[0];
    for _ in 0..20 {
        let (text, answer) = client::stream(front, prompt, 200)?;
        ensure!(
            text.starts_with(&texts[prompt]),
            "{text:?} is another text than {:?}",
            texts[prompt]
        );
        let share = answer.first.as_secs_f64() / answer.whole.as_secs_f64();
        let machine = answer.machine.context("no name of a machine")?;
        shares
            .entry(machine)
            .and_modify(|least: &mut f64| *least = least.min(share))
            .or_insert(share);
        if shares.len() == SERVERS.len() && shares.values().all(|&share| share < 0.5) {
            return Ok("streams pass".into());
        }
    }
    bail!("first pieces of streams came after these shares of the time: {shares:?}")
}

/// Looks at what came of the requests, of which those may have failed that the killed server had.
fn judge(outcomes: &[Outcome], killed: Instant) -> Result<String> {
    let name = SERVERS[0].0;
    let mut lost = 0;
    let mut answered: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for outcome in outcomes {
        let machine = outcome.machine.as_deref();
        match &outcome.fault {
            None => {
                let machine = machine.context("no name of a machine")?;
                *answered
                    .entry((machine, outcome.begun > killed))
                    .or_default() += 1;
            }
            Some(_)
                if machine == Some(name)
                    && outcome.begun < killed
                    && outcome.ended + Duration::from_secs(1) > killed =>
            {
                lost += 1;
            }
            Some(fault) => bail!(
                "a request failed at {machine:?}, which was sent {:.3} s after one server was \
                 killed, or {:.3} s before: {fault}",
                outcome
                    .begun
                    .saturating_duration_since(killed)
                    .as_secs_f64(),
                killed
                    .saturating_duration_since(outcome.begun)
                    .as_secs_f64(),
            ),
        }
    }
    // A process that is killed closes its connections one after another: in the place of each it
    // may get another request before the last.
    ensure!(
        lost <= 2 * MOST,
        "{lost} requests failed, but the killed server had {MOST} at a time"
    );
    for (server, _) in SERVERS {
        let (before, after) = (
            answered.contains_key(&(server, false)),
            answered.contains_key(&(server, true)),
        );
        ensure!(before, "{server} did not take part");
        ensure!(after == (server != name), "{server} afterwards: {after}");
    }
    Ok(format!(
        "{} answered, {lost} in flight on the killed server lost",
        answered.values().sum::<usize>()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_shown_as_they_are() {
        let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
        let document = read("docs/SERVING.md");
        for file in [CONFIG, DNSMASQ] {
            assert!(
                document.contains(&format!("```\n{}```", read(file))),
                "{file}"
            );
        }
    }
}
