//! `llama2 quantize` and `llama2 perplexity`, from one end to the other.

mod common;

use std::path::{Path, PathBuf};

use common::{llama2, models, refusal, text};

/// A folder of this test's own.
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

/// The story that a model tells, its likeliest.
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
fn the_bundled_int8_model_comes_out_of_its_float32_weights() {
    let folder = Folder::new("quantize-v2");
    let made = folder.0.join("made.bin");
    let output = quantize(&models("stories1M.bin"), &made, &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let same = std::fs::read(&made).unwrap() == std::fs::read(models("stories1M.q80.bin")).unwrap();
    assert!(same, "byte for byte");

    // A file that is there stays, unless it is said that it may go.
    let said = refusal(&quantize(&models("stories1M.q80.bin"), &made, &[]), 1);
    assert!(said.contains("--force"), "{said}");
    let forced = quantize(&models("stories1M.bin"), &made, &["--force"]);
    assert!(forced.status.success());
    // Nothing else is left behind.
    assert_eq!(std::fs::read_dir(&folder.0).unwrap().count(), 1);
}

#[test]
fn gguf_files_tell_the_checkpoint_s_stories() {
    let folder = Folder::new("quantize-gguf");
    let tokenizer = models("tokenizer.bin");
    let z = ["-z", tokenizer.to_str().unwrap()];
    let f32_story = story(&models("stories1M.bin"), &z);
    for (kind, same) in [
        ("f32", true),
        ("f16", true),
        ("q8_0", false),
        ("q4_0", false),
    ] {
        let made = folder.0.join(format!("{kind}.gguf"));
        let options = ["--type", kind];
        let output = quantize(&models("stories1M.bin"), &made, &options);
        assert!(output.status.success(), "{}", text(&output.stderr));
        // The tokenizer is inside.
        let told = story(&made, &[]);
        assert!(
            told.len() > 100 && (!same || told == f32_story),
            "{kind}: {told}"
        );
        for kernels in ["scalar", "sse2", "avx2", "avx512"] {
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
        // Once more from GGUF: the metadata are copied, and the same numbers come out.
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
    let said = refusal(&quantize(&models("stories1M.bin"), &nowhere, &[]), 1);
    assert!(said.contains("nowhere"), "{said}");
}

/// The perplexity that the command prints.
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
    // Stories by the model's own goldens: what it knows.
    let mut stories = String::new();
    for golden in ["f32_t1_p09_s42", "f32_t08_p09_s7", "f32_t1_p1_s3"] {
        let path = models("golden").join(format!("{golden}.txt"));
        stories += &std::fs::read_to_string(path).unwrap();
    }
    let file = folder.0.join("text.txt");
    std::fs::write(&file, &stories).unwrap();
    let exact = perplexity(&models("stories1M.bin"), &file, &z);
    assert!((1.5..8.0).contains(&exact), "{exact}");
    for (kind, bound) in [("f16", 0.001), ("q8_0", 0.01), ("q4_0", 0.5)] {
        let made = folder.0.join(format!("{kind}.gguf"));
        assert!(
            quantize(&models("stories1M.bin"), &made, &["--type", kind])
                .status
                .success()
        );
        let found = perplexity(&made, &file, &[]);
        assert!(
            (found / exact - 1.0).abs() < bound,
            "{kind}: {found}, not {exact}"
        );
    }
    let v2 = perplexity(&models("stories1M.q80.bin"), &file, &z);
    assert!((v2 / exact - 1.0).abs() < 0.01, "v2: {v2}, not {exact}");
    let halves = ["--kv", "f16"];
    let kv = perplexity(&folder.0.join("f16.gguf"), &file, &halves);
    assert!((kv / exact - 1.0).abs() < 0.001, "KV cache in f16: {kv}");
    // Shorter windows know less.
    let short = perplexity(&folder.0.join("f16.gguf"), &file, &["-c", "8"]);
    assert!(short > 1.5 * exact, "{short}");

    let empty = folder.0.join("empty.txt");
    std::fs::write(&empty, "").unwrap();
    let model = models("stories1M.q80.bin");
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
    assert!(refusal(&run(&file, "1"), 1).contains("less than 2 positions"));
}

#[test]
fn a_model_in_several_files_tells_the_same_story() {
    let folder = Folder::new("split");
    let whole = folder.0.join("whole.gguf");
    let made = quantize(&models("stories1M.bin"), &whole, &["--type", "q8_0"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let split = |options: &[&str]| {
        let command = [Path::new("split"), &whole];
        llama2(command.into_iter().chain(options.iter().map(Path::new)))
    };
    let output = split(&["--size", "500K"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let mut parts: Vec<PathBuf> = std::fs::read_dir(&folder.0)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| *path != whole)
        .collect();
    parts.sort();
    assert!(parts.len() >= 3, "{parts:?}");
    for part in &parts {
        assert!(std::fs::metadata(part).unwrap().len() <= 500 << 10);
    }
    assert!(parts[0].ends_with(format!("whole-00001-of-{:05}.gguf", parts.len())));
    assert_eq!(story(&parts[0], &[]), story(&whole, &[]));

    assert!(refusal(&split(&["--size", "500K"]), 1).contains("--force"));
    assert!(split(&["--size", "500K", "--force"]).status.success());
    assert!(refusal(&split(&[]), 1).contains("nothing to split"));
    let said = refusal(&split(&["--size", "60K"]), 1);
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

    let command = [Path::new("split"), &models("stories1M.bin")];
    assert!(refusal(&llama2(command), 1).contains("llama2 convert"));
}
