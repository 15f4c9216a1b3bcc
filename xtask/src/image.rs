//! Disk images: a GPT disk with a FAT32 EFI system partition, made without root or mounting; the
//! same input gives the same bytes.

mod disk;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use llama2_app::model_names::is_model;
use llama2_console::{
    config,
    filename::{is_device, is_same},
};
use llama2_engine::{
    checkpoint::{Checkpoint, Format},
    context::Memory,
    gguf::PartName,
    session::KvType,
    source::{ByteSource, Joined, ReadError},
    tokenizer::Tokenizer,
};
use llama2_settings::{Overrides, Param, ParamValue};

use crate::{arch::Arch, build::Built};

pub use disk::{fill, read_back, write};

/// Largest file on FAT32.
const LARGEST_FILE: u64 = u32::MAX as u64;

/// Name of a model whose own the application would not find.
const MODEL: &str = "MODEL.BIN";

/// Models and tokenizer to include.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Files {
    /// Checkpoint to include (any part of a split one); may be repeated to offer several in a menu
    /// [default: none, the bundled model is inside llama2.efi]
    #[arg(long, value_name = "FILE")]
    pub model: Vec<PathBuf>,
    /// Tokenizer of the checkpoint
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
}

impl Files {
    /// Opens the models as the application will. Returns the size of the largest one, and the
    /// memory it needs, in bytes.
    ///
    /// # Errors
    /// A sentence as the application would say it about the file, before anything is built for it.
    pub fn needs(&self) -> Result<(u64, u64)> {
        let mut most = (0, 0);
        for model in &self.model {
            let parts: Result<Vec<HostFile>> = parts(model)?
                .iter()
                .map(|path| HostFile::open(path))
                .collect();
            let mut source = Joined::new(parts?);
            let about = || model.display().to_string();
            let checkpoint = Checkpoint::open(&mut source).with_context(about)?;
            if let (Format::Gguf { .. }, None) = (checkpoint.format, &self.tokenizer) {
                Tokenizer::from_gguf(&mut source)
                    .map_err(anyhow::Error::msg)
                    .with_context(about)?;
            }
            let memory = Memory::whole(&checkpoint, KvType::F32).total();
            most = (source.size().max(most.0), memory.max(most.1));
        }
        Ok(most)
    }
}

/// File of a model, or all files if it is split.
fn parts(model: &Path) -> Result<Vec<PathBuf>> {
    let name = model.file_name().and_then(|name| name.to_str());
    let Some(part) = name.and_then(PartName::of).filter(|part| part.count > 1) else {
        return Ok(vec![model.to_owned()]);
    };
    let paths = (1..=part.count).map(|number| model.with_file_name(part.sibling(number)));
    let paths: Vec<PathBuf> = paths.collect();
    if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
        bail!(
            "{}: no such file, but the model is split into {}",
            missing.display(),
            part.count
        );
    }
    Ok(paths)
}

/// Host file as a source for the engine.
struct HostFile(File);

impl HostFile {
    fn open(path: &Path) -> Result<HostFile> {
        Ok(HostFile(
            File::open(path).with_context(|| path.display().to_string())?,
        ))
    }
}

impl ByteSource for HostFile {
    fn size(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), ReadError> {
        let read = self
            .0
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.0.read_exact(buf));
        read.map_err(|error| ReadError::new(offset, error.to_string()))
    }
}

/// File of the image.
#[derive(Clone)]
pub struct Entry {
    /// Path in the image.
    pub path: String,
    /// Contents.
    pub from: From,
}

/// Source of an entry's contents.
#[derive(Clone)]
pub enum From {
    /// File on this machine.
    File(PathBuf),
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// None: the entry is an empty folder.
    Folder,
}

/// All files of an image.
#[derive(Clone, Default)]
pub struct Content {
    /// Entries, each path once.
    pub entries: Vec<Entry>,
    /// Names of the models.
    models: Vec<String>,
}

impl Content {
    /// Collects the application under the names that firmware boots, a configuration, and the
    /// models, if any.
    pub fn gather(
        programs: &[Built],
        files: &Files,
        config: Option<&Path>,
        options: &Overrides,
    ) -> Result<Content> {
        let mut content = Content::default();
        for built in programs {
            content.program(built.arch, &built.efi);
        }
        let mut options = options.clone();
        for model in &files.model {
            content.model("", model, config.is_none())?;
        }
        // Of several one is chosen from a menu.
        if let [model] = &content.models[..] {
            options.set(Param::Model, ParamValue::Text(model.clone()));
        }
        if let Some(tokenizer) = &files.tokenizer {
            options.set(Param::Tokenizer, ParamValue::Text("TOKEN.BIN".into()));
            content.file("TOKEN.BIN", tokenizer);
        }
        match config {
            Some(config) => content.file("LLAMA2.CFG", config),
            // Windows' editor wants CR LF.
            None => content.bytes("LLAMA2.CFG", config::text(&options).replace('\n', "\r\n")),
        }
        Ok(content)
    }

    /// Adds the application for this architecture, under the name that firmware boots.
    pub fn program(&mut self, arch: &Arch, efi: &Path) {
        self.file(arch.boot_file, efi);
    }

    /// Adds a model (all parts of a split one) to a folder (empty, or ending in `/`), under its own
    /// name. Unless our configuration `names` it, it gets a name that the application looks for.
    ///
    /// # Errors
    /// If there is already a file of this name, or if a part is missing.
    pub fn model(&mut self, folder: &str, model: &Path, names: bool) -> Result<()> {
        for (number, path) in parts(model)?.iter().enumerate() {
            let name = match fat_name(path) {
                name if names || is_model(&name) || number > 0 => name,
                _ => MODEL.into(),
            };
            self.another(folder, &name, path)?;
            if number == 0 {
                self.models.push(name);
            }
        }
        Ok(())
    }

    /// Adds a user's file to a folder.
    ///
    /// # Errors
    /// If there is already a file of this name: FAT does not tell upper from lower case. If it is
    /// a device's on Windows.
    pub fn another(&mut self, folder: &str, name: &str, from: &Path) -> Result<()> {
        let path = format!("{folder}{name}");
        let shown = from.display();
        ensure!(
            !is_device(name),
            "{shown}: Windows reserves the name {name} for a device; rename it"
        );
        let is_there = |entry: &&Entry| is_same(&entry.path, &path);
        match self.entries.iter().find(is_there).map(|entry| &entry.from) {
            Some(From::File(other)) => bail!(
                "{} and {shown} would both be {path}; rename one of them{}",
                other.display(),
                match name {
                    MODEL => ": models are found by the names *.gguf and STORIES*.BIN",
                    _ => "",
                }
            ),
            Some(_) => bail!("{shown}: there is already a {path} in the image; rename it"),
            None => self.file(&path, from),
        }
        Ok(())
    }

    /// Adds a file of this machine.
    pub fn file(&mut self, path: &str, from: &Path) {
        self.put(path, From::File(from.to_owned()));
    }

    /// Adds bytes.
    pub fn bytes(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.put(path, From::Bytes(bytes.into()));
    }

    /// Adds an entry, replacing one with the same path.
    pub fn put(&mut self, path: &str, from: From) {
        self.entries.retain(|entry| entry.path != path);
        self.entries.push(Entry {
            path: path.into(),
            from,
        });
    }

    /// Returns the size of all files, in bytes.
    ///
    /// # Errors
    /// If a file cannot be read, or is larger than FAT32 allows.
    pub fn size(&self) -> Result<u64> {
        self.entries.iter().map(Entry::size).sum()
    }

    /// Describes which model it boots.
    pub fn what(&self) -> String {
        match &self.models[..] {
            [] => "boots the bundled model".into(),
            [model] => format!("boots {model}"),
            models => format!("offers {}", models.join(", ")),
        }
    }
}

/// Name of the file, as allowed on FAT.
fn fat_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let taken = |c: char| !c.is_control() && !"*?<>|\":/\\".contains(c);
    let name: String = name
        .chars()
        .map(|c| if taken(c) { c } else { '_' })
        .collect();
    name.trim_end_matches([' ', '.']).trim_start().into()
}

impl Entry {
    /// Returns the size in bytes.
    ///
    /// # Errors
    /// If the file is absent, or none, or larger than FAT32 allows.
    pub fn size(&self) -> Result<u64> {
        let size = match &self.from {
            From::File(path) => {
                let metadata =
                    std::fs::metadata(path).with_context(|| path.display().to_string())?;
                if !metadata.is_file() {
                    bail!("{} is not a file", path.display());
                }
                metadata.len()
            }
            From::Bytes(bytes) => bytes.len() as u64,
            From::Folder => 0,
        };
        ensure!(
            size <= LARGEST_FILE,
            "{}: {size} bytes, but a file on FAT32 has at most {LARGEST_FILE}; llama2 split cuts a \
             .gguf model into smaller ones",
            self.path
        );
        Ok(size)
    }

    /// Opens the contents, which are empty for a folder.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub fn open(&self) -> Result<Box<dyn Read + '_>> {
        Ok(match &self.from {
            From::File(path) => {
                Box::new(File::open(path).with_context(|| path.display().to_string())?)
            }
            From::Bytes(bytes) => Box::new(&bytes[..]),
            From::Folder => Box::new(io::empty()),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::arch::ARCHS;

    /// Creates an empty folder for one test.
    pub fn folder(name: &str) -> PathBuf {
        let folder =
            std::env::temp_dir().join(format!("llama2-xtask-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[test]
    fn models_keep_their_names() {
        let folder = folder("models");
        let file = |name: &str| {
            let path = folder.join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let config = file("mine.cfg");
        let programs = ARCHS.map(|arch| Built {
            arch,
            efi: config.clone(),
            map: PathBuf::new(),
        });
        let gather = |models: &[&str], own: Option<&Path>| {
            let files = Files {
                model: models.iter().map(|name| file(name)).collect(),
                tokenizer: None,
            };
            let content = Content::gather(&programs, &files, own, &Overrides::default())?;
            let named = content.entries.iter().find_map(|entry| match &entry.from {
                From::Bytes(bytes) => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    let read = config::parse(text.as_bytes()).unwrap().0;
                    read.text(Param::Model).map(String::from)
                }
                _ => None,
            });
            anyhow::Ok((content.what(), named))
        };
        let of = |models: &[&str]| gather(models, None).unwrap();
        let long = "SmolLM2-135M-Instruct.Q4_1.gguf";
        assert_eq!(of(&[long]), (format!("boots {long}"), Some(long.into())));
        for (name, there) in [
            ("Über uns.bin", "Über uns.bin"),
            ("a:b?.gguf", "a_b_.gguf"),
            (" a.bin. ", "a.bin"),
        ] {
            assert_eq!(of(&[name]).1.as_deref(), Some(there));
        }
        let parts = ["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"].map(file);
        assert_eq!(
            of(&["b-00002-of-00002.gguf"]).1.as_deref(),
            Some("b-00001-of-00002.gguf")
        );
        std::fs::remove_file(&parts[0]).unwrap();
        // Several are for a menu.
        assert_eq!(
            of(&["a.gguf", "c.bin"]),
            ("offers a.gguf, c.bin".into(), None)
        );
        let doubled = gather(&["a.gguf", "A.GGUF"], None).unwrap_err().to_string();
        assert!(doubled.contains("would both be A.GGUF"), "{doubled}");
        let device = gather(&["com1.gguf"], None).unwrap_err().to_string();
        assert!(device.contains("reserves the name com1.gguf"), "{device}");
        let renamed = gather(&["c.bin", "d.bin"], Some(&config))
            .unwrap_err()
            .to_string();
        assert!(
            renamed.contains("d.bin would both be MODEL.BIN; rename one of them: models"),
            "{renamed}"
        );
        // With a configuration that is not ours the application has to find it.
        assert_eq!(
            gather(&["c.bin"], Some(&config)).unwrap().0,
            "boots MODEL.BIN"
        );
        assert_eq!(
            gather(&["a.gguf"], Some(&config)).unwrap().0,
            "boots a.gguf"
        );
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_the_engine_refuses_is_refused_before_anything_is_built() {
        let folder = folder("refused");
        let needs = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).unwrap();
            let model = vec![path];
            Files {
                model,
                tokenizer: None,
            }
            .needs()
        };
        let bundled = include_bytes!("../../models/stories330K.bin");
        let (bytes, memory) = needs("a.bin", bundled).unwrap();
        assert!(bytes == bundled.len() as u64 && memory > bytes);
        assert_eq!(Files::default().needs().unwrap(), (0, 0));
        for (name, bytes) in [
            ("b.bin", &bundled[..1000]),
            ("c.gguf", b"GGUF"),
            ("d.gguf", b"no model at all"),
            ("e-00001-of-00002.gguf", b"GGUF"),
        ] {
            let error = format!("{:#}", needs(name, bytes).unwrap_err());
            let number = name.replace("00001", "00002");
            assert!(error.contains(name) || error.contains(&number), "{error}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
