//! Lines that were typed at terminals, kept for the next conversation in a file that only its owner
//! reads: in the folder that the XDG Base Directory Specification has for states, on Windows in the
//! local application data.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use llama2_console::history::History;

use crate::file::read_small;
use crate::{
    failure::Failure,
    output::{self, Output, refused},
};

/// A file that has grown larger is cut to what a history holds.
const LARGE: u64 = 512 << 10;
/// A larger one is none of ours.
const LARGEST: u64 = 8 << 20;

pub struct Book {
    path: PathBuf,
}

/// Where it is, if there is a place for it.
fn place() -> Option<PathBuf> {
    let folder = |name: &str| {
        let path = PathBuf::from(env::var_os(name)?);
        // By the specification a relative one is to be ignored.
        path.is_absolute().then_some(path)
    };
    let states = match cfg!(windows) {
        true => folder("LOCALAPPDATA"),
        false => folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state"))),
    };
    Some(states?.join("llama2").join("history"))
}

/// For its owner alone, whatever it was.
fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    let file = options.open(path)?;
    make_private(&file)?;
    Ok(file)
}

fn make_private(_file: &File) -> io::Result<()> {
    #[cfg(unix)]
    _file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    Ok(())
}

impl Book {
    /// The file, which is made if there is none; `None` if it cannot be written. Nobody would want
    /// to be told that.
    pub fn open() -> Option<Book> {
        let path = place()?;
        fs::create_dir_all(path.parent()?).ok()?;
        open(&path, OpenOptions::new().append(true).create(true)).ok()?;
        Some(Book { path })
    }

    /// Adds what is in it.
    pub fn read_into(&self, history: &mut History) {
        let Ok(Some(bytes)) = read_small(&self.path, LARGEST) else {
            return;
        };
        history.add_lines(&String::from_utf8_lossy(&bytes));
        if bytes.len() as u64 > LARGE {
            // Where it cannot be cut it grows on.
            let _ = self.replace(&history.to_lines());
        }
    }

    fn replace(&self, text: &str) -> Result<(), Failure> {
        let refused = |error| refused(&self.path, &error);
        let mut output = Output::new(&self.path)?;
        make_private(&output.file).map_err(refused)?;
        output.file.write_all(text.as_bytes()).map_err(refused)?;
        output::keep(&[output], true)
    }

    /// Adds a line. Of two conversations at once each adds its own.
    pub fn add(&mut self, line: &str) {
        let mut one = History::default();
        one.push(line);
        let file = open(&self.path, OpenOptions::new().append(true).create(true));
        let _ = file.and_then(|mut file| file.write_all(one.to_lines().as_bytes()));
    }
}
