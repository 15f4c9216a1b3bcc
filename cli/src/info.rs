//! `llama2 info`: what a checkpoint is, without loading it.

use std::{io::Write, ops::ControlFlow};

use llama2_engine::{
    checkpoint::Format,
    gguf,
    session::KvType,
    units::{Bytes, Grouped},
};

use crate::{args::InfoArgs, failure::Failure, load};

pub fn info(args: &InfoArgs) -> Result<(), Failure> {
    let mut opened = load::open(args.checkpoint.as_deref())?;
    let c = &opened.checkpoint.config;
    let memory = opened.checkpoint.memory(KvType::F32, 1);
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
    let tokenizer = tokenizer(args, c.vocab_size)?;
    let lines = [
        ("file", opened.name.display().to_string()),
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
        ("seq_len", c.seq_len.to_string()),
        ("tokenizer", tokenizer),
        ("classifier", classifier.into()),
        ("memory", format!("{}{free}", Bytes(memory.total()))),
        ("  weights", Bytes(memory.weights).to_string()),
        ("  KV cache", Bytes(memory.kv_cache).to_string()),
        ("  activations", Bytes(memory.activations).to_string()),
    ];
    let mut out = crate::plain::stdout();
    for (name, value) in lines {
        writeln!(out, "{name:<14}{value}").map_err(|error| Failure::output(&error))?;
    }
    if args.all && matches!(opened.checkpoint.format, Format::Gguf { .. }) {
        list(&mut opened, &mut out)?;
    }
    out.flush().map_err(|error| Failure::output(&error))
}

/// A GGUF file's metadata and tensors.
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

/// Most characters of a value that are shown.
const LINE: usize = 100;

/// What `llama2 run` would find. Only a tokenizer that was named has to be a good one: without it there is still a model to
/// show.
fn tokenizer(args: &InfoArgs, vocab_size: usize) -> Result<String, Failure> {
    let found = load::tokenizer(args.tokenizer.as_deref(), args.checkpoint.as_deref());
    let checked = found.and_then(|found| found.check_model(vocab_size).map(|()| found));
    match checked {
        Ok(found) => Ok(format!(
            "{}, {} tokens, the longest of {} bytes",
            found.name.display(),
            Grouped(found.tokenizer.vocab_size() as u64),
            found.tokenizer.longest_piece()
        )),
        Err(Failure::Input(sentence)) if args.tokenizer.is_none() => {
            Ok(format!("none that fits: {sentence}"))
        }
        Err(failure) => Err(failure),
    }
}
