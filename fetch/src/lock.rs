//! `models.lock`: where each file of a folder came from, and the digest that it had.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use toml::{Table, Value};

use crate::{digest::Stated, error::Error};

/// Name of the file.
pub(crate) const NAME: &str = "models.lock";

const HEAD: &str = "\
# The files of this folder that were fetched: their origins, and the digests that they had. A file
# that is another one at its origin now is refused until its entry here is removed.

";

/// Entry: a file's origin, and what it was.
#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    pub origin: String,
    pub stated: Stated,
}

pub(crate) struct Lock {
    path: PathBuf,
    table: Table,
}

impl Lock {
    /// Reads the lock of a folder; without one it is empty.
    pub fn read(folder: &Path) -> Result<Lock, Error> {
        let path = folder.join(NAME);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::file(&path, &error)),
        };
        match text.parse::<Table>() {
            Ok(table) => Ok(Lock { path, table }),
            Err(error) => Err(Error::Failed(format!(
                "{}: {}; mend or remove it",
                path.display(),
                error.message()
            ))),
        }
    }

    /// Entry of a file.
    pub fn entry(&self, name: &str) -> Option<Entry> {
        let entry = self.table.get(name)?;
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let size = entry.get("size").and_then(Value::as_integer);
        Some(Entry {
            origin: text("origin").unwrap_or_default().into(),
            stated: Stated {
                sha256: text("sha256").and_then(|sum| sum.parse().ok()),
                size: size.and_then(|size| size.try_into().ok()),
            },
        })
    }

    /// Adds or replaces the entry of a file, and writes the lock.
    pub fn set(&mut self, name: &str, entry: &Entry) -> Result<(), Error> {
        // Another process may have added its own.
        self.table = Lock::read(self.path.parent().unwrap_or(Path::new("")))?.table;
        let mut row = Table::new();
        row.insert("origin".into(), entry.origin.as_str().into());
        if let Some(sum) = entry.stated.sha256 {
            row.insert("sha256".into(), sum.to_string().into());
        }
        if let Some(size) = entry.stated.size.and_then(|size| i64::try_from(size).ok()) {
            row.insert("size".into(), size.into());
        }
        self.table.insert(name.into(), row.into());
        let part = self.path.with_extension("lock.part");
        let written = fs::write(&part, format!("{HEAD}{}", self.table));
        let written = written.and_then(|()| fs::rename(&part, &self.path));
        written.map_err(|error| Error::file(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sum;

    #[test]
    fn entries_are_kept_and_others_stay() {
        let folder = std::env::temp_dir().join(format!("llama2-lock-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let entry = |number: u8| Entry {
            origin: format!("hf:a/b/{number}\"\n"),
            stated: Stated {
                sha256: Some(Sum([number; 32])),
                size: Some(u64::from(number)),
            },
        };
        let mut one = Lock::read(&folder).unwrap();
        let mut other = Lock::read(&folder).unwrap();
        one.set("m-Q4.gguf", &entry(1)).unwrap();
        other.set("n.bin", &entry(2)).unwrap();
        let lock = Lock::read(&folder).unwrap();
        assert_eq!(lock.entry("m-Q4.gguf"), Some(entry(1)));
        assert_eq!(lock.entry("n.bin"), Some(entry(2)));
        assert_eq!(lock.entry("o"), None);
        fs::write(folder.join(NAME), "[half").unwrap();
        let said = Lock::read(&folder).err().unwrap().to_string();
        assert!(
            said.contains(NAME) && said.ends_with("mend or remove it"),
            "{said}"
        );
    }
}
