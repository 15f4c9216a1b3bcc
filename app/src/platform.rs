//! A machine as the program needs it: a console to show and type on, files, models and cores.
//! Firmware and the hosted command implement these traits.

use alloc::{boxed::Box, string::String, vec::Vec};

use llama2_console::{
    commands::Place,
    front::{Front, Style},
    keys::Key,
    typeahead::Typed,
    width,
};
use llama2_engine::{
    chat::DateTime, checkpoint::Checkpoint, context::Context, event::Event, generate::TopToken,
    model::Model, source::ByteSource, tokenizer::Tokenizer,
};

use crate::service::ServiceParts;

/// Effect of the keys that were typed while something goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Looked {
    /// True if what goes on is to stop.
    pub stop: bool,
    /// True if something was typed for later.
    pub typed: bool,
}

/// A place to show and type on. Nothing here waits but [`Console::rest`].
pub trait Console: Front {
    /// The next key, if one came; those that were kept come first.
    fn key(&mut self) -> Option<Key>;

    /// The next key that came from the keyboard, if one did.
    fn pressed(&mut self) -> Option<Key>;

    /// Keeps a key that came while something goes on.
    fn keep(&mut self, key: Key) -> Typed;

    /// The keys that are kept, as text.
    fn kept(&self) -> String;

    /// Rests until a key may have come, at most so many milliseconds.
    fn rest(&mut self, milliseconds: u64);

    /// Brings onto the screen what has been shown since the last time.
    fn flush(&mut self);

    /// Looks at the keys while something goes on: what was typed is kept for later.
    fn look(&mut self) -> Looked {
        self.flush();
        let mut looked = Looked::default();
        while let Some(key) = self.pressed() {
            match self.keep(key) {
                Typed::Kept => looked.typed = true,
                // A terminal that is gone gives such keys without end.
                Typed::Stop if looked.stop => break,
                Typed::Stop => looked.stop = true,
                Typed::Refused => self.bell(),
                Typed::Scroll => {
                    self.scroll(key);
                }
            }
        }
        looked
    }

    /// Shows a table, or something shorter where it is too wide.
    fn table(&mut self, table: &str, short: &str) {
        let widest = table.lines().map(width::text).max().unwrap_or(0);
        self.lay_out(Style::Info, &|columns| match widest < columns {
            true => table.into(),
            false => short.into(),
        });
    }

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
    /// Identifier in the shell: a path.
    pub id: String,
    /// Name for people.
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

/// A model whose header and tokenizer have been read, and which there is memory for.
pub struct OpenModel {
    /// Identifier in the shell: a [`ModelEntry`]'s `id`.
    pub id: String,
    /// Name for people.
    pub name: String,
    /// Name of its file in messages.
    pub file: String,
    /// Its header.
    pub checkpoint: Checkpoint,
    /// Its context.
    pub context: Context,
    /// Its vocabulary.
    pub tokenizer: Tokenizer,
    /// Its bytes.
    pub source: Box<dyn ByteSource>,
}

/// How far a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Tokens of the prompt that have been read, and all of them.
    pub read: (usize, usize),
    /// Tokens that were drawn.
    pub drawn: usize,
    /// Positions of the context in use.
    pub context: usize,
    /// The result of the first pass, once that is over.
    pub top: Option<TopToken>,
}

/// Receiver of a reply while it is made.
pub trait ReplySink {
    /// Takes an event, and how far the reply was before it.
    fn on_event(&mut self, event: Event<'_>, progress: Progress);

    /// Shows what there is and looks at the keys. Whether the reply is to stop.
    fn should_stop(&mut self) -> bool;
}

/// Request to the machine that ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// To start again.
    Reboot,
    /// To be switched off.
    Shutdown,
    /// To start into its setup.
    Firmware,
}

/// A machine to work on.
pub trait Platform {
    /// Environment of the program.
    fn place(&self) -> Place;

    /// Microseconds since some time; may be called wherever a reply is made, on any core.
    fn clock(&self) -> fn() -> u64;

    /// Calls `work`, on this core or on another, with somebody who passes on to `sink` what
    /// happens. `threads` is how many workers the work will use; `None`: that is yet to be found
    /// out.
    fn perform(
        &mut self,
        threads: Option<usize>,
        sink: &mut dyn ReplySink,
        work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
    );

    /// Parts of a server beside the conversation with a model; `None` if nothing is served.
    fn service(&mut self, _model: &OpenModel) -> Option<ServiceParts> {
        None
    }

    /// Model that is asked for again where it cannot be had, because nobody may be there to choose
    /// another: its id.
    fn awaited(&self) -> Option<String> {
        None
    }

    /// Lets cores rest that work was done on outside of [`Platform::perform`].
    fn rest_cores(&mut self) {}

    /// Opens a model that is wanted after another one, which has so many bytes of memory.
    ///
    /// # Errors
    /// A sentence with the file's name.
    fn open(&mut self, id: &str, taken: u64) -> Result<OpenModel, String>;

    /// Reads a model's weights, and shows how far that is; `None` if a key stopped it.
    ///
    /// # Errors
    /// A sentence with the file's name.
    fn load(
        &mut self,
        model: &mut OpenModel,
        console: &mut dyn Console,
    ) -> Result<Option<Model>, String>;

    /// Knows that a model runs from now on, or none.
    fn runs(&mut self, _model: Option<&OpenModel>) {}

    /// Does what was asked of the machine. It comes back only with a sentence why it cannot.
    fn power(&mut self, power: Power) -> String;

    /// The processor's name.
    fn processor(&self) -> String;

    /// Size of the memory pages at an address, in words.
    fn page_size(&self, address: usize) -> Option<String>;

    /// Bytes of memory that are free.
    fn free_memory(&self) -> u64;

    /// The models that can be had now.
    fn models(&mut self) -> Vec<ModelEntry>;

    /// The model in a file that is named by its path, though it is none of [`Platform::models`];
    /// `None` if there is none.
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

    /// Writes it, as [`Platform::write`].
    ///
    /// # Errors
    /// As [`Platform::write`].
    fn configure(&mut self, text: &str) -> Result<String, String>;

    /// Facts about the machine: names and values.
    fn about(&mut self) -> Vec<(String, String)>;

    /// Date and time of the machine's clock; [`llama2_engine::chat::NO_CLOCK`] if it has none that
    /// can be believed.
    fn now(&mut self) -> DateTime;

    /// A seed that is not 0, and where it came from.
    fn seed(&mut self) -> (u64, &'static str);
}
