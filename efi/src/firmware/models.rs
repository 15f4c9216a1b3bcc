//! Which model and which tokenizer: named, else found on a volume, else the ones inside this file.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt::Display, ops::ControlFlow};

use llama2_app::model_names::{self, TOKENIZERS, normalise};
use llama2_console::{config, text};
use llama2_efi::{
    network::download::{Download, Url},
    pinned::Pinned,
};
use llama2_engine::{
    checkpoint::{Checkpoint, Format},
    gguf::{self, PartName},
    source::{ByteSource, Joined},
    tokenizer::Tokenizer,
    units::{Bytes, Grouped, PATH, short},
};

use llama2_app::{
    catalogue::{self, MemoryBudget},
    platform::ModelEntry,
};
use llama2_settings::{Overrides, Param, sha256};

use super::{
    files::{Found, Volume, VolumeFile, Volumes},
    serving, shell,
    terminal::{complain, detail, say},
};

/// The model inside this file.
const BUNDLED: &[u8] = include_bytes!("../../../models/stories7M-Q4_0.gguf");
const BUNDLED_NAME: &str = "stories7M (inside llama2.efi)";
const BUNDLED_SHORT: &str = "stories7M";
/// What it is called in `LLAMA2.CFG`.
const BUNDLED_ID: &str = "bundled";
/// Most models of a menu: each is opened, which takes time.
const MOST_OFFERS: usize = 64;

/// Largest prompt file.
const LARGEST_PROMPT: u64 = 1 << 20;

/// The model's file, which is open; of a split model all its parts, which must lie in the same
/// folder.
fn whole_model(volume: &mut Volume, path: &str, file: VolumeFile) -> Result<Source, String> {
    let name = format!("{} on {}", short(path, PATH), volume.name);
    let Some(part) = PartName::of(path).filter(|part| part.count > 1) else {
        return Ok(Source {
            name,
            id: path.to_string(),
            bytes: Box::new(file),
        });
    };
    let mut parts = Vec::new();
    for number in 1..=part.count {
        let sibling = part.sibling(number);
        match volume.find(&sibling)? {
            Found::File(file) => parts.push(file),
            _ => {
                return Err(format!(
                    "{} on {}: no such file, and it is one of {} parts of a model; copy all of them into one folder",
                    short(&sibling, PATH),
                    volume.name,
                    part.count
                ));
            }
        }
    }
    Ok(Source {
        name,
        id: path.to_string(),
        bytes: Box::new(Joined::new(parts)),
    })
}

/// Bytes to be read, and what to call them.
pub struct Source {
    pub name: String,
    /// What it is called in a menu and in `LLAMA2.CFG`.
    pub id: String,
    pub bytes: Box<dyn ByteSource>,
}

/// A model, and the tokenizer that goes with it if there is one.
pub struct Pair {
    pub model: Source,
    tokenizer: Option<Source>,
    /// True if the user named the tokenizer.
    named: bool,
    /// What the model's file holds, where that has been looked at.
    pub checkpoint: Option<Checkpoint>,
}

/// A file that the user named: its volume's place in the list, its path there, itself.
struct Named {
    index: usize,
    path: String,
    file: VolumeFile,
}

impl Named {
    /// What is read from, and what it is called.
    fn source(self, volumes: &Volumes) -> Source {
        Source {
            name: format!(
                "{} on {}",
                short(&self.path, PATH),
                volumes.list[self.index].name
            ),
            id: self.path,
            bytes: Box::new(self.file),
        }
    }
}

/// Chooses the model and its tokenizer, and says which.
///
/// # Errors
/// A sentence about a file that was named.
pub fn choose(volumes: &mut Volumes, options: &Overrides) -> Result<Pair, String> {
    let tokenizer = options
        .text(Param::Tokenizer)
        .map(|path| Ok::<_, String>(named(volumes, path)?.source(volumes)))
        .transpose()?;
    let named_tokenizer = tokenizer.is_some();
    let pair = match options.text(Param::Model) {
        None if options.text(Param::Sha256).is_some() => {
            return Err("sha256 is set, but not model: name the file that it belongs to".into());
        }
        Some(url) if Url::is_meant(url) => Pair {
            tokenizer,
            named: named_tokenizer,
            ..remote(volumes, url, options)?
        },
        Some(path) if path.eq_ignore_ascii_case(BUNDLED_ID) => bundled(tokenizer),
        // As `/config` writes it where two volumes have the same path.
        Some(path) if path.contains(" on ") && places(volumes).iter().any(|(id, _)| id == path) => {
            let mut found = open(volumes, path, options)?;
            found.model = pinned(found.model, options);
            Pair {
                tokenizer: tokenizer.or(found.tokenizer),
                named: named_tokenizer,
                ..found
            }
        }
        Some(path) => {
            let model = named(volumes, path)?;
            let tokenizer = tokenizer.or_else(|| beside(volumes, model.index, &model.path));
            let volume = &mut volumes.list[model.index];
            let model = whole_model(volume, &model.path, model.file)?;
            let model = pinned(model, options);
            say(&describe(&model, &[]));
            Pair {
                model,
                tokenizer,
                named: named_tokenizer,
                checkpoint: None,
            }
        }
        None => match found(volumes) {
            Some(found) => Pair {
                tokenizer: tokenizer.or(found.tokenizer),
                named: named_tokenizer,
                ..found
            },
            None => bundled(tokenizer),
        },
    };
    Ok(pair)
}

/// The model that the settings name, with its SHA-256 if they say one.
fn pinned(model: Source, options: &Overrides) -> Source {
    match options.text(Param::Sha256).and_then(sha256) {
        Some(sha256) => Source {
            bytes: Box::new(Pinned::new(model.bytes, sha256)),
            ..model
        },
        None => model,
    }
}

/// The model of a web server, which must have the SHA-256 of the settings.
fn remote(volumes: &mut Volumes, url: &str, options: &Overrides) -> Result<Pair, String> {
    let about = |error: &dyn Display| format!("{}: {error}", short(url, PATH));
    let parsed = Url::parse(url).ok_or_else(|| {
        about(
            &"is no address of a file that can be had from here: http, an IPv4 address and a \
                path, such as http://192.168.1.2/MY.GGUF; there are neither names nor TLS",
        )
    })?;
    options.text(Param::Sha256).ok_or_else(|| {
        about(
            &"needs the setting sha256, which pins what the server gives: the 64 digits that \
                sha256sum prints for the file",
        )
    })?;
    detail(&format!("Asking for {}", short(url, PATH)));
    let bytes = Download::open(serving::line(options, volumes), parsed);
    let bytes = bytes.map_err(|error| about(&error))?;
    let model = Source {
        name: short(url, PATH).to_string(),
        id: url.into(),
        bytes: Box::new(bytes),
    };
    say(&describe(&model, &[]));
    Ok(Pair {
        model: pinned(model, options),
        tokenizer: None,
        named: false,
        checkpoint: None,
    })
}

fn bundled(tokenizer: Option<Source>) -> Pair {
    say(&format!("Model: {BUNDLED_NAME}"));
    Pair {
        model: Source {
            name: BUNDLED_NAME.into(),
            id: BUNDLED_ID.into(),
            bytes: Box::new(BUNDLED),
        },
        named: tokenizer.is_some(),
        tokenizer,
        checkpoint: None,
    }
}

/// A model of a menu: its volume's place in the list and its path there; the one inside has
/// neither.
struct Place {
    index: usize,
    path: String,
}

/// All models on the volumes, the first the one that is taken if nobody says another. Those with a
/// path that an earlier volume has too are called by their volume.
fn places(volumes: &mut Volumes) -> Vec<(String, Place)> {
    let mut places: Vec<(String, Place)> = Vec::new();
    for (index, volume) in volumes.list.iter_mut().enumerate() {
        let (entries, _) = volume.entries();
        for entry in model_names::models(&entries) {
            let path = entry.path();
            let is_new = places.iter().all(|(id, _)| !id.eq_ignore_ascii_case(&path));
            let id = match is_new {
                true => path.clone(),
                false => format!("{path} on {}", volume.name),
            };
            places.push((id, Place { index, path }));
        }
    }
    places.truncate(MOST_OFFERS);
    places
}

/// What people call the model of an offer: its file without folder and volume.
pub fn called(id: &str) -> String {
    file_name(id).to_string()
}

/// The same of a model whose file can be read: `MODEL.BIN` says nothing, and a GGUF file has a name
/// of its own.
pub fn called_inside(id: &str, bytes: &mut dyn ByteSource) -> String {
    const ANY: &str = "MODEL.BIN";
    let mut own = None;
    if file_name(id).eq_ignore_ascii_case(ANY) {
        let _ = gguf::metadata(bytes, &mut |key, value| match (key, value) {
            ("general.name", gguf::Value::Text(Some(name))) => {
                own = Some(name.trim().to_string());
                ControlFlow::Break(())
            }
            _ => ControlFlow::Continue(()),
        });
    }
    own.filter(|name| !name.is_empty())
        .unwrap_or_else(|| called(id))
}

fn file_name(id: &str) -> &str {
    if id == BUNDLED_ID {
        return BUNDLED_SHORT;
    }
    let path = id.split(" on ").next().unwrap_or_default();
    let separator = if Url::is_meant(id) { '/' } else { '\\' };
    path.rsplit(separator).next().unwrap_or(path)
}

/// How many models lie on the volumes: without opening any.
pub fn count(volumes: &mut Volumes) -> usize {
    places(volumes).len()
}

/// The models that can be had: those on the volumes, the one inside, and that of a web server which
/// the settings name: nothing is known of that one until it is loaded.
pub fn offers(volumes: &mut Volumes, room: MemoryBudget, options: &Overrides) -> Vec<ModelEntry> {
    let mut offers = Vec::new();
    for (id, Place { index, path }) in places(volumes) {
        let volume = &mut volumes.list[index];
        let name = id.trim_start_matches('\\').to_string();
        offers.push(match open_at(volume, &path) {
            Ok(mut source) => {
                let (mut offer, model) = catalogue::look(id, name, &mut *source.bytes, room);
                let alone = model.is_some_and(|model| !matches!(model.format, Format::Gguf { .. }))
                    && beside(volumes, index, &path).is_none();
                if alone && offer.trouble.is_none() {
                    offer.trouble = Some(format!("has no {} beside it", TOKENIZERS[0]));
                }
                offer
            }
            Err(sentence) => ModelEntry {
                id,
                name,
                trouble: Some(sentence),
                ..ModelEntry::default()
            },
        });
    }
    let mut inside: &[u8] = BUNDLED;
    let (id, name) = (BUNDLED_ID.to_string(), BUNDLED_NAME.to_string());
    offers.push(catalogue::look(id, name, &mut inside, room).0);
    let url = options.text(Param::Model).filter(|url| Url::is_meant(url));
    offers.extend(url.map(|url| ModelEntry {
        id: url.into(),
        name: url.into(),
        free: room.free,
        ..ModelEntry::default()
    }));
    offers
}

/// The model of an offer, with its tokenizer. `options` are for one of a web server.
///
/// # Errors
/// A sentence.
pub fn open(volumes: &mut Volumes, id: &str, options: &Overrides) -> Result<Pair, String> {
    if id == BUNDLED_ID {
        return Ok(bundled(None));
    }
    if Url::is_meant(id) {
        return remote(volumes, id, options);
    }
    let place = places(volumes).into_iter().find(|place| place.0 == id);
    let Some((_, Place { index, path })) = place else {
        return Err(format!("{id}: the model no longer exists"));
    };
    let volume = &mut volumes.list[index];
    let mut model = open_at(volume, &path)?;
    model.id = id.to_string();
    let named = options.text(Param::Model).map(normalise);
    if named.is_some_and(|named| named.eq_ignore_ascii_case(&path)) {
        model = pinned(model, options);
    }
    let tokenizer = beside(volumes, index, &path);
    say(&describe(&model, &[]));
    Ok(Pair {
        model,
        tokenizer,
        named: false,
        checkpoint: None,
    })
}

/// `Model: NAME, SIZE (also there: …)`.
fn describe(model: &Source, others: &[String]) -> String {
    let others = if others.is_empty() {
        String::new()
    } else {
        format!(" (also there: {})", others.join(", "))
    };
    format!(
        "Model: {}, {}{others}",
        model.name,
        Bytes(model.bytes.size())
    )
}

/// The first model with the usual names that can be opened, and what else there is. Nobody named
/// it: what cannot be opened is said and passed over.
fn found(volumes: &mut Volumes) -> Option<Pair> {
    for volume in &mut volumes.list {
        for trouble in volume.entries().1 {
            complain("warning", &trouble);
        }
    }
    let mut places = places(volumes);
    while !places.is_empty() {
        let (id, Place { index, path }) = places.remove(0);
        let opened = open_at(&mut volumes.list[index], &path).and_then(|mut model| {
            match Checkpoint::open(&mut *model.bytes) {
                Ok(checkpoint) => Ok((model, checkpoint)),
                Err(error) => Err(format!("{}: {error}", model.name)),
            }
        });
        match opened {
            Ok((mut model, checkpoint)) => {
                model.id = id;
                let others: Vec<String> = places.into_iter().map(|place| place.0).collect();
                say(&describe(&model, &others));
                return Some(Pair {
                    tokenizer: beside(volumes, index, &path),
                    named: false,
                    checkpoint: Some(checkpoint),
                    model,
                });
            }
            Err(sentence) => complain("warning", &format!("passing over {sentence}")),
        }
    }
    None
}

/// The model in this file of a volume.
fn open_at(volume: &mut Volume, path: &str) -> Result<Source, String> {
    match volume.find(path)? {
        Found::File(file) => whole_model(volume, path, file),
        _ => Err(format!(
            "{} on {}: it is gone",
            short(path, PATH),
            volume.name
        )),
    }
}

/// A tokenizer with a usual name: in the model's folder, then where models are looked for, then on
/// the other volumes.
fn beside(volumes: &mut Volumes, index: usize, model: &str) -> Option<Source> {
    let folder = model.rfind('\\').map_or("\\", |end| &model[..=end]);
    let order = core::iter::once(index).chain((0..volumes.list.len()).filter(|&i| i != index));
    for index in order {
        let volume = &mut volumes.list[index];
        for folder in core::iter::once(folder).chain(model_names::FOLDERS) {
            for name in TOKENIZERS {
                let path = format!("{folder}{name}");
                // What cannot be opened is not there, for a file that nobody named.
                if let Ok(Found::File(file)) = volume.find(&path) {
                    return Some(Source {
                        name: format!("{path} on {}", volume.name),
                        id: path,
                        bytes: Box::new(file),
                    });
                }
            }
        }
    }
    None
}

/// A file that the user named: in the Shell's current folder, then from the root; on the volumes
/// that are up, then on those that can be started.
fn named(volumes: &mut Volumes, path: &str) -> Result<Named, String> {
    let mut places = Vec::new();
    let relative = !path.trim_start().starts_with(['\\', '/']) && !path.contains(':');
    if let Some(folder) = shell::current_folder().filter(|_| relative) {
        places.push(normalise(&format!("{folder}{path}")));
    }
    let from_root = normalise(path);
    if !places.contains(&from_root) {
        places.push(from_root);
    }
    let wanted = path
        .split_once(':')
        .and_then(|(volume, _)| shell::mapped(&format!("{volume}:")));
    let mut trouble = None;
    loop {
        let mut order: Vec<usize> = (0..volumes.list.len()).collect();
        order.sort_by_key(|&index| Some(volumes.list[index].handle) != wanted);
        for (index, path) in order
            .into_iter()
            .flat_map(|index| places.iter().map(move |path| (index, path)))
        {
            let volume = &mut volumes.list[index];
            match volume.find(path) {
                Ok(Found::Nothing) => (),
                Ok(Found::Folder) => {
                    return Err(format!(
                        "{path} on {}: is a folder, not a file; name the file in it",
                        volume.name
                    ));
                }
                Ok(Found::File(file)) => {
                    return Ok(Named {
                        index,
                        path: path.clone(),
                        file,
                    });
                }
                Err(sentence) => trouble = Some(sentence),
            }
        }
        if !volumes.connect_everything() {
            break;
        }
    }
    // It may be the one that could not be opened.
    if let Some(sentence) = trouble {
        return Err(sentence);
    }
    let looked: Vec<&str> = volumes.list.iter().map(|v| v.name.as_str()).collect();
    let looked = if looked.is_empty() {
        "there is no volume".to_string()
    } else {
        format!("looked on {}", looked.join(", "))
    };
    let places = places.join(" and ");
    Err(format!(
        "{places}: no such file ({looked}); check its name and that it was copied"
    ))
}

/// The prompt in a file, without the line end that editors put at a file's end.
///
/// # Errors
/// A sentence about the file.
pub fn prompt(volumes: &mut Volumes, path: &str) -> Result<Vec<u8>, String> {
    let Source {
        name, mut bytes, ..
    } = named(volumes, path)?.source(volumes);
    let about = |error: &dyn core::fmt::Display| format!("{name}: {error}");
    let size = bytes.size();
    if size > LARGEST_PROMPT {
        return Err(about(&format_args!(
            "has {} bytes, but a prompt may have {} at most; is it the right file?",
            Grouped(size),
            Grouped(LARGEST_PROMPT)
        )));
    }
    let mut content = alloc::vec![0; size as usize];
    bytes
        .read_at(0, &mut content)
        .map_err(|error| about(&error))?;
    text::prompt(&content).map_err(|error| about(&error))
}

impl Pair {
    /// Tells whether it is the model inside this file.
    pub fn is_bundled(&self) -> bool {
        self.model.id == BUNDLED_ID
    }

    /// Loads the tokenizer for the model: the one that was named, else a GGUF file's own, else the
    /// one that lies beside it.
    ///
    /// # Errors
    /// A sentence about the tokenizer, or about there being none.
    pub fn load_tokenizer(&mut self, checkpoint: &Checkpoint) -> Result<Tokenizer, String> {
        let vocab_size = checkpoint.config.vocab_size;
        if let (Format::Gguf { .. }, false) = (checkpoint.format, self.named) {
            let name = &self.model.name;
            let own = Tokenizer::from_gguf(&mut *self.model.bytes).map_err(|error| {
                format!("{name}: {error}; name a tokenizer.bin in {}", config::NAME)
            })?;
            own.check_model(vocab_size)
                .map_err(|error| format!("{name}: its tokenizer {error}"))?;
            detail(&format!(
                "Tokenizer: the model's own, {} tokens",
                Grouped(vocab_size as u64)
            ));
            return Ok(own);
        }
        let Some(mut source) = self.tokenizer.take() else {
            return Err(format!(
                "{}: no tokenizer goes with it: neither {} is in its folder, \\ or \\MODELS; copy the model's own to the volume, or name it in {}",
                self.model.name,
                TOKENIZERS.join(" nor "),
                config::NAME
            ));
        };
        let about = |error| format!("{}: {error}", source.name);
        let tokenizer = Tokenizer::load(&mut *source.bytes).map_err(about)?;
        tokenizer.check_model(vocab_size).map_err(about)?;
        detail(&format!(
            "Tokenizer: {}, {} tokens",
            source.name,
            Grouped(vocab_size as u64)
        ));
        Ok(tokenizer)
    }
}
