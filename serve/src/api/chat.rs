//! Conversations: OpenAI's `/v1/chat/completions`.

use alloc::{format, string::String, vec::Vec};

use llama2_engine::chat::{self, RenderOptions, Rendered, SAID};
use serde_json::{Value, json};

use super::completion::{add_details, text_bytes, usage};
use crate::{
    FINGERPRINT,
    error::{ApiError, Kind},
    field::{self, get},
    generation::{Generation, News},
    job::{About, Format, Frame, Framing},
    state::ServerState,
};

/// Most messages of a conversation: a template takes its time for each.
const MOST_MESSAGES: usize = 4096;

/// A conversation as a prompt.
#[derive(Debug)]
pub(crate) struct Conversation {
    /// Tokens, and the text that they encode.
    pub rendered: Rendered,
    /// Reasoning is told from the answer, which begins inside of it or not.
    pub reasoning: Option<bool>,
}

/// Value of a template's variable. Texts are the template's own words, or somebody's.
fn variable(value: &Value, is_said: bool) -> chat::Value {
    let text = |text: &str| match is_said {
        true => chat::Value::text(text, SAID),
        false => chat::Value::from(text),
    };
    match value {
        Value::Null => chat::Value::None,
        Value::Bool(value) => chat::Value::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => chat::Value::Int(whole),
            None => chat::Value::Float(number.as_f64().unwrap_or(0.0)),
        },
        Value::String(value) => text(value),
        Value::Array(items) => {
            chat::Value::list(items.iter().map(|item| variable(item, is_said)).collect())
        }
        Value::Object(entries) => chat::Value::marked_map(
            entries
                .iter()
                .map(|(key, value)| (text(key), variable(value, is_said))),
        ),
    }
}

/// Text of a message's content: a text, or parts, of which texts are joined by `between`.
pub(crate) fn content_text(content: &Value, between: &str) -> Result<String, ApiError> {
    let parts = match content {
        Value::Null => return Ok(String::new()),
        Value::String(text) => return Ok(text.clone()),
        Value::Array(parts) => parts,
        _ => {
            return Err(ApiError::invalid(
                "Expected 'content' to be a string or an array",
            ));
        }
    };
    let mut texts = Vec::new();
    for part in parts {
        match part.get("type").and_then(Value::as_str) {
            Some("text" | "input_text" | "output_text") => match part.get("text") {
                Some(Value::String(text)) => texts.push(&text[..]),
                _ => return Err(ApiError::invalid("a part of 'content' has no text")),
            },
            Some(kind @ ("image_url" | "input_image")) => {
                let sentence = format!("image input is not supported by this server ({kind})");
                return Err(ApiError::new(Kind::Server, sentence));
            }
            Some(kind) => {
                let sentence = format!("parts of type \"{kind}\" are not served here, only text");
                return Err(ApiError::unsupported(sentence));
            }
            None => return Err(ApiError::invalid("a part of 'content' has no \"type\"")),
        }
    }
    Ok(texts.join(between))
}

/// A message as the template sees it.
fn message(value: &Value) -> Result<chat::Value, ApiError> {
    let Value::Object(fields) = value else {
        return Err(ApiError::invalid("each of 'messages' must be an object"));
    };
    let role = match fields.get("role") {
        Some(Value::String(role)) => &role[..],
        _ => return Err(ApiError::invalid("a message has no \"role\"")),
    };
    let content = get(value, "content");
    let calls = role == "assistant" && fields.contains_key("tool_calls");
    if !calls && !fields.contains_key("content") {
        let sentence = match role {
            "assistant" => "Assistant message must contain either 'content' or 'tool_calls'!",
            _ => "All non-assistant messages must contain 'content'",
        };
        return Err(ApiError::invalid(sentence));
    }
    let mut entries: Vec<(chat::Value, chat::Value)> = alloc::vec![(
        "role".into(),
        // OpenAI's newer word for the system.
        chat::Value::from(if role == "developer" { "system" } else { role }),
    )];
    let text = content_text(content.unwrap_or(&Value::Null), "\n")?;
    entries.push(("content".into(), chat::Value::text(&text, SAID)));
    for (name, value) in fields {
        match &name[..] {
            "role" | "content" => (),
            "tool_calls" => entries.push(("tool_calls".into(), tool_calls(value))),
            name => entries.push((name.into(), variable(value, true))),
        }
    }
    Ok(chat::Value::marked_map(entries))
}

/// Calls of tools: arguments that are JSON in a text become values, as templates want them.
fn tool_calls(value: &Value) -> chat::Value {
    let mut calls = value.clone();
    for call in calls.as_array_mut().into_iter().flatten() {
        let arguments = call.pointer_mut("/function/arguments");
        if let Some(arguments) = arguments
            && let Some(Ok(parsed)) = arguments.as_str().map(serde_json::from_str::<Value>)
        {
            *arguments = parsed;
        }
    }
    variable(&calls, true)
}

/// Bytes of a conversation's texts.
pub(crate) fn text_bytes_of(body: &Value) -> usize {
    let parts = ["messages", "tools", "chat_template_kwargs"];
    parts.map(|name| text_bytes(&body[name])).iter().sum()
}

/// Lays out a conversation that nothing is generated for.
///
/// # Errors
/// As [`conversation`], or that it is too long to be looked at.
pub(crate) fn looked_at(state: &ServerState<'_>, body: &Value) -> Result<Rendered, ApiError> {
    state.check_text(text_bytes_of(body))?;
    Ok(conversation(state, body)?.rendered)
}

/// Lays a conversation out as a prompt; its fields are those of `/v1/chat/completions`.
///
/// # Errors
/// The body's fault, or the template's own refusal.
pub(crate) fn conversation(
    state: &ServerState<'_>,
    body: &Value,
) -> Result<Conversation, ApiError> {
    let messages = match body.get("messages") {
        None => return Err(ApiError::invalid("'messages' is required")),
        Some(Value::Array(messages)) => &messages[..],
        Some(_) => return Err(ApiError::invalid("Expected 'messages' to be an array")),
    };
    if messages.len() > MOST_MESSAGES {
        let sentence = format!(
            "there are {} messages, but at most {MOST_MESSAGES} are read",
            messages.len()
        );
        return Err(ApiError::invalid(sentence));
    }
    let role = |message: &Value| {
        message
            .get("role")
            .and_then(Value::as_str)
            .map(String::from)
    };
    let is_assistant = |message: &Value| role(message).as_deref() == Some("assistant");
    let ends_with_answer = messages.last().is_some_and(is_assistant);
    let answers = field::truth(body, "add_generation_prompt")?;
    let continues = match get(body, "continue_final_message") {
        Some(Value::Bool(wanted)) => Some(*wanted),
        Some(Value::String(_)) => Some(true),
        _ => None,
    };
    if continues == Some(true) && answers == Some(true) {
        return Err(ApiError::invalid(
            "Cannot set both add_generation_prompt and continue_final_message to true.",
        ));
    }
    let prefills = continues.unwrap_or(state.config.prefills) && ends_with_answer;
    if prefills && messages.len() >= 2 && is_assistant(&messages[messages.len() - 2]) {
        return Err(ApiError::invalid(
            "Cannot have 2 or more assistant messages at the end of the list.",
        ));
    }
    let (said, prefill) = match messages.split_last() {
        Some((last, before)) if prefills => {
            message(last)?;
            (
                before,
                content_text(last.get("content").unwrap_or(&Value::Null), "\n\n")?,
            )
        }
        _ => (messages, String::new()),
    };
    let values = said.iter().map(message).collect::<Result<Vec<_>, _>>()?;
    let mut thinks = state.config.thinks;
    let mut others = dates(state.now());
    if let Some(tools) = field::array(body, "tools")?.filter(|tools| !tools.is_empty()) {
        let text = serde_json::to_string_pretty(tools).unwrap_or_default();
        others.push(("functions", chat::Value::text(&text, SAID)));
        let tools = tools.iter().map(|tool| variable(tool, true)).collect();
        others.push(("tools", chat::Value::list(tools)));
    } else {
        others.push(("functions", "".into()));
    }
    if let Some(Value::Object(variables)) = get(body, "chat_template_kwargs") {
        for (name, value) in variables {
            match (&name[..], value) {
                ("enable_thinking", Value::Bool(wanted)) => thinks = Some(*wanted),
                ("enable_thinking", _) => {
                    let sentence = "\"enable_thinking\" must be true or false";
                    return Err(ApiError::invalid(sentence));
                }
                // Names that the server sets itself.
                ("messages" | "add_generation_prompt" | "bos_token" | "eos_token", _) => (),
                (name, value) => others.push((name, variable(value, false))),
            }
        }
    }
    match field::text(body, "reasoning_effort")? {
        Some("none") => thinks = Some(false),
        Some(effort) => others.push(("reasoning_effort", chat::Value::from(effort))),
        None => (),
    }
    let options = RenderOptions {
        answers: prefills || answers.unwrap_or(true),
        thinks: thinks.unwrap_or(true),
        now: state.now(),
    };
    let rendered = state
        .template
        .render_values(state.tokenizer, values, &others, &prefill, &options)
        .map_err(|error| ApiError::invalid(format!("the model's chat template: {error}")))?;
    let splits = state.thinks && field::text(body, "reasoning_format")? != Some("none");
    let reasoning = (splits && state.config.splits_reasoning)
        .then_some(rendered.opens_thought && prefill.is_empty());
    Ok(Conversation {
        rendered,
        reasoning,
    })
}

/// Variables that llama-server sets for templates of Llama 3 and FireFunction, which have the date
/// of their making in them otherwise.
fn dates(now: chat::DateTime) -> Vec<(&'static str, chat::Value)> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let month = MONTHS[usize::from(now.month.clamp(1, 12)) - 1];
    let (year, day) = (now.year, now.day);
    let hour = format!("{:02}:{:02}:{:02}", now.hour, now.minute, now.second);
    let (day_first, month_first) = (
        format!("{day:02} {month} {year}"),
        format!("{month} {day:02} {year} {hour} GMT"),
    );
    alloc::vec![
        ("date_string", chat::Value::from(&day_first[..])),
        ("datetime", chat::Value::from(&month_first[..])),
    ]
}

/// Refuses what would constrain an answer: a free text in its place would be taken for one.
pub(crate) fn refuse(body: &Value) -> Result<(), ApiError> {
    let has_tools = field::array(body, "tools")?.is_some_and(|tools| !tools.is_empty());
    let has_functions = field::array(body, "functions")?.is_some_and(|tools| !tools.is_empty());
    let is_none = get(body, "tool_choice").and_then(Value::as_str) == Some("none");
    if (has_tools || has_functions) && !is_none {
        let sentence = "this server does not call tools (\"tools\"); \"tool_choice\": \"none\" \
            lets the model only know of them";
        return Err(ApiError::unsupported(sentence));
    }
    for name in ["tool_choice", "function_call"] {
        let is_free = |choice: &Value| matches!(choice.as_str(), Some("none" | "auto"));
        if get(body, name).is_some_and(|choice| !is_free(choice)) {
            let sentence = format!("this server does not call tools (\"{name}\")");
            return Err(ApiError::unsupported(sentence));
        }
    }
    let format = get(body, "response_format").map(|format| format.get("type"));
    match format {
        None => Ok(()),
        Some(Some(Value::String(kind))) if kind == "text" => Ok(()),
        Some(Some(Value::String(kind))) if kind == "json_object" || kind == "json_schema" => {
            Err(ApiError::unsupported(format!(
                "this server cannot constrain answers (\"response_format\": \"{kind}\")"
            )))
        }
        Some(_) => Err(ApiError::invalid(
            "response_format type must be one of \"text\", \"json_object\" or \"json_schema\"",
        )),
    }
}

/// OpenAI's shape of a chat's answer.
pub(crate) struct OpenAiChat {
    /// Id of the answer.
    pub id: String,
    /// Choices whose first event has been written.
    begun: Vec<usize>,
    /// Generations that are over, for the count at the end.
    left: usize,
    counts: Option<(u64, u64)>,
}

impl OpenAiChat {
    /// An answer of `choices` choices.
    pub fn new(id: String, choices: usize) -> OpenAiChat {
        OpenAiChat {
            id,
            begun: Vec::new(),
            left: choices,
            counts: None,
        }
    }

    fn chunk(&self, about: About<'_>, choices: Value) -> Value {
        json!({
            "choices": choices,
            "created": about.unix_time,
            "id": self.id,
            "model": about.model,
            "system_fingerprint": FINGERPRINT,
            "object": "chat.completion.chunk",
        })
    }

    fn delta(&self, about: About<'_>, index: usize, delta: Value, reason: Value) -> Value {
        let choice = json!({ "finish_reason": reason, "index": index, "delta": delta });
        self.chunk(about, json!([choice]))
    }
}

/// Message of an answer.
pub(crate) fn answer_message(generation: &Generation) -> Value {
    let mut message = json!({ "role": "assistant", "content": generation.content });
    if !generation.reasoning.is_empty() {
        message["reasoning_content"] = generation.reasoning.clone().into();
    }
    message
}

impl Format for OpenAiChat {
    fn framing(&self) -> Framing {
        Framing::Events { says_done: true }
    }

    fn news(&mut self, about: About<'_>, generation: &Generation, news: &News) -> Vec<Frame> {
        let params = &generation.task.params;
        let index = generation.task.index;
        let mut frames = Vec::new();
        // Each choice begins with its role.
        let is_piece = matches!(news, News::Piece(_));
        if !self.begun.contains(&index) {
            self.begun.push(index);
            let role = json!({ "role": "assistant", "content": null });
            frames.push(self.delta(about, index, role, Value::Null));
        }
        match news {
            News::Progress => {
                if frames.is_empty() {
                    frames.push(self.delta(about, index, json!({}), Value::Null));
                }
            }
            News::Piece(piece) => {
                let name = match piece.is_reasoning {
                    true => "reasoning_content",
                    false => "content",
                };
                if !piece.text.is_empty() {
                    let delta = json!({ name: piece.text });
                    let mut chunk = self.delta(about, index, delta, Value::Null);
                    if !piece.probs.is_empty() {
                        let probs = generation.probs_json(&piece.probs, about.tokenizer);
                        chunk["choices"][0]["logprobs"] = json!({ "content": probs });
                    }
                    frames.push(chunk);
                }
            }
            News::End => {
                self.left -= 1;
                let reason = generation.stop.map_or("length", |stop| stop.openai());
                let mut chunk = self.delta(about, index, json!({}), reason.into());
                if params.is_verbose {
                    chunk["__verbose"] = super::completion::Native::last(about, generation);
                }
                let (prompt, made) = self.counts.get_or_insert((0, 0));
                *prompt += generation.prompt_len() as u64;
                *made += generation.drawn as u64;
                frames.push(chunk);
                if params.counts && self.left == 0 {
                    let mut usage = generation.usage();
                    let (prompt, made) = self.counts.unwrap_or_default();
                    usage["prompt_tokens"] = prompt.into();
                    usage["completion_tokens"] = made.into();
                    usage["total_tokens"] = (prompt + made).into();
                    let mut chunk = self.chunk(about, json!([]));
                    chunk["usage"] = usage;
                    frames.push(chunk);
                }
                if let Some(last) = frames.last_mut() {
                    last["timings"] = generation.timings();
                }
            }
        }
        let count = frames.len();
        if let Some(last) = frames.last_mut() {
            if *news == News::Progress {
                last["prompt_progress"] = generation.progress();
            }
            let is_role = count == 1 && is_piece && last["choices"][0]["delta"]["role"].is_string();
            if params.times_tokens && *news != News::End && !is_role && is_piece {
                last["timings"] = generation.timings();
            }
        }
        frames.into_iter().map(Frame::from).collect()
    }

    fn whole(&mut self, about: About<'_>, all: &[Generation]) -> Value {
        let choice = |generation: &Generation| {
            let mut choice = json!({
                "finish_reason": generation.stop.map_or("length", |stop| stop.openai()),
                "index": generation.task.index,
                "message": answer_message(generation),
            });
            if !generation.probs.is_empty() {
                let probs = generation.probs_json(&generation.probs, about.tokenizer);
                choice["logprobs"] = json!({ "content": probs });
            }
            choice
        };
        let mut answer = self.chunk(about, all.iter().map(choice).collect());
        answer["object"] = "chat.completion".into();
        answer["usage"] = usage(all);
        if let Some(first) = all.first() {
            add_details(&mut answer, about, first);
        }
        answer
    }
}
