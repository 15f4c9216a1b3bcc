//! Converts the screen's font to outlines that can be used without a font parser: letters, the
//! contours of each, and the contours' points.
//!
//! The font is fixed, in one version, so anything unexpected fails the build.

use std::{collections::BTreeMap, env, fmt::Write, fs, path::Path};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let font = Font {
        bytes: dejavu::sans_mono::regular(),
    };
    let folder = env::var_os("OUT_DIR").expect("cargo names a folder for what build scripts make");
    let (source, points) = font.tables();
    fs::write(Path::new(&folder).join("outlines.rs"), source).expect("it is written");
    fs::write(Path::new(&folder).join("points"), points).expect("it is written");
}

/// A TrueType font (OpenType 1.9: "cmap", "glyf", "head", "hhea", "hmtx", "loca").
struct Font {
    bytes: &'static [u8],
}

/// Closed contour: points, and whether it passes through each or only bends towards it.
type Contour = Vec<(i32, i32, bool)>;

impl Font {
    fn u16(&self, at: usize) -> usize {
        usize::from(u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]))
    }

    fn i16(&self, at: usize) -> i32 {
        i32::from(self.u16(at) as i16)
    }

    fn u32(&self, at: usize) -> usize {
        self.u16(at) << 16 | self.u16(at + 2)
    }

    fn table(&self, tag: &[u8; 4]) -> usize {
        let mut records = (0..self.u16(4)).map(|i| 12 + 16 * i);
        let record = records.find(|&at| self.bytes[at..at + 4] == tag[..]);
        self.u32(record.expect("DejaVu Sans Mono has this table") + 8)
    }

    /// Glyphs of letters, from the table of all planes (format 12).
    fn letters(&self) -> BTreeMap<usize, usize> {
        let cmap = self.table(b"cmap");
        let mut tables = (0..self.u16(cmap + 2)).map(|i| cmap + self.u32(cmap + 8 + 8 * i));
        let table = tables.find(|&at| self.u16(at) == 12).expect("format 12");
        let groups = (0..self.u32(table + 12)).map(|i| table + 16 + 12 * i);
        let letters = groups.flat_map(|at| {
            let (first, last, glyph) = (self.u32(at), self.u32(at + 4), self.u32(at + 8));
            (first..=last).map(move |letter| (letter, glyph + letter - first))
        });
        letters.filter(|&(_, glyph)| glyph != 0).collect()
    }

    /// Offset of a glyph; `None` if it is empty.
    fn glyph(&self, glyph: usize) -> Option<usize> {
        let (loca, glyf) = (self.table(b"loca"), self.table(b"glyf"));
        let place = |glyph: usize| self.u32(loca + 4 * glyph);
        (place(glyph) < place(glyph + 1)).then(|| glyf + place(glyph))
    }

    fn contours(&self, glyph: usize) -> Vec<Contour> {
        let Some(at) = self.glyph(glyph) else {
            return Vec::new();
        };
        match usize::try_from(self.i16(at)) {
            Ok(count) => self.simple(at + 10, count),
            Err(_) => self.composite(at + 10),
        }
    }

    /// Contours of a composite glyph: other glyphs, moved.
    fn composite(&self, mut at: usize) -> Vec<Contour> {
        let mut contours = Vec::new();
        loop {
            let flags = self.u16(at);
            assert_eq!(flags & 0b1100_1010, 0b10, "moved, not scaled");
            let (x, y) = match flags & 1 {
                0 => {
                    let byte = |at: usize| i32::from(self.bytes[at] as i8);
                    (byte(at + 4), byte(at + 5))
                }
                _ => (self.i16(at + 4), self.i16(at + 6)),
            };
            let moved = |(px, py, on)| (px + x, py + y, on);
            let parts = self.contours(self.u16(at + 2)).into_iter();
            contours.extend(parts.map(|part| part.into_iter().map(moved).collect()));
            if flags & 0x20 == 0 {
                return contours;
            }
            at += if flags & 1 == 0 { 6 } else { 8 };
        }
    }

    fn simple(&self, at: usize, count: usize) -> Vec<Contour> {
        let ends: Vec<usize> = (0..count).map(|i| self.u16(at + 2 * i) + 1).collect();
        let points = ends.last().copied().unwrap_or(0);
        // Behind the hints.
        let mut at = at + 2 * count;
        at += 2 + self.u16(at);
        let mut flags = Vec::new();
        while flags.len() < points {
            let flag = self.bytes[at];
            let repeated = if flag & 8 != 0 { self.bytes[at + 1] } else { 0 };
            at += 1 + usize::from(flag >> 3 & 1);
            flags.extend(vec![flag; 1 + usize::from(repeated)]);
        }
        // Horizontally: a byte with flag 2, whose sign is flag 16, or nothing with flag 16;
        // vertically likewise.
        let mut numbers = |short: u8, same: u8| -> Vec<i32> {
            let mut number = 0;
            let step = |&flag: &u8| {
                match (flag & short != 0, flag & same != 0) {
                    (true, is_positive) => {
                        let step = i32::from(self.bytes[at]);
                        number += if is_positive { step } else { -step };
                        at += 1;
                    }
                    (false, true) => (),
                    (false, false) => {
                        number += self.i16(at);
                        at += 2;
                    }
                }
                number
            };
            flags.iter().map(step).collect()
        };
        let (across, up) = (numbers(2, 16), numbers(4, 32));
        let point = |i: usize| (across[i], up[i], flags[i] & 1 != 0);
        let begins = [0].into_iter().chain(ends.iter().copied());
        begins
            .zip(&ends)
            .map(|(from, &to)| (from..to).map(point).collect())
            .collect()
    }

    /// Tables as source code, which `font.rs` includes and explains, and the points.
    fn tables(&self) -> (String, Vec<u8>) {
        let all = self.letters();
        let (hhea, hmtx) = (self.table(b"hhea"), self.table(b"hmtx"));
        let top = |letter: char| self.i16(self.glyph(all[&(letter as usize)]).expect("ink") + 8);
        let mut out = format!(
            "pub(super) const ADVANCE: f32 = {}.0;\npub(super) const ASCENDER: f32 = {}.0;\n\
             pub(super) const DESCENDER: f32 = {}.0;\npub(super) const SMALL: f32 = {}.0;\n\
             pub(super) const CAPITAL: f32 = {}.0;\n",
            // Letters of one width: that of the first is that of all.
            self.u16(hmtx),
            self.i16(hhea + 4),
            self.i16(hhea + 6),
            top('x'),
            top('H'),
        );
        // Letters of one glyph share its contours; accented ones have their letter's and the
        // accent's.
        let (mut drawn, mut known) = (BTreeMap::new(), BTreeMap::new());
        let (mut starts, mut points) = (vec![0], Vec::new());
        let (mut letters, mut places) = (String::new(), String::new());
        let mut placed = 0;
        for (letter, glyph) in &all {
            let (first, count) = *drawn.entry(glyph).or_insert_with(|| {
                let contours = self.contours(*glyph);
                for contour in &contours {
                    let (x, y, packed) = pack(contour);
                    let next = starts.len() - 1;
                    let number = *known.entry(packed.clone()).or_insert(next);
                    if number == next {
                        points.extend(packed);
                        starts.push(points.len());
                    }
                    write!(places, "({number},{x},{y}),").expect("a text");
                }
                placed += contours.len();
                (placed - contours.len(), contours.len())
            });
            write!(letters, "({letter},{first},{count}),").expect("a text");
        }
        write!(
            out,
            "static LETTERS: &[(u32, u16, u8)] = &[{letters}];\nstatic PLACES: &[(u16, i16, i16)] = &[{places}];\n\
             static STARTS: &[u32] = &{starts:?};\nstatic POINTS: &[u8] = include_bytes!(\"points\");\n"
        )
        .expect("a text");
        (out, points)
    }
}

/// Start of a contour, and its other points: steps from one to the next, horizontal (doubled, with
/// a bit for points on the contour) and vertical.
fn pack(contour: &[(i32, i32, bool)]) -> (i32, i32, Vec<u8>) {
    let mut contour = contour.to_vec();
    // If it passes through none of its points, it passes through the middle between any two.
    if contour.iter().all(|point| !point.2) {
        let ((ax, ay, _), (bx, by, _)) = (contour[0], contour[1]);
        contour.insert(1, ((ax + bx) / 2, (ay + by) / 2, true));
    }
    let first = contour.iter().position(|point| point.2).unwrap_or(0);
    let (mut x, mut y, _) = contour[first];
    let begin = (x, y);
    let mut out = Vec::new();
    for &(next_x, next_y, is_on) in contour
        .iter()
        .cycle()
        .skip(first + 1)
        .take(contour.len() - 1)
    {
        number(zigzag(next_x - x) << 1 | u32::from(is_on), &mut out);
        number(zigzag(next_y - y), &mut out);
        (x, y) = (next_x, next_y);
    }
    (begin.0, begin.1, out)
}

/// Encodes small signed numbers as small unsigned ones.
fn zigzag(number: i32) -> u32 {
    (number << 1 ^ number >> 31) as u32
}

/// Encodes seven bits per byte, the lowest first; the eighth bit marks that more follow.
fn number(mut number: u32, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number as u8 | 128);
        number >>= 7;
    }
    out.push(number as u8);
}
