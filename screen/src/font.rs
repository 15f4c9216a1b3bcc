//! Glyphs as coverage levels of a cell's pixels, from the outlines of one font at any size, and,
//! for characters that it lacks, from the pixels of another ([`crate::unifont`]).
//!
//! # The font
//!
//! DejaVu Sans Mono 2.37 (the last version, of 2016; Bitstream Vera's licence, changes in the
//! public domain: `LICENSE-DejaVu.txt`), from the crate `dejavu` 2.37; the build script converts
//! its outlines to tables, so that no font parser is linked and nothing can fail at run time. It
//! has all Latin characters (Basic, Latin-1, Extended-A), modern Greek, Cyrillic of the Slavic
//! languages and half of the others', quotation marks, currencies, arrows, geometric shapes and two
//! thirds of the mathematical operators; a test counts the exceptions. Lines and blocks are drawn
//! in [`crate::lines`], since a font's own do not join. Antialiased outlines serve every resolution
//! with one font: a cell is 8x16 at 800x600, 12x24 at 1920x1080, 24x48 at 3840x2160.
//!
//! Alternatives considered:
//!
//! - `noto-sans-mono-bitmap` 0.4.0 (MIT): antialiased bitmaps of four sizes, but Latin only: no
//!   Greek, Cyrillic, lines or arrows.
//! - `embedded-graphics-unicodefonts` 0.2.0 (MIT; used by mousefood): X11's fixed fonts to 10x20,
//!   one bit per pixel; nothing for large screens.
//! - `spleen-font` 0.2.0 (MIT, the fonts BSD): 5x8 to 32x64, one bit per pixel; Latin, lines and
//!   blocks, but neither Greek nor Cyrillic.
//! - `unifont` 1.1.0 (MIT, the font GPL 2 with font exception or OFL): the first plane only, no
//!   emoji, and not packed (1.9 MB).
//! - `u8g2-fonts` 0.8.0: hundreds of fonts, each with its own licence and coverage, one bit per
//!   pixel.
//! - `epaint_default_fonts` 0.37 (Hack): requires Rust 1.95 and the standard library; an en dash
//!   looks like a hyphen.
//! - `ttf-parser` 0.25.1 in the application: unmaintained (RUSTSEC-2026-0192). `skrifa` there: it
//!   also executes hints; their benefit at 8x16 is achieved here by moving the heights of
//!   lower-case and capital letters to whole pixels.
//!
//! `ab_glyph_rasterizer` 0.1.10 fills the outlines: `no_std`, with `libm` as its only dependency.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use llama2_console::width;

use crate::{
    lines::{self, FULL},
    unifont::{Frame, Unifont},
};

/// Font data (`build.rs`) in font units: metrics; letters sorted by code point, with a range of
/// `PLACES` for each; contours and their start points; the first index of each contour's points in
/// `POINTS`; and these points, as steps.
mod outlines {
    include!(concat!(env!("OUT_DIR"), "/outlines.rs"));

    /// Contours and start points of a letter, if the font has it.
    pub(super) fn contours(letter: char) -> Option<&'static [(u16, i16, i16)]> {
        let at = LETTERS.binary_search_by_key(&u32::from(letter), |&(code, ..)| code);
        let (_, first, count) = *LETTERS.get(at.ok()?)?;
        PLACES.get(usize::from(first)..)?.get(..count.into())
    }

    /// Points of a contour after the first: steps from one to the next, and whether the contour
    /// passes through the point.
    pub(super) fn points(contour: u16) -> impl Iterator<Item = (f32, f32, bool)> {
        let at = |number: usize| STARTS.get(number).map_or(0, |&start| start as usize);
        let contour = usize::from(contour);
        let mut bytes = POINTS
            .get(at(contour)..at(contour + 1))
            .unwrap_or_default()
            .iter();
        // Seven bits a byte, the lowest first.
        let mut number = move || {
            let mut number = 0;
            for shift in [0, 7, 14, 21] {
                let byte = *bytes.next()?;
                number |= u32::from(byte & 127) << shift;
                if byte < 128 {
                    break;
                }
            }
            Some(number)
        };
        let signed = |number: u32| ((number >> 1) as i32 ^ -((number & 1) as i32)) as f32;
        core::iter::from_fn(move || {
            let (across, up) = (number()?, number()?);
            Some((signed(across >> 1), signed(up), across & 1 == 1))
        })
    }
}

/// Style of a glyph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shape {
    /// Bold.
    pub bold: bool,
    /// Italic.
    pub italic: bool,
}

/// The font in one size.
pub(crate) struct Font {
    width: usize,
    height: usize,
    /// Pixels per font unit.
    scale: f32,
    /// Distance from the top of the cell to the baseline, in pixels.
    base: f32,
    /// Heights of lower-case and capital letters: as in the font, and in whole pixels.
    small: (f32, f32),
    capital: (f32, f32),
    canvas: Rasterizer,
    /// The font of everything else.
    unifont: Unifont<'static>,
}

/// Place of a character in a cluster.
#[derive(Debug, Default)]
struct Base {
    /// First column and width, in pixels.
    left: usize,
    width: usize,
    /// True if it is a glyph of Unifont, and the glyph's width in that font's pixels.
    is_glyph: bool,
    columns: usize,
    /// True if there is an outline in the cluster.
    is_outlined: bool,
}

impl Font {
    /// Creates the font for cells of this size, in pixels.
    pub(crate) fn new(width: usize, height: usize) -> Font {
        let scale = width as f32 / outlines::ADVANCE;
        let rounded = |height: f32| (height * scale, (height * scale + 0.5) as u32 as f32);
        let (above, below) = (outlines::ASCENDER * scale, -outlines::DESCENDER * scale);
        Font {
            width,
            height,
            scale,
            base: ((height as f32 - above - below) / 2.0 + above + 0.5) as u32 as f32,
            small: rounded(outlines::SMALL),
            capital: rounded(outlines::CAPITAL),
            // A cell of two columns, and one of room on each side.
            canvas: Rasterizer::new(4 * width, 3 * height),
            unifont: Unifont::new(),
        }
    }

    /// Returns true if this character can be drawn.
    pub(crate) fn has(&mut self, letter: char) -> bool {
        let letter = alias(letter);
        outlines::contours(letter).is_some() || self.unifont.glyph(letter).is_some()
    }

    /// Draws the coverage levels of a cluster of `columns` columns, row by row, into `levels`.
    /// Characters missing in both fonts become a box.
    pub(crate) fn draw(&mut self, cluster: &str, shape: Shape, columns: usize, levels: &mut [u8]) {
        let (width, height) = (self.width * columns, self.height);
        levels.fill(0);
        let Some(first) = cluster.chars().next() else {
            return;
        };
        if first.is_whitespace() || lines::draw(first, width, height, levels) {
            return;
        }
        if !self.has(first) {
            return missing(width, height, levels);
        }
        self.canvas.clear();
        // Its letters, such as the two of a flag, share the columns. Of emoji that are joined the
        // first stands for all, and colours of skin are not shown.
        let is_wide = width::letter(first) > 1;
        let is_drawn = |&(place, letter): &(usize, char)| match width::letter(letter) {
            0 => true,
            1 => place == 0 || !is_wide,
            _ => place == 0,
        };
        let letters = || cluster.chars().enumerate().filter(is_drawn);
        let all: usize = letters().map(|(_, letter)| width::letter(letter)).sum();
        let share = |at: usize| at * width / all.max(1);
        let (mut at, mut base) = (0, Base::default());
        for (place, letter) in letters() {
            let columns = width::letter(letter);
            let is_mark = place > 0 && columns == 0;
            if !is_mark {
                base.left = share(at);
                base.width = share(at + columns.max(1)) - base.left;
                at += columns;
            }
            self.letter(alias(letter), is_mark, &mut base, shape, (width, levels));
        }
        if !base.is_outlined {
            return;
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
                let level = &mut levels[y * width + x];
                *level = (*level).max((ink * f32::from(FULL) + 0.5) as u8);
            }
        });
    }

    /// Draws a character of a cluster: an outline on the canvas, or a glyph of Unifont into
    /// `levels`, whose rows are `stride` long. `base` is the place for it or, if it is a mark, of
    /// the character that it belongs to.
    fn letter(
        &mut self,
        letter: char,
        is_mark: bool,
        base: &mut Base,
        shape: Shape,
        (stride, levels): (usize, &mut [u8]),
    ) {
        let outline = outlines::contours(letter);
        // Marks are of the font of their letter; and in two columns a wide glyph looks better than
        // a narrow one in their middle.
        let glyph = match (is_mark, outline) {
            (_, None) => self.unifont.glyph(letter),
            (true, _) if base.is_glyph => self.unifont.glyph(letter),
            (false, _) if base.width > self.width => {
                let glyph = self.unifont.glyph(letter);
                glyph.filter(|glyph| glyph.columns() == 16)
            }
            _ => None,
        };
        if !is_mark {
            base.is_glyph = glyph.is_some();
            base.columns = glyph.map_or(8, |glyph| glyph.columns());
        }
        if let Some(glyph) = glyph {
            let columns = base.columns.max(glyph.columns());
            // A wide glyph in one column becomes narrower.
            let width = (columns * self.width / 8).min(base.width);
            let left = base.left + (base.width - width) / 2;
            let frame = Frame {
                left,
                width,
                columns,
            };
            glyph.draw(frame, shape.bold, stride, levels);
        } else if let Some(outline) = outline {
            base.is_outlined = true;
            let aside = base.left as f32 + (base.width as f32 - self.width as f32) / 2.0;
            let thicker = 0.045 * self.width as f32;
            match shape.bold {
                true => {
                    self.outline(outline, aside - thicker, shape.italic);
                    self.outline(outline, aside + thicker, shape.italic);
                }
                false => self.outline(outline, aside, shape.italic),
            }
        }
    }

    fn outline(&mut self, glyph: &[(u16, i16, i16)], aside: f32, italic: bool) {
        let (width, height) = self.canvas.dimensions();
        let mut pen = Pen {
            now: point(0.0, 0.0),
            origin: point(self.width as f32 + aside, self.height as f32 + self.base),
            limit: point(width as f32 - 1.0, height as f32 - 1.0),
            scale: self.scale,
            small: self.small,
            capital: self.capital,
            lean: if italic { 0.2 } else { 0.0 },
            canvas: &mut self.canvas,
        };
        for &(contour, x, y) in glyph {
            pen.contour(contour, f32::from(x), f32::from(y));
        }
    }
}

/// Substitute that looks the same, for some characters that the font lacks.
fn alias(letter: char) -> char {
    match letter {
        // Two of these are a flag.
        '\u{1f1e6}'..='\u{1f1ff}' => char::from(b'A' + (u32::from(letter) - 0x1f1e6) as u8),
        '\u{2024}' => '.',
        '\u{2027}' => '·',
        '\u{2043}' => '–',
        '\u{2044}' => '/',
        _ => letter,
    }
}

/// Draws the box for a missing character.
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

/// Draws outlines in font units on the canvas.
struct Pen<'a> {
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
        // The tops of lower-case and capital letters are on whole pixels; the rest is stretched.
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

    /// Draws a closed contour of lines and quadratic curves, as in TrueType ("glyf - Glyph Data").
    fn contour(&mut self, contour: u16, x: f32, y: f32) {
        let begin = (x, y);
        let mut last = begin;
        // A point that the line bends towards.
        let mut towards = None;
        self.now = self.place(x, y);
        for (across, up, is_on) in outlines::points(contour) {
            last = (last.0 + across, last.1 + up);
            match (towards, is_on) {
                (None, true) => self.line(last),
                (Some(control), true) => self.quad(control, last),
                // Between two of these it goes through their middle.
                (Some((x, y)), false) => {
                    self.quad((x, y), ((x + last.0) / 2.0, (y + last.1) / 2.0))
                }
                (None, false) => (),
            }
            towards = (!is_on).then_some(last);
        }
        match towards {
            Some(control) => self.quad(control, begin),
            None => self.line(begin),
        }
    }

    fn line(&mut self, (x, y): (f32, f32)) {
        let to = self.place(x, y);
        self.canvas.draw_line(self.now, to);
        self.now = to;
    }

    fn quad(&mut self, control: (f32, f32), (x, y): (f32, f32)) {
        let (control, to) = (self.place(control.0, control.1), self.place(x, y));
        self.canvas.draw_quad(self.now, control, to);
        self.now = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, vec, vec::Vec};

    /// Unicode blocks, and how many of their characters have no outlines (including unassigned
    /// ones).
    #[test]
    fn the_scripts_that_are_promised() {
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
                let is_drawn = lines::draw(letter, 8, 16, &mut cell);
                !is_drawn && outlines::contours(alias(letter)).is_none()
            });
            assert_eq!(missing.count(), lacking, "{name}");
        }
    }

    /// Unicode blocks of which nothing is a box.
    #[test]
    fn the_scripts_of_the_world() {
        let mut font = Font::new(8, 16);
        for (name, range) in [
            ("Cyrillic of all languages", 0x400..0x530),
            ("Hebrew letters", 0x5d0..0x5eb),
            ("Arabic", 0x620..0x700),
            ("Devanagari", 0x900..0x980),
            ("Thai", 0xe01..0xe3b),
            ("Ethiopic syllables", 0x1200..0x1249),
            ("arrows, operators, technical", 0x2190..0x2427),
            ("symbols, dingbats, braille", 0x2600..0x2b74),
            ("kana", 0x3041..0x3097),
            ("katakana", 0x30a0..0x3100),
            ("CJK ideographs", 0x4e00..0xa000),
            ("Hangul syllables", 0xac00..0xd7a4),
            ("full width", 0xff01..0xffbf),
            ("mathematical letters", 0x1d456..0x1d49d),
            ("pictographs, emoticons", 0x1f300..0x1f650),
            ("transport", 0x1f680..0x1f6d8),
            ("more pictographs", 0x1f900..0x1fa54),
            ("the newest", 0x1fae0..0x1fae9),
        ] {
            let missing = range
                .filter_map(char::from_u32)
                .find(|&letter| !font.has(letter));
            let missing = missing.map(|letter| format!("U+{:04X}", u32::from(letter)));
            assert_eq!(missing, None, "{name}");
        }
    }

    /// Ink in each column of cells.
    fn ink(font: &mut Font, cluster: &str, columns: usize) -> Vec<u32> {
        let (width, height) = (font.width, font.height);
        let mut levels = vec![0; columns * width * height];
        font.draw(cluster, Shape::default(), columns, &mut levels);
        let mut ink = vec![0; columns];
        for row in levels.chunks(columns * width) {
            for (x, &level) in row.iter().enumerate() {
                ink[x / width] += u32::from(level);
            }
        }
        ink
    }

    fn image(font: &mut Font, cluster: &str, columns: usize) -> Vec<u8> {
        let mut levels = vec![0; columns * font.width * font.height];
        font.draw(cluster, Shape::default(), columns, &mut levels);
        levels
    }

    #[test]
    fn emoji_of_several_characters_are_their_first() {
        let mut font = Font::new(12, 24);
        for (cluster, first) in [
            ("👨\u{200d}👩\u{200d}👧", "👨"),
            ("👍🏽", "👍"),
            ("❤\u{fe0f}", "❤"),
            (
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
                "🏴",
            ),
            ("❤\u{fe0f}\u{200d}🔥", "❤"),
        ] {
            let first = image(&mut font, first, 2);
            assert!(image(&mut font, cluster, 2) == first, "{cluster}");
        }
        // A flag is its two letters.
        let (d, e) = (ink(&mut font, "D", 1), ink(&mut font, "E", 1));
        assert_eq!(ink(&mut font, "🇩🇪", 2), [d, e].concat());
        // A key has its frame.
        assert!(image(&mut font, "1\u{fe0f}\u{20e3}", 2) != image(&mut font, "1", 2));
    }

    #[test]
    fn letters_of_a_cluster_share_its_columns() {
        let mut font = Font::new(12, 24);
        // The vowel sign above is drawn over the letter below, and two letters stand side by side.
        let (two, second) = (ink(&mut font, "स्ते", 2), ink(&mut font, "त", 1));
        assert!(two[0] > 0 && two[1] > second[0], "{two:?} {second:?}");
        let three = image(&mut font, "क्ष्म", 2);
        assert!(three != image(&mut font, "क्ष्", 2));
        // A mark that the outlines lack, on a letter that they have.
        assert!(image(&mut font, "x\u{20d7}", 1) != image(&mut font, "x", 1));
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
