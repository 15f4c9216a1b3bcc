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
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info()?;
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
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::High);
        encoder.write_header()?.write_image_data(&self.rgb)?;
        Ok(())
    }

    /// The colour at a place.
    pub fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let at = 3 * (y * self.width + x);
        [self.rgb[at], self.rgb[at + 1], self.rgb[at + 2]]
    }

    /// Pixels outside of `masks` that differ in any colour by more than `tolerance`, of all there are: a share from 0 to 1.
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

#[cfg(test)]
mod tests {
    use super::*;

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
