//! Progress and speed for display.

use alloc::{format, string::String};

/// Progress bar of `width` characters.
pub fn bar(done: u64, total: u64, width: usize) -> String {
    let full = filled(done, total, width);
    format!("[{}{}]", "#".repeat(full), ".".repeat(width - full))
}

/// Number of full characters in a bar of `width`.
pub fn filled(done: u64, total: u64, width: usize) -> usize {
    (u128::from(done.min(total)) * width as u128)
        .checked_div(u128::from(total))
        .unwrap_or(width as u128) as usize
}

/// Rate in megabytes (10^6 bytes) per second.
pub fn megabytes_per_second(bytes: u64, microseconds: u64) -> String {
    format!("{:.1} MB/s", bytes as f64 / microseconds.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars() {
        assert_eq!(bar(0, 10, 10), "[..........]");
        assert_eq!(bar(5, 10, 10), "[#####.....]");
        assert_eq!(bar(11, 10, 10), "[##########]");
        assert_eq!(bar(0, 0, 4), "[####]");
        assert_eq!(bar(u64::MAX, u64::MAX, 4), "[####]");
        assert_eq!(megabytes_per_second(60_816_028, 1_000_000), "60.8 MB/s");
    }
}
