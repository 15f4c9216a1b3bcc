//! QEMU with a UEFI firmware: started, observed over its serial line, and ended without leaving the
//! terminal in raw mode.

use std::{
    fs,
    io::{BufRead, BufReader, IsTerminal, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use llama2_engine::utf8::Utf8Stream;

use crate::{
    arch::{AARCH64, Arch, X86_64},
    terminal::Terminal,
};

/// Prompt of a session.
pub const PROMPT: &str = "> ";

/// Method of running instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Accel {
    /// Translation in software: works everywhere.
    Tcg,
    /// KVM, under Linux.
    Kvm,
}

/// Source of the guest's keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keys {
    /// The current terminal.
    Terminal,
    /// The function [`Guest::send`].
    Pipe,
}

/// Network card.
#[derive(Clone, Debug)]
pub struct Nic {
    /// QEMU's name of the card, perhaps with properties: `virtio-net-pci`, `e1000`. By
    /// `romfile=` it has no driver of its own, and the firmware's is used.
    pub device: String,
    /// Network behind it.
    pub network: NicNetwork,
}

/// Network behind a card.
#[derive(Clone, Debug)]
pub enum NicNetwork {
    /// QEMU's own, 10.0.2.0/24, where a DHCP server gives the machine 10.0.2.15, with ports of the
    /// host that lead to ports of the machine.
    Qemu(Vec<(u16, u16)>),
    /// Frames go as UDP datagrams between two ports of the host.
    Cable {
        /// QEMU's port.
        qemu: u16,
        /// The other side's.
        other: u16,
    },
}

impl Nic {
    /// Name by which QEMU's machine protocol knows the first card.
    pub const ID: &str = "card0";
}

/// Port of the host that is free now.
///
/// # Errors
/// If there is none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Firmware of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Firmware {
    /// EDK2's: OVMF or AAVMF.
    Edk2,
    /// U-Boot, which has a UEFI of its own.
    UBoot,
}

/// Machine to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Architecture of its processors.
    pub arch: &'static Arch,
    /// Its firmware.
    pub firmware: Firmware,
    /// True for a machine whose firmware runs at a hypervisor's exception level, as on most boards
    /// (AArch64 only).
    pub el2: bool,
    /// Raw disk images; the first one is booted.
    pub disks: Vec<PathBuf>,
    /// Memory in MiB.
    pub memory: u64,
    /// Number of processors.
    pub cpus: u32,
    /// QEMU's name of the processor model.
    pub cpu: String,
    /// True to open a window.
    pub display: bool,
    /// True for a keyboard, where the machine has none of its own.
    pub keyboard: bool,
    /// Source of keys for the serial line.
    pub keys: Keys,
    /// Configuration file for QEMU's blkdebug on the first disk.
    pub blkdebug: Option<PathBuf>,
    /// True for SATA disks instead of virtio.
    pub sata: bool,
    /// True for USB disks, which can be unplugged.
    pub usb: bool,
    /// True to make the first disk read-only.
    pub read_only: bool,
    /// Resolution of the screen, for firmware that queries the monitor.
    pub resolution: Option<(u32, u32)>,
    /// Folder and file that the machine is booted from, by PXE over the first card, if it has no
    /// disk.
    pub pxe: Option<(PathBuf, String)>,
    /// Network cards.
    pub nics: Vec<Nic>,
}

impl Machine {
    /// Creates the usual machine.
    pub fn new(image: &Path) -> Machine {
        Machine {
            arch: &X86_64,
            firmware: Firmware::Edk2,
            el2: false,
            disks: vec![image.to_owned()],
            memory: 512,
            cpus: 2,
            cpu: "max".into(),
            display: false,
            keyboard: false,
            keys: Keys::Pipe,
            blkdebug: None,
            sata: false,
            usb: false,
            read_only: false,
            resolution: None,
            pxe: None,
            nics: Vec::new(),
        }
    }

    /// Starts the machine.
    pub fn start(&self, accel: Accel) -> Result<Guest> {
        let arch = self.arch;
        let scratch = Scratch::new()?;
        let port = free_port()?;

        let mut qemu = Command::new(arch.qemu);
        let hypervisor = if self.el2 { ",virtualization=on" } else { "" };
        // `virt`'s usual interrupt controller is for eight cores.
        let many = self.cpus > 8 && arch.name == AARCH64.name;
        let controller = if many { ",gic-version=3" } else { "" };
        qemu.args([
            "-machine",
            &format!("{}{hypervisor}{controller}", arch.machine),
            "-accel",
            if accel == Accel::Kvm { "kvm" } else { "tcg" },
        ]);
        qemu.args([
            "-cpu",
            &self.cpu,
            "-smp",
            &self.cpus.to_string(),
            "-m",
            &format!("{}M", self.memory),
        ]);
        match self.firmware {
            Firmware::Edk2 => {
                let (code, template) = arch
                    .find_firmware()
                    .context("no UEFI firmware for QEMU; `cargo xtask setup` installs it")?;
                let vars = scratch.0.join("vars.fd");
                fs::copy(template, &vars).context(template)?;
                let code = escape(Path::new(code));
                qemu.arg("-drive")
                    .arg(format!("if=pflash,format=raw,readonly=on,file={code}"));
                qemu.arg("-drive")
                    .arg(format!("if=pflash,format=raw,file={}", escape(&vars)));
            }
            Firmware::UBoot => {
                let (file, _) = arch.u_boot.context("no U-Boot for this architecture")?;
                qemu.args(["-bios", file]);
            }
        }
        if self.usb {
            qemu.args(["-device", "qemu-xhci,id=usb"]);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            let file = match &self.blkdebug {
                Some(rules) if index == 0 => {
                    format!("file=blkdebug:{}:{}", escape(rules), escape(disk))
                }
                _ => format!("file={}", escape(disk)),
            };
            let file = match self.read_only && index == 0 {
                true => format!("readonly=on,{file}"),
                false => file,
            };
            qemu.arg("-drive")
                .arg(format!("if=none,id=disk{index},format=raw,{file}"));
            let device = if self.sata {
                format!("ide-hd,bus=ide.{index}")
            } else if self.usb {
                "usb-storage,bus=usb.0".to_owned()
            } else {
                "virtio-blk-pci".to_owned()
            };
            qemu.arg("-device").arg(format!(
                "{device},id=drive{index},drive=disk{index},bootindex={index}"
            ));
        }
        if self.nics.is_empty() {
            qemu.args(["-nic", "none"]);
        }
        for (index, nic) in self.nics.iter().enumerate() {
            let network = match &nic.network {
                NicNetwork::Qemu(forwards) => {
                    let forwards = forwards.iter();
                    let forwards: String = forwards
                        .map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}"))
                        .collect();
                    let pxe = self
                        .pxe
                        .as_ref()
                        .map(|(folder, file)| format!(",tftp={},bootfile={file}", escape(folder)));
                    format!("user,id=net{index}{forwards}{}", pxe.unwrap_or_default())
                }
                NicNetwork::Cable { qemu, other } => {
                    format!("socket,id=net{index},udp=127.0.0.1:{other},localaddr=127.0.0.1:{qemu}")
                }
            };
            qemu.args(["-netdev", &network]);
            let boots = self.pxe.is_some() && index == 0;
            let order = if boots { ",bootindex=0" } else { "" };
            let device = format!("{},netdev=net{index},id=card{index}{order}", nic.device);
            qemu.args(["-device", &device]);
        }
        qemu.args(["-monitor", "none"]);
        let graphics = match self.resolution {
            Some((width, height)) => {
                format!("{},edid=on,xres={width},yres={height}", arch.graphics)
            }
            None => arch.graphics.to_owned(),
        };
        qemu.args(["-vga", "none", "-device", &graphics]);
        if self.keyboard || self.display {
            for device in arch.keyboard {
                qemu.args(["-device", device]);
            }
        }
        // Ctrl-C is the guest's. With the multiplexer, Ctrl-A X ends a machine that hangs; in a
        // pipe Ctrl-A is a byte.
        let mux = if self.keys == Keys::Terminal {
            "on"
        } else {
            "off"
        };
        qemu.arg("-chardev")
            .arg(format!("stdio,id=serial,signal=off,mux={mux}"));
        qemu.args(["-serial", "chardev:serial"]);
        qemu.arg("-qmp")
            .arg(format!("tcp:127.0.0.1:{port},server=on,wait=off"));
        if !self.display {
            qemu.args(["-display", "none"]);
        }
        qemu.stdin(if self.keys == Keys::Terminal {
            Stdio::inherit()
        } else {
            Stdio::piped()
        });
        let mut child = qemu
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(arch.qemu)?;

        let (sender, serial) = channel();
        let mut stdout = child.stdout.take().context("QEMU's output")?;
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = stdout.read(&mut piece) {
                if sender.send(piece[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().context("QEMU's errors")?;
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let keys = child.stdin.take();
        Ok(Guest {
            child,
            serial,
            errors: Some(errors),
            keys,
            port,
            filter: Filter::default(),
            text: String::new(),
            characters: Utf8Stream::default(),
            terminal: Terminal::default(),
            echo: None,
            accel,
            scratch,
        })
    }

    /// Starts the machine under KVM if that works here, or else with translation.
    pub fn start_best(&self, wanted: Option<Accel>) -> Result<Guest> {
        if let Some(accel) = wanted {
            return self.start(accel);
        }
        let kvm = fs::File::options().read(true).write(true).open("/dev/kvm");
        if self.arch.name != std::env::consts::ARCH || kvm.is_err() {
            return self.start(Accel::Tcg);
        }
        // It may be there and not work: QEMU ends at once, or the firmware never speaks.
        let mut guest = self.start(Accel::Kvm)?;
        if guest.first_byte(Duration::from_secs(10)) {
            return Ok(guest);
        }
        eprintln!(
            "xtask: KVM does not work on this machine: using software emulation, which is slow"
        );
        drop(guest);
        self.start(Accel::Tcg)
    }
}

/// Escapes commas, which end a value on QEMU's command line.
fn escape(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Way in which a guest ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The application printed `llama2: exit N`.
    Exit(u8),
    /// The time limit was reached.
    Timeout,
    /// QEMU was ended or the machine was switched off without a message.
    Off,
    /// QEMU failed, with this message.
    Gone(String),
}

/// Running machine, which is ended when this is dropped.
pub struct Guest {
    child: Child,
    serial: Receiver<Vec<u8>>,
    errors: Option<std::thread::JoinHandle<String>>,
    keys: Option<ChildStdin>,
    port: u16,
    filter: Filter,
    /// Output of the serial line so far, without escape sequences and carriage returns.
    pub text: String,
    /// Decoder for characters that arrive in pieces.
    characters: Utf8Stream,
    /// Output as shown by a terminal.
    pub terminal: Terminal,
    /// Destination for a copy of the output: with escape sequences if keys come from a terminal.
    pub echo: Option<Box<dyn Write + Send>>,
    /// Method of running instructions.
    pub accel: Accel,
    scratch: Scratch,
}

impl Guest {
    /// Waits for the first output.
    fn first_byte(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline {
            if self.take(Duration::from_millis(100)).is_ok_and(|came| came) {
                return true;
            }
            if self.child.try_wait().ok().flatten().is_some() {
                return false;
            }
        }
        false
    }

    /// Reads what arrives within `patience`. Returns true if anything did, and an error if the line
    /// is closed.
    fn take(&mut self, patience: Duration) -> Result<bool, ()> {
        match self.serial.recv_timeout(patience) {
            Ok(bytes) => {
                let mut text = Vec::new();
                self.filter.pass(&bytes, &mut text);
                // A terminal gets the escape sequences, so that lines can be edited there. A script
                // gets plain text.
                let seen = if self.keys.is_none() { &bytes } else { &text };
                if let Some(echo) = &mut self.echo {
                    let _ = echo.write_all(seen).and_then(|()| echo.flush());
                }
                self.characters.push(&text, &mut self.text);
                self.terminal.take(&bytes);
                Ok(true)
            }
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => Err(()),
        }
    }

    /// Waits until `found` accepts the text so far.
    pub fn wait<T>(
        &mut self,
        patience: Duration,
        found: impl Fn(&str) -> Option<T>,
    ) -> Result<T, End> {
        self.until(patience, |guest| found(&guest.text))
    }

    /// Waits until `found` accepts the state so far.
    pub fn until<T>(
        &mut self,
        patience: Duration,
        found: impl Fn(&Guest) -> Option<T>,
    ) -> Result<T, End> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(End::Timeout);
            }
            if self.take(left.min(Duration::from_millis(200))).is_err() {
                let status = self.child.wait();
                let well = status.as_ref().is_ok_and(std::process::ExitStatus::success);
                let status =
                    status.map_or_else(|error| error.to_string(), |status| status.to_string());
                let words = self
                    .errors
                    .take()
                    .and_then(|errors| errors.join().ok())
                    .unwrap_or_default();
                let words = words.trim();
                return found(self).ok_or(match words.is_empty() {
                    true if well => End::Off,
                    true => End::Gone(status),
                    false => End::Gone(format!("{status}: {words}")),
                });
            }
        }
    }

    /// Row of a prompt that waits for a line, if it is the last row.
    pub fn prompt(&self) -> Option<usize> {
        let (row, column) = self.terminal.cursor();
        let ready = column == PROMPT.len() && self.terminal.row(row) == PROMPT;
        (ready && row + 1 == self.terminal.count()).then_some(row)
    }

    /// Waits for the application's last line.
    pub fn end(&mut self, patience: Duration) -> End {
        let number = |rest: &str| rest.split_once('\n')?.0.trim().parse().ok();
        let last_line = |guest: &Guest| match guest.text.rsplit_once("\nllama2: exit ") {
            Some((_, rest)) => number(rest),
            // On a terminal it may have taken the place of a prompt.
            None => {
                let (_, rest) = guest.text.rsplit_once("llama2: exit ")?;
                let mut rows = (0..guest.terminal.count()).rev();
                rows.find(|&row| guest.terminal.row(row).starts_with("llama2: exit "))?;
                number(rest)
            }
        };
        match self.until(patience, last_line) {
            Ok(status) => End::Exit(status),
            Err(end) => end,
        }
    }

    /// Sends keys over the serial line.
    pub fn send(&mut self, keys: &[u8]) -> Result<()> {
        let pipe = self
            .keys
            .as_mut()
            .context("the guest's keys come from the terminal")?;
        pipe.write_all(keys)?;
        Ok(pipe.flush()?)
    }

    /// Temporary folder of this machine.
    pub fn folder(&self) -> &Path {
        &self.scratch.0
    }

    /// Runs a command of QEMU's machine protocol, and returns its answer.
    pub fn qmp(&self, command: serde_json::Value) -> Result<serde_json::Value> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).context("QEMU's control port")?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let mut stream = stream;
        lines.next().context("QEMU's greeting")??;
        let mut last = serde_json::Value::Null;
        for command in [serde_json::json!({"execute": "qmp_capabilities"}), command] {
            writeln!(stream, "{command}")?;
            loop {
                let line = lines.next().context("QEMU's answer")??;
                last = serde_json::from_str(&line)?;
                if let Some(error) = last.get("error") {
                    bail!("QEMU refused {command}: {error}");
                }
                if last.get("return").is_some() {
                    break;
                }
            }
        }
        Ok(last)
    }

    /// Plugs the network card's cable in, or pulls it out.
    ///
    /// # Errors
    /// If the machine has no card.
    pub fn plug_cable(&self, up: bool) -> Result<()> {
        let arguments = serde_json::json!({"name": Nic::ID, "up": up});
        self.qmp(serde_json::json!({"execute": "set_link", "arguments": arguments}))
            .map(|_| ())
    }

    /// Saves a screenshot as PNG.
    pub fn screendump(&self, file: &Path) -> Result<()> {
        let file = std::path::absolute(file)?;
        let arguments = serde_json::json!({"filename": file, "format": "png"});
        self.qmp(serde_json::json!({"execute": "screendump", "arguments": arguments}))
            .map(|_| ())
    }

    /// Waits for the machine to switch itself off, so that its disk is written.
    pub fn settle(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && self.child.try_wait().ok().flatten().is_none() {
            let _ = self.take(Duration::from_millis(50));
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.child.try_wait().ok().flatten().is_none() {
            // Politely first: QEMU puts the terminal back as it was.
            let asked = self.qmp(serde_json::json!({"execute": "quit"})).is_ok();
            let deadline = Instant::now() + Duration::from_secs(if asked { 3 } else { 0 });
            while Instant::now() < deadline && self.child.try_wait().ok().flatten().is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        // Pastes are not marked any more and nothing is in colours, whatever the machine said last.
        if let (None, Some(echo)) = (&self.keys, &mut self.echo) {
            let _ = echo.write_all(b"\x1b[?2004l\x1b[0m");
        }
    }
}

/// Returns true if a user can press a key.
pub fn somebody_types() -> bool {
    std::io::stdin().is_terminal()
}

/// Temporary folder of a machine, deleted at its end.
#[derive(Debug)]
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("llama2-qemu-{}-{number}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes escape sequences and carriage returns from a stream of bytes (ECMA-48, and charset
/// selections).
#[derive(Default)]
struct Filter {
    state: State,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Plain,
    Escape,
    Control,
    Command,
    CommandEscape,
    Intermediate,
}

impl Filter {
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                // Inside a command string it may be the string's end; elsewhere a sequence begins,
                // whatever was cut off.
                (State::Command, 0x1b) => State::CommandEscape,
                (_, 0x1b) => State::Escape,
                (State::Plain, b'\r' | 0) => State::Plain,
                (State::Plain, _) => {
                    out.push(byte);
                    State::Plain
                }
                // CAN and SUB end any sequence. A line's end does too: no sequence holds one, and a
                // string that is never ended must not swallow the story.
                (_, 0x18 | 0x1a) => State::Plain,
                (_, b'\n') => {
                    out.push(byte);
                    State::Plain
                }
                (State::Escape | State::CommandEscape, b'[') => State::Control,
                (State::Escape | State::CommandEscape, b']' | b'P' | b'X' | b'^' | b'_') => {
                    State::Command
                }
                (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
                (State::Control, 0x40..=0x7e) => State::Plain,
                (State::Control, _) => State::Control,
                (State::Command, 0x07) => State::Plain,
                (State::Command, _) => State::Command,
                (State::Escape | State::CommandEscape | State::Intermediate, _) => State::Plain,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_taken_out_however_they_are_cut() {
        let bytes = "\x1b[2J\x1b[01;01H\x1b[=3hBds\x1b]0;title\x07Dxe\x1b(B: \x1b[0m日本\r\n\
            end\x1b]x\x1b\\!\x1bc.\r\n"
            .as_bytes();
        for cut in 1..bytes.len() {
            let (mut filter, mut out) = (Filter::default(), Vec::new());
            bytes
                .chunks(cut)
                .for_each(|piece| filter.pass(piece, &mut out));
            assert_eq!(String::from_utf8(out).unwrap(), "BdsDxe: 日本\nend!.\n");
        }
    }

    #[test]
    fn broken_escape_sequences_leave_nothing_behind_and_swallow_no_line() {
        let filtered = |text: &str| {
            let (mut filter, mut out) = (Filter::default(), Vec::new());
            filter.pass(text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        for (text, want) in [
            ("\x1b\x1b[2Ja", "a"),
            ("\x1b[12\x1b[0ma", "a"),
            ("\x1b F\x1b$(Ba", "a"),
            ("\x1b[1\x18a\x1b]0;t\x1aa", "aa"),
            ("\x1b]0;never ended\nOnce\n", "\nOnce\n"),
            ("\x1b[\r\nOnce\n", "\nOnce\n"),
            ("\x1bPq\x1b[1ma", "a"),
        ] {
            assert_eq!(filtered(text), want, "{text:?}");
        }
    }
}
