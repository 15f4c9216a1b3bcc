//! Clients of the server that others have made: their packages, and a browser with the page.

use std::{
    ffi::OsString,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, anyhow, bail};
use xtask::{
    setup,
    shell::{check, has, output, root, target},
};

use crate::{count::Count, oracle::Oracle};

/// Name of the stage with the browser.
pub const BROWSER: &str = "browser";

/// Key of a server that asks for one.
const KEY: &str = "a secret";

/// Version of `llm`, a client for terminals from PyPI. It has an environment of its own: among the
/// oracles, each new version would have llama.cpp built again.
const LLM: &str = "0.36";

/// `llama2 serve`, until it is dropped.
pub struct Hosted {
    process: Child,
    /// Address at which it is reached.
    pub url: String,
}

impl Hosted {
    /// Starts it with these flags, and waits until it serves.
    ///
    /// # Errors
    /// If it ends instead.
    pub fn start(program: &Path, flags: &[OsString]) -> Result<Hosted> {
        let mut process = Command::new(program)
            .arg("serve")
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()?;
        let lines = process.stderr.take().context("no standard error")?;
        let mut lines = BufReader::new(lines).lines();
        let url = loop {
            let line = lines.next().context("the server ended")??;
            if let Some((_, address)) = line.split_once(" at http://") {
                break format!("http://{address}");
            }
        };
        // What else it says is read, so that it never waits.
        thread::spawn(move || lines.for_each(drop));
        Ok(Hosted { process, url })
    }

    /// Starts it with the bundled model, on a port of its own, with a key or without one.
    fn bundled(program: &Path, key: Option<&str>) -> Result<Hosted> {
        // Greedy, so that its answers are the same each time: one can be a single word otherwise.
        let flags = ["--port", "0", "--parallel", "2", "--temp", "0"];
        let key = key.map(|key| ["--api-key", key]);
        let flags = flags.into_iter().chain(key.into_iter().flatten());
        Hosted::start(program, &flags.map(OsString::from).collect::<Vec<_>>())
    }

    /// Number of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Has the packages of OpenAI, Anthropic and Ollama for Python talk to a server.
pub fn packages(url: &str, oracle: &Oracle) -> Result<Option<String>> {
    let script = root().join("checks/server-suite/clients.py");
    let said = output(oracle.python().arg(script).arg(url)).context("a client failed")?;
    Ok(Some(said.split_whitespace().collect::<Vec<_>>().join(", ")))
}

/// Tests the clients' packages against `llama2 serve`.
pub fn packages_hosted(program: &Path, oracle: &Oracle) -> Result<Option<String>> {
    let hosted = Hosted::bundled(program, None)?;
    packages(&hosted.url, oracle)
}

/// Has OpenAI's package for Node, and `llm`, talk to a `llama2 serve` with a key. Whatever cannot
/// be installed is skipped.
pub fn more_packages(program: &Path, oracle: &Oracle, count: &mut Count) {
    let folder = root().join("checks/server-suite");
    let node = prepare(&folder.join("node"), &[]).map(|()| {
        let mut node = Command::new("node");
        node.arg(folder.join("node/clients.mjs"));
        node
    });
    let llm = llm(oracle).map(|llm| {
        let mut python = oracle.python();
        python.arg(folder.join("llm_client.py")).arg(llm);
        python
    });
    for (name, client) in [
        ("a client's package: Node", node),
        ("a client's package: llm", llm),
    ] {
        let start = Instant::now();
        match client {
            Ok(mut client) => {
                let said = Hosted::bundled(program, Some(KEY)).and_then(|hosted| {
                    let said = output(client.args([&hosted.url, KEY]).stderr(Stdio::inherit()));
                    said.context("the client failed").map(Some)
                });
                count.add(name, start, said);
            }
            Err(error) => count.skip(name, &format!("{error:#}")),
        }
    }
}

/// Installs `llm`, and returns the program.
fn llm(oracle: &Oracle) -> Result<PathBuf> {
    let folder = target().join(format!("llm-{LLM}"));
    let program = folder.join("bin/llm");
    if output(Command::new(&program).arg("--version")).is_none() {
        check(oracle.python().args(["-m", "venv"]).arg(&folder))?;
        let mut install = Command::new(folder.join("bin/pip"));
        install.args(["install", "--quiet", "--only-binary", ":all:"]);
        check(install.arg(format!("llm=={LLM}")))?;
    }
    Ok(program)
}

/// Tests the page in a headless Chromium, against its own mock of a server, which can fail as
/// asked, and against `llama2 serve`.
pub fn browser(
    program: impl FnOnce() -> Result<std::path::PathBuf>,
    asked: bool,
    count: &mut Count,
) {
    println!("\n== {BROWSER}");
    let start = Instant::now();
    let folder = root().join("serve/tests/page");
    if let Err(error) = prepare(&folder, &["chromium"]) {
        return match asked {
            true => count.add(BROWSER, start, Err(error)),
            false => count.skip(BROWSER, &format!("{error:#}")),
        };
    }
    count.add("browser: the page and a mock", start, page(None, None));
    let start = Instant::now();
    let program = program();
    for (name, key) in [
        ("browser: the page and llama2 serve", None),
        ("browser: the page and llama2 serve with a key", Some(KEY)),
    ] {
        let real = program.as_ref().map_err(|error| anyhow!("{error:#}"));
        let real = real.and_then(|program| {
            let hosted = Hosted::bundled(program, key)?;
            page(Some(&hosted.url), key)
        });
        count.add(name, start, real);
    }
    count.took(BROWSER, start);
}

/// Installs Node, other programs, and the packages of a folder.
fn prepare(folder: &Path, programs: &[&'static str]) -> Result<()> {
    let missing: Vec<&str> = [("node", "nodejs"), ("npm", "npm")]
        .into_iter()
        .chain(programs.iter().map(|&program| (program, program)))
        .filter(|(program, _)| !has(program))
        .map(|(_, package)| package)
        .collect();
    setup::install(&missing, "testing clients of the server")?;
    let version = output(Command::new("node").arg("--version")).unwrap_or_default();
    let major = version.trim().trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()).unwrap_or(0) < 20 {
        bail!(
            "Node {} is too old: the tests want 20 or newer",
            version.trim()
        );
    }
    let mut install = Command::new("npm");
    install.current_dir(folder);
    check(install.args(["ci", "--silent", "--no-audit", "--no-fund"]))
}

/// Runs the tests of the page; with a key only the one that is about it.
fn page(url: Option<&str>, key: Option<&str>) -> Result<Option<String>> {
    let mut node = Command::new("node");
    node.current_dir(root().join("serve/tests/page"));
    node.args(["--test", "--test-reporter=dot"]);
    if let Some(key) = key {
        node.env("LLAMA2_PAGE_KEY", key);
        node.args(["--test-name-pattern", "the key is asked for"]);
    }
    node.arg("page.test.mjs");
    if let Some(url) = url {
        node.env("LLAMA2_PAGE_URL", format!("{url}/"));
    }
    check(&mut node)?;
    Ok(None)
}
