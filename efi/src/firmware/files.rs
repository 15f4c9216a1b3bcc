//! Files on the machine's volumes: found by name ignoring case, read in pieces that real firmware
//! can handle.
//!
//! # Quirks
//! - Some firmware fails on reads of more than 1 MiB, some on buffers above 4 GiB: a failed read is
//!   repeated in pieces of 64 KiB through a buffer below 4 GiB.
//! - EDK2's AHCI driver (OVMF 2022.11, tried with QEMU's blkdebug on q35) reports success for
//!   sectors that the drive failed to read, and leaves the buffer unchanged. Therefore sectors are
//!   marked before they are read, and one that still has its mark was not read. EDK2's FAT driver
//!   reads up to 64 KiB at both ends of a read through its cache, which hides the marks: reads
//!   overlap by as much, and only their middle is used. A second attempt in small pieces would get
//!   what the cache has made of the failure.
//! - Fast boot leaves drives without drivers. File systems on disks that are already connected are
//!   always started: under OVMF that takes 5 ms. Everything else is started only if a named file is
//!   not found, or if the application was not started from a disk: that takes 0.7 s under OVMF with
//!   a network card, and longer on real machines.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::ops::Range;

use llama2_app::model_names::{FOLDERS, ListedFile, normalise};
use llama2_engine::{
    buffer::Buffer,
    source::{ByteSource, ReadError},
    units::Grouped,
};
use uefi::{
    CString16, Handle, Status,
    boot::{self, SearchType},
    data_types::Align,
    proto::{
        device_path::{DevicePath, DeviceSubType, DeviceType},
        media::{
            block::BlockIO,
            file::{
                Directory, File, FileAttribute, FileInfo, FileMode, FileSystemVolumeLabel,
                FileType, RegularFile,
            },
            fs::SimpleFileSystem,
        },
    },
};

use super::{
    clock, memory,
    shell::{self, open, text},
    terminal,
};

/// Largest read requested from the firmware, in bytes.
const PIECE: usize = 1 << 20;
/// Largest read of the second attempt, in bytes.
const SMALL_PIECE: usize = 64 << 10;
/// Bytes at both ends of a read that may come from a cache of the firmware.
const MARGIN: u64 = 64 << 10;
/// Smallest unit that drives read, or a part of it, in bytes.
const SECTOR: usize = 512;
/// Largest number of entries of a folder: a damaged one may be circular.
const MOST_ENTRIES: usize = 10_000;

/// A volume with a file system.
pub struct Volume {
    /// Name for messages.
    pub name: String,
    /// True if the application was started from it.
    pub is_own: bool,
    pub handle: Handle,
    pub root: Directory,
}

/// Volume that the application was started from, if any, followed by all others.
pub struct Volumes {
    pub list: Vec<Volume>,
    all_connected: bool,
}

impl Volumes {
    /// Opens the volumes of all connected disks.
    pub fn new() -> Volumes {
        let mut volumes = Volumes {
            list: Vec::new(),
            all_connected: false,
        };
        connect_disks();
        volumes.look();
        volumes
    }

    /// Returns true if the application was started from a disk, and not over the network or from
    /// the firmware itself.
    ///
    /// # Quirks
    /// iPXE presents what it has fetched as a volume, including a block device; only its device
    /// path shows the difference.
    pub fn started_from_disk(&self) -> bool {
        self.list.iter().any(|volume| {
            let path = open::<DevicePath>(volume.handle);
            let network = path
                .as_ref()
                .and_then(|path| path.get())
                .is_some_and(|path| {
                    path.node_iter().any(|node| {
                        node.full_type()
                            == (DeviceType::MESSAGING, DeviceSubType::MESSAGING_MAC_ADDRESS)
                    })
                });
            volume.is_own && !network
        })
    }

    /// Starts the drivers of all devices. Returns true if there may be new volumes.
    pub fn connect_everything(&mut self) -> bool {
        if self.all_connected {
            return false;
        }
        self.all_connected = true;
        terminal::record("Starting the drivers of all devices");
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

/// Starts partition and file system drivers on the connected disks.
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

/// Result of a search for a name.
pub enum Found {
    File(VolumeFile),
    Folder,
    Nothing,
}

impl Volume {
    /// Opens the volume of this handle; volumes other than our own are named by `number` and label.
    pub fn open(handle: Handle, is_own: bool, number: usize) -> Option<Volume> {
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

    /// Finds a file by its path, ignoring case.
    ///
    /// # Errors
    /// A sentence, if something exists and cannot be opened.
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
            // … or else by listing the folders, for drivers that are case-sensitive.
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
                Ok(Found::File(VolumeFile::new(file, size)))
            }
        }
    }

    /// Finds the path as spelled in the folders.
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

    /// Lists the names in a folder with the sizes of files (`None` for folders), and the reason if
    /// the list may be incomplete.
    pub fn list(&mut self, folder: &str) -> (Vec<(String, Option<u64>)>, Option<Status>) {
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

    /// Lists the files that a model may be chosen from, with a sentence about each folder that
    /// could not be read.
    pub fn entries(&mut self) -> (Vec<ListedFile>, Vec<String>) {
        let (mut entries, mut troubles) = (Vec::new(), Vec::new());
        for folder in FOLDERS {
            let path = match folder.trim_end_matches('\\') {
                "" => "\\",
                path => path,
            };
            let (names, trouble) = self.list(path);
            entries.extend(names.into_iter().filter_map(|(name, size)| {
                Some(ListedFile {
                    folder,
                    name,
                    size: size?,
                })
            }));
            troubles.extend(trouble.filter(|&status| status != Status::NO_MEDIA).map(
                |status| {
                    format!(
                        "the folder {path} on {} cannot be read ({status:?}); continuing without it",
                        self.name
                    )
                },
            ));
        }
        (entries, troubles)
    }
}

/// Open file, read in aligned pieces of [`PIECE`] bytes, for which drivers need no bounce buffers.
pub struct VolumeFile {
    file: RegularFile,
    size: u64,
    /// Position of the firmware in the file, if known.
    position: Option<u64>,
    /// The piece that was read last, its offset in the file, and the part of the file that is taken
    /// from it.
    window: Option<Buffer<u8>>,
    window_at: u64,
    used: Range<u64>,
}

/// Failed read.
enum Trouble {
    /// Reported by the firmware.
    Told(ReadError),
    /// Not reported by the firmware.
    Silent(ReadError),
}

impl VolumeFile {
    fn new(file: RegularFile, size: u64) -> VolumeFile {
        VolumeFile {
            file,
            size,
            position: None,
            window: None,
            window_at: 0,
            used: 0..0,
        }
    }

    /// Reads the whole file, if it is at most `most` bytes long.
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

    /// Moves the window to the piece whose middle contains `offset`, which is within the file.
    fn move_window(&mut self, offset: u64) -> Result<(), ReadError> {
        const STEP: u64 = PIECE as u64 - 2 * MARGIN;
        let start = offset - offset % STEP;
        let at = start.saturating_sub(MARGIN);
        let end = self.size.min(start + STEP + MARGIN);
        let no_memory = |_| ReadError::new(offset, "no memory to read into".into());
        let mut window = match self.window.take() {
            Some(window) => window,
            None => Buffer::zeroed(self.size.min(PIECE as u64) as usize).map_err(no_memory)?,
        };
        self.used = 0..0;
        let piece = &mut window[..(end - at) as usize];
        let read = self.read_piece(at, piece).or_else(|trouble| {
            let (Trouble::Told(error) | Trouble::Silent(error)) = &trouble;
            terminal::record(&format!("{error}; trying again"));
            match trouble {
                Trouble::Told(_) => self.read_carefully(at, piece),
                Trouble::Silent(_) => self.read_piece(at, piece),
            }
        });
        self.window = Some(window);
        read.map_err(|(Trouble::Told(error) | Trouble::Silent(error))| error)?;
        self.window_at = at;
        self.used = start..self.size.min(start + STEP);
        Ok(())
    }

    /// Reads once through the firmware, and checks the result.
    fn read_piece(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Trouble> {
        let told = |status: Status| Trouble::Told(ReadError::new(offset, format!("{status:?}")));
        if self.position != Some(offset) {
            self.file
                .set_position(offset)
                .map_err(|error| told(error.status()))?;
        }
        self.position = None;
        mark(buf);
        let len = self.file.read(buf).map_err(|error| told(error.status()))?;
        if len != buf.len() {
            return Err(Trouble::Told(ReadError::new(
                offset + len as u64,
                "end of file".into(),
            )));
        }
        if let Some(sector) = first_marked(buf) {
            return Err(Trouble::Silent(ReadError::new(
                offset + sector as u64,
                "the firmware reported success, but read nothing".into(),
            )));
        }
        self.position = Some(offset + len as u64);
        Ok(())
    }

    /// Second attempt: small pieces through a buffer below 4 GiB.
    fn read_carefully(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), Trouble> {
        let Some(mut below) = memory::LowBuffer::new(SMALL_PIECE) else {
            return self.read_piece(offset, buf);
        };
        let mut at = offset;
        for piece in buf.chunks_mut(SMALL_PIECE) {
            let below = &mut below[..piece.len()];
            self.read_piece(at, below)?;
            piece.copy_from_slice(below);
            at += piece.len() as u64;
        }
        Ok(())
    }
}

/// Mark of the sector at `index`: eight bytes that a file has there only with a probability of
/// 2^-64.
fn mark_of(index: usize) -> [u8; 8] {
    (index as u64 + 1)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .to_le_bytes()
}

/// Marks each sector of a buffer, so that sectors that were not read can be recognised.
fn mark(buf: &mut [u8]) {
    for (index, sector) in buf.chunks_mut(SECTOR).enumerate() {
        if let Some(start) = sector.first_chunk_mut() {
            *start = mark_of(index);
        }
    }
}

/// Offset of the first sector that still has its mark.
fn first_marked(buf: &[u8]) -> Option<usize> {
    let mut sectors = buf.chunks(SECTOR).enumerate();
    let (index, _) = sectors.find(|(index, sector)| sector.starts_with(&mark_of(*index)))?;
    Some(index * SECTOR)
}

impl ByteSource for VolumeFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut at = offset;
        let mut rest = buf;
        while !rest.is_empty() {
            if at >= self.size {
                return Err(ReadError::new(self.size, "end of file".into()));
            }
            if !self.used.contains(&at) {
                self.move_window(at)?;
            }
            let window = self.window.as_deref().unwrap_or_default();
            let there = (at - self.window_at) as usize..(self.used.end - self.window_at) as usize;
            let there = &window[there];
            let len = there.len().min(rest.len());
            let (now, later) = rest.split_at_mut(len);
            now.copy_from_slice(&there[..len]);
            rest = later;
            at += len as u64;
        }
        Ok(())
    }
}
