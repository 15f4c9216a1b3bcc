//! Texts, for every kind of tokenizer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{
    common::{seeds, untrusted},
    plant,
};

fuzz_target!(
    init: plant("tokenisation", seeds::of),
    |bytes: &[u8]| untrusted::tokenisation(bytes)
);
