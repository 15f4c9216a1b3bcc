//! `llama2 split`: splits a GGUF file into several, each small enough for FAT32.

use std::{
    io::{self, BufWriter, Write},
    path::PathBuf,
};

use llama2_convert::{Content, Mixture, Plan};
use llama2_engine::{checkpoint::Format, gguf::PartName, units::Bytes, workers::Single};

use crate::{
    args::SplitArgs,
    failure::{Failure, name, say},
    load,
    output::{self, Output},
    progress::{self, Unit},
};

pub fn split(args: &SplitArgs) -> Result<(), Failure> {
    let about = |error: &dyn std::fmt::Display| Failure::about(&args.input, error);
    let mut opened = load::open(Some(&args.input))?;
    if !matches!(opened.checkpoint.format, Format::Gguf { .. }) {
        return Err(about(
            &"is not a GGUF file; llama2 convert makes one of it, which can be split",
        ));
    }
    let (checkpoint, source) = opened.parts();
    let content = Content {
        checkpoint,
        tokenizer: None,
        name: "",
        mixture: Mixture::Same,
    };
    let refused = |error: llama2_convert::Error<io::Error>| about(&error);
    let plan = Plan::new(&content, source, args.size).map_err(refused)?;
    if plan.files() == 1 {
        return Err(about(&format!(
            "fits into one file of {}; there is nothing to split (--size makes files smaller)",
            Bytes(args.size)
        )));
    }
    let base = base(args);
    let paths: Vec<PathBuf> = (1..=plan.files())
        .map(|number| {
            let mut name = base.clone().into_os_string();
            name.push(PartName::suffix(number, plan.files()));
            name.into()
        })
        .collect();
    for path in &paths {
        output::check(path, args.force)?;
    }
    output::room(&base, plan.bytes())?;
    output::listen();
    let bar = progress::of("writing", &base, plan.bytes(), Unit::Bytes);
    let mut outputs = Vec::new();
    for (index, path) in paths.iter().enumerate() {
        let output = Output::new(path)?;
        let mut writer = BufWriter::with_capacity(1 << 20, &output.file);
        let written = plan.write(index, source, &Single, &mut |bytes| {
            bar.inc(bytes.len() as u64);
            writer.write_all(bytes)
        });
        written.map_err(|error| match error {
            llama2_convert::Error::Write(error) => output::refused(path, &error),
            error => refused(error),
        })?;
        let flushed = writer.flush();
        drop(writer);
        flushed.map_err(|error| output::refused(path, &error))?;
        outputs.push(output);
    }
    bar.finish_and_clear();
    output::keep(&outputs, args.force)?;
    for (output, path) in outputs.iter().zip(&paths) {
        say(format_args!("{}: {}", name(path), Bytes(output.size())));
    }
    Ok(())
}

/// Common beginning of the files' names.
fn base(args: &SplitArgs) -> PathBuf {
    match &args.output {
        Some(output) => output.clone(),
        None => args.input.with_extension(""),
    }
}
