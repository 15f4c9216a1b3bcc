//! Interpretation of MIDR_EL1: who made the processor, and which one it is.

use alloc::{format, string::String};

/// Makers (Arm Architecture Reference Manual, D24.2.122).
const MAKERS: [(u64, &str); 13] = [
    (0x41, "Arm"),
    (0x42, "Broadcom"),
    (0x43, "Cavium"),
    (0x46, "Fujitsu"),
    (0x48, "HiSilicon"),
    (0x49, "Infineon"),
    (0x4e, "NVIDIA"),
    (0x50, "APM"),
    (0x51, "Qualcomm"),
    (0x53, "Samsung"),
    (0x61, "Apple"),
    (0x6d, "Microsoft"),
    (0xc0, "Ampere"),
];

/// Processors by maker and part number, from their technical reference manuals.
const PARTS: [(u64, u64, &str); 38] = [
    (0x00, 0x51, "QEMU virtual processor"),
    (0x41, 0xd02, "Cortex-A34"),
    (0x41, 0xd03, "Cortex-A53"),
    (0x41, 0xd04, "Cortex-A35"),
    (0x41, 0xd05, "Cortex-A55"),
    (0x41, 0xd06, "Cortex-A65"),
    (0x41, 0xd07, "Cortex-A57"),
    (0x41, 0xd08, "Cortex-A72"),
    (0x41, 0xd09, "Cortex-A73"),
    (0x41, 0xd0a, "Cortex-A75"),
    (0x41, 0xd0b, "Cortex-A76"),
    (0x41, 0xd0c, "Neoverse N1"),
    (0x41, 0xd0d, "Cortex-A77"),
    (0x41, 0xd40, "Neoverse V1"),
    (0x41, 0xd41, "Cortex-A78"),
    (0x41, 0xd42, "Cortex-A78AE"),
    (0x41, 0xd44, "Cortex-X1"),
    (0x41, 0xd46, "Cortex-A510"),
    (0x41, 0xd47, "Cortex-A710"),
    (0x41, 0xd48, "Cortex-X2"),
    (0x41, 0xd49, "Neoverse N2"),
    (0x41, 0xd4a, "Neoverse E1"),
    (0x41, 0xd4b, "Cortex-A78C"),
    (0x41, 0xd4c, "Cortex-X1C"),
    (0x41, 0xd4d, "Cortex-A715"),
    (0x41, 0xd4e, "Cortex-X3"),
    (0x41, 0xd4f, "Neoverse V2"),
    (0x41, 0xd80, "Cortex-A520"),
    (0x41, 0xd81, "Cortex-A720"),
    (0x41, 0xd82, "Cortex-X4"),
    (0x41, 0xd84, "Neoverse V3"),
    (0x41, 0xd8e, "Neoverse N3"),
    (0x43, 0x0af, "ThunderX2"),
    (0x46, 0x001, "A64FX"),
    (0x51, 0x001, "Oryon"),
    (0xc0, 0xac3, "AmpereOne"),
    (0xc0, 0xac4, "AmpereOne A"),
    (0x4e, 0x004, "Carmel"),
];

/// Name of the processor: its maker's for it, or its numbers.
pub fn name(midr: u64) -> String {
    let (maker, part) = (midr >> 24 & 0xff, midr >> 4 & 0xfff);
    let (variant, revision) = (midr >> 20 & 0xf, midr & 0xf);
    let called = MAKERS.iter().find(|known| known.0 == maker);
    let called = called.map_or(String::new(), |known| format!("{} ", known.1));
    match PARTS
        .iter()
        .find(|known| (known.0, known.1) == (maker, part))
    {
        Some(known) => format!("{called}{} r{variant}p{revision}", known.2),
        None => format!("{called}AArch64 (MIDR {midr:#x})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        // Raspberry Pi 4 and 5, QEMU's -cpu max, and one that is in no table.
        assert_eq!(name(0x410f_d083), "Arm Cortex-A72 r0p3");
        assert_eq!(name(0x414f_d0b1), "Arm Cortex-A76 r4p1");
        assert_eq!(name(0x000f_0510), "QEMU virtual processor r0p0");
        assert_eq!(name(0x610f_0221), "Apple AArch64 (MIDR 0x610f0221)");
    }
}
