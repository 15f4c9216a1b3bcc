//! Text as it comes: streamed in batches, stopped by a key, with its speed at the end; and chat's questions.
//!
//! A reply is made by whoever the crew says: the boot processor, which shows it itself, or another core, which passes it on
//! through a ring and calls no firmware.

use alloc::{format, string::String, vec::Vec};
use core::{
    cell::Cell,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use llama2_efi::{cores::Way, keys::Key, ring::Ring, wrap::columns};
use llama2_engine::{
    chat::Chat,
    generate::{Generation, PromptError, Step, TopToken},
    sampler::Sampler,
    session::Session,
    settings::{Mode, Settings},
    tokenizer::Tokenizer,
    utf8::Utf8Stream,
};
use uefi::proto::console::text::Color;

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

/// What is to be done, with the prompt already encoded: a prompt that does not fit is refused before the weights are read.
pub enum Task {
    Story(Generation, usize),
    Dialog(Chat),
}

/// What makes tokens and turns them to text.
pub struct Voice<'a, 'm> {
    pub crew: &'a Crew,
    pub session: &'a mut Session<'m>,
    pub tokenizer: &'a Tokenizer,
    pub sampler: &'a mut Sampler,
}

impl Task {
    /// The task that the settings ask for, for a model with a context of `seq_len`.
    ///
    /// # Errors
    /// If the prompt does not fit into the context.
    pub fn new(
        tokenizer: &Tokenizer,
        settings: &Settings,
        seq_len: usize,
    ) -> Result<Task, PromptError> {
        let steps = settings.steps_for(seq_len);
        match settings.mode {
            Mode::Generate => {
                let prompt = settings.prompt.as_deref().unwrap_or_default();
                let generation = Generation::new(tokenizer, prompt, steps, seq_len)?;
                Ok(Task::Story(generation, steps))
            }
            Mode::Chat => {
                let mut chat = Chat::new(tokenizer, steps, seq_len);
                // Only tried here: the system prompt may still be asked for.
                let system = settings.system.as_deref().unwrap_or_default();
                let user = given(settings).unwrap_or_default();
                chat.begin_turn(tokenizer, system, &user)?;
                Ok(Task::Dialog(chat))
            }
        }
    }

    /// Does it.
    pub fn run(self, voice: &mut Voice<'_, '_>, settings: &Settings) {
        match self {
            Task::Story(generation, steps) => tell(generation, steps, voice),
            Task::Dialog(chat) => converse(chat, voice, settings),
        }
    }
}

/// The prompt as text.
fn given(settings: &Settings) -> Option<String> {
    let prompt = settings.prompt.as_deref()?;
    Some(String::from_utf8_lossy(prompt).into_owned())
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
}

impl<'a> Stream<'a> {
    /// `heading` says what goes before the first text.
    fn new(heading: &'a mut dyn FnMut(Option<TopToken>)) -> Stream<'a> {
        Stream {
            text: String::with_capacity(4096),
            shown: clock::microseconds(),
            begun: false,
            heading,
        }
    }

    /// Shows what there is, and says whether the user wants to stop.
    fn show(&mut self) -> bool {
        if self.begun && !self.text.is_empty() {
            terminal::stream(&self.text);
            self.text.clear();
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

    /// Shows what is left, and this behind it.
    fn end(&mut self, last: &str) {
        self.text.push_str(last);
        terminal::text(&self.text);
        self.text.clear();
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
    stream.end("\n");
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
        Color::LightGreen,
        &format!("achieved tok/s: {rate:.2} ({first}{tokens} tokens, {cores})"),
    );
}

/// A conversation, which ends when the user presses Esc, Ctrl-C or Ctrl-D at the prompt; run.c's chat also when the context is
/// full.
fn converse(mut chat: Chat, voice: &mut Voice<'_, '_>, settings: &Settings) {
    say("Chat. Esc stops an answer; at a question it ends the chat.");
    let system = match &settings.system {
        Some(system) => Some(system.clone()),
        // A template has one of its own, or needs none.
        None if chat.template().is_some() => Some(String::new()),
        None => ask("Enter system prompt (optional): "),
    };
    let Some(system) = system else { return };
    if chat.template().is_some_and(|template| !template.is_known()) {
        complain(
            "warning",
            "the model's chat template is of no family that is known; taking chatml's",
        );
    }
    let mut given = given(settings);
    while !chat.is_over() {
        let Some(user) = given.take().or_else(|| ask("User: ")) else {
            break;
        };
        if let Err(error) = chat.begin_turn(voice.tokenizer, &system, &user) {
            complain("warning", &format!("{error}"));
            // A person can say it in fewer words, unless there is no room for any.
            if chat.begin_turn(voice.tokenizer, &system, "").is_err() {
                break;
            }
            continue;
        }
        if let Some(notice) = chat.notice() {
            say(&notice);
        }
        answer(&mut chat, voice);
    }
    if chat.is_over() {
        say("The chat ends here: its steps are used up (0 steps are the model's whole context).");
    }
}

/// One answer, with its speed.
fn answer(chat: &mut Chat, voice: &mut Voice<'_, '_>) {
    let before = chat.position();
    if before == 0 {
        say("Running forward pass (token=1, pos=0)...");
    }
    let mut heading = |top| {
        if before == 0 {
            say_top_token(top);
        }
        terminal::text("Assistant: ");
    };
    let mut stream = Stream::new(&mut heading);
    let (crew, threads) = (voice.crew, threads(voice));
    let start = clock::microseconds();
    let (mut stopped, mut first_token, mut line_ended) = (false, None, false);
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
            if let Some(last) = text.chars().next_back() {
                line_ended = last == '\n';
            }
            stopped = audience.hear(text);
            if core::mem::take(&mut first) {
                audience.begin(chat.top_token());
            }
            chat.limit_batch(next_batch(chat.position() - position, now - begun));
        }
    });
    let took = clock::microseconds() - start;
    // A turn that ended by itself has its newline already.
    stream.end(if line_ended { "" } else { "\n" });
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
    let mut line: Vec<u8> = Vec::new();
    let mut shown = Utf8Stream::default();
    loop {
        match terminal::wait_for_key() {
            Key::Enter => break,
            Key::Escape | Key::Interrupt | Key::End => {
                terminal::text("\n");
                return None;
            }
            Key::Backspace => {
                // A whole character: its continuation bytes and the byte before them.
                let character = line.iter().rposition(|byte| byte & 0xc0 != 0x80);
                if let Some(start) = character {
                    let gone = String::from_utf8_lossy(&line[start..]).into_owned();
                    line.truncate(start);
                    for _ in 0..gone.chars().map(columns).sum() {
                        terminal::text("\u{8} \u{8}");
                    }
                }
            }
            Key::Byte(byte) => {
                line.push(byte);
                let mut whole = String::new();
                shown.push(&[byte], &mut whole);
                terminal::text(&whole);
            }
            Key::Other => (),
        }
    }
    terminal::text("\n");
    Some(String::from_utf8_lossy(&line).into_owned())
}
