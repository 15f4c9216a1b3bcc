//! ACPI tables. The timer, a counter of 3.579545 MHz that every PC has: its location, and the rate
//! of another counter measured against it (ACPI specification 6.5, sections 4.8.3.3 and 5.2). The
//! processors of an Arm machine, and the way to switch them on (5.2.9 and 5.2.12).

use alloc::vec::Vec;

use crate::cores::Conduit;

/// Frequency of the timer in Hz.
const FREQUENCY: u128 = 3_579_545;

/// Port and width of the timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmTimer {
    /// I/O port, read with 32-bit accesses.
    pub port: u16,
    /// Number of bits it counts with: 24 or 32.
    pub bits: u32,
}

fn number<const N: usize>(table: &[u8], at: usize) -> Option<u64> {
    let bytes: [u8; N] = table.get(at..at + N)?.try_into().ok()?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u64::from(byte)),
    )
}

/// Length of the table that begins with this header.
pub fn length(header: &[u8; 8]) -> usize {
    number::<4>(header, 4).unwrap_or(0) as usize
}

/// Addresses of the tables listed in the root table (`XSDT`, or the older `RSDT`); empty if it is
/// neither.
pub fn tables(root: &[u8]) -> impl Iterator<Item = u64> {
    let width = match root.get(..4) {
        Some(b"XSDT") => 8,
        Some(b"RSDT") => 4,
        _ => usize::MAX,
    };
    let entries = root.get(36..).unwrap_or_default().chunks_exact(width);
    let address = |entry| number::<8>(entry, 0).or_else(|| number::<4>(entry, 0));
    // Some firmware leaves entries empty.
    entries.filter_map(address).filter(|&address| address > 0)
}

/// Address of the root table, from the pointer to it.
pub fn root(pointer: &[u8; 36]) -> Option<u64> {
    if !pointer.starts_with(b"RSD PTR ") {
        return None;
    }
    let wide = number::<8>(pointer, 24).filter(|&at| pointer[15] >= 2 && at > 0);
    wide.or_else(|| number::<4>(pointer, 16).filter(|&at| at > 0))
}

/// Timer from the fixed description table (`FACP`), unless the machine has none.
pub fn timer(table: &[u8]) -> Option<PmTimer> {
    const COUNTS_32: u64 = 1 << 8;
    const NO_FIXED_HARDWARE: u64 = 1 << 20;
    let flags = number::<4>(table, 112).filter(|_| table.starts_with(b"FACP"))?;
    if flags & NO_FIXED_HARDWARE != 0 {
        return None;
    }
    // The newer field is an address in one of several spaces, of which 1 is ports.
    let newer = number::<8>(table, 212).filter(|_| table[208] == 1);
    let port = newer
        .filter(|&port| port > 0)
        .or_else(|| number::<4>(table, 76))?;
    Some(PmTimer {
        port: u16::try_from(port).ok().filter(|&port| port > 0)?,
        bits: if flags & COUNTS_32 != 0 { 32 } else { 24 },
    })
}

/// Way of switching cores on, from the fixed description table (`FACP`), if the machine has it.
pub fn conduit(table: &[u8]) -> Option<Conduit> {
    const PSCI: u64 = 1;
    const HVC: u64 = 2;
    let flags = number::<2>(table, 129).filter(|_| table.starts_with(b"FACP"))?;
    (flags & PSCI != 0).then_some(match flags & HVC {
        0 => Conduit::Smc,
        _ => Conduit::Hvc,
    })
}

/// Affinities of the enabled cores, from the description of interrupt controllers (`APIC`); `None`
/// for another table, or one without a core.
pub fn cores(table: &[u8]) -> Option<Vec<u64>> {
    /// Type of the structure of an Arm core's interface to its interrupt controller.
    const GICC: u8 = 0xb;
    const ENABLED: u64 = 1;
    let mut rest = table.get(44..).filter(|_| table.starts_with(b"APIC"))?;
    let mut cores = Vec::new();
    while let [kind, len, ..] = *rest
        && let Some((entry, behind)) = rest.split_at_checked(usize::from(len.max(2)))
    {
        let enabled = number::<4>(entry, 12).is_some_and(|flags| flags & ENABLED != 0);
        if kind == GICC && enabled {
            cores.extend(number::<8>(entry, 68));
        }
        rest = behind;
    }
    (!cores.is_empty()).then_some(cores)
}

impl PmTimer {
    /// Ticks per millisecond of another counter that has counted `ticks` while this one went from
    /// `from` to `to`, possibly wrapping several times. `about` is the approximate rate, within a
    /// few percent; without it, the timer must have wrapped less than once. Returns `None` if the
    /// numbers are inconsistent.
    pub fn rate(&self, from: u32, to: u32, ticks: u64, about: Option<u64>) -> Option<u64> {
        let round = 1 << self.bits;
        let rest = u128::from(to.wrapping_sub(from)) % round;
        let expected = about.map_or(rest, |about| {
            u128::from(ticks) * FREQUENCY / (u128::from(about).max(1) * 1000)
        });
        let rounds = (expected + round / 2).saturating_sub(rest) / round;
        let counted = rounds * round + rest;
        let rate = (u128::from(ticks) * FREQUENCY).checked_div(counted * 1000)? as u64;
        about
            .is_none_or(|about| rate.abs_diff(about) <= about / 20)
            .then_some(rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(len: usize, fields: &[(usize, &[u8])]) -> Vec<u8> {
        let mut table = vec![0; len];
        for (at, bytes) in fields {
            table[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        table
    }

    #[test]
    fn the_tables_lead_to_the_timer() {
        let mut pointer = [0; 36];
        pointer[..8].copy_from_slice(b"RSD PTR ");
        pointer[16..20].copy_from_slice(&0x1234_u32.to_le_bytes());
        pointer[24..32].copy_from_slice(&0x1_0000_5678_u64.to_le_bytes());
        assert_eq!(root(&pointer), Some(0x1234));
        pointer[15] = 2;
        assert_eq!(root(&pointer), Some(0x1_0000_5678));
        pointer[0] = 0;
        assert_eq!(root(&pointer), None);

        let wide = table(53, &[(0, b"XSDT"), (36, &[1, 0, 0, 0, 1, 0, 0, 0, 2])]);
        assert_eq!(tables(&wide).collect::<Vec<_>>(), [0x1_0000_0001, 2]);
        let narrow = table(46, &[(0, b"RSDT"), (36, &[1, 0, 0, 0, 2])]);
        assert_eq!(tables(&narrow).collect::<Vec<_>>(), [1, 2]);
        for other in [&b""[..], b"XSDT", b"FACP", &[0; 100]] {
            assert_eq!(tables(other).count(), 0);
        }
    }

    #[test]
    fn the_timer_is_where_the_description_says() {
        let old = table(116, &[(0, b"FACP"), (76, &[8, 6])]);
        assert_eq!(
            timer(&old),
            Some(PmTimer {
                port: 0x608,
                bits: 24
            })
        );
        let new = table(
            244,
            &[
                (0, b"FACP"),
                (76, &[8, 6]),
                (113, &[1]),
                (208, &[1]),
                (212, &[8, 4]),
            ],
        );
        assert_eq!(
            timer(&new),
            Some(PmTimer {
                port: 0x408,
                bits: 32
            })
        );
        let reduced = table(244, &[(0, b"FACP"), (76, &[8, 6]), (114, &[0x10])]);
        let nowhere = table(244, &[(0, b"FACP")]);
        let in_memory = table(244, &[(0, b"FACP"), (208, &[0]), (212, &[0, 0, 0, 0, 1])]);
        for other in [reduced, nowhere, in_memory, vec![0; 244], b"FACP".to_vec()] {
            assert_eq!(timer(&other), None);
        }
    }

    #[test]
    fn the_tables_have_the_cores_and_how_to_switch_them_on() {
        for (flags, conduit) in [
            (0, None),
            (1, Some(Conduit::Smc)),
            (2, None),
            (3, Some(Conduit::Hvc)),
        ] {
            let fixed = table(276, &[(0, b"FACP"), (129, &[flags])]);
            assert_eq!(super::conduit(&fixed), conduit);
        }
        assert_eq!(super::conduit(b"FACP"), None);

        let core = |enabled: u8, id: u8| {
            let fields: [(usize, &[u8]); 3] = [(0, &[0xb, 80]), (12, &[enabled]), (68, &[id, 1])];
            table(80, &fields)
        };
        let distributor = table(24, &[(0, &[0xc, 24])]);
        let header = table(44, &[(0, b"APIC")]);
        let all = [header, core(1, 0), distributor, core(0, 1), core(1, 2)].concat();
        assert_eq!(cores(&all), Some(vec![0x100, 0x102]));
        // Cut off, with a length of nothing, and another machine's.
        assert_eq!(cores(&all[..130]), Some(vec![0x100]));
        let endless = table(60, &[(0, b"APIC")]);
        for other in [&endless[..], &all[1..], b"APIC"] {
            assert_eq!(cores(other), None);
        }
    }

    #[test]
    fn the_rate_is_exact_however_often_the_timer_went_round() {
        let start = 0xff_ffff_u32;
        for (bits, rate) in [(24, 2_400_000), (32, 999_999), (24, 24_000)] {
            let timer = PmTimer { port: 1, bits };
            for milliseconds in [50, 2_000, 4_687, 60_000, 200_000] {
                let counted = milliseconds * FREQUENCY as u64 / 1000;
                let to = (u64::from(start) + counted) as u32 & (u32::MAX >> (32 - bits));
                let ticks = rate * milliseconds;
                for about in [rate * 99 / 100, rate, rate * 101 / 100] {
                    let found = timer.rate(start, to, ticks, Some(about)).unwrap();
                    assert!(found.abs_diff(rate) <= rate / 50_000, "{found} for {rate}");
                }
            }
            // A timer that does not run, and another timer than this one.
            for about in [None, Some(rate)] {
                assert_eq!(timer.rate(start, start, rate * 100, about), None);
            }
            assert_eq!(timer.rate(start, start + 1, rate * 100, Some(rate)), None);
            assert_eq!(
                timer.rate(start, start + 3580, rate, None),
                Some(rate * 3_579_545 / 3_580_000)
            );
        }
    }
}
