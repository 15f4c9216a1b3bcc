//! Every parameter that can be set, as one table: [`TABLE`] has a row for each. From it are made
//! the command's flags and the UEFI Shell's, the commands of a conversation, `LLAMA2.CFG`, the
//! settings of saved conversations, and the tables in `docs/`. A value is checked in one place, so
//! that what can be set in one way can be set, saved and loaded in every other.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod flags;
mod overrides;
mod spec;
mod table;
mod value;

pub use overrides::Overrides;
pub use spec::{Api, Choice, Defaults, Display, Domain, Exit, Mode, SamplerDefaults, Spec, Think};
pub use table::{Param, TABLE};
pub use value::{ParamValue, Written};
