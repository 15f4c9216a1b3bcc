//! Texts that are continued: llama-server's `/completion` and OpenAI's `/v1/completions`.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use llama2_engine::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

use crate::{
    FINGERPRINT,
    error::ApiError,
    field,
    generation::{Generation, News, Piece, detokenize},
    job::{About, Format, Frame, Framing},
};

/// Reads a prompt: one or several, each a text, tokens, or both mixed. Texts at the beginning get
/// BOS where the model wants it.
pub(crate) fn prompts(value: &Value, tokenizer: &Tokenizer) -> Result<Vec<Vec<u32>>, ApiError> {
    match value {
        Value::Array(items) if items.is_empty() => Err(ApiError::invalid("\"prompt\" is empty")),
        // Numbers at the top: one prompt.
        Value::Array(items) if !items.iter().any(Value::is_number) => {
            items.iter().map(|item| prompt(item, tokenizer)).collect()
        }
        one => Ok(alloc::vec![prompt(one, tokenizer)?]),
    }
}

/// Bytes of all texts in a prompt or a message. Images are refused, however long they are.
pub(crate) fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => {
            let texts = fields.iter().filter(|(name, _)| *name != "image_url");
            texts.map(|(_, value)| text_bytes(value)).sum()
        }
        _ => 0,
    }
}

/// Bytes of each of the prompts that [`prompts`] reads.
pub(crate) fn prompt_bytes(value: &Value) -> Vec<usize> {
    match value {
        Value::Array(items) if !items.iter().any(Value::is_number) => {
            items.iter().map(text_bytes).collect()
        }
        one => alloc::vec![text_bytes(one)],
    }
}

fn prompt(value: &Value, tokenizer: &Tokenizer) -> Result<Vec<u32>, ApiError> {
    let mut tokens = match value {
        Value::String(text) => tokenizer.encode_parsed(text.as_bytes(), true, false),
        Value::Array(items) => {
            let mut tokens = Vec::new();
            for item in items {
                match item {
                    Value::String(text) => {
                        let is_first = tokens.is_empty();
                        tokens.extend(tokenizer.encode_parsed(text.as_bytes(), is_first, false));
                    }
                    number => tokens.push(field::token(number, tokenizer.vocab_size())?),
                }
            }
            tokens
        }
        Value::Object(_) => {
            if field::get(value, "multimodal_data").is_some() {
                let sentence = "this server has no images and sounds (\"multimodal_data\")";
                return Err(ApiError::unsupported(sentence));
            }
            match field::text(value, "prompt_string")? {
                Some(text) => tokenizer.encode_parsed(text.as_bytes(), true, false),
                None => return Err(ApiError::invalid("a prompt has no \"prompt_string\"")),
            }
        }
        _ => {
            let sentence = "\"prompt\" must be a text, an array of tokens, or an array of both";
            return Err(ApiError::invalid(sentence));
        }
    };
    if tokens.is_empty() {
        tokens.push(tokenizer.start());
    }
    Ok(tokens)
}

/// llama-server's own shape.
pub(crate) struct Native;

impl Native {
    /// The answer about a generation that is over.
    pub fn last(about: About<'_>, generation: &Generation) -> Value {
        let Generation { task, .. } = generation;
        let streams = task.params.streams;
        let mut whole = json!({
            "index": task.index,
            // A stream has told it.
            "content": if streams { "" } else { &generation.content[..] },
            "tokens": match streams || !task.params.returns_tokens {
                true => &[][..],
                false => &generation.tokens[..],
            },
            "id_slot": generation.slot,
            "stop": true,
            "model": about.model,
            "tokens_predicted": generation.drawn,
            "tokens_evaluated": generation.prompt_len(),
            "generation_settings": task.params.settings(),
            "prompt": detokenize(about.tokenizer, &task.prompt),
            "has_new_line": generation.content.contains('\n'),
            "truncated": generation.is_truncated,
            "stop_type": generation.stop.map_or("none", |stop| stop.name()),
            "stopping_word": generation.stop_word,
            "tokens_cached": generation.cached(),
            "timings": generation.timings(),
        });
        if task.params.probs > 0 && !streams {
            let probs = generation.probs_json(&generation.probs, about.tokenizer);
            whole["completion_probabilities"] = probs;
        }
        match task.params.fields.is_empty() {
            true => whole,
            false => named(&whole, &task.params.fields),
        }
    }
}

/// Only the named fields; a name with slashes is that of a field inside of another.
fn named(whole: &Value, names: &[String]) -> Value {
    let mut only = Map::new();
    for name in names {
        let found = name
            .split('/')
            .try_fold(whole, |value, part| value.get(part));
        if let Some(value) = found {
            only.insert(name.clone(), value.clone());
        }
    }
    Value::Object(only)
}

impl Format for Native {
    fn framing(&self) -> Framing {
        Framing::Events { says_done: false }
    }

    fn news(&mut self, about: About<'_>, generation: &Generation, news: &News) -> Vec<Frame> {
        let none = Piece::default();
        let piece = match news {
            News::End => return alloc::vec![Native::last(about, generation).into()],
            News::Progress => &none,
            News::Piece(piece) => piece,
        };
        let params = &generation.task.params;
        let mut part = json!({
            "index": generation.task.index,
            "content": piece.text,
            "tokens": piece.tokens,
            "stop": false,
            "id_slot": generation.slot,
            "tokens_predicted": generation.tokens.len(),
            "tokens_evaluated": generation.prompt_len(),
        });
        if params.times_tokens {
            part["timings"] = generation.timings();
        }
        if *news == News::Progress {
            part["prompt_progress"] = generation.progress();
        }
        if !piece.probs.is_empty() {
            part["completion_probabilities"] = generation.probs_json(&piece.probs, about.tokenizer);
        }
        alloc::vec![part.into()]
    }

    fn whole(&mut self, about: About<'_>, all: &[Generation]) -> Value {
        match all {
            [one] => Native::last(about, one),
            several => several.iter().map(|one| Native::last(about, one)).collect(),
        }
    }
}

/// OpenAI's shape of a completion.
pub(crate) struct OpenAiText {
    /// Id of the answer.
    pub id: String,
}

impl OpenAiText {
    fn object(&self, about: About<'_>, choices: Vec<Value>) -> Value {
        json!({
            "choices": choices,
            "created": about.unix_time,
            "model": about.model,
            "system_fingerprint": FINGERPRINT,
            "object": "text_completion",
            "id": self.id,
        })
    }
}

/// Sum of what several generations used.
pub(crate) fn usage(all: &[Generation]) -> Value {
    let Some((first, others)) = all.split_first() else {
        return Value::Null;
    };
    let mut usage = first.usage();
    for other in others {
        let other = other.usage();
        for name in ["completion_tokens", "total_tokens", "prompt_tokens"] {
            let sum = usage[name].as_u64().unwrap_or(0) + other[name].as_u64().unwrap_or(0);
            usage[name] = sum.into();
        }
    }
    usage
}

/// Adds what llama-server adds to OpenAI's answers.
pub(crate) fn add_details(answer: &mut Value, about: About<'_>, generation: &Generation) {
    if generation.task.params.is_verbose {
        answer["__verbose"] = Native::last(about, generation);
    }
    answer["timings"] = generation.timings();
}

impl Format for OpenAiText {
    fn framing(&self) -> Framing {
        Framing::Events { says_done: true }
    }

    fn news(&mut self, about: About<'_>, generation: &Generation, news: &News) -> Vec<Frame> {
        let params = &generation.task.params;
        let choice = |text: &str, logprobs: Value, reason: Value| {
            alloc::vec![json!({
                "text": text,
                "index": generation.task.index,
                "logprobs": logprobs,
                "finish_reason": reason,
            })]
        };
        let mut frames = Vec::new();
        match news {
            News::Progress => {
                let mut part = self.object(about, choice("", Value::Null, Value::Null));
                part["prompt_progress"] = generation.progress();
                if params.times_tokens {
                    part["timings"] = generation.timings();
                }
                frames.push(part.into());
            }
            News::Piece(piece) => {
                let logprobs = match piece.probs.is_empty() {
                    true => Value::Null,
                    false => {
                        json!({ "content": generation.probs_json(&piece.probs, about.tokenizer) })
                    }
                };
                let mut part = self.object(about, choice(&piece.text, logprobs, Value::Null));
                if params.times_tokens {
                    part["timings"] = generation.timings();
                }
                frames.push(part.into());
            }
            News::End => {
                let reason = generation.stop.map_or("length", |stop| stop.openai());
                let mut part = self.object(about, choice("", Value::Null, reason.into()));
                part["usage"] = generation.usage();
                add_details(&mut part, about, generation);
                frames.push(part.into());
            }
        }
        frames
    }

    fn whole(&mut self, about: About<'_>, all: &[Generation]) -> Value {
        let choice = |generation: &Generation| {
            let probs = &generation.probs;
            json!({
                "text": generation.content,
                "index": generation.task.index,
                "logprobs": match probs.is_empty() {
                    true => Value::Null,
                    false => json!({ "content": generation.probs_json(probs, about.tokenizer) }),
                },
                "finish_reason": generation.stop.map_or("length", |stop| stop.openai()),
            })
        };
        let mut answer = self.object(about, all.iter().map(choice).collect());
        answer["usage"] = usage(all);
        if let Some(first) = all.first() {
            add_details(&mut answer, about, first);
        }
        answer
    }
}

/// Refuses fields of OpenAI's `/v1/completions` that nothing here does.
pub(crate) fn refuse_text(body: &Value) -> Result<(), ApiError> {
    if field::truth(body, "echo")? == Some(true) {
        return Err(ApiError::unsupported(
            "this server does not echo prompts (\"echo\")",
        ));
    }
    if field::text(body, "suffix")?.is_some_and(|suffix| !suffix.is_empty()) {
        let sentence = "\"suffix\" is not served here; /infill continues between two texts";
        return Err(ApiError::unsupported(sentence.to_string()));
    }
    Ok(())
}
