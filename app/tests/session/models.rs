//! Choosing models: by name, with keys, by waiting.

use llama2_app::{Next, menu};
use llama2_console::keys::Key;

use crate::room::{Act, Room, Screen, clock, keys, lines, offer, other, plain, press, speaker};

fn room() -> Room {
    let mut room = Room::steady(speaker());
    let mut own = offer("speaker", None);
    own.id = "speaker".into();
    room.machine.offers = vec![
        offer("qwen3-0.6b.gguf", None),
        own,
        offer("huge.gguf", Some("needs 9 GiB, but 1 GiB is free")),
        offer("qwen3-4b.gguf", None),
    ];
    room
}

#[test]
fn by_name() {
    for (line, want, sentence) in [
        ("/model QWEN3-4B.GGUF", Some("qwen3-4b.gguf"), ""),
        ("/model 4b", Some("qwen3-4b.gguf"), ""),
        ("/model Qwen3-4B", Some("qwen3-4b.gguf"), ""),
        ("/model MODELS/qwen3-4b.gguf", Some("qwen3-4b.gguf"), ""),
        (
            "/model qwen",
            None,
            "\"qwen\" may be qwen3-0.6b.gguf or qwen3-4b.gguf; give more of the name",
        ),
        (
            "/model llama",
            None,
            "there is no model \"llama\"; available: qwen3-0.6b.gguf, speaker",
        ),
        (
            "/model huge",
            None,
            "huge.gguf: needs 9 GiB, but 1 GiB is free",
        ),
        ("/model speaker", None, "speaker is already running."),
    ] {
        let (screen, next) = room().hold(lines([line]));
        match want {
            Some(name) => assert_eq!(next, Next::Model(format!("MODELS/{name}")), "{line}"),
            None => {
                assert_eq!(next, Next::Exit, "{line}");
                assert!(screen.all().contains(sentence), "{}", screen.all());
            }
        }
    }
    // A conversation that nobody saved is not thrown away without a word.
    let script = lines(["Hi", "/model 4b", "n", "Why?", "/model 4b"]);
    let yes = press([Key::Char('y')]);
    let (screen, next) = room().hold([script, yes].concat());
    assert_eq!(next, Next::Model("MODELS/qwen3-4b.gguf".into()));
    assert_eq!(screen.answers().len(), 2);
    assert!(screen.said().contains("/save keeps the conversation"));
    let (_, next) = room().hold(lines(["Hi", "/save x", "/model 4b"]));
    assert_eq!(next, Next::Model("MODELS/qwen3-4b.gguf".into()));
    let (screen, _) = Room::steady(speaker()).hold(lines(["/model", "/model x"]));
    assert_eq!(screen.errors().lines().count(), 2, "{}", screen.errors());
}

#[test]
fn with_keys() {
    use Key::*;
    for (pressed, want) in [
        (vec![Down, Down, Enter], Some("qwen3-4b.gguf")),
        (vec![Up, Up, Enter], Some("qwen3-0.6b.gguf")),
        (vec![End, Enter], Some("qwen3-4b.gguf")),
        (vec![Home, Enter], Some("qwen3-0.6b.gguf")),
        (vec![PageDown, PageUp, Enter], Some("qwen3-0.6b.gguf")),
        (vec![Char('3'), Enter], Some("qwen3-4b.gguf")),
        // What cannot be taken is last, and nobody comes to it.
        (vec![Char('4'), Escape], None),
        (vec![End, Down, Enter], Some("qwen3-4b.gguf")),
        (vec![Enter], None),
        (vec![Escape], None),
        (vec![Ctrl('c')], None),
    ] {
        let script = [
            lines(["/model"]),
            pressed.iter().map(|key| Act::Press(*key)).collect(),
        ]
        .concat();
        let (screen, next) = room().hold(script);
        match want {
            Some(name) => assert_eq!(next, Next::Model(format!("MODELS/{name}")), "{pressed:?}"),
            None => assert_eq!(next, Next::Exit, "{pressed:?}"),
        }
        let first = &screen.menus[0];
        assert_eq!(first.selected, 1, "the one that is running");
        let grey: Vec<bool> = first.rows.iter().map(|row| row.grey).collect();
        assert_eq!(grey, [false, false, false, true]);
        assert_eq!(first.rows[0].cells[3], "needs 2.0 MiB of 8.0 MiB free");
        assert_eq!(first.rows[3].cells[3], "needs 9 GiB, but 1 GiB is free");
    }
}

#[test]
fn by_waiting() {
    let offers = room().machine.offers;
    let choose = |offers: &[_], script: Vec<Act>| {
        let mut screen = Screen::with(script);
        let start = clock();
        let chosen = menu::choose(offers, 0, Some(10), clock, &mut screen);
        (chosen, clock() - start, screen)
    };
    let (chosen, took, screen) = choose(&offers, Vec::new());
    assert_eq!(chosen, Some(0));
    assert!((9_900_000..10_100_000).contains(&took), "{took}");
    let notes: Vec<&str> = screen.menus.iter().map(|menu| &menu.note[..]).collect();
    assert_eq!(notes.len(), 10, "{notes:?}");
    assert!(
        notes[0].contains("10 s") && notes[9].contains("1 s"),
        "{notes:?}"
    );
    // Any key ends the waiting.
    let (chosen, _, screen) = choose(&offers, press([Key::Down, Key::Enter]));
    assert_eq!(chosen, Some(1));
    assert!(!screen.menus.last().unwrap().note.contains(" s"));
    // The first that can be taken.
    let offers = [offer("huge", Some("too large")), offer("small", None)];
    assert_eq!(choose(&offers, Vec::new()).0, Some(1));
    // None can be: only a key helps.
    let offers = [offer("huge", Some("too large"))];
    assert_eq!(choose(&offers, press([Key::Enter, Key::Escape])).0, None);
    let _ = keys("");
}

/// Models that can be opened: speaker, which is first, other and plain.
fn models() -> Room {
    let mut room = Room::steady(speaker());
    room.machine.known = vec![speaker(), other(), plain()];
    room.machine.offers = ["speaker", "other", "plain", "gone"]
        .map(|name| {
            let mut entry = offer(name, None);
            entry.id = name.into();
            entry
        })
        .into();
    room
}

#[test]
fn one_model_after_another() {
    let (screen, left) = models().run_models(lines(["Who?", "/save", "/model other", "Why?"]));
    assert_eq!((left, screen.answers().len()), (Ok(()), 2));
    let said = screen.said();
    let place = |word: &str| said.find(word).unwrap_or_else(|| panic!("{word}: {said}"));
    assert!(place("speaker is listening") < place("other is listening"));
    assert_eq!(screen.errors() + &screen.warnings(), "");

    // One that is gone, and what the machine cannot do: the conversation goes on.
    let typed = ["Who?", "/save", "/model gone", "/reboot", "/retry", "/info"];
    let (screen, left) = models().run_models(lines(typed));
    assert_eq!((left, screen.answers().len()), (Ok(()), 2));
    assert_eq!(screen.answers()[0], screen.answers()[1]);
    let errors = screen.errors();
    assert!(errors.contains("gone: there is no such file"), "{errors}");
    assert!(errors.contains("Reboot is refused"), "{errors}");
    assert!(screen.said().contains("Q8_0"), "{}", screen.said());
}

#[test]
fn a_model_that_cannot_be_read_leads_back_or_to_the_menu() {
    let mut room = models();
    room.machine.unreadable = vec!["other"];
    let (screen, left) = room.run_models(lines(["/model other", "Who?"]));
    assert_eq!((left, screen.answers().len()), (Ok(()), 1));
    assert!(screen.errors().contains("other on a disk: cannot be read"));
    assert!(screen.said().contains("Going back to speaker."));

    // The first one: nothing to go back to, and what was asked for was asked for that one.
    let mut room = models();
    room.state.settings.prompt = Some(b"Once".to_vec());
    room.machine.stopped = vec!["speaker"];
    let script = [press([Key::Down, Key::Enter]), lines(["Who?"])].concat();
    let (screen, left) = room.run_models(script);
    assert_eq!((left, screen.answers().len()), (Ok(()), 1));
    assert!(screen.said().contains("Stopped by a key."));
    assert!(screen.said().contains("other is listening"));

    let mut room = models();
    room.machine.known = vec![speaker()];
    room.machine.unreadable = vec!["speaker"];
    let (screen, left) = room.run_models(press([Key::Down, Key::Enter, Key::Escape]));
    assert_eq!((left, screen.menus.len() > 1), (Ok(()), true));
    assert_eq!(screen.errors().lines().count(), 2, "{}", screen.errors());
    room.machine.offers.clear();
    let (_, left) = room.run_models(Vec::new());
    assert_eq!(
        left,
        Err("there is no model that this machine could run".into())
    );
}

#[test]
fn a_model_that_is_awaited_is_asked_for_until_it_comes() {
    let mut room = models();
    room.machine.awaited = Some("speaker");
    room.machine.failures = 2;
    let start = clock();
    let (screen, left) = room.run_models(Vec::new());
    assert_eq!((left, screen.errors().lines().count()), (Ok(()), 2));
    assert!((120_000_000..130_000_000).contains(&(clock() - start)));
    let notes: Vec<&str> = screen.menus.iter().map(|menu| &menu.note[..]).collect();
    assert!(notes[0].ends_with("loading this one in 60 s"), "{notes:?}");
    assert_eq!(notes.len(), 120, "{notes:?}");
    assert!(screen.said().contains("speaker is listening"));

    // Who presses a key is there, and chooses; so is who has stopped it.
    let mut room = models();
    room.machine.awaited = Some("speaker");
    room.machine.failures = 1;
    let (screen, left) = room.run_models(press([Key::Down, Key::Enter]));
    assert_eq!(left, Ok(()));
    assert!(screen.said().contains("other is listening"));
    let mut room = models();
    room.machine.awaited = Some("speaker");
    room.machine.stopped = vec!["speaker"];
    let (screen, left) = room.run_models(press([Key::Escape]));
    assert_eq!(left, Ok(()));
    assert!(screen.menus[0].note.ends_with("Esc cancels"));
}

#[test]
fn a_benchmark_is_shown_and_the_conversation_goes_on() {
    let (screen, left) = models().run_models(lines(["Who?", "/bench", "/undo"]));
    assert_eq!(left, Ok(()));
    let said = screen.said();
    assert!(said.contains("Measuring pp512 and tg128"), "{said}");
    assert!(said.contains(" on 1 core: "), "{said}");
    assert!(said.contains("Taken back: Who?"), "{said}");
}
