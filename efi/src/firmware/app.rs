//! The main job, from top to bottom: banner, wishes, a model, and what is done with it until its
//! user leaves.

use alloc::{format, string::String, vec::Vec};
use core::fmt::Display;

use llama2_console::typeahead::Typeahead;
use llama2_efi::options::{Hook, hook, keyboard as layout};
use llama2_engine::{
    checkpoint::{self, Checkpoint, Error},
    context::Context,
    kernels::{self, Kernels},
    model::Model,
    session::{Options, Session},
    settings::{Mode, Settings, kv_type},
    task::Task,
    thread_tuner::Threads,
    tokenizer::Tokenizer,
    units::{Bytes, Grouped},
    workers::Workers,
};
use llama2_settings::{
    Exit, Overrides, Param,
    flags::{self, CommandLine},
};
use llama2_talk::{Loaded, Next, State, catalogue, hold, host::Host, menu, tell_once};

use super::{
    ap_pool::ApPool,
    banner, bench, clock, display,
    files::Volumes,
    keyboard, load, memory,
    models::{self, Pair},
    panic,
    platform::UefiPlatform,
    power, random, save, shell,
    terminal::{self, FirmwareTerminal, complain, detail, say},
    wishes,
};

/// Seconds until the first model of the menu is taken.
const COUNTDOWN: u64 = 10;

/// Runs the application. How it ends is told to the terminal as soon as it is known, for errors end
/// so, too.
///
/// # Errors
/// The sentence to show.
pub fn run() -> Result<(), String> {
    banner::show();
    let words = shell::words();
    terminal::end_with(flags::exit(&words).unwrap_or_default());
    let line = flags::parse(&words).map_err(|sentence| format!("command line: {sentence}"));
    let line = match line? {
        CommandLine::Run(line) => *line,
        CommandLine::Help => {
            say(&flags::help());
            terminal::end_with(Exit::Return);
            return Ok(());
        }
    };

    let mut volumes = Volumes::new();
    let options = wishes::wishes(&mut volumes, line)?;
    terminal::end_with(options.choice(Param::Exit).unwrap_or_default());
    if let Some(layout) = layout(&options) {
        keyboard::set_layout(layout);
    }
    let threads = options.count(Param::Threads);
    let pool = ApPool::gather(threads, hook(&options), panic::fail);
    if hook(&options) == Some(Hook::NoRename) {
        save::refuse_renames();
    }
    let kernels = match options.text(Param::Kernels) {
        None => kernels::best(pool.features()),
        Some(name) => kernels::named(name, pool.features())
            .map_err(|error| format!("kernels \"{name}\": {error}"))?,
    };
    banner::show_crew(pool, kernels);
    if let Some(wanted) = threads.filter(|&wanted| wanted > pool.count()) {
        complain(
            "warning",
            &format!(
                "{wanted} threads are more than can work here: taking {}",
                pool.count()
            ),
        );
    }
    let mut settings = Settings::from(&options);
    for said in settings.adjust() {
        complain("warning", &said);
    }
    if let Some(path) = options.text(Param::PromptFile) {
        settings.prompt = Some(models::prompt(&mut volumes, path)?);
    }

    let stays = options.text(Param::Exit).is_none() || settings.mode == Mode::Chat;
    let shelf = ModelLoader {
        pool,
        kernels,
        options: &options,
    };
    let mut machine = UefiPlatform {
        pool,
        volumes: &mut volumes,
        options: &options,
        taken: 0,
        thorough: false,
    };
    if options.truth(Param::Bench) {
        let pair = models::choose(machine.volumes, &options)?;
        let Some(ready) = shelf.load(pair, None)? else {
            return Err("stopped by a key".into());
        };
        return shelf.bench(&ready);
    }
    if !stays {
        let pair = models::choose(machine.volumes, &options)?;
        return shelf.tell(pair, settings, &mut machine);
    }
    display::begin(&options)?;
    shelf.talk(settings, &mut machine)?;
    // Who leaves has pressed a key.
    terminal::end_with(options.choice(Param::Exit).unwrap_or(Exit::Return));
    Ok(())
}

/// What every model is run with.
struct ModelLoader<'a> {
    pool: &'static ApPool,
    kernels: &'static Kernels,
    options: &'a Overrides,
}

/// A model that is in memory.
struct Ready {
    /// What it is called in a menu, in messages, and by people.
    id: String,
    name: String,
    called: String,
    /// Bytes of its file.
    size: u64,
    checkpoint: Checkpoint,
    context: Context,
    tokenizer: Tokenizer,
    weights: Model,
}

impl ModelLoader<'_> {
    /// Loads a model, if there is memory for it. With `settings` their prompt and sampling are
    /// looked at before the weights are read: a mistake should not cost their loading.
    fn load(&self, mut pair: Pair, settings: Option<&Settings>) -> Result<Option<Ready>, String> {
        let name = pair.model.name.clone();
        let about = |error: &dyn Display| format!("{name}: {error}");
        let checkpoint = match pair.checkpoint.take() {
            Some(checkpoint) => checkpoint,
            None => Checkpoint::open(&mut *pair.model.bytes).map_err(|error| about(&error))?,
        };
        let kv = kv_type(self.options);
        let free = memory::size().free.saturating_sub(memory::RESERVE);
        // A context that was asked for of another model may be longer than this one's.
        let wanted = match settings {
            Some(_) => self.options.count(Param::Context),
            None => self
                .options
                .count(Param::Context)
                .map(|wanted| wanted.min(checkpoint.config.seq_len)),
        };
        let context = Context::fit(&checkpoint, wanted, kv, self.pool.count(), free)
            .map_err(|error| about(&error))?;
        if context.is_short() {
            complain("warning", &format!("a context of {context}"));
        }
        let tokenizer = pair.load_tokenizer(&checkpoint)?;
        if let Some(settings) = settings {
            let seq_len = context.positions();
            let task = Task::new(settings, &tokenizer, checkpoint.format, seq_len)
                .map_err(|error| about(&error))?;
            task.drawing(settings)
                .check(checkpoint.config.vocab_size)
                .map_err(|sentence| format!("the sampling's {sentence}"))?;
        }
        let weights = match load::load(&checkpoint, &mut pair.model) {
            Ok(weights) => weights,
            Err(Error::Stopped) => return Ok(None),
            Err(error) => return Err(about(&error)),
        };
        Ok(Some(Ready {
            called: models::called_inside(&pair.model.id, &mut *pair.model.bytes),
            id: pair.model.id.clone(),
            size: pair.model.bytes.size(),
            name,
            checkpoint,
            context,
            tokenizer,
            weights,
        }))
    }

    fn session<'m>(&self, ready: &'m Ready) -> Result<Session<'m>, String> {
        let computing = Options {
            kernels: self.kernels,
            workers: self.pool,
            threads: self
                .options
                .count(Param::Threads)
                .map_or(Threads::Calibrate(clock::nanoseconds), Threads::Fixed),
            kv: ready.context.kv(),
            positions: Some(ready.context.positions()),
        };
        Session::new(&ready.weights, computing).map_err(|error| format!("{}: {error}", ready.name))
    }

    fn bench(&self, ready: &Ready) -> Result<(), String> {
        let file = (ready.name.as_str(), ready.size);
        let measured = bench::run(
            file,
            &ready.checkpoint,
            &ready.weights,
            self.pool,
            self.kernels,
            self.options,
        );
        measured.map_err(|error| format!("{}: {error}", ready.name))
    }

    /// One story, and the end.
    fn tell(
        &self,
        pair: Pair,
        mut settings: Settings,
        machine: &mut UefiPlatform<'_>,
    ) -> Result<(), String> {
        // run.c has no model of its own: this one's stories are told to their end.
        if pair.is_bundled() {
            settings.steps = settings.steps.or(Some(0));
        }
        let Some(ready) = self.load(pair, Some(&settings))? else {
            // Not an error: the user wants to leave.
            say("Stopped by a key.");
            return Ok(());
        };
        let config = &ready.checkpoint.config;
        let (seq_len, vocab_size) = (ready.context.positions(), config.vocab_size);
        let task = Task::new(
            &settings,
            &ready.tokenizer,
            ready.checkpoint.format,
            seq_len,
        )
        .map_err(|error| format!("{}: {error}", ready.name))?;
        for remark in task.remarks(&settings, seq_len) {
            complain("warning", &remark);
        }
        for warning in ready.tokenizer.warnings() {
            complain("warning", warning);
        }
        let drawing = task.drawing(&settings);
        let mut session = self.session(&ready)?;
        say(&format!(
            "Memory: {} for the model and its context, {} free",
            Bytes(ready.context.memory().total()),
            Bytes(memory::size().free)
        ));
        let (seed, source) = settings
            .seed
            .map_or_else(random::seed, |seed| (seed, "given"));
        say(&format!("Context: {}", ready.context));
        if drawing.temperature() == 0.0 {
            say(&format!("Sampling: {drawing}"));
        } else {
            say(&format!("Sampling: {drawing}, seed {seed} ({source})"));
        }
        say(&format!("Model config: {}", checkpoint::describe(config)));
        let Task::Story(generation, steps) = task else {
            return Ok(());
        };
        let about = ready.about();
        let loaded = ready.loaded(&mut session, &about);
        let sampler = drawing.sampler(vocab_size, seed);
        let mut state = State::new(settings, None);
        tell_once(
            loaded,
            generation,
            steps,
            sampler,
            &mut state,
            &mut FirmwareTerminal,
            machine,
        )
        .map_err(|error| format!("{}: {error}", ready.name))
    }

    /// Conversations with one model after another, until their user leaves.
    fn talk(&self, settings: Settings, machine: &mut UefiPlatform<'_>) -> Result<(), String> {
        let mut state = State::new(settings, self.options.choice(Param::Mode));
        let mut wanted = self.first(machine, &mut state.ahead);
        machine.thorough = true;
        // The one before, to go back to.
        let mut before: Option<String> = None;
        let mut first = true;
        loop {
            let checked = first.then(|| Settings {
                mode: state.mode.unwrap_or_default(),
                ..state.settings.clone()
            });
            let ready = match wanted.and_then(|pair| self.load(pair, checked.as_ref())) {
                Ok(Some(ready)) => ready,
                none => {
                    match none {
                        Err(sentence) => complain("error", &sentence),
                        Ok(_) => say("Stopped by a key."),
                    }
                    // What was asked for was asked for that model.
                    state.settings.prompt = None;
                    match self.other(machine, before.take(), &mut state.ahead)? {
                        Some(pair) => wanted = pair,
                        None => return Ok(()),
                    }
                    first = false;
                    continue;
                }
            };
            first = false;
            detail(&format!("Context: {}", ready.context));
            say(&format!("Context: {} tokens\n", ready.context.positions()));
            machine.taken = ready.context.memory().total();
            let (id, next) = self.hold(ready, &mut state, machine)?;
            machine.taken = 0;
            let Some(next) = next else {
                return Ok(());
            };
            before = Some(id);
            wanted = models::open(machine.volumes, &next);
        }
    }

    /// Talks with a model until its user leaves, or wants another one. Gives its name in menus, and
    /// the other's.
    fn hold(
        &self,
        ready: Ready,
        state: &mut State,
        machine: &mut UefiPlatform<'_>,
    ) -> Result<(String, Option<String>), String> {
        loop {
            let about = ready.about();
            let mut session = self.session(&ready)?;
            let loaded = ready.loaded(&mut session, &about);
            let next = hold(loaded, state, &mut FirmwareTerminal, machine);
            drop(session);
            match next {
                Next::Exit => return Ok((ready.id, None)),
                Next::Model(id) => return Ok((ready.id, Some(id))),
                Next::Bench => {
                    if let Err(sentence) = self.bench(&ready) {
                        complain("error", &sentence);
                    }
                }
                Next::Reboot => power::reboot(),
                Next::Shutdown => power::shutdown(),
                Next::Firmware => {
                    let Err(sentence) = power::firmware_setup();
                    complain("error", &sentence);
                }
            }
        }
    }

    /// The model to begin with: the one that was named; where there are several, the one that is
    /// chosen from a menu.
    fn first(&self, machine: &mut UefiPlatform<'_>, ahead: &mut Typeahead) -> Result<Pair, String> {
        let nothing_named = self.options.text(Param::Model).is_none()
            && self.options.text(Param::Tokenizer).is_none();
        if nothing_named && models::count(machine.volumes) > 1 {
            let offers = machine.models();
            let taken = (0..offers.len()).find(|&i| offers[i].trouble.is_none());
            let clock = machine.clock();
            let chosen = menu::choose(
                &offers,
                taken.unwrap_or(0),
                Some(COUNTDOWN),
                clock,
                ahead,
                &mut FirmwareTerminal,
            );
            if let Some(chosen) = chosen.or(taken) {
                return models::open(machine.volumes, &offers[chosen].id);
            }
        }
        models::choose(machine.volumes, self.options)
    }

    /// Another model, when one could not be had: the one before, or what is chosen; `None` if
    /// nothing is.
    ///
    /// # Errors
    /// There is none that could be.
    fn other(
        &self,
        machine: &mut UefiPlatform<'_>,
        before: Option<String>,
        ahead: &mut Typeahead,
    ) -> Result<Option<Result<Pair, String>>, String> {
        if let Some(id) = before {
            say(&format!("Going back to {}.", models::called(&id)));
            return Ok(Some(models::open(machine.volumes, &id)));
        }
        let offers = machine.models();
        let taken = (0..offers.len()).find(|&i| offers[i].trouble.is_none());
        let taken = taken.ok_or("there is no model that this machine could run")?;
        let clock = machine.clock();
        let chosen = menu::choose(&offers, taken, None, clock, ahead, &mut FirmwareTerminal);
        Ok(chosen.map(|chosen| models::open(machine.volumes, &offers[chosen].id)))
    }
}

impl Ready {
    fn about(&self) -> Vec<(String, String)> {
        let config = &self.checkpoint.config;
        [
            ("type", catalogue::kind(&self.checkpoint)),
            ("file", format!("{} bytes", Grouped(self.size))),
            ("shape", checkpoint::describe(config)),
            (
                "needs",
                format!("{} of memory", Bytes(self.context.memory().total())),
            ),
        ]
        .map(|(name, what)| (name.into(), what))
        .into()
    }

    fn loaded<'a, 'm>(
        &'a self,
        session: &'a mut Session<'m>,
        about: &'a [(String, String)],
    ) -> Loaded<'a, 'm> {
        Loaded {
            id: &self.id,
            name: &self.called,
            session,
            tokenizer: &self.tokenizer,
            format: self.checkpoint.format,
            about,
        }
    }
}
