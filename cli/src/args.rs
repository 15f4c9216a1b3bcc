//! The command line: run.c's flags and what they say about themselves.

use std::path::PathBuf;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use llama2_engine::{bench::Format, session::KvType};

/// Runs Llama language models: the engine of llama2.efi as an ordinary command.
#[derive(Parser)]
#[command(name = "llama2", version, after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Subcommand)]
pub enum Command {
    /// Generate text, or chat.
    Run(RunArgs),
    /// Show a checkpoint's format, shape, size and the memory it needs.
    Info(InfoArgs),
    /// Measure how fast models run here.
    Bench(BenchArgs),
    /// Write a model in another format, or in smaller numbers.
    Quantize(QuantizeArgs),
    /// Measure how well a model foresees a text.
    Perplexity(PerplexityArgs),
}

const EXAMPLES: &str = "\
Examples:
  llama2 run                                   a story by the bundled model
  llama2 run -i \"Tim found a key\" -s 7         go on from these words; the same seed gives the same story
  llama2 run stories15M.bin -t 0               the likeliest story of another model, tokenizer.bin beside it
  llama2 info stories15M.bin                   what is in that file, and whether it fits into memory
  llama2 bench stories15M.bin                  how fast it runs here
  llama2 quantize stories15M.bin stories15M.gguf --type q8_0
                                               a quarter of its size, for llama.cpp too

Models are llama2.c's checkpoints (karpathy/tinyllamas on Hugging Face has some) and GGUF files of the llama
architecture in F32, F16, BF16, Q8_0 and Q4_0.";

const RUN_HELP: &str = "\
The generated text alone goes to standard output; speed and everything else to standard error.
Exit status: 0 done, 1 something is wrong with a file or the prompt, 2 with the command line.

Examples:
  llama2 run -t 0.8 -p 0.9 -n 200              a little less adventurous, at most 200 tokens
  llama2 run stories260K.bin -z tok512.bin     a checkpoint with a tokenizer of its own
  echo 'Once upon a time' | llama2 run -f -    the prompt from standard input
  llama2 run chat.bin -m chat -y 'Be brief.'   Llama 2's chat template; type after \"User: \"";

#[derive(Group)]
#[command(after_help = RUN_HELP, args_override_self = true)]
pub struct RunArgs {
    /// llama2.c checkpoint (v0, v1 or int8 v2) or GGUF file [default: the bundled model, stories1M]
    pub checkpoint: Option<PathBuf>,

    /// Tokenizer [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Temperature: 0 takes the likeliest token each time, 1 draws as the model learnt
    #[arg(
        short,
        default_value_t = 1.0,
        allow_hyphen_values = true,
        value_name = "NUMBER"
    )]
    pub temperature: f32,

    /// Top-p: draw from the likeliest tokens that make up this probability; 1 is off
    #[arg(
        short = 'p',
        default_value_t = 0.9,
        allow_hyphen_values = true,
        value_name = "NUMBER"
    )]
    pub top_p: f32,

    /// Seed of the random numbers; the same seed gives the same text [default: 0, the time]
    #[arg(short, allow_hyphen_values = true, value_name = "NUMBER", value_parser = seed)]
    pub seed: Option<u64>,

    /// Number of tokens, the prompt's among them; 0 is as many as the model's context holds. A story may end sooner
    #[arg(
        short = 'n',
        default_value_t = 256,
        allow_hyphen_values = true,
        value_name = "NUMBER"
    )]
    pub steps: i64,

    /// Prompt: the text to go on from
    #[arg(short = 'i', allow_hyphen_values = true, value_name = "TEXT")]
    pub prompt: Option<std::ffi::OsString>,

    /// Prompt from a file (one newline at its end is left out); - is standard input
    #[arg(short = 'f', value_name = "FILE", conflicts_with = "prompt")]
    pub prompt_file: Option<PathBuf>,

    /// What to do with the prompt
    #[arg(short, value_enum, default_value_t = Mode::Generate)]
    pub mode: Mode,

    /// System prompt, in chat
    #[arg(short = 'y', allow_hyphen_values = true, value_name = "TEXT")]
    pub system: Option<String>,

    /// Positions to keep keys and values for [default: the model's own, or as many as there is memory for]
    #[arg(long, value_name = "NUMBER", help_heading = MACHINE)]
    pub context: Option<usize>,

    #[command(flatten)]
    pub machine: MachineArgs,
}

/// What `llama2 quantize` is asked for.
#[derive(Group)]
#[command(after_help = QUANTIZE_HELP)]
pub struct QuantizeArgs {
    /// llama2.c checkpoint or GGUF file
    pub input: PathBuf,

    /// The new file: its name ends in .gguf, or in .bin for llama2.c's int8 format (v2), which runq.c reads
    pub output: PathBuf,

    /// Type of the matrices' numbers; rows that 32 does not divide become f16 instead of q8_0 and q4_0
    #[arg(long = "type", value_enum, value_name = "TYPE", default_value_t = NumberType::Q8_0)]
    pub number_type: NumberType,

    /// Tokenizer to put into a GGUF file [default: tokenizer.bin in this folder, else beside the input]
    #[arg(short = 'z', value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

const QUANTIZE_HELP: &str = "\
Examples:
  llama2 quantize stories15M.bin stories15M.q80.bin              int8 for runq.c and for us
  llama2 quantize stories15M.bin stories15M.gguf --type q4_0     4 bits a number, for llama.cpp too
  llama2 quantize model-f16.gguf model-q8_0.gguf                 the same model in half the bytes";

/// Types that `llama2 quantize` writes.
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
}

/// What `llama2 perplexity` is asked for.
#[derive(Group)]
pub struct PerplexityArgs {
    /// llama2.c checkpoint or GGUF file [default: the bundled model, stories1M]
    pub checkpoint: Option<PathBuf>,

    /// The text; - is standard input
    #[arg(short, value_name = "FILE")]
    pub file: PathBuf,

    /// Tokenizer [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,

    /// Tokens that are foreseen one from the others before the next begin anew [default: the model's context]
    #[arg(short, value_name = "NUMBER")]
    pub context: Option<usize>,

    #[command(flatten)]
    pub machine: MachineArgs,
}

/// How to use the machine.
#[derive(Group)]
pub struct MachineArgs {
    /// Threads [default: as many as are fastest, found out over the first tokens]
    #[arg(long, value_name = "NUMBER", value_parser = threads, help_heading = MACHINE)]
    pub threads: Option<usize>,

    /// Vector unit to compute with: scalar, sse2, avx2 or avx512 [default: the best that this machine has]
    #[arg(long, value_name = "NAME", help_heading = MACHINE)]
    pub kernels: Option<String>,

    /// Numbers that keys and values are kept in: f32, f16 in half the memory, or q8_0 in a quarter
    #[arg(long, value_name = "TYPE", default_value = "f32", help_heading = MACHINE)]
    pub kv: KvType,
}

const MACHINE: &str = "Machine";

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=255).contains(threads))
        .ok_or_else(|| "a number of threads is 1 to 255".into())
}

/// What `llama2 info` is asked for.
#[derive(Group)]
pub struct InfoArgs {
    /// Also list a GGUF file's metadata and tensors
    #[arg(short, long)]
    pub all: bool,

    /// llama2.c checkpoint or GGUF file [default: the bundled model, stories1M]
    pub checkpoint: Option<PathBuf>,

    /// Tokenizer [default: tokenizer.bin in this folder, else beside the checkpoint]
    #[arg(short = 'z', value_name = "FILE")]
    pub tokenizer: Option<PathBuf>,
}

const BENCH_HELP: &str = "\
The tests have llama-bench's names: pp512 is a prompt of 512 random tokens at once, tg128 the generation of 128, one after
another, without sampling; t/s are tokens a second, mean \u{b1} standard deviation. GB/s are bytes of weights (and, +, of keys
and values) that they go through, in 10\u{2079} bytes; read GB/s is how fast the same threads read as many bytes as a generated
token needs, before and after each test, and \"of read\" what share of that the weights come to. GHz is the clock that the core
ran at. A context that is too short for a test is lengthened, as llama-bench does.

Examples:
  llama2 bench stories15M.bin stories110M.bin -t 1,2
  llama2 bench stories110M.bin -p 0 -n 16 -d 10,1000     how much a long context costs
  llama2 bench --read 1073741824 -t 1,2                  how fast memory is, without any model";

#[derive(Group)]
#[command(after_help = BENCH_HELP, args_override_self = true)]
pub struct BenchArgs {
    /// Checkpoints, one after another [default: the bundled model, stories1M]
    pub checkpoints: Vec<PathBuf>,

    /// Tokens of the prompt; 0 leaves the test out. Several numbers are tests of their own, here and below
    #[arg(short, value_delimiter = ',', default_value = "512", value_name = "NUMBERS", value_parser = tokens)]
    pub prompt: Vec<usize>,

    /// Tokens to generate; 0 leaves the test out
    #[arg(short = 'n', value_delimiter = ',', default_value = "128", value_name = "NUMBERS", value_parser = tokens)]
    pub generate: Vec<usize>,

    /// Tokens that are in the context before
    #[arg(short, value_delimiter = ',', default_value = "0", value_name = "NUMBERS", value_parser = tokens)]
    pub depth: Vec<usize>,

    /// Threads [default: one for each physical core]
    #[arg(short, value_delimiter = ',', value_name = "NUMBERS", value_parser = threads)]
    pub threads: Vec<usize>,

    /// Repetitions of each test, after one that does not count
    #[arg(short, default_value_t = 5, value_name = "NUMBER", value_parser = repetitions)]
    pub repetitions: usize,

    /// How to write the results: md, json or csv
    #[arg(short, default_value = "md", value_name = "FORMAT")]
    pub output: Format,

    /// Vector unit to compute with: scalar, sse2, avx2 or avx512 [default: the best that this machine has]
    #[arg(long, value_name = "NAME")]
    pub kernels: Option<String>,

    /// Numbers that keys and values are kept in: f32, f16 or q8_0
    #[arg(long, value_name = "TYPE", default_value = "f32")]
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
pub enum Mode {
    /// Go on from it
    Generate,
    /// Answer it, turn by turn
    Chat,
}

/// A seed: a whole number; run.c lets negative ones wrap around.
fn seed(text: &str) -> Result<u64, String> {
    let wrapped = || text.parse::<i64>().ok().map(|n| n as u64);
    text.parse::<u64>()
        .ok()
        .or_else(wrapped)
        .ok_or_else(|| "a seed is a whole number".into())
}
