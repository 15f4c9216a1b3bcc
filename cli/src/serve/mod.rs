//! `llama2 serve`: a model for programs on the network, over the operating system's sockets.

mod sockets;

use std::{
    collections::hash_map::RandomState,
    fmt, fs,
    hash::{BuildHasher, Hasher},
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use llama2_engine::{
    bench::Subject,
    chat::DateTime,
    context::Memory,
    model::Model,
    run_mode::RunMode,
    sampler::{SamplerConfig, SamplerOverrides},
    session::{KvType, Options, Session},
    units::Bytes,
};
use llama2_serve::{Config, Machine as ServerMachine, Origins, Server, chat_template};
use llama2_settings::{Param, ParamValue, Think, date};

use crate::{
    args::ServeArgs,
    clock,
    failure::{Failure, say},
    file,
    load::{self, Opened, available_memory},
    machine::Machine,
};
use sockets::Sockets;

/// Time between two looks at what may have grown late.
const IDLE: Duration = Duration::from_millis(500);

/// Time after which a model that could not be loaded again is tried once more.
const AGAIN: Duration = Duration::from_secs(5);

/// Most sequences of kept texts.
const MOST_KEPT: usize = 32;

/// Serves a model until the process is ended.
pub fn serve(args: &ServeArgs) -> Result<(), Failure> {
    warn_of_flags(args);
    let mut options = args.flags.0.clone();
    if options.text(Param::Kv).is_none() {
        options.set(Param::Kv, ParamValue::Word(cache_type(args)?.name()));
    }
    let machine = Machine::new(&options)?;
    let opened = load::open(args.checkpoint.as_deref())?;
    let mut vocabulary = load::tokenizer(args.tokenizer.as_deref(), args.checkpoint.as_deref())?;
    vocabulary.check_model(opened.checkpoint.config.vocab_size)?;
    vocabulary.warn();
    if let Some(template) = template(args)? {
        vocabulary.tokenizer.set_chat_template(Some(template));
    }
    let room = Room::fit(&opened, &machine, args, options.count(Param::Context))?;
    let mut config = config(args, &opened)?;
    config.kept = room.kept;
    config.clears_idle = args.kv_unified && !args.no_cache_idle_slots && room.kept > 0;
    if config.clears_idle && args.verbose {
        // The words that llama.cpp's tests look for.
        say(format_args!(
            "llama2: idle slots are cleared: __TEST_TAG_CACHE_IDLE_SLOTS_ENABLED__"
        ));
    }
    let config_of = &opened.checkpoint.config;
    let parameters = opened.checkpoint.parameters();
    let vocab_size = config_of.vocab_size;
    SamplerConfig::LlamaCpp(config.sampling.clone())
        .check(vocab_size)
        .map_err(|sentence| Failure::Input(format!("the sampling's {sentence}")))?;
    let addresses = addresses(args)?;
    let mut sockets = Sockets::listen(&addresses).map_err(|error| {
        let places: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        Failure::Input(format!("cannot listen at {}: {error}", places.join(", ")))
    })?;

    let name = opened.name.clone();
    let mut model = load::load(opened)?;
    config.model_kind = Subject::kind(&model, parameters);
    let options = Options {
        positions: Some(room.positions),
        sequences: room.slots + room.kept,
        ..machine.computing().options
    };
    let mut host = Host::new(args.slot_save_path.clone());
    let is_open = config.keys.is_empty();
    let tokenizer = &vocabulary.tokenizer;
    let mut server = {
        let session = session(&model, options, &name)?;
        Server::new(config, tokenizer, &session, (0, room.slots), &host)
    };
    if let Some(fault) = server.template_fault() {
        say(format_args!(
            "llama2: warning: the chat template cannot be used, chatml is in its place: {fault}"
        ));
    }
    say(format_args!(
        "llama2: {} slots of {} tokens, {} of keys and values ({}) at most",
        room.slots,
        room.positions,
        Bytes(room.bytes),
        machine.kv.name(),
    ));
    for address in sockets.addresses() {
        say(format_args!(
            "llama2: serving {} at http://{address}",
            short_name(&name)
        ));
        if is_open && !address.ip().is_loopback() {
            say(format_args!(
                "llama2: warning: everybody who reaches {address} can use it: --api-key sets a key"
            ));
        }
    }
    let sleeps = args.sleep_idle_seconds.filter(|&seconds| seconds >= 0);
    let sleeps = sleeps.map(|seconds| Duration::from_secs(seconds as u64));
    loop {
        let mut session = session(&model, options, &name)?;
        work(&mut server, &mut session, &mut sockets, &mut host, sleeps)?;
        drop(session);
        drop(model);
        server.sleep();
        say(format_args!(
            "llama2: nothing to do: the model is not in memory until a request comes"
        ));
        while !server.wants_session() {
            server.poll(None, &mut sockets, &mut host);
            wait(&mut sockets, IDLE)?;
        }
        model = loop {
            let opened = load::open(args.checkpoint.as_deref());
            match opened.and_then(load::load) {
                Ok(model) => break model,
                // Its disk may come back; whoever asks waits as long as he likes.
                Err(Failure::Input(why)) => say(format_args!("llama2: {why}; trying again")),
                Err(failure) => return Err(failure),
            }
            let until = Instant::now() + AGAIN;
            while Instant::now() < until {
                server.poll(None, &mut sockets, &mut host);
                wait(&mut sockets, IDLE)?;
            }
        };
    }
}

fn session<'m>(
    model: &'m Model,
    options: Options<'m>,
    name: &Path,
) -> Result<Session<'m>, Failure> {
    Session::new(model, options).map_err(|error| Failure::about(name, error))
}

fn wait(sockets: &mut Sockets, time: Duration) -> Result<(), Failure> {
    let waited = sockets.wait(time);
    waited.map_err(|error| Failure::Input(format!("the network: {error}")))
}

/// Serves until there has been nothing to do for so long.
fn work(
    server: &mut Server<'_>,
    session: &mut Session<'_>,
    sockets: &mut Sockets,
    host: &mut Host,
    sleeps: Option<Duration>,
) -> Result<(), Failure> {
    let mut busy = Instant::now();
    loop {
        let wakes = server.wants_session();
        let status = server.poll(Some(session), sockets, host);
        let is_idle = server.is_idle();
        if !is_idle {
            server.step(session, host, None);
        }
        if !is_idle || wakes {
            busy = Instant::now();
        }
        if sleeps.is_some_and(|time| busy.elapsed() > time) {
            return Ok(());
        }
        let time = match is_idle && !status.is_active {
            true => sleeps.map_or(IDLE, |time| IDLE.min(time / 4)),
            false => Duration::ZERO,
        };
        wait(sockets, time)?;
    }
}

/// Slots, and the memory for them.
struct Room {
    slots: usize,
    /// Positions of each.
    positions: usize,
    /// Sequences for kept texts.
    kept: usize,
    /// Bytes of all keys and values.
    bytes: u64,
}

impl Room {
    fn fit(
        opened: &Opened,
        machine: &Machine,
        args: &ServeArgs,
        context: Option<usize>,
    ) -> Result<Room, Failure> {
        let own = opened.checkpoint.config.seq_len;
        let free = available_memory().unwrap_or(u64::MAX);
        let memory =
            |positions| Memory::of(&opened.checkpoint, positions, machine.kv, machine.workers());
        let total = |positions: usize, sequences: usize| {
            let memory = memory(positions);
            let others = memory.total() - memory.kv_cache;
            others.saturating_add(memory.kv_cache.saturating_mul(sequences as u64))
        };
        let slots = args.parallel;
        let mut positions = match context {
            None => own,
            Some(context) if args.kv_unified => context,
            Some(context) => (context / slots).max(1),
        };
        if positions > own {
            say(format_args!(
                "llama2: slots of {positions} tokens are more than the model was made for: taking \
                 its own {own}"
            ));
            positions = own;
        }
        while total(positions, slots) > free {
            let needed = total(positions, slots);
            if context.is_some() || positions <= 256 {
                return Err(Failure::about(
                    &opened.name,
                    format!(
                        "{slots} slots of {positions} tokens need {}, but {} are free; take fewer \
                         (--parallel) or shorter ones (--ctx-size)",
                        Bytes(needed),
                        Bytes(free),
                    ),
                ));
            }
            positions /= 2;
        }
        // Memory of sequences is reserved, and touched only as it is used.
        let each = memory(positions).kv_cache.max(1);
        let cache = args.cache_ram.saturating_mul(1 << 20).min(free / 2);
        let kept = usize::try_from(cache / 2 / each).unwrap_or(MOST_KEPT);
        let most = (llama2_engine::session::BATCH - slots).min(MOST_KEPT);
        let mut kept = kept.min(most);
        while kept > 0 && total(positions, slots + kept) > free {
            kept /= 2;
        }
        Ok(Room {
            slots,
            positions,
            kept,
            bytes: each.saturating_mul((slots + kept) as u64),
        })
    }
}

/// Type of keys and values, as llama-server's flags name it.
fn cache_type(args: &ServeArgs) -> Result<KvType, Failure> {
    let [keys, values] = [&args.same.cache_type_k, &args.same.cache_type_v]
        .map(|word| word.as_deref().unwrap_or(KvType::F16.name()));
    if keys != values {
        return Err(Failure::Usage(format!(
            "--cache-type-k {keys} and --cache-type-v {values}: they must be the same here"
        )));
    }
    let named: Result<KvType, _> = keys.parse();
    named.map_err(|error| Failure::Usage(format!("--cache-type-k {keys}: {error}")))
}

/// Says which flags have no effect.
fn warn_of_flags(args: &ServeArgs) {
    let same = &args.same;
    for (is_given, flag) in [
        (same.embedding, "--embedding: embeddings are not served"),
        (same.reranking, "--reranking: reranking is not served"),
        (
            same.n_gpu_layers.is_some(),
            "--n-gpu-layers: everything is computed by the processor",
        ),
    ] {
        if is_given {
            say(format_args!("llama2: warning: {flag}"));
        }
    }
}

/// Name without folders.
fn short_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

fn config(args: &ServeArgs, opened: &Opened) -> Result<Config, Failure> {
    let options = &args.flags.0;
    let mut keys = args.api_key.clone();
    if let Some(path) = &args.api_key_file {
        let text = file::read_text(path)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        keys.extend(text.lines().map(|line| line.trim().to_owned()));
    }
    keys.retain(|key| !key.is_empty());
    let mut names: Vec<String> = args
        .alias
        .iter()
        .map(|name| name.trim().to_owned())
        .collect();
    names.sort();
    names.dedup();
    if names.is_empty() {
        names.push(short_name(&opened.name));
    }
    let sampling = match SamplerOverrides::from(options).drawing(RunMode::Dialog) {
        SamplerConfig::LlamaCpp(sampling) => sampling,
        SamplerConfig::RunC { .. } => Default::default(),
    };
    let seed = options.whole(Param::Seed).filter(|&seed| seed != -1);
    let steps = options.whole(Param::Steps).filter(|&steps| steps >= 0);
    let think: Option<Think> = options.choice(Param::Think);
    let thinks = match (&args.reasoning[..], think) {
        ("on", _) => Some(true),
        ("off", _) | (_, Some(Think::Off)) => Some(false),
        ("auto", _) => None,
        (other, _) => {
            let sentence = format!("--reasoning {other}: it must be on, off or auto");
            return Err(Failure::Usage(sentence));
        }
    };
    let day = options.text(Param::Date).and_then(date);
    Ok(Config {
        names,
        tags: args.tags.iter().map(|tag| tag.trim().to_owned()).collect(),
        model_path: opened.name.to_string_lossy().into_owned(),
        model_bytes: opened.size(),
        keys,
        origins: match args.cors_origins.as_deref() {
            None => Origins::Keyed,
            Some("*") => Origins::Any,
            Some("localhost") => Origins::Local,
            Some(list) => Origins::Listed(list.split(',').map(|one| one.trim().into()).collect()),
        },
        shows_slots: !args.no_slots,
        shows_metrics: args.metrics,
        has_page: !args.no_ui,
        saves_slots: args.slot_save_path.is_some(),
        is_verbose: args.verbose,
        most_tokens: steps.map(|steps| steps as usize),
        sampling,
        seed: seed.map(|seed| seed as u32),
        batch: args.batch_size.clamp(1, llama2_engine::session::BATCH),
        infill_batch: args.batch_size,
        shifts_context: args.context_shift,
        prefills: !args.no_prefill_assistant,
        thinks,
        splits_reasoning: args.reasoning_format != "none",
        date: day.map(|(year, month, day)| DateTime {
            year,
            month,
            day,
            hour: 0,
            minute: 0,
            second: 0,
        }),
        most_connections: args.max_connections,
        ..Config::default()
    })
}

/// Chat template in place of the model's own.
fn template(args: &ServeArgs) -> Result<Option<String>, Failure> {
    match (&args.chat_template, &args.chat_template_file) {
        (Some(jinja), _) => Ok(Some(chat_template(jinja).into())),
        (None, Some(path)) => Ok(Some(
            String::from_utf8_lossy(&file::read_text(path)?).into_owned(),
        )),
        (None, None) => Ok(None),
    }
}

/// Addresses to listen at.
fn addresses(args: &ServeArgs) -> Result<Vec<SocketAddr>, Failure> {
    let mut all = Vec::new();
    for host in &args.host {
        let host = host.trim();
        let found = (host, args.port).to_socket_addrs();
        let mut found = found.map_err(|error| {
            Failure::Usage(format!(
                "--host {host}: it is no address of this machine ({error})"
            ))
        })?;
        all.extend(found.next());
    }
    Ok(all)
}

/// The machine as the server sees it.
struct Host {
    start: Instant,
    folder: Option<PathBuf>,
    chance: RandomState,
    drawn: u64,
}

impl Host {
    fn new(folder: Option<PathBuf>) -> Host {
        Host {
            start: Instant::now(),
            folder,
            chance: RandomState::new(),
            drawn: 0,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.as_deref().unwrap_or(Path::new(".")).join(name)
    }
}

impl ServerMachine for Host {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn unix_time(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    }

    fn date(&self) -> DateTime {
        clock::now()
    }

    /// The system's chance, which seeds hash tables, and a count.
    fn random(&mut self) -> u64 {
        self.drawn += 1;
        let mut hasher = self.chance.build_hasher();
        hasher.write_u64(self.drawn);
        hasher.finish()
    }

    fn save(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        let (path, part) = (self.path(name), self.path(&format!("{name}.part")));
        let written = fs::write(&part, bytes).and_then(|()| fs::rename(&part, &path));
        written.map_err(|error| {
            let _ = fs::remove_file(&part);
            format!("{name} cannot be written: {error}")
        })
    }

    fn load(&mut self, name: &str) -> Result<Vec<u8>, String> {
        fs::read(self.path(name)).map_err(|error| format!("{name} cannot be read: {error}"))
    }

    fn log(&mut self, line: fmt::Arguments<'_>) {
        say(format_args!("llama2: {line}"));
    }
}
