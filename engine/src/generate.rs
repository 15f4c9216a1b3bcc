//! Sequences: a prompt is read, tokens are drawn one by one, and what comes of it is a stream of
//! events.
//!
//! Stories, run.c's chat and dialogues go through the same [`step`]; they differ in what their
//! prompts are ([`crate::chat`]) and in four details of run.c's loops (see `Sequence::step`).

use alloc::{string::String, vec::Vec};
use core::{fmt, ops::Range};

use crate::{
    event::{EndReason, Event},
    math,
    run_mode::RunMode,
    sampler::{Sampler, argmax},
    session::{BATCH, Session},
    text_stream::TextStream,
    tokenizer::{EOS, Tokenizer},
    units::Quoted,
};

/// Why a prompt cannot be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptError {
    /// More tokens than there are positions for.
    TooLong {
        /// Tokens of the prompt, BOS included.
        tokens: usize,
        /// Positions left in the model's context.
        left: usize,
    },
    /// A character that a small vocabulary has nothing for.
    NoToken {
        /// The character.
        character: String,
    },
}

impl PromptError {
    /// Tells whether the model has tokens for all of `text`.
    pub(crate) fn check(tokenizer: &Tokenizer, text: &[u8]) -> Result<(), PromptError> {
        match tokenizer.lacks(text) {
            Some(character) => Err(PromptError::NoToken { character }),
            None => Ok(()),
        }
    }
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PromptError::TooLong { tokens, left } => write!(
                f,
                "the prompt has {tokens} tokens, but the model's context has room for {left}; shorten it"
            ),
            PromptError::NoToken { character } => write!(
                f,
                "the prompt has {}, and the model's vocabulary has no token for that character; leave it out",
                Quoted(character)
            ),
        }
    }
}

impl core::error::Error for PromptError {}

/// Tells whether a token can be chosen by these logits: none is NaN or infinite.
pub fn are_numbers(logits: &[f32]) -> bool {
    // Without a way out of the loop, so that it is one of vectors.
    logits
        .iter()
        .fold(true, |all, logit| all & logit.is_finite())
}

/// The most likely token of a pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopToken {
    /// The token.
    pub token: u32,
    /// Its logit.
    pub logit: f32,
}

impl TopToken {
    fn of(logits: &[f32]) -> TopToken {
        let token = argmax(logits);
        TopToken {
            token,
            logit: logits[token as usize],
        }
    }
}

/// How far a sequence may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Most tokens of an answer.
    pub tokens: usize,
    /// Most positions, the prompt's among them.
    pub positions: usize,
    /// Positions of the context that the sequence can have.
    pub context: usize,
}

/// State of a sequence's tokens, to come back to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mark {
    tokens: usize,
    passed: usize,
}

impl Mark {
    /// State after `to` tokens have replaced the first `from`.
    pub(crate) fn moved(self, from: usize, to: usize) -> Mark {
        Mark {
            tokens: self.tokens - from + to,
            passed: self.passed - from + to,
        }
    }
}

/// Log-probabilities of the tokens at a place, before a sampler changes the logits. Allocates
/// nothing once made.
struct Logprobs {
    logits: Vec<f32>,
    /// The logarithm of the sum of all exponentials.
    log_sum: f32,
    /// The most likely tokens, the most likely first.
    top: Vec<(u32, f32)>,
    /// How many of them are kept.
    most: usize,
}

impl Logprobs {
    fn new(vocab_size: usize, most: usize) -> Logprobs {
        Logprobs {
            logits: Vec::with_capacity(vocab_size),
            log_sum: 0.0,
            top: Vec::with_capacity(most + 1),
            most,
        }
    }

    /// Looks at logits.
    fn take(&mut self, logits: &[f32]) {
        self.logits.clear();
        self.logits.extend_from_slice(logits);
        let largest = logits.iter().fold(f32::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f32 = logits.iter().map(|logit| math::exp(logit - largest)).sum();
        self.log_sum = largest + math::ln(sum);
        self.top.clear();
        for (token, &logit) in (0..).zip(logits) {
            // The first of equals stands first.
            let place = self.top.partition_point(|&(_, kept)| kept >= logit);
            if place < self.most {
                self.top.insert(place, (token, logit));
                self.top.truncate(self.most);
            }
        }
        for (_, logit) in &mut self.top {
            *logit -= self.log_sum;
        }
    }

    /// The logarithm of a token's probability.
    fn of(&self, token: u32) -> f32 {
        self.logits[token as usize] - self.log_sum
    }
}

/// Tokens, the text that they make, and who chooses the next one.
pub struct Sequence {
    mode: RunMode,
    /// Tokens that were passed, then those that are to be: of a prompt, or the last that was drawn.
    tokens: Vec<u32>,
    passed: usize,
    /// How many of those passed the cache has keys and values of.
    cached: usize,
    /// Tokens of the last prompt.
    prompt: Range<usize>,
    /// Tokens that were to be passed when it began.
    to_pass: usize,
    limits: Limits,
    /// Most tokens of a pass.
    batch: usize,
    running: bool,
    end: Option<EndReason>,
    passes: usize,
    top: Option<TopToken>,
    sampler: Sampler,
    logprobs: Option<Logprobs>,
    stream: TextStream,
}

impl Sequence {
    /// A sequence without tokens, for a context of `limits.context`.
    pub(crate) fn new(
        tokenizer: &Tokenizer,
        mode: RunMode,
        limits: Limits,
        sampler: Sampler,
    ) -> Sequence {
        // A story's prompt is part of its text.
        let at_once = match mode {
            RunMode::Story => BATCH.min(limits.positions).max(1),
            _ => 1,
        };
        Sequence {
            mode,
            // The last one drawn has no position.
            tokens: Vec::with_capacity(limits.context + 1),
            passed: 0,
            cached: 0,
            prompt: 0..0,
            to_pass: 0,
            limits,
            batch: BATCH,
            running: false,
            end: None,
            passes: 0,
            top: None,
            sampler,
            logprobs: None,
            stream: TextStream::new(at_once * tokenizer.longest_piece()),
        }
    }

    /// A story: run.c's `generate` of at most `steps` positions in a context of `seq_len`. The
    /// prompt is part of its text.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] if the prompt does not fit the context. One that fits, but is
    /// longer than `steps`, is echoed as far as the steps go, as by run.c. [`PromptError::NoToken`]
    /// for a character that the vocabulary lacks.
    pub fn story(
        tokenizer: &Tokenizer,
        prompt: &[u8],
        steps: usize,
        seq_len: usize,
        sampler: Sampler,
    ) -> Result<Sequence, PromptError> {
        PromptError::check(tokenizer, prompt)?;
        let mut prompt = tokenizer.encode(prompt, true, false);
        if prompt.len() > seq_len {
            return Err(PromptError::TooLong {
                tokens: prompt.len(),
                left: seq_len,
            });
        }
        let limits = Limits {
            tokens: usize::MAX,
            positions: steps.min(seq_len),
            context: seq_len,
        };
        let mut sequence = Sequence::new(tokenizer, RunMode::Story, limits, sampler);
        if prompt.is_empty() {
            prompt.push(tokenizer.start());
        } else if tokenizer.bos() != Some(prompt[0]) {
            // A text that begins with a word of its own.
            sequence
                .stream
                .push_prompt(tokenizer.decode_first(prompt[0]));
        }
        sequence.append(&prompt);
        Ok(sequence)
    }

    /// Begins a prompt behind the tokens that there are. With `Some` reasoning is told from the
    /// answer, which begins inside of it or not.
    pub(crate) fn begin(&mut self, prompt: &[u32], reasoning: Option<bool>) {
        self.stream.reset(reasoning);
        self.append(prompt);
    }

    fn append(&mut self, prompt: &[u32]) {
        let first = self.tokens.len();
        self.tokens.extend_from_slice(prompt);
        self.prompt = first..self.tokens.len();
        self.to_pass = self.tokens.len() - self.cached;
        (self.running, self.end) = (true, None);
    }

    /// Ends the text where it is. `false` if its prompt had not been read whole.
    pub(crate) fn stop(&mut self) -> bool {
        self.running = false;
        self.stream.reset(None);
        self.passed >= self.prompt.end
    }

    /// Lets a pass over the prompt take at most `tokens` tokens, where a whole batch would keep the
    /// user waiting too long.
    pub fn limit_batch(&mut self, tokens: usize) {
        self.batch = tokens.clamp(1, BATCH);
    }

    /// Sets strings that end the text and are not part of it.
    pub fn set_stops(&mut self, stops: &[String]) {
        self.stream.set_stops(stops);
    }

    /// Asks for each token's log-probability, and for those of the `top` most likely tokens at its
    /// place, of a vocabulary of `vocab_size`.
    pub fn set_logprobs(&mut self, vocab_size: usize, top: usize) {
        let top = top.min(vocab_size);
        self.stream.keep_logprobs(top);
        self.logprobs = Some(Logprobs::new(vocab_size, top));
    }

    /// Sets who chooses. Penalties look at the tokens before the last prompt, too.
    pub fn set_sampler(&mut self, mut sampler: Sampler) {
        sampler.accept(&self.tokens[..self.prompt.start]);
        self.sampler = sampler;
    }

    /// Who chose, to choose in another text.
    pub fn into_sampler(self) -> Sampler {
        self.sampler
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn limits_mut(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// One pass, over a token or a batch of the prompt's, and the events that follow from it.
    /// Returns the number of tokens passed; 0 if it is over. Allocates nothing.
    ///
    /// run.c's loops differ in that a text's first token goes alone (their speed leaves that pass
    /// out), that a story's prompt is echoed, that `chat` draws at each token of a prompt and drops
    /// what comes, and that only EOS ends a turn of it.
    fn step(
        &mut self,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        out: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        if !self.running {
            return 0;
        }
        let (from, last) = (self.cached, self.tokens.len());
        let room = self.limits.positions.saturating_sub(from);
        if room == 0 {
            self.finish(self.limit(), out);
            return 0;
        }
        let is_alone = from == 0 && self.mode != RunMode::Dialog;
        let batch = if is_alone { 1 } else { self.batch };
        let to = last.min(from + batch.min(room));
        let is_whole = to == last;
        let tokens = &self.tokens[from..to];
        let logits = match tokens {
            [token] => Some(session.forward(*token, from)),
            tokens if is_whole => Some(session.prefill(tokens, from)),
            tokens => {
                session.read(tokens, from);
                None
            }
        };
        let new = to.saturating_sub(self.passed.max(from));
        self.cached = to;
        self.passed = self.passed.max(to);
        self.passes += to - from;
        if let (0, Some(logits)) = (from, &logits) {
            self.top = Some(TopToken::of(logits));
        }
        if from < self.prompt.end {
            let (done, total) = self.progress();
            out(Event::PromptRead { done, total });
        }
        if logits.as_ref().is_some_and(|logits| !are_numbers(logits)) {
            self.finish(EndReason::NotNumbers, out);
            return to - from;
        }
        self.echo(new, tokenizer);
        let end = match logits {
            Some(logits) if is_whole => self.draw(logits, from, new, tokenizer),
            _ => {
                self.skip(new);
                None
            }
        };
        let is_full = self.passed >= self.limits.positions;
        match end.or_else(|| is_full.then(|| self.limit())) {
            Some(reason) => self.finish(reason, out),
            None => self.stream.give(out),
        }
        to - from
    }

    /// The prompt of a story is part of its text: the token behind those that were passed as well.
    fn echo(&mut self, new: usize, tokenizer: &Tokenizer) {
        if self.mode == RunMode::Story {
            let last = (self.passed + 1).min(self.prompt.end);
            for index in self.passed - new + 1..last {
                let [before, token] = [self.tokens[index - 1], self.tokens[index]];
                self.stream.push_prompt(tokenizer.decode(before, token));
            }
        }
    }

    fn skip(&mut self, tokens: usize) {
        if self.mode == RunMode::Llama2Chat {
            (0..tokens).for_each(|_| self.sampler.skip());
        }
    }

    /// Draws the next token after a pass from `from` on; why it is the last one, if it is.
    fn draw(
        &mut self,
        logits: &mut [f32],
        from: usize,
        new: usize,
        tokenizer: &Tokenizer,
    ) -> Option<EndReason> {
        self.skip(new.saturating_sub(1));
        if from < self.prompt.end {
            self.sampler.accept(&self.tokens[self.prompt.clone()]);
        }
        if let Some(logprobs) = &mut self.logprobs {
            logprobs.take(logits);
        }
        let next = self.sampler.sample(logits);
        let before = self.tokens.last().copied().unwrap_or_default();
        self.tokens.push(next);
        let is_end = match self.mode {
            RunMode::Llama2Chat => next == EOS,
            _ => tokenizer.is_end(next),
        };
        if is_end {
            return Some(EndReason::EndToken);
        }
        if let Some(logprobs) = &self.logprobs {
            let top = logprobs.top.iter().copied();
            self.stream.push_logprobs(logprobs.of(next), top);
        }
        self.stream.push(next, tokenizer.decode(before, next));
        if self.stream.stopped() {
            if let (RunMode::Llama2Chat, Some(last)) = (self.mode, self.tokens.last_mut()) {
                // run.c knows no other end of a turn.
                *last = EOS;
            }
            return Some(EndReason::StopString);
        }
        (self.drawn() >= self.limits.tokens).then_some(EndReason::Limit)
    }

    /// Why it ends at its last position.
    fn limit(&self) -> EndReason {
        match self.limits.positions >= self.limits.context {
            true => EndReason::ContextFull,
            false => EndReason::Limit,
        }
    }

    fn finish(&mut self, reason: EndReason, out: &mut dyn FnMut(Event<'_>)) {
        self.stream.finish(out);
        self.running = false;
        self.end = Some(reason);
        out(Event::End(reason));
    }

    /// Tells whether it goes on.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Why the text ended; `None` while it is made, or if it was stopped.
    pub fn end(&self) -> Option<EndReason> {
        self.end
    }

    /// Tokens that have been read since the prompt began, and all that were to be.
    pub fn progress(&self) -> (usize, usize) {
        let left = self.prompt.end.saturating_sub(self.cached);
        (self.to_pass.saturating_sub(left), self.to_pass)
    }

    /// Tokens that were drawn since the prompt, the one that ended the text included.
    pub fn drawn(&self) -> usize {
        self.tokens.len() - self.prompt.end
    }

    /// Tokens that have been passed over the weights, again and again where the cache was lost.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// The tokens whose keys and values are kept, or will be again when the next prompt begins.
    pub fn context(&self) -> &[u32] {
        &self.tokens[..self.passed]
    }

    /// The top token of the pass at position 0, once it has been run.
    pub fn top_token(&self) -> Option<TopToken> {
        self.top
    }

    /// All tokens: the context, and the last one that was drawn.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// State to come back to.
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            tokens: self.tokens.len(),
            passed: self.passed,
        }
    }

    /// Comes back to a state: what came after it is gone.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.tokens.truncate(mark.tokens);
        self.passed = mark.passed.min(self.passed);
        self.cached = self.cached.min(self.passed);
        self.prompt = self.tokens.len()..self.tokens.len();
        self.sampler.restart(&self.tokens);
    }

    /// Tells whether the last token has not been passed.
    pub(crate) fn is_pending(&self) -> bool {
        self.tokens.len() > self.passed
    }

    /// Drops the tokens that have not been passed.
    pub(crate) fn drop_pending(&mut self) {
        self.tokens.truncate(self.passed);
        self.prompt = self.passed..self.passed;
    }

    /// Puts other tokens in the place of the first `count`; all is passed again.
    pub(crate) fn replace_first(&mut self, count: usize, tokens: &[u32]) {
        self.tokens.splice(..count, tokens.iter().copied());
        self.passed = (self.passed + tokens.len()).saturating_sub(count);
        self.prompt = self.tokens.len()..self.tokens.len();
        self.cached = 0;
    }

    /// Takes over tokens of a text that was made elsewhere.
    pub(crate) fn recall(&mut self, tokens: &[u32]) {
        self.tokens.clear();
        self.tokens.extend_from_slice(tokens);
        (self.passed, self.cached) = (tokens.len(), 0);
        self.prompt = tokens.len()..tokens.len();
    }

    /// Knows that the cache's keys and values are somebody else's: all is passed again.
    pub fn forget_cache(&mut self) {
        self.cached = 0;
    }
}

/// One pass that serves all of `sequences`, and the events that follow from it, each with its
/// sequence's place. Returns the number of tokens passed; 0 if all are over. Allocates nothing.
///
/// # Panics
/// If there is more than one sequence: a session has one KV cache.
pub fn step(
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    sequences: &mut [&mut Sequence],
    out: &mut dyn FnMut(usize, Event<'_>),
) -> usize {
    assert!(sequences.len() <= 1, "a session has one KV cache");
    let passed = sequences
        .iter_mut()
        .enumerate()
        .map(|(place, sequence)| sequence.step(session, tokenizer, &mut |event| out(place, event)));
    passed.sum()
}
