//! State that requests are answered from: the model's words, settings, slots.

use alloc::{
    format,
    string::{String, ToString},
};
use core::time::Duration;

use llama2_engine::{
    chat::{ChatTemplate, DateTime, NO_CLOCK},
    session::Session,
    tokenizer::Tokenizer,
};

use crate::{
    config::Config, error::ApiError, generation::TaskId, scheduler::Scheduler, templates::CHATML,
};

/// Bytes of text that are encoded where nothing is generated, whatever the context's length.
const MOST_TEXT: usize = 256 << 10;

/// Everything but the connections.
pub(crate) struct ServerState<'t> {
    /// Settings.
    pub config: Config,
    /// Texts to tokens and back.
    pub tokenizer: &'t Tokenizer,
    /// Lays conversations out.
    pub template: ChatTemplate,
    /// Its source.
    pub template_source: String,
    /// The template knows of reasoning.
    pub thinks: bool,
    /// Slots and queue.
    pub scheduler: Scheduler,
    /// Number of the next task.
    next_task: u64,
    /// The machine's date, when a request came last.
    pub date: DateTime,
    /// The machine's clock in seconds since 1970, when it was asked last.
    pub unix_time: u64,
    /// Seconds since 1970 when the server began.
    pub begun_at: u64,
    /// The machine's clock when it was asked last.
    pub now: Duration,
    /// The model is not in memory.
    pub is_asleep: bool,
    /// Counts at the last look at `/metrics`: of prompts and of answers, tokens and seconds.
    pub last_seen: [(u64, f64); 2],
}

impl<'t> ServerState<'t> {
    /// A server's core with slots of a session: the number of the first one's sequence, and how
    /// many.
    pub fn new(
        config: Config,
        tokenizer: &'t Tokenizer,
        session: &Session<'_>,
        slots: (usize, usize),
    ) -> Self {
        let source = tokenizer.chat_template().unwrap_or(CHATML).to_string();
        ServerState {
            scheduler: Scheduler::new(tokenizer, session, slots, &config),
            thinks: source.contains("think>") || source.contains("enable_thinking"),
            template: ChatTemplate::new(&source),
            template_source: source,
            tokenizer,
            next_task: 0,
            date: NO_CLOCK,
            unix_time: 0,
            begun_at: 0,
            now: Duration::ZERO,
            is_asleep: false,
            last_seen: Default::default(),
            config,
        }
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        self.config.names.first().map_or("", |name| &name[..])
    }

    /// Day and hour that templates are told.
    pub fn now(&self) -> DateTime {
        self.config.date.unwrap_or(self.date)
    }

    /// Checks that a text of so many bytes can be a prompt, before it is encoded: no token has more
    /// bytes than the longest one.
    ///
    /// # Errors
    /// That it is too long for the context.
    pub fn check_length(&self, bytes: usize) -> Result<(), ApiError> {
        let tokens = bytes / self.tokenizer.longest_piece().max(1);
        match tokens >= self.scheduler.seq_len() {
            true => Err(ApiError::too_long(tokens, self.scheduler.seq_len())),
            false => Ok(()),
        }
    }

    /// Checks that texts of so many bytes may be encoded for their own sake: meanwhile nobody else
    /// is served. Texts that are twice as long as the context can be counted.
    ///
    /// # Errors
    /// The limit.
    pub fn check_text(&self, bytes: usize) -> Result<(), ApiError> {
        let most = MOST_TEXT.max(8 * self.scheduler.seq_len());
        match bytes > most {
            true => Err(ApiError::invalid(format!(
                "the request has {bytes} bytes of text, but at most {most} are read at once"
            ))),
            false => Ok(()),
        }
    }

    /// Checks several prompts, by their bytes, before they are encoded.
    ///
    /// # Errors
    /// That one is too long for the context, or that all together are too long.
    pub fn check_prompts(&self, bytes: impl Iterator<Item = usize>) -> Result<(), ApiError> {
        let (mut sum, mut longest) = (0, 0);
        for bytes in bytes {
            self.check_length(bytes)?;
            sum += bytes;
            longest = bytes.max(longest);
        }
        match sum > longest {
            true => self.check_text(sum),
            false => Ok(()),
        }
    }

    /// A number for a task.
    pub fn next_task(&mut self) -> TaskId {
        self.next_task += 1;
        TaskId(self.next_task)
    }
}
