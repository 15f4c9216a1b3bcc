//! `cargo xtask test`, `fuzz` and `inspect`: all checks.
#![forbid(unsafe_code)]

mod aarch64;
mod client;
mod clients;
mod count;
mod fleet;
mod fuzz;
mod inspect;
mod machine;
mod oracle;
mod server_suite;
mod soak;
mod stage;
mod test;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use xtask::shell::ended;

/// Checks llama2.efi, from lints to boots.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Build, test and boot it; with CI=true, run every test there is.
    Test(test::TestArgs),
    /// Feed the parsers and tokenizers mutated inputs (needs cargo-fuzz).
    Fuzz(fuzz::FuzzArgs),
    /// Check a llama2.efi: it must contain packed multiplications, and no soft-float routines.
    Inspect {
        /// The application
        efi: PathBuf,
        /// The linker's map of it
        map: PathBuf,
    },
}

fn main() -> ExitCode {
    ended(match Task::parse() {
        Task::Test(args) => return test::test(&args),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Inspect { efi, map } => inspect::inspect(&efi, &map).map(|found| println!("{found}")),
    })
}
