//! Disk images: a GPT disk with a FAT32 EFI system partition, without root or mounting; same input,
//! same bytes.

mod disk;

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use llama2_console::config;
use llama2_engine::{
    checkpoint::{Checkpoint, Format},
    context::Memory,
    gguf::PartName,
    session::KvType,
    source::{ByteSource, Joined, ReadError},
    tokenizer::Tokenizer,
};
use llama2_settings::{Overrides, Param, ParamValue};
use llama2_talk::model_names::is_model;

use crate::arch::Arch;

pub use disk::{fill, read_back, write};

/// A model and its tokenizer to put in.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Files {
    /// Checkpoint to put in, of a split one any part; several times for several, which a menu
    /// offers [default: none, the bundled model is inside llama2.efi]
    #[arg(long, value_name = "FILE")]
    pub model: Vec<PathBuf>,
    /// Its tokenizer
    #[arg(long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
}

impl Files {
    /// Looks at the models as the application will, and gives the largest one's bytes, and what
    /// memory it needs.
    ///
    /// # Errors
    /// A sentence as the application would say it of the file, before anything is built for it.
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

/// A model's file, or all of them where it is split.
fn parts(model: &Path) -> Result<Vec<PathBuf>> {
    let name = model.file_name().and_then(|name| name.to_str());
    let Some(part) = name.and_then(PartName::of).filter(|part| part.count > 1) else {
        return Ok(vec![model.to_owned()]);
    };
    let paths = (1..=part.count).map(|number| model.with_file_name(part.sibling(number)));
    let paths: Vec<PathBuf> = paths.collect();
    if let Some(missing) = paths.iter().find(|path| !path.is_file()) {
        bail!(
            "{}: there is no such file, but the model is split into {}",
            missing.display(),
            part.count
        );
    }
    Ok(paths)
}

/// A host file as the engine's source.
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
        read.map_err(|error| ReadError {
            offset,
            reason: error.to_string(),
        })
    }
}

/// One file of the image.
#[derive(Clone)]
pub struct Entry {
    /// Its path there.
    pub path: String,
    /// Its bytes.
    pub from: From,
}

/// The place of an entry's bytes.
#[derive(Clone)]
pub enum From {
    /// In a file of this machine.
    File(PathBuf),
    /// Here.
    Bytes(Vec<u8>),
    /// Nowhere: a folder, and empty.
    Folder,
}

/// All files of an image.
#[derive(Clone, Default)]
pub struct Content {
    /// Each once.
    pub entries: Vec<Entry>,
    /// The models' names in it.
    models: Vec<String>,
}

impl Content {
    /// The application as what firmware boots, a configuration, and a model if there is one.
    pub fn gather(
        efi: &Path,
        files: &Files,
        config: Option<&Path>,
        options: &Overrides,
    ) -> Result<Content> {
        let mut content = Content::default();
        content.file(Arch::built().boot_file, efi);
        let mut options = options.clone();
        for model in &files.model {
            content.model(model, config.is_none())?;
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

    /// Adds a model, of a split one all parts, under its own name. Where no configuration of ours
    /// `names` it, it has one that the application looks for.
    fn model(&mut self, model: &Path, names: bool) -> Result<()> {
        for (number, path) in parts(model)?.iter().enumerate() {
            let name = match fat_name(path) {
                name if names || is_model(&name) || number > 0 => name,
                _ => "MODEL.BIN".into(),
            };
            let is_there = |entry: &Entry| entry.path.to_lowercase() == name.to_lowercase();
            ensure!(
                !self.entries.iter().any(is_there),
                "{}: there is a {name} already in the image; give one of them another name",
                path.display()
            );
            self.file(&name, path);
            if number == 0 {
                self.models.push(name);
            }
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

    /// Adds an entry, in place of one with the same path.
    pub fn put(&mut self, path: &str, from: From) {
        self.entries.retain(|entry| entry.path != path);
        self.entries.push(Entry {
            path: path.into(),
            from,
        });
    }

    /// Says which model it boots.
    pub fn what(&self) -> String {
        match &self.models[..] {
            [] => "boots the bundled model".into(),
            [model] => format!("boots {model}"),
            models => format!("offers {}", models.join(", ")),
        }
    }
}

/// The file's own name, as FAT takes it.
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
    fn size(&self) -> Result<u64> {
        match &self.from {
            From::File(path) => {
                let metadata =
                    std::fs::metadata(path).with_context(|| path.display().to_string())?;
                if !metadata.is_file() {
                    bail!("{} is not a file", path.display());
                }
                Ok(metadata.len())
            }
            From::Bytes(bytes) => Ok(bytes.len() as u64),
            From::Folder => Ok(0),
        }
    }

    fn open(&self) -> Result<Box<dyn Read + '_>> {
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

    /// An empty folder of one test's own.
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
        let gather = |models: &[&str], own: Option<&Path>| {
            let files = Files {
                model: models.iter().map(|name| file(name)).collect(),
                tokenizer: None,
            };
            let content = Content::gather(&config, &files, own, &Overrides::default())?;
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
        assert!(doubled.contains("there is a A.GGUF already"), "{doubled}");
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
