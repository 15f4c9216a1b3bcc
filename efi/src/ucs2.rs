//! Text for a UEFI console: UCS-2 in small, null-terminated pieces.

use llama2_console::width::is_plain;

/// Splits `text` into null-terminated UCS-2 pieces and passes each to `put`. A newline becomes CR
/// LF; characters missing in UCS-2 become `?`; control characters other than CR are left out.
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
            // A list's mark, which EDK2's font lacks.
            '•' => piece[len] = u16::from(b'*'),
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
        ucs2("a\u{1b}\u{7f}b🙂\tc\0•", &mut put);
        assert_eq!(
            String::from_utf16(&all).unwrap(),
            "日本\r\n".repeat(100) + "ab? c*"
        );
    }
}
