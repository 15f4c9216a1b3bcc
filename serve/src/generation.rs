//! A text that is being made for a client, and what is known of it.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;

use llama2_engine::{
    event::{EndReason, Event, Tokens},
    generate::Moment,
    tokenizer::Tokenizer,
};
use serde_json::{Value, json};

use crate::params::Params;

/// Number of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(pub u64);

/// A prompt that is to be continued.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// Its number.
    pub id: TaskId,
    /// Its place among those of the request.
    pub index: usize,
    /// Tokens to continue: at least one.
    pub prompt: Vec<u32>,
    /// The text begins inside of reasoning, or not; `None`: it has none.
    pub reasoning: Option<bool>,
    /// How it is continued.
    pub params: Params,
    /// A task with the same prompt that goes first, so that the prompt is read once.
    pub after: Option<TaskId>,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The model ended it.
    End,
    /// A stop string.
    Word,
    /// As many tokens as were asked for, or as there is room for.
    Limit,
}

impl Stop {
    /// llama-server's word.
    pub fn name(self) -> &'static str {
        match self {
            Stop::End => "eos",
            Stop::Word => "word",
            Stop::Limit => "limit",
        }
    }

    /// OpenAI's word.
    pub fn openai(self) -> &'static str {
        match self {
            Stop::End | Stop::Word => "stop",
            Stop::Limit => "length",
        }
    }
}

/// Token with its probability and the most likely ones at its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenProbs {
    token: u32,
    own: f32,
    top: Vec<(u32, f32)>,
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Piece {
    /// Whole characters; may be none.
    pub text: String,
    /// True for reasoning.
    pub is_reasoning: bool,
    /// Tokens that end in it.
    pub tokens: Vec<u32>,
    /// Their probabilities, where asked for.
    pub probs: Vec<TokenProbs>,
    /// True for the first one.
    pub is_first: bool,
}

/// Event of a generation.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// More of the prompt has been read; told where asked for.
    Progress,
    /// A piece of the answer.
    Piece(Piece),
    /// The end: see [`Generation::stop`] and [`Generation::failure`].
    End,
}

/// A task under way.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The task.
    pub task: Task,
    /// Slot that it runs in.
    pub slot: usize,
    /// The answer so far.
    pub content: String,
    /// Its reasoning so far.
    pub reasoning: String,
    /// Its tokens so far.
    pub tokens: Vec<u32>,
    /// Their probabilities, where asked for.
    pub probs: Vec<TokenProbs>,
    /// Tokens that were drawn, one that ended the text included.
    pub drawn: usize,
    /// Tokens that were guessed, and how many of them were right.
    pub guesses: (usize, usize),
    /// Tokens that were drawn before the context was shifted last.
    pub forgotten: usize,
    /// Tokens of the prompt that the cache held.
    pub reused: usize,
    /// Tokens of the prompt that have been read.
    pub read: usize,
    /// Why it ended, once it has.
    pub stop: Option<Stop>,
    /// True if it was ended by the end of its context, or its context lost its older half.
    pub is_truncated: bool,
    /// The stop string that ended it.
    pub stop_word: String,
    /// Why it failed.
    pub failure: Option<&'static str>,
    begun: Duration,
    read_at: Duration,
    first_at: Option<Duration>,
    last_at: Duration,
    news: Vec<News>,
}

impl Generation {
    /// A task that begins now in a slot.
    pub fn new(task: Task, slot: usize, reused: usize, now: Duration) -> Generation {
        let news = match task.params.returns_progress {
            true => alloc::vec![News::Progress],
            false => Vec::new(),
        };
        Generation {
            content: String::new(),
            reasoning: String::new(),
            task,
            slot,
            tokens: Vec::new(),
            probs: Vec::new(),
            drawn: 0,
            guesses: (0, 0),
            forgotten: 0,
            reused,
            read: 0,
            stop: None,
            is_truncated: false,
            stop_word: String::new(),
            failure: None,
            begun: now,
            read_at: now,
            first_at: None,
            last_at: now,
            news,
        }
    }

    /// Takes an event of its sequence.
    pub fn take(&mut self, event: Event<'_>, now: Duration) {
        match event {
            // Behind the first token it is a context that was shifted.
            Event::PromptRead { done, .. } if self.first_at.is_none() => {
                self.read = done;
                self.read_at = now;
                if self.task.params.returns_progress {
                    self.news.push(News::Progress);
                }
            }
            Event::PromptRead { .. } => (),
            Event::Reasoning { text, tokens } => self.add(text, true, tokens, now),
            Event::Text { text, tokens } => self.add(text, false, tokens, now),
            Event::End(reason) => {
                self.stop = Some(match reason {
                    EndReason::EndToken => Stop::End,
                    EndReason::StopString => Stop::Word,
                    _ => Stop::Limit,
                });
                self.is_truncated |= reason == EndReason::ContextFull;
                if reason == EndReason::NotNumbers {
                    self.failure = Some(
                        "the model computed no numbers (NaN or infinite): its file is damaged",
                    );
                }
            }
        }
    }

    fn add(&mut self, text: &str, is_reasoning: bool, tokens: Tokens<'_>, now: Duration) {
        let is_first = self.first_at.is_none();
        self.first_at.get_or_insert(now);
        self.last_at = now;
        match is_reasoning {
            true => self.reasoning.push_str(text),
            false => self.content.push_str(text),
        }
        self.tokens.extend(tokens.ids);
        let each = tokens.top.len() / tokens.logprobs.len().max(1);
        let probs: Vec<TokenProbs> = (0..)
            .zip(tokens.ids.iter().zip(tokens.logprobs))
            .map(|(place, (&token, &own)): (usize, _)| TokenProbs {
                token,
                own,
                top: tokens.top[place * each..(place + 1) * each].to_vec(),
            })
            .collect();
        if !self.task.params.streams {
            self.probs.extend(probs);
            return;
        }
        self.news.push(News::Piece(Piece {
            text: text.to_string(),
            is_reasoning,
            tokens: tokens.ids.to_vec(),
            probs,
            is_first,
        }));
    }

    /// Takes note of how many tokens were drawn; at the first one the prompt has been read.
    pub fn count(&mut self, drawn: usize, now: Duration) {
        if drawn > self.drawn {
            self.first_at.get_or_insert(now);
            self.last_at = now;
            self.drawn = drawn;
        }
    }

    /// Notes that it is over.
    pub fn finish(&mut self) {
        self.news.push(News::End);
    }

    /// Takes the events since this was asked last.
    pub fn news(&mut self) -> Vec<News> {
        core::mem::take(&mut self.news)
    }

    /// Tokens of the prompt.
    pub fn prompt_len(&self) -> usize {
        self.task.prompt.len()
    }

    /// Milliseconds in which the prompt was read, and in which tokens were drawn after the first.
    pub fn times(&self) -> (f64, f64) {
        let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
        let first = self.first_at.unwrap_or(self.read_at);
        let made = self.last_at.saturating_sub(first);
        (ms(first.saturating_sub(self.begun)), ms(made))
    }

    /// Milliseconds since it began.
    pub fn since_begun(&self) -> f64 {
        self.read_at.saturating_sub(self.begun).as_secs_f64() * 1e3
    }

    /// Tells whether the time that drawing may take is over, and a line has ended.
    pub fn is_late(&self) -> bool {
        let most = self.task.params.most_ms.map(Duration::from_millis);
        let took = self
            .first_at
            .map(|first| self.last_at.saturating_sub(first));
        let is_late = matches!((most, took), (Some(most), Some(took)) if took > most);
        is_late && self.content.contains('\n')
    }

    /// Tokens of the context that the cache holds at the end.
    pub fn cached(&self) -> usize {
        self.prompt_len() + self.drawn.saturating_sub(1)
    }

    /// llama-server's `timings`.
    pub fn timings(&self) -> Value {
        let (prompt_ms, made_ms) = self.times();
        // The first token comes of the prompt's logits.
        let steps = self.drawn.saturating_sub(1);
        let rate = |count: usize, ms: f64| match ms > 0.0 {
            true => count as f64 * 1e3 / ms,
            false => 0.0,
        };
        let each = |count: usize, ms: f64| match count {
            0 => 0.0,
            count => ms / count as f64,
        };
        let mut timings = json!({
            "cache_n": self.reused,
            "prompt_n": self.read,
            "prompt_ms": prompt_ms,
            "prompt_per_token_ms": each(self.read, prompt_ms),
            "prompt_per_second": rate(self.read, prompt_ms),
            "predicted_n": self.drawn,
            "predicted_ms": made_ms,
            "predicted_per_token_ms": each(steps, made_ms),
            "predicted_per_second": rate(steps, made_ms),
        });
        if let (Value::Object(timings), (guessed @ 1.., right)) = (&mut timings, self.guesses) {
            timings.insert("draft_n".into(), guessed.into());
            timings.insert("draft_n_accepted".into(), right.into());
        }
        timings
    }

    /// llama-server's `prompt_progress`.
    pub fn progress(&self) -> Value {
        json!({
            "total": self.prompt_len(),
            "cache": self.reused,
            "processed": self.reused + self.read,
            "time_ms": self.since_begun() as u64,
        })
    }

    /// OpenAI's `usage`.
    pub fn usage(&self) -> Value {
        json!({
            "completion_tokens": self.drawn,
            "prompt_tokens": self.prompt_len(),
            "total_tokens": self.drawn + self.prompt_len(),
            "prompt_tokens_details": { "cached_tokens": self.reused },
        })
    }

    /// Probabilities as llama-server and OpenAI write them.
    pub fn probs_json(&self, probs: &[TokenProbs], tokenizer: &Tokenizer) -> Value {
        let after = self.task.params.moment == Moment::AfterSampling;
        let (one, all) = match after {
            true => ("prob", "top_probs"),
            false => ("logprob", "top_logprobs"),
        };
        let entry = |token: u32, value: f32| {
            let bytes = piece(tokenizer, token);
            json!({
                "id": token,
                "token": String::from_utf8_lossy(bytes),
                "bytes": bytes,
                // JSON has no infinity.
                one: value.max(f32::MIN),
            })
        };
        probs
            .iter()
            .map(|own| {
                let mut object = entry(own.token, own.own);
                let top = own.top.iter().filter(|(_, p)| !after || *p > 0.0);
                object[all] = top.map(|&(token, value)| entry(token, value)).collect();
                object
            })
            .collect()
    }
}

/// Bytes of a token: a special one's name, and a space at the beginning of a word.
pub(crate) fn piece(tokenizer: &Tokenizer, token: u32) -> &[u8] {
    match tokenizer.is_special(token) || tokenizer.bos() == Some(token) || tokenizer.is_end(token) {
        true => tokenizer.name(token),
        // Behind itself: behind BOS a space would be dropped.
        false => tokenizer.decode(token, token),
    }
}

/// Text of tokens, names of special ones included.
pub(crate) fn detokenize(tokenizer: &Tokenizer, tokens: &[u32]) -> String {
    let bytes: Vec<u8> = tokens
        .iter()
        .flat_map(|&token| piece(tokenizer, token))
        .copied()
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}
