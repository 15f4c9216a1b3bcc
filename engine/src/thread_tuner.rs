//! Number of workers that a session uses: a given one, or the fastest one as measured over the
//! first passes, and again whenever it turns out to be slower than one worker alone.

/// Choice of the number of workers.
#[derive(Clone, Copy)]
pub enum Threads {
    /// This many, or all workers if there are fewer.
    Fixed(usize),
    /// The fastest number by this clock (nanoseconds, from any origin): 1, 2, … are tried over the
    /// first passes.
    Calibrate(fn() -> u64),
}

/// Thoroughness of a trial.
#[derive(Clone, Copy)]
struct Care {
    /// Passes that are measured with each number of workers.
    tries: usize,
    /// Passes after which a number that is much worse is given up.
    enough: usize,
    /// Times as long as the mean that a pass counts at most.
    clip: f32,
}

/// The first trial should be over soon, and one pass of its few may have had to wait for something
/// else.
const FIRST: Care = Care {
    tries: 2,
    enough: 2,
    clip: 2.0,
};

/// Later ones have a reason, and are to notice how often passes have to wait.
const LATER: Care = Care {
    tries: 8,
    enough: 1,
    clip: 9.0,
};

/// Passes of sizes that one worker alone has not been measured with, after which it is tried again,
/// for the first time; each later time after twice as many.
const STRANGE: usize = 4;
/// Class of the longest of them. A prompt's passes compute more between two meetings of the
/// workers: how many are best for few tokens are good for many, and one alone would hold a prompt
/// up.
const LONGEST_STRANGE: usize = 4;

/// Time of a pass, in units of one worker's, up to which all is well.
const TOLERATED: f32 = 1.25;

/// Time lost to more workers, in passes of one alone, after which the choice is made again: another
/// program has taken a core, and all workers wait for the one that ran on it.
const LOSS: f32 = 16.0;

/// Passes by one worker alone after which more are tried again, for the first time; each later time
/// after twice as many.
const PATIENCE: usize = 64;
const MOST_PATIENCE: usize = 4096;

/// Classes of passes by their number of tokens: 1, 2, 4, 8, … and more.
const CLASSES: usize = 16;

/// Tokens whose computing takes about as long as what a pass takes anyway. It only has to be good
/// enough for comparing passes of a class.
const ANYWAY: f32 = 4.0;

/// A mean in which a single value does not count for too much.
#[derive(Clone, Copy, Default)]
struct Mean {
    value: f32,
    count: usize,
}

impl Mean {
    fn add(&mut self, value: f32, clip: f32) {
        self.count += 1;
        if self.count == 1 || value < self.value / clip {
            self.value = value;
        } else {
            self.value += (value.min(clip * self.value) - self.value) / self.count as f32;
        }
    }
}

/// State of a trial.
struct Candidate {
    care: Care,
    /// Passes done with this number; the first is not measured: workers are called, and whatever is
    /// touched for the first time takes longer.
    passes: usize,
    /// Time with this number of workers, in units of one worker's.
    time: Mean,
    /// Best number so far, and its time in units of one worker's.
    best: usize,
    best_time: f32,
}

/// A pass that is being timed.
#[derive(Clone, Copy)]
pub(crate) struct Timed {
    before: u64,
    tokens: usize,
}

/// Times passes and chooses the number of workers. Only passes of about the same size are compared,
/// by means of what one worker alone took for them, so that any mixture of passes will do.
pub(crate) struct ThreadTuner {
    threads: usize,
    most: usize,
    /// Clock in nanoseconds; `None` if the number is fixed.
    clock: Option<fn() -> u64>,
    trial: Option<Candidate>,
    /// Nanoseconds of one worker alone for each class of passes, in relation to [`cost`]; 0 where
    /// it is unknown.
    alone: [Mean; CLASSES],
    /// Passes of classes that have no such time, until one worker alone is tried again, and the
    /// initial value of this countdown.
    strange: usize,
    strangers: usize,
    /// Time lost lately to more workers, in passes of one alone.
    lost: f32,
    /// Passes by one worker until more are tried again, or by more until they have proved good; and
    /// the initial value of this countdown.
    until: usize,
    patience: usize,
}

/// Rough relative cost of a pass.
fn cost(tokens: usize) -> f32 {
    tokens as f32 + ANYWAY
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
            alone: [Mean::default(); CLASSES],
            strange: STRANGE,
            strangers: STRANGE,
            lost: 0.0,
            until: 0,
            patience: PATIENCE,
        };
        if clock.is_some() {
            tuner.try_all(FIRST);
        }
        tuner
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    pub(crate) fn is_tuning(&self) -> bool {
        self.trial.is_some()
    }

    /// Starts timing a pass over so many tokens.
    pub(crate) fn begin(&self, tokens: usize) -> Timed {
        let before = self.clock.map_or(0, |clock| clock());
        Timed { before, tokens }
    }

    /// Ends a pass. At most `at_hand` workers are available for the next one.
    pub(crate) fn end(&mut self, pass: Timed, at_hand: usize) {
        let Some(clock) = self.clock else { return };
        let took = clock().saturating_sub(pass.before).max(1) as f32;
        let class = (pass.tokens.max(1).ilog2() as usize).min(CLASSES - 1);
        if self.trial.is_some() {
            return self.weigh(took, class, cost(pass.tokens), at_hand);
        }
        self.until = self.until.saturating_sub(1);
        if self.threads == 1 {
            if self.until == 0 {
                self.try_all(LATER);
            }
            return;
        }
        if self.until == 0 {
            self.patience = PATIENCE;
        }
        let alone = self.alone[class].value * cost(pass.tokens);
        if alone > 0.0 {
            let excess = (took / alone).min(LATER.clip) - TOLERATED;
            self.lost = (self.lost + excess).max(0.0);
        } else {
            self.meet_stranger(class, LATER);
        }
        if self.lost > LOSS {
            self.try_all(LATER);
        }
    }

    /// Counts a pass of a class for which the time of one worker alone is unknown.
    fn meet_stranger(&mut self, class: usize, care: Care) {
        if class > LONGEST_STRANGE {
            return;
        }
        self.strange = self.strange.saturating_sub(1);
        if self.strange == 0 {
            self.strangers = self.strangers.saturating_mul(2);
            self.strange = self.strangers;
            self.try_all(care);
        }
    }

    /// Starts a trial.
    fn try_all(&mut self, care: Care) {
        // The values stay until there are newer ones.
        self.alone.iter_mut().for_each(|mean| mean.count = 0);
        self.trial = Some(Candidate {
            care,
            passes: 0,
            time: Mean::default(),
            best: 1,
            best_time: 1.0,
        });
        (self.threads, self.lost) = (1, 0.0);
    }

    /// Records the duration of a trial's pass.
    fn weigh(&mut self, took: f32, class: usize, cost: f32, at_hand: usize) {
        let Some(trial) = &mut self.trial else { return };
        if trial.passes > 0 {
            let alone = &mut self.alone[class];
            if self.threads == 1 {
                alone.add(took / cost, trial.care.clip);
            } else if alone.value > 0.0 {
                trial.time.add(took / cost / alone.value, trial.care.clip);
            } else {
                let care = trial.care;
                return self.meet_stranger(class, care);
            }
        }
        trial.passes += 1;
        let time = match self.threads {
            1 => 1.0,
            _ => trial.time.value,
        };
        // More would be worse still: cores that the host does not have only wait for each other.
        let hopeless = trial.passes > trial.care.enough && time > TOLERATED * trial.best_time;
        if trial.passes <= trial.care.tries && !hopeless {
            return;
        }
        if time < trial.best_time {
            (trial.best, trial.best_time) = (self.threads, time);
        }
        if self.threads < self.most && !hopeless {
            // 1, 2, 3, 4, 6, 9, …: the first few count most.
            let next = (self.threads + (self.threads / 2).max(1)).min(self.most);
            if next > at_hand {
                // The trial continues when they are available again.
                return;
            }
            self.threads = next;
            (trial.passes, trial.time) = (0, Mean::default());
            return;
        }
        self.threads = trial.best;
        self.trial = None;
        self.until = self.patience;
        if self.threads == 1 {
            self.patience = (2 * self.patience).min(MOST_PATIENCE);
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
            let before = tuner.begin(1);
            NOW.fetch_add(times[tuner.threads() - 1], Relaxed);
            tuner.end(before, usize::MAX);
            steps += 1;
        }
        (tuner.threads(), steps)
    }

    #[test]
    fn the_fastest_is_kept_and_hopeless_numbers_are_not_tried() {
        assert_eq!(chosen(&[100]), (1, 0));
        assert_eq!(chosen(&[100, 60]), (2, 6));
        assert_eq!(chosen(&[100, 60, 50, 45]), (4, 12));
        assert_eq!(chosen(&[100, 60, 70, 45]), (4, 12));
        assert_eq!(chosen(&[100, 60, 900, 900]), (2, 9));
        assert_eq!(chosen(&[100, 200]), (1, 6));
        // 1, 2, 3, 4, 6, 9, 13, 19, 28, 42, 63, 64.
        assert_eq!(chosen(&[100; 64]), (1, 3 * 12));
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
                let before = tuner.begin(1);
                total += times[tuner.threads() - 1];
                CLOCK.fetch_add(times[tuner.threads() - 1], Relaxed);
                tuner.end(before, usize::MAX);
            }
            (tuner.threads(), total / steps as u64)
        };
        assert_eq!(run(6, [100, 55]).0, 2);
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
                let before = tuner.begin(1);
                assert!(tuner.threads() <= at_hand);
                CLOCK.fetch_add(times[tuner.threads() - 1], Relaxed);
                tuner.end(before, at_hand);
            }
            (tuner.threads(), tuner.is_tuning())
        };
        let (slow, fast) = ([100, 300, 300], [100, 60, 40]);
        assert_eq!(run(6, slow, 3), (1, false));
        // The others are dismissed; when more are to be tried again, it waits for them.
        assert_eq!(run(PATIENCE + 50, fast, 1), (1, true));
        // The next reply calls them all.
        assert_eq!(run(30, fast, 3), (3, false));
    }

    /// Time of a pass over so many tokens by so many workers: what one alone takes, and whether the
    /// others' cores are free.
    fn duration(tokens: usize, workers: usize, is_free: bool) -> u64 {
        let alone = 1000 + 700 * tokens as u64;
        match (workers, is_free) {
            (1, _) => alone,
            (_, true) => alone * 6 / 10,
            (_, false) => alone * 5,
        }
    }

    #[test]
    fn the_choice_settles_under_any_mixture_of_passes() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        // Mixtures as servers have them, and one that always changes.
        let mixtures: [&dyn Fn(usize) -> usize; 6] = [
            &|_| 1,
            &|_| 8,
            &|pass| 1 + pass % 64,
            &|pass| [64, 64, 20, 1, 1, 1, 1, 1][pass.min(7)],
            &|pass| if pass % 17 < 3 { 64 } else { 1 },
            &|pass| 1 << (pass * pass % 7),
        ];
        for (number, mixture) in mixtures.iter().enumerate() {
            for is_free in [true, false] {
                let mut tuner = ThreadTuner::new(Threads::Calibrate(|| CLOCK.load(Relaxed)), 2);
                let (mut tuned, mut taken, mut alone) = (0, 0, 0);
                for pass in 0..4000 {
                    let tokens = mixture(pass);
                    let time = duration(tokens, tuner.threads(), is_free);
                    let timed = tuner.begin(tokens);
                    CLOCK.fetch_add(time, Relaxed);
                    tuner.end(timed, usize::MAX);
                    tuned += usize::from(tuner.is_tuning());
                    (taken, alone) = (taken + time, alone + duration(tokens, 1, is_free));
                }
                let best = if is_free { alone * 6 / 10 } else { alone };
                let about = (number, is_free, tuner.threads(), tuned, taken, best);
                assert!(tuned < 250 && taken < best + best / 10, "{about:?}");
                assert_eq!(tuner.threads(), 1 + usize::from(is_free), "{about:?}");
            }
        }
    }

    #[test]
    fn a_long_prompt_has_all_workers_that_single_tokens_have() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let mut tuner = ThreadTuner::new(Threads::Calibrate(|| CLOCK.load(Relaxed)), 8);
        let mut run = |passes: usize, tokens: usize| {
            let mut least = usize::MAX;
            for _ in 0..passes {
                least = least.min(tuner.threads());
                let timed = tuner.begin(tokens);
                CLOCK.fetch_add(8000 * tokens as u64 / tuner.threads() as u64 + 100, Relaxed);
                tuner.end(timed, usize::MAX);
            }
            (least, tuner.threads())
        };
        assert_eq!(run(40, 1).1, 8);
        assert_eq!(run(64, 128), (8, 8));
    }

    #[test]
    fn a_server_that_a_single_client_has_tuned_notices_what_a_crowd_changes() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let mut tuner = ThreadTuner::new(Threads::Calibrate(|| CLOCK.load(Relaxed)), 2);
        // One pass in five waits for a core that somebody else has: the mean counts, which no
        // majority of the passes tells.
        let mut run = |passes: usize, tokens: usize, waits: bool| {
            let (mut taken, mut alone) = (0, 0);
            for pass in 0..passes {
                let is_free = !waits || pass % 5 > 0;
                let wait = if is_free { 1 } else { 4 };
                let time = duration(tokens, tuner.threads(), is_free);
                let time = if tuner.threads() == 1 {
                    time
                } else {
                    wait * time
                };
                let timed = tuner.begin(tokens);
                CLOCK.fetch_add(time, Relaxed);
                tuner.end(timed, usize::MAX);
                (taken, alone) = (taken + time, alone + duration(tokens, 1, true));
            }
            (tuner.threads(), taken as f32 / alone as f32)
        };
        assert_eq!(run(200, 1, false).0, 2);
        let (threads, time) = run(4000, 8, true);
        assert!(threads == 1 && time < 1.1, "{threads} {time}");
        // And it notices when they have gone.
        let (threads, time) = run(10_000, 8, false);
        assert!(threads == 2 && time < 0.85, "{threads} {time}");
    }
}
