//! Command lines of the UEFI Shell, and values that override others.

use llama2_settings::{
    Choice, Exit, Overrides, Param, ParamValue, TABLE,
    flags::{CommandLine, exit, help, parse},
};

fn run(words: &[&str]) -> Overrides {
    match parse(words) {
        Ok(CommandLine::Run(options)) => *options,
        other => panic!("{words:?}: {other:?}"),
    }
}

#[test]
fn flags() {
    let all = [
        "m.bin", "-z", "t.bin", "-t", "0.5", "-p", "1", "-s", "7", "-n", "10", "-i", "a b", "-m",
        "chat", "-y", "s", "--exit", "return",
    ];
    let text = |text: &str| ParamValue::Text(text.into());
    let number = ParamValue::Number;
    let asked = |values: &[(Param, ParamValue)]| {
        let mut asked = Overrides::default();
        for (param, value) in values {
            asked.set(*param, value.clone());
        }
        asked
    };
    let want = [
        (Param::Model, text("m.bin")),
        (Param::Tokenizer, text("t.bin")),
        (Param::Temperature, number(0.5)),
        (Param::TopP, number(1.0)),
        (Param::Seed, ParamValue::Whole(7)),
        (Param::Steps, ParamValue::Whole(10)),
        (Param::Prompt, text("a b")),
        (Param::Mode, ParamValue::Word("chat")),
        (Param::System, text("s")),
        (Param::Exit, ParamValue::Word("return")),
    ];
    assert_eq!(run(&all), asked(&want));
    assert_eq!(run(&[]), Overrides::default());
    assert_eq!(run(&["-i", "-x"]).text(Param::Prompt), Some("-x"));
    let want = [
        (Param::Temperature, number(-1.0)),
        (Param::Seed, ParamValue::Whole(-5)),
        (Param::Steps, ParamValue::Whole(0)),
    ];
    assert_eq!(run(&["-t-1", "-s", "-5", "-n0"]), asked(&want));
    let want = [
        (Param::Exit, ParamValue::Word("shutdown")),
        (Param::Keyboard, ParamValue::Word("fr")),
        (Param::Display, ParamValue::Word("text")),
        (Param::Log, ParamValue::Truth(true)),
    ];
    let words = [
        "--exit=shutdown",
        "--log",
        "--keyboard",
        "FR",
        "--display=text",
    ];
    assert_eq!(run(&words), asked(&want));
    let want = [
        (Param::Threads, ParamValue::Whole(2)),
        (Param::Context, ParamValue::Whole(64)),
        (Param::Kernels, ParamValue::Word("avx2")),
        (Param::Kv, ParamValue::Word("f16")),
        (Param::Bench, ParamValue::Truth(true)),
    ];
    let words = [
        "--threads",
        "2",
        "--context=64",
        "--kernels=avx2",
        "--kv",
        "f16",
        "--bench",
    ];
    assert_eq!(run(&words), asked(&want));
    let chat = [
        "--top-k",
        "20",
        "--min-p=0.1",
        "--typical",
        "0.9",
        "--repeat-penalty",
        "1.1",
        "--repeat-last-n",
        "32",
        "--frequency-penalty=-1",
        "--presence-penalty",
        "-0.5",
        "--logit-bias",
        "7=-1.5",
        "--logit-bias",
        "8=2",
        "--stop",
        "a b",
        "--stop=c",
        "--think",
        "off",
    ];
    let want = [
        (Param::TopK, number(20.0)),
        (Param::MinP, number(0.1)),
        (Param::Typical, number(0.9)),
        (Param::RepeatPenalty, number(1.1)),
        (Param::RepeatLastN, number(32.0)),
        (Param::FrequencyPenalty, number(-1.0)),
        (Param::PresencePenalty, number(-0.5)),
        (
            Param::LogitBias,
            ParamValue::Biases([(7, -1.5), (8, 2.0)].into()),
        ),
        (
            Param::Stop,
            ParamValue::Texts(["a b".into(), "c".into()].into()),
        ),
        (Param::Think, ParamValue::Word("off")),
    ];
    assert_eq!(run(&chat), asked(&want));
    assert_eq!(parse(&["-t", "1", "--help"]), Ok(CommandLine::Help));
}

#[test]
fn mistakes() {
    for (words, sentence) in [
        (&["-q"][..], "unknown option -q"),
        (&["-t"], "-t needs a value"),
        (&["-t", "warm"], "-t warm is not a number"),
        (&["-n", "1.5"], "-n 1.5 is not a whole number"),
        (&["-s", "x"], "-s x is not a whole number"),
        (&["-m", "sing"], "-m sing is not \"generate\" or \"chat\""),
        (&["--exit"], "--exit needs a value after it"),
        (&["--system"], "--system needs a value after it"),
        (&["--log=no"], "--log no is not true or false"),
        (&["--keyboard=x"], "--keyboard x is not \"us\" or \"uk\""),
        (&["--display", "no"], "--display no is not \"auto\""),
        (&["--threads", "0"], "--threads 0 is not a whole number"),
        (&["--threads"], "--threads needs a value after it"),
        (&["--context", "no"], "--context no is not a whole number"),
        (&["--kernels=mmx"], "--kernels mmx is not \"scalar\""),
        (
            &["--kv", "q8"],
            "--kv q8 is not \"f32\" or \"f16\" or \"q8_0\"",
        ),
        (&["--kvs"], "unknown option --kvs"),
        (&["--min-p", "2"], "--min-p 2 is not a number from 0 to 1"),
        (&["--top-k", "x"], "--top-k x is not a whole number"),
        (&["--stop"], "--stop needs a value after it"),
        (&["--logit-bias", "5"], "--logit-bias 5 is not a token"),
        (&["--think", "loud"], "--think loud is not \"show\""),
        (
            &["--date", "2024-02-30"],
            "--date 2024-02-30 is not a day that there is, such as 2024-07-26",
        ),
        (&["a", "b"], "b is one checkpoint too many"),
        (&["-i", "a", "-f", "b"], "-i and -f"),
    ] {
        let said = parse(words).expect_err("a mistake");
        assert!(said.contains(sentence), "{words:?}: {said}");
    }
}

#[test]
fn the_end_is_known_among_mistakes_too() {
    assert_eq!(exit(&["-q", "--exit", "return"]), Some(Exit::Return));
    assert_eq!(exit(&["--exit=shutdown", "-t"]), Some(Exit::Shutdown));
    assert_eq!(exit(&["--exit=key", "--exit"]), Some(Exit::Key));
    for words in [&["--exit"][..], &["--exit", "never"], &["--exits=key"], &[]] {
        assert_eq!(exit(words), None, "{words:?}");
    }
}

#[test]
fn help_names_every_flag_in_lines_that_fit() {
    let help = help();
    for spec in TABLE.iter().filter(|spec| !spec.flags.is_empty()) {
        let flag = match spec.letter {
            ' ' => format!("--{}", spec.flags[0]),
            letter => format!("[-{letter}"),
        };
        assert!(help.contains(&flag), "{flag}: {help}");
    }
    assert!(help.lines().all(|line| line.len() < 80), "{help}");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let text = |text: &str| ParamValue::Text(text.into());
    let texts = |text: &str| ParamValue::Texts([text.into()].into());
    let file = Overrides::default()
        .with(Param::Steps, ParamValue::Whole(10))
        .with(Param::Temperature, ParamValue::Number(0.5))
        .with(Param::Stop, texts("a"))
        .with(Param::Prompt, text("a"));
    let line = Overrides::default()
        .with(Param::Steps, ParamValue::Whole(20))
        .with(Param::Stop, texts("b"))
        .with(Param::PromptFile, text("b.txt"));
    let both = line.over(file);
    assert_eq!(both.whole(Param::Steps), Some(20));
    assert_eq!(both.number(Param::Temperature), Some(0.5));
    assert_eq!(both.texts(Param::Stop), Some(&["b".into()].into()));
    // Both are settings of the prompt.
    let prompts = (both.text(Param::Prompt), both.text(Param::PromptFile));
    assert_eq!(prompts, (None, Some("b.txt")));
}

#[test]
fn the_table_is_sound() {
    let names = |of: fn(&llama2_settings::Spec) -> Vec<&'static str>| {
        let all: Vec<&str> = TABLE
            .iter()
            .flat_map(of)
            .filter(|name| !name.is_empty())
            .collect();
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len(), "no name twice: {all:?}");
    };
    names(|spec| vec![spec.key]);
    names(|spec| vec![spec.saved]);
    names(|spec| spec.flags.to_vec());
    names(|spec| spec.commands.to_vec());
    names(|spec| vec![spec.api.llama_server]);
    names(|spec| vec![spec.api.openai]);
    names(|spec| vec![spec.api.ollama]);
    for (number, spec) in TABLE.iter().enumerate() {
        assert_eq!(spec.param as usize, number);
        assert!(
            spec.help.ends_with('.') && !spec.help.contains('\n'),
            "{spec:?}"
        );
        assert_eq!(spec.commands.is_empty(), spec.about.is_empty(), "{spec:?}");
        // What is saved with a conversation can be set in it, and in a file.
        assert_eq!(spec.saved.is_empty(), spec.commands.is_empty(), "{spec:?}");
        assert!(spec.saved.is_empty() || !spec.key.is_empty(), "{spec:?}");
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let is_number = spec.check(1.0).is_ok() && spec.check(value).is_err();
            assert!(is_number || !spec.is_special(1.0), "{spec:?} {value}");
        }
    }
    assert_eq!(Exit::named("key"), Some(Exit::Key));
    assert_eq!(Param::of_key("min_p"), Some(Param::MinP));
    assert_eq!(Param::of_key(""), None);
}
