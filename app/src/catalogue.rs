//! Facts about a model before it is loaded: its numbers' type, and whether there is memory
//! for it.

use alloc::{
    format,
    string::{String, ToString},
};

use llama2_engine::{
    checkpoint::{Checkpoint, Error},
    context::Context,
    layout::Encoding,
    session::KvType,
    source::ByteSource,
    units::Bytes,
};

use crate::platform::ModelEntry;

/// What a model is to run with.
#[derive(Debug, Clone, Copy)]
pub struct MemoryBudget {
    /// Positions that are wanted.
    pub context: Option<usize>,
    /// What keys and values are kept in.
    pub kv: KvType,
    /// Workers.
    pub workers: usize,
    /// Bytes of memory that it could have.
    pub free: u64,
}

/// The name of what most of a checkpoint's matrices are made of.
pub fn kind(checkpoint: &Checkpoint) -> String {
    match checkpoint.encodings().first() {
        Some((Encoding::Q8 { .. }, _)) => "int8".to_string(),
        Some((encoding, _)) => encoding.to_string(),
        None => String::new(),
    }
}

/// Looks at a model's header, and gives it along, if it is one.
pub fn look(
    id: String,
    name: String,
    source: &mut dyn ByteSource,
    room: MemoryBudget,
) -> (ModelEntry, Option<Checkpoint>) {
    let mut offer = ModelEntry {
        id,
        name,
        size: source.size(),
        free: room.free,
        ..ModelEntry::default()
    };
    match Checkpoint::open(source) {
        Ok(checkpoint) => {
            describe(&mut offer, &checkpoint, room);
            (offer, Some(checkpoint))
        }
        Err(error) => {
            offer.trouble = Some(error.to_string());
            (offer, None)
        }
    }
}

/// Tells what a model is, what it needs with as much of its context as there is room for, and
/// whether there is as much.
pub fn describe(offer: &mut ModelEntry, checkpoint: &Checkpoint, room: MemoryBudget) {
    offer.kind = kind(checkpoint);
    // A number of positions that it does not have is no reason to refuse it here.
    let own = checkpoint.config.seq_len;
    let context = room.context.map(|wanted| wanted.clamp(1, own));
    let fitted = Context::fit(checkpoint, context, room.kv, room.workers, room.free);
    offer.needs = match &fitted {
        Ok(context) => context.memory().total(),
        Err(Error::Memory { needed, .. }) => *needed,
        Err(_) => 0,
    };
    if fitted.is_err() {
        offer.trouble = Some(format!(
            "needs {}, but {} are free",
            Bytes(offer.needs),
            Bytes(room.free)
        ));
    }
}
