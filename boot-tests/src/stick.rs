//! The zip for people without Rust: unpacked onto a volume, as they do, and talked to.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, ensure};
use xtask::{
    arch::X86_64,
    dist, fetch,
    image::{Content, Files},
    qemu::Machine,
};
use zip::ZipArchive;

use crate::{
    Check,
    boot::{Boot, Suite},
    chat,
    dialog::{Dialog, printable},
};

/// All of them, by name.
pub const BOOTS: [(&str, Check); 1] = [(
    "boot: the zip for a stick, unpacked, text as on the host",
    unpacked,
)];

/// A stick with SmolLM2, or with the bundled model alone where SmolLM2 cannot be had.
fn unpacked(suite: &Suite, boot: &mut Boot) -> Result<Option<String>> {
    let model = match fetch::chat_model() {
        Ok(model) => Some(model),
        Err(error) if matches!(error.downcast_ref(), Some(fetch::Error::Failed(_))) => {
            return Err(error);
        }
        Err(error) => {
            println!("SKIPPED {} with SmolLM2: {error:#}", boot.name);
            None
        }
    };
    let files = Files {
        model: model.iter().cloned().collect(),
        tokenizer: None,
    };
    let zip = suite.folder.join("stick.zip");
    let programs = [(&X86_64, suite.efi.clone())];
    dist::pack(&dist::content(&programs, &files, &[], &[])?, &zip)?;
    let image = boot.image_of(suite, &unpack(&zip)?, "")?;
    let machine = Machine {
        memory: 1024,
        usb: true,
        ..Machine::new(&image)
    };
    let mut dialog = Dialog::start(boot, &machine)?;
    dialog.prompt()?;
    dialog.say("/temp 0")?;
    let summary = if let Some(model) = model {
        let question = "Name the capital of Italy.";
        dialog.say("/max 16")?;
        let told = dialog.ask(question)?;
        let model = model.display().to_string();
        let flags = ["-t", "0", "-n", "16"];
        let (want, _) = chat::host(suite, &model, &flags, &format!("{question}\n"))?;
        let (answer, want) = (printable(&told.text), printable(&want));
        ensure!(
            answer == want && answer.contains("Rome"),
            "it answered {answer:?}, and the host {want:?}"
        );
        told.summary
    } else {
        let prompt = "Tim found a key";
        dialog.say("/max 60")?;
        let told = dialog.ask(prompt)?;
        told.is(&suite.host(&["-t", "0", "-n", "60", "-i", prompt])?)?;
        told.summary
    };
    dialog.leave("/shutdown")?;
    Ok(Some(summary))
}

/// Files in a zip, for a volume.
fn unpack(zip: &Path) -> Result<Content> {
    let mut zip = ZipArchive::new(File::open(zip)?)?;
    let mut content = Content::default();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index)?;
        let name = file.name()?.into_owned();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).context("reading the zip")?;
        content.bytes(&name, bytes);
    }
    Ok(content)
}
