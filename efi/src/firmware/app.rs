//! The main job, from top to bottom: banner, wishes, a model, and what is done with it until its
//! user leaves.

use alloc::{format, string::String};
use core::fmt::Display;

use llama2_app::{
    First, Loaded, State,
    bench::{self, BenchModel, Computing},
    menu,
    platform::{OpenModel, Platform},
    run_models, sentences, tell_once,
};
use llama2_efi::options::{Hook, hook, keyboard as layout};
use llama2_engine::{
    checkpoint, kernels,
    run_mode::RunMode,
    session::{Options, Session},
    settings::{Mode, Settings},
    units::Bytes,
    workers::Workers,
};
use llama2_settings::{
    Exit, Param,
    flags::{self, CommandLine},
};

use super::{
    ap_pool::ApPool,
    banner, configuration, display,
    files::Volumes,
    keyboard, memory, models, panic,
    platform::UefiPlatform,
    random, save, serving, shell,
    terminal::{self, FirmwareTerminal, complain, say},
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
    let options = configuration::read(&mut volumes, line)?;
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
    banner::show_cores(pool, kernels);
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

    serving::begin(&options, &mut volumes);

    let stays = options.text(Param::Exit).is_none() || settings.mode == Some(Mode::Chat);
    let mut platform = UefiPlatform {
        pool,
        kernels,
        volumes: &mut volumes,
        options: &options,
        taken: 0,
        thorough: false,
    };
    let computing = platform.computing();
    if options.truth(Param::Bench) {
        let pair = models::choose(platform.volumes, &options)?;
        let mut model = platform.prepare(pair, None, 0)?;
        let weights = platform
            .read_weights(&mut model)?
            .ok_or("stopped by a key")?;
        let steps = options.count(Param::Steps).filter(|&steps| steps > 0);
        let subject = BenchModel::of(&model, &weights);
        let console = &mut FirmwareTerminal;
        return bench::run(&subject, steps, console, &mut platform, &computing)
            .map_err(|error| format!("{}: {error}", model.file));
    }
    if !stays {
        return tell(&settings, &mut platform, &computing);
    }
    display::begin(&options)?;
    let mut state = State::new(settings);
    let first = first(&mut platform, &mut state).map(First::unread);
    platform.thorough = true;
    let console = &mut FirmwareTerminal;
    run_models(first, &mut state, console, &mut platform, &computing)?;
    // Who leaves has pressed a key.
    terminal::end_with(options.choice(Param::Exit).unwrap_or(Exit::Return));
    Ok(())
}

/// Tells one story.
fn tell(
    settings: &Settings,
    platform: &mut UefiPlatform<'_>,
    computing: &Computing<'_>,
) -> Result<(), String> {
    let pair = models::choose(platform.volumes, platform.options)?;
    // run.c has no model of its own: this one's stories are told to their end.
    let steps = settings.steps.or(pair.is_bundled().then_some(0));
    let settings = &Settings {
        mode: Some(Mode::Generate),
        steps,
        ..settings.clone()
    };
    let mut model = platform.prepare(pair, Some(settings), 0)?;
    let Some(weights) = platform.read_weights(&mut model)? else {
        // Not an error: the user wants to leave.
        say("Stopped by a key.");
        return Ok(());
    };
    let about = |error: &dyn Display| format!("{}: {error}", model.file);
    let (context, tokenizer) = (&model.context, &model.tokenizer);
    let (mode, seq_len) = (RunMode::Story, context.positions());
    for remark in settings.remarks(tokenizer, mode, seq_len) {
        complain("warning", &sentences::remark(remark));
    }
    for warning in tokenizer.warnings() {
        complain("warning", warning);
    }
    let options = Options {
        positions: Some(seq_len),
        ..computing.options
    };
    let mut session = Session::new(&weights, options).map_err(|error| about(&error))?;
    say(&format!(
        "Memory: {} for the model and its context, {} free",
        Bytes(context.memory().total()),
        Bytes(memory::size().free)
    ));
    say(&format!("Context: {context}"));
    let drawing = settings.sampling.drawing(mode);
    let seed = settings.seed.map(|seed| (seed, "given"));
    let (seed, source) = seed.unwrap_or_else(random::seed);
    if drawing.is_greedy() {
        say(&format!("Sampling: {drawing}"));
    } else {
        say(&format!("Sampling: {drawing}, seed {seed} ({source})"));
    }
    let config = &model.checkpoint.config;
    say(&format!("Model config: {}", checkpoint::describe(config)));
    let sampler = drawing.sampler(config.vocab_size, seed);
    let story = settings.story(tokenizer, seq_len, sampler);
    let story = story.map_err(|error| about(&error))?;
    let mut loaded = Loaded {
        id: &model.id,
        name: &model.name,
        session: &mut session,
        tokenizer,
        mode,
        about: &[],
        service: None,
    };
    let steps = settings.steps_for(seq_len, mode);
    tell_once(&mut loaded, story, steps, &mut FirmwareTerminal, platform)
        .map_err(|sentence| about(&sentence))
}

/// The model to begin with: the one that was named; where there are several, the one that is chosen
/// from a menu.
fn first(platform: &mut UefiPlatform<'_>, state: &mut State) -> Result<OpenModel, String> {
    let options = platform.options;
    let nothing_named =
        options.text(Param::Model).is_none() && options.text(Param::Tokenizer).is_none();
    let mut chosen = None;
    if nothing_named && models::count(platform.volumes) > 1 {
        let entries = platform.models();
        let usable = entries.iter().position(|entry| entry.trouble.is_none());
        let (clock, console) = (platform.clock(), &mut FirmwareTerminal);
        let row = menu::choose(
            &entries,
            usable.unwrap_or(0),
            Some(COUNTDOWN),
            clock,
            console,
        );
        state.is_timed = false;
        chosen = row.or(usable).map(|row| entries[row].id.clone());
    }
    let pair = match chosen {
        Some(id) => models::open(platform.volumes, &id, options)?,
        None => models::choose(platform.volumes, options)?,
    };
    platform.prepare(pair, Some(&state.settings), 0)
}
