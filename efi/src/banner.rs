//! The first lines: what this is and what it runs on.

use alloc::{format, string::ToString};

use llama2_engine::{kernels, units::Bytes};
use uefi::{proto::console::text::Color, system};

use crate::{
    NAME, cores, cpu, memory,
    terminal::{say, say_in},
};

/// Says all of it.
pub fn show() {
    say_in(
        Color::LightCyan,
        &format!("{NAME}: a language model with nothing underneath"),
    );
    let (revision, uefi) = (system::firmware_revision(), system::uefi_revision());
    say(&format!(
        "  firmware   {} {}.{:02} (UEFI {uefi})",
        system::firmware_vendor(),
        revision >> 16,
        revision & 0xffff
    ));
    say(&format!("  processor  {}", cpu::name()));
    let unused = cpu::vector_units();
    let unused = if unused.is_empty() {
        "".to_string()
    } else {
        format!("; also there, not used yet: {}", unused.join(", "))
    };
    say(&format!("  vectors    {}{unused}", kernels::best().name));
    say(&match cores::count() {
        Some(1) => "  cores      1".to_string(),
        Some(count) => format!("  cores      {count}, of which 1 is used so far"),
        None => "  cores      1 (the firmware does not tell of more)".to_string(),
    });
    let memory = memory::size();
    say(&format!(
        "  memory     {}, {} free",
        Bytes(memory.total),
        Bytes(memory.free)
    ));
    say("");
}
