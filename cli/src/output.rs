//! New files that people wait for: under another name until they are whole, with a progress bar.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use indicatif::{ProgressBar, ProgressStyle};
use llama2_console::terminal::plain;

/// A bar for `bytes` that are written.
pub fn bar(path: &Path, bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes).with_message(plain(&format!("writing {}", path.display())));
    let style = ProgressStyle::with_template(
        "{msg} [{bar:20}] {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}, {eta} left",
    );
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// A file under a name of its own until it is whole.
pub struct Output {
    pub file: File,
    path: PathBuf,
}

impl Output {
    pub fn new(wanted: &Path) -> io::Result<Output> {
        let mut name = wanted.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let path = wanted.with_file_name(name);
        Ok(Output {
            file: File::create_new(&path)?,
            path,
        })
    }

    /// Gives it its name, and says how long it is.
    pub fn keep(self, wanted: &Path) -> io::Result<u64> {
        self.file.sync_all()?;
        let size = self.file.metadata()?.len();
        fs::rename(&self.path, wanted)?;
        Ok(size)
    }
}

impl Drop for Output {
    /// What was not kept goes. After a rename there is nothing under this name.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
