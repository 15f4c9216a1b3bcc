//! From the names on the command line to a model and its tokenizer in memory.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use llama2_engine::{
    checkpoint::Checkpoint,
    model::{Model, Progress},
    source::ByteSource,
    tokenizer::Tokenizer,
};

use crate::{failure::Failure, file::FileSource};

/// The bundled model's name and bytes.
const BUNDLED: (&str, &[u8]) = (
    "stories1M (bundled)",
    include_bytes!("../../models/stories1M.q80.bin"),
);
const BUNDLED_TOKENIZER: &[u8] = include_bytes!("../../models/tokenizer.bin");

/// A checkpoint whose header has been read.
pub struct Opened {
    /// The file, or what to call the bundled model.
    pub name: PathBuf,
    pub checkpoint: Checkpoint,
    source: Box<dyn ByteSource>,
}

impl Opened {
    /// Bytes in the file.
    pub fn size(&self) -> u64 {
        self.source.size()
    }
}

/// Opens the named checkpoint, or the bundled one.
pub fn open(path: Option<&Path>) -> Result<Opened, Failure> {
    let (name, mut source): (_, Box<dyn ByteSource>) = match path {
        Some(path) => (path.to_owned(), Box::new(FileSource::open(path)?)),
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

/// Streams the weights in, with a progress bar where standard error is a terminal.
pub fn load(mut opened: Opened) -> Result<Model, Failure> {
    let about = |error| Failure::about(&opened.name, error);
    if let Some(free) = available_memory() {
        opened.checkpoint.memory().check(free).map_err(about)?;
    }
    let bar = ProgressBar::new(opened.source.size())
        .with_message(format!("loading {}", opened.name.display()));
    let style = ProgressStyle::with_template(
        "{msg} [{bar:30}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}",
    );
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let loaded = Model::load(
        &opened.checkpoint,
        &mut *opened.source,
        &mut |progress: Progress| {
            bar.set_position(progress.done);
            ControlFlow::Continue(())
        },
    );
    bar.finish_and_clear();
    loaded.map(|(model, _)| model).map_err(about)
}

/// The tokenizer for a checkpoint at `checkpoint` (the bundled one's own if none is named) with `vocab_size` tokens.
pub fn tokenizer(
    named: Option<&Path>,
    checkpoint: Option<&Path>,
    vocab_size: usize,
) -> Result<Tokenizer, Failure> {
    let (name, mut source): (PathBuf, Box<dyn ByteSource>) = match (named, checkpoint) {
        (Some(path), _) => (path.to_owned(), Box::new(FileSource::open(path)?)),
        (None, None) => (
            "tokenizer.bin (bundled)".into(),
            Box::new(BUNDLED_TOKENIZER),
        ),
        (None, Some(checkpoint)) => {
            let path = find_tokenizer(checkpoint)?;
            (path.clone(), Box::new(FileSource::open(&path)?))
        }
    };
    let tokenizer = Tokenizer::load(&mut *source).map_err(|error| Failure::about(&name, error))?;
    tokenizer
        .check_model(vocab_size)
        .map_err(|error| Failure::about(&name, format!("{error} (-z names it)")))?;
    Ok(tokenizer)
}

/// `tokenizer.bin` in this folder, as run.c has it, else beside the checkpoint.
fn find_tokenizer(checkpoint: &Path) -> Result<PathBuf, Failure> {
    let here = PathBuf::from("tokenizer.bin");
    let beside = checkpoint.with_file_name("tokenizer.bin");
    match [&here, &beside].into_iter().find(|path| path.exists()) {
        Some(path) => Ok(path.clone()),
        None => Err(Failure::Input(format!(
            "no tokenizer: neither {} in this folder nor {} is there; name one with -z",
            here.display(),
            beside.display()
        ))),
    }
}

/// Bytes that a new process may use without swapping, where the system tells (Linux).
pub fn available_memory() -> Option<u64> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace()
        .next()?
        .parse::<u64>()
        .ok()?
        .checked_mul(1024)
}
