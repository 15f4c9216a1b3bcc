//! Calls on another stack, and a return from them at any depth.

/// Restores the registers that a callee preserves in this calling convention (Microsoft's), and
/// returns.
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

/// Calls `f(argument)`, an efiapi function, on another stack, and stores at `way_back` what
/// [`back_to`] needs to end the call.
///
/// # Safety
/// `top` is a multiple of 16 and the end of memory that is not used otherwise; `way_back` is valid
/// for writes. `f` takes one pointer, and may be called with `argument`.
#[unsafe(naked)]
pub unsafe extern "efiapi" fn call_on(
    top: *mut u8,
    way_back: *mut usize,
    f: *const (),
    argument: *const (),
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

/// Ends a [`call_on`].
///
/// # Safety
/// Nothing on the other stack is used any more. `way_back` was stored by [`call_on`], whose frame
/// still exists.
#[unsafe(naked)]
pub unsafe extern "efiapi" fn back_to(way_back: usize) -> ! {
    core::arch::naked_asm!("mov rsp, rcx", restore!())
}
