//! Sampler parameters set by the user, and the choice between the two samplers.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use llama2_settings::{Overrides, Param, TABLE};

use super::{Sampler, SamplerParams, chain};
use crate::run_mode::RunMode;

/// Sampler parameters set by the user; the others have their defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOverrides {
    numbers: [Option<f32>; TABLE.len()],
    /// Values added to the logits of these tokens.
    pub bias: Option<Vec<(u32, f32)>>,
}

impl Default for SamplerOverrides {
    fn default() -> SamplerOverrides {
        SamplerOverrides {
            numbers: [None; TABLE.len()],
            bias: None,
        }
    }
}

impl From<&Overrides> for SamplerOverrides {
    fn from(overrides: &Overrides) -> SamplerOverrides {
        let mut own = SamplerOverrides::default();
        for (param, _) in Param::samplers() {
            own.set(param, overrides.number(param));
        }
        own.bias = overrides.biases(Param::LogitBias).cloned();
        own
    }
}

impl SamplerOverrides {
    /// Value that the user set, if any.
    pub fn get(&self, param: Param) -> Option<f32> {
        self.numbers[param as usize]
    }

    /// Sets a parameter, or resets it to its default. [`SamplerConfig::check`] checks its range.
    pub fn set(&mut self, param: Param, value: Option<f32>) {
        self.numbers[param as usize] = value;
    }

    /// Sets a parameter.
    pub fn with(mut self, param: Param, value: f32) -> SamplerOverrides {
        self.set(param, Some(value));
        self
    }

    /// Adds a bias.
    pub fn with_bias(mut self, token: u32, bias: f32) -> SamplerOverrides {
        self.bias.get_or_insert_default().push((token, bias));
        self
    }

    /// Corrects temperature and top-p if they are out of range, as run.c's `main` does. Returns a
    /// sentence for each correction.
    pub fn adjust(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(wanted) = self.get(Param::Temperature)
            && (!wanted.is_finite() || wanted < 0.0)
        {
            let wrong = match wanted == f32::INFINITY {
                true => "is not a valid divisor",
                false => "is not 0 or more",
            };
            said.push(format!(
                "temperature {wanted} {wrong}: taking 0, the most likely token each time"
            ));
            self.set(Param::Temperature, Some(0.0));
        }
        if let Some(wanted) = self.get(Param::TopP)
            && !(0.0..=1.0).contains(&wanted)
        {
            said.push(format!(
                "top-p {wanted} is outside of 0 to 1: taking {RUN_C_TOP_P}"
            ));
            self.set(Param::TopP, Some(RUN_C_TOP_P));
        }
        said
    }

    /// Chooses the sampler. Dialogs, as in llama.cpp, use its samplers with its defaults.
    /// Everything else uses run.c's sampler and defaults, unless a parameter that run.c lacks was
    /// changed; then llama.cpp's samplers are used, with only the changed ones active.
    pub fn drawing(&self, mode: RunMode) -> SamplerConfig {
        let is_dialog = mode == RunMode::Dialog;
        let base = SamplerParams::from_defaults(|defaults| match is_dialog {
            true => defaults.llama_cpp,
            false => defaults.run_c,
        });
        let sampling = self.onto(&base);
        let (temperature, top_p) = (sampling[Param::Temperature], sampling[Param::TopP]);
        let plain = base
            .with(Param::Temperature, temperature)
            .with(Param::TopP, top_p);
        if !is_dialog && sampling == plain {
            SamplerConfig::RunC { temperature, top_p }
        } else {
            SamplerConfig::LlamaCpp(sampling)
        }
    }

    fn onto(&self, base: &SamplerParams) -> SamplerParams {
        let mut sampling = base.clone();
        for (param, _) in Param::samplers() {
            sampling[param] = self.get(param).unwrap_or(base[param]);
        }
        sampling.bias = self.bias.clone().unwrap_or_default();
        sampling
    }
}

/// run.c's default, which also replaces values that are out of range.
const RUN_C_TOP_P: f32 = 0.9;

/// Sampler to use, with its parameters.
#[expect(clippy::large_enum_variant, reason = "there is one for each text")]
#[derive(Debug, Clone, PartialEq)]
pub enum SamplerConfig {
    /// run.c's sampler.
    RunC {
        /// Divisor of the logits; 0 picks the most likely token.
        temperature: f32,
        /// Total probability of the most likely tokens to sample from.
        top_p: f32,
    },
    /// llama.cpp's samplers.
    LlamaCpp(SamplerParams),
}

impl SamplerConfig {
    /// Checks that every number is in its range, for a vocabulary of `vocab_size`.
    ///
    /// # Errors
    /// A sentence that names the parameter and its range.
    pub fn check(&self, vocab_size: usize) -> Result<(), String> {
        match self {
            // Adjusted, as by run.c.
            SamplerConfig::RunC { .. } => Ok(()),
            SamplerConfig::LlamaCpp(sampling) => sampling.check(vocab_size),
        }
    }

    /// Says if the most likely token is always picked.
    pub fn is_greedy(&self) -> bool {
        match self {
            SamplerConfig::RunC { temperature, .. } => *temperature == 0.0,
            SamplerConfig::LlamaCpp(sampling) => sampling.is_greedy(),
        }
    }

    /// Value of a parameter that is in effect.
    pub fn get(&self, param: Param) -> f32 {
        match self {
            SamplerConfig::LlamaCpp(sampling) => sampling[param],
            SamplerConfig::RunC { temperature, top_p } => {
                SamplerParams::from_defaults(|defaults| defaults.run_c)
                    .with(Param::Temperature, *temperature)
                    .with(Param::TopP, *top_p)[param]
            }
        }
    }

    /// Creates the sampler for `vocab_size` logits.
    pub fn sampler(self, vocab_size: usize, seed: u64) -> Sampler {
        match self {
            SamplerConfig::RunC { temperature, top_p } => {
                Sampler::new(vocab_size, temperature, top_p, seed)
            }
            SamplerConfig::LlamaCpp(sampling) => Sampler::with(vocab_size, sampling, seed),
        }
    }
}

/// Lists the parameters that have an effect: `temperature 0.8, top-k 40, top-p 0.95, min-p 0.05`.
impl fmt::Display for SamplerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sampling = match self {
            SamplerConfig::RunC { temperature, .. } if *temperature == 0.0 => {
                return write!(f, "the most likely token each time (temperature 0)");
            }
            SamplerConfig::RunC { temperature, top_p } => {
                return write!(f, "temperature {temperature}, top-p {top_p}");
            }
            SamplerConfig::LlamaCpp(sampling) => sampling,
        };
        let greedy = sampling.is_greedy();
        if greedy {
            write!(f, "the most likely token each time (temperature 0)")?;
        } else {
            write!(f, "temperature {}", sampling[Param::Temperature])?;
        }
        // Filters have no effect on the most likely token, and Mirostat replaces them and all else.
        let filters = chain::FILTERS;
        let miro = sampling[Param::Mirostat] != 0.0;
        let is_said = |param: &Param| match param {
            Param::Temperature | Param::RepeatLastN => false,
            Param::MirostatTau | Param::MirostatEta => miro,
            Param::XtcThreshold => !miro && sampling[Param::XtcProbability] > 0.0,
            Param::DynatempExponent => !miro && sampling[Param::DynatempRange] > 0.0,
            Param::Mirostat => true,
            param => !miro && !filters.contains(param),
        };
        let others = Param::samplers().map(|(param, _)| param).filter(is_said);
        let filters = filters.into_iter().filter(|_| !greedy && !miro);
        for param in filters.chain(others) {
            let (spec, value) = (param.spec(), sampling[param]);
            if !spec.is_special(value) {
                write!(f, ", {} {value}", spec.said_as())?;
            }
        }
        match sampling.bias.len() {
            0 => Ok(()),
            1 => write!(f, ", 1 bias"),
            biases => write!(f, ", {biases} biases"),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn run_c_draws_as_long_as_only_its_own_knobs_are_set() {
        let none = SamplerOverrides::default();
        assert_eq!(
            none.drawing(RunMode::Story),
            SamplerConfig::RunC {
                temperature: 1.0,
                top_p: 0.9
            }
        );
        assert_eq!(
            none.drawing(RunMode::Dialog),
            SamplerConfig::LlamaCpp(SamplerParams::default()),
            "llama.cpp's defaults in its own dialogs"
        );
        let own = none.clone().with(Param::Temperature, 0.5);
        let own = own.with(Param::TopP, 0.7);
        let want = SamplerConfig::RunC {
            temperature: 0.5,
            top_p: 0.7,
        };
        assert_eq!(own.drawing(RunMode::Story), want);
        // What does nothing changes nothing.
        assert_eq!(
            own.clone().with(Param::TopK, 0.0).drawing(RunMode::Story),
            want
        );
        for (param, _) in Param::samplers().skip(2) {
            let value = if param == Param::TopK { 3.0 } else { 0.25 };
            let drawing = own.clone().with(param, value).drawing(RunMode::Story);
            let SamplerConfig::LlamaCpp(sampling) = drawing else {
                panic!("{param:?}");
            };
            let own = (sampling[Param::Temperature], sampling[Param::TopP]);
            assert_eq!(own, (0.5, 0.7));
            // Only the values that were set.
            assert_eq!(
                (sampling[Param::TopK] == 3.0, sampling[Param::MinP] == 0.25),
                (param == Param::TopK, param == Param::MinP)
            );
        }
        let biased = none.clone().with_bias(3, 1.0);
        assert!(matches!(
            biased.drawing(RunMode::Story),
            SamplerConfig::LlamaCpp(_)
        ));
        assert_eq!(
            none.drawing(RunMode::Dialog).to_string(),
            "temperature 0.8, top-k 40, top-p 0.95, min-p 0.05"
        );
        assert_eq!(
            none.clone()
                .with(Param::Temperature, 0.0)
                .with(Param::PresencePenalty, 0.5)
                .drawing(RunMode::Dialog)
                .to_string(),
            "the most likely token each time (temperature 0), presence penalty 0.5"
        );
        assert_eq!(
            none.drawing(RunMode::Story).to_string(),
            "temperature 1, top-p 0.9"
        );
    }
}
