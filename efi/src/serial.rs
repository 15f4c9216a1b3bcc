//! The serial line, raw: UTF-8 out, bytes in.
//!
//! # Quirks
//! EDK2's terminal driver turns text to PC-ANSI ("Ünïcode" becomes "?n?code") and holds a lone Esc back for two seconds.
//! Opening the port exclusively takes that driver off it; it is connected again by [`Serial::close`].

use core::time::Duration;

use uefi::{
    Handle, Status,
    boot::{self, ScopedProtocol},
    proto::console::serial::Serial as Port,
};
use uefi_raw::protocol::console::serial::{ControlBits, SerialIoProtocol};

/// Bytes handed to the firmware at once; a 16550's queue holds 16.
const PIECE: usize = 64;
/// Attempts without any progress after which the line counts as dead.
const PATIENCE: u32 = 40;

/// An open port.
pub struct Serial {
    handle: Handle,
    port: ScopedProtocol<Port>,
    dead: bool,
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
            })
        })
    }

    fn raw(&mut self) -> *mut SerialIoProtocol {
        self.port
            .get_mut()
            .map_or(core::ptr::null_mut(), |port| (&raw mut *port).cast())
    }

    /// Sends bytes. A line that takes none for a while is given up, so that nobody waits for it again.
    pub fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(PIECE) {
            let mut rest = piece;
            let mut idle = 0;
            while !rest.is_empty() && !self.dead {
                let raw = self.raw();
                let mut sent = rest.len();
                // Safety: `Port` is the protocol itself (transparent), open and exclusively ours; `sent` is `rest`'s length.
                let status = unsafe { ((*raw).write)(raw, &mut sent, rest.as_ptr()) };
                let sent = sent.min(rest.len());
                rest = &rest[sent..];
                if status != Status::SUCCESS && sent == 0 {
                    idle += 1;
                    self.dead = idle > PATIENCE;
                    boot::stall(Duration::from_millis(5));
                }
            }
        }
    }

    /// The next byte that came in, if there is one.
    pub fn read(&mut self) -> Option<u8> {
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

    /// Gives the port back to the firmware's own driver.
    pub fn close(self) {
        let handle = self.handle;
        drop(self.port);
        let _ = boot::connect_controller(handle, &[], None, true);
    }
}
