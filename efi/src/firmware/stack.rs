//! A stack of our own on another core, and a way off it from anywhere: what firmware gives there is 32 KiB, or whatever it
//! likes, and a core that cannot go on has to get back to the firmware all the same.

use alloc::vec::Vec;
use core::{cell::Cell, ffi::c_void};

/// Bytes. The deepest that was seen in use is 5 KiB (a panic's message; the arithmetic takes 4).
const SIZE: usize = 64 << 10;
/// What the lowest bytes hold as long as nobody has come so far.
const CANARY: u64 = 0x6c6c_616d_6132_6566;

/// A stack.
pub struct Stack {
    memory: Vec<u128>,
    /// The firmware's stack pointer, while somebody is on this one.
    way_back: Cell<usize>,
}

impl Stack {
    /// A fresh one.
    pub fn new() -> Stack {
        let mut memory = alloc::vec![0; SIZE / size_of::<u128>()];
        memory[0] = u128::from(CANARY);
        Stack {
            memory,
            way_back: Cell::new(0),
        }
    }

    /// Whether the caller is on it.
    pub fn is_under_us(&self) -> bool {
        let here = 0u8;
        self.memory
            .as_ptr_range()
            .contains(&(&raw const here).cast())
    }

    /// Whether it was too small.
    pub fn has_overflowed(&self) -> bool {
        // Safety: the first element, which `new` has written.
        unsafe { self.memory.as_ptr().read_volatile() != u128::from(CANARY) }
    }

    /// Calls `f(argument)` on it, and returns when it returns or calls [`leave`](Stack::leave).
    ///
    /// # Safety
    /// Nobody may be on it.
    pub unsafe fn call(&self, f: extern "efiapi" fn(*mut c_void), argument: *mut c_void) {
        #[cfg(target_arch = "x86_64")]
        {
            let top = self.memory.as_ptr_range().end;
            // Safety: the memory is ours, its end is a multiple of 16, and nobody is on it by contract.
            unsafe { call_on(top.cast_mut().cast(), self.way_back.as_ptr(), f, argument) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        f(argument);
    }

    /// Goes back to where [`call`](Stack::call) was called, without dropping anything on the way.
    ///
    /// # Safety
    /// The caller is on it, and holds nothing that others wait for.
    pub unsafe fn leave(&self) -> ! {
        #[cfg(target_arch = "x86_64")]
        // Safety: `call_on` has put this address there, and its frame still stands: the caller is called by it.
        unsafe {
            back_to(self.way_back.get())
        };
        #[cfg(not(target_arch = "x86_64"))]
        loop {
            core::hint::spin_loop();
        }
    }
}

/// Takes back the registers that a callee keeps in this calling convention (Microsoft's), and returns.
#[cfg(target_arch = "x86_64")]
macro_rules! restore {
    () => {
        "movaps xmm6, [rsp]
         movaps xmm7, [rsp + 16]
         movaps xmm8, [rsp + 32]
         movaps xmm9, [rsp + 48]
         movaps xmm10, [rsp + 64]
         movaps xmm11, [rsp + 80]
         movaps xmm12, [rsp + 96]
         movaps xmm13, [rsp + 112]
         movaps xmm14, [rsp + 128]
         movaps xmm15, [rsp + 144]
         add rsp, 168
         pop r15
         pop r14
         pop r13
         pop r12
         pop rdi
         pop rsi
         pop rbp
         pop rbx
         ret"
    };
}

/// # Safety
/// `top` is the end of memory that nobody else uses, a multiple of 16.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "efiapi" fn call_on(
    top: *mut u8,
    way_back: *mut usize,
    f: extern "efiapi" fn(*mut c_void),
    argument: *mut c_void,
) {
    core::arch::naked_asm!(
        "push rbx
         push rbp
         push rsi
         push rdi
         push r12
         push r13
         push r14
         push r15
         sub rsp, 168
         movaps [rsp], xmm6
         movaps [rsp + 16], xmm7
         movaps [rsp + 32], xmm8
         movaps [rsp + 48], xmm9
         movaps [rsp + 64], xmm10
         movaps [rsp + 80], xmm11
         movaps [rsp + 96], xmm12
         movaps [rsp + 112], xmm13
         movaps [rsp + 128], xmm14
         movaps [rsp + 144], xmm15
         mov [rdx], rsp
         mov rbx, rdx
         mov rsp, rcx
         sub rsp, 32
         mov rcx, r9
         call r8
         mov rsp, [rbx]",
        restore!(),
    )
}

/// # Safety
/// `way_back` is what [`call_on`] has stored, and its frame still stands.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "efiapi" fn back_to(way_back: usize) -> ! {
    core::arch::naked_asm!("mov rsp, rcx", restore!())
}
