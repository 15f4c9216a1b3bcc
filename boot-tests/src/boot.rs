//! One boot under way: its image, its machine, and what it must say.

use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use xtask::{
    arch::{Arch, X86_64},
    build,
    image::{self, Content, From},
    qemu::{Accel, End, Guest, Machine},
    setup,
    shell::{root, target},
};

/// How long a boot may take. TCG on one busy core: half a minute is slow, this is stuck.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Applications, or why they cannot be built, by architecture and whether they have the hooks for
/// tests.
type Applications = HashMap<(&'static str, bool), Result<PathBuf, String>>;

/// Programs and folders that all boots share.
pub struct Suite {
    /// The application.
    pub efi: PathBuf,
    /// Other applications, once a boot wants them.
    others: Mutex<Applications>,
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
        self.image_for(&X86_64, suite, config, files)
    }

    /// An image of an architecture's application, this configuration, and these files.
    pub fn image_for(
        &self,
        arch: &'static Arch,
        suite: &Suite,
        config: &str,
        files: &[(&str, From)],
    ) -> Result<PathBuf> {
        let mut content = Content::default();
        let hooked = config.lines().any(|line| line.starts_with("test = "));
        content.program(arch, &suite.program(arch, hooked)?);
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
        suite.program(&X86_64, true)?;
        let mut content = Content::default();
        content.program(&X86_64, &build::faulty_card(&X86_64));
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
        setup::for_boots(&X86_64)?;
        let suite = Suite {
            efi: build::build(&X86_64)?.efi,
            others: Mutex::default(),
            llama2: build::command()?,
            folder: target().join("boots"),
            reference: std::env::var_os("LLAMA2_REFERENCE")
                .map_or_else(|| root().join("../shared/reference"), PathBuf::from),
        };
        fs::create_dir_all(&suite.folder)?;
        Ok(suite)
    }

    /// An architecture's application; one that can be told to fail where it is `hooked`, for boots
    /// whose configuration has the key `test`.
    fn program(&self, arch: &'static Arch, hooked: bool) -> Result<PathBuf> {
        if arch.name == X86_64.name && !hooked {
            return Ok(self.efi.clone());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let built = others.entry((arch.name, hooked)).or_insert_with(|| {
            let built = match hooked {
                true => build::with_hooks(arch),
                false => build::build(arch).map(|built| built.efi),
            };
            built.map_err(|error| format!("{error:#}"))
        });
        built.clone().map_err(|error| anyhow!("{error}"))
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
