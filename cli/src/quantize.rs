//! `llama2 quantize`: converts a model to another format or type.

use std::io::{BufWriter, Write};

use llama2_convert::{Content, Plan};
use llama2_engine::{checkpoint::Format, units::Bytes};

use crate::{
    args::{ConvertArgs, NumberType, QuantizeArgs},
    failure::{Failure, name as named, say},
    load, machine,
    output::{self, Output},
    progress::{self, Unit},
    threads::ThreadPool,
};

/// Runs `llama2 convert`: converts a llama2.c checkpoint to GGUF.
pub fn convert(args: ConvertArgs) -> Result<(), Failure> {
    let extension = args.output.extension().and_then(|e| e.to_str());
    if !extension.is_some_and(|extension| extension.eq_ignore_ascii_case("gguf")) {
        return Err(Failure::about(
            &args.output,
            "its name must end in .gguf, which is what convert writes",
        ));
    }
    quantize(&QuantizeArgs {
        input: args.checkpoint,
        output: args.output,
        number_type: args.number_type,
        tokenizer: args.tokenizer,
        force: args.force,
    })
}

pub fn quantize(args: &QuantizeArgs) -> Result<(), Failure> {
    let about = |error: &dyn std::fmt::Display| Failure::about(&args.output, error);
    let extension = args
        .output
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or("");
    let as_gguf = extension.eq_ignore_ascii_case("gguf");
    if !as_gguf && !extension.eq_ignore_ascii_case("bin") {
        return Err(about(
            &"its name must end in .gguf, or in .bin for llama2.c's int8 format",
        ));
    }
    if !as_gguf && args.number_type != NumberType::Q8_0 {
        return Err(about(
            &"llama2.c's format holds q8_0 only; write a .gguf file instead",
        ));
    }
    output::check(&args.output, args.force)?;

    let mut opened = load::open(Some(&args.input))?;
    let vocab_size = opened.checkpoint.config.vocab_size;
    // A GGUF file's own tokenizer is copied with its metadata.
    let tokenizer = match opened.checkpoint.format {
        Format::Gguf { .. } => None,
        _ if !as_gguf => None,
        _ => {
            let found = load::tokenizer(args.tokenizer.as_deref(), Some(&args.input))?;
            found.check_model(vocab_size)?;
            Some(found.tokenizer)
        }
    };
    if let Some((encoding, _)) = opened.checkpoint.encodings().first()
        && encoding.group().is_some()
        && args.number_type != NumberType::F32
    {
        say(format_args!(
            "llama2: {} is in {encoding} already; quantising it again loses a little more",
            named(&args.input)
        ));
    }
    let name = args
        .input
        .file_stem()
        .map_or("model".into(), |stem| stem.to_string_lossy());
    let (checkpoint, source) = opened.parts();
    let content = Content {
        checkpoint,
        tokenizer: tokenizer.as_ref(),
        name: &name,
        mixture: args.number_type.mixture(),
    };
    let refused = |error: llama2_convert::Error<std::io::Error>| match error {
        llama2_convert::Error::Write(error) => output::refused(&args.output, &error),
        error => Failure::about(&args.input, error),
    };
    let plan = Plan::new(&content, source, u64::MAX).map_err(refused)?;

    output::room(&args.output, plan.bytes())?;
    output::listen();
    let output = Output::new(&args.output)?;
    let mut writer = BufWriter::with_capacity(1 << 20, &output.file);
    let bar = progress::of("writing", &args.output, plan.bytes(), Unit::Bytes);
    let mut sink = |bytes: &[u8]| {
        bar.inc(bytes.len() as u64);
        writer.write_all(bytes)
    };
    let threads = ThreadPool::new(machine::default_threads());
    let written = if as_gguf {
        plan.write(0, source, &threads, &mut sink)
    } else {
        llama2_convert::v2(checkpoint, source, &threads, &mut sink)
    };
    bar.finish_and_clear();
    written.map_err(refused)?;
    let flushed = writer.flush();
    drop(writer);
    flushed.map_err(|error| output::refused(&args.output, &error))?;
    let size = output.size();
    output::keep(&[output], args.force)?;
    say(format_args!("{}: {}", named(&args.output), Bytes(size)));
    Ok(())
}
