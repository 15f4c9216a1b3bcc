//! What commands show and set, as the engine has it: a wish for each knob, and defaults where there is none.

use alloc::string::String;

use llama2_console::{
    commands::{self, Command, Seed},
    settings::Settings as Shown,
};
use llama2_engine::{
    sampler::{Drawing, Knob, Sampling},
    settings::{ANSWER_STEPS, Settings, Think},
};

/// Steps of a story, where nobody says another number: most have come to their end by then. (run.c's number, 256, is for whoever wants just run.c's text.)
pub const STORY_STEPS: usize = 512;

/// Steps of a story in a context of so many positions.
pub fn story_steps(settings: &Settings, seq_len: usize) -> usize {
    match settings.steps {
        Some(_) => settings.steps_for(seq_len, false),
        None => STORY_STEPS.min(seq_len),
    }
}

/// The settings that are in force, for a dialog of llama.cpp's kind or not.
pub fn shown(settings: &Settings, dialog: bool) -> Shown {
    let sampling = match settings.sampling.drawing(dialog) {
        Drawing::RunC { temperature, top_p } => Sampling {
            temperature,
            top_p,
            top_k: 0,
            min_p: 0.0,
            ..Sampling::default()
        },
        Drawing::LlamaCpp(sampling) => sampling,
    };
    Shown {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        top_k: sampling.top_k,
        min_p: sampling.min_p,
        repeat_penalty: sampling.repeat,
        repeat_last_n: sampling.repeat_last,
        seed: settings.seed,
        max: match settings.steps {
            Some(steps) => usize::try_from(steps).unwrap_or(0),
            None if dialog => ANSWER_STEPS as usize,
            None => STORY_STEPS,
        },
        think: match settings.think {
            Think::Show => commands::Think::Show,
            Think::Hide => commands::Think::Hide,
            Think::Off => commands::Think::Off,
        },
        stop: settings.stops.clone(),
    }
}

fn think(think: commands::Think) -> Think {
    match think {
        commands::Think::Show => Think::Show,
        commands::Think::Hide => Think::Hide,
        commands::Think::Off => Think::Off,
    }
}

/// Does what a command says about the settings, and tells how things are now; `None` if it is about something else.
pub fn apply(settings: &mut Settings, dialog: bool, command: &Command) -> Option<String> {
    let mut shown = shown(settings, dialog);
    let said = shown.apply(command)?;
    let knobs = &mut settings.sampling;
    match command {
        Command::Temperature(Some(to)) => knobs.set(Knob::Temperature, Some(*to)),
        Command::TopP(Some(to)) => knobs.set(Knob::TopP, Some(*to)),
        Command::TopK(Some(to)) => knobs.set(Knob::TopK, Some(*to as f32)),
        Command::MinP(Some(to)) => knobs.set(Knob::MinP, Some(*to)),
        Command::Repeat(Some(to)) => {
            knobs.set(Knob::RepeatPenalty, Some(to.penalty));
            if let Some(last) = to.last {
                knobs.set(Knob::RepeatLastN, Some(last as f32));
            }
        }
        Command::Seed(Some(Seed::Random)) => settings.seed = None,
        Command::Seed(Some(Seed::Fixed(seed))) => settings.seed = Some(*seed),
        Command::Max(Some(most)) => settings.steps = Some(*most as i64),
        Command::Think(Some(to)) => settings.think = think(*to),
        Command::Stop(Some(_)) => settings.stops = shown.stop,
        _ => (),
    }
    Some(said)
}

/// Takes over the settings that a conversation was saved with. What is the model's default stays one: another model has others.
pub fn restore(settings: &mut Settings, saved: &Shown, dialog: bool) {
    let usual = shown(&Settings::default(), dialog);
    for (knob, value, usual) in [
        (Knob::Temperature, saved.temperature, usual.temperature),
        (Knob::TopP, saved.top_p, usual.top_p),
        (Knob::TopK, saved.top_k as f32, usual.top_k as f32),
        (Knob::MinP, saved.min_p, usual.min_p),
        (
            Knob::RepeatPenalty,
            saved.repeat_penalty,
            usual.repeat_penalty,
        ),
        (
            Knob::RepeatLastN,
            saved.repeat_last_n as f32,
            usual.repeat_last_n as f32,
        ),
    ] {
        let wished = (value != usual).then_some(value);
        settings.sampling.set(knob, wished);
    }
    settings.seed = saved.seed;
    settings.steps = (saved.max != usual.max).then_some(saved.max as i64);
    settings.think = think(saved.think);
    settings.stops.clone_from(&saved.stop);
}
