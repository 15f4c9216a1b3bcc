//! Contexts: how many positions a session of a model gets, and the memory that they take.

use core::fmt;

use crate::{
    checkpoint::{Checkpoint, Error},
    config::Config,
    kv_cache::{self, KvType},
    model, session,
    units::{Bytes, Grouped},
};

/// Positions below which a model is not run for want of memory, unless it has fewer; contexts that
/// were shortened are multiples.
const SHORT_CONTEXT: usize = 256;

/// Bytes of memory that a model and a session of it need, by what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights.
    pub weights: u64,
    /// Keys and values of the whole context.
    pub kv_cache: u64,
    /// Everything else that a session and its loading hold: activations, logits, the sampler's
    /// list, the read buffer.
    pub activations: u64,
}

impl Memory {
    /// Memory for the weights of `checkpoint` and a session of its own context, run by the calling
    /// core.
    pub fn whole(checkpoint: &Checkpoint, kv: KvType) -> Memory {
        Memory::of(checkpoint, checkpoint.config.seq_len, kv, 1)
    }

    /// Memory for the weights of `checkpoint` and a session of `positions`, run by `workers`
    /// workers.
    pub fn of(checkpoint: &Checkpoint, positions: usize, kv: KvType, workers: usize) -> Memory {
        let config = Config {
            seq_len: positions,
            ..checkpoint.config
        };
        Memory {
            weights: checkpoint.weight_bytes(),
            kv_cache: kv_cache::kv_cache_bytes(&config, kv),
            activations: session::activation_bytes(&config, workers)
                .saturating_add(model::PIECE as u64),
        }
    }

    /// The sum.
    pub fn total(&self) -> u64 {
        self.weights
            .saturating_add(self.kv_cache)
            .saturating_add(self.activations)
    }

    /// Refuses what does not fit into `free` bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers.
    pub fn check(&self, free: u64) -> Result<(), Error> {
        let needed = self.total();
        if needed > free {
            Err(Error::Memory { needed, free })
        } else {
            Ok(())
        }
    }
}

/// The context of a session. Having one proves that there is memory for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    positions: usize,
    own: usize,
    wanted: bool,
    kv: KvType,
    memory: Memory,
}

impl Context {
    /// Finds a context for a model: `wanted` positions, or as many of its own as `free` bytes have
    /// room for.
    ///
    /// # Errors
    /// [`Error::Context`] for a number that the model does not have, [`Error::Memory`] where even a
    /// short context, or the one that is wanted, does not fit.
    pub fn fit(
        checkpoint: &Checkpoint,
        wanted: Option<usize>,
        kv: KvType,
        workers: usize,
        free: u64,
    ) -> Result<Context, Error> {
        let own = checkpoint.config.seq_len;
        let memory = |positions| Memory::of(checkpoint, positions, kv, workers);
        let positions = match wanted {
            Some(wanted) if (1..=own).contains(&wanted) => wanted,
            Some(wanted) => return Err(Error::Context { wanted, own }),
            None => most_positions(own, &|positions| memory(positions).check(free))?,
        };
        let memory = memory(positions);
        memory.check(free)?;
        Ok(Context {
            positions,
            own,
            wanted: wanted.is_some(),
            kv,
            memory,
        })
    }

    /// Its length.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Type that keys and values are kept in.
    pub fn kv(&self) -> KvType {
        self.kv
    }

    /// The memory that the model and its session take.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Tells whether it is less than the model's because there is no memory for more.
    pub fn is_short(&self) -> bool {
        self.positions < self.own && !self.wanted
    }
}

/// Most positions, up to `own`, that `fits` allows: all, or a multiple of [`SHORT_CONTEXT`].
fn most_positions(own: usize, fits: &dyn Fn(usize) -> Result<(), Error>) -> Result<usize, Error> {
    if fits(own).is_ok() {
        return Ok(own);
    }
    let least = own.min(SHORT_CONTEXT);
    fits(least)?;
    // `yes` positions fit, `no` do not.
    let (mut yes, mut no) = (least, own);
    while no - yes > 1 {
        let middle = yes + (no - yes) / 2;
        if fits(middle).is_ok() {
            yes = middle;
        } else {
            no = middle;
        }
    }
    Ok((yes / SHORT_CONTEXT * SHORT_CONTEXT).max(least))
}

/// How long it is, why it is not longer, and what it takes.
impl fmt::Display for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} positions", Grouped(self.positions as u64))?;
        if self.positions == self.own {
            write!(f, ", the model's own")?;
        } else {
            write!(f, " of the model's {}", Grouped(self.own as u64))?;
            let why = if self.wanted {
                ", as asked for"
            } else {
                ": there is no memory for more"
            };
            f.write_str(why)?;
        }
        write!(
            f,
            " (keys and values in {}: {}",
            self.kv.name(),
            Bytes(self.memory.kv_cache)
        )?;
        if self.is_short() && self.kv != KvType::Q8_0 {
            let less = if self.kv == KvType::F32 {
                "f16 or q8_0"
            } else {
                "q8_0"
            };
            write!(f, "; {less} would take less")?;
        }
        f.write_str(")")
    }
}
