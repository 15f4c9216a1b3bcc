//! Bytes of a serial line or a terminal, through the line editor.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{plant, shells};

fuzz_target!(
    init: plant("keys", shells::seeds),
    |bytes: &[u8]| shells::keys(bytes)
);
