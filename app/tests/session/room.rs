//! A room to talk in: a keyboard that follows a script, a screen that remembers, files in memory, a
//! clock that each look moves on.

use std::{
    cell::Cell,
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    sync::OnceLock,
};

use llama2_app::{
    First, Loaded, Next, State,
    bench::Computing,
    platform::{Console, ModelEntry, OpenModel, Platform, Power, ReplySink},
    run_models, run_session,
};
use llama2_console::{
    commands::Place,
    front::{Bottom, Front, Gauge, Menu, Style},
    keys::Key,
    typeahead::{Typeahead, Typed},
};
use llama2_engine::{
    chat::{DateTime, NO_CLOCK},
    checkpoint::Checkpoint,
    context::Context,
    kernels::Features,
    layout::Encoding,
    model::Model,
    run_mode::RunMode,
    session::{KvType, Options, Session},
    settings::{Mode, Settings},
    tokenizer::Tokenizer,
    workers::Single,
};
use llama2_testing::family;

thread_local! {
    static CLOCK: Cell<u64> = const { Cell::new(0) };
    static TICK: Cell<u64> = const { Cell::new(7_000) };
}

/// Microseconds, and 7 ms are over each time that somebody asks: a reply is looked at every few
/// tokens.
pub fn clock() -> u64 {
    CLOCK.set(CLOCK.get() + TICK.get());
    CLOCK.get()
}

/// Has everything take longer from now on: so many microseconds instead of those 7000.
pub fn slow_down(microseconds: u64) {
    TICK.set(microseconds);
}

/// What happens, one after another.
#[derive(Debug, Clone)]
pub enum Act {
    /// A key at the prompt, a menu or a question.
    Press(Key),
    /// Keys during the reply that comes next, once so many bytes of it are shown.
    During(usize, Vec<Key>),
    /// Keys while the prompt of the reply that comes next is read.
    Reading(Vec<Key>),
}

/// The keys of a text.
pub fn keys(text: &str) -> Vec<Key> {
    text.chars().map(Key::from_char).collect()
}

/// Lines that are typed at the prompt, each with Return.
pub fn lines<const N: usize>(lines: [&str; N]) -> Vec<Act> {
    lines
        .iter()
        .flat_map(|line| keys(&format!("{line}\n")))
        .map(Act::Press)
        .collect()
}

/// Keys at the prompt.
pub fn press<const N: usize>(keys: [Key; N]) -> Vec<Act> {
    keys.map(Act::Press).into()
}

/// A keyboard and a screen.
#[derive(Default)]
pub struct Screen {
    script: VecDeque<Act>,
    ahead: Typeahead,
    /// Everything that was shown, piece by piece.
    pub shown: Vec<(Style, String)>,
    /// The line or the question that is on the screen now; then the keyboard is asked for keys of
    /// the prompt.
    line: Option<String>,
    menu: Option<Menu>,
    /// All menus and lines of status that were shown.
    pub menus: Vec<Menu>,
    pub statuses: Vec<String>,
    pub gauges: Vec<((usize, usize), Option<f32>)>,
    /// The log.
    pub log: Vec<String>,
    pub bells: usize,
    pub clears: usize,
    pub scrolled: Vec<Key>,
    /// Bytes of the reply that is being made; `None` between replies.
    reply: Option<usize>,
    rests: usize,
}

impl Screen {
    pub fn with(script: impl IntoIterator<Item = Act>) -> Screen {
        Screen {
            script: script.into_iter().collect(),
            // A greeting may be one.
            reply: Some(0),
            ..Screen::default()
        }
    }

    /// All that was shown in a style.
    pub fn of(&self, style: Style) -> String {
        let pieces = self.shown.iter().filter(|(of, _)| *of == style);
        pieces.map(|(_, text)| &text[..]).collect()
    }

    /// All that was shown.
    pub fn all(&self) -> String {
        self.shown.iter().map(|(_, text)| &text[..]).collect()
    }

    /// What was answered after each line that was typed, and how each reply ended.
    pub fn answers(&self) -> Vec<String> {
        let mut answers = Vec::new();
        let mut answer = String::new();
        for (style, text) in &self.shown {
            match style {
                Style::Answer | Style::Markdown => answer.push_str(text),
                // What stood before it was of a file.
                Style::User => answer.clear(),
                Style::Summary => answers.push(std::mem::take(&mut answer)),
                _ => (),
            }
        }
        answers
    }

    /// The summaries.
    pub fn summaries(&self) -> Vec<&str> {
        let pieces = self.shown.iter().filter(|(of, _)| *of == Style::Summary);
        pieces.map(|(_, text)| &text[..]).collect()
    }

    pub fn errors(&self) -> String {
        self.of(Style::Error)
    }

    pub fn warnings(&self) -> String {
        self.of(Style::Warning)
    }

    pub fn said(&self) -> String {
        self.of(Style::Info)
    }
}

impl Front for Screen {
    fn show(&mut self, style: Style, text: &str) {
        let is_reply = matches!(style, Style::Answer | Style::Markdown | Style::Thought);
        if let (true, Some(bytes)) = (is_reply, &mut self.reply) {
            *bytes += text.len();
        }
        self.shown.push((style, text.to_string()));
    }

    fn lay_out(&mut self, style: Style, make: &dyn Fn(usize) -> String) {
        let text = make(80).replace('\t', "");
        assert!(text.ends_with('\n'), "{text:?}");
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
        if style == Style::Summary {
            self.reply = None;
        }
        self.shown.push((style, text));
    }

    fn bottom(&mut self, bottom: Bottom<'_>) {
        (self.line, self.menu) = (None, None);
        match bottom {
            Bottom::Line { prompt, text, .. } => {
                self.line = Some(format!("{}{text}", prompt.first));
            }
            Bottom::Menu(menu) => {
                self.menu = Some(menu.clone());
                self.menus.push(menu.clone());
            }
            Bottom::Status(status) => self.statuses.push(status.line(80)),
            Bottom::Nothing | Bottom::Note(_) => (),
        }
    }

    fn keep_line(&mut self) {
        let line = self.line.take().expect("a line to keep");
        self.shown.push((Style::User, format!("{line}\n")));
        self.reply = Some(0);
    }

    fn gauge(&mut self, gauge: &Gauge<'_>) {
        self.gauges.push((gauge.context, gauge.rate));
    }

    fn scroll(&mut self, key: Key) -> bool {
        self.scrolled.push(key);
        true
    }

    fn bell(&mut self) {
        self.bells += 1;
    }

    fn clear(&mut self) {
        self.clears += 1;
    }
}

impl Console for Screen {
    fn key(&mut self) -> Option<Key> {
        self.ahead.take().or_else(|| self.pressed())
    }

    fn keep(&mut self, key: Key) -> Typed {
        self.ahead.press(key)
    }

    fn kept(&self) -> String {
        self.ahead.preview()
    }

    fn pressed(&mut self) -> Option<Key> {
        self.rests = 0;
        let asked = self.line.is_some() || self.menu.is_some();
        match self.script.front_mut() {
            Some(Act::Press(key)) if asked => {
                let key = *key;
                self.script.pop_front();
                Some(key)
            }
            Some(other) if asked => panic!("it came to {:?} before {other:?}", self.line),
            Some(Act::During(after, keys)) if self.reply.is_some_and(|bytes| bytes >= *after) => {
                next_of(keys).or_else(|| {
                    self.script.pop_front();
                    None
                })
            }
            Some(Act::Reading(keys)) if self.reply == Some(0) => next_of(keys).or_else(|| {
                self.script.pop_front();
                None
            }),
            None if self.line.is_some() => Some(Key::Ctrl('d')),
            _ => None,
        }
    }

    fn rest(&mut self, _milliseconds: u64) {
        self.rests += 1;
        clock();
        assert!(self.rests < 10_000, "nobody presses a key");
    }

    fn flush(&mut self) {}

    fn record(&mut self, line: &str) {
        self.log.push(line.to_string());
    }
}

fn next_of(keys: &mut Vec<Key>) -> Option<Key> {
    (!keys.is_empty()).then(|| keys.remove(0))
}

/// A machine in memory.
pub struct Machine {
    pub place: Place,
    pub offers: Vec<ModelEntry>,
    pub files: BTreeMap<String, Vec<u8>>,
    pub config: Result<String, String>,
    /// What is said where nothing can be listed, read or written.
    pub no_list: Option<String>,
    pub no_read: Option<String>,
    pub no_write: Option<String>,
    /// What there is to be told of it.
    pub about: String,
    /// The next seed.
    pub seed: u64,
    /// Models that can be opened, by their names.
    pub known: Vec<&'static Known>,
    /// Models whose weights cannot be read, or where a key stops that.
    pub unreadable: Vec<&'static str>,
    pub stopped: Vec<&'static str>,
    /// Model that is asked for again, and how often no weights can be read before they can.
    pub awaited: Option<&'static str>,
    pub failures: usize,
}

impl Default for Machine {
    fn default() -> Self {
        Machine {
            place: Place::Boot,
            offers: Vec::new(),
            files: BTreeMap::new(),
            config: Ok(String::new()),
            no_list: None,
            no_read: None,
            no_write: None,
            about: "a test".into(),
            seed: 7,
            known: Vec::new(),
            unreadable: Vec::new(),
            stopped: Vec::new(),
            awaited: None,
            failures: 0,
        }
    }
}

fn unless(sentence: &Option<String>) -> Result<(), String> {
    sentence.clone().map_or(Ok(()), Err)
}

impl Platform for Machine {
    fn place(&self) -> Place {
        self.place
    }

    fn now(&mut self) -> DateTime {
        NO_CLOCK
    }

    fn clock(&self) -> fn() -> u64 {
        clock
    }

    fn perform(
        &mut self,
        _threads: Option<usize>,
        sink: &mut dyn ReplySink,
        work: &mut (dyn FnMut(&mut dyn ReplySink) + Send),
    ) {
        work(sink);
        // Cores that go home take their time, which is not the reply's.
        CLOCK.set(CLOCK.get() + 10_000_000);
    }

    fn awaited(&self) -> Option<String> {
        self.awaited.map(String::from)
    }

    fn open(&mut self, id: &str, _taken: u64) -> Result<OpenModel, String> {
        let known = self.known.iter().find(|known| known.name == id);
        let known = known.ok_or_else(|| format!("{id}: there is no such file"))?;
        let mut source = &known.bytes[..];
        let checkpoint = Checkpoint::open(&mut source).unwrap();
        Ok(OpenModel {
            id: id.into(),
            name: id.into(),
            file: format!("{id} on a disk"),
            context: Context::fit(&checkpoint, None, KvType::F32, 1, u64::MAX).unwrap(),
            tokenizer: Tokenizer::from_gguf(&mut source).unwrap(),
            source: Box::new(source),
            checkpoint,
        })
    }

    fn load(
        &mut self,
        model: &mut OpenModel,
        _console: &mut dyn Console,
    ) -> Result<Option<Model>, String> {
        let fails = self.failures > 0;
        self.failures = self.failures.saturating_sub(1);
        if fails || self.unreadable.contains(&&model.id[..]) {
            return Err(format!("{}: cannot be read", model.file));
        }
        if self.stopped.contains(&&model.id[..]) {
            return Ok(None);
        }
        let known = self.known.iter().find(|known| known.name == model.id);
        Ok(Some(load(&known.unwrap().bytes)))
    }

    fn power(&mut self, power: Power) -> String {
        format!("{power:?} is refused")
    }

    fn processor(&self) -> String {
        "a processor".into()
    }

    fn page_size(&self, _address: usize) -> Option<String> {
        None
    }

    fn free_memory(&self) -> u64 {
        0
    }

    fn models(&mut self) -> Vec<ModelEntry> {
        self.offers.clone()
    }

    fn conversations(&mut self) -> Result<Vec<String>, String> {
        unless(&self.no_list)?;
        Ok(self.files.keys().cloned().collect())
    }

    fn read(&mut self, name: &str, _most: u64) -> Result<Vec<u8>, String> {
        unless(&self.no_read)?;
        Ok(self.files[name].clone())
    }

    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<String, String> {
        unless(&self.no_write)?;
        self.files.insert(name.to_string(), bytes.to_vec());
        Ok("the test's volume".into())
    }

    fn configuration(&mut self) -> Result<String, String> {
        self.config.clone()
    }

    fn configure(&mut self, text: &str) -> Result<String, String> {
        unless(&self.no_write)?;
        self.config = Ok(text.into());
        Ok("the test's volume".into())
    }

    fn about(&mut self) -> Vec<(String, String)> {
        [("firmware".to_string(), self.about.clone())].into()
    }

    fn seed(&mut self) -> (u64, &'static str) {
        self.seed += 1;
        (self.seed, "counted")
    }
}

/// A model with its tokenizer.
pub struct Known {
    pub name: &'static str,
    pub model: Model,
    pub tokenizer: Tokenizer,
    pub bytes: Vec<u8>,
}

impl Known {
    /// Mode that it is run in if this is wanted.
    fn mode(&self, wanted: Option<Mode>) -> RunMode {
        let format = Checkpoint::open(&mut &self.bytes[..]).unwrap().format;
        RunMode::decide(wanted, format, &self.tokenizer)
    }
}

fn load(mut bytes: &[u8]) -> Model {
    let checkpoint = Checkpoint::open(&mut bytes).unwrap();
    let loaded = Model::load(&checkpoint, &mut bytes, &mut |_| ControlFlow::Continue(()));
    loaded.unwrap().0
}

fn small(name: &'static str) -> Known {
    const TOKENIZER: &[u8] = include_bytes!("../../../models/tokenizer.bin");
    const MODEL: &[u8] = include_bytes!("../../../models/stories330K.bin");
    Known {
        name,
        model: load(MODEL),
        tokenizer: Tokenizer::load(&mut &TOKENIZER[..]).unwrap(),
        bytes: MODEL.into(),
    }
}

/// A model of random weights that knows the marks of thoughts.
fn random(name: &'static str, seed: u64, template: Option<&str>) -> Known {
    changed(name, seed, template, |_| ())
}

fn changed(
    name: &'static str,
    seed: u64,
    template: Option<&str>,
    change: impl FnOnce(&mut family::Gguf),
) -> Known {
    let family = family::FAMILIES.iter().find(|f| f.name == "qwen2, yarn");
    let mut made = family.unwrap().make(seed, &|_| Encoding::Q8_0);
    made.speak_with(&["<think>", "</think>"]);
    if let Some(template) = template {
        made.text("tokenizer.chat_template", template);
    }
    change(&mut made);
    let bytes = made.bytes();
    Known {
        name,
        model: load(&bytes),
        tokenizer: Tokenizer::from_gguf(&mut &bytes[..]).unwrap(),
        bytes,
    }
}

/// A model of llama2.c's, which tells stories.
pub fn stories() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| small("stories330K"))
}

/// A model that chats.
pub fn speaker() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| random("speaker", 7, Some(family::CHATML)))
}

/// Another one.
pub fn other() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| random("other", 8, Some(family::CHATML)))
}

/// One that names a token which is not there, and whose weights are finite and lead to what is no
/// number.
pub fn broken() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| {
        changed("broken", 7, Some(family::CHATML), |file| {
            file.u32("tokenizer.ggml.padding_token_id", 32_000);
            let norm = file.tensors.iter_mut();
            let norm = norm.filter(|tensor| tensor.name.ends_with("_norm.weight"));
            for number in norm.flat_map(|tensor| tensor.bytes.chunks_exact_mut(4)) {
                number.copy_from_slice(&3e38f32.to_le_bytes());
            }
        })
    })
}

/// One that chats in this template.
pub fn in_template(template: &str) -> &'static Known {
    Box::leak(Box::new(random("picky", 7, Some(template))))
}

/// A GGUF file without a template.
pub fn plain() -> &'static Known {
    static KNOWN: OnceLock<Known> = OnceLock::new();
    KNOWN.get_or_init(|| random("plain", 7, None))
}

pub type RunResult = Result<(), String>;

/// A conversation with a model, over one call or several.
pub struct Room {
    pub known: &'static Known,
    pub state: State,
    pub machine: Machine,
    /// Length of the session's context, where it is not the model's.
    pub positions: Option<usize>,
}

impl Room {
    pub fn new(known: &'static Known) -> Room {
        Room::with(known, None, Settings::default())
    }

    pub fn with(known: &'static Known, mode: Option<Mode>, settings: Settings) -> Room {
        Room {
            known,
            state: State::new(Settings { mode, ..settings }),
            machine: Machine::default(),
            positions: None,
        }
    }

    /// A chat whose answers are the likeliest ones, of 16 tokens at most.
    pub fn steady(known: &'static Known) -> Room {
        Room::with(known, None, steady())
    }

    /// Types this. At its end whoever types leaves.
    pub fn hold(&mut self, script: impl IntoIterator<Item = Act>) -> (Screen, Next) {
        let mut screen = Screen::with(script);
        let next = self.hold_at(&mut screen);
        (screen, next)
    }

    pub fn hold_at(&mut self, screen: &mut Screen) -> Next {
        let mut session = Session::new(
            &self.known.model,
            Options {
                positions: self.positions,
                ..Options::default()
            },
        )
        .unwrap();
        let about = [("format".to_string(), "of a test".to_string())];
        self.state.forget_cache();
        let mut loaded = Loaded {
            id: self.known.name,
            name: self.known.name,
            session: &mut session,
            tokenizer: &self.known.tokenizer,
            mode: self.known.mode(self.state.settings.mode),
            about: &about,
            service: None,
        };
        let next = run_session(&mut loaded, &mut self.state, screen, &mut self.machine);
        assert!(screen.script.is_empty(), "left: {:?}", screen.script);
        next
    }

    /// Runs models one after another, this one first.
    pub fn run_models(&mut self, script: impl IntoIterator<Item = Act>) -> (Screen, RunResult) {
        let mut screen = Screen::with(script);
        let computing = Computing {
            options: Options::default(),
            bench_workers: &Single,
            features: Features::of_this_core(),
            nanoseconds: || clock() * 1000,
        };
        let first = self.machine.open(self.known.name, 0).map(First::unread);
        let (state, machine) = (&mut self.state, &mut self.machine);
        let left = run_models(first, state, &mut screen, machine, &computing);
        (screen, left)
    }

    /// Types lines.
    pub fn type_in<const N: usize>(&mut self, typed: [&str; N]) -> Screen {
        self.hold(lines(typed)).0
    }
}

/// Settings of [`Room::steady`]. The random models say nothing but digits and capital letters,
/// which are tokens of their own: a text that they said is made of the same tokens when it is read
/// again.
pub fn steady() -> Settings {
    use llama2_engine::sampler::{Param, SamplerOverrides};
    let mut sampling = SamplerOverrides::default().with(Param::Temperature, 0.0);
    let is_said =
        |token: &u32| (0x30..=0x5a).contains(token) || *token as usize == family::VOCABULARY - 1;
    for token in (0..family::VOCABULARY as u32).filter(|token| !is_said(token)) {
        sampling = sampling.with_bias(token, -100.0);
    }
    Settings {
        sampling,
        steps: Some(16),
        ..Settings::default()
    }
}

/// An offer of a model.
pub fn offer(name: &str, trouble: Option<&str>) -> ModelEntry {
    ModelEntry {
        id: format!("MODELS/{name}"),
        name: name.into(),
        kind: "Q8_0".into(),
        size: 1 << 20,
        needs: 2 << 20,
        free: 8 << 20,
        trouble: trouble.map(String::from),
    }
}
