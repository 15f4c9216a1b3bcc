//! Table of all parameters that can be set: [`TABLE`] has a row for each. The command's and the
//! UEFI Shell's flags, the commands of a conversation, `LLAMA2.CFG`, the settings in saved
//! conversations, and the tables in `docs/` are generated from it. A value is checked in one place,
//! so whatever can be set in one way can be set, saved and loaded in every other.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod flags;
mod network;
mod overrides;
mod spec;
mod table;
mod value;

pub use network::{Addressing, mac};
pub use overrides::Overrides;
pub use spec::{
    Api, Choice, Defaults, Display, Domain, Exit, Mode, SamplerDefaults, Spec, Switch, Think,
};
pub use table::{Param, TABLE};
pub use value::{MOST_BIASES, ParamValue, Written, date, sha256};
