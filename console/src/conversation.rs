//! Saved conversations as JSON Lines, which other programs can read.
//!
//! The first line is an object that describes the file:
//! `{"format":"llama2-conversation","version":1,"model":"…","system":"…","settings":{…}}`; `system`
//! and `settings` are optional, as is each of the settings ([`llama2_settings::Spec::saved`] is its
//! key). Each further line is a message: `{"role":"user","content":"…"}` or
//! `{"role":"assistant","content":"…","thinking":"…"}`, with `thinking` only if there was any.
//! Roles alternate, beginning with the user. Files are UTF-8; unknown content is rejected, so that
//! no file is read only in part.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde_json::{Map, Value};

use llama2_settings::{Domain, Overrides, TABLE, Written};

/// Value of `format`.
pub const FORMAT: &str = "llama2-conversation";
/// Version that is written, and the only one accepted.
pub const VERSION: u64 = 1;
/// Largest file accepted, in bytes.
pub const LARGEST: u64 = 16 << 20;

/// Author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Speaker {
    /// Name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
        }
    }
}

/// Message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Author.
    pub role: Speaker,
    /// Text.
    pub content: String,
    /// Reasoning of the model before the text; `None` for the user's messages.
    pub thinking: Option<String>,
}

/// Conversation with its model and settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Conversation {
    /// Display name of the model.
    pub model: String,
    /// System prompt, unless it is the model's own.
    pub system: Option<String>,
    /// Settings, such as samplers.
    pub settings: Overrides,
    /// Messages: the user's first, never two of the same role in a row.
    pub messages: Vec<Message>,
}

impl Conversation {
    /// Adds a question. It replaces the last one if that has no answer.
    pub fn ask(&mut self, content: &str) {
        if let Some(Message {
            role: Speaker::User,
            ..
        }) = self.messages.last()
        {
            self.messages.pop();
        }
        self.push(Speaker::User, content, None);
    }

    /// Adds the answer to the last question, with the model's reasoning.
    pub fn add_answer(&mut self, content: &str, thinking: Option<&str>) {
        if let Some(Message {
            role: Speaker::User,
            ..
        }) = self.messages.last()
        {
            self.push(Speaker::Assistant, content, thinking);
        }
    }

    fn push(&mut self, role: Speaker, content: &str, thinking: Option<&str>) {
        self.messages.push(Message {
            role,
            content: content.to_string(),
            thinking: thinking.filter(|text| !text.is_empty()).map(String::from),
        });
    }

    /// Removes the last question and its answer, for `/undo`. Returns the question.
    pub fn undo(&mut self) -> Option<String> {
        let last = self
            .messages
            .iter()
            .rposition(|message| message.role == Speaker::User)?;
        let question = self.messages.drain(last..).next();
        question.map(|message| message.content)
    }

    /// Last message of the user.
    pub fn last_question(&self) -> Option<&str> {
        let mut messages = self.messages.iter().rev();
        let last = messages.find(|message| message.role == Speaker::User)?;
        Some(&last.content)
    }

    /// Formats the conversation as the text of a file.
    pub fn to_lines(&self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let mut out = format!(
            "{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"model\":{}",
            text(&self.model)
        );
        if let Some(system) = &self.system {
            out.push_str(&format!(",\"system\":{}", text(system)));
        }
        out.push_str(&format!(",\"settings\":{}}}\n", settings(&self.settings)));
        for message in &self.messages {
            out.push_str(&format!(
                "{{\"role\":\"{}\",\"content\":{}",
                message.role.name(),
                text(&message.content)
            ));
            if let Some(thinking) = &message.thinking {
                out.push_str(&format!(",\"thinking\":{}", text(thinking)));
            }
            out.push_str("}\n");
        }
        out
    }

    /// Parses a file.
    ///
    /// # Errors
    /// A sentence without the file's name: the line, what was found, what is expected.
    pub fn parse(bytes: &[u8]) -> Result<Conversation, String> {
        let text = core::str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            format!("line {line} is not UTF-8: save the file as UTF-8")
        })?;
        let text = text.trim_start_matches('\u{feff}');
        // DOS ends a text with Ctrl-Z, and editors leave lines empty.
        let is_end = |letter: char| letter == '\u{1a}' || letter.is_whitespace();
        let mut lines = text
            .trim_end_matches(is_end)
            .lines()
            .enumerate()
            .map(|(i, line)| (i + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty());
        let mut conversation = match lines.next() {
            Some((number, line)) => head(&Line::parse(number, line)?)?,
            None => return Err("the file is empty: its first line says what it is".to_string()),
        };
        for (number, line) in lines {
            let line = Line::parse(number, line)?;
            let message = message(&line)?;
            let turn = conversation.messages.len() % 2;
            let wanted = [Speaker::User, Speaker::Assistant][turn];
            if message.role != wanted {
                return Err(line.error(&format!(
                    "is the {}'s, but it is the {}'s turn",
                    message.role.name(),
                    wanted.name()
                )));
            }
            conversation.messages.push(message);
        }
        Ok(conversation)
    }
}

/// Object in the file, with the number of its line.
struct Line {
    number: usize,
    map: Map<String, Value>,
}

impl Line {
    fn parse(number: usize, text: &str) -> Result<Line, String> {
        match serde_json::from_str(text) {
            Ok(Value::Object(map)) => Ok(Line { number, map }),
            Ok(other) => Err(format!(
                "line {number} is {}, but each line is an object in braces",
                shown(&other)
            )),
            Err(error) if error.is_eof() => Err(format!(
                "line {number} ends in the middle: the file is cut short"
            )),
            Err(error) => {
                let said = error.to_string();
                let what = said.split(" at line ").next().unwrap_or_default();
                Err(format!(
                    "line {number} is not JSON: {what} at its column {}",
                    error.column()
                ))
            }
        }
    }

    fn error(&self, what: &str) -> String {
        format!("line {} {what}", self.number)
    }

    /// Rejects unknown keys.
    fn only(&self, map: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
        match map.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.error(&format!(
                "has the key \"{key}\", which is not known; known are {}",
                known.join(", ")
            ))),
            None => Ok(()),
        }
    }

    /// Optional string.
    fn text(&self, key: &str) -> Result<Option<String>, String> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.error(&format!(
                "has {} as \"{key}\", but that is a text",
                shown(other)
            ))),
        }
    }

    fn needed(&self, key: &str) -> Result<String, String> {
        self.text(key)?
            .ok_or_else(|| self.error(&format!("has no \"{key}\"")))
    }
}

/// Formats a value for a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_string(),
        Value::Array(_) => "a list".to_string(),
        other => {
            let text = other.to_string();
            match crate::width::cut(&text, 40) {
                cut if cut.len() < text.len() => format!("{cut}…"),
                _ => text,
            }
        }
    }
}

fn head(line: &Line) -> Result<Conversation, String> {
    match line.map.get("format") {
        Some(Value::String(format)) if format == FORMAT => (),
        Some(other) => {
            return Err(line.error(&format!(
                "says that its format is {}, not \"{FORMAT}\"",
                shown(other)
            )));
        }
        None => {
            return Err(line.error(&format!(
                "has no \"format\": a conversation's file begins with {{\"format\":\"{FORMAT}\",…"
            )));
        }
    }
    match line.map.get("version") {
        Some(version) if version.as_u64() == Some(VERSION) => (),
        Some(other) => {
            return Err(line.error(&format!(
                "says that its version is {}, but this program reads version {VERSION}",
                shown(other)
            )));
        }
        None => return Err(line.error("has no \"version\"")),
    }
    line.only(
        &line.map,
        &["format", "version", "model", "system", "settings"],
    )?;
    let settings = match line.map.get("settings") {
        None => Overrides::default(),
        Some(Value::Object(map)) => read_settings(line, map)?,
        Some(other) => {
            return Err(line.error(&format!(
                "has {} as \"settings\", but that is an object",
                shown(other)
            )));
        }
    };
    Ok(Conversation {
        model: line.needed("model")?,
        system: line.text("system")?,
        settings,
        messages: Vec::new(),
    })
}

fn message(line: &Line) -> Result<Message, String> {
    let role = match line.needed("role")?.as_str() {
        "user" => Speaker::User,
        "assistant" => Speaker::Assistant,
        other => {
            return Err(line.error(&format!(
                "has the role {}, but there are user and assistant",
                shown(&Value::from(other))
            )));
        }
    };
    let known: &[&str] = match role {
        Speaker::User => &["role", "content"],
        Speaker::Assistant => &["role", "content", "thinking"],
    };
    line.only(&line.map, known)?;
    Ok(Message {
        role,
        content: line.needed("content")?,
        thinking: line.text("thinking")?,
    })
}

fn settings(settings: &Overrides) -> Value {
    let saved = settings.iter().filter(|(spec, _)| !spec.saved.is_empty());
    let pairs = saved.map(|(spec, value)| {
        let value = match spec.write(value) {
            Written::Truth(truth) => truth.into(),
            Written::Whole(number) if spec.domain == Domain::Seed => (number as u64).into(),
            Written::Whole(number) => number.into(),
            Written::Large(number) => number.into(),
            Written::Number(number) => number.into(),
            Written::Text(text) => text.into(),
            Written::Texts(texts) => texts.into(),
            Written::Other => Value::Null,
        };
        (spec.saved.to_string(), value)
    });
    Value::Object(pairs.collect())
}

fn read_settings(line: &Line, map: &Map<String, Value>) -> Result<Overrides, String> {
    let saved = TABLE.iter().filter(|spec| !spec.saved.is_empty());
    let known: Vec<&str> = saved.map(|spec| spec.saved).collect();
    line.only(map, &known)?;
    let mut settings = Overrides::default();
    for (key, value) in map {
        let Some(spec) = TABLE.iter().find(|spec| spec.saved == key) else {
            continue;
        };
        let read = spec.read(written(value)).map_err(|allowed| {
            line.error(&format!(
                "has the setting {key} = {}, but it must be {allowed}",
                shown(value)
            ))
        })?;
        settings.set(spec.param, read);
    }
    Ok(settings)
}

/// Converts a value for the table's parser.
fn written(value: &Value) -> Written {
    match value {
        Value::Bool(truth) => Written::Truth(*truth),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Written::Whole(whole),
            (None, Some(whole)) => Written::Large(whole),
            _ => number.as_f64().map_or(Written::Other, Written::Number),
        },
        Value::String(text) => Written::Text(text.clone()),
        Value::Array(list) => {
            let texts = list.iter().map(|text| text.as_str().map(String::from));
            texts
                .collect::<Option<_>>()
                .map_or(Written::Other, Written::Texts)
        }
        _ => Written::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_settings::{Param, ParamValue};

    fn sample() -> Conversation {
        let mut conversation = Conversation {
            model: "Qwen3-0.6B".into(),
            system: Some("Be \"brief\".\n日本".into()),
            settings: Overrides::default()
                .with(Param::Temperature, ParamValue::Number(0.7))
                .with(Param::Seed, ParamValue::Whole(-1))
                .with(Param::Stop, ParamValue::Texts(vec!["\nUser:".into()]))
                .with(Param::Think, ParamValue::Word("hide")),
            messages: Vec::new(),
        };
        conversation.ask("Hello\tthere \\ 🙂\u{1}");
        conversation.add_answer("Hi!", Some("They greet."));
        conversation.ask("Two\nlines");
        conversation
    }

    #[test]
    fn written_and_read_again() {
        let conversation = sample();
        let text = conversation.to_lines();
        assert_eq!(text.lines().count(), 4);
        assert_eq!(
            Conversation::parse(text.as_bytes()).as_ref(),
            Ok(&conversation)
        );
        let windows = format!("\u{feff}{}\r\n", text.replace('\n', "\r\n"));
        assert_eq!(
            Conversation::parse(windows.as_bytes()).as_ref(),
            Ok(&conversation)
        );
        for (line_end, end) in [
            ("\n\n", ""),
            ("\r\n \t\r\n", "\u{1a}"),
            ("\n", "\n\u{1a}\r\n\u{1a}"),
        ] {
            let edited = format!("\u{feff}{line_end}{}{end}", text.replace('\n', line_end));
            let read = Conversation::parse(edited.as_bytes());
            assert_eq!(read.as_ref(), Ok(&conversation), "{edited:?}");
        }
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(
            "{\"format\":\"llama2-conversation\",\"version\":1,\"model\":\"Qwen3-0.6B\""
        ));
        assert!(
            lines[0].contains("\"temperature\":0.7,")
                && lines[0].contains("\"seed\":18446744073709551615")
        );
        assert_eq!(
            lines[2],
            "{\"role\":\"assistant\",\"content\":\"Hi!\",\"thinking\":\"They greet.\"}"
        );
        // As short as it may be.
        let short = "{\"format\":\"llama2-conversation\",\"version\":1,\"model\":\"m\"}";
        let read = Conversation::parse(short.as_bytes()).unwrap();
        assert_eq!(
            (read.system, read.settings, read.messages.len()),
            (None, Overrides::default(), 0)
        );
    }

    #[test]
    fn undoing() {
        let mut conversation = sample();
        assert_eq!(conversation.undo().as_deref(), Some("Two\nlines"));
        assert_eq!(conversation.messages.len(), 2);
        conversation.add_answer("nobody asked", None);
        assert_eq!(conversation.messages.len(), 2);
        assert!(conversation.undo().is_some());
        assert_eq!(conversation.undo(), None);
        conversation.ask("a");
        conversation.ask("b");
        assert_eq!(conversation.messages.len(), 1, "the first got no answer");
    }

    #[test]
    fn errors_say_line_and_finding() {
        let head = "{\"format\":\"llama2-conversation\",\"version\":1,\"model\":\"m\"}\n";
        let with = |rest: &str| format!("{head}{rest}");
        let set = |settings: &str| head.replace("\"m\"", &format!("\"m\",\"settings\":{settings}"));
        for (text, words) in [
            (String::new(), "the file is empty"),
            ("\r\n\u{1a}".into(), "the file is empty"),
            (
                "hello".into(),
                "line 1 is not JSON: expected value at its column 1",
            ),
            ("[1]".into(), "line 1 is a list, but each line is an object"),
            ("{}".into(), "line 1 has no \"format\""),
            (
                head.replace("llama2-conversation", "other"),
                "its format is \"other\"",
            ),
            (
                head.replace(":1", ":2"),
                "its version is 2, but this program reads version 1",
            ),
            (
                head.replace("\"version\":1,", ""),
                "line 1 has no \"version\"",
            ),
            (
                head.replace("\"m\"", "5"),
                "line 1 has 5 as \"model\", but that is a text",
            ),
            (
                head.replace("model", "modell"),
                "the key \"modell\", which is not known",
            ),
            (set("5"), "line 1 has 5 as \"settings\""),
            (
                set("{\"temp\":1}"),
                "the key \"temp\", which is not known; known are max, temperature",
            ),
            (
                set("{\"top_p\":50}"),
                "the setting top_p = 50, but it must be a number from 0 to 1",
            ),
            (
                set("{\"temperature\":\"warm\"}"),
                "the setting temperature = \"warm\"",
            ),
            (set("{\"top_k\":1.5}"), "the setting top_k = 1.5"),
            (set("{\"stop\":[1]}"), "the setting stop = a list"),
            (set("{\"think\":\"no\"}"), "the setting think = \"no\""),
            (
                with("{\"role\":\"user\",\"content\":\"a"),
                "line 2 ends in the middle: the file is cut short",
            ),
            (
                with("{\"role\":\"user\",\"content\":\"a\"}\n\n{\"role\":\"user\"}"),
                "line 4",
            ),
            (
                with("{\"role\":\"assistant\",\"content\":\"a\"}"),
                "line 2 is the assistant's, but it is the user's turn",
            ),
            (
                with("{\"role\":\"robot\",\"content\":\"a\"}"),
                "line 2 has the role \"robot\"",
            ),
            (with("{\"role\":\"user\"}"), "line 2 has no \"content\""),
            (
                with("{\"role\":\"user\",\"content\":\"a\",\"thinking\":\"b\"}"),
                "the key \"thinking\"",
            ),
            (
                with("{\"role\":\"user\",\"content\":\"a\"} x"),
                "line 2 is not JSON: trailing characters at its column 31",
            ),
        ] {
            let error = Conversation::parse(text.as_bytes()).unwrap_err();
            assert!(
                error.contains(words) && !error.contains('\n'),
                "{text}: {error}"
            );
        }
        let error = Conversation::parse(&[head.as_bytes(), b"\xff"].concat()).unwrap_err();
        assert!(error.contains("line 2 is not UTF-8"));
    }

    #[test]
    fn mutated_files_never_panic() {
        let good = sample().to_lines().into_bytes();
        let mut random = crate::random(17);
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut bytes = good.clone();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes.truncate(at + 1),
                    _ => bytes.insert(at, b"{}[]\":,\n\\0e-"[random(12)]),
                }
            }
            refused += usize::from(Conversation::parse(&bytes).is_err());
        }
        assert!(refused > 10_000);
    }
}
