//! Health, models, properties, metrics.

use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde_json::{Value, json};

use crate::{
    FINGERPRINT,
    error::{ApiError, Kind},
    generation::piece,
    http::Response,
    params::Params,
    state::ServerState,
};

/// `/health`.
pub(crate) fn health() -> Value {
    json!({ "status": "ok" })
}

/// The model in OpenAI's list, with llama-server's additions.
fn model_object(state: &ServerState<'_>) -> Value {
    let names: BTreeSet<&String> = state.config.names.iter().collect();
    let tags: BTreeSet<&String> = state.config.tags.iter().collect();
    json!({
        "id": state.name(),
        "aliases": names,
        "tags": tags,
        "object": "model",
        "created": state.begun_at,
        "owned_by": "llama2",
        "meta": {
            "n_vocab": state.tokenizer.vocab_size(),
            "n_ctx": state.scheduler.seq_len(),
            "size": state.config.model_bytes,
        },
    })
}

/// `/v1/models`.
pub(crate) fn models(state: &ServerState<'_>) -> Value {
    let name = state.name();
    json!({
        "models": [{
            "name": name,
            "model": name,
            "size": state.config.model_bytes.to_string(),
            "type": "model",
            "tags": state.config.tags,
            "capabilities": ["completion"],
            "details": { "format": "gguf" },
        }],
        "object": "list",
        "data": [model_object(state)],
    })
}

/// `/v1/models/NAME`.
pub(crate) fn model(state: &ServerState<'_>, name: &str) -> Result<Value, ApiError> {
    match state.config.names.iter().any(|own| own == name) {
        true => Ok(model_object(state)),
        false => {
            let sentence = format!("there is no model {name} here, only {}", state.name());
            Err(ApiError::new(Kind::NotFound, sentence))
        }
    }
}

/// `/props`.
pub(crate) fn props(state: &ServerState<'_>) -> Value {
    let tokenizer = state.tokenizer;
    let name = |token: u32| String::from_utf8_lossy(piece(tokenizer, token)).into_owned();
    json!({
        "default_generation_settings": {
            "params": Params::defaults(&state.config).settings(),
            "n_ctx": state.scheduler.seq_len(),
        },
        "total_slots": state.scheduler.slots().len(),
        "model_alias": state.name(),
        "model_ftype": state.config.model_kind,
        "model_path": state.config.model_path,
        "modalities": { "vision": false, "video": false, "audio": false },
        "endpoint_slots": state.config.shows_slots,
        "endpoint_props": false,
        "endpoint_metrics": state.config.shows_metrics,
        "ui": state.config.has_page,
        "chat_template": state.template_source,
        "bos_token": tokenizer.begin().map(name).unwrap_or_default(),
        "eos_token": name(tokenizer.end()),
        "build_info": FINGERPRINT,
        "is_sleeping": state.is_asleep,
    })
}

/// `/metrics`, in Prometheus' text format.
///
/// # Errors
/// If the server was started without.
pub(crate) fn metrics(state: &mut ServerState<'_>) -> Result<Response, ApiError> {
    if !state.config.shows_metrics {
        let sentence = "This server does not support metrics endpoint. Start it with `--metrics`";
        return Err(ApiError::unsupported(sentence));
    }
    let counts = state.scheduler.counts;
    // Rates are of what has been done since the last look.
    let now = [
        (counts.prompt, counts.prompt_seconds),
        (counts.drawn, counts.drawn_seconds),
    ];
    let before = core::mem::replace(&mut state.last_seen, now);
    let rate = |kind: usize| {
        let (tokens, seconds) = now[kind];
        let (tokens, seconds) = (tokens - before[kind].0, seconds - before[kind].1);
        if seconds > 0.0 {
            tokens as f64 / seconds
        } else {
            0.0
        }
    };
    let per_pass = counts.served as f64 / counts.passes.max(1) as f64;
    let counters = [
        (
            "prompt_tokens_total",
            "Tokens of prompts that were read.",
            counts.prompt as f64,
        ),
        (
            "prompt_tokens_cached_total",
            "Tokens of prompts that the cache held.",
            counts.reused as f64,
        ),
        (
            "prompt_seconds_total",
            "Seconds in which prompts were read.",
            counts.prompt_seconds,
        ),
        (
            "tokens_predicted_total",
            "Tokens that were drawn.",
            counts.drawn as f64,
        ),
        (
            "tokens_predicted_seconds_total",
            "Seconds in which they were.",
            counts.drawn_seconds,
        ),
        (
            "n_decode_total",
            "Passes over the weights.",
            counts.passes as f64,
        ),
        (
            "n_tokens_max",
            "Longest context so far.",
            counts.longest as f64,
        ),
        (
            "spec_decode_num_draft_tokens_total",
            "Always 0: nothing is drafted.",
            0.0,
        ),
        (
            "spec_decode_num_accepted_tokens_total",
            "Always 0: nothing is drafted.",
            0.0,
        ),
        (
            "spec_decode_num_drafts_total",
            "Always 0: nothing is drafted.",
            0.0,
        ),
    ];
    let gauges = [
        (
            "prompt_tokens_seconds",
            "Tokens of prompts read per second since the last look.",
            rate(0),
        ),
        (
            "predicted_tokens_seconds",
            "Tokens drawn per second since the last look.",
            rate(1),
        ),
        (
            "requests_processing",
            "Requests in a slot.",
            state.scheduler.running() as f64,
        ),
        (
            "requests_deferred",
            "Requests that wait for a slot.",
            state.scheduler.waiting() as f64,
        ),
        (
            "n_busy_slots_per_decode",
            "Slots that a pass served, on average.",
            per_pass,
        ),
    ];
    let mut text = String::new();
    let kinds = counters.iter().map(|row| ("counter", row));
    for (kind, (name, help, value)) in kinds.chain(gauges.iter().map(|row| ("gauge", row))) {
        text += &format!(
            "# HELP llamacpp:{name} {help}\n# TYPE llamacpp:{name} {kind}\nllamacpp:{name} {value}\n"
        );
    }
    let response = Response::new(200, "text/plain; version=0.0.4", Vec::from(text));
    Ok(response.with("Process-Start-Time-Unix", state.begun_at.to_string()))
}
