//! Settings as commands show and set them and as files have them: those that are in force.

use alloc::{string::String, vec::Vec};

use llama2_console::commands::Command;
use llama2_engine::{
    run_mode::RunMode,
    settings::{ANSWER_STEPS, Choice, Settings},
};
use llama2_settings::{Domain, Overrides, Param, ParamValue, TABLE};

/// Steps of a story, where nobody says another number: most have come to their end by then.
/// (run.c's number, 256, is for whoever wants just run.c's text.)
pub const STORY_STEPS: usize = 512;

/// Steps of a reply in a context of `seq_len` positions.
pub fn steps(settings: &Settings, mode: RunMode, seq_len: usize) -> usize {
    match settings.steps {
        None if mode != RunMode::Dialog => STORY_STEPS.min(seq_len),
        _ => settings.steps_for(seq_len, mode),
    }
}

/// The settings that are in force, in this mode.
pub fn shown(settings: &Settings, mode: RunMode) -> Overrides {
    let drawing = settings.sampling.drawing(mode);
    let mut shown = Overrides::default();
    for spec in TABLE.iter().filter(|spec| !spec.saved.is_empty()) {
        let usual = match (spec.param, spec.domain) {
            (Param::Seed, _) => ParamValue::Whole(0),
            (Param::Steps, _) if mode == RunMode::Dialog => ParamValue::Whole(ANSWER_STEPS),
            (Param::Steps, _) => ParamValue::Whole(STORY_STEPS as i64),
            (Param::Think, _) => ParamValue::Word(settings.think.name()),
            (Param::Markdown, _) => ParamValue::Word(settings.markdown.name()),
            (Param::RepeatGuard, _) => ParamValue::Word(settings.repeat_guard.name()),
            (_, Domain::Texts) => ParamValue::Texts(Vec::new()),
            (_, Domain::Biases) => ParamValue::Biases(Vec::new()),
            (sampler, _) => ParamValue::Number(drawing.get(sampler)),
        };
        shown.set(spec.param, settings.get(spec.param).unwrap_or(usual));
    }
    shown
}

/// Does what a command says about the settings, and tells how things are now; `None` if it is about
/// something else.
pub fn apply(settings: &mut Settings, mode: RunMode, command: &Command) -> Option<String> {
    let mut shown = shown(settings, mode);
    let said = llama2_console::settings::apply(&mut shown, command)?;
    if let Command::Setting { to, .. } = command {
        for (param, _) in to {
            settings.set(*param, shown.take(*param));
        }
    }
    Some(said)
}

/// Takes over the settings that a conversation was saved with; others stay as they are. What is the
/// model's default stays one: another model has others.
pub fn restore(settings: &mut Settings, saved: &Overrides, mode: RunMode) {
    let usual = shown(&Settings::default(), mode);
    for spec in TABLE.iter().filter(|spec| !spec.saved.is_empty()) {
        if let Some(value) = saved.get(spec.param) {
            let wanted = Some(value).filter(|value| Some(*value) != usual.get(spec.param));
            settings.set(spec.param, wanted.cloned());
        }
    }
}
