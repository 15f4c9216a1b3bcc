//! Context length of a session, and the memory that it takes.

use core::fmt;

use crate::{
    checkpoint::{Checkpoint, Error},
    config::Config,
    kv_cache::{self, KvType},
    model, session,
    units::{Bytes, Grouped},
};

/// Shortest context that a model is given for want of memory, unless its own is shorter; reduced
/// contexts are multiples of it.
const SHORT_CONTEXT: usize = 256;

/// Bytes of memory that a model and a session of it need, by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Packed weights.
    pub weights: u64,
    /// Keys and values of the whole context.
    pub kv_cache: u64,
    /// Everything else that a session and the loading need: activations, logits, the sampler's
    /// candidates, the read buffer.
    pub activations: u64,
}

impl Memory {
    /// Memory for the weights of `checkpoint` and a session of its full context, run by the calling
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

    /// Total in bytes.
    pub fn total(&self) -> u64 {
        self.weights
            .saturating_add(self.kv_cache)
            .saturating_add(self.activations)
    }

    /// Checks that the total fits into `free` bytes.
    ///
    /// # Errors
    /// [`Error::Memory`] with both numbers if it does not.
    pub fn check(&self, free: u64) -> Result<(), Error> {
        let needed = self.total();
        if needed > free {
            Err(Error::Memory { needed, free })
        } else {
            Ok(())
        }
    }
}

/// Context of a session. A value is proof that it fits into the memory that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    positions: usize,
    own: usize,
    wanted: bool,
    kv: KvType,
    memory: Memory,
}

impl Context {
    /// Chooses a context for a model: `wanted` positions, or as many of the model's own as fit into
    /// `free` bytes.
    ///
    /// # Errors
    /// [`Error::Context`] if `wanted` is 0 or more than the model has, [`Error::Memory`] if the
    /// wanted context, or even a short one, does not fit.
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

    /// Length in positions.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// Type of keys and values.
    pub fn kv(&self) -> KvType {
        self.kv
    }

    /// Memory that the model and its session take.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Returns true if it is shorter than the model's own because memory is limited.
    pub fn is_short(&self) -> bool {
        self.positions < self.own && !self.wanted
    }
}

/// Largest number of positions, up to `own`, that `fits` allows: all, or a multiple of
/// [`SHORT_CONTEXT`].
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

/// Describes the length, the reason for it, and the memory it takes.
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
