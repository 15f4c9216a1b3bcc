//! The command as its users meet it: goldens, flags, exit status, and every kind of bad file.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn models(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../models")
        .join(name)
}

fn reference(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference");
    let path = std::env::var_os("LLAMA2_REFERENCE")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there (set LLAMA2_REFERENCE)",
        path.display()
    );
    None
}

fn llama2<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_llama2"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is UTF-8")
}

/// The one sentence on standard error of a run that ends with `status` and prints nothing.
fn refusal(output: &Output, status: i32) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert_eq!(text(&output.stdout), "", "nothing on standard output");
    if status == 1 {
        assert!(
            said.starts_with("llama2: ") && said.lines().count() == 1,
            "one sentence: {said}"
        );
    }
    said
}

/// A file in a folder of this test run.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn goldens_of_the_bundled_model() {
    let long = "Lily had a cat. The cat was black. Tom had a dog. The dog was big. One day, the cat and the dog met at the park. They looked at each other and";
    for (golden, model, options) in [
        (
            "f32_greedy_empty",
            "stories1M.bin",
            &["-t", "0", "-n", "400", "-i", ""][..],
        ),
        (
            "f32_greedy_key",
            "stories1M.bin",
            &["-t", "0", "-n", "400", "-i", "Tim found a key"],
        ),
        (
            "f32_t1_p09_s42",
            "stories1M.bin",
            &[
                "-t",
                "1.0",
                "-p",
                "0.9",
                "-s",
                "42",
                "-n",
                "400",
                "-i",
                "Once upon a time",
            ],
        ),
        (
            "f32_t08_p09_s7",
            "stories1M.bin",
            &[
                "-t",
                "0.8",
                "-p",
                "0.9",
                "-s",
                "7",
                "-n",
                "400",
                "-i",
                "The big dog",
            ],
        ),
        (
            "f32_t1_p1_s3",
            "stories1M.bin",
            &["-t", "1.0", "-p", "1.0", "-s", "3", "-n", "400", "-i", ""],
        ),
        (
            "f32_greedy_long",
            "stories1M.bin",
            &["-t", "0", "-n", "512", "-i", long],
        ),
        (
            "q80_greedy_empty",
            "stories1M.q80.bin",
            &["-t", "0", "-n", "400", "-i", ""],
        ),
        (
            "q80_greedy_key",
            "stories1M.q80.bin",
            &["-t", "0", "-n", "400", "-i", "Tim found a key"],
        ),
    ] {
        let want = std::fs::read_to_string(models("golden").join(format!("{golden}.txt"))).unwrap();
        let command = [
            "run".into(),
            models(model),
            "-z".into(),
            models("tokenizer.bin"),
        ];
        let output = llama2(command.into_iter().chain(options.iter().map(PathBuf::from)));
        assert_eq!(text(&output.stdout), want, "{golden}");
        assert!(
            text(&output.stderr).contains("achieved tok/s: "),
            "{golden}"
        );
        assert!(output.status.success());
        if model == "stories1M.q80.bin" {
            let bundled = llama2(["run"].iter().chain(options));
            assert_eq!(text(&bundled.stdout), want, "{golden}, no checkpoint named");
        }
    }
}

#[test]
fn goldens_of_stories260k() {
    let (Some(model), Some(vocabulary)) = (reference("stories260K.bin"), reference("tok512.bin"))
    else {
        return;
    };
    for (golden, options) in [
        ("greedy_empty", &["-t", "0", "-n", "256", "-i", ""][..]),
        (
            "greedy_once",
            &["-t", "0", "-n", "256", "-i", "Once upon a time"],
        ),
        (
            "greedy_unicode",
            &["-t", "0", "-n", "64", "-i", "Ünïcode 日本 🙂"],
        ),
        (
            "t1.0_p0.9_s42_empty",
            &["-t", "1.0", "-p", "0.9", "-s", "42", "-n", "256", "-i", ""],
        ),
        (
            "t1.0_p0.9_s42_once",
            &[
                "-t",
                "1.0",
                "-p",
                "0.9",
                "-s",
                "42",
                "-n",
                "256",
                "-i",
                "Once upon a time",
            ],
        ),
        (
            "t1.0_p0.9_s42_lily",
            &[
                "-t",
                "1.0",
                "-p",
                "0.9",
                "-s",
                "42",
                "-n",
                "256",
                "-i",
                "Lily and Tom",
            ],
        ),
        (
            "t1.0_p1.0_s42_empty",
            &["-t", "1.0", "-p", "1.0", "-s", "42", "-n", "256", "-i", ""],
        ),
    ] {
        let want = std::fs::read(reference(&format!("{golden}.txt")).unwrap()).unwrap();
        let command = [Path::new("run"), &model, Path::new("-z"), &vocabulary];
        let output = llama2(command.into_iter().chain(options.iter().map(Path::new)));
        let mut found = output.stdout;
        let mut want = want;
        if golden == "greedy_unicode" {
            // run.c drops lone bytes above 0x7f.
            found.retain(u8::is_ascii);
            want.retain(u8::is_ascii);
        }
        assert_eq!(text(&found), text(&want), "{golden}");
    }
}

#[test]
fn flags_mean_what_they_mean_to_run_c() {
    // Out of range: adjusted, and said.
    let adjusted = llama2(["run", "-t", "-1", "-p", "1.5", "-n", "5"]);
    let plain = llama2(["run", "-t", "0", "-p", "0.9", "-n", "5"]);
    assert!(plain.status.success() && !plain.stdout.is_empty());
    assert_eq!(adjusted.stdout, plain.stdout);
    let said = text(&adjusted.stderr);
    assert!(
        said.contains("temperature -1 is below 0")
            && said.contains("top-p 1.5 is outside of 0 to 1"),
        "{said}"
    );
    // Steps: 0, negative and too many are the whole context.
    let whole = llama2(["run", "-t", "0", "-n", "0"]);
    for steps in ["-7", "100000", "512"] {
        assert_eq!(
            llama2(["run", "-t", "0", "-n", steps]).stdout,
            whole.stdout,
            "-n {steps}"
        );
    }
    // A prompt that looks like a flag, negative seeds, flags without a space.
    assert!(text(&llama2(["run", "-t", "0", "-n", "6", "-i", "-x"]).stdout).starts_with("-x"));
    let negative = llama2(["run", "-s", "-5", "-n", "40"]);
    assert!(negative.status.success());
    assert_eq!(
        negative.stdout,
        llama2(["run", "-s18446744073709551611", "-n40"]).stdout
    );
    // The same seed, the same text; the seed that was drawn is said, and gives the same text again.
    let drawn = llama2(["run", "-n", "30"]);
    let said = text(&drawn.stderr);
    let seed = said
        .lines()
        .find_map(|line| line.strip_prefix("seed: "))
        .expect("the seed is said");
    assert_eq!(llama2(["run", "-n", "30", "-s", seed]).stdout, drawn.stdout);
    // A prompt from a file, its last newline left out.
    let prompt = file("prompt.txt", b"Tim found a key\n");
    let from_file = llama2([
        Path::new("run"),
        Path::new("-t0"),
        Path::new("-n30"),
        Path::new("-f"),
        &prompt,
    ]);
    assert_eq!(
        from_file.stdout,
        llama2(["run", "-t0", "-n30", "-i", "Tim found a key"]).stdout
    );
}

#[test]
fn chat_speaks_as_run_c_s() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .args(["run", "-m", "chat", "-t", "0", "-n", "60"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"\nWho has a ball?\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("Enter system prompt (optional): User: Assistant: "));
    let given = llama2([
        "run",
        "-m",
        "chat",
        "-t",
        "0",
        "-n",
        "60",
        "-y",
        "",
        "-i",
        "Who has a ball?",
    ]);
    let answer = |output: &Output| {
        text(&output.stdout)
            .split_once("Assistant: ")
            .unwrap()
            .1
            .to_owned()
    };
    assert_eq!(answer(&given), answer(&output));
    // No answer at all is the end, not an error.
    assert!(llama2(["run", "-m", "chat"]).status.success());
}

#[test]
fn mistakes_on_the_command_line_are_status_2() {
    for args in [
        &["run", "-q"][..],
        &["run", "-t", "warm"],
        &["run", "-n", "many"],
        &["run", "-m", "sing"],
        &["tell"],
        &[],
    ] {
        let said = refusal(&llama2(args), 2);
        assert!(said.contains("Usage") || said.contains("--help"), "{said}");
    }
    assert!(refusal(&llama2(["run", "-s", "x"]), 2).contains("whole number"));
    assert!(refusal(&llama2(["run", "-i", "a", "-f", "b"]), 2).contains("cannot be used with"));
    let help = llama2(["run", "--help"]);
    assert!(help.status.success() && text(&help.stdout).contains("Examples:"));
}

#[test]
fn bad_files_are_status_1_and_one_sentence() {
    let q80 = std::fs::read(models("stories1M.q80.bin")).unwrap();
    let f32 = std::fs::read(models("stories1M.bin")).unwrap();
    let number = |index: usize, value: i32| {
        let mut bytes = f32.clone();
        bytes[4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let run = |checkpoint: &Path| {
        llama2([
            Path::new("run"),
            checkpoint,
            Path::new("-z"),
            &models("tokenizer.bin"),
        ])
    };
    for (name, bytes, words) in [
        ("empty.bin", vec![], "is empty"),
        (
            "short.bin",
            f32[..100_000].to_vec(),
            "needs 5 282 332 bytes",
        ),
        ("header.bin", f32[..20].to_vec(), "has 20 bytes"),
        ("long.bin", [&f32[..], &[0; 16]].concat(), "16 too many"),
        ("q80short.bin", q80[..q80.len() - 4].to_vec(), "cut short"),
        ("text.bin", vec![b'#'; 5000], "is not a llama2.c checkpoint"),
        (
            "gguf.bin",
            [&b"GGUF"[..], &[0; 500]].concat(),
            "a GGUF file",
        ),
        ("dim0.bin", number(0, 0), "dim is 0"),
        ("layers.bin", number(2, -3), "n_layers is -3"),
        (
            "absurd.bin",
            number(1, i32::MAX),
            "hidden_dim is 2147483647",
        ),
        (
            "heads.bin",
            number(3, 7),
            "n_heads 7 does not divide dim 128",
        ),
        (
            "kvheads.bin",
            number(4, 3),
            "n_kv_heads 3 does not divide n_heads 8",
        ),
    ] {
        let path = file(name, &bytes);
        let said = refusal(&run(&path), 1);
        assert!(
            said.contains(words) && said.contains(name),
            "{name}: {said}"
        );
        let info = refusal(&llama2([Path::new("info"), &path]), 1);
        assert_eq!(info, said, "info says the same");
    }
    assert!(refusal(&run(Path::new("nowhere.bin")), 1).contains("no such file"));
    assert!(refusal(&run(Path::new(env!("CARGO_MANIFEST_DIR"))), 1).contains("is a folder"));
}

#[test]
fn bad_tokenizers_and_prompts_are_status_1() {
    let run = |tokenizer: &Path| {
        llama2([
            Path::new("run"),
            &models("stories1M.bin"),
            Path::new("-z"),
            tokenizer,
        ])
    };
    let good = std::fs::read(models("tokenizer.bin")).unwrap();
    let mut lying = good.clone();
    lying[8..12].copy_from_slice(&i32::MAX.to_le_bytes());
    for (name, bytes, words) in [
        ("tok_empty.bin", vec![], "is empty"),
        (
            "tok_short.bin",
            good[..good.len() - 1].to_vec(),
            "bytes long, but",
        ),
        (
            "tok_lying.bin",
            lying,
            "token 0 says that it is 2147483647 bytes",
        ),
        ("tok_few.bin", good[..6000].to_vec(), "token"),
        (
            "tok_model.bin",
            std::fs::read(models("stories1M.bin")).unwrap(),
            "tokenizer",
        ),
    ] {
        let said = refusal(&run(&file(name, &bytes)), 1);
        assert!(
            said.contains(words) && said.contains(name),
            "{name}: {said}"
        );
    }
    // Cut between two tokens: a tokenizer, but not this model's.
    let mut at = 4;
    for _ in 0..600 {
        at += 8 + i32::from_le_bytes(good[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    let said = refusal(&run(&file("tok_600.bin", &good[..at])), 1);
    assert!(
        said.contains("has 600 tokens, but the model has 1 024"),
        "{said}"
    );

    let nowhere = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args([
            Path::new("run"),
            &file(
                "alone.bin",
                &std::fs::read(models("stories1M.bin")).unwrap(),
            ),
        ])
        .output()
        .unwrap();
    assert!(refusal(&nowhere, 1).contains("no tokenizer: neither"));

    let long = "the cat and the dog ".repeat(300);
    let said = refusal(&llama2(["run", "-i", &long]), 1);
    assert!(
        said.contains("but the model's context has room for 512"),
        "{said}"
    );
    assert!(refusal(&llama2(["run", "-f", "nowhere.txt"]), 1).contains("nowhere.txt"));
}

#[test]
fn info_shows_the_shape() {
    let info = text(&llama2(["info"]).stdout);
    for line in [
        "llama2.c v2, int8 in groups of 64",
        "1 399 552 bytes",
        "1 312 384",
        "8 of 16 elements",
        "tied",
        "KV cache",
    ] {
        assert!(info.contains(line), "{line} is not in\n{info}");
    }
    let info = text(&llama2([Path::new("info"), &models("stories1M.bin")]).stdout);
    assert!(info.contains("llama2.c v0 (legacy), float32"), "{info}");
}

#[cfg(unix)]
#[test]
fn a_broken_pipe_ends_it_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .args(["run", "-n", "500", "-s", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(
        !text(&output.stderr).contains("panicked") && !text(&output.stderr).contains("ipe"),
        "{}",
        text(&output.stderr)
    );
}
