//! `LLAMA2.CFG`: a TOML file of wishes, in any encoding that an editor at hand may have saved it in.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_console::nearest::nearest;
pub use llama2_console::text::decode;
use llama2_engine::{
    sampler::{Knob, parse_bias},
    settings::Think,
    units::short,
};
use toml::{Table, Value};

use crate::options::{
    self, Display as Screen, Exit, Hook, KERNELS, KV_TYPES, MODES, Options, by_name,
};

/// The file's name in a volume's root.
pub const NAME: &str = "LLAMA2.CFG";

/// Larger files are not configurations.
pub const LARGEST: u64 = 64 << 10;

/// Most warnings about one file: over a serial line each takes a while.
const MOST_WARNINGS: usize = 8;
/// Most characters of a key, a value or a line in a sentence.
const QUOTED: usize = 60;

/// All keys, as documented in the file that the image writer makes.
pub const KEYS: [&str; 28] = [
    "model",
    "tokenizer",
    "prompt",
    "steps",
    "temperature",
    "top_p",
    "seed",
    "mode",
    "system",
    "think",
    "stop",
    "top_k",
    "min_p",
    "typical",
    "repeat_penalty",
    "repeat_last_n",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "threads",
    "context",
    "kernels",
    "kv",
    "bench",
    "log",
    "exit",
    "keyboard",
    "display",
];

/// The key for tests, known with the feature `test-hooks` only; its values are in [`Hook`].
pub const TEST_KEY: &str = "test";

fn is_known(key: &str) -> bool {
    KEYS.contains(&key) || (cfg!(feature = "test-hooks") && key == TEST_KEY)
}

/// Reads a configuration: the wishes, and a warning for each key that is not known.
///
/// # Errors
/// A sentence without the file's name: which key or line, what was found, what is allowed.
pub fn parse(bytes: &[u8]) -> Result<(Options, Vec<String>), String> {
    let text = decode(bytes)?;
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| syntax(&text, &error))?;
    let mut options = Options::default();
    let mut warnings = Vec::new();
    let mut left = 0;
    for (key, value) in &table {
        if !is_known(key) {
            match warnings.len() < MOST_WARNINGS {
                true => warnings.push(unknown(key)),
                false => left += 1,
            }
            continue;
        }
        set(&mut options, key, value).map_err(|allowed| {
            let found = value.to_display();
            let found = short(&found, QUOTED);
            format!("{key} = {found} will not do: it must be {allowed}; correct that line")
        })?;
    }
    if left > 0 {
        warnings.push(format!("{left} more keys are not known and were left out"));
    }
    Ok((options, warnings))
}

/// What can be understood of a configuration that [`parse`] refuses: the values that are right.
pub fn salvage(bytes: &[u8]) -> Options {
    let mut options = Options::default();
    let text = decode(bytes).unwrap_or_default();
    let tables: Vec<Table> = match text.parse::<Table>() {
        Ok(table) => [table].into(),
        // No TOML as a whole: the lines that are.
        Err(_) => text.lines().filter_map(|line| line.parse().ok()).collect(),
    };
    for (key, value) in tables.iter().flatten() {
        if is_known(key) {
            // A wrong value sets nothing; `parse` tells of it.
            let _ = set(&mut options, key, value);
        }
    }
    options
}

/// Most strings that stop a text, and most biases: more is a mistake.
const MOST_ENTRIES: usize = 64;

/// Sets one known key; the error says what is allowed.
fn set(options: &mut Options, key: &str, value: &Value) -> Result<(), String> {
    let text = || {
        value
            .as_str()
            .map(String::from)
            .ok_or("a text in quotes".to_string())
    };
    let whole = |what: &str| value.as_integer().ok_or(format!("a whole number{what}"));
    let number = || {
        let number = value.as_float().or(value.as_integer().map(|n| n as f64));
        number.map(|n| n as f32)
    };
    // One text, or several in brackets.
    let texts = || {
        let texts: Option<Vec<String>> = match value {
            Value::Array(list) if list.len() <= MOST_ENTRIES => list
                .iter()
                .map(|text| text.as_str().map(String::from))
                .collect(),
            one => one.as_str().map(|text| [text.into()].into()),
        };
        texts.ok_or_else(|| format!("a text in quotes, or up to {MOST_ENTRIES} of them in [ ]"))
    };
    let truth = || value.as_bool().ok_or("true or false");
    if let Some(knob) = Knob::named(key) {
        let number = number().unwrap_or(f32::NAN);
        knob.check(number)?;
        options.sampling.set(knob, Some(number));
        return Ok(());
    }
    match key {
        "model" => options.model = Some(text()?),
        "tokenizer" => options.tokenizer = Some(text()?),
        "prompt" => options.prompt = Some(text()?),
        "system" => options.system = Some(text()?),
        "steps" => {
            let steps = whole(", 0 or more")?;
            options.steps = Some(if steps >= 0 {
                steps
            } else {
                return Err("a whole number, 0 or more".into());
            });
        }
        "seed" => options.seed = Some(whole("; 0 draws one")? as u64),
        "stop" => options.stop = Some(texts()?),
        "think" => options.think = Some(by_name(&Think::NAMES, &text()?)?),
        "logit_bias" => {
            let biases: Result<Vec<_>, _> = texts()?.iter().map(|text| parse_bias(text)).collect();
            let allowed = |what| format!("{what}, in quotes; several of them in [ ]");
            options.sampling.bias = Some(biases.map_err(allowed)?);
        }
        "mode" => options.mode = Some(by_name(&MODES, &text()?)?),
        "exit" => options.exit = Some(by_name(&Exit::NAMES, &text()?)?),
        "keyboard" => options.keyboard = Some(options::keyboard(&text()?)?),
        "display" => options.display = Some(by_name(&Screen::NAMES, &text()?)?),
        "threads" | "context" => {
            let number = usize::try_from(whole(", 1 or more")?).ok();
            let number = number.filter(|&number| number > 0);
            let number = Some(number.ok_or("a whole number, 1 or more")?);
            if key == "threads" {
                options.threads = number;
            } else {
                options.context = number;
            }
        }
        "kernels" => options.kernels = Some(by_name(&KERNELS, &text()?)?),
        "kv" => options.kv = Some(by_name(&KV_TYPES, &text()?)?),
        "bench" => options.bench = Some(truth()?),
        TEST_KEY => options.test = Some(by_name(&Hook::NAMES, &text()?)?),
        _ => options.log = Some(truth()?),
    }
    Ok(())
}

/// A value as its user wrote it, shortly.
trait Display {
    fn to_display(&self) -> String;
}

impl Display for Value {
    fn to_display(&self) -> String {
        match self {
            Value::String(text) => format!("\"{text}\""),
            Value::Integer(n) => n.to_string(),
            Value::Float(n) => n.to_string(),
            Value::Boolean(truth) => truth.to_string(),
            other => format!("(a {})", other.type_str()),
        }
    }
}

/// A parser's error in one line, with its line number and, where a path's backslash is the cause, what to do.
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

/// A warning about a key that is none, with the one that was probably meant.
fn unknown(key: &str) -> String {
    let advice = match nearest(key, KEYS.into_iter()) {
        Some(nearest) => format!("did you mean \"{nearest}\"?"),
        None => "the LLAMA2.CFG of a disk image explains all keys".to_string(),
    };
    let key = short(key, QUOTED);
    format!("the key \"{key}\" is not known and was left out; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_console::layout::Layout;
    use llama2_engine::{sampler::Wishes, session::KvType, settings::Mode};

    const ALL: &str = "# ours\nmodel = 'MODELS\\STORIES.BIN'\ntokenizer = \"TOKEN.BIN\"\nprompt = \"Ünï 日本\"\nsteps = 100\ntemperature = 0\n\
                       top_p = 0.95\nseed = 42\nmode = \"chat\"\nsystem = \"Be brief.\"\nlog = true\nexit = \"shutdown\"\n\
                       top_k = 20\nmin_p = 0\ntypical = 0.9\nrepeat_penalty = 1.1\nrepeat_last_n = 32\n\
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
            let want = Options {
                model: Some("MODELS\\STORIES.BIN".into()),
                tokenizer: Some("TOKEN.BIN".into()),
                prompt: Some("Ünï 日本".into()),
                prompt_file: None,
                steps: Some(100),
                sampling: Wishes::default()
                    .with_bias(7, -1.5)
                    .with_bias(8, 2.0)
                    .with(Knob::Temperature, 0.0)
                    .with(Knob::TopP, 0.95)
                    .with(Knob::TopK, 20.0)
                    .with(Knob::MinP, 0.0)
                    .with(Knob::Typical, 0.9)
                    .with(Knob::RepeatPenalty, 1.1)
                    .with(Knob::RepeatLastN, 32.0)
                    .with(Knob::FrequencyPenalty, 0.5)
                    .with(Knob::PresencePenalty, -0.5),
                stop: Some(["User:".into(), "\n\n".into()].into()),
                think: Some(Think::Hide),
                seed: Some(42),
                mode: Some(Mode::Chat),
                system: Some("Be brief.".into()),
                log: Some(true),
                exit: Some(Exit::Shutdown),
                keyboard: Layout::by_name("de"),
                display: Some(Screen::Text),
                threads: Some(3),
                context: Some(100),
                kernels: Some("avx2"),
                kv: Some(KvType::F16),
                bench: Some(false),
                test: cfg!(feature = "test-hooks").then_some(Hook::Blocking),
            };
            let unknown = usize::from(want.test.is_none());
            assert_eq!((options, warnings.len()), (want, unknown));
        }
        assert_eq!(parse(b"").unwrap().0, Options::default());
        // A single one needs no brackets.
        let one = parse(b"stop = 'User:'\nlogit_bias = '3=1'").unwrap().0;
        assert_eq!(one.stop, Some(["User:".into()].into()));
        assert_eq!(one.sampling.bias, Some([(3, 1.0)].into()));
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
        assert!(warnings[MOST_WARNINGS].starts_with("4992 more keys"));

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
                "steps = -1 will not do: it must be a whole number, 0 or more",
            ),
            ("steps = \"many\"", "steps = \"many\""),
            ("temperature = \"warm\"", "a number of 0 or more"),
            ("temperature = -0.5", "temperature = -0.5"),
            ("temperature = nan", "a number of 0 or more"),
            ("top_p = 1.5", "a number from 0 to 1"),
            ("seed = 0.5", "a whole number"),
            (
                "top_k = 1.5",
                "top_k = 1.5 will not do: it must be a whole number from 0 to 16777216",
            ),
            ("min_p = 2", "a number from 0 to 1"),
            ("typical = 'x'", "a number from 0 to 1"),
            ("repeat_penalty = 0", "a number of more than 0"),
            ("repeat_last_n = -1", "a whole number from 0 to 65536"),
            ("presence_penalty = 1e9", "a number from -100 to 100"),
            ("logit_bias = 5", "a text in quotes, or up to 64"),
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
                "\"scalar\" or \"sse2\" or \"avx2\" or \"avx512\"",
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
        let right = Options {
            exit: Some(Exit::Shutdown),
            log: Some(true),
            ..Options::default()
        };
        assert_eq!(salvage(wrong), right);
        assert_eq!(
            salvage(b"log = true\nmodel = \"\\S\"\nexit = 'shutdown'\r\n"),
            right
        );
        assert_eq!(salvage(b"exit = "), Options::default());
        assert_eq!(salvage(b"\xff"), Options::default());
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
}
