//! One boot under way: its image, its machine, and what it must say.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    image::{self, Content, From},
    qemu::{Accel, End, Guest, Machine},
    shell::{root, target},
};

/// How long a boot may take. TCG on one busy core: half a minute is slow, this is stuck.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What all boots share.
pub struct Bench {
    pub efi: PathBuf,
    /// The same with the hooks for tests, for those whose configuration has the key `test`.
    pub hooked: PathBuf,
    /// The host's `llama2`, to compare texts with.
    pub llama2: PathBuf,
    pub folder: PathBuf,
    pub reference: PathBuf,
}

/// Keeps the serial log of a trial that failed.
pub fn keep(trial: &Trial) -> Result<PathBuf> {
    let folder = target().join("test-logs");
    fs::create_dir_all(&folder)?;
    let name: String = trial
        .name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let path = folder.join(name + ".log");
    fs::write(&path, &trial.serial)?;
    Ok(path)
}

/// One boot under way.
pub struct Trial {
    pub name: &'static str,
    /// Its place in the list, for its files' names.
    pub number: usize,
    pub serial: String,
    pub skip: Option<String>,
}

impl Trial {
    /// An image of the application, this configuration, and these files.
    pub fn image(&self, bench: &Bench, config: &str, files: &[(&str, From)]) -> Result<PathBuf> {
        let mut content = Content::default();
        let hooked = config.lines().any(|line| line.starts_with("test = "));
        let efi = if hooked { &bench.hooked } else { &bench.efi };
        content.file("EFI/BOOT/BOOTX64.EFI", efi);
        if !config.is_empty() {
            content.bytes("LLAMA2.CFG", config);
        }
        for (path, from) in files {
            content.put(path, from.clone());
        }
        self.image_of(bench, &content, "")
    }

    pub fn image_of(&self, bench: &Bench, content: &Content, suffix: &str) -> Result<PathBuf> {
        let path = bench.folder.join(format!("{}{suffix}.img", self.number));
        image::write(content, &path)?;
        Ok(path)
    }

    /// Boots a machine to its end and gives its status.
    pub fn boot(&mut self, machine: &Machine) -> Result<u8> {
        let mut guest = machine.start(Accel::Tcg)?;
        let end = guest.end(PATIENCE);
        guest.settle(Duration::from_secs(5));
        self.ended(&guest, end)
    }

    pub fn ended(&mut self, guest: &Guest, end: End) -> Result<u8> {
        self.serial.clone_from(&guest.text);
        match end {
            End::Exit(status) => Ok(status),
            End::Timeout => bail!("no last line after {} s", PATIENCE.as_secs()),
            End::Off => bail!("the machine was switched off without a last line"),
            End::Gone(words) => bail!("QEMU ended: {words}"),
        }
    }

    /// Boots an image that must be refused with this sentence.
    pub fn refused(&mut self, machine: &Machine, words: &str) -> Result<Option<String>> {
        let status = self.boot(machine)?;
        ensure!(status == 1, "status {status}, not 1");
        let error = self
            .serial
            .lines()
            .find_map(|line| line.strip_prefix("error: "))
            .context("no line begins with error:")?;
        ensure!(
            error.contains(words),
            "the error is not about {words:?}: {error}"
        );
        Ok(Some(error.to_owned()))
    }

    /// Boots an image that must tell this story.
    pub fn tells(&mut self, machine: &Machine, story: &str) -> Result<Option<String>> {
        let status = self.boot(machine)?;
        ensure!(status == 0, "status {status}, not 0");
        let told = self.story()?;
        ensure!(told == story, "it told:\n{told}\nand not:\n{story}");
        let speed = self
            .serial
            .lines()
            .find(|line| line.starts_with("achieved tok/s"))
            .unwrap_or_default();
        Ok(Some(speed.to_owned()))
    }

    /// The text between its two lines.
    pub fn story(&self) -> Result<&str> {
        let (_, rest) = self
            .serial
            .split_once("\nGenerating ")
            .context("no Generating line")?;
        let (_, rest) = rest
            .split_once(" tokens:\n")
            .context("no Generating line")?;
        Ok(rest
            .rsplit_once("achieved tok/s")
            .context("no achieved line")?
            .0)
    }

    pub fn says(&self, words: &str) -> Result<()> {
        ensure!(self.serial.contains(words), "it does not say {words:?}");
        Ok(())
    }
}

impl Bench {
    /// What the host's command prints.
    pub fn host(&self, args: &[&str]) -> Result<String> {
        let output = Command::new(&self.llama2)
            .arg("run")
            .args(args)
            .stdin(Stdio::null())
            .output()?;
        ensure!(
            output.status.success(),
            "llama2 run: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The same, of the bundled model in float32.
    pub fn host_f32(&self, args: &[&str]) -> Result<String> {
        let model = self.models("stories1M.bin").display().to_string();
        let tokenizer = self.models("tokenizer.bin").display().to_string();
        self.host(&[&[&model, "-z", &tokenizer], args].concat())
    }

    pub fn models(&self, name: &str) -> PathBuf {
        root().join("models").join(name)
    }

    pub fn read(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.models(name)).with_context(|| name.to_owned())
    }
}
