//! What this computer does for a conversation: files in this folder, models, seeds, and what there
//! is to be told of it.

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io::Write,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use llama2_app::platform::{Console, ModelEntry, OpenModel, Platform, Power, ReplySink};
use llama2_console::{commands::Place, config, filename, front::Bottom};
use llama2_engine::{bench::gigahertz, chat::DateTime, model::Model, units::Bytes};

use super::{BUNDLED, book::Book, catalogue::Catalogue};
use crate::{
    clock,
    failure::Failure,
    file::{explain, read_small},
    load::{self, available_memory, total_memory},
    machine::{Machine, nanoseconds, processor},
    output::{self, Output},
    pages::page_size,
};

/// Time between two pictures of how far loading is.
const REDRAWN: Duration = Duration::from_millis(100);

/// What follows "on" in a sentence about a file that was written.
const HERE: &str = "disk, in this folder";

pub struct HostPlatform<'a> {
    pub machine: &'a Machine,
    /// Length of the context that was asked for, and the tokenizer that was named.
    pub context: Option<usize>,
    pub tokenizer: Option<PathBuf>,
    /// The model that they were meant for.
    pub first: Option<PathBuf>,
    /// Where lines that were typed are kept, if they are.
    pub book: Option<Book>,
    /// The model that runs, and the memory that it has.
    pub own: Option<PathBuf>,
    pub taken: u64,
    /// The folder of the last model that has one.
    pub folder: Option<PathBuf>,
}

/// Name that a model is known by: its path.
fn id_of(path: Option<&Path>) -> String {
    path.map_or(BUNDLED.to_string(), |path| path.display().to_string())
}

/// The path behind such a name; the bundled model has none.
fn path_of(id: &str) -> Option<PathBuf> {
    (id != BUNDLED).then(|| PathBuf::from(id))
}

impl<'a> HostPlatform<'a> {
    /// A machine that only measures: no model is run on it.
    pub fn of(machine: &'a Machine) -> HostPlatform<'a> {
        HostPlatform {
            machine,
            context: None,
            tokenizer: None,
            first: None,
            book: None,
            own: None,
            taken: 0,
            folder: None,
        }
    }

    fn catalogue(&self) -> Catalogue<'_> {
        Catalogue {
            own: self.own.as_deref(),
            folder: self.folder.as_deref(),
            free: available_memory().map_or(u64::MAX, |free| free.saturating_add(self.taken)),
            kv: self.machine.kv,
            workers: self.machine.workers(),
        }
    }

    /// Reads a model's header and its tokenizer. `spare` bytes are free besides those that the
    /// system tells of.
    pub fn prepare(&self, path: Option<&Path>, spare: u64) -> Result<OpenModel, Failure> {
        let opened = load::open(path)?;
        let is_first = path == self.first.as_deref();
        // What was asked for was asked for the first model.
        let own = opened.checkpoint.config.seq_len;
        let wanted = self
            .context
            .filter(|&context| is_first || (1..=own).contains(&context));
        let context = load::fit(&opened, self.machine, wanted, spare)?;
        let named = self.tokenizer.as_deref().filter(|_| is_first);
        let vocabulary = load::tokenizer(named, path)?;
        vocabulary.check_model(opened.checkpoint.config.vocab_size)?;
        let file = opened.name.display().to_string();
        let name = path.and_then(Path::file_name);
        let name = name.map(|name| name.to_string_lossy().into_owned());
        Ok(OpenModel {
            id: id_of(path),
            name: name.unwrap_or_else(|| file.clone()),
            file,
            context,
            tokenizer: vocabulary.tokenizer,
            checkpoint: opened.checkpoint,
            source: opened.source,
        })
    }
}

/// The sentence of a failure.
fn sentence(failure: Failure) -> String {
    match failure {
        Failure::Input(sentence) | Failure::Usage(sentence) => sentence,
        Failure::Closed => "standard output is closed".into(),
    }
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
        fs::File::open(".")
            .and_then(|folder| folder.sync_all())
            .ok();
        Ok(())
    };
    write().map(|()| HERE.into()).map_err(sentence)
}

impl Platform for HostPlatform<'_> {
    fn place(&self) -> Place {
        Place::Hosted
    }

    fn clock(&self) -> fn() -> u64 {
        || nanoseconds() / 1000
    }

    fn perform(
        &mut self,
        _threads: Option<usize>,
        sink: &mut dyn ReplySink,
        work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
    ) {
        work(sink);
    }

    fn open(&mut self, id: &str, taken: u64) -> Result<OpenModel, String> {
        self.prepare(path_of(id).as_deref(), taken)
            .map_err(sentence)
    }

    fn load(
        &mut self,
        model: &mut OpenModel,
        console: &mut dyn Console,
    ) -> Result<Option<Model>, String> {
        let (total, name) = (model.source.size(), model.name.clone());
        let start = Instant::now();
        let (mut drawn, mut stopped) = (start, false);
        let loaded = load::weights_with(model, &mut |done| {
            if drawn.elapsed() >= REDRAWN {
                drawn = Instant::now();
                let percent = 100 * done / total.max(1);
                let rate = (done as f64 / start.elapsed().as_secs_f64()) as u64;
                let note = format!("loading {name}: {percent} %, {}/s", Bytes(rate));
                console.bottom(Bottom::Note(&note));
                stopped = console.look().stop;
            }
            !stopped
        });
        console.bottom(Bottom::Nothing);
        match loaded {
            Ok(weights) => Ok(Some(weights)),
            Err(_) if stopped => Ok(None),
            Err(failure) => Err(sentence(failure)),
        }
    }

    fn runs(&mut self, model: Option<&OpenModel>) {
        self.own = model.and_then(|model| path_of(&model.id));
        // The bundled one has no folder: that of the one before is looked into.
        let folder = self.own.as_deref().and_then(Path::parent);
        self.folder = folder.map(PathBuf::from).or(self.folder.take());
        self.taken = model.map_or(0, |model| model.context.memory().total());
    }

    fn power(&mut self, _power: Power) -> String {
        "that is for the operating system to do".into()
    }

    fn processor(&self) -> String {
        processor().unwrap_or_else(|| std::env::consts::ARCH.into())
    }

    fn page_size(&self, address: usize) -> Option<String> {
        page_size(address)
    }

    fn free_memory(&self) -> u64 {
        available_memory().unwrap_or(u64::MAX)
    }

    fn models(&mut self) -> Vec<ModelEntry> {
        self.catalogue().offers()
    }

    fn model_at(&mut self, path: &str) -> Option<ModelEntry> {
        let path = match path.strip_prefix("~/") {
            Some(rest) => std::env::home_dir()?.join(rest),
            None => PathBuf::from(path),
        };
        self.catalogue().file(&path)
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
        read_small(Path::new(name), most)?.ok_or_else(|| format!("{name} no longer exists"))
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
        let processor = self.processor();
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

    fn now(&mut self) -> DateTime {
        clock::now()
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
