//! `llama2`: the engine of llama2.efi as an ordinary command, with run.c's flags.

mod args;
mod bench;
mod failure;
mod file;
mod flags;
mod info;
mod input;
mod interrupt;
mod load;
mod machine;
mod manual;
mod memory;
mod output;
mod pages;
mod perplexity;
mod plain;
mod progress;
mod quantize;
mod run;
mod shell;
mod split;
mod threads;

use std::process::ExitCode;

/// Large pages for the weights.
#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

use args::{Args, Command};
use failure::Failure;

fn main() -> ExitCode {
    let done = match Args::read().command {
        Command::Run(args) => run::run(&args),
        Command::Chat(args) if shell::is_wanted() => shell::chat(&args),
        Command::Chat(args) => run::chat(&args),
        Command::Info(args) => info::info(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Convert(args) => quantize::convert(args),
        Command::Quantize(args) => quantize::quantize(&args),
        Command::Split(args) => split::split(&args),
        Command::Perplexity(args) => perplexity::perplexity(&args),
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { subcommand } => manual::page(subcommand.as_deref()),
    };
    let (sentence, status) = match done {
        Ok(()) | Err(Failure::Closed) => return ExitCode::SUCCESS,
        Err(Failure::Input(sentence)) => (sentence, 1),
        Err(Failure::Usage(sentence)) => (sentence, 2),
    };
    failure::say(format_args!("llama2: {sentence}"));
    ExitCode::from(status)
}
