//! AArch64: name of the processor, floating point, pages, counter and random numbers.
//!
//! # Quirks
//! Firmware runs applications at EL1 or EL2 (UEFI specification, 2.3.6): EDK2 at EL2 where the
//! machine has it, and so does U-Boot on most boards. The registers of address translation have
//! other names there.

/// Reads a system register, which reading does not change.
///
/// # Safety
/// The exception level that this runs at may read the register.
macro_rules! read {
    ($name:literal) => {{
        let value: u64;
        core::arch::asm!(
            concat!("mrs {}, ", $name),
            out(reg) value,
            options(nomem, nostack, preserves_flags)
        );
        value
    }};
}

mod midr;
mod psci;
mod switch;

use alloc::string::String;
use core::arch::asm;

use llama2_engine::kernels::Features;

pub use psci::{OtherCore, can_switch_on, core_id};
pub use switch::{back_to, call_on};

/// Name of the processor.
pub fn name() -> String {
    // Safety: an identification register, which may be read at EL1 and above, where UEFI runs.
    midr::name(unsafe { read!("midr_el1") })
}

/// Sets rounding, denormal and half-precision numbers as the architecture's default is, on the
/// calling core: kernels rely on it. Vectors are always on. Runs on any core; allocates nothing.
pub fn switch_on_vectors() {
    // Safety: the default of FPCR: nothing traps, nothing is flushed to zero, rounding is to
    // nearest, half-precision numbers are IEEE's. Compiled code relies on just that.
    unsafe { asm!("msr fpcr, xzr", options(nomem, nostack, preserves_flags)) };
}

/// Does nothing: there are no upper halves to clear.
pub fn rest_vectors(_: Features) {}

/// Description of the size of the page that contains an address; `None` if the page tables are not
/// of 4 KiB pages (Arm Architecture Reference Manual, D8.2 and D8.3).
pub fn page_size(address: usize) -> Option<&'static str> {
    const VALID: u64 = 1;
    /// A table in levels 0 to 2, a page in level 3; without it, a block.
    const TABLE: u64 = 2;
    const ADDRESS: u64 = 0x0000_ffff_ffff_f000;
    // Safety: each is read at its own exception level.
    let (control, root) = unsafe {
        match is_el2() {
            true => (read!("tcr_el2"), read!("ttbr0_el2")),
            false => (read!("tcr_el1"), read!("ttbr0_el1")),
        }
    };
    let (bits, granule) = (64 - (control & 0x3f), control >> 14 & 3);
    if granule != 0 || !(26..=48).contains(&bits) {
        return None;
    }
    // Each table resolves 9 bits, the last one above 12.
    let first = 4 - (bits - 12).div_ceil(9);
    let mut table = root & ADDRESS;
    for level in first..4 {
        let index = address as u64 >> (12 + 9 * (3 - level)) & 0x1ff;
        // Safety: UEFI maps memory to its own addresses, including page tables; they are only read.
        let entry = unsafe { ((table + 8 * index) as *const u64).read_volatile() };
        match (level, entry & (VALID | TABLE)) {
            (3, 3) => return Some("4 KiB"),
            (1, VALID) => return Some("1 GiB"),
            (2, VALID) => return Some("2 MiB"),
            (0..=2, 3) => table = entry & ADDRESS,
            _ => return None,
        }
    }
    None
}

/// Returns true at EL2, false at EL1.
fn is_el2() -> bool {
    // Safety: may be read at EL1 and above.
    let level = unsafe { read!("currentel") };
    level >> 2 & 3 == 2
}

/// Random number from the processor, if it can generate one (RNDR).
pub fn random() -> Option<u64> {
    // Safety: an identification register, as in `name`.
    if unsafe { read!("id_aa64isar0_el1") } >> 60 == 0 {
        return None;
    }
    (0..10).find_map(|_| {
        let (number, ok): (u64, u64);
        // Safety: the processor says that it has the register RNDR, by its number; reading it
        // changes the flags, and Z tells that there was no number in time.
        unsafe {
            asm!("mrs {}, s3_3_c2_c4_0", "cset {}, ne", out(reg) number, out(reg) ok, options(nomem, nostack));
        }
        (ok == 1).then_some(number)
    })
}

/// Current value of the counter.
pub fn ticks() -> u64 {
    // Safety: the virtual counter may be read at every exception level that UEFI runs at.
    unsafe { read!("cntvct_el0") }
}

/// Ticks of the counter per millisecond; `None` if firmware has not set its frequency.
pub fn ticks_per_millisecond() -> Option<u64> {
    // Safety: as in `ticks`.
    let frequency = unsafe { read!("cntfrq_el0") };
    Some(frequency / 1000).filter(|&rate| rate > 0)
}

/// Returns `None`: there are no I/O ports.
///
/// # Safety
/// None needed.
pub unsafe fn read_port(_port: u16) -> Option<u32> {
    None
}
