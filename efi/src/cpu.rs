//! What the processor is and can do.

use alloc::{string::String, vec::Vec};

/// The processor's name.
#[cfg(target_arch = "x86_64")]
pub fn name() -> String {
    use core::arch::x86_64::__cpuid;
    if __cpuid(0x8000_0000).eax < 0x8000_0004 {
        return "unnamed x86-64 processor".into();
    }
    let words = (0x8000_0002..=0x8000_0004).flat_map(|leaf| {
        let found = __cpuid(leaf);
        [found.eax, found.ebx, found.ecx, found.edx]
    });
    let bytes: Vec<u8> = words
        .flat_map(u32::to_le_bytes)
        .take_while(|&byte| byte != 0)
        .collect();
    let name = String::from_utf8_lossy(&bytes);
    // Intel pads with spaces in front and in the middle.
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Vector units that the processor has beyond those in use.
#[cfg(target_arch = "x86_64")]
pub fn vector_units() -> Vec<&'static str> {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    let basic = __cpuid(1);
    let extended = if __cpuid(0).eax >= 7 {
        __cpuid_count(7, 0)
    } else {
        __cpuid(0x8000_0000)
    };
    let has_extended = __cpuid(0).eax >= 7;
    let units = [
        (basic.ecx & 1 << 28 != 0, "AVX"),
        (basic.ecx & 1 << 12 != 0, "FMA"),
        (has_extended && extended.ebx & 1 << 5 != 0, "AVX2"),
        (has_extended && extended.ebx & 1 << 16 != 0, "AVX-512"),
        (has_extended && extended.ecx & 1 << 11 != 0, "AVX-512 VNNI"),
    ];
    units
        .into_iter()
        .filter(|unit| unit.0)
        .map(|unit| unit.1)
        .collect()
}

/// A random number from the processor, if it makes any.
#[cfg(target_arch = "x86_64")]
pub fn random() -> Option<u64> {
    if core::arch::x86_64::__cpuid(1).ecx & 1 << 30 == 0 {
        return None;
    }
    // Ten attempts, as Intel advises. Some old AMD processors say yes and give nothing but ones.
    (0..10).find_map(|_| {
        let (number, ok): (u64, u8);
        // Safety: the processor says that it has the instruction, which changes these two registers and the flags.
        unsafe { core::arch::asm!("rdrand {}", "setc {}", out(reg) number, out(reg_byte) ok, options(nomem, nostack)) };
        (ok == 1 && number != u64::MAX && number != 0).then_some(number)
    })
}

/// The processor's name.
#[cfg(not(target_arch = "x86_64"))]
pub fn name() -> String {
    "AArch64 processor".into()
}

/// Vector units that the processor has beyond those in use.
#[cfg(not(target_arch = "x86_64"))]
pub fn vector_units() -> Vec<&'static str> {
    Vec::new()
}

/// A random number from the processor, if it makes any.
#[cfg(not(target_arch = "x86_64"))]
pub fn random() -> Option<u64> {
    None
}
