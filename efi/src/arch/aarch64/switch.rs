//! Calls on another stack, and a return from them at any depth.

/// Restores the registers that a callee preserves (AAPCS64), and returns.
macro_rules! restore {
    () => {
        "ldp x19, x20, [sp]
         ldp x21, x22, [sp, 16]
         ldp x23, x24, [sp, 32]
         ldp x25, x26, [sp, 48]
         ldp x27, x28, [sp, 64]
         ldp x29, x30, [sp, 80]
         ldp d8, d9, [sp, 96]
         ldp d10, d11, [sp, 112]
         ldp d12, d13, [sp, 128]
         ldp d14, d15, [sp, 144]
         add sp, sp, 160
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
        "sub sp, sp, 160
         stp x19, x20, [sp]
         stp x21, x22, [sp, 16]
         stp x23, x24, [sp, 32]
         stp x25, x26, [sp, 48]
         stp x27, x28, [sp, 64]
         stp x29, x30, [sp, 80]
         stp d8, d9, [sp, 96]
         stp d10, d11, [sp, 112]
         stp d12, d13, [sp, 128]
         stp d14, d15, [sp, 144]
         mov x9, sp
         str x9, [x1]
         mov x19, x1
         mov sp, x0
         mov x0, x3
         blr x2
         ldr x9, [x19]
         mov sp, x9",
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
    core::arch::naked_asm!("mov sp, x0", restore!())
}
