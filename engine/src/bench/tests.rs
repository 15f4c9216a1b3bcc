//! The benchmark on a tiny model, and its tables.

use alloc::{format, string::String, vec};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::{checkpoint::Checkpoint, kernels, workers::tests::Scoped};

/// A small model.
fn model() -> (Model, Checkpoint) {
    let mut source: &[u8] = include_bytes!("../../../models/stories330K.bin");
    let checkpoint = Checkpoint::open(&mut source).unwrap();
    let (model, _) =
        Model::load(&checkpoint, &mut source, &mut |_| ControlFlow::Continue(())).unwrap();
    (model, checkpoint)
}

/// A clock that advances 50 ms per reading, so that reading memory takes little time.
fn clock() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(50_000_000, Relaxed)
}

const PP20: Test = Test {
    work: Work::Prompt(20),
    depth: 0,
    parallel: 1,
};
const TG3_AT_5: Test = Test {
    work: Work::Generate(3),
    depth: 5,
    parallel: 1,
};

fn outcome(test: Test) -> Outcome {
    Outcome {
        test,
        threads: 2,
        nanoseconds: vec![1_000_000_000, 2_000_000_000],
        weights: 6_000_000_000,
        kv: Some(600_000_000),
        operations: 12_000_000_000,
        read: Some((10e9, 10.2e9)),
        gigahertz: Some((3.6, 3.7)),
    }
}

fn report(outcomes: Vec<Outcome>) -> [Report; 1] {
    [Report {
        subject: Subject {
            file: "a \"model\", in C:\\.bin".into(),
            kind: "llama 15M F32".into(),
            size: 60_816_028,
            parameters: 15_191_712,
            bytes_per_token: 60_766_848,
            context: (512, 256),
            kernels: "AVX2",
            kv: KvType::F16,
            pages: "2 MiB".into(),
            processor: "one".into(),
        },
        outcomes,
    }]
}

fn written(reports: &[Report], format: ReportFormat) -> String {
    let mut out = String::new();
    Report::write(reports, format, &mut out).unwrap();
    out
}

#[test]
fn every_test_runs_with_every_number_of_threads() {
    let (model, _) = model();
    let workers = Scoped(2);
    let bench = Bench {
        model: &model,
        kernels: kernels::best(Features::BASE),
        workers: &workers,
        kv: KvType::F32,
        features: Features::BASE,
        spare: u64::MAX,
        clock,
        repetitions: 2,
        limit: None,
    };
    let (mut asked, mut done) = (0, 0);
    let outcomes = bench.run(&[PP20, TG3_AT_5], &[1, 2], &mut |stage| {
        match stage {
            Stage::Begins(..) => asked += 1,
            Stage::Done(_) => done += 1,
            Stage::Within => panic!("nobody waits"),
        }
        ControlFlow::Continue(())
    });
    let outcomes = outcomes.unwrap();
    assert_eq!((asked, done), (4 * 3, 4));
    let shapes: Vec<_> = outcomes
        .iter()
        .map(|o| (o.test, o.threads, o.nanoseconds.len()))
        .collect();
    assert_eq!(
        shapes,
        [
            (PP20, 1, 2),
            (TG3_AT_5, 1, 2),
            (PP20, 2, 2),
            (TG3_AT_5, 2, 2)
        ]
    );
    let [prompt, generation, ..] = &outcomes[..] else {
        panic!()
    };
    // A batch reads the weights once, each step does.
    assert_eq!(prompt.weights, model.bytes_per_token());
    assert_eq!(generation.weights, 3 * model.bytes_per_token());
    assert_eq!(prompt.kv, None);
    assert!(generation.kv.unwrap() > 0 && generation.read.is_some());
    let thrifty = Bench { spare: 0, ..bench };
    let outcomes = thrifty.run(&[PP20], &[1], &mut |_| ControlFlow::Continue(()));
    assert_eq!(outcomes.unwrap()[0].read, None);
    let stopped = thrifty.run(&[PP20], &[1], &mut |_| ControlFlow::Break(()));
    assert_eq!(stopped, Err(Error::Stopped));
}

#[test]
fn the_warm_up_chooses_what_fits_the_limit() {
    // Each pass takes 50 ms; other tests have another clock.
    fn clock() -> u64 {
        static NOW: AtomicU64 = AtomicU64::new(0);
        NOW.fetch_add(50_000_000, Relaxed)
    }
    let (model, _) = model();
    let bench = |seconds: u64| Bench {
        model: &model,
        kernels: kernels::best(Features::BASE),
        workers: &crate::workers::Single,
        kv: KvType::F32,
        features: Features::BASE,
        spare: 0,
        clock,
        repetitions: 5,
        limit: Some(seconds * 1_000_000_000),
    };
    let test = |work| Test {
        work,
        depth: 3,
        parallel: 1,
    };
    let tests = [test(Work::Generate(20)), test(Work::Prompt(150))];
    for (seconds, want) in [
        // Half of it, and half of that again, for a warm-up of one token.
        (0, [("tg1 @ d3", 1), ("pp1 @ d3", 1)]),
        (1, [("tg4 @ d3", 2), ("pp150 @ d3", 3)]),
        (4, [("tg16 @ d3", 2), ("pp150 @ d3", 5)]),
        (1000, [("tg20 @ d3", 5), ("pp150 @ d3", 5)]),
    ] {
        let mut within = 0;
        let outcomes = bench(seconds).run(&tests, &[1], &mut |stage| {
            within += usize::from(matches!(stage, Stage::Within));
            ControlFlow::Continue(())
        });
        let rows = outcomes.unwrap();
        let rows: Vec<_> = rows
            .iter()
            .map(|row| (format!("{}", row.test), row.nanoseconds.len()))
            .collect();
        assert_eq!(
            rows,
            want.map(|(name, times)| (name.into(), times)),
            "{seconds} s"
        );
        assert!(seconds == 0 || within > 3);
    }
    // In the middle of a repetition, too.
    let mut left = 7;
    let stopped = bench(1000).run(&tests, &[1], &mut |stage| {
        left -= usize::from(matches!(stage, Stage::Within));
        match left {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    });
    assert_eq!(stopped, Err(Error::Stopped));
}

#[test]
fn rates_follow_from_times() {
    let outcome = outcome(TG3_AT_5);
    assert_eq!(outcome.rates(), [3.0, 1.5]);
    assert_eq!(outcome.weights_rate(), 4.5);
    assert_eq!(outcome.kv_rate(), Some(0.45));
    assert_eq!(outcome.operations_rate(), 9.0);
    assert!((outcome.percent_of_read().unwrap() - 100.0 * 4.5 / 10.1).abs() < 1e-9);
    assert!(!outcome.read_changed());
    let unsteady = Outcome {
        read: Some((57e9, 35e9)),
        ..outcome
    };
    assert!(unsteady.read_changed());
}

#[test]
fn the_table_stands_in_columns_and_says_what_is_odd() {
    let unsteady = Outcome {
        read: Some((57e9, 35e9)),
        ..outcome(TG3_AT_5)
    };
    let bare = Outcome {
        read: None,
        gigahertz: None,
        kv: None,
        ..outcome(PP20)
    };
    let text = written(
        &report(vec![outcome(TG3_AT_5), unsteady, bare]),
        ReportFormat::Markdown,
    );
    let lines: Vec<&str> = text.lines().collect();
    let width = lines[0].chars().count();
    assert!(
        lines[..5].iter().all(|line| line.chars().count() == width),
        "{text}"
    );
    assert!(lines[1].contains("-: |"));
    assert!(lines[2].contains("| tg3 @ d5 |") && lines[2].contains(" 2.25 ± 1.06 |"));
    assert!(
        lines[2].contains(" 4.5 + 0.5 |") && lines[2].contains("58.00 MiB | 15.19 M"),
        "{text}"
    );
    assert!(lines[3].contains("46.0 *"));
    assert!(text.contains("lengthened from 256 to 512") && text.contains("more than 5 % apart"));
}

#[test]
fn json_and_csv_keep_odd_names() {
    let json = written(
        &report(vec![outcome(PP20), outcome(TG3_AT_5)]),
        ReportFormat::Json,
    );
    assert!(
        json.contains(r#""model_filename": "a \"model\", in C:\\.bin","#),
        "{json}"
    );
    assert!(json.contains("\"samples_ns\": [1000000000.000000, 2000000000.000000]"));
    assert_eq!(json.matches("\n  }").count(), 2);
    let csv = written(
        &report(vec![outcome(PP20), outcome(TG3_AT_5)]),
        ReportFormat::Csv,
    );
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("build_version,cpu_info,model_filename,model_type,"));
    assert!(
        lines[1].contains(r#","a ""model"", in C:\.bin","llama 15M F32",60816028,"#),
        "{csv}"
    );
}
