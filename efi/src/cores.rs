//! The processor's cores, by the Platform Initialization specification's MP Services.

use uefi::{boot, proto::pi::mp::MpServices};

/// Number of enabled cores, if the firmware can tell.
pub fn count() -> Option<usize> {
    let handle = boot::get_handle_for_protocol::<MpServices>().ok()?;
    // Safety: a protocol of the firmware's own that is never uninstalled; it is only asked.
    let services = unsafe {
        boot::open_protocol::<MpServices>(
            boot::OpenProtocolParams {
                handle,
                agent: boot::image_handle(),
                controller: None,
            },
            boot::OpenProtocolAttributes::GetProtocol,
        )
    };
    Some(
        services
            .ok()?
            .get()?
            .get_number_of_processors()
            .ok()?
            .enabled,
    )
}
