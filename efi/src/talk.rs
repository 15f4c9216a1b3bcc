//! Text as it comes: streamed in batches, stopped by a key, with its speed at the end; and chat's questions.

use alloc::{format, string::String, vec::Vec};

use llama2_efi::keys::Key;
use llama2_engine::{
    chat::Chat,
    generate::{Generation, PromptError, Step, TopToken},
    sampler::Sampler,
    session::Session,
    tokenizer::Tokenizer,
};

use crate::{clock, terminal};

/// Microseconds between two looks at the keyboard, and between two batches of text: printing and polling inside the loop
/// cost 4 to 12 % when done at every token.
const BATCH: u64 = 30_000;

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
        self.shown = now;
        self.flush();
        terminal::stopped()
    }

    fn flush(&mut self) {
        terminal::text(&self.text);
        self.text.clear();
    }
}

fn top_token(top: Option<TopToken>) {
    if let Some(TopToken { token, logit }) = top {
        terminal::say(&format!("Top token: {token} (logit={logit:.4})"));
    }
}

/// Tells a story.
pub fn story(
    mut generation: Generation,
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    sampler: &mut Sampler,
    steps: usize,
) {
    terminal::say("Running forward pass (token=1, pos=0)...");
    let start = clock::microseconds();
    // The run's own first pass; its text waits until its lines have been said.
    let first = match generation.step(session, tokenizer, sampler) {
        Step::Text(text) => String::from(text),
        _ => String::new(),
    };
    let after_first = clock::microseconds();
    top_token(generation.top_token());
    terminal::say(&format!("Generating {steps} tokens:"));

    let mut stream = Stream::new();
    let mut stopped = stream.push(&first);
    let mut first_token = None;
    loop {
        if generation.position() >= generation.prompt_tokens() {
            first_token.get_or_insert_with(|| clock::microseconds() - start);
        }
        if stopped {
            break;
        }
        match generation.step(session, tokenizer, sampler) {
            Step::Text(text) => stopped = stream.push(text),
            _ => break,
        }
    }
    let took = clock::microseconds() - after_first;
    stream.push("\n");
    stream.flush();
    speed(generation.position().saturating_sub(1), took, first_token);
    if stopped {
        terminal::say("Stopped by a key.");
    }
}

/// run.c's measure: the first pass is left out.
fn speed(tokens: usize, microseconds: u64, first_token: Option<u64>) {
    let rate = tokens as f64 * 1e6 / microseconds.max(1) as f64;
    let first = first_token.map_or(String::new(), |first| {
        format!("time to first token {:.3} s, ", first as f64 / 1e6)
    });
    terminal::say(&format!(
        "achieved tok/s: {rate:.2} ({first}{tokens} tokens)"
    ));
}

/// A conversation, as run.c's chat: ends when the context is full, or the user presses Esc or Ctrl-D at the prompt.
///
/// # Errors
/// If the user's turn does not fit into the context.
pub fn chat(
    mut chat: Chat,
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    sampler: &mut Sampler,
    system: Option<&str>,
    prompt: Option<&str>,
) -> Result<(), PromptError> {
    let system = match system {
        Some(system) => Some(String::from(system)),
        None => ask("Enter system prompt (optional): "),
    };
    let Some(system) = system else { return Ok(()) };
    let mut given = prompt.map(String::from);
    while !chat.is_over() {
        let Some(user) = given.take().or_else(|| ask("User: ")) else {
            break;
        };
        let (begun, before) = (clock::microseconds(), chat.position());
        chat.begin_turn(tokenizer, &system, &user)?;
        if before == 0 {
            terminal::say("Running forward pass (token=1, pos=0)...");
        }
        let mut stream = Stream::new();
        let mut stopped = false;
        let mut first_token = None;
        while !stopped {
            let Step::Text(text) = chat.step(session, tokenizer, sampler) else {
                break;
            };
            if first_token.is_none() && !text.is_empty() {
                first_token = Some(clock::microseconds() - begun);
            }
            let text = String::from(text);
            if chat.position() == 1 {
                top_token(chat.top_token());
            }
            if chat.position() == before + 1 {
                stream.push("Assistant: ");
            }
            stopped = stream.push(&text);
        }
        stream.push("\n");
        stream.flush();
        speed(
            chat.position() - before,
            clock::microseconds() - begun,
            first_token,
        );
        if stopped {
            terminal::say("Stopped by a key.");
            chat.interrupt();
        }
    }
    Ok(())
}

/// Asks for a line; `None` if the user wants to leave.
fn ask(question: &str) -> Option<String> {
    terminal::text(question);
    let mut line: Vec<u8> = Vec::new();
    let mut shown = llama2_engine::utf8::Utf8Stream::default();
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
                    line.truncate(start);
                    terminal::text("\u{8} \u{8}");
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
