//! Conversations and the configuration as files, and every way in which that fails.

use llama2_engine::settings::{Mode, Settings};

use crate::room::{Act, Room, keys, lines, other, speaker, steady, stories};

#[test]
fn saving_chooses_names_and_asks_before_it_writes_over_others() {
    let mut room = Room::steady(speaker());
    let screen = room.type_in([
        "/save",
        "Who?",
        "/save",
        "/save",
        "/save b",
        "/save",
        "/save a/b",
    ]);
    let errors = screen.errors();
    assert!(errors.contains("yet"), "{errors}");
    assert!(errors.contains("a/b"), "{errors}");
    let said = screen.said();
    assert_eq!(
        said.matches("as CHAT0001.JSL on the test's volume").count(),
        2,
        "its own without a question: {said}"
    );
    assert_eq!(said.matches("as B.JSL on").count(), 2, "{said}");
    // Another conversation gets another name, and does not write over what is there.
    let before = room.machine.files["B.JSL"].clone();
    let script = [
        lines(["/clear", "Why?", "/save b"]),
        vec![Act::Press(keys("n")[0])],
        lines(["/save B"]),
        vec![Act::Press(keys("\n")[0])],
    ]
    .concat();
    let (screen, _) = room.hold(script);
    assert!(
        screen
            .all()
            .contains("B.JSL already exists. Overwrite it? [y/N] no\n")
    );
    assert_eq!(screen.said().matches("Nothing was written.").count(), 2);
    assert_eq!(room.machine.files["B.JSL"], before);
    let script = [
        lines(["/save"]),
        lines(["/save b"]),
        vec![Act::Press(keys("y")[0])],
        lines(["/save"]),
    ]
    .concat();
    let (screen, _) = room.hold(script);
    assert!(
        screen.said().contains("as CHAT0002.JSL"),
        "{}",
        screen.said()
    );
    assert_eq!(screen.said().matches("as B.JSL").count(), 2);
    assert_ne!(room.machine.files["B.JSL"], before);
    // Keys that were typed ahead answer no question by accident: only y does.
    let (screen, _) = room.hold(
        [
            lines(["/clear", "When?", "/save b"]),
            keys("zn").into_iter().map(Act::Press).collect(),
        ]
        .concat(),
    );
    assert_eq!(screen.bells, 1);
}

#[test]
fn what_cannot_be_written_or_listed_is_said_and_the_conversation_goes_on() {
    let mut room = Room::steady(speaker());
    room.machine.no_write = Some("CHAT0001.JSL: the volume is full".into());
    let screen = room.type_in(["Who?", "/save", "/config", "Why?"]);
    assert_eq!(screen.errors().matches("the volume is full").count(), 2);
    assert_eq!(screen.answers().len(), 2);
    room.machine.no_write = None;
    room.machine.no_list = Some("the volume is gone".into());
    let screen = room.type_in(["/save", "/load", "/load a", "When?"]);
    assert_eq!(screen.errors().matches("the volume is gone").count(), 3);
    assert_eq!(screen.answers().len(), 1);
    room.machine.no_list = None;
    room.machine.files.insert("A.JSL".into(), Vec::new());
    room.machine.no_read = Some("A.JSL: the medium fails".into());
    let screen = room.type_in(["/load a", "/load b", "/load a/b", "How?"]);
    let errors = screen.errors();
    for sentence in [
        "A.JSL: the medium fails",
        "there is no conversation \"b\": /load lists them",
        "a/b",
    ] {
        assert!(errors.contains(sentence), "{errors}");
    }
    assert_eq!(screen.answers().len(), 1);
}

#[test]
fn a_conversation_goes_on_as_if_it_had_never_been_interrupted() {
    let mut one = Room::with(
        speaker(),
        None,
        Settings {
            system: Some("Be brief.".into()),
            ..steady()
        },
    );
    let all = one.type_in(["Who?", "Why?", "/save x", "When?"]).answers();
    let mut two = Room::with(
        speaker(),
        None,
        Settings {
            steps: None,
            ..steady()
        },
    );
    two.machine.files = one.machine.files.clone();
    let screen = two.type_in([
        "/load", "/load x", "/system", "/temp", "/max", "When?", "/save",
    ]);
    assert_eq!(screen.answers().last(), all.last(), "{}", screen.all());
    let said = screen.said();
    for sentence in [
        "/load NAME goes on with one:\nX.JSL",
        "X.JSL: 4 messages",
        "system prompt: Be brief.",
        "temperature 0 ",
        "at most 16 tokens",
        "Saved 6 messages as X.JSL",
    ] {
        assert!(said.contains(sentence), "{sentence}: {said}");
    }
    assert_eq!(screen.warnings() + &screen.errors(), "");
    // What was said is shown, and can be taken back and answered again.
    let shown = screen.all();
    assert!(shown.contains("> Who?\n") && shown.contains(all[0].trim()));
    let again = two.type_in(["/load x", "/retry", "/undo", "/undo", "/undo", "/undo"]);
    assert_eq!(again.answers().last(), Some(&all[2]));
    assert_eq!(again.said().matches("Taken back").count(), 3);
    assert!(again.errors().contains("nothing to undo"));
}

#[test]
fn files_that_are_no_conversations_name_the_line() {
    let mut room = Room::steady(speaker());
    let good = {
        room.type_in(["Who?", "/save good"]);
        String::from_utf8(room.machine.files["GOOD.JSL"].clone()).unwrap()
    };
    let files = &mut room.machine.files;
    files.insert("EMPTY.JSL".into(), Vec::new());
    files.insert("CUT.JSL".into(), good.as_bytes()[..good.len() - 9].into());
    files.insert(
        "HOT.JSL".into(),
        good.replacen("\"temperature\":0.0", "\"temperature\":-9", 1)
            .into(),
    );
    let swapped = good.replacen("assistant", "user", 1);
    files.insert("SWAPPED.JSL".into(), swapped.into());
    let screen = room.type_in([
        "/load empty",
        "/load cut",
        "/load hot",
        "/load swapped",
        "Why?",
    ]);
    let errors = screen.errors();
    for sentence in [
        "EMPTY.JSL: the file is empty",
        "CUT.JSL: line 3 ends in the middle",
        "HOT.JSL: line 1 has the setting temperature = -9, but it must be",
        "SWAPPED.JSL: line 3",
    ] {
        assert!(errors.contains(sentence), "{sentence}: {errors}");
    }
    assert_eq!(
        screen.answers().len(),
        1,
        "the conversation from before goes on"
    );
}

#[test]
fn conversations_of_other_models_and_of_longer_contexts() {
    let mut room = Room::steady(speaker());
    room.type_in(["Who?", "/save x"]);
    let mut its = Room::steady(other());
    its.machine.files = room.machine.files.clone();
    let screen = its.type_in(["/load x", "Why?"]);
    assert!(
        screen
            .warnings()
            .contains("it was held with \"speaker\"; other continues it"),
        "{}",
        screen.warnings()
    );
    assert_eq!(screen.answers().len(), 1);
    // More than the context holds.
    let text = String::from_utf8(room.machine.files["X.JSL"].clone()).unwrap();
    let head = text.lines().next().unwrap();
    let turn = format!(
        "{{\"role\":\"user\",\"content\":\"{}\"}}\n{{\"role\":\"assistant\",\"content\":\"{}\"}}\n",
        "ab".repeat(60),
        "cd".repeat(30)
    );
    let long = format!("{head}\n{}", turn.repeat(8));
    room.machine.files.insert("LONG.JSL".into(), long.into());
    let screen = room.type_in(["/load long", "Why?"]);
    assert!(
        screen.warnings().contains("oldest of 8 turns"),
        "{}",
        screen.warnings()
    );
    assert_eq!(screen.answers().len(), 1);
    // A question that nobody has answered yet is not lost.
    let open = format!("{head}\n{{\"role\":\"user\",\"content\":\"Who?\"}}\n");
    room.machine.files.insert("OPEN.JSL".into(), open.into());
    let screen = room.type_in(["/load open", "/retry"]);
    assert_eq!(screen.answers().len(), 1, "{}", screen.all());
    let turn =
        "{\"role\":\"user\",\"content\":\"Why?\"}\n{\"role\":\"assistant\",\"content\":\"So.\"}";
    let open =
        format!("{head}\r\n\r\n{turn}\n{{\"role\":\"user\",\"content\":\"Who?\"}}\r\n\u{1a}");
    room.machine.files.insert("OPEN.JSL".into(), open.into());
    let screen = room.type_in(["/load open", "/undo", "/undo", "/undo"]);
    let said = screen.said();
    let taken = ["no answer: /retry", "Taken back: Who?", "Taken back: Why?"];
    assert!(taken.iter().all(|words| said.contains(words)), "{said}");
    assert!(
        !screen.warnings().contains("forgotten"),
        "it had read the first turn alone"
    );
    assert!(screen.errors().contains("nothing to undo"));
}

#[test]
fn stories_are_saved_too() {
    let mut room = Room::with(
        stories(),
        None,
        Settings {
            steps: Some(30),
            seed: Some(4),
            ..Settings::default()
        },
    );
    let told = room.type_in(["Tom ran", "/save tales"]).answers();
    let mut again = Room::with(
        stories(),
        None,
        Settings {
            steps: Some(10),
            ..Settings::default()
        },
    );
    again.machine.files = room.machine.files.clone();
    let screen = again.type_in(["/load tales", "/retry"]);
    assert!(screen.all().contains(told[1].trim()), "{}", screen.all());
    assert_eq!(screen.answers().last(), told.last(), "with its settings");
    // run.c's chat goes on from a file as well.
    let settings = Settings {
        steps: Some(200),
        seed: Some(1),
        ..Settings::default()
    };
    let mut chat = Room::with(stories(), Some(Mode::Chat), settings.clone());
    chat.type_in(["Hello", "/save c"]);
    let screen = chat.type_in(["/clear", "/load c", "/info"]);
    assert!(
        screen.said().contains("C.JSL: 2 messages"),
        "{}",
        screen.all()
    );
}

/// Other programs' files have no settings, or some: the others stay as they were asked for.
#[test]
fn what_a_file_does_not_set_stays() {
    let mut room = Room::steady(speaker());
    room.type_in(["Who?", "/save all", "/max 8", "/temp 0.5"]);
    let head = |settings: &str| {
        format!(
            "{{\"format\":\"llama2-conversation\",\"version\":1,\"model\":\"speaker\"{settings}}}\n"
        )
    };
    let files = &mut room.machine.files;
    files.insert("NONE.JSL".into(), head("").into());
    files.insert(
        "SOME.JSL".into(),
        head(",\"settings\":{\"temperature\":0.25}").into(),
    );
    let screen = room.type_in([
        "/load none",
        "/temp",
        "/load some",
        "/temp",
        "/max",
        "/load all",
    ]);
    let said = screen.said();
    for sentence in [
        "temperature 0.5\n",
        "temperature 0.25\n",
        "at most 8 tokens\n",
    ] {
        assert!(said.contains(sentence), "{sentence}{said}");
    }
    let said = room.type_in(["/temp", "/max"]).said();
    assert!(
        said.contains("temperature 0 ") && said.contains("at most 16 tokens"),
        "{said}"
    );
}

#[test]
fn a_part_of_a_name_loads_and_two_are_told() {
    let mut room = Room::steady(speaker());
    room.type_in(["Who?", "/save Über uns", "/save Garten", "/save Gärten"]);
    let screen = room.type_in(["/load über", "/load RTEN", "/load rten.jsl", "/load Garten"]);
    let said = screen.said();
    assert!(said.contains("Über uns.JSL: 2 messages"), "{said}");
    assert!(said.contains("GARTEN.JSL: 2 messages"), "{said}");
    let errors = screen.errors();
    assert_eq!(
        errors.matches("may be GARTEN.JSL or ").count(),
        2,
        "{errors}"
    );
}

#[test]
fn the_configuration_has_what_differs_from_the_model_s_defaults() {
    // Of a story, whose defaults are no chat's; loading it changes nothing of that.
    let mut room = Room::with(
        stories(),
        None,
        Settings {
            steps: Some(8),
            ..Settings::default()
        },
    );
    room.type_in(["Once", "/save tale", "/load tale", "/config"]);
    let text = room.machine.config.clone().unwrap();
    assert_eq!(text, "model = \"stories330K\"\nsteps = 8\n");
    room.type_in([
        "/temp 0.5",
        "/save tale",
        "/temp 0.7",
        "/load tale",
        "/config",
    ]);
    let text = room.machine.config.clone().unwrap();
    assert_eq!(
        text,
        "model = \"stories330K\"\nsteps = 8\ntemperature = 0.5\n"
    );
    // What the file says is to be true, and what it explains is said there.
    let old = "# Seed.\n# seed = 0\nthink = \"hide\"\n# top_k = 40\n# display = \"auto\"\n";
    room.machine.config = Ok(old.into());
    room.type_in(["/think show", "/top_k 7", "/config"]);
    let text = room.machine.config.clone().unwrap();
    assert_eq!(
        text,
        "# Seed.\n# seed = 0\nthink = \"show\"\ntop_k = 7\n# display = \"auto\"\nmodel = \"stories330K\"\nsteps = 8\ntemperature = 0.5\n"
    );
}

#[test]
fn the_configuration_keeps_what_it_does_not_know() {
    let mut room = Room::steady(speaker());
    room.machine.config = Ok("# mine\ntemperature = 1\nlog = true\n".into());
    let screen = room.type_in(["/system Be \"brief\".", "/top_k 5", "/config"]);
    assert!(
        screen
            .said()
            .contains("Settings saved to LLAMA2.CFG on the test's volume."),
        "{}",
        screen.said()
    );
    let text = room.machine.config.clone().unwrap();
    for line in [
        "# mine",
        "temperature = 0",
        "log = true",
        "model = \"speaker\"",
        "top_k = 5",
        "steps = 16",
        "system = \"Be \\\"brief\\\".\"",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
    assert!(!text.contains("min_p"), "nobody asked for it: {text}");
    assert!(!text.contains("mode ="), "nobody said it: {text}");
    // A system prompt that was taken away does not stay in the file.
    room.type_in(["/system off", "/config"]);
    let text = room.machine.config.clone().unwrap();
    assert!(!text.contains("brief"), "{text}");
    // What was asked for besides the first model is not for another one.
    let old = "model = 'a.bin'\ntokenizer = 'a.tok'\ncontext = 99\n";
    room.machine.config = Ok(old.into());
    room.type_in(["/config"]);
    let text = room.machine.config.clone().unwrap();
    assert!(text.contains("\ntokenizer = 'a.tok'\n"), "{text}");
    room.known = other();
    room.machine.config = Ok(old.into());
    room.type_in(["/config"]);
    let text = room.machine.config.clone().unwrap();
    assert!(
        text.contains("\n# tokenizer = 'a.tok'\n# context = 99\n"),
        "{text}"
    );
    room.machine.config = Err("LLAMA2.CFG: line 3 is not TOML".into());
    let screen = room.type_in(["/config"]);
    assert!(screen.errors().contains("line 3 is not TOML"));
}
