//! `llama2 bench --texts`: how much faster answers come when tokens are guessed, and that they are
//! the same.

use std::path::Path;

use llama2_engine::{
    bench::statistics::{median, range},
    event::Event,
    generate::step,
    run_mode::RunMode,
    sampler::SamplerOverrides,
    session::{Options, Session},
    settings::{Mode, Settings},
    speculation::Speculation,
};
use llama2_settings::Param;

use crate::{
    args::BenchArgs,
    clock,
    failure::Failure,
    file, load,
    machine::{Machine, nanoseconds},
};

/// Most positions of a text with its answer.
const POSITIONS: usize = 2048;

/// Temperatures that answers are drawn at: the first two of what people use.
const TEMPERATURES: [f32; 2] = [0.0, 0.8];

/// A text to answer.
struct Text {
    kind: String,
    /// Seed, and number among those of its kind.
    seed: u64,
    prompt: String,
}

/// Reads texts: each begins with a line `== KIND SEED`.
fn texts(path: &Path) -> Result<Vec<Text>, Failure> {
    let fault = |line: usize| {
        let sentence = "a text begins with a line \"== KIND SEED\"";
        Failure::Input(format!("{}: line {line}: {sentence}", path.display()))
    };
    let all = String::from_utf8_lossy(&file::read_prompt(path)?).into_owned();
    let mut texts: Vec<Text> = Vec::new();
    for (number, line) in (1..).zip(all.lines()) {
        if let Some(head) = line.strip_prefix("== ") {
            let (kind, seed) = head.split_once(' ').ok_or_else(|| fault(number))?;
            texts.push(Text {
                kind: kind.into(),
                seed: seed.parse().map_err(|_| fault(number))?,
                prompt: String::new(),
            });
        } else {
            let text = texts.last_mut().ok_or_else(|| fault(number))?;
            text.prompt.push_str(line);
            text.prompt.push('\n');
        }
    }
    Ok(texts)
}

/// An answer that was made.
#[derive(Default)]
struct Answer {
    text: String,
    tokens: usize,
    /// Passes after that of the prompt.
    passes: usize,
    /// Tokens that were guessed, and how many of them were right.
    guesses: (usize, usize),
    /// Tokens a second after the first one.
    rate: f64,
}

fn answer(
    text: &Text,
    temperature: f32,
    most: usize,
    vocabulary: &load::NamedTokenizer,
    session: &mut Session<'_>,
) -> Result<Answer, Failure> {
    let settings = Settings {
        sampling: SamplerOverrides::default().with(Param::Temperature, temperature),
        steps: Some(most as i64),
        mode: Some(Mode::Chat),
        ..Settings::default()
    };
    let (tokenizer, positions) = (&vocabulary.tokenizer, session.positions());
    let mut chat = settings.chat(tokenizer, RunMode::Dialog, positions, clock::now())?;
    chat.begin_turn(tokenizer, "", text.prompt.trim())?;
    let vocab_size = session.model().config.vocab_size;
    let drawing = settings.sampling.drawing(RunMode::Dialog);
    let sequence = chat.sequence_mut();
    sequence.set_sampler(drawing.sampler(vocab_size, text.seed));
    let mut answer = Answer::default();
    let mut said = String::new();
    let mut first = None;
    let mut out = |_, event: Event<'_>| {
        if let Event::Text { text, .. } = event {
            said.push_str(text);
        }
    };
    while step(session, tokenizer, &mut [sequence], &mut out) > 0 {
        match first {
            None if sequence.drawn() > 0 => first = Some(nanoseconds()),
            None => (),
            Some(_) => answer.passes += 1,
        }
    }
    let took = nanoseconds() - first.unwrap_or_default();
    answer.text = said;
    answer.tokens = sequence.drawn();
    answer.guesses = sequence.guesses();
    answer.rate = answer.tokens.saturating_sub(1) as f64 * 1e9 / took.max(1) as f64;
    Ok(answer)
}

/// Tokens a second of an answer without guesses and with them, and their ratio: medians of rounds.
struct Row {
    plain: f64,
    guessing: f64,
    ratio: f64,
    /// The last answer with guesses.
    answer: Answer,
}

impl Row {
    /// Compares two ways of making an answer, in turn; `None` if the answers differ.
    fn measure(
        rounds: usize,
        mut plain: impl FnMut() -> Result<Answer, Failure>,
        mut guessing: impl FnMut() -> Result<Answer, Failure>,
    ) -> Result<Option<Row>, Failure> {
        let (mut before, mut after, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = Answer::default();
        // The first round warms up.
        for round in 0..=rounds {
            let (one, other) = (plain()?, guessing()?);
            if one.text != other.text {
                return Ok(None);
            }
            if round > 0 {
                before.push(one.rate);
                after.push(other.rate);
                ratios.push(other.rate / one.rate);
            }
            last = other;
        }
        Ok(Some(Row {
            plain: median(&before),
            guessing: median(&after),
            ratio: median(&ratios),
            answer: last,
        }))
    }
}

/// The table's line about the rows of a kind.
fn line(name: &str, kind: &str, temperature: f32, rows: &[Row]) -> String {
    let of = |each: &dyn Fn(&Row) -> f64| rows.iter().map(each).collect::<Vec<f64>>();
    let sum = |each: &dyn Fn(&Answer) -> usize| rows.iter().map(|row| each(&row.answer)).sum();
    let (tokens, passes): (usize, usize) = (sum(&|a| a.tokens), sum(&|a| a.passes));
    let (guessed, right): (usize, usize) = (sum(&|a| a.guesses.0), sum(&|a| a.guesses.1));
    let ratios = of(&|row| row.ratio);
    let (least, most) = range(&ratios);
    format!(
        "| {name} | {kind} | {temperature} | {} | {:.1} | {:.1} | {:.2} | {least:.2} | {most:.2} | {:.2} | {right} of {guessed} |\n",
        rows.len(),
        median(&of(&|row| row.plain)),
        median(&of(&|row| row.guessing)),
        median(&ratios),
        tokens as f64 / passes.max(1) as f64,
    )
}

/// Compares answers with guesses and without, round by round, and gives a table.
pub fn compare(path: &Path, args: &BenchArgs, machine: &Machine) -> Result<String, Failure> {
    let texts = texts(path)?;
    let most = args.generate.iter().copied().max().unwrap_or(1).max(2);
    let mut kinds: Vec<&str> = texts.iter().map(|text| text.kind.as_str()).collect();
    kinds.dedup();
    let mut out = String::from(
        "| model | kind | temperature | texts | plain t/s | t/s | ratio | least | most | tokens a pass | right guesses |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for checkpoint in &args.checkpoints {
        let opened = load::open(Some(checkpoint))?;
        let name = opened.name.clone();
        let vocabulary = load::tokenizer(None, Some(checkpoint))?;
        vocabulary.check_model(opened.checkpoint.config.vocab_size)?;
        let positions = opened.checkpoint.config.seq_len.min(POSITIONS);
        let model = load::load(opened)?;
        let session = |speculation| {
            let options = Options {
                positions: Some(positions),
                speculation,
                ..machine.computing().options
            };
            Session::new(&model, options).map_err(|error| Failure::about(&name, error))
        };
        let mut plain = session(Speculation::Off)?;
        let mut guessing = session(Speculation::Measured(nanoseconds))?;
        let file = name.file_name().unwrap_or_default().to_string_lossy();
        for temperature in TEMPERATURES {
            for kind in &kinds {
                let mut rows = Vec::new();
                for text in texts.iter().filter(|text| text.kind == *kind) {
                    let row = Row::measure(
                        args.repetitions,
                        || answer(text, temperature, most, &vocabulary, &mut plain),
                        || answer(text, temperature, most, &vocabulary, &mut guessing),
                    );
                    let about = || format!("{kind} {}, temperature {temperature}", text.seed);
                    let another = || Failure::Input(format!("{}: another text", about()));
                    rows.push(row?.ok_or_else(another)?);
                }
                out.push_str(&line(&file, kind, temperature, &rows));
            }
        }
    }
    Ok(out)
}
