//! run.c's generate loop as a state machine: a shell drives it pass by pass, and may look at its
//! keyboard in between.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    sampler::{Sampler, argmax},
    session::{BATCH, Session},
    tokenizer::Tokenizer,
    units::Quoted,
    utf8::Utf8Stream,
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

/// Why a text ends whose model gives no numbers: what it reckons with is damaged, or leads out of
/// single precision.
pub const NOT_NUMBERS: &str = "the model's numbers are not numbers (NaN or infinite): its file is damaged, or was made wrongly; fetch it again, or take another";

/// Tells whether logits are what a token can be chosen by.
pub fn are_numbers(logits: &[f32]) -> bool {
    // Without a way out of the loop, so that it is one of vectors.
    logits
        .iter()
        .fold(true, |all, logit| all & logit.is_finite())
}

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A pass was run, over one token or a batch of the prompt's; this text became whole by it
    /// (often empty: half a character, or a prompt in chat).
    Text(&'a str),
    /// Chat: the assistant has finished; the next turn can begin.
    TurnOver,
    /// It is over; nothing was run.
    Done,
}

/// The likeliest token of a pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopToken {
    /// The token.
    pub token: u32,
    /// Its logit.
    pub logit: f32,
}

impl TopToken {
    pub(crate) fn of(logits: &[f32]) -> TopToken {
        let token = argmax(logits);
        TopToken {
            token,
            logit: logits[token as usize],
        }
    }
}

/// Text on its way out: whole characters of the tokens so far, without allocating once made. What
/// may be the beginning of a stop string is held back until that is known.
pub(crate) struct Output {
    stream: Utf8Stream,
    text: String,
    /// Bytes at the end of `text` that are held back.
    held: usize,
    stops: Vec<String>,
    stopped: bool,
}

impl Output {
    /// Room for the text of `tokens` tokens at once.
    pub(crate) fn new(tokenizer: &Tokenizer, tokens: usize) -> Output {
        // Each byte may turn into U+FFFD, three bytes long.
        Output {
            stream: Utf8Stream::default(),
            text: String::with_capacity(3 * (tokens * tokenizer.longest_piece() + 4)),
            held: 0,
            stops: Vec::new(),
            stopped: false,
        }
    }

    /// Strings that end a text, and are not part of it.
    pub(crate) fn set_stops(&mut self, stops: &[String]) {
        self.stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        let longest = self.stops.iter().map(String::len).max();
        self.text
            .reserve(longest.unwrap_or(0) + self.text.capacity());
    }

    /// Tells whether one of them has come.
    pub(crate) fn stopped(&self) -> bool {
        self.stopped
    }

    pub(crate) fn clear(&mut self) {
        let given = self.text.len() - self.held;
        self.text.drain(..given);
    }

    /// What the model said.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.stopped {
            return;
        }
        // A stop string may begin in what is held, not in what went before.
        let from = self.text.len() - self.held;
        self.stream.push(bytes, &mut self.text);
        if self.stops.is_empty() {
            return;
        }
        if self.cut(from) {
            return;
        }
        let fresh = &self.text[from..];
        let begins = |held: usize| {
            let end = &fresh.as_bytes()[fresh.len() - held..];
            let mut stops = self.stops.iter();
            stops.any(|stop| end.len() < stop.len() && stop.as_bytes().starts_with(end))
        };
        self.held = (1..=fresh.len())
            .rev()
            .find(|&held| begins(held))
            .unwrap_or(0);
    }

    /// Ends the text before the first stop string in it from `from` on, if there is one.
    fn cut(&mut self, from: usize) -> bool {
        let fresh = &self.text[from..];
        let found = self.stops.iter().filter_map(|s| fresh.find(&s[..])).min();
        if let Some(at) = found {
            self.text.truncate(from + at);
            (self.held, self.stopped) = (0, true);
        }
        found.is_some()
    }

    /// What somebody else said: it stops nothing.
    pub(crate) fn push_prompt(&mut self, bytes: &[u8]) {
        self.stream.push(bytes, &mut self.text);
    }

    /// Forgets everything, the beginning of a character too.
    pub(crate) fn reset(&mut self) {
        self.text.clear();
        (self.held, self.stopped) = (0, false);
        self.stream = Utf8Stream::default();
    }

    pub(crate) fn finish(&mut self) {
        if !self.stopped {
            let from = self.text.len() - self.held;
            self.stream.finish(&mut self.text);
            // What is left of a character may be the end of one.
            self.cut(from);
        }
        self.held = 0;
    }

    pub(crate) fn text(&self) -> &str {
        &self.text[..self.text.len() - self.held]
    }
}

/// One text in the making: the prompt echoed, then what the model makes of it, until BOS or the
/// last step.
pub struct Generation {
    prompt: Vec<u32>,
    /// The token of the next pass, and its position.
    token: u32,
    position: usize,
    steps: usize,
    over: bool,
    /// True if the model gave what are no numbers.
    broken: bool,
    /// Most tokens of a pass.
    batch: usize,
    top: Option<TopToken>,
    output: Output,
}

impl Generation {
    /// Encodes `prompt` for a run of at most `steps` positions in a context of `seq_len`.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] if the prompt does not fit the context. One that fits, but is
    /// longer than `steps`, is echoed as far as the steps go, as by run.c. [`PromptError::NoToken`]
    /// for a character that the vocabulary lacks.
    pub fn new(
        tokenizer: &Tokenizer,
        prompt: &[u8],
        steps: usize,
        seq_len: usize,
    ) -> Result<Generation, PromptError> {
        PromptError::check(tokenizer, prompt)?;
        let prompt = tokenizer.encode(prompt, true, false);
        if prompt.len() > seq_len {
            return Err(PromptError::TooLong {
                tokens: prompt.len(),
                left: seq_len,
            });
        }
        Ok(Generation {
            token: prompt.first().copied().unwrap_or(tokenizer.start()),
            prompt,
            position: 0,
            steps: steps.min(seq_len),
            over: false,
            broken: false,
            batch: BATCH,
            top: None,
            output: Output::new(tokenizer, BATCH.min(steps).max(1)),
        })
    }

    /// Lets a pass over the prompt take at most `tokens` tokens, where a whole batch would keep the
    /// user waiting too long.
    pub fn limit_batch(&mut self, tokens: usize) {
        self.batch = tokens.clamp(1, BATCH);
    }

    /// Strings that end the text where the model says them; they are not part of it.
    pub fn set_stops(&mut self, stops: &[String]) {
        self.output.set_stops(stops);
    }

    /// One pass and the text that follows from it. The first is over the first token alone; the
    /// prompt's others go in batches.
    pub fn step(
        &mut self,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
    ) -> Step<'_> {
        if self.over || self.position >= self.steps {
            return Step::Done;
        }
        self.output.clear();
        if self.position == 0 && !self.prompt.is_empty() && tokenizer.bos() != Some(self.token) {
            // A text that begins with a word of its own.
            self.output.push_prompt(tokenizer.decode_first(self.token));
        }
        let prompt = self.prompt.get(self.position..).unwrap_or_default();
        let known = prompt.len().min(self.batch).min(self.steps - self.position);
        let (logits, passed) = if self.position == 0 || known < 2 {
            (session.forward(self.token, self.position), 1)
        } else {
            (session.prefill(&prompt[..known], self.position), known)
        };
        if self.position == 0 {
            self.top = Some(TopToken::of(logits));
        }
        for i in 1..passed {
            self.output
                .push_prompt(tokenizer.decode(prompt[i - 1], prompt[i]));
            self.token = prompt[i];
        }
        self.position += passed;
        self.broken = !are_numbers(logits);
        if self.broken {
            self.over = true;
            self.output.finish();
            return Step::Text(self.output.text());
        }
        let known = self.prompt.get(self.position).copied();
        if known.is_none() && self.position == self.prompt.len().max(1) {
            sampler.accept(&self.prompt);
        }
        let next = known.unwrap_or_else(|| sampler.sample(logits));

        self.over = tokenizer.is_end(next);
        if !self.over && known.is_some() {
            self.output.push_prompt(tokenizer.decode(self.token, next));
        } else if !self.over {
            self.output.push(tokenizer.decode(self.token, next));
            self.over = self.output.stopped();
        }
        if self.over || self.position == self.steps {
            self.output.finish();
        }
        self.token = next;
        Step::Text(self.output.text())
    }

    /// Tells whether it is over because the model gives no numbers: [`NOT_NUMBERS`].
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Passes run so far (run.c's `pos`).
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tokens of the prompt, BOS included.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt.len()
    }

    /// The top token of the pass at position 0, once it has been run.
    pub fn top_token(&self) -> Option<TopToken> {
        self.top
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{Ids, Merging, Vocabulary};

    #[test]
    fn half_a_character_at_the_end_may_be_what_ends_a_stop_string() {
        let tokenizer = Tokenizer::new(&Vocabulary {
            words: &["a".into()],
            types: &[],
            merging: Merging::Ranks(&[]),
            ids: Ids::default(),
            add_bos: None,
            add_eos: None,
            add_space_prefix: None,
            pre: Some("gpt-2"),
            name: "",
            chats: false,
        });
        for (stop, want) in [("b\u{fffd}", "a"), ("bc", "ab\u{fffd}"), ("\u{fffd}", "ab")] {
            let mut output = Output::new(tokenizer.as_ref().unwrap(), 4);
            output.set_stops(&[stop.into()]);
            output.push(b"ab\xe6");
            output.finish();
            assert_eq!(output.text(), want, "{stop}");
        }
    }
}
