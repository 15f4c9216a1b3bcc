//! Forward pass of Llama 2 over the tokens of one or several sequences, as run.c's `forward`
//! (Touvron et al. 2023, "Llama 2").
//!
//! Every worker goes through [`Pass::run`] from top to bottom; each `parallel_for` in it is a step
//! of the computation that has to be complete before the next. Nothing is allocated, and nothing
//! outside the engine is called.

mod attention;

use crate::{
    config::Config,
    kernels::Kernels,
    kv_cache::SharedKvCache,
    layout::{Activations, PANEL, Rounding, stride},
    matrix::{Matrix, rounding},
    model::{Layer, Model},
    parallel::{Shared, Worker},
    quantized::SharedActivations,
    rope::RopeRows,
};

pub(crate) use attention::{TOGETHER, scores_len};

/// Most tokens of one pass over the weights.
pub const BATCH: usize = 64;

/// Results that a worker holds before it passes them on: 512 panels of one token, 8 of [`BATCH`].
const CHUNK: usize = 8 * BATCH * PANEL;

/// A worker's room for results: two times this.
pub(crate) fn results_len(c: &Config) -> usize {
    CHUNK.max(c.head_dim())
}

/// Token of a pass.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub token: u32,
    pub sequence: usize,
    pub pos: usize,
}

/// Tokens of a pass that follow each other in a sequence.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub sequence: usize,
    pub pos: usize,
    /// The first one's row.
    pub first: usize,
    pub len: usize,
}

/// One pass over the weights, as all workers see it.
///
/// Between two barriers (the ends of `parallel_for`s) each row of a buffer, or each part of it that
/// a step deals (of a panel, a head, or a head's positions or columns), is written by the one
/// worker that it was dealt to, and read by nobody else: that is what the `Safety` lines rely on.
pub(crate) struct Pass<'a> {
    pub model: &'a Model,
    pub config: &'a Config,
    pub kernels: &'static Kernels,
    /// Its tokens.
    pub rows: &'a [Row],
    pub runs: &'a [Run],
    /// Rows whose logits are wanted.
    pub wanted: &'a [usize],
    pub x: Shared<'a, f32>,
    pub normed: Shared<'a, f32>,
    pub normed_quants: SharedActivations<'a>,
    /// True if the cache takes whole heads only.
    pub whole_heads: bool,
    pub q: Shared<'a, f32>,
    pub q_quants: SharedActivations<'a>,
    pub k: Shared<'a, f32>,
    pub v: Shared<'a, f32>,
    pub attended: Shared<'a, f32>,
    pub attended_quants: SharedActivations<'a>,
    pub gate: Shared<'a, f32>,
    pub gate_quants: SharedActivations<'a>,
    pub own: Shared<'a, f32>,
    pub scores: Shared<'a, f32>,
    pub angles: RopeRows<'a>,
    pub logits: Shared<'a, f32>,
    /// Numbers from one row of them to the next.
    pub logits_stride: usize,
    pub cache: SharedKvCache<'a>,
}

impl Pass<'_> {
    /// Does a worker's share of the pass.
    pub(crate) fn run(&self, member: &Worker<'_>) {
        let (model, dim) = (self.model, self.config.dim);

        // Each token's vector starts its residual stream.
        let count = self.rows.len();
        member.parallel_for(count, 1, |tokens| {
            for t in tokens {
                // Safety: the token was dealt to this worker.
                let x = unsafe { self.x.write(t * dim..(t + 1) * dim) };
                model.embedding.row(self.rows[t].token as usize, x);
                scale(x, self.config.variant.scales.embedding);
            }
        });

        for (index, layer) in model.layers.iter().enumerate() {
            // x += attention(norm(x))
            let input = self.normalise(
                member,
                &layer.attention_norm,
                count,
                |t| t,
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
                count,
                |t| t,
                rounding(&[&layer.w1, &layer.w3]),
            );
            self.gate(member, layer, &input);
            let input = self.ready(member, &self.gate, &self.gate_quants, &layer.w2);
            self.add_product(member, &layer.w2, &[], &input);
        }

        // The last states against every token's row.
        if !self.wanted.is_empty() {
            let input = self.normalise(
                member,
                &model.final_norm,
                self.wanted.len(),
                |t| self.wanted[t],
                rounding(&[model.classifier()]),
            );
            self.product(
                member,
                &[model.classifier()],
                &input,
                |_, t, row, logits| {
                    scale(logits, self.config.variant.scales.logits);
                    let place = t * self.logits_stride + row;
                    // Safety: the panels were dealt to this worker.
                    let out = unsafe { self.logits.write(place..place + logits.len()) };
                    out.copy_from_slice(logits);
                },
            );
        }
    }

    /// The streams of `count` tokens, the first of row `row_of(0)` and so on, normalised and, if
    /// need be, quantised.
    fn normalise(
        &self,
        member: &Worker<'_>,
        weight: &[f32],
        count: usize,
        row_of: impl Fn(usize) -> usize,
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
        let row = if count == 1 {
            // Each worker makes its own: that is sooner done than waited for.
            make(row_of(0), member.index);
            member.index
        } else {
            member.parallel_for(count, 1, |tokens| tokens.for_each(|t| make(row_of(t), t)));
            0
        };
        // Safety: nobody writes to these rows before the next barrier.
        unsafe {
            let normed = self.normed.read(row * stride..(row + count) * stride);
            self.normed_quants.beside(row, count, dim, normed)
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
        let tokens = self.rows.len();
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
            let Row { sequence, pos, .. } = self.rows[t];
            self.add_bias(biases[which], row, results);
            // Safety: the panels were dealt to this worker.
            unsafe {
                if which == 0 {
                    let place = t * stride_q + row;
                    if !layer.has_head_norms() {
                        self.angles.turn(self.kernels, t, row, results);
                    }
                    let q = self.q.write(place..place + results.len());
                    q.copy_from_slice(results);
                } else if self.whole_heads {
                    let place = t * stride_kv + row;
                    let staged = if which == 1 { &self.k } else { &self.v };
                    let staged = staged.write(place..place + results.len());
                    staged.copy_from_slice(results);
                } else if which == 1 {
                    self.angles.turn(self.kernels, t, row, results);
                    let cache = self.cache.sequence(sequence);
                    cache.put_keys(self.kernels, index, pos, row, results);
                } else {
                    let cache = self.cache.sequence(sequence);
                    cache.put_values(self.kernels, index, pos, row, results);
                }
            }
        });
        if self.whole_heads {
            self.finish_heads(member, layer, index);
        }
    }

    /// Finishes what takes whole heads: their norms, and the cache where it has blocks.
    fn finish_heads(&self, member: &Worker<'_>, layer: &Layer, index: usize) {
        let (c, head_dim) = (self.config, self.config.head_dim());
        let epsilon = c.variant.norm_epsilon;
        let (stride_q, stride_kv) = (stride(c.q_dim(), 4), stride(c.kv_dim(), 4));
        let queries = if layer.has_head_norms() { c.n_heads } else { 0 };
        let heads = c.n_kv_heads + queries;
        member.parallel_for(self.rows.len() * heads, 1, |items| {
            // Safety: the only one in this step.
            let (normed, _) = unsafe { self.own(member) };
            let normed = &mut normed[..head_dim];
            for item in items {
                let (t, head) = (item / heads, item % heads);
                let Row { sequence, pos, .. } = self.rows[t];
                let cache = self.cache.sequence(sequence);
                // Safety: the token's head was dealt to this worker.
                unsafe {
                    if head < queries {
                        let place = t * stride_q + head * head_dim;
                        let q = self.q.write(place..place + head_dim);
                        (self.kernels.rmsnorm)(normed, q, &layer.q_norm, epsilon);
                        q.copy_from_slice(normed);
                        self.angles.turn(self.kernels, t, 0, q);
                    } else {
                        let row = (head - queries) * head_dim;
                        let place = t * stride_kv + row;
                        let k = self.k.write(place..place + head_dim);
                        if layer.has_head_norms() {
                            (self.kernels.rmsnorm)(normed, k, &layer.k_norm, epsilon);
                            k.copy_from_slice(normed);
                        }
                        self.angles.turn(self.kernels, t, 0, k);
                        cache.put_keys(self.kernels, index, pos, row, k);
                        let v = self.v.read(place..place + head_dim);
                        cache.put_values(self.kernels, index, pos, row, v);
                    }
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
