//! Machine that is measured: its description, its read rate, and the load by other programs.

use std::{path::Path, process::Command, time::Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use xtask::shell::{output, root};

/// Rate in GB/s at which `llama2` reads a working set of `bytes` bytes with `threads` threads.
pub fn read_rate(llama2: &Path, bytes: u64, threads: usize) -> Result<f64> {
    let mut command = Command::new(llama2);
    command.args(["bench", "--read", &bytes.to_string()]);
    command.args(["-t", &threads.to_string(), "-o", "json"]);
    let said = output(&mut command).with_context(|| format!("{command:?} failed"))?;
    let said: Value = serde_json::from_str(&said).with_context(|| format!("{command:?}"))?;
    said[0]["gb_s"]
        .as_f64()
        .with_context(|| format!("{command:?} does not say gb_s"))
}

/// Processor time used by other programs.
pub struct Others {
    start: Instant,
    all: f64,
    own: f64,
}

impl Others {
    /// Starts to watch; `None` if the system does not report processor times.
    pub fn watch() -> Option<Others> {
        let (all, own) = times()?;
        Some(Others {
            start: Instant::now(),
            all,
            own,
        })
    }

    /// Number of processors that other programs have kept busy on average since then.
    pub fn busy(&self) -> Option<f64> {
        let (all, own) = times()?;
        let spent = (all - self.all) - (own - self.own);
        Some((spent / self.start.elapsed().as_secs_f64()).max(0.0))
    }
}

/// Processor time in seconds used by all programs, and by this one and its children.
fn times() -> Option<(f64, f64)> {
    let all = std::fs::read_to_string("/proc/stat").ok()?;
    let own = std::fs::read_to_string("/proc/self/stat").ok()?;
    Some((all_ticks(&all)? / TICKS, own_ticks(&own)? / TICKS))
}

/// Kernel ticks per second, as reported by every Linux.
const TICKS: f64 = 100.0;

/// Sum of user, nice, system, irq and softirq of all processors (proc_stat(5)).
fn all_ticks(stat: &str) -> Option<f64> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let numbers: Vec<f64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    Some([0, 1, 2, 5, 6].iter().filter_map(|&i| numbers.get(i)).sum())
}

/// Sum of utime, stime, cutime and cstime (proc_pid_stat(5)); the name before them may contain
/// anything, even parentheses.
fn own_ticks(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    fields
        .get(11..15)?
        .iter()
        .map(|word| word.parse::<f64>().ok())
        .sum()
}

/// Properties of the machine and the system, as names and values.
pub fn description() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text
            .lines()
            .find(|line| line.split(':').next().map(str::trim) == Some(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_owned())
    };
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    let number = |name| field(&cpu, name).unwrap_or_else(|| "?".into());
    let flags = field(&cpu, "flags").unwrap_or_default();
    let units: Vec<&str> = ["avx2", "fma", "f16c", "avx512f", "avx512_vnni"]
        .into_iter()
        .filter(|unit| flags.split(' ').any(|flag| flag == *unit))
        .collect();
    let mut lines = vec![
        (
            "processor",
            format!(
                "{} (family {}, model {}), {threads} threads; {}",
                number("model name"),
                number("cpu family"),
                number("model"),
                units.join(" ")
            ),
        ),
        (
            "memory",
            field(&memory, "MemTotal").unwrap_or_else(|| "?".into()),
        ),
    ];
    let said =
        |program: &str, args: &[&str]| output(Command::new(program).args(args).current_dir(root()));
    if let Some(kernel) = said("uname", &["-sr"]) {
        let pages = read("/sys/kernel/mm/transparent_hugepage/enabled");
        lines.push((
            "system",
            format!("{kernel}; transparent huge pages: {}", pages.trim()),
        ));
    }
    if let Some(commit) = said("git", &["describe", "--always", "--dirty"]) {
        lines.push(("llama2", commit));
    }
    lines.extend(said("rustc", &["--version"]).map(|words| ("compiler", words)));
    lines.extend(said("date", &["-u", "+%Y-%m-%d %H:%M UTC"]).map(|words| ("date", words)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_taken_from_the_right_columns() {
        let stat = "cpu  100 20 30 9999 5 6 7 8 0 0\ncpu0 1 2 3\n";
        assert_eq!(all_ticks(stat), Some(163.0));
        assert_eq!(all_ticks("intr 5"), None);
        let own = "42 (a) name)) S 1 42 42 0 -1 4194304 1 2 3 4 10 20 300 400 20 0 1 0 99";
        assert_eq!(own_ticks(own), Some(730.0));
        assert_eq!(own_ticks("42 (cut) S 1"), None);
    }
}
