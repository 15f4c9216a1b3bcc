//! Statistics of repeated measurements.

use alloc::vec::Vec;

/// Relative difference up to which two read rates count as equal.
pub const TOLERANCE: f64 = 0.05;

/// Arithmetic mean; 0 if there are no samples.
pub fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len().max(1) as f64
}

/// Sample standard deviation; 0 for fewer than two samples.
pub fn deviation(samples: &[f64]) -> f64 {
    if samples.len() < 2 {
        return 0.0;
    }
    let mean = mean(samples);
    let squares = samples.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    libm::sqrt(squares / (samples.len() - 1) as f64)
}

/// Median; 0 if there are no samples.
pub fn median(samples: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Smallest and largest sample; zeros if there are none.
pub fn range(samples: &[f64]) -> (f64, f64) {
    let least = samples.iter().copied().reduce(f64::min);
    let most = samples.iter().copied().reduce(f64::max);
    (least.unwrap_or(0.0), most.unwrap_or(0.0))
}

/// Relative difference of two rates, as a fraction of the smaller one.
pub fn change(one: f64, other: f64) -> f64 {
    let (less, more) = (one.min(other), one.max(other));
    if less > 0.0 { more / less - 1.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_to_what_a_calculator_says() {
        let samples = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        assert_eq!(mean(&samples), 5.0);
        assert!((deviation(&samples) - 2.138_089_935).abs() < 1e-9);
        assert_eq!(median(&samples), 4.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(range(&samples), (2.0, 9.0));
    }

    #[test]
    fn few_samples_are_no_trouble() {
        assert_eq!((mean(&[]), deviation(&[]), median(&[])), (0.0, 0.0, 0.0));
        assert_eq!((mean(&[7.0]), deviation(&[7.0])), (7.0, 0.0));
        assert_eq!(range(&[]), (0.0, 0.0));
    }

    #[test]
    fn a_change_is_the_same_forwards_and_backwards() {
        assert_eq!(change(100.0, 104.0), change(104.0, 100.0));
        assert!(change(100.0, 104.9) < TOLERANCE);
        assert!(change(35.0, 57.0) > TOLERANCE);
        assert_eq!(change(0.0, 5.0), 0.0, "no rate, no change");
    }
}
