//! A model that chats: turns, settings, asides, keys in mid-reply, a full context.

use std::cell::RefCell;

use llama2_app::{Next, platform::Power};
use llama2_console::{commands::Place, front::Style, keys::Key};
use llama2_engine::{
    chat::Chat,
    event::Event,
    generate::step,
    run_mode::RunMode,
    session::{Options, Session},
    settings::{Mode, Settings, Think},
};
use llama2_settings::Param;
use llama2_testing::family;

use crate::room::{
    Act, Known, Room, Screen, broken, in_template, keys, lines, other, plain, slow_down, speaker,
    steady,
};

/// What the engine answers to these questions by itself, as it is shown.
fn answered(known: &Known, settings: &Settings, questions: &[&str]) -> Vec<String> {
    let whole: Vec<_> = questions.iter().map(|&q| (q, usize::MAX)).collect();
    stopped(known, settings, &whole)
}

/// The same, where each answer is stopped when it is this long.
fn stopped(known: &Known, settings: &Settings, questions: &[(&str, usize)]) -> Vec<String> {
    let (model, tokenizer) = (&known.model, &known.tokenizer);
    let seq_len = model.config.seq_len;
    let mut session = Session::new(model, Options::default()).unwrap();
    let mode = RunMode::Dialog;
    let mut chat = Chat::new(tokenizer, mode, settings.steps_for(seq_len, mode), seq_len);
    chat.sequence_mut().set_stops(&settings.stops);
    chat.set_thinking(settings.think != Think::Off);
    let sampler = settings.sampling.drawing(mode);
    let sampler = sampler.sampler(model.config.vocab_size, 1);
    chat.sequence_mut().set_sampler(sampler);
    let system = settings.system.clone().unwrap_or_default();
    let answer = |&(question, most): &(&str, usize)| {
        chat.begin_turn(tokenizer, &system, question).unwrap();
        let said = RefCell::new(String::new());
        let mut out = |_, event: Event<'_>| {
            if let Event::Text { text, .. } = event {
                said.borrow_mut().push_str(text);
            }
        };
        while step(
            &mut session,
            tokenizer,
            &mut [chat.sequence_mut()],
            &mut out,
        ) > 0
        {
            if said.borrow().len() >= most {
                chat.stop(tokenizer);
                break;
            }
        }
        said.into_inner().trim().to_string()
    };
    questions.iter().map(answer).collect()
}

/// The answers of a screen, without white space around.
fn trimmed(screen: &Screen) -> Vec<String> {
    let answers = screen.answers();
    answers.iter().map(|text| text.trim().to_string()).collect()
}

#[test]
fn it_listens_and_answers_as_the_engine_does() {
    let mut room = Room::steady(speaker());
    let (screen, next) = room.hold(lines([
        "Who are you?",
        "",
        "   ",
        "Why?",
        "//temp",
        "/exit",
    ]));
    assert_eq!(next, Next::Exit);
    let want = answered(speaker(), &steady(), &["Who are you?", "Why?", "/temp"]);
    assert_eq!(trimmed(&screen), want);
    assert!(screen.said().starts_with("speaker is listening."));
    assert_eq!(screen.errors() + &screen.warnings(), "");
    // Of 16 tokens at most.
    assert!(
        screen.summaries()[0].contains("cut at /max"),
        "{:?}",
        screen.summaries()
    );
    // The first question may be given.
    let settings = Settings {
        prompt: Some(b"Who are you?".to_vec()),
        ..steady()
    };
    let mut given = Room::with(speaker(), None, settings);
    let screen = given.type_in(["Why?"]);
    assert_eq!(trimmed(&screen), want[..2]);
    assert!(screen.of(Style::User).contains("> Who are you?\n"));
    // The gauge has grown.
    let uses: Vec<usize> = screen.gauges.iter().map(|gauge| gauge.0.0).collect();
    assert!(uses.is_sorted() && uses.first() < uses.last(), "{uses:?}");
}

#[test]
fn retry_undo_clear_and_system() {
    let ask = |questions: &[&str]| answered(speaker(), &steady(), questions);
    let mut room = Room::steady(speaker());
    let screen = room.type_in([
        "/retry", "/undo", "Who?", "Why?", "/retry", "/undo", "When?", "/undo", "/undo", "/retry",
        "/clear", "When?",
    ]);
    let [who, why] = &ask(&["Who?", "Why?"])[..] else {
        panic!()
    };
    let when = &ask(&["Who?", "When?"])[1];
    let fresh = &ask(&["When?"])[0];
    // Nothing is left to be answered again after the last /undo.
    assert_eq!(
        trimmed(&screen),
        [who, why, why, when, fresh].map(String::clone)
    );
    let errors = screen.errors();
    assert_eq!(errors.matches("yet").count(), 2, "{errors}");
    assert!(errors.contains("there is nothing to undo"), "{errors}");
    let said = screen.said();
    for sentence in [
        "Taken back: Why?\n",
        "Taken back: When?\n",
        "Taken back: Who?\n",
        "A new conversation begins.",
    ] {
        assert!(said.contains(sentence), "{said}");
    }

    let mut room = Room::steady(speaker());
    let screen = room.type_in([
        "/system",
        "/system Be brief.",
        "/system",
        "Who?",
        "/system off",
        "Who?",
        "/system",
    ]);
    let brief = Settings {
        system: Some("Be brief.".into()),
        ..steady()
    };
    assert_eq!(
        trimmed(&screen),
        [answered(speaker(), &brief, &["Who?"]), ask(&["Who?"])].concat()
    );
    let said = screen.said();
    assert!(said.contains("system prompt: Be brief.\n"), "{said}");
    assert_eq!(
        said.matches("(the model's default applies)").count(),
        3,
        "{said}"
    );
    // One that does not fit is refused, and there is a conversation all the same.
    let long = format!("/system {}", "zx".repeat(600));
    let screen = room.type_in([long.as_str(), "/system", "Who?"]);
    assert!(screen.errors().contains("the system prompt: "));
    assert!(!screen.said().contains("is set"), "{}", screen.said());
    assert_eq!(trimmed(&screen), ask(&["Who?"]));
}

#[test]
fn what_a_retry_takes_back_after_an_undo() {
    let mut room = Room::steady(speaker());
    let screen = room.type_in(["Who?", "Why?", "/undo", "/retry"]);
    let want = answered(speaker(), &steady(), &["Who?", "Why?"]);
    assert_eq!(
        trimmed(&screen),
        [&want[0], &want[1], &want[0]].map(String::clone),
        "the last question that is left"
    );
}

#[test]
fn every_setting_is_shown_set_and_refused() {
    let mut room = Room::new(speaker());
    let (screen, _) = room.hold(lines([
        "/temp",
        "/temp 0.5",
        "/temp -1",
        "/temp warm",
        "/top_p",
        "/top_p 0.5",
        "/top_p 2",
        "/top_k",
        "/top_k 7",
        "/top_k -1",
        "/min_p",
        "/min_p 0.2",
        "/min_p 2",
        "/repeat",
        "/repeat 1.2 32",
        "/repeat 0",
        "/seed",
        "/seed 5",
        "/seed random",
        "/seed x",
        "/max",
        "/max 9",
        "/max -1",
        "/max 5000",
        "/think",
        "/think hide",
        "/think loud",
        "/markdown",
        "/markdown off",
        "/markdown 1",
        "/repeat_guard",
        "/repeat_guard off",
        "/repeat_guard never",
        "/stop",
        "/stop \"a\\nb\"",
        "/stop off",
    ]));
    let said = screen.said();
    let lines: Vec<&str> = said.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "temperature 0.8",
            "temperature 0.5",
            "top_p 0.95",
            "top_p 0.5",
            "top_k 40",
            "top_k 7",
            "min_p 0.05",
            "min_p 0.2",
            "repetition penalty 1 (none), over the last 64 tokens",
            "repetition penalty 1.2, over the last 32 tokens",
            "seed random",
            "seed 5",
            "seed random",
            "a reply has at most 1024 tokens",
            "a reply has at most 9 tokens",
            "a reply has at most 5000 tokens",
            "think show",
            "think hide",
            "markdown on",
            "markdown off",
            "repeat_guard on",
            "repeat_guard off",
            "no stop texts are set",
            "replies end at \"a\\nb\"",
            "no stop texts are set",
        ]
    );
    let errors = screen.errors();
    let refused = errors.matches(" is not valid").count();
    assert_eq!((refused, errors.lines().count()), (11, 11), "{errors}");
    let warnings = screen.warnings();
    assert!(
        warnings.contains("5000 steps are more than the model's context holds: taking 512"),
        "{warnings}"
    );
    // They count from the next answer on.
    let mut room = Room::steady(speaker());
    let screen = room.type_in(["Who?", "/max 5", "Who?"]);
    assert!(screen.summaries()[1].starts_with("5 tokens"));
    // The same seed gives the same answer.
    let mut room = Room::new(speaker());
    let screen = room.type_in([
        "/seed 9", "/max 12", "Who?", "/clear", "Who?", "/seed 10", "/clear", "Who?",
    ]);
    let answers = screen.answers();
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[0], answers[2]);
}

#[test]
fn a_story_inside_of_a_chat_changes_nothing_of_it() {
    let mut room = Room::steady(speaker());
    let screen = room.type_in([
        "Who?",
        "/story Three tins",
        "/story",
        "Why?",
        "/undo",
        "Why?",
    ]);
    let want = answered(speaker(), &steady(), &["Who?", "Why?"]);
    let answers = trimmed(&screen);
    assert_eq!(answers.len(), 5);
    assert!(answers[1].starts_with("Three tins"), "{answers:?}");
    assert_eq!(
        [&answers[0], &answers[3], &answers[4]],
        [&want[0], &want[1], &want[1]]
    );
    // /retry is about the conversation, not about the story.
    let screen = room.type_in(["/story Three tins", "/retry"]);
    assert_eq!(trimmed(&screen)[1], want[1]);
}

#[test]
fn a_shorter_context_is_told_as_it_is() {
    let mut room = Room::steady(speaker());
    room.positions = Some(300);
    let screen = room.type_in(["Who?", "/info"]);
    assert!(
        screen.said().contains(" of 300 tokens used"),
        "{}",
        screen.said()
    );
    assert!(
        screen.said().contains(" until the model listened\n"),
        "{}",
        screen.said()
    );
}

/// A bias for a token that is not there is refused, and takes nothing else away; a token has one.
#[test]
fn biases_are_the_model_s_own() {
    let mut room = Room::steady(speaker());
    let last = speaker().model.config.vocab_size - 1;
    let biases = [(last + 1, 1), (last, 1), (last, 2)];
    let biases = biases.map(|(token, bias)| format!("/logit_bias {token}={bias}"));
    let screen = room.type_in(["/top_k 20", &biases[0], &biases[1], &biases[2]]);
    let wrong = format!("there are tokens 0 to {last}");
    assert!(screen.errors().contains(&wrong), "{}", screen.errors());
    let sampling = &room.state.settings.sampling;
    assert_eq!(sampling.get(Param::TopK), Some(20.0));
    let biases = sampling.bias.iter().flatten();
    let last: Vec<f32> = biases
        .filter(|(token, _)| *token as usize == last)
        .map(|(_, bias)| *bias)
        .collect();
    assert_eq!(last, [2.0]);
}

#[test]
fn help_info_and_commands_that_are_none() {
    let mut room = Room::steady(speaker());
    let (screen, _) = room.hold(lines([
        "/help",
        "/help all",
        "/help temp",
        "/help nothing",
        "/tmep",
        "/info",
        "/exit now",
        "Who?",
        "/info",
    ]));
    let said = screen.said();
    for word in ["/model", "/retry", "/shutdown", "/firmware"] {
        assert!(said.contains(word), "{said}");
    }
    assert!(
        said.contains("0 always picks the most likely token"),
        "{said}"
    );
    for word in [
        "model",
        "speaker",
        "of a test",
        "its own, 198 bytes",
        "tokens used",
        "a new one each time",
        "cores",
        "a test",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(said.contains("8 (counted)"), "{said}");
    assert!(!said.contains("showing"), "a developer's number: {said}");
    assert!(
        screen
            .log
            .iter()
            .any(|line| line.contains("showing the last reply took"))
    );
    let errors = screen.errors();
    for sentence in [
        "/nothing is not a command",
        "did you mean /temp?",
        "/exit takes no argument",
    ] {
        assert!(errors.contains(sentence), "{errors}");
    }
    // What is too long for a line goes on in the next.
    room.machine.about = "word ".repeat(30);
    let (screen, _) = room.hold(lines(["/info"]));
    assert_eq!(screen.said().matches("word").count(), 30);
    // On the host there is less to do.
    room.machine.place = Place::Hosted;
    let (screen, _) = room.hold(lines(["/help all", "/reboot"]));
    assert!(!screen.said().contains("/reboot"));
    assert!(screen.errors().contains("only where llama2.efi has booted"));
}

#[test]
fn what_only_the_shell_can_do() {
    for (line, want) in [
        ("/exit", Next::Exit),
        ("/quit", Next::Exit),
        ("/bench", Next::Bench),
        ("/reboot", Next::Power(Power::Reboot)),
        ("/shutdown", Next::Power(Power::Shutdown)),
        ("/firmware", Next::Power(Power::Firmware)),
    ] {
        let (_, next) = Room::steady(speaker()).hold(lines([line]));
        assert_eq!(next, want, "{line}");
    }
    // Ctrl-D on an empty line.
    let mut room = Room::steady(speaker());
    let script = [keys("ab"), vec![Key::Ctrl('u'), Key::Ctrl('d')]].concat();
    let (_, next) = room.hold(script.into_iter().map(Act::Press));
    assert_eq!(next, Next::Exit);
    // After a benchmark the conversation goes on, in another session, without a greeting.
    let mut room = Room::steady(speaker());
    let (first, next) = room.hold(lines(["Who?", "/bench"]));
    assert_eq!(next, Next::Bench);
    let second = room.type_in(["Why?"]);
    let want = answered(speaker(), &steady(), &["Who?", "Why?"]);
    assert_eq!([trimmed(&first), trimmed(&second)].concat(), want);
    assert!(!second.said().contains("listening"));
}

#[test]
fn a_reply_is_stopped_at_once_and_goes_on_from_there() {
    let long = Settings {
        steps: Some(200),
        ..steady()
    };
    for stop in [Key::Escape, Key::Ctrl('c')] {
        let mut room = Room::with(speaker(), None, long.clone());
        // A line and a half are typed meanwhile; they come to the prompt.
        let during = [keys("Why?\nWh"), vec![stop]].concat();
        let script = [
            lines(["Who?"]),
            vec![Act::During(20, during)],
            vec![Act::During(10, vec![stop])],
            keys("en?\n").into_iter().map(Act::Press).collect(),
            vec![Act::During(10, vec![stop])],
        ]
        .concat();
        let (screen, _) = room.hold(script);
        assert_eq!(screen.of(Style::User), "> Who?\n> Why?\n> When?\n");
        let answers = trimmed(&screen);
        // Within a few tokens, of a character each here: the script's clock makes a look due every
        // two or three of them.
        let lengths = answers.iter().map(String::len).collect::<Vec<_>>();
        for (length, due) in lengths.iter().zip([20, 10, 10]) {
            assert!((due..due + 6).contains(length), "{answers:?}");
        }
        // Each goes on from what was said until then.
        let said = [
            ("Who?", lengths[0]),
            ("Why?", lengths[1]),
            ("When?", lengths[2]),
        ];
        assert_eq!(answers, stopped(speaker(), &long, &said));
        assert!(
            screen
                .summaries()
                .iter()
                .all(|line| line.contains("stopped"))
        );
        let file = room.type_in(["/save a"]);
        assert!(file.said().contains("Saved 6 messages"), "{}", file.said());
        let saved = String::from_utf8(room.machine.files["A.JSL"].clone()).unwrap();
        assert!(saved.lines().count() == 7, "{saved}");
    }
}

#[test]
fn answers_are_markdown_for_those_who_see_them_and_text_for_files() {
    let mut room = Room::steady(speaker());
    let screen = room.type_in(["Who?", "/markdown off", "Why?", "/story x", "/save a"]);
    let (laid_out, as_written) = (screen.of(Style::Markdown), screen.of(Style::Answer));
    assert!(!laid_out.is_empty() && !as_written.is_empty());
    let saved = String::from_utf8(room.machine.files["A.JSL"].clone()).unwrap();
    let answer = laid_out.trim_end_matches('\n').escape_default().to_string();
    assert!(answer.is_ascii() || saved.contains(&answer), "{saved}");
    // A file's answers, too, where it is wanted.
    let screen = room.type_in(["/markdown on", "/save b", "/load b"]);
    assert!(screen.of(Style::Markdown).starts_with(&laid_out));
    // A text that is only continued is none.
    let settings = Settings {
        mode: Some(Mode::Chat),
        ..steady()
    };
    let mut room = Room::with(plain(), settings.mode, settings.clone());
    let screen = room.type_in(["Who?"]);
    assert_eq!(screen.of(Style::Markdown), "");
}

#[test]
fn a_question_that_was_not_read_whole_is_taken_back() {
    let long = "zx ".repeat(100);
    let mut room = Room::steady(speaker());
    let script = [
        lines(["Who?", &long]),
        vec![Act::Reading(vec![Key::Escape])],
        lines(["Why?"]),
    ]
    .concat();
    // The first answer must not take the script's key.
    let (screen, _) = room.hold(script);
    let want = answered(speaker(), &steady(), &["Who?", "Why?"]);
    assert!(
        screen
            .said()
            .contains("Cancelled while the question was being read"),
        "{}",
        screen.all()
    );
    let answers = trimmed(&screen);
    assert_eq!(answers.first(), want.first());
    assert_eq!(answers.last(), want.last());
    // Up brings it back, and /retry asks what was asked last.
    slow_down(60_000);
    let mut script = Vec::from([Key::Up, Key::Up, Key::Enter].map(Act::Press));
    script.push(Act::Reading(vec![Key::Escape]));
    script.extend(lines(["/retry"]));
    let (screen, _) = room.hold(script);
    assert!(screen.of(Style::User).contains("zx zx"));
    assert_eq!(screen.answers().len(), 2, "{}", screen.all());
    assert!(
        screen
            .statuses
            .iter()
            .any(|line| line.starts_with("reading [")),
        "{:?}",
        screen.statuses
    );
}

#[test]
fn a_full_context_forgets_what_is_oldest_and_says_so() {
    let settings = Settings {
        steps: Some(8),
        ..steady()
    };
    let mut room = Room::with(speaker(), None, settings);
    let long = "zx ".repeat(50);
    let screen = room.type_in([&long, &long, &long, &long]);
    let warnings = screen.warnings();
    assert!(
        warnings.contains("the context of 512 tokens is full: "),
        "{warnings}"
    );
    assert!(warnings.contains("forgotten"), "{warnings}");
    assert_eq!(screen.answers().len(), 4);
    // What is forgotten comes back with what it was forgotten for.
    let screen = room.type_in(["/undo", "/undo", "/undo", "/undo", "/undo"]);
    let taken = screen.said().matches("Taken back").count();
    assert_eq!(
        (taken, screen.warnings()),
        (4, String::new()),
        "{}",
        screen.all()
    );
    // A question that does not fit at all.
    let screen = room.type_in(["zx".repeat(600).as_str(), "Who?"]);
    assert!(screen.errors().contains("shorten"), "{}", screen.errors());
    assert_eq!(screen.answers().len(), 1);
    // An answer that the context's end cuts.
    let mut room = Room::with(
        speaker(),
        None,
        Settings {
            steps: None,
            ..steady()
        },
    );
    let screen = room.type_in(["Who?"]);
    let summary = screen.summaries()[0].to_string();
    assert!(
        summary.contains("context full") || !summary.contains("stopped"),
        "{summary}"
    );
}

#[test]
fn without_a_template_it_goes_on_from_what_is_typed() {
    let settings = Settings {
        steps: Some(8),
        ..steady()
    };
    // Unless it is said, such a model tells stories.
    let screen = Room::with(plain(), None, settings.clone()).type_in(["Three tins"]);
    assert!(screen.answers()[1].starts_with("Three tins"));
    let mode = Some(llama2_engine::settings::Mode::Chat);
    let mut room = Room::with(plain(), mode, settings);
    let screen = room.type_in(["Three tins", ""]);
    assert!(screen.warnings().contains("no chat template"));
    assert_eq!(screen.answers().len(), 2, "nothing lets it go on");
}

/// Templates may refuse what was said, and that it was nothing: a question is told so, and another
/// one may do.
#[test]
fn a_template_that_refuses_is_asked_for_each_question() {
    let refuses = |what: &str| {
        format!(
            "{{% if {what} %}}{{{{ raise_exception('No thanks') }}}}{{% endif %}}{}",
            family::CHATML
        )
    };
    let nothing = in_template(&refuses("not messages[-1].content"));
    let screen = Room::steady(nothing).type_in(["Who?"]);
    assert_eq!(
        (screen.errors(), screen.answers().len()),
        (String::new(), 1)
    );
    let system = in_template(&refuses("messages[0].role == 'system'"));
    let screen = Room::steady(system).type_in(["/system Be brief.", "Who?"]);
    assert!(
        screen
            .errors()
            .contains("the system prompt: the model's chat template: No thanks"),
        "{}",
        screen.errors()
    );
    assert_eq!(screen.answers().len(), 1);
    let all = in_template(&refuses("true"));
    let screen = Room::steady(all).type_in(["Who?", "Why?"]);
    assert_eq!(
        screen.errors().matches("No thanks").count(),
        2,
        "{}",
        screen.errors()
    );
    assert!(screen.answers().is_empty());
    let mut room = Room::steady(speaker());
    room.positions = Some(4);
    let screen = room.type_in(["Who?"]);
    assert!(screen.errors().lines().count() > 1, "{}", screen.errors());
}

#[test]
fn another_model_is_greeted() {
    let mut room = Room::steady(speaker());
    room.type_in(["Who?"]);
    room.known = other();
    let screen = room.type_in(["Who?"]);
    assert!(
        screen.said().starts_with("other is listening"),
        "{}",
        screen.said()
    );
    assert_eq!(trimmed(&screen), answered(other(), &steady(), &["Who?"]));
}

/// A model whose numbers are none says so at each reply, in a chat as in a story; nothing of it is
/// kept.
#[test]
fn a_model_without_numbers_is_said_to_be_one() {
    for warm in [false, true] {
        let settings = if warm { Settings::default() } else { steady() };
        let mut room = Room::with(broken(), None, settings);
        let screen = room.type_in(["Who are you?", "/story Once", "Why?"]);
        let errors = screen.errors();
        let words = "error: the model's numbers are not numbers";
        assert_eq!(errors.matches(words).count(), 3, "{errors}");
        let warnings = screen.warnings();
        assert!(
            warnings.starts_with("warning: the model's file names token 32000"),
            "{warnings}"
        );
        assert!(screen.summaries().is_empty());
    }
}

#[test]
fn the_speed_of_a_few_tokens_is_theirs() {
    let mut room = Room::steady(speaker());
    let (screen, _) = room.hold(lines([
        "/max 2", "Who?", "/max 3", "Why?", "/max 8", "How?", "/exit",
    ]));
    let summaries = screen.summaries();
    assert_eq!(summaries.len(), 3);
    for summary in summaries {
        // The room takes 10 s to give its cores back.
        let speed = summary
            .split(", ")
            .find_map(|part| part.strip_suffix(" tok/s"));
        let speed: f64 = speed.expect(summary).parse().unwrap();
        assert!(speed > 5.0, "{summary}");
    }
}

/// A stop string once doubled a buffer with each setting.
#[test]
fn settings_beside_a_stop_string_take_no_memory() {
    let mut room = Room::steady(speaker());
    let typed = (0..60).map(|i| format!("/temp 0.{}\n", 1 + i % 2));
    let typed: String = typed.collect();
    let script = [keys("/stop END\n"), keys(&typed), keys("Who?\n")].concat();
    let (screen, _) = room.hold(script.into_iter().map(Act::Press));
    assert_eq!(screen.answers().len(), 1);
}

/// Memory may be less when a model is gone back to: the conversation goes on as far as there is
/// room.
#[test]
fn the_same_model_in_a_shorter_context() {
    let mut room = Room::steady(speaker());
    room.type_in(["Who are you?", "Why?", "And then?", "What else?"]);
    room.positions = Some(96);
    let screen = room.type_in(["Go on", "/info"]);
    assert_eq!(screen.answers().len(), 1, "{}", screen.all());
    assert!(
        screen.warnings().contains("oldest of 4 turns"),
        "{}",
        screen.warnings()
    );
    assert!(
        screen.said().contains("of 96 tokens used"),
        "{}",
        screen.said()
    );
}

/// Penalties look at what is in the context: what was taken back is not.
#[test]
fn a_retry_is_the_same_with_penalties() {
    let mut room = Room::steady(speaker());
    let screen = room.type_in(["/presence 2", "Who?", "Why?", "/retry"]);
    let answers = screen.answers();
    assert_eq!((answers.len(), &answers[1]), (3, &answers[2]));
}
