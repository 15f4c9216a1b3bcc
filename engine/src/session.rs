//! Sequences of a model: their state, and passes over one token or a batch of them, of one sequence
//! or of several. A sequence's numbers are the same, to the last bit, whatever else is in the
//! batch. All memory is allocated by [`Session::new`]; a pass (`forward.rs`) allocates nothing.

use alloc::vec::Vec;

use crate::{
    buffer::{ALIGN, Arena, Buffer},
    checkpoint::Error,
    config::Config,
    forward::{Pass, Row, Run, TOGETHER, results_len, scores_len},
    kernels::{self, Features, Kernels},
    kv_cache::KvCache,
    layout::{BLOCK, stride},
    model::{Layer, Model},
    parallel::{Pool, Shared},
    quantized::QuantizedActivations,
    rope::RopeTable,
    speculation::{MOST_GUESSES, PassTimes, Speculation},
    thread_tuner::{ThreadTuner, Threads},
    workers::{Single, Workers},
};

pub use crate::{forward::BATCH, kv_cache::KvType};

/// How a session computes.
#[derive(Clone, Copy)]
pub struct Options<'w> {
    /// The arithmetic.
    pub kernels: &'static Kernels,
    /// Who does it.
    pub workers: &'w dyn Workers,
    /// How many of them.
    pub threads: Threads,
    /// What keys and values are kept in.
    pub kv: KvType,
    /// Length of a sequence's context; `None` for the model's own, which it may exceed where
    /// numbers alone matter (benchmarks).
    pub positions: Option<usize>,
    /// How many sequences there may be at once, each with a whole context: at most [`BATCH`].
    pub sequences: usize,
    /// How tokens are guessed where one sequence alone draws.
    pub speculation: Speculation,
}

impl Default for Options<'_> {
    /// This core's best kernels, the calling core alone, keys and values in single precision, one
    /// sequence in the model's own context, no guesses.
    fn default() -> Self {
        Options {
            kernels: kernels::best(Features::of_this_core()),
            workers: &Single,
            threads: Threads::Fixed(1),
            kv: KvType::F32,
            positions: None,
            sequences: 1,
            speculation: Speculation::Off,
        }
    }
}

/// Tokens of a sequence in a pass.
#[derive(Debug, Clone, Copy)]
pub struct Span<'t> {
    /// The sequence, by number.
    pub sequence: usize,
    /// Position of the first token.
    pub pos: usize,
    /// At least one; the sequence's tokens at all positions before were passed earlier.
    pub tokens: &'t [u32],
    /// After how many of the last tokens logits are wanted.
    pub logits: usize,
}

/// Rows that activations are kept for: one for each token of a batch, or one for each worker.
fn rows(workers: usize) -> usize {
    BATCH.max(workers)
}

/// Bytes of everything in a session but its keys and values, for `workers` workers, and of the
/// sampler's list.
pub(crate) fn activation_bytes(c: &Config, workers: usize) -> u64 {
    let rows = rows(workers) as u64;
    let (dim, q_dim, kv_dim) = (c.dim as u64, c.q_dim() as u64, c.kv_dim() as u64);
    // x and normed; q and attended; k and v; gate; their int8 forms with scales and sums (at most
    // 16 bytes a number); room for strides.
    let numbers = 2 * dim + 2 * q_dim + 2 * kv_dim + c.hidden_dim as u64 + 6 * 32;
    let quantised = 16 * (dim + q_dim + c.hidden_dim as u64) + 3 * 128;
    let angles = 2 * 4 * BATCH as u64 * c.head_dim() as u64;
    let heads = (TOGETHER * 12 * c.head_dim().next_multiple_of(128)) as u64;
    let own = workers as u64 * (4 * 2 * results_len(c) as u64 + heads)
        + 4 * scores_len(c, workers) as u64;
    let vocabulary = c.vocab_size as u64 * (4 * (1 + MOST_GUESSES as u64) + 8);
    rows * (4 * numbers + quantised) + angles + own + vocabulary
}

/// State of a model's sequences.
pub struct Session<'m> {
    model: &'m Model,
    /// The model's shape, with the length of this session's contexts.
    config: Config,
    /// Tokens of the current pass; kept between passes for their memory.
    rows: Vec<Row>,
    runs: Vec<Run>,
    /// Rows whose logits are wanted.
    wanted: Vec<usize>,
    kernels: &'static Kernels,
    workers: &'m dyn Workers,
    pool: Pool,
    tuner: ThreadTuner,
    times: PassTimes,
    /// The residual stream: `dim` numbers for each token; likewise below.
    x: Buffer<f32>,
    /// What attention, the feed-forward layer and the classifier read.
    normed: Buffer<f32>,
    normed_quants: QuantizedActivations,
    /// Queries.
    q: Buffer<f32>,
    /// One head's queries as int8, [`TOGETHER`] rows for each worker, where keys are.
    q_quants: QuantizedActivations,
    /// Keys and values before they are put into the cache, where that takes whole heads; else
    /// empty.
    k: Buffer<f32>,
    v: Buffer<f32>,
    /// Attention's result.
    attended: Buffer<f32>,
    attended_quants: QuantizedActivations,
    /// The feed-forward layer's middle, `hidden_dim`.
    gate: Buffer<f32>,
    gate_quants: QuantizedActivations,
    /// For each worker: two times [`results_len`] results.
    own: Buffer<f32>,
    /// Attention's weights: each worker's share, or those of all heads of a token.
    scores: Buffer<f32>,
    angles: RopeTable,
    logits: Buffer<f32>,
    cache: KvCache,
}

impl<'m> Session<'m> {
    /// A session with `options`.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(model: &'m Model, options: Options<'m>) -> Result<Session<'m>, Error> {
        let config = Config {
            seq_len: options.positions.unwrap_or(model.config.seq_len).max(1),
            ..model.config
        };
        let c = &config;
        let workers = options.workers.count();
        let sequences = options.sequences.clamp(1, BATCH);
        let rows = rows(workers);
        let times = PassTimes::new(options.speculation);
        let all_logits = sequences.max(1 + times.most());
        let head_dim = c.head_dim();
        if options.kv == KvType::Q8_0 && !head_dim.is_multiple_of(BLOCK) {
            return Err(Error::KvType { head_dim });
        }
        let whole_heads =
            options.kv == KvType::Q8_0 || model.layers.iter().any(Layer::has_head_norms);
        let staged = if whole_heads {
            rows * stride(c.kv_dim(), 4)
        } else {
            0
        };
        let heads = if options.kv == KvType::Q8_0 {
            TOGETHER * workers
        } else {
            0
        };
        // Numbers of each kind, side by side on large pages; all else has memory of its own.
        let lengths = [
            rows * c.dim,
            rows * stride(c.dim, 4),
            2 * rows * stride(c.q_dim(), 4),
            2 * staged,
            rows * stride(c.hidden_dim, 4),
            workers * 2 * results_len(c),
            all_logits * stride(c.vocab_size, 4),
        ];
        let room: usize = lengths.iter().map(|numbers| 4 * numbers + ALIGN).sum();
        let mut arena = Arena::new(room as u64);
        Ok(Session {
            model,
            kernels: options.kernels,
            workers: options.workers,
            pool: Pool::new(workers),
            tuner: ThreadTuner::new(options.threads, workers),
            times,
            x: arena.zeroed(rows * c.dim)?,
            normed: arena.zeroed(rows * stride(c.dim, 4))?,
            normed_quants: QuantizedActivations::new(rows, c.dim, model.group)?,
            q: arena.zeroed(rows * stride(c.q_dim(), 4))?,
            q_quants: QuantizedActivations::new(heads, head_dim, (heads > 0).then_some(BLOCK))?,
            k: arena.zeroed(staged)?,
            v: arena.zeroed(staged)?,
            attended: arena.zeroed(rows * stride(c.q_dim(), 4))?,
            attended_quants: QuantizedActivations::new(rows, c.q_dim(), model.group)?,
            gate: arena.zeroed(rows * stride(c.hidden_dim, 4))?,
            gate_quants: QuantizedActivations::new(rows, c.hidden_dim, model.group)?,
            own: arena.zeroed(workers * 2 * results_len(c))?,
            scores: Buffer::zeroed(scores_len(c, workers))?,
            angles: RopeTable::new(c, BATCH, &model.rope_factors)?,
            logits: arena.zeroed(all_logits * stride(c.vocab_size, 4))?,
            cache: KvCache::new(c, options.kv, sequences)?,
            config,
            rows: Vec::with_capacity(BATCH),
            runs: Vec::with_capacity(BATCH),
            wanted: Vec::with_capacity(BATCH),
        })
    }

    /// The model under it.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// How many sequences there may be at once.
    pub fn sequences(&self) -> usize {
        self.cache.sequences()
    }

    /// Length of a sequence's context in positions.
    pub fn positions(&self) -> usize {
        self.config.seq_len
    }

    /// Its kernels.
    pub fn kernels(&self) -> &'static Kernels {
        self.kernels
    }

    /// Workers of the next pass.
    pub fn threads(&self) -> usize {
        self.tuner.threads()
    }

    /// Tells whether [`threads`](Session::threads) is still being found out.
    pub fn is_tuning(&self) -> bool {
        self.tuner.is_tuning()
    }

    /// Bytes of keys and values that a step at position `pos` reads.
    pub fn kv_bytes(&self, pos: usize) -> u64 {
        self.cache.bytes_at(pos)
    }

    /// One forward pass of the first sequence: the logits (`vocab_size`) of what follows `token` at
    /// position `pos`, given the tokens that were passed at positions 0 to `pos` - 1. The caller
    /// may change them. Allocates nothing.
    ///
    /// # Panics
    /// If `token` is outside of the vocabulary or `pos` outside of the context.
    pub fn forward(&mut self, token: u32, pos: usize) -> &mut [f32] {
        self.pass(&[token], pos, true);
        self.logits(0)
    }

    /// The same for `tokens` (at least one) at positions `pos` and following: the logits after the
    /// last. All weights are read once for each [`BATCH`] tokens, and the numbers are those of
    /// [`forward`](Session::forward) token by token, to the last bit.
    ///
    /// # Panics
    /// As there.
    pub fn prefill(&mut self, tokens: &[u32], pos: usize) -> &mut [f32] {
        assert!(!tokens.is_empty());
        for (index, batch) in tokens.chunks(BATCH).enumerate() {
            let done = index * BATCH;
            self.pass(batch, pos + done, done + batch.len() == tokens.len());
        }
        self.logits(0)
    }

    /// Passes at most [`BATCH`] tokens of the first sequence; the logits of the last one, if they
    /// are wanted.
    pub(crate) fn pass(&mut self, tokens: &[u32], pos: usize, want_logits: bool) {
        self.batch(&[Span {
            sequence: 0,
            pos,
            tokens,
            logits: usize::from(want_logits),
        }]);
    }

    /// The logits (`vocab_size`) that the last pass made for the wanted token of this number, in
    /// the order of its spans. The caller may change them.
    pub fn logits(&mut self, number: usize) -> &mut [f32] {
        let vocab_size = self.config.vocab_size;
        let start = number * stride(vocab_size, 4);
        &mut self.logits[start..start + vocab_size]
    }

    /// One forward pass over tokens of any sequences, at most [`BATCH`] in all, for whose last ones
    /// logits are made, at most one for each sequence that there is room for, or one for each guess
    /// and the token before them. A sequence has one span at most. Allocates nothing.
    ///
    /// # Panics
    /// If there are more, if a token is outside of the vocabulary, a position outside of the
    /// context, or a sequence beyond [`Session::sequences`].
    pub fn batch(&mut self, spans: &[Span<'_>]) {
        let wanted: usize = spans.iter().map(|span| span.logits).sum();
        let most = self.sequences().max(1 + self.times.most());
        assert!(wanted <= most, "logits for each sequence or guess");
        let tokens = spans.iter().map(|span| span.tokens.len()).sum();
        let timed = self.tuner.begin(tokens);
        let begun = self.times.begin();
        self.run(spans, None);
        if spans.len() == 1 && wanted == tokens {
            let threads = self.tuner.threads();
            self.times.end(begun, tokens, threads);
        }
        // Those with guesses come in all sizes, none often enough to compare numbers of workers by.
        if spans.len() > 1 || wanted < 2 {
            self.tuner.end(timed, self.workers.at_hand());
        }
    }

    /// Durations of passes, by which guesses are found to pay or not.
    pub(crate) fn times(&self) -> &PassTimes {
        &self.times
    }

    /// Passes tokens of the first sequence and writes the logits after each of them to `logits`,
    /// `vocab_size` numbers per token: for whoever knows the text and asks how likely it is. The
    /// numbers are those of [`forward`](Session::forward).
    ///
    /// # Panics
    /// As there, or if `logits` is not as long.
    pub fn score(&mut self, tokens: &[u32], pos: usize, logits: &mut [f32]) {
        let vocabulary = self.config.vocab_size;
        assert_eq!(logits.len(), tokens.len() * vocabulary);
        let each = tokens
            .chunks(BATCH)
            .zip(logits.chunks_mut(BATCH * vocabulary));
        for (index, (tokens, logits)) in each.enumerate() {
            let span = Span {
                sequence: 0,
                pos: pos + index * BATCH,
                tokens,
                logits: tokens.len(),
            };
            self.run(&[span], Some(logits));
        }
    }

    /// Lets sequence `to` begin with the first `positions` of sequence `from`, without passing them
    /// again; what it held is gone.
    ///
    /// # Panics
    /// If `from` has fewer positions.
    pub fn share_beginning(&mut self, from: usize, to: usize, positions: usize) {
        self.cache.share_beginning(from, to, positions);
    }

    /// Gives the keys and values of a sequence's first `positions`, which have been passed, piece
    /// by piece: numbers of this machine for a session of the same model with the same
    /// [`Options::kv`] and context.
    pub fn export(&self, sequence: usize, positions: usize, out: &mut dyn FnMut(&[u8])) {
        self.cache.export(sequence, positions, out);
    }

    /// Takes over what [`Session::export`] gave, for as many positions; what the sequence held is
    /// gone. `false`, and the sequence is empty, if there are too many positions, or more bytes or
    /// fewer.
    pub fn import(&mut self, sequence: usize, positions: usize, bytes: &[u8]) -> bool {
        positions <= self.positions() && self.cache.import(sequence, positions, bytes)
    }

    /// Forgets a sequence: its memory is free for others.
    pub fn clear(&mut self, sequence: usize) {
        self.cache.clear(sequence);
    }

    /// A pass whose logits go to `out`, one after another, or to the session's own.
    fn run(&mut self, spans: &[Span<'_>], out: Option<&mut [f32]>) {
        let c = &self.config;
        self.rows.clear();
        self.runs.clear();
        self.wanted.clear();
        for &Span {
            sequence,
            pos,
            tokens,
            logits,
        } in spans
        {
            assert!(!tokens.is_empty() && pos + tokens.len() <= c.seq_len);
            assert!(tokens.iter().all(|&token| (token as usize) < c.vocab_size));
            let first = self.rows.len();
            assert!(first + tokens.len() <= BATCH);
            assert!(self.runs.iter().all(|run| run.sequence != sequence));
            let rows = tokens.iter().zip(pos..);
            self.rows.extend(rows.map(|(&token, pos)| Row {
                token,
                sequence,
                pos,
            }));
            let last = first + tokens.len();
            self.wanted
                .extend(last.saturating_sub(logits).max(first)..last);
            self.runs.push(Run {
                sequence,
                pos,
                first,
                len: tokens.len(),
            });
            self.cache.prepare(sequence, pos, pos + tokens.len());
        }
        let (logits, logits_stride) = match out {
            Some(out) => (out, c.vocab_size),
            None => (&mut self.logits[..], stride(c.vocab_size, 4)),
        };
        let pass = Pass {
            model: self.model,
            config: c,
            kernels: self.kernels,
            rows: &self.rows,
            runs: &self.runs,
            wanted: &self.wanted,
            x: Shared::new(&mut self.x),
            normed: Shared::new(&mut self.normed),
            normed_quants: self.normed_quants.share(),
            whole_heads: !self.k.is_empty(),
            q: Shared::new(&mut self.q),
            q_quants: self.q_quants.share(),
            k: Shared::new(&mut self.k),
            v: Shared::new(&mut self.v),
            attended: Shared::new(&mut self.attended),
            attended_quants: self.attended_quants.share(),
            gate: Shared::new(&mut self.gate),
            gate_quants: self.gate_quants.share(),
            own: Shared::new(&mut self.own),
            scores: Shared::new(&mut self.scores),
            angles: self.angles.of(self.rows.iter().map(|row| row.pos)),
            logits: Shared::new(logits),
            logits_stride,
            cache: self.cache.share(),
        };
        let threads = self.tuner.threads();
        self.pool
            .run(self.workers, threads, |member| pass.run(member));
    }
}
