//! run.c's generate loop as a state machine: a shell drives it pass by pass, and may look at its keyboard in between.

use alloc::{string::String, vec::Vec};
use core::fmt;

use crate::{
    sampler::{Sampler, argmax},
    session::{BATCH, Session},
    tokenizer::Tokenizer,
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
    /// A dialog with a model whose chat template is not known.
    Template,
}

impl fmt::Display for PromptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PromptError::TooLong { tokens, left } => write!(
                f,
                "the prompt has {tokens} tokens, but the model's context has room for {left}; shorten it"
            ),
            PromptError::Template => write!(
                f,
                "chat in this model's own template is not supported yet; let it go on from a text instead (mode generate)"
            ),
        }
    }
}

impl core::error::Error for PromptError {}

/// What one step did.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A pass was run, over one token or a batch of the prompt's; this text became whole by it (often empty: half a
    /// character, or a prompt in chat).
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

/// Text on its way out: whole characters of the tokens so far, without allocating once made.
pub(crate) struct Output {
    stream: Utf8Stream,
    text: String,
}

impl Output {
    /// Room for the text of `tokens` tokens at once.
    pub(crate) fn new(tokenizer: &Tokenizer, tokens: usize) -> Output {
        // Each byte may turn into U+FFFD, three bytes long.
        Output {
            stream: Utf8Stream::default(),
            text: String::with_capacity(3 * (tokens * tokenizer.longest_piece() + 4)),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.text.clear();
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.stream.push(bytes, &mut self.text);
    }

    /// Forgets everything, the beginning of a character too.
    pub(crate) fn reset(&mut self) {
        self.text.clear();
        self.stream = Utf8Stream::default();
    }

    pub(crate) fn finish(&mut self) {
        self.stream.finish(&mut self.text);
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// One text in the making: the prompt echoed, then what the model makes of it, until BOS or the last step.
pub struct Generation {
    prompt: Vec<u32>,
    /// The token of the next pass, and its position.
    token: u32,
    position: usize,
    steps: usize,
    over: bool,
    /// Most tokens of a pass.
    batch: usize,
    top: Option<TopToken>,
    output: Output,
}

impl Generation {
    /// Encodes `prompt` for a run of at most `steps` positions in a context of `seq_len`.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] if the prompt does not fit the context. One that fits, but is longer than `steps`, is
    /// echoed as far as the steps go, as by run.c.
    pub fn new(
        tokenizer: &Tokenizer,
        prompt: &[u8],
        steps: usize,
        seq_len: usize,
    ) -> Result<Generation, PromptError> {
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
            batch: BATCH,
            top: None,
            output: Output::new(tokenizer, BATCH.min(steps).max(1)),
        })
    }

    /// Lets a pass over the prompt take at most `tokens` tokens, where a whole batch would keep the user waiting too long.
    pub fn limit_batch(&mut self, tokens: usize) {
        self.batch = tokens.clamp(1, BATCH);
    }

    /// One pass and the text that follows from it. The first is over the first token alone; the prompt's others go in
    /// batches.
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
            self.output.push(tokenizer.decode(self.token, self.token));
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
            self.output.push(tokenizer.decode(prompt[i - 1], prompt[i]));
            self.token = prompt[i];
        }
        self.position += passed;
        let next = match self.prompt.get(self.position) {
            Some(&token) => token,
            None => sampler.sample(logits),
        };

        self.over = tokenizer.is_end(next);
        if !self.over {
            self.output.push(tokenizer.decode(self.token, next));
        }
        if self.over || self.position == self.steps {
            self.output.finish();
        }
        self.token = next;
        Step::Text(self.output.text())
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
