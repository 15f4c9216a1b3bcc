//! What is wished of the samplers, knob by knob, whoever asks; and which of the two draws.

use alloc::{format, string::String, vec::Vec};
use core::fmt;

use super::{MOST_REPEAT_LAST, Sampler, Sampling};

/// A number that can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knob {
    /// Divides the logits; 0 takes the likeliest token.
    Temperature,
    /// Keep the likeliest tokens that make up this probability.
    TopP,
    /// Keep so many of the likeliest tokens.
    TopK,
    /// Keep tokens at least this likely, measured by the likeliest.
    MinP,
    /// Keep the tokens nearest to the expected surprise that make up this probability.
    Typical,
    /// Divides the logits of tokens that were there.
    RepeatPenalty,
    /// Tokens back that the penalties look.
    RepeatLastN,
    /// Taken from a logit for each time that its token was there.
    FrequencyPenalty,
    /// Taken from a logit if its token was there.
    PresencePenalty,
}

impl Knob {
    /// All of them; a knob's place here is its number.
    pub const ALL: [Knob; 9] = [
        Knob::Temperature,
        Knob::TopP,
        Knob::TopK,
        Knob::MinP,
        Knob::Typical,
        Knob::RepeatPenalty,
        Knob::RepeatLastN,
        Knob::FrequencyPenalty,
        Knob::PresencePenalty,
    ];

    /// Its name, as options have it.
    pub fn name(self) -> &'static str {
        match self {
            Knob::Temperature => "temperature",
            Knob::TopP => "top_p",
            Knob::TopK => "top_k",
            Knob::MinP => "min_p",
            Knob::Typical => "typical",
            Knob::RepeatPenalty => "repeat_penalty",
            Knob::RepeatLastN => "repeat_last_n",
            Knob::FrequencyPenalty => "frequency_penalty",
            Knob::PresencePenalty => "presence_penalty",
        }
    }

    /// The knob of this name, whose words may be joined by `_` or `-`.
    pub fn named(name: &str) -> Option<Knob> {
        let same = |knob: &Knob| knob.name().bytes().eq(name.bytes().map(underscored));
        Knob::ALL.into_iter().find(same)
    }

    /// Whether it counts something.
    pub fn is_whole(self) -> bool {
        matches!(self, Knob::TopK | Knob::RepeatLastN)
    }

    /// Its least and its largest value, and both in words.
    fn range(self) -> (f32, f32, &'static str) {
        match self {
            Knob::Temperature => (0.0, f32::MAX, "a number of 0 or more"),
            Knob::TopP | Knob::MinP | Knob::Typical => (0.0, 1.0, "a number from 0 to 1"),
            // Above this not every whole number is a float; no vocabulary is that large.
            Knob::TopK => (0.0, 16_777_216.0, "a whole number from 0 to 16777216"),
            Knob::RepeatPenalty => (f32::MIN_POSITIVE, f32::MAX, "a number of more than 0"),
            Knob::RepeatLastN => (
                0.0,
                MOST_REPEAT_LAST as f32,
                "a whole number from 0 to 65536",
            ),
            Knob::FrequencyPenalty | Knob::PresencePenalty => {
                (-100.0, 100.0, "a number from -100 to 100")
            }
        }
    }

    /// Whether it may have this value.
    ///
    /// # Errors
    /// What it must be.
    pub fn check(self, value: f32) -> Result<(), &'static str> {
        let (least, most, words) = self.range();
        let whole = !self.is_whole() || libm::truncf(value) == value;
        if whole && (least..=most).contains(&value) {
            Ok(())
        } else {
            Err(words)
        }
    }
}

fn underscored(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

/// What is wished of the samplers; where nothing is, there are defaults.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wishes {
    knobs: [Option<f32>; Knob::ALL.len()],
    /// Added to the logits of these tokens.
    pub bias: Option<Vec<(u32, f32)>>,
}

impl Wishes {
    /// The wish for a knob.
    pub fn get(&self, knob: Knob) -> Option<f32> {
        self.knobs[knob as usize]
    }

    /// Wishes a value, or nothing. Whether it may be is seen by [`Drawing::check`], or before by [`Knob::check`].
    pub fn set(&mut self, knob: Knob, value: Option<f32>) {
        self.knobs[knob as usize] = value;
    }

    /// The same with a value.
    pub fn with(mut self, knob: Knob, value: f32) -> Wishes {
        self.set(knob, Some(value));
        self
    }

    /// The same with a bias more.
    pub fn with_bias(mut self, token: u32, bias: f32) -> Wishes {
        self.bias.get_or_insert_default().push((token, bias));
        self
    }

    /// These wishes, and where they are silent, `other`'s.
    pub fn over(self, other: Wishes) -> Wishes {
        let mut knobs = self.knobs;
        for (own, other) in knobs.iter_mut().zip(other.knobs) {
            *own = own.or(other);
        }
        Wishes {
            knobs,
            bias: self.bias.or(other.bias),
        }
    }

    /// Puts temperature and top-p right where they are out of range, as run.c's `main` does, and says so.
    pub fn adjust(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        if let Some(wished) = self.get(Knob::Temperature)
            && (wished.is_nan() || wished < 0.0)
        {
            said.push(format!(
                "temperature {wished} is not 0 or more: taking 0, the likeliest token each time"
            ));
            self.set(Knob::Temperature, Some(0.0));
        }
        if let Some(wished) = self.get(Knob::TopP)
            && !(0.0..=1.0).contains(&wished)
        {
            said.push(format!(
                "top-p {wished} is outside of 0 to 1: taking {RUN_C_TOP_P}"
            ));
            self.set(Knob::TopP, Some(RUN_C_TOP_P));
        }
        said
    }

    /// Who draws. In a dialog, which is llama.cpp's business, its samplers do, with its defaults. Everywhere else run.c's, with
    /// run.c's defaults, as long as nothing is wished that it does not know; then llama.cpp's, of which only does anything what is
    /// wished.
    pub fn drawing(&self, dialog: bool) -> Drawing {
        let base = if dialog {
            Sampling::default()
        } else {
            Sampling {
                temperature: RUN_C_TEMPERATURE,
                top_p: RUN_C_TOP_P,
                top_k: 0,
                min_p: 0.0,
                ..Sampling::default()
            }
        };
        let sampling = self.onto(&base);
        let plain = Sampling {
            temperature: sampling.temperature,
            top_p: sampling.top_p,
            ..base
        };
        if !dialog && sampling == plain {
            Drawing::RunC {
                temperature: sampling.temperature,
                top_p: sampling.top_p,
            }
        } else {
            Drawing::LlamaCpp(sampling)
        }
    }

    fn onto(&self, base: &Sampling) -> Sampling {
        let or = |knob, base| self.get(knob).unwrap_or(base);
        let count = |knob, base| self.get(knob).map_or(base, |wished| wished as usize);
        Sampling {
            temperature: or(Knob::Temperature, base.temperature),
            top_p: or(Knob::TopP, base.top_p),
            top_k: count(Knob::TopK, base.top_k),
            min_p: or(Knob::MinP, base.min_p),
            typical: or(Knob::Typical, base.typical),
            repeat: or(Knob::RepeatPenalty, base.repeat),
            repeat_last: count(Knob::RepeatLastN, base.repeat_last),
            frequency: or(Knob::FrequencyPenalty, base.frequency),
            presence: or(Knob::PresencePenalty, base.presence),
            bias: self.bias.clone().unwrap_or_default(),
        }
    }
}

/// run.c's defaults.
const RUN_C_TEMPERATURE: f32 = 1.0;
const RUN_C_TOP_P: f32 = 0.9;

/// Whose sampler draws, and with which settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Drawing {
    /// run.c's.
    RunC {
        /// Divides the logits; 0 takes the likeliest token.
        temperature: f32,
        /// Draw from the likeliest tokens that make up this probability.
        top_p: f32,
    },
    /// llama.cpp's samplers.
    LlamaCpp(Sampling),
}

impl Drawing {
    /// Whether every number is in its range, for a vocabulary of `vocab_size`.
    ///
    /// # Errors
    /// A sentence: which number, and what it must be.
    pub fn check(&self, vocab_size: usize) -> Result<(), String> {
        match self {
            // Adjusted, as by run.c.
            Drawing::RunC { .. } => Ok(()),
            Drawing::LlamaCpp(sampling) => sampling.check(vocab_size),
        }
    }

    /// 0 where nothing is left to chance.
    pub fn temperature(&self) -> f32 {
        match self {
            Drawing::RunC { temperature, .. } => *temperature,
            Drawing::LlamaCpp(sampling) => sampling.temperature,
        }
    }

    /// The sampler for `vocab_size` logits.
    pub fn sampler(self, vocab_size: usize, seed: u64) -> Sampler {
        match self {
            Drawing::RunC { temperature, top_p } => {
                Sampler::new(vocab_size, temperature, top_p, seed)
            }
            Drawing::LlamaCpp(sampling) => Sampler::with(vocab_size, sampling, seed),
        }
    }
}

/// In words, without what does nothing: `temperature 0.8, top-k 40, top-p 0.95, min-p 0.05`.
impl fmt::Display for Drawing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sampling = match self {
            Drawing::RunC { temperature, .. } if *temperature == 0.0 => {
                return write!(f, "the likeliest token each time (temperature 0)");
            }
            Drawing::RunC { temperature, top_p } => {
                return write!(f, "temperature {temperature}, top-p {top_p}");
            }
            Drawing::LlamaCpp(sampling) => sampling,
        };
        let greedy = sampling.temperature == 0.0;
        if greedy {
            write!(f, "the likeliest token each time (temperature 0)")?;
        } else {
            write!(f, "temperature {}", sampling.temperature)?;
        }
        let number = |f: &mut fmt::Formatter<'_>, name: &str, value: f32, off: f32| {
            if value == off {
                Ok(())
            } else {
                write!(f, ", {name} {value}")
            }
        };
        if !greedy {
            number(f, "top-k", sampling.top_k as f32, 0.0)?;
            number(f, "typical", sampling.typical, 1.0)?;
            number(f, "top-p", sampling.top_p, 1.0)?;
            number(f, "min-p", sampling.min_p, 0.0)?;
        }
        number(f, "repeat penalty", sampling.repeat, 1.0)?;
        number(f, "frequency penalty", sampling.frequency, 0.0)?;
        number(f, "presence penalty", sampling.presence, 0.0)?;
        match sampling.bias.len() {
            0 => Ok(()),
            1 => write!(f, ", 1 bias"),
            biases => write!(f, ", {biases} biases"),
        }
    }
}

/// A bias as people write it: `TOKEN=NUMBER`.
///
/// # Errors
/// What it must be.
pub fn parse_bias(text: &str) -> Result<(u32, f32), &'static str> {
    let parsed = text
        .split_once('=')
        .and_then(|(token, bias)| Some((token.trim().parse().ok()?, bias.trim().parse().ok()?)));
    parsed.ok_or("a token's number, =, and a number, such as 42=-1.5")
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn run_c_draws_as_long_as_only_its_own_knobs_are_set() {
        let none = Wishes::default();
        assert_eq!(
            none.drawing(false),
            Drawing::RunC {
                temperature: 1.0,
                top_p: 0.9
            }
        );
        assert_eq!(
            none.drawing(true),
            Drawing::LlamaCpp(Sampling::default()),
            "llama.cpp's defaults in its own dialogs"
        );
        let own = none.clone().with(Knob::Temperature, 0.5);
        let own = own.with(Knob::TopP, 0.7);
        let want = Drawing::RunC {
            temperature: 0.5,
            top_p: 0.7,
        };
        assert_eq!(own.drawing(false), want);
        // What does nothing changes nothing.
        assert_eq!(own.clone().with(Knob::TopK, 0.0).drawing(false), want);
        for knob in Knob::ALL.into_iter().skip(2) {
            let value = if knob.is_whole() { 3.0 } else { 0.25 };
            let drawing = own.clone().with(knob, value).drawing(false);
            let Drawing::LlamaCpp(sampling) = drawing else {
                panic!("{knob:?}");
            };
            assert_eq!((sampling.temperature, sampling.top_p), (0.5, 0.7));
            // Nothing but what was wished.
            assert_eq!(
                (sampling.top_k == 3, sampling.min_p == 0.25),
                (knob == Knob::TopK, knob == Knob::MinP)
            );
        }
        let biased = none.clone().with_bias(3, 1.0);
        assert!(matches!(biased.drawing(false), Drawing::LlamaCpp(_)));
        assert_eq!(
            none.drawing(true).to_string(),
            "temperature 0.8, top-k 40, top-p 0.95, min-p 0.05"
        );
        assert_eq!(
            none.clone()
                .with(Knob::Temperature, 0.0)
                .with(Knob::PresencePenalty, 0.5)
                .drawing(true)
                .to_string(),
            "the likeliest token each time (temperature 0), presence penalty 0.5"
        );
        assert_eq!(none.drawing(false).to_string(), "temperature 1, top-p 0.9");
    }

    #[test]
    fn names_and_ranges() {
        for (number, knob) in Knob::ALL.into_iter().enumerate() {
            assert_eq!(knob as usize, number);
            assert_eq!(Knob::named(knob.name()), Some(knob));
            assert_eq!(Knob::named(&knob.name().replace('_', "-")), Some(knob));
            for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert!(knob.check(value).is_err(), "{knob:?} {value}");
            }
            assert_eq!(knob.check(1.0), Ok(()));
        }
        assert_eq!(Knob::named("top"), None);
        assert_eq!(Knob::MinP.check(1.5), Err("a number from 0 to 1"));
        assert!(Knob::TopK.check(1.5).is_err() && Knob::TopK.check(-1.0).is_err());
        assert!(Knob::RepeatPenalty.check(0.0).is_err());
        assert_eq!(parse_bias("42=-1.5"), Ok((42, -1.5)));
        assert!(parse_bias("42").is_err() && parse_bias("-1=2").is_err());
    }

    #[test]
    fn what_one_place_says_goes_over_another() {
        let line = Wishes::default().with(Knob::TopK, 5.0);
        let file = Wishes::default()
            .with(Knob::TopK, 7.0)
            .with(Knob::MinP, 0.5);
        let both = line.over(file);
        assert_eq!(
            (both.get(Knob::TopK), both.get(Knob::MinP)),
            (Some(5.0), Some(0.5))
        );
    }
}
