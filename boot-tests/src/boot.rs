//! One boot under way: its image, its machine, and what it must say.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use xtask::{
    arch::Arch,
    build,
    image::{self, Content, From},
    qemu::{Accel, End, Guest, Machine},
    setup,
    shell::{root, target},
};

/// How long a boot may take. TCG on one busy core: half a minute is slow, this is stuck.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Programs and folders that all boots share.
pub struct Suite {
    /// The application.
    pub efi: PathBuf,
    /// The application with the hooks for tests, once a boot wants it.
    hooked: OnceLock<Result<PathBuf, String>>,
    /// The host's `llama2`, to compare texts with.
    pub llama2: PathBuf,
    /// The folder in which images and models are made.
    pub folder: PathBuf,
    /// llama2.c's smallest model, where it is at hand.
    pub reference: PathBuf,
}

/// One boot under way.
pub struct Boot {
    pub name: &'static str,
    /// Its place in the list, for its files' names.
    pub number: usize,
    pub serial: String,
    pub skip: Option<String>,
}

impl Boot {
    /// Keeps the serial log, for somebody who looks into what failed.
    pub fn keep(&self) -> Result<PathBuf> {
        let folder = target().join("test-logs");
        fs::create_dir_all(&folder)?;
        let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name: String = self.name.chars().map(letter).collect();
        let path = folder.join(name + ".log");
        fs::write(&path, &self.serial)?;
        Ok(path)
    }

    /// An image of the application, this configuration, and these files.
    pub fn image(&self, suite: &Suite, config: &str, files: &[(&str, From)]) -> Result<PathBuf> {
        let mut content = Content::default();
        let hooked = config.lines().any(|line| line.starts_with("test = "));
        let efi = if hooked { suite.hooked()? } else { &suite.efi };
        content.file(Arch::built().boot_file, efi);
        if !config.is_empty() {
            content.bytes("LLAMA2.CFG", config);
        }
        for (path, from) in files {
            content.put(path, from.clone());
        }
        self.image_of(suite, &content, "")
    }

    /// An image of the application, this configuration, and a driver before it whose network cards
    /// have these faults, one in a line.
    pub fn image_with_faults(&self, suite: &Suite, config: &str, faults: &str) -> Result<PathBuf> {
        suite.hooked()?;
        let mut content = Content::default();
        content.file(Arch::built().boot_file, &build::faulty_card());
        content.file("LLAMA2.EFI", &suite.efi);
        content.bytes("LLAMA2.CFG", config);
        content.bytes("FAULTS.TXT", faults);
        self.image_of(suite, &content, "")
    }

    pub fn image_of(&self, suite: &Suite, content: &Content, suffix: &str) -> Result<PathBuf> {
        let path = suite.folder.join(format!("{}{suffix}.img", self.number));
        image::write(content, &path)?;
        Ok(path)
    }

    /// Boots a machine to its end and gives its status.
    pub fn run(&mut self, machine: &Machine) -> Result<u8> {
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
        let status = self.run(machine)?;
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
        let status = self.run(machine)?;
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

impl Suite {
    /// Builds the application and the command.
    pub fn build() -> Result<Suite> {
        setup::for_boots()?;
        let suite = Suite {
            efi: build::build()?.efi,
            hooked: OnceLock::new(),
            llama2: build::command()?,
            folder: target().join("boots"),
            reference: std::env::var_os("LLAMA2_REFERENCE")
                .map_or_else(|| root().join("../shared/reference"), PathBuf::from),
        };
        fs::create_dir_all(&suite.folder)?;
        Ok(suite)
    }

    /// The application that can be told to fail, for boots whose configuration has the key `test`.
    fn hooked(&self) -> Result<&Path> {
        let build = || build::with_hooks().map_err(|error| format!("{error:#}"));
        let built = self.hooked.get_or_init(build).as_deref();
        built.map_err(|error| anyhow!("{error}"))
    }

    /// Gives what the host's `llama2 run` prints.
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

    /// Gives what `llama2 run` prints with the small model in float32.
    pub fn host_f32(&self, args: &[&str]) -> Result<String> {
        let model = self.models("stories330K.bin").display().to_string();
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
