//! Errors that end the command, and output on standard error.

use std::{
    fmt::Display,
    io::{self, Write},
    path::Path,
};

use llama2_console::terminal::one_line;
use llama2_engine::units::{PATH, SENTENCE, short};

use crate::plain;

/// Prints a line of bounded length on standard error, whatever files and arguments it quotes. If
/// standard error is closed or full, the line is lost without further effect.
pub fn say(line: impl Display) {
    let line = one_line(&line.to_string());
    let _ = writeln!(plain::stderr(), "{}", short(&line, SENTENCE));
}

/// Path for a sentence, of bounded length.
pub fn name(path: &Path) -> String {
    short(&path.to_string_lossy(), PATH).into_owned()
}

/// Reason for ending with an error.
pub enum Failure {
    /// Problem with the user's files or prompt: the sentence to show.
    Input(String),
    /// Problem with the command line: the sentence to show.
    Usage(String),
    /// The reader of standard output has gone: nothing is shown.
    Closed,
}

impl Failure {
    /// Error about a file.
    pub fn about(path: &Path, what: impl Display) -> Failure {
        Failure::Input(format!("{}: {what}", name(path)))
    }

    /// Failed write to standard output.
    pub fn output(error: &io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::Closed
        } else {
            Failure::Input(format!("standard output: {error}; is the disk full?"))
        }
    }
}
