//! `cargo xtask fuzz`: the fuzzers of `fuzz/`, where cargo-fuzz is installed.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::{
    setup,
    shell::{check, root, target},
};

/// A target, and the bytes that its inputs have at most.
const TARGETS: [(&str, u32); 4] = [
    ("gguf", 48 << 10),
    ("llama2c", 8 << 10),
    ("tokenizer", 16 << 10),
    ("tokenisation", 1 << 10),
];

#[derive(clap::Args)]
pub struct FuzzArgs {
    /// gguf, llama2c, tokenizer or tokenisation [default: each in turn]
    #[arg(value_parser = TARGETS.map(|(name, _)| name))]
    target: Option<String>,
    /// How long each runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Then keep the smallest inputs that reach all that was reached, in fuzz/inputs
    #[arg(long)]
    keep: bool,
}

/// Bytes of a target's inputs that are kept: they are in the repository.
const KEPT: usize = 96 << 10;

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
        if args.target.as_ref().is_some_and(|wanted| wanted != name) {
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
        if args.keep {
            let least = target().join("fuzz-least").join(name);
            std::fs::create_dir_all(&least)?;
            let mut merge = fuzz(&["run", name]);
            merge.arg(&least).arg(&folders[0]).args(["--", "-merge=1"]);
            check(&mut merge)?;
            keep(&least, &root().join("fuzz/inputs").join(name))?;
            std::fs::remove_dir_all(&least)?;
        }
    }
    Ok(())
}

/// Packs the smallest files of a folder into one: each behind its length as u32.
fn keep(folder: &Path, file: &Path) -> Result<()> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        inputs.push(std::fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut out = Vec::new();
    let mut count = 0;
    for input in &inputs {
        if out.len() + 4 + input.len() > KEPT {
            break;
        }
        out.extend((input.len() as u32).to_le_bytes());
        out.extend(input);
        count += 1;
    }
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new(".")))?;
    std::fs::write(file, &out).with_context(|| file.display().to_string())?;
    println!("{}: {count} of {} inputs", file.display(), inputs.len());
    Ok(())
}
