//! Floats of 16 bits: IEEE 754's binary16 and bfloat16, to and from single precision, halves to
//! even: what F16C's instructions and the `half` crate give, bit for bit. (That crate would be
//! taken, but its macros alone take a sixth of the time of building the engine's tests.)

use core::ops::Neg;

/// Single precision's infinity.
const INFINITY: u32 = 0x7f80_0000;

/// Number in half precision (IEEE 754 binary16): 5 bits of exponent, 10 of mantissa.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct F16(u16);

impl F16 {
    /// Zero.
    pub const ZERO: F16 = F16(0);

    /// Takes the bits of a number.
    pub const fn from_bits(bits: u16) -> F16 {
        F16(bits)
    }

    /// Takes the bytes of a number in a file.
    pub const fn from_le_bytes(bytes: [u8; 2]) -> F16 {
        F16(u16::from_le_bytes(bytes))
    }

    /// Rounds to the nearest number, halves to even; what is too large becomes infinite.
    pub fn from_f32(x: f32) -> F16 {
        let sign = (x.to_bits() >> 16 & 0x8000) as u16;
        let bits = x.to_bits() & 0x7fff_ffff;
        let magnitude = match bits {
            // NaN stays NaN, and becomes a quiet one.
            _ if bits > INFINITY => 0x7e00 | (bits >> 13) & 0x3ff,
            // From 65 520 on: the largest number is 65 504.
            0x477f_f000.. => 0x7c00,
            0x3880_0000.. => {
                // The exponent's bias is 15 instead of 127.
                let odd = bits >> 13 & 1;
                bits.wrapping_add(0xc800_0fff + odd) >> 13
            }
            // Below 2^-14 a step is 2^-24, which is the last place of numbers from 0.5 to 1.
            _ => (f32::from_bits(bits) + 0.5).to_bits() - 0.5f32.to_bits(),
        };
        F16(sign | magnitude as u16)
    }

    /// Converts to single precision, which is exact.
    #[inline]
    pub fn to_f32(self) -> f32 {
        let sign = u32::from(self.0 & 0x8000) << 16;
        let bits = u32::from(self.0 & 0x7fff) << 13;
        let magnitude = match self.0 & 0x7fff {
            0x7c00 => INFINITY,
            0x7c01.. => INFINITY | 0x40_0000 | bits & 0x7f_ffff,
            // 2^112 makes good for the exponent's bias.
            _ => (f32::from_bits(bits) * f32::from_bits(0x7780_0000)).to_bits(),
        };
        f32::from_bits(sign | magnitude)
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// Its bytes in a file.
    pub const fn to_le_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}

impl Neg for F16 {
    type Output = F16;

    fn neg(self) -> F16 {
        F16(self.0 ^ 0x8000)
    }
}

/// Number in bfloat16: single precision's upper 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bf16(u16);

impl Bf16 {
    /// Takes the bits of a number.
    pub const fn from_bits(bits: u16) -> Bf16 {
        Bf16(bits)
    }

    /// Takes the bytes of a number in a file.
    pub const fn from_le_bytes(bytes: [u8; 2]) -> Bf16 {
        Bf16(u16::from_le_bytes(bytes))
    }

    /// Rounds to the nearest number, halves to even.
    pub fn from_f32(x: f32) -> Bf16 {
        let bits = x.to_bits();
        if x.is_nan() {
            return Bf16((bits >> 16) as u16 | 0x40);
        }
        Bf16((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }

    /// Converts to single precision, which is exact.
    #[inline]
    pub fn to_f32(self) -> f32 {
        let bits = u32::from(self.0) << 16;
        let is_nan = bits & 0x7fff_ffff > INFINITY;
        f32::from_bits(bits | if is_nan { 0x40_0000 } else { 0 })
    }

    /// Its bits.
    pub const fn to_bits(self) -> u16 {
        self.0
    }

    /// Its bytes in a file.
    pub const fn to_le_bytes(self) -> [u8; 2] {
        self.0.to_le_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    #[test]
    fn every_number_is_the_crate_s() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (F16::from_bits(bits), f16::from_bits(bits));
            assert_eq!(
                ours.to_f32().to_bits(),
                theirs.to_f32().to_bits(),
                "{bits:x}"
            );
            let (ours, theirs) = (Bf16::from_bits(bits), bf16::from_bits(bits));
            assert_eq!(
                ours.to_f32().to_bits(),
                theirs.to_f32().to_bits(),
                "{bits:x}"
            );
        }
    }

    #[test]
    fn numbers_are_rounded_as_by_the_crate() {
        // Around every number of half precision, and some of all others.
        let near = (0..=u16::MAX).flat_map(|bits| {
            let middle = u32::from(bits & 0x8000) << 16 | (u32::from(bits & 0x7fff) << 13);
            [0, 1, 0xfff, 0x1000, 0x1001, 0x1fff]
                .map(|more| middle.wrapping_add(0x3800_0000) + more)
        });
        let all = (0..=u32::MAX).step_by(if cfg!(miri) { 1 << 24 } else { 997 });
        for bits in near.chain(all) {
            let x = f32::from_bits(bits);
            let (ours, theirs) = (F16::from_f32(x), f16::from_f32(x));
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:x}");
            let (ours, theirs) = (Bf16::from_f32(x), bf16::from_f32(x));
            assert_eq!(ours.to_bits(), theirs.to_bits(), "{bits:x}");
        }
    }
}
