//! Whether keys come from hands or from a paste, told by time.

/// How fast keys come: a bucket that each key fills by [`Pace::KEY`] and that time empties. Time in
/// which nobody looked is credit, since keys that came then came one by one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    level: i64,
    last: u64,
}

impl Pace {
    /// Milliseconds a key: fifty keys a second are more than hands, and a held key, give.
    const KEY: i64 = 20;
    /// Three keys at once may be a hand's.
    const FULL: i64 = 3 * Pace::KEY;

    /// No key yet.
    pub const fn new() -> Pace {
        Pace { level: 0, last: 0 }
    }

    /// Time went by.
    fn pass(&mut self, now: u64) {
        let gone = i64::try_from(now.saturating_sub(self.last)).unwrap_or(i64::MAX);
        self.last = now;
        self.level = self.level.max(0) - gone;
    }

    /// Nothing is there: no credit for what comes from now on.
    pub fn rest(&mut self, now: u64) {
        self.pass(now);
        self.level = self.level.max(0);
    }

    /// A key came.
    pub fn count(&mut self, now: u64) {
        // Bytes of one look at the line bring no new credit.
        if now > self.last {
            self.pass(now);
        }
        self.level = self.level.saturating_add(Pace::KEY);
    }

    /// Tells whether keys come faster than hands make them.
    pub fn is_fast(&self) -> bool {
        self.level > Pace::FULL
    }
}
