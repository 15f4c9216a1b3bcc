//! Stacks of our own for the other cores, and a return from them at any depth: firmware gives these
//! cores 32 KiB, or any other size, and a core that cannot continue has to return to the firmware.

use alloc::boxed::Box;
use core::{
    cell::UnsafeCell,
    ptr,
    sync::atomic::{
        AtomicBool, AtomicPtr, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crate::arch;

/// Size of a stack in bytes. The largest use seen is 5 KiB (a panic's message; kernels use 4).
const SIZE: usize = 64 << 10;
/// Value at the lowest address of each stack, which an overflow destroys.
const CANARY: u128 = 0x6c6c_616d_6132_6566;
/// Number of elements of one stack.
const LEN: usize = SIZE / size_of::<u128>();

/// State of one stack.
#[derive(Default)]
struct State {
    taken: AtomicBool,
    /// Stack pointer of the caller while the stack is in use.
    way_back: AtomicUsize,
}

/// Stacks for several cores, one after another in memory.
pub struct Stacks {
    memory: Box<[UnsafeCell<u128>]>,
    states: Box<[State]>,
}

// Safety: each stack's memory is accessed only by the core that is on it (`call` ensures that),
// except for its lowest element, which is not part of the usable stack and is only read, by a
// volatile read.
unsafe impl Sync for Stacks {}

/// Stacks of [`Stacks::announce`]: whether a caller is on them follows from its stack's address,
/// without a lock.
static ANNOUNCED: AtomicPtr<UnsafeCell<u128>> = AtomicPtr::new(ptr::null_mut());
static BYTES: AtomicUsize = AtomicUsize::new(0);

/// Returns true if the caller is on one of the announced stacks, that is, on a core other than the
/// boot processor, which must not call firmware.
pub fn is_elsewhere() -> bool {
    let here = 0u8;
    let first = ANNOUNCED.load(Relaxed).addr();
    (&raw const here).addr().wrapping_sub(first) < BYTES.load(Relaxed)
}

impl Stacks {
    /// Allocates `count` stacks.
    pub fn new(count: usize) -> Stacks {
        let element = |i| UnsafeCell::new(if i % LEN == 0 { CANARY } else { 0 });
        Stacks {
            memory: (0..count * LEN).map(element).collect(),
            states: (0..count).map(|_| State::default()).collect(),
        }
    }

    /// Makes [`is_elsewhere`] recognise these stacks instead of earlier ones. If there are none,
    /// earlier ones stay: cores that did not return in time may still be on them.
    pub fn announce(&self) {
        if self.states.is_empty() {
            return;
        }
        BYTES.store(0, Relaxed);
        ANNOUNCED.store(self.memory.as_ptr().cast_mut(), Relaxed);
        BYTES.store(self.states.len() * SIZE, Relaxed);
    }

    /// Index of the stack that the caller is on.
    pub fn own(&self) -> Option<usize> {
        let here = 0u8;
        let distance = (&raw const here)
            .addr()
            .wrapping_sub(self.memory.as_ptr().addr());
        Some(distance / SIZE).filter(|&index| index < self.states.len())
    }

    /// Returns true while any of the stacks is in use.
    pub fn are_in_use(&self) -> bool {
        self.states.iter().any(|state| state.taken.load(Acquire))
    }

    /// Index of a stack that overflowed.
    pub fn overflowed(&self) -> Option<usize> {
        // Safety: the elements exist; a core that is on the stack may be writing, so the read is
        // volatile: any value but the canary means the same.
        (0..self.states.len())
            .find(|&index| unsafe { self.memory[index * LEN].get().read_volatile() } != CANARY)
    }

    /// Calls `f(argument)` on stack `index`, and returns when it returns or calls
    /// [`leave`](Stacks::leave). Returns false without calling it if the stack is in use.
    pub fn call<T>(&self, index: usize, f: extern "efiapi" fn(&T), argument: &T) -> bool {
        let state = &self.states[index];
        if state.taken.swap(true, Acquire) {
            return false;
        }
        let memory = &self.memory[index * LEN..][..LEN];
        let top = UnsafeCell::raw_get(memory.as_ptr_range().end).cast();
        let argument = ptr::from_ref(argument).cast();
        // Safety: the memory is ours, its end is a multiple of 16, and no core is on it; `f` is
        // called with its own argument type.
        unsafe { arch::call_on(top, state.way_back.as_ptr(), f as *const (), argument) };
        state.taken.store(false, Release);
        true
    }

    /// Returns to the caller of [`call`](Stacks::call), without dropping anything on the way.
    /// Returns to its own caller if that is on none of these stacks.
    ///
    /// # Safety
    /// This stack is not called again while other cores still use values on it.
    pub unsafe fn leave(&self) {
        if let Some(index) = self.own() {
            // Safety: the caller is on this stack, so `call_on` has stored this address, and its
            // frame still exists.
            unsafe { arch::back_to(self.states[index].way_back.load(Relaxed)) }
        }
    }
}

impl Drop for Stacks {
    fn drop(&mut self) {
        if ptr::eq(ANNOUNCED.load(Relaxed), self.memory.as_ptr()) {
            BYTES.store(0, Relaxed);
        }
    }
}

// Miri has no assembly.
#[cfg(all(test, not(miri)))]
mod tests {
    use super::*;

    struct Visit {
        stacks: Stacks,
        calls: AtomicUsize,
    }

    extern "efiapi" fn visit(visit: &Visit) {
        visit.calls.fetch_add(1, Relaxed);
        assert_eq!(visit.stacks.own(), Some(1));
        assert!(is_elsewhere() && visit.stacks.are_in_use());
        assert!(!visit.stacks.call(1, self::visit, visit));
        assert!(visit.stacks.call(0, nested, visit));
        if visit.calls.load(Relaxed) > 2 {
            // Safety: nothing on this stack is used by others.
            unsafe { visit.stacks.leave() };
            unreachable!("it is left");
        }
    }

    extern "efiapi" fn nested(visit: &Visit) {
        visit.calls.fetch_add(1, Relaxed);
        assert_eq!(visit.stacks.own(), Some(0));
    }

    #[test]
    fn calls_go_there_and_come_back_from_anywhere() {
        let visit = Visit {
            stacks: Stacks::new(2),
            calls: AtomicUsize::new(0),
        };
        visit.stacks.announce();
        for round in 1..5 {
            assert!(visit.stacks.call(1, self::visit, &visit));
            assert_eq!(visit.calls.load(Relaxed), 2 * round);
        }
        assert!(!is_elsewhere() && !visit.stacks.are_in_use());
        assert_eq!(
            (visit.stacks.own(), visit.stacks.overflowed()),
            (None, None)
        );
        // Safety: this is on none of the stacks.
        unsafe { visit.stacks.leave() };
        // Safety: no core is on it.
        unsafe { *visit.stacks.memory[LEN].get() = 1 };
        assert_eq!(visit.stacks.overflowed(), Some(1));
    }
}
