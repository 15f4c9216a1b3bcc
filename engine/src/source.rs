//! Input of bytes: a sized, seekable source that may fail, behind one trait.

use alloc::{string::String, vec::Vec};
use core::fmt;

/// Sized, seekable sequence of bytes: a host file, a UEFI file, bytes inside the binary, a faulty
/// source in tests.
pub trait ByteSource {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`ReadError`] if the range extends past the end or the medium fails; the contents of `buf`
    /// are then unspecified.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError>;

    /// Offsets of the second and later files, if the source consists of several.
    fn borders(&self) -> Vec<u64> {
        Vec::new()
    }
}

/// Several files as one source, one after another: a split model.
pub struct Joined<S> {
    parts: Vec<S>,
}

impl<S: ByteSource> Joined<S> {
    /// Joins `parts` in their order.
    pub fn new(parts: Vec<S>) -> Self {
        Joined { parts }
    }
}

impl<S: ByteSource> ByteSource for Joined<S> {
    fn size(&self) -> u64 {
        let sizes = self.parts.iter().map(ByteSource::size);
        sizes.fold(0, u64::saturating_add)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let (mut start, mut done) = (0u64, 0);
        for part in &mut self.parts {
            let end = start.saturating_add(part.size());
            let at = offset.saturating_add(done as u64);
            if at < end && done < buf.len() {
                let left = (end - at).min((buf.len() - done) as u64) as usize;
                part.read_at(at - start, &mut buf[done..done + left])
                    .map_err(|error| ReadError {
                        offset: start.saturating_add(error.offset),
                        ..error
                    })?;
                done += left;
            }
            start = end;
        }
        if done == buf.len() {
            Ok(())
        } else {
            Err(ReadError::new(start, "end of file".into()))
        }
    }

    fn borders(&self) -> Vec<u64> {
        let ends = self.parts.iter().scan(0u64, |end, part| {
            *end = end.saturating_add(part.size());
            Some(*end)
        });
        ends.take(self.parts.len().saturating_sub(1)).collect()
    }
}

/// Failed read: the offset, the medium's reason, and advice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Offset of the first byte that could not be read.
    pub offset: u64,
    /// Reason in the medium's own words ("Input/output error", "DEVICE_ERROR", "end of file").
    pub reason: String,
    /// Advice to the user: a clause.
    pub advice: &'static str,
}

impl ReadError {
    /// Error of a medium.
    pub fn new(offset: u64, reason: String) -> ReadError {
        ReadError {
            offset,
            reason,
            advice: "the medium may be damaged; copy the file again",
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reading failed at byte {} ({}): {}",
            self.offset, self.reason, self.advice
        )
    }
}

impl core::error::Error for ReadError {}

impl ByteSource for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let found = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..start.checked_add(buf.len())?));
        match found {
            Some(bytes) => {
                buf.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(ReadError::new(
                offset.min(self.size()),
                "end of file".into(),
            )),
        }
    }
}
