//! Conversations on the command line: templates, samplers, reasoning, piped input, and Ctrl-C.

mod common;

use std::path::PathBuf;

use common::{file, llama2, llama2_with_input, models, refusal, text};
use llama2_engine::layout::Encoding;
use llama2_testing::family;

/// Tokens of `<think>` and `</think>` in the model below.
const THINK: usize = family::VOCABULARY - 4;

/// Random model with reasoning and this template.
fn speaker(name: &str, template: Option<&str>) -> String {
    let family = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut made = family.unwrap().make(7, &|_| Encoding::Q8_0);
    made.speak_with(&["<think>", "</think>"]);
    if let Some(template) = template {
        made.text("tokenizer.chat_template", template);
    }
    file(name, &made.bytes()).display().to_string()
}

/// Runs `llama2 chat` with this on standard input; returns its output and its messages.
fn chat<const N: usize>(args: [&str; N], input: &str) -> (String, String) {
    let talk = llama2_with_input(args, input.as_bytes());
    let said = text(&talk.stderr);
    assert!(talk.status.success(), "{said}");
    (text(&talk.stdout), said)
}

#[test]
fn each_line_of_standard_input_is_a_turn_and_answers_alone_are_written() {
    let model = speaker("lines.gguf", Some(family::CHATML));
    let ask = ["chat", &model, "-t", "0", "-n", "12"];
    let (two, said) = chat(ask, "Who are you?\nWhy?\n");
    assert!(
        !two.contains("User: ") && !two.contains("Assistant: "),
        "{two}"
    );
    assert!(
        said.contains("context: 512 positions, the model's own"),
        "{said}"
    );
    assert!(said.contains("achieved tok/s"), "{said}");
    // The last newline may be missing; empty lines do not count anywhere.
    assert_eq!(chat(ask, "Who are you?\nWhy?").0, two);
    assert_eq!(chat(ask, "\nWho are you?\r\n\n\nWhy?\n\n").0, two);
    let (one, _) = chat(ask, "Who are you?");
    assert!(
        two.starts_with(&one) && two.len() > one.len() + 5,
        "{two:?}"
    );
    // The first question from the command line.
    let ask = ["chat", &model, "-t", "0", "-n", "12", "-i", "Who are you?"];
    assert_eq!(chat(ask, "Why?\n").0, two);
    assert_eq!(text(&llama2(ask).stdout), one);
    // The same by `run`, with llama.cpp's defaults, too.
    let run = ["run", &model, "-m", "chat", "-s", "5", "-n", "12"];
    let same = ["chat", &model, "-s", "5", "-n", "12"];
    assert_eq!(chat(run, "Who?").0, chat(same, "Who?").0);
    // Nothing to say.
    assert_eq!(chat(["chat", &model], "").0, "");
    assert!(llama2(["chat", &model]).status.success());
    // A turn that does not fit ends it.
    let long = "zx".repeat(600);
    let late = llama2_with_input(
        ["chat", &model, "-n", "3"],
        format!("Hi\n{long}\n").as_bytes(),
    );
    assert_eq!(late.status.code(), Some(1));
    assert!(text(&late.stderr).contains("shorten it"), "{late:?}");
}

#[test]
fn questions_of_windows_and_of_several_lines() {
    let model = speaker("windows.gguf", Some(family::CHATML));
    let ask = ["chat", &model, "-t", "0", "-n", "12"];
    let two = chat(ask, "Who are yöu?\nWhy?\n").0;
    let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
        let text = "\u{feff}Who are yöu?\r\nWhy?\r\n";
        text.encode_utf16().flat_map(unit).collect()
    };
    for input in [
        "\u{feff}Who are yöu?\r\nWhy?\r\n\x1a".into(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
    ] {
        assert_eq!(text(&llama2_with_input(ask, &input).stdout), two);
    }
    // A file, or all of standard input, is one question.
    let one = text(&llama2([&ask[..], &["-i", "Who are yöu?\n\nWhy?"]].concat()).stdout);
    assert_ne!(one, two);
    let question = file("question.txt", "Who are yöu?\n\nWhy?\n".as_bytes());
    let named = question.display().to_string();
    assert_eq!(
        text(&llama2([&ask[..], &["-f", &named]].concat()).stdout),
        one
    );
    let ask = ["chat", &model, "-t", "0", "-n", "12", "-f", "-"];
    assert_eq!(chat(ask, "Who are yöu?\n\nWhy?\n").0, one);
    let ask = [
        "chat",
        &model,
        "-t0",
        "-n12",
        "-i",
        "Who are yöu?",
        "-f",
        "-",
    ];
    assert_eq!(chat(ask, "Why?").0, one);
}

#[test]
fn a_model_of_stories_tells_one_for_each_line() {
    let ask = ["chat", "-t", "0", "-n", "20"];
    let story = |begin: &str| text(&llama2(["run", "-t", "0", "-n", "20", "-i", begin]).stdout);
    let both = [story("The cat"), story("Tim found a key")].concat();
    assert_eq!(chat(ask, "The cat\n\nTim found a key\n").0, both);
    let ask = ["chat", "-t", "0", "-n", "20", "-i", "The cat"];
    assert_eq!(chat(ask, "Tim found a key").0, both);
    assert_eq!(chat(ask, "").0, story("The cat"));
    // run.c's dialogue has to be requested.
    let model = models("stories330K.bin").display().to_string();
    let asked = chat(
        ["run", &model, "-m", "chat", "-t", "0", "-n", "20"],
        "Be brief.\nHi\n",
    )
    .0;
    assert!(
        asked.starts_with("Enter system prompt (optional): User: "),
        "{asked}"
    );
    let system = ["chat", &model, "-t", "0", "-n", "20", "-y", "Be brief."];
    let system = chat(system, "Hi\n").0;
    assert!(system.starts_with("User: Assistant: "), "{system}");
}

#[test]
fn who_runs_a_chat_model_is_told_of_chat_and_quiet_is_quiet() {
    let model = speaker("hint.gguf", Some(family::CHATML));
    let run = ["run", &model, "-n", "12", "-i", "Who?"];
    let said = text(&llama2(run).stderr);
    assert_eq!(said.matches("llama2 chat ").count(), 1, "{said}");
    assert!(
        said.contains(" tok/s: ") && said.contains("seed: "),
        "{said}"
    );
    let plain = speaker("nohint.gguf", None);
    for args in [
        &["run", &plain, "-n", "12", "-i", "Who?"][..],
        &["run", "-n", "12"],
    ] {
        let said = text(&llama2(args).stderr);
        assert!(!said.contains("llama2 chat"), "{said}");
    }
    for args in [
        &run[..],
        &["chat", &model, "-n", "5", "-i", "Hi"],
        &["run", "-n", "5"],
    ] {
        let quiet = llama2([args, &["-q"]].concat());
        assert!(quiet.status.success() && !quiet.stdout.is_empty());
        assert_eq!(text(&quiet.stderr), "", "{args:?}");
    }
    // Only the messages beside the text are missing.
    let seeded = [&run[..], &["-s", "3"]].concat();
    let quiet = llama2([&seeded[..], &["-q"]].concat());
    assert_eq!(quiet.stdout, llama2(seeded).stdout);
}

#[test]
fn the_first_turn_has_the_system_prompt() {
    let model = speaker("system.gguf", Some(family::CHATML));
    let answer = |system: &[&str]| {
        let ask = ["chat", &model, "-t", "0", "-n", "20", "-i", "Who?"];
        text(&llama2([&ask[..], system].concat()).stdout)
    };
    assert_ne!(answer(&[]), answer(&["-y", "Be brief."]));
    // A typed question gives the same as one in a flag: the first one was once formatted as a later
    // one.
    let typed = ["chat", &model, "-t", "0", "-n", "20", "-y", "Be brief."];
    assert_eq!(answer(&["-y", "Be brief."]), chat(typed, "Who?\n").0);
}

#[test]
fn templates_that_cannot_be_used_and_none_at_all() {
    let known = speaker("known.gguf", Some(family::CHATML));
    let strange = speaker("strange.gguf", Some("Q: {{ question"));
    let none = speaker("none.gguf", None);
    let ask = |model: &str| llama2(["chat", model, "-t", "0", "-n", "20", "-i", "Three tins"]);
    let said = text(&ask(&strange).stderr);
    assert!(
        said.contains("chat template cannot be used: ") && said.contains("using chatml's"),
        "{said}"
    );
    assert_eq!(ask(&strange).stdout, ask(&known).stdout);

    // Without a template the model continues what is typed, as `run` does.
    let told = ask(&none);
    let (heard, said) = (text(&told.stdout), text(&told.stderr));
    assert!(
        said.contains("no chat template: it continues what you type"),
        "{said}"
    );
    let run = |begin| text(&llama2(["run", &none, "-t", "0", "-n", "20", "-i", begin]).stdout);
    assert_eq!(heard, run("Three tins"));
    // Each line begins a text of its own; empty ones are passed over.
    let args = ["chat", &none, "-t", "0", "-n", "20"];
    let (heard, _) = chat(args, "Three tins\n\nBut\n");
    assert_eq!(heard, run("Three tins") + &run("But"));
    let said = text(&llama2(["chat", &none, "-i", "Hi", "-n", "2", "-y", "Be brief."]).stderr);
    assert!(said.contains("no place for a system prompt"), "{said}");
    let off = text(&llama2(["chat", &known, "-i", "Hi", "-n", "2", "--think", "off"]).stderr);
    assert!(off.contains("has no way to switch thinking off"), "{off}");
}

#[test]
fn thoughts_go_to_standard_error_or_nowhere() {
    // It begins to think, and draws the mark of the thought's end sooner or later.
    let template = format!("{}<think>", family::THINKER);
    let model = speaker("thinks.gguf", Some(&template));
    let biases = [format!("{THINK}=-inf"), format!("{}=3", THINK + 1)];
    let tell = |think: &str| {
        let mut args = vec!["chat", &model, "-n", "60", "-s", "4", "-i", "Why?"];
        args.extend(["-t", "1", "--think", think]);
        args.extend(biases.iter().flat_map(|bias| ["--logit-bias", bias]));
        let told = llama2(&args);
        (text(&told.stdout), text(&told.stderr))
    };
    let ((shown, thought), (hidden, silent)) = (tell("show"), tell("hide"));
    assert!(
        thought.contains("Thinking: ") && thought.len() > silent.len() + 10,
        "{thought}"
    );
    assert!(!silent.contains("Thinking: "), "{silent}");
    assert!(!shown.contains("<think>") && !hidden.contains("<think>"));
    // The answer is the same, except for its line ends.
    let words = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(words(&shown), words(&hidden));
    assert!(words(&shown).len() > 5, "{shown}");
}

#[test]
fn each_sampler_s_flag_does_something_and_has_its_range() {
    let model = speaker("samplers.gguf", Some(family::CHATML));
    let answer = |more: &[&str]| {
        let ask = ["chat", &model, "-s", "5", "-n", "40", "-i", "Who are you?"];
        let told = llama2([&ask[..], more].concat());
        assert!(told.status.success(), "{more:?}: {}", text(&told.stderr));
        text(&told.stdout)
    };
    let plain = answer(&[]);
    assert_eq!(
        plain,
        answer(&[
            "-t", "0.8", "-p", "0.95", "--top-k", "40", "--min-p", "0.05"
        ]),
        "llama.cpp's defaults"
    );
    for more in [
        &["--top-k", "1"][..],
        &["--min-p", "0.9"],
        &["--typical", "0.1"],
        &["--repeat-penalty", "5"],
        &["--frequency-penalty", "5"],
        &["--presence-penalty", "5"],
        &["--logit-bias", "65=50"],
        &["-t", "5"],
        &["-p", "0.1"],
    ] {
        assert_ne!(answer(more), plain, "{more:?}");
    }
    // One token back is another past than 64.
    let penalty = ["--presence-penalty", "5"];
    let short = answer(&[&penalty[..], &["--repeat-last-n", "1"]].concat());
    assert_ne!(short, answer(&penalty));
    assert_eq!(
        answer(&["--top-k", "1"]),
        answer(&["-t", "0"]),
        "the likeliest"
    );
    for (option, value, words) in [
        ("--min-p", "2", "must be a number from 0 to 1"),
        ("--typical", "-1", "must be a number from 0 to 1"),
        ("--repeat-penalty", "0", "must be a number of more than 0"),
        (
            "--frequency-penalty",
            "1e9",
            "must be a number from -100 to 100",
        ),
        (
            "--repeat-last-n",
            "100000",
            "must be a whole number from 0 to 65536",
        ),
        ("--top-k", "1.5", "must be a whole number from 0"),
    ] {
        let value = format!("{option}={value}");
        let said = refusal(&llama2(["chat", &model, &value]), 2);
        assert!(said.contains(words), "{said}");
    }
    // Which tokens there are, the file says.
    let said = refusal(&llama2(["chat", &model, "--logit-bias", "999=1"]), 1);
    assert!(said.contains("tokens 0 to 319"), "{said}");
    refusal(&llama2(["chat", &model, "--logit-bias", "x"]), 2);
    refusal(&llama2(["chat", &model, "--think", "loud"]), 2);
    refusal(&llama2(["chat", &model, "--top-k=-1"]), 2);
    // In `run` they are off until one is asked for; run.c's sampler does without them.
    let story = |more: &[&str]| {
        let run = ["run", "-s", "7", "-n", "60"];
        text(&llama2([&run[..], more].concat()).stdout)
    };
    assert_eq!(
        story(&[]),
        story(&["--top-k", "0", "--min-p", "0", "-t", "1", "-p", "0.9"])
    );
    assert_ne!(story(&[]), story(&["--presence-penalty", "3"]));
}

#[test]
fn words_stop_a_text_in_every_mode() {
    let model = speaker("stops.gguf", Some(family::CHATML));
    let ask = ["chat", &model, "-t", "0", "-n", "40", "-i", "Who are you?"];
    let whole = text(&llama2(ask).stdout);
    let words: Vec<char> = whole.trim().chars().collect();
    assert!(words.len() > 12, "{whole}");
    let stop: String = words[6..9].iter().collect();
    let cut = text(&llama2([&ask[..], &["--stop", &stop]].concat()).stdout);
    let at = whole.find(&stop).unwrap();
    assert_eq!(cut.trim_end(), whole[..at].trim_end(), "{stop:?}");

    let story = models("stories330K.bin").display().to_string();
    let alone = llama2(["run", &story, "-t", "0", "-n", "50", "--stop", "upon"]);
    assert_eq!(text(&alone.stdout), "Once \n");
    // run.c's chat has none by default.
    let ask = [
        "chat",
        &story,
        "-t",
        "0",
        "-n",
        "100",
        "-y",
        "",
        "-i",
        "Who has a ball?",
    ];
    let whole = text(&llama2(ask).stdout);
    let answer = whole.strip_prefix("Assistant: ").unwrap();
    let stop: String = answer.chars().skip(10).take(5).collect();
    let cut = text(&llama2([&ask[..], &["--stop", &stop]].concat()).stdout);
    let at = answer.find(&stop).unwrap();
    assert_eq!(cut, format!("Assistant: {}\nUser: \n", &answer[..at]));
}

#[test]
fn what_is_piped_into_run_is_its_prompt() {
    let model = speaker("piped.gguf", None);
    let run = ["run", &model, "-t", "0", "-n", "30"];
    let named = text(&llama2([&run[..], &["-i", "Three tins"]].concat()).stdout);
    assert_eq!(chat(run, "Three tins\n").0, named);
    assert_eq!(chat(run, "Three tins").0, named);
    // Nothing, as from /dev/null, is no prompt.
    assert_eq!(chat(run, "").0, text(&llama2(run).stdout));
    // A file is as good as a pipe; -i goes before both, and then nothing is read.
    let prompt = file("piped.txt", b"Three tins\n");
    let from_file = |more: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_llama2"))
            .args([&run[..], more].concat())
            .stdin(std::fs::File::open(&prompt).unwrap())
            .output();
        text(&output.unwrap().stdout)
    };
    assert_eq!(from_file(&[]), named);
    assert!(from_file(&["-i", "One"]).starts_with("One"));
    // The bundled model, too.
    let story = ["run", "-t", "0", "-n", "30"];
    let named = text(&llama2([&story[..], &["-i", "Tim found a key"]].concat()).stdout);
    assert_eq!(chat(story, "Tim found a key\n").0, named);
}

/// With standard input closed.
#[cfg(unix)]
#[test]
fn nothing_hangs_without_standard_input() {
    let model = speaker("closed.gguf", Some(family::CHATML));
    for command in ["run -n 5", "chat"] {
        let line = format!(
            "exec {} {command} {model} <&-",
            env!("CARGO_BIN_EXE_llama2")
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .output();
        assert!(output.unwrap().status.success(), "{command}");
    }
}

#[test]
fn the_context_is_said_and_why_it_is_no_longer() {
    let model = speaker("context.gguf", Some(family::CHATML));
    let said = |more: &[&str]| {
        let run = ["run", &model, "-n", "3"];
        text(&llama2([&run[..], more].concat()).stderr)
    };
    let line = |said: String| {
        let line = said.lines().find_map(|line| line.strip_prefix("context: "));
        line.unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let whole = line(said(&[]));
    assert!(
        whole.starts_with("512 positions, the model's own (keys and values in f32: "),
        "{whole}"
    );
    let half = line(said(&["--kv", "f16"]));
    assert!(
        half.contains("keys and values in f16: ") && half != whole,
        "{half}"
    );
    let short = line(said(&["--context", "100"]));
    assert!(
        short.starts_with("100 positions of the model's 512, as asked for"),
        "{short}"
    );
    let _: PathBuf = model.into();
}

/// On a terminal, Ctrl-C stops an answer, and ends the chat at the question. `llama2 chat` has its
/// own session there: see `terminal.rs`.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_stops_the_answer_and_another_one_the_chat() {
    let model = models("stories330K.bin").display().to_string();
    let run = ["run", &model, "-m", "chat", "-t", "0", "-n", "0", "-y", ""];
    // Slow: it is to be stopped.
    let slow = [
        "-i",
        "Who has a ball?",
        "--threads",
        "1",
        "--kernels",
        "scalar",
    ];
    let args = [&run[..], &slow].concat();
    let folder = models("");
    let mut terminal = common::Terminal::start(&args, &folder);
    terminal.wait("One day");
    terminal.write("\x03");
    terminal.wait("stopped; Ctrl-C again ends the chat\r\nUser: ");
    terminal.write("\x03");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(130));
}
