//! Settings of a run, with run.c's adjustments; where nothing is set, a default is
//! chosen later.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

pub use llama2_settings::{Choice, Mode, Switch, Think};
use llama2_settings::{Overrides, Param, ParamValue, date};

use crate::{
    chat::{Chat, ChatTemplate, DateTime},
    generate::{PromptError, Sequence},
    run_mode::RunMode,
    sampler::{Sampler, SamplerOverrides},
    session::KvType,
    speculation::Speculation,
    tokenizer::Tokenizer,
};

/// Settings of a run; `None` means the default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// How tokens are drawn.
    pub sampling: SamplerOverrides,
    /// Seed of the generator; `None`: the shell draws one.
    pub seed: Option<u64>,
    /// run.c's steps: positions to run for; in a dialog of llama.cpp's kind, most tokens of an
    /// answer. 0: as many as the context holds.
    pub steps: Option<i64>,
    /// The text to begin with.
    pub prompt: Option<Vec<u8>>,
    /// Story or chat; `None`: as the model is made, see [`RunMode::decide`].
    pub mode: Option<Mode>,
    /// Chat's system prompt.
    pub system: Option<String>,
    /// Strings that end a text where the model says them.
    pub stops: Vec<String>,
    /// What becomes of thoughts.
    pub think: Think,
    /// Year, month and day that chat templates are told; `None`: the clock's.
    pub date: Option<(u16, u8, u8)>,
    /// Markdown in answers is laid out where people see them.
    pub markdown: Switch,
    /// An answer that repeats itself without end is ended.
    pub repeat_guard: Switch,
}

impl From<&Overrides> for Settings {
    fn from(overrides: &Overrides) -> Settings {
        let mut settings = Settings::default();
        for (spec, value) in overrides.iter() {
            settings.set(spec.param, Some(value.clone()));
        }
        settings
    }
}

impl Settings {
    /// Takes over a parameter's value; `None` brings back what holds without one.
    pub fn set(&mut self, param: Param, value: Option<ParamValue>) {
        let one = value.map(|value| Overrides::default().with(param, value));
        let one = one.unwrap_or_default();
        let text = || one.text(param).map(String::from);
        match param {
            Param::Seed => {
                let seed = one.whole(param).map(|seed| seed as u64);
                self.seed = seed.filter(|&seed| seed != 0);
            }
            Param::Steps => self.steps = one.whole(param),
            Param::Prompt => self.prompt = text().map(String::into_bytes),
            Param::Mode => self.mode = one.choice(param),
            Param::System => self.system = text(),
            Param::Stop => self.stops = one.texts(param).cloned().unwrap_or_default(),
            Param::Think => self.think = one.choice(param).unwrap_or_default(),
            Param::Date => self.date = one.text(param).and_then(date),
            Param::Markdown => self.markdown = one.choice(param).unwrap_or_default(),
            Param::RepeatGuard => self.repeat_guard = one.choice(param).unwrap_or_default(),
            Param::LogitBias => {
                let biases = one.biases(param).filter(|biases| !biases.is_empty());
                self.sampling.bias = biases.cloned();
            }
            sampler => self.sampling.set(sampler, one.number(sampler)),
        }
    }

    /// A parameter's value, where it is not what holds without one.
    pub fn get(&self, param: Param) -> Option<ParamValue> {
        match param {
            Param::Seed => self.seed.map(|seed| ParamValue::Whole(seed as i64)),
            Param::Steps => self.steps.map(ParamValue::Whole),
            Param::System => self.system.clone().map(ParamValue::Text),
            Param::Stop if self.stops.is_empty() => None,
            Param::Stop => Some(ParamValue::Texts(self.stops.clone())),
            Param::Think if self.think == Think::default() => None,
            Param::Think => Some(ParamValue::Word(self.think.name())),
            Param::Date => self.date.map(|(year, month, day)| {
                ParamValue::Text(format!("{year:04}-{month:02}-{day:02}"))
            }),
            Param::Markdown if self.markdown == Switch::default() => None,
            Param::Markdown => Some(ParamValue::Word(self.markdown.name())),
            Param::RepeatGuard if self.repeat_guard == Switch::default() => None,
            Param::RepeatGuard => Some(ParamValue::Word(self.repeat_guard.name())),
            Param::LogitBias => self.sampling.bias.clone().map(ParamValue::Biases),
            sampler => self.sampling.get(sampler).map(ParamValue::Number),
        }
    }

    /// Puts out-of-range values right as run.c's `main` does, and says so: a sentence for each.
    pub fn adjust(&mut self) -> Vec<String> {
        let mut said = self.sampling.adjust();
        if let Some(steps) = self.steps.filter(|&steps| steps < 0) {
            said.push(format!(
                "{steps} steps are below 0: taking as many as the model's context holds"
            ));
            self.steps = Some(0);
        }
        if self.seed == Some(0) {
            self.seed = None;
        }
        said
    }

    /// The prompt as text.
    pub fn prompt_text(&self) -> Option<String> {
        let prompt = self.prompt.as_deref()?;
        Some(String::from_utf8_lossy(prompt).into_owned())
    }

    /// The number of steps that were asked for, if [`Settings::steps_for`] gives fewer.
    pub fn steps_beyond(&self, seq_len: usize) -> Option<i64> {
        let is_more = |&steps: &i64| usize::try_from(steps).map_or(steps > 0, |s| s > seq_len);
        self.steps.filter(is_more)
    }

    /// The number of steps for a context of `seq_len` positions: 0 and more than that are all of
    /// it. By default run.c's number, in a dialogue [`ANSWER_STEPS`].
    pub fn steps_for(&self, seq_len: usize, mode: RunMode) -> usize {
        let default = match mode {
            RunMode::Dialog => ANSWER_STEPS,
            RunMode::Story | RunMode::Llama2Chat => RUN_C_STEPS,
        };
        match usize::try_from(self.steps.unwrap_or(default)) {
            Ok(steps @ 1..) => steps.min(seq_len),
            _ => seq_len,
        }
    }

    /// The story that is asked for, in a context of `seq_len`.
    ///
    /// # Errors
    /// [`PromptError`] if its prompt cannot be run.
    pub fn story(
        &self,
        tokenizer: &Tokenizer,
        seq_len: usize,
        sampler: Sampler,
    ) -> Result<Sequence, PromptError> {
        let steps = self.steps_for(seq_len, RunMode::Story);
        let prompt = self.prompt.as_deref().unwrap_or_default();
        let mut story = Sequence::story(tokenizer, prompt, steps, seq_len, sampler)?;
        story.set_stops(&self.stops);
        Ok(story)
    }

    /// The conversation that is asked for, in a context of `seq_len`, which begins `now`.
    ///
    /// # Errors
    /// [`PromptError`] if its first turn could not be run. Without a prompt there is nothing that a
    /// template could refuse but the system prompt.
    pub fn chat(
        &self,
        tokenizer: &Tokenizer,
        mode: RunMode,
        seq_len: usize,
        now: DateTime,
    ) -> Result<Chat, PromptError> {
        let mut chat = Chat::new(tokenizer, mode, self.steps_for(seq_len, mode), seq_len);
        chat.sequence_mut().set_stops(&self.stops);
        chat.set_thinking(self.think != Think::Off);
        let day = |(year, month, day)| DateTime {
            year,
            month,
            day,
            ..now
        };
        chat.set_date(self.date.map_or(now, day));
        chat.sequence_mut()
            .set_repeat_guard(self.repeat_guard == Switch::On);
        // Only tried: the system prompt may still be asked for.
        let system = self.system.as_deref().unwrap_or_default();
        let user = self.prompt_text().unwrap_or_default();
        match chat.fits(tokenizer, system, &user) {
            Err(PromptError::Template(_))
                if self.prompt.is_none() && chat.fits(tokenizer, "", &user).is_err() =>
            {
                Ok(chat)
            }
            outcome => outcome.map(|()| chat),
        }
    }

    /// Tells whether the prompt can be run, before the weights are read.
    ///
    /// # Errors
    /// As [`Settings::story`] and [`Settings::chat`].
    pub fn check_prompt(
        &self,
        tokenizer: &Tokenizer,
        mode: RunMode,
        seq_len: usize,
        now: DateTime,
    ) -> Result<(), PromptError> {
        match mode {
            RunMode::Story => {
                let sampler = Sampler::new(0, 0.0, 0.0, 1);
                self.story(tokenizer, seq_len, sampler).map(drop)
            }
            _ => self.chat(tokenizer, mode, seq_len, now).map(drop),
        }
    }

    /// Remarks to the user before it begins.
    pub fn remarks(&self, tokenizer: &Tokenizer, mode: RunMode, seq_len: usize) -> Vec<Remark> {
        let steps = self.steps_beyond(seq_len);
        let mut remarks: Vec<Remark> = steps
            .map(|steps| Remark::Steps { steps, seq_len })
            .into_iter()
            .collect();
        match ChatTemplate::of_tokenizer(tokenizer) {
            _ if mode != RunMode::Dialog => (),
            Some(template) => {
                if let Some(fault) = template.fault() {
                    remarks.push(Remark::BadTemplate(fault.to_string()));
                }
                if self.think == Think::Off && !template.thinks() {
                    remarks.push(Remark::CannotThinkLess);
                }
            }
            None => {
                remarks.push(Remark::NoTemplate);
                if self.system.as_ref().is_some_and(|s| !s.is_empty()) {
                    remarks.push(Remark::NoSystemPrompt);
                }
            }
        }
        remarks
    }
}

/// Fact that a user should know before a run begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remark {
    /// More steps were asked for than the context holds.
    Steps {
        /// Steps asked for.
        steps: i64,
        /// Positions of the context, which are taken.
        seq_len: usize,
    },
    /// The chat template cannot be used, for this reason: chatml's is taken.
    BadTemplate(String),
    /// The chat template has no way to say that the model is not to think.
    CannotThinkLess,
    /// The file has no chat template: the model continues what is typed.
    NoTemplate,
    /// Without a chat template there is no place for a system prompt.
    NoSystemPrompt,
}

/// The type of keys and values that is asked for.
pub fn kv_type(overrides: &Overrides) -> KvType {
    let name = overrides.text(Param::Kv);
    name.and_then(|name| name.parse().ok()).unwrap_or_default()
}

/// How tokens are guessed, by this clock (nanoseconds), unless that is switched off.
pub fn speculation(overrides: &Overrides, clock: fn() -> u64) -> Speculation {
    match overrides.choice(Param::Speculation).unwrap_or_default() {
        Switch::On => Speculation::Measured(clock),
        Switch::Off => Speculation::Off,
    }
}

/// Most tokens of an answer where nobody says another number: small models go round in circles
/// until their context is full.
pub const ANSWER_STEPS: i64 = 1024;
/// run.c's default.
const RUN_C_STEPS: i64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes settings, adjusts them, and tells how many sentences that took.
    fn adjusted(change: impl Fn(&mut Settings)) -> (Settings, usize) {
        let mut settings = Settings::default();
        change(&mut settings);
        let said = settings.adjust();
        assert!(said.iter().all(|sentence| sentence.contains(": taking ")));
        (settings, said.len())
    }

    #[test]
    fn run_c_s_defaults_need_no_adjustment() {
        let (settings, said) = adjusted(|_| ());
        assert_eq!((settings, said), (Settings::default(), 0));
        for (temperature, top_p) in [(0.0, 0.0), (-0.0, 1.0), (5.0, 0.5)] {
            let overrides = SamplerOverrides::default()
                .with(Param::Temperature, temperature)
                .with(Param::TopP, top_p);
            let (settings, said) = adjusted(|s| s.sampling = overrides.clone());
            assert_eq!((settings.sampling, said), (overrides, 0));
        }
    }

    #[test]
    fn what_is_out_of_range_is_put_right_and_said() {
        for temperature in [-1.0, -1e-30, f32::NEG_INFINITY, f32::NAN] {
            let (settings, said) =
                adjusted(|s| s.sampling.set(Param::Temperature, Some(temperature)));
            let taken = settings.sampling.get(Param::Temperature);
            assert_eq!((taken, said), (Some(0.0), 1), "{temperature}");
        }
        for top_p in [-0.1, 1.1, f32::INFINITY, f32::NAN] {
            let (settings, said) = adjusted(|s| s.sampling.set(Param::TopP, Some(top_p)));
            let taken = settings.sampling.get(Param::TopP);
            assert_eq!((taken, said), (Some(0.9), 1), "{top_p}");
        }
        let (settings, said) = adjusted(|s| s.steps = Some(i64::MIN));
        assert_eq!((settings.steps, said), (Some(0), 1));
        let (settings, said) = adjusted(|s| s.seed = Some(0));
        assert_eq!((settings.seed, said), (None, 0), "0 asks for a random seed");
    }

    #[test]
    fn steps_end_at_the_context() {
        for (steps, taken, said) in [
            (0, 512, false),
            (1, 1, false),
            (512, 512, false),
            (513, 512, true),
            (i64::MAX, 512, true),
            (-1, 512, false),
        ] {
            let settings = Settings {
                steps: Some(steps),
                ..Settings::default()
            };
            assert_eq!(settings.steps_for(512, RunMode::Story), taken, "{steps}");
            assert_eq!(settings.steps_for(512, RunMode::Dialog), taken, "{steps}");
            assert_eq!(settings.steps_beyond(512).is_some(), said, "{steps}");
        }
        let silent = Settings::default();
        assert_eq!(
            silent.steps_for(512, RunMode::Story),
            256,
            "run.c's default"
        );
        assert_eq!(silent.steps_for(512, RunMode::Dialog), 512);
        assert_eq!(
            silent.steps_for(8192, RunMode::Dialog),
            1024,
            "small models go round in circles"
        );
        assert_eq!(silent.steps_beyond(100), None);
    }
}
