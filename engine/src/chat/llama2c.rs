//! run.c's chat loop with Llama 2's template, as a state machine like [`crate::generate`]'s.

use alloc::{format, string::String, vec::Vec};

use crate::{
    generate::{Output, PromptError, Step, TopToken, are_numbers},
    sampler::Sampler,
    session::{BATCH, Session},
    tokenizer::{EOS, Tokenizer},
};

/// One user's turn in Llama 2's chat template (Touvron et al. 2023), the system prompt where there
/// is one.
pub fn render_llama2(system: &str, user: &str) -> String {
    if system.is_empty() {
        format!("[INST] {user} [/INST]")
    } else {
        format!("[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{user} [/INST]")
    }
}

/// A dialog; see [`super::Chat`].
///
/// run.c prints what the model makes of its own EOS before the user's next turn; that is left out
/// here.
pub struct Llama2Chat {
    /// The current turn's prompt, and how much of it has been passed.
    prompt: Vec<u32>,
    passed: usize,
    /// The assistant's last token, to be passed next.
    next: u32,
    position: usize,
    /// All tokens that have been passed, how many of them the cache has keys and values of, and
    /// where turns began.
    context: Vec<u32>,
    cached: usize,
    turns: Vec<(usize, u32)>,
    /// Tokens that were to be passed when the turn began.
    to_pass: usize,
    steps: usize,
    seq_len: usize,
    /// True if the model gave what are no numbers.
    broken: bool,
    /// Most tokens of a pass.
    batch: usize,
    top: Option<TopToken>,
    output: Output,
}

impl Llama2Chat {
    /// A dialog of at most `steps` positions in a context of `seq_len`.
    pub fn new(tokenizer: &Tokenizer, steps: usize, seq_len: usize) -> Llama2Chat {
        Llama2Chat {
            prompt: Vec::new(),
            passed: 0,
            next: EOS,
            position: 0,
            context: Vec::with_capacity(seq_len),
            cached: 0,
            turns: Vec::new(),
            to_pass: 0,
            steps: steps.min(seq_len),
            seq_len,
            broken: false,
            batch: BATCH,
            top: None,
            output: Output::new(tokenizer, 1),
        }
    }

    /// Strings that end the assistant's turn where the model says them; run.c knows none.
    pub fn set_stops(&mut self, stops: &[String]) {
        self.output.set_stops(stops);
    }

    /// See [`super::Chat::fits`].
    pub fn fits(&self, tokenizer: &Tokenizer, system: &str, user: &str) -> Result<(), PromptError> {
        self.prompt(tokenizer, system, user).map(drop)
    }

    /// Begins the user's turn.
    pub fn begin_turn(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        self.prompt = self.prompt(tokenizer, system, user)?;
        self.passed = 0;
        self.turns.push((self.position, self.next));
        self.to_pass = self.position - self.cached + self.prompt.len();
        self.output.reset();
        Ok(())
    }

    /// Sets how many positions the dialog may have.
    pub fn set_steps(&mut self, steps: usize) {
        self.steps = steps.min(self.seq_len);
    }

    /// See [`super::Chat::undo`].
    pub fn undo(&mut self) -> bool {
        self.interrupt();
        let Some((position, next)) = self.turns.pop() else {
            return false;
        };
        (self.position, self.next) = (position, next);
        self.context.truncate(position);
        self.cached = self.cached.min(position);
        true
    }

    /// See [`super::Chat::recall`].
    pub fn recall(&mut self, tokenizer: &Tokenizer, system: &str, said: &[(&str, &str)]) -> usize {
        self.interrupt();
        for dropped in 0..=said.len() {
            self.context.clear();
            self.turns.clear();
            let mut whole = true;
            for &(user, answer) in &said[dropped..] {
                self.position = self.context.len();
                let Ok(mut turn) = self.prompt(tokenizer, system, user) else {
                    whole = false;
                    break;
                };
                turn.append(&mut tokenizer.encode(answer.as_bytes(), false, true));
                self.turns.push((self.position, EOS));
                self.context.append(&mut turn);
                // There must be room for another turn.
                whole &= self.context.len() < self.steps;
                if !whole {
                    break;
                }
            }
            if whole || dropped == said.len() {
                (self.position, self.cached) = (self.context.len(), 0);
                return dropped;
            }
        }
        said.len()
    }

    /// See [`super::Chat::forget_cache`].
    pub fn forget_cache(&mut self) {
        self.cached = 0;
    }

    /// See [`super::Chat::progress`].
    pub fn progress(&self) -> (usize, usize) {
        let left = self.context.len() - self.cached + self.prompt.len() - self.passed;
        (self.to_pass.saturating_sub(left), self.to_pass)
    }

    /// See [`super::Chat::context`].
    pub fn context(&self) -> &[u32] {
        &self.context
    }

    /// A turn's tokens.
    fn prompt(
        &self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<Vec<u32>, PromptError> {
        let system = if self.position == 0 { system } else { "" };
        let text = render_llama2(system, user);
        PromptError::check(tokenizer, text.as_bytes())?;
        let prompt = tokenizer.encode(text.as_bytes(), true, false);
        let left = self.seq_len - self.position;
        if prompt.len() > left {
            return Err(PromptError::TooLong {
                tokens: prompt.len(),
                left,
            });
        }
        Ok(prompt)
    }

    /// Lets a pass over a prompt take at most `tokens` tokens, where a whole batch would keep the
    /// user waiting too long.
    pub fn limit_batch(&mut self, tokens: usize) {
        self.batch = tokens.clamp(1, BATCH);
    }

    /// One pass, over a token or a batch of the prompt's (the dialog's first goes alone), and the
    /// text that follows from it. A newline follows the assistant's last word.
    pub fn step(
        &mut self,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        sampler: &mut Sampler,
    ) -> Step<'_> {
        if self.position >= self.steps {
            return Step::Done;
        }
        if self.cached < self.context.len() {
            let end = self.context.len().min(self.cached + self.batch);
            match &self.context[self.cached..end] {
                [token] => session.forward(*token, self.cached),
                tokens => session.prefill(tokens, self.cached),
            };
            self.cached = end;
            self.output.clear();
            return Step::Text("");
        }
        let forced = self.prompt.get(self.passed).copied();
        let token = forced.unwrap_or(self.next);
        let prompt = self.prompt.get(self.passed..).unwrap_or_default();
        let known = prompt.len().min(self.batch).min(self.steps - self.position);
        let (logits, count) = if self.position == 0 || known < 2 {
            (session.forward(token, self.position), 1)
        } else {
            (session.prefill(&prompt[..known], self.position), known)
        };
        if self.position == 0 {
            self.top = Some(TopToken::of(logits));
        }
        let token = if forced.is_some() {
            prompt[count - 1]
        } else {
            token
        };
        match forced {
            Some(_) => self.context.extend_from_slice(&prompt[..count]),
            None => self.context.push(token),
        }
        self.position += count;
        self.cached = self.position;
        self.passed += if forced.is_some() { count } else { 0 };
        self.output.clear();
        self.broken = !are_numbers(logits);
        if self.broken {
            self.output.finish();
            // There is nothing more to be said.
            (self.position, self.cached) = (self.steps, 0);
            return Step::Text(self.output.text());
        }
        // run.c samples after each token of the prompt and drops what comes; only the generator
        // shows it.
        let whole = self.passed == self.prompt.len();
        for _ in 0..count - usize::from(whole) {
            sampler.skip();
        }
        if !whole {
            return Step::Text("");
        }
        if forced.is_none() && token == EOS {
            sampler.skip();
            return Step::TurnOver;
        }
        self.next = sampler.sample(logits);
        if self.next != EOS {
            self.output.push(tokenizer.decode(token, self.next));
        }
        if self.output.stopped() {
            self.next = EOS;
        }
        if self.next == EOS || self.position == self.steps {
            self.output.finish();
        }
        if self.next == EOS {
            self.output.push_prompt(b"\n");
        }
        Step::Text(self.output.text())
    }

    /// Ends the assistant's turn where it is: the next turn follows what was said so far. A turn
    /// that was not passed whole is taken back.
    pub fn interrupt(&mut self) {
        let half = self.passed < self.prompt.len();
        self.prompt.clear();
        self.passed = 0;
        self.next = EOS;
        self.output.reset();
        if half {
            self.undo();
        }
    }

    /// See [`super::Chat::is_broken`].
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Positions used so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Tells whether there is room for another pass.
    pub fn is_over(&self) -> bool {
        self.position >= self.steps
    }

    /// The top token of the pass at position 0, once it has been run.
    pub fn top_token(&self) -> Option<TopToken> {
        self.top
    }
}
