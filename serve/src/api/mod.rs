//! Addresses, and what is answered at each.

mod chat;
mod completion;
mod messages;
mod ollama;
mod responses;
mod slots;
mod status;
mod tokens;

use alloc::{boxed::Box, format, string::String, vec::Vec};

use llama2_engine::session::Session;
use serde_json::Value;

use crate::{
    error::{ApiError, Kind},
    field,
    generation::{Task, TaskId},
    http::{Request, Response},
    job::{Format, Job, random_id},
    machine::Machine,
    params::Params,
    state::ServerState,
};

/// Most texts of a request.
const MOST_TASKS: usize = 128;
/// Tasks that wait before further requests are refused.
const MOST_WAITING: usize = 1024;

/// Result of a request.
pub(crate) enum Outcome {
    /// An answer at once.
    Now(Response),
    /// Generations.
    Job(Job),
}

/// A request, and all that answers it.
pub(crate) struct Call<'c, 't, 's, 'm> {
    /// The server.
    pub state: &'c mut ServerState<'t>,
    /// The model's memory.
    pub session: Option<&'s mut Session<'m>>,
    /// The machine.
    pub machine: &'c mut dyn Machine,
    /// The request.
    pub request: &'c Request,
}

/// A JSON answer.
pub(crate) fn json(status: u16, value: &Value) -> Response {
    let body = serde_json::to_vec(value).unwrap_or_default();
    Response::new(status, "application/json; charset=utf-8", body)
}

/// An error as an answer, in the shape of the interface that an address belongs to.
pub(crate) fn error_response(path: &str, error: &ApiError) -> Response {
    let value = match path {
        path if path.starts_with("/api/") => ollama::error(error),
        path if path.starts_with("/v1/messages") => messages::error(error),
        _ => error.openai(),
    };
    json(error.kind.status(), &value)
}

/// Tells whether an address needs no model.
pub(crate) fn answers_asleep(path: &str) -> bool {
    methods(path) == Some(&["GET"]) || path == "/props" || methods(path).is_none()
}

/// Methods that an address has.
pub(crate) fn methods(path: &str) -> Option<&'static [&'static str]> {
    const GET: &[&str] = &["GET"];
    const POST: &[&str] = &["POST"];
    Some(match path {
        "/health" | "/v1/health" | "/models" | "/v1/models" | "/api/tags" | "/api/version"
        | "/api/ps" | "/metrics" | "/slots" | "/lora-adapters" => GET,
        "/props" => &["GET", "POST"],
        "/completion"
        | "/completions"
        | "/v1/completions"
        | "/chat/completions"
        | "/v1/chat/completions"
        | "/infill"
        | "/tokenize"
        | "/detokenize"
        | "/apply-template"
        | "/responses"
        | "/v1/responses"
        | "/v1/messages"
        | "/v1/messages/count_tokens"
        | "/chat/completions/input_tokens"
        | "/v1/chat/completions/input_tokens"
        | "/responses/input_tokens"
        | "/v1/responses/input_tokens"
        | "/api/show"
        | "/api/chat"
        | "/api/generate" => POST,
        "/embedding"
        | "/embeddings"
        | "/v1/embeddings"
        | "/rerank"
        | "/reranking"
        | "/v1/rerank"
        | "/v1/reranking"
        | "/api/embed"
        | "/api/embeddings"
        | "/api/pull"
        | "/api/push"
        | "/api/create"
        | "/api/copy"
        | "/v1/audio/transcriptions"
        | "/v1/images/generations"
        | "/tools" => POST,
        "/api/delete" => &["DELETE"],
        path if path.starts_with("/slots/") => POST,
        path if path.starts_with("/v1/models/") => GET,
        _ => return None,
    })
}

/// Answers a request whose key has been checked.
///
/// # Errors
/// The request's fault.
pub(crate) fn answer(call: &mut Call<'_, '_, '_, '_>) -> Result<Outcome, ApiError> {
    let request = call.request;
    let path = &request.path[..];
    let Some(allowed) = methods(path) else {
        return Err(ApiError::new(Kind::NotFound, "File Not Found"));
    };
    let method = match &request.method[..] {
        "HEAD" => "GET",
        method => method,
    };
    if !allowed.contains(&method) {
        let sentence = format!("{path} has {}, not {method}", allowed.join(" and "));
        return Err(ApiError::new(Kind::Method, sentence));
    }
    let now = |value: Value| Ok(Outcome::Now(json(200, &value)));
    match path {
        "/health" | "/v1/health" => now(status::health()),
        "/models" | "/v1/models" => now(status::models(call.state)),
        "/props" if method == "POST" => Err(ApiError::unsupported(
            "this server's properties cannot be changed",
        )),
        "/props" => now(status::props(call.state)),
        "/slots" => now(slots::list(call.state)?),
        "/metrics" => status::metrics(call.state).map(Outcome::Now),
        "/lora-adapters" => now(Value::Array(Vec::new())),
        "/tokenize" => now(tokens::tokenize(call.state, &body(request)?)?),
        "/detokenize" => now(tokens::detokenize(call.state, &body(request)?)?),
        "/apply-template" => now(tokens::apply_template(call.state, &body(request)?)?),
        "/chat/completions/input_tokens" | "/v1/chat/completions/input_tokens" => {
            now(tokens::count_chat(call.state, &body(request)?)?)
        }
        "/completion" | "/completions" => native(call).map(Outcome::Job),
        "/v1/completions" => openai_text(call).map(Outcome::Job),
        "/chat/completions" | "/v1/chat/completions" => openai_chat(call).map(Outcome::Job),
        "/infill" => infill(call).map(Outcome::Job),
        "/responses" | "/v1/responses" => responses::create(call).map(Outcome::Job),
        "/responses/input_tokens" | "/v1/responses/input_tokens" => {
            now(responses::count(call.state, body(request)?)?)
        }
        "/v1/messages" => messages::create(call).map(Outcome::Job),
        "/v1/messages/count_tokens" => now(messages::count(call.state, body(request)?)?),
        path if path.starts_with("/api/") => ollama::answer(call, path),
        path if path.starts_with("/slots/") => {
            let number = path["/slots/".len()..].parse().ok();
            now(slots::act(call, number)?)
        }
        path if path.starts_with("/v1/models/") => {
            now(status::model(call.state, &path["/v1/models/".len()..])?)
        }
        path => Err(ApiError::unsupported(format!(
            "this server does not serve {path}"
        ))),
    }
}

/// The request's body.
fn body(request: &Request) -> Result<Value, ApiError> {
    field::object(&request.body)
}

/// A prompt that is to be continued.
pub(crate) struct Prompt {
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Reasoning is told from the answer, which begins inside of it or not.
    pub reasoning: Option<bool>,
}

impl From<Vec<u32>> for Prompt {
    fn from(tokens: Vec<u32>) -> Prompt {
        Prompt {
            tokens,
            reasoning: None,
        }
    }
}

impl Call<'_, '_, '_, '_> {
    /// An id by chance.
    pub fn id(&mut self, word: &str) -> String {
        random_id(word, &mut || self.machine.random())
    }

    /// Queues `count` continuations of each prompt.
    ///
    /// # Errors
    /// If a prompt has more tokens than the context has places, or a slot does not exist.
    pub fn job(
        &mut self,
        prompts: Vec<Prompt>,
        count: usize,
        params: &Params,
        format: Box<dyn Format>,
    ) -> Result<Job, ApiError> {
        let seq_len = self.state.scheduler.seq_len();
        for prompt in &prompts {
            let tokens = prompt.tokens.len();
            if tokens >= seq_len {
                return Err(ApiError::too_long(tokens, seq_len));
            }
        }
        let slots = self.state.scheduler.slots().len();
        if let Some(slot) = params.slot.filter(|&slot| slot >= slots) {
            let sentence = format!("there is no slot {slot}, only 0 to {}", slots - 1);
            return Err(ApiError::invalid(sentence));
        }
        if !(1..=slots).contains(&count) {
            let sentence = format!("\"n\" is {count}, but this server has 1 to {slots} slots");
            return Err(ApiError::invalid(sentence));
        }
        let wanted = prompts.len().saturating_mul(count);
        check_count(wanted)?;
        // A context that is shifted is never full: only the request's own limit counts.
        let room = match (self.state.config.shifts_context, params.most) {
            (true, Some(most)) => most,
            _ => seq_len,
        };
        params.check_answers(wanted, room)?;
        if self.state.scheduler.waiting() > MOST_WAITING {
            let sentence = format!("{MOST_WAITING} requests wait already: try again later");
            return Err(ApiError::new(Kind::Unavailable, sentence));
        }
        let mut tasks: Vec<TaskId> = Vec::new();
        for prompt in prompts {
            let first = self.state.next_task();
            for copy in 0..count {
                let id = match copy {
                    0 => first,
                    _ => self.state.next_task(),
                };
                let mut params = params.clone();
                // Choices of one prompt differ.
                params.seed = params.seed.map(|seed| seed.wrapping_add(copy as u32));
                self.state.scheduler.push(Task {
                    id,
                    index: tasks.len(),
                    prompt: prompt.tokens.clone(),
                    reasoning: prompt.reasoning,
                    params,
                    after: (copy > 0).then_some(first),
                });
                tasks.push(id);
            }
        }
        Ok(Job {
            tasks,
            ended: Vec::new(),
            format,
            streams: params.streams,
        })
    }
}

/// Checks how many texts a request asks for.
fn check_count(wanted: usize) -> Result<(), ApiError> {
    match wanted > MOST_TASKS {
        true => Err(ApiError::invalid(format!(
            "{wanted} texts were asked for, but at most {MOST_TASKS} are made"
        ))),
        false => Ok(()),
    }
}

/// How many choices are asked for.
fn choices(body: &Value) -> Result<usize, ApiError> {
    for name in ["n_cmpl", "n"] {
        if let Some(count) = field::whole(body, name)? {
            return Ok(usize::try_from(count).unwrap_or(0));
        }
    }
    Ok(1)
}

fn texts(call: &Call<'_, '_, '_, '_>, body: &Value) -> Result<Vec<Prompt>, ApiError> {
    let Some(prompt) = field::get(body, "prompt") else {
        return Err(ApiError::invalid("\"prompt\" is missing"));
    };
    let bytes = completion::prompt_bytes(prompt);
    check_count(bytes.len())?;
    call.state.check_prompts(bytes.into_iter())?;
    let prompts = completion::prompts(prompt, call.state.tokenizer)?;
    Ok(prompts.into_iter().map(Prompt::from).collect())
}

fn native(call: &mut Call<'_, '_, '_, '_>) -> Result<Job, ApiError> {
    let body = body(call.request)?;
    chat::refuse(&body)?;
    let params = Params::read(&body, &call.state.config, call.state.tokenizer)?;
    let prompts = texts(call, &body)?;
    call.job(
        prompts,
        choices(&body)?,
        &params,
        Box::new(completion::Native),
    )
}

fn openai_text(call: &mut Call<'_, '_, '_, '_>) -> Result<Job, ApiError> {
    let body = body(call.request)?;
    completion::refuse_text(&body)?;
    chat::refuse(&body)?;
    let params = Params::read(&body, &call.state.config, call.state.tokenizer)?;
    let prompts = texts(call, &body)?;
    let id = call.id("cmpl-");
    let format = Box::new(completion::OpenAiText { id });
    call.job(prompts, choices(&body)?, &params, format)
}

/// A conversation's prompt.
pub(crate) fn chat_prompt(state: &ServerState<'_>, body: &Value) -> Result<Prompt, ApiError> {
    state.check_length(chat::text_bytes_of(body))?;
    let conversation = chat::conversation(state, body)?;
    Ok(Prompt {
        tokens: conversation.rendered.tokens,
        reasoning: conversation.reasoning,
    })
}

fn openai_chat(call: &mut Call<'_, '_, '_, '_>) -> Result<Job, ApiError> {
    let body = body(call.request)?;
    chat::refuse(&body)?;
    if field::get(&body, "top_logprobs").is_some()
        && !matches!(field::get(&body, "logprobs"), Some(Value::Bool(true)))
    {
        let sentence = "top_logprobs requires logprobs to be set to true";
        return Err(ApiError::invalid(sentence));
    }
    let params = Params::read(&body, &call.state.config, call.state.tokenizer)?;
    let prompt = chat_prompt(call.state, &body)?;
    let count = choices(&body)?;
    let id = call.id("chatcmpl-");
    let format = Box::new(chat::OpenAiChat::new(id, count));
    call.job(alloc::vec![prompt], count, &params, format)
}

/// Text between two others, for models that have tokens for it: llama-server's `/infill`.
fn infill(call: &mut Call<'_, '_, '_, '_>) -> Result<Job, ApiError> {
    let body = body(call.request)?;
    chat::refuse(&body)?;
    let params = Params::read(&body, &call.state.config, call.state.tokenizer)?;
    let tokens = tokens::infill(call.state, &body, &params)?;
    call.job(
        alloc::vec![tokens.into()],
        choices(&body)?,
        &params,
        Box::new(completion::Native),
    )
}
