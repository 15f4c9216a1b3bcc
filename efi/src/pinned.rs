//! Source whose SHA-256 is known beforehand.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::fmt::Write;

use llama2_engine::{
    model::PIECE,
    source::{ByteSource, ReadError},
};
use sha2::{Digest, Sha256};

/// Source that is compared with its SHA-256 while it is read: the read that comes to its end fails
/// if it is another.
///
/// Each byte is taken from the source once, in order. What is read in small pieces, as headers and
/// tokenizers are, is kept to be read again, so that what has been understood of a file is what is
/// compared, though its server might give something else each time.
pub struct Pinned {
    source: Box<dyn ByteSource>,
    sha256: [u8; 32],
    hasher: Sha256,
    /// Beginning of the source, which is kept.
    head: Vec<u8>,
    /// Bytes that have been taken from the source.
    taken: u64,
}

impl Pinned {
    /// Source that must have this SHA-256.
    pub fn new(source: Box<dyn ByteSource>, sha256: [u8; 32]) -> Pinned {
        Pinned {
            source,
            sha256,
            hasher: Sha256::new(),
            head: Vec::new(),
            taken: 0,
        }
    }

    /// Takes the next bytes from the source.
    fn take(&mut self, buf: &mut [u8]) -> Result<(), ReadError> {
        self.source.read_at(self.taken, buf)?;
        self.hasher.update(&*buf);
        self.taken += buf.len() as u64;
        if self.taken < self.size() {
            return Ok(());
        }
        let found = self.hasher.finalize_reset();
        if found[..] == self.sha256 {
            return Ok(());
        }
        let mut digits = String::new();
        for byte in found {
            let _ = write!(digits, "{byte:02x}");
        }
        Err(ReadError {
            offset: self.taken,
            reason: format!("the SHA-256 of all is {digits}"),
            advice: "the setting sha256 says another; it is not that file, or not all of it",
        })
    }

    /// Keeps the source's beginning up to byte `end`.
    fn keep(&mut self, end: u64) -> Result<(), ReadError> {
        let mut head = core::mem::take(&mut self.head);
        let start = head.len();
        let more = end.saturating_sub(start as u64) as usize;
        let no_memory = |_| ReadError::new(start as u64, "no memory to read into".into());
        head.try_reserve(more).map_err(no_memory)?;
        head.resize(start + more, 0);
        self.take(&mut head[start..])?;
        self.head = head;
        Ok(())
    }
}

impl ByteSource for Pinned {
    fn size(&self) -> u64 {
        self.source.size()
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let end = offset.saturating_add(buf.len() as u64);
        if end > self.size() {
            return Err(ReadError::new(self.size(), "end of file".into()));
        }
        let keeps = self.taken == self.head.len() as u64;
        if keeps && buf.len() < PIECE && end > self.taken {
            self.keep(end)?;
        }
        let kept = self.head.get(offset as usize..).unwrap_or_default();
        let (again, fresh) = buf.split_at_mut(kept.len().min(buf.len()));
        again.copy_from_slice(&kept[..again.len()]);
        if fresh.is_empty() {
            return Ok(());
        }
        if offset + again.len() as u64 != self.taken {
            let reason = "it has been read already".into();
            return Err(ReadError::new(offset, reason));
        }
        self.take(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Source that gives its bytes once, in order.
    struct Once(Vec<u8>, u64);

    impl ByteSource for Once {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
            assert_eq!(offset, self.1, "it is read twice, or out of order");
            self.1 += buf.len() as u64;
            (&self.0[..]).read_at(offset, buf)
        }
    }

    /// A file, and its source, perhaps with a byte changed.
    fn pinned(len: usize, change: Option<usize>) -> (Vec<u8>, Pinned) {
        let bytes: Vec<u8> = (0..len).map(|i| ((i * i) >> 7) as u8).collect();
        let mut given = bytes.clone();
        if let Some(at) = change {
            given[at] ^= 1;
        }
        let sha256 = Sha256::digest(&bytes).into();
        (bytes, Pinned::new(Box::new(Once(given, 0)), sha256))
    }

    /// Reads headers, then all from the front, as loading does; returns the last result.
    fn load(bytes: &[u8], source: &mut dyn ByteSource) -> Result<(), ReadError> {
        let mut piece = alloc::vec![0; PIECE];
        for (at, len) in [(0, 7), (0, 100), (5000, 64), (100, 64), (5064, 4000)] {
            source.read_at(at as u64, &mut piece[..len])?;
            assert_eq!(piece[..len], bytes[at..at + len]);
        }
        let mut at = 0;
        while at < bytes.len() {
            let len = (bytes.len() - at).min(if at == 0 { 3000 } else { PIECE });
            source.read_at(at as u64, &mut piece[..len])?;
            at += len;
        }
        Ok(())
    }

    #[test]
    fn a_file_is_compared_whatever_of_it_was_read_before() {
        for len in [10_000, PIECE, 3 * PIECE + 77] {
            let (bytes, mut source) = pinned(len, None);
            load(&bytes, &mut source).unwrap();
            assert!(source.read_at(len as u64, &mut [0]).is_err());
        }
    }

    #[test]
    fn a_changed_byte_is_told_at_the_end() {
        for change in [20_000, PIECE + 20_000, 3 * PIECE] {
            let (bytes, mut source) = pinned(3 * PIECE + 77, Some(change));
            let error = load(&bytes, &mut source).unwrap_err();
            assert_eq!(error.offset, bytes.len() as u64);
            assert!(
                format!("{error}").contains("the SHA-256 of all is "),
                "{error}"
            );
        }
    }
}
