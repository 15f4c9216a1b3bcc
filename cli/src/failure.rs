//! Why the command ends early, and how it says things.

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
};

use crate::plain;

/// Says a line on standard error. Nothing depends on its being heard: where standard error is closed or full, the line is lost.
pub fn say(line: impl Display) {
    let _ = writeln!(plain::stderr(), "{line}");
}

/// What went wrong.
pub enum Failure {
    /// Something about the user's files or prompt; the sentence to show.
    Input(String),
    /// Whoever read standard output has gone: nothing to say, nobody to say it to.
    Closed,
}

impl Failure {
    /// A sentence about a file.
    pub fn about(path: &Path, what: impl Display) -> Failure {
        Failure::Input(format!("{}: {what}", path.display()))
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
