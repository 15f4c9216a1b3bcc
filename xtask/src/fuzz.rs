//! `cargo xtask fuzz`: the fuzzers of `fuzz/`, where cargo-fuzz is installed.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{
    setup,
    shell::{check, root},
};

/// A target, and the bytes that its inputs have at most.
const TARGETS: [(&str, u32); 4] = [
    ("gguf", 48 << 10),
    ("llama2c", 8 << 10),
    ("tokenizer", 16 << 10),
    ("tokenisation", 4 << 10),
];

#[derive(clap::Args)]
pub struct FuzzArgs {
    /// gguf, llama2c, tokenizer or tokenisation [default: each in turn]
    #[arg(value_parser = TARGETS.map(|(name, _)| name))]
    target: Option<String>,
    /// How long each runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
}

/// Runs the target or all of them; the first input that breaks a promise ends it, and lies in `fuzz/artifacts`.
pub fn fuzz(args: &FuzzArgs) -> Result<()> {
    let fuzz = |words: &[&str]| {
        let mut command = Command::new(setup::cargo());
        // Sanitizers are for nightly compilers, says the stable one, which has them all the same.
        command
            .current_dir(root())
            .arg("fuzz")
            .args(words)
            .env("RUSTC_BOOTSTRAP", "1");
        command
    };
    let there = fuzz(&["--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !there.is_ok_and(|status| status.success()) {
        bail!("cargo-fuzz is not installed; install it with: cargo install cargo-fuzz");
    }
    for (name, longest) in TARGETS {
        if args.target.as_ref().is_some_and(|target| target != name) {
            continue;
        }
        println!("== {name}, {} s", args.seconds);
        let folders = [
            format!("fuzz/corpus/{name}"),
            format!("fuzz/regressions/{name}"),
        ];
        let mut command = fuzz(&["run", name]);
        command.args(
            folders
                .iter()
                .filter(|folder| *folder == &folders[0] || root().join(folder).is_dir()),
        );
        command.arg("--").args([
            format!("-max_total_time={}", args.seconds),
            format!("-max_len={longest}"),
            "-timeout=10".into(),
            "-rss_limit_mb=2048".into(),
            "-print_final_stats=1".into(),
        ]);
        let dictionary = format!("fuzz/{name}.dict");
        if root().join(&dictionary).is_file() {
            command.arg(format!("-dict={dictionary}"));
        }
        check(&mut command)?;
    }
    Ok(())
}
