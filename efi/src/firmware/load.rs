//! Reading a checkpoint's weights, with a bar: redrawn on the screen, growing on the serial line.

use alloc::format;
use core::ops::ControlFlow;

use llama2_app::platform::{Console, OpenModel};
use llama2_efi::progress;
use llama2_engine::{
    checkpoint::Error,
    model::{LoadProgress, Model},
    units::Grouped,
};

use super::{
    clock,
    terminal::{self, FirmwareTerminal, detail},
};

/// Microseconds between two looks at the keyboard, and between two drawings of the bar.
const PERIOD: u64 = 100_000;
/// Places of the bar.
const WIDTH: usize = 40;

/// Reads the weights.
///
/// # Errors
/// As [`Model::load`]; [`Error::Stopped`] if the user pressed Esc or Ctrl-C.
pub fn load(model: &mut OpenModel) -> Result<Model, Error> {
    let total = model.source.size();
    terminal::record(&format!("Loading {}: {} bytes", model.file, Grouped(total)));
    terminal::to_serial("Loading [");
    let start = clock::microseconds();
    let (mut drawn, mut sent, mut recorded) = (0, 0, 0);
    let loaded = Model::load(
        &model.checkpoint,
        &mut *model.source,
        &mut |LoadProgress { done, total }| {
            let filled = progress::filled(done, total, WIDTH);
            while sent < filled {
                terminal::to_serial("#");
                sent += 1;
            }
            let now = clock::microseconds();
            if now.saturating_sub(drawn) < PERIOD && done < total {
                return ControlFlow::Continue(());
            }
            drawn = now;
            let speed = progress::megabytes_per_second(done, now - start);
            let percent = progress::filled(done, total, 100);
            terminal::redraw(&format!(
                "Loading {} {percent:3} % {speed}   ",
                progress::bar(done, total, WIDTH)
            ));
            if percent / 10 > recorded {
                recorded = percent / 10;
                terminal::record(&format!("Read {percent} % at {speed}"));
            }
            if FirmwareTerminal.look().stop {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    terminal::to_serial("]");
    terminal::end_redrawn();
    let (model, digest) = loaded?;
    if let Some((rate, before)) = clock::settle() {
        terminal::record(&format!(
            "Clock: {rate} ticks a millisecond, {before} before"
        ));
    }
    let speed = progress::megabytes_per_second(total, clock::microseconds() - start);
    detail(&format!(
        "Read {} bytes at {speed}, CRC-32 {:08x}",
        Grouped(digest.bytes),
        digest.crc32
    ));
    Ok(model)
}
