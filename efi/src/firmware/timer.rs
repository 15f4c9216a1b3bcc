//! Timers that interrupt whatever is running to call a function. None may outlive the application,
//! whose code firmware would then call after it is unloaded.

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

/// Events of running timers: one for a session, one for a reply, one for the network.
static RUNNING: [AtomicPtr<c_void>; 3] = [const { AtomicPtr::new(ptr::null_mut()) }; 3];

/// Timer that runs until it is dropped.
pub struct Timer(&'static AtomicPtr<c_void>);

impl Timer {
    /// Makes the firmware call `f(context)` every `period`, at TPL_CALLBACK; `None` if it has no
    /// timers.
    ///
    /// # Safety
    /// `f` may be called with `context` as long as the timer runs, whatever the application is
    /// doing.
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
    // Safety: null, or an event of `every`, which is closed once: it was replaced by null.
    if let Some(event) = unsafe { Event::from_ptr(place.swap(ptr::null_mut(), AcqRel)) } {
        let _ = boot::close_event(event);
    }
}

/// Stops all timers, because the application ends now.
pub fn stop_all() {
    RUNNING.iter().for_each(close);
}
