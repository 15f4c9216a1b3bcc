//! Files that are written: conversations and `LLAMA2.CFG`, completely or not at all.
//!
//! They are in a volume's root folder, where `LLAMA2.CFG` and the models are searched for and where
//! users look first; no folder has to be created. The volume is the one that the application was
//! started from if it is writable, or else the first one that is. Reading tries the volumes in the
//! same order, so that it finds what was written last.
//!
//! A file is written under a temporary name that ends in `.TMP` (an old one is overwritten), read
//! back, and only then replaces the old one. If the firmware refuses to rename, it is written once
//! more under its own name, and the `.TMP` file stays until that is complete: if the medium fails
//! meanwhile, the text is in the `.TMP` file, and the error says so.
//!
//! Volumes are looked up at each call, since drives may come and go during a session.
//!
//! # Quirks
//! Behaviour of EDK2's FAT driver (OVMF 2022.11 under QEMU):
//! - A full volume refuses a write that does not fit with VOLUME_FULL and keeps what it has written
//!   of it; once the temporary file is deleted, as many bytes are free as before.
//! - A read-only drive (virtio, `readonly=on`) is reported in the volume's information, and by
//!   WRITE_PROTECTED when a file is created.
//! - A drive that is unplugged (USB) takes its volume with it: the handle is gone. OVMF's virtio
//!   driver waits forever for one that is gone, but virtio drives are not unplugged.
//! - A failing write (QEMU's blkdebug) is DEVICE_ERROR, and from then on the volume cannot be
//!   opened at all.
//! - Reading back may be served from a cache: it finds errors of drivers, not of the medium.

use alloc::{format, string::String, vec::Vec};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use llama2_console::filename;
use llama2_efi::file_error::FileError;
use uefi::{
    CString16, Status, boot,
    proto::media::{
        file::{File, FileAttribute, FileInfo, FileMode, FileSystemInfo, FileType, RegularFile},
        fs::SimpleFileSystem,
    },
};

use super::{
    files::{Found, Volume},
    shell,
};

/// True if renaming is refused, for tests.
static RENAMES_NOT: AtomicBool = AtomicBool::new(false);

/// Bytes passed to the firmware at a time.
const PIECE: usize = 64 << 10;

/// Volume, and whether it reports to be read-only.
struct Place {
    volume: Volume,
    read_only: bool,
}

/// Volumes in order of preference: writable ones first, and among equals our own first.
fn places() -> Vec<Place> {
    let own = shell::own_device();
    let mut handles = boot::find_handles::<SimpleFileSystem>().unwrap_or_default();
    handles.sort_by_key(|&handle| Some(handle) != own);
    let mut places: Vec<Place> = handles
        .into_iter()
        .enumerate()
        .filter_map(|(index, handle)| {
            let mut volume = Volume::open(handle, Some(handle) == own, index + 1)?;
            let read_only = info(&mut volume).is_some_and(|info| info.0);
            Some(Place { volume, read_only })
        })
        .collect();
    places.sort_by_key(|place| place.read_only);
    places
}

/// Error if no volume could be opened.
fn none() -> FileError {
    match boot::find_handles::<SimpleFileSystem>() {
        Ok(handles) if !handles.is_empty() => FileError::Gone("its volume cannot be opened".into()),
        _ => FileError::NoVolume,
    }
}

/// Read-only flag of a volume, and its free bytes.
fn info(volume: &mut Volume) -> Option<(bool, u64)> {
    let info = volume.root.get_boxed_info::<FileSystemInfo>().ok()?;
    Some((info.read_only(), info.free_space()))
}

/// Refuses renaming from now on, as some firmware does; for tests.
pub fn refuse_renames() {
    RENAMES_NOT.store(true, Relaxed);
}

/// Names of all conversations, sorted.
///
/// # Errors
/// A sentence, if there is no volume, or none can be read.
pub fn list() -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    let mut places = places();
    let mut trouble = Some(none());
    let mut read = false;
    for place in &mut places {
        let (entries, failed) = place.volume.list("\\");
        match failed {
            Some(status) if entries.is_empty() => trouble = Some(of(status)),
            _ => read = true,
        }
        for (name, size) in entries {
            let known = names.iter().any(|known| filename::is_same(known, &name));
            if size.is_some() && filename::is_conversation(&name) && !known {
                names.push(name);
            }
        }
    }
    match trouble.filter(|_| !read) {
        Some(trouble) => Err(format!("conversations cannot be listed: {trouble}")),
        None => {
            names.sort_by_key(|name| name.to_lowercase());
            Ok(names)
        }
    }
}

/// Returns true if there is a file or a folder of this name.
pub fn exists(name: &str) -> bool {
    places().iter_mut().any(|place| {
        // A file that cannot be opened exists, and must not be overwritten.
        !matches!(place.volume.find(name), Ok(Found::Nothing))
    })
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// A sentence about the file.
pub fn read(name: &str, most: u64) -> Result<Vec<u8>, String> {
    let about = |volume: &str, trouble: &dyn core::fmt::Display| {
        format!("{name} cannot be read from {volume}: {trouble}")
    };
    let mut places = places();
    for Place { volume, .. } in &mut places {
        match volume.find(name)? {
            Found::Nothing => (),
            Found::Folder => return Err(about(&volume.name, &FileError::Folder)),
            Found::File(mut file) => {
                let volume = &volume.name;
                return file.read_all(most).map_err(|error| about(volume, &error));
            }
        }
    }
    let trouble = match places.as_slice() {
        [] => none(),
        _ => FileError::Missing,
    };
    Err(format!("{name} cannot be read: {trouble}"))
}

/// Writes a file, replacing one of the same name, and returns the name of its volume. The caller
/// has asked the user whether a file may be overwritten.
///
/// # Errors
/// A sentence with the reason. The volume is then unchanged, unless the sentence says otherwise.
pub fn write(name: &str, bytes: &[u8]) -> Result<String, String> {
    let mut first = None;
    for Place { mut volume, .. } in places() {
        match replace(&mut volume, name, bytes) {
            Ok(()) => return Ok(volume.name),
            // A volume that cannot be written, whether it said so or not: another one may be.
            Err(trouble @ FileError::WriteProtected) => {
                first.get_or_insert((volume.name, trouble));
            }
            Err(trouble) => {
                first = Some((volume.name, trouble));
                break;
            }
        }
    }
    Err(match first {
        Some((volume, trouble)) => format!("{name} cannot be written on {volume}: {trouble}"),
        None => format!("{name} cannot be written: {}", none()),
    })
}

/// Converts a status of the firmware.
fn of(status: Status) -> FileError {
    let word = format!("{status:?}");
    match status {
        Status::WRITE_PROTECTED => FileError::WriteProtected,
        Status::ACCESS_DENIED => FileError::Marked,
        Status::NOT_FOUND => FileError::Missing,
        Status::NO_MEDIA | Status::MEDIA_CHANGED | Status::DEVICE_ERROR | Status::TIMEOUT => {
            FileError::Gone(word)
        }
        _ => FileError::Other(word),
    }
}

/// Writes a file on this volume, replacing an old one.
fn replace(volume: &mut Volume, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = filename::temporary(name);
    let old = open(volume, name, FileMode::Read)?;
    if let Some(mut old) = old {
        let info = old.get_boxed_info::<FileInfo>();
        let marked = |info: &FileInfo| info.attribute().contains(FileAttribute::READ_ONLY);
        if info.is_ok_and(|info| marked(&info)) {
            return Err(FileError::Marked);
        }
    }
    if let Some(left) = open(volume, &temporary, FileMode::ReadWrite)? {
        left.delete().map_err(|error| of(error.status()))?;
    }
    let free = info(volume).map_or(0, |info| info.1);
    let full = |status: Status| match status {
        Status::VOLUME_FULL => FileError::Full(bytes.len() as u64, free),
        status => of(status),
    };
    let mut file = open(volume, &temporary, FileMode::CreateReadWrite)
        .map_err(|trouble| match trouble {
            // The folder has no room for a name.
            FileError::Other(word) if word == format!("{:?}", Status::VOLUME_FULL) => {
                FileError::Full(bytes.len() as u64, free)
            }
            trouble => trouble,
        })?
        .ok_or(FileError::Missing)?;
    let written = fill(&mut file, bytes).and_then(|same| {
        let old = if same {
            remove(volume, name)
        } else {
            Ok(false)
        };
        old.map(|old| (same, old))
    });
    let had_old = match written {
        Ok((true, had_old)) => had_old,
        failed => {
            // Nothing of it is to stay; on a drive that is gone there is nothing that could.
            let _ = file.delete();
            return Err(failed.map_or_else(full, |_| FileError::Changed));
        }
    };
    if rename(&mut file, name).is_err() {
        // The complete text is in the other file, which is closed by now or never will be.
        file = match write_again(volume, name, bytes) {
            Ok(()) => file,
            Err(_) if had_old => return Err(FileError::Left(temporary)),
            Err(trouble) => {
                let _ = file.delete();
                return Err(match trouble {
                    FileError::Other(word) if word == format!("{:?}", Status::VOLUME_FULL) => {
                        FileError::Full(bytes.len() as u64, free)
                    }
                    trouble => trouble,
                });
            }
        };
        let _ = file.delete();
    }
    Ok(())
}

/// Writes a file directly under its own name, which must be free. An incomplete file is deleted.
fn write_again(volume: &mut Volume, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    let made = open(volume, name, FileMode::CreateReadWrite)?;
    let mut file = made.ok_or(FileError::Missing)?;
    let trouble = match fill(&mut file, bytes) {
        Ok(true) => return Ok(()),
        Ok(false) => FileError::Changed,
        Err(status) => of(status),
    };
    let _ = file.delete();
    Err(trouble)
}

/// Opens a file in the root folder; `None` if there is none, an error if it is a folder.
fn open(volume: &mut Volume, name: &str, mode: FileMode) -> Result<Option<RegularFile>, FileError> {
    let name = CString16::try_from(name).map_err(|_| FileError::Missing)?;
    let opened = volume.root.open(&name, mode, FileAttribute::empty());
    let kind = match opened.map(|handle| handle.into_type()) {
        Err(error) if error.status() == Status::NOT_FOUND => return Ok(None),
        Err(error) => return Err(of(error.status())),
        Ok(kind) => kind.map_err(|error| of(error.status()))?,
    };
    match kind {
        FileType::Regular(file) => Ok(Some(file)),
        FileType::Dir(_) => Err(FileError::Folder),
    }
}

/// Writes all bytes, flushes them to the medium, and reads them back. Returns true if they are
/// equal.
fn fill(file: &mut RegularFile, bytes: &[u8]) -> Result<bool, Status> {
    for piece in bytes.chunks(PIECE) {
        file.write(piece).map_err(|error| error.status())?;
    }
    file.flush().map_err(|error| error.status())?;
    file.set_position(0).map_err(|error| error.status())?;
    let mut back = alloc::vec![0; PIECE.min(bytes.len())];
    for piece in bytes.chunks(PIECE) {
        let back = &mut back[..piece.len()];
        let len = file.read(back).map_err(|error| error.status())?;
        if len != piece.len() || back != piece {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes the old file. Returns true if there was one.
fn remove(volume: &mut Volume, name: &str) -> Result<bool, Status> {
    let name = CString16::try_from(name).map_err(|_| Status::INVALID_PARAMETER)?;
    let opened = volume
        .root
        .open(&name, FileMode::ReadWrite, FileAttribute::empty());
    match opened {
        Err(error) if error.status() == Status::NOT_FOUND => Ok(false),
        Err(error) => Err(error.status()),
        Ok(old) => old.delete().map(|()| true).map_err(|error| error.status()),
    }
}

/// Renames an open file in its folder.
fn rename(file: &mut RegularFile, name: &str) -> Result<(), Status> {
    if RENAMES_NOT.load(Relaxed) {
        return Err(Status::UNSUPPORTED);
    }
    let name = CString16::try_from(name).map_err(|_| Status::INVALID_PARAMETER)?;
    let info = file
        .get_boxed_info::<FileInfo>()
        .map_err(|error| error.status())?;
    // The fixed part has 80 bytes, and its address must be a multiple of 8.
    let mut room = alloc::vec![0u64; 16 + name.num_chars().div_ceil(4)];
    let bytes = room.len() * size_of::<u64>();
    // Safety: the same memory as bytes.
    let room = unsafe { core::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>(), bytes) };
    let info = FileInfo::new(
        room,
        info.file_size(),
        info.physical_size(),
        *info.create_time(),
        *info.last_access_time(),
        *info.modification_time(),
        info.attribute(),
        &name,
    )
    .map_err(|_| Status::BUFFER_TOO_SMALL)?;
    file.set_info::<FileInfo>(info)
        .and_then(|()| file.flush())
        .map_err(|error| error.status())
}
