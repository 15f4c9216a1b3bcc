//! From the names on the command line to a model and its tokenizer in memory.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use llama2_engine::{
    checkpoint::{Checkpoint, Format},
    context::Context,
    model::{LoadProgress, Model},
    source::ByteSource,
    tokenizer::Tokenizer,
    workers::Workers,
};

use crate::{
    failure::{Failure, name, say},
    file::{self, FileSource},
    machine::Machine,
    progress::{self, Unit},
};

/// The bundled model's name and bytes.
const BUNDLED: (&str, &[u8]) = (
    "stories7M (bundled)",
    include_bytes!("../../models/stories7M-Q4_0.gguf"),
);

/// A checkpoint whose header has been read.
pub struct Opened {
    /// The file, or what to call the bundled model.
    pub name: PathBuf,
    pub checkpoint: Checkpoint,
    source: Box<dyn ByteSource>,
}

impl Opened {
    /// The checkpoint, and where its bytes are.
    pub fn parts(&mut self) -> (&Checkpoint, &mut dyn ByteSource) {
        (&self.checkpoint, &mut *self.source)
    }

    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.source.size()
    }
}

/// Opens the named checkpoint, or the bundled one.
pub fn open(path: Option<&Path>) -> Result<Opened, Failure> {
    let (name, mut source): (_, Box<dyn ByteSource>) = match path {
        Some(path) => (path.to_owned(), file::open_model(path)?),
        None => (BUNDLED.0.into(), Box::new(BUNDLED.1)),
    };
    let checkpoint =
        Checkpoint::open(&mut *source).map_err(|error| Failure::about(&name, error))?;
    Ok(Opened {
        name,
        checkpoint,
        source,
    })
}

/// Finds the context: what was asked for, or what there is memory for: what the system tells of,
/// and `spare` bytes more.
pub fn fit(
    opened: &Opened,
    machine: &Machine,
    wanted: Option<usize>,
    spare: u64,
) -> Result<Context, Failure> {
    let free = available_memory().map_or(u64::MAX, |free| free.saturating_add(spare));
    let workers = machine.threads.count();
    let fitted = Context::fit(&opened.checkpoint, wanted, machine.kv, workers, free);
    fitted.map_err(|error| Failure::about(&opened.name, error))
}

/// A file of fewer bytes is read before anybody could read a progress bar.
const WORTH_A_BAR: u64 = 32 << 20;

/// Streams the weights in, with a progress bar where standard error is a terminal.
pub fn load(mut opened: Opened) -> Result<Model, Failure> {
    let about = |error| Failure::about(&opened.name, error);
    let size = opened.source.size();
    let bar = if size < WORTH_A_BAR {
        ProgressBar::hidden()
    } else {
        progress::of("loading", &opened.name, size, Unit::Bytes)
    };
    let loaded = Model::load(
        &opened.checkpoint,
        &mut *opened.source,
        &mut |progress: LoadProgress| {
            bar.set_position(progress.done);
            ControlFlow::Continue(())
        },
    );
    bar.finish_and_clear();
    loaded.map(|(model, _)| model).map_err(about)
}

/// A tokenizer and what to call it.
pub struct NamedTokenizer {
    pub name: PathBuf,
    pub tokenizer: Tokenizer,
}

impl NamedTokenizer {
    /// Says what its user should know.
    pub fn warn(&self) {
        for warning in self.tokenizer.warnings() {
            say(format_args!("llama2: warning: {warning}"));
        }
    }

    /// Tells whether it is that of a model with `vocab_size` tokens; else a sentence with both
    /// numbers.
    pub fn check_model(&self, vocab_size: usize) -> Result<(), Failure> {
        self.tokenizer
            .check_model(vocab_size)
            .map_err(|error| Failure::about(&self.name, format!("{error} (-z names it)")))
    }
}

/// The named tokenizer, else the one inside of a checkpoint or the bundled model, else the one that
/// goes with a checkpoint.
pub fn tokenizer(
    named: Option<&Path>,
    checkpoint: Option<&Path>,
) -> Result<NamedTokenizer, Failure> {
    let name = match named {
        Some(path) => path.to_owned(),
        None => {
            let opened = open(checkpoint)?;
            let name = opened.name.clone();
            match own_tokenizer(opened)? {
                Some(own) => return Ok(own),
                None => find_tokenizer(&name)?,
            }
        }
    };
    let mut source = FileSource::open(&name)?;
    match Tokenizer::load(&mut source) {
        Ok(tokenizer) => Ok(NamedTokenizer { name, tokenizer }),
        Err(error) => Err(Failure::about(&name, error)),
    }
}

/// The tokenizer inside of a GGUF file; nothing if it is another file.
fn own_tokenizer(mut opened: Opened) -> Result<Option<NamedTokenizer>, Failure> {
    if !matches!(opened.checkpoint.format, Format::Gguf { .. }) {
        return Ok(None);
    }
    let name = opened.name;
    let tokenizer = Tokenizer::from_gguf(&mut *opened.source)
        .map_err(|error| Failure::about(&name, format!("{error} (-z names a tokenizer.bin)")))?;
    Ok(Some(NamedTokenizer { name, tokenizer }))
}

/// `tokenizer.bin` in the current folder, as run.c has it, else beside the checkpoint.
pub fn find_tokenizer(checkpoint: &Path) -> Result<PathBuf, Failure> {
    const NAME: &str = "tokenizer.bin";
    let here = PathBuf::from(NAME);
    let beside = checkpoint.with_file_name(NAME);
    for path in [&here, &beside] {
        if let Some(found) = file::beside(path, NAME, &|name| name.eq_ignore_ascii_case(NAME)) {
            return Ok(found);
        }
    }
    let places = if beside == here {
        "there is no tokenizer.bin in this folder".into()
    } else {
        format!(
            "there is neither a tokenizer.bin in this folder nor {}",
            name(&beside)
        )
    };
    Err(Failure::about(
        checkpoint,
        format!("needs a tokenizer, but {places}; name one with -z"),
    ))
}

/// Bytes that a new process may use without swapping, where the system tells (Linux).
pub fn available_memory() -> Option<u64> {
    memory("MemAvailable:")
}

/// Bytes of memory that the machine has, where the system tells (Linux).
pub fn total_memory() -> Option<u64> {
    memory("MemTotal:")
}

fn memory(name: &str) -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}
