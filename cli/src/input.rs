//! Standard input: a prompt that is piped into the command, or questions line by line.

use std::{
    io::{self, BufRead, Read},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use llama2_console::text;

use crate::{
    failure::{Failure, say},
    file,
};

/// After so long somebody may wonder what is waited for.
const LONG: Duration = Duration::from_secs(2);

/// What is piped into standard input, or redirected to it from a file; nothing where it is a
/// terminal, a device such as `/dev/null`, a socket, or closed, or where nothing comes.
///
/// # Errors
/// A sentence, if it cannot be read.
pub fn piped_prompt() -> Result<Option<Vec<u8>>, Failure> {
    if !is_piped() {
        return Ok(None);
    }
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(file::read_prompt(Path::new("-"))));
    let read = receiver.recv_timeout(LONG).or_else(|_| {
        say("llama2: reading the prompt from standard input, up to its end (-i gives another, < /dev/null none)");
        receiver.recv()
    });
    let prompt = read.unwrap_or_else(|_| Ok(Vec::new()))?;
    Ok(Some(prompt).filter(|prompt| !prompt.is_empty()))
}

/// Lines of standard input: UTF-8 as it comes, or what PowerShell and Windows' editors make of it.
#[derive(Default)]
pub struct Lines {
    begun: bool,
    /// All of it, where it had to be translated.
    whole: Option<io::Cursor<Vec<u8>>>,
}

impl Lines {
    /// The next line without its end; nothing at the end of all.
    pub fn read(&mut self) -> Result<Option<String>, Failure> {
        self.next()
            .map_err(|error| Failure::Input(format!("standard input: {error}")))
    }

    /// The next line that is not empty.
    pub fn beginning(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            match self.read()? {
                Some(line) if line.trim().is_empty() => (),
                line => return Ok(line.map(String::into_bytes)),
            }
        }
    }

    fn next(&mut self) -> io::Result<Option<String>> {
        let mut input = io::stdin().lock();
        if !self.begun {
            self.begun = true;
            let begin = input.fill_buf()?;
            if begin.starts_with(b"\xef\xbb\xbf") {
                input.consume(3);
            } else if begin.starts_with(b"\xff\xfe") || begin.starts_with(b"\xfe\xff") {
                let mut bytes = Vec::new();
                (&mut input)
                    .take(file::LONGEST_PROMPT)
                    .read_to_end(&mut bytes)?;
                let text = text::shown(&bytes).map_err(io::Error::other)?;
                self.whole = Some(io::Cursor::new(text));
            }
        }
        let mut line = Vec::new();
        // Whatever is longer than a context can hold is refused when the turn begins.
        match &mut self.whole {
            Some(text) => text.read_until(b'\n', &mut line)?,
            None => input
                .take(file::LONGEST_PROMPT)
                .read_until(b'\n', &mut line)?,
        };
        // Windows' mark of a file's end.
        if line.last() == Some(&0x1a) {
            line.pop();
        }
        let text = String::from_utf8_lossy(&line);
        Ok((!line.is_empty()).then(|| text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

/// Tells whether standard input is a pipe or a file.
#[cfg(unix)]
fn is_piped() -> bool {
    use std::os::{fd::AsFd, unix::fs::FileTypeExt};
    let Ok(input) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return false;
    };
    let metadata = std::fs::File::from(input).metadata();
    metadata.is_ok_and(|metadata| metadata.is_file() || metadata.file_type().is_fifo())
}

/// Tells whether standard input is a pipe or a file: a device gives its end at once.
#[cfg(not(unix))]
fn is_piped() -> bool {
    use std::io::IsTerminal;
    !std::io::stdin().is_terminal()
}
