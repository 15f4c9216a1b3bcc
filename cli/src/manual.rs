//! Descriptions of the command for other programs: shell completions, and pages for man(1).

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;
use llama2_engine::units::Quoted;

use crate::{args::Args, failure::Failure};

/// Runs `llama2 completions`.
pub fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "llama2", &mut text);
    write(&text)
}

/// Runs `llama2 man`.
pub fn page(subcommand: Option<&str>) -> Result<(), Failure> {
    let mut command = Args::command();
    command.build();
    if let Some(name) = subcommand {
        let found = command.find_subcommand(name).cloned();
        let none = || Failure::Usage(format!("man {}: there is no such subcommand", Quoted(name)));
        command = found.ok_or_else(none)?;
    }
    let mut text = Vec::new();
    let rendered = Man::new(command).render(&mut text);
    rendered.map_err(|error| Failure::output(&error))?;
    write(&text)
}

fn write(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text).and_then(|()| out.flush());
    written.map_err(|error| Failure::output(&error))
}
