//! Texts on a terminal, which must not receive control characters from them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{plant, shells};

fuzz_target!(
    init: plant("terminal", shells::seeds),
    |bytes: &[u8]| shells::terminal(bytes)
);
