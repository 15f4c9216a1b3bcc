//! Files like tokenizer.bin.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{
    common::{seeds, untrusted},
    plant,
};

fuzz_target!(
    init: plant("tokenizer", seeds::of),
    |bytes: &[u8]| untrusted::tokenizer(bytes)
);
