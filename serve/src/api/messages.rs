//! Anthropic's interface: `/v1/messages` and `/v1/messages/count_tokens`.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};

use serde_json::{Map, Value, json};

use super::{Call, chat, chat_prompt};
use crate::{
    error::ApiError,
    field::{self, get},
    generation::{Generation, News, Stop},
    job::{About, Format, Frame, Framing, Job},
    params::Params,
    state::ServerState,
};

/// An error in Anthropic's shape.
pub(crate) fn error(error: &ApiError) -> Value {
    json!({ "type": "error", "error": error.object() })
}

/// A request as one to `/v1/chat/completions`.
fn translate(mut body: Value) -> Result<Value, ApiError> {
    let mut messages = Vec::new();
    if let Some(system) = get(&body, "system") {
        let text = chat::content_text(system, "\n")?;
        messages.push(json!({ "role": "system", "content": text }));
    }
    if field::array(&body, "messages")?.is_none() {
        return Err(ApiError::invalid("'messages' is required"));
    }
    if let Value::Array(given) = field::take(&mut body, "messages") {
        for message in given {
            add(message, &mut messages)?;
        }
    }
    let mut chat = Map::new();
    for name in [
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stream",
        "id_slot",
        "cache_prompt",
    ] {
        let value = field::take(&mut body, name);
        if !value.is_null() {
            chat.insert(name.into(), value);
        }
    }
    for (from, to) in [
        ("stop_sequences", "stop"),
        ("chat_template_kwargs", "chat_template_kwargs"),
    ] {
        let value = field::take(&mut body, from);
        if !value.is_null() {
            chat.insert(to.into(), value);
        }
    }
    if let Some(thinking) = get(&body, "thinking") {
        let is_enabled = thinking.get("type").and_then(Value::as_str) != Some("disabled");
        chat.insert(
            "chat_template_kwargs".into(),
            json!({ "enable_thinking": is_enabled }),
        );
    }
    field::array(&body, "tools")?;
    if let Value::Array(tools) = field::take(&mut body, "tools") {
        let tools = tools.into_iter().map(|mut tool| {
            let function = field::object_of([
                ("name", field::take(&mut tool, "name")),
                ("description", field::take(&mut tool, "description")),
                ("parameters", field::take(&mut tool, "input_schema")),
            ]);
            field::object_of([("type", "function".into()), ("function", function)])
        });
        chat.insert("tools".into(), tools.collect());
    }
    if let Some(choice) = get(&body, "tool_choice") {
        let choice = choice["type"].as_str().unwrap_or("required");
        chat.insert("tool_choice".into(), choice.into());
    }
    for format in ["/output_format", "/output_config/format"] {
        if let Some(format) = body.pointer(format).filter(|format| !format.is_null()) {
            chat.insert("response_format".into(), format.clone());
        }
    }
    chat.insert("messages".into(), messages.into());
    Ok(Value::Object(chat))
}

/// Adds a message: results of tools become messages of their own.
fn add(mut message: Value, messages: &mut Vec<Value>) -> Result<(), ApiError> {
    let role = field::text(&message, "role")?
        .unwrap_or_default()
        .to_string();
    let blocks = match message.get_mut("content").map(Value::take) {
        Some(Value::Array(blocks)) => blocks,
        Some(content) => {
            messages.push(field::object_of([
                ("role", role.into()),
                ("content", content),
            ]));
            return Ok(());
        }
        None => return Err(ApiError::invalid("a message has no \"content\"")),
    };
    let (mut parts, mut calls, mut results) = (Vec::new(), Vec::new(), Vec::new());
    let mut reasoning = String::new();
    for mut block in blocks {
        match block.get("type").and_then(Value::as_str) {
            Some("thinking") => {
                reasoning += field::text(&block, "thinking")?.unwrap_or_default();
            }
            Some("redacted_thinking") => (),
            Some("tool_use") => calls.push(json!({
                "id": block["id"],
                "type": "function",
                "function": { "name": block["name"], "arguments": block["input"].to_string() },
            })),
            Some("tool_result") => {
                results.push(field::object_of([
                    ("role", "tool".into()),
                    ("tool_call_id", field::take(&mut block, "tool_use_id")),
                    ("content", image_parts(field::take(&mut block, "content"))),
                ]));
            }
            _ => parts.push(block),
        }
    }
    if !parts.is_empty() || !calls.is_empty() || results.is_empty() {
        let content = image_parts(Value::Array(parts));
        let mut one = field::object_of([("role", role.into()), ("content", content)]);
        if !calls.is_empty() {
            one["tool_calls"] = calls.into();
        }
        if !reasoning.is_empty() {
            one["reasoning_content"] = reasoning.into();
        }
        messages.push(one);
    }
    messages.append(&mut results);
    Ok(())
}

/// Content whose images have OpenAI's name.
fn image_parts(mut content: Value) -> Value {
    for part in content.as_array_mut().into_iter().flatten() {
        if part["type"] == "image" {
            *part = json!({ "type": "image_url", "image_url": {} });
        }
    }
    content
}

/// `/v1/messages`.
pub(crate) fn create(call: &mut Call<'_, '_, '_, '_>) -> Result<Job, ApiError> {
    let body = translate(super::body(call.request)?)?;
    chat::refuse(&body)?;
    let params = Params::read(&body, &call.state.config, call.state.tokenizer)?;
    let prompt = chat_prompt(call.state, &body)?;
    let id = call.id("msg_");
    call.job(alloc::vec![prompt], 1, &params, Box::new(Messages::new(id)))
}

/// `/v1/messages/count_tokens`.
pub(crate) fn count(state: &ServerState<'_>, body: Value) -> Result<Value, ApiError> {
    let rendered = chat::looked_at(state, &translate(body)?)?;
    Ok(json!({ "input_tokens": rendered.tokens.len() }))
}

/// Anthropic's shape of an answer.
pub(crate) struct Messages {
    id: String,
    is_begun: bool,
    /// The block that is open, by its number: of thinking or of text.
    open: Option<(usize, bool)>,
}

impl Messages {
    fn new(id: String) -> Messages {
        Messages {
            id,
            is_begun: false,
            open: None,
        }
    }

    fn message(&self, about: About<'_>, generation: &Generation, content: Value) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "content": content,
            "model": about.model,
            "stop_reason": null,
            "stop_sequence": null,
            "usage": {
                "cache_read_input_tokens": generation.reused,
                "input_tokens": generation.prompt_len() - generation.reused,
                "output_tokens": 0,
            },
        })
    }

    /// Closes the open block.
    fn close(&mut self, frames: &mut Vec<Frame>) {
        if let Some((index, is_thinking)) = self.open.take() {
            if is_thinking {
                let delta = json!({ "type": "signature_delta", "signature": "" });
                frames.push(event(
                    "content_block_delta",
                    json!({ "index": index, "delta": delta }),
                ));
            }
            frames.push(event("content_block_stop", json!({ "index": index })));
        }
    }
}

/// A named event, whose type is its name.
fn event(name: &'static str, mut data: Value) -> Frame {
    let mut whole = json!({ "type": name });
    if let (Some(whole), Some(data)) = (whole.as_object_mut(), data.as_object_mut()) {
        whole.append(data);
    }
    Frame {
        event: Some(name),
        data: whole,
    }
}

/// Why it ended, and the stop string.
fn reason(generation: &Generation) -> (&'static str, Value) {
    match generation.stop {
        Some(Stop::End) => ("end_turn", Value::Null),
        Some(Stop::Word) => ("stop_sequence", generation.stop_word.clone().into()),
        _ => ("max_tokens", Value::Null),
    }
}

impl Format for Messages {
    fn framing(&self) -> Framing {
        Framing::Events { says_done: false }
    }

    fn news(&mut self, about: About<'_>, generation: &Generation, news: &News) -> Vec<Frame> {
        let mut frames = Vec::new();
        if !self.is_begun && *news != News::Progress {
            self.is_begun = true;
            let message = self.message(about, generation, json!([]));
            frames.push(event("message_start", json!({ "message": message })));
        }
        match news {
            News::Progress => (),
            News::Piece(piece) if piece.text.is_empty() => (),
            News::Piece(piece) => {
                let is_thinking = piece.is_reasoning;
                let name = if is_thinking { "thinking" } else { "text" };
                if self.open.is_none_or(|(_, open)| open != is_thinking) {
                    let next = self.open.map_or(0, |(index, _)| index + 1);
                    self.close(&mut frames);
                    self.open = Some((next, is_thinking));
                    let block = json!({ "type": name, name: "" });
                    let data = json!({ "index": next, "content_block": block });
                    frames.push(event("content_block_start", data));
                }
                let index = self.open.map_or(0, |(index, _)| index);
                let kind = if is_thinking {
                    "thinking_delta"
                } else {
                    "text_delta"
                };
                let delta = json!({ "type": kind, name: piece.text });
                frames.push(event(
                    "content_block_delta",
                    json!({ "index": index, "delta": delta }),
                ));
            }
            News::End => {
                self.close(&mut frames);
                let (reason, word) = reason(generation);
                frames.push(event(
                    "message_delta",
                    json!({
                        "delta": { "stop_reason": reason, "stop_sequence": word },
                        "usage": { "output_tokens": generation.drawn },
                    }),
                ));
                frames.push(event("message_stop", json!({})));
            }
        }
        frames
    }

    fn whole(&mut self, about: About<'_>, all: &[Generation]) -> Value {
        let Some(generation) = all.first() else {
            return Value::Null;
        };
        let mut blocks = Vec::new();
        if !generation.reasoning.is_empty() {
            blocks.push(json!({
                "type": "thinking",
                "thinking": generation.reasoning,
                "signature": "",
            }));
        }
        if !generation.content.is_empty() {
            blocks.push(json!({ "type": "text", "text": generation.content }));
        }
        let mut message = self.message(about, generation, blocks.into());
        let (reason, word) = reason(generation);
        message["stop_reason"] = reason.to_string().into();
        message["stop_sequence"] = word;
        message["usage"]["output_tokens"] = generation.drawn.into();
        message
    }

    fn error(&self, failure: &ApiError) -> Value {
        error(failure)
    }
}
