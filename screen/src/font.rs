//! Characters as levels of ink in a cell, from the outlines of one font at any size.
//!
//! # The font
//!
//! DejaVu Sans Mono 2.37 (the last version, of 2016; Bitstream Vera's licence, changes in the public domain: `LICENSE-DejaVu.txt`), as the crate `dejavu` 2.37
//! brings it; the build script leaves out the tables that are not read. Measured on November 24, 2026: 274 KiB of the 333 KiB remain. It has every character of Latin (Basic, Latin-1,
//! Extended-A), modern Greek, Cyrillic of the Slavic languages and half of the others', quotation marks, currencies, arrows, geometric shapes and two thirds of the mathematical
//! operators; a test counts the exceptions. Lines and blocks are drawn in [`crate::lines`], since a font's own do not meet. Smoothed outlines serve every resolution with one font: a cell is 8x16 at 800x600, 12x24 at 1920x1080, 24x48 at 3840x2160.
//!
//! Looked at as well:
//!
//! - `noto-sans-mono-bitmap` 0.4.0 (MIT): smoothed bitmaps of four sizes, but Latin only: no Greek, Cyrillic, lines or arrows.
//! - `embedded-graphics-unicodefonts` 0.2.0 (MIT; what mousefood uses): X11's fixed fonts to 10x20, one bit a pixel; nothing for large screens.
//! - `spleen-font` 0.2.0 (MIT, the fonts BSD): 5x8 to 32x64, one bit a pixel; Latin, lines and blocks, but neither Greek nor Cyrillic.
//! - `unifont` 1.1.0 (MIT, the font GPL 2 with font exception or OFL): all of Unicode's first plane, but 8x16 only and one bit a pixel.
//! - `u8g2-fonts` 0.8.0: hundreds of fonts, each with a licence and a coverage of its own, one bit a pixel.
//! - `epaint_default_fonts` 0.37 (Hack): wants Rust 1.95 and the standard library; an en dash looks like a hyphen.
//! - `skrifa` 0.49 for `ttf-parser`: it executes hints; what they gain at 8x16 is had here by moving the heights of small and capital letters onto whole pixels.
//!
//! `ttf-parser` 0.25.1 reads the outlines, `ab_glyph_rasterizer` 0.1.10 fills them: both `no_std`, neither with dependencies but `libm`.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use llama2_console::width;
use ttf_parser::{Face, GlyphId, OutlineBuilder};

use crate::lines;

/// All ink: levels go from 0 to this.
pub(crate) const FULL: u8 = 15;

/// The font's tables that are needed: see `build.rs`.
static OUTLINES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/font.ttf"));

/// How letters are made different from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    /// Thicker.
    pub bold: bool,
    /// Leaning to the right.
    pub italic: bool,
}

/// The font in one size.
pub(crate) struct Font {
    face: Option<Face<'static>>,
    width: usize,
    height: usize,
    /// Pixels of a unit of the font.
    scale: f32,
    /// Pixels from the cell's top to the line that letters stand on.
    base: f32,
    /// Heights of small and capital letters: as the font has them, and in whole pixels.
    small: (f32, f32),
    capital: (f32, f32),
    canvas: Rasterizer,
}

impl Font {
    /// The font for cells of this size, in pixels.
    pub(crate) fn new(width: usize, height: usize) -> Font {
        // The tests read it, so that it can be read.
        let face = Face::parse(OUTLINES, 0).ok();
        let advance = face.as_ref().and_then(|face| {
            let letter = face.glyph_index('M')?;
            face.glyph_hor_advance(letter)
        });
        let scale = width as f32 / f32::from(advance.unwrap_or(1).max(1));
        let top = |letter: char| {
            let face = face.as_ref()?;
            let bounds = face.glyph_bounding_box(face.glyph_index(letter)?)?;
            Some(f32::from(bounds.y_max) * scale)
        };
        let rounded = |height: f32| (height, (height + 0.5) as u32 as f32);
        let (above, below) = face.as_ref().map_or((1.0, 0.0), |face| {
            let below = -f32::from(face.descender()) * scale;
            (f32::from(face.ascender()) * scale, below)
        });
        let (small, capital) = (top('x').unwrap_or(1.0), top('H').unwrap_or(2.0));
        Font {
            width,
            height,
            scale,
            base: ((height as f32 - above - below) / 2.0 + above + 0.5) as u32 as f32,
            small: rounded(small),
            capital: rounded(capital),
            // A cell of two columns, and one of room on each side.
            canvas: Rasterizer::new(4 * width, 3 * height),
            face,
        }
    }

    /// Whether it has this character.
    pub(crate) fn has(&self, letter: char) -> bool {
        let face = self.face.as_ref();
        face.is_some_and(|face| face.glyph_index(letter).is_some_and(|glyph| glyph.0 != 0))
    }

    /// Levels of ink of a cluster, `columns` wide: row by row into `levels`. What is not in the font is a box.
    pub(crate) fn draw(&mut self, cluster: &str, shape: Shape, columns: usize, levels: &mut [u8]) {
        let (width, height) = (self.width * columns, self.height);
        levels.fill(0);
        let mut letters = cluster.chars();
        let Some(first) = letters.next() else {
            return;
        };
        let first = alias(first);
        if first.is_whitespace() || lines::draw(first, width, height, levels) {
            return;
        }
        if !self.has(first) {
            return missing(width, height, levels);
        }
        self.canvas.clear();
        // What fits into one column stands in the middle of two.
        let aside = (columns - 1) as f32 * self.width as f32 / 2.0;
        let marks = letters.filter(|&letter| width::letter(letter) == 0);
        for letter in core::iter::once(first).chain(marks) {
            let glyph = self.face.as_ref().and_then(|face| face.glyph_index(letter));
            let Some(glyph) = glyph.filter(|glyph| glyph.0 != 0) else {
                continue;
            };
            let thicker = 0.045 * self.width as f32;
            match shape.bold {
                true => {
                    self.outline(glyph, aside - thicker, shape.italic);
                    self.outline(glyph, aside + thicker, shape.italic);
                }
                false => self.outline(glyph, aside, shape.italic),
            }
        }
        let (left, top) = (self.width, self.height);
        self.canvas.for_each_pixel_2d(|x, y, ink| {
            let (x, y) = (
                (x as usize).wrapping_sub(left),
                (y as usize).wrapping_sub(top),
            );
            if x < width && y < height {
                // Light letters on a dark ground look thinner than they are.
                let ink = ink.min(1.0);
                let ink = ink + 0.35 * ink * (1.0 - ink);
                levels[y * width + x] = (ink * f32::from(FULL) + 0.5) as u8;
            }
        });
    }

    fn outline(&mut self, glyph: GlyphId, aside: f32, italic: bool) {
        let (width, height) = self.canvas.dimensions();
        let mut pen = Pen {
            begin: point(0.0, 0.0),
            now: point(0.0, 0.0),
            origin: point(self.width as f32 + aside, self.height as f32 + self.base),
            limit: point(width as f32 - 1.0, height as f32 - 1.0),
            scale: self.scale,
            small: self.small,
            capital: self.capital,
            lean: if italic { 0.2 } else { 0.0 },
            canvas: &mut self.canvas,
        };
        if let Some(face) = &self.face {
            face.outline_glyph(glyph, &mut pen);
        }
    }
}

/// A character that looks the same, for some that the font has not.
fn alias(letter: char) -> char {
    match letter {
        '\u{2024}' => '.',
        '\u{2027}' => '·',
        '\u{2043}' => '–',
        '\u{2044}' => '/',
        _ => letter,
    }
}

/// A character that the font has not: a box.
fn missing(width: usize, height: usize, levels: &mut [u8]) {
    let (left, right) = (width / 8, width - 1 - width / 8);
    let (top, bottom) = (height / 5, height - 1 - height / 5);
    for y in top..=bottom {
        for x in left..=right {
            if x == left || x == right || y == top || y == bottom {
                levels[y * width + x] = FULL * 2 / 3;
            }
        }
    }
}

/// Brings outlines in the font's units into the canvas.
struct Pen<'a> {
    begin: Point,
    now: Point,
    origin: Point,
    limit: Point,
    scale: f32,
    small: (f32, f32),
    capital: (f32, f32),
    lean: f32,
    canvas: &'a mut Rasterizer,
}

impl Pen<'_> {
    fn place(&self, x: f32, y: f32) -> Point {
        let (x, y) = (x * self.scale, y * self.scale);
        // The tops of small and of capital letters lie on whole pixels; what is between is stretched.
        let up = if y <= 0.0 {
            y
        } else if y <= self.small.0 {
            y * self.small.1 / self.small.0
        } else if y <= self.capital.0 {
            let share = (y - self.small.0) / (self.capital.0 - self.small.0);
            self.small.1 + share * (self.capital.1 - self.small.1)
        } else {
            y + self.capital.1 - self.capital.0
        };
        // Nothing may leave the canvas: it sums from pixel to pixel.
        let x = self.origin.x + x + self.lean * (y - self.small.0 / 2.0);
        point(
            x.clamp(0.0, self.limit.x),
            (self.origin.y - up).clamp(0.0, self.limit.y),
        )
    }
}

impl OutlineBuilder for Pen<'_> {
    fn move_to(&mut self, x: f32, y: f32) {
        self.begin = self.place(x, y);
        self.now = self.begin;
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let to = self.place(x, y);
        self.canvas.draw_line(self.now, to);
        self.now = to;
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (control, to) = (self.place(x1, y1), self.place(x, y));
        self.canvas.draw_quad(self.now, control, to);
        self.now = to;
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (first, second) = (self.place(x1, y1), self.place(x2, y2));
        let to = self.place(x, y);
        self.canvas.draw_cubic(self.now, first, second, to);
        self.now = to;
    }

    fn close(&mut self) {
        self.canvas.draw_line(self.now, self.begin);
        self.now = self.begin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Blocks of Unicode, and how many of their characters are boxes (unassigned ones among them).
    #[test]
    fn the_scripts_that_are_promised() {
        let font = Font::new(8, 16);
        let mut cell = vec![0; 8 * 16];
        for (name, range, lacking) in [
            ("Basic Latin", 0x20..0x7f, 0),
            ("Latin-1 Supplement, Latin Extended-A", 0xa0..0x180, 0),
            // Three are unassigned.
            ("Greek, modern", 0x384..0x3cf, 3),
            ("Greek, archaic and Coptic", 0x3cf..0x400, 15),
            ("Cyrillic, modern Slavic", 0x400..0x460, 0),
            (
                "Cyrillic, historic and of other languages",
                0x460..0x500,
                76,
            ),
            // Two spaces, leaders, marks of ancient texts.
            ("dashes, quotation marks, bullets", 0x2010..0x2028, 1),
            ("per mille to interrobang", 0x2030..0x2040, 2),
            ("currencies to the rouble", 0x20a0..0x20be, 4),
            ("arrows", 0x2190..0x2200, 0),
            ("mathematical operators", 0x2200..0x2300, 78),
            ("box drawing, block elements", 0x2500..0x25a0, 0),
            ("geometric shapes", 0x25a0..0x2600, 0),
        ] {
            let missing = range.filter_map(char::from_u32).filter(|&letter| {
                let drawn = lines::draw(letter, 8, 16, &mut cell);
                !drawn && !font.has(alias(letter))
            });
            assert_eq!(missing.count(), lacking, "{name}");
        }
    }

    #[test]
    fn letters_have_ink_and_stay_in_their_cells() {
        for (width, height) in [(8, 16), (9, 18), (12, 24), (24, 48)] {
            let mut font = Font::new(width, height);
            for columns in [1, 2] {
                let mut levels = vec![0; columns * width * height];
                for bold in [false, true] {
                    for cluster in ["M", "g", "Å", "e\u{301}", "Ж", "λ", "日", "🙂", "@"] {
                        let shape = Shape { bold, italic: bold };
                        font.draw(cluster, shape, columns, &mut levels);
                        let inked = levels.iter().filter(|&&level| level > 0).count();
                        assert!(inked > width && inked < levels.len() * 3 / 4, "{cluster}");
                        assert!(levels.iter().all(|&level| level <= FULL));
                    }
                }
                font.draw(" ", Shape::default(), columns, &mut levels);
                assert!(levels.iter().all(|&level| level == 0));
            }
        }
    }

    #[test]
    fn an_accent_of_its_own_is_drawn_above_its_letter() {
        let mut font = Font::new(12, 24);
        let (mut plain, mut marked) = (vec![0; 288], vec![0; 288]);
        font.draw("e", Shape::default(), 1, &mut plain);
        font.draw("e\u{301}", Shape::default(), 1, &mut marked);
        let above = |levels: &[u8]| levels[..12 * 6].iter().any(|&level| level > 0);
        assert!(!above(&plain) && above(&marked));
    }
}
