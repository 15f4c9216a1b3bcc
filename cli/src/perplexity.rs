//! `llama2 perplexity`: measures how well a model predicts a text.

use std::io::Write;

use llama2_app::sentences::NOT_NUMBERS;
use llama2_engine::{
    generate::are_numbers,
    session::{BATCH, Session},
};

use crate::{
    args::PerplexityArgs,
    failure::Failure,
    file, load,
    machine::Machine,
    progress::{self, Unit},
};

/// Splits the text into windows of the context, each of which begins with BOS; every token counts.
pub fn perplexity(args: &PerplexityArgs) -> Result<(), Failure> {
    let text = file::read_text(&args.file)?;
    let machine = Machine::new(&args.machine.0)?;
    let opened = load::open(args.checkpoint.as_deref())?;
    let context = load::fit(&opened, &machine, args.context, 0)?;
    let config = opened.checkpoint.config;
    let vocabulary = load::tokenizer(args.tokenizer.as_deref(), args.checkpoint.as_deref())?;
    vocabulary.check_model(config.vocab_size)?;
    vocabulary.warn();
    if context.positions() < 2 {
        return Err(Failure::about(
            &vocabulary.name,
            "a context of one position predicts nothing",
        ));
    }
    if let Some(character) = vocabulary.tokenizer.lacks(&text) {
        return Err(Failure::about(
            &args.file,
            format!(
                "has {character:?}, and the model's vocabulary has no token for that character"
            ),
        ));
    }
    let tokens = vocabulary.tokenizer.encode(&text, false, false);
    if tokens.is_empty() {
        return Err(Failure::about(&args.file, "there is no text in it"));
    }

    let model = load::load(opened)?;
    let mut session = Session::new(&model, machine.options(&context))
        .map_err(|error| Failure::Input(error.to_string()))?;
    let bar = progress::of("measuring", &args.file, tokens.len() as u64, Unit::Tokens);
    // Sums of the surprises, in natural units, and of their squares.
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0u64);
    let mut logits = vec![0.0; BATCH * config.vocab_size];
    for window in tokens.chunks(context.positions() - 1) {
        // If texts have no BOS, the window's first token predicts itself.
        let mut before = vec![vocabulary.tokenizer.bos().unwrap_or(window[0])];
        before.extend(&window[..window.len() - 1]);
        let batches = before.chunks(BATCH).zip(window.chunks(BATCH));
        for (index, (batch, next)) in batches.enumerate() {
            let logits = &mut logits[..batch.len() * config.vocab_size];
            session.score(batch, index * BATCH, logits);
            for (logits, &next) in logits.chunks_exact(config.vocab_size).zip(next) {
                if !are_numbers(logits) {
                    bar.finish_and_clear();
                    return Err(Failure::Input(NOT_NUMBERS.into()));
                }
                let surprise = surprise(logits, next);
                sum += surprise;
                squares += surprise * surprise;
                count += 1;
            }
            bar.set_position(count);
        }
    }
    bar.finish_and_clear();
    let mean = sum / count as f64;
    let variance = (squares / count as f64 - mean * mean).max(0.0);
    let error = mean.exp() * (variance / (count as f64 - 1.0).max(1.0)).sqrt();
    writeln!(
        crate::plain::stdout(),
        "perplexity: {:.4} +- {error:.4} ({count} tokens, windows of {context})",
        mean.exp()
    )
    .map_err(|error| Failure::output(&error))
}

/// Negative natural logarithm of the probability that the logits give `token`.
fn surprise(logits: &[f32], token: u32) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from(logit - largest).exp())
        .sum();
    sum.ln() - f64::from(logits[token as usize] - largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surprises_are_those_of_the_softmax() {
        let logits = [0.0, 2.0f32.ln(), 5.0f32.ln()];
        for (token, p) in [(0, 1.0 / 8.0), (1, 2.0 / 8.0), (2, 5.0f64 / 8.0)] {
            assert!((surprise(&logits, token) + p.ln()).abs() < 1e-6);
        }
        assert!(surprise(&[1e30, -1e30], 0).abs() < 1e-12);
    }
}
