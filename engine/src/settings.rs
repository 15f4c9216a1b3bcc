//! Settings of a run, with run.c's adjustments; where nothing is set, a default is
//! chosen later.

use alloc::{format, string::String, vec::Vec};

pub use llama2_settings::{Choice, Mode, Think};
use llama2_settings::{Overrides, Param, ParamValue};

use crate::{sampler::SamplerOverrides, session::KvType};

/// What a user wishes of a run; `None` where he is silent, and a default is taken.
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
    /// What is done with it.
    pub mode: Mode,
    /// Chat's system prompt.
    pub system: Option<String>,
    /// Strings that end a text where the model says them.
    pub stops: Vec<String>,
    /// What becomes of thoughts.
    pub think: Think,
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
            Param::Mode => self.mode = one.choice(param).unwrap_or_default(),
            Param::System => self.system = text(),
            Param::Stop => self.stops = one.texts(param).cloned().unwrap_or_default(),
            Param::Think => self.think = one.choice(param).unwrap_or_default(),
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

    /// A sentence where [`Settings::steps_for`] gives fewer steps than were asked for.
    pub fn steps_said(&self, seq_len: usize) -> Option<String> {
        let steps = self.steps?;
        let fewer = usize::try_from(steps).map_or(steps > 0, |steps| steps > seq_len);
        fewer.then(|| {
            format!("{steps} steps are more than the model's context holds: taking {seq_len}")
        })
    }

    /// The number of steps for a context of `seq_len` positions: 0 and more than that are all of
    /// it. Without a wish it is run.c's number, or in a `dialog` of llama.cpp's kind
    /// [`ANSWER_STEPS`].
    pub fn steps_for(&self, seq_len: usize, dialog: bool) -> usize {
        let default = if dialog { ANSWER_STEPS } else { RUN_C_STEPS };
        match usize::try_from(self.steps.unwrap_or(default)) {
            Ok(steps @ 1..) => steps.min(seq_len),
            _ => seq_len,
        }
    }
}

/// The type of keys and values that is asked for.
pub fn kv_type(overrides: &Overrides) -> KvType {
    let name = overrides.text(Param::Kv);
    name.and_then(|name| name.parse().ok()).unwrap_or_default()
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
            let wishes = SamplerOverrides::default()
                .with(Param::Temperature, temperature)
                .with(Param::TopP, top_p);
            let (settings, said) = adjusted(|s| s.sampling = wishes.clone());
            assert_eq!((settings.sampling, said), (wishes, 0));
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
            assert_eq!(settings.steps_for(512, false), taken, "{steps}");
            assert_eq!(settings.steps_for(512, true), taken, "{steps}");
            assert_eq!(settings.steps_said(512).is_some(), said, "{steps}");
        }
        let silent = Settings::default();
        assert_eq!(silent.steps_for(512, false), 256, "run.c's default");
        assert_eq!(silent.steps_for(512, true), 512);
        assert_eq!(
            silent.steps_for(8192, true),
            1024,
            "small models go round in circles"
        );
        assert_eq!(silent.steps_said(100), None);
    }
}
