//! Disk: a partition table and a FAT32 volume with files.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use gpt::{GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition_types};
use sha2::{Digest, Sha256};

use super::{Content, From};

const SECTOR: u64 = 512;
/// Offset of the partition: 1 MiB, as is usual.
const START: u64 = 1 << 20;
/// Space for the second partition table.
const TAIL: u64 = 1 << 20;
/// Smallest number of clusters that EDK2 accepts for FAT32, with a margin for rounding.
const LEAST_CLUSTERS: u64 = 65_525 + 1000;

/// Writes the image. Returns its size in bytes.
pub fn write(content: &Content, path: &Path) -> Result<u64> {
    let sizes = content.size()?;
    let identity = identity(content)?;
    // A sixteenth for tables and round-up, and some for the log and the user.
    let wanted = (sizes + sizes / 16 + (4 << 20)).next_multiple_of(1 << 20);
    let cluster = [32_768, 16_384, 8192, 4096, 2048, 1024]
        .into_iter()
        .find(|cluster| wanted / cluster >= LEAST_CLUSTERS);
    let cluster = cluster.unwrap_or(512);
    let partition = wanted.max(40 << 20);
    let size = START + partition + TAIL;

    let partial = path.with_extension("img.part");
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&partial);
    let mut disk = Sparse::new(file.with_context(|| partial.display().to_string())?, size)?;
    write_table(&mut disk, size, partition, &identity)?;
    write_files(&mut disk, partition, cluster as u32, content, &identity)?;
    disk.file.sync_data().context("writing the image")?;
    drop(disk);
    std::fs::rename(&partial, path).with_context(|| path.display().to_string())?;
    Ok(size)
}

/// Hash of the contents, from which all numbers are derived that would otherwise be random.
fn identity(content: &Content) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    for entry in &content.entries {
        hash.update((entry.path.len() as u64).to_le_bytes());
        hash.update(entry.path.as_bytes());
        hash.update(entry.size()?.to_le_bytes());
        let mut source = entry.open()?;
        let mut piece = vec![0; 1 << 20];
        loop {
            let len = source.read(&mut piece)?;
            if len == 0 {
                break;
            }
            hash.update(&piece[..len]);
        }
    }
    Ok(hash.finalize().into())
}

/// Makes a version 8 UUID (RFC 9562, custom) from 16 bytes.
fn uuid(bytes: &[u8]) -> Result<uuid::Uuid> {
    Ok(uuid::Builder::from_custom_bytes(bytes.try_into()?).into_uuid())
}

fn write_table(disk: &mut Sparse, size: u64, partition: u64, identity: &[u8; 32]) -> Result<()> {
    let sectors = u32::try_from(size / SECTOR - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(sectors).overwrite_lba0(disk)?;
    let config = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512);
    let mut table = config.create_from_device(&mut *disk, Some(uuid(&identity[..16])?))?;
    let (first, sectors) = (START / SECTOR, partition / SECTOR);
    table.add_partition_at("llama2.efi", 1, first, sectors, partition_types::EFI, 0)?;
    let mut partitions = table.take_partitions();
    for partition in partitions
        .values_mut()
        .filter(|partition| partition.first_lba == first)
    {
        partition.part_guid = uuid(&identity[16..])?;
    }
    table.update_partitions(partitions)?;
    table.write()?;
    Ok(())
}

fn write_files(
    disk: &mut Sparse,
    partition: u64,
    cluster: u32,
    content: &Content,
    identity: &[u8; 32],
) -> Result<()> {
    let id = u32::from_le_bytes([identity[0], identity[7], identity[14], identity[21]]);
    let format = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_cluster(cluster)
        .volume_id(id)
        .volume_label(*b"LLAMA2     ");
    let mut window = Window {
        disk,
        start: START,
        len: partition,
        at: 0,
    };
    fatfs::format_volume(&mut window, format).context("formatting the partition")?;
    window.at = 0;
    let options = fatfs::FsOptions::new()
        .time_provider(&FIXED)
        .update_accessed_date(false);
    let volume = fatfs::FileSystem::new(window, options)?;
    for entry in &content.entries {
        let mut folder = volume.root_dir();
        let mut parts: Vec<&str> = entry.path.split('/').collect();
        let name = parts.pop().context("an entry has a name")?;
        for part in parts {
            folder = folder.create_dir(part)?;
        }
        if matches!(entry.from, From::Folder) {
            folder.create_dir(name)?;
            continue;
        }
        let mut file = folder.create_file(name)?;
        io::copy(
            &mut io::BufReader::with_capacity(1 << 20, entry.open()?),
            &mut file,
        )
        .with_context(|| format!("writing {} into the image", entry.path))?;
        file.flush()?;
    }
    // Counted, so that the volume says how much of it is free.
    volume.stats()?;
    volume.unmount()?;
    mend(disk)
}

/// Corrects what fatfs writes differently from the FAT specification (Microsoft 2000): the
/// partition's offset on the disk, and each folder's `.` and `..`, which must be its first two
/// entries, with short names, and with cluster 0 for `..` in folders of the root.
///
/// # Quirks
/// fatfs 0.3.6 gives both a long name, so that `.` is second and `..` fourth. Firmware ignores
/// that; Windows and fsck offer to repair the stick.
fn mend(disk: &mut Sparse) -> Result<()> {
    const SLOT: usize = 32;
    // Both copies of the boot sector contain the partition's offset on the disk.
    for copy in [0, 6] {
        disk.seek(SeekFrom::Start(START + copy * SECTOR + 28))?;
        disk.write_all(&((START / SECTOR) as u32).to_le_bytes())?;
    }
    let mut boot = [0; SECTOR as usize];
    disk.seek(SeekFrom::Start(START))?;
    disk.read_exact(&mut boot)?;
    let short = |at: usize| u64::from(u16::from_le_bytes([boot[at], boot[at + 1]]));
    let long = |at: usize| short(at) | short(at + 2) << 16;
    let (cluster_size, root) = (u64::from(boot[13]) * SECTOR, long(44));
    let table = START + short(14) * SECTOR;
    let data = table + u64::from(boot[16]) * long(36) * SECTOR;

    // A cluster, its role in its folder, and whether that folder is the root or a child of it.
    #[derive(Clone, Copy, PartialEq)]
    enum Is {
        Root,
        First { in_root: bool },
        Later,
    }
    let mut clusters = vec![(root, Is::Root)];
    while let Some((cluster, is)) = clusters.pop() {
        let mut slots = vec![0; cluster_size as usize];
        let place = SeekFrom::Start(data + (cluster - 2) * cluster_size);
        disk.seek(place)?;
        disk.read_exact(&mut slots)?;
        let named =
            |slots: &[u8], slot: usize, name: &[u8; 11]| slots[slot * SLOT..].starts_with(name);
        let first = matches!(is, Is::First { .. });
        if first && named(&slots, 1, b".          ") && named(&slots, 3, b"..         ") {
            slots.copy_within(SLOT..2 * SLOT, 0);
            slots.copy_within(3 * SLOT..4 * SLOT, SLOT);
            if is == (Is::First { in_root: true }) {
                slots[SLOT + 20..SLOT + 22].fill(0);
                slots[SLOT + 26..SLOT + 28].fill(0);
            }
            // The old entry becomes a deleted one, not the end of the folder.
            (slots[2 * SLOT], slots[3 * SLOT]) = (0xe5, 0xe5);
            disk.seek(place)?;
            disk.write_all(&slots)?;
        }
        for slot in slots.chunks_exact(SLOT) {
            let is_folder = slot[11] & 0x18 == 0x10 && !matches!(slot[0], b'.' | 0 | 0xe5);
            if is_folder {
                let number = |at: usize| u64::from(u16::from_le_bytes([slot[at], slot[at + 1]]));
                clusters.push((
                    number(20) << 16 | number(26),
                    Is::First {
                        in_root: is == Is::Root,
                    },
                ));
            }
        }
        // A long folder continues elsewhere.
        let mut next = [0; 4];
        disk.seek(SeekFrom::Start(table + 4 * cluster))?;
        disk.read_exact(&mut next)?;
        let next = u64::from(u32::from_le_bytes(next) & 0x0fff_ffff);
        if (2..0x0fff_fff7).contains(&next) {
            clusters.push((next, if is == Is::Root { Is::Root } else { Is::Later }));
        }
    }
    Ok(())
}

/// Time provider that gives all files the same time: the first that FAT can represent.
#[derive(Debug)]
struct Fixed;
static FIXED: Fixed = Fixed;

impl fatfs::TimeProvider for Fixed {
    fn get_current_date(&self) -> fatfs::Date {
        fatfs::Date {
            year: 1980,
            month: 1,
            day: 1,
        }
    }

    fn get_current_date_time(&self) -> fatfs::DateTime {
        fatfs::DateTime {
            date: self.get_current_date(),
            time: fatfs::Time {
                hour: 0,
                min: 0,
                sec: 0,
                millis: 0,
            },
        }
    }
}

/// File in which blocks of zeros are not written: a large model full of them takes no space.
#[derive(Debug)]
struct Sparse {
    file: File,
    /// Blocks that have been written.
    written: Vec<bool>,
    at: u64,
    size: u64,
}

impl Sparse {
    const BLOCK: u64 = 4096;

    fn new(file: File, size: u64) -> io::Result<Sparse> {
        file.set_len(size)?;
        Ok(Sparse {
            file,
            written: vec![false; size.div_ceil(Self::BLOCK) as usize],
            at: 0,
            size,
        })
    }
}

impl Read for Sparse {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.seek(SeekFrom::Start(self.at))?;
        let len = self.file.read(buf)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Sparse {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.at + buf.len() as u64 > self.size {
            return Err(io::Error::other("the image is too small for its content"));
        }
        // Block by block: clusters do not begin at blocks, and zeros beside written data must not
        // mark the block after it as written, and so on to the end of the file.
        let mut rest = buf;
        while !rest.is_empty() {
            let left = Self::BLOCK - self.at % Self::BLOCK;
            let (piece, later) = rest.split_at(rest.len().min(left as usize));
            let block = (self.at / Self::BLOCK) as usize;
            if self.written[block] || piece.iter().any(|&byte| byte != 0) {
                self.written[block] = true;
                self.file.seek(SeekFrom::Start(self.at))?;
                self.file.write_all(piece)?;
            }
            self.at += piece.len() as u64;
            rest = later;
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.size)?;
        Ok(self.at)
    }
}

/// Partition as a device.
struct Window<'a> {
    disk: &'a mut Sparse,
    start: u64,
    len: u64,
    at: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min((self.len - self.at.min(self.len)) as usize);
        self.disk.at = self.start + self.at;
        let len = self.disk.read(&mut buf[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}

impl Write for Window<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = buf.len().min((self.len - self.at.min(self.len)) as usize);
        self.disk.at = self.start + self.at;
        let len = self.disk.write(&buf[..len])?;
        self.at += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.disk.flush()
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = sought(to, self.at, self.len)?;
        Ok(self.at)
    }
}

fn sought(to: SeekFrom, at: u64, size: u64) -> io::Result<u64> {
    let found = match to {
        SeekFrom::Start(at) => Some(at),
        SeekFrom::Current(by) => at.checked_add_signed(by),
        SeekFrom::End(by) => size.checked_add_signed(by),
    };
    found.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))
}

/// Opens an image's volume through the partition table, and calls `f` with it.
fn with_volume<R>(
    image: &Path,
    f: impl FnOnce(&fatfs::FileSystem<Window<'_>>) -> Result<R>,
) -> Result<R> {
    let table = GptConfig::new().open(image)?;
    let partition = table
        .partitions()
        .values()
        .find(|p| p.is_used())
        .context("a partition")?
        .clone();
    let file = File::options().read(true).write(true).open(image)?;
    let size = file.metadata()?.len();
    let mut disk = Sparse {
        file,
        written: vec![true; size.div_ceil(Sparse::BLOCK) as usize],
        at: 0,
        size,
    };
    let len = (partition.last_lba - partition.first_lba + 1) * SECTOR;
    let window = Window {
        disk: &mut disk,
        start: partition.first_lba * SECTOR,
        len,
        at: 0,
    };
    let volume = fatfs::FileSystem::new(window, fatfs::FsOptions::new())?;
    let done = f(&volume)?;
    volume.unmount()?;
    Ok(done)
}

/// Reads a file from an image.
pub fn read_back(image: &Path, path: &str) -> Result<Vec<u8>> {
    with_volume(image, |volume| {
        let mut bytes = Vec::new();
        volume.root_dir().open_file(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// Uses up an image's free space, with a file named `FILLER.BIN`.
pub fn fill(image: &Path) -> Result<()> {
    with_volume(image, |volume| {
        let mut file = volume.root_dir().create_file("FILLER.BIN")?;
        file.flush()?;
        let stats = volume.stats()?;
        let free = u64::from(stats.free_clusters()) * u64::from(stats.cluster_size());
        io::copy(&mut io::repeat(b'f').take(free), &mut file)?;
        file.flush()?;
        let left = volume.stats()?.free_clusters();
        ensure!(left == 0, "{left} clusters are left");
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::folder;

    #[test]
    fn images_hold_what_was_put_in_and_are_the_same_each_time() {
        let folder = folder("image");
        let model: Vec<u8> = (0..3_000_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        let mut content = Content::default();
        content.bytes("EFI/BOOT/BOOTX64.EFI", vec![1, 2, 3]);
        content.bytes("LLAMA2.CFG", "steps = 1\r\n");
        content.bytes("STORIES.BIN", model.clone());
        content.put("TOKEN.BIN", From::Folder);
        let (one, two) = (folder.join("one.img"), folder.join("two.img"));
        let size = write(&content, &one).unwrap();
        write(&content, &two).unwrap();
        let bytes = std::fs::read(&one).unwrap();
        assert_eq!(bytes.len() as u64, size);
        assert!(
            bytes == std::fs::read(&two).unwrap(),
            "the same input gives the same bytes"
        );
        assert_eq!(&bytes[510..512], b"\x55\xaa");
        assert_eq!(&bytes[512..520], b"EFI PART");
        assert_eq!(read_back(&one, "STORIES.BIN").unwrap(), model);
        assert_eq!(read_back(&one, "EFI/BOOT/BOOTX64.EFI").unwrap(), [1, 2, 3]);
        // All three folders begin with their dots, and nothing else does.
        let dots = |slot: &[u8]| slot.starts_with(b".          \x10");
        let slots = bytes.chunks(32).enumerate();
        let places: Vec<usize> = slots
            .filter(|(_, slot)| dots(slot))
            .map(|(index, _)| index)
            .collect();
        assert!(
            places.len() == 3 && places.iter().all(|index| index % 16 == 0),
            "{places:?}"
        );
        for index in places {
            assert!(bytes[32 * (index + 1)..].starts_with(b"..         \x10"));
        }
        assert!(read_back(&one, "TOKEN.BIN").is_err(), "a folder");
        content.bytes("LLAMA2.CFG", "steps = 2\r\n");
        write(&content, &two).unwrap();
        let other = std::fs::read(&two).unwrap();
        assert_ne!(
            bytes[568..584],
            other[568..584],
            "another disk, another GUID"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn big_files_of_zeros_take_little_room_and_too_big_ones_are_refused() {
        let folder = folder("sparse");
        let zeros = folder.join("zeros.bin");
        let image = folder.join("big.img");
        let mut content = Content::default();
        content.file("MODEL.BIN", &zeros);
        // Clusters of several sizes, with different offsets to the blocks; a header, followed by
        // zeros.
        for mib in [300, 440, 700] {
            let mut file = File::create(&zeros).unwrap();
            file.write_all(&[7; 28]).unwrap();
            file.set_len(mib << 20).unwrap();
            assert!(write(&content, &image).unwrap() > mib << 20);
            #[cfg(unix)]
            {
                use std::os::unix::fs::MetadataExt;
                let taken = std::fs::metadata(&image).unwrap().blocks() * 512;
                assert!(taken < 16 << 20, "{mib} MiB of zeros take {taken} bytes");
            }
        }
        File::create(&zeros).unwrap().set_len(1 << 32).unwrap();
        let error = write(&content, &image).unwrap_err().to_string();
        assert!(
            error.contains("4294967296 bytes, but a file on FAT32"),
            "{error}"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }
}
