//! Text as it comes: streamed in batches, stopped by a key, with its speed at the end; and chat's questions.
//!
//! A reply is made by whoever the crew says: the boot processor, which shows it itself, or another core, which passes it on
//! through a ring and calls no firmware.

use alloc::{format, string::String};
use core::{
    cell::Cell,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use llama2_console::{front::Style, keys::Key, width};
use llama2_efi::{cores::Way, ring::Ring};
use llama2_engine::{
    chat::{Chat, Host, Part, Reply, converse},
    generate::{Generation, PromptError, Step, TopToken},
    sampler::Sampler,
    session::Session,
    settings::{Settings, Think},
    task::Task,
    tokenizer::Tokenizer,
};

use super::{
    clock,
    cores::Crew,
    panic,
    terminal::{self, complain, record, say, say_in},
};

/// Microseconds between two looks at the keyboard, and between two batches of text: printing and polling inside the loop
/// cost 4 to 12 % when done at every token.
const BATCH: u64 = 30_000;
/// Microseconds that a pass over a part of the prompt should not take longer than: keys are looked at in between.
const PASS: u64 = 150_000;
/// Bytes that may wait to be shown: many seconds' text.
const RING: usize = 64 << 10;

/// What makes tokens and turns them to text.
pub struct Voice<'a, 'm> {
    pub crew: &'a Crew,
    pub session: &'a mut Session<'m>,
    pub tokenizer: &'a Tokenizer,
    pub sampler: &'a mut Sampler,
}

/// Does what is to be done.
pub fn run(task: Task, voice: &mut Voice<'_, '_>, settings: &Settings) {
    match task {
        Task::Story(generation, steps) => tell(generation, steps, voice),
        Task::Dialog(chat) => talk(*chat, voice, settings),
    }
}

/// Who hears a reply.
trait Audience {
    /// Takes text. Whether the user wants to stop.
    fn hear(&mut self, text: &str) -> bool;

    /// The first pass is over, with this result: from now on text may be shown.
    fn begin(&mut self, top: Option<TopToken>);
}

/// Shows text in batches.
struct Stream<'a> {
    text: String,
    shown: u64,
    begun: bool,
    heading: &'a mut dyn FnMut(Option<TopToken>),
    /// Tells thoughts from answers, in chat.
    reply: Option<Reply>,
}

/// Shows a piece of an answer.
fn show_part(part: Part, text: &str) {
    let style = match part {
        Part::Thought => Style::Thought,
        Part::Label | Part::Answer => Style::Answer,
    };
    terminal::stream_in(style, text);
}

impl<'a> Stream<'a> {
    /// `heading` says what goes before the first text.
    fn new(heading: &'a mut dyn FnMut(Option<TopToken>)) -> Stream<'a> {
        Stream {
            text: String::with_capacity(4096),
            shown: clock::microseconds(),
            begun: false,
            heading,
            reply: None,
        }
    }

    /// Shows the text that has come.
    fn put(&mut self) {
        match &mut self.reply {
            Some(reply) => reply.push(&self.text, &mut show_part),
            None => terminal::stream(&self.text),
        }
        self.text.clear();
    }

    /// Shows what there is, and says whether the user wants to stop.
    fn show(&mut self) -> bool {
        if self.begun && !self.text.is_empty() {
            self.put();
        }
        let stopped = terminal::stopped();
        // Showing may take longer than a batch: there is to be time for tokens in between.
        self.shown = clock::microseconds();
        stopped
    }

    /// Takes over what another core made.
    fn collect(&mut self, mailbox: &Mailbox) {
        if !self.begun && mailbox.begun.load(Acquire) {
            self.begin(mailbox.top.get());
        }
        mailbox.ring.pop(&mut self.text);
        if self.show() {
            mailbox.stop.store(true, Relaxed);
        }
    }

    /// Shows what is left, and ends the line if it is not ended.
    fn end(&mut self) {
        self.put();
        let line_ended = self.reply.as_mut().is_some_and(|reply| {
            reply.finish(&mut show_part);
            reply.line_ended()
        });
        terminal::text(if line_ended { "" } else { "\n" });
    }
}

impl Audience for Stream<'_> {
    fn hear(&mut self, text: &str) -> bool {
        self.text.push_str(text);
        clock::microseconds().saturating_sub(self.shown) >= BATCH && self.show()
    }

    fn begin(&mut self, top: Option<TopToken>) {
        (self.heading)(top);
        self.begun = true;
        if let Some(reply) = &mut self.reply {
            reply.begin(&mut show_part);
        }
    }
}

/// Between the core that makes a reply and the one that shows it.
struct Mailbox {
    ring: Ring,
    stop: AtomicBool,
    begun: AtomicBool,
    /// Written before `begun`, read after it.
    top: Cell<Option<TopToken>>,
}

/// The mailbox's other end. Allocates nothing and calls no firmware.
struct Sender<'a> {
    crew: &'a Crew,
    mailbox: &'a Mailbox,
}

impl Audience for Sender<'_> {
    fn hear(&mut self, text: &str) -> bool {
        let mut rest = self.mailbox.ring.push(text);
        while !rest.is_empty() {
            self.crew.check();
            core::hint::spin_loop();
            rest = self.mailbox.ring.push(rest);
        }
        self.mailbox.stop.load(Relaxed)
    }

    fn begin(&mut self, top: Option<TopToken>) {
        self.mailbox.top.set(top);
        self.mailbox.begun.store(true, Release);
    }
}

/// Has `work` make a reply, with at most `threads` workers, and shows it.
fn perform(
    crew: &Crew,
    threads: usize,
    stream: &mut Stream<'_>,
    work: &mut dyn FnMut(&mut dyn Audience),
) {
    if *crew.way() != Way::Elsewhere {
        work(stream);
        crew.rest();
        return;
    }
    let mailbox = Mailbox {
        ring: Ring::new(RING),
        stop: AtomicBool::new(false),
        begun: AtomicBool::new(false),
        top: Cell::new(None),
    };
    let mut sender = Sender {
        crew,
        mailbox: &mailbox,
    };
    let made = crew.elsewhere(threads, &mut || work(&mut sender), &mut || {
        stream.collect(&mailbox);
    });
    stream.collect(&mailbox);
    if let Err(why) = made {
        panic::fail(format_args!("error: {why}; set threads = 1"));
    }
}

/// Workers to have at hand for a reply.
fn threads(voice: &Voice<'_, '_>) -> usize {
    use llama2_engine::workers::Workers;
    if voice.session.is_tuning() {
        voice.crew.count()
    } else {
        voice.session.threads()
    }
}

/// Tokens that the next pass over the prompt may take, after one of so many took so long.
fn next_batch(tokens: usize, microseconds: u64) -> usize {
    (PASS * tokens as u64 / microseconds.max(1)).clamp(1, 1 << 10) as usize
}

fn say_top_token(top: Option<TopToken>) {
    if let Some(TopToken { token, logit }) = top {
        say(&format!("Top token: {token} (logit={logit:.4})"));
    }
}

/// Tells a story.
fn tell(mut generation: Generation, steps: usize, voice: &mut Voice<'_, '_>) {
    say("Running forward pass (token=1, pos=0)...");
    let mut heading = |top| {
        say_top_token(top);
        say(&format!("Generating {steps} tokens:"));
    };
    let mut stream = Stream::new(&mut heading);
    let (crew, threads) = (voice.crew, threads(voice));
    let start = clock::microseconds();
    let (mut after_first, mut first_token, mut stopped) = (start, None, false);
    perform(crew, threads, &mut stream, &mut |audience| {
        while !stopped {
            let (before, begun) = (generation.position(), clock::microseconds());
            match generation.step(voice.session, voice.tokenizer, voice.sampler) {
                Step::Text(text) => stopped = audience.hear(text),
                _ => break,
            }
            let now = clock::microseconds();
            if before == 0 {
                after_first = now;
                audience.begin(generation.top_token());
            }
            // The first token that the model chose itself comes out of the pass over the prompt's last one.
            if generation.position() >= generation.prompt_tokens() {
                first_token.get_or_insert_with(|| now - start);
            } else {
                generation.limit_batch(next_batch(generation.position() - before, now - begun));
            }
        }
    });
    let took = clock::microseconds() - after_first;
    stream.end();
    // run.c's measure: the first pass is left out.
    let tokens = generation.position().saturating_sub(1);
    say_speed(tokens, took, first_token, voice);
    if stopped {
        say("Stopped by a key.");
    }
}

fn say_speed(tokens: usize, microseconds: u64, first_token: Option<u64>, voice: &Voice<'_, '_>) {
    let rate = tokens as f64 * 1e6 / microseconds.max(1) as f64;
    let first = first_token.map_or(String::new(), |first| {
        format!("time to first token {:.2} s, ", first as f64 / 1e6)
    });
    let cores = match voice.session.threads() {
        1 => "1 core".into(),
        threads => format!("{threads} cores"),
    };
    say_in(
        Style::Summary,
        &format!("achieved tok/s: {rate:.2} ({first}{tokens} tokens, {cores})"),
    );
}

/// A conversation, which ends when the user presses Esc, Ctrl-C or Ctrl-D at the prompt; run.c's chat also when the context is
/// full.
fn talk(chat: Chat, voice: &mut Voice<'_, '_>, settings: &Settings) {
    say("Chat. Esc stops an answer; at a question it ends the chat.");
    let tokenizer = voice.tokenizer;
    let mut talk = Talk {
        voice,
        think: settings.think,
    };
    match converse(chat, tokenizer, settings, &mut talk) {
        Ok(chat) if chat.is_over() => {
            say(
                "The chat ends here: its steps are used up (0 steps are the model's whole context).",
            );
        }
        Ok(_) => (),
        Err(error) => complain("error", &format!("{error}")),
    }
}

/// A conversation on screen and serial line.
struct Talk<'v, 'a, 'm> {
    voice: &'v mut Voice<'a, 'm>,
    think: Think,
}

impl Host for Talk<'_, '_, '_> {
    type Error = PromptError;

    fn ask(&mut self, question: &str) -> Result<Option<String>, PromptError> {
        Ok(ask(question))
    }

    fn say(&mut self, sentence: &str) {
        complain("warning", sentence);
    }

    fn answer(&mut self, chat: &mut Chat) -> Result<(), PromptError> {
        answer(chat, self.voice, self.think);
        Ok(())
    }

    fn is_patient(&self) -> bool {
        true
    }
}

/// One answer, with its speed.
fn answer(chat: &mut Chat, voice: &mut Voice<'_, '_>, think: Think) {
    let before = chat.position();
    if before == 0 {
        say("Running forward pass (token=1, pos=0)...");
    }
    let mut heading = |top| {
        if before == 0 {
            say_top_token(top);
        }
    };
    let mut stream = Stream::new(&mut heading);
    stream.reply = Some(Reply::new(chat, think));
    let (crew, threads) = (voice.crew, threads(voice));
    let start = clock::microseconds();
    let (mut stopped, mut first_token) = (false, None);
    perform(crew, threads, &mut stream, &mut |audience| {
        let mut first = true;
        while !stopped {
            let (position, begun) = (chat.position(), clock::microseconds());
            let Step::Text(text) = chat.step(voice.session, voice.tokenizer, voice.sampler) else {
                break;
            };
            let now = clock::microseconds();
            if !text.is_empty() {
                first_token.get_or_insert(now - start);
            }
            stopped = audience.hear(text);
            if core::mem::take(&mut first) {
                audience.begin(chat.top_token());
            }
            chat.limit_batch(next_batch(chat.position() - position, now - begun));
        }
    });
    let took = clock::microseconds() - start;
    stream.end();
    say_speed(chat.position() - before, took, first_token, voice);
    if stopped {
        say("Stopped by a key.");
        chat.interrupt();
    }
}

/// Asks for a line; `None` if the user wants to leave.
fn ask(question: &str) -> Option<String> {
    record(question);
    terminal::text(question);
    let mut line = String::new();
    loop {
        match terminal::wait_for_key() {
            Key::Enter | Key::Newline => break,
            Key::Escape | Key::Ctrl('c' | 'd') => {
                terminal::text("\n");
                return None;
            }
            Key::Backspace | Key::Delete => {
                for _ in 0..line.pop().map_or(0, width::letter) {
                    terminal::text("\u{8} \u{8}");
                }
            }
            Key::Char(letter) => {
                line.push(letter);
                terminal::text(letter.encode_utf8(&mut [0; 4]));
            }
            _ => (),
        }
    }
    terminal::text("\n");
    Some(line)
}
