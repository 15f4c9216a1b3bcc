//! Size of the pages that hold an address, if the system reports it (Linux).

/// Describes the pages of the mapping that contains `address`: `2 MiB`, `4 KiB`, or the percentage
/// of large ones.
pub fn page_size(address: usize) -> Option<String> {
    let smaps = std::fs::read_to_string("/proc/self/smaps").ok()?;
    of_mapping(&smaps, address)
}

/// Parses the description of all mappings of a process (proc_pid_smaps(5)).
fn of_mapping(smaps: &str, address: usize) -> Option<String> {
    let mut inside = false;
    let (mut page, mut resident, mut huge) = (0, 0, 0);
    for line in smaps.lines() {
        if let Some((from, to)) = mapping(line) {
            if inside {
                break;
            }
            inside = (from..to).contains(&address);
        } else if inside {
            let (name, value) = line.split_once(':')?;
            let kibibytes = value.trim().trim_end_matches(" kB").parse::<u64>();
            match (name, kibibytes) {
                ("KernelPageSize", Ok(n)) => page = n,
                ("Rss", Ok(n)) => resident = n,
                ("AnonHugePages", Ok(n)) => huge = n,
                _ => (),
            }
        }
    }
    if page == 0 {
        return None;
    }
    let words = |kibibytes: u64| llama2_engine::units::Bytes(kibibytes << 10).to_string();
    let small = words(page).replace(".0 ", " ");
    // x86-64's and, with 4 KiB granules, AArch64's.
    let large = "2 MiB";
    Some(match huge * 100 / resident.max(1) {
        0 => small,
        // The remainder is behind the last large page.
        95.. => large.into(),
        percent => format!("{percent} % {large}"),
    })
}

/// Addresses of a mapping, if the line begins one.
fn mapping(line: &str) -> Option<(usize, usize)> {
    let (from, to) = line.split(' ').next()?.split_once('-')?;
    let parse = |text| usize::from_str_radix(text, 16).ok();
    Some((parse(from)?, parse(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c8a00000-55d0c8c00000 r-xp 00000000 fe:00 1234                       /usr/bin/llama2
Size:               2048 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                1024 kB
AnonHugePages:         0 kB
VmFlags: rd ex mr mw me
7f0000000000-7f0003a00000 rw-p 00000000 00:00 0
Size:              59392 kB
KernelPageSize:        4 kB
Rss:               59392 kB
AnonHugePages:     59392 kB
7f0010000000-7f0010800000 rw-p 00000000 00:00 0
KernelPageSize:        4 kB
Rss:                8192 kB
AnonHugePages:      2048 kB
7f0020000000-7f0020800000 rw-p 00000000 00:00 0
KernelPageSize:     2048 kB
Rss:                8192 kB
";

    #[test]
    fn the_mapping_around_an_address_tells() {
        let pages = |address| of_mapping(SMAPS, address);
        assert_eq!(pages(0x55d0_c8a0_0000).as_deref(), Some("4 KiB"));
        assert_eq!(pages(0x7f00_0000_1000).as_deref(), Some("2 MiB"));
        assert_eq!(pages(0x7f00_1000_0000).as_deref(), Some("25 % 2 MiB"));
        assert_eq!(pages(0x7f00_2000_0000).as_deref(), Some("2 MiB"));
        assert_eq!(pages(0x7f00_3000_0000), None);
        assert_eq!(of_mapping("", 0), None);
    }
}
