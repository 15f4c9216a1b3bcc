//! Processor architectures that llama2.efi is built for, with the names used by the compiler, the
//! firmware and QEMU.

use std::path::Path;

use serde_json::{Map, Value};

/// Processor architecture.
#[derive(Debug)]
pub struct Arch {
    /// Name, as Rust calls it.
    pub name: &'static str,
    /// Name of the file that the application is built as, without `.efi`.
    pub file: &'static str,
    /// UEFI target of the compiler.
    pub stock_target: &'static str,
    /// Our target, named after its file.
    pub target: &'static str,
    /// Derives our target from the compiler's: arithmetic uses the vector registers that every
    /// processor of this architecture has, and atomic operations are atomic.
    pub derive: fn(&mut Map<String, Value>),
    /// Name of the file that firmware boots by default (UEFI specification, 3.5.1.1).
    pub boot_file: &'static str,
    /// Program name of the emulator.
    pub qemu: &'static str,
    /// Debian package of the emulator.
    pub qemu_package: &'static str,
    /// Machine type of the emulator.
    pub machine: &'static str,
    /// MiB of memory that its firmware needs, or leaves in pieces that are too small for a model's
    /// context.
    pub firmware_memory: u64,
    /// Graphics card that its firmware has a driver for.
    pub graphics: &'static str,
    /// Devices of a keyboard, where the machine has none of its own.
    pub keyboard: &'static [&'static str],
    /// Paths of firmware and of its variable template on known systems.
    firmware: &'static [(&'static str, &'static str)],
    /// Debian package of the firmware.
    pub firmware_package: &'static str,
    /// Path of U-Boot for this machine, and its Debian package.
    pub u_boot: Option<(&'static str, &'static str)>,
}

/// Architecture of PCs.
pub static X86_64: Arch = Arch {
    name: "x86_64",
    file: "llama2",
    stock_target: "x86_64-unknown-uefi",
    target: "x86_64-llama2-uefi",
    derive: |spec| {
        spec.remove("features");
        spec.remove("rustc-abi");
    },
    boot_file: "EFI/BOOT/BOOTX64.EFI",
    qemu: "qemu-system-x86_64",
    qemu_package: "qemu-system-x86",
    machine: "q35",
    firmware_memory: 160,
    graphics: "VGA",
    keyboard: &[],
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
    u_boot: None,
};

/// Architecture of Arm's 64-bit processors.
///
/// # Quirks
/// The stock target promises the compiler a single thread.
pub static AARCH64: Arch = Arch {
    name: "aarch64",
    file: "llama2-aarch64",
    stock_target: "aarch64-unknown-uefi",
    target: "aarch64-llama2-uefi",
    derive: |spec| {
        spec.remove("singlethread");
    },
    boot_file: "EFI/BOOT/BOOTAA64.EFI",
    qemu: "qemu-system-aarch64",
    qemu_package: "qemu-system-arm",
    machine: "virt",
    firmware_memory: 320,
    graphics: "virtio-gpu-pci",
    keyboard: &["qemu-xhci,id=keys", "usb-kbd,bus=keys.0"],
    firmware: &[
        (
            "/usr/share/AAVMF/AAVMF_CODE.fd",
            "/usr/share/AAVMF/AAVMF_VARS.fd",
        ),
        (
            "/usr/share/edk2/aarch64/QEMU_CODE.fd",
            "/usr/share/edk2/aarch64/QEMU_VARS.fd",
        ),
        (
            "/opt/homebrew/share/qemu/edk2-aarch64-code.fd",
            "/opt/homebrew/share/qemu/edk2-arm-vars.fd",
        ),
        (
            "/usr/local/share/qemu/edk2-aarch64-code.fd",
            "/usr/local/share/qemu/edk2-arm-vars.fd",
        ),
        (
            "C:\\Program Files\\qemu\\share\\edk2-aarch64-code.fd",
            "C:\\Program Files\\qemu\\share\\edk2-arm-vars.fd",
        ),
    ],
    firmware_package: "qemu-efi-aarch64",
    u_boot: Some(("/usr/lib/u-boot/qemu_arm64/u-boot.bin", "u-boot-qemu")),
};

/// All architectures, that of PCs first.
pub static ARCHS: [&Arch; 2] = [&X86_64, &AARCH64];

impl Arch {
    /// Architecture of this name, for the flag `--arch`.
    ///
    /// # Errors
    /// The names that there are.
    pub fn named(name: &str) -> Result<&'static Arch, String> {
        let found = ARCHS.into_iter().find(|arch| arch.name == name);
        found.ok_or_else(|| format!("the architectures are {}", ARCHS.map(|a| a.name).join(", ")))
    }

    /// Installed firmware, and its variable template.
    pub fn find_firmware(&self) -> Option<(&'static str, &'static str)> {
        let there =
            |(code, vars): &&(&str, &str)| Path::new(code).exists() && Path::new(vars).exists();
        self.firmware.iter().find(there).copied()
    }
}
