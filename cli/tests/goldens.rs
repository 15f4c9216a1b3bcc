//! Output of llama2.c, which the command must reproduce byte for byte.

mod common;

use std::path::{Path, PathBuf};

use common::{KERNELS, int8, llama2, models, reference, text};

/// Options of `llama2 run` that must not change the output. None in an emulator, which would take
/// minutes over them: kernels have tests of their own.
fn ways() -> impl Iterator<Item = Vec<&'static str>> {
    if std::env::var_os("LLAMA2_COMMAND").is_some() {
        return Vec::new().into_iter();
    }
    let kernels = KERNELS.map(|name| vec!["--kernels", name, "--threads", "1"]);
    let threads = ["2", "3", "4", "7"].map(|count| vec!["--threads", count]);
    let all: Vec<_> = kernels.into_iter().chain(threads).collect();
    all.into_iter()
}

/// Runs the command with all of these options; each run must print `want`.
fn in_every_way(command: &[PathBuf], want: &str, golden: &str) {
    for way in ways() {
        let output = llama2(command.iter().cloned().chain(way.iter().map(PathBuf::from)));
        let said = text(&output.stderr);
        if said.contains("which this machine does not have") {
            eprintln!("SKIPPED: {said}");
            continue;
        }
        if said.contains("there are no kernels of that name") {
            continue;
        }
        assert_eq!(text(&output.stdout), want, "{golden}, {way:?}");
    }
}

#[test]
fn goldens_of_stories330k() {
    const INT8: &str = "golden.q80.bin";
    let long = "Lily had a cat. The cat was black. Tom had a dog. The dog was big. One day, the cat and the dog met at the park. They looked at each other and";
    for (golden, model, options) in [
        (
            "f32_greedy_empty",
            "stories330K.bin",
            &["-t", "0", "-n", "400", "-i", ""][..],
        ),
        (
            "f32_greedy_key",
            "stories330K.bin",
            &["-t", "0", "-n", "400", "-i", "Tim found a key"],
        ),
        (
            "f32_t1_p09_s42",
            "stories330K.bin",
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
            "stories330K.bin",
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
            "stories330K.bin",
            &["-t", "1.0", "-p", "1.0", "-s", "3", "-n", "400", "-i", ""],
        ),
        (
            "f32_greedy_long",
            "stories330K.bin",
            &["-t", "0", "-n", "512", "-i", long],
        ),
        (
            "q80_greedy_empty",
            INT8,
            &["-t", "0", "-n", "400", "-i", ""],
        ),
        (
            "q80_greedy_ball",
            INT8,
            &["-t", "0", "-n", "400", "-i", "Sara had a red ball"],
        ),
    ] {
        let want = std::fs::read_to_string(models("golden").join(format!("{golden}.txt"))).unwrap();
        let command = [
            "run".into(),
            match model {
                INT8 => int8(INT8),
                _ => models(model),
            },
            "-z".into(),
            models("tokenizer.bin"),
        ];
        let command: Vec<PathBuf> = command
            .into_iter()
            .chain(options.iter().map(PathBuf::from))
            .collect();
        in_every_way(&command, &want, golden);
        let output = llama2(command);
        assert_eq!(text(&output.stdout), want, "{golden}");
        assert!(
            text(&output.stderr).contains("achieved tok/s: "),
            "{golden}"
        );
        assert!(output.status.success());
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
        let command = command.into_iter().chain(options.iter().map(Path::new));
        let command: Vec<PathBuf> = command.map(Path::to_owned).collect();
        let output = llama2(&command);
        let mut found = output.stdout;
        let mut want = want;
        if golden == "greedy_unicode" {
            // run.c drops lone bytes above 0x7f.
            found.retain(u8::is_ascii);
            want.retain(u8::is_ascii);
        } else {
            in_every_way(&command, &text(&want), golden);
        }
        assert_eq!(text(&found), text(&want), "{golden}");
    }
}

/// The twenty stories of the model card, whole, by the bundled model: all of them end by
/// themselves.
#[test]
fn the_bundled_model_tells_the_card_s_stories() {
    let words = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with("**"));
        let words = lines.flat_map(|line| line.trim_start_matches("> ").split_whitespace());
        words
            .filter(|word| *word != ">")
            .collect::<Vec<_>>()
            .join(" ")
    };
    let read = |name: &str| std::fs::read_to_string(models(name)).unwrap();
    let card = read("README.md");
    let (_, stories) = card.split_once("## The twenty stories, whole\n").unwrap();
    let stories: Vec<&str> = stories.split("\n**").skip(1).collect();
    let openings = read("../training/openings.txt");
    let openings = openings.lines().filter(|line| !line.starts_with('#'));
    let openings: Vec<&str> = openings.filter(|line| !line.is_empty()).collect();
    assert_eq!((stories.len(), openings.len()), (20, 20));
    for (seed, (opening, story)) in (1..).zip(openings.into_iter().zip(stories)) {
        let seed = seed.to_string();
        let output = llama2(["run", "-t", "0.8", "-s", &seed, "-i", opening]);
        let (_, want) = story.split_once('\n').unwrap();
        assert_eq!(words(&text(&output.stdout)), words(want), "{seed}");
    }
}
