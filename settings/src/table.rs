//! Table of parameters. A new parameter is a row; that of a sampler also needs a step in the chain.

use crate::{
    Api, Defaults, Display, Domain, Exit, Mode, SamplerDefaults, Spec, Switch, Think,
    spec::{Choice, words},
};

/// Row with empty columns, to be filled in by the table.
const fn plain(param: Param) -> Spec {
    Spec {
        param,
        key: "",
        saved: "",
        letter: ' ',
        flags: &[],
        value_name: "",
        commands: &[],
        arguments: "[number]",
        about: "",
        api: Api::NONE,
        domain: Domain::Text,
        defaults: Defaults::Elsewhere,
        secret: false,
        help: "",
        note: "",
        example: "",
    }
}

macro_rules! table {
    ($($param:ident { help: $help:literal, $($field:ident: $value:expr,)* })*) => {
        /// A parameter: its row in [`TABLE`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Param {
            $(#[doc = $help] $param,)*
        }

        /// All parameters, in the order of `LLAMA2.CFG`.
        pub static TABLE: [Spec; [$(Param::$param),*].len()] = [
            $(Spec { help: $help, $($field: $value,)* ..plain(Param::$param) },)*
        ];
    };
}

impl Param {
    /// Row of the parameter.
    pub fn spec(self) -> &'static Spec {
        &TABLE[self as usize]
    }

    /// Parameter with this key in `LLAMA2.CFG`.
    pub fn of_key(key: &str) -> Option<Param> {
        let spec = TABLE.iter().find(|spec| !key.is_empty() && spec.key == key);
        spec.map(|spec| spec.param)
    }

    /// All parameters of samplers, with their defaults.
    pub fn samplers() -> impl Iterator<Item = (Param, SamplerDefaults)> {
        TABLE.iter().filter_map(|spec| match spec.defaults {
            Defaults::Sampler(defaults) => Some((spec.param, defaults)),
            Defaults::Elsewhere => None,
        })
    }
}

const fn sampler(run_c: f32, llama_cpp: f32, special: (f32, &'static str)) -> Defaults {
    Defaults::Sampler(SamplerDefaults {
        run_c,
        llama_cpp,
        special,
    })
}

const fn number(least: f32, most: f32, allowed: &'static str) -> Domain {
    Domain::Number {
        least,
        most,
        allowed,
        whole: false,
        adjusted: false,
    }
}

const fn count(most: f32, allowed: &'static str) -> Domain {
    Domain::Number {
        least: 0.0,
        most,
        allowed,
        whole: true,
        adjusted: false,
    }
}

/// Allows values out of range on a command line, which are then corrected as in run.c.
const fn adjusted(domain: Domain) -> Domain {
    match domain {
        Domain::Number {
            least,
            most,
            allowed,
            whole,
            ..
        } => Domain::Number {
            least,
            most,
            allowed,
            whole,
            adjusted: true,
        },
        other => other,
    }
}

const FROM_0: Domain = number(0.0, f32::MAX, "a number of 0 or more");
const SHARE: Domain = number(0.0, 1.0, "a number from 0 to 1");
const PENALTY: Domain = number(-100.0, 100.0, "a number from -100 to 100");
const COUNTED: Domain = Domain::Whole {
    least: 1,
    adjusted: false,
};
const KEEPS_ALL: &str = "keeps all";
const NONE: &str = "none";

static MODES: [&str; 2] = words(Mode::NAMES);
static THINK: [&str; 3] = words(Think::NAMES);
static SWITCH: [&str; 2] = words(Switch::NAMES);
static EXITS: [&str; 3] = words(Exit::NAMES);
static DISPLAYS: [&str; 3] = words(Display::NAMES);

table! {
    Model {
        help: "Checkpoint (llama2.c's .bin, or .gguf); \"bundled\" is the model inside llama2.efi.",
        key: "model",
        value_name: "checkpoint",
        note: "Default: STORIES*.BIN, MODEL.BIN\nor *.GGUF in \\ or \\MODELS (a menu if there are \
            several), else the bundled model. Write / or use single quotes: 'MODELS\\MY.BIN'. A \
            .gguf may also lie on a web server: \"http://192.168.1.2/MY.GGUF\".",
        example: "\"STORIES.BIN\"",
    }
    Sha256 {
        help: "SHA-256 of that checkpoint, which is compared while llama2.efi reads it.",
        key: "sha256",
        domain: Domain::Sha256,
        note: "64 digits, as sha256sum prints them. A model on a web server needs it.",
        example: "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"",
    }
    Tokenizer {
        help: "Tokenizer of that checkpoint; a .gguf file has its own.",
        key: "tokenizer",
        letter: 'z',
        flags: &["tokenizer"],
        value_name: "tokenizer",
        note: "Default: TOKENIZER.BIN or TOKEN.BIN.",
        example: "\"TOKEN.BIN\"",
    }
    Prompt {
        help: "The text to continue.",
        key: "prompt",
        letter: 'i',
        flags: &["prompt"],
        value_name: "prompt",
        api: Api { openai: "", ..Api::all("prompt") },
        example: "\"Once upon a time\"",
    }
    PromptFile {
        help: "File that holds the prompt.",
        letter: 'f',
        flags: &["file"],
        value_name: "file",
    }
    Steps {
        help: "Number of tokens, including the prompt's; 0 is as many as the context holds.",
        key: "steps",
        saved: "max",
        letter: 'n',
        flags: &["tokens", "n-predict", "predict", "max-tokens", "steps"],
        value_name: "steps",
        commands: &["max"],
        arguments: "[tokens]",
        about: "Show or set the length limit of a reply; 0 is the rest of the context.",
        api: Api { llama_server: "n_predict", openai: "max_completion_tokens", ollama: "num_predict" },
        domain: Domain::Whole { least: 0, adjusted: true },
        note: "Default: 512\nin a conversation and for the bundled model, else 256. In a .gguf model's chat it is the \
            maximum per answer, by default 1024.",
        example: "256",
    }
    Temperature {
        help: "Temperature: 0 always picks the most likely token, 1 samples from the model's own \
            distribution.",
        key: "temperature",
        saved: "temperature",
        letter: 't',
        flags: &["temperature", "temp"],
        value_name: "temperature",
        commands: &["temp", "temperature"],
        about: "Show or set the temperature: 0 always picks the most likely token.",
        api: Api::all("temperature"),
        domain: adjusted(FROM_0),
        defaults: sampler(1.0, 0.8, (0.0, "the most likely token each time")),
        note: "Default: 1; in a .gguf model's chat 0.8.",
        example: "1.0",
    }
    TopP {
        help: "Sample from the most likely tokens whose probabilities add up to this; 1 is off.",
        key: "top_p",
        saved: "top_p",
        letter: 'p',
        flags: &["top-p"],
        value_name: "top_p",
        commands: &["top_p"],
        about: "Show or set top-p: keep the most likely tokens that add up to this probability; 1 \
            keeps all.",
        api: Api::all("top_p"),
        domain: adjusted(SHARE),
        defaults: sampler(0.9, 0.95, (1.0, KEEPS_ALL)),
        note: "Default: 0.9; in a .gguf model's chat 0.95.",
        example: "0.9",
    }
    Seed {
        help: "The same seed gives the same text; 0 picks one at random.",
        key: "seed",
        saved: "seed",
        letter: 's',
        flags: &["seed"],
        value_name: "seed",
        commands: &["seed"],
        arguments: "[number | random]",
        about: "Show or set the seed: the same one gives the same text; random picks one.",
        api: Api::all("seed"),
        domain: Domain::Seed,
        note: "Default: 0.",
        example: "0",
    }
    Mode {
        help: "\"generate\" continues the prompt, \"chat\" answers it.",
        key: "mode",
        letter: 'm',
        flags: &["mode"],
        value_name: "generate|chat",
        domain: Domain::Word(&MODES),
        note: "It uses the model's own template\n(Llama 2's for llama2.c's checkpoints; a .gguf \
            model without one continues what you type).\nDefault: \"chat\" for models with a \
            chat template, stories for others.",
        example: "\"generate\"",
    }
    System {
        help: "System prompt, in chat.",
        key: "system",
        letter: 'y',
        flags: &["system", "system-prompt"],
        value_name: "system",
        api: Api { llama_server: "", openai: "", ollama: "system" },
        example: "\"Answer briefly.\"",
    }
    Think {
        help: "Reasoning text that some models write before they answer: \"show\", \"hide\", or \
            \"off\" (the model is told not to think).",
        key: "think",
        saved: "think",
        flags: &["think"],
        value_name: "show|hide|off",
        commands: &["think"],
        arguments: "[show | hide | off]",
        about: "Show or set what to do with reasoning text.",
        api: Api { llama_server: "", openai: "", ollama: "think" },
        domain: Domain::Word(&THINK),
        note: "Default: \"show\".",
        example: "\"show\"",
    }
    Date {
        help: "Today's date as the chat template is told it.",
        key: "date",
        flags: &["date"],
        value_name: "YYYY-MM-DD",
        domain: Domain::Date,
        note: "Default: the clock's.",
        example: "\"2024-07-26\"",
    }
    Markdown {
        help: "\"on\" shows Markdown in a chat's answers as headings, lists, tables and so on, on \
            screens and terminals; \"off\" shows answers as they are written.",
        key: "markdown",
        saved: "markdown",
        flags: &["markdown"],
        value_name: "on|off",
        commands: &["markdown"],
        arguments: "[on | off]",
        about: "Show or set whether Markdown in answers is laid out.",
        domain: Domain::Word(&SWITCH),
        note: "Default: \"on\". Files, pipes and saved conversations always get the text itself.",
        example: "\"on\"",
    }
    Stop {
        help: "Stop when the model writes this text: one text, or several.",
        key: "stop",
        saved: "stop",
        flags: &["stop"],
        value_name: "text",
        commands: &["stop"],
        arguments: "[text | off]",
        about: "Show the texts that end a reply, add one (\\n is a line break), or remove all.",
        api: Api::all("stop"),
        domain: Domain::Texts,
        example: "[\"User:\", \"The End\"]",
    }
    TopK {
        help: "Keep only the k most likely tokens; 0 is all.",
        key: "top_k",
        saved: "top_k",
        flags: &["top-k"],
        value_name: "N",
        commands: &["top_k"],
        about: "Show or set top-k: keep only the k most likely tokens; 0 keeps all.",
        api: Api::local("top_k"),
        // Above this not every integer is a float; no vocabulary is that large.
        domain: count(16_777_216.0, "a whole number from 0 to 16777216"),
        defaults: sampler(0.0, 40.0, (0.0, KEEPS_ALL)),
        example: "40",
    }
    MinP {
        help: "Keep tokens at least this likely relative to the most likely one; 0 is all.",
        key: "min_p",
        saved: "min_p",
        flags: &["min-p"],
        value_name: "P",
        commands: &["min_p"],
        about: "Show or set min-p: keep tokens at least this likely relative to the most likely \
            one; 0 keeps all.",
        api: Api::local("min_p"),
        domain: SHARE,
        defaults: sampler(0.0, 0.05, (0.0, KEEPS_ALL)),
        example: "0.05",
    }
    Typical {
        help: "Keep the most typical tokens that add up to this probability; 1 is all.",
        key: "typical",
        saved: "typical",
        flags: &["typical"],
        value_name: "P",
        commands: &["typical"],
        about: "Show or set typical sampling: keep the most typical tokens that add up to this \
            probability; 1 keeps all.",
        api: Api { llama_server: "typical_p", openai: "", ollama: "typical_p" },
        domain: SHARE,
        defaults: sampler(1.0, 1.0, (1.0, KEEPS_ALL)),
        example: "1.0",
    }
    TopNSigma {
        help: "Keep tokens whose logits are within this many standard deviations of the largest; 0 \
            is all.",
        key: "top_n_sigma",
        saved: "top_n_sigma",
        flags: &["top-n-sigma"],
        value_name: "X",
        commands: &["top_n_sigma"],
        about: "Show or set top-n-sigma: keep tokens whose logits are within this many standard \
            deviations of the largest; 0 keeps all.",
        api: Api::server("top_n_sigma"),
        domain: FROM_0,
        defaults: sampler(0.0, 0.0, (0.0, KEEPS_ALL)),
        example: "0.0",
    }
    XtcProbability {
        help: "How often XTC removes all likely tokens but the least likely of them; 0 is never.",
        key: "xtc_probability",
        saved: "xtc_probability",
        flags: &["xtc-probability"],
        value_name: "P",
        commands: &["xtc_probability"],
        about: "Show or set how often XTC removes all likely tokens but the least likely of them; \
            0 is never.",
        api: Api::server("xtc_probability"),
        domain: SHARE,
        defaults: sampler(0.0, 0.0, (0.0, "never")),
        example: "0.0",
    }
    XtcThreshold {
        help: "Probability from which XTC calls a token likely; above 0.5 it removes none.",
        key: "xtc_threshold",
        saved: "xtc_threshold",
        flags: &["xtc-threshold"],
        value_name: "P",
        commands: &["xtc_threshold"],
        about: "Show or set the probability from which XTC calls a token likely.",
        api: Api::server("xtc_threshold"),
        domain: SHARE,
        defaults: sampler(0.1, 0.1, (1.0, "removes none")),
        example: "0.1",
    }
    DynatempRange {
        help: "Vary the temperature by up to this, more where less is certain; 0 is off.",
        key: "dynatemp_range",
        saved: "dynatemp_range",
        flags: &["dynatemp-range"],
        value_name: "X",
        commands: &["dynatemp_range"],
        about: "Show or set by how much the temperature varies, more where less is certain; 0 is \
            off.",
        api: Api::server("dynatemp_range"),
        domain: FROM_0,
        defaults: sampler(0.0, 0.0, (0.0, NONE)),
        example: "0.0",
    }
    DynatempExponent {
        help: "Exponent of the uncertainty by which the temperature varies.",
        key: "dynatemp_exponent",
        saved: "dynatemp_exponent",
        flags: &["dynatemp-exp"],
        value_name: "X",
        commands: &["dynatemp_exponent"],
        about: "Show or set the exponent of the uncertainty by which the temperature varies.",
        api: Api::server("dynatemp_exponent"),
        domain: FROM_0,
        defaults: sampler(1.0, 1.0, (0.0, "always the most")),
        example: "1.0",
    }
    Mirostat {
        help: "Version of Mirostat, 1 or 2, which replaces the filters; 0 is off.",
        key: "mirostat",
        saved: "mirostat",
        flags: &["mirostat"],
        value_name: "N",
        commands: &["mirostat"],
        about: "Show or set the version of Mirostat, which replaces the filters; 0 is off.",
        api: Api::local("mirostat"),
        domain: count(2.0, "0, 1 or 2"),
        defaults: sampler(0.0, 0.0, (0.0, "off")),
        example: "0",
    }
    MirostatTau {
        help: "Surprise of a token, in bits, that Mirostat aims at.",
        key: "mirostat_tau",
        saved: "mirostat_tau",
        flags: &["mirostat-ent"],
        value_name: "X",
        commands: &["mirostat_tau"],
        about: "Show or set the surprise of a token, in bits, that Mirostat aims at.",
        api: Api::local("mirostat_tau"),
        domain: FROM_0,
        defaults: sampler(5.0, 5.0, (0.0, "the most likely token each time")),
        example: "5.0",
    }
    MirostatEta {
        help: "Learning rate of Mirostat.",
        key: "mirostat_eta",
        saved: "mirostat_eta",
        flags: &["mirostat-lr"],
        value_name: "X",
        commands: &["mirostat_eta"],
        about: "Show or set the learning rate of Mirostat.",
        api: Api::local("mirostat_eta"),
        domain: SHARE,
        defaults: sampler(0.1, 0.1, (0.0, "it learns nothing")),
        example: "0.1",
    }
    RepeatPenalty {
        help: "Divide the logits of recent tokens by this; 1 is off.",
        key: "repeat_penalty",
        saved: "repeat_penalty",
        flags: &["repeat-penalty"],
        value_name: "X",
        commands: &["repeat"],
        arguments: "[penalty [tokens]]",
        about: "Show or set the repetition penalty (1 is off), and how many recent tokens it \
            considers.",
        api: Api::local("repeat_penalty"),
        domain: number(f32::MIN_POSITIVE, f32::MAX, "a number of more than 0"),
        defaults: sampler(1.0, 1.0, (1.0, NONE)),
        example: "1.0",
    }
    RepeatLastN {
        help: "How many recent tokens the penalties consider.",
        key: "repeat_last_n",
        saved: "repeat_last_n",
        flags: &["repeat-last-n"],
        value_name: "N",
        commands: &["repeat_last_n"],
        arguments: "[tokens]",
        about: "Show or set how many recent tokens the penalties consider.",
        api: Api::local("repeat_last_n"),
        // The chain remembers this many; more than any context of a model that repeats itself.
        domain: count(65_536.0, "a whole number from 0 to 65536"),
        defaults: sampler(64.0, 64.0, (0.0, NONE)),
        example: "64",
    }
    RepeatGuard {
        help: "\"on\" ends a chat's answer that repeats the same words without end.",
        key: "repeat_guard",
        saved: "repeat_guard",
        flags: &["repeat-guard"],
        value_name: "on|off",
        commands: &["repeat_guard"],
        arguments: "[on | off]",
        about: "Show or set whether an answer that repeats itself without end is ended.",
        domain: Domain::Word(&SWITCH),
        note: "Default: \"on\".",
        example: "\"on\"",
    }
    FrequencyPenalty {
        help: "Subtract this from a token's logit for each recent occurrence.",
        key: "frequency_penalty",
        saved: "frequency_penalty",
        flags: &["frequency-penalty"],
        value_name: "X",
        commands: &["frequency", "frequency_penalty"],
        about: "Show or set the frequency penalty: subtracted from a token's logit per recent \
            occurrence.",
        api: Api::all("frequency_penalty"),
        domain: PENALTY,
        defaults: sampler(0.0, 0.0, (0.0, NONE)),
        example: "0.0",
    }
    PresencePenalty {
        help: "Subtract this from a token's logit if it occurred recently.",
        key: "presence_penalty",
        saved: "presence_penalty",
        flags: &["presence-penalty"],
        value_name: "X",
        commands: &["presence", "presence_penalty"],
        about: "Show or set the presence penalty: subtracted from a token's logit if it occurred \
            recently.",
        api: Api::all("presence_penalty"),
        domain: PENALTY,
        defaults: sampler(0.0, 0.0, (0.0, NONE)),
        example: "0.0",
    }
    LogitBias {
        help: "Add to the logits of tokens, which are given by number.",
        key: "logit_bias",
        saved: "logit_bias",
        flags: &["logit-bias"],
        value_name: "token=X",
        commands: &["logit_bias"],
        arguments: "[token=number | off]",
        about: "Show the biases of tokens' logits, add one, or remove all.",
        api: Api { llama_server: "logit_bias", openai: "logit_bias", ollama: "" },
        domain: Domain::Biases,
        example: "[\"42=-1.5\", \"7=2\"]",
    }
    Threads {
        help: "Number of cores to use.",
        key: "threads",
        flags: &["threads"],
        value_name: "N",
        api: Api { llama_server: "", openai: "", ollama: "num_thread" },
        domain: COUNTED,
        note: "Default: as many as are fastest, measured over the first tokens.",
        example: "2",
    }
    Context {
        help: "Length of the context in tokens.",
        key: "context",
        letter: 'c',
        flags: &["context", "ctx-size"],
        value_name: "N",
        api: Api { llama_server: "", openai: "", ollama: "num_ctx" },
        domain: COUNTED,
        note: "Default: the model's own, or as many as fit into memory.",
        example: "1024",
    }
    Kernels {
        help: "Vector unit to use: \"scalar\"; on x86-64 \"sse2\", \"ssse3\", \"avx2\" or \"avx512\"; on \
            AArch64 \"neon\", \"dotprod\" or \"i8mm\".",
        key: "kernels",
        flags: &["kernels"],
        value_name: "NAME",
        domain: Domain::Word(&[
            "scalar", "sse2", "ssse3", "avx2", "avx512", "neon", "dotprod", "i8mm",
        ]),
        note: "Default: the best that all cores have.",
        example: "\"avx2\"",
    }
    Kv {
        help: "Type of the KV cache: \"f32\", or, with slightly different text, \"f16\" in half \
            the memory or \"q8_0\" in a quarter.",
        key: "kv",
        flags: &["kv"],
        value_name: "f32|f16|q8_0",
        domain: Domain::Word(&["f32", "f16", "q8_0"]),
        note: "Default: \"f32\".",
        example: "\"f32\"",
    }
    Speculation {
        help: "\"on\" guesses tokens from what a text has said before and checks several in one \
            pass, where that is faster; \"off\" makes a pass for each. The text is the same.",
        key: "speculation",
        flags: &["speculation"],
        value_name: "on|off",
        domain: Domain::Word(&SWITCH),
        note: "Default: \"on\".",
        example: "\"on\"",
    }
    Bench {
        help: "true measures the machine's speed with the model instead of telling a story.",
        key: "bench",
        flags: &["bench"],
        domain: Domain::Truth,
        example: "false",
    }
    Log {
        help: "true appends each stage to LLAMA2.LOG on this volume: on a machine that hangs, it \
            ends with the last step that worked.",
        key: "log",
        flags: &["log"],
        domain: Domain::Truth,
        example: "false",
    }
    Exit {
        help: "End after one story: \"key\" waits for a key and returns to the firmware, \
            \"return\" returns at once, \"shutdown\" switches the machine off.",
        key: "exit",
        flags: &["exit"],
        value_name: "key|shutdown|return",
        domain: Domain::Word(&EXITS),
        note: "Default: a conversation, until /exit.",
        example: "\"key\"",
    }
    Keyboard {
        help: "Keyboard layout: \"us\", \"uk\", \"de\", \"fr\", \"es\" or \"it\"; firmware \
            treats every keyboard as a US one.",
        key: "keyboard",
        flags: &["keyboard"],
        value_name: "us|uk|de|fr|es|it",
        domain: Domain::Word(&["us", "uk", "de", "fr", "es", "it"]),
        note: "Input from a serial line is not translated.",
        example: "\"us\"",
    }
    Display {
        help: "\"screen\" is the full screen with conversation, input and status, \"text\" the \
            firmware's text console; \"auto\" is the full screen if there is a frame buffer.",
        key: "display",
        flags: &["display"],
        value_name: "auto|screen|text",
        domain: Domain::Word(&DISPLAYS),
        note: "A serial line always gets text.",
        example: "\"auto\"",
    }
    Serve {
        help: "true makes llama2.efi a server: it answers requests over the network, beside the \
            conversation on the screen.",
        key: "serve",
        domain: Domain::Truth,
        note: "Default: false; the network is then left alone.",
        example: "true",
    }
    Address {
        help: "Address of the machine, for the server in llama2.efi: \"dhcp\", or an address with \
            the length of its network's prefix, and perhaps its router.",
        key: "address",
        domain: Domain::Address,
        note: "Default: \"dhcp\".",
        example: "\"192.168.1.5/24 via 192.168.1.1\"",
    }
    Port {
        help: "TCP port of the server in llama2.efi.",
        key: "port",
        domain: Domain::Number {
            least: 1.0,
            most: 65_535.0,
            allowed: "a whole number from 1 to 65535",
            whole: true,
            adjusted: false,
        },
        note: "Default: 8080.",
        example: "8080",
    }
    Alias {
        help: "Name of the model in the answers of the server in llama2.efi.",
        key: "alias",
        note: "Default: the model's own.",
        example: "\"my-model\"",
    }
    Slots {
        help: "Requests that the server in llama2.efi answers at once, each with a context of its own.",
        key: "slots",
        domain: COUNTED,
        note: "Default: 4, or as many as there is memory for.",
        example: "4",
    }
    ApiKey {
        help: "Key that clients of the server in llama2.efi must send.",
        key: "api_key",
        secret: true,
        note: "Default: none is asked for. It crosses the network unencrypted.",
        example: "\"a-long-secret\"",
    }
    Nic {
        help: "Network card of the server in llama2.efi, by its address.",
        key: "nic",
        domain: Domain::Mac,
        note: "Default: the first one that gets an address.",
        example: "\"52:54:00:12:34:56\"",
    }
    Test {
        help: "Simulated misbehaviour of firmware, for tests.",
        key: if cfg!(feature = "test-hooks") { "test" } else { "" },
        domain: Domain::Word(&["blocking", "disabled", "panic", "blocking-panic", "no-rename", "mnp"]),
    }
}
