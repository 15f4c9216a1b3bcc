//! Processors whose vector units are all taken for granted.

/// Vector units that kernels exist for, beyond what the build takes for granted: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features(());

impl Features {
    /// Nothing but what the build takes for granted.
    pub const BASE: Features = Features(());

    /// Those of the core that this runs on.
    pub fn of_this_core() -> Features {
        Features::BASE
    }

    /// Vector units that both have.
    pub fn intersect(self, _other: Features) -> Features {
        self
    }
}
