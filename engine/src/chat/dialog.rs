//! A conversation in a model's own template, or, where it has none, a text that both go on from in
//! turns. The keys and values are kept: of each turn only what is new is passed.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::template::Template;
use crate::{
    generate::{Output, PromptError, Step, TopToken, are_numbers},
    sampler::Sampler,
    session::{BATCH, Session},
    tokenizer::Tokenizer,
};

/// A turn that is in the context.
struct Turn {
    user: String,
    /// Where the answer begins in the context.
    answer: usize,
    /// What there was before it: it can be taken back.
    before: Before,
}

/// What there was before a turn began.
#[derive(Clone, Copy)]
struct Before {
    context: usize,
    next: Option<u32>,
    closed: bool,
}

/// Before the first turn.
const NOTHING: Before = Before {
    context: 0,
    next: None,
    closed: true,
};

/// A conversation.
pub(super) struct Dialog {
    template: Option<Template>,
    system: Option<String>,
    think: bool,
    turns: Vec<Turn>,
    /// All tokens before the current turn's prompt, and of that what has been passed.
    context: Vec<u32>,
    /// How many of them the cache has keys and values of. The others are passed first.
    cached: usize,
    /// The current turn's prompt, and how much of it has been passed.
    prompt: Vec<u32>,
    passed: usize,
    /// Tokens that were to be passed when the turn began.
    to_pass: usize,
    /// Tokens that the model gave and that have not been passed: its last one.
    next: Option<u32>,
    /// True if the last answer has its end.
    closed: bool,
    /// True if the answer is over.
    over: bool,
    /// True if the model gave what are no numbers.
    broken: bool,
    /// Tokens of the answer so far, and most of one.
    said: usize,
    most: usize,
    seq_len: usize,
    batch: usize,
    passes: usize,
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
            cached: 0,
            prompt: Vec::new(),
            passed: 0,
            to_pass: 0,
            next: None,
            closed: true,
            over: true,
            broken: false,
            said: 0,
            most,
            seq_len,
            batch: BATCH,
            passes: 0,
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

    /// Sets the most tokens of an answer.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
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
        for said in [system.unwrap_or_default(), user] {
            PromptError::check(tokenizer, said.as_bytes())?;
        }
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
            self.begin_with_half(tokenizer, user, added, room);
            return Ok(());
        }
        // The oldest turns go, the system prompt stays.
        for dropped in 1..self.turns.len() {
            let kept = &self.turns[dropped];
            let opening = self.opening(tokenizer, self.system.as_deref(), &kept.user);
            let (from, shift) = (kept.answer, opening.len());
            if shift + self.context.len() - from + added.len() <= room {
                self.turns.drain(..dropped);
                for (number, turn) in self.turns.iter_mut().enumerate() {
                    turn.answer = turn.answer - from + shift;
                    if number == 0 {
                        turn.before = NOTHING;
                    } else {
                        turn.before.context = turn.before.context - from + shift;
                    }
                }
                self.context.splice(..from, opening);
                self.forget(dropped);
                self.begin(user, added);
                return Ok(());
            }
        }
        self.forget(self.turns.len());
        self.restart();
        self.begin(user, first);
        Ok(())
    }

    /// Nothing has been said.
    fn restart(&mut self) {
        self.turns.clear();
        self.context.clear();
        (self.next, self.closed) = (None, true);
        self.cached = 0;
    }

    /// Where there are no turns to drop, the older half of what there is room for goes.
    fn begin_with_half(&mut self, tokenizer: &Tokenizer, user: &str, added: Vec<u32>, room: usize) {
        let kept = room.saturating_sub(added.len()) / 2;
        let from = self.context.len() - kept.min(self.context.len());
        self.notice = Some(format!(
            "the context of {} tokens is full: the text's first {from} are forgotten",
            self.seq_len
        ));
        // Of earlier turns only text is left, which cannot be taken back.
        self.turns.clear();
        self.context.splice(..from, tokenizer.bos());
        self.cached = 0;
        self.begin(user, added);
    }

    /// Has it said that so many turns are lost; what is left stands elsewhere in the context now.
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
        self.cached = 0;
    }

    /// The first turn's tokens.
    fn opening(&self, tokenizer: &Tokenizer, system: Option<&str>, user: &str) -> Vec<u32> {
        // Once, whether the file says that texts begin with it or its template writes it.
        let written = self.template.as_ref().is_some_and(Template::writes_bos);
        let bos = tokenizer.bos().or(tokenizer.begin().filter(|_| written));
        let mut tokens: Vec<u32> = bos.into_iter().collect();
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
            // What is typed stands on a line of its own, as its user sees it; nothing lets the
            // model go on.
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
        self.turns.push(Turn {
            user: user.into(),
            answer: self.context.len() + prompt.len(),
            before: Before {
                context: self.context.len(),
                next: self.next,
                closed: self.closed,
            },
        });
        self.to_pass = self.context.len() - self.cached + prompt.len();
        self.prompt = prompt;
        self.passed = 0;
        self.next = None;
        self.closed = false;
        self.over = false;
        self.said = 0;
        self.output.reset();
    }

    /// Takes the last turn back. Whether there was one.
    pub(super) fn undo(&mut self) -> bool {
        self.over = true;
        self.output.reset();
        let Some(Turn { before, .. }) = self.turns.pop() else {
            return false;
        };
        self.context.truncate(before.context);
        self.cached = self.cached.min(before.context);
        (self.next, self.closed) = (before.next, before.closed);
        true
    }

    /// Goes on from a conversation that was held elsewhere: its questions and answers.
    pub(super) fn recall(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        said: &[(&str, &str)],
    ) -> usize {
        self.over = true;
        self.output.reset();
        self.notice = None;
        self.system = (!system.is_empty()).then(|| system.to_string());
        let room = self.seq_len.saturating_sub((self.seq_len / 4).min(256));
        for dropped in 0..=said.len() {
            self.restart();
            for &(user, answer) in &said[dropped..] {
                let prompt = match self.turns.is_empty() {
                    true => self.opening(tokenizer, self.system.as_deref(), user),
                    false => self.addition(tokenizer, user),
                };
                if self.context.len() + prompt.len() > room {
                    break;
                }
                let before = Before {
                    context: self.context.len(),
                    next: None,
                    closed: self.closed,
                };
                self.context.extend_from_slice(&prompt);
                self.turns.push(Turn {
                    user: user.into(),
                    answer: self.context.len(),
                    before,
                });
                let answer = tokenizer.encode(answer.as_bytes(), false, false);
                if self.context.len() + answer.len() > room {
                    break;
                }
                self.context.extend(answer);
                // The next turn ends this answer.
                self.closed = false;
            }
            let whole = self.turns.len() == said.len() - dropped && self.context.len() <= room;
            let ended = said.len() == dropped || !self.closed;
            if whole && ended {
                return dropped;
            }
        }
        said.len()
    }

    /// Knows that the cache's keys and values are somebody else's now: all is passed again before
    /// the next turn.
    pub(super) fn forget_cache(&mut self) {
        self.cached = 0;
    }

    /// How much of what is to be read before the answer has been, and all of it: tokens.
    pub(super) fn progress(&self) -> (usize, usize) {
        let left = self.context.len() - self.cached + self.prompt.len() - self.passed;
        (self.to_pass.saturating_sub(left), self.to_pass)
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
        if self.cached < self.context.len() {
            return self.catch_up(session);
        }
        let position = self.context.len();
        let rest = self.prompt.get(self.passed..).unwrap_or_default();
        let known = rest.len().min(self.batch);
        let (logits, before) = if known > 0 {
            let tokens = &rest[..known];
            self.context.extend_from_slice(tokens);
            self.passed += known;
            (pass(session, tokens, position), tokens[known - 1])
        } else {
            let token = self.next.unwrap_or_default();
            self.context.push(token);
            (session.forward(token, position), token)
        };
        self.passes += self.context.len() - position;
        self.cached = self.context.len();
        if position == 0 {
            self.top = Some(TopToken::of(logits));
        }
        self.broken = !are_numbers(logits);
        if self.broken {
            self.over = true;
            self.output.finish();
            return Step::Text(self.output.text());
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

    /// One pass over tokens of the context that the cache has nothing of.
    fn catch_up(&mut self, session: &mut Session<'_>) -> Step<'_> {
        let end = self.context.len().min(self.cached + self.batch);
        let logits = pass(session, &self.context[self.cached..end], self.cached);
        if self.cached == 0 {
            self.top = Some(TopToken::of(logits));
        }
        self.passes += end - self.cached;
        self.cached = end;
        Step::Text("")
    }

    pub(super) fn interrupt(&mut self) {
        self.over = true;
        self.output.reset();
        // A turn that was not passed whole is taken back.
        if self.passed < self.prompt.len() {
            self.prompt.clear();
            self.passed = 0;
            self.undo();
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
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

    /// Tells whether the answer was cut, because the context is full.
    pub(super) fn is_cut(&self) -> bool {
        let full = self.context.len() + 1 >= self.seq_len;
        full && self.over && !self.closed && !self.output.stopped() && self.said < self.most
    }

    /// Tells whether the answer has as many tokens as one may have.
    pub(super) fn is_limited(&self) -> bool {
        self.over && !self.closed && !self.output.stopped() && self.said >= self.most
    }

    pub(super) fn notice(&self) -> Option<&str> {
        self.notice.as_deref()
    }
}

/// Logits behind the last of one or more tokens, the first of which is at `position`.
fn pass<'s>(session: &'s mut Session<'_>, tokens: &[u32], position: usize) -> &'s mut [f32] {
    match tokens {
        [token] => session.forward(*token, position),
        tokens => session.prefill(tokens, position),
    }
}
