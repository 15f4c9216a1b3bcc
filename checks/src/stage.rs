//! Stages of `cargo xtask test` that are one program each.

use std::{
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use xtask::{setup, shell::root};

use crate::count::Count;

/// cargo in the project's folder.
pub fn cargo(args: &[&str]) -> Command {
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(root()).args(args);
    cargo
}

/// Runs tests that must succeed, and of which there must be at least one: a filter may have become
/// outdated.
pub fn some_tests(name: &str, count: &mut Count, mut tests: Command, variable: (&str, &str)) {
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
pub fn stage(name: &str, count: &mut Count, mut command: Command, environment: &[(&str, &str)]) {
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

/// Passed, failed and ignored tests in one of libtest's result lines.
pub fn results(line: &str) -> (usize, usize, usize) {
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
