//! Addresses of machines and of network cards, as settings have them.

use core::net::Ipv4Addr;

/// How a machine gets its address: the value of [`crate::Domain::Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// From a DHCP server.
    Dhcp,
    /// By hand.
    Static {
        /// Address of one machine, inside of its network.
        address: Ipv4Addr,
        /// Length of the network's prefix in bits, 1 to 32.
        prefix: u8,
        /// Router of the network, another address in it.
        gateway: Option<Ipv4Addr>,
    },
}

impl Addressing {
    /// Parses `dhcp`, `A.B.C.D/LEN` or `A.B.C.D/LEN via A.B.C.D`; `None` if that is no address that
    /// a machine can have.
    pub fn parse(text: &str) -> Option<Addressing> {
        let mut words = text.split_ascii_whitespace();
        let first = words.next()?;
        if first.eq_ignore_ascii_case("dhcp") {
            return words.next().is_none().then_some(Addressing::Dhcp);
        }
        let (address, prefix) = first.split_once('/')?;
        let address: Ipv4Addr = address.parse().ok()?;
        let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| digits)?;
        let gateway = match (words.next(), words.next(), words.next()) {
            (None, ..) => None,
            (Some(via), Some(gateway), None) if via.eq_ignore_ascii_case("via") => {
                Some(gateway.parse().ok()?)
            }
            _ => return None,
        };
        let of_a_machine = |address| is_machine(address, prefix);
        let is_near = |other: Ipv4Addr| {
            let mask = mask(prefix);
            other != address && other.to_bits() & mask == address.to_bits() & mask
        };
        ((1..=32).contains(&prefix)
            && of_a_machine(address)
            && gateway.is_none_or(|gateway| of_a_machine(gateway) && is_near(gateway)))
        .then_some(Addressing::Static {
            address,
            prefix,
            gateway,
        })
    }
}

/// Bits of an address that tell its network.
fn mask(prefix: u8) -> u32 {
    u32::MAX
        .checked_shl(32 - u32::from(prefix.min(32)))
        .unwrap_or(0)
}

/// Returns true if one machine in a network of this prefix can have the address.
fn is_machine(address: Ipv4Addr, prefix: u8) -> bool {
    let host = address.to_bits() & !mask(prefix);
    // In networks of two machines or one every address is a machine's (RFC 3021).
    let is_inside = prefix >= 31 || (host != 0 && host != !mask(prefix));
    let first = address.octets()[0];
    // 240 and above are reserved, and the broadcast address.
    is_inside && first != 0 && first != 127 && first < 224
}

/// Address of a network card, if `text` is six bytes in hexadecimal, with `:` or `-` between them
/// or nothing.
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = [0; 6];
    let mut digits = text.bytes();
    let separator = text.bytes().find(|byte| matches!(byte, b':' | b'-'));
    for (index, byte) in bytes.iter_mut().enumerate() {
        if index > 0 && separator.is_some() && digits.next() != separator {
            return None;
        }
        for _ in 0..2 {
            let digit = char::from(digits.next()?).to_digit(16)?;
            *byte = *byte << 4 | digit as u8;
        }
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_that_machines_can_have() {
        let parsed = Addressing::parse;
        assert_eq!(parsed("DHCP"), Some(Addressing::Dhcp));
        let address = Ipv4Addr::new(192, 168, 1, 5);
        let with = |prefix, gateway| {
            Some(Addressing::Static {
                address,
                prefix,
                gateway,
            })
        };
        assert_eq!(parsed("192.168.1.5/24"), with(24, None));
        assert_eq!(
            parsed(" 192.168.1.5/24  VIA 192.168.1.1 "),
            with(24, Some(Ipv4Addr::new(192, 168, 1, 1)))
        );
        assert_eq!(parsed("192.168.1.5/32"), with(32, None));
        assert_eq!(parsed("192.168.1.5/1"), with(1, None));
        for bad in [
            "",
            "dhcp 1",
            "192.168.1.5",
            "192.168.1.5/0",
            "192.168.1.5/33",
            "192.168.1.5/+24",
            "192.168.1.5/24 192.168.1.1",
            "192.168.1.5/24 via",
            "192.168.1.5/24 via 192.168.2.1",
            "192.168.1.5/24 via 192.168.1.5",
            "192.168.1.5/24 via 192.168.1.0",
            "192.168.1.5/24 via 192.168.1.1 now",
            "192.168.1.0/24",
            "192.168.1.255/24",
            "0.0.0.1/8",
            "127.0.0.1/8",
            "224.0.0.251/24",
            "255.255.255.255/32",
            "fe80::1/64",
            "192.168.1.256/24",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }

    #[test]
    fn cards_have_addresses_of_six_bytes() {
        let card = Some([0x52, 0x54, 0, 0x12, 0x34, 0xab]);
        for good in ["52:54:00:12:34:AB", "52-54-00-12-34-ab", "5254001234ab"] {
            assert_eq!(mac(good), card, "{good}");
        }
        for bad in [
            "",
            "52:54:00:12:34",
            "52:54:00:12:34:ab:",
            "52:54-00:12:34:ab",
            "5:54:00:12:34:ab",
            "52:54:00:12:34:ag",
            "52:54:00:12:34:ab:cd",
            "５2:54:00:12:34:ab",
        ] {
            assert_eq!(mac(bad), None, "{bad}");
        }
    }
}
