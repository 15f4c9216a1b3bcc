//! `llama2`: the engine of llama2.efi as a command, with run.c's flags.

mod args;
mod bench;
mod bench_answers;
mod clock;
mod failure;
mod fetch;
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
mod serve;
mod shell;
mod split;
mod threads;

use std::process::ExitCode;

/// Allocator with large pages for the weights.
#[global_allocator]
static ALLOCATOR: memory::Allocator = memory::Allocator;

use args::{Action, Args};
use failure::Failure;

fn main() -> ExitCode {
    let done = match Args::read().command {
        Action::Run(args) => run::run(&args),
        Action::Chat(args) => fetch::with_model(args).and_then(|args| match shell::is_wanted() {
            true => shell::chat(&args),
            false => run::chat(&args),
        }),
        Action::Fetch(args) => fetch::fetch(&args),
        Action::Info(args) => info::info(&args),
        Action::Bench(args) => bench::bench(&args),
        Action::Convert(args) => quantize::convert(args),
        Action::Quantize(args) => quantize::quantize(&args),
        Action::Serve(args) => serve::serve(&args),
        Action::Split(args) => split::split(&args),
        Action::Perplexity(args) => perplexity::perplexity(&args),
        Action::Completions { shell } => manual::completions(shell),
        Action::Man { subcommand } => manual::page(subcommand.as_deref()),
    };
    let (sentence, status) = match done {
        Ok(()) | Err(Failure::Closed) => return ExitCode::SUCCESS,
        Err(Failure::Input(sentence)) => (sentence, 1),
        Err(Failure::Usage(sentence)) => (sentence, 2),
    };
    failure::say(format_args!("llama2: {sentence}"));
    ExitCode::from(status)
}
