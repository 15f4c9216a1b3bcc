//! One conversation with a model: the forward pass of Llama 2, for one token or a batch of them.
//!
//! The pass follows run.c's `forward` (Touvron et al. 2023, "Llama 2"). All state is allocated by
//! [`Session::new`]; a step allocates nothing and calls nothing outside the engine. Every worker
//! goes through `Pass::run` from top to bottom; each `parallel_for` in it is a step of the
//! computation that has to be complete before the next.

use crate::{
    buffer::{ALIGN, Arena, Buffer},
    checkpoint::Error,
    config::Config,
    kernels::{self, AttentionWeights, Features, Kernels},
    kv_cache::{KvCache, SharedKvCache},
    layout::{Activations, BLOCK, PANEL, Rounding, stride},
    matrix::{Matrix, rounding},
    model::{Layer, Model},
    parallel::{Pool, Shared, Worker},
    quantized::{QuantizedActivations, SharedActivations},
    rope::{RopeRows, RopeTable},
    thread_tuner::{ThreadTuner, Threads},
    workers::{Single, Workers},
};

pub use crate::kv_cache::KvType;

/// Most tokens of one pass over the weights.
pub const BATCH: usize = 64;

/// Results that a worker holds before it passes them on: 512 panels of one token, 8 of [`BATCH`].
const CHUNK: usize = 8 * BATCH * PANEL;

/// Queries that go through a KV head's keys and values together: of several tokens, or of one
/// token's heads.
const TOGETHER: usize = 12;

/// Attention's weights that tokens may have together: what stays in the second cache beside keys
/// and values.
const SCORES: usize = 16 << 10;

/// A worker's room for results: two times this.
fn results_len(c: &Config) -> usize {
    CHUNK.max(c.head_dim())
}

/// One token's query heads that go through their KV head's keys and values together.
fn heads_together(c: &Config) -> usize {
    let most = (CHUNK / c.head_dim()).clamp(1, TOGETHER);
    // In parts of about the same size.
    c.kv_group().div_ceil(c.kv_group().div_ceil(most))
}

/// A worker's room for attention's weights for some tokens of one head, or some heads of one token.
fn scores_len(c: &Config) -> usize {
    SCORES.max(heads_together(c) * c.seq_len.next_multiple_of(PANEL))
}

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
    /// Length of its context; `None` for the model's own, which it may exceed where numbers alone
    /// matter (benchmarks).
    pub positions: Option<usize>,
}

impl Default for Options<'_> {
    /// This core's best kernels, the calling core alone, keys and values in single precision, the
    /// model's own context.
    fn default() -> Self {
        Options {
            kernels: kernels::best(Features::of_this_core()),
            workers: &Single,
            threads: Threads::Fixed(1),
            kv: KvType::F32,
            positions: None,
        }
    }
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
    let own = workers as u64 * (4 * (2 * results_len(c) + scores_len(c)) as u64 + heads);
    let vocabulary = c.vocab_size as u64 * (4 + 8);
    rows * (4 * numbers + quantised) + angles + own + vocabulary
}

/// One conversation's state.
pub struct Session<'m> {
    model: &'m Model,
    /// The model's shape, with the length of this session's context.
    config: Config,
    kernels: &'static Kernels,
    workers: &'m dyn Workers,
    pool: Pool,
    tuner: ThreadTuner,
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
    /// For each worker: two times [`CHUNK`] results.
    own: Buffer<f32>,
    /// For each worker: attention's weights for one head.
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
        let rows = rows(workers);
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
            c.vocab_size.next_multiple_of(ALIGN / 4),
        ];
        let room: usize = lengths.iter().map(|numbers| 4 * numbers + ALIGN).sum();
        let mut arena = Arena::new(room as u64);
        Ok(Session {
            model,
            kernels: options.kernels,
            workers: options.workers,
            pool: Pool::new(workers),
            tuner: ThreadTuner::new(options.threads, workers),
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
            scores: Buffer::zeroed(workers * scores_len(c))?,
            angles: RopeTable::new(c, BATCH, &model.rope_factors)?,
            logits: arena.zeroed(c.vocab_size)?,
            cache: KvCache::new(c, options.kv)?,
            config,
        })
    }

    /// The model under it.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// Length of its context in positions.
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

    /// One forward pass: the logits (`vocab_size`) of what follows `token` at position `pos`, given
    /// the tokens that were passed at positions 0 to `pos` - 1. The caller may change them.
    /// Allocates nothing.
    ///
    /// # Panics
    /// If `token` is outside of the vocabulary or `pos` outside of the context.
    pub fn forward(&mut self, token: u32, pos: usize) -> &mut [f32] {
        let before = self.tuner.begin();
        self.pass(&[token], pos, true);
        self.tuner.end(before, self.workers.at_hand());
        &mut self.logits
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
        &mut self.logits
    }

    /// Passes tokens without computing logits: more of a prompt follows.
    ///
    /// # Panics
    /// As [`forward`](Session::forward).
    pub fn read(&mut self, tokens: &[u32], pos: usize) {
        for (index, batch) in tokens.chunks(BATCH).enumerate() {
            self.pass(batch, pos + index * BATCH, false);
        }
    }

    /// Passes at most [`BATCH`] tokens; the logits of the last one, if they are wanted.
    pub(crate) fn pass(&mut self, tokens: &[u32], pos: usize, want_logits: bool) {
        let c = &self.config;
        assert!(tokens.iter().all(|&token| (token as usize) < c.vocab_size));
        assert!(tokens.len() <= BATCH && pos + tokens.len() <= c.seq_len);
        let pass = Pass {
            model: self.model,
            config: c,
            kernels: self.kernels,
            tokens,
            pos,
            want_logits,
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
            angles: self.angles.of(pos..pos + tokens.len()),
            logits: Shared::new(&mut self.logits),
            cache: self.cache.share(pos + tokens.len()),
        };
        let threads = self.tuner.threads();
        self.pool
            .run(self.workers, threads, |member| pass.run(member));
    }
}

/// One pass over the weights, as all workers see it.
///
/// Between two barriers (the ends of `parallel_for`s) each row of a buffer, or each part of it that
/// belongs to a panel or to a head, is written by the one worker that it was dealt to, and read by
/// nobody else: that is what the `Safety` lines rely on.
struct Pass<'a> {
    model: &'a Model,
    config: &'a Config,
    kernels: &'static Kernels,
    tokens: &'a [u32],
    /// The position of the first token.
    pos: usize,
    want_logits: bool,
    x: Shared<'a, f32>,
    normed: Shared<'a, f32>,
    normed_quants: SharedActivations<'a>,
    /// True if the cache takes whole heads only.
    whole_heads: bool,
    q: Shared<'a, f32>,
    q_quants: SharedActivations<'a>,
    k: Shared<'a, f32>,
    v: Shared<'a, f32>,
    attended: Shared<'a, f32>,
    attended_quants: SharedActivations<'a>,
    gate: Shared<'a, f32>,
    gate_quants: SharedActivations<'a>,
    own: Shared<'a, f32>,
    scores: Shared<'a, f32>,
    angles: RopeRows<'a>,
    logits: Shared<'a, f32>,
    cache: SharedKvCache<'a>,
}

impl Pass<'_> {
    /// What each worker does.
    fn run(&self, member: &Worker<'_>) {
        let (model, dim) = (self.model, self.config.dim);

        // Each token's vector starts its residual stream.
        member.parallel_for(self.tokens.len(), 1, |tokens| {
            for t in tokens {
                // Safety: the token was dealt to this worker.
                let x = unsafe { self.x.write(t * dim..(t + 1) * dim) };
                model.embedding.row(self.tokens[t] as usize, x);
                scale(x, self.config.variant.scales.embedding);
            }
        });

        for (index, layer) in model.layers.iter().enumerate() {
            // x += attention(norm(x))
            let input = self.normalise(
                member,
                &layer.attention_norm,
                0..self.tokens.len(),
                rounding(&[&layer.wq, &layer.wk, &layer.wv]),
            );
            self.project(member, layer, index, &input);
            self.attend(member, index);
            let input = self.ready(member, &self.attended, &self.attended_quants, &layer.wo);
            self.add_product(member, &layer.wo, &layer.bo, &input);

            // x += feed_forward(norm(x))
            let input = self.normalise(
                member,
                &layer.ffn_norm,
                0..self.tokens.len(),
                rounding(&[&layer.w1, &layer.w3]),
            );
            self.gate(member, layer, &input);
            let input = self.ready(member, &self.gate, &self.gate_quants, &layer.w2);
            self.add_product(member, &layer.w2, &[], &input);
        }

        // The last state against every token's row.
        if self.want_logits {
            let last = self.tokens.len() - 1;
            let input = self.normalise(
                member,
                &model.final_norm,
                last..last + 1,
                rounding(&[model.classifier()]),
            );
            self.product(
                member,
                &[model.classifier()],
                &input,
                |_, _, row, logits| {
                    scale(logits, self.config.variant.scales.logits);
                    // Safety: the panels were dealt to this worker.
                    unsafe { self.logits.write(row..row + logits.len()) }.copy_from_slice(logits);
                },
            );
        }
    }

    /// The tokens' streams, normalised and, if need be, quantised.
    fn normalise(
        &self,
        member: &Worker<'_>,
        weight: &[f32],
        tokens: core::ops::Range<usize>,
        rounding: Option<Rounding>,
    ) -> Activations<'_> {
        let (dim, stride) = (self.config.dim, stride(self.config.dim, 4));
        let make = |t: usize, row: usize| {
            // Safety: nobody writes to x now; the row is this worker's.
            unsafe {
                let x = self.x.read(t * dim..(t + 1) * dim);
                let normed = self.normed.write(row * stride..row * stride + dim);
                (self.kernels.rmsnorm)(normed, x, weight, self.config.variant.norm_epsilon);
                self.normed_quants.fill(self.kernels, rounding, row, normed);
            }
        };
        let row = if tokens.len() == 1 {
            // Each worker makes its own: that is sooner done than waited for.
            make(tokens.start, member.index);
            member.index
        } else {
            member.parallel_for(tokens.len(), 1, |tokens| tokens.for_each(|t| make(t, t)));
            0
        };
        // Safety: nobody writes to these rows before the next barrier.
        unsafe {
            let normed = self
                .normed
                .read(row * stride..(row + tokens.len()) * stride);
            self.normed_quants.beside(row, tokens.len(), dim, normed)
        }
    }

    /// The tokens' rows of `values`, if need be quantised for `reader`.
    fn ready<'b>(
        &self,
        member: &Worker<'_>,
        values: &'b Shared<'_, f32>,
        quants: &'b SharedActivations<'_>,
        reader: &Matrix,
    ) -> Activations<'b> {
        let rounding = reader.encoding().rounding();
        let tokens = self.tokens.len();
        let cols = if core::ptr::eq(values, &self.gate) {
            self.config.hidden_dim
        } else {
            self.config.q_dim()
        };
        let stride = stride(cols, 4);
        // Safety: nobody writes to them now.
        let all = unsafe { values.read(0..tokens * stride) };
        let row = if tokens == 1 {
            // Safety: a row for each worker.
            unsafe { quants.fill(self.kernels, rounding, member.index, &all[..cols]) };
            member.index
        } else {
            if rounding.is_some() {
                member.parallel_for(tokens, 1, |tokens| {
                    for t in tokens {
                        // Safety: the token was dealt to this worker.
                        unsafe {
                            let values = &all[t * stride..t * stride + cols];
                            quants.fill(self.kernels, rounding, t, values);
                        }
                    }
                });
            }
            0
        };
        // Safety: nobody writes to these rows before the next barrier.
        unsafe { quants.beside(row, tokens, cols, all) }
    }

    /// This worker's room for results: two times [`CHUNK`].
    ///
    /// # Safety
    /// A worker may have it once at a time.
    #[allow(clippy::mut_from_ref)]
    unsafe fn own(&self, member: &Worker<'_>) -> (&mut [f32], &mut [f32]) {
        let size = results_len(self.config);
        let (from, to) = (2 * member.index * size, 2 * (member.index + 1) * size);
        // Safety: each worker has its own, once, as the caller says.
        unsafe { self.own.write(from..to) }.split_at_mut(size)
    }

    /// Panels that are dealt at once, of `panels`: some for everybody to the last, and results for
    /// no more than [`CHUNK`].
    fn chunk(&self, member: &Worker<'_>, panels: usize, tokens: usize) -> usize {
        let fair = if member.parts == 1 {
            panels
        } else {
            panels.div_ceil(8 * member.parts)
        };
        fair.clamp(1, CHUNK / PANEL / tokens)
    }

    /// Multiplies `matrices`, which read the same `input`, and hands on the results of some rows at
    /// a time: `each(matrix, token, first row, results)`.
    fn product(
        &self,
        member: &Worker<'_>,
        matrices: &[&Matrix],
        input: &Activations<'_>,
        mut each: impl FnMut(usize, usize, usize, &mut [f32]),
    ) {
        let panels = matrices.iter().map(|matrix| matrix.panels()).sum();
        member.parallel_for(panels, self.chunk(member, panels, input.tokens), |range| {
            let mut before = 0;
            for (index, matrix) in matrices.iter().enumerate() {
                let first = range.start.max(before) - before;
                let end = range.end.min(before + matrix.panels()).max(before) - before;
                before += matrix.panels();
                if first >= end {
                    continue;
                }
                // Safety: `each` has no use for it.
                let (results, _) = unsafe { self.own(member) };
                let results = &mut results[..(end - first) * input.tokens * PANEL];
                matrix.multiply(self.kernels, first, input, results);
                let row = first * PANEL;
                let rows = (end * PANEL).min(matrix.rows()) - row;
                let tokens = results.chunks_exact_mut((end - first) * PANEL);
                for (t, results) in tokens.enumerate() {
                    each(index, t, row, &mut results[..rows]);
                }
            }
        });
    }

    /// x += matrix · input + bias.
    fn add_product(
        &self,
        member: &Worker<'_>,
        matrix: &Matrix,
        bias: &[f32],
        input: &Activations<'_>,
    ) {
        let dim = self.config.dim;
        self.product(member, &[matrix], input, |_, t, row, results| {
            self.add_bias(bias, row, results);
            scale(results, self.config.variant.scales.residual);
            let place = t * dim + row;
            // Safety: the panels were dealt to this worker.
            let x = unsafe { self.x.write(place..place + results.len()) };
            (self.kernels.add)(x, results);
        });
    }

    /// results += bias, from row `row` on; there may be none.
    fn add_bias(&self, bias: &[f32], row: usize, results: &mut [f32]) {
        if !bias.is_empty() {
            (self.kernels.add)(results, &bias[row..row + results.len()]);
        }
    }

    /// Queries, turned by their positions, to `q`; keys, likewise, and values to the cache.
    fn project(&self, member: &Worker<'_>, layer: &Layer, index: usize, input: &Activations<'_>) {
        let stride_q = stride(self.config.q_dim(), 4);
        let stride_kv = stride(self.config.kv_dim(), 4);
        let matrices = [&layer.wq, &layer.wk, &layer.wv];
        let biases = [&layer.bq, &layer.bk, &layer.bv];
        self.product(member, &matrices, input, |which, t, row, results| {
            let pos = self.pos + t;
            self.add_bias(biases[which], row, results);
            // Safety: the panels were dealt to this worker.
            unsafe {
                if which == 0 {
                    let place = t * stride_q + row;
                    if !layer.has_head_norms() {
                        self.angles.turn(self.kernels, pos, row, results);
                    }
                    let q = self.q.write(place..place + results.len());
                    q.copy_from_slice(results);
                } else if self.whole_heads {
                    let place = t * stride_kv + row;
                    let staged = if which == 1 { &self.k } else { &self.v };
                    let staged = staged.write(place..place + results.len());
                    staged.copy_from_slice(results);
                } else if which == 1 {
                    self.angles.turn(self.kernels, pos, row, results);
                    self.cache.put_keys(self.kernels, index, pos, row, results);
                } else {
                    self.cache
                        .put_values(self.kernels, index, pos, row, results);
                }
            }
        });
        if self.whole_heads {
            self.finish_heads(member, layer, index);
        }
    }

    /// What takes whole heads: their norms, and the cache where it has blocks.
    fn finish_heads(&self, member: &Worker<'_>, layer: &Layer, index: usize) {
        let (c, head_dim) = (self.config, self.config.head_dim());
        let epsilon = c.variant.norm_epsilon;
        let (stride_q, stride_kv) = (stride(c.q_dim(), 4), stride(c.kv_dim(), 4));
        let queries = if layer.has_head_norms() { c.n_heads } else { 0 };
        let heads = c.n_kv_heads + queries;
        member.parallel_for(self.tokens.len() * heads, 1, |items| {
            // Safety: the only one in this step.
            let (normed, _) = unsafe { self.own(member) };
            let normed = &mut normed[..head_dim];
            for item in items {
                let (t, head) = (item / heads, item % heads);
                let pos = self.pos + t;
                // Safety: the token's head was dealt to this worker.
                unsafe {
                    if head < queries {
                        let place = t * stride_q + head * head_dim;
                        let q = self.q.write(place..place + head_dim);
                        (self.kernels.rmsnorm)(normed, q, &layer.q_norm, epsilon);
                        q.copy_from_slice(normed);
                        self.angles.turn(self.kernels, pos, 0, q);
                    } else {
                        let row = (head - queries) * head_dim;
                        let place = t * stride_kv + row;
                        let k = self.k.write(place..place + head_dim);
                        if layer.has_head_norms() {
                            (self.kernels.rmsnorm)(normed, k, &layer.k_norm, epsilon);
                            k.copy_from_slice(normed);
                        }
                        self.angles.turn(self.kernels, pos, 0, k);
                        self.cache.put_keys(self.kernels, index, pos, row, k);
                        let v = self.v.read(place..place + head_dim);
                        self.cache.put_values(self.kernels, index, pos, row, v);
                    }
                }
            }
        });
    }

    /// attended = attention of q over all positions up to each token's own, as far as the window
    /// reaches.
    fn attend(&self, member: &Worker<'_>, index: usize) {
        let (c, tokens) = (self.config, self.tokens.len());
        let (head_dim, stride_q) = (c.head_dim(), stride(c.q_dim(), 4));
        let window = c.variant.window.unwrap_or(usize::MAX);
        // Scores are divided by it.
        let divisor = match c.variant.scales.attention {
            Some(scale) => 1.0 / scale,
            None => crate::math::sqrt(head_dim as f32),
        };
        // Queries that go through a KV head's keys and values together: of one token, those of the
        // heads that share it; of several tokens, as many as there is room for weights of.
        let in_turn = tokens == 1;
        let (heads, together) = if in_turn {
            (heads_together(c), 1)
        } else {
            let reach = (self.pos + tokens).next_multiple_of(PANEL);
            let most = (SCORES / reach).min(CHUNK / head_dim).clamp(1, TOGETHER);
            (1, most.min(tokens))
        };
        let head_groups = c.kv_group().div_ceil(heads);
        let groups = tokens.div_ceil(together);
        member.parallel_for(c.n_kv_heads * head_groups * groups, 1, |items| {
            let size = scores_len(c);
            // Safety: the only ones in this step.
            let ((results, room), all_scores) = unsafe {
                let range = member.index * size..(member.index + 1) * size;
                (self.own(member), self.scores.write(range))
            };
            for item in items {
                let (part, first) = (item / groups, item % groups * together);
                let (kv_head, offset) = (part / head_groups, part % head_groups * heads);
                let head = kv_head * c.kv_group() + offset;
                // One of the two is 1.
                let (heads, tokens) = (
                    heads.min(c.kv_group() - offset),
                    together.min(tokens - first),
                );
                let (count, stride) = (heads * tokens, if heads > 1 { head_dim } else { stride_q });
                let place = first * stride_q + head * head_dim;
                let end = place + (count - 1) * stride + head_dim;
                // From the first position that the first token sees, in whole panels, to the last
                // token's own.
                let begin = (self.pos + first + 1).saturating_sub(window) / PANEL * PANEL;
                let positions = self.pos + first + tokens - begin;
                let panels = positions.next_multiple_of(PANEL);
                let scores = &mut all_scores[..count * panels];
                // Safety: nobody writes to q or the cache now; the int8 rows are this worker's.
                unsafe {
                    let q = self.q.read(place..end);
                    let row = member.index * TOGETHER;
                    for (i, q) in q.chunks(stride).enumerate() {
                        self.q_quants.fill(
                            self.kernels,
                            Some(Rounding::Q8_0),
                            row + i,
                            &q[..head_dim],
                        );
                    }
                    let q = Activations {
                        stride,
                        ..self.q_quants.beside(row, count, head_dim, q)
                    };
                    self.cache.scores(
                        self.kernels,
                        index,
                        kv_head,
                        begin,
                        &q,
                        in_turn,
                        scores,
                        room,
                    );
                }
                // softmax(q·k / √head_dim); nothing of what comes after the token itself, or before
                // its window.
                for (i, scores) in scores.chunks_exact_mut(panels).enumerate() {
                    let end = self.pos + first + i / heads + 1;
                    let (seen, after) = scores.split_at_mut(end - begin);
                    let (before, seen) =
                        seen.split_at_mut(end.saturating_sub(window).max(begin) - begin);
                    (self.kernels.softmax)(seen, divisor);
                    before.fill(0.0);
                    after.fill(0.0);
                }
                // The values, so weighed.
                let weights = AttentionWeights {
                    values: scores,
                    stride: panels,
                    tokens: count,
                    rows: positions,
                    width: head_dim,
                };
                let results = &mut results[..count * head_dim];
                // Safety: nobody writes to the cache now.
                unsafe {
                    self.cache.weigh(
                        self.kernels,
                        index,
                        kv_head,
                        begin,
                        &weights,
                        in_turn,
                        results,
                    );
                }
                for (i, result) in results.chunks_exact(head_dim).enumerate() {
                    let place = place + i * stride;
                    // Safety: the queries were dealt to this worker.
                    let attended = unsafe { self.attended.write(place..place + head_dim) };
                    attended.copy_from_slice(result);
                }
            }
        });
    }

    /// gate = silu(w1 · input) ⊙ (w3 · input).
    fn gate(&self, member: &Worker<'_>, layer: &Layer, input: &Activations<'_>) {
        let (hidden_dim, panels) = (self.config.hidden_dim, layer.w1.panels());
        let stride = stride(hidden_dim, 4);
        member.parallel_for(panels, self.chunk(member, panels, input.tokens), |range| {
            // Safety: the only one in this step.
            let (gate, up) = unsafe { self.own(member) };
            let len = range.len() * input.tokens * PANEL;
            let (gate, up) = (&mut gate[..len], &mut up[..len]);
            layer.w1.multiply(self.kernels, range.start, input, gate);
            layer.w3.multiply(self.kernels, range.start, input, up);
            (self.kernels.swiglu)(gate, up);
            let row = range.start * PANEL;
            let rows = (range.end * PANEL).min(hidden_dim) - row;
            for (t, gate) in gate.chunks_exact(range.len() * PANEL).enumerate() {
                let place = t * stride + row;
                // Safety: the panels were dealt to this worker.
                unsafe { self.gate.write(place..place + rows) }.copy_from_slice(&gate[..rows]);
            }
        });
    }
}

/// x *= factor.
fn scale(x: &mut [f32], factor: f32) {
    if factor != 1.0 {
        x.iter_mut().for_each(|x| *x *= factor);
    }
}
