//! Slots and the queue before them: which task runs in which slot, and what is kept of texts whose
//! slot another one gets.
//!
//! A slot is a sequence of the session. All slots that have a task are served by each pass over the
//! weights. A task takes the slot that holds the longest beginning of its prompt; beginnings that
//! other slots hold, or that were kept, are shared page by page, not computed again.

use alloc::{collections::VecDeque, format, string::String, vec::Vec};
use core::time::Duration;

use llama2_engine::{
    event::{EndReason, Event, Tokens},
    generate::{Sequence, step},
    sampler::Sampler,
    session::Session,
    tokenizer::Tokenizer,
};

use crate::{
    config::Config,
    generation::{Generation, Task, TaskId},
};

/// Share of a prompt that a slot must hold to be chosen for it instead of the one unused longest
/// (llama-server's `--slot-prompt-similarity`).
const SIMILAR: f32 = 0.1;

/// Fewest tokens that are worth sharing with another slot.
const WORTH_SHARING: usize = 8;

/// A slot.
pub(crate) struct Slot {
    sequence: Sequence,
    /// Generation that runs in it.
    pub generation: Option<Generation>,
    /// When it was used last.
    used: u64,
}

impl Slot {
    /// Tokens that the cache holds for it.
    pub fn cached(&self) -> &[u32] {
        self.sequence.cached()
    }
}

/// A sequence of somebody else that goes through the same passes, and who hears its events.
pub type Other<'a> = (&'a mut Sequence, &'a mut dyn FnMut(Event<'_>));

/// Beginning of a text whose slot another text got.
#[derive(Default)]
struct Kept {
    tokens: Vec<u32>,
    used: u64,
}

/// Counts for `/metrics`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Tokens of prompts that were read.
    pub prompt: u64,
    /// Tokens of prompts that the cache held.
    pub reused: u64,
    /// Seconds in which prompts were read.
    pub prompt_seconds: f64,
    /// Tokens that were drawn.
    pub drawn: u64,
    /// Seconds in which they were drawn.
    pub drawn_seconds: f64,
    /// Passes over the weights.
    pub passes: u64,
    /// Slots that they served.
    pub served: u64,
    /// Longest context.
    pub longest: u64,
}

/// Slots and queue.
pub(crate) struct Scheduler {
    slots: Vec<Slot>,
    kept: Vec<Kept>,
    queue: VecDeque<Task>,
    uses: u64,
    /// Positions of a slot's context.
    seq_len: usize,
    /// Number of the first slot's sequence in the session.
    first: usize,
    shifts: bool,
    keeps_idle: bool,
    /// Counts so far.
    pub counts: Counts,
    /// Lines for a log.
    pub remarks: Vec<String>,
    /// Generations that ended, until somebody takes them.
    ended: Vec<Generation>,
}

/// Length of the common beginning.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl Scheduler {
    /// Empty slots in a session: the number of the first one's sequence, and how many. Sequences
    /// behind them are for what is kept.
    pub fn new(
        tokenizer: &Tokenizer,
        session: &Session<'_>,
        (first, slots): (usize, usize),
        config: &Config,
    ) -> Self {
        let seq_len = session.positions();
        let slot = |number| {
            let mut sequence = Sequence::completion(tokenizer, seq_len);
            sequence.set_slot(first + number);
            sequence.limit_batch(config.batch);
            Slot {
                sequence,
                generation: None,
                used: 0,
            }
        };
        let kept = session.sequences().saturating_sub(first + slots);
        let kept = kept.min(config.kept);
        Scheduler {
            slots: (0..slots).map(slot).collect(),
            kept: (0..kept).map(|_| Kept::default()).collect(),
            queue: VecDeque::new(),
            uses: 0,
            seq_len,
            first,
            shifts: config.shifts_context,
            keeps_idle: config.clears_idle && kept > 0,
            counts: Counts::default(),
            remarks: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Number of a slot's sequence in the session.
    pub fn sequence_of(&self, slot: usize) -> usize {
        self.first + slot
    }

    /// Positions of a slot's context.
    pub fn seq_len(&self) -> usize {
        self.seq_len
    }

    /// All slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Number of tasks that wait.
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Number of tasks that run.
    pub fn running(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| slot.generation.is_some())
            .count()
    }

    /// Tells whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running() == 0
    }

    /// Takes a task into the queue.
    pub fn push(&mut self, task: Task) {
        self.queue.push_back(task);
    }

    /// Ends a task, wherever it is: nobody waits for it any more.
    pub fn cancel(&mut self, id: TaskId) {
        self.queue.retain(|task| task.id != id);
        self.ended.retain(|generation| generation.task.id != id);
        for slot in &mut self.slots {
            if slot
                .generation
                .as_ref()
                .is_some_and(|own| own.task.id == id)
            {
                slot.sequence.stop();
                slot.generation = None;
            }
        }
    }

    /// The generation of a task, if it runs.
    pub fn find(&mut self, id: TaskId) -> Option<&mut Generation> {
        let own = self
            .slots
            .iter_mut()
            .filter_map(|slot| slot.generation.as_mut());
        own.chain(&mut self.ended).find(|own| own.task.id == id)
    }

    /// Takes the generation of a task that ended.
    pub fn take_ended(&mut self, id: TaskId) -> Option<Generation> {
        let place = self.ended.iter().position(|own| own.task.id == id)?;
        Some(self.ended.swap_remove(place))
    }

    /// Gives tasks that wait to slots that are free.
    pub fn launch(
        &mut self,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        now: Duration,
        chance: &mut dyn FnMut() -> u64,
    ) {
        let mut at = 0;
        while at < self.queue.len() {
            match self.slot_for(&self.queue[at]) {
                Some(slot) => {
                    if let Some(task) = self.queue.remove(at) {
                        self.begin(task, slot, session, tokenizer, now, chance);
                    }
                }
                None => at += 1,
            }
        }
    }

    /// The free slot that a task gets.
    fn slot_for(&self, task: &Task) -> Option<usize> {
        // The prompt is being read, or about to be.
        let waits = |first: TaskId| {
            let is_first = |own: &Generation| own.task.id == first && own.drawn == 0;
            self.queue.iter().any(|other| other.id == first)
                || self
                    .slots
                    .iter()
                    .any(|slot| slot.generation.as_ref().is_some_and(is_first))
        };
        if task.after.is_some_and(waits) {
            return None;
        }
        let is_free = |slot: &usize| self.slots[*slot].generation.is_none();
        // Tasks that follow a first one have its slot's prompt shared with them.
        if let Some(wanted) = task.params.slot.filter(|_| task.after.is_none()) {
            return Some(wanted).filter(is_free);
        }
        let free = (0..self.slots.len()).filter(is_free);
        let same = |slot: usize| common(self.slots[slot].cached(), &task.prompt);
        let best = free
            .clone()
            .max_by_key(|&slot| (same(slot), usize::MAX - slot))?;
        if task.params.uses_cache && same(best) as f32 > SIMILAR * task.prompt.len() as f32 {
            return Some(best);
        }
        free.min_by_key(|&slot| self.slots[slot].used)
    }

    fn begin(
        &mut self,
        task: Task,
        slot: usize,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        now: Duration,
        chance: &mut dyn FnMut() -> u64,
    ) {
        self.uses += 1;
        match task.params.uses_cache {
            true => self.prepare(&task.prompt, slot, session),
            false => {
                self.keep(slot, 0, None, session);
                self.slots[slot].sequence.hold(&[]);
            }
        }
        if self.keeps_idle {
            self.clear_idle(slot, session);
        }
        let params = &task.params;
        let vocab_size = session.model().config.vocab_size;
        let seed = params.seed.unwrap_or_else(|| chance() as u32);
        let sampler = Sampler::with(vocab_size, params.sampling(tokenizer), u64::from(seed));
        let own = &mut self.slots[slot];
        own.used = self.uses;
        own.sequence.set_stops(&params.stops);
        let most = params.most.unwrap_or(usize::MAX);
        own.sequence
            .begin_completion(&task.prompt, most, task.reasoning, sampler);
        if params.probs > 0 {
            own.sequence
                .set_logprobs(vocab_size, params.probs, params.moment);
        }
        let reused = own.sequence.reused();
        self.counts.reused += reused as u64;
        own.generation = Some(Generation::new(task, slot, reused, now));
    }

    /// Brings the longest beginning of a prompt that is known into a slot.
    fn prepare(&mut self, prompt: &[u32], slot: usize, session: &mut Session<'_>) {
        let mut own = common(self.slots[slot].cached(), prompt);
        if own < 2 && own < self.slots[slot].cached().len() {
            // Two texts that share nothing but BOS.
            own = 0;
        }
        let others = (0..)
            .zip(&self.slots)
            .map(|(number, other)| (number, other.cached()));
        let kept = (self.slots.len()..)
            .zip(&self.kept)
            .map(|(number, kept)| (number, &kept.tokens[..]));
        let best = others
            .chain(kept)
            .map(|(number, tokens): (usize, _)| (common(tokens, prompt), number))
            .max()
            .filter(|&(same, _)| same >= own + WORTH_SHARING);
        let left = best.map_or(own, |_| 0);
        // Not in the place of what is about to be used.
        let needed = best.and_then(|(_, from)| from.checked_sub(self.slots.len()));
        self.keep(slot, left, needed, session);
        if own == 0 && best.is_none() {
            self.slots[slot].sequence.hold(&[]);
        }
        if let Some((same, from)) = best {
            session.share_beginning(self.first + from, self.first + slot, same);
            self.slots[slot].sequence.hold(&prompt[..same]);
            let first = self.slots.len();
            if from >= first {
                self.kept[from - first].used = self.uses;
                self.remarks.push(format!(
                    "updating prompt cache: {same} tokens of slot {slot} were kept"
                ));
            }
        }
    }

    /// Keeps what a slot holds, of which its next text needs only the first `left` tokens.
    /// What is kept at `needed` stays.
    fn keep(&mut self, slot: usize, left: usize, needed: Option<usize>, session: &mut Session<'_>) {
        let tokens = self.slots[slot].cached();
        let is_known = |kept: &Kept| kept.tokens.starts_with(tokens);
        if tokens.len() < left + WORTH_SHARING || self.kept.iter().any(is_known) {
            return;
        }
        let all = (0..self.kept.len()).filter(|&place| Some(place) != needed);
        let used = |place: &usize| self.kept[*place].used;
        // One that is a beginning of this needs no place of its own.
        let is_part = |place: &usize| tokens.starts_with(&self.kept[*place].tokens);
        let place = all.clone().filter(is_part).min_by_key(used);
        if let Some(place) = place.or_else(|| all.min_by_key(used)) {
            let place_of = self.first + self.slots.len() + place;
            session.share_beginning(self.first + slot, place_of, tokens.len());
            self.kept[place] = Kept {
                tokens: tokens.to_vec(),
                used: self.uses,
            };
        }
    }

    /// Moves what idle slots hold, but for this one, to what is kept.
    fn clear_idle(&mut self, but: usize, session: &mut Session<'_>) {
        for slot in 0..self.slots.len() {
            let own = &self.slots[slot];
            if slot != but && own.generation.is_none() && !own.cached().is_empty() {
                // The words that llama.cpp's tests look for.
                self.remarks.push(format!(
                    "__TEST_TAG_CACHE_IDLE_SLOT__: {} tokens of slot {slot} are kept, and it is cleared",
                    own.cached().len()
                ));
                self.keep(slot, 0, None, session);
                self.erase(slot, session);
            }
        }
    }

    /// Clears a slot: its memory is free.
    pub fn erase(&mut self, slot: usize, session: &mut Session<'_>) -> usize {
        let erased = self.slots[slot].cached().len();
        self.slots[slot].sequence.hold(&[]);
        session.clear(self.first + slot);
        erased
    }

    /// Knows that the session's cache holds these tokens for a slot.
    pub fn hold(&mut self, slot: usize, tokens: &[u32]) {
        self.slots[slot].sequence.hold(tokens);
    }

    /// Forgets all that is cached: the session is another one.
    pub fn forget(&mut self) {
        for slot in &mut self.slots {
            slot.sequence.hold(&[]);
        }
        for kept in &mut self.kept {
            kept.tokens.clear();
        }
    }

    /// Makes one pass for all tasks that run, and for `other`, a sequence of somebody else with a
    /// slot of its own behind all of these. Returns the number of tokens passed.
    pub fn step(
        &mut self,
        session: &mut Session<'_>,
        tokenizer: &Tokenizer,
        other: Option<Other<'_>>,
        now: &dyn Fn() -> Duration,
    ) -> usize {
        let mut sequences: Vec<&mut Sequence> = Vec::with_capacity(self.slots.len() + 1);
        let mut generations: Vec<&mut Generation> = Vec::with_capacity(self.slots.len());
        for slot in &mut self.slots {
            if let Some(generation) = &mut slot.generation {
                sequences.push(&mut slot.sequence);
                generations.push(generation);
            }
        }
        let running = generations.len() as u64;
        let mut hear = None;
        if let Some((sequence, out)) = other {
            sequences.push(sequence);
            hear = Some(out);
        }
        let mut moment = None;
        let passed = step(
            session,
            tokenizer,
            &mut sequences,
            &mut |place, event| match generations.get_mut(place) {
                Some(generation) => {
                    let now = *moment.get_or_insert_with(now);
                    generation.take(event, now);
                }
                None => {
                    if let Some(out) = &mut hear {
                        out(event);
                    }
                }
            },
        );
        if running > 0 && passed > 0 {
            self.counts.passes += 1;
            self.counts.served += running;
        }
        self.settle(now());
        passed
    }

    /// Ends all tasks that run, with this text.
    pub fn recite(&mut self, text: &str, now: Duration) {
        for slot in &mut self.slots {
            let Some(mut generation) = slot.generation.take() else {
                continue;
            };
            slot.sequence.stop();
            let tokens = Tokens::default();
            generation.take(Event::Text { text, tokens }, now);
            generation.take(Event::End(EndReason::EndToken), now);
            generation.finish();
            self.ended.push(generation);
        }
    }

    /// Takes stock after a pass: which tasks are over.
    fn settle(&mut self, now: Duration) {
        for slot in &mut self.slots {
            let Some(generation) = &mut slot.generation else {
                continue;
            };
            let before = generation.drawn;
            let forgotten = generation.forgotten;
            generation.count(forgotten + slot.sequence.drawn(), now);
            generation.guesses = slot.sequence.guesses();
            self.counts.drawn += (generation.drawn - before) as u64;
            let is_full = slot.sequence.end() == Some(EndReason::ContextFull);
            let wants_more = generation
                .task
                .params
                .most
                .is_none_or(|most| generation.drawn < most);
            if is_full && self.shifts && wants_more {
                let all = slot.sequence.context().len() + 1;
                let keeps = generation.task.params.keeps.min(all / 2);
                let most = all - keeps - 1;
                let half = generation.task.params.discards.unwrap_or((all - keeps) / 2);
                generation.forgotten = generation.drawn;
                slot.sequence.discard(keeps, half.clamp(1, most));
                generation.stop = None;
                continue;
            }
            if generation.is_late() && slot.sequence.is_running() {
                slot.sequence.stop();
                generation.stop = Some(crate::generation::Stop::Limit);
            }
            if slot.sequence.is_running() {
                continue;
            }
            if let Some(word) = slot.sequence.stop_string() {
                generation.stop_word = word.into();
            }
            let (prompt_ms, made_ms) = generation.times();
            self.counts.prompt += generation.read as u64;
            self.counts.prompt_seconds += prompt_ms / 1e3;
            self.counts.drawn_seconds += made_ms / 1e3;
            self.counts.longest = self.counts.longest.max(generation.cached() as u64);
            generation.finish();
            self.ended.extend(slot.generation.take());
        }
    }
}
