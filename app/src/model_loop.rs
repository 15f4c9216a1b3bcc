//! One model after another, until their user leaves.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_console::{front::Style, terminal::one_line};
use llama2_engine::{
    checkpoint,
    model::Model,
    run_mode::RunMode,
    session::{Options, Session},
    units::{Bytes, Grouped, SENTENCE, short},
};

use crate::{
    bench::{self, BenchModel, Computing},
    catalogue, menu,
    platform::{Console, ModelEntry, OpenModel, Platform},
    reply::note,
    service::{Service, ServiceParts},
    session_loop::{Loaded, Next, State, run_session},
};

/// Seconds until a model that could not be had is asked for again.
const AGAIN: u64 = 60;

/// The model to begin with, whose weights may be in memory.
pub struct First {
    /// The model.
    pub model: OpenModel,
    /// Its weights; `None`: they are yet to be read.
    pub weights: Option<Model>,
}

/// Holds conversations with one model after another, until their user leaves. If the first cannot
/// be had, that is said, and another one is offered.
///
/// # Errors
/// A sentence: there is no model that could be run.
pub fn run_models(
    first: Result<First, String>,
    state: &mut State,
    console: &mut dyn Console,
    platform: &mut dyn Platform,
    computing: &Computing<'_>,
) -> Result<(), String> {
    let mut next = first;
    // The model before, to go back to.
    let mut before: Option<OpenModel> = None;
    loop {
        let loaded = next.and_then(|First { mut model, weights }| {
            let weights = match weights {
                Some(weights) => Some(weights),
                None => platform.load(&mut model, console)?,
            };
            Ok(weights.map(|weights| (model, weights)))
        });
        let (model, weights) = match loaded {
            Ok(Some(loaded)) => loaded,
            none => {
                // Whoever has pressed a key is there.
                let awaited = none.is_err().then(|| platform.awaited()).flatten();
                match none {
                    Err(sentence) => complain(console, &sentence),
                    Ok(_) => note(console, "Stopped by a key."),
                }
                // What was asked for was asked for that model.
                state.settings.prompt = None;
                state.is_timed = false;
                match other(before.take(), awaited, console, platform)? {
                    Some(model) => next = model.map(First::unread),
                    None => return Ok(()),
                }
                continue;
            }
        };
        platform.runs(Some(&model));
        let wanted = converse(&model, &weights, state, console, platform, computing);
        // Its memory is the next one's.
        drop(weights);
        platform.runs(None);
        match wanted {
            Ok(Some(wanted)) => next = Ok(First::unread(wanted)),
            Ok(None) => return Ok(()),
            // There is no memory for its session.
            Err(sentence) => {
                next = Err(sentence);
                continue;
            }
        }
        before = Some(model);
    }
}

impl First {
    /// A model whose weights have not been read.
    pub fn unread(model: OpenModel) -> First {
        First {
            model,
            weights: None,
        }
    }
}

fn complain(console: &mut dyn Console, sentence: &str) {
    let line = one_line(&format!("error: {sentence}"));
    let line = short(&line, SENTENCE);
    console.record(&line);
    console.show(Style::Error, &format!("{line}\n"));
}

/// Another model, if one could not be had: the one before, or one that is chosen, or, if nobody
/// presses a key, the one that is awaited; `None` if none is.
///
/// # Errors
/// There is none that could be run.
fn other(
    before: Option<OpenModel>,
    awaited: Option<String>,
    console: &mut dyn Console,
    platform: &mut dyn Platform,
) -> Result<Option<Result<OpenModel, String>>, String> {
    if let Some(before) = before {
        note(console, &format!("Going back to {}.", before.name));
        return Ok(Some(platform.open(&before.id, 0)));
    }
    let entries = platform.models();
    let usable = entries.iter().position(|entry| entry.trouble.is_none());
    let usable = usable.ok_or("there is no model that this machine could run")?;
    let is_awaited = |entry: &ModelEntry| Some(&entry.id) == awaited.as_ref();
    let awaited = entries.iter().position(is_awaited);
    let countdown = awaited.map(|_| AGAIN);
    let selected = awaited.unwrap_or(usable);
    let chosen = menu::choose(&entries, selected, countdown, platform.clock(), console);
    // As the menu says.
    let chosen = chosen.or(countdown.map(|_| usable));
    Ok(chosen.map(|chosen| platform.open(&entries[chosen].id, 0)))
}

/// Holds conversations with a model until its user leaves or wants another one.
fn converse(
    model: &OpenModel,
    weights: &Model,
    state: &mut State,
    console: &mut dyn Console,
    platform: &mut dyn Platform,
    computing: &Computing<'_>,
) -> Result<Option<OpenModel>, String> {
    let about = about(model);
    let format = model.checkpoint.format;
    loop {
        let mut parts = platform.service(model);
        let mut session = loop {
            let others = parts.as_ref().map_or(0, ServiceParts::sequences);
            let options = Options {
                sequences: 1 + others,
                positions: Some(model.context.positions()),
                kv: model.context.kv(),
                ..computing.options
            };
            // Memory may be free, but in pieces: then there is room for fewer.
            match (Session::new(weights, options), &mut parts) {
                (Ok(session), _) => break session,
                (Err(_), Some(few)) if few.slots > 1 => few.slots /= 2,
                (Err(_), Some(_)) => {
                    note(console, "Not serving: there is no memory for it.");
                    parts = None;
                }
                (Err(error), None) => return Err(format!("{}: {error}", model.file)),
            }
        };
        state.forget_cache();
        let service = parts.map(|parts| Service::new(parts, &model.tokenizer, &session));
        let mut loaded = Loaded {
            id: &model.id,
            name: &model.name,
            session: &mut session,
            tokenizer: &model.tokenizer,
            mode: RunMode::decide(state.settings.mode, format, &model.tokenizer),
            about: &about,
            service,
        };
        loop {
            match run_session(&mut loaded, state, console, platform) {
                Next::Exit => return Ok(None),
                Next::Bench => break close(&mut loaded),
                Next::Power(power) => {
                    let sentence = platform.power(power);
                    complain(console, &sentence);
                }
                // Refused while the old one is still there.
                Next::Model(id) => match platform.open(&id, model.context.memory().total()) {
                    Ok(wanted) => {
                        close(&mut loaded);
                        return Ok(Some(wanted));
                    }
                    Err(sentence) => complain(console, &sentence),
                },
            }
        }
        drop(session);
        let subject = BenchModel::of(model, weights);
        if let Err(error) = bench::run(&subject, None, console, platform, computing) {
            complain(console, &format!("{}: {error}", model.file));
        }
    }
}

/// Ends what a server does with a session that goes.
fn close(loaded: &mut Loaded<'_, '_>) {
    if let Some(service) = &mut loaded.service {
        service.close();
    }
}

/// Facts about a model: names and values.
fn about(model: &OpenModel) -> Vec<(String, String)> {
    let checkpoint = &model.checkpoint;
    [
        ("format", checkpoint.format.to_string()),
        ("type", catalogue::kind(checkpoint)),
        ("parameters", Grouped(checkpoint.parameters()).to_string()),
        ("file", format!("{} bytes", Grouped(model.source.size()))),
        ("shape", checkpoint::describe(&checkpoint.config)),
        (
            "needs",
            format!("{} of memory", Bytes(model.context.memory().total())),
        ),
        ("length", model.context.to_string()),
    ]
    .map(|(name, value)| (name.into(), value))
    .into()
}
