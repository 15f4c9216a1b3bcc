//! Serial line in raw mode: UTF-8 out, bytes in.
//!
//! # Quirks
//! EDK2's terminal driver converts text to PC-ANSI ("Ünïcode" becomes "?n?code") and delays a lone
//! Esc by two seconds. Opening the port exclusively disconnects that driver; [`Serial::close`]
//! connects it again.
//!
//! EDK2's serial drivers (PciSioSerialDxe, and OVMF's) poll the port only while they are called,
//! and buffer 16 bytes besides the 16 of a 16550: at 115200 baud these are full after 2.8 ms.
//! Therefore the port is read between any two pieces that are written, and by a timer, into a
//! buffer of our own. QEMU holds bytes back while the port is full; a real line loses them, unless
//! both ends use RTS and CTS or polls are frequent enough.

use alloc::collections::VecDeque;
use core::time::Duration;

use uefi::{
    Handle, Status,
    boot::{self, ScopedProtocol},
    proto::console::serial::Serial as Port,
};
use uefi_raw::protocol::console::serial::{ControlBits, SerialIoProtocol};

use super::clock;

/// Bytes passed to the firmware at a time; a 16550's queue holds 16, and as many may arrive while
/// they are sent.
const PIECE: usize = 16;
/// Capacity of the input buffer in bytes: enough for a long paste.
const ROOM: usize = 32 << 10;
/// Milliseconds without any progress after which the line counts as dead: nothing is connected, and
/// flow control waits.
const PATIENCE: u64 = 2_000;

/// An open port.
pub struct Serial {
    handle: Handle,
    port: ScopedProtocol<Port>,
    dead: bool,
    /// Received bytes with their arrival times in milliseconds. It never grows: a panic's message
    /// is sent without the heap, and the timer must not allocate.
    received: VecDeque<(u8, u32)>,
}

impl Serial {
    /// Opens the first serial port that can be opened exclusively.
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

    /// Sends bytes. A line that accepts none for a while is given up, so that later writes do not
    /// wait.
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
                // After a timeout `sent` is the number of bytes sent; after other errors it may be
                // anything.
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

    /// Reads bytes before the firmware's small queue overflows.
    pub fn listen(&mut self) {
        while self.received.len() < ROOM
            && let Some(byte) = self.take()
        {
            self.received
                .push_back((byte, clock::milliseconds() as u32));
        }
    }

    /// Next received byte, if any, and its arrival time in milliseconds.
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

    /// Next byte of the firmware's queue.
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

    /// Returns the port to the firmware's own driver after the last byte was sent, because that
    /// driver resets the port.
    pub fn close(mut self) {
        let start = clock::milliseconds();
        while !self.dead && !self.is_drained() && clock::milliseconds() - start < PATIENCE {
            boot::stall(Duration::from_millis(1));
        }
        let handle = self.handle;
        drop(self.port);
        let _ = boot::connect_controller(handle, &[], None, true);
    }

    /// Returns true if everything has been sent, or if the port does not report it.
    fn is_drained(&mut self) -> bool {
        let raw = self.raw();
        let mut bits = ControlBits::empty();
        // Safety: as in `write`.
        let status = unsafe { ((*raw).get_control_bits)(raw, &mut bits) };
        status != Status::SUCCESS || bits.contains(ControlBits::OUTPUT_BUFFER_EMPTY)
    }
}
