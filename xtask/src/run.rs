//! `cargo xtask run`: from sources to a booted machine in one step.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, anyhow};
use llama2_efi::{
    command_line::{self, Line},
    options::{AGAIN, Exit, Options},
};
use llama2_engine::{checkpoint::Checkpoint, session::KvType};

use crate::{
    build,
    image::{self, Content, Files},
    qemu::{Accel, End, Keys, Machine, somebody_types},
    setup,
    shell::target,
};

/// The machine did not finish in time.
const TIMED_OUT: u8 = 3;
/// The machine ended without the application's last line.
const VANISHED: u8 = 4;

#[derive(clap::Args)]
pub struct RunArgs {
    /// For scripts: print the serial console without escape sequences, switch off at the end, and exit with the
    /// application's status (0 or 1; 2 usage, 3 out of time, 4 the machine ended without a word)
    #[arg(long)]
    headless: bool,
    #[command(flatten)]
    files: Files,
    /// The machine's memory, such as 512M or 2G [default: what the model needs, 512M at least]
    #[arg(long, value_parser = memory)]
    memory: Option<u64>,
    /// Number of processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// QEMU's processor model
    #[arg(long, default_value = "max")]
    cpu: String,
    /// How instructions are run [default: kvm where it works, else tcg]
    #[arg(long)]
    accel: Option<Accel>,
    /// Open a window with the machine's screen
    #[arg(long)]
    display: bool,
    /// Seconds until the machine is given up; 0: never [default: 1800 headless, else never]
    #[arg(long)]
    timeout: Option<u64>,
    /// Save a picture of the screen when the text is complete (then nobody need press a key)
    #[arg(long, value_name = "PNG")]
    screendump: Option<PathBuf>,
    /// Flags of `llama2 run`, put into the image's configuration
    #[arg(last = true, value_name = "FLAGS", allow_hyphen_values = true)]
    flags: Vec<String>,
}

/// MiB from 512M, 2G or a plain number of MiB.
fn memory(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.to_ascii_uppercase() {
        upper if upper.ends_with('G') => (upper.trim_end_matches('G').to_owned(), 1024),
        upper => (upper.trim_end_matches('M').to_owned(), 1),
    };
    let number = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .filter(|&n| n > 0);
    number.ok_or_else(|| "a size is a number of MiB, or ends in M or G".into())
}

pub fn run(args: &RunArgs) -> ExitCode {
    let flags = match options(&args.flags) {
        Ok(options) => options,
        Err(sentence) => {
            eprintln!("xtask: {sentence}");
            return ExitCode::from(2);
        }
    };
    match boot(args, flags) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The wishes behind `--`.
fn options(flags: &[String]) -> Result<Options> {
    let mut options = match command_line::parse(flags).map_err(|sentence| anyhow!(sentence))? {
        Line::Run(options) => options,
        Line::Help => {
            return Err(anyhow!(
                "flags behind -- are llama2.efi's:\n{}",
                command_line::HELP
            ));
        }
    };
    // What llama2 run adjusts, the configuration file would refuse.
    let mut settings = options.settings();
    for said in settings.adjust() {
        eprintln!("xtask: {said}");
    }
    options.sampling = settings.sampling;
    options.steps = settings.steps;
    // Files behind -- are this machine's.
    if let Some(path) = options.prompt_file.take() {
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        options.prompt = Some(text.strip_suffix('\n').unwrap_or(&text).to_owned());
    }
    Ok(*options)
}

fn boot(args: &RunArgs, mut options: Options) -> Result<u8> {
    setup::for_boots()?;
    let mut files = args.files.clone();
    files.model = options.model.take().map(PathBuf::from).or(files.model);
    files.tokenizer = options
        .tokenizer
        .take()
        .map(PathBuf::from)
        .or(files.tokenizer);
    let memory = match args.memory {
        Some(memory) => memory,
        None => needed(&files)?,
    };
    // For a picture the machine has to wait until it is taken; then we press the key.
    let picture = args.screendump.is_some();
    let unattended = args.headless || picture || (!somebody_types() && !args.display);
    if unattended {
        options.exit = Some(if picture { Exit::Key } else { Exit::Shutdown });
    }
    let built = build::build()?;
    let image = target().join("llama2-run.img");
    image::write(
        &Content::gather(&built.efi, &files, None, &options)?,
        &image,
    )?;

    let machine = Machine {
        memory,
        cpus: args.cpus,
        cpu: args.cpu.clone(),
        display: args.display,
        keys: if unattended {
            Keys::Pipe
        } else {
            Keys::Terminal
        },
        ..Machine::new(&image)
    };
    eprintln!("xtask: booting in QEMU with {memory} MiB");
    if !unattended {
        eprintln!(
            "xtask: Esc or Ctrl-C stops a reply, /exit leaves; Ctrl-A X switches the machine off"
        );
    }
    let mut guest = machine.start_best(args.accel)?;
    // What came while KVM was tried.
    print!("{}", guest.text);
    guest.echo = Some(Box::new(std::io::stdout()));
    let patience = match args.timeout.unwrap_or(if args.headless { 1800 } else { 0 }) {
        0 => Duration::from_secs(u64::from(u32::MAX)),
        seconds => Duration::from_secs(seconds),
    };
    if let Some(file) = &args.screendump {
        let waiting = |text: &str| text.contains("ress any key to exit.\n").then_some(());
        if guest.wait(patience, waiting).is_ok() {
            // The screen is drawn after the serial line.
            std::thread::sleep(Duration::from_millis(500));
            guest.screendump(file)?;
            guest.send(b"\r")?;
        }
    }
    let mut end = guest.end(patience);
    let again = format!("{AGAIN}\nllama2: exit ");
    while !unattended && matches!(end, End::Exit(_)) && guest.text.contains(&again) {
        guest.text.clear();
        end = guest.end(patience);
    }
    Ok(match end {
        End::Exit(status) => {
            guest.settle(Duration::from_secs(if unattended && !picture {
                5
            } else {
                0
            }));
            status
        }
        End::Timeout => {
            eprintln!(
                "\nxtask: the machine has not finished after {} s",
                patience.as_secs()
            );
            TIMED_OUT
        }
        End::Gone(words) => {
            eprintln!("\nxtask: QEMU ended before the application did: {words}");
            VANISHED
        }
    })
}

/// MiB for a model: its own needs, the firmware's, and some air.
fn needed(files: &Files) -> Result<u64> {
    let Some(path) = &files.model else {
        return Ok(512);
    };
    let bytes = HostFile(std::fs::File::open(path).with_context(|| path.display().to_string())?);
    // A bad file is the application's to refuse.
    let memory = Checkpoint::open(&mut { bytes })
        .map_or(0, |checkpoint| checkpoint.memory(KvType::F32, 1).total());
    Ok(((memory >> 20) + 160).next_multiple_of(64).max(512))
}

/// A host file as the engine's source.
struct HostFile(std::fs::File);

impl llama2_engine::source::ByteSource for HostFile {
    fn size(&self) -> u64 {
        self.0.metadata().map_or(0, |metadata| metadata.len())
    }

    fn read_at(
        &mut self,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<(), llama2_engine::source::ReadError> {
        use std::io::{Read, Seek, SeekFrom};
        let read = self
            .0
            .seek(SeekFrom::Start(offset))
            .and_then(|_| self.0.read_exact(buf));
        read.map_err(|error| llama2_engine::source::ReadError {
            offset,
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(memory("512M"), Ok(512));
        assert_eq!(memory("2g"), Ok(2048));
        assert_eq!(memory("300"), Ok(300));
        assert!(
            memory("0").is_err()
                && memory("much").is_err()
                && memory("99999999999999999999G").is_err()
        );
    }
}
