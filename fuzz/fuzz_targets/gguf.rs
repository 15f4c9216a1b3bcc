//! GGUF files, whole and split, with their tokenizers: mutated as bytes, and by structure.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use llama2_fuzz::plant;
use llama2_testing::{mutate, seeds, untrusted};

fuzz_target!(
    init: plant("gguf", seeds::of),
    |bytes: &[u8]| untrusted::gguf(bytes)
);

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // Every other time as libFuzzer does it.
    if seed & 1 == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    match mutate::gguf(&data[..size], u64::from(seed)) {
        Some(changed) if changed.len() <= max_size.min(data.len()) => {
            data[..changed.len()].copy_from_slice(&changed);
            changed.len()
        }
        _ => fuzzer_mutate(data, size, max_size),
    }
});
