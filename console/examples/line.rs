//! Example shell with the line editor, on a terminal without echo: `stty raw -echo; cargo run -p
//! llama2-console --example line; stty sane`.
//!
//! The model repeats what you type. Ctrl-D leaves. The size can be given: `-- COLUMNS ROWS`, such
//! as `-- 40 10`.

use std::{
    io::{Read, Write},
    sync::mpsc,
    time::{Duration, Instant},
};

use llama2_console::{
    ansi::{self, Ansi},
    commands::{self, Command, Input, Place},
    complete::{Completed, Names, columns, complete, help},
    decoder::Keys,
    editor::{Editor, EditorEvent},
    keys::Key,
    settings::apply,
    view::{Prompt, lay_out},
};
use llama2_settings::Overrides;

const PROMPT: Prompt<'static> = Prompt {
    first: "> ",
    more: ". ",
};

fn main() {
    let mut sizes = std::env::args()
        .skip(1)
        .filter_map(|size| size.parse().ok());
    let (width, height) = (sizes.next().unwrap_or(80), sizes.next().unwrap_or(24));
    let (send, bytes) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(len @ 1..) = std::io::stdin().read(&mut buffer) {
            if buffer[..len].iter().any(|&byte| send.send(byte).is_err()) {
                return;
            }
        }
    });
    let (start, mut keys, mut editor) = (Instant::now(), Keys::new(), Editor::default());
    let (mut screen, mut settings) = (Ansi::new(height, true), Overrides::default());
    show(ansi::PASTE_ON);
    loop {
        // All pending keys, then one drawing.
        let mut given: Vec<Key> = Vec::new();
        let mut wait = Duration::from_millis(10);
        loop {
            match bytes.recv_timeout(wait) {
                Ok(byte) => given.extend(keys.byte(byte, start.elapsed().as_millis() as u64)),
                Err(mpsc::RecvTimeoutError::Timeout) => break,
                Err(mpsc::RecvTimeoutError::Disconnected) => return leave(&mut screen),
            }
            wait = Duration::ZERO;
        }
        given.extend(keys.idle(start.elapsed().as_millis() as u64));
        let mut out = String::new();
        let mut say = String::new();
        for key in given {
            match editor.press(key) {
                EditorEvent::Nothing | EditorEvent::Redraw | EditorEvent::NotMine(_) => continue,
                EditorEvent::Refused => out.push_str(ansi::BELL),
                EditorEvent::ClearScreen => {
                    screen.forget();
                    out.push_str(ansi::CLEAR);
                }
                EditorEvent::EndOfInput => return leave(&mut screen),
                EditorEvent::Interrupted => say.push_str("^C\n"),
                EditorEvent::CompleteWanted => {
                    let names = Names::default();
                    let before = &editor.text()[..editor.cursor()];
                    match complete(before, names, Place::Hosted).apply(&mut editor) {
                        Completed::Nothing => out.push_str(ansi::BELL),
                        Completed::Redraw => (),
                        Completed::Choices(words) => say.push_str(&columns(&words, width)),
                    }
                }
                EditorEvent::Submitted(line) => {
                    say.push_str(&format!("> {}\n", line.replace('\n', "\n. ")));
                    match commands::parse(&line, Place::Hosted) {
                        Ok(Input::Empty) => (),
                        Ok(Input::Text(text)) => say.push_str(&format!("parrot: {text:?}\n")),
                        Ok(Input::Command(Command::Exit)) => return leave(&mut screen),
                        Ok(Input::Command(Command::Help(topic))) => {
                            say.push_str(&help(topic, Place::Hosted, width).replace('\t', ""));
                        }
                        Ok(Input::Command(command)) => {
                            let said = apply(&mut settings, &command);
                            say.push_str(&said.unwrap_or_else(|| format!("{command:?}")));
                            say.push('\n');
                        }
                        Err(sentence) => say.push_str(&format!("{sentence}\n")),
                    }
                }
            }
        }
        if !say.is_empty() {
            screen.hide(&mut out);
            out.push_str(&say.replace('\n', "\r\n"));
        }
        screen.draw(
            lay_out(PROMPT, editor.text(), editor.cursor(), width),
            &mut out,
        );
        show(&out);
    }
}

fn leave(screen: &mut Ansi) {
    let mut out = String::new();
    screen.leave(&mut out);
    show(&out);
    show(ansi::PASTE_OFF);
}

fn show(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
