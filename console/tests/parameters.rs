//! Every parameter by every input and output: values that can be set can be saved, loaded and
//! configured.

use llama2_console::{
    commands::{Command, Input, Place, parse},
    config,
    conversation::Conversation,
    settings::apply,
};
use llama2_settings::{
    Domain, Overrides, Param, Spec, TABLE,
    flags::{self, CommandLine},
};

/// Valid words for values at the limits and in between, and invalid words.
fn words(spec: &Spec) -> (Vec<String>, Vec<String>) {
    let own = |words: &[&str]| {
        words
            .iter()
            .map(|word| word.to_string())
            .collect::<Vec<_>>()
    };
    let bad = own(&["", "x y", "nan", "--"]);
    match spec.domain {
        Domain::Text => (own(&["a", "say \"ü\"\n\\", "'"]), Vec::new()),
        Domain::Texts => (own(&["a", "\"b\\nc\"", "]", "#"]), Vec::new()),
        Domain::Biases => (own(&["7=-1.5", "0=1e-30", "4294967295=-inf"]), bad),
        Domain::Truth => (own(&["true"]), bad),
        Domain::Date => (
            own(&["2024-02-29", "0001-01-01", "9999-12-31"]),
            own(&[
                "",
                "2023-02-29",
                "2024-13-01",
                "24-7-26",
                "2024-07-26-1",
                "+024-07-26",
            ]),
        ),
        Domain::Address => (
            own(&["dhcp", "10.0.2.15/24", "192.168.1.5/24 via 192.168.1.1"]),
            own(&["", "10.0.2.15", "10.0.2.15/33", "10.0.2.15/24 via 10.0.3.2"]),
        ),
        Domain::Mac => (
            own(&["52:54:00:12:34:56"]),
            own(&["", "52:54:00:12:34", "x"]),
        ),
        Domain::Sha256 => (
            own(&[&"0aF9".repeat(16)]),
            own(&["", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64)]),
        ),
        Domain::Word(words) => (own(words), bad),
        Domain::Seed => (own(&["0", "1", "18446744073709551615", "-1"]), bad),
        Domain::Whole { least, .. } => {
            let words = [least, least + 1, 1 << 40, i64::MAX];
            let less = (least - 1).to_string();
            (
                words.map(|word| word.to_string()).into(),
                own(&["1.5", &less]),
            )
        }
        Domain::Number {
            least, most, whole, ..
        } => {
            let middle: f32 = if whole { 17.0 } else { 0.123_456_79 };
            let known = [12.0, 20.0].into_iter().filter(|known| *known <= most);
            let words = [least, middle.clamp(least, most), most]
                .into_iter()
                .chain(known);
            let less = if least > 0.0 { 0.0 } else { least - 0.5 };
            (
                words.map(|word| word.to_string()).collect(),
                own(&["inf", &less.to_string()]),
            )
        }
    }
}

/// Value set by a flag.
fn by_flag(spec: &Spec, word: &str) -> Result<Overrides, String> {
    let flag = format!("--{}", spec.flags[0]);
    let words = match spec.domain {
        Domain::Truth => vec![flag],
        _ => vec![flag, word.to_string()],
    };
    match flags::parse(&words)? {
        CommandLine::Run(values) => Ok(*values),
        CommandLine::Help => Err("help".into()),
    }
}

/// Value set by a command.
fn by_command(spec: &Spec, word: &str) -> Result<Overrides, String> {
    let line = format!("/{} {word}", spec.commands[0]);
    let Input::Command(command) = parse(&line, Place::Boot)? else {
        panic!("{line}");
    };
    let Command::Setting { param, ref to } = command else {
        panic!("{line}");
    };
    assert!(param == spec.param && !to.is_empty(), "{line}");
    let mut settings = Overrides::default();
    assert!(apply(&mut settings, &command).is_some(), "{line}");
    Ok(settings)
}

/// Value after a file was written and read.
fn saved(values: &Overrides) -> Overrides {
    let conversation = Conversation {
        settings: values.clone(),
        ..Conversation::default()
    };
    let text = conversation.to_lines();
    let read = Conversation::parse(text.as_bytes());
    read.unwrap_or_else(|why| panic!("{why}\n{text}")).settings
}

fn configured(values: &Overrides) -> Overrides {
    let text = config::text(values);
    let (read, warnings) =
        config::parse(text.as_bytes()).unwrap_or_else(|why| panic!("{why}\n{text}"));
    assert!(warnings.is_empty(), "{warnings:?}");
    // As `/config` does it.
    for (spec, value) in values.iter() {
        let line = config::line(spec, value);
        let merged = config::merge("# mine\n", &[(spec.key, line)], &[]);
        let (again, _) = config::parse(merged.as_bytes()).unwrap();
        assert_eq!(again.get(spec.param), Some(value), "{merged}");
    }
    read
}

#[test]
fn what_can_be_set_can_be_saved_loaded_and_configured() {
    for spec in TABLE.iter().filter(|spec| spec.param != Param::Test) {
        let (good, bad) = words(spec);
        for word in &good {
            let mut ways = Vec::new();
            if !spec.flags.is_empty() {
                ways.push(by_flag(spec, word).unwrap_or_else(|why| panic!("{why}")));
            }
            if !spec.commands.is_empty() {
                // A command's text may be in quotes.
                let set = by_command(spec, word).unwrap_or_else(|why| panic!("{why}"));
                if spec.domain != Domain::Texts {
                    assert!(ways.iter().all(|way| *way == set), "{} {word}", spec.key);
                }
                ways.push(set);
            }
            for way in ways {
                assert!(spec.secret || way.get(spec.param).is_some());
                if !spec.key.is_empty() {
                    assert_eq!(configured(&way), way, "{} {word}", spec.key);
                }
                if !spec.saved.is_empty() {
                    assert_eq!(saved(&way), way, "{} {word}", spec.key);
                }
            }
        }
        for word in &bad {
            let adjusted = matches!(
                spec.domain,
                Domain::Number { adjusted: true, .. } | Domain::Whole { adjusted: true, .. }
            );
            let is_flag = !spec.flags.is_empty() && spec.domain != Domain::Truth;
            if is_flag && !adjusted {
                assert!(by_flag(spec, word).is_err(), "--{} {word}", spec.flags[0]);
            }
            if !spec.commands.is_empty() && !word.is_empty() {
                assert!(
                    by_command(spec, word).is_err(),
                    "/{} {word}",
                    spec.commands[0]
                );
            }
        }
    }
}

#[test]
fn a_server_s_settings_come_from_the_file_alone() {
    let read = |text: &str| config::parse(text.as_bytes());
    let text = "serve = true\naddress = \"10.0.2.15/24 via 10.0.2.2\"\nport = 80\n\
        api_key = \"s3cret\"\nnic = \"52:54:00:12:34:56\"\n";
    let (values, warnings) = read(text).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(values.truth(Param::Serve));
    assert_eq!(values.number(Param::Port), Some(80.0));
    assert_eq!(values.text(Param::ApiKey), Some("s3cret"));
    // The key is neither shown nor written.
    let written = format!("{}{values:?}", config::text(&values));
    assert!(!written.contains("s3cret") && written.contains("52:54"));
    for (bad, said) in [
        ("port = 0", "from 1 to 65535"),
        ("port = 65536", "from 1 to 65535"),
        ("serve = 1", "true or false"),
        ("address = \"10.0.2.15\"", "192.168.1.5/24"),
        ("nic = \"eth0\"", "52:54:00:12:34:56"),
    ] {
        let sentence = read(bad).unwrap_err();
        assert!(sentence.contains(said), "{bad}: {sentence}");
    }
}

#[test]
fn a_hot_conversation_is_loaded_as_it_was_saved() {
    let words = ["-t", "12", "--repeat-penalty", "20"];
    let Ok(CommandLine::Run(values)) = flags::parse(&words) else {
        panic!();
    };
    assert_eq!(saved(&values), *values);
}
