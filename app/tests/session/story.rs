//! A model that tells stories: the first one, openings, Return, and what a template-less chat of
//! run.c's does.

use llama2_app::Next;
use llama2_console::{front::Style, keys::Key};
use llama2_engine::{
    run_mode::RunMode,
    sampler::{Param, SamplerOverrides},
    session::{Options, Session},
    settings::{Mode, Settings},
};

use llama2_testing::text_of;

use crate::room::{Act, Known, Room, keys, lines, stories};

/// What the engine tells by itself.
fn told(known: &Known, settings: &Settings, opening: &str, seed: u64) -> String {
    let (model, tokenizer) = (&known.model, &known.tokenizer);
    let seq_len = model.config.seq_len;
    let mut session = Session::new(model, Options::default()).unwrap();
    let settings = Settings {
        steps: settings.steps.or(Some(512)),
        prompt: Some(opening.into()),
        ..settings.clone()
    };
    let drawing = settings.sampling.drawing(RunMode::Story);
    let sampler = drawing.sampler(model.config.vocab_size, seed);
    let mut story = settings.story(tokenizer, seq_len, sampler).unwrap();
    let mut out = text_of(&mut story, &mut session, tokenizer);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

#[test]
fn it_begins_with_a_story_and_each_line_is_an_opening() {
    let mut room = Room::new(stories());
    let (screen, next) = room.hold(lines(["Tim had a red ball", "", "/retry"]));
    assert_eq!(next, Next::Exit);
    let settings = Settings::default();
    let tell = |opening: &str, seed| told(stories(), &settings, opening, seed);
    assert_eq!(
        screen.answers(),
        [
            tell("", 8),
            tell("Tim had a red ball", 9),
            tell("", 10),
            tell("", 11)
        ]
    );
    assert!(screen.said().contains("Type how the next story begins"));
    assert_eq!(screen.errors() + &screen.warnings(), "");
    let summaries = screen.summaries();
    assert_eq!(summaries.len(), 4);
    assert!(
        summaries.iter().all(|line| line.contains("tok/s")),
        "{summaries:?}"
    );
    // The log has what was typed and how it went.
    assert!(screen.log.contains(&"Tim had a red ball".to_string()));
    assert!(screen.log.iter().any(|line| line.contains("tok/s")));
}

#[test]
fn a_seed_gives_the_same_story_and_settings_count() {
    let settings = Settings {
        seed: Some(42),
        steps: Some(40),
        prompt: Some(b"One day".to_vec()),
        ..Settings::default()
    };
    let mut room = Room::with(stories(), None, settings.clone());
    let screen = room.type_in([
        "One day",
        "/temp 0",
        "One day",
        "/max 20",
        "One day",
        "/stop ,",
        "/max 200",
        "One day",
        "/seed 43",
        "/temp 1",
        "/stop off",
        "One day",
    ]);
    let told = |change: &dyn Fn(&mut Settings), seed| {
        let mut settings = settings.clone();
        change(&mut settings);
        told(stories(), &settings, "One day", seed)
    };
    let greedy = || SamplerOverrides::default().with(Param::Temperature, 0.0);
    let likeliest = told(&|s| s.sampling = greedy(), 1);
    let short = told(&|s| (s.sampling, s.steps) = (greedy(), Some(20)), 1);
    let stopped = told(
        &|s| (s.sampling, s.steps, s.stops) = (greedy(), Some(200), [",".into()].into()),
        1,
    );
    let last = told(
        &|s| {
            (s.sampling, s.steps) = (
                SamplerOverrides::default().with(Param::Temperature, 1.0),
                Some(200),
            )
        },
        43,
    );
    let first = told(&|_| (), 42);
    assert_eq!(
        screen.answers(),
        [
            first.clone(),
            first,
            likeliest,
            short,
            stopped.clone(),
            last
        ]
    );
    assert!(!stopped.contains(','));
}

#[test]
fn undo_clear_and_what_a_story_has_none_of() {
    let mut room = Room::new(stories());
    let screen = room.type_in([
        "Lily had a cat",
        "/undo",
        "/undo",
        "/undo",
        "/clear",
        "/retry",
        "/system Be brief.",
        "/system",
    ]);
    let said = screen.said();
    assert!(said.contains("Taken back: Lily had a cat\n"), "{said}");
    // The greeting's story had no opening.
    assert!(
        said.contains("Taken back: a story without an opening\n"),
        "{said}"
    );
    assert!(said.contains("A new conversation begins."), "{said}");
    let errors = screen.errors();
    assert!(errors.contains("there is nothing to undo"), "{errors}");
    assert!(errors.contains("yet"), "{errors}");
    assert!(errors.contains("a story has no system prompt"), "{errors}");
}

#[test]
fn a_story_is_stopped_by_a_key_and_the_keys_for_later_are_kept() {
    let mut room = Room::with(
        stories(),
        None,
        Settings {
            seed: Some(3),
            ..Settings::default()
        },
    );
    let mut later = keys("Sam ran\n");
    later.push(Key::Escape);
    let script = [
        vec![Act::During(40, vec![Key::Escape])],
        lines(["Mia"]),
        vec![Act::During(30, later)],
        vec![Act::During(30, vec![Key::Ctrl('c')])],
    ]
    .concat();
    let (screen, _) = room.hold(script);
    let answers = screen.answers();
    let settings = Settings::default();
    for (answer, opening) in answers.iter().zip(["", "Mia", "Sam ran"]) {
        let whole = told(stories(), &settings, opening, 3);
        let begun = answer.trim_end_matches('\n');
        assert!(whole.starts_with(begun), "{begun:?} {whole:?}");
        assert!((30..100).contains(&begun.len()), "{begun}");
    }
    assert_eq!(answers.len(), 3);
    assert!(
        screen
            .summaries()
            .iter()
            .all(|line| line.contains("stopped")),
        "{:?}",
        screen.summaries()
    );
    let typed = screen.of(Style::User);
    assert_eq!(typed, "> Mia\n> Sam ran\n");
}

#[test]
fn an_opening_that_is_too_long_and_a_context_that_ends() {
    let mut room = Room::new(stories());
    let long = "a b c d e ".repeat(400);
    let (screen, _) = room.hold(lines([&long, "/max 0", "/temp 0", "a"]));
    assert!(screen.errors().contains("shorten"), "{}", screen.errors());
    let mut room = Room::with(
        stories(),
        Some(Mode::Chat),
        Settings {
            steps: Some(60),
            ..Settings::default()
        },
    );
    // run.c's chat.
    let script = lines(["Hello there", "And now?", "/clear", "/undo", "Hello"]);
    let (screen, _) = room.hold(script);
    assert!(screen.said().contains("stories330K is listening"));
    let errors = screen.errors();
    assert!(errors.contains("steps are used up"), "{errors}");
    assert!(screen.summaries()[0].contains("cut at /max"));
    assert_eq!(screen.answers().len(), 2);
    // It may have more of them later.
    let settings = Settings {
        steps: Some(60),
        ..Settings::default()
    };
    let mut room = Room::with(stories(), Some(Mode::Chat), settings);
    let (screen, _) = room.hold(lines(["Hello there", "/max 120", "And now?"]));
    assert!(
        screen
            .said()
            .contains("a conversation has at most 120 positions")
    );
    assert_eq!(screen.answers().len(), 2, "{}", screen.all());
}

#[test]
fn a_question_of_run_c_s_chat_that_was_not_read_whole_is_taken_back() {
    let settings = Settings {
        steps: Some(200),
        sampling: SamplerOverrides::default().with(Param::Temperature, 0.0),
        ..Settings::default()
    };
    let long = "word ".repeat(60);
    let mut room = Room::with(stories(), Some(Mode::Chat), settings.clone());
    let script = [
        lines([long.as_str()]),
        vec![Act::Reading(vec![Key::Escape])],
        lines(["/max 200", "Hello"]),
    ]
    .concat();
    let (screen, _) = room.hold(script);
    assert!(
        screen
            .said()
            .contains("Cancelled while the question was being read"),
        "{}",
        screen.all()
    );
    let plain = Room::with(stories(), Some(Mode::Chat), settings).type_in(["Hello"]);
    assert_eq!(screen.answers().last(), plain.answers().last());
}
