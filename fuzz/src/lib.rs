//! Shared by the fuzzers: functions and seeds for the shells' input and for downloads, the
//! measuring allocator, and the seeds' folder.

#[path = "../../efi/tests/untrusted/download.rs"]
pub mod download;
#[path = "../../efi/tests/untrusted/shells.rs"]
pub mod shells;

use std::path::Path;

use llama2_testing::{gauge::Gauge, kept::Seed};

#[global_allocator]
static ALLOCATOR: Gauge = Gauge;

/// Writes the seeds of `target` to the folder where cargo-fuzz looks for inputs.
pub fn plant(target: &str, seeds: fn(&str) -> Vec<Seed>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let written = std::fs::create_dir_all(&folder).and_then(|()| {
        seeds(target)
            .iter()
            .try_for_each(|seed| std::fs::write(folder.join(&seed.name), &seed.bytes))
    });
    if let Err(error) = written {
        eprintln!("{}: no seeds could be put there: {error}", folder.display());
    }
}
