//! One file: from what is wanted to a file whose digest is right.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
};

use crate::{
    address::{Address, Wanted},
    client::Client,
    digest::{Stated, of_file, size},
    error::Error,
    lock::{self, Entry, Lock},
    part::Part,
    wheel,
};

/// Bytes of a piece.
const PIECE: usize = 256 << 10;

/// Somebody who is told what happens.
pub trait Observer {
    /// Takes a sentence.
    fn say(&self, sentence: &str);

    /// Begins to show the progress of a file of `total` bytes (0: unknown); the function takes the
    /// number of bytes that are there.
    fn begin(&self, name: &str, total: u64) -> Box<dyn FnMut(u64)>;
}

/// Fetches a file into a folder, unless it is there; returns its path.
pub(crate) fn fetch(
    client: &Client,
    wanted: &Wanted,
    folder: &Path,
    observer: &dyn Observer,
) -> Result<PathBuf, Error> {
    let Wanted { address, name, .. } = wanted;
    let path = folder.join(name);
    let mut lock = Lock::read(folder)?;
    let entry = lock.entry(name);
    if let Some(entry) = entry
        .as_ref()
        .filter(|entry| entry.origin != address.to_string())
    {
        return Err(Error::Failed(format!(
            "{}: is {} by {}; fetch {address} into another folder with -o",
            path.display(),
            entry.origin,
            lock::NAME
        )));
    }
    let is_locked = entry.is_some();
    let locked = entry.map(|entry| entry.stated).unwrap_or_default();
    let mut stated = agree(wanted, "asked for with", wanted.stated, locked, is_locked)?;
    // Of what is there without a digest nothing is known yet.
    let found = path.exists().then(|| of_file(&path));
    let found = found
        .transpose()
        .map_err(|error| Error::file(&path, &error))?;
    if let Some(found) = found {
        if stated.sha256.is_some() && stated.is_met_by(found) {
            observer.say(&format!("{}: there already, and right", path.display()));
            return Ok(path);
        }
        if stated.sha256.is_some() {
            observer.say(&format!(
                "{}: not what it was; fetching it again",
                path.display()
            ));
        }
    }
    let is_ours = stated.sha256.is_some();
    let says = client.state(address)?;
    stated = agree(wanted, "the hub states", says, stated, is_locked)?;
    if let Some(found) = found.filter(|_| !is_ours) {
        // Somebody put it there.
        return match stated.sha256.is_some() && stated.is_met_by(found) {
            true => remember(&mut lock, wanted, found).map(|()| path),
            false => Err(Error::Failed(format!(
                "{}: is there already, and is not known to be {address}; move it away, or name \
                 another folder with -o",
                path.display()
            ))),
        };
    }
    let got = match address {
        Address::Wheel(wheel) => {
            wheel::fetch(wheel, &path, stated)?;
            stated
        }
        _ => download(client, wanted, &path, stated, observer)?,
    };
    remember(&mut lock, wanted, got)?;
    observer.say(&match (stated.sha256, got.sha256) {
        (None, Some(sum)) => format!(
            "{}: its SHA-256 is {sum}; nobody stated one, so it is the one to expect from now on",
            path.display()
        ),
        _ => format!("{}: SHA-256 is right", path.display()),
    });
    Ok(path)
}

/// Joins what somebody says about a file with what is known of it: from `models.lock`, if
/// `is_locked`.
fn agree(
    wanted: &Wanted,
    somebody: &str,
    says: Stated,
    known: Stated,
    is_locked: bool,
) -> Result<Stated, Error> {
    known.and(says).map_err(|(known, says)| {
        let (address, lock) = (&wanted.address, lock::NAME);
        Error::Failed(match is_locked {
            true => format!(
                "{address}: {somebody} {says}, but {lock} has {known}: refused; to accept the new \
                 file, remove its entry from {lock}"
            ),
            false => format!("{address}: {somebody} {says}, but known is {known}: refused"),
        })
    })
}

fn remember(lock: &mut Lock, wanted: &Wanted, stated: Stated) -> Result<(), Error> {
    let origin = wanted.address.to_string();
    lock.set(&wanted.name, &Entry { origin, stated })
}

/// Downloads all of a file, or what an earlier attempt left of it.
fn download(
    client: &Client,
    wanted: &Wanted,
    path: &Path,
    stated: Stated,
    observer: &dyn Observer,
) -> Result<Stated, Error> {
    let mut part = Part::open(path, stated)?;
    if stated.size.is_none_or(|size| part.len() < size) || part.len() == 0 {
        let outcome = transfer(client, wanted, path, stated, &mut part, observer);
        outcome.inspect_err(|_| part.leave())?;
    }
    part.finish()
}

fn transfer(
    client: &Client,
    wanted: &Wanted,
    path: &Path,
    stated: Stated,
    part: &mut Part,
    observer: &dyn Observer,
) -> Result<(), Error> {
    let address = &wanted.address;
    let answer = client.get(address, part.len())?;
    if answer.from != part.len() {
        if answer.from != 0 {
            return Err(Error::Failed(format!(
                "{address}: asked for the rest from byte {} on, the server sends it from byte {} on",
                part.len(),
                answer.from
            )));
        }
        observer.say("the server cannot resume downloads; fetching the whole file");
        part.restart()?;
    }
    let says = Stated {
        size: answer.size,
        ..Stated::default()
    };
    let total = match stated.and(says) {
        Ok(all) => all.size,
        Err((stated, says)) => {
            return Err(Error::Failed(format!(
                "{address}: has {says}, not {stated}"
            )));
        }
    };
    if let Some(total) = total {
        room(path, total - part.len().min(total))?;
    }
    match (part.len(), total) {
        (0, Some(total)) => observer.say(&format!("{address} ({})", size(total))),
        (0, None) => observer.say(&address.to_string()),
        (there, _) => observer.say(&format!("{address}: goes on after {}", size(there))),
    }
    let mut show = observer.begin(&wanted.name, total.unwrap_or(0));
    let broke = |part: &Part, why: &str| {
        let again = match stated.sha256 {
            Some(_) => "the same command goes on from there",
            None => "try again",
        };
        let done = size(part.len());
        Err(Error::Unreachable(format!(
            "{address}: {why} after {done}; {again}"
        )))
    };
    // Read by a thread, so that a connection that sleeps can be noticed.
    let (sender, pieces) = sync_channel(4);
    let mut body = answer.body.into_reader();
    thread::spawn(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = body.read(&mut piece);
            let is_last = !matches!(read, Ok(len) if len > 0);
            let sent = sender.send(read.map(|len| {
                piece.truncate(len);
                piece
            }));
            if is_last || sent.is_err() {
                return;
            }
        }
    });
    loop {
        match pieces.recv_timeout(client.stall) {
            Ok(Ok(piece)) if piece.is_empty() => break,
            Ok(Ok(piece)) => part.write(&piece)?,
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                return broke(part, "the connection broke");
            }
            Err(RecvTimeoutError::Timeout) => return broke(part, "the server fell silent"),
        }
        show(part.len());
    }
    if total.is_some_and(|total| part.len() < total) {
        return broke(part, "the connection broke");
    }
    Ok(())
}

/// Checks that a disk has room.
fn room(path: &Path, bytes: u64) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    match fs4::available_space(folder) {
        // Some network file systems say 0.
        Ok(free) if free < bytes && free > 0 => Err(Error::Failed(format!(
            "{}: needs {}, but its disk has {} free; make room, or name another folder with -o",
            path.display(),
            size(bytes),
            size(free)
        ))),
        _ => Ok(()),
    }
}
