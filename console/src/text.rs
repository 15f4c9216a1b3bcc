//! Text files as written by editors and shells: UTF-8 with or without a byte order mark, UTF-16,
//! and Windows' additions at the end.

use alloc::{borrow::Cow, format, string::String, vec::Vec};

/// Removes the byte order mark and what some editors append, and converts UTF-16 to UTF-8. Other
/// bytes stay as they are.
fn unmarked(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| -> Result<Cow<'_, [u8]>, String> {
        let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        let text = text.map_err(|_| "is not valid UTF-16; save it as UTF-8")?;
        Ok(text.into_bytes().into())
    };
    let mut text = match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        [0xef, 0xbb, 0xbf, rest @ ..] => rest.into(),
        // UTF-16 without its mark: Latin text has a zero in every second byte.
        [first, 0, ..] if *first != 0 => utf16(bytes, u16::from_le_bytes)?,
        rest => rest.into(),
    };
    let end = text.iter().rposition(|byte| !matches!(byte, 0 | 0x1a));
    let len = end.map_or(0, |last| last + 1);
    match &mut text {
        Cow::Borrowed(text) => *text = &text[..len],
        Cow::Owned(text) => text.truncate(len),
    }
    Ok(text)
}

/// Decodes a file that must be UTF-8 or UTF-16, which UEFI's and Windows' editors write.
///
/// # Errors
/// A sentence that says what is wrong, and what to do.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    let text = unmarked(bytes)?;
    let text = core::str::from_utf8(&text).map_err(|error| {
        let at = error.valid_up_to();
        format!("is not valid UTF-8 at byte {at}; save it as UTF-8")
    })?;
    Ok(text.into())
}

/// Converts a file to a text for a model, as an editor shows it. If all lines end in CR LF, as on
/// Windows, they then end in LF.
///
/// # Errors
/// A sentence that says what is wrong, and what to do.
pub fn shown(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let text = unmarked(bytes)?;
    let ends = text.iter().filter(|&&byte| byte == b'\n').count();
    let theirs = text.windows(2).filter(|pair| *pair == b"\r\n").count();
    let mut text = text.into_owned();
    if ends == theirs {
        text.dedup_by(|byte, before| {
            let ends = *byte == b'\n' && *before == b'\r';
            if ends {
                *before = b'\n';
            }
            ends
        });
    }
    Ok(text)
}

/// Converts a file to a prompt: one line end at its end, added by an editor, is removed.
///
/// # Errors
/// A sentence that says what is wrong, and what to do.
pub fn prompt(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let mut text = shown(bytes)?;
    if text.ends_with(b"\n") {
        text.pop();
        if text.ends_with(b"\r") {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_the_text_that_it_shows() {
        let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(unit).collect()
        };
        let text = "Ünï 日本 🙂\nOnce upon";
        for file in [
            text.as_bytes().to_vec(),
            [text.as_bytes(), b"\n"].concat(),
            [b"\xef\xbb\xbf", text.as_bytes(), b"\r\n\x1a"].concat(),
            [
                b"\xef\xbb\xbf",
                text.replace('\n', "\r\n").as_bytes(),
                b"\r\n",
            ]
            .concat(),
            [text.as_bytes(), b"\n\x1a\0\0"].concat(),
            utf16(&format!("\u{feff}{text}"), u16::to_le_bytes),
            utf16(&format!("\u{feff}{text}\n\u{1a}"), u16::to_be_bytes),
            // DOS' end of the file in one byte behind Windows' characters.
            [
                &utf16(&format!("\u{feff}{text}\r\n"), u16::to_le_bytes)[..],
                b"\x1a",
            ]
            .concat(),
        ] {
            let read = String::from_utf8(prompt(&file).unwrap()).unwrap();
            // Mixed line ends belong to no system: they stay.
            let mixed = file.ends_with(b"\r\n\x1a") || file.ends_with(b"\n\0\x1a");
            assert!(
                read == text || mixed && read.replace('\r', "") == text,
                "{file:?}: {read:?}"
            );
            assert!(decode(&file).unwrap().starts_with("Ünï 日本 🙂"));
        }
        assert_eq!(
            prompt(b"O\0n\0c\0e\0").unwrap(),
            b"Once",
            "UTF-16 without its mark"
        );
        assert_eq!(prompt(b"a\r\n\r\nb\r\n\r\n").unwrap(), b"a\n\nb\n");
        // Any other bytes are a prompt, too.
        for bytes in [&b"a\xff\xe6\x97b"[..], b"a\nb\r\n", b"\r", b"", b"\xef\xbb"] {
            assert_eq!(shown(bytes).unwrap(), bytes);
        }
        assert_eq!(prompt(b"\x1a").unwrap(), b"");
        assert!(prompt(b"\xff\xfe\x00\xd8").unwrap_err().contains("UTF-16"));
        assert!(decode(b"a\xff").unwrap_err().contains("UTF-8 at byte 1"));
    }
}
