//! Buffers of frames that are being sent: a driver has a buffer from when it is told to send it
//! until it hands the buffer's address back.

/// Number of buffers.
pub const BUFFERS: usize = 64;
/// Bytes of a buffer; the longest frame has fewer.
pub const BUFFER: usize = 2048;
/// Microseconds after which a buffer that was not handed back counts as lost. A driver that waits
/// for a cable may keep one for long, and must not find another frame in it soon after.
const PATIENCE: u64 = 5_000_000;

/// Who has a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// The driver, since then.
    Driver(u64),
}

/// Account of [`BUFFERS`] buffers that lie one after another. It does not touch them.
#[derive(Debug)]
pub struct TransmitPool {
    start: usize,
    holders: [Holder; BUFFERS],
    free: usize,
    /// Buffer at which to look for a free one first: the one that was free for longest.
    next: usize,
    lost: u64,
    handed_back: u64,
}

impl TransmitPool {
    /// Bytes of all buffers.
    pub const BYTES: usize = BUFFERS * BUFFER;

    /// Account of the buffers at this address.
    pub const fn new(start: usize) -> TransmitPool {
        TransmitPool {
            start,
            holders: [Holder::Nobody; BUFFERS],
            free: BUFFERS,
            next: 0,
            lost: 0,
            handed_back: 0,
        }
    }

    /// Returns true if the driver has none.
    pub fn is_whole(&self) -> bool {
        self.free == BUFFERS
    }

    /// Returns true if there is a free buffer.
    pub fn has_free(&self) -> bool {
        self.free > 0
    }

    /// Index of a free buffer; it stays free until [`TransmitPool::give`].
    pub fn free(&self) -> Option<usize> {
        let from_next = (0..BUFFERS).map(|i| (self.next + i) % BUFFERS);
        from_next
            .into_iter()
            .find(|&i| self.holders[i] == Holder::Nobody)
    }

    /// Notes that the driver has a buffer, which was free, since `now`, in microseconds.
    pub fn give(&mut self, index: usize, now: u64) {
        if let Some(holder @ Holder::Nobody) = self.holders.get_mut(index) {
            *holder = Holder::Driver(now);
            self.free -= 1;
            self.next = (index + 1) % BUFFERS;
        }
    }

    /// Takes the buffer at this address back from the driver. Drivers may also hand back addresses
    /// twice, or of frames that others have sent: those are ignored.
    pub fn take_back(&mut self, address: usize) {
        let offset = address.wrapping_sub(self.start);
        if !offset.is_multiple_of(BUFFER) {
            return;
        }
        if let Some(holder @ Holder::Driver(_)) = self.holders.get_mut(offset / BUFFER) {
            *holder = Holder::Nobody;
            self.free += 1;
            self.handed_back += 1;
        }
    }

    /// Takes back all buffers that the driver has had for too long, and counts them.
    pub fn expire(&mut self, now: u64) {
        if self.free == BUFFERS {
            return;
        }
        for holder in &mut self.holders {
            if let Holder::Driver(since) = *holder
                && now.saturating_sub(since) >= PATIENCE
            {
                *holder = Holder::Nobody;
                self.free += 1;
                self.lost += 1;
            }
        }
    }

    /// Number of buffers that were not handed back in time.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Returns true if the driver hands none back at all.
    pub fn is_one_way(&self) -> bool {
        self.lost > 1 && self.handed_back == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: usize = 0x10_0000;

    #[test]
    fn a_driver_has_a_buffer_until_it_hands_it_back() {
        let mut pool = TransmitPool::new(START);
        for expected in 0..BUFFERS {
            assert_eq!(pool.free(), Some(expected));
            assert_eq!(pool.free(), Some(expected));
            pool.give(expected, 0);
        }
        assert!(!pool.has_free());
        assert_eq!(pool.free(), None);
        // Not ours, not the beginning of one, one of another's, far away.
        for address in [0, START - BUFFER, START + 1, START + BUFFERS * BUFFER] {
            pool.take_back(address);
            assert!(!pool.has_free());
        }
        pool.take_back(usize::MAX);
        pool.take_back(START + 3 * BUFFER);
        pool.take_back(START + 3 * BUFFER);
        assert_eq!(pool.free(), Some(3));
        pool.give(3, 1);
        pool.give(3, 2);
        assert!(!pool.has_free());
        // In any order.
        for index in (0..BUFFERS).rev() {
            pool.take_back(START + index * BUFFER);
        }
        assert!(pool.has_free());
        // The one that was free for longest, not the one that came back last.
        assert_eq!(pool.free(), Some(4));
        assert_eq!(pool.lost(), 0);
    }

    #[test]
    fn buffers_that_a_driver_loses_come_back_late_and_are_counted() {
        let mut pool = TransmitPool::new(START);
        for index in 0..BUFFERS {
            pool.give(index, index as u64);
        }
        pool.expire(PATIENCE - 1);
        assert_eq!((pool.has_free(), pool.lost()), (false, 0));
        assert!(!pool.is_one_way());
        pool.expire(PATIENCE + 1);
        assert_eq!((pool.free(), pool.lost()), (Some(0), 2));
        assert!(pool.is_one_way());
        // Handed back at last.
        pool.take_back(START);
        pool.give(0, PATIENCE + 1);
        pool.give(1, PATIENCE + 1);
        assert_eq!((pool.has_free(), pool.lost()), (false, 2));
        pool.expire(u64::MAX);
        assert_eq!(pool.lost(), 2 + BUFFERS as u64);
    }
}
