//! The engine from outside: one program, because each would be linked with all of it.

mod bad_checkpoints;
mod bad_gguf;
mod dialog;
mod digests;
mod families;
mod gguf;
mod llama_cpp;
mod llama_cpp_tokens;
mod logits;
mod real_weights;
mod sampler;
mod sequences;
mod soundness;
mod speculation;
mod text_allocations;
mod texts;
mod tokenizer;
mod untrusted;
mod vocabularies;

use llama2_testing::gauge::Gauge;

#[global_allocator]
static ALLOCATOR: Gauge = Gauge;
