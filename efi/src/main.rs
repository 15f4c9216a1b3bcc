//! `llama2.efi`: from power-on to a story. Entry and ending; `firmware/` holds what is in between.
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
extern crate alloc;

#[cfg(target_os = "uefi")]
mod firmware;

#[cfg(target_os = "uefi")]
#[uefi::entry]
fn main() -> uefi::Status {
    use firmware::{app, clock, terminal};

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

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!(
        "llama2-efi is a UEFI application: `cargo xtask build` makes it, `cargo xtask run` boots it"
    );
    std::process::exit(2);
}
