//! Chat, turn by turn: in a model's own template, as a text that user and model continue in turns,
//! or as run.c's chat. A [`Chat`] lays out what is said as tokens of a [`Sequence`], and keeps the
//! turns; of each turn only what is new is passed.

mod detect;
mod families;
mod literals;
pub mod template;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

pub use template::Template;

use crate::{
    generate::{Limits, Mark, PromptError, Sequence},
    run_mode::RunMode,
    sampler::Sampler,
    tokenizer::Tokenizer,
};

/// Renders a user's turn in Llama 2's chat template (Touvron et al. 2023), with the system prompt
/// if there is one.
pub fn render_llama2(system: &str, user: &str) -> String {
    if system.is_empty() {
        format!("[INST] {user} [/INST]")
    } else {
        format!("[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{user} [/INST]")
    }
}

/// Loss of a full context when a turn begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgotten {
    /// The oldest turns; the system prompt is kept.
    Turns {
        /// How many.
        turns: usize,
        /// There is a system prompt.
        keeps_system: bool,
    },
    /// The first tokens of a text without turns.
    Tokens(usize),
}

/// A turn that is in the context.
struct Turn {
    user: String,
    /// Index of the answer's first token in the sequence.
    answer: usize,
    /// The sequence before it, which taking it back comes back to.
    before: Mark,
}

/// A conversation. [`Chat::begin_turn`], then [`crate::generate::step`] with [`Chat::sequence_mut`]
/// until it ends or [`Chat::stop`] is called.
pub struct Chat {
    mode: RunMode,
    seq_len: usize,
    template: Option<Template>,
    system: Option<String>,
    think: bool,
    turns: Vec<Turn>,
    sequence: Sequence,
    forgotten: Option<Forgotten>,
}

impl Chat {
    /// A conversation in a context of `seq_len`: as [`RunMode::Dialog`] with answers of at most
    /// `most` tokens, else run.c's, of at most `most` positions in all.
    pub fn new(tokenizer: &Tokenizer, mode: RunMode, most: usize, seq_len: usize) -> Chat {
        let (mode, template, context) = match mode {
            RunMode::Dialog => (
                RunMode::Dialog,
                Template::of_tokenizer(tokenizer),
                // The token after the last one needs a place, too.
                seq_len.saturating_sub(1),
            ),
            _ => (RunMode::Llama2Chat, None, seq_len),
        };
        let limits = Limits {
            tokens: usize::MAX,
            positions: context,
            context,
        };
        // Until one is set, the most likely token is drawn.
        let sampler = Sampler::new(0, 0.0, 0.0, 1);
        let mut chat = Chat {
            mode,
            seq_len,
            template,
            system: None,
            think: true,
            turns: Vec::new(),
            sequence: Sequence::new(tokenizer, mode, limits, sampler),
            forgotten: None,
        };
        chat.set_most(most);
        chat
    }

    /// Sets the most tokens of an answer; in run.c's chat, whose limit is the whole conversation's,
    /// all its positions.
    pub fn set_most(&mut self, most: usize) {
        let limits = self.sequence.limits_mut();
        match self.mode {
            RunMode::Dialog => limits.tokens = most,
            _ => limits.positions = most.min(limits.context),
        }
    }

    /// Tells whether a model that can think before it answers is to.
    pub fn set_thinking(&mut self, think: bool) {
        self.think = think;
    }

    /// The template, if the model has one.
    pub fn template(&self) -> Option<&Template> {
        self.template.as_ref()
    }

    /// Tells whether the model only continues what is said.
    pub fn is_completion(&self) -> bool {
        self.mode == RunMode::Dialog && self.template.is_none()
    }

    /// The sequence of the answer.
    pub fn sequence(&self) -> &Sequence {
        &self.sequence
    }

    /// The sequence of the answer, to be stepped.
    pub fn sequence_mut(&mut self) -> &mut Sequence {
        &mut self.sequence
    }

    /// Loss of the context when the turn began.
    pub fn forgotten(&self) -> Option<Forgotten> {
        self.forgotten
    }

    /// Tells whether nothing more can be said: run.c's positions are used up.
    pub fn is_over(&self) -> bool {
        let positions = self.sequence.limits().positions;
        self.mode == RunMode::Llama2Chat && self.sequence.tokens().len() >= positions
    }

    /// Tells whether a turn could begin: tried without beginning it.
    ///
    /// # Errors
    /// As [`Chat::begin_turn`].
    pub fn fits(&self, tokenizer: &Tokenizer, system: &str, user: &str) -> Result<(), PromptError> {
        let begins = self.sequence.tokens().is_empty();
        let system = match (begins, self.mode) {
            (true, _) => Some(system),
            (false, RunMode::Dialog) => self.system.as_deref(),
            // run.c's is in the first turn.
            (false, _) => None,
        };
        let system = system.filter(|system| !system.is_empty());
        for said in [system.unwrap_or_default(), user] {
            PromptError::check(tokenizer, said.as_bytes())?;
        }
        let (tokens, left) = match self.mode {
            // The oldest turns may go, and an answer needs a place.
            RunMode::Dialog => {
                let opening = self.opening(tokenizer, system, user).len();
                // Without turns half of the text may go, and a line begins.
                let line = match self.is_completion() && !begins {
                    true => 1 + self.addition(tokenizer, None, user).len(),
                    false => 0,
                };
                (opening.max(line), self.seq_len.saturating_sub(1))
            }
            _ => (
                self.addition(tokenizer, system, user).len(),
                self.seq_len.saturating_sub(self.sequence.tokens().len()),
            ),
        };
        match tokens <= left {
            true => Ok(()),
            false => Err(PromptError::TooLong { tokens, left }),
        }
    }

    /// Begins the user's turn. The system prompt counts in the first turn only, and nowhere without
    /// a template. A full context loses its oldest turns, but for the system prompt, and
    /// [`Chat::forgotten`] says so; in run.c's chat it is the end. A turn that is not over is
    /// stopped.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] if the turn does not fit, [`PromptError::NoToken`] for a character
    /// that the vocabulary lacks; the conversation is as before.
    pub fn begin_turn(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        self.fits(tokenizer, system, user)?;
        if self.sequence.is_running() {
            self.stop();
        }
        let begins = self.sequence.tokens().is_empty();
        if begins {
            // Those who type nothing leave it to the model's maker.
            self.system = (!system.is_empty()).then(|| system.to_string());
        }
        self.forgotten = None;
        let system = self.system.clone();
        let system = system.as_deref();
        if self.mode == RunMode::Llama2Chat {
            let system = system.filter(|_| begins);
            let prompt = self.addition(tokenizer, system, user);
            self.begin(user, &prompt);
            return Ok(());
        }
        let first = self.opening(tokenizer, system, user);
        if begins {
            self.begin(user, &first);
            return Ok(());
        }
        let added = self.addition(tokenizer, system, user);
        let room = self.room();
        if self.sequence.tokens().len() + added.len() <= room {
            self.begin(user, &added);
        } else if self.template.is_none() {
            self.begin_with_half(tokenizer, user, &added);
        } else if self.drop_oldest(tokenizer, added.len()) {
            self.begin(user, &added);
        } else {
            self.forget(self.turns.len());
            self.restart();
            self.begin(user, &first);
        }
        Ok(())
    }

    /// Tokens that a turn's beginning may fill: there is to be room for an answer, or for what
    /// there can be.
    fn room(&self) -> usize {
        self.seq_len.saturating_sub((self.seq_len / 4).min(256))
    }

    /// Drops the oldest turns until there is room for so many tokens more; the system prompt stays.
    /// `false` if nothing would be left.
    fn drop_oldest(&mut self, tokenizer: &Tokenizer, added: usize) -> bool {
        let room = self.room();
        for dropped in 1..self.turns.len() {
            let kept = &self.turns[dropped];
            let opening = self.opening(tokenizer, self.system.as_deref(), &kept.user);
            let (from, shift) = (kept.answer, opening.len());
            if shift + self.sequence.tokens().len() - from + added <= room {
                self.turns.drain(..dropped);
                for (number, turn) in self.turns.iter_mut().enumerate() {
                    turn.answer = turn.answer - from + shift;
                    turn.before = match number {
                        0 => Mark::default(),
                        _ => turn.before.moved(from, shift),
                    };
                }
                self.sequence.replace_first(from, &opening);
                self.forget(dropped);
                return true;
            }
        }
        false
    }

    /// Without turns to drop, the older half of what there is room for goes.
    fn begin_with_half(&mut self, tokenizer: &Tokenizer, user: &str, added: &[u32]) {
        let len = self.sequence.tokens().len();
        let kept = self.room().saturating_sub(added.len()) / 2;
        let from = len - kept.min(len);
        self.forgotten = Some(Forgotten::Tokens(from));
        // Of earlier turns only text is left, which cannot be taken back.
        self.turns.clear();
        let bos: Vec<u32> = tokenizer.bos().into_iter().collect();
        self.sequence.replace_first(from, &bos);
        self.begin(user, added);
    }

    fn forget(&mut self, turns: usize) {
        let keeps_system = self.system.is_some();
        self.forgotten = Some(Forgotten::Turns {
            turns,
            keeps_system,
        });
    }

    /// Nothing has been said.
    fn restart(&mut self) {
        self.turns.clear();
        self.sequence.recall(&[]);
    }

    /// Tells whether the last answer has its end.
    fn is_closed(&self, tokenizer: &Tokenizer) -> bool {
        let last = self.sequence.tokens().last();
        last.is_none_or(|&last| tokenizer.is_end(last))
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

    /// A later turn's tokens; of run.c's chat any turn's.
    fn addition(&self, tokenizer: &Tokenizer, system: Option<&str>, user: &str) -> Vec<u32> {
        let mut tokens = Vec::new();
        let is_pending = self.sequence.is_pending();
        match &self.template {
            _ if self.mode == RunMode::Llama2Chat => {
                let text = render_llama2(system.unwrap_or_default(), user);
                return tokenizer.encode(text.as_bytes(), true, false);
            }
            Some(template) => {
                let closed = self.is_closed(tokenizer);
                tokenizer.encode_marked(&template.next(closed, user, self.think), &mut tokens);
            }
            // Behind a text that is complete another begins.
            None if self.is_closed(tokenizer) => {
                tokens.append(&mut tokenizer.encode(user.as_bytes(), true, false));
            }
            // What is typed stands on a line of its own, as its user sees it; nothing lets the
            // model go on.
            None if !user.is_empty() || !is_pending => {
                let text = format!("\n{user}");
                tokens.append(&mut tokenizer.encode(text.as_bytes(), false, false));
            }
            None => (),
        }
        if tokens.is_empty() && !is_pending {
            tokens.push(tokenizer.start());
        }
        tokens
    }

    fn begin(&mut self, user: &str, prompt: &[u32]) {
        let before = self.sequence.mark();
        self.turns.push(Turn {
            user: user.into(),
            answer: self.sequence.tokens().len() + prompt.len(),
            before,
        });
        let template = self.template.as_ref();
        let reasoning = template.map(|template| template.opens_thought(self.think));
        self.sequence.begin(prompt, reasoning);
    }

    /// Ends the answer where it is: the next turn follows what was said so far. `false` if the
    /// turn's prompt had not been read whole: it is taken back.
    pub fn stop(&mut self) -> bool {
        let is_whole = self.sequence.stop();
        if !is_whole {
            self.undo();
        } else if self.mode == RunMode::Llama2Chat {
            // run.c goes on from what has been passed.
            self.sequence.drop_pending();
        }
        is_whole
    }

    /// Takes the last turn back, its question and its answer. Whether there was one that could be:
    /// what was said before a full context was cut cannot.
    pub fn undo(&mut self) -> bool {
        self.sequence.stop();
        let Some(Turn { before, .. }) = self.turns.pop() else {
            return false;
        };
        self.sequence.back_to(before);
        true
    }

    /// Continues a conversation that was held elsewhere: its system prompt, its questions and
    /// answers. They are passed before the next turn's prompt. Returns the number of its oldest
    /// turns for which there is no room.
    pub fn recall(&mut self, tokenizer: &Tokenizer, system: &str, said: &[(&str, &str)]) -> usize {
        self.sequence.stop();
        self.forgotten = None;
        self.system = (!system.is_empty()).then(|| system.to_string());
        let room = match self.mode {
            RunMode::Dialog => self.room(),
            // There must be room for another turn.
            _ => self.sequence.limits().positions.saturating_sub(1),
        };
        for dropped in 0..=said.len() {
            self.restart();
            let is_whole = said[dropped..].iter().all(|&(user, answer)| {
                self.recall_turn(tokenizer, user, answer);
                self.sequence.tokens().len() <= room
            });
            if is_whole {
                return dropped;
            }
        }
        said.len()
    }

    fn recall_turn(&mut self, tokenizer: &Tokenizer, user: &str, answer: &str) {
        let is_first = self.turns.is_empty();
        let system = self.system.as_deref();
        let is_run_c = self.mode == RunMode::Llama2Chat;
        let mut tokens = match is_first && !is_run_c {
            true => self.opening(tokenizer, system, user),
            false => self.addition(tokenizer, system.filter(|_| is_first), user),
        };
        let before = self.sequence.mark();
        let start = self.sequence.tokens().len();
        self.turns.push(Turn {
            user: user.into(),
            answer: start + tokens.len(),
            before,
        });
        // In a template the next turn ends this answer.
        tokens.append(&mut tokenizer.encode(answer.as_bytes(), false, is_run_c));
        let all = [self.sequence.tokens(), &tokens].concat();
        self.sequence.recall(&all);
    }
}
