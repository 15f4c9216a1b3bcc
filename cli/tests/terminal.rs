//! `llama2 chat` on a terminal: input, output, files, and the terminal's modes before and after.
#![cfg(target_os = "linux")]

mod common;

use std::{
    fs,
    path::{Path, PathBuf},
};

use common::Terminal;
use llama2_engine::layout::Encoding;
use llama2_testing::family;

/// Modes of the terminal before and after.
const AS_EVER: [bool; 3] = [true; 3];
/// Modes of the terminal during the session.
const SINGLE_KEYS: [bool; 3] = [false; 3];

/// Creates an empty folder of this name.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Writes a random model with a chat template.
fn speaker(path: &Path) {
    speaker_of(path, &[]);
}

/// Writes a random model with a chat template and these words in its vocabulary.
fn speaker_of(path: &Path, words: &[&str]) {
    let family = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut made = family.unwrap().make(7, &|_| Encoding::Q8_0);
    made.speak_with(words);
    made.text("tokenizer.chat_template", family::CHATML);
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
    terminal.hands("/min\t0.1\r");
    terminal.wait("min_p 0.1\r\n");
    terminal.write("/temp -1\r");
    terminal.wait("error: /temp -1 is not valid");
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
    // Invalid input is rejected, and the conversation continues.
    terminal.write("/model broken\r");
    terminal.wait("error: broken.gguf: ");
    terminal.write("/model bundled\r");
    let shown = terminal.wait("Type how the next story begins");
    assert!(shown.contains("tok/s"), "{shown}");
    terminal.write("/model speaker\r");
    terminal.wait("speaker.gguf is listening.");
    terminal.write("/load\r");
    terminal.wait("/load NAME goes on with one:");
    terminal.write("/load talk\r");
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
    terminal.write("/min_p\r");
    terminal.wait("min_p 0.1\r\n");
    terminal.write("/temp\r");
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
    let args = [&["chat", "-i", "Tim"][..], &slow].concat();
    let mut terminal = Terminal::start(&args, &folder("stopped"));
    terminal.wait("Tim and");
    // Hands, but quick ones: the story has some 400 tokens, of ten milliseconds or more each.
    for key in ["T", "i", "m", "\r", "\x1b"] {
        terminal.write(key);
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    terminal.wait("stopped");
    terminal.wait("> Tim\r\n");
    terminal.write("\x03");
    terminal.wait("stopped");
    terminal.wait("> ");
    // Stopped and continued, as by the shell's Ctrl-Z and fg.
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
    // A signal that is easily forgotten.
    let mut terminal = Terminal::start(&args, &folder("signalled"));
    terminal.wait("Tim and");
    signal(&terminal, libc::SIGUSR1);
    let status = terminal.child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(libc::SIGUSR1)
    );
    assert_eq!(terminal.modes(), AS_EVER);
}

#[test]
fn reports_pastes_and_broken_bytes() {
    let folder = folder("reported");
    speaker(&folder.join("speaker.gguf"));
    let args = ["chat", "speaker.gguf", "-t", "0", "-n", "4"];
    let mut terminal = Terminal::start(args, &folder);
    terminal.wait("> ");
    let reports: [&[u8]; 6] = [
        b"\x1b[?2026;2$y",
        b"\x1b]11;rgb:0000/0000/0000\x07",
        b"\x1bP>|xterm(379)\x1b\\",
        b"\x1b_Gi=1;OK\x1b\\",
        b"\x1b[8;24;80t",
        b"\x1b]4;1;rgb:00",
    ];
    for (report, letter) in reports.iter().zip("report".bytes()) {
        terminal.bytes(report);
        std::thread::sleep(std::time::Duration::from_millis(600));
        terminal.bytes(&[letter]);
    }
    let mut said = vec!["report"];
    terminal.hands("\r");
    terminal.wait("cut at /max");
    for (typed, text) in [
        (&b"one two|\x1b\x1b[D|x"[..], "one xtwo"),
        (b"first\rsecond\r\n\tthird", "first\nsecond\n\tthird"),
        (b"\x1b[200~a\tb\xff\x1ac\rd\x1b[201~", "a\tb\u{fffd}c\nd"),
        (b"a\xffb\xc3(c\xe6\x97d", "a\u{fffd}b\u{fffd}(c\u{fffd}d"),
    ] {
        terminal.wait("> ");
        for piece in typed.split(|&byte| byte == b'|') {
            terminal.bytes(piece);
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        terminal.hands("\r");
        terminal.wait("cut at /max");
        said.push(text);
    }
    terminal.wait("> ");
    terminal.write("/save talk\r");
    terminal.wait("Saved");
    let saved = fs::read(folder.join("TALK.JSL")).unwrap();
    let saved = llama2_console::conversation::Conversation::parse(&saved).unwrap();
    let questions = saved.messages.iter().step_by(2);
    let questions: Vec<&str> = questions.map(|message| &message.content[..]).collect();
    assert_eq!(questions, said);
}

#[test]
fn a_resized_terminal_and_one_that_was_given_back() {
    let folder = folder("resized");
    speaker(&folder.join("speaker.gguf"));
    let mut terminal = Terminal::start(["chat", "speaker.gguf", "-t", "0"], &folder);
    terminal.wait("> ");
    terminal.write("a line");
    terminal.wait("a line");
    terminal.resize(40);
    terminal.wait("> a line");
    // Ctrl-Z restores the terminal; when the command continues, it takes the terminal again and
    // shows the line. Without a shell it is not stopped: it takes the terminal again after 50 ms.
    terminal.write("\x1a");
    let start = std::time::Instant::now();
    while terminal.modes() != AS_EVER {
        assert!(start.elapsed().as_secs() < 10, "never given back");
    }
    terminal.wait("\x1b[?2004l");
    terminal.wait("\x1b[?2004h");
    terminal.wait("> a line");
    assert_eq!(terminal.modes(), SINGLE_KEYS);
}

/// Returns true if there are no control sequences except those of the input line, no bell, and no
/// bidirectional overrides.
fn is_plain(shown: &str) -> bool {
    ![
        "\x1b]", "\x07", "\u{9b}", "\u{202e}", "\u{2066}", "\x1b[31m",
    ]
    .iter()
    .any(|bad| shown.contains(bad))
}

const BAD: &str = "x\x1b]0;PWN\x07\u{9b}\x1b[31m\u{202e}\u{2066}";

#[test]
fn a_terminal_gets_nothing_that_is_not_plain() {
    let folder = folder("plain");
    let name = format!("{BAD}.gguf");
    speaker(&folder.join(&name));
    fs::write(
        folder.join("LLAMA2.CFG"),
        format!("\"{}\" = 1\n", "a\\u001b]0;PWN\\u0007"),
    )
    .unwrap();
    let mut terminal = Terminal::start(["chat", &name, "-t", "0", "-n", "4"], &folder);
    let mut shown = terminal.wait("> ");
    assert!(
        shown.contains("LLAMA2.CFG") && shown.contains("a]0;PWN"),
        "{shown:?}"
    );
    terminal.write("/model\r");
    shown += &terminal.wait("Esc cancels");
    terminal.write("\x1b");
    shown += &terminal.wait("> ");
    terminal.write("/info\r");
    shown += &terminal.wait("sampling");
    terminal.write("/exit\r");
    assert!(terminal.child.wait().unwrap().success());
    assert!(is_plain(&shown), "{shown:?}");
    // Errors with a path of ours, and with an invalid argument.
    let missing = format!("{BAD}missing.gguf");
    for args in [&["info", &missing][..], &["info", "--threads", BAD], &[BAD]] {
        let mut terminal = Terminal::start(args, &folder);
        let shown = terminal.rest();
        assert!(is_plain(&shown), "{shown:?}");
        assert!(!terminal.child.wait().unwrap().success());
    }
    // A text that continues these words, on a terminal and in a pipe.
    speaker_of(&folder.join("own.gguf"), &[BAD]);
    let own = folder.join("own.gguf").display().to_string();
    let args = ["run", &own, "-t", "0", "-n", "6", "-i", BAD];
    let mut terminal = Terminal::start(args, &folder);
    let shown = terminal.wait("achieved");
    assert!(shown.contains("x]0;PWN") && is_plain(&shown), "{shown:?}");
    assert!(common::text(&common::llama2(args).stdout).contains(BAD));
}

#[test]
fn what_was_typed_is_there_in_the_next_conversation() {
    let folder = folder("history");
    speaker(&folder.join("speaker.gguf"));
    let book = folder.join("state/llama2/history");
    let args = ["chat", "speaker.gguf", "-t", "0", "-n", "4"];
    // Lines from a pipe are not kept, nor any with --no-history.
    let path = folder.join("speaker.gguf").display().to_string();
    common::llama2_with_input(["chat", &path, "-n", "4"], b"Piped?\n");
    let mut terminal = Terminal::start([&args[..], &["--no-history"]].concat(), &folder);
    terminal.wait("> ");
    terminal.write("/temp 0.1\r");
    terminal.wait("temperature 0.1\r\n");
    terminal.write("/exit\r");
    terminal.rest();
    assert!(!book.exists());
    let mut terminal = Terminal::start(args, &folder);
    terminal.wait("> ");
    for (line, said) in [
        ("/temp 0.2", "temperature 0.2"),
        ("/top_p 0.5", "top_p 0.5"),
    ] {
        terminal.write(&format!("{line}\r"));
        terminal.wait(&format!("{said}\r\n"));
    }
    // A paste of two lines is one entry; a killed command has lost none.
    terminal.write("\x1b[200~/temp\rwarm\x1b[201~\r");
    terminal.wait("error: ");
    terminal.child.kill().unwrap();
    terminal.rest();
    let kept = fs::read_to_string(&book).unwrap();
    assert_eq!(kept, "/temp 0.2\n/top_p 0.5\n/temp\\nwarm\n");
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&book).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let mut terminal = Terminal::start(args, &folder);
    terminal.wait("> ");
    // The last but one, and one that is looked for.
    terminal.write("\x1b[A");
    terminal.wait("warm");
    terminal.write("\x1b[A\r");
    terminal.wait("top_p 0.5\r\n");
    terminal.hands("\x120.2\r");
    terminal.wait("temperature 0.2\r\n");
    terminal.write("/exit\r");
    assert!(terminal.child.wait().unwrap().success());
}

#[test]
fn a_model_by_its_path_and_settings_that_are_told() {
    let folder = folder("by path");
    fs::create_dir_all(folder.join("far/away")).unwrap();
    fs::create_dir_all(folder.join("here")).unwrap();
    speaker(&folder.join("far/away/speaker.gguf"));
    fs::write(
        folder.join("here/LLAMA2.CFG"),
        "temperature = 0\nsteps = 4\nseed = 1\n",
    )
    .unwrap();
    let mut terminal = Terminal::start(["chat"], &folder.join("here"));
    terminal.wait("settings of LLAMA2.CFG in this folder");
    terminal.wait("> ");
    let absolute = folder.join("far/away/speaker.gguf").display().to_string();
    for path in ["../far/away/speaker.gguf", &absolute] {
        terminal.write(&format!("/model {path}\r"));
        terminal.wait("speaker.gguf is listening.");
        terminal.wait("> ");
        terminal.write("/model bundled\r");
        terminal.wait("Type how the next story begins");
        terminal.wait("> ");
    }
    terminal.write("/model ../none.gguf\r");
    terminal.wait("error: there is no model");
    terminal.write("/exit\r");
    assert!(terminal.child.wait().unwrap().success());
}
