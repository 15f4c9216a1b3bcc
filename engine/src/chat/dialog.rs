//! A conversation in a model's own template. The keys and values are kept: of each turn only what is new is passed.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::template::Template;
use crate::{
    generate::{Output, PromptError, Step, TopToken},
    sampler::Sampler,
    session::{BATCH, Session},
    tokenizer::Tokenizer,
};

/// A turn that is in the context.
struct Turn {
    user: String,
    /// Where the answer begins in the context.
    answer: usize,
}

/// A conversation.
pub(super) struct Dialog {
    template: Template,
    system: Option<String>,
    think: bool,
    turns: Vec<Turn>,
    /// All tokens that have been passed, of which the cache has keys and values.
    context: Vec<u32>,
    /// The current turn's prompt, and how much of it has been passed.
    prompt: Vec<u32>,
    passed: usize,
    /// Tokens that the model gave and that have not been passed: its last one.
    next: Option<u32>,
    /// Whether the last answer has its end.
    closed: bool,
    /// Whether the answer is over.
    over: bool,
    /// Tokens of the answer so far, and most of one.
    said: usize,
    most: usize,
    seq_len: usize,
    batch: usize,
    passes: usize,
    /// Turns that the context had no more room for, when the current one began.
    dropped: usize,
    top: Option<TopToken>,
    output: Output,
}

impl Dialog {
    pub(super) fn new(
        tokenizer: &Tokenizer,
        template: Template,
        most: usize,
        seq_len: usize,
    ) -> Dialog {
        Dialog {
            template,
            system: None,
            think: true,
            turns: Vec::new(),
            context: Vec::with_capacity(seq_len),
            prompt: Vec::new(),
            passed: 0,
            next: None,
            closed: true,
            over: true,
            said: 0,
            most,
            seq_len,
            batch: BATCH,
            passes: 0,
            dropped: 0,
            top: None,
            output: Output::new(tokenizer, 1),
        }
    }

    pub(super) fn template(&self) -> &Template {
        &self.template
    }

    pub(super) fn set_stops(&mut self, stops: &[String]) {
        self.output.set_stops(stops);
    }

    pub(super) fn set_thinking(&mut self, think: bool) {
        self.think = think;
    }

    /// See [`super::Chat::begin_turn`].
    pub(super) fn begin_turn(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        if self.turns.is_empty() {
            // Those who type nothing leave it to the model's maker.
            self.system = (!system.is_empty()).then(|| system.to_string());
        }
        // Room for an answer, or what there can be.
        let room = self.seq_len.saturating_sub((self.seq_len / 4).min(256));
        let added = if self.turns.is_empty() {
            self.opening(tokenizer, user)
        } else {
            self.addition(tokenizer, user)
        };
        if self.context.len() + added.len() <= room {
            self.dropped = 0;
            self.begin(user, added);
            return Ok(());
        }
        // The oldest turns go, the system prompt stays.
        for dropped in 1..self.turns.len() {
            let kept = &self.turns[dropped];
            let mut prompt = self.opening(tokenizer, &kept.user);
            let shift = prompt.len();
            prompt.extend_from_slice(&self.context[kept.answer..]);
            prompt.extend_from_slice(&added);
            if prompt.len() <= room {
                let from = kept.answer;
                self.turns.drain(..dropped);
                for turn in &mut self.turns {
                    turn.answer = turn.answer - from + shift;
                }
                self.dropped = dropped;
                self.context.clear();
                self.begin(user, prompt);
                return Ok(());
            }
        }
        let alone = self.opening(tokenizer, user);
        if alone.len() >= self.seq_len {
            return Err(PromptError::TooLong {
                tokens: alone.len(),
                left: self.seq_len.saturating_sub(1),
            });
        }
        self.dropped = self.turns.len();
        self.turns.clear();
        self.context.clear();
        self.begin(user, alone);
        Ok(())
    }

    /// The first turn's tokens.
    fn opening(&self, tokenizer: &Tokenizer, user: &str) -> Vec<u32> {
        let fragments = self
            .template
            .first(self.system.as_deref(), user, self.think);
        let mut tokens: Vec<u32> = tokenizer.bos().into_iter().collect();
        tokenizer.encode_marked(&fragments, &mut tokens);
        tokens
    }

    /// A later turn's tokens, the model's last one before them.
    fn addition(&self, tokenizer: &Tokenizer, user: &str) -> Vec<u32> {
        let mut tokens: Vec<u32> = self.next.into_iter().collect();
        let fragments = self.template.next(self.closed, user, self.think);
        tokenizer.encode_marked(&fragments, &mut tokens);
        tokens
    }

    fn begin(&mut self, user: &str, prompt: Vec<u32>) {
        self.turns.push(Turn {
            user: user.into(),
            answer: self.context.len() + prompt.len(),
        });
        self.prompt = prompt;
        self.passed = 0;
        self.next = None;
        self.closed = false;
        self.over = false;
        self.said = 0;
        self.output.reset();
    }

    pub(super) fn limit_batch(&mut self, tokens: usize) {
        self.batch = tokens.clamp(1, BATCH);
    }

    pub(super) fn step(
        &mut self,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
    ) -> Step<'_> {
        if self.over {
            return Step::TurnOver;
        }
        self.output.clear();
        let position = self.context.len();
        let rest = self.prompt.get(self.passed..).unwrap_or_default();
        let known = rest.len().min(self.batch);
        let (logits, before) = if known > 0 {
            let tokens = &rest[..known];
            self.context.extend_from_slice(tokens);
            self.passed += known;
            self.passes += known;
            let last = tokens[known - 1];
            if known == 1 {
                (session.forward(last, position), last)
            } else {
                (session.prefill(tokens, position), last)
            }
        } else {
            let token = self.next.unwrap_or_default();
            self.context.push(token);
            self.passes += 1;
            (session.forward(token, position), token)
        };
        if position == 0 {
            self.top = Some(TopToken::of(logits));
        }
        if self.passed < self.prompt.len() {
            return Step::Text("");
        }
        if known > 0 {
            sampler.accept(&self.prompt);
        }
        let next = sampler.sample(logits);
        self.next = Some(next);
        self.closed = tokenizer.is_end(next);
        if !self.closed {
            self.said += 1;
            self.output.push(tokenizer.decode(before, next));
        }
        // The next token needs a place, too.
        self.over = self.closed
            || self.output.stopped()
            || self.said >= self.most
            || self.context.len() + 1 >= self.seq_len;
        if self.over {
            self.output.finish();
            self.output.push_prompt(b"\n");
        }
        Step::Text(self.output.text())
    }

    pub(super) fn interrupt(&mut self) {
        self.over = true;
        // A prompt that was not passed whole is not there; what there is of it stays.
        if self.passed < self.prompt.len() {
            self.next = None;
            if let Some(turn) = self.turns.last_mut() {
                turn.answer = self.context.len();
            }
        }
        self.output.reset();
    }

    /// Tokens passed so far.
    pub(super) fn position(&self) -> usize {
        self.passes
    }

    pub(super) fn context(&self) -> &[u32] {
        &self.context
    }

    pub(super) fn top_token(&self) -> Option<TopToken> {
        self.top
    }

    /// What the user should know of the turn that has begun.
    pub(super) fn notice(&self) -> Option<String> {
        let turns = match self.dropped {
            0 => return None,
            1 => "the oldest turn is".to_string(),
            dropped => format!("the {dropped} oldest turns are"),
        };
        Some(format!(
            "the context of {} tokens is full: {turns} forgotten, the system prompt is kept",
            self.seq_len
        ))
    }
}
