//! Values that one place asks for: a command line, a file.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{Choice, Param, ParamValue, Spec, TABLE};

/// Values that somebody asked for; where there is none, others are asked, or a default is taken.
#[derive(Clone, PartialEq)]
pub struct Overrides {
    values: [Option<ParamValue>; TABLE.len()],
}

/// Keys and values, without those that are secret.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.iter().map(|(spec, value)| (spec.key, value));
        f.debug_map().entries(shown).finish()
    }
}

impl Default for Overrides {
    fn default() -> Overrides {
        Overrides {
            values: [const { None }; TABLE.len()],
        }
    }
}

impl Overrides {
    /// The value of a parameter.
    pub fn get(&self, param: Param) -> Option<&ParamValue> {
        self.values[param as usize].as_ref()
    }

    /// Asks for a value, which is of the parameter's type, or for nothing.
    pub fn set(&mut self, param: Param, value: impl Into<Option<ParamValue>>) {
        self.values[param as usize] = value.into();
    }

    /// Adds a value, which is of the parameter's type.
    pub fn with(mut self, param: Param, value: ParamValue) -> Overrides {
        self.set(param, value);
        self
    }

    /// Takes a value out.
    pub fn take(&mut self, param: Param) -> Option<ParamValue> {
        self.values[param as usize].take()
    }

    /// Asks for a value; one of a list is put behind those that are there.
    ///
    /// # Errors
    /// The most that a list may hold.
    pub fn add(&mut self, param: Param, value: ParamValue) -> Result<(), usize> {
        match &mut self.values[param as usize] {
            Some(old) => old.add(value),
            none => {
                *none = Some(value);
                Ok(())
            }
        }
    }

    /// All that is asked for and may be shown.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Spec, &ParamValue)> {
        let rows = TABLE.iter().zip(&self.values);
        let shown = rows.filter(|(spec, _)| !spec.secret);
        shown.filter_map(|(spec, value)| Some((spec, value.as_ref()?)))
    }

    /// These values, and where there are none, `other`'s.
    pub fn over(mut self, mut other: Overrides) -> Overrides {
        // A prompt is one wish, however it is given.
        let prompts = [Param::Prompt, Param::PromptFile];
        if prompts.iter().any(|&prompt| self.get(prompt).is_some()) {
            prompts.iter().for_each(|&prompt| drop(other.take(prompt)));
        }
        for (own, other) in self.values.iter_mut().zip(other.values) {
            if own.is_none() {
                *own = other;
            }
        }
        self
    }

    /// A text or a word.
    pub fn text(&self, param: Param) -> Option<&str> {
        match self.get(param)? {
            ParamValue::Text(text) => Some(text),
            ParamValue::Word(word) => Some(word),
            _ => None,
        }
    }

    /// A word's meaning.
    pub fn choice<T: Choice>(&self, param: Param) -> Option<T> {
        self.text(param).and_then(T::named)
    }

    /// A number.
    pub fn number(&self, param: Param) -> Option<f32> {
        match self.get(param)? {
            ParamValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number.
    pub fn whole(&self, param: Param) -> Option<i64> {
        match self.get(param)? {
            ParamValue::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// A whole number that counts something.
    pub fn count(&self, param: Param) -> Option<usize> {
        usize::try_from(self.whole(param)?).ok()
    }

    /// Tells whether something is asked for.
    pub fn truth(&self, param: Param) -> bool {
        self.get(param) == Some(&ParamValue::Truth(true))
    }

    /// A list of texts.
    pub fn texts(&self, param: Param) -> Option<&Vec<String>> {
        match self.get(param)? {
            ParamValue::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// A list of biases: token and bias.
    pub fn biases(&self, param: Param) -> Option<&Vec<(u32, f32)>> {
        match self.get(param)? {
            ParamValue::Biases(biases) => Some(biases),
            _ => None,
        }
    }
}
