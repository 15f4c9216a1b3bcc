//! Benchmark of both shells, with llama-bench's names: `pp512` processes a prompt of 512 tokens
//! (prefill), `tg128` generates 128 tokens one at a time (decode), `tg128 x4` does so for four
//! sequences at once.
//!
//! A rate alone says little: decoding is bound by memory, whose speed changes from minute to minute
//! on shared machines. So every result includes the rate at which the same threads read a working
//! set of the same size just before and just after it, and the core's clock.

mod frequency;
mod reader;
mod report;
pub mod statistics;

use alloc::vec::Vec;
use core::{
    fmt,
    ops::{ControlFlow, Range},
};

pub use frequency::gigahertz;
pub use reader::Reader;
pub use report::{Report, ReportFormat, Subject};

use crate::{
    checkpoint::Error,
    kernels::{Features, Kernels},
    matrix::Matrix,
    model::Model,
    session::{BATCH, KvType, Options, Session, Span},
    speculation::Speculation,
    thread_tuner::Threads,
    workers::Workers,
};
use statistics::{TOLERANCE, change, mean};

/// Duration of reading a working set, in nanoseconds.
pub const READING: u64 = 200_000_000;

/// Kind of work that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Processes a prompt of this many tokens at once: llama-bench's `pp`.
    Prompt(usize),
    /// Generates this many tokens one after another: llama-bench's `tg`.
    Generate(usize),
}

/// One test of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// Work that is timed.
    pub work: Work,
    /// Number of tokens already in the context.
    pub depth: usize,
    /// Number of sequences that are processed at once.
    pub parallel: usize,
}

impl Test {
    /// Number of tokens that are timed, of all sequences.
    pub fn tokens(&self) -> usize {
        self.parallel * self.steps()
    }

    /// Number of tokens of each sequence that are timed.
    fn steps(&self) -> usize {
        match self.work {
            Work::Prompt(tokens) | Work::Generate(tokens) => tokens,
        }
    }

    /// Number of positions that each sequence needs.
    pub fn context(&self) -> usize {
        self.depth + self.steps()
    }
}

/// Context length for running all of `tests`, as in llama-bench: as long as they need, regardless
/// of the model's own.
pub fn positions(tests: &[Test]) -> usize {
    tests.iter().map(Test::context).max().unwrap_or(1)
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.work {
            Work::Prompt(tokens) => write!(f, "pp{tokens}")?,
            Work::Generate(tokens) => write!(f, "tg{tokens}")?,
        }
        if self.depth > 0 {
            write!(f, " @ d{}", self.depth)?;
        }
        if self.parallel > 1 {
            write!(f, " x{}", self.parallel)?;
        }
        Ok(())
    }
}

/// Result of one test.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The test.
    pub test: Test,
    /// Number of workers that took part.
    pub threads: usize,
    /// Duration of each repetition, in nanoseconds.
    pub nanoseconds: Vec<u64>,
    /// Bytes of weights that one repetition reads.
    pub weights: u64,
    /// Bytes of keys and values that one repetition reads; `None` for prompts, whose tokens share
    /// them.
    pub kv: Option<u64>,
    /// Multiplications and additions of the matrices in one repetition. For prompts, the classifier
    /// is not counted, because it runs for the last token only.
    pub operations: u64,
    /// Bytes per second that the same threads read from a working set as large as the weights of a
    /// decode step, before and after; `None` if there was no memory for it.
    pub read: Option<(f64, f64)>,
    /// Clock of the calling core in GHz, before and after.
    pub gigahertz: Option<(f64, f64)>,
}

impl Outcome {
    /// Tokens per second of each repetition.
    pub fn rates(&self) -> Vec<f64> {
        let tokens = self.test.tokens() as f64;
        let rate = |&nanoseconds: &u64| tokens * 1e9 / nanoseconds.max(1) as f64;
        self.nanoseconds.iter().map(rate).collect()
    }

    /// Rate of a quantity of which a repetition has `amount`, in billions per second.
    fn billions(&self, amount: u64) -> f64 {
        amount as f64 / self.test.tokens().max(1) as f64 * mean(&self.rates()) / 1e9
    }

    /// Rate at which weights are read, in GB/s (10⁹ bytes).
    pub fn weights_rate(&self) -> f64 {
        self.billions(self.weights)
    }

    /// Rate at which keys and values are read, in GB/s.
    pub fn kv_rate(&self) -> Option<f64> {
        self.kv.map(|kv| self.billions(kv))
    }

    /// Multiplications and additions, in billions per second (GOP/s).
    pub fn operations_rate(&self) -> f64 {
        self.billions(self.operations)
    }

    /// Memory read rate in GB/s: the mean of before and after.
    pub fn read_rate(&self) -> Option<f64> {
        self.read.map(|(before, after)| (before + after) / 2e9)
    }

    /// Rate of reading weights as a percentage of the read rate, for tests that read all weights
    /// for every token.
    pub fn percent_of_read(&self) -> Option<f64> {
        match self.test.work {
            Work::Prompt(_) => None,
            Work::Generate(_) => Some(100.0 * self.weights_rate() / self.read_rate()?),
        }
    }

    /// Returns true if the read rates before and after differ by more than [`TOLERANCE`], which
    /// makes the percentage meaningless.
    pub fn read_changed(&self) -> bool {
        self.read
            .is_some_and(|(before, after)| change(before, after) > TOLERANCE)
    }
}

/// Parameters of a measurement.
pub struct Bench<'a> {
    /// Model to measure. In tests longer than its context the computed numbers are meaningless, but
    /// take the same time.
    pub model: &'a Model,
    /// Kernels to use.
    pub kernels: &'static Kernels,
    /// Workers to use.
    pub workers: &'a dyn Workers,
    /// Type of keys and values.
    pub kv: KvType,
    /// CPU features that the reader may use.
    pub features: Features,
    /// Bytes of memory that the reader may use for its working set; if it needs more, the read rate
    /// is not measured.
    pub spare: u64,
    /// Monotonic clock in nanoseconds, from any origin.
    pub clock: fn() -> u64,
    /// Repetitions of each test, after one for warming up.
    pub repetitions: usize,
    /// Approximate time limit per test in nanoseconds, for interactive use: slower tests use fewer
    /// tokens and repetitions. Without a limit the watcher is not called in the middle of a
    /// repetition.
    pub limit: Option<u64>,
}

/// Progress of a benchmark.
#[derive(Debug)]
pub enum Stage<'a> {
    /// A repetition begins: its number (0 is the warm-up) and their count.
    Begins(&'a Test, usize, usize),
    /// A repetition continues. The clock is stopped during the call.
    Within,
    /// A test has finished.
    Done(&'a Outcome),
}

/// Observer of the progress, which may stop the benchmark.
pub type Watcher<'a> = &'a mut dyn FnMut(Stage<'_>) -> ControlFlow<()>;

/// Nanoseconds between two calls of the watcher during a repetition.
const ASKED: u64 = 50_000_000;

impl Bench<'_> {
    /// Runs `tests`, all with each number of `threads`, and reports to `progress`, which may stop
    /// it.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] if a session cannot be allocated; [`Error::Stopped`] if `progress`
    /// breaks.
    pub fn run(
        &self,
        tests: &[Test],
        threads: &[usize],
        progress: Watcher<'_>,
    ) -> Result<Vec<Outcome>, Error> {
        let bytes = self.model.bytes_per_token();
        let reader = (bytes <= self.spare)
            .then(|| Reader::new(bytes, self.features).ok())
            .flatten();
        let mut outcomes = Vec::new();
        for &threads in threads {
            for test in tests {
                let outcome =
                    self.one(*test, positions(tests), threads, reader.as_ref(), progress)?;
                ask(progress, Stage::Done(&outcome))?;
                outcomes.push(outcome);
            }
        }
        Ok(outcomes)
    }

    fn one(
        &self,
        mut test: Test,
        positions: usize,
        threads: usize,
        reader: Option<&Reader>,
        progress: Watcher<'_>,
    ) -> Result<Outcome, Error> {
        let threads = threads.clamp(1, self.workers.count());
        let options = Options {
            kernels: self.kernels,
            workers: self.workers,
            threads: Threads::Fixed(threads),
            kv: self.kv,
            positions: Some(positions),
            sequences: test.parallel,
            speculation: Speculation::Off,
        };
        let mut session = Session::new(self.model, options)?;
        let tokens = random_tokens(test.context(), self.model.config.vocab_size);
        let (before, mut tokens) = tokens.split_at(test.depth);
        for (index, tokens) in before.chunks(BATCH).enumerate() {
            pass(&mut session, 0..test.parallel, tokens, index * BATCH, false);
        }
        let read = || reader.map(|reader| reader.rate(self.workers, threads, self.clock, READING));
        let (read_before, clock_before) = (read(), gigahertz(self.clock));
        ask(progress, Stage::Begins(&test, 0, self.repetitions))?;
        // Caches, pages, branch predictors, the angles of positions.
        let mut repetitions = self.repetitions;
        if let Some(limit) = self.limit {
            let mut count = 1;
            let took = loop {
                let took = self.time(&mut session, &test, &tokens[..count], progress)?;
                // Twice as many would take twice as long, and all before took the same again, so
                // they may take half of the limit at most.
                if count == tokens.len() || took > limit / 8 {
                    break took;
                }
                count = (2 * count).min(tokens.len());
            };
            tokens = &tokens[..count];
            repetitions = ((limit / 2 / took.max(1)) as usize).clamp(1, repetitions.max(1));
        } else {
            self.time(&mut session, &test, tokens, progress)?;
        }
        test.work = match test.work {
            Work::Prompt(_) => Work::Prompt(tokens.len()),
            Work::Generate(_) => Work::Generate(tokens.len()),
        };
        let mut nanoseconds = Vec::new();
        for repetition in 1..=repetitions {
            ask(progress, Stage::Begins(&test, repetition, repetitions))?;
            nanoseconds.push(self.time(&mut session, &test, tokens, progress)?);
        }
        let (read_after, clock_after) = (read(), gigahertz(self.clock));

        let model = self.model;
        let classifier = model.classifier().bytes() + size_of_val(&model.final_norm[..]) as u64;
        let layers = model.bytes_per_token() - classifier;
        let (count, parallel) = (tokens.len() as u64, test.parallel as u64);
        let positions = test.depth..test.depth + tokens.len();
        let (weights, operations, kv) = match test.work {
            Work::Prompt(_) => (
                parallel * (count.div_ceil(BATCH as u64) * layers + classifier),
                parallel * 2 * count * layer_products(model),
                None,
            ),
            Work::Generate(_) => (
                count * (layers + classifier),
                parallel * 2 * count * (layer_products(model) + products(model.classifier())),
                Some(positions.map(|pos| parallel * session.kv_bytes(pos)).sum()),
            ),
        };
        Ok(Outcome {
            test,
            threads,
            nanoseconds,
            weights,
            kv,
            operations,
            read: read_before.zip(read_after),
            gigahertz: clock_before.zip(clock_after),
        })
    }
}

impl Bench<'_> {
    /// Measures the time to process these tokens, in each sequence, in nanoseconds.
    fn time(
        &self,
        session: &mut Session<'_>,
        test: &Test,
        tokens: &[u32],
        progress: Watcher<'_>,
    ) -> Result<u64, Error> {
        let piece = match test.work {
            Work::Prompt(_) => BATCH,
            Work::Generate(_) => 1,
        };
        let pieces = tokens.len().div_ceil(piece);
        let (mut took, mut asked) = (0, 0);
        for (index, tokens) in tokens.chunks(piece).enumerate() {
            let start = (self.clock)();
            let pos = test.depth + index * piece;
            let last = piece == 1 || index + 1 == pieces;
            pass(session, 0..test.parallel, tokens, pos, last);
            took += (self.clock)().saturating_sub(start);
            if self.limit.is_some() && took - asked > ASKED {
                asked = took;
                ask(progress, Stage::Within)?;
            }
        }
        Ok(took)
    }
}

/// Passes tokens in each of `sequences`, with logits after the last if they are wanted: all
/// sequences in one pass if their tokens fit into a batch.
fn pass(
    session: &mut Session<'_>,
    sequences: Range<usize>,
    tokens: &[u32],
    pos: usize,
    wants_logits: bool,
) {
    let mut spans = [Span {
        sequence: 0,
        pos,
        tokens,
        logits: usize::from(wants_logits),
    }; BATCH];
    let count = sequences.len();
    for (span, sequence) in spans.iter_mut().zip(sequences) {
        span.sequence = sequence;
    }
    spans[..count]
        .chunks((BATCH / tokens.len()).max(1))
        .for_each(|spans| session.batch(spans));
}

fn ask(progress: Watcher<'_>, stage: Stage<'_>) -> Result<(), Error> {
    match progress(stage) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}

/// Multiplications for the product of a matrix and one vector.
fn products(matrix: &Matrix) -> u64 {
    matrix.rows() as u64 * matrix.cols() as u64
}

/// Multiplications for the products of all layers' matrices with one vector each.
fn layer_products(model: &Model) -> u64 {
    let layers = model
        .layers
        .iter()
        .flat_map(|l| [&l.wq, &l.wk, &l.wv, &l.wo, &l.w1, &l.w2, &l.w3]);
    layers.map(products).sum()
}

/// Random tokens to compute with, as in llama-bench; the same ones each time.
fn random_tokens(count: usize, vocab_size: usize) -> Vec<u32> {
    let mut state = 1u64;
    let draw = |_| {
        // Marsaglia 2003, xorshift64.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 32) % vocab_size as u64) as u32
    };
    (0..count).map(draw).collect()
}

#[cfg(test)]
mod tests;
