//! `bench`: how fast this machine runs the model with nothing underneath, in `llama2 bench`'s own
//! table, so that it can be measured with and without its operating system.

use alloc::{format, string::String, vec};
use core::ops::ControlFlow;

use llama2_console::front::{Bottom, Front};
use llama2_efi::{arch, cores::DispatchMode};
use llama2_engine::{
    bench::{Bench, Outcome, Report, Stage, Subject, Test, Work, positions, statistics::mean},
    checkpoint::{Checkpoint, Error},
    kernels::Kernels,
    model::Model,
    settings::kv_type,
    workers::{Single, Workers},
};
use llama2_settings::{Overrides, Param};

use super::{
    ap_pool::ApPool,
    clock, memory,
    terminal::{self, FirmwareTerminal, complain, say},
};

/// Tokens of a prompt, and tokens to generate: llama-bench's own, but for `steps`.
const PROMPT: usize = 512;
const GENERATE: usize = 128;
/// How often each test is repeated at most.
const REPETITIONS: usize = 5;
/// Seconds for all of it: its rows, and how fast memory is, which takes up to half a second a row.
const SECONDS: u64 = 15;
const READING: u64 = 500_000_000;

/// Measures, and says the table. `file` and `size` are the checkpoint's. The context is as long
/// as the tests need.
///
/// # Errors
/// [`Error::OutOfMemory`].
pub fn run(
    (file, size): (&str, u64),
    checkpoint: &Checkpoint,
    model: &Model,
    pool: &'static ApPool,
    kernels: &'static Kernels,
    options: &Overrides,
) -> Result<(), Error> {
    // A token at a time through calls that return at the end would measure the firmware.
    let blocking = *pool.mode() == DispatchMode::Elsewhere;
    let workers: &dyn Workers = if blocking { &Single } else { pool };
    if blocking {
        complain(
            "warning",
            "this firmware lends its cores for whole replies only: measuring the boot processor alone",
        );
    }
    let most = workers.count();
    let threads = match options.count(Param::Threads) {
        Some(wanted) => vec![wanted.min(most)],
        None if most > 1 => vec![1, most],
        None => vec![1],
    };
    // How long texts are is no wish for `/bench`, only where measuring is all that is wished.
    let steps = options
        .count(Param::Steps)
        .filter(|_| options.truth(Param::Bench))
        .filter(|&steps| steps > 0);
    let works = [
        Work::Prompt(steps.unwrap_or(PROMPT)),
        Work::Generate(steps.unwrap_or(GENERATE)),
    ];
    let rows = (works.len() * threads.len()) as u64;
    let tests = works.map(|work| Test { work, depth: 0 });
    let kv = kv_type(options);
    let subject = Subject {
        file: file.into(),
        kind: Subject::kind(model, checkpoint.parameters()),
        size,
        parameters: checkpoint.parameters(),
        bytes_per_token: model.bytes_per_token(),
        context: (positions(&tests), model.config.seq_len),
        kernels: kernels.title,
        kv,
        pages: arch::page_size(model.final_norm.as_ptr().addr())
            .unwrap_or("?")
            .into(),
        processor: arch::name(),
    };
    let bench = Bench {
        model,
        kernels,
        workers,
        kv,
        features: pool.features(),
        // Sessions and the firmware need some as well.
        spare: memory::size().free / 2,
        clock: clock::nanoseconds,
        repetitions: REPETITIONS,
        // Whoever asks for so many tokens gets them.
        limit: Some(match steps {
            None => SECONDS * 1_000_000_000 / rows - READING,
            Some(_) => u64::MAX,
        }),
    };
    let time = match steps {
        None => format!("in about {SECONDS} s"),
        Some(_) => format!("{REPETITIONS} times each"),
    };
    say(&format!(
        "Measuring {} and {}, {time}; Esc stops it.",
        tests[0], tests[1]
    ));
    let measured = bench.run(&tests, &threads, &mut |stage| {
        match stage {
            Stage::Begins(test, 0, _) => note(&format!("{test}: warming up")),
            Stage::Begins(test, repetition, of) => note(&format!("{test}: {repetition} of {of}")),
            Stage::Within => (),
            Stage::Done(outcome) => {
                note("");
                say(&in_words(outcome));
            }
        }
        if terminal::stopped() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    pool.rest();
    note("");
    FirmwareTerminal.bottom(Bottom::Nothing);
    let outcomes = match measured {
        Err(Error::Stopped) => {
            say("Stopped by a key.");
            return Ok(());
        }
        measured => measured?,
    };
    let mut table = String::new();
    // Writing into a string cannot fail.
    let _ = Report::write(
        &[Report { subject, outcomes }],
        llama2_engine::bench::ReportFormat::Markdown,
        &mut table,
    );
    terminal::table(&table);
    Ok(())
}

/// Says in the screen's current line what goes on.
fn note(line: &str) {
    terminal::redraw(&format!("{line:30}"));
    if line.is_empty() {
        terminal::redraw("");
    }
}

/// One result as soon as it is known.
fn in_words(outcome: &Outcome) -> String {
    let memory = outcome.percent_of_read().map_or(String::new(), |percent| {
        format!(
            ", {:.1} GB/s: {percent:.0} % of what it can read",
            outcome.weights_rate()
        )
    });
    let cores = match outcome.threads {
        1 => "1 core".into(),
        threads => format!("{threads} cores"),
    };
    let rate = mean(&outcome.rates());
    format!("{} on {cores}: {rate:.2} tok/s{memory}", outcome.test)
}
