//! Why a template could not be read or run.

use alloc::string::String;
use core::fmt;

/// Reason why a template cannot be parsed or rendered. Displayed as a sentence, without the
/// template's name and without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The template is not written in the language, or in a part of it that is not supported.
    Syntax {
        /// Line of the template, from 1.
        line: u32,
        /// Sentence.
        message: String,
    },
    /// Sentence that the template itself raised with `raise_exception`; it may be empty.
    Raised(String),
    /// An operation that failed, such as the use of something undefined. Where Jinja2 has a
    /// sentence for it, the message is that.
    Evaluation {
        /// Line of the template, from 1.
        line: u32,
        /// Sentence.
        message: String,
    },
    /// One of the [`crate::limits`] was reached.
    Limit {
        /// Line of the template, from 1; 0 if it is the template as a whole.
        line: u32,
        /// Sentence.
        message: String,
    },
}

impl Error {
    /// An operation that failed; the machine adds the line.
    pub(crate) fn evaluation(message: impl Into<String>) -> Error {
        let message = message.into();
        Error::Evaluation { line: 0, message }
    }

    /// A limit that was reached; the machine adds the line.
    pub(crate) fn limit(message: impl Into<String>) -> Error {
        let message = message.into();
        Error::Limit { line: 0, message }
    }

    /// Adds the line where it is not known yet.
    pub(crate) fn at(mut self, at: u32) -> Error {
        if let Error::Evaluation { line, .. } | Error::Limit { line, .. } = &mut self
            && *line == 0
        {
            *line = at;
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Raised(message) if message.trim().is_empty() => {
                f.write_str("it raised an exception without a message")
            }
            Error::Raised(message) | Error::Limit { line: 0, message } => f.write_str(message),
            Error::Syntax { line, message }
            | Error::Evaluation { line, message }
            | Error::Limit { line, message } => write!(f, "{message} (line {line})"),
        }
    }
}

impl core::error::Error for Error {}
