//! The command line: run.c's flags and what they say about themselves.

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
    layout::{Coded, Encoding},
    session::KvType,
    units::short,
};

use crate::{flags::Flags, machine::MOST_THREADS, plain};

/// Runs Llama language models: the engine of llama2.efi as an ordinary command.
#[derive(Parser)]
#[command(name = "llama2", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Action,
}

impl Args {
    /// Reads the command line. Where it asks for help or is wrong, this says so and ends the
    /// command.
    pub fn read() -> Args {
        let mut args = Args::try_parse().unwrap_or_else(|mut error| {
            mend(&mut error);
            plain::end(&error)
        });
        match &mut args.command {
            Action::Run(args) => args.checkpoint.take_or(&mut args.model),
            Action::Chat(args) => args.checkpoint.take_or(&mut args.model),
            Action::Info(args) => args.checkpoint.take_or(&mut args.model),
            Action::Perplexity(args) => args.checkpoint.take_or(&mut args.model),
            Action::Bench(args) => args.checkpoints.append(&mut args.model),
            _ => (),
        }
        args
    }
}

/// A name that may be given in two ways.
trait TakeOr {
    fn take_or(&mut self, other: &mut Self);
}

impl TakeOr for Option<PathBuf> {
    fn take_or(&mut self, other: &mut Self) {
        *self = self.take().or(other.take());
    }
}

/// Most characters of an argument that are said back.
const SAID_BACK: usize = 60;

/// Bounds what a complaint says back, and has it give advice that helps.
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
    // Nobody who mistypes a flag wants it to be a file's name.
    let as_value = |value: &ContextValue| format!("{value}").contains("as a value");
    if error.get(ContextKind::Suggested).is_some_and(as_value) {
        error.remove(ContextKind::Suggested);
    }
}

#[derive(Subcommand)]
pub enum Action {
    /// Generate text, or chat.
    Run(RunArgs),
    /// Talk with a model in its own chat template.
    Chat(ChatArgs),
    /// Show a checkpoint's format, shape, size and the memory it needs.
    Info(InfoArgs),
    /// Measure how fast models run here.
    Bench(BenchArgs),
    /// Write a llama2.c checkpoint and its tokenizer as one GGUF file.
    Convert(ConvertArgs),
    /// Write a model in another format, or in smaller numbers.
    Quantize(QuantizeArgs),
    /// Cut a GGUF file in several, for file systems that end at 4 GiB a file.
    Split(SplitArgs),
    /// Measure how well a model predicts a text.
    Perplexity(PerplexityArgs),
    /// Write the completions for a shell, which read them from a file or at its start.
    Completions {
        /// The shell
        #[arg(value_enum, ignore_case = true)]
        shell: Shell,
    },
    /// Write the manual page, of the command or of one of its subcommands, for man(1).
    Man {
        /// Subcommand [default: the whole command]
        subcommand: Option<String>,
    },
}

const EXAMPLES: &str = "\
Examples:
  llama2 run                                   a story by the bundled model
  llama2 run -i \"Tim found a key\" -s 7         go on from these words; the seed fixes the rest
  llama2 run stories15M.bin -t 0               another model's; tokenizer.bin is beside it
  llama2 chat SmolLM2-135M-Instruct-Q8_0.gguf  talk with it
  llama2 info stories15M.bin                   what is in that file, and whether it fits into memory
  llama2 bench stories15M.bin                  how fast it runs here
  llama2 quantize stories15M.bin stories15M.gguf --type q8_0
                                               a quarter of its size, for llama.cpp too

Models are llama2.c's checkpoints (karpathy/tinyllamas on Hugging Face has some) and GGUF files of
the llama architecture of every common type, F32 to Q2_K; also of qwen2, qwen3 and granite.";

const RUN_HELP: &str = "\
The generated text alone goes to standard output; speed and everything else to standard error.
Exit status: 0 done, 1 something is wrong with a file or the prompt, 2 with the command line. -h is
a shorter help.

Examples:
  llama2 run -t 0.8 -p 0.9 -n 200              a little less adventurous, at most 200 tokens
  llama2 run stories260K.bin -z tok512.bin     a checkpoint with a tokenizer of its own
  echo 'Once upon a time' | llama2 run         the prompt from standard input, as with -f -
  llama2 run chat.bin -m chat -y 'Be brief.'   Llama 2's chat template, as run.c has it";

#[derive(Group)]
#[command(after_help = RUN_HELP, args_override_self = true)]
pub struct RunArgs {
    /// llama2.c checkpoint (v0, v1 or int8 v2) or GGUF file [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// The same by a flag
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

    /// Prompt: the text to go on from. Without -i and -f it is what is piped into standard input,
    /// if anything is
    #[arg(short = 'i', long, allow_hyphen_values = true, value_name = "TEXT")]
    pub prompt: Option<std::ffi::OsString>,

    /// Prompt from a file (one newline at its end is left out); - is standard input
    #[arg(
        short = 'f',
        long = "file",
        value_name = "FILE",
        conflicts_with = "prompt"
    )]
    pub prompt_file: Option<PathBuf>,

    /// What to do with the prompt
    #[arg(short, long, value_enum, ignore_case = true, default_value_t = RunMode::Generate)]
    pub mode: RunMode,

    /// Say nothing but what is wrong: no context, speed or seed
    #[arg(short, long)]
    pub quiet: bool,

    #[command(flatten)]
    pub flags: Flags<false>,
}

/// What `llama2 chat` is asked for.
#[derive(Group)]
#[command(after_help = CHAT_HELP, args_override_self = true)]
pub struct ChatArgs {
    /// GGUF file or llama2.c checkpoint [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// The same by a flag
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

    /// The first question; then standard input is asked
    #[arg(short = 'i', long, allow_hyphen_values = true, value_name = "TEXT")]
    pub prompt: Option<std::ffi::OsString>,

    /// A file as the first question, with all its lines; - is all of standard input. With -i, the
    /// text of -i stands before it
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,

    /// Where questions are piped in: say nothing but what is wrong, no context or speed
    #[arg(short, long)]
    pub quiet: bool,

    /// Keep nothing of what is typed at a terminal; else Up and Ctrl-R find it in the next chat,
    /// too
    #[arg(long)]
    pub no_history: bool,

    #[command(flatten)]
    pub flags: Flags<false>,
}

const CHAT_HELP: &str = "\
The template is recognised from the file's metadata: chatml, llama2, llama3, mistral, zephyr,
granite, phi3; one of no known family is taken for chatml's, and the command says so. A GGUF model
without one goes on from what you type: nothing lets it go on. The bundled model tells a story for
each line, and so does a llama2.c checkpoint, unless -y gives it a system prompt: then it chats as
in run.c. When the context is full, the oldest turns are forgotten, and the system prompt is kept.

On a terminal it is a session as llama2.efi has it: lines are edited, Up brings earlier ones, Tab
completes, Esc or Ctrl-C stops an answer and keeps what was said, /help lists the commands, Ctrl-D
or /exit leaves. /save and /load keep conversations as files of this folder (NAME.JSL, JSON Lines).
/config writes the settings to LLAMA2.CFG in this folder, which is read when a chat begins; the
command line goes before it. /model offers the .gguf and .bin files of this folder and of the
model's. NO_COLOR in the environment leaves colours out.

Where standard input or output is no terminal, or TERM is dumb, each line of standard input is a
question (empty ones are passed over; with -f - all of it is one), its end is the chat's, and only
answers are written to standard output, thoughts and everything else to standard error; there are no
commands, and LLAMA2.CFG is not read.

Examples:
  llama2 chat                                            stories by the bundled model
  llama2 chat SmolLM2-135M-Instruct-Q8_0.gguf
  llama2 chat Qwen3-0.6B-Q4_K_M.gguf --think off -y 'Be brief.' -t 0
  echo 'Why is the sky blue?' | llama2 chat Llama-3.2-1B-Instruct-Q4_K_M.gguf > answer.txt
  llama2 chat model.gguf -q -i 'Summarise this:' -f - < report.txt > summary.txt";

fn at_least(least: usize, text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number| number >= least);
    number.ok_or_else(|| format!("a context is a number of positions, {least} or more"))
}

/// A type of keys and values.
fn kv(text: &str) -> Result<KvType, String> {
    let parsed = text.to_lowercase().parse::<KvType>();
    parsed.map_err(|error| error.to_string())
}

/// A format of results.
fn format(text: &str) -> Result<ReportFormat, String> {
    let parsed = text.to_lowercase().parse::<ReportFormat>();
    parsed.map_err(|error| error.to_string())
}

/// What `llama2 quantize` is asked for.
#[derive(Group)]
#[command(after_help = QUANTIZE_HELP)]
pub struct QuantizeArgs {
    /// llama2.c checkpoint or GGUF file
    pub input: PathBuf,

    /// The new file: its name ends in .gguf, or in .bin for llama2.c's int8 format (v2), which
    /// runq.c reads
    pub output: PathBuf,

    /// Type of the matrices' numbers: of all of them, as with llama-quantize --pure, but for
    /// q4_k_m. Where a block (32 numbers; of the K types 256) does not divide the rows, the nearest
    /// type that fits stands in: q5_0 for q4_K, q5_1 for q5_K, q8_0 for q6_K, f16 for the others
    #[arg(
        long = "type", value_enum, ignore_case = true, value_name = "TYPE",
        default_value_t = NumberType::Q8_0
    )]
    pub number_type: NumberType,

    /// Tokenizer to put into a GGUF file [default: tokenizer.bin in this folder, else beside the
    /// input]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

const QUANTIZE_HELP: &str = "\
Examples:
  llama2 quantize stories15M.bin stories15M.q80.bin              int8 for runq.c and for us
  llama2 quantize stories15M.bin stories15M.gguf --type q4_0     4 bits a number, for llama.cpp too
  llama2 quantize model-f16.gguf model-q4_k_m.gguf --type q4_k_m 16 bits to under a third";

/// What `llama2 convert` is asked for.
#[derive(Group)]
#[command(after_help = CONVERT_HELP)]
pub struct ConvertArgs {
    /// llama2.c checkpoint
    pub checkpoint: PathBuf,

    /// The new file; its name ends in .gguf
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,

    /// Tokenizer to put into it [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', long, value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Type of the matrices' numbers, as in llama2 quantize
    #[arg(
        long = "type", value_enum, ignore_case = true, value_name = "TYPE",
        default_value_t = NumberType::F32
    )]
    pub number_type: NumberType,

    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

const CONVERT_HELP: &str = "\
Example:
  llama2 convert stories15M.bin -z tokenizer.bin -o stories15M.gguf --type q8_0";

/// What `llama2 split` is asked for.
#[derive(Group)]
#[command(after_help = SPLIT_HELP)]
pub struct SplitArgs {
    /// GGUF file
    pub input: PathBuf,

    /// What the new files' names begin with; -00001-of-00002.gguf and so on is put behind it
    /// [default: the file's name]
    #[arg(short, long, value_name = "NAME")]
    pub output: Option<PathBuf>,

    /// Most bytes of a file, such as 500M or 2G (units of 1024)
    #[arg(long, value_name = "BYTES", default_value = "4294967295", value_parser = size)]
    pub size: u64,

    /// Write over files that are there
    #[arg(long)]
    pub force: bool,
}

const SPLIT_HELP: &str = "\
FAT32, which USB sticks and EFI system partitions have, ends at 4 GiB a file. All parts go into one
folder; llama2, llama2.efi and llama.cpp read them as one model.

Example:
  llama2 split Llama-3.1-8B-Instruct-Q4_K_M.gguf -o /media/stick/LLAMA8B";

/// A number of bytes, perhaps with a unit.
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
    /// 8 bits, a scale for each 32 numbers
    #[value(name = "q8_0")]
    Q8_0,
    /// 4 bits, a scale for each 32 numbers
    #[value(name = "q4_0")]
    Q4_0,
    /// 4 bits, a scale and a least number for each 32
    #[value(name = "q4_1")]
    Q4_1,
    /// 5 bits, a scale for each 32 numbers
    #[value(name = "q5_0")]
    Q5_0,
    /// 5 bits, a scale and a least number for each 32
    #[value(name = "q5_1")]
    Q5_1,
    /// 4.5 bits in all
    #[value(name = "q4_k")]
    Q4K,
    /// 4.5 bits, 6.6 where errors cost most
    #[value(name = "q4_k_m")]
    Q4KM,
    /// 5.5 bits in all
    #[value(name = "q5_k")]
    Q5K,
    /// 6.6 bits in all
    #[value(name = "q6_k")]
    Q6K,
}

impl NumberType {
    /// The types of a file's matrices.
    pub fn mixture(self) -> Mixture {
        Mixture::Pure(match self {
            NumberType::F32 => Encoding::F32,
            NumberType::F16 => Encoding::F16,
            NumberType::Q8_0 => Encoding::Q8_0,
            NumberType::Q4_0 => Encoding::Q4_0,
            NumberType::Q4_1 => Encoding::Coded(Coded::Q4_1),
            NumberType::Q5_0 => Encoding::Coded(Coded::Q5_0),
            NumberType::Q5_1 => Encoding::Coded(Coded::Q5_1),
            NumberType::Q4K => Encoding::Coded(Coded::Q4K),
            NumberType::Q4KM => return Mixture::Q4KM,
            NumberType::Q5K => Encoding::Coded(Coded::Q5K),
            NumberType::Q6K => Encoding::Coded(Coded::Q6K),
        })
    }
}

/// What `llama2 perplexity` is asked for.
#[derive(Group)]
pub struct PerplexityArgs {
    /// llama2.c checkpoint or GGUF file [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// The same by a flag
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

    /// Tokens that are foreseen one from the others before the next begin anew [default: the
    /// model's context]
    #[arg(
        short, long, visible_alias = "ctx-size", value_name = "NUMBER",
        value_parser = |text: &str| at_least(2, text)
    )]
    pub context: Option<usize>,

    #[command(flatten)]
    pub machine: Flags<true>,
}

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=MOST_THREADS).contains(threads))
        .ok_or_else(|| "a number of threads is 1 to 255".into())
}

/// What `llama2 info` is asked for.
#[derive(Group)]
pub struct InfoArgs {
    /// Also list a GGUF file's metadata and tensors
    #[arg(short, long)]
    pub all: bool,

    /// llama2.c checkpoint or GGUF file [default: the bundled model, stories7M]
    pub checkpoint: Option<PathBuf>,

    /// The same by a flag
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
The tests have llama-bench's names: pp512 is a prompt of 512 random tokens at once, tg128
the generation of 128, one after another, without sampling; t/s are tokens a second, mean
\u{b1} standard deviation. GB/s are bytes of weights (and, +, of keys and values) that they
go through, in 10\u{2079} bytes; read GB/s is how fast the same threads read as many bytes
as a generated token needs, before and after each test, and \"of read\" what share of that
the weights come to. GHz is about the clock that the core ran at, \u{2013} where it changed
by more than a tenth. A context that is too short for a test is lengthened, as llama-bench
does.

Examples:
  llama2 bench stories15M.bin stories110M.bin -t 1,2
  llama2 bench stories110M.bin -p 0 -n 16 -d 10,1000     how much a long context costs
  llama2 bench --read 1073741824 -t 1,2                  how fast memory is, without any model";

#[derive(Group)]
#[command(after_help = BENCH_HELP, args_override_self = true)]
pub struct BenchArgs {
    /// Checkpoints, one after another [default: the bundled model, stories7M]
    pub checkpoints: Vec<PathBuf>,

    /// The same by a flag; may be given several times
    #[arg(short, long, value_name = "FILE", hide_short_help = true)]
    pub model: Vec<PathBuf>,

    /// Tokens of the prompt; 0 leaves the test out. Several numbers are tests of their own, here
    /// and below
    #[arg(
        short, long = "n-prompt", value_delimiter = ',', default_value = "512",
        value_name = "NUMBERS", value_parser = tokens
    )]
    pub prompt: Vec<usize>,

    /// Tokens to generate; 0 leaves the test out
    #[arg(
        short = 'n', long = "n-gen", value_delimiter = ',', default_value = "128",
        value_name = "NUMBERS", value_parser = tokens
    )]
    pub generate: Vec<usize>,

    /// Tokens that are in the context before
    #[arg(
        short, long = "n-depth", value_delimiter = ',', default_value = "0",
        value_name = "NUMBERS", value_parser = tokens
    )]
    pub depth: Vec<usize>,

    /// Threads [default: one for each physical core]
    #[arg(short, long, value_delimiter = ',', value_name = "NUMBERS", value_parser = threads)]
    pub threads: Vec<usize>,

    /// Repetitions of each test, after one that does not count
    #[arg(short, long, default_value_t = 5, value_name = "NUMBER", value_parser = repetitions)]
    pub repetitions: usize,

    /// How to write the results: md, json or csv [default: md, and on a terminal that is too narrow
    /// a shorter form]
    #[arg(short, long, value_name = "FORMAT", value_parser = format)]
    pub output: Option<ReportFormat>,

    /// Vector unit to compute with: scalar, sse2, avx2 or avx512 [default: the best that this
    /// machine has]
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,

    /// Numbers that keys and values are kept in: f32, f16 or q8_0
    #[arg(long, value_name = "TYPE", default_value = "f32", value_parser = kv)]
    pub kv: KvType,

    /// Only measure how fast so many bytes are read
    #[arg(long, value_name = "BYTES", conflicts_with = "checkpoints")]
    pub read: Option<u64>,
}

/// A number of tokens.
fn tokens(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|tokens| *tokens <= 1 << 20)
        .ok_or_else(|| format!("a number of tokens is 0 to {}", 1 << 20))
}

/// A number of repetitions.
fn repetitions(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|repetitions| (1..=1000).contains(repetitions))
        .ok_or_else(|| "a number of repetitions is 1 to 1000".into())
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RunMode {
    /// Go on from it
    Generate,
    /// Answer it, turn by turn
    Chat,
}
