//! Screen as cells and as pixels: finds and draws the cells that changed, and reports the
//! rectangles that have to be copied to the display.

use alloc::{vec, vec::Vec};

use ratatui::buffer::Buffer;

use crate::tiles::{Spot, Tiles};

/// Rectangle of pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Distance from the left edge.
    pub x: usize,
    /// Distance from the top.
    pub y: usize,
    /// Width, at least 1.
    pub width: usize,
    /// Height, at least 1.
    pub height: usize,
}

/// Cost of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameCost {
    /// Number of cells that were redrawn.
    pub cells: usize,
    /// Number of rectangles that were copied.
    pub areas: usize,
    /// Number of their pixels.
    pub pixels: usize,
}

/// Block of cells: ranges of columns and rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    columns: (usize, usize),
    rows: (usize, usize),
}

impl Block {
    fn cells(&self) -> usize {
        (self.columns.1 - self.columns.0) * (self.rows.1 - self.rows.0)
    }

    fn and(&self, other: &Block) -> Block {
        Block {
            columns: (
                self.columns.0.min(other.columns.0),
                self.columns.1.max(other.columns.1),
            ),
            rows: (self.rows.0.min(other.rows.0), self.rows.1.max(other.rows.1)),
        }
    }
}

/// Number of unchanged cells that are copied rather than using another rectangle: about as
/// expensive as one call of the firmware.
const SLACK: usize = 48;

pub(crate) struct Picture {
    pub(crate) tiles: Tiles,
    width: usize,
    height: usize,
    pub(crate) columns: usize,
    pub(crate) rows: usize,
    /// Cells to be shown, and cells shown by the pixels.
    next: Vec<Spot>,
    shown: Vec<Spot>,
    /// Rows of `next` that may differ.
    touched: Vec<bool>,
    pixels: Vec<u32>,
    /// True if the contents of the display are unknown.
    forgotten: bool,
}

impl Picture {
    /// Creates a picture of this size in pixels; `None` if there is no memory.
    pub(crate) fn new(width: usize, height: usize, cell: (usize, usize)) -> Option<Picture> {
        let (columns, rows) = (width / cell.0, height / cell.1);
        let mut pixels = Vec::new();
        pixels.try_reserve_exact(width * height).ok()?;
        let ground = crate::theme::COLOURS[usize::from(crate::theme::GROUND)];
        pixels.resize(width * height, ground);
        Some(Picture {
            tiles: Tiles::new(cell.0, cell.1, columns * rows),
            width,
            height,
            columns,
            rows,
            next: vec![Spot::EMPTY; columns * rows],
            shown: vec![Spot::EMPTY; columns * rows],
            touched: vec![false; rows],
            pixels,
            forgotten: true,
        })
    }

    /// Marks the contents of the display as unknown, so that everything is copied again.
    pub(crate) fn forget(&mut self) {
        self.forgotten = true;
    }

    /// Forgets glyphs and cells: every row must be taken again.
    pub(crate) fn clear_glyphs(&mut self) {
        self.tiles.clear();
        self.next.fill(Spot::EMPTY);
        self.shown.fill(Spot::UNKNOWN);
        self.touched.fill(true);
    }

    /// Returns true if [`Picture::flush`] has something to do.
    pub(crate) fn is_due(&self) -> bool {
        self.forgotten || self.touched.contains(&true)
    }

    /// Takes a row from the interface.
    pub(crate) fn take(&mut self, buffer: &Buffer, row: usize) {
        let range = row * self.columns..(row + 1) * self.columns;
        let (Some(cells), Some(spots)) =
            (buffer.content.get(range.clone()), self.next.get_mut(range))
        else {
            return;
        };
        self.touched[row] = true;
        let mut second = None;
        for (spot, cell) in spots.iter_mut().zip(cells) {
            *spot = match second.take() {
                Some(second) => second,
                None => {
                    let (first, other) = self.tiles.spots(cell);
                    second = other;
                    first
                }
            };
        }
    }

    /// Moves rows up by `by`, within a range of rows.
    pub(crate) fn move_up(&mut self, rows: (usize, usize), by: usize) {
        let cells = self
            .next
            .get_mut(rows.0 * self.columns..rows.1 * self.columns);
        if let Some(cells) = cells.filter(|cells| by * self.columns < cells.len()) {
            cells.copy_within(by * self.columns.., 0);
            self.touched[rows.0..rows.1].fill(true);
        }
    }

    /// Draws what changed, and copies it to the display.
    pub(crate) fn flush(&mut self, put: &mut dyn FnMut(Area, &[u32], usize)) -> FrameCost {
        let mut drawn = FrameCost::default();
        let (cell_width, cell_height) = (self.tiles.width, self.tiles.height);
        let left = (self.width - self.columns * cell_width) / 2;
        let top = (self.height - self.rows * cell_height) / 2;
        let mut blocks: Vec<Block> = Vec::new();
        // The blocks of the row above begin here.
        let mut above = 0;
        for row in 0..self.rows {
            if !core::mem::take(&mut self.touched[row]) {
                continue;
            }
            let begin = blocks.len();
            for column in 0..self.columns {
                let at = row * self.columns + column;
                let spot = self.next[at];
                if spot == self.shown[at] {
                    continue;
                }
                self.shown[at] = spot;
                drawn.cells += 1;
                let place = (top + row * cell_height) * self.width + left + column * cell_width;
                self.tiles.blit(spot, &mut self.pixels, place, self.width);
                match blocks[begin..].last_mut() {
                    Some(block) if column - block.columns.1 <= SLACK => {
                        block.columns.1 = column + 1;
                    }
                    _ => blocks.push(Block {
                        columns: (column, column + 1),
                        rows: (row, row + 1),
                    }),
                }
            }
            above = join(&mut blocks, above, begin);
        }
        if core::mem::take(&mut self.forgotten) {
            let all = Area {
                x: 0,
                y: 0,
                width: self.width,
                height: self.height,
            };
            put(all, &self.pixels, self.width);
            drawn.areas = 1;
            drawn.pixels = self.pixels.len();
            return drawn;
        }
        for block in blocks {
            let area = Area {
                x: left + block.columns.0 * cell_width,
                y: top + block.rows.0 * cell_height,
                width: (block.columns.1 - block.columns.0) * cell_width,
                height: (block.rows.1 - block.rows.0) * cell_height,
            };
            put(area, &self.pixels, self.width);
            drawn.areas += 1;
            drawn.pixels += area.width * area.height;
        }
        drawn
    }
}

/// Joins the blocks of a row, from `begin` on, with those of the row above, from `above` on, if
/// that costs little. Returns the new index of the row's first block.
fn join(blocks: &mut Vec<Block>, above: usize, begin: usize) -> usize {
    let mut here = begin;
    let mut at = begin;
    while at < blocks.len() {
        let block = blocks[at];
        let partner = (above..begin).find(|&other| {
            let other = &blocks[other];
            let both = other.and(&block);
            other.rows.1 == block.rows.0 && both.cells() <= other.cells() + block.cells() + SLACK
        });
        match partner {
            Some(other) => {
                blocks[other] = blocks[other].and(&block);
                blocks.remove(at);
                // It is of this row now: the next row looks at it too.
                here = here.min(other);
            }
            None => at += 1,
        }
    }
    here
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_width_are_one_rectangle() {
        let block = |row, from, to| Block {
            columns: (from, to),
            rows: (row, row + 1),
        };
        let mut blocks = Vec::new();
        let mut above = 0;
        for (row, spans) in [
            &[(0, 100)][..],
            &[(10, 100)],
            &[(0, 4), (90, 94)],
            &[(0, 100)],
        ]
        .iter()
        .enumerate()
        {
            let begin = blocks.len();
            blocks.extend(spans.iter().map(|&(from, to)| block(row, from, to)));
            above = join(&mut blocks, above, begin);
        }
        assert_eq!(blocks.len(), 4, "{blocks:?}");
        assert_eq!(
            blocks[0],
            Block {
                columns: (0, 100),
                rows: (0, 2)
            }
        );
        let covered = |row, column| {
            blocks.iter().any(|block| {
                (block.rows.0..block.rows.1).contains(&row)
                    && (block.columns.0..block.columns.1).contains(&column)
            })
        };
        for (row, column) in [(0, 0), (1, 99), (2, 3), (2, 93), (3, 50)] {
            assert!(covered(row, column), "{row} {column} {blocks:?}");
        }
    }
}
