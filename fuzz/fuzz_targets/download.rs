//! Answers of a web server that a model is fetched from.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{download, plant};

fuzz_target!(
    init: plant("download", download::seeds),
    |bytes: &[u8]| download::run(bytes)
);
