//! Origin and command line of the application, from the image's own protocols and the UEFI Shell's.

use alloc::{format, string::String, vec::Vec};

use llama2_efi::command_line;
use uefi::{
    CStr16, CString16, Handle,
    boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol},
    proto::{
        ProtocolPointer, device_path::DevicePath, loaded_image::LoadedImage,
        media::fs::SimpleFileSystem, shell::Shell, shell_params::ShellParameters,
    },
};
use uefi_raw::protocol::shell::ShellProtocol;

/// Opens a protocol without excluding other users, as the specification's GetProtocol does.
pub fn open<P: ProtocolPointer + ?Sized>(handle: Handle) -> Option<ScopedProtocol<P>> {
    // Safety: nothing in this application takes drivers or protocols away while one of these is
    // open: `Serial::close` and `files::connect` only add drivers.
    unsafe {
        boot::open_protocol::<P>(
            OpenProtocolParams {
                handle,
                agent: boot::image_handle(),
                controller: None,
            },
            OpenProtocolAttributes::GetProtocol,
        )
    }
    .ok()
}

/// Converts a text of the firmware.
///
/// # Quirks
/// The conversion of `uefi` panics on half a surrogate pair, and firmware passes on whatever a disk
/// or a boot entry contains: a file named with an emoji suffices.
pub fn text(text: &CStr16) -> String {
    String::from_utf16_lossy(text.to_u16_slice())
}

/// Device that the application was loaded from.
pub fn own_device() -> Option<Handle> {
    open::<LoadedImage>(boot::image_handle())?.get()?.device()
}

/// Returns true if the UEFI Shell started the application: it owns the screen.
pub fn is_parent() -> bool {
    open::<ShellParameters>(boot::image_handle()).is_some()
}

/// Words of the command line: from the Shell, or else from the boot entry.
pub fn words() -> Vec<String> {
    let image = boot::image_handle();
    if let Some(shell) = open::<ShellParameters>(image) {
        return shell
            .get()
            .map_or(Vec::new(), |shell| shell.args().skip(1).map(text).collect());
    }
    let image = open::<LoadedImage>(image);
    let options = image
        .as_ref()
        .and_then(|image| image.get()?.load_options_as_bytes());
    options
        .and_then(command_line::load_options)
        .unwrap_or_default()
}

/// Current folder of the Shell without its volume, with `\` at both ends; `None` outside of the
/// Shell.
pub fn current_folder() -> Option<String> {
    let shell = open::<Shell>(boot::get_handle_for_protocol::<Shell>().ok()?)?;
    let folder = shell.get()?.current_dir(None).ok().map(text)?;
    let folder = folder
        .split_once(':')
        .map_or(folder.as_str(), |split| split.1);
    Some(format!("\\{}\\", folder.trim_matches('\\')).replace("\\\\", "\\"))
}

/// Volume that the Shell calls `name` (`fs1:`).
pub fn mapped(name: &str) -> Option<Handle> {
    let mut shell = open::<Shell>(boot::get_handle_for_protocol::<Shell>().ok()?)?;
    let raw: *mut ShellProtocol = (&raw mut *shell.get_mut()?).cast();
    let name = CString16::try_from(name).ok()?;
    // Safety: `Shell` is the protocol itself (transparent) and open; the name is null-terminated.
    let path = unsafe { ((*raw).get_device_path_from_map)(name.as_ptr().cast()) };
    if path.is_null() {
        return None;
    }
    // Safety: the Shell's own device path, which it keeps as long as the mapping; it is only read.
    let mut path = unsafe { DevicePath::from_ffi_ptr(path.cast()) };
    boot::locate_device_path::<SimpleFileSystem>(&mut path).ok()
}
