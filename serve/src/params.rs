//! Parameters besides the prompt: llama-server's fields of `/completion`, which all
//! interfaces are translated to.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_engine::{generate::Moment, sampler::SamplerParams, tokenizer::Tokenizer};
use llama2_settings::{Domain, MOST_BIASES, Param};
use serde_json::{Map, Value, json};

use crate::{
    config::Config,
    error::ApiError,
    field::{self, get},
};

/// Most stop strings, and most bytes of one.
const MOST_STOPS: usize = 64;
const LONGEST_STOP: usize = 1024;

/// Most log-probabilities for each token.
const MOST_PROBS: i64 = 100;

/// Most entries of a request's answers that are not its texts: probabilities, which stay in memory
/// until the answer is whole, and biases, which each answer states. Each is about a KiB of JSON.
const MOST_ENTRIES: usize = 50_000;

/// How an answer is made and told.
#[derive(Debug, Clone)]
pub(crate) struct Params {
    /// How tokens are drawn.
    pub sampling: SamplerParams,
    /// Seed of the draws; `None`: one by chance.
    pub seed: Option<u32>,
    /// Most tokens; `None`: as many as the context holds.
    pub most: Option<usize>,
    /// Texts that DRY's repetitions never go across.
    pub breakers: Vec<String>,
    /// Strings that end the answer.
    pub stops: Vec<String>,
    /// How many of the most likely tokens are told at each place; 0: no probabilities.
    pub probs: usize,
    /// Which probabilities.
    pub moment: Moment,
    /// True if what the slot's cache holds is used.
    pub uses_cache: bool,
    /// The slot to take.
    pub slot: Option<usize>,
    /// The answer comes piece by piece.
    pub streams: bool,
    /// A stream ends with the count of tokens.
    pub counts: bool,
    /// The answer has the tokens' numbers.
    pub returns_tokens: bool,
    /// A stream tells how much of the prompt has been read.
    pub returns_progress: bool,
    /// Each piece has the timings.
    pub times_tokens: bool,
    /// Tokens that end texts are never drawn.
    pub ignores_end: bool,
    /// Fields of `/completion`'s answer; all if none is named.
    pub fields: Vec<String>,
    /// How the answer came about is told.
    pub is_verbose: bool,
    /// Milliseconds after the first token from which on an answer ends at a line's end.
    pub most_ms: Option<u64>,
    /// Tokens at the beginning that a full context keeps.
    pub keeps: usize,
    /// Tokens behind them that it drops; `None`: half of them.
    pub discards: Option<usize>,
    /// Reasoning is told apart from the answer.
    pub splits_reasoning: bool,
}

/// Texts that DRY's repetitions never go across, unless a request names others: llama-server's.
const BREAKERS: [&str; 4] = ["\n", ":", "\"", "*"];

/// Most such texts, most tokens that may begin one, and most tokens that DRY considers.
const MOST_BREAKERS: usize = 16;
const MOST_BEGINNINGS: usize = 32_768;
const MOST_DRY: i64 = 65_536;

/// Fields that constrain an answer, which must not be ignored.
const CONSTRAINTS: [(&str, &str); 4] = [
    ("grammar", "grammars"),
    ("json_schema", "JSON schemas"),
    ("lora", "LoRA adapters"),
    ("multimodal_data", "images and sounds"),
];

impl Params {
    /// Parameters where a request says nothing.
    pub fn defaults(config: &Config) -> Params {
        Params {
            sampling: config.sampling.clone(),
            seed: config.seed,
            most: config.most_tokens,
            breakers: BREAKERS.map(String::from).into(),
            stops: Vec::new(),
            probs: 0,
            moment: Moment::BeforeSampling,
            uses_cache: true,
            slot: None,
            streams: false,
            counts: false,
            returns_tokens: false,
            returns_progress: false,
            times_tokens: false,
            ignores_end: false,
            fields: Vec::new(),
            is_verbose: config.is_verbose,
            most_ms: None,
            keeps: 0,
            discards: None,
            splits_reasoning: config.splits_reasoning,
        }
    }

    /// Reads the fields of a request.
    ///
    /// # Errors
    /// The first field that is wrong, or that asks for something that the server has not.
    pub fn read(body: &Value, config: &Config, tokenizer: &Tokenizer) -> Result<Params, ApiError> {
        refuse(body)?;
        let mut params = Params::defaults(config);
        for (param, _) in Param::samplers() {
            let name = param.spec().api.llama_server;
            if let Some(value) = field::number(body, name)? {
                params.sampling[param] = in_range(param, name, value)?;
            }
        }
        read_bias(body, tokenizer, &mut params.sampling)?;
        params.read_dry(body)?;
        if let Some(seed) = field::whole(body, "seed")? {
            // -1 is a seed by chance, in 32 bits or in 64.
            params.seed = (seed != -1 && seed != i64::from(u32::MAX)).then_some(seed as u32);
        }
        for name in ["max_tokens", "max_completion_tokens", "n_predict"] {
            match field::whole(body, name)? {
                Some(most) if most >= 0 => params.most = Some(most as usize),
                Some(-1) => params.most = None,
                Some(most) => {
                    let sentence = format!("\"{name}\" is {most}, but must be -1 or more");
                    return Err(ApiError::invalid(sentence));
                }
                None => (),
            }
        }
        params.stops = field::texts(body, "stop")?;
        // Each token is looked at with all of them.
        let is_long = |stop: &String| stop.len() > LONGEST_STOP;
        if params.stops.len() > MOST_STOPS || params.stops.iter().any(is_long) {
            return Err(ApiError::invalid(format!(
                "\"stop\" may have {MOST_STOPS} texts of {LONGEST_STOP} bytes"
            )));
        }
        params.read_probs(body)?;
        for (name, value) in [
            ("cache_prompt", &mut params.uses_cache),
            ("stream", &mut params.streams),
            ("return_tokens", &mut params.returns_tokens),
            ("return_progress", &mut params.returns_progress),
            ("timings_per_token", &mut params.times_tokens),
            ("ignore_eos", &mut params.ignores_end),
            ("verbose", &mut params.is_verbose),
        ] {
            if let Some(wanted) = field::truth(body, name)? {
                *value = wanted;
            }
        }
        if let Some(options) = get(body, "stream_options") {
            params.counts = field::truth(options, "include_usage")?.unwrap_or(false);
        }
        let slot = field::whole(body, "id_slot")?;
        params.slot = slot.filter(|&slot| slot >= 0).map(|slot| slot as usize);
        params.fields = field::texts(body, "response_fields")?;
        let most_ms = field::whole(body, "t_max_predict_ms")?;
        params.most_ms = most_ms.filter(|&ms| ms >= 0).map(|ms| ms as u64);
        let keeps = field::whole(body, "n_keep")?.unwrap_or(0);
        params.keeps = usize::try_from(keeps).unwrap_or(usize::MAX);
        let discards = field::whole(body, "n_discard")?;
        params.discards = discards.filter(|&n| n > 0).map(|n| n as usize);
        if let Some(format) = field::text(body, "reasoning_format")? {
            params.splits_reasoning = format != "none";
        }
        if params.ignores_end {
            let ends = (0..tokenizer.vocab_size() as u32).filter(|&token| tokenizer.is_end(token));
            params
                .sampling
                .bias
                .extend(ends.map(|end| (end, f32::NEG_INFINITY)));
        }
        Ok(params)
    }

    /// DRY's parameters.
    fn read_dry(&mut self, body: &Value) -> Result<(), ApiError> {
        let dry = &mut self.sampling.dry;
        if let Some(multiplier) = field::number(body, "dry_multiplier")? {
            dry.multiplier = multiplier as f32;
        }
        // A smaller base stands for the usual one, as in llama-server.
        if let Some(base) = field::number(body, "dry_base")?.filter(|base| *base >= 1.0) {
            dry.base = base as f32;
        }
        if !dry.multiplier.is_finite() || !dry.base.is_finite() {
            let sentence = "\"dry_multiplier\" or \"dry_base\" is too large";
            return Err(ApiError::invalid(sentence));
        }
        for (name, value) in [
            ("dry_allowed_length", &mut dry.allowed),
            ("dry_penalty_last_n", &mut dry.last),
        ] {
            match field::whole(body, name)? {
                Some(count @ 0..) => *value = count.min(MOST_DRY) as usize,
                // The whole context.
                Some(-1) => *value = MOST_DRY as usize,
                Some(count) => {
                    let sentence = format!("\"{name}\" is {count}, but must be -1 or more");
                    return Err(ApiError::invalid(sentence));
                }
                None => (),
            }
        }
        if get(body, "dry_sequence_breakers").is_some() {
            self.breakers = field::texts(body, "dry_sequence_breakers")?;
            if self.breakers.is_empty() || self.breakers.len() > MOST_BREAKERS {
                let sentence =
                    format!("\"dry_sequence_breakers\" must be 1 to {MOST_BREAKERS} texts");
                return Err(ApiError::invalid(sentence));
            }
        }
        Ok(())
    }

    /// The samplers' parameters, complete with what DRY makes of the vocabulary: a request that
    /// waits has not got that yet, because it takes time and memory.
    pub fn sampling(&self, tokenizer: &Tokenizer) -> SamplerParams {
        let mut sampling = self.sampling.clone();
        if sampling.dry.is_active() {
            let tokens = 0..tokenizer.vocab_size() as u32;
            let texts = || tokens.clone().map(|token| tokenizer.decode_first(token));
            let encode = |text: &[u8]| tokenizer.encode(text, false, false);
            let dry = &mut sampling.dry;
            dry.set_breakers(&self.breakers, MOST_BEGINNINGS, texts, encode);
        }
        sampling
    }

    /// Probabilities: llama-server's `n_probs` and OpenAI's two forms of `logprobs`.
    fn read_probs(&mut self, body: &Value) -> Result<(), ApiError> {
        let wanted = match get(body, "logprobs") {
            Some(Value::Bool(true)) => field::whole(body, "top_logprobs")?.or(Some(20)),
            Some(Value::Bool(false)) | None => None,
            Some(_) => field::whole(body, "logprobs")?,
        };
        let wanted = field::whole(body, "n_probs")?.or(wanted).unwrap_or(0);
        if !(0..=MOST_PROBS).contains(&wanted) {
            return Err(ApiError::invalid(format!(
                "probabilities of {wanted} tokens were asked for, but there are 0 to {MOST_PROBS}"
            )));
        }
        self.probs = wanted as usize;
        if field::truth(body, "post_sampling_probs")? == Some(true) {
            self.moment = Moment::AfterSampling;
        }
        Ok(())
    }

    /// Checks that `count` answers, each with `room` for tokens, can be held in memory.
    ///
    /// # Errors
    /// The limit.
    pub fn check_answers(&self, count: usize, room: usize) -> Result<(), ApiError> {
        let most = self.most.unwrap_or(room).min(room);
        // A stream tells them token by token.
        let probs = match self.probs {
            0 => 0,
            _ if self.streams => 0,
            probs => most.saturating_mul(probs + 1),
        };
        let entries = probs.saturating_add(self.sampling.bias.len());
        match entries.saturating_mul(count) > MOST_ENTRIES {
            true => Err(ApiError::invalid(format!(
                "{count} answers of {most} tokens with {} probabilities each, and {} biases, are \
                 more than {MOST_ENTRIES} entries: ask for fewer tokens (\"n_predict\", \
                 \"max_tokens\") or for a stream",
                self.probs,
                self.sampling.bias.len()
            ))),
            false => Ok(()),
        }
    }

    /// Most tokens, as llama-server writes it.
    fn most_json(&self) -> i64 {
        self.most.map_or(-1, |most| most as i64)
    }

    /// llama-server's `generation_settings`.
    pub fn settings(&self) -> Value {
        let (dry, mut all) = (&self.sampling.dry, Map::new());
        all.insert("seed".into(), self.seed.unwrap_or(u32::MAX).into());
        for (param, _) in Param::samplers() {
            let (spec, value) = (param.spec(), self.sampling[param]);
            let is_whole = matches!(spec.domain, Domain::Number { whole: true, .. });
            let value = match is_whole {
                true => json!(value as i64),
                false => json!(value),
            };
            all.insert(spec.api.llama_server.into(), value);
        }
        for (name, value) in [
            ("dry_multiplier", json!(dry.multiplier)),
            ("dry_base", json!(dry.base)),
            ("dry_allowed_length", json!(dry.allowed)),
            ("dry_penalty_last_n", json!(dry.last)),
            ("dry_sequence_breakers", json!(self.breakers)),
            ("adaptive_target", json!(-1.0)),
            ("adaptive_decay", json!(0.9)),
            ("stop", json!(self.stops)),
            ("max_tokens", json!(self.most_json())),
            ("n_predict", json!(self.most_json())),
            ("n_keep", json!(self.keeps)),
            ("n_discard", json!(self.discards.unwrap_or(0))),
            ("ignore_eos", json!(self.ignores_end)),
            ("stream", json!(self.streams)),
            ("logit_bias", self.bias_json()),
            ("n_probs", json!(self.probs)),
            ("min_keep", json!(0)),
            ("grammar", json!("")),
            (
                "samplers",
                json!([
                    "penalties",
                    "dry",
                    "top_n_sigma",
                    "top_k",
                    "typ_p",
                    "top_p",
                    "min_p",
                    "xtc",
                    "temperature"
                ]),
            ),
            ("timings_per_token", json!(self.times_tokens)),
            (
                "post_sampling_probs",
                json!(self.moment == Moment::AfterSampling),
            ),
        ] {
            all.insert(name.into(), value);
        }
        Value::Object(all)
    }

    fn bias_json(&self) -> Value {
        let one = |&(token, bias): &(u32, f32)| {
            // JSON has no infinity.
            json!({ "bias": bias.is_finite().then_some(bias), "token": token })
        };
        self.sampling.bias.iter().map(one).collect()
    }
}

/// Refuses what the server has not: a free text in its place would look like an answer.
fn refuse(body: &Value) -> Result<(), ApiError> {
    for (name, what) in CONSTRAINTS {
        let is_empty = |value: &Value| match value {
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if get(body, name).is_some_and(|value| !is_empty(value)) {
            let sentence = format!("this server has no {what} (\"{name}\")");
            return Err(ApiError::unsupported(sentence));
        }
    }
    // A negative one does nothing.
    if field::number(body, "adaptive_target")?.is_some_and(|target| target >= 0.0) {
        let sentence = "this server's samplers have no \"adaptive_target\"";
        return Err(ApiError::unsupported(sentence));
    }
    Ok(())
}

/// A sampler's parameter in its range; what llama-server means by numbers below it counts.
fn in_range(param: Param, name: &str, value: f64) -> Result<f32, ApiError> {
    let value = match param {
        // None: all are kept.
        Param::TopK | Param::TopNSigma if value < 0.0 => 0.0,
        // The whole context.
        Param::RepeatLastN if value == -1.0 => 65_536.0,
        _ => value as f32,
    };
    match param.spec().check(value) {
        Ok(()) => Ok(value),
        Err(range) => {
            let sentence = format!("\"{name}\" is {value}, but must be {range}");
            Err(ApiError::invalid(sentence))
        }
    }
}

/// Biases: pairs of token or text and number, objects with `token` and `bias`, or an object of
/// both; `false` is a bias that forbids a token.
fn read_bias(
    body: &Value,
    tokenizer: &Tokenizer,
    sampling: &mut SamplerParams,
) -> Result<(), ApiError> {
    let mut add = |key: &Value, bias: &Value| {
        let bias = match bias {
            Value::Bool(false) => f32::NEG_INFINITY,
            other => match other.as_f64() {
                Some(bias) => bias as f32,
                None => return Err(ApiError::invalid("a bias in \"logit_bias\" is no number")),
            },
        };
        let tokens = match key {
            // It would be encoded before its tokens are counted.
            Value::String(text) if text.len() > LONGEST_STOP => {
                let sentence = format!("a text in \"logit_bias\" has over {LONGEST_STOP} bytes");
                return Err(ApiError::invalid(sentence));
            }
            // A text's tokens; a number written as a text is a token.
            Value::String(text) => match text.parse::<u32>() {
                Ok(token) => alloc::vec![field::token(&token.into(), tokenizer.vocab_size())?],
                Err(_) => tokenizer.encode(text.as_bytes(), false, false),
            },
            number => alloc::vec![field::token(number, tokenizer.vocab_size())?],
        };
        if sampling.bias.len() + tokens.len() > MOST_BIASES {
            let sentence = format!("\"logit_bias\" has more than {MOST_BIASES} tokens");
            return Err(ApiError::invalid(sentence));
        }
        sampling
            .bias
            .extend(tokens.into_iter().map(|token| (token, bias)));
        Ok(())
    };
    match get(body, "logit_bias") {
        None => Ok(()),
        Some(Value::Object(pairs)) => pairs
            .iter()
            .try_for_each(|(key, bias)| add(&Value::String(key.to_string()), bias)),
        Some(Value::Array(pairs)) => pairs.iter().try_for_each(|pair| match pair {
            Value::Array(both) if both.len() == 2 => add(&both[0], &both[1]),
            Value::Object(both) if both.contains_key("token") && both.contains_key("bias") => {
                add(&both["token"], &both["bias"])
            }
            _ => Err(ApiError::invalid(
                "\"logit_bias\" must consist of pairs of token and number",
            )),
        }),
        Some(_) => Err(ApiError::invalid(
            "\"logit_bias\" must be an array or an object",
        )),
    }
}
