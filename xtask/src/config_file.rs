//! Writes `LLAMA2.CFG`: every key with its explanation, the wished ones set.

use std::fmt::Write;

use llama2_efi::options::{Display, Exit, KV_TYPES, MODES, Options};
use llama2_engine::{sampler::Knob, settings::Think};
use toml::Value;

/// Each key with what it means and what it is without it.
const KEYS: [(&str, &str, &str); 28] = [
    (
        "model",
        "Checkpoint (llama2.c's .bin, or .gguf); \"bundled\" is the model inside llama2.efi. Without it: STORIES*.BIN, MODEL.BIN\n# or *.GGUF in \\ or \\MODELS, where there are several the one that is chosen from a menu, else the bundled one. Write / or use single quotes: 'MODELS\\MY.BIN'.",
        "\"STORIES.BIN\"",
    ),
    (
        "tokenizer",
        "Its tokenizer. Without it: TOKENIZER.BIN or TOKEN.BIN.",
        "\"TOKEN.BIN\"",
    ),
    ("prompt", "The text to go on from.", "\"Once upon a time\""),
    (
        "steps",
        "Number of tokens, the prompt's among them; 0 is as many as the model's context holds. Without it: 512\n# in a conversation, 256 where exit is set. In a .gguf model's chat: most tokens of an answer. Without it: 1024.",
        "256",
    ),
    (
        "temperature",
        "0 takes the likeliest token each time, 1 draws as the model learnt. Without it: 1, in a .gguf model's chat 0.8.",
        "1.0",
    ),
    (
        "top_p",
        "Draw from the likeliest tokens that make up this probability; 1 is off. Without it: 0.9, in such a chat 0.95.",
        "0.9",
    ),
    (
        "seed",
        "The same seed gives the same text; 0 draws one.",
        "0",
    ),
    (
        "mode",
        "Without it: models with a chat template chat, others tell stories.\n# \"generate\" goes on from the prompt; \"chat\" answers, in the model's own template\n# (Llama 2's for llama2.c's checkpoints; a .gguf model without one goes on from what is typed).",
        "\"generate\"",
    ),
    ("system", "System prompt, in chat.", "\"Answer briefly.\""),
    (
        "think",
        "What some models think before they answer: \"show\", \"hide\", or \"off\" (the model is told not to think).",
        "\"show\"",
    ),
    (
        "stop",
        "End the text before these words where the model says them: one text, or several.",
        "[\"User:\", \"The End\"]",
    ),
    (
        "top_k",
        "From here to logit_bias: llama.cpp's samplers. Without a key, in a .gguf model's chat the value after the =;\n# everywhere else it is off. Keep so many of the likeliest tokens; 0 is all.",
        "40",
    ),
    (
        "min_p",
        "Keep tokens at least this likely, measured by the likeliest; 0 is all.",
        "0.05",
    ),
    (
        "typical",
        "Keep the tokens nearest to the expected surprise that make up this probability; 1 is all.",
        "1.0",
    ),
    (
        "repeat_penalty",
        "Divide the logits of tokens that were there by this; 1 is off.",
        "1.0",
    ),
    (
        "repeat_last_n",
        "Tokens back that the three penalties look.",
        "64",
    ),
    (
        "frequency_penalty",
        "Take this from a token's logit for each time that it was there.",
        "0.0",
    ),
    (
        "presence_penalty",
        "Take this from a token's logit if it was there.",
        "0.0",
    ),
    (
        "logit_bias",
        "Add to the logits of tokens, which are given as numbers.",
        "[\"42=-1.5\", \"7=2\"]",
    ),
    (
        "threads",
        "Cores to use. Without it: as many as are fastest, found out over the first tokens.",
        "2",
    ),
    (
        "context",
        "Positions to remember. Without it: the model's own, or as many as there is memory for.",
        "1024",
    ),
    (
        "kernels",
        "The arithmetic: \"scalar\", \"sse2\", \"avx2\" or \"avx512\". Without it: the best that all cores have.",
        "\"avx2\"",
    ),
    (
        "kv",
        "What attention remembers: \"f32\", or, with slightly other text, \"f16\" in half the memory or \"q8_0\" in a quarter.",
        "\"f32\"",
    ),
    (
        "bench",
        "true measures the machine's speed with the model instead of telling a story.",
        "false",
    ),
    (
        "log",
        "true appends each stage to LLAMA2.LOG on this volume: on a machine that hangs,\n# it ends with the last thing that worked.",
        "false",
    ),
    (
        "exit",
        "One story, and the end: \"key\" waits for one and returns to the firmware, \"return\" returns at once,\n# \"shutdown\" switches the machine off. Without it: a conversation, until its user leaves with /exit.",
        "\"key\"",
    ),
    (
        "keyboard",
        "What is printed on the keyboard's keys: \"us\", \"uk\", \"de\", \"fr\", \"es\" or \"it\"; firmware takes every keyboard for a US one.\n# What comes over a serial line is taken as it is.",
        "\"us\"",
    ),
    (
        "display",
        "\"screen\" is the whole screen with conversation, input and status, \"text\" the firmware's text console;\n# \"auto\" takes the screen where there is a frame buffer. A serial line has plain text, always.",
        "\"auto\"",
    ),
];

/// The file's text.
pub fn text(options: &Options) -> String {
    let mut text = String::from(
        "# Configuration of llama2.efi (TOML). Take the # before a key away to set it.\n# The UEFI Shell's command line wins over this file: llama2.efi --help shows its flags.\n",
    );
    for (key, meaning, example) in KEYS {
        let _ = writeln!(text, "\n# {meaning}");
        let _ = match value(options, key) {
            Some(value) => writeln!(text, "{key} = {value}"),
            None => writeln!(text, "# {key} = {example}"),
        };
    }
    text
}

fn value(options: &Options, key: &str) -> Option<Value> {
    let text = |text: &Option<String>| text.clone().map(Value::String);
    fn name<T: PartialEq>(names: &[(&str, T)], value: &T) -> Value {
        let found = names.iter().find(|(_, known)| known == value);
        Value::String(found.map_or("", |(name, _)| name).to_owned())
    }
    let texts = |texts: Vec<String>| Value::Array(texts.into_iter().map(Value::String).collect());
    if let Some(knob) = Knob::named(key) {
        return options.sampling.get(knob).map(|number| {
            if knob.is_whole() {
                Value::Integer(number as i64)
            } else {
                // Through the shortest decimal: 0.9 shall not become 0.8999999761581421.
                Value::Float(number.to_string().parse().unwrap_or(f64::from(number)))
            }
        });
    }
    match key {
        "think" => options.think.map(|think| name(&Think::NAMES, &think)),
        "stop" => options.stop.clone().map(texts),
        "logit_bias" => options.sampling.bias.as_ref().map(|biases| {
            let biases = biases.iter().map(|(token, bias)| format!("{token}={bias}"));
            texts(biases.collect())
        }),
        "model" => text(&options.model),
        "tokenizer" => text(&options.tokenizer),
        "prompt" => text(&options.prompt),
        "steps" => options.steps.map(Value::Integer),
        "seed" => options.seed.map(|seed| Value::Integer(seed as i64)),
        "mode" => options.mode.map(|mode| name(&MODES, &mode)),
        "system" => text(&options.system),
        "keyboard" => options
            .keyboard
            .map(|layout| Value::String(layout.name.to_owned())),
        "display" => options
            .display
            .map(|display| name(&Display::NAMES, &display)),
        "threads" => options
            .threads
            .map(|threads| Value::Integer(threads as i64)),
        "context" => options
            .context
            .map(|context| Value::Integer(context as i64)),
        "kernels" => options.kernels.map(|name| Value::String(name.to_owned())),
        "kv" => options.kv.map(|kv| name(&KV_TYPES, &kv)),
        "bench" => options.bench.map(Value::Boolean),
        "log" => options.log.map(Value::Boolean),
        _ => options.exit.map(|exit| name(&Exit::NAMES, &exit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama2_efi::{config, options};
    use llama2_engine::{
        sampler::{Drawing, Sampling, Wishes},
        session::KvType,
        settings::Mode,
    };

    #[test]
    fn the_application_reads_what_is_written() {
        assert_eq!(
            KEYS.map(|key| key.0),
            config::KEYS,
            "every key is explained"
        );
        assert_eq!(
            config::parse(text(&Options::default()).as_bytes()),
            Ok((Options::default(), vec![]))
        );
        let options = Options {
            model: Some("MODELS\\A.BIN".into()),
            tokenizer: Some("T.BIN".into()),
            prompt: Some("He said: \"Ünï\\ 日本\"\nand\t'went'.".into()),
            prompt_file: None,
            steps: Some(0),
            sampling: Knob::ALL.into_iter().fold(
                Wishes::default().with_bias(42, -1.5).with_bias(7, 2.0),
                |wishes, knob| wishes.with(knob, if knob.is_whole() { 7.0 } else { 0.9 }),
            ),
            stop: Some(vec!["\n\"User\":".into(), "é".into()]),
            think: Some(Think::Off),
            seed: Some(u64::MAX - 4),
            mode: Some(Mode::Chat),
            system: Some(String::new()),
            log: Some(true),
            exit: Some(Exit::Shutdown),
            keyboard: options::keyboard("it").ok(),
            display: Some(Display::Screen),
            threads: Some(4),
            context: Some(300),
            kernels: Some("sse2"),
            kv: Some(KvType::F16),
            bench: Some(true),
            test: None,
        };
        assert_eq!(
            config::parse(text(&options).as_bytes()),
            Ok((options, vec![]))
        );
        // The examples do what the comments say when their # is taken away.
        let all = KEYS
            .map(|(key, _, example)| format!("{key} = {example}\n"))
            .concat();
        let (parsed, warnings) = config::parse(all.as_bytes()).unwrap();
        assert!(warnings.is_empty());
        assert_eq!(
            (parsed.steps, parsed.seed, parsed.log),
            (Some(256), Some(0), Some(false))
        );
        // The examples of the samplers are the defaults.
        let mut sampling = parsed.sampling;
        sampling.bias = None;
        sampling.set(Knob::Temperature, None);
        sampling.set(Knob::TopP, None);
        let default = Wishes::default().drawing(true);
        assert_eq!(sampling.drawing(true), default);
        assert_eq!(default, Drawing::LlamaCpp(Sampling::default()));
    }
}
