//! `cargo test -p boot-tests --test boots NAME`: the boots whose names have NAME in them; `--
//! --list` names them all.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match boot_tests::run(libtest_mimic::Arguments::from_args()) {
        Ok(conclusion) => conclusion.exit_code(),
        Err(error) => xtask::shell::ended(Err(error)),
    }
}
