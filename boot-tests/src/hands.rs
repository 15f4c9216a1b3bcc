//! Hands at a machine: keys of its own keyboard, drives pulled out, and a look at the screen.

use std::time::Duration;

use anyhow::{Result, bail};
use xtask::qemu::Guest;

use crate::picture::Picture;

/// A machine's user.
pub trait Hands {
    /// Pulls a USB drive out: the first is `drive0`.
    fn unplug(&self, drive: &str) -> Result<()>;

    /// A picture of the screen.
    fn picture(&self) -> Result<Picture>;

    /// Types a text on the machine's own keyboard, which is a US one.
    fn type_text(&self, text: &str) -> Result<()>;

    /// Presses keys of the machine's own keyboard at once.
    fn press_together(&self, keys: &[String]) -> Result<()>;

    /// Presses a key and does not let go: once more each time that a keyboard would repeat it.
    fn hold(&self, key: &str) -> Result<()>;

    /// Lets go of a key.
    fn release(&self, key: &str) -> Result<()>;

    /// Presses a key of the machine's own keyboard.
    fn press(&self, key: &str) -> Result<()>;
}

impl Hands for Guest {
    fn unplug(&self, drive: &str) -> Result<()> {
        let arguments = serde_json::json!({"id": drive});
        self.qmp(serde_json::json!({"execute": "device_del", "arguments": arguments}))
            .map(|_| ())
    }

    fn picture(&self) -> Result<Picture> {
        let file = self.folder().join("screen.png");
        self.screendump(&file)?;
        Picture::read(&file)
    }

    fn type_text(&self, text: &str) -> Result<()> {
        for letter in text.chars() {
            self.press_together(&keys_of(letter)?)?;
        }
        Ok(())
    }

    fn press_together(&self, keys: &[String]) -> Result<()> {
        let keys: Vec<_> = keys
            .iter()
            .map(|key| serde_json::json!({"type": "qcode", "data": key}))
            .collect();
        let arguments = serde_json::json!({"keys": keys, "hold-time": 20});
        self.qmp(serde_json::json!({"execute": "send-key", "arguments": arguments}))?;
        // The next press would be part of this one.
        std::thread::sleep(Duration::from_millis(60));
        Ok(())
    }

    fn hold(&self, key: &str) -> Result<()> {
        key_event(self, key, true)
    }

    fn release(&self, key: &str) -> Result<()> {
        key_event(self, key, false)
    }

    fn press(&self, key: &str) -> Result<()> {
        let keys = serde_json::json!([{"type": "qcode", "data": key}]);
        self.qmp(serde_json::json!({"execute": "send-key", "arguments": {"keys": keys}}))
            .map(|_| ())
    }
}

fn key_event(guest: &Guest, key: &str, down: bool) -> Result<()> {
    let key = serde_json::json!({"type": "qcode", "data": key});
    let event = serde_json::json!({"type": "key", "data": {"down": down, "key": key}});
    guest
        .qmp(serde_json::json!({"execute": "input-send-event", "arguments": {"events": [event]}}))
        .map(|_| ())
}

/// QEMU's names of the keys that make a character on a US keyboard.
fn keys_of(letter: char) -> Result<Vec<String>> {
    const PLAIN: [(char, char, &str); 21] = [
        ('1', '!', "1"),
        ('2', '@', "2"),
        ('3', '#', "3"),
        ('4', '$', "4"),
        ('5', '%', "5"),
        ('6', '^', "6"),
        ('7', '&', "7"),
        ('8', '*', "8"),
        ('9', '(', "9"),
        ('0', ')', "0"),
        ('-', '_', "minus"),
        ('=', '+', "equal"),
        ('[', '{', "bracket_left"),
        (']', '}', "bracket_right"),
        ('\\', '|', "backslash"),
        (';', ':', "semicolon"),
        ('\'', '"', "apostrophe"),
        ('`', '~', "grave_accent"),
        (',', '<', "comma"),
        ('.', '>', "dot"),
        ('/', '?', "slash"),
    ];
    let shifted = |key: &str| vec!["shift".to_owned(), key.to_owned()];
    Ok(match letter {
        'a'..='z' => vec![letter.to_string()],
        'A'..='Z' => shifted(&letter.to_ascii_lowercase().to_string()),
        ' ' => vec!["spc".to_owned()],
        '\n' => vec!["ret".to_owned()],
        _ => match PLAIN.iter().find(|key| key.0 == letter || key.1 == letter) {
            Some((plain, _, key)) if *plain == letter => vec![(*key).to_owned()],
            Some((_, _, key)) => shifted(key),
            None => bail!("a US keyboard has no key for {letter:?}"),
        },
    })
}
