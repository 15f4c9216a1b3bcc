//! `llama2 chat` where somebody sits at a terminal.

mod book;
mod catalogue;
mod keyboard;
mod platform;
mod screen;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use llama2_app::{First, State, run_models};
use llama2_console::config;
use llama2_engine::settings::Settings;
use llama2_settings::{Overrides, Param};

use crate::{
    args::ChatArgs,
    failure::{Failure, say},
    file, load,
    machine::Machine,
    run,
};
use book::Book;
pub use platform::HostPlatform;
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
    let bytes = match file::read_small(name, config::LARGEST) {
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

pub fn chat(args: &ChatArgs) -> Result<(), Failure> {
    // The clock starts here: a model may have been downloaded before.
    crate::machine::nanoseconds();
    let options = args.options().over(configuration());
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
    let book = (!args.no_history).then(Book::open).flatten();
    let mut state = State::new(settings);
    if let Some(book) = &book {
        book.read_into(state.history_mut());
    }
    let mut platform = HostPlatform {
        machine: &machine,
        context: options.count(Param::Context),
        tokenizer: args.tokenizer.clone().or(tokenizer),
        first: path.clone(),
        book,
        own: None,
        taken: 0,
        folder: None,
    };
    let model = platform
        .prepare(path.as_deref(), 0)
        .map_err(|failure| match failure {
            Failure::Input(sentence) if args.checkpoint.is_none() && path.is_some() => {
                Failure::Input(format!("{sentence} ({} names it)", config::NAME))
            }
            other => other,
        })?;
    // Before the terminal is asked for single keys: there is a progress bar, and Ctrl-C ends the
    // command.
    let mut first = First::unread(model);
    first.weights = Some(load::weights(&mut first.model)?);
    let mut screen = TerminalScreen::enter().map_err(|error| {
        Failure::Input(format!(
            "the terminal does not give single keys: {error}; pipe the questions into standard input instead"
        ))
    })?;
    let computing = machine.computing();
    run_models(
        Ok(first),
        &mut state,
        &mut screen,
        &mut platform,
        &computing,
    )
    .map_err(Failure::Input)
}
