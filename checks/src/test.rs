//! `cargo xtask test`: all checks, in stages, with a count at the end.

use std::{
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail};

use libtest_mimic::Arguments;
use xtask::{
    build,
    image::{self, Content, Files},
    setup,
    shell::{output, root, target},
};

use crate::{
    count::Count,
    fuzz, inspect,
    oracle::{self, Oracle},
};

#[derive(clap::Args)]
pub struct TestArgs {
    /// Only stages (or boots) whose names contain this; `oracle` builds the reference programs
    only: Option<String>,
    /// Also prove that the inspection catches a soft-float build (builds one: a minute more)
    #[arg(long)]
    soft_float: bool,
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
    if wanted("format") || wanted("lints") {
        setup::for_lints()?;
    }
    if wanted("format") {
        stage("format", count, cargo(&["fmt", "--all", "--check"]), &[]);
    }
    if wanted("lints") {
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
        stage("lints (application)", count, build::clippy()?, &[]);
    }
    if wanted("documentation") {
        let documentation = cargo(&[
            "doc",
            "--quiet",
            "--workspace",
            "--no-deps",
            "--document-private-items",
        ]);
        stage(
            "documentation",
            count,
            documentation,
            &[("RUSTDOCFLAGS", "-D warnings")],
        );
    }
    if wanted("host tests") {
        setup::for_fetch()?;
        let start = Instant::now();
        let oracle = oracles(false, count);
        count.took("oracles", start);
        let all = ["--workspace", "--", "--show-output"];
        host_tests("host tests", &all, oracle.as_ref(), count)?;
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
    let built = build::build().context("without the application there is nothing to boot")?;
    let said = built.efi.display().to_string();
    count.add("build", start, Ok(Some(said)));
    count.took("application", start);
    if wanted("inspect") {
        let start = Instant::now();
        let found = inspect::inspect(&built.efi, &built.map);
        count.add("inspect", start, found.map(|found| Some(found.to_string())));
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
        let same = images_are_the_same(&built.efi);
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

fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(root()).args(args);
    cargo
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
    tests.args(["work_queue", "try_lock", "ring"]);
    // A thread that gives up never returns, so such threads remain.
    some_tests(NAME, count, tests, ("MIRIFLAGS", "-Zmiri-ignore-leaks"));
    let mut session = rustup(&["run", "nightly", "cargo", "miri", "test", "--quiet"]);
    session.args(["--package", "llama2-engine", "--test", "engine"]);
    session.args(["--", "soundness"]);
    // The measuring allocator calls the system's, which Miri does not allow.
    let flags = ("MIRIFLAGS", "-Zmiri-disable-isolation");
    some_tests("miri: a tiny session", count, session, flags);
}

/// Runs tests that must succeed, and of which there must be at least one: a filter may have become
/// outdated.
fn some_tests(name: &str, count: &mut Count, mut tests: Command, variable: (&str, &str)) {
    println!("\n== {name}");
    let start = Instant::now();
    let output = tests
        .env(variable.0, variable.1)
        .stderr(Stdio::inherit())
        .output();
    let result = output.context("could not be started").and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout);
        print!("{text}");
        let lines = text
            .lines()
            .filter_map(|line| line.strip_prefix("test result: "));
        let passed: usize = lines.map(|line| results(line).0).sum();
        match (output.status.success(), passed) {
            (true, 1..) => Ok(Some(format!("{passed} passed"))),
            (true, 0) => bail!("no test has such a name"),
            (false, _) => bail!("{}", output.status),
        }
    });
    count.add(name, start, result);
    count.took(name, start);
}

/// Runs a program that must succeed.
fn stage(name: &str, count: &mut Count, mut command: Command, environment: &[(&str, &str)]) {
    println!("\n== {name}");
    let start = Instant::now();
    let status = command.envs(environment.iter().copied()).status();
    let result = status.context("could not be started").and_then(|status| {
        if status.success() {
            Ok(None)
        } else {
            bail!("{status}")
        }
    });
    count.add(name, start, result);
    count.took(name, start);
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

/// Passed, failed and ignored tests in one of libtest's result lines.
fn results(line: &str) -> (usize, usize, usize) {
    let number = |what: &str| {
        let before = line.split(what).next().unwrap_or_default();
        before
            .rsplit([' ', ';'])
            .find(|word| !word.is_empty())
            .and_then(|word| word.parse().ok())
            .unwrap_or(0)
    };
    (number(" passed"), number(" failed"), number(" ignored"))
}

fn soft_float_is_caught() -> Result<Option<String>> {
    let built = build::build_soft_float()?;
    match inspect::inspect(&built.efi, &built.map) {
        Ok(_) => bail!("it was not"),
        Err(error) => Ok(Some(error.to_string())),
    }
}

fn images_are_the_same(efi: &Path) -> Result<Option<String>> {
    let content = Content::gather(efi, &Files::default(), None, &Default::default())?;
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
