//! `llama2.efi`: the application. (stub)
#![cfg_attr(target_os = "uefi", no_std, no_main)]

#[cfg(target_os = "uefi")]
mod app {
    use uefi::prelude::*;
    #[entry]
    fn main() -> Status {
        uefi::println!("llama2: exit 0");
        Status::SUCCESS
    }
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
}

#[cfg(not(target_os = "uefi"))]
fn main() {
    eprintln!("llama2-efi is a UEFI application: build it with `cargo xtask build`");
}
