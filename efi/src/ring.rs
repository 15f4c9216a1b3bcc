//! Ring buffer that passes text from one core to another without waiting.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::sync::atomic::{
    AtomicU8, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// Kind of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text of the answer.
    Text,
    /// Text that the model thinks.
    Reasoning,
}

impl Kind {
    /// The byte before a text of another kind than the one before it: none of UTF-8's.
    fn mark(self) -> u8 {
        match self {
            Kind::Text => 0xfe,
            Kind::Reasoning => 0xff,
        }
    }
}

/// A ring of whole texts. One core is to call [`push`](Ring::push), one other [`pop`](Ring::pop);
/// among more of them the texts would be mixed up.
pub struct Ring {
    bytes: Box<[AtomicU8]>,
    /// Total bytes written, and total bytes read.
    written: AtomicUsize,
    read: AtomicUsize,
    /// The mark of the last text written, and of the last one read.
    in_mark: AtomicU8,
    out_mark: AtomicU8,
}

impl Ring {
    /// Allocates a capacity of `len` bytes.
    pub fn new(len: usize) -> Ring {
        Ring {
            bytes: (0..len).map(|_| AtomicU8::new(0)).collect(),
            written: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            in_mark: AtomicU8::new(Kind::Text.mark()),
            out_mark: AtomicU8::new(Kind::Text.mark()),
        }
    }

    fn byte(&self, index: usize) -> &AtomicU8 {
        &self.bytes[index % self.bytes.len()]
    }

    /// Stores as much of `text` as fits, in whole characters, and returns the rest. Allocates
    /// nothing.
    pub fn push<'t>(&self, kind: Kind, text: &'t str) -> &'t str {
        let (written, read) = (self.written.load(Relaxed), self.read.load(Acquire));
        let room = self.bytes.len().saturating_sub(written.wrapping_sub(read));
        let mark = kind.mark();
        let marked = usize::from(self.in_mark.load(Relaxed) != mark);
        let len = text.floor_char_boundary(room.saturating_sub(marked));
        if len == 0 {
            return text;
        }
        let marks = core::iter::repeat_n(mark, marked);
        let bytes = marks.chain(text.bytes().take(len));
        for (i, byte) in bytes.enumerate() {
            self.byte(written.wrapping_add(i)).store(byte, Relaxed);
        }
        self.in_mark.store(mark, Relaxed);
        self.written
            .store(written.wrapping_add(marked + len), Release);
        &text[len..]
    }

    /// Takes the contents out, in order.
    pub fn pop(&self, take: &mut dyn FnMut(Kind, &str)) {
        let (written, read) = (self.written.load(Acquire), self.read.load(Relaxed));
        let len = written.wrapping_sub(read).min(self.bytes.len());
        let bytes: Vec<u8> = (0..len)
            .map(|i| self.byte(read.wrapping_add(i)).load(Relaxed))
            .collect();
        self.read.store(written, Release);
        let is_mark = |byte: &u8| *byte >= Kind::Text.mark();
        let mut rest = &bytes[..];
        loop {
            let end = rest.iter().position(is_mark).unwrap_or(rest.len());
            let text = String::from_utf8_lossy(&rest[..end]);
            let kind = match self.out_mark.load(Relaxed) == Kind::Text.mark() {
                true => Kind::Text,
                false => Kind::Reasoning,
            };
            if !text.is_empty() {
                take(kind, &text);
            }
            let Some(&mark) = rest.get(end) else { return };
            self.out_mark.store(mark, Relaxed);
            rest = &rest[end + 1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_arrive_whole_and_in_order() {
        let ring = Ring::new(7);
        let mut out = String::new();
        let mut take = |kind, text: &str| {
            assert_eq!(kind, Kind::Text);
            out += text;
        };
        let push = |text| ring.push(Kind::Text, text);
        assert_eq!(push("abc"), "");
        assert_eq!(push("日本"), "本");
        ring.pop(&mut take);
        ring.pop(&mut take);
        assert_eq!(push("12345678"), "8");
        assert_eq!(push("x"), "x");
        assert_eq!(push(""), "");
        ring.pop(&mut take);
        assert_eq!(out, "abc日1234567");
    }

    #[test]
    fn kinds_are_kept_apart() {
        let ring = Ring::new(7);
        let mut out = Vec::new();
        let mut pop = || ring.pop(&mut |kind, text: &str| out.push((kind, String::from(text))));
        assert_eq!(ring.push(Kind::Reasoning, "hm"), "");
        assert_eq!(ring.push(Kind::Reasoning, "m"), "");
        assert_eq!(ring.push(Kind::Text, "yes"), "s");
        pop();
        assert_eq!(ring.push(Kind::Text, "s"), "");
        assert_eq!(ring.push(Kind::Reasoning, "?"), "");
        pop();
        let (text, reasoning) = (Kind::Text, Kind::Reasoning);
        let want = [
            (reasoning, "hmm"),
            (text, "ye"),
            (text, "s"),
            (reasoning, "?"),
        ];
        assert_eq!(out, want.map(|(kind, text)| (kind, text.into())));
    }

    #[test]
    fn two_threads() {
        let ring = Ring::new(64);
        let all = "Ünïcode – 日本 🙂 and words. ".repeat(if cfg!(miri) { 50 } else { 2000 });
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut rest = all.as_str();
                while !rest.is_empty() {
                    rest = ring.push(Kind::Text, rest);
                    std::thread::yield_now();
                }
            });
            let mut out = String::new();
            while out.len() < all.len() {
                ring.pop(&mut |_, text| out += text);
                std::thread::yield_now();
            }
            assert_eq!(out, all);
        });
    }
}
