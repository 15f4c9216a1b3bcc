//! Files of the server that the application was booted from, by PXE: they come by TFTP.

use alloc::{format, string::String, vec, vec::Vec};
use core::net::IpAddr;

use llama2_efi::network::boot_server::BootServer;
use uefi::{CStr8, Status, proto::network::pxe::BaseCode};

use super::{shell, terminal::detail};

/// Reads a file that lies beside the application, and tells its name with the server's. `None` if
/// the application was not booted by PXE, or there is no such file.
pub fn read(name: &str, most: u64) -> Option<(String, Result<Vec<u8>, String>)> {
    let mut base = shell::open::<BaseCode>(shell::own_device()?)?;
    let base = base.get_mut()?;
    let mode = base.mode();
    if !mode.started() || mode.using_ipv6() {
        return None;
    }
    let answers = [
        (mode.pxe_reply_received(), mode.pxe_reply()),
        (mode.proxy_offer_received(), mode.proxy_offer()),
        (mode.dhcp_ack_received(), mode.dhcp_ack()),
    ];
    let server = answers.iter().find_map(|(came, packet)| {
        let bytes: &[u8; 1472] = packet.as_ref();
        BootServer::of(bytes).filter(|_| *came)
    })?;
    let address = IpAddr::V4(server.address);
    let path = format!("{}{name}", server.folder);
    let mut text = path.clone().into_bytes();
    text.push(0);
    let text = CStr8::from_bytes_with_nul(&text).ok()?;
    let name = format!("{path} of the boot server {address}");
    let size = match base.tftp_get_file_size(&address, text) {
        Ok(size) => size,
        Err(error) => {
            if error.status() != Status::TFTP_ERROR {
                detail(&format!("{name}: {:?}", error.status()));
            }
            return None;
        }
    };
    if size > most {
        let error = format!("has {size} bytes, but may have {most} at most");
        return Some((name, Err(error)));
    }
    let mut bytes = vec![0; size as usize];
    let read = base.tftp_read_file(&address, text, Some(&mut bytes));
    let bytes = read
        .map(|_| bytes)
        .map_err(|error| format!("the firmware cannot read it ({:?})", error.status()));
    Some((name, bytes))
}
