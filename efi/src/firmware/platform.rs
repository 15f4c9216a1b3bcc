//! The machine as a conversation needs it: who makes a reply, where files are, what there is to be
//! told.
//!
//! A reply is made by whoever the pool says: the boot processor, which shows it itself, or another
//! core, which passes it on through a ring and calls no firmware.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    fmt::Display,
    sync::atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use llama2_app::{
    ServiceParts,
    bench::Computing,
    catalogue::MemoryBudget,
    platform::{Console, ModelEntry, OpenModel, Platform, Power, Progress, ReplySink},
};
use llama2_console::{commands::Place, config};
use llama2_efi::{
    arch,
    cores::DispatchMode,
    network::download::Url,
    ring::{Kind, Ring},
    try_lock::TryLock,
};
use llama2_engine::{
    bench::gigahertz,
    chat::DateTime,
    checkpoint::{Checkpoint, Error},
    context::Context,
    event::{Event, Tokens},
    generate::TopToken,
    kernels::Kernels,
    model::Model,
    run_mode::RunMode,
    session::Options,
    settings::{Settings, kv_type, speculation},
    thread_tuner::Threads,
    units::Bytes,
    workers::{Single, Workers},
};
use llama2_settings::{Overrides, Param};

use super::{
    ap_pool::ApPool,
    banner, clock,
    files::Volumes,
    load, memory,
    models::{self, Pair},
    panic, power, random, save, serving,
    terminal::{complain, detail, say},
};

/// Bytes that may wait to be shown: many seconds' text.
const RING: usize = 64 << 10;

/// The machine.
pub struct UefiPlatform<'a> {
    pub pool: &'static ApPool,
    pub kernels: &'static Kernels,
    pub volumes: &'a mut Volumes,
    pub options: &'a Overrides,
    /// Bytes that the running model has, which another one could have instead.
    pub taken: u64,
    /// True if models are looked for on drives, too, that the firmware has left asleep; starting
    /// those takes time.
    pub thorough: bool,
}

impl UefiPlatform<'_> {
    /// Memory and workers that a model can have.
    pub fn room(&self) -> MemoryBudget {
        MemoryBudget {
            context: self.options.count(Param::Context),
            kv: kv_type(self.options),
            workers: self.pool.count(),
            free: memory::size().free.saturating_sub(memory::RESERVE) + self.taken,
        }
    }

    /// Arithmetic for sessions and benchmarks.
    pub fn computing(&self) -> Computing<'static> {
        let threads = self.options.count(Param::Threads);
        let threads = threads.map_or(Threads::Calibrate(clock::nanoseconds), Threads::Fixed);
        Computing {
            options: Options {
                kernels: self.kernels,
                workers: self.pool,
                threads,
                kv: kv_type(self.options),
                positions: None,
                sequences: 1,
                speculation: speculation(self.options, clock::nanoseconds),
            },
            bench_workers: match self.pool.mode() {
                DispatchMode::Elsewhere => &Single,
                _ => self.pool,
            },
            features: self.pool.features(),
            nanoseconds: clock::nanoseconds,
        }
    }

    /// Reads a model's header and tokenizer, if there is memory for it. With `settings` their
    /// prompt and sampling are looked at before the weights are read: a mistake should not cost
    /// their loading. `taken` bytes are another model's, which goes.
    ///
    /// # Errors
    /// A sentence with the file's name.
    pub fn prepare(
        &self,
        mut pair: Pair,
        settings: Option<&Settings>,
        taken: u64,
    ) -> Result<OpenModel, String> {
        let file = pair.model.name.clone();
        let about = |error: &dyn Display| format!("{file}: {error}");
        let checkpoint = match pair.checkpoint.take() {
            Some(checkpoint) => checkpoint,
            None => Checkpoint::open(&mut *pair.model.bytes).map_err(|error| about(&error))?,
        };
        let free = memory::size().free.saturating_sub(memory::RESERVE) + taken;
        // A context that was asked for of another model may be longer than this one's.
        let own = checkpoint.config.seq_len;
        let wanted = self.options.count(Param::Context);
        let wanted = wanted.map(|wanted| match settings {
            Some(_) => wanted,
            None => wanted.min(own),
        });
        let kv = kv_type(self.options);
        let fit = |free| Context::fit(&checkpoint, wanted, kv, self.pool.count(), free);
        let share = match wanted {
            Some(_) => free,
            None => serving::share(&checkpoint, free, self.options, self.pool),
        };
        // A machine that is too small for others is not too small for one.
        let context = fit(share).or_else(|_| fit(free));
        let context = context.map_err(|error| about(&error))?;
        if context.is_short() {
            complain("warning", &format!("a context of {context}"));
        }
        let tokenizer = pair.load_tokenizer(&checkpoint)?;
        if let Some(settings) = settings {
            let mode = RunMode::decide(settings.mode, checkpoint.format, &tokenizer);
            settings
                .check_prompt(&tokenizer, mode, context.positions(), clock::now())
                .map_err(|error| about(&error))?;
            settings
                .sampling
                .drawing(mode)
                .check(checkpoint.config.vocab_size)
                .map_err(|sentence| format!("the sampling's {sentence}"))?;
        }
        let mut source = pair.model.bytes;
        Ok(OpenModel {
            name: models::called_inside(&pair.model.id, &mut *source),
            id: pair.model.id,
            file,
            checkpoint,
            context,
            tokenizer,
            source,
        })
    }

    /// Reads a model's weights; `None` if a key stopped it.
    ///
    /// # Errors
    /// A sentence with the file's name.
    pub fn read_weights(&self, model: &mut OpenModel) -> Result<Option<Model>, String> {
        match load::load(model) {
            Ok(weights) => Ok(Some(weights)),
            Err(Error::Stopped) => Ok(None),
            Err(error) => Err(format!("{}: {error}", model.file)),
        }
    }
}

impl Platform for UefiPlatform<'_> {
    fn place(&self) -> Place {
        Place::Boot
    }

    fn clock(&self) -> fn() -> u64 {
        clock::microseconds
    }

    fn perform(
        &mut self,
        threads: Option<usize>,
        sink: &mut dyn ReplySink,
        work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
    ) {
        serving::tell();
        let threads = threads.unwrap_or_else(|| self.pool.count());
        perform(self.pool, threads, sink, work);
    }

    fn service(&mut self, model: &OpenModel) -> Option<ServiceParts> {
        serving::parts(model, self.options, self.pool)
    }

    fn awaited(&self) -> Option<String> {
        // A file on a volume stays as it is; who serves a web server's model may have no screen.
        let url = self
            .options
            .text(Param::Model)
            .filter(|url| Url::is_meant(url));
        url.filter(|_| self.options.truth(Param::Serve))
            .map(String::from)
    }

    fn rest_cores(&mut self) {
        self.pool.rest();
    }

    fn open(&mut self, id: &str, taken: u64) -> Result<OpenModel, String> {
        let pair = models::open(self.volumes, id, self.options)?;
        self.prepare(pair, None, taken)
    }

    fn load(
        &mut self,
        model: &mut OpenModel,
        _console: &mut dyn Console,
    ) -> Result<Option<Model>, String> {
        let weights = self.read_weights(model)?;
        if weights.is_some() {
            detail(&format!("Context: {}", model.context));
            say(&format!("Context: {} tokens\n", model.context.positions()));
        }
        Ok(weights)
    }

    fn runs(&mut self, model: Option<&OpenModel>) {
        self.taken = model.map_or(0, |model| model.context.memory().total());
    }

    fn power(&mut self, power: Power) -> String {
        match power {
            Power::Reboot => power::reboot(),
            Power::Shutdown => power::shutdown(),
            Power::Firmware => {
                let Err(sentence) = power::firmware_setup();
                sentence
            }
        }
    }

    fn processor(&self) -> String {
        arch::name()
    }

    fn page_size(&self, address: usize) -> Option<String> {
        arch::page_size(address).map(String::from)
    }

    fn free_memory(&self) -> u64 {
        memory::size().free
    }

    fn models(&mut self) -> Vec<ModelEntry> {
        let room = self.room();
        if self.thorough {
            self.volumes.connect_everything();
        }
        models::offers(self.volumes, room, self.options)
    }

    fn conversations(&mut self) -> Result<Vec<String>, String> {
        save::list()
    }

    fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        save::read(name, most)
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<String, String> {
        save::write(name, bytes)
    }

    fn configuration(&mut self) -> Result<String, String> {
        if !save::exists(config::NAME) {
            return Ok(String::new());
        }
        let bytes = save::read(config::NAME, config::LARGEST)?;
        // What cannot be understood is not to be written into.
        let about = |error: String| format!("{}: {error}", config::NAME);
        config::parse(&bytes).map_err(about)?;
        config::decode(&bytes).map_err(about)
    }

    fn configure(&mut self, text: &str) -> Result<String, String> {
        save::write(config::NAME, text.as_bytes())
    }

    fn about(&mut self) -> Vec<(String, String)> {
        let memory = memory::size();
        let mut about = Vec::from([
            ("cores".to_string(), self.pool.words()),
            ("processor".to_string(), arch::name()),
            ("firmware".to_string(), banner::firmware()),
            (
                "memory".to_string(),
                format!("{}, {} free", Bytes(memory.total), Bytes(memory.free)),
            ),
        ]);
        if let Some(ghz) = gigahertz(clock::nanoseconds) {
            about.push(("clock".to_string(), format!("{ghz:.2} GHz effective")));
        }
        if let Some(sentence) = serving::sentence() {
            about.push(("network".to_string(), sentence));
        }
        about.push(("seeds".to_string(), random::source().to_string()));
        about
    }

    fn now(&mut self) -> DateTime {
        clock::now()
    }

    fn seed(&mut self) -> (u64, &'static str) {
        random::seed()
    }
}

/// Between the core that makes a reply and the one that shows it.
struct Mailbox {
    ring: Ring,
    stop: AtomicBool,
    /// The first pass's result, once it is over.
    top: TryLock<Option<TopToken>>,
    /// Tokens read, to read, drawn, and in the context; nothing yet until `reported`.
    progress: [AtomicUsize; 4],
    reported: AtomicBool,
}

impl Mailbox {
    fn progress(&self) -> Progress {
        let [done, total, drawn, context] =
            core::array::from_fn(|i| self.progress[i].load(Relaxed));
        Progress {
            read: (done, total),
            drawn,
            context,
            top: self.top.with(|top| *top).flatten(),
        }
    }
}

/// The mailbox's other end. Allocates nothing and calls no firmware.
struct Sender<'a> {
    pool: &'a ApPool,
    mailbox: &'a Mailbox,
}

impl Sender<'_> {
    fn send(&self, kind: Kind, text: &str) {
        let mut rest = self.mailbox.ring.push(kind, text);
        while !rest.is_empty() {
            self.pool.check();
            core::hint::spin_loop();
            rest = self.mailbox.ring.push(kind, rest);
        }
    }
}

impl ReplySink for Sender<'_> {
    fn on_event(&mut self, event: Event<'_>, progress: Progress) {
        let read = match event {
            Event::PromptRead { done, total } => (done, total),
            _ => progress.read,
        };
        let numbers = [read.0, read.1, progress.drawn, progress.context];
        for (place, number) in self.mailbox.progress.iter().zip(numbers) {
            place.store(number, Relaxed);
        }
        if progress.top.is_some() {
            // Where the other side looks at it now, the next event brings it.
            self.mailbox.top.with(|place| *place = progress.top);
        }
        self.mailbox.reported.store(true, Release);
        match event {
            Event::Reasoning { text, .. } => self.send(Kind::Reasoning, text),
            Event::Text { text, .. } => self.send(Kind::Text, text),
            Event::PromptRead { .. } | Event::End(_) => (),
        }
    }

    fn should_stop(&mut self) -> bool {
        self.mailbox.stop.load(Relaxed)
    }
}

/// The end of the mailbox on the boot processor.
struct Receiver<'a> {
    mailbox: &'a Mailbox,
    sink: &'a mut dyn ReplySink,
}

impl Receiver<'_> {
    /// Takes over what another core made.
    fn collect(&mut self) {
        // Until something is known the view knows better how much there is to read.
        if self.mailbox.reported.load(Acquire) {
            let progress = self.mailbox.progress();
            let (done, total) = progress.read;
            let read = Event::PromptRead { done, total };
            self.sink.on_event(read, progress);
            self.mailbox.ring.pop(&mut |kind, text| {
                let tokens = Tokens::default();
                let event = match kind {
                    Kind::Reasoning => Event::Reasoning { text, tokens },
                    Kind::Text => Event::Text { text, tokens },
                };
                self.sink.on_event(event, progress);
            });
        }
        if self.sink.should_stop() {
            self.mailbox.stop.store(true, Relaxed);
        }
    }
}

/// Has `work` make a reply, with at most `threads` workers, and `sink` hear it.
fn perform(
    pool: &ApPool,
    threads: usize,
    sink: &mut dyn ReplySink,
    work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
) {
    if *pool.mode() != DispatchMode::Elsewhere {
        work(sink);
        pool.rest();
        return;
    }
    let mailbox = Mailbox {
        ring: Ring::new(RING),
        stop: AtomicBool::new(false),
        top: TryLock::new(None),
        progress: [const { AtomicUsize::new(0) }; 4],
        reported: AtomicBool::new(false),
    };
    let mut sender = Sender {
        pool,
        mailbox: &mailbox,
    };
    let mut receiver = Receiver {
        mailbox: &mailbox,
        sink,
    };
    let made = pool.elsewhere(threads, &mut || work(&mut sender), &mut || {
        receiver.collect();
    });
    receiver.collect();
    if let Err(why) = made {
        panic::fail(format_args!("error: {why}; set threads = 1"));
    }
}
