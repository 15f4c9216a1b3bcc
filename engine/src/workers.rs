//! Parallel execution: the same function on several cores at once, behind one trait.

use core::sync::atomic::{AtomicU32, Ordering::Acquire};

/// Workers that run one function on several cores.
///
/// # Safety
/// The implementer promises what [`count`](Workers::count), [`run`](Workers::run) and
/// [`wait`](Workers::wait) document: the parts of a computation write to shared memory and rely on
/// it for taking turns.
pub unsafe trait Workers: Sync {
    /// Largest number of workers that [`run`](Workers::run) can use, at least 1; it never changes.
    fn count(&self) -> usize;

    /// Number of workers available now: some may be parked until the next reply.
    fn at_hand(&self) -> usize {
        self.count()
    }

    /// Calls `f(0)`, …, `f(parts - 1)`, each once and all at the same time (they wait for each
    /// other inside), `f(0)` on the calling core, and returns when all have returned. `parts` is 1
    /// to [`count`](Workers::count).
    fn run(&self, parts: usize, f: &(dyn Fn(usize) + Sync));

    /// Returns once `word` differs from `seen`. Called inside of [`run`](Workers::run), for waits
    /// that mostly take less than a microsecond.
    fn wait(&self, word: &AtomicU32, seen: u32) {
        while word.load(Acquire) == seen {
            core::hint::spin_loop();
        }
    }

    /// Wakes workers that sleep in [`wait`](Workers::wait); called after `word` has changed.
    fn wake(&self, _word: &AtomicU32) {}
}

/// A single worker: the caller itself.
pub struct Single;

// Safety: one part, which the caller runs; there is nothing to wait for.
unsafe impl Workers for Single {
    fn count(&self) -> usize {
        1
    }

    fn run(&self, _parts: usize, f: &(dyn Fn(usize) + Sync)) {
        f(0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Host threads, started for each call: slow, but sufficient to show that the parts are
    /// independent.
    pub(crate) struct Scoped(pub usize);

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
}
