//! What a user can set about a run, with run.c's defaults and run.c's adjustments.

use alloc::{format, string::String, vec::Vec};

/// What is done with the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Go on from it.
    #[default]
    Generate,
    /// Answer it, turn by turn: in the model's own template, or in Llama 2's for checkpoints of llama2.c.
    Chat,
}

/// run.c's options.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// 0 takes the likeliest token; 1 draws from the model's own distribution.
    pub temperature: f32,
    /// Draw from the likeliest tokens that make up this probability; 0 and 1: from all.
    pub top_p: f32,
    /// Seed of the generator; `None`: the shell draws one.
    pub seed: Option<u64>,
    /// Positions to run for; 0: the model's context.
    pub steps: i64,
    /// The text to begin with.
    pub prompt: Option<Vec<u8>>,
    /// What is done with it.
    pub mode: Mode,
    /// Chat's system prompt.
    pub system: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            temperature: 1.0,
            top_p: 0.9,
            seed: None,
            steps: 256,
            prompt: None,
            mode: Mode::Generate,
            system: None,
        }
    }
}

impl Settings {
    /// Puts out-of-range values right as run.c's `main` does, and says so: a sentence for each.
    pub fn adjust(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        if self.temperature.is_nan() || self.temperature < 0.0 {
            said.push(format!(
                "temperature {} is not 0 or more: taking 0, the likeliest token each time",
                self.temperature
            ));
            self.temperature = 0.0;
        }
        if !(0.0..=1.0).contains(&self.top_p) {
            said.push(format!(
                "top-p {} is outside of 0 to 1: taking 0.9",
                self.top_p
            ));
            self.top_p = 0.9;
        }
        if self.steps < 0 {
            said.push(format!(
                "{} steps are below 0: taking as many as the model's context holds",
                self.steps
            ));
            self.steps = 0;
        }
        if self.seed == Some(0) {
            self.seed = None;
        }
        said
    }

    /// A sentence where [`Settings::steps_for`] gives fewer steps than were asked for.
    pub fn steps_said(&self, seq_len: usize) -> Option<String> {
        let fewer = usize::try_from(self.steps).map_or(self.steps > 0, |steps| steps > seq_len);
        fewer.then(|| {
            format!(
                "{} steps are more than the model's context holds: taking {seq_len}",
                self.steps
            )
        })
    }

    /// The number of steps for a context of `seq_len` positions: 0 and more than that are all of it.
    pub fn steps_for(&self, seq_len: usize) -> usize {
        match usize::try_from(self.steps) {
            Ok(steps @ 1..) => steps.min(seq_len),
            _ => seq_len,
        }
    }
}

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
            let (settings, said) = adjusted(|s| (s.temperature, s.top_p) = (temperature, top_p));
            assert_eq!(
                (settings.temperature, settings.top_p, said),
                (temperature, top_p, 0)
            );
        }
    }

    #[test]
    fn what_is_out_of_range_is_put_right_and_said() {
        for temperature in [-1.0, -1e-30, f32::NEG_INFINITY, f32::NAN] {
            let (settings, said) = adjusted(|s| s.temperature = temperature);
            assert_eq!((settings.temperature, said), (0.0, 1), "{temperature}");
        }
        for top_p in [-0.1, 1.1, f32::INFINITY, f32::NAN] {
            let (settings, said) = adjusted(|s| s.top_p = top_p);
            assert_eq!((settings.top_p, said), (0.9, 1), "{top_p}");
        }
        let (settings, said) = adjusted(|s| s.steps = i64::MIN);
        assert_eq!((settings.steps, said), (0, 1));
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
                steps,
                ..Settings::default()
            };
            assert_eq!(settings.steps_for(512), taken, "{steps}");
            assert_eq!(settings.steps_said(512).is_some(), said, "{steps}");
        }
    }
}
