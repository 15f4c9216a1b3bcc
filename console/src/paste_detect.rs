//! Detection of pastes by the speed of keys, for inputs that do not mark them.

/// Speed of keys, as a leaky bucket: each key adds [`Pace::KEY`], and time empties it. Time between
/// two polls counts as credit, because keys that arrived meanwhile arrived one by one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    level: i64,
    last: u64,
}

impl Pace {
    /// Milliseconds per key: neither hands nor key repeat exceed fifty keys a second.
    const KEY: i64 = 20;
    /// Level that three simultaneous keys reach, which hands can produce.
    const FULL: i64 = 3 * Pace::KEY;

    /// No keys yet.
    pub const fn new() -> Pace {
        Pace { level: 0, last: 0 }
    }

    /// Accounts for the time until `now`.
    fn pass(&mut self, now: u64) {
        let gone = i64::try_from(now.saturating_sub(self.last)).unwrap_or(i64::MAX);
        self.last = now;
        self.level = self.level.max(0) - gone;
    }

    /// Notes that no key is pending: keys that come later get no credit for the time before.
    pub fn rest(&mut self, now: u64) {
        self.pass(now);
        self.level = self.level.max(0);
    }

    /// Counts a key.
    pub fn count(&mut self, now: u64) {
        // Bytes of one look at the line bring no new credit.
        if now > self.last {
            self.pass(now);
        }
        self.level = self.level.saturating_add(Pace::KEY);
    }

    /// Returns true if keys arrive faster than hands can type.
    pub fn is_fast(&self) -> bool {
        self.level > Pace::FULL
    }
}
