//! How many workers a session uses: a number that is given, or the one that was fastest over the first tokens.

/// How many workers.
#[derive(Clone, Copy)]
pub enum Threads {
    /// So many; as many as there are, if there are fewer.
    Fixed(usize),
    /// As many as are fastest by this clock (nanoseconds, from anywhere): 1, 2, … are tried over the first tokens.
    Calibrate(fn() -> u64),
}

/// Steps with each number of workers; the shortest counts.
const TRIES: usize = 2;

/// What is being found out.
struct Trial {
    clock: fn() -> u64,
    /// Steps done with this number of workers, and the shortest of them in nanoseconds.
    steps: usize,
    shortest: u64,
    /// The best number so far, and its time.
    best: usize,
    best_time: u64,
}

/// Counts, and decides.
pub(crate) struct Tuner {
    threads: usize,
    most: usize,
    trial: Option<Trial>,
}

impl Tuner {
    pub(crate) fn new(threads: Threads, most: usize) -> Tuner {
        match threads {
            Threads::Calibrate(clock) if most > 1 => Tuner {
                threads: 1,
                most,
                trial: Some(Trial {
                    clock,
                    steps: 0,
                    shortest: u64::MAX,
                    best: 1,
                    best_time: u64::MAX,
                }),
            },
            Threads::Calibrate(_) => Tuner {
                threads: 1,
                most,
                trial: None,
            },
            Threads::Fixed(threads) => Tuner {
                threads: threads.clamp(1, most),
                most,
                trial: None,
            },
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    pub(crate) fn is_tuning(&self) -> bool {
        self.trial.is_some()
    }

    /// A step begins.
    pub(crate) fn begin(&self) -> u64 {
        self.trial.as_ref().map_or(0, |trial| (trial.clock)())
    }

    /// The step that began at `before` has ended.
    pub(crate) fn end(&mut self, before: u64) {
        let Some(trial) = &mut self.trial else { return };
        let took = (trial.clock)().saturating_sub(before).max(1);
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
        if self.threads == self.most || hopeless {
            self.threads = trial.best;
            self.trial = None;
        } else {
            // 1, 2, 3, 4, 6, 9, …: the first few count most.
            self.threads = (self.threads + (self.threads / 2).max(1)).min(self.most);
            (trial.steps, trial.shortest) = (0, u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    static NOW: AtomicU64 = AtomicU64::new(0);

    /// What is chosen where a step with n workers takes `times[n - 1]`.
    fn chosen(times: &[u64]) -> (usize, usize) {
        let mut tuner = Tuner::new(Threads::Calibrate(|| NOW.load(Relaxed)), times.len());
        let mut steps = 0;
        while tuner.is_tuning() {
            let before = tuner.begin();
            NOW.fetch_add(times[tuner.threads() - 1], Relaxed);
            tuner.end(before);
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
        assert_eq!(Tuner::new(Threads::Fixed(9), 4).threads(), 4);
        assert_eq!(Tuner::new(Threads::Fixed(0), 4).threads(), 1);
    }
}
