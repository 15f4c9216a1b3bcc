//! `LLAMA2.CFG`: a TOML file of settings. It is read in any common encoding, created with
//! explanations, and edited in place.

use alloc::{
    borrow::Cow,
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_settings::{Overrides, Param, ParamValue, Spec, TABLE, Written};
use toml::{Table, Value};

use crate::suggest::nearest;
pub use crate::text::decode;

/// Name of the file in a volume's root folder.
pub const NAME: &str = "LLAMA2.CFG";

/// Largest file accepted, in bytes.
pub const LARGEST: u64 = 64 << 10;

/// Largest number of warnings per file: each takes time on a serial line.
const MOST_WARNINGS: usize = 8;
/// Longest key, value or line in a sentence, in characters.
const QUOTED: usize = 60;

/// Keys, in the order of the commented file.
fn keys() -> impl Iterator<Item = &'static str> {
    explained().map(|spec| spec.key)
}

/// Rows of the table that users may set in a file.
fn explained() -> impl Iterator<Item = &'static Spec> {
    TABLE.iter().filter(|spec| !spec.example.is_empty())
}

/// Parses a configuration: the values, and a warning for each unknown key.
///
/// # Errors
/// A sentence without the file's name: the key or line, what was found, what is allowed.
pub fn parse(bytes: &[u8]) -> Result<(Overrides, Vec<String>), String> {
    let text = decode(bytes)?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| syntax(&text, &error))?;
    let mut overrides = Overrides::default();
    let mut warnings = Vec::new();
    let mut left = 0;
    for (key, value) in &table {
        let Some(param) = Param::of_key(key) else {
            match warnings.len() < MOST_WARNINGS {
                true => warnings.push(unknown(key)),
                false => left += 1,
            }
            continue;
        };
        let value = param.spec().read(written(value)).map_err(|allowed| {
            let found = display(value);
            let found = short(&found, QUOTED);
            format!("{key} = {found} is not valid: it must be {allowed}; correct that line")
        })?;
        overrides.set(param, value);
    }
    if left > 0 {
        warnings.push(format!("{left} more unknown keys were ignored"));
    }
    Ok((overrides, warnings))
}

/// Returns the valid values of a configuration that [`parse`] rejects.
pub fn salvage(bytes: &[u8]) -> Overrides {
    let mut overrides = Overrides::default();
    let text = decode(bytes).unwrap_or_default();
    let tables: Vec<Table> = match text.parse::<Table>() {
        Ok(table) => [table].into(),
        // Not valid TOML as a whole: try it line by line.
        Err(_) => text.lines().filter_map(|line| line.parse().ok()).collect(),
    };
    for (key, value) in tables.iter().flatten() {
        let Some(param) = Param::of_key(key) else {
            continue;
        };
        // A wrong value sets nothing; `parse` reports it.
        if let Ok(value) = param.spec().read(written(value)) {
            overrides.set(param, value);
        }
    }
    overrides
}

/// Converts a value for the table's parser.
fn written(value: &Value) -> Written {
    match value {
        Value::String(text) => Written::Text(text.clone()),
        Value::Integer(number) => Written::Whole(*number),
        Value::Float(number) => Written::Number(*number),
        Value::Boolean(truth) => Written::Truth(*truth),
        Value::Array(list) => {
            let texts = list.iter().map(|text| text.as_str().map(String::from));
            texts
                .collect::<Option<_>>()
                .map_or(Written::Other, Written::Texts)
        }
        _ => Written::Other,
    }
}

/// Formats a value as its user wrote it.
fn display(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        Value::Integer(n) => n.to_string(),
        Value::Float(n) => n.to_string(),
        Value::Boolean(truth) => truth.to_string(),
        other => format!("(a {})", other.type_str()),
    }
}

/// Shortens a text of any length.
fn short(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// Formats a parser's error in one line, with the line number and, if a backslash in a path is the
/// cause, advice.
fn syntax(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count();
    let content = text.lines().nth(line).unwrap_or_default().trim();
    let message = error.message().replace('\n', ", ");
    let message = short(&message, 2 * QUOTED);
    let advice = if content.contains('\\') && content.contains('"') {
        "; in double quotes a backslash begins an escape: write / instead, or use single quotes"
    } else {
        "; correct that line"
    };
    format!(
        "line {} is not TOML: {message}: {}{advice}",
        line + 1,
        short(content, QUOTED)
    )
}

/// Warning about an unknown key, with the one that was probably meant.
fn unknown(key: &str) -> String {
    let advice = match nearest(key, keys()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "the LLAMA2.CFG of a disk image explains all keys".to_string(),
    };
    let key = short(key, QUOTED);
    format!("the key \"{key}\" is unknown and was ignored; {advice}")
}

/// Text of a new file that explains every key and sets the given ones.
pub fn text(overrides: &Overrides) -> String {
    let mut text = String::from(
        "# Configuration of llama2.efi (TOML). Remove the # before a key to set it.\n\
         # The UEFI Shell's command line overrides this file: llama2.efi --help shows its flags.\n",
    );
    for spec in explained() {
        let blank = if spec.note.is_empty() { "" } else { " " };
        let about = format!("{}{blank}{}", spec.help, spec.note).replace('\n', "\n# ");
        text.push_str("\n# ");
        if spec.param == Param::TopK {
            text.push_str(
                "From here to logit_bias: llama.cpp's samplers. Numbers shown are the defaults in a \
                 .gguf model's chat;\n# elsewhere the samplers are off by default. ",
            );
        }
        let shown = overrides.get(spec.param).filter(|_| !spec.secret);
        text.push_str(&match shown {
            Some(value) => format!("{about}\n{} = {}\n", spec.key, line(spec, value)),
            None => format!("{about}\n# {} = {}\n", spec.key, spec.example),
        });
    }
    text
}

/// Formats a value for its key.
pub fn line(spec: &Spec, value: &ParamValue) -> String {
    match spec.write(value) {
        Written::Truth(truth) => truth.to_string(),
        Written::Whole(number) => number.to_string(),
        Written::Large(number) => number.to_string(),
        // Without a point, this many digits would be too large an integer.
        Written::Number(number) if number.abs() >= 1e15 => format!("{number:?}"),
        Written::Number(number) => number.to_string(),
        Written::Text(text) => quoted(&text),
        Written::Texts(texts) => {
            let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            format!("[{}]", texts.join(", "))
        }
        Written::Other => String::new(),
    }
}

/// Formats a text as a TOML string (version 1.0, "String") in one line.
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

/// Line of a configuration file before its first table, including continuation lines of its value.
struct Entry<'t> {
    whole: String,
    /// Key that it sets.
    key: Option<Cow<'t, str>>,
    /// Key that it would set if it were not a comment.
    commented: Option<&'t str>,
}

/// Splits a file into the entries before the first table, and the rest.
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
        let comment = line.trim_start().strip_prefix('#');
        // Quotes in a comment begin nothing.
        while comment.is_none() && !is_ended(whole.split_once('=').map_or("", |(_, value)| value)) {
            let Some(more) = lines.next() else { break };
            whole.push('\n');
            whole.push_str(more);
        }
        entries.push(Entry {
            whole,
            key: set_by(line),
            commented: comment.and_then(would_set),
        });
    }
    (entries, rest)
}

/// Key that a line sets. It may be quoted, in double quotes with escapes, which are those of JSON
/// and a longer one.
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

/// Key that a comment would set. Because it may also be a sentence, the key must be followed by the
/// beginning of a value.
fn would_set(comment: &str) -> Option<&str> {
    let (key, value) = comment.split_once('=')?;
    let begins = |letter: char| letter.is_ascii_digit() || "\"'[+-.".contains(letter);
    let value = value.trim();
    let is_value = value.starts_with(begins) || value == "true" || value == "false";
    is_value.then(|| key.trim())
}

/// Returns true if a configuration file sets a key.
pub fn sets(text: &str, key: &str) -> bool {
    entries(text)
        .0
        .iter()
        .any(|entry| entry.key.as_deref() == Some(key))
}

/// Changes values in a configuration file: a line that sets one of the keys is replaced, or else
/// the first comment that would set it; the others are appended. Comments and all other lines stay.
/// `old` must be a valid configuration.
///
/// Lines that set one of `gone` are commented out.
pub fn merge(old: &str, values: &[(&str, String)], gone: &[&str]) -> String {
    let mut out = String::new();
    let mut missing: Vec<_> = values.iter().collect();
    let (entries, rest) = entries(old);
    let is_set = |name: &str| {
        entries
            .iter()
            .any(|entry| entry.key.as_deref() == Some(name))
    };
    for Entry {
        whole,
        key,
        commented,
    } in &entries
    {
        let wanted = missing.iter().position(|(name, _)| {
            key.as_deref() == Some(*name) || *commented == Some(*name) && !is_set(name)
        });
        match (wanted, key) {
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

/// Returns true if a value ends on its line: no triple quotes and no bracket are open.
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

/// Offset behind a quoted text, including its closing quotes.
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

    /// Settings as written by `/config`.
    fn usual() -> Vec<(&'static str, String)> {
        let texts = ParamValue::Texts(Vec::new());
        let values = Overrides::default()
            .with(Param::Temperature, ParamValue::Number(0.8))
            .with(Param::TopK, ParamValue::Number(40.0))
            .with(Param::MinP, ParamValue::Number(0.05))
            .with(Param::TopP, ParamValue::Number(0.95))
            .with(Param::Seed, ParamValue::Whole(0))
            .with(Param::Think, ParamValue::Word("show"))
            .with(Param::Stop, texts);
        values
            .iter()
            .map(|(spec, value)| (spec.key, line(spec, value)))
            .collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let read = |text: &str| parse(text.as_bytes());
        let silent = Overrides::default();
        assert_eq!(read(&text(&silent)), Ok((silent, Vec::new())));
        let values = Overrides::default()
            .with(Param::Model, ParamValue::Text("MODELS\\A.BIN".into()))
            .with(
                Param::Prompt,
                ParamValue::Text("\"Ünï\\ 日本\"\nand\t'went'.".into()),
            )
            .with(Param::System, ParamValue::Text(String::new()))
            .with(Param::Seed, ParamValue::Whole(-5))
            .with(Param::Temperature, ParamValue::Number(1e30))
            .with(Param::RepeatPenalty, ParamValue::Number(f32::MIN_POSITIVE))
            .with(Param::RepeatLastN, ParamValue::Number(7.0))
            .with(Param::Bench, ParamValue::Truth(true));
        assert_eq!(read(&text(&values)), Ok((values, Vec::new())));
        // The examples match the comments once their # is removed.
        let examples = explained().map(|spec| format!("{} = {}\n", spec.key, spec.example));
        let (examples, warnings) = read(&examples.collect::<String>()).unwrap();
        // Secrets are read, but not listed.
        assert_eq!(
            (examples.iter().count(), warnings.len()),
            (explained().filter(|spec| !spec.secret).count(), 0)
        );
        // The examples of llama.cpp's samplers are their defaults.
        for (param, defaults) in Param::samplers().skip(2) {
            assert_eq!(
                examples.number(param),
                Some(defaults.llama_cpp),
                "{param:?}"
            );
        }
    }

    const ALL: &str = "# ours\nmodel = 'MODELS\\STORIES.BIN'\ntokenizer = \"TOKEN.BIN\"\nprompt = \"Ünï 日本\"\nsteps = 100\ntemperature = 0\n\
                       top_p = 0.95\nseed = 42\nmode = \"chat\"\nsystem = \"Be brief.\"\nlog = true\nexit = \"shutdown\"\n\
                       top_k = 20\nmin_p = 0\ntypical = 0.9\nrepeat_penalty = 1.1\n\
                       repeat_last_n = 32\n\
                       frequency_penalty = 0.5\npresence_penalty = -0.5\nlogit_bias = [\"7=-1.5\", '8=2']\n\
                       stop = ['User:', \"\\n\\n\"]\nthink = 'hide'\n\
                       threads = 3\ncontext = 100\nkernels = \"avx2\"\nkv = 'f16'\nbench = false\ntest = \"blocking\"\n\
                       keyboard = 'de'\ndisplay = \"text\"\n";

    #[test]
    fn every_key_in_every_encoding() {
        let utf16 =
            |unit: fn(u16) -> [u8; 2]| -> Vec<u8> { ALL.encode_utf16().flat_map(unit).collect() };
        let encodings = [
            ALL.as_bytes().to_vec(),
            [&b"\xef\xbb\xbf"[..], ALL.as_bytes()].concat(),
            [&b"\xff\xfe"[..], &utf16(u16::to_le_bytes)].concat(),
            [&b"\xfe\xff"[..], &utf16(u16::to_be_bytes)].concat(),
            utf16(u16::to_le_bytes),
            ALL.replace('\n', "\r\n").into_bytes(),
            [ALL.as_bytes(), b"\x1a"].concat(),
        ];
        for bytes in encodings {
            let (options, warnings) = parse(&bytes).unwrap();
            let text = |text: &str| ParamValue::Text(text.into());
            let texts =
                |texts: &[&str]| ParamValue::Texts(texts.iter().map(|&t| t.into()).collect());
            let mut want = Overrides::default();
            for (param, value) in [
                (Param::Model, text("MODELS\\STORIES.BIN")),
                (Param::Tokenizer, text("TOKEN.BIN")),
                (Param::Prompt, text("Ünï 日本")),
                (Param::Steps, ParamValue::Whole(100)),
                (Param::Temperature, ParamValue::Number(0.0)),
                (Param::TopP, ParamValue::Number(0.95)),
                (Param::TopK, ParamValue::Number(20.0)),
                (Param::MinP, ParamValue::Number(0.0)),
                (Param::Typical, ParamValue::Number(0.9)),
                (Param::RepeatPenalty, ParamValue::Number(1.1)),
                (Param::RepeatLastN, ParamValue::Number(32.0)),
                (Param::FrequencyPenalty, ParamValue::Number(0.5)),
                (Param::PresencePenalty, ParamValue::Number(-0.5)),
                (
                    Param::LogitBias,
                    ParamValue::Biases([(7, -1.5), (8, 2.0)].into()),
                ),
                (Param::Stop, texts(&["User:", "\n\n"])),
                (Param::Think, ParamValue::Word("hide")),
                (Param::Seed, ParamValue::Whole(42)),
                (Param::Mode, ParamValue::Word("chat")),
                (Param::System, text("Be brief.")),
                (Param::Log, ParamValue::Truth(true)),
                (Param::Exit, ParamValue::Word("shutdown")),
                (Param::Keyboard, ParamValue::Word("de")),
                (Param::Display, ParamValue::Word("text")),
                (Param::Threads, ParamValue::Whole(3)),
                (Param::Context, ParamValue::Whole(100)),
                (Param::Kernels, ParamValue::Word("avx2")),
                (Param::Kv, ParamValue::Word("f16")),
                (Param::Bench, ParamValue::Truth(false)),
            ] {
                want.set(param, value);
            }
            // The key that is for tests only.
            let mut options = options;
            let unknown = usize::from(options.take(Param::Test).is_none());
            assert_eq!((options, warnings.len()), (want, unknown));
        }
        assert_eq!(parse(b"").unwrap().0, Overrides::default());
        // A single one needs no brackets.
        let one = parse(b"stop = 'User:'\nlogit_bias = '3=1'").unwrap().0;
        assert_eq!(one.texts(Param::Stop), Some(&["User:".into()].into()));
        assert_eq!(one.biases(Param::LogitBias), Some(&[(3, 1.0)].into()));
    }

    #[test]
    fn unknown_keys_are_warned_of_with_the_nearest() {
        let warnings = |text: &str| parse(text.as_bytes()).unwrap().1;
        assert!(warnings("temprature = 1")[0].contains("did you mean \"temperature\""));
        assert!(warnings("Steps = 1")[0].contains("did you mean \"steps\""));
        assert!(warnings("top-p = 1")[0].contains("did you mean \"top_p\""));
        assert!(warnings("colour = 1")[0].contains("explains all keys"));
        assert!(warnings("[section]\nsteps = 1")[0].contains("section"));
    }

    #[test]
    fn what_is_said_is_bounded_whatever_the_file_holds() {
        use core::fmt::Write;
        let mut many = String::new();
        (0..5000).for_each(|i| writeln!(many, "key{i} = 1").unwrap());
        let (_, warnings) = parse(many.as_bytes()).unwrap();
        assert_eq!(warnings.len(), MOST_WARNINGS + 1);
        assert!(warnings[MOST_WARNINGS].starts_with("4992 more unknown keys"));

        let long = "x".repeat(50_000);
        let (_, warnings) = parse(format!("{long} = 1\n'\u{200b}{long}' = 2").as_bytes()).unwrap();
        let error = |text: String| parse(text.as_bytes()).unwrap_err();
        let errors = [
            error(format!("steps = \"{long}\"")),
            error(format!("{long} {long}")),
            error(format!("a{}= 1", ".a".repeat(20_000))),
            error(format!("kernels = '{long}'")),
            error(format!("logit_bias = '{long}'")),
            error(format!("a = {}", "[".repeat(30_000))),
        ];
        for sentence in warnings.iter().chain(&errors) {
            // With room for the file's name before it.
            assert!(sentence.chars().count() < 260, "{sentence}");
        }
    }

    #[test]
    fn bad_values_are_errors_that_say_what_is_allowed() {
        for (text, words) in [
            (
                "steps = -1",
                "steps = -1 is not valid: it must be a whole number, 0 or more",
            ),
            ("steps = \"many\"", "steps = \"many\""),
            ("temperature = \"warm\"", "a number of 0 or more"),
            ("temperature = -0.5", "temperature = -0.5"),
            ("temperature = nan", "a number of 0 or more"),
            ("top_p = 1.5", "a number from 0 to 1"),
            ("seed = 0.5", "a whole number"),
            (
                "top_k = 1.5",
                "top_k = 1.5 is not valid: it must be a whole number from 0 to 16777216",
            ),
            ("min_p = 2", "a number from 0 to 1"),
            ("typical = 'x'", "a number from 0 to 1"),
            ("repeat_penalty = 0", "a number of more than 0"),
            ("repeat_last_n = -1", "a whole number from 0 to 65536"),
            ("presence_penalty = 1e9", "a number from -100 to 100"),
            ("logit_bias = 5", "a text in quotes, or up to 1024"),
            ("logit_bias = ['5']", "a token's number, =, and a number"),
            ("stop = [1]", "a text in quotes, or up to 64"),
            ("think = 'loud'", "\"show\" or \"hide\" or \"off\""),
            ("mode = \"sing\"", "\"generate\" or \"chat\""),
            ("exit = \"never\"", "\"key\" or \"shutdown\" or \"return\""),
            ("keyboard = 'dvorak'", "\"us\" or \"uk\" or \"de\""),
            ("keyboard = 1", "a text in quotes"),
            ("display = 'off'", "\"auto\" or \"screen\" or \"text\""),
            ("log = 1", "true or false"),
            ("bench = \"yes\"", "true or false"),
            ("threads = 0", "a whole number, 1 or more"),
            ("context = -5", "a whole number, 1 or more"),
            ("threads = \"all\"", "a whole number, 1 or more"),
            (
                "kernels = \"mmx\"",
                "\"avx512\" or \"neon\" or \"dotprod\" or \"i8mm\"",
            ),
            ("kv = \"f8\"", "\"f32\" or \"f16\" or \"q8_0\""),
            ("model = 5", "a text in quotes"),
            ("prompt = [1]", "(a array)"),
            ("steps = ", "line 1 is not TOML"),
            ("steps = 1\nsteps = 2", "line 2 is not TOML"),
            ("# a\nmodel = \"\\STORIES.BIN\"", "line 2 is not TOML"),
            (
                "model = \"\\STORIES.BIN\"",
                "write / instead, or use single quotes",
            ),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(
                error.contains(words) && !error.contains('\n'),
                "{text}: {error}"
            );
        }
        assert!(
            parse(b"prompt = \"\xff\"")
                .unwrap_err()
                .contains("UTF-8 at byte 10")
        );
        assert!(parse(b"\xff\xfe\x00\xd8").unwrap_err().contains("UTF-16"));
    }

    #[test]
    fn the_rest_of_a_wrong_file_can_be_used() {
        let wrong = b"exit = 'shutdown'\nmode = 5\nsteps = -1\nlog = true\ncolour = 1\n";
        assert!(parse(wrong).is_err());
        let right = Overrides::default()
            .with(Param::Exit, ParamValue::Word("shutdown"))
            .with(Param::Log, ParamValue::Truth(true));
        assert_eq!(salvage(wrong), right);
        assert_eq!(
            salvage(b"log = true\nmodel = \"\\S\"\nexit = 'shutdown'\r\n"),
            right
        );
        assert_eq!(salvage(b"exit = "), Overrides::default());
        assert_eq!(salvage(b"\xff"), Overrides::default());
    }

    #[test]
    fn mutated_files_never_panic() {
        let mut seed = 9u64;
        let mut random = move |below: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        let mut refused = 0;
        for _ in 0..20_000 {
            let mut bytes = ALL.as_bytes().to_vec();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = random(256) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"\"'\\[]=#\n{}.-\0"[random(13)]),
                }
            }
            refused += usize::from(parse(&bytes).is_err());
            salvage(&bytes);
        }
        assert!(refused > 1000);
    }

    #[test]
    fn the_configuration_keeps_what_is_not_ours() {
        let old = "\u{feff}# Mine\r\nmodel = 'A.BIN' # good\r\ntemperature=1 # warm\r\n\"top_p\" = 0.5\r\n\r\n\
                   prompt = \"\"\"\ntop_k = 5\n\"\"\"\nstop = [ # two\n  \"a]\",\n  'b',\n]\n#seed = 1\n[table]\nseed = 2\n";
        let values = [
            ("temperature", "0.8".to_string()),
            ("top_p", "0.9".to_string()),
            ("top_k", "40".to_string()),
            ("stop", "[]".to_string()),
            ("seed", "7".to_string()),
            ("system", quoted("say \"x\"\n\u{1}\\")),
        ];
        let new = merge(old, &values, &[]);
        assert_eq!(
            new,
            "# Mine\nmodel = 'A.BIN' # good\ntemperature = 0.8\ntop_p = 0.9\n\nprompt = \"\"\"\ntop_k = 5\n\"\"\"\nstop = []\nseed = 7\n\
             top_k = 40\nsystem = \"say \\\"x\\\"\\n\\u0001\\\\\"\n[table]\nseed = 2\n"
        );
        assert_eq!(merge(&new, &values, &[]), new, "once is enough");
        assert_eq!(merge("", &values[..1], &[]), "temperature = 0.8\n");
        assert_eq!(
            merge("# Mine\r\ntop_p = 1\r\n", &values[..2], &[]),
            "# Mine\r\ntop_p = 0.9\r\ntemperature = 0.8\r\n",
            "line ends stay what they are"
        );
        assert_eq!(
            merge(
                "context = 9\n tokenizer='a'\n",
                &values[..1],
                &["tokenizer", "context"]
            ),
            "# context = 9\n#  tokenizer='a'\ntemperature = 0.8\n",
            "what was for another model is kept as a comment"
        );
        let explained = "# How warm. temperature = 0 is greedy; top_p = much\n#temperature = 1.0\n# temperature = 2\n\
                         #   stop = [\"a\"]\n# top_k = as many\n# seed = 0\nseed = 3\n# context = 9";
        assert_eq!(
            merge(explained, &values[..5], &[]),
            "# How warm. temperature = 0 is greedy; top_p = much\ntemperature = 0.8\n# temperature = 2\n\
             stop = []\n# top_k = as many\n# seed = 0\nseed = 7\n# context = 9\n\
             top_p = 0.9\ntop_k = 40\n",
            "an explained key is set where it is explained"
        );
        assert!(sets("'seed' = 1\n", "seed") && !sets("# seed = 1\n[a]\nseed = 2\n", "seed"));
        let all = merge("", &usual(), &[]);
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
        let mut values = usual();
        values.push(("system", quoted("a\n\"b\"\\")));
        let wanted: toml::Table = merge("", &values, &[]).parse().unwrap();
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
            want.extend(wanted.clone());
            let merged = merge(&text, &values, &[]);
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
