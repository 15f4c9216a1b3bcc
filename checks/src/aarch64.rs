//! The other architecture's kernels and command, in an emulator of its programs: QEMU's, with a
//! processor that has every extension and with one that has none.

use std::{process::Command, time::Instant};

use xtask::{
    dist::System,
    setup,
    shell::{check, has, root, target},
};

use crate::{
    count::Count,
    stage::{cargo, some_tests, stage},
};

/// Name of the stage.
pub const NAME: &str = "aarch64";

/// The emulator.
const QEMU: &str = "qemu-aarch64";

/// Processors: all that the emulator knows, and the Raspberry Pi 4's, with NEON alone.
const CPUS: [&str; 2] = ["max", "cortex-a72"];

/// The system that programs are built for. Its command is static: it needs no libraries here.
const SYSTEM: System = System::LinuxAarch64;

/// Tests, with the words that select them: all kernels against the scalar ones; digests of logits,
/// and the bundled model's logits; what the application does by itself with the processor.
const TESTS: [(&str, &[&str]); 3] = [
    ("llama2-tensor", &["--lib", "--", "kernels"]),
    (
        "llama2-engine",
        &["--test", "engine", "--", "digests", "logits::bundled"],
    ),
    (
        "llama2-efi",
        &["--lib", "--", "arch::aarch64", "calls_go_there"],
    ),
];

/// Targets of systems that nothing runs of here, and what is checked for them: all but what needs a
/// C compiler for them.
const CHECKED: [&str; 2] = ["aarch64-apple-darwin", "aarch64-pc-windows-msvc"];
const PACKAGES: [&str; 3] = ["llama2-app", "llama2-serve", "llama2-convert"];

/// Runs the stage.
pub fn stages(asked: bool, count: &mut Count) {
    let start = Instant::now();
    let missing: &[&str] = if has(QEMU) { &[] } else { &["qemu-user"] };
    let can_be = SYSTEM
        .prepare()
        .and_then(|()| setup::install(missing, "running AArch64's programs"));
    if let Err(error) = can_be {
        return match asked {
            true => count.add(NAME, start, Err(error)),
            false => count.skip(NAME, &format!("{error:#}")),
        };
    }
    for cpu in CPUS {
        for (package, which) in TESTS {
            let mut tests = cross(&["test", "--quiet", "--package", package]);
            tests.args(which);
            let runner = format!("{QEMU} -cpu {cpu}");
            let name = format!("{NAME}: {package} on {cpu}");
            some_tests(&name, count, tests, (&SYSTEM.variable("RUNNER"), &runner));
        }
    }
    let build = cross(&[
        "build",
        "--quiet",
        "--profile",
        "test",
        "--package",
        "llama2-cli",
    ]);
    stage("aarch64: building the command", count, build, &[]);
    // This system's tests run it.
    let mut tests = cargo(&["test", "--quiet", "--package", "llama2-cli"]);
    tests.args(["--test", "goldens", "--", "stories330k"]);
    let program = target().join(SYSTEM.target()).join("debug/llama2");
    // Default kernels and threads.
    let command = format!("{QEMU} -cpu {} {}", CPUS[0], program.display());
    let variable = ("LLAMA2_COMMAND", &command[..]);
    some_tests("aarch64: the command's goldens", count, tests, variable);
    for target in CHECKED {
        let name = format!("{NAME}: a check for {target}");
        let mut rustup = Command::new("rustup");
        rustup.current_dir(root()).args(["target", "add", target]);
        if let Err(error) = check(&mut rustup) {
            count.skip(&name, &format!("{error:#}"));
            continue;
        }
        let mut packages = cargo(&["check", "--quiet", "--target", target]);
        packages.args(PACKAGES.map(|package| format!("--package={package}")));
        stage(&name, count, packages, &[]);
    }
}

/// cargo with what it needs to build for the other architecture.
fn cross(words: &[&str]) -> Command {
    let mut cargo = cargo(words);
    cargo.args(["--target", SYSTEM.target()]);
    cargo.envs(SYSTEM.environment());
    cargo
}
