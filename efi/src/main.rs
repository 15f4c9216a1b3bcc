//! `llama2.efi`: from power-on to a story. Entry, ending, and the firmware's side of everything in between.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
extern crate alloc;

#[cfg(target_os = "uefi")]
mod app;
#[cfg(target_os = "uefi")]
mod banner;
#[cfg(target_os = "uefi")]
mod clock;
#[cfg(target_os = "uefi")]
mod console;
#[cfg(target_os = "uefi")]
mod cores;
#[cfg(target_os = "uefi")]
mod cpu;
#[cfg(target_os = "uefi")]
mod files;
#[cfg(target_os = "uefi")]
mod global;
#[cfg(target_os = "uefi")]
mod log;
#[cfg(target_os = "uefi")]
mod memory;
#[cfg(target_os = "uefi")]
mod panic;
#[cfg(target_os = "uefi")]
mod random;
#[cfg(target_os = "uefi")]
mod serial;
#[cfg(target_os = "uefi")]
mod talk;
#[cfg(target_os = "uefi")]
mod terminal;

#[cfg(target_os = "uefi")]
#[uefi::entry]
fn main() -> uefi::Status {
    // The firmware would reset the machine after five minutes. Where it has no watchdog there is nothing to switch off.
    let _ = uefi::boot::set_watchdog_timer(0, 0x1_0000, None);
    clock::start();
    terminal::open();
    let mut exit = llama2_efi::options::Exit::default();
    let told = match app::run(&mut exit) {
        Ok(()) => true,
        Err(sentence) => {
            terminal::complain("error", &sentence);
            false
        }
    };
    terminal::end(told, exit)
}

/// The application's name and version.
#[cfg(target_os = "uefi")]
const NAME: &str = concat!("llama2.efi ", env!("CARGO_PKG_VERSION"));

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!(
        "llama2-efi is a UEFI application: `cargo xtask build` makes it, `cargo xtask run` boots it"
    );
    std::process::exit(2);
}
