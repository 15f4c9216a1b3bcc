//! Files of conversations, and their names.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{plant, shells};

fuzz_target!(
    init: plant("conversation", shells::seeds),
    |bytes: &[u8]| shells::conversation(bytes)
);
