//! A seed for who gave none: from the firmware, else the processor, else the clock.

use uefi::{boot, proto::rng::Rng};

use crate::{clock, cpu};

/// A seed that is not 0, and where it came from.
pub fn seed() -> (u64, &'static str) {
    let drawn = firmware()
        .map(|seed| (seed, "the firmware"))
        .or_else(|| cpu::random().map(|seed| (seed, "the processor")));
    let (seed, source) = drawn.unwrap_or((clock::ticks(), "the time stamp counter"));
    // Short, so that it can be typed again.
    ((seed % 1_000_000_000).max(1), source)
}

fn firmware() -> Option<u64> {
    let handle = boot::get_handle_for_protocol::<Rng>().ok()?;
    // Safety: a protocol of the firmware's own; it is only asked for bytes.
    let mut rng = unsafe {
        boot::open_protocol::<Rng>(
            boot::OpenProtocolParams {
                handle,
                agent: boot::image_handle(),
                controller: None,
            },
            boot::OpenProtocolAttributes::GetProtocol,
        )
    }
    .ok()?;
    let mut bytes = [0; 8];
    rng.get_mut()?.get_rng(None, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes)).filter(|&seed| seed != 0)
}
