//! Where bytes come from: a sized, seekable source that may fail, behind one trait.

use alloc::string::String;
use core::fmt;

/// A sized, seekable run of bytes: a host file, a UEFI file, bytes inside the binary, a faulty one in tests.
pub trait ByteSource {
    /// The source's size in bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`ReadError`] if the range leaves the source or the medium fails; `buf` is then unspecified.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError>;
}

/// A read that failed: at which byte, and what the medium said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    /// Offset of the first byte that could not be read.
    pub offset: u64,
    /// The reason in the medium's own words ("Input/output error", "DEVICE_ERROR", "end of file").
    pub reason: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "reading failed at byte {} ({}): the medium may be damaged; copy the file again",
            self.offset, self.reason
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
            None => Err(ReadError {
                offset: offset.min(self.size()),
                reason: "end of file".into(),
            }),
        }
    }
}
