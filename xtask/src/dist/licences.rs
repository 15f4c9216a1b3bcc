//! Licence texts of everything that is linked into llama2.efi and into the command.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use super::commands::SYSTEMS;
use crate::{
    arch::ARCHS,
    setup,
    shell::{output, root},
};

/// Prefix of crates with tables generated from Unicode's data.
const UNICODE: &str = "unicode-";

/// Crates that are linked into the application or the command, by name and version, including our
/// own.
fn linked() -> Result<Vec<String>> {
    let command = SYSTEMS.map(|system| ("llama2-cli", system.target()));
    let mut names = Vec::new();
    let application = ARCHS.map(|arch| ("llama2-efi", arch.stock_target));
    for (package, target) in application.into_iter().chain(command) {
        let mut tree = Command::new(setup::cargo());
        tree.current_dir(root()).args([
            "tree",
            "--package",
            package,
            "--target",
            target,
            "--edges",
            "normal,no-proc-macro",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ]);
        let linked = output(&mut tree).context("cargo tree")?;
        let name = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        names.extend(linked.lines().map(name));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Package as Cargo describes it.
struct Package {
    licence: String,
    folder: PathBuf,
    repository: String,
}

/// All packages, by name and version.
fn packages() -> Result<BTreeMap<String, Package>> {
    let metadata = output(Command::new(setup::cargo()).current_dir(root()).args([
        "metadata",
        "--format-version",
        "1",
    ]));
    let metadata: serde_json::Value = serde_json::from_str(&metadata.context("cargo metadata")?)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let read = |package: &serde_json::Value| {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let mut folder = PathBuf::from(text("manifest_path"));
        folder.pop();
        let described = Package {
            licence: text("license"),
            folder,
            repository: text("repository"),
        };
        (format!("{} v{}", text("name"), text("version")), described)
    };
    Ok(packages.iter().map(read).collect())
}

impl Package {
    /// Texts of the package's licences; of a choice MIT's, which is shorter.
    fn texts(&self) -> Result<Vec<String>> {
        let upper = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().to_uppercase()
        };
        let is_licence = |path: &PathBuf| {
            let begins = |word: &&str| upper(path).starts_with(*word);
            path.is_file() && ["LICENSE", "LICENCE", "COPYING"].iter().any(begins)
        };
        let entries = fs::read_dir(&self.folder)?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files: Vec<PathBuf> = paths.filter(is_licence).collect();
        files.sort();
        if let Some(mit) = files.iter().find(|path| upper(path).contains("MIT")) {
            files = vec![mit.clone()];
        }
        let read = |path: &PathBuf| Ok(fs::read_to_string(path)?.trim().replace('\r', ""));
        files.iter().map(read).collect()
    }
}

/// Licence texts of everything that is linked into the application and the command. Equal texts
/// are printed once.
pub fn third_party() -> Result<String> {
    let (packages, names) = (packages()?, linked()?);
    let mut text = String::from(
        "llama2.efi and the command llama2 contain the following libraries, under their own \
         licences. Those of Rust's standard library, in the command, are in \
         COPYRIGHT-library.html.\n",
    );
    for (name, licence) in [
        (
            "Rust's core and alloc (MIT OR Apache-2.0, https://github.com/rust-lang/rust)",
            include_str!("../../licences/rust-mit.txt"),
        ),
        (
            "Rust's compiler-builtins (MIT AND Apache-2.0 WITH LLVM-exception, \
             https://github.com/rust-lang/compiler-builtins), and, in the command for Linux, \
             LLVM's libunwind (Apache-2.0 WITH LLVM-exception, https://llvm.org)",
            include_str!("../../licences/compiler-builtins.txt"),
        ),
        (
            "Tables of Rust's core and of the crates unicode-* (Unicode-3.0, \
             https://www.unicode.org)",
            include_str!("../../licences/unicode-3.0.txt"),
        ),
        (
            "musl, in the command for Linux (MIT, https://musl.libc.org)",
            include_str!("../../licences/musl.txt"),
        ),
        (
            "MinGW-w64's runtime, in the command for Windows (ZPL-2.1, \
             https://www.mingw-w64.org)",
            include_str!("../../licences/mingw-w64.txt"),
        ),
    ] {
        text += &format!("\n==== {name}\n\n{}\n", licence.trim());
    }
    let package = |name: &str| {
        let found = packages.get(name);
        found.with_context(|| format!("{name} is not in cargo's metadata"))
    };
    let others: Vec<&String> = names.iter().filter(|name| !is_ours(name)).collect();
    let mut printed = BTreeMap::new();
    for &name in &others {
        let Package {
            licence,
            repository,
            ..
        } = package(name)?;
        text += &format!("\n==== {name} ({licence})\n");
        if name.starts_with(UNICODE) {
            text += "Its tables: Unicode-3.0, above.\n";
        }
        // Users who get a program with it must be told where its source is (MPL 2.0, 3.2).
        if licence.contains("MPL") {
            let version = name.rsplit(" v").next().unwrap_or_default();
            let crate_name = name.split(' ').next().unwrap_or_default();
            text += &format!(
                "Its source, unchanged: {repository}, and \
                 https://crates.io/crates/{crate_name}/{version}\n"
            );
        }
        let mut texts = package(name)?.texts()?;
        if texts.is_empty() && name.starts_with("qrcodegen-no-heap ") {
            // It stands at the beginning of its source.
            texts.push(include_str!("../../licences/qrcodegen.txt").trim().into());
        }
        // Some repositories have their licence in one of their crates only.
        for &other in &others {
            if texts.is_empty() && package(other)?.repository == *repository {
                texts = package(other)?.texts()?;
            }
        }
        if texts.is_empty() {
            bail!("{name} comes without its licence's text: give it one in xtask/licences");
        }
        for licence in texts {
            match printed.get(&licence) {
                Some(first) => text += &format!("Its licence is that of {first}, above.\n"),
                None => text += &format!("\n{licence}\n"),
            }
            printed.entry(licence).or_insert(name);
        }
    }
    // Fonts are not a crate's own source.
    if names.iter().any(|name| name.starts_with("llama2-screen ")) {
        for (font, file) in [
            ("DejaVu Sans Mono 2.37", "screen/LICENSE-DejaVu.txt"),
            ("GNU Unifont 15.0.01", "screen/LICENSE-Unifont.txt"),
        ] {
            let licence = fs::read_to_string(root().join(file))?;
            text += &format!("\n==== {font}\n\n{}\n", licence.trim());
        }
    }
    Ok(text)
}

fn is_ours(name: &str) -> bool {
    name.starts_with("llama2-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_crate_has_its_licence() {
        let (text, names) = (third_party().unwrap(), linked().unwrap());
        let sections: Vec<&str> = text.split("\n==== ").skip(1).collect();
        let section = |name: &str| {
            let found = sections.iter().find(|section| section.starts_with(name));
            *found.unwrap_or_else(|| panic!("{name} is missing"))
        };
        let others = names.iter().filter(|name| !is_ours(name));
        for name in others.clone() {
            let section = section(&format!("{name} ("));
            let is_text = [
                "Permission is",
                "Permission to use",
                "Community Data License Agreement",
                "Apache License",
                "Mozilla Public",
                "warranty",
                "Redistribution and use",
                "Its licence is that of ",
            ];
            assert!(
                is_text.iter().any(|words| section.contains(words)),
                "{name}"
            );
            let is_unicode = name.starts_with(UNICODE);
            assert_eq!(section.contains("Unicode-3.0, above"), is_unicode, "{name}");
        }
        assert!(others.count() > 30);
        assert!(section("ucs2 ").contains("Its source, unchanged: https://github.com/"));
        assert!(section("Rust's core").contains("The Rust Project Developers"));
        assert!(section("Rust's compiler-builtins").contains("LLVM Exceptions to the Apache"));
        assert!(section("Tables of Rust's").contains("UNICODE LICENSE V3"));
        assert!(section("musl").contains("Rich Felker"));
        assert!(section("MinGW-w64's").contains("by the mingw-w64 project"));
        assert!(section("winapi-x86_64-pc-windows-gnu").contains("that of winapi v0.3"));
        assert!(section("DejaVu Sans Mono").contains("Bitstream"));
        assert!(section("GNU Unifont").contains("SIL OPEN FONT LICENSE"));
        // Reads fonts, and is not maintained any more (RUSTSEC-2026-0192).
        assert!(!names.iter().any(|name| name.starts_with("ttf-parser")));
    }
}
