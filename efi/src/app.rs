//! The main job, from top to bottom: banner, wishes, model, tokenizer, memory, weights, text.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::ops::ControlFlow;

use llama2_efi::{
    choose::{self, Choice},
    command_line::{self, Line},
    config,
    options::{Exit, Options},
    screen,
};
use llama2_engine::{
    chat::Chat,
    checkpoint::{self, Checkpoint, Error},
    generate::Generation,
    model::{Model, Progress},
    sampler::Sampler,
    session::Session,
    settings::Mode,
    source::ByteSource,
    tokenizer::Tokenizer,
    units::{Bytes, Grouped},
};
use uefi::{
    boot::{self, OpenProtocolAttributes, OpenProtocolParams},
    proto::{loaded_image::LoadedImage, shell_params::ShellParameters},
};

use crate::{
    banner, clock, console,
    files::{self, Found, Volume},
    memory, random, talk,
    terminal::{self, complain, say},
};

/// The model inside this file.
const BUNDLED: &[u8] = include_bytes!("../../models/stories1M.q80.bin");
const BUNDLED_NAME: &str = "stories1M (inside llama2.efi)";
const BUNDLED_TOKENIZER: &[u8] = include_bytes!("../../models/tokenizer.bin");

/// Memory that stays the firmware's: its drivers allocate while they read.
const RESERVE: u64 = 8 << 20;

/// A file to be read, and what to call it.
struct Source {
    name: String,
    bytes: Box<dyn ByteSource>,
}

/// Runs the application. `exit` is set as soon as it is known, for errors end by it too.
///
/// # Errors
/// The sentence to show.
pub fn run(exit: &mut Exit) -> Result<(), String> {
    banner::show();
    let line = command_line()?;
    let Line::Run(line) = line else {
        say(command_line::HELP);
        return Ok(());
    };
    // Known before anything can go wrong with the configuration.
    *exit = line.exit.unwrap_or_default();
    let mut volumes = files::volumes();
    let options = configuration(&mut volumes, line, exit)?;
    let mut settings = options.settings();
    for said in settings.adjust() {
        complain("warning", &said);
    }
    if let Some(path) = &options.prompt_file {
        settings.prompt = Some(prompt_file(&mut volumes, path)?);
    }

    let (mut model, tokenizer) = choose_model(&mut volumes, &options)?;
    let about = |name: &str, error: &dyn core::fmt::Display| format!("{name}: {error}");
    let checkpoint =
        Checkpoint::open(&mut *model.bytes).map_err(|error| about(&model.name, &error))?;
    let (seq_len, vocab_size) = (checkpoint.config.seq_len, checkpoint.config.vocab_size);
    let tokenizer = load_tokenizer(tokenizer, vocab_size, &model.name)?;
    let steps = settings.steps_for(seq_len);
    let prompt = settings.prompt.as_deref().unwrap_or_default();
    // Before the weights are read: a mistake in the prompt should not cost their loading.
    let generation =
        Generation::new(&tokenizer, prompt, steps, seq_len).map_err(|error| error.to_string())?;

    let needed = checkpoint.memory();
    needed
        .check(memory::size().free.saturating_sub(RESERVE))
        .map_err(|error| about(&model.name, &error))?;
    let name = model.name.clone();
    let weights = match load(&checkpoint, model) {
        // Not an error: the user wants to leave.
        Err(Error::Stopped) => {
            say("Stopped by a key.");
            return Ok(());
        }
        loaded => loaded.map_err(|error| about(&name, &error))?,
    };
    let mut session = Session::new(&weights).map_err(|error| about(&name, &error))?;
    say(&format!(
        "Memory: {} for the model, {} free",
        Bytes(needed.total()),
        Bytes(memory::size().free)
    ));

    let (seed, source) = settings
        .seed
        .map_or_else(random::seed, |seed| (seed, "given"));
    if settings.temperature != 0.0 {
        say(&format!(
            "Sampling: temperature {}, top-p {}, seed {seed} ({source})",
            settings.temperature, settings.top_p
        ));
    }
    say(&format!(
        "Model config: {}",
        checkpoint::describe(&checkpoint.config)
    ));
    let mut sampler = Sampler::new(vocab_size, settings.temperature, settings.top_p, seed);
    match settings.mode {
        Mode::Generate => talk::story(generation, &mut session, &tokenizer, &mut sampler, steps),
        Mode::Chat => {
            let chat = Chat::new(&tokenizer, steps, seq_len);
            let prompt = settings
                .prompt
                .as_ref()
                .map(|prompt| String::from_utf8_lossy(prompt));
            talk::chat(
                chat,
                &mut session,
                &tokenizer,
                &mut sampler,
                settings.system.as_deref(),
                prompt.as_deref(),
            )
            .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The command line: the Shell's, else the boot entry's.
fn command_line() -> Result<Line, String> {
    let own = |handle| OpenProtocolParams {
        handle,
        agent: boot::image_handle(),
        controller: None,
    };
    // Safety: protocols on the image's own handle, only read; they live as long as the image.
    let (shell, image) = unsafe {
        (
            boot::open_protocol::<ShellParameters>(
                own(boot::image_handle()),
                OpenProtocolAttributes::GetProtocol,
            ),
            boot::open_protocol::<LoadedImage>(
                own(boot::image_handle()),
                OpenProtocolAttributes::GetProtocol,
            ),
        )
    };
    let words: Vec<String> = match (&shell, &image) {
        (Ok(shell), _) => shell.get().map_or(Vec::new(), |shell| {
            shell.args().skip(1).map(|word| word.to_string()).collect()
        }),
        (_, Ok(image)) => {
            let bytes = image.get().and_then(LoadedImage::load_options_as_bytes);
            bytes
                .and_then(command_line::load_options)
                .unwrap_or_default()
        }
        _ => Vec::new(),
    };
    command_line::parse(&words).map_err(|sentence| format!("command line: {sentence}"))
}

/// The command line's wishes over the configuration file's, if there is one.
fn configuration(
    volumes: &mut [Volume],
    line: Options,
    exit: &mut Exit,
) -> Result<Options, String> {
    let mut file = Options::default();
    let mut home = 0;
    for (index, volume) in volumes.iter_mut().enumerate() {
        let about = |error: String, name: &str| format!("{} on {name}: {error}", config::NAME);
        match volume.find(config::NAME)? {
            Found::Nothing => continue,
            Found::Folder => return Err(about("is a folder, not a file".into(), &volume.name)),
            Found::File(mut source) => {
                let bytes = source
                    .read_all(config::LARGEST)
                    .map_err(|error| about(error, &volume.name))?;
                let (options, warnings) =
                    config::parse(&bytes).map_err(|error| about(error, &volume.name))?;
                say(&format!(
                    "Configuration: {} on {}",
                    config::NAME,
                    volume.name
                ));
                for warning in warnings {
                    complain("warning", &about(warning, &volume.name));
                }
                file = options;
                home = index;
                break;
            }
        }
    }
    let options = line.over(file);
    *exit = options.exit.unwrap_or_default();
    let log = if options.log == Some(true) {
        volumes.get_mut(home)
    } else {
        None
    };
    if let Err(sentence) = terminal::keep_log(log) {
        complain("warning", &sentence);
    }
    Ok(options)
}

/// A file that the user named: on the volumes that are there, else on those that can be started.
fn named(volumes: &mut Vec<Volume>, path: &str) -> Result<Source, String> {
    for attempt in 0..2 {
        for volume in volumes.iter_mut() {
            match volume.find(path)? {
                Found::Nothing => (),
                Found::Folder => {
                    return Err(format!(
                        "{path} on {} is a folder, not a file; name the file in it",
                        volume.name
                    ));
                }
                Found::File(file) => {
                    return Ok(Source {
                        name: format!("{path} on {}", volume.name),
                        bytes: Box::new(file),
                    });
                }
            }
        }
        if attempt == 0 {
            wake(volumes);
        }
    }
    let looked = volumes
        .iter()
        .map(|volume| volume.name.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let looked = if looked.is_empty() {
        "there is no volume".to_string()
    } else {
        format!("looked on {looked}")
    };
    Err(format!(
        "{path} was not found ({looked}); check the name, and that it was copied"
    ))
}

/// Starts drives that fast boot left alone, and looks again.
fn wake(volumes: &mut Vec<Volume>) {
    files::connect_everything();
    *volumes = files::volumes();
}

fn prompt_file(volumes: &mut Vec<Volume>, path: &str) -> Result<Vec<u8>, String> {
    let mut source = named(volumes, path)?;
    let size = source.bytes.size();
    if size > 1 << 20 {
        return Err(format!(
            "{}: has {} bytes, too many for a prompt",
            source.name,
            Grouped(size)
        ));
    }
    let mut bytes = alloc::vec![0; size as usize];
    source
        .bytes
        .read_at(0, &mut bytes)
        .map_err(|error| format!("{}: {error}", source.name))?;
    let text = config::decode(&bytes).map_err(|error| format!("{}: {error}", source.name))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Ok(text.strip_suffix('\r').unwrap_or(text).as_bytes().to_vec())
}

/// The model and, if one goes with it, its tokenizer: named, else found on a volume, else the ones inside.
fn choose_model(
    volumes: &mut Vec<Volume>,
    options: &Options,
) -> Result<(Source, Option<Source>), String> {
    let bundled = |name: &str, bytes: &'static [u8]| Source {
        name: name.into(),
        bytes: Box::new(bytes),
    };
    let named_tokenizer = match &options.tokenizer {
        Some(path) => Some(named(volumes, path)?),
        None => None,
    };
    if let Some(path) = &options.model {
        let model = named(volumes, path)?;
        say(&format!(
            "Model: {}, {}",
            model.name,
            Bytes(model.bytes.size())
        ));
        let tokenizer = named_tokenizer.map_or_else(|| beside(volumes), |named| Ok(Some(named)))?;
        return Ok((model, tokenizer));
    }
    let mut choice = search(volumes);
    if choice.is_none() && volumes.is_empty() {
        wake(volumes);
        choice = search(volumes);
    }
    let Some((index, choice)) = choice else {
        say(&format!("Model: {BUNDLED_NAME}"));
        return Ok((
            bundled(BUNDLED_NAME, BUNDLED),
            named_tokenizer.or(Some(bundled("its tokenizer", BUNDLED_TOKENIZER))),
        ));
    };
    let volume = &mut volumes[index];
    let mut open = |path: String| match volume.find(&path)? {
        Found::File(file) => Ok(Source {
            name: format!("{path} on {}", volume.name),
            bytes: Box::new(file),
        }),
        _ => Err(format!(
            "{path} on {} was there a moment ago and is gone",
            volume.name
        )),
    };
    let model = open(choice.model.path())?;
    let found_tokenizer = choice
        .tokenizer
        .map(|entry| open(entry.path()))
        .transpose()?;
    let others = if choice.others.is_empty() {
        String::new()
    } else {
        format!(" (also there: {})", choice.others.join(", "))
    };
    say(&format!(
        "Model: {}, {}{others}",
        model.name,
        Bytes(model.bytes.size())
    ));
    Ok((model, named_tokenizer.or(found_tokenizer)))
}

fn search(volumes: &mut [Volume]) -> Option<(usize, Choice)> {
    volumes
        .iter_mut()
        .enumerate()
        .find_map(|(index, volume)| Some((index, choose::choose(&volume.entries())?)))
}

/// A tokenizer by its usual name, for a model that was named without one.
fn beside(volumes: &mut [Volume]) -> Result<Option<Source>, String> {
    for volume in volumes {
        for path in [
            "\\TOKENIZER.BIN",
            "\\TOKEN.BIN",
            "\\MODELS\\TOKENIZER.BIN",
            "\\MODELS\\TOKEN.BIN",
        ] {
            if let Found::File(file) = volume.find(path)? {
                return Ok(Some(Source {
                    name: format!("{path} on {}", volume.name),
                    bytes: Box::new(file),
                }));
            }
        }
    }
    Ok(None)
}

fn load_tokenizer(
    source: Option<Source>,
    vocab_size: usize,
    model: &str,
) -> Result<Tokenizer, String> {
    let Some(mut source) = source else {
        // The one inside, if it happens to be the right one.
        return Tokenizer::load(&mut &*BUNDLED_TOKENIZER)
            .ok()
            .filter(|tokenizer| tokenizer.vocab_size() == vocab_size)
            .inspect(|_| say("Tokenizer: the one inside llama2.efi, which has as many tokens"))
            .ok_or_else(|| {
                format!("{model}: no tokenizer goes with it; put TOKENIZER.BIN or TOKEN.BIN beside it, or name one in {}", config::NAME)
            });
    };
    let about = |error| format!("{}: {error}", source.name);
    let tokenizer = Tokenizer::load(&mut *source.bytes).map_err(about)?;
    tokenizer.check_model(vocab_size).map_err(about)?;
    say(&format!(
        "Tokenizer: {}, {} tokens",
        source.name,
        Grouped(vocab_size as u64)
    ));
    Ok(tokenizer)
}

/// Reads the weights, with a bar: redrawn on the screen, growing on the serial line.
fn load(checkpoint: &Checkpoint, mut source: Source) -> Result<Model, Error> {
    const WIDTH: usize = 40;
    let total = source.bytes.size();
    terminal::record(&format!("Loading {}", source.name));
    terminal::to_serial("Loading [");
    let start = clock::microseconds();
    let (mut drawn, mut sent) = (0, 0);
    let loaded = Model::load(
        checkpoint,
        &mut *source.bytes,
        &mut |Progress { done, total }| {
            let now = clock::microseconds();
            let filled = screen::filled(done, total, WIDTH);
            while sent < filled {
                terminal::to_serial("#");
                sent += 1;
            }
            if now.saturating_sub(drawn) < 100_000 && done < total {
                return ControlFlow::Continue(());
            }
            drawn = now;
            let speed = screen::megabytes_per_second(done, now - start);
            let percent = done * 100 / total.max(1);
            console::write(&format!(
                "\rLoading {} {percent:3} % {speed}   ",
                screen::bar(done, total, WIDTH)
            ));
            if terminal::stopped() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    terminal::to_serial("]");
    terminal::text("\n");
    let (model, digest) = loaded?;
    let took = clock::microseconds() - start;
    let speed = screen::megabytes_per_second(total, took);
    say(&format!(
        "Read {} bytes at {speed}, CRC-32 {:08x}",
        Grouped(digest.bytes),
        digest.crc32
    ));
    Ok(model)
}
