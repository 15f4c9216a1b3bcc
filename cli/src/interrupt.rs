//! Ctrl-C in a conversation on a terminal: the first one stops an answer, any other ends the
//! command.

use std::{
    io::{self, IsTerminal},
    process,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

/// No answer is being generated: an interrupt ends the command.
const IDLE: u8 = 0;
/// An answer is being generated.
const BUSY: u8 = 1;
/// The answer must stop.
const STOP: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(IDLE);

/// Exit status of a command that an interrupt ended: 128 plus the signal's number.
const INTERRUPTED: i32 = 130;

/// Installs the handler, if standard input is a terminal; otherwise an interrupt ends the command
/// as usual.
pub fn listen() {
    if !io::stdin().is_terminal() {
        return;
    }
    // If the system has no signals, interrupts have their default effect.
    let _ = ctrlc::set_handler(|| {
        if !stop() {
            process::exit(INTERRUPTED);
        }
    });
}

/// Stops the current answer, if there is one. Returns true if so.
fn stop() -> bool {
    STATE.compare_exchange(BUSY, STOP, Relaxed, Relaxed).is_ok()
}

/// Begins an answer.
pub fn begin() {
    STATE.store(BUSY, Relaxed);
}

/// Returns true if the answer must stop.
pub fn wanted() -> bool {
    STATE.load(Relaxed) == STOP
}

/// Ends the answer.
pub fn end() {
    STATE.store(IDLE, Relaxed);
}
