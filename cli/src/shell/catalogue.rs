//! The models that `/model` offers: checkpoints beside the one that runs and in this folder, and
//! the bundled one.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use llama2_app::{
    catalogue::{self, MemoryBudget},
    platform::ModelEntry,
};
use llama2_engine::{
    checkpoint::{self, Checkpoint, Format},
    gguf::PartName,
    session::KvType,
    tokenizer::Tokenizer,
};

use super::BUNDLED;
use crate::{failure::Failure, file, load};

/// Tokenizers are smaller: larger files need not be read to know that they are none.
const LARGEST_TOKENIZER: u64 = 16 << 20;

/// What there is to be known.
pub struct Catalogue<'a> {
    /// The model that runs.
    pub own: Option<&'a Path>,
    /// The folder of the last model that has one.
    pub folder: Option<&'a Path>,
    /// Bytes of memory that a model could have.
    pub free: u64,
    pub kv: KvType,
    pub workers: usize,
}

impl Catalogue<'_> {
    fn room(&self) -> MemoryBudget {
        MemoryBudget {
            context: None,
            kv: self.kv,
            workers: self.workers,
            free: self.free,
        }
    }

    /// All of them, in order of their names; the bundled one last.
    pub fn offers(&self) -> Vec<ModelEntry> {
        let mut paths = BTreeSet::new();
        let beside = self.folder;
        let is_here = |folder: &Path| folder.as_os_str().is_empty();
        if let Some(folder) = beside.filter(|folder| !is_here(folder)) {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            paths.extend(entries.map(|entry| entry.path()));
        }
        // Paths of this folder are names.
        let here = std::fs::read_dir(".").into_iter().flatten().flatten();
        let is_same_folder = beside
            .and_then(|folder| folder.canonicalize().ok())
            .is_some_and(|folder| Path::new(".").canonicalize().ok() == Some(folder));
        if beside.is_none_or(is_here) || !is_same_folder {
            paths.extend(here.map(|entry| PathBuf::from(entry.file_name())));
        }
        // However it was named.
        paths.extend(self.own.map(PathBuf::from));
        let mut offers: Vec<ModelEntry> = paths.iter().filter_map(|path| self.file(path)).collect();
        offers.extend(self.bundled());
        offers
    }

    /// What is offered of a file; `None` if it is none that holds a model.
    pub fn file(&self, path: &Path) -> Option<ModelEntry> {
        let name = path.file_name()?.to_str()?;
        let is = |extension: &str| {
            path.extension()
                .is_some_and(|found| found.eq_ignore_ascii_case(extension))
        };
        let part = PartName::of(name);
        if !is("gguf") && !is("bin") || part.is_some_and(|part| part.number > 1) {
            return None;
        }
        if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
            return None;
        }
        let mut offer = ModelEntry {
            id: path.display().to_string(),
            name: name.to_string(),
            free: self.free,
            ..ModelEntry::default()
        };
        let mut source = match file::open_model(path) {
            Ok(source) => source,
            Err(failure) => {
                offer.trouble = Some(without(path, failure));
                return Some(offer);
            }
        };
        offer.size = source.size();
        let checkpoint = match Checkpoint::open(&mut *source) {
            Ok(checkpoint) => checkpoint,
            // Much else ends in .bin: only what begins as a model does is one that is broken.
            Err(error) => {
                let begins = is("gguf") || matches!(error, checkpoint::Error::Size { .. });
                let is_tokenizer = is("bin")
                    && offer.size <= LARGEST_TOKENIZER
                    && Tokenizer::load(&mut *source).is_ok();
                if !begins || is_tokenizer {
                    return None;
                }
                offer.trouble = Some(error.to_string());
                return Some(offer);
            }
        };
        let is_gguf = matches!(checkpoint.format, Format::Gguf { .. });
        catalogue::describe(&mut offer, &checkpoint, self.room());
        if offer.trouble.is_none() && !is_gguf {
            // A tokenizer that was named for it is known to be there.
            let missing = load::find_tokenizer(path).err();
            let missing = missing.filter(|_| self.own != Some(path));
            offer.trouble = missing.map(|failure| without(path, failure));
        }
        Some(offer)
    }

    fn bundled(&self) -> Option<ModelEntry> {
        let opened = load::open(None).ok()?;
        let mut offer = ModelEntry {
            id: BUNDLED.into(),
            name: opened.name.display().to_string(),
            size: opened.size(),
            free: self.free,
            ..ModelEntry::default()
        };
        catalogue::describe(&mut offer, &opened.checkpoint, self.room());
        Some(offer)
    }
}

/// A sentence without the file's name, which stands beside it.
fn without(path: &Path, failure: Failure) -> String {
    let Failure::Input(sentence) = failure else {
        return String::new();
    };
    let name = format!("{}: ", path.display());
    sentence
        .strip_prefix(&name)
        .map(String::from)
        .unwrap_or(sentence)
}
