//! Clients of the server: their bytes, and how they come and go.
#![no_main]

#[expect(dead_code, reason = "the fuzzer `http` uses the rest of it")]
#[path = "../../serve/tests/bench/mod.rs"]
mod bench;

use bench::{act, seeds};
use libfuzzer_sys::fuzz_target;
use llama2_fuzz::plant;

fuzz_target!(
    init: plant("serve", |_| seeds()),
    |bytes: &[u8]| act(bytes)
);
