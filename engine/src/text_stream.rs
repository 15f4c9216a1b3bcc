//! From a model's bytes to text: whole characters, stop strings cut, reasoning told from answers.

use alloc::{string::String, vec::Vec};

use crate::{
    event::{Event, Tokens},
    utf8::Utf8Stream,
};

/// Marks of the text that a model thinks before it answers.
const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// Most bytes of white space that are held back until it is known whether a word follows.
const BLANKS: usize = 256;

/// Tokens that may wait for their text: as many as a stop string or blanks can have, and more.
const WAITING: usize = BLANKS + 64;

/// Part of a text with reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Nothing has been said: only here a mark begins reasoning.
    Beginning,
    Thought,
    Answer,
}

/// Place of the stream in a text with reasoning.
#[derive(Debug, Clone, Copy)]
struct Reasoning {
    part: Part,
    /// A word of this part has been given out: white space before the first one is dropped.
    words: bool,
}

/// Tokens whose text has not been given out.
struct Waiting {
    ids: Vec<u32>,
    /// End of each one's text in [`TextStream::text`]; one more for half a character.
    ends: Vec<usize>,
    logprobs: Vec<f32>,
    top: Vec<(u32, f32)>,
    /// Entries of `top` for each token.
    each: usize,
}

impl Waiting {
    /// The first `count` tokens.
    fn first(&self, count: usize) -> Tokens<'_> {
        Tokens {
            ids: &self.ids[..count],
            logprobs: &self.logprobs[..count.min(self.logprobs.len())],
            top: &self.top[..(count * self.each).min(self.top.len())],
        }
    }

    fn drop_first(&mut self, count: usize) {
        self.ids.drain(..count);
        self.ends.drain(..count);
        self.logprobs.drain(..count.min(self.logprobs.len()));
        self.top.drain(..(count * self.each).min(self.top.len()));
    }

    fn clear(&mut self) {
        self.drop_first(self.ids.len());
    }
}

/// Text on its way out. What may begin a stop string or a mark, and white space at the end of what
/// has reasoning, is held back until that is known. Allocates nothing once made.
pub struct TextStream {
    utf8: Utf8Stream,
    text: String,
    /// Room for text without stop strings.
    room: usize,
    /// Bytes at the beginning of `text` that have been given out or dropped.
    given: usize,
    /// Bytes at the end of `text` that may begin a stop string.
    held: usize,
    stops: Vec<String>,
    /// Which of them came.
    stopped: Option<usize>,
    reasoning: Option<Reasoning>,
    waiting: Waiting,
}

impl TextStream {
    /// A stream that takes at most `bytes` bytes between two calls of
    /// [`give`](TextStream::give).
    pub fn new(bytes: usize) -> TextStream {
        // Each byte may turn into U+FFFD, three bytes long; so may half a character before.
        let room = 3 * (bytes + 4) + BLANKS + CLOSE.len();
        TextStream {
            utf8: Utf8Stream::default(),
            text: String::with_capacity(room),
            room,
            given: 0,
            held: 0,
            stops: Vec::new(),
            stopped: None,
            reasoning: None,
            waiting: Waiting {
                ids: Vec::with_capacity(WAITING),
                ends: Vec::with_capacity(WAITING),
                logprobs: Vec::new(),
                top: Vec::new(),
                each: 0,
            },
        }
    }

    /// Sets strings that end a text and are not part of it.
    pub fn set_stops(&mut self, stops: &[String]) {
        self.stops = stops.iter().filter(|s| !s.is_empty()).cloned().collect();
        let longest = self.stops.iter().map(String::len).max();
        let room = self.room + longest.unwrap_or(0);
        self.text.reserve(room.saturating_sub(self.text.len()));
    }

    /// Strings that end a text.
    pub(crate) fn stops(&self) -> &[String] {
        &self.stops
    }

    /// Makes room for each token's log-probability and those of the `top` most likely ones.
    pub(crate) fn keep_logprobs(&mut self, top: usize) {
        self.waiting.clear();
        self.waiting.each = top;
        self.waiting.logprobs.reserve(WAITING);
        self.waiting.top.reserve(WAITING * top);
    }

    /// Begins anew; with `Some` reasoning is told from the answer, and the text begins inside of it
    /// or not.
    pub fn reset(&mut self, reasoning: Option<bool>) {
        self.text.clear();
        self.waiting.clear();
        (self.given, self.held, self.stopped) = (0, 0, None);
        self.utf8 = Utf8Stream::default();
        self.reasoning = reasoning.map(|inside| Reasoning {
            part: if inside {
                Part::Thought
            } else {
                Part::Beginning
            },
            words: false,
        });
    }

    /// The stop string that has come, if one has.
    pub fn stopped(&self) -> Option<&str> {
        self.stopped.map(|stop| &self.stops[stop][..])
    }

    /// Takes bytes of a prompt: they stop nothing.
    pub fn push_prompt(&mut self, bytes: &[u8]) {
        self.utf8.push(bytes, &mut self.text);
    }

    /// Takes the bytes of a token that the model gave.
    pub fn push(&mut self, token: u32, bytes: &[u8]) {
        if self.stopped.is_some() {
            return;
        }
        // A stop string may begin in what is held, not in what went before.
        let from = self.text.len() - self.held;
        self.utf8.push(bytes, &mut self.text);
        self.waiting.ids.push(token);
        let half = usize::from(!self.utf8.is_empty());
        self.waiting.ends.push(self.text.len() + half);
        if self.stops.is_empty() || self.cut(from) {
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

    /// Keeps the log-probability of the token that is pushed next, and the most likely ones.
    pub(crate) fn push_logprobs(&mut self, own: f32, top: impl Iterator<Item = (u32, f32)>) {
        self.waiting.logprobs.push(own);
        self.waiting.top.extend(top.take(self.waiting.each));
    }

    /// Ends the text before the first stop string in it from `from` on, if there is one.
    fn cut(&mut self, from: usize) -> bool {
        let fresh = &self.text[from..];
        let places = (0..).zip(&self.stops);
        let found = places
            .filter_map(|(stop, s)| Some((fresh.find(&s[..])?, stop)))
            .min();
        if let Some((at, stop)) = found {
            self.text.truncate(from + at);
            (self.held, self.stopped) = (0, Some(stop));
        }
        found.is_some()
    }

    /// Gives out what is decided.
    pub fn give(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        self.put(false, out);
        self.text.drain(..self.given);
        for end in &mut self.waiting.ends {
            *end -= self.given.min(*end);
        }
        self.given = 0;
    }

    /// Gives out all that was held back: nothing follows.
    pub fn finish(&mut self, out: &mut dyn FnMut(Event<'_>)) {
        if self.stopped.is_none() {
            let from = self.text.len() - self.held;
            self.utf8.finish(&mut self.text);
            // What is left of a character may be the end of a stop string.
            self.cut(from);
        }
        self.held = 0;
        self.put(true, out);
        self.text.clear();
        self.waiting.clear();
        self.given = 0;
    }

    fn put(&mut self, whole: bool, out: &mut dyn FnMut(Event<'_>)) {
        let end = self.text.len() - self.held;
        loop {
            let open = &self.text[self.given..end];
            let Some(Reasoning { part: place, words }) = self.reasoning else {
                let words = 0..open.len();
                return self.release(false, words, end, out);
            };
            let word = open.trim_start();
            let (found, held) = match place {
                Part::Beginning if word.starts_with(OPEN) => (Some(open.len() - word.len()), 0),
                Part::Beginning if OPEN.starts_with(word) => (None, word.len()),
                Part::Thought => (open.find(CLOSE), begun(open, CLOSE)),
                _ => (None, 0),
            };
            let part = &open[..found.unwrap_or(open.len() - if whole { 0 } else { held })];
            let first = match words {
                true => 0,
                false => part.len() - part.trim_start().len(),
            };
            let mut last = part.trim_end().len().max(first);
            if part.len() - last > BLANKS {
                last = part.len();
            }
            let is_word = last > first;
            let (mark, then) = match place {
                Part::Beginning => (OPEN, Part::Thought),
                _ => (CLOSE, Part::Answer),
            };
            let done = match found {
                Some(at) => at + mark.len(),
                None if whole => part.len(),
                // What is no word at the beginning is dropped, behind a word it may be needed.
                None => last,
            };
            let next = match (found, place) {
                (Some(_), _) => Reasoning {
                    part: then,
                    words: false,
                },
                (None, Part::Beginning) if is_word => Reasoning {
                    part: Part::Answer,
                    words: true,
                },
                (None, part) => Reasoning {
                    part,
                    words: words || is_word,
                },
            };
            let to = self.given + done;
            self.release(place == Part::Thought, first..last, to, out);
            self.reasoning = Some(next);
            if found.is_none() {
                return;
            }
        }
    }

    /// Gives out the bytes `words` behind those that were given, with the tokens that end before
    /// `to`, which is how far all is given then.
    fn release(
        &mut self,
        reasoning: bool,
        words: core::ops::Range<usize>,
        to: usize,
        out: &mut dyn FnMut(Event<'_>),
    ) {
        let text = &self.text[self.given + words.start..self.given + words.end];
        let waiting = &self.waiting;
        // Where no room is left for more of them, they come before their text.
        let count = match waiting.ids.len() == WAITING {
            true => WAITING,
            false => waiting.ends.partition_point(|&end| end <= to),
        };
        if !text.is_empty() || count > 0 {
            let tokens = waiting.first(count);
            out(match reasoning {
                true => Event::Reasoning { text, tokens },
                false => Event::Text { text, tokens },
            });
        }
        self.waiting.drop_first(count);
        self.given = to;
    }
}

/// Bytes at the end of `text` that `mark` may begin with.
fn begun(text: &str, mark: &str) -> usize {
    let ends = |&kept: &usize| text.ends_with(&mark[..kept]);
    (1..mark.len()).rev().find(ends).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{string::ToString, vec};

    /// Reasoning, answer, and the tokens of both in order, of pieces that are tokens 0, 1, 2 …
    fn split(pieces: &[&[u8]], stops: &[&str], inside: Option<bool>) -> (String, String, Vec<u32>) {
        let mut stream = TextStream::new(16);
        stream.set_stops(&stops.iter().map(ToString::to_string).collect::<Vec<_>>());
        stream.reset(inside);
        let (mut thought, mut answer, mut ids) = (String::new(), String::new(), Vec::new());
        let mut out = |event: Event<'_>| match event {
            Event::Reasoning { text, tokens } => {
                thought += text;
                ids.extend(tokens.ids);
            }
            Event::Text { text, tokens } => {
                answer += text;
                ids.extend(tokens.ids);
            }
            _ => (),
        };
        for (token, piece) in (0..).zip(pieces) {
            stream.push(token, piece);
            stream.give(&mut out);
        }
        stream.finish(&mut out);
        (thought, answer, ids)
    }

    #[test]
    fn half_a_character_at_the_end_may_be_what_ends_a_stop_string() {
        for (stop, want) in [("b\u{fffd}", "a"), ("bc", "ab\u{fffd}"), ("\u{fffd}", "ab")] {
            let (_, answer, _) = split(&[b"ab\xe6"], &[stop], None);
            assert_eq!(answer, want, "{stop}");
        }
    }

    #[test]
    fn any_cut_gives_the_same_reasoning_and_answer() {
        for (text, thought, answer) in [
            (
                "<think>\nhm\n\nso\n</think>\n\nyes,  I\ndo\n",
                "hm\n\nso",
                "yes,  I\ndo",
            ),
            ("<think>\n\n</think>\n\nyes\n", "", "yes"),
            ("<think>hm", "hm", ""),
            ("", "", ""),
            (
                "\n <think>\u{f6} </thin</think>\u{e9} <think>no</think>< ",
                "\u{f6} </thin",
                "\u{e9} <think>no</think><",
            ),
            // A mark is one at the beginning only.
            (
                " 1 <think 2 <think>3</think> ",
                "",
                "1 <think 2 <think>3</think>",
            ),
            ("<thin", "", "<thin"),
        ] {
            for size in 1..=text.len().max(1) {
                let pieces: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
                let (found, said, ids) = split(&pieces, &[], Some(false));
                assert_eq!((&found[..], &said[..]), (thought, answer), "{size}");
                assert_eq!(ids, (0..pieces.len() as u32).collect::<Vec<_>>(), "{size}");
                assert_eq!(split(&pieces, &[], None).1, text);
            }
        }
        let (thought, answer, _) = split(&[b"Hm.\n</think>\nYes."], &[], Some(true));
        assert_eq!((&thought[..], &answer[..]), ("Hm.", "Yes."));
    }

    #[test]
    fn tokens_come_with_their_text_and_not_with_what_a_stop_string_cuts() {
        let mut stream = TextStream::new(16);
        stream.set_stops(&["cd".into()]);
        let mut events = Vec::new();
        for (token, piece) in [(7, "a"), (8, "bc"), (9, "\u{e9}"), (10, "xc"), (11, "dy")] {
            stream.push(token, piece.as_bytes());
            let mut out = |event: Event<'_>| {
                if let Event::Text { text, tokens } = event {
                    events.push((text.to_string(), tokens.ids.to_vec()));
                }
            };
            stream.give(&mut out);
        }
        stream.finish(&mut |event| panic!("{event:?}"));
        let want = [
            ("a", vec![7]),
            ("b", vec![]),
            ("c\u{e9}", vec![8, 9]),
            ("x", vec![]),
        ];
        assert_eq!(events, want.map(|(text, ids)| (text.to_string(), ids)));
    }

    #[test]
    fn endless_blanks_and_tokens_without_text_take_no_memory() {
        let mut stream = TextStream::new(16);
        stream.set_stops(&["never".into()]);
        stream.reset(Some(false));
        let room = (stream.text.capacity(), stream.waiting.ids.capacity());
        let mut ids = 0;
        stream.push(0, b"word");
        for token in 0..10_000 {
            stream.push(token, if token % 3 == 0 { b"\n\n" } else { b"" });
            stream.give(&mut |event| {
                if let Event::Text { tokens, .. } = event {
                    ids += tokens.ids.len();
                }
            });
        }
        assert_eq!(
            room,
            (stream.text.capacity(), stream.waiting.ids.capacity())
        );
        assert!(ids > 9_000);
    }
}
