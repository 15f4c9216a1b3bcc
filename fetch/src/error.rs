//! Reasons why a file could not be fetched.

use std::{fmt, io, path::Path};

/// Reason why a file could not be fetched. Displays as a sentence.
#[derive(Debug, PartialEq)]
pub enum Error {
    /// The source could not be reached: no network, no pip, a server that is down.
    Unreachable(String),
    /// The source refused, gave something else, or the file could not be written.
    Failed(String),
}

impl Error {
    /// Error about a file of this machine.
    pub(crate) fn file(path: &Path, error: &io::Error) -> Error {
        let what = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "its disk is full; make room, or name another folder with -o".into()
            }
            io::ErrorKind::PermissionDenied => {
                "permission denied; name another folder with -o".into()
            }
            _ => error.to_string(),
        };
        Error::Failed(format!("{}: {what}", path.display()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unreachable(sentence) | Error::Failed(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for Error {}
