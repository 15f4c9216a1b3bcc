//! Files on the machine's volumes: found by name whatever its case, read in pieces that real firmware can cope with.
//!
//! # Quirks
//! - Some firmware fails on reads of more than 1 MiB, some on buffers above 4 GiB: a read that fails is tried again in
//!   pieces of 64 KiB through a buffer below.
//! - Fast boot leaves drives without their drivers. File systems on disks that are up already are started always (OVMF:
//!   5 ms); what is switched off altogether only when something that was named is not found, or when we did not come
//!   from a volume: on real machines that takes seconds.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_efi::choose::{Entry, FOLDERS, normalise};
use llama2_engine::{
    source::{ByteSource, ReadError},
    units::Grouped,
};
use uefi::{
    CString16, Handle, Status,
    boot::{self, SearchType},
    data_types::Align,
    proto::media::{
        block::BlockIO,
        file::{
            Directory, File, FileAttribute, FileInfo, FileMode, FileSystemVolumeLabel, FileType,
            RegularFile,
        },
        fs::SimpleFileSystem,
    },
};

use super::{
    clock, memory,
    shell::{self, open, text},
    terminal,
};

/// Largest read that is asked of the firmware.
const PIECE: usize = 1 << 20;
/// Largest read of the second attempt.
const SMALL_PIECE: usize = 64 << 10;
/// Entries of a folder that are looked at: a damaged one may go round in circles.
const MOST_ENTRIES: usize = 10_000;

/// A volume with a file system.
pub struct Volume {
    /// What to call it.
    pub name: String,
    /// Whether the application was started from it.
    pub is_own: bool,
    pub handle: Handle,
    pub root: Directory,
}

/// The volume that the application was started from, if it was one, then all others.
pub struct Volumes {
    pub list: Vec<Volume>,
    all_connected: bool,
}

impl Volumes {
    /// The volumes of all disks that are up.
    pub fn new() -> Volumes {
        let mut volumes = Volumes {
            list: Vec::new(),
            all_connected: false,
        };
        connect_disks();
        volumes.look();
        volumes
    }

    /// Whether the application was started from one of them, and not over the network or from the firmware itself.
    pub fn has_own(&self) -> bool {
        self.list.iter().any(|volume| volume.is_own)
    }

    /// Starts the drivers of everything that is plugged in; says whether there may be new volumes now.
    pub fn connect_everything(&mut self) -> bool {
        if self.all_connected {
            return false;
        }
        self.all_connected = true;
        terminal::record("Starting the drivers of everything that is plugged in");
        let start = clock::milliseconds();
        if let Ok(handles) = boot::locate_handle_buffer(SearchType::AllHandles) {
            for &handle in handles.iter() {
                // Most handles are no controllers and say so.
                let _ = boot::connect_controller(handle, &[], None, true);
            }
        }
        let known = self.list.len();
        self.look();
        terminal::record(&format!(
            "Started in {} ms: {} new volumes",
            clock::milliseconds() - start,
            self.list.len() - known
        ));
        self.list.len() > known
    }

    /// Opens the volumes that are not open yet.
    fn look(&mut self) {
        let own = shell::own_device();
        let mut handles = boot::find_handles::<SimpleFileSystem>().unwrap_or_default();
        handles.retain(|handle| self.list.iter().all(|volume| volume.handle != *handle));
        handles.sort_by_key(|&handle| Some(handle) != own);
        for handle in handles {
            let volume = Volume::open(handle, Some(handle) == own, self.list.len() + 1);
            self.list.extend(volume);
        }
    }
}

/// Starts partition and file system drivers on the disks that firmware has brought up.
fn connect_disks() {
    let start = clock::milliseconds();
    let handles = boot::find_handles::<BlockIO>().unwrap_or_default();
    let count = handles.len();
    for handle in handles {
        // An empty optical drive would be asked for its disc, which takes seconds.
        let disk = open::<BlockIO>(handle);
        let is_there = disk.is_some_and(|disk| {
            disk.get()
                .is_some_and(|disk| disk.media().is_media_present())
        });
        if is_there {
            let _ = boot::connect_controller(handle, &[], None, true);
        }
    }
    terminal::record(&format!(
        "Looked at {count} disks and partitions in {} ms",
        clock::milliseconds() - start
    ));
}

/// What a search for a name found.
pub enum Found {
    File(FileSource),
    Folder,
    Nothing,
}

impl Volume {
    fn open(handle: Handle, is_own: bool, number: usize) -> Option<Volume> {
        let mut root = open::<SimpleFileSystem>(handle)?
            .get_mut()?
            .open_volume()
            .ok()?;
        let label = root.get_boxed_info::<FileSystemVolumeLabel>();
        let label = label.map_or(String::new(), |info| text(info.volume_label()));
        let name = match (is_own, label.trim()) {
            (true, _) => "the boot volume".to_string(),
            (false, "") => format!("volume {number}"),
            (false, label) => format!("volume {number} ({label})"),
        };
        Some(Volume {
            name,
            is_own,
            handle,
            root,
        })
    }

    /// Looks for a file by its path, whatever its case.
    ///
    /// # Errors
    /// A sentence, if something is there and cannot be opened.
    pub fn find(&mut self, path: &str) -> Result<Found, String> {
        let path = normalise(path);
        // By its name or its 8.3 alias, as the file system understands them …
        let direct = CString16::try_from(path.as_str())
            .map_err(|_| Status::NOT_FOUND)
            .and_then(|name| {
                self.root
                    .open(&name, FileMode::Read, FileAttribute::empty())
                    .map_err(|error| error.status())
            });
        let handle = match direct {
            // … else by what the folders list, for drivers that mind the case.
            Err(Status::NOT_FOUND) => match self.search(&path) {
                Some(name) => self
                    .root
                    .open(&name, FileMode::Read, FileAttribute::empty())
                    .map_err(|error| error.status()),
                None => return Ok(Found::Nothing),
            },
            direct => direct,
        };
        let describe = |status: Status| {
            format!(
                "{path} on {} cannot be opened ({status:?}); check the medium, or copy the file again",
                self.name
            )
        };
        let kind = match handle.map(|handle| handle.into_type()) {
            // An empty drive has no files.
            Err(Status::NO_MEDIA | Status::MEDIA_CHANGED) => return Ok(Found::Nothing),
            Err(status) => return Err(describe(status)),
            Ok(kind) => kind.map_err(|error| describe(error.status()))?,
        };
        match kind {
            FileType::Dir(_) => Ok(Found::Folder),
            FileType::Regular(mut file) => {
                let size = file
                    .get_boxed_info::<FileInfo>()
                    .map_err(|error| describe(error.status()))?
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
            let names = self.list(if found.is_empty() { "\\" } else { &found }).0;
            let name = names
                .into_iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(part))?
                .0;
            found = format!("{found}\\{name}");
        }
        CString16::try_from(found.as_str()).ok()
    }

    /// Names in a folder, with the sizes of files (`None`: a folder), and why there may be more than these.
    fn list(&mut self, folder: &str) -> (Vec<(String, Option<u64>)>, Option<Status>) {
        let mut names = Vec::new();
        let Ok(path) = CString16::try_from(folder) else {
            return (names, None);
        };
        let opened = self
            .root
            .open(&path, FileMode::Read, FileAttribute::empty())
            .map(|handle| handle.into_directory());
        let mut folder = match opened {
            Ok(Some(folder)) => folder,
            Ok(None) => return (names, None),
            Err(error) if error.status() == Status::NOT_FOUND => return (names, None),
            Err(error) => return (names, Some(error.status())),
        };
        let mut buffer = [0; 4096];
        let Some(buffer) = FileInfo::align_buf(&mut buffer) else {
            return (names, None);
        };
        while names.len() < MOST_ENTRIES {
            match folder.read_entry(buffer) {
                Ok(Some(info)) => {
                    let size = (!info.is_directory()).then(|| info.file_size());
                    names.push((text(info.file_name()), size));
                }
                Ok(None) => break,
                Err(error) => return (names, Some(error.status())),
            }
        }
        (names, None)
    }

    /// The files that a model may be chosen from, and a sentence about each folder that could not be read.
    pub fn entries(&mut self) -> (Vec<Entry>, Vec<String>) {
        let (mut entries, mut troubles) = (Vec::new(), Vec::new());
        for folder in FOLDERS {
            let path = match folder.trim_end_matches('\\') {
                "" => "\\",
                path => path,
            };
            let (names, trouble) = self.list(path);
            entries.extend(names.into_iter().filter_map(|(name, size)| {
                Some(Entry {
                    folder,
                    name,
                    size: size?,
                })
            }));
            troubles.extend(trouble.filter(|&status| status != Status::NO_MEDIA).map(
                |status| {
                    format!(
                        "the folder {path} on {} cannot be read ({status:?}); going on without it",
                        self.name
                    )
                },
            ));
        }
        (entries, troubles)
    }
}

/// An open file.
pub struct FileSource {
    file: RegularFile,
    size: u64,
    /// Where the firmware stands in it, if that is known.
    position: Option<u64>,
    /// The buffer of the second attempt, once there was one.
    below: Option<memory::Below>,
}

impl FileSource {
    /// Reads the whole file, which is at most `most` bytes long.
    ///
    /// # Errors
    /// A sentence.
    pub fn read_all(&mut self, most: u64) -> Result<Vec<u8>, String> {
        if self.size > most {
            return Err(format!(
                "has {} bytes, but may have {} at most; is it the right file?",
                Grouped(self.size),
                Grouped(most)
            ));
        }
        let mut bytes = alloc::vec![0; self.size as usize];
        self.read_at(0, &mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// One read of the firmware, checked.
    fn read_piece(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        if self.position != Some(offset) {
            self.file
                .set_position(offset)
                .map_err(|error| failed(offset, error.status()))?;
        }
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
            .or_else(|| memory::Below::new(SMALL_PIECE));
        let Some(mut below) = below else {
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
            if let Err(error) = self.read_piece(at, piece) {
                terminal::record(&format!("{error}; trying again in small pieces"));
                self.read_carefully(at, piece)?;
            }
            at += piece.len() as u64;
        }
        Ok(())
    }
}
