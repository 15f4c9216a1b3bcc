//! Counts and prints the results of checks.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Results of checks, counted.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Count {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Duration of each stage.
    pub times: Vec<(String, Duration)>,
}

impl Count {
    /// Adds and prints the result of one check.
    pub fn add(&mut self, name: &str, start: Instant, result: Result<Option<String>>) {
        let took = start.elapsed().as_secs_f64();
        match result {
            Ok(note) => {
                self.passed += 1;
                println!(
                    "  ok      {name} ({took:.1} s){}",
                    note.map_or(String::new(), |note| format!(": {note}"))
                );
            }
            Err(error) => {
                self.failed += 1;
                println!("  FAILED  {name} ({took:.1} s): {error:#}");
            }
        }
    }

    /// Records the duration of a stage.
    pub fn took(&mut self, stage: &str, start: Instant) {
        self.times.push((stage.into(), start.elapsed()));
    }

    /// Reports prominently that a check could not be run.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.skipped += 1;
        println!("  SKIPPED {name}: {why}");
    }
}
