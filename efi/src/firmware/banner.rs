//! The first lines: what this is and what it runs on.

use alloc::{format, string::String};

use llama2_engine::{
    kernels::{self, Features},
    units::Bytes,
};
use uefi::system;

use super::{
    NAME, cores, cpu, memory,
    shell::text,
    terminal::{say, say_pair, title},
};

/// Says all of it.
pub fn show() {
    title(&format!("{NAME}: a language model with nothing underneath"));
    let (revision, uefi) = (system::firmware_revision(), system::uefi_revision());
    say_pair(
        "firmware",
        &format!(
            "{} {}.{:02} (UEFI {uefi})",
            text(system::firmware_vendor()),
            revision >> 16,
            revision & 0xffff
        ),
    );
    say_pair("processor", &cpu::name());
    let others = cpu::switch_on_vectors();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("; switched on, not used yet: {}", others.join(", "))
    };
    say_pair(
        "vectors",
        &format!("{}{others}", kernels::best(Features::of_this_core()).title),
    );
    say_pair(
        "cores",
        &match cores::count() {
            Some(count) => format!("{count} (1 used)"),
            None => "1 (the firmware does not tell of more)".into(),
        },
    );
    let memory = memory::size();
    say_pair(
        "memory",
        &format!("{}, {} free", Bytes(memory.total), Bytes(memory.free)),
    );
    say("");
}
