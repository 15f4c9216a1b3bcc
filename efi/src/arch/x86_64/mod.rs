//! x86-64: name of the processor, vector extensions, pages, counter and ports.
//!
//! # Quirks
//! Firmware leaves AVX disabled: OVMF enters with CR4.OSXSAVE clear, on the boot processor and on
//! every other core. EDK2's EmulatorPkg runs applications in an ordinary process, in which
//! privileged instructions fault: there, features are only detected.

mod cpuid;
mod switch;

use alloc::{string::String, vec::Vec};
use core::arch::{
    asm,
    x86_64::{__cpuid, __cpuid_count, _rdtsc},
};

use llama2_engine::kernels::Features;

use crate::cores::Conduit;
use cpuid::Registers;
pub use switch::{back_to, call_on};

/// A core that could be switched on; on x86-64 there is none, since MP Services start them all.
pub enum OtherCore {}

impl OtherCore {
    /// Never called: [`can_switch_on`] is false.
    pub fn new(_: Conduit, _id: u64, _work: extern "C" fn(usize), _argument: usize) -> OtherCore {
        unreachable!("cores are started by MP Services")
    }

    /// Never called.
    pub fn switch_on(&self) {
        match *self {}
    }

    /// Never called.
    pub fn is_called(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn is_off(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn give_up(&self) {
        match *self {}
    }
}

/// Returns false: x86-64 has no PSCI.
pub fn can_switch_on(_: Conduit) -> bool {
    false
}

/// Number of the core that this runs on, where cores are switched on by it; not on x86-64.
pub fn core_id() -> u64 {
    0
}

/// Current value of the counter.
pub fn ticks() -> u64 {
    // Safety: every x86-64 processor has a time stamp counter, and firmware leaves CR4.TSD clear.
    unsafe { _rdtsc() }
}

/// Ticks of the counter per millisecond, if the architecture defines it; on x86-64 it has to be
/// measured.
pub fn ticks_per_millisecond() -> Option<u64> {
    None
}

/// Reads four bytes from a port; `None` on architectures without ports.
///
/// # Safety
/// Reading this port has no side effects, and the caller runs at privilege level 0.
pub unsafe fn read_port(port: u16) -> Option<u32> {
    let value;
    // Safety: as the caller says.
    unsafe { asm!("in eax, dx", out("eax") value, in("dx") port, options(nomem, nostack)) };
    Some(value)
}

/// Name of the processor.
pub fn name() -> String {
    if __cpuid(0x8000_0000).eax < 0x8000_0004 {
        return "unnamed x86-64".into();
    }
    let words = (0x8000_0002..=0x8000_0004).flat_map(|leaf| {
        let found = __cpuid(leaf);
        [found.eax, found.ebx, found.ecx, found.edx]
    });
    cpuid::name(&words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
}

fn registers() -> Registers {
    let leaves = __cpuid(0).eax;
    let mut registers = Registers {
        leaf1_ecx: __cpuid(1).ecx,
        ..Registers::default()
    };
    if leaves >= 7 {
        registers.leaf7_ebx = __cpuid_count(7, 0).ebx;
    }
    if leaves >= 13 {
        registers.leaf13_eax = __cpuid_count(13, 0).eax;
    }
    registers
}

/// Enables AVX and AVX-512 state on the calling core, if it has them and this is allowed, and sets
/// rounding and exceptions as at power-on, as UEFI requires. May be called again. Runs on any core;
/// allocates nothing.
pub fn switch_on_vectors() {
    const OSXSAVE_IN_CR4: u64 = 1 << 18;
    let mxcsr = 0x1f80u32;
    // Safety: this value masks all exceptions and rounds to nearest, which compiled code relies on.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const mxcsr, options(nostack, readonly)) };
    let registers = registers();
    if !registers.can_switch_on() || !is_privileged() {
        return;
    }
    let cr4: u64;
    // Safety: at privilege level 0 CR4 may be read, and OSXSAVE set if CPUID reports XSAVE. It
    // changes nothing for code that does not use XSAVE.
    unsafe {
        asm!("mov {}, cr4", out(reg) cr4, options(nomem, nostack, preserves_flags));
        if cr4 & OSXSAVE_IN_CR4 == 0 {
            asm!("mov cr4, {}", in(reg) cr4 | OSXSAVE_IN_CR4, options(nomem, nostack, preserves_flags));
        }
    }
    let state = extended_state();
    let wanted = state | registers.wanted_state();
    if wanted != state {
        // Safety: OSXSAVE is set; the bits added are a complete set that CPUID.13 allows, and none
        // is removed.
        unsafe {
            asm!("xsetbv", in("ecx") 0, in("eax") wanted as u32, in("edx") (wanted >> 32) as u32, options(nomem, nostack, preserves_flags));
        }
    }
}

/// Clears the upper halves of the vector registers on a core that has `features` and may have used
/// them: while they are in use, SSE code such as the firmware's is slow.
pub fn rest_vectors(features: Features) {
    if features.has_avx2() {
        // Safety: AVX exists and is enabled, or these features would not exist; no function keeps
        // anything in the upper halves over a call.
        unsafe {
            asm!("vzeroupper", out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _, options(nomem, nostack, preserves_flags));
        }
    }
}

/// Description of the size of the page that contains an address; `None` if the page tables cannot
/// be inspected (Intel SDM volume 3, 4.5).
pub fn page_size(address: usize) -> Option<&'static str> {
    const LA57: u64 = 1 << 12;
    const PRESENT: u64 = 1;
    const LARGE: u64 = 1 << 7;
    const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
    if !is_privileged() {
        return None;
    }
    let (cr3, cr4): (u64, u64);
    // Safety: at privilege level 0 both may be read.
    unsafe {
        asm!("mov {}, cr3", "mov {}, cr4", out(reg) cr3, out(reg) cr4, options(nomem, nostack, preserves_flags));
    }
    let levels = if cr4 & LA57 == 0 { 4 } else { 5 };
    let mut table = cr3 & ADDRESS;
    for level in (1..=levels).rev() {
        let index = address as u64 >> (12 + 9 * (level - 1)) & 0x1ff;
        // Safety: UEFI maps memory to its own addresses, including page tables; they are only read.
        let entry = unsafe { ((table + 8 * index) as *const u64).read_volatile() };
        match (level, entry) {
            (_, entry) if entry & PRESENT == 0 => return None,
            (1, _) => return Some("4 KiB"),
            (2, entry) if entry & LARGE != 0 => return Some("2 MiB"),
            (3, entry) if entry & LARGE != 0 => return Some("1 GiB"),
            (_, entry) => table = entry & ADDRESS,
        }
    }
    None
}

/// Returns true if privileged instructions may be used.
fn is_privileged() -> bool {
    let cs: u16;
    // Safety: the code segment's selector may be read at every level.
    unsafe { asm!("mov {:x}, cs", out(reg) cs, options(nomem, nostack, preserves_flags)) };
    cs & 3 == 0
}

/// Reads XCR0; only valid if OSXSAVE is set.
fn extended_state() -> u64 {
    let (low, high): (u32, u32);
    // Safety: the caller has seen to OSXSAVE; reading changes nothing.
    unsafe {
        asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high, options(nomem, nostack, preserves_flags))
    };
    u64::from(high) << 32 | u64::from(low)
}

/// Random number from the processor, if it can generate one.
pub fn random() -> Option<u64> {
    if __cpuid(1).ecx & 1 << 30 == 0 {
        return None;
    }
    // Ten attempts, as Intel advises. Some old AMD processors report success and return only ones.
    (0..10).find_map(|_| {
        let (number, ok): (u64, u8);
        // Safety: the processor says that it has the instruction, which changes these two registers
        // and the flags.
        unsafe {
            asm!("rdrand {}", "setc {}", out(reg) number, out(reg_byte) ok, options(nomem, nostack))
        };
        (ok == 1 && number != u64::MAX && number != 0).then_some(number)
    })
}
