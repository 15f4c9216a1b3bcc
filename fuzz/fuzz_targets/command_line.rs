//! Options of boot entries, and words of the UEFI Shell.
#![no_main]

use libfuzzer_sys::fuzz_target;
use llama2_fuzz::{plant, shells};

fuzz_target!(
    init: plant("command_line", shells::seeds),
    |bytes: &[u8]| shells::command_line(bytes)
);
