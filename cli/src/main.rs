//! The `llama2` command. (stub)
fn main() {}
