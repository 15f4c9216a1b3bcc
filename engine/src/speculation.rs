//! Speculation: tokens that are guessed from what a text has said before, and checked by the pass
//! that computes the next token anyway (Leviathan et al. 2023, "Fast Inference from Transformers
//! via Speculative Decoding"; the guesses are those of Saxena 2023, "Prompt Lookup Decoding").
//!
//! A pass over several tokens reads the weights once. After each of them a token is drawn as if it
//! had been passed alone, from the same logits and in the same order; the first one that differs
//! from its guess makes the rest of the pass void. No bit of a text changes, only the number of
//! passes that it takes.
//!
//! Guessing is left off where it does not pay: `Lookup` knows how often its guesses are right, of
//! those that nobody passed as well, and `PassTimes` what passes over several tokens cost.

/// Most tokens that are guessed for a pass.
pub const MOST_GUESSES: usize = 15;

/// How tokens are guessed.
#[derive(Debug, Clone, Copy, Default)]
pub enum Speculation {
    /// Not at all.
    #[default]
    Off,
    /// So many, at most [`MOST_GUESSES`], wherever a text repeats something: for tests.
    Fixed(usize),
    /// As many as pay by this clock (nanoseconds, from any origin).
    Measured(fn() -> u64),
}

/// Longest end of a text that is looked for in it.
const LONGEST: usize = 32;

/// Classes of guesses by the length of what repeats: 1, 2, 3, 4 to 5, 6 to 8, 9 to 15, 16 and more.
const CLASSES: usize = 7;

/// Share of right guesses that each class begins with.
const RIGHT: [f32; CLASSES] = [0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.9];

/// Guesses that a share is the mean of, roughly.
const MEMORY: f32 = 24.0;

/// Tokens for the time of one from which on guesses are worth it.
const WORTH: f32 = 1.05;

fn class_of(length: usize) -> usize {
    match length {
        0..=3 => length.saturating_sub(1),
        4..=5 => 3,
        6..=8 => 4,
        9..=15 => 5,
        _ => 6,
    }
}

/// Guesses from where the end of a text occurred before.
pub(crate) struct Lookup {
    guesses: [u32; MOST_GUESSES],
    /// How many there are, and how many have been compared.
    found: usize,
    compared: usize,
    /// Length of what repeats.
    length: usize,
    /// Share of right guesses lately, of each class.
    right: [f32; CLASSES],
}

impl Lookup {
    pub(crate) const fn new() -> Lookup {
        Lookup {
            guesses: [0; MOST_GUESSES],
            found: 0,
            compared: 0,
            length: 0,
            right: RIGHT,
        }
    }

    /// Guesses what follows `tokens`, at most `room` of them and as many as pay.
    pub(crate) fn guess(&mut self, tokens: &[u32], room: usize, times: &PassTimes) -> &[u32] {
        (self.found, self.compared) = (0, 0);
        if times.is_off() {
            return &[];
        }
        if let Some((end, length)) = repeated(tokens) {
            self.length = length;
            // Where what followed there reaches the end of the text, it repeats itself.
            let period = tokens.len() - end;
            for place in 0..MOST_GUESSES {
                self.guesses[place] = match place.checked_sub(period) {
                    None => tokens[end + place],
                    Some(before) => self.guesses[before],
                };
            }
            self.found = MOST_GUESSES;
        }
        let most = room.min(self.found);
        let right = |place: usize| self.right[class_of(self.length + place)];
        &self.guesses[..times.worth(most, &right)]
    }

    /// Forgets the guesses: the text goes on with something else.
    pub(crate) fn restart(&mut self) {
        self.found = 0;
    }

    /// Takes the token that was drawn; tells whether it is the next one of the guesses.
    pub(crate) fn follows(&mut self, drawn: u32) -> bool {
        if self.compared >= self.found {
            return false;
        }
        let is_right = self.guesses[self.compared] == drawn;
        let share = &mut self.right[class_of(self.length + self.compared)];
        *share += (f32::from(u8::from(is_right)) - *share) / MEMORY;
        self.compared += 1;
        if !is_right {
            self.found = 0;
        }
        is_right
    }
}

/// Finds the longest end of `tokens`, up to [`LONGEST`], that occurs before, and the last of those
/// places: the place behind it, and its length.
fn repeated(tokens: &[u32]) -> Option<(usize, usize)> {
    let (last, before) = tokens.split_last()?;
    let mut best = None;
    let mut longest = 0;
    for place in (0..before.len()).rev() {
        if before[place] != *last {
            continue;
        }
        let pairs = before[..place].iter().rev().zip(before.iter().rev());
        let same = pairs.take(LONGEST - 1).take_while(|(a, b)| a == b).count();
        if same + 1 > longest {
            longest = same + 1;
            best = Some((place + 1, longest));
            if longest == LONGEST {
                break;
            }
        }
    }
    best
}

/// Passes that a mean is made of, roughly.
const RECENT: u32 = 8;

/// Passes of one sequence after which a mean is old: others may have disturbed what it is made of.
const OLD: u64 = 512;

/// Passes of one sequence after which one of them goes without guesses, if none did: all others are
/// compared with such passes.
const WITHOUT: u64 = 32;

/// Share of a single token's time that another one in its pass takes, until it has been measured.
const SHARE: f32 = 0.15;

/// Mean duration of the last passes over some number of tokens.
#[derive(Clone, Copy, Default)]
struct Mean {
    nanoseconds: f32,
    /// Of how many passes, and when the last one was.
    passes: u32,
    last: u64,
}

/// Durations of passes over 1, 2, … tokens of one sequence.
pub(crate) struct PassTimes {
    mode: Speculation,
    means: [Mean; 1 + MOST_GUESSES],
    /// Workers that made them.
    threads: usize,
    /// Passes so far.
    passes: u64,
}

impl PassTimes {
    pub(crate) fn new(mode: Speculation) -> PassTimes {
        PassTimes {
            mode,
            means: [Mean::default(); 1 + MOST_GUESSES],
            threads: 0,
            passes: 0,
        }
    }

    /// Most guesses of a pass.
    pub(crate) fn most(&self) -> usize {
        match self.mode {
            Speculation::Off => 0,
            Speculation::Fixed(count) => count.min(MOST_GUESSES),
            Speculation::Measured(_) => MOST_GUESSES,
        }
    }

    fn is_off(&self) -> bool {
        self.most() == 0
    }

    /// Starts timing a pass.
    pub(crate) fn begin(&self) -> u64 {
        match self.mode {
            Speculation::Measured(clock) => clock(),
            _ => 0,
        }
    }

    /// Ends a pass over `tokens` tokens of one sequence, all of whose logits were wanted.
    pub(crate) fn end(&mut self, begun: u64, tokens: usize, threads: usize) {
        let Speculation::Measured(clock) = self.mode else {
            return;
        };
        let took = clock().saturating_sub(begun).max(1) as f32;
        if threads != self.threads {
            self.means = [Mean::default(); 1 + MOST_GUESSES];
            self.threads = threads;
        }
        self.passes += 1;
        let is_known = self.is_known(tokens);
        let Some(mean) = self.means.get_mut(tokens - 1) else {
            return;
        };
        if !is_known {
            *mean = Mean::default();
        }
        mean.last = self.passes;
        mean.passes = (mean.passes + 1).min(RECENT);
        // One that was interrupted is no measure.
        let most = if mean.passes == 1 {
            took
        } else {
            2.0 * mean.nanoseconds
        };
        mean.nanoseconds += (took.min(most) - mean.nanoseconds) / mean.passes as f32;
    }

    /// Tells whether passes over so many tokens were measured lately.
    fn is_known(&self, tokens: usize) -> bool {
        let known = |mean: &Mean| mean.passes > 0 && self.passes < mean.last + OLD;
        self.means.get(tokens - 1).is_some_and(known)
    }

    /// How many guesses, at most `most`, give most tokens in the same time, where `right(n)` is the
    /// share of right ones among those after `n` right ones.
    fn worth(&self, most: usize, right: &dyn Fn(usize) -> f32) -> usize {
        match self.mode {
            Speculation::Off => return 0,
            Speculation::Fixed(count) => return count.min(most),
            Speculation::Measured(_) => (),
        }
        if self.passes >= self.means[0].last + WITHOUT {
            return 0;
        }
        // No more than twice the tokens of the longest pass that was measured.
        let Some(known) = (1..=self.means.len()).rev().find(|&n| self.is_known(n)) else {
            return 0;
        };
        let (mut chance, mut tokens) = (1.0, 1.0);
        let mut best = (WORTH, 0);
        for count in 1..=most.min(2 * known - 1) {
            chance *= right(count - 1);
            tokens += chance;
            let gain = tokens / self.cost(1 + count);
            if gain > best.0 {
                best = (gain, count);
            }
        }
        best.1
    }

    /// Time of a pass over `tokens` tokens in units of one over a single token.
    fn cost(&self, tokens: usize) -> f32 {
        let one = self.means[0].nanoseconds;
        // No longer than those over more.
        let longer = (tokens..=self.means.len()).filter(|&n| self.is_known(n));
        let at = |n: usize| self.means[n - 1].nanoseconds / one;
        let most = longer.map(at).fold(f32::INFINITY, f32::min);
        if self.is_known(tokens) {
            return most;
        }
        // On the line through one token and the nearest that is known, which is too high between
        // them, or with a slope to be tried.
        let shorter = (2..tokens).rev().find(|&n| self.is_known(n));
        let slope = shorter.map_or(SHARE, |n| (at(n) - 1.0) / (n - 1) as f32);
        most.min(1.0 + slope.max(0.0) * (tokens - 1) as f32)
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    #[test]
    fn the_longest_end_is_found_and_the_last_of_its_places() {
        assert_eq!(repeated(&[]), None);
        assert_eq!(repeated(&[1]), None);
        assert_eq!(repeated(&[1, 2, 3]), None);
        assert_eq!(repeated(&[1, 1]), Some((1, 1)));
        assert_eq!(repeated(&[1, 2, 3, 1, 2]), Some((2, 2)));
        // Nearer, but shorter; as long, and nearer.
        assert_eq!(repeated(&[7, 1, 2, 3, 5, 2, 9, 7, 1, 2]), Some((3, 3)));
        assert_eq!(repeated(&[1, 2, 3, 1, 2, 4, 1, 2]), Some((5, 2)));
        assert_eq!(repeated(&[5; 100]), Some((99, LONGEST)));
    }

    #[test]
    fn what_repeats_goes_on_repeating() {
        let times = PassTimes::new(Speculation::Fixed(5));
        let mut lookup = Lookup::new();
        assert_eq!(lookup.guess(&[1, 2, 3, 1, 2], 9, &times), [3, 1, 2, 3, 1]);
        assert_eq!(lookup.guess(&[1, 2, 3, 1, 2], 2, &times), [3, 1]);
        assert!(lookup.follows(3) && !lookup.follows(7) && !lookup.follows(2));
        assert_eq!(lookup.guess(&[1, 2, 3], 9, &times), []);
        assert!(!lookup.follows(1));
        let off = PassTimes::new(Speculation::Off);
        assert_eq!(lookup.guess(&[1, 1, 1], 9, &off), []);
    }

    static CLOCK: AtomicU64 = AtomicU64::new(0);

    /// Number of guesses that pay once passes over n tokens take `time(n)` and so large a share of
    /// guesses is right.
    fn pays(time: impl Fn(usize) -> u64, right: f32) -> usize {
        let mut times = PassTimes::new(Speculation::Measured(|| CLOCK.load(Relaxed)));
        let mut guesses = 0;
        assert_eq!(times.worth(15, &|_| right), 0, "before anything is known");
        for _ in 0..20 {
            for tokens in [1, 1 + guesses] {
                let begun = times.begin();
                CLOCK.fetch_add(time(tokens), Relaxed);
                times.end(begun, tokens, 1);
            }
            guesses = times.worth(MOST_GUESSES, &|_| right);
        }
        guesses
    }

    #[test]
    fn as_many_as_pay() {
        // Memory is all that takes time; half of it; arithmetic is.
        assert_eq!(pays(|_| 1000, 0.9), MOST_GUESSES);
        assert_eq!(pays(|n| 1000 + 150 * (n as u64 - 1), 1.0), MOST_GUESSES);
        assert_eq!(pays(|n| 1000 + 300 * (n as u64 - 1), 0.8), 3);
        assert_eq!(pays(|n| 1000 + 300 * (n as u64 - 1), 0.2), 0);
        assert_eq!(pays(|n| 1000 * n as u64, 1.0), 0);
        // Tiles of four.
        assert_eq!(pays(|n| 600 + 400 * (n as u64).div_ceil(4), 0.9), 7);
    }

    #[test]
    fn one_bad_measurement_is_forgotten() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let mut times = PassTimes::new(Speculation::Measured(|| CLOCK.load(Relaxed)));
        let pass = |times: &mut PassTimes, tokens, took| {
            let begun = times.begin();
            CLOCK.fetch_add(took, Relaxed);
            times.end(begun, tokens, 1);
        };
        pass(&mut times, 1, 1000);
        pass(&mut times, 2, 9000);
        assert_eq!(times.worth(15, &|_| 0.9), 0);
        for _ in 0..OLD {
            pass(&mut times, 1, 1000);
        }
        assert!(times.worth(15, &|_| 0.9) > 0);
    }

    #[test]
    fn a_slow_beginning_is_forgotten_where_guesses_do_not_pay() {
        static CLOCK: AtomicU64 = AtomicU64::new(0);
        let mut times = PassTimes::new(Speculation::Measured(|| CLOCK.load(Relaxed)));
        let mut guessed = 0;
        for pass in 0..5000 {
            let tokens = match pass {
                0..8 => 1,
                _ => 1 + times.worth(MOST_GUESSES, &|_| 0.1),
            };
            let begun = times.begin();
            // Another program, then none; each token takes as long as the first.
            CLOCK.fetch_add(tokens as u64 * if pass < 8 { 3000 } else { 1000 }, Relaxed);
            times.end(begun, tokens, 1);
            guessed += usize::from(tokens > 1);
        }
        assert!(guessed < 1000, "{guessed}");
    }
}
