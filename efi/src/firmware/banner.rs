//! Banner: the program, the firmware, and the machine.

use alloc::{format, string::String};

use llama2_efi::arch;
use llama2_engine::{bench::gigahertz, kernels::Kernels, units::Bytes};
use uefi::system;

use super::{
    NAME,
    ap_pool::ApPool,
    clock, memory,
    shell::text,
    terminal::{say, say_pair, title},
};

/// Shows what is known before any file is read.
pub fn show() {
    title(&format!("{NAME}: a language model with nothing underneath"));
    say_pair("firmware", &firmware());
    say_pair("processor", &arch::name());
    let memory = memory::size();
    say_pair(
        "memory",
        &format!("{}, {} free", Bytes(memory.total), Bytes(memory.free)),
    );
    say("");
}

/// Vendor and versions of the firmware.
pub fn firmware() -> String {
    let (revision, uefi) = (system::firmware_revision(), system::uefi_revision());
    let (vendor, major, minor) = (
        text(system::firmware_vendor()),
        revision >> 16,
        revision & 0xffff,
    );
    // Its year and month are decimal digits in hexadecimal ones.
    match vendor.contains("U-Boot") {
        true => format!("{vendor} {major:x}.{:02x} (UEFI {uefi})", minor >> 8),
        false => format!("{vendor} {major}.{minor:02} (UEFI {uefi})"),
    }
}

/// Shows the cores and the kernels.
pub fn show_cores(pool: &ApPool, kernels: &Kernels) {
    say_pair("cores", &pool.words());
    let clock = gigahertz(clock::nanoseconds);
    let clock = clock.map_or(String::new(), |ghz| format!(", {ghz:.2} GHz effective"));
    say_pair("kernels", &format!("{}{clock}", kernels.title));
}
