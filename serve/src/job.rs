//! Requests that are being served, and the interfaces that their answers are written for.

use alloc::{boxed::Box, string::String, vec::Vec};

use llama2_engine::tokenizer::Tokenizer;
use serde_json::Value;

use crate::{
    error::ApiError,
    generation::{Generation, News, TaskId},
};

/// Facts that all answers of a server state.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    /// Texts to tokens and back.
    pub tokenizer: &'a Tokenizer,
    /// Name of the model.
    pub model: &'a str,
    /// Seconds since 1970.
    pub unix_time: u64,
}

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Frame {
    /// Name of the event, where the interface names them.
    pub event: Option<&'static str>,
    /// Content of the event.
    pub data: Value,
}

impl From<Value> for Frame {
    /// An event without a name, but for errors of the interfaces that name each.
    fn from(data: Value) -> Frame {
        let named = ["error", "response.failed"].into_iter();
        let event = { named }.find(|name| data["type"] == *name);
        Frame { event, data }
    }
}

/// How the events of a stream are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// Server-sent events; the last one may be OpenAI's `[DONE]`.
    Events {
        /// True if `[DONE]` is the last event.
        says_done: bool,
    },
    /// A line of JSON for each.
    Lines,
}

impl Framing {
    /// Content-Type of the stream.
    pub fn content_type(self) -> &'static str {
        match self {
            Framing::Events { .. } => "text/event-stream",
            Framing::Lines => "application/x-ndjson",
        }
    }

    /// Writes an event.
    pub fn write(self, frame: &Frame, out: &mut Vec<u8>) {
        let data = serde_json::to_vec(&frame.data).unwrap_or_default();
        match self {
            Framing::Events { .. } => {
                if let Some(event) = frame.event {
                    out.extend(b"event: ");
                    out.extend(event.bytes());
                    out.push(b'\n');
                }
                out.extend(b"data: ");
                out.extend(data);
                out.extend(b"\n\n");
            }
            Framing::Lines => {
                out.extend(data);
                out.push(b'\n');
            }
        }
    }

    /// Writes what follows the last event.
    pub fn write_end(self, out: &mut Vec<u8>) {
        if let Framing::Events { says_done: true } = self {
            out.extend(b"data: [DONE]\n\n");
        }
    }

    /// Writes something that clients ignore, to see whether they are there.
    pub fn write_ping(self, out: &mut Vec<u8>) {
        if let Framing::Events { .. } = self {
            out.extend(b": ping\n\n");
        }
    }
}

/// Interface that an answer is written for.
pub(crate) trait Format: Send {
    /// How a stream is written.
    fn framing(&self) -> Framing;

    /// Events of a stream that follow from what happened to a generation.
    fn news(&mut self, about: About<'_>, generation: &Generation, news: &News) -> Vec<Frame>;

    /// The answer in one piece, when all generations are over.
    fn whole(&mut self, about: About<'_>, all: &[Generation]) -> Value;

    /// An error in the interface's shape.
    fn error(&self, error: &ApiError) -> Value {
        error.openai()
    }
}

/// A request that waits for generations.
pub(crate) struct Job {
    /// Tasks, in the order of the answer.
    pub tasks: Vec<TaskId>,
    /// Those that are over.
    pub ended: Vec<Generation>,
    /// The answer's interface.
    pub format: Box<dyn Format>,
    /// True if the answer is written piece by piece.
    pub streams: bool,
}

/// An id as OpenAI's: a word and 32 characters by chance.
pub(crate) fn random_id(word: &str, chance: &mut dyn FnMut() -> u64) -> String {
    const CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut id = String::from(word);
    for _ in 0..4 {
        let mut number = chance();
        for _ in 0..8 {
            id.push(char::from(CHARACTERS[(number % 62) as usize]));
            number /= 62;
        }
    }
    id
}
