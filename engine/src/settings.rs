//! What a user can set about a run, with run.c's defaults and run.c's adjustments.

use alloc::{format, string::String, vec::Vec};

/// What is done with the prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Go on from it.
    #[default]
    Generate,
    /// Answer it, turn by turn, in Llama 2's chat template.
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
                "temperature {} is below 0: taking 0, the likeliest token each time",
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
                "{} steps are below 0: taking as many as the model's context has",
                self.steps
            ));
            self.steps = 0;
        }
        if self.seed == Some(0) {
            self.seed = None;
        }
        said
    }

    /// The number of steps for a context of `seq_len` positions: 0 and more than that are all of it.
    pub fn steps_for(&self, seq_len: usize) -> usize {
        match usize::try_from(self.steps) {
            Ok(steps @ 1..) => steps.min(seq_len),
            _ => seq_len,
        }
    }
}
