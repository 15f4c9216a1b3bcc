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
    status,
    terminal::one_line,
};
use llama2_engine::{
    chat::Chat,
    event::EndReason,
    generate::{PromptError, Sequence},
    run_mode::RunMode,
    sampler::Sampler,
    session::Session,
    settings::{Settings, Switch, Think},
    tokenizer::Tokenizer,
    units::{SENTENCE, short},
};

use crate::{
    platform::{Console, Platform, Power},
    prompt,
    reply::{self, ReplyStats, Said, Stage, Stepper, reply},
    sentences::{self, NOT_NUMBERS, REPEATS},
    service::{Beside, Service},
    settings,
};

/// A model that is in memory.
pub struct Loaded<'a, 'm> {
    /// Name that the shell knows it by: a [`crate::platform::ModelEntry`]'s `id`.
    pub id: &'a str,
    /// What people know it by.
    pub name: &'a str,
    /// The forward pass.
    pub session: &'a mut Session<'m>,
    /// Texts to tokens and back.
    pub tokenizer: &'a Tokenizer,
    /// Mode that it is run in.
    pub mode: RunMode,
    /// What there is to be told of it: names and what they stand for.
    pub about: &'a [(String, String)],
    /// A server beside the conversation.
    pub service: Option<Service<'a>>,
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
    /// Another model is wanted: a [`crate::platform::ModelEntry`]'s `id`.
    Model(String),
    /// The machine is to be measured; then it goes on.
    Bench,
    /// Something of the machine; if it cannot do that, the conversation goes on.
    Power(Power),
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
    /// Settings, from options at first, then from commands.
    pub settings: Settings,
    /// How much the last reply's showing took.
    pub drawn: Option<RenderTime>,
    pub(crate) editor: Editor,
    pub(crate) conversation: Conversation,
    /// The file that the conversation is in.
    pub(crate) file: Option<String>,
    pub(crate) chat: Option<Box<Chat>>,
    /// True if its sampler is the one that the settings ask for.
    pub(crate) is_sampling: bool,
    /// The seed that was taken last, and where it came from.
    pub(crate) seed: Option<(u64, &'static str)>,
    /// True until the first model speaks, unless somebody was waited for before: then the start is
    /// timed.
    pub is_timed: bool,
    /// Microseconds that the start took, and until when.
    pub(crate) start: Option<(u64, &'static str)>,
    /// The last thing that was said to the model, and whether an answer to it is in the
    /// conversation.
    pub(crate) question: Option<String>,
    pub(crate) answered: bool,
    /// Messages of it that are in a file.
    pub(crate) saved: usize,
    /// The model that the conversation is with, and the first of all: what was asked for besides
    /// was asked for that one.
    model: String,
    /// Positions of its context when it was held last.
    positions: usize,
    pub(crate) first: Option<String>,
}

impl State {
    /// With what was asked for.
    pub fn new(settings: Settings) -> State {
        State {
            settings,
            is_timed: true,
            ..State::default()
        }
    }

    /// Knows that the session is not the one that the conversation was held in: what was said is
    /// read again before the next answer.
    pub fn forget_cache(&mut self) {
        if let Some(chat) = &mut self.chat {
            chat.sequence_mut().forget_cache();
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
pub(crate) struct SessionLoop<'t, 'a, 'm> {
    pub loaded: &'t mut Loaded<'a, 'm>,
    pub state: &'t mut State,
    pub console: &'t mut dyn Console,
    pub platform: &'t mut dyn Platform,
}

/// Holds a conversation until something is wanted that only the shell can do.
pub fn run_session(
    loaded: &mut Loaded<'_, '_>,
    state: &mut State,
    console: &mut dyn Console,
    platform: &mut dyn Platform,
) -> Next {
    SessionLoop {
        loaded,
        state,
        console,
        platform,
    }
    .run()
}

/// Tells one story, as scripts read it, and comes back. `steps` are the most positions of it.
///
/// # Errors
/// [`NOT_NUMBERS`].
pub fn tell_once(
    loaded: &mut Loaded<'_, '_>,
    mut story: Sequence,
    steps: usize,
    console: &mut dyn Console,
    platform: &mut dyn Platform,
) -> Result<(), &'static str> {
    let mut run = SessionLoop {
        loaded,
        state: &mut State::default(),
        console,
        platform,
    };
    run.say("Running forward pass (token=1, pos=0)...");
    let (stats, _) = run.reply_with(&mut story, Some(steps), (false, Style::Answer));
    if stats.end == Some(EndReason::NotNumbers) {
        return Err(NOT_NUMBERS);
    }
    let line = stats.speed(run.loaded.session.threads());
    run.console.show(Style::Summary, &format!("{line}\n"));
    run.console.record(&line);
    if stats.stopped {
        run.say("Stopped by a key.");
    }
    run.console.flush();
    Ok(())
}

impl SessionLoop<'_, '_, '_> {
    fn run(&mut self) -> Next {
        let before = core::mem::replace(&mut self.state.positions, self.loaded.seq_len());
        if self.state.model == self.loaded.id {
            if before != self.loaded.seq_len() {
                // There is more memory, or less, than there was.
                self.hold_again();
            }
            self.gauge();
        } else {
            self.state.model = self.loaded.id.to_string();
            let first = &mut self.state.first;
            first.get_or_insert_with(|| self.loaded.id.to_string());
            for warning in self.loaded.tokenizer.warnings() {
                self.warn(warning);
            }
            self.anew();
            self.greet();
        }
        loop {
            let (editor, console) = (&mut self.state.editor, &mut *self.console);
            let Loaded {
                service, session, ..
            } = &mut *self.loaded;
            let mut beside = Beside {
                service: service.as_mut(),
                session,
            };
            let Some(line) = prompt::read_line(editor, console, self.platform, &mut beside) else {
                return Next::Exit;
            };
            self.console.record(&line);
            self.platform.remember(&line);
            match parse(&line, self.platform.place()) {
                Ok(Input::Empty) => self.say_nothing(),
                Ok(Input::Text(text)) => self.hear(&text),
                Ok(Input::Command(command)) => {
                    if let Some(next) = self.act(command) {
                        return next;
                    }
                }
                Err(sentence) => self.complain(&sentence),
            }
        }
    }

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
        self.loaded.mode == RunMode::Story
    }

    /// Begins a new conversation.
    pub fn anew(&mut self) {
        self.state.conversation = Conversation::default();
        self.state.file = None;
        self.state.saved = 0;
        self.state.question = None;
        self.state.answered = false;
        self.state.is_sampling = false;
        self.state.chat = None;
        if self.tells() {
            return;
        }
        match self.new_chat() {
            Ok(remarks) => remarks.iter().for_each(|remark| self.warn(remark)),
            Err(error) => {
                self.complain(&format!("the system prompt: {error}"));
                self.state.settings.system = None;
                // Without one there is room, or each question is told why there is none.
                let _ = self.new_chat();
            }
        }
    }

    fn new_chat(&mut self) -> Result<Vec<String>, PromptError> {
        let (mode, seq_len) = (self.loaded.mode, self.loaded.seq_len());
        let settings = Settings {
            prompt: None,
            ..self.state.settings.clone()
        };
        let tokenizer = self.loaded.tokenizer;
        let now = self.platform.now();
        let mut chat = settings.chat(tokenizer, mode, seq_len, now)?;
        chat.set_most(settings::steps(&settings, mode, seq_len));
        self.state.chat = Some(Box::new(chat));
        let remarks = settings.remarks(tokenizer, mode, seq_len);
        Ok(remarks.into_iter().map(sentences::remark).collect())
    }

    /// Continues the conversation in another context; warns if its oldest turns do not fit.
    pub fn hold_again(&mut self) {
        self.state.is_sampling = false;
        self.state.chat = None;
        if self.tells() || self.new_chat().is_err() {
            return;
        }
        let messages = &self.state.conversation.messages;
        let pairs: Vec<(&str, &str)> = messages
            .chunks_exact(2)
            .map(|pair| (&pair[0].content[..], &pair[1].content[..]))
            .collect();
        let system = self.state.settings.system.as_deref().unwrap_or_default();
        let recalled = match &mut self.state.chat {
            Some(chat) => chat.recall(self.loaded.tokenizer, system, &pairs),
            None => Ok(0),
        };
        let turns = pairs.len();
        match recalled {
            Ok(0) => (),
            Ok(dropped) => self.warn(&format!(
                "there is no room for the {dropped} oldest of {turns} turns: the model does not know them"
            )),
            Err(error) => self.warn(&format!("the model knows none of the {turns} turns: {error}")),
        }
    }

    /// The first words: a story, or that somebody listens.
    fn greet(&mut self) {
        self.gauge();
        let ready = (self.platform.clock())();
        let is_timed = core::mem::take(&mut self.state.is_timed);
        let given = self.state.settings.prompt.take();
        if self.tells() {
            let opening = given.map(|prompt| String::from_utf8_lossy(&prompt).into_owned());
            let first = self.tell_from(&opening.unwrap_or_default());
            if let Some(first) = first.filter(|_| is_timed) {
                self.started(ready + first, "to the first word");
            }
            self.say("Type how the next story begins, or press Return for any story. /help lists what else there is.");
            return;
        }
        if is_timed {
            self.started(ready, "until the model listened");
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

    /// Keeps how long the start took.
    fn started(&mut self, microseconds: u64, until: &'static str) {
        self.state.start = Some((microseconds, until));
        let took = status::seconds(microseconds);
        self.console.record(&format!("start: {took} {until}"));
    }

    /// What the status bar tells between replies.
    pub fn gauge(&mut self) {
        let used = self
            .state
            .chat
            .as_ref()
            .map_or(0, |chat| chat.sequence().context().len());
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

    /// A sampler of the settings in this mode.
    fn sampler(&mut self, mode: RunMode) -> Sampler {
        let vocab_size = self.loaded.session.model().config.vocab_size;
        let drawing = |settings: &Settings| settings.sampling.drawing(mode);
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
            None => self.platform.seed(),
        };
        self.state.seed = Some((seed, source));
        drawing(&self.state.settings).sampler(vocab_size, seed)
    }

    /// Tells a story that begins like this, shows it, and keeps it as part of the conversation.
    /// Returns the microseconds to the first token, if one came.
    pub fn tell_from(&mut self, opening: &str) -> Option<u64> {
        self.state.question = Some(opening.to_string());
        self.state.answered = false;
        let (stats, said) = self.tell_story(opening)?;
        self.keep(opening, &said);
        self.summarise(&stats);
        stats.first
    }

    /// `/story` in a chat: it is not part of the conversation.
    pub fn tell_aside(&mut self, opening: &str) {
        if let Some((stats, _)) = self.tell_story(opening) {
            self.summarise(&stats);
        }
        self.gauge();
    }

    /// Tells a story, whatever the model is for.
    fn tell_story(&mut self, opening: &str) -> Option<(ReplyStats, Said)> {
        let seq_len = self.loaded.seq_len();
        // The same seed gives the same story.
        let sampler = self.sampler(RunMode::Story);
        let steps = settings::steps(&self.state.settings, RunMode::Story, seq_len);
        let settings = Settings {
            prompt: Some(opening.into()),
            steps: Some(steps as i64),
            ..self.state.settings.clone()
        };
        let mut story = match settings.story(self.loaded.tokenizer, seq_len, sampler) {
            Ok(story) => story,
            Err(error) => {
                self.complain(&error.to_string());
                return None;
            }
        };
        let told = self.reply_with(&mut story, None, (false, Style::Answer));
        self.state.forget_cache();
        if told.0.end == Some(EndReason::NotNumbers) {
            self.complain(NOT_NUMBERS);
            return None;
        }
        Some(told)
    }

    /// Style of the model's answers: they are in Markdown unless it only continues texts.
    pub fn answer_style(&self, chat: Option<&Chat>) -> Style {
        let answers = chat.is_some_and(|chat| chat.template().is_some());
        match answers && self.state.settings.markdown == Switch::On {
            true => Style::Markdown,
            false => Style::Answer,
        }
    }

    /// Has a sequence say what it says, in a style; `hides`: without its thoughts.
    fn reply_with(
        &mut self,
        sequence: &mut Sequence,
        only: Option<usize>,
        (hides, style): (bool, Style),
    ) -> (ReplyStats, Said) {
        let (seq_len, slow) = (self.loaded.seq_len(), self.loaded.is_slow());
        let Loaded {
            session,
            tokenizer,
            name,
            service,
            ..
        } = &mut *self.loaded;
        let stage = Stage {
            console: self.console,
            model: name,
            seq_len,
            only,
            slow,
            hides,
            style,
        };
        let stepper = Stepper {
            session,
            tokenizer,
            service: service.as_mut(),
        };
        reply(sequence, stepper, self.platform, stage)
    }

    /// Says something to the model, and shows its answer.
    pub fn ask(&mut self, question: &str) {
        self.state.question = Some(question.to_string());
        self.state.answered = false;
        let system = self.state.settings.system.clone().unwrap_or_default();
        if self.state.chat.is_none()
            && let Err(error) = self.new_chat()
        {
            return self.complain(&error.to_string());
        }
        let Some(mut chat) = self.state.chat.take() else {
            return;
        };
        self.ask_in(&mut chat, &system, question);
        self.state.chat = Some(chat);
        // A reply that was stopped has given back what it took.
        self.gauge();
    }

    fn ask_in(&mut self, chat: &mut Chat, system: &str, question: &str) {
        if chat.is_over() {
            return self.complain(
                "the conversation's steps are used up: /clear begins a new one, and /max may give it more",
            );
        }
        if let Err(error) = chat.begin_turn(self.loaded.tokenizer, system, question) {
            return self.complain(&error.to_string());
        }
        if let Some(forgotten) = chat.forgotten() {
            self.warn(&sentences::forgotten(forgotten, self.loaded.seq_len()));
        }
        if !self.state.is_sampling {
            let sampler = self.sampler(self.loaded.mode);
            chat.sequence_mut().set_sampler(sampler);
            self.state.is_sampling = true;
        }
        let hides = self.state.settings.think == Think::Hide;
        let style = self.answer_style(Some(chat));
        let (mut stats, said) = self.reply_with(chat.sequence_mut(), None, (hides, style));
        if stats.end == Some(EndReason::NotNumbers) {
            // What was asked can be asked of another model.
            chat.undo(self.loaded.tokenizer);
            return self.complain(NOT_NUMBERS);
        }
        if stats.stopped && !chat.stop(self.loaded.tokenizer) {
            self.say("Cancelled while the question was being read; press Up to edit it.");
        } else {
            self.keep(question, &said);
        }
        stats.progress.context = chat.sequence().context().len();
        self.summarise(&stats);
        if stats.end == Some(EndReason::Repeats) {
            self.warn(REPEATS);
        }
    }

    /// Keeps what was said, for a file.
    fn keep(&mut self, question: &str, said: &Said) {
        self.state.answered = true;
        self.state.conversation.ask(question);
        let thought = (!said.thought.is_empty()).then(|| said.thought.trim());
        // The line's end belongs to the console.
        let answer = said.answer.trim_end_matches('\n');
        self.state.conversation.add_answer(answer, thought);
    }

    fn summarise(&mut self, stats: &ReplyStats) {
        self.state.drawn = Some(RenderTime {
            drawing: stats.drawing,
            took: stats.took * 1000,
        });
        let summary = stats.summary(self.loaded.seq_len());
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
        settings::shown(&self.state.settings, self.loaded.mode)
    }
}
