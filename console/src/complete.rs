//! Tab completion and the text of `/help`, both from the table of commands.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use unicode_segmentation::UnicodeSegmentation;

use crate::{
    commands::{CommandEntry, HelpTopic, Place, Values, all, find},
    editor::Editor,
    width,
    width::is_plain,
    wrap::Wrap,
};

/// Names that only the shell knows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Names<'a> {
    /// Names of models that can be chosen.
    pub models: &'a [String],
    /// Names of conversations that can be loaded.
    pub conversations: &'a [String],
}

/// Completions of the text from `start` to the cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// Offset in the text, in bytes.
    pub start: usize,
    /// Complete words.
    pub candidates: Vec<String>,
    /// True if something must follow the word.
    pub more: bool,
}

/// Result of applying a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Completed {
    /// Nothing fits; the shell should ring the bell.
    Nothing,
    /// The line changed.
    Redraw,
    /// Several words fit: the shell should show them above the line ([`columns`] formats them). The
    /// line may have grown by their common prefix.
    Choices(Vec<String>),
}

/// Kind of values that the command in `before`, the text before the cursor, accepts.
pub fn values(before: &str) -> Values {
    let name = before.strip_prefix('/').unwrap_or_default();
    match name.split_once(char::is_whitespace) {
        Some((name, _)) => find(name).map_or(Values::None, |entry| entry.values),
        None => Values::None,
    }
}

/// Finds the completions of the text before the cursor.
pub fn complete(before: &str, names: Names<'_>, place: Place) -> Completion {
    let mut completion = Completion {
        start: 0,
        candidates: Vec::new(),
        more: false,
    };
    if !before.starts_with('/') || before.starts_with("//") {
        return completion;
    }
    let Some(blank) = before.find(char::is_whitespace) else {
        let typed = &before[1..];
        let fits = commands(place).filter(|entry| begins(entry.name, typed));
        let fits: Vec<CommandEntry> = fits.collect();
        completion.more = matches!(fits[..], [entry] if !entry.arguments.is_empty());
        completion.candidates = fits
            .iter()
            .map(|entry| format!("/{}", entry.name))
            .collect();
        return completion;
    };
    let Some(entry) = find(&before[1..blank]) else {
        return completion;
    };
    let value = before[blank..].trim_start();
    completion.start = before.len() - value.len();
    let known: Vec<&str> = match entry.values {
        Values::None => Vec::new(),
        Values::Words(words) => words.to_vec(),
        Values::Models => names.models.iter().map(String::as_str).collect(),
        Values::Conversations => names.conversations.iter().map(String::as_str).collect(),
        Values::Commands => commands(place)
            .map(|entry| entry.name)
            .chain(["all"])
            .collect(),
    };
    let fit = |test: &dyn Fn(&str) -> bool| -> Vec<String> {
        // A name that would be more than text on a line can be chosen from a menu.
        let is_text = |name: &str| name.chars().all(|c| is_plain(c) && !c.is_control());
        let fits = known.iter().filter(|name| is_text(name) && test(name));
        fits.map(|name| name.to_string()).collect()
    };
    completion.candidates = fit(&|name| begins(name, value));
    if completion.candidates.is_empty() && !value.is_empty() {
        // A part of the name, if it is unique: /model qwen for MODELS/Qwen3-0.6B.gguf.
        let lower = value.to_lowercase();
        completion.candidates = fit(&|name| name.to_lowercase().contains(&lower));
        if completion.candidates.len() > 1 {
            completion.candidates.clear();
        }
    }
    completion
}

fn commands(place: Place) -> impl Iterator<Item = CommandEntry> {
    all().filter(move |entry| place == Place::Boot || !entry.only_boot)
}

/// Returns true if a name begins as typed, ignoring case; `-` may be written for `_`.
fn begins(name: &str, typed: &str) -> bool {
    let mut letters = name.chars();
    typed
        .chars()
        .all(|typed| letters.next().is_some_and(|letter| is_alike(letter, typed)))
}

fn is_alike(a: char, b: char) -> bool {
    a.to_lowercase().eq(b.to_lowercase()) || a == '_' && b == '-'
}

impl Completion {
    /// Changes the line: to the word if only one fits, else to their common prefix.
    pub fn apply(self, editor: &mut Editor) -> Completed {
        let range = self.start..editor.cursor();
        let typed = editor
            .text()
            .get(range.clone())
            .unwrap_or_default()
            .to_string();
        let Some((first, others)) = self.candidates.split_first() else {
            return Completed::Nothing;
        };
        let mut common = first.as_str();
        for other in others {
            let mut alike = common.grapheme_indices(true).zip(other.graphemes(true));
            let end = alike.find(|((_, a), b)| a != b).map(|((at, _), _)| at);
            common = &common[..end.unwrap_or(common.len().min(other.len()))];
        }
        let mut with = common.to_string();
        if others.is_empty() && self.more && editor.cursor() == editor.text().len() {
            with.push(' ');
        }
        // Names that differ in case at their beginning may have less in common than was typed.
        let grown = with.len() >= typed.len() && with != typed && editor.replace(range, &with);
        match (others.is_empty(), grown) {
            (true, false) => Completed::Nothing,
            (true, true) => Completed::Redraw,
            (false, _) => Completed::Choices(self.candidates),
        }
    }
}

/// Formats words in as many columns as fit into `width`, to be read downwards; each row ends in a
/// line break.
pub fn columns(words: &[String], width: usize) -> String {
    let widest = words
        .iter()
        .map(|word| width::text(word))
        .max()
        .unwrap_or(0)
        + 2;
    let across = (width.saturating_sub(1) / widest).max(1);
    let down = words.len().div_ceil(across);
    let mut out = String::new();
    for row in 0..down {
        for (i, word) in words.iter().skip(row).step_by(down.max(1)).enumerate() {
            if i > 0 {
                let gone = width::text(out.rsplit('\n').next().unwrap_or_default());
                (gone..i * widest).for_each(|_| out.push(' '));
            }
            out.push_str(word);
        }
        out.push('\n');
    }
    out
}

fn usage(entry: &CommandEntry) -> String {
    match entry.arguments {
        "" => format!("/{}", entry.name),
        arguments => format!("/{} {arguments}", entry.name),
    }
}

/// Text of `/help`, in lines of fewer than `width` columns.
pub fn help(topic: HelpTopic, place: Place, width: usize) -> String {
    match topic {
        HelpTopic::Short => help_short(place, width),
        HelpTopic::All => help_all(place, width),
        HelpTopic::Command(name) => {
            find(name).map_or(String::new(), |entry| help_of(&entry, width))
        }
    }
}

/// The few commands that everybody needs.
fn help_short(place: Place, width: usize) -> String {
    let mut rows: Vec<(String, &str)> = commands(place)
        .filter(|entry| entry.is_common)
        .map(|entry| (usage(&entry), entry.help))
        .collect();
    rows.push((KEYS[0].0.into(), KEYS[0].1));
    rows.push((
        "/help all".into(),
        "Lists all commands and keys; /help temp explains one.",
    ));
    let mut out = String::new();
    let widest = rows.iter().map(|(left, _)| width::text(left)).max();
    for (left, right) in &rows {
        row(left, right, widest.unwrap_or(0) + 2, width, &mut out);
    }
    out
}

/// All commands and keys, in groups.
fn help_all(place: Place, width: usize) -> String {
    let widest = commands(place).map(|entry| width::text(&usage(&entry)));
    let widest = widest.max().unwrap_or(0) + 2;
    let mut out = String::new();
    let mut group = "";
    let heading = |group: &str, out: &mut String| {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&format!("{}\n", width::cut(group, width.max(2) - 1)));
    };
    for entry in commands(place) {
        if entry.group != group {
            group = entry.group;
            heading(group, &mut out);
        }
        row(&usage(&entry), entry.help, widest, width, &mut out);
    }
    heading("Keys", &mut out);
    for (key, does) in KEYS {
        row(key, does, widest, width, &mut out);
    }
    out
}

/// Keys explained in `/help all`; the first in `/help`, too.
const KEYS: [(&str, &str); 9] = [
    ("Esc, Ctrl-C", "Stop a reply; the text so far stays."),
    (
        "\\ at the end",
        "A backslash, then Return, begins another line; so does Alt-Enter.",
    ),
    ("//text", "Sends a text that begins with a slash."),
    ("Tab", "Completes commands and names."),
    ("Up, Down", "Recall earlier lines."),
    (
        "Ctrl-R",
        "Searches earlier lines; again for an older one, Esc cancels.",
    ),
    (
        "PgUp, PgDn",
        "Scroll the full screen; elsewhere the terminal scrolls.",
    ),
    ("Ctrl-L", "Clears the screen."),
    ("Ctrl-D", "Leaves, on an empty line."),
];

/// Appends two columns, of which the second is wrapped; without enough room it is put below the
/// first.
fn row(left: &str, right: &str, indent: usize, width: usize, out: &mut String) {
    let width = width.max(2) - 1;
    let beside = indent + 24 <= width;
    let indent = if beside { indent } else { 4.min(width / 4) };
    let left = if beside {
        left
    } else {
        width::cut(left, width)
    };
    if !left.is_empty() {
        // A name.
        out.push_str(left);
        out.push('\t');
    }
    let gone = if beside { width::text(left) } else { 0 };
    if !beside {
        out.push('\n');
    }
    let mut lines = String::new();
    let mut wrap = Wrap::new(width - indent);
    wrap.push(right, &mut lines);
    wrap.flush(&mut lines);
    for (i, line) in lines.lines().enumerate() {
        let from = if i == 0 { gone } else { 0 };
        (from..indent).for_each(|_| out.push(' '));
        out.push_str(line.trim_end());
        out.push('\n');
    }
}

/// A command, with its aliases.
fn help_of(entry: &CommandEntry, width: usize) -> String {
    let mut out = format!("/{} {}", entry.name, entry.arguments)
        .trim_end()
        .to_string();
    out.push('\n');
    row("", entry.help, 2, width, &mut out);
    if !entry.also.is_empty() {
        let names: Vec<String> = entry.also.iter().map(|name| format!("/{name}")).collect();
        out.push_str(&format!("  Also: {}\n", names.join(", ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;

    fn names() -> (Vec<String>, Vec<String>) {
        let own = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        (
            own(&[
                "Qwen3-0.6B.gguf",
                "Qwen3-1.7B.gguf",
                "models/stories.bin",
                "日本.gguf",
            ]),
            own(&["CHAT0001.JSL", "holidays.jsl"]),
        )
    }

    fn candidates(before: &str) -> (usize, Vec<String>) {
        let (models, conversations) = names();
        let names = Names {
            models: &models,
            conversations: &conversations,
        };
        let completion = complete(before, names, Place::Boot);
        (completion.start, completion.candidates)
    }

    #[test]
    fn what_fits() {
        for (before, start, want) in [
            ("/te", 0, &["/temp"][..]),
            (
                "/T",
                0,
                &[
                    "/temp",
                    "/top_p",
                    "/think",
                    "/top_k",
                    "/typical",
                    "/top_n_sigma",
                ],
            ),
            ("/top-", 0, &["/top_p", "/top_k", "/top_n_sigma"]),
            ("/model q", 7, &["Qwen3-0.6B.gguf", "Qwen3-1.7B.gguf"]),
            ("/model  1.7", 8, &["Qwen3-1.7B.gguf"]),
            ("/model stories", 7, &["models/stories.bin"]),
            ("/model gguf", 7, &[]),
            ("/load h", 6, &["holidays.jsl"]),
            ("/save ", 6, &["CHAT0001.JSL", "holidays.jsl"]),
            ("/think ", 7, &["show", "hide", "off"]),
            ("/help mo", 6, &["model"]),
            ("/help al", 6, &["all"]),
            ("/temp ", 6, &[]),
            ("/nothing ", 0, &[]),
            ("hello", 0, &[]),
            ("//te", 0, &[]),
            ("", 0, &[]),
        ] {
            let want: Vec<String> = want.iter().map(|name| name.to_string()).collect();
            assert_eq!(candidates(before), (start, want), "{before}");
        }
        let hosted = complete("/", Names::default(), Place::Hosted).candidates;
        assert_eq!(
            hosted.len(),
            all().count() - 3,
            "none that the host cannot do"
        );
    }

    #[test]
    fn tab_changes_the_line() {
        let (models, conversations) = names();
        let names = Names {
            models: &models,
            conversations: &conversations,
        };
        let tab = |text: &str| {
            let mut editor = Editor::default();
            editor.set_text(text);
            let completed = complete(editor.text(), names, Place::Boot).apply(&mut editor);
            (completed, editor.text().to_string())
        };
        assert_eq!(tab("/te"), (Completed::Redraw, "/temp ".into()));
        assert_eq!(tab("/INF"), (Completed::Redraw, "/info".into()));
        assert_eq!(tab("/info"), (Completed::Nothing, "/info".into()));
        assert_eq!(tab("/xyz"), (Completed::Nothing, "/xyz".into()));
        assert_eq!(tab("/model q").1, "/model Qwen3-");
        assert!(matches!(tab("/model q").0, Completed::Choices(all) if all.len() == 2));
        assert_eq!(tab("/model 日").1, "/model 日本.gguf");
        assert_eq!(tab("/model 1.7").1, "/model Qwen3-1.7B.gguf");
        // Text behind the cursor stays.
        let mut editor = Editor::default();
        editor.set_text("/tex");
        editor.press(Key::Left);
        let completion = complete("/te", names, Place::Boot);
        assert_eq!(completion.apply(&mut editor), Completed::Redraw);
        assert_eq!(editor.text(), "/tempx");
        // One that is no longer about this line changes nothing.
        let stale = Completion {
            start: 90,
            candidates: vec!["a".into()],
            more: false,
        };
        assert_eq!(stale.apply(&mut editor), Completed::Nothing);
    }

    #[test]
    fn help_fits_every_width() {
        for place in [Place::Boot, Place::Hosted] {
            for width in [2, 10, 40, 60, 80, 132] {
                let text = help_all(place, width);
                for line in text.lines().chain(help_short(place, width).lines()) {
                    let columns = width::text(&line.replace('\t', ""));
                    assert!(columns < width, "{width}: {line}");
                }
                if width > 20 {
                    for entry in commands(place) {
                        assert!(text.contains(&format!("/{}", entry.name)), "{}", entry.name);
                    }
                }
            }
        }
        assert!(!help_all(Place::Hosted, 80).contains("/reboot"));
        assert_eq!(help_short(Place::Boot, 80).lines().count(), 7);
        let text = help_of(&find("exit").unwrap(), 80);
        assert_eq!(text, "/exit\n  Leave.\n  Also: /quit, /bye\n");
    }

    #[test]
    fn words_in_columns() {
        let words: Vec<String> = ["one", "two", "日本語", "four", "5"]
            .iter()
            .map(|word| word.to_string())
            .collect();
        assert_eq!(columns(&words, 20), "one     four\ntwo     5\n日本語\n");
        assert_eq!(columns(&words, 3), "one\ntwo\n日本語\nfour\n5\n");
        assert_eq!(columns(&[], 80), "");
    }
}
