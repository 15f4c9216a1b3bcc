//! Why the command ends early.

use std::{fmt::Display, io, path::Path};

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
