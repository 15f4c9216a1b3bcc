//! Values set in one place: a command line, a file, a session.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{Choice, Param, ParamValue, Spec, TABLE};

/// Values that were set; others come from elsewhere, or are defaults.
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
    /// Value of a parameter, if set.
    pub fn get(&self, param: Param) -> Option<&ParamValue> {
        self.values[param as usize].as_ref()
    }

    /// Sets a value, which must have the parameter's type, or removes it.
    pub fn set(&mut self, param: Param, value: impl Into<Option<ParamValue>>) {
        self.values[param as usize] = value.into();
    }

    /// Sets a value, which must have the parameter's type.
    pub fn with(mut self, param: Param, value: ParamValue) -> Overrides {
        self.set(param, value);
        self
    }

    /// Removes a value and returns it.
    pub fn take(&mut self, param: Param) -> Option<ParamValue> {
        self.values[param as usize].take()
    }

    /// Sets a value; that of a list is appended to the existing ones.
    ///
    /// # Errors
    /// The largest length of the list.
    pub fn add(&mut self, param: Param, value: ParamValue) -> Result<(), usize> {
        match &mut self.values[param as usize] {
            Some(old) => old.add(value),
            none => {
                *none = Some(value);
                Ok(())
            }
        }
    }

    /// All values that may be shown.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Spec, &ParamValue)> {
        let rows = TABLE.iter().zip(&self.values);
        let shown = rows.filter(|(spec, _)| !spec.secret);
        shown.filter_map(|(spec, value)| Some((spec, value.as_ref()?)))
    }

    /// Returns these values, with `other`'s for those that are not set.
    pub fn over(mut self, mut other: Overrides) -> Overrides {
        // Both are settings of the prompt.
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

    /// Value as a text or a word.
    pub fn text(&self, param: Param) -> Option<&str> {
        match self.get(param)? {
            ParamValue::Text(text) => Some(text),
            ParamValue::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Value as the meaning of a word.
    pub fn choice<T: Choice>(&self, param: Param) -> Option<T> {
        self.text(param).and_then(T::named)
    }

    /// Value as a number.
    pub fn number(&self, param: Param) -> Option<f32> {
        match self.get(param)? {
            ParamValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Value as an integer.
    pub fn whole(&self, param: Param) -> Option<i64> {
        match self.get(param)? {
            ParamValue::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// Value as a count.
    pub fn count(&self, param: Param) -> Option<usize> {
        usize::try_from(self.whole(param)?).ok()
    }

    /// Value of a switch; false if not set.
    pub fn truth(&self, param: Param) -> bool {
        self.get(param) == Some(&ParamValue::Truth(true))
    }

    /// Value as a list of texts.
    pub fn texts(&self, param: Param) -> Option<&Vec<String>> {
        match self.get(param)? {
            ParamValue::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// Value as a list of biases: token and bias.
    pub fn biases(&self, param: Param) -> Option<&Vec<(u32, f32)>> {
        match self.get(param)? {
            ParamValue::Biases(biases) => Some(biases),
            _ => None,
        }
    }
}
