//! `llama2 run`: text on standard output as it comes, everything else on standard error.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use llama2_engine::{
    chat::{Chat, Thoughts},
    generate::{Generation, PromptError, Step},
    sampler::{Sampler, Sampling},
    session::Session,
    settings::{self, Settings},
    tokenizer::Tokenizer,
};

use crate::{
    args::{ChatArgs, MachineArgs, Mode, RunArgs, Think},
    failure::{Failure, say},
    file, load,
    machine::Machine,
};

/// What `llama2 run` and `llama2 chat` have in common.
struct Request<'a> {
    checkpoint: Option<&'a Path>,
    tokenizer: Option<&'a Path>,
    context: Option<usize>,
    machine: &'a MachineArgs,
    settings: Settings,
    /// llama.cpp's samplers; else run.c's.
    sampling: Option<Sampling>,
    stops: &'a [String],
    think: Think,
}

pub fn run(args: &RunArgs) -> Result<(), Failure> {
    let mut settings = Settings {
        temperature: args.temperature,
        top_p: args.top_p,
        seed: args.seed,
        steps: args.steps,
        prompt: prompt(args)?,
        mode: if args.mode == Mode::Chat {
            settings::Mode::Chat
        } else {
            settings::Mode::Generate
        },
        system: args.system.clone(),
    };
    for said in settings.adjust() {
        say(format_args!("llama2: {said}"));
    }
    // Nothing is filtered but by what is asked for.
    let off = Sampling {
        temperature: settings.temperature,
        top_p: settings.top_p,
        top_k: 0,
        min_p: 0.0,
        ..Sampling::default()
    };
    let sampling = args.sampling.over(off.clone());
    work(Request {
        checkpoint: args.checkpoint.as_deref(),
        tokenizer: args.tokenizer.as_deref(),
        context: args.context,
        machine: &args.machine,
        settings,
        sampling: (sampling != off).then_some(sampling),
        stops: &args.sampling.stop,
        think: Think::Show,
    })
}

/// `llama2 chat`.
pub fn chat(args: &ChatArgs) -> Result<(), Failure> {
    let mut settings = Settings {
        temperature: args.temperature,
        top_p: args.top_p,
        seed: args.seed,
        steps: args.steps,
        prompt: args
            .prompt
            .as_ref()
            .map(|prompt| prompt.as_encoded_bytes().to_vec()),
        mode: settings::Mode::Chat,
        system: args.system.clone(),
    };
    for said in settings.adjust() {
        say(format_args!("llama2: {said}"));
    }
    let base = Sampling {
        temperature: settings.temperature,
        top_p: settings.top_p,
        ..Sampling::default()
    };
    work(Request {
        checkpoint: Some(&args.checkpoint),
        tokenizer: args.tokenizer.as_deref(),
        context: args.context,
        machine: &args.machine,
        settings,
        sampling: Some(args.sampling.over(base)),
        stops: &args.sampling.stop,
        think: args.think,
    })
}

fn work(request: Request<'_>) -> Result<(), Failure> {
    let settings = &request.settings;
    let machine = Machine::new(request.machine)?;
    let mut opened = load::open(request.checkpoint)?;
    load::fit(&mut opened, &machine, request.context)?;
    let config = opened.checkpoint.config;
    if let Some(sampling) = &request.sampling {
        sampling
            .check(config.vocab_size)
            .map_err(|sentence| Failure::Input(format!("the sampling's {sentence}")))?;
    }
    let steps = settings.steps_for(config.seq_len);
    if let Some(said) = settings.steps_said(config.seq_len) {
        say(format_args!("llama2: {said}"));
    }
    let vocabulary = load::tokenizer(request.tokenizer, request.checkpoint)?;
    vocabulary.check_model(config.vocab_size)?;
    let tokenizer = vocabulary.tokenizer;
    // Before the weights are read: a mistake in the prompt should not cost their loading.
    let mut task = Task::new(&tokenizer, settings, steps, config.seq_len)?;
    match &mut task {
        Task::Story(generation) => generation.set_stops(request.stops),
        Task::Dialog(chat) => {
            chat.set_stops(request.stops);
            chat.set_thinking(request.think != Think::Off);
            if let Some(template) = chat.template() {
                if !template.is_known() {
                    say(format_args!(
                        "llama2: the model's chat template is of no family that is known; taking chatml's"
                    ));
                }
                if request.think == Think::Off && !template.thinks() {
                    say(format_args!(
                        "llama2: the model's chat template cannot say not to think"
                    ));
                }
            }
        }
    }

    let model = load::load(opened)?;
    let mut session = Session::new(&model, machine.options())
        .map_err(|error| Failure::Input(error.to_string()))?;
    let seed = settings.seed.unwrap_or_else(time_seed);
    let mut sampler = match request.sampling {
        Some(sampling) => Sampler::with(config.vocab_size, sampling, seed),
        None => Sampler::new(
            config.vocab_size,
            settings.temperature,
            settings.top_p,
            seed,
        ),
    };
    match task {
        Task::Story(generation) => generate(generation, &mut session, &tokenizer, &mut sampler)?,
        Task::Dialog(chat) => {
            let mut voice = Voice {
                session: &mut session,
                tokenizer: &tokenizer,
                sampler: &mut sampler,
            };
            converse(chat, &mut voice, settings, request.think)?;
        }
    }
    if settings.seed.is_none() && settings.temperature != 0.0 {
        say(format_args!("seed: {seed}"));
    }
    Ok(())
}

/// What makes tokens and turns them to text.
struct Voice<'a, 'm> {
    session: &'a mut Session<'m>,
    tokenizer: &'a Tokenizer,
    sampler: &'a mut Sampler,
}

/// What is to be done, with the prompt already encoded.
enum Task {
    Story(Generation),
    Dialog(Chat),
}

impl Task {
    fn new(
        tokenizer: &Tokenizer,
        settings: &Settings,
        steps: usize,
        seq_len: usize,
    ) -> Result<Task, Failure> {
        let refused = |error: PromptError| Failure::Input(error.to_string());
        match settings.mode {
            settings::Mode::Generate => {
                let prompt = settings.prompt.as_deref().unwrap_or_default();
                let generation = Generation::new(tokenizer, prompt, steps, seq_len);
                Ok(Task::Story(generation.map_err(refused)?))
            }
            settings::Mode::Chat => {
                let mut chat = Chat::new(tokenizer, steps, seq_len);
                // Only tried here: the system prompt may still be asked for.
                let system = settings.system.as_deref().unwrap_or_default();
                let user = given(settings).unwrap_or_default();
                chat.begin_turn(tokenizer, system, &user).map_err(refused)?;
                Ok(Task::Dialog(chat))
            }
        }
    }
}

/// The prompt of the command line as text.
fn given(settings: &Settings) -> Option<String> {
    let prompt = settings.prompt.as_deref()?;
    Some(String::from_utf8_lossy(prompt).into_owned())
}

/// The prompt from -i or -f.
fn prompt(args: &RunArgs) -> Result<Option<Vec<u8>>, Failure> {
    match (&args.prompt, &args.prompt_file) {
        (Some(prompt), _) => Ok(Some(prompt.as_encoded_bytes().to_vec())),
        (None, Some(path)) => file::read_prompt(path).map(Some),
        (None, None) => Ok(None),
    }
}

/// run.c's seed where none is given: seconds since 1970.
fn time_seed() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs().max(1))
}

/// Writes `text` at once: people watch it come.
fn show(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::output(&error))
}

fn generate(
    mut generation: Generation,
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    sampler: &mut Sampler,
) -> Result<(), Failure> {
    let start = Instant::now();
    // As run.c: the clock starts after the first pass, which may be slower. The first token that the model chose itself comes
    // out of the pass over the prompt's last one.
    let (mut after_first, mut first_token) = (None, None);
    while let Step::Text(text) = generation.step(session, tokenizer, sampler) {
        show(text)?;
        after_first.get_or_insert_with(Instant::now);
        if generation.position() >= generation.prompt_tokens() {
            first_token.get_or_insert_with(|| start.elapsed());
        }
    }
    show("\n")?;
    let passes = generation.position();
    if let (Some(after_first), 2..) = (after_first, passes) {
        let rate = (passes - 1) as f64 / after_first.elapsed().as_secs_f64();
        say(format_args!("achieved tok/s: {rate:.6}"));
    }
    if let Some(first_token) = first_token {
        let seconds = first_token.as_secs_f64();
        say(format_args!("time to first token: {seconds:.3} s"));
    }
    Ok(())
}

/// Chat: questions and answers on standard output, as run.c has them; thoughts on standard error.
fn converse(
    mut chat: Chat,
    voice: &mut Voice<'_, '_>,
    settings: &Settings,
    think: Think,
) -> Result<(), Failure> {
    let mut busy = Duration::ZERO;
    let system = match &settings.system {
        Some(system) => system.clone(),
        // A template has one of its own, or needs none.
        None if chat.template().is_some() => String::new(),
        None => ask("Enter system prompt (optional): ")?.unwrap_or_default(),
    };
    let mut given = given(settings);
    while !chat.is_over() {
        let user = match given.take() {
            Some(prompt) => prompt,
            None => match ask("User: ")? {
                Some(line) => line,
                None => break,
            },
        };
        if let Err(error) = chat.begin_turn(voice.tokenizer, &system, &user) {
            if !io::stdin().is_terminal() {
                return Err(Failure::Input(error.to_string()));
            }
            // A person can say it in fewer words, unless there is no room for any.
            say(format_args!("llama2: {error}"));
            if chat.begin_turn(voice.tokenizer, &system, "").is_err() {
                break;
            }
            continue;
        }
        if let Some(notice) = chat.notice() {
            say(format_args!("llama2: {notice}"));
        }
        show("Assistant: ")?;
        let start = Instant::now();
        answer(&mut chat, voice, think)?;
        busy += start.elapsed();
    }
    show("\n")?;
    if chat.position() > 0 {
        let rate = chat.position() as f64 / busy.as_secs_f64();
        say(format_args!("achieved tok/s: {rate:.6}"));
    }
    Ok(())
}

/// One answer.
fn answer(chat: &mut Chat, voice: &mut Voice<'_, '_>, think: Think) -> Result<(), Failure> {
    if chat.template().is_none() {
        while let Step::Text(text) = chat.step(voice.session, voice.tokenizer, voice.sampler) {
            show(text)?;
        }
        return Ok(());
    }
    let inside = chat
        .template()
        .map(|t| t.opens_thought(think != Think::Off));
    let mut thoughts = Thoughts::begun(inside == Some(true));
    let (mut thought, mut said) = (String::new(), String::new());
    let mut begun = false;
    loop {
        let more = match chat.step(voice.session, voice.tokenizer, voice.sampler) {
            Step::Text(text) => {
                thoughts.push(text, &mut thought, &mut said);
                true
            }
            _ => {
                thoughts.finish(&mut thought, &mut said);
                false
            }
        };
        if think != Think::Hide && !thought.is_empty() {
            // Nobody hears of it when there is no standard error.
            let _ = io::stderr().write_all(thought.as_bytes());
        }
        thought.clear();
        // Empty lines between thought and answer are no part of either.
        let text = if begun { &said[..] } else { said.trim_start() };
        if !text.is_empty() {
            show(text)?;
            begun = true;
        }
        said.clear();
        if !more {
            if !begun {
                show("\n")?;
            }
            return Ok(());
        }
    }
}

/// Asks for a line; `None` at the end of standard input.
fn ask(question: &str) -> Result<Option<String>, Failure> {
    show(question)?;
    let mut line = Vec::new();
    // Whatever is longer than a context can hold is refused when the turn begins.
    let read = io::stdin()
        .lock()
        .take(file::LONGEST_PROMPT)
        .read_until(b'\n', &mut line);
    match read.map_err(|error| Failure::Input(format!("standard input: {error}")))? {
        0 => Ok(None),
        _ => Ok(Some(
            String::from_utf8_lossy(&line)
                .trim_end_matches(['\n', '\r'])
                .to_owned(),
        )),
    }
}
