//! Ollama's interface: `/api/chat`, `/api/generate`, and what its clients ask before.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use llama2_settings::Param;
use serde_json::{Map, Value, json};

use super::{Call, Outcome, Prompt, chat, chat_prompt, completion};
use crate::{
    error::{ApiError, Kind},
    field::{self, get},
    generation::{Generation, News},
    job::{About, Format, Frame, Framing, Job},
    params::Params,
    state::ServerState,
};

/// Version of Ollama whose interface this is, as clients compare it.
const VERSION: &str = "0.12.0";

/// An error in Ollama's shape.
pub(crate) fn error(error: &ApiError) -> Value {
    json!({ "error": error.message })
}

/// Answers a request below `/api/`.
pub(crate) fn answer(call: &mut Call<'_, '_, '_, '_>, path: &str) -> Result<Outcome, ApiError> {
    let now = |value: Value| Ok(Outcome::Now(super::json(200, &value)));
    match path {
        "/api/version" => now(json!({ "version": VERSION })),
        "/api/tags" => now(json!({ "models": [model(call.state)] })),
        "/api/ps" => {
            let mut own = model(call.state);
            own["size_vram"] = 0.into();
            own["expires_at"] = "2099-01-01T00:00:00Z".into();
            now(json!({ "models": [own] }))
        }
        "/api/show" => now(show(call.state, &super::body(call.request)?)?),
        "/api/chat" | "/api/generate" => ask(call, path == "/api/chat"),
        _ => Err(ApiError::unsupported(format!(
            "this server does not serve {path}"
        ))),
    }
}

/// The model, in Ollama's list.
fn model(state: &ServerState<'_>) -> Value {
    let name = state.name();
    json!({
        "name": name,
        "model": name,
        "modified_at": iso_time(state.begun_at),
        "size": state.config.model_bytes,
        "digest": "",
        "details": details(state),
    })
}

/// Kind of the model: `llama 110M Q8_0`.
fn details(state: &ServerState<'_>) -> Value {
    let mut words = state.config.model_kind.split(' ');
    let [family, size, numbers] = [(); 3].map(|()| words.next().unwrap_or_default());
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": size,
        "quantization_level": numbers,
    })
}

fn show(state: &ServerState<'_>, body: &Value) -> Result<Value, ApiError> {
    let name = field::text(body, "model")?.or(field::text(body, "name")?);
    let Some(name) = name.filter(|name| !name.is_empty()) else {
        return Err(ApiError::invalid("model is required"));
    };
    // A name without a tag has this one.
    let bare = name.strip_suffix(":latest").unwrap_or(name);
    let names = &state.config.names;
    if !names.iter().any(|own| own == name || own == bare) {
        let sentence = format!("model '{}' not found", field::short(name));
        return Err(ApiError::new(Kind::NotFound, sentence));
    }
    let mut capabilities = alloc::vec!["completion"];
    if state.template.thinks() {
        capabilities.push("thinking");
    }
    Ok(json!({
        "modelfile": "",
        "parameters": "",
        "template": state.template_source,
        "details": details(state),
        "model_info": {
            "general.architecture": "llama",
            "llama.context_length": state.scheduler.seq_len(),
        },
        "capabilities": capabilities,
        "modified_at": iso_time(state.begun_at),
    }))
}

/// Fields of llama-server's interface out of Ollama's `options`.
fn translate(body: &Value) -> Result<Map<String, Value>, ApiError> {
    let mut fields = Map::new();
    // Answers come piece by piece unless that is not wanted.
    let streams = field::truth(body, "stream")?.unwrap_or(true);
    fields.insert("stream".into(), streams.into());
    let options = get(body, "options");
    if options.is_some_and(|options| !options.is_object()) {
        return Err(ApiError::invalid("\"options\" must be an object"));
    }
    if let Some(Value::Object(options)) = options {
        for (name, value) in options {
            let known = Param::samplers().find(|(param, _)| param.spec().api.ollama == *name);
            let name = match &name[..] {
                // -2 is Ollama's word for the rest of the context.
                "num_predict" if value == -2 => continue,
                "num_predict" => "n_predict",
                "seed" | "stop" => &name[..],
                _ => match known {
                    Some((param, _)) => param.spec().api.llama_server,
                    None => continue,
                },
            };
            fields.insert(name.into(), value.clone());
        }
    }
    for name in ["logprobs", "top_logprobs"] {
        if let Some(value) = get(body, name) {
            fields.insert(name.into(), value.clone());
        }
    }
    match get(body, "think") {
        Some(Value::Bool(thinks)) => {
            fields.insert(
                "chat_template_kwargs".into(),
                json!({ "enable_thinking": thinks }),
            );
        }
        Some(Value::String(effort)) => {
            fields.insert("reasoning_effort".into(), effort.clone().into());
        }
        _ => (),
    }
    let format = get(body, "format");
    if format.is_some_and(|format| format.as_str() != Some("")) {
        return Err(ApiError::unsupported(
            "this server cannot constrain answers (\"format\")",
        ));
    }
    let images = |of: &Value| {
        of["images"]
            .as_array()
            .is_some_and(|images| !images.is_empty())
    };
    let messages = field::array(body, "messages")?;
    if images(body) || messages.into_iter().flatten().any(images) {
        return Err(ApiError::unsupported(
            "this server does not see images (\"images\")",
        ));
    }
    if field::text(body, "suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        let sentence = "\"suffix\" is not served here; /infill continues between two texts";
        return Err(ApiError::unsupported(sentence));
    }
    Ok(fields)
}

/// `/api/chat` and `/api/generate`.
fn ask(call: &mut Call<'_, '_, '_, '_>, is_chat: bool) -> Result<Outcome, ApiError> {
    let mut body = super::body(call.request)?;
    let mut fields = translate(&body)?;
    let messages = match field::take(&mut body, "messages") {
        Value::Array(messages) => messages,
        _ => Vec::new(),
    };
    let tools = field::take(&mut body, "tools");
    let prompt = field::text(&body, "prompt")?.unwrap_or_default();
    let is_empty = match is_chat {
        true => messages.is_empty(),
        false => prompt.is_empty(),
    };
    if is_empty {
        // Clients that want the model in memory.
        let mut loaded = json!({
            "model": call.state.name(),
            "created_at": iso_time(call.state.unix_time),
            "done": true,
            "done_reason": "load",
        });
        match is_chat {
            true => loaded["message"] = json!({ "role": "assistant", "content": "" }),
            false => loaded["response"] = "".into(),
        }
        return Ok(Outcome::Now(super::json(200, &loaded)));
    }
    let is_raw = !is_chat && field::truth(&body, "raw")? == Some(true);
    let (prompt, body) = if is_raw {
        call.state.check_length(prompt.len())?;
        let tokens = completion::prompts(&prompt.into(), call.state.tokenizer)?;
        let prompt = tokens.into_iter().next().map(Prompt::from);
        (prompt, Value::Object(fields))
    } else {
        let mut all = Vec::new();
        if let Some(system) = field::text(&body, "system")?.filter(|_| !is_chat) {
            all.push(json!({ "role": "system", "content": system }));
        }
        match is_chat {
            true => all.extend(messages.into_iter().map(message)),
            false => all.push(json!({ "role": "user", "content": prompt })),
        }
        fields.insert("messages".into(), all.into());
        fields.insert("tools".into(), tools);
        let body = Value::Object(fields);
        chat::refuse(&body)?;
        let prompt = chat_prompt(call.state, &body)?;
        (Some(prompt), body)
    };
    let params = Params::read(&body, &call.state.config, call.state.tokenizer)?;
    let prompts = prompt.into_iter().collect();
    let job: Job = call.job(prompts, 1, &params, Box::new(Ollama { is_chat }))?;
    Ok(Outcome::Job(job))
}

/// A message whose reasoning has OpenAI's name.
fn message(mut message: Value) -> Value {
    if let Some(fields) = message.as_object_mut() {
        fields.remove("images");
        if let Some(thinking) = fields.remove("thinking") {
            fields.insert("reasoning_content".into(), thinking);
        }
    }
    message
}

/// Ollama's shape of an answer.
struct Ollama {
    is_chat: bool,
}

impl Ollama {
    fn object(&self, about: About<'_>, text: &str, reasoning: &str) -> Value {
        let mut object = json!({
            "model": about.model,
            "created_at": iso_time(about.unix_time),
        });
        let target = match self.is_chat {
            true => {
                object["message"] = json!({ "role": "assistant", "content": text });
                &mut object["message"]
            }
            false => {
                object["response"] = text.into();
                &mut object
            }
        };
        if !reasoning.is_empty() {
            target["thinking"] = reasoning.into();
        }
        object["done"] = false.into();
        object
    }

    fn end(&self, about: About<'_>, generation: &Generation, text: &str, reasoning: &str) -> Value {
        let mut object = self.object(about, text, reasoning);
        let (prompt_ms, made_ms) = generation.times();
        let nanoseconds = |ms: f64| (ms * 1e6) as u64;
        object["done"] = true.into();
        object["done_reason"] = generation.stop.map_or("stop", |stop| stop.openai()).into();
        object["total_duration"] = nanoseconds(prompt_ms + made_ms).into();
        object["load_duration"] = 0.into();
        object["prompt_eval_count"] = generation.prompt_len().into();
        object["prompt_eval_duration"] = nanoseconds(prompt_ms).into();
        object["eval_count"] = generation.drawn.into();
        object["eval_duration"] = nanoseconds(made_ms).into();
        object
    }
}

impl Format for Ollama {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn news(&mut self, about: About<'_>, generation: &Generation, news: &News) -> Vec<Frame> {
        match news {
            News::Progress => Vec::new(),
            News::Piece(piece) if piece.text.is_empty() => Vec::new(),
            News::Piece(piece) => {
                let (text, reasoning) = match piece.is_reasoning {
                    true => ("", &piece.text[..]),
                    false => (&piece.text[..], ""),
                };
                let mut object = self.object(about, text, reasoning);
                if !piece.probs.is_empty() {
                    object["logprobs"] = generation.probs_json(&piece.probs, about.tokenizer);
                }
                alloc::vec![object.into()]
            }
            News::End => alloc::vec![self.end(about, generation, "", "").into()],
        }
    }

    fn whole(&mut self, about: About<'_>, all: &[Generation]) -> Value {
        let Some(generation) = all.first() else {
            return Value::Null;
        };
        let (text, reasoning) = (&generation.content, &generation.reasoning);
        let mut object = self.end(about, generation, text, reasoning);
        if !generation.probs.is_empty() {
            object["logprobs"] = generation.probs_json(&generation.probs, about.tokenizer);
        }
        object
    }

    fn error(&self, failure: &ApiError) -> Value {
        error(failure)
    }
}

/// A moment as in RFC 3339 (UTC), by Hinnant's `civil_from_days`.
fn iso_time(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86_400) as i64 + 719_468, seconds % 86_400);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_moments() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_721_999_045, "2024-07-26T13:04:05Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(iso_time(seconds), text);
        }
    }
}
