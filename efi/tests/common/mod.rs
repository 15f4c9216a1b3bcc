//! What the tests share with the fuzzers; the first two are the engine's.

#[path = "../../../engine/tests/common/gauge.rs"]
#[allow(dead_code)]
pub mod gauge;
#[path = "../../../engine/tests/common/kept.rs"]
pub mod kept;
pub mod shells;
