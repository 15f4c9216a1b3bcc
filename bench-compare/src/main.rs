//! `cargo xtask bench`: compares our program with others, interleaved round by round on one
//! machine.
//!
//! The speed of shared machines changes from minute to minute. Therefore only programs that ran in
//! turn are compared, by ratios within a round, and a round counts only if memory was as fast after
//! it as before and no other program was active.
#![forbid(unsafe_code)]

mod machine;
mod peer;
mod report;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use llama2_engine::{
    bench::{
        Test, Work,
        statistics::{TOLERANCE, change},
    },
    checkpoint::Checkpoint,
};
use serde_json::Value;
use xtask::{
    setup,
    shell::{check, ended, root, target},
};

use peer::{Answer, Kind, Peer, Setup};

/// Compare our speed with other programs', interleaved round by round.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", after_help = HELP)]
struct Args {
    /// A model: one file for every program that can read it, or each program's own:
    /// ours=FILE,llama.cpp=FILE,llama2.c=FILE
    #[arg(long = "model", required = true, value_name = "FILES")]
    #[arg(num_args = 1.., value_parser = Files::parse)]
    models: Vec<Files>,

    /// A program to compare with: NAME=PATH or "NAME=PATH;VERSION AND FLAGS". A name begins with
    /// llama.cpp (the path of llama-bench) or llama2.c (the path of run; runq beside it)
    #[arg(long = "peer", value_name = "PEER", value_parser = Peer::parse)]
    peers: Vec<Peer>,

    /// Rounds that must count; up to three times as many are run
    #[arg(long, default_value_t = 5, value_name = "NUMBER")]
    rounds: usize,

    /// Tokens of the prompt; 0 omits the test
    #[arg(
        short,
        value_delimiter = ',',
        default_value = "512",
        value_name = "NUMBERS"
    )]
    prompt: Vec<usize>,

    /// Tokens to generate; 0 omits the test
    #[arg(
        short = 'n',
        value_delimiter = ',',
        default_value = "128",
        value_name = "NUMBERS"
    )]
    generate: Vec<usize>,

    /// Threads
    #[arg(
        short,
        value_delimiter = ',',
        default_value = "1,2",
        value_name = "NUMBERS"
    )]
    threads: Vec<usize>,

    /// Our vector unit, as `llama2 --kernels` knows it [default: the best that this machine has]
    #[arg(long, value_name = "NAME")]
    kernels: Option<String>,

    /// Type of our keys and values: f32 or f16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    kv: String,

    /// llama2.c's tokenizer [default: tokenizer.bin beside the model]
    #[arg(long, value_name = "FILE")]
    tokenizer: Option<PathBuf>,

    /// Our llama2 [default: built now]
    #[arg(long, value_name = "FILE")]
    llama2: Option<PathBuf>,

    /// Name of the result files, to which .md and .json are appended
    #[arg(long, value_name = "NAME")]
    output: Option<PathBuf>,
}

const HELP: &str = "\
Example:
  cargo xtask bench --model stories15M.bin ours=15M.q8_0.gguf,llama.cpp=15M.q8_0.gguf \\
      --peer llama.cpp=llama.cpp/build/bin/llama-bench \\
      --peer 'llama2.c=llama2.c/run;350e04f, gcc 12 -Ofast -march=native'";

/// One model, in the formats that the programs read.
#[derive(Debug, Clone, PartialEq)]
struct Files {
    ours: PathBuf,
    llama_cpp: Option<PathBuf>,
    llama2_c: Option<PathBuf>,
}

impl Files {
    fn parse(text: &str) -> Result<Files, String> {
        if !text.contains('=') {
            let file = PathBuf::from(text);
            let gguf = file
                .extension()
                .is_some_and(|e| e.eq_ignore_ascii_case("gguf"));
            return Ok(Files {
                llama_cpp: gguf.then(|| file.clone()),
                llama2_c: (!gguf).then(|| file.clone()),
                ours: file,
            });
        }
        let (mut ours, mut llama_cpp, mut llama2_c) = (None, None, None);
        for part in text.split(',') {
            let place = match part.split_once('=') {
                Some(("ours", file)) => (&mut ours, file),
                Some(("llama.cpp", file)) => (&mut llama_cpp, file),
                Some(("llama2.c", file)) => (&mut llama2_c, file),
                _ => {
                    return Err(format!(
                        "{part}: must be ours=FILE, llama.cpp=FILE or llama2.c=FILE"
                    ));
                }
            };
            *place.0 = Some(PathBuf::from(place.1));
        }
        Ok(Files {
            ours: ours.ok_or("ours=FILE is missing")?,
            llama_cpp,
            llama2_c,
        })
    }

    fn of(&self, kind: Kind) -> Option<&Path> {
        match kind {
            Kind::Ours => Some(&self.ours),
            Kind::LlamaCpp => self.llama_cpp.as_deref(),
            Kind::OursRun | Kind::Llama2C => self.llama2_c.as_deref(),
        }
    }

    fn name(&self) -> String {
        let name = self.ours.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }
}

/// One round of a cell.
#[derive(Debug, Clone, PartialEq)]
struct Round {
    /// Tokens per second of each program.
    rates: Vec<f64>,
    /// Rates in GB/s at which the machine read memory before and after.
    read: (f64, f64),
    /// Number of processors kept busy by others, if the system reports it.
    others: Option<f64>,
}

/// Largest share of a processor that others may use in a round that counts.
const OTHERS: f64 = 0.05;

impl Round {
    fn unsteady(&self) -> bool {
        change(self.read.0, self.read.1) > TOLERANCE
    }

    fn disturbed(&self) -> bool {
        self.others.is_some_and(|others| others > OTHERS)
    }

    fn counts(&self) -> bool {
        !self.unsteady() && !self.disturbed()
    }
}

/// Results of all programs for a model, a test and a number of threads.
struct Cell {
    model: String,
    kind: String,
    test: Test,
    threads: usize,
    /// Names of the programs, ours first.
    programs: Vec<String>,
    /// Index of our program that does the same work as each: run.c samples and prints its tokens,
    /// llama-bench does not.
    rivals: Vec<usize>,
    /// Bytes of weights that each reads per token; 0 if unknown.
    bytes: Vec<u64>,
    rounds: Vec<Round>,
    /// Complete output of our last run.
    ours: Value,
}

impl Cell {
    /// Rounds that count, or all if none does.
    fn counted(&self) -> Vec<&Round> {
        let counted: Vec<&Round> = self.rounds.iter().filter(|round| round.counts()).collect();
        if counted.is_empty() {
            self.rounds.iter().collect()
        } else {
            counted
        }
    }
}

/// Program with a model.
struct Runner<'a> {
    peer: &'a Peer,
    model: &'a Path,
    bytes: u64,
}

fn main() -> ExitCode {
    ended(compare(&Args::parse()))
}

fn compare(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "--rounds must be at least 1");
    let llama2 = match &args.llama2 {
        Some(path) => path.clone(),
        None => {
            let mut cargo = Command::new(setup::cargo());
            cargo.current_dir(root());
            check(cargo.args(["build", "--release", "--quiet", "-p", "llama2-cli"]))?;
            target().join("release/llama2")
        }
    };
    let mut options = vec!["--kv".to_owned(), args.kv.clone()];
    if let Some(kernels) = &args.kernels {
        options.extend(["--kernels".to_owned(), kernels.clone()]);
    }
    let setup = Setup {
        ours: options,
        tokenizer: args.tokenizer.clone(),
    };
    let ours = |name: &str, kind| Peer {
        name: name.into(),
        kind,
        path: llama2.clone(),
        words: None,
    };
    let (bench, run) = (
        ours("llama2 bench", Kind::Ours),
        ours("llama2 run", Kind::OursRun),
    );
    let mut peers: Vec<&Peer> = vec![&bench];
    if args.peers.iter().any(|peer| peer.kind == Kind::Llama2C) {
        peers.push(&run);
    }
    peers.extend(&args.peers);

    let name = args
        .output
        .clone()
        .unwrap_or_else(|| target().join("bench"));
    let about = About {
        machine: machine::description(),
        peers: args
            .peers
            .iter()
            .map(|peer| (peer.name.clone(), peer.origin()))
            .collect(),
        options: setup.ours.join(" "),
    };
    let prompts = args.prompt.iter().copied().map(Work::Prompt);
    let works: Vec<Work> = prompts
        .chain(args.generate.iter().copied().map(Work::Generate))
        .collect();
    let mut cells = Vec::new();
    let mut sizes = HashMap::new();
    for model in &args.models {
        for &work in &works {
            for &threads in &args.threads {
                let test = Test {
                    work,
                    depth: 0,
                    parallel: 1,
                };
                if test.tokens() == 0 {
                    continue;
                }
                cells.push(cell(
                    model,
                    test,
                    threads,
                    &peers,
                    &setup,
                    args.rounds,
                    &mut sizes,
                )?);
                // After each cell, so that interrupting a long comparison keeps the results so far.
                about.write(&cells, &name)?;
            }
        }
    }
    println!("{}", about.markdown(&cells));
    eprintln!("xtask: written to {0}.md and {0}.json", name.display());
    Ok(())
}

/// Programs that were compared, and the machine.
struct About {
    machine: Vec<(&'static str, String)>,
    peers: Vec<(String, Vec<String>)>,
    options: String,
}

/// Runs all rounds of one cell. `sizes` caches the size of each program's model in bytes.
fn cell(
    files: &Files,
    test: Test,
    threads: usize,
    peers: &[&Peer],
    setup: &Setup,
    wanted: usize,
    sizes: &mut HashMap<(String, PathBuf), u64>,
) -> Result<Cell> {
    let mut runners = Vec::new();
    let mut said = Value::Null;
    for peer in peers {
        let Some(model) = files.of(peer.kind) else {
            continue;
        };
        if !peer.can(&test, threads, model)? {
            continue;
        }
        // One run that does not count: it loads the file into the host's memory, and reports its
        // size.
        let answer = peer.measure(model, setup, &test, threads)?;
        if peer.kind == Kind::Ours {
            said = answer.said.clone();
        }
        let key = (peer.name.clone(), model.to_owned());
        let bytes = *sizes
            .entry(key)
            .or_insert_with(|| bytes_per_token(model, &answer));
        runners.push(Runner { peer, model, bytes });
    }
    let [ours, ..] = &runners[..] else {
        bail!("nothing to run")
    };
    let llama2 = &ours.peer.path;
    let working_set = said["bytes_per_token"]
        .as_u64()
        .context("ours does not say bytes_per_token")?;
    let mut cell = Cell {
        model: files.name(),
        kind: said["model_type"].as_str().unwrap_or_default().to_owned(),
        test,
        threads,
        programs: runners
            .iter()
            .map(|runner| runner.peer.name.clone())
            .collect(),
        rivals: runners
            .iter()
            .map(|runner| rival(&runners, runner))
            .collect(),
        bytes: runners.iter().map(|runner| runner.bytes).collect(),
        rounds: Vec::new(),
        ours: said,
    };
    let mut before = machine::read_rate(llama2, working_set, threads)?;
    let mut counted = 0;
    while counted < wanted && cell.rounds.len() < 3 * wanted {
        let mut rates = vec![0.0; runners.len()];
        let watch = machine::Others::watch();
        // A different program begins each round, so that none always runs after the same other one.
        for turn in 0..runners.len() {
            let which = (turn + cell.rounds.len()) % runners.len();
            let Runner { peer, model, .. } = &runners[which];
            let answer = peer.measure(model, setup, &test, threads)?;
            rates[which] = answer.rate;
            if peer.kind == Kind::Ours {
                cell.ours = answer.said;
            }
        }
        let others = watch.and_then(|watch| watch.busy());
        let after = machine::read_rate(llama2, working_set, threads)?;
        let round = Round {
            rates,
            read: (before, after),
            others,
        };
        before = after;
        counted += usize::from(round.counts());
        let words = match (round.unsteady(), round.disturbed()) {
            (false, false) => "",
            (true, _) => "; not counted: memory changed its speed",
            (false, true) => "; not counted: others were at work",
        };
        let rates: Vec<String> = round
            .rates
            .iter()
            .map(|rate| format!("{rate:.1}"))
            .collect();
        eprintln!(
            "{} {test} {threads}T: {} t/s, read {:.1} to {:.1} GB/s{words}",
            cell.model,
            rates.join(" "),
            round.read.0,
            round.read.1,
        );
        cell.rounds.push(round);
    }
    Ok(cell)
}

/// Index of our program that does the same work as this one.
fn rival(runners: &[Runner<'_>], runner: &Runner<'_>) -> usize {
    let same = match runner.peer.kind {
        Kind::Llama2C => Kind::OursRun,
        _ => Kind::Ours,
    };
    runners
        .iter()
        .position(|runner| runner.peer.kind == same)
        .unwrap_or(0)
}

/// Bytes of weights that a decode step of a program reads.
fn bytes_per_token(model: &Path, answer: &Answer) -> u64 {
    if let Some(bytes) = answer.said["bytes_per_token"].as_u64() {
        return bytes;
    }
    // llama-bench reports all tensors. For llama2.c it is the file's contents, without the
    // embedding if the classifier is a separate matrix.
    answer.size.or_else(|| checkpoint_bytes(model)).unwrap_or(0)
}

/// Bytes of weights that a decode step reads from one of llama2.c's files.
fn checkpoint_bytes(model: &Path) -> Option<u64> {
    let bytes = std::fs::read(model).ok()?;
    let checkpoint = Checkpoint::open(&mut &bytes[..]).ok()?;
    let weights = checkpoint.weight_bytes();
    let c = &checkpoint.config;
    let embedding = (c.vocab_size * c.dim) as u64;
    let own = weights * embedding / checkpoint.parameters().max(1);
    Some(if c.shared_classifier {
        weights
    } else {
        weights - own
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_go_to_the_programs_that_read_them() {
        let gguf = Files::parse("a.gguf").unwrap();
        assert_eq!(gguf.of(Kind::LlamaCpp), Some(Path::new("a.gguf")));
        assert_eq!(gguf.of(Kind::Llama2C), None);
        let bin = Files::parse("a.bin").unwrap();
        assert_eq!(
            (bin.of(Kind::Llama2C), bin.of(Kind::LlamaCpp)),
            (Some(Path::new("a.bin")), None)
        );
        let own = Files::parse("ours=a.gguf,llama2.c=a.bin").unwrap();
        assert_eq!(
            (own.of(Kind::Ours), own.of(Kind::LlamaCpp)),
            (Some(Path::new("a.gguf")), None)
        );
        assert_eq!(own.of(Kind::OursRun), Some(Path::new("a.bin")));
        assert!(Files::parse("calm=a").is_err() && Files::parse("llama.cpp=a").is_err());
    }

    #[test]
    fn rounds_count_only_on_a_steady_machine_to_ourselves() {
        let round = |read, others| Round {
            rates: vec![1.0],
            read,
            others,
        };
        assert!(round((30.0, 31.0), None).counts());
        assert!(round((30.0, 31.0), Some(0.04)).counts());
        assert!(!round((35.0, 57.0), Some(0.0)).counts());
        assert!(!round((30.0, 30.0), Some(0.5)).counts());
    }
}
