//! Cells as pixels: the glyph of each cell, and a cache of coloured glyphs, since a scroll has no
//! time for more than copying rows.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use llama2_console::width;
use ratatui::{buffer::Cell, style::Modifier};

use crate::{
    font::{Font, Shape},
    lines::FULL,
    theme,
};

/// Contents of a cell: the number of a glyph, and foreground and background from
/// [`theme::COLOURS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot(u32);

impl Spot {
    /// A cell of unknown contents.
    pub(crate) const UNKNOWN: Spot = Spot(u32::MAX);
    /// An empty cell.
    pub(crate) const EMPTY: Spot = Spot::new(0, theme::TEXT, theme::GROUND);

    const fn new(glyph: u16, colour: u8, ground: u8) -> Spot {
        Spot(glyph as u32 | (colour as u32) << 16 | (ground as u32) << 24)
    }

    fn glyph(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    fn colours(self) -> (usize, usize) {
        ((self.0 >> 16 & 0xff) as usize, (self.0 >> 24) as usize)
    }
}

/// Largest number of glyphs kept beyond one for each cell. When there are more (a long text in
/// Chinese), all are forgotten and those in view are drawn again.
const GLYPHS: usize = 4096;
/// Number of coloured cells kept: a power of two.
const KEPT: usize = 1024;
/// Added to the number of a glyph of two columns.
const TWO: u16 = 1 << 15;
/// Code points whose glyphs are found in the table.
const TABLE: usize = 0x2600;

/// Names of the boxes of one and two columns that stand for what the font has not.
const MISSING: [&str; 2] = ["\u{fffe}?", "\u{3000}?"];

/// Cache of glyphs and cells of one size.
pub(crate) struct Tiles {
    font: Font,
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Coverage levels of the glyphs, one after another, and their largest number.
    levels: Vec<u8>,
    most: usize,
    /// True if there was no room for a glyph.
    is_full: bool,
    /// Glyph number plus one of each character and style, with [`TWO`] added if it takes two
    /// columns; 0 if it is not drawn yet.
    table: Vec<u16>,
    /// Glyph numbers of all other clusters, for each style.
    others: [BTreeMap<String, u16>; 4],
    /// Pixels of [`KEPT`] cells, and the contents of each.
    pixels: Vec<u32>,
    kept: Vec<Spot>,
}

impl Tiles {
    /// Creates a cache for `cells` cells of this size, in pixels.
    pub(crate) fn new(width: usize, height: usize, cells: usize) -> Tiles {
        let mut tiles = Tiles {
            font: Font::new(width, height),
            width,
            height,
            levels: Vec::new(),
            // Their numbers must be lower than `TWO`.
            most: (GLYPHS + cells).min(usize::from(TWO) - 1),
            is_full: false,
            table: vec![0; TABLE * 4],
            others: Default::default(),
            pixels: vec![0; KEPT * width * height],
            kept: vec![Spot::UNKNOWN; KEPT],
        };
        // The first glyph is the blank.
        tiles.add(" ", Shape::default(), 1);
        tiles
    }

    /// Returns true if there was no room for a glyph, which is a blank therefore.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Forgets all glyphs but the blank: earlier spots have no meaning any more.
    pub(crate) fn clear(&mut self) {
        self.levels.truncate(self.width * self.height);
        self.table.fill(0);
        self.others.iter_mut().for_each(BTreeMap::clear);
        self.kept.fill(Spot::UNKNOWN);
        self.is_full = false;
    }

    /// Contents of one cell of the interface, and of the one to its right if it takes two.
    pub(crate) fn spots(&mut self, cell: &Cell) -> (Spot, Option<Spot>) {
        let symbol = cell.symbol();
        let mut colour = theme::number(cell.fg, theme::TEXT);
        let mut ground = theme::number(cell.bg, theme::GROUND);
        if cell.modifier.contains(Modifier::REVERSED) {
            core::mem::swap(&mut colour, &mut ground);
        }
        let (glyph, columns) = match symbol {
            // A blank has no colour: so it stays the same while styles change.
            " " => (0, 1),
            _ => self.glyph(symbol, cell.modifier),
        };
        if glyph == 0 {
            colour = theme::TEXT;
        }
        let spot = |glyph| Spot::new(glyph, colour, ground);
        (spot(glyph), (columns == 2).then(|| spot(glyph + 1)))
    }

    /// Number of a cluster's glyph, and its width in columns.
    fn glyph(&mut self, cluster: &str, modifier: Modifier) -> (u16, usize) {
        let shape = Shape {
            bold: modifier.contains(Modifier::BOLD),
            italic: modifier.contains(Modifier::ITALIC),
        };
        let style = u8::from(shape.bold) | u8::from(shape.italic) << 1;
        let mut letters = cluster.chars();
        let single = letters.next().filter(|_| letters.next().is_none());
        let place = single
            .map(|letter| u32::from(letter) as usize)
            .filter(|&letter| letter < TABLE)
            .map(|letter| letter * 4 + usize::from(style));
        // The usual case: a look into a table.
        if let Some(entry) = place.map(|place| self.table[place])
            && entry > 0
        {
            return ((entry & !TWO) - 1, 1 + usize::from(entry >= TWO));
        }
        let columns = width::cluster(cluster).clamp(1, 2);
        if let Some(&glyph) = self.others[usize::from(style)].get(cluster) {
            return (glyph, columns);
        }
        if let Some(place) = place {
            let glyph = self.add(cluster, shape, columns);
            self.table[place] = (glyph + 1) | if columns == 2 { TWO } else { 0 };
            return (glyph, columns);
        }
        // All that the font has not look the same.
        let first = cluster.chars().next().unwrap_or(' ');
        let key = match self.font.has(first) {
            true => cluster,
            false => MISSING[columns - 1],
        };
        let known = self.others[usize::from(style)].get(key);
        let glyph = known.copied().unwrap_or_else(|| {
            let glyph = self.add(cluster, shape, columns);
            self.others[usize::from(style)].insert(key.to_string(), glyph);
            glyph
        });
        (glyph, columns)
    }

    /// Draws a new glyph; one of two columns counts as two consecutive glyphs.
    fn add(&mut self, cluster: &str, shape: Shape, columns: usize) -> u16 {
        let size = self.width * self.height;
        let glyph = self.levels.len() / size;
        if glyph + columns > self.most {
            self.is_full = true;
            return 0;
        }
        let mut levels = vec![0; size * columns];
        self.font.draw(cluster, shape, columns, &mut levels);
        for column in 0..columns {
            for row in levels.chunks(self.width * columns) {
                let part = &row[column * self.width..(column + 1) * self.width];
                self.levels.extend(part);
            }
        }
        glyph as u16
    }

    /// Pixels of a cell, row by row.
    fn pixels(&mut self, spot: Spot) -> &[u32] {
        let size = self.width * self.height;
        // Knuth's multiplicative hashing: two cells that are seen together rarely have the same
        // place.
        let place = (spot.0.wrapping_mul(0x9e37_79b1) >> 16) as usize % KEPT;
        let pixels = &mut self.pixels[place * size..(place + 1) * size];
        if self.kept[place] != spot {
            self.kept[place] = spot;
            let (colour, ground) = spot.colours();
            let ramp = ramp(theme::COLOURS[ground], theme::COLOURS[colour]);
            let levels = &self.levels[spot.glyph() * size..(spot.glyph() + 1) * size];
            for (pixel, &level) in pixels.iter_mut().zip(levels) {
                *pixel = ramp[usize::from(level & FULL)];
            }
        }
        pixels
    }

    /// Draws a cell at index `at` of an image whose rows are `stride` pixels long. The cell must
    /// lie within it.
    pub(crate) fn blit(&mut self, spot: Spot, image: &mut [u32], at: usize, stride: usize) {
        // A length that the compiler knows is a few moves; any other is a call.
        match self.width {
            8 => blit::<8>(self.pixels(spot), image, at, stride),
            10 => blit::<10>(self.pixels(spot), image, at, stride),
            12 => blit::<12>(self.pixels(spot), image, at, stride),
            16 => blit::<16>(self.pixels(spot), image, at, stride),
            24 => blit::<24>(self.pixels(spot), image, at, stride),
            width => {
                let mut at = at;
                for row in self.pixels(spot).chunks_exact(width) {
                    image[at..at + width].copy_from_slice(row);
                    at += stride;
                }
            }
        }
    }
}

fn blit<const WIDTH: usize>(pixels: &[u32], image: &mut [u32], mut at: usize, stride: usize) {
    for row in pixels.as_chunks::<WIDTH>().0 {
        if let Some(to) = image.get_mut(at..at + WIDTH) {
            to.copy_from_slice(row);
        }
        at += stride;
    }
}

/// Colours from background to foreground, one for each coverage level.
fn ramp(ground: u32, ink: u32) -> [u32; FULL as usize + 1] {
    let full = u32::from(FULL);
    core::array::from_fn(|level| {
        let level = level as u32;
        [16, 8, 0].iter().fold(0, |pixel, shift| {
            let (from, to) = (ground >> shift & 0xff, ink >> shift & 0xff);
            let mixed = (from * (full - level) + to * level + full / 2) / full;
            pixel | mixed << shift
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_between_ground_and_ink() {
        let ramp = ramp(0x0010_2030, 0x00f0_e0d0);
        assert_eq!((ramp[0], ramp[15]), (0x0010_2030, 0x00f0_e0d0));
        assert!(ramp.is_sorted());
    }

    #[test]
    fn glyphs_are_drawn_once_and_their_number_is_limited() {
        let mut tiles = Tiles::new(8, 16, 100);
        let mut cell = Cell::default();
        let a = tiles.spots(cell.set_symbol("a"));
        assert_eq!(tiles.spots(cell.set_symbol("a")), a);
        let (left, right) = tiles.spots(cell.set_symbol("日"));
        assert!(right.is_some_and(|right| right != left));
        assert_ne!(tiles.spots(cell.set_symbol("本")), (left, right));
        assert_eq!(tiles.spots(cell.set_symbol("日")), (left, right));
        // A private character and one of CJK's extensions: all boxes of a width are one glyph.
        for (one, other) in [("\u{e000}", "\u{e001}"), ("\u{20000}", "\u{20001}")] {
            let one = tiles.spots(cell.set_symbol(one));
            assert_eq!(tiles.spots(cell.set_symbol(other)), one);
        }
        for a in 'a'..='z' {
            for mark in '\u{300}'..='\u{36f}' {
                for other in ['\u{301}', '\u{302}', '\u{303}', '\u{323}'] {
                    let cluster: String = [a, mark, other].iter().collect();
                    tiles.spots(cell.set_symbol(&cluster));
                }
            }
        }
        assert!(tiles.levels.len() <= (GLYPHS + 100) * 8 * 16 && tiles.is_full());
    }
}
