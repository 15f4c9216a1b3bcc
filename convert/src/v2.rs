//! Writer of llama2.c's int8 format (v2), which runq.c reads.

use super::{Error, Sink, rows::Converter};
use llama2_engine::{
    checkpoint::{Checkpoint, Format, Tensor},
    config::Variant,
    source::ByteSource,
    workers::Workers,
};

/// Writes `checkpoint` in llama2.c's int8 format (v2), which runq.c reads. Groups have the size of
/// those of its `export.py`, or a smaller one if 64 does not divide the width of the feed-forward
/// layer.
///
/// # Errors
/// [`Error`].
pub fn v2<W>(
    checkpoint: &Checkpoint,
    source: &mut dyn ByteSource,
    workers: &dyn Workers,
    sink: Sink<'_, W>,
) -> Result<(), Error<W>> {
    let c = &checkpoint.config;
    let (own, plain) = (&c.variant, Variant::LLAMA2C);
    let extra = checkpoint.tensors.iter().any(|t| t.role.is_extra());
    for (lacks, what) in [
        (
            own.rope.theta != plain.rope.theta,
            "a RoPE base other than 10000",
        ),
        (
            own.norm_epsilon != plain.norm_epsilon,
            "an RMSNorm epsilon other than 1e-5",
        ),
        (own.rope.layout != plain.rope.layout, "RoPE in halves"),
        (
            own.rope.scaling != plain.rope.scaling || extra,
            "scaled RoPE, biases or norms of queries and keys",
        ),
        (own.scales != plain.scales, "scaled sums"),
        (
            own.head_dim.is_some_and(|width| width * c.n_heads != c.dim),
            "heads of a width of their own",
        ),
        (own.window.is_some(), "a sliding window"),
    ] {
        if lacks {
            return Err(Error::Lacks { what });
        }
    }
    let divides =
        |group: &usize| c.dim.is_multiple_of(*group) && c.hidden_dim.is_multiple_of(*group);
    let group_size = [64, 32, 16, 8, 4, 2].into_iter().find(divides).unwrap_or(1);
    let mut header = b"24ka".to_vec();
    let numbers = [
        2,
        c.dim,
        c.hidden_dim,
        c.n_layers,
        c.n_heads,
        c.n_kv_heads,
        c.vocab_size,
        c.seq_len,
    ];
    header.extend(numbers.iter().flat_map(|&n| (n as u32).to_le_bytes()));
    header.push(c.shared_classifier.into());
    header.extend((group_size as u32).to_le_bytes());
    header.resize(256, 0);
    sink(&header).map_err(Error::Write)?;
    let format = Format::V2 { group_size };
    let mut converter = Converter::new(source, workers);
    for wanted in checkpoint.laid_out_as(format) {
        let same = |t: &&Tensor| (t.role, t.layer) == (wanted.role, wanted.layer);
        if let Some(found) = checkpoint.tensors.iter().find(same) {
            converter.write(found, wanted.encoding, sink)?;
        }
    }
    Ok(())
}
