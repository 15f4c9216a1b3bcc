//! `llama2 info`: describes a checkpoint without loading it.

use std::{io::Write, ops::ControlFlow, path::Path};

use llama2_engine::{
    checkpoint::Format,
    context::Memory,
    gguf,
    session::KvType,
    units::{Bytes, Grouped, Quoted},
};

use llama2_app::sentences;

use crate::{args::InfoArgs, failure::Failure, load};

pub fn info(args: &InfoArgs) -> Result<(), Failure> {
    let mut opened = load::open(args.checkpoint.as_deref())?;
    let own_words = own_words(&mut opened)?;
    let c = &opened.checkpoint.config;
    let memory = Memory::whole(&opened.checkpoint, KvType::F32);
    let classifier = if c.shared_classifier {
        "tied to the embedding"
    } else {
        "separate"
    };
    let free = match load::available_memory() {
        Some(free) if memory.check(free).is_err() => format!(", but {} are free", Bytes(free)),
        Some(free) => format!(" ({} are free)", Bytes(free)),
        None => String::new(),
    };
    let matrices = opened.checkpoint.encodings();
    let matrices = matrices
        .iter()
        .map(|(encoding, count)| format!("{count} {encoding}"));
    let matrices: Vec<String> = matrices.collect();
    let is_gguf = matches!(opened.checkpoint.format, Format::Gguf { .. });
    let (tokenizer, template) = tokenizer(args, &opened.name, c.vocab_size)?;
    let template = template.filter(|_| is_gguf);
    let mut lines = vec![("file", opened.name.display().to_string())];
    lines.extend(own_words);
    lines.extend(template.map(|template| ("template", template)));
    lines.extend([
        ("context", format!("{} positions", c.seq_len)),
        ("format", opened.checkpoint.format.to_string()),
        ("matrices", matrices.join(", ")),
        (
            "size",
            format!(
                "{} bytes ({})",
                Grouped(opened.size()),
                Bytes(opened.size())
            ),
        ),
        (
            "parameters",
            Grouped(opened.checkpoint.parameters()).to_string(),
        ),
        ("dim", c.dim.to_string()),
        ("hidden_dim", c.hidden_dim.to_string()),
        ("n_layers", c.n_layers.to_string()),
        (
            "n_heads",
            format!("{} of {} elements", c.n_heads, c.head_dim()),
        ),
        ("n_kv_heads", c.n_kv_heads.to_string()),
        ("vocab_size", Grouped(c.vocab_size as u64).to_string()),
        ("tokenizer", tokenizer),
        ("classifier", classifier.into()),
        ("memory", format!("{}{free}", Bytes(memory.total()))),
        ("  weights", Bytes(memory.weights).to_string()),
        ("  KV cache", Bytes(memory.kv_cache).to_string()),
        ("  activations", Bytes(memory.activations).to_string()),
    ]);
    let mut out = crate::plain::stdout();
    for (name, value) in lines {
        writeln!(out, "{name:<14}{value}").map_err(|error| Failure::output(&error))?;
    }
    if args.all && is_gguf {
        list(&mut opened, &mut out)?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

/// Descriptive metadata of a GGUF file.
fn own_words(opened: &mut load::Opened) -> Result<Vec<(&'static str, String)>, Failure> {
    const WORDS: [(&str, &str); 3] = [
        ("general.name", "name"),
        ("general.architecture", "architecture"),
        ("general.license", "licence"),
    ];
    if !matches!(opened.checkpoint.format, Format::Gguf { .. }) {
        return Ok(Vec::new());
    }
    let mut found = [const { None }; WORDS.len()];
    let listed = gguf::metadata(opened.parts().1, &mut |key, value| {
        let place = WORDS.iter().position(|(known, _)| *known == key);
        if let (Some(place), gguf::Value::Text(Some(text))) = (place, value) {
            // Without the quotation marks, because the line contains nothing else.
            let quoted = Quoted(text).to_string();
            found[place] = Some(quoted[1..quoted.len() - 1].to_string());
        }
        ControlFlow::Continue(())
    });
    listed.map_err(|error| Failure::about(&opened.name, error))?;
    let found = WORDS.iter().zip(found);
    Ok(found
        .map(|((_, name), text)| (*name, text.unwrap_or("not stated".into())))
        .collect())
}

/// Lists a GGUF file's metadata and tensors.
fn list(opened: &mut load::Opened, out: &mut impl Write) -> Result<(), Failure> {
    let name = opened.name.clone();
    let about = |error| Failure::about(&name, error);
    let (_, source) = opened.parts();
    let mut text = String::from("\nMetadata\n");
    gguf::metadata(source, &mut |key, value| {
        let value = value.to_string();
        // A chat template is longer than a line.
        let shown: String = value.chars().take(LINE).collect();
        let more = if shown.len() < value.len() { "..." } else { "" };
        // Whatever the file calls it: nothing that moves the cursor.
        text += &format!("  {} = {shown}{more}\n", key.escape_debug());
        ControlFlow::Continue(())
    })
    .map_err(about)?;
    text += "\nTensors\n";
    for tensor in gguf::tensors(source).map_err(about)? {
        text += &format!("  {tensor}\n");
    }
    out.write_all(text.as_bytes())
        .map_err(|error| Failure::output(&error))
}

/// Longest value shown, in characters.
const LINE: usize = 100;

/// Tokenizer that `llama2 run` would find, and the chat template in it. Only a tokenizer given by
/// the user must be valid: without one there is still a model to describe.
fn tokenizer(
    args: &InfoArgs,
    model: &Path,
    vocab_size: usize,
) -> Result<(String, Option<String>), Failure> {
    let found = load::tokenizer(args.tokenizer.as_deref(), args.checkpoint.as_deref());
    let checked = found.and_then(|found| found.check_model(vocab_size).map(|()| found));
    match checked {
        Ok(found) => {
            found.warn();
            let place = if found.name == model {
                "in the file".into()
            } else {
                found.name.display().to_string()
            };
            let said = format!(
                "{place}, {} tokens, the longest of {} bytes",
                Grouped(found.tokenizer.vocab_size() as u64),
                found.tokenizer.longest_piece()
            );
            Ok((said, Some(sentences::template(&found.tokenizer))))
        }
        Err(Failure::Input(sentence)) if args.tokenizer.is_none() => {
            let about = format!("{}: ", model.display());
            let said = sentence.strip_prefix(&about).unwrap_or(&sentence);
            Ok((format!("none that fits: {said}"), None))
        }
        Err(failure) => Err(failure),
    }
}
