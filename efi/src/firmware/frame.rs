//! Frame buffer, through the firmware's block transfers: written only, in the resolution that the
//! firmware has chosen.
//!
//! # Quirks
//! - Pixels are transferred by Blt, never written to the frame buffer's address: some modes have
//!   none (BltOnly), and EDK2's splitter shows one transfer on every screen.
//! - Reading back is slow on real machines (the frame buffer is not cached) and is never done.
//! - The console's own handle is tried first, because its screen is the one in use. A graphics card
//!   without a connected screen also has the protocol.

use uefi::{
    Handle, Status,
    boot::{self, ScopedProtocol},
    proto::console::gop::GraphicsOutput,
    table,
};
use uefi_raw::protocol::console::{GraphicsOutputBltOperation, GraphicsOutputProtocol};

use super::shell::open;

/// Rectangle of the screen, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// Frame buffer of the screen.
pub struct Frame {
    output: ScopedProtocol<GraphicsOutput>,
    width: usize,
    height: usize,
}

impl Frame {
    /// Opens the console's screen, or else the first one that has a mode; `None` on machines
    /// without one.
    pub fn open() -> Option<Frame> {
        let console = || {
            // Safety: the firmware's own table, valid until ExitBootServices, which is never
            // called; the handle is null or the console's.
            unsafe { Handle::from_ptr(table::system_table_raw()?.as_ref().stdout_handle) }
        };
        let others = boot::find_handles::<GraphicsOutput>().unwrap_or_default();
        console().into_iter().chain(others).find_map(|handle| {
            let mut output = open::<GraphicsOutput>(handle)?;
            let raw = raw(&mut output)?;
            // Safety: the firmware's protocol, which is open, and what it points to, if that is not
            // null; all of it is only read.
            let mode = unsafe { (*raw).mode.as_ref()?.info.as_ref()? };
            let width = mode.horizontal_resolution as usize;
            let height = mode.vertical_resolution as usize;
            (width > 0 && height > 0).then_some(Frame {
                output,
                width,
                height,
            })
        })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// Copies a rectangle of the picture to the screen. `pixels` are those of the whole picture
    /// (0x00RRGGBB), row by row, `stride` per row; parts of `rect` outside of picture or screen are
    /// ignored. Returns false if the firmware failed.
    pub fn put(&mut self, rect: Rect, pixels: &[u32], stride: usize) -> bool {
        let rows = pixels.len().checked_div(stride).unwrap_or(0);
        let width = rect
            .width
            .min(self.width.min(stride).saturating_sub(rect.x));
        let height = rect
            .height
            .min(self.height.min(rows).saturating_sub(rect.y));
        if width == 0 || height == 0 {
            return true;
        }
        let Some(raw) = raw(&mut self.output) else {
            return false;
        };
        // Safety: the protocol is open. It only reads the pixels, in rows of `stride`, and the
        // rectangle is within the existing rows. A pixel is four bytes, blue, green, red and one
        // that is ignored: 0x00RRGGBB on UEFI's machines, which are little-endian.
        let status = unsafe {
            ((*raw).blt)(
                raw,
                pixels.as_ptr().cast_mut().cast(),
                GraphicsOutputBltOperation::BLT_BUFFER_TO_VIDEO,
                rect.x,
                rect.y,
                rect.x,
                rect.y,
                width,
                height,
                stride * size_of::<u32>(),
            )
        };
        status == Status::SUCCESS
    }
}

/// Pointer to the protocol. The wrapper of `uefi` panics if the firmware's mode has changed, and
/// reads through a null description.
fn raw(output: &mut ScopedProtocol<GraphicsOutput>) -> Option<*mut GraphicsOutputProtocol> {
    Some((&raw mut *output.get_mut()?).cast())
}
