//! Ways to end: return to the firmware, restart, switch off, or enter the firmware's setup.

use alloc::{format, string::String};
use core::{convert::Infallible, time::Duration};

use uefi::{
    CStr16, Status, boot, cstr16,
    runtime::{self, ResetType, VariableAttributes, VariableVendor},
    table,
};

use llama2_app::AGAIN;
use llama2_settings::Exit;

use super::{console, network, terminal};

/// Variables of the actions that the firmware supports at its next start, and of those requested
/// (specification 2.10, section 8.5.4).
const SUPPORTED: &CStr16 = cstr16!("OsIndicationsSupported");
const WANTED: &CStr16 = cstr16!("OsIndications");
/// Bit that requests the setup.
const BOOT_TO_FW_UI: u64 = 1;

/// Ends a run: waits for a key if configured, shows the last line, and returns or switches off.
pub fn end(told: bool) -> Status {
    let exit = terminal::exit();
    if exit == Exit::Key {
        // Before the prompt is shown, not after it, because the user may answer at once.
        while terminal::key().is_some() {}
        terminal::say(if told {
            "Done! Press any key to exit."
        } else {
            "Press any key to exit."
        });
        terminal::wait_for_key();
    }
    leave(told);
    if exit == Exit::Shutdown {
        reset(ResetType::SHUTDOWN);
    }
    if told {
        Status::SUCCESS
    } else {
        Status::ABORTED
    }
}

/// Says the last line and gives everything back to the firmware.
fn leave(told: bool) {
    network::close();
    terminal::leave(told);
}

/// Restarts the machine.
pub fn reboot() -> ! {
    terminal::say(AGAIN);
    leave(true);
    reset(ResetType::COLD)
}

/// Switches the machine off.
pub fn shutdown() -> ! {
    leave(true);
    reset(ResetType::SHUTDOWN)
}

/// Restarts the machine into the firmware's setup.
///
/// # Errors
/// A sentence, if the firmware does not support it. Nothing has been closed then.
pub fn firmware_setup() -> Result<Infallible, String> {
    let supported = number(SUPPORTED)?.unwrap_or(0);
    if supported & BOOT_TO_FW_UI == 0 {
        return Err(
            "this firmware cannot restart into its setup; type /reboot, and press its key (mostly Del, F2 or Esc) while the machine starts"
                .into(),
        );
    }
    let wanted = number(WANTED)?.unwrap_or(0) | BOOT_TO_FW_UI;
    let attributes = VariableAttributes::NON_VOLATILE
        | VariableAttributes::BOOTSERVICE_ACCESS
        | VariableAttributes::RUNTIME_ACCESS;
    let vendor = &VariableVendor::GLOBAL_VARIABLE;
    runtime::set_variable(WANTED, vendor, attributes, &wanted.to_le_bytes()).map_err(|error| {
        format!(
            "the firmware refuses to restart into its setup ({:?}); /reboot, and press its key while the machine starts",
            error.status()
        )
    })?;
    terminal::say(AGAIN);
    leave(true);
    reset(ResetType::COLD)
}

/// Number in a variable of the firmware.
fn number(name: &CStr16) -> Result<Option<u64>, String> {
    let mut bytes = [0; 8];
    match runtime::get_variable(name, &VariableVendor::GLOBAL_VARIABLE, &mut bytes) {
        Ok(_) => Ok(Some(u64::from_le_bytes(bytes))),
        Err(error) if error.status() == Status::NOT_FOUND => Ok(None),
        Err(error) => Err(format!(
            "the firmware's variable {name} cannot be read ({:?}); its setup can only be entered by a key while the machine starts",
            error.status()
        )),
    }
}

/// Resets the machine, after everything has been closed.
///
/// # Quirks
/// The specification says that ResetSystem never returns, and `uefi` types it so; firmware that
/// cannot switch off does return.
pub fn reset(kind: ResetType) -> ! {
    type Reset = unsafe extern "efiapi" fn(ResetType, Status, usize, *const u8);
    if let Some(table) = table::system_table_raw() {
        // Safety: the firmware's own tables, which stay valid. The two function types differ only
        // in the result, and the firmware's function may return.
        unsafe {
            let reset = (*table.as_ref().runtime_services).reset_system;
            let reset = core::mem::transmute::<*const (), Reset>(reset as *const ());
            reset(kind, Status::SUCCESS, 0, core::ptr::null());
        }
    }
    console::write("The machine can be switched off now.\n");
    loop {
        boot::stall(Duration::from_secs(1));
    }
}
