//! The benchmark that both shells share, in llama-bench's words: `pp512` is a prompt of 512 tokens
//! (prefill), `tg128` the generation of 128, one at a time (decode).
//!
//! A rate alone says little: memory bounds decoding, and on shared machines it changes from one
//! minute to the next. So every result carries the rate at which the same threads read a working
//! set of the same size just before and just after it, and the clock that the core ran at.

mod frequency;
mod reader;
mod report;
pub mod statistics;

use alloc::vec::Vec;
use core::{fmt, ops::ControlFlow};

pub use frequency::gigahertz;
pub use reader::Reader;
pub use report::{Report, ReportFormat, Subject};

use crate::{
    checkpoint::Error,
    kernels::{Features, Kernels},
    matrix::Matrix,
    model::Model,
    session::{BATCH, KvType, Options, Session},
    thread_tuner::Threads,
    workers::Workers,
};
use statistics::{TOLERANCE, change, mean};

/// How long a working set is read, in nanoseconds.
pub const READING: u64 = 200_000_000;

/// What is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A prompt of so many tokens at once: llama-bench's `pp`.
    Prompt(usize),
    /// So many tokens one after another: llama-bench's `tg`.
    Generate(usize),
}

/// A test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// What is timed.
    pub work: Work,
    /// Tokens that are in the context before.
    pub depth: usize,
}

impl Test {
    /// Tokens that are timed.
    pub fn tokens(&self) -> usize {
        match self.work {
            Work::Prompt(tokens) | Work::Generate(tokens) => tokens,
        }
    }

    /// Positions of a context that it takes.
    pub fn context(&self) -> usize {
        self.depth + self.tokens()
    }
}

/// Length of the context in which all of `tests` are run, like llama-bench's: as long as they need,
/// however long or short the model's own is.
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
        Ok(())
    }
}

/// What one test gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The test.
    pub test: Test,
    /// Workers that took part.
    pub threads: usize,
    /// Nanoseconds of each repetition.
    pub nanoseconds: Vec<u64>,
    /// Bytes of weights that one repetition goes through.
    pub weights: u64,
    /// Bytes of keys and values that one repetition reads; `None` for prompts, whose tokens share
    /// them.
    pub kv: Option<u64>,
    /// Multiplications and additions of the matrices in one repetition. A prompt's classifier,
    /// which runs for its last token alone, is left out.
    pub operations: u64,
    /// Bytes a second that the same threads read of a working set as large as the weights of a
    /// decode step, before and after; `None` where there was no memory for it.
    pub read: Option<(f64, f64)>,
    /// The calling core's clock in GHz, before and after.
    pub gigahertz: Option<(f64, f64)>,
}

impl Outcome {
    /// Tokens a second of each repetition.
    pub fn rates(&self) -> Vec<f64> {
        let tokens = self.test.tokens() as f64;
        let rate = |&nanoseconds: &u64| tokens * 1e9 / nanoseconds.max(1) as f64;
        self.nanoseconds.iter().map(rate).collect()
    }

    /// A second's share of what a repetition has `amount` of, in billions.
    fn billions(&self, amount: u64) -> f64 {
        amount as f64 / self.test.tokens().max(1) as f64 * mean(&self.rates()) / 1e9
    }

    /// GB/s (10⁹ bytes) of weights.
    pub fn weights_rate(&self) -> f64 {
        self.billions(self.weights)
    }

    /// GB/s of keys and values.
    pub fn kv_rate(&self) -> Option<f64> {
        self.kv.map(|kv| self.billions(kv))
    }

    /// GOP/s: billions of multiplications and additions.
    pub fn operations_rate(&self) -> f64 {
        self.billions(self.operations)
    }

    /// GB/s that the machine reads: the mean of before and after.
    pub fn read_rate(&self) -> Option<f64> {
        self.read.map(|(before, after)| (before + after) / 2e9)
    }

    /// Percent of the read rate that the weights alone come to, for tests that read all of them for
    /// every token.
    pub fn percent_of_read(&self) -> Option<f64> {
        match self.test.work {
            Work::Prompt(_) => None,
            Work::Generate(_) => Some(100.0 * self.weights_rate() / self.read_rate()?),
        }
    }

    /// Tells whether the machine read faster before than after or the other way round, by more than
    /// [`TOLERANCE`]: then the percentage means nothing.
    pub fn read_changed(&self) -> bool {
        self.read
            .is_some_and(|(before, after)| change(before, after) > TOLERANCE)
    }
}

/// How to measure.
pub struct Bench<'a> {
    /// Model that is measured. Where tests are longer than its context, the numbers computed mean
    /// nothing, but their computation takes the same time.
    pub model: &'a Model,
    /// The arithmetic.
    pub kernels: &'static Kernels,
    /// Who does it.
    pub workers: &'a dyn Workers,
    /// What keys and values are kept in.
    pub kv: KvType,
    /// What the reader may use.
    pub features: Features,
    /// Bytes of memory that the reader may take for its working set; if it needs more, nothing is
    /// read.
    pub spare: u64,
    /// Nanoseconds, from anywhere.
    pub clock: fn() -> u64,
    /// How often each test is repeated, after once for warming up.
    pub repetitions: usize,
    /// About how many nanoseconds a test may take, where somebody waits for it: of one that takes
    /// longer fewer tokens are computed, and it is repeated less often. Without it nobody is asked
    /// in the middle of a repetition either.
    pub limit: Option<u64>,
}

/// How far a benchmark is.
#[derive(Debug)]
pub enum Stage<'a> {
    /// This repetition of so many begins; the warm-up is number 0.
    Begins(&'a Test, usize, usize),
    /// It goes on. The clock stands meanwhile.
    Within,
    /// A test is done.
    Done(&'a Outcome),
}

/// Who is told of it, and may end it all.
pub type Watcher<'a> = &'a mut dyn FnMut(Stage<'_>) -> ControlFlow<()>;

/// Nanoseconds between two questions in the middle of a repetition.
const ASKED: u64 = 50_000_000;

impl Bench<'_> {
    /// Runs `tests`, all with each number of `threads`, and tells `progress`, which may end it all.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where a session finds no room, [`Error::Stopped`].
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
        };
        let mut session = Session::new(self.model, options)?;
        let tokens = random_tokens(test.context(), self.model.config.vocab_size);
        let (before, mut tokens) = tokens.split_at(test.depth);
        if !before.is_empty() {
            session.prefill(before, 0);
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
                // Twice as many would take twice as long, and all before took as long again: half
                // of the limit at most.
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
        let count = tokens.len() as u64;
        let positions = test.depth..test.depth + tokens.len();
        let (weights, operations, kv) = match test.work {
            Work::Prompt(_) => (
                count.div_ceil(BATCH as u64) * layers + classifier,
                2 * count * layer_products(model),
                None,
            ),
            Work::Generate(_) => (
                count * (layers + classifier),
                2 * count * (layer_products(model) + products(model.classifier())),
                Some(positions.map(|pos| session.kv_bytes(pos)).sum()),
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
    /// Nanoseconds that these tokens take.
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
            let last = piece == 1 || index + 1 == pieces;
            session.pass(tokens, test.depth + index * piece, last);
            took += (self.clock)().saturating_sub(start);
            if self.limit.is_some() && took - asked > ASKED {
                asked = took;
                ask(progress, Stage::Within)?;
            }
        }
        Ok(took)
    }
}

fn ask(progress: Watcher<'_>, stage: Stage<'_>) -> Result<(), Error> {
    match progress(stage) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Error::Stopped),
    }
}

/// Multiplications of a matrix with one vector.
fn products(matrix: &Matrix) -> u64 {
    matrix.rows() as u64 * matrix.cols() as u64
}

/// Multiplications of all layers' matrices with one vector each.
fn layer_products(model: &Model) -> u64 {
    let layers = model
        .layers
        .iter()
        .flat_map(|l| [&l.wq, &l.wk, &l.wv, &l.wo, &l.w1, &l.w2, &l.w3]);
    layers.map(products).sum()
}

/// Tokens to compute with, as llama-bench draws them: any, the same ones each time.
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
