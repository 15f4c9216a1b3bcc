//! Scripted sessions, from bytes on a wire to events of the shell.

use llama2_console::{
    commands::{Command, Input, Place, parse},
    decoder::Keys,
    editor::{Editor, EditorEvent},
    typeahead::{Typeahead, Typed},
};
use llama2_settings::{Param, ParamValue};

/// Simulated shell that receives `bytes`, one every `gap` milliseconds, and waits after each piece.
struct Session {
    keys: Keys,
    editor: Editor,
    now: u64,
}

impl Session {
    fn new() -> Session {
        Session {
            keys: Keys::new(),
            editor: Editor::default(),
            now: 1,
        }
    }

    fn types(&mut self, bytes: &[u8], gap: u64) -> Vec<EditorEvent> {
        let mut events = Vec::new();
        for &byte in bytes {
            self.now += gap;
            let keys = self.keys.byte(byte, self.now);
            events.extend(keys.map(|key| self.editor.press(key)));
            if gap > 0 {
                let keys = self.keys.idle(self.now);
                events.extend(keys.map(|key| self.editor.press(key)));
            }
        }
        self.now += 200;
        let keys = self.keys.idle(self.now);
        events.extend(keys.map(|key| self.editor.press(key)));
        events.retain(|event| !matches!(event, EditorEvent::Redraw | EditorEvent::Nothing));
        events
    }

    fn line(&mut self, bytes: &[u8], gap: u64) -> String {
        match &self.types(bytes, gap)[..] {
            [EditorEvent::Submitted(line)] => line.clone(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_line_is_edited_recalled_and_understood() {
    let mut session = Session::new();
    // Typed, corrected in the middle, sent.
    assert_eq!(
        session.line(b"helo\x1b[Dl\x1b[F world\r", 80),
        "hello world"
    );
    // Recalled, its first word deleted, another typed.
    assert_eq!(
        session.line(b"\x1b[A\x01\x1bdgoodbye\r", 80),
        "goodbye world"
    );
    assert_eq!(session.line(b"\x1bOA\x1bOA\r", 1), "hello world");
    let line = session.line(b"/temp 0.5\r", 0);
    assert_eq!(
        parse(&line, Place::Boot),
        Ok(Input::Command(Command::Setting {
            param: Param::Temperature,
            to: [(Param::Temperature, ParamValue::Number(0.5))].into()
        }))
    );
    assert_eq!(
        session.line("größer 日本\\\rzweite Zeile\r".as_bytes(), 80),
        "größer 日本\nzweite Zeile"
    );
    assert_eq!(session.types(b"half\x03", 80), [EditorEvent::Interrupted]);
    assert_eq!(session.types(b"\x04", 80), [EditorEvent::EndOfInput]);
}

#[test]
fn four_thousand_characters_in_a_burst() {
    let text: String = (0..4000)
        .map(|i| match i % 80 {
            79 => '\n',
            40 => 'é',
            41 => '日',
            i => char::from(b'!' + i as u8),
        })
        .collect();
    let text = text.trim_end().to_string();
    for gap in [0, 1] {
        let mut session = Session::new();
        let wire = text.replace('\n', "\r\n") + "\r";
        assert_eq!(session.line(wire.as_bytes(), gap), text);
        let wire = format!("\x1b[200~{}\x1b[201~\r", text.replace('\n', "\r"));
        assert_eq!(session.line(wire.as_bytes(), gap), text);
    }
}

#[test]
fn what_is_typed_during_a_reply_comes_after_it() {
    let (mut keys, mut ahead, mut editor) = (Keys::new(), Typeahead::new(), Editor::default());
    let mut now = 0;
    let mut stopped = 0;
    for &byte in b"first\rsec\x1bond\x1b[D\x1b[D!\r" {
        // Polls every 150 ms: Esc is still distinguished from sequences.
        now += 150;
        let given = keys.byte(byte, now);
        let typed: Vec<Typed> = given.map(|key| ahead.press(key)).collect();
        stopped += typed.iter().filter(|&&typed| typed == Typed::Stop).count();
        if byte == 0x1b && stopped == 0 {
            now += 60;
            stopped += keys
                .idle(now)
                .filter(|&key| ahead.press(key) == Typed::Stop)
                .count();
        }
    }
    let _ = keys.idle(now + 100).map(|key| ahead.press(key)).count();
    let mut lines = Vec::new();
    while let Some(key) = ahead.take() {
        if let EditorEvent::Submitted(line) = editor.press(key) {
            lines.push(line);
        }
    }
    assert_eq!(
        (stopped, lines),
        (1, vec!["first".to_string(), "seco!nd".to_string()])
    );
}
