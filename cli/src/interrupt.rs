//! Ctrl-C in a conversation on a terminal: the first one stops an answer, any other ends the
//! command.

use std::{
    io::{self, IsTerminal},
    process,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

/// Nobody is answering: an interrupt ends the command.
const IDLE: u8 = 0;
/// An answer is being made.
const BUSY: u8 = 1;
/// It is to stop.
const STOP: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(IDLE);

/// What shells take a command for that an interrupt ended: 128 and the signal's number.
const INTERRUPTED: i32 = 130;

/// Listens from now on, where somebody sits at a terminal; everywhere else an interrupt ends the
/// command, as ever.
pub fn listen() {
    if !io::stdin().is_terminal() {
        return;
    }
    // Where the system has no such thing, interrupts do what they always do.
    let _ = ctrlc::set_handler(|| {
        if !stop() {
            process::exit(INTERRUPTED);
        }
    });
}

/// Stops what is going on, if something is.
fn stop() -> bool {
    STATE.compare_exchange(BUSY, STOP, Relaxed, Relaxed).is_ok()
}

/// An answer begins.
pub fn begin() {
    STATE.store(BUSY, Relaxed);
}

/// Tells whether it is to stop.
pub fn wanted() -> bool {
    STATE.load(Relaxed) == STOP
}

/// The answer is over.
pub fn end() {
    STATE.store(IDLE, Relaxed);
}
