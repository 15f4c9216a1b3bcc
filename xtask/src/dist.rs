//! Files for distribution: the application, by itself, in an image for USB sticks and in a .zip to
//! unpack onto one; the command; checksums and licences.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};
use flate2::{Compression, Crc, GzBuilder, write::DeflateEncoder};
use llama2_console::config;
use llama2_settings::Overrides;
use sha2::{Digest, Sha256};

use crate::{
    arch::Arch,
    build, fetch,
    image::{self, Content, Files},
    setup,
    shell::{check, output, root, target},
};

/// Creates all of them, in `target/dist`.
pub fn dist() -> Result<()> {
    let built = build::build()?;
    let folder = target().join("dist");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::copy(&built.efi, folder.join("llama2.efi"))?;
    let image = target().join("llama2-dist.img");
    image::write(
        &Content::gather(&built.efi, &Files::default(), None, &Default::default())?,
        &image,
    )?;
    compress(&image, &folder.join("llama2-disk.img.gz"))?;
    fs::copy(root().join("LICENSE"), folder.join("LICENSE"))?;
    fs::copy(root().join("README.md"), folder.join("README.md"))?;
    let licences = licences()?;
    fs::write(folder.join("THIRD-PARTY-LICENSES.txt"), &licences)?;
    let config = config::text(&Overrides::default()).replace('\n', "\r\n");
    // Files that any system can unpack onto a FAT32 stick, where text is read with editors that
    // need CR LF.
    let stick = [
        (Arch::built().boot_file, fs::read(&built.efi)?),
        ("LLAMA2.CFG", config.into_bytes()),
        ("LICENSE", fs::read(root().join("LICENSE"))?),
        ("THIRD-PARTY-LICENSES.txt", licences.into_bytes()),
    ];
    fs::write(folder.join("llama2-stick.zip"), zip(&stick)?)?;
    let command = format!("llama2{}", std::env::consts::EXE_SUFFIX);
    let mut cargo = Command::new(setup::cargo());
    check(
        cargo
            .current_dir(root())
            .args(["build", "--release", "--package", "llama2-cli"]),
    )?;
    fs::copy(
        target().join("release").join(&command),
        folder.join(&command),
    )?;
    let mut sums = String::new();
    for name in [
        "LICENSE",
        "README.md",
        "THIRD-PARTY-LICENSES.txt",
        &command,
        "llama2-disk.img.gz",
        "llama2-stick.zip",
        "llama2.efi",
    ] {
        let sum = fetch::hex(&Sha256::digest(fs::read(folder.join(name))?));
        sums += &format!("{sum}  {name}\n");
    }
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    print!("{}:\n{sums}", folder.display());
    Ok(())
}

/// Compresses with gzip without a time in its header: the same bytes each time.
fn compress(from: &Path, to: &Path) -> Result<()> {
    let mut packed = GzBuilder::new()
        .mtime(0)
        .write(fs::File::create(to)?, Compression::best());
    let mut image = fs::File::open(from)?;
    let mut piece = vec![0; 1 << 20];
    loop {
        let len = image.read(&mut piece)?;
        if len == 0 {
            break;
        }
        packed.write_all(&piece[..len])?;
    }
    packed.finish()?.sync_all()?;
    Ok(())
}

/// Makes a .zip of these files without times: the same bytes each time (PKWARE's APPNOTE 6.3.10,
/// 4.3).
fn zip(files: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in files {
        let mut packed = DeflateEncoder::new(Vec::new(), Compression::best());
        packed.write_all(content)?;
        let packed = packed.finish()?;
        let mut sum = Crc::new();
        sum.update(content);
        let at = u32::try_from(out.len())?;
        let mut common = Vec::new();
        // Version 2.0, no flags, deflated; January 1, 1980, 0:00.
        for number in [20u16, 0, 8, 0, 0x21] {
            common.extend(number.to_le_bytes());
        }
        for number in [
            sum.sum(),
            packed.len().try_into()?,
            content.len().try_into()?,
        ] {
            common.extend(number.to_le_bytes());
        }
        // The name's length, and no further fields.
        common.extend(u16::try_from(name.len())?.to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(packed);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(common);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (begin, count) = (u32::try_from(out.len())?, u16::try_from(files.len())?);
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].map(u16::to_le_bytes).concat());
    out.extend(
        [u32::try_from(directory.len())?, begin]
            .map(u32::to_le_bytes)
            .concat(),
    );
    out.extend([0, 0]);
    Ok(out)
}

/// Prefix of crates with tables generated from Unicode's data.
const UNICODE: &str = "unicode-";

/// Crates that are linked into the application, by name and version, including our own.
fn linked() -> Result<Vec<String>> {
    let mut tree = Command::new(setup::cargo());
    tree.current_dir(root()).args([
        "tree",
        "--package",
        "llama2-efi",
        "--target",
        Arch::built().stock_target,
        "--edges",
        "normal,no-proc-macro",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ]);
    let linked = output(&mut tree).context("cargo tree")?;
    let mut names: Vec<String> = linked
        .lines()
        .map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "))
        .collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Licence texts of everything that is linked into the application.
fn licences() -> Result<String> {
    let cargo = setup::cargo();
    let metadata = output(Command::new(&cargo).current_dir(root()).args([
        "metadata",
        "--format-version",
        "1",
    ]));
    let metadata: serde_json::Value = serde_json::from_str(&metadata.context("cargo metadata")?)?;
    let mut packages = BTreeMap::new();
    for package in metadata["packages"].as_array().context("packages")? {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        packages.insert(
            format!("{} v{}", text("name"), text("version")),
            (
                text("license"),
                PathBuf::from(text("manifest_path")),
                text("repository"),
            ),
        );
    }
    let names = linked()?;
    let mut text =
        String::from("llama2.efi contains the following libraries, under their own licences.\n");
    for (name, licence) in [
        (
            "Rust's core and alloc (MIT OR Apache-2.0, https://github.com/rust-lang/rust)",
            include_str!("../licences/rust-mit.txt"),
        ),
        (
            "Rust's compiler-builtins (MIT AND Apache-2.0 WITH LLVM-exception, \
             https://github.com/rust-lang/compiler-builtins)",
            include_str!("../licences/compiler-builtins.txt"),
        ),
        (
            "Tables of Rust's core and of the crates unicode-* (Unicode-3.0, \
             https://www.unicode.org)",
            include_str!("../licences/unicode-3.0.txt"),
        ),
    ] {
        text += &format!("\n==== {name}\n\n{}\n", licence.trim());
    }
    for name in names.iter().filter(|name| !name.starts_with("llama2-")) {
        let (licence, manifest, repository) = packages
            .get(name)
            .with_context(|| format!("{name} is not in cargo's metadata"))?;
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
        let folder = manifest.parent().context("a manifest lies in a folder")?;
        let mut files: Vec<PathBuf> = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        files.sort();
        let is_licence = |path: &&PathBuf| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .to_uppercase();
            path.is_file()
                && (name.starts_with("LICENSE")
                    || name.starts_with("LICENCE")
                    || name.starts_with("COPYING"))
        };
        // Of a choice, MIT: the shorter text.
        let mut licences: Vec<&PathBuf> = files.iter().filter(is_licence).collect();
        if let Some(mit) = licences
            .iter()
            .find(|path| path.to_string_lossy().to_uppercase().contains("MIT"))
        {
            licences = vec![mit];
        }
        if licences.is_empty() {
            bail!("{name} comes without its licence's text: give it one in xtask/licences");
        }
        for file in licences {
            text += &format!("\n{}\n", fs::read_to_string(file)?.trim());
        }
    }
    // Not a crate's own source: the outlines that its build script takes from another crate.
    if names.iter().any(|name| name.starts_with("llama2-screen ")) {
        let licence = fs::read_to_string(root().join("screen/LICENSE-DejaVu.txt"))?;
        text += &format!("\n==== DejaVu Sans Mono 2.37\n\n{}\n", licence.trim());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_crate_has_its_licence() {
        let (text, names) = (licences().unwrap(), linked().unwrap());
        let sections: Vec<&str> = text.split("\n==== ").skip(1).collect();
        let section = |name: &str| {
            let found = sections.iter().find(|section| section.starts_with(name));
            *found.unwrap_or_else(|| panic!("{name} is missing"))
        };
        let others = names.iter().filter(|name| !name.starts_with("llama2-"));
        for name in others.clone() {
            let section = section(&format!("{name} ("));
            let is_text = [
                "Permission is",
                "Apache License",
                "Mozilla Public",
                "warranty",
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
        assert!(section("DejaVu Sans Mono").contains("Bitstream"));
        // Reads fonts, and is not maintained any more (RUSTSEC-2026-0192).
        assert!(!names.iter().any(|name| name.starts_with("ttf-parser")));
    }

    #[test]
    fn packed_files_come_out_again() {
        let files = [
            ("EFI/BOOT/A.EFI", vec![7; 100_000]),
            ("EMPTY", Vec::new()),
            ("TEXT.TXT", b"Once upon a time\r\n".to_vec()),
        ];
        let packed = zip(&files).unwrap();
        let number = |at: usize| u32::from_le_bytes(packed[at..at + 4].try_into().unwrap());
        let end = packed.len() - 22;
        let mut at = number(end + 16) as usize;
        for (name, content) in &files {
            assert_eq!(packed[at..at + 4], *b"PK\x01\x02");
            let begin = number(at + 42) as usize;
            assert_eq!(packed[begin..begin + 4], *b"PK\x03\x04");
            let data = begin + 30 + name.len();
            assert_eq!(packed[begin + 30..data], *name.as_bytes());
            let mut out = Vec::new();
            let inside = &packed[data..data + number(at + 20) as usize];
            flate2::read::DeflateDecoder::new(inside)
                .read_to_end(&mut out)
                .unwrap();
            assert_eq!(out, *content);
            assert_eq!(number(at + 24) as usize, content.len());
            at += 46 + name.len();
        }
        assert_eq!(at, end);
    }
}
