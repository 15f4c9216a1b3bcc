//! When the program itself is wrong, or the heap is at its end: the message, a key, and back to the firmware. uefi's own
//! handler would power off.

use core::{
    panic::PanicInfo,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use uefi::{Status, boot};

use super::terminal;

static PANICKED: AtomicBool = AtomicBool::new(false);

/// Allocates nothing: it may be the heap that failed.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    // A panic inside of this handler leaves at once.
    if !PANICKED.swap(true, Relaxed) {
        terminal::last_words(format_args!(
            "error: internal error: {info}; please report it, with the model's name"
        ));
    }
    // Safety: the image's own handle; nothing of it runs afterwards.
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
