//! QR codes (ISO/IEC 18004) of URLs, drawn in half blocks: dark letters on a light ground have two
//! modules each, one above the other.

use alloc::string::String;

use qrcodegen_no_heap::{Mask, QrCode, QrCodeEcc, Version};

/// Largest version: 53 characters with low error correction.
const LARGEST: Version = Version::new(3);
/// Light modules around the code. The standard asks for four; readers do with two.
const QUIET: i32 = 2;

/// Draws a URL; nothing if it is too long.
pub fn draw(url: &str) -> Option<String> {
    let mut room = [0; LARGEST.buffer_len()];
    let mut text = [0; LARGEST.buffer_len()];
    let code = QrCode::encode_text(
        url,
        &mut room,
        &mut text,
        QrCodeEcc::Low,
        Version::MIN,
        LARGEST,
        Some(Mask::new(0)),
        true,
    )
    .ok()?;
    let range = -QUIET..code.size() + QUIET;
    let mut drawn = String::new();
    for y in range.clone().step_by(2) {
        for x in range.clone() {
            // What is shown is light on a dark ground: a block is a light module.
            drawn.push(match (code.get_module(x, y), code.get_module(x, y + 1)) {
                (false, false) => '\u{2588}',
                (false, true) => '\u{2580}',
                (true, false) => '\u{2584}',
                (true, true) => ' ',
            });
        }
        drawn.push('\n');
    }
    Some(drawn)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_corners_and_a_border() {
        let code = draw("http://192.168.178.123:8080").expect("it fits");
        let rows: Vec<Vec<char>> = code.lines().map(|row| row.chars().collect()).collect();
        assert!(
            rows.iter()
                .all(|row| row.len() == 29 + 2 * QUIET as usize - 4 || row.len() == 29)
        );
        assert!(rows[0].iter().all(|&block| block == '\u{2588}'));
        // The top of a corner's square: dark above light, in a dark frame.
        assert_eq!(
            rows[1][2..9],
            [
                ' ', '\u{2584}', '\u{2584}', '\u{2584}', '\u{2584}', '\u{2584}', ' '
            ]
        );
        assert!(draw(&"x".repeat(54)).is_none());
    }
}
