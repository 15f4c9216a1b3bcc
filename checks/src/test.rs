//! `cargo xtask test`: all checks, in stages, with a count at the end.

use std::{
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use libtest_mimic::Arguments;
use xtask::{
    arch::{AARCH64, ARCHS, X86_64},
    build::{self, Built},
    fetch,
    image::{self, Content, Files},
    setup,
    shell::{output, root, target},
};

use crate::{
    aarch64, clients,
    count::Count,
    fleet, fuzz, inspect,
    oracle::{self, Oracle},
    server_suite::{self, SuiteArgs},
    soak::{self, SoakArgs},
    stage::{cargo, results, some_tests, stage},
};

const LINTS: &str = "lints";
const DOCUMENTATION: &str = "documentation";

/// `cargo xtask` and the tools behind it.
const TOOLS: [&str; 4] = ["xtask", "boot-tests", "checks", "bench-compare"];

#[derive(clap::Args)]
pub struct TestArgs {
    /// Only stages (or boots) whose names contain this; `oracle` builds the reference programs
    only: Option<String>,
    /// Also prove that the inspection catches a soft-float build (builds one: a minute more)
    #[arg(long)]
    soft_float: bool,
    #[command(flatten)]
    suite: SuiteArgs,
    #[command(flatten)]
    soak: SoakArgs,
}

pub fn test(args: &TestArgs) -> ExitCode {
    let start = Instant::now();
    let mut count = Count::default();
    if let Err(error) = stages(args, &mut count) {
        println!("  FAILED  {error:#}");
        count.failed += 1;
    }
    if let (Some(only), 0) = (&args.only, count.passed + count.failed + count.skipped) {
        println!("  FAILED  no check has {only:?} in its name");
        count.failed += 1;
    }
    println!("\n  seconds  stage");
    for (stage, time) in &count.times {
        println!("{:9.1}  {stage}", time.as_secs_f64());
    }
    println!("{:9.1}  in all", start.elapsed().as_secs_f64());
    println!(
        "{} passed, {} failed, {} skipped",
        count.passed, count.failed, count.skipped
    );
    if count.failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

fn stages(args: &TestArgs, count: &mut Count) -> Result<()> {
    let wanted = |name: &str| {
        args.only
            .as_ref()
            .is_none_or(|only| name.contains(only.as_str()))
    };
    if args.suite.are_given() && args.only.as_deref() != Some(server_suite::NAME) {
        bail!("files, --record, --running and --server belong to the stage server-suite");
    }
    if args.soak.minutes.is_some() && args.only.as_deref() != Some(soak::NAME) {
        bail!("--minutes belongs to the stage soak");
    }
    // A command of its own: it takes an hour.
    if args.only.as_deref() == Some(soak::NAME) {
        soak::stage(&args.soak, count);
        return Ok(());
    }
    if args.only.as_deref() == Some("oracle") {
        let found = oracles(true, count);
        return found.map_or(Ok(()), |oracle| {
            host_tests("oracle tests", &oracle::TESTS, Some(&oracle), count)
        });
    }
    // Before the first stage, not in the middle of the night.
    if args.only.is_none() {
        build::prepare()?;
    }
    if wanted("format") || wanted(LINTS) {
        setup::for_lints()?;
    }
    if wanted("format") {
        stage("format", count, cargo(&["fmt", "--all", "--check"]), &[]);
    }
    // They say the same of a source on every machine, and compile it twice more to say it.
    let reads_source = args.only.is_some() || oracle::is_ci();
    if wanted(LINTS) && !reads_source {
        count.skip(LINTS, "they take minutes; this runs them: make clippy");
    } else if wanted(LINTS) {
        stage(
            "lints (host)",
            count,
            cargo(&[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ]),
            &[],
        );
        for arch in ARCHS {
            let name = format!("lints (application, {})", arch.name);
            match build::can_build(arch) {
                Ok(()) => stage(&name, count, build::clippy(arch)?, &[]),
                Err(error) => count.skip(&name, &format!("{error:#}")),
            }
        }
    }
    if wanted(DOCUMENTATION) && !reads_source {
        let why = "it takes half a minute; this builds it: cargo xtask test documentation";
        count.skip(DOCUMENTATION, why);
    } else if wanted(DOCUMENTATION) {
        let documentation = cargo(&[
            "doc",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]);
        stage(
            DOCUMENTATION,
            count,
            documentation,
            &[("RUSTDOCFLAGS", "-D warnings")],
        );
    }
    if wanted("host tests") {
        let start = Instant::now();
        let oracle = oracles(false, count);
        count.took("oracles", start);
        // Two runs: the tools with just the features that they have been built with for this stage
        // to begin, or most of them would be compiled again with the features of all.
        let tools = TOOLS.map(|tool| ["--package", tool]).concat();
        let others = TOOLS.map(|tool| ["--exclude", tool]).concat();
        let others = [&["--workspace"][..], &others].concat();
        for (name, which) in [("host tests (tools)", tools), ("host tests", others)] {
            // There are no programs in the documentation: `house.rs` sees to it.
            let kinds = ["--lib", "--bins", "--tests"];
            let which = [&which[..], &kinds, &["--", "--show-output"]].concat();
            host_tests(name, &which, oracle.as_ref(), count)?;
        }
    }
    if wanted("real weights") {
        real_weights(args.only.is_some(), count);
    }
    if wanted(server_suite::NAME) {
        llama_cpp_server_tests(args, count);
    }
    if wanted(fleet::NAME) {
        in_a_fleet(args.only.is_some(), count);
    }
    if wanted(clients::BROWSER) {
        in_a_browser(args.only.is_some(), count);
    }
    if wanted(aarch64::NAME) {
        on_aarch64(args.only.is_some(), count);
    }
    if wanted("licences of dependencies") {
        dependencies(count);
    }
    if wanted("miri") {
        miri(args.only.is_some(), count);
    }
    if wanted("fuzzers") {
        let start = Instant::now();
        fuzz::shortly(args.only.is_some(), count);
        count.took("fuzzers", start);
    }
    if wanted("build of the application") || wanted("inspect") || wanted("image") {
        application(args, &wanted, count)?;
    }
    let only = args.only.as_deref().unwrap_or("boot");
    if args.only.is_none() || boot_tests::is_named(only) {
        boots(only, count)?;
    }
    Ok(())
}

/// Builds and inspects the application.
fn application(args: &TestArgs, wanted: &dyn Fn(&str) -> bool, count: &mut Count) -> Result<()> {
    println!("\n== application");
    let start = Instant::now();
    let built =
        build::build(&X86_64).context("without the application there is nothing to boot")?;
    let said = built.efi.display().to_string();
    count.add("build", start, Ok(Some(said)));
    count.took("application", start);
    if wanted("inspect") {
        let start = Instant::now();
        let found = inspect::inspect(&built.efi, &built.map);
        count.add("inspect", start, found.map(|found| Some(found.to_string())));
        let start = Instant::now();
        let name = "inspect, aarch64";
        match build::can_build(&AARCH64) {
            Ok(()) if args.only.is_none() && !oracle::is_ci() => {
                let why = "it takes half a minute; this builds it: cargo xtask test inspect";
                count.skip(name, why);
            }
            Ok(()) => {
                let found = build::build(&AARCH64)
                    .and_then(|built| inspect::inspect(&built.efi, &built.map));
                count.add(name, start, found.map(|found| Some(found.to_string())));
            }
            Err(error) => count.skip(name, &format!("{error:#}")),
        }
        if args.soft_float {
            let start = Instant::now();
            count.add(
                "inspect catches a soft-float build",
                start,
                soft_float_is_caught(),
            );
        }
    }
    if wanted("image") {
        let start = Instant::now();
        let same = images_are_the_same(&built);
        count.add("two images are the same", start, same);
        count.took("images", start);
    }
    Ok(())
}

/// Runs the boots with this in their names; "boot" runs all.
fn boots(only: &str, count: &mut Count) -> Result<()> {
    println!("\n== boots (QEMU, TCG)");
    let start = Instant::now();
    let filter = Some(only.to_owned()).filter(|only| only != "boot");
    let ended = boot_tests::run(Arguments {
        filter,
        ..Arguments::default()
    })?;
    count.passed += ended.num_passed as usize;
    count.failed += ended.num_failed as usize;
    count.skipped += ended.num_ignored as usize;
    count.took("boots", start);
    Ok(())
}

/// Checks licences, bans and sources of dependencies (`deny.toml`), if cargo-deny is installed.
fn dependencies(count: &mut Count) {
    const NAME: &str = "licences of dependencies";
    if output(cargo(&["deny", "--version"]).stderr(Stdio::null())).is_none() {
        return count.skip(
            NAME,
            "cargo-deny is not installed; install it with: cargo install --locked cargo-deny",
        );
    }
    let check = ["deny", "--offline", "check", "licenses", "bans", "sources"];
    stage(NAME, count, cargo(&check), &[]);
}

/// Runs the code shared by several cores in Miri, which detects data races and uses of freed
/// memory: in continuous integration or if `asked`, and if a nightly compiler with Miri is
/// installed.
fn miri(asked: bool, count: &mut Count) {
    const NAME: &str = "miri: what cores share";
    if !asked && !oracle::is_ci() {
        return count.skip(
            NAME,
            "it takes minutes; this runs it: cargo xtask test miri",
        );
    }
    let rustup = |words: &[&str]| {
        let mut rustup = Command::new("rustup");
        rustup.current_dir(root()).args(words);
        rustup
    };
    let there =
        || output(rustup(&["run", "nightly", "cargo", "miri", "--version"]).stderr(Stdio::null()));
    if there().is_none() {
        // If it cannot be downloaded, the next message says so.
        let _ = output(&mut rustup(&[
            "component",
            "add",
            "miri",
            "--toolchain",
            "nightly",
        ]));
    }
    if there().is_none() {
        return count.skip(
            NAME,
            "no nightly compiler with Miri; install it with: rustup toolchain install nightly \
             --component miri",
        );
    }
    let mut tests = rustup(&["run", "nightly", "cargo", "miri", "test", "--quiet"]);
    tests.args(["--package", "llama2-efi", "--lib", "--"]);
    tests.args(["work_queue::", "try_lock::", "ring::tests"]);
    // A thread that gives up never returns, so such threads remain.
    some_tests(NAME, count, tests, ("MIRIFLAGS", "-Zmiri-ignore-leaks"));
    let mut session = rustup(&["run", "nightly", "cargo", "miri", "test", "--quiet"]);
    session.args(["--package", "llama2-engine", "--test", "engine"]);
    session.args(["--", "soundness"]);
    // The measuring allocator calls the system's, which Miri does not allow.
    let flags = ("MIRIFLAGS", "-Zmiri-disable-isolation");
    some_tests("miri: a tiny session", count, session, flags);
}

/// Finds the reference programs, or builds them if `asked` or in continuous integration. Without
/// them the tests that need them are skipped.
fn oracles(asked: bool, count: &mut Count) -> Option<Oracle> {
    const NAME: &str = "oracles (llama.cpp, gguf, Jinja2)";
    println!("\n== oracles");
    let start = Instant::now();
    if let Some(oracle) = Oracle::find() {
        count.add(NAME, start, Ok(Some("built already".into())));
        return Some(oracle);
    }
    if !asked && !oracle::is_ci() {
        count.skip(
            NAME,
            "the engine is compared only with what they said once; this builds them: cargo xtask \
             test oracle",
        );
        return None;
    }
    match Oracle::build() {
        Ok(oracle) => {
            count.add(NAME, start, Ok(None));
            Some(oracle)
        }
        Err(error) if asked => {
            count.add(NAME, start, Err(error));
            None
        }
        Err(error) => {
            count.skip(NAME, &format!("they could not be built: {error:#}"));
            None
        }
    }
}

/// Compares a real model in every type with llama.cpp: all of it if `asked`, a little of it in
/// continuous integration.
fn real_weights(asked: bool, count: &mut Count) {
    const NAME: &str = "real weights";
    if !asked && !oracle::is_ci() {
        return count.skip(
            NAME,
            "it takes ten minutes; this runs it: cargo xtask test real",
        );
    }
    let model = match std::env::var_os("LLAMA2_REAL_MODEL") {
        // The test runs in another folder.
        Some(path) => std::path::absolute(&path).unwrap_or(path.into()),
        None => match fetch::chat_model() {
            Ok(model) => model,
            Err(error) => return count.skip(NAME, &format!("{error:#}")),
        },
    };
    let oracle = if asked {
        oracles(true, count)
    } else {
        Oracle::find()
    };
    let Some(oracle) = oracle else {
        return count.skip(NAME, "there is no llama.cpp to compare it with");
    };
    let mut tests = cargo(&["test", "--package", "llama2-engine", "--test", "engine"]);
    tests.args(["--", "real_weights", "--nocapture", "--test-threads=1"]);
    tests
        .envs(oracle.variables())
        .env("LLAMA2_REAL_MODEL", model);
    if !asked {
        tests.env("LLAMA2_REAL_SHORT", "1");
    }
    stage(NAME, count, tests, &[]);
}

/// Tests the other architecture's kernels and command, if asked or in continuous integration.
fn on_aarch64(asked: bool, count: &mut Count) {
    if !asked && !oracle::is_ci() {
        let why = "it takes minutes; this runs it: cargo xtask test aarch64";
        return count.skip(aarch64::NAME, why);
    }
    aarch64::stages(asked, count);
}

/// Tests several servers behind HAProxy, if asked or in continuous integration.
fn in_a_fleet(asked: bool, count: &mut Count) {
    if !asked && !oracle::is_ci() {
        let why = "it wants HAProxy; this runs it: cargo xtask test fleet";
        return count.skip(fleet::NAME, why);
    }
    fleet::stage(asked, count);
}

/// Tests the server's page in a browser, if asked or in continuous integration.
fn in_a_browser(asked: bool, count: &mut Count) {
    if !asked && !oracle::is_ci() {
        let why = "it wants Chromium and Node; this runs it: cargo xtask test browser";
        return count.skip(clients::BROWSER, why);
    }
    clients::browser(build::command, asked, count);
}

/// Runs llama.cpp's own server tests against `llama2 serve`, if asked or in continuous integration.
fn llama_cpp_server_tests(args: &TestArgs, count: &mut Count) {
    let asked = args.only.is_some();
    if !asked && !oracle::is_ci() {
        let why = "it takes minutes; this runs it: cargo xtask test server-suite";
        return count.skip(server_suite::NAME, why);
    }
    let oracle = if asked {
        oracles(true, count)
    } else {
        Oracle::find()
    };
    match oracle {
        Some(oracle) => server_suite::stage(&args.suite, &oracle, count),
        None => count.skip(
            server_suite::NAME,
            "there is no llama.cpp to take them from",
        ),
    }
}

/// Runs `cargo test`, and adds its own counts.
fn host_tests(
    name: &str,
    which: &[&str],
    oracle: Option<&Oracle>,
    count: &mut Count,
) -> Result<()> {
    println!("\n== {name}");
    let start = Instant::now();
    let mut tests = cargo(&["test"]);
    tests.arg("--no-fail-fast").args(which);
    // They have a stage of their own.
    tests.env_remove("LLAMA2_REAL_MODEL");
    if let Some(oracle) = oracle {
        tests.envs(oracle.variables());
    }
    let output = tests
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut skipped: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("test result: ") {
            let (passed, failed, ignored) = results(line);
            count.passed += passed;
            count.failed += failed;
            count.skipped += ignored;
        }
        if line.starts_with("SKIPPED: ") && !skipped.contains(&line) {
            skipped.push(line);
        }
        if !output.status.success()
            || line.starts_with("test result: ")
            || line.starts_with("worst")
        {
            println!("  {line}");
        }
    }
    for line in &skipped {
        println!("  {line}");
    }
    count.skipped += skipped.len();
    println!("  {:.1} s", start.elapsed().as_secs_f64());
    count.took(name, start);
    if !output.status.success() && count.failed == 0 {
        bail!("cargo test ended with {}", output.status);
    }
    Ok(())
}

fn soft_float_is_caught() -> Result<Option<String>> {
    let built = build::build_soft_float()?;
    match inspect::inspect(&built.efi, &built.map) {
        Ok(_) => bail!("it was not"),
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn images_are_the_same(built: &Built) -> Result<Option<String>> {
    let content = Content::gather(
        std::slice::from_ref(built),
        &Files::default(),
        None,
        &Default::default(),
    )?;
    let (one, two) = (target().join("same-1.img"), target().join("same-2.img"));
    let size = image::write(&content, &one)?;
    image::write(&content, &two)?;
    let same = std::fs::read(&one)? == std::fs::read(&two)?;
    for image in [one, two] {
        std::fs::remove_file(image)?;
    }
    if same {
        Ok(Some(format!("{size} bytes")))
    } else {
        bail!("they differ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines() {
        let line =
            "ok. 12 passed; 3 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.05s";
        assert_eq!(results(line), (12, 3, 1));
        assert_eq!(
            results("FAILED. 0 passed; 1 failed; 0 ignored; 0 measured"),
            (0, 1, 0)
        );
    }
}
