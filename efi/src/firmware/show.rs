//! What a conversation is shown on: the terminal as the conversation knows it, and the choice between a screen of our own and the firmware's console.

use alloc::string::String;

use llama2_console::keys::Key;
use llama2_efi::options::{Display, Options};
use llama2_talk::host::Console;

use super::terminal::{self, Terminal};

/// Makes screen and serial line ready for a conversation.
///
/// # Errors
/// A sentence, where a screen is wanted and there is none.
pub fn begin(options: &Options) -> Result<(), String> {
    terminal::interactive(true);
    match options.display.unwrap_or_default() {
        Display::Text => Ok(()),
        Display::Auto | Display::Screen => Ok(()),
    }
}

impl Console for Terminal {
    fn key(&mut self) -> Option<Key> {
        terminal::key()
    }

    fn rest(&mut self, milliseconds: u64) {
        terminal::rest(milliseconds);
    }

    fn flush(&mut self) {
        terminal::draw();
    }

    fn drawing(&self) -> u64 {
        terminal::drawing()
    }

    fn record(&mut self, line: &str) {
        terminal::record(line);
    }
}
