//! The UEFI Shell's command line: `llama2 run`'s flags, and the end.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_engine::{
    sampler::{Knob, parse_bias},
    settings::Think,
};

use crate::options::{self, Display, Exit, KERNELS, KV_TYPES, MODES, Options, by_name};

/// What `--help` shows.
pub const HELP: &str = "\
llama2.efi [checkpoint] [-z tokenizer] [-t temperature] [-p top_p] [-s seed]
           [-n steps] [-i prompt | -f file] [-m generate|chat] [-y system]
           [--think show|hide|off] [--stop text] [--top-k N] [--min-p P] [--typical P]
           [--repeat-penalty X] [--repeat-last-n N] [--frequency-penalty X]
           [--presence-penalty X] [--logit-bias token=X]
           [--threads N] [--kernels scalar|sse2|avx2|avx512] [--kv f32|f16|q8_0] [--context N]
           [--bench] [--exit key|shutdown|return] [--log]
           [--keyboard us|uk|de|fr|es|it] [--display auto|screen|text]
A word with spaces goes into quotes: -i \"Once upon a time\"
With --exit it tells one story and ends; without it, /help tells the rest.
Without a checkpoint: the one that LLAMA2.CFG names, one that lies on a
volume, or the model inside this file. See the README.";

/// What a command line asks for.
#[derive(Debug, PartialEq)]
pub enum Line {
    /// A run with these wishes.
    Run(Box<Options>),
    /// The help text.
    Help,
}

/// Reads the words behind the program's name.
///
/// # Errors
/// A sentence about the first word that will not do.
pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Line, String> {
    let mut options = Options::default();
    let mut words = words.iter().map(AsRef::as_ref);
    while let Some(word) = words.next() {
        if matches!(word, "-h" | "--help" | "-?") {
            return Ok(Line::Help);
        }
        match word {
            "--log" => {
                options.log = Some(true);
                continue;
            }
            "--bench" => {
                options.bench = Some(true);
                continue;
            }
            _ => (),
        }
        if let Some((name, attached)) = long(word) {
            let value = attached.or_else(|| words.next()).unwrap_or_default();
            set(&mut options, name, value)
                .map_err(|allowed| format!("{name} {value} is not {allowed}"))?;
            continue;
        }
        let mut letters = word.chars();
        match (letters.next(), letters.next()) {
            (Some('-'), Some(letter)) if "ztpsnifmy".contains(letter) => {
                let attached = letters.as_str();
                let value = if attached.is_empty() {
                    words.next()
                } else {
                    Some(attached)
                };
                let value = value.ok_or_else(|| format!("-{letter} needs a value behind it"))?;
                flag(&mut options, letter, value)?;
            }
            (Some('-'), Some(_)) => {
                return Err(format!("the option {word} is not known; --help shows all"));
            }
            _ if options.model.is_none() => options.model = Some(word.to_string()),
            _ => {
                return Err(format!(
                    "{word} is one checkpoint too many; a text with spaces goes into quotes"
                ));
            }
        }
    }
    if options.prompt.is_some() && options.prompt_file.is_some() {
        return Err("-i and -f both give a prompt; take one".into());
    }
    Ok(Line::Run(Box::new(options)))
}

/// The end that the words ask for, even where [`parse`] refuses them.
pub fn exit<S: AsRef<str>>(words: &[S]) -> Option<Exit> {
    let mut words = words.iter().map(AsRef::as_ref);
    let mut wished = None;
    while let Some(word) = words.next() {
        let value = match word.strip_prefix("--exit") {
            Some("") => words.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        let known = value.and_then(|value| by_name(&Exit::NAMES, value).ok());
        wished = known.or(wished);
    }
    wished
}

/// The long options that have a value.
const LONG: [&str; 17] = [
    "--exit",
    "--keyboard",
    "--display",
    "--threads",
    "--context",
    "--kernels",
    "--kv",
    "--think",
    "--stop",
    "--logit-bias",
    "--top-k",
    "--min-p",
    "--typical",
    "--repeat-penalty",
    "--repeat-last-n",
    "--frequency-penalty",
    "--presence-penalty",
];

/// A long option's name, and its value if that is in the same word.
fn long(word: &str) -> Option<(&'static str, Option<&str>)> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let name = LONG.into_iter().find(|&known| known == name)?;
    Some((name, value))
}

/// Sets one of [`LONG`]; the error says what is allowed.
fn set(options: &mut Options, name: &str, value: &str) -> Result<(), String> {
    if let Some(knob) = Knob::named(name.trim_start_matches('-')) {
        let number = value.parse().unwrap_or(f32::NAN);
        knob.check(number)?;
        options.sampling.set(knob, Some(number));
        return Ok(());
    }
    match name {
        "--think" => options.think = Some(by_name(&Think::NAMES, value)?),
        "--stop" if value.is_empty() => return Err("a text".into()),
        "--stop" => options.stop.get_or_insert_default().push(value.into()),
        "--logit-bias" => {
            let biases = options.sampling.bias.get_or_insert_default();
            biases.push(parse_bias(value)?);
        }
        "--exit" => options.exit = Some(by_name(&Exit::NAMES, value)?),
        "--keyboard" => options.keyboard = Some(options::keyboard(value)?),
        "--display" => options.display = Some(by_name(&Display::NAMES, value)?),
        "--kernels" => options.kernels = Some(by_name(&KERNELS, value)?),
        "--kv" => options.kv = Some(by_name(&KV_TYPES, value)?),
        _ => {
            let number = value.parse().ok().filter(|&number| number > 0);
            let number = Some(number.ok_or("a whole number, 1 or more")?);
            if name == "--threads" {
                options.threads = number;
            } else {
                options.context = number;
            }
        }
    }
    Ok(())
}

fn flag(options: &mut Options, letter: char, value: &str) -> Result<(), String> {
    let number = || {
        value
            .parse::<f32>()
            .map_err(|_| format!("-{letter} {value} is not a number"))
    };
    let whole = || {
        value
            .parse::<i64>()
            .map_err(|_| format!("-{letter} {value} is not a whole number"))
    };
    let text = || Some(value.to_string());
    match letter {
        'z' => options.tokenizer = text(),
        // Out of range, they are adjusted later, as by run.c.
        't' => options.sampling.set(Knob::Temperature, Some(number()?)),
        'p' => options.sampling.set(Knob::TopP, Some(number()?)),
        // run.c lets negative seeds wrap around.
        's' => {
            options.seed = Some(
                value
                    .parse::<u64>()
                    .or_else(|_| whole().map(|n| n as u64))?,
            )
        }
        'n' => options.steps = Some(whole()?),
        'i' => options.prompt = text(),
        'f' => options.prompt_file = text(),
        'm' => {
            options.mode =
                Some(by_name(&MODES, value).map_err(|names| format!("-m {value} is not {names}"))?)
        }
        _ => options.system = text(),
    }
    Ok(())
}

/// The words of an image's load options: text that begins with `-` (boot entries often hold other data). By the specification it is
/// UCS-2 with a null behind it; tools and people write it with a byte order mark, with a line end, and in ASCII or UTF-8, too.
pub fn load_options(bytes: &[u8]) -> Option<Vec<String>> {
    // ASCII has no zero in its first pair; and of other data little begins with a dash.
    let narrow = match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => Some(rest),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [_, 0, ..] | [0, _, ..] => None,
        rest => Some(rest),
    };
    let text = match narrow {
        Some(bytes) => {
            let end = bytes.iter().position(|&byte| byte == 0);
            String::from_utf8(bytes[..end.unwrap_or(bytes.len())].into()).ok()?
        }
        None => {
            let swapped = bytes.starts_with(&[0xfe, 0xff]);
            let units = bytes.chunks_exact(2).map(|pair| match swapped {
                true => u16::from_be_bytes([pair[0], pair[1]]),
                false => u16::from_le_bytes([pair[0], pair[1]]),
            });
            let units: Vec<u16> = units.take_while(|&unit| unit != 0).collect();
            String::from_utf16(&units).ok()?
        }
    };
    let text = text.trim_start_matches('\u{feff}').trim();
    text.starts_with('-').then(|| split(text))
}

/// Words apart by blanks and line ends; double quotes keep spaces inside a word.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' | '\r' | '\n' if !quoted => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_console::layout::Layout;
    use llama2_engine::{sampler::Wishes, session::KvType, settings::Mode};

    fn run(words: &[&str]) -> Options {
        match parse(words) {
            Ok(Line::Run(options)) => *options,
            other => panic!("{words:?}: {other:?}"),
        }
    }

    #[test]
    fn flags() {
        let all = [
            "m.bin", "-z", "t.bin", "-t", "0.5", "-p", "1", "-s", "7", "-n", "10", "-i", "a b",
            "-m", "chat", "-y", "s", "--exit", "return",
        ];
        let options = run(&all);
        assert_eq!(options.model.as_deref(), Some("m.bin"));
        assert_eq!(options.tokenizer.as_deref(), Some("t.bin"));
        let knobs = Wishes::default().with(Knob::Temperature, 0.5);
        assert_eq!(options.sampling, knobs.with(Knob::TopP, 1.0));
        assert_eq!((options.seed, options.steps), (Some(7), Some(10)));
        assert_eq!(
            (options.prompt.as_deref(), options.system.as_deref()),
            (Some("a b"), Some("s"))
        );
        assert_eq!(
            (options.mode, options.exit),
            (Some(Mode::Chat), Some(Exit::Return))
        );
        assert_eq!(run(&[]), Options::default());
        assert_eq!(run(&["-i", "-x"]).prompt.as_deref(), Some("-x"));
        assert_eq!(
            run(&["-t-1", "-s", "-5", "-n0"]),
            Options {
                sampling: Wishes::default().with(Knob::Temperature, -1.0),
                seed: Some(u64::MAX - 4),
                steps: Some(0),
                ..Options::default()
            }
        );
        assert_eq!(
            run(&[
                "--exit=shutdown",
                "--log",
                "--keyboard",
                "FR",
                "--display=text"
            ]),
            Options {
                exit: Some(Exit::Shutdown),
                keyboard: Layout::by_name("fr"),
                display: Some(Display::Text),
                log: Some(true),
                ..Options::default()
            }
        );
        assert_eq!(
            run(&[
                "--threads",
                "2",
                "--context=64",
                "--kernels=avx2",
                "--kv",
                "f16",
                "--bench"
            ]),
            Options {
                threads: Some(2),
                context: Some(64),
                kernels: Some("avx2"),
                kv: Some(KvType::F16),
                bench: Some(true),
                ..Options::default()
            }
        );
        let chat = [
            "--top-k",
            "20",
            "--min-p=0.1",
            "--typical",
            "0.9",
            "--repeat-penalty",
            "1.1",
            "--repeat-last-n",
            "32",
            "--frequency-penalty=-1",
            "--presence-penalty",
            "-0.5",
            "--logit-bias",
            "7=-1.5",
            "--logit-bias",
            "8=2",
            "--stop",
            "a b",
            "--stop=c",
            "--think",
            "off",
        ];
        let sampling = Wishes::default().with_bias(7, -1.5).with_bias(8, 2.0);
        let want = Options {
            sampling: sampling
                .with(Knob::TopK, 20.0)
                .with(Knob::MinP, 0.1)
                .with(Knob::Typical, 0.9)
                .with(Knob::RepeatPenalty, 1.1)
                .with(Knob::RepeatLastN, 32.0)
                .with(Knob::FrequencyPenalty, -1.0)
                .with(Knob::PresencePenalty, -0.5),
            stop: Some(["a b".into(), "c".into()].into()),
            think: Some(Think::Off),
            ..Options::default()
        };
        assert_eq!(run(&chat), want);
        assert_eq!(parse(&["-t", "1", "--help"]), Ok(Line::Help));
    }

    #[test]
    fn mistakes() {
        for (words, sentence) in [
            (&["-q"][..], "the option -q is not known"),
            (&["-t"], "-t needs a value"),
            (&["-t", "warm"], "-t warm is not a number"),
            (&["-n", "1.5"], "-n 1.5 is not a whole number"),
            (&["-s", "x"], "-s x is not a whole number"),
            (&["-m", "sing"], "-m sing is not \"generate\" or \"chat\""),
            (&["--exit"], "--exit  is not \"key\""),
            (&["--keyboard=x"], "--keyboard x is not \"us\" or \"uk\""),
            (&["--display", "no"], "--display no is not \"auto\""),
            (&["--threads", "0"], "--threads 0 is not a whole number"),
            (&["--threads"], "--threads  is not a whole number"),
            (&["--context", "no"], "--context no is not a whole number"),
            (&["--kernels=mmx"], "--kernels mmx is not \"scalar\""),
            (
                &["--kv", "q8"],
                "--kv q8 is not \"f32\" or \"f16\" or \"q8_0\"",
            ),
            (&["--kvs"], "the option --kvs is not known"),
            (&["--min-p", "2"], "--min-p 2 is not a number from 0 to 1"),
            (&["--top-k", "x"], "--top-k x is not a whole number"),
            (&["--stop"], "--stop  is not a text"),
            (&["--logit-bias", "5"], "--logit-bias 5 is not a token"),
            (&["--think", "loud"], "--think loud is not \"show\""),
            (&["a", "b"], "b is one checkpoint too many"),
            (&["-i", "a", "-f", "b"], "-i and -f"),
        ] {
            let said = parse(words).expect_err("a mistake");
            assert!(said.contains(sentence), "{words:?}: {said}");
        }
    }

    #[test]
    fn the_end_is_known_among_mistakes_too() {
        assert_eq!(exit(&["-q", "--exit", "return"]), Some(Exit::Return));
        assert_eq!(exit(&["--exit=shutdown", "-t"]), Some(Exit::Shutdown));
        assert_eq!(exit(&["--exit=key", "--exit"]), Some(Exit::Key));
        for words in [&["--exit"][..], &["--exit", "never"], &["--exits=key"], &[]] {
            assert_eq!(exit(words), None, "{words:?}");
        }
    }

    #[test]
    fn load_options_are_taken_only_if_they_look_like_ours() {
        let ucs2 = |text: &str| {
            text.encode_utf16()
                .flat_map(u16::to_le_bytes)
                .collect::<Vec<u8>>()
        };
        assert_eq!(
            load_options(&ucs2("-t 0 -i \"Once upon\"  -n 5\0junk")).unwrap(),
            ["-t", "0", "-i", "Once upon", "-n", "5"]
        );
        assert_eq!(
            load_options(&ucs2("-i \"\" -n 1")).unwrap(),
            ["-i", "", "-n", "1"]
        );
        assert_eq!(load_options(&ucs2("\\EFI\\BOOT\\BOOTX64.EFI")), None);
        assert_eq!(
            load_options(&[0x2d, 0, 0, 0xd8, 0, 0]),
            None,
            "half a surrogate"
        );
        // With a byte order mark, a line end, more nulls, and in eight bits.
        let want: &[&str] = &["-t", "0", "-i", "é b"];
        let mark = |text: &str| ucs2(&format!("\u{feff}{text}"));
        let swapped: Vec<u8> = mark("-t 0 -i \"é b\"")
            .chunks(2)
            .flat_map(|pair| [pair[1], pair[0]])
            .collect();
        for bytes in [
            mark("-t 0 -i \"é b\""),
            swapped,
            ucs2("-t 0\r\n-i \"é b\"\r\n"),
            ucs2("  -t\t0 -i \"é b\"\n\0\0\0"),
            "-t 0 -i \"é b\"".into(),
            "\u{feff}-t 0 -i \"é b\"\r\n\0".into(),
            "-t 0 -i \"é b\"\0\0\0\0junk".into(),
        ] {
            assert_eq!(load_options(&bytes).unwrap(), want, "{bytes:?}");
        }
        for other in [
            &b"\\EFI"[..],
            b"x -t 0",
            b"-\xff",
            b"\0-t 0",
            b"\xfe\xff",
            b"-",
        ] {
            assert_eq!(load_options(other).filter(|words| words.len() > 1), None);
        }
        assert_eq!(load_options(b""), None);
    }
}
