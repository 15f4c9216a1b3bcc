//! Files on the machine's volumes: found by name whatever its case, read in pieces that real firmware can cope with.
//!
//! # Quirks
//! - Some firmware fails on reads of more than 1 MiB, some on buffers above 4 GiB: a read that fails is tried again in
//!   pieces of 64 KiB through a buffer below.
//! - Fast boot leaves drives without their drivers: [`connect_everything`] starts them.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_efi::choose::{Entry, FOLDERS, normalise};
use llama2_engine::source::{ByteSource, ReadError};
use uefi::{
    CString16, Handle, Status,
    boot::{self, OpenProtocolAttributes, OpenProtocolParams, SearchType},
    proto::{
        loaded_image::LoadedImage,
        media::{
            file::{
                Directory, File, FileAttribute, FileInfo, FileMode, FileSystemVolumeLabel,
                FileType, RegularFile,
            },
            fs::SimpleFileSystem,
        },
    },
};

use crate::memory;

/// Largest read that is asked of the firmware.
const PIECE: usize = 1 << 20;
/// Largest read of the second attempt.
const SMALL_PIECE: usize = 64 << 10;

/// A volume with a file system.
pub struct Volume {
    /// What to call it.
    pub name: String,
    pub root: Directory,
}

/// The volume that the application was started from, if it was one, then all others.
pub fn volumes() -> Vec<Volume> {
    let own = own_device();
    let mut handles = boot::find_handles::<SimpleFileSystem>().unwrap_or_default();
    handles.sort_by_key(|&handle| Some(handle) != own);
    let open = |(index, handle): (usize, &Handle)| {
        // Safety: the file system stays where it is: nothing here disconnects drivers from it, and its use is the
        // specification's ordinary one. Exclusively, as would be safe, it is not to be had from under the Shell.
        let mut fs = unsafe {
            boot::open_protocol::<SimpleFileSystem>(
                OpenProtocolParams {
                    handle: *handle,
                    agent: boot::image_handle(),
                    controller: None,
                },
                OpenProtocolAttributes::GetProtocol,
            )
        }
        .ok()?;
        let mut root = fs.get_mut()?.open_volume().ok()?;
        let label = root
            .get_boxed_info::<FileSystemVolumeLabel>()
            .map(|info| info.volume_label().to_string());
        let label = label.ok().filter(|label| !label.trim().is_empty());
        let name = match (Some(*handle) == own, label) {
            (true, _) => "the boot volume".to_string(),
            (false, Some(label)) => format!("volume {} ({})", index + 1, label.trim()),
            (false, None) => format!("volume {}", index + 1),
        };
        Some(Volume { name, root })
    };
    handles.iter().enumerate().filter_map(open).collect()
}

fn own_device() -> Option<Handle> {
    // Safety: the image's own description; it is only read.
    let image = unsafe {
        boot::open_protocol::<LoadedImage>(
            OpenProtocolParams {
                handle: boot::image_handle(),
                agent: boot::image_handle(),
                controller: None,
            },
            OpenProtocolAttributes::GetProtocol,
        )
    };
    image.ok()?.get()?.device()
}

/// Starts the drivers of everything that is plugged in.
pub fn connect_everything() {
    let Ok(handles) = boot::locate_handle_buffer(SearchType::AllHandles) else {
        return;
    };
    for &handle in handles.iter() {
        // Most handles are no controllers and say so.
        let _ = boot::connect_controller(handle, &[], None, true);
    }
}

/// What a search for a name found.
pub enum Found {
    File(FileSource),
    Folder,
    Nothing,
}

impl Volume {
    /// Looks for a file by its path, whatever its case.
    ///
    /// # Errors
    /// A sentence, if something is there and cannot be opened.
    pub fn find(&mut self, path: &str) -> Result<Found, String> {
        let path = normalise(path);
        let name = self.name.clone();
        let refused = |status: Status| format!("{path} on {name} cannot be opened: {status:?}");
        // By its name or its 8.3 alias, as the file system understands them …
        let direct = CString16::try_from(path.as_str())
            .map_err(|_| Status::NOT_FOUND)
            .and_then(|name| {
                self.root
                    .open(&name, FileMode::Read, FileAttribute::empty())
                    .map_err(|error| error.status())
            });
        let handle = match direct {
            Ok(handle) => handle,
            // … else by what the folders list, for drivers that mind the case.
            Err(Status::NOT_FOUND) => match self.search(&path) {
                Some(name) => self
                    .root
                    .open(&name, FileMode::Read, FileAttribute::empty())
                    .map_err(|e| refused(e.status()))?,
                None => return Ok(Found::Nothing),
            },
            Err(status) => return Err(refused(status)),
        };
        match handle
            .into_type()
            .map_err(|error| refused(error.status()))?
        {
            FileType::Dir(_) => Ok(Found::Folder),
            FileType::Regular(mut file) => {
                let size = file
                    .get_boxed_info::<FileInfo>()
                    .map_err(|error| refused(error.status()))?
                    .file_size();
                Ok(Found::File(FileSource {
                    file,
                    size,
                    position: None,
                    below: None,
                }))
            }
        }
    }

    /// The path as the folders spell it.
    fn search(&mut self, path: &str) -> Option<CString16> {
        let mut found = String::new();
        for part in path.split('\\').filter(|part| !part.is_empty()) {
            let names = self.list(if found.is_empty() { "\\" } else { &found });
            let name = names
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(part))?
                .0;
            found = format!("{found}\\{name}");
        }
        CString16::try_from(found.as_str()).ok()
    }

    /// Names in a folder, with the sizes of files (`None`: a folder). Nothing if it cannot be read.
    fn list(&mut self, folder: &str) -> Vec<(String, Option<u64>)> {
        let open = CString16::try_from(folder)
            .ok()
            .and_then(|name| {
                self.root
                    .open(&name, FileMode::Read, FileAttribute::empty())
                    .ok()
            })
            .and_then(|handle| handle.into_directory());
        let Some(mut folder) = open else {
            return Vec::new();
        };
        let mut names = Vec::new();
        // A damaged folder may go round in circles.
        while names.len() < 10_000 {
            let Ok(Some(info)) = folder.read_entry_boxed() else {
                break;
            };
            let size = if info.is_directory() {
                None
            } else {
                Some(info.file_size())
            };
            names.push((info.file_name().to_string(), size));
        }
        names
    }

    /// The files that a model may be chosen from.
    pub fn entries(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for folder in FOLDERS {
            let names = self.list(if folder == "\\" {
                folder
            } else {
                folder.trim_end_matches('\\')
            });
            entries.extend(names.into_iter().filter_map(|(name, size)| {
                Some(Entry {
                    folder,
                    name,
                    size: size?,
                })
            }));
        }
        entries
    }
}

/// An open file.
pub struct FileSource {
    file: RegularFile,
    size: u64,
    /// Where the firmware stands in it, if that is known.
    position: Option<u64>,
    /// The buffer of the second attempt, once there was one.
    below: Option<&'static mut [u8]>,
}

impl FileSource {
    /// Reads the whole file, which is at most `most` bytes long.
    ///
    /// # Errors
    /// A sentence.
    pub fn read_all(&mut self, most: u64) -> Result<Vec<u8>, String> {
        if self.size > most {
            return Err(format!(
                "has {} bytes, more than the {most} that it may have",
                self.size
            ));
        }
        let mut bytes = alloc::vec![0; self.size as usize];
        self.read_at(0, &mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn seek(&mut self, offset: u64) -> Result<(), ReadError> {
        if self.position != Some(offset) {
            self.file
                .set_position(offset)
                .map_err(|error| failed(offset, error.status()))?;
            self.position = Some(offset);
        }
        Ok(())
    }

    /// One read of the firmware, checked.
    fn read_piece(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        self.seek(offset)?;
        self.position = None;
        match self.file.read(buf) {
            Ok(len) if len == buf.len() => {
                self.position = Some(offset + len as u64);
                Ok(())
            }
            Ok(len) => Err(ReadError {
                offset: offset + len as u64,
                reason: "end of file".into(),
            }),
            Err(error) => Err(failed(offset, error.status())),
        }
    }

    /// The second attempt: small pieces through a buffer below 4 GiB.
    fn read_carefully(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let below = self
            .below
            .take()
            .or_else(|| memory::below_4_gib(SMALL_PIECE));
        let Some(below) = below else {
            return self.read_piece(offset, buf);
        };
        let mut read = Ok(());
        let mut at = offset;
        for piece in buf.chunks_mut(SMALL_PIECE) {
            read = self.read_piece(at, &mut below[..piece.len()]);
            if read.is_err() {
                break;
            }
            piece.copy_from_slice(&below[..piece.len()]);
            at += piece.len() as u64;
        }
        self.below = Some(below);
        read
    }
}

fn failed(offset: u64, status: Status) -> ReadError {
    ReadError {
        offset,
        reason: format!("{status:?}"),
    }
}

impl ByteSource for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut at = offset;
        for piece in buf.chunks_mut(PIECE) {
            if self.read_piece(at, piece).is_err() {
                self.read_carefully(at, piece)?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }
}
