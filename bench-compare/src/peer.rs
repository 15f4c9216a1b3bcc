//! Programs to compare, others and ours: their command lines and their output.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use llama2_engine::bench::{Test, Work};
use object::{Object, ObjectSection};
use serde_json::Value;

/// Kind of program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// This project's `llama2 bench`.
    Ours,
    /// This project's `llama2 run`, which does what run.c does: it samples each token and prints
    /// it.
    OursRun,
    /// llama.cpp's llama-bench.
    LlamaCpp,
    /// llama2.c's run.c, with runq.c beside it.
    Llama2C,
}

/// Program that is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Peer {
    /// Name in tables.
    pub name: String,
    pub kind: Kind,
    pub path: PathBuf,
    /// Version and flags, as given by its builder.
    pub words: Option<String>,
}

impl Peer {
    /// Parses `NAME=PATH` or `NAME=PATH;VERSION AND FLAGS`, where the name begins with llama.cpp or
    /// llama2.c.
    pub fn parse(text: &str) -> Result<Peer, String> {
        let (name, rest) = text
            .split_once('=')
            .ok_or("a peer is NAME=PATH or NAME=PATH;VERSION AND FLAGS")?;
        let (path, words) = match rest.split_once(';') {
            Some((path, words)) => (path, Some(words.trim().to_owned())),
            None => (rest, None),
        };
        let kind = if name.starts_with("llama.cpp") {
            Kind::LlamaCpp
        } else if name.starts_with("llama2.c") {
            Kind::Llama2C
        } else {
            return Err(format!(
                "{name}: known peers are llama.cpp and llama2.c; something may follow, as in \
                 \"llama2.c clang\""
            ));
        };
        Ok(Peer {
            name: name.to_owned(),
            kind,
            path: path.into(),
            words,
        })
    }

    /// Binary for this model: runq is beside run.
    pub fn binary(&self, model: &Path) -> Result<PathBuf> {
        if self.kind != Kind::Llama2C || !is_int8(model)? {
            return Ok(self.path.clone());
        }
        let name = self
            .path
            .file_name()
            .context("it has no name")?
            .to_string_lossy();
        Ok(self.path.with_file_name(name.replacen("run", "runq", 1)))
    }

    /// Returns true if it supports this test.
    pub fn can(&self, test: &Test, threads: usize, model: &Path) -> Result<bool> {
        Ok(match self.kind {
            Kind::Ours | Kind::LlamaCpp => true,
            // They pass a prompt's tokens one by one.
            Kind::OursRun => matches!(test.work, Work::Generate(_)),
            Kind::Llama2C => {
                let binary = self.binary(model)?;
                matches!(test.work, Work::Generate(_))
                    && binary.exists()
                    && (threads == 1 || Origin::of(&binary)?.openmp)
            }
        })
    }

    /// Command that measures `test` once.
    pub fn command(
        &self,
        model: &Path,
        setup: &Setup,
        test: &Test,
        threads: usize,
    ) -> Result<Command> {
        let mut command = Command::new(self.binary(model)?);
        command.stdin(Stdio::null());
        let (prompt, generated) = match test.work {
            Work::Prompt(tokens) => (tokens, 0),
            Work::Generate(tokens) => (0, tokens),
        };
        match self.kind {
            Kind::Ours | Kind::LlamaCpp => {
                if self.kind == Kind::Ours {
                    command.arg("bench").arg(model).args(&setup.ours);
                } else {
                    command.arg("-m").arg(model);
                }
                let numbers = [
                    ("-p", prompt),
                    ("-n", generated),
                    ("-d", test.depth),
                    ("-t", threads),
                ];
                for (flag, number) in numbers {
                    command.args([flag, &number.to_string()]);
                }
                command.args(["-r", "1", "-o", "json"]);
            }
            Kind::OursRun | Kind::Llama2C => {
                let tokenizer = setup
                    .tokenizer
                    .clone()
                    .unwrap_or_else(|| model.with_file_name("tokenizer.bin"));
                if self.kind == Kind::OursRun {
                    command.arg("run");
                }
                command.arg(model).arg("-z").arg(tokenizer);
                command.args(["-t", "0", "-n", &generated.to_string()]);
                if self.kind == Kind::OursRun {
                    command
                        .args(["--threads", &threads.to_string()])
                        .args(&setup.ours);
                } else {
                    command.env("OMP_NUM_THREADS", threads.to_string());
                }
            }
        }
        Ok(command)
    }

    /// Runs the program and parses its output.
    pub fn measure(
        &self,
        model: &Path,
        setup: &Setup,
        test: &Test,
        threads: usize,
    ) -> Result<Answer> {
        let mut command = self.command(model, setup, test, threads)?;
        let output = command.output().with_context(|| format!("{command:?}"))?;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        ensure!(
            output.status.success(),
            "{command:?} ended with {}: {err}",
            output.status
        );
        let answer = match self.kind {
            Kind::Ours | Kind::LlamaCpp => Answer::from_json(&out),
            Kind::OursRun | Kind::Llama2C => {
                achieved(&err).or_else(|_| achieved(&out)).map(Answer::rate)
            }
        };
        answer.with_context(|| format!("{command:?}"))
    }

    /// Sources and flags, as far as they are known.
    pub fn origin(&self) -> Vec<String> {
        let mut words: Vec<String> = self.words.iter().cloned().collect();
        match self.kind {
            Kind::Ours | Kind::OursRun => (),
            Kind::LlamaCpp => {
                words.extend(version(&self.path));
                words.extend(cmake_flags(&self.path));
                words.push("llama-bench -r 1, its defaults otherwise (KV cache in f16)".into());
            }
            Kind::Llama2C => {
                if let Ok(origin) = Origin::of(&self.path) {
                    words.push(origin.to_string());
                }
                words.push("-t 0, OMP_NUM_THREADS".into());
            }
        }
        words
    }
}

/// Settings for all runs.
pub struct Setup {
    /// Options of our program.
    pub ours: Vec<String>,
    /// Argument of run.c's -z.
    pub tokenizer: Option<PathBuf>,
}

/// Result of a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Tokens per second.
    pub rate: f64,
    /// Bytes of the model's tensors.
    pub size: Option<u64>,
    /// Complete output.
    pub said: Value,
}

impl Answer {
    fn rate(rate: f64) -> Answer {
        Answer {
            rate,
            size: None,
            said: Value::Null,
        }
    }

    /// Parses the JSON of llama-bench or of ours: an array of one result.
    pub fn from_json(text: &str) -> Result<Answer> {
        let said: Value = serde_json::from_str(text).context("its answer is not JSON")?;
        let result = match said.as_array().map(Vec::as_slice) {
            Some([result]) => result.clone(),
            _ => bail!("its answer is not an array of one result"),
        };
        let rate = result["avg_ts"].as_f64().filter(|rate| *rate > 0.0);
        Ok(Answer {
            rate: rate.context("it does not say avg_ts")?,
            size: result["model_size"].as_u64(),
            said: result,
        })
    }
}

/// Parses the number on run.c's last line.
pub fn achieved(text: &str) -> Result<f64> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix("achieved tok/s:"))
        .and_then(|number| number.trim().parse().ok())
        .context("it does not say achieved tok/s; did the text end after its first token?")
}

/// Returns true for llama2.c's checkpoints that runq.c reads.
fn is_int8(model: &Path) -> Result<bool> {
    use std::io::Read;
    let mut head = [0; 8];
    let mut file = std::fs::File::open(model).with_context(|| model.display().to_string())?;
    file.read_exact(&mut head)
        .with_context(|| model.display().to_string())?;
    // "ak42", then the version.
    Ok(head == *b"24ka\x02\0\0\0")
}

/// Facts about an executable file's build.
pub struct Origin {
    compiler: String,
    /// True if it uses OpenMP for threads: the library is linked.
    pub openmp: bool,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let openmp = if self.openmp { "with" } else { "without" };
        write!(f, "{}, {openmp} OpenMP", self.compiler)
    }
}

impl Origin {
    pub fn of(binary: &Path) -> Result<Origin> {
        let bytes = std::fs::read(binary).with_context(|| binary.display().to_string())?;
        let file = object::File::parse(&*bytes).with_context(|| binary.display().to_string())?;
        let section = |name| {
            file.section_by_name(name)
                .and_then(|section| section.data().ok())
        };
        let words = |bytes: &[u8]| -> Vec<String> {
            let parts = bytes.split(|&b| b == 0).filter(|part| !part.is_empty());
            parts
                .map(|part| String::from_utf8_lossy(part).into_owned())
                .collect()
        };
        // Names of the compilers in the binary: that of the start files' compiler also occurs, and
        // comes first.
        let compilers = section(".comment").map(words).unwrap_or_default();
        let linked = section(".dynstr").map(words).unwrap_or_default();
        Ok(Origin {
            compiler: compilers
                .last()
                .cloned()
                .unwrap_or_else(|| "unknown compiler".into()),
            openmp: linked
                .iter()
                .any(|name| name.starts_with("libgomp.") || name.starts_with("libomp.")),
        })
    }
}

/// Version as printed by llama.cpp.
fn version(binary: &Path) -> Option<String> {
    let output = Command::new(binary).arg("--version").output().ok()?;
    let all = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&all).into_owned();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("version") || line.starts_with("built with"))
        .collect();
    Some(lines.join(", ")).filter(|words| !words.is_empty())
}

/// Options of the CMake build folder that contains a binary.
fn cmake_flags(binary: &Path) -> Option<String> {
    let caches = binary
        .ancestors()
        .map(|folder| folder.join("CMakeCache.txt"));
    let cache = caches.map(std::fs::read_to_string).find_map(Result::ok)?;
    let flags = flags_of_cache(&cache);
    Some(format!("cmake {}", flags.join(" "))).filter(|_| !flags.is_empty())
}

/// Options that affect speed.
fn flags_of_cache(cache: &str) -> Vec<String> {
    const NAMES: [&str; 7] = [
        "CMAKE_BUILD_TYPE",
        "GGML_NATIVE",
        "GGML_OPENMP",
        "GGML_LTO",
        "GGML_BLAS",
        "GGML_LLAMAFILE",
        "BUILD_SHARED_LIBS",
    ];
    let entry = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let name = name.split(':').next()?;
        NAMES.contains(&name).then(|| format!("{name}={value}"))
    };
    cache.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TG32: Test = Test {
        work: Work::Generate(32),
        depth: 0,
        parallel: 1,
    };

    fn words(command: &Command) -> String {
        let all = std::iter::once(command.get_program()).chain(command.get_args());
        all.map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn peers_are_named_by_what_they_are() {
        let peer = Peer::parse("llama2.c clang=/a/run-clang;350e04f, clang -Ofast").unwrap();
        assert_eq!(
            (peer.kind, peer.path.to_str()),
            (Kind::Llama2C, Some("/a/run-clang"))
        );
        assert_eq!(peer.words.as_deref(), Some("350e04f, clang -Ofast"));
        assert_eq!(Peer::parse("llama.cpp=b").unwrap().kind, Kind::LlamaCpp);
        assert!(
            Peer::parse("calm=b")
                .unwrap_err()
                .contains("known peers are")
        );
        assert!(Peer::parse("llama.cpp").is_err());
    }

    #[test]
    fn the_answers_of_llama_bench_and_of_ours_are_understood() {
        let theirs = Answer::from_json(include_str!("../fixtures/llama-bench.json")).unwrap();
        assert_eq!((theirs.rate, theirs.size), (182.965981, Some(16_152_192)));
        let ours = Answer::from_json(include_str!("../fixtures/llama2-bench.json")).unwrap();
        assert_eq!(ours.said["test"], "tg32");
        assert!(ours.rate > 0.0 && ours.said["bytes_per_token"].as_u64().is_some());
        assert!(Answer::from_json("[]").is_err() && Answer::from_json("error").is_err());
    }

    #[test]
    fn the_last_line_of_run_c_is_found() {
        let said = include_str!("../fixtures/run.txt");
        assert_eq!(achieved(said).unwrap(), 267.857_143);
        assert!(
            achieved("Once upon a time")
                .unwrap_err()
                .to_string()
                .contains("achieved")
        );
    }

    #[test]
    fn commands_are_each_programs_own() {
        let folder =
            std::env::temp_dir().join(format!("llama2-compare-{}-peer", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (float, int8) = (folder.join("a.bin"), folder.join("b.bin"));
        std::fs::write(&float, [0; 28]).unwrap();
        std::fs::write(&int8, b"24ka\x02\0\0\0 and more").unwrap();
        let setup = Setup {
            ours: vec!["--kernels".into(), "avx2".into()],
            tokenizer: Some("tok".into()),
        };
        let said = |peer: &str, model: &Path| {
            let peer = Peer::parse(peer).unwrap();
            let words = words(&peer.command(model, &setup, &TG32, 2).unwrap());
            words.replace(&folder.display().to_string(), "")
        };
        assert_eq!(
            said("llama2.c=run-gcc", &float),
            "run-gcc /a.bin -z tok -t 0 -n 32"
        );
        assert_eq!(
            said("llama2.c=run-gcc", &int8),
            "runq-gcc /b.bin -z tok -t 0 -n 32"
        );
        assert_eq!(
            said("llama.cpp=llama-bench", &float),
            "llama-bench -m /a.bin -p 0 -n 32 -d 0 -t 2 -r 1 -o json"
        );
        let ours = Peer {
            name: "ours".into(),
            kind: Kind::Ours,
            path: "llama2".into(),
            words: None,
        };
        assert_eq!(
            words(&ours.command(Path::new("a"), &setup, &TG32, 1).unwrap()),
            "llama2 bench a --kernels avx2 -p 0 -n 32 -d 0 -t 1 -r 1 -o json"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_build_folder_tells_its_flags() {
        let cache = "# This is the CMakeCache file.\n\
                     CMAKE_BUILD_TYPE:STRING=Release\nGGML_NATIVE:BOOL=ON\n\
                     GGML_NATIVE_DEFAULT:INTERNAL=ON\nBUILD_SHARED_LIBS:BOOL=OFF\n";
        let flags = [
            "CMAKE_BUILD_TYPE=Release",
            "GGML_NATIVE=ON",
            "BUILD_SHARED_LIBS=OFF",
        ];
        assert_eq!(flags_of_cache(cache), flags);
    }
}
