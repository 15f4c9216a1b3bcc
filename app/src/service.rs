//! A server beside the conversation: requests of others are served by the same passes over the
//! weights as whoever sits at the console, and while nothing is said there.

use alloc::{boxed::Box, format, string::String};
use core::time::Duration;

use llama2_engine::{event::Event, generate::Sequence, session::Session, tokenizer::Tokenizer};
use llama2_serve::{Config, Machine, Network, Server};

/// Microseconds between two looks at what it does.
const NOTED: u64 = 500_000;

/// Beside a conversation the server has one in so many parts of the time: whoever sits at the
/// console should not notice others who load pages.
const SHARE: u32 = 60;
/// Longest time for which the server is left alone after a turn that took long.
const LONGEST: Duration = Duration::from_secs(1);

/// Parts of a server.
pub struct ServiceParts {
    /// Its settings.
    pub config: Config,
    /// Requests that are served at once.
    pub slots: usize,
    /// Connections to clients.
    pub network: Box<dyn Network + Send>,
    /// Clock, chance, files and log.
    pub machine: Box<dyn Machine + Send>,
    /// Place at which it is served, in a few words: a URL.
    pub place: fn() -> String,
}

impl ServiceParts {
    /// Sequences of a session that it needs besides the conversation's, which is the first.
    pub fn sequences(&self) -> usize {
        self.slots + self.config.kept
    }
}

/// A server under way.
pub struct Service<'t> {
    server: Server<'t>,
    network: Box<dyn Network + Send>,
    machine: Box<dyn Machine + Send>,
    place: fn() -> String,
    is_busy: bool,
    /// Until when it is left alone beside a conversation.
    left_alone: Duration,
    /// When it was told last what it does, in microseconds, and how many tokens had been drawn.
    told: (u64, u64),
    /// Note that was told last.
    note: String,
}

impl<'t> Service<'t> {
    /// A server with the sequences of a session that follow the first.
    pub fn new(parts: ServiceParts, tokenizer: &'t Tokenizer, session: &Session<'_>) -> Self {
        let slots = (1, parts.slots);
        let server = Server::new(parts.config, tokenizer, session, slots, &*parts.machine);
        Service {
            server,
            network: parts.network,
            machine: parts.machine,
            place: parts.place,
            is_busy: false,
            left_alone: Duration::ZERO,
            told: (0, 0),
            note: String::new(),
        }
    }

    /// Says what the server does, in a few words, if those have changed; `now` is in microseconds.
    fn note(&mut self, now: u64) -> Option<String> {
        let (before, drawn) = self.told;
        let took = now.saturating_sub(before);
        if before > 0 && took < NOTED {
            return None;
        }
        let status = self.server.status();
        self.told = (now.max(1), status.drawn);
        let mut note = (self.place)();
        if status.running > 0 {
            let rate = (status.drawn - drawn) as f64 * 1e6 / took.max(1) as f64;
            note += &format!("  {} served, {rate:.1} tok/s", status.running);
        }
        if status.waiting > 0 {
            note += &format!(", {} wait", status.waiting);
        }
        (note != self.note).then(|| {
            self.note.clone_from(&note);
            note
        })
    }

    /// Takes and sends what there is, and makes a pass if one is wanted.
    pub fn turn(&mut self, session: &mut Session<'_>) -> Turn {
        let status = self
            .server
            .poll(Some(session), &mut *self.network, &mut *self.machine);
        let was_busy = core::mem::replace(&mut self.is_busy, !self.server.is_idle());
        if self.is_busy {
            self.server.step(session, &mut *self.machine, None);
            return Turn::Busy;
        }
        match (was_busy, status.is_active) {
            (true, _) => Turn::Over,
            (false, true) => Turn::Active,
            (false, false) => Turn::Idle,
        }
    }

    /// Makes a pass for the conversation's sequence and for all requests, before which it takes and
    /// sends what its share of the time allows. Returns the number of tokens passed.
    pub fn step(
        &mut self,
        session: &mut Session<'_>,
        sequence: &mut Sequence,
        out: &mut dyn FnMut(Event<'_>),
    ) -> usize {
        let now = self.machine.now();
        if now >= self.left_alone {
            self.server
                .poll(Some(session), &mut *self.network, &mut *self.machine);
            let after = self.machine.now();
            let rest = after.saturating_sub(now).saturating_mul(SHARE - 1);
            self.left_alone = after + rest.min(LONGEST);
        }
        self.is_busy = !self.server.is_idle();
        self.server
            .step(session, &mut *self.machine, Some((sequence, out)))
    }

    /// Ends all connections.
    pub fn close(&mut self) {
        self.server.close(&mut *self.network);
    }
}

/// Server and session that go on beside a line that is typed.
pub(crate) struct Beside<'b, 't, 'm> {
    pub service: Option<&'b mut Service<'t>>,
    pub session: &'b mut Session<'m>,
}

impl Beside<'_, '_, '_> {
    pub fn turn(&mut self) -> Turn {
        match &mut self.service {
            Some(service) => service.turn(self.session),
            None => Turn::Idle,
        }
    }

    pub fn note(&mut self, now: u64) -> Option<String> {
        self.service.as_mut()?.note(now)
    }
}

/// Result of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A pass was made.
    Busy,
    /// All requests are answered: cores can rest.
    Over,
    /// Something came or went.
    Active,
    /// Nothing happened.
    Idle,
}
