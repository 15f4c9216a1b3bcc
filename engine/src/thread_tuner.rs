//! Number of workers that a session uses: a given one, or the fastest one as measured over the
//! first tokens.

/// Choice of the number of workers.
#[derive(Clone, Copy)]
pub enum Threads {
    /// This many, or all workers if there are fewer.
    Fixed(usize),
    /// The fastest number by this clock (nanoseconds, from any origin): 1, 2, … are tried over the
    /// first tokens.
    Calibrate(fn() -> u64),
}

/// Steps per number of workers; the shortest counts.
const TRIES: usize = 2;

/// Number of steps slower than one worker alone after which the choice is made again: another
/// program has taken a core, and all workers wait for the one that ran on it.
const STRIKES: usize = 4;

/// Steps by one worker alone after which more are tried again, for the first time; each later time
/// after twice as many.
const PATIENCE: usize = 64;
const MOST_PATIENCE: usize = 4096;

/// State of a trial.
struct Candidate {
    /// Steps done with this number of workers, and the shortest of them in nanoseconds.
    steps: usize,
    shortest: u64,
    /// Best number so far, and its time in nanoseconds.
    best: usize,
    best_time: u64,
}

/// Counts steps and chooses the number of workers.
pub(crate) struct ThreadTuner {
    threads: usize,
    most: usize,
    /// Clock in nanoseconds; `None` if the number is fixed.
    clock: Option<fn() -> u64>,
    trial: Option<Candidate>,
    /// Time of a step by one worker alone, in nanoseconds.
    alone: u64,
    strikes: usize,
    /// Steps until more workers are tried again, and the initial value of this countdown.
    until: usize,
    patience: usize,
}

impl ThreadTuner {
    pub(crate) fn new(threads: Threads, most: usize) -> ThreadTuner {
        let (threads, clock) = match threads {
            Threads::Calibrate(clock) if most > 1 => (1, Some(clock)),
            Threads::Calibrate(_) => (1, None),
            Threads::Fixed(threads) => (threads.clamp(1, most), None),
        };
        let mut tuner = ThreadTuner {
            threads,
            most,
            clock,
            trial: None,
            alone: 0,
            strikes: 0,
            until: 0,
            patience: PATIENCE,
        };
        if clock.is_some() {
            tuner.try_all();
        }
        tuner
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    pub(crate) fn is_tuning(&self) -> bool {
        self.trial.is_some()
    }

    /// Starts timing a step.
    pub(crate) fn begin(&self) -> u64 {
        self.clock.map_or(0, |clock| clock())
    }

    /// Ends the step that began at `before`. At most `at_hand` workers are available for the next
    /// one.
    pub(crate) fn end(&mut self, before: u64, at_hand: usize) {
        let Some(clock) = self.clock else { return };
        let took = clock().saturating_sub(before).max(1);
        if self.trial.is_some() {
            self.weigh(took, at_hand);
        } else if self.threads > 1 {
            let slow = took > self.alone.saturating_add(self.alone / 4);
            self.strikes = if slow {
                self.strikes + 1
            } else {
                self.strikes.saturating_sub(1)
            };
            if self.strikes == STRIKES {
                self.try_all();
            }
        } else {
            self.until = self.until.saturating_sub(1);
            if self.until == 0 {
                self.try_all();
            }
        }
    }

    /// Starts a trial.
    fn try_all(&mut self) {
        self.threads = 1;
        self.strikes = 0;
        self.trial = Some(Candidate {
            steps: 0,
            shortest: u64::MAX,
            best: 1,
            best_time: u64::MAX,
        });
    }

    /// Records the duration of a trial step.
    fn weigh(&mut self, took: u64, at_hand: usize) {
        let Some(trial) = &mut self.trial else { return };
        trial.shortest = trial.shortest.min(took);
        trial.steps += 1;
        // Whatever is touched for the first time is touched by one worker: it gets a step more.
        if trial.steps < TRIES + usize::from(self.threads == 1) {
            return;
        }
        let better = trial.shortest < trial.best_time;
        // More would be worse still: cores that the host does not have only wait for each other.
        let hopeless = trial.shortest > trial.best_time.saturating_add(trial.best_time / 4);
        if better {
            (trial.best, trial.best_time) = (self.threads, trial.shortest);
        }
        if self.threads == 1 {
            self.alone = trial.shortest;
        }
        if self.threads < self.most && !hopeless {
            // 1, 2, 3, 4, 6, 9, …: the first few count most.
            let next = (self.threads + (self.threads / 2).max(1)).min(self.most);
            if next > at_hand {
                // The trial continues when they are available again.
                return;
            }
            self.threads = next;
            (trial.steps, trial.shortest) = (0, u64::MAX);
            return;
        }
        self.threads = trial.best;
        self.trial = None;
        if self.threads == 1 {
            self.until = self.patience;
            self.patience = (2 * self.patience).min(MOST_PATIENCE);
        } else {
            self.patience = PATIENCE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    static NOW: AtomicU64 = AtomicU64::new(0);

    /// Number of workers chosen if a step with n workers takes `times[n - 1]`, and the steps that
    /// this took.
    fn chosen(times: &[u64]) -> (usize, usize) {
        let mut tuner = ThreadTuner::new(Threads::Calibrate(|| NOW.load(Relaxed)), times.len());
        let mut steps = 0;
        while tuner.is_tuning() {
            let before = tuner.begin();
            NOW.fetch_add(times[tuner.threads() - 1], Relaxed);
            tuner.end(before, usize::MAX);
            steps += 1;
        }
        (tuner.threads(), steps)
    }

    #[test]
    fn the_fastest_is_kept_and_hopeless_numbers_are_not_tried() {
        assert_eq!(chosen(&[100]), (1, 0));
        assert_eq!(chosen(&[100, 60]), (2, 5));
        assert_eq!(chosen(&[100, 60, 50, 45]), (4, 9));
        assert_eq!(chosen(&[100, 60, 70, 45]), (4, 9));
        assert_eq!(chosen(&[100, 60, 900, 900]), (2, 7));
        assert_eq!(chosen(&[100, 200]), (1, 5));
        // 1, 2, 3, 4, 6, 9, 13, 19, 28, 42, 63, 64.
        assert_eq!(chosen(&[100; 64]), (1, 1 + 2 * 12));
        assert_eq!(ThreadTuner::new(Threads::Fixed(9), 4).threads(), 4);
        assert_eq!(ThreadTuner::new(Threads::Fixed(0), 4).threads(), 1);
    }

    #[test]
    fn a_core_that_is_taken_away_is_noticed_and_so_is_its_return() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let mut tuner = ThreadTuner::new(Threads::Calibrate(|| CLOCK.load(Relaxed)), 2);
        let mut run = |steps: usize, times: [u64; 2]| {
            let mut total = 0;
            for _ in 0..steps {
                let before = tuner.begin();
                total += times[tuner.threads() - 1];
                CLOCK.fetch_add(times[tuner.threads() - 1], Relaxed);
                tuner.end(before, usize::MAX);
            }
            (tuner.threads(), total / steps as u64)
        };
        assert_eq!(run(5, [100, 55]).0, 2);
        // A long step now and then changes nothing.
        assert_eq!(run(1, [100, 900]).0, 2);
        assert_eq!(run(50, [100, 55]).0, 2);
        // Then every one of them is long.
        let (threads, mean) = run(1000, [100, 900]);
        assert_eq!(threads, 1);
        assert!(mean < 125, "{mean}");
        let (threads, _) = run(2000, [100, 55]);
        assert_eq!(threads, 2);
    }

    #[test]
    fn workers_who_have_gone_home_are_not_counted_on() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let mut tuner = ThreadTuner::new(Threads::Calibrate(|| CLOCK.load(Relaxed)), 3);
        let mut run = |steps: usize, times: [u64; 3], at_hand: usize| {
            for _ in 0..steps {
                let before = tuner.begin();
                assert!(tuner.threads() <= at_hand);
                CLOCK.fetch_add(times[tuner.threads() - 1], Relaxed);
                tuner.end(before, at_hand);
            }
            (tuner.threads(), tuner.is_tuning())
        };
        let (slow, fast) = ([100, 300, 300], [100, 60, 40]);
        assert_eq!(run(5, slow, 3), (1, false));
        // The others are dismissed; when more are to be tried again, it waits for them.
        assert_eq!(run(PATIENCE + 50, fast, 1), (1, true));
        // The next reply calls them all.
        assert_eq!(run(8, fast, 3), (3, false));
    }
}
