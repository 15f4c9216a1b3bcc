//! The command `llama2`, built for the systems that a stick carries it for.

use std::{env::consts, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    build, setup,
    shell::{check, has, output, root, target},
};

/// System that a stick carries the command for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum System {
    /// Linux on x86-64.
    #[value(name = "linux-x86_64")]
    LinuxX86_64,
    /// Linux on AArch64.
    #[value(name = "linux-aarch64")]
    LinuxAarch64,
    /// Windows on x86-64.
    #[value(name = "windows-x86_64")]
    WindowsX86_64,
}

/// All systems.
pub const SYSTEMS: [System; 3] = [
    System::LinuxX86_64,
    System::LinuxAarch64,
    System::WindowsX86_64,
];

impl System {
    /// Target of the compiler. musl is linked statically, so that one file runs on every
    /// distribution.
    pub fn target(self) -> &'static str {
        match self {
            System::LinuxX86_64 => "x86_64-unknown-linux-musl",
            System::LinuxAarch64 => "aarch64-unknown-linux-musl",
            System::WindowsX86_64 => "x86_64-pc-windows-gnu",
        }
    }

    /// Path of the command on a stick.
    pub fn path(self) -> &'static str {
        match self {
            System::LinuxX86_64 => "llama2/linux-x86_64/llama2",
            System::LinuxAarch64 => "llama2/linux-aarch64/llama2",
            System::WindowsX86_64 => "llama2/windows-x86_64/llama2.exe",
        }
    }

    /// C compiler that links for this system, and its Debian packages.
    fn compiler(self) -> (&'static str, &'static [&'static str]) {
        match (self, consts::OS, consts::ARCH) {
            (System::LinuxX86_64, "linux", "x86_64")
            | (System::LinuxAarch64, "linux", "aarch64") => ("cc", &["gcc", "libc6-dev"]),
            (System::LinuxX86_64, ..) => (
                "x86_64-linux-gnu-gcc",
                &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            ),
            (System::LinuxAarch64, ..) => (
                "aarch64-linux-gnu-gcc",
                &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
            ),
            (System::WindowsX86_64, ..) => ("x86_64-w64-mingw32-gcc", &["gcc-mingw-w64-x86-64"]),
        }
    }

    /// Requires the compiler and the standard library for this system.
    ///
    /// # Errors
    /// A sentence with what to do, which may be to leave the command out.
    pub fn prepare(self) -> Result<()> {
        self.find_tools()
            .with_context(|| format!("{} (--without leaves commands out)", self.path()))
    }

    fn find_tools(self) -> Result<()> {
        let (compiler, packages) = self.compiler();
        if !has(compiler) {
            setup::install(packages, "linking it")?;
        }
        let library = || {
            Some(
                sysroot()?
                    .join("lib/rustlib")
                    .join(self.target())
                    .join("lib"),
            )
        };
        if library().is_some_and(|library| library.is_dir()) {
            return Ok(());
        }
        let line = format!("rustup target add {}", self.target());
        if !has("rustup") {
            bail!("it needs Rust's standard library for another system: `{line}`, with rustup");
        }
        eprintln!("xtask: {}: {line}", self.path());
        let mut rustup = Command::new("rustup");
        check(
            rustup
                .current_dir(root())
                .args(["target", "add", self.target()]),
        )
    }

    /// Path of the command that is built.
    pub fn program(self) -> PathBuf {
        let folder = target().join(self.target()).join("release");
        folder.join(self.path().rsplit('/').next().unwrap_or_default())
    }

    /// Name of cargo's variable for this system's target that ends in `what`, such as `LINKER`.
    pub fn variable(self, what: &str) -> String {
        let target = self.target().replace('-', "_").to_uppercase();
        format!("CARGO_TARGET_{target}_{what}")
    }

    /// Variables that name the linker and the C compiler for this system.
    pub fn environment(self) -> [(String, &'static str); 2] {
        let (compiler, _) = self.compiler();
        let c_compiler = format!("CC_{}", self.target().replace('-', "_"));
        [(self.variable("LINKER"), compiler), (c_compiler, compiler)]
    }

    /// Builds the command without symbols; the same bytes in every folder.
    pub fn build(self) -> Result<()> {
        let sysroot = sysroot().context("rustc tells its sysroot")?;
        let mut flags = build::remaps(&sysroot);
        if self == System::WindowsX86_64 {
            flags.push("-Clink-arg=-Wl,--no-insert-timestamp".into());
        }
        eprintln!("xtask: building {}", self.path());
        let mut cargo = Command::new(setup::cargo());
        cargo.current_dir(root()).args([
            "build",
            "--quiet",
            "--release",
            "--package",
            "llama2-cli",
            "--target",
            self.target(),
        ]);
        cargo
            .envs(self.environment())
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env_remove("RUSTFLAGS");
        check(&mut cargo)
    }
}

/// Folder of the compiler and its libraries.
fn sysroot() -> Option<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    output(rustc.current_dir(root()).args(["--print", "sysroot"])).map(PathBuf::from)
}

/// Licences of Rust's standard library, as the compiler brings them.
///
/// # Errors
/// If it brings none.
pub fn library_licences() -> Result<PathBuf> {
    let path = sysroot().context("rustc tells its sysroot")?;
    let path = path.join("share/doc/rust/COPYRIGHT-library.html");
    if !path.is_file() {
        bail!(
            "{}: no such file; the command contains Rust's standard library, whose licences it \
             lists: take rustup's compiler, or leave all commands out (--without)",
            path.display()
        );
    }
    Ok(path)
}
