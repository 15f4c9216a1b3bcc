//! The post where workers wait for jobs: what the leader of a reply and its workers say to each other, without any firmware.
//!
//! Cores stay for a whole reply, because calling one through the firmware takes 10 to 40 ms. In between they look at one
//! word: its upper half counts jobs, its lower half says how many parts the job has and who may go.

use core::{
    cell::UnsafeCell,
    sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// On cache lines of its own (two, because processors fetch them in pairs).
#[repr(align(128))]
struct Alone<T>(T);

/// What a job is.
type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// The word: how many jobs there have been, who stays (parts below this number), and the parts of the last job.
#[derive(Clone, Copy)]
struct Word {
    count: u32,
    stay: u16,
    parts: u16,
}

impl Word {
    fn of(bits: u64) -> Word {
        Word {
            count: (bits >> 32) as u32,
            stay: (bits >> 16) as u16,
            parts: bits as u16,
        }
    }

    fn bits(self) -> u64 {
        u64::from(self.count) << 32 | u64::from(self.stay) << 16 | u64::from(self.parts)
    }
}

/// Most workers.
pub const MOST: usize = u16::MAX as usize;

/// The post.
pub struct Post {
    word: Alone<AtomicU64>,
    arrived: Alone<AtomicU32>,
    done: Alone<AtomicU32>,
    /// A worker has panicked: nobody goes on.
    broken: Alone<AtomicBool>,
    job: UnsafeCell<Option<Job<'static>>>,
    /// What whoever waits calls when the post is broken.
    give_up: fn() -> !,
}

// Safety: `job` is written by the leader while no worker has a job, and read by workers between the release of `word` and
// their own of `done`.
unsafe impl Sync for Post {}

impl Post {
    /// A post at which nobody is. `give_up` is called by everybody who waits when the post is broken.
    pub fn new(give_up: fn() -> !) -> Post {
        Post {
            word: Alone(AtomicU64::new(0)),
            arrived: Alone(AtomicU32::new(0)),
            done: Alone(AtomicU32::new(0)),
            broken: Alone(AtomicBool::new(false)),
            job: UnsafeCell::new(None),
            give_up,
        }
    }

    fn word(&self) -> Word {
        Word::of(self.word.0.load(Acquire))
    }

    fn post(&self, stay: usize, parts: usize) {
        let count = self.word().count.wrapping_add(1);
        let (stay, parts) = (stay.min(MOST) as u16, parts.min(MOST) as u16);
        let word = Word { count, stay, parts };
        self.word.0.store(word.bits(), Release);
    }

    /// Opens the post for `count` workers, the leader among them. Nobody may be at it.
    pub fn open(&self, count: usize) {
        self.arrived.0.store(0, Relaxed);
        self.post(count, 0);
    }

    /// Workers that have come since [`open`](Post::open), the leader not counted.
    pub fn arrived(&self) -> usize {
        self.arrived.0.load(Acquire) as usize
    }

    /// Workers that may stay, the leader among them.
    pub fn staying(&self) -> usize {
        usize::from(self.word().stay)
    }

    /// Works as part `part` until it may go.
    pub fn serve(&self, part: usize) {
        // The first word that a worker sees may hold a job already: none counts that it was not waited for with.
        let opened = self.word();
        let mut seen = if usize::from(opened.parts) > part {
            opened.count.wrapping_sub(1)
        } else {
            opened.count
        };
        if part >= usize::from(opened.stay) {
            return;
        }
        self.arrived.0.fetch_add(1, Release);
        loop {
            let word = self.word();
            if word.count == seen {
                self.check();
                core::hint::spin_loop();
                continue;
            }
            seen = word.count;
            if part >= usize::from(word.stay) {
                return;
            }
            if part < usize::from(word.parts) {
                // Safety: the leader has set the job before it posted this word, and changes nothing before `done`.
                if let Some(job) = unsafe { *self.job.get() } {
                    job(part);
                }
                self.done.0.fetch_add(1, Release);
            }
        }
    }

    /// Calls `f(0)` here and the other parts on the workers, and returns when all have returned. `parts` may not be more than
    /// [`staying`](Post::staying).
    pub fn run(&self, parts: usize, f: Job<'_>) {
        if parts < 2 {
            return f(0);
        }
        // Safety: it is used until `done` says that all parts have returned, and that is waited for below.
        let job = unsafe { core::mem::transmute::<Job<'_>, Job<'static>>(f) };
        // Safety: no worker has a job now.
        unsafe { *self.job.get() = Some(job) };
        self.done.0.store(0, Relaxed);
        self.post(self.staying(), parts);
        f(0);
        while self.done.0.load(Acquire) as usize != parts - 1 {
            self.check();
            core::hint::spin_loop();
        }
    }

    /// Lets all go but parts below `stay`.
    pub fn dismiss(&self, stay: usize) {
        self.post(stay.min(self.staying()), 0);
    }

    /// Breaks the post: everybody who waits gives up.
    pub fn break_up(&self) {
        self.broken.0.store(true, Release);
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.broken.0.load(Acquire)
    }

    /// Gives up if the post is broken.
    pub fn check(&self) {
        if self.is_broken() {
            (self.give_up)();
        }
    }

    /// Waits until `word` is no longer `seen`.
    pub fn wait(&self, word: &AtomicU32, seen: u32) {
        while word.load(Acquire) == seen {
            self.check();
            core::hint::spin_loop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;

    fn post() -> Post {
        Post::new(|| panic!("given up"))
    }

    #[test]
    fn every_part_is_done_once_with_any_number_of_workers() {
        for workers in 1..=4 {
            let post = post();
            post.open(workers);
            std::thread::scope(|scope| {
                for part in 1..workers {
                    let post = &post;
                    scope.spawn(move || post.serve(part));
                }
                for round in 0..40 {
                    let parts = 1 + round % workers;
                    let sum = AtomicUsize::new(0);
                    post.run(parts, &|part| {
                        sum.fetch_add(1 << (8 * part), Relaxed);
                    });
                    let want = (0..parts).map(|part| 1 << (8 * part)).sum::<usize>();
                    assert_eq!(sum.load(Relaxed), want, "{parts} of {workers}");
                }
                assert_eq!(post.staying(), workers);
                post.dismiss(0);
            });
            assert_eq!(post.arrived(), workers - 1);
        }
    }

    #[test]
    fn workers_go_when_they_may_and_the_post_opens_again() {
        let post = post();
        for _ in 0..20 {
            post.open(4);
            std::thread::scope(|scope| {
                let threads = [1, 2, 3].map(|part| {
                    let post = &post;
                    scope.spawn(move || post.serve(part))
                });
                while post.arrived() < 3 {
                    std::thread::yield_now();
                }
                post.dismiss(2);
                let [first, second, third] = threads;
                second.join().unwrap();
                third.join().unwrap();
                let calls = AtomicUsize::new(0);
                post.run(2, &|_| {
                    calls.fetch_add(1, Relaxed);
                });
                assert_eq!(calls.into_inner(), 2);
                // Whoever went does not come back by itself.
                post.dismiss(4);
                assert_eq!(post.staying(), 2);
                post.dismiss(1);
                first.join().unwrap();
            });
        }
    }

    #[test]
    fn a_late_worker_gets_the_job_that_waits_for_it_and_only_that() {
        let post = post();
        post.open(3);
        std::thread::scope(|scope| {
            let calls = AtomicUsize::new(0);
            let late = |part: usize| {
                let post = &post;
                scope.spawn(move || {
                    std::thread::sleep(std::time::Duration::from_millis(20));
                    post.serve(part);
                });
            };
            late(1);
            post.run(2, &|_| {
                calls.fetch_add(1, Relaxed);
            });
            late(2);
            std::thread::sleep(std::time::Duration::from_millis(40));
            assert_eq!(calls.load(Relaxed), 2);
            post.run(3, &|_| {
                calls.fetch_add(1, Relaxed);
            });
            assert_eq!(calls.load(Relaxed), 5);
            post.dismiss(0);
        });
    }

    #[test]
    fn everybody_gives_up_when_it_breaks() {
        let post = post();
        post.open(3);
        std::thread::scope(|scope| {
            let threads = [1, 2].map(|part| {
                let post = &post;
                scope.spawn(move || post.serve(part))
            });
            let leader = scope.spawn(|| {
                post.run(2, &|part| {
                    // The other part never gets there.
                    let word = AtomicU32::new(0);
                    if part == 1 {
                        post.break_up();
                    }
                    post.wait(&word, 0);
                });
            });
            for thread in threads {
                assert!(thread.join().is_err());
            }
            assert!(leader.join().is_err());
        });
    }
}
