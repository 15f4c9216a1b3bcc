//! Settings of a run: `LLAMA2.CFG` from a volume or the boot server, overridden by the command
//! line.

use alloc::{format, string::String};

use llama2_console::config;
use llama2_settings::{Overrides, Param};

use super::{
    files::{Found, Volumes},
    log::Log,
    netboot,
    terminal::{self, complain, say},
};

/// Configuration file and its contents.
struct File {
    /// Index of its volume, if it lies on one.
    index: Option<usize>,
    name: String,
    bytes: alloc::vec::Vec<u8>,
}

/// Settings of the command line, then those of the configuration file, if there is one. The setting
/// `exit` is passed to the terminal as soon as it is known.
///
/// # Errors
/// A sentence, if there is a file and it is invalid.
pub fn read(volumes: &mut Volumes, line: Overrides) -> Result<Overrides, String> {
    let mut file = beside_application().transpose()?;
    if file.is_none() {
        file = find(volumes)?;
    }
    // Started over the network, all drives may still be asleep.
    if file.is_none() && !volumes.started_from_disk() && volumes.connect_everything() {
        file = find(volumes)?;
    }
    let Some(file) = file else {
        let own = volumes.list.iter().position(|volume| volume.is_own);
        keep_log(volumes, own, &line);
        return Ok(line);
    };
    // Even an invalid file may set how to end and whether to keep a log.
    let partly = line.clone().over(config::salvage(&file.bytes));
    terminal::end_with(partly.choice(Param::Exit).unwrap_or_default());
    let own = volumes.list.iter().position(|volume| volume.is_own);
    keep_log(volumes, file.index.or(own), &partly);
    let about = |error: String| format!("{}: {error}", file.name);
    let (options, warnings) = config::parse(&file.bytes).map_err(about)?;
    say(&format!("Configuration: {}", file.name));
    for warning in warnings {
        complain("warning", &about(warning));
    }
    Ok(line.over(options))
}

/// Takes the configuration file from the server that the application was booted from.
fn beside_application() -> Option<Result<File, String>> {
    let (name, bytes) = netboot::read(config::NAME, config::LARGEST)?;
    let about = |error| format!("{name}: {error}");
    let file = |bytes| File {
        index: None,
        name: name.clone(),
        bytes,
    };
    Some(bytes.map(file).map_err(about))
}

/// Finds the first configuration file on the volumes.
fn find(volumes: &mut Volumes) -> Result<Option<File>, String> {
    for (index, volume) in volumes.list.iter_mut().enumerate() {
        let name = format!("{} on {}", config::NAME, volume.name);
        let bytes = match volume.find(config::NAME) {
            Ok(Found::Nothing) => continue,
            Ok(Found::Folder) => {
                Err("is a folder, not a file; rename it, or put the file in its place".into())
            }
            Ok(Found::File(mut source)) => source.read_all(config::LARGEST),
            // A broken volume of another origin is ignored; our own is not.
            Err(sentence) if !volume.is_own => {
                complain("warning", &sentence);
                continue;
            }
            Err(sentence) => return Err(sentence),
        };
        let bytes = bytes.map_err(|error| format!("{name}: {error}"))?;
        let index = Some(index);
        return Ok(Some(File { index, name, bytes }));
    }
    Ok(None)
}

/// Opens the log, if it is configured.
fn keep_log(volumes: &mut Volumes, index: Option<usize>, options: &Overrides) {
    let wanted = options.truth(Param::Log);
    let volume = index
        .filter(|_| wanted)
        .and_then(|index| volumes.list.get_mut(index));
    if wanted && volume.is_none() {
        complain(
            "warning",
            "there is no boot volume to write LLAMA2.LOG on; continuing without it",
        );
    }
    let opened = volume.map(|volume| Log::open(&mut volume.root, &volume.name));
    let (log, refused) = match opened.transpose() {
        Ok(log) => (log, None),
        Err(sentence) => (None, Some(sentence)),
    };
    terminal::keep_log(log);
    if let Some(sentence) = refused {
        complain("warning", &sentence);
    }
}
