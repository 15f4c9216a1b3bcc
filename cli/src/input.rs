//! A prompt that is piped into the command.

use std::{path::Path, sync::mpsc, time::Duration};

use crate::{
    failure::{Failure, say},
    file,
};

/// After so long somebody may wonder what is waited for.
const LONG: Duration = Duration::from_secs(2);

/// What is piped into standard input, or redirected to it from a file; nothing where it is a terminal, a device such as
/// `/dev/null`, a socket, or closed, or where nothing comes.
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

/// Whether standard input is a pipe or a file.
#[cfg(unix)]
fn is_piped() -> bool {
    use std::os::{fd::AsFd, unix::fs::FileTypeExt};
    let Ok(input) = std::io::stdin().as_fd().try_clone_to_owned() else {
        return false;
    };
    let metadata = std::fs::File::from(input).metadata();
    metadata.is_ok_and(|metadata| metadata.is_file() || metadata.file_type().is_fifo())
}

/// Whether standard input is a pipe or a file: a device gives its end at once.
#[cfg(not(unix))]
fn is_piped() -> bool {
    use std::io::IsTerminal;
    !std::io::stdin().is_terminal()
}
