//! The font that the screen is drawn with, without the tables that nobody reads here: hints, kerning, glyphs' names.

use std::{env, fs, path::Path};

/// What `ttf-parser` needs for outlines, in the order of a font's directory (OpenType, "Table directory").
const KEPT: [&[u8; 4]; 7] = [
    b"cmap", b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var_os("OUT_DIR").expect("cargo names a folder for what build scripts make");
    let font = kept(dejavu::sans_mono::regular());
    fs::write(Path::new(&folder).join("font.ttf"), font).expect("the font is written");
}

/// The same font with fewer tables.
fn kept(font: &[u8]) -> Vec<u8> {
    let number = |at: usize| u32::from_be_bytes(font[at..at + 4].try_into().expect("four bytes"));
    let tables = usize::from(u16::from_be_bytes([font[4], font[5]]));
    let mut directory = vec![0, 1, 0, 0, 0, KEPT.len() as u8];
    // The largest power of two in the number of tables, times 16; its logarithm; and what is left.
    directory.extend([0, 64, 0, 2, 0, 16 * (KEPT.len() as u8 - 4)]);
    let mut content = Vec::new();
    let begin = directory.len() + 16 * KEPT.len();
    for tag in KEPT {
        let record = (0..tables)
            .map(|i| 12 + 16 * i)
            .find(|&at| font[at..at + 4] == tag[..])
            .expect("DejaVu Sans Mono has this table");
        let (from, length) = (number(record + 8) as usize, number(record + 12));
        directory.extend(&font[record..record + 8]);
        directory.extend(((begin + content.len()) as u32).to_be_bytes());
        directory.extend(length.to_be_bytes());
        content.extend(&font[from..from + length as usize]);
        content.resize(content.len().next_multiple_of(4), 0);
    }
    directory.extend(content);
    directory
}
