//! One conversation with a model: the KV cache and the forward pass of Llama 2.
//!
//! The pass follows run.c's `forward` (Touvron et al. 2023, "Llama 2"). All state is allocated by [`Session::new`];
//! a step allocates nothing and calls nothing outside the engine.

use crate::{
    buffer::{Buffer, OutOfMemory},
    checkpoint::Error,
    config::Config,
    kernels::{self, Kernels},
    math,
    matrix::{Activations, PANEL, q8_0::padded},
    model::{Layer, Model},
    workers::{Single, Workers, deal},
};

/// Bytes of keys and values for the whole context.
pub(crate) fn kv_cache_bytes(c: &Config) -> u64 {
    let rows = c.seq_len.next_multiple_of(PANEL) + c.seq_len;
    let factors = [c.n_layers, rows, c.kv_dim(), size_of::<f32>()];
    factors
        .iter()
        .fold(1u64, |bytes, &factor| bytes.saturating_mul(factor as u64))
}

/// Bytes of everything else in a session, and of the sampler's list.
pub(crate) fn activation_bytes(c: &Config) -> u64 {
    // x, normed, attended, q, out of attention and feed-forward; k and v; gate and up; int8 forms.
    let per_width = 6 * c.dim as u64
        + 2 * c.kv_dim() as u64
        + 2 * c.hidden_dim as u64
        + 2 * c.hidden_dim.max(c.dim) as u64;
    let scores = c.n_heads as u64 * c.seq_len as u64;
    let vocabulary = c.vocab_size as u64 * (4 + 8);
    4 * (per_width + scores) + vocabulary
}

/// A vector beside its int8 form, which is filled only for models with int8 matrices.
struct Input {
    values: Buffer<f32>,
    quants: Buffer<i8>,
    scales: Buffer<f32>,
    group: Option<usize>,
}

impl Input {
    fn zeroed(len: usize, group: Option<usize>) -> Result<Self, OutOfMemory> {
        let groups = group.map_or(0, |group| len / group);
        Ok(Input {
            values: Buffer::zeroed(len)?,
            quants: Buffer::zeroed(groups * padded(group.unwrap_or(1)))?,
            scales: Buffer::zeroed(groups)?,
            group,
        })
    }

    /// Quantises `values`, once for all the matrices that read them.
    fn ready(&mut self, kernels: &Kernels) -> Activations<'_> {
        if let Some(group) = self.group {
            (kernels.quantize)(&self.values, group, &mut self.quants, &mut self.scales);
        }
        Activations {
            values: &self.values,
            quants: &self.quants,
            scales: &self.scales,
        }
    }
}

/// Keys and values of all positions, laid out so that attention streams: for each layer and KV head the keys as a packed
/// matrix of `seq_len` rows (16 positions interleaved, as in [`crate::matrix::float32`]), and the values row after row.
struct Cache {
    keys: Buffer<f32>,
    values: Buffer<f32>,
    /// Positions, filled up to whole panels.
    rows: usize,
    seq_len: usize,
    head_dim: usize,
    kv_heads: usize,
}

impl Cache {
    fn zeroed(c: &Config) -> Result<Self, OutOfMemory> {
        let rows = c.seq_len.next_multiple_of(PANEL);
        let buffer = |rows: usize| {
            let len = [c.n_layers, c.kv_dim()]
                .iter()
                .try_fold(rows, |n, &factor| n.checked_mul(factor));
            Buffer::zeroed(len.ok_or(OutOfMemory { bytes: u64::MAX })?)
        };
        Ok(Cache {
            keys: buffer(rows)?,
            values: buffer(c.seq_len)?,
            rows,
            seq_len: c.seq_len,
            head_dim: c.head_dim(),
            kv_heads: c.n_kv_heads,
        })
    }

    /// Puts one position's keys and values of all heads (`kv_dim` each) in.
    fn put(&mut self, layer: usize, pos: usize, keys: &[f32], values: &[f32]) {
        for head in 0..self.kv_heads {
            let vector = head * self.head_dim..(head + 1) * self.head_dim;
            let start = (layer * self.kv_heads + head) * self.rows * self.head_dim;
            let panel = start + (pos / PANEL) * PANEL * self.head_dim;
            let places = self.keys[panel..]
                .iter_mut()
                .skip(pos % PANEL)
                .step_by(PANEL);
            places
                .zip(&keys[vector.clone()])
                .for_each(|(place, key)| *place = *key);
            let start = ((layer * self.kv_heads + head) * self.seq_len + pos) * self.head_dim;
            self.values[start..start + self.head_dim].copy_from_slice(&values[vector]);
        }
    }

    /// One head's keys in panels.
    fn keys(&self, layer: usize, head: usize) -> &[f32] {
        let len = self.rows * self.head_dim;
        &self.keys[(layer * self.kv_heads + head) * len..][..len]
    }

    /// One head's values, a position after another.
    fn values(&self, layer: usize, head: usize) -> impl Iterator<Item = &[f32]> {
        let len = self.seq_len * self.head_dim;
        self.values[(layer * self.kv_heads + head) * len..][..len].chunks_exact(self.head_dim)
    }
}

/// One conversation's state.
pub struct Session<'m> {
    model: &'m Model,
    kernels: &'static Kernels,
    workers: &'m dyn Workers,
    /// The residual stream, `dim`.
    x: Buffer<f32>,
    /// What attention and the feed-forward layer read, `dim`.
    normed: Input,
    /// What a layer adds to the stream, `dim`.
    delta: Buffer<f32>,
    /// Queries, `dim`; one position's keys and values, `kv_dim`.
    q: Buffer<f32>,
    k: Buffer<f32>,
    v: Buffer<f32>,
    /// Attention's weights, `n_heads` × `seq_len`, and its result, `dim`.
    scores: Buffer<f32>,
    attended: Input,
    /// The feed-forward layer's two halves, `hidden_dim`.
    gate: Input,
    up: Buffer<f32>,
    /// Cosines and sines of the current position's angles, `head_dim / 2`.
    cos: Buffer<f32>,
    sin: Buffer<f32>,
    logits: Buffer<f32>,
    cache: Cache,
}

impl<'m> Session<'m> {
    /// A session on this machine's best kernels and the calling core alone.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(model: &'m Model) -> Result<Session<'m>, Error> {
        Self::with(model, kernels::best(), &Single)
    }

    /// A session on these kernels and workers.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn with(
        model: &'m Model,
        kernels: &'static Kernels,
        workers: &'m dyn Workers,
    ) -> Result<Session<'m>, Error> {
        let c = &model.config;
        Ok(Session {
            model,
            kernels,
            workers,
            x: Buffer::zeroed(c.dim)?,
            normed: Input::zeroed(c.dim, model.group)?,
            delta: Buffer::zeroed(c.dim)?,
            q: Buffer::zeroed(c.dim)?,
            k: Buffer::zeroed(c.kv_dim())?,
            v: Buffer::zeroed(c.kv_dim())?,
            scores: Buffer::zeroed(c.n_heads * c.seq_len)?,
            attended: Input::zeroed(c.dim, model.group)?,
            gate: Input::zeroed(c.hidden_dim, model.group)?,
            up: Buffer::zeroed(c.hidden_dim)?,
            cos: Buffer::zeroed(c.head_dim() / 2)?,
            sin: Buffer::zeroed(c.head_dim() / 2)?,
            logits: Buffer::zeroed(c.vocab_size)?,
            cache: Cache::zeroed(c)?,
        })
    }

    /// The model under it.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// One forward pass: the logits (`vocab_size`) of what follows `token` at position `pos`, given the tokens that were
    /// passed at positions 0 to `pos` - 1. The caller may change them. Allocates nothing.
    ///
    /// # Panics
    /// If `token` is outside of the vocabulary or `pos` outside of the context.
    pub fn forward(&mut self, token: u32, pos: usize) -> &mut [f32] {
        let model = self.model;
        assert!((token as usize) < model.config.vocab_size && pos < model.config.seq_len);

        // The token's vector starts the residual stream.
        model.embedding.row(token as usize, &mut self.x);
        self.set_angles(pos);

        let (kernels, workers) = (self.kernels, self.workers);
        for (index, layer) in model.layers.iter().enumerate() {
            // x += attention(norm(x))
            (kernels.rmsnorm)(&mut self.normed.values, &self.x, &layer.attention_norm);
            self.attention(layer, index, pos);
            (kernels.add)(&mut self.x, &self.delta);

            // x += feed_forward(norm(x))
            (kernels.rmsnorm)(&mut self.normed.values, &self.x, &layer.ffn_norm);
            self.feed_forward(layer);
            (kernels.add)(&mut self.x, &self.delta);
        }

        // The last state against every token's row.
        (kernels.rmsnorm)(&mut self.normed.values, &self.x, &model.final_norm);
        model.classifier().multiply(
            &self.normed.ready(kernels),
            &mut self.logits,
            kernels,
            workers,
        );
        &mut self.logits
    }

    /// The angles of position `pos`: pair i of a head turns by pos / 10000^(2i / head_dim) (Su et al. 2021, RoPE).
    fn set_angles(&mut self, pos: usize) {
        let head_dim = self.model.config.head_dim() as f32;
        for (i, (cos, sin)) in self.cos.iter_mut().zip(self.sin.iter_mut()).enumerate() {
            let frequency = 1.0 / math::pow(10_000.0, (2 * i) as f32 / head_dim);
            (*sin, *cos) = math::sin_cos(pos as f32 * frequency);
        }
    }

    /// `delta` = attention of `normed` over all positions up to `pos`.
    fn attention(&mut self, layer: &Layer, index: usize, pos: usize) {
        let (kernels, workers, c) = (self.kernels, self.workers, &self.model.config);
        let input = self.normed.ready(kernels);
        layer.wq.multiply(&input, &mut self.q, kernels, workers);
        layer.wk.multiply(&input, &mut self.k, kernels, workers);
        layer.wv.multiply(&input, &mut self.v, kernels, workers);
        (kernels.rope)(&mut self.q, &self.cos, &self.sin);
        (kernels.rope)(&mut self.k, &self.cos, &self.sin);
        self.cache.put(index, pos, &self.k, &self.v);

        // Each head's weights: softmax(q·k / √head_dim). Several query heads share one KV head.
        let (q, cache) = (&self.q, &self.cache);
        let root = math::sqrt(c.head_dim() as f32);
        deal(workers, &mut self.scores, c.seq_len, |first, scores| {
            for (head, scores) in (first..).zip(scores.chunks_exact_mut(c.seq_len)) {
                let q = &q[head * c.head_dim()..(head + 1) * c.head_dim()];
                let scores = &mut scores[..=pos];
                (kernels.matvec_f32)(cache.keys(index, head / c.kv_group()), q, scores);
                scores.iter_mut().for_each(|score| *score /= root);
                (kernels.softmax)(scores);
            }
        });

        // Each head's result: the values, weighed.
        let scores = &self.scores;
        deal(
            workers,
            &mut self.attended.values,
            c.head_dim(),
            |first, attended| {
                for (head, attended) in (first..).zip(attended.chunks_exact_mut(c.head_dim())) {
                    attended.fill(0.0);
                    let scores = &scores[head * c.seq_len..][..=pos];
                    for (&score, value) in
                        scores.iter().zip(cache.values(index, head / c.kv_group()))
                    {
                        (kernels.add_scaled)(attended, score, value);
                    }
                }
            },
        );
        layer.wo.multiply(
            &self.attended.ready(kernels),
            &mut self.delta,
            kernels,
            workers,
        );
    }

    /// `delta` = w2 · (silu(w1 · normed) ⊙ (w3 · normed)).
    fn feed_forward(&mut self, layer: &Layer) {
        let (kernels, workers) = (self.kernels, self.workers);
        let input = self.normed.ready(kernels);
        layer
            .w1
            .multiply(&input, &mut self.gate.values, kernels, workers);
        layer.w3.multiply(&input, &mut self.up, kernels, workers);
        (kernels.swiglu)(&mut self.gate.values, &self.up);
        layer
            .w2
            .multiply(&self.gate.ready(kernels), &mut self.delta, kernels, workers);
    }
}
