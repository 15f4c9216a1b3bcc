//! Files such as `LLAMA2.CFG`: parsed and edited.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{plant, shells};

fuzz_target!(
    init: plant("configuration", shells::seeds),
    |bytes: &[u8]| shells::configuration(bytes)
);
