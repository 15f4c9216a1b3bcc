//! What this computer does for a conversation: files in this folder, models, seeds, and what there
//! is to be told of it.

use std::{
    fs::{self, File},
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use llama2_console::{commands::Place, config, filename};
use llama2_engine::{bench::gigahertz, units::Bytes};
use llama2_talk::host::{Host, ModelEntry, ReplySink};

use super::{book::Book, catalogue::Catalogue};
use crate::{
    bench::processor,
    failure::Failure,
    file::explain,
    load::{available_memory, total_memory},
    machine::{Machine, nanoseconds},
    output::{self, Output},
};

/// What follows "on" in a sentence about a file that was written.
const HERE: &str = "disk, in this folder";

pub struct HostPlatform<'a> {
    machine: &'a Machine,
    /// The model that runs, and the memory that it has.
    own: Option<PathBuf>,
    taken: u64,
    /// Where lines that were typed are kept, if they are.
    book: Option<Book>,
}

impl HostPlatform<'_> {
    pub fn new(machine: &Machine, book: Option<Book>) -> HostPlatform<'_> {
        HostPlatform {
            machine,
            book,
            own: None,
            taken: 0,
        }
    }

    fn market(&self) -> Catalogue<'_> {
        Catalogue {
            own: self.own.as_deref(),
            free: available_memory().map_or(u64::MAX, |free| free.saturating_add(self.taken)),
            kv: self.machine.kv,
            workers: self.machine.workers(),
        }
    }

    /// A model runs from now on, in so many bytes.
    pub fn runs(&mut self, path: Option<&Path>, taken: u64) {
        (self.own, self.taken) = (path.map(PathBuf::from), taken);
    }
}

/// Reads a file of at most so many bytes; `None` if there is none.
///
/// # Errors
/// A sentence with its name.
pub fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let about = |what: String| format!("{}: {what}", path.display());
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(about(explain(&error))),
    };
    if !metadata.is_file() {
        return Err(about("is no file".into()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| about(explain(&error)))?;
    if bytes.len() as u64 > most {
        return Err(about(format!(
            "has more than {}, which is the most that is read",
            Bytes(most)
        )));
    }
    Ok(Some(bytes))
}

/// Writes a file, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> Result<String, String> {
    let write = || -> Result<(), Failure> {
        output::room(path, bytes.len() as u64)?;
        let mut output = Output::new(path)?;
        let written = output.file.write_all(bytes);
        written.map_err(|error| output::refused(path, &error))?;
        output::keep(&[output], true)?;
        // The name, too. Where a folder cannot be opened the system sees to it.
        #[cfg(unix)]
        File::open(".").and_then(|folder| folder.sync_all()).ok();
        Ok(())
    };
    match write() {
        Ok(()) => Ok(HERE.into()),
        Err(Failure::Input(sentence) | Failure::Usage(sentence)) => Err(sentence),
        Err(Failure::Closed) => Err("standard output is closed".into()),
    }
}

impl Host for HostPlatform<'_> {
    fn place(&self) -> Place {
        Place::Hosted
    }

    fn clock(&self) -> fn() -> u64 {
        || nanoseconds() / 1000
    }

    fn perform(
        &mut self,
        _threads: Option<usize>,
        audience: &mut dyn ReplySink,
        work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
    ) {
        work(audience);
    }

    fn models(&mut self) -> Vec<ModelEntry> {
        self.market().offers()
    }

    fn model_at(&mut self, path: &str) -> Option<ModelEntry> {
        let path = match path.strip_prefix("~/") {
            Some(rest) => std::env::home_dir()?.join(rest),
            None => PathBuf::from(path),
        };
        self.market().file(&path)
    }

    fn remember(&mut self, line: &str) {
        if let Some(book) = &mut self.book {
            book.add(line);
        }
    }

    fn conversations(&mut self) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(".")
            .map_err(|error| format!("this folder cannot be listed: {}", explain(&error)))?;
        let files = entries.flatten().filter(|entry| entry.path().is_file());
        let names = files.filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names
            .filter(|name| filename::is_conversation(name))
            .collect())
    }

    fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        read_small(Path::new(name), most)?.ok_or_else(|| format!("{name} is not there any more"))
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<String, String> {
        write(Path::new(name), bytes)
    }

    fn configuration(&mut self) -> Result<String, String> {
        let about = |sentence| format!("{}: {sentence}", config::NAME);
        let bytes = read_small(Path::new(config::NAME), config::LARGEST)?.unwrap_or_default();
        let text = config::decode(&bytes).map_err(about)?;
        // What is not understood cannot be added to.
        config::parse(&bytes).map_err(about)?;
        Ok(text)
    }

    fn configure(&mut self, text: &str) -> Result<String, String> {
        write(Path::new(config::NAME), text.as_bytes())
    }

    fn about(&mut self) -> Vec<(String, String)> {
        let clock = match gigahertz(nanoseconds) {
            Some(clock) => format!(", at about {clock:.1} GHz now"),
            None => String::new(),
        };
        let processor = processor().unwrap_or_else(|| std::env::consts::ARCH.into());
        let memory = match (available_memory(), total_memory()) {
            (Some(free), Some(all)) => format!("{} free of {}", Bytes(free), Bytes(all)),
            _ => "not known".into(),
        };
        [
            ("system", system()),
            ("processor", format!("{processor}{clock}")),
            ("memory", memory),
        ]
        .map(|(name, what)| (name.to_string(), what))
        .into()
    }

    fn seed(&mut self) -> (u64, &'static str) {
        // The standard library's hashes begin with the system's random numbers. Short enough to be
        // typed.
        let random = RandomState::new().build_hasher().finish() & u64::from(u32::MAX);
        (random.max(1), "from the system")
    }
}

/// The operating system's name and version, as far as it tells.
fn system() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let name = name.map_or(std::env::consts::OS, |name| name.trim_matches('"'));
    match fs::read_to_string("/proc/sys/kernel/osrelease") {
        Ok(kernel) => format!("{name}, {} {}", std::env::consts::OS, kernel.trim()),
        Err(_) => name.to_string(),
    }
}
