//! A file that is not complete: it has a temporary name until its digest is right.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    digest::{self, Stated, Sum},
    error::Error,
};

/// Digits of the digest in a temporary name: what is left of one version of a file is never
/// continued with another.
const DIGITS: usize = 12;

pub(crate) struct Part {
    file: File,
    path: PathBuf,
    /// Final name.
    wanted: PathBuf,
    stated: Stated,
    hash: Sha256,
    len: u64,
}

impl Part {
    /// Opens the temporary file of `wanted`. What an earlier attempt left is kept, unless it cannot
    /// be checked at the end because no digest is stated.
    pub fn open(wanted: &Path, stated: Stated) -> Result<Part, Error> {
        let mut name = wanted.file_name().unwrap_or_default().to_owned();
        if let Some(sum) = stated.sha256 {
            name.push(format!(".{}", &sum.to_string()[..DIGITS]));
        }
        name.push(".part");
        let path = wanted.with_file_name(name);
        let failed = |error| Error::file(&path, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(failed)?;
        // On file systems without locks nobody is noticed. Whoever held the lock may have renamed
        // the file since it was opened.
        let is_locked = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if is_locked || !path.exists() {
            return Err(Error::Failed(format!(
                "{}: another process is fetching it; try again when it is done",
                wanted.display()
            )));
        }
        let mut part = Part {
            file,
            path,
            wanted: wanted.into(),
            stated,
            hash: Sha256::new(),
            len: 0,
        };
        if stated.sha256.is_some() {
            let read = digest::read_into(&part.file, &mut part.hash);
            part.len = read.map_err(|error| part.failed(&error))?;
        }
        // More than all of it cannot be continued.
        if stated.sha256.is_none() || stated.size.is_some_and(|size| part.len > size) {
            part.restart()?;
        }
        Ok(part)
    }

    /// Bytes that are there.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Drops what is there.
    pub fn restart(&mut self) -> Result<(), Error> {
        let emptied = self.file.set_len(0);
        let emptied = emptied.and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|error| self.failed(&error))?;
        self.hash = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Adds bytes; refuses more than the stated size.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let len = self.len + bytes.len() as u64;
        if let Some(size) = self.stated.size.filter(|size| len > *size) {
            let _ = fs::remove_file(&self.path);
            return Err(self.wrong(&format!("has more than {size} bytes")));
        }
        let written = self.file.write_all(bytes);
        written.map_err(|error| self.failed(&error))?;
        self.hash.update(bytes);
        self.len = len;
        Ok(())
    }

    /// Leaves it to be gone on with, unless it never will be: then it is deleted.
    #[cfg(any(feature = "network", test))]
    pub fn leave(&self) {
        if self.len == 0 || self.stated.sha256.is_none() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Gives the file its name, if it is what was stated; otherwise deletes it.
    pub fn finish(self) -> Result<Stated, Error> {
        let found = Stated {
            sha256: Some(Sum(self.hash.clone().finalize().into())),
            size: Some(self.len),
        };
        if let Err((stated, found)) = self.stated.and(found) {
            let _ = fs::remove_file(&self.path);
            return Err(self.wrong(&format!("has {found}, not {stated}")));
        }
        // The name must not come to the disk before the bytes.
        let synced = self.file.sync_all();
        synced.map_err(|error| self.failed(&error))?;
        let renamed = fs::rename(&self.path, &self.wanted);
        renamed.map_err(|error| self.failed(&error))?;
        Ok(found)
    }

    fn failed(&self, error: &io::Error) -> Error {
        Error::file(&self.wanted, error)
    }

    fn wrong(&self, what: &str) -> Error {
        let name = self.wanted.display();
        Error::Failed(format!("{name}: what came {what}; it was not kept"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("llama2-part-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn of(bytes: &[u8]) -> Stated {
        Stated {
            sha256: Some(Sum(Sha256::digest(bytes).into())),
            size: Some(bytes.len() as u64),
        }
    }

    #[test]
    fn a_part_goes_on_where_it_was_left_and_is_named_when_it_is_right() {
        let wanted = folder("goes-on").join("m.gguf");
        let stated = of(b"0123456789");
        let mut part = Part::open(&wanted, stated).unwrap();
        part.write(b"0123").unwrap();
        // Only one may write it.
        let other = Part::open(&wanted, stated).err().unwrap();
        assert!(other.to_string().contains("another process"), "{other}");
        drop(part);
        assert!(!wanted.exists());
        let mut part = Part::open(&wanted, stated).unwrap();
        assert_eq!(part.len(), 4);
        part.write(b"456789").unwrap();
        assert_eq!(part.finish(), Ok(stated));
        assert_eq!(fs::read(&wanted).unwrap(), b"0123456789");
        assert_eq!(fs::read_dir(wanted.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_wrong_or_too_long_is_deleted() {
        let folder = folder("wrong");
        let stated = of(b"0123456789");
        let mut part = Part::open(&folder.join("m"), stated).unwrap();
        part.write(b"012345678x").unwrap();
        let said = part.finish().unwrap_err().to_string();
        assert!(said.contains(&stated.sha256.unwrap().to_string()), "{said}");
        assert!(said.contains(&of(b"012345678x").sha256.unwrap().to_string()));
        let mut part = Part::open(&folder.join("m"), stated).unwrap();
        let said = part.write(b"0123456789a").unwrap_err().to_string();
        assert!(said.contains("more than 10 bytes"), "{said}");
        drop(part);
        // So is what nobody could go on with: nothing, or what has no digest.
        for (stated, bytes, left) in [
            (stated, &b""[..], 0),
            (Stated::default(), b"0123", 0),
            (stated, b"0123", 1),
        ] {
            let mut part = Part::open(&folder.join("m"), stated).unwrap();
            part.write(bytes).unwrap();
            part.leave();
            drop(part);
            assert_eq!(fs::read_dir(&folder).unwrap().count(), left, "{bytes:?}");
        }
    }

    #[test]
    fn another_version_is_not_continued() {
        let wanted = folder("version").join("m");
        let mut part = Part::open(&wanted, of(b"0123456789")).unwrap();
        part.write(b"0123").unwrap();
        drop(part);
        assert_eq!(Part::open(&wanted, of(b"other")).unwrap().len(), 0);
        // Without a digest nothing could tell whether the rest fits.
        fs::write(wanted.with_file_name("m.part"), "left").unwrap();
        assert_eq!(Part::open(&wanted, Stated::default()).unwrap().len(), 0);
    }
}
