//! Chat: in a model's own template, as a text that user and model continue in turns, or as run.c's
//! chat.
//!
//! A [`Chat`] keeps what was said. For each turn it lays out the whole conversation as tokens; its
//! [`Sequence`] compares them with what the KV cache holds, and passes only the rest.

mod template;

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

pub use llama2_jinja::DateTime;
pub use template::{ChatMessage, ChatRole, ChatTemplate, RenderOptions, Rendered, SAID, Value};

use crate::{
    event::EndReason,
    generate::{Limits, PromptError, Sequence},
    run_mode::RunMode,
    sampler::Sampler,
    tokenizer::Tokenizer,
};

/// Date for machines without a clock that can be believed: the one that Llama 3's templates take.
pub const NO_CLOCK: DateTime = DateTime {
    year: 2024,
    month: 7,
    day: 26,
    hour: 0,
    minute: 0,
    second: 0,
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

/// Answer to a turn.
#[derive(Debug, Default)]
struct Answer {
    /// All its tokens, one that ended it included.
    tokens: Vec<u32>,
    /// The last of them has not been passed.
    is_pending: bool,
    content: String,
    reasoning: Option<String>,
    /// How many of the tokens are exactly the content; 0 if they are not.
    exact: usize,
}

/// Question and answer.
struct Turn {
    user: String,
    /// Tokens of the question, where no template lays it out.
    prompt: Vec<u32>,
    answer: Answer,
    /// [`Chat::first`] before it, and [`Chat::kept`] if it changed that: to be taken back.
    first: usize,
    kept: Option<Vec<u32>>,
}

impl Turn {
    fn messages(&self) -> [ChatMessage<'_>; 2] {
        let answer = ChatMessage {
            reasoning: self.answer.reasoning.as_deref(),
            tokens: &self.answer.tokens[..self.answer.exact],
            ..ChatMessage::new(ChatRole::Assistant, &self.answer.content)
        };
        [ChatMessage::new(ChatRole::User, &self.user), answer]
    }
}

/// Beginning of a turn, before it is begun.
struct Beginning {
    /// The conversation's tokens, up to where the answer begins.
    tokens: Vec<u32>,
    /// Those of the turn, where no template lays it out.
    prompt: Vec<u32>,
    /// With `Some` reasoning is told from the answer, which begins inside of it or not.
    reasoning: Option<bool>,
    /// Oldest turns that are dropped for it.
    dropped: usize,
    forgotten: Option<Forgotten>,
}

/// A conversation. [`Chat::begin_turn`], then [`crate::generate::step`] with [`Chat::sequence_mut`]
/// until it ends or [`Chat::stop`] is called.
pub struct Chat {
    mode: RunMode,
    seq_len: usize,
    template: Option<ChatTemplate>,
    system: Option<String>,
    think: bool,
    now: DateTime,
    turns: Vec<Turn>,
    /// Number of the oldest turn that the model knows: for those before it there is no room.
    first: usize,
    /// Without a template, tokens before that turn: what is left of earlier ones.
    kept: Vec<u32>,
    sequence: Sequence,
    /// The last turn's answer is in the sequence, and not in the turn yet.
    is_open: bool,
    forgotten: Option<Forgotten>,
}

impl Chat {
    /// A conversation in a context of `seq_len`: as [`RunMode::Dialog`] with answers of at most
    /// `most` tokens, else run.c's, of at most `most` positions in all.
    pub fn new(tokenizer: &Tokenizer, mode: RunMode, most: usize, seq_len: usize) -> Chat {
        let (mode, template, context) = match mode {
            RunMode::Dialog => (
                RunMode::Dialog,
                ChatTemplate::of_tokenizer(tokenizer),
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
            now: NO_CLOCK,
            turns: Vec::new(),
            first: 0,
            kept: Vec::new(),
            sequence: Sequence::new(tokenizer, mode, limits, sampler),
            is_open: false,
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

    /// Sets the date that templates are told. One date holds for a whole conversation: with another
    /// one all of it would have to be read again.
    pub fn set_date(&mut self, now: DateTime) {
        self.now = now;
    }

    /// The template, if the model has one.
    pub fn template(&self) -> Option<&ChatTemplate> {
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
    pub fn fits(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        self.settle(tokenizer);
        self.beginning(tokenizer, system, user).map(drop)
    }

    /// Begins the user's turn. The system prompt counts in the first turn only, and nowhere without
    /// a template. A full context loses its oldest turns, but for the system prompt, and
    /// [`Chat::forgotten`] says so; in run.c's chat it is the end. A turn that is not over is
    /// stopped.
    ///
    /// # Errors
    /// [`PromptError::TooLong`] if the turn does not fit, [`PromptError::NoToken`] for a character
    /// that the vocabulary lacks, [`PromptError::Template`] if the template refuses; the
    /// conversation is as before.
    pub fn begin_turn(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<(), PromptError> {
        if self.sequence.is_running() {
            self.stop(tokenizer);
        }
        self.settle(tokenizer);
        let beginning = self.beginning(tokenizer, system, user)?;
        if self.is_empty() {
            self.system = given(system).map(ToString::to_string);
        }
        let before = beginning.tokens.len() - beginning.prompt.len();
        let is_cut = matches!(beginning.forgotten, Some(Forgotten::Tokens(_)));
        let kept = is_cut.then(|| beginning.tokens[..before].to_vec());
        self.turns.push(Turn {
            user: user.into(),
            prompt: beginning.prompt,
            answer: Answer::default(),
            first: self.first,
            kept: kept.map(|kept| core::mem::replace(&mut self.kept, kept)),
        });
        self.first += beginning.dropped;
        self.forgotten = beginning.forgotten;
        self.is_open = true;
        self.sequence.begin(&beginning.tokens, beginning.reasoning);
        Ok(())
    }

    /// Tells whether nothing has been said.
    fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.kept.is_empty()
    }

    /// The system prompt of the next turn.
    fn system_of<'a>(&'a self, system: &'a str) -> Option<&'a str> {
        match (self.is_empty(), self.mode) {
            // Those who type nothing leave it to the model's maker.
            (true, _) => given(system),
            (false, RunMode::Dialog) => self.system.as_deref(),
            // run.c's is in the first turn.
            (false, _) => None,
        }
    }

    fn beginning(
        &self,
        tokenizer: &Tokenizer,
        system: &str,
        user: &str,
    ) -> Result<Beginning, PromptError> {
        let system = self.system_of(system);
        for said in [system.unwrap_or_default(), user] {
            PromptError::check(tokenizer, said.as_bytes())?;
        }
        match &self.template {
            Some(template) => self.rendered_beginning(template, tokenizer, system, user),
            None => self.text_beginning(tokenizer, system, user),
        }
    }

    /// Tokens of a conversation without its first `dropped` turns, up to where the answer begins.
    fn render(
        &self,
        template: &ChatTemplate,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        turns: &[Turn],
        user: &str,
    ) -> Result<Rendered, PromptError> {
        let system = system.map(|system| ChatMessage::new(ChatRole::System, system));
        let user = ChatMessage::new(ChatRole::User, user);
        let messages: Vec<ChatMessage<'_>> = system
            .into_iter()
            .chain(turns.iter().flat_map(Turn::messages))
            .chain([user])
            .collect();
        let options = RenderOptions {
            answers: true,
            thinks: self.think,
            now: self.now,
        };
        template
            .render(tokenizer, &messages, &options)
            .map_err(|error| PromptError::Template(error.to_string()))
    }

    fn rendered_beginning(
        &self,
        template: &ChatTemplate,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        user: &str,
    ) -> Result<Beginning, PromptError> {
        let turns = &self.turns[self.first..];
        let all = turns.len();
        let without =
            |dropped: usize| self.render(template, tokenizer, system, &turns[dropped..], user);
        let room = self.room();
        let (mut dropped, mut rendered) = (0, without(0)?);
        if all > 0 && rendered.tokens.len() > room {
            // What follows is read anew, which takes long: more is dropped at once than the next
            // turn needs.
            for room in [room - room / 4, room] {
                dropped = fewest(all, |dropped| Ok(without(dropped)?.tokens.len() <= room))?;
                if dropped < all {
                    break;
                }
            }
            rendered = without(dropped)?;
        }
        // The oldest turns may go, and an answer needs a place.
        let left = self.seq_len.saturating_sub(1);
        match rendered.tokens.len() {
            tokens if tokens > left => Err(PromptError::TooLong { tokens, left }),
            _ => Ok(Beginning {
                tokens: rendered.tokens,
                prompt: Vec::new(),
                reasoning: Some(rendered.opens_thought),
                dropped,
                forgotten: (dropped > 0).then_some(Forgotten::Turns {
                    turns: dropped,
                    keeps_system: system.is_some(),
                }),
            }),
        }
    }

    /// Without a template: behind what has been said.
    fn text_beginning(
        &self,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        user: &str,
    ) -> Result<Beginning, PromptError> {
        let before = self.sequence.tokens();
        let is_pending = self.sequence.is_pending();
        let bos = tokenizer.bos().filter(|_| self.mode == RunMode::Dialog);
        let is_first = self.is_empty();
        let mut prompt: Vec<u32> = bos.filter(|_| is_first).into_iter().collect();
        let last = before.last().copied();
        prompt.append(&mut self.text_prompt(tokenizer, system, user, last, is_pending));
        // BOS before a text whose beginning is forgotten.
        let begins = usize::from(bos.is_some() && !is_first);
        let (tokens, left) = match self.mode {
            // Half of the text may go.
            RunMode::Dialog => (begins + prompt.len(), self.seq_len.saturating_sub(1)),
            _ => (prompt.len(), self.seq_len.saturating_sub(before.len())),
        };
        if tokens > left {
            return Err(PromptError::TooLong { tokens, left });
        }
        let room = self.room();
        let is_full = self.mode == RunMode::Dialog && before.len() + prompt.len() > room;
        let (mut tokens, forgotten) = match is_full && !is_first {
            false => (before.to_vec(), None),
            // The older half of what there is room for goes.
            true => {
                let half = room.saturating_sub(prompt.len()) / 2;
                let from = before.len() - half.min(before.len());
                let kept = bos.iter().chain(&before[from..]).copied().collect();
                (kept, Some(Forgotten::Tokens(from)))
            }
        };
        tokens.extend_from_slice(&prompt);
        Ok(Beginning {
            tokens,
            prompt,
            reasoning: None,
            // Of turns that are cut only text is left.
            dropped: forgotten.map_or(0, |_| self.turns.len() - self.first),
            forgotten,
        })
    }

    /// Tokens of a turn without a template, behind the token `last`.
    fn text_prompt(
        &self,
        tokenizer: &Tokenizer,
        system: Option<&str>,
        user: &str,
        last: Option<u32>,
        is_pending: bool,
    ) -> Vec<u32> {
        if self.mode == RunMode::Llama2Chat {
            let text = render_llama2(system.unwrap_or_default(), user);
            return tokenizer.encode(text.as_bytes(), true, false);
        }
        let mut tokens = match last {
            None => tokenizer.encode(user.as_bytes(), false, false),
            // Behind a text that is complete another begins.
            Some(last) if tokenizer.is_end(last) => tokenizer.encode(user.as_bytes(), true, false),
            // Nothing typed lets the model go on.
            Some(_) if user.is_empty() && is_pending => return Vec::new(),
            // What is typed stands on a line of its own, as its user sees it.
            Some(_) => tokenizer.encode(format!("\n{user}").as_bytes(), false, false),
        };
        let has_bos = last.is_none() && tokenizer.bos().is_some();
        if tokens.is_empty() && !is_pending && !has_bos {
            tokens.push(tokenizer.start());
        }
        tokens
    }

    /// Tokens that a turn's beginning may fill: there is to be room for an answer, or for what
    /// there can be.
    fn room(&self) -> usize {
        self.seq_len.saturating_sub((self.seq_len / 4).min(256))
    }

    /// Takes the last answer out of the sequence.
    fn settle(&mut self, tokenizer: &Tokenizer) {
        let Some(turn) = self.turns.last_mut().filter(|_| self.is_open) else {
            return;
        };
        self.is_open = false;
        let has_template = self.template.is_some();
        turn.answer = read_answer(&self.sequence, tokenizer, has_template);
    }

    /// Ends the answer where it is: the next turn follows what was said so far. `false` if the
    /// turn's prompt had not been read whole: it is taken back.
    pub fn stop(&mut self, tokenizer: &Tokenizer) -> bool {
        let is_whole = self.sequence.stop();
        if !is_whole {
            self.undo(tokenizer);
        } else if self.mode == RunMode::Llama2Chat {
            // run.c goes on from what has been passed.
            self.sequence.drop_pending();
        }
        is_whole
    }

    /// Takes the last turn back, its question and its answer, and with it what it pushed out of a
    /// full context comes back. Whether there was one.
    pub fn undo(&mut self, tokenizer: &Tokenizer) -> bool {
        self.sequence.stop();
        let Some(turn) = self.turns.pop() else {
            return false;
        };
        self.first = turn.first;
        if let Some(kept) = turn.kept {
            self.kept = kept;
        }
        self.is_open = false;
        self.rest(tokenizer);
        true
    }

    /// Brings the sequence to the end of the last answer.
    fn rest(&mut self, tokenizer: &Tokenizer) {
        let known = &self.turns[self.first..];
        let tokens = self.tokens(tokenizer, known).unwrap_or_default();
        let last = self.turns.last();
        let is_pending = last.is_some_and(|turn| turn.answer.is_pending);
        self.sequence.rest(&tokens, is_pending);
    }

    /// All tokens of the conversation, the last answer's included.
    fn tokens(&self, tokenizer: &Tokenizer, turns: &[Turn]) -> Result<Vec<u32>, PromptError> {
        let (Some(template), Some((last, before))) = (&self.template, turns.split_last()) else {
            let turns = turns
                .iter()
                .flat_map(|turn| turn.prompt.iter().chain(&turn.answer.tokens));
            return Ok(self.kept.iter().chain(turns).copied().collect());
        };
        let system = self.system.as_deref();
        let mut tokens = self
            .render(template, tokenizer, system, before, &last.user)?
            .tokens;
        tokens.extend_from_slice(&last.answer.tokens);
        Ok(tokens)
    }

    /// Continues a conversation that was held elsewhere: its system prompt, its questions and
    /// answers. They are passed before the next turn's prompt. Returns the number of its oldest
    /// turns for which there is no room.
    ///
    /// # Errors
    /// [`PromptError::Template`] if the template refuses; then nothing has been said.
    pub fn recall(
        &mut self,
        tokenizer: &Tokenizer,
        system: &str,
        said: &[(&str, &str)],
    ) -> Result<usize, PromptError> {
        self.sequence.stop();
        self.forgotten = None;
        self.is_open = false;
        self.kept.clear();
        self.turns.clear();
        self.first = 0;
        self.system = given(system).map(ToString::to_string);
        let room = match self.mode {
            RunMode::Dialog => self.room(),
            // There must be room for another turn.
            _ => self.sequence.limits().positions.saturating_sub(1),
        };
        let dropped = fewest(said.len(), |dropped| {
            let turns = self.recalled(tokenizer, &said[dropped..]);
            Ok(self.tokens(tokenizer, &turns)?.len() <= room)
        });
        if let Ok(dropped) = dropped {
            self.turns = self.recalled(tokenizer, &said[dropped..]);
        }
        self.rest(tokenizer);
        dropped
    }

    /// Turns of questions and answers.
    fn recalled(&self, tokenizer: &Tokenizer, said: &[(&str, &str)]) -> Vec<Turn> {
        let is_run_c = self.mode == RunMode::Llama2Chat;
        let mut last = None;
        let mut turns = Vec::with_capacity(said.len());
        for &(user, answer) in said {
            let mut prompt = Vec::new();
            if self.template.is_none() {
                let system = self.system.as_deref().filter(|_| last.is_none());
                prompt.extend(tokenizer.bos().filter(|_| last.is_none() && !is_run_c));
                prompt.append(&mut self.text_prompt(tokenizer, system, user, last, false));
            }
            let tokens = tokenizer.encode(answer.as_bytes(), false, is_run_c);
            last = tokens.last().or(prompt.last()).copied();
            turns.push(Turn {
                user: user.into(),
                prompt,
                answer: Answer {
                    tokens,
                    content: answer.into(),
                    ..Answer::default()
                },
                first: 0,
                kept: None,
            });
        }
        turns
    }
}

/// A system prompt, if one was given.
fn given(system: &str) -> Option<&str> {
    Some(system).filter(|system| !system.is_empty())
}

/// The fewest of `all` that must be dropped until `fits` says so: all, if nothing else does.
fn fewest(
    all: usize,
    mut fits: impl FnMut(usize) -> Result<bool, PromptError>,
) -> Result<usize, PromptError> {
    let (mut low, mut high) = (0, all);
    while low < high {
        let middle = low.midpoint(high);
        match fits(middle)? {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Ok(low)
}

/// Reads the answer out of a sequence, without reasoning where the model `can_think`.
fn read_answer(sequence: &Sequence, tokenizer: &Tokenizer, can_think: bool) -> Answer {
    let tokens = sequence.answer();
    let is_ended = tokens.last().is_some_and(|&last| tokenizer.is_end(last));
    let words = &tokens[..tokens.len() - usize::from(is_ended)];
    let mut bytes = Vec::new();
    let mut before = sequence.before_answer();
    for &token in words {
        bytes.extend_from_slice(tokenizer.decode(before, token));
        before = token;
    }
    let mut text = String::from_utf8_lossy(&bytes);
    let mut is_exact = true;
    if sequence.end() == Some(EndReason::StopString) {
        let stops = sequence.stops().iter();
        if let Some(at) = stops.filter_map(|stop| text.find(&stop[..])).min() {
            text.to_mut().truncate(at);
        }
        is_exact = false;
    }
    let thought = match can_think {
        true => split_reasoning(&text, sequence.opens_thought()),
        false => None,
    };
    let (reasoning, content) = match thought {
        Some((thought, answer)) => (Some(thought.to_string()), answer.to_string()),
        None => (None, text.into_owned()),
    };
    Answer {
        exact: match is_exact && reasoning.is_none() {
            true => words.len(),
            false => 0,
        },
        tokens: tokens.to_vec(),
        is_pending: sequence.is_pending(),
        content,
        reasoning,
    }
}

/// Reasoning and answer, if the text begins with reasoning.
fn split_reasoning(text: &str, is_open: bool) -> Option<(&str, &str)> {
    let inside = match is_open {
        true => text,
        false => text.trim_start().strip_prefix("<think>")?,
    };
    let (thought, answer) = inside.split_once("</think>").unwrap_or((inside, ""));
    Some((thought.trim(), answer.trim_start()))
}
