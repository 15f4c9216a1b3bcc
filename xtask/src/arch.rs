//! The kinds of processor that llama2.efi is built for: what the compiler, the firmware and QEMU
//! call theirs.

use std::path::Path;

use serde_json::{Map, Value};

/// One kind.
pub struct Arch {
    /// The compiler's own UEFI target.
    pub stock_target: &'static str,
    /// Ours, by the name of its file.
    pub target: &'static str,
    /// Makes ours of the compiler's: arithmetic in the vector registers that every processor of
    /// this kind has.
    pub hard_float: fn(&mut Map<String, Value>),
    /// The file that firmware boots from a drive that it does not know (UEFI specification,
    /// 3.5.1.1).
    pub boot_file: &'static str,
    /// The emulator.
    pub qemu: &'static str,
    /// Debian's package with it.
    pub qemu_package: &'static str,
    /// The emulator's machine.
    pub machine: &'static str,
    /// Firmware and its template of variables, where the systems that we know put them.
    firmware: &'static [(&'static str, &'static str)],
    /// Debian's package with them.
    pub firmware_package: &'static str,
}

/// All of them.
const ARCHS: [Arch; 1] = [Arch {
    stock_target: "x86_64-unknown-uefi",
    target: "x86_64-llama2-uefi",
    hard_float: |spec| {
        spec.remove("features");
        spec.remove("rustc-abi");
    },
    boot_file: "EFI/BOOT/BOOTX64.EFI",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    machine: "q35",
    firmware: &[
        (
            "/usr/share/OVMF/OVMF_CODE_4M.fd",
            "/usr/share/OVMF/OVMF_VARS_4M.fd",
        ),
        (
            "/usr/share/OVMF/OVMF_CODE.fd",
            "/usr/share/OVMF/OVMF_VARS.fd",
        ),
        (
            "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
            "/usr/share/edk2/x64/OVMF_VARS.4m.fd",
        ),
        (
            "/usr/share/edk2/ovmf/OVMF_CODE.fd",
            "/usr/share/edk2/ovmf/OVMF_VARS.fd",
        ),
        (
            "/opt/homebrew/share/qemu/edk2-x86_64-code.fd",
            "/opt/homebrew/share/qemu/edk2-i386-vars.fd",
        ),
        (
            "/usr/local/share/qemu/edk2-x86_64-code.fd",
            "/usr/local/share/qemu/edk2-i386-vars.fd",
        ),
        (
            "C:\\Program Files\\qemu\\share\\edk2-x86_64-code.fd",
            "C:\\Program Files\\qemu\\share\\edk2-i386-vars.fd",
        ),
    ],
    firmware_package: "ovmf",
}];

impl Arch {
    /// The one that is built and booted.
    pub fn built() -> &'static Arch {
        const { &ARCHS[0] }
    }

    /// The firmware that is installed here, and its template of variables.
    pub fn find_firmware(&self) -> Option<(&'static str, &'static str)> {
        let there =
            |(code, vars): &&(&str, &str)| Path::new(code).exists() && Path::new(vars).exists();
        self.firmware.iter().find(there).copied()
    }
}
