//! The boots: llama2.efi in QEMU, looked at over its serial line, on its screen and on its disks.
#![forbid(unsafe_code)]

mod aarch64;
mod application;
mod boot;
mod chat;
mod console;
mod cores;
mod dialog;
mod fixtures;
mod hands;
mod keys;
mod network;
mod picture;
mod pictures;
mod stick;
mod web;
mod wire;

use std::{
    fs,
    sync::{Arc, OnceLock, RwLock},
    time::Instant,
};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Completion, Conclusion, Failed, Trial};

use boot::{Boot, Suite};

/// A boot: gives a note, or says what is wrong.
type Check = fn(&Suite, &mut Boot) -> Result<Option<String>>;

/// Most boots share the host's cores; those with many processors have them for themselves.
static CORES: RwLock<()> = RwLock::new(());

/// Beginnings of the names of boots that take long, show what a shorter one shows, too, or want an
/// application of their own to be built: only continuous integration and those who name them run
/// them. The others are what people meet first: a story, a conversation, the console, the full
/// screen, a page from the network, and a sentence about a file that is wrong.
const LONG: [&str; 45] = [
    "aarch64: ",
    "boot: Esc on the keyboard",
    "boot: Qwen2's shape in two GGUF files",
    "boot: a SATA disk that fails",
    "boot: a conversation with SmolLM2",
    "boot: a folder in place of the model",
    "boot: a model without its tokenizer",
    "boot: a prompt longer than the context",
    "boot: another model's tokenizer",
    "boot: chat with thoughts",
    "boot: chat without a template",
    "boot: not a model",
    "boot: one processor",
    "boot: random stories15M",
    "boot: the zip for a stick",
    "boot: three times from the UEFI Shell",
    "console: a volume that is full",
    "console: Esc and Ctrl-C stop a slow model",
    "console: firmware that renames no file",
    "console: hands type while a token is made",
    "console: long pastes",
    "console: the menu of models at boot",
    "cores: 1 of 2 by blocking calls",
    "cores: 2 of 3 by blocking calls",
    "cores: 2, scalar, int8",
    "cores: 3 of 4 by blocking calls",
    "cores: 3, AVX2, int8",
    "cores: 4, ",
    "cores: Esc stops",
    "cores: a benchmark",
    "cores: a panic ",
    "cores: chat, called anew",
    "network: a cable that is pulled out",
    "network: a card that is shared",
    "network: a driver ",
    "network: a fixed address",
    "network: a lease that ends",
    "network: a machine without a disk",
    "network: a server by e1000",
    "network: a web server's model that is mended",
    "network: a web server's model that is not the one",
    "network: another card is wanted",
    "network: two cards",
    "pictures: full screen, 1920 x 1080",
    "pictures: text",
];

/// Each boot's name and check, and whether it must have the host's cores for itself. The longest
/// come first, so that none of them is alone at the end.
fn boots() -> impl Iterator<Item = ((&'static str, Check), bool)> {
    let several = [
        &console::BOOTS[..],
        &stick::BOOTS,
        &pictures::BOOTS,
        &network::BOOTS,
        &web::BOOTS,
        &application::BOOTS,
        &cores::BOOTS,
        &aarch64::BOOTS,
    ]
    .concat();
    let several = several.into_iter().map(|boot| (boot, false));
    let alone = cores::ALONE.into_iter().chain(aarch64::CORES);
    several.chain(alone.map(|boot| (boot, true)))
}

/// Says if there is a boot with this in its name.
pub fn is_named(part: &str) -> bool {
    boots().any(|((name, _), _)| name.contains(part))
}

/// Boots what `args` choose, two at a time; builds nothing if that is nothing.
///
/// # Errors
/// If the application cannot be built.
pub fn run(mut args: Arguments) -> Result<Conclusion> {
    args.test_threads.get_or_insert(2);
    let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    let runs_all = is_ci || args.filter.is_some();
    let suite = Arc::new(OnceLock::new());
    let trials = boots().enumerate().map(|(number, ((name, check), alone))| {
        let suite = suite.clone();
        Trial::ignorable_test(name, move || {
            let _turn = (alone.then(|| CORES.write()), (!alone).then(|| CORES.read()));
            let suite = suite.get().context("the application is built")?;
            boot(suite, name, number, check)
        })
        .with_ignored_flag(LONG.iter().any(|long| name.starts_with(long)) && !runs_all)
    });
    let trials: Vec<Trial> = trials.collect();
    if !args.list && trials.iter().any(|trial| !args.is_filtered_out(trial)) {
        let built = Suite::build()?;
        suite.get_or_init(|| built);
    }
    let conclusion = libtest_mimic::run(&args, trials);
    if let Some(suite) = suite.get() {
        fs::remove_dir_all(&suite.folder)?;
    }
    Ok(conclusion)
}

/// One of them: says how long it took, and keeps the serial log if it failed.
fn boot(
    suite: &Suite,
    name: &'static str,
    number: usize,
    check: Check,
) -> Result<Completion, Failed> {
    let start = Instant::now();
    let mut boot = Boot {
        name,
        number,
        serial: String::new(),
        skip: None,
    };
    let result = check(suite, &mut boot);
    if let Some(why) = boot.skip {
        println!("SKIPPED {name}: {why}");
        return Ok(Completion::ignored_with(why));
    }
    let took = start.elapsed().as_secs_f64();
    match result {
        Ok(note) => {
            let note = note.map_or(String::new(), |note| format!(": {note}"));
            println!("{name} ({took:.1} s){note}");
            Ok(Completion::Completed)
        }
        Err(error) => {
            println!("FAILED {name} ({took:.1} s): {error:#}");
            Err(match boot.keep() {
                Ok(log) => format!("{error:#}; serial log in {}", log.display()),
                Err(_) => format!("{error:#}"),
            }
            .into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_boots_have_their_names() {
        for long in LONG {
            assert!(
                boots().any(|((name, _), _)| name.starts_with(long)),
                "{long}"
            );
        }
    }
}
