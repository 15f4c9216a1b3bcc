//! The machine, as far as a server needs it besides the network.

use alloc::{string::String, vec::Vec};
use core::{fmt, time::Duration};

use llama2_engine::chat::DateTime;

/// Clock, chance, files and a log.
pub trait Machine {
    /// Time since some moment; it never goes back.
    fn now(&self) -> Duration;

    /// Seconds since 1970 (UTC), as far as the machine knows.
    fn unix_time(&self) -> u64;

    /// Date and hour where the machine is, for chat templates.
    fn date(&self) -> DateTime;

    /// A number by chance.
    fn random(&mut self) -> u64;

    /// Writes a file of saved keys and values; `name` is a plain file name.
    ///
    /// # Errors
    /// A sentence.
    fn save(&mut self, name: &str, bytes: &[u8]) -> Result<(), String>;

    /// Reads such a file.
    ///
    /// # Errors
    /// A sentence.
    fn load(&mut self, name: &str) -> Result<Vec<u8>, String>;

    /// Writes a line into the log.
    fn log(&mut self, line: fmt::Arguments<'_>);
}
