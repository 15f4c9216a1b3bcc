//! The serial line, raw: UTF-8 out, bytes in.
//!
//! # Quirks
//! EDK2's terminal driver turns text to PC-ANSI ("Ünïcode" becomes "?n?code") and holds a lone Esc
//! back for two seconds. Opening the port exclusively takes that driver off it; it is connected
//! again by [`Serial::close`].
//!
//! EDK2's serial drivers (PciSioSerialDxe, and OVMF's) look at the port only while they are called,
//! and keep 16 bytes besides the 16 of a 16550: at 115 200 baud they are full 2.8 ms after the last
//! look. So the port is read between any two pieces that are written, and by a timer, into a buffer
//! of our own. QEMU holds bytes back while the port is full; a real line loses them, unless both
//! ends use RTS and CTS, or nobody looks away for so long.

use alloc::collections::VecDeque;
use core::time::Duration;

use uefi::{
    Handle, Status,
    boot::{self, ScopedProtocol},
    proto::console::serial::Serial as Port,
};
use uefi_raw::protocol::console::serial::{ControlBits, SerialIoProtocol};

use super::clock;

/// Bytes handed to the firmware at once; a 16550's queue holds 16, and as many may come in while
/// they leave.
const PIECE: usize = 16;
/// Bytes that may wait until they are read: a long paste.
const ROOM: usize = 32 << 10;
/// Milliseconds without any progress after which the line counts as dead: nobody is there, and flow
/// control waits.
const PATIENCE: u64 = 2_000;

/// An open port.
pub struct Serial {
    handle: Handle,
    port: ScopedProtocol<Port>,
    dead: bool,
    /// Bytes that came in, with the milliseconds when they were seen. It never grows: a panic's
    /// message is sent without the heap, and the timer must not ask for memory.
    received: VecDeque<(u8, u32)>,
}

impl Serial {
    /// Opens the first serial port that can be had for ourselves.
    pub fn open() -> Option<Serial> {
        let handles = boot::find_handles::<Port>().ok()?;
        handles.into_iter().find_map(|handle| {
            let port = boot::open_protocol_exclusive::<Port>(handle).ok()?;
            // A null interface (allowed by the specification for other protocols) would be no use.
            port.get()?;
            Some(Serial {
                handle,
                port,
                dead: false,
                received: VecDeque::with_capacity(ROOM),
            })
        })
    }

    fn raw(&mut self) -> *mut SerialIoProtocol {
        self.port
            .get_mut()
            .map_or(core::ptr::null_mut(), |port| (&raw mut *port).cast())
    }

    /// Sends bytes. A line that takes none for a while is given up, so that nobody waits for it
    /// again.
    pub fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            self.listen();
            let mut rest = piece;
            let mut moved = clock::milliseconds();
            while !rest.is_empty() && !self.dead {
                let raw = self.raw();
                let mut sent = rest.len();
                // Safety: `Port` is the protocol itself (transparent), open and exclusively ours;
                // `sent` is `rest`'s length.
                let status = unsafe { ((*raw).write)(raw, &mut sent, rest.as_ptr()) };
                // On a time-out `sent` says how far it came; on other errors it may say anything.
                let sent = match status {
                    Status::SUCCESS | Status::TIMEOUT => sent.min(rest.len()),
                    _ => 0,
                };
                rest = &rest[sent..];
                if sent > 0 {
                    moved = clock::milliseconds();
                } else {
                    self.dead = clock::milliseconds() - moved >= PATIENCE;
                    boot::stall(Duration::from_millis(1));
                }
            }
        }
    }

    /// Takes in what has come, before the firmware's small queue is full.
    pub fn listen(&mut self) {
        while self.received.len() < ROOM
            && let Some(byte) = self.take()
        {
            self.received
                .push_back((byte, clock::milliseconds() as u32));
        }
    }

    /// The next byte that came in, if there is one, and the milliseconds when it was seen.
    pub fn read(&mut self) -> Option<(u8, u64)> {
        let now = clock::milliseconds();
        let (byte, seen) = self
            .received
            .pop_front()
            .or_else(|| Some((self.take()?, now as u32)))?;
        // Its upper bits are now's: nothing waits for weeks.
        let age = (now as u32).wrapping_sub(seen);
        Some((byte, now.saturating_sub(u64::from(age))))
    }

    /// The next byte of the firmware's queue.
    fn take(&mut self) -> Option<u8> {
        if self.dead {
            return None;
        }
        let raw = self.raw();
        let mut bits = ControlBits::empty();
        // Reading from an empty port would wait for the port's time-out, a second.
        // Safety: as in `write`.
        let status = unsafe { ((*raw).get_control_bits)(raw, &mut bits) };
        if status != Status::SUCCESS || bits.contains(ControlBits::INPUT_BUFFER_EMPTY) {
            return None;
        }
        let (mut byte, mut len) = (0u8, 1);
        // Safety: as in `write`; `byte` is one byte long.
        let status = unsafe { ((*raw).read)(raw, &mut len, &mut byte) };
        (status == Status::SUCCESS && len == 1).then_some(byte)
    }

    /// Gives the port back to the firmware's own driver, once the last byte has left: that driver
    /// resets the port.
    pub fn close(mut self) {
        let start = clock::milliseconds();
        while !self.dead && !self.is_drained() && clock::milliseconds() - start < PATIENCE {
            boot::stall(Duration::from_millis(1));
        }
        let handle = self.handle;
        drop(self.port);
        let _ = boot::connect_controller(handle, &[], None, true);
    }

    /// Tells whether everything that was written has been sent; also if the port does not tell.
    fn is_drained(&mut self) -> bool {
        let raw = self.raw();
        let mut bits = ControlBits::empty();
        // Safety: as in `write`.
        let status = unsafe { ((*raw).get_control_bits)(raw, &mut bits) };
        status != Status::SUCCESS || bits.contains(ControlBits::OUTPUT_BUFFER_EMPTY)
    }
}
