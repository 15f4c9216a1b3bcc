//! The main job, from top to bottom: banner, wishes, model, tokenizer, memory, weights, text.

use alloc::{format, string::String};
use core::fmt::Display;

use llama2_efi::{
    command_line::{self, Line},
    options::Exit,
};
use llama2_engine::{
    checkpoint::{self, Checkpoint, Error},
    kernels,
    session::{Options, Session},
    task::Task,
    tune::Threads,
    units::Bytes,
    workers::Workers,
};

use super::{
    banner, bench, clock,
    cores::Crew,
    files::Volumes,
    find, keyboard, load, memory, random, shell,
    talk::{self, Voice},
    terminal::{complain, say},
    wishes,
};

/// Memory that stays the firmware's: its drivers allocate while they read.
const RESERVE: u64 = 8 << 20;

/// Runs the application. `exit` is set as soon as it is known, for errors end by it too.
///
/// # Errors
/// The sentence to show.
pub fn run(exit: &mut Exit) -> Result<(), String> {
    banner::show();
    let words = shell::words();
    *exit = command_line::exit(&words).unwrap_or_default();
    let line = command_line::parse(&words).map_err(|sentence| format!("command line: {sentence}"));
    let line = match line? {
        Line::Run(line) => *line,
        Line::Help => {
            say(command_line::HELP);
            *exit = Exit::Return;
            return Ok(());
        }
    };

    let mut volumes = Volumes::new();
    let options = wishes::wishes(&mut volumes, line, exit)?;
    *exit = options.exit.unwrap_or_default();
    if let Some(layout) = options.keyboard {
        keyboard::set_layout(layout);
    }
    let crew = Crew::gather(options.threads, options.test);
    let kernels = match options.kernels {
        None => kernels::best(crew.features()),
        Some(name) => kernels::named(name, crew.features())
            .map_err(|error| format!("kernels \"{name}\": {error}"))?,
    };
    banner::show_crew(crew, kernels);
    if let Some(wanted) = options.threads.filter(|&wanted| wanted > crew.count()) {
        complain(
            "warning",
            &format!(
                "{wanted} threads are more than can work here: taking {}",
                crew.count()
            ),
        );
    }
    let mut settings = options.settings();
    for said in settings.adjust() {
        complain("warning", &said);
    }
    if let Some(path) = &options.prompt_file {
        settings.prompt = Some(find::prompt(&mut volumes, path)?);
    }

    let mut pair = find::choose(&mut volumes, &options)?;
    let name = pair.model.name.clone();
    let about = |error: &dyn Display| format!("{name}: {error}");
    let mut checkpoint = Checkpoint::open(&mut *pair.model.bytes).map_err(|error| about(&error))?;
    let kv = options.kv.unwrap_or_default();
    let free = memory::size().free.saturating_sub(RESERVE);
    let context = checkpoint
        .fit(options.context, kv, crew.count(), free)
        .map_err(|error| about(&error))?;
    let (seq_len, vocab_size) = (checkpoint.config.seq_len, checkpoint.config.vocab_size);
    if context.is_short() {
        complain("warning", &format!("a context of {context}"));
    }
    let needed = checkpoint.memory(kv, crew.count());
    let tokenizer = pair.load_tokenizer(&checkpoint)?;
    // Before the weights are read: a mistake in the prompt should not cost their loading.
    let task = Task::new(&settings, &tokenizer, checkpoint.format, seq_len)
        .map_err(|error| about(&error))?;
    let drawing = task.drawing(&settings);
    drawing
        .check(vocab_size)
        .map_err(|sentence| format!("the sampling's {sentence}"))?;
    for remark in task.remarks(&settings, seq_len) {
        complain("warning", &remark);
    }

    let weights = match load::load(&checkpoint, &mut pair.model) {
        // Not an error: the user wants to leave.
        Err(Error::Stopped) => {
            say("Stopped by a key.");
            return Ok(());
        }
        loaded => loaded.map_err(|error| about(&error))?,
    };
    let size = pair.model.bytes.size();
    drop(pair);
    if options.bench == Some(true) {
        let file = (name.as_str(), size);
        return bench::run(file, &checkpoint, weights, crew, kernels, &options)
            .map_err(|error| about(&error));
    }
    let computing = Options {
        kernels,
        workers: crew,
        threads: options
            .threads
            .map_or(Threads::Calibrate(clock::nanoseconds), Threads::Fixed),
        kv,
    };
    let mut session = Session::new(&weights, computing).map_err(|error| about(&error))?;
    say(&format!(
        "Memory: {} for the model and its context, {} free",
        Bytes(needed.total()),
        Bytes(memory::size().free)
    ));

    let (seed, source) = settings
        .seed
        .map_or_else(random::seed, |seed| (seed, "given"));
    say(&format!("Context: {context}"));
    if drawing.temperature() == 0.0 {
        say(&format!("Sampling: {drawing}"));
    } else {
        say(&format!("Sampling: {drawing}, seed {seed} ({source})"));
    }
    say(&format!(
        "Model config: {}",
        checkpoint::describe(&checkpoint.config)
    ));
    let mut sampler = drawing.sampler(vocab_size, seed);
    talk::run(
        task,
        &mut Voice {
            crew,
            session: &mut session,
            tokenizer: &tokenizer,
            sampler: &mut sampler,
        },
        &settings,
    );
    Ok(())
}
