//! Required programs: reported if missing, and installed when running as root on Debian.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    arch::Arch,
    shell::{check, has, output},
};

/// Requires QEMU and a firmware for it.
pub fn for_boots(arch: &Arch) -> Result<()> {
    let mut missing = Vec::new();
    if !has(arch.qemu) {
        missing.push(arch.qemu_package);
    }
    if arch.find_firmware().is_none() {
        missing.push(arch.firmware_package);
    }
    install(&missing, "booting in QEMU")
}

/// Requires U-Boot for QEMU.
pub fn for_u_boot(arch: &Arch) -> Result<()> {
    let Some((file, package)) = arch.u_boot else {
        bail!("U-Boot is not used on {}", arch.name);
    };
    if Path::new(file).exists() {
        return Ok(());
    }
    install(&[package], "booting under U-Boot")
}

/// Requires rustfmt and clippy, which minimal installations omit.
pub fn for_lints() -> Result<()> {
    let works = |tool: &str| output(Command::new(cargo()).args([tool, "--version"])).is_some();
    if works("fmt") && works("clippy") {
        return Ok(());
    }
    if std::env::var_os("RUSTUP_TOOLCHAIN").is_some() {
        eprintln!("xtask: the lints need rustfmt and clippy: rustup component add rustfmt clippy");
        return check(Command::new("rustup").args(["component", "add", "rustfmt", "clippy"]));
    }
    let packages = if is_debian_12() {
        ["rustfmt-web", "rust-web-clippy"]
    } else {
        ["rustfmt", "rust-clippy"]
    };
    install(&packages, "linting")
}

/// Returns true on Debian 12, which has a newer compiler in packages with special names.
pub fn is_debian_12() -> bool {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line == "VERSION_ID=\"12\"")
}

/// The running cargo.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Installs Debian packages, or reports the command to do so.
pub fn install(packages: &[&str], what_for: &str) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    // Without recommends: they clash where newer packages from backports are installed.
    let line = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if !has("apt-get") {
        bail!(
            "{what_for} needs {}: install them with your system's package manager",
            packages.join(", ")
        );
    }
    if output(Command::new("id").arg("-u")).as_deref() != Some("0") {
        bail!(
            "{what_for} needs packages that are not installed; type this, then try again:\n  sudo \
             apt-get update && sudo {line}"
        );
    }
    eprintln!(
        "xtask: {what_for} needs {}: installing them with apt-get",
        packages.join(", ")
    );
    let apt = || {
        let mut apt = Command::new("apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive");
        apt
    };
    check(apt().args(["update", "-q"]))?;
    check(
        apt()
            .args(["install", "-q", "-y", "--no-install-recommends"])
            .args(packages),
    )
}
