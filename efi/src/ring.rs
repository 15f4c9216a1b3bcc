//! Ring buffer that passes text from one core to another without waiting.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::sync::atomic::{
    AtomicU8, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// Ring buffer of UTF-8 text. One core calls [`push`](Ring::push), one other [`pop`](Ring::pop); if
/// more cores did, their texts would be mixed.
pub struct Ring {
    bytes: Box<[AtomicU8]>,
    /// Total bytes written, and total bytes read.
    written: AtomicUsize,
    read: AtomicUsize,
}

impl Ring {
    /// Allocates a capacity of `len` bytes.
    pub fn new(len: usize) -> Ring {
        Ring {
            bytes: (0..len).map(|_| AtomicU8::new(0)).collect(),
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
        }
    }

    fn byte(&self, index: usize) -> &AtomicU8 {
        &self.bytes[index % self.bytes.len()]
    }

    /// Stores as much of `text` as fits, in whole characters, and returns the rest. Allocates
    /// nothing.
    pub fn push<'t>(&self, text: &'t str) -> &'t str {
        let (written, read) = (self.written.load(Relaxed), self.read.load(Acquire));
        let room = self.bytes.len().saturating_sub(written.wrapping_sub(read));
        let len = text.floor_char_boundary(room);
        for (i, &byte) in text.as_bytes()[..len].iter().enumerate() {
            self.byte(written.wrapping_add(i)).store(byte, Relaxed);
        }
        self.written.store(written.wrapping_add(len), Release);
        &text[len..]
    }

    /// Moves the contents to the end of `text`.
    pub fn pop(&self, text: &mut String) {
        let (written, read) = (self.written.load(Acquire), self.read.load(Relaxed));
        let len = written.wrapping_sub(read).min(self.bytes.len());
        let bytes: Vec<u8> = (0..len)
            .map(|i| self.byte(read.wrapping_add(i)).load(Relaxed))
            .collect();
        self.read.store(written, Release);
        text.push_str(&String::from_utf8_lossy(&bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_arrive_whole_and_in_order() {
        let ring = Ring::new(7);
        let mut out = String::new();
        assert_eq!(ring.push("abc"), "");
        assert_eq!(ring.push("日本"), "本");
        ring.pop(&mut out);
        ring.pop(&mut out);
        assert_eq!(out, "abc日");
        assert_eq!(ring.push("12345678"), "8");
        assert_eq!(ring.push("x"), "x");
        assert_eq!(ring.push(""), "");
        ring.pop(&mut out);
        assert_eq!(out, "abc日1234567");
    }

    #[test]
    fn two_threads() {
        let ring = Ring::new(64);
        let all = "Ünïcode – 日本 🙂 and words. ".repeat(if cfg!(miri) { 50 } else { 2000 });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut rest = all.as_str();
                while !rest.is_empty() {
                    rest = ring.push(rest);
                    std::thread::yield_now();
                }
            });
            let mut out = String::new();
            while out.len() < all.len() {
                ring.pop(&mut out);
                std::thread::yield_now();
            }
            assert_eq!(out, all);
        });
    }
}
