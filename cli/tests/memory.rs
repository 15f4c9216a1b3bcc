//! Memory use of the command: what it touches, not what it reserves. This test has its own file
//! because the peak of a child is at least that of the process that started it.
#![cfg(target_os = "linux")]

mod common;

use std::process::{Command, Stdio};

use llama2_engine::layout::Encoding;
use llama2_testing::family;

const CONTEXT: u64 = 65_536;
/// Positions per page.
const PAGE: u64 = 128;
const SPARE: u64 = 32 << 20;

/// Peak memory of the command in bytes, as reported by the system.
fn peak(args: &[&str]) -> u64 {
    let command = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn();
    let pid = command.unwrap().id() as libc::pid_t;
    let mut status = 0;
    // Safety: plain numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // Safety: our own child, which nothing else waits for; both places are valid.
    let waited = unsafe { libc::wait4(pid, &mut status, 0, &mut usage) };
    assert_eq!((waited, status), (pid, 0), "{args:?}");
    usage.ru_maxrss as u64 * 1024
}

#[test]
fn a_long_context_takes_memory_only_as_it_fills() {
    let family = &family::FAMILIES[0];
    let mut made = family.make(7, &|_| Encoding::Q8_0);
    made.u32("llama.context_length", CONTEXT as u32);
    made.speak();
    let bytes = made.bytes();
    let weights = bytes.len() as u64;
    let file = common::file("memory.gguf", &bytes);
    let file = file.to_str().unwrap();
    drop((made, bytes));
    // Bytes of keys and values at each position.
    let numbers = (2 * family::LAYERS * family.kv_heads * family.head_dim) as u64;
    for (kv, position) in [
        ("f32", numbers * 4),
        ("f16", numbers * 2),
        ("q8_0", numbers / 32 * 34),
    ] {
        assert!(
            CONTEXT * position > 2 * SPARE,
            "{kv}: the test sees nothing"
        );
        for (command, tokens) in [("run", 1u64), ("chat", 8), ("run", 200)] {
            let steps = tokens.to_string();
            let most = weights + (tokens + 32).next_multiple_of(PAGE) * position + SPARE;
            let shared = ["-t", "0", "-n", &steps, "--kv", kv, "-i", "Hi"];
            let taken = peak(&[&[command, file], &shared[..]].concat());
            assert!(
                taken <= most,
                "{command}, {kv}, {tokens}: {taken} of {most}"
            );
        }
    }
}
