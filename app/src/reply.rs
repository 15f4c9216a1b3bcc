//! Making a reply and showing it as it comes: stopped by a key within a token, keys for later kept,
//! never half a character. Stories, run.c's chat and dialogues go through [`reply`] alike.

use alloc::{format, string::String};

use llama2_console::{
    front::{Bottom, Gauge, Style},
    status::{End, Phase, Status, Summary},
};
use llama2_engine::{
    event::{EndReason, Event},
    generate::{Sequence, TopToken, step},
    session::Session,
    tokenizer::Tokenizer,
};

use crate::{
    platform::{Console, Platform, Progress, ReplySink},
    service::Service,
};

/// Microseconds between two looks at the keyboard, and between two batches of text: printing and
/// polling inside the loop cost 4 to 12 % when done at every token.
const BATCH: u64 = 30_000;
/// Microseconds that a pass over a part of the prompt should not take longer than: keys are looked
/// at in between.
const PASS: u64 = 150_000;
/// Microseconds between two pictures of the status line.
const STATUS: u64 = 150_000;

/// Tokens that the next pass over the prompt may take, after one of so many took so long.
fn next_batch(tokens: usize, microseconds: u64) -> usize {
    (PASS * tokens as u64 / microseconds.max(1)).clamp(1, 1 << 10) as usize
}

/// Statistics of a reply that was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReplyStats {
    /// How far it came.
    pub progress: Progress,
    /// Microseconds from the beginning to the first token, if one came.
    pub first: Option<u64>,
    /// Microseconds to the end of the first pass.
    pub first_pass: u64,
    /// Microseconds of all.
    pub took: u64,
    /// True if a key stopped it.
    pub stopped: bool,
    /// Why it ended, if nobody stopped it.
    pub end: Option<EndReason>,
    /// Nanoseconds that showing it took.
    pub drawing: u64,
}

impl ReplyStats {
    /// The line about it, in a context of `seq_len`.
    pub fn summary(&self, seq_len: usize) -> Summary {
        let first = self.first.unwrap_or(self.took);
        Summary {
            decode: (self.progress.drawn, self.took - first),
            first,
            context: (self.progress.context, seq_len),
            end: match self.end {
                _ if self.stopped => End::Stopped,
                Some(EndReason::Limit) => End::Limit,
                Some(EndReason::ContextFull) => End::Full,
                Some(EndReason::Repeats) => End::Repeats,
                _ => End::Own,
            },
        }
    }

    /// The line about a story's speed that scripts read: run.c's measure, which leaves the first
    /// pass out.
    pub fn speed(&self, cores: usize) -> String {
        let tokens = self.progress.context.saturating_sub(1);
        let microseconds = self.took - self.first_pass;
        let rate = tokens as f64 * 1e6 / microseconds.max(1) as f64;
        let first = self.first.map_or(String::new(), |first| {
            format!("time to first token {:.2} s, ", first as f64 / 1e6)
        });
        let cores = match cores {
            1 => "1 core".into(),
            cores => format!("{cores} cores"),
        };
        format!("achieved tok/s: {rate:.2} ({first}{tokens} tokens, {cores})")
    }
}

/// Text of a reply.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    pub answer: String,
    /// Reasoning before it, if that is shown.
    pub thought: String,
}

/// A reply as it is shown: text in batches, how far it is, and what is typed meanwhile.
pub(crate) struct ReplyView<'a> {
    console: &'a mut dyn Console,
    clock: fn() -> u64,
    model: &'a str,
    seq_len: usize,
    /// Text that has come and is not shown, and whether it is thought.
    text: String,
    thinks: bool,
    /// True if reasoning was shown last; `None` if nothing was shown.
    shown: Option<bool>,
    /// The answer goes on behind a thought that is not shown.
    resumed: bool,
    line_ended: bool,
    /// Of a run that is only a story, its steps: what goes before the text is said, and no status
    /// is shown.
    only: Option<usize>,
    announced: bool,
    slow: bool,
    /// True if thoughts may come that nobody sees.
    hides: bool,
    /// Style of the answer.
    style: Style,
    progress: Progress,
    /// When the status was shown last, and when what it tells began.
    status: u64,
    phase: u64,
    /// When it was last told how fast it is, and how many tokens there were.
    told: (u64, usize),
    /// True if something was typed for later.
    typed: bool,
    said: Said,
}

/// Parts of a view.
pub(crate) struct Stage<'a> {
    pub console: &'a mut dyn Console,
    pub model: &'a str,
    pub seq_len: usize,
    pub only: Option<usize>,
    /// True if the first token takes so long that the status is worth showing at once.
    pub slow: bool,
    pub hides: bool,
    /// Style of the answer.
    pub style: Style,
}

impl<'a> ReplyView<'a> {
    fn new(stage: Stage<'a>, clock: fn() -> u64) -> ReplyView<'a> {
        let now = clock();
        ReplyView {
            console: stage.console,
            clock,
            model: stage.model,
            seq_len: stage.seq_len,
            text: String::new(),
            thinks: false,
            shown: None,
            resumed: false,
            line_ended: false,
            only: stage.only,
            announced: stage.only.is_none(),
            slow: stage.slow,
            hides: stage.hides,
            style: stage.style,
            progress: Progress::default(),
            status: now,
            phase: now,
            told: (now, 0),
            typed: false,
            said: Said::default(),
        }
    }

    fn take(&mut self, thinks: bool, text: &str) {
        if thinks && self.hides {
            self.put();
            self.resumed = !self.said.answer.is_empty();
        } else if !text.is_empty() {
            if thinks != self.thinks {
                self.put();
            }
            self.thinks = thinks;
            self.text.push_str(text);
        }
    }

    /// Shows the text that has come. A thought and an answer stand on lines of their own.
    fn put(&mut self) {
        self.announce();
        if self.text.is_empty() || !self.announced {
            return;
        }
        let ReplyView {
            console,
            text,
            thinks,
            said,
            style: answer,
            ..
        } = self;
        let style = |thinks: bool| match thinks {
            true => Style::Thought,
            false => *answer,
        };
        let begins = self.shown != Some(*thinks) || self.resumed;
        if let (true, Some(before)) = (begins, self.shown) {
            console.show(style(before), "\n");
        }
        if begins && *thinks {
            console.show(Style::Thought, "Thinking: ");
        }
        let part = match *thinks {
            true => &mut said.thought,
            false => &mut said.answer,
        };
        if begins && !part.is_empty() {
            part.push('\n');
        }
        console.show(style(*thinks), text);
        part.push_str(text);
        self.line_ended = text.ends_with('\n');
        (self.shown, self.resumed) = (Some(*thinks), false);
        text.clear();
    }

    /// Shows the status before a slow first pass. Returns true if the reply is to stop.
    fn wait(&mut self, progress: Progress) -> bool {
        self.progress = progress;
        self.status = if self.slow { 0 } else { self.status };
        self.slow && self.should_stop()
    }

    fn show_status(&mut self, now: u64) {
        if self.only.is_some() || now.saturating_sub(self.status) < STATUS {
            return;
        }
        self.status = now;
        let (done, total) = self.progress.read;
        let phase = match self.progress.drawn {
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
        let rate = match (now - before, self.progress.drawn.saturating_sub(tokens)) {
            (0..STATUS, _) => return,
            (took, made) => (self.progress.drawn > 0).then(|| made as f32 * 1e6 / took as f32),
        };
        self.told = (now, self.progress.drawn);
        self.console.gauge(&Gauge {
            model: self.model,
            context: (self.progress.context, self.seq_len),
            rate,
        });
    }

    /// Shows the lines before the text of a run that is only a story, once the first pass is over.
    fn announce(&mut self) {
        if let (Some(steps), Some(TopToken { token, logit })) = (self.only, self.progress.top)
            && !self.announced
        {
            let line = format!("Top token: {token} (logit={logit:.4})");
            note(self.console, &line);
            note(self.console, &format!("Generating {steps} tokens:"));
            self.announced = true;
        }
    }

    /// Shows what is left, ends the line if it is not ended, and gives what was said.
    fn end(mut self) -> Said {
        self.put();
        self.console.bottom(Bottom::Nothing);
        if !self.line_ended {
            let thinks = self.shown == Some(true);
            let style = if thinks { Style::Thought } else { self.style };
            self.console.show(style, "\n");
        }
        self.console.gauge(&Gauge {
            model: self.model,
            context: (self.progress.context, self.seq_len),
            rate: None,
        });
        self.console.flush();
        self.said
    }
}

impl ReplySink for ReplyView<'_> {
    fn on_event(&mut self, event: Event<'_>, progress: Progress) {
        if self.progress.drawn == 0 && progress.drawn > 0 {
            self.phase = (self.clock)();
        }
        self.progress = progress;
        match event {
            Event::Reasoning { text, .. } => self.take(true, text),
            Event::Text { text, .. } => self.take(false, text),
            Event::PromptRead { done, total } => self.progress.read = (done, total),
            Event::End(_) => (),
        }
    }

    fn should_stop(&mut self) -> bool {
        self.put();
        let now = (self.clock)();
        // What is typed meanwhile stands in the same place.
        if self.shown.is_none() && !self.typed {
            self.show_status(now);
        }
        self.show_gauge(now);
        let looked = self.console.look();
        if looked.typed {
            self.typed = true;
            let kept = self.console.kept();
            self.console.waiting(&kept);
        }
        looked.stop
    }
}

/// Says a line, for the log too.
pub(crate) fn note(console: &mut dyn Console, line: &str) {
    console.record(line);
    console.show(Style::Info, &format!("{line}\n"));
}

/// Whoever makes passes over the weights.
pub(crate) struct Stepper<'a, 't, 'm> {
    pub session: &'a mut Session<'m>,
    pub tokenizer: &'a Tokenizer,
    /// A server, whose requests are served by the same passes.
    pub service: Option<&'a mut Service<'t>>,
}

impl Stepper<'_, '_, '_> {
    fn step(&mut self, sequence: &mut Sequence, out: &mut dyn FnMut(Event<'_>)) -> usize {
        match &mut self.service {
            Some(service) => service.step(self.session, sequence, out),
            None => {
                let mut out = |_, event: Event<'_>| out(event);
                step(self.session, self.tokenizer, &mut [sequence], &mut out)
            }
        }
    }
}

/// Runs a sequence to its end or until a key stops it, and shows what it says.
pub(crate) fn reply(
    sequence: &mut Sequence,
    mut stepper: Stepper<'_, '_, '_>,
    platform: &mut dyn Platform,
    stage: Stage<'_>,
) -> (ReplyStats, Said) {
    let before = stage.console.drawing();
    let clock = platform.clock();
    let mut view = ReplyView::new(stage, clock);
    let start = clock();
    let mut stats = ReplyStats::default();
    let progress = |sequence: &Sequence| Progress {
        read: sequence.progress(),
        drawn: sequence.drawn(),
        context: sequence.context().len(),
        top: sequence.top_token(),
    };
    let mut far = progress(sequence);
    stats.stopped = view.wait(far);
    let session = &stepper.session;
    let threads = (!session.is_tuning()).then(|| session.threads());
    platform.perform(threads, &mut view, &mut |sink| {
        let mut looked = start;
        while !stats.stopped {
            let begun = clock();
            let passed = stepper.step(sequence, &mut |event| sink.on_event(event, far));
            let now = clock();
            if passed == 0 {
                break;
            }
            if stats.first_pass == 0 {
                stats.first_pass = now - start;
            }
            far = progress(sequence);
            if far.drawn > 0 {
                // It comes out of the pass over the prompt's last one.
                stats.first.get_or_insert(now - start);
            } else {
                sequence.limit_batch(next_batch(passed, now - begun));
            }
            // Others may have something to be passed still.
            if !sequence.is_running() {
                break;
            }
            if now.saturating_sub(looked) >= BATCH {
                stats.stopped = sink.should_stop();
                // Showing may take longer than a batch: there is to be time for tokens in between.
                looked = clock();
            }
        }
        // Here, where it is made: until other cores have gone home, and `perform` is over, is
        // another matter.
        stats.took = clock() - start;
    });
    stats.progress = progress(sequence);
    stats.end = sequence.end();
    view.progress = stats.progress;
    // What was made elsewhere and has not been heard of yet.
    view.put();
    stats.drawing = view.console.drawing() - before;
    (stats, view.end())
}
