//! What a shell brings: a console to show and type on, and a machine to work on.

use alloc::{string::String, vec::Vec};

use llama2_console::{commands::Place, front::Front, keys::Key};
use llama2_engine::generate::TopToken;

/// A place to show and type on. Nothing here waits but [`Console::rest`].
pub trait Console: Front {
    /// The next key, if one came.
    fn key(&mut self) -> Option<Key>;

    /// Rests until a key may have come, at most so many milliseconds.
    fn rest(&mut self, milliseconds: u64);

    /// Brings onto the screen what has been shown since the last time.
    fn flush(&mut self);

    /// Nanoseconds that showing has taken since the start.
    fn drawing(&self) -> u64 {
        0
    }

    /// Puts a line into the log, where one is kept.
    fn record(&mut self, _line: &str) {}
}

/// A model that can be had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ModelEntry {
    /// What the shell knows it by: a path.
    pub id: String,
    /// What people know it by.
    pub name: String,
    /// The type of its numbers; empty where it could not be told.
    pub kind: String,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes of memory that it needs, with a short context at the least; 0 where it could not be
    /// told.
    pub needs: u64,
    /// Bytes of memory that it could have.
    pub free: u64,
    /// Why it cannot be taken: a few words.
    pub trouble: Option<String>,
}

/// How far a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Tokens of the prompt that have been read, and all of them.
    pub read: (usize, usize),
    /// Tokens that were made.
    pub made: usize,
    /// Positions of the context in use.
    pub context: usize,
}

/// Who hears a reply while it is made.
pub trait ReplySink {
    /// Takes text, and how far the reply is. Whether it is to stop.
    fn hear(&mut self, text: &str, progress: Progress) -> bool;

    /// The first pass is over, with this result: from now on text may be shown.
    fn begin(&mut self, top: Option<TopToken>);

    /// Shows what there is and looks at the keys. Whether the reply is to stop. To be called where
    /// text is made elsewhere.
    fn look(&mut self) -> bool;
}

/// A machine to work on.
pub trait Host {
    /// Where the program runs.
    fn place(&self) -> Place;

    /// Microseconds since some time; may be called wherever a reply is made, on any core.
    fn clock(&self) -> fn() -> u64;

    /// Calls `work`, on this core or on another, with somebody who passes on to `audience` what is
    /// made. `threads` is how many workers the work will use; `None`: that is yet to be found out.
    fn perform(
        &mut self,
        threads: Option<usize>,
        audience: &mut dyn ReplySink,
        work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
    );

    /// The models that can be had now.
    fn models(&mut self) -> Vec<ModelEntry>;

    /// The model in a file that is named by its path, though it is none of [`Host::models`]; `None`
    /// if there is none.
    fn model_at(&mut self, _path: &str) -> Option<ModelEntry> {
        None
    }

    /// Keeps a line that was typed, for the next conversations. Nothing depends on it.
    fn remember(&mut self, _line: &str) {}

    /// The conversations that were saved: names of files.
    ///
    /// # Errors
    /// A sentence: there is no place for them, or it cannot be read.
    fn conversations(&mut self) -> Result<Vec<String>, String>;

    /// Reads a file of a conversation of at most so many bytes.
    ///
    /// # Errors
    /// A sentence with the file's name.
    fn read(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String>;

    /// Writes such a file, whole or not at all, over one of this name if there is one. Gives the
    /// place in words (`the boot volume`).
    ///
    /// # Errors
    /// A sentence with the file's name. What was there before is as it was.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<String, String>;

    /// The configuration file's text; empty where there is none.
    ///
    /// # Errors
    /// A sentence: it cannot be read, or not understood.
    fn configuration(&mut self) -> Result<String, String>;

    /// Writes it, as [`Host::write`].
    ///
    /// # Errors
    /// As [`Host::write`].
    fn configure(&mut self, text: &str) -> Result<String, String>;

    /// What there is to be told of the machine: names and what they stand for.
    fn about(&mut self) -> Vec<(String, String)>;

    /// A seed that is not 0, and where it came from.
    fn seed(&mut self) -> (u64, &'static str);
}
