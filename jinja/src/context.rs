//! State of a rendering that all operations share: its budget, the date, and what changes.

use alloc::{sync::Arc, vec::Vec};

use crate::{date::DateTime, limits::Budget, text::Text, value::Value};

/// The state of a rendering beside the machine's own.
#[derive(Debug)]
pub(crate) struct Context {
    pub budget: Budget,
    pub now: DateTime,
    /// Attributes of namespaces. Values refer to them by number, so that a namespace in itself is
    /// no circle of references.
    pub namespaces: Vec<Vec<(Arc<Text>, Value)>>,
    /// Filters that call filters.
    pub filter_depth: usize,
}

impl Context {
    pub fn new(now: DateTime) -> Context {
        Context {
            budget: Budget::new(),
            now,
            namespaces: Vec::new(),
            filter_depth: 0,
        }
    }
}
