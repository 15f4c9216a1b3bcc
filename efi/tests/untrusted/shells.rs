//! Use of untrusted bytes as the shells read them: files, a boot entry's options, keys, texts to be
//! shown. There is one function per kind of input, for the fuzzers (`fuzz/`) and for the test that
//! replays their findings. Each panics if a promise is broken.

use llama2_console::{
    commands::{Input, Place, parse},
    complete::{Names, complete},
    config::{self, line, merge, quoted},
    conversation::{Conversation, Speaker},
    decoder::Keys,
    editor::{Editor, EditorEvent},
    filename,
    front::{Bottom, Front, Style},
    history::History,
    keys::Key,
    markdown::Markdown,
    row::Row,
    terminal::Terminal,
    view::Prompt,
};
use llama2_efi::command_line;
use llama2_engine::settings::Settings;
use llama2_settings::{
    Overrides, Param, ParamValue,
    flags::{self, CommandLine},
};

use llama2_testing::{
    gauge::bounded,
    kept::{Seed, kept, seed},
};

/// Reading n bytes must use at most `SHARE` · n + `FLOOR` bytes of memory at once. The worst cases
/// are list elements of two bytes, whose values are much larger, and unknown keys, each of which
/// causes a sentence.
const SHARE: u64 = 512;
const FLOOR: u64 = 64 << 10;

fn most(bytes: &[u8]) -> u64 {
    SHARE * bytes.len() as u64 + FLOOR
}

/// `LLAMA2.CFG`: parsed, salvaged, and edited by `/config`.
pub fn configuration(bytes: &[u8]) {
    let salvaged = bounded("saving", most(bytes), || config::salvage(bytes));
    let (options, warnings) = match bounded("reading", most(bytes), || config::parse(bytes)) {
        Ok(read) => read,
        Err(sentence) => return assert!(sentence.len() > 12, "{sentence}"),
    };
    assert_eq!(options, salvaged);
    assert!(warnings.iter().all(|warning| warning.len() > 12));
    let old = config::decode(bytes).expect("it was read");
    let model = "MODELS\\\"A\".GGUF\t\u{1}日";
    let mut values = Vec::from([("model", quoted(model)), ("system", quoted("''' # [x] ="))]);
    let settings = Overrides::default()
        .with(Param::Temperature, ParamValue::Number(0.8))
        .with(Param::TopK, ParamValue::Number(40.0))
        .with(Param::Seed, ParamValue::Whole(0))
        .with(Param::Think, ParamValue::Word("show"))
        .with(
            Param::Stop,
            ParamValue::Texts(["\n\n".into(), "\"]".into()].into()),
        );
    values.extend(
        settings
            .iter()
            .map(|(spec, value)| (spec.key, line(spec, value))),
    );
    let gone = ["tokenizer", "context"];
    let new = bounded("merging", most(bytes) + FLOOR, || {
        merge(&old, &values, &gone)
    });
    let (read, again) = config::parse(new.as_bytes()).unwrap_or_else(|why| panic!("{why}\n{new}"));
    // All new settings, none of the removed ones, and the rest unchanged.
    let (wanted, _) = config::parse(merge("", &values, &[]).as_bytes()).expect("it is ours");
    assert_eq!(wanted.text(Param::Model), Some(model));
    let mut kept = options;
    kept.set(Param::Tokenizer, None);
    kept.set(Param::Context, None);
    assert_eq!((read, again), (wanted.over(kept), warnings), "{new}");
    assert_eq!(merge(&new, &values, &gone), new);
}

/// File for `/load`, and a name for one.
pub fn conversation(bytes: &[u8]) {
    if let Ok(held) = bounded("reading", most(bytes), || Conversation::parse(bytes)) {
        let mut roles = [Speaker::User, Speaker::Assistant].into_iter().cycle();
        assert!(
            held.messages
                .iter()
                .all(|message| roles.next() == Some(message.role))
        );
        let again = Conversation::parse(held.to_lines().as_bytes());
        assert_eq!(again.as_ref(), Ok(&held));
    }
    let name = String::from_utf8_lossy(bytes);
    if let Ok(name) = filename::of(&name) {
        assert!(filename::is_conversation(&name), "{name:?}");
        assert!(
            name.chars().count() < 80 && !name.starts_with('.'),
            "{name:?}"
        );
        let is_bad = |letter: char| letter.is_control() || "/\\:*?\"<>|".contains(letter);
        assert!(!name.contains(is_bad), "{name:?}");
        assert_eq!(filename::of(&name).as_ref(), Ok(&name));
        assert_ne!(filename::temporary(&name), name);
    }
}

/// Options of a boot entry, and words of the UEFI Shell, one per line.
pub fn command_line(bytes: &[u8]) {
    let options = bounded("splitting", most(bytes), || {
        command_line::load_options(bytes)
    });
    let text = String::from_utf8_lossy(bytes);
    let words = text.split('\n').map(String::from).collect();
    for words in [options.unwrap_or_default(), words] {
        let exit = flags::exit(&words);
        match bounded("reading", most(bytes), || flags::parse(&words)) {
            Ok(CommandLine::Run(options)) => {
                // Both search in their own way; a value that looks like the flag is a value.
                assert!(options.text(Param::Exit).is_none() || exit.is_some());
                assert!(
                    options.whole(Param::Threads) != Some(0)
                        && options.whole(Param::Context) != Some(0)
                );
                let settings = Settings::from(&*options);
                let temperature = settings.sampling.get(Param::Temperature);
                assert_eq!(
                    temperature.map(f32::to_bits),
                    options.number(Param::Temperature).map(f32::to_bits)
                );
            }
            Ok(CommandLine::Help) => (),
            Err(sentence) => assert!(sentence.len() > 12, "{sentence}"),
        }
    }
}

/// Longest line typed here, in bytes.
const LONGEST: usize = 300;

/// Bytes of a serial line or a terminal; the first one determines the speed of the others.
pub fn keys(bytes: &[u8]) {
    let Some((pace, bytes)) = bytes.split_first() else {
        return;
    };
    let pauses = [0, 0, 1, 4, 31, 60, 300, 2100];
    let mut decoder = Keys::new();
    let mut editor = Editor::new(LONGEST, History::new(4, 1000));
    let mut now = 1000;
    let mut keys = Vec::new();
    for (i, &byte) in bytes.iter().enumerate() {
        let pause = pauses[usize::from(*pace) >> (i % 6) & 7];
        now += pause;
        if pause > 1 {
            keys.extend(decoder.idle(now));
        }
        keys.extend(decoder.byte(byte, now));
        decoder.place();
    }
    // After any input and a pause, a letter is a letter.
    for _ in 0..8 {
        now += 5000;
        keys.extend(decoder.idle(now));
    }
    assert!(!decoder.is_waiting());
    keys.extend(decoder.byte(b'a', now + 5000));
    keys.extend(decoder.idle(now + 10_000));
    assert_eq!(keys.last(), Some(&Key::Char('a')));
    assert!(keys.len() <= 2 * bytes.len() + 2, "{keys:?}");
    let names = ["Qwen.gguf".to_string(), "日本.GGUF".into()];
    for key in keys {
        if let Key::Char(letter) = key {
            assert!(letter == '\t' || !letter.is_control(), "{letter:?}");
        }
        let event = editor.press(key);
        let (text, cursor) = (editor.text(), editor.cursor());
        assert!(text.len() <= LONGEST && text.is_char_boundary(cursor));
        match event {
            EditorEvent::Submitted(line) => {
                if let Ok(Input::Text(said)) = parse(&line, Place::Boot) {
                    assert!(said.len() <= line.len());
                }
            }
            EditorEvent::CompleteWanted => {
                let names = Names {
                    models: &names,
                    conversations: &names,
                };
                complete(&text[..cursor], names, Place::Hosted).apply(&mut editor);
                assert!(editor.text().len() <= LONGEST);
            }
            _ => (),
        }
    }
}

/// Texts, with a line below them, on a terminal whose width is given by the first byte.
pub fn terminal(bytes: &[u8]) {
    let Some((&columns, bytes)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(bytes);
    let mut terminal = Terminal::new(80, 24, false);
    if columns > 0 {
        terminal.set_size(columns.into(), usize::from(columns / 3) + 1);
    }
    // As models write them: in pieces.
    for piece in text.split_inclusive(' ') {
        terminal.show(Style::Answer, piece);
    }
    terminal.bottom(Bottom::Nothing);
    terminal.lay_out(Style::Info, &|_| text.to_string());
    let shown = terminal.take();
    let is_heard = |letter: char| letter.is_control() && !"\r\n\t".contains(letter);
    assert!(!shown.contains(is_heard), "{shown:?}");
    assert!(shown.len() <= 2 * text.len() * 2 + 16, "{}", shown.len());
    // An answer moves the cursor, but never more than that.
    for piece in text.split_inclusive(' ') {
        terminal.show(Style::Markdown, piece);
    }
    terminal.bottom(Bottom::Nothing);
    let shown = terminal.take().replace("\x1b[", "");
    let is_heard = |letter: char| letter.is_control() && !"\r\n\t\x08".contains(letter);
    assert!(!shown.contains(is_heard), "{shown:?}");
    // Typed input may be a paste, but not longer than that.
    let mut editor = Editor::new(4 * LONGEST, History::default());
    for letter in text
        .chars()
        .filter(|letter| !letter.is_control() || *letter == '\n')
    {
        editor.press(match letter {
            '\n' => Key::Newline,
            _ => Key::Char(letter),
        });
    }
    let prompt = Prompt {
        first: "> ",
        more: ". ",
    };
    for step in 0..4 {
        let (text, cursor) = (editor.text(), editor.cursor());
        terminal.bottom(Bottom::Line {
            prompt,
            text,
            cursor,
        });
        editor.press([Key::Home, Key::WordLeft, Key::Backspace, Key::Up][step]);
    }
    terminal.set_size(usize::from(columns) / 2, 5);
    terminal.bottom(Bottom::Note(&text));
    terminal.keep_line();
}

/// An answer in Markdown, whose width and pieces are given by the first byte.
pub fn markdown(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else {
        return;
    };
    let (width, cut) = (2 + usize::from(first) / 4, 1 + usize::from(first) % 4);
    let text = String::from_utf8_lossy(bytes);
    let letters: Vec<char> = text.chars().collect();
    let rows = |cut: usize| {
        let mut markdown = Markdown::new(width);
        let mut all: Vec<Row> = Vec::new();
        for piece in letters.chunks(cut) {
            markdown.push(&piece.iter().collect::<String>());
            let (mut rows, done) = markdown.rows(false);
            assert!(rows.iter().all(|row| row.columns() <= width), "{rows:?}");
            rows.truncate(done);
            all.append(&mut rows);
        }
        markdown.finish();
        all.append(&mut markdown.rows(false).0);
        all
    };
    let all = rows(letters.len().max(1));
    assert_eq!(all, rows(cut), "it is the same in any pieces");
    // An address that is the text of its link is shown once. Control characters are passed over.
    let is_link = |letters: &[char]| letters == [']', '('];
    let kept: Vec<char> = letters
        .iter()
        .copied()
        .filter(|l| !l.is_control())
        .collect();
    if !kept.windows(2).any(is_link) {
        let mut counts = std::collections::BTreeMap::new();
        let shown = all.iter().flat_map(|row| row.text().chars());
        let letters = shown
            .map(|letter| (letter, 1))
            .chain(letters.iter().map(|l| (*l, -1)));
        for (letter, count) in letters.filter(|(letter, _)| letter.is_alphanumeric()) {
            *counts.entry(letter).or_insert(0) += count;
        }
        assert!(
            counts.values().all(|&count| count == 0),
            "no letter of a word is lost"
        );
    }
}

/// Valid inputs of a target, and those kept by fuzzers.
pub fn seeds(target: &str) -> Vec<Seed> {
    let utf16 =
        |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
    let mut seeds = match target {
        "configuration" => {
            let all = "# ours\nmodel = 'MODELS\\A.GGUF' # mine\ntokenizer = \"T.BIN\"\nprompt = \"\"\"\nÜnï\n= 日\"\"\"\nsteps = 100\ntemperature = 0\n\
                top_p = 0.95\n\"seed\" = 42\nmode = \"chat\"\nsystem = \"Be \\u00fc.\"\nlog = true\nexit = \"shutdown\"\ntop_k = 20\nmin_p = 0\n\
                typical = 0.9\nrepeat_penalty = 1.1\nrepeat_last_n = 32\nfrequency_penalty = 0.5\n\
                presence_penalty = -0.5\n\
                logit_bias = [\"7=-1.5\", '8=2']\nstop = [\n 'User:', # one\n \"\\n\\n\"\n]\nthink = 'hide'\nthreads = 3\ncontext = 100\n\
                kernels = \"avx2\"\nkv = 'f16'\nbench = false\nkeyboard = 'de'\ndisplay = \"text\"\nmodle = 'x'\n[table]\nmodel = 1\n";
            Vec::from([
                seed("all", all),
                seed("mark", [b"\xef\xbb\xbf", all.as_bytes()].concat()),
                seed(
                    "utf16",
                    [&b"\xff\xfe"[..], &utf16("model = 'a'\r\n")].concat(),
                ),
                seed("plain-utf16", utf16("seed = 1\r\nkv = 'q8_0'\r\n")),
                seed("windows", "temperature = 0.5\r\nstop = 'a'\r\n\x1a"),
                seed(
                    "wrong",
                    "temperature = 'hot'\nmodel = \"A\\B\"\nsteps = -1\n",
                ),
            ])
        }
        "conversation" => {
            let head = r#"{"format":"llama2-conversation","version":1,"model":"Qwen3","system":"Be \"brief\".\n日","settings":{"temperature":0.7,"top_p":0.9,"top_k":20,"min_p":0.1,"repeat_penalty":1.1,"repeat_last_n":32,"max":100,"think":"hide","stop":["\nUser:"],"seed":18446744073709551615}}"#;
            let turns = r#"{"role":"user","content":"Hi\u0001 \ud83d\ude42"}
{"role":"assistant","content":"Hello!","thinking":"They greet."}
{"role":"user","content":"Two\nlines"}
"#;
            Vec::from([
                seed("whole", format!("{head}\n{turns}")),
                seed(
                    "windows",
                    format!("\u{feff}{head}\n{turns}").replace('\n', "\r\n"),
                ),
                seed(
                    "least",
                    r#"{"format":"llama2-conversation","version":1,"model":""}"#,
                ),
                seed("name", "a talk of mine.jsonl"),
                seed("short-name", "chat-1"),
                seed("device", "com1.x.jsl"),
            ])
        }
        "command_line" => {
            let long = "-t 0.5 -p 1 -s -7 -n 10 -i \"Once upon\" -m chat -y s --exit=return --log \
                        --bench --threads 2 --context=64 --kernels avx2 --kv f16 --think off \
                        --stop \"a b\" --logit-bias 7=-1.5 --top-k 20 --min-p=0.1 --typical 0.9 \
                        --repeat-penalty 1.1 --repeat-last-n 32 --frequency-penalty=-1 \
                        --presence-penalty -0.5 --keyboard FR --display=text\0";
            Vec::from([
                seed("options", utf16(long)),
                seed("words", long.replace(' ', "\n")),
                seed("mark", [&b"\xff\xfe"[..], &utf16("-n 5\r\n")].concat()),
                seed("bytes", "-n 5 --exit key"),
                seed("path", utf16("\\EFI\\BOOT\\BOOTX64.EFI")),
                seed("help", "model.gguf\n--help"),
            ])
        }
        "keys" => Vec::from([
            seed(
                "words",
                "\0Once upon a time\r/temp 0.5\r/mo\t\x08\x7f\x01\x05\x0b\x19\x17\x15",
            ),
            seed(
                "arrows",
                "\x15\x1b[A\x1b[1;5D\x1bOC\x1b\x1b[D\x1b[3~\x1b[H\x1b[F\x1b[[A\x1b[7$\x1bb\x1bf",
            ),
            seed("paste", "\x02\x1b[200~two\r\nlines\twide\x1b[201~\r"),
            seed(
                "reports",
                "\x07\x1b[24;80R\x1b[?62;1;6c\x1b]11;rgb:0/0/0\x1b\\\x1b]0;t\x07\x1bP>|x(1)\x1b\\\x1b_a\x1b\\q",
            ),
            seed(
                "spelling",
                "\x3f\x1b[27;5;13~\x1b[97;5u\x1b[13;2u\x1b[200~never ended",
            ),
            seed(
                "letters",
                [
                    b"\x09".as_slice(),
                    "日🙂e\u{301}".as_bytes(),
                    b"\xe6\x97\xff\xc3\xc0\x80\x9b",
                ]
                .concat(),
            ),
            seed(
                "complete",
                "\0/model q\t\r/load 日\t\r/he\t\t\r/help t\t\r//x\r\\\r",
            ),
        ]),
        "markdown" => Vec::from([
            seed(
                "all",
                "\x50# T\n\nA **b** *c* _d_ `e` [f](g) \\* ***h***\n- i\n  1. j\n> k\n---\n\
                 ```rust\nl();\n```\n| m | n |\n|:-|-:|\n| o | p \\| q |\n",
            ),
            seed("open", "\x21**a `b [c](d\n~~~\ne\n"),
            seed(
                "wide",
                "\x0a| 日本 | 🙂 |\n|-|-|\n| a b c | e\u{301} |\n2*3*4 **粗**体",
            ),
        ]),
        _ => Vec::from([
            seed(
                "words",
                "\x50Once upon a time, there was a tree. \x1b]0;title\x07\x1b[31mred\u{9b}2J\r\n",
            ),
            seed(
                "narrow",
                "\x01a 日本語 long-word-without-blanks\n\n\t🙂 e\u{301}\u{200d}",
            ),
            seed(
                "wide",
                "\x1e日本語日本語日本語日本語日本語日本語日本語\n  two  blanks  ",
            ),
            seed(
                "right-to-left",
                "\x28\u{202e}abc\u{2066}x\u{2069} שלום\u{200f}",
            ),
        ]),
    };
    seeds.extend(kept(target));
    seeds
}
