//! `llama2 bench`: how fast models run here, beside how fast memory can be read.

use std::{
    io::{self, IsTerminal, Write},
    ops::ControlFlow,
    path::Path,
};

use indicatif::ProgressBar;
use llama2_app::bench::{BenchModel, BenchPlan, measure};
use llama2_console::{terminal::plain, width};
use llama2_engine::{
    bench::{
        READING, Reader, Report, ReportFormat, Stage, Test, Work, gigahertz, positions, statistics,
    },
    context::Memory,
    kernels::Features,
    units::{Bytes, short},
    workers::Workers,
};

use crate::{
    args::BenchArgs,
    bench_answers,
    failure::Failure,
    load,
    machine::{self, Machine, nanoseconds},
    pages::page_size,
    progress,
    shell::HostPlatform,
};

pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let kernels = machine::kernels(args.kernels.as_deref())?;
    let threads = if args.threads.is_empty() {
        vec![machine::default_threads()]
    } else {
        args.threads.clone()
    };
    let most = threads.iter().copied().max().unwrap_or(1);
    let machine = Machine::with(kernels, most, args.kv);
    if machine.threads.count() < most {
        let count = machine.threads.count();
        return Err(Failure::Input(format!(
            "-t {most}: this system gives {count} threads"
        )));
    }
    let format = args.output.unwrap_or(ReportFormat::Markdown);
    let text = match (args.read, &args.texts) {
        (Some(bytes), _) => read(bytes, &threads, &machine, format)?,
        (None, Some(texts)) => bench_answers::compare(texts, args, &machine)?,
        (None, None) => {
            let mut models: Vec<Option<&Path>> = args
                .checkpoints
                .iter()
                .map(|path| Some(path.as_path()))
                .collect();
            if models.is_empty() {
                models.push(None);
            }
            let reports = models
                .into_iter()
                .map(|path| report(path, args, &threads, &machine))
                .collect::<Result<Vec<_>, _>>()?;
            let mut text = String::new();
            // Writing into a string cannot fail.
            let _ = Report::write(&reports, format, &mut text);
            let widest = text.lines().map(width::text).max().unwrap_or(0);
            let narrow = io::stdout().is_terminal() && widest >= progress::columns();
            match args.output.is_none() && narrow {
                true => reports.iter().map(briefly).collect(),
                false => text,
            }
        }
    };
    let mut out = crate::plain::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// The tests that were asked for: prompts, then generation, each behind each number of tokens and
/// in each number of sequences.
fn tests(args: &BenchArgs) -> Vec<Test> {
    let prompts = args.prompt.iter().copied().map(Work::Prompt);
    let generations = args.generate.iter().copied().map(Work::Generate);
    let works: Vec<Work> = prompts.chain(generations).collect();
    let contexts = args.depth.iter().flat_map(|&depth| {
        let parallel = args.parallel.iter();
        parallel.map(move |&parallel| (depth, parallel))
    });
    let all = contexts.flat_map(|(depth, parallel)| {
        works.iter().map(move |&work| Test {
            work,
            depth,
            parallel,
        })
    });
    all.filter(|test| test.tokens() > 0).collect()
}

/// All tests of one model.
fn report(
    path: Option<&Path>,
    args: &BenchArgs,
    threads: &[usize],
    machine: &Machine,
) -> Result<Report, Failure> {
    let opened = load::open(path)?;
    let tests = tests(args);
    if tests.is_empty() {
        return Err(Failure::Usage(
            "-p and -n are 0: there is nothing to measure".into(),
        ));
    }
    let (kv, workers) = (machine.kv, machine.threads.count());
    let parallel = tests.iter().map(|test| test.parallel).max().unwrap_or(1);
    Memory::of(
        &opened.checkpoint,
        parallel * positions(&tests),
        kv,
        workers,
    )
    .check(load::available_memory().unwrap_or(u64::MAX))
    .map_err(|error| Failure::about(&opened.name, error))?;
    let name = opened.name.display().to_string();
    let (size, parameters) = (opened.size(), opened.checkpoint.parameters());
    let model = load::load(opened)?;
    let subject = BenchModel {
        file: &name,
        size,
        parameters,
        weights: &model,
    };
    let plan = BenchPlan {
        tests,
        threads: threads.to_vec(),
        repetitions: args.repetitions,
        limit: None,
    };
    // On a terminal, and never while the clock runs.
    let bar = ProgressBar::new_spinner();
    let short_name = Path::new(&name)
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let (platform, computing) = (HostPlatform::of(machine), machine.computing());
    let report = measure(&subject, &plan, &platform, &computing, &mut |stage| {
        if let Stage::Begins(test, repetition, of) = stage {
            let said = format!("{short_name}: {test}, {repetition} of {of}");
            bar.set_message(plain(&short(&said, progress::columns().saturating_sub(4))));
        }
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    report.map_err(|error| Failure::about(Path::new(&name), error))
}

/// A report for terminals that its table is too wide for.
fn briefly(report: &Report) -> String {
    let subject = &report.subject;
    let threads = report.outcomes.first().map_or(1, |outcome| outcome.threads);
    let mut out = format!(
        "{}, {}, {}, threads: {threads}\n",
        subject.kind,
        Bytes(subject.size),
        subject.kernels
    );
    for outcome in &report.outcomes {
        let rates = outcome.rates();
        let read = match (outcome.percent_of_read(), outcome.read_rate()) {
            (Some(percent), Some(read)) => {
                format!(", {percent:.0} % of the {read:.1} GB/s that memory gives")
            }
            _ => String::new(),
        };
        out.push_str(&format!(
            "  {:<6} {:>8.2} \u{b1} {:.2} t/s{read}\n",
            outcome.test.to_string(),
            statistics::mean(&rates),
            statistics::deviation(&rates),
        ));
    }
    out
}

/// How fast a working set of `bytes` bytes is read.
fn read(
    bytes: u64,
    threads: &[usize],
    machine: &Machine,
    format: ReportFormat,
) -> Result<String, Failure> {
    let reader = Reader::new(bytes, Features::of_this_core())
        .map_err(|_| Failure::Input(format!("--read {bytes}: there is no memory for it")))?;
    let pages = page_size(reader.address() as usize).unwrap_or_else(|| "?".into());
    let rows = threads.iter().map(|&threads| {
        // Longer than between tests: there is nothing else to wait for.
        let rate = reader.rate(&machine.threads, threads, nanoseconds, 5 * READING) / 1e9;
        let clock = gigahertz(nanoseconds).unwrap_or_default();
        let bytes = reader.bytes();
        match format {
            ReportFormat::Markdown => format!("| {bytes} | {threads} | {pages} | {clock:.2} | {rate:.1} |"),
            ReportFormat::Json => format!(
                "  {{\"bytes\": {bytes}, \"n_threads\": {threads}, \"page_size\": \"{pages}\", \"ghz\": {clock:.3}, \"gb_s\": {rate:.3}}}"
            ),
            ReportFormat::Csv => format!("{bytes},{threads},\"{pages}\",{clock:.3},{rate:.3}"),
        }
    });
    let rows: Vec<String> = rows.collect();
    Ok(match format {
        ReportFormat::Markdown => format!(
            "| bytes | threads | pages | GHz | read GB/s |\n| ---: | ---: | --- | ---: | ---: |\n{}\n",
            rows.join("\n")
        ),
        ReportFormat::Json => format!("[\n{}\n]\n", rows.join(",\n")),
        ReportFormat::Csv => format!("bytes,n_threads,page_size,ghz,gb_s\n{}\n", rows.join("\n")),
    })
}
