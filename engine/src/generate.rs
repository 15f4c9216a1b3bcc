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
    repetition::Repetition,
    run_mode::RunMode,
    sampler::{Sampler, argmax},
    session::{BATCH, Session, Span},
    speculation::{Lookup, PassTimes},
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
    /// The chat template refuses the conversation, or cannot be followed.
    Template(String),
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
            PromptError::Template(sentence) => {
                write!(f, "the model's chat template: {sentence}")
            }
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
    moment: Moment,
}

/// The moment at which probabilities of tokens are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Moment {
    /// Before a sampler changes them: the model's own, as logarithms.
    #[default]
    BeforeSampling,
    /// When a sampler has removed and changed what it would: those that it draws by, not as
    /// logarithms. Tokens that it removed are not among them; their places have a probability of 0.
    AfterSampling,
}

impl Logprobs {
    fn new(vocab_size: usize, most: usize, moment: Moment) -> Logprobs {
        Logprobs {
            logits: Vec::with_capacity(vocab_size),
            log_sum: 0.0,
            top: Vec::with_capacity(most.max(1) + 1),
            most,
            moment,
        }
    }

    /// Keeps a token if it is one of the most likely so far; the first of equals stands first.
    fn offer(&mut self, token: u32, value: f32) {
        let place = self.top.partition_point(|&(_, kept)| kept >= value);
        if place < self.most {
            self.top.insert(place, (token, value));
            self.top.truncate(self.most);
        }
    }

    /// Looks at what `sampler` drew `drawn` by. Returns its probability.
    fn take_drawn(&mut self, sampler: &Sampler, drawn: u32) -> f32 {
        self.top.clear();
        let mut own = 0.0;
        sampler.probabilities(drawn, &mut |token, p| {
            if p > 0.0 {
                self.offer(token, p);
            }
            if token == drawn {
                own = p;
            }
        });
        self.top.resize(self.most, (0, 0.0));
        own
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
            self.offer(token, logit);
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
    /// Its number in the session.
    slot: usize,
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
    repetition: Option<Repetition>,
    lookup: Lookup,
    /// Tokens at the end of `tokens` that are guesses, while a pass checks them.
    guessed: usize,
    /// The next pass is to be without guesses.
    plain: bool,
    /// How many were guessed since the prompt, and how many of them were right.
    guesses: (usize, usize),
    /// BOS is a token as others, as in llama.cpp: it ends nothing, and leaves the space behind it.
    goes_past_bos: bool,
    stream: TextStream,
    /// The answer began inside of reasoning.
    opens_thought: bool,
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
            slot: 0,
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
            repetition: None,
            lookup: Lookup::new(),
            guessed: 0,
            plain: false,
            guesses: (0, 0),
            goes_past_bos: false,
            stream: TextStream::new(at_once * tokenizer.longest_piece()),
            opens_thought: false,
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

    /// Begins an answer behind `tokens`; with `Some` reasoning is told from it, and it begins
    /// inside of reasoning or not. What the cache holds of the tokens is not passed again.
    pub(crate) fn begin(&mut self, tokens: &[u32], reasoning: Option<bool>) {
        self.stream.reset(reasoning);
        self.opens_thought = reasoning == Some(true);
        let same = self.keep_common(tokens);
        self.append(&tokens[same..]);
    }

    /// A sequence for texts that clients ask to be continued, in a context of `seq_len`; of its
    /// cache it knows nothing. [`Sequence::begin_completion`] begins a text.
    pub fn completion(tokenizer: &Tokenizer, seq_len: usize) -> Sequence {
        let limits = Limits {
            tokens: usize::MAX,
            // The token after the last one needs a place, too.
            positions: seq_len.saturating_sub(1),
            context: seq_len.saturating_sub(1),
        };
        let sampler = Sampler::new(0, 0.0, 0.0, 1);
        let mut sequence = Sequence::new(tokenizer, RunMode::Dialog, limits, sampler);
        sequence.goes_past_bos = true;
        sequence
    }

    /// Begins to continue `tokens`, at least one and no more than the context has places for, with
    /// at most `most` tokens that `sampler` draws; with `Some` reasoning is told from the text,
    /// which begins inside of reasoning or not. What the cache holds of the tokens is not passed
    /// again.
    ///
    /// # Panics
    /// If there is no token.
    pub fn begin_completion(
        &mut self,
        tokens: &[u32],
        most: usize,
        reasoning: Option<bool>,
        sampler: Sampler,
    ) {
        assert!(!tokens.is_empty());
        self.limits.tokens = most;
        self.logprobs = None;
        self.stream.keep_logprobs(0);
        self.begin(tokens, reasoning);
        self.set_sampler(sampler);
    }

    /// Knows that the session's cache holds these tokens for it, and nothing else.
    pub fn hold(&mut self, tokens: &[u32]) {
        self.stop();
        self.tokens.clear();
        self.tokens.extend_from_slice(tokens);
        (self.passed, self.cached) = (tokens.len(), tokens.len());
        self.prompt = tokens.len()..tokens.len();
    }

    /// Forgets `tokens` tokens from place `from` on and goes on: what is behind them is passed
    /// again, since its positions change.
    ///
    /// # Panics
    /// If it has not as many.
    pub fn discard(&mut self, from: usize, tokens: usize) {
        self.limits.tokens -= self.drawn();
        self.tokens.drain(from..from + tokens);
        (self.cached, self.passed) = (self.cached.min(from), self.passed.min(from));
        // What is left is a prompt, which penalties know already.
        self.prompt = self.tokens.len()..self.tokens.len();
        (self.running, self.end) = (true, None);
    }

    fn append(&mut self, prompt: &[u32]) {
        let first = self.tokens.len();
        self.tokens.extend_from_slice(prompt);
        self.prompt = first..self.tokens.len();
        // The last one's logits are needed.
        self.cached = self.cached.min(self.tokens.len().saturating_sub(1));
        self.to_pass = self.tokens.len() - self.cached;
        (self.running, self.end) = (true, None);
        self.guesses = (0, 0);
        self.lookup.restart();
        if let Some(repetition) = &mut self.repetition {
            repetition.restart();
        }
    }

    /// Takes over a text whose last token has been passed or not; nothing is begun.
    pub(crate) fn rest(&mut self, tokens: &[u32], is_pending: bool) {
        let same = self.keep_common(tokens);
        self.tokens.extend_from_slice(&tokens[same..]);
        self.passed = tokens.len() - usize::from(is_pending && !tokens.is_empty());
        self.cached = self.cached.min(self.passed);
        self.prompt = tokens.len()..tokens.len();
        self.end = None;
        self.sampler.restart(&self.tokens);
    }

    /// Drops the tokens from the first one on that is not in its place in `tokens`. Returns how
    /// many are left.
    fn keep_common(&mut self, tokens: &[u32]) -> usize {
        let pairs = self.tokens.iter().zip(tokens);
        let same = pairs.take_while(|(old, new)| old == new).count();
        if same < self.tokens.len() {
            self.tokens.truncate(same);
            self.sampler.restart(&self.tokens);
        }
        self.passed = self.passed.min(same);
        self.cached = self.cached.min(same);
        same
    }

    /// Ends the text where it is. `false` if its prompt had not been read whole.
    pub fn stop(&mut self) -> bool {
        self.running = false;
        self.stream.reset(None);
        self.passed >= self.prompt.end
    }

    /// Sets its number among the session's sequences, 0 at first: another one's cache holds nothing
    /// of it.
    pub fn set_slot(&mut self, slot: usize) {
        self.slot = slot;
        self.cached = 0;
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
    /// place, of a vocabulary of `vocab_size`; or for the probabilities at another moment.
    pub fn set_logprobs(&mut self, vocab_size: usize, top: usize, moment: Moment) {
        let top = top.min(vocab_size);
        self.stream.keep_logprobs(top);
        self.logprobs = Some(Logprobs::new(vocab_size, top, moment));
    }

    /// Sets whether a dialogue's answer that repeats itself without end is ended.
    pub fn set_repeat_guard(&mut self, wanted: bool) {
        let is_dialog = self.mode == RunMode::Dialog;
        self.repetition = (wanted && is_dialog).then(Repetition::new);
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

    /// Tokens of its next pass, at most `most` of them; `None` if it is over.
    fn next_pass(&mut self, most: usize, out: &mut dyn FnMut(Event<'_>)) -> Option<Range<usize>> {
        if !self.running {
            return None;
        }
        let (from, last) = (self.cached, self.tokens.len());
        let room = self.limits.positions.saturating_sub(from);
        if room == 0 {
            self.finish(self.limit(), out);
            return None;
        }
        let is_alone = from == 0 && self.mode != RunMode::Dialog;
        let batch = if is_alone { 1 } else { self.batch.min(most) };
        Some(from..last.min(from + batch.min(room)))
    }

    /// Guesses tokens behind the last one, which alone is to be passed, if that pays. Returns how
    /// many.
    fn guess(&mut self, times: &PassTimes) -> usize {
        // The first token is to come soon, and in the time of one.
        if core::mem::take(&mut self.plain) || self.drawn() == 0 {
            return 0;
        }
        let positions = self.limits.positions.saturating_sub(self.tokens.len());
        let tokens = self.limits.tokens.saturating_sub(self.drawn() + 1);
        let guesses = self
            .lookup
            .guess(&self.tokens, positions.min(tokens), times);
        self.tokens.extend_from_slice(guesses);
        self.guessed = guesses.len();
        self.guesses.0 += guesses.len();
        self.guessed
    }

    /// Its part of a pass.
    fn span(&self, pass: &Range<usize>) -> Span<'_> {
        Span {
            sequence: self.slot,
            pos: pass.start,
            tokens: &self.tokens[pass.clone()],
            logits: self.logits(pass),
        }
    }

    /// After how many tokens of this pass others are drawn, or might be.
    fn logits(&self, pass: &Range<usize>) -> usize {
        match pass.end == self.tokens.len() || pass.len() == 1 {
            true => 1 + self.guessed,
            false => 0,
        }
    }

    /// The events that follow from a pass, whose first logits have number `first`: of one token
    /// after another, as long as the next one had been guessed. Returns how many logits the pass
    /// had.
    fn take_all(
        &mut self,
        pass: Range<usize>,
        (session, first): (&mut Session<'_>, usize),
        tokenizer: &Tokenizer,
        out: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        let wanted = self.logits(&pass);
        let guessed = core::mem::take(&mut self.guessed);
        self.tokens.truncate(self.tokens.len() - guessed);
        let (mut from, mut end) = (pass.start, pass.end - guessed);
        for row in 0..=guessed {
            let before = self.tokens.len();
            let logits = (wanted > 0).then(|| session.logits(first + row));
            // What a wrong guess leaves behind has no weight, but nothing times infinity is not 0.
            if guessed > 0 && logits.as_ref().is_some_and(|logits| !are_numbers(logits)) {
                self.plain = true;
                break;
            }
            self.take(from..end, logits, tokenizer, out);
            let drawn = self.tokens.get(before);
            let is_right = drawn.is_some_and(|&drawn| self.lookup.follows(drawn));
            if row == guessed || !is_right {
                break;
            }
            self.guesses.1 += 1;
            if !self.running {
                break;
            }
            (from, end) = (end, end + 1);
        }
        wanted
    }

    /// The events that follow from a pass, and from its logits if it has any.
    ///
    /// run.c's loops differ in that a text's first token goes alone (their speed leaves that pass
    /// out), that a story's prompt is echoed, that `chat` draws at each token of a prompt and drops
    /// what comes, and that only EOS ends a turn of it.
    fn take(
        &mut self,
        pass: Range<usize>,
        logits: Option<&mut [f32]>,
        tokenizer: &Tokenizer,
        out: &mut dyn FnMut(Event<'_>),
    ) {
        let (from, to) = (pass.start, pass.end);
        let is_whole = to == self.tokens.len();
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
            return self.finish(EndReason::NotNumbers, out);
        }
        self.echo(new, tokenizer);
        if is_whole && self.limits.tokens == 0 {
            return self.finish(EndReason::Limit, out);
        }
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
        if let Some(logprobs) = &mut self.logprobs
            && logprobs.moment == Moment::BeforeSampling
        {
            logprobs.take(logits);
        }
        let next = self.sampler.sample(logits);
        let before = self.tokens.last().copied().unwrap_or_default();
        self.tokens.push(next);
        let is_end = match self.mode {
            RunMode::Llama2Chat => next == EOS,
            _ if self.goes_past_bos && tokenizer.begin() == Some(next) => tokenizer.end() == next,
            _ => tokenizer.is_end(next),
        };
        if is_end {
            return Some(EndReason::EndToken);
        }
        if let Some(logprobs) = &mut self.logprobs {
            let own = match logprobs.moment {
                Moment::BeforeSampling => logprobs.of(next),
                Moment::AfterSampling => logprobs.take_drawn(&self.sampler, next),
            };
            let top = logprobs.top.iter().copied();
            self.stream.push_logprobs(own, top);
        }
        // Behind itself no token loses its space.
        let before = if self.goes_past_bos { next } else { before };
        self.stream.push(next, tokenizer.decode(before, next));
        if self.stream.stopped().is_some() {
            if let (RunMode::Llama2Chat, Some(last)) = (self.mode, self.tokens.last_mut()) {
                // run.c knows no other end of a turn.
                *last = EOS;
            }
            return Some(EndReason::StopString);
        }
        let answer = &self.tokens[self.prompt.end..];
        let repeats = |repetition: &mut Repetition| repetition.follows(answer);
        if self.repetition.as_mut().is_some_and(repeats) {
            return Some(EndReason::Repeats);
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

    /// Tokens of the prompt that the cache held when it began.
    pub fn reused(&self) -> usize {
        self.prompt.end.saturating_sub(self.to_pass)
    }

    /// The stop string that ended the text, if one did.
    pub fn stop_string(&self) -> Option<&str> {
        self.stream.stopped()
    }

    /// Tokens at the beginning of the context whose keys and values the session's cache holds.
    pub fn cached(&self) -> &[u32] {
        &self.tokens[..self.cached]
    }

    /// Tokens that were drawn since the prompt, the one that ended the text included.
    pub fn drawn(&self) -> usize {
        self.tokens.len() - self.prompt.end
    }

    /// Tokens of the answer that were guessed, and how many of them were right.
    pub fn guesses(&self) -> (usize, usize) {
        self.guesses
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

    /// Tokens of the answer, one that ended it included.
    pub(crate) fn answer(&self) -> &[u32] {
        &self.tokens[self.prompt.end..]
    }

    /// The token before the answer.
    pub(crate) fn before_answer(&self) -> u32 {
        let before = self.prompt.end.checked_sub(1);
        before.map_or(0, |last| self.tokens[last])
    }

    /// Tells whether the answer began inside of reasoning.
    pub(crate) fn opens_thought(&self) -> bool {
        self.opens_thought
    }

    /// Strings that end the text.
    pub(crate) fn stops(&self) -> &[String] {
        self.stream.stops()
    }

    /// Tells whether the last token has not been passed.
    pub(crate) fn is_pending(&self) -> bool {
        self.tokens.len() > self.passed
    }

    /// Drops the last token, if it has not been passed.
    pub(crate) fn drop_pending(&mut self) {
        self.tokens.truncate(self.passed);
    }

    /// Knows that the cache's keys and values are somebody else's: all is passed again.
    pub fn forget_cache(&mut self) {
        self.cached = 0;
    }
}

/// One pass that serves all of `sequences`, and the events that follow from it, each with its
/// sequence's place. A token of each that draws, and parts of prompts as far as there is room in
/// [`BATCH`]. Returns the number of tokens passed; 0 if all are over. Allocates nothing.
///
/// # Panics
/// If two have the same slot, or one has none in the session.
pub fn step(
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    sequences: &mut [&mut Sequence],
    out: &mut dyn FnMut(usize, Event<'_>),
) -> usize {
    assert!(sequences.len() <= BATCH);
    let mut passes: [Option<Range<usize>>; BATCH] = [const { None }; BATCH];
    // Those that draw go first; prompts share what is left.
    let mut left = BATCH;
    let is_reading = |sequence: &Sequence| sequence.tokens.len() - sequence.cached > 1;
    let mut reading = sequences
        .iter()
        .filter(|sequence| sequence.running && is_reading(sequence))
        .count();
    for reads in [false, true] {
        for (place, sequence) in sequences.iter_mut().enumerate() {
            if is_reading(sequence) != reads || left == 0 {
                continue;
            }
            let most = if reads {
                left.div_ceil(reading.max(1))
            } else {
                1
            };
            reading -= usize::from(reads && sequence.running);
            passes[place] = sequence.next_pass(most, &mut |event| out(place, event));
            left -= passes[place].as_ref().map_or(0, Range::len);
        }
    }
    // One alone may take guesses with it.
    let some = passes.iter_mut().zip(sequences.iter_mut());
    let mut some = some.filter_map(|(pass, sequence)| Some((pass.as_mut()?, sequence)));
    if let (Some((pass, sequence)), None) = (some.next(), some.next())
        && pass.len() == 1
        && pass.end == sequence.tokens.len()
        && !session.is_tuning()
    {
        let guessed = sequence.guess(session.times());
        pass.end += guessed;
        left -= guessed;
    }
    let mut spans = [Span {
        sequence: 0,
        pos: 0,
        tokens: &[],
        logits: 0,
    }; BATCH];
    let mut count = 0;
    for (sequence, pass) in sequences.iter().zip(&passes) {
        if let Some(pass) = pass {
            spans[count] = sequence.span(pass);
            count += 1;
        }
    }
    if count == 0 {
        return 0;
    }
    session.batch(&spans[..count]);
    let mut number = 0;
    for (place, (sequence, pass)) in sequences.iter_mut().zip(passes).enumerate() {
        if let Some(pass) = pass {
            let mut out = |event: Event<'_>| out(place, event);
            number += sequence.take_all(pass, (session, number), tokenizer, &mut out);
        }
    }
    BATCH - left
}
