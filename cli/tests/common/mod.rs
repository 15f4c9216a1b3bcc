//! Helpers for tests of the command: running it, and the files for it.
#![allow(dead_code)]

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

pub fn models(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models")
        .join(name)
}

pub fn reference(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let path = std::env::var_os("LLAMA2_REFERENCE")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there (set LLAMA2_REFERENCE)",
        path.display()
    );
    None
}

/// Kernel sets of all architectures; an architecture does not know another's.
pub const KERNELS: [&str; 8] = [
    "scalar", "sse2", "ssse3", "avx2", "avx512", "neon", "dotprod", "i8mm",
];

/// The command that was built, or the one that `LLAMA2_COMMAND` names, in words: with an emulator
/// before it, it may be another architecture's.
fn command() -> Command {
    let Ok(words) = std::env::var("LLAMA2_COMMAND") else {
        return Command::new(env!("CARGO_BIN_EXE_llama2"));
    };
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().expect("LLAMA2_COMMAND names a command"));
    command.args(words);
    command
}

pub fn llama2<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    command().args(args).stdin(Stdio::null()).output().unwrap()
}

pub fn llama2_with_input<const N: usize>(args: [&str; N], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have ended without reading everything.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// Pseudo terminal that runs the command.
#[cfg(target_os = "linux")]
pub struct Terminal {
    pub child: std::process::Child,
    master: std::fs::File,
    slave: std::fs::File,
    receiver: std::sync::mpsc::Receiver<Vec<u8>>,
    /// Output since the last successful [`Terminal::wait`].
    pub seen: String,
}

#[cfg(target_os = "linux")]
impl Terminal {
    /// Starts the command in `folder`, on a terminal of 80 columns.
    pub fn start<S: AsRef<std::ffi::OsStr>>(
        args: impl IntoIterator<Item = S>,
        folder: &Path,
    ) -> Terminal {
        use std::{
            fs::File,
            io::Read,
            os::{fd::FromRawFd, unix::process::CommandExt},
        };
        let (mut master, mut slave) = (-1, -1);
        let null = std::ptr::null_mut();
        let size = libc::winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // Safety: two places for the descriptors; no name, no modes, a size.
        let opened = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), &size) };
        assert_eq!(opened, 0);
        // Safety: both were opened just now, and nothing else owns them.
        let (master, slave) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
        let mut command = Command::new(env!("CARGO_BIN_EXE_llama2"));
        command
            .args(args)
            .current_dir(folder)
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("XDG_STATE_HOME", folder.join("state"))
            .stdin(Stdio::from(slave.try_clone().unwrap()))
            .stdout(Stdio::from(slave.try_clone().unwrap()))
            .stderr(Stdio::from(slave.try_clone().unwrap()));
        // Safety: both calls are allowed between fork and exec; the terminal becomes that of a new
        // session.
        unsafe {
            command.pre_exec(|| {
                libc::setsid();
                libc::ioctl(0, libc::TIOCSCTTY, 0);
                Ok(())
            });
        }
        let child = command.spawn().unwrap();
        let mut reader = master.try_clone().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // A terminal whose other end is closed gives an error.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Terminal {
            child,
            master,
            slave,
            receiver,
            seen: String::new(),
        }
    }

    /// Types a text at once; a line end counts as a key only if it is the last character.
    pub fn write(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.master.write_all(bytes).unwrap();
    }

    /// Types a text slowly, as hands do.
    pub fn hands(&mut self, text: &str) {
        for letter in text.bytes() {
            self.bytes(&[letter]);
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
    }

    /// Changes the width of the terminal.
    pub fn resize(&self, columns: u16) {
        use std::os::fd::AsRawFd;
        let size = libc::winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // Safety: an open terminal, and its size.
        let done = unsafe { libc::ioctl(self.master.as_raw_fd(), libc::TIOCSWINSZ, &size) };
        assert_eq!(done, 0);
    }

    /// Waits for these words, and removes the output up to their end.
    pub fn wait(&mut self, words: &str) -> String {
        let start = std::time::Instant::now();
        let wait = std::time::Duration::from_millis(100);
        loop {
            if let Some(at) = self.seen.find(words) {
                let end = at + words.len();
                return self.seen.drain(..end).collect();
            }
            let late = start.elapsed() > std::time::Duration::from_secs(60);
            assert!(!late, "no {words:?} in {:?}", self.seen);
            if let Ok(bytes) = self.receiver.recv_timeout(wait) {
                self.seen.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
    }

    /// Output until the command ends.
    pub fn rest(&mut self) -> String {
        let _ = self.child.wait();
        while let Ok(bytes) = self
            .receiver
            .recv_timeout(std::time::Duration::from_millis(300))
        {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        std::mem::take(&mut self.seen)
    }

    /// Modes of the terminal: line editing, echo, translation of line ends.
    pub fn modes(&self) -> [bool; 3] {
        use std::os::fd::AsRawFd;
        // Safety: all zeros are a value of it.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // Safety: an open terminal, and a place for its modes.
        let told = unsafe { libc::tcgetattr(self.slave.as_raw_fd(), &mut modes) };
        assert_eq!(told, 0);
        [
            modes.c_lflag & libc::ICANON != 0,
            modes.c_lflag & libc::ECHO != 0,
            modes.c_oflag & libc::OPOST != 0,
        ]
    }
}

#[cfg(target_os = "linux")]
impl Drop for Terminal {
    /// Kills the command: it also holds the terminal's other end, so it would not notice that this
    /// one is closed.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The only sentence on standard error of a run that ends with `status` and prints nothing.
pub fn refusal(output: &Output, status: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(text(&output.stdout), "", "nothing on standard output");
    if status == 1 {
        assert!(
            said.starts_with("llama2: ") && said.lines().count() == 1,
            "one sentence: {said}"
        );
    }
    said
}

/// The float32 model in llama2.c's int8, in a file of this test's own.
pub fn int8(name: &str) -> PathBuf {
    file(name, &llama2_testing::bundled_int8())
}

/// Creates a file in a folder of this test run.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}
