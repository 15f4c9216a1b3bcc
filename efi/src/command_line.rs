//! Command line in the options of a boot entry.

use alloc::{string::String, vec::Vec};

/// Splits an image's load options into words, if they are text that begins with `-` (boot entries
/// often contain other data). The specification demands null-terminated UCS-2; tools and users also
/// write a byte order mark, a line end, ASCII or UTF-8.
pub fn load_options(bytes: &[u8]) -> Option<Vec<String>> {
    // ASCII has no zero in its first pair; and of other data little begins with a dash.
    let narrow = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Some(rest),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [_, 0, ..] | [0, _, ..] => None,
        rest => Some(rest),
    };
    let text = match narrow {
        Some(bytes) => {
            let end = bytes.iter().position(|&byte| byte == 0);
            String::from_utf8(bytes[..end.unwrap_or(bytes.len())].into()).ok()?
        }
        None => {
            let swapped = bytes.starts_with(&[0xfe, 0xff]);
            let units = bytes.chunks_exact(2).map(|pair| match swapped {
                true => u16::from_be_bytes([pair[0], pair[1]]),
                false => u16::from_le_bytes([pair[0], pair[1]]),
            });
            let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
            String::from_utf16(&units).ok()?
        }
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    text.starts_with('-').then(|| split(text))
}

/// Splits a text at spaces and line ends; double quotes keep spaces within a word.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' | '\r' | '\n' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_options_are_taken_only_if_they_look_like_ours() {
        let ucs2 = |text: &str| {
            text.encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>()
        };
        assert_eq!(
            load_options(&ucs2("-t 0 -i \"Once upon\"  -n 5\0junk")).unwrap(),
            ["-t", "0", "-i", "Once upon", "-n", "5"]
        );
        assert_eq!(
            load_options(&ucs2("-i \"\" -n 1")).unwrap(),
            ["-i", "", "-n", "1"]
        );
        assert_eq!(load_options(&ucs2("\\EFI\\BOOT\\BOOTX64.EFI")), None);
        assert_eq!(
            load_options(&[0x2d, 0, 0, 0xd8, 0, 0]),
            None,
            "half a surrogate"
        );
        // With a byte order mark, a line end, more nulls, and in eight bits.
        let want: &[&str] = &["-t", "0", "-i", "é b"];
        let mark = |text: &str| ucs2(&format!("\u{feff}{text}"));
        let swapped: Vec<u8> = mark("-t 0 -i \"é b\"")
            .chunks(2)
            .flat_map(|pair| [pair[1], pair[0]])
            .collect();
        for bytes in [
            mark("-t 0 -i \"é b\""),
            swapped,
            ucs2("-t 0\r\n-i \"é b\"\r\n"),
            ucs2("  -t\t0 -i \"é b\"\n\0\0\0"),
            "-t 0 -i \"é b\"".into(),
            "\u{feff}-t 0 -i \"é b\"\r\n\0".into(),
            "-t 0 -i \"é b\"\0\0\0\0junk".into(),
        ] {
            assert_eq!(load_options(&bytes).unwrap(), want, "{bytes:?}");
        }
        for other in [
            &b"\\EFI"[..],
            b"x -t 0",
            b"-\xff",
            b"\0-t 0",
            b"\xfe\xff",
            b"-",
        ] {
            assert_eq!(load_options(other).filter(|words| words.len() > 1), None);
        }
        assert_eq!(load_options(b""), None);
    }
}
