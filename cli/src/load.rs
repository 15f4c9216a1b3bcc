//! Loading of a model and its tokenizer from the names on the command line.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use llama2_app::platform::OpenModel;
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

/// Name and bytes of the bundled model.
const BUNDLED: (&str, &[u8]) = (
    "stories7M (bundled)",
    include_bytes!("../../models/stories7M-Q4_0.gguf"),
);

/// Checkpoint whose header has been read.
pub struct Opened {
    /// Path of the file, or name of the bundled model.
    pub name: PathBuf,
    pub checkpoint: Checkpoint,
    pub source: Box<dyn ByteSource>,
}

impl Opened {
    /// Checkpoint, and source of its bytes.
    pub fn parts(&mut self) -> (&Checkpoint, &mut dyn ByteSource) {
        (&self.checkpoint, &mut *self.source)
    }

    /// Size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.source.size()
    }
}

/// Opens the given checkpoint, or the bundled one.
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

/// Chooses the context: as requested, or as large as fits into the memory that the system reports
/// plus `spare` bytes.
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

/// Smaller files are loaded before a progress bar could be read.
const WORTH_A_BAR: u64 = 32 << 20;

/// Loads the weights, with a progress bar if standard error is a terminal.
pub fn load(mut opened: Opened) -> Result<Model, Failure> {
    with_bar(&opened.name, &opened.checkpoint, &mut *opened.source)
}

/// Streams in the weights of a model whose tokenizer has been read.
pub fn weights(model: &mut OpenModel) -> Result<Model, Failure> {
    with_bar(
        Path::new(&model.file),
        &model.checkpoint,
        &mut *model.source,
    )
}

fn with_bar(
    name: &Path,
    checkpoint: &Checkpoint,
    source: &mut dyn ByteSource,
) -> Result<Model, Failure> {
    let size = source.size();
    let bar = if size < WORTH_A_BAR {
        ProgressBar::hidden()
    } else {
        progress::of("loading", name, size, Unit::Bytes)
    };
    let loaded = stream(name, checkpoint, source, &mut |done| {
        bar.set_position(done);
        true
    });
    bar.finish_and_clear();
    loaded
}

/// Streams the weights in as long as `go_on` says so of the bytes that were read.
pub fn weights_with(
    model: &mut OpenModel,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Model, Failure> {
    let name = Path::new(&model.file);
    stream(name, &model.checkpoint, &mut *model.source, go_on)
}

fn stream(
    name: &Path,
    checkpoint: &Checkpoint,
    source: &mut dyn ByteSource,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Result<Model, Failure> {
    let mut on_progress = |progress: LoadProgress| match go_on(progress.done) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let loaded = Model::load(checkpoint, source, &mut on_progress);
    loaded
        .map(|(model, _)| model)
        .map_err(|error| Failure::about(name, error))
}

/// Tokenizer with its name.
pub struct NamedTokenizer {
    pub name: PathBuf,
    pub tokenizer: Tokenizer,
}

impl NamedTokenizer {
    /// Prints its warnings.
    pub fn warn(&self) {
        for warning in self.tokenizer.warnings() {
            say(format_args!("llama2: warning: {warning}"));
        }
    }

    /// Checks that it fits a model with `vocab_size` tokens; the error has both numbers.
    pub fn check_model(&self, vocab_size: usize) -> Result<(), Failure> {
        self.tokenizer
            .check_model(vocab_size)
            .map_err(|error| Failure::about(&self.name, format!("{error} (-z names it)")))
    }
}

/// Returns the tokenizer given by the user, or else the one inside of a checkpoint or the bundled
/// model, or else the one found for a checkpoint.
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

/// Tokenizer inside of a GGUF file; `None` for other files.
fn own_tokenizer(mut opened: Opened) -> Result<Option<NamedTokenizer>, Failure> {
    if !matches!(opened.checkpoint.format, Format::Gguf { .. }) {
        return Ok(None);
    }
    let name = opened.name;
    let tokenizer = Tokenizer::from_gguf(&mut *opened.source)
        .map_err(|error| Failure::about(&name, format!("{error} (-z names a tokenizer.bin)")))?;
    Ok(Some(NamedTokenizer { name, tokenizer }))
}

/// Path of `tokenizer.bin`: in the current folder, as in run.c, or else beside the checkpoint.
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

/// Bytes that a new process can use without swapping, if the system reports it (Linux).
pub fn available_memory() -> Option<u64> {
    memory("MemAvailable:")
}

/// Bytes of memory in the machine, if the system reports it (Linux).
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
