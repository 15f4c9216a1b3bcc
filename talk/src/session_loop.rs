//! A conversation with one model: what is typed is said to it, told as a story, or done. [`State`]
//! is what outlives the model.

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec::Vec,
};

use llama2_console::{
    commands::{Input, parse},
    conversation::Conversation,
    editor::Editor,
    front::{Gauge, Style},
    history::History,
    status::End,
    terminal::one_line,
    typeahead::Typeahead,
};
use llama2_engine::{
    chat::{Chat, Reply},
    checkpoint::Format,
    generate::{Generation, NOT_NUMBERS, PromptError},
    sampler::Sampler,
    session::Session,
    settings::{Mode, Settings, Think},
    task::Task,
    tokenizer::Tokenizer,
    units::{SENTENCE, short},
};

use crate::{
    host::{Console, Host},
    prompt,
    reply::{self, ReplySource, ReplyStats, Stage},
    wishes,
};

/// A model that is in memory.
pub struct Loaded<'a, 'm> {
    /// Name that the shell knows it by: an [`crate::host::ModelEntry`]'s `id`.
    pub id: &'a str,
    /// What people know it by.
    pub name: &'a str,
    /// The forward pass.
    pub session: &'a mut Session<'m>,
    /// Texts to tokens and back.
    pub tokenizer: &'a Tokenizer,
    /// The file's format.
    pub format: Format,
    /// What there is to be told of it: names and what they stand for.
    pub about: &'a [(String, String)],
}

impl Loaded<'_, '_> {
    /// Positions of its context.
    pub(crate) fn seq_len(&self) -> usize {
        self.session.positions()
    }

    /// Tells whether a pass over its weights takes so long that people see it.
    fn is_slow(&self) -> bool {
        const SLOW: u64 = 64 << 20;
        self.session.model().bytes_per_token() >= SLOW
    }
}

/// Why a conversation pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Its user leaves.
    Exit,
    /// Another model is wanted: an offer's `id`.
    Model(String),
    /// The machine is to be measured; then it goes on.
    Bench,
    /// The machine is to start again.
    Reboot,
    /// The machine is to be switched off.
    Shutdown,
    /// The machine is to start into its setup.
    Firmware,
}

/// How much of a reply's time went into showing it: nanoseconds of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RenderTime {
    /// In showing.
    pub drawing: u64,
    /// In all.
    pub took: u64,
}

/// What outlives the model.
#[derive(Default)]
pub struct State {
    /// What was asked for: by options at first, then by commands. `mode` is not looked at.
    pub settings: Settings,
    /// Story or chat, where somebody said it; else a model with a chat template chats, and another
    /// tells stories.
    pub mode: Option<Mode>,
    /// What the model at hand is for where `mode` is silent and the shell knows better than by its
    /// template: set before each [`hold`].
    pub usual: Option<Mode>,
    /// How much the last reply's showing took.
    pub drawn: Option<RenderTime>,
    /// Keys that came at the wrong time.
    pub ahead: Typeahead,
    pub(crate) editor: Editor,
    pub(crate) conversation: Conversation,
    /// The file that the conversation is in.
    pub(crate) file: Option<String>,
    pub(crate) chat: Option<Box<Chat>>,
    pub(crate) sampler: Option<Sampler>,
    /// The seed that was taken last, and where it came from.
    pub(crate) seed: Option<(u64, &'static str)>,
    /// The last thing that was said to the model, and whether an answer to it is in the
    /// conversation.
    pub(crate) question: Option<String>,
    pub(crate) answered: bool,
    /// Messages of it that are in a file.
    pub(crate) saved: usize,
    /// The model that the conversation is with, and the first of all: what was asked for besides
    /// was asked for that one.
    model: String,
    pub(crate) first: Option<String>,
}

impl State {
    /// With what was asked for.
    pub fn new(settings: Settings, mode: Option<Mode>) -> State {
        State {
            settings,
            mode,
            ..State::default()
        }
    }

    /// Lines that were typed before, and may be brought back; those of this conversation are added.
    pub fn history_mut(&mut self) -> &mut History {
        self.editor.history_mut()
    }

    /// Share of a reply's time that showing it took, in words, for a log.
    pub fn drawing(&self) -> Option<String> {
        let RenderTime { drawing, took } = self.drawn?;
        let percent = drawing as f64 * 100.0 / took.max(1) as f64;
        Some(format!(
            "showing the last reply took {percent:.2} % of its time"
        ))
    }
}

/// A conversation under way.
pub(crate) struct Talk<'t, 'a, 'm> {
    pub loaded: Loaded<'a, 'm>,
    pub state: &'t mut State,
    pub console: &'t mut dyn Console,
    pub host: &'t mut dyn Host,
}

/// Holds a conversation until something is wanted that only the shell can do.
pub fn hold(
    loaded: Loaded<'_, '_>,
    state: &mut State,
    console: &mut dyn Console,
    host: &mut dyn Host,
) -> Next {
    let mut talk = Talk {
        loaded,
        state,
        console,
        host,
    };
    if talk.state.model == talk.loaded.id {
        // Its cache is not the one that it had.
        if let Some(chat) = &mut talk.state.chat {
            chat.forget_cache();
        }
        talk.gauge();
    } else {
        talk.state.model = talk.loaded.id.to_string();
        let first = &mut talk.state.first;
        first.get_or_insert_with(|| talk.loaded.id.to_string());
        for warning in talk.loaded.tokenizer.warnings() {
            talk.warn(warning);
        }
        talk.anew();
        talk.greet();
    }
    loop {
        let Talk {
            state,
            console,
            host,
            ..
        } = &mut talk;
        let State { editor, ahead, .. } = &mut **state;
        let Some(line) = prompt::read_line(editor, ahead, *console, *host) else {
            return Next::Exit;
        };
        talk.console.record(&line);
        talk.host.remember(&line);
        match parse(&line, talk.host.place()) {
            Ok(Input::Empty) => talk.say_nothing(),
            Ok(Input::Text(text)) => talk.hear(&text),
            Ok(Input::Command(command)) => {
                if let Some(next) = talk.act(command) {
                    return next;
                }
            }
            Err(sentence) => talk.complain(&sentence),
        }
    }
}

/// Tells one story, as from `heading` on scripts read it, and comes back.
///
/// # Errors
/// [`NOT_NUMBERS`].
pub fn tell_once(
    loaded: Loaded<'_, '_>,
    generation: Generation,
    steps: usize,
    sampler: Sampler,
    state: &mut State,
    console: &mut dyn Console,
    host: &mut dyn Host,
) -> Result<(), &'static str> {
    state.sampler = Some(sampler);
    let mut talk = Talk {
        loaded,
        state,
        console,
        host,
    };
    reply::note(talk.console, "Running forward pass (token=1, pos=0)...");
    let mut generation = generation;
    let Some((made, _)) = talk.tell(&mut generation, Some(steps)) else {
        return Ok(());
    };
    if generation.is_broken() {
        return Err(NOT_NUMBERS);
    }
    let line = reply::speed(&made, talk.loaded.session.threads());
    talk.console.show(Style::Summary, &format!("{line}\n"));
    talk.console.record(&line);
    if made.stopped {
        talk.say("Stopped by a key.");
    }
    talk.console.flush();
    Ok(())
}

impl Talk<'_, '_, '_> {
    /// Says a line.
    pub fn say(&mut self, sentence: &str) {
        reply::note(self.console, sentence);
    }

    /// Says what did not go as wished.
    pub fn warn(&mut self, sentence: &str) {
        self.object("warning", Style::Warning, sentence);
    }

    /// Says what was wrong.
    pub fn complain(&mut self, sentence: &str) {
        self.object("error", Style::Error, sentence);
    }

    /// Says it in at most [`SENTENCE`] characters, whatever was typed or read.
    fn object(&mut self, kind: &str, style: Style, sentence: &str) {
        let line = one_line(&format!("{kind}: {sentence}"));
        let line = short(&line, SENTENCE);
        self.console.record(&line);
        self.console.show(style, &format!("{line}\n"));
    }

    /// Tells whether the model tells stories instead of talking.
    pub fn tells(&self) -> bool {
        match self.state.mode.or(self.state.usual) {
            Some(mode) => mode == Mode::Generate,
            None => self.loaded.tokenizer.chat_template().is_none(),
        }
    }

    /// Tells whether llama.cpp's defaults hold: in a dialog that is not run.c's.
    pub fn is_dialog(&self) -> bool {
        let run_c = self.loaded.tokenizer.chat_template().is_none()
            && !matches!(self.loaded.format, Format::Gguf { .. });
        !self.tells() && !run_c
    }

    /// Begins a new conversation.
    pub fn anew(&mut self) {
        self.state.conversation = Conversation::default();
        self.state.file = None;
        self.state.saved = 0;
        self.state.question = None;
        self.state.answered = false;
        self.state.sampler = None;
        self.state.chat = None;
        if self.tells() {
            return;
        }
        match self.new_chat() {
            Ok(remarks) => remarks.iter().for_each(|remark| self.warn(remark)),
            Err(error) => {
                self.complain(&format!("the system prompt: {error}"));
                self.state.settings.system = None;
                // Without one there is room.
                let _ = self.new_chat();
            }
        }
    }

    fn new_chat(&mut self) -> Result<Vec<String>, PromptError> {
        let seq_len = self.loaded.seq_len();
        let mut settings = Settings {
            mode: Mode::Chat,
            prompt: None,
            ..self.state.settings.clone()
        };
        if !self.is_dialog() {
            settings.steps = Some(wishes::story_steps(&settings, seq_len) as i64);
        }
        let task = Task::new(
            &settings,
            self.loaded.tokenizer,
            self.loaded.format,
            seq_len,
        )?;
        let remarks = task.remarks(&settings, seq_len);
        if let Task::Dialog(chat) = task {
            self.state.chat = Some(chat);
        }
        Ok(remarks)
    }

    /// The first words: a story, or that somebody listens.
    fn greet(&mut self) {
        self.gauge();
        let given = self.state.settings.prompt.take();
        if self.tells() {
            let opening = given.map(|prompt| String::from_utf8_lossy(&prompt).into_owned());
            self.tell_from(&opening.unwrap_or_default());
            self.say("Type how the next story begins, or press Return for any story. /help lists what else there is.");
            return;
        }
        let name = self.loaded.name.to_string();
        self.say(&format!(
            "{name} is listening. Esc stops an answer, /help lists the commands."
        ));
        if let Some(prompt) = given {
            let prompt = String::from_utf8_lossy(&prompt).into_owned();
            self.console.show(Style::User, &format!("> {prompt}\n"));
            self.ask(&prompt);
        }
    }

    /// What the status bar tells between replies.
    pub fn gauge(&mut self) {
        let used = self
            .state
            .chat
            .as_ref()
            .map_or(0, |chat| chat.context().len());
        let gauge = Gauge {
            model: self.loaded.name,
            context: (used, self.loaded.seq_len()),
            rate: None,
        };
        self.console.gauge(&gauge);
    }

    /// Return on an empty line: another story, or a text that goes on.
    fn say_nothing(&mut self) {
        if self.tells() {
            self.tell_from("");
        } else if self
            .state
            .chat
            .as_ref()
            .is_some_and(|chat| chat.is_completion())
        {
            self.ask("");
        }
    }

    /// Something was said to the model.
    fn hear(&mut self, text: &str) {
        if self.tells() {
            self.tell_from(text);
        } else {
            self.ask(text);
        }
    }

    /// Whoever draws, ready.
    fn prepare_sampler(&mut self, dialog: bool, again: bool) {
        if again && self.state.sampler.is_some() {
            return;
        }
        let vocab_size = self.loaded.session.model().config.vocab_size;
        let drawing = |settings: &Settings| settings.sampling.drawing(dialog);
        if let Err(sentence) = drawing(&self.state.settings).check(vocab_size) {
            // Numbers are checked where they are set: it is a token of another model's.
            self.warn(&format!(
                "the sampling's {sentence}; such biases are left out"
            ));
            let biases = &mut self.state.settings.sampling.bias;
            let is_ours =
                |(token, bias): &(u32, f32)| (*token as usize) < vocab_size && !bias.is_nan();
            biases.iter_mut().for_each(|biases| biases.retain(is_ours));
        }
        let (seed, source) = match self.state.settings.seed {
            Some(seed) => (seed, "given"),
            None => self.host.seed(),
        };
        self.state.seed = Some((seed, source));
        let mut sampler = drawing(&self.state.settings).sampler(vocab_size, seed);
        if let Some(chat) = self.state.chat.as_ref().filter(|_| dialog) {
            // Penalties look at what was said before.
            sampler.accept(chat.context());
        }
        self.state.sampler = Some(sampler);
    }

    /// Tells a story that begins like this, shows it, and keeps it as part of the conversation.
    pub fn tell_from(&mut self, opening: &str) {
        self.state.question = Some(opening.to_string());
        self.state.answered = false;
        if let Some((made, text, end)) = self.tell_story(opening) {
            self.keep(opening, &text, None);
            self.summarise(&made, self.loaded.seq_len(), end);
        }
    }

    /// Tells a story, whatever the model is for. Gives it, and why it ended.
    fn tell_story(&mut self, opening: &str) -> Option<(ReplyStats, String, End)> {
        let seq_len = self.loaded.seq_len();
        let settings = &self.state.settings;
        let steps = wishes::story_steps(settings, seq_len);
        let stops = settings.stops.clone();
        let generation = Generation::new(self.loaded.tokenizer, opening.as_bytes(), steps, seq_len);
        let mut generation = match generation {
            Ok(generation) => generation,
            Err(error) => {
                self.complain(&error.to_string());
                return None;
            }
        };
        generation.set_stops(&stops);
        // The same seed gives the same story.
        self.state.sampler = None;
        self.prepare_sampler(false, false);
        let told = self.tell(&mut generation, None);
        self.state.sampler = None;
        if let Some(chat) = &mut self.state.chat {
            chat.forget_cache();
        }
        let (made, text) = told?;
        if generation.is_broken() {
            self.complain(NOT_NUMBERS);
            return None;
        }
        let end = match generation.position() {
            position if position >= seq_len => End::Full,
            position if position >= steps => End::Limit,
            _ => End::Own,
        };
        Some((made, text, end))
    }

    /// `/story` in a chat: it is not part of the conversation.
    pub fn tell_aside(&mut self, opening: &str) {
        if let Some((made, _, end)) = self.tell_story(opening) {
            self.summarise(&made, self.loaded.seq_len(), end);
        }
        self.gauge();
    }

    fn tell(
        &mut self,
        generation: &mut Generation,
        only: Option<usize>,
    ) -> Option<(ReplyStats, String)> {
        let Talk {
            loaded,
            state,
            console,
            host,
        } = self;
        let seq_len = loaded.seq_len();
        let slow = loaded.is_slow();
        let mut voice = ReplySource {
            session: loaded.session,
            tokenizer: loaded.tokenizer,
            sampler: state.sampler.as_mut()?,
        };
        let stage = Stage {
            console: &mut **console,
            ahead: &mut state.ahead,
            clock: host.clock(),
            model: loaded.name,
            seq_len,
            only,
            slow,
        };
        Some(reply::story(generation, &mut voice, *host, stage))
    }

    /// Says something to the model, and shows its answer.
    pub fn ask(&mut self, question: &str) {
        self.state.question = Some(question.to_string());
        self.state.answered = false;
        let system = self.state.settings.system.clone().unwrap_or_default();
        let Some(chat) = &mut self.state.chat else {
            return;
        };
        if chat.is_over() {
            self.complain(
                "the conversation's steps are used up: /clear begins a new one, and /max may give it more",
            );
            return;
        }
        if let Err(error) = chat.begin_turn(self.loaded.tokenizer, &system, question) {
            self.complain(&error.to_string());
            return;
        }
        if let Some(notice) = chat.notice().map(String::from) {
            self.warn(&notice);
        }
        let dialog = self.is_dialog();
        self.prepare_sampler(dialog, true);
        let Talk {
            loaded,
            state,
            console,
            host,
        } = self;
        let (seq_len, slow) = (loaded.seq_len(), loaded.is_slow());
        let State {
            chat,
            sampler,
            ahead,
            settings,
            ..
        } = &mut **state;
        let (Some(chat), Some(sampler)) = (chat, sampler) else {
            return;
        };
        let mut voice = ReplySource {
            session: loaded.session,
            tokenizer: loaded.tokenizer,
            sampler,
        };
        let stage = Stage {
            console: &mut **console,
            ahead,
            clock: host.clock(),
            model: loaded.name,
            seq_len,
            only: None,
            slow,
        };
        let reply = Reply::new(chat, settings.think);
        let hides = settings.think == Think::Hide;
        let (made, answer, thought) = reply::answer(chat, reply, hides, &mut voice, *host, stage);
        let (read, all) = chat.progress();
        let end = match () {
            () if chat.is_over() && chat.context().len() < seq_len => End::Limit,
            () if chat.is_cut() || chat.is_over() => End::Full,
            () if chat.is_limited() => End::Limit,
            () => End::Own,
        };
        if chat.is_broken() {
            // What was asked can be asked of another model.
            chat.undo();
            self.complain(NOT_NUMBERS);
            return;
        }
        if made.stopped {
            chat.interrupt();
        }
        let made = ReplyStats {
            progress: crate::host::Progress {
                context: chat.context().len(),
                ..made.progress
            },
            ..made
        };
        if read < all {
            self.say("Stopped before it was read whole: the question is taken back. Up brings it to the prompt again.");
        } else {
            let thought = (!thought.is_empty()).then_some(&thought[..]);
            self.keep(question, &answer, thought);
        }
        self.summarise(&made, seq_len, end);
        // A reply that was stopped has given back what it took.
        self.gauge();
    }

    /// Keeps what was said, for a file.
    fn keep(&mut self, question: &str, answer: &str, thought: Option<&str>) {
        self.state.answered = true;
        self.state.conversation.ask(question);
        // The line's end belongs to the console.
        let thought = thought.map(str::trim);
        self.state
            .conversation
            .add_answer(answer.trim_end_matches('\n'), thought);
    }

    fn summarise(&mut self, made: &ReplyStats, seq_len: usize, end: End) {
        self.state.drawn = Some(RenderTime {
            drawing: made.drawing,
            took: made.took * 1000,
        });
        let summary = made.summary(seq_len, end);
        self.console.record(&summary.line(120));
        if let Some(drawing) = self.state.drawing() {
            self.console.record(&drawing);
        }
        self.console.lay_out(Style::Summary, &|width| {
            format!("{}\n", summary.line(width))
        });
    }

    /// The settings as commands show them.
    pub fn shown(&self) -> llama2_settings::Overrides {
        wishes::shown(&self.state.settings, self.is_dialog())
    }
}
