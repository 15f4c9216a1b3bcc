//! Progress on a terminal's standard error: one line, never wider than the terminal, and removed
//! when the work is done.

use std::{fmt::Write, path::Path, time::Duration};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use llama2_console::{terminal::plain, width};
use llama2_engine::units::{Bytes, short};

/// Unit of the progress.
#[derive(Clone, Copy)]
pub enum Unit {
    Bytes,
    Tokens,
}

/// Creates the progress bar of an operation on a file, which is shown with its name only.
pub fn of(doing: &str, path: &Path, total: u64, unit: Unit) -> ProgressBar {
    let name = path.file_name().unwrap_or(path.as_os_str());
    let what = plain(&format!("{doing} {}", name.to_string_lossy()));
    let bar = ProgressBar::new(total);
    let show = move |state: &ProgressState, out: &mut dyn Write| {
        let now = Now {
            done: state.pos(),
            total: state.len().unwrap_or(0),
            rate: state.per_sec(),
            left: state.eta(),
        };
        let _ = out.write_str(&line(columns(), &what, unit, &now));
    };
    if let Ok(style) = ProgressStyle::with_template("{line}") {
        bar.set_style(style.with_key("line", show));
    }
    bar
}

/// Width of the terminal in columns.
pub fn columns() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| columns.into())
}

struct Now {
    done: u64,
    total: u64,
    rate: f64,
    left: Duration,
}

/// Formats the line for a number of columns: without the bar if it does not fit, then with a
/// shorter name, then with fewer details.
fn line(columns: usize, what: &str, unit: Unit, now: &Now) -> String {
    const BAR: usize = 20;
    // The last column has the cursor.
    let columns = columns.saturating_sub(1);
    let part = now.done.min(now.total) as f64 / now.total.max(1) as f64;
    let (amount, rate) = match unit {
        Unit::Bytes => (
            format!("{} of {}", Bytes(now.done), Bytes(now.total)),
            format!("{}/s", Bytes(now.rate as u64)),
        ),
        Unit::Tokens => (
            format!("{} of {} tokens", now.done, now.total),
            format!("{:.1} tok/s", now.rate),
        ),
    };
    let full = (part * BAR as f64) as usize;
    let bar = format!("[{}{}] ", "█".repeat(full), "░".repeat(BAR - full));
    let left = format!("{} left", indicatif::HumanDuration(now.left));
    let percent = format!("{:.0} %", part * 100.0);
    let tails = [
        format!("{bar}{amount}, {rate}, {left}"),
        format!("{amount}, {rate}, {left}"),
        format!("{amount}, {rate}"),
        amount,
        percent,
    ];
    for (index, tail) in tails.iter().enumerate() {
        let room = columns.saturating_sub(width::text(tail) + 1);
        // A bar is for those who have room for all else; of a name something should be known.
        let least = if index == 0 { usize::MAX } else { 16 };
        if room >= width::text(what).min(least) {
            let mut most = room;
            while width::text(&short(what, most)) > room {
                most -= 1;
            }
            return format!("{} {tail}", short(what, most));
        }
    }
    tails[4].chars().take(columns).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_fits_into_every_width_and_its_bar_goes_first() {
        let now = Now {
            done: 50 << 20,
            total: 94 << 20,
            rate: 35e6,
            left: Duration::from_secs(200),
        };
        let at = |columns, what| line(columns, what, Unit::Bytes, &now);
        let name = "loading SmolLM2-135M-Instruct.Q4_1.gguf";
        assert_eq!(
            at(120, name),
            "loading SmolLM2-135M-Instruct.Q4_1.gguf [██████████░░░░░░░░░░] 50 MiB of 94 MiB, 33 MiB/s, 3 minutes left"
        );
        assert_eq!(
            at(80, name),
            "loading SmolLM2-1…Instruct.Q4_1.gguf 50 MiB of 94 MiB, 33 MiB/s, 3 minutes left"
        );
        assert_eq!(at(12, name), "53 %");
        assert!(
            at(40, name).ends_with("50 MiB of 94 MiB"),
            "{}",
            at(40, name)
        );
        let wide = format!("writing {}.gguf", "模型".repeat(60));
        for what in [name, "writing m", &wide] {
            for columns in 0..200 {
                for unit in [Unit::Bytes, Unit::Tokens] {
                    let line = line(columns, what, unit, &now);
                    assert!(width::text(&line) < columns.max(1), "{columns}: {line}");
                }
            }
        }
    }
}
