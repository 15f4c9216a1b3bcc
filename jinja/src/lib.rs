//! Chat templates: programs in a small Jinja that lay a conversation out as a prompt.
//!
//! ```text
//! source ─► Lexer ─► tokens ─► Compiler ─► Program ─► Machine (+ variables) ─► Text
//! ```
//!
//! No library serves: `minijinja`, which is well kept, needs `std` (3.1) and has strings that do
//! not know who said them. Here each byte of a [`Text`] has a [`Source`], through every filter
//! and method, so that what a user said never becomes a control token.
//!
//! The language is what chat templates use of Jinja2, set up as transformers does: blocks are
//! trimmed, `break` and `continue` are there, nothing is escaped, nothing can be changed but
//! namespaces. Results are Jinja2's, character for character, and so are its sentences where it has
//! any; `tests/` compares them. Templates are refused if they include others, loop recursively or
//! use integers of more than 64 bits, and if they are hostile: see [`limits`]. One thing is
//! otherwise: what filters such as `map` return can be iterated over more than once.
//!
//! To read it, begin with [`value`](Value) and `program`; `compiler` and `machine` are its two
//! halves. Everything else is a table of functions on values: `filters`, `predicates` (tests),
//! `methods`, `operators`.
#![cfg_attr(not(test), no_std)]

extern crate alloc;

use alloc::vec::Vec;

use program::{Op, Program};

// From the ground up: each floor uses only those before it. Ground:
mod error;
pub mod limits;
mod text;

// Values and what can be done with them:
mod access;
mod arguments;
mod compare;
mod context;
mod date;
mod filters;
mod format;
mod json;
mod methods;
mod operators;
mod predicates;
mod print;
mod value;

// Programs:
mod compiler;
mod lexer;
mod machine;
mod program;

pub use date::DateTime;
pub use error::Error;
pub use text::{Source, Text};
pub use value::{Internal, List, Map, Value};

/// A template that has been parsed. Threads may share it.
#[derive(Debug)]
pub struct Template {
    program: Program,
}

const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Template>()
};

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// If it is not written in the language, uses what is not supported (the sentence says so), or
    /// is too long or too deep.
    pub fn parse(source: &str) -> Result<Template, Error> {
        if source.len() > limits::SOURCE {
            let (found, most) = (source.len(), limits::SOURCE);
            let message = alloc::format!("the template has {found} bytes, more than {most}");
            return Err(Error::limit(message));
        }
        let program = compiler::compile(&lexer::normalize(source)).map_err(|error| *error)?;
        Ok(Template { program })
    }

    /// Renders the template with these variables. Those that are undefined are as if not given.
    ///
    /// # Errors
    /// The template's own refusal, a failed operation, or a limit.
    pub fn render(&self, variables: &[(&str, Value)], now: DateTime) -> Result<Text, Error> {
        machine::run(&self.program, variables, now)
    }

    /// Tells whether the template reads a variable with this name, if only one that it has set
    /// itself.
    pub fn mentions(&self, name: &str) -> bool {
        let names = self.program.names.iter().zip(0..);
        let numbers: Vec<u32> = names
            .filter_map(|(known, number)| (known.as_str() == name).then_some(number))
            .collect();
        let is_it = |op: &Op| matches!(op, Op::Load(number) if numbers.contains(number));
        self.program.steps.iter().any(|step| is_it(&step.op))
    }
}
