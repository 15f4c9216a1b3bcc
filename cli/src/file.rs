//! Host files: byte sources for models, and prompts.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use llama2_console::text;
use llama2_engine::{
    gguf::PartName,
    source::{ByteSource, Joined, ReadError},
    units::Bytes,
};

use crate::failure::{self, Failure};

/// Open regular file.
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Opens `path`, which must be a file.
    pub fn open(path: &Path) -> Result<FileSource, Failure> {
        let about = |error: io::Error| Failure::about(path, explain(&error));
        // Before opening it, because opening a pipe waits for a writer.
        let metadata = std::fs::metadata(path).map_err(about)?;
        if metadata.is_dir() {
            return Err(Failure::about(path, FOLDER));
        }
        if !metadata.is_file() {
            return Err(Failure::about(
                path,
                "is a device or a pipe, not a file; copy its contents to a file first",
            ));
        }
        let file = File::open(path).map_err(about)?;
        let size = file.metadata().map_err(about)?.len();
        Ok(FileSource { file, size })
    }
}

/// Opens a model's file, or all parts of a split model, whichever part is named.
pub fn open_model(path: &Path) -> Result<Box<dyn ByteSource>, Failure> {
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(part) = name.and_then(PartName::of).filter(|part| part.count > 1) else {
        return Ok(Box::new(FileSource::open(path)?));
    };
    let open = |number| {
        let wanted = part.sibling(number);
        let Some(sibling) = beside(path, &wanted, &|name| part.is_sibling(name, number)) else {
            let sibling = path.with_file_name(wanted);
            return Err(Failure::about(
                &sibling,
                format!(
                    "no such file, and {} is one of {} parts of a model; put all of them into one folder",
                    failure::name(path),
                    part.count
                ),
            ));
        };
        FileSource::open(&sibling)
    };
    let parts: Result<Vec<_>, _> = (1..=part.count).map(open).collect();
    Ok(Box::new(Joined::new(parts?)))
}

/// Path of the file `wanted` in the folder of `path`, or else of the first one there accepted by
/// `is`, which compares names ignoring case.
pub fn beside(path: &Path, wanted: &str, is: &dyn Fn(&str) -> bool) -> Option<PathBuf> {
    let exact = path.with_file_name(wanted);
    if exact.exists() {
        return Some(exact);
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name());
    let same = names.filter(|name| name.to_str().is_some_and(is));
    same.min().map(|name| path.with_file_name(name))
}

const FOLDER: &str = "is a folder, not a file; name the file in it";

/// Describes the system's error, with advice.
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file; check the name".into(),
        io::ErrorKind::IsADirectory => FOLDER.into(),
        io::ErrorKind::PermissionDenied => "permission denied; check its permissions".into(),
        _ => error.to_string(),
    }
}

impl ByteSource for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        while done < buf.len() {
            let offset = offset + done as u64;
            let reason = match read_some_at(&mut self.file, &mut buf[done..], offset) {
                Ok(0) => "end of file".into(),
                Ok(count) => {
                    done += count;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error.to_string(),
            };
            return Err(ReadError::new(offset, reason));
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_some_at(file: &mut File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, buf, offset)
}

#[cfg(not(unix))]
fn read_some_at(file: &mut File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::io::{Seek, SeekFrom};
    file.seek(SeekFrom::Start(offset))?;
    file.read(buf)
}

/// Longest prompt read from a file, in bytes: far more than any context holds.
pub const LONGEST_PROMPT: u64 = 16 << 20;

/// Longest text that is measured, in bytes.
const LONGEST_TEXT: u64 = 1 << 30;

/// Reads a prompt from `path`, or from standard input if that is `-`.
pub fn read_prompt(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path, LONGEST_PROMPT, "a prompt")?;
    text::prompt(&bytes).map_err(|what| Failure::about(path, what))
}

/// Reads a text from `path`, or from standard input if that is `-`.
pub fn read_text(path: &Path) -> Result<Vec<u8>, Failure> {
    let bytes = read(path, LONGEST_TEXT, "a text")?;
    text::shown(&bytes).map_err(|what| Failure::about(path, what))
}

/// Reads at most `most` bytes; `what` names the contents in errors.
fn read(path: &Path, most: u64, what: &str) -> Result<Vec<u8>, Failure> {
    let about = |error: io::Error| Failure::about(path, explain(&error));
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        let input = io::stdin().lock();
        input
            .take(most + 1)
            .read_to_end(&mut bytes)
            .map_err(about)?;
    } else {
        let file = File::open(path).map_err(about)?;
        if file.metadata().map_err(about)?.is_dir() {
            return Err(Failure::about(path, FOLDER));
        }
        file.take(most + 1).read_to_end(&mut bytes).map_err(about)?;
    }
    if bytes.len() as u64 > most {
        return Err(Failure::about(
            path,
            format!(
                "is longer than {}, more than {what} can be; is it the right file?",
                Bytes(most)
            ),
        ));
    }
    Ok(bytes)
}

/// Reads a file of at most so many bytes; `None` if there is none.
///
/// # Errors
/// A sentence with its name.
pub fn read_small(path: &Path, most: u64) -> Result<Option<Vec<u8>>, String> {
    let about = |what: String| format!("{}: {what}", path.display());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(about(explain(&error))),
    };
    if !metadata.is_file() {
        return Err(about("is no file".into()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    read.map_err(|error| about(explain(&error)))?;
    if bytes.len() as u64 > most {
        return Err(about(format!(
            "has more than {}, which is the most that is read",
            Bytes(most)
        )));
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The file is shorter than when it was opened: it is still being written.
    #[test]
    fn a_file_that_is_cut_while_it_is_read() {
        let path =
            std::env::temp_dir().join(format!("llama2-file-test-{}.bin", std::process::id()));
        std::fs::write(&path, [7u8; 1000]).unwrap();
        let Ok(mut source) = FileSource::open(&path) else {
            panic!("it can be opened");
        };
        let mut buf = [0u8; 600];
        assert_eq!(source.read_at(400, &mut buf), Ok(()));
        assert_eq!(buf, [7; 600]);
        File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(700))
            .unwrap();
        assert_eq!(source.read_at(100, &mut buf), Ok(()));
        let error = source.read_at(400, &mut buf).unwrap_err();
        assert_eq!((error.offset, &error.reason[..]), (700, "end of file"));
        std::fs::remove_file(&path).unwrap();
    }
}
