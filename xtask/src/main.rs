//! `cargo xtask`: tasks that are too complex for a Makefile.
#![forbid(unsafe_code)]

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use xtask::{
    arch::{AARCH64, Arch},
    build, dist, image, run, setup,
    shell::{ended, root},
};

/// Builds, images, boots, fetches and tests llama2.efi.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build llama2.efi.
    Build(BuildArgs),
    /// Make a disk image that boots llama2.efi: a GPT disk with a FAT32 EFI system partition.
    Image(ImageArgs),
    /// Build, make an image, and boot it in QEMU.
    Run(run::RunArgs),
    /// Fetch models by name, from the Hugging Face hub or from an address.
    #[command(disable_help_flag = true)]
    Fetch(Words),
    /// Make a zip to unpack onto a stick: llama2.efi, models, the command, licences, checksums.
    Dist(dist::DistArgs),
    /// Build, test and boot it; with CI=true, run every test there is.
    #[command(disable_help_flag = true)]
    Test(Words),
    /// Compare our speed with other programs', interleaved round by round.
    #[command(disable_help_flag = true)]
    Bench(Words),
    /// Feed the parsers and tokenizers mutated inputs (needs cargo-fuzz).
    #[command(disable_help_flag = true)]
    Fuzz(Words),
    /// Check a llama2.efi: it must contain packed multiplications, and no soft-float routines.
    #[command(disable_help_flag = true)]
    Inspect(Words),
    /// Install what building and booting need, or print the commands to do so.
    Setup,
}

/// Arguments to pass on to another tool.
#[derive(clap::Args)]
struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

#[derive(clap::Args)]
struct BuildArgs {
    /// Architecture to build for: x86_64 or aarch64
    #[arg(long, default_value = "x86_64", value_parser = Arch::named)]
    arch: &'static Arch,
}

#[derive(clap::Args)]
struct ImageArgs {
    #[command(flatten)]
    files: image::Files,
    /// Configuration file to include as LLAMA2.CFG [default: one that explains every key]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Image file to write
    #[arg(short, default_value = "llama2-disk.img", value_name = "FILE")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Build(args) => {
            build::build(args.arch).map(|built| println!("{}", built.efi.display()))
        }
        Task::Image(args) => make_image(&args),
        Task::Run(args) => return run::run(&args),
        Task::Dist(args) => dist::dist(&args),
        Task::Setup => build::prepare().and_then(|()| setup::for_boots(&AARCH64)),
        Task::Fetch(args) => return tool("llama2-fetch", &[], &args),
        Task::Test(args) => return tool("checks", &["test"], &args),
        Task::Fuzz(args) => return tool("checks", &["fuzz"], &args),
        Task::Inspect(args) => return tool("checks", &["inspect"], &args),
        Task::Bench(args) => return tool("bench-compare", &[], &args),
    };
    ended(done)
}

/// Builds and runs a tool that is a separate crate, so that building and booting need not compile
/// it.
fn tool(package: &str, words: &[&str], args: &Words) -> ExitCode {
    // In the folder of who calls: files are named from there.
    let mut cargo = Command::new(setup::cargo());
    cargo.args(["run", "--quiet", "--manifest-path"]);
    cargo.arg(root().join("Cargo.toml"));
    cargo.args(["--package", package, "--"]).args(words);
    match cargo.args(&args.words).status() {
        Ok(status) => status
            .code()
            .map_or(ExitCode::FAILURE, |code| ExitCode::from(code as u8)),
        Err(error) => ended(Err(error).context("cargo could not be started")),
    }
}

fn make_image(args: &ImageArgs) -> Result<()> {
    args.files.needs()?;
    let content = image::Content::gather(
        &build::build_all()?,
        &args.files,
        args.config.as_deref(),
        &Default::default(),
    )?;
    let written = image::write(&content, &args.output)?;
    println!(
        "{}: {written} bytes, {}",
        args.output.display(),
        content.what()
    );
    Ok(())
}
