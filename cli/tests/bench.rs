//! Output and errors of `llama2 bench`.

mod common;

use common::{llama2, models, refusal, text};

#[test]
fn each_format_has_every_result_once() {
    let common = [
        "bench", "-p", "9,70", "-n", "3", "-d", "0,5", "-t", "1", "-r", "2",
    ];
    let run = |format: &str| {
        let output = llama2(common.iter().copied().chain(["-o", format]));
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let tests = ["pp9", "pp70", "tg3", "pp9 @ d5", "pp70 @ d5", "tg3 @ d5"];
    let table = run("md");
    let rows: Vec<&str> = table
        .lines()
        .take_while(|line| line.starts_with('|'))
        .collect();
    assert_eq!(rows.len(), 2 + tests.len(), "{table}");
    for (row, test) in rows[2..].iter().zip(tests) {
        assert!(
            row.contains(&format!(" {test} |")) && row.contains('±'),
            "{row}"
        );
    }
    let json = run("json");
    assert_eq!(json.matches("\"avg_ts\"").count(), tests.len());
    assert!(json.contains("\"test\": \"pp70 @ d5\"") && json.contains("\"page_size\""));
    let csv = run("csv");
    assert_eq!(csv.lines().count(), 1 + tests.len(), "{csv}");
    let columns = csv.lines().next().unwrap().split(',').count();
    assert!(columns > 20 && csv.contains("\"stories7M (bundled)\""));
}

#[test]
fn a_test_longer_than_the_context_lengthens_it_and_says_so() {
    let model = models("stories330K.bin");
    let output = llama2([
        "bench",
        model.to_str().unwrap(),
        "-p",
        "600",
        "-n",
        "0",
        "-r",
        "1",
    ]);
    let table = text(&output.stdout);
    assert!(
        table.contains("pp600") && table.contains("lengthened from 512 to 600"),
        "{table}"
    );
    assert!(!table.contains("tg"), "-n 0 leaves generation out");
}

#[test]
fn memory_alone_can_be_measured() {
    let output = llama2(["bench", "--read", "3000000", "-t", "1,2", "-o", "csv"]);
    let csv = text(&output.stdout);
    let rates: Vec<f64> = csv
        .lines()
        .skip(1)
        .map(|line| line.rsplit(',').next().unwrap().parse().unwrap())
        .collect();
    assert!(
        rates.len() == 2 && rates.iter().all(|rate| *rate > 0.1),
        "{csv}"
    );
}

#[test]
fn what_cannot_be_measured_is_refused() {
    refusal(&llama2(["bench", "-t", "0"]), 2);
    refusal(&llama2(["bench", "-r", "0"]), 2);
    refusal(&llama2(["bench", "-o", "xml"]), 2);
    refusal(&llama2(["bench", "--read", "1", "model.bin"]), 2);
    assert!(refusal(&llama2(["bench", "--kernels", "mmx"]), 2).contains("no kernels of that name"));
    assert!(refusal(&llama2(["bench", "no-such.bin"]), 1).contains("no-such.bin"));
}

/// A table that does not fit becomes a few lines, unless it was requested.
#[cfg(target_os = "linux")]
#[test]
fn a_narrow_terminal_gets_a_narrow_form() {
    let folder = models("");
    let args = ["bench", "-p", "8", "-n", "2", "-r", "1", "-t", "1"];
    let mut terminal = common::Terminal::start(args, &folder);
    let shown = terminal.wait("threads: 1") + &terminal.wait("  tg2 ") + &terminal.wait(" t/s");
    assert!(!shown.contains('|') && shown.contains("  pp8 "), "{shown}");
    let args = [&args[..], &["-o", "MD"]].concat();
    common::Terminal::start(args, &folder).wait("| model ");
}

/// Progress is one line of the terminal, with the file's name only, and is removed at the end.
#[cfg(target_os = "linux")]
#[test]
fn progress_fits_the_terminal_and_goes() {
    let name = "a-model-with-a-name-that-is-longer-than-half-of-a-line.gguf";
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("progress/of/a/writer");
    std::fs::create_dir_all(&folder).unwrap();
    let (input, output) = (models("stories330K.bin"), folder.join(name));
    let (input, output) = (input.display().to_string(), output.display().to_string());
    let args = ["quantize", &input, &output, "--force", "--type", "q4_k_m"];
    let mut terminal = common::Terminal::start(args, &models(""));
    let shown = terminal.wait(&format!("/{name}: "));
    let progress = shown.rsplit_once("\x1b[2K").map(|(before, _)| before);
    let lines = progress.unwrap_or_default().split(['\r', '\n']);
    for line in lines.map(|line| line.trim_start_matches("\x1b[2K")) {
        assert!(line.chars().count() <= 80, "{line:?} in {shown:?}");
        assert!(!line.contains("progress/of/a/writer"), "{line:?}");
    }
    assert!(terminal.child.wait().unwrap().success());
}
