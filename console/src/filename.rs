//! File names of conversations, valid on any FAT volume.
//!
//! Files are named `NAME.JSL` (JSON Lines). Names of up to eight letters, digits, `-` and `_` are
//! written in capitals, so that the volume needs no long name (8.3 names, which every firmware
//! writes correctly); others keep their spelling and get a long name. Files that the user gives no
//! name are `CHAT0001.JSL`, `CHAT0002.JSL`, and so on. While a file is being written, its name ends
//! in `.TMP`.

use alloc::{
    format,
    string::{String, ToString},
};

use crate::width::is_plain;

/// File extension of conversations.
pub const EXTENSION: &str = ".JSL";
/// Alternative extension, which other programs use.
const LONG_EXTENSION: &str = ".jsonl";
/// Longest name without its extension, in characters.
const LONGEST: usize = 64;
/// Names of devices, reserved by DOS and Windows.
const DEVICES: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// File name for a user's `name`.
///
/// # Errors
/// A sentence that says why the name is not possible.
pub fn of(name: &str) -> Result<String, String> {
    let name = name.trim();
    let (stem, extension) = split(name);
    let refuse = |why: String| Err(format!("\"{name}\" cannot be a file's name: {why}"));
    if stem.is_empty() {
        return refuse("there is nothing before its extension; give it one".to_string());
    }
    if let Some(letter) = stem
        .chars()
        .find(|&letter| !is_plain(letter) || letter.is_control() || "/\\:*?\"<>|".contains(letter))
    {
        return refuse(format!(
            "it contains {letter:?}; use letters, digits, spaces, - and _"
        ));
    }
    let count = stem.chars().count();
    if count > LONGEST {
        return refuse(format!("it has {count} characters, more than {LONGEST}"));
    }
    if stem.starts_with('.') || stem.ends_with(['.', ' ']) {
        return refuse("it begins or ends with a dot or a space; remove it".to_string());
    }
    // UEFI's file names are UCS-2.
    if stem.chars().any(|letter| u32::from(letter) > 0xffff) {
        return refuse("it contains a character that UEFI cannot represent; remove it".to_string());
    }
    if is_device(stem) {
        return refuse("Windows reserves it for a device; choose another".to_string());
    }
    let short = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
    if count <= 8 && stem.chars().all(short) && is(Some(extension), EXTENSION) {
        return Ok(stem.to_ascii_uppercase() + EXTENSION);
    }
    Ok(stem.to_string() + extension)
}

/// Returns true if Windows reserves a file's name for a device, whatever its extension.
pub fn is_device(name: &str) -> bool {
    let device = name.split('.').next().unwrap_or_default().trim_end();
    let numbered = device.len() == 4 && (is(device.get(..3), "COM") || is(device.get(..3), "LPT"));
    DEVICES.iter().any(|name| is(Some(device), name))
        || numbered && device.ends_with(|last: char| last.is_ascii_digit())
}

fn is(text: Option<&str>, name: &str) -> bool {
    text.is_some_and(|text| text.eq_ignore_ascii_case(name))
}

/// Splits into name and extension; the extension is [`EXTENSION`] unless it is one of ours.
fn split(name: &str) -> (&str, &str) {
    for extension in [EXTENSION, LONG_EXTENSION] {
        let at = name.len().saturating_sub(extension.len());
        if is(name.get(at..), extension) {
            return name.split_at(at);
        }
    }
    (name, EXTENSION)
}

/// Returns true if a file name is that of a conversation.
pub fn is_conversation(name: &str) -> bool {
    [EXTENSION, LONG_EXTENSION].iter().any(|extension| {
        let at = name.len().saturating_sub(extension.len());
        at > 0 && is(name.get(at..), extension)
    })
}

/// Returns true if two names are the same on FAT.
pub fn is_same(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

/// Name for a conversation without one: the number after the highest of the existing files.
pub fn next<'a>(there: impl Iterator<Item = &'a str> + Clone) -> String {
    let numbered = |number: u32| format!("CHAT{number:04}{EXTENSION}");
    let highest = there
        .clone()
        .filter_map(|name| {
            let digits = name.get(4..8).filter(|_| is(name.get(..4), "CHAT"))?;
            let number: u32 = digits
                .bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| digits.parse().ok())??;
            is(name.get(8..), EXTENSION).then_some(number)
        })
        .max();
    let number = highest.map_or(1, |highest| highest + 1);
    if number <= 9999 {
        return numbered(number);
    }
    // The first that is free; after ten thousand files there is a long name.
    let free =
        (1..=9999).find(|&number| !there.clone().any(|name| is_same(name, &numbered(number))));
    numbered(free.unwrap_or(number))
}

/// Temporary name while a file is written, so that it appears complete or not at all.
pub fn temporary(name: &str) -> String {
    let stem = name.rfind('.').map_or(name, |at| &name[..at]);
    format!("{stem}.TMP")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, want) in [
            ("holiday", "HOLIDAY.JSL"),
            (" chat0001.jsl ", "CHAT0001.JSL"),
            ("my-chat_", "MY-CHAT_.JSL"),
            ("Holidays in Rome", "Holidays in Rome.JSL"),
            ("holidays2", "holidays2.JSL"),
            ("été", "été.JSL"),
            ("日本", "日本.JSL"),
            ("a.b", "a.b.JSL"),
            ("notes.jsonl", "notes.jsonl"),
            ("LLAMA2.CFG", "LLAMA2.CFG.JSL"),
            ("com", "COM.JSL"),
            ("lpt10", "LPT10.JSL"),
        ] {
            assert_eq!(of(name).as_deref(), Ok(want), "{name}");
            assert!(is_conversation(want));
            // A file name denotes itself.
            assert_eq!(of(want).as_deref(), Ok(want));
        }
        for (name, words) in [
            ("", "nothing before its extension"),
            (".jsl", "nothing before its extension"),
            ("a/b", "it contains '/'"),
            ("..\\x", "it contains '\\\\'"),
            ("a\nb", "it contains '\\n'"),
            ("what?", "it contains '?'"),
            (".hidden", "begins or ends with a dot"),
            ("end.", "begins or ends with a dot"),
            ("x .jsl", "begins or ends with a dot or a space"),
            ("nul", "a device"),
            ("Con.x", "a device"),
            ("COM1", "a device"),
            ("🙂", "cannot represent"),
        ] {
            let error = of(name).unwrap_err();
            assert!(error.contains(words), "{name}: {error}");
        }
        assert!(of(&"x".repeat(65)).unwrap_err().contains("65 characters"));
        assert!(
            !is_conversation(".JSL") && !is_conversation("LLAMA2.CFG") && !is_conversation("é")
        );
    }

    #[test]
    fn numbers() {
        let next = |names: &[&str]| next(names.iter().copied());
        assert_eq!(next(&[]), "CHAT0001.JSL");
        assert_eq!(
            next(&[
                "chat0007.jsl",
                "CHAT0002.JSL",
                "CHATROOM.JSL",
                "CHAT+009.JSL",
                "日本日本.JSL"
            ]),
            "CHAT0008.JSL"
        );
        assert_eq!(next(&["CHAT9999.JSL", "CHAT0001.JSL"]), "CHAT0002.JSL");
        let all: Vec<String> = (1..=9999)
            .map(|number| format!("CHAT{number:04}.JSL"))
            .collect();
        assert_eq!(
            super::next(all.iter().rev().take(30).map(String::as_str)),
            "CHAT0001.JSL"
        );
        assert_eq!(temporary("CHAT0001.JSL"), "CHAT0001.TMP");
        assert_eq!(temporary("a.b.jsonl"), "a.b.TMP");
        assert!(is_same("Été.jsl", "éTÉ.JSL"));
    }
}
