//! Glyphs of GNU Unifont: 8 or 16 pixels wide, 16 high, for what the screen's own font lacks.
//!
//! GNU Unifont 15.0.01 (2022; SIL Open Font License 1.1: `LICENSE-Unifont.txt`) draws every
//! character of Unicode's first plane, and emoji. `unifont/pack.py` makes `unifont/unifont.bin` of
//! it, and names its source: 52 581 glyphs in 486 KiB, so that they are part of the application,
//! also where that is all that was booted. Left out are what is rare and large (CJK's extensions)
//! and scripts that only scholars write.
//!
//! The file, all numbers little-endian:
//!
//! ```text
//! "UNIFONT1"; number of pages (4 bytes); for each its number, its length, and its packed length
//! (4 bytes each); the packed pages (zlib) in the same order
//! ```
//!
//! A page has the characters whose code points are its number times 4096 and the next 4095: a byte
//! for each, its [`Kind`] (0: none); then for each glyph the left eight pixels of its sixteen rows;
//! then for each wide one the right eight. So a part that many Chinese characters share, at their
//! left or right, is the same bytes in all of them, which saves a seventh of the size.
//!
//! Pages are unpacked when a character of theirs is first needed (0.2 ms) and kept: at most 1.6 MB
//! of memory. A page that cannot be unpacked has no characters.

use alloc::vec::Vec;

use miniz_oxide::inflate::decompress_slice_iter_to_slice;

use crate::lines::FULL;

/// Number of code points of a page.
const PAGE: usize = 4096;
/// Length of a page in which all glyphs are wide.
const LONGEST: usize = PAGE * 33;
/// Number of rows of a glyph.
const ROWS: usize = 16;

/// Kind of a glyph, by its number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Narrow = 1,
    Wide,
    /// To be drawn over the character before, whose right edge is the mark's right edge.
    NarrowMark,
    WideMark,
}

impl Kind {
    fn of(byte: u8) -> Option<Kind> {
        use Kind::*;
        [Narrow, Wide, NarrowMark, WideMark]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    fn is_wide(self) -> bool {
        matches!(self, Kind::Wide | Kind::WideMark)
    }
}

#[derive(Debug)]
enum Content<'a> {
    Packed(&'a [u8]),
    Plain(Vec<u8>),
    Damaged,
}

#[derive(Debug)]
struct Page<'a> {
    number: u32,
    length: usize,
    content: Content<'a>,
}

impl Page<'_> {
    /// The page's bytes; empty if it is damaged or there is no memory for it.
    fn bytes(&mut self) -> &[u8] {
        if let Content::Packed(packed) = self.content {
            self.content = unpacked(packed, self.length).map_or(Content::Damaged, Content::Plain);
        }
        match &self.content {
            Content::Plain(bytes) => bytes,
            _ => &[],
        }
    }
}

fn unpacked(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    plain.try_reserve_exact(length).ok()?;
    plain.resize(length, 0);
    let packed = core::iter::once(packed);
    let written = decompress_slice_iter_to_slice(&mut plain, packed, true, false);
    (written == Ok(length)).then_some(plain)
}

/// The font.
#[derive(Debug)]
pub(crate) struct Unifont<'a> {
    pages: Vec<Page<'a>>,
}

impl Unifont<'static> {
    /// The font that is part of the application.
    pub(crate) fn new() -> Unifont<'static> {
        Unifont::of(include_bytes!("../unifont/unifont.bin"))
    }
}

impl<'a> Unifont<'a> {
    /// The font in a file; of a damaged one, the pages before the damage.
    fn of(file: &'a [u8]) -> Unifont<'a> {
        let mut pages = Vec::new();
        let Some((count, rest)) = file.strip_prefix(b"UNIFONT1").and_then(number) else {
            return Unifont { pages };
        };
        let (directory, mut packed) = rest.split_at(rest.len().min(count.saturating_mul(12)));
        for entry in directory.as_chunks::<4>().0.as_chunks::<3>().0 {
            let [number, length, size] = entry.map(|field| u32::from_le_bytes(field) as usize);
            if length > LONGEST || size > packed.len() {
                break;
            }
            let (content, behind) = packed.split_at(size);
            packed = behind;
            pages.push(Page {
                number: number as u32,
                length,
                content: Content::Packed(content),
            });
        }
        Unifont { pages }
    }

    /// Glyph of a character, if the font has one.
    pub(crate) fn glyph(&mut self, letter: char) -> Option<Glyph> {
        let (number, place) = (u32::from(letter) / 4096, u32::from(letter) as usize % PAGE);
        let page = self.pages.iter_mut().find(|page| page.number == number)?;
        let (kinds, halves) = page.bytes().split_at_checked(PAGE)?;
        let kind = Kind::of(kinds[place])?;
        let glyphs = |kinds: &[u8]| kinds.iter().filter(|&&kind| kind != 0).count();
        let wide = |kinds: &[u8]| {
            let is_wide = |kind: &&u8| **kind == Kind::Wide as u8 || **kind == Kind::WideMark as u8;
            kinds.iter().filter(is_wide).count()
        };
        let (halves, _) = halves.as_chunks::<ROWS>();
        let left = halves.get(glyphs(&kinds[..place]))?;
        let right = match kind.is_wide() {
            true => halves.get(glyphs(kinds) + wide(&kinds[..place]))?,
            false => &[0; ROWS],
        };
        let rows = core::array::from_fn(|y| u16::from_be_bytes([left[y], right[y]]));
        Some(Glyph { rows, kind })
    }
}

/// Number at the beginning, and what is behind it.
fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*number) as usize, rest))
}

/// A glyph of 8 or 16 columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Glyph {
    /// Pixels, the leftmost in the highest bit.
    rows: [u16; ROWS],
    kind: Kind,
}

/// Place of a glyph in a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    /// First column of the image, in pixels.
    pub left: usize,
    /// Width in pixels of the image.
    pub width: usize,
    /// Width in pixels of the font, 8 or 16. The glyph is at the right end.
    pub columns: usize,
}

/// Parts of a pixel of the font, for places between pixels.
const PART: i32 = 256;
/// Number of points of a pixel of the image that are looked at, in each direction.
const POINTS: usize = 4;
/// Share of ink around a point from which on the point is inked, of `PART` squared. A pixel that
/// is drawn as one pixel is then full to its corners (a point's distance from the middle is at most
/// 3/8: 5/8 squared), and a line that climbs by a pixel per pixel is as thick as an upright one.
const INKED: i32 = PART * PART * 25 / 64;

impl Glyph {
    /// Width in pixels of the font, 8 or 16.
    pub(crate) fn columns(&self) -> usize {
        if self.kind.is_wide() { 16 } else { 8 }
    }

    /// Draws the glyph into coverage levels whose rows are `stride` long, over what is there.
    ///
    /// Between the middles of pixels ink is interpolated, and what is above a threshold is inked:
    /// this rounds the corners of enlarged glyphs, and joins pixels that touch at corners.
    pub(crate) fn draw(&self, frame: Frame, is_bold: bool, stride: usize, levels: &mut [u8]) {
        let height = levels.len() / stride;
        // Distance of a point from the middle of the frame's first pixel, in parts of a pixel.
        let middle = |point: usize, length: usize, pixels: usize| {
            let parts = PART * pixels as i32;
            (2 * point as i32 + 1) * parts / (2 * POINTS as i32 * length as i32) - PART / 2
        };
        let aside = PART * (frame.columns - self.columns()) as i32;
        let columns: Vec<Column> = (0..POINTS * frame.width)
            .map(|point| Column::at(middle(point, frame.width, frame.columns) - aside))
            .collect();
        for (y, levels) in levels.chunks_exact_mut(stride).enumerate() {
            let lines: [Line; POINTS] = core::array::from_fn(|point| {
                self.line(middle(POINTS * y + point, height, ROWS), is_bold)
            });
            if lines.iter().all(|line| line.above | line.below == 0) {
                continue;
            }
            let levels = levels.iter_mut().skip(frame.left);
            for (level, columns) in levels.zip(columns.as_chunks::<POINTS>().0) {
                let inked = |line: &Line| columns.iter().filter(|at| line.is_inked(at)).count();
                let inked = lines.iter().map(inked).sum::<usize>();
                let most = POINTS * POINTS;
                *level = (*level).max(((inked * usize::from(FULL) + most / 2) / most) as u8);
            }
        }
    }

    /// Line at this height, in parts of a pixel from the middle of the first row.
    fn line(&self, y: i32, is_bold: bool) -> Line {
        let row = |at: i32| {
            let row = usize::try_from(at).ok().and_then(|at| self.rows.get(at));
            let row = u32::from(row.copied().unwrap_or(0)) << ASIDE;
            if is_bold { row | row >> 1 } else { row }
        };
        let at = y.div_euclid(PART);
        Line {
            above: row(at),
            below: row(at + 1),
            share: y.rem_euclid(PART),
        }
    }
}

/// Empty bits to the right of the sixteen of a row.
const ASIDE: u32 = 8;

/// Line between two rows of a glyph.
#[derive(Debug, Clone, Copy)]
struct Line {
    above: u32,
    below: u32,
    /// Share of the row below, of `PART`.
    share: i32,
}

impl Line {
    /// Returns true if there is enough ink at its crossing with a column.
    fn is_inked(&self, column: &Column) -> bool {
        let pair = |row: u32| (row >> column.shift & 3) as usize;
        let (above, below) = (column.ink[pair(self.above)], column.ink[pair(self.below)]);
        above * (PART - self.share) + below * self.share >= INKED
    }
}

/// Place between two columns of a glyph.
#[derive(Debug, Clone, Copy)]
struct Column {
    /// Number of bits of a row to the right of these two.
    shift: u32,
    /// Ink for each of the four pairs of pixels, of `PART`.
    ink: [i32; 4],
}

impl Column {
    /// The place at this distance from the middle of the first column, in parts of a pixel.
    fn at(x: i32) -> Column {
        let (at, share) = (x.div_euclid(PART), x.rem_euclid(PART));
        Column {
            shift: (14 + ASIDE as i32 - at).clamp(0, 30) as u32,
            ink: [0, share, PART - share, PART],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{format, string::String};

    /// The glyph as in the font's own source: rows in hexadecimal.
    fn hex(font: &mut Unifont<'_>, letter: char) -> Option<(String, Kind)> {
        let glyph = font.glyph(letter)?;
        let row = |row: &u16| match glyph.columns() {
            8 => format!("{:02X}", row >> 8),
            _ => format!("{row:04X}"),
        };
        Some((glyph.rows.iter().map(row).collect(), glyph.kind))
    }

    /// Lines of `unifont.hex` and, for the emoji, what an independent reader of the outlines found.
    #[test]
    fn glyphs_are_those_of_the_source() {
        let mut font = Unifont::new();
        for (letter, kind, rows) in [
            (
                '日',
                Kind::Wide,
                "00001FF0101010101010101010101FF01010101010101010101010101FF01010",
            ),
            (
                '한',
                Kind::Wide,
                "000008087F081C082208220E22081C080008000808000800080008000FF80000",
            ),
            (
                'क',
                Kind::Wide,
                "000000000000FFFF008000800EB011C811880E88009000800080000000000000",
            ),
            (
                '🙂',
                Kind::Wide,
                "000003E00C181004200226324631400140014001222221C210040C1803E00000",
            ),
            ('ｶ', Kind::Narrow, "000808087F0909090911111222224400"),
            ('ท', Kind::Narrow, "000000000000646A3222222222220000"),
            (
                '\u{301}',
                Kind::NarrowMark,
                "0C300000000000000000000000000000",
            ),
        ] {
            assert_eq!(
                hex(&mut font, letter),
                Some((rows.into(), kind)),
                "{letter}"
            );
        }
        for absent in ['\u{3400}', '\u{e000}', '\u{200d}', '\u{fe0f}', '\u{20000}'] {
            assert_eq!(font.glyph(absent), None, "{absent:?}");
        }
        assert_eq!(font.pages.len(), 17);
        let plain = font.pages.iter().map(|page| page.length).sum::<usize>();
        assert_eq!(plain, 1_620_016);
    }

    #[test]
    fn a_pixel_that_is_a_pixel_stays_one() {
        let glyph = Unifont::new().glyph('日').unwrap();
        let mut levels = [0; 16 * 16];
        let frame = Frame {
            left: 0,
            width: 16,
            columns: 16,
        };
        glyph.draw(frame, false, 16, &mut levels);
        for (y, row) in glyph.rows.iter().enumerate() {
            for x in 0..16 {
                let level = levels[16 * y + x];
                match row >> (15 - x) & 1 {
                    1 => assert_eq!(level, FULL, "{x} {y}"),
                    // Inner corners are rounded a little.
                    _ => assert!(level <= FULL / 4, "{x} {y} {level}"),
                }
            }
        }
        let mut bold = [0; 16 * 16];
        glyph.draw(frame, true, 16, &mut bold);
        let ink = |levels: &[u8]| levels.iter().map(|&level| u32::from(level)).sum::<u32>();
        assert!(ink(&bold) > ink(&levels) * 5 / 4);
    }

    /// The file with one of its pages.
    fn small() -> Vec<u8> {
        let file = include_bytes!("../unifont/unifont.bin");
        let font = Unifont::of(file);
        let page = font.pages.iter().find(|page| page.number == 13).unwrap();
        let Content::Packed(packed) = page.content else {
            panic!("nothing was looked up");
        };
        let numbers = [1, 13, page.length as u32, packed.len() as u32];
        let mut small = b"UNIFONT1".to_vec();
        small.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        small.extend(packed);
        small
    }

    #[test]
    fn a_damaged_font_lacks_characters_and_no_more() {
        let file = small();
        let mut whole = Unifont::of(&file);
        let letter = '\u{d55c}';
        let glyph = whole.glyph(letter);
        assert!(glyph.is_some());
        for length in (0..40).chain((40..file.len()).step_by(11)) {
            assert_eq!(Unifont::of(&file[..length]).glyph(letter), None, "{length}");
        }
        let mut state = 5u64;
        let mut random = move |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        for round in 0..2000 {
            let mut damaged = file.clone();
            // The directory, or anything.
            let below = [24, file.len()][round % 2];
            for _ in 0..1 + random(3) {
                damaged[random(below)] ^= 1 << random(8);
            }
            // Zlib's checksum finds what is still a stream.
            let mut font = Unifont::of(&damaged);
            let found = font.glyph(letter);
            assert!(found.is_none() || found == glyph, "round {round}");
        }
        for file in [
            &b"UNIFONT1\xff\xff\xff\xff"[..],
            b"UNIFONT1",
            b"",
            &[0xff; 99],
        ] {
            assert_eq!(Unifont::of(file).glyph('a'), None);
        }
    }
}
