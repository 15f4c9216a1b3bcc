//! Reports of a comparison, in Markdown and JSON.

use std::{fmt::Write, fs, path::Path};

use anyhow::{Context, Result};
use llama2_engine::bench::{
    Work,
    statistics::{median, range},
};
use serde_json::{Value, json};

use crate::{About, Cell, Round};

/// Results of one program in one cell.
#[derive(Debug, PartialEq)]
struct Numbers {
    rate: f64,
    range: (f64, f64),
    /// Median over the rounds of our rate at the same work divided by its own.
    ratio: f64,
    /// Rate of reading weights as a fraction of the read rate.
    of_limit: Option<f64>,
}

impl Cell {
    fn numbers(&self, program: usize) -> Numbers {
        let rounds = self.counted();
        let of = |f: &dyn Fn(&Round) -> f64| -> Vec<f64> {
            rounds.iter().map(|round| f(round)).collect()
        };
        let rates = of(&|round| round.rates[program]);
        let ratios = of(&|round| round.rates[self.rivals[program]] / round.rates[program]);
        let bytes = self.bytes[program] as f64;
        let shares = of(&|round| bytes * round.rates[program] / (read_of(round) * 1e9));
        let decode = matches!(self.test.work, Work::Generate(_));
        Numbers {
            rate: median(&rates),
            range: range(&rates),
            ratio: median(&ratios),
            of_limit: (decode && bytes > 0.0).then(|| median(&shares)),
        }
    }

    /// Describes which rounds count.
    fn rounds_in_words(&self) -> String {
        let all = self.rounds.len();
        let counted = self.rounds.iter().filter(|round| round.counts()).count();
        let unsteady = self.rounds.iter().filter(|round| round.unsteady()).count();
        if counted == 0 {
            return format!("{all}, none steady");
        }
        match (unsteady, all - counted - unsteady) {
            (0, 0) => format!("{counted}"),
            (unsteady, disturbed) => {
                format!("{counted} (dropped: {unsteady} memory, {disturbed} others)")
            }
        }
    }

    /// Read rate in GB/s in the rounds that count.
    fn read(&self) -> (f64, (f64, f64)) {
        let reads: Vec<f64> = self.counted().into_iter().map(read_of).collect();
        (median(&reads), range(&reads))
    }

    fn json(&self) -> Value {
        let programs = self.programs.iter().enumerate().map(|(i, name)| {
            let numbers = self.numbers(i);
            json!({
                "name": name,
                "median_ts": numbers.rate,
                "min_ts": numbers.range.0,
                "max_ts": numbers.range.1,
                "ours_to_it": numbers.ratio,
                "bytes_per_token": self.bytes[i],
                "of_limit": numbers.of_limit,
                "samples_ts": self.rounds.iter().map(|round| round.rates[i]).collect::<Vec<_>>(),
            })
        });
        json!({
            "model": self.model,
            "model_type": self.kind,
            "test": self.test.to_string(),
            "n_threads": self.threads,
            "read_gb_s": self.read().0,
            "programs": programs.collect::<Vec<_>>(),
            "rounds": self.rounds.iter().map(|round| json!({
                "read_before_gb_s": round.read.0,
                "read_after_gb_s": round.read.1,
                "others_busy": round.others,
                "counts": round.counts(),
            })).collect::<Vec<_>>(),
            "ours": self.ours,
        })
    }
}

/// Mean of the read rates before and after, in GB/s.
fn read_of(round: &Round) -> f64 {
    (round.read.0 + round.read.1) / 2.0
}

impl About {
    pub fn markdown(&self, cells: &[Cell]) -> String {
        let mut out = String::new();
        // Writing into a string cannot fail.
        let _ = self.write_markdown(cells, &mut out);
        out
    }

    fn write_markdown(&self, cells: &[Cell], out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "| model | test | threads | program | t/s, median (min-max) | ours / it \
             | of the limit | read GB/s | rounds |\n\
             | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | ---: |"
        )?;
        for cell in cells {
            let (read, (least, most)) = cell.read();
            for (i, program) in cell.programs.iter().enumerate() {
                let numbers = cell.numbers(i);
                let (rate, (from, to)) = (digits(numbers.rate), numbers.range);
                write!(
                    out,
                    "| {} | {} | {} | {program} ",
                    cell.model, cell.test, cell.threads
                )?;
                write!(out, "| {rate} ({}-{}) ", digits(from), digits(to))?;
                write!(out, "| {:.2} ", numbers.ratio)?;
                let share = numbers
                    .of_limit
                    .map_or("–".into(), |share| format!("{:.0} %", 100.0 * share));
                write!(out, "| {share} ")?;
                if i == 0 {
                    let rounds = cell.rounds_in_words();
                    writeln!(out, "| {read:.1} ({least:.1}-{most:.1}) | {rounds} |")?;
                } else {
                    writeln!(out, "| | |")?;
                }
            }
        }
        writeln!(
            out,
            "\nRatios are medians of round-by-round ratios: llama.cpp is compared with llama2 \
             bench, and llama2.c, which picks and prints\nits tokens, with llama2 run, which \
             does so too. The limit is the read rate of a working set as large as the weights \
             of one\ntoken, by the same threads, before and after each round; rounds between \
             which it changed by more than 5 %, or in which\nothers used more than a twentieth \
             of a processor, were dropped and repeated (up to three times as many rounds).\n\
             A peer's share counts its own file's bytes.\n"
        )?;
        for (what, words) in &self.machine {
            writeln!(out, "- {what}: {words}")?;
        }
        writeln!(out, "- llama2's options: {}", self.options)?;
        if let Some(cell) = cells.first() {
            for what in ["kernels", "page_size"] {
                writeln!(
                    out,
                    "- llama2's {what}: {}",
                    cell.ours[what].as_str().unwrap_or("?")
                )?;
            }
        }
        for (name, words) in &self.peers {
            writeln!(out, "- {name}: {}", words.join("; "))?;
        }
        Ok(())
    }

    /// Writes both files.
    pub fn write(&self, cells: &[Cell], name: &Path) -> Result<()> {
        let machine: serde_json::Map<String, Value> = self
            .machine
            .iter()
            .map(|(what, words)| ((*what).to_owned(), words.as_str().into()))
            .collect();
        let peers = self
            .peers
            .iter()
            .map(|(name, words)| json!({ "name": name, "origin": words }));
        let all = json!({
            "machine": machine,
            "options": self.options,
            "peers": peers.collect::<Vec<_>>(),
            "cells": cells.iter().map(Cell::json).collect::<Vec<_>>(),
        });
        let json = serde_json::to_string_pretty(&all)? + "\n";
        for (ending, text) in [("md", self.markdown(cells)), ("json", json)] {
            let mut path = name.as_os_str().to_owned();
            path.push(".");
            path.push(ending);
            fs::write(&path, text).with_context(|| Path::new(&path).display().to_string())?;
        }
        Ok(())
    }
}

/// Formats with three significant digits.
fn digits(rate: f64) -> String {
    if rate >= 100.0 {
        format!("{rate:.0}")
    } else {
        format!("{rate:.1}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_engine::bench::Test;

    fn cell(rounds: Vec<Round>) -> Cell {
        Cell {
            model: "a.bin".into(),
            kind: "llama 15M F32".into(),
            test: Test {
                work: Work::Generate(128),
                depth: 0,
                parallel: 1,
            },
            threads: 2,
            programs: vec![
                "llama2 bench".into(),
                "llama2 run".into(),
                "llama2.c".into(),
            ],
            rivals: vec![0, 0, 1],
            bytes: vec![100_000_000; 3],
            rounds,
            ours: json!({ "kernels": "AVX2", "page_size": "2 MiB" }),
        }
    }

    fn round(ours: f64, theirs: f64, read: (f64, f64)) -> Round {
        Round {
            rates: vec![ours, 0.9 * ours, theirs],
            read,
            others: Some(0.0),
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round_and_unsteady_rounds_are_left_out() {
        let cell = cell(vec![
            round(200.0, 100.0, (30.0, 30.0)),
            round(300.0, 100.0, (60.0, 60.0)),
            round(900.0, 100.0, (30.0, 60.0)),
            round(100.0, 50.0, (30.0, 31.0)),
        ]);
        let ours = cell.numbers(0);
        assert_eq!(
            (ours.rate, ours.range, ours.ratio),
            (200.0, (100.0, 300.0), 1.0)
        );
        assert!((ours.of_limit.unwrap() - 0.5).abs() < 1e-9);
        assert_eq!(cell.numbers(2).ratio, 1.8);
        assert_eq!(cell.rounds_in_words(), "3 (dropped: 1 memory, 0 others)");
        assert_eq!(cell.json()["programs"][2]["ours_to_it"], 1.8);
    }

    #[test]
    fn a_machine_that_is_never_steady_is_said_to_be() {
        let cell = cell(vec![round(200.0, 100.0, (30.0, 60.0))]);
        assert_eq!(cell.rounds_in_words(), "1, none steady");
        assert_eq!(cell.numbers(0).rate, 200.0);
    }

    #[test]
    fn the_table_has_as_many_cells_in_every_row() {
        let about = About {
            machine: vec![("processor", "one".into())],
            peers: vec![(
                "llama2.c".into(),
                vec!["gcc -Ofast".into(), "with OpenMP".into()],
            )],
            options: "--kv f32".into(),
        };
        let text = about.markdown(&[cell(vec![round(200.0, 99.0, (30.0, 30.0))])]);
        let rows: Vec<&str> = text
            .lines()
            .take_while(|line| line.starts_with('|'))
            .collect();
        assert_eq!(rows.len(), 5);
        assert!(
            rows.iter().all(|row| row.matches('|').count() == 10),
            "{text}"
        );
        assert!(
            rows[4].contains("| llama2.c | 99.0 (99.0-99.0) | 1.82 | 33 % |"),
            "{text}"
        );
        assert!(text.contains("- llama2.c: gcc -Ofast; with OpenMP"));
    }
}
