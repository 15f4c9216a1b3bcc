//! Benchmarks of a model that is in memory, started alike by `/bench`, by firmware's `bench = true`
//! and by `llama2 bench`.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::ops::ControlFlow;

use llama2_console::front::{Bottom, Style};
use llama2_engine::{
    bench::{
        Bench, Outcome, Report, ReportFormat, Stage, Subject, Test, Watcher, Work, positions,
        statistics::mean,
    },
    checkpoint::Error,
    kernels::Features,
    model::Model,
    session::Options,
    thread_tuner::Threads,
    units::Bytes,
    workers::Workers,
};

use crate::{
    platform::{Console, OpenModel, Platform},
    reply::note,
};

/// Tokens of a prompt, and tokens to generate: llama-bench's own numbers.
const PROMPT: usize = 512;
const GENERATE: usize = 128;
/// How often each test is repeated at most.
const REPETITIONS: usize = 5;
/// Nanoseconds for all of it: its rows, and how fast memory is, which takes up to half a second a
/// row.
const TIME: u64 = 15_000_000_000;
const READING: u64 = 500_000_000;

/// Arithmetic of a machine: what sessions and benchmarks compute with.
pub struct Computing<'w> {
    /// Kernels, workers and threads of sessions.
    pub options: Options<'w>,
    /// Workers that take a token at a time: fewer where firmware lends its cores for whole replies
    /// only.
    pub bench_workers: &'w dyn Workers,
    /// Vector units.
    pub features: Features,
    /// Nanoseconds since some time.
    pub nanoseconds: fn() -> u64,
}

/// A model that is measured.
pub struct BenchModel<'a> {
    /// Name of its file.
    pub file: &'a str,
    /// Bytes of its file.
    pub size: u64,
    /// Parameters.
    pub parameters: u64,
    /// Its weights.
    pub weights: &'a Model,
}

impl<'a> BenchModel<'a> {
    /// A model that was opened.
    pub fn of(model: &'a OpenModel, weights: &'a Model) -> BenchModel<'a> {
        BenchModel {
            file: &model.file,
            size: model.source.size(),
            parameters: model.checkpoint.parameters(),
            weights,
        }
    }
}

/// Tests, and how they are measured.
pub struct BenchPlan {
    /// The tests.
    pub tests: Vec<Test>,
    /// Each number of threads that all tests run with.
    pub threads: Vec<usize>,
    /// How often each is repeated at most.
    pub repetitions: usize,
    /// About how many nanoseconds a test may take; `None`: as long as it takes.
    pub limit: Option<u64>,
}

/// Measures a model.
///
/// # Errors
/// [`Error::OutOfMemory`]; [`Error::Stopped`] if `watch` ends it.
pub fn measure(
    subject: &BenchModel<'_>,
    plan: &BenchPlan,
    platform: &dyn Platform,
    computing: &Computing<'_>,
    watch: Watcher<'_>,
) -> Result<Report, Error> {
    let Computing {
        options, features, ..
    } = computing;
    let weights = subject.weights;
    let address = weights.final_norm.as_ptr().addr();
    let about = Subject {
        file: subject.file.into(),
        kind: Subject::kind(weights, subject.parameters),
        size: subject.size,
        parameters: subject.parameters,
        bytes_per_token: weights.bytes_per_token(),
        context: (positions(&plan.tests), weights.config.seq_len),
        kernels: options.kernels.title,
        kv: options.kv,
        pages: platform.page_size(address).unwrap_or_else(|| "?".into()),
        processor: platform.processor(),
    };
    let bench = Bench {
        model: weights,
        kernels: options.kernels,
        workers: computing.bench_workers,
        kv: options.kv,
        features: *features,
        // Sessions and others need some as well.
        spare: platform.free_memory() / 2,
        clock: computing.nanoseconds,
        repetitions: plan.repetitions,
        limit: plan.limit,
    };
    let outcomes = bench.run(&plan.tests, &plan.threads, watch)?;
    Ok(Report {
        subject: about,
        outcomes,
    })
}

/// Measures a model and shows the results; a key stops it. `steps` are the tokens of each test, for
/// whoever asks for so many.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn run(
    subject: &BenchModel<'_>,
    steps: Option<usize>,
    console: &mut dyn Console,
    platform: &mut dyn Platform,
    computing: &Computing<'_>,
) -> Result<(), Error> {
    let most = computing.bench_workers.count();
    if most < computing.options.workers.count() {
        // A token at a time through calls that return at the end would measure the firmware.
        let line = "warning: this firmware lends its cores for whole replies only: measuring the boot processor alone";
        console.record(line);
        console.show(Style::Warning, &format!("{line}\n"));
    }
    let threads = match computing.options.threads {
        Threads::Fixed(wanted) => vec![wanted.min(most)],
        Threads::Calibrate(_) if most > 1 => vec![1, most],
        Threads::Calibrate(_) => vec![1],
    };
    let works = [
        Work::Prompt(steps.unwrap_or(PROMPT)),
        Work::Generate(steps.unwrap_or(GENERATE)),
    ];
    let tests = works.map(|work| Test {
        work,
        depth: 0,
        parallel: 1,
    });
    let rows = (tests.len() * threads.len()) as u64;
    let (time, limit) = match steps {
        None => (
            format!("in about {} s", TIME / 1_000_000_000),
            TIME / rows - READING,
        ),
        // Whoever asks for so many tokens gets them.
        Some(_) => (format!("{REPETITIONS} times each"), u64::MAX),
    };
    note(
        console,
        &format!(
            "Measuring {} and {}, {time}; Esc stops it.",
            tests[0], tests[1]
        ),
    );
    let plan = BenchPlan {
        tests: tests.into(),
        threads,
        repetitions: REPETITIONS,
        limit: Some(limit),
    };
    let measured = measure(subject, &plan, platform, computing, &mut |stage| {
        match stage {
            Stage::Begins(test, 0, _) => {
                console.bottom(Bottom::Note(&format!("{test}: warming up")));
            }
            Stage::Begins(test, repetition, of) => {
                console.bottom(Bottom::Note(&format!("{test}: {repetition} of {of}")));
            }
            Stage::Within => (),
            Stage::Done(outcome) => {
                console.bottom(Bottom::Nothing);
                note(console, &in_words(outcome));
            }
        }
        match console.look().stop {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    platform.rest_cores();
    console.bottom(Bottom::Nothing);
    let report = match measured {
        Err(Error::Stopped) => {
            note(console, "Stopped by a key.");
            return Ok(());
        }
        measured => measured?,
    };
    let mut table = String::new();
    // Writing into a string cannot fail.
    let reports = core::slice::from_ref(&report);
    let _ = Report::write(reports, ReportFormat::Markdown, &mut table);
    let about = &report.subject;
    let short = format!("{}, {}, {}\n", about.kind, Bytes(about.size), about.kernels);
    console.table(&table, &short);
    Ok(())
}

/// A result as soon as it is known.
fn in_words(outcome: &Outcome) -> String {
    let memory = outcome.percent_of_read().map_or(String::new(), |percent| {
        format!(
            ", {:.1} GB/s: {percent:.0} % of what it can read",
            outcome.weights_rate()
        )
    });
    let cores = match outcome.threads {
        1 => "1 core".to_string(),
        threads => format!("{threads} cores"),
    };
    let rate = mean(&outcome.rates());
    format!("{} on {cores}: {rate:.2} tok/s{memory}", outcome.test)
}
