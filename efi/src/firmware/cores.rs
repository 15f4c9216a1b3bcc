//! The processor's cores, by the Platform Initialization specification's MP Services.

use uefi::{boot, proto::pi::mp::MpServices};

use super::shell::open;

/// Number of enabled cores, if the firmware can tell.
pub fn count() -> Option<usize> {
    let services = open::<MpServices>(boot::get_handle_for_protocol::<MpServices>().ok()?)?;
    let count = services.get()?.get_number_of_processors().ok()?;
    Some(count.enabled)
}
