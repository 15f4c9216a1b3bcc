//! `cargo xtask fetch`: the command for developers, who keep models in `models/fetched`.
#![forbid(unsafe_code)]

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use llama2_fetch::{FetchArgs, Observer, folder_or, list};

/// Fetches models; each is checked by its SHA-256.
#[derive(Parser)]
#[command(name = "cargo xtask fetch", bin_name = "cargo xtask fetch")]
#[command(mut_arg("output", |output| output.help(
    "Folder to put them in [default: the folder in LLAMA2_MODELS, else models/fetched]"
)))]
struct Args {
    #[command(flatten)]
    fetch: FetchArgs,
}

/// A terminal.
struct Terminal;

impl Observer for Terminal {
    fn say(&self, sentence: &str) {
        eprintln!("{sentence}");
    }

    fn begin(&self, name: &str, total: u64) -> Box<dyn FnMut(u64)> {
        let bar = ProgressBar::new(total).with_finish(ProgressFinish::AndClear);
        let line = "{wide_msg} {bytes} of {total_bytes}, {binary_bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(line) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        Box::new(move |done| bar.set_position(done))
    }
}

fn main() -> ExitCode {
    let args = Args::parse().fetch;
    if args.list {
        // Whoever reads it may have read enough.
        let _ = io::stdout().write_all(list().as_bytes());
        return ExitCode::SUCCESS;
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/fetched");
    let folder = args.output.clone().or_else(|| folder_or(|| Some(own)));
    match args.fetch(&folder.unwrap_or_default(), &Terminal) {
        Ok(models) => {
            for fetched in models {
                let (model, tokenizer) = (fetched.model.display(), fetched.tokenizer);
                let words = tokenizer.map_or(String::new(), |path| {
                    format!(" --tokenizer {}", path.display())
                });
                println!("boot it:  cargo xtask run --model {model}{words}");
                let verb = if words.is_empty() { "chat" } else { "run" };
                println!("or here:  llama2 {verb} {model}{words}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
