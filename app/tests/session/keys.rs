//! What is typed, edited, recalled and completed is what arrives.

use llama2_console::{front::Style, keys::Key};

use crate::room::{Act, Room, Screen, keys, lines, offer, speaker};

/// What was typed into a chat with these keys and Return.
fn typed(script: Vec<Key>) -> (String, Screen) {
    let mut room = Room::steady(speaker());
    room.machine.files.insert("ALPHA.JSL".into(), Vec::new());
    room.machine.files.insert("ALBERT.JSL".into(), Vec::new());
    room.machine.offers = vec![offer("qwen.gguf", None), offer("smol.gguf", None)];
    // A line before, for the history, and Return behind.
    let script = [keys("/temp 0\n/top_k 1\n"), script, vec![Key::Enter]].concat();
    let (screen, _) = room.hold(script.into_iter().map(Act::Press));
    let lines = screen.of(Style::User);
    let last = lines.split("> ").last().unwrap_or_default();
    (last.trim_end_matches('\n').to_string(), screen)
}

#[test]
fn every_editing_key() {
    use Key::*;
    let cases: [(&str, &[Key], &str, &str); 22] = [
        ("/max1", &[Left], " ", "/max 1"),
        ("/max 1", &[Home], "/", "//max 1"),
        ("/max 1", &[Home, Delete, End], "0", "max 10"),
        ("/max 12", &[Backspace], "", "/max 1"),
        ("/max 12", &[Left, Delete], "3", "/max 13"),
        ("/max 12", &[Ctrl('a'), Right, Right], "_", "/m_ax 12"),
        (
            "/max 12",
            &[Ctrl('b'), Ctrl('f'), Ctrl('e')],
            "3",
            "/max 123",
        ),
        ("/max one two", &[WordLeft, WordLeft], "x", "/max xone two"),
        ("/max one", &[Home, WordRight], "x", "/maxx one"),
        ("/max one two", &[Ctrl('w')], "2", "/max one 2"),
        ("/max one two", &[DeleteWordLeft], "2", "/max one 2"),
        ("/max one", &[Home, DeleteWordRight], "/min_p", "/min_p one"),
        ("/max one", &[Ctrl('u')], "/seed 1", "/seed 1"),
        ("/max one", &[WordLeft, Ctrl('k')], "1", "/max 1"),
        (
            "/max one",
            &[Ctrl('w'), Ctrl('y'), Ctrl('y')],
            "",
            "/max oneone",
        ),
        ("/max one", &[Ctrl('c'), Ctrl('y')], "", "/max one"),
        ("", &[Up], "0", "/top_k 10"),
        ("", &[Up, Up], "", "/temp 0"),
        ("/max", &[Up, Up, Down, Down], " 7", "/max 7"),
        ("/max 1", &[Left, Left, Ctrl('d')], "", "/max1"),
        ("/stop a\\", &[Enter], "b", "/stop a\n. b"),
        ("/max é日", &[Backspace, Backspace], "4", "/max 4"),
    ];
    for (before, pressed, after, want) in cases {
        let script = [keys(before), pressed.to_vec(), keys(after)].concat();
        let (line, _) = typed(script);
        let want = want.replace("\n. ", "\n");
        assert_eq!(line, want, "{before} {pressed:?}");
    }
    // The keys that are not the line's.
    let (_, screen) = typed([keys("/max"), vec![Ctrl('l'), PageUp, Escape]].concat());
    assert_eq!(
        (screen.clears, &screen.scrolled[..]),
        (1, &[PageUp, Escape][..])
    );
    let (_, screen) = typed([keys("/max"), vec![End]].concat());
    assert_eq!(screen.bells, 1, "a key that can do nothing rings");
    // A paste is text, Return and Tab too; nothing of it is done before Return.
    let (line, _) = typed(
        [
            keys("/stop "),
            vec![PasteBegin],
            keys("a\nb\tc"),
            vec![PasteEnd],
        ]
        .concat(),
    );
    assert_eq!(line, "/stop a\nb\tc");
}

#[test]
fn tab_completes_commands_values_models_and_conversations() {
    for (before, want) in [
        ("/temp\t", "/temp "),
        ("/he\t", "/help "),
        ("/und\t", "/undo"),
        ("/seed r\t", "/seed random"),
        ("/think h\t", "/think hide"),
        ("/help ret\t", "/help retry"),
        ("/model q\t", "/model qwen.gguf"),
        ("/model mol\t", "/model smol.gguf"),
        ("/load alp\t", "/load ALPHA.JSL"),
        ("/save alb\t", "/save ALBERT.JSL"),
        ("/load a\t", "/load AL"),
    ] {
        // It is not done: something else is made of it.
        let script = [keys(before), vec![Key::Home], keys("/")].concat();
        let (line, screen) = typed(script);
        assert_eq!(line, format!("/{want}"), "{before}");
        let shown = screen.said().contains("ALPHA.JSL");
        assert_eq!(shown, before == "/load a\t", "{}", screen.said());
    }
    // Where nothing fits there is a bell, also where conversations cannot be listed.
    let mut room = Room::steady(speaker());
    room.machine.no_list = Some("the volume is gone".into());
    let (screen, _) = room.hold(
        [keys("/load a\t"), vec![Key::Ctrl('u')]]
            .concat()
            .into_iter()
            .map(Act::Press),
    );
    assert_eq!(screen.bells, 1);
}

#[test]
fn a_line_that_is_taken_back() {
    let (line, screen) = typed([keys("/max 9"), vec![Key::Ctrl('c')], keys("/max 8")].concat());
    assert_eq!(line, "/max 8");
    assert!(screen.said().contains("Ctrl-Y brings the line back"));
    // On an empty line there is nothing to bring back.
    let (_, screen) = typed([vec![Key::Ctrl('c')], keys("/max 8")].concat());
    assert!(!screen.said().contains("Ctrl-Y"), "{}", screen.said());
    assert!(screen.said().contains("Ctrl-D leaves"));
}

#[test]
fn what_is_said_in_several_lines_or_other_letters_arrives() {
    let mut room = Room::steady(speaker());
    let mut script = lines(["Grüße, 日本 \u{1f642}"]);
    script.extend(keys("one\\\ntwo\n").into_iter().map(Act::Press));
    let (_, _) = room.hold(script);
    room.type_in(["/save letters"]);
    let saved = String::from_utf8(room.machine.files["LETTERS.JSL"].clone()).unwrap();
    assert!(saved.contains("Grüße, 日本 \u{1f642}"), "{saved}");
    assert!(saved.contains("one\\ntwo"), "{saved}");
}
