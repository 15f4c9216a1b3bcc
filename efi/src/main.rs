//! `llama2.efi`: from power-on to a story. This file has the entry point and the ending; the rest
//! is in `firmware/`.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
extern crate alloc;

#[cfg(target_os = "uefi")]
mod firmware;

/// Identifies this file for revocation by Secure Boot's shim (its SBAT.md): component, generation,
/// vendor, package, version, contact.
#[cfg(target_os = "uefi")]
const SBAT: &str = concat!(
    "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n",
    "llama2.efi,1,llama2.efi,llama2.efi,",
    env!("CARGO_PKG_VERSION"),
    ",see its SECURITY.md\n"
);

#[cfg(target_os = "uefi")]
#[used]
#[unsafe(link_section = ".sbat")]
static SBAT_SECTION: [u8; SBAT.len()] = match SBAT.as_bytes().first_chunk() {
    Some(bytes) => *bytes,
    None => unreachable!(),
};

#[cfg(target_os = "uefi")]
#[uefi::entry]
fn main() -> uefi::Status {
    use firmware::{app, clock, power, terminal};

    // The firmware would reset the machine after five minutes. Without a watchdog there is nothing
    // to disable.
    let _ = uefi::boot::set_watchdog_timer(0, 0x1_0000, None);
    clock::start();
    terminal::open();
    let told = match app::run() {
        Ok(()) => true,
        Err(sentence) => {
            terminal::complain("error", &sentence);
            false
        }
    };
    let status = power::end(told);
    // Safety: the application is over, and nothing of it is left that could refer to the pool.
    unsafe { firmware::discharge() };
    status
}

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!(
        "llama2-efi is a UEFI application: `cargo xtask build` makes it, `cargo xtask run` boots it"
    );
    std::process::exit(2);
}
