//! Workers that run one computation side by side: division of each step, and barriers between
//! steps.
//!
//! Every worker runs the same code from top to bottom. A [`Worker::parallel_for`] divides the work
//! among them; none continues before all of it is done. Each worker has a contiguous run of the
//! work, so that it reads memory linearly and finds in its caches what it read for the last token.
//! Workers that finish early help the others, chunk by chunk, so that a slow or preempted core
//! delays the others by no more than its current chunk.

use alloc::vec::Vec;
use core::{
    cell::Cell,
    marker::PhantomData,
    ops::Range,
    sync::atomic::{
        AtomicU32, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use crate::{
    buffer::{Plain, Reserve},
    workers::Workers,
};

/// Padded to cache lines of its own (two, because processors fetch them in pairs).
#[repr(align(128))]
#[derive(Default)]
struct Alone<T>(T);

/// State shared by the workers of one session.
pub struct Pool {
    /// Next chunk of each worker's run, alternating between this step and the one before.
    next: Vec<[Alone<AtomicUsize>; 2]>,
    arrived: Alone<AtomicU32>,
    epoch: Alone<AtomicU32>,
}

impl Pool {
    /// Creates a pool of at most `count` workers.
    pub fn new(count: usize) -> Pool {
        let mut next = Vec::new();
        next.resize_with(count, Default::default);
        Pool {
            next,
            arrived: Alone::default(),
            epoch: Alone::default(),
        }
    }

    /// Runs `f` on `parts` workers.
    pub fn run(&mut self, workers: &dyn Workers, parts: usize, f: impl Fn(&Worker<'_>) + Sync) {
        let parts = parts.clamp(1, self.next.len().min(workers.count()).max(1));
        for next in self.next.iter_mut().flatten() {
            *next.0.get_mut() = 0;
        }
        let pool = &*self;
        workers.run(parts, &|index| {
            f(&Worker {
                index,
                parts,
                pool,
                workers,
                turn: Cell::new(0),
            });
        });
    }
}

/// Handle of one worker during [`Pool::run`].
pub struct Worker<'a> {
    /// Index of the worker, from 0.
    pub index: usize,
    /// Number of workers.
    pub parts: usize,
    pool: &'a Pool,
    workers: &'a dyn Workers,
    turn: Cell<usize>,
}

impl Worker<'_> {
    /// Divides `items` into chunks of at most `chunk`: calls `f` with each range that this worker
    /// takes, and returns when all ranges are done, by whichever worker. All workers of the pool
    /// must call it with the same numbers.
    pub fn parallel_for(&self, items: usize, chunk: usize, mut f: impl FnMut(Range<usize>)) {
        let chunks = items.div_ceil(chunk);
        let range =
            |chunk_index: usize| chunk_index * chunk..((chunk_index + 1) * chunk).min(items);
        if self.parts == 1 {
            return (0..chunks).for_each(|index| f(range(index)));
        }
        let turn = self.turn.replace(1 - self.turn.get());
        for helped in 0..self.parts {
            let owner = (self.index + helped) % self.parts;
            let first = chunks * owner / self.parts;
            let count = chunks * (owner + 1) / self.parts - first;
            let next = &self.pool.next[owner][turn].0;
            // Loading is cheaper than an exchange if nothing is left.
            while next.load(Relaxed) < count {
                let taken = next.fetch_add(1, Relaxed);
                if taken >= count {
                    break;
                }
                f(range(first + taken));
            }
        }
        self.barrier();
        // All have finished this step, and none reaches the step after the next before all have
        // been at the next one.
        self.pool.next[self.index][turn].0.store(0, Relaxed);
    }

    /// Waits until all workers arrive. Afterwards each may read what the others wrote before.
    fn barrier(&self) {
        let (arrived, epoch) = (&self.pool.arrived.0, &self.pool.epoch.0);
        // Read before arriving: it cannot change until this worker has arrived.
        let seen = epoch.load(Relaxed);
        if arrived.fetch_add(1, AcqRel) + 1 == self.parts as u32 {
            arrived.store(0, Relaxed);
            epoch.store(seen.wrapping_add(1), Release);
            self.workers.wake(epoch);
        } else {
            self.workers.wait(epoch, seen);
            // Whatever the waiting was done with.
            epoch.load(Acquire);
        }
    }
}

/// Buffer that the workers of a pool write to and read from.
///
/// Between two barriers each element is either written by one worker, or read by any number of
/// them; callers of its functions promise this.
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    _owner: PhantomData<&'a mut [T]>,
}

// Safety: it only hands out parts, which its callers keep apart; T may go to another thread.
unsafe impl<T: Send + Sync> Sync for Shared<'_, T> {}

impl<'a, T: Plain> Shared<'a, T> {
    /// Shares `buffer` until the end of 'a.
    pub fn new(buffer: &'a mut [T]) -> Self {
        Shared {
            len: buffer.len(),
            start: buffer.as_mut_ptr(),
            _owner: PhantomData,
        }
    }

    /// Shares `reserve` until the end of `'a`.
    ///
    /// # Safety
    /// Only elements that were zeroed may be read, or written as a slice.
    pub(crate) unsafe fn reserved(reserve: &'a mut Reserve<T>) -> Self {
        Shared {
            len: reserve.len(),
            start: reserve.start(),
            _owner: PhantomData,
        }
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the elements `range` for writing.
    ///
    /// # Safety
    /// Until the next barrier no other worker may touch these elements, nor this worker through
    /// another slice.
    ///
    /// # Panics
    /// If the range extends past the end.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn write(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // Safety: within the buffer, which is borrowed mutably as long as this lives; exclusive by
        // contract.
        unsafe { core::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }

    /// Writes element `index`.
    ///
    /// # Safety
    /// Until the next barrier no other worker may touch the element, nor this worker through a
    /// slice.
    ///
    /// # Panics
    /// If `index` is past the end.
    pub unsafe fn put(&self, index: usize, value: T) {
        assert!(index < self.len);
        // Safety: within the buffer, which is borrowed mutably as long as this lives; exclusive by
        // contract.
        unsafe { self.start.add(index).write(value) }
    }

    /// Returns the elements `range` for reading.
    ///
    /// # Safety
    /// Until the next barrier no worker may write to these elements.
    ///
    /// # Panics
    /// If the range extends past the end.
    pub unsafe fn read(&self, range: Range<usize>) -> &[T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // Safety: within the buffer, which is borrowed as long as this lives; nothing writes to it,
        // by contract.
        unsafe { core::slice::from_raw_parts(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workers::tests::Scoped;

    #[test]
    fn every_item_is_dealt_once_and_done_before_anyone_goes_on() {
        for items in [0, 1, 15, 16, 17, 100, 160] {
            for count in [1, 2, 3, 7] {
                let mut pool = Pool::new(count);
                let mut buffer = alloc::vec![0i32; items];
                let data = Shared::new(&mut buffer);
                pool.run(&Scoped(count), count, |member| {
                    for round in 1..=5 {
                        member.parallel_for(items, 4, |range| {
                            // Safety: every item is dealt to one worker.
                            let part = unsafe { data.write(range.clone()) };
                            for (i, x) in range.zip(part) {
                                *x += i as i32 + round;
                            }
                        });
                        // Safety: all have met, and all meet again before any of them writes.
                        let all = unsafe { data.read(0..items) };
                        let rounds = (1..=round).sum::<i32>();
                        for (i, x) in all.iter().enumerate() {
                            assert_eq!(*x, i as i32 * round + rounds);
                        }
                        member.parallel_for(0, 1, |_| ());
                    }
                });
            }
        }
    }
}
