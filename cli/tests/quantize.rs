//! `llama2 quantize` and `llama2 perplexity`, end to end.

mod common;

use std::path::{Path, PathBuf};

use common::{KERNELS, int8, llama2, models, refusal, text};

/// Folder of this test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("llama2-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn quantize(input: &Path, output: &Path, options: &[&str]) -> std::process::Output {
    let command = [Path::new("quantize"), input, output];
    llama2(command.into_iter().chain(options.iter().map(Path::new)))
}

/// Most likely story of a model.
fn story(model: &Path, options: &[&str]) -> String {
    let tell = ["-t", "0", "-n", "200", "--threads", "1"];
    let command = [Path::new("run"), model]
        .into_iter()
        .chain(tell.iter().map(Path::new));
    let output = llama2(command.chain(options.iter().map(Path::new)));
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

#[test]
fn int8_comes_out_of_float32_weights() {
    let folder = Folder::new("quantize-v2");
    let made = folder.0.join("made.bin");
    let output = quantize(&models("stories330K.bin"), &made, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let same = std::fs::read(&made).unwrap() == llama2_testing::bundled_int8();
    assert!(same, "byte for byte");

    // An existing file stays, unless --force is given.
    let said = refusal(&quantize(&models("stories330K.bin"), &made, &[]), 1);
    assert!(said.contains("--force"), "{said}");
    let forced = quantize(&models("stories330K.bin"), &made, &["--force"]);
    assert!(forced.status.success());
    // Nothing else is left behind.
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn gguf_files_tell_the_checkpoint_s_stories() {
    let folder = Folder::new("quantize-gguf");
    let tokenizer = models("tokenizer.bin");
    let z = ["-z", tokenizer.to_str().unwrap()];
    let f32_story = story(&models("stories330K.bin"), &z);
    for (kind, same) in [
        ("f32", true),
        ("f16", true),
        ("q8_0", false),
        ("q4_0", false),
    ] {
        let made = folder.0.join(format!("{kind}.gguf"));
        let options = ["--type", kind];
        let output = quantize(&models("stories330K.bin"), &made, &options);
        assert!(output.status.success(), "{}", text(&output.stderr));
        // The tokenizer is inside.
        let told = story(&made, &[]);
        assert!(
            told.len() > 100 && (!same || told == f32_story),
            "{kind}: {told}"
        );
        for kernels in KERNELS {
            let way = ["--kernels", kernels];
            let command = [Path::new("run"), &made]
                .into_iter()
                .chain(way.iter().map(Path::new));
            let probe = llama2(command.chain(["-n", "1", "-t", "0"].iter().map(Path::new)));
            if !probe.status.success() {
                eprintln!("SKIPPED: {}", text(&probe.stderr));
                continue;
            }
            assert_eq!(story(&made, &way), told, "{kind} with {kernels}");
        }
        // Again from GGUF: the metadata are copied, and the numbers are the same.
        let again = folder.0.join(format!("again-{kind}.gguf"));
        assert!(quantize(&made, &again, &options).status.success());
        if kind.starts_with('f') {
            assert!(
                std::fs::read(&made).unwrap() == std::fs::read(&again).unwrap(),
                "{kind}"
            );
        }
    }
    let small = folder.0.join("q4_0.gguf");
    let said = refusal(
        &quantize(&small, &folder.0.join("x.bin"), &["--type", "q4_0"]),
        1,
    );
    assert!(said.contains("holds q8_0 only"), "{said}");
    let said = refusal(&quantize(&small, &folder.0.join("x.txt"), &[]), 1);
    assert!(said.contains("must end in .gguf"), "{said}");
    let nowhere = folder.0.join("nowhere/x.gguf");
    let said = refusal(&quantize(&models("stories330K.bin"), &nowhere, &[]), 1);
    assert!(said.contains("nowhere"), "{said}");
}

/// Perplexity that the command prints.
fn perplexity(model: &Path, text_file: &Path, options: &[&str]) -> f64 {
    let command = [Path::new("perplexity"), model, Path::new("-f"), text_file];
    let output = llama2(command.into_iter().chain(options.iter().map(Path::new)));
    let said = text(&output.stdout);
    let number = said
        .strip_prefix("perplexity: ")
        .and_then(|rest| rest.split(' ').next());
    let number = number.and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("{said} {}", text(&output.stderr)))
}

#[test]
fn int8_foresees_a_text_as_well_as_float32() {
    let folder = Folder::new("perplexity");
    let tokenizer = models("tokenizer.bin");
    let z = ["-z", tokenizer.to_str().unwrap()];
    // Stories from the model's own goldens, which it predicts well.
    let mut stories = String::new();
    for golden in ["f32_t1_p09_s42", "f32_t08_p09_s7", "f32_t1_p1_s3"] {
        let path = models("golden").join(format!("{golden}.txt"));
        stories += &std::fs::read_to_string(path).unwrap();
    }
    let file = folder.0.join("text.txt");
    std::fs::write(&file, &stories).unwrap();
    let exact = perplexity(&models("stories330K.bin"), &file, &z);
    assert!((1.5..8.0).contains(&exact), "{exact}");
    for (kind, bound) in [("f16", 0.001), ("q8_0", 0.01), ("q4_0", 0.5)] {
        let made = folder.0.join(format!("{kind}.gguf"));
        assert!(
            quantize(&models("stories330K.bin"), &made, &["--type", kind])
                .status
                .success()
        );
        let found = perplexity(&made, &file, &[]);
        assert!(
            (found / exact - 1.0).abs() < bound,
            "{kind}: {found}, not {exact}"
        );
    }
    let model = int8("perplexity.q80.bin");
    let v2 = perplexity(&model, &file, &z);
    assert!((v2 / exact - 1.0).abs() < 0.01, "v2: {v2}, not {exact}");
    let halves = ["--kv", "f16"];
    let kv = perplexity(&folder.0.join("f16.gguf"), &file, &halves);
    assert!((kv / exact - 1.0).abs() < 0.001, "KV cache in f16: {kv}");
    // Shorter windows know less.
    let short = perplexity(&folder.0.join("f16.gguf"), &file, &["-c", "8"]);
    assert!(short > 1.5 * exact, "{short}");

    let empty = folder.0.join("empty.txt");
    std::fs::write(&empty, "").unwrap();
    let run = |file: &Path, context: &str| {
        let command = [Path::new("perplexity"), &model, Path::new("-f"), file];
        llama2(
            command
                .into_iter()
                .chain(["-c", context, z[0], z[1]].iter().map(Path::new)),
        )
    };
    assert!(refusal(&run(&empty, "100"), 1).contains("there is no text"));
    assert!(refusal(&run(&file, "513"), 1).contains("the model has 1 to 512"));
    for few in ["0", "1"] {
        assert!(refusal(&run(&file, few), 2).contains("2 or more"));
    }
    // A text of Windows is the text that it shows.
    let windows: Vec<u8> = std::iter::once(0xfeff)
        .chain(stories.replace('\n', "\r\n").encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    std::fs::write(&empty, windows).unwrap();
    assert_eq!(run(&empty, "100").stdout, run(&file, "100").stdout);
}

#[test]
fn a_model_in_several_files_tells_the_same_story() {
    let folder = Folder::new("split");
    let whole = folder.0.join("whole.gguf");
    let made = quantize(&models("stories330K.bin"), &whole, &["--type", "q8_0"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let split = |options: &[&str]| {
        let command = [Path::new("split"), &whole];
        llama2(command.into_iter().chain(options.iter().map(Path::new)))
    };
    let output = split(&["--size", "150K"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut parts: Vec<PathBuf> = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| *path != whole)
        .collect();
    parts.sort();
    assert!(parts.len() >= 3, "{parts:?}");
    for part in &parts {
        assert!(std::fs::metadata(part).unwrap().len() <= 150 << 10);
    }
    assert!(parts[0].ends_with(format!("whole-00001-of-{:05}.gguf", parts.len())));
    assert_eq!(story(&parts[0], &[]), story(&whole, &[]));

    assert!(refusal(&split(&["--size", "150K"]), 1).contains("--force"));
    assert!(split(&["--size", "150K", "--force"]).status.success());
    assert!(refusal(&split(&[]), 1).contains("nothing to split"));
    let said = refusal(&split(&["--size", "20K"]), 1);
    assert!(said.contains("alone makes a file of"), "{said}");
    assert!(refusal(&split(&["--size", "2T"]), 2).contains("K, M or G"));
    // And back: parts are one model to every command.
    let again = folder.0.join("again.gguf");
    assert!(
        quantize(&parts[1], &again, &["--type", "q8_0"])
            .status
            .success()
    );
    assert!(std::fs::read(&again).unwrap() == std::fs::read(&whole).unwrap());

    let command = [Path::new("split"), &models("stories330K.bin")];
    assert!(refusal(&llama2(command), 1).contains("llama2 convert"));
}

/// NaN and overflowing numbers are rejected, and no file is left.
#[test]
fn what_is_no_number_is_not_written() {
    let folder = Folder::new("quantize-nan");
    let tokenizer = models("tokenizer.bin");
    let z = ["-z", tokenizer.to_str().unwrap()];
    let good = std::fs::read(models("stories330K.bin")).unwrap();
    let made = folder.0.join("made.gguf");
    let bad = folder.0.join("bad.bin");
    // In the embedding, and in the last of the layers' matrices.
    for (number, kinds, words) in [
        (
            f32::NAN,
            &["f32", "q8_0", "f16", "q4_k_m"][..],
            "not numbers",
        ),
        (f32::NEG_INFINITY, &["f32", "q4_0"], "not numbers"),
        (1e30, &["f16", "q8_0", "q4_0", "q5_0"], "too large for"),
    ] {
        for at in [28 + 4 * 1000, good.len() - 4 * 512 * 16 - 4 * 1000] {
            let mut bytes = good.clone();
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
            std::fs::write(&bad, bytes).unwrap();
            for kind in kinds {
                let options = [&["--type", kind][..], &z].concat();
                let said = refusal(&quantize(&bad, &made, &options), 1);
                assert!(
                    said.contains(words) && said.contains(".weight"),
                    "{kind}: {said}"
                );
                assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1, "{said}");
            }
            let convert = [Path::new("convert"), &bad, Path::new("-o"), &made];
            let command = convert.into_iter().chain(z.iter().map(Path::new));
            if !number.is_finite() {
                assert!(refusal(&llama2(command), 1).contains(words));
                // Nor is anything said or measured with them.
                for verb in ["run", "chat", "perplexity"] {
                    let text = ["-f", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")];
                    let more: &[&str] = if verb == "perplexity" { &text } else { &[] };
                    let command = [Path::new(verb), &bad].into_iter();
                    let more = z.iter().chain(more).map(Path::new);
                    let output = llama2(command.chain(more));
                    let said = text_of(&output);
                    assert_eq!(output.status.code(), Some(1), "{verb}: {said}");
                    assert_eq!(said.matches("not numbers").count(), 1, "{verb}: {said}");
                }
            }
        }
    }
    let v2 = folder.0.join("made.bin");
    let mut bytes = good;
    bytes[28..32].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&bad, bytes).unwrap();
    assert!(refusal(&quantize(&bad, &v2, &[]), 1).contains("token_embd.weight"));
    assert!(!v2.exists());
}

fn text_of(output: &std::process::Output) -> String {
    text(&output.stderr)
}

/// Parts whose names differ in case are one model, and a tokenizer beside a checkpoint is found in
/// any case.
#[cfg(target_os = "linux")]
#[test]
fn names_are_found_in_any_case() {
    let folder = Folder::new("case");
    let whole = folder.0.join("M.gguf");
    assert!(
        quantize(&models("stories330K.bin"), &whole, &["--type", "f16"])
            .status
            .success()
    );
    let told = story(&whole, &[]);
    let split = [
        Path::new("split"),
        &whole,
        Path::new("--size"),
        Path::new("200K"),
    ];
    assert!(llama2(split).status.success());
    let mut parts: Vec<PathBuf> = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| *path != whole)
        .collect();
    parts.sort();
    assert!(parts.len() >= 3, "{parts:?}");
    let count = parts.len();
    for (number, part) in (1..).zip(&parts) {
        let name = match number % 4 {
            0 => format!("m-{number:05}-of-{count:05}.GGUF"),
            1 => format!("M-{number:05}-OF-{count:05}.GGUF"),
            2 => format!("m-{number:05}-Of-{count:05}.gguf"),
            _ => format!("M-{number:05}-of-{count:05}.Gguf"),
        };
        std::fs::rename(part, folder.0.join(name)).unwrap();
    }
    let first = folder.0.join(format!("M-00001-OF-{count:05}.GGUF"));
    let second = folder.0.join(format!("m-00002-Of-{count:05}.gguf"));
    assert_eq!(story(&first, &[]), told);
    assert_eq!(story(&second, &[]), told);
    std::fs::remove_file(&second).unwrap();
    let said = refusal(&llama2([Path::new("info"), &first]), 1);
    assert!(
        said.contains("no such file") && said.contains("parts"),
        "{said}"
    );

    std::fs::copy(models("stories330K.bin"), folder.0.join("S.BIN")).unwrap();
    std::fs::copy(models("tokenizer.bin"), folder.0.join("TOKENIZER.BIN")).unwrap();
    assert_eq!(story(&folder.0.join("S.BIN"), &[]), told);
}

/// A model of characters, as made with llama2.c: it runs, also as a GGUF file, and characters it
/// lacks are reported.
#[test]
fn a_model_of_a_few_characters() {
    let folder = Folder::new("characters");
    let (model, tokenizer) = (folder.0.join("m.bin"), folder.0.join("tokenizer.bin"));
    let (dim, vocab, context) = (16i32, 9, 32);
    let header = [dim, 16, 1, 2, 2, vocab, context];
    let floats = vocab * dim + dim + 4 * dim * dim + dim + 3 * dim * 16 + dim + context * dim / 2;
    let mut seed = 1u32;
    let numbers = (0..floats).flat_map(|_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((seed >> 8) as f32 / 16_777_216.0 - 0.5).to_le_bytes()
    });
    let header = header.iter().flat_map(|number| number.to_le_bytes());
    std::fs::write(&model, header.chain(numbers).collect::<Vec<u8>>()).unwrap();
    // BOS and EOS may be letters: then they still begin and end, and are written.
    for (first, bos, eos) in [
        ("<unk>", "\n<s>\n", "\n</s>\n"),
        ("z", "\n<s>\n", "\n</s>\n"),
        ("z", "a", "b"),
    ] {
        let knows_all = first == "<unk>";
        let others = if bos == "a" { ["x", "y"] } else { ["a", "b"] };
        let pieces = [
            first, bos, eos, " ", others[0], others[1], "c", "\u{e9}", "\n",
        ];
        let pieces = pieces.iter().flat_map(|piece| {
            let head = [0f32.to_le_bytes(), (piece.len() as i32).to_le_bytes()].concat();
            [&head, piece.as_bytes()].concat()
        });
        let file: Vec<u8> = [3, 0, 0, 0].into_iter().chain(pieces).collect();
        std::fs::write(&tokenizer, file).unwrap();
        let run = |model: &Path, prompt: &str| {
            let tell = ["-t", "0", "-n", "20", "-i", prompt];
            llama2(
                [Path::new("run"), model]
                    .into_iter()
                    .chain(tell.iter().map(Path::new)),
            )
        };
        let told = run(&model, "ab c\u{e9}");
        assert!(told.status.success(), "{}", text(&told.stderr));
        assert!(text(&told.stdout).starts_with("ab c\u{e9}"));
        let made = folder.0.join("made.gguf");
        let made_by = quantize(&model, &made, &["--type", "f32", "--force"]);
        assert!(made_by.status.success(), "{}", text(&made_by.stderr));
        assert_eq!(run(&made, "ab c\u{e9}").stdout, told.stdout);
        for model in [&model, &made] {
            let odd = run(model, "ab\u{20ac}c");
            if knows_all {
                assert!(odd.status.success(), "{}", text(&odd.stderr));
            } else {
                let said = refusal(&odd, 1);
                assert!(
                    said.contains("\"\u{20ac}\"") && said.contains("no token"),
                    "{said}"
                );
            }
        }
    }
}

/// Waits for a file whose name contains `words`, and returns its path.
#[cfg(unix)]
fn appears(folder: &Path, words: &str) -> PathBuf {
    for _ in 0..30_000 {
        let entries = std::fs::read_dir(folder).unwrap().flatten();
        let mut paths = entries.map(|entry| entry.path());
        if let Some(path) = paths.find(|path| path.to_string_lossy().contains(words)) {
            return path;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    panic!("no {words} in {}", folder.display());
}

#[cfg(target_os = "linux")]
#[test]
fn signals_leave_nothing_behind_and_left_overs_are_in_nobodys_way() {
    use std::os::unix::process::ExitStatusExt;
    let folder = Folder::new("signals");
    let (zeros, out) = (folder.0.join("zeros.bin"), folder.0.join("out"));
    std::fs::create_dir_all(&out).unwrap();
    // A checkpoint of llama2.c with weights of zero: a sparse file.
    let shape: [u64; 7] = [1024, 2816, 16, 8, 8, 512, 256];
    let [dim, hidden, layers, heads, _, vocab, seq] = shape;
    let floats = vocab * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + dim;
    let floats = floats + seq * dim / heads;
    let header: Vec<u8> = shape
        .iter()
        .flat_map(|&n| (n as i32).to_le_bytes())
        .collect();
    std::fs::write(&zeros, header).unwrap();
    let sparse = std::fs::File::options().write(true).open(&zeros).unwrap();
    sparse.set_len(28 + 4 * floats).unwrap();
    let start = |args: &[&Path]| {
        // Tests in the background may be told to ignore signals, and a program keeps to that.
        std::process::Command::new("env")
            .args(["--default-signal", env!("CARGO_BIN_EXE_llama2")])
            .args(args)
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let wanted = out.join("q.gguf");
    let tokenizer = models("tokenizer.bin");
    let quantize = [
        Path::new("quantize"),
        &zeros,
        &wanted,
        Path::new("-z"),
        &tokenizer,
    ];
    let end = |args: &[&Path], words: &str, signal: i32| {
        let mut child = start(args);
        appears(&out, words);
        // Safety: a signal to a process that was started above and has not been waited for.
        unsafe { libc::kill(child.id() as libc::pid_t, signal) };
        assert_eq!(child.wait().unwrap().signal(), Some(signal));
        std::fs::read_dir(&out).unwrap().count()
    };
    for signal in [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGUSR1,
        libc::SIGALRM,
        libc::SIGIO,
        libc::SIGRTMIN() + 3,
    ] {
        assert_eq!(end(&quantize, ".part", signal), 0, "signal {signal}");
    }
    // Convert, and split when some parts are done.
    let o = Path::new("-o");
    let convert = [
        Path::new("convert"),
        &zeros,
        Path::new("-z"),
        &tokenizer,
        o,
        &wanted,
    ];
    assert_eq!(end(&convert, ".part", libc::SIGTERM), 0);
    assert!(start(&convert).wait().unwrap().success());
    let base = out.join("s");
    let size = [Path::new("--size"), Path::new("20M")];
    let split = [&[Path::new("split"), &wanted, o, &base][..], &size].concat();
    assert_eq!(end(&split, "s-00003-of", libc::SIGTERM), 1);
    // SIGKILL cannot be caught: the next run removes the leftovers.
    assert_eq!(end(&split, "s-00003-of", libc::SIGKILL), 4);
    assert!(start(&split).wait().unwrap().success());
    let left = std::fs::read_dir(&out).unwrap().flatten();
    assert!(
        left.into_iter()
            .all(|entry| !entry.file_name().to_string_lossy().contains(".part"))
    );
}

#[test]
fn what_cannot_be_written_is_said_at_once() {
    let folder = Folder::new("unwritable");
    let there = folder.0.join("folder.gguf");
    std::fs::create_dir_all(&there).unwrap();
    // Before the input is looked at.
    let input = folder.0.join("no such model.bin");
    for (output, words) in [
        (there, "is a folder"),
        (folder.0.join("none/x.gguf"), "there is no folder"),
        (input.join("x.gguf"), "there is no folder"),
    ] {
        let said = refusal(&quantize(&input, &output, &["--force"]), 1);
        assert!(said.contains(words) && !said.contains("os error"), "{said}");
    }
}
