//! `llama2 run` and `llama2 chat`: text on standard output as it comes, everything else on standard
//! error.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use llama2_app::sentences::{self, NOT_NUMBERS, REPEATS};
use llama2_engine::{
    chat::Chat,
    event::{EndReason, Event},
    generate::{PromptError, Sequence, step},
    run_mode::RunMode,
    session::Session,
    settings::{Mode, Remark, Settings, Think},
    tokenizer::Tokenizer,
};
use llama2_settings::{Overrides, Param};

use crate::{
    args::{ChatArgs, PromptMode, RunArgs},
    clock,
    failure::{self, Failure, say},
    file,
    input::{self, Lines},
    interrupt, load,
    machine::Machine,
    plain,
};

/// What `llama2 run` and `llama2 chat` have in common.
struct Request<'a> {
    checkpoint: Option<&'a Path>,
    tokenizer: Option<&'a Path>,
    options: &'a Overrides,
    settings: Settings,
    quiet: bool,
    /// True for `llama2 chat`: of a model that tells stories each line begins one.
    chats: bool,
}

pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let mode = match args.mode {
        PromptMode::Chat => Mode::Chat,
        PromptMode::Generate => Mode::Generate,
    };
    work(Request {
        checkpoint: args.checkpoint.as_deref(),
        tokenizer: args.tokenizer.as_deref(),
        options: &args.flags.0,
        settings: Settings {
            prompt: prompt(args)?,
            mode: Some(mode),
            ..Settings::from(&args.flags.0)
        },
        quiet: args.quiet,
        chats: false,
    })
}

/// `llama2 chat` with standard input that is no terminal.
pub fn chat(args: &ChatArgs) -> Result<(), Failure> {
    let options = args.options();
    work(Request {
        checkpoint: args.checkpoint.as_deref(),
        tokenizer: args.tokenizer.as_deref(),
        options: &options,
        settings: Settings {
            prompt: question(args)?,
            ..Settings::from(&options)
        },
        quiet: args.quiet,
        chats: true,
    })
}

fn work(mut request: Request<'_>) -> Result<(), Failure> {
    let settings = &mut request.settings;
    for said in settings.adjust() {
        say(format_args!("llama2: {said}"));
    }
    let quiet = request.quiet;
    let machine = Machine::new(request.options)?;
    let wanted = request.options.count(Param::Context);
    let opened = load::open(request.checkpoint)?;
    let context = load::fit(&opened, &machine, wanted, 0)?;
    let (format, config) = (opened.checkpoint.format, opened.checkpoint.config);
    let vocabulary = load::tokenizer(request.tokenizer, request.checkpoint)?;
    vocabulary.check_model(config.vocab_size)?;
    vocabulary.warn();
    let tokenizer = vocabulary.tokenizer;
    let is_bundled = request.checkpoint.is_none();
    let mode = RunMode::decide(settings.mode, format, &tokenizer);
    // run.c has no model of its own: this one's stories are told to their end.
    if is_bundled && mode == RunMode::Story {
        settings.steps = settings.steps.or(Some(0));
    }
    // Before the weights are read: a mistake in the prompt should not cost their loading.
    settings.check_prompt(&tokenizer, mode, context.positions(), clock::now())?;
    let drawing = settings.sampling.drawing(mode);
    drawing
        .check(config.vocab_size)
        .map_err(|sentence| Failure::Input(format!("the sampling's {sentence}")))?;
    let mut remarks = settings.remarks(&tokenizer, mode, context.positions());
    if request.chats && mode == RunMode::Story && !is_bundled {
        remarks.push(Remark::NoTemplate);
    }
    for remark in remarks.into_iter().filter(|_| !quiet) {
        say(format_args!("llama2: {}", sentences::remark(remark)));
    }

    let name = opened.name.clone();
    let can_chat = RunMode::decide(None, format, &tokenizer) == RunMode::Dialog;
    if can_chat && mode == RunMode::Story && !quiet {
        let name = failure::name(&name);
        say(format_args!(
            "llama2: continues the text; to chat with this model: llama2 chat {name}"
        ));
    }
    let model = load::load(opened)?;
    let mut session = Session::new(&model, machine.options(&context))
        .map_err(|error| Failure::about(&name, error))?;
    if !quiet {
        say(format_args!("context: {context}"));
    }
    let seed = settings.seed.unwrap_or_else(time_seed);
    let chance = !drawing.is_greedy();
    let sampler = drawing.sampler(config.vocab_size, seed);
    let mut source = Source {
        session: &mut session,
        tokenizer: &tokenizer,
        quiet,
    };
    let seq_len = context.positions();
    match mode {
        RunMode::Story if request.chats => {
            if io::stdin().is_terminal() && !quiet {
                say("llama2: type how a story begins, a line each; Ctrl-D ends");
            }
            let mut lines = Lines::default();
            let mut first = settings.prompt.take();
            let mut sampler = sampler;
            while let Some(begin) = first
                .take()
                .map_or_else(|| lines.beginning(), |p| Ok(Some(p)))?
            {
                settings.prompt = Some(begin);
                let mut story = settings.story(&tokenizer, seq_len, sampler)?;
                source.tell(&mut story)?;
                sampler = story.into_sampler();
            }
        }
        RunMode::Story => {
            let mut story = settings.story(&tokenizer, seq_len, sampler)?;
            source.tell(&mut story)?;
        }
        RunMode::Llama2Chat | RunMode::Dialog => {
            let mut chat = settings.chat(&tokenizer, mode, seq_len, clock::now())?;
            chat.sequence_mut().set_sampler(sampler);
            interrupt::listen();
            LineByLine {
                source,
                chat,
                mode,
                hides: settings.think == Think::Hide,
                busy: Duration::ZERO,
                labels: Labels::wanted(mode),
                lines: Lines::default(),
            }
            .converse(settings)?;
        }
    }
    if settings.seed.is_none() && chance && !quiet {
        say(format_args!("seed: {seed}"));
    }
    Ok(())
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Failure {
        Failure::Input(error.to_string())
    }
}

/// The prompt from -i or -f, or, where neither is given, what is piped into standard input.
fn prompt(args: &RunArgs) -> Result<Option<Vec<u8>>, Failure> {
    match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => Ok(Some(prompt.as_encoded_bytes().to_vec())),
        (None, Some(path)) => file::read_prompt(path).map(Some),
        (None, None) if args.mode == PromptMode::Generate => input::piped_prompt(),
        (None, None) => Ok(None),
    }
}

/// The first question of a chat, from -i, -f or both.
pub fn question(args: &ChatArgs) -> Result<Option<Vec<u8>>, Failure> {
    let said = args.prompt.as_ref().map(|prompt| prompt.as_encoded_bytes());
    let Some(path) = &args.prompt_file else {
        return Ok(said.map(Vec::from));
    };
    let read = file::read_prompt(path)?;
    Ok(Some(match said {
        Some(said) => [said, b"\n\n", &read].concat(),
        None => read,
    }))
}

/// run.c's seed where none is given: seconds since 1970.
fn time_seed() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs().max(1))
}

/// Writes `text` at once: people watch it come.
fn show(text: &str) -> Result<(), Failure> {
    let mut out = plain::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

/// Session and tokenizer that make a text.
struct Source<'s, 'm> {
    session: &'s mut Session<'m>,
    tokenizer: &'s Tokenizer,
    quiet: bool,
}

impl Source<'_, '_> {
    /// One pass. Returns the number of tokens passed.
    fn step(
        &mut self,
        sequence: &mut Sequence,
        on_event: &mut dyn FnMut(Event<'_>) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut shown = Ok(());
        let mut out = |_, event: Event<'_>| {
            if shown.is_ok() {
                shown = match event {
                    Event::End(EndReason::NotNumbers) => Err(Failure::Input(NOT_NUMBERS.into())),
                    event => on_event(event),
                };
            }
        };
        let passed = step(self.session, self.tokenizer, &mut [sequence], &mut out);
        shown.map(|()| passed)
    }

    /// Writes a story, and how fast it came.
    fn tell(&mut self, story: &mut Sequence) -> Result<(), Failure> {
        let start = Instant::now();
        // As run.c: the clock starts after the first pass, which may be slower. The first token
        // that the model chose itself comes out of the pass over the prompt's last one.
        let (mut after_first, mut first_token) = (None, None);
        let mut on_event = |event: Event<'_>| match event {
            Event::Text { text, .. } => show(text),
            Event::End(_) => show("\n"),
            _ => Ok(()),
        };
        while self.step(story, &mut on_event)? > 0 {
            after_first.get_or_insert_with(Instant::now);
            if story.drawn() > 0 {
                first_token.get_or_insert_with(|| start.elapsed());
            }
        }
        if self.quiet {
            return Ok(());
        }
        let passes = story.passes();
        if let (Some(after_first), 2..) = (after_first, passes) {
            say_rate((passes - 1) as f64 / after_first.elapsed().as_secs_f64());
        }
        if let Some(first_token) = first_token {
            let seconds = first_token.as_secs_f64();
            if seconds < 1.0 {
                let digits = usize::from(seconds < 0.01);
                say(format_args!(
                    "time to first token: {:.digits$} ms",
                    1e3 * seconds
                ));
            } else {
                say(format_args!("time to first token: {seconds:.2} s"));
            }
        }
        Ok(())
    }
}

/// Says the speed in run.c's words, in four digits or so.
fn say_rate(rate: f64) {
    let digits = match rate {
        1000.0.. => 0,
        100.0.. => 1,
        _ => 2,
    };
    say(format_args!("achieved tok/s: {rate:.digits$}"));
}

/// Where it is said who speaks.
#[derive(Clone, Copy)]
enum Labels {
    Out,
    Error,
    Nowhere,
}

impl Labels {
    /// People want to know it, and standard output is for answers where it is not their terminal;
    /// run.c tells everybody.
    fn wanted(mode: RunMode) -> Labels {
        let (types, reads) = (io::stdin().is_terminal(), io::stdout().is_terminal());
        match mode {
            RunMode::Llama2Chat => Labels::Out,
            _ if types && reads => Labels::Out,
            _ if types => Labels::Error,
            _ => Labels::Nowhere,
        }
    }

    /// Says who is to speak, if anybody wants to know.
    fn show(self, text: &str) -> Result<(), Failure> {
        match self {
            Labels::Out => return show(text),
            Labels::Error => {
                // Nobody hears of it when there is no standard error.
                let _ = plain::stderr().write_all(text.as_bytes());
            }
            Labels::Nowhere => (),
        }
        Ok(())
    }
}

/// An answer on standard output, and on standard error what is thought before it; each on lines of
/// its own.
struct Printer {
    labels: Labels,
    /// Said before an answer.
    label: &'static str,
    hides: bool,
    /// True if reasoning was shown last; `None` if nothing was.
    shown: Option<bool>,
    line_ended: bool,
}

impl Printer {
    /// Begins a part, if it is not what was shown last.
    fn turn_to(&mut self, thinks: bool) -> Result<(), Failure> {
        match self.shown.replace(thinks) {
            Some(before) if before == thinks => return Ok(()),
            Some(before) => self.write(before, "\n")?,
            None => (),
        }
        match thinks {
            true => self.write(true, "Thinking: "),
            false => self.labels.show(self.label),
        }
    }

    fn write(&mut self, thinks: bool, text: &str) -> Result<(), Failure> {
        self.line_ended = text.ends_with('\n');
        match thinks {
            true => {
                // Nobody hears of it when there is no standard error.
                let _ = plain::stderr().write_dim(text);
                Ok(())
            }
            false => show(text),
        }
    }

    fn on_event(&mut self, event: Event<'_>) -> Result<(), Failure> {
        let (thinks, text) = match event {
            Event::Text { text, .. } => (false, text),
            Event::Reasoning { text, .. } if !self.hides => (true, text),
            _ => return Ok(()),
        };
        if text.is_empty() {
            return Ok(());
        }
        self.turn_to(thinks)?;
        self.write(thinks, text)
    }
}

/// A conversation on standard input and output.
struct LineByLine<'s, 'm> {
    source: Source<'s, 'm>,
    chat: Chat,
    mode: RunMode,
    hides: bool,
    /// How long answers took to make.
    busy: Duration,
    labels: Labels,
    lines: Lines,
}

impl LineByLine<'_, '_> {
    /// Holds it, to its end or until nobody is there to be asked.
    fn converse(mut self, settings: &Settings) -> Result<(), Failure> {
        let tokenizer = self.source.tokenizer;
        let mut given = settings.prompt_text();
        let is_run_c = self.mode == RunMode::Llama2Chat;
        let system = match &settings.system {
            Some(system) => Some(system.clone()),
            // run.c asks; a template has one of its own, or needs none.
            None if is_run_c => self.ask("Enter system prompt (optional): ")?,
            None => Some(String::new()),
        };
        let over = system.is_none() && given.is_none();
        let system = system.unwrap_or_default();
        let question = match self.chat.is_completion() {
            true => "Text: ",
            false => "User: ",
        };
        while !over && !self.chat.is_over() {
            let user = match given.take() {
                Some(user) => Some(user),
                None => self.ask(question)?,
            };
            let Some(user) = user else { break };
            // A turn of nothing is for run.c's chat, and lets a text go on.
            if user.is_empty() && self.chat.template().is_some() {
                continue;
            }
            if let Err(error) = self.chat.begin_turn(tokenizer, &system, &user) {
                if !io::stdin().is_terminal() {
                    return Err(error.into());
                }
                say(format_args!("llama2: {error}"));
                // Unless there is no room for any words.
                let fits = self.chat.fits(tokenizer, &system, "");
                if matches!(fits, Err(PromptError::TooLong { .. })) {
                    break;
                }
                continue;
            }
            if let Some(forgotten) = self.chat.forgotten() {
                let seq_len = self.source.session.positions();
                let sentence = sentences::forgotten(forgotten, seq_len);
                say(format_args!("llama2: {sentence}"));
            }
            self.answer()?;
        }
        self.labels.show("\n")?;
        let passes = self.chat.sequence().passes();
        if passes > 0 && !self.source.quiet {
            say_rate(passes as f64 / self.busy.as_secs_f64());
        }
        Ok(())
    }

    fn ask(&mut self, question: &str) -> Result<Option<String>, Failure> {
        self.labels.show(question)?;
        self.lines.read()
    }

    /// Writes the answer of a turn that has begun.
    fn answer(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        interrupt::begin();
        let mut printer = Printer {
            labels: self.labels,
            label: match self.chat.is_completion() {
                true => "",
                false => "Assistant: ",
            },
            hides: self.hides,
            shown: None,
            line_ended: false,
        };
        // At once where no thought can come before it.
        if self.hides || self.chat.template().is_none() {
            printer.turn_to(false)?;
        }
        let mut stopped = false;
        while !stopped {
            let sequence = self.chat.sequence_mut();
            let on_event = &mut |event: Event<'_>| printer.on_event(event);
            if self.source.step(sequence, on_event)? == 0 {
                break;
            }
            stopped = interrupt::wanted();
        }
        interrupt::end();
        let end = self.chat.sequence().end();
        if stopped {
            self.chat.stop(self.source.tokenizer);
        }
        printer.turn_to(false)?;
        let ends_line = match self.mode {
            // As run.c, which says no more at its last position.
            RunMode::Llama2Chat => matches!(
                end,
                Some(EndReason::EndToken | EndReason::StopString) | None
            ),
            _ => !printer.line_ended || self.chat.template().is_some(),
        };
        if ends_line {
            show("\n")?;
        }
        match end {
            _ if stopped => say("llama2: stopped; Ctrl-C again ends the chat"),
            Some(EndReason::Repeats) => say(format_args!("llama2: {REPEATS}")),
            Some(EndReason::ContextFull) if self.mode == RunMode::Dialog => say(
                "llama2: the context is full: the answer is cut here; the next question drops what is oldest",
            ),
            _ => (),
        }
        self.busy += start.elapsed();
        Ok(())
    }
}
