//! OpenAI's newer interface: `/v1/responses`. Nothing is stored: each request has the whole
//! conversation.

use alloc::{boxed::Box, string::String, vec::Vec};

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

/// A request as one to `/v1/chat/completions`.
fn translate(mut body: Value) -> Result<Value, ApiError> {
    if get(&body, "previous_response_id").is_some() {
        return Err(ApiError::unsupported(
            "this server keeps no responses (\"previous_response_id\"): send the whole \
             conversation as \"input\"",
        ));
    }
    let mut messages = Vec::new();
    if let Some(instructions) = field::text(&body, "instructions")? {
        messages.push(json!({ "role": "system", "content": instructions }));
    }
    match field::take(&mut body, "input") {
        Value::String(text) => messages.push(json!({ "role": "user", "content": text })),
        Value::Array(items) => {
            for item in items {
                add(item, &mut messages)?;
            }
        }
        _ => return Err(ApiError::invalid("\"input\" must be a string or an array")),
    }
    let effort = body.pointer("/reasoning/effort").cloned();
    let format = body.pointer_mut("/text/format").map(Value::take);
    let mut chat = match body {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for name in [
        "input",
        "instructions",
        "text",
        "reasoning",
        "include",
        "store",
    ] {
        chat.remove(name);
    }
    if let Some(most) = chat.remove("max_output_tokens") {
        chat.insert("max_tokens".into(), most);
    }
    if let Some(effort) = effort {
        chat.insert("reasoning_effort".into(), effort);
    }
    if let Some(format) = format {
        chat.insert("response_format".into(), format);
    }
    chat.insert("messages".into(), messages.into());
    Ok(Value::Object(chat))
}

/// Adds an item of the input as a message.
fn add(mut item: Value, messages: &mut Vec<Value>) -> Result<(), ApiError> {
    let kind = field::take(&mut item, "type");
    match kind.as_str().unwrap_or("message") {
        "message" => messages.push(field::object_of([
            ("role", field::take(&mut item, "role")),
            ("content", field::take(&mut item, "content")),
        ])),
        // The model's earlier reasoning is not needed for its next answer.
        "reasoning" => (),
        "function_call" => messages.push(json!({
            "role": "assistant",
            "content": "",
            "tool_calls": [{
                "id": item["call_id"],
                "type": "function",
                "function": { "name": item["name"], "arguments": item["arguments"] },
            }],
        })),
        "function_call_output" => messages.push(field::object_of([
            ("role", "tool".into()),
            ("tool_call_id", field::take(&mut item, "call_id")),
            ("content", field::take(&mut item, "output")),
        ])),
        kind => {
            let sentence =
                alloc::format!("items of type \"{}\" are not served", field::short(kind));
            return Err(ApiError::unsupported(sentence));
        }
    }
    Ok(())
}

/// `/v1/responses`.
pub(crate) fn create(call: &mut Call<'_, '_, '_, '_>) -> Result<Job, ApiError> {
    let body = translate(super::body(call.request)?)?;
    chat::refuse(&body)?;
    let params = Params::read(&body, &call.state.config, call.state.tokenizer)?;
    let prompt = chat_prompt(call.state, &body)?;
    let [response, reasoning, message] = ["resp_", "rs_", "msg_"].map(|word| call.id(word));
    let format = Responses {
        response,
        items: [message, reasoning],
        open: None,
        events: 0,
        output: Vec::new(),
        text: String::new(),
        begun: None,
    };
    call.job(alloc::vec![prompt], 1, &params, Box::new(format))
}

/// `/v1/responses/input_tokens`.
pub(crate) fn count(state: &ServerState<'_>, body: Value) -> Result<Value, ApiError> {
    let rendered = chat::looked_at(state, &translate(body)?)?;
    Ok(json!({
        "object": "response.input_tokens",
        "input_tokens": rendered.tokens.len(),
    }))
}

/// The shape of a response.
struct Responses {
    response: String,
    /// Ids of the items of text and of reasoning.
    items: [String; 2],
    /// The item that is open is reasoning, or not.
    open: Option<bool>,
    /// Number of the next event.
    events: u64,
    /// Items that are whole.
    output: Vec<Value>,
    /// Text of the open item.
    text: String,
    /// The response as its stream's beginning has told it.
    begun: Option<Value>,
}

impl Responses {
    fn event(&mut self, name: &'static str, mut data: Value) -> Frame {
        let mut whole = json!({ "type": name, "sequence_number": self.events });
        self.events += 1;
        if let (Some(whole), Some(data)) = (whole.as_object_mut(), data.as_object_mut()) {
            whole.append(data);
        }
        Frame {
            event: Some(name),
            data: whole,
        }
    }

    fn item(&self, is_reasoning: bool, text: &str, status: &str) -> Value {
        let content = match is_reasoning {
            _ if status == "in_progress" => json!([]),
            true => json!([{ "type": "reasoning_text", "text": text }]),
            false => json!([part(text)]),
        };
        let id = &self.items[usize::from(is_reasoning)];
        match is_reasoning {
            true => json!({
                "id": id, "type": "reasoning", "summary": [], "content": content,
                "encrypted_content": "", "status": status,
            }),
            false => json!({
                "id": id, "type": "message", "role": "assistant", "content": content,
                "status": status,
            }),
        }
    }

    fn object(&self, about: About<'_>, generation: Option<&Generation>, output: &[Value]) -> Value {
        let mut object = json!({
            "id": self.response,
            "object": "response",
            "created_at": about.unix_time,
            "model": about.model,
            "output": output,
            "status": "in_progress",
            "error": null,
            "incomplete_details": null,
            "instructions": null,
            "metadata": {},
            "parallel_tool_calls": false,
            "tool_choice": "none",
            "tools": [],
        });
        if let Some(generation) = generation {
            if generation.stop == Some(Stop::Limit) {
                object["status"] = "incomplete".into();
                object["incomplete_details"] = json!({ "reason": "max_output_tokens" });
            } else {
                object["status"] = "completed".into();
                object["completed_at"] = about.unix_time.into();
            }
            object["usage"] = json!({
                "input_tokens": generation.prompt_len(),
                "output_tokens": generation.drawn,
                "total_tokens": generation.prompt_len() + generation.drawn,
                "input_tokens_details": { "cached_tokens": generation.reused },
                "output_tokens_details": { "reasoning_tokens": 0 },
            });
        }
        object
    }

    /// Opens an item, closing another.
    fn open(&mut self, is_reasoning: bool, frames: &mut Vec<Frame>) {
        if self.open == Some(is_reasoning) {
            return;
        }
        self.close(frames);
        self.open = Some(is_reasoning);
        self.text.clear();
        let place = self.output.len();
        let item = self.item(is_reasoning, "", "in_progress");
        let data = json!({ "output_index": place, "item": item });
        frames.push(self.event("response.output_item.added", data));
        if !is_reasoning {
            let data = json!({
                "item_id": self.items[0], "output_index": place, "content_index": 0,
                "part": part(""),
            });
            frames.push(self.event("response.content_part.added", data));
        }
    }

    fn close(&mut self, frames: &mut Vec<Frame>) {
        let Some(is_reasoning) = self.open.take() else {
            return;
        };
        let place = self.output.len();
        let text = core::mem::take(&mut self.text);
        if !is_reasoning {
            let at = json!({
                "item_id": self.items[0], "output_index": place, "content_index": 0,
            });
            let mut data = at.clone();
            data["text"] = text.clone().into();
            frames.push(self.event("response.output_text.done", data));
            let mut data = at;
            data["part"] = part(&text);
            frames.push(self.event("response.content_part.done", data));
        }
        let item = self.item(is_reasoning, &text, "completed");
        let data = json!({ "output_index": place, "item": item });
        frames.push(self.event("response.output_item.done", data));
        self.output.push(item);
    }
}

/// Part of a message that is text.
fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

impl Format for Responses {
    fn framing(&self) -> Framing {
        Framing::Events { says_done: false }
    }

    fn news(&mut self, about: About<'_>, generation: &Generation, news: &News) -> Vec<Frame> {
        let mut frames = Vec::new();
        let params = &generation.task.params;
        if self.begun.is_none() {
            let response = self.object(about, None, &[]);
            for name in ["response.created", "response.in_progress"] {
                frames.push(self.event(name, json!({ "response": response })));
            }
            self.begun = Some(response);
        }
        match news {
            News::Progress => {
                let response = self.object(about, None, &[]);
                let data =
                    json!({ "response": response, "prompt_progress": generation.progress() });
                frames.push(self.event("response.in_progress", data));
            }
            News::Piece(piece) if piece.text.is_empty() => (),
            News::Piece(piece) => {
                self.open(piece.is_reasoning, &mut frames);
                self.text += &piece.text;
                let name = match piece.is_reasoning {
                    true => "response.reasoning_text.delta",
                    false => "response.output_text.delta",
                };
                let mut data = json!({
                    "item_id": self.items[usize::from(piece.is_reasoning)],
                    "output_index": self.output.len(),
                    "content_index": 0,
                    "delta": piece.text,
                    "logprobs": [],
                });
                if params.times_tokens {
                    data["timings"] = generation.timings();
                }
                frames.push(self.event(name, data));
            }
            News::End => {
                self.close(&mut frames);
                let response = self.object(about, Some(generation), &self.output);
                let data = json!({ "response": response, "timings": generation.timings() });
                // The end of one that was cut, too: llama.cpp's tests wait for no other event.
                frames.push(self.event("response.completed", data));
            }
        }
        frames
    }

    fn whole(&mut self, about: About<'_>, all: &[Generation]) -> Value {
        let Some(generation) = all.first() else {
            return Value::Null;
        };
        let mut output = Vec::new();
        for (is_reasoning, text) in [(true, &generation.reasoning), (false, &generation.content)] {
            if !text.is_empty() {
                output.push(self.item(is_reasoning, text, "completed"));
            }
        }
        let mut object = self.object(about, Some(generation), &output);
        object["timings"] = generation.timings();
        object
    }

    fn error(&self, error: &ApiError) -> Value {
        let Some(mut response) = self.begun.clone() else {
            return error.openai();
        };
        response["status"] = "failed".into();
        response["error"] = json!({ "code": error.kind.name(), "message": error.message });
        json!({
            "type": "response.failed",
            "sequence_number": self.events,
            "response": response,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn a_stream_that_fails_says_so_in_an_event_of_its_own() {
        let mut format = Responses {
            response: "resp_1".into(),
            items: Default::default(),
            open: None,
            events: 4,
            output: Vec::new(),
            text: String::new(),
            begun: None,
        };
        let failure = ApiError::new(Kind::Server, "no numbers");
        assert_eq!(Frame::from(format.error(&failure)).event, None);
        format.begun = Some(json!({ "id": "resp_1", "status": "in_progress" }));
        let frame = Frame::from(format.error(&failure));
        assert_eq!(frame.event, Some("response.failed"));
        assert_eq!(frame.data["sequence_number"], 4);
        assert_eq!(frame.data["response"]["status"], "failed");
        let frame = Frame::from(super::super::messages::error(&failure));
        assert_eq!(frame.event, Some("error"));
    }
}
