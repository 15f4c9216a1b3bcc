//! Host files as byte sources.

use std::{fs::File, io, path::Path};

use llama2_engine::source::{ByteSource, ReadError};

use crate::failure::Failure;

/// An open regular file.
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Opens `path`, which must be a file.
    pub fn open(path: &Path) -> Result<FileSource, Failure> {
        let file = File::open(path).map_err(|error| Failure::about(path, explain(&error)))?;
        let metadata = file
            .metadata()
            .map_err(|error| Failure::about(path, explain(&error)))?;
        if metadata.is_dir() {
            return Err(Failure::about(
                path,
                "is a folder, not a file; name the file in it",
            ));
        }
        if !metadata.is_file() {
            return Err(Failure::about(
                path,
                "is a device or a pipe, not a file; copy its contents to a file first",
            ));
        }
        Ok(FileSource {
            file,
            size: metadata.len(),
        })
    }
}

/// What the system said, and what to do about it.
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file; check the name".into(),
        io::ErrorKind::PermissionDenied => "may not be read by you; check its permissions".into(),
        _ => error.to_string(),
    }
}

impl ByteSource for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        read_exact_at(&mut self.file, buf, offset).map_err(|error| ReadError {
            offset,
            reason: error.to_string(),
        })
    }
}

#[cfg(unix)]
fn read_exact_at(file: &mut File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buf, offset)
}

#[cfg(not(unix))]
fn read_exact_at(file: &mut File, buf: &mut [u8], offset: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(buf)
}
