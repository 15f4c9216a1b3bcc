//! The arguments of a call.

use alloc::{format, sync::Arc, vec, vec::Vec};

use crate::{error::Error, text::Text, value::Value};

/// Arguments, taken one after the other by whoever is called.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
    /// Those without names.
    pub positional: vec::IntoIter<Value>,
    /// Those with names.
    pub keywords: Vec<(Arc<Text>, Value)>,
}

impl Arguments {
    /// The argument with a name, which stays where it is.
    pub fn keyword(&self, name: &str) -> Option<&Value> {
        let mut keywords = self.keywords.iter();
        let found = keywords.find(|(known, _)| known.as_str() == name);
        found.map(|(_, value)| value)
    }

    /// Takes the argument with a name.
    pub fn take_keyword(&mut self, name: &str) -> Option<Value> {
        let is_it = |(known, _): &(Arc<Text>, Value)| known.as_str() == name;
        let at = self.keywords.iter().position(is_it)?;
        Some(self.keywords.remove(at).1)
    }

    /// Takes the next argument, which may have been given by its name.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.positional.next().or_else(|| self.take_keyword(name))
    }

    /// Takes an argument that there must be.
    pub fn required(&mut self, name: &str) -> Result<Value, Error> {
        let missing = || Error::evaluation(format!("the argument '{name}' is missing"));
        self.take(name).ok_or_else(missing)
    }

    /// Takes an argument that is an integer; `default` if it was not given.
    pub fn int(&mut self, name: &str, default: i64) -> Result<i64, Error> {
        let Some(value) = self.take(name) else {
            return Ok(default);
        };
        value.refuse_undefined()?;
        let wrong = || {
            let kind = value.type_name();
            Error::evaluation(format!(
                "the argument '{name}' must be an integer, not a {kind}"
            ))
        };
        value.as_int().ok_or_else(wrong)
    }

    /// Takes an argument that is true or false, which it is if it was not given.
    pub fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some_and(|value| value.is_true())
    }

    /// Takes an argument that is a string, if it was given and is not none.
    pub fn text(&mut self, name: &str) -> Result<Option<Arc<Text>>, Error> {
        match self.take(name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(value) => {
                value.refuse_undefined()?;
                let kind = value.type_name();
                let message = format!("the argument '{name}' must be a string, not a {kind}");
                Err(Error::evaluation(message))
            }
        }
    }

    /// Fails if there are more.
    pub fn end(self) -> Result<(), Error> {
        match (self.positional.len(), self.keywords.first()) {
            (0, None) => Ok(()),
            (0, Some((name, _))) => {
                let message = format!("there is no argument '{}'", name.as_str());
                Err(Error::evaluation(message))
            }
            (count, _) => Err(Error::evaluation(format!(
                "there are {count} arguments too many"
            ))),
        }
    }
}
