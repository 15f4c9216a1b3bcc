//! `cargo xtask`. (stub)
fn main() {}
