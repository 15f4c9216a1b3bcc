//! Random seed, for users who give none: from the firmware, or else the processor, or else the
//! clock.

use llama2_efi::arch;
use uefi::{boot, proto::rng::Rng};

use super::shell::open;

/// A seed other than 0, and its source.
pub fn seed() -> (u64, &'static str) {
    let (seed, source) = number();
    // Short, so that it can be typed again.
    ((seed % 1_000_000_000).max(1), source)
}

/// A number of 64 bits that nobody can guess, where the machine has such numbers, and its source.
pub fn number() -> (u64, &'static str) {
    let drawn = firmware()
        .map(|seed| (seed, "from the firmware"))
        .or_else(|| arch::random().map(|seed| (seed, "from the processor")));
    drawn.unwrap_or((arch::ticks(), "from the processor's counter"))
}

/// Source of seeds on this machine.
pub fn source() -> &'static str {
    seed().1
}

fn firmware() -> Option<u64> {
    let mut rng = open::<Rng>(boot::get_handle_for_protocol::<Rng>().ok()?)?;
    let mut bytes = [0; 8];
    rng.get_mut()?.get_rng(None, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes)).filter(|&seed| seed != 0)
}
