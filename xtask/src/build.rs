//! Builds `llama2.efi` for a hard-float UEFI target, derived from the compiler's own.
//!
//! The stock target of x86-64 is soft-float: its scalar arithmetic calls library routines, which
//! are two hundred times slower, and integer AVX2 crashes LLVM (ARCHITECTURE.md, "The build").

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    arch::{ARCHS, Arch, X86_64},
    setup,
    shell::{check, output, root, target},
    toolchain::{self, Toolchain},
};

/// Files of a built application.
pub struct Built {
    /// Its architecture.
    pub arch: &'static Arch,
    /// Path of llama2.efi.
    pub efi: PathBuf,
    /// Path of the linker's map.
    pub map: PathBuf,
}

/// Builds the application.
pub fn build(arch: &'static Arch) -> Result<Built> {
    build_for(arch, &arch.derive, arch.file, "efi", &[])
}

/// Builds the application for every architecture that the compiler can build for, that of PCs
/// first. Says which are left out.
///
/// # Errors
/// If one of them cannot be built though the compiler knows it.
pub fn build_all() -> Result<Vec<Built>> {
    let toolchain = toolchain::find()?;
    let is_known = |arch: &&'static Arch| {
        let known = arch.name == X86_64.name || toolchain.knows(arch.stock_target);
        if !known {
            eprintln!(
                "xtask: SKIPPED {}: {} does not build for {}",
                arch.boot_file, toolchain.origin, arch.stock_target
            );
        }
        known
    };
    ARCHS.into_iter().filter(is_known).map(build).collect()
}

/// Builds the host's `llama2` with the profile of tests, which have built most of it.
pub fn command() -> Result<PathBuf> {
    let mut cargo = Command::new(setup::cargo());
    cargo.current_dir(root()).args(["build", "--quiet"]);
    cargo.args(["--profile", "test", "--workspace", "--bin", "llama2"]);
    check(&mut cargo)?;
    let name = format!("llama2{}", std::env::consts::EXE_SUFFIX);
    Ok(target().join("debug").join(name))
}

/// Path of the application that is built under a name, the architecture's at first.
pub(crate) fn path(name: &str) -> PathBuf {
    target().join(format!("{name}.efi"))
}

/// Path of the driver with which tests make a network card fail, built by [`with_hooks`].
pub fn faulty_card(arch: &Arch) -> PathBuf {
    let folder = target().join(arch.target);
    folder.join("efi-hooks/faulty-card.efi")
}

/// Builds the application with hooks by which tests make it fail, in a file of its own.
pub fn with_hooks(arch: &'static Arch) -> Result<PathBuf> {
    let features = ["--features", "test-hooks", "--bin", "faulty-card"];
    let name = format!("{}-test-hooks", arch.file);
    build_for(arch, &arch.derive, &name, "efi-hooks", &features).map(|built| built.efi)
}

/// Installs everything that `run` and `test` need.
pub fn prepare() -> Result<()> {
    setup::for_boots(&X86_64)?;
    toolchain::find().map(|_| ())
}

/// Requires a compiler that can build for this architecture.
///
/// # Errors
/// A sentence, if it cannot.
pub fn can_build(arch: &Arch) -> Result<()> {
    let toolchain = toolchain::find()?;
    ensure!(
        toolchain.knows(arch.stock_target),
        "{} does not build for {}",
        toolchain.origin,
        arch.stock_target
    );
    Ok(())
}

/// Builds the application for a target derived from the stock one.
fn build_for(
    arch: &'static Arch,
    change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>),
    name: &str,
    profile: &str,
    features: &[&str],
) -> Result<Built> {
    let toolchain = toolchain::find()?;
    // With other features it is the same target.
    let target_name = if features.is_empty() { name } else { arch.file };
    let target_file = write_target(arch, &toolchain, change, target_name)?;
    let map = target().join(format!("{name}.map"));
    let mut cargo = cargo(
        &toolchain,
        "build",
        profile,
        &target_file,
        &[format!("-Clink-arg=/map:{}", map.display())],
    )?;
    eprintln!("xtask: building {name}.efi with {}", toolchain.origin);
    check(cargo.args(["--bin", "llama2-efi"]).args(features))?;
    let folder = target_file.file_stem().context("the target has a name")?;
    let made = target().join(folder).join(profile).join("llama2-efi.efi");
    let efi = path(name);
    std::fs::copy(&made, &efi).with_context(|| format!("{} was not made", made.display()))?;
    Ok(Built { arch, efi, map })
}

/// Builds the application for x86-64's stock soft-float target, which `inspect` must reject.
pub fn build_soft_float() -> Result<Built> {
    build_for(&X86_64, &|_| (), "llama2-soft-float", "efi", &[])
}

/// clippy for the application and the driver for its tests, with the flags of their build.
pub fn clippy(arch: &Arch) -> Result<Command> {
    let toolchain = toolchain::find()?;
    let target_file = write_target(arch, &toolchain, &arch.derive, arch.file)?;
    let mut cargo = cargo(&toolchain, "clippy", "efi", &target_file, &[])?;
    cargo.args(["--features", "test-hooks", "--", "-D", "warnings"]);
    Ok(cargo)
}

fn cargo(
    toolchain: &Toolchain,
    verb: &str,
    profile: &str,
    target_file: &Path,
    more_flags: &[String],
) -> Result<Command> {
    let mut cargo = toolchain.unstable_cargo();
    cargo.current_dir(root()).arg(verb).args([
        "--quiet",
        "--package",
        "llama2-efi",
        "--profile",
        profile,
        "--target",
    ]);
    cargo.arg(target_file);
    cargo.args([
        "-Zbuild-std=core,alloc",
        "-Zbuild-std-features=compiler-builtins-mem",
    ]);
    // Some versions of cargo refuse a JSON target without this flag, older ones do not know it.
    let known = output(toolchain.unstable_cargo().args(["-Z", "help"])).unwrap_or_default();
    if known.contains("json-target-spec") {
        cargo.arg("-Zjson-target-spec");
    }
    // The same bytes in every folder: no folder names in panic messages, no time in the header, and
    // no debug directory, which carries a hash over folder names though strip leaves nothing to
    // debug.
    let sysroot = output(Command::new(&toolchain.rustc).args(["--print", "sysroot"]))
        .context("rustc tells its sysroot")?;
    let mut flags = vec![
        "-Clink-arg=/Brepro".to_owned(),
        "-Clink-arg=/DEBUG:NONE".to_owned(),
    ];
    flags.extend(remaps(Path::new(&sysroot)));
    flags.extend(toolchain.linker.map(|linker| format!("-Clinker={linker}")));
    flags.extend_from_slice(more_flags);
    cargo
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS");
    Ok(cargo)
}

/// Flags that keep the names of this machine's folders out of panic messages.
pub(crate) fn remaps(sysroot: &Path) -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home =
        home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let library = sysroot.join("lib/rustlib/src/rust");
    let mut flags = vec![
        format!("--remap-path-prefix={}=", root().display()),
        format!("--remap-path-prefix={}=rust", library.display()),
    ];
    flags.extend(home.map(|home| format!("--remap-path-prefix={}=cargo", home.display())));
    flags
}

/// Writes a target specification derived from the stock one, so that it follows the compiler's
/// changes.
fn write_target(
    arch: &Arch,
    toolchain: &Toolchain,
    change: &dyn Fn(&mut serde_json::Map<String, serde_json::Value>),
    name: &str,
) -> Result<PathBuf> {
    let mut rustc = toolchain.unstable_rustc();
    rustc.args([
        "-Z",
        "unstable-options",
        "--print",
        "target-spec-json",
        "--target",
        arch.stock_target,
    ]);
    let printed = output(&mut rustc).with_context(|| {
        format!(
            "{} does not tell its target {}",
            toolchain.rustc.display(),
            arch.stock_target
        )
    })?;
    let mut spec = match serde_json::from_str(&printed)? {
        serde_json::Value::Object(spec) => spec,
        _ => bail!("the target specification is not an object"),
    };
    change(&mut spec);
    std::fs::create_dir_all(target())?;
    let file = if name == arch.file {
        arch.target.to_owned()
    } else {
        format!("{}-{name}", arch.target)
    };
    let path = target().join(format!("{file}.json"));
    let text = serde_json::to_string_pretty(&spec)?;
    // Cargo rebuilds everything if the file's time changes.
    if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
        std::fs::write(&path, text)?;
    }
    Ok(path)
}
