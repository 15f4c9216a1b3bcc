//! Why the command ends early, and how it says things.

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
};

use llama2_console::terminal::one_line;
use llama2_engine::units::{PATH, SENTENCE, short};

use crate::plain;

/// Says a line on standard error, of bounded length whatever files and arguments put into it.
/// Nothing depends on its being heard: where standard error is closed or full, the line is lost.
pub fn say(line: impl Display) {
    let line = one_line(&line.to_string());
    let _ = writeln!(plain::stderr(), "{}", short(&line, SENTENCE));
}

/// A path as sentences have it: of bounded length.
pub fn name(path: &Path) -> String {
    short(&path.to_string_lossy(), PATH).into_owned()
}

/// What went wrong.
pub enum Failure {
    /// Something about the user's files or prompt; the sentence to show.
    Input(String),
    /// Something about the command line.
    Usage(String),
    /// Whoever read standard output has gone: nothing to say, nobody to say it to.
    Closed,
}

impl Failure {
    /// A sentence about a file.
    pub fn about(path: &Path, what: impl Display) -> Failure {
        Failure::Input(format!("{}: {what}", name(path)))
    }

    /// A failed write to standard output.
    pub fn output(error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::Closed
        } else {
            Failure::Input(format!("standard output: {error}; is the disk full?"))
        }
    }
}
