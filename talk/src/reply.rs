//! Making a reply and showing it as it comes: stopped by a key within a token, keys for later kept,
//! never half a character.

use alloc::{format, string::String};

use llama2_console::{
    front::{Bottom, Gauge, Style},
    keys::Key,
    status::{End, Phase, Status, Summary},
    typeahead::{Typeahead, Typed},
};
use llama2_engine::{
    chat::{Chat, Part, Reply},
    generate::{Generation, Step, TopToken},
    sampler::Sampler,
    session::Session,
    tokenizer::Tokenizer,
};

use crate::host::{Console, Host, Progress, ReplySink};

/// Microseconds between two looks at the keyboard, and between two batches of text: printing and
/// polling inside the loop cost 4 to 12 % when done at every token.
const BATCH: u64 = 30_000;
/// Microseconds that a pass over a part of the prompt should not take longer than: keys are looked
/// at in between.
const PASS: u64 = 150_000;
/// Microseconds between two pictures of the status line.
const STATUS: u64 = 150_000;
/// Bytes of text that may come between two looks without taking memory.
const ROOM: usize = 4096;

/// What makes tokens and turns them to text.
pub struct ReplySource<'v, 'm> {
    /// The forward pass.
    pub session: &'v mut Session<'m>,
    /// Texts to tokens and back.
    pub tokenizer: &'v Tokenizer,
    /// Who chooses.
    pub sampler: &'v mut Sampler,
}

impl ReplySource<'_, '_> {
    /// Workers that a reply will use, once that is known.
    fn threads(&self) -> Option<usize> {
        (!self.session.is_tuning()).then(|| self.session.threads())
    }
}

/// Tokens that the next pass over the prompt may take, after one of so many took so long.
fn next_batch(tokens: usize, microseconds: u64) -> usize {
    (PASS * tokens as u64 / microseconds.max(1)).clamp(1, 1 << 10) as usize
}

/// A reply that was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplyStats {
    /// How far it came.
    pub progress: Progress,
    /// Microseconds from the beginning to the first token, if one came, and to the end.
    pub first: Option<u64>,
    /// Microseconds to the end of the first pass.
    pub first_pass: u64,
    /// Microseconds of all.
    pub took: u64,
    /// True if a key stopped it.
    pub stopped: bool,
    /// Nanoseconds that showing it took.
    pub drawing: u64,
}

impl ReplyStats {
    /// The line about it, in a context of `seq_len`, which ended for this reason.
    pub fn summary(&self, seq_len: usize, end: End) -> Summary {
        let first = self.first.unwrap_or(self.took);
        Summary {
            decode: (self.progress.made, self.took - first),
            first,
            context: (self.progress.context, seq_len),
            end: if self.stopped { End::Stopped } else { end },
        }
    }
}

/// Who hears it: shows text in batches, and looks at the keys.
pub(crate) struct Stream<'a> {
    console: &'a mut dyn Console,
    ahead: &'a mut Typeahead,
    clock: fn() -> u64,
    model: &'a str,
    seq_len: usize,
    /// What has come since the last look.
    text: String,
    shown: u64,
    begun: bool,
    /// Of a run that is only a story, its steps: what goes before the text is said, and no status
    /// is shown.
    only: Option<usize>,
    slow: bool,
    /// Tells thoughts from answers, in chat.
    reply: Option<Reply>,
    /// True if thoughts may come that nobody sees.
    hides: bool,
    progress: Progress,
    start: u64,
    /// When the status was shown last, and when what it tells began.
    status: u64,
    phase: u64,
    /// When it was last told how fast it is, and how many tokens there were.
    told: (u64, usize),
    stopped: bool,
    /// True if something was typed for later.
    typed: bool,
    /// The answer, and the thoughts before it.
    answer: String,
    thought: String,
}

/// What a stream is made of.
pub(crate) struct Stage<'a> {
    pub console: &'a mut dyn Console,
    pub ahead: &'a mut Typeahead,
    pub clock: fn() -> u64,
    pub model: &'a str,
    pub seq_len: usize,
    pub only: Option<usize>,
    /// True if the first token takes so long that the status is worth showing at once.
    pub slow: bool,
}

impl<'a> Stream<'a> {
    pub fn new(stage: Stage<'a>) -> Stream<'a> {
        let now = (stage.clock)();
        Stream {
            console: stage.console,
            ahead: stage.ahead,
            clock: stage.clock,
            model: stage.model,
            seq_len: stage.seq_len,
            text: String::with_capacity(ROOM),
            shown: now,
            begun: false,
            only: stage.only,
            slow: stage.slow,
            reply: None,
            hides: false,
            progress: Progress::default(),
            start: now,
            status: now,
            phase: now,
            told: (now, 0),
            stopped: false,
            typed: false,
            answer: String::new(),
            thought: String::new(),
        }
    }

    /// Shows the text that has come.
    fn put(&mut self) {
        let Stream {
            console,
            reply,
            text,
            answer,
            thought,
            ..
        } = self;
        match reply {
            Some(reply) => reply.push(text, &mut |part, text| {
                put_part(*console, part, text, answer, thought);
            }),
            None if !text.is_empty() => {
                console.show(Style::Answer, text);
                answer.push_str(text);
            }
            None => (),
        }
        text.clear();
    }

    /// Before the first pass, with what there is to read.
    fn wait(&mut self, progress: Progress) {
        self.progress = progress;
        if self.slow {
            self.status = 0;
            self.look();
        }
    }

    /// Tells whether nothing of the reply can be seen yet.
    fn is_silent(&self) -> bool {
        self.answer.is_empty() && self.thought.is_empty()
    }

    fn show_status(&mut self, now: u64) {
        if self.only.is_some() || now.saturating_sub(self.status) < STATUS {
            return;
        }
        self.status = now;
        let (done, total) = self.progress.read;
        let phase = match self.progress.made {
            0 => Phase::Prefill { done, total },
            tokens if self.hides => Phase::Thinking { tokens },
            tokens => Phase::Decode { tokens },
        };
        let status = Status {
            phase,
            microseconds: now - self.phase,
            context: (self.progress.context, self.seq_len),
        };
        self.console.bottom(Bottom::Status(&status));
    }

    fn show_gauge(&mut self, now: u64) {
        let (before, tokens) = self.told;
        let rate = match (now - before, self.progress.made.saturating_sub(tokens)) {
            (0..STATUS, _) => return,
            (took, made) => (self.progress.made > 0).then(|| made as f32 * 1e6 / took as f32),
        };
        self.told = (now, self.progress.made);
        self.console.gauge(&Gauge {
            model: self.model,
            context: (self.progress.context, self.seq_len),
            rate,
        });
    }

    /// Shows what is left, ends the line if it is not ended, and gives answer and thoughts.
    fn end(mut self) -> (String, String) {
        self.put();
        let Stream {
            console,
            reply,
            mut answer,
            mut thought,
            ..
        } = self;
        let ended = match reply {
            Some(mut reply) => {
                reply.finish(&mut |part, text| {
                    put_part(console, part, text, &mut answer, &mut thought);
                });
                reply.line_ended()
            }
            None => answer.ends_with('\n'),
        };
        console.bottom(Bottom::Nothing);
        if !ended {
            console.show(Style::Answer, "\n");
        }
        console.gauge(&Gauge {
            model: self.model,
            context: (self.progress.context, self.seq_len),
            rate: None,
        });
        console.flush();
        (answer, thought)
    }
}

fn put_part(
    console: &mut dyn Console,
    part: Part,
    text: &str,
    answer: &mut String,
    thought: &mut String,
) {
    match part {
        // Who speaks is plain from where it stands.
        Part::Label => (),
        Part::ThoughtLabel => console.show(Style::Thought, text),
        Part::Thought => {
            console.show(Style::Thought, text);
            thought.push_str(text);
        }
        Part::Answer => {
            console.show(Style::Answer, text);
            answer.push_str(text);
        }
    }
}

impl ReplySink for Stream<'_> {
    fn hear(&mut self, text: &str, progress: Progress) -> bool {
        if self.progress.made == 0 && progress.made > 0 {
            self.phase = (self.clock)();
        }
        self.progress = progress;
        self.text.push_str(text);
        (self.clock)().saturating_sub(self.shown) >= BATCH && self.look()
    }

    fn begin(&mut self, top: Option<TopToken>) {
        self.begun = true;
        let Some(steps) = self.only else { return };
        if let Some(TopToken { token, logit }) = top {
            note(
                self.console,
                &format!("Top token: {token} (logit={logit:.4})"),
            );
        }
        note(self.console, &format!("Generating {steps} tokens:"));
    }

    fn look(&mut self) -> bool {
        if self.begun && !self.text.is_empty() {
            self.put();
        }
        let now = (self.clock)();
        // What is typed meanwhile stands in the same place.
        if self.is_silent() && !self.typed {
            self.show_status(now);
        }
        self.show_gauge(now);
        self.console.flush();
        let mut typed = false;
        while let Some(key) = self.console.key() {
            // What was said before may be looked at meanwhile.
            if matches!(key, Key::PageUp | Key::PageDown) {
                self.console.scroll(key);
                continue;
            }
            match self.ahead.press(key) {
                Typed::Kept => typed = true,
                Typed::Stop => self.stopped = true,
                Typed::Refused => self.console.bell(),
            }
        }
        if typed {
            self.typed = true;
            self.console.waiting(&self.ahead.preview());
        }
        // Showing may take longer than a batch: there is to be time for tokens in between.
        self.shown = (self.clock)();
        self.stopped
    }
}

/// Says a line, for the log too.
pub(crate) fn note(console: &mut dyn Console, line: &str) {
    console.record(line);
    console.show(Style::Info, &format!("{line}\n"));
}

/// Goes on from a text and shows it. Gives the whole text.
pub(crate) fn story(
    generation: &mut Generation,
    voice: &mut ReplySource<'_, '_>,
    host: &mut dyn Host,
    stage: Stage<'_>,
) -> (ReplyStats, String) {
    let before = stage.console.drawing();
    let mut stream = Stream::new(stage);
    let (clock, start) = (stream.clock, stream.start);
    let mut made = ReplyStats::default();
    let total = generation.prompt_tokens();
    let mut progress = Progress {
        read: (0, total),
        ..Progress::default()
    };
    let threads = voice.threads();
    stream.wait(progress);
    host.perform(threads, &mut stream, &mut |audience| {
        while !made.stopped {
            let (position, begun) = (generation.position(), clock());
            match generation.step(voice.session, voice.tokenizer, voice.sampler) {
                Step::Text(text) => made.stopped = audience.hear(text, progress),
                _ => break,
            }
            let now = clock();
            let passed = generation.position();
            if position == 0 {
                made.first_pass = now - start;
                audience.begin(generation.top_token());
            }
            // The first token that the model chose itself comes out of the pass over the prompt's
            // last one.
            if passed >= total {
                made.first.get_or_insert(now - start);
            } else {
                generation.limit_batch(next_batch(passed - position, now - begun));
            }
            progress = Progress {
                read: (passed.min(total), total),
                made: (passed + 1).saturating_sub(total.max(1)),
                context: passed,
            };
        }
        // Here, where it is made: until other cores have gone home, and `perform` is over, is
        // another matter.
        made.took = clock() - start;
    });
    made.progress = progress;
    stream.progress = progress;
    let (text, _) = stream.end_with(&mut made, before);
    (made, text)
}

/// Makes the answer of a turn that has begun, and shows it. Gives it, and the thoughts before it.
pub(crate) fn answer(
    chat: &mut Chat,
    reply: Reply,
    hides: bool,
    voice: &mut ReplySource<'_, '_>,
    host: &mut dyn Host,
    stage: Stage<'_>,
) -> (ReplyStats, String, String) {
    let before = stage.console.drawing();
    let mut stream = Stream::new(stage);
    (stream.reply, stream.hides) = (Some(reply), hides);
    let (clock, start) = (stream.clock, stream.start);
    let mut made = ReplyStats::default();
    let mut progress = Progress {
        read: chat.progress(),
        made: 0,
        context: chat.context().len(),
    };
    let threads = voice.threads();
    stream.wait(progress);
    host.perform(threads, &mut stream, &mut |audience| {
        let mut first = true;
        while !made.stopped {
            let (position, begun) = (chat.position(), clock());
            let Step::Text(text) = chat.step(voice.session, voice.tokenizer, voice.sampler) else {
                break;
            };
            let now = clock();
            made.stopped = audience.hear(text, progress);
            if core::mem::take(&mut first) {
                audience.begin(chat.top_token());
            }
            let (done, all) = chat.progress();
            if done >= all {
                made.first.get_or_insert(now - start);
                progress.made += 1;
            }
            progress.read = (done, all);
            progress.context = chat.context().len();
            chat.limit_batch(next_batch((chat.position() - position).max(1), now - begun));
        }
        made.took = clock() - start;
    });
    made.progress = progress;
    stream.progress = progress;
    let (answer, thought) = stream.end_with(&mut made, before);
    (made, answer, thought)
}

impl Stream<'_> {
    /// The end, with what showing took since `before`.
    fn end_with(mut self, made: &mut ReplyStats, before: u64) -> (String, String) {
        // What was made elsewhere and has not been heard of yet.
        self.put();
        made.drawing = self.console.drawing() - before;
        self.end()
    }
}

/// The line about a story's speed that scripts read: run.c's measure, which leaves the first pass
/// out.
pub(crate) fn speed(made: &ReplyStats, cores: usize) -> String {
    let tokens = made.progress.context.saturating_sub(1);
    let microseconds = made.took - made.first_pass;
    let rate = tokens as f64 * 1e6 / microseconds.max(1) as f64;
    let first = made.first.map_or(String::new(), |first| {
        format!("time to first token {:.2} s, ", first as f64 / 1e6)
    });
    let cores = match cores {
        1 => "1 core".into(),
        cores => format!("{cores} cores"),
    };
    format!("achieved tok/s: {rate:.2} ({first}{tokens} tokens, {cores})")
}
