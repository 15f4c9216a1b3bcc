//! Timers that call a function of ours in the middle of whatever goes on. None may outlive the
//! application: firmware would call what is no longer there.

use core::{
    ffi::c_void,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicPtr,
        Ordering::{AcqRel, Acquire},
    },
    time::Duration,
};

use uefi::{
    Event,
    boot::{self, EventType, TimerTrigger, Tpl},
};

/// The firmware's events of timers that run: one for a conversation, one for a reply.
static RUNNING: [AtomicPtr<c_void>; 2] = [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// A timer that runs until it is dropped.
pub struct Timer(&'static AtomicPtr<c_void>);

impl Timer {
    /// Has the firmware call `f(context)` every `period`, at TPL_CALLBACK, where it has timers.
    ///
    /// # Safety
    /// `f` may be called with `context` as long as the timer runs, wherever the application is.
    pub unsafe fn every(
        period: Duration,
        f: unsafe extern "efiapi" fn(Event, Option<NonNull<c_void>>),
        context: Option<NonNull<c_void>>,
    ) -> Option<Timer> {
        let kind = EventType::TIMER | EventType::NOTIFY_SIGNAL;
        // Safety: as the caller says, until `close`.
        let event = unsafe { boot::create_event(kind, Tpl::CALLBACK, Some(f), context) }.ok()?;
        let raw = event.as_ptr();
        let place = RUNNING.iter().find(|place| {
            let taken = place.compare_exchange(ptr::null_mut(), raw, AcqRel, Acquire);
            taken.is_ok()
        });
        let set = boot::set_timer(&event, TimerTrigger::Periodic(period));
        match (place, set) {
            (Some(place), Ok(())) => Some(Timer(place)),
            (Some(place), Err(_)) => {
                close(place);
                None
            }
            (None, _) => {
                let _ = boot::close_event(event);
                None
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        close(self.0);
    }
}

fn close(place: &AtomicPtr<c_void>) {
    // Safety: null, or an event of `every`, which is closed once: null is in its place now.
    if let Some(event) = unsafe { Event::from_ptr(place.swap(ptr::null_mut(), AcqRel)) } {
        let _ = boot::close_event(event);
    }
}

/// Stops all timers, whoever has them: the application ends here and now.
pub fn stop_all() {
    RUNNING.iter().for_each(close);
}
