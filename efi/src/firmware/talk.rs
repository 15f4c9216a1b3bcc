//! Text as it comes: streamed in batches, stopped by a key, with its speed at the end; and chat's questions.

use alloc::{format, string::String, vec::Vec};

use llama2_efi::{keys::Key, wrap::columns};
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
    terminal::{self, complain, record, say, say_in},
};

/// Microseconds between two looks at the keyboard, and between two batches of text: printing and polling inside the loop
/// cost 4 to 12 % when done at every token.
const BATCH: u64 = 30_000;

/// What is to be done, with the prompt already encoded: a prompt that does not fit is refused before the weights are read.
pub enum Task {
    Story(Generation, usize),
    Dialog(Chat),
}

/// What makes tokens and turns them to text.
pub struct Voice<'a, 'm> {
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

/// Shows text in batches.
struct Stream {
    text: String,
    shown: u64,
}

impl Stream {
    fn new() -> Stream {
        Stream {
            text: String::with_capacity(4096),
            shown: clock::microseconds(),
        }
    }

    /// Adds text; when it is time, shows it and says whether the user wants to stop.
    fn push(&mut self, text: &str) -> bool {
        self.text.push_str(text);
        let now = clock::microseconds();
        if now.saturating_sub(self.shown) < BATCH {
            return false;
        }
        terminal::stream(&self.text);
        self.text.clear();
        let stopped = terminal::stopped();
        // Showing may take longer than a batch: there is to be time for tokens in between.
        self.shown = clock::microseconds();
        stopped
    }

    /// Shows what is left, and this behind it.
    fn end(&mut self, last: &str) {
        self.text.push_str(last);
        terminal::text(&self.text);
        self.text.clear();
    }
}

fn say_top_token(top: Option<TopToken>) {
    if let Some(TopToken { token, logit }) = top {
        say(&format!("Top token: {token} (logit={logit:.4})"));
    }
}

/// Tells a story.
fn tell(mut generation: Generation, steps: usize, voice: &mut Voice<'_, '_>) {
    say("Running forward pass (token=1, pos=0)...");
    let start = clock::microseconds();
    // The run's own first pass; its text waits until its lines have been said.
    let first = match generation.step(voice.session, voice.tokenizer, voice.sampler) {
        Step::Text(text) => String::from(text),
        _ => String::new(),
    };
    let after_first = clock::microseconds();
    say_top_token(generation.top_token());
    say(&format!("Generating {steps} tokens:"));

    let mut stream = Stream::new();
    let mut stopped = stream.push(&first);
    let mut first_token = None;
    loop {
        // The first token that the model chose itself comes out of the pass over the prompt's last one.
        if generation.position() >= generation.prompt_tokens() {
            first_token.get_or_insert_with(|| clock::microseconds() - start);
        }
        if stopped {
            break;
        }
        match generation.step(voice.session, voice.tokenizer, voice.sampler) {
            Step::Text(text) => stopped = stream.push(text),
            _ => break,
        }
    }
    let took = clock::microseconds() - after_first;
    stream.end("\n");
    // run.c's measure: the first pass is left out.
    say_speed(generation.position().saturating_sub(1), took, first_token);
    if stopped {
        say("Stopped by a key.");
    }
}

fn say_speed(tokens: usize, microseconds: u64, first_token: Option<u64>) {
    let rate = tokens as f64 * 1e6 / microseconds.max(1) as f64;
    let first = first_token.map_or(String::new(), |first| {
        format!("time to first token {:.2} s, ", first as f64 / 1e6)
    });
    say_in(
        Color::LightGreen,
        &format!("achieved tok/s: {rate:.2} ({first}{tokens} tokens)"),
    );
}

/// A conversation, as run.c's chat: ends when the context is full, or the user presses Esc, Ctrl-C or Ctrl-D at the prompt.
fn converse(mut chat: Chat, voice: &mut Voice<'_, '_>, settings: &Settings) {
    say("Chat. Esc stops an answer; at a question it ends the chat.");
    let system = match &settings.system {
        Some(system) => Some(system.clone()),
        None => ask("Enter system prompt (optional): "),
    };
    let Some(system) = system else { return };
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
    let begun = clock::microseconds();
    let mut stream = Stream::new();
    let (mut stopped, mut first_token, mut line_ended) = (false, None, false);
    while !stopped {
        let Step::Text(text) = chat.step(voice.session, voice.tokenizer, voice.sampler) else {
            break;
        };
        if first_token.is_none() && !text.is_empty() {
            first_token = Some(clock::microseconds() - begun);
        }
        let text = String::from(text);
        if chat.position() == before + 1 {
            if before == 0 {
                say_top_token(chat.top_token());
            }
            terminal::text("Assistant: ");
        }
        if let Some(last) = text.chars().next_back() {
            line_ended = last == '\n';
        }
        stopped = stream.push(&text);
    }
    let took = clock::microseconds() - begun;
    // A turn that ended by itself has its newline already.
    stream.end(if line_ended { "" } else { "\n" });
    say_speed(chat.position() - before, took, first_token);
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
