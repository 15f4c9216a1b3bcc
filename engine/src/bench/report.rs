//! Reports as llama-bench's table (Markdown), as JSON with llama-bench's field names, and as CSV.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt::{self, Write};

use super::{
    Outcome, Work,
    statistics::{TOLERANCE, deviation, mean},
};
use crate::{layout::Encoding, model::Model, session::KvType};

/// Output format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportFormat {
    /// A Markdown table, aligned for terminals.
    Markdown,
    /// An array of objects, one per result.
    Json,
    /// A header line and one line per result.
    Csv,
}

impl core::str::FromStr for ReportFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "md" => Ok(ReportFormat::Markdown),
            "json" => Ok(ReportFormat::Json),
            "csv" => Ok(ReportFormat::Csv),
            _ => Err("must be md, json or csv"),
        }
    }
}

/// Model and machine of a measurement.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Name of the model file.
    pub file: String,
    /// Model type as in llama-bench: `llama 15M F32`.
    pub kind: String,
    /// Size of the model file in bytes.
    pub size: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// Bytes of weights that a decode step reads.
    pub bytes_per_token: u64,
    /// Positions of the context, and the model's own context length.
    pub context: (usize, usize),
    /// Description of the kernels.
    pub kernels: &'static str,
    /// Type of keys and values.
    pub kv: KvType,
    /// Description of the size of the pages that hold the weights.
    pub pages: String,
    /// Description of the processor.
    pub processor: String,
}

impl Subject {
    /// Model type of `model` with `parameters` parameters, as in llama-bench.
    pub fn kind(model: &Model, parameters: u64) -> String {
        let matrix = model.layers.first().map_or(&model.embedding, |l| &l.wq);
        let encoding = match matrix.encoding() {
            Encoding::Q8 { group } => format!("INT8 g{group}"),
            other => format!("{other}"),
        };
        let size = match parameters {
            1_000_000_000.. => format!("{:.1}B", parameters as f64 / 1e9),
            10_000_000.. => format!("{:.0}M", parameters as f64 / 1e6),
            1_000_000.. => format!("{:.1}M", parameters as f64 / 1e6),
            _ => format!("{:.0}K", parameters as f64 / 1e3),
        };
        format!("llama {size} {encoding}")
    }
}

/// Results of one model.
pub struct Report {
    /// Model and machine.
    pub subject: Subject,
    /// Results, in the order of the tests.
    pub outcomes: Vec<Outcome>,
}

/// Column headers; those that end in a colon are right-aligned.
const HEADS: [&str; 14] = [
    "model",
    "size:",
    "params:",
    "kernels",
    "kv",
    "pages",
    "threads:",
    "GHz:",
    "test:",
    "t/s:",
    "GOP/s:",
    "weights + KV GB/s:",
    "read GB/s:",
    "of read:",
];

impl Report {
    /// Writes all of `reports` as one document.
    pub fn write(reports: &[Report], format: ReportFormat, out: &mut dyn Write) -> fmt::Result {
        match format {
            ReportFormat::Markdown => markdown(reports, out),
            ReportFormat::Json => json(reports, out),
            ReportFormat::Csv => csv(reports, out),
        }
    }

    /// Table row of one result.
    fn row(&self, outcome: &Outcome) -> Vec<String> {
        let s = &self.subject;
        let rates = outcome.rates();
        let memory = match outcome.kv_rate() {
            Some(kv) => format!("{:.1} + {kv:.1}", outcome.weights_rate()),
            None => format!("{:.1}", outcome.weights_rate()),
        };
        let mark = if outcome.read_changed() { " *" } else { "" };
        vec![
            s.kind.clone(),
            size(s.size),
            parameters(s.parameters),
            s.kernels.to_string(),
            s.kv.name().to_string(),
            s.pages.clone(),
            outcome.threads.to_string(),
            // A clock that jumped says nothing.
            outcome
                .gigahertz
                .filter(|(a, b)| (a - b).abs() < 0.1 * a.max(*b))
                .map_or("–".into(), |(a, b)| format!("{:.2}", (a + b) / 2.0)),
            outcome.test.to_string(),
            format!("{:.2} ± {:.2}", mean(&rates), deviation(&rates)),
            format!("{:.1}", outcome.operations_rate()),
            memory,
            outcome
                .read_rate()
                .map_or("–".into(), |read| format!("{read:.1}{mark}")),
            outcome
                .percent_of_read()
                .map_or("–".into(), |percent| format!("{percent:.0} %{mark}")),
        ]
    }

    /// Fields of one result: name and JSON value.
    fn fields(&self, outcome: &Outcome) -> Vec<(&'static str, String)> {
        let s = &self.subject;
        let rates = outcome.rates();
        let nanoseconds: Vec<f64> = outcome.nanoseconds.iter().map(|&n| n as f64).collect();
        let (prompt, generated) = match outcome.test.work {
            Work::Prompt(tokens) => (tokens, 0),
            Work::Generate(tokens) => (0, tokens),
        };
        let per_token = |bytes: u64| bytes as f64 / outcome.test.tokens().max(1) as f64;
        let optional = |x: Option<f64>| x.map_or("null".into(), number);
        let list = |samples: &[f64]| {
            let all: Vec<String> = samples.iter().map(|&x| number(x)).collect();
            format!("[{}]", all.join(", "))
        };
        vec![
            ("build_version", text(env!("CARGO_PKG_VERSION"))),
            ("cpu_info", text(&s.processor)),
            ("model_filename", text(&s.file)),
            ("model_type", text(&s.kind)),
            ("model_size", s.size.to_string()),
            ("model_n_params", s.parameters.to_string()),
            ("kernels", text(s.kernels)),
            ("type_kv", text(s.kv.name())),
            ("page_size", text(&s.pages)),
            ("n_ctx", s.context.0.to_string()),
            ("n_ctx_train", s.context.1.to_string()),
            ("n_threads", outcome.threads.to_string()),
            ("n_prompt", prompt.to_string()),
            ("n_gen", generated.to_string()),
            ("n_depth", outcome.test.depth.to_string()),
            ("n_parallel", outcome.test.parallel.to_string()),
            ("test", text(&outcome.test.to_string())),
            ("avg_ns", number(mean(&nanoseconds))),
            ("stddev_ns", number(deviation(&nanoseconds))),
            ("avg_ts", number(mean(&rates))),
            ("stddev_ts", number(deviation(&rates))),
            ("samples_ns", list(&nanoseconds)),
            ("samples_ts", list(&rates)),
            ("bytes_per_token", s.bytes_per_token.to_string()),
            ("weights_read_per_token", number(per_token(outcome.weights))),
            ("weights_gb_s", number(outcome.weights_rate())),
            ("kv_gb_s", optional(outcome.kv_rate())),
            ("gop_s", number(outcome.operations_rate())),
            (
                "read_before_gb_s",
                optional(outcome.read.map(|(before, _)| before / 1e9)),
            ),
            (
                "read_after_gb_s",
                optional(outcome.read.map(|(_, after)| after / 1e9)),
            ),
            ("read_changed", outcome.read_changed().to_string()),
            ("percent_of_read", optional(outcome.percent_of_read())),
            (
                "ghz_before",
                optional(outcome.gigahertz.map(|(before, _)| before)),
            ),
            (
                "ghz_after",
                optional(outcome.gigahertz.map(|(_, after)| after)),
            ),
        ]
    }
}

fn markdown(reports: &[Report], out: &mut dyn Write) -> fmt::Result {
    let rows: Vec<Vec<String>> = reports
        .iter()
        .flat_map(|report| report.outcomes.iter().map(|outcome| report.row(outcome)))
        .collect();
    table(&HEADS, &rows, out)?;
    for report in reports {
        let s = &report.subject;
        if s.context.0 > s.context.1 {
            writeln!(
                out,
                "\n{}: the context was lengthened from {} to {} positions, as llama-bench does: the same work, but no text to \
                 be had there.",
                s.kind, s.context.1, s.context.0
            )?;
        }
    }
    if reports
        .iter()
        .any(|report| report.outcomes.iter().any(Outcome::read_changed))
    {
        writeln!(
            out,
            "\n* The machine read at different rates before and after (more than {:.0} % apart): measure again.",
            100.0 * TOLERANCE
        )?;
    }
    Ok(())
}

/// Writes a Markdown table whose columns are also aligned in a terminal. Headers that end in a
/// colon are right-aligned.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>], out: &mut dyn Write) -> fmt::Result {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([heads[column].trim_end_matches(':').chars().count(), 3])
            .max()
            .unwrap_or(3)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut line = |cell: &dyn Fn(usize) -> String| -> fmt::Result {
        for (column, &width) in widths.iter().enumerate() {
            if heads[column].ends_with(':') {
                write!(out, "| {:>width$} ", cell(column))?;
            } else {
                write!(out, "| {:<width$} ", cell(column))?;
            }
        }
        out.write_str("|\n")
    };
    line(&|column| heads[column].trim_end_matches(':').into())?;
    line(&|column| {
        let dashes = "-".repeat(widths[column] - 1);
        if heads[column].ends_with(':') {
            dashes + ":"
        } else {
            dashes + "-"
        }
    })?;
    rows.iter()
        .try_for_each(|row| line(&|column| row[column].clone()))
}

fn json(reports: &[Report], out: &mut dyn Write) -> fmt::Result {
    out.write_str("[")?;
    let mut first = true;
    for report in reports {
        for outcome in &report.outcomes {
            out.write_str(if first { "\n  {" } else { ",\n  {" })?;
            first = false;
            for (i, (name, value)) in report.fields(outcome).iter().enumerate() {
                let comma = if i == 0 { "" } else { "," };
                write!(out, "{comma}\n    \"{name}\": {value}")?;
            }
            out.write_str("\n  }")?;
        }
    }
    out.write_str("\n]\n")
}

fn csv(reports: &[Report], out: &mut dyn Write) -> fmt::Result {
    let mut first = true;
    for report in reports {
        for outcome in &report.outcomes {
            // Lists are for JSON.
            let mut fields = report.fields(outcome);
            fields.retain(|(_, value)| !value.starts_with('['));
            if first {
                let names: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                writeln!(out, "{}", names.join(","))?;
                first = false;
            }
            let values: Vec<String> = fields.iter().map(|(_, value)| cell(value)).collect();
            writeln!(out, "{}", values.join(","))?;
        }
    }
    Ok(())
}

/// Converts a JSON value to CSV (RFC 4180): strings are quoted with quotes doubled, null is empty.
fn cell(value: &str) -> String {
    let Some(inside) = value
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
    else {
        return if value == "null" {
            String::new()
        } else {
            value.into()
        };
    };
    let mut cell = String::from("\"");
    let mut chars = inside.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('"') => cell.push_str("\"\""),
                Some(other) => cell.push(other),
                None => (),
            },
            other => cell.push(other),
        }
    }
    cell.push('"');
    cell
}

/// Formats a JSON string (RFC 8259, section 7); control characters, which no name here needs,
/// become spaces.
fn text(words: &str) -> String {
    let mut quoted = String::from("\"");
    for c in words.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Formats a JSON number; infinity and NaN, which JSON lacks, become null.
fn number(x: f64) -> String {
    if x.is_finite() {
        format!("{x:.6}")
    } else {
        "null".into()
    }
}

/// Formats a number of bytes as llama-bench does.
fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes >= 1024.0 {
        format!("{:.2} GiB", mebibytes / 1024.0)
    } else {
        format!("{mebibytes:.2} MiB")
    }
}

/// Formats a number of parameters as llama-bench does.
fn parameters(parameters: u64) -> String {
    let millions = parameters as f64 / 1e6;
    if millions >= 1000.0 {
        format!("{:.2} B", millions / 1000.0)
    } else {
        format!("{millions:.2} M")
    }
}
