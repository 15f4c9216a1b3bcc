//! A zip for people without Rust: unpacked onto a FAT32 stick, it boots. Beside the application and
//! models it contains the command for other systems, the licences, and words on how to use it.

mod commands;
mod licences;

use std::{
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use flate2::{Compression, GzBuilder};
use llama2_console::config;
use llama2_settings::Overrides;
use sha2::{Digest, Sha256};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

pub use self::commands::{SYSTEMS, System};
use crate::{
    arch::{ARCHS, Arch},
    build,
    image::{self, Content, Entry, Files},
    shell::{root, target},
};

/// Folder of the models, which the application searches.
const MODELS: &str = "MODELS/";
/// Folder of the licences.
const LICENCES: &str = "LICENSES/";
/// Name of the list of checksums, in the format of `sha256sum`.
const SUMS: &str = "SHA256SUMS";
/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// Flags of `cargo xtask dist`.
#[derive(clap::Args)]
pub struct DistArgs {
    #[command(flatten)]
    files: Files,
    /// Licence of a model, to include; may be repeated
    #[arg(long, alias = "license", value_name = "FILE")]
    licence: Vec<PathBuf>,
    /// Systems to leave the command out for, such as windows-x86_64
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',')]
    without: Vec<System>,
    /// Also write the files as a disk image, for sticks that cannot be formatted as FAT32
    #[arg(long)]
    image: bool,
    /// File to write [default: llama2-stick.zip in target/dist]
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Builds the application and the command, and writes them as one zip.
///
/// # Errors
/// A sentence about a tool that is missing, a model, or a file.
pub fn dist(args: &DistArgs) -> Result<()> {
    let is_wanted = |system: &System| !args.without.contains(system);
    let systems: Vec<System> = SYSTEMS.into_iter().filter(is_wanted).collect();
    let (mut content, zip) = plan(args, &systems)?;
    for system in &systems {
        system.prepare()?;
    }
    if !args.files.model.is_empty() && args.licence.is_empty() {
        eprintln!(
            "xtask: no --licence: before you give the zip to others, look at what the models' own \
             licences ask for"
        );
    }
    for system in systems {
        system.build()?;
    }
    let built = build::build_all()?;
    for arch in ARCHS {
        if !built.iter().any(|built| built.arch.name == arch.name) {
            content.entries.retain(|entry| entry.path != arch.boot_file);
        }
    }
    fs::create_dir_all(zip.parent().unwrap_or(Path::new("")))?;
    let sums = pack(&content, &zip)?;
    content.bytes(SUMS, sums);
    for entry in &content.entries {
        println!("{:>12}  {}", entry.size()?, entry.path);
    }
    describe(&zip)?;
    if args.image {
        let image = zip.with_extension("img");
        image::write(&content, &image)?;
        let packed = zip.with_extension("img.gz");
        compress(&image, &packed)?;
        fs::remove_file(&image)?;
        describe(&packed)?;
    }
    Ok(())
}

/// The files, and the zip to write, before anything is built: what is wrong with those that were
/// named is said at once.
fn plan(args: &DistArgs, systems: &[System]) -> Result<(Content, PathBuf)> {
    let zip = args.output.clone();
    let zip = zip.unwrap_or_else(|| target().join("dist/llama2-stick.zip"));
    ensure!(
        zip.extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("zip")),
        "-o {}: the name must end in .zip, so that it is no other file's",
        zip.display()
    );
    args.files.needs()?;
    let mut licences = args.licence.clone();
    if !systems.is_empty() {
        licences.push(commands::library_licences()?);
    }
    let commands: Vec<(System, PathBuf)> = systems.iter().map(|s| (*s, s.program())).collect();
    let programs = ARCHS.map(|arch| (arch, build::path(arch.file)));
    let content = content(&programs, &args.files, &commands, &licences)?;
    let is_there = |entry: &&Entry| [MODELS, LICENCES].iter().any(|f| entry.path.starts_with(f));
    for entry in content.entries.iter().filter(is_there) {
        entry.size()?;
    }
    Ok((content, zip))
}

/// Prints a file's size and checksum.
fn describe(path: &Path) -> Result<()> {
    let mut hash = Sha256::new();
    let size = copy(&mut File::open(path)?, |piece| {
        hash.update(piece);
        Ok(())
    })?;
    println!("{}: {size} bytes, SHA-256 {}", path.display(), hex(hash));
    Ok(())
}

/// All files of a stick: the application, models, the command, licences, and what explains them.
///
/// # Errors
/// If two files would have the same name, or if something cannot be read.
pub fn content(
    programs: &[(&Arch, PathBuf)],
    files: &Files,
    commands: &[(System, PathBuf)],
    licences: &[PathBuf],
) -> Result<Content> {
    let mut content = Content::default();
    for (arch, efi) in programs {
        content.program(arch, efi);
    }
    for model in &files.model {
        // Not named in LLAMA2.CFG, so that a menu offers whatever else is copied there.
        content.model(MODELS, model, false)?;
    }
    if let Some(tokenizer) = &files.tokenizer {
        content.file(&format!("{MODELS}TOKENIZER.BIN"), tokenizer);
    }
    let is_model = |entry: &&Entry| entry.path.starts_with(MODELS);
    let models: Vec<&Entry> = content.entries.iter().filter(is_model).collect();
    let read_me = read_me(&models, commands);
    content.bytes("READ-ME.TXT", crlf(&read_me));
    content.bytes("LLAMA2.CFG", crlf(&config::text(&Overrides::default())));
    content.file(&format!("{LICENCES}llama2.txt"), &root().join("LICENSE"));
    let third_party = licences::third_party()?;
    content.bytes(&format!("{LICENCES}third-party.txt"), crlf(&third_party));
    for licence in licences {
        let name = licence.file_name().unwrap_or_default().to_string_lossy();
        content.another(LICENCES, &name, licence)?;
    }
    for (system, program) in commands {
        content.file(system.path(), program);
    }
    Ok(content)
}

/// Text as Windows' editor wants it.
fn crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

/// Instructions for who has unpacked the zip, or has not yet.
fn read_me(models: &[&Entry], commands: &[(System, PathBuf)]) -> String {
    let list = |paths: Vec<&str>| match &paths[..] {
        [] => "    (none in this zip)\n".to_owned(),
        paths => paths.iter().map(|path| format!("    {path}\n")).collect(),
    };
    let models = match models {
        [] => "The one in this zip is inside BOOTX64.EFI, and tells stories.\n".to_owned(),
        models => format!(
            "In this zip, each under its makers' own licence:\n{}",
            list(models.iter().map(|entry| &entry.path[..]).collect())
        ),
    };
    let commands = list(commands.iter().map(|(system, _)| system.path()).collect());
    include_str!("dist/read-me.txt")
        .replace("{models}\n", &models)
        .replace("{commands}\n", &commands)
}

/// Writes the files as a zip, sorted and without times, so that the same files give the same bytes;
/// and with them their checksums, which are returned.
///
/// # Errors
/// If a file is too large for FAT32, or if reading or writing fails.
pub fn pack(content: &Content, path: &Path) -> Result<String> {
    content.size()?;
    let mut entries: Vec<&Entry> = content.entries.iter().collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let partial = path.with_extension("zip.part");
    let file = File::create(&partial).with_context(|| partial.display().to_string())?;
    let mut zip = ZipWriter::new(BufWriter::new(file)).set_auto_large_file();
    let mut sums = String::new();
    for entry in entries {
        // Weights hardly get smaller, and are the most to unpack.
        let method = match entry.path.starts_with(MODELS) {
            true => CompressionMethod::Stored,
            false => CompressionMethod::Deflated,
        };
        let is_program = SYSTEMS.iter().any(|system| system.path() == entry.path);
        let options = options(method, is_program);
        zip.start_file(&entry.path[..], options)?;
        let mut hash = Sha256::new();
        copy(&mut entry.open()?, |piece| {
            hash.update(piece);
            Ok(zip.write_all(piece)?)
        })
        .with_context(|| format!("writing {} into the zip", entry.path))?;
        sums += &format!("{}  {}\n", hex(hash), entry.path);
    }
    zip.start_file(SUMS, options(CompressionMethod::Deflated, false))?;
    zip.write_all(sums.as_bytes())?;
    zip.finish()?.flush()?;
    fs::rename(&partial, path).with_context(|| path.display().to_string())?;
    Ok(sums)
}

/// Options for a file in a zip: its time is 1980-01-01, the first that there is.
fn options(method: CompressionMethod, is_program: bool) -> SimpleFileOptions {
    SimpleFileOptions::DEFAULT
        .compression_method(method)
        .compression_level((method == CompressionMethod::Deflated).then_some(9))
        .unix_permissions(if is_program { 0o755 } else { 0o644 })
}

/// Calls `to` with each piece; returns how many bytes there were.
fn copy(from: &mut dyn Read, mut to: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
    let (mut piece, mut sum) = (vec![0; PIECE], 0);
    loop {
        match from.read(&mut piece)? {
            0 => return Ok(sum),
            len => {
                to(&piece[..len])?;
                sum += len as u64;
            }
        }
    }
}

/// Digest in hexadecimal.
fn hex(hash: Sha256) -> String {
    let bytes = hash.finalize();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compresses with gzip without a time in its header: the same bytes each time.
fn compress(from: &Path, to: &Path) -> Result<()> {
    let mut packed = GzBuilder::new()
        .mtime(0)
        .write(File::create(to)?, Compression::best());
    copy(&mut File::open(from)?, |piece| Ok(packed.write_all(piece)?))?;
    packed.finish()?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tests::folder;
    use std::process::Command;
    use zip::ZipArchive;

    /// Files of a stick with stand-ins for what is built.
    fn stand_ins(folder: &Path, licences: &[&str]) -> Result<Content> {
        let file = |name: &str| {
            let path = folder.join(name);
            fs::write(&path, name.repeat(1000)).unwrap();
            path
        };
        let files = Files {
            model: vec![file("Über uns.gguf"), file("other.bin")],
            tokenizer: Some(file("tok512.bin")),
        };
        let commands = SYSTEMS.map(|system| (system, file("llama2")));
        let licences: Vec<PathBuf> = licences.iter().map(|name| file(name)).collect();
        let programs = ARCHS.map(|arch| (arch, file("llama2.efi")));
        content(&programs, &files, &commands, &licences)
    }

    #[test]
    fn a_zip_has_everything_in_its_place_and_is_the_same_each_time() {
        let folder = folder("dist");
        let content = stand_ins(&folder, &["Apache-2.0.txt"]).unwrap();
        let (one, two) = (folder.join("one.zip"), folder.join("two.zip"));
        let sums = pack(&content, &one).unwrap();
        pack(&content, &two).unwrap();
        let bytes = fs::read(&one).unwrap();
        assert!(
            bytes == fs::read(&two).unwrap(),
            "the same input, other bytes"
        );

        let mut zip = ZipArchive::new(File::open(&one).unwrap()).unwrap();
        let mut read = |name: &str| {
            let mut file = zip.by_name(name).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            (bytes, file.unix_mode().unwrap() & 0o777)
        };
        assert_eq!(read(SUMS).0, sums.as_bytes());
        let names: Vec<&str> = sums.lines().map(|line| &line[66..]).collect();
        assert_eq!(
            names,
            [
                "EFI/BOOT/BOOTAA64.EFI",
                "EFI/BOOT/BOOTX64.EFI",
                "LICENSES/Apache-2.0.txt",
                "LICENSES/llama2.txt",
                "LICENSES/third-party.txt",
                "LLAMA2.CFG",
                "MODELS/MODEL.BIN",
                "MODELS/TOKENIZER.BIN",
                "MODELS/Über uns.gguf",
                "READ-ME.TXT",
                "llama2/linux-aarch64/llama2",
                "llama2/linux-x86_64/llama2",
                "llama2/windows-x86_64/llama2.exe",
            ]
        );
        for line in sums.lines() {
            let (sum, name) = line.split_once("  ").unwrap();
            let (bytes, mode) = read(name);
            assert_eq!(hex(Sha256::new_with_prefix(bytes)), sum, "{name}");
            let is_program = name.starts_with("llama2/");
            assert_eq!(mode, if is_program { 0o755 } else { 0o644 }, "{name}");
        }
        // What people open with Windows' editor.
        for name in ["READ-ME.TXT", "LLAMA2.CFG", "LICENSES/third-party.txt"] {
            let text = String::from_utf8(read(name).0).unwrap();
            assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
        }
        let config = read("LLAMA2.CFG").0;
        assert!(
            config::parse(&config).unwrap().1.is_empty(),
            "its keys are known"
        );
        let text = String::from_utf8(read("READ-ME.TXT").0).unwrap();
        assert!(
            text.contains("    MODELS/MODEL.BIN\r\n") && !text.contains('{'),
            "{text}"
        );
        unzip_agrees(&one, &folder);

        let doubled = stand_ins(&folder, &["MIT.txt", "mit.TXT"]).err().unwrap();
        assert!(
            doubled
                .to_string()
                .contains("would both be LICENSES/mit.TXT"),
            "{doubled}"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    /// Unpacks a zip with the usual program and checks its sums with the usual one.
    fn unzip_agrees(zip: &Path, folder: &Path) {
        if !crate::shell::has("unzip") || !crate::shell::has("sha256sum") {
            println!("SKIPPED unpacking with another program: there is no unzip or no sha256sum");
            return;
        }
        let there = folder.join("unpacked");
        let mut unzip = Command::new("unzip");
        assert!(
            unzip
                .arg("-q")
                .arg(zip)
                .arg("-d")
                .arg(&there)
                .status()
                .unwrap()
                .success()
        );
        let mut sums = Command::new("sha256sum");
        sums.args(["--check", "--strict", "--quiet", SUMS]);
        assert!(sums.current_dir(&there).status().unwrap().success());
    }

    #[test]
    fn the_read_me_fits_on_a_screen() {
        let model = Entry {
            path: "MODELS/SmolLM2-135M-Instruct.Q4_1.gguf".into(),
            from: image::From::Folder,
        };
        let commands = SYSTEMS.map(|system| (system, PathBuf::new()));
        for text in [read_me(&[&model], &commands), read_me(&[], &[])] {
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines.len() <= 45, "{} lines", lines.len());
            for line in lines {
                // Without a byte order mark some editors guess the encoding.
                assert!(line.len() < 80 && line.is_ascii(), "{line}");
            }
        }
    }

    #[test]
    fn mistakes_are_told_before_anything_is_built() {
        let folder = folder("dist-plan");
        let file = |name: &str| {
            let path = folder.join(name);
            fs::write(&path, include_bytes!("../../models/stories330K.bin")).unwrap();
            path
        };
        let large = file("large.txt");
        File::options()
            .write(true)
            .open(&large)
            .unwrap()
            .set_len(1 << 32)
            .unwrap();
        let planned = |models: &[&str], licence: &Path, output: &str| {
            let args = DistArgs {
                files: Files {
                    model: models.iter().map(|name| file(name)).collect(),
                    tokenizer: None,
                },
                licence: vec![licence.into()],
                without: Vec::new(),
                image: true,
                output: Some(output.into()),
            };
            plan(&args, &[])
                .map(drop)
                .map_err(|error| format!("{error:#}"))
        };
        let fine = file("MIT.txt");
        planned(&["a.bin"], &fine, "stick.ZIP").unwrap();
        for (outcome, says) in [
            // The image's name would be the zip's.
            (planned(&["a.bin"], &fine, "stick.img"), "must end in .zip"),
            (planned(&["a.bin"], &fine, "stick"), "must end in .zip"),
            (
                planned(&["a.bin", "b.bin"], &fine, "a.zip"),
                "would both be MODELS/MODEL.BIN",
            ),
            (
                planned(&[], &file("llama2.TXT"), "a.zip"),
                "would both be LICENSES/llama2.TXT",
            ),
            (
                planned(&[], &file("nul.txt"), "a.zip"),
                "reserves the name nul.txt",
            ),
            (planned(&[], &folder.join("none"), "a.zip"), "none"),
            (
                planned(&[], &large, "a.zip"),
                "LICENSES/large.txt: 4294967296 bytes",
            ),
        ] {
            let said = outcome.unwrap_err();
            assert!(said.contains(says), "{said}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_too_large_for_a_stick_is_refused() {
        let folder = folder("dist-large");
        let large = folder.join("large.gguf");
        File::create(&large).unwrap().set_len(1 << 32).unwrap();
        let mut content = Content::default();
        content.model(MODELS, &large, false).unwrap();
        let error = pack(&content, &folder.join("a.zip"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("MODELS/large.gguf: 4294967296 bytes"),
            "{error}"
        );
        assert!(error.contains("llama2 split"), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
