//! Answers in Markdown, laid out as they come.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{plant, shells};

fuzz_target!(
    init: plant("markdown", shells::seeds),
    |bytes: &[u8]| shells::markdown(bytes)
);
