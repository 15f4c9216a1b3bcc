//! Texts and tokens: `/tokenize`, `/detokenize`, `/apply-template`, counts, and `/infill`'s prompt.

use alloc::vec::Vec;

use serde_json::{Value, json};

use super::{chat, completion::text_bytes};
use crate::{
    error::ApiError,
    field,
    generation::{self, piece},
    params::Params,
    state::ServerState,
};

/// Most tokens whose pieces are told: each is an object of its own.
const MOST_PIECES: usize = 32 << 10;

/// `/tokenize`.
pub(crate) fn tokenize(state: &ServerState<'_>, body: &Value) -> Result<Value, ApiError> {
    let special = field::truth(body, "add_special")?.unwrap_or(false);
    let parses = field::truth(body, "parse_special")?.unwrap_or(true);
    state.check_text(field::get(body, "content").map_or(0, text_bytes))?;
    let encode = |text: &str, special: bool| match parses {
        true => state
            .tokenizer
            .encode_parsed(text.as_bytes(), special, false),
        false => state.tokenizer.encode(text.as_bytes(), special, false),
    };
    let tokens = match field::get(body, "content") {
        None => Vec::new(),
        Some(Value::String(text)) => encode(text, special),
        Some(Value::Array(items)) => {
            let mut tokens = Vec::new();
            for item in items {
                match item {
                    Value::String(text) => {
                        tokens.extend(encode(text, special && tokens.is_empty()))
                    }
                    other => tokens.push(field::token(other, state.tokenizer.vocab_size())?),
                }
            }
            tokens
        }
        Some(_) => return Err(ApiError::invalid("\"content\" must be a text or an array")),
    };
    if field::truth(body, "with_pieces")? != Some(true) {
        return Ok(json!({ "tokens": tokens }));
    }
    if tokens.len() > MOST_PIECES {
        let sentence = alloc::format!(
            "\"with_pieces\" is for at most {MOST_PIECES} tokens, not {}",
            tokens.len()
        );
        return Err(ApiError::invalid(sentence));
    }
    let with_piece = |&token: &u32| {
        let bytes = piece(state.tokenizer, token);
        // A piece of a character has bytes instead of text.
        match core::str::from_utf8(bytes) {
            Ok(text) => json!({ "id": token, "piece": text }),
            Err(_) => json!({ "id": token, "piece": bytes }),
        }
    };
    Ok(json!({ "tokens": tokens.iter().map(with_piece).collect::<Vec<_>>() }))
}

/// `/detokenize`.
pub(crate) fn detokenize(state: &ServerState<'_>, body: &Value) -> Result<Value, ApiError> {
    let vocab_size = state.tokenizer.vocab_size();
    let tokens = field::array(body, "tokens")?
        .map(Vec::as_slice)
        .unwrap_or_default();
    let tokens = tokens.iter().map(|token| field::token(token, vocab_size));
    let tokens = tokens.collect::<Result<Vec<u32>, _>>()?;
    Ok(json!({ "content": generation::detokenize(state.tokenizer, &tokens) }))
}

/// `/apply-template`.
pub(crate) fn apply_template(state: &ServerState<'_>, body: &Value) -> Result<Value, ApiError> {
    let rendered = chat::looked_at(state, body)?;
    Ok(json!({ "prompt": rendered.text }))
}

/// `/v1/chat/completions/input_tokens`.
pub(crate) fn count_chat(state: &ServerState<'_>, body: &Value) -> Result<Value, ApiError> {
    let rendered = chat::looked_at(state, body)?;
    Ok(json!({
        "object": "response.input_tokens",
        "input_tokens": rendered.tokens.len(),
    }))
}

/// Prompt of a text between two others, in the order of Qwen2.5-Coder's report (Hui et al. 2024):
/// other files, then what is before, what is behind, and the middle's beginning.
///
/// # Errors
/// The fields' fault, or that the model has no tokens for it.
pub(crate) fn infill(
    state: &ServerState<'_>,
    body: &Value,
    params: &Params,
) -> Result<Vec<u32>, ApiError> {
    let tokenizer = state.tokenizer;
    let [prefix, suffix, middle, _, repository, separator] = tokenizer.infill();
    let (Some(prefix), Some(suffix), Some(middle)) = (prefix, suffix, middle) else {
        let sentence = "Infill is not supported by this model: \
            its vocabulary has no tokens for what is before, behind and between";
        return Err(ApiError::unsupported(sentence));
    };
    // What is too long for the context is cut, but only once it is encoded.
    let texts = ["prompt", "input_prefix", "input_suffix", "input_extra"];
    state.check_text(texts.map(|name| text_bytes(&body[name])).iter().sum())?;
    let prompt = field::text(body, "prompt")?.unwrap_or_default();
    let plain = |text: &str| tokenizer.encode(text.as_bytes(), false, false);
    let mut around = Vec::new();
    for name in ["input_prefix", "input_suffix"] {
        match field::text(body, name)? {
            Some(text) => around.push(plain(text)),
            None => {
                let sentence = alloc::format!("\"{name}\" is required");
                return Err(ApiError::invalid(sentence));
            }
        }
    }
    let [before, behind] = [&around[0], &around[1]];
    let mut extra: Vec<u32> = Vec::new();
    if let Some(repository) = repository {
        extra.push(repository);
        extra.extend(plain("myproject\n"));
    }
    for chunk in field::array(body, "input_extra")?.into_iter().flatten() {
        let Some(Value::String(text)) = chunk.get("text") else {
            let sentence = "each of \"input_extra\" must have a \"text\" that is a string";
            return Err(ApiError::invalid(sentence));
        };
        let name = field::text(chunk, "filename")?.unwrap_or("tmp");
        match separator {
            Some(separator) => {
                extra.push(separator);
                extra.extend(plain(&[name, "\n"].concat()));
            }
            None => extra.extend(plain("\n\n--- snippet ---\n\n")),
        }
        extra.extend(plain(text));
    }
    if let Some(separator) = separator {
        extra.push(separator);
        extra.extend(plain("filename\n"));
    }
    let prompt = tokenizer.encode_parsed(prompt.as_bytes(), false, false);
    // As llama-server divides a batch: three quarters for what is before, the rest for what is
    // behind, and other files where the context has room for them.
    let batch = state.config.infill_batch;
    let most = params.most.unwrap_or(0);
    let take_before = before.len().min(3 * (batch / 4));
    let take_behind = behind
        .len()
        .min((batch / 4).saturating_sub(2 + prompt.len()));
    let taken = most.saturating_mul(2).saturating_add(batch);
    let room = state.scheduler.seq_len().saturating_sub(taken);
    let take_extra = extra.len().min(room);
    let mut tokens = extra[extra.len() - take_extra..].to_vec();
    tokens.extend(tokenizer.bos());
    tokens.push(prefix);
    tokens.extend(&before[before.len() - take_before..]);
    tokens.extend(&prompt);
    tokens.push(suffix);
    tokens.extend(&behind[..take_behind]);
    tokens.push(middle);
    Ok(tokens)
}
