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
use core::sync::atomic::{
    AtomicBool, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

use llama2_console::{commands::Place, config};
use llama2_efi::{arch, cores::DispatchMode, ring::Ring, try_lock::TryLock};
use llama2_engine::{
    bench::gigahertz, generate::TopToken, settings::kv_type, units::Bytes, workers::Workers,
};
use llama2_settings::{Overrides, Param};
use llama2_app::{
    catalogue::MemoryBudget,
    host::{Host, ModelEntry, Progress, ReplySink},
};

use super::{ap_pool::ApPool, banner, clock, files::Volumes, memory, models, panic, random, save};

/// Bytes that may wait to be shown: many seconds' text.
const RING: usize = 64 << 10;

/// The machine.
pub struct UefiPlatform<'a> {
    pub pool: &'static ApPool,
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
}

impl Host for UefiPlatform<'_> {
    fn place(&self) -> Place {
        Place::Boot
    }

    fn clock(&self) -> fn() -> u64 {
        clock::microseconds
    }

    fn perform(
        &mut self,
        threads: Option<usize>,
        audience: &mut dyn ReplySink,
        work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
    ) {
        let threads = threads.unwrap_or_else(|| self.pool.count());
        perform(self.pool, threads, audience, work);
    }

    fn models(&mut self) -> Vec<ModelEntry> {
        let room = self.room();
        if self.thorough {
            self.volumes.connect_everything();
        }
        models::offers(self.volumes, room)
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
        about.push(("seeds".to_string(), random::source().to_string()));
        about
    }

    fn seed(&mut self) -> (u64, &'static str) {
        random::seed()
    }
}

/// Between the core that makes a reply and the one that shows it.
struct Mailbox {
    ring: Ring,
    stop: AtomicBool,
    begun: AtomicBool,
    /// Written before `begun`, read after it.
    top: TryLock<Option<TopToken>>,
    /// Tokens read, to read, made, and in the context; nothing yet until `reported`.
    progress: [AtomicUsize; 4],
    reported: AtomicBool,
}

impl Mailbox {
    fn progress(&self) -> Progress {
        let [done, total, made, context] = core::array::from_fn(|i| self.progress[i].load(Relaxed));
        Progress {
            read: (done, total),
            made,
            context,
        }
    }
}

/// The mailbox's other end. Allocates nothing and calls no firmware.
struct Sender<'a> {
    pool: &'a ApPool,
    mailbox: &'a Mailbox,
}

impl ReplySink for Sender<'_> {
    fn hear(&mut self, text: &str, progress: Progress) -> bool {
        let (done, total) = progress.read;
        let numbers = [done, total, progress.made, progress.context];
        for (place, number) in self.mailbox.progress.iter().zip(numbers) {
            place.store(number, Relaxed);
        }
        self.mailbox.reported.store(true, Release);
        let mut rest = self.mailbox.ring.push(text);
        while !rest.is_empty() {
            self.pool.check();
            core::hint::spin_loop();
            rest = self.mailbox.ring.push(rest);
        }
        self.mailbox.stop.load(Relaxed)
    }

    fn begin(&mut self, top: Option<TopToken>) {
        self.mailbox.top.with(|place| *place = top);
        self.mailbox.begun.store(true, Release);
    }

    fn look(&mut self) -> bool {
        self.mailbox.stop.load(Relaxed)
    }
}

/// The end of the mailbox on the boot processor.
struct Receiver<'a> {
    mailbox: &'a Mailbox,
    audience: &'a mut dyn ReplySink,
    begun: bool,
    text: String,
}

impl Receiver<'_> {
    /// Takes over what another core made.
    fn collect(&mut self) {
        if !self.begun && self.mailbox.begun.load(Acquire) {
            self.begun = true;
            self.audience
                .begin(self.mailbox.top.with(|top| *top).flatten());
        }
        // Until the first pass is over the audience knows better how much there is to read.
        if self.mailbox.reported.load(Acquire) {
            self.text.clear();
            self.mailbox.ring.pop(&mut self.text);
            self.audience.hear(&self.text, self.mailbox.progress());
        }
        if self.audience.look() {
            self.mailbox.stop.store(true, Relaxed);
        }
    }
}

/// Has `work` make a reply, with at most `threads` workers, and `audience` hear it.
fn perform(
    pool: &ApPool,
    threads: usize,
    audience: &mut dyn ReplySink,
    work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
) {
    if *pool.mode() != DispatchMode::Elsewhere {
        work(audience);
        pool.rest();
        return;
    }
    let mailbox = Mailbox {
        ring: Ring::new(RING),
        stop: AtomicBool::new(false),
        begun: AtomicBool::new(false),
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
        audience,
        begun: false,
        text: String::new(),
    };
    let made = pool.elsewhere(threads, &mut || work(&mut sender), &mut || {
        receiver.collect();
    });
    receiver.collect();
    if let Err(why) = made {
        panic::fail(format_args!("error: {why}; set threads = 1"));
    }
}
