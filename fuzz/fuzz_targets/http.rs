//! Requests to the server: their bytes, and the JSON inside of them.
#![no_main]

#[expect(dead_code, reason = "the fuzzer `serve` uses the rest of it")]
#[path = "../../serve/tests/bench/mod.rs"]
mod bench;
#[path = "../../serve/tests/bytes/mod.rs"]
mod bytes;

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::plant;

fuzz_target!(
    init: plant("http", bytes::seeds),
    |input: &[u8]| bytes::run(input)
);
