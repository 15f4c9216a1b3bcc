//! Settings of a server.

use alloc::{string::String, vec::Vec};

use llama2_engine::{chat::DateTime, sampler::SamplerParams};

/// Web pages that may read the server's answers besides its own (Cross-Origin Resource Sharing).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Origins {
    /// Any where a key protects the server, none where no key does.
    #[default]
    Keyed,
    /// Those of the machine itself: `localhost`, `127.0.0.1` and `[::1]`.
    Local,
    /// Any.
    Any,
    /// These.
    Listed(Vec<String>),
}

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct Config {
    /// Names of the model; the first is the one that answers state.
    pub names: Vec<String>,
    /// Words about the model, for `/v1/models`.
    pub tags: Vec<String>,
    /// File that the model was read from.
    pub model_path: String,
    /// Type of the model's numbers, as in `llama 110M Q8_0`.
    pub model_kind: String,
    /// Bytes of the model's file.
    pub model_bytes: u64,
    /// Keys of which a client must send one; none lets everybody in.
    pub keys: Vec<String>,
    /// Pages that may read answers.
    pub origins: Origins,
    /// `/slots` shows what is going on.
    pub shows_slots: bool,
    /// `/metrics` counts.
    pub shows_metrics: bool,
    /// `/` is a page to chat with.
    pub has_page: bool,
    /// Slots can be saved to files.
    pub saves_slots: bool,
    /// Answers say how they came about (`__verbose`).
    pub is_verbose: bool,
    /// Most tokens of an answer whose request sets no limit; `None`: as many as the context holds.
    pub most_tokens: Option<usize>,
    /// How tokens are drawn where a request does not say.
    pub sampling: SamplerParams,
    /// Seed where a request has none; `None`: one by chance.
    pub seed: Option<u32>,
    /// Most tokens of a prompt in a pass.
    pub batch: usize,
    /// Tokens around the place that `/infill` fills: llama-server's batch, by which it divides.
    pub infill_batch: usize,
    /// A full context drops its older half and goes on.
    pub shifts_context: bool,
    /// Texts of answers begin where an assistant's last message ends.
    pub prefills: bool,
    /// Models that can think before they answer do; `None` leaves it to the template.
    pub thinks: Option<bool>,
    /// Reasoning is told apart from answers.
    pub splits_reasoning: bool,
    /// Today, as templates are told; `None`: by the machine's clock.
    pub date: Option<DateTime>,
    /// Beginnings of texts whose keys and values are kept when their slot is given to another text,
    /// as far as there is memory.
    pub kept: usize,
    /// Contents of idle slots are moved there when another one gets a task.
    pub clears_idle: bool,
    /// Most bytes of a request's body.
    pub most_body: usize,
    /// Most connections.
    pub most_connections: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            names: Vec::new(),
            tags: Vec::new(),
            model_path: String::new(),
            model_kind: String::new(),
            model_bytes: 0,
            keys: Vec::new(),
            origins: Origins::default(),
            shows_slots: true,
            shows_metrics: false,
            has_page: true,
            saves_slots: false,
            is_verbose: false,
            most_tokens: None,
            sampling: SamplerParams::default(),
            seed: None,
            batch: llama2_engine::session::BATCH,
            infill_batch: 2048,
            shifts_context: false,
            prefills: true,
            thinks: None,
            splits_reasoning: true,
            date: None,
            kept: 0,
            clears_idle: false,
            most_body: 16 << 20,
            most_connections: 256,
        }
    }
}
