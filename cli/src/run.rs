//! `llama2 run` and `llama2 chat`: text on standard output as it comes, everything else on standard
//! error.

use std::{
    io::{self, IsTerminal, Write},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use llama2_engine::{
    chat::{Chat, ConverseHost, Part, Reply, converse},
    checkpoint::Format,
    generate::{Generation, NOT_NUMBERS, PromptError, Step},
    sampler::Sampler,
    session::Session,
    settings::{self, Settings, Think},
    task::Task,
    tokenizer::Tokenizer,
};
use llama2_settings::{Overrides, Param};

use crate::{
    args::{ChatArgs, RunArgs, RunMode},
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
    /// True if each line is a story's beginning if the model is the bundled one or the file is one
    /// of llama2.c's, which cannot say that its model chats.
    stories: bool,
}

pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let mode = match args.mode {
        RunMode::Chat => settings::Mode::Chat,
        RunMode::Generate => settings::Mode::Generate,
    };
    work(Request {
        checkpoint: args.checkpoint.as_deref(),
        tokenizer: args.tokenizer.as_deref(),
        options: &args.flags.0,
        settings: Settings {
            prompt: prompt(args)?,
            mode,
            ..Settings::from(&args.flags.0)
        },
        quiet: args.quiet,
        stories: false,
    })
}

/// `llama2 chat` with standard input that is no terminal.
pub fn chat(args: &ChatArgs) -> Result<(), Failure> {
    work(Request {
        checkpoint: args.checkpoint.as_deref(),
        tokenizer: args.tokenizer.as_deref(),
        options: &args.flags.0,
        settings: Settings {
            prompt: question(args)?,
            mode: settings::Mode::Chat,
            ..Settings::from(&args.flags.0)
        },
        quiet: args.quiet,
        stories: args.flags.0.text(Param::System).is_none(),
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
    let stories = request.stories && (is_bundled || !matches!(format, Format::Gguf { .. }));
    if stories {
        settings.mode = settings::Mode::Generate;
    }
    // run.c has no model of its own: this one's stories are told to their end.
    if is_bundled && settings.mode == settings::Mode::Generate {
        settings.steps = settings.steps.or(Some(0));
    }
    // Before the weights are read: a mistake in the prompt should not cost their loading.
    let task = Task::new(settings, &tokenizer, format, context.positions()).map_err(refused)?;
    let drawing = task.drawing(settings);
    drawing
        .check(config.vocab_size)
        .map_err(|sentence| Failure::Input(format!("the sampling's {sentence}")))?;
    for remark in task.remarks(settings, context.positions()) {
        say(format_args!("llama2: {remark}"));
    }

    let name = opened.name.clone();
    let chats = matches!(format, Format::Gguf { .. }) && tokenizer.chat_template().is_some();
    if chats && settings.mode == settings::Mode::Generate && !quiet {
        let name = failure::name(&name);
        say(format_args!(
            "llama2: goes on from the text; this model also chats: llama2 chat {name}"
        ));
    }
    let model = load::load(opened)?;
    let mut session = Session::new(&model, machine.options(&context))
        .map_err(|error| Failure::about(&name, error))?;
    if !quiet {
        say(format_args!("context: {context}"));
    }
    let seed = settings.seed.unwrap_or_else(time_seed);
    let chance = drawing.temperature() != 0.0;
    let mut sampler = drawing.sampler(config.vocab_size, seed);
    match task {
        Task::Story(generation, _) if !stories => {
            generate(generation, &mut session, &tokenizer, &mut sampler, quiet)?;
        }
        Task::Story(..) => {
            if io::stdin().is_terminal() && !quiet {
                say("llama2: type how a story begins, a line each; Ctrl-D ends");
            }
            let mut lines = Lines::default();
            let mut first = settings.prompt.take();
            while let Some(begin) = first
                .take()
                .map_or_else(|| lines.beginning(), |p| Ok(Some(p)))?
            {
                settings.prompt = Some(begin);
                let task = Task::new(settings, &tokenizer, format, context.positions());
                if let Task::Story(generation, _) = task.map_err(refused)? {
                    generate(generation, &mut session, &tokenizer, &mut sampler, quiet)?;
                }
            }
        }
        Task::Dialog(chat) => {
            let mut talk = LineByLine {
                session: &mut session,
                tokenizer: &tokenizer,
                sampler: &mut sampler,
                think: settings.think,
                busy: Duration::ZERO,
                labels: Labels::wanted(chat.is_run_c()),
                lines: Lines::default(),
            };
            interrupt::listen();
            let chat = converse(*chat, &tokenizer, settings, &mut talk)?;
            talk.end(&chat, quiet)?;
        }
    }
    if settings.seed.is_none() && chance && !quiet {
        say(format_args!("seed: {seed}"));
    }
    Ok(())
}

fn refused(error: PromptError) -> Failure {
    Failure::Input(error.to_string())
}

impl From<PromptError> for Failure {
    fn from(error: PromptError) -> Failure {
        refused(error)
    }
}

/// The prompt from -i or -f, or, where neither is given, what is piped into standard input.
fn prompt(args: &RunArgs) -> Result<Option<Vec<u8>>, Failure> {
    match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => Ok(Some(prompt.as_encoded_bytes().to_vec())),
        (None, Some(path)) => file::read_prompt(path).map(Some),
        (None, None) if args.mode == RunMode::Generate => input::piped_prompt(),
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

fn generate(
    mut generation: Generation,
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    sampler: &mut Sampler,
    quiet: bool,
) -> Result<(), Failure> {
    let start = Instant::now();
    // As run.c: the clock starts after the first pass, which may be slower. The first token that
    // the model chose itself comes out of the pass over the prompt's last one.
    let (mut after_first, mut first_token) = (None, None);
    while let Step::Text(text) = generation.step(session, tokenizer, sampler) {
        show(text)?;
        after_first.get_or_insert_with(Instant::now);
        if generation.position() >= generation.prompt_tokens() {
            first_token.get_or_insert_with(|| start.elapsed());
        }
    }
    show("\n")?;
    if generation.is_broken() {
        return Err(Failure::Input(NOT_NUMBERS.into()));
    }
    if quiet {
        return Ok(());
    }
    let passes = generation.position();
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

/// Says the speed in run.c's words, in four digits or so.
fn say_rate(rate: f64) {
    let digits = match rate {
        1000.0.. => 0,
        100.0.. => 1,
        _ => 2,
    };
    say(format_args!("achieved tok/s: {rate:.digits$}"));
}

/// A conversation on standard input and output.
struct LineByLine<'a, 'm> {
    session: &'a mut Session<'m>,
    tokenizer: &'a Tokenizer,
    sampler: &'a mut Sampler,
    think: Think,
    /// How long answers took to make.
    busy: Duration,
    labels: Labels,
    lines: Lines,
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
    fn wanted(by_run_c: bool) -> Labels {
        if by_run_c || io::stdin().is_terminal() && io::stdout().is_terminal() {
            Labels::Out
        } else if io::stdin().is_terminal() {
            Labels::Error
        } else {
            Labels::Nowhere
        }
    }
}

impl ConverseHost for LineByLine<'_, '_> {
    type Error = Failure;

    fn ask(&mut self, question: &str) -> Result<Option<String>, Failure> {
        self.label(question)?;
        self.lines.read()
    }

    fn say(&mut self, sentence: &str) {
        say(format_args!("llama2: {sentence}"));
    }

    fn answer(&mut self, chat: &mut Chat) -> Result<(), Failure> {
        let start = Instant::now();
        interrupt::begin();
        let mut reply = Reply::new(chat, self.think);
        let mut shown = Ok(());
        let labels = self.labels;
        let mut part = |part: Part, text: &str| {
            if shown.is_ok() {
                shown = show_part(part, text, labels);
            }
        };
        reply.begin(&mut part);
        let mut stopped = false;
        while let Step::Text(text) = chat.step(self.session, self.tokenizer, self.sampler) {
            reply.push(text, &mut part);
            stopped = interrupt::wanted();
            if stopped {
                chat.interrupt();
                break;
            }
        }
        reply.finish(&mut part);
        interrupt::end();
        shown?;
        if chat.is_broken() {
            return Err(Failure::Input(NOT_NUMBERS.into()));
        }
        if !reply.line_ended() && (stopped || chat.is_completion()) {
            show("\n")?;
        }
        if stopped {
            say("llama2: stopped; Ctrl-C again ends the chat");
        }
        self.busy += start.elapsed();
        Ok(())
    }

    fn is_patient(&self) -> bool {
        io::stdin().is_terminal()
    }
}

impl LineByLine<'_, '_> {
    /// Says who is to speak, if anybody wants to know.
    fn label(&self, text: &str) -> Result<(), Failure> {
        show_part(Part::Label, text, self.labels)
    }

    fn end(&self, chat: &Chat, quiet: bool) -> Result<(), Failure> {
        self.label("\n")?;
        if chat.position() > 0 && !quiet {
            say_rate(chat.position() as f64 / self.busy.as_secs_f64());
        }
        Ok(())
    }
}

/// Shows answers on standard output, thoughts on standard error, and who speaks where the others
/// are.
fn show_part(part: Part, text: &str, labels: Labels) -> Result<(), Failure> {
    match (part, labels) {
        (Part::Answer, _) | (Part::Label, Labels::Out) => return show(text),
        (Part::Label, Labels::Nowhere) => return Ok(()),
        (Part::Label, Labels::Error) | (Part::ThoughtLabel | Part::Thought, _) => (),
    }
    let mut out = plain::stderr();
    // Nobody hears of it when there is no standard error.
    let _ = match part {
        Part::ThoughtLabel | Part::Thought => out.write_dim(text),
        _ => out.write_all(text.as_bytes()),
    };
    Ok(())
}
