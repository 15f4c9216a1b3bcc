//! `cargo xtask`: all that a Makefile would do badly.

mod bench;
mod boots;
mod boots_chat;
mod boots_console;
mod boots_cores;
mod boots_keys;
mod boots_pictures;
mod build;
mod dialog;
mod dist;
/// The engine's tests' random models, for boots.
#[allow(dead_code)]
#[path = "../../engine/tests/common/family.rs"]
mod family;
mod fetch;
mod fuzz;
mod image;
mod inspect;
mod maker;
mod oracle;
mod paper;
mod picture;
mod qemu;
mod run;
mod setup;
mod shell;
mod test;
mod toolchain;
mod trial;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

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
    Build,
    /// Make a disk image that boots llama2.efi: a GPT disk with a FAT32 EFI system partition.
    Image(ImageArgs),
    /// Build, make an image, and boot it in QEMU.
    Run(run::RunArgs),
    /// Download a model and its tokenizer from the Hugging Face hub.
    Fetch(fetch::FetchArgs),
    /// Make what is given to people: llama2.efi, an image, checksums, licences.
    Dist,
    /// Build and run every test, boots included.
    Test(test::TestArgs),
    /// Compare our speed with other programs', interleaved round by round.
    Bench(bench::BenchArgs),
    /// Feed the parsers and tokenizers mutated inputs (needs cargo-fuzz).
    Fuzz(fuzz::FuzzArgs),
    /// Look into a llama2.efi: packed multiplications wanted, soft-float routines not.
    Inspect {
        /// The application.
        efi: PathBuf,
        /// The linker's map of it.
        map: PathBuf,
    },
    /// Install what building and booting need, or say what to type.
    Setup,
}

#[derive(clap::Args)]
struct ImageArgs {
    #[command(flatten)]
    files: image::Files,
    /// Configuration file to put in as LLAMA2.CFG [default: one that explains every key]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The image to write
    #[arg(short, default_value = "llama2-disk.img", value_name = "FILE")]
    output: PathBuf,
}

fn main() -> ExitCode {
    let done = match Args::parse().task {
        Task::Build => build::build().map(|built| println!("{}", built.efi.display())),
        Task::Image(args) => make_image(&args),
        Task::Run(args) => return run::run(&args),
        Task::Fetch(args) => fetch::fetch(&args),
        Task::Dist => dist::dist(),
        Task::Bench(args) => bench::bench(&args),
        Task::Fuzz(args) => fuzz::fuzz(&args),
        Task::Test(args) => return test::test(&args),
        Task::Inspect { efi, map } => inspect::inspect(&efi, &map).map(|found| println!("{found}")),
        Task::Setup => setup::everything(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make_image(args: &ImageArgs) -> anyhow::Result<()> {
    args.files.needs()?;
    let built = build::build()?;
    let content = image::Content::gather(
        &built.efi,
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
