//! Workers that are started for each call.

use std::sync::atomic::{AtomicU32, Ordering::Acquire};

use llama2_engine::workers::Workers;

/// Host threads, started for each call: slow, but sufficient to show that the parts are
/// independent.
pub struct Scoped(pub usize);

// Safety: a thread for each part, all joined; `wait` looks until the word has changed.
unsafe impl Workers for Scoped {
    fn count(&self) -> usize {
        self.0
    }

    fn run(&self, parts: usize, f: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            for part in 1..parts {
                scope.spawn(move || f(part));
            }
            f(0);
        });
    }

    fn wait(&self, word: &AtomicU32, seen: u32) {
        while word.load(Acquire) == seen {
            std::thread::yield_now();
        }
    }
}
