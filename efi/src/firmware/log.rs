//! `LLAMA2.LOG`: each stage as it is reached, written to the medium at once. On a laptop that hangs
//! it is the only evidence.

use alloc::{format, string::String};

use uefi::{
    Status, cstr16,
    proto::media::file::{Directory, File, FileAttribute, FileMode, RegularFile},
};

/// Open log file.
pub struct Log(RegularFile);

impl Log {
    /// Opens the log in a volume's root folder for appending; creates it if necessary.
    ///
    /// # Errors
    /// A sentence about the volume.
    pub fn open(root: &mut Directory, name: &str) -> Result<Log, String> {
        let refused = |name: &str, status: Status| {
            format!("LLAMA2.LOG cannot be written on {name} ({status:?}); continuing without it")
        };
        let opened = root.open(
            cstr16!("\\LLAMA2.LOG"),
            FileMode::CreateReadWrite,
            FileAttribute::empty(),
        );
        let handle = opened.map_err(|error| refused(name, error.status()))?;
        let mut file = handle
            .into_regular_file()
            .ok_or_else(|| format!("LLAMA2.LOG on {name} is a folder; continuing without a log"))?;
        file.set_position(RegularFile::END_OF_FILE)
            .map_err(|error| refused(name, error.status()))?;
        Ok(Log(file))
    }

    /// Appends lines and flushes them to the medium. Errors are ignored.
    pub fn write(&mut self, text: &str) {
        self.write_piece(&text.replace('\n', "\r\n"));
    }

    /// Appends a text as it is, without using the heap.
    pub fn write_piece(&mut self, text: &str) {
        let _ = self.0.write(text.as_bytes());
        let _ = self.0.flush();
    }
}
