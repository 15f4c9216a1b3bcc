//! Queue at which workers wait for the jobs of a reply's leader, independent of firmware.
//!
//! Cores stay for a whole reply, because calling one through the firmware takes 10 to 40 ms. In
//! between they watch one word: it counts the jobs, and contains the number of parts of the last
//! one and of the workers that may stay.
//!
//! Safe code cannot cause a job to be called after its end, or one part to be done twice:
//! - Only a [`Leader`] starts jobs, and there is one at a time.
//! - Each worker has a seat that no other can take meanwhile, and a seat remembers the last job
//!   that was done on it: each part is done once.
//! - The leader does not leave before all parts are done. If that will never happen, it calls
//!   `give_up`, which by its type can neither return nor unwind.
//! - The word is changed by compare-and-exchange only: a dismissal, for example by a timer, is
//!   neither lost nor loses a job.

use alloc::boxed::Box;
use core::{
    ptr,
    sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

/// Padded to cache lines of its own (two, because processors fetch them in pairs).
#[repr(align(128))]
#[derive(Default)]
struct Alone<T>(T);

/// A job: a function of the part number.
type Job<'a> = &'a (dyn Fn(usize) + Sync);

/// Work for one other core.
pub type CoreTask<'a> = &'a mut (dyn FnMut() + Send);

/// Function that ends waiting at a broken queue. A function of this type never unwinds: Rust aborts
/// the program instead.
pub type GiveUp = extern "C" fn() -> !;

/// The word: number of jobs so far, number of workers that may stay (parts below it), and number of
/// parts of the last job.
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

/// States of delegated work.
mod state {
    pub const NONE: u8 = 0;
    pub const LEFT: u8 = 1;
    pub const TAKEN: u8 = 2;
    pub const DONE: u8 = 3;
    pub const WITHDRAWN: u8 = 4;
}

/// Place of one worker.
#[derive(Default)]
struct Seat {
    taken: AtomicBool,
    /// Number of the last job done here; only accessed by the worker that has taken the seat.
    seen: AtomicU32,
}

/// Largest number of workers.
pub const MOST: usize = u16::MAX as usize;

/// The queue.
pub struct WorkQueue {
    word: Alone<AtomicU64>,
    done: Alone<AtomicU32>,
    /// True after a worker has panicked: no worker continues.
    broken: Alone<AtomicBool>,
    led: AtomicBool,
    /// The last job, while it is being done.
    job: AtomicPtr<Job<'static>>,
    /// Seats of parts 1, 2 and so on.
    seats: Box<[Alone<Seat>]>,
    /// Work for one other core, and its state.
    work: AtomicPtr<CoreTask<'static>>,
    state: AtomicU8,
    give_up: GiveUp,
}

/// Leader of a queue, of which there is one at a time.
pub struct Leader<'q>(&'q WorkQueue);

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.0.led.store(false, Release);
    }
}

/// Guard for code whose references must not be left by unwinding: a panic ends here.
struct NoReturn<'q>(&'q WorkQueue);

impl Drop for NoReturn<'_> {
    fn drop(&mut self) {
        self.0.break_up();
        self.0.check();
    }
}

impl WorkQueue {
    /// Creates a queue for `workers` workers including the leader, none of whom is there yet.
    /// `give_up` is called by all that wait when the queue is broken.
    pub fn new(workers: usize, give_up: GiveUp) -> WorkQueue {
        let seats = 1..workers.min(MOST);
        WorkQueue {
            word: Alone::default(),
            done: Alone::default(),
            broken: Alone::default(),
            led: AtomicBool::new(false),
            job: AtomicPtr::new(ptr::null_mut()),
            seats: seats.map(|_| Alone::default()).collect(),
            work: AtomicPtr::new(ptr::null_mut()),
            state: AtomicU8::new(state::NONE),
            give_up,
        }
    }

    fn word(&self) -> Word {
        Word::of(self.word.0.load(Acquire))
    }

    /// Changes the word; returns false if `f` refuses.
    fn change(&self, f: impl Fn(Word) -> Option<Word>) -> bool {
        let change = |bits| Some(f(Word::of(bits))?.bits());
        self.word.0.fetch_update(AcqRel, Acquire, change).is_ok()
    }

    /// Makes the caller the leader, unless there is one.
    pub fn lead(&self) -> Option<Leader<'_>> {
        (!self.led.swap(true, Acquire)).then(|| Leader(self))
    }

    /// Number of workers present, without the leader.
    pub fn arrived(&self) -> usize {
        let taken = |seat: &&Alone<Seat>| seat.0.taken.load(Acquire);
        self.seats.iter().filter(taken).count()
    }

    /// Number of workers that may stay, including the leader.
    pub fn staying(&self) -> usize {
        usize::from(self.word().stay)
    }

    /// Works as part `part`, counted from 1, until dismissed or until the queue is broken. Returns
    /// at once if that part is taken.
    pub fn serve(&self, part: usize) {
        let seat = part.checked_sub(1).and_then(|seat| self.seats.get(seat));
        let Some(Alone(seat)) = seat.filter(|seat| !seat.0.taken.swap(true, Acquire)) else {
            return;
        };
        let part_of = |word: Word| part < usize::from(word.parts);
        loop {
            let word = self.word();
            // The job comes first: the leader waits for it, even if no worker may stay any more.
            if part_of(word) && word.count != seat.seen.load(Relaxed) {
                seat.seen.store(word.count, Relaxed);
                let inside = NoReturn(self);
                // Safety: the leader has stored the job before this word, and it stays there until
                // `done` has counted this part, which is after its last use; it is done only once,
                // because the seat has not seen this word before.
                let job = unsafe { *self.job.load(Relaxed) };
                job(part);
                core::mem::forget(inside);
                self.done.0.fetch_add(1, Release);
            } else if part >= usize::from(word.stay) || self.is_broken() {
                break;
            } else {
                core::hint::spin_loop();
            }
        }
        seat.taken.store(false, Release);
    }

    /// Dismisses all parts from `stay` on, once they have finished their job. May be called by
    /// anyone at any time.
    pub fn dismiss(&self, stay: usize) {
        let stay = stay.min(MOST) as u16;
        self.change(|word| (stay < word.stay).then_some(Word { stay, ..word }));
    }

    /// Breaks the queue for good: all that wait give up or leave.
    pub fn break_up(&self) {
        self.broken.0.store(true, Release);
    }

    /// Returns true after [`break_up`](WorkQueue::break_up) was called.
    pub fn is_broken(&self) -> bool {
        self.broken.0.load(Acquire)
    }

    /// Gives up if the queue is broken.
    pub fn check(&self) {
        if self.is_broken() {
            (self.give_up)();
        }
    }

    /// Waits until `word` differs from `seen`.
    pub fn wait(&self, word: &AtomicU32, seen: u32) {
        while word.load(Acquire) == seen {
            self.check();
            core::hint::spin_loop();
        }
    }

    fn step(&self, from: u8, to: u8) -> bool {
        let step = self.state.compare_exchange(from, to, AcqRel, Acquire);
        step.is_ok()
    }

    /// Offers `work` to one other core, calls `meanwhile`, and returns when both have ended.
    /// Returns true if a core took the work and did it. Only one work can be offered at a time.
    pub fn delegate(&self, mut work: CoreTask<'_>, meanwhile: impl FnOnce()) -> bool {
        /// Withdraws the work, or waits until it is done, however `meanwhile` ends.
        struct Left<'q>(&'q WorkQueue);
        impl Drop for Left<'_> {
            fn drop(&mut self) {
                self.0.withdraw();
                while self.0.state.load(Acquire) == state::TAKEN {
                    self.0.check();
                    core::hint::spin_loop();
                }
            }
        }
        if !self.step(state::NONE, state::WITHDRAWN) {
            return false;
        }
        self.work.store((&raw mut work).cast(), Relaxed);
        self.state.store(state::LEFT, Release);
        let left = Left(self);
        meanwhile();
        drop(left);
        self.state.swap(state::NONE, AcqRel) == state::DONE
    }

    /// Withdraws the work that [`delegate`](WorkQueue::delegate) has offered; returns false if a
    /// core has taken it.
    pub fn withdraw(&self) -> bool {
        self.step(state::LEFT, state::WITHDRAWN)
    }

    /// Does the work on offer; returns false if there is none.
    pub fn take_work(&self) -> bool {
        if !self.step(state::LEFT, state::TAKEN) {
            return false;
        }
        let inside = NoReturn(self);
        // Safety: `delegate` has stored it, and does not return before `DONE`; it is `Send`, and no
        // other core takes it.
        unsafe { (*self.work.load(Relaxed))() };
        core::mem::forget(inside);
        self.state.store(state::DONE, Release);
        true
    }
}

impl Leader<'_> {
    /// Opens the queue for `count` workers including the leader, after the previous ones have left.
    pub fn open(&mut self, count: usize) {
        let queue = self.0;
        queue.dismiss(0);
        while queue.arrived() > 0 {
            queue.check();
            core::hint::spin_loop();
        }
        let stay = count.min(queue.seats.len() + 1) as u16;
        queue.change(|word| {
            Some(Word {
                stay,
                parts: 0,
                ..word
            })
        });
    }

    /// Calls `f(0)` here and the other parts on the workers, and returns when all have returned.
    /// Returns false without calling anything if too few workers may stay.
    #[must_use]
    pub fn run(&mut self, parts: usize, f: Job<'_>) -> bool {
        let queue = self.0;
        if parts < 2 {
            f(0);
            return true;
        }
        queue.done.0.store(0, Relaxed);
        queue.job.store((&raw const f).cast_mut().cast(), Relaxed);
        let begun = queue.change(|word| {
            (parts <= usize::from(word.stay)).then(|| Word {
                count: word.count.wrapping_add(1),
                parts: parts as u16,
                ..word
            })
        });
        if !begun {
            return false;
        }
        let inside = NoReturn(queue);
        f(0);
        while queue.done.0.load(Acquire) as usize != parts - 1 {
            queue.check();
            core::hint::spin_loop();
        }
        core::mem::forget(inside);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::AtomicUsize;
    use std::thread;

    extern "C" fn never() -> ! {
        std::process::abort()
    }

    fn opened(count: usize) -> WorkQueue {
        let queue = WorkQueue::new(count, never);
        queue.lead().unwrap().open(count);
        queue
    }

    #[test]
    fn every_part_is_done_once_with_any_number_of_workers() {
        for workers in 1..=4 {
            let queue = opened(workers);
            thread::scope(|scope| {
                for part in 1..workers {
                    let queue = &queue;
                    scope.spawn(move || queue.serve(part));
                }
                let mut leader = queue.lead().unwrap();
                for round in 0..40 {
                    let parts = 1 + round % workers;
                    let sum = AtomicUsize::new(0);
                    assert!(leader.run(parts, &|part| {
                        sum.fetch_add(1 << (8 * part), Relaxed);
                    }));
                    let want = (0..parts).map(|part| 1 << (8 * part)).sum::<usize>();
                    assert_eq!(sum.load(Relaxed), want, "{parts} of {workers}");
                }
                assert_eq!(queue.staying(), workers);
                assert!(!leader.run(workers + 1, &|_| panic!("nobody is there for it")));
                queue.dismiss(0);
            });
            assert_eq!(queue.arrived(), 0);
        }
    }

    #[test]
    fn workers_go_when_they_may_and_the_queue_opens_again() {
        let queue = WorkQueue::new(4, never);
        let mut leader = queue.lead().unwrap();
        for _ in 0..20 {
            leader.open(4);
            thread::scope(|scope| {
                let [first, second, third] = [1, 2, 3].map(|part| {
                    let queue = &queue;
                    scope.spawn(move || queue.serve(part))
                });
                while queue.arrived() < 3 {
                    thread::yield_now();
                }
                queue.dismiss(2);
                second.join().unwrap();
                third.join().unwrap();
                let calls = AtomicUsize::new(0);
                let count = |_| {
                    calls.fetch_add(1, Relaxed);
                };
                assert!(leader.run(2, &count));
                assert!(!leader.run(3, &count));
                assert_eq!(calls.load(Relaxed), 2);
                // Workers that have left do not return by themselves.
                queue.dismiss(4);
                assert_eq!(queue.staying(), 2);
                queue.dismiss(1);
                first.join().unwrap();
            });
        }
    }

    #[test]
    fn a_late_worker_gets_the_job_that_waits_for_it_and_only_that() {
        let queue = opened(3);
        thread::scope(|scope| {
            let calls = AtomicUsize::new(0);
            let count = |_| {
                calls.fetch_add(1, Relaxed);
            };
            let late = |part: usize| {
                let queue = &queue;
                scope.spawn(move || {
                    thread::sleep(std::time::Duration::from_millis(20));
                    queue.serve(part);
                });
            };
            let mut leader = queue.lead().unwrap();
            late(1);
            assert!(leader.run(2, &count));
            late(2);
            thread::sleep(std::time::Duration::from_millis(40));
            assert_eq!(calls.load(Relaxed), 2);
            assert!(leader.run(3, &count));
            assert_eq!(calls.load(Relaxed), 5);
            queue.dismiss(0);
        });
        // Workers that arrive after the end find neither a job nor a reason to stay.
        (0..5).for_each(|part| queue.serve(part));
    }

    #[test]
    fn there_is_one_leader_and_one_worker_a_part() {
        let queue = opened(3);
        thread::scope(|scope| {
            for part in [1, 1, 2, 2, 2] {
                let queue = &queue;
                scope.spawn(move || queue.serve(part));
            }
            let leader = queue.lead();
            assert!(queue.lead().is_none());
            drop(leader);
            let calls = AtomicUsize::new(0);
            // Two threads that want to lead take turns.
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        for _ in 0..20 {
                            let mut leader = loop {
                                match queue.lead() {
                                    Some(leader) => break leader,
                                    None => thread::yield_now(),
                                }
                            };
                            let own = AtomicUsize::new(0);
                            assert!(leader.run(3, &|_| {
                                own.fetch_add(1, Relaxed);
                            }));
                            calls.fetch_add(own.into_inner(), Relaxed);
                        }
                    });
                }
            });
            assert_eq!(calls.into_inner(), 2 * 20 * 3);
            queue.dismiss(0);
        });
    }

    #[test]
    fn a_dismissal_while_jobs_are_posted_is_not_lost_and_takes_none_away() {
        for _ in 0..10 {
            let queue = opened(3);
            thread::scope(|scope| {
                for part in [1, 2] {
                    let queue = &queue;
                    scope.spawn(move || queue.serve(part));
                }
                while queue.arrived() < 2 {
                    thread::yield_now();
                }
                // As a timer's callback does it.
                scope.spawn(|| {
                    thread::yield_now();
                    queue.dismiss(2);
                    thread::yield_now();
                    queue.dismiss(0);
                });
                let mut leader = queue.lead().unwrap();
                for parts in [3, 2] {
                    loop {
                        let calls = AtomicUsize::new(0);
                        let ran = leader.run(parts, &|_| {
                            calls.fetch_add(1, Relaxed);
                        });
                        assert_eq!(calls.into_inner(), if ran { parts } else { 0 });
                        if !ran {
                            break;
                        }
                    }
                }
            });
            assert_eq!((queue.staying(), queue.arrived()), (0, 0));
        }
    }

    #[test]
    fn work_is_done_by_one_other_or_taken_back() {
        let queue = WorkQueue::new(1, never);
        let mut count = 0;
        assert!(!queue.delegate(&mut || count += 1, || ()));
        assert!(!queue.delegate(&mut || count += 1, || assert!(queue.withdraw())));
        assert!(!queue.take_work());
        for _ in 0..10 {
            let done = AtomicUsize::new(0);
            let waited = thread::scope(|scope| {
                queue.delegate(&mut || count += 1, || {
                    assert!(!queue.delegate(&mut || panic!("there is one"), || ()));
                    for _ in 0..2 {
                        scope.spawn(|| {
                            done.fetch_add(queue.take_work().into(), Relaxed);
                        });
                    }
                    // It may have begun or not.
                    thread::yield_now();
                })
            });
            assert_eq!(usize::from(waited), done.into_inner());
        }
        let unwound = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| {
            queue.delegate(&mut || (), || panic!("in the middle"))
        }));
        assert!(unwound.is_err() && !queue.take_work());
    }

    /// Under Miri this needs `-Zmiri-ignore-leaks`, because threads are left behind.
    #[test]
    fn everybody_gives_up_when_it_breaks() {
        static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);
        static BEGUN: AtomicU32 = AtomicU32::new(0);
        extern "C" fn park() -> ! {
            GIVEN_UP.fetch_add(1, Relaxed);
            loop {
                thread::park();
            }
        }
        let breaking: [fn(&WorkQueue, usize); 3] = [
            |queue, part| {
                if part == 1 {
                    queue.break_up();
                }
                // The other part never gets there.
                queue.wait(&AtomicU32::new(0), 0);
            },
            |queue, part| match part {
                0 => queue.wait(&AtomicU32::new(0), 0),
                _ => panic!("a worker's part panics"),
            },
            |queue, part| match part {
                0 => {
                    // Workers that have not begun yet may leave.
                    queue.wait(&BEGUN, 0);
                    panic!("the leader's part panics");
                }
                _ => {
                    BEGUN.store(1, Relaxed);
                    queue.wait(&AtomicU32::new(0), 0);
                }
            },
        ];
        for (round, job) in (1..).zip(breaking) {
            let queue: &'static WorkQueue = Box::leak(Box::new(WorkQueue::new(3, park)));
            queue.lead().unwrap().open(3);
            let idle = thread::spawn(|| queue.serve(2));
            thread::spawn(|| queue.serve(1));
            thread::spawn(move || {
                let mut leader = queue.lead().unwrap();
                let _ = leader.run(2, &|part| job(queue, part));
                unreachable!("whoever leads does not go while others are at it");
            });
            // Workers without a job just leave.
            idle.join().unwrap();
            while GIVEN_UP.load(Relaxed) < 2 * round {
                thread::yield_now();
            }
            assert!(queue.is_broken());
        }
    }
}
