//! `cargo xtask fuzz`: runs the fuzzers of `fuzz/`, if cargo-fuzz is installed.

use std::{
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Instant,
};

use anyhow::{Context, Result, bail};
use xtask::{
    setup,
    shell::{check, output, root, target},
};

use crate::{count::Count, oracle::is_ci};

/// Targets: name, largest input in bytes, and total size of the inputs that are kept in the
/// repository.
const TARGETS: [(&str, u32, usize); 14] = [
    ("gguf", 48 << 10, 96 << 10),
    ("llama2c", 8 << 10, 96 << 10),
    ("tokenizer", 16 << 10, 96 << 10),
    ("tokenisation", 1 << 10, 96 << 10),
    ("configuration", 2 << 10, 24 << 10),
    ("conversation", 2 << 10, 24 << 10),
    ("command_line", 1 << 10, 24 << 10),
    ("keys", 1 << 10, 24 << 10),
    ("terminal", 1 << 10, 24 << 10),
    ("jinja", 2 << 10, 96 << 10),
    ("markdown", 2 << 10, 24 << 10),
    ("serve", 2 << 10, 96 << 10),
    ("download", 2 << 10, 24 << 10),
    ("http", 2 << 10, 96 << 10),
];

/// Target that keeps its servers from input to input: to libFuzzer each input seems to leak, and to
/// look for that takes a hundred times as long as the input.
const KEEPS_MEMORY: &str = "http";

#[derive(clap::Args)]
pub struct FuzzArgs {
    /// Fuzzer to run [default: each in turn]
    #[arg(value_parser = TARGETS.map(|(name, ..)| name))]
    target: Option<String>,
    /// Seconds that each runs
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u32,
    /// Then keep the smallest set of inputs that covers everything reached, in fuzz/inputs
    #[arg(long)]
    keep: bool,
}

fn cargo_fuzz(words: &[&str]) -> Command {
    let mut command = Command::new(setup::cargo());
    // Sanitizers are for nightly compilers, says the stable one, which has them all the same.
    command
        .current_dir(root())
        .arg("fuzz")
        .args(words)
        .env("RUSTC_BOOTSTRAP", "1");
    command
}

fn is_installed() -> bool {
    output(cargo_fuzz(&["--version"]).stderr(Stdio::null())).is_some()
}

/// Reason why fuzzing is not possible here, if it is not: Debian's compilers lack the sanitizer.
fn lacking() -> Option<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libraries = output(Command::new(rustc).args(["--print", "target-libdir"]));
    let files = libraries.and_then(|folder| std::fs::read_dir(folder).ok());
    let is_sanitizer = |name: &str| name.starts_with("librustc") && name.contains("rt.asan");
    let mut files = files.into_iter().flatten().flatten();
    if !files.any(|file| is_sanitizer(&file.file_name().to_string_lossy())) {
        return Some("this compiler has no address sanitizer; rustup's has".into());
    }
    if !is_installed() {
        return Some(
            "cargo-fuzz is not installed; install it with: cargo install cargo-fuzz".into(),
        );
    }
    None
}

/// Runs one target or all of them. The first failing input ends the run and is stored in
/// `fuzz/artifacts`.
pub fn fuzz(args: &FuzzArgs) -> Result<()> {
    if let Some(why) = lacking() {
        bail!(why);
    }
    for (name, longest, most) in TARGETS {
        if args.target.as_ref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        println!("== {name}, {} s", args.seconds);
        check(&mut command(name, longest, args.seconds))?;
        if args.keep {
            let least = target().join("fuzz-least").join(name);
            std::fs::create_dir_all(&least)?;
            let mut merge = cargo_fuzz(&["run", name]);
            let corpus = format!("fuzz/corpus/{name}");
            merge.arg(&least).arg(corpus).args(["--", "-merge=1"]);
            check(&mut merge)?;
            keep(&least, &root().join("fuzz/inputs").join(name), most)?;
            std::fs::remove_dir_all(&least)?;
        }
    }
    Ok(())
}

fn command(name: &str, longest: u32, seconds: u32) -> Command {
    let folders = [
        format!("fuzz/corpus/{name}"),
        format!("fuzz/regressions/{name}"),
    ];
    let mut command = cargo_fuzz(&["run", name]);
    command.args(
        folders
            .iter()
            .filter(|folder| *folder == &folders[0] || root().join(folder).is_dir()),
    );
    command.arg("--").args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={longest}"),
        "-timeout=10".into(),
        "-rss_limit_mb=2048".into(),
        "-print_final_stats=1".into(),
    ]);
    if name == KEEPS_MEMORY {
        command.arg("-detect_leaks=0");
    }
    let dictionary = format!("fuzz/{name}.dict");
    if root().join(&dictionary).is_file() {
        command.arg(format!("-dict={dictionary}"));
    }
    command
}

/// Seconds that each fuzzer runs in continuous integration: enough to see that it works.
const SHORT: u32 = 20;

/// Random numbers of short runs, always the same: a change is tested, not luck. `cargo xtask fuzz`
/// looks for what nobody knows.
const SEED: &str = "-seed=16";

/// Runs each target for a short time, if `asked`.
pub fn shortly(asked: bool, count: &mut Count) {
    const NAME: &str = "fuzzers";
    println!("\n== fuzzers");
    if !asked && !is_ci() {
        return count.skip(
            NAME,
            "what they found is tested, and nothing looked for; this runs each for a while: cargo \
             xtask test fuzz",
        );
    }
    if is_ci() && !is_installed() {
        let mut install = Command::new(setup::cargo());
        // If it fails, the next message says what is missing.
        let _ = check(install.args(["install", "--quiet", "--locked", "cargo-fuzz"]));
    }
    if let Some(why) = lacking() {
        return count.skip(NAME, &why);
    }
    let start = Instant::now();
    let built = check(&mut cargo_fuzz(&["build"]));
    let is_built = built.is_ok();
    count.add("fuzzers are built", start, built.map(|()| None));
    if !is_built {
        return;
    }
    // Each has one thread.
    let next = AtomicUsize::new(0);
    let count = Mutex::new(count);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((name, longest, _)) = TARGETS.get(next.fetch_add(1, Relaxed)) {
                    let start = Instant::now();
                    let result = short_run(name, *longest);
                    let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
                    count.add(&format!("fuzzer: {name}"), start, result);
                }
            });
        }
    });
}

/// Runs one target for [`SHORT`] seconds and says how often.
fn short_run(name: &str, longest: u32) -> Result<Option<String>> {
    let output = command(name, longest, SHORT)
        .arg(SEED)
        .output()
        .context("cargo fuzz")?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return executions(&said).map(Some);
    }
    let lines: Vec<&str> = said.lines().collect();
    let last = lines[lines.len().saturating_sub(60)..].join("\n");
    bail!("{}:\n{last}", output.status)
}

/// Parses executions and edges from libFuzzer's last lines. A fuzzer that executed nothing counts
/// as failed.
fn executions(said: &str) -> Result<String> {
    let after = |text: &str, what: &str| {
        let rest = &text[text.rfind(what)? + what.len()..];
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    let executions = after(said, "stat::number_of_executed_units:").unwrap_or(0);
    if executions < 100 {
        bail!("it ran, but only {executions} times: see `cargo xtask fuzz`");
    }
    let edges = after(said, " cov: ").unwrap_or(0);
    Ok(format!("{executions} executions, {edges} edges"))
}

/// Packs the smallest files of a folder into one, each preceded by its length as u32.
fn keep(folder: &Path, file: &Path, most: usize) -> Result<()> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        inputs.push(std::fs::read(entry?.path())?);
    }
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    let mut out = Vec::new();
    let mut count = 0;
    for input in &inputs {
        if out.len() + 4 + input.len() > most {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words() {
        let said = "#2048 pulse cov: 10 ft: 3\n#4096\tDONE   cov: 8882 ft: 21400 corp: 812/3Mb\n\
                    stat::number_of_executed_units: 86262\nstat::average_exec_per_sec: 854\n";
        assert_eq!(executions(said).unwrap(), "86262 executions, 8882 edges");
        for said in ["", "stat::number_of_executed_units: 12\n", "cov: 1"] {
            assert!(executions(said).is_err(), "{said}");
        }
    }

    #[test]
    fn every_target_is_there_and_known() {
        let manifest = std::fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
        for (name, ..) in TARGETS {
            let file = root().join(format!("fuzz/fuzz_targets/{name}.rs"));
            assert!(file.is_file(), "{}", file.display());
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}
