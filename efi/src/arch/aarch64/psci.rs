//! Switching other cores on and off by PSCI (Arm's Power State Coordination Interface, DEN 0022).
//!
//! A core begins without address translation and without caches, at an address of our choice. It
//! takes over the boot processor's translation, memory attributes, control and vectors, and calls
//! a function on a small stack. When that returns, it switches itself off.
//!
//! # Quirks
//! - A core that begins reads memory past all caches, so what it reads first is cleaned from them.
//! - QEMU reports a core as off until it has really begun, though it was switched on: only one that
//!   has come is believed to be off.

use alloc::boxed::Box;
use core::{
    arch::{asm, naked_asm},
    cell::UnsafeCell,
    mem::offset_of,
    ptr::NonNull,
    sync::atomic::{
        AtomicU32,
        Ordering::{Acquire, Release},
    },
};

use super::is_el2;
use crate::cores::Conduit;

const VERSION: u64 = 0x8400_0000;
const CPU_OFF: u64 = 0x8400_0002;
const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
/// Answer to `AFFINITY_INFO` about a core that is off.
const IS_OFF: i64 = 1;

/// Size in bytes of the stack that a core begins on.
const STACK: usize = 8 << 10;

/// States of a core.
mod state {
    /// Off, or on its way there until PSCI says so.
    pub const OFF: u32 = 0;
    /// Switched on, but not seen yet.
    pub const CALLED: u32 = 1;
    /// At work.
    pub const HERE: u32 = 2;
    /// Given up before it came: it never does anything.
    pub const LOST: u32 = 3;
}

/// Registers that a core takes over, in the order in which [`enter`] loads them.
#[repr(C)]
#[derive(Default)]
struct Registers {
    level: u64,
    stack: u64,
    mair: u64,
    tcr: u64,
    ttbr0: u64,
    ttbr1: u64,
    vbar: u64,
    floats: u64,
    hcr: u64,
    cntvoff: u64,
    sctlr: u64,
    /// 0 for HVC, 1 for SMC.
    conduit: u64,
}

/// Record that a core finds when it begins.
#[repr(C, align(64))]
struct Landing {
    registers: Registers,
    state: AtomicU32,
    work: extern "C" fn(usize),
    argument: usize,
    stack: UnsafeCell<[u128; STACK / 16]>,
}

/// A core that the boot processor can switch on.
pub struct OtherCore {
    conduit: Conduit,
    id: u64,
    landing: NonNull<Landing>,
}

// Safety: the landing's state is atomic, its stack is the other core's, and all else is written
// only while that core is off, by the boot processor, which alone switches it on.
unsafe impl Sync for OtherCore {}
// Safety: as above; nothing hangs on the core that it was made on.
unsafe impl Send for OtherCore {}

/// Affinity of the core that this runs on.
pub fn core_id() -> u64 {
    // Safety: may be read at EL1 and above.
    unsafe { read!("mpidr_el1") & 0xff_00ff_ffff }
}

/// Returns true if cores can be switched on this way: from EL2 there is no hypervisor to call.
pub fn can_switch_on(conduit: Conduit) -> bool {
    if conduit == Conduit::Hvc && is_el2() {
        return false;
    }
    // Safety: the machine's tables say that this is the way; the call only asks for a number.
    let version = unsafe { call(conduit, VERSION, [0; 3]) };
    (2..=i64::from(i32::MAX)).contains(&version)
}

/// Calls PSCI.
///
/// # Safety
/// The machine has PSCI by this conduit, and the function may be called with these arguments.
unsafe fn call(conduit: Conduit, function: u64, [first, second, third]: [u64; 3]) -> i64 {
    let answer: u64;
    // Safety: as the caller says; by the calling convention (DEN 0028) it changes no register that
    // a C function would not.
    unsafe {
        match conduit {
            Conduit::Hvc => asm!(
                "hvc 0",
                inout("x0") function => answer,
                inout("x1") first => _,
                inout("x2") second => _,
                inout("x3") third => _,
                clobber_abi("C"),
            ),
            Conduit::Smc => asm!(
                "smc 0",
                inout("x0") function => answer,
                inout("x1") first => _,
                inout("x2") second => _,
                inout("x3") third => _,
                clobber_abi("C"),
            ),
        }
    }
    // Errors are negative numbers of 32 or of 64 bits.
    match answer >> 32 {
        0 => i64::from(answer as u32 as i32),
        _ => answer as i64,
    }
}

impl OtherCore {
    /// Prepares a core with this affinity for calls of `work(argument)`.
    pub fn new(
        conduit: Conduit,
        id: u64,
        work: extern "C" fn(usize),
        argument: usize,
    ) -> OtherCore {
        let landing = Landing {
            registers: Registers::default(),
            state: AtomicU32::new(state::OFF),
            work,
            argument,
            stack: UnsafeCell::new([0; STACK / 16]),
        };
        OtherCore {
            conduit,
            id,
            landing: NonNull::from(Box::leak(Box::new(landing))),
        }
    }

    fn state(&self) -> &AtomicU32 {
        // Safety: from a box that `drop` alone frees, and an atomic value.
        unsafe { &(*self.landing.as_ptr()).state }
    }

    /// Switches the core on; without effect if it is on, was given up, or PSCI refuses.
    pub fn switch_on(&self) {
        if !self.is_off() || self.state().load(Acquire) == state::LOST {
            return;
        }
        // Safety: the core is off, so this is the only access. The stack's end is a multiple of 16.
        unsafe {
            let landing = self.landing.as_ptr();
            let stack = (*landing).stack.get().add(1).addr() as u64;
            (*landing).registers = registers(stack, self.conduit);
        }
        self.state().store(state::CALLED, Release);
        let begin = enter as *const ();
        clean(begin.addr(), CODE);
        clean(self.landing.addr().get(), size_of::<Landing>());
        let arguments = [
            self.id,
            begin.addr() as u64,
            self.landing.addr().get() as u64,
        ];
        // Safety: `enter` is given its landing, cleaned; `can_switch_on` has found PSCI.
        if unsafe { call(self.conduit, CPU_ON, arguments) } != 0 {
            self.state().store(state::OFF, Release);
        }
    }

    /// Returns true from the core's call until [`is_off`](OtherCore::is_off) has seen it off.
    pub fn is_called(&self) -> bool {
        matches!(self.state().load(Acquire), state::CALLED | state::HERE)
    }

    /// Returns true unless the core is on, or on its way.
    pub fn is_off(&self) -> bool {
        match self.state().load(Acquire) {
            state::CALLED => return false,
            state::HERE => (),
            _ => return true,
        }
        // Safety: `can_switch_on` has found PSCI; the call only asks.
        let is_off = unsafe { call(self.conduit, AFFINITY_INFO, [self.id, 0, 0]) } == IS_OFF;
        if is_off {
            self.state().store(state::OFF, Release);
        }
        is_off
    }

    /// Gives the core up if it has not come: should it still come, it switches itself off.
    pub fn give_up(&self) {
        let (from, to) = (state::CALLED, state::LOST);
        let _ = self.state().compare_exchange(from, to, Release, Acquire);
    }
}

impl Drop for OtherCore {
    fn drop(&mut self) {
        // A core that was given up may still read its landing.
        if self.is_off() && self.state().load(Acquire) != state::LOST {
            // Safety: from a box, and the core is off.
            drop(unsafe { Box::from_raw(self.landing.as_ptr()) });
        }
    }
}

/// Registers of this core for another one, which is given a stack.
fn registers(stack: u64, conduit: Conduit) -> Registers {
    let common = Registers {
        stack,
        conduit: u64::from(conduit == Conduit::Smc),
        ..Registers::default()
    };
    /// Says in HCR_EL2 that EL2 has two tables, and in TCR_EL2 that the second is not walked: that
    /// of high addresses, which UEFI has none of, is not handed over.
    const E2H: u64 = 1 << 34;
    const EPD1: u64 = 1 << 23;
    // Safety: each register is read at its own exception level.
    unsafe {
        let level = read!("currentel");
        match is_el2() {
            true => Registers {
                level,
                mair: read!("mair_el2"),
                tcr: read!("tcr_el2") | if read!("hcr_el2") & E2H != 0 { EPD1 } else { 0 },
                ttbr0: read!("ttbr0_el2"),
                vbar: read!("vbar_el2"),
                floats: read!("cptr_el2"),
                hcr: read!("hcr_el2"),
                cntvoff: read!("cntvoff_el2"),
                sctlr: read!("sctlr_el2"),
                ..common
            },
            false => Registers {
                level,
                mair: read!("mair_el1"),
                tcr: read!("tcr_el1"),
                ttbr0: read!("ttbr0_el1"),
                ttbr1: read!("ttbr1_el1"),
                vbar: read!("vbar_el1"),
                floats: read!("cpacr_el1"),
                sctlr: read!("sctlr_el1"),
                ..common
            },
        }
    }
}

/// Writes memory back from all caches, so that a core without caches reads it.
fn clean(start: usize, len: usize) {
    // Safety: an identification register that may be read at every exception level.
    let line = 4 << (unsafe { read!("ctr_el0") } >> 16 & 0xf);
    for address in (start & !(line - 1)..start + len).step_by(line) {
        // Safety: the line is written back and then no longer cached, which changes no memory.
        unsafe { asm!("dc civac, {}", in(reg) address, options(nostack, preserves_flags)) };
    }
    // Safety: barriers change nothing.
    unsafe { asm!("dsb sy", "isb", options(nostack, preserves_flags)) };
}

/// Size of [`enter`] in bytes, at most.
const CODE: usize = 256;

/// First instructions of another core: it takes over the registers, calls [`land`], and switches
/// itself off. At another exception level than the boot processor's it does so at once.
///
/// # Safety
/// Only for `CPU_ON`, with a landing that is cleaned from all caches.
#[unsafe(naked)]
unsafe extern "C" fn enter(landing: *const Landing) -> ! {
    naked_asm!(
        "msr spsel, 1
         mov x19, x0
         ldp x1, x2, [x19]
         ldp x3, x4, [x19, 16]
         ldp x5, x6, [x19, 32]
         ldp x7, x8, [x19, 48]
         ldp x9, x10, [x19, 64]
         ldp x11, x20, [x19, 80]
         mrs x12, currentel
         cmp x1, x12
         b.ne 4f
         cmp x1, 8
         b.eq 2f
         msr mair_el1, x3
         msr tcr_el1, x4
         msr ttbr0_el1, x5
         msr ttbr1_el1, x6
         msr vbar_el1, x7
         msr cpacr_el1, x8
         isb
         tlbi vmalle1
         ic iallu
         dsb nsh
         isb
         msr sctlr_el1, x11
         b 3f
         2:
         msr hcr_el2, x9
         isb
         msr mair_el2, x3
         msr tcr_el2, x4
         msr ttbr0_el2, x5
         msr vbar_el2, x7
         msr cptr_el2, x8
         msr cntvoff_el2, x10
         isb
         tlbi alle2
         ic iallu
         dsb nsh
         isb
         msr sctlr_el2, x11
         3:
         isb
         mov sp, x2
         mov x0, x19
         bl {land}
         4:
         movz x0, {off_low}
         movk x0, {off_high}, lsl 16
         cbz x20, 5f
         smc 0
         b 6f
         5:
         hvc 0
         6:
         wfe
         b 6b",
        land = sym land,
        off_low = const CPU_OFF & 0xffff,
        off_high = const CPU_OFF >> 16,
    )
}

// The order in which `enter` loads the registers.
const _: () = assert!(
    offset_of!(Landing, registers) == 0
        && offset_of!(Registers, stack) == 8
        && offset_of!(Registers, vbar) == 48
        && offset_of!(Registers, sctlr) == 80
        && offset_of!(Registers, conduit) == 88
);

/// Does the work of a core that has come, unless it was given up.
extern "C" fn land(landing: &Landing) {
    let (from, to) = (state::CALLED, state::HERE);
    let came = landing.state.compare_exchange(from, to, Acquire, Acquire);
    if came.is_ok() {
        (landing.work)(landing.argument);
    }
}
