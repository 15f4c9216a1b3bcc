//! `LLAMA2.LOG`: each stage as it is reached, written through at once. On a laptop that hangs it is the only witness.

use uefi::{
    cstr16,
    proto::media::file::{File, FileAttribute, FileMode, RegularFile},
};

use crate::files::Volume;

/// An open log.
pub struct Log(RegularFile);

impl Log {
    /// Opens the log on a volume for appending, and makes it if it is not there.
    ///
    /// # Errors
    /// A sentence about the volume.
    pub fn open(volume: &mut Volume) -> Result<Log, alloc::string::String> {
        let refused = |status: uefi::Status| {
            alloc::format!(
                "LLAMA2.LOG cannot be written on {}: {status:?}",
                volume.name
            )
        };
        let handle = volume
            .root
            .open(
                cstr16!("\\LLAMA2.LOG"),
                FileMode::CreateReadWrite,
                FileAttribute::empty(),
            )
            .map_err(|error| refused(error.status()))?;
        let mut file = handle
            .into_regular_file()
            .ok_or_else(|| refused(uefi::Status::ACCESS_DENIED))?;
        file.set_position(RegularFile::END_OF_FILE)
            .map_err(|error| refused(error.status()))?;
        Ok(Log(file))
    }

    /// Appends text and sees to it that it reaches the medium. A volume that fails now is not worth stopping for.
    pub fn write(&mut self, text: &str) {
        for line in text.split_inclusive('\n') {
            let _ = self.0.write(line.trim_end_matches('\n').as_bytes());
            if line.ends_with('\n') {
                let _ = self.0.write(b"\r\n");
            }
        }
        let _ = self.0.flush();
    }
}
