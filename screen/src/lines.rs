//! Box drawing and block elements (Unicode's U+2500 to U+259F), drawn for cells of any size,
//! because those of a font do not join at the edges.

/// Highest coverage level; 0 is the lowest.
pub(crate) const FULL: u8 = 15;

/// Arms of U+2500 to U+257F from the middle up, right, down and left: 1 for a light line, 2 for a
/// heavy one, 3 for a double one.
const ARMS: [u16; 128] = [
    0o0101, 0o0202, 0o1010, 0o2020, 0o0101, 0o0202, 0o1010, 0o2020, 0o0101, 0o0202, 0o1010, 0o2020,
    0o0110, 0o0210, 0o0120, 0o0220, 0o0011, 0o0012, 0o0021, 0o0022, 0o1100, 0o1200, 0o2100, 0o2200,
    0o1001, 0o1002, 0o2001, 0o2002, 0o1110, 0o1210, 0o2110, 0o1120, 0o2120, 0o2210, 0o1220, 0o2220,
    0o1011, 0o1012, 0o2011, 0o1021, 0o2021, 0o2012, 0o1022, 0o2022, 0o0111, 0o0112, 0o0211, 0o0212,
    0o0121, 0o0122, 0o0221, 0o0222, 0o1101, 0o1102, 0o1201, 0o1202, 0o2101, 0o2102, 0o2201, 0o2202,
    0o1111, 0o1112, 0o1211, 0o1212, 0o2111, 0o1121, 0o2121, 0o2112, 0o2211, 0o1122, 0o1221, 0o2212,
    0o1222, 0o2122, 0o2221, 0o2222, 0o0101, 0o0202, 0o1010, 0o2020, 0o0303, 0o3030, 0o0310, 0o0130,
    0o0330, 0o0013, 0o0031, 0o0033, 0o1300, 0o3100, 0o3300, 0o1003, 0o3001, 0o3003, 0o1310, 0o3130,
    0o3330, 0o1013, 0o3031, 0o3033, 0o0313, 0o0131, 0o0333, 0o1303, 0o3101, 0o3303, 0o1313, 0o3131,
    0o3333, 0o0110, 0o0011, 0o1001, 0o1100, 0, 0, 0, 0o0001, 0o1000, 0o0100, 0o0010, 0o0002,
    0o2000, 0o0200, 0o0020, 0o0201, 0o1020, 0o0102, 0o2010,
];

/// Cell to be filled with coverage levels.
struct Canvas<'a> {
    width: i32,
    height: i32,
    levels: &'a mut [u8],
}

impl Canvas<'_> {
    /// Fills a rectangle; parts outside of the cell are ignored.
    fn set(&mut self, from: (i32, i32), to: (i32, i32), level: u8) {
        for y in from.1.max(0)..to.1.min(self.height) {
            for x in from.0.max(0)..to.0.min(self.width) {
                self.levels[(y * self.width + x) as usize] = level;
            }
        }
    }

    /// Fills a rectangle, with its coordinates exchanged if `upright`.
    fn turned(&mut self, upright: bool, from: (i32, i32), to: (i32, i32), level: u8) {
        let turn = |(along, across)| match upright {
            true => (across, along),
            false => (along, across),
        };
        self.set(turn(from), turn(to), level);
    }
}

/// Fills a cell with one of these characters. Returns false for other characters.
pub(crate) fn draw(letter: char, width: usize, height: usize, levels: &mut [u8]) -> bool {
    let mut canvas = Canvas {
        width: width as i32,
        height: height as i32,
        levels,
    };
    match letter {
        // Diagonals are the font's.
        '\u{2571}'..='\u{2573}' => return false,
        '\u{256d}'..='\u{2570}' => arc(&mut canvas, letter),
        '\u{2500}'..='\u{257f}' => arms(&mut canvas, letter),
        '\u{2580}'..='\u{259f}' => block(&mut canvas, letter),
        _ => return false,
    }
    true
}

fn light(canvas: &Canvas<'_>) -> i32 {
    (canvas.width / 8).max(1)
}

fn arms(canvas: &mut Canvas<'_>, letter: char) {
    let index = u32::from(letter) as usize - 0x2500;
    let arms = ARMS[index];
    let [up, right, down, left] = [9, 6, 3, 0].map(|shift| i32::from(arms >> shift & 7));
    let light = light(canvas);
    let heavy = (2 * light).max(light + 1);
    // Half the way between the lines of a double one.
    let apart = (canvas.width / 6).max(light + 1);
    for (upright, before, behind, crossing) in [
        (false, left, right, (up, down)),
        (true, up, down, (left, right)),
    ] {
        let (length, middle, across) = match upright {
            false => (canvas.width, canvas.width / 2, canvas.height / 2),
            true => (canvas.height, canvas.height / 2, canvas.width / 2),
        };
        let through = crossing.0.min(crossing.1) == 3;
        for (kind, forwards) in [(before, false), (behind, true)] {
            // It covers what crosses it: from and to, relative to the middle.
            let (first, last) = match crossing.0.max(crossing.1) {
                // A single line does not enter the space between two.
                3 if kind != 3 && through => (apart, -apart),
                3 => (-apart, apart),
                _ => (0, 0),
            };
            let thick = match crossing.0.max(crossing.1) {
                2 => heavy,
                _ => light,
            };
            let (from, to) = match forwards {
                true => (middle + first - thick / 2, length),
                false => (0, middle + last - thick / 2 + thick),
            };
            let mut line = |at: i32, thick: i32| {
                let from = (from, at - thick / 2);
                canvas.turned(upright, from, (to, from.1 + thick), FULL);
            };
            match kind {
                1 => line(across, light),
                2 => line(across, heavy),
                3 => {
                    line(across - apart, light);
                    line(across + apart, light);
                }
                _ => {}
            }
        }
        // Dashes have gaps.
        let dashes = match index {
            0x04..=0x07 => 3,
            0x08..=0x0b => 4,
            0x4c..=0x4f => 2,
            _ => 0,
        };
        for dash in 0..dashes {
            let gap = length * (dash + 1) / dashes;
            let wide = (length / dashes / 3).max(1);
            canvas.turned(upright, (gap - wide, 0), (gap, i32::MAX), 0);
        }
    }
    // Between double lines that meet there is nothing.
    if up.max(down) == 3 && right.max(left) == 3 {
        // Behind the first of two lines, and before the second.
        let between = |middle: i32| {
            (
                middle - apart - light / 2 + light,
                middle + apart - light / 2,
            )
        };
        for (upright, before, behind) in [(false, left, right), (true, up, down)] {
            let (along, across, length) = match upright {
                false => (canvas.width / 2, canvas.height / 2, canvas.width),
                true => (canvas.height / 2, canvas.width / 2, canvas.height),
            };
            let (along, across) = (between(along), between(across));
            let from = if before == 3 { 0 } else { along.0 };
            let to = if behind == 3 { length } else { along.1 };
            canvas.turned(upright, (from, across.0), (to, across.1), 0);
        }
    }
}

/// Draws a rounded corner.
fn arc(canvas: &mut Canvas<'_>, letter: char) {
    let (width, height) = (canvas.width, canvas.height);
    let light = light(canvas);
    let (right, down) = (matches!(letter, '╭' | '╰'), matches!(letter, '╭' | '╮'));
    // The lines that it joins are where `arms` draws them.
    let line = (
        (width / 2 - light / 2) as f32 + light as f32 / 2.0,
        (height / 2 - light / 2) as f32 + light as f32 / 2.0,
    );
    let radius = line.0.min(width as f32 - line.0);
    let centre = (
        if right {
            line.0 + radius
        } else {
            line.0 - radius
        },
        if down {
            line.1 + radius
        } else {
            line.1 - radius
        },
    );
    for y in 0..height {
        for x in 0..width {
            let at = (x as f32 + 0.5, y as f32 + 0.5);
            let beyond = if down {
                at.1 >= centre.1
            } else {
                at.1 <= centre.1
            };
            let aside = if right {
                at.0 >= centre.0
            } else {
                at.0 <= centre.0
            };
            let off = if beyond {
                at.0 - line.0
            } else if aside {
                at.1 - line.1
            } else {
                let (dx, dy) = (at.0 - centre.0, at.1 - centre.1);
                // Near the circle this is the distance from it.
                (dx * dx + dy * dy - radius * radius) / (2.0 * radius)
            };
            let off = if off < 0.0 { -off } else { off };
            let ink = (light as f32 / 2.0 + 0.5 - off).clamp(0.0, 1.0);
            canvas.levels[(y * width + x) as usize] = (ink * f32::from(FULL) + 0.5) as u8;
        }
    }
}

fn block(canvas: &mut Canvas<'_>, letter: char) {
    let (width, height) = (canvas.width, canvas.height);
    let eighth = |n: u32, of: i32| (n as i32 * of + 4) / 8;
    let end = (width, height);
    let number = u32::from(letter) - 0x2580;
    let (from, to) = match number {
        0x00 => ((0, 0), (width, eighth(4, height))),
        0x01..=0x08 => ((0, height - eighth(number, height)), end),
        0x09..=0x0f => ((0, 0), (eighth(0x10 - number, width), height)),
        0x10 => ((eighth(4, width), 0), end),
        0x11..=0x13 => {
            return canvas.set((0, 0), end, FULL / 4 * (number as u8 - 0x10));
        }
        0x14 => ((0, 0), (width, eighth(1, height))),
        0x15 => ((width - eighth(1, width), 0), end),
        _ => {
            // Quadrants: upper left, upper right, lower left, lower right.
            let quadrants = [
                0b0010, 0b0001, 0b1000, 0b1011, 0b1001, 0b1110, 0b1101, 0b0100, 0b0110, 0b0111,
            ][number as usize - 0x16];
            let (x, y) = (eighth(4, width), eighth(4, height));
            for (bit, from, to) in [
                (8, (0, 0), (x, y)),
                (4, (x, 0), (width, y)),
                (2, (0, y), (x, height)),
                (1, (x, y), end),
            ] {
                if quadrants & bit != 0 {
                    canvas.set(from, to, FULL);
                }
            }
            return;
        }
    };
    canvas.set(from, to, FULL);
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::String, vec, vec::Vec};

    fn cell(letter: char, width: usize, height: usize) -> Vec<u8> {
        let mut levels = vec![0; width * height];
        assert!(draw(letter, width, height, &mut levels), "{letter}");
        levels
    }

    /// Returns whether there is ink at each edge: above, right, below, left.
    fn edges(levels: &[u8], width: usize, height: usize) -> [bool; 4] {
        let ink = |x: usize, y: usize| levels[y * width + x] > 0;
        [
            (0..width).any(|x| ink(x, 0)),
            (0..height).any(|y| ink(width - 1, y)),
            (0..width).any(|x| ink(x, height - 1)),
            (0..height).any(|y| ink(0, y)),
        ]
    }

    #[test]
    fn lines_reach_the_edges_that_they_should() {
        for (width, height) in [(8, 16), (12, 24), (16, 32), (11, 22)] {
            for letter in '\u{2500}'..='\u{257f}' {
                let index = u32::from(letter) as usize - 0x2500;
                // Dashes end in a gap, and diagonals are not drawn here.
                if matches!(index, 4..=11 | 0x4c..=0x4f | 0x71..=0x73) {
                    continue;
                }
                let arms = ARMS[index];
                let want = [9, 6, 3, 0].map(|shift| arms >> shift & 7 != 0);
                let levels = cell(letter, width, height);
                assert_eq!(edges(&levels, width, height), want, "{letter} {width}");
            }
        }
    }

    #[test]
    fn double_lines_meet_and_leave_what_is_between_them() {
        let picture = |letter| -> Vec<String> {
            let levels = cell(letter, 8, 9);
            let rows = levels.chunks(8).map(|row| {
                let dots = row.iter().map(|&level| if level > 0 { '#' } else { '.' });
                dots.collect()
            });
            rows.collect()
        };
        assert_eq!(
            picture('╔'),
            [
                "........", "........", "..######", "..#.....", "..#.....", "..#.....", "..#...##",
                "..#...#.", "..#...#."
            ]
        );
        assert_eq!(
            picture('╬'),
            [
                "..#...#.", "..#...#.", "###...##", "........", "........", "........", "###...##",
                "..#...#.", "..#...#."
            ]
        );
        assert_eq!(
            picture('╟'),
            [
                "..#...#.", "..#...#.", "..#...#.", "..#...#.", "..#...##", "..#...#.", "..#...#.",
                "..#...#.", "..#...#."
            ]
        );
    }

    #[test]
    fn corners_end_where_the_line_that_they_join_ends() {
        for (width, height) in [(8, 16), (12, 24), (24, 48)] {
            let columns = |letter| {
                let levels = cell(letter, width, height);
                let inked = |x: &usize| (0..height).any(|y| levels[y * width + x] > 0);
                let columns: Vec<usize> = (0..width).filter(inked).collect();
                (columns[0], columns[columns.len() - 1])
            };
            for (line, left, right) in [('│', '┌', '┘'), ('┃', '┏', '┛'), ('║', '╔', '╝')]
            {
                assert_eq!(columns(left).0, columns(line).0, "{left} {width}");
                assert_eq!(columns(right).1, columns(line).1, "{right} {width}");
            }
        }
    }

    #[test]
    fn blocks_are_filled_by_eighths() {
        for (letter, share) in [('█', 8), ('▄', 4), ('▁', 1), ('▌', 4), ('▎', 2), ('▟', 6)]
        {
            let levels = cell(letter, 8, 16);
            let full = levels.iter().filter(|&&level| level == FULL).count();
            assert_eq!(full, 16 * share, "{letter}");
        }
    }
}
