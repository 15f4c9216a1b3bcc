//! Pictures of a machine's screen: read, cut out, and compared with stored ones.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    path::Path,
};

use anyhow::{Context, Result, ensure};

/// Pixels: red, green and blue of each, row by row.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    pub width: usize,
    pub height: usize,
    rgb: Vec<u8>,
}

/// A part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

impl Area {
    fn holds(&self, x: usize, y: usize) -> bool {
        (self.x..self.x + self.width).contains(&x) && (self.y..self.y + self.height).contains(&y)
    }
}

impl Picture {
    /// Reads a PNG file of 8 bits a colour.
    pub fn read(path: &Path) -> Result<Picture> {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        let mut decoder = png::Decoder::new(BufReader::new(file));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info()?;
        let size = reader
            .output_buffer_size()
            .context("a picture of this size")?;
        let mut bytes = vec![0; size];
        let info = reader.next_frame(&mut bytes)?;
        ensure!(
            info.bit_depth == png::BitDepth::Eight,
            "{} has not 8 bits a colour",
            path.display()
        );
        let channels = info.color_type.samples();
        ensure!(channels >= 3, "{} has no colours", path.display());
        bytes.truncate(info.buffer_size());
        Ok(Picture {
            width: info.width as usize,
            height: info.height as usize,
            rgb: bytes
                .chunks_exact(channels)
                .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
                .collect(),
        })
    }

    /// Writes it as PNG, as small as may be.
    pub fn write(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        let (width, height) = (self.width as u32, self.height as u32);
        let mut encoder = png::Encoder::new(BufWriter::new(file), width, height);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        // Smooth letters have few colours; a number for each pixel is a third of three.
        let mut colours: Vec<&[u8]> = self.rgb.chunks_exact(3).collect();
        colours.sort_unstable();
        colours.dedup();
        if colours.len() > 256 {
            encoder.set_color(png::ColorType::Rgb);
            encoder.write_header()?.write_image_data(&self.rgb)?;
            return Ok(());
        }
        let numbers: Vec<u8> = self
            .rgb
            .chunks_exact(3)
            .map(|pixel| colours.binary_search(&pixel).unwrap_or(0) as u8)
            .collect();
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_palette(colours.concat());
        encoder.set_filter(png::Filter::NoFilter);
        encoder.write_header()?.write_image_data(&numbers)?;
        Ok(())
    }

    /// The colour at a place.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// The pixels of an area's rows of text.
    fn rows(&self, area: Area, row: usize) -> Vec<Vec<[u8; 3]>> {
        (0..area.height / row)
            .map(|number| {
                let top = area.y + number * row;
                let columns = area.x..area.x + area.width;
                (top..top + row)
                    .flat_map(|y| columns.clone().map(move |x| self.at(x, y)))
                    .collect()
            })
            .collect()
    }

    /// Pixels outside of `masks` that differ in any colour by more than `tolerance`, of all there
    /// are: a share from 0 to 1.
    pub fn difference(&self, other: &Picture, masks: &[Area], tolerance: u8) -> Result<f64> {
        ensure!(
            (self.width, self.height) == (other.width, other.height),
            "one picture is {} x {}, the other {} x {}",
            self.width,
            self.height,
            other.width,
            other.height
        );
        let mut differ = 0usize;
        for y in 0..self.height {
            for x in 0..self.width {
                let (a, b) = (self.at(x, y), other.at(x, y));
                let far = a.iter().zip(b).any(|(a, b)| a.abs_diff(b) > tolerance);
                differ += usize::from(far && !masks.iter().any(|mask| mask.holds(x, y)));
            }
        }
        Ok(differ as f64 / (self.width * self.height) as f64)
    }
}

/// Proves that pictures that follow each other show one text that grows, in rows of so many pixels:
/// none is empty, a row that stands in one stands in the next, or as many rows higher as all the
/// others, but for the last two, which grow; and there is more of it in the end.
///
/// # Errors
/// Which picture is not so.
pub fn steady(pictures: &[Picture], area: Area, row: usize) -> Result<()> {
    let rows: Vec<Vec<Vec<[u8; 3]>>> = pictures
        .iter()
        .map(|picture| picture.rows(area, row))
        .collect();
    let is_text = |row: &Vec<[u8; 3]>| row.iter().any(|pixel| *pixel != row[0]);
    let count = |rows: &[Vec<[u8; 3]>]| rows.iter().rposition(is_text).map_or(0, |last| last + 1);
    for (number, rows) in rows.iter().enumerate() {
        ensure!(count(rows) > 0, "picture {number} is empty");
    }
    let mut moved = 0;
    for (number, pair) in rows.windows(2).enumerate() {
        let stays = count(&pair[0]).saturating_sub(2);
        let fits = |&up: &usize| (up..stays).all(|row| pair[0][row] == pair[1][row - up]);
        let up = (0..=stays / 2).find(fits).with_context(|| {
            let next = number + 1;
            format!("picture {next} is torn: its rows are not those of picture {number}")
        })?;
        moved += up;
    }
    let (Some(first), Some(last)) = (pictures.first(), pictures.last()) else {
        return Ok(());
    };
    ensure!(
        moved > 0 || first != last,
        "all {} pictures are the same: the text did not grow",
        pictures.len()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_grow_are_steady() {
        const AREA: Area = Area {
            x: 0,
            y: 0,
            width: 4,
            height: 16,
        };
        // Rows of two lines, each with a pixel of its row's own level.
        let picture = |rows: [u8; 8]| Picture {
            width: 4,
            height: 16,
            rgb: rows
                .iter()
                .flat_map(|&level| {
                    let mut row = [0; 24];
                    row[3] = level;
                    row
                })
                .collect(),
        };
        let grown = [
            picture([1, 2, 3, 0, 0, 0, 0, 0]),
            picture([1, 2, 3, 4, 5, 6, 0, 0]),
            picture([1, 2, 3, 4, 5, 6, 7, 8]),
            picture([2, 3, 4, 5, 6, 7, 8, 9]),
            picture([2, 3, 4, 5, 6, 7, 8, 9]),
            picture([4, 5, 6, 7, 8, 9, 10, 11]),
        ];
        steady(&grown, AREA, 2).unwrap();
        let with = |last: [u8; 8]| {
            let pictures = [&grown[..4], &[picture(last)]].concat();
            steady(&pictures, AREA, 2).map_err(|error| error.to_string())
        };
        assert!(with([0; 8]).unwrap_err().contains("picture 4 is empty"));
        // The upper half has moved, the lower not.
        let torn = with([3, 4, 5, 5, 6, 7, 8, 9]).unwrap_err();
        assert!(torn.contains("picture 4 is torn"), "{torn}");
        assert!(
            with([0, 0, 0, 0, 6, 7, 8, 9]).is_err(),
            "half of it is gone"
        );
        let same = [grown[0].clone(), grown[0].clone()];
        assert!(steady(&same, AREA, 2).is_err(), "nothing grows");
    }

    #[test]
    fn differences_are_shares_outside_of_masks() {
        let plain = Picture {
            width: 10,
            height: 10,
            rgb: vec![100; 300],
        };
        let mut other = plain.clone();
        other.rgb[..30].fill(200);
        other.rgb[30] = 104;
        assert_eq!(plain.difference(&other, &[], 8).unwrap(), 0.1);
        assert_eq!(plain.difference(&other, &[], 2).unwrap(), 0.11);
        let mask = Area {
            x: 0,
            y: 0,
            width: 5,
            height: 1,
        };
        assert_eq!(plain.difference(&other, &[mask], 8).unwrap(), 0.05);
        let small = Picture {
            width: 1,
            height: 1,
            rgb: vec![0; 3],
        };
        assert!(plain.difference(&small, &[], 0).is_err());
        let path = std::env::temp_dir().join(format!("llama2-picture-{}.png", std::process::id()));
        other.write(&path).unwrap();
        assert!(Picture::read(&path).unwrap() == other);
        std::fs::remove_file(path).unwrap();
    }
}
