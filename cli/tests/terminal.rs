//! `llama2 chat` at a terminal: what is typed and shown there, its files, and the terminal as it was before.
#![cfg(target_os = "linux")]

mod common;
#[allow(dead_code)]
#[path = "../../engine/tests/common/family.rs"]
mod family;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::{Terminal, models};
use llama2_engine::matrix::Encoding;

/// How the terminal is before and after.
const AS_EVER: [bool; 3] = [true; 3];
/// How it is in between.
const SINGLE_KEYS: [bool; 3] = [false; 3];

/// An empty folder of this name.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A model of random weights that chats.
fn speaker(path: &Path) {
    let family = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut made = family.unwrap().make(7, &|_| Encoding::Q8_0);
    made.speak();
    made.text("tokenizer.chat_template", "<|im_start|>");
    fs::write(path, made.bytes()).unwrap();
}

#[test]
fn a_conversation_at_a_terminal() {
    let folder = folder("at a terminal");
    speaker(&folder.join("speaker.gguf"));
    fs::write(folder.join("broken.gguf"), b"GGUF\x03\0\0\0").unwrap();
    let args = ["chat", "speaker.gguf", "-t", "0", "-n", "12"];
    let mut terminal = Terminal::start(args, &folder);
    terminal.wait("speaker.gguf is listening.");
    terminal.wait("> ");
    assert_eq!(terminal.modes(), SINGLE_KEYS);
    // A line that is edited, and one from the history.
    terminal.write("Who are yo?\x1b[Du\r");
    terminal.wait("cut at /max");
    terminal.wait("> ");
    terminal.write("\x1b[A\r");
    terminal.wait("cut at /max");
    // Tab, a setting, a bad one.
    terminal.write("/min\t0.1\r/temp 11\r");
    terminal.wait("min_p 0.1\r\n");
    terminal.wait("error: /temp 11 will not do");
    // A paste of two lines is one question.
    terminal.write("\x1b[200~one\rtwo\x1b[201~\r");
    terminal.wait("cut at /max");
    terminal.write("/save talk\r");
    terminal.wait("Saved 6 messages as TALK.JSL on disk, in this folder.");
    let saved = fs::read_to_string(folder.join("TALK.JSL")).unwrap();
    assert_eq!(saved.matches("\"Who are you?\"").count(), 2, "{saved}");
    assert!(saved.contains("\"one\\ntwo\""), "{saved}");
    terminal.write("/config\r");
    terminal.wait("LLAMA2.CFG on disk");
    // What cannot be taken is refused, and the conversation goes on.
    terminal.write("/model broken\r");
    terminal.wait("error: broken.gguf: ");
    terminal.write("/model bundled\r");
    let shown = terminal.wait("Type how the next story begins");
    assert!(shown.contains("tok/s"), "{shown}");
    terminal.write("/model speaker\r");
    terminal.wait("speaker.gguf is listening.");
    terminal.write("/load\r/load talk\r");
    terminal.wait("TALK.JSL: 6 messages.");
    terminal.write("/info\r");
    terminal.wait("processor");
    terminal.write("/exit\r");
    assert!(terminal.child.wait().unwrap().success());
    assert_eq!(terminal.modes(), AS_EVER);
    // The configuration is the next chat's.
    let text = fs::read_to_string(folder.join("LLAMA2.CFG")).unwrap();
    assert!(text.contains("min_p = 0.1"), "{text}");
    let mut terminal = Terminal::start(["chat", "-t", "0.5"], &folder);
    terminal.wait("speaker.gguf is listening.");
    terminal.write("/min_p\r/temp\r");
    terminal.wait("min_p 0.1\r\n");
    terminal.wait("temperature 0.5\r\n");
    terminal.write("\x04");
    assert!(terminal.child.wait().unwrap().success());
    assert!(
        fs::read_dir(&folder)
            .unwrap()
            .flatten()
            .all(|entry| !entry.file_name().to_string_lossy().ends_with(".part"))
    );
}

#[test]
fn keys_stop_an_answer_and_a_signal_leaves_the_terminal_as_it_was() {
    let model = models("stories1M.bin").display().to_string();
    // Slow: it is to be stopped.
    let slow = [
        "--threads",
        "1",
        "--kernels",
        "scalar",
        "-t",
        "0",
        "-n",
        "0",
    ];
    let args = [&["chat", &model][..], &slow].concat();
    let mut terminal = Terminal::start(&args, &folder("stopped"));
    terminal.wait("Once");
    terminal.write("Tim\r\x1b");
    terminal.wait("stopped");
    terminal.wait("> Tim\r\n");
    terminal.write("\x03");
    terminal.wait("stopped");
    terminal.wait("> ");
    // Stopped and going on, as by the shell's Ctrl-Z and fg.
    let signal = |terminal: &Terminal, signal| {
        // Safety: a signal to a process that was started above and has not been waited for.
        unsafe { libc::kill(terminal.child.id() as libc::pid_t, signal) };
    };
    signal(&terminal, libc::SIGSTOP);
    signal(&terminal, libc::SIGCONT);
    terminal.wait("> ");
    assert_eq!(terminal.modes(), SINGLE_KEYS);
    signal(&terminal, libc::SIGTERM);
    let status = terminal.child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGTERM)
    );
    assert_eq!(terminal.modes(), AS_EVER);
}
