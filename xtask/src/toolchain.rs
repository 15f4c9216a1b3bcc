//! Compiler together with its standard library's source: rustup's, or else Debian's.
//!
//! The hard-float target has no prebuilt `core` and `alloc`; they are built from the source that
//! belongs to the compiler.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use crate::{
    setup,
    shell::{check, has, output},
};

/// Debian's packages for the second way: Debian 12 has a newer compiler under these names (for its
/// browsers), …
const DEBIAN_WEB: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];
/// … later versions under the usual ones.
const DEBIAN: [&str; 4] = ["rustc", "cargo", "rust-src", "lld"];
/// Oldest supported compiler.
const LEAST: (u32, u32) = (1, 91);

/// Compiler whose standard library can be built.
pub struct Toolchain {
    pub cargo: PathBuf,
    pub rustc: PathBuf,
    /// Description of its origin.
    pub origin: &'static str,
    /// The linker, if the compiler includes none.
    pub linker: Option<&'static str>,
}

impl Toolchain {
    /// cargo of this toolchain with unstable flags enabled.
    pub fn unstable_cargo(&self) -> Command {
        let mut cargo = Command::new(&self.cargo);
        cargo.env("RUSTC_BOOTSTRAP", "1");
        if self.linker.is_some() {
            // This program may have been started by rustup's cargo, which sets its own tools.
            cargo
                .env("RUSTC", &self.rustc)
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("RUSTDOC");
        }
        cargo
    }

    /// rustc of this toolchain with unstable flags enabled.
    pub fn unstable_rustc(&self) -> Command {
        let mut rustc = Command::new(&self.rustc);
        rustc.env("RUSTC_BOOTSTRAP", "1");
        rustc
    }

    /// Returns true if it can build for one of its own targets, which needs LLVM's part for it.
    pub fn knows(&self, target: &str) -> bool {
        let mut rustc = Command::new(&self.rustc);
        output(rustc.args(["--print", "target-cpus", "--target", target])).is_some()
    }
}

/// Finds a toolchain, or completes one by installing what is missing.
pub fn find() -> Result<Toolchain> {
    let force_debian = std::env::var_os("LLAMA2_DEBIAN_RUST").is_some();
    if !force_debian {
        if let Some(own) = own() {
            return Ok(own);
        }
        if has("rustup") {
            eprintln!(
                "xtask: building the standard library needs its source: rustup component add \
                 rust-src"
            );
            if check(Command::new("rustup").args(["component", "add", "rust-src"])).is_ok()
                && let Some(own) = own()
            {
                return Ok(own);
            }
            eprintln!("xtask: rustup could not fetch it; trying Debian's compiler");
        }
    }
    if let Some(debian) = debian() {
        return Ok(debian);
    }
    let packages = if setup::is_debian_12() {
        DEBIAN_WEB
    } else {
        DEBIAN
    };
    setup::install(&packages, "building the standard library")?;
    match debian() {
        Some(debian) => Ok(debian),
        None => bail!(
            "no compiler with its standard library's source: tried rustup's rust-src and \
             Debian's {}; with a network, `rustup component add rust-src` is all it takes",
            packages.join(", ")
        ),
    }
}

/// The running toolchain, if its library's source is installed.
fn own() -> Option<Toolchain> {
    let cargo = std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let rustc = std::env::var_os("RUSTC").map_or_else(|| "rustc".into(), PathBuf::from);
    if !has_source(&rustc) || !recent(&rustc) {
        return None;
    }
    // Debian's compilers have no linker for this target.
    if !brings_linker(&rustc) {
        return None;
    }
    Some(Toolchain {
        cargo,
        rustc,
        origin: "rustup's toolchain with rust-src",
        linker: None,
    })
}

fn debian() -> Option<Toolchain> {
    let (cargo, rustc) = (
        PathBuf::from("/usr/bin/cargo"),
        PathBuf::from("/usr/bin/rustc"),
    );
    let complete =
        cargo.exists() && rustc.exists() && recent(&rustc) && has_source(&rustc) && has("lld-link");
    complete.then_some(Toolchain {
        cargo,
        rustc,
        origin: "Debian's compiler",
        linker: Some("lld-link"),
    })
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    output(Command::new(rustc).args(["--print", "sysroot"])).map(PathBuf::from)
}

fn has_source(rustc: &Path) -> bool {
    sysroot(rustc).is_some_and(|root| {
        root.join("lib/rustlib/src/rust/library/Cargo.lock")
            .exists()
    })
}

fn brings_linker(rustc: &Path) -> bool {
    let host = output(Command::new(rustc).args(["--print", "host-tuple"]));
    let linker =
        |root: PathBuf| host.map(|host| root.join("lib/rustlib").join(host).join("bin/rust-lld"));
    sysroot(rustc)
        .and_then(linker)
        .is_some_and(|linker| linker.exists() || linker.with_extension("exe").exists())
}

fn recent(rustc: &Path) -> bool {
    let version = output(Command::new(rustc).arg("--version")).unwrap_or_default();
    let mut numbers = version
        .split([' ', '.'])
        .filter_map(|word| word.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    version >= LEAST
}
