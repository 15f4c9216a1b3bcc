//! Transcendental functions with the same bits on every machine, which no libm promises.
//!
//! Each is computed in `f64` and rounded once, so that the result is the correctly rounded `f32`
//! except for about one argument in a hundred million. glibc's `expf`, `powf`, `sinf` and `cosf` do
//! the same, so the numbers equal run.c's.

/// e to the power `x`.
///
/// Table-free and without branches in its body, so that a loop over it vectorises: x = (k + r)·ln 2
/// with k whole and
/// |r| ≤ ½, a Taylor polynomial of degree 9 for 2^r (relative error 5e-12), k put into the
/// exponent.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Outside of this range the result is 0 or infinity; inside it, 2^k is a normal f64. NaN passes
    // the clamp.
    let x = f64::from(x.clamp(-110.0, 90.0));
    // Adding 1.5·2^52 leaves the nearest whole number in the low bits (default rounding mode).
    const SHIFT: f64 = 6_755_399_441_055_744.0;
    let shifted = x * core::f64::consts::LOG2_E + SHIFT;
    let k = shifted - SHIFT;
    // ln 2 in two parts: k·LN2_HIGH is exact.
    const LN2_HIGH: f64 = 0.693_147_180_369_123_8;
    const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let mut p = 1.0 / 362_880.0;
    for c in [
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        p = p * r + c;
    }
    let scale = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
    (p * scale) as f32
}

/// `base` to the power `exponent`.
pub fn pow(base: f32, exponent: f32) -> f32 {
    libm::pow(f64::from(base), f64::from(exponent)) as f32
}

/// Natural logarithm of `x`.
pub fn ln(x: f32) -> f32 {
    libm::log(f64::from(x)) as f32
}

/// Sine and cosine of `angle` in radians.
pub fn sin_cos(angle: f32) -> (f32, f32) {
    let (sin, cos) = libm::sincos(f64::from(angle));
    (sin as f32, cos as f32)
}

/// Square root: one correctly rounded instruction (IEEE 754) wherever the engine runs.
#[inline(always)]
pub fn sqrt(x: f32) -> f32 {
    libm::sqrtf(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_correctly_rounded_nearly_everywhere() {
        let mut wrong = 0;
        let mut count = 0;
        for bits in (0..u32::MAX).step_by(4099) {
            let x = f32::from_bits(bits);
            let got = exp(x);
            if x.is_nan() {
                assert!(got.is_nan());
                continue;
            }
            let want = f64::from(x).exp() as f32;
            count += 1;
            if got.to_bits() != want.to_bits() {
                wrong += 1;
                assert!(
                    got.to_bits().abs_diff(want.to_bits()) <= 1,
                    "exp({x}) = {got}, not {want}"
                );
            }
        }
        assert!(
            wrong <= count / 100_000,
            "{wrong} of {count} results are off by one in the last place"
        );
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }
}
