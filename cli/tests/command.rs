//! The command as users see it: flags, chat, status, info.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{file, int8, llama2, llama2_with_input, models, refusal, text};
use llama2_engine::layout::Encoding;
use llama2_testing::family;

#[test]
fn flags_mean_what_they_mean_to_run_c() {
    // Out of range: adjusted, and said.
    let adjusted = llama2(["run", "-t", "-1", "-p", "1.5", "-n", "5"]);
    let plain = llama2(["run", "-t", "0", "-p", "0.9", "-n", "5"]);
    assert!(plain.status.success() && !plain.stdout.is_empty());
    assert_eq!(adjusted.stdout, plain.stdout);
    let said = text(&adjusted.stderr);
    assert!(
        said.contains("temperature -1 is not 0 or more")
            && said.contains("top-p 1.5 is outside of 0 to 1"),
        "{said}"
    );
    // Steps: 0, negative and too many mean the whole context, and the latter two are reported.
    let whole = llama2(["run", "-t", "0", "-n", "0"]);
    for (steps, sentence) in [
        ("512", ""),
        ("-7", "-7 steps are below 0: taking as many as"),
        (
            "100000",
            "100000 steps are more than the model's context holds: taking 512",
        ),
    ] {
        let run = llama2(["run", "-t", "0", "-n", steps]);
        assert_eq!(run.stdout, whole.stdout, "-n {steps}");
        let said = text(&run.stderr);
        assert!(said.contains(sentence), "-n {steps}: {said}");
        assert_eq!(said.contains("taking"), !sentence.is_empty(), "{said}");
    }
    // The last of a flag counts.
    assert_eq!(
        llama2(["run", "-t", "1", "-n", "9", "-t", "0", "-n", "0"]).stdout,
        whole.stdout
    );
    // A prompt that looks like a flag, negative seeds, flags without a space.
    assert!(text(&llama2(["run", "-t", "0", "-n", "6", "-i", "-x"]).stdout).starts_with("-x"));
    let negative = llama2(["run", "-s", "-5", "-n", "40"]);
    assert!(negative.status.success());
    assert_eq!(
        negative.stdout,
        llama2(["run", "-s18446744073709551611", "-n40"]).stdout
    );
    // The same seed gives the same text; a random seed is shown, and gives the same text again.
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
    let named = llama2(["run", "-t0", "-n30", "-i", "Tim found a key"]);
    assert_eq!(from_file.stdout, named.stdout);
    let piped = llama2_with_input(["run", "-t0", "-n30", "-f", "-"], b"Tim found a key\r\n");
    assert_eq!(piped.stdout, named.stdout);
    // One newline only, and no other white space, is the editor's.
    let inner = llama2_with_input(["run", "-t0", "-n6", "-f", "-"], b"a\nb\r\n\n");
    assert!(text(&inner.stdout).starts_with("a\nb\r\n"), "{inner:?}");
}

/// The prompt may be any bytes; the output is UTF-8 all the same.
#[cfg(unix)]
#[test]
fn a_prompt_that_is_not_utf8() {
    use std::os::unix::ffi::OsStrExt;
    let prompt = std::ffi::OsStr::from_bytes(b"a\xff\xe6\x97b");
    let flags = ["run", "-t0", "-n5", "-i"].map(std::ffi::OsStr::new);
    let run = llama2(flags.into_iter().chain([prompt]));
    assert_eq!(text(&run.stdout), "a\u{fffd}\u{fffd}b\n");
}

#[test]
fn the_tokenizer_is_looked_for_here_then_beside_the_checkpoint() {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (here, beside) = (temporary.join("here"), temporary.join("beside"));
    std::fs::create_dir_all(&here).unwrap();
    std::fs::create_dir_all(&beside).unwrap();
    let model = beside.join("m.bin");
    std::fs::copy(models("stories330K.bin"), &model).unwrap();
    let _ = std::fs::remove_file(here.join("tokenizer.bin"));
    std::fs::copy(models("tokenizer.bin"), beside.join("tokenizer.bin")).unwrap();
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_llama2"))
            .current_dir(&here)
            .args([Path::new("run"), &model, Path::new("-t0"), Path::new("-n9")])
            .output()
            .unwrap()
    };
    let own = models("stories330K.bin");
    let want = llama2([Path::new("run"), &own, Path::new("-t0"), Path::new("-n9")]);
    assert_eq!(run().stdout, want.stdout, "beside the checkpoint");
    // The one in this folder goes first, as with run.c, and is the one that is complained about.
    std::fs::write(here.join("tokenizer.bin"), b"abc").unwrap();
    assert!(refusal(&run(), 1).starts_with("llama2: tokenizer.bin: ends inside of token 0"));
    std::fs::copy(models("tokenizer.bin"), here.join("tokenizer.bin")).unwrap();
    std::fs::remove_file(beside.join("tokenizer.bin")).unwrap();
    assert_eq!(run().stdout, want.stdout, "in this folder");
    std::fs::remove_file(here.join("tokenizer.bin")).unwrap();
    let said = refusal(&run(), 1);
    assert!(
        said.contains("neither a tokenizer.bin in this folder nor"),
        "{said}"
    );
    assert!(
        said.contains("m.bin: needs a tokenizer") && said.contains("with -z"),
        "{said}"
    );
}

#[test]
fn chat_speaks_as_run_c_s() {
    let model = models("stories330K.bin").display().to_string();
    let output = llama2_with_input(
        ["run", &model, "-m", "chat", "-t", "0", "-n", "60"],
        b"\nWho has a ball?\n",
    );
    assert!(output.status.success());
    assert!(text(&output.stdout).starts_with("Enter system prompt (optional): User: Assistant: "));
    let given = llama2([
        "run",
        &model,
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
    assert!(llama2(["run", &model, "-m", "chat"]).status.success());
    // A turn that does not fit is an error, before and while talking.
    let long = "the cat and the dog ".repeat(300);
    let said = refusal(&llama2(["run", &model, "-m", "chat", "-i", &long]), 1);
    assert!(said.contains("room for 512"), "{said}");
    let late = llama2_with_input(["run", &model, "-m", "chat", "-y", ""], long.as_bytes());
    assert_eq!(late.status.code(), Some(1));
    assert_eq!(text(&late.stdout), "User: ");
}

#[test]
fn mistakes_on_the_command_line_are_status_2() {
    for args in [
        &["run", "-k"][..],
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
fn info_shows_the_shape() {
    let info = text(&llama2(["info"]).stdout);
    for line in [
        "GGUF",
        "Q4_0",
        "3912224 bytes",
        "6754560",
        "8 of 32 elements",
        "tied",
        "KV cache",
    ] {
        assert!(info.contains(line), "{line} is not in\n{info}");
    }
    let beside = text(&llama2([Path::new("info"), &models("stories330K.bin")]).stdout);
    assert!(beside.contains("llama2.c v0 (legacy), float32"), "{beside}");
    for (info, name, end) in [
        (&info, "in the file", "4096 tokens, the longest of 14 bytes"),
        (
            &beside,
            "models/tokenizer.bin",
            "512 tokens, the longest of 8 bytes",
        ),
    ] {
        let line = info
            .lines()
            .find(|line| line.starts_with("tokenizer"))
            .unwrap();
        assert!(line.contains(name) && line.ends_with(end), "{line}");
    }
    // A model without its tokenizer can be shown; a tokenizer that was named has to be good.
    let alone = int8("info_alone.bin");
    let info = llama2([Path::new("info"), &alone]);
    assert!(
        info.status.success() && text(&info.stdout).contains("none that fits: "),
        "{info:?}"
    );
    let model = models("stories330K.bin");
    refusal(&llama2([Path::new("info"), Path::new("-z"), &model]), 1);
}

#[test]
fn a_model_of_another_family_speaks_with_its_own_tokenizer() {
    let folder = std::env::temp_dir().join(format!("llama2-family-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let family = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut file = family.unwrap().make(7, &|_| Encoding::Q8_0);
    file.speak();
    file.text("general.name", "A \u{1b}[2Jname");
    file.text("tokenizer.chat_template", family::CHATML);
    for (number, part) in (1..).zip(file.split(2)) {
        std::fs::write(folder.join(format!("m-{number:05}-of-00002.gguf")), part).unwrap();
    }
    let first = folder.join("m-00001-of-00002.gguf").display().to_string();
    let second = folder.join("m-00002-of-00002.gguf").display().to_string();
    let run = |more: &[&str]| llama2([&["run", "-s", "3", "-n", "24"][..], more].concat());
    let told = run(&[&first, "-i", "Three tins"]);
    assert!(told.status.success());
    assert!(told.stdout.starts_with(b"Three tins") && told.stdout.len() > 20);
    // Whichever part is named, and with half the context.
    assert_eq!(run(&[&second, "-i", "Three tins"]).stdout, told.stdout);
    let short = run(&[&first, "-i", "Three tins", "--context", "256"]);
    assert_eq!(short.stdout, told.stdout);
    assert!(run(&[&first, "-i", ""]).status.success());

    let refused = |more: &[&str]| {
        let output = run(more);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&[&first, "--context", "513"]).contains("the model has 1 to 512"));
    // The format comes first; a name in the file cannot move the cursor.
    let info = text(&llama2(["info", &first]).stdout);
    let begins = format!(
        "file          {first}\nname          A \\u{{1b}}[2Jname\narchitecture  qwen2\nlicence       not stated\ntemplate      its own, 198 bytes\ncontext       512 positions\n"
    );
    assert!(info.starts_with(&begins), "{info}");
    assert!(
        info.contains("\ntokenizer     in the file, 320 tokens"),
        "{info}"
    );
    let listed = llama2(["info", "--all", &first]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    for line in [
        "qwen2.rope.scaling.type = \"yarn\"",
        "blk.1.attn_q.bias",
        "320 tokens",
    ] {
        assert!(listed.contains(line), "{listed}");
    }
    std::fs::remove_file(&second).unwrap();
    assert!(refused(&[&first]).contains("one of 2 parts"));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_prompt_file_of_windows_is_the_text_that_it_shows() {
    let want = llama2(["run", "-t0", "-n30", "-i", "Tim found\na kéy"]).stdout;
    let utf16 = |text: &str, unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    };
    for bytes in [
        "\u{feff}Tim found\r\na kéy\r\n".into(),
        "Tim found\na kéy\n\x1a".into(),
        utf16("\u{feff}Tim found\r\na kéy", u16::to_le_bytes),
        utf16("\u{feff}Tim found\r\na kéy\r\n\u{1a}", u16::to_be_bytes),
    ] {
        let path = file("windows.txt", &bytes);
        let named = llama2([
            Path::new("run"),
            Path::new("-t0"),
            Path::new("-n30"),
            Path::new("-f"),
            &path,
        ]);
        assert_eq!(text(&named.stdout), text(&want));
        assert_eq!(
            text(&llama2_with_input(["run", "-t0", "-n30"], &bytes).stdout),
            text(&want)
        );
    }
    let broken = file("broken.txt", b"\xff\xfe\x00\xd8");
    let said = refusal(&llama2([Path::new("run"), Path::new("-f"), &broken]), 1);
    assert!(said.contains("broken.txt: is not valid UTF-16"), "{said}");
}

#[test]
fn flags_have_the_names_that_other_programs_gave_them() {
    let model = models("stories330K.bin").display().to_string();
    let want = llama2([
        "run", &model, "-t", "0.7", "-s", "3", "-n", "20", "-i", "Tim",
    ])
    .stdout;
    assert!(!want.is_empty());
    for args in [
        "--temp 0.7 --seed 3 --tokens 20 --prompt Tim",
        "--temperature 0.7 --seed 3 --n-predict 20 --prompt Tim --ctx-size 512",
        "--temp 0.7 --seed 3 --tokens 20 --prompt Tim -c 512 --kv F32 --mode Generate",
    ] {
        let args = [
            &["run", "--model", &model],
            &args.split(' ').collect::<Vec<_>>()[..],
        ]
        .concat();
        assert_eq!(llama2(&args).stdout, want, "{args:?}");
    }
    let system = [
        "chat", "-m", &model, "--system", "x", "-t0", "-n9", "-i", "Hi",
    ];
    assert!(llama2(system).status.success());
    let made = std::env::temp_dir().join(format!("llama2-case-{}.gguf", std::process::id()));
    let made = made.display().to_string();
    let quantize = ["quantize", &model, &made, "--force", "--type"];
    assert!(
        llama2([&quantize[..], &["Q4_K_M"]].concat())
            .status
            .success()
    );
    std::fs::remove_file(made).unwrap();
    // Advice only if it helps.
    for (typed, meant) in [("rnu", "run"), ("cht", "chat"), ("quantise", "quantize")] {
        let said = refusal(&llama2([typed]), 2);
        assert!(said.contains(&format!("'{meant}'")), "{said}");
    }
    let said = refusal(&llama2(["chat", "--sistem", "x"]), 2);
    assert!(
        said.contains("'--system'") && !said.contains("as a value"),
        "{said}"
    );
    assert!(!refusal(&llama2(["run", "--gpu-layers", "9"]), 2).contains("as a value"));
}

#[test]
fn what_is_wrong_on_the_command_line_is_status_2_and_said_in_short() {
    let long = "x\x1b".repeat(3000);
    for args in [
        ["run", "--kernels", "foo"],
        ["run", "--context", "0"],
        ["chat", "--context", "0"],
        ["run", "--kernels", &long],
        ["run", "--kv", &long],
        ["run", "--logit-bias", &long],
        ["bench", "-o", &long],
        ["run", "--think", &long],
        ["quantize", "--type", &long],
        ["perplexity", "-c", &long],
        ["man", &long, "-h"],
        [&long, "a", "b"],
    ] {
        let args = if args[0] == "man" {
            &args[..2]
        } else {
            &args[..]
        };
        let said = refusal(&llama2(args), 2);
        assert!(
            said.chars().count() < 800 && !said.contains('\x1b'),
            "{said}"
        );
        let longest = said.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(300), "{said}");
    }
    // Files: the last component of the path stays whole.
    let path = format!("{}/model with a name.gguf", "folder/".repeat(500));
    for args in [
        &["run", &path][..],
        &["info", &path],
        &["run", "-f", &path],
        &["run", "-z", &path],
    ] {
        let said = refusal(&llama2(args), 1);
        assert!(said.chars().count() <= 301, "{said}");
        assert!(
            said.contains("…") && said.contains("/model with a name.gguf: "),
            "{said}"
        );
    }
}

#[test]
fn completions_and_manual_pages() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let written = text(&llama2(["completions", shell]).stdout);
        assert!(
            written.contains("perplexity") && written.contains("temperature"),
            "{shell}"
        );
    }
    refusal(&llama2(["completions", "tcsh"]), 2);
    let page = text(&llama2(["man"]).stdout);
    assert!(
        page.contains(".TH llama2 1") && page.contains("perplexity"),
        "{page}"
    );
    let page = text(&llama2(["man", "run"]).stdout);
    assert!(
        page.contains(".TH llama2-run 1") && page.contains("temperature"),
        "{page}"
    );
    assert!(refusal(&llama2(["man", "sing"]), 2).contains("no such subcommand"));
}

#[test]
fn models_are_fetched_by_name() {
    let list = text(&llama2(["fetch", "--list"]).stdout);
    assert!(
        list.contains("\nsmollm2-135m ") && list.contains("\nqwen3-8b "),
        "{list}"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("models");
    // Of an earlier run.
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let fetch = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_llama2"))
            .args(args)
            .env("LLAMA2_MODELS", &folder)
            // Nobody listens there.
            .env("HF_ENDPOINT", "http://127.0.0.1:1")
            .env("NO_PROXY", "*")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap()
    };
    for (args, says) in [
        (
            &["fetch", "stories9M"][..],
            "stories9M: no model of this name; --list shows",
        ),
        (
            &["fetch", "hf:a/b"],
            "hf:a/b: a file on the hub is hf:OWNER/REPOSITORY/FILE",
        ),
        (
            &["fetch", "qwen3-0.6b"],
            "does not answer: is there a network?",
        ),
        (
            &["chat", "--get=stories260K"],
            "does not answer: is there a network?",
        ),
    ] {
        let said = refusal(&fetch(args), 1);
        assert!(said.contains(says), "{args:?}: {said}");
    }
    for args in [&["fetch"][..], &["chat", "--get", "m.gguf"]] {
        assert_eq!(fetch(args).status.code(), Some(2), "{args:?}");
    }
    // What is there is taken, without a network. Its digest is the known one.
    let Some(model) = common::reference("stories260K.bin") else {
        return;
    };
    std::fs::copy(&model, folder.join("stories260K.bin")).unwrap();
    let tokenizer = model.with_file_name("tok512.bin");
    std::fs::copy(tokenizer, folder.join("tok512.bin")).unwrap();
    let told = fetch(&[
        "chat",
        "--get=stories260K",
        "-q",
        "-t",
        "0",
        "-n",
        "20",
        "-i",
        "Once",
    ]);
    assert!(text(&told.stdout).starts_with("Once"), "{told:?}");
}
