//! `llama2 run`: text on standard output as it comes, everything else on standard error.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    time::{Duration, Instant, SystemTime},
};

use llama2_engine::{
    chat::Chat,
    generate::{Generation, PromptError, Step},
    sampler::Sampler,
    session::Session,
    settings::{self, Settings},
    tokenizer::Tokenizer,
};

use crate::{
    args::{Mode, RunArgs},
    failure::{Failure, say},
    file, load,
    machine::Machine,
};

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
    let machine = Machine::new(&args.machine)?;
    let mut opened = load::open(args.checkpoint.as_deref())?;
    load::fit(&mut opened, &machine, args.context)?;
    let config = opened.checkpoint.config;
    let steps = settings.steps_for(config.seq_len);
    if let Some(said) = settings.steps_said(config.seq_len) {
        say(format_args!("llama2: {said}"));
    }
    let vocabulary = load::tokenizer(args.tokenizer.as_deref(), args.checkpoint.as_deref())?;
    vocabulary.check_model(config.vocab_size)?;
    let tokenizer = vocabulary.tokenizer;
    // Before the weights are read: a mistake in the prompt should not cost their loading.
    let task = Task::new(&tokenizer, &settings, steps, config.seq_len)?;

    let model = load::load(opened)?;
    let mut session = Session::new(&model, machine.options())
        .map_err(|error| Failure::Input(error.to_string()))?;
    let seed = settings.seed.unwrap_or_else(time_seed);
    let mut sampler = Sampler::new(
        config.vocab_size,
        settings.temperature,
        settings.top_p,
        seed,
    );
    match task {
        Task::Story(generation) => generate(generation, &mut session, &tokenizer, &mut sampler)?,
        Task::Dialog(chat) => converse(chat, &mut session, &tokenizer, &mut sampler, &settings)?,
    }
    if settings.seed.is_none() && settings.temperature != 0.0 {
        say(format_args!("seed: {seed}"));
    }
    Ok(())
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

/// run.c's chat: its questions and the answers, all on standard output.
fn converse(
    mut chat: Chat,
    session: &mut Session<'_>,
    tokenizer: &Tokenizer,
    sampler: &mut Sampler,
    settings: &Settings,
) -> Result<(), Failure> {
    let mut busy = Duration::ZERO;
    let system = match &settings.system {
        Some(system) => system.clone(),
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
        if let Err(error) = chat.begin_turn(tokenizer, &system, &user) {
            if !io::stdin().is_terminal() {
                return Err(Failure::Input(error.to_string()));
            }
            // A person can say it in fewer words, unless there is no room for any.
            say(format_args!("llama2: {error}"));
            if chat.begin_turn(tokenizer, &system, "").is_err() {
                break;
            }
            continue;
        }
        show("Assistant: ")?;
        let start = Instant::now();
        while let Step::Text(text) = chat.step(session, tokenizer, sampler) {
            show(text)?;
        }
        busy += start.elapsed();
    }
    show("\n")?;
    if chat.position() > 0 {
        let rate = chat.position() as f64 / busy.as_secs_f64();
        say(format_args!("achieved tok/s: {rate:.6}"));
    }
    Ok(())
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
