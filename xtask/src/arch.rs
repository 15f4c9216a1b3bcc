//! Processor architectures that llama2.efi is built for, with the names used by the compiler, the
//! firmware and QEMU.

use std::path::Path;

use serde_json::{Map, Value};

/// Processor architecture.
pub struct Arch {
    /// UEFI target of the compiler.
    pub stock_target: &'static str,
    /// Our target, named after its file.
    pub target: &'static str,
    /// Derives our target from the compiler's: arithmetic uses the vector registers that every
    /// processor of this architecture has.
    pub hard_float: fn(&mut Map<String, Value>),
    /// Name of the file that firmware boots by default (UEFI specification, 3.5.1.1).
    pub boot_file: &'static str,
    /// Program name of the emulator.
    pub qemu: &'static str,
    /// Debian package of the emulator.
    pub qemu_package: &'static str,
    /// Machine type of the emulator.
    pub machine: &'static str,
    /// Paths of firmware and of its variable template on known systems.
    firmware: &'static [(&'static str, &'static str)],
    /// Debian package of the firmware.
    pub firmware_package: &'static str,
}

/// All architectures.
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
    /// Architecture that is built and booted.
    pub fn built() -> &'static Arch {
        const { &ARCHS[0] }
    }

    /// Installed firmware, and its variable template.
    pub fn find_firmware(&self) -> Option<(&'static str, &'static str)> {
        let there =
            |(code, vars): &&(&str, &str)| Path::new(code).exists() && Path::new(vars).exists();
        self.firmware.iter().find(there).copied()
    }
}
