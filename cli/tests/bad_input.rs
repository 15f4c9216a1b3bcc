//! All kinds of bad files, prompts and streams: one sentence, the right status, nothing on standard
//! output.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};

use common::{file, llama2, models, refusal, text};

#[test]
fn bad_files_are_status_1_and_one_sentence() {
    let q80 = llama2_testing::bundled_int8();
    let f32 = std::fs::read(models("stories330K.bin")).unwrap();
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
        ("short.bin", f32[..100_000].to_vec(), "needs 1330460 bytes"),
        ("header.bin", f32[..20].to_vec(), "has 20 bytes"),
        ("long.bin", [&f32[..], &[0; 16]].concat(), "16 too many"),
        ("q80short.bin", q80[..q80.len() - 4].to_vec(), "cut short"),
        (
            "text.bin",
            vec![b'#'; 5000],
            "is a text file, neither a GGUF file nor",
        ),
        (
            "gguf.bin",
            [&b"GGUF"[..], &[0; 500]].concat(),
            "has GGUF version 0, but only 2 and 3 are known",
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
            "n_heads 7 does not divide dim 64",
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
            &models("stories330K.bin"),
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
            "token 0 says at byte 8 that it is 2147483647 bytes",
        ),
        ("tok_few.bin", good[..6000].to_vec(), "token"),
        (
            "tok_model.bin",
            std::fs::read(models("stories330K.bin")).unwrap(),
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
    for _ in 0..300 {
        at += 8 + i32::from_le_bytes(good[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    let said = refusal(&run(&file("tok_300.bin", &good[..at])), 1);
    assert!(
        said.contains("has 300 tokens, but the model has 512"),
        "{said}"
    );

    let nowhere = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .args([
            Path::new("run"),
            &file(
                "alone.bin",
                &std::fs::read(models("stories330K.bin")).unwrap(),
            ),
        ])
        .output()
        .unwrap();
    assert!(refusal(&nowhere, 1).contains("needs a tokenizer, but there is neither"));

    let long = "the cat and the dog ".repeat(300);
    let said = refusal(&llama2(["run", "-i", &long]), 1);
    assert!(
        said.contains("but the model's context has room for 512"),
        "{said}"
    );
    assert!(refusal(&llama2(["run", "-f", "nowhere.txt"]), 1).contains("nowhere.txt"));
    let folder = env!("CARGO_TARGET_TMPDIR");
    assert!(refusal(&llama2(["run", "-f", folder]), 1).contains("is a folder"));
    let said = refusal(&run(Path::new(folder)), 1);
    assert!(said.contains("is a folder"), "{said}");
}

#[cfg(unix)]
#[test]
fn what_is_no_ordinary_file_is_refused_at_once() {
    let said = refusal(&llama2(["run", "/dev/zero"]), 1);
    assert!(said.contains("/dev/zero: is a device or a pipe"), "{said}");
    let said = refusal(&llama2(["run", "-f", "/dev/zero"]), 1);
    assert!(said.contains("is longer than 16 MiB"), "{said}");
    // Opening this would wait for a writer.
    let pipe = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipe");
    let _ = std::fs::remove_file(&pipe);
    let made = Command::new("mkfifo").arg(&pipe).status();
    if made.is_ok_and(|made| made.success()) {
        let said = refusal(&llama2([Path::new("run"), &pipe]), 1);
        assert!(said.contains("is a device or a pipe"), "{said}");
    } else {
        eprintln!("SKIPPED: no mkfifo here");
    }
}

/// 280 GB of weights in a sparse file: rejected by the header and the size alone.
#[cfg(target_os = "linux")]
#[test]
fn too_large_for_this_machine() {
    let shape: [u64; 7] = [8192, 28_672, 80, 64, 8, 32_000, 4096];
    let [dim, hidden, layers, heads, kv_heads, vocab, seq] = shape;
    let kv = dim / heads * kv_heads;
    let floats = vocab * dim
        + layers * (2 * dim + 2 * dim * dim + 2 * dim * kv + 3 * dim * hidden)
        + dim
        + seq * dim / heads;
    let header: Vec<u8> = shape
        .iter()
        .flat_map(|&n| (n as i32).to_le_bytes())
        .collect();
    let path = file("70B.bin", &header);
    let sparse = std::fs::File::options().write(true).open(&path).unwrap();
    if sparse.set_len(28 + 4 * floats).is_err() {
        eprintln!("SKIPPED: this file system has no sparse files of this size");
        return;
    }
    let tokens: Vec<u8> = (0..32_000)
        .flat_map(|_| [0, 0, 0, 0, 1, 0, 0, 0, b'x'])
        .collect();
    let vocabulary = file("32000.bin", &[&[1, 0, 0, 0], &tokens[..]].concat());
    let run = llama2([Path::new("run"), &path, Path::new("-z"), &vocabulary]);
    let said = refusal(&run, 1);
    assert!(
        said.contains("70B.bin: needs 25") && said.contains(" GiB, "),
        "{said}"
    );
    let info = llama2([Path::new("info"), &path]);
    assert!(
        info.status.success() && text(&info.stdout).contains(", but "),
        "{info:?}"
    );
    std::fs::remove_file(path).unwrap();
}

/// A standard error that is closed or full does not change the text or the status.
#[cfg(target_os = "linux")]
#[test]
fn deaf_ears() {
    let want = llama2(["run", "-t0", "-n", "99999"]);
    assert!(!want.stderr.is_empty());
    let full = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .args(["run", "-t0", "-n", "99999"])
        .stderr(std::fs::File::create("/dev/full").unwrap())
        .output()
        .unwrap();
    assert_eq!((full.status.code(), full.stdout), (Some(0), want.stdout));
    let full = Command::new(env!("CARGO_BIN_EXE_llama2"))
        .arg("run")
        .stdout(std::fs::File::create("/dev/full").unwrap())
        .output()
        .unwrap();
    // The sentence comes last, after the messages about the run's parameters.
    let said = text(&full.stderr);
    assert_eq!(full.status.code(), Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("is the disk full?"), "{said}");
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
