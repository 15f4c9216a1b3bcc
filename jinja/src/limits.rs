//! Bounds of time, memory and depth. A template comes from a file that anybody may have made, so
//! each of them ends in a sentence, long before the machine is short of anything.

use alloc::format;

use crate::error::Error;

/// Most bytes of a template.
pub const SOURCE: usize = 1 << 20;

/// Most levels of statements and expressions inside each other. The parser is the one part that
/// uses the processor's stack for them: see `tests/limits.rs` for how much.
pub const SYNTAX_DEPTH: usize = 40;

/// Most calls of macros inside each other. They do not use the processor's stack.
pub const CALL_DEPTH: usize = 100;

/// Most levels of lists and maps inside each other. To print, compare and drop them takes as many
/// calls.
pub const VALUE_DEPTH: usize = 32;

/// Most units of work for a rendering: one for an instruction or for an item of a list, and one for
/// every 16 bytes that are looked at.
pub const WORK: usize = 10_000_000;

/// Most bytes of strings and lists that a rendering makes, all together, whether or not they are
/// still in use. Each one costs 64 beside its content.
pub const BYTES: usize = 64 << 20;

/// Most bytes of the text that is rendered.
pub const OUTPUT: usize = 16 << 20;

/// Most numbers of a `range`: that of Jinja2's sandbox.
pub const RANGE: i64 = 100_000;

/// Bytes that every string, list or map takes besides its content.
pub(crate) const OVERHEAD: usize = 64;

/// Bytes that a value takes in a list.
pub(crate) const VALUE: usize = 24;

/// Rest of the limits during a rendering.
#[derive(Debug)]
pub(crate) struct Budget {
    work: usize,
    bytes: usize,
}

impl Budget {
    pub fn new() -> Budget {
        Budget {
            work: WORK,
            bytes: BYTES,
        }
    }

    /// Takes units of work.
    pub fn work(&mut self, units: usize) -> Result<(), Error> {
        match self.work.checked_sub(units) {
            Some(rest) => self.work = rest,
            None => {
                let message = format!("the template takes more than {WORK} steps");
                return Err(Error::limit(message));
            }
        }
        Ok(())
    }

    /// Takes the work of looking at so many bytes.
    pub fn scan(&mut self, bytes: usize) -> Result<(), Error> {
        self.work(1 + bytes / 16)
    }

    /// Takes bytes that are about to be allocated.
    pub fn bytes(&mut self, bytes: usize) -> Result<(), Error> {
        match self.bytes.checked_sub(bytes) {
            Some(rest) => self.bytes = rest,
            None => {
                let most = BYTES >> 20;
                let message = format!("the template makes more than {most} MiB of text and lists");
                return Err(Error::limit(message));
            }
        }
        Ok(())
    }

    /// Takes the bytes of a list or map of so many values.
    pub fn values(&mut self, count: usize) -> Result<(), Error> {
        self.bytes(OVERHEAD.saturating_add(count.saturating_mul(VALUE)))
    }
}
