//! Standard output and standard error. A terminal gets plain text, whatever its origin: models,
//! file names, settings in a folder of unknown origin. Pipes and files get the bytes as they are.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal, StderrLock, StdoutLock, Write},
};

use llama2_console::{terminal::plain, width::is_plain};

/// Output stream that may be a terminal.
pub struct PlainStream<W> {
    to: W,
    is_terminal: bool,
}

pub fn stdout() -> PlainStream<StdoutLock<'static>> {
    let to = io::stdout().lock();
    let is_terminal = to.is_terminal();
    PlainStream { to, is_terminal }
}

pub fn stderr() -> PlainStream<StderrLock<'static>> {
    let to = io::stderr().lock();
    let is_terminal = to.is_terminal();
    PlainStream { to, is_terminal }
}

impl<W: Write> PlainStream<W> {
    /// Writes a text dimmed, if colours are possible.
    pub fn write_dim(&mut self, text: &str) -> io::Result<()> {
        match self.is_terminal {
            true => write!(self.to, "\x1b[2m{}\x1b[22m", plain(text)),
            false => self.to.write_all(text.as_bytes()),
        }
    }
}

impl<W: Write> Write for PlainStream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // All writers write whole characters.
        match self.is_terminal {
            true => {
                let text = plain(&String::from_utf8_lossy(bytes));
                self.to.write_all(text.as_bytes())?;
            }
            false => self.to.write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Prints an error in the command line, or the help, and exits. The library quotes arguments as
/// they are and adds colours; colours are only kept if the arguments are plain.
pub fn end(error: &clap::Error) -> ! {
    let is_one_plain = |argument: &OsStr| argument.to_string_lossy().chars().all(is_plain);
    if !error.use_stderr() || std::env::args_os().all(|argument| is_one_plain(&argument)) {
        error.exit();
    }
    // If the message cannot be written, the exit status still reports the error.
    let _ = write!(stderr(), "{}", error.render());
    std::process::exit(error.exit_code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminals_get_it_plain() {
        let text = "a\u{1b}]0;x\u{7}b\u{9b}2J\u{202e}c\r\n\té\n";
        for (is_terminal, want) in [(true, "a]0;xb2Jc\n\té\n"), (false, text)] {
            let mut out = PlainStream {
                to: Vec::new(),
                is_terminal,
            };
            write!(out, "{text}").unwrap();
            assert_eq!(String::from_utf8(out.to).unwrap(), want);
        }
    }
}
