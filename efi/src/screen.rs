//! Text for a UEFI console: UCS-2 in small, null-terminated pieces, and times and rates for people.

use alloc::{format, string::String};

use llama2_console::terminal::is_plain;

/// Cuts `text` into null-terminated UCS-2 pieces and hands each to `put`. A newline becomes CR LF; what UCS-2 has not
/// becomes `?`; other control characters but CR are left out.
pub fn ucs2(text: &str, put: &mut dyn FnMut(&[u16])) {
    const LEN: usize = 128;
    let mut piece = [0u16; LEN];
    let mut len = 0;
    for letter in text.chars() {
        // Room for two units and the null.
        if len > LEN - 3 {
            piece[len] = 0;
            put(&piece[..=len]);
            len = 0;
        }
        match letter {
            '\n' => {
                piece[len..len + 2].copy_from_slice(&[u16::from(b'\r'), u16::from(b'\n')]);
                len += 2;
                continue;
            }
            '\t' => piece[len] = u16::from(b' '),
            '\r' | '\u{8}' => piece[len] = letter as u16,
            _ if !is_plain(letter) => continue,
            _ => piece[len] = u16::try_from(u32::from(letter)).unwrap_or(u16::from(b'?')),
        }
        len += 1;
    }
    if len > 0 {
        piece[len] = 0;
        put(&piece[..=len]);
    }
}

/// A progress bar of `width` places.
pub fn bar(done: u64, total: u64, width: usize) -> String {
    let full = filled(done, total, width);
    format!("[{}{}]", "#".repeat(full), ".".repeat(width - full))
}

/// How many of `width` places are full.
pub fn filled(done: u64, total: u64, width: usize) -> usize {
    (u128::from(done.min(total)) * width as u128)
        .checked_div(u128::from(total))
        .unwrap_or(width as u128) as usize
}

/// Megabytes (10^6 bytes) a second.
pub fn megabytes_per_second(bytes: u64, microseconds: u64) -> String {
    format!("{:.1} MB/s", bytes as f64 / microseconds.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_terminated_pieces() {
        let mut all = Vec::new();
        let mut put = |piece: &[u16]| {
            assert_eq!(
                piece.iter().position(|&unit| unit == 0),
                Some(piece.len() - 1)
            );
            assert!(piece.len() <= 128);
            all.extend_from_slice(&piece[..piece.len() - 1]);
        };
        let long = "日本\n".repeat(100);
        ucs2(&long, &mut put);
        ucs2("", &mut put);
        ucs2("a\u{1b}\u{7f}b🙂\tc\0", &mut put);
        assert_eq!(
            String::from_utf16(&all).unwrap(),
            "日本\r\n".repeat(100) + "ab? c"
        );
    }

    #[test]
    fn bars() {
        assert_eq!(bar(0, 10, 10), "[..........]");
        assert_eq!(bar(5, 10, 10), "[#####.....]");
        assert_eq!(bar(11, 10, 10), "[##########]");
        assert_eq!(bar(0, 0, 4), "[####]");
        assert_eq!(bar(u64::MAX, u64::MAX, 4), "[####]");
        assert_eq!(megabytes_per_second(60_816_028, 1_000_000), "60.8 MB/s");
    }
}
