//! SHA-256, and what is known about a file before it is read.

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    str::FromStr,
};

use sha2::{Digest, Sha256};

/// SHA-256 of a file. Displays as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sum(pub [u8; 32]);

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sum {
    type Err = ();

    fn from_str(text: &str) -> Result<Sum, ()> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(());
        }
        let mut sum = [0; 32];
        for (byte, at) in sum.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| ())?;
        }
        Ok(Sum(sum))
    }
}

/// Statement about a file: all, a part, or nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Stated {
    pub sha256: Option<Sum>,
    /// In bytes.
    pub size: Option<u64>,
}

impl Stated {
    /// Adds what another one states. If they contradict each other, returns both values as text.
    pub fn and(self, other: Stated) -> Result<Stated, (String, String)> {
        if let (Some(ours), Some(theirs)) = (self.sha256, other.sha256)
            && ours != theirs
        {
            return Err((format!("SHA-256 {ours}"), format!("SHA-256 {theirs}")));
        }
        if let (Some(ours), Some(theirs)) = (self.size, other.size)
            && ours != theirs
        {
            return Err((format!("{ours} bytes"), format!("{theirs} bytes")));
        }
        Ok(Stated {
            sha256: self.sha256.or(other.sha256),
            size: self.size.or(other.size),
        })
    }

    /// Returns true if all that is stated is the case.
    pub fn is_met_by(self, other: Stated) -> bool {
        self.and(other).is_ok()
    }
}

/// Reads all of `source` into `hash`; returns the number of bytes.
pub(crate) fn read_into(mut source: impl Read, hash: &mut Sha256) -> io::Result<u64> {
    let mut piece = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        match source.read(&mut piece)? {
            0 => return Ok(size),
            len => {
                hash.update(&piece[..len]);
                size += len as u64;
            }
        }
    }
}

/// SHA-256 and size of a file of this machine.
pub(crate) fn of_file(path: &Path) -> io::Result<Stated> {
    let mut hash = Sha256::new();
    let size = read_into(File::open(path)?, &mut hash)?;
    Ok(Stated {
        sha256: Some(Sum(hash.finalize().into())),
        size: Some(size),
    })
}

/// Formats a size as people give it: 6 kB, 98 MB, 5.0 GB.
pub fn size(bytes: u64) -> String {
    match bytes as f64 / 1e6 {
        mb if mb < 0.1 => format!("{:.0} kB", mb * 1e3),
        mb if mb < 10.0 => format!("{mb:.1} MB"),
        mb if mb < 999.5 => format!("{mb:.0} MB"),
        mb => format!("{:.1} GB", mb / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_and_shown() {
        // FIPS 180-2, B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let sum = Sum(Sha256::digest(b"abc").into());
        assert_eq!(sum.to_string(), abc);
        assert_eq!(abc.to_uppercase().parse(), Ok(sum));
        for wrong in ["", &abc[1..], &abc.replace('b', "g"), &"é".repeat(32)] {
            assert_eq!(wrong.parse::<Sum>(), Err(()), "{wrong}");
        }
    }

    #[test]
    fn statements_add_up_or_contradict_each_other() {
        let (one, two) = (Sum([1; 32]), Sum([2; 32]));
        let stated = |sha256, size| Stated { sha256, size };
        let both = stated(Some(one), None).and(stated(None, Some(5)));
        assert_eq!(both, Ok(stated(Some(one), Some(5))));
        let (ours, theirs) = stated(Some(one), None)
            .and(stated(Some(two), None))
            .unwrap_err();
        assert!(ours.ends_with(&one.to_string()) && theirs.ends_with(&two.to_string()));
        let sizes = stated(None, Some(5)).and(stated(None, Some(6)));
        assert_eq!(sizes, Err(("5 bytes".into(), "6 bytes".into())));
        assert!(Stated::default().is_met_by(stated(Some(two), Some(1))));
    }

    #[test]
    fn sizes() {
        let shown = [6_227, 433_869, 98_362_432, 999_400_000, 5_027_783_488].map(size);
        assert_eq!(shown, ["6 kB", "0.4 MB", "98 MB", "999 MB", "5.0 GB"]);
    }
}
