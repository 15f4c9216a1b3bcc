//! Interpretation of CPUID: the processor's name, and the features that can be enabled.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

/// Name of the processor in its usual form, without vendors' padding and trademark signs.
pub fn name(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    let name = String::from_utf8_lossy(&bytes[..end])
        .replace("(R)", "")
        .replace("(TM)", "")
        .replace("(tm)", "");
    let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if name.is_empty() {
        "unnamed".to_string()
    } else {
        name
    }
}

/// Registers that describe vector extensions (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix
/// E).
#[derive(Debug, Clone, Copy, Default)]
pub struct Registers {
    /// CPUID.1:ECX.
    pub leaf1_ecx: u32,
    /// CPUID.(7,0):EBX; 0 if the leaf does not exist.
    pub leaf7_ebx: u32,
    /// CPUID.(13,0):EAX, the state components that XCR0 may enable; 0 if the leaf does not exist.
    pub leaf13_eax: u32,
}

/// Bits of XCR0 for x87, SSE and AVX state.
const AVX_STATE: u64 = 0b111;
/// Bits of XCR0 for AVX-512's mask registers and both halves of its vectors.
const AVX512_STATE: u64 = 0xe0;

impl Registers {
    fn has(register: u32, bit: u32) -> bool {
        register & (1 << bit) != 0
    }

    /// Returns true if the processor has AVX and XSAVE. Without XSAVE, XSETBV is an invalid
    /// instruction.
    pub fn can_switch_on(&self) -> bool {
        Self::has(self.leaf1_ecx, 26) && Self::has(self.leaf1_ecx, 28)
    }

    /// Bits of XCR0 that its vector extensions need.
    pub fn wanted_state(&self) -> u64 {
        let avx512 = if Self::has(self.leaf7_ebx, 16) {
            AVX512_STATE
        } else {
            0
        };
        let allowed = u64::from(self.leaf13_eax);
        let avx = AVX_STATE & allowed;
        // Part of either set is an invalid value.
        let avx = if avx == AVX_STATE { avx } else { 0 };
        let avx512 = if avx512 & allowed == AVX512_STATE && avx != 0 {
            avx512
        } else {
            0
        };
        avx | avx512
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(
            name(b"  Intel(R) Core(TM) i7-8650U CPU @ 1.90GHz\0junk"),
            "Intel Core i7-8650U CPU @ 1.90GHz"
        );
        assert_eq!(
            name(b"QEMU Virtual CPU version 2.5+"),
            "QEMU Virtual CPU version 2.5+"
        );
        assert_eq!(name(b"  \0"), "unnamed");
        assert_eq!(name(b"\xff"), "\u{fffd}");
    }

    const AVX512: Registers = Registers {
        leaf1_ecx: 1 << 26 | 1 << 28 | 1 << 12,
        leaf7_ebx: 1 << 5 | 1 << 16,
        leaf13_eax: 0xe7,
    };

    #[test]
    fn what_is_allowed_is_wanted() {
        assert!(AVX512.can_switch_on());
        assert_eq!(AVX512.wanted_state(), 0xe7);
        let avx = Registers {
            leaf7_ebx: 1 << 5,
            ..AVX512
        };
        assert_eq!(avx.wanted_state(), 7);
    }

    #[test]
    fn nothing_invalid_is_wanted() {
        // qemu64: no XSAVE at all.
        assert!(!Registers::default().can_switch_on());
        assert_eq!(Registers::default().wanted_state(), 0);
        let half = Registers {
            leaf13_eax: 0x27,
            ..AVX512
        };
        assert_eq!(half.wanted_state(), 7);
        let none = Registers {
            leaf13_eax: 3,
            ..AVX512
        };
        assert_eq!(none.wanted_state(), 0);
    }
}
