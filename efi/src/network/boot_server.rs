//! Server that a machine was booted from, as its answer says (BOOTP, RFC 951; DHCP, RFC 2131).

use alloc::string::{String, ToString};
use core::net::Ipv4Addr;

/// Offsets in the packet.
const SERVER: usize = 20;
const FILE: core::ops::Range<usize> = 108..236;
const COOKIE: core::ops::Range<usize> = 236..240;
/// Options: padding, the server's identity, the boot file's name, the end.
const PAD: u8 = 0;
const IDENTITY: u8 = 54;
const NAME: u8 = 67;
const END: u8 = 255;

/// Server and folder of the file that was booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootServer {
    /// Its address.
    pub address: Ipv4Addr,
    /// Folder of the file: empty, or with a separator at its end.
    pub folder: String,
}

impl BootServer {
    /// Finds it in the server's answer; `None` if that does not say it.
    pub fn of(packet: &[u8]) -> Option<BootServer> {
        let four = |bytes: &[u8]| Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?));
        let mut address = four(packet.get(SERVER..)?)?;
        let mut file = packet.get(FILE)?;
        let mut options: &[u8] = match packet.get(COOKIE) {
            Some([99, 130, 83, 99]) => &packet[COOKIE.end..],
            _ => &[],
        };
        while let [kind, rest @ ..] = options
            && *kind != END
        {
            options = rest;
            if *kind == PAD {
                continue;
            }
            let Some((value, rest)) = rest
                .split_first()
                .and_then(|(len, rest)| rest.split_at_checked(usize::from(*len)))
            else {
                break;
            };
            match *kind {
                IDENTITY if address.is_unspecified() => address = four(value)?,
                NAME if file[0] == 0 => file = value,
                _ => (),
            }
            options = rest;
        }
        let name = file.split(|byte| *byte == 0).next()?;
        let name = core::str::from_utf8(name).ok()?;
        let folder = name.rfind(['/', '\\']).map_or("", |end| &name[..=end]);
        (!address.is_unspecified()).then(|| BootServer {
            address,
            folder: folder.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(server: [u8; 4], file: &str, options: &[u8]) -> alloc::vec::Vec<u8> {
        let mut packet = alloc::vec![0; COOKIE.end];
        packet[SERVER..SERVER + 4].copy_from_slice(&server);
        packet[FILE.start..FILE.start + file.len()].copy_from_slice(file.as_bytes());
        packet[COOKIE].copy_from_slice(&[99, 130, 83, 99]);
        packet.extend(options);
        packet
    }

    #[test]
    fn the_server_and_its_folder_are_found_in_fields_or_options() {
        let found = |packet: &[u8]| {
            BootServer::of(packet).map(|found| (found.address.octets(), found.folder))
        };
        let server = [10, 0, 2, 2];
        let file = "efi/llama2.efi";
        assert_eq!(
            found(&packet(server, file, &[END])),
            Some((server, "efi/".into()))
        );
        assert_eq!(
            found(&packet(server, "llama2.efi", &[])),
            Some((server, "".into()))
        );
        let options = [
            PAD, IDENTITY, 4, 1, 2, 3, 4, NAME, 5, b'a', b'/', b'b', 0, b'/', END,
        ];
        assert_eq!(
            found(&packet([0; 4], "", &options)),
            Some(([1, 2, 3, 4], "a/".into()))
        );
        assert_eq!(
            found(&packet(server, file, &options)),
            Some((server, "efi/".into()))
        );
        // What is cut short is not believed.
        assert_eq!(found(&packet([0; 4], file, &[IDENTITY, 40, 1])), None);
        for len in 0..COOKIE.start {
            assert_eq!(found(&packet(server, file, &[])[..len]), None);
        }
    }
}
