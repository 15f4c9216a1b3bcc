//! New files that take long to write: they have a temporary name until they are complete, and are
//! deleted if they never will be.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use llama2_engine::units::Bytes;

use crate::{
    failure::{Failure, name},
    file::explain,
};

/// Incomplete files, which are deleted on a signal.
static PARTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

fn parts() -> MutexGuard<'static, Vec<PathBuf>> {
    PARTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Deletes incomplete files, because the command ends. While the guard lives, no file can be begun
/// or renamed.
pub fn abandon() -> MutexGuard<'static, Vec<PathBuf>> {
    let mut parts = parts();
    for part in parts.drain(..) {
        let _ = fs::remove_file(part);
    }
    parts
}

/// Makes signals that end the command delete incomplete files.
#[cfg(unix)]
pub fn listen() {
    // If the system has no signals, they have their default effect.
    let Ok(mut signals) = signal_hook::iterator::Signals::new(ending()) else {
        return;
    };
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            end(signal);
        }
    });
}

/// Signals that end the command and can be caught. Ignored ones (nohup, background jobs of scripts)
/// stay ignored.
#[cfg(unix)]
pub fn ending() -> Vec<i32> {
    use signal_hook::consts::{
        SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
        SIGXFSZ,
    };
    let mut signals = vec![
        SIGALRM, SIGHUP, SIGINT, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM, SIGXCPU,
        SIGXFSZ,
    ];
    #[cfg(target_os = "linux")]
    {
        signals.extend([libc::SIGIO, libc::SIGPWR, libc::SIGSTKFLT]);
        signals.extend(libc::SIGRTMIN()..=libc::SIGRTMAX());
    }
    signals.retain(|&signal| !is_ignored(signal));
    signals
}

/// Ends the command as `signal` would, after deleting incomplete files.
#[cfg(unix)]
pub fn end(signal: i32) -> ! {
    let _ending = abandon();
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    // signal_hook does not know real-time signals.
    // Safety: this restores the signal's default action, which is to end the process.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
    std::process::exit(128 + signal);
}

#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    // Safety: all zeros are a value of it.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // Safety: nothing is set, and `action` is valid for the result.
    let told = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    told == 0 && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(not(unix))]
pub fn listen() {
    let _ = ctrlc::set_handler(|| {
        let _ending = abandon();
        std::process::exit(130);
    });
}

/// Folder of a file.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// Checks before the work that the result can be written after it.
pub fn check(wanted: &Path, force: bool) -> Result<(), Failure> {
    let refuse = |what: &str| Err(Failure::about(wanted, what));
    match fs::metadata(wanted) {
        Ok(there) if there.is_dir() => return refuse("is a folder; name a file in it"),
        Ok(there) if !there.is_file() => {
            return refuse("is a device or a pipe; name an ordinary file");
        }
        _ if !force && fs::symlink_metadata(wanted).is_ok() => return refuse(THERE),
        _ => (),
    }
    let folder = folder(wanted);
    match fs::metadata(folder) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => Err(Failure::about(folder, "is a file, not a folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = name(folder);
            refuse(&format!("there is no folder {folder}; make it first"))
        }
        Err(error) => Err(Failure::about(folder, explain(&error))),
    }
}

const THERE: &str = "already exists; --force overwrites it";

/// Deletes leftovers of a killed command whose names begin like `wanted`, and checks that there is
/// enough room.
pub fn room(wanted: &Path, bytes: u64) -> Result<(), Failure> {
    let begin = wanted.file_name().unwrap_or_default().to_string_lossy();
    let entries = fs::read_dir(folder(wanted)).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&*begin) && is_part(&name) {
            // A running writer holds its lock. On file systems without locks, nothing is removed.
            let part = File::options().write(true).open(entry.path());
            if part.is_ok_and(|part| part.try_lock().is_ok()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
    match free(folder(wanted)) {
        Some(free) if free < bytes => Err(Failure::about(
            wanted,
            format!(
                "needs {}, but its disk has {} free; make room, or name another disk",
                Bytes(bytes),
                Bytes(free)
            ),
        )),
        _ => Ok(()),
    }
}

/// Bytes that can be written into a folder, if the system reports it.
#[cfg(target_os = "linux")]
fn free(folder: &Path) -> Option<u64> {
    use std::os::unix::ffi::OsStrExt;
    let folder = std::ffi::CString::new(folder.as_os_str().as_bytes()).ok()?;
    // Safety: all zeros are a value of it.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // Safety: a string that ends in zero, and a valid place for the result.
    let done = unsafe { libc::statvfs(folder.as_ptr(), &mut told) };
    // Some network file systems do not know.
    (done == 0 && told.f_blocks > 0).then(|| told.f_bavail.saturating_mul(told.f_frsize))
}

#[cfg(not(target_os = "linux"))]
fn free(_: &Path) -> Option<u64> {
    None
}

/// Suffix of an incomplete file's name.
fn suffix(number: u32) -> String {
    format!(".llama2-{number}.part")
}

fn is_part(name: &str) -> bool {
    let rest = name.strip_suffix(".part");
    let number = rest.and_then(|rest| rest.rsplit_once(".llama2-"));
    number.is_some_and(|(_, number)| number.parse::<u32>().is_ok())
}

/// File with a temporary name until it is complete.
pub struct Output {
    pub file: File,
    part: PathBuf,
    wanted: PathBuf,
}

impl Output {
    pub fn new(wanted: &Path) -> Result<Output, Failure> {
        let mut parts = parts();
        let mut number = 1;
        loop {
            let mut name = wanted.file_name().unwrap_or_default().to_owned();
            name.push(suffix(number));
            let part = wanted.with_file_name(name);
            match File::create_new(&part) {
                // Locked, for others to see that it is written. Who holds the lock is about to
                // remove it.
                Ok(file) if !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) => {
                    if part.exists() {
                        parts.push(part.clone());
                        let wanted = wanted.to_owned();
                        return Ok(Output { file, part, wanted });
                    }
                }
                Ok(_) => (),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => (),
                Err(error) => return Err(refused(wanted, &error)),
            }
            number += 1;
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }

    /// Renames the file; without `force`, does not replace a file that was created meanwhile.
    fn name(&self, force: bool) -> io::Result<()> {
        if force {
            return fs::rename(&self.part, &self.wanted);
        }
        match fs::hard_link(&self.part, &self.wanted) {
            Ok(()) => {
                let _ = fs::remove_file(&self.part);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // FAT has no links.
            Err(_) if fs::symlink_metadata(&self.wanted).is_ok() => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Err(_) => fs::rename(&self.part, &self.wanted),
        }
    }
}

/// Renames complete files: all of them, or, unless others were replaced, none, since half of a
/// model looks like a model.
pub fn keep(outputs: &[Output], force: bool) -> Result<(), Failure> {
    for output in outputs {
        let synced = output.file.sync_all();
        synced.map_err(|error| refused(&output.wanted, &error))?;
    }
    // A signal waits until all have their names.
    let mut parts = parts();
    for (index, output) in outputs.iter().enumerate() {
        if let Err(error) = output.name(force) {
            for named in outputs[..index].iter().filter(|_| !force) {
                let _ = fs::remove_file(&named.wanted);
            }
            return Err(refused(&output.wanted, &error));
        }
        parts.retain(|part| *part != output.part);
    }
    Ok(())
}

/// Error about a file that cannot be written.
pub fn refused(wanted: &Path, error: &io::Error) -> Failure {
    let what = match error.kind() {
        io::ErrorKind::AlreadyExists => THERE.into(),
        io::ErrorKind::NotFound => "its folder does not exist; make it first".into(),
        io::ErrorKind::PermissionDenied => {
            "permission denied; check its folder's permissions".into()
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "its disk is full; make room, or name another disk".into()
        }
        io::ErrorKind::IsADirectory => "is a folder; name a file in it".into(),
        _ => error.to_string(),
    };
    Failure::about(wanted, what)
}

impl Drop for Output {
    /// Deletes the file if it was not kept.
    fn drop(&mut self) {
        let mut parts = parts();
        // After it was renamed, a file of this name may belong to another process.
        if let Some(at) = parts.iter().position(|part| *part == self.part) {
            parts.swap_remove(at);
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    fn sentence<T>(result: Result<T, Failure>) -> String {
        match result {
            Err(Failure::Input(sentence)) => sentence,
            _ => panic!("not refused"),
        }
    }

    #[test]
    fn parts_are_in_nobodys_way_and_left_overs_go() {
        let folder = std::env::temp_dir().join(format!("llama2-output-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let wanted = folder.join("m.gguf");
        // A killed command's leftover, a user's download, and a folder in the way.
        fs::write(folder.join("m.gguf.llama2-1.part"), "left").unwrap();
        fs::write(folder.join("m.gguf.1.part"), "download").unwrap();
        fs::create_dir(folder.join("m.gguf.llama2-2.part")).unwrap();
        fs::write(folder.join("n.gguf.llama2-1.part"), "of another").unwrap();
        assert!(room(&wanted, 1).is_ok());
        let theirs = [
            "m.gguf.1.part",
            "m.gguf.llama2-2.part",
            "n.gguf.llama2-1.part",
        ];
        assert_eq!(names(&folder), theirs);
        // Two write at the same time: neither takes the other's file for a leftover.
        let mut first = Output::new(&wanted).ok().unwrap();
        let second = Output::new(&wanted).ok().unwrap();
        first.file.write_all(b"whole").unwrap();
        assert!(room(&wanted, 1).is_ok());
        assert_eq!(names(&folder).len(), 5);
        assert!(keep(&[first], false).is_ok());
        // A file that has appeared meanwhile stays.
        assert!(sentence(keep(&[second], false)).contains("m.gguf: already exists"));
        assert_eq!(fs::read(&wanted).unwrap(), b"whole");
        assert_eq!(names(&folder).len(), 4, "{:?}", names(&folder));
        // All of them or none.
        let pair = ["a.gguf", "m.gguf"].map(|name| Output::new(&folder.join(name)).ok().unwrap());
        assert!(sentence(keep(&pair, false)).contains("m.gguf"));
        drop(pair);
        assert!(!folder.join("a.gguf").exists());
        let forced = Output::new(&wanted).ok().unwrap();
        assert!(keep(&[forced], true).is_ok());
        assert_eq!(fs::read(&wanted).unwrap(), b"");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_cannot_be_written_is_said_before() {
        let folder = std::env::temp_dir();
        assert!(sentence(check(&folder, true)).contains("is a folder"));
        let missing = folder.join("llama2 no such folder/x.gguf");
        let said = sentence(check(&missing, false));
        assert!(
            said.contains("there is no folder ") && said.ends_with("make it first"),
            "{said}"
        );
        if cfg!(target_os = "linux") {
            let said = sentence(room(&folder.join("x"), u64::MAX));
            assert!(said.contains("needs 16 EiB, but its disk has "), "{said}");
            assert!(sentence(check(Path::new("/dev/null"), true)).contains("is a device"));
            assert!(sentence(check(Path::new("/dev/null/x"), true)).contains("not a folder"));
        }
        assert!(room(&folder.join("x"), 0).is_ok());
    }
}
