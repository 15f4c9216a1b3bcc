//! Handling of bugs and of an exhausted heap: shows the message, waits for a key, and returns to
//! the firmware. The handler of `uefi` would power off.

use core::{
    fmt,
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use llama2_engine::units::Bytes;
use llama2_settings::Exit;
use uefi::{Status, boot, runtime::ResetType};

use super::{ap_pool, memory, network, power, terminal, timer};

static PANICKED: AtomicBool = AtomicBool::new(false);

/// Allocates nothing: the heap may be the cause.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // On another core, which must not call firmware: the boot processor will show the message.
    ap_pool::give_in(format_args!("{info}"));
    let place = info.location().map_or("", |location| location.file());
    // Called by the standard library when the allocator is exhausted.
    if memory::last_failed() > 0 && place.ends_with("alloc.rs") {
        fail(format_args!(
            "error: out of memory: {} could not be allocated; use a smaller model, or add memory to the machine",
            Bytes(memory::last_failed() as u64)
        ))
    }
    fail(format_args!(
        "error: internal error: {info}; please report it, with the model's name"
    ))
}

/// Ends the application from anywhere on the boot processor: the other cores return to the
/// firmware, the message is shown, a key is waited for, and the machine is switched off if that was
/// requested.
pub fn fail(message: fmt::Arguments<'_>) -> ! {
    // A panic inside of this function leaves at once.
    if !PANICKED.swap(true, Relaxed) {
        ap_pool::stop();
        network::close();
        terminal::last_words(message);
    }
    // If the steps above were not reached: the firmware must not call functions that are about to
    // disappear.
    timer::stop_all();
    if terminal::exit() == Exit::Shutdown {
        power::reset(ResetType::SHUTDOWN);
    }
    // Safety: the image's own handle; none of its code runs afterwards.
    let _ = unsafe {
        boot::exit(
            boot::image_handle(),
            Status::ABORTED,
            0,
            core::ptr::null_mut(),
        )
    };
    loop {
        boot::stall(Duration::from_secs(1));
    }
}
