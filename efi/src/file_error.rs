//! Reasons why a file could not be written or read, as helpful sentences.

use alloc::string::String;
use core::fmt;

use llama2_engine::units::Grouped;

/// Error on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// There is no volume.
    NoVolume,
    /// The volume is full: bytes needed, and bytes free.
    Full(u64, u64),
    /// The volume is write-protected.
    WriteProtected,
    /// The file is marked as read-only.
    Marked,
    /// The name is that of a folder.
    Folder,
    /// The file does not exist.
    Missing,
    /// The drive does not respond, or was exchanged; with the firmware's name of the error.
    Gone(String),
    /// The file is too large: its size, and the largest size accepted.
    TooLarge(u64, u64),
    /// Reading back gave different bytes than were written.
    Changed,
    /// The old file is gone, and the new one could not be renamed: this is its name.
    Left(String),
    /// Any other error, with the firmware's name of it.
    Other(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::NoVolume => {
                f.write_str("there is no volume; plug in a drive with a FAT file system")
            }
            FileError::Full(needed, free) => write!(
                f,
                "it is full: {} bytes are needed and {} are free; delete a file, or choose another drive",
                Grouped(*needed),
                Grouped(*free)
            ),
            FileError::WriteProtected => {
                f.write_str("it is write-protected; unlock it, or plug in another drive")
            }
            FileError::Marked => {
                f.write_str("that file is marked as read-only; choose another name")
            }
            FileError::Folder => f.write_str("that is a folder; choose another name"),
            FileError::Missing => f.write_str("no such file"),
            FileError::Gone(status) => write!(
                f,
                "the drive does not answer ({status}); see that it is plugged in, and try again"
            ),
            FileError::TooLarge(size, most) => write!(
                f,
                "it has {} bytes, but may have {} at most; is it the right file?",
                Grouped(*size),
                Grouped(*most)
            ),
            FileError::Changed => f.write_str(
                "what was read back is not what was written; the drive may be failing: use another one",
            ),
            FileError::Left(name) => write!(
                f,
                "the firmware cannot rename files, and writing it again failed; the complete text is in {name} there: copy it"
            ),
            FileError::Other(status) => write!(f, "the firmware says {status}; try another drive"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_say_what_to_do() {
        for (trouble, words) in [
            (
                FileError::Full(5120, 512),
                "5120 bytes are needed and 512 are free; delete",
            ),
            (FileError::WriteProtected, "write-protected; unlock it"),
            (
                FileError::Gone("NO_MEDIA".into()),
                "(NO_MEDIA); see that it is plugged in",
            ),
            (
                FileError::TooLarge(2000, 1000),
                "has 2000 bytes, but may have 1000",
            ),
            (
                FileError::Left("A.TMP".into()),
                "the complete text is in A.TMP",
            ),
            (FileError::NoVolume, "plug in a drive"),
        ] {
            let sentence = trouble.to_string();
            assert!(sentence.contains(words), "{sentence}");
        }
    }
}
