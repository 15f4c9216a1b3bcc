//! Server of the application: from its settings to the network, the sentences about it, and the
//! machine as the server sees it.

use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed},
    time::Duration,
};

use llama2_app::{
    ServiceParts, catalogue,
    platform::{Console, OpenModel},
    qr,
};
use llama2_efi::{
    cores::DispatchMode,
    network::{CardFault, NetworkState, sentences},
    options::{Hook, hook},
};
use llama2_engine::{
    chat::DateTime,
    checkpoint::Checkpoint,
    context::Memory,
    run_mode::RunMode,
    sampler::{SamplerConfig, SamplerOverrides},
    settings::{Settings, kv_type},
    workers::Workers,
};
use llama2_serve::{Config, Machine};
use llama2_settings::{Addressing, Overrides, Param, Think, mac};
use uefi::boot;

use super::{
    ap_pool::ApPool,
    clock,
    files::Volumes,
    global::Global,
    memory,
    network::{self, Connections, FirmwareLine, Wishes},
    random, save,
    terminal::{self, FirmwareTerminal, complain, detail, say},
};

/// TCP port without the setting.
const PORT: u16 = 8080;
/// Milliseconds in which an address mostly comes.
const PATIENCE: u64 = 4_000;

/// The code of the page's URL has been shown.
static SHOWN: AtomicBool = AtomicBool::new(false);
/// TCP port of the server; 0 while there is none.
static TCP_PORT: AtomicU16 = AtomicU16::new(0);
/// State that was told last.
static TOLD: Global<Option<NetworkState>> = Global::new(None);
/// Fault that was told.
static FAULT: Global<Option<CardFault>> = Global::new(None);

/// Starts to serve, where the settings say so, waits a moment for an address, and says how far it
/// came. The application works all the same, whatever comes of it.
pub fn begin(options: &Overrides, volumes: &mut Volumes) {
    if !options.truth(Param::Serve) {
        return;
    }
    let port = options.number(Param::Port).map_or(PORT, |port| port as u16);
    TCP_PORT.store(port, Relaxed);
    start(options, volumes);
    let mut start = clock::milliseconds();
    while matches!(
        network::state(),
        Some(NetworkState::NoLink | NetworkState::Waiting)
    ) && clock::milliseconds() - start < PATIENCE
    {
        network::poll();
        if network::mend() {
            start = clock::milliseconds();
        }
        terminal::listen();
        boot::stall(Duration::from_micros(500));
    }
    tell();
}

/// Connection to servers of others: over the network that is up, or one that is up for it alone.
pub fn line(options: &Overrides, volumes: &mut Volumes) -> FirmwareLine {
    let is_alone = TCP_PORT.load(Relaxed) == 0;
    if is_alone {
        start(options, volumes);
    }
    FirmwareLine::new(
        is_alone,
        || FirmwareTerminal.look().stop,
        |why| {
            let why = format!("the model does not come: {why}; trying again, Esc stops");
            complain("warning", &why);
        },
    )
}

/// Starts the network as the settings say.
fn start(options: &Overrides, volumes: &mut Volumes) {
    let addressing = options.text(Param::Address).and_then(Addressing::parse);
    let wishes = Wishes {
        addressing: addressing.unwrap_or(Addressing::Dhcp),
        port: TCP_PORT.load(Relaxed),
        nic: options.text(Param::Nic).and_then(mac),
        shared: hook(options) == Some(Hook::Mnp),
    };
    network::begin(wishes, &mut || {
        volumes.connect_everything();
    });
}

/// State of the network, if there is a server in it.
fn state() -> Option<NetworkState> {
    network::state().filter(|_| TCP_PORT.load(Relaxed) != 0)
}

/// Sentence about the server, if there is to be one.
pub fn sentence() -> Option<String> {
    let state = state()?;
    Some(sentences::sentence(state, TCP_PORT.load(Relaxed)))
}

/// Says what has changed since it was said last. To be called where a line may be said.
pub fn tell() {
    if let Some(fault) = network::fault()
        && FAULT.with(|told| told.replace(fault)) == Some(None)
    {
        complain("warning", sentences::shared(fault));
    }
    let Some(state) = state() else {
        return;
    };
    if TOLD.with(|told| told.replace(state)) == Some(Some(state)) {
        return;
    }
    let sentence = sentences::sentence(state, TCP_PORT.load(Relaxed));
    match state {
        NetworkState::Address(_) => say(&sentence),
        _ => complain("warning", &sentence),
    }
}

/// Requests that are served at once, where there is memory for them.
const SLOTS: usize = 4;

/// End of the names of saved slots: what clients name is never another file.
const SLOT: &str = ".SLOT";
/// Bytes kept free for requests and their answers, in a machine that has as much.
const REQUESTS: u64 = 128 << 20;

/// Largest file of a saved slot.
const LARGEST: u64 = 1 << 30;

/// Bytes of free memory that requests and their answers may take.
fn requests(free: u64) -> u64 {
    (free / 4).min(REQUESTS)
}

/// Memory that a conversation may have of what is free, where others are served beside it: they
/// have contexts as long as its own.
pub fn share(checkpoint: &Checkpoint, free: u64, options: &Overrides, pool: &ApPool) -> u64 {
    if !matches!(state(), Some(state) if !matches!(state, NetworkState::NoCard(_))) {
        return free;
    }
    let least = Memory::of(checkpoint, 1, kv_type(options), pool.count());
    let others = least.total() - least.kv_cache + requests(free);
    let slots = options.count(Param::Slots).unwrap_or(SLOTS) as u64;
    others + free.saturating_sub(others) / (1 + slots)
}

/// Parts of a server of this model, if there is to be one.
pub fn parts(model: &OpenModel, options: &Overrides, pool: &ApPool) -> Option<ServiceParts> {
    if let NetworkState::NoCard(_) = state()? {
        return None;
    }
    if *pool.mode() == DispatchMode::Elsewhere {
        // There the boot processor only waits while others work.
        complain(
            "warning",
            "Not serving: this firmware lets its other cores work only where nothing can be served \
             meanwhile; set threads = 1",
        );
        return None;
    }
    let settings = Settings::from(options);
    let positions = model.context.positions();
    let kv = model.context.kv();
    let needs = Memory::of(&model.checkpoint, positions, kv, pool.count());
    // The weights have their memory already.
    let others = needs.total() - needs.weights;
    let free = memory::size().free.saturating_sub(memory::RESERVE);
    let free = free - requests(free);
    let room = free.saturating_sub(others) / needs.kv_cache.max(1);
    let slots = usize::try_from(room).unwrap_or(SLOTS).min(SLOTS);
    let wanted = options.count(Param::Slots);
    let slots = wanted.map_or(slots, |wanted| wanted.min(room as usize));
    if slots == 0 {
        complain(
            "warning",
            "Not serving: there is no memory for a second conversation",
        );
        return None;
    }
    let sampling = match SamplerOverrides::from(options).drawing(RunMode::Dialog) {
        SamplerConfig::LlamaCpp(sampling) => sampling,
        SamplerConfig::RunC { .. } => Default::default(),
    };
    let seed = options.whole(Param::Seed).filter(|&seed| seed != 0);
    let steps = options.whole(Param::Steps).filter(|&steps| steps > 0);
    let midnight = |(year, month, day)| DateTime {
        year,
        month,
        day,
        hour: 0,
        minute: 0,
        second: 0,
    };
    let config = Config {
        names: Vec::from([options.text(Param::Alias).unwrap_or(&model.name).into()]),
        model_path: model.file.clone(),
        model_kind: catalogue::kind(&model.checkpoint),
        model_bytes: model.source.size(),
        keys: options
            .text(Param::ApiKey)
            .map(String::from)
            .into_iter()
            .collect(),
        // Everybody on the network could fill the volume.
        saves_slots: options.text(Param::ApiKey).is_some(),
        shows_metrics: true,
        most_tokens: steps.map(|steps| steps as usize),
        sampling,
        seed: seed.map(|seed| seed as u32),
        thinks: (settings.think == Think::Off).then_some(false),
        date: settings.date.map(midnight),
        // As many as connections may wait in memory.
        most_body: 1 << 20,
        most_connections: 48,
        ..Config::default()
    };
    if config.keys.is_empty() {
        detail("Everybody on the network can use it: api_key sets a key");
    }
    if let Some(NetworkState::Address(_)) = network::state()
        && !SHOWN.swap(true, Relaxed)
        && let Some(code) = qr::draw(&format!("{}/", place()))
    {
        terminal::show_on_picture(&code);
    }
    Some(ServiceParts {
        config,
        slots,
        network: Box::new(Connections),
        machine: Box::new(Firmware),
        place,
    })
}

/// URL of the server, or that there is no network.
fn place() -> String {
    match network::state() {
        Some(NetworkState::Address(address)) => {
            format!("http://{address}:{}", TCP_PORT.load(Relaxed))
        }
        _ => "no network".into(),
    }
}

/// The machine as the server sees it.
struct Firmware;

impl Machine for Firmware {
    fn now(&self) -> Duration {
        Duration::from_micros(clock::microseconds())
    }

    fn unix_time(&self) -> u64 {
        let DateTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = clock::now();
        // Days since 1970 (Hinnant's `days_from_civil`).
        let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
        let year = year - i64::from(month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
        let seconds =
            days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        u64::try_from(seconds).unwrap_or(0)
    }

    fn date(&self) -> DateTime {
        clock::now()
    }

    fn random(&mut self) -> u64 {
        random::number().0
    }

    fn save(&mut self, name: &str, bytes: &[u8]) -> Result<(), String> {
        save::write(&format!("{name}{SLOT}"), bytes).map(drop)
    }

    fn load(&mut self, name: &str) -> Result<Vec<u8>, String> {
        save::read(&format!("{name}{SLOT}"), LARGEST)
    }

    fn log(&mut self, line: fmt::Arguments<'_>) {
        detail(&format!("{line}"));
    }
}
