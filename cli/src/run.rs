//! `llama2 run`: text on standard output as it comes, everything else on standard error.

use std::{
    ffi::OsStr,
    io::{self, BufRead, Read, Write},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use llama2_engine::{
    chat::Chat,
    generate::{Generation, Step},
    sampler::Sampler,
    session::Session,
    settings::{self, Settings},
    tokenizer::Tokenizer,
};

use crate::{
    args::{Mode, RunArgs},
    failure::Failure,
    file, load,
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
        eprintln!("llama2: {said}");
    }
    let opened = load::open(args.checkpoint.as_deref())?;
    let config = opened.checkpoint.config;
    let tokenizer = load::tokenizer(
        args.tokenizer.as_deref(),
        args.checkpoint.as_deref(),
        config.vocab_size,
    )?;
    let steps = settings.steps_for(config.seq_len);
    let prompt = settings.prompt.as_deref().unwrap_or_default();
    // Before the weights are read: a mistake in the prompt should not cost their loading.
    let generation = Generation::new(&tokenizer, prompt, steps, config.seq_len);
    let generation = generation.map_err(|error| Failure::Input(error.to_string()))?;

    let model = load::load(opened)?;
    let mut session = Session::new(&model).map_err(|error| Failure::Input(error.to_string()))?;
    let seed = settings.seed.unwrap_or_else(time_seed);
    let mut sampler = Sampler::new(
        config.vocab_size,
        settings.temperature,
        settings.top_p,
        seed,
    );
    match settings.mode {
        settings::Mode::Generate => generate(generation, &mut session, &tokenizer, &mut sampler)?,
        settings::Mode::Chat => {
            let chat = Chat::new(&tokenizer, steps, config.seq_len);
            converse(chat, &mut session, &tokenizer, &mut sampler, &settings)?;
        }
    }
    if settings.seed.is_none() && settings.temperature != 0.0 {
        eprintln!("seed: {seed}");
    }
    Ok(())
}

/// The prompt from -i or -f.
fn prompt(args: &RunArgs) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(prompt) = &args.prompt {
        return Ok(Some(prompt.as_encoded_bytes().to_vec()));
    }
    let Some(path) = &args.prompt_file else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = if path == Path::new(OsStr::new("-")) {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::about(path, file::explain(&error)))?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    if bytes.ends_with(b"\r") {
        bytes.pop();
    }
    Ok(Some(bytes))
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
        eprintln!("achieved tok/s: {rate:.6}");
    }
    if let Some(first_token) = first_token {
        eprintln!("time to first token: {:.3} s", first_token.as_secs_f64());
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
    let mut given = settings
        .prompt
        .as_deref()
        .map(|prompt| String::from_utf8_lossy(prompt).into_owned());
    while !chat.is_over() {
        let user = match given.take() {
            Some(prompt) => prompt,
            None => match ask("User: ")? {
                Some(line) => line,
                None => break,
            },
        };
        if let Err(error) = chat.begin_turn(tokenizer, &system, &user) {
            return Err(Failure::Input(error.to_string()));
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
        eprintln!(
            "achieved tok/s: {:.6}",
            chat.position() as f64 / busy.as_secs_f64()
        );
    }
    Ok(())
}

/// Asks for a line; `None` at the end of standard input.
fn ask(question: &str) -> Result<Option<String>, Failure> {
    show(question)?;
    let mut line = Vec::new();
    let read = io::stdin().lock().read_until(b'\n', &mut line);
    match read.map_err(|error| Failure::Input(format!("standard input: {error}")))? {
        0 => Ok(None),
        _ => Ok(Some(
            String::from_utf8_lossy(&line)
                .trim_end_matches(['\n', '\r'])
                .to_owned(),
        )),
    }
}
