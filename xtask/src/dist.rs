//! What is given to people: the application, an image to write to a stick, checksums, licences.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

use crate::{
    build, fetch,
    image::{self, Content, Files},
    setup,
    shell::{output, root, target},
};

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
    fs::write(folder.join("THIRD-PARTY-LICENSES.txt"), licences()?)?;
    let mut sums = String::new();
    for name in [
        "LICENSE",
        "THIRD-PARTY-LICENSES.txt",
        "llama2-disk.img.gz",
        "llama2.efi",
    ] {
        let sum = fetch::hex(&Sha256::digest(fs::read(folder.join(name))?));
        sums += &format!("{sum}  {name}\n");
    }
    fs::write(folder.join("SHA256SUMS"), &sums)?;
    print!("{}:\n{sums}", folder.display());
    Ok(())
}

/// gzip without a time in its header: the same bytes each time.
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

/// The licence texts of everything that is linked into the application.
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
            (text("license"), PathBuf::from(text("manifest_path"))),
        );
    }
    let mut tree = Command::new(&cargo);
    tree.current_dir(root()).args([
        "tree",
        "--package",
        "llama2-efi",
        "--target",
        "x86_64-unknown-uefi",
    ]);
    tree.args([
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
    let mut text = String::from(
        "llama2.efi contains the following libraries, and Rust's core, alloc and compiler-builtins\n\
         (MIT or Apache-2.0, https://github.com/rust-lang/rust), under their own licences.\n",
    );
    for name in names.iter().filter(|name| !name.starts_with("llama2-")) {
        let (licence, manifest) = packages
            .get(name)
            .with_context(|| format!("{name} is not in cargo's metadata"))?;
        text += &format!("\n==== {name} ({licence})\n");
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
        for file in licences {
            text += &format!("\n{}\n", fs::read_to_string(file)?.trim());
        }
    }
    // Not a crate's own: the outlines that its build script takes from another.
    if names.iter().any(|name| name.starts_with("llama2-screen ")) {
        let licence = fs::read_to_string(root().join("screen/LICENSE-DejaVu.txt"))?;
        text += &format!("\n==== DejaVu Sans Mono 2.37\n\n{}\n", licence.trim());
    }
    Ok(text)
}
