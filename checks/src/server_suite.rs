//! llama.cpp's own server tests, unmodified, against `llama2 serve` (or a server that runs
//! already): each case that llama-server passes without a network must pass.
//!
//! `checks/server-suite/` lists the cases by pytest's names: what llama-server passes
//! (`llama-server.txt`), what of that needs no flags but those of one preset (`external.txt`), and
//! what is not compared, each with a reason (`exceptions.txt`: we refuse it; `machine.txt`: a
//! machine with no operating system cannot have it; `flaky.txt`:
//! llama-server itself does not always pass it).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use xtask::{
    arch::X86_64,
    build,
    shell::{check, root, target},
};

use crate::{clients, count::Count, machine::ServingMachine, oracle::Oracle};

/// Name of the stage.
pub const NAME: &str = "server-suite";

/// Files of tests about what we have, in the order of a run: `unit/test_NAME.py`.
pub const FILES: [&str; 16] = [
    "basic",
    "chat_completion",
    "completion",
    "tokenize",
    "security",
    "ctx_shift",
    "slot_save",
    "compat_oai_responses",
    "compat_anthropic",
    "ignore_eos",
    "metrics",
    "kv_keep_only_active",
    "sleep",
    "template",
    "infill",
    "stream",
];

/// Seconds after which a case's server is killed.
const LIMIT: u64 = 60;

/// Longest silence of pytest. A server that runs already cannot be killed, and in an emulated
/// machine it is slow.
const SILENCE: Duration = Duration::from_secs(600);

/// Flags of the preset with which most cases start their server, `ServerPreset.tinyllama2()`.
const PRESET: &str = "--temp 0.8 --seed 42 --offline --batch-size 32 --no-slots --alias tinyllama-2 \
                      --ctx-size 512 --parallel 2 --n-predict 64 --no-jinja";

#[derive(clap::Args)]
pub struct SuiteArgs {
    /// server-suite: only these files of llama.cpp's server tests, such as `basic`
    files: Vec<String>,
    /// server-suite: write down what llama-server passes, and test nothing
    #[arg(long, conflicts_with_all = ["running", "server"])]
    record: bool,
    /// server-suite: test the server at this port of 127.0.0.1, which runs with the flags of
    /// llama.cpp's preset tinyllama2
    #[arg(long, value_name = "PORT")]
    running: Option<u16>,
    /// server-suite: test this command, such as `llama-server`, instead of `llama2 serve`
    #[arg(long, value_name = "COMMAND", conflicts_with = "running")]
    server: Option<String>,
}

impl SuiteArgs {
    /// Says if they ask for something that only this stage has.
    pub fn are_given(&self) -> bool {
        !self.files.is_empty() || self.record || self.running.is_some() || self.server.is_some()
    }

    /// Names of the files to run.
    fn files(&self) -> Result<Vec<&str>> {
        let short = |name: &String| {
            let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
            let name = name.strip_suffix(".py").unwrap_or(name);
            name.strip_prefix("test_").unwrap_or(name).to_owned()
        };
        let wanted: Vec<String> = self.files.iter().map(short).collect();
        for name in &wanted {
            ensure!(
                FILES.contains(&name.as_str()),
                "{name:?} is none of the files: {}",
                FILES.join(", ")
            );
        }
        let is_wanted = |file: &&str| wanted.is_empty() || wanted.iter().any(|name| name == file);
        Ok(FILES.into_iter().filter(is_wanted).collect())
    }
}

/// Runs the stage, or records what llama-server passes.
pub fn stage(args: &SuiteArgs, oracle: &Oracle, count: &mut Count) {
    println!("\n== {NAME}");
    let start = Instant::now();
    match run(args, oracle, count) {
        Ok(()) => {}
        Err(Stop::Skipped(why)) => count.skip(NAME, &why),
        Err(Stop::Failed(error)) => count.add(NAME, start, Err(error)),
    }
    count.took(NAME, start);
}

/// A reason for which a run ended early.
enum Stop {
    Skipped(String),
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Failed(error.into())
    }
}

fn run(args: &SuiteArgs, oracle: &Oracle, count: &mut Count) -> Result<(), Stop> {
    let files = args.files()?;
    if let Some(port) = args.running {
        return Ok(running(port, &files, oracle, count)?);
    }
    let Some(checkpoint) = reference("stories260K.bin") else {
        let why = "stories260K.bin is not in the reference folder (set LLAMA2_REFERENCE)";
        return Err(Stop::Skipped(why.into()));
    };
    let program = build::command()?;
    let models = Models::make(&program, &checkpoint, oracle)?;
    if args.record {
        let oracle = Oracle::with_server()?;
        return Ok(record(&oracle.server(), &models, &files, &oracle)?);
    }
    let command = match &args.server {
        Some(words) => command(words),
        None => vec![program.display().to_string(), "serve".into()],
    };
    let server = Server::Command(&command, &models);
    compare(&server, "llama-server.txt", &files, oracle, count)?;
    if args.server.is_none() && args.files.is_empty() {
        let start = Instant::now();
        let said = clients::packages_hosted(&program, oracle);
        count.add("clients' packages", start, said);
        clients::more_packages(&program, oracle, count);
        in_a_machine(&models, oracle, count)?;
    }
    Ok(())
}

/// Runs the cases that need no other flags against a machine with no operating system, in QEMU.
fn in_a_machine(models: &Models, oracle: &Oracle, count: &mut Count) -> Result<()> {
    const CONFIG: &str = "serve = true\nalias = \"tinyllama-2\"\nmodel = \"STORIES.GGUF\"\n\
        seed = 42\nkv = \"f16\"\ncontext = 256\nslots = 2\nsteps = 64\ndisplay = \"text\"\n";
    println!("  in a machine:");
    let efi = build::with_hooks(&X86_64)?;
    let machine = ServingMachine::start(&efi, NAME, CONFIG, &models.stories)?;
    running(machine.port, &FILES, oracle, count)?;
    let start = Instant::now();
    let url = format!("http://127.0.0.1:{}", machine.port);
    let said = clients::packages(&url, oracle);
    count.add("clients' packages, in a machine", start, said);
    Ok(())
}

/// Words of a command, whose program the tests must find from another folder.
fn command(words: &str) -> Vec<String> {
    let mut words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    if let Some(program) = words.first_mut()
        && let Ok(path) = fs::canonicalize(&program)
    {
        *program = path.display().to_string();
    }
    words
}

/// Runs the cases that need no flags but [`PRESET`]'s, against a server that runs with them at a
/// port of 127.0.0.1.
///
/// # Errors
/// If pytest could not be run.
pub fn running(port: u16, files: &[&str], oracle: &Oracle, count: &mut Count) -> Result<()> {
    compare(&Server::Port(port), "external.txt", files, oracle, count)
}

/// A file of the reference folder.
fn reference(name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("LLAMA2_REFERENCE")
        .map_or_else(|| root().join("../shared/reference"), PathBuf::from);
    Some(folder.join(name)).filter(|path| path.is_file())
}

/// Makes a GGUF file of the smallest model that every clone has, in a folder.
///
/// # Errors
/// If it could not be converted.
pub fn small_model(program: &Path, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let model = folder.join("stories330K.gguf");
    let models = root().join("models");
    let mut convert = Command::new(program);
    convert.arg("convert").arg(models.join("stories330K.bin"));
    convert.arg("-z").arg(models.join("tokenizer.bin"));
    convert.arg("-o").arg(&model);
    convert.args(["--type", "f32", "--force"]);
    check(convert.stdout(Stdio::null()).stderr(Stdio::null()))?;
    Ok(model)
}

/// Models that take the place of those that the tests would fetch.
struct Models {
    stories: PathBuf,
    /// stories with infill tokens.
    infill: PathBuf,
}

impl Models {
    fn make(program: &Path, checkpoint: &Path, oracle: &Oracle) -> Result<Models> {
        let folder = target().join(NAME);
        fs::create_dir_all(&folder)?;
        let models = Models {
            stories: folder.join("stories260K.gguf"),
            infill: folder.join("stories260K-infill.gguf"),
        };
        let mut convert = Command::new(program);
        convert.arg("convert").arg(checkpoint).arg("-z");
        convert.arg(checkpoint.with_file_name("tok512.bin"));
        convert.arg("-o").arg(&models.stories);
        check(
            convert
                .args(["--type", "f32", "--force"])
                .stdout(Stdio::null()),
        )?;
        let mut infill = oracle.python();
        infill.arg(lists().join("infill.py"));
        check(infill.arg(&models.stories).arg(&models.infill))?;
        Ok(models)
    }
}

/// Folder of the lists, and of what pytest is helped with.
fn lists() -> PathBuf {
    root().join("checks").join(NAME)
}

/// The server to test.
#[derive(Clone, Copy)]
enum Server<'a> {
    /// A command that the tests start with llama-server's flags, again and again.
    Command(&'a [String], &'a Models),
    /// A server that runs already, and is asked only what needs no other flags.
    Port(u16),
}

/// Result of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Passed,
    /// Failed or was skipped: why, in a line.
    Not(String),
}

/// Results of cases, by pytest's names of them.
type Outcomes = BTreeMap<String, Outcome>;

/// A copy of the tests, in which they may write. It is removed with the value.
struct Copied(PathBuf);

impl Copied {
    /// Copies the tests and the templates, each to its place below one folder.
    fn new(oracle: &Oracle) -> Result<Copied> {
        let name = format!("llama2-{NAME}-{}", std::process::id());
        let copied = Copied(std::env::temp_dir().join(name));
        copy(&oracle.server_tests(), &copied.tests())?;
        let templates = copied.0.join("models/templates");
        copy(&oracle.models().join("templates"), &templates)?;
        Ok(copied)
    }

    fn tests(&self) -> PathBuf {
        self.0.join("tools/server/tests")
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let path = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &path)?;
        } else {
            fs::copy(entry.path(), path)?;
        }
    }
    Ok(())
}

/// Returns a port that is free now.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Runs the cases of some files, or those of `only`, and calls `done` with each file's name,
/// duration and results.
fn pytest(
    server: Server<'_>,
    files: &[&str],
    only: Option<&BTreeSet<String>>,
    oracle: &Oracle,
    mut done: impl FnMut(&str, Duration, Outcomes),
) -> Result<()> {
    let copied = Copied::new(oracle)?;
    let output = target().join(NAME).join("output.txt");
    fs::create_dir_all(target().join(NAME))?;
    let mut tests = oracle.python();
    tests.args([
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "suite_plugin",
    ]);
    tests.args(["--quiet", "--tb=short"]);
    tests.args(files.iter().map(|file| format!("unit/test_{file}.py")));
    tests
        .current_dir(copied.tests())
        .env("PYTHONPATH", lists())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("SUITE_LIMIT", LIMIT.to_string())
        .stdin(Stdio::null())
        .stdout(fs::File::create(&output)?)
        .stderr(Stdio::piped());
    match server {
        Server::Command(words, models) => tests
            .env("LLAMA_SERVER_BIN_PATH", lists().join("start_server.py"))
            .env("SUITE_SERVER", words.join("\n"))
            // llama-server's threads spin while they wait for one another: with so small a model
            // one is faster, above all on a busy machine.
            .env("LLAMA_ARG_THREADS", "1")
            .env("SUITE_MODEL", &models.stories)
            .env("SUITE_INFILL", &models.infill)
            .env("PORT", free_port()?.to_string()),
        Server::Port(port) => tests
            .env("DEBUG_EXTERNAL", "1")
            .env("PORT", port.to_string()),
    };
    if let Some(only) = only {
        let list = copied.0.join("cases.txt");
        fs::write(&list, lines(only.iter()))?;
        tests.env("SUITE_CASES", list);
    }
    let mut tests = Stopped(tests.spawn().context("pytest could not be started")?);
    let errors = tests.0.stderr.take().context("pytest has no stderr")?;
    let (sender, reports) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(errors).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut file = String::new();
    let mut outcomes = Outcomes::new();
    let mut start = Instant::now();
    loop {
        let line = match reports.recv_timeout(SILENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("pytest said nothing for {} s", SILENCE.as_secs())
            }
        };
        let Some((name, outcome)) = parse(&line) else {
            eprintln!("{line}");
            continue;
        };
        if file_of(&name) != file {
            if !outcomes.is_empty() {
                done(&file, start.elapsed(), std::mem::take(&mut outcomes));
            }
            file = file_of(&name).to_owned();
            start = Instant::now();
        }
        outcomes.insert(name, outcome);
    }
    if !outcomes.is_empty() {
        done(&file, start.elapsed(), outcomes);
    }
    let ended = tests.0.wait()?;
    // 1: a case failed.
    if !matches!(ended.code(), Some(0 | 1)) {
        bail!("pytest ended with {ended}; see {}", output.display());
    }
    Ok(())
}

/// A program that is ended with the value.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A line of `suite_plugin.py`: a case's name and result.
fn parse(line: &str) -> Option<(String, Outcome)> {
    let mut fields = line.splitn(4, '\t');
    if fields.next() != Some("case") {
        return None;
    }
    let (outcome, name) = (fields.next()?, fields.next()?);
    let why = fields.next().unwrap_or_default();
    let outcome = match outcome {
        "passed" => Outcome::Passed,
        _ if why.is_empty() => Outcome::Not(outcome.into()),
        _ => Outcome::Not(why.into()),
    };
    Some((name.into(), outcome))
}

/// `basic` of `unit/test_basic.py::test_server_props`.
fn file_of(name: &str) -> &str {
    let file = name.split("::").next().unwrap_or(name);
    let file = file.strip_suffix(".py").unwrap_or(file);
    file.strip_prefix("unit/test_").unwrap_or(file)
}

/// Runs the cases of a list, prints what differs from it file by file, and counts.
fn compare(
    server: &Server<'_>,
    list: &str,
    files: &[&str],
    oracle: &Oracle,
    count: &mut Count,
) -> Result<()> {
    let of_files = |list: BTreeMap<String, String>| {
        let mut list = list;
        list.retain(|name, _| files.contains(&file_of(name)));
        list
    };
    let mut exceptions = of_files(read_list("exceptions.txt")?);
    if let Server::Port(_) = server {
        exceptions.append(&mut of_files(read_list("machine.txt")?));
    }
    let mut missing: BTreeSet<String> = of_files(read_list(list)?).into_keys().collect();
    let cases = missing.clone();
    ensure!(!cases.is_empty(), "{list} has no case of these files");
    // Others have what we have not.
    let is_ours = match server {
        Server::Command(words, _) => words.get(1).is_some_and(|word| word == "serve"),
        Server::Port(_) => true,
    };
    let mut files: Vec<&str> = files.to_vec();
    files.retain(|file| cases.iter().any(|case| file_of(case) == *file));
    pytest(
        *server,
        &files,
        Some(&cases),
        oracle,
        |file, took, outcomes| {
            let mut passed = 0;
            let mut refused = 0;
            let mut differences = Vec::new();
            for (name, outcome) in &outcomes {
                missing.remove(name);
                let exception = exceptions.get(name).filter(|_| is_ours);
                match (outcome, exception) {
                    (Outcome::Passed, None) => passed += 1,
                    (Outcome::Not(_), Some(_)) => refused += 1,
                    (Outcome::Not(why), None) => differences.push(format!("{name}: {why}")),
                    (Outcome::Passed, Some(_)) => {
                        differences.push(format!("{name}: passes, but is listed as refused"));
                    }
                }
            }
            let note = match refused {
                0 => String::new(),
                _ => format!(", {refused} refused as listed"),
            };
            let of = outcomes.len();
            println!(
                "  {file:20} {passed:3} of {of:3} ({:.1} s){note}",
                took.as_secs_f64()
            );
            for difference in &differences {
                println!("  FAILED  {difference}");
            }
            count.passed += passed + refused;
            count.failed += differences.len();
        },
    )?;
    for name in &missing {
        println!("  FAILED  {name}: pytest knows no such case");
    }
    count.failed += missing.len();
    Ok(())
}

/// Runs cases two times, and returns what passed both times; what passed once is `flaky`.
fn twice(
    once: impl Fn() -> Result<Outcomes>,
    flaky: &mut BTreeMap<String, String>,
) -> Result<BTreeSet<String>> {
    let (first, second) = (once()?, once()?);
    let mut passed = BTreeSet::new();
    for (name, outcome) in first {
        match (outcome, second.get(&name)) {
            (Outcome::Passed, Some(Outcome::Passed)) => {
                passed.insert(name);
            }
            (Outcome::Passed, Some(Outcome::Not(why))) => {
                flaky
                    .entry(name)
                    .or_insert(format!("passed once of two times: {why}"));
            }
            (Outcome::Not(why), Some(Outcome::Passed)) => {
                flaky
                    .entry(name)
                    .or_insert(format!("passed once of two times: {why}"));
            }
            _ => {}
        }
    }
    Ok(passed)
}

/// Writes the lists of what llama-server passes each of two times.
fn record(server: &Path, models: &Models, files: &[&str], oracle: &Oracle) -> Result<()> {
    let words = [server.display().to_string()];
    let mut flaky = read_list("flaky.txt")?;
    let known: BTreeSet<String> = flaky.keys().cloned().collect();
    let once = || {
        let mut all = Outcomes::new();
        pytest(
            Server::Command(&words, models),
            files,
            None,
            oracle,
            |file, took, outcomes| {
                report(file, took, &outcomes);
                all.extend(outcomes);
            },
        )?;
        Ok(all)
    };
    let mut passed = twice(once, &mut flaky)?;
    // As often before it was known.
    passed.retain(|name| !known.contains(name));
    let once = || {
        let port = free_port()?;
        let mut server = Command::new(server);
        server.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        server
            .arg("--model")
            .arg(&models.stories)
            .args(PRESET.split_whitespace());
        server
            .env("LLAMA_ARG_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _server = Stopped(server.spawn()?);
        wait_for(port)?;
        let mut all = Outcomes::new();
        pytest(
            Server::Port(port),
            files,
            Some(&passed),
            oracle,
            |file, took, outcomes| {
                report(file, took, &outcomes);
                all.extend(outcomes);
            },
        )?;
        Ok(all)
    };
    let external = twice(once, &mut flaky)?;
    for (list, names) in [("llama-server.txt", &passed), ("external.txt", &external)] {
        let mut kept: BTreeSet<String> = read_list(list)?.into_keys().collect();
        kept.retain(|name| !files.contains(&file_of(name)));
        kept.extend(
            names
                .iter()
                .filter(|name| !flaky.contains_key(*name))
                .cloned(),
        );
        println!("  {list}: {} cases", kept.len());
        fs::write(lists().join(list), lines(kept.iter()))?;
    }
    let flaky = flaky.iter().map(|(name, why)| format!("{name}\t{why}"));
    fs::write(lists().join("flaky.txt"), lines(flaky))?;
    Ok(())
}

fn report(file: &str, took: Duration, outcomes: &Outcomes) {
    let passed = outcomes
        .values()
        .filter(|outcome| **outcome == Outcome::Passed);
    let (passed, of) = (passed.count(), outcomes.len());
    println!(
        "  {file:20} {passed:3} of {of:3} ({:.1} s)",
        took.as_secs_f64()
    );
}

/// Waits for a server that loads its model.
fn wait_for(port: u16) -> Result<()> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        if is_ready(port).is_ok_and(|ready| ready) {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("the server at port {port} is not ready after a minute")
}

fn is_ready(port: u16) -> Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET /health HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.split(' ').nth(1) == Some("200"))
}

fn lines(of: impl Iterator<Item = impl AsRef<str>>) -> String {
    of.map(|line| format!("{}\n", line.as_ref())).collect()
}

/// Cases of a list, and the reason behind each, parted by a tab; empty if there is no such list.
fn read_list(name: &str) -> Result<BTreeMap<String, String>> {
    let path = lists().join(name);
    if !path.exists() {
        return Ok(BTreeMap::new());
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines = text.lines().map(|line| {
        let (case, reason) = line.split_once('\t').unwrap_or((line, ""));
        (case.to_owned(), reason.to_owned())
    });
    Ok(lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_is_sorted_and_each_exception_has_a_reason() {
        for name in [
            "llama-server.txt",
            "external.txt",
            "exceptions.txt",
            "flaky.txt",
        ] {
            let text = fs::read_to_string(lists().join(name)).unwrap();
            assert!(text.lines().is_sorted(), "{name}");
        }
        let passed = read_list("llama-server.txt").unwrap();
        let external = read_list("external.txt").unwrap();
        assert!(passed.len() >= 200 && external.len() >= 40);
        assert!(external.keys().all(|case| passed.contains_key(case)));
        for (case, reason) in read_list("exceptions.txt").unwrap() {
            assert!(passed.contains_key(&case) && !reason.is_empty(), "{case}");
        }
        for (case, reason) in read_list("flaky.txt").unwrap() {
            assert!(!passed.contains_key(&case) && !reason.is_empty(), "{case}");
        }
    }

    #[test]
    fn reports_of_cases() {
        let passed = "case\tpassed\tunit/test_basic.py::test_server_props\t";
        let (name, outcome) = parse(passed).unwrap();
        assert_eq!((file_of(&name), outcome), ("basic", Outcome::Passed));
        let failed = "case\tfailed\tunit/test_a.py::test_b[x y]\tassert 501 == 200";
        let why = Outcome::Not("assert 501 == 200".into());
        assert_eq!(
            parse(failed),
            Some(("unit/test_a.py::test_b[x y]".into(), why))
        );
        assert_eq!(parse("a warning"), None);
    }
}
