//! What a person can set about a conversation: shown and changed by commands, saved with it, and written into `LLAMA2.CFG`.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};

use crate::commands::{Change, Command, MOST_REPEAT_LAST, MOST_TEMPERATURE, Seed, Think};

/// Most stop strings.
const MOST_STOPS: usize = 16;

/// Samplers and such. The defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// 1 keeps all.
    pub top_p: f32,
    /// 0 keeps all.
    pub top_k: usize,
    /// 0 keeps all.
    pub min_p: f32,
    /// 1 does nothing.
    pub repeat_penalty: f32,
    /// Tokens back that the penalty looks.
    pub repeat_last_n: usize,
    /// `None`: another one each time.
    pub seed: Option<u64>,
    /// Most tokens of a reply; 0: as many as the context holds.
    pub max: usize,
    /// What becomes of thoughts.
    pub think: Think,
    /// Texts that end a reply.
    pub stop: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            temperature: 0.8,
            top_p: 0.95,
            top_k: 40,
            min_p: 0.05,
            repeat_penalty: 1.0,
            repeat_last_n: 64,
            seed: None,
            max: 0,
            think: Think::Show,
            stop: Vec::new(),
        }
    }
}

impl Settings {
    /// Whether every number is in the range that the commands have.
    ///
    /// # Errors
    /// A sentence: which number, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, least, most) in [
            ("temperature", self.temperature, 0.0, MOST_TEMPERATURE),
            ("top_p", self.top_p, 0.0, 1.0),
            ("min_p", self.min_p, 0.0, 1.0),
            ("repeat_penalty", self.repeat_penalty, 0.1, 10.0),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!(
                    "{name} is {value}, but must be from {least} to {most}"
                ));
            }
        }
        if self.repeat_last_n > MOST_REPEAT_LAST {
            return Err(format!(
                "repeat_last_n is {}, but {MOST_REPEAT_LAST} is the most",
                self.repeat_last_n
            ));
        }
        if self.stop.len() > MOST_STOPS || self.stop.iter().any(String::is_empty) {
            return Err(format!(
                "there are {} texts to stop at, but at most {MOST_STOPS} are allowed, none of them empty",
                self.stop.len()
            ));
        }
        Ok(())
    }

    /// Does what a command says about the settings, and tells how things are now; `None` if the command is about something else.
    pub fn apply(&mut self, command: &Command) -> Option<String> {
        let keeps_all = |off: bool| if off { " (keeps all)" } else { "" };
        Some(match command {
            Command::Temperature(to) => {
                self.temperature = to.unwrap_or(self.temperature);
                let greedy = if self.temperature == 0.0 {
                    " (the likeliest token each time)"
                } else {
                    ""
                };
                format!("temperature {}{greedy}", self.temperature)
            }
            Command::TopP(to) => {
                self.top_p = to.unwrap_or(self.top_p);
                format!("top_p {}{}", self.top_p, keeps_all(self.top_p == 1.0))
            }
            Command::TopK(to) => {
                self.top_k = to.unwrap_or(self.top_k);
                format!("top_k {}{}", self.top_k, keeps_all(self.top_k == 0))
            }
            Command::MinP(to) => {
                self.min_p = to.unwrap_or(self.min_p);
                format!("min_p {}{}", self.min_p, keeps_all(self.min_p == 0.0))
            }
            Command::Repeat(to) => {
                if let Some(to) = to {
                    self.repeat_penalty = to.penalty;
                    self.repeat_last_n = to.last.unwrap_or(self.repeat_last_n);
                }
                let none = if self.repeat_penalty == 1.0 {
                    " (none)"
                } else {
                    ""
                };
                format!(
                    "repetition penalty {}{none}, over the last {} tokens",
                    self.repeat_penalty, self.repeat_last_n
                )
            }
            Command::Seed(to) => {
                match to {
                    Some(Seed::Random) => self.seed = None,
                    Some(Seed::Fixed(seed)) => self.seed = Some(*seed),
                    None => (),
                }
                match self.seed {
                    Some(seed) => format!("seed {seed}"),
                    None => "seed random".to_string(),
                }
            }
            Command::Max(to) => {
                self.max = to.unwrap_or(self.max);
                match self.max {
                    0 => "a reply is as long as the context holds".to_string(),
                    max => format!("a reply has at most {max} tokens"),
                }
            }
            Command::Think(to) => {
                self.think = to.unwrap_or(self.think);
                format!("think {}", self.think.name())
            }
            Command::Stop(to) => {
                match to {
                    Some(Change::Off) => self.stop.clear(),
                    Some(Change::To(text)) if self.stop.contains(text) => (),
                    Some(Change::To(_)) if self.stop.len() >= MOST_STOPS => {
                        return Some(format!(
                            "{MOST_STOPS} texts to stop at are the most: /stop off removes them"
                        ));
                    }
                    Some(Change::To(text)) => self.stop.push(text.clone()),
                    None => (),
                }
                match self.stop[..] {
                    [] => "no text ends a reply but the model's own".to_string(),
                    _ => {
                        let all: Vec<String> = self.stop.iter().map(|text| quoted(text)).collect();
                        format!("replies end at {}", all.join(", "))
                    }
                }
            }
            _ => return None,
        })
    }

    /// The settings as keys and values of `LLAMA2.CFG`, for [`merge`].
    pub fn wishes(&self) -> Vec<(&'static str, String)> {
        let stops: Vec<String> = self.stop.iter().map(|text| quoted(text)).collect();
        Vec::from([
            ("temperature", self.temperature.to_string()),
            ("top_p", self.top_p.to_string()),
            ("top_k", self.top_k.to_string()),
            ("min_p", self.min_p.to_string()),
            ("repeat_penalty", self.repeat_penalty.to_string()),
            ("repeat_last_n", self.repeat_last_n.to_string()),
            // TOML's whole numbers have 63 bits and a sign; the shell takes them as they are in 64.
            ("seed", (self.seed.unwrap_or(0) as i64).to_string()),
            ("steps", self.max.to_string()),
            ("think", quoted(self.think.name())),
            ("stop", format!("[{}]", stops.join(", "))),
        ])
    }
}

/// A text as TOML has it in quotes (version 1.0, "String"), in one line.
pub fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            _ if letter.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

/// A line of a configuration file before its first table, with the lines that its value goes on in.
struct Entry<'t> {
    whole: String,
    /// The key that it sets.
    key: Option<Cow<'t, str>>,
    /// The key that it would set if it were no comment.
    commented: Option<&'t str>,
}

/// The entries before the first table, and the rest.
fn entries(text: &str) -> (Vec<Entry<'_>>, String) {
    let mut entries = Vec::new();
    let mut rest = String::new();
    let mut lines = text.trim_start_matches('\u{feff}').lines();
    while let Some(line) = lines.next() {
        // From the first table on, a key would belong to it.
        if line.trim_start().starts_with('[') {
            for line in core::iter::once(line).chain(lines.by_ref()) {
                rest.push_str(line);
                rest.push('\n');
            }
            break;
        }
        let mut whole = String::from(line);
        while !is_ended(whole.split_once('=').map_or("", |(_, value)| value)) {
            let Some(more) = lines.next() else { break };
            whole.push('\n');
            whole.push_str(more);
        }
        entries.push(Entry {
            whole,
            key: set_by(line),
            commented: line.trim_start().strip_prefix('#').and_then(would_set),
        });
    }
    (entries, rest)
}

/// The key that a line sets; it may be in quotes, and in those of two strokes with escapes, which
/// are JSON's but for a longer one.
fn set_by(line: &str) -> Option<Cow<'_, str>> {
    let (key, value) = line.split_once('=')?;
    let key = key.trim();
    let escaped = || serde_json::from_str(&key.replace("\\U0000", "\\u")).ok();
    let read = (key.starts_with('"') && key.contains('\\')).then(escaped);
    (!value.is_empty()).then(|| match read.flatten() {
        Some(key) => Cow::Owned(key),
        None => Cow::Borrowed(key.trim_matches(['"', '\''])),
    })
}

/// The same of a comment, which may also be a sentence: behind the key there must stand what begins as a value does.
fn would_set(comment: &str) -> Option<&str> {
    let (key, value) = comment.split_once('=')?;
    let begins = |letter: char| letter.is_ascii_digit() || "\"'[+-.".contains(letter);
    let value = value.trim();
    let is_value = value.starts_with(begins) || value == "true" || value == "false";
    is_value.then(|| key.trim())
}

/// Whether a configuration file sets a key.
pub fn sets(text: &str, key: &str) -> bool {
    entries(text)
        .0
        .iter()
        .any(|entry| entry.key.as_deref() == Some(key))
}

/// The text of a configuration file with these values: a line that sets one of the keys is replaced in its place, or else the first
/// comment that would set it; the others are added at the end. Comments and all other lines stay. `old` must be a file that the
/// configuration's reader takes.
///
/// Lines that set one of `gone` become comments.
pub fn merge(old: &str, wishes: &[(&str, String)], gone: &[&str]) -> String {
    let mut out = String::new();
    let mut missing: Vec<_> = wishes.iter().collect();
    let (entries, rest) = entries(old);
    let is_set = |wish: &str| {
        entries
            .iter()
            .any(|entry| entry.key.as_deref() == Some(wish))
    };
    for Entry {
        whole,
        key,
        commented,
    } in &entries
    {
        let wished = missing.iter().position(|(wish, _)| {
            key.as_deref() == Some(*wish) || *commented == Some(*wish) && !is_set(wish)
        });
        match (wished, key) {
            (Some(at), _) => {
                let (key, value) = missing.remove(at);
                out.push_str(&format!("{key} = {value}\n"));
            }
            (None, Some(key)) if gone.contains(&&**key) => {
                for line in whole.lines() {
                    out.push_str(&format!("# {line}\n"));
                }
            }
            _ => {
                out.push_str(whole);
                out.push('\n');
            }
        }
    }
    for (key, value) in missing {
        out.push_str(&format!("{key} = {value}\n"));
    }
    let text = out + &rest;
    // An editor that ends its lines in CR LF may need it.
    let breaks = old.matches('\n').count();
    if breaks > 0 && breaks == old.matches("\r\n").count() {
        return text.replace('\n', "\r\n");
    }
    text
}

/// Whether a value is over at its line's end: no quotes of three and no bracket is open.
fn is_ended(value: &str) -> bool {
    let mut depth = 0i32;
    let mut rest = value;
    while let Some(first) = rest.chars().next() {
        let quote = ["\"\"\"", "'''", "\"", "'"]
            .into_iter()
            .find(|quote| rest.starts_with(quote));
        match (quote, first) {
            (Some(quote), _) => {
                let inside = &rest[quote.len()..];
                let Some(end) = end_of(inside, quote) else {
                    return quote.len() == 1;
                };
                rest = &inside[end..];
                continue;
            }
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth -= 1,
            (None, '#') => rest = rest.find('\n').map_or("", |at| &rest[at..]),
            _ => (),
        }
        rest = rest
            .get(first.len_utf8().min(rest.len())..)
            .unwrap_or_default();
    }
    depth <= 0
}

/// Where a text in quotes ends, its closing quotes included.
fn end_of(inside: &str, quote: &str) -> Option<usize> {
    let mut at = 0;
    while at < inside.len() {
        let rest = &inside[at..];
        if rest.starts_with(quote) {
            return Some(at + quote.len());
        }
        let mut letters = rest.chars();
        let first = letters.next()?;
        at += first.len_utf8();
        if first == '\\' && quote.starts_with('"') {
            at += letters.next().map_or(0, char::len_utf8);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Input, Place, parse};

    #[test]
    fn showing_and_setting() {
        let mut settings = Settings::default();
        for (line, said) in [
            ("/temp", "temperature 0.8"),
            ("/temp 0", "temperature 0 (the likeliest token each time)"),
            ("/top_p 1", "top_p 1 (keeps all)"),
            ("/top_p 0.9", "top_p 0.9"),
            ("/top_k 0", "top_k 0 (keeps all)"),
            ("/min_p", "min_p 0.05"),
            (
                "/repeat",
                "repetition penalty 1 (none), over the last 64 tokens",
            ),
            (
                "/repeat 1.1",
                "repetition penalty 1.1, over the last 64 tokens",
            ),
            (
                "/repeat 1.2 128",
                "repetition penalty 1.2, over the last 128 tokens",
            ),
            ("/seed", "seed random"),
            ("/seed 42", "seed 42"),
            ("/max", "a reply is as long as the context holds"),
            ("/max 100", "a reply has at most 100 tokens"),
            ("/think hide", "think hide"),
            ("/stop", "no text ends a reply but the model's own"),
            ("/stop \\nUser:", "replies end at \"\\nUser:\""),
            ("/stop \\nUser:", "replies end at \"\\nUser:\""),
            ("/stop End.", "replies end at \"\\nUser:\", \"End.\""),
        ] {
            let Ok(Input::Command(command)) = parse(line, Place::Boot) else {
                panic!("{line}");
            };
            assert_eq!(settings.apply(&command).as_deref(), Some(said), "{line}");
            assert_eq!(settings.check(), Ok(()));
        }
        assert_eq!(settings.apply(&Command::Info), None);
        for i in 0..20 {
            settings.apply(&Command::Stop(Some(Change::To(i.to_string()))));
        }
        assert_eq!(
            (settings.stop.len(), settings.check()),
            (MOST_STOPS, Ok(()))
        );
        settings.min_p = f32::NAN;
        assert!(settings.check().unwrap_err().contains("min_p is NaN"));
    }

    #[test]
    fn the_configuration_keeps_what_is_not_ours() {
        let old = "\u{feff}# Mine\r\nmodel = 'A.BIN' # good\r\ntemperature=1 # warm\r\n\"top_p\" = 0.5\r\n\r\n\
                   prompt = \"\"\"\ntop_k = 5\n\"\"\"\nstop = [ # two\n  \"a]\",\n  'b',\n]\n#seed = 1\n[table]\nseed = 2\n";
        let wishes = [
            ("temperature", "0.8".to_string()),
            ("top_p", "0.9".to_string()),
            ("top_k", "40".to_string()),
            ("stop", "[]".to_string()),
            ("seed", "7".to_string()),
            ("system", quoted("say \"x\"\n\u{1}\\")),
        ];
        let new = merge(old, &wishes, &[]);
        assert_eq!(
            new,
            "# Mine\nmodel = 'A.BIN' # good\ntemperature = 0.8\ntop_p = 0.9\n\nprompt = \"\"\"\ntop_k = 5\n\"\"\"\nstop = []\nseed = 7\n\
             top_k = 40\nsystem = \"say \\\"x\\\"\\n\\u0001\\\\\"\n[table]\nseed = 2\n"
        );
        assert_eq!(merge(&new, &wishes, &[]), new, "once is enough");
        assert_eq!(merge("", &wishes[..1], &[]), "temperature = 0.8\n");
        assert_eq!(
            merge("# Mine\r\ntop_p = 1\r\n", &wishes[..2], &[]),
            "# Mine\r\ntop_p = 0.9\r\ntemperature = 0.8\r\n",
            "line ends stay what they are"
        );
        assert_eq!(
            merge(
                "context = 9\n tokenizer='a'\n",
                &wishes[..1],
                &["tokenizer", "context"]
            ),
            "# context = 9\n#  tokenizer='a'\ntemperature = 0.8\n",
            "what was for another model is kept as a comment"
        );
        let explained = "# How warm. temperature = 0 is greedy; top_p = much\n#temperature = 1.0\n# temperature = 2\n\
                         #   stop = [\"a\"]\n# top_k = as many\n# seed = 0\nseed = 3\n# context = 9";
        assert_eq!(
            merge(explained, &wishes[..5], &[]),
            "# How warm. temperature = 0 is greedy; top_p = much\ntemperature = 0.8\n# temperature = 2\n\
             stop = []\n# top_k = as many\n# seed = 0\nseed = 7\n# context = 9\ntop_p = 0.9\ntop_k = 40\n",
            "an explained key is set where it is explained"
        );
        assert!(sets("'seed' = 1\n", "seed") && !sets("# seed = 1\n[a]\nseed = 2\n", "seed"));
        let all = merge("", &Settings::default().wishes(), &[]);
        assert!(all.contains("think = \"show\"\nstop = []\n"));
    }

    #[test]
    fn a_merged_file_says_the_same_but_for_the_wishes() {
        let mut random = crate::random(29);
        let lines = [
            "# top_k = 3",
            "",
            "a = 1",
            "'b' = \"# no comment [\"",
            "c = '''\n top_k = 5 \\\n[x]'''",
            "d = \"\"\"\nseed = \\\"\"\"\\\"\n\"\"\" # [",
            "e = [ # [\n 'x]', \"y\\\"]\",\n [1,\n2] ]",
            "f = { seed = 1, g = [\n1] }",
            "h = 1979-05-27T07:32:00Z",
            "system = \"\"\"one\ntwo\"\"\"",
            "  temperature = 1 # warm",
            "\"seed\" = 5",
            "stop = [\n'a',\n]",
            "top_k = 0x10",
            "\"min\\u005Fp\" = 0.3",
            "\"top\\U0000005fp\" = 0.5",
        ];
        let tables = ["[t]\nseed = 1\n", "[[u]]\n[u.v]\nstop = 'x'\n", ""];
        let mut wishes = Settings::default().wishes();
        wishes.push(("system", quoted("a\n\"b\"\\")));
        let wished: toml::Table = merge("", &wishes, &[]).parse().unwrap();
        for _ in 0..2000 {
            let mut text = String::new();
            let start = random(lines.len());
            for i in 0..random(lines.len()) {
                // A step that shares no factor with 16: each line once.
                text.push_str(lines[(start + i * 5) % lines.len()]);
                text.push_str(["\n", "\r\n"][random(2)]);
            }
            text.push_str(tables[random(tables.len())]);
            let mut want: toml::Table = text.parse().unwrap();
            want.extend(wished.clone());
            let merged = merge(&text, &wishes, &[]);
            let merged: toml::Table = merged
                .parse()
                .unwrap_or_else(|error| panic!("{error}\n{text}\n{merged}"));
            assert_eq!(merged, want, "{text}");
        }
    }

    #[test]
    fn merging_any_text() {
        let mut random = crate::random(23);
        let pieces = [
            "a", "=", "\"", "'", "\"\"\"", "[", "]", "\n", "#", "\\", "é", " ", "top_k", "{",
        ];
        for _ in 0..20_000 {
            let old: String = (0..random(20))
                .map(|_| pieces[random(pieces.len())])
                .collect();
            let new = merge(&old, &[("top_k", "1".to_string())], &[]);
            assert!(new.contains("top_k = 1\n"), "{old:?}");
        }
    }
}
