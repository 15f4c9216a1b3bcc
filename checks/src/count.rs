//! Results of checks, counted and said.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Results of checks, counted.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Count {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Stages, and how long each took.
    pub times: Vec<(String, Duration)>,
}

impl Count {
    /// Adds one check's result and says it.
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

    /// Notes how long a stage took.
    pub fn took(&mut self, stage: &str, start: Instant) {
        self.times.push((stage.into(), start.elapsed()));
    }

    /// Says loudly that something could not be tried.
    pub fn skip(&mut self, name: &str, why: &str) {
        self.skipped += 1;
        println!("  SKIPPED {name}: {why}");
    }
}
