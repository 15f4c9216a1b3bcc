//! `llama2 chat` where somebody sits at a terminal: models one after another, and what only this
//! side can do for a conversation.

mod book;
mod catalogue;
mod keyboard;
mod platform;
mod screen;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use llama2_console::{
    config,
    front::{Front, Style},
    width,
};
use llama2_engine::{
    bench::{Report, Test, Work},
    checkpoint::Format,
    context::Context,
    model::Model,
    session::Session,
    settings::{Choice, Mode, Settings},
    tokenizer::Tokenizer,
    units::{Bytes, Grouped},
};
use llama2_settings::{Overrides, Param, ParamValue};
use llama2_talk::{Loaded, Next, State, catalogue::kind, hold};

use crate::{
    args::ChatArgs,
    bench as measure,
    failure::{Failure, say},
    interrupt,
    load::{self, Opened},
    machine::Machine,
    run,
};
use book::Book;
use platform::HostPlatform;
use screen::TerminalScreen;

/// What the bundled model is called in a menu, in `/model` and in `LLAMA2.CFG`.
pub const BUNDLED: &str = "bundled";

/// Tells whether somebody types and sees what is shown, on a terminal that can move its cursor.
pub fn is_wanted() -> bool {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !dumb
}

/// The wishes of `LLAMA2.CFG` in this folder; what is wrong with it is said.
fn configuration() -> Overrides {
    let name = Path::new(config::NAME);
    let bytes = match platform::read_small(name, config::LARGEST) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Overrides::default(),
        Err(sentence) => {
            say(format_args!("llama2: {sentence}"));
            return Overrides::default();
        }
    };
    match config::parse(&bytes) {
        Ok((options, warnings)) => {
            say(format_args!(
                "llama2: settings of {} in this folder",
                config::NAME
            ));
            for warning in warnings {
                say(format_args!("llama2: {}: {warning}", config::NAME));
            }
            options
        }
        Err(sentence) => {
            say(format_args!("llama2: {}: {sentence}", config::NAME));
            config::salvage(&bytes)
        }
    }
}

/// Values of the command line, for [`Overrides::over`].
fn said(args: &ChatArgs) -> Overrides {
    let mut said = args.flags.0.clone();
    // A system prompt is for a chat, whatever the file is.
    if said.text(Param::System).is_some() {
        said.set(Param::Mode, ParamValue::Word(Mode::Chat.name()));
    }
    said
}

/// Where a model of the configuration is, which may have been written for firmware.
fn path_of(name: &str) -> Option<PathBuf> {
    if name == BUNDLED && !Path::new(name).exists() {
        return None;
    }
    let path = Path::new(name);
    if path.exists() || !name.contains('\\') {
        return Some(path.into());
    }
    Some(name.replace('\\', "/").trim_start_matches('/').into())
}

/// A model whose header has been read, and which there is memory for.
struct Ready {
    /// Its file; the bundled one has none.
    path: Option<PathBuf>,
    name: String,
    opened: Opened,
    tokenizer: Tokenizer,
    context: Context,
    about: Vec<(String, String)>,
}

/// What models are made ready with.
struct ModelLoader<'a> {
    machine: &'a Machine,
    context: Option<usize>,
    /// The tokenizer that was named, and the file that it was named for.
    tokenizer: Option<PathBuf>,
    first: Option<PathBuf>,
}

impl ModelLoader<'_> {
    /// Reads a model's header and its tokenizer. `spare` bytes are free besides those that the
    /// system tells of.
    fn prepare(&self, path: Option<&Path>, spare: u64) -> Result<Ready, Failure> {
        let opened = load::open(path)?;
        let is_first = path == self.first.as_deref();
        // What was asked for was asked for the first model.
        let own = opened.checkpoint.config.seq_len;
        let wanted = self
            .context
            .filter(|&context| is_first || (1..=own).contains(&context));
        let context = load::fit(&opened, self.machine, wanted, spare)?;
        let named = self.tokenizer.as_deref().filter(|_| is_first);
        let vocabulary = load::tokenizer(named, path)?;
        vocabulary.check_model(opened.checkpoint.config.vocab_size)?;
        let about = [
            ("format", opened.checkpoint.format.to_string()),
            ("type", kind(&opened.checkpoint)),
            (
                "parameters",
                Grouped(opened.checkpoint.parameters()).to_string(),
            ),
            (
                "needs",
                format!("{} of memory", Bytes(context.memory().total())),
            ),
            ("positions", context.to_string()),
        ];
        let file = path.and_then(Path::file_name);
        Ok(Ready {
            path: path.map(PathBuf::from),
            name: match file {
                Some(file) => file.to_string_lossy().into_owned(),
                None => opened.name.display().to_string(),
            },
            tokenizer: vocabulary.tokenizer,
            context,
            about: about.map(|(name, what)| (name.to_string(), what)).into(),
            opened,
        })
    }
}

/// What a model is known by: its path.
fn id_of(path: Option<&Path>) -> String {
    path.map_or(BUNDLED.to_string(), |path| path.display().to_string())
}

pub fn chat(args: &ChatArgs) -> Result<(), Failure> {
    let options = said(args).over(configuration());
    let mut settings = Settings::from(&options);
    if let Some(question) = run::question(args)? {
        settings.prompt = Some(question);
    }
    for sentence in settings.adjust() {
        say(format_args!("llama2: {sentence}"));
    }
    let machine = Machine::new(&options)?;
    let named = options.text(Param::Model).and_then(path_of);
    let path = args.checkpoint.clone().or(named);
    let tokenizer = options.text(Param::Tokenizer).and_then(path_of);
    let kitchen = ModelLoader {
        machine: &machine,
        context: options.count(Param::Context),
        tokenizer: args.tokenizer.clone().or(tokenizer),
        first: path.clone(),
    };
    let ready = kitchen
        .prepare(path.as_deref(), 0)
        .map_err(|failure| match failure {
            Failure::Input(sentence) if args.checkpoint.is_none() && path.is_some() => {
                Failure::Input(format!("{sentence} ({} names it)", config::NAME))
            }
            other => other,
        })?;
    let book = (!args.no_history).then(Book::open).flatten();
    work(
        &kitchen,
        ready,
        State::new(settings, options.choice(Param::Mode)),
        book,
    )
}

/// One model after another.
fn work(
    kitchen: &ModelLoader<'_>,
    ready: Ready,
    mut state: State,
    book: Option<Book>,
) -> Result<(), Failure> {
    if let Some(book) = &book {
        book.read_into(state.history_mut());
    }
    let mut computer = HostPlatform::new(kitchen.machine, book);
    // Before the terminal is asked for single keys: there is a progress bar, and Ctrl-C ends the
    // command.
    let (mut served, mut model) = serve(ready)?;
    let mut screen = TerminalScreen::enter().map_err(|error| {
        Failure::Input(format!(
            "the terminal does not give single keys: {error}; pipe the questions into standard input instead"
        ))
    })?;
    loop {
        computer.runs(served.path.as_deref(), served.context.memory().total());
        // The bundled model is a GGUF file that tells stories.
        let is_gguf = matches!(served.format, Format::Gguf { .. });
        state.usual = (is_gguf && served.path.is_some()).then_some(Mode::Chat);
        let mut session = Session::new(&model, kitchen.machine.options(&served.context))
            .map_err(|error| Failure::about(Path::new(&served.name), error))?;
        let loaded = Loaded {
            id: &id_of(served.path.as_deref()),
            name: &served.name,
            session: &mut session,
            tokenizer: &served.tokenizer,
            format: served.format,
            about: &served.about,
        };
        match hold(loaded, &mut state, &mut screen, &mut computer) {
            Next::Exit | Next::Reboot | Next::Shutdown | Next::Firmware => return Ok(()),
            Next::Bench => {
                drop(session);
                bench(&model, &served, kitchen.machine, &mut screen)?;
            }
            Next::Model(id) => {
                let path = (id != BUNDLED).then(|| PathBuf::from(&id));
                // Refused while the old one is still there.
                match kitchen.prepare(path.as_deref(), served.context.memory().total()) {
                    Ok(ready) => {
                        drop(session);
                        drop(model);
                        (served, model) = switch(kitchen, ready, served, &mut screen)?;
                    }
                    Err(failure) => complain(&failure, &mut screen),
                }
            }
        }
    }
}

/// Loads another model; where that fails, the old one again.
fn switch(
    kitchen: &ModelLoader<'_>,
    ready: Ready,
    old: Served,
    screen: &mut TerminalScreen,
) -> Result<(Served, Model), Failure> {
    match screen.aside(|| serve(ready))? {
        Ok(loaded) => Ok(loaded),
        Err(failure) => {
            complain(&failure, screen);
            let again = kitchen.prepare(old.path.as_deref(), 0)?;
            let loaded = screen.aside(|| serve(again))??;
            screen.show(
                Style::Info,
                &format!("{} is in memory again.\n", loaded.0.name),
            );
            Ok(loaded)
        }
    }
}

/// Says what was wrong, where the conversation is.
fn complain(failure: &Failure, screen: &mut TerminalScreen) {
    if let Failure::Input(sentence) = failure {
        screen.show(Style::Error, &format!("error: {sentence}\n"));
    }
}

/// What is known of a model that is in memory.
struct Served {
    path: Option<PathBuf>,
    name: String,
    tokenizer: Tokenizer,
    format: Format,
    context: Context,
    size: u64,
    parameters: u64,
    about: Vec<(String, String)>,
}

fn serve(ready: Ready) -> Result<(Served, Model), Failure> {
    let served = Served {
        path: ready.path,
        name: ready.name,
        tokenizer: ready.tokenizer,
        format: ready.opened.checkpoint.format,
        context: ready.context,
        size: ready.opened.size(),
        parameters: ready.opened.checkpoint.parameters(),
        about: ready.about,
    };
    Ok((served, load::load(ready.opened)?))
}

/// Repetitions of each test: people wait.
const REPETITIONS: usize = 3;

/// `/bench`: llama-bench's two tests with the model that is in memory.
fn bench(
    model: &Model,
    served: &Served,
    machine: &Machine,
    screen: &mut TerminalScreen,
) -> Result<(), Failure> {
    let tests = [Work::Prompt(512), Work::Generate(128)].map(|work| Test { work, depth: 0 });
    let subject = measure::Measured {
        file: &served.name,
        size: served.size,
        parameters: served.parameters,
        repetitions: REPETITIONS,
    };
    screen.show(
        Style::Info,
        &format!(
            "Measuring {} and {}, {REPETITIONS} times each; Ctrl-C stops it.\n",
            tests[0], tests[1]
        ),
    );
    let outcome = screen.aside(|| {
        interrupt::begin();
        let threads = [machine.workers()];
        let outcome = measure::measure(model, &subject, &tests, &threads, machine);
        interrupt::end();
        outcome
    })?;
    match outcome {
        Ok(report) => {
            let mut text = String::new();
            // Writing into a string cannot fail.
            let reports = std::slice::from_ref(&report);
            let _ = Report::write(
                reports,
                llama2_engine::bench::ReportFormat::Markdown,
                &mut text,
            );
            let widest = text.lines().map(width::text).max().unwrap_or(0);
            screen.lay_out(Style::Info, &|columns| match widest < columns {
                true => text.clone(),
                false => measure::briefly(&report),
            });
        }
        Err(failure) => complain(&failure, screen),
    }
    Ok(())
}
