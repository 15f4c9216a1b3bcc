//! Attention of a pass's tokens over the positions of their sequences, up to their own.
//!
//! Queries that read the same keys and values go through them together ([`Group`]), and each worker
//! has some of the groups. KV heads of a single token that do not go round are divided among all
//! workers by positions and columns, so that no sum changes its order.

use core::ops::Range;

use super::{CHUNK, Pass, Run};
use crate::{
    config::Config,
    kernels::AttentionWeights,
    layout::{Activations, BLOCK, PANEL, Rounding, stride},
    parallel::Worker,
};

/// Queries that go through a KV head's keys and values together: of several tokens, of the heads
/// that share it, or of both.
pub(crate) const TOGETHER: usize = 12;

/// Attention's weights that tokens may have together: what stays in the second cache beside keys
/// and values.
const SCORES: usize = 64 << 10;

/// Positions from which on two more barriers are sooner passed than a KV head waited for. (Miri
/// does not get that far.)
const FAR: usize = if cfg!(miri) { 1 } else { 512 };

/// Positions whose scores a worker makes at a time, if a KV head is divided.
const PART: usize = 128;

/// One token's query heads that go through their KV head's keys and values together.
fn heads_together(c: &Config) -> usize {
    let most = (CHUNK / c.head_dim()).clamp(1, TOGETHER);
    // In parts of about the same size.
    c.kv_group().div_ceil(c.kv_group().div_ceil(most))
}

/// Room for attention's weights: of each worker's queries, or of all heads of a token.
pub(crate) fn scores_len(c: &Config, workers: usize) -> usize {
    let each = c.seq_len.next_multiple_of(PANEL);
    let own = (TOGETHER * each).min(SCORES).max(heads_together(c) * each);
    let divided = (2..=workers).any(|workers| are_divided(c, workers, c.seq_len.max(FAR)));
    (workers * own).max(if divided { c.n_heads * each } else { 0 })
}

/// Tells whether a token's KV heads are divided among so many workers: some would wait for more
/// than an eighth of the time, and the way through the positions is far.
fn are_divided(c: &Config, workers: usize, positions: usize) -> bool {
    let waiting = c.n_kv_heads.next_multiple_of(workers) - c.n_kv_heads;
    8 * waiting > c.n_kv_heads && heads_together(c) == c.kv_group() && positions >= FAR
}

/// How the queries of a run are put together.
struct Grouping {
    /// Heads.
    heads: usize,
    /// Tokens.
    together: usize,
    /// Groups of heads for each KV head, and of tokens.
    head_groups: usize,
    groups: usize,
}

/// Queries that go through a KV head's keys and values together.
struct Group {
    kv_head: usize,
    /// Their heads, and their tokens' rows.
    heads: Range<usize>,
    rows: Range<usize>,
    /// Position of the first token.
    pos: usize,
    /// From the first position that the first token sees, the first of a panel, to behind the last
    /// token's own.
    positions: Range<usize>,
}

impl Group {
    /// Number of queries: all heads of a token, and then of the next one.
    fn count(&self) -> usize {
        self.heads.len() * self.rows.len()
    }

    /// Scores of each query: whole panels.
    fn panels(&self) -> usize {
        self.positions.len().next_multiple_of(PANEL)
    }

    /// Index of the first number of query `i`.
    fn place(&self, c: &Config, i: usize) -> usize {
        let (row, head) = (i / self.heads.len(), i % self.heads.len());
        (self.rows.start + row) * stride(c.q_dim(), 4) + (self.heads.start + head) * c.head_dim()
    }
}

impl Pass<'_> {
    /// How the queries of a run are put together.
    fn grouping(&self, run: &Run) -> Grouping {
        let c = self.config;
        // Queries that go through a KV head's keys and values together: of one token, those of the
        // heads that share it; of several tokens, as many as there is room for weights of, and of
        // few tokens those of several heads.
        let (heads, together) = if run.len == 1 {
            (heads_together(c), 1)
        } else {
            let reach = (run.pos + run.len).next_multiple_of(PANEL);
            let most = (SCORES / reach)
                .min(CHUNK / 2 / c.head_dim())
                .clamp(1, TOGETHER);
            let tokens = most.min(run.len);
            let group = c.kv_group();
            (group.div_ceil(group.div_ceil(most / tokens)), tokens)
        };
        Grouping {
            heads,
            together,
            head_groups: c.kv_group().div_ceil(heads),
            groups: run.len.div_ceil(together),
        }
    }

    /// Number of groups of a run.
    fn groups(&self, run: &Run) -> usize {
        let grouping = self.grouping(run);
        self.config.n_kv_heads * grouping.head_groups * grouping.groups
    }

    /// Group `index` of a run.
    fn group(&self, run: &Run, index: usize) -> Group {
        let c = self.config;
        let grouping = self.grouping(run);
        let (part, token) = (
            index / grouping.groups,
            index % grouping.groups * grouping.together,
        );
        let kv_head = part / grouping.head_groups;
        let offset = part % grouping.head_groups * grouping.heads;
        let head = kv_head * c.kv_group() + offset;
        let heads = grouping.heads.min(c.kv_group() - offset);
        let tokens = grouping.together.min(run.len - token);
        let pos = run.pos + token;
        let window = c.variant.window.unwrap_or(usize::MAX);
        Group {
            kv_head,
            heads: head..head + heads,
            rows: run.first + token..run.first + token + tokens,
            pos,
            positions: (pos + 1).saturating_sub(window) / PANEL * PANEL..pos + tokens,
        }
    }

    /// attended = attention of q over all positions of its sequence up to each token's own, as far
    /// as the window reaches.
    pub(super) fn attend(&self, member: &Worker<'_>, index: usize) {
        if let [run @ Run { len: 1, .. }] = self.runs {
            let positions = self.group(run, 0).positions.len();
            if are_divided(self.config, member.parts, positions) {
                return self.attend_divided(member, index, run);
            }
        }
        let count = self.runs.iter().map(|run| self.groups(run)).sum();
        member.parallel_for(count, 1, |range| {
            let size = self.scores.len() / member.parts / PANEL * PANEL;
            // Safety: the only ones in this step.
            let ((results, room), scores) = unsafe {
                let range = member.index * size..(member.index + 1) * size;
                (self.own(member), self.scores.write(range))
            };
            for item in range {
                let mut item = item;
                // The run that it is of.
                for run in self.runs {
                    let count = self.groups(run);
                    if item < count {
                        let group = self.group(run, item);
                        let panels = group.panels();
                        let scores = &mut scores[..group.count() * panels];
                        let begin = group.positions.start;
                        self.score(member, index, run, &group, begin, scores, (results, room));
                        for (i, scores) in scores.chunks_exact_mut(panels).enumerate() {
                            self.soften(&group, i, scores);
                        }
                        let columns = 0..self.config.head_dim();
                        self.weigh(index, run, &group, columns, scores, results);
                        break;
                    }
                    item -= count;
                }
            }
        });
    }

    /// [`attend`](Self::attend) with a step for scores, by positions; one for weights, by queries;
    /// and one for sums, by columns.
    fn attend_divided(&self, member: &Worker<'_>, index: usize, run: &Run) {
        let c = self.config;
        let first = self.group(run, 0);
        let (count, panels) = (first.count(), first.panels());
        let pieces = panels.div_ceil(PART);
        // Scores.
        member.parallel_for(c.n_kv_heads * pieces, 1, |items| {
            // Safety: the only one in this step.
            let (results, room) = unsafe { self.own(member) };
            let (scores, queries) = results.split_at_mut(TOGETHER * PART);
            for item in items {
                let group = self.group(run, item / pieces);
                let from = item % pieces * PART;
                let len = PART.min(panels - from);
                let scores = &mut scores[..count * len];
                let begin = group.positions.start + from;
                self.score(member, index, run, &group, begin, scores, (queries, room));
                for (i, scores) in scores.chunks_exact(len).enumerate() {
                    let place = (group.kv_head * count + i) * panels + from;
                    // Safety: the piece was dealt to this worker.
                    let out = unsafe { self.scores.write(place..place + len) };
                    out.copy_from_slice(scores);
                }
            }
        });
        member.parallel_for(c.n_kv_heads * count, 1, |queries| {
            for query in queries {
                // Safety: the query was dealt to this worker.
                let scores = unsafe { self.scores.write(query * panels..(query + 1) * panels) };
                self.soften(&first, query % count, scores);
            }
        });
        // Columns are halved until their pieces go round, or would no longer be whole blocks.
        let mut pieces = 1;
        while !(c.n_kv_heads * pieces).is_multiple_of(member.parts)
            && c.head_dim().is_multiple_of(2 * pieces * BLOCK)
        {
            pieces *= 2;
        }
        let width = c.head_dim() / pieces;
        let all = c.n_kv_heads * pieces;
        member.parallel_for(all, all.div_ceil(member.parts), |mut items| {
            // Safety: the only one in this step.
            let (results, _) = unsafe { self.own(member) };
            while !items.is_empty() {
                // Those of a KV head together.
                let (kv_head, piece) = (items.start / pieces, items.start % pieces);
                let end = items.end.min((kv_head + 1) * pieces);
                let columns = piece * width..(piece + end - items.start) * width;
                items.start = end;
                let group = self.group(run, kv_head);
                let from = kv_head * count * panels;
                // Safety: nobody writes to them now.
                let weights = unsafe { self.scores.read(from..from + count * panels) };
                self.weigh(index, run, &group, columns, weights, results);
            }
        });
    }

    /// scores = q · k for a group's queries from position `begin` on, the first of a panel: as many
    /// for each query as there is place for, whole panels. The room is for queries, and for a piece
    /// of scores.
    #[allow(clippy::too_many_arguments)]
    fn score(
        &self,
        member: &Worker<'_>,
        index: usize,
        run: &Run,
        group: &Group,
        begin: usize,
        scores: &mut [f32],
        (queries, room): (&mut [f32], &mut [f32]),
    ) {
        let (c, head_dim, count) = (self.config, self.config.head_dim(), group.count());
        let place = |i: usize| group.place(c, i);
        let several = group.heads.len() > 1 && group.rows.len() > 1;
        // Safety: nobody writes to q or the cache now; the int8 rows are this worker's.
        unsafe {
            let row = member.index * TOGETHER;
            for i in 0..count {
                let q = self.q.read(place(i)..place(i) + head_dim);
                self.q_quants
                    .fill(self.kernels, Some(Rounding::Q8_0), row + i, q);
                // Those of several heads of several tokens do not lie at equal distances.
                if several {
                    queries[i * head_dim..(i + 1) * head_dim].copy_from_slice(q);
                }
            }
            let q = if several {
                &queries[..count * head_dim]
            } else {
                self.q.read(place(0)..place(count - 1) + head_dim)
            };
            let q = Activations {
                stride: if group.heads.len() > 1 {
                    head_dim
                } else {
                    stride(c.q_dim(), 4)
                },
                ..self.q_quants.beside(row, count, head_dim, q)
            };
            let cache = self.cache.sequence(run.sequence);
            cache.scores(self.kernels, index, group.kv_head, begin, &q, scores, room);
        }
    }

    /// Weights of query `i` of a group from its scores: softmax(q·k / √head_dim); nothing of what
    /// comes after the token itself, or before its window.
    fn soften(&self, group: &Group, i: usize, scores: &mut [f32]) {
        let c = self.config;
        let window = c.variant.window.unwrap_or(usize::MAX);
        // Scores are divided by it.
        let divisor = match c.variant.scales.attention {
            Some(scale) => 1.0 / scale,
            None => crate::math::sqrt(c.head_dim() as f32),
        };
        let begin = group.positions.start;
        let end = group.pos + i / group.heads.len() + 1;
        let (seen, after) = scores.split_at_mut(end - begin);
        let (before, seen) = seen.split_at_mut(end.saturating_sub(window).max(begin) - begin);
        (self.kernels.softmax)(seen, divisor);
        before.fill(0.0);
        after.fill(0.0);
    }

    /// attended = the values, so weighed, in some columns of a group's heads.
    fn weigh(
        &self,
        index: usize,
        run: &Run,
        group: &Group,
        columns: Range<usize>,
        weights: &[f32],
        results: &mut [f32],
    ) {
        let width = columns.len();
        let weights = AttentionWeights {
            values: weights,
            stride: group.panels(),
            tokens: group.count(),
            rows: group.positions.len(),
            row_stride: self.config.head_dim(),
            width,
        };
        let results = &mut results[..group.count() * width];
        let cache = self.cache.sequence(run.sequence);
        // Safety: nobody writes to the cache now.
        unsafe {
            cache.weigh(
                self.kernels,
                index,
                group.kv_head,
                group.positions.start,
                columns.start,
                &weights,
                results,
            );
        }
        for (i, result) in results.chunks_exact(width).enumerate() {
            let place = group.place(self.config, i) + columns.start;
            // Safety: the queries' columns were dealt to this worker.
            let attended = unsafe { self.attended.write(place..place + width) };
            attended.copy_from_slice(result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Variant;

    #[test]
    fn heads_are_divided_where_workers_would_wait() {
        let with = |n_heads: usize, n_kv_heads: usize| Config {
            dim: 64 * n_heads,
            hidden_dim: 64,
            n_layers: 1,
            n_heads,
            n_kv_heads,
            vocab_size: 64,
            seq_len: 2048,
            shared_classifier: true,
            variant: Variant::LLAMA2C,
        };
        for (heads, kv_heads, workers, positions, want) in [
            (9, 3, 2, FAR, true),
            (9, 3, 2, FAR - 1, false),
            (9, 3, 3, 2048, false),
            (9, 3, 1, 2048, false),
            (14, 2, 8, 2048, true),
            (32, 8, 4, 2048, false),
            // A thirty-second of the time is not worth two barriers.
            (32, 32, 3, 2048, false),
            // In two groups, of 7 each.
            (14, 1, 2, 2048, false),
        ] {
            let c = with(heads, kv_heads);
            let found = are_divided(&c, workers, positions);
            assert_eq!(found, want, "{heads}, {kv_heads}, {workers}, {positions}");
            let room = scores_len(&c, workers);
            assert!(room >= workers * heads_together(&c) * 2048);
            assert!(!found || room >= heads * 2048);
        }
    }
}
