//! Engine workers as host threads: they spin briefly between two jobs, then sleep.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicPtr, AtomicU32,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
            fence,
        },
    },
    thread::{self, JoinHandle},
};

use llama2_engine::workers::Workers;

/// Polls of a word before a thread yields its core: one or two microseconds, the usual time to wait
/// for another core that is running.
const SPINS: u32 = 100;

/// Yields before it goes to sleep. If another program uses a core, the awaited thread may be about
/// to run on this very one, and a yield costs less than a sleep.
const OFFERS: u32 = 100;

/// Function that the threads call.
type Function<'a> = &'a (dyn Fn(usize) + Sync);

/// State shared by the threads.
struct Shared {
    /// Number of the current job, with the number of workers that take part in the lowest 8 bits:
    /// one word, so that both always belong to the same job.
    job: AtomicU32,
    /// Pointer to the job's function, valid for threads that take part, and as long as `busy` is
    /// not 0.
    function: AtomicPtr<Function<'static>>,
    /// Number of threads that have not finished the job.
    busy: AtomicU32,
    /// Number of threads that sleep.
    sleepers: AtomicU32,
    over: AtomicBool,
}

/// Largest number of workers.
const MOST: usize = 255;

impl Shared {
    /// Returns once `word` differs from `seen`.
    fn wait(&self, word: &AtomicU32, seen: u32) {
        for _ in 0..SPINS {
            if word.load(Acquire) != seen {
                return;
            }
            std::hint::spin_loop();
        }
        for _ in 0..OFFERS {
            if word.load(Acquire) != seen {
                return;
            }
            thread::yield_now();
        }
        self.sleepers.fetch_add(1, SeqCst);
        while word.load(Acquire) == seen {
            atomic_wait::wait(word, seen);
        }
        self.sleepers.fetch_sub(1, Relaxed);
    }

    /// Wakes threads that sleep until `word` changes.
    fn wake(&self, word: &AtomicU32) {
        // Either this sees the sleeper, or the sleeper saw the change before it went to sleep.
        fence(SeqCst);
        if self.sleepers.load(SeqCst) > 0 {
            atomic_wait::wake_all(word);
        }
    }

    /// Main loop of a thread.
    fn work(&self, part: usize) {
        let mut seen = 0;
        loop {
            self.wait(&self.job, seen);
            seen = self.job.load(Acquire);
            if self.over.load(Relaxed) {
                return;
            }
            if part >= seen as usize & MOST {
                continue;
            }
            // Safety: `run` has put it there, and waits for this thread before it goes.
            let f = unsafe { *self.function.load(Relaxed) };
            if catch_unwind(AssertUnwindSafe(|| f(part))).is_err() {
                // The others would wait for this one for ever; its message has been shown.
                std::process::abort();
            }
            if self.busy.fetch_sub(1, Release) == 1 {
                self.wake(&self.busy);
            }
        }
    }
}

/// Threads in addition to the calling one.
pub struct ThreadPool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Held while a function runs on the threads: one at a time.
    leader: Mutex<()>,
}

impl ThreadPool {
    /// Creates `count` workers including the calling thread, or fewer if the host refuses some.
    pub fn new(count: usize) -> ThreadPool {
        let shared = Arc::new(Shared {
            job: AtomicU32::new(0),
            function: AtomicPtr::new(std::ptr::null_mut()),
            busy: AtomicU32::new(0),
            sleepers: AtomicU32::new(0),
            over: AtomicBool::new(false),
        });
        let spawn = |part| {
            let shared = shared.clone();
            let name = format!("worker {part}");
            thread::Builder::new()
                .name(name)
                .spawn(move || shared.work(part))
                .ok()
        };
        let threads = (1..count.min(MOST)).map_while(spawn).collect();
        ThreadPool {
            shared,
            threads,
            leader: Mutex::new(()),
        }
    }
}

// Safety: the leader is alone, and waits until each thread whose part is below `parts` has returned
// from it; `wait` looks at the word before it returns.
unsafe impl Workers for ThreadPool {
    fn count(&self) -> usize {
        self.threads.len() + 1
    }

    fn run(&self, parts: usize, f: &(dyn Fn(usize) + Sync)) {
        assert!((1..=self.count()).contains(&parts));
        // A panic aborts while it is held: it is never poisoned.
        let _leader = self.leader.lock();
        let shared = &*self.shared;
        if parts > 1 {
            // It is not called after the end of this function.
            shared
                .function
                .store((&raw const f).cast_mut().cast(), Relaxed);
            shared.busy.store(parts as u32 - 1, Relaxed);
            let number = shared.job.load(Relaxed) & !(MOST as u32);
            let job = number.wrapping_add(MOST as u32 + 1) | parts as u32;
            shared.job.store(job, Release);
            shared.wake(&shared.job);
        }
        if catch_unwind(AssertUnwindSafe(|| f(0))).is_err() {
            std::process::abort();
        }
        loop {
            let busy = shared.busy.load(Acquire);
            if busy == 0 {
                return;
            }
            shared.wait(&shared.busy, busy);
        }
    }

    fn wait(&self, word: &AtomicU32, seen: u32) {
        self.shared.wait(word, seen);
    }

    fn wake(&self, word: &AtomicU32) {
        self.shared.wake(word);
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        self.shared.job.fetch_add(MOST as u32 + 1, Release);
        self.shared.wake(&self.shared.job);
        for thread in self.threads.drain(..) {
            // It cannot have panicked: that aborts.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_engine::parallel::Pool;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn jobs_of_changing_size_reach_every_part_once() {
        let threads = ThreadPool::new(4);
        for round in 0..2000 {
            let parts = 1 + round * 7 % 4;
            let calls: [AtomicUsize; 4] = Default::default();
            threads.run(parts, &|part| {
                calls[part].fetch_add(1, Relaxed);
            });
            let calls = calls.map(AtomicUsize::into_inner);
            assert!(
                (0..4).all(|part| calls[part] == usize::from(part < parts)),
                "{calls:?}"
            );
        }
    }

    #[test]
    fn workers_meet_though_they_sleep() {
        let threads = ThreadPool::new(3);
        let mut pool = Pool::new(3);
        let sum = AtomicUsize::new(0);
        pool.run(&threads, 3, |member| {
            for round in 0..50 {
                member.parallel_for(9, 1, |items| {
                    if items.start == round % 9 {
                        // Longer than any thread spins.
                        thread::sleep(std::time::Duration::from_micros(300));
                    }
                    sum.fetch_add(items.len(), Relaxed);
                });
                assert_eq!(sum.load(Relaxed) / 9, round + 1);
                member.parallel_for(0, 1, |_| ());
            }
        });
        assert_eq!(sum.into_inner(), 450);
    }
}
