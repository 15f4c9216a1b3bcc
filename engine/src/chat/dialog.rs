//! A conversation in a model's own template, or, where it has none, a text that both go on from in turns. The keys and values are
//! kept: of each turn only what is new is passed.

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

/// What there was before a turn began: that turn can be taken back.
#[derive(Clone, Copy)]
struct Before {
    context: usize,
    next: Option<u32>,
    closed: bool,
}

/// A conversation.
pub(super) struct Dialog {
    template: Option<Template>,
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
    /// Before the current turn; nothing if the context was laid out anew for it.
    before: Option<Before>,
    /// What the user should know of the turn that has begun.
    notice: Option<String>,
    top: Option<TopToken>,
    output: Output,
}

impl Dialog {
    pub(super) fn new(
        tokenizer: &Tokenizer,
        template: Option<Template>,
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
            before: None,
            notice: None,
            top: None,
            output: Output::new(tokenizer, 1),
        }
    }

    pub(super) fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    pub(super) fn set_stops(&mut self, stops: &[String]) {
        self.output.set_stops(stops);
    }

    pub(super) fn set_thinking(&mut self, think: bool) {
        self.think = think;
    }

    /// See [`super::Chat::fits`].
    pub(super) fn fits(
        &self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        let system = match self.turns.is_empty() {
            true => Some(system),
            false => self.system.as_deref(),
        };
        let system = system.filter(|system| !system.is_empty());
        let tokens = self.opening(tokenizer, system, user).len();
        if tokens < self.seq_len {
            return Ok(());
        }
        Err(PromptError::TooLong {
            tokens,
            left: self.seq_len.saturating_sub(1),
        })
    }

    /// See [`super::Chat::begin_turn`].
    pub(super) fn begin_turn(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        self.fits(tokenizer, system, user)?;
        if !self.over {
            self.interrupt();
        }
        if self.turns.is_empty() {
            // Those who type nothing leave it to the model's maker.
            self.system = (!system.is_empty()).then(|| system.to_string());
        }
        self.notice = None;
        let first = self.opening(tokenizer, self.system.as_deref(), user);
        if self.turns.is_empty() {
            self.begin(user, first);
            return Ok(());
        }
        // Room for an answer, or what there can be.
        let room = self.seq_len.saturating_sub((self.seq_len / 4).min(256));
        let added = self.addition(tokenizer, user);
        if self.context.len() + added.len() <= room {
            self.begin(user, added);
            return Ok(());
        }
        if self.template.is_none() {
            self.begin_with_half(tokenizer, user, &added, room);
            return Ok(());
        }
        // The oldest turns go, the system prompt stays.
        for dropped in 1..self.turns.len() {
            let kept = &self.turns[dropped];
            let mut prompt = self.opening(tokenizer, self.system.as_deref(), &kept.user);
            let shift = prompt.len();
            prompt.extend_from_slice(&self.context[kept.answer..]);
            prompt.extend_from_slice(&added);
            if prompt.len() <= room {
                let from = kept.answer;
                self.turns.drain(..dropped);
                for turn in &mut self.turns {
                    turn.answer = turn.answer - from + shift;
                }
                self.forget(dropped);
                self.begin(user, prompt);
                return Ok(());
            }
        }
        self.forget(self.turns.len());
        self.turns.clear();
        self.begin(user, first);
        Ok(())
    }

    /// Where there are no turns to drop, the older half of what there is room for goes.
    fn begin_with_half(&mut self, tokenizer: &Tokenizer, user: &str, added: &[u32], room: usize) {
        let kept = room.saturating_sub(added.len()) / 2;
        let from = self.context.len() - kept.min(self.context.len());
        let mut prompt: Vec<u32> = tokenizer.bos().into_iter().collect();
        prompt.extend_from_slice(&self.context[from..]);
        prompt.extend_from_slice(added);
        self.notice = Some(format!(
            "the context of {} tokens is full: the text's first {from} are forgotten",
            self.seq_len
        ));
        self.turns.clear();
        self.context.clear();
        self.begin(user, prompt);
    }

    /// Empties the context, and has it said that so many turns are lost.
    fn forget(&mut self, turns: usize) {
        let turns = match turns {
            1 => "the oldest turn is".to_string(),
            turns => format!("the {turns} oldest turns are"),
        };
        let kept = if self.system.is_some() {
            ", the system prompt is kept"
        } else {
            ""
        };
        self.notice = Some(format!(
            "the context of {} tokens is full: {turns} forgotten{kept}",
            self.seq_len
        ));
        self.context.clear();
    }

    /// The first turn's tokens.
    fn opening(&self, tokenizer: &Tokenizer, system: Option<&str>, user: &str) -> Vec<u32> {
        let mut tokens: Vec<u32> = tokenizer.bos().into_iter().collect();
        match &self.template {
            Some(template) => {
                tokenizer.encode_marked(&template.first(system, user, self.think), &mut tokens);
            }
            None => tokens.append(&mut tokenizer.encode(user.as_bytes(), false, false)),
        }
        if tokens.is_empty() {
            tokens.push(tokenizer.start());
        }
        tokens
    }

    /// A later turn's tokens, the model's last one before them.
    fn addition(&self, tokenizer: &Tokenizer, user: &str) -> Vec<u32> {
        let mut tokens: Vec<u32> = self.next.into_iter().collect();
        match &self.template {
            Some(template) => {
                tokenizer.encode_marked(&template.next(self.closed, user, self.think), &mut tokens);
            }
            // Behind a text that is complete another begins.
            None if self.closed => {
                tokens.append(&mut tokenizer.encode(user.as_bytes(), true, false));
            }
            // What is typed stands on a line of its own, as its user sees it; nothing lets the model go on.
            None if !user.is_empty() || tokens.is_empty() => {
                let text = format!("\n{user}");
                tokens.append(&mut tokenizer.encode(text.as_bytes(), false, false));
            }
            None => (),
        }
        if tokens.is_empty() {
            tokens.push(tokenizer.start());
        }
        tokens
    }

    fn begin(&mut self, user: &str, prompt: Vec<u32>) {
        let rebuilt = self.notice.is_some();
        self.before = (!rebuilt).then_some(Before {
            context: self.context.len(),
            next: self.next,
            closed: self.closed,
        });
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
        self.output.reset();
        if self.passed >= self.prompt.len() {
            return;
        }
        // A turn that was not passed whole is taken back. Where the context was laid out anew for it, nothing is left before it.
        match self.before {
            Some(before) => {
                self.turns.pop();
                self.context.truncate(before.context);
                (self.next, self.closed) = (before.next, before.closed);
            }
            None => {
                self.turns.clear();
                self.context.clear();
                (self.next, self.closed) = (None, true);
            }
        }
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

    /// Whether the answer was cut, because the context is full.
    pub(super) fn is_cut(&self) -> bool {
        let full = self.context.len() + 1 >= self.seq_len;
        full && self.over && !self.closed && !self.output.stopped() && self.said < self.most
    }

    pub(super) fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }
}
