//! What the fuzzers share: the tests' functions and seeds, the engine's and the shells', the allocator that measures, and mutations
//! that know what a GGUF file is.

#[path = "../../engine/tests/common/mod.rs"]
pub mod common;
pub mod mutate;
#[path = "../../efi/tests/common/shells.rs"]
pub mod shells;

use std::path::Path;

#[global_allocator]
static ALLOCATOR: common::gauge::Gauge = common::gauge::Gauge;

/// Puts the seeds of `target` where cargo-fuzz looks for inputs.
pub fn plant(target: &str, seeds: fn(&str) -> Vec<common::kept::Seed>) {
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
