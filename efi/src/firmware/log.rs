//! `LLAMA2.LOG`: each stage as it is reached, written through at once. On a laptop that hangs it is
//! the only witness.

use alloc::{format, string::String};

use uefi::{
    Status, cstr16,
    proto::media::file::{Directory, File, FileAttribute, FileMode, RegularFile},
};

/// An open log.
pub struct Log(RegularFile);

impl Log {
    /// Opens the log in a volume's root for appending, and makes it if it is not there.
    ///
    /// # Errors
    /// A sentence about the volume.
    pub fn open(root: &mut Directory, name: &str) -> Result<Log, String> {
        let refused = |name: &str, status: Status| {
            format!("LLAMA2.LOG cannot be written on {name} ({status:?}); going on without it")
        };
        let opened = root.open(
            cstr16!("\\LLAMA2.LOG"),
            FileMode::CreateReadWrite,
            FileAttribute::empty(),
        );
        let handle = opened.map_err(|error| refused(name, error.status()))?;
        let mut file = handle
            .into_regular_file()
            .ok_or_else(|| format!("LLAMA2.LOG on {name} is a folder; going on without a log"))?;
        file.set_position(RegularFile::END_OF_FILE)
            .map_err(|error| refused(name, error.status()))?;
        Ok(Log(file))
    }

    /// Appends lines and sees to it that they reach the medium. A volume that fails now is not
    /// worth stopping for.
    pub fn write(&mut self, text: &str) {
        self.write_piece(&text.replace('\n', "\r\n"));
    }

    /// Appends a piece of text as it is, without the heap.
    pub fn write_piece(&mut self, text: &str) {
        let _ = self.0.write(text.as_bytes());
        let _ = self.0.flush();
    }
}
